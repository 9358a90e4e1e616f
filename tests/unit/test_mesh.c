// The mesh between hosts: over DERP first, then directly, and back; what workers are told.
#include "tests/unit/mesh_net.h"

#include "control/path/endpoint_priv.h"

static struct net *net;
static struct host *a, *b;

static int pair(enum nat of_a, enum nat of_b)
{
	net = net_create();
	a = net_add(net, of_a == NAT_NONE ? "192.0.2.1" : "10.0.0.1", "192.0.2.1", of_a, 1);
	b = net_add(net, of_b == NAT_NONE ? "192.0.2.2" : "10.0.1.1", "192.0.2.2", of_b, 2);
	net_join(a, b);
	return 0;
}

static int open_pair(void **)
{
	return pair(NAT_NONE, NAT_NONE);
}

static int teardown(void **)
{
	net_destroy(net);
	return 0;
}

static void test_first_packet(void **)
{
	assert_route(a, b, "derp"); // told with the netmap: workers need nobody to begin
	assert_int_equal(a->udp_tx + a->derp_tx, 0);
	assert_int_equal(a->mesh->n_boxes, 0);
	assert_null(a->mesh->active);
	host_data(a, b);
	assert_int_equal(a->derp_tx, 2); // the packet, the call-me-maybe
	assert_int_equal(a->udp_tx, 1);
	net_run(net, NET_DERP_MS);
	assert_int_equal(b->wireguard_derp, 1);
	assert_route(a, b, "direct");	       // the pong was faster
	assert_int_equal(a->routes[1].mtu, 0); // a ping without padding proves no size
	host_data(a, b);
	net_run(net, NET_DERP_MS);
	assert_int_equal(b->wireguard_udp, 1);
	assert_int_equal(b->wireguard_derp, 1); // DERP is left out at once
	assert_endpoint(&b->last_wireguard_from, "192.0.2.1:41641");
	assert_route(b, a, "direct"); // its pings, which the call-me-maybe asked for
}

static const struct {
	const char *name;
	enum nat a, b;
	const char *a_route, *b_route;
} pairings[] = {
	{"no NAT", NAT_NONE, NAT_NONE, "direct", "direct"},
	{"easy to open", NAT_EASY, NAT_NONE, "direct", "direct"},
	{"open to easy", NAT_NONE, NAT_EASY, "direct", "direct"},
	{"both easy", NAT_EASY, NAT_EASY, "direct", "direct"},
	{"hard to open", NAT_HARD, NAT_NONE, "direct", "direct"},
	{"open to hard", NAT_NONE, NAT_HARD, "direct", "direct"},
	{"hard to one that filters nothing", NAT_HARD, NAT_CONE, "direct", "direct"},
	{"both hard", NAT_HARD, NAT_HARD, "derp", "derp"},
	{"hard to one that filters by port", NAT_HARD, NAT_EASY, "derp", "derp"},
	{"UDP blocked here", NAT_BLOCKED, NAT_NONE, "derp", "derp"},
	{"UDP blocked there", NAT_EASY, NAT_BLOCKED, "derp", "derp"},
};

static void test_pairings(void **)
{
	for (size_t i = 0; i < sizeof(pairings) / sizeof(pairings[0]); i++) {
		print_message("%s\n", pairings[i].name);
		pair(pairings[i].a, pairings[i].b);
		// Data one way only, and no second heartbeat: punching takes round trips, not
		// intervals.
		host_stream(a, b, 2000, 100);
		assert_route(a, b, pairings[i].a_route);
		if (strcmp(pairings[i].a_route, "direct") == 0)
			assert_true(b->wireguard_udp >= 18);
		else
			assert_int_equal(b->wireguard_derp, 20);
		host_stream(b, a, 2000, 100);
		assert_route(b, a, pairings[i].b_route);
		net_destroy(net);
	}
}

static void test_trust_lapses(void **)
{
	host_stream(a, b, 1000, 100);
	assert_route(a, b, "direct");
	net_run(net, PATH_SESSION_MS); // heartbeats go on, then stop
	assert_route(a, b, "direct");
	net_run(net, PATH_TRUST_MS + MESH_LOOK_MS + MESH_TICK_MIN_MS);
	assert_route(a, b, "direct+derp"); // so that the next packet is not lost
	const unsigned before = a->udp_tx;
	net_run(net, 60000);
	assert_int_equal(a->udp_tx, before); // and silence until then
	host_data(a, b);
	net_run(net, NET_DERP_MS);
	assert_route(a, b, "direct"); // proven again within a round trip
	assert_int_equal(b->wireguard_derp, 2);
}

// What a worker sends over a good path, only its clock tells.
static void test_worker_traffic_keeps_session(void **)
{
	host_stream(a, b, 1000, 100);
	net_run(net, 40000);
	const unsigned seen = b->wireguard_derp;
	host_stream(a, b, 80000, 500);
	assert_route(a, b, "direct");
	assert_int_equal(b->wireguard_derp, seen);
	assert_true(host_info(a, b).in_session);
}

// A clock of workers that is ahead is no traffic without end.
static void test_worker_clock_ahead(void **)
{
	host_stream(a, b, 1000, 100);
	a->last_tx_ns[1] = net->now_ns + 1000 * 1000 * MESH_MS;
	net_run(net, PATH_SESSION_MS + PATH_TRUST_MS + 1000);
	assert_false(host_info(a, b).in_session);
	assert_route(a, b, "direct+derp");
}

static void test_direct_dies_and_returns(void **)
{
	host_stream(a, b, 1000, 100);
	b->nat = NAT_BLOCKED;
	const unsigned derp = b->wireguard_derp;
	host_stream(a, b, PATH_TRUST_MS + 200, 100);
	assert_true(b->wireguard_derp > derp); // DERP takes over when trust ends
	host_stream(a, b, 12000, 100);
	assert_route(a, b, "derp");
	b->nat = NAT_NONE;
	host_stream(a, b, PATH_RETRY_SLOW_MS + 100, 100);
	assert_route(a, b, "direct");
}

static void no_matter(void *, const struct mesh_pong *)
{
}

// The other side is first: its ping is reason enough.
static void test_peer_finds_it_first(void **)
{
	host_stream(a, b, 1000, 100);
	b->nat = NAT_BLOCKED;
	host_stream(a, b, 100000, 100); // longer than a lost path is asked for
	assert_route(a, b, "derp");
	b->nat = NAT_NONE;
	mesh_ping(b->mesh, &a->node, 0, 1000, no_matter, NULL);
	net_run(net, 3 * NET_UDP_MS);
	assert_route(a, b, "direct");
}

// So is its WireGuard, if no ping got through.
static void test_heard_directly(void **)
{
	host_stream(a, b, 1000, 100);
	b->nat = NAT_BLOCKED;
	host_stream(a, b, 100000, 100);
	b->nat = NAT_NONE;
	const unsigned udp = a->udp_tx;
	for (unsigned i = 0; i < 10; i++)
		mesh_heard(a->mesh, &b->node, &b->local);
	assert_int_equal(a->udp_tx, udp + 1);
	net_run(net, 2 * NET_UDP_MS);
	assert_route(a, b, "direct");
	net_run(net, 1000);
	const unsigned quiet = a->udp_tx; // with a good path it is nothing new
	mesh_heard(a->mesh, &b->node, &b->local);
	mesh_heard(a->mesh, &(struct key){{9}}, &b->local); // nobody
	assert_int_equal(a->udp_tx, quiet);
	mesh_peer_remove(a->mesh, &b->node);
	mesh_heard(a->mesh, &b->node, &b->local);
	assert_int_equal(a->udp_tx, quiet);
}

static void test_route_is_told(void **)
{
	struct mesh_route route;

	assert_int_equal(mesh_route(a->mesh, &(struct key){{9}}, &route), -ENOENT);
	assert_int_equal(mesh_route(a->mesh, &b->node, &route), 0);
	assert_string_equal(route_text(&route), "derp");
	host_stream(a, b, 1000, 100);
	assert_int_equal(mesh_route(a->mesh, &b->node, &route), 0);
	assert_string_equal(route_text(&route), "direct");
	assert_true(endpoint_equal(&route.udp, &b->local));
}

// Traffic both ways and no heartbeats; what comes over DERP does not speak for the direct path.
static void test_silent(void **)
{
	mesh_set_silent(a->mesh, true);
	mesh_set_silent(b->mesh, true);
	host_stream(a, b, 1000, 100);
	const uint64_t pings = host_info(a, b).pings_tx;
	for (unsigned i = 0; i < 600; i++) {
		a->last_rx_ns[1] = net->now_ns;
		host_stream(a, b, 100, 100);
	}
	assert_route(a, b, "direct");
	assert_int_equal(host_info(a, b).pings_tx, pings);
	b->nat = NAT_BLOCKED;
	for (unsigned i = 0; i < 100; i++) {
		a->last_rx_ns[1] = net->now_ns;
		assert_false(mesh_derp_input(a->mesh, 2, &b->node, (const uint8_t[32]){4}, 32));
		host_stream(a, b, 100, 100);
	}
	assert_route(a, b, "direct+derp");
	assert_true(host_info(a, b).pings_tx > pings);
}

static unsigned n_lost;

static bool lose(struct net *, const struct flight *)
{
	n_lost++;
	return false;
}

// When our own network fails, all paths are lost at once: pings that look for them share a rate.
static void test_many_lost(void **)
{
	enum { PEERS = 1500, SECONDS = 8 };
	struct nm_node n = {.home_derp = 1, .cap = 140, .endpoints = &b->local, .n_endpoints = 1};

	net->tap = lose;
	n.disco = *mesh_disco_key(b->mesh);
	for (unsigned i = 1; i <= PEERS; i++) {
		memcpy(n.key.bytes, &i, sizeof(i));
		assert_int_equal(mesh_peer_set(a->mesh, &n), 0);
		mesh_activate(a->mesh, mesh_find(a->mesh, &n.key), net->now_ns)->path->proven.to =
			b->local;
	}
	n_lost = 0;
	for (unsigned i = 0; i < SECONDS * 10; i++) {
		for (struct mesh_active *at = a->mesh->active; at; at = at->next) {
			mesh_note_traffic(at, net->now_ns);
			mesh_settle(at, net->now_ns);
		}
		net_run(net, 100);
	}
	const unsigned usual = 2 * PEERS; // all of them each 5 s
	assert_in_range(n_lost, usual + (SECONDS - 1) * MESH_RETRIES_PER_S,
		usual + (SECONDS + 1) * MESH_RETRIES_PER_S);
}

static void test_handshakes(void **)
{
	const uint8_t initiation[148] = {1};

	assert_int_equal(mesh_send(a->mesh, &b->node, initiation, sizeof(initiation), true), 0);
	net_run(net, NET_DERP_MS);
	assert_int_equal(b->wireguard_derp, 1);
	assert_int_equal(b->wireguard_udp, 0);
	assert_int_equal(mesh_send(a->mesh, &b->node, initiation, sizeof(initiation), true), 0);
	net_run(net, NET_DERP_MS);
	assert_int_equal(b->wireguard_derp, 1);
	assert_int_equal(b->wireguard_udp, 1);
	net_run(net, 60000); // untrusted again: by both
	assert_int_equal(mesh_send(a->mesh, &b->node, initiation, sizeof(initiation), true), 0);
	net_run(net, NET_DERP_MS);
	assert_int_equal(b->wireguard_derp, 2);
	assert_int_equal(b->wireguard_udp, 2);
	assert_int_equal(mesh_send(a->mesh, &(struct key){{9}}, initiation, 148, true), -ENOENT);
}

// Behind old endpoints the call waits for STUN, but not for ever.
static void test_call_waits_for_stun(void **)
{
	a->fresh = false;
	b->nat = NAT_BLOCKED;
	host_data(a, b);
	assert_int_equal(a->stun_asked, 1);
	assert_int_equal(a->derp_tx, 1);
	assert_non_null(strstr(host_info(a, b).why, "waiting for STUN"));
	mesh_endpoints_ready(a->mesh);
	assert_int_equal(a->derp_tx, 2);
	mesh_endpoints_ready(a->mesh);
	assert_int_equal(a->derp_tx, 2);
	net_run(net, PATH_PING_INTERVAL_MS);
	const unsigned before = a->derp_tx;
	host_data(a, b);
	host_data(a, b); // one waits already
	assert_int_equal(a->stun_asked, 2);
	net_run(net, MESH_CALL_WAIT_MS - 100);
	assert_int_equal(a->derp_tx, before + 2);
	net_run(net, 200);
	assert_int_equal(a->derp_tx, before + 3); // STUN never ended
	assert_int_equal(host_info(b, a).call_me_maybe_rx, 2);
}

static void test_rebind(void **)
{
	host_stream(a, b, 1000, 100);
	mesh_rebind(a->mesh);
	assert_route(a, b, "derp");
	host_data(a, b);
	net_run(net, 2 * NET_UDP_MS);
	assert_route(a, b, "direct");
}

// The kernel says at once that there is no way: not for the heartbeats to find out.
static void test_unreachable(void **)
{
	host_stream(a, b, 1000, 100);
	a->no_way = true;
	host_stream(a, b, PATH_HEARTBEAT_MS, 100);
	assert_route(a, b, "derp");
	a->no_way = false;
	host_stream(a, b, PATH_PING_INTERVAL_MS, 100);
	assert_route(a, b, "direct");
}

static void derp_regions(uint16_t home)
{
	struct endpoint room[2];
	struct nm_node n = net_node(b, room);

	n.home_derp = home;
	n.n_endpoints = 0;
	assert_int_equal(mesh_peer_set(a->mesh, &n), 0);
}

static void test_derp_regions(void **)
{
	const uint8_t wireguard[WIREGUARD_LEN] = {4};

	derp_regions(3); // a new home counts at once
	host_data(a, b);
	assert_int_equal(net->flights[0].region, 3);
	derp_regions(0);
	assert_route(a, b, "none");
	assert_int_equal(
		mesh_send(a->mesh, &b->node, wireguard, WIREGUARD_LEN, false), -EHOSTUNREACH);
	assert_false(mesh_derp_input(a->mesh, 2, &b->node, wireguard, WIREGUARD_LEN));
	assert_route(a, b, "derp"); // the region that it was heard from
	mesh_derp_gone(a->mesh, 1, &b->node);
	assert_route(a, b, "derp");
	mesh_derp_gone(a->mesh, 2, &b->node);
	assert_route(a, b, "none");
	derp_regions(99); // not in the DERP map
	assert_int_equal(
		mesh_send(a->mesh, &b->node, wireguard, WIREGUARD_LEN, false), -EHOSTUNREACH);
	assert_false(mesh_derp_input(a->mesh, 2, &b->node, wireguard, WIREGUARD_LEN));
	assert_int_equal(mesh_send(a->mesh, &b->node, wireguard, WIREGUARD_LEN, false), 0);
}

// A restarted peer: its new key comes by netmap or inside the tunnel; paths stay.
static void test_disco_key_changes(void **)
{
	const struct key old = *mesh_disco_key(b->mesh), fresh = {{1, 2, 3}};

	host_stream(a, b, 1000, 100);
	mesh_peer_disco_key(a->mesh, &b->node, &fresh);
	assert_null(mesh_find_disco(a->mesh, &old));
	assert_non_null(mesh_find_disco(a->mesh, &fresh));
	assert_route(a, b, "direct");
	host_learn(a, b); // a netmap that has not heard of it
	assert_non_null(mesh_find_disco(a->mesh, &fresh));
	struct endpoint room[2];
	struct nm_node n = net_node(b, room);
	n.disco = (struct key){{4, 5, 6}};
	assert_int_equal(mesh_peer_set(a->mesh, &n), 0);
	assert_non_null(mesh_find_disco(a->mesh, &n.disco));
	assert_null(mesh_find_disco(a->mesh, &fresh));
	assert_route(a, b, "direct");
}

static void test_idle_is_freed(void **)
{
	host_stream(a, b, 1000, 100);
	assert_non_null(a->mesh->active);
	assert_int_equal(a->mesh->n_boxes, 1);
	net_run(net, 3 * MESH_IDLE_S * 1000);
	assert_null(a->mesh->active);
	assert_null(b->mesh->active);
	assert_int_equal(a->mesh->n_boxes, 0);
	assert_route(a, b, "derp");
	assert_int_equal(a->mesh->timer_ns, UINT64_MAX); // and no timer
	host_stream(a, b, 1000, 100);
	assert_route(a, b, "direct");
	mesh_peer_remove(a->mesh, &b->node);
	assert_int_equal(a->mesh->n_peers + a->mesh->n_boxes, 0);
	assert_false(mesh_knows(a->mesh, &b->node));
}

static void test_wireguard_only(void **)
{
	struct endpoint room[2];
	struct nm_node n = net_node(b, room);

	n.wg_only = true;
	n.disco = (struct key){0};
	n.home_derp = 0;
	assert_int_equal(mesh_peer_set(a->mesh, &n), 0);
	assert_route(a, b, "direct");
	assert_int_equal(mesh_send(a->mesh, &b->node, (uint8_t[]){1}, 1, true), 0);
	assert_null(a->mesh->active);
	n.n_endpoints = 0;
	assert_int_equal(mesh_peer_set(a->mesh, &n), 0);
	assert_int_equal(mesh_send(a->mesh, &b->node, (uint8_t[]){1}, 1, true), -EHOSTUNREACH);
}

static void test_many_peers(void **)
{
	enum { PEERS = 16384 };
	struct nm_node n = {.home_derp = 1, .cap = 140};

	for (unsigned i = 1; i <= PEERS; i++) {
		memcpy(n.key.bytes, &i, sizeof(i));
		memcpy(n.disco.bytes + 8, &i, sizeof(i));
		assert_int_equal(mesh_peer_set(a->mesh, &n), 0);
	}
	assert_int_equal(a->mesh->n_peers, PEERS + 1);
	assert_int_equal(a->n_told, PEERS + 1); // all have DERP at once
	assert_null(a->mesh->active);
	assert_int_equal(a->mesh->n_boxes, 0);
	assert_int_equal(a->mesh->timer_ns, UINT64_MAX);
	for (unsigned i = 1; i <= PEERS; i++) {
		memcpy(n.key.bytes, &i, sizeof(i));
		mesh_peer_remove(a->mesh, &n.key);
	}
	assert_int_equal(a->mesh->n_peers, 1);
}

static void test_why(void **)
{
	assert_string_equal(host_info(a, b).why, "not in use: DERP 2 first");
	b->nat = NAT_BLOCKED;
	host_stream(a, b, 500, 100);
	assert_string_equal(host_info(a, b).why,
		"DERP 2: 1 address pinged, none answered; called, but it sent no call-me-maybe");
	b->nat = NAT_NONE;
	host_stream(a, b, 10000, 100);
	net_run(net, 100);
	const struct mesh_peer_info info = host_info(a, b);
	print_message("%s\n", info.why);
	assert_non_null(strstr(info.why, "direct: 192.0.2.2:41641 answered "));
	assert_non_null(strstr(info.why, " s ago in 4 ms"));
	assert_true(info.trusted && info.in_session);
	assert_int_equal(info.latency_ns, 2 * NET_UDP_MS * MESH_MS);
	assert_int_equal(info.candidates, 1);
	net_run(net, 60000);
	assert_non_null(strstr(host_info(a, b).why, "DERP as well"));
	struct mesh_peer_info none;
	assert_int_equal(mesh_peer_info(a->mesh, &a->node, &none), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_first_packet, open_pair, teardown),
		cmocka_unit_test(test_pairings),
		cmocka_unit_test_setup_teardown(test_trust_lapses, open_pair, teardown),
		cmocka_unit_test_setup_teardown(
			test_worker_traffic_keeps_session, open_pair, teardown),
		cmocka_unit_test_setup_teardown(test_worker_clock_ahead, open_pair, teardown),
		cmocka_unit_test_setup_teardown(test_direct_dies_and_returns, open_pair, teardown),
		cmocka_unit_test_setup_teardown(test_peer_finds_it_first, open_pair, teardown),
		cmocka_unit_test_setup_teardown(test_heard_directly, open_pair, teardown),
		cmocka_unit_test_setup_teardown(test_route_is_told, open_pair, teardown),
		cmocka_unit_test_setup_teardown(test_silent, open_pair, teardown),
		cmocka_unit_test_setup_teardown(test_many_lost, open_pair, teardown),
		cmocka_unit_test_setup_teardown(test_handshakes, open_pair, teardown),
		cmocka_unit_test_setup_teardown(test_call_waits_for_stun, open_pair, teardown),
		cmocka_unit_test_setup_teardown(test_rebind, open_pair, teardown),
		cmocka_unit_test_setup_teardown(test_unreachable, open_pair, teardown),
		cmocka_unit_test_setup_teardown(test_derp_regions, open_pair, teardown),
		cmocka_unit_test_setup_teardown(test_disco_key_changes, open_pair, teardown),
		cmocka_unit_test_setup_teardown(test_idle_is_freed, open_pair, teardown),
		cmocka_unit_test_setup_teardown(test_wireguard_only, open_pair, teardown),
		cmocka_unit_test_setup_teardown(test_many_peers, open_pair, teardown),
		cmocka_unit_test_setup_teardown(test_why, open_pair, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
