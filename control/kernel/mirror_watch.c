// Routes of main that somebody wants to know of, such as those that a routing daemon has learned.
#include <linux/rtnetlink.h>

#include "control/kernel/mirror_tables.h"

void mirror_watch(struct mirror *m, mirror_watch_fn *fn, void *arg)
{
	m->watch = fn;
	m->watch_arg = arg;
	m->watch_generation++;
}

uint32_t mirror_watch_generation(const struct mirror *m)
{
	return m->watch_generation;
}

void watch_route(struct mirror *m, const struct ip_prefix *p, uint8_t protocol)
{
	m->watch_generation += m->watch && m->watch(m->watch_arg, p, protocol);
}

static bool is_wanted(const struct mirror *m, const struct ip_prefix *p, const struct route *r)
{
	const struct hop *h = &m->hops[r->hop];
	return r->rank == RANK_MAIN && h->type == RTN_UNICAST && h->nexthop.type != NH_TUNNEL &&
	       m->watch(m->watch_arg, p, r->protocol);
}

static bool any_wanted(const struct mirror *m, const struct ip_prefix *p, uint32_t first)
{
	for (uint32_t n = first; n != NIL; n = m->routes[n].next) {
		if (is_wanted(m, p, &m->routes[n]))
			return true;
	}
	return false;
}

bool mirror_is_watched(const struct mirror *m, const struct ip_prefix *p)
{
	return m->watch && any_wanted(m, p, prefix_map_get(&m->prefixes, p));
}

uint32_t mirror_watched(const struct mirror *m, struct ip_prefix *out, uint32_t max)
{
	uint32_t n = 0;
	for (uint32_t i = 0; m->watch && m->prefixes.slots && i <= m->prefixes.mask; i++) {
		const struct prefix_slot *s = &m->prefixes.slots[i];
		if (s->value == NIL || !any_wanted(m, &s->prefix, s->value))
			continue;
		if (n < max)
			out[n] = s->prefix;
		n++;
	}
	return n;
}
