// Ports of the kernel's kind in a test's own network namespace, and the pools that they take.
#pragma once

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
// after the above, as cmocka asks
#include <cmocka.h>

#include "dataplane/port/port.h"
#include "tests/unit/eal.h"
#include "tests/unit/frames.h"
#include "tests/unit/netns.h"

enum {
	POOL_SIZE = 4096,
	SUPER_POOL_SIZE = 300,
	WAIT_MS = 30000,
};

static struct rte_mempool *pool, *super_pool;

static inline void create_pools(void)
{
	pool = test_pool("pool", POOL_SIZE);
	super_pool = rte_pktmbuf_pool_create(
		"super", SUPER_POOL_SIZE, 0, PKT_PRIV_LEN, SUPER_ROOM, SOCKET_ID_ANY);
	assert_non_null(super_pool);
}

// Once the ports are closed: each has given every buffer back.
static inline void check_pools(void)
{
	assert_int_equal(rte_mempool_avail_count(pool), POOL_SIZE);
	assert_int_equal(rte_mempool_avail_count(super_pool), SUPER_POOL_SIZE);
}

static inline struct port *open_port(const char *device, uint16_t id,
	int (*open)(const struct port_params *, struct port **, char err[static 256]))
{
	struct port_params params = {.name = device,
		.device = device,
		.id = id,
		.n_queues = 1,
		.mtu = 1500,
		.pool = pool,
		.super_pool = super_pool};
	char err[256];
	struct port *p;
	if (open(&params, &p, err) != 0) {
		fprintf(stderr, "%s\n", err);
		exit(1);
	}
	return p;
}

// One packet, waited for on the port's descriptor; NULL after so long.
static inline struct rte_mbuf *receive(struct port *p, int wait_ms)
{
	struct rte_mbuf *m;
	struct pollfd fd = {.fd = p->ops->wait_fd(p, 0), .events = POLLIN};
	for (int round = 0; round < 16; round++) { // other traffic, IPv6's own, wakes too
		if (port_rx(p, 0, &m, 1) == 1)
			return m;
		if (poll(&fd, 1, wait_ms) <= 0)
			break;
	}
	return NULL;
}
