// config/import: wg and wg-quick files to tailgate.conf.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "config/import.h"
#include "tests/unit/config_text.h"

#define INTERFACE "[Interface]\nPrivateKey = " PRIVATE "\n"	// lines 1 and 2
#define ONE_PEER INTERFACE "[Peer]\nPublicKey = " PUBLIC_A "\n" // lines 3 and 4

struct result {
	int rc;
	char *text, *warnings;
	size_t text_len, warnings_len;
	struct config_error err;
};

static struct result run(const char *input, size_t len, const char *key_path)
{
	struct result r = {0};
	FILE *in = fmemopen((void *)(uintptr_t)input, len, "r");
	FILE *out = open_memstream(&r.text, &r.text_len);
	FILE *warnings = open_memstream(&r.warnings, &r.warnings_len);
	assert_true(in && out && warnings);
	r.rc = import_wg(in, "wg0.conf", key_path, out, warnings, &r.err);
	fclose(in);
	fclose(out);
	fclose(warnings);
	return r;
}

static void result_free(struct result *r)
{
	free(r->text);
	free(r->warnings);
}

// Import, check the warnings, and read what came out.
static struct config *accept(const char *input, const char *expected_warnings)
{
	struct config *c = NULL;
	struct config_error err;
	char reason[CONFIG_ERROR_TEXT_LEN];
	struct result r = run(input, strlen(input), NULL);
	if (r.rc < 0)
		fail_msg("refused: %s", config_error_format(&r.err, reason));
	assert_string_equal(r.warnings, expected_warnings);
	if (config_parse_string(r.text, "out", &c, &err) < 0)
		fail_msg("%s\n%s", config_error_format(&err, reason), r.text);
	result_free(&r);
	return c;
}

static void test_everything(void **)
{
	struct config *c = accept("\xef\xbb\xbf# a comment\r\n"
				  "[interface]\r\n"
				  "  privatekey=" PRIVATE " # behind a value\r\n"
				  "LISTENPORT = 51820\r\n"
				  "Address = 10.0.0.1/24, fd00::1/64\r\n"
				  "Address=10.9.0.1\r\n"
				  "MTU = 1380\r\n"
				  "Table = auto\r\n"
				  "FwMark = off\r\n"
				  "SaveConfig = false\r\n"
				  "\r\n"
				  "[PEER]\r\n"
				  "PublicKey = " PUBLIC_A "\r\n"
				  "PresharedKey = " PUBLIC_B "\r\n"
				  "AllowedIPs = 10.2.0.7/24,fd00:2::/64\r\n"
				  "allowedips = 192.0.2.1\r\n"
				  "AllowedIPs =\r\n"
				  "Endpoint = [2001:db8::5]:51820\r\n"
				  "PersistentKeepalive = 25\r\n"
				  "[Peer]\r\n"
				  "PublicKey = " PUBLIC_B "\r\n"
				  "Endpoint = gw.example.org:41641\r\n"
				  "PersistentKeepalive = off",
		"");
	char text[PREFIX_TEXT_LEN];
	assert_int_equal(c->private_key.bytes[0], 0xc8);
	assert_int_equal(c->listen_port, 51820);
	assert_int_equal(c->mtu, 1380);
	assert_true(c->routes);
	assert_int_equal(c->addresses.count, 3);
	assert_int_equal(c->addresses.list[0].addr.bytes[3], 1);
	assert_int_equal(c->addresses.list[0].len, 24);
	assert_int_equal(c->addresses.list[2].len, 32);
	assert_int_equal(c->n_peers, 2);
	assert_false(key_is_zero(&c->peers[0].preshared_key));
	assert_int_equal(c->peers[0].n_allowed_ips, 3);
	assert_string_equal(ip_prefix_format(&c->peers[0].allowed_ips[0], text), "10.2.0.0/24");
	assert_string_equal(ip_prefix_format(&c->peers[0].allowed_ips[2], text), "192.0.2.1/32");
	assert_string_equal(c->peers[0].endpoint_host, "2001:db8::5");
	assert_int_equal(c->peers[0].endpoint.port, 51820);
	assert_int_equal(c->peers[0].persistent_keepalive_s, 25);
	assert_string_equal(c->peers[1].endpoint_host, "gw.example.org");
	assert_int_equal(c->peers[1].endpoint_port, 41641);
	assert_int_equal(c->peers[1].persistent_keepalive_s, 0);
	config_free(c);
}

static void test_smallest(void **)
{
	struct config *c = accept(INTERFACE, "");
	assert_int_equal(c->listen_port, 0); // wg takes a random one
	assert_int_equal(c->mtu, 1420);
	assert_int_equal(c->n_peers, 0);
	config_free(c);
}

struct warning {
	const char *text;
	const char *warnings;
};

#define NOT_EXECUTED "not executed; do it in a unit of the init system, if it is needed\n"

static const struct warning warnings[] = {
	{INTERFACE "PostUp = touch /tmp/never; iptables -A FORWARD -i %i -j ACCEPT\n"
		   "preup = a\nPREDOWN = b\nPostDown=\n",
		"wg0.conf:3: PostUp: " NOT_EXECUTED "wg0.conf:4: PreUp: " NOT_EXECUTED
		"wg0.conf:5: PreDown: " NOT_EXECUTED "wg0.conf:6: PostDown: " NOT_EXECUTED},
	{INTERFACE "DNS = 1.1.1.1\n",
		"wg0.conf:3: DNS: there is no equivalent; set the host's resolver yourself\n"},
	{INTERFACE "FwMark = 0x100\n",
		"wg0.conf:3: FwMark: there is no equivalent; Tailgate's packets do not cross the "
		"kernel's routing\n"},
	{INTERFACE "SaveConfig = true\n", "wg0.conf:3: SaveConfig: there is no equivalent; "
					  "tailgate.conf is never written to\n"},
	{INTERFACE "Table = off\n", ""},
	{INTERFACE "Table = 1234\n",
		"wg0.conf:3: Table: routes go into the main table only; routes = false is written, "
		"install them yourself\n"},
	// The later peer gets a network that two have; of one peer's own the second goes silently.
	{ONE_PEER
		"AllowedIPs = 10.2.0.0/24, 10.3.0.0/24, 10.3.0.1/24\n[Peer]\nPublicKey = " PUBLIC_B
		"\nAllowedIPs = 10.2.0.9/24\n",
		"wg0.conf: AllowedIPs: 10.2.0.0/24 is there for peers 1 and 2; the later one gets "
		"it\n"},
};

static void test_warnings(void **)
{
	for (size_t i = 0; i < sizeof(warnings) / sizeof(warnings[0]); i++)
		config_free(accept(warnings[i].text, warnings[i].warnings));
	struct config *c = accept(INTERFACE "Table = off\n", "");
	assert_false(c->routes);
	config_free(c);
	c = accept(warnings[6].text, warnings[6].warnings);
	assert_int_equal(c->peers[0].n_allowed_ips, 1);
	assert_int_equal(c->peers[0].allowed_ips[0].addr.bytes[1], 3);
	assert_int_equal(c->peers[1].n_allowed_ips, 1);
	config_free(c);
	assert_int_equal(access("/tmp/never", F_OK), -1);
}

static const struct refusal refusals[] = {
	{"PrivateKey = " PRIVATE "\n", 1, "PrivateKey", "stands before the first section"},
	{"\n\n[Server]\n", 3, "", "unknown section; expected [Interface] or [Peer]"},
	{"[Interface\n", 1, "", "unknown section; expected [Interface] or [Peer]"},
	{INTERFACE "hello\n", 3, "", "expected a section or Key = Value"},
	{INTERFACE "Jc = 4\n", 3, "Jc", "unknown key in [Interface]"},
	{INTERFACE "= 4\n", 3, "", "unknown key in [Interface]"},
	{INTERFACE "PublicKey = " PUBLIC_A "\n", 3, "PublicKey", "unknown key in [Interface]"},
	{ONE_PEER "MTU = 1420\n", 5, "MTU", "unknown key in [Peer]"},
	{"[Interface]\nPrivateKey = x\n", 2, "PrivateKey",
		"is not a key of 44 characters of base64"},
	{"[Interface]\nPrivateKey = " ZERO "\n", 2, "PrivateKey", "is a key of zeroes only"},
	{INTERFACE "ListenPort = 65536\n", 3, "ListenPort",
		"\"65536\" is not a number from 0 to 65535"},
	{INTERFACE "ListenPort = 5x\n", 3, "ListenPort", "\"5x\" is not a number from 0 to 65535"},
	{INTERFACE "ListenPort =\n", 3, "ListenPort", "\"\" is not a number from 0 to 65535"},
	{INTERFACE "ListenPort = -1\n", 3, "ListenPort", "\"-1\" is not a number from 0 to 65535"},
	{INTERFACE "MTU = 99999999999999999999\n", 3, "MTU",
		"\"99999999999999999999\" is not a number from 576 to 9216"},
	{INTERFACE "MTU = 575\n", 3, "MTU", "\"575\" is not a number from 576 to 9216"},
	{INTERFACE "Address = 10.0.0.0.1/24\n", 3, "Address",
		"\"10.0.0.0.1/24\" is not an address"},
	{INTERFACE "Address = 10.0.0.1/24,\n", 3, "Address", "\"\" is not an address"},
	{INTERFACE "Address = 10.0.0.1/24\nAddress = 10.0.0.1\n", 4, "Address",
		"\"10.0.0.1\" is there twice"},
	{INTERFACE "[Peer]\nEndpoint = 1.2.3.4:5\n[Peer]\n", 3, "PublicKey",
		"missing in this [Peer]"},
	{INTERFACE "[Peer]\n", 3, "PublicKey", "missing in this [Peer]"},
	{INTERFACE "[Peer]\nPublicKey = " ZERO "\n", 3, "PublicKey", "missing in this [Peer]"},
	{INTERFACE "[Peer]\nPublicKey = \x1b[2J\n", 4, "PublicKey",
		"is not a key of 44 characters of base64"},
	{ONE_PEER "PresharedKey = x\n", 5, "PresharedKey",
		"is not a key of 44 characters of base64"},
	{ONE_PEER "Endpoint = 1.2.3.4\n", 5, "Endpoint",
		"\"1.2.3.4\" is not an address or a host name with a port"},
	{ONE_PEER "Endpoint = [fe80::1%eth0]:5\n", 5, "Endpoint",
		"\"[fe80::1%eth0]:5\" is not an address or a host name with a port"},
	{ONE_PEER "Endpoint = a\x01"
		  "b:5\n",
		5, "Endpoint", "\"a?b:5\" is not an address or a host name with a port"},
	{ONE_PEER "AllowedIPs = 10.0.0.0/33\n", 5, "AllowedIPs",
		"\"10.0.0.0/33\" is not a network"},
	{ONE_PEER "AllowedIPs = 10.0.0.0/8,, ::/0\n", 5, "AllowedIPs", "\"\" is not a network"},
	{ONE_PEER "PersistentKeepalive = 65536\n", 5, "PersistentKeepalive",
		"\"65536\" is not a number from 0 to 65535"},
	// what only the whole tells
	{INTERFACE "Address = fd00::1/64\nMTU = 1000\n", 0, "mtu",
		"1000 bytes are too few for the IPv6 address in addresses; write at least 1280"},
	{INTERFACE "[Peer]\nPublicKey = " PUBLIC_OWN "\n", 0, "peers[0].public_key",
		"is this gateway's own; write the peer's"},
	{ONE_PEER "[Peer]\nPublicKey = " PUBLIC_A "\n", 0, "peers[1].public_key",
		"is the same as that of peers[0]"},
};

static void expect_refusal(const char *text, size_t len, const struct refusal *f)
{
	struct result r = run(text, len, NULL);
	if (r.rc != -EINVAL)
		fail_msg("%d for: %s", r.rc, text);
	assert_string_equal(r.err.message, f->message);
	assert_string_equal(r.err.key, f->key);
	assert_string_equal(r.err.file, "wg0.conf");
	if (r.err.line != f->line)
		fail_msg("line %u, expected %u, of: %s", r.err.line, f->line, text);
	assert_int_equal(r.text_len, 0);
	result_free(&r);
}

static void test_refusals(void **)
{
	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++)
		expect_refusal(refusals[i].text, strlen(refusals[i].text), &refusals[i]);
	static const char utf16[] = "\xff\xfe[\0I\0n\0";
	const struct refusal zero = {
		utf16, 1, "", "contains a zero byte; expected text in ASCII or UTF-8"};
	expect_refusal(utf16, sizeof(utf16), &zero);
}

static void test_limits(void **)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);
	fputs(ONE_PEER, f);
	for (unsigned i = 0; i <= CONFIG_ALLOWED_IPS_MAX; i++)
		fprintf(f, "AllowedIPs = 10.%u.%u.0/24\n", i >> 8, i & 255);
	fclose(f);
	const struct refusal networks = {
		text, 5 + CONFIG_ALLOWED_IPS_MAX, "AllowedIPs", "more than 4096 allowed IPs"};
	expect_refusal(text, len, &networks);
	free(text);

	f = open_memstream(&text, &len);
	fputs(INTERFACE, f);
	for (unsigned i = 0; i <= CONFIG_ADDRESSES_MAX; i++)
		fprintf(f, "Address = 10.0.0.%u/24\n", i + 1);
	fclose(f);
	const struct refusal addresses = {
		text, 3 + CONFIG_ADDRESSES_MAX, "Address", "more than 16 addresses"};
	expect_refusal(text, len, &addresses);
	free(text);

	f = open_memstream(&text, &len);
	fputs(INTERFACE, f);
	for (unsigned i = 0; i <= CONFIG_PEERS_MAX; i++)
		fputs("[Peer]\nPublicKey=" PUBLIC_A "\n", f);
	fclose(f);
	const struct refusal peers = {text, 3 + 2 * CONFIG_PEERS_MAX, "", "more than 16384 peers"};
	expect_refusal(text, len, &peers);
	free(text);
}

static void test_key_file(void **)
{
	char dir[] = "/tmp/test_import.XXXXXX", path[64], line[128];
	struct stat st;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/private.key", dir);

	// A mistake leaves no key file behind.
	struct result r = run(INTERFACE "MTU = 1\n", strlen(INTERFACE "MTU = 1\n"), path);
	assert_int_equal(r.rc, -EINVAL);
	assert_int_equal(access(path, F_OK), -1);
	result_free(&r);

	r = run(INTERFACE, strlen(INTERFACE), path);
	assert_int_equal(r.rc, 0);
	assert_null(strstr(r.text, PRIVATE));
	snprintf(line, sizeof(line), "private_key_file = \"%s\";\n", path);
	assert_non_null(strstr(r.text, line));
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	struct config *c = NULL;
	struct config_error err;
	assert_int_equal(config_parse_string(r.text, "out", &c, &err), 0);
	assert_int_equal(c->private_key.bytes[0], 0xc8);
	config_free(c);
	result_free(&r);

	// What is there is never overwritten.
	r = run(INTERFACE, strlen(INTERFACE), path);
	assert_int_equal(r.rc, -EEXIST);
	assert_int_equal(r.text_len, 0);
	assert_non_null(strstr(r.err.message, "cannot be written to"));
	result_free(&r);
	unlink(path);
	rmdir(dir);
}

static void test_without_private_key(void **)
{
	static const char input[] = "[Interface]\nPostUp = wg set %i private-key /etc/k\n[Peer]\n"
				    "PublicKey = " PUBLIC_A "\n";
	struct config *c = NULL;
	struct config_error err;
	struct result r = run(input, strlen(input), "/nonexistent/key"); // not written to
	assert_int_equal(r.rc, 0);
	assert_string_equal(r.warnings,
		"wg0.conf:2: PostUp: " NOT_EXECUTED
		"wg0.conf: PrivateKey: missing; set private_key_file before the start\n");
	assert_int_equal(config_parse_string(r.text, "out", &c, &err), -EINVAL);
	assert_string_equal(err.key, "private_key_file");
	result_free(&r);
}

static void test_unreadable(void **)
{
	struct config_error err;
	FILE *in = fopen("/", "r"); // opens, but read fails
	assert_non_null(in);
	assert_int_equal(import_wg(in, "dir", NULL, stdout, stdout, &err), -EISDIR);
	assert_string_equal(err.message, "cannot be read: Is a directory");
	fclose(in);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_everything),
		cmocka_unit_test(test_smallest),
		cmocka_unit_test(test_warnings),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_key_file),
		cmocka_unit_test(test_without_private_key),
		cmocka_unit_test(test_unreadable),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
