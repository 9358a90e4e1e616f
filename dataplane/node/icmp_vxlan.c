// A packet in VXLAN that is too big for the tunnel: its sender is a host inside, which a word to
// the VTEP need not reach. So it is told there, in VXLAN: by an error that comes where the packet
// was going, from its destination by MAC and IP, as Linux does for bridges
// (iptunnel_pmtud_build_icmp in net/ipv4/ip_tunnel_core.c). An address of ours would be none that
// the segment's routes, reverse path filters and policies know.
#include "dataplane/node/icmp_build.h"
#include "dataplane/node/node.h"
#include "dataplane/node/output.h"
#include "dataplane/wire/csum.h"
#include "dataplane/wire/ledger.h"
#include "dataplane/wire/vxlan.h"

// A packet that carries VXLAN, and the packet inside.
struct inside {
	const uint8_t *vxlan;
	const uint8_t *l3;
	uint32_t contig; // bytes in one piece at l3
	struct ip_info ip;
	uint16_t mtu; // that fits, less than the packet has
};

static uint16_t mtu_inside(uint16_t mtu, const struct ip_info *outer, const struct ip_info *ip)
{
	uint16_t head = outer->family == IP_V4 ? IP4_HDR_LEN : IP6_HDR_LEN;
	uint16_t options = outer->l3_len - head;
	enum ledger_kind kind = outer->family == IP_V4 ? LEDGER_VXLAN4 : LEDGER_VXLAN6;
	mtu = ledger_inside(mtu > options ? mtu - options : 0, kind);
	// Nobody sends IPv6 in less, whatever is said.
	return ip->family == IP_V6 ? RTE_MAX(mtu, LEDGER_MTU_MIN6) : mtu;
}

static bool find_inside(
	const struct graph *g, const struct rte_mbuf *m, uint16_t mtu, struct inside *in)
{
	const struct pkt *p = pkt_of((struct rte_mbuf *)(uintptr_t)m);
	const uint8_t *outer = rte_pktmbuf_mtod(m, const uint8_t *);
	uint64_t ports = atomic_load_explicit(&g->gw->vxlan_ports, memory_order_relaxed);
	uint32_t head = p->ip.l3_len + UDP_HDR_LEN, vni;
	const struct rte_udp_hdr *udp = (const struct rte_udp_hdr *)(outer + p->ip.l3_len);
	if (p->ip.proto != IPPROTO_UDP || (p->ip.flags & IP_FLAG_FRAG) || m->data_len < head ||
		p->ip.total_len < head || !vxlan_is_port(ports, udp->dst_port))
		return false;
	uint32_t len = p->ip.total_len - head;
	bool segments = pkt_is_tunnel_super(m);
	if (pkt_is_super(m) && !segments)
		len = RTE_MIN(len, (uint32_t)m->tso_segsz);
	in->vxlan = outer + head;
	in->l3 = in->vxlan + VXLAN_L3_AT;
	if (vxlan_parse(in->vxlan, m->data_len - head, len, &vni, &in->ip) != VXLAN_OK)
		return false;
	if (segments)
		in->ip.total_len = pkt_wire_len(m, &p->ip) - head - VXLAN_L3_AT;
	in->contig = RTE_MIN(m->data_len - head - VXLAN_L3_AT, in->ip.total_len);
	in->mtu = mtu_inside(mtu, &p->ip, &in->ip);
	return in->ip.total_len > in->mtu;
}

// Whether the host inside asked to be told, and can be: an unicast frame, as is what carries it.
static bool is_tellable(const struct rte_mbuf *m, const struct inside *in)
{
	const struct pkt *p = pkt_of((struct rte_mbuf *)(uintptr_t)m);
	return in->ip.flags & IP_FLAG_DF && !(in->vxlan[VXLAN_FRAME_AT] & 1) &&
	       icmp_answerable_addresses(rte_pktmbuf_mtod(m, const uint8_t *), p->ip.family) &&
	       icmp_answerable(in->l3, in->contig, &in->ip);
}

// The IP header around len bytes, back to where the packet at cause came from.
static void put_outer(
	struct graph *g, uint8_t *out, const uint8_t *cause, uint8_t family, uint32_t len)
{
	if (family == IP_V6) {
		struct rte_ipv6_hdr *ip = (struct rte_ipv6_hdr *)out;
		*ip = (struct rte_ipv6_hdr){
			.vtc_flow = rte_cpu_to_be_32(6u << 28),
			.payload_len = rte_cpu_to_be_16((uint16_t)len),
			.proto = IPPROTO_UDP,
			.hop_limits = ICMP_TTL_SENT,
		};
		memcpy(ip->src_addr, cause + 24, 16);
		memcpy(ip->dst_addr, cause + 8, 16);
		return;
	}
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)out;
	*ip = (struct rte_ipv4_hdr){
		.version_ihl = 0x45,
		.type_of_service = ICMP_TOS_SENT,
		.total_length = rte_cpu_to_be_16((uint16_t)(IP4_HDR_LEN + len)),
		.packet_id = rte_cpu_to_be_16(g->ip_id++),
		.time_to_live = ICMP_TTL_SENT,
		.next_proto_id = IPPROTO_UDP,
	};
	memcpy(&ip->src_addr, cause + 16, 4);
	memcpy(&ip->dst_addr, cause + 12, 4);
	csum_ip4_hdr_set(out, IP4_HDR_LEN);
}

// UDP, VXLAN and Ethernet header around len bytes behind them; both addresses and MACs exchanged.
static void put_vxlan(
	uint8_t *l4, const struct rte_udp_hdr *udp, const struct inside *in, uint32_t len)
{
	uint8_t *vxlan = l4 + UDP_HDR_LEN, *frame = vxlan + VXLAN_FRAME_AT;
	*(struct rte_udp_hdr *)l4 = (struct rte_udp_hdr){
		.src_port = udp->src_port,
		.dst_port = udp->dst_port,
		.dgram_len = rte_cpu_to_be_16((uint16_t)(UDP_HDR_LEN + VXLAN_L3_AT + len)),
	};
	memcpy(vxlan, in->vxlan, VXLAN_L3_AT);
	memcpy(frame, in->vxlan + VXLAN_FRAME_AT + RTE_ETHER_ADDR_LEN, RTE_ETHER_ADDR_LEN);
	memcpy(frame + RTE_ETHER_ADDR_LEN, in->vxlan + VXLAN_FRAME_AT, RTE_ETHER_ADDR_LEN);
}

// What is quoted: the whole answer in VXLAN is to fit wherever IPv6 does.
static uint16_t quote_of(const struct inside *in)
{
	uint16_t most = in->ip.family == IP_V4 ? ICMP4_LEN_MAX
					       : ICMP6_LEN_MAX - ledger_overhead(LEDGER_VXLAN6);
	return (uint16_t)RTE_MIN(in->contig, (uint32_t)most - icmp_head_len(in->ip.family));
}

static bool answer(struct graph *g, const struct rte_mbuf *m, const struct inside *in)
{
	const struct pkt *p = pkt_of((struct rte_mbuf *)(uintptr_t)m);
	const uint8_t *cause = rte_pktmbuf_mtod(m, const uint8_t *);
	bool v4 = in->ip.family == IP_V4;
	uint16_t outer_len = p->ip.family == IP_V4 ? IP4_HDR_LEN : IP6_HDR_LEN;
	struct icmp_answer a = {
		.family = in->ip.family,
		.type = v4 ? 3 : 2,
		.code = v4 ? 4 : 0,
		.mtu = in->mtu,
		.id = g->ip_id++,
		.quote = quote_of(in),
		.cause = in->l3,
		.src = in->l3 + (v4 ? 16 : 24),
	};
	uint16_t len = icmp_head_len(a.family) + a.quote;
	uint16_t udp_len = UDP_HDR_LEN + VXLAN_L3_AT + len;
	struct rte_mbuf *e = pkt_alloc(g);
	if (!e)
		return false;
	uint8_t *out = (uint8_t *)rte_pktmbuf_append(e, outer_len + udp_len);
	struct rte_udp_hdr *udp = (struct rte_udp_hdr *)(out + outer_len);
	put_outer(g, out, cause, p->ip.family, udp_len);
	put_vxlan((uint8_t *)udp, (const struct rte_udp_hdr *)(cause + p->ip.l3_len), in, len);
	icmp_build((uint8_t *)udp + UDP_HDR_LEN + VXLAN_L3_AT, &a);
	struct pkt *ep = pkt_of(e);
	ep->from = FROM_SELF;
	ep->port_in = p->port_in;
	ep->node = NODE_ROUTE;
	ep->ip = (struct ip_info){
		.family = p->ip.family,
		.proto = IPPROTO_UDP,
		.ttl = ICMP_TTL_SENT,
		.tos = p->ip.family == IP_V4 ? ICMP_TOS_SENT : 0,
		.l3_len = outer_len,
		.flags = p->ip.family == IP_V6 ? IP_FLAG_DF : 0,
		.total_len = (uint32_t)outer_len + udp_len,
	};
	udp->dgram_cksum =
		csum_finish_udp(csum_add(udp, udp_len, csum_pseudo(out, &ep->ip, udp_len)));
	g->later.pkts[g->later.n++] = e;
	graph_count(g, COUNTER_VXLAN_TOLD, 1);
	return true;
}

bool icmp_vxlan_too_big(struct graph *g, const struct rte_mbuf *m, uint16_t mtu)
{
	const struct pkt *p = pkt_of((struct rte_mbuf *)(uintptr_t)m);
	struct inside in;
	if (p->nat != PKT_NAT_NONE || g->later.n == BURST || !find_inside(g, m, mtu, &in) ||
		!is_tellable(m, &in))
		return false;
	if (icmp_token(g))
		return answer(g, m, &in);
	g->drops[DROP_RATE]++;
	return false;
}
