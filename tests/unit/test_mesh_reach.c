// Whether datagrams reach us unasked: by way of peers that no firewall expects.
#include "tests/unit/mesh_net.h"

static struct net *net;
static struct host *a, *b, *c;
static struct mesh_reach last;
static unsigned n_done;

static void begin(enum nat of_a, const char *outside, enum nat of_b)
{
	net = net_create();
	a = net_add(net, "10.0.0.1", outside, of_a, 1);
	b = net_add(net, "192.0.2.2", NULL, of_b, 2);
	c = net_add(net, "192.0.2.3", NULL, NAT_NONE, 2);
	net_join(a, b);
	net_join(a, c);
	n_done = 0;
	last = (struct mesh_reach){};
}

static void end(void)
{
	net_destroy(net);
}

static void on_done(void *, const struct mesh_reach *r)
{
	last = *r;
	n_done++;
}

static int start(unsigned ms)
{
	const struct key nodes[] = {b->node, c->node};
	return mesh_reach_start(a->mesh, nodes, 2, ms, on_done, NULL);
}

static void test_outcomes(void **)
{
	static const struct {
		const char *name, *outside;
		enum nat a, b;
		unsigned reached; // at least
		bool reaches;
	} cases[] = {
		{"no NAT", NULL, NAT_NONE, NAT_NONE, 1, true},
		{"a NAT that lets everybody in", "198.51.100.1", NAT_CONE, NAT_NONE, 1, true},
		{"a NAT that lets in whom it knows", "198.51.100.1", NAT_EASY, NAT_NONE, 0, false},
		{"a hard NAT", "198.51.100.1", NAT_HARD, NAT_NONE, 0, false},
		{"UDP is blocked", NULL, NAT_BLOCKED, NAT_NONE, 0, false},
		{"one of the peers is blocked", NULL, NAT_NONE, NAT_BLOCKED, 1, true},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		print_message("%s\n", cases[i].name);
		begin(cases[i].a, cases[i].outside, cases[i].b);
		assert_int_equal(start(4000), 0);
		assert_int_equal(n_done, 0); // only from the loop
		net_run(net, 5000);
		assert_int_equal(n_done, 1);
		assert_int_equal(last.asked, 2);
		assert_true(last.reached >= cases[i].reached);
		assert_int_equal(last.from.port != 0, cases[i].reaches);
		if (cases[i].reaches) {
			assert_int_equal(last.from.port, NET_PORT);
			assert_true(mesh_key_equal(&last.node, &b->node) ||
				    mesh_key_equal(&last.node, &c->node));
		}
		end();
	}
}

// It ends with the first sign from the world, and sends nothing over UDP before.
static void test_ends_early(void **)
{
	begin(NAT_NONE, NULL, NAT_NONE);
	assert_int_equal(start(4000), 0);
	assert_int_equal(a->udp_tx, 0);
	net_run(net, NET_DERP_MS + NET_UDP_MS + MESH_TICK_MIN_MS);
	assert_int_equal(n_done, 1);
	end();
}

// Who was sent something over UDP proves nothing.
static void test_only_quiet_ones(void **)
{
	begin(NAT_NONE, NULL, NAT_NONE);
	host_data(a, b);
	net_run(net, 1000);
	assert_int_equal(start(4000), 0);
	net_run(net, 5000);
	assert_int_equal(n_done, 1);
	assert_int_equal(last.asked, 1);
	assert_true(mesh_key_equal(&last.node, &c->node));
	// Now both are known.
	assert_int_equal(start(4000), -ENOENT);
	net_run(net, 5000);
	assert_int_equal(n_done, 1);
	end();
}

static void test_refusals(void **)
{
	begin(NAT_NONE, NULL, NAT_NONE);
	const struct key nobody = {{7}};
	assert_int_equal(mesh_reach_start(a->mesh, NULL, 0, 1000, on_done, NULL), -ENOENT);
	assert_int_equal(mesh_reach_start(a->mesh, &nobody, 1, 1000, on_done, NULL), -ENOENT);
	assert_int_equal(mesh_reach_start(a->mesh, &a->node, 1, 1000, on_done, NULL), -ENOENT);
	assert_int_equal(start(1000), 0);
	assert_int_equal(start(1000), -EBUSY);
	net_run(net, 2000);
	assert_int_equal(n_done, 1);
	end();
	begin(NAT_BLOCKED, NULL, NAT_NONE);
	assert_int_equal(start(60000), 0);
	end(); // it ends with the mesh
	assert_int_equal(n_done, 1);
	assert_int_equal(last.reached, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_outcomes),
		cmocka_unit_test(test_ends_early),
		cmocka_unit_test(test_only_quiet_ones),
		cmocka_unit_test(test_refusals),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
