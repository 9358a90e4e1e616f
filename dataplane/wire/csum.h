// The Internet checksum (RFC 1071). Sums are taken over 16-bit words as they lie in memory, so a
// folded sum is stored without a byte swap; fields given to these functions are in wire order too.
// A partial sum is an unfolded uint64_t: partial sums add with +, in any order, as long as each
// began at an even offset of the checksummed data (csum_shift for those that did not).
#pragma once

#include "dataplane/wire/ip.h"

#include <rte_mbuf.h>

// sum + the words of len bytes at data, any alignment; an odd last byte counts as padded with 0.
uint64_t csum_add(const void *data, size_t len, uint64_t sum);
// The same, and the bytes are copied to dst in the same pass. No overlap.
uint64_t csum_copy(void *dst, const void *src, size_t len, uint64_t sum);
// The portable twins, used where the CPU has no AVX2.
uint64_t csum_add_plain(const void *data, size_t len, uint64_t sum);
uint64_t csum_copy_plain(void *dst, const void *src, size_t len, uint64_t sum);

// sum + the words of len bytes from offset on, across the segments of a chain. The bytes must be
// there: offset + len <= the chain's length.
uint64_t csum_mbuf(const struct rte_mbuf *m, uint32_t offset, uint32_t len, uint64_t sum);

// A partial sum as 16 bits, not complemented; 0 only when every word was 0.
static inline uint16_t csum_fold(uint64_t sum)
{
	// A number and itself with swapped halves: the upper half is then their sum, the carry of
	// the lower half's included.
	uint32_t half = (uint32_t)((sum + (sum << 32 | sum >> 32)) >> 32);
	return (uint16_t)((half + (half << 16 | half >> 16)) >> 16);
}

// What goes into the checksum field of IPv4, TCP, ICMP.
static inline uint16_t csum_finish(uint64_t sum)
{
	return (uint16_t)~csum_fold(sum);
}

// UDP: 0 would say "no checksum" (RFC 768).
static inline uint16_t csum_finish_udp(uint64_t sum)
{
	uint16_t csum = csum_finish(sum);
	return csum != 0 ? csum : 0xffff;
}

// Turn the sum of bytes that begin at an odd offset into one that can be added (RFC 1071 2.B).
static inline uint64_t csum_shift(uint64_t sum)
{
	return rte_bswap16(csum_fold(sum));
}

// RFC 1624 equation 3: the checksum after a 16-bit (32-bit) field changed.
static inline uint16_t csum_update16(uint16_t csum, uint16_t from, uint16_t to)
{
	return csum_finish((uint64_t)(uint16_t)~csum + (uint16_t)~from + to);
}

static inline uint16_t csum_update32(uint16_t csum, uint32_t from, uint32_t to)
{
	return csum_finish((uint64_t)(uint16_t)~csum + (uint32_t)~from + to);
}

static inline uint64_t csum_load32(const uint8_t *p)
{
	uint32_t word;
	memcpy(&word, p, sizeof(word));
	return word;
}

// The 20 bytes of an IPv4 header without options, its checksum field included.
static inline uint64_t csum_ip4_plain_hdr(const uint8_t *l3)
{
	return csum_load32(l3) + csum_load32(l3 + 4) + csum_load32(l3 + 8) + csum_load32(l3 + 12) +
	       csum_load32(l3 + 16);
}

// Write the checksum of an IPv4 header of l3_len bytes, options included.
static inline void csum_ip4_hdr_set(uint8_t *l3, uint32_t l3_len)
{
	struct rte_ipv4_hdr *ip4 = (struct rte_ipv4_hdr *)l3;
	ip4->hdr_checksum = 0;
	ip4->hdr_checksum = csum_finish(
		l3_len == IP4_HDR_LEN ? csum_ip4_plain_hdr(l3) : csum_add(l3, l3_len, 0));
}

static inline bool csum_ip4_hdr_ok(const uint8_t *l3, uint32_t l3_len)
{
	return csum_fold(likely(l3_len == IP4_HDR_LEN) ? csum_ip4_plain_hdr(l3)
						       : csum_add(l3, l3_len, 0)) == 0xffff;
}

// Pseudo headers (RFC 9293 3.1, RFC 8200 8.1) of the packet at l3; l4_len: bytes of L4 header and
// payload. For IPv6 the destination is taken from the header: that is not the final one of a packet
// with a routing header.
static inline uint64_t csum_pseudo4(const uint8_t *l3, uint8_t proto, uint32_t l4_len)
{
	return csum_load32(l3 + 12) + csum_load32(l3 + 16) + rte_cpu_to_be_16(proto) +
	       rte_cpu_to_be_32(l4_len);
}

static inline uint64_t csum_pseudo6(const uint8_t *l3, uint8_t proto, uint32_t l4_len)
{
	uint64_t sum = (uint64_t)rte_cpu_to_be_16(proto) + rte_cpu_to_be_32(l4_len);
	for (unsigned i = 8; i < IP6_HDR_LEN; i += 4)
		sum += csum_load32(l3 + i);
	return sum;
}

static inline uint64_t csum_pseudo(const uint8_t *l3, const struct ip_info *info, uint32_t l4_len)
{
	return info->family == IP_V4 ? csum_pseudo4(l3, info->proto, l4_len)
				     : csum_pseudo6(l3, info->proto, l4_len);
}
