// Disco: what Tailscale nodes say to find paths. Sources: tailscale disco/disco.go,
// types/key/disco.go, wgengine/magicsock/magicsock.go. Integers are big-endian.
#pragma once

#include <assert.h>
#include <stdint.h>
#include <string.h>
#include <rte_byteorder.h>

#define DISCO_MAGIC "TS\xf0\x9f\x92\xac"

enum {
	DISCO_MAGIC_LEN = 6,
	DISCO_KEY_LEN = 32,
	DISCO_NONCE_LEN = 24,
	DISCO_TAG_LEN = 16,
	DISCO_TXID_LEN = 12,
	DISCO_CHALLENGE_LEN = 32,
	DISCO_VERSION = 0,
	// The classifier of magicsock asks for magic and key only, the parser for the nonce as
	// well.
	DISCO_CLASSIFY_MIN_LEN = DISCO_MAGIC_LEN + DISCO_KEY_LEN,
	DISCO_HEADER_LEN = DISCO_CLASSIFY_MIN_LEN + DISCO_NONCE_LEN,
	DISCO_OVERHEAD = DISCO_HEADER_LEN + DISCO_TAG_LEN,
};

// Followed by tag and sealed message.
struct disco_header {
	uint8_t magic[DISCO_MAGIC_LEN];
	uint8_t sender[DISCO_KEY_LEN]; // its disco public key
	uint8_t nonce[DISCO_NONCE_LEN];
} __attribute__((packed));
static_assert(sizeof(struct disco_header) == 62, "disco.go: Magic, keyLen, NonceLen");

// The sealed message starts with this.
struct disco_message_header {
	uint8_t type; // enum disco_type
	uint8_t version;
} __attribute__((packed));
static_assert(sizeof(struct disco_message_header) == 2, "disco.go: appendMsgHeader");

// An address and port; IPv4 as ::ffff:a.b.c.d.
struct disco_addr_port {
	uint8_t addr[16];
	rte_be16_t port;
} __attribute__((packed));
static_assert(sizeof(struct disco_addr_port) == 18, "disco.go: epLength");

struct disco_wire_ping { // then any padding; without node_key up to Tailscale 1.16
	uint8_t txid[DISCO_TXID_LEN];
	uint8_t node_key[DISCO_KEY_LEN];
} __attribute__((packed));
static_assert(sizeof(struct disco_wire_ping) == 44, "disco.go: Ping");

struct disco_wire_pong {
	uint8_t txid[DISCO_TXID_LEN];
	struct disco_addr_port src; // where the ping came from
} __attribute__((packed));
static_assert(sizeof(struct disco_wire_pong) == 30, "disco.go: pongLen");

struct disco_wire_bind { // types 4, 5, 6
	rte_be32_t vni;
	rte_be32_t generation;
	uint8_t remote_key[DISCO_KEY_LEN]; // disco key of the other client
	uint8_t challenge[DISCO_CHALLENGE_LEN];
} __attribute__((packed));
static_assert(sizeof(struct disco_wire_bind) == 72, "disco.go: bindUDPRelayEndpointCommonLen");

struct disco_wire_relay { // then 1..n struct disco_addr_port
	uint8_t server_key[DISCO_KEY_LEN];
	uint8_t client_keys[2][DISCO_KEY_LEN]; // sorted
	rte_be64_t lamport;
	rte_be32_t vni;
	rte_be64_t bind_lifetime_ns;
	rte_be64_t steady_lifetime_ns;
} __attribute__((packed));
static_assert(
	sizeof(struct disco_wire_relay) == 124, "disco.go: udpRelayEndpointLenMinusAddrPorts");

struct disco_wire_allocate { // request
	uint8_t client_keys[2][DISCO_KEY_LEN];
	rte_be32_t generation;
} __attribute__((packed));
static_assert(
	sizeof(struct disco_wire_allocate) == 68, "disco.go: allocateUDPRelayEndpointRequestLen");
