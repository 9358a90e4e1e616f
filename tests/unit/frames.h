// Test packets as ports send them: built from a description, compared after they were received.
#pragma once

#include <rte_ether.h>
#include <rte_mbuf.h>

#include "dataplane/wire/csum.h"
#include "dataplane/wire/ether.h"

struct frame {
	const char *name;
	uint8_t family; // enum ip_family
	uint8_t proto;	// IPPROTO_TCP, IPPROTO_UDP
	uint16_t segsz; // 0: no segmentation
	bool csum;	// leave the L4 checksum to the port
	uint32_t payload;
};

enum {
	FRAME_PIECE = 1400, // payload bytes in each segment of the chain
	FRAME_PORT = 7001,
};

static inline uint32_t frame_hdr_len(const struct frame *f, bool l2)
{
	return (l2 ? ETHER_HDR_LEN : 0) + (f->family == IP_V4 ? IP4_HDR_LEN : IP6_HDR_LEN) +
	       (f->proto == IPPROTO_TCP ? TCP_HDR_LEN : UDP_HDR_LEN);
}

static inline uint8_t frame_byte(uint32_t at)
{
	return (uint8_t)(at * 7 + (at >> 8) * 13);
}

// 10.1.0.2 -> 10.2.0.2, fd01::2 -> fd02::2
static inline void frame_l3(const struct frame *f, uint8_t *l3, uint32_t l4_len)
{
	if (f->family == IP_V4) {
		struct rte_ipv4_hdr *ip4 = (struct rte_ipv4_hdr *)l3;
		*ip4 = (struct rte_ipv4_hdr){
			.version_ihl = 0x45,
			.total_length = rte_cpu_to_be_16(IP4_HDR_LEN + l4_len),
			.fragment_offset = rte_cpu_to_be_16(RTE_IPV4_HDR_DF_FLAG),
			.time_to_live = 64,
			.next_proto_id = f->proto,
			.src_addr = rte_cpu_to_be_32(RTE_IPV4(10, 1, 0, 2)),
			.dst_addr = rte_cpu_to_be_32(RTE_IPV4(10, 2, 0, 2)),
		};
		csum_ip4_hdr_set(l3, IP4_HDR_LEN);
		return;
	}
	struct rte_ipv6_hdr *ip6 = (struct rte_ipv6_hdr *)l3;
	*ip6 = (struct rte_ipv6_hdr){
		.vtc_flow = rte_cpu_to_be_32(6U << 28),
		.payload_len = rte_cpu_to_be_16(l4_len),
		.proto = f->proto,
		.hop_limits = 64,
		.src_addr = {0xfd, 1, [15] = 2},
		.dst_addr = {0xfd, 2, [15] = 2},
	};
}

static inline void frame_l4(const struct frame *f, uint8_t *l4, uint32_t l4_len)
{
	if (f->proto == IPPROTO_TCP) {
		*(struct rte_tcp_hdr *)l4 = (struct rte_tcp_hdr){
			.src_port = rte_cpu_to_be_16(FRAME_PORT),
			.dst_port = rte_cpu_to_be_16(FRAME_PORT),
			.sent_seq = rte_cpu_to_be_32(1000),
			.data_off = TCP_HDR_LEN / 4 << 4,
			.tcp_flags = RTE_TCP_ACK_FLAG,
			.rx_win = rte_cpu_to_be_16(1000),
		};
		return;
	}
	*(struct rte_udp_hdr *)l4 = (struct rte_udp_hdr){
		.src_port = rte_cpu_to_be_16(FRAME_PORT),
		.dst_port = rte_cpu_to_be_16(FRAME_PORT),
		.dgram_len = rte_cpu_to_be_16(l4_len),
	};
}

static inline void frame_flags(const struct frame *f, struct rte_mbuf *m, bool l2)
{
	m->l2_len = l2 ? ETHER_HDR_LEN : 0;
	m->l3_len = f->family == IP_V4 ? IP4_HDR_LEN : IP6_HDR_LEN;
	m->l4_len = f->proto == IPPROTO_TCP ? TCP_HDR_LEN : UDP_HDR_LEN;
	m->tso_segsz = f->segsz;
	m->ol_flags |= f->family == IP_V4 ? RTE_MBUF_F_TX_IPV4 : RTE_MBUF_F_TX_IPV6;
	if (f->csum)
		m->ol_flags |=
			f->proto == IPPROTO_TCP ? RTE_MBUF_F_TX_TCP_CKSUM : RTE_MBUF_F_TX_UDP_CKSUM;
	if (f->segsz)
		m->ol_flags |=
			f->proto == IPPROTO_TCP ? RTE_MBUF_F_TX_TCP_SEG : RTE_MBUF_F_TX_UDP_SEG;
}

static inline void frame_csum(const struct frame *f, struct rte_mbuf *m, bool l2, uint32_t l4_len)
{
	uint32_t l3_at = l2 ? ETHER_HDR_LEN : 0, l4_at = m->pkt_len - l4_len;
	const uint8_t *l3 = rte_pktmbuf_mtod_offset(m, uint8_t *, l3_at);
	uint64_t sum = f->family == IP_V4 ? csum_pseudo4(l3, f->proto, l4_len)
					  : csum_pseudo6(l3, f->proto, l4_len);
	uint16_t csum =
		f->csum ? csum_fold(sum) : csum_finish_udp(csum_mbuf(m, l4_at, l4_len, sum));
	memcpy(rte_pktmbuf_mtod_offset(m, uint8_t *, l4_at + (f->proto == IPPROTO_TCP ? 16 : 6)),
		&csum, sizeof(csum));
}

// A chain of mbufs of the pool: all headers in the first, FRAME_PIECE payload bytes in each.
static inline struct rte_mbuf *frame_build(const struct frame *f, struct rte_mempool *pool,
	const struct rte_ether_addr *src, const struct rte_ether_addr *dst)
{
	bool l2 = dst != NULL;
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool), *tail = m;
	uint32_t hdr_len = frame_hdr_len(f, l2), l3_at = l2 ? ETHER_HDR_LEN : 0;
	uint32_t l4_hdr = f->proto == IPPROTO_TCP ? TCP_HDR_LEN : UDP_HDR_LEN;
	uint8_t *at = (uint8_t *)rte_pktmbuf_append(m, hdr_len);
	if (l2) {
		struct rte_ether_hdr *eth = (struct rte_ether_hdr *)at;
		eth->src_addr = *src;
		eth->dst_addr = *dst;
		eth->ether_type = rte_cpu_to_be_16(
			f->family == IP_V4 ? RTE_ETHER_TYPE_IPV4 : RTE_ETHER_TYPE_IPV6);
	}
	frame_l3(f, at + l3_at, l4_hdr + f->payload);
	frame_l4(f, at + hdr_len - l4_hdr, l4_hdr + f->payload);
	for (uint32_t done = 0; done < f->payload;) {
		uint32_t piece = RTE_MIN(f->payload - done, (uint32_t)FRAME_PIECE);
		tail->next = done ? rte_pktmbuf_alloc(pool) : NULL;
		if (done) {
			tail = tail->next;
			m->nb_segs++;
		}
		uint8_t *to = rte_pktmbuf_mtod_offset(tail, uint8_t *, tail->data_len);
		for (uint32_t i = 0; i < piece; i++)
			to[i] = frame_byte(done + i);
		tail->data_len += piece;
		m->pkt_len += piece;
		done += piece;
	}
	frame_flags(f, m, l2);
	frame_csum(f, m, l2, l4_hdr + f->payload);
	return m;
}

// Whether payload bytes [from, from + len) of the frame lie in m behind its headers.
static inline bool frame_payload_is(
	const struct frame *f, const struct rte_mbuf *m, bool l2, uint32_t from, uint32_t len)
{
	uint8_t piece[512];
	uint32_t hdr_len = frame_hdr_len(f, l2);
	if (m->pkt_len != hdr_len + len)
		return false;
	for (uint32_t done = 0; done < len;) {
		uint32_t n = RTE_MIN(len - done, (uint32_t)sizeof(piece));
		const uint8_t *at = rte_pktmbuf_read(m, hdr_len + done, n, piece);
		for (uint32_t i = 0; i < n; i++) {
			if (at[i] != frame_byte(from + done + i))
				return false;
		}
		done += n;
	}
	return true;
}

// Whether the L4 checksum of a received packet is right as it stands.
static inline bool frame_csum_ok(const struct frame *f, const struct rte_mbuf *m, bool l2)
{
	uint32_t l4_at =
		(l2 ? ETHER_HDR_LEN : 0) + (f->family == IP_V4 ? IP4_HDR_LEN : IP6_HDR_LEN);
	uint32_t l4_len = m->pkt_len - l4_at;
	const uint8_t *l3 = rte_pktmbuf_mtod_offset(m, uint8_t *, l2 ? ETHER_HDR_LEN : 0);
	uint64_t sum = f->family == IP_V4 ? csum_pseudo4(l3, f->proto, l4_len)
					  : csum_pseudo6(l3, f->proto, l4_len);
	return csum_fold(csum_mbuf(m, l4_at, l4_len, sum)) == 0xffff;
}
