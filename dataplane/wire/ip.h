// IPv4 and IPv6 headers, read without trust. The structs are DPDK's (rte_ipv4_hdr, rte_ipv6_hdr,
// rte_tcp_hdr, rte_udp_hdr): packed, so that any alignment is read correctly.
#pragma once

#include "dataplane/base/types.h"

#include <errno.h>
#include <netinet/in.h>
#include <rte_byteorder.h>
#include <rte_ip.h>
#include <rte_tcp.h>
#include <rte_udp.h>

enum {
	IP4_HDR_LEN = 20, // without options (RFC 791)
	IP6_HDR_LEN = 40, // without extension headers (RFC 8200)
	TCP_HDR_LEN = 20, // without options (RFC 9293)
	UDP_HDR_LEN = 8,  // RFC 768
	IP6_EXT_MAX = 8,  // extension headers walked before a packet is refused
};
static_assert(sizeof(struct rte_ipv4_hdr) == IP4_HDR_LEN);
static_assert(sizeof(struct rte_ipv6_hdr) == IP6_HDR_LEN);
static_assert(sizeof(struct rte_tcp_hdr) == TCP_HDR_LEN);
static_assert(sizeof(struct rte_udp_hdr) == UDP_HDR_LEN);

enum ip_flag {
	IP_FLAG_DF = 1 << 0,	    // IPv4 don't-fragment; always set for IPv6
	IP_FLAG_FRAG = 1 << 1,	    // a fragment: first, middle or last
	IP_FLAG_FRAG_TAIL = 1 << 2, // a fragment with offset > 0: no L4 header follows
	IP_FLAG_OPTIONS = 1 << 3,   // IPv4 options or IPv6 extension headers between
	// Not of ip_parse: put together of fragments here, so that it may be cut again.
	IP_FLAG_WHOLE = 1 << 4,
};

// What ip_parse learned. Offsets count from the first byte of the IP header.
struct ip_info {
	uint8_t family;	    // enum ip_family
	uint8_t proto;	    // of the L4 header at l3_len: IPPROTO_TCP ...
	uint8_t ttl;	    // or hop limit
	uint8_t tos;	    // or traffic class: DSCP and ECN
	uint16_t l3_len;    // bytes up to L4, options and extension headers included
	uint16_t flags;	    // enum ip_flag
	uint32_t total_len; // bytes of the whole packet, IP header included; <= 65575
};

// The general case of ip_parse_chain: options, extension headers, fragments, refusals.
int ip_parse_slow(
	const uint8_t *l3, uint32_t contig, uint32_t pkt_len, struct ip_info *info) must_check;

// Read the IP header of a packet of pkt_len bytes of which the first contig are contiguous at l3.
// Refuses (-EINVAL, *info undefined): a version other than 4 and 6, a header that is shorter than
// its minimum or not within contig, a total length shorter than the headers or longer than
// pkt_len, more than IP6_EXT_MAX extension headers. Bytes behind total_len (padding) are no error:
// the caller trims. Neither L4 header nor checksums are looked at. [any thread]
must_check static inline int ip_parse_chain(
	const uint8_t *l3, uint32_t contig, uint32_t pkt_len, struct ip_info *info)
{
	if (likely(contig >= IP4_HDR_LEN && l3[0] == 0x45)) {
		const struct rte_ipv4_hdr *ip4 = (const struct rte_ipv4_hdr *)l3;
		rte_be16_t frag = ip4->fragment_offset;
		uint32_t total = rte_be_to_cpu_16(ip4->total_length);
		if (unlikely(total < IP4_HDR_LEN || total > pkt_len ||
			     (frag & RTE_BE16(RTE_IPV4_HDR_MF_FLAG | RTE_IPV4_HDR_OFFSET_MASK))))
			return ip_parse_slow(l3, contig, pkt_len, info);
		*info = (struct ip_info){
			.family = IP_V4,
			.proto = ip4->next_proto_id,
			.ttl = ip4->time_to_live,
			.tos = ip4->type_of_service,
			.l3_len = IP4_HDR_LEN,
			.flags = frag & RTE_BE16(RTE_IPV4_HDR_DF_FLAG) ? IP_FLAG_DF : 0,
			.total_len = total,
		};
		return 0;
	}
	if (contig >= IP6_HDR_LEN && l3[0] >> 4 == 6 &&
		(l3[6] == IPPROTO_TCP || l3[6] == IPPROTO_UDP)) {
		const struct rte_ipv6_hdr *ip6 = (const struct rte_ipv6_hdr *)l3;
		uint32_t total = IP6_HDR_LEN + rte_be_to_cpu_16(ip6->payload_len);
		if (total > pkt_len)
			return -EINVAL;
		*info = (struct ip_info){
			.family = IP_V6,
			.proto = ip6->proto,
			.ttl = ip6->hop_limits,
			.tos = (uint8_t)(rte_be_to_cpu_32(ip6->vtc_flow) >> 20),
			.l3_len = IP6_HDR_LEN,
			.flags = IP_FLAG_DF,
			.total_len = total,
		};
		return 0;
	}
	return ip_parse_slow(l3, contig, pkt_len, info);
}

// ip_parse_chain of a packet that lies in one piece.
must_check static inline int ip_parse(const uint8_t *l3, uint32_t avail, struct ip_info *info)
{
	return ip_parse_chain(l3, avail, avail, info);
}
