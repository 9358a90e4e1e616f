#include "dataplane/table/lpm.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "dataplane/base/huge.h"
#include "dataplane/table/lookup.h"
#include "dataplane/table/prefix_map.h"

enum {
	NODES_MAX_V4 = 1 << 18, // 256 MiB of addresses; memory only as it fills
	NODES_MAX_V6 = 1 << 20,
	TAILS_MAX = 1 << 22,
	POOL_STEP = 1 << 20, // bytes made accessible at a time; above HUGE_PAGE as many as that
	NODE_BYTES = LPM_NODE_ENTRIES * sizeof(uint32_t),
	LEVELS_MAX = 15, // 16 bits, then 14 times 8
	LENGTHS = 129,
};

#define ROOT 0u // its number; its entries fill the numbers below LPM_ROOT_NODES

static_assert(LPM_VALUE_MAX >> LPM_DEPTH_SHIFT == 0, "value below the depth");
static_assert(((uint64_t)LPM_ROOT_BITS << LPM_DEPTH_SHIFT) < LPM_TAIL, "depth below the marks");
static_assert((uint32_t)TAILS_MAX <= LPM_VALUE_MAX, "a tail's number takes the place of a value");

struct node_meta {
	uint32_t under; // the value that this node's children inherit, as its parent's entry would
			// be without the node
	uint16_t used;	// entries that are children, tails, or have a depth
};

// Nodes or tails, by number. Addresses are reserved at once, so that none ever moves and a lookup
// needs no table of chunks; pages are made as they are used.
struct pool {
	uint8_t *items;
	uint32_t *next; // max of them: of a free one, the next free one
	size_t size;	// of one
	uint32_t max;
	uint32_t mapped;  // accessible
	uint32_t touched; // handed out at least once
	uint32_t free;	  // of the touched ones
	uint32_t free_head;
};

struct lpm_control {
	struct rcu *rcu;
	enum ip_family family;
	struct pool nodes, tails;
	struct node_meta *meta;	   // of each node
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
	return depth_of(entry) > 0; // or a mark above it
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

static bool pool_create(struct pool *pool, size_t size, uint32_t max)
{
	*pool = (struct pool){.size = size, .max = max};
	pool->next = calloc(max, sizeof(*pool->next)); // pages of it as well
	pool->items = huge_reserve(max * size, PROT_NONE);
	return pool->next && pool->items;
}

static void pool_free(struct pool *pool)
{
	if (pool->items)
		munmap(pool->items, pool->max * pool->size);
	free(pool->next);
}

static int pool_map(struct pool *pool, uint32_t upto)
{
	if (upto <= pool->mapped)
		return 0;
	if (upto > pool->max)
		return -ENOMEM;
	size_t from = RTE_ALIGN_CEIL(pool->mapped * pool->size, POOL_STEP);
	size_t step = upto * pool->size > HUGE_PAGE ? HUGE_PAGE : POOL_STEP;
	size_t to = RTE_MIN(RTE_ALIGN_CEIL(upto * pool->size, step), pool->max * pool->size);
	if (mprotect(pool->items + from, to - from, PROT_READ | PROT_WRITE) < 0)
		return -ENOMEM;
	// What lookups in a full table wait for are translations of addresses, too.
	if (from >= HUGE_PAGE)
		huge_advise(pool->items + from, to - from);
	pool->mapped = (uint32_t)(to / pool->size);
	return 0;
}

// After this, n can be taken.
static int pool_reserve(struct pool *pool, uint32_t n)
{
	return n <= pool->free ? 0 : pool_map(pool, pool->touched + n - pool->free);
}

static uint32_t pool_take(struct pool *pool)
{
	if (!pool->free)
		return pool->touched++;
	uint32_t i = pool->free_head;
	pool->free_head = pool->next[i];
	pool->free--;
	return i;
}

struct retired {
	struct pool *pool;
	uint32_t item;
};

static void give(void *arg)
{
	struct retired *r = arg;
	r->pool->next[r->item] = r->pool->free_head;
	r->pool->free_head = r->item;
	r->pool->free++;
	free(r);
}

static void retire(struct lpm *l, struct pool *pool, uint32_t item)
{
	struct retired *r = mem_alloc(sizeof(*r));
	*r = (struct retired){.pool = pool, .item = item};
	rcu_defer(l->control->rcu, give, r);
}

static struct lpm_tail *tail_of(const struct lpm *l, uint32_t entry)
{
	return &l->tails[entry & LPM_VALUE_MAX];
}

// What an entry would be if nothing longer were under it.
static uint32_t under_of(const struct lpm *l, uint32_t entry)
{
	if (entry & LPM_CHILD)
		return l->control->meta[entry & ~LPM_CHILD].under;
	if (entry & LPM_TAIL)
		return atomic_load_explicit(&tail_of(l, entry)->under, memory_order_relaxed);
	return entry;
}

static void tail_set_under(struct lpm *l, uint32_t entry, uint32_t under)
{
	atomic_store_explicit(&tail_of(l, entry)->under, under, memory_order_release);
}

static struct ip_prefix tail_prefix(const struct lpm *l, const struct lpm_tail *t)
{
	struct ip_prefix p = {.addr.family = (uint8_t)l->control->family, .len = t->len};
	memcpy(p.addr.bytes, t->addr, sizeof(p.addr.bytes));
	return p;
}

// The entry of a new tail.
static uint32_t tail_make(struct lpm *l, const struct ip_prefix *p, uint32_t value, uint32_t under)
{
	uint32_t i = pool_take(&l->control->tails);
	struct lpm_tail *t = &l->tails[i];
	uint8_t mask[16] = {0};
	for (unsigned bit = 0; bit < p->len; bit++)
		mask[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
	memcpy(t->addr, p->addr.bytes, sizeof(t->addr));
	memcpy(t->mask, mask, sizeof(t->mask));
	t->len = p->len;
	atomic_store_explicit(&t->value, value, memory_order_relaxed);
	atomic_store_explicit(&t->under, under, memory_order_relaxed);
	return LPM_TAIL | i;
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
		uint32_t child = e & ~LPM_CHILD;
		if (depth_of(under_of(l, e)) > 0)
			continue;
		if (e & LPM_CHILD) {
			l->control->meta[child].under = leaf(0, value);
			inherit(l, child, value);
		} else if (e & LPM_TAIL) {
			tail_set_under(l, e, leaf(0, value));
		} else {
			entry_put(l, node, i, leaf(0, value));
		}
	}
}

// Write a leaf over those entries of the prefix whose depth is min..max. level: of node, and where
// the prefix ends.
static void cover(struct lpm *l, uint32_t node, unsigned level, const struct ip_prefix *p,
	unsigned min, unsigned max, uint32_t new)
{
	uint32_t n = 1u << (base_of(level) + stride_of(level) - p->len);
	uint32_t first = index_of(p, level);
	for (uint32_t i = first; i < first + n; i++) {
		uint32_t e = entry_get(l, node, i);
		uint32_t child = e & ~LPM_CHILD;
		unsigned depth = depth_of(under_of(l, e));
		if (depth < min || depth > max)
			continue;
		if (e & LPM_CHILD) {
			l->control->meta[child].under = new;
			inherit(l, child, new &LPM_VALUE_MAX);
		} else if (e & LPM_TAIL) {
			tail_set_under(l, e, new);
		} else {
			entry_put(l, node, i, new);
		}
	}
}

// A tail's prefix into a node that nobody has seen yet: as another tail, unless it ends there. Not
// as the same one: a worker that has found it where it was would be told what is under it here.
static void move_tail(struct lpm *l, uint32_t node, unsigned level, uint32_t entry)
{
	const struct lpm_tail *t = tail_of(l, entry);
	struct ip_prefix p = tail_prefix(l, t);
	uint32_t value = atomic_load_explicit(&t->value, memory_order_relaxed);
	if (level_of(p.len) > level) {
		uint32_t index = index_of(&p, level);
		entry_put(l, node, index, tail_make(l, &p, value, entry_get(l, node, index)));
		return;
	}
	unsigned depth = p.len - base_of(level);
	cover(l, node, level, &p, 0, depth, leaf(depth, value));
}

// A node that answers as the leaf or tail did, put in its place. level: of the node.
static uint32_t split(struct lpm *l, uint32_t parent, uint32_t index, unsigned level)
{
	uint32_t before = entry_get(l, parent, index), under = under_of(l, before);
	uint32_t node = pool_take(&l->control->nodes);
	uint32_t inherited = leaf(0, under & LPM_VALUE_MAX);
	for (unsigned i = 0; i < LPM_NODE_ENTRIES; i++)
		atomic_store_explicit(entry_at(l, node, i), inherited, memory_order_relaxed);
	l->control->meta[node] = (struct node_meta){.under = under};
	if (before & LPM_TAIL)
		move_tail(l, node, level, before);
	entry_put(l, parent, index, LPM_CHILD | node);
	if (before & LPM_TAIL) // from now on nobody finds it
		retire(l, &l->control->tails, before & LPM_VALUE_MAX);
	return node;
}

// The node's only entry of its own if that is a tail with no prefix of this node under it; else 0.
static uint32_t only_tail(const struct lpm *l, uint32_t node)
{
	uint32_t i = 0;
	while (!is_own(entry_get(l, node, i)))
		i++;
	uint32_t e = entry_get(l, node, i);
	return (e & LPM_TAIL) && depth_of(under_of(l, e)) == 0 ? e : 0;
}

// Nodes that lead to nothing, or to a tail alone, go.
static void collapse(struct lpm *l, struct way *w, const struct ip_prefix *p)
{
	for (; w->level > 0; w->level--) {
		uint32_t node = w->node[w->level], up = l->control->meta[node].under;
		unsigned used = l->control->meta[node].used;
		uint32_t tail = used == 1 ? only_tail(l, node) : 0;
		if (used > 0 && !tail)
			break;
		if (tail) {
			tail_set_under(l, tail, up);
			up = tail;
		}
		entry_put(l, w->node[w->level - 1], index_of(p, w->level - 1), up);
		retire(l, &l->control->nodes, node);
	}
}

static bool is_valid(const struct lpm *l, const struct ip_prefix *p)
{
	return p->addr.family == l->control->family && p->len <= ip_addr_bits(&p->addr) &&
	       ip_prefix_contains(p, &p->addr); // no host bits
}

// The prefix ends below the nodes that exist: as a tail, or in nodes that part it from another
// one's. True: it has got its place.
static bool set_below(
	struct lpm *l, struct way *w, unsigned level, const struct ip_prefix *p, uint32_t value)
{
	for (; w->level < level; w->level++) {
		uint32_t node = w->node[w->level], index = index_of(p, w->level);
		uint32_t e = entry_get(l, node, index);
		if (!(e & LPM_TAIL)) {
			entry_put(l, node, index, tail_make(l, p, value, e));
			return true;
		}
		struct ip_prefix there = tail_prefix(l, tail_of(l, e));
		if (there.len == p->len && ip_addr_equal(&there.addr, &p->addr)) {
			atomic_store_explicit(&tail_of(l, e)->value, value, memory_order_release);
			return true;
		}
		w->node[w->level + 1] = split(l, node, index, w->level + 1);
	}
	return false;
}

int lpm_set(struct lpm *l, const struct ip_prefix *p, uint32_t value)
{
	struct lpm_control *c = l->control;
	if (!is_valid(l, p) || value == LPM_NONE || value > LPM_VALUE_MAX)
		return -EINVAL;
	unsigned level = level_of(p->len);
	struct way w = walk(l, p, level);
	int error = pool_reserve(&c->nodes, level - w.level);
	if (!error)
		error = pool_reserve(&c->tails, level - w.level + 1); // one that moves, too
	if (error)
		return error;
	uint32_t count = c->exact.count;
	error = prefix_map_set(&c->exact, p, value);
	if (error)
		return error;
	c->lengths[p->len] += c->exact.count - count;
	if (set_below(l, &w, level, p, value))
		return 0;
	unsigned depth = p->len - base_of(level);
	cover(l, w.node[level], level, p, 0, depth, leaf(depth, value));
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
	unsigned level = level_of(p->len), depth = p->len - base_of(level);
	struct way w = walk(l, p, level);
	uint32_t node = w.node[w.level], index = index_of(p, w.level);
	uint32_t e = entry_get(l, node, index);
	if (w.level == level) {
		cover(l, node, level, p, depth, depth, shorter(l, p));
	} else { // it is a tail
		entry_put(l, node, index, under_of(l, e));
		retire(l, &l->control->tails, e & LPM_VALUE_MAX);
	}
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

static size_t pool_memory(const struct pool *pool)
{
	return pool->touched * (pool->size + sizeof(*pool->next));
}

size_t lpm_memory(const struct lpm *l)
{
	const struct lpm_control *c = l->control;
	return sizeof(*l) + sizeof(*c) + prefix_map_memory(&c->exact) + pool_memory(&c->nodes) +
	       pool_memory(&c->tails) + c->nodes.touched * sizeof(struct node_meta);
}

static void lpm_free(void *arg)
{
	struct lpm *l = arg;
	pool_free(&l->control->nodes);
	pool_free(&l->control->tails);
	prefix_map_fini(&l->control->exact);
	free(l->control->meta);
	free(l->control);
	free(l);
}

struct lpm *lpm_create(enum ip_family family, struct rcu *rcu)
{
	struct lpm *l = mem_alloc(sizeof(*l));
	struct lpm_control *c = l->control = mem_alloc(sizeof(*c));
	*c = (struct lpm_control){.rcu = rcu, .family = family};
	bool made =
		pool_create(&c->nodes, NODE_BYTES, family == IP_V4 ? NODES_MAX_V4 : NODES_MAX_V6);
	made &= pool_create(&c->tails, sizeof(struct lpm_tail), TAILS_MAX);
	c->meta = calloc(c->nodes.max, sizeof(*c->meta));
	if (!made || !c->meta || pool_map(&c->nodes, LPM_ROOT_NODES) < 0) {
		lpm_free(l);
		errno = ENOMEM;
		return NULL;
	}
	c->nodes.touched = LPM_ROOT_NODES;
	l->entries = (_Atomic uint32_t *)c->nodes.items;
	l->tails = (struct lpm_tail *)c->tails.items;
	return l;
}

void lpm_destroy(struct lpm *l)
{
	if (l) // behind the nodes that wait for their grace period
		rcu_defer(l->control->rcu, lpm_free, l);
}
