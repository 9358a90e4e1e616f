// Tell WireGuard from plain packets, and what is ours from what is the kernel's.
#include "dataplane/node/node.h"
#include "dataplane/node/output.h"
#include "dataplane/node/reassemble.h"
#include "dataplane/table/lookup.h"
#include "dataplane/wire/csum.h"
#include "dataplane/wire/icmp_quote.h"

// Ports that were opened beside the WireGuard port.
static bool is_extra(const struct graph *g, uint16_t port, enum ip_family family)
{
	uint32_t extra = atomic_load_explicit(&g->gw->extra_ports, memory_order_relaxed);
	return family == IP_V4 && (uint16_t)(port - (extra >> 16)) < (uint16_t)extra;
}

inline enum node_id node_of_datagram(
	const struct graph *g, const struct rte_mbuf *m, const struct ip_info *ip)
{
	uint16_t wg_port = atomic_load_explicit(&g->gw->wg_port, memory_order_relaxed);
	if (ip->proto != IPPROTO_UDP || (ip->flags & IP_FLAG_FRAG) ||
		m->data_len < ip->l3_len + UDP_HDR_LEN)
		return NODE_COUNT;
	const struct rte_udp_hdr *udp =
		rte_pktmbuf_mtod_offset(m, struct rte_udp_hdr *, ip->l3_len);
	uint16_t port = rte_be_to_cpu_16(udp->dst_port);
	if (likely(port == wg_port) || is_extra(g, port, ip->family))
		return NODE_WG_INPUT;
	const struct vxlan_devices *d = vxlan_devices_get(g->gw->fib->vteps);
	return d && vxlan_is_port(d->ports, udp->dst_port) ? NODE_VXLAN_INPUT : NODE_COUNT;
}

// A router's word about a datagram of ours, maybe. The kernel has it as well.
static __rte_noinline void look_at_icmp(
	struct graph *g, const struct rte_mbuf *m, const struct ip_info *ip)
{
	if (m->data_len >= ip->l3_len + 2u &&
		icmp_is_too_big((enum ip_family)ip->family,
			rte_pktmbuf_mtod_offset(m, const uint8_t *, ip->l3_len)))
		punt_copy(g, m, PUNT_TOO_BIG, NULL, 0);
}

// A run of TCP segments in a tunnel that does not end here is to be cut like others when it goes
// into ours. False: it has ended, for nobody here can cut it.
static __rte_noinline bool take_tunnel_super(
	struct graph *g, struct rte_mbuf *m, enum nexthop_type type)
{
	if (gso_hdr_len(m, &pkt_of(m)->ip) > 0) {
		m->ol_flags |= RTE_MBUF_F_RX_LRO | RTE_MBUF_F_RX_L4_CKSUM_NONE;
		return true;
	}
	if (type == NH_TUNNEL)
		graph_drop(g, m, DROP_SEGMENT);
	else
		leave_to_kernel(g, m, true);
	return false;
}

static enum node_id classify(struct graph *g, struct rte_mbuf *m, struct fib_cache *cache)
{
	struct pkt *p = pkt_of(m);
	const uint8_t *l3 = rte_pktmbuf_mtod(m, const uint8_t *);
	if (ip_parse_chain(l3, m->data_len, m->pkt_len, &p->ip) < 0 ||
		!pkt_trim(m, p->ip.total_len)) {
		graph_drop(g, m, DROP_IP_MALFORMED);
		return NODE_COUNT;
	}
	if (unlikely(p->ip.family == IP_V4 && !csum_ip4_hdr_ok(l3, p->ip.l3_len))) {
		graph_drop(g, m, DROP_IP_CHECKSUM);
		return NODE_COUNT;
	}
	const struct nexthop *nh = fib_cached(g->gw->fib, cache, l3, p->ip.family);
	p->from = FROM_PORT;
	p->nexthop = nh;
	enum nexthop_type type = nh ? nh->type : NH_KERNEL;
	if (type == NH_LOCAL) {
		enum node_id node = node_of_datagram(g, m, &p->ip);
		if (likely(node != NODE_COUNT))
			return node;
	}
	if (unlikely(pkt_is_tunnel_super(m)) && !take_tunnel_super(g, m, type))
		return NODE_COUNT;
	if (type == NH_LOCAL && (p->ip.proto == IPPROTO_ICMP || p->ip.proto == IPPROTO_ICMPV6))
		look_at_icmp(g, m, &p->ip);
	bool nat = g->nat_port_first <= g->nat_port_last;
	if (unlikely(p->ip.flags & IP_FLAG_FRAG) && (nat || type == NH_LOCAL) &&
		reassemble_return(g, m, nh))
		return NODE_COUNT;
	if (nat && nat_is_return(g, m, &p->ip, nh))
		return NODE_NAT_RETURN;
	// A shared port forwards only into the tunnel; an owned one also between ports.
	bool owned = g->gw->port[p->port_in]->kind == PORT_OWNED;
	if (type == NH_TUNNEL ||
		(owned && (type == NH_LINK || (type == NH_RESOLVE && nh->port != PORT_NONE))))
		return NODE_OVERLAY;
	leave_to_kernel(g, m, true);
	return NODE_COUNT;
}

void node_classify(struct graph *g, struct rte_mbuf **pkts, uint16_t n)
{
	struct fib_cache cache = {0};
	struct graph_way way = {pkts, NODE_COUNT};
	for (unsigned i = 0; i < n; i++)
		graph_go(g, &way, &pkts[i], classify(g, pkts[i], &cache));
	graph_go(g, &way, &pkts[n], NODE_COUNT);
}
