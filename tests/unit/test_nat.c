// The table of translated flows: limits, ports, who makes room for whom, idle times, other readers.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/nat_flows.h"

static void test_memory(void **)
{
	struct nat_table *t = create(NAT_FLOWS, 0, 1);
	assert_true(nat_table_memory(t) / NAT_FLOWS < 160);
	nat_table_destroy(t);
}

static void test_fill(void **)
{
	enum { N = 100000 };
	struct nat_table *t = create(N, 0, 1);
	struct nat_config c = some_config();
	for (uint32_t i = 0; i < N; i++)
		assert_non_null(open_flow(t, &c, i % 1000, 1000, i / 1000, NAT_UDP, 1000));
	assert_int_equal(nat_table_count(t), N);
	for (uint32_t i = 0; i < N; i++) {
		struct nat_key k = key_of(i % 1000, 1000, i / 1000, IPPROTO_UDP);
		struct nat_flow *f = nat_lookup(t, NAT_INSIDE, &k, 1001);
		assert_non_null(f);
		assert_ptr_equal(nat_lookup(t, NAT_OUTSIDE, &f->side[NAT_OUTSIDE], 1001), f);
		k.remote_port++;
		assert_null(nat_lookup(t, NAT_INSIDE, &k, 1001));
		assert_null(nat_lookup(t, NAT_OUTSIDE, &f->side[NAT_INSIDE], 1001));
	}
	while (nat_expire(t, 1000 + 60000, 128))
		;
	assert_int_equal(nat_table_count(t), 0);
	assert_int_equal(t->expired, N);
	for (uint32_t i = 0; i <= t->mask; i++) {
		for (unsigned way = 0; way < NAT_WAYS; way++)
			assert_int_equal(t->bucket[i].entry[way], 0);
		assert_int_equal(t->bucket[i].passed, 0);
	}
	nat_table_destroy(t);
}

static void test_ports_stay(void **)
{
	struct nat_config c = some_config();
	static const struct {
		uint16_t worker, n, inside;
		bool stays;
	} cases[] = {
		{0, 1, 20000, true}, {0, 1, 29999, true}, {0, 1, 19999, false},
		{0, 1, 30000, false}, {0, 1, 80, false}, {0, 1, 0, false},
		{0, 2, 20000, true},  // 20000 / 16 = 1250
		{1, 2, 20000, false}, // the other worker's
		{1, 2, 20016, true}, {0, 2, 20016, false},
		{0, 1, 20480, false}, // taken by WireGuard
	};
	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		struct nat_table *t = create(64, cases[i].worker, cases[i].n);
		struct nat_new new = {.inside = key_of(1, cases[i].inside, 2, IPPROTO_UDP),
			.class = NAT_UDP,
			.choose = true,
			.reserved = 20480,
			.reserved_first = 21000,
			.n_reserved = 256};
		new.outside = new.inside;
		struct nat_flow *f = nat_open(t, &c, &new, &why);
		assert_non_null(f);
		uint16_t port = outside_port(f);
		assert_int_equal(port == cases[i].inside, cases[i].stays);
		assert_int_equal(port & 1, cases[i].inside & 1);
		assert_true(port >= c.port_first && port <= c.port_last && port != 20480);
		assert_true(port < 21000 || port >= 21256);
		assert_int_equal(nat_port_owner(port, cases[i].n), cases[i].worker);
		nat_table_destroy(t);
	}
}

// 64 ports for one destination: as many flows, each another; the next is refused or displaces one
// of a client that has no fewer.
static void test_ports_end(void **)
{
	struct nat_config c = some_config();
	struct nat_table *t = create(1024, 0, 1);
	bool seen[65536] = {0};
	unsigned n = 0;
	c.port_last = c.port_first + 63;
	for (uint32_t i = 0; i < 300; i++) {
		struct nat_flow *f = open_flow(t, &c, 7, (uint16_t)(1000 + i), 2, NAT_UDP, 1000);
		if (!f) {
			assert_int_equal(why, NAT_REFUSED_PORTS);
			continue;
		}
		assert_false(seen[outside_port(f)]);
		seen[outside_port(f)] = true;
		n++;
	}
	assert_true(n > 50 && n <= 64);
	assert_int_equal(t->evicted, 0); // all were seen at this very time
	assert_non_null(open_flow(t, &c, 7, 1000, 3, NAT_UDP, 1000)); // another destination
	// A newcomer gets the place of one that was idle.
	struct nat_flow *f = NULL;
	for (unsigned i = 0; i < 8 && !f; i++)
		f = open_flow(t, &c, 8, (uint16_t)(1000 + i), 2, NAT_UDP, 2000);
	assert_non_null(f);
	// TCP in use does not end for what begins, and other protocols have ports of their own.
	uint64_t evicted = t->evicted;
	for (uint32_t i = 0; i < 300; i++) {
		f = open_flow(t, &c, 7, (uint16_t)(1000 + i), 2, NAT_TCP_OPENING, 2000);
		if (f)
			nat_set_class(t, f, NAT_TCP_OPEN, 2000);
	}
	assert_int_equal(t->evicted, evicted);
	assert_null(open_flow(t, &c, 9, 5000, 2, NAT_TCP_OPENING, 3000));
	assert_int_equal(why, NAT_REFUSED_PORTS);
	nat_table_destroy(t);
}

static void test_client_limit(void **)
{
	struct nat_config c = some_config();
	struct nat_table *t = create(64, 0, 1);
	c.client_flows = 3;
	for (uint16_t i = 0; i < 3; i++)
		assert_non_null(open_flow(t, &c, 7, i, 2, NAT_UDP, 1000));
	for (uint16_t i = 3; i < 9; i++) {
		assert_null(open_flow(t, &c, 7, i, 2, NAT_UDP, 2000));
		assert_int_equal(why, NAT_REFUSED_CLIENT);
	}
	assert_non_null(open_flow(t, &c, 8, 1, 2, NAT_UDP, 2000));
	struct nat_key k = key_of(7, 0, 2, IPPROTO_UDP);
	nat_close(t, nat_lookup(t, NAT_INSIDE, &k, 2000));
	assert_non_null(open_flow(t, &c, 7, 3, 2, NAT_UDP, 2000));
	assert_null(open_flow(t, &c, 7, 4, 2, NAT_UDP, 2000));
	nat_table_destroy(t);
}

static bool is_there(const struct nat_table *t, uint32_t client, uint16_t port, uint32_t now_ms)
{
	struct nat_key k = key_of(client, port, 2, IPPROTO_TCP);
	return nat_lookup(t, NAT_INSIDE, &k, now_ms) != NULL;
}

// Full: the one that is idle longest of its class and of the client that has most.
static void test_full(void **)
{
	struct nat_config c = some_config();
	struct nat_table *t = create(8, 0, 1);
	for (uint16_t i = 0; i < 6; i++)
		assert_non_null(open_flow(t, &c, 7, i, 2, NAT_TCP_OPENING, 1000 + i));
	assert_non_null(open_flow(t, &c, 8, 1, 2, NAT_TCP_OPENING, 500)); // idle longest
	struct nat_flow *open = open_flow(t, &c, 7, 99, 2, NAT_TCP_OPENING, 400);
	nat_set_class(t, open, NAT_TCP_OPEN, 400);
	// The flood's own flows go, the oldest first; neither the connection nor another's.
	for (uint16_t i = 0; i < 6; i++) {
		assert_non_null(
			open_flow(t, &c, 7, (uint16_t)(100 + i), 2, NAT_TCP_OPENING, 2000 + i));
		assert_false(is_there(t, 7, i, 2000 + i));
	}
	assert_true(is_there(t, 8, 1, 3000));
	assert_true(is_there(t, 7, 99, 3000));
	assert_int_equal(t->evicted, 6);
	// A newcomer takes from who has most.
	assert_non_null(open_flow(t, &c, 9, 1, 2, NAT_TCP_OPENING, 3000));
	assert_true(is_there(t, 8, 1, 3000));
	assert_false(is_there(t, 7, 100, 3000));
	assert_int_equal(nat_table_count(t), 8);
	nat_table_destroy(t);
}

// Whoever has most gets nothing of those who have less; and nothing ends that is in this round.
static void test_full_refused(void **)
{
	struct nat_config c = some_config();
	struct nat_table *t = create(8, 0, 1);
	for (uint16_t i = 0; i < 4; i++) {
		assert_non_null(open_flow(t, &c, 7, i, 2, NAT_TCP_OPENING, 5000));
		assert_non_null(open_flow(t, &c, 10 + i, i, 2, NAT_TCP_OPENING, 1000));
	}
	assert_null(open_flow(t, &c, 7, 50, 2, NAT_TCP_OPENING, 5000));
	assert_int_equal(why, NAT_REFUSED_FULL);
	assert_int_equal(t->evicted, 0);
	assert_int_equal(nat_table_count(t), 8);
	assert_non_null(open_flow(t, &c, 7, 50, 2, NAT_TCP_OPENING, 5001)); // its own
	for (uint16_t i = 0; i < 4; i++)
		assert_true(is_there(t, 10 + i, i, 5001));
	nat_table_destroy(t);
}

static void test_idle(void **)
{
	struct nat_config c = some_config();
	for (unsigned class = 0; class < NAT_CLASS_COUNT; class ++) {
		struct nat_table *t = create(8, 0, 1);
		uint32_t idle = c.idle_s[class] * 1000, start = UINT32_MAX - 5000; // it wraps
		struct nat_flow *f = open_flow(t, &c, 7, 1, 2, NAT_UDP, start);
		nat_set_class(t, f, (enum nat_class) class, start);
		const struct nat_key *k = &f->side[NAT_INSIDE];
		assert_ptr_equal(nat_lookup(t, NAT_INSIDE, k, start + idle - 1), f);
		assert_null(nat_lookup(t, NAT_INSIDE, k, start + idle));
		// It was seen once more, which nobody but the flow is told.
		f->last_ms = start + idle / 2;
		for (uint32_t at = start + idle / 2; at != start + idle / 2 + idle; at += 250)
			assert_false(nat_expire(t, at, 8));
		assert_int_equal(nat_table_count(t), 1);
		assert_null(nat_lookup(t, NAT_INSIDE, k, start + idle / 2 + idle));
		nat_expire(t, start + idle / 2 + idle + idle / 8 + 250, 8);
		assert_int_equal(nat_table_count(t), 0);
		nat_table_destroy(t);
	}
}

// The same addresses again, when the flow is idle but still lies there.
static void test_again(void **)
{
	struct nat_config c = some_config();
	struct nat_table *t = create(8, 0, 1);
	struct nat_flow *f = open_flow(t, &c, 7, 20001, 2, NAT_UDP, 1000);
	assert_null(open_flow(t, &c, 7, 20001, 2, NAT_UDP, 2000)); // it is there
	assert_int_equal(outside_port(f), 20001);
	f = open_flow(t, &c, 7, 20001, 2, NAT_UDP, 61000);
	assert_non_null(f);
	assert_int_equal(outside_port(f), 20001);
	assert_int_equal(nat_table_count(t), 1);
	assert_int_equal(t->expired, 1);
	nat_table_destroy(t);
}

static void test_claims(void **)
{
	struct nat_key a = key_of(1, 0, 2, 47), b = key_of(1, 0, 3, 47);
	assert_int_equal(nat_claim_owner(&claims, &a), UINT16_MAX);
	assert_true(nat_claim(&claims, &a, 3));
	assert_int_equal(nat_claim_owner(&claims, &a), 3);
	assert_int_equal(nat_claim_owner(&claims, &b), UINT16_MAX);
	assert_false(nat_claim(&claims, &a, 4));
	assert_false(nat_claim(&claims, &a, 3));
	assert_true(nat_claim(&claims, &b, 4));
	nat_unclaim(&claims, &a, 4); // not its
	assert_int_equal(nat_claim_owner(&claims, &a), 3);
	nat_unclaim(&claims, &a, 3);
	assert_int_equal(nat_claim_owner(&claims, &a), UINT16_MAX);
	nat_unclaim(&claims, &b, 4);
	assert_int_equal(claims.n, 0);
	unsigned n = 0;
	for (uint32_t i = 0; i < 100000; i++) { // bounded
		a = key_of(i, 0, 2, 47);
		n += nat_claim(&claims, &a, 1);
	}
	assert_int_equal(n, NAT_CLAIM_SETS * NAT_CLAIM_WAYS);
	memset(&claims, 0, sizeof(claims));
}

static void test_read(void **)
{
	struct nat_config c = some_config();
	struct nat_table *t = create(256, 0, 1);
	struct nat_view view[10];
	uint32_t cursor = 0;
	unsigned seen = 0, n, calls = 0;
	assert_int_equal(nat_table_read(t, &cursor, 1000, view, 10), 0);
	assert_int_equal(cursor, 0);
	for (uint16_t i = 0; i < 100; i++) {
		struct nat_flow *f = open_flow(t, &c, 7, i, 2, NAT_UDP, 1000);
		f->bytes[NAT_INSIDE] = i;
		f->packets[NAT_OUTSIDE] = i;
	}
	for (uint16_t i = 0; i < 100; i += 4) { // gone, idle
		struct nat_key k = key_of(7, i, 2, IPPROTO_UDP);
		struct nat_flow *f = nat_lookup(t, NAT_INSIDE, &k, 1000);
		if (i % 8)
			f->last_ms = 1500 - 60000;
		else
			nat_close(t, f);
	}
	do {
		n = nat_table_read(t, &cursor, 1500, view, 10);
		for (unsigned i = 0; i < n; i++) {
			uint16_t port = rte_be_to_cpu_16(view[i].inside.local_port);
			assert_int_equal(view[i].bytes[NAT_INSIDE], port);
			assert_int_equal(view[i].packets[NAT_OUTSIDE], port);
			assert_int_equal(view[i].idle_ms, 500);
			assert_int_equal(view[i].class, NAT_UDP);
			assert_int_not_equal(port % 4, 0);
		}
		seen += n;
		assert_true(++calls < 20);
	} while (cursor != 0);
	assert_int_equal(seen, 75);
	nat_table_destroy(t);
}

// More clients than there are numbers for: those share one, and its limit.
static void test_many_clients(void **)
{
	struct nat_config c = some_config();
	enum { N = NAT_CLIENTS_MAX + 100 };
	struct nat_table *t = create(N + 10, 0, 1);
	unsigned n = 0;
	c.client_flows = 5;
	for (uint32_t i = 0; i < N; i++)
		n += open_flow(t, &c, i, 1000, 2 + i % 64, NAT_UDP, 1000) != NULL;
	assert_int_equal(n, NAT_CLIENTS_MAX - 2 + 5);
	assert_int_equal(why, NAT_REFUSED_CLIENT);
	while (nat_expire(t, 1000 + 60000, 128))
		;
	for (uint32_t i = 0; i < 1000; i++) // numbers came back
		assert_non_null(open_flow(t, &c, N + i, 1000, 2, NAT_UDP, 100000));
	nat_table_destroy(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_fill),
		cmocka_unit_test(test_ports_stay),
		cmocka_unit_test(test_ports_end),
		cmocka_unit_test(test_client_limit),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_full_refused),
		cmocka_unit_test(test_idle),
		cmocka_unit_test(test_again),
		cmocka_unit_test(test_claims),
		cmocka_unit_test(test_read),
		cmocka_unit_test(test_many_clients),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
