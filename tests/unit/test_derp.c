// DERP: recorded connections played again in pieces of every size, single frames, the rate.
#include "tests/unit/derp_client.h"

// Say what the recorded client said.
static void say(struct client *c, const json_t *frame)
{
	const json_t *fields = json_object_get(frame, "fields");
	const char *type = vectors_text(frame, "type");
	uint8_t bytes[MAX];

	if (strcmp(type, "SendPacket") == 0) {
		const struct key to = vectors_key(fields, "dst");
		const size_t len = vectors_bytes(fields, "packet", bytes, MAX);
		assert_int_equal(derp_send_packet(c->derp, 2 * S, &to, bytes, len), 0);
	} else if (strcmp(type, "Ping") == 0) {
		vectors_exact(fields, "data", bytes, DERP_PING_LEN);
		assert_int_equal(derp_ping(c->derp, bytes), 0);
	} else if (strcmp(type, "NotePreferred") == 0) {
		const bool on = json_is_true(json_object_get(fields, "preferred"));
		assert_int_equal(derp_note_preferred(c->derp, on), 0);
	} else if (strcmp(type, "ClientInfo") != 0) { // that one came by itself
		fail_msg("what is %s?", type);
	}
}

// The recorded list of what the client received leaves out the packets' bytes: take them, and
// ServerKey, from the frames.
static void expect_connection(char *want, const json_t *connection)
{
	const json_t *received = json_object_get(connection, "client_received"), *t;
	size_t i, next = 0;

	json_array_foreach(json_object_get(connection, "frames"), i, t)
	{
		const json_t *fields = json_object_get(t, "fields");
		const size_t n = strlen(want);

		if (strcmp(vectors_text(t, "dir"), "s2c") != 0)
			continue;
		if (strcmp(vectors_text(t, "type"), "ServerKey") == 0)
			snprintf(want + n, TEXT_MAX - n, "ServerKey %s\n",
				vectors_text(fields, "server_key"));
		else if (strcmp(vectors_text(t, "type"), "RecvPacket") == 0 && ++next)
			snprintf(want + n, TEXT_MAX - n, "ReceivedPacket %s %s\n",
				vectors_text(fields, "src"), vectors_text(fields, "packet"));
		else
			expect(want, json_array_get(received, next++));
	}
	assert_int_equal(next, json_array_size(received));
}

static void play(const json_t *root, const json_t *connection, size_t piece)
{
	struct derp_options options = options_of(root, vectors_text(connection, "name"));
	static struct client c;
	char want[TEXT_MAX] = "";
	uint8_t bytes[MAX];
	const json_t *t;
	size_t i;

	vectors_exact(json_object_get(frame_of_type(connection, "ClientInfo"), "fields"), "nonce",
		options.nonce, sizeof(options.nonce));
	client_open(&c, &options);
	c.written_len = 0;
	assert_int_equal(feed(&c, (const uint8_t *)ANSWER_101, strlen(ANSWER_101), piece), 0);
	json_array_foreach(json_object_get(connection, "frames"), i, t)
	{
		const size_t len = vectors_bytes(t, "frame", bytes, MAX);
		if (strcmp(vectors_text(t, "dir"), "s2c") == 0) {
			assert_int_equal(feed(&c, bytes, len, piece), 0);
			continue;
		}
		say(&c, t);
		written_is(&c, bytes, len);
	}
	expect_connection(want, connection);
	assert_string_equal(c.events, want);
	assert_string_equal(derp_error(c.derp), "");
	assert_int_equal(derp_counters(c.derp)->skipped, 0);
	derp_destroy(c.derp);
}

static void test_connections(void **)
{
	static const size_t pieces[] = {MAX, 64, 7, 1};
	json_t *root = vectors_load("derp.json"), *t;
	size_t i;

	json_array_foreach(json_object_get(root, "connections"), i,
		t) for (size_t p = 0; p < sizeof(pieces) / sizeof(pieces[0]); p++)
		play(root, t, pieces[p]);
	assert_int_equal(i, 2);
	json_decref(root);
}

// Say what stands in said and has not been written: NotePreferred, pings, packets.
static void say_bytes(struct client *c, const uint8_t *said, size_t len)
{
	while (c->written_len + DERP_FRAME_HEADER_LEN <= len) {
		const uint8_t *frame = said + c->written_len;
		const uint8_t *payload = frame + DERP_FRAME_HEADER_LEN;
		const size_t body = frame[3] * 256U + frame[4];
		struct key to;

		if (c->written_len + DERP_FRAME_HEADER_LEN + body > len)
			return;
		if (frame[0] == DERP_NOTE_PREFERRED) {
			assert_int_equal(derp_note_preferred(c->derp, payload[0]), 0);
		} else if (frame[0] == DERP_PING) {
			assert_int_equal(derp_ping(c->derp, payload), 0);
		} else {
			assert_int_equal(frame[0], DERP_SEND_PACKET);
			memcpy(to.bytes, payload, KEY_LEN);
			assert_int_equal(derp_send_packet(c->derp, 2 * S, &to, payload + KEY_LEN,
						 body - KEY_LEN),
				0);
		}
	}
}

// The bytes inside TCP or TLS, from the request on. The nonce stands in what the client sent.
static void play_http(const json_t *root, const json_t *t)
{
	enum { NONCE_AT = DERP_FRAME_HEADER_LEN + KEY_LEN };
	struct derp_options options = options_of(root, "alice");
	const json_t *stream = json_object_get(t, "stream");
	const char *cn = json_string_value(json_object_get(t, "meta_cert_cn"));
	struct key server_key;
	static struct client c;
	static uint8_t bytes[MAX], said[MAX];
	size_t i, said_len = 0;
	const json_t *e;

	if (cn) {
		assert_int_equal(derp_certificate_key(cn, 2, &server_key), 0);
		options.server_key = &server_key;
	}
	if (strstr(vectors_text(t, "name"), "second_node"))
		options.ideal_node = "901a";
	if (strcmp(vectors_text(t, "name"), "http_upgrade") == 0)
		options.host = "127.0.0.1:3340";
	// ClientInfo is in the first (fast start) or the second thing that the client says.
	const size_t request_len = strlen(vectors_text(json_array_get(stream, 0), "http"));
	vectors_bytes(json_array_get(stream, cn ? 0 : 2), "bytes", bytes, MAX);
	memcpy(options.nonce, bytes + (cn ? request_len : 0) + NONCE_AT, sizeof(options.nonce));

	client_open(&c, &options);
	json_array_foreach(stream, i, e)
	{
		const size_t len = vectors_bytes(e, "bytes", bytes, MAX);
		if (strcmp(vectors_text(e, "dir"), "s2c") == 0) {
			assert_int_equal(feed(&c, bytes, len, 11), 0);
			continue;
		}
		memcpy(said + said_len, bytes, len); // the recorder cut frames anywhere
		said_len += len;
		say_bytes(&c, said, said_len);
	}
	written_is(&c, said, said_len);
	assert_non_null(strstr(c.events, "ServerInfo 0 0\nPong 0807060504030201\nReceivedPacket "));
	assert_true((strstr(c.events, "ServerKey") == NULL) == (cn != NULL));
	derp_destroy(c.derp);
}

static void test_http(void **)
{
	static const char *const names[] = {"http_upgrade", "tls13_fast_start",
		"tls13_fast_start_second_node", "tls_without_meta_cert"};
	json_t *root = vectors_load("derp.json");

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		print_message("%s\n", names[i]);
		play_http(root, vectors_named(json_object_get(root, "http_connections"), names[i]));
	}
	json_decref(root);
}

static void test_frames(void **)
{
	json_t *root = vectors_load("derp.json"), *t;
	size_t i;

	json_array_foreach(json_object_get(root, "frames"), i, t)
	{
		const json_t *received = json_object_get(t, "received");
		static struct client c;
		char want[TEXT_MAX] = "";
		const char *name = vectors_text(t, "name");

		client_connect(&c, root, "alice");
		const int rc = feed_hex(&c, vectors_text(t, "frame"));
		print_message("%s: %d %s\n", name, rc, derp_error(c.derp));
		const bool mesh = strncmp(name, "peer_present", 12) == 0;
		if (json_object_get(t, "error")) {
			assert_true(rc < 0);
			assert_true(derp_error(c.derp)[0] != '\0');
			assert_false(derp_can_send(c.derp));
			assert_int_equal(derp_feed(c.derp, 2 * S, (const uint8_t *)"x", 1), rc);
		} else {
			assert_int_equal(rc, 0);
			if (received)
				expect(want, received);
			assert_int_equal(derp_counters(c.derp)->skipped, !received || mesh);
			assert_int_equal(feed_hex(&c, "0600000000"), 0); // still in step
			strcat(want, "KeepAlive\n");
		}
		assert_string_equal(c.events, want);
		derp_destroy(c.derp);
	}
	assert_int_equal(i, 31);
	json_decref(root);
}

// The recorded frame that a real server accepted is the one we make.
static void test_client_info(void **)
{
	json_t *root = vectors_load("derp.json");
	const json_t *t = vectors_named(json_object_get(root, "client_infos"), "minimal");
	struct derp_options options = options_of(root, "alice");
	const struct key server =
		vectors_key(json_object_get(json_object_get(root, "keys"), "server"), "public");
	uint8_t want[256];
	static struct client c;
	const size_t len = vectors_bytes(t, "frame", want, sizeof(want));

	memcpy(options.nonce, want + DERP_FRAME_HEADER_LEN + KEY_LEN, sizeof(options.nonce));
	options.server_key = &server;
	client_open(&c, &options);
	assert_true(c.written_len > len);
	assert_memory_equal(c.written + c.written_len - len, want, len);
	assert_true(derp_can_send(c.derp)); // without awaiting anything
	derp_destroy(c.derp);
	json_decref(root);
}

static void test_pings_answered(void **)
{
	static const uint8_t want[] = {DERP_PONG, 0, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8};
	json_t *root = vectors_load("derp.json");
	static struct client c;

	client_connect(&c, root, "bob");
	assert_int_equal(feed_hex(&c, "12000000080102030405060708"), 0);
	written_is(&c, want, sizeof(want));
	c.full = true; // a server that pings and does not read
	for (int i = 0; i < 3; i++)
		assert_int_equal(feed_hex(&c, "12000000080102030405060708"), 0);
	assert_int_equal(derp_counters(c.derp)->pongs_lost, 3);
	derp_destroy(c.derp);
	json_decref(root);
}

// A rate of 1 MB/s with 2 MB at once, as the recorded ServerInfo says.
static void test_rate(void **)
{
	json_t *root = vectors_load("derp.json");
	const json_t *t = vectors_named(json_object_get(root, "frames"), "server_info_with_rate");
	static const uint8_t packet[1000 - DERP_FRAME_HEADER_LEN - KEY_LEN];
	const struct key to = {{1}};
	static struct client c;
	uint64_t sent = 0;

	client_connect(&c, root, "alice");
	assert_int_equal(feed_hex(&c, vectors_text(t, "frame")), 0); // at 2 s
	assert_string_equal(c.events, "ServerInfo 1000000 2000000\n");
	while (!derp_send_packet(c.derp, 2 * S, &to, packet, sizeof(packet)) && ++sent < 3000)
		c.written_len = 0;
	assert_int_equal(sent, 2000);
	assert_int_equal(derp_send_packet(c.derp, 2 * S, &to, packet, sizeof(packet)), -EAGAIN);
	assert_int_equal(
		derp_send_packet(c.derp, 2 * S + S / 1000 + 1, &to, packet, sizeof(packet)), 0);
	assert_int_equal(derp_counters(c.derp)->rate_limited, 2);
	c.written_len = 0;
	for (sent = 0; !derp_send_packet(c.derp, 100 * S, &to, packet, sizeof(packet)); sent++)
		c.written_len = 0;
	assert_int_equal(sent, 2000); // no more than the burst however long it was quiet
	assert_int_equal(derp_ping(c.derp, packet), 0); // only packets count
	derp_destroy(c.derp);
	json_decref(root);
}

static void test_certificate_key(void **)
{
	static const struct {
		const char *name, *cn;
		uint64_t serial;
		int want;
	} cases[] = {
		{"good", "derpkey" KEY, 2, 0},
		{"a later version", "derpkey" KEY, 3, 0},
		{"version 1 knows no fast start", "derpkey" KEY, 1, -ENOENT},
		{"a host's certificate", "derp.example", 2, -ENOENT},
		{"short", "derpkey6a6b", 2, -ENOENT},
		{"long", "derpkey" KEY "00", 2, -ENOENT},
		{"empty", "", 2, -ENOENT},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct key key;

		print_message("%s\n", cases[i].name);
		assert_int_equal(
			derp_certificate_key(cases[i].cn, cases[i].serial, &key), cases[i].want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_connections),
		cmocka_unit_test(test_http),
		cmocka_unit_test(test_frames),
		cmocka_unit_test(test_client_info),
		cmocka_unit_test(test_pings_answered),
		cmocka_unit_test(test_rate),
		cmocka_unit_test(test_certificate_key),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
