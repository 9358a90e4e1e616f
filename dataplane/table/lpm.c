#include "dataplane/table/lpm.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "dataplane/table/lookup.h"
#include "dataplane/table/prefix_map.h"

enum {
	NODES_MAX_V4 = 1 << 18, // 256 MiB of addresses; memory only as it fills
	NODES_MAX_V6 = 1 << 20,
	NODES_STEP = 1024, // made accessible at a time: 1 MiB
	NODE_BYTES = LPM_NODE_ENTRIES * sizeof(uint32_t),
	LEVELS_MAX = 15, // 16 bits, then 14 times 8
	LENGTHS = 129,
};

#define ROOT 0u // its number; its entries fill the numbers below LPM_ROOT_NODES

static_assert(LPM_VALUE_MAX >> LPM_DEPTH_SHIFT == 0, "value below the depth");
static_assert(((uint64_t)LPM_ROOT_BITS << LPM_DEPTH_SHIFT) < LPM_CHILD, "depth below the mark");

struct node_meta {
	uint32_t under; // the value that this node's children inherit, as its parent's entry would
			// be without the node; of a free node: the next free one
	uint16_t used;	// entries that are children or have a depth
};

struct lpm_control {
	struct rcu *rcu;
	enum ip_family family;
	uint32_t nodes_max;
	uint32_t nodes_mapped;	// accessible
	uint32_t nodes_touched; // handed out at least once
	uint32_t nodes_free;	// of the touched ones
	uint32_t free_head;
	struct node_meta *meta;	   // nodes_max
	struct prefix_map exact;   // all prefixes with their values
	uint32_t lengths[LENGTHS]; // prefixes of each length
};

// The way from the root to a prefix's node.
struct way {
	uint32_t node[LEVELS_MAX];
	unsigned level; // of the last
};

static uint32_t leaf(unsigned depth, uint32_t value)
{
	return (uint32_t)depth << LPM_DEPTH_SHIFT | value;
}

static unsigned depth_of(uint32_t entry)
{
	return entry >> LPM_DEPTH_SHIFT;
}

static bool is_own(uint32_t entry)
{
	return (entry & LPM_CHILD) || depth_of(entry) > 0;
}

static unsigned level_of(unsigned len)
{
	return len <= LPM_ROOT_BITS ? 0 : (len - LPM_ROOT_BITS + 7) / LPM_NODE_BITS;
}

// Bits of an address that lie above a level.
static unsigned base_of(unsigned level)
{
	return level ? LPM_ROOT_BITS + (level - 1) * LPM_NODE_BITS : 0;
}

static unsigned stride_of(unsigned level)
{
	return level ? LPM_NODE_BITS : LPM_ROOT_BITS;
}

static uint32_t index_of(const struct ip_prefix *p, unsigned level)
{
	const uint8_t *b = p->addr.bytes;
	return level ? b[level + 1] : (uint32_t)b[0] << 8 | b[1];
}

static _Atomic uint32_t *entry_at(const struct lpm *l, uint32_t node, uint32_t index)
{
	return &l->entries[((size_t)node << LPM_NODE_BITS) + index];
}

static uint32_t entry_get(const struct lpm *l, uint32_t node, uint32_t index)
{
	return atomic_load_explicit(entry_at(l, node, index), memory_order_relaxed);
}

// Release: a worker that sees the entry sees the node or the value's object behind it.
static void entry_put(struct lpm *l, uint32_t node, uint32_t index, uint32_t entry)
{
	uint32_t old = entry_get(l, node, index);
	uint16_t *used = &l->control->meta[node].used;
	*used = (uint16_t)(*used + is_own(entry) - is_own(old));
	if (entry != old)
		atomic_store_explicit(entry_at(l, node, index), entry, memory_order_release);
}

static int map_nodes(struct lpm *l, uint32_t upto)
{
	struct lpm_control *c = l->control;
	if (upto <= c->nodes_mapped)
		return 0;
	uint32_t n = (upto + NODES_STEP - 1) / NODES_STEP * NODES_STEP;
	uint8_t *from = (uint8_t *)l->entries + (size_t)c->nodes_mapped * NODE_BYTES;
	if (mprotect(from, (size_t)(n - c->nodes_mapped) * NODE_BYTES, PROT_READ | PROT_WRITE) < 0)
		return -ENOMEM;
	c->nodes_mapped = n;
	return 0;
}

// After this, n nodes can be taken.
static int reserve_nodes(struct lpm *l, uint32_t n)
{
	struct lpm_control *c = l->control;
	if (n <= c->nodes_free)
		return 0;
	uint32_t upto = c->nodes_touched + n - c->nodes_free;
	return upto > c->nodes_max ? -ENOMEM : map_nodes(l, upto);
}

static uint32_t take_node(struct lpm *l)
{
	struct lpm_control *c = l->control;
	if (!c->nodes_free)
		return c->nodes_touched++;
	uint32_t node = c->free_head;
	c->free_head = c->meta[node].under;
	c->nodes_free--;
	return node;
}

struct retired_node {
	struct lpm *l;
	uint32_t node;
};

static void give_node(void *arg)
{
	struct retired_node *r = arg;
	struct lpm_control *c = r->l->control;
	c->meta[r->node].under = c->free_head;
	c->free_head = r->node;
	c->nodes_free++;
	free(r);
}

static void retire_node(struct lpm *l, uint32_t node)
{
	struct retired_node *r = mem_alloc(sizeof(*r));
	*r = (struct retired_node){.l = l, .node = node};
	rcu_defer(l->control->rcu, give_node, r);
}

// A node that answers as the leaf did, put in its place.
static uint32_t split(struct lpm *l, uint32_t parent, uint32_t index)
{
	uint32_t under = entry_get(l, parent, index);
	uint32_t node = take_node(l);
	uint32_t inherited = leaf(0, under & LPM_VALUE_MAX);
	for (unsigned i = 0; i < LPM_NODE_ENTRIES; i++)
		atomic_store_explicit(entry_at(l, node, i), inherited, memory_order_relaxed);
	l->control->meta[node] = (struct node_meta){.under = under};
	entry_put(l, parent, index, LPM_CHILD | node);
	return node;
}

// Nodes on the way to level that exist, from the root on.
static struct way walk(const struct lpm *l, const struct ip_prefix *p, unsigned level)
{
	struct way w = {.node[0] = ROOT};
	while (w.level < level) {
		uint32_t e = entry_get(l, w.node[w.level], index_of(p, w.level));
		if (!(e & LPM_CHILD))
			break;
		w.node[++w.level] = e & ~LPM_CHILD;
	}
	return w;
}

// A value came or went above: what has no prefix of its own in this node follows.
static void inherit(struct lpm *l, uint32_t node, uint32_t value)
{
	for (unsigned i = 0; i < LPM_NODE_ENTRIES; i++) {
		uint32_t e = entry_get(l, node, i);
		if (e & LPM_CHILD) {
			uint32_t child = e & ~LPM_CHILD;
			if (depth_of(l->control->meta[child].under) > 0)
				continue;
			l->control->meta[child].under = leaf(0, value);
			inherit(l, child, value);
		} else if (depth_of(e) == 0) {
			entry_put(l, node, i, leaf(0, value));
		}
	}
}

// Write a leaf over those entries of the prefix whose depth is min..max.
static void cover(struct lpm *l, const struct way *w, const struct ip_prefix *p, unsigned min,
	unsigned max, uint32_t new)
{
	uint32_t node = w->node[w->level];
	uint32_t n = 1u << (base_of(w->level) + stride_of(w->level) - p->len);
	uint32_t first = index_of(p, w->level);
	for (uint32_t i = first; i < first + n; i++) {
		uint32_t e = entry_get(l, node, i);
		uint32_t child = e & ~LPM_CHILD;
		uint32_t old = e & LPM_CHILD ? l->control->meta[child].under : e;
		if (depth_of(old) < min || depth_of(old) > max)
			continue;
		if (e & LPM_CHILD) {
			l->control->meta[child].under = new;
			inherit(l, child, new &LPM_VALUE_MAX);
		} else {
			entry_put(l, node, i, new);
		}
	}
}

static void collapse(struct lpm *l, struct way *w, const struct ip_prefix *p)
{
	for (; w->level > 0; w->level--) {
		uint32_t node = w->node[w->level];
		if (l->control->meta[node].used > 0)
			break;
		uint32_t under = l->control->meta[node].under;
		entry_put(l, w->node[w->level - 1], index_of(p, w->level - 1), under);
		retire_node(l, node);
	}
}

static bool is_valid(const struct lpm *l, const struct ip_prefix *p)
{
	return p->addr.family == l->control->family && p->len <= ip_addr_bits(&p->addr) &&
	       ip_prefix_contains(p, &p->addr); // no host bits
}

int lpm_set(struct lpm *l, const struct ip_prefix *p, uint32_t value)
{
	struct lpm_control *c = l->control;
	if (!is_valid(l, p) || value == LPM_NONE || value > LPM_VALUE_MAX)
		return -EINVAL;
	unsigned level = level_of(p->len);
	struct way w = walk(l, p, level);
	int error = reserve_nodes(l, level - w.level);
	if (error)
		return error;
	uint32_t count = c->exact.count;
	error = prefix_map_set(&c->exact, p, value);
	if (error)
		return error;
	c->lengths[p->len] += c->exact.count - count;
	for (; w.level < level; w.level++)
		w.node[w.level + 1] = split(l, w.node[w.level], index_of(p, w.level));
	unsigned depth = p->len - base_of(level);
	cover(l, &w, p, 0, depth, leaf(depth, value));
	return 0;
}

// What answers once the prefix is gone: the next shorter one, as a leaf of the prefix's node.
static uint32_t shorter(const struct lpm *l, const struct ip_prefix *p)
{
	unsigned base = base_of(level_of(p->len));
	for (unsigned len = p->len; len-- > 0;) {
		if (!l->control->lengths[len])
			continue;
		struct ip_prefix q = prefix_shorten(p, len);
		uint32_t value = prefix_map_get(&l->control->exact, &q);
		if (value)
			return leaf(len > base ? len - base : 0, value);
	}
	return leaf(0, LPM_NONE);
}

int lpm_clear(struct lpm *l, const struct ip_prefix *p)
{
	if (!is_valid(l, p) || !prefix_map_remove(&l->control->exact, p))
		return -ENOENT;
	l->control->lengths[p->len]--;
	struct way w = walk(l, p, level_of(p->len));
	unsigned depth = p->len - base_of(w.level);
	cover(l, &w, p, depth, depth, shorter(l, p));
	collapse(l, &w, p);
	return 0;
}

uint32_t lpm_get(const struct lpm *l, const struct ip_prefix *p)
{
	return prefix_map_get(&l->control->exact, p);
}

uint32_t lpm_count(const struct lpm *l)
{
	return l->control->exact.count;
}

size_t lpm_memory(const struct lpm *l)
{
	const struct lpm_control *c = l->control;
	return sizeof(*l) + sizeof(*c) + prefix_map_memory(&c->exact) +
	       c->nodes_touched * (NODE_BYTES + sizeof(struct node_meta));
}

static void lpm_free(void *arg)
{
	struct lpm *l = arg;
	munmap(l->entries, (size_t)l->control->nodes_max * NODE_BYTES);
	prefix_map_fini(&l->control->exact);
	free(l->control->meta);
	free(l->control);
	free(l);
}

struct lpm *lpm_create(enum ip_family family, struct rcu *rcu)
{
	struct lpm *l = mem_alloc(sizeof(*l));
	struct lpm_control *c = l->control = mem_alloc(sizeof(*c));
	*c = (struct lpm_control){
		.rcu = rcu,
		.family = family,
		.nodes_max = family == IP_V4 ? NODES_MAX_V4 : NODES_MAX_V6,
		.nodes_touched = LPM_ROOT_NODES,
	};
	// calloc and mmap: pages are made when nodes are. Addresses are reserved at once, so that
	// nodes never move and a lookup needs no table of chunks.
	c->meta = calloc(c->nodes_max, sizeof(*c->meta));
	l->entries = mmap(NULL, (size_t)c->nodes_max * NODE_BYTES, PROT_NONE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (c->meta && l->entries != MAP_FAILED && map_nodes(l, LPM_ROOT_NODES) == 0)
		return l;
	if (l->entries != MAP_FAILED)
		munmap(l->entries, (size_t)c->nodes_max * NODE_BYTES);
	free(c->meta);
	free(c);
	free(l);
	errno = ENOMEM;
	return NULL;
}

void lpm_destroy(struct lpm *l)
{
	if (l) // behind the nodes that wait for their grace period
		rcu_defer(l->control->rcu, lpm_free, l);
}
