// Who holds how many outside ports towards a destination. Each client and destination has a cell in
// either row, by a keyed hash, and counts as the smaller of both: as no one can aim at a cell, who
// shares both with others that have much is rare.
#include "dataplane/table/nat_priv.h"

#include <sys/mman.h>

enum {
	ROWS = 2,
	CELLS_LEAST = 1024, // of a row
};

static uint32_t cells(const struct nat_table *t)
{
	return t->held_mask + 1;
}

size_t nat_held_memory(const struct nat_table *t)
{
	return (size_t)cells(t) * ROWS * sizeof(*t->held);
}

bool nat_held_create(struct nat_table *t)
{
	t->held_mask = rte_align32pow2(RTE_MAX(t->bound, (uint32_t)CELLS_LEAST)) - 1;
	t->held = nat_map(nat_held_memory(t));
	return t->held;
}

void nat_held_destroy(struct nat_table *t)
{
	if (t->held)
		munmap(t->held, nat_held_memory(t));
}

static void cells_of(const struct nat_table *t, const struct nat_key *key, uint16_t client,
	uint32_t *cell[static ROWS])
{
	struct nat_key k = *key;
	k.local_port = client;
	uint64_t hash = nat_hash(t, NAT_OUTSIDE, &k);
	cell[0] = &t->held[hash & t->held_mask];
	cell[1] = &t->held[cells(t) + (hash >> 40 & t->held_mask)];
}

static void add(struct nat_table *t, const struct nat_flow *f, uint32_t n)
{
	struct nat_key k = nat_index_key(f, NAT_OUTSIDE);
	uint32_t *cell[ROWS];
	cells_of(t, &k, f->client, cell);
	for (unsigned i = 0; i < ROWS; i++)
		*cell[i] += n;
}

void nat_held_more(struct nat_table *t, const struct nat_flow *f)
{
	add(t, f, 1);
}

void nat_held_less(struct nat_table *t, const struct nat_flow *f)
{
	add(t, f, UINT32_MAX);
}

uint32_t nat_held(const struct nat_table *t, const struct nat_key *key, uint16_t client)
{
	uint32_t *cell[ROWS];
	cells_of(t, key, client, cell);
	return RTE_MIN(RTE_MIN(*cell[0], *cell[1]), nat_client_flows(t->clients, client));
}
