// NaCl crypto_box (X25519, XSalsa20-Poly1305), which disco and DERP seal their messages with. On
// the wire: the nonce, then what libsodium calls the easy form, its tag first. Any thread.
#pragma once

#include "dataplane/base/types.h"

enum {
	BOX_NONCE_LEN = 24,
	BOX_TAG_LEN = 16,
	BOX_OVERHEAD = BOX_NONCE_LEN + BOX_TAG_LEN, // what sealing adds to the plain bytes
};

// What two keys share: one scalar multiplication, done once per pair. Both sides have the same.
struct box {
	uint8_t shared[KEY_LEN];
};

// -EKEYREJECTED for a public key of low order (also zero): the secret would be known to everybody.
int box_init(struct box *, const uint8_t private_key[static KEY_LEN],
	const uint8_t public_key[static KEY_LEN]) must_check;
void box_fini(struct box *); // wipes
// Writes len + BOX_OVERHEAD bytes. A nonce must never seal twice between the same two keys.
void box_seal(const struct box *, const uint8_t nonce[static BOX_NONCE_LEN], const void *plain,
	size_t len, uint8_t *out);
// Writes len - BOX_OVERHEAD bytes. -EBADMSG: too short, forged, or for another; out is undefined.
int box_open(const struct box *, const void *sealed, size_t len, uint8_t *out) must_check;
