// The server's side of a live ts2021 handshake, and of its records: what headscale does, for tests.
#pragma once

#include "tests/unit/ts2021_server.h"

#include "dataplane/crypto/blake2s.h"
#include "dataplane/crypto/x25519.h"

struct responder {
	struct key private_key, public_key, client; // client: its machine key
	uint8_t hash[BLAKE2S_LEN], chaining[BLAKE2S_LEN];
	uint8_t send_key[KEY_LEN], receive_key[KEY_LEN];
	uint64_t sent, received;
};

static inline void responder_mix(struct responder *r, const void *data, size_t len)
{
	blake2s(r->hash, r->hash, sizeof(r->hash), data, len);
}

static inline void responder_dh(struct responder *r, const uint8_t *private_key,
	const uint8_t *public_key, uint8_t key[static KEY_LEN])
{
	uint8_t shared[KEY_LEN], out[2][BLAKE2S_LEN];

	assert_int_equal(x25519(shared, private_key, public_key), 0);
	blake2s_kdf(out, 2, r->chaining, shared, sizeof(shared));
	memcpy(r->chaining, out[0], BLAKE2S_LEN);
	memcpy(key, out[1], KEY_LEN);
}

static inline void responder_open(
	struct responder *r, const uint8_t *key, const uint8_t *sealed, size_t len, uint8_t *plain)
{
	static const uint8_t nonce[12];

	assert_int_equal(crypto_aead_chacha20poly1305_ietf_decrypt(plain, NULL, NULL, sealed, len,
				 r->hash, sizeof(r->hash), nonce, key),
		0);
	responder_mix(r, sealed, len);
}

// Takes the client's first message, makes the answer. Returns the client's version.
static inline uint16_t responder_answer(struct responder *r,
	const uint8_t in[static TS2021_INITIATION_LEN], uint8_t out[static TS2021_RESPONSE_LEN])
{
	static const char name[] = "Noise_IK_25519_ChaChaPoly_BLAKE2s";
	static const uint8_t nonce[12];
	const uint16_t version = (uint16_t)(in[0] << 8 | in[1]);
	uint8_t key[KEY_LEN], ephemeral[KEY_LEN], split[2][BLAKE2S_LEN], nothing[1];
	char prologue[48];

	blake2s(r->hash, name, strlen(name), NULL, 0);
	memcpy(r->chaining, r->hash, BLAKE2S_LEN);
	const int n =
		snprintf(prologue, sizeof(prologue), "Tailscale Control Protocol v%u", version);
	responder_mix(r, prologue, (size_t)n);
	responder_mix(r, r->public_key.bytes, KEY_LEN);
	responder_mix(r, in + 5, KEY_LEN);
	responder_dh(r, r->private_key.bytes, in + 5, key);
	responder_open(r, key, in + 37, 48, r->client.bytes);
	responder_dh(r, r->private_key.bytes, r->client.bytes, key);
	responder_open(r, key, in + 85, 16, nothing);

	memcpy(out, "\2\0\60", 3);
	x25519_generate(ephemeral);
	x25519_public(out + 3, ephemeral);
	responder_mix(r, out + 3, KEY_LEN);
	responder_dh(r, ephemeral, in + 5, key);
	responder_dh(r, ephemeral, r->client.bytes, key);
	crypto_aead_chacha20poly1305_ietf_encrypt(
		out + 35, NULL, NULL, 0, r->hash, sizeof(r->hash), NULL, nonce, key);
	blake2s_kdf(split, 2, r->chaining, NULL, 0);
	memcpy(r->receive_key, split[0], KEY_LEN);
	memcpy(r->send_key, split[1], KEY_LEN);
	r->sent = r->received = 0;
	return version;
}

// A whole record of the client to its plain bytes; how many.
static inline size_t responder_record(
	struct responder *r, const uint8_t *wire, size_t len, uint8_t *plain)
{
	uint8_t nonce[12] = {0};

	for (unsigned i = 0; i < 8; i++)
		nonce[4 + i] = (uint8_t)(r->received >> (56 - 8 * i));
	r->received++;
	assert_int_equal(crypto_aead_chacha20poly1305_ietf_decrypt(plain, NULL, NULL, wire + 3,
				 len - 3, NULL, 0, nonce, r->receive_key),
		0);
	return len - 19;
}
