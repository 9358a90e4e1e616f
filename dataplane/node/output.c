// The last steps before transmission that link_output and mirror share.
#include "dataplane/node/output.h"

#include "dataplane/port/gso.h"
#include "dataplane/wire/csum.h"

void output_l2(struct graph *g, struct rte_mbuf *m, const uint8_t *l2)
{
	enum node_id next = output_ether(g, m, l2);
	if (likely(next != NODE_COUNT))
		graph_to(g, next, m);
}

static void segment(struct graph *g, struct rte_mbuf *m, const uint8_t *l2)
{
	struct rte_mbuf *out[BURST];
	struct gso_iter it;
	const struct pkt *p = pkt_of(m);
	struct rte_mempool *pool = pkt_pool(g->gw, pkt_wire_len(m, &p->ip));
	int n = gso_iter_init(&it, m, &p->ip, pool);
	if (n < 0) {
		graph_drop(g, m, DROP_SEGMENT);
		return;
	}
	while ((n = gso_iter_next(&it, out, BURST)) > 0) {
		for (int i = 0; i < n; i++) {
			pkt_inherit(out[i], m);
			pkt_of(out[i])->trace = 0;
			output_l2(g, out[i], l2);
		}
	}
	if (n < 0)
		g->drops[DROP_NO_MBUF] += gso_iter_left(&it);
	rte_pktmbuf_free(m);
}

// The sender's wish, now ours to the port: the checksum field gets the pseudo header's sum.
static void ask_offload(struct rte_mbuf *m, const struct ip_info *ip)
{
	uint8_t *l3 = rte_pktmbuf_mtod(m, uint8_t *);
	bool tcp = ip->proto == IPPROTO_TCP, super = pkt_is_super(m);
	uint16_t sum = csum_fold(csum_pseudo(l3, ip, ip->total_len - ip->l3_len));
	uint64_t flags = ip->family == IP_V4 ? RTE_MBUF_F_TX_IPV4 : RTE_MBUF_F_TX_IPV6;
	if (tcp) {
		struct rte_tcp_hdr *h = (struct rte_tcp_hdr *)(l3 + ip->l3_len);
		h->cksum = sum;
		m->l4_len = (h->data_off >> 4) * 4;
		flags |= super ? RTE_MBUF_F_TX_TCP_SEG : RTE_MBUF_F_TX_TCP_CKSUM;
	} else {
		((struct rte_udp_hdr *)(l3 + ip->l3_len))->dgram_cksum = sum;
		m->l4_len = UDP_HDR_LEN;
		flags |= super ? RTE_MBUF_F_TX_UDP_SEG : RTE_MBUF_F_TX_UDP_CKSUM;
	}
	if (super && ip->family == IP_V4)
		flags |= RTE_MBUF_F_TX_IP_CKSUM;
	m->l3_len = ip->l3_len;
	m->ol_flags = (m->ol_flags & PKT_BUFFER_FLAGS) | flags;
}

void output_offload(struct graph *g, struct rte_mbuf *m, const uint8_t *l2)
{
	const struct pkt *p = pkt_of(m);
	const struct ip_info *ip = &p->ip;
	uint64_t able = g->gw->port[p->port_out]->tx_offloads;
	bool tcp = ip->proto == IPPROTO_TCP, super = pkt_is_super(m);
	bool l4 = (tcp && m->data_len >= ip->l3_len + TCP_HDR_LEN) ||
		  (ip->proto == IPPROTO_UDP && m->data_len >= ip->l3_len + UDP_HDR_LEN);
	uint64_t need = super ? (tcp ? RTE_ETH_TX_OFFLOAD_TCP_TSO : RTE_ETH_TX_OFFLOAD_UDP_TSO)
			      : (tcp ? RTE_ETH_TX_OFFLOAD_TCP_CKSUM : RTE_ETH_TX_OFFLOAD_UDP_CKSUM);
	if (l4 && (able & need) && (!super || m->tso_segsz > 0)) {
		ask_offload(m, ip);
		output_l2(g, m, l2);
	} else if (super) {
		segment(g, m, l2);
	} else if (gso_csum_complete(m, ip) < 0) {
		graph_drop(g, m, DROP_SEGMENT);
	} else {
		m->ol_flags &= PKT_BUFFER_FLAGS;
		output_l2(g, m, l2);
	}
}

bool ecn_mark(uint8_t *inner, struct ip_info *ip)
{
	if ((ip->tos & 3) == 0)
		return false;
	if ((ip->tos & 3) == 3)
		return true;
	ip->tos |= 3;
	if (ip->family == IP_V6) {
		inner[1] |= 0x30;
		return true;
	}
	struct rte_ipv4_hdr *h = (struct rte_ipv4_hdr *)inner;
	uint16_t before, after;
	memcpy(&before, inner, 2);
	h->type_of_service |= 3;
	memcpy(&after, inner, 2);
	h->hdr_checksum = csum_update16(h->hdr_checksum, before, after);
	return true;
}
