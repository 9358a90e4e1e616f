// A port in memory, for tests of nodes and for perf/pipeline: what is put in comes out of rx, what
// is sent is kept until it is taken. One thread. Counts as real ports do.
#pragma once

#include <stdatomic.h>
#include <stdio.h>

#include "dataplane/base/mem.h"
#include "dataplane/port/port.h"

enum {
	MEMPORT_SIZE = 4096, // packets that wait in each direction of a queue; a power of two
};

struct memport_fifo {
	unsigned head, tail; // free-running; tail - head wait
	struct rte_mbuf *pkts[MEMPORT_SIZE];
};

struct memport_queue {
	struct memport_fifo in, out;
};

struct memport {
	struct port port;
	unsigned
		room; // packets that out holds before tx hands back the rest; MEMPORT_SIZE at first
	struct memport_queue queue[];
};

static inline unsigned memport_waiting(const struct memport_fifo *f)
{
	return f->tail - f->head;
}

static inline bool memport_push(struct memport_fifo *f, struct rte_mbuf *m)
{
	if (memport_waiting(f) == MEMPORT_SIZE)
		return false;
	f->pkts[f->tail++ % MEMPORT_SIZE] = m;
	return true;
}

static inline struct rte_mbuf *memport_pop(struct memport_fifo *f)
{
	return memport_waiting(f) ? f->pkts[f->head++ % MEMPORT_SIZE] : NULL;
}

static inline struct memport *memport_of(struct port *p)
{
	return (struct memport *)p;
}

static inline uint16_t memport_rx(struct port *p, uint16_t q, struct rte_mbuf **pkts, uint16_t n)
{
	struct memport_fifo *in = &memport_of(p)->queue[q].in;
	struct port_stats *stats = &p->stats[q];
	uint16_t got = 0;
	for (; got < n && memport_waiting(in); got++) {
		struct rte_mbuf *m = pkts[got] = memport_pop(in);
		m->port = p->id;
		stats->rx_packets++;
		stats->rx_bytes += m->pkt_len;
		stats->rx_supers += (m->ol_flags & RTE_MBUF_F_RX_LRO) != 0;
	}
	return got;
}

static inline uint16_t memport_tx(struct port *p, uint16_t q, struct rte_mbuf **pkts, uint16_t n)
{
	struct memport *mp = memport_of(p);
	struct memport_fifo *out = &mp->queue[q].out;
	struct port_stats *stats = &p->stats[q];
	uint16_t sent = 0;
	for (; sent < n && memport_waiting(out) < mp->room; sent++) {
		const struct rte_mbuf *m = pkts[sent];
		stats->tx_packets++;
		stats->tx_bytes += m->pkt_len;
		stats->tx_supers +=
			(m->ol_flags & (RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG)) != 0;
		memport_push(out, pkts[sent]);
	}
	stats->tx_full += n - sent;
	return sent;
}

static inline int memport_wait_fd(struct port *, uint16_t)
{
	return -1;
}

static inline void memport_refresh(struct port *)
{
}

// Frees the packets that still wait.
static inline void memport_close(struct port *p)
{
	struct memport *mp = memport_of(p);
	for (unsigned q = 0; q < p->n_queues; q++) {
		struct rte_mbuf *m;
		while ((m = memport_pop(&mp->queue[q].in)) || (m = memport_pop(&mp->queue[q].out)))
			rte_pktmbuf_free(m);
	}
	free(mp);
}

static const struct port_ops memport_ops = {
	.rx = memport_rx,
	.tx = memport_tx,
	.wait_fd = memport_wait_fd,
	.refresh = memport_refresh,
	.close = memport_close,
};

// A port that is up with an MTU of 1500 and offers every offload; change what a test needs.
// kind: PORT_TUN has no Ethernet header.
static inline struct memport *memport_create(enum port_kind kind, uint16_t id, uint16_t n_queues)
{
	struct memport *mp =
		mem_alloc(sizeof(*mp) + (size_t)n_queues * sizeof(struct memport_queue));
	mp->room = MEMPORT_SIZE;
	mp->port = (struct port){
		.ops = &memport_ops,
		.kind = kind,
		.id = id,
		.n_queues = n_queues,
		.ifindex = 100 + id,
		.l2 = kind != PORT_TUN,
		.mac = {{2, 0, 0, 0, 0, (uint8_t)id}},
		.rx_offloads = RTE_ETH_RX_OFFLOAD_TCP_LRO | RTE_ETH_RX_OFFLOAD_SCATTER,
		.tx_offloads = RTE_ETH_TX_OFFLOAD_TCP_TSO | RTE_ETH_TX_OFFLOAD_UDP_TSO |
			       RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM |
			       RTE_ETH_TX_OFFLOAD_MULTI_SEGS,
		.up = true,
		.mtu = 1500,
	};
	snprintf(mp->port.name, sizeof(mp->port.name), "mem%u", id);
	snprintf(mp->port.device, sizeof(mp->port.device), "mem%u", id);
	return mp;
}

// A packet for rx; it belongs to the port. False: MEMPORT_SIZE are waiting.
static inline bool memport_put(struct memport *mp, uint16_t queue, struct rte_mbuf *m)
{
	return memport_push(&mp->queue[queue].in, m);
}

// The oldest packet that was sent; it belongs to the caller. NULL: none.
static inline struct rte_mbuf *memport_take(struct memport *mp, uint16_t queue)
{
	return memport_pop(&mp->queue[queue].out);
}
