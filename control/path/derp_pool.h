// The connections to DERP servers: one per region, opened when there is something to send or the
// region is home, closed 60 s after the last packet was sent (home stays). Rules:
// tailscale wgengine/magicsock/derp.go. [ctl]
#pragma once

#include "control/coord/netmap.h"
#include "control/net/stream.h"
#include "control/path/derp.h"

enum {
	DERP_POOL_CONNECTIONS_MAX = 64, // beside home
};

struct derp_pool;

// Called from the loop. Only derp_pool_send, derp_pool_set_home, derp_pool_region and
// derp_pool_peer_region may be called from within.
struct derp_pool_env {
	void *arg;
	// A packet of up to DERP_PACKET_MAX bytes from this node.
	void (*packet)(void *arg, uint16_t region, const struct key *from, const uint8_t *data,
		size_t len);
	// The server says that the peer is not connected there.
	void (*gone)(void *arg, uint16_t region, const struct key *peer, enum derp_gone);
	// A connection came up, went, or could not be made: look at derp_pool_region.
	void (*changed)(void *arg, uint16_t region);
	uint64_t (*now_ns)(void *arg); // monotonic
};

struct derp_pool *derp_pool_create(struct event_base *, struct net *,
	const struct derp_pool_env *) must_check; // NULL with errno
void derp_pool_destroy(struct derp_pool *);
// Our node key; connections of another one end.
void derp_pool_set_key(struct derp_pool *, const struct key *node_private);
// The map of the netmap; it is copied. Connections to what is no longer in it end.
void derp_pool_set_map(struct derp_pool *, const struct nm_derp_map *);
// Our home: kept connected and told that it is preferred. 0: none.
void derp_pool_set_home(struct derp_pool *, uint16_t region);
// Send a packet to a peer: over the connection of region (its home), or over an open one that the
// peer was last heard from; else region is dialled and the packet waits (32 of them, the oldest
// goes). 0, -EHOSTUNREACH: no such region, -EMSGSIZE, -ENOBUFS: dropped and counted, since the
// server's limit is reached, 100 ms of backlog wait, or DERP_POOL_CONNECTIONS_MAX are open.
int derp_pool_send(struct derp_pool *, uint16_t region, const struct key *to, const void *packet,
	size_t len) must_check;
// The network changed: connections whose local address is gone end now, others are tried with a
// ping.
void derp_pool_rebind(struct derp_pool *);

// Where the peer was last heard from, on a connection that is open since; 0: nowhere.
uint16_t derp_pool_peer_region(const struct derp_pool *, const struct key *peer);

struct derp_region_info {
	bool connected;
	// Of the last attempt, or the server's own words about its health; "" when it is well.
	char error[STREAM_WHY_LEN];
	struct endpoint remote, local;
	uint64_t connected_ns; // since
	uint64_t heard_ns;     // last frame; 0: never
	uint64_t rx_packets, tx_packets, rx_bytes, tx_bytes, tx_dropped;
	unsigned connects; // successful ones
};

// false: the region is not in the map.
bool derp_pool_region(const struct derp_pool *, uint16_t region, struct derp_region_info *out);
