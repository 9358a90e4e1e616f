// Address to number, for ranges of any bounds: elementary intervals under a grid that adapts to
// where their bounds lie, so that a lookup touches two or three cache lines whether there are ten
// or a hundred thousand. Never changed once built.
//
//   node: its span is cut into equal slots; a slot has one number, or a leaf, or a finer node
//   leaf: up to three bounds; the number depends on how many of them lie at or below the address
#pragma once

#include <assert.h>
#include <rte_byteorder.h>

#include "dataplane/base/types.h"

typedef unsigned __int128 wide_addr; // an address as a number; of IPv4 the low 32 bits

enum {
	RANGE_LEAF_BOUNDS = 3,
};

#define RANGE_NODE (UINT32_C(1) << 31) // slot: the rest is a node
#define RANGE_LEAF (UINT32_C(1) << 30) // slot: the rest is a leaf
#define RANGE_VALUE_MAX (RANGE_LEAF - 1)

struct range_leaf { // one cache line
	wide_addr bound[RANGE_LEAF_BOUNDS];
	uint32_t value[RANGE_LEAF_BOUNDS + 1];
};
static_assert(sizeof(struct range_leaf) == 64);

struct range_node {
	wide_addr base; // where its second slot begins; the first is for what lies below
	uint32_t first; // of its slots
	uint32_t last;	// slots but the first and the last
	uint32_t shift; // bits of an address within a slot
};

struct range_map {
	struct range_node *node; // the first is the root
	struct range_leaf *leaf;
	uint32_t *slot;
	uint32_t n_nodes, n_leaves, n_slots;
	uint32_t nodes_room, leaves_room, slots_room;
	size_t memory, memory_max; // bytes
};

// From bound on, up to the next one, addresses have this value.
struct range_bound {
	wide_addr bound;
	uint32_t value; // up to RANGE_VALUE_MAX
};

static inline wide_addr wide_of(uint8_t family, const uint8_t *bytes)
{
	uint64_t high, low;
	if (family == IP_V4) {
		uint32_t v;
		memcpy(&v, bytes, sizeof(v));
		return rte_be_to_cpu_32(v);
	}
	memcpy(&high, bytes, sizeof(high));
	memcpy(&low, bytes + sizeof(high), sizeof(low));
	return (wide_addr)rte_be_to_cpu_64(high) << 64 | rte_be_to_cpu_64(low);
}

static inline wide_addr wide_last(uint8_t family)
{
	return family == IP_V4 ? UINT32_MAX : ~(wide_addr)0;
}

// Bounds in rising order, each once; below the first one addresses have the value 0. A map that
// is all zeros before. 0, or -E2BIG: more than memory_max bytes; either way to be ended by fini.
int range_map_build(
	struct range_map *, const struct range_bound *, uint32_t n, size_t memory_max) must_check;
void range_map_fini(struct range_map *);

static inline uint32_t range_leaf_find(const struct range_leaf *l, wide_addr a)
{
	unsigned at = 0;
	for (unsigned i = 0; i < RANGE_LEAF_BOUNDS; i++)
		at += a >= l->bound[i];
	return l->value[at];
}

// [wrk, ctl]
static inline uint32_t range_map_find(const struct range_map *m, wide_addr a)
{
	const struct range_node *n = m->node;
	for (;;) {
		wide_addr at = (a - n->base) >> n->shift;
		uint32_t place = at < n->last ? (uint32_t)at + 1 : n->last;
		uint32_t slot = m->slot[n->first + (a < n->base ? 0 : place)];
		if (slot & RANGE_LEAF)
			return range_leaf_find(&m->leaf[slot & RANGE_VALUE_MAX], a);
		if (!(slot & RANGE_NODE))
			return slot;
		n = &m->node[slot & RANGE_VALUE_MAX];
	}
}
