// Copies of packets for 'tailgate capture'. Workers copy into buffers of the capture's own and put
// them on a ring; the control thread drains it. Nothing waits: without a buffer or a place on the
// ring the copy is lost and COUNTER_CAPTURE_LOST counts it.
#pragma once

#include <stdatomic.h>

#include "dataplane/node/node.h"

enum capture_point {
	CAPTURE_PLAIN_OUT, // before encryption: data at the inner IP header
	CAPTURE_WIRE_OUT,  // after encryption: data at the first byte that the port gets
	// Before decryption: data at the outer IP header, m->l2_len bytes of Ethernet header in
	// front.
	CAPTURE_WIRE_IN,
	CAPTURE_PLAIN_IN, // after decryption: data at the inner IP header
	CAPTURE_POINT_COUNT,
};

enum {
	CAPTURE_BUFFERS = 4095, // of 2 KiB; a power of two less 1 suits the mempool best
	CAPTURE_SNAPLEN_DEFAULT = 65535,
	CAPTURE_SNAPLEN_MAX = 262144,
	CAPTURE_SNAPLEN_MIN = 64,
};

struct capture_filter {
	uint32_t points;  // bit 1 << point
	uint32_t snaplen; // bytes of a packet that are kept
	uint16_t port; // PORT_NONE: all; where the packet was received, WIRE_OUT: where it leaves
	struct key peer_key; // zero: all, and packets of no peer
	// Of that peer: makes wire packets its own of which the caller does not know the peer.
	struct endpoint peer_endpoint;
};

// The private area of a copy. // worker, then ctl
struct capture_meta {
	uint64_t tsc;
	uint32_t len;	     // of the original, Ethernet header included
	uint16_t port;	     // as in the filter
	uint8_t point;	     // enum capture_point
	struct key peer_key; // zero: none known
};

static inline struct capture_meta *capture_meta(struct rte_mbuf *copy)
{
	return (struct capture_meta *)rte_mbuf_to_priv(copy);
}

struct capture;

// Make a capture that no worker feeds yet. 0 or -errno (-ENOMEM: no room for its buffers). [ctl]
int capture_create(const struct capture_filter *, struct capture **out) must_check;
// No worker may hold it any more: after capture_stop, by rcu_defer. Takes undrained copies along.
// [ctl]
void capture_destroy(void *capture);
// Let all workers feed it. 0, or -EBUSY: another one is running. [ctl]
int capture_start(struct gateway *, struct capture *) must_check;
// Workers let go of it within a round. [ctl]
void capture_stop(struct gateway *, struct capture *);
// Up to n copies, oldest first; the caller frees them. Returns how many. [ctl]
unsigned capture_drain(struct capture *, struct rte_mbuf **copies, unsigned n);

void capture_packet(struct graph *g, struct capture *c, const struct rte_mbuf *m,
	enum capture_point point, const struct peer *peer); // [wrk]

// Where a packet passes a point; peer may be NULL. The packet stays as it is. [wrk]
static inline void capture_copy(struct graph *g, const struct rte_mbuf *m, enum capture_point point,
	const struct peer *peer)
{
	struct capture *c = atomic_load_explicit(&g->capture, memory_order_acquire);
	if (unlikely(c != NULL))
		capture_packet(g, c, m, point, peer);
}
