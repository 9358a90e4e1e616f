#include "control/dns/serve.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <unistd.h>

#include "control/dns/sockaddr.h"
#include "dataplane/base/mem.h"

struct connection {
	LIST_ENTRY(connection) entry;
	struct serve *serve;
	struct bufferevent *be;
	struct dns_client client;
	unsigned waiting; // queries without answer
};

// A datagram whose answer is on its way.
struct asked {
	LIST_ENTRY(asked) entry;
	struct serve *serve;
	struct sockaddr_storage from;
	socklen_t from_len;
};

struct serve { // ctl only
	struct dns *dns;
	enum dns_asker who;
	struct ip_addr own; // family IP_NONE: everybody may ask
	int fd;
	struct event *event;
	struct evconnlistener *listener;
	LIST_HEAD(, connection) connections;
	LIST_HEAD(, asked) asked;
	unsigned n_connections;
	struct serve_counters counters;
	// What was read, and the answers that go out together.
	struct mmsghdr in[SERVE_BURST], out[SERVE_BURST];
	struct iovec in_at[SERVE_BURST], out_at[SERVE_BURST];
	struct sockaddr_storage from[SERVE_BURST], to[SERVE_BURST];
	uint8_t query[SERVE_BURST][DNS_QUERY_MAX + 1];
	uint8_t answer[SERVE_BURST][DNS_QUERY_MAX];
	unsigned n_out;
	bool gathers; // a burst is being worked off
};

// What this machine sends to an address of its own comes from that address, or a loopback one; the
// kernel lets nothing of the kind in from outside.
static bool is_foreign(struct serve *s, const struct ip_addr *from)
{
	if (s->own.family == IP_NONE || ip_addr_equal(&s->own, from) || ip_addr_is_loopback(from))
		return false;
	s->counters.foreign++;
	return true;
}

// -- UDP ------------------------------------------------------------------------------------------

static void send_burst(struct serve *s)
{
	unsigned sent = 0;

	while (sent < s->n_out) {
		const int n = sendmmsg(s->fd, s->out + sent, s->n_out - sent, MSG_DONTWAIT);
		if (n <= 0) { // this one not; the next may be somebody else's
			s->counters.unsent++;
			sent++;
		} else {
			sent += (unsigned)n;
		}
	}
	s->n_out = 0;
}

static void gather(struct serve *s, const struct asked *a, const uint8_t *answer, size_t len)
{
	const unsigned i = s->n_out++;

	memcpy(s->answer[i], answer, len);
	s->to[i] = a->from;
	s->out_at[i] = (struct iovec){s->answer[i], len};
	s->out[i].msg_hdr = (struct msghdr){.msg_name = &s->to[i],
		.msg_namelen = a->from_len,
		.msg_iov = &s->out_at[i],
		.msg_iovlen = 1};
}

static void on_answer(void *arg, const uint8_t *answer, size_t len)
{
	struct asked *a = arg;
	struct serve *s = a->serve;

	if (len && s->gathers && s->n_out < SERVE_BURST && len <= DNS_QUERY_MAX)
		gather(s, a, answer, len);
	else if (len && sendto(s->fd, answer, len, MSG_DONTWAIT, (struct sockaddr *)&a->from,
				a->from_len) < 0)
		s->counters.unsent++;
	LIST_REMOVE(a, entry);
	free(a);
}

static void take(struct serve *s, const struct mmsghdr *m)
{
	const struct dns_client client = {
		.who = s->who, .addr = dns_address_of(m->msg_hdr.msg_name)};

	if (is_foreign(s, &client.addr))
		return;
	if (m->msg_len > DNS_QUERY_MAX) {
		s->counters.oversized++;
		return;
	}
	struct asked *a = malloc(sizeof(*a));
	if (!a)
		abort();
	*a = (struct asked){.serve = s, .from_len = m->msg_hdr.msg_namelen};
	memcpy(&a->from, m->msg_hdr.msg_name, a->from_len);
	LIST_INSERT_HEAD(&s->asked, a, entry);
	s->counters.udp++;
	dns_answer(s->dns, &client, m->msg_hdr.msg_iov->iov_base, m->msg_len, on_answer, a);
}

static void on_datagrams(evutil_socket_t fd, short, void *arg)
{
	struct serve *s = arg;

	for (unsigned i = 0; i < SERVE_BURST; i++) {
		s->in_at[i] = (struct iovec){s->query[i], sizeof(s->query[i])};
		s->in[i].msg_hdr = (struct msghdr){.msg_name = &s->from[i],
			.msg_namelen = sizeof(s->from[i]),
			.msg_iov = &s->in_at[i],
			.msg_iovlen = 1};
	}
	const int n = recvmmsg(fd, s->in, SERVE_BURST, MSG_DONTWAIT, NULL);
	s->gathers = true;
	for (int i = 0; i < n; i++)
		take(s, &s->in[i]);
	s->gathers = false;
	send_burst(s);
}

// -- TCP ------------------------------------------------------------------------------------------

static void connection_free(struct connection *c)
{
	dns_cancel(c->serve->dns, c);
	LIST_REMOVE(c, entry);
	c->serve->n_connections--;
	bufferevent_free(c->be);
	free(c);
}

static void on_stream_answer(void *arg, const uint8_t *answer, size_t len)
{
	struct connection *c = arg;
	const uint8_t head[2] = {(uint8_t)(len >> 8), (uint8_t)len};

	if (len) {
		bufferevent_write(c->be, head, sizeof(head));
		bufferevent_write(c->be, answer, len);
	}
	if (c->waiting-- == SERVE_PIPELINE_MAX) { // what was left unread
		bufferevent_enable(c->be, EV_READ);
		bufferevent_trigger(c->be, EV_READ, BEV_OPT_DEFER_CALLBACKS);
	}
}

// Queries as they come; the answers go out as they come.
static void on_bytes(struct bufferevent *be, void *arg)
{
	struct connection *c = arg;
	struct evbuffer *in = bufferevent_get_input(be);
	uint8_t head[2], query[DNS_QUERY_MAX];

	while (c->waiting < SERVE_PIPELINE_MAX && evbuffer_copyout(in, head, 2) == 2) {
		const size_t len = (size_t)head[0] << 8 | head[1];
		if (len > DNS_QUERY_MAX) {
			c->serve->counters.oversized++;
			connection_free(c);
			return;
		}
		if (evbuffer_get_length(in) < len + 2)
			return;
		evbuffer_drain(in, 2);
		evbuffer_remove(in, query, len);
		c->serve->counters.tcp++;
		c->waiting++;
		dns_answer(c->serve->dns, &c->client, query, len, on_stream_answer, c);
	}
	if (c->waiting >= SERVE_PIPELINE_MAX)
		bufferevent_disable(be, EV_READ);
}

static void on_end(struct bufferevent *, short, void *arg)
{
	connection_free(arg);
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *from,
	int len, void *arg)
{
	static const struct timeval idle = {.tv_sec = SERVE_IDLE_S};
	struct serve *s = arg;
	struct sockaddr_storage sa = {0};

	memcpy(&sa, from, (size_t)len < sizeof(sa) ? (size_t)len : sizeof(sa));
	const struct ip_addr addr = dns_address_of(&sa);
	if (s->n_connections == SERVE_CONNECTIONS_MAX || is_foreign(s, &addr)) {
		s->counters.refused++;
		close(fd);
		return;
	}
	struct connection *c = mem_alloc(sizeof(*c));
	*c = (struct connection){
		.serve = s, .client = {.who = s->who, .addr = addr, .stream = true}};
	c->be = bufferevent_socket_new(evconnlistener_get_base(listener), fd,
		BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
	if (!c->be)
		abort();
	LIST_INSERT_HEAD(&s->connections, c, entry);
	s->n_connections++;
	bufferevent_setcb(c->be, on_bytes, NULL, on_end, c);
	// A client that does not read its answers is as idle as one that asks nothing.
	bufferevent_set_timeouts(c->be, &idle, &idle);
	bufferevent_setwatermark(c->be, EV_READ, 0, 4 * DNS_QUERY_MAX);
	bufferevent_enable(c->be, EV_READ | EV_WRITE);
}

// -- the whole ------------------------------------------------------------------------------------

static int bind_socket(const struct endpoint *at, int type)
{
	const int on = 1, room = 1 << 20;
	struct sockaddr_storage sa;
	const socklen_t len = dns_sockaddr(at, &sa);
	const bool v6 = sa.ss_family == AF_INET6;
	const int fd = socket(sa.ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	bool well = fd >= 0;

	if (well && type == SOCK_STREAM)
		well = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0;
	// The address may come later, or go for a while.
	well = well && (v6 ? setsockopt(fd, IPPROTO_IPV6, IPV6_FREEBIND, &on, sizeof(on))
			   : setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof(on))) == 0;
	well = well && bind(fd, (struct sockaddr *)&sa, len) == 0;
	if (well)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room)); // at best
	if (well)
		return fd;
	const int error = errno;
	if (fd >= 0)
		close(fd);
	return -error;
}

int serve_open(struct serve **out, struct dns *dns, struct event_base *base,
	const struct endpoint *at, enum dns_asker who, bool own_only)
{
	struct serve *s = mem_alloc(sizeof(*s));

	s->dns = dns;
	s->who = who;
	if (own_only)
		s->own = at->addr;
	LIST_INIT(&s->connections);
	LIST_INIT(&s->asked);
	s->fd = bind_socket(at, SOCK_DGRAM);
	const int tcp = s->fd < 0 ? s->fd : bind_socket(at, SOCK_STREAM);
	int error = tcp < 0 ? tcp : 0;
	if (!error) {
		s->listener = evconnlistener_new(
			base, on_accept, s, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, -1, tcp);
		s->event = event_new(base, s->fd, EV_READ | EV_PERSIST, on_datagrams, s);
		if (!s->listener)
			close(tcp);
		if (!s->listener || !s->event || event_add(s->event, NULL) < 0)
			error = -ENOMEM;
	}
	if (error) {
		serve_close(s);
		return error;
	}
	*out = s;
	return 0;
}

void serve_close(struct serve *s)
{
	if (!s)
		return;
	while (!LIST_EMPTY(&s->connections))
		connection_free(LIST_FIRST(&s->connections));
	for (struct asked *a; (a = LIST_FIRST(&s->asked));) {
		dns_cancel(s->dns, a);
		LIST_REMOVE(a, entry);
		free(a);
	}
	if (s->listener)
		evconnlistener_free(s->listener);
	if (s->event)
		event_free(s->event);
	if (s->fd >= 0)
		close(s->fd);
	free(s);
}

void serve_count(const struct serve *s, struct serve_counters *out)
{
	*out = s->counters;
}
