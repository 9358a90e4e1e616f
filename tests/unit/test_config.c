// config/: what tailgate.conf accepts, its files and its limits; test_config_refusals.c has the
// rest.
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "config/config.h"
#include "config/keys.h"
#include "config/value.h"
#include "tests/unit/config_text.h"

static struct config *accept(const char *text)
{
	struct config *c = NULL;
	struct config_error err;
	char reason[CONFIG_ERROR_TEXT_LEN];
	if (config_parse_string(text, "test.conf", &c, &err) < 0)
		fail_msg("refused: %s", config_error_format(&err, reason));
	return c;
}

static void test_defaults(void **)
{
	struct config *c = accept(KEY);
	assert_int_equal(c->listen_port, 41641);
	assert_int_equal(c->mtu, 1420);
	assert_string_equal(c->tun, "tailgate0");
	assert_true(
		c->routes && c->roaming && c->mss_clamp && c->fragment && c->coalesce && c->guard);
	assert_int_equal(c->workers, 1);
	assert_int_equal(c->vxlan_ports.count, 2);
	assert_int_equal(c->vxlan_ports.list[0], 4789);
	assert_int_equal(c->vxlan_ports.list[1], 8472);
	assert_int_equal(c->vxlan_depth, 1);
	assert_int_equal(c->n_cpus, 0);
	assert_int_equal(c->poll, CONFIG_POLL_ADAPTIVE);
	assert_int_equal(c->aead, CONFIG_AEAD_AUTO);
	assert_int_equal(c->hugepages, CONFIG_HUGEPAGES_AUTO);
	assert_int_equal(c->memory_mb, 64);
	assert_int_equal(c->icmp_rate, 1000);
	assert_int_equal(c->handshake_rate, 1000);
	assert_int_equal(c->birthday_ports, 256);
	assert_int_equal(c->birthday_rate, 200);
	assert_int_equal(c->birthday_s, 20);
	assert_int_equal(c->nat.ports.first, 16384);
	assert_int_equal(c->nat.ports.last, 29999);
	assert_int_equal(c->nat.mapping, CONFIG_NAT_DEPENDENT);
	assert_int_equal(c->nat.client_flows, 65536);
	assert_int_equal(c->nat.n_pool, 0);
	assert_int_equal(c->learned.n_ranges + c->learned.n_protocols + c->announce_table, 0);
	assert_int_equal(c->learned.limit, 256);
	assert_true(config_learns_from(&c->learned, 186)); // bgp
	assert_false(config_learns_from(&c->learned, 2));  // kernel
	assert_false(config_learns_from(&c->learned, 3));  // boot
	assert_string_equal(c->socket, "/run/tailgate/tailgated.sock");
	assert_int_equal(c->metrics.port, 0);
	assert_int_equal(c->log_level, LOG_LEVEL_INFO);
	assert_string_equal(c->user, "");
	assert_int_equal(c->n_ports + c->n_peers + c->addresses.count, 0);
	config_free(c);
}

static void test_every_top_level_key(void **)
{
	struct config *c = accept(KEY
		"listen_port = 0; mtu = 0x500; tun = \"wg7\"; routes = false; roaming = false;\n"
		"addresses = [ \"10.0.0.1/24\", \"fd00::1/64\" ]; workers = 2; cpus = [ 3, 1 ];\n"
		"poll = \"busy\"; aead = \"ipsec-mb\"; memory_mb = 16; hugepages = \"require\";\n"
		"mss_clamp = false; fragment = false; coalesce = false; guard = false; icmp_rate = "
		"0;\n"
		"vxlan_ports = [ 14789 ]; vxlan_depth = 4;\n"
		"handshake_rate = 5L; socket = \"/tmp/s\"; metrics = \"[::1]:9641\";\n"
		"endpoints = [ \"203.0.113.5:41641\", \"[2001:db8::5]:1\" ];\n"
		"dns_listen = [ \"192.168.1.1\", \"fd00::1\", \"[fd00::1]:5353\" ];\n"
		"birthday_ports = 0; birthday_rate = 50; birthday_s = 300;\n"
		"nat_ports = \"2000-3999\"; nat_addresses = [ \"203.0.113.6\", \"2001:db8::6\" ];\n"
		"nat_mapping = \"endpoint-independent\"; nat_client_flows = 0;\n"
		"nat_tcp_idle_s = 60; nat_udp_idle_s = 10; route_probes = [ \"10.1.0.254\" ];\n"
		"app_domains = [ \"example.com\", \"*.Example.org\", \"a_b.example\" ];\n"
		"services = [ \"svc:web tcp:443=10.1.0.5:8443,[fd00::5]:1\", "
		"\"svc:web  udp:5-9 = 10.1.0.5 , fd00::5\", \"svc:all * = 10.1.0.9\" ];\n"
		"nat_remap = [ \"10.9.0.0/24=192.168.1.0/24\", \"fd09::/64 = fd01::/64\" ];\n"
		"advertise_learned = [ \"10.0.0.0/8\", \"10.9.0.0/28\", \"fd00::/8  le 48\" ];\n"
		"learned_protocols = [ \"ospf\", \"boot\" ]; learned_limit = 4096;\n"
		"announce_table = 251;\n"
		"log_level = \"debug\"; user = \"nobody\"; ports = (); peers = ();\n");
	assert_int_equal(c->listen_port, 0);
	assert_int_equal(c->mtu, 1280);
	assert_string_equal(c->tun, "wg7");
	assert_false(
		c->routes || c->roaming || c->mss_clamp || c->fragment || c->coalesce || c->guard);
	assert_int_equal(c->addresses.count, 2);
	assert_int_equal(c->addresses.list[0].len, 24);
	assert_int_equal(c->addresses.list[0].addr.bytes[3], 1); // host bits stay
	assert_int_equal(c->addresses.list[1].addr.family, IP_V6);
	assert_int_equal(c->n_cpus, 2);
	assert_int_equal(c->cpus[0], 3);
	assert_int_equal(c->cpus[1], 1);
	assert_int_equal(c->poll, CONFIG_POLL_BUSY);
	assert_int_equal(c->aead, CONFIG_AEAD_IPSEC_MB);
	assert_int_equal(c->hugepages, CONFIG_HUGEPAGES_REQUIRE);
	assert_int_equal(c->memory_mb, 16);
	assert_int_equal(c->icmp_rate, 0);
	assert_int_equal(c->vxlan_ports.count, 1);
	assert_int_equal(c->vxlan_ports.list[0], 14789);
	assert_int_equal(c->vxlan_depth, 4);
	assert_int_equal(c->handshake_rate, 5);
	assert_int_equal(c->app_domains.count, 3);
	assert_string_equal(c->app_domains.list[1], "*.Example.org");
	assert_int_equal(c->services.count, 3);
	assert_string_equal(c->services.list[1].name, "svc:web");
	assert_int_equal(c->services.list[0].n_backends, 2);
	assert_int_equal(c->services.list[0].backend[0].port, 8443);
	assert_int_equal(c->services.list[1].proto, CONFIG_PROTO_UDP);
	assert_int_equal(c->services.list[1].first, 5);
	assert_int_equal(c->services.list[1].last, 9);
	assert_int_equal(c->services.list[1].backend[1].port, 0);
	assert_int_equal(c->services.list[2].proto, 0);
	assert_int_equal(c->services.list[2].last, 65535);
	assert_int_equal(c->dns_listen.count, 3);
	assert_int_equal(c->dns_listen.list[1].port, 53);
	assert_int_equal(c->dns_listen.list[2].port, 5353);
	assert_int_equal(c->endpoints.count, 2);
	assert_int_equal(c->endpoints.list[0].port, 41641);
	assert_int_equal(c->endpoints.list[1].addr.family, IP_V6);
	assert_int_equal(c->birthday_ports, 0);
	assert_int_equal(c->birthday_rate, 50);
	assert_int_equal(c->birthday_s, 300);
	assert_int_equal(c->nat.ports.first, 2000);
	assert_int_equal(c->nat.ports.last, 3999);
	assert_int_equal(c->nat.mapping, CONFIG_NAT_INDEPENDENT);
	assert_int_equal(c->nat.client_flows, 0);
	assert_int_equal(c->nat.tcp_idle_s, 60);
	assert_int_equal(c->nat.udp_idle_s, 10);
	assert_int_equal(c->route_probes.count, 1);
	assert_int_equal(c->nat.n_pool, 2);
	assert_int_equal(c->nat.pool[1].family, IP_V6);
	assert_int_equal(c->nat.n_remap, 2);
	assert_int_equal(c->nat.remap[0].known.addr.bytes[1], 9);
	assert_int_equal(c->nat.remap[0].real.addr.bytes[0], 192);
	assert_int_equal(c->nat.remap[1].real.len, 64);
	assert_int_equal(c->learned.n_ranges, 3);
	assert_int_equal(c->learned.range[0].longest, 24);
	assert_int_equal(c->learned.range[1].longest, 28); // never shorter than itself
	assert_int_equal(c->learned.range[2].longest, 48);
	assert_true(config_learns_from(&c->learned, 188));
	assert_true(config_learns_from(&c->learned, 3));
	assert_false(config_learns_from(&c->learned, 186));
	assert_int_equal(c->learned.limit, 4096);
	assert_int_equal(c->announce_table, 251);
	assert_string_equal(c->socket, "/tmp/s");
	assert_int_equal(c->metrics.port, 9641);
	assert_int_equal(c->log_level, LOG_LEVEL_DEBUG);
	assert_string_equal(c->user, "nobody");
	config_free(c);
}

static void test_ports(void **)
{
	struct config *c = accept(PORTS(
		"{ name = \"wan\"; interface = \"eth0\"; },\n"
		"{ name = \"lan\"; device = \"0000:01:00.0\"; addresses = [ \"10.1.0.1/16\" ]; },\n"
		"{ name = \"mem\"; device = \"net_memif0,role=client\"; mirror = \"mem0\"; "
		"},\n"
		"{ name = \"none\"; device = \"3b:00.1\"; mirror = \"\"; }\n"));
	assert_int_equal(c->n_ports, 4);
	assert_string_equal(c->ports[0].interface, "eth0");
	assert_string_equal(c->ports[0].mirror, "");
	assert_string_equal(c->ports[1].device, "0000:01:00.0");
	assert_string_equal(c->ports[1].mirror, "lan");
	assert_int_equal(c->ports[1].addresses.count, 1);
	assert_string_equal(c->ports[2].mirror, "mem0");
	assert_string_equal(c->ports[3].mirror, "");
	config_free(c);
}

static void test_peers(void **)
{
	// roaming comes after peers and still is their default.
	struct config *c = accept(
		KEY "peers = ( { public_key = \"" PUBLIC_A "\"; name = \"a\";\n"
		    "preshared_key = \"" PUBLIC_B "\"; persistent_keepalive = 25; roaming = true;\n"
		    "allowed_ips = [ \"10.2.0.9/24\", \"::/0\", \"192.0.2.1\" ]; },\n"
		    "{ public_key = \"" PUBLIC_B "\"; } ); roaming = false;\n");
	const struct config_peer *a = &c->peers[0], *b = &c->peers[1];
	char text[PREFIX_TEXT_LEN];
	assert_int_equal(c->n_peers, 2);
	assert_string_equal(a->name, "a");
	assert_false(key_is_zero(&a->preshared_key));
	assert_int_equal(a->persistent_keepalive_s, 25);
	assert_true(a->roaming);
	assert_int_equal(a->n_allowed_ips, 3);
	assert_string_equal(ip_prefix_format(&a->allowed_ips[0], text), "10.2.0.0/24");
	assert_string_equal(ip_prefix_format(&a->allowed_ips[1], text), "::/0");
	assert_string_equal(ip_prefix_format(&a->allowed_ips[2], text), "192.0.2.1/32");
	assert_false(b->roaming);
	assert_true(key_is_zero(&b->preshared_key));
	assert_int_equal(b->n_allowed_ips, 0);
	assert_ptr_equal(config_peer_find(c, &a->public_key), a);
	assert_ptr_equal(config_peer_find(c, &b->public_key), b);
	assert_null(config_peer_find(c, &c->private_key));
	config_free(c);
}

static void test_endpoints(void **)
{
	static const struct {
		const char *text, *host;
		unsigned port;
		enum ip_family family;
	} cases[] = {
		{"203.0.113.5:41641", "203.0.113.5", 41641, IP_V4},
		{"[2001:db8::5]:1", "2001:db8::5", 1, IP_V6},
		{"gw.example.org:65535", "gw.example.org", 65535, IP_NONE},
		{"gw_1.example.org.:53", "gw_1.example.org.", 53, IP_NONE},
		{"localhost:5", "localhost", 5, IP_NONE},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[512];
		snprintf(text, sizeof(text), PEER("endpoint = \"%s\";\n"), cases[i].text);
		struct config *c = accept(text);
		const struct config_peer *p = &c->peers[0];
		assert_string_equal(p->endpoint_host, cases[i].host);
		assert_int_equal(p->endpoint_port, cases[i].port);
		assert_int_equal(p->endpoint.addr.family, cases[i].family);
		assert_int_equal(p->endpoint.port, cases[i].family ? cases[i].port : 0);
		config_free(c);
	}
}

static void test_error_format(void **)
{
	struct config_error err = {"a.conf", 12, "peers[1].endpoint", "has no port"};
	char text[CONFIG_ERROR_TEXT_LEN];
	assert_string_equal(
		config_error_format(&err, text), "a.conf:12: peers[1].endpoint: has no port");
	err.line = 0;
	err.key[0] = '\0';
	assert_string_equal(config_error_format(&err, text), "a.conf: has no port");
}

// A text with n times what form makes of the numbers 0 to n - 1, between head and tail.
static char *repeat(const char *head, const char *form, unsigned n, const char *tail)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	fputs(head, out);
	for (unsigned i = 0; i < n; i++) {
		fputs(i ? ",\n" : "", out);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		fprintf(out, form, i >> 8, i & 255);
#pragma GCC diagnostic pop
	}
	fputs(tail, out);
	fclose(out);
	return text;
}

static char *many_peers(unsigned n)
{
	char *text = NULL, key_text[KEY_TEXT_LEN + 1];
	size_t size;
	FILE *out = open_memstream(&text, &size);
	fputs(KEY "peers = (\n", out);
	for (unsigned i = 0; i < n; i++) {
		struct key k = {.bytes = {(uint8_t)(i * 7), (uint8_t)(i >> 8), (uint8_t)i, 1}};
		fprintf(out, "%s{ public_key = \"%s\"; }", i ? ",\n" : "",
			key_format(&k, key_text));
	}
	fputs(");\n", out);
	fclose(out);
	return text;
}

static void refuse_one(char *text, const char *key, const char *message)
{
	struct config *c;
	struct config_error err;
	assert_int_equal(config_parse_string(text, "test.conf", &c, &err), -EINVAL);
	assert_string_equal(err.key, key);
	assert_string_equal(err.message, message);
	free(text);
}

static void test_limits(void **)
{
	char *text = many_peers(CONFIG_PEERS_MAX);
	struct config *c = accept(text);
	assert_int_equal(c->n_peers, CONFIG_PEERS_MAX);
	for (unsigned i = 0; i < c->n_peers; i++)
		assert_ptr_equal(config_peer_find(c, &c->peers[i].public_key), &c->peers[i]);
	config_free(c);
	free(text);
	refuse_one(many_peers(CONFIG_PEERS_MAX + 1), "peers",
		"has 16385 elements; at most 16384 are possible");

	const char *head = KEY "peers = ( { public_key = \"" PUBLIC_A "\"; allowed_ips = [";
	text = repeat(head, "\"10.%u.%u.0/24\"", CONFIG_ALLOWED_IPS_MAX, "]; } );\n");
	c = accept(text);
	assert_int_equal(c->peers[0].n_allowed_ips, CONFIG_ALLOWED_IPS_MAX);
	config_free(c);
	free(text);
	refuse_one(repeat(head, "\"10.%u.%u.0/24\"", CONFIG_ALLOWED_IPS_MAX + 1, "]; } );\n"),
		"peers[0].allowed_ips", "has 4097 networks; at most 4096 are possible");
	refuse_one(repeat(KEY "ports = (", "{ name = \"p%u_%u\"; }", CONFIG_PORTS_MAX + 1, ");\n"),
		"ports", "has 17 elements; at most 16 are possible");
	refuse_one(
		repeat(KEY "addresses = [", "\"10.0.%u.%u/24\"", CONFIG_ADDRESSES_MAX + 1, "];\n"),
		"addresses", "has 17 elements; at most 16 are possible");
	refuse_one(repeat(KEY "cpus = [", "%u%u", CONFIG_WORKERS_MAX + 1, "];\n"), "cpus",
		"has 33 elements; at most 32 are possible");
	char host[400];
	memset(host, 'a', sizeof(host));
	for (unsigned i = 50; i < 300; i += 50)
		host[i] = '.';
	strcpy(&host[254], ":5");
	text = repeat(KEY "peers = ( { public_key = \"" PUBLIC_A "\"; endpoint = \"", host, 1,
		"\"; } );\n");
	struct config_error err;
	assert_int_equal(config_parse_string(text, "test.conf", &c, &err), -EINVAL);
	assert_string_equal(err.key, "peers[0].endpoint");
	free(text);
}

struct place {
	char dir[32];
	char conf[64];
	char key[64];
};

static void write_file(const char *path, const char *text, mode_t mode)
{
	unlink(path);
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(path, mode), 0);
}

static int place_setup(void **state)
{
	struct place *p = calloc(1, sizeof(*p));
	if (!p)
		return -1;
	strcpy(p->dir, "/tmp/test_config.XXXXXX");
	if (!mkdtemp(p->dir))
		return -1;
	snprintf(p->conf, sizeof(p->conf), "%s/tailgate.conf", p->dir);
	snprintf(p->key, sizeof(p->key), "%s/private.key", p->dir);
	*state = p;
	return 0;
}

static int place_teardown(void **state)
{
	struct place *p = *state;
	unlink(p->conf);
	unlink(p->key);
	rmdir(p->dir);
	free(p);
	return 0;
}

// Load p->conf: an error's number, and its text compared when one is expected.
static void expect_load(const struct place *p, int expected, const char *key, const char *form)
{
	struct config *c = NULL;
	struct config_error err = {0};
	char message[CONFIG_ERROR_MESSAGE_LEN];
	int rc = config_load(p->conf, &c, &err);
	if (rc != expected)
		fail_msg("%d instead of %d: %s", rc, expected, err.message);
	if (rc == 0) {
		struct key k;
		assert_int_equal(key_parse(PRIVATE, &k), 0);
		assert_memory_equal(&c->private_key, &k, sizeof(k));
		config_free(c);
		return;
	}
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(message, sizeof(message), form, p->key, p->key);
#pragma GCC diagnostic pop
	assert_string_equal(err.message, message);
	assert_string_equal(err.key, key);
	assert_string_equal(err.file, p->conf);
}

static void test_key_file(void **state)
{
	const struct place *p = *state;
	static const char key[] = "private_key_file";
	write_file(p->conf, "private_key_file = \"private.key\";\n", 0644); // relative to the file
	expect_load(p, -ENOENT, key, "cannot open %s: No such file or directory");
	write_file(p->key, PRIVATE "\n", 0600);
	expect_load(p, 0, NULL, NULL);
	write_file(p->key, " " PRIVATE " \r\n\n", 0400);
	expect_load(p, 0, NULL, NULL);
	write_file(p->key, PRIVATE "\n", 0640);
	expect_load(p, -EACCES, key, "group or others may use %s (mode 0640); chmod 600 %s");
	write_file(p->key, PRIVATE "\n", 0604);
	expect_load(p, -EACCES, key, "group or others may use %s (mode 0604); chmod 600 %s");
	static const char *const broken[] = {"", "\n", "short\n", PRIVATE PRIVATE, PRIVATE "\nx\n"};
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
		write_file(p->key, broken[i], 0600);
		expect_load(p, -EINVAL, key,
			"%s holds no key: expected one line of 44 characters of base64");
	}
	write_file(p->key, ZERO, 0600);
	expect_load(p, -EINVAL, key, "%s holds a key of zeroes only");
	unlink(p->key);
	assert_int_equal(mkfifo(p->key, 0600), 0); // must not block either
	expect_load(p, -EINVAL, key, "%s is not a regular file");
}

static void test_config_permissions(void **state)
{
	const struct place *p = *state;
	write_file(p->conf, KEY, 0600);
	expect_load(p, 0, NULL, NULL);
	static const mode_t modes[] = {0644, 0640, 0604, 0620};
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		char message[256];
		snprintf(message, sizeof(message),
			"is in a file that group or others may use (mode %04o); chmod 600 %s",
			(unsigned)modes[i], p->conf);
		write_file(p->conf, KEY, modes[i]);
		expect_load(p, -EACCES, "private_key", message);
	}
	write_file(p->key, PRIVATE, 0600);
	write_file(p->conf,
		"private_key_file = \"private.key\";\npeers = ( { public_key = \"" PUBLIC_A "\";\n"
		"preshared_key = \"" PUBLIC_B "\"; } );\n",
		0644);
	struct config *c;
	struct config_error err;
	assert_int_equal(config_load(p->conf, &c, &err), -EACCES);
	assert_int_equal(err.line, 3);
	assert_string_equal(err.key, "peers[0].preshared_key");
}

static void test_unreadable(void **state)
{
	const struct place *p = *state;
	struct config *c = NULL;
	struct config_error err;
	unlink(p->conf);
	expect_load(p, -ENOENT, "", "cannot be opened: No such file or directory");
	assert_int_equal(config_load(p->dir, &c, &err), -EINVAL);
	assert_string_equal(err.message, "is not a regular file");
	assert_null(c);
}

static char *file_text(const char *path)
{
	static char text[65536];
	FILE *f = fopen(path, "r");
	if (!f)
		fail_msg("cannot open %s", path);
	text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
	fclose(f);
	return text;
}

static void compare_generated(void (*print)(FILE *), const char *path)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	print(out);
	fclose(out);
	if (strcmp(text, file_text(path)) != 0)
		fail_msg("%s is out of date; config/genman.c says how to make it", path);
	free(text);
}

static void test_generated_files(void **)
{
	compare_generated(config_print_man, VECTORS "/../../docs/man/tailgate.conf.5");
	compare_generated(config_print_example, VECTORS "/../../config/tailgate.conf.example");
}

static bool is_secret(const char *line)
{
	return strstr(line, "private_key") || strstr(line, "preshared_key");
}

// Of a port only one kind is possible at a time.
static bool is_owned(const char *line)
{
	return strstr(line, "device") || strstr(line, "mirror") || strstr(line, "addresses");
}

// The example is valid, and stays so with every default written out.
static void test_example(void **)
{
	char *text = NULL, *rest = file_text(VECTORS "/../../config/tailgate.conf.example"), *line;
	size_t size;
	unsigned written_out = 0;
	FILE *out = open_memstream(&text, &size);
	fputs(KEY, out);
	while ((line = strsep(&rest, "\n"))) {
		char *hash = strchr(line, '#');
		bool setting = hash && hash[1] >= 'a' && hash[1] <= 'z';
		if (is_secret(line) || (line[0] == '\t' && is_owned(line)))
			continue;
		if (setting) {
			*hash = ' ';
			written_out++;
		}
		fprintf(out, "%s\n", line);
	}
	fclose(out);
	struct config *c = accept(text);
	assert_true(written_out > 20);
	assert_string_equal(c->ports[0].interface, "eth1");
	assert_int_equal(c->peers[0].n_allowed_ips, 2);
	assert_int_equal(c->metrics.port, 9641);
	config_free(c);
	free(text);
}

// What a row promises, the reader and the man page rely on.
static void test_key_table(void **)
{
	for (unsigned i = 0; i < config_n_keys; i++) {
		const struct config_key *k = &config_keys[i];
		assert_non_null(k->help);
		assert_ptr_equal(config_key_find(k->section, k->name), k);
		assert_ptr_equal(config_key_nearest(k->section, k->name), k);
		if (k->type == &type_number || k->type == &type_choice)
			assert_int_equal(k->size, sizeof(uint32_t));
		if (k->type == &type_bool)
			assert_int_equal(k->size, sizeof(bool));
		if (k->type == &type_number)
			assert_in_range(k->number, k->min, k->max);
		if (k->text)
			assert_in_range(strlen(k->text), 0, k->size - 1);
	}
	assert_null(config_key_nearest(SECTION_TOP, ""));
	assert_null(config_key_nearest(SECTION_PEER, "___"));
}

// As tailscaled is told it.
static void test_tailnet_mtu(void **)
{
	static const struct {
		const char *text;
		int rc;
		uint32_t mtu;
	} cases[] = {
		{NULL, 0, 1280},
		{"1280", 0, 1280},
		{"8921", 0, 8921},
		{"576", 0, 576},
		{"9216", 0, 9216},
		{"575", -EINVAL, 1280},
		{"9217", -EINVAL, 1280},
		{"65536", -EINVAL, 1280},
		{"18446744073709551617", -EINVAL, 1280},
		{"", -EINVAL, 1280},
		{"0", -EINVAL, 1280},
		{"-8921", -EINVAL, 1280},
		{"+8921", -EINVAL, 1280},
		{" 8921", -EINVAL, 1280},
		{"8921 ", -EINVAL, 1280},
		{"8921k", -EINVAL, 1280},
		{"0x1000", -EINVAL, 1280},
		{"many", -EINVAL, 1280},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint32_t mtu = 7;
		assert_int_equal(config_tailnet_mtu(cases[i].text, &mtu), cases[i].rc);
		assert_int_equal(mtu, cases[i].mtu);
	}
	static const struct {
		const char *text;
		uint32_t mtu;
	} files[] = {
		{"tailnet = true;", 8921}, {"tailnet = true; mtu = 1400;", 1400},
		{KEY, 1420}, // of static peers
	};
	setenv(CONFIG_MTU_VARIABLE, "8921", 1);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		struct config *c = accept(files[i].text);
		assert_int_equal(c->mtu, files[i].mtu);
		config_free(c);
	}
	unsetenv(CONFIG_MTU_VARIABLE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_every_top_level_key),
		cmocka_unit_test(test_ports),
		cmocka_unit_test(test_peers),
		cmocka_unit_test(test_endpoints),
		cmocka_unit_test(test_error_format),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_tailnet_mtu),
		cmocka_unit_test_setup_teardown(test_key_file, place_setup, place_teardown),
		cmocka_unit_test_setup_teardown(
			test_config_permissions, place_setup, place_teardown),
		cmocka_unit_test_setup_teardown(test_unreadable, place_setup, place_teardown),
		cmocka_unit_test(test_generated_files),
		cmocka_unit_test(test_example),
		cmocka_unit_test(test_key_table),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
