// The pool of DERP connections against servers that do not behave, maps that lead nowhere and
// packets that it does not take.
#include "tests/unit/derp_pool_client.h"

static void refuses_to_send(void **)
{
	static const uint8_t large[DERP_PACKET_MAX + 1];
	const struct server s = derp_server_start(DERP_LIMITS, DERP_LIMITS);
	const struct key none = {0};
	struct test t;

	begin(&t);
	set_ports(&t, s.port, 0);
	assert_int_equal(derp_pool_send(t.pool, 77, &peer, "x", 1), -EHOSTUNREACH);
	assert_int_equal(derp_pool_send(t.pool, REGION, &peer, large, sizeof(large)), -EMSGSIZE);
	derp_pool_set_home(t.pool, REGION);
	WAIT(&t, info_of(&t, REGION).connected);
	assert_int_equal(derp_pool_send(t.pool, REGION, &peer, large, sizeof(large)), -EMSGSIZE);
	assert_int_equal(derp_pool_send(t.pool, REGION, &peer, large, 900), 0);
	assert_int_equal(derp_pool_send(t.pool, REGION, &peer, large, 900), -ENOBUFS);
	assert_int_equal(info_of(&t, REGION).tx_dropped, 2);
	derp_pool_set_key(t.pool, &none);
	assert_false(info_of(&t, REGION).connected);
	assert_int_equal(derp_pool_send(t.pool, REGION, &peer, "x", 1), -EHOSTUNREACH);
	run(&t, 50);
	assert_int_equal(info_of(&t, REGION).connects, 1);
	end(&t);
	server_stop(s);
}

static void stops_trying(void **)
{
	struct test t;

	begin(&t);
	set_ports(&t, 0, 0);
	assert_int_equal(derp_pool_send(t.pool, REGION, &peer, "x", 1), 0);
	WAIT(&t, t.pool->regions[0]->failures >= 3);
	assert_non_null(strstr(info_of(&t, REGION).error, "refuses"));
	jump(&t, DERP_IDLE_S);
	const unsigned failures = t.pool->regions[0]->failures;
	assert_int_equal(t.pool->regions[0]->n_waiting, 0);
	assert_int_equal(info_of(&t, REGION).tx_dropped, 1);
	run(&t, 300);
	assert_int_equal(t.pool->regions[0]->failures, failures);
	end(&t);
}

// Pauses grow to 5 s and not further, however often it fails.
static void backs_off(void **)
{
	static const unsigned counts[] = {15, 21, 22, 500, 1000, 1001};
	struct test t;

	begin(&t);
	set_ports(&t, 0, 0);
	derp_pool_set_home(t.pool, REGION);
	struct derp_region *r = t.pool->regions[0];
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		WAIT(&t, !r->stream && r->failures > 0);
		r->failures = counts[i] - 1;
		r->retry_ns = 0;
		const uint64_t before = now_ns(&t); // it may be refused within the tick
		derp_region_tick(-1, 0, r);
		WAIT(&t, !r->stream);
		const uint64_t mean = counts[i] < 22 ? counts[i] * counts[i] * 10 : 5000;
		assert_int_equal(r->failures, counts[i] < 1000 ? counts[i] : 1000);
		assert_true(r->retry_ns >= before + mean / 2 * DERP_MS);
		assert_true(r->retry_ns <= now_ns(&t) + 5000 * DERP_MS);
	}
	end(&t);
}

static void refuses_servers(void **)
{
	static const struct {
		enum derp_behaviour how;
		const char *why;
		unsigned after_s; // the clock has to jump
	} cases[] = {
		{DERP_NO_UPGRADE, "HTTP 404", 0},
		{DERP_NO_KEY, "no greeting within", DERP_STEP_TIMEOUT_S},
		{DERP_NOT_ADMITTED, "verify clients", 0},
		{DERP_BAD_INFO, "does not open", 0},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct server s = derp_server_start(cases[i].how, cases[i].how);
		struct test t;
		begin(&t);
		set_ports(&t, s.port, 0);
		derp_pool_set_home(t.pool, REGION);
		if (cases[i].after_s) {
			WAIT(&t, t.pool->regions[0]->derp);
			run(&t, 100);
			jump(&t, cases[i].after_s);
		}
		WAIT(&t, strstr(info_of(&t, REGION).error, cases[i].why));
		assert_int_equal(info_of(&t, REGION).connects, 0);
		assert_false(info_of(&t, REGION).connected);
		end(&t);
		server_stop(s);
	}
}

static void refuses_nodes(void **)
{
	static const struct {
		struct nm_derp_node node;
		const char *why;
	} cases[] = {
		{{.host = "localhost", .stun_only = true, .derp_port = 443}, "only STUN"},
		{{.host = "localhost", .ipv4 = "none", .ipv6 = "none", .derp_port = 443},
			"without addresses"},
		{{.host = "local host", .ipv4 = "127.0.0.1", .derp_port = 443}, "Invalid argument"},
		{{.host = "a/../b", .derp_port = 443}, "Invalid argument"},
		{{.host = "localhost", .cert = "sha256-raw:xyz", .derp_port = 443},
			"Invalid argument"},
		{{.host = "no-such-host.invalid", .derp_port = 443}, "cannot be resolved"},
	};
	struct test t;

	begin(&t);
	derp_pool_set_home(t.pool, REGION);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		t.nodes[0][0] = cases[i].node;
		t.map.n_regions = 1;
		derp_pool_set_map(t.pool, &t.map);
		WAIT(&t, strstr(info_of(&t, REGION).error, cases[i].why));
	}
	t.regions[0].n_nodes = 0;
	derp_pool_set_map(t.pool, &t.map);
	WAIT(&t, strstr(info_of(&t, REGION).error, "no node"));
	t.map.n_regions = 0;
	derp_pool_set_map(t.pool, &t.map);
	struct derp_region_info info;
	assert_false(derp_pool_region(t.pool, REGION, &info));
	end(&t);
}

static void notices_silence(void **)
{
	const struct server s = derp_server_start(DERP_MUTE, DERP_GOOD);
	struct test t;

	begin(&t);
	set_ports(&t, s.port, 0);
	derp_pool_set_home(t.pool, REGION);
	WAIT(&t, info_of(&t, REGION).connected);
	jump(&t, DERP_READ_TIMEOUT_S - 1);
	assert_true(info_of(&t, REGION).connected);
	jump(&t, 1);
	assert_false(info_of(&t, REGION).connected);
	assert_non_null(strstr(info_of(&t, REGION).error, "nothing came"));
	WAIT(&t, info_of(&t, REGION).connects == 2);
	end(&t);
	server_stop(s);
}

static void asks_when_the_network_changed(void **)
{
	for (int mute = 0; mute < 2; mute++) {
		const struct server s = derp_server_start(mute ? DERP_MUTE : DERP_GOOD, DERP_GOOD);
		struct test t;
		begin(&t);
		set_ports(&t, s.port, 0);
		derp_pool_set_home(t.pool, REGION);
		WAIT(&t, info_of(&t, REGION).connected);
		derp_pool_rebind(t.pool);
		const struct derp_region *r = t.pool->regions[0];
		assert_true(r->ping_deadline_ns != UINT64_MAX);
		if (!mute)
			WAIT(&t, r->ping_deadline_ns == UINT64_MAX);
		jump(&t, DERP_PING_TIMEOUT_S);
		assert_int_equal(info_of(&t, REGION).connected, !mute);
		WAIT(&t, info_of(&t, REGION).connects == (mute ? 2u : 1u));
		end(&t);
		server_stop(s);
	}
}

static void remembers_routes(void **)
{
	static struct derp_routes routes;
	const struct derp_route *r;
	struct key k = {0};

	crypto_shorthash_keygen(routes.seed);
	derp_routes_learn(&routes, &peer, REGION, 1);
	derp_routes_forget(&routes, &peer, OTHER);
	r = derp_routes_find(&routes, &peer);
	assert_true(r && r->region == REGION && r->generation == 1);
	derp_routes_learn(&routes, &peer, OTHER, 2);
	r = derp_routes_find(&routes, &peer);
	assert_true(r && r->region == OTHER && r->generation == 2);
	derp_routes_forget(&routes, &peer, OTHER);
	assert_null(derp_routes_find(&routes, &peer));

	// Strangers push out others, and the newest is always there.
	for (uint32_t i = 1; i < 100000; i++) {
		memcpy(k.bytes, &i, sizeof(i));
		derp_routes_learn(&routes, &k, REGION, i);
		r = derp_routes_find(&routes, &k);
		assert_true(r && r->generation == i);
	}
}

static void bounds_what_waits(void **)
{
	const size_t kib = 1024, mib = 1024 * kib;
	struct derp_backlog b;

	derp_backlog_init(&b, 0);
	assert_true(derp_backlog_room(&b, 1, mib - 1));
	assert_false(derp_backlog_room(&b, 1, mib));
	// 600 KiB left in 100 ms in which something always waited: so much may wait.
	b = (struct derp_backlog){.queued = mib, .written = 600 * kib, .limit = mib};
	assert_false(derp_backlog_room(&b, 100 * DERP_MS, mib));
	assert_false(derp_backlog_room(&b, 101 * DERP_MS, 600 * kib));
	assert_true(derp_backlog_room(&b, 102 * DERP_MS, 600 * kib - 1));
	// Hardly anything leaves: the least is allowed still.
	b = (struct derp_backlog){.queued = 266 * kib, .limit = mib};
	assert_false(derp_backlog_room(&b, 100 * DERP_MS, 256 * kib));
	assert_true(derp_backlog_room(&b, 101 * DERP_MS, 256 * kib - 1));
	// Idle for long is not slow.
	b = (struct derp_backlog){.emptied = true, .limit = 256 * kib};
	assert_true(derp_backlog_room(&b, 1000 * DERP_S, 0));
	assert_true(derp_backlog_room(&b, 1000 * DERP_S, mib - 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refuses_to_send),
		cmocka_unit_test(stops_trying),
		cmocka_unit_test(backs_off),
		cmocka_unit_test(refuses_servers),
		cmocka_unit_test(refuses_nodes),
		cmocka_unit_test(notices_silence),
		cmocka_unit_test(asks_when_the_network_changed),
		cmocka_unit_test(remembers_routes),
		cmocka_unit_test(bounds_what_waits),
	};
	return cmocka_run_group_tests(tests, setup, pki_teardown);
}
