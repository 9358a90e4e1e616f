// Resolvers on 127.0.0.1 that behave as a test tells them: by UDP, TCP and HTTP.
#pragma once

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/dns_text.h"

enum behaviour {
	SAYS_WELL,
	SAYS_NOTHING,
	SAYS_SERVFAIL,
	SAYS_CUT,	  // TC
	SAYS_OTHER_ID,	  // strays first, then well
	SAYS_OTHER_NAME,  // ... likewise
	SAYS_OTHER_CASE,  // as servers do that do not keep the letters
	SAYS_STRAYS_ONLY, // more than anybody would listen to
	SAYS_GARBAGE,
	SAYS_LESS, // half of an answer, then the end
	SAYS_HUGE, // more than a message can have
	SAYS_404,
};

struct resolver {
	struct event_base *base;
	enum behaviour udp, tcp, http;
	unsigned asked_udp, asked_tcp, asked_http;
	uint8_t last; // byte of the address that it answers
	uint32_t ttl;
	uint16_t port, http_port;
	uint16_t source[64]; // ports that queries came from
	uint16_t id[64];
	int fd;
	struct event *event;
	struct evconnlistener *listener;
	struct evhttp *web;
};

static inline struct message resolver_answer(
	const struct resolver *r, const uint8_t *q, size_t len, enum behaviour b)
{
	struct message question = {.len = len}, m;
	const uint8_t address[4] = {10, 9, 8, r->last};
	memcpy(question.bytes, q, len);
	m = reply_to(&question, b == SAYS_SERVFAIL ? ns_r_servfail : 0);
	if (b == SAYS_CUT)
		m.bytes[2] |= 2;
	else if (b != SAYS_SERVFAIL)
		put_record(&m, 0, ns_t_a, r->ttl, address, 4);
	if (b == SAYS_OTHER_ID)
		m.bytes[0] ^= 1;
	if (b == SAYS_OTHER_NAME)
		m.bytes[14] ^= 1;
	for (unsigned i = 13; b == SAYS_OTHER_CASE && m.bytes[i] && i < 40; i++)
		m.bytes[i] = m.bytes[i] >= 'a' && m.bytes[i] <= 'z'   ? m.bytes[i] - 32
			     : m.bytes[i] >= 'A' && m.bytes[i] <= 'Z' ? m.bytes[i] + 32
								      : m.bytes[i];
	if (b == SAYS_GARBAGE)
		memset(m.bytes, 0xff, m.len);
	return m;
}

static inline void on_resolver_udp(evutil_socket_t fd, short, void *arg)
{
	struct resolver *r = arg;
	uint8_t q[DNS_TEST_MAX];
	struct sockaddr_in from;
	socklen_t from_len = sizeof(from);
	const ssize_t n = recvfrom(fd, q, sizeof(q), 0, (struct sockaddr *)&from, &from_len);
	const unsigned strays = r->udp == SAYS_STRAYS_ONLY			       ? 40
				: r->udp == SAYS_OTHER_ID || r->udp == SAYS_OTHER_NAME ? 3
										       : 0;
	if (n < DNS_HEADER_LEN)
		return;
	r->source[r->asked_udp % 64] = ntohs(from.sin_port);
	memcpy(&r->id[r->asked_udp++ % 64], q, 2);
	if (r->udp == SAYS_NOTHING)
		return;
	for (unsigned i = 0; i < strays; i++) {
		const struct message bad = resolver_answer(
			r, q, (size_t)n, r->udp == SAYS_STRAYS_ONLY ? SAYS_OTHER_ID : r->udp);
		sendto(fd, bad.bytes, bad.len, 0, (struct sockaddr *)&from, from_len);
	}
	if (r->udp == SAYS_STRAYS_ONLY)
		return;
	const struct message m = resolver_answer(r, q, (size_t)n, strays ? SAYS_WELL : r->udp);
	sendto(fd, m.bytes, m.len, 0, (struct sockaddr *)&from, from_len);
}

static inline void on_resolver_tcp(struct bufferevent *be, void *arg)
{
	struct resolver *r = arg;
	struct evbuffer *in = bufferevent_get_input(be);
	uint8_t q[DNS_TEST_MAX];
	if (evbuffer_get_length(in) < 2)
		return;
	evbuffer_copyout(in, q, 2);
	const size_t len = (size_t)q[0] << 8 | q[1];
	if (evbuffer_get_length(in) < len + 2)
		return;
	evbuffer_drain(in, 2);
	evbuffer_remove(in, q, len);
	r->asked_tcp++;
	if (r->tcp == SAYS_NOTHING)
		return;
	const struct message m = resolver_answer(r, q, len, r->tcp);
	const uint8_t head[2] = {(uint8_t)(m.len >> 8), (uint8_t)m.len};
	bufferevent_write(be, head, 2);
	bufferevent_write(be, m.bytes, r->tcp == SAYS_LESS ? m.len / 2 : m.len);
	if (r->tcp == SAYS_LESS)
		shutdown(bufferevent_getfd(be), SHUT_RD);
}

static inline void on_resolver_end(struct bufferevent *be, short, void *)
{
	bufferevent_free(be);
}

static inline void on_resolver_accept(
	struct evconnlistener *, evutil_socket_t fd, struct sockaddr *, int, void *arg)
{
	struct resolver *r = arg;
	struct bufferevent *be = bufferevent_socket_new(r->base, fd, BEV_OPT_CLOSE_ON_FREE);
	bufferevent_setcb(be, on_resolver_tcp, NULL, on_resolver_end, r);
	bufferevent_enable(be, EV_READ | EV_WRITE);
}

static inline void on_resolver_http(struct evhttp_request *req, void *arg)
{
	struct resolver *r = arg;
	struct evbuffer *in = evhttp_request_get_input_buffer(req), *out = evbuffer_new();
	uint8_t q[DNS_TEST_MAX];
	const ev_ssize_t len = evbuffer_remove(in, q, sizeof(q));
	r->asked_http++;
	if (r->http == SAYS_NOTHING) {
		evbuffer_free(out);
		return; // the request stays open
	}
	const struct message m = resolver_answer(r, q, (size_t)len, r->http);
	evbuffer_add(out, m.bytes, m.len);
	for (unsigned i = 0; r->http == SAYS_HUGE && i < 100; i++)
		evbuffer_add(out, q, 1000);
	evhttp_add_header(evhttp_request_get_output_headers(req), "Content-Type",
		r->http == SAYS_OTHER_NAME ? "text/html" : "application/dns-message");
	evhttp_send_reply(req, r->http == SAYS_404 ? 404 : 200, "x", out);
	evbuffer_free(out);
}

static inline void resolver_start(struct resolver *r, struct event_base *base, uint8_t last)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(sa);
	*r = (struct resolver){.base = base, .last = last, .ttl = 60};
	for (unsigned i = 0; i < 50 && !r->listener; i++) { // a port that both have
		r->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
		sa.sin_port = 0;
		if (bind(r->fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
			getsockname(r->fd, (struct sockaddr *)&sa, &len) < 0)
			abort();
		r->listener = evconnlistener_new_bind(base, on_resolver_accept, r,
			LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE, -1, (struct sockaddr *)&sa,
			sizeof(sa));
		if (!r->listener)
			close(r->fd);
	}
	r->port = ntohs(sa.sin_port);
	r->event = event_new(base, r->fd, EV_READ | EV_PERSIST, on_resolver_udp, r);
	event_add(r->event, NULL);
	r->web = evhttp_new(base);
	evhttp_set_gencb(r->web, on_resolver_http, r);
	struct evhttp_bound_socket *at = evhttp_bind_socket_with_handle(r->web, "127.0.0.1", 0);
	getsockname(evhttp_bound_socket_get_fd(at), (struct sockaddr *)&sa, &len);
	r->http_port = ntohs(sa.sin_port);
}

static inline void resolver_stop(struct resolver *r)
{
	event_free(r->event);
	close(r->fd);
	evconnlistener_free(r->listener);
	evhttp_free(r->web);
}
