// Through a hard NAT by many ports on one side and many guesses on the other: who finds whom,
// within which limits, and who is left alone.
#include "tests/unit/mesh_net.h"

enum {
	PORTS = 512,
	RATE = 200,
	SECONDS = 20,
	STEP_MS = 200,
};

static const struct mesh_birthday limits = {.ports = PORTS, .rate = RATE, .seconds = SECONDS};
static const struct mesh_birthday off;

static struct net *net;
static struct host *a, *b;

static void open_pair(enum nat of_a, enum nat of_b)
{
	net = net_create();
	a = net_add(net, of_a == NAT_NONE ? "192.0.2.1" : "10.0.0.1", "192.0.2.1", of_a, 1);
	b = net_add(net, of_b == NAT_NONE ? "192.0.2.2" : "10.0.1.1", "192.0.2.2", of_b, 2);
	net_join(a, b);
	mesh_set_birthday(a->mesh, &limits);
	mesh_set_birthday(b->mesh, &limits);
}

static uint64_t counter(const struct host *h, enum mesh_counter c)
{
	return mesh_counter(h->mesh, c);
}

static uint64_t attempts(const struct host *h)
{
	return counter(h, MESH_COUNTER_BIRTHDAY_TRIED);
}

// What an attempt makes anybody send.
static uint64_t spent(const struct host *h)
{
	return counter(h, MESH_COUNTER_BIRTHDAY_TX) + counter(h, MESH_COUNTER_BIRTHDAY_GUESSED);
}

static const struct {
	const char *name;
	enum nat a, b;
	bool b_is_stock; // pings what is listed, and that is all
	const char *route;
	bool attempt, found;
} pairings[] = {
	{"hard to easy", NAT_HARD, NAT_EASY, false, "direct", true, true},
	{"hard to easy, a stock peer", NAT_HARD, NAT_EASY, true, "direct", true, true},
	{"both hard", NAT_HARD, NAT_HARD, false, "derp", true, false},
	{"both hard, a stock peer", NAT_HARD, NAT_HARD, true, "derp", true, false},
	{"hard to a blocked one", NAT_HARD, NAT_BLOCKED, false, "derp", true, false},
	{"easy to hard: that side begins", NAT_EASY, NAT_HARD, true, "derp", false, false},
	{"hard to open: no need", NAT_HARD, NAT_NONE, false, "direct", false, false},
	{"hard to one that filters nothing", NAT_HARD, NAT_CONE, false, "direct", false, false},
	{"both easy", NAT_EASY, NAT_EASY, false, "direct", false, false},
	{"no UDP", NAT_BLOCKED, NAT_EASY, false, "derp", false, false},
};

static void test_pairings(void **)
{
	for (size_t i = 0; i < sizeof(pairings) / sizeof(pairings[0]); i++) {
		print_message("%s\n", pairings[i].name);
		open_pair(pairings[i].a, pairings[i].b);
		if (pairings[i].b_is_stock)
			mesh_set_birthday(b->mesh, &off);
		host_stream(a, b, MESH_ATTEMPT_AFTER_MS - 1000, STEP_MS);
		assert_int_equal(attempts(a), 0);
		host_stream(a, b, (SECONDS + 6) * 1000, STEP_MS);
		assert_route(a, b, pairings[i].route);
		assert_int_equal(attempts(a), pairings[i].attempt);
		assert_int_equal(counter(a, MESH_COUNTER_BIRTHDAY_WON), pairings[i].found);
		assert_int_equal(host_route_to(a, b)->local_port != 0, pairings[i].found);
		assert_int_equal(a->n_opened, pairings[i].attempt);
		assert_int_equal(a->n_ports, pairings[i].found ? PORTS : 0);
		assert_int_equal(b->n_ports, 0);
		assert_true(spent(a) <= RATE * (SECONDS + 1));
		assert_true(spent(b) <= RATE * (SECONDS + 1));
		net_destroy(net);
	}
}

static int setup(void **)
{
	open_pair(NAT_HARD, NAT_EASY);
	return 0;
}

static int teardown(void **)
{
	net_destroy(net);
	return 0;
}

static void find(void)
{
	host_stream(a, b, (SECONDS + 12) * 1000, STEP_MS);
	assert_route(a, b, "direct");
}

static void test_path_is_kept(void **)
{
	find();
	const uint16_t port = host_route_to(a, b)->local_port;
	const uint64_t before = spent(a);
	const unsigned derp = b->wireguard_derp;
	assert_in_range(port, NET_PORTS, NET_PORTS + PORTS - 1);
	host_stream(a, b, 300000, STEP_MS); // b says nothing by itself
	assert_route(a, b, "direct");
	assert_int_equal(host_route_to(a, b)->local_port, port);
	assert_int_equal(spent(a), before);
	assert_int_equal(attempts(a), 1);
	assert_int_equal(b->wireguard_derp, derp);
	assert_true(ip_addr_equal(&b->last_wireguard_from.addr, &a->outside));
	// An answer to what comes from there goes back from there.
	const struct endpoint *there = &host_route_to(a, b)->udp;
	assert_int_equal(mesh_local_port(a->mesh, &b->node, there), port);
	assert_int_equal(mesh_local_port(b->mesh, &a->node, &b->last_wireguard_from), 0);
	assert_int_equal(mesh_local_port(a->mesh, &a->node, there), 0);
	assert_non_null(strstr(host_info(a, b).why, "from our port 17"));
	const unsigned got = a->wireguard_udp;
	host_stream(b, a, 2000, STEP_MS);
	assert_route(b, a, "direct");
	assert_true(a->wireguard_udp > got);
}

// What is of no use any more is given back; and another attempt takes ports anew.
static void test_ports_are_given_back(void **)
{
	find();
	b->nat = NAT_BLOCKED;
	host_stream(a, b, 2 * PATH_SESSION_MS, STEP_MS);
	assert_route(a, b, "derp");
	assert_true(a->n_opened > 0);
	net_run(net, 2 * MESH_IDLE_S * 1000);
	assert_int_equal(a->n_ports, 0);
	b->nat = NAT_EASY;
	const unsigned opened = a->n_opened;
	find();
	assert_int_equal(a->n_opened, opened + 1);
}

static void test_pauses_grow(void **)
{
	b->nat = NAT_HARD;
	mesh_set_birthday(b->mesh, &off);
	host_stream(a, b, 40000, STEP_MS);
	assert_int_equal(attempts(a), 1);
	assert_int_equal(a->n_ports, 0);
	const char *why = host_info(a, b).why;
	assert_non_null(strstr(why, "; hard NAT: 512 ports tried against "));
	assert_non_null(strstr(why, " in vain, again in "));
	const uint64_t before = spent(a);
	host_stream(a, b, 240000, 1000);
	assert_int_equal(spent(a), before); // nothing in the pause
	host_stream(a, b, 100000, 1000);
	assert_int_equal(attempts(a), 2);
	host_stream(a, b, 500000, 1000);
	assert_int_equal(attempts(a), 2);
	host_stream(a, b, 150000, 1000);
	assert_int_equal(attempts(a), 3);
}

// A peer of our kind that guesses itself has a hard NAT as well: it is not worth trying.
static void test_both_know(void **)
{
	b->nat = NAT_HARD;
	host_stream(a, b, 15000, STEP_MS);
	assert_int_equal(attempts(a), 1);
	for (unsigned i = 0; i < 200; i++) { // b has traffic as well
		host_data(b, a);
		host_stream(a, b, STEP_MS, STEP_MS);
	}
	assert_int_equal(attempts(b), 0);
	assert_route(a, b, "derp");
}

static const struct {
	const char *name;
	bool off, idle, no_ports, no_home, no_way;
} idle[] = {
	{"off", .off = true},
	{"no traffic", .idle = true},
	{"no ports to be had", .no_ports = true},
	{"no home region to call it at", .no_home = true},
};

static void test_not_tried(void **)
{
	for (size_t i = 0; i < sizeof(idle) / sizeof(idle[0]); i++) {
		print_message("%s\n", idle[i].name);
		open_pair(NAT_HARD, NAT_EASY);
		if (idle[i].off)
			mesh_set_birthday(a->mesh, &off);
		a->no_ports = idle[i].no_ports;
		if (idle[i].no_home) {
			b->home = 0;
			host_learn(a, b);
			assert_false(mesh_derp_input(a->mesh, 2, &b->node, (uint8_t[32]){4}, 32));
		}
		host_stream(a, b, idle[i].idle ? 1000 : 50000, STEP_MS);
		net_run(net, 50000);
		assert_int_equal(attempts(a), 0);
		assert_int_equal(spent(a) + spent(b), 0);
		assert_int_equal(a->n_ports, 0);
		net_destroy(net);
	}
}

// --- Lists of guesses that come.

static const struct {
	const char *name;
	const char *address;
	unsigned ports;
	bool off, attempt;
} lists[] = {
	{"a list of guesses", "192.0.2.1", 96, false, true},
	{"the shortest", "192.0.2.1", MESH_GUESSES_MIN, false, true},
	{"too few to be one", "192.0.2.1", MESH_GUESSES_MIN - 1, false, false},
	{"of somebody else", "192.0.2.77", 96, false, false},
	{"IPv6", "2001:db8::1", 96, false, false},
	{"none", "192.0.2.1", 0, false, false},
	{"switched off", "192.0.2.1", 96, true, false},
};

static void call(const char *address, unsigned ports)
{
	struct disco_message m = {.type = DISCO_CALL_ME_MAYBE, .n_endpoints = ports};
	uint8_t packet[DISCO_PACKET_MAX];

	for (unsigned i = 0; i < ports; i++) {
		assert_int_equal(ip_addr_parse(address, &m.endpoints[i].addr), 0);
		m.endpoints[i].port = (uint16_t)(2000 + 7 * i);
	}
	const size_t len = seal_from(a, b, &m, packet);
	assert_true(mesh_derp_input(b->mesh, 1, &a->node, packet, len));
}

static void test_lists(void **)
{
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		print_message("%s\n", lists[i].name);
		open_pair(NAT_BLOCKED, NAT_EASY);
		if (lists[i].off)
			mesh_set_birthday(b->mesh, &off);
		call(lists[i].address, lists[i].ports);
		assert_int_equal(attempts(b), lists[i].attempt);
		const unsigned at_once = b->udp_tx;
		assert_true(at_once <= lists[i].ports + 2);
		if (lists[i].attempt)
			assert_int_equal(at_once, MESH_GUESSES_KEPT + 2); // those of the netmap
		net_run(net, 60000);
		const uint64_t guesses = counter(b, MESH_COUNTER_BIRTHDAY_TX);
		assert_int_equal(guesses > 0, lists[i].attempt);
		// No more lists: the peer has given up.
		assert_true(guesses <= RATE * (MESH_ATTEMPT_SILENT_MS / 1000 + 1));
		assert_int_equal(b->n_opened, 0); // one's own port is enough
		net_destroy(net);
	}
}

// A peer that goes on and on has us ping for one attempt, then not for a while.
static void test_lists_without_end(void **)
{
	for (unsigned i = 0; i < 50; i++) {
		call("192.0.2.1", 96);
		net_run(net, 1000);
	}
	assert_int_equal(attempts(b), 1);
	assert_true(spent(b) <= RATE * (SECONDS + 1));
	assert_true(spent(b) >= RATE * (SECONDS - 2));
}

// --- Many peers at a time.

static void test_few_at_a_time(void **)
{
	enum { PEERS = 9 };
	struct nm_node nodes[PEERS];
	static struct key privates[PEERS];
	struct endpoint addr = net_endpoint(&b->outside, 777);

	for (unsigned i = 0; i < PEERS; i++) {
		nodes[i] = (struct nm_node){
			.home_derp = 1, .cap = 140, .endpoints = &addr, .n_endpoints = 1};
		memset(nodes[i].key.bytes, 0x40 + (int)i, KEY_LEN);
		x25519_generate(privates[i].bytes);
		x25519_public(nodes[i].disco.bytes, privates[i].bytes);
		assert_int_equal(mesh_peer_set(a->mesh, &nodes[i]), 0);
	}
	for (unsigned ms = 0; ms < 29000; ms += 1000) {
		for (unsigned i = 0; i < PEERS; i++)
			assert_int_equal(mesh_send(a->mesh, &nodes[i].key, "\4", 1, false), 0);
		net_run(net, 1000);
	}
	assert_int_equal(attempts(a), MESH_ATTEMPTS_MAX);
	assert_true(spent(a) <= RATE * (SECONDS + 1));
	assert_true(spent(a) >= RATE * (SECONDS - 6));
	mesh_peer_remove(a->mesh, &nodes[0].key); // in the middle of it, perhaps
	mesh_rebind(a->mesh);
	assert_non_null(a->mesh->active);
	for (unsigned i = 0; i < MESH_ATTEMPTS_MAX; i++)
		assert_null(a->mesh->attempts.list[i].active);
}

int main(void)
{
	assert_true(sodium_init() >= 0);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pairings),
		cmocka_unit_test_setup_teardown(test_path_is_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ports_are_given_back, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pauses_grow, setup, teardown),
		cmocka_unit_test_setup_teardown(test_both_know, setup, teardown),
		cmocka_unit_test(test_not_tried),
		cmocka_unit_test(test_lists),
		cmocka_unit_test_setup_teardown(test_lists_without_end, setup, teardown),
		cmocka_unit_test_setup_teardown(test_few_at_a_time, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
