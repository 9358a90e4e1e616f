// What perf/pipeline feeds the graph with: a port with a ring like a NIC's. Packets are put into
// its buffers beforehand, as DMA would; taking them, allocating buffers in their place and freeing
// what was sent is the port's work, done when the worker calls.
#pragma once

#include <jansson.h>

#include "tests/unit/gateway.h"

enum {
	RING_MAX = 256,		// packets that lie ready
	RING_BYTES = 384 << 10, // at most: within a core's second-level cache
	SUPER_MSS = 1380,	// TCP payload of a segment of 1420 bytes
	SEGS_OUT = 47,		// segments of a super-packet that is encrypted
	SEGS_IN = 44,		// datagrams of a super-packet that is decrypted
};

// One row of the table.
struct test_case {
	const char *direction;
	bool decrypt;
	uint32_t segs;	// inner packets in one received packet
	uint32_t inner; // bytes of each inner packet
	uint32_t bytes; // IP bytes that one received packet stands for
};

struct supply {
	struct port port;
	struct rte_mempool *pool;
	struct rte_mbuf *ring[RING_MAX];
	unsigned size, head; // buffers from head on are filled and not yet taken
	uint64_t sent_packets, sent_bytes, sent_segments;
};

// The EAL by itself, and the gateway g of one worker with a peer and a key, its buffers where the
// daemon's lie. tunnel_mtu 0: as in the tests; aead NULL: the best engine.
void supply_open(struct gw *g, const char *program, const char *aead, uint16_t tunnel_mtu);
// Rows into a file; NULL or "-": nowhere. Takes them. False: they are not there, which was said.
bool supply_save(json_t *rows, const char *file, const char *program);
// Ports in place of lan and wan of g: what they offer depends on the case.
void supply_attach(struct supply *in, struct supply *out, struct gw *g, const struct test_case *c);
void supply_detach(struct supply *s);
// Have n of the case's packets lie ready, n <= size; those to decrypt get fresh counters.
void supply_fill(
	struct supply *s, struct gw *g, const struct test_case *c, uint64_t *counter, unsigned n);
// Where the bytes lie that are sealed or opened: packet i's inner packet number seg.
uint8_t *supply_payload(
	const struct supply *s, const struct test_case *c, unsigned i, unsigned seg);
