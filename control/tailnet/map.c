// The netmap to the tables: peers of WireGuard and mesh, packet filter; routes follow in routes.c.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "control/tailnet/filter.h"
#include "control/tailnet/peerapi.h"
#include "control/tailnet/priv.h"
#include "dataplane/base/log.h"
#include "dataplane/table/peer_table.h"

const struct netmap *tailnet_netmap(const struct tailnet *t)
{
	return t->stale ? t->none : t->netmap;
}

// "alice" of "alice.lab.test."; the stable ID of a node without name.
static void short_name(const struct nm_node *n, char out[static CONFIG_NAME_LEN])
{
	const char *name = n->name && n->name[0] ? n->name : n->stable_id ? n->stable_id : "";
	snprintf(out, CONFIG_NAME_LEN, "%.*s", (int)strcspn(name, "."), name);
}

bool tn_is_own(const struct tailnet *t, const struct ip_addr *a)
{
	return tn_is_node_address(t, a) || tn_is_vip(t, a);
}

bool tn_is_node_address(const struct tailnet *t, const struct ip_addr *a)
{
	const struct nm_node *self = t->netmap->self;
	for (uint32_t i = 0; self && i < self->n_addresses; i++) {
		if (ip_addr_equal(&self->addresses[i].addr, a))
			return true;
	}
	return false;
}

// Whether the peer's packets from and to this network are taken, and routed to it.
bool tn_route_wanted(const struct tailnet *t, const struct nm_peer *peer, const struct ip_prefix *p)
{
	bool single = p->len == ip_addr_bits(&p->addr);
	if (single && tn_is_own(t, &p->addr))
		return false;
	for (uint32_t i = 0; i < peer->node->n_addresses; i++) {
		const struct ip_prefix *own = &peer->node->addresses[i];
		if (own->len == p->len && ip_addr_equal(&own->addr, &p->addr))
			return true;
	}
	if (p->len == 0)
		return tn_exit_peer(t) == peer;
	if (single && tn_is_tailnet(&p->addr)) {
		const struct nm_peer *owner = netmap_peer_by_addr(t->netmap, &p->addr);
		return !owner || owner == peer;
	}
	return t->prefs->route_all;
}

// Who may be asked for a place on its relay (tailscale magicsock.go, updateRelayServersSet).
static void set_relays(struct tailnet *t)
{
	const struct nm_node *self = t->netmap->self;
	struct key *list = mem_alloc((t->netmap->n_peers + 1) * sizeof(*list));
	size_t n = 0;
	bool off = nm_node_cap(self, "disable-relay-client") || nm_node_cap(self, "only-tcp-443");
	for (size_t i = 0; i < t->netmap->n_peers && !off; i++) {
		const struct nm_peer *p = t->netmap->peers[i];
		if (p->unusable == NM_USABLE && p->node->cap >= MESH_CAP_RELAY &&
			tn_node_granted(t->netmap, p->node, "tailscale.com/cap/relay-target"))
			list[n++] = p->node->key;
	}
	t->relays_dirty = false;
	mesh_set_relays(t->mesh, list, n);
	free(list);
}

static void peer_remove(struct tailnet *t, const struct key *key)
{
	mesh_peer_remove(t->mesh, key);
	wg_peer_remove(t->params.wg, key);
}

static void peer_set(struct tailnet *t, const struct nm_peer *peer)
{
	const struct nm_node *n = peer->node;
	struct config_peer c = {.public_key = n->key};
	struct ip_prefix few[16], *list = few;
	if (n->n_allowed_ips > RTE_DIM(few))
		list = mem_alloc(n->n_allowed_ips * sizeof(*list));
	for (uint32_t i = 0; i < n->n_allowed_ips; i++) {
		if (tn_route_wanted(t, peer, &n->allowed_ips[i]))
			list[c.n_allowed_ips++] = n->allowed_ips[i];
	}
	short_name(n, c.name);
	c.allowed_ips = list;
	int r = wg_peer_set(t->params.wg, &c, WG_MESHED);
	if (r < 0)
		log_warn("tailnet", "peer %s: %s", c.name, strerror(-r));
	struct peer *p = peer_table_find(t->params.gw->peers, &n->key);
	if (p) {
		atomic_store(&p->filtered, true);
		atomic_store(&p->jailed, n->jailed);
	}
	if (p && mesh_peer_set(t->mesh, n) < 0)
		log_warn("tailnet", "peer %s: no memory for its paths", c.name);
	if (list != few)
		free(list);
}

static void filter_apply(struct tailnet *t)
{
	struct gateway *gw = t->params.gw;
	t->filter_dirty = false;
	struct ip_prefix vips[TN_VIPS_MAX];
	const struct tn_filter_spec spec = {
		.netmap = t->netmap,
		.vips = vips,
		.n_vips = tn_vips(t, vips),
		.routes = t->networks.at,
		.n_routes = t->networks.n,
		.peerapi4 = peerapi_port_of(t->peerapi, IP_V4),
		.peerapi6 = peerapi_port_of(t->peerapi, IP_V6),
		.shields_up = t->prefs->shields_up,
	};
	struct rules *rules = tn_filter_rules(&spec);
	if (rules)
		rules_publish(&gw->rules, gw->rcu, rules);
	tn_nat_apply(t);
}

void tn_up(struct tailnet *t)
{
	if (wg_set_key(t->params.wg, &t->node_private) < 0) {
		log_error("tailnet", "the node key cannot be used");
		return;
	}
	mesh_set_node_key(t->mesh, &t->node_key);
	mesh_set_silent(t->mesh, nm_node_cap(t->netmap->self, "silent-disco"));
	derp_pool_set_key(t->derp, &t->node_private);
	tn_services_read(t);
	for (size_t i = 0; i < t->netmap->n_peers; i++) {
		if (t->netmap->peers[i]->unusable == NM_USABLE)
			peer_set(t, t->netmap->peers[i]);
	}
	tn_peerapi_settle(t);
	tn_firewall_settle(t);
	filter_apply(t);
	set_relays(t);
	t->routes_dirty = true;
	tn_routes_networks(t);
	tn_routes_apply(t);
	tn_netcheck(t, true);
}

void tn_down(struct tailnet *t)
{
	struct peer *peer;
	peerapi_close(t->peerapi);
	tn_firewall_settle(t);
	tn_routes_clear(t);
	tn_nat_apply(t);
	for (uint32_t id = 0; (peer = peer_table_next(t->params.gw->peers, &id));) {
		struct key key = peer->public_key;
		peer_remove(t, &key);
	}
	derp_pool_set_home(t->derp, 0);
	t->home = 0;
	t->exit_id = 0;
}

void tn_peers_again(struct tailnet *t)
{
	for (size_t i = 0; i < t->netmap->n_peers; i++) {
		if (t->netmap->peers[i]->unusable == NM_USABLE)
			peer_set(t, t->netmap->peers[i]);
	}
	filter_apply(t);
	t->routes_dirty = true;
	tn_changed(t, 0);
}

void tn_map_settled(struct tailnet *t)
{
	if (t->active && t->filter_dirty)
		filter_apply(t);
	if (t->active && t->relays_dirty)
		set_relays(t);
}

static const uint32_t wg_fields = NM_F_KEY | NM_F_DISCO | NM_F_ADDRESSES | NM_F_ALLOWED_IPS |
				  NM_F_ENDPOINTS | NM_F_HOME_DERP | NM_F_NAME | NM_F_USABLE |
				  NM_F_CAPS | NM_F_FLAGS | NM_F_HOSTINFO | NM_F_MASQ;
static const uint32_t route_fields =
	NM_F_KEY | NM_F_ADDRESSES | NM_F_ALLOWED_IPS | NM_F_USABLE | NM_F_FLAGS;

static void peer_delta(struct tailnet *t, const struct nm_peer_delta *d)
{
	bool usable = d->peer && d->peer->unusable == NM_USABLE;
	if (d->change == NM_REMOVED || !usable ||
		(d->change == NM_CHANGED && (d->fields & NM_F_KEY)))
		peer_remove(t, d->change == NM_ADDED ? &d->peer->node->key : &d->key_before);
	if (usable && (d->change == NM_ADDED || (d->fields & wg_fields)))
		peer_set(t, d->peer);
	if (d->change != NM_CHANGED || (d->fields & route_fields))
		t->routes_dirty = true;
	// Rules may name sources by what a node is, and grant relays.
	if (d->change != NM_CHANGED || (d->fields & (route_fields | NM_F_CAPS)))
		t->filter_dirty = t->relays_dirty = true;
}

// Who is online is not kept. What takes long because the tailnet is large is done less often.
static void save_later(struct tailnet *t, const struct netmap_delta *d, unsigned parts)
{
	uint64_t wait_s = RTE_MAX(
		(uint64_t)TN_NETMAP_SAVE_S, t->times.save_ns * TN_NETMAP_SAVE_SHARE / 1000000000);
	const struct timeval later = {.tv_sec = (time_t)wait_s};
	bool news = parts != 0;
	for (size_t i = 0; i < d->n_peers && !news; i++)
		news = d->peers[i].change != NM_CHANGED ||
		       (d->peers[i].fields & ~(uint32_t)NM_F_ONLINE);
	if (news && !event_pending(t->save, EV_TIMEOUT, NULL))
		event_add(t->save, &later);
}

void tn_map(void *arg, const struct netmap_delta *delta)
{
	struct tailnet *t = arg;
	unsigned parts = delta->parts & ~(unsigned)NM_CLOCK;
	if (delta->full)
		t->stale = false;
	t->settle_full |= delta->full;
	if (parts & NM_DERP_MAP)
		tn_net_map(t);
	if (parts & NM_SELF)
		tn_services_read(t);
	if (t->active) {
		for (size_t i = 0; i < delta->n_peers; i++)
			peer_delta(t, &delta->peers[i]);
		if (parts & NM_SELF)
			mesh_set_silent(t->mesh, nm_node_cap(t->netmap->self, "silent-disco"));
		if (parts & (NM_SELF | NM_FILTER)) {
			filter_apply(t); // at once: it may refuse more than before
			t->routes_dirty = t->relays_dirty = true;
		}
	}
	if (parts & NM_SELF)
		tn_appc_settle(t);
	if (!parts && !delta->n_peers)
		return;
	save_later(t, delta, parts);
	tn_evaluate(t);
	tn_changed(t, TAILNET_CHANGED_NETMAP |
			      (parts & (NM_HEALTH | NM_MESSAGES) ? TAILNET_CHANGED_HEALTH : 0));
}

const struct nm_peer *tailnet_peer_of(const struct tailnet *t, const struct ip_addr *a)
{
	const struct nm_peer *owner = netmap_peer_by_addr(t->netmap, a);
	if (owner)
		return owner;
	struct allowedips *allowed = t->params.gw->allowed;
	const struct peer *p = a->family == IP_V4 ? allowedips_lookup4(allowed, a->bytes)
						  : allowedips_lookup6(allowed, a->bytes);
	return p ? netmap_peer_by_key(t->netmap, &p->public_key) : NULL;
}
