// X25519 (RFC 7748). Any thread.
#pragma once

#include "dataplane/base/types.h"

// Shared secret of a private key (clamped inside) and a public key. -EKEYREJECTED, and out zeroed,
// for a public key of low order: the secret would be all zero and known to everybody.
int x25519(uint8_t out[static KEY_LEN], const uint8_t private_key[static KEY_LEN],
	const uint8_t public_key[static KEY_LEN]) must_check;
void x25519_public(uint8_t out[static KEY_LEN], const uint8_t private_key[static KEY_LEN]);
// Make any 32 bytes a private key as WireGuard writes it down.
void x25519_clamp(uint8_t private_key[static KEY_LEN]);
// A new private key, clamped, from the system's randomness.
void x25519_generate(uint8_t private_key[static KEY_LEN]);
