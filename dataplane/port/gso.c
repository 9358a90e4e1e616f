#include "dataplane/port/gso.h"

#include "dataplane/wire/csum.h"
#include "dataplane/wire/vxlan.h"

enum {
	TCP_CSUM_AT = 16, // RFC 9293 3.1
	UDP_CSUM_AT = 6,
	ICMP6_CSUM_AT = 2, // RFC 4443 2.1
	L4_HDR_MAX = 60,
	SEG_NONE = RTE_TCP_SYN_FLAG | RTE_TCP_RST_FLAG, // never of a super-packet
	SEG_LAST = RTE_TCP_FIN_FLAG | RTE_TCP_PSH_FLAG, // on the last segment only
};

// Bytes that the segments of a chain really hold.
static uint64_t chain_len(const struct rte_mbuf *m)
{
	uint64_t len = 0;
	for (; m != NULL; m = m->next)
		len += m->data_len;
	return len;
}

// Where things lie in a super-packet.
struct layout {
	const struct ip_info *ip; // of the packet that is cut
	struct ip_info inner;
	uint32_t at; // of its IP header; 0: no tunnel around
	uint32_t hdr_len;
};

// L4 header length, or 0 when it is cut short or must not be segmented. at: of the IP header.
static uint32_t l4_hdr_len(const struct rte_mbuf *super, uint32_t at, const struct ip_info *info)
{
	uint32_t room = RTE_MIN((uint32_t)super->data_len - at, info->total_len);
	const uint8_t *l4 = rte_pktmbuf_mtod_offset(super, const uint8_t *, at + info->l3_len);
	if (info->proto == IPPROTO_UDP)
		return room >= (uint32_t)info->l3_len + UDP_HDR_LEN ? UDP_HDR_LEN : 0;
	if (info->proto != IPPROTO_TCP || room < (uint32_t)info->l3_len + TCP_HDR_LEN)
		return 0;

	const struct rte_tcp_hdr *tcp = (const struct rte_tcp_hdr *)l4;
	uint32_t len = (tcp->data_off >> 4) * 4;
	if (len < TCP_HDR_LEN || room < info->l3_len + len || (tcp->tcp_flags & SEG_NONE))
		return 0;
	return len;
}

// The packet in VXLAN, which fills all that is around it.
static bool find_inner(const struct rte_mbuf *super, const struct ip_info *info, struct layout *l)
{
	uint32_t vxlan = info->l3_len + UDP_HDR_LEN, vni;
	const uint8_t *l3 = rte_pktmbuf_mtod(super, const uint8_t *);
	if (info->proto != IPPROTO_UDP || super->data_len < vxlan || info->total_len < vxlan)
		return false;
	const struct rte_udp_hdr *udp = (const struct rte_udp_hdr *)(l3 + info->l3_len);
	l->at = vxlan + VXLAN_L3_AT;
	l->ip = &l->inner;
	return rte_be_to_cpu_16(udp->dgram_len) == info->total_len - info->l3_len &&
	       vxlan_parse(l3 + vxlan, super->data_len - vxlan, info->total_len - vxlan, &vni,
		       &l->inner) == VXLAN_OK &&
	       l->inner.proto == IPPROTO_TCP && l->at + l->inner.total_len == info->total_len;
}

static bool find_headers(const struct rte_mbuf *super, const struct ip_info *info, struct layout *l)
{
	l->ip = info;
	l->at = 0;
	if (unlikely(super->packet_type == VNET_TUNNEL_TCP) && !find_inner(super, info, l))
		return false;
	uint32_t l4_len = l4_hdr_len(super, l->at, l->ip);
	l->hdr_len = l->at + l->ip->l3_len + l4_len;
	return l4_len > 0 && !((info->flags | l->ip->flags) & IP_FLAG_FRAG);
}

uint32_t gso_hdr_len(const struct rte_mbuf *super, const struct ip_info *info)
{
	struct layout l;
	return find_headers(super, info, &l) ? l.hdr_len : 0;
}

// Sums over the headers with every changing field at zero; a segment adds its own values.
static struct gso_ip sum_ip(const uint8_t *hdr, uint32_t at, const struct ip_info *info)
{
	struct gso_ip ip = {.at = (uint16_t)at, .len = info->l3_len, .family = info->family};
	if (ip.family == IP_V4) {
		uint8_t l3[15 * 4];
		memcpy(l3, hdr + at, ip.len);
		struct rte_ipv4_hdr *ip4 = (struct rte_ipv4_hdr *)l3;
		ip.id = rte_be_to_cpu_16(ip4->packet_id);
		ip4->total_length = 0;
		ip4->packet_id = 0;
		ip4->hdr_checksum = 0;
		ip.sum = csum_add(l3, ip.len, 0);
	}
	return ip;
}

static void sum_l4(struct gso_iter *it, const struct ip_info *info)
{
	uint8_t l4[L4_HDR_MAX];
	const uint8_t *l3 = it->hdr + it->ip.at;
	uint16_t l4_len = it->hdr_len - it->ip.at - it->ip.len;
	memcpy(l4, l3 + it->ip.len, l4_len);
	if (it->proto == IPPROTO_TCP) {
		struct rte_tcp_hdr *tcp = (struct rte_tcp_hdr *)l4;
		it->seq = rte_be_to_cpu_32(tcp->sent_seq);
		tcp->sent_seq = 0;
		tcp->tcp_flags = 0;
		tcp->cksum = 0;
	} else {
		struct rte_udp_hdr *udp = (struct rte_udp_hdr *)l4;
		udp->dgram_len = 0;
		udp->dgram_cksum = 0;
	}
	it->l4_sum = csum_add(l4, l4_len, csum_pseudo(l3, info, 0));
}

static void sum_headers(struct gso_iter *it, const struct layout *l, const struct ip_info *info)
{
	it->ip = sum_ip(it->hdr, l->at, l->ip);
	sum_l4(it, l->ip);
	if (likely(l->at == 0))
		return;
	const struct rte_udp_hdr *udp = (const struct rte_udp_hdr *)(it->hdr + info->l3_len);
	it->outer = sum_ip(it->hdr, 0, info);
	it->outer_csum = udp->dgram_cksum != 0;
}

// Go to the segment that holds the next payload byte.
static inline void settle(struct gso_iter *it)
{
	while (it->seg_off >= it->seg->data_len && it->left > 0) {
		it->seg_off -= it->seg->data_len;
		it->seg = it->seg->next;
	}
}

int gso_iter_init(struct gso_iter *it, const struct rte_mbuf *super, const struct ip_info *info,
	struct rte_mempool *pool)
{
	struct layout l;
	if (!find_headers(super, info, &l) || super->tso_segsz == 0 ||
		info->total_len <= l.hdr_len || chain_len(super) < info->total_len)
		return -EINVAL;

	uint32_t payload = info->total_len - l.hdr_len;
	uint32_t room = rte_pktmbuf_data_room_size(pool);
	if (RTE_PKTMBUF_HEADROOM + l.hdr_len + RTE_MIN(payload, (uint32_t)super->tso_segsz) > room)
		return -EMSGSIZE;

	*it = (struct gso_iter){
		.hdr = rte_pktmbuf_mtod(super, const uint8_t *),
		.seg = super,
		.seg_off = l.hdr_len,
		.left = payload,
		.mss = super->tso_segsz,
		.hdr_len = (uint16_t)l.hdr_len,
		.port = super->port,
		.proto = l.ip->proto,
		.first = true,
		.pool = pool,
	};
	sum_headers(it, &l, info);
	settle(it);
	return 0;
}

// Copy the next n payload bytes to dst; returns their sum. n <= left.
static inline uint64_t take(struct gso_iter *it, uint8_t *dst, uint32_t n)
{
	uint64_t sum = 0;
	bool odd = false;
	it->left -= n;
	for (;;) {
		uint32_t part = RTE_MIN(n, it->seg->data_len - it->seg_off);
		const uint8_t *src = rte_pktmbuf_mtod_offset(it->seg, const uint8_t *, it->seg_off);
		uint64_t part_sum = csum_copy(dst, src, part, 0);
		sum += unlikely(odd) ? csum_shift(part_sum) : part_sum;
		odd ^= part & 1;
		dst += part;
		n -= part;
		it->seg_off += part;
		if (likely(n == 0))
			break;
		it->seg_off = 0;
		it->seg = it->seg->next;
	}
	settle(it);
	return sum;
}

// total: bytes from this header on.
static inline void finish_l3(struct gso_ip *ip, uint8_t *l3, uint32_t total)
{
	if (ip->family == IP_V4) {
		struct rte_ipv4_hdr *ip4 = (struct rte_ipv4_hdr *)l3;
		ip4->total_length = rte_cpu_to_be_16((uint16_t)total);
		ip4->packet_id = rte_cpu_to_be_16(ip->id++);
		ip4->hdr_checksum = csum_finish(ip->sum + ip4->total_length + ip4->packet_id);
	} else {
		struct rte_ipv6_hdr *ip6 = (struct rte_ipv6_hdr *)l3;
		ip6->payload_len = rte_cpu_to_be_16((uint16_t)(total - IP6_HDR_LEN));
	}
}

// sum: of the payload, n bytes.
static inline void finish_tcp(
	struct gso_iter *it, struct rte_tcp_hdr *tcp, uint32_t n, uint64_t sum)
{
	uint8_t flags = tcp->tcp_flags;
	if (it->left > 0)
		flags &= ~SEG_LAST;
	if (!it->first)
		flags &= ~RTE_TCP_CWR_FLAG; // RFC 3168 6.1.2: the sender says it once
	tcp->tcp_flags = flags;
	tcp->sent_seq = rte_cpu_to_be_32(it->seq);
	it->seq += n;
	uint32_t l4_len = it->hdr_len - it->ip.at - it->ip.len + n;
	tcp->cksum = csum_finish(it->l4_sum + sum + tcp->sent_seq + rte_cpu_to_be_16(flags) +
				 rte_cpu_to_be_32(l4_len));
}

static inline void finish_udp(
	struct gso_iter *it, struct rte_udp_hdr *udp, uint32_t n, uint64_t sum)
{
	uint16_t len = rte_cpu_to_be_16((uint16_t)(UDP_HDR_LEN + n));
	udp->dgram_len = len;
	udp->dgram_cksum =
		csum_finish_udp(it->l4_sum + sum + len + len); // once for the pseudo header
}

// The headers around a segment that is finished inside; total: its bytes, sum: of its payload,
// which begins at an even offset.
static __rte_noinline void finish_outer(
	struct gso_iter *it, uint8_t *l3, uint32_t total, uint64_t sum)
{
	struct rte_udp_hdr *udp = (struct rte_udp_hdr *)(l3 + it->outer.len);
	uint32_t l4_len = total - it->outer.len;
	finish_l3(&it->outer, l3, total);
	udp->dgram_len = rte_cpu_to_be_16((uint16_t)l4_len);
	udp->dgram_cksum = 0;
	if (!it->outer_csum)
		return;
	sum += it->outer.family == IP_V4 ? csum_pseudo4(l3, IPPROTO_UDP, l4_len)
					 : csum_pseudo6(l3, IPPROTO_UDP, l4_len);
	udp->dgram_cksum = csum_finish_udp(csum_add(udp, it->hdr_len - it->outer.len, sum));
}
static_assert((UDP_HDR_LEN + VXLAN_L3_AT) % 2 == 0);

static inline void make_segment(struct gso_iter *it, struct rte_mbuf *m)
{
	uint32_t n = RTE_MIN(it->left, it->mss);
	uint8_t *data = rte_pktmbuf_mtod(m, uint8_t *);
	uint8_t *l3 = data + it->ip.at, *l4 = l3 + it->ip.len;
	m->data_len = (uint16_t)(it->hdr_len + n);
	m->pkt_len = it->hdr_len + n;
	m->port = it->port;

	memcpy(data, it->hdr, it->hdr_len);
	uint64_t sum = take(it, data + it->hdr_len, n);
	finish_l3(&it->ip, l3, it->hdr_len - it->ip.at + n);
	if (it->proto == IPPROTO_TCP)
		finish_tcp(it, (struct rte_tcp_hdr *)l4, n, sum);
	else
		finish_udp(it, (struct rte_udp_hdr *)l4, n, sum);
	if (unlikely(it->outer.len > 0))
		finish_outer(it, data, it->hdr_len + n, sum);
	it->first = false;
}

int gso_iter_next(struct gso_iter *it, struct rte_mbuf *out[], unsigned max)
{
	unsigned n = RTE_MIN(max, gso_iter_left(it));
	if (n == 0)
		return 0;
	if (rte_pktmbuf_alloc_bulk(it->pool, out, n) != 0)
		return -ENOMEM;
	for (unsigned i = 0; i < n; i++)
		make_segment(it, out[i]);
	return (int)n;
}

int gso_segment(const struct rte_mbuf *super, const struct ip_info *info, struct rte_mempool *pool,
	struct rte_mbuf *out[], unsigned max)
{
	struct gso_iter it;
	int err = gso_iter_init(&it, super, info, pool);
	if (err != 0)
		return err;
	if (gso_iter_left(&it) > max)
		return -ENOSPC;
	return gso_iter_next(&it, out, max);
}

int gso_csum_complete(struct rte_mbuf *m, const struct ip_info *info)
{
	uint8_t *l3 = rte_pktmbuf_mtod(m, uint8_t *);
	uint32_t at, len = info->total_len - info->l3_len;
	switch (info->proto) {
	case IPPROTO_TCP:
		at = TCP_CSUM_AT;
		break;
	case IPPROTO_UDP:
		at = UDP_CSUM_AT;
		break;
	case IPPROTO_ICMPV6:
		at = ICMP6_CSUM_AT;
		break;
	default:
		return -EPROTONOSUPPORT;
	}
	if ((info->flags & IP_FLAG_FRAG) || len < at + 2 || info->l3_len + at + 2 > m->data_len ||
		chain_len(m) < info->total_len)
		return -EINVAL;

	uint8_t *l4 = l3 + info->l3_len;
	if (info->proto == IPPROTO_UDP) {
		uint32_t udp_len = rte_be_to_cpu_16(((struct rte_udp_hdr *)l4)->dgram_len);
		if (udp_len < UDP_HDR_LEN || udp_len > len)
			return -EINVAL;
		len = udp_len;
	}
	memset(l4 + at, 0, 2);
	uint64_t sum = csum_mbuf(m, info->l3_len, len, csum_pseudo(l3, info, len));
	uint16_t csum = info->proto == IPPROTO_UDP ? csum_finish_udp(sum) : csum_finish(sum);
	memcpy(l4 + at, &csum, 2);
	return 0;
}

void gso_to_ethdev(struct rte_mbuf *m)
{
	uint8_t *l3 = rte_pktmbuf_mtod_offset(m, uint8_t *, m->l2_len);
	uint8_t *l4 = l3 + m->l3_len;
	uint16_t sum;
	bool tcp = m->ol_flags & RTE_MBUF_F_TX_TCP_SEG;
	uint8_t proto = tcp ? IPPROTO_TCP : IPPROTO_UDP;
	if (m->ol_flags & RTE_MBUF_F_TX_IPV6) {
		sum = csum_fold(csum_pseudo6(l3, proto, 0));
	} else {
		((struct rte_ipv4_hdr *)l3)->hdr_checksum = 0;
		sum = csum_fold(csum_pseudo4(l3, proto, 0));
	}
	memcpy(l4 + (tcp ? TCP_CSUM_AT : UDP_CSUM_AT), &sum, 2);
}
