// Copies of packets for 'tailgate capture'. Workers copy into slots of the capture's own and put
// them on a ring; the control thread drains it. Nothing waits: without free slots the copy is lost
// and COUNTER_CAPTURE_LOST counts it. The slots are ordinary memory: what DPDK has is for packets.
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
	CAPTURE_SLOTS = 4095, // what a ring of 4096 holds
	CAPTURE_ROOM = 2048,  // bytes of a slot
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

// A copy, or a piece of one. // worker, then ctl
struct capture_slot {
	struct capture_slot *next; // the packet goes on there, or NULL
	uint32_t n;		   // bytes of data
	// In the first slot of a packet:
	uint32_t len; // of the original, Ethernet header included
	uint64_t tsc;
	uint16_t port;	     // as in the filter
	uint8_t point;	     // enum capture_point
	struct key peer_key; // zero: none known
	uint8_t data[CAPTURE_ROOM];
};

struct capture;

// Make a capture that no worker feeds yet. 0 or -ENOMEM. [ctl]
int capture_create(const struct capture_filter *, struct capture **out) must_check;
// No worker may hold it any more: after capture_stop, by rcu_defer. Takes undrained copies along.
// [ctl]
void capture_destroy(void *capture);
// Let all workers feed it. 0, or -EBUSY: another one is running. [ctl]
int capture_start(struct gateway *, struct capture *) must_check;
// Workers let go of it within a round. [ctl]
void capture_stop(struct gateway *, struct capture *);
// Up to n packets, oldest first; each is to be given back. Returns how many. [ctl]
unsigned capture_drain(struct capture *, struct capture_slot **packets, unsigned n);
void capture_release(struct capture *, struct capture_slot *packet); // [ctl]

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
