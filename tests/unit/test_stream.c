// Streams against real servers: what they carry, and how they end.
#include "tests/unit/stream_client.h"

enum {
	BIG = 3 << 20,
	FLOOD = 64 << 20,
};

static uint8_t pattern[BIG];

static int setup(void **state)
{
	for (size_t i = 0; i < sizeof(pattern); i++)
		pattern[i] = (uint8_t)(i * 31 + i / 251);
	return pki_setup(state);
}

static struct stream_target target_of(struct server s, bool tls)
{
	return (struct stream_target){
		.host = "localhost", .port = s.port, .tls = tls, .timeout_ms = CLIENT_TIMEOUT_MS};
}

static void serve_echo(struct conn *c)
{
	char bytes[16384];
	int n;

	while ((n = conn_read(c, bytes, sizeof(bytes))) > 0)
		if (!conn_write(c, bytes, (size_t)n))
			return;
}

static void serve_all_at_once(struct conn *c)
{
	conn_write(c, pattern, sizeof(pattern));
}

static void serve_flood(struct conn *c)
{
	for (size_t sent = 0; sent < FLOOD; sent += sizeof(pattern))
		if (!conn_write(c, pattern, sizeof(pattern)))
			return;
}

// In three parts, of which one is empty.
static void write_pattern(struct client *c)
{
	const struct iovec parts[] = {{pattern, 5}, {NULL, 0}, {pattern + 5, sizeof(pattern) - 5}};

	assert_int_equal(stream_write(c->stream, parts, 3), 0);
	assert_int_equal(stream_queued(c->stream), sizeof(pattern));
}

static void echo(bool tls)
{
	const struct server s =
		server_start(&(struct server_plan){.plain = !tls, .serve = serve_echo});
	const struct stream_target t = target_of(s, tls);
	struct client c = {.then = write_pattern};

	client_begin(&c);
	assert_int_equal(client_open(&c, &t), 0);
	for (unsigned i = 0; i < 100 && c.len < BIG; i++)
		client_run(&c, 100);
	assert_int_equal(c.len, BIG);
	assert_memory_equal(c.data, pattern, BIG);
	assert_int_equal(stream_queued(c.stream), 0);
	assert_true(c.drained >= 1);
	client_end(&c);
	server_stop(s);
}

static void echoes_over_tls(void **)
{
	echo(true);
}

static void echoes_in_the_clear(void **)
{
	echo(false);
}

// Of several records in one segment the socket tells once.
static void reads_all_before_the_end(void **)
{
	for (int tls = 0; tls < 2; tls++) {
		const struct server s = server_start(
			&(struct server_plan){.plain = !tls, .serve = serve_all_at_once});
		const struct stream_target t = target_of(s, tls);
		struct client c = {0};

		client_begin(&c);
		assert_int_equal(client_open(&c, &t), 0);
		client_run(&c, CLIENT_TIMEOUT_MS);
		assert_true(c.closed);
		assert_int_equal(c.error, 0);
		assert_int_equal(c.len, BIG);
		assert_memory_equal(c.data, pattern, BIG);
		client_end(&c);
		server_stop(s);
	}
}

static void tick(evutil_socket_t, short, void *arg)
{
	++*(unsigned *)arg;
}

// A stream that is never silent lets others of the loop have their turn.
static void shares_the_loop(void **)
{
	const struct timeval ms = {.tv_usec = 1000};
	const struct server s = server_start(&(struct server_plan){.serve = serve_flood});
	const struct stream_target t = target_of(s, true);
	unsigned ticks = 0;
	struct client c = {0};

	client_begin(&c);
	struct event *timer = event_new(c.base, -1, EV_PERSIST, tick, &ticks);
	event_add(timer, &ms);
	assert_int_equal(client_open(&c, &t), 0);
	client_run(&c, 4 * CLIENT_TIMEOUT_MS);
	assert_true(c.closed && c.len >= FLOOD);
	assert_true(ticks >= 10);
	event_free(timer);
	client_end(&c);
	server_stop(s);
}

static void overfill(struct client *c)
{
	static uint8_t zeros[STREAM_QUEUE_MAX];
	const struct iovec all = {zeros, sizeof(zeros)}, one = {zeros, 1};
	const struct iovec wrap[] = {{zeros, SIZE_MAX}, {zeros, 2}};

	assert_int_equal(stream_write(c->stream, wrap, 2), -ENOBUFS);
	assert_int_equal(stream_queued(c->stream), 0);
	assert_int_equal(stream_write(c->stream, &one, 1), 0);
	assert_int_equal(stream_write(c->stream, &all, 1), -ENOBUFS);
	assert_int_equal(stream_queued(c->stream), 1);
	for (int i = 0; i < 3; i++)
		assert_int_equal(
			stream_write(c->stream, &(struct iovec){zeros, STREAM_QUEUE_MAX / 4}, 1),
			0);
	assert_int_equal(
		stream_write(c->stream, &(struct iovec){zeros, STREAM_QUEUE_MAX / 4}, 1), -ENOBUFS);
	assert_int_equal(stream_queued(c->stream), 1 + 3 * (STREAM_QUEUE_MAX / 4));
}

static void serve_nothing(struct conn *)
{
	pause();
}

static void bounds_the_queue(void **)
{
	const struct server s = server_start(&(struct server_plan){.serve = serve_nothing});
	const struct stream_target t = target_of(s, true);
	struct client c = {.then = overfill};

	client_begin(&c);
	assert_int_equal(client_open(&c, &t), 0);
	assert_int_equal(stream_write(c.stream, &(struct iovec){pattern, 1}, 1), -ENOTCONN);
	client_run(&c, 500);
	assert_true(c.connected && !c.closed);
	client_end(&c);
	server_stop(s);
}

static void serve_greeting(struct conn *c)
{
	char byte;

	conn_say(c, "hello");
	if (conn_read(c, &byte, 1) > 0)
		conn_say(c, "bye");
}

static void write_byte(struct client *c)
{
	assert_int_equal(stream_write(c->stream, &(struct iovec){pattern, 1}, 1), 0);
}

static void closes_within_callbacks(void **)
{
	for (int in = CLOSE_CONNECTED; in <= CLOSE_CLOSED; in++) {
		const struct server s =
			server_start(&(struct server_plan){.serve = serve_greeting});
		const struct stream_target t = target_of(s, true);
		struct client c = {.close_in = in, .then = write_byte};

		client_begin(&c);
		assert_int_equal(client_open(&c, &t), 0);
		client_run(&c, CLIENT_TIMEOUT_MS);
		assert_null(c.stream);
		client_end(&c);
		server_stop(s);
	}
}

// Before anything happened, and while it connects.
static void closes_while_connecting(void **)
{
	const struct server s =
		server_start(&(struct server_plan){.plain = true, .serve = serve_nothing});

	for (unsigned ms = 0; ms <= 40; ms += 10) {
		const struct stream_target t = target_of(s, true);
		struct client c = {0};
		client_begin(&c);
		assert_int_equal(client_open(&c, &t), 0);
		if (ms)
			client_run(&c, ms);
		assert_false(c.connected || c.closed);
		client_end(&c);
	}
	server_stop(s);
}

// Name and serial number of the last certificate count under TLS 1.3 only.
static void tells_the_last_certificate(void **)
{
	static const struct {
		struct server_plan plan;
		int result;
		const char *name;
		uint64_t serial; // 0: whatever
	} cases[] = {
		{{.derp = true, .serve = serve_nothing}, 0, "derpkey" DERP_KEY_HEX, 2},
		{{.chain = true, .serve = serve_nothing}, 0, "Test CA", 0},
		{{.serve = serve_nothing}, 0, "localhost", 0},
		{{.derp = true, .max_version = TLS1_2_VERSION, .serve = serve_nothing}, -ENOENT,
			NULL, 0},
		{{.plain = true, .serve = serve_nothing}, -ENOENT, NULL, 0},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct server s = server_start(&cases[i].plan);
		const struct stream_target t = target_of(s, !cases[i].plan.plain);
		struct client c = {0};
		char name[256];
		uint64_t serial = 0;

		client_begin(&c);
		assert_int_equal(client_open(&c, &t), 0);
		for (unsigned n = 0; n < 100 && !c.connected; n++)
			client_run(&c, 20);
		assert_true(c.connected);
		assert_int_equal(stream_last_certificate(c.stream, name, &serial), cases[i].result);
		if (cases[i].name)
			assert_string_equal(name, cases[i].name);
		if (cases[i].serial)
			assert_int_equal(serial, cases[i].serial);
		client_end(&c);
		server_stop(s);
	}
}

static void tells_addresses(void **)
{
	const struct server s = server_start(&(struct server_plan){.serve = serve_nothing});
	struct stream_target t = target_of(s, true);
	struct client c = {0};
	struct endpoint local, remote, want;
	char text[64];

	t.address = "127.0.0.1,::1"; // the second does not answer
	client_begin(&c);
	assert_int_equal(client_open(&c, &t), 0);
	stream_addresses(c.stream, &local, &remote);
	assert_int_equal(local.port, 0);
	assert_int_equal(remote.port, 0);
	for (unsigned n = 0; n < 100 && !c.connected; n++)
		client_run(&c, 20);
	stream_addresses(c.stream, &local, &remote);
	snprintf(text, sizeof(text), "127.0.0.1:%u", s.port);
	assert_int_equal(endpoint_parse(text, &want), 0);
	assert_true(endpoint_equal(&remote, &want));
	assert_true(ip_addr_equal(&local.addr, &want.addr) && local.port);
	client_end(&c);
	server_stop(s);
}

// The server leaves while much of what it is to get still waits.
static void serve_hang_up(struct conn *c)
{
	char byte;

	(void)conn_read(c, &byte, 1);
}

static void ends_when_the_server_leaves(void **)
{
	for (int tls = 0; tls < 2; tls++) {
		const struct server s =
			server_start(&(struct server_plan){.plain = !tls, .serve = serve_hang_up});
		const struct stream_target t = target_of(s, tls);
		struct client c = {.then = write_pattern};

		client_begin(&c);
		assert_int_equal(client_open(&c, &t), 0);
		client_run(&c, CLIENT_TIMEOUT_MS);
		assert_true(c.closed);
		assert_true(c.error == 0 || c.error == -ECONNRESET);
		assert_int_equal(stream_write(c.stream, &(struct iovec){pattern, 1}, 1), -ENOTCONN);
		client_end(&c);
		server_stop(s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(echoes_over_tls),
		cmocka_unit_test(echoes_in_the_clear),
		cmocka_unit_test(reads_all_before_the_end),
		cmocka_unit_test(shares_the_loop),
		cmocka_unit_test(bounds_the_queue),
		cmocka_unit_test(closes_within_callbacks),
		cmocka_unit_test(closes_while_connecting),
		cmocka_unit_test(tells_the_last_certificate),
		cmocka_unit_test(tells_addresses),
		cmocka_unit_test(ends_when_the_server_leaves),
	};
	return cmocka_run_group_tests(tests, setup, pki_teardown);
}
