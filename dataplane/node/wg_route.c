// Into the tunnel: allowed IPs choose the peer, its session the key. Without a session packets wait
// at the peer while the control thread shakes hands.
#include "dataplane/node/node.h"
#include "dataplane/node/output.h"
#include "dataplane/wire/wireguard.h"

// Packets that wait hold receive buffers; three quarters of those stay free for receiving.
static bool may_wait(const struct graph *g)
{
	const struct rte_mempool *pool = g->gw->super_pool;
	return rte_mempool_avail_count(pool) > pool->size / 4 * 3;
}

static struct rte_mbuf *unstage(struct peer *peer)
{
	struct rte_mbuf *m = peer->staged;
	peer->staged = *peer_staged_next(m);
	peer->staged_n--;
	pkt_of(m)->peer = peer;
	return m;
}

static void stage(struct graph *g, struct rte_mbuf *m, struct peer *peer)
{
	if (peer->staged_n == PEER_STAGED_MAX || (peer->staged_n > 0 && !may_wait(g)))
		graph_drop(g, unstage(peer), DROP_STAGED_FULL);
	pkt_of(m)->trace = 0; // it waits beyond this round
	*peer_staged_next(m) = NULL;
	*(peer->staged_n ? peer_staged_next(peer->staged_last) : &peer->staged) = m;
	peer->staged_last = m;
	peer->staged_n++;
	graph_count(g, COUNTER_STAGED, 1);
}

// A keypair that may still send, or NULL.
static struct keypair *sending(const struct graph *g, const struct peer *peer)
{
	struct keypair *kp = atomic_load_explicit(&peer->sending, memory_order_acquire);
	if (unlikely(!kp) || unlikely(g->now >= kp->reject_at) ||
		unlikely(atomic_load_explicit(&kp->send_counter, memory_order_relaxed) >=
			 WG_REJECT_AFTER_MESSAGES))
		return NULL;
	return kp;
}

static enum node_id to_encrypt(struct graph *g, struct rte_mbuf *m, struct keypair *kp)
{
	uint64_t used = atomic_load_explicit(&kp->send_counter, memory_order_relaxed);
	if (unlikely(g->now >= kp->rekey_send_at || used >= WG_REKEY_AFTER_MESSAGES))
		peer_ask(g, kp->peer, EVENT_NEED_HANDSHAKE, 0);
	pkt_of(m)->keypair = kp;
	return NODE_WG_ENCRYPT;
}

static void flush_staged(struct graph *g, struct peer *peer, struct keypair *kp)
{
	while (peer->staged_n > 0) {
		struct rte_mbuf *m = unstage(peer);
		graph_to(g, to_encrypt(g, m, kp), m);
	}
}

// What the control thread asked for: m is an empty packet.
static enum node_id self(struct graph *g, struct rte_mbuf *m, struct peer *peer)
{
	enum self_reason reason = (enum self_reason)pkt_of(m)->reason;
	const struct peer_path *path = atomic_load_explicit(&peer->path, memory_order_acquire);
	struct keypair *kp = peer_path_leads(path) ? sending(g, peer) : NULL;
	if (reason == SELF_GIVE_UP || !kp) {
		while (reason == SELF_GIVE_UP && peer->staged_n > 0)
			icmp_reply(g, unstage(peer), ICMP_NO_KEY, 0);
		rte_pktmbuf_free(m);
		return NODE_COUNT;
	}
	bool waited = peer->staged_n > 0;
	flush_staged(g, peer, kp);
	if (reason == SELF_KEEPALIVE || (reason == SELF_KEYED && !waited))
		return to_encrypt(g, m, kp);
	rte_pktmbuf_free(m);
	return NODE_COUNT;
}

static enum node_id to_peer(struct graph *g, struct rte_mbuf *m, struct peer *peer)
{
	const struct peer_path *path = atomic_load_explicit(&peer->path, memory_order_acquire);
	struct pkt *p = pkt_of(m);
	uint16_t tunnel_mtu = atomic_load_explicit(&g->gw->tunnel_mtu, memory_order_relaxed);
	uint16_t mtu = peer_mtu(path, tunnel_mtu, (enum ip_family)p->ip.family);
	if (unlikely(pkt_wire_len(m, &p->ip) > mtu)) {
		too_big(g, m, mtu, NODE_WG_ROUTE);
		return NODE_COUNT;
	}
	p->peer = peer;
	if (unlikely(peer->owner != g->id)) {
		handoff(g, m, NODE_WG_ROUTE);
		return NODE_COUNT;
	}
	if (unlikely(atomic_load_explicit(&peer->filtered, memory_order_relaxed)) &&
		p->from != FROM_SELF && !filter_out(g, m))
		return NODE_COUNT;
	struct keypair *kp = sending(g, peer);
	bool reachable = peer_path_leads(path);
	if (likely(kp && reachable)) {
		if (unlikely(peer->staged_n > 0))
			flush_staged(g, peer, kp);
		return to_encrypt(g, m, kp);
	}
	if (path->remote.port == 0 && !path->derp) {
		icmp_reply(g, m, ICMP_NO_ENDPOINT, 0);
		return NODE_COUNT;
	}
	stage(g, m, peer);
	peer_ask(g, peer, kp ? EVENT_NEED_PATH : EVENT_NEED_HANDSHAKE, 0);
	return NODE_COUNT;
}

static enum node_id wg_route(struct graph *g, struct rte_mbuf *m, struct peer_cache *cache)
{
	struct pkt *p = pkt_of(m);
	if (unlikely(p->from == FROM_SELF && m->pkt_len == 0))
		return self(g, m, p->peer);
	const uint8_t *l3 = rte_pktmbuf_mtod(m, const uint8_t *);
	const uint8_t *dst = l3 + (p->ip.family == IP_V4 ? 16 : 24);
	struct peer *peer = peer_cached(g->gw->allowed, cache, dst, p->ip.family);
	if (likely(peer))
		return to_peer(g, m, peer);
	if (pkt_is_multicast(m, &p->ip)) // the host's router solicitations and reports
		graph_drop(g, m, DROP_BROADCAST);
	else
		icmp_reply(g, m, ICMP_NO_PEER, 0);
	return NODE_COUNT;
}

void node_wg_route(struct graph *g, struct rte_mbuf **pkts, uint16_t n)
{
	struct peer_cache cache = {0};
	struct graph_way way = {pkts, NODE_COUNT};
	for (unsigned i = 0; i < n; i++)
		graph_go(g, &way, &pkts[i], wg_route(g, pkts[i], &cache));
	graph_go(g, &way, &pkts[n], NODE_COUNT);
}
