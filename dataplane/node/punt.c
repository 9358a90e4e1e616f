// To the control thread: handshakes, disco, what goes over DERP, and packets whose next hop has to
// be resolved first.
#include "dataplane/base/mailbox.h"
#include "dataplane/node/node.h"
#include "dataplane/node/output.h"

enum {
	EVENT_PAUSE_MS = 100,
};

// What waits at the control thread holds buffers: three quarters of them stay free. What may come
// from anybody and is no handshake has a share of that quarter, or it would starve those.
static const struct {
	uint8_t eighths;
	enum drop_reason full;
} kinds[PUNT_REASON_COUNT] = {
	[PUNT_DATAGRAM] = {8, DROP_PUNT_FULL},
	[PUNT_DISCO] = {2, DROP_DISCO_FULL},
	[PUNT_DERP] = {4, DROP_DERP_FULL},
	[PUNT_TSMP] = {1, DROP_TSMP_RATE},
	[PUNT_RESOLVE] = {8, DROP_PUNT_FULL},
	[PUNT_TOO_BIG] = {1, DROP_TOO_BIG_FULL},
};

bool event_send(struct graph *g, const struct worker_event *e)
{
	struct worker_event copy = *e;
	if (mailbox_put(g->gw->events, &copy))
		return true;
	g->drops[DROP_PUNT_FULL]++;
	return false;
}

uint64_t event_pause(const struct graph *g)
{
	return (uint64_t)(g->gw->tsc_per_ns * 1e6) * EVENT_PAUSE_MS;
}

void peer_ask(struct graph *g, struct peer *peer, enum event_type type, uint32_t index)
{
	if (g->now - peer->asked_handshake < event_pause(g))
		return;
	struct worker_event e = {
		.type = type, .peer_id = peer->id, .index = index, .worker = g->id};
	if (event_send(g, &e))
		peer->asked_handshake = g->now;
}

void handoff_to(struct graph *g, struct rte_mbuf *m, uint16_t worker, enum node_id node)
{
	struct pkt *p = pkt_of(m);
	p->node = (uint8_t)node;
	p->trace = 0; // the trace is this worker's
	if (!mailbox_put(g->gw->graph[worker]->inbox, &m)) {
		graph_drop(g, m, DROP_HANDOFF_FULL);
		return;
	}
	graph_count(g, COUNTER_HANDOFF, 1);
}

void handoff(struct graph *g, struct rte_mbuf *m, enum node_id node)
{
	handoff_to(g, m, pkt_of(m)->peer->owner, node);
}

// Packets that may wait at once, of all kinds.
static uint32_t punted_max(const struct gateway *gw)
{
	return RTE_MIN(gw->pool->size / 4, (uint32_t)PUNTED_SIZE);
}

// With what is on its way there.
static uint32_t waiting(const struct graph *g, enum punt_reason reason)
{
	return atomic_load_explicit(&g->gw->punted_n[reason], memory_order_relaxed) +
	       g->queue[NODE_PUNT].n;
}

static bool has_room(const struct graph *g, enum punt_reason reason)
{
	uint32_t most = punted_max(g->gw);
	return waiting(g, reason) < most * kinds[reason].eighths / 8 &&
	       mailbox_count(g->gw->punted) < most;
}

// A buffer for len bytes. The large ones are few, and ports receive into them.
static struct rte_mbuf *room_for(const struct graph *g, enum punt_reason reason, uint32_t len)
{
	struct rte_mempool *pool = pkt_pool(g->gw, len);
	if (pool != g->gw->pool && waiting(g, reason) >= pool->size / 16)
		return NULL;
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
	if (m && rte_pktmbuf_tailroom(m) >= len)
		return m;
	rte_pktmbuf_free(m);
	return NULL;
}

void punt_copy(struct graph *g, const struct rte_mbuf *m, enum punt_reason reason,
	const uint8_t *head, uint32_t head_len)
{
	uint32_t len = head_len + m->data_len;
	if (unlikely(!has_room(g, reason))) {
		g->drops[kinds[reason].full]++;
		return;
	}
	struct rte_mbuf *copy = room_for(g, reason, len);
	if (unlikely(!copy)) {
		g->drops[DROP_NO_MBUF]++;
		return;
	}
	uint8_t *to = (uint8_t *)rte_pktmbuf_append(copy, (uint16_t)len);
	if (head_len > 0)
		memcpy(to, head, head_len);
	memcpy(to + head_len, rte_pktmbuf_mtod(m, void *), m->data_len);
	pkt_inherit(copy, m);
	pkt_of(copy)->reason = (uint8_t)reason;
	pkt_of(copy)->peer = NULL; // what RCU protects stays here
	pkt_of(copy)->keypair = NULL;
	pkt_of(copy)->outer = NULL;
	graph_to(g, NODE_PUNT, copy);
}

void node_punt(struct graph *g, struct rte_mbuf **pkts, uint16_t n)
{
	struct gateway *gw = g->gw;
	for (unsigned i = 0; i < n; i++) {
		struct pkt *p = pkt_of(pkts[i]);
		enum punt_reason reason = (enum punt_reason)p->reason;
		p->trace = 0;
		if (!has_room(g, reason)) {
			graph_drop(g, pkts[i], kinds[reason].full);
			continue;
		}
		atomic_fetch_add_explicit(&gw->punted_n[reason], 1, memory_order_relaxed);
		if (mailbox_put(gw->punted, &pkts[i])) {
			graph_count(g, COUNTER_PUNTED, 1);
			continue;
		}
		atomic_fetch_sub_explicit(&gw->punted_n[reason], 1, memory_order_relaxed);
		graph_drop(g, pkts[i], kinds[reason].full);
	}
}

struct rte_mbuf *punted_get(struct gateway *gw)
{
	struct rte_mbuf *m;
	if (mailbox_get(gw->punted, &m, 1) != 1)
		return NULL;
	atomic_fetch_sub_explicit(&gw->punted_n[pkt_of(m)->reason], 1, memory_order_relaxed);
	return m;
}
