// What must not move a path: forged, misplaced, replayed and endless disco.
#include "tests/unit/mesh_net.h"

static struct net *net;
static struct host *us, *peer, *mallory; // mallory is a peer, too

static int setup(void **)
{
	net = net_create();
	us = net_add(net, "192.0.2.1", NULL, NAT_NONE, 1);
	peer = net_add(net, "192.0.2.2", NULL, NAT_NONE, 2);
	mallory = net_add(net, "192.0.2.66", NULL, NAT_NONE, 3);
	net_join(us, peer);
	net_join(us, mallory);
	return 0;
}

static int teardown(void **)
{
	net_destroy(net);
	return 0;
}

enum way {
	UDP,
	RELAY,
	RELAY_CONTROL,
	DERP, // from the peer
	DERP_MALLORY,
	DERP_UNKNOWN,
};

enum seal {
	GOOD,
	BY_MALLORY, // under the peer's key
	TO_MALLORY, // not for us
	UNKNOWN_KEY,
	ZERO_KEY,
	OWN_KEY, // as if we had said it
	FLIPPED, // its last bit
	SHORT,
	REFLECTED, // our own, under the peer's key
};

static const struct {
	const char *name;
	enum way way;
	enum disco_type type;
	enum seal seal;
	enum mesh_counter counter;
	unsigned answers;
} cases[] = {
	{"ping", UDP, DISCO_PING, GOOD, MESH_COUNTER_DISCO_RX, 1},
	{"ping through a relay", RELAY, DISCO_PING, GOOD, MESH_COUNTER_DISCO_RX, 1},
	{"ping over DERP", DERP, DISCO_PING, GOOD, MESH_COUNTER_DISCO_RX, 1},
	{"call-me-maybe", DERP, DISCO_CALL_ME_MAYBE, GOOD, MESH_COUNTER_DISCO_RX, 2},
	{"ping by another", UDP, DISCO_PING, BY_MALLORY, MESH_COUNTER_DISCO_FORGED, 0},
	{"ping for another", UDP, DISCO_PING, TO_MALLORY, MESH_COUNTER_DISCO_FORGED, 0},
	{"ping of an unknown key", UDP, DISCO_PING, UNKNOWN_KEY, MESH_COUNTER_DISCO_UNKNOWN, 0},
	{"ping of the zero key", UDP, DISCO_PING, ZERO_KEY, MESH_COUNTER_DISCO_FORGED, 0},
	{"ping of our own key", UDP, DISCO_PING, OWN_KEY, MESH_COUNTER_DISCO_UNKNOWN, 0},
	{"ping, altered", UDP, DISCO_PING, FLIPPED, MESH_COUNTER_DISCO_FORGED, 0},
	{"ping, cut", UDP, DISCO_PING, SHORT, MESH_COUNTER_DISCO_FORGED, 0},
	{"our ping, sent back", UDP, DISCO_PING, REFLECTED, MESH_COUNTER_DISCO_FORGED, 0},
	{"the same through a relay", RELAY, DISCO_PING, REFLECTED, MESH_COUNTER_DISCO_FORGED, 0},
	{"the same over DERP", DERP, DISCO_PING, REFLECTED, MESH_COUNTER_DISCO_FORGED, 0},
	{"ping over DERP from another node", DERP_MALLORY, DISCO_PING, GOOD,
		MESH_COUNTER_DISCO_MISPLACED, 0},
	{"ping over DERP from nobody", DERP_UNKNOWN, DISCO_PING, GOOD, MESH_COUNTER_DISCO_UNKNOWN,
		0},
	{"ping to a relay itself", RELAY_CONTROL, DISCO_PING, GOOD, MESH_COUNTER_DISCO_MISPLACED,
		0},
	{"ping by another through a relay", RELAY, DISCO_PING, BY_MALLORY,
		MESH_COUNTER_DISCO_FORGED, 0},
	{"pong to no ping", UDP, DISCO_PONG, GOOD, MESH_COUNTER_DISCO_UNASKED, 0},
	{"pong to no ping, relay", RELAY, DISCO_PONG, GOOD, MESH_COUNTER_DISCO_UNASKED, 0},
	{"pong to no ping, DERP", DERP, DISCO_PONG, GOOD, MESH_COUNTER_DISCO_UNASKED, 0},
	{"call-me-maybe over UDP", UDP, DISCO_CALL_ME_MAYBE, GOOD, MESH_COUNTER_DISCO_MISPLACED, 0},
	{"call-me-maybe through a relay", RELAY, DISCO_CALL_ME_MAYBE, GOOD,
		MESH_COUNTER_DISCO_MISPLACED, 0},
	{"call-me-maybe from another node", DERP_MALLORY, DISCO_CALL_ME_MAYBE, GOOD,
		MESH_COUNTER_DISCO_MISPLACED, 0},
	{"call-me-maybe by another node", DERP, DISCO_CALL_ME_MAYBE, BY_MALLORY,
		MESH_COUNTER_DISCO_FORGED, 0},
	{"call-me-maybe of nobody", DERP_UNKNOWN, DISCO_CALL_ME_MAYBE, GOOD,
		MESH_COUNTER_DISCO_UNKNOWN, 0},
	{"via over UDP", UDP, DISCO_CALL_ME_MAYBE_VIA, GOOD, MESH_COUNTER_DISCO_MISPLACED, 0},
	{"via from another node", DERP_MALLORY, DISCO_CALL_ME_MAYBE_VIA, GOOD,
		MESH_COUNTER_DISCO_MISPLACED, 0},
	{"via of other clients", DERP, DISCO_CALL_ME_MAYBE_VIA, GOOD, MESH_COUNTER_DISCO_FORGED, 0},
	{"request to us", DERP, DISCO_ALLOCATE_REQUEST, GOOD, MESH_COUNTER_DISCO_MISPLACED, 0},
	{"request over UDP", UDP, DISCO_ALLOCATE_REQUEST, GOOD, MESH_COUNTER_DISCO_MISPLACED, 0},
	{"response to no request", DERP, DISCO_ALLOCATE_RESPONSE, GOOD, MESH_COUNTER_DISCO_UNASKED,
		0},
	{"response over UDP", UDP, DISCO_ALLOCATE_RESPONSE, GOOD, MESH_COUNTER_DISCO_MISPLACED, 0},
	{"bind to us", UDP, DISCO_BIND, GOOD, MESH_COUNTER_DISCO_MISPLACED, 0},
	{"challenge without handshake", RELAY_CONTROL, DISCO_CHALLENGE, GOOD,
		MESH_COUNTER_DISCO_MISPLACED, 0},
	{"challenge as data", RELAY, DISCO_CHALLENGE, GOOD, MESH_COUNTER_DISCO_MISPLACED, 0},
	{"answer over DERP", DERP, DISCO_ANSWER, GOOD, MESH_COUNTER_DISCO_MISPLACED, 0},
};

static struct disco_message message_of(enum disco_type type)
{
	struct disco_message m = {.type = type};

	switch (type) {
	case DISCO_PING:
		randombytes_buf(m.ping.txid, sizeof(m.ping.txid));
		m.ping.node_key = peer->node;
		return m;
	case DISCO_CALL_ME_MAYBE_VIA:
	case DISCO_ALLOCATE_RESPONSE:
		m.allocate.relay.vni = 7;
		m.allocate.relay.bind_lifetime_ns = INT64_MAX;
		m.allocate.relay.server_key = *mesh_disco_key(mallory->mesh);
		m.n_endpoints = 1;
		m.endpoints[0] = mallory->local;
		return m;
	case DISCO_CALL_ME_MAYBE: // beside what the netmap says
		m.n_endpoints = 1;
		m.endpoints[0] = endpoint_of("192.0.2.77:7");
		return m;
	default:
		return m;
	}
}

static size_t seal_case(enum seal seal, const struct disco_message *m, uint8_t *out)
{
	const struct key *self = mesh_disco_key(us->mesh), *key = mesh_disco_key(peer->mesh);
	const struct key *private = &peer->mesh->self.disco_private;
	const struct key *evil = &mallory->mesh->self.disco_private;
	struct disco_message own = *m;
	size_t len;

	switch (seal) {
	case GOOD:
		return seal_as(private, self, key, m, out);
	case BY_MALLORY:
		return seal_as(evil, self, key, m, out);
	case TO_MALLORY:
		return seal_as(private, mesh_disco_key(mallory->mesh), key, m, out);
	case UNKNOWN_KEY:
		return seal_as(private, self, &(struct key){{5}}, m, out);
	case ZERO_KEY:
		return seal_as(private, self, &(struct key){}, m, out);
	case OWN_KEY:
		return seal_as(private, self, self, m, out);
	case REFLECTED:
		own.ping.node_key = us->node;
		return seal_as(&us->mesh->self.disco_private, key, key, &own, out);
	case FLIPPED:
		len = seal_as(private, self, key, m, out);
		out[len - 1] ^= 1;
		return len;
	case SHORT:
		return seal_as(private, self, key, m, out) - 1;
	}
	return 0;
}

static void input(enum way way, const uint8_t *packet, size_t len)
{
	uint8_t datagram[MESH_DATAGRAM_MAX];
	const struct geneve_header header =
		geneve_header_of(GENEVE_PROTOCOL_DISCO, 7, way == RELAY_CONTROL);
	const struct key unknown = {{77}};
	const struct key *from = way == DERP	       ? &peer->node
				 : way == DERP_MALLORY ? &mallory->node
						       : &unknown;
	const bool geneve = way == RELAY || way == RELAY_CONTROL;
	const size_t before = geneve ? sizeof(header) : 0;

	memcpy(datagram, &header, sizeof(header));
	memcpy(datagram + before, packet, len);
	uint8_t *copy = exact_copy(datagram, before + len);
	if (way == UDP || geneve)
		mesh_input(us->mesh, &peer->local, 0, copy, before + len);
	else
		assert_true(mesh_derp_input(us->mesh, 2, from, copy, before + len));
	free(copy);
}

static unsigned sent(void)
{
	return us->udp_tx + us->derp_tx;
}

static void test_cases(void **)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t packet[DISCO_PACKET_MAX];

		print_message("%s\n", cases[i].name);
		setup(NULL);
		const struct disco_message m = message_of(cases[i].type);
		input(cases[i].way, packet, seal_case(cases[i].seal, &m, packet));
		assert_int_equal(mesh_counter(us->mesh, cases[i].counter), 1);
		assert_int_equal(sent(), cases[i].answers);
		assert_route(us, peer, "derp");
		assert_int_equal(us->mesh->n_binds, 0);
		if (cases[i].counter == MESH_COUNTER_DISCO_UNKNOWN)
			assert_int_equal(us->mesh->n_boxes, 0); // no cryptography
		teardown(NULL);
	}
}

static void test_not_disco(void **)
{
	static const uint8_t stun[20] = {0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42};
	static const uint8_t wireguard[WIREGUARD_LEN] = {4};
	uint8_t geneve[GENEVE_HEADER_LEN + DISCO_HEADER_LEN] = {0, 0, 0x7a, 0x11, 0, 0, 7, 0};

	memcpy(geneve + GENEVE_HEADER_LEN, DISCO_MAGIC, DISCO_MAGIC_LEN);
	assert_true(mesh_derp_input(us->mesh, 1, &peer->node, stun, sizeof(stun)));
	assert_true(mesh_derp_input(us->mesh, 1, &peer->node, geneve, sizeof(geneve)));
	assert_int_equal(mesh_counter(us->mesh, MESH_COUNTER_DISCO_MISPLACED), 2);
	assert_true(mesh_derp_input(us->mesh, 0, &peer->node, wireguard, WIREGUARD_LEN));
	assert_true(mesh_derp_input(us->mesh, 1, &(struct key){{77}}, wireguard, WIREGUARD_LEN));
	assert_false(mesh_derp_input(us->mesh, 1, &peer->node, wireguard, WIREGUARD_LEN));
	assert_false(mesh_derp_input(us->mesh, 1, &peer->node, wireguard, 0));
	mesh_input(us->mesh, &peer->local, 0, wireguard, WIREGUARD_LEN);
	mesh_input(us->mesh, &peer->local, 0, wireguard, 0);
	assert_int_equal(mesh_counter(us->mesh, MESH_COUNTER_DISCO_FORGED), 2);
	assert_int_equal(sent(), 0);
}

// --- Pings that came before.

static void test_replayed_ping(void **)
{
	uint8_t packet[DISCO_PACKET_MAX];
	const struct disco_message m = message_of(DISCO_PING);
	const size_t len = seal_case(GOOD, &m, packet);

	input(UDP, packet, len);
	input(UDP, packet, len);
	assert_int_equal(us->udp_tx, 1);
	assert_int_equal(mesh_counter(us->mesh, MESH_COUNTER_DISCO_REPEATED), 1);
	// From elsewhere it gets an answer there, which only the peer can read, and a try at most.
	mesh_input(us->mesh, &mallory->local, 0, packet, len);
	assert_int_equal(us->udp_tx, 2);
	host_stream(us, peer, 1000, 100);
	assert_endpoint(&host_route_to(us, peer)->udp, "192.0.2.2:41641");
}

// --- Pongs.

static struct flight caught;
static uint8_t caught_bytes[MESH_DATAGRAM_MAX];

// Our first ping does not arrive.
static bool catch_ping(struct net *, const struct flight *f)
{
	if (caught.len)
		return true;
	caught = *f;
	memcpy(caught_bytes, f->data, f->len);
	return false;
}

static struct disco_message caught_message(void)
{
	struct disco_message m;
	struct box box;

	assert_int_equal(box_init(&box, peer->mesh->self.disco_private.bytes,
				 mesh_disco_key(us->mesh)->bytes),
		0);
	assert_int_equal(disco_open(&box, caught_bytes, caught.len, &m), 0);
	return m;
}

static struct disco_message ping_lost(void)
{
	caught = (struct flight){0};
	net->tap = catch_ping;
	host_data(us, peer);
	assert_true(caught.len > 0);
	return caught_message();
}

static void test_pong_from_elsewhere(void **)
{
	struct disco_message m = ping_lost();
	uint8_t packet[DISCO_PACKET_MAX];

	assert_int_equal(m.type, DISCO_PING);
	m.type = DISCO_PONG;
	m.pong.src = mallory->local;
	// By another peer: not its ping.
	size_t len = seal_from(mallory, us, &m, packet);
	mesh_input(us->mesh, &caught.to, 0, packet, len);
	assert_route(us, peer, "derp");
	assert_route(us, mallory, "derp");
	assert_int_equal(mesh_counter(us->mesh, MESH_COUNTER_DISCO_UNASKED), 1);
	// Over DERP it proves nothing of UDP.
	len = seal_from(peer, us, &m, packet);
	assert_true(mesh_derp_input(us->mesh, 2, &peer->node, packet, len));
	assert_route(us, peer, "derp");
	assert_int_equal(mesh_counter(us->mesh, MESH_COUNTER_DISCO_UNASKED), 2);
	// From another address: what was pinged gets the credit.
	mesh_input(us->mesh, &mallory->local, 0, packet, len);
	assert_endpoint(&host_route_to(us, peer)->udp, "192.0.2.2:41641");
	// Once.
	mesh_input(us->mesh, &mallory->local, 0, packet, len);
	assert_int_equal(mesh_counter(us->mesh, MESH_COUNTER_DISCO_UNASKED), 3);
}

static void test_pong_too_late(void **)
{
	struct disco_message m = ping_lost();
	uint8_t packet[DISCO_PACKET_MAX];

	peer->nat = NAT_BLOCKED;
	m.type = DISCO_PONG;
	const size_t len = seal_from(peer, us, &m, packet);
	net_run(net, PATH_PING_TIMEOUT_MS + MESH_TICK_MIN_MS);
	mesh_input(us->mesh, &peer->local, 0, packet, len);
	assert_route(us, peer, "derp");
}

// Between two keys the box is the same both ways: under the peer's name our ping opens, and the
// pong to it would be a pong of the peer.
static void test_reflected_ping(void **)
{
	ping_lost();
	memcpy(caught_bytes + DISCO_MAGIC_LEN, mesh_disco_key(peer->mesh)->bytes, KEY_LEN);
	const unsigned before = sent();
	mesh_input(us->mesh, &mallory->local, 0, caught_bytes, caught.len);
	assert_int_equal(sent(), before);
	assert_int_equal(mesh_counter(us->mesh, MESH_COUNTER_DISCO_FORGED), 1);
}

// --- Two nodes with one disco key.

static struct key second = {{22}};

static void add_second(void)
{
	struct endpoint room[2];
	struct nm_node n = net_node(peer, room);

	n.key = second;
	assert_int_equal(mesh_peer_set(us->mesh, &n), 0);
}

static void test_shared_disco_key(void **)
{
	static const struct {
		const char *name;
		bool tells_first, tells_second, tells_mallory, derp;
		bool to_first, to_second;
	} shared[] = {
		{"who it is", true, false, false, false, true, false},
		{"who it is, the other", false, true, false, false, false, true},
		{"nobody", false, false, false, false, false, false},
		{"a node of another key", false, false, true, false, false, false},
		{"DERP knows", false, false, false, true, true, false},
		{"DERP knows better", false, true, false, true, true, false},
	};

	for (size_t i = 0; i < sizeof(shared) / sizeof(shared[0]); i++) {
		uint8_t packet[DISCO_PACKET_MAX];

		print_message("%s\n", shared[i].name);
		setup(NULL);
		add_second();
		struct disco_message m = message_of(DISCO_PING);
		m.ping.node_key = shared[i].tells_first	    ? peer->node
				  : shared[i].tells_second  ? second
				  : shared[i].tells_mallory ? mallory->node
							    : (struct key){0};
		const size_t len = seal_from(peer, us, &m, packet);
		input(shared[i].derp ? DERP : UDP, packet, len);
		assert_int_equal(
			mesh_find(us->mesh, &peer->node)->active != NULL, shared[i].to_first);
		assert_int_equal(mesh_find(us->mesh, &second)->active != NULL, shared[i].to_second);
		assert_int_equal(sent(), shared[i].to_first || shared[i].to_second);
		// One goes, the key is still known.
		mesh_peer_remove(us->mesh, &peer->node);
		assert_ptr_equal(mesh_find_disco(us->mesh, mesh_disco_key(peer->mesh)),
			mesh_find(us->mesh, &second));
		teardown(NULL);
	}
}

// The pong finds the one that was pinged.
static void test_shared_disco_key_pong(void **)
{
	add_second();
	assert_int_equal(mesh_send(us->mesh, &second, (uint8_t[]){4}, 1, false), 0);
	net_run(net, 2 * NET_UDP_MS);
	assert_true(peer_path_trusted(mesh_find(us->mesh, &second)->active->path, net->now_ns));
	assert_null(mesh_find(us->mesh, &peer->node)->active);
}

// --- Floods.

static void test_ping_flood(void **)
{
	enum { FLOOD = 5000 };
	uint8_t packet[DISCO_PACKET_MAX];

	for (unsigned i = 0; i < FLOOD; i++) {
		const struct disco_message m = message_of(DISCO_PING);
		input(UDP, packet, seal_case(GOOD, &m, packet));
	}
	assert_int_equal(us->udp_tx, MESH_SOURCE_PER_S);
	assert_int_equal(
		mesh_counter(us->mesh, MESH_COUNTER_DISCO_LIMITED), FLOOD - MESH_SOURCE_PER_S);
	// Others are not held up.
	struct disco_message m = message_of(DISCO_PING);
	m.ping.node_key = mallory->node;
	mesh_input(us->mesh, &mallory->local, 0, packet, seal_from(mallory, us, &m, packet));
	assert_int_equal(us->udp_tx, MESH_SOURCE_PER_S + 1);
}

static void test_ping_flood_of_sources(void **)
{
	enum { FLOOD = 2000 };
	uint8_t packet[DISCO_PACKET_MAX];

	for (uint32_t i = 0; i < FLOOD; i++) {
		const struct disco_message m = message_of(DISCO_PING);
		const struct endpoint from = {ip_addr_v4(&i), (uint16_t)(i + 1)};
		mesh_input(us->mesh, &from, 0, packet, seal_from(peer, us, &m, packet));
	}
	assert_int_equal(host_info(us, peer).candidates, PATH_CANDIDATES_MAX);
	const unsigned before = us->udp_tx;
	host_data(us, peer);
	assert_true(us->udp_tx - before <= PATH_CANDIDATES_MAX);
}

static void test_call_me_maybe_flood(void **)
{
	enum { FLOOD = 100 };
	struct disco_message m = {.type = DISCO_CALL_ME_MAYBE, .n_endpoints = DISCO_ENDPOINTS_MAX};
	uint8_t packet[DISCO_PACKET_MAX];

	for (unsigned i = 0; i < FLOOD; i++) {
		for (unsigned k = 0; k < DISCO_ENDPOINTS_MAX; k++) {
			const uint32_t addr = i * 1000 + k;
			m.endpoints[k] = (struct endpoint){ip_addr_v4(&addr), 9};
		}
		input(DERP, packet, seal_from(peer, us, &m, packet));
	}
	assert_true(us->udp_tx <= MESH_CALLS_BURST * PATH_CANDIDATES_MAX);
	assert_int_equal(
		mesh_counter(us->mesh, MESH_COUNTER_DISCO_LIMITED), FLOOD - MESH_CALLS_BURST);
	assert_int_equal(us->derp_tx, 0); // no call back
}

static void test_unknown_flood(void **)
{
	uint8_t packet[DISCO_PACKET_MAX];
	const struct disco_message m = message_of(DISCO_PING);
	const size_t len = seal_case(GOOD, &m, packet);

	for (unsigned i = 1; i < 5000; i++) {
		memcpy(packet + DISCO_MAGIC_LEN, &i, sizeof(i));
		input(UDP, packet, len);
	}
	assert_int_equal(us->mesh->n_boxes, 0);
	assert_null(us->mesh->active);
	assert_int_equal(sent(), 0);
}

// Keys of low order: the secret would be known to everybody.
static void test_low_order_key(void **)
{
	const struct key low = {{1}};
	uint8_t packet[DISCO_PACKET_MAX];
	const struct disco_message m = message_of(DISCO_PING);

	mesh_peer_disco_key(us->mesh, &peer->node, &low);
	seal_case(GOOD, &m, packet);
	memcpy(packet + DISCO_MAGIC_LEN, low.bytes, KEY_LEN);
	input(UDP, packet, DISCO_PING_LEN);
	input(UDP, packet, DISCO_PING_LEN);
	assert_int_equal(mesh_counter(us->mesh, MESH_COUNTER_DISCO_FORGED), 2);
	assert_int_equal(us->mesh->n_boxes, 1); // computed once
	host_stream(us, peer, 1000, 100);
	assert_int_equal(us->udp_tx, 0);
	assert_route(us, peer, "derp");				      // WireGuard goes on over DERP
	mesh_peer_disco_key(us->mesh, &peer->node, &(struct key){0}); // no key
	assert_non_null(mesh_find_disco(us->mesh, &low));
}

static void test_removed_meanwhile(void **)
{
	struct disco_message m = ping_lost();
	uint8_t packet[DISCO_PACKET_MAX];

	m.type = DISCO_PONG;
	const size_t len = seal_from(peer, us, &m, packet);
	mesh_peer_remove(us->mesh, &peer->node);
	mesh_peer_remove(us->mesh, &peer->node);
	input(UDP, packet, len);
	assert_int_equal(mesh_counter(us->mesh, MESH_COUNTER_DISCO_UNKNOWN), 1);
	mesh_derp_gone(us->mesh, 2, &peer->node);
	mesh_peer_disco_key(us->mesh, &peer->node, mesh_disco_key(peer->mesh));
	net_run(net, 60000);
	assert_int_equal(us->mesh->n_boxes, 0);
}

// --- What real nodes said.

static void test_vectors(void **)
{
	json_t *root = vectors_load("disco.json");
	const json_t *keys = json_object_get(root, "keys"),
		     *messages = json_object_get(root, "messages");
	const json_t *alice = json_object_get(keys, "alice"), *bob = json_object_get(keys, "bob");
	const json_t *ping = vectors_named(messages, "ping"),
		     *call = vectors_named(messages, "call_me_maybe");
	uint8_t wire[DISCO_PACKET_MAX], txid[DISCO_TXID_LEN];
	struct nm_node n = {
		.key = vectors_key(json_object_get(keys, "alice_node"), "public"),
		.disco = vectors_key(alice, "public"),
	};

	us->mesh->self.disco_private = vectors_key(bob, "private");
	us->mesh->self.disco_public = vectors_key(bob, "public");
	assert_int_equal(mesh_peer_set(us->mesh, &n), 0);
	caught = (struct flight){0};
	net->tap = catch_ping;
	mesh_input(
		us->mesh, &peer->local, 0, wire, vectors_bytes(ping, "wire", wire, sizeof(wire)));
	peer->mesh->self.disco_private = vectors_key(alice, "private");
	const struct disco_message pong = caught_message();
	vectors_exact(json_object_get(ping, "fields"), "txid", txid, sizeof(txid));
	assert_int_equal(pong.type, DISCO_PONG);
	assert_memory_equal(pong.pong.txid, txid, sizeof(txid));
	assert_endpoint(&pong.pong.src, "192.0.2.2:41641");
	assert_endpoint(&caught.to, "192.0.2.2:41641");
	const unsigned before = us->udp_tx;
	assert_true(mesh_derp_input(
		us->mesh, 1, &n.key, wire, vectors_bytes(call, "wire", wire, sizeof(wire))));
	const size_t listed =
		json_array_size(json_object_get(json_object_get(call, "fields"), "endpoints"));
	assert_true(listed > 0);
	assert_int_equal(us->udp_tx - before,
		listed); // but the link-local one, and where the ping came from
	json_decref(root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test_setup_teardown(test_not_disco, setup, teardown),
		cmocka_unit_test_setup_teardown(test_replayed_ping, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pong_from_elsewhere, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pong_too_late, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reflected_ping, setup, teardown),
		cmocka_unit_test(test_shared_disco_key),
		cmocka_unit_test_setup_teardown(test_shared_disco_key_pong, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ping_flood, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ping_flood_of_sources, setup, teardown),
		cmocka_unit_test_setup_teardown(test_call_me_maybe_flood, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unknown_flood, setup, teardown),
		cmocka_unit_test_setup_teardown(test_low_order_key, setup, teardown),
		cmocka_unit_test_setup_teardown(test_removed_meanwhile, setup, teardown),
		cmocka_unit_test_setup_teardown(test_vectors, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
