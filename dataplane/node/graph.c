#include <rte_malloc.h>
#include <stdlib.h>

#include "dataplane/base/mailbox.h"
#include "dataplane/node/node.h"
#include "dataplane/node/output.h"
#include "dataplane/node/state.h"
#include "dataplane/table/lookup.h"
#include "dataplane/table/peer_table.h"
#include "dataplane/wire/wireguard.h"

enum {
	INBOX_SIZE = 4096,
};

static node_fn *const node_functions[NODE_COUNT] = {
#define X(id, name) [NODE_##id] = node_##name,
	NODES(X)
#undef X
};

static const char *const node_names[NODE_COUNT] = {
#define X(id, name) [NODE_##id] = #name,
	NODES(X)
#undef X
};

static const struct {
	const char *label, *help;
} drop_texts[DROP_COUNT] =
	{
#define X(name, label, help) [DROP_##name] = {label, help},
		DROP_REASONS(X)
#undef X
},
  counter_texts[COUNTER_COUNT] = {
#define X(name, label, help) [COUNTER_##name] = {label, help},
	  COUNTERS(X)
#undef X
};

const char *node_name(enum node_id id)
{
	return node_names[id];
}

const char *drop_label(enum drop_reason r)
{
	return drop_texts[r].label;
}

const char *drop_help(enum drop_reason r)
{
	return drop_texts[r].help;
}

const char *counter_label(enum counter c)
{
	return counter_texts[c].label;
}

const char *counter_help(enum counter c)
{
	return counter_texts[c].help;
}

struct graph *graph_create(struct gateway *gw, uint16_t id, const char *aead)
{
	char name[32];
	struct graph *g = mem_alloc(sizeof(*g));
	g->gw = gw;
	g->id = id;
	memcpy(g->fn, node_functions, sizeof(g->fn));
	g->trace = mem_alloc(sizeof(*g->trace) * TRACE_SLOTS);
	g->unanswered = mem_alloc(sizeof(*g->unanswered));
	g->aead = aead_create(aead);
	if (!g->aead)
		goto no_aead;
	g->flows = flow_table_create(FLOWS);
	if (!g->flows)
		goto no_flows;
	g->nat = nat_table_create(
		gw->nat_flows ? gw->nat_flows : NAT_FLOWS, id, gw->n_workers, &gw->nat_claims);
	if (!g->nat)
		goto no_nat;
	g->nat_port_first = UINT16_MAX;
	g->state = node_state_create(g);
	snprintf(name, sizeof(name), "inbox%p", (void *)g); // tests run more than one gateway
	g->inbox = mailbox_create(name, sizeof(struct rte_mbuf *), INBOX_SIZE);
	if (!g->inbox)
		goto no_inbox;
	return g;
no_inbox:
	node_state_destroy(g->state);
	nat_table_destroy(g->nat);
no_nat:
	flow_table_destroy(g->flows);
no_flows:
	aead_destroy(g->aead);
no_aead:
	free(g->unanswered);
	free(g->trace);
	free(g);
	return NULL;
}

static void queue_free(struct node_queue *q)
{
	rte_pktmbuf_free_bulk(q->pkts, q->n);
	q->n = 0;
}

void graph_destroy(struct graph *g)
{
	struct rte_mbuf *m;
	if (!g)
		return;
	for (unsigned i = 0; i < NODE_COUNT; i++)
		queue_free(&g->queue[i]);
	for (unsigned i = 0; i < PORT_MAX; i++)
		queue_free(&g->txq[i]);
	queue_free(&g->later);
	while (mailbox_get(g->inbox, &m, 1) == 1)
		rte_pktmbuf_free(m);
	mailbox_destroy(g->inbox);
	node_state_destroy(g->state);
	nat_table_destroy(g->nat);
	flow_table_destroy(g->flows);
	aead_destroy(g->aead);
	free(g->unanswered);
	free(g->trace);
	free(g);
}

// From here on cycles go to another node; returns which one they went to.
static uint8_t charge(struct graph *g, uint8_t to)
{
	uint64_t now = rte_rdtsc();
	uint8_t was = g->running;
	g->stats[was].cycles += now - g->charged_until;
	g->charged_until = now;
	g->running = to;
	return was;
}

static void trace_queue(struct graph *g, const struct node_queue *q, enum node_id node)
{
	for (unsigned i = 0; i < q->n; i++) {
		if (pkt_of(q->pkts[i])->trace)
			graph_trace_step(g, q->pkts[i], node, 0);
	}
}

// Run a node over its queue; cycles go to it from here on. Returns the node they went to before.
static uint8_t run_queue(struct graph *g, enum node_id node)
{
	struct rte_mbuf *pkts[BURST];
	struct node_queue *q = &g->queue[node];
	uint16_t n = q->n;
	if (unlikely(g->tracing))
		trace_queue(g, q, node);
	// The node may fill its successors, and those may run; its own queue is free again
	// meanwhile.
	memcpy(pkts, q->pkts, n * sizeof(pkts[0]));
	q->n = 0;
	uint8_t was = charge(g, node);
	g->stats[node].calls++;
	g->stats[node].packets += n;
	g->fn[node](g, pkts, n);
	return was;
}

void graph_run(struct graph *g, enum node_id node)
{
	uint8_t was = run_queue(g, node);
	charge(g, was);
}

void graph_to_run(struct graph *g, enum node_id node, struct rte_mbuf **pkts, unsigned n)
{
	while (n > 0 && node != NODE_COUNT) {
		struct node_queue *q = &g->queue[node];
		unsigned now = RTE_MIN(n, (unsigned)BURST - q->n);
		memcpy(&q->pkts[q->n], pkts, now * sizeof(pkts[0]));
		q->n = (uint16_t)(q->n + now);
		pkts += now;
		n -= now;
		if (q->n == BURST)
			graph_run(g, node);
	}
}

void graph_flush(struct graph *g)
{
	for (unsigned i = 0; i < NODE_COUNT; i++) {
		while (g->queue[i].n > 0)
			run_queue(g, (enum node_id)i);
		// Only forward edges: what a node's end of round emits, later nodes still see.
		if (node_state_holds(g, (enum node_id)i)) {
			if (g->running != i)
				charge(g, (uint8_t)i);
			node_state_flush(g, (enum node_id)i);
		}
	}
	charge(g, NODE_TX);
}

static uint16_t segments_of(const struct rte_mbuf *m)
{
	uint32_t room = m->tso_segsz ? m->tso_segsz : m->pkt_len;
	bool super =
		m->ol_flags & (RTE_MBUF_F_RX_LRO | RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG);
	return super && room ? (uint16_t)((m->pkt_len + room - 1) / room) : 1;
}

void graph_trace_step(struct graph *g, struct rte_mbuf *m, enum node_id node, unsigned drop)
{
	struct trace *t = &g->trace[pkt_of(m)->trace - 1];
	if (t->n == TRACE_STEPS)
		return;
	struct trace_step *s = &t->step[t->n++];
	*s = (struct trace_step){
		.tsc = rte_rdtsc(),
		.node = (uint8_t)node,
		.drop = (uint8_t)drop,
		.len = m->pkt_len,
		.segments = segments_of(m),
	};
	memcpy(s->head, rte_pktmbuf_mtod(m, void *), RTE_MIN(sizeof(s->head), m->data_len));
}

// The peer by its id, which may be another one's meanwhile, whose owner is another worker. False:
// that was m's end.
static bool peer_again(struct graph *g, struct rte_mbuf *m)
{
	struct pkt *p = pkt_of(m);
	p->peer = peer_table_get(g->gw->peers, (uint32_t)p->counter);
	if (p->peer && p->peer->owner == g->id)
		return true;
	graph_drop(g, m, DROP_PEER_GONE);
	return false;
}

// Pointers that RCU protects do not survive the way between threads: find them again.
static bool inbox_refresh(struct graph *g, struct rte_mbuf *m)
{
	struct pkt *p = pkt_of(m);
	const uint8_t *l3 = rte_pktmbuf_mtod(m, const uint8_t *);
	switch (p->node) {
	case NODE_WG_DECRYPT:
		p->keypair = index_lookup(
			g->gw->index, rte_le_to_cpu_32(((const struct wg_data *)l3)->receiver));
		p->peer = p->keypair ? p->keypair->peer : NULL;
		// The index may be another peer's meanwhile, whose owner is another worker.
		if (p->peer && p->peer->owner == g->id)
			return true;
		graph_drop(g, m, DROP_WG_INDEX);
		return false;
	case NODE_WG_ROUTE:
		if (p->from != FROM_SELF || m->pkt_len > 0)
			return true;
		return peer_again(g, m);
	case NODE_NAT: // has waited for its next hop
		p->flow = NULL;
		return peer_again(g, m);
	case NODE_ROUTE:
		p->nexthop = fib_find(g->gw->fib, fib_address(l3, p->ip.family), p->ip.family);
		return true;
	default:
		p->peer = NULL; // it may be gone
		return true;
	}
}

unsigned graph_inbox(struct graph *g)
{
	struct rte_mbuf *pkts[BURST];
	unsigned n = mailbox_get(g->inbox, pkts, BURST);
	for (unsigned i = 0; i < n; i++) {
		if (inbox_refresh(g, pkts[i]))
			graph_to(g, (enum node_id)pkt_of(pkts[i])->node, pkts[i]);
	}
	unsigned later = g->later.n;
	memcpy(pkts, g->later.pkts, later * sizeof(pkts[0]));
	g->later.n = 0;
	for (unsigned i = 0; i < later; i++)
		graph_to(g, (enum node_id)pkt_of(pkts[i])->node, pkts[i]);
	return n + later + nat_round(g);
}
