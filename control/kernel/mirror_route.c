#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>

#include "control/kernel/mirror_tables.h"
#include "dataplane/base/log.h"

static unsigned family_index(const struct ip_prefix *p)
{
	return p->addr.family == IP_V6;
}

static bool is_link_local6(const struct ip_addr *a)
{
	return a->family == IP_V6 && ip_addr_is_link_local(a);
}

static const struct hop *hop_of(const struct mirror *m, const struct ip_prefix *p, enum rank rank)
{
	for (uint32_t n = prefix_map_get(&m->prefixes, p); n != NIL; n = m->routes[n].next) {
		if (m->routes[n].rank == rank)
			return &m->hops[m->routes[n].hop];
	}
	return NULL;
}

// The best that does not lead into the tunnel: what is sent through it must not itself enter it.
static const struct hop *underlay_hop(
	const struct mirror *m, const struct ip_prefix *p, enum rank rank)
{
	for (uint32_t n = prefix_map_get(&m->prefixes, p); n != NIL; n = m->routes[n].next) {
		const struct hop *h = &m->hops[m->routes[n].hop];
		if (m->routes[n].rank == rank && h->nexthop.type != NH_TUNNEL)
			return h;
	}
	return NULL;
}

typedef const struct hop *hop_fn(const struct mirror *, const struct ip_prefix *, enum rank);

// Of the longest prefix of that table that holds all of this one; NULL: there is none.
static const struct hop *longest(
	const struct mirror *m, const struct ip_prefix *of, enum rank rank, hop_fn *best)
{
	const uint32_t *lengths = m->lengths[rank][family_index(of)];
	for (int len = of->len; len >= 0; len--) {
		if (!lengths[len])
			continue;
		struct ip_prefix p = prefix_shorten(of, (unsigned)len);
		const struct hop *h = best(m, &p, rank);
		if (h)
			return h;
	}
	return NULL;
}

// Where packets go to this prefix, as far as no longer one says more; NULL: nowhere.
static const struct hop *hop_to(const struct mirror *m, const struct ip_prefix *p)
{
	const struct hop *h = longest(m, p, RANK_LOCAL, hop_of);
	if (h)
		return h;
	h = longest(m, p, RANK_FIRST, hop_of);
	return h && h->type != RTN_THROW ? h : longest(m, p, RANK_MAIN, hop_of);
}

const struct hop *route_covering(const struct mirror *m, const struct ip_addr *a)
{
	struct ip_prefix host = {.addr = *a, .len = (uint8_t)ip_addr_bits(a)};
	return hop_to(m, &host);
}

const struct hop *route_underlay(const struct mirror *m, const struct ip_addr *a)
{
	struct ip_prefix host = {.addr = *a, .len = (uint8_t)ip_addr_bits(a)};
	const struct hop *h = longest(m, &host, RANK_LOCAL, hop_of);
	return h ? h : longest(m, &host, RANK_MAIN, underlay_hop);
}

// The neighbour at this very address, where the kernel would look for it.
static bool neighbour_nexthop(const struct mirror *m, const struct hop *covering,
	const struct ip_addr *a, struct nexthop *nh)
{
	if (!covering || covering->nexthop.type != NH_RESOLVE ||
		covering->nexthop.gateway.family != IP_NONE)
		return false;
	const struct neigh *n = neigh_find(m, covering->ifindex, a);
	*nh = covering->nexthop;
	return n && to_neighbour(m, nh, n);
}

// What the FIB is to say of this prefix; false: nothing.
static bool wanted(const struct mirror *m, const struct ip_prefix *p, struct nexthop *nh)
{
	const struct hop *h = hop_to(m, p);
	if (p->len == ip_addr_bits(&p->addr) && !is_link_local6(&p->addr) &&
		neighbour_nexthop(m, h, &p->addr, nh))
		return true;
	if (prefix_map_get(&m->prefixes, p) == NIL)
		return false;
	// Thrown out of the first table, and main has nothing.
	*nh = h ? h->nexthop : (struct nexthop){.type = NH_REJECT, .port = PORT_NONE};
	if (is_link_local6(&p->addr) && p->len >= 10 && nh->type != NH_LOCAL)
		*nh = (struct nexthop){.type = NH_DROP, .port = PORT_NONE};
	return true;
}

bool mirror_underlay(const struct mirror *m, const struct ip_addr *to, struct nexthop *nh)
{
	const struct hop *h = route_underlay(m, to);
	if (!h || h->type != RTN_UNICAST)
		return false;
	if (!neighbour_nexthop(m, h, to, nh))
		*nh = h->nexthop;
	return nh->port != PORT_NONE && (nh->type == NH_LINK || nh->type == NH_RESOLVE);
}

void prefix_sync(struct mirror *m, const struct ip_prefix *p)
{
	struct nexthop nh;
	const struct nexthop *have = fib_get(m->fib, p);
	int error = 0;
	if (!wanted(m, p, &nh)) {
		if (!have)
			return;
		error = fib_clear(m->fib, p);
	} else {
		if (have && nexthop_equal(have, &nh))
			return;
		error = fib_set(m->fib, p, &nh);
	}
	m->changed = true;
	if (error) {
		char text[PREFIX_TEXT_LEN];
		m->stats.fib_errors++;
		log_warn("kernel", "no room for the route to %s: %s", ip_prefix_format(p, text),
			strerror(-error));
	}
}

// -- routes ---------------------------------------------------------------------------------------

static void first_set(struct mirror *m, const struct ip_prefix *p, uint32_t first)
{
	if (first == NIL) {
		prefix_map_remove(&m->prefixes, p);
	} else if (prefix_map_set(&m->prefixes, p, first) < 0) {
		abort(); // replacing needs no memory
	}
}

// One route of that table more (1) or fewer (-1).
static void count(struct mirror *m, const struct ip_prefix *p, enum rank rank, int change)
{
	m->lengths[rank][family_index(p)][p->len] += (uint32_t)change;
	m->main_changed |= rank == RANK_MAIN;
	if (rank == RANK_MAIN || p->len == ip_addr_bits(&p->addr) || m->n_covering > COVERING_MAX)
		return;
	if (m->n_covering < COVERING_MAX)
		m->covering[m->n_covering] = *p;
	m->n_covering++;
}

static bool same_prefix(const struct ip_prefix *a, const struct ip_prefix *b)
{
	return a->len == b->len && ip_addr_equal(&a->addr, &b->addr);
}

static bool throw_add(struct mirror *m, const struct ip_prefix *p)
{
	if (m->n_throws == m->throws_room) {
		uint32_t room = m->throws_room ? m->throws_room * 2 : POOL_MIN;
		void *bigger = realloc(m->throws, room * sizeof(m->throws[0]));
		if (!bigger)
			return false;
		m->throws = bigger;
		m->throws_room = room;
	}
	m->throws[m->n_throws++] = *p;
	return true;
}

static void throw_remove(struct mirror *m, const struct ip_prefix *p)
{
	uint32_t i = 0;
	while (i < m->n_throws && !same_prefix(&m->throws[i], p))
		i++;
	if (i < m->n_throws)
		m->throws[i] = m->throws[--m->n_throws];
}

static bool is_throw(const struct mirror *m, const struct route *r)
{
	return r->rank == RANK_FIRST && m->hops[r->hop].type == RTN_THROW;
}

typedef bool match_fn(const struct mirror *, const struct route *, const void *arg);

static bool is_stale(const struct mirror *m, const struct route *r, const void *)
{
	return r->epoch != m->epoch;
}

struct place { // of a message's route
	uint8_t rank;
	uint8_t protocol;
	uint32_t metric;
	const struct hop *hop;
};

static bool is_at(const struct mirror *, const struct route *r, const void *arg)
{
	const struct place *at = arg;
	return r->rank == at->rank && r->metric == at->metric;
}

// MTU and source are no part of what a deletion names.
static bool is_hop_at(const struct mirror *m, const struct route *r, const void *arg)
{
	const struct place *at = arg;
	const struct hop *h = &m->hops[r->hop];
	return is_at(m, r, arg) && h->type == at->hop->type && h->ifindex == at->hop->ifindex &&
	       ip_addr_equal(&h->gateway, &at->hop->gateway);
}

static bool routes_remove(
	struct mirror *m, const struct ip_prefix *p, match_fn *match, const void *arg)
{
	uint32_t first = prefix_map_get(&m->prefixes, p), old_first = first;
	bool any = false;
	for (uint32_t *at = &first; *at != NIL;) {
		uint32_t number = *at;
		struct route *r = &m->routes[number];
		if (!match(m, r, arg)) {
			at = &r->next;
			continue;
		}
		*at = r->next;
		count(m, p, (enum rank)r->rank, -1);
		if (r->rank == RANK_MAIN)
			watch_route(m, p, r->protocol);
		if (is_throw(m, r))
			throw_remove(m, p);
		hop_unref(m, r->hop);
		r->next = m->routes_free;
		m->routes_free = number;
		m->n_routes--;
		any = true;
	}
	if (first != old_first)
		first_set(m, p, first);
	return any;
}

static bool goes_before(const struct route *a, const struct route *b)
{
	return a->rank != b->rank ? a->rank < b->rank : a->metric < b->metric;
}

static uint32_t find_route(const struct mirror *m, uint32_t first, const struct place *at)
{
	for (uint32_t i = first; i != NIL; i = m->routes[i].next) {
		if (is_at(m, &m->routes[i], at) && hop_equal(&m->hops[m->routes[i].hop], at->hop))
			return i;
	}
	return NIL;
}

// Into the prefix's list at its place.
static int insert(struct mirror *m, const struct ip_prefix *p, uint32_t number)
{
	uint32_t first = prefix_map_get(&m->prefixes, p);
	uint32_t *at = &first;
	while (*at != NIL && !goes_before(&m->routes[number], &m->routes[*at]))
		at = &m->routes[*at].next;
	m->routes[number].next = *at;
	*at = number;
	bool throws = is_throw(m, &m->routes[number]);
	if (throws && !throw_add(m, p))
		return -ENOMEM;
	int error = prefix_map_set(&m->prefixes, p, first);
	if (error && throws)
		throw_remove(m, p);
	if (error)
		return error;
	count(m, p, (enum rank)m->routes[number].rank, 1);
	if (m->routes[number].rank == RANK_MAIN)
		watch_route(m, p, m->routes[number].protocol);
	return 0;
}

// Another daemon made the same route.
static void protocol_set(
	struct mirror *m, const struct ip_prefix *p, struct route *r, uint8_t protocol)
{
	if (r->protocol == protocol)
		return;
	r->protocol = protocol;
	m->watch_generation += r->rank == RANK_MAIN;
}

// 1: added; 0: it was there; -ENOMEM.
static int route_add(struct mirror *m, const struct ip_prefix *p, const struct place *at)
{
	uint32_t number = find_route(m, prefix_map_get(&m->prefixes, p), at);
	if (number != NIL) {
		m->routes[number].epoch = m->epoch;
		protocol_set(m, p, &m->routes[number], at->protocol);
		return 0;
	}
	struct route new = {.metric = at->metric,
		.rank = at->rank,
		.epoch = m->epoch,
		.protocol = at->protocol};
	new.hop = hop_ref(m, at->hop);
	if (new.hop == NIL)
		return -ENOMEM;
	number = pool_take((void **)&m->routes, sizeof(*m->routes), &m->routes_end, &m->routes_room,
		m->routes_free);
	if (number == NIL)
		goto no_memory;
	bool reused = number == m->routes_free;
	uint32_t free_next = reused ? m->routes[number].next : NIL;
	m->routes[number] = new;
	if (insert(m, p, number) < 0) {
		// Only the first route of a prefix needs memory: nothing points here yet.
		m->routes[number].next = reused ? free_next : m->routes_free;
		m->routes_free = number;
		goto no_memory;
	}
	if (reused)
		m->routes_free = free_next;
	m->n_routes++;
	return 1;
no_memory:
	hop_unref(m, new.hop);
	return -ENOMEM;
}

// RANK_COUNT: of a table that nobody asks.
static enum rank rank_of(const struct mirror *m, uint32_t table)
{
	if (table == RT_TABLE_LOCAL)
		return RANK_LOCAL;
	if (table == RT_TABLE_MAIN)
		return RANK_MAIN;
	return table && table == m->env.first_table ? RANK_FIRST : RANK_COUNT;
}

static bool route_change(struct mirror *m, const struct rt_route *r, enum rank rank,
	const struct rt_hop *hop, bool gone)
{
	struct hop h = {.ifindex = hop->ifindex, .type = r->type};
	struct place at = {
		.rank = (uint8_t)rank, .protocol = r->protocol, .metric = r->metric, .hop = &h};
	if (r->type == RTN_UNICAST) {
		h.gateway = hop->gateway;
		h.mtu = r->mtu;
		h.prefsrc = r->prefsrc;
	}
	if (gone || hop->dead)
		return routes_remove(m, &r->dst, is_hop_at, &at);
	int added = route_add(m, &r->dst, &at);
	m->stats.fib_errors += added < 0;
	return added > 0;
}

void route_apply(struct mirror *m, const struct rt_message *msg)
{
	const struct rt_route *r = &msg->route;
	bool changed = false;
	enum rank rank = rank_of(m, r->table);
	if (rank == RANK_COUNT)
		return;
	if (msg->replace && !msg->gone) {
		struct place at = {.rank = (uint8_t)rank, .metric = r->metric};
		changed = routes_remove(m, &r->dst, is_at, &at);
	}
	for (unsigned i = 0; i < r->n_hops; i++)
		changed |= route_change(m, r, rank, &r->hop[i], msg->gone);
	if (!changed)
		return;
	prefix_sync(m, &r->dst);
	m->neighs_stale = true;
}

static bool is_covered(const struct mirror *m, const struct ip_prefix *p)
{
	for (unsigned i = 0; i < m->n_covering && i < COVERING_MAX; i++) {
		if (m->covering[i].len <= p->len && ip_prefix_contains(&m->covering[i], &p->addr))
			return true;
	}
	return m->n_covering > COVERING_MAX;
}

void covered_sync(struct mirror *m)
{
	for (uint32_t i = 0; m->n_covering && m->prefixes.slots && i <= m->prefixes.mask; i++) {
		const struct ip_prefix p = m->prefixes.slots[i].prefix;
		if (m->prefixes.slots[i].value != NIL && is_covered(m, &p))
			prefix_sync(m, &p);
	}
	for (uint32_t i = 0; i < m->n_throws && m->main_changed; i++)
		prefix_sync(m, &m->throws[i]);
	m->main_changed = false;
	m->n_covering = 0;
}

// Prefixes that have a route which the dump did not name; n of them, to be freed.
static struct ip_prefix *stale_prefixes(const struct mirror *m, uint32_t *n)
{
	struct ip_prefix *list = NULL;
	uint32_t room = 0;
	*n = 0;
	for (uint32_t i = 0; m->prefixes.slots && i <= m->prefixes.mask; i++) {
		uint32_t r = m->prefixes.slots[i].value;
		while (r != NIL && !is_stale(m, &m->routes[r], NULL))
			r = m->routes[r].next;
		if (r == NIL)
			continue;
		if (*n == room) {
			room = room ? room * 2 : POOL_MIN;
			struct ip_prefix *bigger = realloc(list, room * sizeof(*list));
			if (!bigger)
				break; // the next dump finds the rest
			list = bigger;
		}
		list[(*n)++] = m->prefixes.slots[i].prefix;
	}
	return list;
}

void routes_sweep(struct mirror *m)
{
	uint32_t n;
	struct ip_prefix *list = stale_prefixes(m, &n);
	for (uint32_t i = 0; i < n; i++) {
		routes_remove(m, &list[i], is_stale, NULL);
		prefix_sync(m, &list[i]);
	}
	m->neighs_stale |= n > 0;
	free(list);
}

void routes_fini(struct mirror *m)
{
	prefix_map_fini(&m->prefixes);
	free(m->throws);
	free(m->routes);
	free(m->hops);
}
