// Messages of rtnetlink as plain structs; bytes in, struct out, no socket.
// Layouts: linux/rtnetlink.h, if_link.h, if_addr.h, neighbour.h; rtnetlink(7).
#pragma once

#include <linux/netlink.h>

#include "dataplane/base/types.h"

enum {
	RT_HOPS_MAX = 16, // of a multipath route; further ones are left out
};

enum rt_kind {
	RT_LINK,
	RT_ADDR,
	RT_ROUTE,
	RT_NEIGH,
	RT_FDB,
	RT_BRIDGE_VLAN,
};

// A VXLAN device; ports in host order.
struct rt_vxlan {
	uint32_t vni;
	uint32_t underlay;	     // interface that its datagrams leave by; 0: as they are routed
	struct ip_addr local;	     // IP_NONE: as they are routed
	uint16_t port;		     // where it listens, and what remotes listen to by default
	uint16_t port_min, port_max; // source ports; 0: not said
	uint8_t ttl;		     // 0: the usual one
	uint8_t tos;		     // of the outer header; 1: the inner one's
	bool df;
	bool csum4, nocsum6; // UDP checksums over IPv4, none over IPv6
	// RFC 7348 and nothing else, one VNI; others (external, GPE, group policy) are the
	// kernel's.
	bool plain;
};

struct rt_link {
	uint32_t ifindex;
	char name[IFNAME_LEN];
	uint32_t mtu; // 0: not said
	bool up;      // IFF_UP, administratively
	bool has_mac; // 6 bytes: Ethernet and what looks like it
	uint8_t mac[6];
	uint32_t master; // bridge or bond; 0: none
	bool is_bridge;
	bool vlan_aware, stp; // of a bridge
	bool is_vxlan;
	struct rt_vxlan vxlan;
};

struct rt_addr {
	uint32_t ifindex;
	struct ip_ifaddr local; // our side, also of a point-to-point address
	uint8_t scope;		// RT_SCOPE_*
	bool secondary;		// IPv4: not the first of its network
	bool unready;		// IPv6: tentative, failed or deprecated: no source for new packets
};

struct rt_hop {
	uint32_t ifindex;	// 0: none, as in IPv4's blackhole
	struct ip_addr gateway; // IP_NONE: on-link; may be IPv6 for an IPv4 route
	bool dead;
};

struct rt_route {
	struct ip_prefix dst;
	uint32_t table; // RT_TABLE_*
	uint32_t metric;
	uint8_t type; // RTN_*
	uint8_t protocol;
	uint16_t mtu;		// 0: the link's
	struct ip_addr prefsrc; // IP_NONE: not said
	struct rt_hop hop[RT_HOPS_MAX];
	unsigned n_hops; // at least 1
};

struct rt_neigh {
	uint32_t ifindex;
	struct ip_addr addr;
	// mac may be used: REACHABLE, STALE, DELAY, PROBE, PERMANENT; NOARP, too, which is how
	// routing daemons write down what EVPN tells them, when it is one machine's.
	bool valid;
	uint8_t mac[6];
};

// Where a MAC is, by a forwarding database: of a VXLAN device, behind which remote VTEP; of a
// bridge, behind which of its ports.
struct rt_fdb {
	uint32_t ifindex; // of the VXLAN device or bridge
	uint8_t mac[6];	  // all zero: whatever is not known
	// A VXLAN device's:
	struct ip_addr remote; // IP_NONE: several (a group of next hops)
	uint16_t port;	       // host order; 0: the device's
	uint32_t vni;	       // 0: the device's
	// A bridge's:
	uint32_t behind; // the port, or the bridge itself; 0: the entry is a VXLAN device's
	uint16_t vlan;	 // 0: none
};

// Of a port of a bridge, or of the bridge itself.
struct rt_bridge_vlan {
	uint32_t ifindex;
	uint16_t untagged; // the VLAN of frames without tag, both ways; 0: none
};

struct rt_message {
	enum rt_kind kind;
	bool gone;    // deleted
	bool replace; // takes the place of the routes with that metric
	union {
		struct rt_link link;
		struct rt_addr addr;
		struct rt_route route;
		struct rt_neigh neigh;
		struct rt_fdb fdb;
		struct rt_bridge_vlan vlan;
	};
};

// The next message of a datagram, which at and left then stand behind; NULL: no further whole one.
// (libmnl's mnl_nlmsg_ok takes lengths above INT_MAX.)
const struct nlmsghdr *rt_next(const uint8_t **at, size_t *left);
// nh: nlmsg_len bytes. 0 and *out; -ENOENT: of a kind that we do not keep (other families, cached
// routes, source routes, proxies, MACs that are behind no VTEP nor bridge); -EINVAL: malformed.
// Then *out is undefined. [any thread]
int rt_parse(const struct nlmsghdr *nh, struct rt_message *out) must_check;
