// One question to one resolver, by one transport.
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <netinet/in.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control/dns/forward_priv.h"
#include "control/dns/sockaddr.h"
#include "dataplane/base/mem.h"

const char *dns_how_text(enum dns_how how)
{
	static const char *const names[DNS_HOWS] = {"doh", "udp", "tcp"};

	return names[how];
}

static int read_reply(struct dns_attempt *a, const uint8_t *message, size_t len, bool same_case)
{
	return dns_reply_read(message, len, a->question, a->question_len - DNS_OPT_LEN, same_case,
		&a->flight->forward->reply);
}

// -- UDP ------------------------------------------------------------------------------------------

static void on_datagram(evutil_socket_t fd, short, void *arg)
{
	struct dns_attempt *a = arg;
	struct dns_forward *f = a->flight->forward;

	for (;;) {
		const ssize_t n = recv(fd, f->datagram, sizeof(f->datagram), MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n < 0) {
			dns_attempt_failed(a, strerror(errno));
			return;
		}
		if (read_reply(a, f->datagram, (size_t)n, true) == 0) {
			if (f->reply.truncated)
				dns_attempt_to_tcp(a);
			else
				dns_attempt_answered(a, f->datagram, &f->reply);
			return;
		}
		f->counters.strays++;
		// A server that does not keep the letters; or somebody guesses.
		if (read_reply(a, f->datagram, (size_t)n, false) == 0 ||
			++a->strays == DNS_STRAYS_MAX) {
			dns_attempt_to_tcp(a);
			return;
		}
	}
}

// A port of its own, which the kernel draws at random, and nobody but the server is heard.
static int start_udp(struct dns_attempt *a, const struct endpoint *to)
{
	struct sockaddr_storage sa;
	const socklen_t len = dns_sockaddr(to, &sa);

	a->fd = socket(sa.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (a->fd < 0 || connect(a->fd, (struct sockaddr *)&sa, len) < 0 ||
		send(a->fd, a->question, a->question_len, 0) < 0)
		return -errno;
	a->event = event_new(a->flight->forward->base, a->fd, EV_READ | EV_PERSIST, on_datagram, a);
	return a->event && event_add(a->event, NULL) == 0 ? 0 : -ENOMEM;
}

// -- TCP ------------------------------------------------------------------------------------------

static void on_bytes(struct bufferevent *be, void *arg)
{
	struct dns_attempt *a = arg;
	struct evbuffer *in = bufferevent_get_input(be);
	struct dns_forward *f = a->flight->forward;
	uint8_t head[2];

	if (evbuffer_copyout(in, head, 2) < 2)
		return;
	const size_t len = (size_t)head[0] << 8 | head[1];
	if (evbuffer_get_length(in) < len + 2)
		return;
	evbuffer_drain(in, 2);
	evbuffer_remove(in, f->datagram, len);
	if (read_reply(a, f->datagram, len, false) == 0 && !f->reply.truncated) {
		dns_attempt_answered(a, f->datagram, &f->reply);
	} else {
		f->counters.bad++;
		dns_attempt_failed(a, "its answer by TCP is not one to the question");
	}
}

static void on_tcp(struct bufferevent *, short what, void *arg)
{
	struct dns_attempt *a = arg;

	if (what & BEV_EVENT_CONNECTED)
		return;
	dns_attempt_failed(a, what & BEV_EVENT_TIMEOUT ? "no answer by TCP in time"
			      : what & BEV_EVENT_ERROR ? strerror(EVUTIL_SOCKET_ERROR())
						       : "closed the TCP connection");
}

static int start_tcp(struct dns_attempt *a, const struct endpoint *to)
{
	const unsigned limit_ms = a->flight->forward->timing.tcp_limit_ms;
	const struct timeval limit = {
		.tv_sec = limit_ms / 1000, .tv_usec = (suseconds_t)(limit_ms % 1000 * 1000)};
	const uint8_t head[2] = {(uint8_t)(a->question_len >> 8), (uint8_t)a->question_len};
	struct sockaddr_storage sa;
	const socklen_t len = dns_sockaddr(to, &sa);

	// Deferred: a connection that fails at once is not told from within.
	a->tcp = bufferevent_socket_new(
		a->flight->forward->base, -1, BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
	if (!a->tcp)
		return -ENOMEM;
	bufferevent_setcb(a->tcp, on_bytes, NULL, on_tcp, a);
	bufferevent_set_timeouts(a->tcp, &limit, &limit);
	if (bufferevent_write(a->tcp, head, 2) < 0 ||
		bufferevent_write(a->tcp, a->question, a->question_len) < 0 ||
		bufferevent_enable(a->tcp, EV_READ | EV_WRITE) < 0 ||
		bufferevent_socket_connect(a->tcp, (struct sockaddr *)&sa, (int)len) < 0)
		return -ECONNREFUSED;
	return 0;
}

// -- HTTPS ----------------------------------------------------------------------------------------

static void on_https(void *arg, const uint8_t *answer, size_t len, const char *why)
{
	struct dns_attempt *a = arg;
	struct dns_forward *f = a->flight->forward;

	a->job = NULL;
	if (why[0]) {
		dns_attempt_failed(a, why);
	} else if (read_reply(a, answer, len, false) == 0) {
		dns_attempt_answered(a, answer, &f->reply);
	} else {
		f->counters.bad++;
		dns_attempt_failed(a, "its answer by HTTPS is not one to the question");
	}
}

// -- the three ------------------------------------------------------------------------------------

static bool make_question(struct dns_attempt *a)
{
	const struct dns_query *q = &a->flight->query;
	uint8_t mix[32];
	uint16_t id;

	randombytes_buf(mix, sizeof(mix));
	randombytes_buf(&id, sizeof(id));
	if (a->how != DNS_BY_UDP) // nothing to guess there; and the same question can be cached
		memset(mix, 0, sizeof(mix));
	a->question_len = dns_question_write(a->question, sizeof(a->question),
		a->how == DNS_BY_DOH ? 0 : id, q->name, q->type, q->cd, q->dnssec_ok, mix);
	return a->question_len > 0;
}

static int start(struct dns_attempt *a)
{
	struct dns_forward *f = a->flight->forward;
	const struct dns_target *t = &a->flight->targets[a->target];

	if (!make_question(a))
		return -EINVAL;
	switch (a->how) {
	case DNS_BY_DOH:
		f->counters.doh++;
		return f->doh ? doh_ask(f->doh, t, a->question, a->question_len, on_https, a,
					&a->job)
			      : -EOPNOTSUPP;
	case DNS_BY_UDP:
		f->counters.udp++;
		return start_udp(a, &t->plain);
	default:
		f->counters.tcp++;
		return start_tcp(a, &t->plain);
	}
}

int dns_attempt_start(struct dns_flight *flight, unsigned target, enum dns_how how)
{
	struct dns_forward *f = flight->forward;

	if (f->counters.attempts == DNS_ATTEMPTS_MAX)
		return -ENOBUFS;
	struct dns_attempt *a = mem_alloc(sizeof(*a));
	*a = (struct dns_attempt){.flight = flight,
		.target = target,
		.how = how,
		.started_ms = dns_now_ms(),
		.fd = -1};
	LIST_INSERT_HEAD(&flight->attempts, a, entry);
	f->counters.attempts++;
	const int error = start(a);
	if (error)
		dns_attempt_end(a);
	return error;
}

void dns_attempt_end(struct dns_attempt *a)
{
	LIST_REMOVE(a, entry);
	a->flight->forward->counters.attempts--;
	if (a->event)
		event_free(a->event);
	if (a->fd >= 0)
		close(a->fd);
	if (a->tcp)
		bufferevent_free(a->tcp);
	doh_cancel(a->job);
	free(a);
}
