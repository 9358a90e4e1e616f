#include "control/coord/conn.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "control/coord/http_head.h"
#include "control/coord/ts2021.h"
#include "dataplane/crypto/x25519.h"

static const char protocol[] = "tailscale-control-protocol";

enum {
	INITIATION_TEXT_LEN =
		sodium_base64_ENCODED_LEN(TS2021_INITIATION_LEN, sodium_base64_VARIANT_ORIGINAL),
	REQUEST_MAX = 256 + LOGIN_URL_MAX + INITIATION_TEXT_LEN,
	WRITE_PIECE = 16 << 10, // plain bytes sealed at once
};

struct conn {
	struct stream *stream;
	struct ts2021 *noise;
	struct conn_events events;
	uint8_t *head; // what came before the end of the answer's head; NULL: it has come
	size_t head_len;
	bool tls;
	bool up;
	bool busy;   // bytes are being taken: not to be freed now
	bool closed; // no more events; freed as soon as it is not busy
	char request[REQUEST_MAX];
};

static void conn_free(struct conn *c)
{
	stream_close(c->stream);
	ts2021_destroy(c->noise);
	free(c->head);
	sodium_memzero(c, sizeof(*c));
	free(c);
}

void conn_close(struct conn *c)
{
	if (!c)
		return;
	c->closed = true;
	if (!c->busy)
		conn_free(c);
}

// Begin and end of a call from the stream; within, conn_close only marks.
static void leave(struct conn *c)
{
	c->busy = false;
	if (c->closed)
		conn_free(c);
}

static void fail(struct conn *c, const struct trouble *trouble)
{
	stream_close(c->stream);
	c->stream = NULL;
	if (!c->closed)
		c->events.closed(c->events.arg, trouble);
}

static void fail_text(struct conn *c, enum coord_trouble kind, const char *text)
{
	struct trouble trouble;

	trouble_set(&trouble, kind, "%s", text);
	fail(c, &trouble);
}

static void announce(struct conn *c)
{
	if (c->up)
		return;
	c->up = true;
	c->events.up(c->events.arg);
}

// The handshake's answer may bring the first record along.
static int on_plain(void *arg, const uint8_t *bytes, size_t len)
{
	struct conn *const c = arg;

	announce(c);
	return c->closed ? -ECANCELED : c->events.data(c->events.arg, bytes, len);
}

static void on_connected(void *arg)
{
	struct conn *const c = arg;
	const struct iovec request = {c->request, strlen(c->request)};

	c->busy = true;
	if (stream_write(c->stream, &request, 1))
		fail_text(c, COORD_TROUBLE_CLOSED, "the connection takes no bytes");
	leave(c);
}

static enum coord_trouble noise_trouble(int error, const struct conn *c)
{
	if (error == -ECONNREFUSED) // the server's own words
		return strstr(ts2021_error(c->noise), "version") ? COORD_TROUBLE_VERSION
								 : COORD_TROUBLE_REFUSED;
	if (error == -ECONNRESET && !c->up) // headscale closes so before an old version
		return COORD_TROUBLE_VERSION;
	return error == -ECONNRESET || !error ? COORD_TROUBLE_CLOSED : COORD_TROUBLE_PROTOCOL;
}

static void noise_take(struct conn *c, const uint8_t *bytes, size_t len)
{
	const int error = ts2021_feed(c->noise, bytes, len);

	if (c->closed)
		return;
	if (error)
		fail_text(c, noise_trouble(error, c), ts2021_error(c->noise));
	else if (ts2021_established(c->noise))
		announce(c);
}

static void answer_judge(struct conn *c, const struct http_head *head)
{
	struct trouble trouble;

	if (head->status != 101)
		trouble_status(&trouble, "POST /ts2021", head->status, head->location);
	else
		trouble_set(&trouble, COORD_TROUBLE_WRONG_SERVER,
			"the server switched to '%s', not to %s", head->upgrade, protocol);
	fail(c, &trouble);
}

// Up to the end of the head; what stands behind it belongs to the handshake.
static void head_take(struct conn *c, const uint8_t *bytes, size_t len)
{
	const size_t room = HTTP_HEAD_MAX - c->head_len, n = len < room ? len : room,
		     before = c->head_len;
	struct http_head head;

	memcpy(c->head + c->head_len, bytes, n);
	c->head_len += n;
	const long head_len = http_head_parse(c->head, c->head_len, &head);
	if (head_len == 0)
		return;
	if (head_len < 0) {
		fail_text(c, COORD_TROUBLE_WRONG_SERVER,
			head_len == -EMSGSIZE ? "the answer's head has no end"
			: c->tls	      ? "what answers there does not speak HTTP/1.1"
					      : "what answers there does not speak HTTP/1.1 "
						"(perhaps TLS: try https://)");
		return;
	}
	free(c->head);
	c->head = NULL;
	if (head.status != 101 || strcasecmp(head.upgrade, protocol) != 0)
		answer_judge(c, &head);
	else
		noise_take(
			c, bytes + ((size_t)head_len - before), len - ((size_t)head_len - before));
}

static void on_data(void *arg, const uint8_t *bytes, size_t len)
{
	struct conn *const c = arg;

	c->busy = true;
	if (c->head)
		head_take(c, bytes, len);
	else
		noise_take(c, bytes, len);
	leave(c);
}

static void on_drained(void *arg)
{
	struct conn *const c = arg;

	c->busy = true;
	if (c->up)
		c->events.drained(c->events.arg);
	leave(c);
}

static void on_closed(void *arg, int error, const char *why)
{
	struct conn *const c = arg;
	struct trouble trouble;

	c->busy = true;
	if (error) {
		trouble_net(&trouble, error, why);
		fail(c, &trouble);
	} else if (c->head) {
		fail_text(c, COORD_TROUBLE_CLOSED,
			c->head_len ? "EOF within the answer to POST /ts2021"
				    : "EOF instead of an answer to POST /ts2021");
	} else {
		const int eof = ts2021_eof(c->noise);
		fail_text(c, noise_trouble(eof, c),
			eof ? ts2021_error(c->noise) : "the server closed the connection");
	}
	leave(c);
}

static int noise_start(struct conn *c, const struct conn_options *o,
	uint8_t initiation[static TS2021_INITIATION_LEN])
{
	const struct ts2021_events events = {.data = on_plain, .arg = c};
	struct ts2021_keys keys = {
		.machine_private = *o->machine_private, .server_public = *o->server_public};

	x25519_generate(keys.ephemeral_private.bytes);
	const int error = ts2021_create(&c->noise, &keys, o->version, &events, initiation);
	sodium_memzero(&keys, sizeof(keys));
	return error;
}

static int conn_start(struct conn *c, struct net *net, const struct conn_options *o)
{
	const struct stream_events events = {on_connected, on_data, on_drained, on_closed, c};
	const struct stream_target target = {
		.host = o->url->host,
		.port = o->port,
		.tls = o->tls,
		.any_certificate = true, // Noise authenticates
		.timeout_ms = o->timeout_ms,
	};
	uint8_t initiation[TS2021_INITIATION_LEN];
	char text[INITIATION_TEXT_LEN];

	c->head = malloc(HTTP_HEAD_MAX);
	if (!c->head)
		return -ENOMEM;
	const int error = noise_start(c, o, initiation);
	if (error)
		return error;
	sodium_bin2base64(
		text, sizeof(text), initiation, sizeof(initiation), sodium_base64_VARIANT_ORIGINAL);
	snprintf(c->request, sizeof(c->request),
		"POST /ts2021 HTTP/1.1\r\nHost: %s\r\nConnection: upgrade\r\nUpgrade: %s\r\n"
		"X-Tailscale-Handshake: %s\r\nContent-Length: 0\r\n\r\n",
		o->url->authority, protocol, text);
	return stream_open(&c->stream, net, &target, &events);
}

int conn_open(struct conn **out, struct net *net, const struct conn_options *o,
	const struct conn_events *events)
{
	struct conn *const c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->events = *events;
	c->tls = o->tls;
	const int error = conn_start(c, net, o);
	if (error) {
		conn_free(c);
		return error;
	}
	*out = c;
	return 0;
}

void conn_set_events(struct conn *c, const struct conn_events *events)
{
	c->events = *events;
}

// Record by record, so that no buffer has to hold it all.
int conn_write(struct conn *c, const void *plain, size_t len)
{
	static uint8_t sealed[2 * WRITE_PIECE];
	const uint8_t *from = plain;

	if (!c->stream)
		return -ENOTCONN;
	while (len) {
		const size_t n = len < WRITE_PIECE ? len : WRITE_PIECE;
		const long sealed_len = ts2021_send(c->noise, from, n, sealed, sizeof(sealed));
		if (sealed_len < 0)
			return (int)sealed_len;
		const struct iovec part = {sealed, (size_t)sealed_len};
		const int error = stream_write(c->stream, &part, 1);
		if (error)
			return error;
		from += n;
		len -= n;
	}
	return 0;
}

size_t conn_queued(const struct conn *c)
{
	return c->stream ? stream_queued(c->stream) : 0;
}
