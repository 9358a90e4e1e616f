// What of the host's traffic is the gateway's, as the guard is told of it. [ctl]
#pragma once

#include "control/daemon.h"
#include "control/kernel/claim.h"

struct guarding {
	struct port_range extra;	 // UDP ports beside WireGuard's
	uint16_t nat_first, nat_last;	 // of the address translation; 0: none
	uint32_t port_ifindex[PORT_MAX]; // interface of each port when the guard was last set
	uint64_t vxlans;		 // and which VXLAN devices ended here
};

// Make or renew the guard by what d and g say now. 0, or -errno with a line in err and the guard as
// it was.
int guarding_set(struct daemon *d, struct guarding *g, char err[static 256]) must_check;
// The same for a daemon that goes on without: a failure is logged.
void guarding_renew(struct daemon *d, struct guarding *g);
// Whether the guard's rules follow addresses or VXLAN devices that have changed since.
bool guarding_is_stale(const struct daemon *d, const struct guarding *g) must_check;
