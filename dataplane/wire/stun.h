// STUN (RFC 8489; RFC 5389 for the older names), as far as Tailscale speaks it. Source of the
// choices: tailscale net/stun/stun.go. Integers are big-endian.
#pragma once

#include <assert.h>
#include <stdint.h>
#include <rte_byteorder.h>

enum {
	STUN_MAGIC_COOKIE = 0x2112a442,
	STUN_TXID_LEN = 12,
	STUN_HEADER_LEN = 20,
	STUN_TYPE_REQUEST = 0x0001,  // binding
	STUN_TYPE_RESPONSE = 0x0101, // binding, success
	STUN_FAMILY_IPV4 = 1,
	STUN_FAMILY_IPV6 = 2,
	STUN_FINGERPRINT_XOR = 0x5354554e, // "STUN"
};

enum stun_attribute {
	STUN_MAPPED_ADDRESS = 0x0001,
	STUN_XOR_MAPPED_ADDRESS = 0x0020,
	STUN_XOR_MAPPED_ADDRESS_ALT = 0x8020, // drafts before RFC 5389
	STUN_SOFTWARE = 0x8022,
	STUN_FINGERPRINT = 0x8028,
};

struct stun_header {
	rte_be16_t type;
	rte_be16_t length; // of the attributes
	rte_be32_t magic;
	uint8_t txid[STUN_TXID_LEN];
} __attribute__((packed));
static_assert(sizeof(struct stun_header) == STUN_HEADER_LEN, "RFC 8489 section 5");

// Followed by its value, padded to 4 bytes.
struct stun_attribute_header {
	rte_be16_t type;
	rte_be16_t length; // without the padding
} __attribute__((packed));
static_assert(sizeof(struct stun_attribute_header) == 4, "RFC 8489 section 14");

// The only request that derper answers: SOFTWARE "tailnode", FINGERPRINT last.
struct stun_request {
	struct stun_header header;
	struct stun_attribute_header software;
	uint8_t software_name[8];
	struct stun_attribute_header fingerprint;
	rte_be32_t crc;
} __attribute__((packed));
static_assert(sizeof(struct stun_request) == 40, "stun.go: Request");
