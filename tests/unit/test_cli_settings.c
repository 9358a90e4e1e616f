// Flags of 'up' and 'set' to preferences and back.
#include "control/cli/settings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
// after the above, as cmocka asks
#include <cmocka.h>

#define N(array) (sizeof(array) / sizeof(array[0]))

enum { WORDS_MAX = 8 };

static const char status_text[] =
	"{\"BackendState\":\"Running\",\"MagicDNSSuffix\":\"lab.test\",\"TailscaleIPs\":"
	"[\"100.64.0.1\"],\"Self\":{\"DNSName\":\"alice.lab.test.\",\"TailscaleIPs\":"
	"[\"100.64.0.1\"]},\"Peer\":{\"nodekey:2\":{\"ID\":\"n2\",\"DNSName\":\"bob.lab.test.\","
	"\"TailscaleIPs\":[\"100.64.0.2\"],\"ExitNodeOption\":true},\"nodekey:3\":{\"ID\":\"n3\","
	"\"DNSName\":\"carol.lab.test.\",\"TailscaleIPs\":[\"100.64.0.3\"]},\"nodekey:4\":{"
	"\"DNSName\":\"twin.lab.test.\",\"ExitNodeOption\":true},\"nodekey:5\":{\"DNSName\":"
	"\"twin.lab.test.\",\"ExitNodeOption\":true},\"nodekey:6\":{\"DNSName\":"
	"\"bare.lab.test.\",\"ExitNodeOption\":true}}}";

// As the daemon has them before anything is set, on a server of one's own.
static const char prefs_text[] =
	"{\"ControlURL\":\"http://hs.test\",\"RouteAll\":false,\"ExitNodeID\":\"\","
	"\"ExitNodeIP\":\"\",\"ExitNodeAllowLANAccess\":false,\"CorpDNS\":true,\"ShieldsUp\":false,"
	"\"AdvertiseTags\":null,\"Hostname\":\"\",\"AdvertiseRoutes\":null,\"NoSNAT\":false,"
	"\"RunSSH\":true}";

static void read_line(const char *const words[], struct cli *cli, char *argv[static WORDS_MAX + 1])
{
	char err[CLI_ERROR_LEN];
	int argc = 1;
	argv[0] = "tailgate";
	while (argc <= WORDS_MAX && words[argc - 1] != NULL) {
		argv[argc] = (char *)words[argc - 1];
		argc++;
	}
	if (cli_parse(argc, argv, cli, err) < 0)
		fail_msg("%s", err);
}

// The preferences after a command line; NULL: refused, with err.
static json_t *after(const char *const words[], const char *before, bool defaults, char *err)
{
	struct cli cli;
	char *argv[WORDS_MAX + 1];
	read_line(words, &cli, argv);
	json_t *status = json_loads(status_text, 0, NULL), *prefs = json_loads(before, 0, NULL);
	json_t *wanted = settings_prefs(&cli, status, prefs, defaults, err);
	json_decref(status);
	json_decref(prefs);
	return wanted;
}

// What one flag of 'set' changes.
static void test_one_flag(void **)
{
	static const struct {
		const char *flag, *pref, *value; // JSON
	} cases[] = {
		{"--accept-routes", "RouteAll", "true"},
		{"-accept-routes", "RouteAll", "true"},
		{"--accept-routes=0", "RouteAll", "false"},
		{"--accept-dns=false", "CorpDNS", "false"},
		{"--shields-up=T", "ShieldsUp", "true"},
		{"--snat-subnet-routes=false", "NoSNAT", "true"},
		{"--snat-subnet-routes", "NoSNAT", "false"},
		{"--stateful-filtering", "NoStatefulFiltering", "false"},
		{"--stateful-filtering=false", "NoStatefulFiltering", "true"},
		{"--netfilter-mode=on", "NetfilterMode", "2"},
		{"--netfilter-mode=nodivert", "NetfilterMode", "1"},
		{"--netfilter-mode=off", "NetfilterMode", "0"},
		{"--exit-node-allow-lan-access", "ExitNodeAllowLANAccess", "true"},
		{"--hostname=gw-1", "Hostname", "\"gw-1\""},
		{"--hostname=", "Hostname", "\"\""},
		{"--operator=ada", "OperatorUser", "\"ada\""},
		{"--exit-node=bob", "ExitNodeIP", "\"100.64.0.2\""},
		{"--exit-node=bob.lab.test.", "ExitNodeIP", "\"100.64.0.2\""},
		{"--exit-node=100.64.0.2", "ExitNodeIP", "\"100.64.0.2\""},
		{"--exit-node=", "ExitNodeIP", "\"\""},
		{"--exit-node=auto:any", "AutoExitNode", "\"any\""},
		{"--advertise-routes=", "AdvertiseRoutes", "[]"},
		{"--advertise-routes=10.9.0.0/16,192.168.1.0/24,10.9.0.0/16,10.0.0.0/8",
			"AdvertiseRoutes", "[\"10.0.0.0/8\",\"10.9.0.0/16\",\"192.168.1.0/24\"]"},
		{"--advertise-routes=::/0,0.0.0.0/0", "AdvertiseRoutes",
			"[\"0.0.0.0/0\",\"::/0\"]"},
		{"--advertise-routes=fd7a:115c:a1e0:b1a:0:ff:c0a8:100/120", "AdvertiseRoutes",
			"[\"fd7a:115c:a1e0:b1a:0:ff:c0a8:100/120\"]"},
		{"--advertise-connector", "AppConnector", "{\"Advertise\":true}"},
		{"--advertise-connector=false", "AppConnector", "{\"Advertise\":false}"},
		{"--advertise-exit-node", "AdvertiseRoutes", "[\"0.0.0.0/0\",\"::/0\"]"},
	};
	for (unsigned i = 0; i < N(cases); i++) {
		char err[CLI_ERROR_LEN] = "";
		const char *words[WORDS_MAX] = {"set", cases[i].flag};
		json_t *wanted = after(words, prefs_text, false, err);
		json_t *value = json_loads(cases[i].value, JSON_DECODE_ANY, NULL);
		if (!json_equal(json_object_get(wanted, cases[i].pref), value))
			fail_msg("%s: %s", cases[i].flag, err);
		// What nobody named, and what we do not know, stays.
		assert_true(json_is_true(json_object_get(wanted, "RunSSH")));
		assert_string_equal(
			json_string_value(json_object_get(wanted, "ControlURL")), "http://hs.test");
		json_decref(wanted);
		json_decref(value);
	}
}

static void test_refusals(void **)
{
	static const struct {
		const char *flag, *says;
	} cases[] = {
		{"--advertise-routes=10.0.0.1/8",
			"10.0.0.1/8 has non-address bits set; expected 10.0.0.0/8"},
		{"--advertise-routes=10.0.0.1", "not a valid IP address or CIDR prefix"},
		{"--advertise-routes=foo", "\"foo\" is not a valid"},
		{"--advertise-routes=10.0.0.0/8,", "\"\" is not a valid"},
		{"--advertise-routes=,10.0.0.0/8", "\"\" is not a valid"},
		{"--advertise-routes=10.0.0.0/33", "is not a valid"},
		{"--advertise-routes=10.0.0.0/8 ,10.9.0.0/16", "is not a valid"},
		{"--advertise-routes=0.0.0.0/0", "without its IPv6 counterpart"},
		{"--advertise-routes=::/0", "without its IPv4 counterpart"},
		{"--advertise-routes=fd7a:115c:a1e0:b1a::/64", "4via6"},
		{"--advertise-routes=fd7a:115c:a1e0:b1a:1:0:a00::/104", "4via6"},
		{"--hostname=-x", "expected a host name"},
		{"--hostname=a b", "expected a host name"},
		{"--hostname=a..b", "expected a host name"},
		{"--hostname=a_b", "expected a host name"},
		{"--hostname=a123456789012345678901234567890123456789012345678901234567890123",
			"expected a host name"},
		{"--operator=\xff", "UTF-8"},
		{"--exit-node=carol", "node \"carol\" is not advertising an exit node"},
		{"--exit-node=100.64.0.3", "node 100.64.0.3 is not advertising an exit node"},
		{"--exit-node=100.64.0.1", "did you mean --advertise-exit-node?"},
		{"--exit-node=100.64.0.99", "no node found in netmap with IP 100.64.0.99"},
		{"--exit-node=nobody", "must be IP or peer hostname"},
		{"--exit-node=twin", "ambiguous exit node name \"twin\""},
		{"--exit-node=bare", "has no Tailscale IP"},
	};
	for (unsigned i = 0; i < N(cases); i++) {
		char err[CLI_ERROR_LEN] = "";
		const char *words[WORDS_MAX] = {"set", cases[i].flag};
		if (after(words, prefs_text, false, err) != NULL ||
			strstr(err, cases[i].says) == NULL)
			fail_msg("%s: %s", cases[i].flag, err);
	}
	static const struct {
		const char *flag, *says;
	} up[] = {
		{"--advertise-tags=1x", "a tag is"},
		{"--advertise-tags=tag:", "a tag is"},
		{"--advertise-tags=user:x", "a tag is"},
		{"--advertise-tags=a,,b", "a tag is"},
		{"--advertise-tags=a b", "a tag is"},
		{"--login-server=hs.test", "expected a URL"},
		{"--login-server=ftp://hs.test", "expected a URL"},
		{"--login-server=https://", "expected a URL"},
		{"--exit-node-allow-lan-access", "can only be used with --exit-node"},
	};
	for (unsigned i = 0; i < N(up); i++) {
		char err[CLI_ERROR_LEN] = "";
		const char *words[WORDS_MAX] = {"up", up[i].flag};
		if (after(words, prefs_text, true, err) != NULL || strstr(err, up[i].says) == NULL)
			fail_msg("%s: %s", up[i].flag, err);
	}
}

// --advertise-routes and --advertise-exit-node share a preference.
static void test_routes_together(void **)
{
	static const char before[] = "{\"ControlURL\":\"http://hs.test\",\"AdvertiseRoutes\":"
				     "[\"0.0.0.0/0\",\"::/0\",\"10.1.0.0/16\"]}";
	static const struct {
		const char *words[WORDS_MAX];
		bool defaults;
		const char *routes;
	} cases[] = {
		{{"set", "--advertise-routes=10.2.0.0/16"}, false,
			"[\"0.0.0.0/0\",\"::/0\",\"10.2.0.0/16\"]"},
		{{"set", "--advertise-exit-node=false"}, false, "[\"10.1.0.0/16\"]"},
		{{"set", "--advertise-exit-node"}, false,
			"[\"0.0.0.0/0\",\"::/0\",\"10.1.0.0/16\"]"},
		{{"set", "--advertise-routes=", "--advertise-exit-node=false"}, false, "[]"},
		{{"set", "--shields-up"}, false, "[\"0.0.0.0/0\",\"::/0\",\"10.1.0.0/16\"]"},
		{{"up", "--advertise-routes=10.2.0.0/16"}, true, "[\"10.2.0.0/16\"]"},
		{{"up", "--advertise-exit-node"}, true, "[\"0.0.0.0/0\",\"::/0\"]"},
		{{"up"}, true, "[]"},
	};
	for (unsigned i = 0; i < N(cases); i++) {
		char err[CLI_ERROR_LEN] = "";
		json_t *wanted = after(cases[i].words, before, cases[i].defaults, err);
		json_t *routes = json_loads(cases[i].routes, 0, NULL);
		if (!json_equal(json_object_get(wanted, "AdvertiseRoutes"), routes))
			fail_msg("case %u: %s", i, err);
		json_decref(wanted);
		json_decref(routes);
	}
}

static void test_masked(void **)
{
	static const struct {
		const char *words[WORDS_MAX];
		const char *masked;
		unsigned named;
	} cases[] = {
		{{"set", "--shields-up=false"}, "{\"ShieldsUp\":false,\"ShieldsUpSet\":true}", 1},
		{{"set", "--exit-node="},
			"{\"ExitNodeIP\":\"\",\"ExitNodeIPSet\":true,\"ExitNodeID\":\"\","
			"\"ExitNodeIDSet\":true}",
			1},
		{{"set", "--exit-node=auto:any"},
			"{\"ExitNodeIP\":\"\",\"ExitNodeIPSet\":true,\"ExitNodeID\":\"\","
			"\"ExitNodeIDSet\":true,\"AutoExitNode\":\"any\",\"AutoExitNodeSet\":true}",
			1},
		{{"set", "--advertise-exit-node=false", "--advertise-routes", "10.0.0.0/8"},
			"{\"AdvertiseRoutes\":[\"10.0.0.0/8\"],\"AdvertiseRoutesSet\":true}", 2},
		{{"up", "--timeout=3s"}, "{}", 0},
	};
	for (unsigned i = 0; i < N(cases); i++) {
		char err[CLI_ERROR_LEN] = "", *argv[WORDS_MAX + 1];
		struct cli cli;
		read_line(cases[i].words, &cli, argv);
		json_t *wanted = after(cases[i].words, prefs_text, false, err);
		json_t *masked = settings_masked(&cli, wanted, false);
		json_t *expected = json_loads(cases[i].masked, 0, NULL);
		if (!json_equal(masked, expected))
			fail_msg("case %u: %s", i, json_dumps(masked, 0));
		assert_int_equal(settings_named(&cli), cases[i].named);
		json_decref(wanted);
		json_decref(masked);
		json_decref(expected);
	}
	struct cli cli;
	char err[CLI_ERROR_LEN], *argv[WORDS_MAX + 1];
	static const char *const up[WORDS_MAX] = {"up", "--reset"};
	read_line(up, &cli, argv);
	json_t *wanted = after(up, prefs_text, true, err);
	json_t *masked = settings_masked(&cli, wanted, true);
	assert_true(json_is_true(json_object_get(masked, "AdvertiseTagsSet")));
	assert_true(json_is_true(json_object_get(masked, "NoSNATSet")));
	assert_string_equal(json_string_value(json_object_get(masked, "ControlURL")),
		"https://controlplane.tailscale.com");
	json_decref(wanted);
	json_decref(masked);
}

// The words that the tailscale command prints for the same settings and flags, from its rules.
static void test_reverted(void **)
{
	static const char set[] =
		"{\"ControlURL\":\"http://hs.test\",\"RouteAll\":true,\"CorpDNS\":false,"
		"\"ExitNodeID\":\"n2\",\"ExitNodeIP\":\"\",\"AdvertiseTags\":[\"tag:a\",\"tag:b\"],"
		"\"Hostname\":\"it's\",\"AdvertiseRoutes\":[\"0.0.0.0/0\",\"::/0\",\"10.1.0.0/"
		"16\"],"
		"\"NoSNAT\":true,\"NoStatefulFiltering\":false,\"NetfilterMode\":1,"
		"\"OperatorUser\":\"ada\",\"ShieldsUp\":true}";
	static const struct {
		const char *before;
		const char *words[WORDS_MAX];
		const char *text;
	} cases[] = {
		{prefs_text, {"up", "--login-server=http://hs.test"}, ""},
		{prefs_text, {"up", "--hostname=x"}, " --hostname=x --login-server=http://hs.test"},
		{prefs_text, {"up", "--login-server=http://hs.test", "--accept-routes"}, ""},
		{"{\"ControlURL\":\"https://login.tailscale.com\",\"CorpDNS\":true}",
			{"up", "--hostname=x"}, ""},
		{set,
			{"up", "--timeout", "5s", "--auth-key=secret", "--shields-up",
				"--accept-dns=false"},
			" --accept-dns=false --auth-key=KEY --shields-up --timeout=5s "
			"--accept-routes --advertise-exit-node --advertise-routes=10.1.0.0/16 "
			"--advertise-tags=tag:a,tag:b --exit-node=100.64.0.2 --hostname='it'\\''s' "
			"--login-server=http://hs.test --netfilter-mode=nodivert --operator=ada "
			"--snat-subnet-routes=false --stateful-filtering"},
	};
	unsetenv("USER");
	for (unsigned i = 0; i < N(cases); i++) {
		char err[CLI_ERROR_LEN] = "", *argv[WORDS_MAX + 1];
		struct cli cli;
		read_line(cases[i].words, &cli, argv);
		json_t *status = json_loads(status_text, 0, NULL);
		json_t *before = json_loads(cases[i].before, 0, NULL);
		json_t *wanted = settings_prefs(&cli, status, before, true, err);
		char *text = settings_reverted(&cli, status, before, wanted);
		assert_non_null(text);
		assert_string_equal(text, cases[i].text);
		free(text);
		json_decref(status);
		json_decref(before);
		json_decref(wanted);
	}
}

static void test_operator_stays(void **)
{
	static const char before[] = "{\"ControlURL\":\"http://hs.test\",\"OperatorUser\":\"ada\"}";
	static const struct {
		const char *user;
		const char *words[WORDS_MAX];
		const char *operator_user;
	} cases[] = {
		{"ada", {"up"}, "ada"},
		{"ada", {"up", "--operator="}, ""},
		{"ada", {"up", "--reset"}, ""},
		{"bob", {"up"}, ""},
	};
	for (unsigned i = 0; i < N(cases); i++) {
		char err[CLI_ERROR_LEN] = "";
		setenv("USER", cases[i].user, 1);
		json_t *wanted = after(cases[i].words, before, true, err);
		assert_string_equal(json_string_value(json_object_get(wanted, "OperatorUser")),
			cases[i].operator_user);
		json_decref(wanted);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_flag),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_routes_together),
		cmocka_unit_test(test_masked),
		cmocka_unit_test(test_reverted),
		cmocka_unit_test(test_operator_stays),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
