// Sets of numbers below 32768 (the rules that an address, a protocol or a port is in), and whether
// several of them have a number in common. A set is 64 blocks of 512 bits of which only those that
// are not empty are there; equal blocks and equal sets exist once, so that ten thousand hosts with
// a rule each cost little more than that many words. Never changed once built.
#pragma once

#include "dataplane/table/interner.h"

enum {
	NUMBER_SETS_BLOCKS = 64,
	NUMBER_SETS_BLOCK_BITS = 512,
	NUMBER_SETS_MAX = NUMBER_SETS_BLOCKS * NUMBER_SETS_BLOCK_BITS,
	NUMBER_SETS_WORDS = NUMBER_SETS_BLOCK_BITS / 64,
	NUMBER_SETS_EMPTY = 0, // the empty set's id
};

// An id with this bit is a set of one number, which the rest of it is.
#define NUMBER_SETS_ONE (UINT32_C(1) << 29)

struct number_block {
	uint64_t word[NUMBER_SETS_WORDS];
};

struct number_sets {
	struct number_block *block;
	// Any other set's id is where it begins: two words that tell which blocks it has, then
	// their ids.
	uint32_t *set;
	struct interner blocks, sets; // while it is built
};

// A set on its way: numbers are put in and taken out.
struct number_set {
	struct number_block block[NUMBER_SETS_BLOCKS];
	uint32_t id[NUMBER_SETS_BLOCKS]; // of blocks that have not changed since
	uint64_t there, changed;	 // bits of blocks: not empty; id is not known
};

// memory_max: bytes for each, blocks and sets. [ctl]
void number_sets_init(struct number_sets *, size_t memory_max);
void number_set_put(struct number_set *, uint32_t number, bool in);
// The id of the set as it is now; 0, or -E2BIG: more than memory_max bytes.
int number_sets_add(struct number_sets *, struct number_set *, uint32_t *id) must_check;
// No set comes any more: it can be asked. Returns the bytes that remain.
size_t number_sets_built(struct number_sets *);
void number_sets_fini(struct number_sets *);

static inline uint64_t number_set_blocks(const struct number_sets *s, uint32_t id)
{
	uint64_t there;
	memcpy(&there, s->set + id, sizeof(there));
	return there;
}

static inline const struct number_block *number_set_block(
	const struct number_sets *s, uint32_t id, uint64_t there, unsigned block)
{
	uint64_t before = there & ((UINT64_C(1) << block) - 1);
	return &s->block[s->set[id + 2 + (unsigned)__builtin_popcountll(before)]];
}

static inline bool number_set_has(const struct number_sets *s, uint32_t id, uint32_t number)
{
	unsigned at = number / NUMBER_SETS_BLOCK_BITS;
	if (id & NUMBER_SETS_ONE)
		return id == (NUMBER_SETS_ONE | number);
	uint64_t there = number_set_blocks(s, id);
	return (there >> at & 1) &&
	       (number_set_block(s, id, there, at)->word[number / 64 % NUMBER_SETS_WORDS] >>
			       number % 64 &
		       1);
}

static inline bool number_sets_meet_many(const struct number_sets *s, const uint32_t id[static 4])
{
	uint64_t there[4], common = ~UINT64_C(0);
	for (unsigned i = 0; i < 4; i++)
		common &= there[i] = number_set_blocks(s, id[i]);
	for (; common; common &= common - 1) {
		unsigned at = (unsigned)__builtin_ctzll(common);
		const struct number_block *b[4];
		uint64_t any = 0;
		for (unsigned i = 0; i < 4; i++)
			b[i] = number_set_block(s, id[i], there[i], at);
		for (unsigned w = 0; w < NUMBER_SETS_WORDS; w++)
			any |= b[0]->word[w] & b[1]->word[w] & b[2]->word[w] & b[3]->word[w];
		if (any)
			return true;
	}
	return false;
}

// Whether a number is in all four. [wrk, ctl]
static inline bool number_sets_meet(const struct number_sets *s, const uint32_t id[static 4])
{
	for (unsigned i = 0; i < 4; i++) {
		uint32_t number = id[i] & ~NUMBER_SETS_ONE;
		if (id[i] & NUMBER_SETS_ONE)
			return number_set_has(s, id[0], number) &&
			       number_set_has(s, id[1], number) &&
			       number_set_has(s, id[2], number) && number_set_has(s, id[3], number);
	}
	return number_sets_meet_many(s, id);
}
