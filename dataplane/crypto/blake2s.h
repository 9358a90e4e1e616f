// BLAKE2s (RFC 7693) as WireGuard and Noise use it. Any thread.
#pragma once

#include "dataplane/base/types.h"

enum {
	BLAKE2S_LEN = 32,
	BLAKE2S_BLOCK_LEN = 64,
	BLAKE2S_MAC_LEN = 16,
};

// Fetch the algorithms from libcrypto once; others here end the program when this would fail, so
// call it at start. -ENOTSUP: this libcrypto has no BLAKE2s (a FIPS configuration). [ctl]
int blake2s_init(void) must_check;

// BLAKE2s-256 of a and b joined; b may be NULL with length 0.
void blake2s(
	uint8_t out[static BLAKE2S_LEN], const void *a, size_t a_len, const void *b, size_t b_len);
// Keyed BLAKE2s-128, key of 1..32 bytes: WireGuard's Mac().
void blake2s_mac(uint8_t out[static BLAKE2S_MAC_LEN], const uint8_t *key, size_t key_len,
	const void *data, size_t len);
// HMAC (RFC 2104) with BLAKE2s-256, key of 0..64 bytes.
void blake2s_hmac(uint8_t out[static BLAKE2S_LEN], const uint8_t *key, size_t key_len,
	const void *data, size_t len);
// Noise's HKDF (section 4.3; the paper's Kdf_n): the first n = 1..3 outputs. out may be key.
void blake2s_kdf(uint8_t out[][BLAKE2S_LEN], unsigned n, const uint8_t key[static BLAKE2S_LEN],
	const void *input, size_t len);
