#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>

#include "control/kernel/mirror_tables.h"

static struct link **link_at(struct mirror *m, uint32_t ifindex)
{
	struct link **at = &m->link_bucket[ifindex % LINK_BUCKETS];
	while (*at && (*at)->seen.ifindex != ifindex)
		at = &(*at)->next;
	return at;
}

const struct link *link_find(const struct mirror *m, uint32_t ifindex)
{
	const struct link *l = m->link_bucket[ifindex % LINK_BUCKETS];
	while (l && l->seen.ifindex != ifindex)
		l = l->next;
	return l;
}

const struct mirror_link *mirror_link(const struct mirror *m, uint32_t ifindex)
{
	const struct link *l = link_find(m, ifindex);
	return l ? &l->seen : NULL;
}

static void link_free(struct link *l)
{
	free(l->addrs);
	free(l);
}

static void link_remove(struct mirror *m, struct link **at)
{
	struct link *l = *at;
	*at = l->next;
	fdb_forget(m, l->seen.ifindex);
	hops_refresh(m, l->seen.ifindex, NULL);
	if (hops_in_use(m, l->seen.ifindex, NULL))
		mirror_want_resync(m);
	link_free(l);
	m->changed = true;
}

// Addresses that come before their link make one without a name.
static struct link *link_get(struct mirror *m, uint32_t ifindex)
{
	struct link **at = link_at(m, ifindex);
	if (!*at) {
		*at = mem_alloc(sizeof(**at));
		(*at)->seen.ifindex = ifindex;
		(*at)->epoch = m->epoch;
	}
	return *at;
}

void link_apply(struct mirror *m, const struct rt_message *msg)
{
	const struct rt_link *r = &msg->link;
	if (msg->gone) {
		struct link **at = link_at(m, r->ifindex);
		if (*at)
			link_remove(m, at);
		return;
	}
	struct link *l = link_get(m, r->ifindex);
	struct mirror_link old = l->seen;
	l->epoch = m->epoch;
	l->seen.up = r->up;
	l->seen.has_mac = r->has_mac;
	l->seen.mtu = r->mtu ? r->mtu : old.mtu;
	memcpy(l->seen.name, r->name, sizeof(r->name));
	memcpy(l->seen.mac, r->mac, sizeof(r->mac));
	l->seen.master = r->master;
	l->seen.is_bridge = r->is_bridge;
	l->seen.vlan_aware = r->vlan_aware;
	l->seen.stp = r->stp;
	l->seen.is_vxlan = r->is_vxlan;
	memcpy(&l->seen.vxlan, &r->vxlan, sizeof(r->vxlan)); // padding too: it is compared
	if (memcmp(&old, &l->seen, sizeof(old)) == 0)
		return;
	m->changed = true;
	m->neighs_stale = true;
	m->fdb_changed = true; // an underlay's, or the device itself
	hops_refresh(m, r->ifindex, NULL);
	// The kernel drops the IPv4 routes of an interface that goes down, and takes hops of
	// multipath routes out and in, without saying so.
	if (old.up != r->up && m->ready)
		mirror_want_resync(m);
}

void bridge_vlan_apply(struct mirror *m, const struct rt_message *msg)
{
	struct link *l = *link_at(m, msg->vlan.ifindex);
	uint16_t now = msg->gone ? 0 : msg->vlan.untagged;
	if (!l || l->seen.vlan == now)
		return;
	l->seen.vlan = now;
	m->changed = true;
	m->fdb_changed = true;
}

void links_sweep(struct mirror *m)
{
	for (unsigned i = 0; i < LINK_BUCKETS; i++) {
		for (struct link **at = &m->link_bucket[i]; *at;) {
			if ((*at)->epoch != m->epoch)
				link_remove(m, at);
			else
				at = &(*at)->next;
		}
	}
	bridges_look(m); // whose forwarding databases follow
}

// -- addresses ------------------------------------------------------------------------------------

static bool same_addr(const struct rt_addr *a, const struct rt_addr *b)
{
	return a->local.len == b->local.len && ip_addr_equal(&a->local.addr, &b->local.addr);
}

static void addr_remove(struct mirror *m, struct link *l, uint32_t i)
{
	l->n_addrs--;
	memmove(&l->addrs[i], &l->addrs[i + 1], (l->n_addrs - i) * sizeof(l->addrs[0]));
	m->changed = true;
}

void addr_apply(struct mirror *m, const struct rt_message *msg)
{
	const struct rt_addr *r = &msg->addr;
	struct link *l = link_get(m, r->ifindex);
	uint32_t i = 0;
	while (i < l->n_addrs && !same_addr(&l->addrs[i].addr, r))
		i++;
	if (msg->gone) {
		if (i < l->n_addrs)
			addr_remove(m, l, i);
		if (hops_in_use(m, 0, &r->local.addr)) // went without a word
			mirror_want_resync(m);
		return;
	}
	bool known = i < l->n_addrs;
	if (!known) {
		void *bigger = realloc(l->addrs, (l->n_addrs + 1) * sizeof(l->addrs[0]));
		if (!bigger)
			return;
		l->addrs = bigger;
		l->n_addrs++;
	}
	m->changed |= !known || l->addrs[i].addr.unready != r->unready ||
		      l->addrs[i].addr.secondary != r->secondary;
	l->addrs[i].addr = *r;
	l->addrs[i].epoch = m->epoch;
}

void addrs_sweep(struct mirror *m)
{
	for (unsigned i = 0; i < LINK_BUCKETS; i++) {
		for (struct link *l = m->link_bucket[i]; l; l = l->next) {
			for (uint32_t a = l->n_addrs; a-- > 0;) {
				if (l->addrs[a].epoch != m->epoch)
					addr_remove(m, l, a);
			}
		}
	}
}

void links_fini(struct mirror *m)
{
	for (unsigned i = 0; i < LINK_BUCKETS; i++) {
		while (m->link_bucket[i]) {
			struct link *l = m->link_bucket[i];
			m->link_bucket[i] = l->next;
			link_free(l);
		}
	}
}

// -- which address to send from -------------------------------------------------------------------

static int common_bits(const struct ip_addr *a, const struct ip_addr *b)
{
	int bits = 0;
	for (unsigned i = 0; i < sizeof(a->bytes); i++, bits += 8) {
		unsigned differ = a->bytes[i] ^ b->bytes[i];
		if (differ)
			return bits + __builtin_clz(differ) - 24;
	}
	return bits;
}

// How well an address suits to talk to near (NULL: to anyone); below 0: not at all. After
// inet_select_addr() for IPv4 and, of RFC 6724, rules 2, 3 and 8 for IPv6.
static int fitness(const struct rt_addr *a, enum ip_family family, const struct ip_addr *near)
{
	if (a->local.addr.family != family || a->unready || a->scope == RT_SCOPE_HOST)
		return -1;
	if (family == IP_V4) {
		unsigned len = a->local.len;
		bool inside = near && near->family == IP_V4 &&
			      common_bits(&a->local.addr, near) >= (int)len;
		return inside * 2 + !a->secondary;
	}
	bool near_link = near && near->bytes[0] == 0xfe && (near->bytes[1] & 0xc0) == 0x80;
	bool scoped = (a->scope == RT_SCOPE_LINK) == near_link;
	return scoped * 256 +
	       (near && near->family == IP_V6 ? common_bits(&a->local.addr, near) : 0);
}

// The fittest, the first of equals.
static bool link_source(const struct link *l, enum ip_family family, const struct ip_addr *near,
	struct ip_addr *out)
{
	int best = -1;
	for (uint32_t i = 0; l && i < l->n_addrs; i++) {
		int fit = fitness(&l->addrs[i].addr, family, near);
		if (fit <= best)
			continue;
		best = fit;
		*out = l->addrs[i].addr.local.addr;
	}
	return best >= 0;
}

bool mirror_port_addr(
	const struct mirror *m, uint32_t ifindex, enum ip_family family, struct ip_addr *out)
{
	return link_source(link_find(m, ifindex), family, NULL, out);
}

bool mirror_is_local(const struct mirror *m, const struct ip_addr *a)
{
	const struct hop *h = route_covering(m, a);
	return h && (h->type == RTN_LOCAL || h->type == RTN_ANYCAST);
}

// An interface without address borrows one, as the kernel does; not the tunnel's.
static bool borrowed_source(const struct mirror *m, const struct ip_addr *to, struct ip_addr *out)
{
	uint32_t lender = UINT32_MAX;
	for (unsigned i = 0; i < LINK_BUCKETS; i++) {
		for (const struct link *l = m->link_bucket[i]; l; l = l->next) {
			struct ip_addr a;
			if (l->seen.up && l->seen.ifindex < lender &&
				l->seen.ifindex != m->env.tunnel_ifindex &&
				link_source(l, to->family, to, &a)) {
				lender = l->seen.ifindex;
				*out = a;
			}
		}
	}
	return lender != UINT32_MAX;
}

int mirror_source(const struct mirror *m, const struct ip_addr *to, struct ip_addr *out)
{
	const struct hop *h = route_underlay(m, to);
	if (!h)
		return -ENETUNREACH;
	if (h->type == RTN_LOCAL || h->type == RTN_ANYCAST) {
		*out = *to;
		return 0;
	}
	if (h->type != RTN_UNICAST)
		return -ENETUNREACH;
	if (h->prefsrc.family != IP_NONE) {
		*out = h->prefsrc;
		return 0;
	}
	const struct ip_addr *near = h->gateway.family == IP_V4 ? &h->gateway : to;
	if (link_source(link_find(m, h->ifindex), to->family, near, out) ||
		borrowed_source(m, to, out))
		return 0;
	return -EADDRNOTAVAIL;
}
