#include "dataplane/table/number_sets.h"

#include <errno.h>
#include <rte_common.h>
#include <stdlib.h>

void number_sets_init(struct number_sets *s, size_t memory_max)
{
	struct number_set empty = {0};
	uint32_t id;
	*s = (struct number_sets){0};
	interner_init(&s->blocks, memory_max);
	interner_init(&s->sets, memory_max);
	if (number_sets_add(s, &empty, &id) < 0 || id != NUMBER_SETS_EMPTY)
		abort(); // memory_max is no bound at all
}

void number_set_put(struct number_set *set, uint32_t number, bool in)
{
	unsigned at = number / NUMBER_SETS_BLOCK_BITS;
	struct number_block *b = &set->block[at];
	uint64_t *word = &b->word[number / 64 % NUMBER_SETS_WORDS], any = 0;
	uint64_t bit = UINT64_C(1) << number % 64, block = UINT64_C(1) << at;
	*word = in ? *word | bit : *word & ~bit;
	for (unsigned w = 0; w < NUMBER_SETS_WORDS; w++)
		any |= b->word[w];
	set->there = any ? set->there | block : set->there & ~block;
	set->changed |= block;
}

static bool is_one(const struct number_set *set, uint32_t *number)
{
	unsigned at = set->there ? (unsigned)__builtin_ctzll(set->there) : 0, bits = 0;
	if (!set->there || (set->there & (set->there - 1)))
		return false;
	for (unsigned w = 0; w < NUMBER_SETS_WORDS; w++) {
		uint64_t word = set->block[at].word[w];
		bits += (unsigned)__builtin_popcountll(word);
		if (word)
			*number = at * NUMBER_SETS_BLOCK_BITS + w * 64 +
				  (unsigned)__builtin_ctzll(word);
	}
	return bits == 1;
}

int number_sets_add(struct number_sets *s, struct number_set *set, uint32_t *id)
{
	uint32_t words[2 + NUMBER_SETS_BLOCKS], n = 2, number;
	if (is_one(set, &number)) {
		*id = NUMBER_SETS_ONE | number;
		return 0;
	}
	for (uint64_t left = set->changed & set->there; left; left &= left - 1) {
		unsigned at = (unsigned)__builtin_ctzll(left);
		if (interner_add(&s->blocks, &set->block[at], sizeof(*set->block), &set->id[at]) <
			0)
			return -E2BIG;
	}
	set->changed = 0;
	memcpy(words, &set->there, sizeof(set->there));
	for (uint64_t left = set->there; left; left &= left - 1)
		words[n++] = set->id[__builtin_ctzll(left)];
	if (interner_add(&s->sets, words, n * sizeof(*words), &number) < 0)
		return -E2BIG;
	*id = s->sets.item[number].at * (INTERNER_ALIGN / sizeof(*words));
	return *id < NUMBER_SETS_ONE ? 0 : -E2BIG;
}

size_t number_sets_built(struct number_sets *s)
{
	size_t memory = s->blocks.used + s->sets.used;
	s->block = s->blocks.n ? interner_take_bytes(&s->blocks) : NULL;
	s->set = interner_take_bytes(&s->sets);
	return memory;
}

void number_sets_fini(struct number_sets *s)
{
	interner_fini(&s->blocks);
	interner_fini(&s->sets);
	free(s->block);
	free(s->set);
	*s = (struct number_sets){0};
}
