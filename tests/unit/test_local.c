// The LocalAPI: status beside what tailscaled said, prefs, and the questions of the command.
#include "tests/unit/local_client.h"

#include <sys/stat.h>

// Fields in which Tailgate is another than the daemon of the recording, and why.
static bool differs_rightly(const char *name, const json_t *theirs, const json_t *ours)
{
	if (strcmp(name, "Version") == 0)
		return strcmp(json_string_value(ours), TAILGATE_VERSION) == 0;
	if (strcmp(name, "TaildropTarget") == 0) // there is no Taildrop
		return json_integer_value(ours) == 0;
	if (strcmp(name, "Created") == 0) // the netmap keeps seconds
		return strncmp(json_string_value(theirs), json_string_value(ours), 19) == 0;
	return json_equal((json_t *)theirs, (json_t *)ours);
}

static void compare(const char *path, const json_t *theirs, const json_t *ours)
{
	char at[512];
	const char *name;
	json_t *value;

	json_object_foreach((json_t *)theirs, name, value)
	{
		json_t *other = json_object_get(ours, name);
		snprintf(at, sizeof(at), "%s.%s", path, name);
		if (other == NULL)
			fail_msg("%s is missing", at);
		if (json_is_object(value) && json_is_object(other)) {
			compare(at, value, other);
		} else if (!differs_rightly(name, value, other)) {
			char *x = json_dumps(value, JSON_ENCODE_ANY);
			char *y = json_dumps(other, JSON_ENCODE_ANY);
			fail_msg("%s: %s, not %s", at, y, x);
		}
	}
	json_object_foreach((json_t *)ours, name, value) if (json_object_get(theirs, name) == NULL)
		fail_msg("%s.%s is too much", path, name);
}

static void test_status_as_tailscaled(void **)
{
	json_t *vectors = vectors_load("localapi.json");
	json_t *status = local_json_of("GET", API "status", "", 200);

	compare("", json_object_get(vectors, "status"), status);
	json_decref(status);
	json_decref(vectors);
}

static void test_status_without_peers(void **)
{
	static const char *const paths[] = {API "status?peers=false", API "status?peers=0"};

	for (unsigned i = 0; i < RTE_DIM(paths); i++) {
		json_t *status = local_json_of("GET", paths[i], "", 200);
		assert_true(json_is_null(json_object_get(status, "Peer")));
		assert_int_equal(json_object_size(json_object_get(status, "User")), 1);
		json_decref(status);
	}
}

static json_t *member(json_t *object, const char *path)
{
	char copy[128], *save = NULL;

	snprintf(copy, sizeof(copy), "%s", path);
	for (char *name = strtok_r(copy, "/", &save); name; name = strtok_r(NULL, "/", &save))
		object = json_object_get(object, name);
	return object;
}

#define BOB "Peer/nodekey:599b7c2f19e6b204bb387989286aa203baed4e98756655870a94bd2933dd6d5d/"

static void test_paths(void **)
{
	const struct tailnet_peer_info before = tailnet.info;

	tailnet.info.relay_vni = 7;
	json_t *status = local_json_of("GET", API "status", "", 200);
	assert_string_equal(json_string_value(member(status, BOB "CurAddr")), "");
	assert_string_equal(
		json_string_value(member(status, BOB "PeerRelay")), "10.77.0.12:41641:vni:7");
	json_decref(status);

	tailnet.info = (struct tailnet_peer_info){.derp_region = 901};
	status = local_json_of("GET", API "status", "", 200);
	assert_string_equal(json_string_value(member(status, BOB "CurAddr")), "");
	assert_string_equal(json_string_value(member(status, BOB "Relay")), "lab901");
	assert_true(json_is_false(member(status, BOB "Active")));
	assert_true(json_is_false(member(status, BOB "InEngine")));
	assert_string_equal(
		json_string_value(member(status, BOB "LastHandshake")), "0001-01-01T00:00:00Z");
	json_decref(status);
	tailnet.info = before;
}

static void test_status_before_login(void **)
{
	double_destroy();
	double_create();
	tailnet.coord =
		(struct coord_status){.state = COORD_VISIT_URL, .url = "https://login.test/a/1"};
	tailnet.health[0] = "You are logged out.";
	tailnet.n_health = 1;
	json_t *status = local_json_of("GET", API "status", "", 200);
	assert_string_equal(text_at(status, "BackendState"), "NeedsLogin");
	assert_string_equal(text_at(status, "AuthURL"), "https://login.test/a/1");
	assert_null(json_object_get(status, "HaveNodeKey"));
	assert_true(json_is_null(member(status, "TailscaleIPs")));
	assert_true(json_is_null(member(status, "CurrentTailnet")));
	assert_true(json_is_null(member(status, "Peer")));
	assert_true(json_is_null(member(status, "User")));
	assert_true(json_is_null(member(status, "Self/TailscaleIPs")));
	assert_true(json_is_false(member(status, "Self/InNetworkMap")));
	assert_string_equal(text_at(member(status, "Self"), "PublicKey"),
		"nodekey:0000000000000000000000000000000000000000000000000000000000000000");
	assert_true(strlen(text_at(member(status, "Self"), "HostName")) > 0);
	assert_string_equal(json_string_value(json_array_get(member(status, "Health"), 0)),
		"You are logged out.");
	json_decref(status);
	json_t *prefs = local_json_of("GET", API "prefs", "", 200);
	assert_true(json_is_null(json_object_get(prefs, "Config")));
	json_decref(prefs);
	json_t *none = local_json_of("GET", API "derpmap", "", 200);
	assert_true(json_is_null(none));
	json_decref(none);
	local_expect("GET", API "dns-config", "", 503, "no netmap");
	local_expect("GET", API "whois?addr=100.64.0.1", "", 404, "no match");
	local_expect("GET", API "suggest-exit-node", "", 500, "no preferred DERP, try again");
	double_destroy();
	double_create();
	double_run();
}

static void test_no_tailnet(void **)
{
	static const struct {
		const char *method, *name;
	} cases[] = {{"GET", "prefs"}, {"PATCH", "prefs"}, {"POST", "start"}, {"POST", "logout"},
		{"POST", "ping?ip=100.64.0.2&type=disco"}, {"GET", "watch-ipn-bus"},
		{"GET", "whois?addr=100.64.0.1"}};
	char path[64];

	fixture.daemon.tailnet = NULL;
	json_t *status = local_json_of("GET", API "status", "", 200);
	assert_string_equal(text_at(status, "BackendState"), "NoState");
	assert_true(json_is_object(json_object_get(status, "Self")));
	assert_non_null(strstr(json_string_value(json_array_get(member(status, "Health"), 0)),
		"without a tailnet"));
	json_decref(status);
	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		snprintf(path, sizeof(path), API "%s", cases[i].name);
		local_expect(cases[i].method, path, "{}", 503, "Tailgate runs without a tailnet");
	}
	fixture.daemon.tailnet = &tailnet;
}

static void test_health_names_routes(void **)
{
	char err[PREFS_ERROR_LEN];
	json_t *off = json_pack("{s:b, s:b}", "RouteAllSet", 1, "RouteAll", 0);
	struct prefs *before = tailnet.prefs;

	tailnet.prefs = prefs_patch(before, off, err);
	json_t *status = local_json_of("GET", API "status", "", 200);
	assert_string_equal(json_string_value(json_array_get(member(status, "Health"), 0)),
		"Some peers are advertising routes but --accept-routes is false");
	json_decref(status);
	prefs_destroy(tailnet.prefs);
	tailnet.prefs = before;
	json_decref(off);
}

static void test_prefs(void **)
{
	json_t *prefs = local_json_of("PATCH", API "prefs",
		"{\"HostnameSet\":true,\"Hostname\":\"gw\",\"FutureSet\":true,\"Future\":1}", 200);
	assert_string_equal(text_at(prefs, "Hostname"), "gw");
	assert_int_equal(number_at(prefs, "Future"), 1);
	assert_int_equal(tailnet.sets, 1);
	json_t *again = local_json_of("GET", API "prefs", "", 200);
	assert_true(json_equal(prefs, again));
	// Without flags, 'tailscale up' does its work only for somebody.
	assert_string_equal(text_at(member(again, "Config/UserProfile"), "LoginName"), "lab");
	assert_int_equal(json_object_size(json_object_get(again, "Config")), 2); // no keys
	json_decref(prefs);
	json_decref(again);

	json_t *error = local_json_of("PATCH", API "prefs",
		"{\"AdvertiseRoutesSet\":true,\"AdvertiseRoutes\":[\"10.0.0.1/8\"]}", 400);
	assert_string_equal(text_at(error, "error"),
		"route 10.0.0.1/8 has non-address bits set; expected 10.0.0.0/8");
	json_decref(error);
	assert_int_equal(tailnet.sets, 1);
	tailnet.result = -ENOSPC;
	error = local_json_of("PATCH", API "prefs", "{}", 400);
	assert_string_equal(text_at(error, "error"), "the disk is full");
	json_decref(error);
	tailnet.result = 0;

	json_t *checked = local_json_of("POST", API "check-prefs", "{\"Hostname\":\"x\"}", 200);
	assert_int_equal(json_object_size(checked), 0);
	json_decref(checked);
	checked = local_json_of("POST", API "check-prefs", "{\"Hostname\":1}", 200);
	assert_true(strlen(text_at(checked, "Error")) > 10);
	json_decref(checked);
}

// All the routes that there may be fit into a request.
static void test_many_routes(void **)
{
	json_t *routes = json_array();
	for (int i = 0; i < PREFS_ROUTES_MAX; i++)
		json_array_append_new(
			routes, json_sprintf("fd00:1234:5678:9abc:def0:1234:%x:0/112", i));
	json_t *masked =
		json_pack("{s:b, s:o}", "AdvertiseRoutesSet", 1, "AdvertiseRoutes", routes);
	char *text = json_dumps(masked, JSON_COMPACT);
	json_t *prefs = local_json_of("PATCH", API "prefs", text, 200);
	assert_int_equal(tailnet.prefs->n_routes, PREFS_ROUTES_MAX);
	json_decref(prefs);
	json_decref(masked);
	free(text);
}

static void test_start(void **)
{
	tailnet.starts = tailnet.sets = 0;
	local_expect("POST", API "start",
		"{\"AuthKey\":\"secret\",\"UpdatePrefs\":{\"WantRunning\":true,\"Hostname\":\"h\"}"
		"}",
		204, "");
	assert_int_equal(tailnet.starts, 1);
	assert_string_equal(tailnet.auth_key, "secret");
	assert_string_equal(tailnet.prefs->hostname, "h");
	local_expect("POST", API "start", "{\"UpdatePrefs\":null,\"AuthKey\":null}", 204, "");
	assert_int_equal(tailnet.sets, 1);
	assert_string_equal(tailnet.auth_key, "");
	tailnet.result = -EIO;
	local_expect("POST", API "start", "{\"UpdatePrefs\":{}}", 500, "the disk is full");
	tailnet.result = 0;
	local_expect("POST", API "login-interactive", "", 204, "");
	assert_int_equal(tailnet.logins, 1);
}

static void test_logout(void **)
{
	static const struct {
		int error, code;
	} cases[] = {{0, 204}, {-ETIMEDOUT, 500}};

	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		struct client c = client_open();
		local_send(&c, "POST", API "logout", HOST, "");
		for (double end = seconds() + DEADLINE_S;
			tailnet.logout_done == NULL && seconds() < end;)
			spin(&c);
		assert_non_null(tailnet.logout_done);
		assert_int_equal(c.n, 0); // not before it is done
		tailnet.logout_done(tailnet.logout_arg, cases[i].error);
		tailnet.logout_done = NULL;
		client_wait(&c);
		assert_int_equal(status_of(&c), cases[i].code);
		client_close(&c);
	}
}

static void test_whois(void **)
{
	static const struct {
		const char *addr, *name, *login;
	} cases[] = {
		{"100.64.0.1", "alice.lab.test.", "lab"},
		{"100.64.0.2:80", "bob.lab.test.", "lab"},
		{"[fd7a:115c:a1e0::3]:1", "carol.lab.test.", "lab"},
		{"fd7a:115c:a1e0::3", "carol.lab.test.", "lab"},
		{"nodekey%3A599b7c2f19e6b204bb387989286aa203baed4e98756655870a94bd2933dd6d5d",
			"bob.lab.test.", "lab"},
	};
	char path[160];

	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		snprintf(path, sizeof(path), API "whois?proto=&addr=%s", cases[i].addr);
		json_t *who = local_json_of("GET", path, "", 200);
		assert_string_equal(text_at(member(who, "Node"), "Name"), cases[i].name);
		assert_string_equal(
			text_at(member(who, "UserProfile"), "LoginName"), cases[i].login);
		assert_true(json_is_null(json_object_get(who, "CapMap")));
		json_decref(who);
	}
	// An address behind a peer is nobody's.
	local_expect("GET", API "whois?addr=10.88.2.1", "", 404, "no match for IP:port");
}

// Of a daemon whose workers have no rules, nor routes.
static void test_explain(void **)
{
	static const struct {
		const char *query;
		int code;
		const char *says;
	} cases[] = {
		{"src=100.64.0.2&dst=100.64.0.1&proto=6&port=22", 200, "\"not_local\""},
		{"src=100.64.0.2&dst=100.64.0.1&proto=6&port=22", 200, "\"bob.lab.test.\""},
		{"src=100.64.0.1&dst=10.1.0.1", 200, "\"own_source\""},
		{"src=10.99.0.1&dst=10.1.0.1&proto=17", 200, "\"unknown_source\""},
		{"src=fd7a:115c:a1e0::2&dst=ff02::1&proto=58", 200, "\"scope\""},
		{"dst=10.1.0.1", 400, "src must be an IP address"},
		{"src=bob&dst=10.1.0.1", 400, "src must be an IP address"},
		{"src=100.64.0.2&dst=10.1.0.1/24", 400, "dst must be an IP address"},
		{"src=100.64.0.2&dst=fd00::1", 400, "one family"},
		{"src=100.64.0.2&dst=10.1.0.1&proto=256", 400, "proto"},
		{"src=100.64.0.2&dst=10.1.0.1&port=65536", 400, "port"},
		{"src=100.64.0.2&dst=10.1.0.1&state=new", 400, "unknown parameter"},
	};
	char path[160];

	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		snprintf(path, sizeof(path), "/tailgate/v0/explain?%s", cases[i].query);
		local_expect("GET", path, "", cases[i].code, cases[i].says);
	}
	fixture.daemon.tailnet = NULL;
	snprintf(path, sizeof(path), "/tailgate/v0/explain?%s", cases[0].query);
	local_expect("GET", path, "", 409, "static peers are not filtered");
	fixture.daemon.tailnet = &tailnet;
}

static void test_grants(void **)
{
	json_t *map = json_loads(
		"{\"PacketFilters\":{\"g\":[{\"SrcIPs\":[\"100.64.0.2\"],\"CapGrant\":["
		"{\"Dsts\":[\"100.64.0.1/32\"],\"CapMap\":{\"x.test/a\":[1],\"x.test/b\":null}}]},"
		"{\"SrcIPs\":[\"100.64.0.0/30\"],\"CapGrant\":["
		"{\"Dsts\":[\"100.64.0.1/32\"],\"CapMap\":{\"x.test/a\":[\"2\"]}},"
		"{\"Dsts\":[\"100.64.0.9/32\"],\"CapMap\":{\"x.test/c\":[]}}]}]}}",
		0, NULL);
	double_map(map);
	json_t *who = local_json_of("GET", API "whois?addr=100.64.0.2", "", 200);
	char *caps = json_dumps(member(who, "CapMap"), JSON_COMPACT | JSON_SORT_KEYS);
	assert_string_equal(caps, "{\"x.test/a\":[1,\"2\"],\"x.test/b\":null}");
	free(caps);
	json_decref(who);
	json_decref(map);
}

static void test_derp_map(void **)
{
	json_t *vectors = vectors_load("localapi.json");
	json_t *map = local_json_of("GET", API "derpmap", "", 200);

	compare("", member(vectors, "map/DERPMap"), map);
	json_decref(map);
	json_decref(vectors);
}

static void test_questions(void **)
{
	static const struct {
		const char *name, *says;
	} cases[] = {
		{"dns-config", "\"lab.test\""},
		{"dns-config", "\"Proxied\": true"},
		{"cert-domains", "null"},
		{"peer-by-id?id=2", "\"bob.lab.test.\""},
		{"user-profile?id=1", "\"LoginName\": \"lab\""},
		{"check-ip-forwarding", "\"Warning\": \"\""},
		{"check-udp-gro-forwarding", "\"Warning\": \"\""},
		{"check-so-mark-in-use", "true"},
		{"serve-config", "{}"},
		{"services", "{}"},
		{"appc-route-info", "\"203.0.113.1\""},
		{"usermetrics", "tailscaled_home_derp_region_id 901\n"},
		{"usermetrics", "tailscaled_health_messages{type=\"warning\"} 0\n"},
		{"suggest-exit-node", "\"ID\": \"\""},
	};
	char path[64];

	tailnet.n_health = 0;
	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		snprintf(path, sizeof(path), API "%s", cases[i].name);
		local_expect("GET", path, "", 200, cases[i].says);
	}
	fixture.reload_result = -EINVAL;
	local_expect("POST", API "reload-config", "", 200, "no number");
	fixture.reload_result = 0;
	local_expect("POST", API "reload-config", "", 200, "\"Reloaded\": true");
}

static void test_exit_node(void **)
{
	json_t *map = json_loads(
		"{\"PeersChanged\":["
		"{\"ID\":7,\"StableID\":\"n7\",\"Name\":\"near.lab.test.\",\"HomeDERP\":901,"
		"\"Online\":true,\"Key\":\"nodekey:"
		"7777777777777777777777777777777777777777777777777777777777777777\","
		"\"DiscoKey\":\"discokey:"
		"7777777777777777777777777777777777777777777777777777777777777777\","
		"\"Addresses\":[\"100.64.0.7/32\"],\"CapMap\":{\"suggest-exit-node\":null},"
		"\"AllowedIPs\":[\"100.64.0.7/32\",\"0.0.0.0/0\",\"::/0\"]},"
		"{\"ID\":8,\"StableID\":\"n8\",\"Name\":\"far.lab.test.\",\"HomeDERP\":902,"
		"\"Online\":true,\"Key\":\"nodekey:"
		"8888888888888888888888888888888888888888888888888888888888888888\","
		"\"DiscoKey\":\"discokey:"
		"8888888888888888888888888888888888888888888888888888888888888888\","
		"\"Addresses\":[\"100.64.0.8/32\"],\"CapMap\":{\"suggest-exit-node\":null},"
		"\"AllowedIPs\":[\"100.64.0.8/32\",\"0.0.0.0/0\",\"::/0\"]}]}",
		0, NULL);
	double_map(map);
	json_decref(map);
	json_t *suggested = local_json_of("POST", API "suggest-exit-node?probe=true", "", 200);
	assert_string_equal(text_at(suggested, "ID"), "n7");
	assert_string_equal(text_at(suggested, "Name"), "near.lab.test.");
	json_decref(suggested);

	json_decref(local_json_of("PATCH", API "prefs",
		"{\"ExitNodeIPSet\":true,\"ExitNodeIP\":\"100.64.0.8\"}", 200));
	json_t *status = local_json_of("GET", API "status", "", 200);
	assert_string_equal(text_at(member(status, "ExitNodeStatus"), "ID"), "n8");
	json_t *peer = member(status,
		"Peer/nodekey:8888888888888888888888888888888888888888888888888888888888888888");
	assert_true(json_is_true(json_object_get(peer, "ExitNode")));
	assert_true(json_is_true(json_object_get(peer, "ExitNodeOption")));
	assert_true(json_is_false(member(status, BOB "ExitNodeOption")));
	json_decref(status);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_status_as_tailscaled),
		cmocka_unit_test(test_status_without_peers),
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_derp_map),
		cmocka_unit_test(test_questions),
		cmocka_unit_test(test_whois),
		cmocka_unit_test(test_status_before_login),
		cmocka_unit_test(test_no_tailnet),
		cmocka_unit_test(test_health_names_routes),
		cmocka_unit_test(test_prefs),
		cmocka_unit_test(test_many_routes),
		cmocka_unit_test(test_start),
		cmocka_unit_test(test_logout),
		cmocka_unit_test(test_grants),
		cmocka_unit_test(test_explain),
		cmocka_unit_test(test_exit_node),
	};

	return cmocka_run_group_tests(tests, local_setup, local_teardown);
}
