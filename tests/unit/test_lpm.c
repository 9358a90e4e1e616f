#include "dataplane/table/lpm.h"
#include "dataplane/table/lookup.h"
#include "dataplane/table/prefix_map.h"
#include "tests/unit/naive_lpm.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
// after the above, as cmocka asks
#include <cmocka.h>

static struct rcu *rcu;

static int setup(void **)
{
	rcu = rcu_create();
	return 0;
}

static int teardown(void **)
{
	rcu_destroy(rcu);
	return 0;
}

static struct ip_prefix prefix(const char *text)
{
	struct ip_prefix p;
	if (ip_prefix_parse(text, &p) < 0)
		fail_msg("%s", text);
	return p;
}

static uint32_t lookup(const struct lpm *l, const struct ip_addr *a)
{
	return a->family == IP_V4 ? lpm_lookup4(l, a->bytes) : lpm_lookup6(l, a->bytes);
}

static uint32_t lookup_text(const struct lpm *l, const char *text)
{
	struct ip_prefix p = prefix(text);
	return lookup(l, &p.addr);
}

// Steps in order on one table each family; then the answers.
static const struct {
	const char *set;   // prefix, or NULL
	uint32_t value;	   // 0: clear it
	const char *addr;  // then this address ...
	uint32_t expected; // ... gives that
} steps[] = {
	{NULL, 0, "10.1.2.3", 0},
	{"0.0.0.0/0", 1, "10.1.2.3", 1},
	{"10.0.0.0/8", 2, "10.1.2.3", 2},
	{"10.1.2.0/24", 3, "10.1.2.3", 3},
	{NULL, 0, "10.1.3.3", 2},
	{"10.1.2.3/32", 4, "10.1.2.3", 4},
	{NULL, 0, "10.1.2.4", 3},
	{"10.1.0.0/16", 5, "10.1.2.4", 3}, // above nodes that exist
	{NULL, 0, "10.1.3.3", 5},
	{"10.1.2.0/24", 0, "10.1.2.4", 5},
	{NULL, 0, "10.1.2.3", 4},
	{"10.1.0.0/16", 0, "10.1.2.4", 2},
	{"10.0.0.0/8", 6, "10.1.2.4", 6}, // replaced
	{NULL, 0, "10.1.2.3", 4},
	{"0.0.0.0/0", 0, "11.0.0.0", 0},
	{NULL, 0, "10.1.2.4", 6},
	{"10.1.2.3/32", 0, "10.1.2.3", 6},
	{"10.0.0.0/8", 0, "10.1.2.3", 0},
	{"10.1.2.0/23", 7, "10.1.3.255", 7}, // both halves covered, then one goes
	{"10.1.2.0/24", 8, "10.1.3.255", 7},
	{"10.1.3.0/24", 9, "10.1.3.255", 9},
	{"10.1.3.0/24", 0, "10.1.3.255", 7},
	{"10.1.2.0/23", 0, "10.1.3.255", 0},
	{NULL, 0, "10.1.2.255", 8},
	{"10.1.2.0/24", 0, "10.1.2.255", 0},
	{"::/0", 1, "2001:db8::1", 1},
	{"2001:db8::/32", 2, "2001:db8::1", 2},
	{"2001:db8::1/128", 3, "2001:db8::1", 3},
	{NULL, 0, "2001:db8::2", 2},
	{"2001:db8::/64", 4, "2001:db8::2", 4},
	{NULL, 0, "2001:db8::1", 3},
	{"2001:db8::/32", 0, "2001:db8:1::", 1},
	{NULL, 0, "2001:db8::2", 4},
	{"2001:db8::1/128", 0, "2001:db8::1", 4},
	{"::/0", 0, "2001:db8::1", 4},
	{"2001:db8::1/128", 5, "2001:db8::1", 5}, // a tail, parted from others below it
	{"2001:db8::1:0/112", 6, "2001:db8::1:1", 6},
	{"2001:db8::1:1/128", 7, "2001:db8::1:1", 7},
	{NULL, 0, "2001:db8::1:2", 6},
	{"2001:db8::1:1/128", 8, "2001:db8::1:1", 8},
	{"2001:db8::1/128", 0, "2001:db8::1", 4},
	{"2001:db8::1:0/112", 0, "2001:db8::1:2", 4},
	{NULL, 0, "2001:db8::1:1", 8},
	{"2001:db8::1:1/128", 0, "2001:db8::1:1", 4},
	{"2001:db8::/64", 0, "2001:db8::1", 0},
};

static void test_steps(void **)
{
	struct lpm *v4 = lpm_create(IP_V4, rcu), *v6 = lpm_create(IP_V6, rcu);
	for (size_t i = 0; i < RTE_DIM(steps); i++) {
		struct lpm *l = strchr(steps[i].addr, ':') ? v6 : v4;
		struct ip_prefix p = prefix(steps[i].set ? steps[i].set : "0.0.0.0/0");
		if (steps[i].set && steps[i].value)
			assert_int_equal(lpm_set(l, &p, steps[i].value), 0);
		else if (steps[i].set)
			assert_int_equal(lpm_clear(l, &p), 0);
		uint32_t got = lookup_text(l, steps[i].addr);
		if (got != steps[i].expected)
			fail_msg("step %zu: %s gives %u", i, steps[i].addr, got);
	}
	assert_int_equal(lpm_count(v4) + lpm_count(v6), 0);
	lpm_destroy(v4);
	lpm_destroy(v6);
}

static void test_refused(void **)
{
	struct lpm *l = lpm_create(IP_V4, rcu);
	struct ip_prefix v4 = prefix("10.0.0.0/8"), v6 = prefix("2001:db8::/32"), bad = v4;
	assert_int_equal(lpm_set(l, &v6, 1), -EINVAL);
	assert_int_equal(lpm_set(l, &v4, LPM_NONE), -EINVAL);
	assert_int_equal(lpm_set(l, &v4, LPM_VALUE_MAX + 1), -EINVAL);
	bad.len = 33;
	assert_int_equal(lpm_set(l, &bad, 1), -EINVAL);
	bad = v4;
	bad.addr.bytes[3] = 1; // host bits
	assert_int_equal(lpm_set(l, &bad, 1), -EINVAL);
	bad = (struct ip_prefix){0};
	assert_int_equal(lpm_set(l, &bad, 1), -EINVAL);
	assert_int_equal(lpm_count(l), 0);
	assert_int_equal(lpm_set(l, &v4, LPM_VALUE_MAX), 0);
	assert_int_equal(lookup_text(l, "10.0.0.1"), LPM_VALUE_MAX);
	v4.len = 9;
	assert_int_equal(lpm_clear(l, &v4), -ENOENT);
	assert_int_equal(lpm_clear(l, &v6), -ENOENT);
	assert_int_equal(lpm_get(l, &v4), LPM_NONE);
	v4.len = 8;
	assert_int_equal(lpm_get(l, &v4), LPM_VALUE_MAX);
	lpm_destroy(l);
}

// Addresses of one network: what differs are the last bits, from few different bytes.
static struct ip_addr near_addr(enum ip_family family, unsigned bytes)
{
	struct ip_addr a = {.family = family}, r = random_addr(family);
	unsigned len = ip_addr_bits(&a) / 8;
	memset(a.bytes, 0x20, len - bytes);
	memcpy(a.bytes + len - bytes, r.bytes + len - bytes, bytes);
	return a;
}

static struct ip_prefix near_prefix(enum ip_family family, unsigned bytes)
{
	struct ip_prefix p = {.addr = near_addr(family, bytes)};
	unsigned bits = ip_addr_bits(&p.addr);
	return prefix_shorten(&p, bits - (unsigned)random() % (8 * bytes + 2));
}

static void compare(
	const struct lpm *l, const struct naive_lpm *naive, enum ip_family f, unsigned near, int n)
{
	for (int i = 0; i < n; i++) {
		struct ip_addr a = near ? near_addr(f, near) : random_addr(f);
		uint32_t got = lookup(l, &a), expected = naive_lookup(naive, &a);
		char text[ADDR_TEXT_LEN];
		if (got != expected)
			fail_msg("%s: %u, naive %u", ip_addr_format(&a, text), got, expected);
	}
}

// Sets, replacements and removals in random order, looked up all the while; all removed in the end.
// near: bytes in which they differ; 0: all.
static void random_updates(enum ip_family family, unsigned near, int prefixes)
{
	enum { PREFIXES = 500, STEPS = 6000 };
	static struct ip_prefix known[PREFIXES];
	struct naive_lpm naive = {0};
	struct lpm *l = lpm_create(family, rcu);
	srandom(family + near);
	for (int i = 0; i < prefixes; i++)
		known[i] = near ? near_prefix(family, near) : random_prefix(family);
	for (int i = 0; i < STEPS; i++) {
		const struct ip_prefix *p = &known[random() % prefixes];
		if (random() % 5 < 2) {
			assert_int_equal(lpm_clear(l, p), naive_clear(&naive, p) ? 0 : -ENOENT);
		} else {
			uint32_t value = 1 + (uint32_t)random() % LPM_VALUE_MAX;
			assert_int_equal(lpm_set(l, p, value), 0);
			naive_set(&naive, p, value);
			assert_int_equal(lpm_get(l, p), value);
		}
		rcu_reclaim(rcu);
		assert_int_equal(lpm_count(l), naive_count(&naive));
		compare(l, &naive, family, near, 20);
	}
	for (int i = 0; i < prefixes; i++)
		lpm_clear(l, &known[i]);
	naive_fini(&naive);
	assert_int_equal(lpm_count(l), 0);
	compare(l, &naive, family, near, 10000);
	lpm_destroy(l);
}

static void test_random_updates(void **)
{
	random_updates(IP_V4, 0, 500);
	random_updates(IP_V6, 0, 500);
	for (unsigned near = 1; near <= 3; near++) {
		random_updates(IP_V4, near, 12);
		random_updates(IP_V6, near, 12);
		random_updates(IP_V6, near, 100);
	}
}

// Nodes of removed prefixes serve again: the same work twice needs no more memory.
static void test_collapse(void **)
{
	struct lpm *l = lpm_create(IP_V6, rcu);
	size_t first = 0;
	for (int round = 0; round < 5; round++) {
		srandom(7);
		for (int i = 0; i < 300; i++) {
			struct ip_prefix p = random_prefix(IP_V6);
			assert_int_equal(lpm_set(l, &p, 1), 0);
		}
		srandom(7);
		for (int i = 0; i < 300; i++) {
			struct ip_prefix p = random_prefix(IP_V6);
			lpm_clear(l, &p);
		}
		assert_int_equal(rcu_reclaim(rcu), 0);
		first = first ? first : lpm_memory(l);
		assert_int_equal(lpm_memory(l), first);
	}
	lpm_destroy(l);
}

static void test_memory(void **)
{
	struct lpm *l = lpm_create(IP_V4, rcu);
	srandom(3);
	for (int i = 0; i < 10; i++) {
		struct ip_prefix p = random_prefix(IP_V4);
		assert_int_equal(lpm_set(l, &p, 1), 0);
	}
	assert_true(lpm_memory(l) < 2 << 20);
	// As in the Internet's table: mostly /24, within what is announced.
	for (uint32_t i = 0; i < 1000000; i++) {
		uint32_t addr = (1u << 24) + i * 14 % (223u << 16) * 256;
		struct ip_prefix p = {.addr = {.family = IP_V4}, .len = 24};
		for (int b = 0; b < 3; b++)
			p.addr.bytes[b] = (uint8_t)(addr >> (24 - 8 * b));
		assert_int_equal(lpm_set(l, &p, 1 + i % 1000), 0);
	}
	assert_true(lpm_count(l) >= 1000000);
	assert_true(lpm_memory(l) < 150 << 20);
	lpm_destroy(l);
}

// Peers of a tailnet: hosts spread over a /96 took 19 MiB without tails. (IPv4: over a /16.)
static void test_hosts(void **)
{
	struct lpm *v4 = lpm_create(IP_V4, rcu), *v6 = lpm_create(IP_V6, rcu);
	struct ip_prefix a = prefix("100.80.0.0/32"), b = prefix("fd7a:115c:a1e0::/128");
	for (int round = 0; round < 2; round++) { // added, removed
		srandom(11);
		for (int i = 0; i < 10000; i++) {
			uint32_t r = (uint32_t)random() << 1;
			memcpy(b.addr.bytes + 12, &r, sizeof(r));
			memcpy(a.addr.bytes + 2, &r, 2);
			assert_int_equal(round ? lpm_clear(v6, &b) : lpm_set(v6, &b, 7), 0);
			if (!round)
				assert_int_equal(lpm_set(v4, &a, 8), 0);
			assert_int_equal(lookup(v6, &b.addr), round ? 0 : 7);
			assert_int_equal(lookup(v4, &a.addr), 8);
		}
		assert_true(lpm_memory(v6) < 3 << 20);
	}
	assert_int_equal(lpm_count(v6), 0);
	lpm_destroy(v4);
	lpm_destroy(v6);
}

// A worker looks up while the control thread changes what lies around: the address under the prefix
// that stays always finds that prefix or one of the changing ones, never nothing.
struct reader {
	const struct lpm *l;
	_Atomic bool stop;
	_Atomic uint64_t lookups;
	_Atomic uint64_t wrong;
};

static void *read_all_the_while(void *arg)
{
	struct reader *r = arg;
	struct rte_rcu_qsbr *q = rcu_qsbr(rcu);
	const uint8_t addr[4] = {10, 1, 2, 3}, stays[4] = {10, 1, 9, 9};
	rte_rcu_qsbr_thread_register(q, 0);
	rte_rcu_qsbr_thread_online(q, 0);
	while (!r->stop) {
		for (int i = 0; i < 64; i++) {
			uint32_t got = lpm_lookup4(r->l, addr);
			r->wrong += got < 1 || got > 5;
			r->wrong += lpm_lookup4(r->l, stays) != 1;
			r->lookups += 2;
		}
		rte_rcu_qsbr_quiescent(q, 0);
	}
	rte_rcu_qsbr_thread_offline(q, 0);
	rte_rcu_qsbr_thread_unregister(q, 0);
	return NULL;
}

static void test_reader_beside_writer(void **)
{
	static const char *const changing[] = {
		"10.1.2.3/32", "10.1.2.0/24", "10.1.2.0/27", "10.1.2.2/31"};
	struct lpm *l = lpm_create(IP_V4, rcu);
	struct reader r = {.l = l};
	struct ip_prefix base = prefix("10.0.0.0/12");
	pthread_t thread;
	assert_int_equal(lpm_set(l, &base, 1), 0);
	assert_int_equal(pthread_create(&thread, NULL, read_all_the_while, &r), 0);
	srandom(5);
	for (int i = 0; i < 200000 || r.lookups < 100000; i++) {
		unsigned k = (unsigned)random() % RTE_DIM(changing);
		struct ip_prefix p = prefix(changing[k]);
		if (random() % 2)
			assert_int_equal(lpm_set(l, &p, 2 + k), 0);
		else
			lpm_clear(l, &p);
		rcu_reclaim(rcu);
	}
	r.stop = true;
	pthread_join(thread, NULL);
	assert_int_equal(r.wrong, 0);
	lpm_destroy(l);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(test_steps),
		CASE(test_refused),
		CASE(test_random_updates),
		CASE(test_collapse),
		CASE(test_memory),
		CASE(test_hosts),
		CASE(test_reader_beside_writer),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
