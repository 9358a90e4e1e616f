// The map stream and what ends it, lite updates, ping requests, and callers that end it all from
// within.
#include "tests/unit/coord_fixture.h"

#define COUNT(a) (sizeof(a) / sizeof(*(a)))
#define S UINT64_C(1000000000)

static bool has_lite(struct fixture *f)
{
	return f->status->lite_updates > 0;
}

static struct fixture *streaming(void)
{
	struct fixture *f = fixture_create(good_request);

	fixture_start(f, "k", false);
	wait_until(f, is_streaming);
	wait_until(f, has_lite);
	return f;
}

// --- What ends the stream.

struct fault {
	const char *name;
	void (*happen)(struct fixture *);
	enum coord_trouble trouble;
	const char *why;
	unsigned registers; // until it streams again
};

static void end_stream(struct fixture *f)
{
	f->stream->open = false;
	server_resume(f->stream);
}

static void reset_stream(struct fixture *f)
{
	nghttp2_submit_rst_stream(f->stream->conn->h2, 0, f->stream->id, NGHTTP2_INTERNAL_ERROR);
	server_pump(f->stream->conn);
}

static void go_away(struct fixture *f)
{
	nghttp2_submit_goaway(
		f->stream->conn->h2, 0, 1, NGHTTP2_ENHANCE_YOUR_CALM, (const uint8_t *)"calm", 4);
	end_stream(f);
}

static void cut(struct fixture *f)
{
	server_cut(&f->server);
}

// The last record comes only in part.
static void cut_in_record(struct fixture *f)
{
	uint8_t wire[256];
	struct server_conn *const c = f->stream->conn;

	server_seal(wire, c->noise.send_key, c->noise.sent, "1234567890", 10);
	assert_int_equal(send(bufferevent_getfd(c->bev), wire, 12, MSG_NOSIGNAL), 12);
	server_cut(&f->server);
}

static void damage(struct fixture *f)
{
	uint8_t wire[256];
	struct server_conn *const c = f->stream->conn;
	const size_t n = server_seal(wire, c->noise.send_key, c->noise.sent + 1, "x", 1);

	bufferevent_write(c->bev, wire, n);
}

static void break_http2(struct fixture *f)
{
	uint8_t wire[256];
	struct server_conn *const c = f->stream->conn;
	const size_t n = server_seal(
		wire, c->noise.send_key, c->noise.sent++, "\xff\xff\xff\0\0\0\0\0\1", 9);

	bufferevent_write(c->bev, wire, n);
}

static void huge_frame(struct fixture *f)
{
	server_append(f->stream, "\xff\xff\xff\xff", 4);
	server_resume(f->stream);
}

static void no_zstd(struct fixture *f)
{
	server_append(f->stream, "\4\0\0\0\0\0\0\0", 8);
	server_resume(f->stream);
}

static void no_json(struct fixture *f)
{
	server_message(f->stream, "{\"Peers\":");
}

static void wrong_type(struct fixture *f)
{
	server_message(f->stream, "{\"Peers\":{}}");
}

static void silence(struct fixture *f)
{
	f->skew_ns += 121 * S;
}

static const struct fault faults[] = {
	{"the server ends the stream", end_stream, COORD_TROUBLE_CLOSED, "ended POST", 1},
	{"the server resets the stream", reset_stream, COORD_TROUBLE_CLOSED, "ended POST", 1},
	{"the server goes away", go_away, COORD_TROUBLE_CLOSED, "ended POST", 1},
	{"the connection ends", cut, COORD_TROUBLE_CLOSED, "closed", 1},
	{"the connection ends within a record", cut_in_record, COORD_TROUBLE_CLOSED,
		"within a record", 1},
	{"a record that was sent before", damage, COORD_TROUBLE_PROTOCOL, "authenticate", 1},
	{"no HTTP/2", break_http2, COORD_TROUBLE_PROTOCOL, "broke HTTP/2", 1},
	{"a frame of 4 GB", huge_frame, COORD_TROUBLE_PROTOCOL, "too long", 1},
	{"no zstd", no_zstd, COORD_TROUBLE_PROTOCOL, "no zstd frame", 1},
	{"broken JSON", no_json, COORD_TROUBLE_PROTOCOL, "cannot be taken", 1},
	{"JSON of a wrong type", wrong_type, COORD_TROUBLE_PROTOCOL, "wrong type", 1},
	{"silence", silence, COORD_TROUBLE_SILENT, "120 s", 1},
};

static void test_stream_ends(void **)
{
	for (size_t i = 0; i < COUNT(faults); i++) {
		struct fixture *f = streaming();

		faults[i].happen(f);
		wait_until(f, has_failed);
		print_message("%s: %s\n", faults[i].name, f->status->why);
		assert_string_equal(coord_trouble_label(f->status->trouble),
			coord_trouble_label(faults[i].trouble));
		assert_non_null(strstr(f->status->why, faults[i].why));
		assert_int_equal(f->status->connected_ns, 0);
		assert_true(f->netmap->ready); // the data plane goes on with it
		assert_string_equal(f->netmap->self->name, "test.lab.");
		wait_until(f, is_streaming);
		assert_string_equal(f->status->why, "");
		assert_int_equal(f->registers, faults[i].registers);
		assert_int_equal(f->server.upgrades, 2);
		assert_int_equal(f->maps, 2);
		fixture_destroy(f);
	}
}

// --- Answers instead of a stream, the first time.

static const struct {
	const char *name;
	int status;
	const char *retry_after, *body;
	enum coord_trouble trouble;
	enum coord_state state;
	const char *why;
	unsigned registers;
} answers[] = {
	{"unknown node", 404, NULL, "node not found", COORD_TROUBLE_UNKNOWN_NODE, COORD_CONNECTING,
		"registering again", 2},
	{"too old", 400, NULL, "unsupported client version:  (112)", COORD_TROUBLE_VERSION,
		COORD_REFUSED, "(112); upgrade", 1},
	{"another 400", 400, NULL, "bad", COORD_TROUBLE_WRONG_SERVER, COORD_CONNECTING, "HTTP 400",
		1},
	{"too many", 429, "1", "", COORD_TROUBLE_RATE_LIMITED, COORD_CONNECTING, "HTTP 429", 1},
	{"a gateway's error", 502, NULL, "<html>", COORD_TROUBLE_CONNECT, COORD_CONNECTING,
		"HTTP 502", 1},
	{"a redirect", 308, NULL, "", COORD_TROUBLE_REDIRECT, COORD_CONNECTING, "HTTP 308", 1},
	{"an empty stream", 200, NULL, "", COORD_TROUBLE_CLOSED, COORD_CONNECTING, "ended", 1},
};

static void answering_request(struct server *server, struct server_stream *s)
{
	struct fixture *f = fixture_of(server);

	if (strcmp(s->path, "/machine/map") != 0 || is_lite(s) || f->streams > 0) {
		good_request(server, s);
		return;
	}
	take_stream(f, s);
	server_respond(s, answers[f->script].status, answers[f->script].retry_after,
		answers[f->script].body, false);
}

static void test_no_stream(void **)
{
	for (size_t i = 0; i < COUNT(answers); i++) {
		struct fixture *f = fixture_create(answering_request);

		f->script = (int)i;
		fixture_start(f, "k", false);
		wait_until(f, has_failed);
		print_message("%s: %s\n", answers[i].name, f->status->why);
		assert_string_equal(coord_trouble_label(f->status->trouble),
			coord_trouble_label(answers[i].trouble));
		assert_int_equal(f->status->state, answers[i].state);
		assert_non_null(strstr(f->status->why, answers[i].why));
		if (answers[i].state == COORD_REFUSED)
			coord_client_retry(f->client); // instead of a minute later
		wait_until(f, is_streaming);
		assert_int_equal(f->registers, answers[i].registers);
		fixture_destroy(f);
	}
}

static void nothing_first_request(struct server *server, struct server_stream *s)
{
	struct fixture *f = fixture_of(server);

	if (strcmp(s->path, "/machine/map") != 0 || is_lite(s)) {
		good_request(server, s);
		return;
	}
	take_stream(f, s);
	server_respond(s, 200, NULL, "", true);
	server_message(s, "{\"PeersChanged\":[]}");
}

static void test_no_node_first(void **)
{
	struct fixture *f = fixture_create(nothing_first_request);

	fixture_start(f, "k", false);
	wait_until(f, has_failed);
	assert_int_equal(f->status->trouble, COORD_TROUBLE_PROTOCOL);
	assert_int_equal(f->status->messages, 0);
	assert_false(f->netmap->ready);
	fixture_destroy(f);
}

// A keep-alive is a sign of life; bytes without a message are none.
static void test_watchdog(void **)
{
	struct fixture *f = streaming();

	f->skew_ns += 100 * S;
	server_message(f->stream, "{\"KeepAlive\":true}");
	run_ms(f, 100);
	assert_int_equal(f->status->messages, 2);
	f->skew_ns += 100 * S;
	run_ms(f, 1100);
	assert_int_equal(f->status->failures, 0);
	server_append(f->stream, "\x10", 1);
	server_resume(f->stream);
	f->skew_ns += 21 * S;
	wait_until(f, has_failed);
	assert_int_equal(f->status->trouble, COORD_TROUBLE_SILENT);
	fixture_destroy(f);
}

// A server that gives a netmap and closes is not asked again and again without a pause.
static void closing_request(struct server *server, struct server_stream *s)
{
	struct fixture *f = fixture_of(server);

	good_request(server, s);
	if (f->stream == s)
		end_stream(f);
}

static void test_pauses_grow(void **)
{
	struct fixture *f = fixture_create(closing_request);

	fixture_start(f, "k", false);
	run_ms(f, 2000);
	print_message("%u streams in two seconds\n", f->streams);
	assert_in_range(f->streams, 3, 20);
	fixture_destroy(f);
}

static void test_sleep(void **)
{
	struct fixture *f = streaming();

	server_message(f->stream, "{\"Debug\":{\"SleepSeconds\":1.5}}");
	run_ms(f, 1000);
	assert_int_equal(f->streams, 1);
	assert_int_equal(f->server.streams_over + 1, f->registers + f->lites + 1);
	wait_until(f, is_streaming);
	run_ms(f, 1000);
	assert_int_equal(f->streams, 2);
	assert_int_equal(f->status->failures, 0);
	fixture_destroy(f);
}

// --- What the own node says.

static bool awaits_approval(struct fixture *f)
{
	return f->status->state == COORD_AWAIT_APPROVAL;
}

static void test_approval(void **)
{
	struct fixture *f = streaming();

	send_self(f, "");
	wait_until(f, awaits_approval);
	send_self(f, ",\"MachineAuthorized\":true");
	wait_until(f, is_streaming);
	assert_int_equal(f->status->failures, 0);
	fixture_destroy(f);
}

static bool has_trouble(struct fixture *f)
{
	return f->status->trouble != COORD_TROUBLE_NONE;
}

static bool has_no_trouble(struct fixture *f)
{
	return f->status->trouble == COORD_TROUBLE_NONE;
}

// The stream goes on: the key may be extended.
static void test_own_key_expires(void **)
{
	static const char *const expired[] = {",\"Expired\":true",
		",\"KeyExpiry\":\"2020-01-01T00:00:00Z\",\"MachineAuthorized\":true"};
	struct fixture *f = streaming();

	for (size_t i = 0; i < COUNT(expired); i++) {
		send_self(f, expired[i]);
		wait_until(f, has_trouble);
		print_message("%s\n", f->status->why);
		assert_int_equal(f->status->trouble, COORD_TROUBLE_EXPIRED);
		assert_int_equal(f->status->state, COORD_STREAMING);
		assert_non_null(strstr(f->status->why, "log in again"));
		send_self(f, ",\"KeyExpiry\":\"2999-01-01T00:00:00Z\",\"MachineAuthorized\":true");
		wait_until(f, has_no_trouble);
		assert_string_equal(f->status->why, "");
	}
	assert_int_equal(f->status->troubles[COORD_TROUBLE_EXPIRED], 2);
	assert_int_equal(f->streams, 1);
	fixture_destroy(f);
}

static void test_clock(void **)
{
	struct fixture *f = streaming();
	char text[128], time_text[TIME_TEXT_LEN];

	snprintf(text, sizeof(text), "{\"ControlTime\":\"%s\"}",
		time_format(time(NULL) + 3600, time_text));
	server_message(f->stream, text);
	wait_until(f, has_trouble);
	print_message("%s\n", f->status->why);
	assert_int_equal(f->status->trouble, COORD_TROUBLE_CLOCK);
	assert_non_null(strstr(f->status->why, "behind"));
	assert_int_equal(f->status->state, COORD_STREAMING);
	fixture_destroy(f);
}

static void test_browser_url(void **)
{
	struct fixture *f = streaming();

	server_message(f->stream, "{\"PopBrowserURL\":\"file:///etc/passwd\"}");
	server_message(f->stream, "{\"PopBrowserURL\":\"https://a.example/x\"}");
	run_ms(f, 100);
	assert_string_equal(f->status->url, "https://a.example/x");
	fixture_destroy(f);
}

// --- Lite updates.

static bool three_lites(struct fixture *f)
{
	return f->lites == 3;
}

static void test_lite(void **)
{
	struct fixture *f = streaming();

	assert_int_equal(f->lites, 1); // at the start
	assert_int_equal(endpoint_parse("192.0.2.9:41641", &f->endpoint.endpoint), 0);
	f->endpoint.type = ENDPOINT_STUN;
	for (int i = 0; i < 5; i++)
		coord_client_update(f->client);
	run_ms(f, 200);
	assert_int_equal(f->lites, 2);
	assert_int_equal(f->status->lite_updates, 2);
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

static void test_map_callback_ends_it(void **)
{
	static const struct {
		const char *name;
		void (*on_map)(struct fixture *);
		enum coord_state state;
		unsigned streams;
	} cases[] = {
		{"pause", pause_within, COORD_OFF, 1},
		{"start", restart_within, COORD_STREAMING, 2},
		{"logout", logout_within, COORD_OFF, 1},
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct fixture *f = fixture_create(good_request);
		print_message("%s\n", cases[i].name);
		f->on_map = cases[i].on_map;
		fixture_start(f, "k", false);
		run_ms(f, 500);
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

// At the first, second ... change: the client is off, or has gone on to a stream.
static void test_change_callback_pauses(void **)
{
	for (int at = 1; at < 6; at++) {
		struct fixture *f = fixture_create(good_request);
		f->on_change = pause_on_change;
		f->script = at;
		fixture_start(f, "k", false);
		run_ms(f, 150);
		assert_true(f->status->state == COORD_OFF || is_streaming(f));
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
		cmocka_unit_test(test_stream_ends),
		cmocka_unit_test(test_no_stream),
		cmocka_unit_test(test_no_node_first),
		cmocka_unit_test(test_watchdog),
		cmocka_unit_test(test_pauses_grow),
		cmocka_unit_test(test_sleep),
		cmocka_unit_test(test_approval),
		cmocka_unit_test(test_own_key_expires),
		cmocka_unit_test(test_clock),
		cmocka_unit_test(test_browser_url),
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
