// Lookups of the workers, inline: longest prefix, route, allowed IPs. Addresses are bytes in
// network order. A result is valid until the worker's next quiescent state.
#pragma once

#include <stdatomic.h>

#include "dataplane/table/fib.h"
#include "dataplane/table/peer.h"

// An entry of the trie: LPM_CHILD and a node's number, LPM_TAIL and a tail's, or a value with the
// bits of its prefix that lie in this node (0: inherited from above), so that an update knows what
// it may overwrite.
#define LPM_CHILD (UINT32_C(1) << 31)
#define LPM_TAIL (UINT32_C(1) << 30)

enum {
	LPM_NODE_BITS = 8,
	LPM_NODE_ENTRIES = 1 << LPM_NODE_BITS,
	LPM_ROOT_BITS = 16,
	LPM_ROOT_NODES = 1 << (LPM_ROOT_BITS - LPM_NODE_BITS), // the root fills these many nodes
	LPM_DEPTH_SHIFT = 24,
};

// The only longer prefix under an entry, in place of the nodes that would lead to it alone: hosts
// that are spread over a large network cost 48 bytes each, not up to 14 nodes of 1 KiB.
struct lpm_tail {
	uint64_t addr[2], mask[2]; // network order; fixed while an entry leads here
	_Atomic uint32_t value;	   // of the prefix // ctl: rw, wrk: ro (acquire)
	_Atomic uint32_t under;	   // the entry for all else, without LPM_CHILD // likewise
	uint8_t len;		   // ctl only
};

struct lpm {
	_Atomic uint32_t *entries; // node n at n * LPM_NODE_ENTRIES // ctl: rw, wrk: ro (acquire)
	struct lpm_tail *tails;
	struct lpm_control *control; // ctl only
};

static inline uint32_t lpm_entry(const struct lpm *l, size_t at)
{
	return atomic_load_explicit(&l->entries[at], memory_order_acquire);
}

static inline uint32_t lpm_tail_lookup(
	const struct lpm_tail *t, const uint8_t *addr, unsigned bytes)
{
	uint64_t a[2] = {0};
	memcpy(a, addr, bytes);
	bool match = (((a[0] ^ t->addr[0]) & t->mask[0]) | ((a[1] ^ t->addr[1]) & t->mask[1])) == 0;
	return atomic_load_explicit(match ? &t->value : &t->under, memory_order_acquire);
}

// The entry of the first 16 bits.
static inline uint32_t lpm_root(const struct lpm *l, const uint8_t *addr)
{
	return lpm_entry(l, (size_t)addr[0] << 8 | addr[1]);
}

// bytes: how many the address has, a constant for the compiler.
static inline uint32_t lpm_lookup(const struct lpm *l, const uint8_t *addr, unsigned bytes)
{
	uint32_t e = lpm_root(l, addr);
	for (unsigned i = 2; i < bytes && (e & LPM_CHILD); i++)
		e = lpm_entry(l, (size_t)(e & ~LPM_CHILD) << LPM_NODE_BITS | addr[i]);
	if (e & LPM_TAIL)
		e = lpm_tail_lookup(&l->tails[e & LPM_VALUE_MAX], addr, bytes);
	return e & LPM_VALUE_MAX;
}

// Ask memory for the root's entry, and for the one behind it.
static inline void lpm_prefetch_root(const struct lpm *l, const uint8_t *addr)
{
	rte_prefetch0((const void *)&l->entries[(size_t)addr[0] << 8 | addr[1]]);
}

static inline void lpm_prefetch_node(const struct lpm *l, const uint8_t *addr, uint32_t root)
{
	size_t node = (size_t)(root & ~LPM_CHILD) << LPM_NODE_BITS;
	if (root & LPM_CHILD)
		rte_prefetch0((const void *)&l->entries[node | addr[2]]);
	else if (root & LPM_TAIL)
		rte_prefetch0(&l->tails[root & LPM_VALUE_MAX]);
}

// The value of the longest prefix, or LPM_NONE; 1 to 3 dependent loads, or a tail as one of them.
// [wrk, ctl]
static inline uint32_t lpm_lookup4(const struct lpm *l, const uint8_t addr[static 4])
{
	return lpm_lookup(l, addr, 4);
}

// The same; a load for the first 16 bits and one for each further 8 that several prefixes reach
// into.
static inline uint32_t lpm_lookup6(const struct lpm *l, const uint8_t addr[static 16])
{
	return lpm_lookup(l, addr, 16);
}

static inline const struct nexthop *fib_nexthop(const struct fib *f, uint32_t value)
{
	return atomic_load_explicit(&f->nexthop[value], memory_order_acquire);
}

// NULL: no route. [wrk, ctl]
static inline const struct nexthop *fib_lookup4(const struct fib *f, const uint8_t addr[static 4])
{
	return fib_nexthop(f, lpm_lookup4(f->v4, addr));
}

static inline const struct nexthop *fib_lookup6(const struct fib *f, const uint8_t addr[static 16])
{
	return fib_nexthop(f, lpm_lookup6(f->v6, addr));
}

// addr: 4 or 16 bytes, by the family.
static inline const struct nexthop *fib_find(
	const struct fib *f, const uint8_t *addr, uint8_t family)
{
	return family == IP_V4 ? fib_lookup4(f, addr) : fib_lookup6(f, addr);
}

// A full table lies outside of the caches. Nodes ahead of ROUTE ask memory for what a lookup will
// read, a step each. l3: the packet's IP header. [wrk]
static inline const struct lpm *fib_lpm(const struct fib *f, uint8_t family)
{
	return family == IP_V4 ? f->v4 : f->v6;
}

static inline const uint8_t *fib_address(const uint8_t *l3, uint8_t family)
{
	return l3 + (family == IP_V4 ? 16 : 24);
}

static inline void fib_ask_root(const struct fib *f, const uint8_t *l3, uint8_t family)
{
	lpm_prefetch_root(fib_lpm(f, family), fib_address(l3, family));
}

static inline void fib_ask_node(const struct fib *f, const uint8_t *l3, uint8_t family)
{
	const struct lpm *lpm = fib_lpm(f, family);
	const uint8_t *dst = fib_address(l3, family);
	lpm_prefetch_node(lpm, dst, lpm_root(lpm, dst));
}

struct allowedips {
	struct lpm *v4, *v6;		    // fixed after init; entries RCU; values are peer id + 1
	struct peer *_Atomic *peer;	    // by value // ctl: rw, wrk: ro (RCU); [0] = NULL
	struct allowedips_control *control; // ctl only
};

// allowedips_lookup4() and 6() of peer.h, inline. [wrk, ctl]
static inline struct peer *allowedips_find4(
	const struct allowedips *a, const uint8_t addr[static 4])
{
	return atomic_load_explicit(&a->peer[lpm_lookup4(a->v4, addr)], memory_order_acquire);
}

static inline struct peer *allowedips_find6(
	const struct allowedips *a, const uint8_t addr[static 16])
{
	return atomic_load_explicit(&a->peer[lpm_lookup6(a->v6, addr)], memory_order_acquire);
}
