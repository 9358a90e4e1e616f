#include "tests/unit/ctl_client.h"

#include <fcntl.h>
#include <sys/stat.h>

static void test_status(void **)
{
	json_t *status = ask("GET", "/tailgate/v0/status", 200);
	assert_string_equal(text_at(status, "version"), TAILGATE_VERSION);
	assert_string_equal(text_at(status, "aead"), "libsodium");
	assert_int_equal(number_at(status, "workers"), 2);
	assert_int_equal(number_at(status, "listen_port"), 50000);
	assert_int_equal(number_at(status, "listen_port_configured"), 41641);
	assert_true(json_is_true(json_object_get(status, "listen_port_fallback")));
	double uptime = json_real_value(json_object_get(status, "uptime_s"));
	assert_true(uptime >= FIXTURE_HOUR_S && uptime < FIXTURE_HOUR_S + 60);
	assert_int_equal(json_array_size(json_object_get(status, "warnings")), 1);

	json_t *port = find(json_object_get(status, "ports"), "name", "lan");
	assert_string_equal(text_at(port, "kind"), "shared");
	assert_string_equal(text_at(port, "device"), "eth\"1");
	assert_true(json_is_true(json_object_get(port, "up")));
	json_t *tx = json_object_get(json_object_get(port, "offloads"), "tx");
	assert_string_equal(json_string_value(json_array_get(tx, 0)), "tcp_tso");
	assert_int_equal(json_array_size(tx), 2);

	json_t *peers = json_object_get(status, "peers");
	assert_int_equal(json_array_size(peers), FIXTURE_PEERS);
	json_t *berlin = find(peers, "name", "berlin");
	assert_string_equal(text_at(berlin, "endpoint"), "192.0.2.1:41641");
	assert_string_equal(text_at(berlin, "port"), "wan");
	assert_int_equal(number_at(berlin, "rx_bytes"), 1000);
	assert_int_equal(number_at(berlin, "tx_bytes"), 2000);
	assert_int_equal(number_at(berlin, "mtu"), 1420);
	assert_int_equal(number_at(berlin, "keepalive_s"), 25);
	assert_int_equal(number_at(berlin, "vni"), 0);
	assert_true(json_is_false(json_object_get(berlin, "derp")));
	assert_int_equal(json_array_size(json_object_get(berlin, "allowed_ips")), 2);
	assert_true(json_is_null(json_object_get(berlin, "remedy")));

	static const char *const states[FIXTURE_PEERS] = {
		"up", "no endpoint", "no answer", "no route"};
	for (unsigned i = 0; i < FIXTURE_PEERS; i++)
		assert_string_equal(text_at(json_array_get(peers, i), "state"), states[i]);
	json_decref(status);
}

static void test_stats(void **)
{
	json_t *stats = ask("GET", "/tailgate/v0/stats", 200);
	json_t *drops = json_object_get(stats, "drops");
	assert_int_equal(json_array_size(drops), DROP_COUNT);
	assert_int_equal(number_at(find(drops, "name", "wg_auth"), "value"), 14);
	assert_int_equal(number_at(find(drops, "name", "wg_replay"), "value"), 0);
	json_t *counters = json_object_get(stats, "counters");
	assert_int_equal(json_array_size(counters), COUNTER_COUNT);
	assert_int_equal(number_at(find(counters, "name", "segments_made"), "value"), 120);
	json_t *handshakes = json_object_get(stats, "handshakes");
	assert_int_equal(json_array_size(handshakes), WG_COUNTER_COUNT);
	assert_int_equal(number_at(find(handshakes, "name", "initiations_sent"), "value"), 100);
	json_t *node = find(json_object_get(stats, "nodes"), "name", "wg_encrypt");
	assert_int_equal(number_at(node, "packets"), 800);
	assert_int_equal(number_at(node, "cycles"), 80000);
	json_t *worker = json_array_get(json_object_get(stats, "workers"), 1);
	assert_int_equal(number_at(worker, "rounds"), 1000);
	json_t *bursts = json_object_get(worker, "burst_packets");
	assert_int_equal(json_integer_value(json_array_get(bursts, 6)), 1);
	json_t *lan = find(json_object_get(stats, "ports"), "name", "lan");
	assert_int_equal(number_at(lan, "rx_packets"), 21);
	assert_int_equal(number_at(lan, "tx_full"), 2);
	json_decref(stats);
}

static void test_top(void **)
{
	json_t *first = ask("GET", "/tailgate/v0/top", 200);
	json_t *second = ask("GET", "/tailgate/v0/top", 200);
	assert_true(number_at(second, "time_ns") > number_at(first, "time_ns"));
	assert_int_equal(number_at(first, "drops"), 14);
	json_t *tokyo = find(json_object_get(first, "peers"), "name", "tokyo");
	assert_int_equal(number_at(tokyo, "rx_bytes"), 1003);
	assert_int_equal(json_array_size(json_object_get(first, "workers")), 2);
	assert_int_equal(json_array_size(json_object_get(first, "ports")), 3);
	json_decref(first);
	json_decref(second);
}

static void test_metrics(void **)
{
	struct client c = client_open();
	client_ask(&c, "GET", "/tailgate/v0/metrics");
	client_wait(&c);
	assert_int_equal(status_of(&c), 200);
	assert_non_null(strstr(c.answer, "Content-Type: application/openmetrics-text; version=1"));
	assert_non_null(strstr(c.answer, "\n# EOF\n"));
	client_close(&c);
}

static void test_index(void **)
{
	json_t *list = ask("GET", "/tailgate/v0/", 200);
	assert_string_equal(text_at(find(list, "path", "/tailgate/v0/reload"), "method"), "POST");
	json_decref(list);
}

static void test_refusals(void **)
{
	static const struct {
		const char *method, *path;
		int code;
	} cases[] = {
		{"GET", "/", 404},
		{"GET", "/tailgate/v0", 404},
		{"GET", "/tailgate/v0/nothing", 404},
		{"GET", "/tailgate/v0/status/", 404},
		{"GET", "/metrics", 404},
		{"POST", "/tailgate/v0/status", 405},
		{"DELETE", "/tailgate/v0/status", 405},
		{"GET", "/tailgate/v0/trace", 405},
		{"GET", "/tailgate/v0/reload", 405},
		{"GET", "/tailgate/v0/stop", 405},
		{"POST", "/tailgate/v0/capture", 405},
		{"GET", "/tailgate/v0/status?x=1", 400},
		{"POST", "/tailgate/v0/stop?now=1", 400},
		{"POST", "/tailgate/v0/trace?packets=0", 400},
		{"POST", "/tailgate/v0/trace?packets=65", 400},
		{"POST", "/tailgate/v0/trace?packets=-1", 400},
		{"POST", "/tailgate/v0/trace?packets=1&packets=1", 400},
		{"POST", "/tailgate/v0/trace?worker=2", 400},
		{"POST", "/tailgate/v0/trace?timeout=301", 400},
		{"GET", "/tailgate/v0/capture?snaplen=63", 400},
		{"GET", "/tailgate/v0/capture?snaplen=262145", 400},
		{"GET", "/tailgate/v0/capture?point=both", 400},
		{"GET", "/tailgate/v0/capture?count=0", 400},
		{"GET", "/tailgate/v0/capture?peer=%zz", 400},
		{"GET", "/tailgate/v0/capture?peer=paris", 404},
		{"GET", "/tailgate/v0/capture?port=dmz", 404},
	};
	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		json_t *json = ask(cases[i].method, cases[i].path, cases[i].code);
		assert_true(strlen(text_at(json, "error")) > 5);
		json_decref(json);
	}
	assert_int_equal(fixture.stops, 0);
	assert_int_equal(fixture.reloads, 0);
}

// Whatever comes, the server answers the next client.
static void test_malformed(void **)
{
	static const struct {
		const char *name, *head;
		size_t filler; // bytes behind the head
		int code;      // 0: any, or the connection is closed
	} cases[] = {
		{"header too large", "GET /tailgate/v0/status HTTP/1.1\r\nX: ", 20000, 400},
		{"path too large", "GET /", 20000, 400},
		{"body too large",
			"POST /tailgate/v0/reload HTTP/1.1\r\nContent-Length: 300000\r\n\r\n",
			300000, 413},
		{"negative length",
			"POST /tailgate/v0/reload HTTP/1.1\r\nContent-Length: -5\r\n\r\n", 0, 400},
		{"no HTTP", "\x16\x03\x01\x02\r\n\r\n", 0, 400},
		{"unknown method", "BREW /tailgate/v0/status HTTP/1.1\r\n\r\n", 0, 0},
		{"no host in the URL", "GET http:// HTTP/1.1\r\n\r\n", 0, 0},
	};
	char *filler = malloc(300000);
	memset(filler, 'x', 300000);
	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		struct client c = client_open();
		client_send(&c, cases[i].head, strlen(cases[i].head));
		client_send(&c, filler, cases[i].filler);
		client_send(&c, "\r\n\r\n", 4);
		shutdown(c.fd, SHUT_WR);
		const double end = seconds() + (cases[i].code != 0 ? DEADLINE_S : 0.2);
		while (!c.closed && (cases[i].code == 0 || status_of(&c) != cases[i].code) &&
			seconds() < end)
			spin(&c);
		if (cases[i].code != 0 && status_of(&c) != cases[i].code)
			fail_msg("%s: %s", cases[i].name, c.answer);
		client_close(&c);
		json_decref(ask("GET", "/tailgate/v0/", 200));
	}
	assert_int_equal(fixture.reloads, 0);
	free(filler);
}

static void test_slow_client_holds_nobody_up(void **)
{
	static const char request[] =
		"GET /tailgate/v0/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
	struct client slow = client_open(), idle = client_open();
	client_send(&slow, request, 20);
	json_decref(ask("GET", "/tailgate/v0/status", 200));
	client_send(&slow, request + 20, 10);
	json_decref(ask("GET", "/tailgate/v0/stats", 200));
	client_send(&slow, request + 30, sizeof(request) - 1 - 30);
	client_wait(&slow);
	assert_int_equal(status_of(&slow), 200);
	assert_false(idle.closed);
	client_close(&slow);
	client_close(&idle);
}

static void test_two_requests_on_one_connection(void **)
{
	static const char first[] = "GET /tailgate/v0/status HTTP/1.1\r\nHost: x\r\n\r\n";
	struct client c = client_open();
	client_send(&c, first, sizeof(first) - 1);
	for (double end = seconds() + DEADLINE_S; c.n == 0 && seconds() < end;)
		spin(&c);
	assert_int_equal(status_of(&c), 200);
	c.n = 0;
	memset(c.answer, 0, ANSWER_MAX);
	client_ask(&c, "GET", "/tailgate/v0/");
	client_wait(&c);
	assert_int_equal(status_of(&c), 200);
	client_close(&c);
}

static void test_reload(void **)
{
	json_decref(ask("POST", "/tailgate/v0/reload", 200));
	assert_int_equal(fixture.reloads, 1);
	fixture.reload_result = -EINVAL;
	json_t *json = ask("POST", "/tailgate/v0/reload", 422);
	fixture.reload_result = 0;
	assert_string_equal(text_at(json, "error"), "tailgate.conf:3: mtu: \"x\" is no number");
	json_decref(json);
	fixture.reloads = 0;
}

static void test_stop(void **)
{
	json_decref(ask("POST", "/tailgate/v0/stop", 200));
	for (double end = seconds() + DEADLINE_S; fixture.stops == 0 && seconds() < end;)
		spin(NULL);
	assert_int_equal(fixture.stops, 1);
	fixture.stops = 0;
}

static void test_socket(void **)
{
	char err[CTL_ERROR_LEN], path[100], longest[200];
	struct ctl_server *server;
	struct ctl_params params = {.path = t.path};
	struct stat st;

	assert_int_equal(stat(t.path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0666);

	// A live one is left alone.
	assert_int_equal(ctl_server_create(&fixture.daemon, &params, &server, err), -EADDRINUSE);
	assert_non_null(strstr(err, "another tailgated answers on"));
	json_decref(ask("GET", "/tailgate/v0/status", 200));

	// A dead one's socket is replaced; the folder is made.
	snprintf(path, sizeof(path), "%s/new/ctl.sock", t.folder);
	params.path = path;
	assert_int_equal(ctl_server_create(&fixture.daemon, &params, &server, err), 0);
	ctl_server_destroy(server);
	assert_int_equal(access(path, F_OK), -1);
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(ctl_server_create(&fixture.daemon, &params, &server, err), 0);
	// Somebody else's file at our path is not removed at the end.
	unlink(path);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	ctl_server_destroy(server);
	assert_int_equal(access(path, F_OK), 0);
	close(fd);

	assert_int_equal(ctl_server_create(&fixture.daemon, &params, &server, err), -EEXIST);
	assert_non_null(strstr(err, "is no socket"));
	unlink(path);
	params.user = "no-such-user-here";
	assert_int_equal(ctl_server_create(&fixture.daemon, &params, &server, err), -ENOENT);
	assert_non_null(strstr(err, "no-such-user-here"));
	unlink(path);
	params = (struct ctl_params){.path = ""};
	assert_int_equal(ctl_server_create(&fixture.daemon, &params, &server, err), -ENAMETOOLONG);
	memset(longest, 'x', sizeof(longest));
	longest[108] = '\0';
	params.path = longest;
	assert_int_equal(ctl_server_create(&fixture.daemon, &params, &server, err), -ENAMETOOLONG);
	snprintf(path, sizeof(path), "%s/new", t.folder);
	rmdir(path);
}

// The port of a TCP socket that is free now.
static uint16_t free_port(void)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	close(fd);
	return ntohs(address.sin_port);
}

static void test_metrics_over_tcp(void **)
{
	static const struct {
		const char *method, *path;
		int code;
	} cases[] = {
		{"GET", "/metrics", 200},
		{"POST", "/metrics", 405},
		{"GET", "/", 404},
		{"GET", "/tailgate/v0/status", 404},
		{"POST", "/tailgate/v0/stop", 404},
	};
	char err[CTL_ERROR_LEN], path[100];
	struct ctl_server *server, *second;
	uint16_t port = free_port();
	snprintf(path, sizeof(path), "%s/m.sock", t.folder);
	struct ctl_params params = {.path = path, .metrics = fixture_endpoint("127.0.0.1:1")};
	params.metrics.port = port;
	assert_int_equal(ctl_server_create(&fixture.daemon, &params, &server, err), 0);
	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		struct sockaddr_in address = {.sin_family = AF_INET,
			.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
			.sin_port = htons(port)};
		struct client c = {
			.fd = socket(AF_INET, SOCK_STREAM, 0), .answer = calloc(1, ANSWER_MAX + 1)};
		assert_int_equal(connect(c.fd, (struct sockaddr *)&address, sizeof(address)), 0);
		fcntl(c.fd, F_SETFL, O_NONBLOCK);
		client_ask(&c, cases[i].method, cases[i].path);
		client_wait(&c);
		if (status_of(&c) != cases[i].code)
			fail_msg("%s: %s", cases[i].path, c.answer);
		client_close(&c);
	}
	assert_int_equal(fixture.stops, 0);

	snprintf(path, sizeof(path), "%s/m2.sock", t.folder);
	assert_int_equal(ctl_server_create(&fixture.daemon, &params, &second, err), -EADDRINUSE);
	assert_non_null(strstr(err, "cannot serve metrics on 127.0.0.1:"));
	ctl_server_destroy(server);
	unlink(path);
}

static void test_query(void **)
{
	static const char *const names[] = {"peer", "n", NULL};
	static const struct {
		const char *text;
		const char *peer; // NULL: not given; with good false: whatever
		bool good;
	} cases[] = {
		{NULL, NULL, true},
		{"", NULL, true},
		{"peer=a", "a", true},
		{"peer=", "", true},
		{"n=1&peer=a%20b%2F%2b+", "a b/++", true},
		{"peer=a=b", "a=b", true},
		{"peer=a&", "a", true},
		{"peer", NULL, false},
		{"=x", NULL, false},
		{"Peer=x", NULL, false},
		{"peer=a&peer=b", NULL, false},
		{"peer=a&&n=1", NULL, false},
		{"peer=%", NULL, false},
		{"peer=%2", NULL, false},
		{"peer=%g0", NULL, false},
		{"peer=%00", NULL, false},
		{"peer=%0a", NULL, false},
		{"peer=%7f", NULL, false},
		{"averyveryverylongname=1", NULL, false},
		{"peer=0123456789012345678901234567890123456789012345678901234567890123456789"
		 "01234567890123456789012345",
			NULL, false},
	};
	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		struct query q;
		char err[QUERY_ERROR_LEN] = "";
		bool good = query_parse(cases[i].text, names, &q, err) == 0;
		if (good != cases[i].good)
			fail_msg("%s: %s", cases[i].text, err);
		const char *peer = good ? query_text(&q, "peer") : NULL;
		if (good && (peer == NULL) != (cases[i].peer == NULL))
			fail_msg("%s", cases[i].text);
		if (peer != NULL)
			assert_string_equal(peer, cases[i].peer);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_query),
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_stats),
		cmocka_unit_test(test_top),
		cmocka_unit_test(test_metrics),
		cmocka_unit_test(test_index),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_slow_client_holds_nobody_up),
		cmocka_unit_test(test_two_requests_on_one_connection),
		cmocka_unit_test(test_reload),
		cmocka_unit_test(test_stop),
		cmocka_unit_test(test_socket),
		cmocka_unit_test(test_metrics_over_tcp),
	};
	return cmocka_run_group_tests(tests, client_setup, client_teardown);
}
