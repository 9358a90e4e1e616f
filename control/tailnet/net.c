// Paths, DERP, STUN and port mapping, wired to each other, to WireGuard and to the workers.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "control/tailnet/peerapi.h"
#include "control/tailnet/priv.h"
#include "dataplane/base/log.h"
#include "dataplane/table/peer_table.h"
#include "dataplane/wire/ledger.h"

enum {
	RESTUN_MIN_MS = 20000,
	RESTUN_SPREAD_MS = 6000,
};

static bool send_from(
	void *arg, uint16_t local_port, const struct endpoint *to, const uint8_t *data, size_t len)
{
	const struct tailnet *t = arg;
	struct ip_addr any = {0};
	return t->params.env.send(t->params.env.arg, &any, local_port, to, data, len);
}

static bool send_udp(void *arg, const struct endpoint *to, const uint8_t *data, size_t len)
{
	return send_from(arg, 0, to, data, len);
}

static void fill_random(void *, void *out, size_t len)
{
	randombytes_buf(out, len);
}

// -- mesh -----------------------------------------------------------------------------------------

static int mesh_to_derp(
	void *arg, uint16_t region, const struct key *node, const void *data, size_t len)
{
	const struct tailnet *t = arg;
	return derp_pool_send(t->derp, region, node, data, len);
}

static void on_route(void *arg, const struct key *node, const struct mesh_route *route)
{
	struct tailnet *t = arg;
	struct wg_route r = {.to = route->udp,
		.local_port = route->local_port,
		.vni = route->vni,
		.derp = route->derp};
	if (route->mtu)
		r.mtu = ledger_inside(
			route->mtu, ledger_carrier(route->udp.addr.family, route->vni != 0));
	wg_peer_route(t->params.wg, node, &r);
}

static uint64_t last_tx_ns(void *arg, const struct key *node)
{
	const struct tailnet *t = arg;
	const struct peer *p = peer_table_find(t->params.gw->peers, node);
	uint64_t tsc = p ? atomic_load_explicit(&p->last_tx_data, memory_order_relaxed) : 0;
	return (uint64_t)((double)tsc / t->params.gw->tsc_per_ns);
}

static uint64_t last_rx_ns(void *arg, const struct key *node)
{
	const struct tailnet *t = arg;
	const struct peer *p = peer_table_find(t->params.gw->peers, node);
	uint64_t tsc = p ? atomic_load_explicit(&p->last_rx, memory_order_relaxed) : 0;
	return (uint64_t)((double)tsc / t->params.gw->tsc_per_ns);
}

static void sent(void *arg, const struct key *node, struct mesh_sent *out)
{
	const struct tailnet *t = arg;
	const struct peer *p = peer_table_find(t->params.gw->peers, node);
	*out = (struct mesh_sent){0};
	if (!p)
		return;
	out->packets = atomic_load_explicit(&p->tx_packets, memory_order_relaxed);
	out->bytes = atomic_load_explicit(&p->tx_wire_bytes, memory_order_relaxed);
}

static uint16_t link_mtu(void *arg, const struct path_addr *to)
{
	const struct tailnet *t = arg;
	const struct gateway *gw = t->params.gw;
	struct nexthop nh;
	if (!mirror_underlay(t->params.mirror, &to->to.addr, &nh))
		return 0;
	uint16_t tunnel = atomic_load_explicit(&gw->tunnel_mtu, memory_order_relaxed);
	uint16_t link = atomic_load_explicit(&gw->port[nh.port]->mtu, memory_order_relaxed);
	uint16_t full = tunnel + ledger_overhead(ledger_carrier(to->to.addr.family, to->vni != 0));
	return ledger_lower(ledger_lower(link, nh.mtu), full);
}

// From the last report: one with fewer answers does not know whether the mapping varies.
static enum mesh_nat mesh_nat(void *arg, struct ip_addr *outside)
{
	const struct tailnet *t = arg;
	const struct netcheck_report *r = netcheck_last(t->netcheck);
	*outside = r->global_v4.addr;
	if (!r->udp || !r->global_v4.port || r->mapping_varies < 0)
		return MESH_NAT_UNKNOWN;
	return r->mapping_varies ? MESH_NAT_HARD : MESH_NAT_EASY;
}

static int open_ports(void *arg, unsigned n, uint16_t *first)
{
	const struct tailnet *t = arg;
	return t->params.env.open_ports(t->params.env.ports_arg, n, first);
}

static void close_ports(void *arg)
{
	const struct tailnet *t = arg;
	t->params.env.close_ports(t->params.env.ports_arg);
}

void tailnet_set_birthday(struct tailnet *t, const struct mesh_birthday *limits)
{
	mesh_set_birthday(t->mesh, limits);
}

// -- DERP -----------------------------------------------------------------------------------------

static void on_derp_packet(
	void *arg, uint16_t region, const struct key *from, const uint8_t *data, size_t len)
{
	struct tailnet *t = arg;
	struct endpoint source = derp_endpoint(region);
	struct ip_addr none = {0};
	if (!t->active || !mesh_knows(t->mesh, from) ||
		mesh_derp_input(t->mesh, region, from, data, len) || len < 4)
		return;
	if (data[0] == WG_TYPE_DATA) {
		t->params.env.inject_wg(t->params.env.arg, &source, data, len);
		return;
	}
	t->derp_from = *from;
	wg_receive(t->params.wg, data, len, &source, &none);
}

static void on_derp_gone(void *arg, uint16_t region, const struct key *peer, enum derp_gone)
{
	struct tailnet *t = arg;
	mesh_derp_gone(t->mesh, region, peer);
}

static void on_derp_changed(void *arg, uint16_t)
{
	tn_changed(arg, TAILNET_CHANGED_HEALTH);
}

void tailnet_derp_out(struct tailnet *t, const struct peer *peer, const uint8_t *data, size_t len)
{
	(void)mesh_send(t->mesh, &peer->public_key, data, len, false); // counted there
}

// -- WireGuard's handshakes -----------------------------------------------------------------------

bool tailnet_wg_send(struct tailnet *t, const struct peer *peer, const struct ip_addr *local,
	const struct endpoint *to, const uint8_t *data, size_t len)
{
	struct mesh_route route;
	if (!peer && is_derp(to))
		return derp_pool_send(t->derp, to->port, &t->derp_from, data, len) == 0;
	if (!peer)
		return t->params.env.send(t->params.env.arg, local, 0, to, data, len);
	// An answer goes whence the question came, but through a relay as the route says.
	bool answer = data[0] == WG_TYPE_RESPONSE && to->port != 0 && !is_derp(to);
	if (answer && mesh_route(t->mesh, &peer->public_key, &route) == 0 &&
		!(route.vni && endpoint_equal(&route.udp, to)))
		return t->params.env.send(t->params.env.arg, local,
			mesh_local_port(t->mesh, &peer->public_key, to), to, data, len);
	return mesh_send(t->mesh, &peer->public_key, data, len, true) == 0;
}

void tailnet_heard(struct tailnet *t, const struct peer *peer, const struct endpoint *from)
{
	mesh_heard(t->mesh, &peer->public_key, from);
}

void tailnet_too_big(struct tailnet *t, const struct endpoint *to, uint32_t mtu)
{
	mesh_too_big(t->mesh, to, mtu);
}

void tailnet_datagram(struct tailnet *t, const struct endpoint *from, uint16_t local_port,
	enum udp_class class, const uint8_t *data, size_t len)
{
	if (class == UDP_STUN)
		netcheck_input(t->netcheck, from, data, len, tn_now_ns(t));
	else if (t->active)
		mesh_input(t->mesh, from,
			local_port == atomic_load(&t->params.gw->wg_port) ? 0 : local_port, data,
			len);
}

// -- netcheck -------------------------------------------------------------------------------------

static void plan_next(struct tailnet *t)
{
	t->next_netcheck_ns =
		tn_now_ns(t) +
		(RESTUN_MIN_MS + randombytes_uniform(RESTUN_SPREAD_MS)) * UINT64_C(1000000);
}

static void on_report(void *arg, const struct netcheck_report *r)
{
	struct tailnet *t = arg;
	tn_icmp_over(t);
	if (t->active && r->preferred && r->preferred != t->home) {
		t->home = (uint16_t)r->preferred;
		log_info("tailnet", "home DERP region %u (%s)", t->home,
			tailnet_region_code(t, t->home));
		derp_pool_set_home(t->derp, t->home);
	}
	if (r->udp)
		t->endpoints_ns = tn_now_ns(t);
	if (tn_endpoints_update(t))
		coord_client_update(t->coord);
	tn_netinfo_update(t);
	mesh_endpoints_ready(t->mesh);
	plan_next(t);
	unsigned n = t->n_waiters;
	struct tn_waiter waiters[TN_WAITERS_MAX];
	memcpy(waiters, t->waiters, n * sizeof(waiters[0]));
	t->n_waiters = 0;
	for (unsigned i = 0; i < n; i++)
		waiters[i].done(waiters[i].arg, r);
	tn_changed(t, TAILNET_CHANGED_HEALTH);
	if (t->check_again) {
		t->check_again = false;
		tn_netcheck(t, true);
	}
}

static void arm_netcheck(struct tailnet *t)
{
	uint64_t next = netcheck_next_ns(t->netcheck), now = tn_now_ns(t);
	if (next == UINT64_MAX)
		return;
	uint64_t us = next > now ? (next - now) / 1000 + 1 : 1;
	const struct timeval tv = {
		.tv_sec = (time_t)(us / 1000000), .tv_usec = (suseconds_t)(us % 1000000)};
	event_add(t->netcheck_event, &tv);
}

static void on_netcheck_tick(evutil_socket_t, short, void *arg)
{
	struct tailnet *t = arg;
	if (t->restun) {
		t->restun = false;
		tn_netcheck(t, false);
	}
	netcheck_tick(t->netcheck, tn_now_ns(t));
	arm_netcheck(t);
}

void tn_netcheck(struct tailnet *t, bool full)
{
	const struct nm_node *self = t->netmap->self;
	bool only_tcp = self && nm_node_cap(self, "only-tcp-443");
	struct derp_region_info home;
	if (netcheck_running(t->netcheck)) {
		t->check_again |= full;
		return;
	}
	if (t->home && derp_pool_region(t->derp, t->home, &home))
		netcheck_home_heard(t->netcheck, home.heard_ns);
	tn_icmp_over(t); // of a run that ended without a report
	netcheck_start(t->netcheck, full, only_tcp, tn_now_ns(t), unix_now_ns());
	arm_netcheck(t);
}

void tailnet_netcheck_start(struct tailnet *t, bool force_full,
	void (*done)(void *arg, const struct netcheck_report *), void *arg)
{
	if (t->n_waiters == TN_WAITERS_MAX || t->netmap->derp.n_regions == 0) {
		done(arg, netcheck_last(t->netcheck));
		return;
	}
	t->waiters[t->n_waiters++] = (struct tn_waiter){done, arg};
	tn_netcheck(t, force_full);
}

const struct netcheck_report *tailnet_netcheck(const struct tailnet *t)
{
	return netcheck_last(t->netcheck);
}

// -- the whole ------------------------------------------------------------------------------------

static void on_portmap(void *arg)
{
	struct tailnet *t = arg;
	const struct portmap_info *p = portmap_get(t->portmap);
	netcheck_set_portmap(t->netcheck, p->upnp, p->pmp, p->pcp);
	tn_netinfo_update(t);
	if (tn_endpoints_update(t))
		coord_client_update(t->coord);
}

const struct portmap_info *tailnet_portmap(const struct tailnet *t)
{
	return portmap_get(t->portmap);
}

void tn_net_map(struct tailnet *t)
{
	netcheck_set_map(t->netcheck, &t->netmap->derp);
	derp_pool_set_map(t->derp, &t->netmap->derp);
	if (t->active)
		tn_netcheck(t, true);
}

void tn_net_tick(struct tailnet *t)
{
	if (t->active && !netcheck_running(t->netcheck) && tn_now_ns(t) >= t->next_netcheck_ns)
		tn_netcheck(t, false);
	tn_ping_tick(t);
	tn_echo_tick(t);
}

// Gateway of the default route and our address towards it, for port mapping.
static void set_portmap(struct tailnet *t)
{
	static const uint8_t somewhere[4] = {192, 0, 2, 1};
	struct ip_addr to = ip_addr_v4(somewhere), own = {0}, gateway = {0};
	struct nexthop nh;
	if (mirror_underlay(t->params.mirror, &to, &nh) &&
		mirror_source(t->params.mirror, &to, &own) == 0)
		gateway = nh.gateway;
	portmap_set(t->portmap, &gateway, &own, atomic_load(&t->params.gw->wg_port));
}

// The kernel says each address and route by itself: what follows is done once it is quiet.
void tailnet_network_changed(struct tailnet *t)
{
	t->network_changed = t->networks_dirty = true;
	tn_changed(t, 0);
}

void tn_net_settled(struct tailnet *t)
{
	if (!t->network_changed)
		return;
	t->network_changed = false;
	set_portmap(t);
	if (!tn_endpoints_update(t))
		return;
	log_info("tailnet", "our addresses changed: looking at the network again");
	mesh_rebind(t->mesh);
	derp_pool_rebind(t->derp);
	portmap_refresh(t->portmap); // another router may have the address of the one before
	coord_client_update(t->coord);
	coord_client_retry(t->coord);
	if (t->active)
		tn_netcheck(t, true);
}

void tailnet_tun_lost(struct tailnet *t)
{
	tn_routes_forget(t);
	tn_routes_apply(t);
	if (t->active) { // it was bound to the one before
		peerapi_close(t->peerapi);
		tn_peerapi_settle(t);
		tn_changed(t, 0);
	}
}

int tn_net_create(struct tailnet *t)
{
	struct event_base *base = t->params.base;
	const struct mesh_env mesh = {
		.arg = t,
		.now_ns = tn_now_ns,
		.send = send_from,
		.derp_send = mesh_to_derp,
		.route = on_route,
		.last_tx_ns = last_tx_ns,
		.last_rx_ns = last_rx_ns,
		.sent = sent,
		.link_mtu = link_mtu,
		.endpoints = tn_endpoints,
		.endpoints_fresh = tn_endpoints_fresh,
		.nat = mesh_nat,
		.open_ports = open_ports,
		.close_ports = close_ports,
	};
	const struct derp_pool_env derp = {
		.arg = t,
		.packet = on_derp_packet,
		.gone = on_derp_gone,
		.changed = on_derp_changed,
		.now_ns = tn_now_ns,
	};
	const struct netcheck_io io = {
		.arg = t,
		.send = send_udp,
		.resolve = tn_resolve,
		.https = tn_https,
		.icmp = tn_icmp,
		.captive = tn_captive,
		.random = fill_random,
		.done = on_report,
	};
	const struct portmap_env portmap = {.arg = t, .now_ns = tn_now_ns, .changed = on_portmap};
	t->netcheck_event = event_new(base, -1, 0, on_netcheck_tick, t);
	t->mesh = mesh_create(base, &mesh);
	t->derp = derp_pool_create(base, t->net, &derp);
	t->netcheck = netcheck_create(&io);
	t->portmap = portmap_create(base, &portmap);
	if (!t->netcheck_event || !t->mesh || !t->derp || !t->netcheck || !t->portmap)
		return -ENOMEM;
	mesh_set_birthday(t->mesh, &t->params.birthday);
	mesh_set_node_key(t->mesh, &t->node_key);
	if (!key_is_zero(&t->node_key))
		derp_pool_set_key(t->derp, &t->node_private);
	set_portmap(t);
	tn_endpoints_update(t);
	return 0;
}

void tn_net_destroy(struct tailnet *t)
{
	tn_probes_end(t);
	tn_echo_end(t);
	portmap_destroy(t->portmap);
	netcheck_destroy(t->netcheck);
	derp_pool_destroy(t->derp);
	mesh_destroy(t->mesh);
	if (t->netcheck_event)
		event_free(t->netcheck_event);
}
