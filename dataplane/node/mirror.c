// Frames between an owned port and its mirror: the host's own traffic, unchanged but for offloads
// that the other side does not offer. Data at the Ethernet header.
#include "dataplane/node/node.h"
#include "dataplane/node/output.h"

void leave_to_kernel(struct graph *g, struct rte_mbuf *m, bool stripped)
{
	struct pkt *p = pkt_of(m);
	const struct port *port = g->gw->port[p->port_in];
	graph_count(g, COUNTER_LEFT_TO_KERNEL, 1);
	if (port->kind != PORT_OWNED || !port->peer) {
		rte_pktmbuf_free(m);
		return;
	}
	if (stripped)
		rte_pktmbuf_prepend(m, L2_LEN);
	p->port_out = port->peer->id;
	graph_to(g, NODE_MIRROR, m);
}

void node_mirror(struct graph *g, struct rte_mbuf **pkts, uint16_t n)
{
	for (unsigned i = 0; i < n; i++) {
		struct rte_mbuf *m = pkts[i];
		struct pkt *p = pkt_of(m);
		uint8_t l2[L2_LEN];
		if (!pkt_is_unfinished(m)) {
			m->ol_flags &= PKT_BUFFER_FLAGS;
			graph_to(g, NODE_TX, m);
			continue;
		}
		p->nexthop = NULL;
		memcpy(l2, rte_pktmbuf_mtod(m, void *), L2_LEN);
		rte_pktmbuf_adj(m, L2_LEN);
		const uint8_t *l3 = rte_pktmbuf_mtod(m, const uint8_t *);
		if (ip_parse_chain(l3, m->data_len, m->pkt_len, &p->ip) < 0)
			graph_drop(g, m, DROP_IP_MALFORMED);
		else
			output_offload(g, m, l2);
	}
}
