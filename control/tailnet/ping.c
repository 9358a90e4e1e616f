// Pings for people and for the server: disco by the mesh, TSMP through the tunnel, ICMP through the
// host's own stack and the tunnel, peerAPI over HTTP.
#include <errno.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control/tailnet/priv.h"
#include "dataplane/base/mem.h"
#include "dataplane/wire/csum.h"

struct tn_ping {
	struct tailnet *t;
	struct tn_ping *next;
	struct tailnet_pong pong;
	struct key node;
	enum tailnet_ping_type type;
	uint64_t begin_ns, end_ns;
	uint8_t data[8]; // what the answer carries
	int fd;		 // ICMP
	struct event *readable;
	struct fetch *fetch;
	bool in_mesh; // ended by mesh_ping alone
	void (*done)(void *arg, const struct tailnet_pong *);
	void *arg;
};

static void finish(struct tn_ping *p, const char *error)
{
	struct tailnet *t = p->t;
	struct tn_ping **at = &t->pings;
	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	t->n_pings--;
	if (error)
		snprintf(p->pong.error, sizeof(p->pong.error), "%s", error);
	else if (p->pong.seconds == 0)
		p->pong.seconds = (double)(tn_now_ns(t) - p->begin_ns) / 1e9;
	// The netmap may have changed meanwhile.
	p->pong.peer = key_is_zero(&p->node) ? NULL : netmap_peer_by_key(t->netmap, &p->node);
	if (p->readable)
		event_free(p->readable);
	if (p->fd >= 0)
		close(p->fd);
	fetch_cancel(p->fetch);
	p->done(p->arg, &p->pong);
	free(p);
}

static void mesh_done(void *arg, const struct mesh_pong *m)
{
	struct tn_ping *p = arg;
	p->pong.seconds = (double)m->latency_ns / 1e9;
	p->pong.endpoint = m->addr.to;
	p->pong.relay_vni = m->addr.vni;
	p->pong.derp_region = m->region;
	finish(p, m->error == 0		   ? NULL
		  : m->error == -ETIMEDOUT ? "timed out"
		  : m->error == -EMSGSIZE  ? "ping size too big"
					   : "no way to the peer is known");
}

void tn_tsmp_pong(struct tailnet *t, const struct nm_peer *peer, const uint8_t data[static 8],
	uint16_t peerapi_port)
{
	for (struct tn_ping *p = t->pings; p; p = p->next) {
		if (p->type != TAILNET_PING_TSMP || memcmp(p->data, data, sizeof(p->data)) != 0 ||
			memcmp(&p->node, &peer->node->key, sizeof(p->node)) != 0)
			continue;
		p->pong.peerapi_port = peerapi_port;
		finish(p, NULL);
		return;
	}
}

static void on_echo(evutil_socket_t fd, short, void *arg)
{
	struct tn_ping *p = arg;
	uint8_t answer[1500];
	ssize_t n = recv(fd, answer, sizeof(answer), 0);
	// An IPv4 raw socket gives the IP header as well.
	size_t at = n > 0 && answer[0] >> 4 == 4 && p->data[0] == 4 ? (answer[0] & 15) * 4u : 0;
	uint8_t type = p->data[0] == 4 ? ICMP_ECHOREPLY : ICMP6_ECHO_REPLY;
	if (n < (ssize_t)at + 8 || answer[at] != type ||
		memcmp(answer + at + 4, p->data + 4, 4) != 0)
		return;
	finish(p, NULL);
}

// data[0]: family; data[4..7]: identifier and sequence number.
static int icmp_begin(struct tn_ping *p, const struct ip_addr *to)
{
	bool v4 = to->family == IP_V4;
	struct sockaddr_in a4 = {.sin_family = AF_INET};
	struct sockaddr_in6 a6 = {.sin6_family = AF_INET6};
	uint8_t echo[16] = {v4 ? ICMP_ECHO : ICMP6_ECHO_REQUEST};
	memcpy(&a4.sin_addr, to->bytes, 4);
	memcpy(&a6.sin6_addr, to->bytes, 16);
	p->data[0] = (uint8_t)to->family;
	memcpy(echo + 4, p->data + 4, 4);
	uint16_t sum = csum_finish(csum_add(echo, sizeof(echo), 0));
	memcpy(echo + 2, &sum, sizeof(sum)); // the kernel writes that of ICMPv6
	p->fd = socket(v4 ? AF_INET : AF_INET6, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK,
		v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
	if (p->fd < 0)
		return -errno;
	int r = v4 ? connect(p->fd, (struct sockaddr *)&a4, sizeof(a4))
		   : connect(p->fd, (struct sockaddr *)&a6, sizeof(a6));
	if (r < 0 || send(p->fd, echo, sizeof(echo), 0) < 0)
		return -errno;
	p->readable = event_new(p->t->params.base, p->fd, EV_READ | EV_PERSIST, on_echo, p);
	return p->readable && event_add(p->readable, NULL) == 0 ? 0 : -ENOMEM;
}

static void on_peerapi(void *arg, const struct fetch_answer *a)
{
	struct tn_ping *p = arg;
	char why[160];
	p->fetch = NULL;
	snprintf(why, sizeof(why), "HTTP status %d", a->status);
	finish(p, a->error ? a->why : a->status == 200 ? NULL : why);
}

static int peerapi_begin(struct tn_ping *p, const struct nm_peer *peer, unsigned timeout_ms)
{
	char host[ADDR_TEXT_LEN];
	for (uint32_t i = 0; i < peer->node->n_addresses; i++) {
		const struct ip_addr *a = &peer->node->addresses[i].addr;
		uint16_t port = a->family == IP_V4 ? peer->node->peerapi4 : peer->node->peerapi6;
		if (port == 0 || p->pong.peerapi_url[0])
			continue;
		ip_addr_format(a, host);
		snprintf(p->pong.peerapi_url, sizeof(p->pong.peerapi_url),
			a->family == IP_V4 ? "http://%s:%u" : "http://[%s]:%u", host, port);
	}
	if (!p->pong.peerapi_url[0])
		return -ENOENT;
	const struct fetch_request r = {.method = "HEAD",
		.url = p->pong.peerapi_url,
		.max = 4096,
		.timeout_ms = timeout_ms,
		.inside = true};
	return fetch_start(&p->fetch, p->t->net, &r, on_peerapi, p);
}

// NULL, or why there is nothing to wait for.
static const char *begin(struct tn_ping *p, const struct ip_addr *to, const struct nm_peer *peer,
	unsigned timeout_ms)
{
	uint8_t body[9] = {'p'};
	int r;
	switch (p->type) {
	case TAILNET_PING_TSMP:
		memcpy(body + 1, p->data, sizeof(p->data));
		tn_tsmp_send(p->t, peer, (enum ip_family)to->family, body, sizeof(body));
		return NULL;
	case TAILNET_PING_ICMP:
		r = icmp_begin(p, to);
		return r < 0 ? strerror(-r) : NULL;
	case TAILNET_PING_PEERAPI:
		r = peerapi_begin(p, peer, timeout_ms);
		return r == -ENOENT ? "the peer has no peerAPI" : r < 0 ? strerror(-r) : NULL;
	default:
		return NULL;
	}
}

void tailnet_ping(struct tailnet *t, const struct ip_addr *to, enum tailnet_ping_type type,
	unsigned size, unsigned timeout_ms, void (*done)(void *arg, const struct tailnet_pong *),
	void *arg)
{
	const struct nm_peer *peer = tailnet_peer_of(t, to);
	struct tailnet_pong no = {.is_local = tn_is_own(t, to)};
	const char *why = no.is_local ? "" // whoever asked says so

			  : !peer	   ? "no matching peer"
			  : !t->active	   ? "not running"
			  : peer->unusable ? nm_unusable_text((enum nm_unusable)peer->unusable)
			  : t->n_pings == TN_PINGS_MAX ? "too many pings at once"
						       : NULL;
	if (why) {
		snprintf(no.error, sizeof(no.error), "%s", why);
		no.peer = peer;
		done(arg, &no);
		return;
	}
	struct tn_ping *p = mem_alloc(sizeof(*p));
	*p = (struct tn_ping){
		.t = t,
		.next = t->pings,
		.node = peer->node->key,
		.type = type,
		.begin_ns = tn_now_ns(t),
		.fd = -1,
		.in_mesh = type == TAILNET_PING_DISCO,
		.done = done,
		.arg = arg,
	};
	p->end_ns = p->begin_ns + timeout_ms * UINT64_C(1000000);
	randombytes_buf(p->data, sizeof(p->data));
	t->pings = p;
	t->n_pings++;
	if (p->in_mesh) {
		mesh_ping(t->mesh, &p->node, size, timeout_ms, mesh_done, p);
		return;
	}
	why = begin(p, to, peer, timeout_ms);
	if (why)
		finish(p, why);
}

void tn_ping_tick(struct tailnet *t)
{
	uint64_t now = tn_now_ns(t);
	for (struct tn_ping *p = t->pings, *next; p; p = next) {
		next = p->next;
		if (!p->in_mesh && now >= p->end_ns) {
			finish(p, "timed out");
			next = t->pings; // whoever was told may have begun or ended others
		}
	}
}

void tn_ping_end(struct tailnet *t)
{
	while (t->pings)
		finish(t->pings, "the daemon stops");
}
