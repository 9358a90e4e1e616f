// WireGuard's handshake, Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s (paper 5.4): pure functions over
// bytes. Time and ephemeral keys come in from outside; no state but the structs, no thread.
//
//	initiator                          responder
//	noise_initiation_create -> 148 B -> noise_initiation_open (whose?), noise_initiation_accept
//	noise_response_open     <-  92 B <- noise_response_create
//	noise_keys_derive                  noise_keys_derive
//
// Check mac1 (and under load mac2) with cookie.h before any open: that is what makes a flood of
// forgeries cheap.
#pragma once

#include "dataplane/base/types.h"
#include "dataplane/wire/wireguard.h"

// Ourselves. Wipe with noise_identity_fini.
struct noise_identity {		// fixed after init
	struct key private_key; // clamped
	struct key public_key;
	uint8_t mac1_key[WG_HASH_LEN];	 // checks the messages sent to us
	uint8_t cookie_key[WG_HASH_LEN]; // seals the cookies we give
	uint8_t hash[WG_HASH_LEN];	 // transcript hash before the first byte towards us
};

// One peer, as seen from one identity. Wipe with noise_remote_fini.
struct noise_remote {
	struct key public_key;
	struct key preshared_key;	  // zero: none; may be changed between handshakes
	uint8_t static_static[KEY_LEN];	  // DH of both static keys
	uint8_t mac1_key[WG_HASH_LEN];	  // makes mac1 of messages to the peer
	uint8_t cookie_key[WG_HASH_LEN];  // opens cookies from the peer
	uint8_t hash[WG_HASH_LEN];	  // transcript hash before the first byte towards it
	uint8_t timestamp[WG_TAI64N_LEN]; // newest accepted; keep it over a change of keys
};

enum noise_state {
	NOISE_NONE = 0,
	NOISE_INITIATION_SENT,
	NOISE_INITIATION_OPENED, // read, timestamp not looked at
	NOISE_INITIATION_RECEIVED,
	NOISE_RESPONSE_SENT,
	NOISE_RESPONSE_RECEIVED,
};

// A handshake in progress. All zero is NOISE_NONE; wipe with noise_handshake_fini.
struct noise_handshake {
	enum noise_state state;
	uint32_t local_index, remote_index; // host order
	uint8_t hash[WG_HASH_LEN];
	uint8_t chaining_key[WG_HASH_LEN];
	uint8_t ephemeral[KEY_LEN];	   // own private one, initiator
	uint8_t remote_ephemeral[KEY_LEN]; // initiator's public one, responder
	struct key remote_static;	   // initiator's, responder
	uint8_t sealed_timestamp[WG_TAI64N_LEN + WG_TAG_LEN];
};

struct noise_keys {
	struct key send, recv;
	uint32_t local_index, remote_index; // host order
	bool initiator;
};

// TAI64N of a Unix time, its nanoseconds without the low 24 bits, so that it does not tell our
// clock to 16 ms. Never goes down as unix_ns grows.
void noise_tai64n(uint8_t out[static WG_TAI64N_LEN], uint64_t unix_ns);

// -ENOTSUP: libcrypto has no BLAKE2s.
int noise_identity_init(struct noise_identity *, const struct key *private_key) must_check;
void noise_identity_fini(struct noise_identity *);
// preshared_key: NULL for none. -EKEYREJECTED: the public key is of low order.
int noise_remote_init(struct noise_remote *, const struct noise_identity *,
	const struct key *public_key, const struct key *preshared_key) must_check;
void noise_remote_fini(struct noise_remote *);
void noise_handshake_fini(struct noise_handshake *);

// Start a handshake, dropping what *hs held. ephemeral: a fresh private key, never used before.
// out is complete with mac1; mac2 is zero (cookie_jar_stamp fills it in). 0, or -EKEYREJECTED when
// the key agreement fails, *hs is NOISE_NONE then.
int noise_initiation_create(struct noise_handshake *hs, const struct noise_identity *,
	const struct noise_remote *, uint32_t local_index, const uint8_t ephemeral[static KEY_LEN],
	const uint8_t timestamp[static WG_TAI64N_LEN], struct wg_initiation *out) must_check;

// Read who sent an initiation: hs->remote_static, and hs->remote_index. The caller finds the peer
// and goes on with noise_initiation_accept, on a handshake of its own that replaces the peer's only
// when that succeeds. Errors (all leave *hs NOISE_NONE): -EPROTO length, type or reserved bytes;
// -EKEYREJECTED ephemeral key of low order; -EBADMSG forged, damaged or for another key.
int noise_initiation_open(struct noise_handshake *hs, const struct noise_identity *,
	const void *message, size_t len) must_check;
// Second half, with the peer's remote: proves that the sender holds hs->remote_static, and takes
// its timestamp into remote->timestamp. -EBADMSG forged; -ESTALE timestamp not newer than the last
// accepted (a replay); -EINVAL *hs is not NOISE_INITIATION_OPENED or not of this remote. *hs is
// NOISE_NONE and the remote unchanged after an error.
int noise_initiation_accept(struct noise_handshake *hs, struct noise_remote *) must_check;

// Answer an accepted initiation. ephemeral: fresh private key. out as in noise_initiation_create.
// -EKEYREJECTED as there; -EINVAL wrong state. *hs is NOISE_NONE after an error.
int noise_response_create(struct noise_handshake *hs, const struct noise_remote *,
	uint32_t local_index, const uint8_t ephemeral[static KEY_LEN],
	struct wg_response *out) must_check;
// Read the answer to the initiation in *hs. Errors as noise_initiation_open, and -ENOENT: not for
// hs->local_index, -EINVAL: no initiation is waiting. After an error *hs is as before, so that a
// forged answer does not keep out the true one.
int noise_response_open(struct noise_handshake *hs, const struct noise_identity *,
	const struct noise_remote *, const void *message, size_t len) must_check;

// Transport keys of a handshake that sent or received its response; *hs is wiped. -EINVAL else.
int noise_keys_derive(struct noise_handshake *hs, struct noise_keys *out) must_check;
void noise_keys_fini(struct noise_keys *);
