// Disco that comes in: who said it, and whether that may be said over this way. What cannot be
// attributed is dropped without an answer. Rules: tailscale wgengine/magicsock/magicsock.go,
// handleDiscoMessage.
#include <errno.h>

#include "control/path/derp.h"
#include "control/path/mesh_priv.h"
#include "dataplane/wire/classify_udp.h"

// A disco packet and the way that it came: UDP, a relay (vni) or DERP (region and node).
struct inbound {
	struct endpoint from; // 127.3.3.40:region over DERP
	uint32_t vni;
	uint16_t local_port; // that it came to; 0: the WireGuard port
	uint16_t region;     // not 0: DERP, and:
	struct mesh_peer *derp_node;
	struct key sender; // disco key
	uint64_t now_ns;
	struct disco_message message;
};

static bool has_disco(const struct mesh_peer *p, const struct key *disco)
{
	return p && p->at_disco && mesh_key_equal(&p->disco, disco);
}

// Whose ping it is; a disco key may belong to several nodes. NULL: not to be told.
static struct mesh_peer *ping_peer(const struct mesh *m, const struct inbound *in)
{
	struct mesh_peer *told = mesh_find(m, &in->message.ping.node_key);
	struct mesh_peer *first = mesh_find_disco(m, &in->sender);

	if (has_disco(in->derp_node, &in->sender))
		return in->derp_node;
	if (has_disco(told, &in->sender))
		return told;
	return mesh_next_disco(first) ? NULL : first;
}

// Back the way that the ping came.
static void send_pong(struct mesh *m, const struct inbound *in)
{
	const struct path_addr to = {in->from, in->vni, in->local_port};
	struct disco_message pong = {.type = DISCO_PONG, .pong.src = in->from};

	memcpy(pong.pong.txid, in->message.ping.txid, sizeof(pong.pong.txid));
	if (!in->region) {
		mesh_disco_udp(m, &in->sender, &to, &pong, in->now_ns);
		return;
	}
	if (mesh_disco_derp(m, in->region, in->derp_node, &pong, in->now_ns))
		return; // the peer asks again
}

static void on_ping(struct mesh *m, const struct inbound *in)
{
	struct mesh_peer *p = ping_peer(m, in);

	// Our own, sent back under the peer's name: the box between two keys is the same both ways.
	// The pong to it would come back next, as proof of a path.
	if (mesh_key_equal(&in->message.ping.node_key, &m->self.node_public)) {
		mesh_count(m, MESH_COUNTER_DISCO_FORGED);
		return;
	}
	if (!p || (in->region && p != in->derp_node)) {
		mesh_count(m, MESH_COUNTER_DISCO_MISPLACED);
		return;
	}
	if (!in->vni && !in->region)
		mesh_reach_ping(m, p, &in->from, in->now_ns);
	struct mesh_active *a = mesh_activate(m, p, in->now_ns);
	const struct path_addr from = {.to = in->from, .local_port = in->local_port};
	// What comes through a relay or DERP is no way of its own.
	if (!in->vni && !in->region &&
		!peer_path_ping(a->path, &from, in->message.ping.txid, in->now_ns)) {
		mesh_count(m, MESH_COUNTER_DISCO_REPEATED);
		return;
	}
	p->stats.pings_rx++;
	send_pong(m, in);
	mesh_settle(a, in->now_ns);
}

// Which of the nodes of the disco key was pinged. A pong over DERP proves no other way.
static struct mesh_active *pong_peer(struct mesh *m, const struct inbound *in)
{
	unsigned n = 0;

	if (in->region)
		return NULL;
	for (struct mesh_peer *p = mesh_find_disco(m, &in->sender); p && n++ < MESH_SIBLINGS_MAX;
		p = mesh_next_disco(p))
		if (p->active &&
			(!peer_path_pong(p->active->path, in->message.pong.txid, in->now_ns) ||
				mesh_pmtu_pong(p->active, in->message.pong.txid, in->now_ns)))
			return p->active;
	return NULL;
}

static void on_pong(struct mesh *m, const struct inbound *in)
{
	struct mesh_active *a = pong_peer(m, in);

	if (a) {
		a->peer->stats.pongs_rx++;
		a->peer->stats.last_pong_ns = in->now_ns;
		a->used_ns = in->now_ns;
		mesh_settle(a, in->now_ns);
	}
	const struct path_addr from = {.to = in->from, .local_port = in->local_port};
	const bool asked =
		mesh_ping_pong(m, &in->sender, in->message.pong.txid, in->region, in->now_ns);
	if (asked || a)
		return;
	if (in->vni || in->region || !mesh_birthday_pong(m, &in->sender, &from, in->now_ns))
		mesh_count(m, MESH_COUNTER_DISCO_UNASKED);
}

// Each makes us ping up to PATH_CANDIDATES_MAX addresses.
static void on_call_me_maybe(struct mesh *m, const struct inbound *in)
{
	struct mesh_active *a = mesh_activate(m, in->derp_node, in->now_ns);
	struct endpoint kept[DISCO_ENDPOINTS_MAX];
	size_t n_kept;

	if (!mesh_birthday_called(a, &in->message, kept, &n_kept, in->now_ns))
		return;
	if (!mesh_paced(
		    &a->calls_tat_ns, MESH_CALL_EVERY_MS * MESH_MS, MESH_CALLS_BURST, in->now_ns)) {
		mesh_count(m, MESH_COUNTER_DISCO_LIMITED);
		return;
	}
	a->peer->stats.calls_rx++;
	peer_path_call_me_maybe(a->path, kept, n_kept, in->now_ns);
	mesh_settle(a, in->now_ns);
}

static void on_via(struct mesh *m, const struct inbound *in)
{
	if (!in->derp_node->may_relay)
		return mesh_count(m, MESH_COUNTER_DISCO_MISPLACED);
	mesh_relay_via(m, in->derp_node, &in->message, in->now_ns);
}

// Only over DERP, from the node whose current disco key has sealed it.
static void on_derp_only(struct mesh *m, const struct inbound *in)
{
	if (!in->region || !has_disco(in->derp_node, &in->sender)) {
		mesh_count(m, MESH_COUNTER_DISCO_MISPLACED);
		return;
	}
	switch (in->message.type) {
	case DISCO_CALL_ME_MAYBE:
		return on_call_me_maybe(m, in);
	case DISCO_CALL_ME_MAYBE_VIA:
		return on_via(m, in);
	case DISCO_ALLOCATE_RESPONSE:
		return mesh_relay_answer(m, in->derp_node, &in->message, in->now_ns);
	default: // we are no relay
		return mesh_count(m, MESH_COUNTER_DISCO_MISPLACED);
	}
}

static void dispatch(struct mesh *m, const struct inbound *in)
{
	switch (in->message.type) {
	case DISCO_PING:
		return on_ping(m, in);
	case DISCO_PONG:
		return on_pong(m, in);
	case DISCO_CALL_ME_MAYBE:
	case DISCO_CALL_ME_MAYBE_VIA:
	case DISCO_ALLOCATE_REQUEST:
	case DISCO_ALLOCATE_RESPONSE:
		return on_derp_only(m, in);
	case DISCO_BIND: // of and to relays' servers; see mesh_relay_input
	case DISCO_CHALLENGE:
	case DISCO_ANSWER:
		return mesh_count(m, MESH_COUNTER_DISCO_MISPLACED);
	}
}

// The sender is looked up, and its source held to its rate, before paying for cryptography.
static void take(struct mesh *m, struct inbound *in, const uint8_t *packet, size_t len)
{
	if (disco_sender(packet, len, &in->sender)) {
		mesh_count(m, MESH_COUNTER_DISCO_FORGED);
		return;
	}
	if (!mesh_find_disco(m, &in->sender)) {
		mesh_count(m, MESH_COUNTER_DISCO_UNKNOWN);
		return;
	}
	const struct key *node = in->region ? &in->derp_node->node : NULL;
	if (!mesh_source_allowed(m, node ? NULL : &in->from, node, in->now_ns)) {
		mesh_count(m, MESH_COUNTER_DISCO_LIMITED);
		return;
	}
	const struct box *box = mesh_box(m, &in->sender, in->now_ns);
	if (!box || disco_open(box, packet, len, &in->message)) {
		mesh_count(m, MESH_COUNTER_DISCO_FORGED);
		return;
	}
	mesh_count(m, MESH_COUNTER_DISCO_RX);
	dispatch(m, in);
}

static const struct geneve_header *header_of(const uint8_t *datagram)
{
	return (const struct geneve_header *)datagram;
}

void mesh_input(struct mesh *m, const struct endpoint *from, uint16_t local_port,
	const uint8_t *data, size_t len)
{
	struct inbound in = {.from = *from, .local_port = local_port, .now_ns = mesh_now(m)};

	switch (udp_classify(data, len)) {
	case UDP_DISCO:
		return take(m, &in, data, len);
	case UDP_GENEVE_DISCO:
		in.vni = geneve_vni(header_of(data));
		if (mesh_relay_input(m, from, data, len, in.now_ns))
			return;
		if (in.vni == 0 || geneve_is_control(header_of(data)))
			return mesh_count(m, MESH_COUNTER_DISCO_MISPLACED);
		return take(m, &in, data + GENEVE_HEADER_LEN, len - GENEVE_HEADER_LEN);
	default:
		return mesh_count(m, MESH_COUNTER_DISCO_FORGED);
	}
}

static void note_region(struct mesh *m, struct mesh_peer *p, uint16_t region, uint64_t now_ns)
{
	if (p->seen == region)
		return;
	p->seen = region;
	if (p->active) {
		peer_path_derp_seen(p->active->path, region);
		mesh_settle(p->active, now_ns);
	} else {
		mesh_tell_route(m, p, now_ns);
	}
}

void mesh_heard(struct mesh *m, const struct key *node, const struct endpoint *from)
{
	struct mesh_peer *p = mesh_find(m, node);
	const uint64_t now_ns = mesh_now(m);

	if (!p || !p->at_disco || !p->active)
		return;
	p->active->aside_ns = now_ns;
	peer_path_hint(p->active->path,
		&(struct path_addr){
			.to = *from, .local_port = peer_path_local_port(p->active->path, from)},
		now_ns);
	mesh_settle(p->active, now_ns);
}

bool mesh_derp_input(
	struct mesh *m, uint16_t region, const struct key *from, const uint8_t *data, size_t len)
{
	struct inbound in = {
		.from = derp_endpoint(region),
		.region = region,
		.derp_node = mesh_find(m, from),
		.now_ns = mesh_now(m),
	};

	if (!in.derp_node || region == 0) {
		mesh_count(m, MESH_COUNTER_DISCO_UNKNOWN);
		return true;
	}
	note_region(m, in.derp_node, region, in.now_ns);
	switch (udp_classify(data, len)) {
	case UDP_WIREGUARD:
		if (in.derp_node->active)
			in.derp_node->active->aside_ns = in.now_ns;
		return false;
	case UDP_DISCO:
		take(m, &in, data, len);
		return true;
	default: // nothing else goes over DERP
		mesh_count(m, MESH_COUNTER_DISCO_MISPLACED);
		return true;
	}
}
