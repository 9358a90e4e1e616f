// Codec of disco: messages to sealed packets and back. Pure; nonces and keys come from the caller.
// Who may say what to whom, and over which transport, is the caller's affair. Source: tailscale
// disco/disco.go; layouts in dataplane/wire/disco.h. Control thread.
#pragma once

#include "dataplane/base/types.h"
#include "dataplane/crypto/box.h"
#include "dataplane/wire/disco.h"

enum disco_type {
	DISCO_PING = 1,
	DISCO_PONG = 2,
	DISCO_CALL_ME_MAYBE = 3,
	DISCO_BIND = 4, // to a relay, as are answers
	DISCO_CHALLENGE = 5,
	DISCO_ANSWER = 6,
	DISCO_CALL_ME_MAYBE_VIA = 7,
	DISCO_ALLOCATE_REQUEST = 8,
	DISCO_ALLOCATE_RESPONSE = 9,
};

enum {
	// Taken of what a message lists; more candidates than this nobody pings.
	DISCO_ENDPOINTS_MAX = 100,
	// Plain bytes; a ping for wire MTU 9000 has 8952 of padding.
	DISCO_PLAIN_MAX = 9100,
	DISCO_PACKET_MAX = DISCO_PLAIN_MAX + DISCO_OVERHEAD,
	DISCO_PING_LEN = 124, // sealed, without padding
};

struct disco_ping {
	uint8_t txid[DISCO_TXID_LEN];
	struct key node_key; // zero: not told
	uint16_t padding;    // bytes behind it; when parsing, also those that are not zero
};

struct disco_pong {
	uint8_t txid[DISCO_TXID_LEN];
	struct endpoint src; // where the ping came from; 127.3.3.40:region for one over DERP
};

struct disco_bind { // bind, challenge, answer
	uint32_t vni;
	uint32_t generation;
	struct key remote_key;
	uint8_t challenge[DISCO_CHALLENGE_LEN]; // zero in a bind
};

// A place on a relay. Its addresses are the message's endpoints.
struct disco_relay {
	struct key server_key;
	struct key client_keys[2]; // sorted
	uint64_t lamport;	   // higher is newer, per server
	uint32_t vni;
	int64_t bind_lifetime_ns;
	int64_t steady_lifetime_ns;
};

struct disco_message {
	enum disco_type type;
	union {
		struct disco_ping ping;
		struct disco_pong pong;
		struct disco_bind bind;
		struct {
			uint32_t generation;	  // of request and response
			struct disco_relay relay; // a request has its client_keys alone
		} allocate;			  // Via: generation is 0
	};
	uint32_t n_endpoints; // call-me-maybe, via, response
	struct endpoint endpoints[DISCO_ENDPOINTS_MAX];
};

// The message as it is sealed. Returns its bytes; -EINVAL: no such type, too many endpoints, or a
// relay without any; -ENOSPC.
int disco_encode(const struct disco_message *, uint8_t *out, size_t max) must_check;
// As tolerant as the real parser: bytes behind the end are ignored, pings to binds take any
// version, a call-me-maybe of odd length has no endpoints. One difference: types 7 to 9 of another
// version, which it reads as all zero, are -EPROTONOSUPPORT. -EBADMSG: truncated; -ENOTSUP: unknown
// type. *out is undefined then.
int disco_parse(const uint8_t *plain, size_t len, struct disco_message *out) must_check;

// The sender of what udp_classify calls disco (or what came over DERP): look it up before paying
// for cryptography. -EBADMSG: not disco, or shorter than its header; -EKEYREJECTED: the zero key.
int disco_sender(const uint8_t *packet, size_t len, struct key *sender) must_check;
// Encode and seal; box is of our private and the receiver's public key, sender our public key.
// Returns the packet's bytes, or as disco_encode.
int disco_seal(const struct box *, const struct key *sender,
	const uint8_t nonce[static DISCO_NONCE_LEN], const struct disco_message *, uint8_t *out,
	size_t max) must_check;
// Open and parse; box is that of disco_sender. -EBADMSG also if it is not for us or forged;
// -EMSGSIZE: longer than any message.
int disco_open(const struct box *, const uint8_t *packet, size_t len,
	struct disco_message *out) must_check;
