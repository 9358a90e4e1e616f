#include "dataplane/table/keypair.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
// after the above, as cmocka asks
#include <cmocka.h>

static struct rcu *rcu;

static int setup(void **state)
{
	rcu = rcu_create();
	*state = index_create(rcu);
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	index_destroy(*state);
	rcu_destroy(rcu);
	return 0;
}

static struct keypair *published(struct index_table *t, uint32_t random)
{
	struct keypair *kp = keypair_create();
	assert_int_equal(index_alloc(t, random, &kp->local_index), 0);
	index_publish(t, kp);
	return kp;
}

static void test_found_only_while_published(void **state)
{
	struct index_table *t = *state;
	uint32_t index;
	assert_null(index_lookup(t, 0xdeadbeef));
	assert_int_equal(index_alloc(t, 0xdeadbeef, &index), 0);
	assert_int_equal(index, 0xdeadbeef);
	assert_null(index_lookup(t, index)); // a handshake in progress
	struct keypair *kp = keypair_create();
	kp->local_index = index;
	index_publish(t, kp);
	assert_ptr_equal(index_lookup(t, index), kp);
	index_free(t, index);
	assert_null(index_lookup(t, index));
	assert_int_equal(index_count(t), 0);
}

static void test_other_indices_of_the_slot_are_refused(void **state)
{
	struct index_table *t = *state;
	struct keypair *kp = published(t, 0x12345678);
	for (unsigned bit = 0; bit < 32; bit++)
		assert_null(index_lookup(t, kp->local_index ^ 1u << bit));
	index_free(t, kp->local_index ^ 1u << 31); // not that one
	assert_ptr_equal(index_lookup(t, kp->local_index), kp);
}

static void test_old_index_does_not_find_a_new_keypair(void **state)
{
	struct index_table *t = *state;
	uint32_t slot = 77, old = slot | 0x80000000;
	published(t, old);
	index_free(t, old);
	struct keypair *kp = published(t, slot | 0x40000000);
	assert_int_equal(kp->local_index % INDEX_SLOTS, slot);
	assert_null(index_lookup(t, old));
	index_free(t, old);
	assert_ptr_equal(index_lookup(t, kp->local_index), kp);
}

static void test_full(void **state)
{
	struct index_table *t = *state;
	static uint32_t all[INDEX_SLOTS];
	uint32_t one = 4711;
	srandom(1);
	for (uint32_t i = 0; i < INDEX_SLOTS; i++)
		assert_int_equal(index_alloc(t, (uint32_t)random() << 1, &all[i]), 0);
	assert_int_equal(index_count(t), INDEX_SLOTS);
	assert_int_equal(index_alloc(t, 1, &one), -ENOSPC);
	assert_int_equal(one, 4711);
	index_free(t, all[5]);
	assert_int_equal(index_alloc(t, 1, &one), 0);
	assert_int_equal(one % INDEX_SLOTS, all[5] % INDEX_SLOTS);
	assert_int_equal(index_alloc(t, 1, &all[6]), -ENOSPC);
}

// The keypair stays whole until the worker has passed a quiescent state.
static void test_grace_period(void **state)
{
	struct index_table *t = *state;
	struct rte_rcu_qsbr *q = rcu_qsbr(rcu);
	rte_rcu_qsbr_thread_register(q, 0);
	rte_rcu_qsbr_thread_online(q, 0);
	struct keypair *kp = published(t, 99);
	memset(kp->send_key, 0xaa, KEY_LEN);
	index_free(t, kp->local_index);
	assert_int_equal(rcu_reclaim(rcu), 1);
	assert_int_equal(kp->send_key[KEY_LEN - 1], 0xaa);
	rte_rcu_qsbr_quiescent(q, 0);
	assert_int_equal(rcu_reclaim(rcu), 0);
	rte_rcu_qsbr_thread_offline(q, 0);
	rte_rcu_qsbr_thread_unregister(q, 0);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(test_found_only_while_published),
		CASE(test_other_indices_of_the_slot_are_refused),
		CASE(test_old_index_does_not_find_a_new_keypair),
		CASE(test_full),
		CASE(test_grace_period),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
