// What the mesh finds out about the size of its paths, and who cannot deceive it.
#include "tests/unit/mesh_net.h"

enum { LINK = 1500, UDP4 = 28, FULL = 1372 };

static struct net *net;
static struct host *a, *b, *c;
static uint16_t narrow;	  // what the way carries; 0: anything
static unsigned n_probes; // that left a host, padded
static uint8_t last_probe[DISCO_PACKET_MAX];
static size_t last_probe_len;

static bool way(struct net *, const struct flight *f)
{
	if (f->len > 200) {
		n_probes++;
		last_probe_len = f->len;
		memcpy(last_probe, f->data, f->len);
	}
	return narrow == 0 || f->len + UDP4 <= narrow;
}

static int open_net(void **)
{
	net = net_create();
	net->tap = way;
	a = net_add(net, "192.0.2.1", NULL, NAT_NONE, 1);
	b = net_add(net, "192.0.2.2", NULL, NAT_NONE, 2);
	c = net_add(net, "192.0.2.3", NULL, NAT_NONE, 3);
	net_join(a, b);
	net_join(a, c);
	a->link_mtu = LINK;
	a->data_len = FULL;
	narrow = 0;
	n_probes = 0;
	return 0;
}

static int teardown(void **)
{
	net_destroy(net);
	return 0;
}

static uint16_t mtu(void)
{
	return host_route_to(a, b)->mtu;
}

// Data both ways, as TCP has it.
static void stream(uint64_t ms)
{
	for (uint64_t at = 0; at < ms; at += 20) {
		host_data(a, b);
		a->last_rx_ns[1] = net->now_ns;
		net_run(net, 20);
	}
}

// Milliseconds of data until the route says so.
static unsigned until(uint16_t want, unsigned most)
{
	unsigned at = 0;

	for (; at < most && mtu() != want; at += 20)
		stream(20);
	print_message("%u after %u ms\n", mtu(), at);
	return at;
}

static void test_first_use(void **)
{
	narrow = 1400;
	host_data(a, b);
	net_run(net, NET_DERP_MS);
	assert_route(a, b, "direct");
	assert_int_equal(mtu(), 0); // nothing is known yet
	assert_true(until(1400, 2000) < 2000);
	assert_int_equal(host_info(a, b).route.mtu, 1400);
	assert_true(mesh_counter(a->mesh, MESH_COUNTER_PMTU_TX) == n_probes);
	assert_int_equal(mesh_counter(a->mesh, MESH_COUNTER_DISCO_UNASKED), 0);
	assert_int_equal(mtu(), 1400);
}

static void test_wide_path_costs_two(void **)
{
	assert_true(until(LINK, 2000) < 500);
	assert_int_equal(n_probes, 2);
	assert_int_equal(mesh_counter(a->mesh, MESH_COUNTER_PMTU_RX), 2);
}

static void test_shrinks_and_grows(void **)
{
	until(LINK, 2000);
	stream(1000);
	narrow = 1380;
	assert_true(until(1380, 3000) < 1000);
	assert_int_equal(mesh_counter(a->mesh, MESH_COUNTER_PMTU_LOWERED), 1);
	narrow = 0;
	assert_true(until(LINK, 60000) < 20000);
	assert_int_equal(mesh_counter(a->mesh, MESH_COUNTER_PMTU_RAISED), 1);
}

// Nothing comes back: that is looked at without waiting.
static void test_black_hole(void **)
{
	until(LINK, 2000);
	stream(1000);
	narrow = 1300;
	for (unsigned at = 0; at < 700; at += 100) {
		host_data(a, b);
		net_run(net, 100);
	}
	assert_int_equal(mtu(), 1300);
	assert_route(a, b, "direct");
}

static void test_quiet_when_unused(void **)
{
	until(LINK, 2000);
	net_run(net, 2000);
	n_probes = 0;
	net_run(net, 120000);
	assert_int_equal(n_probes, 0);
}

static void test_little_disco_wanted(void **)
{
	mesh_set_silent(a->mesh, true);
	until(LINK, 2000);
	n_probes = 0;
	stream(20000);
	assert_in_range(n_probes, 2, 5);
}

static void test_no_probes_without_link(void **)
{
	a->link_mtu = 0;
	stream(5000);
	assert_int_equal(n_probes, 0);
	assert_int_equal(mtu(), 0);
	a->link_mtu = 576; // less than what is taken for granted
	stream(5000);
	assert_int_equal(n_probes, 0);
}

// Larger than any disco message is not probed.
static void test_largest_probe(void **)
{
	a->link_mtu = UINT16_MAX;
	assert_true(until(DISCO_PACKET_MAX + UDP4, 2000) < 500);
}

static void test_other_path(void **)
{
	narrow = 1400;
	until(1400, 2000);
	mesh_rebind(a->mesh);
	assert_int_equal(mtu(), 0); // of another path nothing is known
	narrow = 0;
	assert_true(until(LINK, 4000) < 3000);
}

static void test_link_shrinks(void **)
{
	until(LINK, 2000);
	a->link_mtu = 1400;
	stream(200);
	assert_int_equal(mtu(), 1400);
}

// The last probe of a, which was lost: how b would answer it.
static struct disco_message answer(void)
{
	struct disco_message ping;
	struct box box;

	assert_int_equal(
		box_init(&box, b->mesh->self.disco_private.bytes, mesh_disco_key(a->mesh)->bytes),
		0);
	assert_int_equal(disco_open(&box, last_probe, last_probe_len, &ping), 0);
	struct disco_message pong = {.type = DISCO_PONG, .pong.src = a->local};
	memcpy(pong.pong.txid, ping.ping.txid, sizeof(pong.pong.txid));
	return pong;
}

static void test_forged_pongs(void **)
{
	uint8_t packet[DISCO_PACKET_MAX];

	until(LINK, 2000);
	n_probes = 0;
	narrow = 1400;
	while (n_probes == 0) // a check, which does not arrive
		stream(20);
	assert_int_equal(last_probe_len + UDP4, LINK);
	const struct disco_message pong = answer();
	const uint64_t before = mesh_counter(a->mesh, MESH_COUNTER_PMTU_RX);
	// Another peer, who knows its number from somewhere; and under the name of that one.
	size_t len = seal_from(c, a, &pong, packet);
	mesh_input(a->mesh, &b->local, 0, packet, len);
	len = seal_as(&c->mesh->self.disco_private, mesh_disco_key(a->mesh),
		mesh_disco_key(b->mesh), &pong, packet);
	mesh_input(a->mesh, &b->local, 0, packet, len);
	// The peer itself, with another number; over DERP; and damaged.
	struct disco_message other = pong;
	other.pong.txid[0] ^= 1;
	len = seal_from(b, a, &other, packet);
	mesh_input(a->mesh, &b->local, 0, packet, len);
	len = seal_from(b, a, &pong, packet);
	mesh_derp_input(a->mesh, 2, &b->node, packet, len);
	packet[len - 1] ^= 1;
	mesh_input(a->mesh, &b->local, 0, packet, len);
	assert_int_equal(mesh_counter(a->mesh, MESH_COUNTER_PMTU_RX), before);
	assert_true(until(1400, 3000) < 1000);
	// Only what answers it in time is believed; later it changes nothing.
	net_run(net, 10000);
	packet[len - 1] ^= 1;
	mesh_input(a->mesh, &b->local, 0, packet, len);
	assert_int_equal(mtu(), 1400);
}

// Probes to all peers together are bounded.
static void test_rate(void **)
{
	host_data(a, b);
	net_run(net, NET_DERP_MS);
	a->mesh->pmtu_tat_ns = net->now_ns + 3600 * 1000 * MESH_MS;
	stream(2000);
	assert_int_equal(n_probes, 0);
	assert_true(mesh_counter(a->mesh, MESH_COUNTER_PMTU_LIMITED) > 0);
	assert_int_equal(mtu(), 0);
	a->mesh->pmtu_tat_ns = 0;
	assert_true(until(LINK, 4000) < 2000);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_first_use, open_net, teardown),
		cmocka_unit_test_setup_teardown(test_wide_path_costs_two, open_net, teardown),
		cmocka_unit_test_setup_teardown(test_shrinks_and_grows, open_net, teardown),
		cmocka_unit_test_setup_teardown(test_black_hole, open_net, teardown),
		cmocka_unit_test_setup_teardown(test_quiet_when_unused, open_net, teardown),
		cmocka_unit_test_setup_teardown(test_little_disco_wanted, open_net, teardown),
		cmocka_unit_test_setup_teardown(test_no_probes_without_link, open_net, teardown),
		cmocka_unit_test_setup_teardown(test_largest_probe, open_net, teardown),
		cmocka_unit_test_setup_teardown(test_other_path, open_net, teardown),
		cmocka_unit_test_setup_teardown(test_link_shrinks, open_net, teardown),
		cmocka_unit_test_setup_teardown(test_forged_pongs, open_net, teardown),
		cmocka_unit_test_setup_teardown(test_rate, open_net, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
