// A DERP client under test: what it wrote and what came out of it, as text.
#pragma once

#include "tests/unit/path_vectors.h"

#include <errno.h>

#include "control/path/derp.h"

// The recorded server's.
#define KEY "6a6bfb4c7f02ac5f83022b8ccf13cd7ad9e0c3ae8144963668e7d346f8ff3c36"

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

static inline void note(struct client *c, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
static inline void note(struct client *c, const char *format, ...)
{
	const size_t n = strlen(c->events);
	va_list args;

	va_start(args, format);
	vsnprintf(c->events + n, sizeof(c->events) - n, format, args);
	va_end(args);
}

static inline int on_write(void *arg, const struct iovec *parts, int n)
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

static inline const char *hex(const uint8_t *bytes, size_t len)
{
	static char text[TEXT_MAX];

	assert_true(2 * len < sizeof(text));
	return sodium_bin2hex(text, sizeof(text), bytes, len);
}

static inline void on_event(void *arg, const struct derp_event *e)
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
static inline void expect(char *text, const json_t *m)
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
static inline struct derp_options options_of(const json_t *root, const char *who)
{
	const json_t *keys = json_object_get(json_object_get(root, "keys"), who);

	return (struct derp_options){
		.private_key = vectors_key(keys, "private"),
		.public_key = vectors_key(keys, "public"),
		.host = "derp.example:3340",
		.user_agent = "Go-http-client/1.1",
	};
}

static inline void client_open(struct client *c, const struct derp_options *options)
{
	*c = (struct client){0};
	const struct derp_io io = {on_write, on_event, c};
	assert_int_equal(derp_create(&c->derp, options, &io), 0);
	assert_false(derp_can_send(c->derp));
	assert_int_equal(derp_start(c->derp, 1 * S), 0);
}

// In pieces, each a copy of exactly its size.
static inline int feed(struct client *c, const uint8_t *bytes, size_t len, size_t piece)
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

static inline int feed_hex(struct client *c, const char *text)
{
	uint8_t bytes[MAX];

	return feed(c, bytes, hex_bytes(text, bytes, MAX), MAX);
}

#define ANSWER_101                                                                                 \
	"HTTP/1.1 101 Switching Protocols\r\nUpgrade: DERP\r\nConnection: Upgrade\r\n\r\n"

static inline int feed_text(struct client *c, const char *text)
{
	return feed(c, (const uint8_t *)text, strlen(text), MAX);
}

static inline void written_is(struct client *c, const uint8_t *want, size_t len)
{
	assert_int_equal(c->written_len, len);
	assert_memory_equal(c->written, want, len);
	c->written_len = 0;
}

static inline const json_t *frame_of_type(const json_t *connection, const char *type)
{
	const json_t *t;
	size_t i;

	json_array_foreach(json_object_get(connection, "frames"), i,
		t) if (strcmp(vectors_text(t, "type"), type) == 0) return t;
	fail_msg("no %s", type);
	return NULL;
}

// Up to the server's information, over HTTP, as the named recorded connection.
static inline void client_connect(struct client *c, const json_t *root, const char *who)
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
