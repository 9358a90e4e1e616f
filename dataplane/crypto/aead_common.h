// What the engines that work across packets have in common.
#pragma once

#include <immintrin.h>

#include "dataplane/crypto/aead_engine.h"

#ifdef AEAD_SECRETS_UNDEFINED
#include <valgrind/memcheck.h>
#endif

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
