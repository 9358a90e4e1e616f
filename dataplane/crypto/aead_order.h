// What the engines that work across packets have in common.
#pragma once

#include <immintrin.h>

#include "dataplane/crypto/aead_engine.h"

#ifdef AEAD_SECRETS_UNDEFINED
#include <valgrind/memcheck.h>
#endif

enum {
	AEAD_ORDER_SPACE = AEAD_BURST + 8,
};

// Positions of n = 1..AEAD_BURST packets by falling length. Packets that are worked on side by side
// should be as long as their neighbours.
static inline void aead_order(
	uint8_t order[static AEAD_BURST], const struct aead_op ops[], unsigned n)
{
	uint32_t sizes[AEAD_ORDER_SPACE];
	bool equal = true;

	for (unsigned i = 0; i < n; i++) {
		sizes[i] = (ops[i].len + 1) << 6 | (63 - i); // no two are equal
		equal &= ops[i].len == ops[0].len;
		order[i] = (uint8_t)i;
	}
	if (equal)
		return;
	for (unsigned i = n; i < n + 8; i++)
		sizes[i] = 0;
	for (unsigned i = 0; i < n; i++) { // a rank is the number of those that go before
		const __m256i size = _mm256_set1_epi32((int)sizes[i]);
		unsigned rank = 0;

		for (unsigned k = 0; k < n; k += 8) {
			const __m256i other = _mm256_loadu_si256((const __m256i *)(sizes + k));
			const __m256i more = _mm256_cmpgt_epi32(other, size);
			rank += (unsigned)__builtin_popcount(
				(unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(more)));
		}
		order[rank] = (uint8_t)i;
	}
}

// The one key of all packets, or NULL. Pointers are compared: what they point to is secret.
static inline const uint8_t *aead_only_key(const struct aead_op ops[], unsigned n)
{
	for (unsigned i = 1; i < n; i++)
		if (ops[i].key != ops[0].key)
			return NULL;
	return ops[0].key;
}

// Branch-free: the time does not tell where the first difference lies. The verdict is public.
static inline bool aead_tag_equal(const uint8_t *a, const uint8_t *b)
{
	uint64_t x[2], y[2], difference;

	memcpy(x, a, sizeof(x));
	memcpy(y, b, sizeof(y));
	difference = (x[0] ^ y[0]) | (x[1] ^ y[1]);
#ifdef AEAD_SECRETS_UNDEFINED // tests/unit/secrets_aead.c
	VALGRIND_MAKE_MEM_DEFINED(&difference, sizeof(difference));
#endif
	return difference == 0;
}
