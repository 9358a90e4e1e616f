// What status, metrics and doctor ask: one peer, DERP regions, health.
#include <errno.h>
#include <stdio.h>

#include "control/tailnet/priv.h"

const struct coord_status *tailnet_coord(const struct tailnet *t)
{
	return coord_client_status(t->coord);
}

const struct key *tailnet_node_key(const struct tailnet *t)
{
	return &t->node_key;
}

bool tailnet_has_node_key(const struct tailnet *t)
{
	return !key_is_zero(&t->node_key);
}

const char *tailnet_region_code(const struct tailnet *t, uint32_t region)
{
	const struct nm_derp_map *m = &t->netmap->derp;
	for (uint32_t i = 0; i < m->n_regions; i++) {
		if (m->regions[i].id == region)
			return m->regions[i].code ? m->regions[i].code : "";
	}
	return "";
}

uint64_t tailnet_mesh_counter(const struct tailnet *t, enum mesh_counter c)
{
	return mesh_counter(t->mesh, c);
}

bool tailnet_derp_info(const struct tailnet *t, uint32_t region, struct derp_region_info *out)
{
	return derp_pool_region(t->derp, (uint16_t)region, out);
}

static uint64_t tsc_to_unix(const struct tailnet *t, uint64_t tsc)
{
	return tn_unix_of(t, (uint64_t)((double)tsc / t->params.gw->tsc_per_ns));
}

bool tailnet_peer_info(
	const struct tailnet *t, const struct nm_peer *peer, struct tailnet_peer_info *out)
{
	struct wg_peer_info w;
	struct mesh_peer_info m;
	*out = (struct tailnet_peer_info){.derp_region = (uint16_t)peer->node->home_derp};
	if (wg_peer_info(t->params.wg, &peer->node->key, &w) < 0 ||
		mesh_peer_info(t->mesh, &peer->node->key, &m) < 0)
		return false;
	if (m.trusted) {
		out->direct = m.route.udp;
		out->relay_vni = m.route.vni;
		out->latency_ns = m.latency_ns;
	}
	out->active = m.in_session;
	out->mtu = w.mtu;
	out->mtu_probed = w.probed;
	out->rx_bytes = w.rx_wire_bytes;
	out->tx_bytes = w.tx_wire_bytes;
	out->rx_packets = w.rx_packets;
	out->tx_packets = w.tx_packets;
	out->handshake_unix_ns = w.handshake_unix_ns;
	out->last_write_unix_ns = tsc_to_unix(t, atomic_load(&w.peer->last_tx));
	out->candidates = m.candidates;
	out->pings_sent = (unsigned)m.pings_tx;
	out->pongs_received = (unsigned)m.pongs_rx;
	out->pongs_over_derp = (unsigned)m.pongs_derp_rx;
	out->call_me_maybes_sent = (unsigned)m.call_me_maybe_tx;
	out->call_me_maybes_received = (unsigned)m.call_me_maybe_rx;
	out->last_ping_unix_ns = tn_unix_of(t, m.last_ping_ns);
	out->last_pong_unix_ns = tn_unix_of(t, m.last_pong_ns);
	snprintf(out->why, sizeof(out->why), "%s", m.why);
	return true;
}

static void say(struct tailnet *t, unsigned *n, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void say(struct tailnet *t, unsigned *n, const char *format, ...)
{
	va_list args;
	if (*n == TN_HEALTH_MAX)
		return;
	va_start(args, format);
	vsnprintf(t->health_text[*n], TN_HEALTH_LEN, format, args);
	va_end(args);
	t->health[*n] = t->health_text[*n];
	(*n)++;
}

static void say_masqueraded(struct tailnet *t, unsigned *n)
{
	const struct nm_peer *first = NULL;
	size_t peers = netmap_masqueraded(t->netmap, &first);
	if (peers == 0)
		return;
	const char *name = first->node->name ? first->node->name : "a peer";
	say(t, n,
		"no traffic with %.*s%s: it knows this node by another address "
		"(SelfNodeV4MasqAddrForThisPeer), which is not supported; let that tailnet's node "
		"be "
		"a member of this one instead of sharing",
		(int)strcspn(name, "."), name, peers > 1 ? " and other shared nodes" : "");
}

const char *const *tailnet_health(const struct tailnet *read_only, unsigned *n)
{
	struct tailnet *t = (struct tailnet *)read_only; // the texts are its own
	const struct coord_status *c = tailnet_coord(t);
	const struct netcheck_report *r = netcheck_last(t->netcheck);
	struct derp_region_info home;
	*n = 0;
	if (c->why[0] && tn_wants_up(t))
		say(t, n, "%s", c->why);
	if (!t->active)
		return t->health;
	if (!t->home && r->unix_ns)
		say(t, n,
			"no DERP region answers: peers that cannot be reached directly cannot be "
			"reached at all; let TCP 443 out");
	if (t->home && derp_pool_region(t->derp, t->home, &home) && !home.connected)
		say(t, n, "not connected to the home DERP region %s%s%s",
			tailnet_region_code(t, t->home), home.error[0] ? ": " : "", home.error);
	if (r->unix_ns && !r->udp)
		say(t, n, "UDP is blocked: everything goes over DERP on TCP 443; let UDP %u out",
			atomic_load(&t->params.gw->wg_port));
	if (tn_services_orphan(t))
		say(t, n,
			"the server gives %s no address: define it there and approve this node as "
			"its "
			"host; headscale has no services",
			tn_services_orphan(t));
	if (t->netmap->clock_offset_s > 60 || t->netmap->clock_offset_s < -60)
		say(t, n, "the clock is %lld s off the server's: set it, keys expire by it",
			(long long)-t->netmap->clock_offset_s);
	say_masqueraded(t, n);
	return t->health;
}
