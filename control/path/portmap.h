// Keeps a mapping of the WireGuard port at the gateway of the default route: NAT-PMP, PCP, then
// UPnP (libminiupnpc, which blocks, in a thread of its own). Rules: tailscale net/portmapper. [ctl]
#pragma once

#include <event2/event.h>

#include "control/path/portmap_wire.h"

struct portmap;

struct portmap_env {
	void *arg;
	uint64_t (*now_ns)(void *arg);
	void (*changed)(void *arg); // mapping or what is known of the gateway
};

struct portmap_info {
	int8_t upnp, pmp, pcp;	  // seen within ten minutes; -1: never asked
	struct endpoint external; // of the mapping; port 0: none
	const char *protocol;	  // "NAT-PMP", "PCP", "UPnP" of the mapping, or ""
	uint64_t expires_ns;
	char text[160]; // why there is none, for status and doctor; ""
};

struct portmap *portmap_create(struct event_base *, const struct portmap_env *) must_check;
// Deletes the mapping, if that takes no longer than 250 ms. NULL is fine.
void portmap_destroy(struct portmap *);
// Gateway (IP_NONE: none), our address towards it, the port to map. Probes and maps when these
// changed; a gateway that is not private is left alone.
void portmap_set(
	struct portmap *, const struct ip_addr *gateway, const struct ip_addr *own, uint16_t port);
void portmap_refresh(struct portmap *); // look again now
const struct portmap_info *portmap_get(const struct portmap *);
