// DERP: recorded connections played again in pieces of every size, single frames, what is refused.
#include "tests/unit/path_vectors.h"

#include <errno.h>

#include "control/path/derp.h"

enum { MAX = 1 << 17, TEXT_MAX = 8192 };
static const uint64_t S = UINT64_C(1000000000);

// What came out of a connection.
struct client {
	struct derp *derp;
	uint8_t written[MAX];
	size_t written_len;
	bool full;	       // refuse writes
	char events[TEXT_MAX]; // a line each
};

static void note(struct client *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void note(struct client *c, const char *format, ...)
{
	const size_t n = strlen(c->events);
	va_list args;

	va_start(args, format);
	vsnprintf(c->events + n, sizeof(c->events) - n, format, args);
	va_end(args);
}

static int on_write(void *arg, const struct iovec *parts, int n)
{
	struct client *c = arg;

	if (c->full)
		return -ENOBUFS;
	for (int i = 0; i < n; i++) {
		assert_true(c->written_len + parts[i].iov_len <= MAX);
		memcpy(c->written + c->written_len, parts[i].iov_base, parts[i].iov_len);
		c->written_len += parts[i].iov_len;
	}
	return 0;
}

static const char *hex(const uint8_t *bytes, size_t len)
{
	static char text[TEXT_MAX];

	assert_true(2 * len < sizeof(text));
	return sodium_bin2hex(text, sizeof(text), bytes, len);
}

static void on_event(void *arg, const struct derp_event *e)
{
	struct client *c = arg;

	switch (e->type) {
	case DERP_EVENT_SERVER_KEY:
		return note(c, "ServerKey %s\n", hex(e->key->bytes, KEY_LEN));
	case DERP_EVENT_SERVER_INFO:
		return note(c, "ServerInfo %llu %llu\n", (unsigned long long)e->rate_bytes_per_s,
			(unsigned long long)e->burst_bytes);
	case DERP_EVENT_PACKET:
		if (e->len == DERP_PACKET_MAX)
			return note(c, "the largest packet\n");
		note(c, "ReceivedPacket %s ", hex(e->key->bytes, KEY_LEN));
		return note(c, "%s\n", hex(e->data, e->len));
	case DERP_EVENT_PEER_GONE:
		return note(c, "PeerGone %s %d\n", hex(e->key->bytes, KEY_LEN), e->reason);
	case DERP_EVENT_KEEP_ALIVE:
		return note(c, "KeepAlive\n");
	case DERP_EVENT_PING:
		return note(c, "Ping %s\n", hex(e->data, e->len));
	case DERP_EVENT_PONG:
		return note(c, "Pong %s\n", hex(e->data, e->len));
	case DERP_EVENT_HEALTH:
		return note(c, "Health %.*s\n", (int)e->len, e->data);
	case DERP_EVENT_RESTARTING:
		return note(c, "Restarting %u %u\n", e->reconnect_in_ms, e->try_for_ms);
	}
	fail();
}

// What the real client received, as on_event writes it.
static void expect(char *text, const json_t *m)
{
	const char *type = vectors_text(m, "message");
	const size_t n = strlen(text);
#define ADD(...) snprintf(text + n, TEXT_MAX - n, __VA_ARGS__)
	if (strcmp(type, "ServerInfo") == 0)
		ADD("ServerInfo %llu %llu\n", (unsigned long long)vectors_number(m, "rate"),
			(unsigned long long)vectors_number(m, "burst"));
	else if (strcmp(type, "ReceivedPacket") == 0)
		ADD("ReceivedPacket %s %s\n", vectors_text(m, "src"), vectors_text(m, "packet"));
	else if (strcmp(type, "PeerGone") == 0)
		ADD("PeerGone %s %d\n", vectors_text(m, "peer"), (int)vectors_number(m, "reason"));
	else if (strcmp(type, "KeepAlive") == 0)
		ADD("KeepAlive\n");
	else if (strcmp(type, "Ping") == 0 || strcmp(type, "Pong") == 0)
		ADD("%s %s\n", type, vectors_text(m, "data"));
	else if (strcmp(type, "Health") == 0)
		ADD("Health %s\n", vectors_text(m, "text"));
	else if (strcmp(type, "Restarting") == 0)
		ADD("Restarting %d %d\n", (int)vectors_number(m, "reconnect_in_ms"),
			(int)vectors_number(m, "try_for_ms"));
	else if (strcmp(type, "PeerPresent") != 0) // for mesh clients alone
		fail_msg("what is %s?", type);
#undef ADD
}

// nonce, host, server_key and the rest are filled by the caller.
static struct derp_options options_of(const json_t *root, const char *who)
{
	const json_t *keys = json_object_get(json_object_get(root, "keys"), who);

	return (struct derp_options){
		.private_key = vectors_key(keys, "private"),
		.public_key = vectors_key(keys, "public"),
		.host = "derp.example:3340",
		.user_agent = "Go-http-client/1.1",
	};
}

static void client_open(struct client *c, const struct derp_options *options)
{
	*c = (struct client){0};
	const struct derp_io io = {on_write, on_event, c};
	assert_int_equal(derp_create(&c->derp, options, &io), 0);
	assert_false(derp_can_send(c->derp));
	assert_int_equal(derp_start(c->derp, 1 * S), 0);
}

// In pieces, each a copy of exactly its size.
static int feed(struct client *c, const uint8_t *bytes, size_t len, size_t piece)
{
	int rc = 0;

	for (size_t at = 0, n; at < len && rc == 0; at += n) {
		n = len - at < piece ? len - at : piece;
		uint8_t *copy = exact_copy(bytes + at, n);
		rc = derp_feed(c->derp, 2 * S, copy, n);
		free(copy);
	}
	return rc;
}

static int feed_hex(struct client *c, const char *text)
{
	uint8_t bytes[MAX];

	return feed(c, bytes, hex_bytes(text, bytes, MAX), MAX);
}

#define ANSWER_101                                                                                 \
	"HTTP/1.1 101 Switching Protocols\r\nUpgrade: DERP\r\nConnection: Upgrade\r\n\r\n"

static int feed_text(struct client *c, const char *text)
{
	return feed(c, (const uint8_t *)text, strlen(text), MAX);
}

static void written_is(struct client *c, const uint8_t *want, size_t len)
{
	assert_int_equal(c->written_len, len);
	assert_memory_equal(c->written, want, len);
	c->written_len = 0;
}

static const json_t *frame_of_type(const json_t *connection, const char *type)
{
	const json_t *t;
	size_t i;

	json_array_foreach(json_object_get(connection, "frames"), i,
		t) if (strcmp(vectors_text(t, "type"), type) == 0) return t;
	fail_msg("no %s", type);
	return NULL;
}

// Up to the server's information, over HTTP, as the named recorded connection.
static void client_connect(struct client *c, const json_t *root, const char *who)
{
	const json_t *connection = vectors_named(json_object_get(root, "connections"), who);
	struct derp_options options = options_of(root, who);

	vectors_exact(json_object_get(frame_of_type(connection, "ClientInfo"), "fields"), "nonce",
		options.nonce, sizeof(options.nonce));
	client_open(c, &options);
	c->written_len = 0;
	assert_int_equal(feed_text(c, ANSWER_101), 0);
	assert_int_equal(
		feed_hex(c, vectors_text(frame_of_type(connection, "ServerKey"), "frame")), 0);
	c->written_len = 0;
	assert_true(derp_can_send(c->derp));
	assert_int_equal(
		feed_hex(c, vectors_text(frame_of_type(connection, "ServerInfo"), "frame")), 0);
	c->events[0] = '\0';
}

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
#define KEY "6a6bfb4c7f02ac5f83022b8ccf13cd7ad9e0c3ae8144963668e7d346f8ff3c36"
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
		cmocka_unit_test(test_http_refused),
		cmocka_unit_test(test_greeting),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_pings_answered),
		cmocka_unit_test(test_rate),
		cmocka_unit_test(test_timeouts),
		cmocka_unit_test(test_closed),
		cmocka_unit_test(test_senders_refuse),
		cmocka_unit_test(test_fast_start_to_a_proxy),
		cmocka_unit_test(test_options_refused),
		cmocka_unit_test(test_certificate_key),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
