// What an engine of aead.h provides. Only files of this folder and the tests include it.
#pragma once

#include <assert.h>
#include <stdlib.h>

#include "dataplane/crypto/aead.h"

enum {
	AEAD_NONCE_LEN = 12,
};

// One message of RFC 8439 in full: any nonce, additional data. The known answers of the RFC and
// of Wycheproof need both; they reach an engine's Poly1305 through this.
struct aead_message {
	uint8_t *data; // the tag goes to / lies at data + len
	uint32_t len;
	const uint8_t *key;   // 32 bytes
	const uint8_t *nonce; // AEAD_NONCE_LEN bytes
	const uint8_t *aad;
	uint32_t aad_len;
};

struct aead_engine {
	const char *name;
	void *(*create)(void); // NULL: does not run on this machine, or no memory
	void (*destroy)(void *state);
	void (*seal)(void *state, const struct aead_op ops[], unsigned n);
	uint64_t (*open)(void *state, const struct aead_op ops[], unsigned n);
	// Is this burst its own, n > 0, or is intel-ipsec-mb faster? NULL: all are.
	bool (*suits)(const struct aead_op ops[], unsigned n);
	// NULL in an engine that knows nothing but bursts.
	void (*seal_message)(void *state, const struct aead_message *message);
	bool (*open_message)(void *state, const struct aead_message *message);
	// For the tests of engines that know nothing but bursts: Poly1305 of each operation's data,
	// padded, and the block of lengths, with these keys (r, s); tags written. And what to look
	// through for traces of keys.
	void (*poly1305)(void *state, const struct aead_op ops[], unsigned n,
		uint8_t poly_keys[][KEY_LEN], uint8_t tags[][AEAD_TAG_LEN]);
	size_t state_size;
};

extern const struct aead_engine aead_avx512, aead_avx2, aead_ipsecmb, aead_sodium;
// ipsec-mb held to AVX2, what perf/aead measures avx2 beside.
extern const struct aead_engine aead_ipsecmb_avx2;

static inline void aead_nonce(uint8_t nonce[static AEAD_NONCE_LEN], uint64_t counter)
{
	memset(nonce, 0, 4);
	for (unsigned i = 0; i < 8; i++)
		nonce[4 + i] = (uint8_t)(counter >> 8 * i);
}

// Does the engine agree with libsodium, both ways, and refuse forgeries? Called by aead_create.
bool aead_self_test(const struct aead_engine *engine, void *state) must_check;

// The engine and its state behind a handle, for the tests of messages.
const struct aead_engine *aead_engine_of(const struct aead *aead, void **state);
