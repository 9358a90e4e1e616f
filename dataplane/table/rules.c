#include "dataplane/table/rules.h"

#include <rte_byteorder.h>
#include <stdlib.h>

// An address as a number; of IPv4 the low 32 bits.
struct wide {
	uint64_t high, low;
};

struct span {
	struct wide first, last;
};

struct target {
	struct span span;
	uint16_t port_first, port_last;
};

// Indices into the family's spans and targets.
struct rule {
	uint64_t protocols[4];
	uint32_t source, n_sources; // sorted, apart from each other
	uint32_t target, n_targets;
};

struct family {
	struct rule *rule;
	struct span *span;
	struct target *target;
	uint32_t n_rules, n_spans, n_targets;
	uint32_t local, n_local; // spans, sorted, apart from each other
};

struct rules { // fixed once published
	struct family v4, v6;
	uint32_t generation; // 0 until published
	bool shields_up;
};

static struct wide wide_of(uint8_t family, const uint8_t *bytes)
{
	struct wide w = {0};
	if (family == IP_V4) {
		uint32_t v;
		memcpy(&v, bytes, sizeof(v));
		w.low = rte_be_to_cpu_32(v);
		return w;
	}
	memcpy(&w, bytes, sizeof(w));
	return (struct wide){rte_be_to_cpu_64(w.high), rte_be_to_cpu_64(w.low)};
}

static bool is_below(struct wide a, struct wide b)
{
	return a.high != b.high ? a.high < b.high : a.low < b.low;
}

static bool is_within(const struct span *s, struct wide a)
{
	return !is_below(a, s->first) && !is_below(s->last, a);
}

struct ip_range ip_range_any(enum ip_family family)
{
	struct ip_range r = {.first.family = (uint8_t)family, .last.family = (uint8_t)family};
	memset(r.last.bytes, 0xff, family == IP_V4 ? 4 : 16);
	return r;
}

struct ip_range ip_range_of(const struct ip_prefix *p)
{
	struct ip_range r = {p->addr, p->addr};
	for (unsigned bit = p->len; bit < ip_addr_bits(&p->addr); bit++)
		r.last.bytes[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
	return r;
}

int ip_addr_compare(const struct ip_addr *a, const struct ip_addr *b)
{
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

static bool is_range_of(const struct ip_range *r, uint8_t family)
{
	return r->first.family == family && r->last.family == family &&
	       ip_addr_compare(&r->first, &r->last) <= 0;
}

static struct span span_of(const struct ip_range *r)
{
	return (struct span){
		wide_of(r->first.family, r->first.bytes), wide_of(r->first.family, r->last.bytes)};
}

static int compare_spans(const void *a, const void *b)
{
	const struct span *x = a, *y = b;
	return is_below(x->first, y->first) ? -1 : is_below(y->first, x->first);
}

static bool follows(struct wide a, struct wide b)
{
	return b.low == a.low + 1 && b.high == a.high + (b.low == 0);
}

// Sort, and make one of those that overlap or touch. Returns how many remain.
static uint32_t merge(struct span *s, uint32_t n)
{
	uint32_t kept = 0;
	qsort(s, n, sizeof(*s), compare_spans);
	for (uint32_t i = 1; i < n; i++) {
		if (is_below(s[kept].last, s[i].first) && !follows(s[kept].last, s[i].first))
			s[++kept] = s[i];
		else if (is_below(s[kept].last, s[i].last))
			s[kept].last = s[i].last;
	}
	return n ? kept + 1 : 0;
}

static uint32_t add_spans(
	struct family *f, uint8_t family, const struct ip_range *ranges, uint32_t n)
{
	uint32_t at = f->n_spans, added = 0;
	for (uint32_t i = 0; i < n; i++) {
		if (is_range_of(&ranges[i], family))
			f->span[at + added++] = span_of(&ranges[i]);
	}
	added = merge(f->span + at, added);
	f->n_spans += added;
	return added;
}

static uint32_t add_targets(struct family *f, uint8_t family, const struct rule_spec *r)
{
	uint32_t added = 0;
	for (uint32_t i = 0; i < r->n_targets; i++) {
		const struct rule_target *t = &r->targets[i];
		if (!is_range_of(&t->range, family) || t->port_first > t->port_last)
			continue;
		f->target[f->n_targets + added++] =
			(struct target){span_of(&t->range), t->port_first, t->port_last};
	}
	f->n_targets += added;
	return added;
}

// A rule that nothing of this family can match is left out.
static void add_rule(struct family *f, uint8_t family, const struct rule_spec *r)
{
	struct rule rule = {.source = f->n_spans, .target = f->n_targets};
	memcpy(rule.protocols, r->protocols, sizeof(rule.protocols));
	rule.n_sources = add_spans(f, family, r->sources, r->n_sources);
	rule.n_targets = rule.n_sources ? add_targets(f, family, r) : 0;
	if (rule.n_targets)
		f->rule[f->n_rules++] = rule;
	else
		f->n_spans = rule.source;
}

static void *fit(void *p, size_t n, size_t size)
{
	void *fitted = realloc(p, n ? n * size : size);
	return fitted ? fitted : p;
}

static void compile(struct family *f, uint8_t family, const struct rules_spec *spec)
{
	size_t spans = spec->n_local, targets = 0;
	for (uint32_t i = 0; i < spec->n_rules; i++) {
		spans += spec->rules[i].n_sources;
		targets += spec->rules[i].n_targets;
	}
	f->span = mem_alloc((spans + 1) * sizeof(*f->span));
	f->target = mem_alloc((targets + 1) * sizeof(*f->target));
	f->rule = mem_alloc((spec->n_rules + 1) * sizeof(*f->rule));
	for (uint32_t i = 0; i < spec->n_rules && !spec->shields_up; i++)
		add_rule(f, family, &spec->rules[i]);
	f->local = f->n_spans;
	f->n_local = add_spans(f, family, spec->local, spec->n_local);
	f->span = fit(f->span, f->n_spans, sizeof(*f->span));
	f->target = fit(f->target, f->n_targets, sizeof(*f->target));
	f->rule = fit(f->rule, f->n_rules, sizeof(*f->rule));
}

struct rules *rules_create(const struct rules_spec *spec)
{
	struct rules *r = mem_alloc(sizeof(*r));
	r->shields_up = spec->shields_up;
	compile(&r->v4, IP_V4, spec);
	compile(&r->v6, IP_V6, spec);
	return r;
}

static void family_free(struct family *f)
{
	free(f->rule);
	free(f->span);
	free(f->target);
}

void rules_destroy(void *arg)
{
	struct rules *r = arg;
	if (!r)
		return;
	family_free(&r->v4);
	family_free(&r->v6);
	free(r);
}

void rules_publish(struct rules *_Atomic *at, struct rcu *rcu, struct rules *rules)
{
	static uint32_t
		last; // of all sets of the process: none comes twice while flows remember it
	if (rules)
		rules->generation = ++last ? last : ++last;
	struct rules *old = atomic_exchange_explicit(at, rules, memory_order_acq_rel);
	if (old)
		rcu_defer(rcu, rules_destroy, old);
}

uint32_t rules_generation(const struct rules *r)
{
	return r ? r->generation : 0;
}

bool rules_shields_up(const struct rules *r)
{
	return r->shields_up;
}

// Whether one of n spans holds the address.
static bool holds(const struct span *s, uint32_t n, struct wide a)
{
	while (n > 0) {
		uint32_t half = n / 2;
		if (is_within(&s[half], a))
			return true;
		if (is_below(a, s[half].first)) {
			n = half;
		} else {
			s += half + 1;
			n -= half + 1;
		}
	}
	return false;
}

static const struct family *family_of(const struct rules *r, uint8_t family)
{
	return family == IP_V4 ? &r->v4 : &r->v6;
}

bool rules_is_local(const struct rules *r, uint8_t family, const uint8_t *dst)
{
	const struct family *f = family_of(r, family);
	return holds(f->span + f->local, f->n_local, wide_of(family, dst));
}

static bool port_fits(const struct target *t, uint16_t port, enum rule_ports ports)
{
	switch (ports) {
	case RULE_PORT:
		return port >= t->port_first && port <= t->port_last;
	case RULE_ANY_PORT:
		return true;
	default:
		return t->port_first == 0 && t->port_last == UINT16_MAX;
	}
}

bool rules_allow(const struct rules *r, const struct rule_query *q, enum rule_ports ports)
{
	const struct family *f = family_of(r, q->family);
	struct wide src = wide_of(q->family, q->src), dst = wide_of(q->family, q->dst);
	for (uint32_t i = 0; i < f->n_rules; i++) {
		const struct rule *rule = &f->rule[i];
		if (ports != RULE_ANY_PORT &&
			!(rule->protocols[q->proto / 64] >> q->proto % 64 & 1))
			continue;
		if (!holds(f->span + rule->source, rule->n_sources, src))
			continue;
		for (uint32_t j = 0; j < rule->n_targets; j++) {
			const struct target *t = &f->target[rule->target + j];
			if (is_within(&t->span, dst) && port_fits(t, q->port, ports))
				return true;
		}
	}
	return false;
}
