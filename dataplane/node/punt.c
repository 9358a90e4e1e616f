// To the control thread: handshakes, and packets whose next hop has to be resolved first.
#include "dataplane/base/mailbox.h"
#include "dataplane/node/node.h"
#include "dataplane/node/output.h"

enum {
	EVENT_PAUSE_MS = 100,
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

void handoff(struct graph *g, struct rte_mbuf *m, enum node_id node)
{
	struct pkt *p = pkt_of(m);
	p->node = (uint8_t)node;
	p->trace = 0; // the trace is this worker's
	if (!mailbox_put(g->gw->graph[p->peer->owner]->inbox, &m)) {
		graph_drop(g, m, DROP_HANDOFF_FULL);
		return;
	}
	graph_count(g, COUNTER_HANDOFF, 1);
}

void node_punt(struct graph *g, struct rte_mbuf **pkts, uint16_t n)
{
	// What waits there holds buffers: a flood of handshakes leaves three quarters of them.
	unsigned most = g->gw->pool->size / 4;
	for (unsigned i = 0; i < n; i++) {
		pkt_of(pkts[i])->trace = 0;
		if (mailbox_count(g->gw->punted) >= most || !mailbox_put(g->gw->punted, &pkts[i]))
			graph_drop(g, pkts[i], DROP_PUNT_FULL);
		else
			graph_count(g, COUNTER_PUNTED, 1);
	}
}
