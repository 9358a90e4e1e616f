// What goes out: what the paths want done, WireGuard over any way, and the routes that are told.
#include <errno.h>
#include <event2/event.h>
#include <sodium.h>
#include <stdlib.h>

#include "control/path/mesh_priv.h"
#include "dataplane/base/mem.h"

static const uint64_t IDLE_NS = MESH_IDLE_S * UINT64_C(1000000000);

uint16_t mesh_region(const struct mesh_peer *p)
{
	return p->home ? p->home : p->seen;
}

bool mesh_may_relay(const struct mesh *m, const struct mesh_peer *p)
{
	return p->may_relay && m->n_relays > 0;
}

// --- Disco out.

bool mesh_disco_udp(struct mesh *m, const struct key *disco, const struct path_addr *to,
	const struct disco_message *message, uint64_t now_ns)
{
	uint8_t nonce[DISCO_NONCE_LEN], datagram[MESH_DATAGRAM_MAX];
	const struct box *box = mesh_box(m, disco, now_ns);
	int len;

	if (!box)
		return false;
	randombytes_buf(nonce, sizeof(nonce));
	if (to->vni)
		len = relay_seal(box, &m->self.disco_public, nonce, message, to->vni, false,
			datagram, sizeof(datagram));
	else
		len = disco_seal(
			box, &m->self.disco_public, nonce, message, datagram, sizeof(datagram));
	if (len < 0 || !m->env.send(m->env.arg, to->local_port, &to->to, datagram, (size_t)len))
		return false;
	mesh_count(m, MESH_COUNTER_DISCO_TX);
	return true;
}

// To the peer in that region; if the DERP map does not have it, where the peer was seen.
static int derp_send(
	struct mesh *m, uint16_t region, const struct mesh_peer *p, const void *data, size_t len)
{
	const int rc =
		region ? m->env.derp_send(m->env.arg, region, &p->node, data, len) : -EHOSTUNREACH;

	if (rc != -EHOSTUNREACH || p->seen == 0 || p->seen == region)
		return rc;
	return m->env.derp_send(m->env.arg, p->seen, &p->node, data, len);
}

int mesh_disco_derp(struct mesh *m, uint16_t region, const struct mesh_peer *p,
	const struct disco_message *message, uint64_t now_ns)
{
	uint8_t nonce[DISCO_NONCE_LEN], packet[DISCO_PACKET_MAX];
	const struct box *box = mesh_box(m, &p->disco, now_ns);

	if (!box)
		return -EKEYREJECTED;
	randombytes_buf(nonce, sizeof(nonce));
	const int len =
		disco_seal(box, &m->self.disco_public, nonce, message, packet, sizeof(packet));
	if (len < 0)
		return len;
	const int rc = derp_send(m, region, p, packet, (size_t)len);
	if (rc == 0)
		mesh_count(m, MESH_COUNTER_DISCO_DERP_TX);
	return rc;
}

// --- What a path wants. Nothing here may call back into it.

void mesh_ping_message(const struct mesh *m, unsigned size,
	const uint8_t txid[static DISCO_TXID_LEN], struct disco_message *out)
{
	out->type = DISCO_PING;
	out->n_endpoints = 0;
	out->ping.node_key = m->self.node_public;
	out->ping.padding = size > DISCO_PING_LEN ? (uint16_t)(size - DISCO_PING_LEN) : 0;
	memcpy(out->ping.txid, txid, sizeof(out->ping.txid));
}

static void ping(struct mesh_active *a, const struct path_action *action)
{
	struct mesh *m = a->mesh;
	struct mesh_peer *p = a->peer;
	struct disco_message message;
	const uint64_t now_ns = mesh_now(m);

	if (action->is_retry && !mesh_paced(&m->retries_tat_ns, 1000 * MESH_MS / MESH_RETRIES_PER_S,
					MESH_RETRIES_PER_S / 4, now_ns))
		return;
	mesh_ping_message(m, a->ping ? a->ping->size : 0, action->txid, &message);
	if (mesh_disco_udp(m, &p->disco, &action->addr, &message, now_ns)) {
		p->stats.pings_tx++;
		p->stats.last_ping_ns = now_ns;
		if (a->ping)
			mesh_ping_add(a->ping, action->txid, &action->addr);
		return;
	}
	// Too long a ping says nothing of the path.
	if (!a->ping && endpoint_equal(&peer_path_best(a->path)->addr.to, &action->addr.to))
		a->lost = action->addr.to;
}

void mesh_call(struct mesh_active *a, uint64_t now_ns)
{
	struct mesh *m = a->mesh;
	struct disco_message message = {.type = DISCO_CALL_ME_MAYBE};

	a->call_ns = 0;
	message.n_endpoints =
		(uint32_t)m->env.endpoints(m->env.arg, message.endpoints, DISCO_ENDPOINTS_MAX);
	message.n_endpoints += (uint32_t)mesh_birthday_guesses(a,
		message.endpoints + message.n_endpoints, DISCO_ENDPOINTS_MAX - message.n_endpoints);
	if (mesh_disco_derp(m, a->peer->home, a->peer, &message, now_ns) == 0)
		a->peer->stats.calls_tx++;
}

static void call_me_maybe(struct mesh_active *a)
{
	const uint64_t now_ns = mesh_now(a->mesh);

	if (a->attempt && !a->attempt->guessing)
		return; // it calls by itself
	if (a->call_ns || !mesh_paced(&a->calls_out_tat_ns, MESH_CALL_EVERY_MS * MESH_MS,
				  MESH_CALLS_BURST / 2, now_ns))
		return;
	a->call_ns = now_ns + MESH_CALL_WAIT_MS * MESH_MS;
	if (a->mesh->env.endpoints_fresh(a->mesh->env.arg))
		mesh_call(a, now_ns);
}

static void on_act(void *arg, const struct path_action *action)
{
	struct mesh_active *a = arg;

	switch (action->type) {
	case PATH_PING:
		return ping(a, action);
	case PATH_CALL_ME_MAYBE:
		return call_me_maybe(a);
	case PATH_DISCOVER_RELAY:
		return mesh_relay_discover(a);
	case PATH_CHANGED:
		return mesh_count(a->mesh, MESH_COUNTER_PATH_CHANGED);
	}
}

static void on_random(void *, void *out, size_t len)
{
	randombytes_buf(out, len);
}

// --- Peers in use.

void mesh_set_path_map(struct mesh_active *a, uint64_t now_ns)
{
	const struct mesh_peer *p = a->peer;

	peer_path_set_map(
		a->path, p->endpoints, p->n_endpoints, p->home, mesh_may_relay(a->mesh, p), now_ns);
}

// Compared with itself alone: that clock may be a little ahead of ours.
static uint64_t last_tx(const struct mesh_active *a)
{
	return a->mesh->env.last_tx_ns(a->mesh->env.arg, &a->peer->node);
}

struct mesh_active *mesh_activate(struct mesh *m, struct mesh_peer *p, uint64_t now_ns)
{
	struct mesh_active *a = p->active;

	if (!a) {
		a = p->active = mem_alloc(sizeof(*a));
		a->mesh = m;
		a->peer = p;
		a->next = m->active;
		a->at = &m->active;
		if (a->next)
			a->next->at = &a->next;
		m->active = a;
		a->tx_ns = last_tx(a);
		a->path = peer_path_create(&(struct path_io){on_act, on_random, a});
		peer_path_set_silent(a->path, m->silent);
		mesh_set_path_map(a, now_ns);
		peer_path_derp_seen(a->path, p->seen);
	}
	a->used_ns = now_ns;
	return a;
}

void mesh_deactivate(struct mesh_active *a)
{
	*a->at = a->next;
	if (a->next)
		a->next->at = a->at;
	a->peer->active = NULL;
	mesh_birthday_drop(a->mesh, a);
	peer_path_destroy(a->path);
	free(a);
}

static struct mesh_route route_of(const struct mesh_peer *p, uint64_t now_ns)
{
	struct mesh_route route = {0};

	if (p->wg_only) {
		route.udp = p->n_endpoints > 0 ? p->endpoints[0] : route.udp;
	} else if (!p->active) {
		route.derp = mesh_region(p) != 0;
	} else {
		const struct path_choice choice = peer_path_choice(p->active->path, now_ns);
		route.udp = choice.udp.to;
		route.local_port = choice.udp.local_port;
		route.vni = choice.udp.vni;
		route.mtu = mesh_pmtu(p->active, &choice.udp);
		route.derp = choice.derp_region != 0;
	}
	return route;
}

static bool same_route(const struct mesh_route *a, const struct mesh_route *b)
{
	return endpoint_equal(&a->udp, &b->udp) && a->local_port == b->local_port &&
	       a->vni == b->vni && a->derp == b->derp && a->mtu == b->mtu;
}

void mesh_tell_route(struct mesh *m, struct mesh_peer *p, uint64_t now_ns)
{
	const struct mesh_route route = route_of(p, now_ns);

	if (same_route(&route, &p->told))
		return;
	p->told = route;
	m->env.route(m->env.arg, &p->node, &route);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

void mesh_settle(struct mesh_active *a, uint64_t now_ns)
{
	if (a->lost.port) {
		peer_path_lost(a->path, &a->lost);
		a->lost.port = 0;
	}
	mesh_pmtu_step(a, now_ns);
	mesh_tell_route(a->mesh, a->peer, now_ns);
	a->next_ns = earlier(peer_path_next_ns(a->path), a->used_ns + IDLE_NS);
	a->next_ns = earlier(a->next_ns, mesh_birthday_next_ns(a));
	a->next_ns = earlier(a->next_ns, mesh_pmtu_next_ns(a, now_ns));
	if (a->call_ns)
		a->next_ns = earlier(a->next_ns, a->call_ns);
	// What goes over DERP comes through mesh_send. Of the rest only the worker knows; and its
	// trust lapses.
	if (a->peer->told.udp.port && !a->peer->told.derp)
		a->next_ns = earlier(a->next_ns, now_ns + MESH_LOOK_MS * MESH_MS);
	mesh_arm(a->mesh, a->next_ns, now_ns);
}

void mesh_note_traffic(struct mesh_active *a, uint64_t now_ns)
{
	struct path_choice choice;

	a->used_ns = now_ns;
	a->sent_ns = now_ns;
	if (a->told_ns && now_ns - a->told_ns < MESH_SEND_MS * MESH_MS)
		return;
	a->told_ns = now_ns;
	if (!a->indirect_ns)
		a->indirect_ns = now_ns; // mesh_birthday_look sees whether it is
	// Where it goes, or that it goes nowhere, is the caller's affair.
	if (peer_path_send(a->path, now_ns, &choice))
		return;
}

// --- Time.

void mesh_arm(struct mesh *m, uint64_t at_ns, uint64_t now_ns)
{
	if (at_ns >= m->timer_ns)
		return;
	m->timer_ns = at_ns;
	const uint64_t wait_us = at_ns > now_ns ? (at_ns - now_ns) / 1000 + 1 : 0;
	const struct timeval wait = {
		.tv_sec = (time_t)(wait_us / 1000000),
		.tv_usec = (suseconds_t)(wait_us % 1000000),
	};
	evtimer_add(m->timer, &wait);
}

// Without heartbeats. What came over DERP or from elsewhere counts as if it was all that came.
static void look_at_rx(struct mesh_active *a, uint64_t now_ns)
{
	const uint64_t rx = a->mesh->env.last_rx_ns(a->mesh->env.arg, &a->peer->node);

	if (rx <= a->rx_ns)
		return;
	a->rx_ns = rx;
	if (!a->aside_ns || now_ns - a->aside_ns > MESH_ASIDE_MS * MESH_MS)
		peer_path_heard(a->path, now_ns);
}

static void tick_active(struct mesh_active *a, uint64_t now_ns)
{
	const uint64_t tx = last_tx(a);

	if (a->mesh->silent)
		look_at_rx(a, now_ns);
	if (tx > a->tx_ns) {
		a->tx_ns = tx;
		mesh_note_traffic(a, now_ns);
		mesh_pmtu_traffic(a, now_ns);
	}
	peer_path_tick(a->path, now_ns);
	if (a->call_ns && now_ns >= a->call_ns)
		mesh_call(a, now_ns);
	mesh_birthday_look(a, now_ns);
	mesh_settle(a, now_ns);
}

static void tick_boxes(struct mesh *m, uint64_t now_ns)
{
	if (now_ns - m->boxes_aged_ns >= IDLE_NS) {
		mesh_forget_boxes(m, m->boxes_aged_ns);
		m->boxes_aged_ns = now_ns;
	}
	if (m->n_boxes > 0)
		mesh_arm(m, m->boxes_aged_ns + IDLE_NS, now_ns);
}

void mesh_tick(struct mesh *m)
{
	const uint64_t now_ns = mesh_now(m), soon_ns = now_ns + MESH_TICK_MIN_MS * MESH_MS;
	uint64_t next_ns = UINT64_MAX;

	m->timer_ns = 0; // nothing is armed meanwhile
	for (struct mesh_active *a = m->active, *next; a; a = next) {
		next = a->next;
		if (now_ns - a->used_ns >= IDLE_NS) {
			struct mesh_peer *p = a->peer;
			mesh_deactivate(a);
			mesh_tell_route(m, p, now_ns);
			continue;
		}
		if (a->next_ns <= now_ns)
			tick_active(a, now_ns);
		next_ns = earlier(next_ns, a->next_ns);
	}
	next_ns = earlier(next_ns, mesh_relay_tick(m, now_ns));
	next_ns = earlier(next_ns, mesh_birthday_tick(m, now_ns));
	m->timer_ns = UINT64_MAX;
	mesh_arm(m, next_ns > soon_ns ? next_ns : soon_ns, now_ns);
	tick_boxes(m, now_ns);
	mesh_arm(m, mesh_ping_tick(m, now_ns), now_ns);
	mesh_arm(m, mesh_reach_tick(m, now_ns), now_ns);
}

void mesh_endpoints_ready(struct mesh *m)
{
	const uint64_t now_ns = mesh_now(m);

	for (struct mesh_active *a = m->active; a; a = a->next)
		if (a->call_ns)
			mesh_call(a, now_ns);
}

// --- WireGuard out.

static bool send_udp(struct mesh *m, const struct mesh_route *route, const void *data, size_t len)
{
	const struct geneve_header header =
		geneve_header_of(GENEVE_PROTOCOL_WIREGUARD, route->vni, false);
	uint8_t datagram[MESH_DATAGRAM_MAX];

	if (route->udp.port == 0)
		return false;
	if (route->vni == 0)
		return m->env.send(m->env.arg, route->local_port, &route->udp, data, len);
	if (len > sizeof(datagram) - sizeof(header))
		return false;
	memcpy(datagram, &header, sizeof(header));
	memcpy(datagram + sizeof(header), data, len);
	return m->env.send(m->env.arg, 0, &route->udp, datagram, len + sizeof(header));
}

int mesh_send(struct mesh *m, const struct key *node, const void *data, size_t len, bool also_udp)
{
	struct mesh_peer *p = mesh_find(m, node);
	const uint64_t now_ns = mesh_now(m);
	bool sent = false;

	if (!p)
		return -ENOENT;
	if (!p->wg_only) {
		struct mesh_active *a = mesh_activate(m, p, now_ns);
		mesh_note_traffic(a, now_ns);
		mesh_settle(a, now_ns);
	}
	if (also_udp || mesh_region(p) == 0 || p->wg_only)
		sent = send_udp(m, &p->told, data, len);
	if (p->wg_only || mesh_region(p) == 0)
		return sent ? 0 : -EHOSTUNREACH;
	// A worker's copy goes to DERP even if a pong came meanwhile: it may be the only one.
	if (also_udp && sent && !p->told.derp)
		return 0;
	const int rc = derp_send(m, mesh_region(p), p, data, len);
	return sent ? 0 : rc;
}
