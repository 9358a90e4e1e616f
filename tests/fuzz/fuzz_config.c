// Any text through the whole reader: libconfig, the key table, the checks. What is accepted must
// hold what the rest of the daemon relies on.
#include "config/config.h"
#include "tests/fuzz/fuzz.h"

const char *__lsan_default_suppressions(void);

// libconfig 1.5 leaks the string that it read last before a syntax error.
const char *__lsan_default_suppressions(void)
{
	return "leak:libconfig.so\n";
}

static void check_accepted(const struct config *c)
{
	check(c->n_peers <= CONFIG_PEERS_MAX && c->n_ports <= CONFIG_PORTS_MAX);
	check(c->workers >= 1 && c->workers <= CONFIG_WORKERS_MAX);
	check(c->n_cpus == 0 || c->n_cpus == c->workers);
	check(!key_is_zero(&c->private_key));
	for (uint32_t i = 0; i < c->n_peers; i++) {
		const struct config_peer *p = &c->peers[i];
		check(config_peer_find(c, &p->public_key) == p);
		check((p->endpoint_port == 0) == (p->endpoint_host[0] == '\0'));
		check(p->endpoint.port == 0 || p->endpoint.addr.family != IP_NONE);
	}
	for (uint32_t i = 0; i < c->n_ports; i++)
		check(!c->ports[i].interface[0] != !c->ports[i].device[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config *c = NULL;
	struct config_error err;
	char text[CONFIG_ERROR_TEXT_LEN];
	char *input = exact_text(data, size);
	if (config_parse_string(input, "fuzz", &c, &err) == 0)
		check_accepted(c);
	else
		check(err.message[0] && config_error_format(&err, text)[0]);
	config_free(c);
	free(input);
	return 0;
}
