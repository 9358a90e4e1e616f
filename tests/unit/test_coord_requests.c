// Beside the map stream: lite updates and ping requests; callers that end it all from within.
#include "tests/unit/coord_fixture.h"

// --- Lite updates.

static bool three_lites(struct fixture *f)
{
	return f->lites == 3;
}

static bool two_lite_updates(struct fixture *f)
{
	return f->status->lite_updates == 2;
}

static void test_lite(void **)
{
	struct fixture *f = streaming();

	assert_int_equal(f->lites, 1); // at the start
	assert_int_equal(endpoint_parse("192.0.2.9:41641", &f->endpoint.endpoint), 0);
	f->endpoint.type = ENDPOINT_STUN;
	for (int i = 0; i < 5; i++)
		coord_client_update(f->client);
	wait_until(f, two_lite_updates);
	assert_int_equal(f->lites, 2);
	assert_non_null(strstr(f->last_lite, "\"Endpoints\":[\"192.0.2.9:41641\"]"));
	assert_non_null(strstr(f->last_lite, "\"EndpointTypes\":[2]"));
	assert_null(strstr(f->last_lite, "\"Stream\":true"));
	coord_client_update(f->client);
	wait_until(f, three_lites);
	fixture_destroy(f);
}

enum { LITE_REFUSED, LITE_HELD, LITE_UNKNOWN };

static void lite_request(struct server *server, struct server_stream *s)
{
	struct fixture *f = fixture_of(server);

	if (strcmp(s->path, "/machine/map") != 0 || !is_lite(s) || f->lites > 1) {
		good_request(server, s);
		return;
	}
	take_lite(f, s);
	if (f->script != LITE_HELD)
		server_respond(s, f->script == LITE_REFUSED ? 500 : 404, NULL, "", false);
}

static bool two_updates(struct fixture *f)
{
	return f->lites >= 2;
}

static void test_lite_is_repeated(void **)
{
	struct fixture *f = fixture_create(lite_request);

	f->script = LITE_REFUSED;
	fixture_start(f, "k", false);
	wait_until(f, has_lite);
	assert_int_equal(f->lites, 3); // two were refused
	assert_int_equal(f->streams, 1);
	assert_int_equal(f->status->failures, 0);
	fixture_destroy(f);
}

// One at a time; one that gets no answer shows that the connection is dead.
static void test_lite_without_answer(void **)
{
	struct fixture *f = fixture_create(lite_request);

	f->script = LITE_HELD;
	fixture_start(f, "k", false);
	wait_until(f, is_streaming);
	run_ms(f, 100);
	coord_client_update(f->client);
	run_ms(f, 200);
	assert_int_equal(f->lites, 1);
	f->skew_ns += 16 * S;
	wait_until(f, has_failed);
	assert_int_equal(f->status->trouble, COORD_TROUBLE_SILENT);
	wait_until(f, two_updates);
	wait_until(f, is_streaming);
	fixture_destroy(f);
}

static bool registered_again(struct fixture *f)
{
	return f->registers == 2;
}

static void test_lite_of_unknown_node(void **)
{
	struct fixture *f = fixture_create(lite_request);

	f->script = LITE_UNKNOWN;
	fixture_start(f, "k", false);
	wait_until(f, registered_again);
	assert_int_equal(f->status->troubles[COORD_TROUBLE_UNKNOWN_NODE], 1);
	fixture_destroy(f);
}

static void test_retry_while_waiting(void **)
{
	struct fixture *f = fixture_create(good_request);

	f->server.key_answer = "HTTP/1.1 400 Bad Request\r\nContent-Length: 7\r\n\r\nversion";
	fixture_start(f, "k", false);
	wait_until(f, has_failed);
	assert_int_equal(f->status->state, COORD_REFUSED); // would wait for a minute or so
	f->server.key_answer = NULL;
	coord_client_retry(f->client);
	wait_until(f, is_streaming);
	fixture_destroy(f);
}

// --- Ping requests.

static void ping(struct fixture *f, const char *members)
{
	char text[1024];

	snprintf(text, sizeof(text), "{\"KeepAlive\":true,\"PingRequest\":{%s}}", members);
	server_message(f->stream, text);
	run_ms(f, 60);
}

static void test_head(void **)
{
	struct fixture *f = streaming();
	char members[256];

	ping(f, "\"URL\":\"https://x.example/ping?id=1\",\"URLIsNoise\":true");
	assert_int_equal(f->pinged, 1);
	ping(f, "\"URL\":\"https://x.example/ping?id=1\",\"URLIsNoise\":true");
	assert_int_equal(f->pinged, 1); // repeated
	ping(f, "\"URL\":\"https://x.example/ping?id=2\",\"URLIsNoise\":true,\"Log\":true");
	assert_int_equal(f->pinged, 2);
	snprintf(members, sizeof(members), "\"URL\":\"http://127.0.0.1:%u/machine/ping-response\"",
		f->server.port);
	ping(f, members);
	assert_int_equal(f->server.heads, 1);
	assert_int_equal(f->pinged, 2);
	ping(f, members);
	assert_int_equal(f->server.heads, 1);
	assert_int_equal(f->status->ping_requests, 3);
	fixture_destroy(f);
}

static void test_bad_pings(void **)
{
	static const char *const cases[] = {"", "\"URL\":\"\"", "\"URL\":\"/path\"",
		"\"URL\":\"file:///etc/passwd\"", "\"URL\":\"http://a/\\u001b\"", "\"URL\":7",
		"\"URL\":\"http://a/ b\",\"URLIsNoise\":true",
		"\"URL\":\"http://a/1\",\"Types\":\"c2n\",\"Payload\":\"%%%\"",
		"\"URL\":\"http://a/2\",\"URLIsNoise\":\"yes\"",
		"\"URL\":\"http://a/3\",\"Types\":[]"};
	struct fixture *f = streaming();

	for (size_t i = 0; i < COUNT(cases); i++)
		ping(f, cases[i]);
	assert_int_equal(f->pinged + f->posts + f->pings + f->c2ns, 0);
	assert_int_equal(f->status->failures, 0);
	assert_int_equal(f->status->state, COORD_STREAMING);
	fixture_destroy(f);
}

static void test_c2n(void **)
{
	static const struct {
		const char *request, *answer;
	} cases[] = {
		{"POST /echo HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi",
			"/c2n?id=0 HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"},
		{"GET /nothing HTTP/1.1\r\n\r\n",
			"/c2n?id=1 HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n"
			"Content-Length: 17\r\n\r\nunknown c2n path\n"},
	};
	struct fixture *f = streaming();

	for (size_t i = 0; i < COUNT(cases); i++) {
		char base64[256], members[512];
		sodium_bin2base64(base64, sizeof(base64), (const uint8_t *)cases[i].request,
			strlen(cases[i].request), sodium_base64_VARIANT_ORIGINAL);
		snprintf(members, sizeof(members),
			"\"URL\":\"https://x/c2n?id=%zu\",\"Types\":\"c2n\",\"Payload\":\"%s\"", i,
			base64);
		ping(f, members);
		assert_string_equal(f->c2n, cases[i].request);
		assert_string_equal(f->last_post, cases[i].answer);
	}
	assert_int_equal(f->posts, 2);
	fixture_destroy(f);
}

static void test_other_pings(void **)
{
	struct fixture *f = streaming();

	ping(f, "\"URL\":\"https://x/p\",\"Types\":\"disco,TSMP\",\"IP\":\"100.64.0.2\"");
	assert_int_equal(f->pings, 1);
	assert_non_null(strstr(f->ping, "\"IP\":\"100.64.0.2\""));
	assert_int_equal(coord_client_post(f->client, "https://x/p", "{\"IP\":1}", 8), 0);
	assert_int_equal(coord_client_post(f->client, "x", "", 0), -EINVAL);
	assert_int_equal(coord_client_post(f->client, "/a b", "", 0), -EINVAL);
	run_ms(f, 60);
	assert_string_equal(f->last_post, "/p {\"IP\":1}");
	coord_client_pause(f->client);
	assert_int_equal(coord_client_post(f->client, "/p", "{}", 2), -ENOTCONN);
	fixture_destroy(f);
}

static bool all_flood(struct fixture *f)
{
	return f->status->messages == 101 && f->server.heads > 0;
}

// More of them than there is room for, at once: the stream goes on.
static void test_ping_flood(void **)
{
	struct fixture *f = streaming();
	char text[256];

	for (int i = 0; i < 100; i++) {
		snprintf(text, sizeof(text),
			"{\"KeepAlive\":true,\"PingRequest\":{\"URL\":\"http://127.0.0.1:%u/%d\"}}",
			i % 2 ? f->server.port : 9, i);
		server_message(f->stream, text);
	}
	wait_until(f, all_flood);
	run_ms(f, 300);
	assert_in_range(f->server.heads, 1, 50);
	assert_int_equal(f->status->messages, 101);
	fixture_destroy(f);
}

// --- From within.

static void pause_within(struct fixture *f)
{
	coord_client_pause(f->client);
}

static void restart_within(struct fixture *f)
{
	if (f->maps == 1)
		fixture_start(f, NULL, false);
}

static void logout_within(struct fixture *f)
{
	if (f->maps == 1)
		coord_client_logout(f->client, NULL, NULL);
}

static const struct map_ends {
	const char *name;
	void (*on_map)(struct fixture *);
	enum coord_state state;
	unsigned streams;
} * map_ends;

static bool map_ended(struct fixture *f)
{
	return f->maps > 0 && f->status->state == map_ends->state &&
	       f->streams == map_ends->streams;
}

static void test_map_callback_ends_it(void **)
{
	static const struct map_ends cases[] = {
		{"pause", pause_within, COORD_OFF, 1},
		{"start", restart_within, COORD_STREAMING, 2},
		{"logout", logout_within, COORD_OFF, 1},
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct fixture *f = fixture_create(good_request);
		print_message("%s\n", cases[i].name);
		map_ends = &cases[i];
		f->on_map = cases[i].on_map;
		fixture_start(f, "k", false);
		wait_until(f, map_ended);
		run_ms(f, 100);
		assert_int_equal(f->status->state, cases[i].state);
		assert_int_equal(f->streams, cases[i].streams);
		assert_int_equal(f->status->failures, 0);
		fixture_destroy(f);
	}
}

// Each change ends it once, wherever it comes from.
static void restart_on_change(struct fixture *f)
{
	static unsigned depth;

	if (depth || f->changes > 6)
		return;
	depth++;
	fixture_start(f, "k", f->changes % 2);
	depth--;
}

static void test_change_callback_restarts(void **)
{
	struct fixture *f = fixture_create(good_request);

	f->on_change = restart_on_change;
	fixture_start(f, "k", false);
	run_ms(f, 500);
	wait_until(f, is_streaming);
	fixture_destroy(f);
}

static void pause_on_change(struct fixture *f)
{
	static bool within;

	if (within || !f->script--)
		return;
	within = true;
	if (f->status->state != COORD_OFF)
		coord_client_pause(f->client);
	within = false;
}

static bool off_or_streaming(struct fixture *f)
{
	return f->status->state == COORD_OFF || is_streaming(f);
}

// At the first, second ... change: the client is off, or has gone on to a stream.
static void test_change_callback_pauses(void **)
{
	for (int at = 1; at < 6; at++) {
		struct fixture *f = fixture_create(good_request);
		f->on_change = pause_on_change;
		f->script = at;
		fixture_start(f, "k", false);
		wait_until(f, off_or_streaming);
		run_ms(f, 50);
		assert_true(off_or_streaming(f));
		fixture_destroy(f);
	}
}

static void test_pause_keeps_keys(void **)
{
	struct fixture *f = streaming();
	const struct key key = f->node_key;

	coord_client_pause(f->client);
	assert_int_equal(f->status->state, COORD_OFF);
	run_ms(f, 200);
	assert_int_equal(f->streams, 1);
	assert_true(f->netmap->ready);
	fixture_start(f, NULL, false);
	wait_until(f, is_streaming);
	assert_key_equal(f->node_key, key);
	fixture_destroy(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lite),
		cmocka_unit_test(test_lite_is_repeated),
		cmocka_unit_test(test_lite_without_answer),
		cmocka_unit_test(test_lite_of_unknown_node),
		cmocka_unit_test(test_retry_while_waiting),
		cmocka_unit_test(test_head),
		cmocka_unit_test(test_bad_pings),
		cmocka_unit_test(test_c2n),
		cmocka_unit_test(test_other_pings),
		cmocka_unit_test(test_ping_flood),
		cmocka_unit_test(test_map_callback_ends_it),
		cmocka_unit_test(test_change_callback_restarts),
		cmocka_unit_test(test_change_callback_pauses),
		cmocka_unit_test(test_pause_keeps_keys),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
