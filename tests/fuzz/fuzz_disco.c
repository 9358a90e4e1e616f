// Disco from a peer whose box opens: what is parsed must encode to what parses to the same.
#include <errno.h>

#include "control/path/disco.h"
#include "dataplane/wire/classify_udp.h"
#include "tests/fuzz/fuzz.h"

static void try_plain(const uint8_t *data, size_t size)
{
	static struct disco_message m, again;
	static uint8_t first[DISCO_PLAIN_MAX], second[DISCO_PLAIN_MAX];

	if (disco_parse(data, size, &m))
		return;
	check(m.n_endpoints <= DISCO_ENDPOINTS_MAX);
	const int len = disco_encode(&m, first, sizeof(first));
	if (len == -ENOSPC) // padding above any MTU
		return;
	check(len > 0);
	// Without a key, padding of its length reads as one: so it is on the wire.
	if (m.type == DISCO_PING && key_is_zero(&m.ping.node_key) && m.ping.padding >= KEY_LEN)
		return;
	check(disco_parse(first, (size_t)len, &again) == 0);
	check(disco_encode(&again, second, sizeof(second)) == len);
	check(memcmp(first, second, (size_t)len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct box box = {{1}};
	static struct disco_message m;
	struct key sender;

	try_plain(data, size);
	if (disco_sender(data, size, &sender) == 0)
		check(udp_is_disco(data, size));
	check(disco_open(&box, data, size, &m) != 0); // the fuzzer has no key
	(void)udp_classify(data, size);
	return 0;
}
