// Packets for the tests of segmentation and coalescing: built, taken apart and summed in the most
// obvious way, on flat bytes.
#pragma once

#include "dataplane/wire/ip.h"
#include "tests/unit/eal.h"

#include <assert.h>
#include <string.h>

enum {
	FLAT_MAX = 65600,
	ROOM = 2048, // of an mbuf behind its headroom
};

// A packet as bytes from its IP header on.
struct flat {
	uint32_t len;
	uint8_t b[FLAT_MAX];
};

// What flow_build makes; all numbers in host order.
struct spec {
	uint8_t family; // 0: IPv4
	uint8_t proto;	// 0: TCP
	uint8_t ttl;	// 0: 64
	uint8_t tos;
	uint8_t host;	   // last byte of the source address
	uint8_t flags;	   // TCP; 0: ACK
	uint8_t n_options; // TCP, bytes; multiple of 4
	uint8_t option;	   // value of each option byte
	uint8_t low_bits;  // TCP: the half byte behind the data offset
	bool no_df;
	uint16_t id;
	uint16_t sport; // 0: 1000
	uint16_t dport; // 0: 2000
	uint16_t window;
	uint16_t urgent;
	uint32_t label; // IPv6 flow label
	uint32_t seq;
	uint32_t ack;
	uint32_t payload;
	uint32_t fill; // seed of the payload
};

static inline uint32_t flow_random(uint32_t *state)
{
	*state = *state * 1664525 + 1013904223;
	return *state >> 8;
}

static inline void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v);
}

static inline uint32_t get16(const uint8_t *p)
{
	return (uint32_t)p[0] << 8 | p[1];
}

static inline uint32_t get32(const uint8_t *p)
{
	return get16(p) << 16 | get16(p + 2);
}

// RFC 1071, byte by byte, host order.
static inline uint32_t flow_sum(const uint8_t *p, uint32_t len, uint32_t sum)
{
	for (uint32_t i = 0; i < len; i++) {
		sum += i % 2 == 0 ? (uint32_t)p[i] << 8 : p[i];
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return sum;
}

static inline bool flow_is_v4(const uint8_t *b)
{
	return b[0] >> 4 == 4;
}

static inline uint32_t flow_l3_len(const uint8_t *b)
{
	return flow_is_v4(b) ? (b[0] & 15) * 4 : 40;
}

static inline uint8_t flow_proto(const uint8_t *b)
{
	return flow_is_v4(b) ? b[9] : b[6];
}

static inline uint32_t flow_hdr_len(const uint8_t *b)
{
	uint32_t l3 = flow_l3_len(b);
	return l3 + (flow_proto(b) == IPPROTO_TCP ? (b[l3 + 12] >> 4) * 4 : 8);
}

static inline uint32_t flow_pseudo_sum(const uint8_t *b, uint32_t l4_len)
{
	uint8_t rest[8] = {0, 0, 0, flow_proto(b)};
	put32(rest + 4, l4_len);
	uint32_t sum = flow_is_v4(b) ? flow_sum(b + 12, 8, 0) : flow_sum(b + 8, 32, 0);
	return flow_sum(rest, 8, sum);
}

static inline uint32_t flow_csum_at(const uint8_t *b)
{
	uint8_t proto = flow_proto(b);
	return flow_l3_len(b) + (proto == IPPROTO_TCP ? 16 : proto == IPPROTO_UDP ? 6 : 2);
}

// Set lengths and checksums of a packet of len bytes without extension headers.
static inline void flow_finish(uint8_t *b, uint32_t len)
{
	uint32_t l3 = flow_l3_len(b), l4_len = len - l3;
	if (flow_is_v4(b)) {
		put16(b + 2, len);
		put16(b + 10, 0);
		put16(b + 10, ~flow_sum(b, l3, 0));
	} else {
		put16(b + 4, l4_len);
	}
	bool udp = flow_proto(b) == IPPROTO_UDP;
	if (udp)
		put16(b + l3 + 4, l4_len);
	uint8_t *csum = b + flow_csum_at(b);
	put16(csum, 0);
	uint32_t sum = ~flow_sum(b + l3, l4_len, flow_pseudo_sum(b, l4_len)) & 0xffff;
	put16(csum, udp && sum == 0 ? 0xffff : sum);
}

static inline void flow_build(const struct spec *s, struct flat *p)
{
	uint8_t *b = p->b;
	uint32_t l3 = s->family == IP_V6 ? 40 : 20;
	uint8_t proto = s->proto != 0 ? s->proto : IPPROTO_TCP;
	memset(b, 0, 120);
	if (s->family == IP_V6) {
		put32(b, 6u << 28 | (uint32_t)s->tos << 20 | s->label);
		b[6] = proto;
		b[7] = s->ttl != 0 ? s->ttl : 64;
		b[8] = b[24] = 0xfd;
		b[23] = s->host;
		b[39] = 99;
	} else {
		b[0] = 0x45;
		b[1] = s->tos;
		put16(b + 4, s->id);
		b[6] = s->no_df ? 0 : 0x40;
		b[8] = s->ttl != 0 ? s->ttl : 64;
		b[9] = proto;
		put32(b + 12, 0x0a000000u | s->host);
		put32(b + 16, 0xc0000263);
	}
	uint8_t *l4 = b + l3;
	put16(l4, s->sport != 0 ? s->sport : 1000);
	put16(l4 + 2, s->dport != 0 ? s->dport : 2000);
	uint32_t hdr = l3 + 8;
	if (proto == IPPROTO_TCP) {
		put32(l4 + 4, s->seq);
		put32(l4 + 8, s->ack);
		l4[12] = (uint8_t)((20 + s->n_options) / 4 << 4 | s->low_bits);
		l4[13] = s->flags != 0 ? s->flags : RTE_TCP_ACK_FLAG;
		put16(l4 + 14, s->window);
		put16(l4 + 18, s->urgent);
		memset(l4 + 20, s->option, s->n_options);
		hdr = l3 + 20 + s->n_options;
	}
	uint32_t seed = s->fill;
	for (uint32_t i = 0; i < s->payload; i++)
		b[hdr + i] = (uint8_t)flow_random(&seed);
	p->len = hdr + s->payload;
	flow_finish(b, p->len);
}

// Segment n of a super-packet, for the reference; false: there is none.
static inline bool flow_segment(
	const struct flat *super, uint32_t mss, uint32_t n, struct flat *out)
{
	uint32_t hdr = flow_hdr_len(super->b), l3 = flow_l3_len(super->b);
	uint32_t payload = super->len - hdr, from = n * mss;
	if (from >= payload)
		return false;
	uint32_t len = payload - from < mss ? payload - from : mss;
	memcpy(out->b, super->b, hdr);
	memcpy(out->b + hdr, super->b + hdr + from, len);
	out->len = hdr + len;
	if (flow_is_v4(out->b))
		put16(out->b + 4, get16(super->b + 4) + n);
	if (flow_proto(out->b) == IPPROTO_TCP) {
		uint8_t *l4 = out->b + l3;
		put32(l4 + 4, get32(l4 + 4) + from);
		if (n > 0)
			l4[13] &= ~RTE_TCP_CWR_FLAG;
		if (from + len < payload)
			l4[13] &= ~(RTE_TCP_PSH_FLAG | RTE_TCP_FIN_FLAG);
	}
	flow_finish(out->b, out->len);
	return true;
}

// Bytes as a chain: the first mbuf takes up to first bytes, each other up to piece, or as many as
// fit where these are 0 or too large.
static inline struct rte_mbuf *flow_mbuf(
	struct rte_mempool *pool, const uint8_t *b, uint32_t len, uint32_t first, uint32_t piece)
{
	struct rte_mbuf *head = NULL;
	uint32_t done = 0;
	while (done < len || head == NULL) {
		struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
		assert(m != NULL);
		uint32_t n = head == NULL ? first : piece;
		n = RTE_MIN(n == 0 || n > ROOM ? ROOM : n, len - done);
		memcpy(rte_pktmbuf_append(m, (uint16_t)n), b + done, n);
		done += n;
		if (head == NULL)
			head = m;
		else if (rte_pktmbuf_chain(head, m) != 0)
			abort();
	}
	return head;
}

static inline void flow_flat(const struct rte_mbuf *m, struct flat *out)
{
	out->len = 0;
	for (; m != NULL; m = m->next) {
		memcpy(out->b + out->len, rte_pktmbuf_mtod(m, const void *), m->data_len);
		out->len += m->data_len;
	}
}

// What the headers of an unbroken packet say, the outer IP header first.
static inline struct ip_info flow_parse(const struct rte_mbuf *m)
{
	struct ip_info info;
	if (ip_parse_chain(rte_pktmbuf_mtod(m, const uint8_t *), m->data_len, m->pkt_len, &info) !=
		0)
		abort();
	return info;
}
