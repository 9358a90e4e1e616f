// DPDK for unit tests: no hugepages, no devices, no shared files, no root. (--no-shconf, because
// DPDK 22.11 refuses --in-memory together with --no-huge.)
#pragma once

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include <rte_debug.h>
#include <rte_eal.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>

// Start the EAL on the CPU that the test runs on, with 64 MB of plain memory. Later calls do
// nothing. Ends the program when it cannot: no test is meaningful then.
static inline void test_eal_init(void)
{
	static bool started;
	if (started)
		return;

	char cpu[16];
	snprintf(cpu, sizeof(cpu), "%d", sched_getcpu());
	char *argv[] = {"test", "--no-huge", "--no-shconf", "--no-pci", "--no-telemetry", "-m",
		"64", "-l", cpu, "--log-level=error", NULL};
	if (rte_eal_init(RTE_DIM(argv) - 1, argv) < 0) {
		fprintf(stderr, "cannot start the EAL without hugepages\n");
		exit(1);
	}
	started = true;
}

// A pool of count mbufs with 2048 bytes of room behind the headroom, no per-core cache, so that
// rte_mempool_avail_count() tells of a leak at once.
static inline struct rte_mempool *test_pool(const char *name, unsigned count)
{
	struct rte_mempool *pool = rte_pktmbuf_pool_create(
		name, count, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	if (pool == NULL) {
		fprintf(stderr, "no memory for pool %s\n", name);
		exit(1);
	}
	return pool;
}
