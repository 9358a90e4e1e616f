// A DPDK port. Private to port/.
#pragma once

#include <stdatomic.h>

#include "dataplane/port/port.h"

enum {
	ETHDEV_EARLY = 8, // fewer make some vector drivers return nothing
};

// Packets that were found while going to sleep; rx hands them out first. // wrk only
struct ethdev_early {
	uint16_t n;
	struct rte_mbuf *pkts[ETHDEV_EARLY];
};

struct ethdev_port {
	struct port port;
	struct rte_mempool *pool, *super_pool; // fixed after init, like all below
	struct rte_mempool *own_pool;	       // AF_XDP's buffers, or NULL
	int netlink;	       // AF_XDP: to ask for the interface behind it, or -1. // ctl only
	uint16_t dev;	       // DPDK's port id
	uint16_t n_rx;	       // receive queues; those of workers beyond receive nothing
	uint16_t max_segs;     // of a packet without segmentation
	uint16_t max_tso_segs; // of one with
	bool hotplugged;       // we attached the device
	bool started;
	bool keeps;	 // the driver keeps sent buffers until it needs their place in the ring
	bool ip_csum;	 // the device writes the IPv4 checksum of segments
	bool interrupts; // the driver can wake a sleeping worker
	struct ethdev_early early[PORT_QUEUE_MAX];
};

static inline struct ethdev_port *ethdev_of(struct port *p)
{
	return (struct ethdev_port *)p;
}

// (ethdev_io.c) The port_ops of workers. [wrk]
uint16_t ethdev_rx(struct port *p, uint16_t queue, struct rte_mbuf **pkts, uint16_t n);
uint16_t ethdev_tx(struct port *p, uint16_t queue, struct rte_mbuf **pkts, uint16_t n);
int ethdev_wait_fd(struct port *p, uint16_t queue);
void ethdev_wait_arm(struct port *p, uint16_t queue, bool on);
