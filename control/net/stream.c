#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>

#include "control/net/queue.h"
#include "control/net/transfer.h"
#include "dataplane/base/mem.h"

enum {
	READ_PER_TURN = 256 << 10, // bytes, before others of the loop get theirs
	WRITE_PER_TURN = 1 << 20,
	URL_MAX = TLS_CHECK_NAME_MAX + 32,
};

struct stream { // ctl only
	struct transfer transfer;
	struct stream_events events;
	struct event *readable, *writable;
	struct event *again; // TLS holds more bytes, of which the socket knows nothing
	struct queue queue;
	curl_socket_t fd;
	bool tls, open;
	bool unsendable;	   // what the server still said is read, then it ends
	bool inside, close_wanted; // of a callback
};

static void stream_free(struct stream *s)
{
	struct event *events[] = {s->readable, s->writable, s->again};

	for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
		if (events[i])
			event_free(events[i]); // before libcurl closes their socket
	transfer_fini(&s->transfer);
	queue_fini(&s->queue);
	free(s);
}

void stream_close(struct stream *s)
{
	if (!s)
		return;
	if (s->inside)
		s->close_wanted = true;
	else
		stream_free(s);
}

// A callback has returned. true: the stream goes on.
static bool survived(struct stream *s)
{
	s->inside = false;
	if (!s->close_wanted)
		return true;
	stream_free(s);
	return false;
}

static void tell_closed(struct stream *s, int error, const char *why)
{
	s->open = false;
	event_del(s->again);
	if (s->readable)
		event_del(s->readable);
	if (s->writable)
		event_del(s->writable);
	s->inside = true;
	s->events.closed(s->events.arg, error, why);
	survived(s);
}

static void fail(struct stream *s, CURLcode code)
{
	char why[STREAM_WHY_LEN];
	const int error = transfer_explain(&s->transfer, code, why);

	tell_closed(s, error, why);
}

static bool deliver(struct stream *s, size_t len)
{
	s->inside = true;
	s->events.data(s->events.arg, s->transfer.net->buffer, len);
	return survived(s);
}

// As many records as there are and have room. *len bytes came; what ended it is returned.
static CURLcode fill(struct stream *s, size_t *len, bool *eof)
{
	struct net *net = s->transfer.net;
	CURLcode code = CURLE_OK;
	size_t n = 1;

	for (*len = 0; *len < sizeof(net->buffer) && n > 0 && code == CURLE_OK; *len += n) {
		n = 0;
		code = curl_easy_recv(
			s->transfer.easy, net->buffer + *len, sizeof(net->buffer) - *len, &n);
	}
	*eof = code == CURLE_OK && n == 0;
	return code;
}

static void on_readable(evutil_socket_t, short, void *arg)
{
	const struct timeval at_once = {0};
	struct stream *s = arg;
	CURLcode code;
	bool eof;
	size_t len;

	for (size_t total = 0; total < READ_PER_TURN; total += len) {
		code = fill(s, &len, &eof);
		if (len > 0 && !deliver(s, len))
			return;
		if (code == CURLE_AGAIN && s->unsendable)
			code = CURLE_SEND_ERROR;
		if (code == CURLE_AGAIN)
			return;
		if (eof) {
			tell_closed(s, 0, "the server closed the connection");
			return;
		}
		if (code != CURLE_OK) {
			fail(s, code);
			return;
		}
	}
	event_add(s->again, &at_once); // in the loop's next turn
}

static void on_writable(evutil_socket_t, short, void *arg)
{
	struct stream *s = arg;
	CURLcode code = CURLE_OK;
	size_t n;

	for (size_t total = 0; total < WRITE_PER_TURN && queue_len(&s->queue) > 0; total += n) {
		n = 0;
		code = curl_easy_send(
			s->transfer.easy, s->queue.bytes + s->queue.head, queue_len(&s->queue), &n);
		if (code != CURLE_OK)
			break;
		queue_take(&s->queue, n);
	}
	if (code != CURLE_OK && code != CURLE_AGAIN) {
		// Perhaps the server said why before it closed: that is read first.
		s->unsendable = true;
		queue_take(&s->queue, queue_len(&s->queue));
		event_active(s->readable, EV_READ, 0);
		return;
	}
	if (queue_len(&s->queue) > 0) {
		event_add(s->writable, NULL);
		return;
	}
	s->inside = true;
	s->events.drained(s->events.arg);
	survived(s);
}

static void on_connected(void *arg, CURLcode code)
{
	struct stream *s = arg;
	struct event_base *base = s->transfer.net->base;

	if (code == CURLE_OK)
		code = curl_easy_getinfo(s->transfer.easy, CURLINFO_ACTIVESOCKET, &s->fd);
	if (code == CURLE_OK && s->fd == CURL_SOCKET_BAD)
		code = CURLE_COULDNT_CONNECT;
	if (code != CURLE_OK) {
		fail(s, code);
		return;
	}
	s->readable = event_new(base, s->fd, EV_READ | EV_PERSIST, on_readable, s);
	s->writable = event_new(base, s->fd, EV_WRITE, on_writable, s);
	if (!s->readable || !s->writable || event_add(s->readable, NULL) < 0) {
		fail(s, CURLE_OUT_OF_MEMORY);
		return;
	}
	s->open = true;
	event_active(s->again, EV_TIMEOUT, 0); // the server's first bytes may have come with TLS
	s->inside = true;
	s->events.connected(s->events.arg);
	survived(s);
}

// Names and addresses only: nothing that means something else in a URL.
static bool host_valid(const char *host)
{
	if (!host || !host[0] || strlen(host) >= TLS_CHECK_NAME_MAX)
		return false;
	for (; *host; host++)
		if (!isalnum((unsigned char)*host) && !strchr(".-_:", *host))
			return false;
	return true;
}

static int set_up(struct stream *s, struct net *net, const struct stream_target *target)
{
	const bool v6 = strchr(target->host, ':');
	char url[URL_MAX];
	const struct transfer_target t = {
		.url = url,
		.host = target->host,
		.port = target->port,
		.address = target->address,
		.cert = target->cert,
		.any_certificate = target->any_certificate,
	};

	snprintf(url, sizeof(url), v6 ? "%s://[%s]:%u/" : "%s://%s:%u/",
		target->tls ? "https" : "http", target->host, target->port);
	s->again = evtimer_new(net->base, on_readable, s);
	if (!s->again)
		return -ENOMEM;
	const int error = transfer_init(&s->transfer, net, &t, on_connected, s);
	if (error)
		return error;
	CURL *e = s->transfer.easy;
	if (curl_easy_setopt(e, CURLOPT_CONNECT_ONLY, 1L) != CURLE_OK ||
		curl_easy_setopt(e, CURLOPT_HTTPPROXYTUNNEL, 1L) != CURLE_OK ||
		curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)target->timeout_ms) !=
			CURLE_OK)
		return -ENOMEM;
	return transfer_start(&s->transfer);
}

int stream_open(struct stream **out, struct net *net, const struct stream_target *target,
	const struct stream_events *events)
{
	if (!host_valid(target->host) || target->port == 0)
		return -EINVAL;
	struct stream *s = mem_alloc(sizeof(*s));
	s->events = *events;
	s->tls = target->tls;
	s->fd = CURL_SOCKET_BAD;
	const int error = set_up(s, net, target);
	if (error) {
		stream_free(s);
		return error;
	}
	*out = s;
	return 0;
}

int stream_write(struct stream *s, const struct iovec *parts, int n)
{
	if (!s->open || s->unsendable)
		return -ENOTCONN;
	const bool idle = queue_len(&s->queue) == 0;
	const int error = queue_put(&s->queue, parts, n, STREAM_QUEUE_MAX);
	// Once the caller's burst is complete.
	if (!error && idle && queue_len(&s->queue) > 0)
		event_active(s->writable, EV_WRITE, 0);
	return error;
}

size_t stream_queued(const struct stream *s)
{
	return queue_len(&s->queue);
}

void stream_limit_unsent(struct stream *s, unsigned bytes)
{
	if (s->open) // an old kernel only buffers more
		(void)setsockopt(s->fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes, sizeof(bytes));
}

int stream_last_certificate(
	const struct stream *s, char name[static TLS_CHECK_NAME_MAX], uint64_t *serial)
{
	if (!s->tls || !s->transfer.check.has_last)
		return -ENOENT;
	memcpy(name, s->transfer.check.last_name, TLS_CHECK_NAME_MAX);
	*serial = s->transfer.check.last_serial;
	return 0;
}

static struct endpoint endpoint_of(
	curl_socket_t fd, int (*get)(int, struct sockaddr *, socklen_t *))
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
		struct sockaddr_storage room;
	} u = {0};
	socklen_t len = sizeof(u);

	if (fd == CURL_SOCKET_BAD || get(fd, &u.any, &len) < 0)
		return (struct endpoint){0};
	switch (u.any.sa_family) {
	case AF_INET:
		return (struct endpoint){ip_addr_v4(&u.v4.sin_addr), ntohs(u.v4.sin_port)};
	case AF_INET6:
		return (struct endpoint){ip_addr_v6(&u.v6.sin6_addr), ntohs(u.v6.sin6_port)};
	default:
		return (struct endpoint){0};
	}
}

void stream_addresses(const struct stream *s, struct endpoint *local, struct endpoint *remote)
{
	const curl_socket_t fd = s->open ? s->fd : CURL_SOCKET_BAD;

	*local = endpoint_of(fd, getsockname);
	*remote = endpoint_of(fd, getpeername);
}
