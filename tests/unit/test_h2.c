// The HTTP/2 client against recorded bytes of headscale, inside ts2021; against nghttp2's server
// side in memory; and against frames that no server should send.
#include "tests/unit/ts2021_server.h"

#include <nghttp2/nghttp2.h>

#include "control/coord/h2.h"

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

// What one request's events said.
struct request {
	int status, closed_times, error, data_error;
	char retry_after[64];
	uint8_t body[4096];
	size_t len, seen;
};

static void on_answer(void *arg, const struct h2_answer *answer)
{
	struct request *r = arg;

	assert_int_equal(r->status, 0);
	r->status = answer->status;
	if (answer->retry_after)
		snprintf(r->retry_after, sizeof(r->retry_after), "%s", answer->retry_after);
}

static int on_body(void *arg, const uint8_t *bytes, size_t len)
{
	struct request *r = arg;

	for (size_t i = 0; i < len && r->len < sizeof(r->body); i++)
		r->body[r->len++] = bytes[i];
	r->seen += len;
	return r->data_error;
}

static void on_closed(void *arg, int error)
{
	struct request *r = arg;

	r->closed_times++;
	r->error = error;
}

static struct h2_events events_of(struct request *r)
{
	*r = (struct request){0};
	return (struct h2_events){on_answer, on_body, on_closed, r};
}

static int32_t post(struct h2 *h, struct request *r, const char *body, uint64_t max)
{
	const struct h2_events events = events_of(r);
	const struct h2_request request = {.method = "POST",
		.path = "/machine/register",
		.body = body,
		.body_len = strlen(body),
		.answer_max = max};

	return h2_request(h, &request, &events);
}

static int feed_h2(void *arg, const uint8_t *bytes, size_t len)
{
	return h2_feed(arg, bytes, len);
}

static size_t drain(struct h2 *h)
{
	const uint8_t *bytes;
	size_t total = 0;
	long n;

	while ((n = h2_output(h, &bytes)) > 0)
		total += (size_t)n;
	assert_int_equal(n, 0);
	return total;
}

// headscale's side of a whole connection, TCP segment by segment.
static void test_recorded_connection(void **)
{
	static const int statuses[] = {200, 200, 200, 200, 400, 501};
	static struct request requests[COUNT(statuses)];
	static uint8_t wire[4096];
	json_t *root = vectors_load("control.json");
	const json_t *segment, *registered = json_object_get(root, "register");
	uint8_t initiation[TS2021_INITIATION_LEN], expected[TS2021_INITIATION_LEN];
	struct ts2021 *t = NULL;
	struct h2 *h = NULL;
	struct ts2021_keys keys;
	size_t i;

	assert_int_equal(h2_create(&h, "10.77.0.1:8080"), 0);
	const struct ts2021_events events = {.data = feed_h2, .arg = h};
	vectors_exact(root, "client_machine_private", keys.machine_private.bytes, KEY_LEN);
	vectors_exact(root, "client_ephemeral_private", keys.ephemeral_private.bytes, KEY_LEN);
	vectors_exact(root, "server_public", keys.server_public.bytes, KEY_LEN);
	const json_t *version = json_object_get(root, "version");
	assert_int_equal(ts2021_create(&t, &keys, (uint16_t)json_integer_value(version), &events,
				 initiation),
		0);
	vectors_exact(root, "initiation", expected, sizeof(expected));
	assert_memory_equal(initiation, expected, sizeof(expected));
	for (i = 0; i < COUNT(requests); i++)
		assert_int_equal(post(h, &requests[i], "{}", 1 << 20), 2 * i + 1);
	assert_true(drain(h) > 24);
	json_array_foreach(json_object_get(root, "s2c"), i, segment)
	{
		const size_t len = hex_bytes(json_string_value(segment), wire, sizeof(wire));
		assert_int_equal(ts2021_feed(t, wire, len), 0);
	}
	for (i = 0; i < COUNT(requests); i++) {
		const struct request *r = &requests[i];
		assert_int_equal(r->status, statuses[i]);
		assert_int_equal(r->closed_times, 1);
		assert_int_equal(r->error, 0);
		if (i < json_array_size(registered)) {
			const char *body = json_string_value(
				json_object_get(json_array_get(registered, i), "response"));
			assert_int_equal(r->len, strlen(body));
			assert_memory_equal(r->body, body, r->len);
		}
	}
	assert_true(h2_open(h));
	h2_destroy(h);
	ts2021_destroy(t);
	json_decref(root);
}

// nghttp2's own server. Answers a request when it has ended.
struct server {
	nghttp2_session *session;
	size_t answer_len, requests, body_len;
	size_t windows, acks; // frames of the client
	int32_t last;
	bool quiet;
	char path[64], authority[64], lb[64];
};

static ssize_t server_body(nghttp2_session *, int32_t, uint8_t *to, size_t len, uint32_t *flags,
	nghttp2_data_source *source, void *)
{
	size_t *left = source->ptr;
	const size_t n = *left < len ? *left : len;

	memset(to, 'x', n);
	*left -= n;
	if (!*left)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
}

static void server_answer(struct server *s, int32_t id)
{
	nghttp2_nv headers[] = {
		{(uint8_t *)":status", (uint8_t *)"200", 7, 3, 0},
		{(uint8_t *)"retry-after", (uint8_t *)"7", 11, 1, 0},
	};
	const nghttp2_data_provider body = {
		.source.ptr = &s->answer_len, .read_callback = server_body};

	assert_int_equal(nghttp2_submit_response(s->session, id, headers, 2, &body), 0);
}

static int server_frame(nghttp2_session *, const nghttp2_frame *frame, void *arg)
{
	struct server *s = arg;

	s->windows += frame->hd.type == NGHTTP2_WINDOW_UPDATE;
	s->acks += (frame->hd.type == NGHTTP2_PING || frame->hd.type == NGHTTP2_SETTINGS) &&
		   frame->hd.flags & NGHTTP2_FLAG_ACK;
	if ((frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS) ||
		!(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
		return 0;
	s->requests++;
	s->last = frame->hd.stream_id;
	if (!s->quiet)
		server_answer(s, s->last);
	return 0;
}

static int server_data(nghttp2_session *, uint8_t, int32_t, const uint8_t *, size_t len, void *arg)
{
	struct server *s = arg;

	s->body_len += len;
	return 0;
}

static int server_header(nghttp2_session *, const nghttp2_frame *, const uint8_t *name, size_t,
	const uint8_t *value, size_t, uint8_t, void *arg)
{
	struct server *s = arg;

	if (!strcmp((const char *)name, ":path"))
		snprintf(s->path, sizeof(s->path), "%s", (const char *)value);
	if (!strcmp((const char *)name, ":authority"))
		snprintf(s->authority, sizeof(s->authority), "%s", (const char *)value);
	if (!strcmp((const char *)name, "ts-lb"))
		snprintf(s->lb, sizeof(s->lb), "%s", (const char *)value);
	return 0;
}

static struct h2 *pair(struct server *s, size_t answer_len)
{
	nghttp2_session_callbacks *c;
	struct h2 *h = NULL;

	*s = (struct server){.answer_len = answer_len};
	assert_int_equal(nghttp2_session_callbacks_new(&c), 0);
	nghttp2_session_callbacks_set_on_frame_recv_callback(c, server_frame);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, server_data);
	nghttp2_session_callbacks_set_on_header_callback(c, server_header);
	assert_int_equal(nghttp2_session_server_new(&s->session, c, s), 0);
	nghttp2_session_callbacks_del(c);
	assert_int_equal(nghttp2_submit_settings(s->session, 0, NULL, 0), 0);
	assert_int_equal(h2_create(&h, "server.test"), 0);
	return h;
}

// Carry bytes until both are silent. The client's go in pieces of one byte when slow.
static void run(struct h2 *h, struct server *s, bool slow)
{
	for (bool busy = true; busy;) {
		const uint8_t *bytes;
		long n;
		busy = false;
		while ((n = h2_output(h, &bytes)) > 0) {
			assert_int_equal(nghttp2_session_mem_recv(s->session, bytes, (size_t)n), n);
			busy = true;
		}
		while ((n = nghttp2_session_mem_send(s->session, &bytes)) > 0) {
			for (long i = 0; i < n; i += slow ? 1 : n)
				assert_int_equal(h2_feed(h, bytes + i, slow ? 1 : (size_t)n), 0);
			busy = true;
		}
	}
}

static void end(struct h2 *h, struct server *s)
{
	h2_destroy(h);
	nghttp2_session_del(s->session);
}

static void test_request(void **)
{
	struct server s;
	struct h2 *h = pair(&s, 100);
	struct request r;
	const struct h2_events events = events_of(&r);
	const struct h2_request request = {.method = "POST",
		.path = "/machine/map",
		.load_balancing = "nodekey:ab",
		.body = "{}",
		.body_len = 2};

	assert_int_equal(h2_request(h, &request, &events), 1);
	run(h, &s, true);
	assert_string_equal(s.path, "/machine/map");
	assert_string_equal(s.authority, "server.test");
	assert_string_equal(s.lb, "nodekey:ab");
	assert_int_equal(s.body_len, 2);
	assert_int_equal(r.status, 200);
	assert_string_equal(r.retry_after, "7");
	assert_int_equal(r.len, 100);
	assert_int_equal(r.closed_times, 1);
	assert_int_equal(r.error, 0);
	end(h, &s);
}

// More than all windows: without WINDOW_UPDATE it would stall. And a body of the maximal size.
static void test_long_answer(void **)
{
	static char body[H2_BODY_MAX + 2];
	struct server s;
	struct h2 *h = pair(&s, (size_t)20 << 20);
	struct request r;

	memset(body, 'b', sizeof(body) - 1);
	assert_int_equal(post(h, &r, body, 0), -EMSGSIZE);
	body[H2_BODY_MAX] = '\0';
	assert_int_equal(post(h, &r, body, 0), 1);
	run(h, &s, false);
	assert_int_equal(s.body_len, H2_BODY_MAX);
	assert_int_equal(r.seen, (size_t)20 << 20);
	assert_int_equal(r.error, 0);
	assert_true(s.windows > 10);
	end(h, &s);
}

static void test_ping_is_answered(void **)
{
	struct server s;
	struct h2 *h = pair(&s, 0);

	run(h, &s, false);
	const size_t before = s.acks;
	assert_int_equal(before, 1); // SETTINGS
	nghttp2_submit_ping(s.session, 0, NULL);
	run(h, &s, false);
	assert_int_equal(s.acks, before + 1);
	end(h, &s);
}

static void test_answer_over_its_bound(void **)
{
	struct server s;
	struct h2 *h = pair(&s, 5000);
	struct request r, other;

	assert_int_equal(post(h, &r, "{}", 4999), 1);
	run(h, &s, false);
	assert_int_equal(r.closed_times, 1);
	assert_int_equal(r.error, -EMSGSIZE);
	s.answer_len = 5000; // the session goes on
	assert_int_equal(post(h, &other, "{}", 5000), 3);
	run(h, &s, false);
	assert_int_equal(other.error, 0);
	assert_int_equal(other.seen, 5000);
	end(h, &s);
}

static void test_reader_refuses(void **)
{
	struct server s;
	struct h2 *h = pair(&s, 1 << 20);
	struct request r;

	assert_int_equal(post(h, &r, "{}", 0), 1);
	r.data_error = -EBADMSG;
	run(h, &s, false);
	assert_int_equal(r.error, -EBADMSG);
	assert_int_equal(r.closed_times, 1);
	assert_true(r.seen < 1 << 20);
	end(h, &s);
}

static void test_cancel(void **)
{
	struct server s;
	struct h2 *h = pair(&s, 10);
	struct request sent, unsent;

	s.quiet = true;
	const int32_t id = post(h, &sent, "{}", 0);
	run(h, &s, false);
	assert_int_equal(sent.closed_times, 0);
	h2_cancel(h, id);
	h2_cancel(h, post(h, &unsent, "{}", 0));
	h2_cancel(h, 99);
	run(h, &s, false);
	assert_int_equal(sent.error, -ECANCELED);
	assert_int_equal(sent.closed_times, 1);
	assert_int_equal(unsent.error, -ECANCELED);
	assert_int_equal(unsent.closed_times, 1);
	assert_int_equal(s.requests, 1);
	end(h, &s);
}

static void test_reset_and_destroy(void **)
{
	static const struct {
		uint32_t code;
		int error;
	} cases[] = {
		{NGHTTP2_REFUSED_STREAM, -EAGAIN}, {NGHTTP2_INTERNAL_ERROR, -ECONNRESET},
		{NGHTTP2_ENHANCE_YOUR_CALM, -ECONNRESET}, {NGHTTP2_PROTOCOL_ERROR, -EPROTO},
		{NGHTTP2_NO_ERROR, -EPROTO}, // no answer came
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct server s;
		struct h2 *h = pair(&s, 10);
		struct request r, open;
		s.quiet = true;
		const int32_t id = post(h, &r, "{}", 0);
		run(h, &s, false);
		assert_int_equal(nghttp2_submit_rst_stream(s.session, 0, id, cases[i].code), 0);
		run(h, &s, false);
		assert_int_equal(r.closed_times, 1);
		assert_int_equal(r.error, cases[i].error);
		assert_true(post(h, &open, "{}", 0) > 0);
		run(h, &s, false);
		end(h, &s);
		assert_int_equal(open.error, -ECONNABORTED);
		assert_int_equal(open.closed_times, 1);
	}
	h2_destroy(NULL);
}

static void test_goaway(void **)
{
	struct server s;
	struct h2 *h = pair(&s, 10);
	struct request before, late;

	s.quiet = true;
	assert_int_equal(post(h, &before, "{}", 0), 1);
	run(h, &s, false);
	assert_int_equal(nghttp2_submit_goaway(s.session, 0, 1, NGHTTP2_ENHANCE_YOUR_CALM,
				 (const uint8_t *)"slow\ndown", 9),
		0);
	run(h, &s, false);
	assert_false(h2_open(h));
	assert_int_equal(post(h, &late, "{}", 0), -ESHUTDOWN);
	assert_non_null(strstr(h2_error(h), "ENHANCE_YOUR_CALM slow?down"));
	assert_false(h2_finished(h)); // what runs may end
	server_answer(&s, 1);
	run(h, &s, false);
	assert_int_equal(before.error, 0);
	assert_int_equal(before.len, 10);
	assert_true(h2_finished(h));
	end(h, &s);
}

static void test_many_at_once(void **)
{
	static struct request r[H2_STREAMS_MAX + 1];
	struct server s;
	struct h2 *h = pair(&s, 0);

	s.quiet = true;
	for (int i = 0; i < H2_STREAMS_MAX; i++)
		assert_int_equal(post(h, &r[i], "{}", 0), 2 * i + 1);
	assert_int_equal(post(h, &r[H2_STREAMS_MAX], "{}", 0), -EBUSY);
	run(h, &s, false);
	assert_int_equal(s.requests, H2_STREAMS_MAX);
	end(h, &s);
	for (int i = 0; i < H2_STREAMS_MAX; i++)
		assert_int_equal(r[i].closed_times, 1);
}

static void test_too_many_headers(void **)
{
	static nghttp2_nv headers[H2_HEADERS_MAX + 1];
	struct server s;
	struct h2 *h = pair(&s, 10);
	struct request r;

	headers[0] = (nghttp2_nv){(uint8_t *)":status", (uint8_t *)"200", 7, 3, 0};
	for (size_t i = 1; i < COUNT(headers); i++)
		headers[i] = (nghttp2_nv){(uint8_t *)"x", (uint8_t *)"y", 1, 1, 0};
	s.quiet = true;
	assert_int_equal(post(h, &r, "{}", 0), 1);
	run(h, &s, false);
	assert_int_equal(nghttp2_submit_response(s.session, 1, headers, COUNT(headers), NULL), 0);
	run(h, &s, false);
	assert_int_equal(r.error, -EMSGSIZE);
	assert_int_equal(r.status, 0);
	assert_int_equal(r.closed_times, 1);
	end(h, &s);
}

// Bytes that break HTTP/2, after the server's SETTINGS.
static void test_broken_servers(void **)
{
	static const struct {
		const char *name, *bytes;
		size_t len;
	} cases[] = {
		{"no SETTINGS first",
			"\0\0\x08\6\0\0\0\0\0"
			"01234567",
			17},
		{"HTTP/1.1", "HTTP/1.1 400 Bad Request\r\n\r\n", 28},
		{"a frame of 16 MB",
			"\0\0\0\4\0\0\0\0\0"
			"\xff\xff\xff\0\0\0\0\0\1",
			18},
		{"data without headers",
			"\0\0\0\4\0\0\0\0\0"
			"\0\0\1\0\0\0\0\0\1x",
			19},
		{"headers for stream 0",
			"\0\0\0\4\0\0\0\0\0"
			"\0\0\1\1\4\0\0\0\0\x88",
			19},
		{"broken HPACK",
			"\0\0\0\4\0\0\0\0\0"
			"\0\0\1\1\4\0\0\0\1\xff",
			19},
		{"a push",
			"\0\0\0\4\0\0\0\0\0"
			"\0\0\0\4\1\0\0\0\0"
			"\0\0\5\5\4\0\0\0\1\0\0\0\2\x82",
			32},
		{"a window of 0 more",
			"\0\0\0\4\0\0\0\0\0"
			"\0\0\4\x8\0\0\0\0\0\0\0\0\0",
			22},
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct request r;
		struct h2 *h = NULL;
		assert_int_equal(h2_create(&h, "a"), 0);
		assert_int_equal(post(h, &r, "{}", 0), 1);
		drain(h);
		const int error = h2_feed(h, (const uint8_t *)cases[i].bytes, cases[i].len);
		print_message("%s: %d %s\n", cases[i].name, error, h2_error(h));
		drain(h); // says GOAWAY
		assert_true(error == -EPROTO || h2_finished(h));
		assert_true(h2_error(h)[0] != '\0');
		h2_destroy(h);
		assert_int_equal(r.closed_times, 1);
		assert_int_not_equal(r.error, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_recorded_connection),
		cmocka_unit_test(test_request),
		cmocka_unit_test(test_long_answer),
		cmocka_unit_test(test_ping_is_answered),
		cmocka_unit_test(test_answer_over_its_bound),
		cmocka_unit_test(test_reader_refuses),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_reset_and_destroy),
		cmocka_unit_test(test_goaway),
		cmocka_unit_test(test_many_at_once),
		cmocka_unit_test(test_too_many_headers),
		cmocka_unit_test(test_broken_servers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
