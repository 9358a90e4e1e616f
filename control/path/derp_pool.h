// The connections to DERP servers: one per region, opened when there is something to send or the
// region is home, closed 60 s after the last packet was sent (home stays). Rules:
// tailscale wgengine/magicsock/derp.go. [ctl]
#pragma once

#include "control/coord/netmap.h"
#include "control/net/stream.h"
#include "control/path/derp.h"

struct derp_pool;

struct derp_pool_env {
	void *arg;
	// A packet of up to DERP_PACKET_MAX bytes from this node.
	void (*packet)(void *arg, uint16_t region, const struct key *from, const uint8_t *data,
		size_t len);
	// The server says that the peer is not connected there.
	void (*gone)(void *arg, uint16_t region, const struct key *peer, enum derp_gone);
	// A connection came up, or went: look at derp_pool_region.
	void (*changed)(void *arg, uint16_t region);
	uint64_t (*now_ns)(void *arg); // monotonic
};

struct derp_pool *derp_pool_create(
	struct event_base *, struct net *, const struct derp_pool_env *) must_check; // NULL with errno
void derp_pool_destroy(struct derp_pool *);
// Our node key; connections of another one end.
void derp_pool_set_key(struct derp_pool *, const struct key *node_private);
// The map of the netmap; it is copied. Connections to what is no longer in it end.
void derp_pool_set_map(struct derp_pool *, const struct nm_derp_map *);
// Our home: kept connected and told that it is preferred. 0: none.
void derp_pool_set_home(struct derp_pool *, uint16_t region);
// Send a packet to a peer: over the connection of region (its home), or over an open one that the
// peer was last heard from; else region is dialled and the packet waits (32 of them, the oldest
// goes). 0, -EHOSTUNREACH: no such region, -EMSGSIZE, -ENOBUFS: dropped and counted.
int derp_pool_send(struct derp_pool *, uint16_t region, const struct key *to, const void *packet,
	size_t len) must_check;
// The network changed: connections whose local address is gone end now, others are tried with a
// ping.
void derp_pool_rebind(struct derp_pool *);

struct derp_region_info {
	bool connected;
	char error[DERP_ERROR_TEXT_LEN]; // of the last attempt, "" when it is well
	struct endpoint remote, local;
	uint64_t connected_ns; // since
	uint64_t heard_ns;     // last frame; 0: never
	uint64_t rx_packets, tx_packets, rx_bytes, tx_bytes, tx_dropped;
	unsigned connects; // successful ones
};

// false: the region is not in the map.
bool derp_pool_region(const struct derp_pool *, uint16_t region, struct derp_region_info *out);
