#include "dataplane/table/range_map.h"

#include <errno.h>
#include <rte_common.h>
#include <stdlib.h>

#include "dataplane/base/mem.h"

// Bounds that share a node or a leaf; before: the value below the first of them.
struct part {
	const struct range_bound *bound;
	uint32_t n, before;
};

static int account(struct range_map *m, size_t bytes)
{
	m->memory += bytes;
	return m->memory > m->memory_max ? -E2BIG : 0;
}

// Room for n more items of the array; 0, or -E2BIG.
static int reserve(
	struct range_map *m, void *array, uint32_t used, uint32_t *room, uint32_t n, size_t size)
{
	void **at = array;
	if (used + n <= *room)
		return 0;
	uint32_t more = RTE_MAX(n, *room ? *room : 16);
	if (account(m, more * size) < 0)
		return -E2BIG;
	void *grown = mem_alloc((*room + (size_t)more) * size);
	if (*at)
		memcpy(grown, *at, used * size);
	free(*at);
	*at = grown;
	*room += more;
	return 0;
}

static unsigned bits_of(wide_addr v)
{
	uint64_t high = (uint64_t)(v >> 64), low = (uint64_t)v;
	return high  ? 128 - (unsigned)__builtin_clzll(high)
	       : low ? 64 - (unsigned)__builtin_clzll(low)
		     : 0;
}

static int make_leaf(struct range_map *m, const struct part *p, uint32_t *slot)
{
	if (reserve(m, &m->leaf, m->n_leaves, &m->leaves_room, 1, sizeof(*m->leaf)) < 0)
		return -E2BIG;
	struct range_leaf *l = &m->leaf[m->n_leaves];
	l->value[0] = p->before;
	for (uint32_t i = 0; i < RANGE_LEAF_BOUNDS; i++) {
		bool there = i < p->n;
		l->bound[i] = there ? p->bound[i].bound : ~(wide_addr)0;
		l->value[i + 1] = p->n ? p->bound[there ? i : p->n - 1].value : p->before;
	}
	*slot = RANGE_LEAF | m->n_leaves++;
	return 0;
}

static int make_node(struct range_map *m, const struct part *, uint32_t *slot);

// What stands in the slot of these bounds, which begins at start.
static int fill_slot(struct range_map *m, const struct part *p, wide_addr start, uint32_t *slot)
{
	*slot = p->n ? p->bound[0].value : p->before;
	if (p->n == 0 || (p->n == 1 && p->bound[0].bound == start))
		return 0;
	return p->n <= RANGE_LEAF_BOUNDS ? make_leaf(m, p, slot) : make_node(m, p, slot);
}

// Four times as many slots as bounds, over what lies between the first and the last of them: most
// slots have one host or none.
static struct range_node layout(const struct part *p, uint32_t first)
{
	struct range_node n = {.base = p->bound[0].bound, .first = first};
	wide_addr span = p->bound[p->n - 1].bound - n.base;
	unsigned bits = bits_of(span), wanted = bits_of(4 * (wide_addr)p->n);
	n.shift = bits > wanted ? bits - wanted : 0;
	n.last = (uint32_t)(span >> n.shift) + 1;
	return n;
}

// Each slot of the node gets its bounds. The array of slots may move meanwhile.
static int fill_node(struct range_map *m, const struct part *p, const struct range_node *n)
{
	struct part in = {.before = p->before};
	uint32_t at = 0;
	m->slot[n->first] = p->before;
	for (uint32_t i = 0; i < n->last; i++) {
		uint32_t slot;
		in.bound = p->bound + at;
		for (in.n = 0; at < p->n && (p->bound[at].bound - n->base) >> n->shift == i; at++)
			in.n++;
		int r = fill_slot(m, &in, n->base + ((wide_addr)i << n->shift), &slot);
		if (r < 0)
			return r;
		m->slot[n->first + 1 + i] = slot;
		if (in.n)
			in.before = in.bound[in.n - 1].value;
	}
	return 0;
}

// Ends: the bounds of a node with more than one do not all lie in one of its slots.
static int make_node(struct range_map *m, const struct part *p, uint32_t *slot)
{
	uint32_t id = m->n_nodes;
	struct range_node n = layout(p, m->n_slots);
	if (reserve(m, &m->node, m->n_nodes, &m->nodes_room, 1, sizeof(*m->node)) < 0 ||
		reserve(m, &m->slot, m->n_slots, &m->slots_room, n.last + 1, sizeof(*m->slot)) < 0)
		return -E2BIG;
	m->node[id] = n;
	m->n_nodes++;
	m->n_slots += n.last + 1;
	*slot = RANGE_NODE | id;
	return fill_node(m, p, &n);
}

int range_map_build(
	struct range_map *m, const struct range_bound *bounds, uint32_t n, size_t memory_max)
{
	static const struct range_bound none;
	const struct part all = {n ? bounds : &none, n ? n : 1, 0};
	uint32_t root;
	m->memory_max = memory_max;
	return make_node(m, &all, &root);
}

void range_map_fini(struct range_map *m)
{
	free(m->node);
	free(m->leaf);
	free(m->slot);
	*m = (struct range_map){0};
}
