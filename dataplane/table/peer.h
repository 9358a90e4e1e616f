// A WireGuard peer as the workers see it. The control thread creates it, owns what is marked ctl,
// and frees it by RCU; one worker (the owner) keeps its counters, queue and timestamps.
#pragma once

#include <rte_mbuf.h>
#include <stdalign.h>
#include <stdatomic.h>

#include "dataplane/port/port.h"
#include "dataplane/table/keypair.h"

enum {
	PEER_STAGED_MAX = 128, // packets kept while a handshake runs (kernel: MAX_STAGED_PACKETS)
	PEER_OUTER_MAX = 14 + 40 + 8,
};

// How to reach the peer: Ethernet, IP and UDP header ready to copy. Replaced as a whole (RCU) when
// the endpoint, a route or a neighbour changes. Lengths and checksums are filled per packet.
struct peer_path {
	uint8_t outer[64]; // l2_len + IP + UDP bytes, right-aligned at outer + 64
	uint8_t outer_len;
	uint8_t l2_len;	     // 0 or L2_LEN
	uint8_t family;	     // enum ip_family of the outer header
	uint16_t port;	     // out; PORT_NONE: endpoint or next hop not known
	uint16_t mtu;	     // largest inner packet
	uint16_t least6;     // of IPv6 at least this, whatever mtu says; 0: nothing
	uint32_t udp_pseudo; // sum of the pseudo header without the length
	uint32_t ip_sum; // of the outer IPv4 header, without what changes; peer_set_path() sets it
	struct endpoint remote;
	struct ip_addr local; // source address of the outer header
	uint16_t local_port;  // source port of the outer header; 0: the WireGuard port
	uint32_t vni;	      // not 0: behind a Geneve header, through a peer relay
	bool derp;	      // (also) handed to the control thread, which sends it over DERP
};

struct peer {
	struct keypair *_Atomic sending; // ctl: rw, wrk: ro (RCU); NULL: none to send with
	struct peer_path *_Atomic path;	 // ctl: rw, wrk: ro (RCU); never NULL
	uint32_t id;			 // fixed: index in the peer table
	uint16_t owner;			 // fixed: worker
	_Atomic bool roaming;		 // ctl: rw, wrk: ro: follow the source of authentic packets
	_Atomic bool has_psk;
	_Atomic bool filtered; // ctl: rw, wrk: ro: of a tailnet: the packet filter, and TSMP
	_Atomic bool jailed;   // ctl: rw, wrk: ro: filtered as with shields up
	_Atomic uint32_t dead; // ctl: 1 once removed: owner drops what is staged

	// Owner only, but for reads by ctl (relaxed).
	alignas(64) _Atomic uint64_t rx_bytes; // inner bytes and packets, keepalives excluded
	_Atomic uint64_t rx_packets;
	_Atomic uint64_t tx_bytes;
	_Atomic uint64_t tx_packets;
	_Atomic uint64_t last_rx;      // TSC of any authentic packet
	_Atomic uint64_t last_rx_data; // TSC, keepalives excluded
	_Atomic uint64_t last_tx;      // TSC of anything sent with a keypair
	_Atomic uint64_t last_tx_data;
	_Atomic uint64_t rx_wire_bytes; // outer UDP payload, as wg(8) counts
	_Atomic uint64_t tx_wire_bytes;
	uint64_t asked_handshake; // TSC: events are not repeated within 100 ms
	uint64_t told_roam;
	uint64_t tsmp_until; // TSC: what was let through has used up its rate until then
	struct rte_mbuf *staged, *staged_last; // oldest first, see peer_staged_next()
	uint16_t staged_n; // at most PEER_STAGED_MAX; full: the oldest is dropped and counted

	// ctl only
	struct key public_key;
	char name[64];
	void *session; // control/wg's side of this peer
};

// The packet that waits behind this one: where the packet's private area begins, which names its
// peer otherwise. (A ring per peer would be 1 KiB, of each of thousands of idle ones.)
static inline struct rte_mbuf **peer_staged_next(struct rte_mbuf *m)
{
	return (struct rte_mbuf **)rte_mbuf_to_priv(m);
}

// Whether datagrams to the peer get anywhere.
static inline bool peer_path_leads(const struct peer_path *path)
{
	return path->port != PORT_NONE || path->derp;
}

enum {
	PEER_MAX = 1 << 14,
};

struct allowedips; // prefix to peer: two LPMs

struct allowedips *allowedips_create(struct rcu *) must_check; // NULL with errno [ctl]
// After the grace period; before rcu_destroy. NULL is fine. [ctl]
void allowedips_destroy(struct allowedips *);
// The prefix belongs to peer from now on, whosever it was. 0, -EINVAL, -ENOMEM. [ctl]
int allowedips_set(struct allowedips *, const struct ip_prefix *, struct peer *) must_check;
// Remove if it belongs to peer. 0, -ENOENT. [ctl]
int allowedips_clear(struct allowedips *, const struct ip_prefix *, const struct peer *);
// Remove all of a peer's; before the peer itself is removed. [ctl]
void allowedips_clear_peer(struct allowedips *, const struct peer *);
// The peer of that very prefix, or NULL. [ctl]
struct peer *allowedips_get(const struct allowedips *, const struct ip_prefix *);
// The n prefixes of a peer, in no order; valid until the next change. [ctl]
const struct ip_prefix *allowedips_of(const struct allowedips *, const struct peer *, uint32_t *n);
uint32_t allowedips_count(const struct allowedips *); // [ctl]
// The peer of the longest prefix that holds the address (4 or 16 bytes, network order), or NULL;
// inline for workers: allowedips_find4(), allowedips_find6() in table/lookup.h. [wrk, ctl]
struct peer *allowedips_lookup4(const struct allowedips *, const uint8_t addr[static 4]);
struct peer *allowedips_lookup6(const struct allowedips *, const uint8_t addr[static 16]);
