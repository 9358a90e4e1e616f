// Transmit: a queue per port, sent when it is full of packets or of bytes, and at the end of a
// round.
#include "dataplane/node/node.h"
#include "dataplane/node/output.h"
#include "dataplane/node/state.h"

enum {
	// Packets are sent while they are still in the core's cache.
	TX_BYTES = 128 * 1024,
};

static void flush_port(struct graph *g, uint16_t id)
{
	struct node_queue *q = &g->txq[id];
	struct port *port = g->gw->port[id];
	uint16_t sent = 0;
	if (atomic_load_explicit(&port->up, memory_order_relaxed))
		sent = port_tx(port, g->id, q->pkts, q->n);
	enum drop_reason why = atomic_load_explicit(&port->up, memory_order_relaxed)
				       ? DROP_TX_FULL
				       : DROP_PORT_DOWN;
	for (; sent < q->n; sent++)
		graph_drop(g, q->pkts[sent], why);
	q->n = 0;
	g->txq_bytes[id] = 0;
}

void tx_flush(struct graph *g)
{
	for (uint16_t i = 0; i < g->gw->n_ports; i++) {
		if (g->txq[i].n > 0)
			flush_port(g, i);
	}
}

void node_tx(struct graph *g, struct rte_mbuf **pkts, uint16_t n)
{
	for (unsigned i = 0; i < n;) {
		const uint16_t id = pkt_of(pkts[i])->port_out;
		struct node_queue *q = &g->txq[id];
		uint32_t bytes = g->txq_bytes[id];
		uint16_t waiting = q->n;
		// Neighbours through one port; the counts in registers meanwhile.
		do {
			bytes += pkts[i]->pkt_len;
			q->pkts[waiting++] = pkts[i++];
		} while (i < n && waiting < BURST && bytes < TX_BYTES &&
			 pkt_of(pkts[i])->port_out == id);
		q->n = waiting;
		g->txq_bytes[id] = bytes;
		if (waiting == BURST || bytes >= TX_BYTES)
			flush_port(g, id);
	}
}
