// What a datagram to the WireGuard port is. The order and the tests are those of magicsock
// (tailscale wgengine/magicsock/magicsock.go packetLooksLike), so that both sides mean the same.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "dataplane/wire/disco.h"
#include "dataplane/wire/geneve.h"
#include "dataplane/wire/stun.h"

enum udp_class {
	UDP_WIREGUARD = 0, // anything else; its own checks follow
	UDP_STUN,
	UDP_DISCO,
	UDP_GENEVE_DISCO, // disco behind struct geneve_header
	UDP_GENEVE_WIREGUARD,
};

static inline bool udp_is_stun(const uint8_t *payload, size_t len)
{
	static const uint8_t magic[4] = {0x21, 0x12, 0xa4, 0x42};

	// Both top bits clear, method binding; the class is the parser's affair.
	return len >= STUN_HEADER_LEN && (payload[0] & 0xc0) == 0 && payload[1] == 0x01 &&
	       memcmp(payload + 4, magic, sizeof(magic)) == 0;
}

static inline bool udp_is_disco(const uint8_t *payload, size_t len)
{
	return len >= DISCO_CLASSIFY_MIN_LEN && memcmp(payload, DISCO_MAGIC, DISCO_MAGIC_LEN) == 0;
}

// No test of a WireGuard message passes here: its reserved bytes 1..3 are zero, Geneve's 2 and 3
// are not; and its first byte is 1..4, not disco's. A STUN magic would stand in its receiver index,
// where byte 1 is zero and STUN's is not. payload: len bytes behind the UDP header. Any len. [wrk]
static inline enum udp_class udp_classify(const uint8_t *payload, size_t len)
{
	if (udp_is_stun(payload, len))
		return UDP_STUN;
	if (len >= GENEVE_HEADER_LEN && (payload[0] & GENEVE_VERSION_MASK) == 0 &&
		(payload[1] & GENEVE_RESERVED_MASK) == 0 && payload[7] == 0) {
		const unsigned protocol = (unsigned)payload[2] << 8 | payload[3];

		if (protocol == GENEVE_PROTOCOL_WIREGUARD)
			return UDP_GENEVE_WIREGUARD;
		if (protocol == GENEVE_PROTOCOL_DISCO)
			return udp_is_disco(payload + GENEVE_HEADER_LEN, len - GENEVE_HEADER_LEN)
				       ? UDP_GENEVE_DISCO
				       : UDP_WIREGUARD;
	}
	return udp_is_disco(payload, len) ? UDP_DISCO : UDP_WIREGUARD;
}
