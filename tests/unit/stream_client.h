// A stream under test: what came out of it.
#pragma once

#include "tests/unit/tls_server.h"

enum { CLIENT_TIMEOUT_MS = 30000 };

struct client {
	struct event_base *base;
	struct net *net;
	struct stream *stream;
	bool connected, closed;
	unsigned drained;
	int error;
	char why[STREAM_WHY_LEN];
	uint8_t *data;
	size_t len, room;
	void (*then)(struct client *); // once connected
	// Close the stream from within one of its callbacks.
	enum { CLOSE_NEVER, CLOSE_CONNECTED, CLOSE_DATA, CLOSE_DRAINED, CLOSE_CLOSED } close_in;
};

static inline void close_if(struct client *c, int in)
{
	if ((int)c->close_in != in)
		return;
	stream_close(c->stream);
	c->stream = NULL;
	event_base_loopbreak(c->base);
}

static inline void client_connected(void *arg)
{
	struct client *c = arg;

	assert_false(c->connected || c->closed);
	c->connected = true;
	if (c->then)
		c->then(c);
	close_if(c, CLOSE_CONNECTED);
}

static inline void client_data(void *arg, const uint8_t *bytes, size_t len)
{
	struct client *c = arg;

	assert_true(c->connected && !c->closed && len > 0);
	while (c->len + len > c->room) {
		c->room = c->room ? 2 * c->room : 1 << 20;
		c->data = realloc(c->data, c->room);
	}
	memcpy(c->data + c->len, bytes, len);
	c->len += len;
	close_if(c, CLOSE_DATA);
}

static inline void client_drained(void *arg)
{
	struct client *c = arg;

	assert_true(c->connected && !c->closed);
	c->drained++;
	close_if(c, CLOSE_DRAINED);
}

static inline void client_closed(void *arg, int error, const char *why)
{
	struct client *c = arg;

	assert_false(c->closed);
	c->closed = true;
	c->error = error;
	assert_true(strlen(why) > 0 && strlen(why) < STREAM_WHY_LEN);
	strcpy(c->why, why);
	close_if(c, CLOSE_CLOSED);
	event_base_loopbreak(c->base);
}

static inline void client_begin(struct client *c)
{
	c->base = event_base_new();
	c->net = net_create(c->base);
	assert_non_null(c->net);
}

static inline int client_open(struct client *c, const struct stream_target *t)
{
	const struct stream_events events = {.connected = client_connected,
		.data = client_data,
		.drained = client_drained,
		.closed = client_closed,
		.arg = c};

	return stream_open(&c->stream, c->net, t, &events);
}

static inline void client_end(struct client *c)
{
	stream_close(c->stream);
	net_destroy(c->net);
	event_base_free(c->base);
	free(c->data);
}

// A turn of the loop for so long at most, or until the stream closed.
static inline void client_run(struct client *c, unsigned ms)
{
	const struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

	event_base_loopexit(c->base, &tv);
	event_base_dispatch(c->base);
}
