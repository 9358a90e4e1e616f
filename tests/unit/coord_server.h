// A coordination server inside the test, on a loopback port and the test's event loop: what it
// answers to each request, and where it breaks off, is the test's choice.
#pragma once

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <nghttp2/nghttp2.h>
#include <zstd.h>

#include "tests/unit/noise_responder.h"

enum {
	SERVER_CONNS = 64,
	SERVER_STREAMS = 64,
	SERVER_TEXT = 1 << 14,
};

enum server_upgrade {
	UPGRADE_GOOD,
	UPGRADE_CLOSE,	 // right after the 101
	UPGRADE_SILENT,	 // after the 101
	UPGRADE_DAMAGED, // a handshake that does not authenticate
	UPGRADE_REFUSED, // Noise's error message, its text in upgrade_text
	UPGRADE_TEXT,	 // upgrade_text as it is, then close
	UPGRADE_ENDLESS, // a head that never ends
};

struct server_conn;

struct server_stream { // one request
	struct server_conn *conn;
	int32_t id;
	char method[8], path[256], authority[64];
	char *body;
	size_t body_len;
	char *out; // of the answer
	size_t out_len, out_sent;
	bool open; // more of the answer may come
};

struct server {
	struct event_base *base;
	struct evconnlistener *listener;
	uint16_t port;
	struct key private_key, public_key;
	// What it does:
	const char *key_answer; // of GET /key, raw; NULL: the key
	enum server_upgrade upgrade;
	const char *upgrade_text;
	void (*request)(struct server *, struct server_stream *); // of HTTP/2
	// What it saw:
	unsigned keys, upgrades, heads, streams_over;
	uint16_t version;
	struct key client;
	struct server_conn *conns[SERVER_CONNS];
};

struct server_conn {
	struct server *server;
	struct bufferevent *bev;
	struct responder noise;
	nghttp2_session *h2; // NULL: HTTP/1.1
	struct server_stream *streams[SERVER_STREAMS];
	bool closing;
};

// --- Answers.

static inline void server_pump(struct server_conn *c)
{
	const uint8_t *bytes;
	uint8_t wire[TS2021_RECORD_MAX];
	ssize_t n;

	while ((n = nghttp2_session_mem_send(c->h2, &bytes)) > 0)
		for (size_t at = 0; at < (size_t)n;) {
			size_t piece = (size_t)n - at;
			piece = piece < TS2021_PLAIN_MAX ? piece : TS2021_PLAIN_MAX;
			bufferevent_write(c->bev, wire,
				server_seal(wire, c->noise.send_key, c->noise.sent++, bytes + at,
					piece));
			at += piece;
		}
}

static inline ssize_t server_read_out(nghttp2_session *, int32_t, uint8_t *to, size_t len,
	uint32_t *flags, nghttp2_data_source *source, void *)
{
	struct server_stream *s = source->ptr;
	const size_t left = s->out_len - s->out_sent, n = left < len ? left : len;

	if (!n && s->open)
		return NGHTTP2_ERR_DEFERRED;
	if (n)
		memcpy(to, s->out + s->out_sent, n);
	s->out_sent += n;
	if (s->out_sent == s->out_len && !s->open)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
}

static inline void server_append(struct server_stream *s, const void *bytes, size_t len)
{
	s->out = realloc(s->out, s->out_len + len + 1);
	assert_non_null(s->out);
	memcpy(s->out + s->out_len, bytes, len);
	s->out_len += len;
}

// Headers, and the body as far as it is known. retry_after may be NULL.
static inline void server_respond(
	struct server_stream *s, int status, const char *retry_after, const char *body, bool open)
{
	char code[8];
	nghttp2_nv headers[] = {
		{(uint8_t *)":status", (uint8_t *)code, 7, 3, 0},
		{(uint8_t *)"retry-after", (uint8_t *)retry_after, 11,
			retry_after ? strlen(retry_after) : 0, 0},
	};
	const nghttp2_data_provider provider = {.source.ptr = s, .read_callback = server_read_out};

	snprintf(code, sizeof(code), "%d", status);
	s->open = open;
	server_append(s, body, strlen(body));
	assert_int_equal(nghttp2_submit_response(
				 s->conn->h2, s->id, headers, retry_after ? 2 : 1, &provider),
		0);
}

static inline void server_resume(struct server_stream *s)
{
	(void)nghttp2_session_resume_data(s->conn->h2, s->id);
	server_pump(s->conn);
}

// One MapResponse as the stream has it.
static inline size_t server_frame_of(const char *text, uint8_t *out, size_t max)
{
	const size_t n = ZSTD_compress(out + 4, max - 4, text, strlen(text), 1);

	assert_false(ZSTD_isError(n));
	for (int i = 0; i < 4; i++)
		out[i] = (uint8_t)(n >> (8 * i));
	return n + 4;
}

static inline void server_message(struct server_stream *s, const char *text)
{
	uint8_t frame[SERVER_TEXT];

	server_append(s, frame, server_frame_of(text, frame, sizeof(frame)));
	server_resume(s);
}

// --- HTTP/2.

static inline struct server_stream *server_stream_of(nghttp2_session *h2, int32_t id)
{
	return nghttp2_session_get_stream_user_data(h2, id);
}

static inline int server_on_begin(nghttp2_session *h2, const nghttp2_frame *frame, void *arg)
{
	struct server_conn *c = arg;
	struct server_stream *s = calloc(1, sizeof(*s));
	const size_t slot = (size_t)frame->hd.stream_id / 2;

	assert_non_null(s);
	assert_true(slot < SERVER_STREAMS);
	s->conn = c;
	s->id = frame->hd.stream_id;
	c->streams[slot] = s;
	return nghttp2_session_set_stream_user_data(h2, s->id, s);
}

static inline int server_on_header(nghttp2_session *h2, const nghttp2_frame *frame,
	const uint8_t *name, size_t, const uint8_t *value, size_t, uint8_t, void *)
{
	struct server_stream *s = server_stream_of(h2, frame->hd.stream_id);

	if (!strcmp((const char *)name, ":method"))
		snprintf(s->method, sizeof(s->method), "%s", (const char *)value);
	if (!strcmp((const char *)name, ":path"))
		snprintf(s->path, sizeof(s->path), "%s", (const char *)value);
	if (!strcmp((const char *)name, ":authority"))
		snprintf(s->authority, sizeof(s->authority), "%s", (const char *)value);
	return 0;
}

static inline int server_on_data(
	nghttp2_session *h2, uint8_t, int32_t id, const uint8_t *bytes, size_t len, void *)
{
	struct server_stream *s = server_stream_of(h2, id);

	s->body = realloc(s->body, s->body_len + len + 1);
	assert_non_null(s->body);
	memcpy(s->body + s->body_len, bytes, len);
	s->body_len += len;
	s->body[s->body_len] = '\0';
	return 0;
}

static inline int server_on_frame(nghttp2_session *h2, const nghttp2_frame *frame, void *arg)
{
	struct server_conn *c = arg;

	if ((frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS) &&
		frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
		c->server->request(c->server, server_stream_of(h2, frame->hd.stream_id));
	return 0;
}

static inline int server_on_close(nghttp2_session *h2, int32_t id, uint32_t, void *arg)
{
	struct server_conn *c = arg;
	struct server_stream *s = server_stream_of(h2, id);

	c->server->streams_over++;
	c->streams[id / 2] = NULL;
	free(s->body);
	free(s->out);
	free(s);
	return 0;
}

static inline void server_h2_start(struct server_conn *c)
{
	nghttp2_session_callbacks *cb;

	assert_int_equal(nghttp2_session_callbacks_new(&cb), 0);
	nghttp2_session_callbacks_set_on_begin_headers_callback(cb, server_on_begin);
	nghttp2_session_callbacks_set_on_header_callback(cb, server_on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, server_on_data);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, server_on_frame);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, server_on_close);
	assert_int_equal(nghttp2_session_server_new(&c->h2, cb, c), 0);
	nghttp2_session_callbacks_del(cb);
	assert_int_equal(nghttp2_submit_settings(c->h2, 0, NULL, 0), 0);
}

// --- Connections.

static inline void server_conn_free(struct server_conn *c)
{
	for (size_t i = 0; i < SERVER_STREAMS; i++)
		if (c->streams[i]) {
			free(c->streams[i]->body);
			free(c->streams[i]->out);
			free(c->streams[i]);
		}
	for (size_t i = 0; i < SERVER_CONNS; i++)
		if (c->server->conns[i] == c)
			c->server->conns[i] = NULL;
	nghttp2_session_del(c->h2);
	bufferevent_free(c->bev);
	free(c);
}

static inline void server_say(struct server_conn *c, const char *text, size_t len)
{
	bufferevent_write(c->bev, text, len);
	c->closing = true;
	if (!len)
		bufferevent_trigger(c->bev, EV_WRITE, BEV_OPT_DEFER_CALLBACKS);
}

static inline void server_key(struct server_conn *c)
{
	char hex[2 * KEY_LEN + 1], body[256], text[512];
	const char *const fixed = c->server->key_answer;

	c->server->keys++;
	if (fixed) {
		server_say(c, fixed, strlen(fixed));
		return;
	}
	sodium_bin2hex(hex, sizeof(hex), c->server->public_key.bytes, KEY_LEN);
	const int n = snprintf(body, sizeof(body),
		"{\"legacyPublicKey\":\"mkey:%064d\",\"publicKey\":\"mkey:%s\"}", 0, hex);
	snprintf(text, sizeof(text),
		"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
		"Connection: close\r\n\r\n%s",
		n, body);
	server_say(c, text, strlen(text));
}

// The 101 and the handshake's answer in one piece, as a proxy may join them.
static inline void server_handshake(struct server_conn *c, const char *head)
{
	static const char field[] = "X-Tailscale-Handshake: ";
	static const char early[] = "\xff\xff\xffTS\0\0\0\x1a{\"nodeKeyChallenge\":\"abc\"}";
	const char *const base64 = strstr(head, field) + strlen(field);
	uint8_t in[TS2021_INITIATION_LEN], out[TS2021_RESPONSE_LEN], wire[128];
	size_t len;

	assert_int_equal(sodium_base642bin(in, sizeof(in), base64, strcspn(base64, "\r"), NULL,
				 &len, NULL, sodium_base64_VARIANT_ORIGINAL),
		0);
	assert_int_equal(len, sizeof(in));
	c->noise.private_key = c->server->private_key;
	c->noise.public_key = c->server->public_key;
	c->server->version = responder_answer(&c->noise, in, out);
	c->server->client = c->noise.client;
	if (c->server->upgrade == UPGRADE_DAMAGED)
		out[40] ^= 1;
	bufferevent_write(c->bev, out, sizeof(out));
	bufferevent_write(c->bev, wire,
		server_seal(wire, c->noise.send_key, c->noise.sent++, early, sizeof(early) - 1));
	server_h2_start(c);
	server_pump(c);
}

static inline void server_upgrade(struct server_conn *c, const char *head)
{
	static const char switching[] = "HTTP/1.1 101 Switching Protocols\r\n"
					"Upgrade: tailscale-control-protocol\r\n"
					"Connection: upgrade\r\n\r\n";
	const char *const text = c->server->upgrade_text;
	const enum server_upgrade how = c->server->upgrade;

	c->server->upgrades++;
	if (how == UPGRADE_TEXT) {
		server_say(c, text, strlen(text));
		return;
	}
	if (how == UPGRADE_ENDLESS) {
		bufferevent_write(c->bev, "HTTP/1.1 101 OK\r\n", 17);
		for (int i = 0; i < 1000; i++)
			bufferevent_write(c->bev, "X-Endless: 1234567890\r\n", 23);
		return;
	}
	bufferevent_write(c->bev, switching, sizeof(switching) - 1);
	if (how == UPGRADE_GOOD || how == UPGRADE_DAMAGED) {
		server_handshake(c, head);
	} else if (how == UPGRADE_REFUSED) {
		const uint8_t header[] = {3, 0, (uint8_t)strlen(text)};
		bufferevent_write(c->bev, header, sizeof(header));
		server_say(c, text, strlen(text));
	} else {
		c->closing = how == UPGRADE_CLOSE;
	}
}

static inline void server_http1(struct server_conn *c, struct evbuffer *in)
{
	static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
	char head[2048] = "";

	const struct evbuffer_ptr end = evbuffer_search(in, "\r\n\r\n", 4, NULL);
	if (end.pos < 0)
		return;
	assert_true((size_t)end.pos + 4 < sizeof(head));
	evbuffer_remove(in, head, (size_t)end.pos + 4);
	if (!strncmp(head, "GET /key?v=", 11)) {
		server_key(c);
	} else if (!strncmp(head, "POST /ts2021 ", 13)) {
		server_upgrade(c, head);
	} else {
		assert_memory_equal(head, "HEAD /", 6);
		c->server->heads++;
		server_say(c, answer, strlen(answer));
	}
}

static inline void server_records(struct server_conn *c, struct evbuffer *in)
{
	uint8_t wire[TS2021_RECORD_MAX], plain[TS2021_RECORD_MAX];

	while (evbuffer_get_length(in) >= 3) {
		evbuffer_copyout(in, wire, 3);
		const size_t len = 3 + ((size_t)wire[1] << 8 | wire[2]);
		if (evbuffer_get_length(in) < len)
			break;
		evbuffer_remove(in, wire, len);
		const size_t n = responder_record(&c->noise, wire, len, plain);
		assert_true(nghttp2_session_mem_recv(c->h2, plain, n) >= 0);
	}
	server_pump(c);
}

static inline void server_on_read(struct bufferevent *bev, void *arg)
{
	struct server_conn *c = arg;
	struct evbuffer *in = bufferevent_get_input(bev);

	if (c->h2)
		server_records(c, in);
	else
		server_http1(c, in);
}

static inline void server_on_write(struct bufferevent *, void *arg)
{
	struct server_conn *c = arg;

	if (c->closing)
		server_conn_free(c);
}

static inline void server_on_event(struct bufferevent *, short, void *arg)
{
	server_conn_free(arg);
}

static inline void server_on_accept(
	struct evconnlistener *, evutil_socket_t fd, struct sockaddr *, int, void *arg)
{
	struct server *s = arg;
	struct server_conn *c = calloc(1, sizeof(*c));
	size_t slot = 0;

	assert_non_null(c);
	while (s->conns[slot])
		assert_true(++slot < SERVER_CONNS);
	s->conns[slot] = c;
	c->server = s;
	c->bev = bufferevent_socket_new(s->base, fd, BEV_OPT_CLOSE_ON_FREE);
	bufferevent_setcb(c->bev, server_on_read, server_on_write, server_on_event, c);
	bufferevent_enable(c->bev, EV_READ | EV_WRITE);
}

static inline void server_open(struct server *s, struct event_base *base,
	void (*request)(struct server *, struct server_stream *))
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);

	*s = (struct server){.base = base, .request = request};
	assert_int_equal(blake2s_init(), 0);
	x25519_generate(s->private_key.bytes);
	x25519_public(s->public_key.bytes, s->private_key.bytes);
	s->listener = evconnlistener_new_bind(base, server_on_accept, s,
		LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE, 16, (struct sockaddr *)&address, len);
	assert_non_null(s->listener);
	getsockname(evconnlistener_get_fd(s->listener), (struct sockaddr *)&address, &len);
	s->port = ntohs(address.sin_port);
}

// Cut all connections, as a kill of the server does.
static inline void server_cut(struct server *s)
{
	for (size_t i = 0; i < SERVER_CONNS; i++)
		if (s->conns[i])
			server_conn_free(s->conns[i]);
}

static inline void server_shut(struct server *s)
{
	server_cut(s);
	evconnlistener_free(s->listener);
}
