// Addresses and routes of the TUN: what the netmap wants, against what the kernel has of ours. One
// route stands for all tailnet addresses, so that the number of peers does not matter.
#include <errno.h>
#include <stdlib.h>

#include "control/dns/dns.h"
#include "control/tailnet/priv.h"
#include "dataplane/base/log.h"

// 100.64.0.0/10 and fd7a:115c:a1e0::/48: every node's own addresses (tailscale net/tsaddr).
static const struct ip_prefix tailnet_ranges[] = {
	{.addr = {.bytes = {100, 64}, .family = IP_V4}, .len = 10},
	{.addr = {.bytes = {0xfd, 0x7a, 0x11, 0x5c, 0xa1, 0xe0}, .family = IP_V6}, .len = 48},
};

bool tn_is_tailnet(const struct ip_addr *a)
{
	for (unsigned i = 0; i < RTE_DIM(tailnet_ranges); i++) {
		if (ip_prefix_contains(&tailnet_ranges[i], a))
			return true;
	}
	return false;
}

struct list {
	struct ip_prefix *at;
	uint32_t n, room;
};

static void put(struct list *l, const struct ip_prefix *p)
{
	if (l->n == l->room) {
		l->room = l->room ? l->room * 2 : 64;
		l->at = realloc(l->at, l->room * sizeof(l->at[0]));
		if (!l->at)
			abort();
	}
	l->at[l->n++] = *p;
}

static int order(const void *a, const void *b)
{
	const struct ip_prefix *p = a, *q = b;
	int o = (int)p->addr.family - (int)q->addr.family;
	if (o == 0)
		o = memcmp(p->addr.bytes, q->addr.bytes, sizeof(p->addr.bytes));
	return o ? o : (int)p->len - (int)q->len;
}

// Sorted, each once.
static void finish(struct list *l)
{
	uint32_t n = 0;
	if (l->n)
		qsort(l->at, l->n, sizeof(l->at[0]), order);
	for (uint32_t i = 0; i < l->n; i++) {
		if (n == 0 || order(&l->at[n - 1], &l->at[i]) != 0)
			l->at[n++] = l->at[i];
	}
	l->n = n;
}

static void wanted_of(const struct tailnet *t, const struct nm_peer *peer, struct list *l)
{
	for (uint32_t i = 0; i < peer->node->n_allowed_ips; i++) {
		const struct ip_prefix *p = &peer->node->allowed_ips[i];
		bool covered = p->len == ip_addr_bits(&p->addr) && tn_is_tailnet(&p->addr);
		if (!covered && tn_route_wanted(t, peer, p))
			put(l, p);
	}
}

static void wanted_routes(const struct tailnet *t, struct list *l)
{
	const struct nm_node *self = t->netmap->self;
	for (unsigned i = 0; i < RTE_DIM(tailnet_ranges); i++) {
		for (uint32_t j = 0; j < self->n_addresses; j++) {
			if (self->addresses[j].addr.family == tailnet_ranges[i].addr.family)
				put(l, &tailnet_ranges[i]);
		}
	}
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

static void route(struct tailnet *t, const struct ip_prefix *p, bool add)
{
	struct netlink *nl = mirror_netlink(t->params.mirror);
	char text[PREFIX_TEXT_LEN];
	if (!add) {
		netlink_route_del(nl, p, tun_ifindex(t));
		return;
	}
	int r = netlink_route_add(nl, p, tun_ifindex(t));
	if (r == -EEXIST)
		log_warn("tailnet",
			"route to %s exists already, not ours: traffic follows that one",
			ip_prefix_format(p, text));
	else if (r < 0)
		log_error("tailnet", "route to %s: %s", ip_prefix_format(p, text), strerror(-r));
}

static void address(struct tailnet *t, const struct ip_prefix *p, bool add)
{
	struct netlink *nl = mirror_netlink(t->params.mirror);
	struct ip_ifaddr a = {.addr = p->addr, .len = p->len};
	bool service = ip_addr_equal(&p->addr, &dns_service_v4) ||
		       ip_addr_equal(&p->addr, &dns_service_v6);
	int r = !add	  ? netlink_addr_del(nl, &a, tun_ifindex(t))
		: service ? netlink_addr_add_local(nl, &a, tun_ifindex(t))
			  : netlink_addr_add(nl, &a, tun_ifindex(t));
	if (r < 0 && add)
		log_error("tailnet", "address of the TUN: %s", strerror(-r));
}

// What only the old list has goes, what only the new one has comes. Both are sorted.
static void change(struct tailnet *t, struct ip_prefix **old, uint32_t *n_old, struct list *now,
	void (*fn)(struct tailnet *, const struct ip_prefix *, bool add))
{
	uint32_t i = 0, j = 0;
	while (i < *n_old || j < now->n) {
		int o = i == *n_old ? 1 : j == now->n ? -1 : order(&(*old)[i], &now->at[j]);
		if (o < 0)
			fn(t, &(*old)[i], false);
		else if (o > 0)
			fn(t, &now->at[j], true);
		i += o <= 0;
		j += o >= 0;
	}
	free(*old);
	*old = now->at;
	*n_old = now->n;
}

// Where the host asks for names. IPv6 may be off where the node has no such address.
static void put_service(const struct nm_node *self, struct list *l)
{
	struct ip_prefix v4 = {dns_service_v4, 32}, v6 = {dns_service_v6, 128};
	bool has_v6 = false;
	for (uint32_t i = 0; i < self->n_addresses; i++)
		has_v6 |= self->addresses[i].addr.family == IP_V6;
	put(l, &v4);
	if (has_v6)
		put(l, &v6);
}

void tn_routes_apply(struct tailnet *t)
{
	struct list routes = {0}, addresses = {0};
	if (!t->routes_dirty || !t->active || !tun_ifindex(t) || !t->netmap->self)
		return;
	t->routes_dirty = false;
	for (uint32_t i = 0; i < t->netmap->self->n_addresses; i++)
		put(&addresses, &t->netmap->self->addresses[i]);
	put_service(t->netmap->self, &addresses);
	finish(&addresses);
	wanted_routes(t, &routes);
	struct netlink *nl = mirror_netlink(t->params.mirror);
	if (netlink_link_mtu(nl, tun_ifindex(t), t->params.mtu) < 0 ||
		netlink_link_up(nl, tun_ifindex(t)) < 0)
		log_error("tailnet", "the TUN cannot be set up");
	change(t, &t->kernel.addresses, &t->kernel.n_addresses, &addresses, address);
	change(t, &t->kernel.routes, &t->kernel.n_routes, &routes, route);
}

void tn_routes_clear(struct tailnet *t)
{
	struct list none = {0};
	change(t, &t->kernel.routes, &t->kernel.n_routes, &none, route);
	change(t, &t->kernel.addresses, &t->kernel.n_addresses, &none, address);
}

void tn_routes_forget(struct tailnet *t)
{
	free(t->kernel.routes);
	free(t->kernel.addresses);
	t->kernel = (struct tn_kernel){0};
	t->routes_dirty = true;
}
