// The LocalAPI: who may do what, what is refused, pings that wait, and the bus.
#include "tests/unit/local_client.h"

#include <grp.h>
#include <sys/stat.h>

enum { NOBODY = 65534 };

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

// A connection of a user who is neither root nor the daemon's: the server sees who connected.
static struct client open_as_nobody(void)
{
	assert_int_equal(setegid(NOBODY), 0);
	assert_int_equal(seteuid(NOBODY), 0);
	struct client c = client_open();
	assert_int_equal(seteuid(0), 0);
	assert_int_equal(setegid(0), 0);
	return c;
}

static void as_nobody(
	const char *method, const char *path, const char *body, int code, const char *says)
{
	struct client c = open_as_nobody();

	local_send(&c, method, path, HOST, body);
	client_wait(&c);
	if (status_of(&c) != code || strstr(c.answer, says) == NULL)
		fail_msg("%s %s: not %d '%s' but %s", method, path, code, says, c.answer);
	client_close(&c);
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
	struct timespec now;

	if (geteuid() != 0)
		skip();
	assert_int_equal(setgroups(0, NULL), 0);
	do // at the beginning of a second
		clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	while (now.tv_nsec > 200000000);
	as_nobody("GET", API "status", "", 200, "\"CurAddr\":\"10.77.0.12:41641\"");
	tailnet.info.direct.port = 7;
	as_nobody("GET", API "status", "", 200, "\"CurAddr\":\"10.77.0.12:41641\"");
	local_expect("GET", API "status", "", 200, "\"CurAddr\":\"10.77.0.12:7\"");
	for (time_t second = now.tv_sec; now.tv_sec == second;)
		clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
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

// The next object of a stream; NULL: none within 0.1 s.
static json_t *next_notify(struct client *c)
{
	for (double end = seconds() + 0.1; seconds() < end;) {
		spin(c);
		char *line = c->n > 0 ? strstr(c->answer, "\n{") : NULL;
		char *end_of = line != NULL ? strstr(line, "}\n") : NULL;
		if (end_of == NULL)
			continue;
		json_t *json = json_loadb(line + 1, (size_t)(end_of - line), 0, NULL);
		assert_non_null(json);
		const size_t used = (size_t)(end_of + 1 - c->answer);
		memmove(c->answer, c->answer + used, c->n - used + 1);
		c->n -= used;
		return json;
	}
	return NULL;
}

static struct client watch_on(struct client c, const char *mask)
{
	char path[64];
	const unsigned before = double_listeners();

	snprintf(path, sizeof(path), API "watch-ipn-bus?mask=%s", mask);
	local_send(&c, "GET", path, HOST, "");
	for (double end = seconds() + DEADLINE_S; double_listeners() == before && seconds() < end;)
		spin(&c);
	assert_int_equal(double_listeners(), before + 1);
	return c;
}

static struct client watch(const char *mask)
{
	return watch_on(client_open(), mask);
}

static void no_listener_stays(void)
{
	for (double end = seconds() + DEADLINE_S; double_listeners() > 0 && seconds() < end;)
		spin(NULL);
	assert_int_equal(double_listeners(), 0);
}

static void test_bus_begins(void **)
{
	static const struct {
		const char *mask;
		bool any, state, prefs, self, health, status;
	} cases[] = {
		{"0", false, false, false, false, false, false},
		{"1", false, false, false, false, false, false},
		{"2", true, true, false, false, false, false},
		{"4", true, false, true, false, false, false},
		{"8", true, false, false, true, false, false},
		{"128", true, false, false, false, true, false},
		{"16384", true, false, false, false, false, true},
		{"142", true, true, true, true, true, false},
		{"1048576", false, false, false, false, false, false},
	};

	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		struct client c = watch(cases[i].mask);
		json_t *n = next_notify(&c);
		assert_int_equal(n != NULL, cases[i].any);
		assert_int_equal(json_is_integer(json_object_get(n, "State")), cases[i].state);
		assert_int_equal(json_object_get(n, "SessionID") != NULL, cases[i].state);
		assert_int_equal(json_is_object(json_object_get(n, "Prefs")), cases[i].prefs);
		assert_int_equal(json_is_object(json_object_get(n, "SelfChange")), cases[i].self);
		assert_int_equal(json_is_object(json_object_get(n, "Health")), cases[i].health);
		assert_int_equal(
			json_is_object(json_object_get(n, "InitialStatus")), cases[i].status);
		json_decref(n);
		client_close(&c);
	}
	no_listener_stays();
}

static void test_bus_tells(void **)
{
	struct client c = watch("0");

	tailnet.state = TAILNET_STARTING;
	double_change(TAILNET_CHANGED_STATE);
	json_t *n = next_notify(&c);
	assert_int_equal(number_at(n, "State"), 5);
	assert_true(json_is_null(json_object_get(n, "Prefs")));
	json_decref(n);

	tailnet.coord = (struct coord_status){.state = COORD_VISIT_URL, .url = "https://l.test/x"};
	double_change(TAILNET_CHANGED_URL | TAILNET_CHANGED_PREFS);
	n = next_notify(&c);
	assert_string_equal(text_at(n, "BrowseToURL"), "https://l.test/x");
	assert_true(json_is_object(json_object_get(n, "Prefs")));
	json_decref(n);

	// Trouble that trying again may mend would end 'tailscale up': it is not told.
	tailnet.coord = (struct coord_status){.state = COORD_CONNECTING, .why = "no route"};
	double_change(TAILNET_CHANGED_ERROR | TAILNET_CHANGED_URL);
	assert_null(next_notify(&c));
	tailnet.coord.state = COORD_REFUSED;
	double_change(TAILNET_CHANGED_ERROR);
	n = next_notify(&c);
	assert_string_equal(text_at(n, "ErrMessage"), "no route");
	json_decref(n);
	tailnet.coord = (struct coord_status){.state = COORD_STREAMING};

	// Our own node once, then only when it is another.
	double_change(TAILNET_CHANGED_NETMAP);
	n = next_notify(&c);
	assert_string_equal(text_at(json_object_get(n, "SelfChange"), "Name"), "alice.lab.test.");
	json_decref(n);
	double_change(TAILNET_CHANGED_NETMAP);
	assert_null(next_notify(&c));

	tailnet.health[0] = "the clock is wrong";
	tailnet.n_health = 1;
	double_change(TAILNET_CHANGED_HEALTH);
	n = next_notify(&c);
	json_t *warnings = json_object_get(json_object_get(n, "Health"), "Warnings");
	assert_string_equal(
		text_at(json_object_get(warnings, "tailgate-0"), "Text"), "the clock is wrong");
	json_decref(n);
	tailnet.n_health = 0;
	tailnet.state = TAILNET_RUNNING;
	client_close(&c);
	no_listener_stays();
}

static void test_bus_is_bounded(void **)
{
	struct client clients[LOCAL_WATCHERS_MAX];

	for (unsigned i = 0; i < LOCAL_WATCHERS_MAX; i++)
		clients[i] = watch("0");
	local_expect("GET", API "watch-ipn-bus?mask=0", "", 503, "too many");
	for (unsigned i = 0; i < LOCAL_WATCHERS_MAX; i++)
		client_close(&clients[i]);
	no_listener_stays();
	struct client again = watch("2");
	json_decref(next_notify(&again));
	client_close(&again);
	no_listener_stays();
}

// Those who may only read leave room for those who have something to do.
static void test_readers_leave_room(void **)
{
	struct client clients[LOCAL_READERS_MAX];

	if (geteuid() != 0)
		skip();
	assert_int_equal(setgroups(0, NULL), 0);
	for (unsigned i = 0; i < LOCAL_READERS_MAX; i++) {
		clients[i] = watch_on(open_as_nobody(), "0");
	}
	as_nobody("GET", API "watch-ipn-bus?mask=0", "", 503, "too many");
	struct client writer = watch("0");
	client_close(&writer);
	for (unsigned i = 0; i < LOCAL_READERS_MAX; i++)
		client_close(&clients[i]);
	no_listener_stays();
}

// A watcher that does not read loses its stream, not our memory.
static void test_slow_watcher(void **)
{
	struct client c = watch("0");
	unsigned changes = 0;

	for (; double_listeners() > 0 && changes < 200000; changes++) {
		double_change(TAILNET_CHANGED_PREFS);
		if (changes % 256 == 0)
			spin(NULL);
		if (changes > 20000) // surely over the bound by now: wait for the tick
			spin(NULL);
	}
	print_message("left after %u changes\n", changes);
	assert_int_equal(double_listeners(), 0);
	client_close(&c);
	json_decref(local_json_of("GET", API "prefs", "", 200));
}

static void test_server_ends_streams(void **)
{
	char err[CTL_ERROR_LEN];
	const struct ctl_params params = {.path = t.path};
	struct client c = watch("2");

	ctl_server_destroy(t.server);
	assert_int_equal(double_listeners(), 0);
	client_wait(&c);
	client_close(&c);
	assert_int_equal(ctl_server_create(&fixture.daemon, &params, &t.server, err), 0);
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
		cmocka_unit_test(test_bus_begins),
		cmocka_unit_test(test_bus_tells),
		cmocka_unit_test(test_bus_is_bounded),
		cmocka_unit_test(test_readers_leave_room),
		cmocka_unit_test(test_slow_watcher),
		cmocka_unit_test(test_server_ends_streams),
	};

	return cmocka_run_group_tests(tests, local_setup, local_teardown);
}
