// Plain packets out of a link, to the host, or (TCP) to a VXLAN device of the kernel: coalesce what
// came decrypted, do in software what the port cannot, put the Ethernet header on.
#include "dataplane/node/node.h"
#include "dataplane/node/output.h"
#include "dataplane/node/state.h"

// The Ethernet header of the next hop; NULL: a port without (the host TUN).
static const uint8_t *l2_of(const struct pkt *p)
{
	return p->nexthop ? p->nexthop->l2 : NULL;
}

// Whether the port takes what coalescing this packet may make.
static bool takes_supers(const struct port *port, const struct ip_info *ip)
{
	uint64_t need =
		ip->proto == IPPROTO_UDP ? RTE_ETH_TX_OFFLOAD_UDP_TSO : RTE_ETH_TX_OFFLOAD_TCP_TSO;
	return port->tx_offloads & need;
}

static void coalesce(struct graph *g, struct rte_mbuf *m)
{
	const struct pkt *p = pkt_of(m);
	uint64_t key = p->nexthop ? (uint64_t)(uintptr_t)p->nexthop : p->port_out;
	enum gro_verdict v = gro_add(g->state->gro, m, &p->ip, key);
	if (unlikely(v == GRO_FULL)) {
		link_output_flush(g);
		v = gro_add(g->state->gro, m, &p->ip, key);
	}
	g->state->collecting |= STATE_GRO;
	if (unlikely(v != GRO_TAKEN))
		graph_drop(g, m, DROP_L4_CHECKSUM);
}

void link_output_flush(struct graph *g)
{
	struct rte_mbuf *out[BURST];
	unsigned n;
	while ((n = gro_flush(g->state->gro, out, BURST)) > 0) {
		for (unsigned i = 0; i < n; i++) {
			if (out[i]->nb_segs > 1) {
				graph_count(g, COUNTER_SUPERS_COALESCED, 1);
				graph_count(g, COUNTER_SEGMENTS_COALESCED, out[i]->nb_segs);
			}
			output_l2(g, out[i], l2_of(pkt_of(out[i])));
		}
	}
	g->state->collecting &= ~(unsigned)STATE_GRO;
}

// What the way holds goes first: nothing may overtake it.
static __rte_noinline enum node_id offload(
	struct graph *g, struct graph_way *way, struct rte_mbuf **at)
{
	graph_go(g, way, at, NODE_COUNT);
	output_offload(g, *at, l2_of(pkt_of(*at)));
	return NODE_COUNT;
}

static enum node_id link_output(
	struct graph *g, struct graph_way *way, struct rte_mbuf **at, bool on)
{
	struct rte_mbuf *m = *at;
	const struct pkt *p = pkt_of(m);
	const struct port *port = g->gw->port[p->port_out];
	if (unlikely(p->nexthop && p->nexthop->type == NH_VXLAN))
		graph_count(g, COUNTER_VTEP_OUT, 1);
	if (p->from == FROM_TUNNEL && on && takes_supers(port, &p->ip)) {
		coalesce(g, m);
		return NODE_COUNT;
	}
	if (unlikely(pkt_is_unfinished(m)))
		return offload(g, way, at);
	return output_ether(g, m, l2_of(p));
}

void node_link_output(struct graph *g, struct rte_mbuf **pkts, uint16_t n)
{
	bool on = atomic_load_explicit(&g->gw->coalesce, memory_order_relaxed);
	struct graph_way way = {pkts, NODE_COUNT};
	gro_keep(g->state->gro, atomic_load_explicit(&g->gw->vxlan_ports, memory_order_relaxed));
	for (unsigned i = 0; i < n; i++)
		graph_go(g, &way, &pkts[i], link_output(g, &way, &pkts[i], on));
	graph_go(g, &way, &pkts[n], NODE_COUNT);
}
