// resolv.conf, as anybody may have written it, and resolvers as a server names them.
#include "control/dns/osconf.h"

#include <stdlib.h>

#include "control/dns/target.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct osconf_file f;
	struct dns_target t;
	struct ip_addr a;

	osconf_read((const char *)data, size, &f);
	for (unsigned i = 0; i < f.n_servers; i++)
		check(ip_addr_parse(f.servers[i], &a) == 0);
	char *text = malloc(size + 1);
	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	if (dns_target_read(text, &t) == 0)
		check(t.plain.port || t.url[0]); // somebody to ask
	free(text);
	return 0;
}
