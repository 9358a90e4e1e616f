// Which way to a peer: direct, through a peer relay, or DERP. One state machine per peer; datagrams
// that came, the time and randomness go in, what to do comes out by callback. It sends nothing and
// knows no keys: the caller has opened and attributed each message. Rules and times are those of
// tailscale wgengine/magicsock/endpoint.go and tsconst/ping.go, so that both ends agree on when a
// path is dead. Control thread.
#pragma once

#include "control/path/quality.h"
#include "dataplane/wire/disco.h"

enum {
	PATH_HEARTBEAT_MS = 3000, // pings of the path in use while there is traffic
	PATH_TRUST_MS = 6500,	  // how long a pong vouches for a path
	// Ours: a heartbeat that is not answered within this and four round trips is sent again,
	// and after two of them DERP is used beside the path.
	PATH_DOUBT_MS = 1000,
	PATH_UNANSWERED_MAX = 2,
	PATH_PING_TIMEOUT_MS = 5000,
	PATH_PING_INTERVAL_MS = 5000, // between discovery pings of one candidate
	PATH_SESSION_MS = 45000,      // after the last send: heartbeats stop
	// Ours: likewise, when the peer has just been heard from there.
	PATH_PING_BACK_MS = 250,
	// Ours: a direct path that was lost under traffic is pinged again so often for the first
	// PATH_RETRY_FAST_MS, then less, and no more after PATH_RETRY_END_MS.
	PATH_RETRY_MS = 250,
	PATH_RETRY_SLOW_MS = 1000,
	PATH_RETRY_FAST_MS = 10000,
	PATH_RETRY_END_MS = 60000,
	PATH_RETRY_TRAFFIC_MS = 5000, // since the last packet, it counts as traffic
	PATH_UPGRADE_MS = 60000,      // between looking for better than a trusted path
	PATH_DISCOVER_RELAY_MS = 30000,
	PATH_GOOD_LATENCY_MS = 5, // better is not looked for
	PATH_CANDIDATES_MAX = 100,
	PATH_PINGS_MAX = 256, // outstanding; then the oldest is forgotten
	PATH_MTU = 1360,      // on the wire, that a ping without padding stands for
};

enum path_action_type {
	PATH_PING,	     // send a disco ping with txid to addr
	PATH_CALL_ME_MAYBE,  // send our endpoints to the peer over DERP; re-STUN first if they are
			     // old
	PATH_DISCOVER_RELAY, // ask all relays for a place
	PATH_CHANGED,	     // addr is the best UDP path from now on; port 0: DERP alone
};

struct path_action {
	enum path_action_type type;
	struct path_addr addr;
	uint8_t txid[DISCO_TXID_LEN];
	uint16_t region; // of DERP
	bool is_retry;	 // PATH_PING: of a path that was lost; may be left out if there are many
};

struct path_io {
	// Must not call back into this peer's path.
	void (*act)(void *arg, const struct path_action *);
	void (*random)(void *arg, void *out, size_t len);
	void *arg;
};

// Where to send now: any of both.
struct path_choice {
	struct path_addr udp; // port 0: not there
	uint16_t derp_region; // 0: not there
};

struct path_search; // a few hundred bytes, more while it is probed

struct path_search *peer_path_create(const struct path_io *) must_check;
void peer_path_destroy(struct path_search *); // NULL is fine

// What the net map says: the peer's endpoints, its home DERP region (0: none), whether both ends
// may use peer relays and there is one. Candidates that it does not name go, but for those of a
// call-me-maybe and those that the peer pinged from within 45 s.
void peer_path_set_map(struct path_search *, const struct endpoint *endpoints, size_t n,
	uint16_t home_region, bool relays, uint64_t now_ns);
// No heartbeats: the server wants little disco. What peer_path_heard says keeps the trust instead.
void peer_path_set_silent(struct path_search *, bool silent);
// WireGuard of the peer came over the best path.
void peer_path_heard(struct path_search *, uint64_t now_ns);
// Data is about to be sent to the peer: where to. Starts what is due (full ping, relay discovery)
// and keeps the heartbeat for 45 s. -EHOSTUNREACH: nowhere.
int peer_path_send(struct path_search *, uint64_t now_ns, struct path_choice *out) must_check;
// The same without sending: for status.
struct path_choice peer_path_choice(const struct path_search *, uint64_t now_ns);
const struct path_quality *peer_path_best(const struct path_search *);
bool peer_path_trusted(const struct path_search *, uint64_t now_ns);

// Somebody asks whether the peer answers, and peer_path_send follows: a trusted path is pinged now,
// and without a direct one all candidates will be, however lately they were.
void peer_path_probe(struct path_search *, uint64_t now_ns);
size_t peer_path_candidates(const struct path_search *); // how many there are
// Those that the net map or a call-me-maybe names, in their order; returns how many.
size_t peer_path_named(const struct path_search *, struct endpoint *out, size_t max);
// From which of our ports that address is reached: of a candidate; 0: the WireGuard port.
uint16_t peer_path_local_port(const struct path_search *, const struct endpoint *to);
bool peer_path_has_local_port(const struct path_search *); // any candidate

// A ping from the peer over UDP, not through a relay (from->vni is 0), to from->local_port: its
// source becomes a candidate, from that port. Without a
// trusted path it is pinged back, if data was sent within 45 s: our ping before it may have met a
// firewall that theirs has opened since. (tailscaled waits for PATH_PING_INTERVAL_MS.) false: that
// ping came before from there; no pong.
bool peer_path_ping(struct path_search *, const struct path_addr *from,
	const uint8_t txid[static DISCO_TXID_LEN], uint64_t now_ns) must_check;
// The peer has answered something else from there: a candidate, pinged like one that pinged.
void peer_path_hint(struct path_search *, const struct path_addr *from, uint64_t now_ns);
// A pong, wherever it came from: credit goes to the address that was pinged. -ENOENT: no such ping.
int peer_path_pong(struct path_search *, const uint8_t txid[static DISCO_TXID_LEN],
	uint64_t now_ns) must_check;
// Its endpoints replace those of the call-me-maybe before; all candidates are pinged at once, and
// relays are asked if that is due: the peer may have none.
void peer_path_call_me_maybe(
	struct path_search *, const struct endpoint *endpoints, size_t n, uint64_t now_ns);
// A handshake with a relay ended in a pong.
void peer_path_relay_ready(struct path_search *, const struct path_quality *, uint64_t now_ns);
// Something of the peer came over DERP from this region.
void peer_path_derp_seen(struct path_search *, uint16_t region);
// Sending there failed for good (unreachable), or our own sockets or addresses changed (NULL).
void peer_path_lost(struct path_search *, const struct endpoint *to);

// Time: call it when peer_path_next_ns (UINT64_MAX: not needed) has come.
void peer_path_tick(struct path_search *, uint64_t now_ns);
uint64_t peer_path_next_ns(const struct path_search *);
