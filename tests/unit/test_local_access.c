// The LocalAPI: who may do what, what is refused, and pings that wait.
#include "tests/unit/local_client.h"

#include <grp.h>

static void test_refusals(void **)
{
	static const struct {
		const char *method, *name, *body;
		int code;
		const char *says;
	} cases[] = {
		{"GET", "", "", 404, "404 page not found"},
		{"GET", "nothing", "", 404, "404 page not found"},
		{"GET", "prefs/", "", 404, "404 page not found"},
		{"GET", "status/x", "", 404, "404 page not found"},
		{"GET", "PREFS", "", 404, "404 page not found"},
		{"POST", "status", "", 405, "want GET"},
		{"PUT", "prefs", "{}", 405, "want GET, PATCH"},
		{"HEAD", "prefs", "", 405, ""},
		{"DELETE", "prefs", "", 405, "want GET, PATCH"},
		{"GET", "start", "", 405, "want POST"},
		{"GET", "logout", "", 405, "want POST"},
		{"GET", "login-interactive", "", 405, "want POST"},
		{"GET", "ping?ip=100.64.0.2&type=disco", "", 405, "want POST"},
		{"POST", "whois?addr=100.64.0.1", "", 405, "want GET"},
		{"PATCH", "prefs", "", 400, "invalid JSON body"},
		{"PATCH", "prefs", "{", 400, "invalid JSON body"},
		{"PATCH", "prefs", "[]", 400, "invalid JSON body"},
		{"PATCH", "prefs", "{}{}", 400, "invalid JSON body"},
		{"PATCH", "prefs", "{\"a\":\"\\ud800\"}", 400, "invalid JSON body"},
		{"PATCH", "prefs", "{\"x\":[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]}",
			400, "invalid JSON body"},
		{"PATCH", "prefs", "{\"HostnameSet\":true,\"Hostname\":3}", 400, "Hostname"},
		{"PATCH", "prefs", "{\"InternalExitNodePriorSet\":true}", 400, "Internal"},
		{"POST", "check-prefs", "x", 400, "invalid JSON body"},
		{"POST", "start", "", 400, "invalid JSON body"},
		{"POST", "start", "[]", 400, "invalid JSON body"},
		{"POST", "start", "{\"AuthKey\":1}", 400, "no auth key"},
		{"POST", "start", "{\"UpdatePrefs\":[]}", 400, "not an object"},
		{"POST", "start", "{\"UpdatePrefs\":{\"CorpDNS\":\"yes\"}}", 400, "CorpDNS"},
		{"POST", "ping", "", 400, "missing 'ip' parameter"},
		{"POST", "ping?ip=", "", 400, "missing 'ip' parameter"},
		{"POST", "ping?ip=x&type=disco", "", 400, "invalid IP"},
		{"POST", "ping?ip=100.64.0.2", "", 400, "missing 'type' parameter"},
		{"POST", "ping?ip=100.64.0.2&type=Disco", "", 400, "invalid 'type'"},
		{"POST", "ping?ip=100.64.0.2&type=disco&size=x", "", 400, "invalid 'size'"},
		{"POST", "ping?ip=100.64.0.2&type=disco&size=-1", "", 400, "invalid 'size'"},
		{"POST", "ping?ip=100.64.0.2&type=disco&size=65508", "", 400, "too big"},
		{"POST", "ping?ip=100.64.0.2&type=disco&size=99999999999999999999", "", 400,
			"too big"},
		{"POST", "ping?ip=100.64.0.2&type=TSMP&size=9", "", 400,
			"only supported with disco"},
		{"GET", "whois", "", 400, "missing 'addr' parameter"},
		{"GET", "whois?addr=foo", "", 400, "invalid 'addr' parameter"},
		{"GET", "whois?addr=nodekey:00", "", 400, "invalid nodekey"},
		{"GET", "whois?addr=100.64.0.77", "", 404, "no match for IP:port"},
		{"GET", "whois?addr", "", 400, "invalid query"},
		{"GET", "peer-by-id", "", 400, "invalid 'id'"},
		{"GET", "peer-by-id?id=-2", "", 400, "invalid 'id'"},
		{"GET", "peer-by-id?id=2x", "", 400, "invalid 'id'"},
		{"GET", "peer-by-id?id=99", "", 404, "no peer"},
		{"GET", "user-profile?id=99", "", 404, "no user"},
		{"GET", "watch-ipn-bus?mask=foo", "", 400, "bad mask"},
		{"GET", "watch-ipn-bus?mask=-1", "", 400, "bad mask"},
		{"GET", "watch-ipn-bus?mask=99999999999999999999", "", 400, "bad mask"},
		{"GET", "watch-ipn-bus?mask=65536", "", 400, "in-process"},
		{"GET", "watch-ipn-bus?mask=4352", "", 400, "incompatible"},
	};
	char path[160];

	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		snprintf(path, sizeof(path), API "%s", cases[i].name);
		local_expect(cases[i].method, path, cases[i].body, cases[i].code, cases[i].says);
	}
	assert_int_equal(tailnet.sets + tailnet.starts + tailnet.logins + tailnet.n_pings, 0);
	assert_int_equal(double_listeners(), 0);
}

// What leads a browser here.
static void test_foreign_requests(void **)
{
	static const struct {
		const char *headers;
		int code;
	} cases[] = {
		{HOST, 200},
		{"", 200},
		{"Host:\r\n", 200},
		{"Host: localhost\r\n", 403},
		{"Host: local-tailscaled.sock:80\r\n", 403},
		{"Host: evil.test\r\n", 403},
		{HOST "Origin: http://evil.test\r\n", 403},
		{HOST "Origin: null\r\n", 403},
		{HOST "Referer: http://local-tailscaled.sock/\r\n", 403},
	};

	for (unsigned i = 0; i < RTE_DIM(cases); i++)
		free(local_text_of("GET", API "status", cases[i].headers, "", cases[i].code));
}

static void test_large_body(void **)
{
	const size_t n = 300000;
	char *body = malloc(n + 1);

	memset(body, ' ', n);
	body[n] = '\0';
	local_expect("PATCH", API "prefs", body, 413, "");
	free(body);
}

static void test_others_only_read(void **)
{
	static const struct {
		const char *method, *path;
		int code;
	} cases[] = {
		{"GET", API "status", 200},
		{"GET", API "prefs", 200},
		{"GET", API "whois?addr=100.64.0.1", 200},
		{"PATCH", API "prefs", 403},
		{"POST", API "check-prefs", 403},
		{"POST", API "start", 403},
		{"POST", API "login-interactive", 403},
		{"POST", API "logout", 403},
		{"POST", API "reload-config", 403},
		{"POST", API "nothing", 404},
		{"GET", "/tailgate/v0/status", 403},
		{"POST", "/tailgate/v0/stop", 403},
		{"GET", "/", 403},
	};
	gid_t groups[64];
	const int n = getgroups(64, groups);

	if (geteuid() != 0)
		skip();
	assert_int_equal(setgroups(0, NULL), 0);
	for (unsigned i = 0; i < RTE_DIM(cases); i++)
		as_nobody(cases[i].method, cases[i].path, "{}", cases[i].code, "");
	assert_int_equal(tailnet.sets + tailnet.starts + tailnet.logins, 0);
	assert_null(tailnet.logout_done);
	assert_int_equal(fixture.stops + fixture.reloads, 0);

	// The operator may write here, and nothing beyond.
	json_decref(local_json_of("PATCH", API "prefs",
		"{\"OperatorUserSet\":true,\"OperatorUser\":\"nobody\"}", 200));
	as_nobody("PATCH", API "prefs", "{}", 200, "nobody");
	as_nobody("POST", "/tailgate/v0/stop", "", 403, "only for root");
	json_decref(local_json_of("PATCH", API "prefs",
		"{\"OperatorUserSet\":true,\"OperatorUser\":\"no-such-user-here\"}", 200));
	as_nobody("PATCH", API "prefs", "{}", 403, "prefs access denied");
	// So may a member of the socket's group.
	assert_int_equal(setgroups(1, &(gid_t){0}), 0);
	as_nobody("GET", "/tailgate/v0/status", "", 200, "");
	as_nobody("PATCH", API "prefs", "{}", 200, "");
	assert_int_equal(setgroups(n > 0 ? (size_t)n : 0, groups), 0);
}

// Readers share a status for a second, so that they cannot keep the daemon busy; writers do not.
static void test_readers_share_status(void **)
{
	const struct tailnet_peer_info before = tailnet.info;

	if (geteuid() != 0)
		skip();
	assert_int_equal(setgroups(0, NULL), 0);
	for (double end = seconds() + 1.2; seconds() < end;) // of the tests before
		spin(NULL);
	const double begin = seconds();
	as_nobody("GET", API "status", "", 200, "\"CurAddr\":\"10.77.0.12:41641\"");
	tailnet.info.direct.port = 7;
	struct client c = open_as_nobody();
	local_send(&c, "GET", API "status", HOST, "");
	client_wait(&c);
	if (seconds() - begin < 0.9) // else the machine took the second
		assert_non_null(strstr(c.answer, "\"CurAddr\":\"10.77.0.12:41641\""));
	client_close(&c);
	local_expect("GET", API "status", "", 200, "\"CurAddr\":\"10.77.0.12:7\"");
	for (double end = seconds() + 1.2; seconds() < end;)
		spin(NULL);
	as_nobody("GET", API "status", "", 200, "\"CurAddr\":\"10.77.0.12:7\"");
	tailnet.info = before;
}

static void wait_for_pings(struct client *c, unsigned n)
{
	for (double end = seconds() + DEADLINE_S; tailnet.n_pings < n && seconds() < end;)
		spin(c);
	assert_int_equal(tailnet.n_pings, n);
}

static struct tailnet_pong pong_of(const char *error)
{
	struct tailnet_pong pong = {.seconds = 0.25, .peer = netmap_peer(tailnet.netmap, 2)};

	snprintf(pong.error, sizeof(pong.error), "%s", error);
	return pong;
}

static void test_pings(void **)
{
	static const struct {
		const char *query;
		enum tailnet_ping_type type;
		unsigned size;
		const char *endpoint;
		uint32_t vni, region;
		bool local;
		const char *expected;
	} cases[] = {
		{"type=disco&size=0", TAILNET_PING_DISCO, 0, "10.77.0.12:41641", 0, 0, false,
			"{\"IP\":\"100.64.0.2\",\"NodeIP\":\"100.64.0.2\",\"NodeName\":\"bob\","
			"\"Err\":\"\",\"LatencySeconds\":0.25,\"Endpoint\":\"10.77.0.12:41641\","
			"\"PeerRelay\":\"\",\"DERPRegionID\":0,\"DERPRegionCode\":\"\"}"},
		{"type=disco&size=1400", TAILNET_PING_DISCO, 1400, NULL, 0, 902, false,
			"{\"IP\":\"100.64.0.2\",\"NodeIP\":\"100.64.0.2\",\"NodeName\":\"bob\","
			"\"Err\":\"\",\"LatencySeconds\":0.25,\"Endpoint\":\"\","
			"\"PeerRelay\":\"\",\"DERPRegionID\":902,\"DERPRegionCode\":\"lab902\"}"},
		{"type=disco", TAILNET_PING_DISCO, 0, "192.0.2.9:7", 5, 0, false,
			"{\"IP\":\"100.64.0.2\",\"NodeIP\":\"100.64.0.2\",\"NodeName\":\"bob\","
			"\"Err\":\"\",\"LatencySeconds\":0.25,\"Endpoint\":\"\","
			"\"PeerRelay\":\"192.0.2.9:7:vni:5\",\"DERPRegionID\":0,"
			"\"DERPRegionCode\":\"\"}"},
		{"type=ICMP", TAILNET_PING_ICMP, 0, NULL, 0, 0, true,
			"{\"IP\":\"100.64.0.2\",\"NodeIP\":\"100.64.0.2\",\"NodeName\":\"bob\","
			"\"Err\":\"100.64.0.2 is local Tailscale IP\",\"LatencySeconds\":0.25,"
			"\"Endpoint\":\"\",\"PeerRelay\":\"\",\"DERPRegionID\":0,"
			"\"DERPRegionCode\":\"\",\"IsLocalIP\":true}"},
	};
	char path[96];

	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		struct client c = client_open();
		struct tailnet_pong pong = pong_of("");
		tailnet.n_pings = 0;
		snprintf(path, sizeof(path), API "ping?ip=100.64.0.2&%s", cases[i].query);
		local_send(&c, "POST", path, HOST, "");
		wait_for_pings(&c, 1);
		assert_int_equal(tailnet.pings[0].type, cases[i].type);
		assert_int_equal(tailnet.pings[0].size, cases[i].size);
		if (cases[i].endpoint != NULL)
			pong.endpoint = fixture_endpoint(cases[i].endpoint);
		pong.relay_vni = cases[i].vni;
		pong.derp_region = cases[i].region;
		pong.is_local = cases[i].local;
		tailnet.pings[0].done(tailnet.pings[0].arg, &pong);
		client_wait(&c);
		json_t *result = json_loads(body_of(&c), 0, NULL);
		char *text = json_dumps(result, JSON_COMPACT);
		assert_string_equal(text, cases[i].expected);
		free(text);
		json_decref(result);
		client_close(&c);
	}
}

static void test_ping_unknown(void **)
{
	struct client c = client_open();
	struct tailnet_pong pong = {.error = "no matching peer"};

	tailnet.n_pings = 0;
	local_send(&c, "POST", API "ping?ip=192.0.2.1&type=TSMP", HOST, "");
	wait_for_pings(&c, 1);
	tailnet.pings[0].done(tailnet.pings[0].arg, &pong);
	client_wait(&c);
	assert_non_null(strstr(c.answer, "\"Err\": \"no matching peer\""));
	assert_non_null(strstr(c.answer, "\"NodeIP\": \"\""));
	client_close(&c);
}

// Whoever asked is gone when the pong comes; too many ask; the server goes first.
static void test_pings_that_wait(void **)
{
	static const char path[] = API "ping?ip=100.64.0.2&type=disco";
	struct client clients[LOCAL_WAITING_MAX];
	struct tailnet_pong pong = pong_of("");

	tailnet.n_pings = 0;
	for (unsigned i = 0; i < LOCAL_WAITING_MAX; i++) {
		clients[i] = client_open();
		local_send(&clients[i], "POST", path, HOST, "");
		wait_for_pings(&clients[i], i + 1);
	}
	local_expect("POST", path, "", 503, "wait already");
	client_close(&clients[0]);
	for (double end = seconds() + 0.1; seconds() < end;)
		spin(NULL);
	tailnet.pings[0].done(tailnet.pings[0].arg, &pong);
	json_decref(local_json_of("GET", API "prefs", "", 200));

	// A new server on the same path, with the old one's pings under way.
	char err[CTL_ERROR_LEN];
	const struct ctl_params params = {.path = t.path};
	ctl_server_destroy(t.server);
	for (unsigned i = 1; i < LOCAL_WAITING_MAX; i++) {
		client_wait(&clients[i]);
		client_close(&clients[i]);
	}
	assert_int_equal(ctl_server_create(&fixture.daemon, &params, &t.server, err), 0);
	for (unsigned i = 1; i < LOCAL_WAITING_MAX; i++)
		tailnet.pings[i].done(tailnet.pings[i].arg, &pong);
	tailnet.n_pings = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_foreign_requests),
		cmocka_unit_test(test_large_body),
		cmocka_unit_test(test_others_only_read),
		cmocka_unit_test(test_readers_share_status),
		cmocka_unit_test(test_pings),
		cmocka_unit_test(test_ping_unknown),
		cmocka_unit_test(test_pings_that_wait),
	};

	return cmocka_run_group_tests(tests, local_setup, local_teardown);
}
