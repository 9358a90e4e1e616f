#include "dataplane/table/flow.h"

#include <sodium.h>
#include <stdlib.h>

#include "dataplane/table/tuple_hash.h"

struct flow_set {
	uint32_t hash[FLOW_WAYS]; // 0: free
	uint32_t used[FLOW_WAYS]; // clock of the last use
	struct flow_key key[FLOW_WAYS];
};

struct flow_table {
	struct flow_set *set;
	uint32_t mask; // sets - 1
	uint32_t clock;
	struct flow_key last; // packets of a flow come in runs
	uint64_t seed[TUPLE_HASH_KEYS];
};

struct flow_table *flow_table_create(uint32_t flows)
{
	struct flow_table *t = calloc(1, sizeof(*t));
	if (!t)
		return NULL;
	t->mask = flows / FLOW_WAYS - 1;
	// Large and zero: pages come from the kernel when they are touched first.
	t->set = calloc(t->mask + 1, sizeof(*t->set));
	if (!t->set) {
		free(t);
		return NULL;
	}
	randombytes_buf(t->seed, sizeof(t->seed));
	t->seed[TUPLE_HASH_KEYS - 1] |= 1;
	return t;
}

void flow_table_destroy(struct flow_table *t)
{
	if (!t)
		return;
	free(t->set);
	free(t);
}

static bool is_same(const struct flow_key *a, const struct flow_key *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

// The flow's set, and its hash within: never 0.
static struct flow_set *set_of(
	const struct flow_table *t, const struct flow_key *key, uint32_t *hash)
{
	uint64_t rest = tuple_word((const uint8_t *)key + offsetof(struct flow_key, remote_port));
	uint64_t h = tuple_hash(t->seed, key->remote, key->local, rest, 0);
	*hash = (uint32_t)(h >> 32) | 1;
	return &t->set[(uint32_t)h & t->mask];
}

// FLOW_WAYS: it is not there.
static unsigned way_of(const struct flow_set *s, const struct flow_key *key, uint32_t hash)
{
	unsigned i = 0;
	while (i < FLOW_WAYS && (s->hash[i] != hash || !is_same(&s->key[i], key)))
		i++;
	return i;
}

// A free one, or the one whose use is longest ago.
static unsigned oldest(const struct flow_table *t, const struct flow_set *s)
{
	unsigned best = 0;
	for (unsigned i = 0; i < FLOW_WAYS; i++) {
		if (s->hash[i] == 0)
			return i;
		if (t->clock - s->used[i] > t->clock - s->used[best])
			best = i;
	}
	return best;
}

bool flow_remember(struct flow_table *t, const struct flow_key *key)
{
	uint32_t hash;
	if (is_same(key, &t->last))
		return false;
	t->last = *key;
	t->clock++;
	struct flow_set *s = set_of(t, key, &hash);
	unsigned way = way_of(s, key, hash);
	bool is_new = way == FLOW_WAYS;
	if (is_new)
		way = oldest(t, s);
	bool evicts = is_new && s->hash[way] != 0;
	s->hash[way] = hash;
	s->used[way] = t->clock;
	s->key[way] = *key;
	return evicts;
}

bool flow_known(struct flow_table *t, const struct flow_key *key)
{
	uint32_t hash;
	struct flow_set *s = set_of(t, key, &hash);
	unsigned way = way_of(s, key, hash);
	if (way == FLOW_WAYS)
		return false;
	s->used[way] = ++t->clock;
	return true;
}
