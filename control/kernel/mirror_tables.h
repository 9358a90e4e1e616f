// What the mirror knows, shared by its files: mirror.c (socket and dumps), mirror_route.c,
// mirror_watch.c, mirror_hop.c, mirror_neigh.c, mirror_link.c, mirror_fdb.c, mirror_vxlan.c. Nobody
// else includes this. Control thread only.
#pragma once

#include "control/kernel/mirror.h"
#include "control/kernel/rtmsg.h"
#include "dataplane/table/prefix_map.h"

enum {
	LINK_BUCKETS = 256,
	NEIGH_BUCKETS = 4096,
	HOP_BUCKETS = 1024,
	ASKED_SLOTS = 1024,
	FDB_BUCKETS = 1024,
	FDB_MAX = 1 << 16, // MACs behind remote VTEPs, and of their bridges
	COVERING_MAX = 32,
	POOL_MIN = 64,
	NIL = 0, // number of no route, no hop
};

struct link {
	struct link *next; // in its bucket
	struct mirror_link seen;
	struct {
		struct rt_addr addr;
		uint8_t epoch;
	} * addrs; // in the kernel's order
	uint32_t n_addrs;
	uint8_t epoch;
	// Of a bridge, as bridges_look() has seen it last:
	uint32_t n_vxlans; // ports that are VXLAN devices
	uint32_t n_ending; // that end here
	uint32_t ending;   // the last of these
	bool had_vxlans;   // before
};

struct neigh {		    // usable ones only
	struct neigh *next; // in its bucket
	struct ip_addr addr;
	uint32_t ifindex;
	uint8_t mac[6];
	uint8_t epoch;
};

// A remote VTEP as one device reaches it.
struct remote {
	struct remote *next;
	uint32_t ifindex; // of the device
	uint32_t vni;
	struct ip_addr addr;
	uint16_t port;	  // host order
	uint16_t number;  // in the table of the workers
	uint32_t entries; // of the forwarding database; 0: goes when no next hop names it any more
};

// Of the forwarding database of a VXLAN device, or of a bridge that has one.
struct fdb {
	struct fdb *next; // in its bucket
	uint32_t ifindex;
	uint16_t vlan;	// of a bridge's; 0: none
	uint8_t mac[6]; // all zero: whatever is not known; several such may go to several remotes
	uint8_t epoch;
	uint32_t behind;       // a bridge's: the port
	struct ip_addr addr;   // of the remote, which is no part of what others are found by
	struct remote *remote; // NULL: a group, no room, or a bridge's
};

// Where routes lead; equal ones are shared.
struct hop {
	uint32_t link; // next in its bucket, or next free one
	uint32_t routes;
	uint32_t ifindex;
	uint16_t mtu; // of the route
	uint8_t type; // RTN_*
	struct ip_addr gateway, prefsrc;
	struct nexthop nexthop; // as it is in the FIB
};

// Tables in the order in which they are asked; each by its longest prefix.
enum rank {
	RANK_LOCAL,
	RANK_FIRST, // mirror_env.first_table
	RANK_MAIN,
	RANK_COUNT,
};

// One hop of one route. Those of a prefix are listed best first: by rank, then by metric, then in
// the kernel's order.
struct route {
	uint32_t next;
	uint32_t hop;
	uint32_t metric;
	uint8_t rank; // enum rank
	uint8_t epoch;
	uint8_t protocol; // RTPROT_*
};

struct asked {
	struct ip_addr addr;
	uint32_t ifindex;
	uint64_t at_ns;
};

struct mirror {
	struct mirror_env env;
	struct fib *fib;
	struct mirror_stats stats;
	uint32_t generation;
	bool changed;	   // since on_change was last called
	bool neighs_stale; // routes changed: which neighbours are host routes is to be seen again

	struct link *link_bucket[LINK_BUCKETS];
	struct neigh *neigh_bucket[NEIGH_BUCKETS];
	uint32_t n_neighs;
	struct fdb *fdb_bucket[FDB_BUCKETS];
	uint32_t n_fdb;
	struct remote *remotes;
	bool fdb_changed;		      // next hops in VXLAN are to be seen again
	bool vteps_changed;		      // and how their remotes are reached
	struct prefix_map prefixes;	      // to the first route
	uint32_t lengths[RANK_COUNT][2][129]; // routes of each length, IPv4 and IPv6
	struct route *routes;		      // [0] unused
	uint32_t routes_end, routes_room, routes_free, n_routes;
	struct hop *hops; // [0] unused
	uint32_t hops_end, hops_room, hops_free;
	uint32_t hop_bucket[HOP_BUCKETS];
	struct asked asked[ASKED_SLOTS];
	// Prefixes of a rank before main that came or went: what they cover is to be seen again.
	struct ip_prefix covering[COVERING_MAX];
	unsigned n_covering; // COVERING_MAX + 1: all prefixes are to be seen again
	// Throw routes of the first table: where they lead is main's to say.
	struct ip_prefix *throws;
	uint32_t n_throws, throws_room;
	bool main_changed; // and they were not seen again yet

	mirror_watch_fn *watch; // NULL: nobody asks
	void *watch_arg;
	uint32_t watch_generation;

	// A dump runs through its stages; what it did not name is removed at a stage's end.
	uint8_t epoch;	  // of what the running or last dump named
	unsigned stage;	  // index of what is being dumped; STAGES: no dump runs
	bool torn;	  // the kernel's table changed under this stage: nothing is removed
	bool ready;	  // one dump is complete
	bool want_resync; // when this dump is over
	uint32_t dump_seq;
	struct mnl_socket *socket; // NULL without event base, as are:
	struct netlink *requests;
	struct event *readable, *resync;
	uint8_t *buffer;
};

// mirror.c
void mirror_want_resync(struct mirror *);

// mirror_route.c
void route_apply(struct mirror *, const struct rt_message *);
void routes_sweep(struct mirror *);
void routes_fini(struct mirror *);
// Bring the FIB's entry of this very prefix in line with routes and neighbours.
void prefix_sync(struct mirror *, const struct ip_prefix *);
// What an earlier table covers now, or no longer.
void covered_sync(struct mirror *);
// Where the tables lead, host routes of neighbours aside; NULL: nowhere.
const struct hop *route_covering(const struct mirror *, const struct ip_addr *);
// The same without the first table and the tunnel's own routes.
const struct hop *route_underlay(const struct mirror *, const struct ip_addr *);

// mirror_watch.c: one of main's routes with that protocol came, went, or has it now.
void watch_route(struct mirror *, const struct ip_prefix *, uint8_t protocol);

// mirror_hop.c
// Room for one more; NIL: no memory. The pools are arrays so that a million routes stay small.
uint32_t pool_take(void **pool, size_t size, uint32_t *end, uint32_t *room, uint32_t free_head);
// Complete the Ethernet header; false: the link has no MAC (yet).
bool to_neighbour(const struct mirror *, struct nexthop *, const struct neigh *);
bool hop_equal(const struct hop *, const struct hop *);
// One more route leads there; NIL: no memory.
uint32_t hop_ref(struct mirror *, const struct hop *want);
void hop_unref(struct mirror *, uint32_t number);
// True when a route leads over the interface or has the address (may be NULL) as its source.
bool hops_in_use(const struct mirror *, uint32_t ifindex, const struct ip_addr *prefsrc);
// Next hops over the interface again, after a change of the link or of one neighbour (else NULL).
void hops_refresh(struct mirror *, uint32_t ifindex, const struct ip_addr *gateway);
// All that lead over no port: into VXLANs, maybe.
void hops_refresh_portless(struct mirror *);
// Routes that lead over the interface.
uint32_t hops_routes(const struct mirror *, uint32_t ifindex);

// mirror_neigh.c
void neigh_apply(struct mirror *, const struct rt_message *);
void neighs_sweep(struct mirror *);
void neighs_sync(struct mirror *); // all of them as host routes
void neighs_fini(struct mirror *);
const struct neigh *neigh_find(const struct mirror *, uint32_t ifindex, const struct ip_addr *);

// mirror_fdb.c
void fdb_apply(struct mirror *, const struct rt_message *);
void fdb_sweep(struct mirror *);
void fdb_fini(struct mirror *);
// The interface has gone: with it what it knew.
void fdb_forget(struct mirror *, uint32_t ifindex);
// Remotes that nothing names any more.
void remotes_reap(struct mirror *);
// MACs that the forwarding database of this interface knows.
uint32_t fdb_count(const struct mirror *, uint32_t ifindex);
// Behind which remote the MAC is that a neighbour of this interface has, a VXLAN device or a bridge
// with one; NULL: behind none, several, or nobody knows.
const struct remote *fdb_remote(
	const struct mirror *, uint32_t ifindex, const uint8_t mac[static 6]) must_check;
// Which bridges have VXLAN devices that end here.
void bridges_look(struct mirror *);

// Before and after next hops are brought in line with what changed.
void vxlan_refresh(struct mirror *);
void vxlan_settle(struct mirror *);
// Why the kernel keeps this VXLAN device for itself, in a few words; NULL: it ends here.
const char *vxlan_left_because(const struct mirror *, const struct mirror_link *);
// Whether packets leave over the interface by VXLANs that end here: it is one, and no part of a
// bridge, or it is the bridge of one.
bool vxlan_ends_here(const struct mirror *, uint32_t ifindex);
// As to_neighbour, over such an interface; NH_KERNEL where no single remote has the MAC.
void vxlan_neighbour(const struct mirror *, struct nexthop *, const struct neigh *);

// mirror_link.c
void link_apply(struct mirror *, const struct rt_message *);
void addr_apply(struct mirror *, const struct rt_message *);
void bridge_vlan_apply(struct mirror *, const struct rt_message *);
void links_sweep(struct mirror *);
void addrs_sweep(struct mirror *);
void links_fini(struct mirror *);
const struct link *link_find(const struct mirror *, uint32_t ifindex);
