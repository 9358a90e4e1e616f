// Where a packet goes next: routes and neighbours of the kernel, mirrored by control/kernel.
// A route or a resolved neighbour (as a host route) is a prefix in an LPM whose value is the number
// of a next hop. Next hops never change once published: they are replaced, the old one freed by
// RCU.
#pragma once

#include "dataplane/port/port.h"
#include "dataplane/table/lpm.h"
#include "dataplane/table/vtep.h"

enum nexthop_type {
	NH_DROP,    // blackhole: silently, counted
	NH_REJECT,  // unreachable, prohibit: ICMP error
	NH_LOCAL,   // an address of this machine
	NH_TUNNEL,  // through the host TUN's interface: allowed IPs choose the peer
	NH_LINK,    // a neighbour with known address: l2 is complete
	NH_RESOLVE, // neighbour not known (yet): the control thread asks the kernel
	NH_VXLAN,   // a neighbour behind a remote VTEP: l2 is its frame's header
	NH_KERNEL,  // an interface that is no port of ours: the kernel forwards
	NH_TYPE_COUNT,
};

struct nexthop { // fixed once published
	enum nexthop_type type;
	uint16_t port;		// NH_LINK, NH_RESOLVE: the port; else, and in a VXLAN, PORT_NONE
	uint16_t mtu;		// of the route or the link; 0: not known
	uint32_t ifindex;	// the kernel's output interface
	struct ip_addr gateway; // NH_RESOLVE: whom to ask for; IP_NONE: the destination itself
	uint8_t l2[16]; // NH_LINK, NH_VXLAN: Ethernet header, L2_LEN bytes, EtherType left to the
			// sender
	uint16_t vtep;	// NH_VXLAN: the remote's number
};

enum {
	FIB_NEXTHOP_MAX = 1 << 18, // next hops, neighbours included
};

struct fib {
	struct lpm *v4, *v6;		  // fixed after init; entries RCU
	struct nexthop *_Atomic *nexthop; // ctl: rw, wrk: ro (RCU); [0] = no route
	struct vtep_table *vteps;	  // fixed after init
	struct fib_control *control;	  // ctl only
};

struct fib *fib_create(struct rcu *) must_check; // NULL with errno [ctl]
// After the grace period; before rcu_destroy. NULL is fine. [ctl]
void fib_destroy(struct fib *);
// Route or neighbour in, by value; equal next hops are shared. 0, -EINVAL, -ENOMEM, or -ENOSPC
// (FIB_NEXTHOP_MAX, those within their grace period included); then the table is as before. [ctl]
int fib_set(struct fib *, const struct ip_prefix *, const struct nexthop *) must_check;
// All prefixes whose next hop equals from get to, in one step however many they are: a gateway's
// neighbour came, changed or went. 0, or -ENOENT when none has from. [ctl]
int fib_replace(struct fib *, const struct nexthop *from, const struct nexthop *to);
// The next hop of that very prefix, or NULL. [ctl]
const struct nexthop *fib_get(const struct fib *, const struct ip_prefix *);
int fib_clear(struct fib *, const struct ip_prefix *); // 0 or -ENOENT [ctl]
// NULL: no route. Valid until the worker's next quiescent state; on ctl until it returns to its
// loop. Inline versions for workers: fib_lookup4(), fib_lookup6() in table/lookup.h.
const struct nexthop *fib_lookup(const struct fib *, const struct ip_addr *);
bool nexthop_equal(const struct nexthop *, const struct nexthop *);
uint32_t fib_count(const struct fib *);		// prefixes [ctl]
uint32_t fib_nexthop_count(const struct fib *); // next hops in use [ctl]
size_t fib_memory(const struct fib *);		// bytes [ctl]
