#include <stdlib.h>
#include <time.h>

#include "control/kernel/mirror_tables.h"

#define ASK_INTERVAL_NS UINT64_C(1000000000)

static uint32_t hash_of(uint32_t ifindex, const struct ip_addr *a)
{
	uint32_t hash = ifindex * 0x9e3779b1u;
	for (unsigned i = 0; i < sizeof(a->bytes); i += 4) {
		uint32_t word;
		memcpy(&word, a->bytes + i, 4);
		hash = (hash ^ word) * 0x85ebca6bu;
		hash ^= hash >> 15;
	}
	return hash;
}

static bool is_neigh(const struct neigh *n, uint32_t ifindex, const struct ip_addr *a)
{
	return n->ifindex == ifindex && ip_addr_equal(&n->addr, a);
}

const struct neigh *neigh_find(const struct mirror *m, uint32_t ifindex, const struct ip_addr *a)
{
	const struct neigh *n = m->neigh_bucket[hash_of(ifindex, a) % NEIGH_BUCKETS];
	while (n && !is_neigh(n, ifindex, a))
		n = n->next;
	return n;
}

static void host_sync(struct mirror *m, const struct ip_addr *a)
{
	struct ip_prefix host = {.addr = *a, .len = (uint8_t)ip_addr_bits(a)};
	prefix_sync(m, &host);
}

static void neigh_changed(struct mirror *m, uint32_t ifindex, const struct ip_addr *a)
{
	hops_refresh(m, ifindex, a);
	host_sync(m, a);
	m->vteps_changed = true;
	if (m->env.on_neigh)
		m->env.on_neigh(m->env.arg, a, ifindex);
}

static void neigh_remove(struct mirror *m, struct neigh **at)
{
	struct neigh *n = *at;
	*at = n->next;
	m->n_neighs--;
	neigh_changed(m, n->ifindex, &n->addr);
	free(n);
}

void neigh_apply(struct mirror *m, const struct rt_message *msg)
{
	const struct rt_neigh *r = &msg->neigh;
	struct neigh **at = &m->neigh_bucket[hash_of(r->ifindex, &r->addr) % NEIGH_BUCKETS];
	while (*at && !is_neigh(*at, r->ifindex, &r->addr))
		at = &(*at)->next;
	if (msg->gone || !r->valid) {
		if (*at)
			neigh_remove(m, at);
		return;
	}
	bool known = *at;
	if (!known) {
		*at = mem_alloc(sizeof(**at));
		**at = (struct neigh){.addr = r->addr, .ifindex = r->ifindex};
		m->n_neighs++;
	}
	struct neigh *n = *at;
	n->epoch = m->epoch;
	if (known && memcmp(n->mac, r->mac, sizeof(n->mac)) == 0)
		return;
	memcpy(n->mac, r->mac, sizeof(n->mac));
	neigh_changed(m, n->ifindex, &n->addr);
}

void neighs_sweep(struct mirror *m)
{
	for (unsigned i = 0; i < NEIGH_BUCKETS; i++) {
		for (struct neigh **at = &m->neigh_bucket[i]; *at;) {
			if ((*at)->epoch != m->epoch)
				neigh_remove(m, at);
			else
				at = &(*at)->next;
		}
	}
}

void neighs_sync(struct mirror *m)
{
	for (unsigned i = 0; i < NEIGH_BUCKETS; i++) {
		for (struct neigh *n = m->neigh_bucket[i]; n; n = n->next)
			host_sync(m, &n->addr);
	}
}

void neighs_fini(struct mirror *m)
{
	for (unsigned i = 0; i < NEIGH_BUCKETS; i++) {
		while (m->neigh_bucket[i]) {
			struct neigh *n = m->neigh_bucket[i];
			m->neigh_bucket[i] = n->next;
			free(n);
		}
	}
}

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

bool mirror_resolve(struct mirror *m, uint32_t ifindex, const struct ip_addr *a)
{
	// One slot per hash: a scan of a network can only push others out, not grow anything.
	struct asked *s = &m->asked[hash_of(ifindex, a) % ASKED_SLOTS];
	uint64_t now = now_ns();
	if (s->ifindex == ifindex && ip_addr_equal(&s->addr, a) && now - s->at_ns < ASK_INTERVAL_NS)
		return false;
	*s = (struct asked){.addr = *a, .ifindex = ifindex, .at_ns = now};
	return m->requests && netlink_neigh_use(m->requests, a, ifindex) == 0;
}
