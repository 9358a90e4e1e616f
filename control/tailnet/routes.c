// Addresses and routes of the TUN: what the netmap wants, against what the kernel has of ours, in a
// table of our own. One route stands for all tailnet addresses, so that the number of peers does
// not matter.
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdlib.h>

#include "control/dns/dns.h"
#include "control/tailnet/filter.h"
#include "control/tailnet/priv.h"
#include "dataplane/base/log.h"
#include "dataplane/base/prefix.h"

// 100.64.0.0/10 and fd7a:115c:a1e0::/48: every node's own addresses (tailscale net/tsaddr).
static const struct ip_prefix tailnet_ranges[] = {
	{.addr = {.bytes = {100, 64}, .family = IP_V4}, .len = 10},
	{.addr = {.bytes = {0xfd, 0x7a, 0x11, 0x5c, 0xa1, 0xe0}, .family = IP_V6}, .len = 48},
};

static const struct ip_prefix everything[] = {
	{.addr = {.family = IP_V4}},
	{.addr = {.family = IP_V6}},
};

bool tn_is_tailnet(const struct ip_addr *a)
{
	for (unsigned i = 0; i < RTE_DIM(tailnet_ranges); i++) {
		if (ip_prefix_contains(&tailnet_ranges[i], a))
			return true;
	}
	return false;
}

static void put(struct tn_list *l, const struct ip_prefix *p)
{
	if (l->n == l->room) {
		l->room = l->room ? l->room * 2 : 64;
		l->at = realloc(l->at, l->room * sizeof(l->at[0]));
		if (!l->at)
			abort();
	}
	l->at[l->n++] = *p;
}

// Sorted, each once.
static void finish(struct tn_list *l)
{
	uint32_t n = 0;
	if (l->n)
		qsort(l->at, l->n, sizeof(l->at[0]), ip_prefix_order);
	for (uint32_t i = 0; i < l->n; i++) {
		if (n == 0 || ip_prefix_order(&l->at[n - 1], &l->at[i]) != 0)
			l->at[n++] = l->at[i];
	}
	l->n = n;
}

static void wanted_of(const struct tailnet *t, const struct nm_peer *peer, struct tn_list *l)
{
	for (uint32_t i = 0; i < peer->node->n_allowed_ips; i++) {
		const struct ip_prefix *p = &peer->node->allowed_ips[i];
		bool covered = p->len == ip_addr_bits(&p->addr) && tn_is_tailnet(&p->addr);
		if (!covered && tn_route_wanted(t, peer, p))
			put(l, p);
	}
}

static void wanted_routes(const struct tailnet *t, struct tn_list *l)
{
	const struct nm_node *self = t->netmap->self;
	for (unsigned i = 0; i < RTE_DIM(tailnet_ranges); i++) {
		for (uint32_t j = 0; j < self->n_addresses; j++) {
			if (self->addresses[j].addr.family == tailnet_ranges[i].addr.family)
				put(l, &tailnet_ranges[i]);
		}
	}
	// Also while the exit node is not known: nothing is to leave past it.
	for (unsigned i = 0; i < RTE_DIM(everything) && tn_uses_exit(t->prefs); i++)
		put(l, &everything[i]);
	for (size_t i = 0; i < t->netmap->n_peers; i++) {
		if (t->netmap->peers[i]->unusable == NM_USABLE)
			wanted_of(t, t->netmap->peers[i], l);
	}
	finish(l);
}

static uint32_t tun_ifindex(const struct tailnet *t)
{
	const struct gateway *gw = t->params.gw;
	return gw->host_port == PORT_NONE ? 0 : gw->port[gw->host_port]->ifindex;
}

// The prefixes' list has one that holds all of p, whatever else p may be.
static bool covered(const struct tn_list *l, const struct ip_prefix *p)
{
	for (uint32_t i = 0; i < l->n; i++) {
		if (l->at[i].len <= p->len && ip_prefix_contains(&l->at[i], &p->addr))
			return true;
	}
	return false;
}

static bool has(const struct tn_list *sorted, const struct ip_prefix *p)
{
	return sorted->n &&
	       bsearch(p, sorted->at, sorted->n, sizeof(sorted->at[0]), ip_prefix_order) != NULL;
}

// Networks of interfaces that are up, but for the TUN, loopback and what is link-local.
static struct tn_list attached_networks(const struct tailnet *t)
{
	struct tn_list l = {0};
	struct ifaddrs *all = NULL;
	if (getifaddrs(&all) < 0)
		return l;
	for (const struct ifaddrs *i = all; i; i = i->ifa_next) {
		struct ip_ifaddr a;
		bool counts = (i->ifa_flags & IFF_UP) && !(i->ifa_flags & IFF_LOOPBACK) &&
			      if_nametoindex(i->ifa_name) != tun_ifindex(t);
		if (!counts || !tn_interface_address(i, &a) || ip_addr_is_link_local(&a.addr))
			continue;
		struct ip_prefix p = tn_network_of(&a);
		put(&l, &p);
	}
	freeifaddrs(all);
	finish(&l);
	return l;
}

// What stays beside the tunnel although a route into it covers it: networks that we offer to
// others, and those of our own interfaces, unless all of our traffic is to go through an exit node.
static void wanted_throws(const struct tailnet *t, const struct tn_list *routes, struct tn_list *l)
{
	const struct prefs *prefs = t->prefs;
	const struct tn_networks *own = &t->networks;
	for (uint32_t i = 0; i < own->n; i++) {
		if (own->at[i].len > 0 && covered(routes, &own->at[i]))
			put(l, &own->at[i]);
	}
	for (uint32_t i = 0; i < t->kernel.attached.n; i++) {
		bool reached = !tn_uses_exit(prefs) || prefs->exit_node_allow_lan;
		if (reached && covered(routes, &t->kernel.attached.at[i]))
			put(l, &t->kernel.attached.at[i]);
	}
	finish(l);
}

static void remove_all(struct tn_list *from, const struct tn_list *those)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < from->n; i++) {
		if (!has(those, &from->at[i]))
			from->at[n++] = from->at[i];
	}
	from->n = n;
}

static void route(struct tailnet *t, const struct ip_prefix *p, uint32_t ifindex, bool add)
{
	struct netlink *nl = mirror_netlink(t->params.mirror);
	char text[PREFIX_TEXT_LEN];
	if (!add) {
		netlink_table_del(nl, TAILNET_TABLE, p, ifindex);
		return;
	}
	int r = netlink_table_add(nl, TAILNET_TABLE, p, ifindex);
	bool off = p->addr.family == IP_V6 && (r == -EACCES || r == -EOPNOTSUPP);
	if (r == -EEXIST)
		log_warn("tailnet",
			"table %d has a route to %s that is not ours: traffic follows that one; is "
			"another VPN running?",
			TAILNET_TABLE, ip_prefix_format(p, text));
	else if (r < 0 && !off) // without IPv6 nothing leaves by it either
		log_error("tailnet", "route to %s: %s", ip_prefix_format(p, text), strerror(-r));
}

static void tunnel_route(struct tailnet *t, const struct ip_prefix *p, bool add)
{
	route(t, p, tun_ifindex(t), add);
}

static void throw_route(struct tailnet *t, const struct ip_prefix *p, bool add)
{
	route(t, p, 0, add);
}

// Nobody goes by that table: it is there to be read.
static void announce_route(struct tailnet *t, const struct ip_prefix *p, bool add)
{
	struct netlink *nl = mirror_netlink(t->params.mirror);
	char text[PREFIX_TEXT_LEN];
	uint8_t table = t->params.announce_table;
	if (!add) {
		netlink_table_del(nl, table, p, tun_ifindex(t));
		return;
	}
	int r = netlink_table_add(nl, table, p, tun_ifindex(t));
	bool off = p->addr.family == IP_V6 && (r == -EACCES || r == -EOPNOTSUPP);
	if (r < 0 && !off)
		log_error("tailnet", "announce_table %u: %s: %s", table, ip_prefix_format(p, text),
			strerror(-r));
}

static void address(struct tailnet *t, const struct ip_prefix *p, bool add)
{
	struct netlink *nl = mirror_netlink(t->params.mirror);
	struct ip_ifaddr a = {.addr = p->addr, .len = p->len};
	bool service = ip_addr_equal(&p->addr, &dns_service_v4) ||
		       ip_addr_equal(&p->addr, &dns_service_v6) ||
		       !tn_is_node_address(t, &p->addr); // nobody's source
	int r = !add	  ? netlink_addr_del(nl, &a, tun_ifindex(t))
		: service ? netlink_addr_add_local(nl, &a, tun_ifindex(t))
			  : netlink_addr_add(nl, &a, tun_ifindex(t));
	if (r < 0 && add)
		log_error("tailnet", "address of the TUN: %s", strerror(-r));
}

typedef void change_fn(struct tailnet *, const struct ip_prefix *, bool add);

// fn for what only the one of two sorted lists has.
static void each_beside(struct tailnet *t, const struct tn_list *these,
	const struct tn_list *others, change_fn *fn, bool add)
{
	for (uint32_t i = 0; i < these->n; i++) {
		if (!has(others, &these->at[i]))
			fn(t, &these->at[i], add);
	}
}

static void replace(struct tn_list *old, const struct tn_list *now)
{
	free(old->at);
	*old = *now;
}

// What only the old lists have goes, then what only the new ones have comes.
static void change(struct tailnet *t, const struct tn_list *addresses, const struct tn_list *routes,
	const struct tn_list *throws, const struct tn_list *announced)
{
	struct tn_kernel *k = &t->kernel;
	each_beside(t, &k->announced, announced, announce_route, false);
	each_beside(t, &k->routes, routes, tunnel_route, false);
	each_beside(t, &k->throws, throws, throw_route, false);
	each_beside(t, &k->addresses, addresses, address, false);
	each_beside(t, addresses, &k->addresses, address, true);
	each_beside(t, throws, &k->throws, throw_route, true);
	each_beside(t, routes, &k->routes, tunnel_route, true);
	each_beside(t, announced, &k->announced, announce_route, true);
	replace(&k->announced, announced);
	replace(&k->addresses, addresses);
	replace(&k->throws, throws);
	replace(&k->routes, routes);
}

// Where the host asks for names. IPv6 may be off where the node has no such address.
static void put_service(const struct nm_node *self, struct tn_list *l)
{
	struct ip_prefix v4 = {dns_service_v4, 32}, v6 = {dns_service_v6, 128};
	bool has_v6 = false;
	for (uint32_t i = 0; i < self->n_addresses; i++)
		has_v6 |= self->addresses[i].addr.family == IP_V6;
	put(l, &v4);
	if (has_v6)
		put(l, &v6);
}

static void wanted_announced(
	const struct tailnet *t, const struct tn_list *routes, struct tn_list *l)
{
	bool announces = t->params.announce_table && tn_is_answered_through(t);
	for (uint32_t i = 0; i < routes->n && announces; i++) {
		const struct ip_prefix *p = &routes->at[i];
		// A default route is ours alone. What the site's router could tell us stays its
		// own, although the other gateway may have told of it first.
		if (p->len > 0 && !learned_is_within(&t->params.learned, p))
			put(l, p);
	}
}

void tn_routes_settle(struct tailnet *t)
{
	if (t->active && t->params.announce_table)
		t->routes_dirty |= tn_is_answered_through(t) != tailnet_is_announcing(t);
}

bool tailnet_is_announcing(const struct tailnet *t)
{
	return t->kernel.announced.n > 0;
}

void tailnet_set_announce(struct tailnet *t, uint8_t table)
{
	struct tn_list *old = &t->kernel.announced;
	const struct tn_list none = {0};
	if (table == t->params.announce_table)
		return;
	each_beside(t, old, &none, announce_route, false);
	replace(old, &none);
	t->params.announce_table = table;
	t->routes_dirty = true;
	tn_routes_apply(t);
}

// The kernel answers echoes for services that we host, and to ports that are closed.
static void put_vips(const struct tailnet *t, struct tn_list *l)
{
	struct ip_prefix vips[TN_VIPS_MAX];
	uint32_t n = tn_vips(t, vips);
	for (uint32_t i = 0; i < n; i++)
		put(l, &vips[i]);
}

void tn_routes_apply(struct tailnet *t)
{
	struct tn_list routes = {0}, throws = {0}, addresses = {0}, announced = {0};
	if (!t->routes_dirty || !t->active || !tun_ifindex(t) || !t->netmap->self)
		return;
	t->routes_dirty = false;
	for (uint32_t i = 0; i < t->netmap->self->n_addresses; i++)
		put(&addresses, &t->netmap->self->addresses[i]);
	put_service(t->netmap->self, &addresses);
	put_vips(t, &addresses);
	finish(&addresses);
	wanted_routes(t, &routes);
	wanted_throws(t, &routes, &throws);
	remove_all(&routes, &throws); // one route per prefix, and ours is nearer
	wanted_announced(t, &routes, &announced);
	struct netlink *nl = mirror_netlink(t->params.mirror);
	if (netlink_link_mtu(nl, tun_ifindex(t), t->params.mtu) < 0 ||
		netlink_link_up(nl, tun_ifindex(t)) < 0)
		log_error("tailnet", "the TUN cannot be set up");
	change(t, &addresses, &routes, &throws, &announced);
	tn_lookup_set(t, true);
}

void tn_routes_networks(struct tailnet *t)
{
	struct tn_list now = attached_networks(t);
	const struct tn_list *old = &t->kernel.attached;
	bool same = now.n == old->n;
	for (uint32_t i = 0; same && i < now.n; i++)
		same = ip_prefix_order(&now.at[i], &old->at[i]) == 0;
	t->routes_dirty |= !same;
	replace(&t->kernel.attached, &now);
}

void tn_routes_clear(struct tailnet *t)
{
	const struct tn_list none = {0};
	tn_lookup_set(t, false);
	change(t, &none, &none, &none, &none);
}

// Throw routes are still there.
void tn_routes_forget(struct tailnet *t)
{
	const struct tn_list none = {0};
	replace(&t->kernel.routes, &none);
	replace(&t->kernel.announced, &none);
	replace(&t->kernel.addresses, &none);
	t->routes_dirty = true;
}
