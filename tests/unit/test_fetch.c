// HTTP requests against real servers: answers taken, and those refused with an errno and a reason.
#include "tests/unit/tls_server.h"

enum { BODY_MAX = 4096, TIMEOUT_MS = 60000, SHORT_MS = 700 };

struct run {
	struct event_base *base;
	struct net *net;
	unsigned done;
	int error, status;
	char why[STREAM_WHY_LEN], body[BODY_MAX + 1], header[600], location[256];
	size_t len;
	double seconds;
	int64_t date;
};

static char answer[1 << 20]; // what the server says, the same to every request
static char next[512];	     // and to all but the first
static char asked[8192];     // by the child only

static void serve_answer(struct conn *c)
{
	conn_request(c, asked, sizeof(asked));
	conn_say(c, c->number > 0 && next[0] ? next : answer);
}

// What was asked is the body.
static void serve_question(struct conn *c)
{
	char head[64];

	conn_request(c, asked, sizeof(asked));
	snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n",
		strlen(asked));
	conn_say(c, head);
	conn_say(c, asked);
}

static void serve_slowly(struct conn *c)
{
	conn_request(c, asked, sizeof(asked));
	usleep(200000);
	conn_say(c, answer);
}

static void serve_half(struct conn *c)
{
	conn_request(c, asked, sizeof(asked));
	conn_say(c, answer);
	pause();
}

static void serve_endless_header(struct conn *c)
{
	conn_request(c, asked, sizeof(asked));
	conn_say(c, "HTTP/1.1 200 OK\r\n");
	while (conn_say(c, "X-More: 0123456789012345678901234567890123456789\r\n"))
		continue;
}

static void serve_endless_body(struct conn *c)
{
	conn_request(c, asked, sizeof(asked));
	conn_say(c, "HTTP/1.1 200 OK\r\n\r\n");
	while (conn_say(c, "0123456789012345678901234567890123456789"))
		continue;
}

static void on_done(void *arg, const struct fetch_answer *a)
{
	struct run *r = arg;

	r->done++;
	r->error = a->error;
	r->status = a->status;
	r->len = a->len;
	r->seconds = a->seconds;
	r->date = a->date;
	assert_true(a->len <= BODY_MAX && strlen(a->body) <= a->len);
	assert_int_equal(a->body[a->len], '\0');
	snprintf(r->why, sizeof(r->why), "%s", a->why);
	snprintf(r->body, sizeof(r->body), "%s", a->body);
	snprintf(r->header, sizeof(r->header), "%s", a->header);
	snprintf(r->location, sizeof(r->location), "%s", a->location);
	event_base_loopbreak(r->base);
}

static void begin(struct run *r)
{
	*r = (struct run){.base = event_base_new()};
	r->net = net_create(r->base);
	assert_non_null(r->net);
}

static void end(struct run *r)
{
	net_destroy(r->net);
	event_base_free(r->base);
}

// url: with %u for the server's port.
static void fetch(struct run *r, const struct server_plan *plan, const char *url,
	const struct fetch_request *request)
{
	const struct timeval limit = {.tv_sec = 90};
	const struct server s = server_start(plan);
	struct fetch_request q = *request;
	struct fetch *f;
	char text[256];

	snprintf(text, sizeof(text), url, s.port);
	q.url = text;
	q.method = q.method ? q.method : "GET";
	q.max = q.max ? q.max : BODY_MAX;
	q.timeout_ms = q.timeout_ms ? q.timeout_ms : TIMEOUT_MS;
	begin(r);
	assert_int_equal(fetch_start(&f, r->net, &q, on_done, r), 0);
	assert_int_equal(r->done, 0); // only from the loop
	event_base_loopexit(r->base, &limit);
	event_base_dispatch(r->base);
	assert_int_equal(r->done, 1);
	end(r);
	server_stop(s);
}

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(answer, sizeof(answer), format, args);
	va_end(args);
	next[0] = '\0';
}

// The clock of whoever answers; nothing of it is believed that is no date.
static void takes_dates(void **)
{
	static const struct {
		const char *header;
		int64_t date;
	} cases[] = {
		{"Date: Sun, 01 Mar 2026 12:00:00 GMT\r\n", 1772366400},
		{"date:Sun, 01 Mar 2026 12:00:00 GMT\r\n", 1772366400},
		{"", 0},
		{"Date:\r\n", 0},
		{"Date: yesterday\r\n", 0},
		{"Date: Sun, 01 Mar 1869 12:00:00 GMT\r\n", 0},
		{"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n", 0},
		{"X-Date: Sun, 01 Mar 2026 12:00:00 GMT\r\n", 0},
	};
	const struct server_plan plain = {.plain = true, .serve = serve_answer};
	struct run r;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		say("HTTP/1.1 200 OK\r\n%sContent-Length: 0\r\n\r\n", cases[i].header);
		fetch(&r, &plain, "http://localhost:%u/", &(struct fetch_request){0});
		assert_int_equal(r.error, 0);
		if (r.date != cases[i].date)
			fail_msg("%s: %ld", cases[i].header, r.date);
	}
}

static void takes_answers(void **)
{
	const struct server_plan tls = {.serve = serve_answer},
				 slow = {.plain = true, .serve = serve_slowly};
	struct run r;

	say("HTTP/1.1 200 OK\r\nx-tailscale-response:  response ts_x \r\n"
	    "Content-Length: 5\r\n\r\nhello");
	fetch(&r, &tls, "https://localhost:%u/key?v=1", &(struct fetch_request){0});
	assert_int_equal(r.error, 0);
	assert_int_equal(r.status, 200);
	assert_string_equal(r.body, "hello");
	assert_string_equal(r.header, "response ts_x");
	assert_string_equal(r.location, "");

	say("HTTP/1.1 204 No Content\r\n\r\n");
	fetch(&r, &slow, "http://localhost:%u/generate_204", &(struct fetch_request){0});
	assert_int_equal(r.status, 204);
	assert_int_equal(r.len, 0);
	assert_string_equal(r.header, "");
	assert_true(r.seconds >= 0.15 && r.seconds < TIMEOUT_MS / 1000);

	say("HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nno!\r\n0\r\n\r\n");
	fetch(&r, &tls, "https://127.0.0.1:%u/", &(struct fetch_request){0});
	assert_int_equal(r.error, 0);
	assert_int_equal(r.status, 404);
	assert_string_equal(r.body, "no!");

	say("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
	fetch(&r, &tls, "https://localhost:%u/", &(struct fetch_request){.method = "HEAD"});
	assert_int_equal(r.error, 0);
	assert_int_equal(r.len, 0);
}

static void asks_as_told(void **)
{
	const struct server_plan plan = {.plain = true, .serve = serve_question};
	struct run r;

	fetch(&r, &plan, "http://localhost:%u/a?b=c",
		&(struct fetch_request){.header = "X-Tailscale-Challenge: ts_host"});
	assert_ptr_equal(strstr(r.body, "GET /a?b=c HTTP/1.1\r\n"), r.body);
	assert_non_null(strstr(r.body, "\r\nX-Tailscale-Challenge: ts_host\r\n"));
	assert_non_null(strstr(r.body, "\r\nHost: localhost:"));

	fetch(&r, &plan, "http://no-such-host.invalid:%u/",
		&(struct fetch_request){.address = "127.0.0.1"});
	assert_int_equal(r.error, 0);
	assert_non_null(strstr(r.body, "\r\nHost: no-such-host.invalid:"));
}

static void redirects(void **)
{
	const struct server_plan plain = {.plain = true, .serve = serve_answer};
	const struct server_plan tls = {.serve = serve_answer};
	const struct fetch_request follow = {.follow = true};
	struct run r;

	say("HTTP/1.1 308 Permanent Redirect\r\nLocation: https://example.com/x\r\n"
	    "Content-Length: 0\r\n\r\n");
	fetch(&r, &plain, "http://localhost:%u/", &(struct fetch_request){0});
	assert_int_equal(r.error, 0);
	assert_int_equal(r.status, 308);
	assert_string_equal(r.location, "https://example.com/x");

	say("HTTP/1.1 302 Found\r\nLocation: /there\r\nX-Tailscale-Response: not this\r\n"
	    "Content-Length: 0\r\n\r\n");
	strcpy(next, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nthere");
	fetch(&r, &tls, "https://localhost:%u/", &follow);
	assert_int_equal(r.error, 0);
	assert_int_equal(r.status, 200);
	assert_string_equal(r.body, "there");
	assert_string_equal(r.header, "");

	say("HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n");
	fetch(&r, &plain, "http://localhost:%u/", &follow);
	assert_int_equal(r.error, -ELOOP);

	say("HTTP/1.1 302 Found\r\nLocation: http://localhost/\r\nContent-Length: 0\r\n\r\n");
	fetch(&r, &tls, "https://localhost:%u/", &follow);
	assert_int_equal(r.error, -ELOOP);

	say("HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n");
	fetch(&r, &plain, "http://localhost:%u/", &follow);
	assert_int_equal(r.error, -ELOOP);
}

// Where a redirect leads, the certificate has to bear that name; what was said about the first
// server's does not hold there.
static void redirects_to_another_name(void **)
{
	struct run r;
	const struct server other =
		server_start(&(struct server_plan){.cert = CERT_GOOD, .serve = serve_answer});
	const struct server_plan plan = {.cert = CERT_GOOD, .serve = serve_answer};

	say("HTTP/1.1 302 Found\r\nLocation: https://other.localhost:%u/\r\n"
	    "Content-Length: 0\r\n\r\n",
		other.port);
	fetch(&r, &plan, "https://localhost:%u/", &(struct fetch_request){.follow = true});
	assert_int_equal(r.error, -EKEYREJECTED);
	assert_non_null(strstr(r.why, "other.localhost"));
	fetch(&r, &plan, "https://localhost:%u/",
		&(struct fetch_request){.follow = true, .cert = pin_of(CERT_GOOD)});
	assert_int_equal(r.error, -EKEYREJECTED);
	server_stop(other);
}

static void refuses_answers(void **)
{
	static const struct {
		const char *what;
		const char *says; // NULL: serve does it alone
		void (*serve)(struct conn *);
		int error;
	} cases[] = {
		{"nothing", "", serve_answer, -ECONNRESET},
		{"no HTTP", "220 mail.example.com ESMTP\r\n", serve_answer, -EPROTO},
		{"too short", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", serve_answer,
			-ECONNRESET},
		{"half a header", "HTTP/1.1 200 OK\r\nContent-", serve_answer, -ECONNRESET},
		{"waits in the header", "HTTP/1.1 200 OK\r\nContent-", serve_half, -ETIMEDOUT},
		{"waits in the body", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
			serve_half, -ETIMEDOUT},
		{"says it is too large", "HTTP/1.1 200 OK\r\nContent-Length: 4097\r\n\r\n",
			serve_half, -EMSGSIZE},
		{"endless body", NULL, serve_endless_body, -EMSGSIZE},
		{"endless header", NULL, serve_endless_header, -EMSGSIZE},
		{"bad chunk",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nhello\r\n",
			serve_answer, -EPROTO},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct run r;
		say("%s", cases[i].says ? cases[i].says : "");
		fetch(&r, &(struct server_plan){.plain = true, .serve = cases[i].serve},
			"http://localhost:%u/",
			&(struct fetch_request){
				.timeout_ms = cases[i].error == -ETIMEDOUT ? SHORT_MS : 0});
		if (r.error != cases[i].error || !r.why[0])
			fail_msg("%s: %d %s", cases[i].what, r.error, r.why);
	}
}

static void refuses_certificates(void **)
{
	static const enum server_cert bad[] = {
		CERT_EXPIRED, CERT_EARLY, CERT_OTHER_NAME, CERT_STRANGER};
	struct run r;

	say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		fetch(&r, &(struct server_plan){.cert = bad[i], .serve = serve_answer},
			"https://localhost:%u/", &(struct fetch_request){0});
		assert_int_equal(r.error, -EKEYREJECTED);
		assert_int_equal(r.len, 0);
	}
	fetch(&r, &(struct server_plan){.cert = CERT_STRANGER, .serve = serve_answer},
		"https://localhost:%u/", &(struct fetch_request){.cert = pin_of(CERT_STRANGER)});
	assert_int_equal(r.error, 0);
	fetch(&r, &(struct server_plan){.cert = CERT_STRANGER, .serve = serve_answer},
		"https://localhost:%u/", &(struct fetch_request){.cert = pin_of(CERT_GOOD)});
	assert_int_equal(r.error, -EKEYREJECTED);
}

static void refuses_requests(void **)
{
	static const struct fetch_request bad[] = {
		{"POST", "http://localhost/"},
		{"get", "http://localhost/"},
		{"GET", ""},
		{"GET", "localhost"},
		{"GET", "ftp://localhost/"},
		{"GET", "file:///etc/passwd"},
		{"GET", "http://"},
		{"GET", "http://localhost:99999/"},
		{"GET", "http://local host/"},
		{"GET", "http://localhost/", .address = "localhost"},
		{"GET", "https://localhost/", .cert = "sha256-raw:12"},
	};
	struct fetch *f;
	struct run r;

	begin(&r);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (fetch_start(&f, r.net, &bad[i], on_done, &r) != -EINVAL)
			fail_msg("request %zu was taken", i);
	end(&r);
}

// done does not come any more.
static void is_cancelled(void **)
{
	const struct server s = server_start(&(struct server_plan){.serve = serve_half});

	say("HTTP/1.1 200 OK\r\n\r\nmore to c");
	for (long ms = 0; ms <= 60; ms += 20) {
		const struct timeval tv = {.tv_usec = ms * 1000};
		char url[64];
		struct fetch *f;
		struct run r;
		begin(&r);
		snprintf(url, sizeof(url), "https://localhost:%u/", s.port);
		assert_int_equal(
			fetch_start(&f, r.net,
				&(struct fetch_request){"GET", url, 100, .timeout_ms = TIMEOUT_MS},
				on_done, &r),
			0);
		event_base_loopexit(r.base, &tv);
		event_base_dispatch(r.base);
		fetch_cancel(f);
		event_base_loop(r.base, EVLOOP_NONBLOCK);
		assert_int_equal(r.done, 0);
		end(&r);
	}
	server_stop(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_answers),
		cmocka_unit_test(takes_dates),
		cmocka_unit_test(asks_as_told),
		cmocka_unit_test(redirects),
		cmocka_unit_test(redirects_to_another_name),
		cmocka_unit_test(refuses_answers),
		cmocka_unit_test(refuses_certificates),
		cmocka_unit_test(refuses_requests),
		cmocka_unit_test(is_cancelled),
	};
	return cmocka_run_group_tests(tests, pki_setup, pki_teardown);
}
