#include "dataplane/port/vnet.h"

#include <rte_hash_crc.h>

#include "dataplane/wire/csum.h"
#include "dataplane/wire/ether.h"
#include "dataplane/wire/ip.h"
#include "dataplane/wire/vxlan.h"

enum {
	TCP_FLAGS_AT = 13,
	TCP_CWR = 0x80,
};

// Where the packet's own L4 header lies.
struct l4_place {
	uint32_t at; // from the first byte of the packet
	uint8_t family;
	uint8_t proto; // 0: a fragment, no L4 header to speak of
};

static int find_l4(struct rte_mbuf *m, bool l2, struct l4_place *l4)
{
	const uint8_t *data = rte_pktmbuf_mtod(m, const uint8_t *);
	struct ether_info eth = {0};
	if (l2) {
		int rc = ether_parse(data, m->data_len, &eth);
		if (rc != 0)
			return rc;
		if (eth.type != RTE_ETHER_TYPE_IPV4 && eth.type != RTE_ETHER_TYPE_IPV6)
			return -EINVAL;
	}
	struct ip_info ip;
	int rc = ip_parse_chain(
		data + eth.l2_len, m->data_len - eth.l2_len, m->pkt_len - eth.l2_len, &ip);
	if (rc != 0)
		return rc;
	*l4 = (struct l4_place){
		.at = eth.l2_len + ip.l3_len,
		.family = ip.family,
		.proto = ip.flags & IP_FLAG_FRAG ? 0 : ip.proto,
	};
	return 0;
}

// CRC32c; rte_hash_crc wants its data aligned.
static uint32_t crc32c(const uint8_t *data, uint32_t len)
{
	uint32_t crc = UINT32_MAX;
	for (; len >= 8; data += 8, len -= 8) {
		uint64_t word;
		memcpy(&word, data, sizeof(word));
		crc = rte_hash_crc_8byte(word, crc);
	}
	for (; len > 0; data++, len--)
		crc = rte_hash_crc_1byte(*data, crc);
	return ~crc;
}

// The sender relied on hardware that this port does not have further on: do its work.
static int complete_csum(const struct vnet_hdr *h, struct rte_mbuf *m, const struct l4_place *l4)
{
	uint32_t field = (uint32_t)h->csum_start + h->csum_offset;
	uint8_t *at = rte_pktmbuf_mtod_offset(m, uint8_t *, field);
	if (l4->proto == IPPROTO_SCTP && h->csum_offset == VNET_CSUM_SCTP) {
		if (m->nb_segs != 1 || field + 4 > m->data_len)
			return -EINVAL;
		memset(at, 0, 4); // RFC 9260 6.8, appendix A: CRC32c, stored as it is computed
		uint32_t crc = crc32c(rte_pktmbuf_mtod_offset(m, const uint8_t *, h->csum_start),
			m->data_len - h->csum_start);
		memcpy(at, &crc, sizeof(crc));
		return 0;
	}
	// 0 and 0xffff are the same sum; a UDP receiver takes 0 for "no checksum".
	uint16_t csum = csum_finish_udp(csum_mbuf(m, h->csum_start, m->pkt_len - h->csum_start, 0));
	memcpy(at, &csum, sizeof(csum));
	return 0;
}

static bool csum_is_l4(const struct vnet_hdr *h, const struct l4_place *l4)
{
	return h->csum_start == l4->at &&
	       ((l4->proto == IPPROTO_TCP && h->csum_offset == VNET_CSUM_TCP) ||
		       (l4->proto == IPPROTO_UDP && h->csum_offset == VNET_CSUM_UDP));
}

static int take_csum(const struct vnet_hdr *h, struct rte_mbuf *m, const struct l4_place *l4)
{
	if (csum_is_l4(h, l4)) {
		m->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_NONE;
		return 0;
	}
	if (h->gso_type != VNET_GSO_NONE)
		return -EINVAL; // a tunnel's segmentation: the type does not say where to cut
	return complete_csum(h, m, l4);
}

static bool is_tcp_in_udp(const struct vnet_hdr *h, const struct l4_place *l4)
{
	uint8_t type = h->gso_type & (uint8_t)~VNET_GSO_ECN;
	return (h->flags & VNET_F_NEEDS_CSUM) && l4->proto == IPPROTO_UDP &&
	       (type == VNET_GSO_TCPV4 || type == VNET_GSO_TCPV6) &&
	       h->csum_start >= l4->at + UDP_HDR_LEN + IP4_HDR_LEN &&
	       h->csum_offset == VNET_CSUM_TCP;
}

// Of VXLAN, whether csum_start is where the TCP header of the packet inside lies.
static bool is_inner_tcp(
	const struct vnet_hdr *h, const struct rte_mbuf *m, const struct l4_place *l4)
{
	uint32_t vxlan = l4->at + UDP_HDR_LEN, vni;
	struct ip_info ip;
	if (vxlan_parse(rte_pktmbuf_mtod_offset(m, const uint8_t *, vxlan), m->data_len - vxlan,
		    m->pkt_len - vxlan, &vni, &ip) != VXLAN_OK)
		return true; // another tunnel, which is nobody's here
	return ip.proto == IPPROTO_TCP && vxlan + VXLAN_L3_AT + ip.l3_len == h->csum_start &&
	       ip.family == (h->gso_type & VNET_GSO_TCPV6 ? IP_V6 : IP_V4);
}

// The kernel's segmentation, or what its GRO put together, of TCP in VXLAN: csum_start says where
// the inner TCP header lies.
static int take_tunnel(const struct vnet_hdr *h, struct rte_mbuf *m, const struct l4_place *l4)
{
	uint32_t at = h->csum_start;
	if (at + TCP_HDR_LEN > m->data_len || h->gso_size == 0 || !is_inner_tcp(h, m, l4))
		return -EINVAL;
	const struct rte_tcp_hdr *tcp = rte_pktmbuf_mtod_offset(m, void *, at);
	uint32_t hdr_len = at + (tcp->data_off >> 4) * 4;
	if (hdr_len < at + TCP_HDR_LEN || hdr_len > m->data_len)
		return -EINVAL;
	if (m->pkt_len - hdr_len <= h->gso_size)
		return complete_csum(h, m, l4);
	m->packet_type = VNET_TUNNEL_TCP;
	m->tso_segsz = h->gso_size;
	return 0;
}

static int take_gso(const struct vnet_hdr *h, struct rte_mbuf *m, const struct l4_place *l4)
{
	const struct rte_tcp_hdr *tcp = rte_pktmbuf_mtod_offset(m, void *, l4->at);
	uint32_t hdr_len = l4->at + UDP_HDR_LEN;
	switch (h->gso_type & ~VNET_GSO_ECN) {
	case VNET_GSO_TCPV4:
	case VNET_GSO_TCPV6:
		if (l4->proto != IPPROTO_TCP || l4->at + TCP_HDR_LEN > m->data_len ||
			l4->family != (h->gso_type & VNET_GSO_TCPV6 ? IP_V6 : IP_V4))
			return -EINVAL;
		hdr_len = l4->at + (tcp->data_off >> 4) * 4;
		if (hdr_len < l4->at + TCP_HDR_LEN)
			return -EINVAL;
		m->packet_type = RTE_PTYPE_L4_TCP;
		break;
	case VNET_GSO_UDP_L4:
		if (l4->proto != IPPROTO_UDP || h->gso_type & VNET_GSO_ECN)
			return -EINVAL;
		m->packet_type = RTE_PTYPE_L4_UDP;
		break;
	default:
		return -EINVAL;
	}
	if (h->gso_size == 0 || hdr_len > m->data_len)
		return -EINVAL;
	if (m->pkt_len - hdr_len > h->gso_size) { // less is one packet, whatever its sender meant
		m->ol_flags |= RTE_MBUF_F_RX_LRO;
		m->tso_segsz = h->gso_size;
	}
	return 0;
}

int vnet_to_mbuf_offload(const struct vnet_hdr *h, struct rte_mbuf *m, bool l2)
{
	struct l4_place l4;
	int rc = find_l4(m, l2, &l4);
	if (rc != 0)
		return rc;
	if (h->flags & VNET_F_NEEDS_CSUM) {
		if (h->csum_start < l4.at ||
			(uint32_t)h->csum_start + h->csum_offset + 2 > m->data_len)
			return -EINVAL;
		if (is_tcp_in_udp(h, &l4))
			return take_tunnel(h, m, &l4);
		rc = take_csum(h, m, &l4);
		if (rc != 0)
			return rc;
	} else if (h->flags & VNET_F_DATA_VALID) {
		m->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_GOOD;
	}
	return h->gso_type != VNET_GSO_NONE ? take_gso(h, m, &l4) : 0;
}

// The kernel wants to know of CWR, so that only the first segment keeps it (RFC 3168 6.1.2).
static bool tcp_has_cwr(const struct rte_mbuf *m, uint32_t l4)
{
	return l4 + TCP_FLAGS_AT < m->data_len &&
	       (*rte_pktmbuf_mtod_offset(m, const uint8_t *, l4 + TCP_FLAGS_AT) & TCP_CWR);
}

int vnet_from_mbuf_offload(const struct rte_mbuf *m, bool l2, struct vnet_hdr *h)
{
	uint64_t asks = m->ol_flags & VNET_TX_ASKS;
	uint64_t l4_csum = asks & RTE_MBUF_F_TX_L4_MASK;
	bool tcp = asks & RTE_MBUF_F_TX_TCP_SEG || l4_csum == RTE_MBUF_F_TX_TCP_CKSUM;
	bool udp = asks & RTE_MBUF_F_TX_UDP_SEG || l4_csum == RTE_MBUF_F_TX_UDP_CKSUM;
	uint64_t known = VNET_TX_ASKS | RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IPV6;
	if (asks & RTE_MBUF_F_TX_TCP_SEG || asks & RTE_MBUF_F_TX_UDP_SEG)
		known |= RTE_MBUF_F_TX_IP_CKSUM; // segments get theirs anyway
	if (m->ol_flags & RTE_MBUF_F_TX_OFFLOAD_MASK & ~known || (tcp && udp) ||
		l4_csum == RTE_MBUF_F_TX_SCTP_CKSUM)
		return -EINVAL;
	*h = (struct vnet_hdr){0};
	if (!tcp && !udp)
		return 0; // the address family alone asks for nothing

	uint32_t l4 = m->l2_len + m->l3_len;
	uint32_t hdr_len = l4 + (tcp ? m->l4_len : UDP_HDR_LEN);
	if ((l2 ? m->l2_len < ETHER_HDR_LEN : m->l2_len != 0) || m->l3_len < IP4_HDR_LEN ||
		(tcp && m->l4_len < TCP_HDR_LEN) || hdr_len > m->pkt_len)
		return -EINVAL;
	h->flags = VNET_F_NEEDS_CSUM;
	h->hdr_len = hdr_len;
	h->csum_start = l4;
	h->csum_offset = tcp ? VNET_CSUM_TCP : VNET_CSUM_UDP;
	if ((asks & (RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG)) == 0)
		return 0;
	if (m->tso_segsz == 0)
		return -EINVAL;
	h->gso_size = m->tso_segsz;
	if (udp)
		h->gso_type = VNET_GSO_UDP_L4;
	else
		h->gso_type = (m->ol_flags & RTE_MBUF_F_TX_IPV6 ? VNET_GSO_TCPV6 : VNET_GSO_TCPV4) |
			      (tcp_has_cwr(m, l4) ? VNET_GSO_ECN : 0);
	return 0;
}
