#include "dataplane/table/fib.h"
#include "dataplane/table/lookup.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
// after the above, as cmocka asks
#include <cmocka.h>

static struct rcu *rcu;

static int setup(void **state)
{
	rcu = rcu_create();
	*state = fib_create(rcu);
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	fib_destroy(*state);
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

static const struct nexthop *lookup(const struct fib *f, const char *text)
{
	struct ip_prefix p = prefix(text);
	return fib_lookup(f, &p.addr);
}

static void set(struct fib *f, const char *text, const struct nexthop *h)
{
	struct ip_prefix p = prefix(text);
	if (fib_set(f, &p, h) < 0)
		fail_msg("%s", text);
}

static const struct nexthop link1 = {
	.type = NH_LINK, .port = 1, .mtu = 1500, .ifindex = 3, .l2 = {2, 0, 0, 0, 0, 1}};
static const struct nexthop link2 = {
	.type = NH_LINK, .port = 1, .mtu = 1500, .ifindex = 3, .l2 = {2, 0, 0, 0, 0, 2}};
static const struct nexthop drop = {.type = NH_DROP, .port = PORT_NONE};

static void test_routes(void **state)
{
	struct fib *f = *state;
	assert_null(lookup(f, "10.0.0.1"));
	assert_null(lookup(f, "::1"));
	set(f, "0.0.0.0/0", &drop);
	set(f, "10.0.0.0/8", &link1);
	set(f, "2001:db8::/32", &link2);
	assert_int_equal(lookup(f, "11.0.0.1")->type, NH_DROP);
	assert_true(nexthop_equal(lookup(f, "10.0.0.1"), &link1));
	assert_true(nexthop_equal(lookup(f, "2001:db8::1"), &link2));
	set(f, "10.0.0.0/8", &link2);
	assert_true(nexthop_equal(lookup(f, "10.0.0.1"), &link2));
	struct ip_prefix p = prefix("10.0.0.0/8");
	assert_true(nexthop_equal(fib_get(f, &p), &link2));
	assert_int_equal(fib_clear(f, &p), 0);
	assert_int_equal(fib_clear(f, &p), -ENOENT);
	assert_null(fib_get(f, &p));
	assert_int_equal(lookup(f, "10.0.0.1")->type, NH_DROP);
	assert_int_equal(fib_count(f), 2);
}

static void test_sharing(void **state)
{
	struct fib *f = *state;
	set(f, "10.0.0.0/8", &link1);
	set(f, "11.0.0.0/8", &link1);
	set(f, "2001:db8::/32", &link1);
	set(f, "10.0.0.0/8", &link1);
	assert_int_equal(fib_nexthop_count(f), 1);
	assert_ptr_equal(lookup(f, "10.0.0.1"), lookup(f, "2001:db8::1"));
	struct nexthop other = link1; // each field counts
	other.mtu = 1400;
	set(f, "12.0.0.0/8", &other);
	other = link1;
	other.gateway = ip_addr_v4("\x0a\x00\x00\x01");
	set(f, "13.0.0.0/8", &other);
	other = link1;
	other.l2[13] = 1;
	set(f, "14.0.0.0/8", &other);
	assert_int_equal(fib_nexthop_count(f), 4);
	for (int i = 10; i < 15; i++) {
		struct ip_prefix p = {.addr = {.bytes = {i}, .family = IP_V4}, .len = 8};
		assert_int_equal(fib_clear(f, &p), 0);
	}
	assert_int_equal(fib_nexthop_count(f), 1);
	assert_true(nexthop_equal(lookup(f, "2001:db8::1"), &link1));
}

static void test_replace(void **state)
{
	struct fib *f = *state;
	struct nexthop resolve = {.type = NH_RESOLVE, .port = 1, .mtu = 1500, .ifindex = 3};
	resolve.gateway = ip_addr_v4("\x0a\x00\x00\x01");
	assert_int_equal(fib_replace(f, &resolve, &link1), -ENOENT);
	set(f, "0.0.0.0/0", &resolve);
	set(f, "20.0.0.0/8", &resolve);
	set(f, "21.0.0.0/8", &link1); // equal to what the others become
	assert_int_equal(fib_replace(f, &resolve, &link1), 0);
	assert_true(nexthop_equal(lookup(f, "1.1.1.1"), &link1));
	assert_true(nexthop_equal(lookup(f, "20.0.0.1"), &link1));
	assert_int_equal(fib_replace(f, &resolve, &link2), -ENOENT);
	assert_int_equal(fib_replace(f, &link1, &link2), 0); // both numbers of it
	assert_true(nexthop_equal(lookup(f, "1.1.1.1"), &link2));
	assert_true(nexthop_equal(lookup(f, "21.0.0.1"), &link2));
	assert_int_equal(fib_replace(f, &link2, &(struct nexthop){.type = NH_TYPE_COUNT}), -EINVAL);
	struct ip_prefix p = prefix("20.0.0.0/8");
	assert_int_equal(fib_clear(f, &p), 0);
	p = prefix("0.0.0.0/0");
	assert_int_equal(fib_clear(f, &p), 0);
	p = prefix("21.0.0.0/8");
	assert_int_equal(fib_clear(f, &p), 0);
	assert_int_equal(fib_nexthop_count(f), 0);
}

static void test_refused(void **state)
{
	struct fib *f = *state;
	struct ip_prefix p = prefix("10.0.0.0/8");
	assert_int_equal(fib_set(f, &p, &(struct nexthop){.type = NH_TYPE_COUNT}), -EINVAL);
	p.len = 33;
	assert_int_equal(fib_set(f, &p, &link1), -EINVAL);
	p = (struct ip_prefix){0};
	assert_int_equal(fib_set(f, &p, &link1), -EINVAL);
	assert_int_equal(fib_count(f), 0);
	assert_int_equal(fib_nexthop_count(f), 0);
}

static struct nexthop numbered(uint32_t n)
{
	struct nexthop h = link1;
	h.ifindex = n;
	return h;
}

static void test_full(void **state)
{
	struct fib *f = *state;
	struct nexthop h;
	struct ip_prefix p = {.addr.family = IP_V4, .len = 32};
	for (uint32_t i = 1; i < FIB_NEXTHOP_MAX; i++) {
		h = numbered(i);
		rte_be32_t addr = rte_cpu_to_be_32(10u << 24 | i);
		memcpy(p.addr.bytes, &addr, 4);
		assert_int_equal(fib_set(f, &p, &h), 0);
		if (i % 1024 == 0)
			rcu_reclaim(rcu);
	}
	struct ip_prefix more = prefix("250.0.0.0/8");
	h = numbered(0);
	assert_int_equal(fib_set(f, &more, &h), -ENOSPC);
	assert_null(fib_get(f, &more));
	assert_int_equal(fib_set(f, &p, &h), -ENOSPC); // the old one stays
	assert_int_equal(fib_get(f, &p)->ifindex, FIB_NEXTHOP_MAX - 1);
	h = numbered(1);
	assert_int_equal(fib_set(f, &more, &h), 0); // shared
	assert_int_equal(fib_clear(f, &p), 0);
	h = numbered(0);
	assert_int_equal(fib_set(f, &p, &h), -ENOSPC); // within the grace period
	rcu_reclaim(rcu);
	assert_int_equal(fib_set(f, &p, &h), 0);
}

// What a worker holds stays whole until its next quiescent state.
static void test_grace_period(void **state)
{
	struct fib *f = *state;
	struct rte_rcu_qsbr *q = rcu_qsbr(rcu);
	rte_rcu_qsbr_thread_register(q, 0);
	rte_rcu_qsbr_thread_online(q, 0);
	set(f, "10.0.0.0/8", &link1);
	const struct nexthop *held = lookup(f, "10.0.0.1");
	set(f, "10.0.0.0/8", &link2);
	assert_true(rcu_reclaim(rcu) > 0);
	assert_true(nexthop_equal(held, &link1));
	assert_ptr_not_equal(lookup(f, "10.0.0.1"), held);
	rte_rcu_qsbr_quiescent(q, 0);
	assert_int_equal(rcu_reclaim(rcu), 0);
	rte_rcu_qsbr_thread_offline(q, 0);
	rte_rcu_qsbr_thread_unregister(q, 0);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(test_routes),
		CASE(test_sharing),
		CASE(test_replace),
		CASE(test_refused),
		CASE(test_full),
		CASE(test_grace_period),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
