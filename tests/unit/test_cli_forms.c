// The forms that the commands about a tailnet print. What is expected here was printed by the
// tailscale command 1.102.5 for the same status, but for the cases that say so.
#include "control/cli/ipn.h"
#include "control/cli/table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
// after the above, as cmocka asks
#include <cmocka.h>

#define N(array) (sizeof(array) / sizeof(array[0]))

enum { NOW_S = 1795240429 }; // 2026-11-21T05:53:49Z

static json_t *parse(const char *text)
{
	json_error_t mistake;
	json_t *json = json_loads(text, 0, &mistake);
	if (json == NULL)
		fail_msg("%s: %s", mistake.text, text);
	return json;
}

// --- Columns

static void test_table(void **)
{
	static const struct {
		const char *name, *text, *expected;
		size_t min_width, padding;
	} cases[] = {
		{"nothing", "", "", 0, 2},
		{"no cell", "plain\n", "plain\n", 0, 2},
		{"two rows", "a\tbb\t\nccc\td\t\n", "a    bb  \nccc  d   \n", 0, 2},
		{"characters, not bytes", "\xc3\xa4\tx\nbb\ty\n", "\xc3\xa4   x\nbb  y\n", 0, 2},
		{"a line without the column ends it", "a\tx\n-\nccc\ty\n", "a  x\n-\nccc  y\n", 0,
			2},
		{"empty cells", "\t\tx\naa\tb\ty\n", "       x\naa  b  y\n", 0, 2},
		{"least width", "a\tb\n", "a         b\n", 10, 5},
		{"above the least width", "abcdefgh\tb\n", "abcdefgh     b\n", 10, 5},
		{"no newline at the end", "a\tb", "a  b", 0, 2},
	};
	for (unsigned i = 0; i < N(cases); i++) {
		char *text = NULL;
		size_t n;
		FILE *out = open_memstream(&text, &n);
		assert_true(table_print(out, cases[i].text, cases[i].min_width, cases[i].padding));
		fclose(out);
		if (strcmp(text, cases[i].expected) != 0)
			fail_msg("%s: '%s'", cases[i].name, text);
		free(text);
	}
}

// --- Status

#define SELF                                                                                       \
	"\"Self\":{\"HostName\":\"alice\",\"DNSName\":\"alice.lab.test.\",\"OS\":\"linux\","       \
	"\"UserID\":1,\"TailscaleIPs\":[\"100.64.0.1\",\"fd7a:115c:a1e0::1\"],\"Online\":true,"    \
	"\"Relay\":\"lab901\",\"RxBytes\":0,\"TxBytes\":0}"
#define STATUS(peers)                                                                              \
	"{\"BackendState\":\"Running\",\"MagicDNSSuffix\":\"lab.test\",\"User\":{\"1\":{"          \
	"\"LoginName\":\"lab@example.com\"}},\"TailscaleIPs\":[\"100.64.0.1\"]," SELF              \
	",\"Peer\":{" peers "}}"
#define PEER(key, name, more)                                                                      \
	"\"nodekey:" key "\":{\"HostName\":\"" name "\",\"DNSName\":\"" name                       \
	".lab.test.\",\"OS\":\"linux\",\"UserID\":1,\"TailscaleIPs\":[\"100.64.0." key "\"]," more \
	"}"

// The last column of the one peer.
static void test_status_words(void **)
{
	static const struct {
		const char *peer, *words;
	} cases[] = {
		{"\"Online\":true", "-"},
		{"\"Online\":false", "offline"},
		{"\"Online\":false,\"LastSeen\":\"2026-11-21T03:53:00Z\"",
			"offline, last seen 2h ago"},
		{"\"Online\":true,\"TxBytes\":5,\"RxBytes\":0", "idle, tx 5 rx 0"},
		{"\"Online\":true,\"ExitNode\":true", "idle; exit node"},
		{"\"Online\":true,\"ExitNodeOption\":true", "idle; offers exit node"},
		{"\"Online\":false,\"ExitNodeOption\":true,\"LastSeen\":\"2026-11-21T05:48:49Z\"",
			"idle; offers exit node; offline, last seen 5m ago"},
		{"\"Online\":false,\"RxBytes\":1", "idle; offline, tx 0 rx 1"},
		{"\"Online\":true,\"Active\":true,\"Relay\":\"lab902\"",
			"active; relay \"lab902\""},
		{"\"Online\":true,\"Active\":true,\"Relay\":\"lab902\",\"CurAddr\":\"10.77.0.12:"
		 "41641\"",
			"active; direct 10.77.0.12:41641"},
		{"\"Online\":true,\"Active\":true,\"Relay\":\"lab902\","
		 "\"PeerRelay\":\"203.0.113.9:40000:vni:7\",\"TxBytes\":1584,\"RxBytes\":1336",
			"active; peer-relay 203.0.113.9:40000:vni:7, tx 1584 rx 1336"},
		{"\"Online\":true,\"Active\":true,\"ExitNode\":true,\"CurAddr\":\"10.77.0.12:"
		 "41641\"",
			"active; exit node; direct 10.77.0.12:41641"},
		{"\"Online\":false,\"Active\":true,\"ExitNodeOption\":true,\"Relay\":\"x\"",
			"active; offers exit node; relay \"x\"; offline"},
		{"\"Online\":true,\"Active\":true", "active; "},
	};
	static const struct ipn_view view = {.peers = true, .now_s = NOW_S};
	for (unsigned i = 0; i < N(cases); i++) {
		char json[2048], expected[512], *text = NULL;
		size_t n;
		snprintf(json, sizeof(json), STATUS(PEER("2", "bob", "%s")), cases[i].peer);
		snprintf(expected, sizeof(expected), "100.64.0.2  bob  lab@  linux  %s  \n",
			cases[i].words);
		json_t *status = parse(json);
		FILE *out = open_memstream(&text, &n);
		assert_true(ipn_show(out, status, &view));
		fclose(out);
		if (strcmp(text, expected) != 0)
			fail_msg("'%s' instead of '%s'", text, expected);
		json_decref(status);
		free(text);
	}
}

static void assert_shown(const char *json, const struct ipn_view *view, const char *expected)
{
	char *text = NULL;
	size_t n;
	json_t *status = parse(json);
	ipn_clean(status);
	FILE *out = open_memstream(&text, &n);
	assert_true(ipn_show(out, status, view));
	fclose(out);
	assert_string_equal(text, expected);
	json_decref(status);
	free(text);
}

static void test_status_table(void **)
{
	static const char all[] = STATUS(PEER("3", "carol",
		"\"Online\":true,\"Active\":true,\"CurAddr\":\"10.77.0.13:41641\"") "," //
		PEER("2", "bob", "\"Online\":true") ","					//
		PEER("4", "sharee",
			"\"ShareeNode\":true") "," //
					       "\"nodekey:9\":{\"HostName\":\"My "
					       "PC.local\",\"TailscaleIPs\":[],\"Online\":true}");
	struct ipn_view view = {.self = true, .peers = true, .now_s = NOW_S};
	assert_shown(all, &view,
		"100.64.0.1  alice      lab@  linux  -                                \n"
		"            (\"my-pc\")  -            -                                \n"
		"100.64.0.2  bob        lab@  linux  -                                \n"
		"100.64.0.3  carol      lab@  linux  active; direct 10.77.0.13:41641  \n");
	view.active = true;
	view.header = true;
	assert_shown(all, &view,
		"IP          Hostname  Owner  OS     Status                           \n"
		"--          --------  -----  --     ------                           \n"
		"100.64.0.1  alice     lab@   linux  -                                \n"
		"100.64.0.3  carol     lab@   linux  active; direct 10.77.0.13:41641  \n");
	view = (struct ipn_view){.self = true};
	assert_shown(all, &view, "100.64.0.1  alice  lab@  linux  -  \n");
	view = (struct ipn_view){.self = true};
	assert_shown("{\"BackendState\":\"Running\",\"Health\":[\"one\",\"two\"]}", &view,
		"\n# Health check:\n#     - one\n#     - two\n");
}

// Whatever the answer is made of.
static void test_strange_status(void **)
{
	static const char *const cases[] = {"{}", "[]", "{\"Self\":[],\"Peer\":[]}",
		"{\"Self\":{},\"Peer\":{\"x\":{}}}", "{\"Peer\":{\"x\":5,\"y\":null}}",
		"{\"Self\":{\"TailscaleIPs\":[5],\"DNSName\":7,\"UserID\":\"x\"}}",
		"{\"Self\":{\"DNSName\":\".\",\"HostName\":\"...\"},\"MagicDNSSuffix\":\".\"}",
		"{\"Self\":{\"DNSName\":\"lab.test.\"},\"MagicDNSSuffix\":\"lab.test\"}",
		"{\"Health\":[5,null]}",
		"{\"Peer\":{\"x\":{\"Location\":5,\"ExitNodeOption\":true}}}"};
	static const struct ipn_view view = {.self = true, .peers = true, .header = true};
	char err[CLI_ERROR_LEN], description[IPN_DESCRIPTION_LEN];
	FILE *out = fopen("/dev/null", "w");
	for (unsigned i = 0; i < N(cases); i++) {
		json_t *status = parse(cases[i]);
		ipn_clean(status);
		assert_true(ipn_show(out, status, &view));
		assert_false(ipn_is_up(status, description));
		bool listed = ipn_show_exit_nodes(out, status, NULL, 0, err);
		assert_int_equal(listed, i == N(cases) - 1);
		assert_true(ipn_show_whois(out, status));
		ipn_show_pong(out, status, "disco");
		json_decref(status);
	}
	fclose(out);
}

// A name must not steer the terminal, nor make a line of its own.
static void test_hostile_names(void **)
{
	static const struct ipn_view view = {.self = true};
	assert_shown(
		"{\"Self\":{\"DNSName\":\"a\\u001b[2Jb\\nc\\td\\u009be\\u007f\",\"OS\":\"x\"}}",
		&view, "  a?[2Jb c d?e?  -  x  offline  \n");
}

static void test_descriptions(void **)
{
	static const struct {
		const char *status, *text;
		bool up;
	} cases[] = {
		{"{\"BackendState\":\"Running\"}", "Running", true},
		{"{\"BackendState\":\"Starting\"}", "Starting", true},
		{"{\"BackendState\":\"Stopped\"}", "Tailscale is stopped.", false},
		{"{\"BackendState\":\"NeedsLogin\",\"AuthURL\":\"\"}", "Logged out.", false},
		{"{\"BackendState\":\"NeedsLogin\",\"AuthURL\":\"https://x/a\"}",
			"Logged out.\nLog in at: https://x/a", false},
		{"{\"BackendState\":\"NeedsMachineAuth\"}",
			"Machine is not yet approved by tailnet admin.", false},
		{"{\"BackendState\":\"NoState\"}", "unexpected state: NoState", false},
		{"{}", "unexpected state: ", false},
	};
	for (unsigned i = 0; i < N(cases); i++) {
		char text[IPN_DESCRIPTION_LEN];
		json_t *status = parse(cases[i].status);
		assert_int_equal(ipn_is_up(status, text), cases[i].up);
		assert_string_equal(text, cases[i].text);
		json_decref(status);
	}
}

static void test_names(void **)
{
	static const struct {
		const char *name;
		const char *ip; // of who is found; NULL: nobody
	} cases[] = {
		{"bob", "100.64.0.2"},
		{"BOB", "100.64.0.2"},
		{"bob.lab.test", "100.64.0.2"},
		{"bob.lab.test.", "100.64.0.2"},
		{"alice", "100.64.0.1"},
		{"bo", NULL},
		{"bob.lab", NULL},
		{"bob.", NULL},
		{"", NULL},
		{".", NULL},
	};
	json_t *status = parse(STATUS(PEER("2", "bob", "\"Online\":true")));
	for (unsigned i = 0; i < N(cases); i++) {
		const json_t *found = ipn_find_name(status, cases[i].name);
		if ((found == NULL) != (cases[i].ip == NULL))
			fail_msg("'%s'", cases[i].name);
		if (found != NULL)
			assert_string_equal(ipn_first_ip(found), cases[i].ip);
	}
	struct ip_addr ip;
	assert_int_equal(ip_addr_parse("fd7a:115c:a1e0::1", &ip), 0);
	assert_ptr_equal(ipn_find_ip(status, &ip), json_object_get(status, "Self"));
	assert_int_equal(ip_addr_parse("100.64.0.9", &ip), 0);
	assert_null(ipn_find_ip(status, &ip));
	json_decref(status);
}

// --- ping, exit-node, whois

static void test_pongs(void **)
{
#define BOB "\"IP\":\"100.64.0.2\",\"NodeIP\":\"100.64.0.2\",\"NodeName\":\"bob\","
	static const struct {
		const char *pong, *type, *text;
	} cases[] = {
		{"{" BOB "\"LatencySeconds\":0.13,\"DERPRegionID\":901,\"DERPRegionCode\":\"nyc\"}",
			"disco", "pong from bob (100.64.0.2) via DERP(nyc) in 130ms\n"},
		{"{" BOB "\"LatencySeconds\":0.0041,\"Endpoint\":\"203.0.113.5:41641\"}", "disco",
			"pong from bob (100.64.0.2) via 203.0.113.5:41641 in 4ms\n"},
		{"{" BOB "\"LatencySeconds\":0.02,\"Endpoint\":\"\","
		 "\"PeerRelay\":\"203.0.113.9:40000:vni:7\"}",
			"disco",
			"pong from bob (100.64.0.2) via peer-relay(203.0.113.9:40000:vni:7) in "
			"20ms\n"},
		{"{" BOB "\"LatencySeconds\":0.005,\"PeerAPIPort\":35000}", "TSMP",
			"pong from bob (100.64.0.2, 35000) via TSMP in 5ms\n"},
		{"{" BOB "\"LatencySeconds\":0.001}", "ICMP",
			"pong from bob (100.64.0.2) via ICMP in 1ms\n"},
		{"{" BOB "\"LatencySeconds\":0.008,\"PeerAPIURL\":\"http://100.64.0.2:1\"}",
			"peerapi",
			"hit peerapi of 100.64.0.2 (bob) at http://100.64.0.2:1 in 8ms\n"},
	};
	for (unsigned i = 0; i < N(cases); i++) {
		char *text = NULL;
		size_t n;
		json_t *pong = parse(cases[i].pong);
		FILE *out = open_memstream(&text, &n);
		ipn_show_pong(out, pong, cases[i].type);
		fclose(out);
		assert_string_equal(text, cases[i].text);
		json_decref(pong);
		free(text);
	}
}

#define FOOTER                                                                                     \
	"# To view the complete list of exit nodes for a country, use `tailgate exit-node list "   \
	"--filter=` followed by the country name.\n# To use an exit node, use `tailgate set "      \
	"--exit-node=` followed by the IP or hostname.\n"

static void assert_exits(const char *json, const char *filter, const char *expected)
{
	char *text = NULL, err[CLI_ERROR_LEN];
	size_t n;
	json_t *status = parse(json);
	FILE *out = open_memstream(&text, &n);
	bool shown = ipn_show_exit_nodes(out, status, filter, NOW_S, err);
	fclose(out);
	assert_string_equal(shown ? text : err, expected);
	json_decref(status);
	free(text);
}

static void test_exit_nodes(void **)
{
	assert_exits(STATUS(PEER("2", "bob", "\"Online\":true,\"ExitNodeOption\":true")), NULL,
		"\n IP             HOSTNAME         COUNTRY     CITY      STATUS     "
		"\n 100.64.0.2     bob.lab.test     -           -         -          "
		"\n\n" FOOTER);
	assert_exits(STATUS(PEER("2", "bob", "\"Online\":true")), NULL, "no exit nodes found");
	assert_exits(STATUS(PEER("2", "bob", "\"ExitNodeOption\":true")), "Atlantis",
		"no exit nodes found for \"Atlantis\"");
	// Not recorded: places, by the rules of exitnode.go.
#define PLACED(key, name, city, priority)                                                          \
	PEER(key, name,                                                                            \
		"\"Online\":true,\"ExitNodeOption\":true,\"CapMap\":{\"suggest-exit-node\":null}," \
		"\"Location\":{\"Country\":\"Sweden\",\"City\":\"" city                            \
		"\",\"Priority\":" priority "}")
	static const char placed[] = STATUS(PLACED("2", "a", "Malmo", "5") "," //
		PLACED("3", "b", "Malmo", "7") "," PLACED("4", "c", "Kiruna", "6"));
	assert_exits(placed, NULL,
		"\n IP             HOSTNAME       COUNTRY     CITY       STATUS     "
		"\n 100.64.0.3     b.lab.test     Sweden      Any        -          "
		"\n 100.64.0.4     c.lab.test     Sweden      Kiruna     -          "
		"\n 100.64.0.3     b.lab.test     Sweden      Malmo      -          "
		"\n\n" FOOTER "# To have Tailscale suggest an exit node, use `tailgate exit-node "
		"suggest`.\n");
	assert_exits(STATUS(PEER("2", "bob",
			     "\"ExitNode\":true,\"ExitNodeOption\":true,"
			     "\"LastSeen\":\"2026-11-21T05:00:00Z\"")),
		NULL,
		"\n IP             HOSTNAME         COUNTRY     CITY      STATUS     "
		"                                 "
		"\n 100.64.0.2     bob.lab.test     -           -         "
		"selected but offline, last seen 53m ago     \n\n" FOOTER);
}

static void test_whois(void **)
{
	static const char user[] =
		"{\"Node\":{\"Name\":\"bob.lab.test.\",\"StableID\":\"2\","
		"\"Addresses\":[\"100.64.0.2/32\",\"fd7a:115c:a1e0::2/128\"],"
		"\"AllowedIPs\":[\"100.64.0.2/32\",\"fd7a:115c:a1e0::2/128\","
		"\"10.88.2.0/24\"]},\"UserProfile\":{\"ID\":1,"
		"\"LoginName\":\"lab\"},\"CapMap\":{\"x\":null,\"y\":[{\"a\":1}]}}";
	static const char expected[] =
		"Machine:\n"
		"  Name:           bob.lab.test\n"
		"  ID:             2\n"
		"  Addresses:      [100.64.0.2/32 fd7a:115c:a1e0::2/128]\n"
		"  AllowedIPs:     [10.88.2.0/24]\n"
		"User:\n"
		"  Name:     lab\n"
		"  ID:       1\n"
		"Capabilities:\n"
		"  - x\n"
		"  - y:\n"
		"      [\n        {\n          \"a\": 1\n        }\n      ]\n";
	static const char tagged[] = "{\"Node\":{\"Name\":\"gw.\",\"StableID\":\"n\",\"Tags\":"
				     "[\"tag:a\",\"tag:b\"]}}";
	char *text = NULL;
	size_t n;
	FILE *out = open_memstream(&text, &n);
	json_t *who = parse(user);
	assert_true(ipn_show_whois(out, who));
	fclose(out);
	assert_string_equal(text, expected);
	free(text);
	json_decref(who);
	text = NULL;
	out = open_memstream(&text, &n);
	who = parse(tagged);
	assert_true(ipn_show_whois(out, who));
	fclose(out);
	assert_string_equal(text, "Machine:\n  Name:          gw\n  ID:            n\n"
				  "  Addresses:     []\n  Tags:          tag:a, tag:b\n");
	json_decref(who);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_status_words),
		cmocka_unit_test(test_status_table),
		cmocka_unit_test(test_strange_status),
		cmocka_unit_test(test_hostile_names),
		cmocka_unit_test(test_descriptions),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_pongs),
		cmocka_unit_test(test_exit_nodes),
		cmocka_unit_test(test_whois),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
