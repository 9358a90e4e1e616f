// The map stream: what ends it, and what our own node in it says.
#include "tests/unit/coord_fixture.h"

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
		assert_failure(f, faults[i].name, faults[i].trouble, faults[i].why);
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
		assert_failure(f, answers[i].name, answers[i].trouble, answers[i].why);
		assert_int_equal(f->status->state, answers[i].state);
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

static bool two_messages(struct fixture *f)
{
	return f->status->messages == 2;
}

// A keep-alive is a sign of life; bytes without a message are none.
static void test_watchdog(void **)
{
	struct fixture *f = streaming();

	f->skew_ns += 100 * S;
	server_message(f->stream, "{\"KeepAlive\":true}");
	wait_until(f, two_messages);
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

static bool three_streams(struct fixture *f)
{
	return f->streams >= 3;
}

static void test_pauses_grow(void **)
{
	struct fixture *f = fixture_create(closing_request);

	fixture_start(f, "k", false);
	run_ms(f, 2000);
	print_message("%u streams in two seconds\n", f->streams);
	assert_true(f->streams <= 20);
	wait_until(f, three_streams);
	fixture_destroy(f);
}

#define SLEEP (S * 14 / 10) // of 1.5 s: clocks are coarse

static bool two_streams(struct fixture *f)
{
	return f->streams >= 2;
}

static void test_sleep(void **)
{
	struct fixture *f = streaming();
	const uint64_t begin = fixture_now(f);

	server_message(f->stream, "{\"Debug\":{\"SleepSeconds\":1.5}}");
	run_ms(f, 1000);
	if (fixture_now(f) - begin < SLEEP) { // else the machine slept as well
		assert_int_equal(f->streams, 1);
		assert_int_equal(f->server.streams_over + 1, f->registers + f->lites + 1);
	}
	wait_until(f, two_streams);
	wait_until(f, is_streaming);
	assert_true(fixture_now(f) - begin >= SLEEP);
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

static bool has_url(struct fixture *f)
{
	return f->status->url[0] != '\0';
}

static void test_browser_url(void **)
{
	struct fixture *f = streaming();

	server_message(f->stream, "{\"PopBrowserURL\":\"file:///etc/passwd\"}");
	server_message(f->stream, "{\"PopBrowserURL\":\"https://a.example/x\"}");
	wait_until(f, has_url);
	assert_string_equal(f->status->url, "https://a.example/x");
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
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
