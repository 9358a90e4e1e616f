// What the tunnel's MTU asks for before routing: TCP is told a segment size that fits, in both
// directions.
#include "dataplane/node/node.h"
#include "dataplane/node/output.h"
#include "dataplane/wire/csum.h"
#include "dataplane/wire/ledger.h"

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

static void clamp(struct graph *g, struct rte_mbuf *m, const struct pkt *p)
{
	uint16_t mtu = atomic_load_explicit(&g->gw->tunnel_mtu, memory_order_relaxed);
	uint16_t most = ledger_mss(mtu, p->ip.family);
	uint8_t *l4 = rte_pktmbuf_mtod_offset(m, uint8_t *, p->ip.l3_len);
	struct rte_tcp_hdr *tcp = (struct rte_tcp_hdr *)l4;
	uint32_t tcp_len = (tcp->data_off >> 4) * 4;
	if (p->ip.l3_len + tcp_len > m->data_len)
		return;
	uint8_t *field = find_mss(l4 + TCP_HDR_LEN, l4 + tcp_len);
	if (!field || (field[0] << 8 | field[1]) <= most)
		return;
	// A checksum that the sender left to the hardware covers the pseudo header only.
	uint16_t csum = tcp->cksum;
	set_mss(tcp, field, most);
	if ((m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_NONE)
		tcp->cksum = csum;
	graph_count(g, COUNTER_MSS_CLAMPED, 1);
}

static bool is_syn(const struct rte_mbuf *m, const struct ip_info *ip)
{
	if (ip->proto != IPPROTO_TCP || (ip->flags & IP_FLAG_FRAG_TAIL) ||
		m->data_len < ip->l3_len + TCP_HDR_LEN)
		return false;
	return rte_pktmbuf_mtod_offset(m, struct rte_tcp_hdr *, ip->l3_len)->tcp_flags &
	       RTE_TCP_SYN_FLAG;
}

// Whether a packet comes out of the tunnel or goes into it: between two ports nothing is in the
// way.
static bool is_tunnelled(const struct pkt *p)
{
	return p->from != FROM_PORT || p->nexthop->type == NH_TUNNEL;
}

void node_overlay(struct graph *g, struct rte_mbuf **pkts, uint16_t n)
{
	bool on = atomic_load_explicit(&g->gw->mss_clamp, memory_order_relaxed);
	struct graph_way way = {pkts, NODE_COUNT};
	for (unsigned i = 0; i < n; i++) {
		struct pkt *p = pkt_of(pkts[i]);
		if (unlikely(on && is_syn(pkts[i], &p->ip) && is_tunnelled(p)))
			clamp(g, pkts[i], p);
		graph_go(g, &way, &pkts[i], p->from == FROM_HOST ? NODE_WG_ROUTE : NODE_ROUTE);
	}
	graph_go(g, &way, &pkts[n], NODE_COUNT);
}
