// The handshake side of WireGuard: peers, handshakes in both roles, timers, and the keypairs that
// workers use. Everything here runs on the control thread.
#pragma once

#include <event2/event.h>

#include "config/config.h"
#include "dataplane/node/node.h"

struct wg; // one device: our key, our peers

// How wg sends and finds its way; given by the daemon.
struct wg_env {
	void *arg;
	// Send bytes as one UDP datagram from our port. peer: whose handshake it is, NULL for a
	// cookie reply. local: source to keep, or IP_NONE. to: port 0 for a meshed peer of which
	// nothing came yet. False: no way.
	bool (*send)(void *arg, const struct peer *peer, const struct ip_addr *local,
		const struct endpoint *to, const uint8_t *data, size_t len);
	// Fill in a path to the endpoint (path->local may hold a wish); false: not reachable now.
	bool (*resolve_path)(void *arg, const struct endpoint *to, struct peer_path *path);
	// A new keypair with the peer is about to be used for sending. NULL: nobody cares.
	void (*keyed)(void *arg, const struct peer *peer);
	// A router says, unproven, that this datagram, sent from our port, is more than the mtu
	// bytes of an IP packet that it takes. NULL: nobody cares.
	void (*too_big)(void *arg, const struct endpoint *to, uint32_t mtu);
	// Data of a meshed peer came from there while its route is (also) DERP. NULL: nobody cares.
	void (*heard)(void *arg, const struct peer *peer, const struct endpoint *from);
};

// How a peer's endpoint is found.
enum wg_mobility {
	WG_FIXED,   // it is the configured one
	WG_ROAMING, // it follows authentic packets
	WG_MESHED,  // wg_peer_route says, whatever the packets' sources
};

struct wg *wg_create(struct event_base *, struct gateway *, const struct wg_env *) must_check;
void wg_destroy(struct wg *);

// Our key; sessions of an old one end. 0 or -errno.
int wg_set_key(struct wg *, const struct key *private_key);
const struct key *wg_public_key(const struct wg *);

// Add a peer or change it to this configuration; what is equal stays untouched, and a session lives
// on unless the preshared key changed. A meshed peer costs no cryptography before its first
// handshake. 0 or -errno.
int wg_peer_set(struct wg *, const struct config_peer *, enum wg_mobility);
int wg_peer_remove(struct wg *, const struct key *public_key); // 0 or -ENOENT

// The peer's configured endpoint is now this one (its name was looked up). 0 or -ENOENT.
int wg_peer_endpoint(struct wg *, const struct key *public_key, const struct endpoint *);

// Where a meshed peer's packets go.
struct wg_route {
	struct endpoint to;  // port 0: not by UDP
	uint16_t local_port; // of ours; 0: the WireGuard port
	uint32_t vni;	     // not 0: behind a Geneve header, through a peer relay
	bool derp;	     // (also) handed up, to go over DERP
	uint16_t mtu;	     // largest inner packet that the path is known to carry; 0: unknown
};

// A limit of a path that was learned, as the largest inner packet, and when; mtu 0: none.
struct wg_learned {
	uint16_t mtu;
	uint64_t unix_ns;
};

int wg_peer_route(struct wg *, const struct key *public_key, const struct wg_route *); // or -ENOENT
// When its newest session began; 0: none, or no such peer.
uint64_t wg_peer_handshake_unix_ns(const struct wg *, const struct key *public_key);

// A handshake message from a worker. from/to: outer addresses. len: bytes at data.
void wg_receive(struct wg *, const uint8_t *data, size_t len, const struct endpoint *from,
	const struct ip_addr *to);
// An ICMP error from a worker, from its IP header on, that says too big. Believed of a peer that is
// not meshed when it quotes a datagram of the peer's session: over IPv6 for 10 minutes, over IPv4,
// where it is asked for again and again, for 20 s. Of others env.too_big hears. Counted.
void wg_too_big(struct wg *, const uint8_t *packet, size_t len);
void wg_event(struct wg *, const struct worker_event *);
// Initiations per second above which cookies are asked for.
void wg_set_handshake_rate(struct wg *, uint32_t per_s);
// Routes or neighbours changed: compute every peer's path again.
void wg_paths_changed(struct wg *);

// What status shows of one peer.
struct wg_peer_info {
	const struct peer *peer;
	struct endpoint endpoint;
	uint64_t handshake_unix_ns; // the newest session's; 0: none yet
	uint32_t keepalive_s;	    // 0: off
	bool roaming, has_psk;
	uint32_t n_allowed;
	const struct ip_prefix *allowed;
	uint64_t rx_wire_bytes, tx_wire_bytes, rx_packets, tx_packets;
	uint16_t owner, mtu;
	struct wg_learned probed; // of wg_route
	struct wg_learned told;	  // by a router
	uint32_t vni;		  // not 0: through a peer relay
	bool derp;		  // (also) over DERP
	uint16_t port_out;	  // PORT_NONE: no way to the endpoint
	uint64_t handshakes_sent, handshakes_received, handshakes_failed;
};

// One peer. -ENOENT.
int wg_peer_info(const struct wg *, const struct key *public_key, struct wg_peer_info *) must_check;
// The next one in order of the configuration; *at: 0 at first. false: that was the last. Peers may
// change between calls.
bool wg_peers_next(const struct wg *, uint32_t *at, struct wg_peer_info *) must_check;
// fn for each peer in the same order; it must not change peers.
void wg_peers_each(struct wg *, void (*fn)(void *arg, const struct wg_peer_info *), void *arg);

// Counters of the handshake side, by reason.
#define WG_COUNTERS(X)                                                                             \
	X(INITIATION_SENT, "initiations_sent", "handshakes that we started")                       \
	X(INITIATION_RECEIVED, "initiations_received", "handshakes that a peer started")           \
	X(RESPONSE_SENT, "responses_sent", "handshakes that we answered")                          \
	X(RESPONSE_RECEIVED, "responses_received", "answers to our handshakes")                    \
	X(COOKIE_SENT, "cookies_sent", "cookie replies sent under load")                           \
	X(COOKIE_RECEIVED, "cookies_received", "cookie replies received")                          \
	X(BAD_LENGTH, "handshake_bad_length", "handshake message of a wrong length")               \
	X(BAD_MAC1, "handshake_bad_mac1", "not made for our public key, or damaged")               \
	X(BAD_MAC2, "handshake_no_cookie", "without a valid cookie while under load")              \
	X(RATE_LIMITED, "handshake_rate_limited",                                                  \
		"beyond 20 a second from one address under load")                                  \
	X(FORGED, "handshake_forged", "decryption of a handshake failed")                          \
	X(UNKNOWN_PEER, "handshake_unknown_peer", "from a public key that is not configured")      \
	X(REPLAYED, "handshake_replayed",                                                          \
		"timestamp not newer than the last: replay, or the peer's clock went back")        \
	X(FLOOD, "handshake_flood", "initiations of one peer closer than 20 ms")                   \
	X(UNKNOWN_INDEX, "handshake_unknown_index", "answer to no handshake of ours")              \
	X(NO_INDEX, "handshake_no_index", "no session index is free")                              \
	X(GAVE_UP, "handshake_gave_up", "no answer for 90 s")                                      \
	X(NO_PATH, "handshake_no_path", "no route or neighbour towards the endpoint")              \
	X(PROBE_SENT, "path_probes_sent",                                                          \
		"datagrams by which routers on the way to a static peer over IPv4 were asked")     \
	X(TOO_BIG, "icmp_too_big", "routers' word about a path's MTU that was believed, or tried") \
	X(TOO_BIG_MALFORMED, "icmp_too_big_malformed",                                             \
		"such an ICMP error that is damaged, or quotes nothing of use")                    \
	X(TOO_BIG_UNASKED, "icmp_too_big_unasked", "one about nothing that was sent: forged")      \
	X(TOO_BIG_FALSE, "icmp_too_big_false",                                                     \
		"one with an MTU that cannot be: above the datagram, or below 576 or 1280")        \
	X(TOO_BIG_LIMITED, "icmp_too_big_limited", "such ICMP errors beyond 50 a second")

enum wg_counter {
#define X(name, label, help) WG_COUNTER_##name,
	WG_COUNTERS(X)
#undef X
		WG_COUNTER_COUNT
};
uint64_t wg_counter(const struct wg *, enum wg_counter);
const char *wg_counter_label(enum wg_counter);
const char *wg_counter_help(enum wg_counter);
bool wg_under_load(const struct wg *);
