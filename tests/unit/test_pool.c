#include "dataplane/port/pool.h"

#include <rte_errno.h>
#include <rte_memory.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
// after the above, as cmocka asks
#include <cmocka.h>

#include "dataplane/base/huge.h"
#include "dataplane/port/port.h"
#include "tests/unit/eal.h"

enum {
	N = 511,
	ROOM = 2048 + RTE_PKTMBUF_HEADROOM,
};

static int setup(void **)
{
	test_eal_init();
	return 0;
}

static bool is_dpdk_memory(const void *p)
{
	return rte_mem_virt2memseg(p, NULL) != NULL;
}

// All buffers are there, each its own, writable from end to end.
static void check_buffers(struct rte_mempool *mp, bool transparent, unsigned room)
{
	struct rte_mbuf *m[N];
	assert_int_equal(rte_mempool_avail_count(mp), N);
	assert_int_equal(rte_pktmbuf_alloc_bulk(mp, m, N), 0);
	assert_null(rte_pktmbuf_alloc(mp));
	for (unsigned i = 0; i < N; i++) {
		assert_int_equal(is_dpdk_memory(m[i]), !transparent);
		assert_int_equal(m[i]->buf_len, room);
		if (transparent) // without hugepages DPDK leaves its own at 0
			assert_int_equal(m[i]->buf_iova, (uintptr_t)m[i]->buf_addr);
		assert_int_equal(rte_pktmbuf_priv_size(mp), PKT_PRIV_LEN);
		memset(rte_mbuf_to_priv(m[i]), (int)i, PKT_PRIV_LEN);
		memset(m[i]->buf_addr, (int)i, room);
	}
	for (unsigned i = 0; i < N; i++) {
		assert_int_equal(((uint8_t *)rte_mbuf_to_priv(m[i]))[PKT_PRIV_LEN - 1], i & 0xff);
		assert_int_equal(((uint8_t *)m[i]->buf_addr)[0], i & 0xff);
		assert_int_equal(((uint8_t *)m[i]->buf_addr)[room - 1], i & 0xff);
	}
	rte_pktmbuf_free_bulk(m, N);
	assert_int_equal(rte_mempool_avail_count(mp), N);
}

static void test_buffers(void **)
{
	static const struct {
		const char *name;
		uint16_t room;
		bool transparent;
	} cases[] = {
		{"small", ROOM, false},
		{"small_transparent", ROOM, true},
		{"large", SUPER_ROOM, false},
		{"large_transparent", SUPER_ROOM, true},
	};
	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		const struct pool_params p = {
			cases[i].name, N, 0, cases[i].room, cases[i].transparent};
		struct rte_mempool *mp = pool_create(&p);
		assert_non_null(mp);
		check_buffers(mp, p.transparent, p.room);
		rte_mempool_free(mp);
	}
}

static void test_transparent_lies_in_huge_pages(void **)
{
	struct rte_mempool *mp = pool_create(&(struct pool_params){"pages", N, 0, ROOM, true});
	assert_non_null(mp);
	assert_int_equal(mp->nb_mem_chunks, 1);
	const struct rte_mempool_memhdr *chunk = STAILQ_FIRST(&mp->mem_list);
	assert_int_equal((uintptr_t)chunk->addr % HUGE_PAGE, 0);
	rte_mempool_free(mp);
}

static void test_refusals(void **)
{
	static const struct {
		const char *name;
		struct pool_params params;
		int error;
	} cases[] = {
		{"more than DPDK has", {"much", 1 << 20, 0, ROOM, false}, ENOMEM},
		{"more than there are addresses", {"vast", INT32_MAX, 0, SUPER_ROOM, true}, ENOMEM},
		{"a cache larger than a cache can be", {"cache", N, 1 << 20, ROOM, true}, EINVAL},
		{"no buffers", {"none", 0, 0, ROOM, true}, EINVAL},
		{"a name that there is", {"there", N, 0, ROOM, true}, EEXIST},
		{"a name that is too long",
			{"a_name_that_is_longer_than_dpdk_takes", N, 0, ROOM, true}, ENAMETOOLONG},
	};
	struct rte_mempool *there = pool_create(&(struct pool_params){"there", N, 0, ROOM, true});
	assert_non_null(there);
	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		rte_errno = 0;
		if (pool_create(&cases[i].params) != NULL || rte_errno != cases[i].error)
			fail_msg("%s: %s", cases[i].name, rte_strerror(rte_errno));
	}
	rte_mempool_free(there);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_buffers),
		cmocka_unit_test(test_transparent_lies_in_huge_pages),
		cmocka_unit_test(test_refusals),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
