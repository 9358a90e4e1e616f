// A UDP way to a peer and how good it is. Pure; any thread.
#pragma once

#include "dataplane/base/types.h"

// A UDP way to the peer.
struct path_addr {
	struct endpoint to;  // port 0: none
	uint32_t vni;	     // not 0: of a peer relay at that address
	uint16_t local_port; // from this port of ours; 0: the WireGuard port
};

struct path_quality {
	struct path_addr addr;
	struct key relay_server; // its disco key, with a VNI
	uint64_t latency_ns;
	uint16_t mtu;
};

static inline bool path_addr_equal(const struct path_addr *a, const struct path_addr *b)
{
	return a->vni == b->vni && a->local_port == b->local_port && endpoint_equal(&a->to, &b->to);
}

static inline bool path_addr_exists(const struct path_addr *a)
{
	return a->to.port != 0;
}

static inline bool path_addr_is_direct(const struct path_addr *a)
{
	return path_addr_exists(a) && a->vni == 0;
}

// Whether a is to replace b (tailscale wgengine/magicsock/endpoint.go, betterAddr).
bool path_better(const struct path_quality *a, const struct path_quality *b);
