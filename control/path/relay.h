// A peer relay (another node that forwards UDP) as its client: asking for a place on it, the
// handshake that binds our leg, the first ping through it. Engines without I/O: disco messages,
// time and randomness in; datagrams to send out by callback. What is sent over DERP the caller
// seals. Sources: tailscale wgengine/magicsock/relaymanager.go, net/packet/geneve.go. Control
// thread.
#pragma once

#include "control/path/disco.h"
#include "dataplane/wire/geneve.h"

enum {
	RELAY_REQUEST_RETRY_S = 3, // once
	RELAY_REQUEST_END_S = 10,
	RELAY_HANDSHAKE_END_S = 30, // or bindLifetime, if that is shorter
	RELAY_PINGS_MAX = 10,	    // per handshake: each ping of the peer makes one of ours
	RELAY_DATAGRAM_MAX = GENEVE_HEADER_LEN + 152, // bind, challenge, answer
};

// --- Asking a relay for a place, over DERP.

struct relay_request {
	struct key client_keys[2]; // sorted
	uint32_t generation;
	uint64_t retry_ns, end_ns; // 0: not any more
};

// Start; *out is to be sealed to the relay's disco key and sent over its home DERP region now, and
// again whenever relay_request_due. generation: the caller's counter of requests.
void relay_request_start(struct relay_request *, const struct key *own_disco,
	const struct key *peer_disco, uint32_t generation, uint64_t now_ns,
	struct disco_message *out);
// true: send *out again.
bool relay_request_due(
	struct relay_request *, uint64_t now_ns, struct disco_message *out) must_check;
bool relay_request_over(const struct relay_request *, uint64_t now_ns);
// A response from that relay (the caller has checked the sender: DERP source and disco key). 0:
// *via is to be sealed to the peer and sent over its home DERP, and relay_handshake_start to be
// called with it. -ESTALE: of another request or pair, or too late.
int relay_request_answer(struct relay_request *, const struct disco_message *response,
	uint64_t now_ns, struct disco_message *via) must_check;

// --- Binding our leg and trying the path.

enum relay_state {
	RELAY_NONE,
	RELAY_BIND_SENT,
	RELAY_ANSWER_SENT,
	RELAY_USABLE, // a pong came through it
	RELAY_OVER,   // in vain
};

struct relay_identity {
	struct key node_public, disco_private, disco_public;
};

struct relay_io {
	// One datagram to a relay's address, with its Geneve header.
	void (*send)(void *arg, const struct endpoint *to, const uint8_t *datagram, size_t len);
	void (*random)(void *arg, void *out, size_t len);
	void *arg;
};

struct relay_ping {
	uint8_t txid[DISCO_TXID_LEN];
	uint64_t sent_ns;
};

struct relay_handshake {
	enum relay_state state;
	struct disco_relay relay;
	struct key peer_disco, own_disco, own_node;
	uint32_t generation;
	struct box server_box, peer_box;
	struct relay_io io;
	uint64_t end_ns;
	unsigned n_pings;
	struct relay_ping pings[RELAY_PINGS_MAX];
	struct endpoint server; // whose challenge came first; USABLE: where the pong came from
	uint64_t latency_ns;	// USABLE
};

// Start with a record that we were given (the via above) or that a peer sent over DERP: sends a
// bind to each of its addresses. generation: not 0, the caller's counter of handshakes. -EINVAL:
// VNI, lifetime or generation out of range, no address, or not of us two; -EKEYREJECTED: a key of
// low order.
int relay_handshake_start(struct relay_handshake *, const struct relay_identity *,
	const struct key *peer_disco, const struct disco_message *via, uint32_t generation,
	const struct relay_io *, uint64_t now_ns) must_check;
// Wipes. Also ends one that is not over.
void relay_handshake_stop(struct relay_handshake *);
// Whether a second record makes the first one old: a newer one of the same relay.
bool relay_supersedes(const struct disco_relay *newer, const struct disco_relay *older);
// Whether a datagram that udp_classify calls UDP_GENEVE_DISCO belongs to this handshake.
bool relay_handshake_takes(const struct relay_handshake *, const uint8_t *datagram, size_t len);
// Take it in. 0 (look at state), or why it was dropped: -EBADMSG (forged or malformed), -EPROTO
// (not what may come here, or now), -ENOENT (pong to no ping of ours), -ESTALE (over).
int relay_handshake_input(struct relay_handshake *, const struct endpoint *from,
	const uint8_t *datagram, size_t len, uint64_t now_ns) must_check;
// Ends it when its time is up; end_ns says when.
void relay_handshake_check(struct relay_handshake *, uint64_t now_ns);

// --- Any disco through a relay, also once the path is in use.

// Seal a message behind a Geneve header. Returns bytes, or as disco_seal.
int relay_seal(const struct box *, const struct key *sender,
	const uint8_t nonce[static DISCO_NONCE_LEN], const struct disco_message *, uint32_t vni,
	bool control, uint8_t *out, size_t max) must_check;
