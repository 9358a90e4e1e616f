// The netmap's packet filter and our own addresses, compiled for the workers. Chunks are joined,
// cap: sources become the addresses of the peers that have the capability now: compile anew when
// peers, filter, own addresses, advertised routes or the machine's networks change. [ctl]
#pragma once

#include <ifaddrs.h>

#include <jansson.h>

#include "control/coord/netmap.h"
#include "dataplane/table/rules.h"

enum {
	TN_FILTER_RANGES_MAX =
		1 << 20, // of all rules' sources; equal lists count as often as they come
	TN_FILTER_ATTACHED_MAX = 1024,
};

struct tn_filter_spec {
	const struct netmap *netmap;
	const struct ip_prefix *routes; // that we advertise
	uint32_t n_routes;
	const struct ip_ifaddr *attached; // the machine's addresses with their networks
	uint32_t n_attached;
	bool shields_up;
	uint16_t peerapi4, peerapi6;  // ports at our addresses; 0: none
	const struct ip_prefix *vips; // of services that we host
	uint32_t n_vips;
};

// Without netmap nothing may come in. NULL, with a line in the log: the policy is beyond what is
// compiled (dataplane/table/rules.h), whoever holds the rules before keeps them. Default routes
// among routes stand for the internet alone: not for attached networks (our addresses in them
// excepted), private, link-local, tailnet and multicast ranges. Every peer may reach the peerAPI,
// which judges for itself, but not with shields up.
struct rules *tn_filter_compile(const struct tn_filter_spec *) must_check;
// The same with the networks that the machine has now for attached.
struct rules *tn_filter_rules(const struct tn_filter_spec *) must_check;

// An interface's address with its network; false: of no family that we know.
bool tn_interface_address(const struct ifaddrs *, struct ip_ifaddr *out);
struct ip_prefix tn_network_of(const struct ip_ifaddr *);

// Whether a rule's source is this address, of this node (NULL: nobody's).
bool tn_source_matches(
	const struct nm_source *, const struct ip_addr *src, const struct nm_node *node);

// What the peer with address src may do towards dst by capability grants: {name: [values] or null},
// of all that match together. A new reference. What services ask about who talks to them.
json_t *tn_peer_caps(
	const struct netmap *, const struct ip_addr *src, const struct ip_addr *dst) must_check;
bool tn_peer_has_cap(const struct netmap *, const struct ip_addr *src, const struct ip_addr *dst,
	const char *name);
// ... of the node from any of its addresses towards any of ours.
bool tn_node_granted(const struct netmap *, const struct nm_node *, const char *name);
