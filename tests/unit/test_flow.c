// The flow table: what was remembered is known, nothing else is, and it stays within its size.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dataplane/base/mem.h"
#include "dataplane/table/flow.h"

static struct flow_key flow(uint32_t n)
{
	struct flow_key k = {.family = IP_V4, .proto = 17, .remote_port = 53, .local_port = 4000};
	memcpy(k.remote, &n, sizeof(n));
	k.local[0] = 10;
	return k;
}

static int setup(void **state)
{
	*state = flow_table_create(1024);
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	flow_table_destroy(*state);
	flow_table_destroy(NULL);
	return 0;
}

static void what_was_remembered_is_known(void **state)
{
	const struct flow_key a = flow(1), zero = {0};
	assert_false(flow_known(*state, &a));
	assert_false(flow_known(*state, &zero));
	assert_false(flow_remember(*state, &a));
	assert_false(flow_remember(*state, &a));
	assert_true(flow_known(*state, &a));
	assert_false(flow_known(*state, &zero));
}

// Every byte of a key tells flows apart.
static void neighbours_are_not_known(void **state)
{
	const struct flow_key a = flow(7);
	flow_remember(*state, &a);
	for (unsigned bit = 0; bit < 8 * sizeof(a); bit++) {
		struct flow_key b = a;
		((uint8_t *)&b)[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_false(flow_known(*state, &b));
	}
}

// Bytes of zero are a key like others.
static void the_zero_key_is_remembered(void **state)
{
	const struct flow_key a = flow(1), zero = {0};
	flow_remember(*state, &a);
	flow_remember(*state, &zero);
	assert_true(flow_known(*state, &zero));
	assert_true(flow_known(*state, &a));
}

static void a_full_table_forgets_and_says_so(void **state)
{
	unsigned evicted = 0, known = 0;
	for (uint32_t i = 0; i < 100000; i++) {
		const struct flow_key k = flow(i);
		evicted += flow_remember(*state, &k);
		assert_true(flow_known(*state, &k));
	}
	for (uint32_t i = 0; i < 100000; i++) {
		const struct flow_key k = flow(i);
		known += flow_known(*state, &k);
	}
	assert_int_equal(known + evicted, 100000);
	assert_in_range(known, 1000, 1024);
}

// A flow that is used stays while thousands of others come and go.
static void flows_in_use_stay(void **state)
{
	const struct flow_key used = flow(UINT32_MAX), idle = flow(UINT32_MAX - 1);
	flow_remember(*state, &used);
	flow_remember(*state, &idle);
	for (uint32_t i = 0; i < 100000; i++) {
		const struct flow_key k = flow(i);
		flow_remember(*state, &k);
		assert_true(flow_known(*state, &used));
	}
	assert_false(flow_known(*state, &idle));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_was_remembered_is_known, setup, teardown),
		cmocka_unit_test_setup_teardown(neighbours_are_not_known, setup, teardown),
		cmocka_unit_test_setup_teardown(the_zero_key_is_remembered, setup, teardown),
		cmocka_unit_test_setup_teardown(a_full_table_forgets_and_says_so, setup, teardown),
		cmocka_unit_test_setup_teardown(flows_in_use_stay, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
