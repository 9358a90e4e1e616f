// What a router says of a packet that was too large for it (RFC 792 and 1191, RFC 4443 section
// 3.2), and the UDP datagram that it quotes. Read without trust: whether that was sent, and whether
// what is said can be, is the caller's affair. Pure; any thread.
#pragma once

#include "dataplane/base/types.h"
#include "dataplane/wire/ip.h"

struct icmp_quote {
	uint32_t mtu;		  // said; may be anything but 0
	struct endpoint from, to; // of the datagram
	uint16_t total_len;	  // of its IP packet
	bool may_cut;		  // IPv4 without DF: no router has a reason to say so
	const uint8_t *payload;	  // what is quoted behind its UDP header
	size_t len;
};

// Whether an ICMP packet of that header says too big: cheap, for workers. l4: 2 bytes at least.
static inline bool icmp_is_too_big(enum ip_family family, const uint8_t *l4)
{
	return family == IP_V4 ? l4[0] == 3 && l4[1] == 4 : l4[0] == 2 && l4[1] == 0;
}

// packet: len bytes, from its IP header on. 0; -ENOMSG: it says something else; -EBADMSG: cut
// short, wrong checksum, or an MTU of 0; -EPROTONOSUPPORT: it quotes no UDP datagram from its
// beginning.
int icmp_quote_read(const uint8_t *packet, size_t len, struct icmp_quote *out) must_check;
