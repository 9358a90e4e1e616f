#include "dataplane/table/keypair.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

static_assert((INDEX_SLOTS & (INDEX_SLOTS - 1)) == 0, "an index carries its slot in the low bits");

enum {
	WORD_BITS = 64,
	WORDS = INDEX_SLOTS / WORD_BITS,
};

struct index_table {
	struct keypair *_Atomic slot[INDEX_SLOTS]; // ctl: rw, wrk: ro (RCU)
	uint32_t reserved[INDEX_SLOTS];		   // ctl only: the whole index of a taken slot
	uint64_t taken[WORDS];			   // ctl only
	uint32_t count;				   // ctl only
	struct rcu *rcu;
};

struct keypair *keypair_create(void)
{
	return mem_alloc(sizeof(struct keypair));
}

void keypair_destroy(struct keypair *kp)
{
	mem_wipe_free(kp, sizeof(*kp));
}

static void destroy_deferred(void *kp)
{
	keypair_destroy(kp);
}

void keypair_destroy_later(struct rcu *rcu, struct keypair *kp)
{
	if (kp)
		rcu_defer(rcu, destroy_deferred, kp);
}

struct index_table *index_create(struct rcu *rcu)
{
	// calloc: pages of slots that were never used stay untouched.
	struct index_table *t = calloc(1, sizeof(*t));
	if (t)
		t->rcu = rcu;
	return t;
}

void index_destroy(struct index_table *t)
{
	if (!t)
		return;
	for (unsigned i = 0; i < INDEX_SLOTS; i++) {
		if (t->taken[i / WORD_BITS] >> (i % WORD_BITS) & 1)
			index_free(t, t->reserved[i]);
	}
	rcu_defer(t->rcu, free, t);
}

// The first free slot at or behind start, in a circle; there is one.
static uint32_t free_slot(const struct index_table *t, uint32_t start)
{
	uint32_t word = start / WORD_BITS;
	uint64_t candidates = ~t->taken[word] & (UINT64_MAX << (start % WORD_BITS));
	while (!candidates) {
		word = (word + 1) % WORDS;
		candidates = ~t->taken[word];
	}
	return word * WORD_BITS + (uint32_t)__builtin_ctzll(candidates);
}

int index_alloc(struct index_table *t, uint32_t random, uint32_t *index)
{
	if (t->count == INDEX_SLOTS)
		return -ENOSPC;
	uint32_t slot = free_slot(t, random % INDEX_SLOTS);
	t->taken[slot / WORD_BITS] |= UINT64_C(1) << (slot % WORD_BITS);
	t->reserved[slot] = (random & ~(uint32_t)(INDEX_SLOTS - 1)) | slot;
	t->count++;
	*index = t->reserved[slot];
	return 0;
}

static bool is_reserved(const struct index_table *t, uint32_t index)
{
	uint32_t slot = index % INDEX_SLOTS;
	return (t->taken[slot / WORD_BITS] >> (slot % WORD_BITS) & 1) && t->reserved[slot] == index;
}

void index_publish(struct index_table *t, struct keypair *kp)
{
	assert(is_reserved(t, kp->local_index));
	struct keypair *_Atomic *slot = &t->slot[kp->local_index % INDEX_SLOTS];
	assert(!atomic_load_explicit(slot, memory_order_relaxed));
	atomic_store_explicit(slot, kp, memory_order_release);
}

void index_free(struct index_table *t, uint32_t index)
{
	uint32_t slot = index % INDEX_SLOTS;
	if (!is_reserved(t, index))
		return;
	struct keypair *kp = atomic_load_explicit(&t->slot[slot], memory_order_relaxed);
	atomic_store_explicit(&t->slot[slot], NULL, memory_order_relaxed);
	keypair_destroy_later(t->rcu, kp);
	t->taken[slot / WORD_BITS] &= ~(UINT64_C(1) << (slot % WORD_BITS));
	t->count--;
}

struct keypair *index_lookup(const struct index_table *t, uint32_t index)
{
	struct keypair *kp =
		atomic_load_explicit(&t->slot[index % INDEX_SLOTS], memory_order_acquire);
	return kp && kp->local_index == index ? kp : NULL;
}

uint32_t index_count(const struct index_table *t)
{
	return t->count;
}
