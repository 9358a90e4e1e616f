// Where flows are found: lines of 15 entries, probed linearly. A line knows how many entries that
// should be in it, or were passed on to it, lie behind it; so a search ends where it should, and
// nothing marks what was removed.
#include "dataplane/table/nat_priv.h"

enum {
	LINES_MAX = 16, // that a search goes through; half full, more than two are rare
};

static struct nat_bucket *line(const struct nat_table *t, uint64_t hash, unsigned i)
{
	return &t->bucket[(hash + i) & t->mask];
}

struct nat_key nat_index_key(const struct nat_flow *f, enum nat_side side)
{
	return f->flags & NAT_ANY_REMOTE ? nat_any_remote(&f->side[side]) : f->side[side];
}

static bool is_wanted(const struct nat_flow *f, enum nat_side side, const struct nat_key *k)
{
	return f->flags & NAT_ANY_REMOTE ? nat_same_local(&f->side[side], k)
					 : nat_same_key(&f->side[side], k);
}

static struct nat_flow *find(
	const struct nat_table *t, enum nat_side side, const struct nat_key *k, uint64_t hash)
{
	uint32_t entry = nat_entry(side, hash);
	for (unsigned i = 0; i < LINES_MAX; i++) {
		const struct nat_bucket *b = line(t, hash, i);
		for (unsigned ways = nat_ways(b, entry); ways; ways &= ways - 1) {
			uint32_t number = b->entry[__builtin_ctz(ways)] & NAT_ENTRY_FLOW;
			struct nat_flow *f = &t->flow[number];
			if (is_wanted(f, side, k))
				return f;
		}
		if (b->passed == 0)
			return NULL;
	}
	return NULL;
}

struct nat_flow *nat_find(const struct nat_table *t, enum nat_side side, const struct nat_key *k,
	uint64_t hash, uint32_t now_ms)
{
	struct nat_flow *f = find(t, side, k, hash);
	return f && !nat_is_idle(t, f, now_ms) ? f : NULL;
}

struct nat_flow *nat_index_find(
	const struct nat_table *t, enum nat_side side, const struct nat_key *k)
{
	return find(t, side, k, nat_hash(t, side, k));
}

static unsigned free_way(const struct nat_bucket *b)
{
	unsigned way = 0;
	while (way < NAT_WAYS && b->entry[way] != 0)
		way++;
	return way;
}

bool nat_index_add(
	struct nat_table *t, enum nat_side side, const struct nat_key *k, uint32_t number)
{
	uint64_t hash = nat_hash(t, side, k);
	unsigned i = 0, way;
	while ((way = free_way(line(t, hash, i))) == NAT_WAYS) {
		if (++i == LINES_MAX)
			return false;
	}
	line(t, hash, i)->entry[way] = nat_entry(side, hash) | number;
	while (i-- > 0)
		line(t, hash, i)->passed++;
	return true;
}

void nat_index_remove(
	struct nat_table *t, enum nat_side side, const struct nat_key *k, uint32_t number)
{
	uint64_t hash = nat_hash(t, side, k);
	uint32_t entry = nat_entry(side, hash) | number;
	for (unsigned i = 0; i < LINES_MAX; i++) {
		struct nat_bucket *b = line(t, hash, i);
		for (unsigned way = 0; way < NAT_WAYS; way++) {
			if (b->entry[way] != entry)
				continue;
			b->entry[way] = 0;
			while (i-- > 0)
				line(t, hash, i)->passed--;
			return;
		}
	}
}
