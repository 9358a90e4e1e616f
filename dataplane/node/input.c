// Where packets enter: Ethernet ports and the host TUN.
#include "dataplane/node/node.h"
#include "dataplane/node/output.h"

void node_eth_input(struct graph *g, struct rte_mbuf **pkts, uint16_t n)
{
	for (unsigned i = 0; i < n; i++) {
		struct rte_mbuf *m = pkts[i];
		struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, struct rte_ether_hdr *);
		const struct port *port = g->gw->port[pkt_of(m)->port_in];
		if (i + 1 < n)
			rte_prefetch0(rte_pktmbuf_mtod(pkts[i + 1], void *));
		bool v4 = eth->ether_type == rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4);
		bool ip = m->data_len > L2_LEN &&
			  (v4 || eth->ether_type == rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV6));
		m->l2_len = L2_LEN;
		if (!ip || !rte_is_same_ether_addr(&eth->dst_addr, &port->mac)) {
			leave_to_kernel(g, m, false);
			continue;
		}
		const uint8_t *l3 = (const uint8_t *)rte_pktmbuf_adj(m, L2_LEN);
		if (likely(l3[0] >> 4 == (v4 ? 4 : 6)))
			graph_to(g, NODE_CLASSIFY, m);
		else
			graph_drop(g, m, DROP_IP_MALFORMED);
	}
}

// What the host sends into the tunnel: its routes have chosen the TUN already.
void node_host_input(struct graph *g, struct rte_mbuf **pkts, uint16_t n)
{
	for (unsigned i = 0; i < n; i++) {
		struct rte_mbuf *m = pkts[i];
		struct pkt *p = pkt_of(m);
		p->from = FROM_HOST;
		m->l2_len = 0;
		if (ip_parse_chain(
			    rte_pktmbuf_mtod(m, uint8_t *), m->data_len, m->pkt_len, &p->ip) < 0 ||
			!pkt_trim(m, p->ip.total_len)) {
			graph_drop(g, m, DROP_IP_MALFORMED);
			continue;
		}
		graph_to(g, NODE_OVERLAY, m);
	}
}
