#include "dataplane/table/rules.h"

#include <stdlib.h>

#include "dataplane/table/rules_parts.h"

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

struct rules *rules_create(const struct rules_spec *spec)
{
	const char *why;
	struct rules *r = rules_try_create(spec, &why);
	if (!r)
		abort(); // the caller's mistake: his rules have a bound of their own
	return r;
}

static void side_fini(struct rules_side *s)
{
	range_map_fini(&s->source);
	range_map_fini(&s->target);
	range_map_fini(&s->local);
}

void rules_destroy(void *arg)
{
	struct rules *r = arg;
	if (!r)
		return;
	side_fini(&r->v4);
	side_fini(&r->v6);
	number_sets_fini(&r->sets);
	free(r->port);
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

size_t rules_memory(const struct rules *r)
{
	return r->memory;
}

bool rules_is_local(const struct rules *r, uint8_t family, const uint8_t *dst)
{
	const struct range_map *local = &rules_side_of(r, family)->local;
	return range_map_find(local, wide_of(family, dst)) != NUMBER_SETS_EMPTY;
}

bool rules_allow(const struct rules *r, const struct rule_query *q, enum rule_ports ports)
{
	const struct rules_side *side = rules_side_of(r, q->family);
	const uint32_t sets[] = {
		range_map_find(&side->source, wide_of(q->family, q->src)),
		range_map_find(&side->target, wide_of(q->family, q->dst)),
		ports == RULE_ANY_PORT ? r->every : r->proto[q->proto],
		ports == RULE_PORT	 ? r->port[q->port]
		: ports == RULE_ANY_PORT ? r->every
					 : r->all_ports,
	};
	return number_sets_meet(&r->sets, sets);
}
