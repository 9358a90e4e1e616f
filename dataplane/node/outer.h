// Datagrams on their way out, WireGuard's towards a peer and VXLAN's towards a remote VTEP: runs
// that leave as one super-datagram, and what an outer IP and UDP header leaves open until it is
// sent. [wrk]
#pragma once

#include "dataplane/node/node.h"
#include "dataplane/wire/csum.h"

enum {
	RUNS = 4,		// that a node collects at once
	RUN_DATAGRAMS_MAX = 64, // UDP_MAX_SEGMENTS of older kernels
	// UDP payload of one super-datagram: with IPv6 and Ethernet headers 65535 bytes, beyond
	// which the kernel segments it itself.
	RUN_BYTES_MAX = 65535 - L2_LEN - IP6_HDR_LEN - UDP_HDR_LEN,
};

// Datagrams of equal length with the same outer header, to leave as one super-datagram.
struct outer_run {
	const void *to; // struct peer_path or struct vtep; NULL: unused
	struct rte_mbuf *head, *tail;
	uint32_t bytes;
	uint16_t size; // of each but the last
	uint16_t n;
	rte_be16_t source; // port, where it is not always the same
	uint8_t tos;
	bool closed; // the last was shorter
};

// A run of one datagram joins r. False: it does not fit, r has to leave first.
static inline bool outer_run_add(struct outer_run *r, const struct outer_run *one)
{
	if (r->to != one->to || r->source != one->source || r->tos != one->tos || r->closed ||
		one->bytes > r->size || r->n >= RUN_DATAGRAMS_MAX ||
		r->bytes + one->bytes > RUN_BYTES_MAX)
		return false;
	r->tail->next = one->head;
	r->tail = one->tail;
	r->head->nb_segs += one->head->nb_segs;
	r->head->pkt_len += one->bytes;
	r->bytes += one->bytes;
	r->n++;
	r->closed = one->bytes < r->size;
	return true;
}

// UDP checksum without offload, of m with l2_len and l3_len; l3: its outer IP header.
static inline uint16_t outer_udp_checksum(const struct rte_mbuf *m, const uint8_t *l3, bool v4)
{
	uint32_t at = (uint32_t)m->l2_len + m->l3_len, l4_len = m->pkt_len - at;
	uint64_t sum =
		v4 ? csum_pseudo4(l3, IPPROTO_UDP, l4_len) : csum_pseudo6(l3, IPPROTO_UDP, l4_len);
	return csum_finish_udp(csum_mbuf(m, at, l4_len, sum));
}

// The rest of an IPv4 header; ip_sum: of what does not change in it. To read back what has just
// been written in pieces would cost more than all of it. ids: datagrams that take an
// identification.
static inline void outer_finish_ip4(
	struct graph *g, uint8_t *l3, uint32_t ip_sum, uint32_t udp_len, uint8_t tos, uint16_t ids)
{
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)l3;
	uint16_t total = rte_cpu_to_be_16((uint16_t)(udp_len + IP4_HDR_LEN));
	uint16_t id = rte_cpu_to_be_16(g->ip_id);
	g->ip_id = (uint16_t)(g->ip_id + ids);
	ip->type_of_service = tos;
	ip->total_length = total;
	ip->packet_id = id;
	ip->hdr_checksum = csum_finish((uint64_t)ip_sum + total + id + rte_cpu_to_be_16(tos));
}

// Of an IPv6 header whose flow label is 0.
static inline void outer_finish_ip6(uint8_t *l3, uint32_t udp_len, uint8_t tos)
{
	struct rte_ipv6_hdr *ip = (struct rte_ipv6_hdr *)l3;
	l3[0] = (uint8_t)(0x60 | tos >> 4);
	l3[1] = (uint8_t)(tos << 4);
	ip->payload_len = rte_cpu_to_be_16((uint16_t)udp_len);
}
