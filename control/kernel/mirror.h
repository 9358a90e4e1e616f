// The kernel's links, addresses, routes and neighbours, mirrored over netlink into the FIB. The
// kernel stays the control plane: `ip route`, FRR, ARP and ND configure the gateway. Control thread
// only; the event loop calls in, work per wake-up is bounded.
//
// What goes into the FIB: for each prefix of the tables local, mirror_env.first_table and main
// where packets to it go. The tables are asked in that order, each by its longest prefix, then the
// lowest metric and its first live hop; a throw route in the first table leads on to main. Other
// tables, rules, cached and source routes are left out. Types: local, anycast -> NH_LOCAL;
// unreachable, prohibit, throw -> NH_REJECT; blackhole -> NH_DROP; broadcast and multicast ->
// NH_DROP: they are never forwarded, and what the host itself is to hear of them was told apart
// before routing. unicast -> by its output interface NH_TUNNEL, NH_KERNEL (no port of ours), or on
// a port NH_LINK when the gateway's neighbour is known, NH_RESOLVE when it is not; a network that
// is on-link is NH_RESOLVE without gateway, and each neighbour known there a host route NH_LINK, as
// long as the longest route to it is on-link over the same interface. NH_LINK keeps the neighbour's
// address as gateway. A VXLAN device that ends here (mirror_vxlan.c has what that takes) counts as
// a port: a neighbour whose MAC the device's forwarding database has is NH_VXLAN, one whose MAC it
// does not have NH_KERNEL; so does the bridge that such a device is a port of. IPv6 link-local
// destinations are never forwarded: NH_DROP, but for our own addresses.
#pragma once

#include <event2/event.h>

#include "control/kernel/netlink.h"
#include "control/kernel/rtmsg.h"
#include "dataplane/table/fib.h"

struct mirror;

struct mirror_env {
	void *arg;
	uint32_t tunnel_ifindex; // the host TUN; 0: none
	uint32_t first_table;	 // asked before main, as an ip rule says; 0: none
	// The port that sends on this interface (for a mirror TAP: its owned port); PORT_NONE: no
	// port of ours. Asked often.
	uint16_t (*port_of)(void *arg, uint32_t ifindex);
	// Routes, addresses, links or neighbours in use changed; once per wake-up, not while a dump
	// runs.
	void (*on_change)(void *arg, uint32_t generation);
	// The neighbour became known, changed its MAC, or went. May be NULL.
	void (*on_neigh)(void *arg, const struct ip_addr *, uint32_t ifindex);
	// An ip rule was deleted. May be NULL.
	void (*on_rule_gone)(void *arg);
};

struct mirror_link {
	uint32_t ifindex;
	char name[IFNAME_LEN];
	uint32_t mtu;
	bool up; // administratively
	bool has_mac;
	uint8_t mac[6];
	uint32_t master; // bridge or bond that it belongs to; 0: none
	bool is_bridge, vlan_aware, stp;
	uint16_t vlan; // of a bridge or its port: of frames without tag, both ways; 0: none
	bool is_vxlan;
	struct rt_vxlan vxlan;
};

// A VXLAN device, as it is shown.
struct mirror_vxlan {
	const struct mirror_link *link;
	// The interface with MAC and addresses: the device itself, or the bridge that it is a port
	// of.
	const struct mirror_link *seat;
	const struct mirror_link *underlay; // NULL: as its datagrams are routed
	const char *left_because;	    // NULL: it ends here; else why it is left to the kernel
	// By mirror_vxlan_count():
	uint32_t remotes, reached; // remote VTEPs that it knows; to how many a way leads
	uint32_t macs;		   // of its forwarding database
	uint32_t neighbours;	   // that are sent to through it
	uint32_t routes;	   // over its seat
};

struct mirror_stats {
	uint64_t messages;
	uint64_t malformed;
	uint64_t overruns;   // the kernel had more to say than the socket took
	uint64_t resyncs;    // complete dumps, the first included
	uint64_t fib_errors; // routes or neighbours that the FIB had no room for
	uint32_t routes, neighbours, fdb;
};

// Starts a dump; the callbacks come from the loop. base NULL: nothing is opened, messages come from
// mirror_feed alone. NULL with errno. What is in the FIB stays there when the mirror goes.
struct mirror *mirror_create(
	struct event_base *base, struct fib *fib, const struct mirror_env *env) must_check;
void mirror_destroy(struct mirror *); // NULL is fine
// True once the first dump is complete.
bool mirror_ready(const struct mirror *);
// The tunnel's interface is another one now.
void mirror_set_tunnel(struct mirror *, uint32_t ifindex);
// port_of answers otherwise than before for these interfaces: a port's was made anew.
void mirror_port_moved(struct mirror *, uint32_t before, uint32_t now);
// Goes up with each change that on_change tells of.
uint32_t mirror_generation(const struct mirror *);
// One datagram as the kernel sends it.
void mirror_feed(struct mirror *, const uint8_t *bytes, size_t len);

// Ask the kernel to find or confirm the neighbour; at most once a second per address, and says so:
// true when it was asked.
bool mirror_resolve(struct mirror *, uint32_t ifindex, const struct ip_addr *);
// The next hop of a datagram that carries the tunnel: the longest route of main that does not lead
// into the tunnel, whatever the FIB says. NH_LINK, or NH_RESOLVE (ask for nh->gateway, or for to
// itself where that is IP_NONE); false: no such route over a port of ours.
bool mirror_underlay(
	const struct mirror *, const struct ip_addr *to, struct nexthop *nh) must_check;
// The address that such a datagram is sent from: of the route (RTA_PREFSRC), else of its interface;
// of a local destination itself. 0, -ENETUNREACH (no route, or one that refuses), -EADDRNOTAVAIL.
int mirror_source(const struct mirror *, const struct ip_addr *to, struct ip_addr *out) must_check;
// The interface's first address of the family, global ones first; false: none.
bool mirror_port_addr(
	const struct mirror *, uint32_t ifindex, enum ip_family family, struct ip_addr *out);
// True when the address is one of this machine's.
bool mirror_is_local(const struct mirror *, const struct ip_addr *);
// NULL: no such interface. Valid until the next wake-up.
const struct mirror_link *mirror_link(const struct mirror *, uint32_t ifindex);
void mirror_stats(const struct mirror *, struct mirror_stats *);
// One VXLAN device after the other, from *at = 0 on; false: there is none any more. Valid until the
// next wake-up.
bool mirror_vxlan_next(const struct mirror *, uint32_t *at, struct mirror_vxlan *out);
// Count what it has. Walks through the tables.
void mirror_vxlan_count(const struct mirror *, struct mirror_vxlan *);

// Of main's unicast routes those that the caller wants to know of, by prefix and RTPROT_*; NULL:
// none. A prefix counts as long as one of its routes is wanted and does not lead into the tunnel.
typedef bool mirror_watch_fn(void *arg, const struct ip_prefix *, uint8_t protocol);
void mirror_watch(struct mirror *, mirror_watch_fn *, void *arg);
// Goes up when what follows may answer otherwise than before.
uint32_t mirror_watch_generation(const struct mirror *);
bool mirror_is_watched(const struct mirror *, const struct ip_prefix *);
// How many there are; the first max of them into out, in no order. Walks through all routes.
uint32_t mirror_watched(const struct mirror *, struct ip_prefix *out, uint32_t max);
// For requests of the caller's own. NULL when created without base.
struct netlink *mirror_netlink(struct mirror *);
