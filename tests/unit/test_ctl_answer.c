// Long answers leave piece by piece: whole, well-formed, and without holding the loop up.
#include "tests/unit/local_client.h"
#include "tests/unit/sanitized.h"

#include "control/ctl/answer.h"
#include "control/dns/dns.h"

enum {
	MANY = SANITIZED ? 2000 : 10000,
	// Of the control thread, at most; it takes a tenth of that. Sanitizers make it no measure.
	STALL_MS = SANITIZED ? 1000 : 20,
	TRIES = 5, // a stall is in each; what the machine does to a turn is not
	BYTES_MAX = 64 << 20,
};

struct answer {
	char *text;
	size_t n;
	double longest_s; // turn of the loop, in processor time
};

static double cpu_seconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static bool is_stall(double turn_s)
{
	return turn_s * 1e3 >= STALL_MS;
}

// HTTP/1.0, so that no chunk sizes are in between. half_close: no more is sent behind the request.
static struct answer fetch_once(const char *path, bool half_close)
{
	struct answer a = {.text = malloc(BYTES_MAX + 1)};
	struct client c = client_open();
	char request[128];
	int n = snprintf(request, sizeof(request), "GET %s HTTP/1.0\r\n%s\r\n", path, HOST);
	client_send(&c, request, (size_t)n);
	if (half_close)
		shutdown(c.fd, SHUT_WR);
	memcpy(a.text, c.answer, c.n); // what came meanwhile
	a.n = c.n;
	ssize_t got = -1;
	for (double end = seconds() + 60; got != 0 && a.n < BYTES_MAX && seconds() < end;) {
		double before = cpu_seconds();
		event_base_loop(t.base, EVLOOP_NONBLOCK);
		a.longest_s = RTE_MAX(a.longest_s, cpu_seconds() - before);
		while ((got = read(c.fd, a.text + a.n, BYTES_MAX - a.n)) > 0)
			a.n += (size_t)got;
	}
	assert_int_equal(got, 0);
	a.text[a.n] = '\0';
	client_close(&c);
	assert_memory_equal(a.text, "HTTP/1.", 7);
	assert_non_null(strstr(a.text, " 200 OK\r\n"));
	return a;
}

// The answer, which has not stalled the control thread.
static struct answer fetch(const char *path, bool half_close)
{
	struct answer a = fetch_once(path, half_close);
	for (unsigned i = 1; i < TRIES && is_stall(a.longest_s); i++) {
		free(a.text);
		a = fetch_once(path, half_close);
	}
	print_message("%s: %zu bytes, %.1f ms at most\n", path, a.n, a.longest_s * 1e3);
	if (is_stall(a.longest_s)) {
		free(a.text);
		fail_msg("%s stalls the control thread", path);
	}
	return a;
}

static const char *body(const struct answer *a)
{
	return strstr(a->text, "\r\n\r\n") + 4;
}

// More peers in the netmap of the double, which is theirs from now on.
static void add_peers(void)
{
	json_t *peers = json_array();
	for (int i = 0; i < MANY; i++)
		json_array_append_new(peers,
			json_pack("{s:i, s:o, s:o, s:[o], s:[o], s:s}", "ID", 1000 + i, "Key",
				json_sprintf("nodekey:%064x", 0x10000 + i), "Name",
				json_sprintf("peer-%d.lab.test.", i), "Addresses",
				json_sprintf("100.99.%d.%d/32", i >> 8, i & 255), "AllowedIPs",
				json_sprintf("100.99.%d.%d/32", i >> 8, i & 255), "DERP",
				"127.3.3.40:901"));
	json_t *map = json_pack("{s:o}", "PeersChanged", peers);
	double_map(map);
	json_decref(map);
	assert_true(tailnet.netmap->n_peers >= MANY);
}

static void test_long_json(void **)
{
	static const struct {
		const char *path, *member;
	} cases[] = {
		{"/tailgate/v0/status", "peers"},
		{"/tailgate/v0/top", "peers"},
		{"/tailgate/v0/tailnet", "peers"},
		{API "status", "Peer"},
	};
	fixture.n_peers = MANY;
	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		struct answer a = fetch(cases[i].path, i % 2);
		json_error_t error;
		json_t *json = json_loads(body(&a), JSON_REJECT_DUPLICATES, &error);
		if (json == NULL)
			fail_msg("%s: %s", cases[i].path, error.text);
		json_t *peers = json_object_get(json, cases[i].member);
		size_t n = json_is_array(peers) ? json_array_size(peers) : json_object_size(peers);
		assert_in_range(n, MANY, MANY + 10);
		json_decref(json);
		free(a.text);
	}
	fixture.n_peers = FIXTURE_PEERS;
}

static void test_long_metrics(void **)
{
	unsigned samples = 0;
	fixture.n_peers = MANY;
	struct answer a = fetch("/tailgate/v0/metrics", true);
	fixture.n_peers = FIXTURE_PEERS;
	assert_string_equal(a.text + a.n - 6, "# EOF\n");
	for (const char *at = a.text; (at = strstr(at, "\ntailgate_peer_path{")) != NULL; at++)
		samples++;
	assert_in_range(samples, MANY, MANY + 10);
	assert_non_null(strstr(a.text, "tailgate_netmap_skipped_total{what=\"node_type\"} "));
	assert_non_null(strstr(a.text, "tailgate_ctl_connections{kind=\"manager\"} 1\n"));
	assert_non_null(
		strstr(a.text, "tailgate_ctl_connections_ended_total{reason=\"slow\"} 0\n"));
	free(a.text);
}

// The doctor looks at all of them, too.
static void test_doctor(void **)
{
	struct answer a = fetch("/tailgate/v0/doctor", true);
	json_t *json = json_loads(body(&a), 0, NULL);
	assert_non_null(json_object_get(json, "findings"));
	assert_true(json_array_size(json_object_get(json, "findings")) > 3);
	assert_non_null(find(json_object_get(json, "findings"), "id", "F198"));
	assert_non_null(find(json_object_get(json, "findings"), "id", "F116"));
	json_decref(json);
	free(a.text);
}

// Of the peers only as long as somebody reads; then nothing is left behind.
static void test_client_leaves(void **)
{
	static const char *const paths[] = {
		"/tailgate/v0/metrics", "/tailgate/v0/status", API "status"};
	fixture.n_peers = MANY;
	for (unsigned i = 0; i < RTE_DIM(paths); i++) {
		struct client c = client_open();
		local_send(&c, "GET", paths[i], HOST, "");
		for (double end = seconds() + DEADLINE_S; c.n < 100000 && seconds() < end;)
			spin(&c);
		if (c.n < 100000)
			fail_msg("%s: %d %s", paths[i], c.closed, c.answer);
		client_close(&c);
		for (double end = seconds() + DEADLINE_S;
			ctl_conns_count(t.server->conns, CTL_CONN_MANAGER) > 0 && seconds() < end;)
			spin(NULL);
		assert_int_equal(ctl_conns_count(t.server->conns, CTL_CONN_MANAGER), 0);
	}
	fixture.n_peers = FIXTURE_PEERS;
}

// The watcher's first message waits for the status, what changes meanwhile for both. Returns the
// longest turn.
static double watch_long_status(void)
{
	struct client c = client_open();
	free(c.answer);
	c.answer = calloc(1, BYTES_MAX);
	local_send(&c, "GET", API "watch-ipn-bus?mask=16386", HOST, "");
	for (unsigned i = 0; i < 3; i++)
		event_base_loop(t.base, EVLOOP_NONBLOCK);
	double_change(TAILNET_CHANGED_PREFS);
	double longest = 0;
	const char *prefs = NULL;
	for (double end = seconds() + DEADLINE_S; prefs == NULL && seconds() < end;) {
		double before = cpu_seconds();
		event_base_loop(t.base, EVLOOP_NONBLOCK);
		longest = RTE_MAX(longest, cpu_seconds() - before);
		ssize_t n = read(c.fd, c.answer + c.n, BYTES_MAX - c.n - 1);
		c.n += n > 0 ? (size_t)n : 0;
		prefs = strstr(c.answer, "\"Prefs\":{");
	}
	const char *status = strstr(c.answer, "\"InitialStatus\":{");
	assert_non_null(prefs);
	assert_non_null(status);
	assert_true(status < prefs);
	client_close(&c);
	return longest;
}

static void test_watch_long_status(void **)
{
	double longest = watch_long_status();
	for (unsigned i = 1; i < TRIES && is_stall(longest); i++)
		longest = watch_long_status();
	print_message("%.1f ms at most\n", longest * 1e3);
	assert_false(is_stall(longest));
}

// The server goes in the middle of answers.
static void test_server_leaves(void **)
{
	char err[CTL_ERROR_LEN];
	const struct ctl_params params = {.path = t.path};
	struct client clients[4];
	fixture.n_peers = MANY;
	for (unsigned i = 0; i < RTE_DIM(clients); i++) {
		clients[i] = client_open();
		client_ask(
			&clients[i], "GET", i % 2 ? "/tailgate/v0/metrics" : "/tailgate/v0/status");
		spin(&clients[i]);
		spin(&clients[i]);
	}
	ctl_server_destroy(t.server);
	for (unsigned i = 0; i < RTE_DIM(clients); i++)
		client_close(&clients[i]);
	fixture.n_peers = FIXTURE_PEERS;
	assert_int_equal(ctl_server_create(&fixture.daemon, &params, &t.server, err), 0);
	json_decref(ask("GET", "/tailgate/v0/status", 200));
}

static const struct netmap *netmap_of_double(void *)
{
	return tailnet.netmap;
}

static int setup(void **state)
{
	int error = local_setup(state);
	const struct dns_params dns = {
		.base = t.base,
		.resolv_conf = "/nonexistent",
		.resolved_conf = "/nonexistent",
		.state_dir = t.folder,
		.netmap = netmap_of_double,
	};
	tailnet.names = dns_create(&dns);
	add_peers();
	return error;
}

static int teardown(void **state)
{
	dns_destroy(tailnet.names);
	return local_teardown(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_long_json),
		cmocka_unit_test(test_long_metrics),
		cmocka_unit_test(test_doctor),
		cmocka_unit_test(test_client_leaves),
		cmocka_unit_test(test_watch_long_status),
		cmocka_unit_test(test_server_leaves),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
