// Where next: the FIB that mirrors the kernel's routes and neighbours. Every hop costs one TTL.
#include "dataplane/node/node.h"
#include "dataplane/node/output.h"
#include "dataplane/wire/csum.h"

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

// Out of a link: does it fit?
static void to_link(struct graph *g, struct rte_mbuf *m, const struct nexthop *nh)
{
	struct pkt *p = pkt_of(m);
	const struct port *port = g->gw->port[nh->port];
	uint16_t mtu = atomic_load_explicit(&port->mtu, memory_order_relaxed);
	if (nh->mtu && nh->mtu < mtu)
		mtu = nh->mtu;
	if (unlikely(pkt_wire_len(m, &p->ip) > mtu)) {
		too_big(g, m, mtu, NODE_LINK_OUTPUT);
		return;
	}
	graph_to(g, NODE_LINK_OUTPUT, m);
}

static void to_host(struct graph *g, struct rte_mbuf *m)
{
	struct pkt *p = pkt_of(m);
	if (g->gw->host_port == PORT_NONE) {
		graph_drop(g, m, DROP_NO_PORT);
		return;
	}
	p->nexthop = NULL;
	p->port_out = g->gw->host_port;
	graph_to(g, NODE_LINK_OUTPUT, m);
}

static void forward(struct graph *g, struct rte_mbuf *m, const struct nexthop *nh)
{
	struct pkt *p = pkt_of(m);
	if (p->from != FROM_SELF && !decrement_ttl(rte_pktmbuf_mtod(m, uint8_t *), &p->ip)) {
		icmp_reply(g, m, ICMP_TTL, 0);
		return;
	}
	p->nexthop = nh;
	p->port_out = nh->port;
	if (nh->type == NH_TUNNEL)
		graph_to(g, NODE_WG_ROUTE, m);
	else
		to_link(g, m, nh);
}

static void route(struct graph *g, struct rte_mbuf *m, const struct nexthop *nh)
{
	struct pkt *p = pkt_of(m);
	if (pkt_is_multicast(m, &p->ip)) {
		graph_drop(g, m, DROP_BROADCAST);
		return;
	}
	if (!nh) {
		icmp_reply(g, m, ICMP_NO_ROUTE, 0);
		return;
	}
	switch (nh->type) {
	case NH_TUNNEL:
	case NH_LINK:
		forward(g, m, nh);
		break;
	case NH_LOCAL:
	case NH_KERNEL:
		to_host(g, m);
		break;
	case NH_RESOLVE:
		p->nexthop = nh;
		p->reason = PUNT_RESOLVE;
		graph_to(g, NODE_PUNT, m);
		break;
	case NH_REJECT:
		icmp_reply(g, m, ICMP_PROHIBITED, 0);
		break;
	default:
		graph_drop(g, m, DROP_BLACKHOLE);
		break;
	}
}

// Next hops of a burst. A large table lies outside of the caches: all packets wait for it at once.
// NULL: no route.
static void lookup(
	const struct fib *fib, struct rte_mbuf **pkts, uint16_t n, const struct nexthop **nh)
{
	const uint8_t *dst[BURST];
	const struct lpm *lpm[BURST];
	uint32_t root[BURST];
	for (unsigned i = 0; i < n; i++) {
		bool v4 = pkt_of(pkts[i])->ip.family == IP_V4;
		dst[i] = rte_pktmbuf_mtod_offset(pkts[i], const uint8_t *, v4 ? 16 : 24);
		lpm[i] = v4 ? fib->v4 : fib->v6;
		lpm_prefetch_root(lpm[i], dst[i]);
	}
	for (unsigned i = 0; i < n; i++) {
		root[i] = lpm_root(lpm[i], dst[i]);
		lpm_prefetch_node(lpm[i], dst[i], root[i]);
	}
	for (unsigned i = 0; i < n; i++) {
		uint32_t value = lpm[i] == fib->v4 ? lpm_walk(lpm[i], dst[i], 4, root[i])
						   : lpm_walk(lpm[i], dst[i], 16, root[i]);
		nh[i] = fib_nexthop(fib, value);
	}
}

void node_route(struct graph *g, struct rte_mbuf **pkts, uint16_t n)
{
	const struct nexthop *nh[BURST];
	lookup(g->gw->fib, pkts, n, nh);
	for (unsigned i = 0; i < n; i++) {
		const struct pkt *p = pkt_of(pkts[i]);
		// classify has looked up already what came from a port
		route(g, pkts[i], p->from == FROM_PORT ? p->nexthop : nh[i]);
	}
}
