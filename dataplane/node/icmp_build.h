// ICMP errors as bytes: RFC 792, 1191, 1812 (4.3), 4443. What may be answered, and the answer.
#pragma once

#include "dataplane/wire/ip.h"

enum {
	ICMP4_LEN_MAX = 576,  // RFC 1812 4.3.2.3
	ICMP6_LEN_MAX = 1280, // RFC 4443 2.4 (c)
	ICMP_HDR_LEN = 8,
	ICMP_TTL_SENT = 64,
	ICMP_TOS_SENT = 0xc0, // RFC 1812 4.3.2.5: internetwork control
};

struct icmp_answer {
	uint8_t family, type, code;
	uint16_t mtu;	      // IPv4: 0 unless it is needed
	uint16_t id;	      // IPv4 identification, host order
	uint16_t quote;	      // bytes of cause that are quoted
	const uint8_t *cause; // IP packet that it is about; its source gets the answer
	const uint8_t *src;   // whose answer it is: 4 or 16 bytes
};

static inline uint16_t icmp_head_len(uint8_t family)
{
	return ICMP_HDR_LEN + (family == IP_V4 ? IP4_HDR_LEN : IP6_HDR_LEN);
}

// Whether source and destination of the packet at l3 are of one host each, so that the source can
// be answered.
bool icmp_answerable_addresses(const uint8_t *l3, uint8_t family);
// The same, and the packet, of which contig bytes lie at l3, is no error itself, nor a later
// fragment.
bool icmp_answerable(const uint8_t *l3, uint32_t contig, const struct ip_info *ip);
// Write icmp_head_len() + quote bytes to out.
void icmp_build(uint8_t *out, const struct icmp_answer *a);
