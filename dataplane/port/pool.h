// Pools of packet buffers, PKT_PRIV_LEN of private area each.
#pragma once

#include <rte_mbuf.h>

#include "dataplane/base/types.h"

struct pool_params {
	const char *name; // of the mempool
	unsigned n;	  // buffers
	unsigned cache;	  // of these for each worker
	uint16_t room;	  // bytes of data, headroom included
	// Not in DPDK's memory but in transparent huge pages. Drivers that tell others about DPDK's
	// memory, as VFIO, vhost-user and memif do, do not know of these buffers: for kernel ports
	// only. Left out where DPDK's memory is in huge pages itself.
	bool transparent;
};

// NULL with rte_errno. To rte_mempool_free(). [ctl]
struct rte_mempool *pool_create(const struct pool_params *) must_check;
