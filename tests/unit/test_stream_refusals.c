// Streams that must not come up, each with its errno and a line that says why; and the few that
// must in spite of what they meet.
#include "tests/unit/stream_client.h"

#define OTHER_PIN "sha256-raw:0000000000000000000000000000000000000000000000000000000000000000"

static void serve_nothing(struct conn *)
{
	pause();
}

static void serve_garbage(struct conn *c)
{
	conn_say(c, "220 mail.example.com ESMTP\r\n");
	pause();
}

static void serve_close(struct conn *)
{
}

struct refusal {
	const char *what;
	struct server_plan plan;
	const char *cert; // of the target; "pin": the server's own
	bool any;
	unsigned timeout_ms;
	int error; // 0: it must come up
	const char *why;
};

static const struct refusal certificates[] = {
	{"good", {CERT_GOOD, .serve = serve_nothing}, .error = 0},
	{"expired", {CERT_EXPIRED}, .error = -EKEYREJECTED, .why = "clock here says"},
	{"early", {CERT_EARLY}, .error = -EKEYREJECTED, .why = "if the clock is wrong"},
	{"other name", {CERT_OTHER_NAME}, .error = -EKEYREJECTED,
		.why = "is not for localhost (but for \"example.com\")"},
	{"stranger", {CERT_STRANGER}, .error = -EKEYREJECTED, .why = "not trusted here"},
	{"name given", {CERT_OTHER_NAME, .serve = serve_nothing}, "example.com"},
	{"good, but another name given", {CERT_GOOD}, "example.com", .error = -EKEYREJECTED,
		.why = "is not for example.com"},
	{"stranger, its name given", {CERT_STRANGER}, "localhost", .error = -EKEYREJECTED,
		.why = "not trusted"},
	{"pinned", {CERT_GOOD, .serve = serve_nothing}, "pin"},
	{"pinned stranger", {CERT_STRANGER, .serve = serve_nothing}, "pin"},
	{"pinned, and DERP's", {CERT_STRANGER, .derp = true, .serve = serve_nothing}, "pin"},
	{"wrong pin", {CERT_GOOD}, OTHER_PIN, .error = -EKEYREJECTED, .why = "SHA-256"},
	{"wrong pin, and DERP's", {CERT_GOOD, .derp = true}, OTHER_PIN, .error = -EKEYREJECTED,
		.why = "SHA-256"},
	{"pinned, but a chain", {CERT_GOOD, .chain = true}, "pin", .error = -EKEYREJECTED,
		.why = "chain"},
	{"pinned, but expired", {CERT_EXPIRED}, "pin", .error = -EKEYREJECTED, .why = "expired"},
	{"pinned, but early", {CERT_EARLY}, "pin", .error = -EKEYREJECTED, .why = "not valid"},
	{"pinned, but another name", {CERT_OTHER_NAME}, "pin", .error = -EKEYREJECTED,
		.why = "another name"},
	{"any: stranger", {CERT_STRANGER, .serve = serve_nothing}, .any = true},
	{"any: expired", {CERT_EXPIRED, .serve = serve_nothing}, .any = true},
	{"any: other name", {CERT_OTHER_NAME, .serve = serve_nothing}, .any = true},
};

static const struct refusal servers[] = {
	{"TLS 1.1", {CERT_GOOD, .max_version = TLS1_1_VERSION}, .error = -EPROTO, .why = "TLS"},
	{"TLS 1.2", {CERT_GOOD, .max_version = TLS1_2_VERSION, .serve = serve_nothing}},
	{"something else", {CERT_GOOD, .plain = true, .serve = serve_garbage}, .error = -EPROTO,
		.why = "does not speak TLS"},
	{"closes at once", {CERT_GOOD, .plain = true, .serve = serve_close}, .error = -ECONNRESET,
		.why = "closed the connection within"},
	{"silent", {CERT_GOOD, .plain = true, .serve = serve_nothing}, .timeout_ms = 300,
		.error = -ETIMEDOUT, .why = "silent"},
};

static void refuse(const struct refusal *r)
{
	const struct server s = server_start(&r->plan);
	const bool pin = r->cert && strcmp(r->cert, "pin") == 0;
	const struct stream_target t = {
		.host = "localhost",
		.port = s.port,
		.tls = true,
		.cert = pin ? pin_of(r->plan.cert) : r->cert,
		.any_certificate = r->any,
		.timeout_ms = r->timeout_ms ? r->timeout_ms : CLIENT_TIMEOUT_MS,
	};
	struct client c = {0};

	client_begin(&c);
	assert_int_equal(client_open(&c, &t), 0);
	for (unsigned i = 0; i < 3 * CLIENT_TIMEOUT_MS / 10 && !c.connected && !c.closed; i++)
		client_run(&c, 10);
	if (c.connected == (r->error != 0) || c.error != r->error ||
		(r->why && !strstr(c.why, r->why)))
		fail_msg("%s: %s, %d %s", r->what, c.connected ? "connected" : "refused", c.error,
			c.why);
	client_end(&c);
	server_stop(s);
}

static void by_certificate(void **)
{
	for (size_t i = 0; i < sizeof(certificates) / sizeof(certificates[0]); i++)
		refuse(&certificates[i]);
}

static void by_server(void **)
{
	for (size_t i = 0; i < sizeof(servers) / sizeof(servers[0]); i++)
		refuse(&servers[i]);
}

static void expect_closed(const struct stream_target *t, int error, const char *why)
{
	struct client c = {0};

	client_begin(&c);
	assert_int_equal(client_open(&c, t), 0);
	client_run(&c, 2 * CLIENT_TIMEOUT_MS);
	if (!c.closed || c.connected || c.error != error || !strstr(c.why, why))
		fail_msg("%s: %d %s", t->host, c.error, c.why);
	client_end(&c);
}

static void by_network(void **)
{
	const uint16_t port = dead_port();

	expect_closed(
		&(struct stream_target){"localhost", port, true, .timeout_ms = CLIENT_TIMEOUT_MS},
		-ECONNREFUSED, "refuses the connection");
	expect_closed(&(struct stream_target){"no-such-host.invalid", 443, true,
			      .address = "127.0.0.1,127.0.0.2", .timeout_ms = CLIENT_TIMEOUT_MS},
		-ECONNREFUSED, "no-such-host.invalid refuses");
	expect_closed(&(struct stream_target){"192.0.2.1", port, false, .address = "127.0.0.1",
			      .timeout_ms = CLIENT_TIMEOUT_MS},
		-ECONNREFUSED, "refuses");
	expect_closed(&(struct stream_target){"no-such-host.invalid", 443, true,
			      .timeout_ms = CLIENT_TIMEOUT_MS},
		-ENODATA, "cannot be resolved");
}

static void by_proxy(void **)
{
	static const struct {
		const char *answer;
		int error;
		const char *why;
	} cases[] = {
		{"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
			-EREMOTEIO, "HTTP 407"},
		{"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", -EREMOTEIO, "https_proxy"},
		{"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\n\r\n", -EREMOTEIO,
			"HTTP 302"},
		{"SSH-2.0-OpenSSH_9.2\r\n\r\n", -EREMOTEIO, "proxy"},
		{"", -EREMOTEIO, "proxy"},
	};
	const struct stream_target t = {"localhost", 443, true, .timeout_ms = CLIENT_TIMEOUT_MS};
	char url[64];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct server s = server_start(
			&(struct server_plan){.proxy = cases[i].answer, .serve = serve_nothing});
		snprintf(url, sizeof(url), "http://127.0.0.1:%u", s.port);
		setenv("https_proxy", url, 1);
		expect_closed(&t, cases[i].error, cases[i].why);
		server_stop(s);
	}
	snprintf(url, sizeof(url), "http://127.0.0.1:%u", dead_port());
	setenv("https_proxy", url, 1);
	expect_closed(&t, -EREMOTEIO, "the proxy of the environment");
	setenv("https_proxy", "http://no-such-proxy.invalid:3128", 1);
	expect_closed(&t, -EREMOTEIO, "no-such-proxy.invalid");
	unsetenv("https_proxy");
}

// The certificate is that of the server behind it, and plain connections go through as well.
static void through_a_proxy(void **)
{
	for (int tls = 0; tls < 2; tls++) {
		const struct server s = server_start(&(struct server_plan){
			.proxy = "HTTP/1.1 200 OK\r\n\r\n", .plain = !tls, .serve = serve_nothing});
		const struct stream_target t = {
			"localhost", 443, tls, .timeout_ms = CLIENT_TIMEOUT_MS};
		struct client c = {0};
		char url[64];

		snprintf(url, sizeof(url), "http://127.0.0.1:%u", s.port);
		setenv(tls ? "https_proxy" : "http_proxy", url, 1);
		client_begin(&c);
		assert_int_equal(client_open(&c, &t), 0);
		for (unsigned i = 0; i < 3 * CLIENT_TIMEOUT_MS / 10 && !c.connected && !c.closed;
			i++)
			client_run(&c, 10);
		assert_true(c.connected);
		client_end(&c);
		unsetenv("https_proxy");
		unsetenv("http_proxy");
		server_stop(s);
	}
}

static void by_target(void **)
{
	static const struct stream_target targets[] = {
		{NULL, 443, true},
		{"", 443, true},
		{"localhost", 0, true},
		{"user@localhost", 443, true},
		{"localhost/path", 443, true},
		{"localhost?x", 443, true},
		{"local host", 443, true},
		{"localhost\r\nX: y", 443, true},
		{"localhost#", 443, true},
		{"localhost", 443, true, .address = ""},
		{"localhost", 443, true, .address = "example.com"},
		{"localhost", 443, true, .address = "127.0.0.1,,::1"},
		{"localhost", 443, true, .address = "127.0.0.1:80"},
		{"localhost", 443, true,
			.address = "1.1.1.1,1.1.1.2,1.1.1.3,1.1.1.4,1.1.1.5,"
				   "1.1.1.6,1.1.1.7,1.1.1.8,1.1.1.9"},
		{"localhost", 443, true, .cert = "sha256-raw:"},
		{"localhost", 443, true, .cert = "sha256-raw:00"},
		{"localhost", 443, true, .cert = OTHER_PIN "00"},
		{"localhost", 443, true, .cert = "sha256-raw:zz"},
	};
	struct client c = {0};
	char host[512];

	client_begin(&c);
	for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++)
		if (client_open(&c, &targets[i]) != -EINVAL)
			fail_msg("target %zu was taken", i);
	memset(host, 'a', sizeof(host) - 1);
	host[sizeof(host) - 1] = '\0';
	assert_int_equal(client_open(&c, &(struct stream_target){host, 443, true}), -EINVAL);
	client_end(&c);
}

// Without CAs nothing is trusted, and a change of the file counts at once.
static void by_missing_roots(void **)
{
	const struct server s = server_start(&(struct server_plan){.serve = serve_nothing});
	const struct stream_target t = {"localhost", s.port, true, .timeout_ms = CLIENT_TIMEOUT_MS};
	struct client c = {0};

	client_begin(&c);
	for (int trusted = 0; trusted < 2; trusted++) {
		setenv("SSL_CERT_FILE", trusted ? pki.ca_path : "/nonexistent", 1);
		c.connected = c.closed = false;
		assert_int_equal(client_open(&c, &t), 0);
		for (unsigned i = 0; i < 3 * CLIENT_TIMEOUT_MS / 10 && !c.connected && !c.closed;
			i++)
			client_run(&c, 10);
		assert_int_equal(c.connected, trusted);
		stream_close(c.stream);
		c.stream = NULL;
	}
	client_end(&c);
	server_stop(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_certificate),
		cmocka_unit_test(by_server),
		cmocka_unit_test(by_network),
		cmocka_unit_test(by_proxy),
		cmocka_unit_test(through_a_proxy),
		cmocka_unit_test(by_target),
		cmocka_unit_test(by_missing_roots),
	};
	return cmocka_run_group_tests(tests, pki_setup, pki_teardown);
}
