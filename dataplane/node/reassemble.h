// Fragments to whole packets and back, for nodes that meet them. [wrk]
#pragma once

#include "dataplane/node/node.h"
#include "dataplane/node/output.h"

enum {
	// What every way takes (RFC 8200 5): a sender of fragments learns of no packet too big that
	// is not his.
	FRAGMENT_AGAIN6_MTU = 1280,
};

// Whether a fragment that came from a port may be of a packet for us or the translation's
// addresses. True: it is taken, and what comes of it enters at WG_INPUT (peers' datagrams are cut
// where the way is narrow) or NAT_RETURN, or is left to the kernel. All fragments of a packet meet
// at one worker.
bool reassemble_return(struct graph *g, struct rte_mbuf *m, const struct nexthop *nh);
// Of classify: which node a packet to an address of ours is for, by its UDP port: NODE_WG_INPUT for
// the WireGuard port or one beside it, NODE_VXLAN_INPUT for a VXLAN that ends here, NODE_COUNT for
// anything else, fragments included.
enum node_id node_of_datagram(
	const struct graph *g, const struct rte_mbuf *m, const struct ip_info *ip);
// An IPv6 packet that was put together here (IP_FLAG_WHOLE), in one piece and with its checksum
// complete, is larger than mtu: fragments of it to node.
void fragment_again6(struct graph *g, struct rte_mbuf *m, uint16_t mtu, enum node_id node);
