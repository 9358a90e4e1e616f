// Pings for people and for the server: disco by the mesh, TSMP through the tunnel, ICMP through the
// host's own stack and the tunnel, peerAPI over HTTP.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "control/tailnet/priv.h"
#include "dataplane/base/mem.h"

struct tn_ping {
	struct tailnet *t;
	struct tn_ping *next;
	struct tailnet_pong pong;
	struct key node;
	enum tailnet_ping_type type;
	uint64_t begin_ns, end_ns;
	uint8_t data[8];   // what the answer carries
	struct ip_addr to; // ICMP
	uint16_t echo_seq;
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

bool tn_ping_echoed(struct tailnet *t, const struct ip_addr *from, uint16_t seq)
{
	for (struct tn_ping *p = t->pings; p; p = p->next) {
		if (p->type != TAILNET_PING_ICMP || p->echo_seq != seq ||
			!ip_addr_equal(&p->to, from))
			continue;
		finish(p, NULL);
		return true;
	}
	return false;
}

bool tn_ping_waits_for_echo(const struct tailnet *t)
{
	for (const struct tn_ping *p = t->pings; p; p = p->next)
		if (p->type == TAILNET_PING_ICMP)
			return true;
	return false;
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
		p->to = *to;
		r = tn_echo_send(p->t, to, &p->echo_seq);
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
