// Where routes lead, and what that means for packets.
#include <linux/rtnetlink.h>
#include <stdlib.h>

#include "control/kernel/mirror_tables.h"

bool to_neighbour(const struct mirror *m, struct nexthop *nh, const struct neigh *n)
{
	const struct link *l = link_find(m, nh->ifindex);
	if (!l || !l->seen.has_mac)
		return false;
	if (nh->port == PORT_NONE) {
		vxlan_neighbour(m, nh, n);
		return true;
	}
	nh->type = NH_LINK;
	nh->gateway = n->addr;
	memcpy(nh->l2, n->mac, sizeof(n->mac));
	memcpy(nh->l2 + sizeof(n->mac), l->seen.mac, sizeof(l->seen.mac));
	return true;
}

static uint16_t hop_mtu(const struct mirror *m, const struct hop *h)
{
	const struct link *l = link_find(m, h->ifindex);
	uint32_t mtu = h->mtu ? h->mtu : l ? l->seen.mtu : 0;
	return (uint16_t)(mtu > UINT16_MAX ? UINT16_MAX : mtu);
}

static struct nexthop unicast(const struct mirror *m, const struct hop *h)
{
	struct nexthop nh = {.type = NH_KERNEL, .port = PORT_NONE, .ifindex = h->ifindex};
	nh.gateway = h->gateway; // so that hops that may differ one day do so now
	nh.mtu = hop_mtu(m, h);
	if (h->ifindex && h->ifindex == m->env.tunnel_ifindex) {
		nh.type = NH_TUNNEL;
		return nh;
	}
	uint16_t port = m->env.port_of(m->env.arg, h->ifindex);
	if (port == PORT_NONE && !vxlan_ends_here(m, h->ifindex))
		return nh;
	nh.type = NH_RESOLVE;
	nh.port = port;
	const struct neigh *n =
		h->gateway.family == IP_NONE ? NULL : neigh_find(m, h->ifindex, &h->gateway);
	if (n)
		to_neighbour(m, &nh, n);
	return nh;
}

static struct nexthop hop_nexthop(const struct mirror *m, const struct hop *h)
{
	struct nexthop nh = {.type = NH_DROP, .port = PORT_NONE};
	switch (h->type) {
	case RTN_UNICAST:
		return unicast(m, h);
	case RTN_LOCAL:
	case RTN_ANYCAST:
		nh.type = NH_LOCAL;
		nh.ifindex = h->ifindex;
		break;
	case RTN_UNREACHABLE:
	case RTN_PROHIBIT:
	case RTN_THROW:
		nh.type = NH_REJECT;
		break;
	default: // blackhole, broadcast, multicast
		break;
	}
	return nh;
}

static uint32_t *bucket_of(struct mirror *m, const struct hop *h)
{
	uint32_t hash = h->ifindex * 0x9e3779b1u ^ h->type ^ (uint32_t)h->mtu << 8;
	for (unsigned i = 0; i < sizeof(h->gateway.bytes); i += 4) {
		uint32_t gateway, source;
		memcpy(&gateway, h->gateway.bytes + i, 4);
		memcpy(&source, h->prefsrc.bytes + i, 4);
		hash = (hash ^ gateway) * 0x85ebca6bu ^ (source + (hash >> 13));
	}
	return &m->hop_bucket[(hash ^ hash >> 16) % HOP_BUCKETS];
}

bool hop_equal(const struct hop *a, const struct hop *b)
{
	return a->ifindex == b->ifindex && a->type == b->type && a->mtu == b->mtu &&
	       ip_addr_equal(&a->gateway, &b->gateway) && ip_addr_equal(&a->prefsrc, &b->prefsrc);
}

uint32_t pool_take(void **pool, size_t size, uint32_t *end, uint32_t *room, uint32_t free_head)
{
	if (free_head != NIL)
		return free_head;
	if (*end == *room || *room == 0) {
		uint32_t n = *room ? *room * 2 : POOL_MIN;
		void *bigger = realloc(*pool, n * size);
		if (!bigger)
			return NIL;
		*pool = bigger;
		*room = n;
		*end = *end ? *end : NIL + 1;
	}
	return (*end)++;
}

uint32_t hop_ref(struct mirror *m, const struct hop *want)
{
	uint32_t *bucket = bucket_of(m, want);
	uint32_t number = *bucket;
	while (number != NIL && !hop_equal(&m->hops[number], want))
		number = m->hops[number].link;
	if (number == NIL) {
		number = pool_take((void **)&m->hops, sizeof(*m->hops), &m->hops_end, &m->hops_room,
			m->hops_free);
		if (number == NIL)
			return NIL;
		if (number == m->hops_free)
			m->hops_free = m->hops[number].link;
		m->hops[number] = *want;
		m->hops[number].link = *bucket;
		m->hops[number].nexthop = hop_nexthop(m, want);
		*bucket = number;
	}
	m->hops[number].routes++;
	return number;
}

void hop_unref(struct mirror *m, uint32_t number)
{
	struct hop *h = &m->hops[number];
	if (--h->routes > 0)
		return;
	uint32_t *at = bucket_of(m, h);
	while (*at != number)
		at = &m->hops[*at].link;
	*at = h->link;
	h->link = m->hops_free;
	m->hops_free = number;
}

bool hops_in_use(const struct mirror *m, uint32_t ifindex, const struct ip_addr *prefsrc)
{
	for (uint32_t i = NIL + 1; i < m->hops_end; i++) {
		const struct hop *h = &m->hops[i];
		if (h->routes && ((ifindex && h->ifindex == ifindex) ||
					 (prefsrc && ip_addr_equal(&h->prefsrc, prefsrc))))
			return true;
	}
	return false;
}

static void refresh(struct mirror *m, struct hop *h)
{
	struct nexthop new = hop_nexthop(m, h);
	if (nexthop_equal(&new, &h->nexthop))
		return;
	// -ENOENT: a hop before this one was equal, or no prefix uses it as its best.
	if (fib_replace(m->fib, &h->nexthop, &new) == 0)
		m->changed = true;
	h->nexthop = new;
}

static bool is_live(const struct hop *h)
{
	return h->routes > 0 && h->type == RTN_UNICAST;
}

void hops_refresh(struct mirror *m, uint32_t ifindex, const struct ip_addr *gateway)
{
	for (uint32_t i = NIL + 1; i < m->hops_end; i++) {
		struct hop *h = &m->hops[i];
		if (is_live(h) && h->ifindex == ifindex &&
			(!gateway || ip_addr_equal(&h->gateway, gateway)))
			refresh(m, h);
	}
}

void hops_refresh_portless(struct mirror *m)
{
	for (uint32_t i = NIL + 1; i < m->hops_end; i++) {
		struct hop *h = &m->hops[i];
		if (is_live(h) && h->nexthop.port == PORT_NONE && h->nexthop.type != NH_TUNNEL)
			refresh(m, h);
	}
}

uint32_t hops_routes(const struct mirror *m, uint32_t ifindex)
{
	uint32_t n = 0;
	for (uint32_t i = NIL + 1; i < m->hops_end; i++) {
		if (is_live(&m->hops[i]) && m->hops[i].ifindex == ifindex)
			n += m->hops[i].routes;
	}
	return n;
}
