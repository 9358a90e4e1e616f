// Peer relays between two hosts that no direct path joins.
#include "tests/unit/mesh_relay.h"

static struct net *net;
static struct host *a, *b;

static int setup(void **)
{
	net = net_create();
	a = net_add(net, "10.0.0.1", "192.0.2.1", NAT_HARD, 1);
	b = net_add(net, "10.0.1.1", "192.0.2.2", NAT_HARD, 2);
	net_join(a, b);
	net_add_relay(net);
	host_learn_relay(a);
	return 0;
}

static int teardown(void **)
{
	net_destroy(net);
	return 0;
}

// Only the one that sends knows a relay.
static void test_relay(void **)
{
	host_stream(a, b, 1000, 100);
	assert_route(a, b, "relay");
	assert_int_equal(host_route_to(a, b)->vni, RELAY_VNI);
	assert_endpoint(&host_route_to(a, b)->udp, "192.0.2.99:40000");
	assert_int_equal(place.requests, 1);
	assert_int_equal(a->mesh->n_requests, 0);
	const unsigned before = b->wireguard_udp;
	host_stream(a, b, 1000, 100);
	assert_in_range(b->wireguard_udp - before, 9, 11);
	assert_endpoint(&b->last_wireguard_from, "192.0.2.99:40000");
	host_stream(b, a, 1000, 100);
	assert_route(b, a, "relay");
	const struct mesh_peer_info info = host_info(a, b);
	assert_non_null(strstr(info.why, "peer relay: 192.0.2.99:40000 vni 7 answered"));
	assert_true(info.trusted);
	// Also what the control thread sends.
	const unsigned udp = b->wireguard_udp;
	assert_int_equal(mesh_send(a->mesh, &b->node, (uint8_t[148]){1}, 148, true), 0);
	net_run(net, 10);
	assert_int_equal(b->wireguard_udp, udp + 1);
}

static void test_kept_alive_and_renewed(void **)
{
	host_stream(a, b, 1000, 100);
	const unsigned requests = place.requests;
	host_stream(a, b, 30000, 100);
	assert_route(a, b, "relay");
	assert_int_equal(place.requests, requests); // once a minute
	host_stream(a, b, 60000, 100);
	assert_route(a, b, "relay");
	assert_true(place.requests > requests);
	assert_int_equal(a->mesh->n_binds, 0); // a trusted path is not bound again
}

static void test_relay_dies(void **)
{
	host_stream(a, b, 1000, 100);
	net->relay.datagram = NULL;
	host_stream(a, b, 15000, 100);
	assert_route(a, b, "derp");
	net->relay.datagram = relay_datagram;
	place.legs[0].addr.port = place.legs[1].addr.port = 0;
	host_stream(a, b, PATH_DISCOVER_RELAY_MS + 2000, 100);
	assert_route(a, b, "relay");
}

static void test_silent_relay(void **)
{
	place.silent = true;
	host_stream(a, b, 1000, 100);
	assert_int_equal(place.requests, 1);
	assert_int_equal(a->mesh->n_requests, 1);
	net_run(net, RELAY_REQUEST_RETRY_S * 1000);
	assert_int_equal(place.requests, 2); // repeated once
	net_run(net, RELAY_REQUEST_END_S * 1000);
	assert_int_equal(place.requests, 2);
	assert_int_equal(a->mesh->n_requests, 0);
	assert_route(a, b, "derp");
}

static void test_not_for_old_peers(void **)
{
	struct endpoint room[2];
	struct nm_node n = net_node(b, room);

	n.cap = 120;
	assert_int_equal(mesh_peer_set(a->mesh, &n), 0);
	host_stream(a, b, 1000, 100);
	assert_int_equal(place.requests, 0);
}

static void test_relay_is_the_peer(void **)
{
	assert_int_equal(mesh_send(a->mesh, &net->relay.node, (uint8_t[32]){4}, 32, false), 0);
	net_run(net, 1000);
	assert_int_equal(place.requests, 0); // it needs no place on itself
	mesh_set_relays(a->mesh, NULL, 0);
	host_stream(a, b, 1000, 100);
	assert_int_equal(place.requests, 0);
}

// --- Forged and stale messages. Each is said at a moment of the handshake and must change nothing.

static struct disco_message via_of(uint64_t lamport)
{
	struct disco_message request = {.type = DISCO_ALLOCATE_REQUEST};
	struct key *keys = request.allocate.relay.client_keys;
	const struct key *one = mesh_disco_key(a->mesh), *other = mesh_disco_key(b->mesh);
	const bool ordered = memcmp(one->bytes, other->bytes, KEY_LEN) < 0;

	keys[0] = ordered ? *one : *other;
	keys[1] = ordered ? *other : *one;
	struct disco_message via = relay_record(&request);
	via.type = DISCO_CALL_ME_MAYBE_VIA;
	via.allocate.generation = 0;
	via.allocate.relay.lamport = lamport;
	return via;
}

// b says it to a.
static void say_via(const struct disco_message *via)
{
	uint8_t packet[DISCO_PACKET_MAX];
	const size_t len = seal_from(b, a, via, packet);

	assert_true(mesh_derp_input(a->mesh, 2, &b->node, packet, len));
}

static void test_records(void **)
{
	struct disco_message via = via_of(5);

	mesh_set_relays(a->mesh, NULL, 0); // the peer's relays serve as well
	say_via(&via);
	assert_int_equal(a->mesh->n_binds, 1);
	assert_int_equal(a->udp_tx, 1);
	say_via(&via); // the same
	assert_int_equal(a->udp_tx, 1);
	via = via_of(6); // newer: the old handshake ends
	say_via(&via);
	assert_int_equal(a->mesh->n_binds, 1);
	assert_int_equal(a->udp_tx, 2);
	via = via_of(4);
	say_via(&via); // older
	assert_int_equal(a->udp_tx, 2);
	const uint64_t limited = mesh_counter(a->mesh, MESH_COUNTER_DISCO_LIMITED);
	via = via_of(7);
	say_via(&via);
	assert_int_equal(a->udp_tx, 2); // too many in too short a time
	assert_int_equal(mesh_counter(a->mesh, MESH_COUNTER_DISCO_LIMITED), limited + 1);
	net_run(net, RELAY_HANDSHAKE_END_S * 1000 + 100); // nobody binds the other leg
	assert_int_equal(a->mesh->n_binds, 0);
}

static void test_many_records(void **)
{
	for (unsigned i = 0; i < 50; i++) {
		struct disco_message via = via_of(1);
		via.allocate.relay.server_key.bytes[0] ^= (uint8_t)(i + 1);
		via.allocate.relay.vni = i + 1;
		say_via(&via);
		net_run(net, MESH_CALL_EVERY_MS / 4);
		assert_true(a->mesh->n_binds <= MESH_BINDS_PEER);
	}
	assert_true(mesh_counter(a->mesh, MESH_COUNTER_DISCO_LIMITED) > 0);
	net_run(net, RELAY_HANDSHAKE_END_S * 1000 + 100);
	assert_int_equal(a->mesh->n_binds, 0);
}

static void test_removed_meanwhile(void **)
{
	const struct disco_message via = via_of(5);

	place.silent = true;
	host_data(a, b);
	say_via(&via);
	assert_int_equal(a->mesh->n_requests, 1);
	assert_int_equal(a->mesh->n_binds, 1);
	mesh_peer_remove(a->mesh, &b->node);
	assert_int_equal(a->mesh->n_requests + a->mesh->n_binds, 0);
	net_run(net, 60000);
	assert_int_equal(place.requests, 1);
	host_learn(a, b);
	host_data(a, b);
	mesh_rebind(a->mesh); // our leg would be another
	assert_int_equal(a->mesh->n_requests + a->mesh->n_binds, 0);
}

static void test_new_disco_key(void **)
{
	const struct disco_message via = via_of(5);

	place.silent = true;
	host_data(a, b);
	say_via(&via);
	mesh_peer_disco_key(a->mesh, &b->node, &(struct key){{7, 7}});
	assert_int_equal(a->mesh->n_requests + a->mesh->n_binds, 0);
}

// A response counts if its relay was asked, for this pair, and says so itself.
static void test_responses(void **)
{
	static const struct {
		const char *name;
		uint32_t generation;
		bool other_pair, from_peer, no_address;
		enum mesh_counter counter;
	} cases[] = {
		{"good", 0, false, false, false, MESH_COUNTER_DISCO_RX},
		{"another request", 1, false, false, false, MESH_COUNTER_DISCO_UNASKED},
		{"another pair", 0, true, false, false, MESH_COUNTER_DISCO_UNASKED},
		{"by the peer", 0, false, true, false, MESH_COUNTER_DISCO_UNASKED},
		{"no port", 0, false, false, true, MESH_COUNTER_DISCO_FORGED},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		print_message("%s\n", cases[i].name);
		setup(NULL);
		place.silent = true;
		host_data(a, b);
		struct disco_message m = via_of(1);
		m.type = DISCO_ALLOCATE_RESPONSE;
		m.allocate.generation = a->mesh->generation + cases[i].generation;
		if (cases[i].other_pair)
			m.allocate.relay.client_keys[0].bytes[3] ^= 1;
		if (cases[i].no_address)
			m.endpoints[0].port = 0;
		uint8_t packet[DISCO_PACKET_MAX];
		const struct key *from = cases[i].from_peer ? &b->node : &net->relay.node;
		const size_t len = cases[i].from_peer
					   ? seal_from(b, a, &m, packet)
					   : seal_as(&place.node_private, mesh_disco_key(a->mesh),
						     &place.node_disco, &m, packet);
		const unsigned derp = a->derp_tx;
		assert_true(mesh_derp_input(a->mesh, 3, from, packet, len));
		const bool good = cases[i].counter == MESH_COUNTER_DISCO_RX;
		assert_int_equal(mesh_counter(a->mesh, cases[i].counter), 1);
		assert_int_equal(a->mesh->n_binds, good);
		assert_int_equal(a->mesh->n_requests, !good && !cases[i].no_address);
		assert_int_equal(a->derp_tx - derp, good || cases[i].no_address); // the via
		teardown(NULL);
	}
}

// What a relay says to us in a handshake, but by somebody else.
static void test_forged_challenge(void **)
{
	const struct disco_message via = via_of(5);
	uint8_t datagram[MESH_DATAGRAM_MAX];
	struct disco_message m = {.type = DISCO_CHALLENGE, .bind.vni = RELAY_VNI};
	const struct geneve_header header =
		geneve_header_of(GENEVE_PROTOCOL_DISCO, RELAY_VNI, true);

	place.legs[0].disco = *mesh_disco_key(a->mesh);
	say_via(&via);
	const unsigned before = a->udp_tx;
	m.bind.generation = a->mesh->generation;
	m.bind.remote_key = *mesh_disco_key(b->mesh);
	memcpy(datagram, &header, sizeof(header));
	// Sealed by b under the server's key.
	const size_t len = seal_as(&b->mesh->self.disco_private, mesh_disco_key(a->mesh),
		&place.server_disco, &m, datagram + sizeof(header));
	mesh_input(a->mesh, &b->local, 0, datagram, sizeof(header) + len);
	assert_int_equal(a->udp_tx, before);
	assert_int_equal(a->mesh->binds->handshake.state, RELAY_BIND_SENT);
	// A flood of them costs no more than any other.
	for (unsigned i = 0; i < 1000; i++)
		mesh_input(a->mesh, &b->local, 0, datagram, sizeof(header) + len);
	assert_true(mesh_counter(a->mesh, MESH_COUNTER_DISCO_LIMITED) > 500);
	net_run(net, 100); // the true one is still taken
	assert_int_equal(a->mesh->binds->handshake.state, RELAY_ANSWER_SENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_relay, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kept_alive_and_renewed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_relay_dies, setup, teardown),
		cmocka_unit_test_setup_teardown(test_silent_relay, setup, teardown),
		cmocka_unit_test_setup_teardown(test_not_for_old_peers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_relay_is_the_peer, setup, teardown),
		cmocka_unit_test_setup_teardown(test_records, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many_records, setup, teardown),
		cmocka_unit_test_setup_teardown(test_removed_meanwhile, setup, teardown),
		cmocka_unit_test_setup_teardown(test_new_disco_key, setup, teardown),
		cmocka_unit_test(test_responses),
		cmocka_unit_test_setup_teardown(test_forged_challenge, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
