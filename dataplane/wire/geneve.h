// Geneve's fixed header (RFC 8926 section 3.4) before what goes through a peer relay. Source of the
// choices: tailscale net/packet/geneve.go. Integers are big-endian.
#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <rte_byteorder.h>

enum {
	GENEVE_HEADER_LEN = 8,
	GENEVE_VERSION_MASK = 0xc0,  // in flags_options; 0
	GENEVE_CONTROL = 0x80,	     // in flags: for the relay itself, never forwarded
	GENEVE_RESERVED_MASK = 0x3f, // in flags; 0
	GENEVE_PROTOCOL_DISCO = 0x7a11,
	GENEVE_PROTOCOL_WIREGUARD = 0x7a12,
	GENEVE_VNI_MAX = (1 << 24) - 1,
};

struct geneve_header {
	uint8_t version_options; // options are never sent
	uint8_t flags;
	rte_be16_t protocol;
	uint8_t vni[3]; // big-endian; not 0 here
	uint8_t reserved;
} __attribute__((packed));
static_assert(sizeof(struct geneve_header) == GENEVE_HEADER_LEN, "RFC 8926 section 3.4");

static inline struct geneve_header geneve_header_of(uint16_t protocol, uint32_t vni, bool control)
{
	return (struct geneve_header){
		.flags = control ? GENEVE_CONTROL : 0,
		.protocol = rte_cpu_to_be_16(protocol),
		.vni = {(uint8_t)(vni >> 16), (uint8_t)(vni >> 8), (uint8_t)vni},
	};
}

static inline uint32_t geneve_vni(const struct geneve_header *h)
{
	return (uint32_t)h->vni[0] << 16 | (uint32_t)h->vni[1] << 8 | h->vni[2];
}

static inline bool geneve_is_control(const struct geneve_header *h)
{
	return h->flags & GENEVE_CONTROL;
}
