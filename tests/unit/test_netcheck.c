// What is found out about simulated networks, how soon, and by how many datagrams.
#include "tests/unit/netcheck_sim.h"

enum { REGIONS = 6 };

struct conditions {
	const char *name;
	struct sim_region regions[REGIONS];
	enum sim_nat nat;
	bool no_v4, no_v6, only_tcp, portal, names_at_once;
	int captive_ms, names_ms;
	// What is to come out.
	bool udp, v4, v6;
	int varies;
	uint32_t home;
	unsigned took_ms, sent, https, captives;
	int captive;
};

static const struct conditions full[] = {
	{"one region", .regions = {{1, 20}}, .no_v6 = true, .udp = true, .v4 = true, .varies = -1,
		.home = 1, .took_ms = 20, .sent = 1, .captive = -1},
	{"two regions, one mapping", .regions = {{1, 50}, {2, 20}}, .udp = true, .v4 = true,
		.home = 2, .took_ms = 50, .sent = 2, .captive = -1},
	{"two regions, hard NAT", .regions = {{1, 50}, {2, 20}}, .nat = SIM_HARD, .udp = true,
		.v4 = true, .varies = 1, .home = 2, .took_ms = 50, .sent = 2, .captive = -1},
	{"both families", .regions = {{1, 50, 40}, {2, 20, 60}}, .udp = true, .v4 = true,
		.v6 = true, .home = 2, .took_ms = 60, .sent = 4, .captive = -1},
	{"IPv6 alone", .regions = {{1, 50, 40}, {2, 20, 60}}, .no_v4 = true, .udp = true,
		.v6 = true, .varies = -1, .home = 1, .took_ms = 60, .sent = 2, .captive = -1},
	{"IPv6 cannot be sent: no wait for it", .regions = {{1, 50, 40}, {2, 20, 60}},
		.no_v6 = true, .udp = true, .v4 = true, .home = 2, .took_ms = 50, .sent = 2,
		.captive = -1},
	{"three regions are enough: twice the slowest more",
		.regions = {{1, 20}, {2, 30}, {3, 40}, {4, 115}, {5, 300}, {6, 400}}, .udp = true,
		.v4 = true, .home = 1, .took_ms = 120, .sent = 9, .captive = -1},
	{"the first datagram is lost", .regions = {{1, 20, .lose = 1}, {2, 30}}, .udp = true,
		.v4 = true, .home = 1, .took_ms = 120, .sent = 3, .captive = -1},
	{"two are lost", .regions = {{1, 20, .lose = 2}, {2, 30}}, .udp = true, .v4 = true,
		.home = 1, .took_ms = 220, .sent = 4},
	{"a silent region is waited for", .regions = {{1, 20, .lose = 99}, {2, 30}}, .udp = true,
		.v4 = true, .varies = -1, .home = 2, .took_ms = 3000, .sent = 4, .captive = 0},
	{"latency above the retry", .regions = {{1, 150}}, .udp = true, .v4 = true, .varies = -1,
		.home = 1, .took_ms = 150, .sent = 2, .captive = -1},
	{"not to be measured, no STUN",
		.regions = {{1, 5, .no_measure = true}, {2, 30}, {3, 5, .stun_off = true}},
		.udp = true, .v4 = true, .varies = -1, .home = 2, .took_ms = 30, .sent = 1,
		.captive = -1},
	{"avoid: no home while there is another", .regions = {{1, 5, .avoid = true}, {2, 30}},
		.udp = true, .v4 = true, .home = 2, .took_ms = 30, .sent = 2, .captive = -1},
	{"avoid: better than no home", .regions = {{1, 5, .avoid = true}}, .udp = true, .v4 = true,
		.varies = -1, .home = 1, .took_ms = 5, .sent = 1, .captive = -1},
	{"a score makes a region nearer", .regions = {{1, 90, .score = 0.5}, {2, 60}}, .udp = true,
		.v4 = true, .home = 1, .took_ms = 90, .sent = 2, .captive = -1},
	{"names", .regions = {{1, 20, .by_name = true}, {2, 30, .by_name = true}}, .names_ms = 40,
		.udp = true, .v4 = true, .home = 1, .took_ms = 70, .sent = 2, .captive = -1},
	{"slow names: retries count from then", .regions = {{1, 20, .by_name = true}},
		.names_ms = 1000, .udp = true, .v4 = true, .varies = -1, .home = 1, .took_ms = 1020,
		.sent = 1, .captive = 0},
	{"names from within", .regions = {{1, 20, 25, .by_name = true}}, .names_at_once = true,
		.udp = true, .v4 = true, .v6 = true, .varies = -1, .home = 1, .took_ms = 25,
		.sent = 2, .captive = -1},
	{"no answer to names", .regions = {{1, 20, .by_name = true, .https_ms = 70}},
		.names_ms = SIM_NEVER, .varies = -1, .home = 1, .took_ms = 3070, .https = 1,
		.captive = 0},
	{"UDP blocked",
		.regions = {{1, 20, .lose = 99, .https_ms = 80, .port_80 = true},
			{2, 30, .lose = 99, .https_ms = 60}},
		.varies = -1, .home = 2, .took_ms = 3080, .sent = 6, .https = 2, .captives = 1},
	{"all is silent",
		.regions = {{1, 20, .lose = 99, .https_ms = SIM_NEVER, .icmp_ms = SIM_NEVER}},
		.varies = -1, .took_ms = 5000, .sent = 3, .https = 1},
	{"only ICMP", .regions = {{1, 20, .lose = 99, .icmp_ms = 10}}, .v4 = true, .varies = -1,
		.home = 1, .took_ms = 3010, .sent = 3, .https = 1},
	{"ICMP is waited for a second",
		.regions = {{1, 20, .lose = 99, .icmp_ms = SIM_NEVER, .https_ms = 10}},
		.varies = -1, .home = 1, .took_ms = 4000, .sent = 3, .https = 1},
	{"no network", .regions = {{1, 20, 20}, {2, 30, 30}}, .no_v4 = true, .no_v6 = true,
		.varies = -1, .took_ms = 200, .https = 2},
	{"TCP alone", .regions = {{1, 20, .https_ms = 300}, {2, 30, .https_ms = 250}},
		.only_tcp = true, .varies = -1, .home = 2, .took_ms = 300, .https = 2},
	{"TCP alone, STUN-only region",
		.regions = {{1, 20, .stun_only = true}, {2, 30, .https_ms = 250}}, .only_tcp = true,
		.varies = -1, .home = 2, .took_ms = 250, .https = 1},
	{"captive portal", .regions = {{1, 20, .lose = 99, .port_80 = true}}, .portal = true,
		.captive_ms = 10, .varies = -1, .took_ms = 3000, .sent = 3, .https = 1,
		.captives = 1, .captive = 1},
	{"portal's check hangs", .regions = {{1, 20, .https_ms = 20, .port_80 = true}},
		.captive_ms = SIM_NEVER, .only_tcp = true, .varies = -1, .home = 1, .took_ms = 3200,
		.https = 1, .captives = 1, .captive = 0},
	{"no region at all", .varies = -1, .took_ms = 200},
};

static struct sim *prepare(struct conditions *c)
{
	unsigned n = 0;

	while (n < REGIONS && c->regions[n].id)
		n++;
	struct sim *const s = sim_create(c->regions, n);
	s->nat = c->nat;
	s->no_v4 = c->no_v4;
	s->no_v6 = c->no_v6;
	s->portal = c->portal;
	s->captive_ms = c->captive_ms;
	s->names_at_once = c->names_at_once;
	s->names_ms = c->names_ms;
	return s;
}

static void test_conditions(void **)
{
	for (size_t i = 0; i < sizeof(full) / sizeof(full[0]); i++) {
		struct conditions c = full[i];
		struct sim *const s = prepare(&c);
		const struct netcheck_report *const r = &s->report;

		sim_run(s, false, c.only_tcp);
		print_message("%s: %u ms, %u datagrams, home %u\n", c.name,
			(unsigned)(s->took_ns / SIM_MS), s->sent_v4 + s->sent_v6, r->preferred);
		assert_true(r->full);
		assert_int_equal(s->took_ns / SIM_MS, c.took_ms);
		assert_int_equal(s->sent_v4 + s->sent_v6, c.sent);
		assert_int_equal(r->udp, c.udp);
		assert_int_equal(r->ipv4, c.v4);
		assert_int_equal(r->ipv6, c.v6);
		assert_int_equal(r->mapping_varies, c.varies);
		assert_int_equal(r->preferred, c.home);
		assert_int_equal(s->https, c.https);
		assert_int_equal(s->captives, c.captives);
		assert_int_equal(r->captive_portal, c.captive);
		assert_int_equal(r->unix_ns, s->now_ns + 1);
		assert_memory_equal(r, netcheck_last(s->nc), sizeof(*r));
		sim_destroy(s);
	}
}

// -- incremental ----------------------------------------------------------------------------------

static void pass(struct sim *s, unsigned seconds)
{
	s->now_ns += seconds * UINT64_C(1000000000);
}

static void test_incremental(void **)
{
	struct sim_region regions[] = {{1, 90}, {2, 20}, {3, 30}, {4, 40}, {5, 50}};
	struct sim *const s = sim_create(regions, 5);

	sim_run(s, false, false);
	assert_int_equal(s->report.preferred, 2);
	assert_int_equal(s->report.n_latency, 5);
	pass(s, 25);
	sim_run(s, false, false); // the three fastest, one datagram each
	assert_false(s->report.full);
	assert_int_equal(s->sent_v4, 3);
	assert_int_equal(s->report.n_latency, 3);
	assert_int_equal(s->took_ns / SIM_MS, 40);
	assert_int_equal(netcheck_region_ns(&s->report, 1), 0);
	assert_int_equal(netcheck_region_ns(&s->report, 4), 40 * SIM_MS);
	pass(s, 25);
	sim_run(s, true, false);
	assert_true(s->report.full);
	assert_int_equal(s->report.n_latency, 5);
	pass(s, 299);
	sim_run(s, false, false);
	assert_false(s->report.full);
	pass(s, 2);
	sim_run(s, false, false); // the last full one is more than five minutes ago
	assert_true(s->report.full);
	sim_set_map(s);
	sim_run(s, false, false); // another map
	assert_true(s->report.full);
	sim_destroy(s);
}

// Home is asked even if three others are faster, and four times before it counts as gone.
static void test_incremental_home(void **)
{
	struct sim_region regions[] = {{1, 20}, {2, 40}, {3, 50}, {4, 60}};
	struct sim *const s = sim_create(regions, 4);

	sim_run(s, false, false);
	assert_int_equal(s->report.preferred, 1);
	regions[0].v4_ms = 70;
	pass(s, 25);
	sim_run(s, true, false);
	assert_int_equal(netcheck_region_ns(&s->report, 1), 70 * SIM_MS);
	pass(s, 25);
	sim_run(s, false, false);
	assert_int_equal(s->sent_v4, 4);
	assert_int_equal(netcheck_region_ns(&s->report, 1), 70 * SIM_MS);
	regions[0].lose = 99;
	pass(s, 25);
	sim_run(s, false, false);
	assert_int_equal(netcheck_region_ns(&s->report, 1), 0);
	assert_int_equal(s->sent_v4, 5); // three answers end it after the first retry
	regions[1].lose = 99;
	pass(s, 25);
	sim_run(s, false, false); // silent: 4 of home, 1 to 2 of the others
	assert_int_equal(s->report.preferred, 3);
	sim_destroy(s);
}

static void test_ipv6_alternates(void **)
{
	struct sim_region regions[] = {{1, 20, 20}, {2, 30, 30}, {3, 40, 40}, {4, 50, 50}};
	struct sim *const s = sim_create(regions, 4);

	sim_run(s, false, false);
	pass(s, 25);
	sim_run(s, false, false); // both families of the fastest two, one of the third
	assert_int_equal(s->sent_v4, 3);
	assert_int_equal(s->sent_v6, 2);
	netcheck_set_host(s->nc, true, false, false);
	pass(s, 25);
	sim_run(s, false, false);
	assert_int_equal(s->sent_v4, 3);
	assert_int_equal(s->sent_v6, 0);
	assert_false(s->report.os_has_ipv6);
	sim_destroy(s);
}

// After a portal without UDP the next is full again, and finds what there is.
static void test_out_of_portal(void **)
{
	struct sim_region regions[] = {{1, 20, .lose = 99, .port_80 = true}, {2, 30, .lose = 99}};
	struct sim *const s = sim_create(regions, 2);

	s->portal = true;
	sim_run(s, false, false);
	assert_int_equal(s->report.captive_portal, 1);
	assert_int_equal(s->report.preferred, 0);
	regions[0].lose = regions[1].lose = 0;
	pass(s, 20);
	sim_run(s, false, false);
	assert_true(s->report.full);
	assert_true(s->report.udp);
	assert_int_equal(s->report.captive_portal, -1);
	assert_int_equal(s->report.preferred, 1);
	sim_destroy(s);
}

static void test_names_are_kept(void **)
{
	struct sim_region regions[] = {{1, 20, .by_name = true}, {2, 30, .by_name = true}};
	struct sim *const s = sim_create(regions, 2);

	sim_run(s, false, false);
	assert_int_equal(s->resolves, 2);
	pass(s, 25);
	sim_run(s, false, false);
	assert_int_equal(s->resolves, 0);
	pass(s, 300);
	s->names_ms = SIM_NEVER; // the last good one serves meanwhile
	sim_run(s, false, false);
	assert_int_equal(s->resolves, 2);
	assert_int_equal(s->took_ns / SIM_MS, 30);
	assert_int_equal(s->report.n_latency, 2);
	sim_destroy(s);
}

// 256 regions: everything is bounded, HTTPS goes a few at a time.
static void test_many_regions(void **)
{
	static struct sim_region regions[SIM_REGIONS_MAX];
	struct nm_derp_region *first;

	for (unsigned i = 0; i < SIM_REGIONS_MAX; i++)
		regions[i] = (struct sim_region){

			.id = i + 1, .v4_ms = 90, .v6_ms = 90, .https_ms = 10};
	struct sim *const s = sim_create(regions, SIM_REGIONS_MAX);
	sim_run(s, false, false);
	assert_int_equal(s->report.n_latency, NETCHECK_REGIONS_MAX);
	assert_int_equal(s->sent_v4 + s->sent_v6, 2 * NETCHECK_REGIONS_MAX);
	pass(s, 20);
	sim_run(s, false, false);
	assert_int_equal(s->sent_v4 + s->sent_v6, 5);
	pass(s, 20);
	for (unsigned i = 0; i < SIM_REGIONS_MAX; i++)
		regions[i].lose = 99;
	sim_run(s, true, false);
	assert_int_equal(s->https, NETCHECK_REGIONS_MAX);
	assert_int_equal(s->https_most, 32);
	assert_int_equal(s->report.n_latency, NETCHECK_REGIONS_MAX);
	pass(s, 20);
	sim_run(s, false, false); // no UDP, incremental: not all of them again
	assert_int_equal(s->https, 3);
	first = s->map.regions;
	s->map = (struct nm_derp_map){.regions = first, .n_regions = 0};
	netcheck_set_map(s->nc, &s->map);
	sim_run(s, false, false);
	assert_int_equal(s->report.n_latency, 0);
	sim_destroy(s);
}

// -- global addresses -----------------------------------------------------------------------------

static void test_globals(void **)
{
	static const struct {
		const char *name;
		enum sim_nat nat;
		unsigned regions, seen, advertised;
		bool v6;
	} cases[] = {
		{"one mapping", SIM_OPEN, 4, 1, 1, false},
		{"one of each family", SIM_OPEN, 4, 2, 2, true},
		{"hard NAT: only the best", SIM_HARD, 4, 4, 1, false},
		{"hard NAT, more than the report holds", SIM_HARD, 40, NETCHECK_GLOBALS_MAX, 1,
			false},
		{"the mapping changes midway", SIM_TURNS, 8, 2, 2, false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct sim_region regions[40];
		struct endpoint out[NETCHECK_GLOBALS_MAX];

		for (unsigned k = 0; k < cases[i].regions; k++)
			regions[k] = (struct sim_region){.id = k + 1,
				.v4_ms = 20 + (int)k / 10,
				.v6_ms = cases[i].v6 ? 30 : 0};
		struct sim *const s = sim_create(regions, cases[i].regions);
		s->nat = cases[i].nat;
		sim_run(s, false, false);
		print_message("%s: %u\n", cases[i].name, s->report.n_globals);
		assert_int_equal(s->report.n_globals, cases[i].seen);
		assert_true(endpoint_equal(&s->report.globals[0], &s->report.global_v4));
		assert_int_equal(netcheck_globals(&s->report, out, NETCHECK_GLOBALS_MAX),
			cases[i].advertised);
		assert_true(endpoint_equal(&out[0], &s->report.global_v4));
		assert_int_equal(netcheck_globals(&s->report, out, 0), 0);
		sim_destroy(s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_conditions),
		cmocka_unit_test(test_incremental),
		cmocka_unit_test(test_incremental_home),
		cmocka_unit_test(test_ipv6_alternates),
		cmocka_unit_test(test_out_of_portal),
		cmocka_unit_test(test_names_are_kept),
		cmocka_unit_test(test_many_regions),
		cmocka_unit_test(test_globals),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
