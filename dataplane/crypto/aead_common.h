// What the engines that work across packets have in common.
#pragma once

#include <immintrin.h>

#include "dataplane/crypto/aead_engine.h"

#ifdef AEAD_SECRETS_UNDEFINED
#include <valgrind/memcheck.h>
#endif

// The one key of all packets, or NULL. Pointers are compared: what they point to is secret.
static inline const uint8_t *aead_only_key(const struct aead_op ops[], unsigned n)
{
	for (unsigned i = 1; i < n; i++)
		if (ops[i].key != ops[0].key)
			return NULL;
	return ops[0].key;
}

// What packets are sorted by, and their order as they come. True: they are of equal length, so that
// this will do.
static inline bool aead_sizes(uint32_t sizes[static AEAD_BURST], uint8_t order[static AEAD_BURST],
	const struct aead_op ops[], unsigned n)
{
	bool equal = true;

	for (unsigned i = 0; i < n; i++) {
		sizes[i] = (ops[i].len + 1) << 6 | (63 - i); // no two are equal
		equal &= ops[i].len == ops[0].len;
		order[i] = (uint8_t)i;
	}
	return equal;
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
