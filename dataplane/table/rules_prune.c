// Rules that let in nothing that another one does not let in as well: with ranges that overlap all
// over, most of them. Left out, what remains is so much less that sets of lines stay small. Only
// the widest rules are compared with, so that it takes time in proportion to the rules; what is not
// found costs memory and nothing else.
#include <rte_common.h>
#include <stdlib.h>

#include "dataplane/table/rules_parts.h"

enum {
	PAIRS_MAX = 4,	  // of a source and a target, of a rule that is looked at
	WIDEST_MAX = 512, // pairs that others are compared with
};

struct box { // a source and a target
	wide_addr src_first, src_last, dst_first, dst_last;
	const uint64_t *protocols;
	uint16_t port_first, port_last;
	uint8_t family;
};

struct candidate {
	uint32_t rule, width; // width: of its widest pair, in bits of all three dimensions
};

static bool make_box(struct box *b, const struct rule_spec *r, const struct ip_range *s,
	const struct rule_target *t)
{
	uint8_t family = s->first.family;
	if (!ip_range_is_sound(s) || !ip_range_is_sound(&t->range) ||
		family != t->range.first.family || t->port_first > t->port_last)
		return false;
	*b = (struct box){
		.src_first = wide_of(family, s->first.bytes),
		.src_last = wide_of(family, s->last.bytes),
		.dst_first = wide_of(family, t->range.first.bytes),
		.dst_last = wide_of(family, t->range.last.bytes),
		.protocols = r->protocols,
		.port_first = t->port_first,
		.port_last = t->port_last,
		.family = family,
	};
	return true;
}

static unsigned boxes_of(const struct rule_spec *r, struct box out[static PAIRS_MAX])
{
	unsigned n = 0;
	if ((uint64_t)r->n_sources * r->n_targets > PAIRS_MAX)
		return 0;
	for (uint32_t i = 0; i < r->n_sources; i++) {
		for (uint32_t j = 0; j < r->n_targets; j++)
			n += make_box(&out[n], r, &r->sources[i], &r->targets[j]);
	}
	return n;
}

static bool holds(const struct box *b, const struct box *other)
{
	if (b->src_first > other->src_first || b->src_last < other->src_last ||
		b->dst_first > other->dst_first || b->dst_last < other->dst_last ||
		b->port_first > other->port_first || b->port_last < other->port_last ||
		b->family != other->family)
		return false;
	for (unsigned i = 0; i < 4; i++) {
		if (other->protocols[i] & ~b->protocols[i])
			return false;
	}
	return true;
}

static unsigned bits_of(wide_addr width)
{
	uint64_t high = (uint64_t)(width >> 64), low = (uint64_t)width;
	return high  ? 128 - (unsigned)__builtin_clzll(high)
	       : low ? 64 - (unsigned)__builtin_clzll(low)
		     : 0;
}

static uint32_t width_of(const struct box *b, unsigned n)
{
	uint32_t widest = 0;
	for (unsigned i = 0; i < n; i++) {
		uint32_t width = bits_of(b[i].src_last - b[i].src_first) +
				 bits_of(b[i].dst_last - b[i].dst_first) +
				 bits_of((wide_addr)(b[i].port_last - b[i].port_first));
		widest = RTE_MAX(widest, width);
	}
	return widest;
}

static int compare_candidates(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;
	if (x->width != y->width)
		return x->width > y->width ? -1 : 1;
	return x->rule < y->rule ? -1 : 1;
}

static bool is_held(const struct box *b, const struct box *widest, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		if (holds(&widest[i], b))
			return true;
	}
	return false;
}

bool *rules_covered(const struct rules_spec *spec)
{
	struct box *widest = mem_alloc(WIDEST_MAX * sizeof(*widest)), b[PAIRS_MAX];
	struct candidate *c = mem_alloc((spec->n_rules + (size_t)1) * sizeof(*c));
	bool *covered = mem_alloc((spec->n_rules + (size_t)1) * sizeof(*covered));
	uint32_t n = 0, n_widest = 0;
	for (uint32_t i = 0; i < spec->n_rules; i++) {
		unsigned n_boxes = boxes_of(&spec->rules[i], b);
		if (n_boxes)
			c[n++] = (struct candidate){i, width_of(b, n_boxes)};
	}
	qsort(c, n, sizeof(*c), compare_candidates);
	for (uint32_t i = 0; i < n; i++) {
		unsigned n_boxes = boxes_of(&spec->rules[c[i].rule], b), held = 0;
		while (held < n_boxes && is_held(&b[held], widest, n_widest))
			held++;
		covered[c[i].rule] = held == n_boxes;
		bool counts = !spec->rules[c[i].rule].ports_only; // or it lets in less
		for (unsigned k = held; counts && k < n_boxes && n_widest < WIDEST_MAX; k++)
			widest[n_widest++] = b[k];
	}
	free(widest);
	free(c);
	return covered;
}
