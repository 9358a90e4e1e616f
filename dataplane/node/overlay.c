// What the MTU of the tunnel, and of the path to the peer, ask for before routing: TCP is told a
// segment size that fits, in both directions, also TCP in VXLAN that rides in the tunnel.
#include "dataplane/node/node.h"
#include "dataplane/node/output.h"
#include "dataplane/wire/csum.h"
#include "dataplane/wire/ledger.h"
#include "dataplane/wire/vxlan.h"

enum {
	TCP_OPT_END = 0,
	TCP_OPT_NOP = 1,
	TCP_OPT_MSS = 2,
	TCP_OPT_MSS_LEN = 4,
};

// Find the MSS option; NULL: none, or options that make no sense. (RFC 9293, 3.2)
static uint8_t *find_mss(uint8_t *opt, const uint8_t *end)
{
	while (opt + TCP_OPT_MSS_LEN <= end && *opt != TCP_OPT_END) {
		if (*opt == TCP_OPT_NOP) {
			opt++;
			continue;
		}
		if (*opt == TCP_OPT_MSS && opt[1] == TCP_OPT_MSS_LEN)
			return opt + 2;
		if (opt[1] < 2)
			return NULL;
		opt += opt[1];
	}
	return NULL;
}

// The field may lie at an odd offset: then its bytes count swapped in the checksum.
static void set_mss(struct rte_tcp_hdr *tcp, uint8_t *field, uint16_t mss)
{
	uint16_t from, to = rte_cpu_to_be_16(mss);
	memcpy(&from, field, 2);
	memcpy(field, &to, 2);
	if ((field - (uint8_t *)tcp) & 1) {
		from = rte_bswap16(from);
		to = rte_bswap16(to);
	}
	tcp->cksum = csum_update16(tcp->cksum, from, to);
}

// Lower the MSS of the TCP header at l4, of whose bytes avail are there in one piece; false: it has
// none, or one that is no larger.
static bool lower_mss(uint8_t *l4, uint32_t avail, uint16_t most)
{
	struct rte_tcp_hdr *tcp = (struct rte_tcp_hdr *)l4;
	uint32_t tcp_len = (tcp->data_off >> 4) * 4;
	if (tcp_len > avail)
		return false;
	uint8_t *field = find_mss(l4 + TCP_HDR_LEN, l4 + tcp_len);
	if (!field || (field[0] << 8 | field[1]) <= most)
		return false;
	set_mss(tcp, field, most);
	return true;
}

// The largest packet on the path to the peer that this one is from, or goes to. What the peer is
// told to send may have to take another way, of which nobody here knows more.
static uint16_t way_mtu(const struct graph *g, struct rte_mbuf *m)
{
	const struct pkt *p = pkt_of(m);
	const uint8_t *l3 = rte_pktmbuf_mtod(m, const uint8_t *);
	uint16_t tunnel_mtu = atomic_load_explicit(&g->gw->tunnel_mtu, memory_order_relaxed);
	const struct peer *peer = p->from == FROM_TUNNEL ? p->peer
				  : p->ip.family == IP_V4
					  ? allowedips_find4(g->gw->allowed, l3 + 16)
					  : allowedips_find6(g->gw->allowed, l3 + 24);
	if (!peer)
		return tunnel_mtu;
	return peer_mtu(atomic_load_explicit(&peer->path, memory_order_acquire), tunnel_mtu,
		(enum ip_family)p->ip.family);
}

static void clamp(struct graph *g, struct rte_mbuf *m, const struct pkt *p)
{
	uint16_t mtu = way_mtu(g, m);
	struct rte_tcp_hdr *tcp = rte_pktmbuf_mtod_offset(m, struct rte_tcp_hdr *, p->ip.l3_len);
	uint16_t csum = tcp->cksum;
	if (!lower_mss((uint8_t *)tcp, m->data_len - p->ip.l3_len, ledger_mss(mtu, p->ip.family)))
		return;
	// A checksum that the sender left to the hardware covers the pseudo header only.
	if ((m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_NONE)
		tcp->cksum = csum;
	graph_count(g, COUNTER_MSS_CLAMPED, 1);
}

// l4: behind the IP header, contig bytes in one piece.
static bool is_syn(const uint8_t *l4, uint32_t contig, const struct ip_info *ip)
{
	return ip->proto == IPPROTO_TCP && !(ip->flags & IP_FLAG_FRAG_TAIL) &&
	       contig >= TCP_HDR_LEN &&
	       ((const struct rte_tcp_hdr *)l4)->tcp_flags & RTE_TCP_SYN_FLAG;
}

// Whether a packet comes out of the tunnel or goes into it: between two ports nothing is in the
// way.
static bool is_tunnelled(const struct pkt *p)
{
	return p->from != FROM_PORT || p->nexthop->type == NH_TUNNEL;
}

// A piece of a packet that lies in a buffer: len bytes, of which the first contig in one piece at
// b.
struct piece {
	uint8_t *b;
	uint32_t contig, len;
};

static struct piece piece_behind(struct piece p, uint32_t skip)
{
	return (struct piece){p.b + skip, p.contig - skip, p.len - skip};
}

// The payload of the UDP header at p; nothing, where its length makes no sense.
static struct piece udp_payload(struct piece p)
{
	const struct rte_udp_hdr *udp = (const struct rte_udp_hdr *)p.b;
	uint32_t len = rte_be_to_cpu_16(udp->dgram_len);
	if (len < UDP_HDR_LEN || len > p.len)
		len = UDP_HDR_LEN;
	return piece_behind((struct piece){p.b, RTE_MIN(p.contig, len), len}, UDP_HDR_LEN);
}

static bool is_vxlan(const uint8_t *l4, uint32_t contig, const struct ip_info *ip, uint64_t ports)
{
	return ip->proto == IPPROTO_UDP && !(ip->flags & IP_FLAG_FRAG) && contig >= UDP_HDR_LEN &&
	       vxlan_is_port(ports, ((const struct rte_udp_hdr *)l4)->dst_port);
}

// What most of VXLAN is: one datagram, in it IPv4 without options, whole, and TCP that has no SYN.
// There is nothing to do then, and look_inside() would find nothing to count. l4: of the UDP
// header.
static inline bool is_bulk(const struct rte_mbuf *m, const uint8_t *l4, uint32_t contig)
{
	const uint8_t *vxlan = l4 + UDP_HDR_LEN, *type = vxlan + VXLAN_L3_AT - 2;
	const struct rte_ipv4_hdr *ip = (const struct rte_ipv4_hdr *)(vxlan + VXLAN_L3_AT);
	const struct rte_tcp_hdr *tcp = (const struct rte_tcp_hdr *)(ip + 1);
	const uint32_t head = UDP_HDR_LEN + VXLAN_L3_AT + IP4_HDR_LEN + TCP_HDR_LEN;
	if (contig < head || pkt_is_super(m) || vxlan[0] != VXLAN_FLAG_VNI)
		return false;
	uint32_t len = rte_be_to_cpu_16(((const struct rte_udp_hdr *)l4)->dgram_len);
	uint32_t total = rte_be_to_cpu_16(ip->total_length);
	return type[0] == RTE_ETHER_TYPE_IPV4 >> 8 && type[1] == 0 && ip->version_ihl == 0x45 &&
	       ip->next_proto_id == IPPROTO_TCP &&
	       !(ip->fragment_offset & ~RTE_BE16(RTE_IPV4_HDR_DF_FLAG)) &&
	       !(tcp->tcp_flags & RTE_TCP_SYN_FLAG) && total >= IP4_HDR_LEN + TCP_HDR_LEN &&
	       total + UDP_HDR_LEN + VXLAN_L3_AT <= len && len <= contig;
}
static_assert(RTE_ETHER_TYPE_IPV4 == 0x0800);

// A datagram of VXLAN, p, of m. Whatever it carries is passed on; a SYN in it is changed. The sum
// of the inner TCP header's words stays the same then: it starts at an even offset of every UDP
// datagram around it, whose checksums stay right, too.
static void look_inside(struct graph *g, struct rte_mbuf *m, struct piece p)
{
	static const enum counter passed[VXLAN_VERDICTS] = {
		[VXLAN_SHORT] = COUNTER_VXLAN_SHORT,
		[VXLAN_FLAGS] = COUNTER_VXLAN_FLAGS,
		[VXLAN_VLAN] = COUNTER_VXLAN_VLAN,
		[VXLAN_NOT_IP] = COUNTER_VXLAN_NOT_IP,
		[VXLAN_INNER] = COUNTER_VXLAN_INNER,
	};
	static_assert((UDP_HDR_LEN + VXLAN_L3_AT) % 2 == 0);
	uint64_t ports = atomic_load_explicit(&g->gw->vxlan_ports, memory_order_relaxed);
	unsigned depth = atomic_load_explicit(&g->gw->vxlan_depth, memory_order_relaxed);
	uint8_t family = pkt_of(m)->ip.family;
	uint16_t around = 0; // bytes of VXLAN
	for (; depth > 0; depth--) {
		uint32_t vni;
		struct ip_info ip;
		enum vxlan_verdict verdict = vxlan_parse(p.b, p.contig, p.len, &vni, &ip);
		if (verdict != VXLAN_OK) {
			graph_count(g, passed[verdict], 1);
			return;
		}
		if (ip.flags & IP_FLAG_FRAG)
			return;
		around += ledger_overhead(family == IP_V4 ? LEDGER_VXLAN4 : LEDGER_VXLAN6);
		family = ip.family;
		p = piece_behind(p, VXLAN_L3_AT);
		p.len = ip.total_len; // behind it lies what Ethernet filled up
		p.contig = RTE_MIN(p.contig, p.len);
		p = piece_behind(p, ip.l3_len);
		if (is_syn(p.b, p.contig, &ip)) {
			uint16_t mtu = way_mtu(g, m);
			mtu = mtu > around ? mtu - around : 0;
			if (lower_mss(p.b, p.contig, ledger_mss(mtu, family)))
				graph_count(g, COUNTER_MSS_CLAMPED, 1);
			return;
		}
		if (!is_vxlan(p.b, p.contig, &ip, ports))
			return;
		p = udp_payload(p);
	}
	graph_count(g, COUNTER_VXLAN_NESTED, 1);
}

// All datagrams of a super-packet whose headers lie in its first buffer.
static __rte_noinline void clamp_vxlan(struct graph *g, struct rte_mbuf *m, const struct pkt *p)
{
	if (pkt_is_tunnel_super(m))
		return; // nobody puts a SYN together with others
	struct piece l4 = {rte_pktmbuf_mtod_offset(m, uint8_t *, p->ip.l3_len),
		m->data_len - p->ip.l3_len, p->ip.total_len - p->ip.l3_len};
	uint32_t each = m->tso_segsz;
	if (!pkt_is_super(m) || each == 0) {
		look_inside(g, m, udp_payload(l4));
		return;
	}
	struct piece rest = piece_behind(l4, UDP_HDR_LEN);
	while (rest.len > 0 && rest.contig > 0) {
		uint32_t len = RTE_MIN(rest.len, each);
		uint32_t contig = RTE_MIN(rest.contig, len);
		look_inside(g, m, (struct piece){rest.b, contig, len});
		rest = piece_behind(rest, contig);
	}
}

void node_overlay(struct graph *g, struct rte_mbuf **pkts, uint16_t n)
{
	bool on = atomic_load_explicit(&g->gw->mss_clamp, memory_order_relaxed);
	struct last_addr asked = {0};
	uint64_t ports = atomic_load_explicit(&g->gw->vxlan_ports, memory_order_relaxed);
	struct graph_way way = {pkts, NODE_COUNT};
	for (unsigned i = 0; i < n; i++) {
		struct pkt *p = pkt_of(pkts[i]);
		const uint8_t *l3 = rte_pktmbuf_mtod(pkts[i], const uint8_t *);
		const uint8_t *l4 = l3 + p->ip.l3_len;
		uint32_t contig = pkts[i]->data_len - p->ip.l3_len;
		if (p->from == FROM_TUNNEL &&
			addr_is_new(&asked, fib_address(l3, p->ip.family), p->ip.family))
			fib_ask_node(g->gw->fib, l3, p->ip.family);
		if (unlikely(on && is_syn(l4, contig, &p->ip) && is_tunnelled(p)))
			clamp(g, pkts[i], p);
		else if (unlikely(on && is_vxlan(l4, contig, &p->ip, ports) &&
				  !is_bulk(pkts[i], l4, contig) && is_tunnelled(p)))
			clamp_vxlan(g, pkts[i], p);
		graph_go(g, &way, &pkts[i], p->from == FROM_HOST ? NODE_WG_ROUTE : NODE_ROUTE);
	}
	graph_go(g, &way, &pkts[n], NODE_COUNT);
}
