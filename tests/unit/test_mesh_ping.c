// Pings for people.
#include "tests/unit/mesh_net.h"

static struct net *net;
static struct host *a, *b;
static struct mesh_pong last;
static unsigned n_done;

static int setup(void **)
{
	net = net_create();
	a = net_add(net, "192.0.2.1", NULL, NAT_NONE, 1);
	b = net_add(net, "192.0.2.2", NULL, NAT_NONE, 2);
	net_join(a, b);
	n_done = 0;
	return 0;
}

static int teardown(void **)
{
	net_destroy(net);
	return 0;
}

static void on_done(void *, const struct mesh_pong *pong)
{
	last = *pong;
	n_done++;
}

static void ping(unsigned size, unsigned ms)
{
	mesh_ping(a->mesh, &b->node, size, ms, on_done, NULL);
}

static void test_finds_the_path(void **)
{
	ping(0, 5000);
	assert_int_equal(n_done, 0);
	net_run(net, 2 * NET_UDP_MS);
	assert_int_equal(n_done, 1);
	assert_int_equal(last.error, 0);
	assert_int_equal(last.region, 0);
	assert_endpoint(&last.addr.to, "192.0.2.2:41641");
	assert_int_equal(last.latency_ns, 2 * NET_UDP_MS * MESH_MS);
	assert_route(a, b, "direct"); // its pong is a pong
	assert_true(host_info(a, b).in_session);
	net_run(net, 10000);
	assert_int_equal(n_done, 1); // once, though DERP answered as well
	const unsigned derp = a->derp_tx, udp = a->udp_tx;
	ping(0, 5000);
	assert_int_equal(a->derp_tx, derp); // the trusted path alone
	assert_int_equal(a->udp_tx, udp + 1);
}

static void test_over_derp(void **)
{
	b->nat = NAT_BLOCKED;
	ping(0, 5000);
	net_run(net, 2 * NET_DERP_MS);
	assert_int_equal(n_done, 0); // a direct one might be on its way
	net_run(net, 2 * NET_DERP_MS);
	assert_int_equal(n_done, 1);
	assert_int_equal(last.error, 0);
	assert_int_equal(last.region, 2);
	assert_int_equal(last.addr.to.port, 0);
	assert_int_equal(last.latency_ns, 2 * NET_DERP_MS * MESH_MS);
	assert_route(a, b, "derp");
	assert_int_equal(host_info(a, b).pongs_rx, 1);
	// Each is to all candidates, whenever they were pinged last.
	const unsigned udp = a->udp_tx;
	ping(0, 5000);
	assert_int_equal(a->udp_tx, udp + 1);
}

// A direct pong a little behind the one over DERP counts; later no more.
static void test_direct_soon_after_derp(void **)
{
	static const struct {
		unsigned after_ms;
		uint16_t region;
	} cases[] = {{1, 0}, {2 * NET_DERP_MS - 1, 0}, {2 * NET_DERP_MS + 1, 2}};
	uint8_t packet[DISCO_PACKET_MAX];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct disco_message pong = {.type = DISCO_PONG};
		setup(NULL);
		b->nat = NAT_BLOCKED;
		ping(0, 5000);
		assert_int_equal(a->mesh->pings->tries[0].region, 0);
		memcpy(pong.pong.txid, a->mesh->pings->tries[0].txid, DISCO_TXID_LEN);
		net_run(net, 2 * NET_DERP_MS + cases[i].after_ms);
		mesh_input(a->mesh, &b->local, 0, packet, seal_from(b, a, &pong, packet));
		assert_int_equal(n_done, 1);
		assert_int_equal(last.error, 0);
		assert_int_equal(last.region, cases[i].region);
		assert_route(a, b, "direct");
		teardown(NULL);
	}
}

// It is not waited for beyond the time that was asked for, nor longer than for 50 ms.
static void test_derp_pong_is_told_in_time(void **)
{
	b->nat = NAT_BLOCKED;
	ping(0, 2 * NET_DERP_MS + 5);
	net_run(net, 2 * NET_DERP_MS + 10);
	assert_int_equal(n_done, 1);
	assert_int_equal(last.region, 2);
	net_run(net, 10000);
	ping(0, 5000);
	const struct mesh_ping *p = a->mesh->pings;
	uint8_t packet[DISCO_PACKET_MAX];
	struct disco_message pong = {.type = DISCO_PONG};
	for (unsigned i = 0; i < p->n_tries; i++)
		if (p->tries[i].region)
			memcpy(pong.pong.txid, p->tries[i].txid, DISCO_TXID_LEN);
	while (net->n_flights > 0) // lost
		free(net->flights[--net->n_flights].data);
	net_run(net, 3000);
	const size_t len = seal_from(b, a, &pong, packet);
	assert_true(mesh_derp_input(a->mesh, 2, &b->node, packet, len));
	assert_true(mesh_derp_input(a->mesh, 2, &b->node, packet, len)); // twice is once
	net_run(net, MESH_PONG_HOLD_MS - 10);
	assert_int_equal(n_done, 1);
	net_run(net, 20);
	assert_int_equal(n_done, 2);
	assert_int_equal(last.latency_ns, 3000 * MESH_MS);
}

static void no_derp(void)
{
	struct endpoint room[2];
	struct nm_node n = net_node(b, room);

	n.home_derp = 0;
	assert_int_equal(mesh_peer_set(a->mesh, &n), 0);
	b->nat = NAT_BLOCKED;
}

static void test_times_out(void **)
{
	no_derp();
	ping(0, 2000);
	net_run(net, 1990);
	assert_int_equal(n_done, 0);
	net_run(net, 20);
	assert_int_equal(n_done, 1);
	assert_int_equal(last.error, -ETIMEDOUT);
	assert_int_equal(a->mesh->n_pings, 0);
}

static void test_sizes(void **)
{
	static const struct {
		unsigned size, sent;
		int error;
	} cases[] = {
		{0, DISCO_PING_LEN, 0},
		{1, DISCO_PING_LEN, 0},
		{DISCO_PING_LEN, DISCO_PING_LEN, 0},
		{1200, 1200, 0},
		{DISCO_PACKET_MAX, DISCO_PACKET_MAX, 0},
		{DISCO_PACKET_MAX + 1, 0, -EMSGSIZE},
		{UINT_MAX, 0, -EMSGSIZE},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		setup(NULL);
		ping(cases[i].size, 1000);
		if (cases[i].error) {
			assert_int_equal(n_done, 1);
			assert_int_equal(last.error, cases[i].error);
			assert_int_equal(a->udp_tx, 0);
		} else {
			assert_int_equal(net->flights[0].len, cases[i].sent);
		}
		net_run(net, 100);
		assert_int_equal(n_done, 1);
		assert_int_equal(last.error, cases[i].error);
		teardown(NULL);
	}
}

static void test_too_long_for_the_way(void **)
{
	no_derp();
	a->no_way = true;
	ping(9000, 1000);
	assert_int_equal(n_done, 1);
	assert_int_equal(last.error, -EMSGSIZE);
	ping(0, 1000); // nothing went, but it may yet
	assert_int_equal(n_done, 1);
}

static void test_refusals(void **)
{
	struct endpoint room[2];
	struct nm_node n = net_node(b, room);

	mesh_ping(a->mesh, &(struct key){{9}}, 0, 1000, on_done, NULL);
	assert_int_equal(last.error, -ENOENT);
	n.key = (struct key){{10}};
	n.disco = (struct key){0};
	n.wg_only = true;
	assert_int_equal(mesh_peer_set(a->mesh, &n), 0);
	last.error = 0;
	mesh_ping(a->mesh, &n.key, 0, 1000, on_done, NULL);
	assert_int_equal(last.error, -ENOENT);
	assert_int_equal(n_done, 2);
	for (unsigned i = 0; i < MESH_PINGS_MAX; i++)
		ping(0, 1000);
	assert_int_equal(n_done, 2);
	ping(0, 1000);
	assert_int_equal(n_done, 3);
	assert_int_equal(last.error, -EBUSY);
	mesh_peer_remove(a->mesh, &b->node);
	assert_int_equal(n_done, 3 + MESH_PINGS_MAX);
	assert_int_equal(last.error, -ENOENT);
}

// Nobody else answers for the peer, not even over the right way.
static void test_forged_pongs(void **)
{
	struct host *mallory = net_add(net, "192.0.2.66", NULL, NAT_NONE, 3);
	uint8_t packet[DISCO_PACKET_MAX];
	struct disco_message pong = {.type = DISCO_PONG};

	net_join(a, mallory);
	b->nat = NAT_BLOCKED;
	mesh_ping(a->mesh, &b->node, 0, 1000, on_done, NULL);
	const struct mesh_ping *p = a->mesh->pings;
	assert_int_equal(p->n_tries, 2);
	for (unsigned i = 0; i < p->n_tries; i++) {
		memcpy(pong.pong.txid, p->tries[i].txid, DISCO_TXID_LEN);
		size_t len = seal_from(mallory, a, &pong, packet);
		mesh_input(a->mesh, &b->local, 0, packet, len);
		assert_true(mesh_derp_input(a->mesh, 2, &mallory->node, packet, len));
		// The peer's own, but over the other way.
		len = seal_from(b, a, &pong, packet);
		if (p->tries[i].region)
			mesh_input(a->mesh, &b->local, 0, packet, len);
		else
			assert_true(mesh_derp_input(a->mesh, 2, &b->node, packet, len));
	}
	assert_int_equal(n_done, 0);
	assert_int_equal(mesh_counter(a->mesh, MESH_COUNTER_DISCO_UNASKED), 6);
}

// Those who ask once more from within, to the end.
static void ask_again(void *, const struct mesh_pong *pong)
{
	on_done(NULL, pong);
	if (n_done < 1000)
		mesh_ping(a->mesh, &b->node, 0, 0, ask_again, NULL);
}

static void test_asks_again_from_within(void **)
{
	no_derp();
	mesh_ping(a->mesh, &b->node, 0, 0, ask_again, NULL);
	for (unsigned i = 0; i < 100 && n_done < 1000; i++)
		mesh_tick(a->mesh);
	assert_int_equal(n_done, 1000);
	n_done = 0;
	mesh_ping(a->mesh, &b->node, 0, 1000, ask_again, NULL);
	n_done = 998;
	mesh_peer_remove(a->mesh, &b->node); // gone before done is called
	assert_int_equal(n_done, 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_finds_the_path, setup, teardown),
		cmocka_unit_test_setup_teardown(test_over_derp, setup, teardown),
		cmocka_unit_test(test_direct_soon_after_derp),
		cmocka_unit_test_setup_teardown(test_derp_pong_is_told_in_time, setup, teardown),
		cmocka_unit_test_setup_teardown(test_times_out, setup, teardown),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test_setup_teardown(test_too_long_for_the_way, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
		cmocka_unit_test_setup_teardown(test_forged_pongs, setup, teardown),
		cmocka_unit_test_setup_teardown(test_asks_again_from_within, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
