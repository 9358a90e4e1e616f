// The ways to all peers of the tailnet: disco with each of them over UDP, peer relays and DERP, and
// which way its WireGuard packets go now (magicsock in the real client). The datagrams are the
// caller's; one path machine (endpoint.h) for each peer that is in use. [ctl]
#pragma once

#include <event2/event.h>

#include "control/coord/netmap.h"
#include "control/path/disco.h"
#include "control/path/endpoint.h"

struct mesh;

// Capability version from which a node can use, or be, a peer relay.
enum { MESH_CAP_RELAY = 121 };

// Where WireGuard for a peer goes: any of both; neither: nowhere known.
struct mesh_route {
	struct endpoint udp; // port 0: not
	uint16_t local_port; // udp is reached from this port of ours; 0: the WireGuard port
	uint32_t vni;	     // not 0: udp is a peer relay's, behind a Geneve header
	bool derp;	     // through mesh_send
	uint16_t mtu;	     // IP packets on the wire that udp was seen to carry; 0: unknown
};

// What our NAT does with us.
enum mesh_nat {
	MESH_NAT_UNKNOWN, // or UDP does not work at all
	MESH_NAT_EASY,	  // one port outside for a port of ours, or there is none
	MESH_NAT_HARD,	  // one for each destination
};

// Limits of looking for a path through a hard NAT: mesh_birthday.c.
struct mesh_birthday {
	unsigned ports;	  // of ours, beside the WireGuard port; 0: off
	unsigned rate;	  // pings a second, to all peers together and those asked of them
	unsigned seconds; // of one attempt
};

// What workers have sent to a peer, since whenever.
struct mesh_sent {
	uint64_t packets, bytes; // bytes: of UDP's payload
};

// None of these may call back into the mesh.
struct mesh_env {
	void *arg;
	uint64_t (*now_ns)(void *arg); // monotonic
	// A datagram from the WireGuard port, or another port of ours (not 0). false: no way there.
	bool (*send)(void *arg, uint16_t local_port, const struct endpoint *to, const uint8_t *data,
		size_t len);
	// derp_pool_send.
	int (*derp_send)(
		void *arg, uint16_t region, const struct key *node, const void *data, size_t len);
	// The route of this peer is another one now.
	void (*route)(void *arg, const struct key *node, const struct mesh_route *);
	// When a worker last sent something to the peer, of now_ns's clock; 0: never.
	uint64_t (*last_tx_ns)(void *arg, const struct key *node);
	// Our endpoints, best first, for call-me-maybe; returns how many.
	size_t (*endpoints)(void *arg, struct endpoint *out, size_t max);
	// Are they younger than 27 s? If not, STUN starts and mesh_endpoints_ready follows.
	bool (*endpoints_fresh)(void *arg);
	// outside: our IPv4 address out there, of a hard one.
	enum mesh_nat (*nat)(void *arg, struct ip_addr *outside);
	// Take n ports in a row, from *first on; they are not taken yet. 0 or -errno.
	int (*open_ports)(void *arg, unsigned n, uint16_t *first);
	void (*close_ports)(void *arg);
	// When a worker last took an authentic packet of the peer; 0: never.
	uint64_t (*last_rx_ns)(void *arg, const struct key *node);
	void (*sent)(void *arg, const struct key *node, struct mesh_sent *out);
	// The largest packet on the wire that is worth a probe: what the link towards there takes,
	// and a full packet of the tunnel needs. 0: no way there.
	uint16_t (*link_mtu)(void *arg, const struct path_addr *to);
};

#define MESH_COUNTERS(X)                                                                           \
	X(DISCO_RX, "disco_received", "disco messages of known peers")                             \
	X(DISCO_TX, "disco_sent", "disco messages sent over UDP")                                  \
	X(DISCO_DERP_TX, "disco_sent_derp", "disco messages sent over DERP")                       \
	X(DISCO_UNKNOWN, "disco_unknown_key", "disco from a key that is in no netmap")             \
	X(DISCO_FORGED, "disco_forged", "disco that does not open, or is malformed")               \
	X(DISCO_MISPLACED, "disco_misplaced", "disco message that may not come that way")          \
	X(DISCO_REPEATED, "disco_repeated", "disco ping that came before from there")              \
	X(DISCO_UNASKED, "disco_unasked", "disco pong to no ping of ours")                         \
	X(DISCO_LIMITED, "disco_rate_limited", "disco or call-me-maybe above the limit")           \
	X(BIRTHDAY_TRIED, "birthday_attempts", "attempts to find a way through a hard NAT")        \
	X(BIRTHDAY_TX, "birthday_pings", "pings of such attempts, from many ports or to many")     \
	X(BIRTHDAY_GUESSED, "birthday_guesses", "ports that peers were asked to ping meanwhile")   \
	X(BIRTHDAY_WON, "birthday_paths", "attempts that ended with a direct path")                \
	X(PMTU_TX, "path_mtu_probes", "padded pings sent to find out what a path carries")         \
	X(PMTU_RX, "path_mtu_answers", "pongs to such pings")                                      \
	X(PMTU_LIMITED, "path_mtu_limited", "such pings beyond 2000 a second, which wait")         \
	X(PMTU_LOWERED, "path_mtu_lowered", "paths that were found to carry less than before")     \
	X(PMTU_RAISED, "path_mtu_raised", "paths that were found to carry more than before")       \
	X(PATH_CHANGED, "path_changes", "times that a peer's best path changed")

enum mesh_counter {
#define X(name, label, help) MESH_COUNTER_##name,
	MESH_COUNTERS(X)
#undef X
		MESH_COUNTER_COUNT
};
uint64_t mesh_counter(const struct mesh *, enum mesh_counter);
const char *mesh_counter_label(enum mesh_counter);
const char *mesh_counter_help(enum mesh_counter);

// With a disco key of its own, new each time. NULL with errno.
struct mesh *mesh_create(struct event_base *, const struct mesh_env *) must_check;
void mesh_destroy(struct mesh *);		       // wipes; NULL is fine
const struct key *mesh_disco_key(const struct mesh *); // public
void mesh_set_node_key(struct mesh *, const struct key *node_public);

// Until then: off. What runs goes on by the new limits.
void mesh_set_birthday(struct mesh *, const struct mesh_birthday *);
// No heartbeats: what comes from a peer shows that its path works.
void mesh_set_silent(struct mesh *, bool silent);

// Add a peer or change it: disco key, endpoints, home DERP, capability version. Costs no
// cryptography before the first message. 0 or -ENOMEM.
int mesh_peer_set(struct mesh *, const struct nm_node *) must_check;
void mesh_peer_remove(struct mesh *, const struct key *node);
// The peer said its disco key inside the tunnel (TSMP 'a').
void mesh_peer_disco_key(struct mesh *, const struct key *node, const struct key *disco);
// Nodes that may be used as peer relays (of peers and self), by node key; replaces the list.
void mesh_set_relays(struct mesh *, const struct key *nodes, size_t n);

// A datagram on the WireGuard port, or another port of ours (not 0), that udp_classify calls disco
// or Geneve disco.
void mesh_input(struct mesh *, const struct endpoint *from, uint16_t local_port,
	const uint8_t *data, size_t len);
// From which port of ours that address of the peer is reached; 0: the WireGuard port.
uint16_t mesh_local_port(const struct mesh *, const struct key *node, const struct endpoint *to);
// A packet over DERP. false: it is no disco, but WireGuard for the caller, of this known peer.
bool mesh_derp_input(
	struct mesh *, uint16_t region, const struct key *from, const uint8_t *data, size_t len);
bool mesh_knows(const struct mesh *, const struct key *node);
// A router says, unproven, that a datagram to there is larger than what it takes: peers that are
// reached there are asked with that size next.
void mesh_too_big(struct mesh *, const struct endpoint *to, uint32_t mtu);
// Authentic WireGuard of the peer came from this UDP address, which is not where ours goes: while
// that is DERP, the address is pinged.
void mesh_heard(struct mesh *, const struct key *node, const struct endpoint *from);
// Where WireGuard for the peer goes now. -ENOENT.
int mesh_route(const struct mesh *, const struct key *node, struct mesh_route *out) must_check;
// The peer is not connected there: what was learnt of it is dropped.
void mesh_derp_gone(struct mesh *, uint16_t region, const struct key *node);

// WireGuard for the peer: a handshake message (also_udp: by all ways of the route), or a packet
// that a worker has sent by UDP already if the route says so. Counts as traffic: starts and keeps
// the search for a path. 0, -EHOSTUNREACH, -ENOENT, or of derp_send.
int mesh_send(struct mesh *, const struct key *node, const void *data, size_t len, bool also_udp);

// The network under us changed: all paths are to be proven anew.
void mesh_rebind(struct mesh *);
// STUN is done: call-me-maybes that waited go out.
void mesh_endpoints_ready(struct mesh *);

// A disco ping for people: to DERP and all candidates, or the trusted path; the first pong counts.
// One over DERP does if none over UDP follows within as long again, at most 50 ms: a direct path
// that has just come about would lose to it by chance.
struct mesh_pong {
	int error; // 0, -ETIMEDOUT, -ENOENT (unknown, or went meanwhile), -EMSGSIZE, -EBUSY (64 are
		   // under way)
	uint64_t latency_ns;
	struct path_addr addr; // UDP; port 0: not
	uint16_t region;       // not 0: over DERP
};

// size: of the disco message on the wire (0: unpadded). done once, from the loop or within.
void mesh_ping(struct mesh *, const struct key *node, unsigned size, unsigned timeout_ms,
	void (*done)(void *arg, const struct mesh_pong *), void *arg);

// Do datagrams reach us that nobody was asked for? Of the nodes those are taken to which nothing
// went over UDP for a while, so that no firewall and no NAT expects them: over DERP they are asked
// to ping our endpoints (call-me-maybe), which real clients do at once.
struct mesh_reach {
	unsigned asked, reached;
	// From where; port 0: nobody did. Of several one that is not private.
	struct endpoint from;
	struct key node;
};

// done once, from the loop: when somebody of the world beyond did, or all, or after timeout_ms, or
// from mesh_destroy. 0, -EBUSY: one is under way, -ENOENT: nobody can be asked.
int mesh_reach_start(struct mesh *, const struct key *nodes, size_t n, unsigned timeout_ms,
	void (*done)(void *arg, const struct mesh_reach *), void *arg) must_check;

struct mesh_peer_info {
	struct mesh_route route;
	bool trusted; // route.udp is proven
	uint64_t latency_ns;
	unsigned candidates;
	uint64_t pings_tx, pongs_rx, pings_rx, call_me_maybe_tx, call_me_maybe_rx;
	uint64_t pongs_derp_rx;		     // of pongs_rx, over DERP
	uint64_t last_ping_ns, last_pong_ns; // 0: never
	uint16_t home_region, seen_region;   // DERP; 0: unknown
	bool in_session;		     // sent within 45 s
	char why[200];			     // why the path is what it is: tried, answered, next
};

// -ENOENT.
int mesh_peer_info(const struct mesh *, const struct key *node, struct mesh_peer_info *out);
