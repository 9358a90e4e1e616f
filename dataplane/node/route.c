// Where next: the FIB that mirrors the kernel's routes and neighbours. Every hop costs one TTL.
#include "dataplane/node/node.h"
#include "dataplane/node/output.h"
#include "dataplane/wire/csum.h"
#include "dataplane/wire/ledger.h"

// One less; the checksum by RFC 1624. False: it may not go on.
static bool decrement_ttl(uint8_t *l3, struct ip_info *ip)
{
	if (ip->ttl <= 1)
		return false;
	ip->ttl--;
	if (ip->family == IP_V6) {
		((struct rte_ipv6_hdr *)l3)->hop_limits--;
		return true;
	}
	struct rte_ipv4_hdr *h = (struct rte_ipv4_hdr *)l3;
	h->time_to_live--;
	uint32_t sum = (uint32_t)h->hdr_checksum + rte_cpu_to_be_16(0x0100);
	h->hdr_checksum = (uint16_t)(sum + (sum >= 0xffff));
	return true;
}

// Larger than its link takes. Fragments must not overtake what came before them.
static __rte_noinline enum node_id cut(
	struct graph *g, struct graph_way *way, struct rte_mbuf **at, uint16_t mtu)
{
	graph_go(g, way, at, NODE_COUNT);
	too_big(g, *at, mtu, NODE_LINK_OUTPUT);
	return NODE_COUNT;
}

// Towards nh. False: it may go no further, and has ended.
static bool take_hop(struct graph *g, struct rte_mbuf *m, const struct nexthop *nh)
{
	struct pkt *p = pkt_of(m);
	if (unlikely(p->from != FROM_SELF &&
		     !decrement_ttl(rte_pktmbuf_mtod(m, uint8_t *), &p->ip))) {
		icmp_reply(g, m, ICMP_TTL, 0);
		return false;
	}
	p->nexthop = nh;
	p->port_out = nh->port;
	return true;
}

// Out of a link: does it fit?
static enum node_id to_link(
	struct graph *g, struct graph_way *way, struct rte_mbuf **at, const struct nexthop *nh)
{
	struct pkt *p = pkt_of(*at);
	const struct port *port = g->gw->port[nh->port];
	uint16_t port_mtu = atomic_load_explicit(&port->mtu, memory_order_relaxed);
	uint16_t mtu = ledger_lower(port_mtu, nh->mtu);
	if (unlikely(pkt_wire_len(*at, &p->ip) > mtu))
		return cut(g, way, at, mtu);
	return NODE_LINK_OUTPUT;
}

static enum node_id to_host(struct graph *g, struct rte_mbuf *m)
{
	struct pkt *p = pkt_of(m);
	if (g->gw->host_port == PORT_NONE) {
		graph_drop(g, m, DROP_NO_PORT);
		return NODE_COUNT;
	}
	p->nexthop = NULL;
	p->port_out = g->gw->host_port;
	return NODE_LINK_OUTPUT;
}

// Who wraps it. Where the port is the kernel's, its VXLAN device takes runs of TCP segments as one
// packet, which stays one up to the far end; what we wrap is segmented on the way.
static enum node_id wrapped_by(const struct graph *g, const struct pkt *p, const struct vtep *v)
{
	bool device = g->gw->port[v->port]->tx_offloads & RTE_ETH_TX_OFFLOAD_VXLAN_TNL_TSO;
	return device && p->ip.proto == IPPROTO_TCP ? NODE_LINK_OUTPUT : NODE_VXLAN_OUTPUT;
}

// To a host behind a remote VTEP, whose device's MTU counts as well as the way there.
static enum node_id to_vtep(
	struct graph *g, struct graph_way *way, struct rte_mbuf **at, const struct nexthop *nh)
{
	struct pkt *p = pkt_of(*at);
	const struct vtep *v = vtep_get(g->gw->fib->vteps, nh->vtep);
	if (unlikely(!v)) // the kernel may know a way, or finds one
		return to_host(g, *at);
	if (unlikely(!take_hop(g, *at, nh)))
		return NODE_COUNT;
	uint16_t mtu = ledger_lower(v->mtu, nh->mtu);
	enum node_id next = wrapped_by(g, p, v);
	p->vtep = v;
	p->port_out = v->port;
	if (unlikely(pkt_wire_len(*at, &p->ip) > mtu)) {
		graph_go(g, way, at, NODE_COUNT);
		too_big(g, *at, mtu, next);
		return NODE_COUNT;
	}
	return next;
}

static enum node_id route(
	struct graph *g, struct graph_way *way, struct rte_mbuf **at, const struct nexthop *nh)
{
	struct rte_mbuf *m = *at;
	struct pkt *p = pkt_of(m);
	if (pkt_is_multicast(m, &p->ip)) {
		graph_drop(g, m, DROP_BROADCAST);
		return NODE_COUNT;
	}
	if (!nh) {
		icmp_reply(g, m, ICMP_NO_ROUTE, 0);
		return NODE_COUNT;
	}
	if (likely(nh->type == NH_TUNNEL || nh->type == NH_LINK)) {
		if (unlikely(!take_hop(g, m, nh)))
			return NODE_COUNT;
		return nh->type == NH_TUNNEL ? NODE_WG_ROUTE : to_link(g, way, at, nh);
	}
	switch (nh->type) {
	case NH_VXLAN:
		return to_vtep(g, way, at, nh);
	case NH_LOCAL:
	case NH_KERNEL:
		return to_host(g, m);
	case NH_RESOLVE:
		p->nexthop = nh;
		p->reason = PUNT_RESOLVE;
		return NODE_PUNT;
	case NH_REJECT:
		icmp_reply(g, m, ICMP_PROHIBITED, 0);
		return NODE_COUNT;
	default:
		graph_drop(g, m, DROP_BLACKHOLE);
		return NODE_COUNT;
	}
}

void node_route(struct graph *g, struct rte_mbuf **pkts, uint16_t n)
{
	struct fib_cache cache = {0};
	struct graph_way way = {pkts, NODE_COUNT};
	for (unsigned i = 0; i < n; i++) {
		const struct pkt *p = pkt_of(pkts[i]);
		const uint8_t *l3 = rte_pktmbuf_mtod(pkts[i], const uint8_t *);
		// classify has looked up already what came from a port; overlay has asked memory
		// for the entries of what came out of the tunnel.
		const struct nexthop *nh =
			p->from == FROM_PORT ? p->nexthop
					     : fib_cached(g->gw->fib, &cache, l3, p->ip.family);
		graph_go(g, &way, &pkts[i], route(g, &way, &pkts[i], nh));
	}
	graph_go(g, &way, &pkts[n], NODE_COUNT);
}
