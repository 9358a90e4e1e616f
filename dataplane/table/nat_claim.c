// Flows without ports: the outside address pair alone says whose a packet is, so no two workers may
// use the same. Few, and rarely made: a table that all share.
#include "dataplane/table/nat_priv.h"

// Nothing is gained by aiming at a set: who may begin such flows can fill the table anyway.
static uint64_t hash_of(const struct nat_key *k)
{
	uint64_t h = nat_last_word(k);
	const uint64_t words[] = {tuple_word(k->remote), tuple_word(k->remote + 8),
		tuple_word(k->local), tuple_word(k->local + 8)};
	for (unsigned i = 0; i < RTE_DIM(words); i++) {
		h = (h ^ words[i]) * UINT64_C(0x9e3779b97f4a7c15);
		h ^= h >> 29;
	}
	return h;
}

static uint64_t value_of(uint64_t hash, uint16_t worker)
{
	return hash << 8 | (worker + 1u);
}

static_assert(PORT_QUEUE_MAX < 255, "a worker's number fits beside the hash");

// Whether another worker has a claim of that hash in the set.
static bool is_taken(const _Atomic uint64_t *set, uint64_t hash, uint16_t worker)
{
	for (unsigned i = 0; i < NAT_CLAIM_WAYS; i++) {
		uint64_t is = atomic_load(&set[i]);
		if (is && is >> 8 == hash << 8 >> 8 && is != value_of(hash, worker))
			return true;
	}
	return false;
}

// Of two that claim at once, one at least sees the other behind its own: neither may have it, then.
bool nat_claim(struct nat_claims *c, const struct nat_key *outside, uint16_t worker)
{
	uint64_t hash = hash_of(outside);
	_Atomic uint64_t *set = c->slot[hash >> 56];
	if (nat_claim_owner(c, outside) != UINT16_MAX)
		return false;
	for (unsigned i = 0; i < NAT_CLAIM_WAYS; i++) {
		uint64_t none = 0;
		if (!atomic_compare_exchange_strong(&set[i], &none, value_of(hash, worker)))
			continue;
		atomic_fetch_add_explicit(&c->n, 1, memory_order_relaxed);
		if (!is_taken(set, hash, worker))
			return true;
		nat_unclaim(c, outside, worker);
		return false;
	}
	return false;
}

void nat_unclaim(struct nat_claims *c, const struct nat_key *outside, uint16_t worker)
{
	uint64_t hash = hash_of(outside), value = value_of(hash, worker);
	_Atomic uint64_t *set = c->slot[hash >> 56];
	for (unsigned i = 0; i < NAT_CLAIM_WAYS; i++) {
		uint64_t is = value;
		if (!atomic_compare_exchange_strong(&set[i], &is, 0))
			continue;
		atomic_fetch_sub_explicit(&c->n, 1, memory_order_relaxed);
		return;
	}
}

uint16_t nat_claim_owner(const struct nat_claims *c, const struct nat_key *outside)
{
	if (atomic_load_explicit(&c->n, memory_order_relaxed) == 0)
		return UINT16_MAX;
	uint64_t hash = hash_of(outside);
	const _Atomic uint64_t *set = c->slot[hash >> 56];
	for (unsigned i = 0; i < NAT_CLAIM_WAYS; i++) {
		uint64_t is = atomic_load_explicit(&set[i], memory_order_acquire);
		if (is && is >> 8 == hash << 8 >> 8)
			return (uint16_t)((is & 0xff) - 1);
	}
	return UINT16_MAX;
}
