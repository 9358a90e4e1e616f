// Where packets enter: Ethernet ports and the host TUN.
#include "dataplane/node/node.h"
#include "dataplane/node/output.h"

static enum node_id eth_input(struct graph *g, struct rte_mbuf *m)
{
	const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, struct rte_ether_hdr *);
	const struct port *port = g->gw->port[pkt_of(m)->port_in];
	bool v4 = eth->ether_type == RTE_BE16(RTE_ETHER_TYPE_IPV4);
	bool ip = v4 || eth->ether_type == RTE_BE16(RTE_ETHER_TYPE_IPV6);
	m->l2_len = L2_LEN;
	if (unlikely(!ip || m->data_len <= L2_LEN ||
		     memcmp(&eth->dst_addr, &port->mac, sizeof(port->mac)) != 0)) {
		leave_to_kernel(g, m, false);
		return NODE_COUNT;
	}
	const uint8_t *l3 = (const uint8_t *)rte_pktmbuf_adj(m, L2_LEN);
	if (likely((l3[0] & 0xf0) == (v4 ? 0x40 : 0x60)))
		return NODE_CLASSIFY;
	graph_drop(g, m, DROP_IP_MALFORMED);
	return NODE_COUNT;
}

void node_eth_input(struct graph *g, struct rte_mbuf **pkts, uint16_t n)
{
	struct graph_way way = {pkts, NODE_COUNT};
	for (unsigned i = 0; i < n; i++)
		graph_go(g, &way, &pkts[i], eth_input(g, pkts[i]));
	graph_go(g, &way, &pkts[n], NODE_COUNT);
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
