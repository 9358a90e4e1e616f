// DERP: servers that break the rules, are slow, close; and what we refuse to send.
#include "tests/unit/derp_client.h"

static void test_http_refused(void **)
{
	static char endless[DERP_HTTP_MAX + 100];
	static const struct {
		const char *name, *answer;
		int want;
		const char *error;
	} cases[] = {
		{"no upgrade", "HTTP/1.1 426 Upgrade Required\r\nX: y\r\n\r\nbody", -ECONNREFUSED,
			"no DERP there: HTTP 426 Upgrade Required"},
		{"not found", "HTTP/1.1 404 Not Found\r\n\r\n", -ECONNREFUSED,
			"no DERP there: HTTP 404 Not Found"},
		{"control characters in it", "HTTP/1.1 500 \x1b[31m\n\r\n\r\n", -ECONNREFUSED,
			"no DERP there: HTTP 500 ?[31m?"},
		{"not HTTP", "SSH-2.0-OpenSSH_9.2\r\n\r\n", -EPROTO,
			"what answers there does not speak HTTP/1.1"},
		{"old HTTP", "HTTP/1.0 101 Ok\r\n\r\n", -EPROTO,
			"what answers there does not speak HTTP/1.1"},
		{"short line", "HTTP/1.1 10\r\n\r\n", -EPROTO,
			"what answers there does not speak HTTP/1.1"},
		{"empty lines", "\r\n\r\n", -EPROTO, "what answers there does not speak HTTP/1.1"},
		{"endless", endless, -EMSGSIZE, "endless HTTP header"},
	};
	json_t *root = vectors_load("derp.json");
	const struct derp_options options = options_of(root, "alice");
	static struct client c;

	memset(endless, 'a', sizeof(endless) - 1);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		print_message("%s\n", cases[i].name);
		client_open(&c, &options);
		assert_int_equal(feed_text(&c, cases[i].answer), cases[i].want);
		assert_string_equal(derp_error(c.derp), cases[i].error);
		derp_destroy(c.derp);
	}
	json_decref(root);
}

#define MAGIC "44455250f09f9491"
#define ZERO_KEY "0000000000000000000000000000000000000000000000000000000000000000"

static void test_greeting(void **)
{
	static const struct {
		const char *name, *frame;
		int want;
	} cases[] = {
		{"good", "0100000028" MAGIC KEY, 0},
		{"more behind the key", "010000002a" MAGIC KEY "0102", 0},
		{"one byte short",
			"0100000027" MAGIC
			"6a6bfb4c7f02ac5f83022b8ccf13cd7ad9e0c3ae8144963668e7d346f8ff3c",
			-EPROTO},
		{"empty", "0100000000", -EPROTO},
		{"other magic", "010000002844455250f09f9492" KEY, -EPROTO},
		{"zero key", "0100000028" MAGIC ZERO_KEY, -EPROTO},
		{"another frame first", "0600000000", -EPROTO},
		{"an unknown frame first", "7f00000001aa", -EPROTO},
		{"greeting above what is kept", "0100010021", -EMSGSIZE},
		{"greeting of 4 GiB", "01ffffffff", -EMSGSIZE},
	};
	json_t *root = vectors_load("derp.json");
	const struct derp_options options = options_of(root, "alice");
	static struct client c;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		print_message("%s\n", cases[i].name);
		client_open(&c, &options);
		assert_int_equal(feed_text(&c, ANSWER_101), 0);
		assert_int_equal(feed_hex(&c, cases[i].frame), cases[i].want);
		assert_true(derp_can_send(c.derp) == !cases[i].want);
		derp_destroy(c.derp);
	}
	json_decref(root);
}

static void test_sizes(void **)
{
	static const struct {
		const char *name, *header;
		size_t payload;
		int want;
		unsigned skipped;
	} cases[] = {
		{"largest packet", "0500010020", 0x10020, 0, 0},
		{"packet one too large is skipped", "0500010021", 0x10021, 0, 1},
		{"largest frame is skipped", "0500100000", 0x100000, 0, 1},
		{"unknown frame of 1 MiB is skipped", "7f00100000", 0x100000, 0, 1},
		{"ServerInfo above what is kept", "0300010021", 0, -EMSGSIZE, 0},
		{"1 MiB and 1", "7f00100001", 0, -EMSGSIZE, 0},
	};
	json_t *root = vectors_load("derp.json");
	static uint8_t payload[0x100000];
	static struct client c;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		print_message("%s\n", cases[i].name);
		client_connect(&c, root, "alice");
		assert_int_equal(feed_hex(&c, cases[i].header), cases[i].want);
		c.events[0] = '\0';
		if (!cases[i].want)
			assert_int_equal(feed(&c, payload, cases[i].payload, 60000), 0);
		assert_int_equal(derp_counters(c.derp)->skipped, cases[i].skipped);
		if (!cases[i].want) {
			assert_int_equal(feed_hex(&c, "0600000000"), 0);
			assert_string_equal(c.events, cases[i].skipped
							      ? "KeepAlive\n"
							      : "the largest packet\nKeepAlive\n");
		}
		derp_destroy(c.derp);
	}
	json_decref(root);
}

static void test_timeouts(void **)
{
	json_t *root = vectors_load("derp.json");
	const struct derp_options options = options_of(root, "alice");
	static struct client c;

	client_open(&c, &options); // at 1 s
	assert_int_equal(derp_deadline_ns(c.derp), 11 * S);
	assert_int_equal(derp_check(c.derp, 11 * S - 1), 0);
	assert_int_equal(derp_check(c.derp, 11 * S), -ETIMEDOUT);
	assert_string_equal(derp_error(c.derp), "no greeting within 10 s");
	derp_destroy(c.derp);

	client_connect(&c, root, "alice"); // at 2 s
	assert_int_equal(derp_deadline_ns(c.derp), 122 * S);
	// A byte now and then is no frame: a slow server does not hold the connection for ever.
	assert_int_equal(derp_feed(c.derp, 60 * S, (const uint8_t *)"\x06\0\0", 3), 0);
	assert_int_equal(derp_deadline_ns(c.derp), 122 * S);
	assert_int_equal(derp_feed(c.derp, 61 * S, (const uint8_t *)"\0\0", 2), 0);
	assert_int_equal(derp_deadline_ns(c.derp), 181 * S);
	assert_int_equal(derp_check(c.derp, 181 * S), -ETIMEDOUT);
	assert_string_equal(derp_error(c.derp), "nothing came for 120 s");
	derp_destroy(c.derp);
	json_decref(root);
}

static void test_closed(void **)
{
	json_t *root = vectors_load("derp.json");
	const struct derp_options options = options_of(root, "alice");
	static struct client c;

	client_open(&c, &options);
	assert_int_equal(derp_eof(c.derp), -ECONNREFUSED);
	assert_string_equal(derp_error(c.derp), "the server closed before its greeting");
	derp_destroy(c.derp);

	client_open(&c, &options);
	assert_int_equal(feed_text(&c, ANSWER_101), 0);
	assert_int_equal(feed_hex(&c, "0100000028" MAGIC KEY), 0);
	assert_int_equal(derp_eof(c.derp), -ECONNREFUSED);
	assert_string_equal(
		derp_error(c.derp), "the server closed after our key: does it verify clients?");
	derp_destroy(c.derp);

	client_connect(&c, root, "alice");
	assert_int_equal(feed_hex(&c, "0500"), 0);
	assert_int_equal(derp_eof(c.derp), -ECONNRESET);
	assert_string_equal(derp_error(c.derp), "the server closed the connection within a frame");
	derp_destroy(c.derp);
	json_decref(root);
}

static void test_senders_refuse(void **)
{
	json_t *root = vectors_load("derp.json");
	const struct derp_options options = options_of(root, "alice");
	static const uint8_t packet[DERP_PACKET_MAX + 1];
	const struct key to = {{1}};
	static struct client c;

	client_open(&c, &options);
	assert_int_equal(derp_start(c.derp, 1 * S), -EALREADY);
	assert_int_equal(derp_send_packet(c.derp, 1 * S, &to, packet, 10), -ENOTCONN);
	assert_int_equal(derp_note_preferred(c.derp, true), -ENOTCONN);
	assert_int_equal(derp_ping(c.derp, packet), -ENOTCONN);
	derp_destroy(c.derp);

	client_connect(&c, root, "alice");
	assert_int_equal(derp_send_packet(c.derp, 2 * S, &to, packet, sizeof(packet)), -EMSGSIZE);
	assert_int_equal(c.written_len, 0);
	assert_int_equal(derp_send_packet(c.derp, 2 * S, &to, packet, DERP_PACKET_MAX), 0);
	c.full = true;
	assert_int_equal(derp_send_packet(c.derp, 2 * S, &to, packet, 10), -ENOBUFS);
	derp_destroy(c.derp);
	json_decref(root);
}

static void test_fast_start_to_a_proxy(void **)
{
	json_t *root = vectors_load("derp.json");
	struct derp_options options = options_of(root, "alice");
	const struct key server =
		vectors_key(json_object_get(json_object_get(root, "keys"), "server"), "public");
	static struct client c;

	options.server_key = &server;
	client_open(&c, &options);
	assert_int_equal(feed_text(&c, "HTTP/1.1 502 Bad Gateway\r\n\r\n"), -ECONNREFUSED);
	assert_string_equal(derp_error(c.derp), "answered fast start with HTTP: a proxy?");
	derp_destroy(c.derp);
	json_decref(root);
}

static void test_options_refused(void **)
{
	static const struct key zero;
	static char long_name[400];
	static const struct {
		const char *name, *host, *agent, *node;
		const struct key *server_key;
		int want;
	} cases[] = {
		{"no host", "", NULL, NULL, NULL, -EINVAL},
		{"line end in the host", "a\r\nX: y", NULL, NULL, NULL, -EINVAL},
		{"space in the node's name", "a", NULL, "9 01a", NULL, -EINVAL},
		{"line end in the agent", "a", "b\n", NULL, NULL, -EINVAL},
		{"host too long", long_name, NULL, NULL, NULL, -EINVAL},
		{"node's name too long", "a", NULL, long_name, NULL, -EINVAL},
		{"zero server key", "a", NULL, NULL, &zero, -EKEYREJECTED},
	};
	json_t *root = vectors_load("derp.json");
	struct derp_options options = options_of(root, "alice");
	const struct derp_io io = {on_write, on_event, NULL};

	memset(long_name, 'a', sizeof(long_name) - 1);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct derp *derp = NULL;

		print_message("%s\n", cases[i].name);
		options.host = cases[i].host;
		options.user_agent = cases[i].agent;
		options.ideal_node = cases[i].node;
		options.server_key = cases[i].server_key;
		assert_int_equal(derp_create(&derp, &options, &io), cases[i].want);
		assert_null(derp);
	}
	json_decref(root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_http_refused),
		cmocka_unit_test(test_greeting),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_timeouts),
		cmocka_unit_test(test_closed),
		cmocka_unit_test(test_senders_refuse),
		cmocka_unit_test(test_fast_start_to_a_proxy),
		cmocka_unit_test(test_options_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
