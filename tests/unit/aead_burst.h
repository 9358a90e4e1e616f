// Bursts for the engines that work across packets.
#pragma once

#include "tests/unit/vectors.h"

#include "dataplane/crypto/aead_engine.h"

enum { LEN_MAX = 9000, SPACE = LEN_MAX + AEAD_TAG_LEN };

static const struct aead_engine *const engines[] = {&aead_avx512, &aead_avx2};
static uint8_t want[AEAD_BURST][SPACE], clear[AEAD_BURST][SPACE];
static uint8_t keys[AEAD_BURST][KEY_LEN];
static uint64_t seed;

// The same in every run.
static inline uint64_t pick(uint64_t bound)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % bound;
}

static inline void fill(uint8_t *bytes, size_t len)
{
	uint8_t from[randombytes_SEEDBYTES] = {0};
	const uint64_t x = pick(UINT64_MAX);

	memcpy(from, &x, sizeof(x));
	randombytes_buf_deterministic(bytes, len, from);
}

// Runs fn with each engine that this CPU has.
static inline void each_engine(void (*fn)(const struct aead_engine *engine, void *state))
{
	for (size_t i = 0; i < sizeof(engines) / sizeof(engines[0]); i++) {
		void *state = engines[i]->create();

		if (!state) {
			print_message("%s: not on this CPU\n", engines[i]->name);
			continue;
		}
		seed = 88172645463325252;
		fn(engines[i], state);
		engines[i]->destroy(state);
	}
}

// A burst on the heap: each packet in memory of its own, of exactly its size behind an offset, so
// that the address sanitizer sees the byte before and the byte after.
struct burst {
	struct aead_op ops[AEAD_BURST];
	uint8_t *memory[AEAD_BURST];
	unsigned n;
};

static inline void burst_add(struct burst *b, uint32_t len, unsigned align, unsigned key)
{
	const unsigned i = b->n++;

	b->memory[i] = malloc(align + len + AEAD_TAG_LEN);
	assert_non_null(b->memory[i]);
	b->ops[i] = (struct aead_op){.data = b->memory[i] + align,
		.len = len,
		.counter = pick(UINT64_MAX),
		.key = keys[key]};
	fill(clear[i], len);
	memcpy(b->ops[i].data, clear[i], len);
	memcpy(want[i], clear[i], len);
}

static inline void burst_free(struct burst *b)
{
	for (unsigned i = 0; i < b->n; i++)
		free(b->memory[i]);
}
