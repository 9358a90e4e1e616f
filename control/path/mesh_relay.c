// Peer relays as their client: asking all of them for a place, binding our leg on each that answers
// or that the peer names. Rules: tailscale wgengine/magicsock/relaymanager.go.
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>

#include "control/path/mesh_priv.h"
#include "dataplane/base/mem.h"

static uint32_t next_generation(struct mesh *m)
{
	if (++m->generation == 0)
		m->generation = 1;
	return m->generation;
}

// --- Asking for a place.

static void free_request(struct mesh *m, struct mesh_request **at)
{
	struct mesh_request *r = *at;

	*at = r->next;
	free(r);
	m->n_requests--;
}

static bool is_asked(
	const struct mesh *m, const struct mesh_peer *relay, const struct mesh_peer *peer)
{
	for (const struct mesh_request *r = m->requests; r; r = r->next)
		if (r->peer == peer && mesh_key_equal(&r->relay, &relay->node))
			return true;
	return false;
}

// What is lost, the next discovery repeats.
static void send_home(struct mesh *m, const struct mesh_peer *to,
	const struct disco_message *message, uint64_t now_ns)
{
	if (mesh_disco_derp(m, mesh_region(to), to, message, now_ns))
		return;
}

static void ask(
	struct mesh *m, const struct mesh_peer *relay, struct mesh_peer *peer, uint64_t now_ns)
{
	struct disco_message message;
	struct mesh_request *r = mem_alloc(sizeof(*r));

	r->relay = relay->node;
	r->peer = peer;
	r->next = m->requests;
	m->requests = r;
	m->n_requests++;
	relay_request_start(&r->request, &m->self.disco_public, &peer->disco, next_generation(m),
		now_ns, &message);
	send_home(m, relay, &message, now_ns);
	mesh_arm(m, r->request.retry_ns, now_ns);
}

void mesh_relay_discover(struct mesh_active *a)
{
	struct mesh *m = a->mesh;
	const uint64_t now_ns = mesh_now(m);

	if (!a->peer->at_disco)
		return;
	for (size_t i = 0; i < m->n_relays && m->n_requests < MESH_REQUESTS_MAX; i++) {
		const struct mesh_peer *relay = mesh_find(m, &m->relays[i]);

		if (relay && relay != a->peer && relay->at_disco && mesh_region(relay) &&
			!is_asked(m, relay, a->peer))
			ask(m, relay, a->peer, now_ns);
	}
}

// --- Binding our leg.

static void free_bind(struct mesh *m, struct mesh_bind **at)
{
	struct mesh_bind *b = *at;

	*at = b->next;
	relay_handshake_stop(&b->handshake);
	free(b);
	m->n_binds--;
}

static void on_send(void *arg, const struct endpoint *to, const uint8_t *datagram, size_t len)
{
	struct mesh *m = arg;

	if (m->env.send(m->env.arg, 0, to, datagram, len))
		mesh_count(m, MESH_COUNTER_DISCO_TX);
}

static void on_random(void *, void *out, size_t len)
{
	randombytes_buf(out, len);
}

// A new handshake might move our leg to another address, and the relay knows one only.
static bool is_in_use(const struct mesh_peer *p, const struct disco_relay *relay, uint64_t now_ns)
{
	if (!p->active || !peer_path_trusted(p->active->path, now_ns))
		return false;
	const struct path_quality *best = peer_path_best(p->active->path);
	return best->addr.vni == relay->vni &&
	       mesh_key_equal(&best->relay_server, &relay->server_key);
}

// Whether a handshake with this record is to start; ends the one that it makes old.
static bool is_news(struct mesh *m, const struct mesh_peer *p, const struct disco_relay *relay)
{
	unsigned of_peer = 0;

	for (struct mesh_bind **at = &m->binds; *at;) {
		const struct relay_handshake *h = &(*at)->handshake;
		if ((*at)->peer == p && mesh_key_equal(&h->relay.server_key, &relay->server_key)) {
			if (!relay_supersedes(relay, &h->relay))
				return false;
			free_bind(m, at);
			continue;
		}
		of_peer += (*at)->peer == p;
		at = &(*at)->next;
	}
	if (m->n_binds < MESH_BINDS_MAX && of_peer < MESH_BINDS_PEER)
		return true;
	mesh_count(m, MESH_COUNTER_DISCO_LIMITED);
	return false;
}

static void start_bind(
	struct mesh *m, struct mesh_peer *p, const struct disco_message *via, uint64_t now_ns)
{
	const struct relay_io io = {on_send, on_random, m};

	if (is_in_use(p, &via->allocate.relay, now_ns) || !is_news(m, p, &via->allocate.relay))
		return;
	struct mesh_bind *b = mem_alloc(sizeof(*b));
	b->peer = p;
	b->next = m->binds;
	m->binds = b;
	m->n_binds++;
	if (relay_handshake_start(
		    &b->handshake, &m->self, &p->disco, via, next_generation(m), &io, now_ns)) {
		mesh_count(m, MESH_COUNTER_DISCO_FORGED);
		free_bind(m, &m->binds);
		return;
	}
	mesh_arm(m, b->handshake.end_ns, now_ns);
}

void mesh_relay_answer(struct mesh *m, const struct mesh_peer *relay,
	const struct disco_message *response, uint64_t now_ns)
{
	struct disco_message via;

	for (struct mesh_request **at = &m->requests; *at; at = &(*at)->next) {
		struct mesh_peer *p = (*at)->peer;
		if (!mesh_key_equal(&(*at)->relay, &relay->node) ||
			relay_request_answer(&(*at)->request, response, now_ns, &via))
			continue;
		free_request(m, at);
		// Even if we bind no leg: the peer may need to.
		send_home(m, p, &via, now_ns);
		start_bind(m, p, &via, now_ns);
		return;
	}
	mesh_count(m, MESH_COUNTER_DISCO_UNASKED);
}

void mesh_relay_via(
	struct mesh *m, struct mesh_peer *p, const struct disco_message *via, uint64_t now_ns)
{
	struct mesh_active *a = mesh_activate(m, p, now_ns);

	if (!mesh_paced(&a->vias_tat_ns, MESH_CALL_EVERY_MS * MESH_MS, MESH_CALLS_BURST, now_ns)) {
		mesh_count(m, MESH_COUNTER_DISCO_LIMITED);
		return;
	}
	start_bind(m, p, via, now_ns);
	mesh_settle(a, now_ns);
}

// --- What comes from relays.

static void use_relay(struct mesh *m, struct mesh_bind **at, uint64_t now_ns)
{
	struct mesh_peer *p = (*at)->peer;
	const struct relay_handshake *h = &(*at)->handshake;
	const struct path_quality quality = {
		.addr = {h->server, h->relay.vni},
		.relay_server = h->relay.server_key,
		.latency_ns = h->latency_ns,
		.mtu = PATH_MTU,
	};
	struct mesh_active *a = mesh_activate(m, p, now_ns);

	free_bind(m, at);
	p->stats.pongs_rx++;
	p->stats.last_pong_ns = now_ns;
	peer_path_relay_ready(a->path, &quality, now_ns);
	mesh_settle(a, now_ns);
}

// Servers choose the same VNI now and then: once bound, only its address counts.
static bool takes(
	const struct mesh_bind *b, const struct endpoint *from, const uint8_t *datagram, size_t len)
{
	const struct relay_handshake *h = &b->handshake;

	return relay_handshake_takes(h, datagram, len) &&
	       (h->state != RELAY_ANSWER_SENT || endpoint_equal(&h->server, from));
}

bool mesh_relay_input(struct mesh *m, const struct endpoint *from, const uint8_t *datagram,
	size_t len, uint64_t now_ns)
{
	for (struct mesh_bind **at = &m->binds; *at; at = &(*at)->next) {
		if (!takes(*at, from, datagram, len))
			continue;
		if (!mesh_source_allowed(m, from, NULL, now_ns)) {
			mesh_count(m, MESH_COUNTER_DISCO_LIMITED);
			return true;
		}
		if (relay_handshake_input(&(*at)->handshake, from, datagram, len, now_ns))
			return false;
		mesh_count(m, MESH_COUNTER_DISCO_RX);
		if ((*at)->handshake.state == RELAY_USABLE)
			use_relay(m, at, now_ns);
		return true;
	}
	return false;
}

// --- Time.

static uint64_t tick_request(struct mesh *m, struct mesh_request *r, uint64_t now_ns)
{
	const struct mesh_peer *relay = mesh_find(m, &r->relay);
	struct disco_message message;

	if (relay_request_due(&r->request, now_ns, &message) && relay && relay->at_disco)
		send_home(m, relay, &message, now_ns);
	return r->request.retry_ns ? r->request.retry_ns : r->request.end_ns;
}

uint64_t mesh_relay_tick(struct mesh *m, uint64_t now_ns)
{
	uint64_t next_ns = UINT64_MAX;

	for (struct mesh_request **at = &m->requests; *at;) {
		if (relay_request_over(&(*at)->request, now_ns)) {
			free_request(m, at);
			continue;
		}
		const uint64_t due_ns = tick_request(m, *at, now_ns);
		next_ns = due_ns < next_ns ? due_ns : next_ns;
		at = &(*at)->next;
	}
	for (struct mesh_bind **at = &m->binds; *at;) {
		struct relay_handshake *h = &(*at)->handshake;
		relay_handshake_check(h, now_ns);
		if (h->state == RELAY_OVER) {
			free_bind(m, at);
			continue;
		}
		next_ns = h->end_ns < next_ns ? h->end_ns : next_ns;
		at = &(*at)->next;
	}
	return next_ns;
}

void mesh_relay_drop(struct mesh *m, const struct mesh_peer *p)
{
	for (struct mesh_request **at = &m->requests; *at;)
		if (!p || (*at)->peer == p)
			free_request(m, at);
		else
			at = &(*at)->next;
	for (struct mesh_bind **at = &m->binds; *at;)
		if (!p || (*at)->peer == p)
			free_bind(m, at);
		else
			at = &(*at)->next;
}
