// What the files of the mesh share. [ctl]
//
// A peer costs an entry in two hash tables. What is in use (sent to, or heard of) has a
// struct mesh_active besides, until it was idle for MESH_IDLE_S. Who may say what over which way is
// in mesh_input.c, what goes out in mesh_send.c.
#pragma once

#include "control/path/mesh.h"
#include "control/path/pmtu.h"
#include "control/path/relay.h"

enum {
	MESH_BUCKETS = 16384, // powers of 2
	MESH_BOX_BUCKETS = 1024,
	MESH_IDLE_S = 600,
	MESH_LOOK_MS = 100,    // between looks at what workers sent over a path that needs no DERP
	MESH_TICK_MIN_MS = 50, // between two ticks
	MESH_SEND_MS = 20,     // traffic is told to a path no more often
	MESH_CALL_WAIT_MS = 3000, // a call-me-maybe waits so long for STUN
	MESH_CALLS_BURST = 4,	  // call-me-maybes of a peer; then one in MESH_CALL_EVERY_MS
	MESH_CALL_EVERY_MS = 2000,
	MESH_SOURCE_PER_S = 200, // disco messages of one source, at most as many at once
	MESH_SOURCE_SETS = 256,
	MESH_SOURCE_WAYS = 4,
	MESH_RELAYS_MAX = 64,
	MESH_REQUESTS_MAX = 256,   // to relays, outstanding
	MESH_BINDS_MAX = 256,	   // handshakes with relays under way
	MESH_BINDS_PEER = 16,	   // of them for one peer
	MESH_PINGS_MAX = 64,	   // for people, outstanding
	MESH_PONG_HOLD_MS = 50,	   // a pong over DERP waits for a direct one, at most
	MESH_RETRIES_PER_S = 1000, // pings of lost paths, of all peers
	MESH_ASIDE_MS = 1000,	   // what came so shortly before was not of the best path
	MESH_SIBLINGS_MAX = 64,	   // nodes of one disco key that are asked whose a pong is
	MESH_REACH_MAX = 8,	   // peers that are asked whether they reach us
	MESH_PMTU_PER_S = 2000,	   // probes, to all peers
	MESH_PMTU_FULL = 500,	   // bytes of a packet, on average: some are large
	MESH_PMTU_SILENT_MS = 100, // and two round trips without anything of the peer
	// Of mesh_birthday.c:
	MESH_ATTEMPTS_MAX = 4,		// peers at a time
	MESH_ATTEMPT_AFTER_MS = 8000,	// of traffic without a direct path
	MESH_ATTEMPT_TRAFFIC_MS = 5000, // since the last packet, it counts as traffic
	MESH_ATTEMPT_CALL_MS = 1000,	// between two lists of guesses
	MESH_ATTEMPT_SILENT_MS = 3000,	// without a list: the peer has ended its attempt
	MESH_ATTEMPT_TARGETS = 2,	// addresses of the peer that are pinged from all ports
	MESH_ATTEMPT_AGAIN_S = 60,	// after one that was of use, or was the peer's
	MESH_ATTEMPT_PAUSE_S = 300,	// after one in vain, doubled by each
	MESH_ATTEMPT_HARD_S = 600,	// a peer's list of guesses says that its NAT is hard
	MESH_ATTEMPT_PAUSE_MAX_S = 3600,
	MESH_GUESSES_MIN = 16,	   // ports of one address make a call-me-maybe a list of guesses
	MESH_GUESSES_KEPT = 4,	   // of them that are pinged as in any other
	MESH_PORTS_LOOK_MS = 5000, // between looks whether the ports are of use
	MESH_DATAGRAM_MAX = GENEVE_HEADER_LEN + DISCO_PACKET_MAX,
};

static const uint64_t MESH_MS = UINT64_C(1000000); // ns

struct mesh_stats {
	uint64_t pings_tx, pongs_rx, pings_rx, calls_tx, calls_rx;
	uint64_t pongs_derp_rx; // of pongs_rx
	uint64_t last_ping_ns, last_pong_ns;
};

// What came of attempts for a peer.
struct mesh_tried {
	uint64_t again_ns; // no other before; 0: none was made
	uint32_t ports, guesses;
	uint8_t failures; // in a row
	uint64_t hard_ns; // it guessed last, so that its NAT is hard as well; 0: never
};

struct mesh_peer {
	struct mesh_peer *next_node;  // in its bucket
	struct mesh_peer *next_disco; // in its bucket; other keys as well
	struct mesh_peer **at_disco;  // NULL: has no key
	struct key node, disco;
	struct key map_disco; // of the netmap; the peer may have told another since
	struct endpoint *endpoints;
	uint32_t n_endpoints;
	uint16_t home, seen; // DERP regions; 0: unknown
	bool wg_only, may_relay;
	struct mesh_route told; // to env.route
	struct mesh_active *active;
	struct mesh_stats stats;
	struct mesh_tried tried;
};

struct mesh_active {
	struct mesh *mesh;
	struct mesh_peer *peer;
	struct mesh_active *next, **at;
	struct path_search *path;
	uint64_t next_ns;  // when it is to be looked at
	uint64_t used_ns;  // last sign of use
	uint64_t sent_ns;  // last traffic; 0: never
	uint64_t told_ns;  // to the path, of traffic
	uint64_t tx_ns;	   // what workers sent
	uint64_t rx_ns;	   // what came; of a silent mesh
	uint64_t aside_ns; // last that came by another way than the best UDP path; 0: never
	uint64_t call_ns;  // a call-me-maybe waits until then; 0: none
	// See mesh_paced: call-me-maybes of the peer, its records of relays, ours.
	uint64_t calls_tat_ns, vias_tat_ns, calls_out_tat_ns;
	struct mesh_ping *ping; // takes what the path pings meanwhile; else NULL
	struct endpoint lost;	// sending there failed; port 0: nothing
	uint64_t indirect_ns; // traffic has no direct path since then; 0: it has, or there is none
	uint64_t looked_ns;   // for an attempt
	struct mesh_attempt *attempt; // NULL: none
	struct path_addr pmtu_addr;   // that pmtu is about; port 0: none
	struct pmtu pmtu;
	struct mesh_sent sent; // at the last look
};

// A search for a path through a hard NAT, ours or (guessing) the peer's.
struct mesh_attempt {
	struct mesh_active *active; // NULL: unused
	bool guessing;
	uint64_t end_ns;
	uint64_t call_ns; // when the next list is due; guessing: when the last came
	struct endpoint targets[MESH_ATTEMPT_TARGETS]; // guessing: one, any port of it
	unsigned n_targets;
	unsigned pings, guesses; // so far
	uint16_t guess;		 // place of the next one in the order that follows from key
	uint32_t key;
};

struct mesh_attempts {
	struct mesh_birthday limits;
	struct mesh_attempt list[MESH_ATTEMPTS_MAX];
	unsigned turn;	    // whose ping is next
	int64_t credit;	    // of pings, in 1e-9
	uint64_t earned_ns; // until when
	uint16_t first, n_ports;
};

// The shared secret with a disco key, computed at its first message.
struct mesh_box {
	struct mesh_box *next;
	struct key disco;
	struct box box;
	bool bad; // of low order
	uint64_t used_ns;
};

// A place on a relay that was asked for.
struct mesh_request {
	struct mesh_request *next;
	struct key relay; // node key
	struct mesh_peer *peer;
	struct relay_request request;
};

// The handshake with a relay for a peer.
struct mesh_bind {
	struct mesh_bind *next;
	struct mesh_peer *peer;
	struct relay_handshake handshake;
};

struct mesh_try {
	uint8_t txid[DISCO_TXID_LEN];
	struct path_addr to;
	uint16_t region; // not 0: over DERP
};

// A ping for people.
struct mesh_ping {
	struct mesh_ping *next;
	struct key node;
	unsigned size; // 0: unpadded
	uint64_t start_ns, end_ns;
	void (*done)(void *arg, const struct mesh_pong *);
	void *arg;
	struct mesh_pong held; // over DERP: told at end_ns if no other comes; region 0: none
	unsigned n_tries;
	struct mesh_try tries[PATH_CANDIDATES_MAX + 2]; // and a relay and DERP
};

struct mesh_source {
	uint8_t name[17];
	uint64_t tat_ns;
};

// Of mesh_reach.c.
struct mesh_reach_run {
	void (*done)(void *arg, const struct mesh_reach *); // NULL: none is under way
	void *arg;
	uint64_t end_ns;
	struct mesh_reach result;
	struct key asked[MESH_REACH_MAX];
	bool reached[MESH_REACH_MAX];
};

struct mesh {
	struct mesh_env env;
	struct event *timer;
	uint64_t timer_ns; // UINT64_MAX: not armed
	struct relay_identity self;
	uint8_t hash_key[16];
	struct mesh_peer *by_node[MESH_BUCKETS], *by_disco[MESH_BUCKETS];
	struct mesh_box *boxes[MESH_BOX_BUCKETS];
	size_t n_peers, n_boxes;
	uint64_t boxes_aged_ns, retries_tat_ns, pmtu_tat_ns;
	bool silent;
	struct mesh_active *active;
	struct mesh_source sources[MESH_SOURCE_SETS][MESH_SOURCE_WAYS];
	struct key relays[MESH_RELAYS_MAX];
	size_t n_relays;
	struct mesh_request *requests;
	struct mesh_bind *binds;
	struct mesh_ping *pings;
	size_t n_requests, n_binds, n_pings;
	uint32_t generation; // of requests and handshakes
	struct mesh_attempts attempts;
	struct mesh_reach_run reach;
	uint64_t counters[MESH_COUNTER_COUNT];
};

static inline bool mesh_key_equal(const struct key *a, const struct key *b)
{
	return memcmp(a->bytes, b->bytes, KEY_LEN) == 0;
}

static inline uint64_t mesh_now(const struct mesh *m)
{
	return m->env.now_ns(m->env.arg);
}

static inline void mesh_count(struct mesh *m, enum mesh_counter counter)
{
	m->counters[counter]++;
}

// --- mesh_table.c

struct mesh_peer *mesh_find(const struct mesh *, const struct key *node);
// The nodes of a disco key, one after the other.
struct mesh_peer *mesh_find_disco(const struct mesh *, const struct key *disco);
struct mesh_peer *mesh_next_disco(const struct mesh_peer *);
void mesh_add_node(struct mesh *, struct mesh_peer *);
void mesh_remove_node(struct mesh *, struct mesh_peer *);
// Zero: none. The old key's secret goes with its last node.
void mesh_set_disco(struct mesh *, struct mesh_peer *, const struct key *disco);
// NULL: of low order.
const struct box *mesh_box(struct mesh *, const struct key *disco, uint64_t now_ns);
void mesh_forget_boxes(struct mesh *, uint64_t unused_since_ns);
// One every interval_ns, burst of them at once; tat: when all of them are there again.
bool mesh_paced(uint64_t *tat_ns, uint64_t interval_ns, unsigned burst, uint64_t now_ns);
// Whether this source (derp: the node there) may send one more disco message.
bool mesh_source_allowed(
	struct mesh *, const struct endpoint *from, const struct key *derp, uint64_t now_ns);

// --- mesh_send.c

// The state of a peer in use, made if need be.
struct mesh_active *mesh_activate(struct mesh *, struct mesh_peer *, uint64_t now_ns);
void mesh_deactivate(struct mesh_active *);
// After anything that may have changed a path: tells the route, sets the timer.
void mesh_settle(struct mesh_active *, uint64_t now_ns);
void mesh_tell_route(struct mesh *, struct mesh_peer *, uint64_t now_ns);
// Data goes to the peer.
void mesh_note_traffic(struct mesh_active *, uint64_t now_ns);
// Our ping; size: sealed, 0 or too small: unpadded.
void mesh_ping_message(const struct mesh *, unsigned size,
	const uint8_t txid[static DISCO_TXID_LEN], struct disco_message *out);
// Tell the path what the netmap says.
void mesh_set_path_map(struct mesh_active *, uint64_t now_ns);
bool mesh_may_relay(const struct mesh *, const struct mesh_peer *);
uint16_t mesh_region(const struct mesh_peer *); // of DERP, to reach it; 0: none
// Our endpoints to the peer, over DERP.
void mesh_call(struct mesh_active *, uint64_t now_ns);
// A disco message over UDP, through a relay if the address has a VNI. false: not sent.
bool mesh_disco_udp(struct mesh *, const struct key *disco, const struct path_addr *,
	const struct disco_message *, uint64_t now_ns);
// The same over DERP. 0, or of derp_send.
int mesh_disco_derp(struct mesh *, uint16_t region, const struct mesh_peer *,
	const struct disco_message *, uint64_t now_ns) must_check;
// Be called at that time, or earlier.
void mesh_arm(struct mesh *, uint64_t at_ns, uint64_t now_ns);
// What is due at timer_ns.
void mesh_tick(struct mesh *);

// --- mesh_relay.c

// Ask all relays for a place for this peer.
void mesh_relay_discover(struct mesh_active *);
// An answer from the relay that this node is.
void mesh_relay_answer(struct mesh *, const struct mesh_peer *relay, const struct disco_message *,
	uint64_t now_ns);
// A record that the peer sent.
void mesh_relay_via(
	struct mesh *, struct mesh_peer *, const struct disco_message *, uint64_t now_ns);
// A datagram through or of a relay. false: it is of no handshake.
bool mesh_relay_input(struct mesh *, const struct endpoint *from, const uint8_t *datagram,
	size_t len, uint64_t now_ns);
// Retries and ends; returns when to come again.
uint64_t mesh_relay_tick(struct mesh *, uint64_t now_ns);
// Forget what is under way for the peer, or for all (NULL).
void mesh_relay_drop(struct mesh *, const struct mesh_peer *);

// --- mesh_birthday.c

// Begin an attempt if it is time for one.
void mesh_birthday_look(struct mesh_active *, uint64_t now_ns);
uint64_t mesh_birthday_next_ns(const struct mesh_active *);  // when that may be; UINT64_MAX: never
uint64_t mesh_birthday_tick(struct mesh *, uint64_t now_ns); // what is due; when to come again
// The peer's state goes, or (NULL) our network is another.
void mesh_birthday_drop(struct mesh *, const struct mesh_active *);
// Guesses for a call-me-maybe; returns how many.
size_t mesh_birthday_guesses(struct mesh_active *, struct endpoint *out, size_t max);
// A call-me-maybe came. kept: what is to be done as always; false: nothing.
bool mesh_birthday_called(struct mesh_active *, const struct disco_message *,
	struct endpoint kept[static DISCO_ENDPOINTS_MAX], size_t *n_kept, uint64_t now_ns);
// A pong to none of a path's pings. true: to one of an attempt's.
bool mesh_birthday_pong(
	struct mesh *, const struct key *disco, const struct path_addr *from, uint64_t now_ns);
// More for why, behind what is there.
void mesh_birthday_why(const struct mesh_peer *, uint64_t now_ns, char *out, size_t max);

// --- mesh_reach.c

// A ping of the peer came straight over UDP.
void mesh_reach_ping(
	struct mesh *, const struct mesh_peer *, const struct endpoint *from, uint64_t now_ns);
void mesh_reach_end(struct mesh *);			  // at once
uint64_t mesh_reach_tick(struct mesh *, uint64_t now_ns); // when to come again

// --- mesh_pmtu.c

// The workers have sent something to the peer.
void mesh_pmtu_traffic(struct mesh_active *, uint64_t now_ns);
// What is due for the best path. Of mesh_settle.
void mesh_pmtu_step(struct mesh_active *, uint64_t now_ns);
uint64_t mesh_pmtu_next_ns(const struct mesh_active *, uint64_t now_ns);
// false: to none of its probes.
bool mesh_pmtu_pong(
	struct mesh_active *, const uint8_t txid[static DISCO_TXID_LEN], uint64_t now_ns);
// On the wire, proven; 0: not known.
uint16_t mesh_pmtu(const struct mesh_active *, const struct path_addr *);

// --- mesh_ping.c

// The path sends a ping while a->ping is set.
void mesh_ping_add(
	struct mesh_ping *, const uint8_t txid[static DISCO_TXID_LEN], const struct path_addr *);
// A pong of the node with that disco key; calls done as the last thing. false: not asked for.
bool mesh_ping_pong(struct mesh *, const struct key *disco,
	const uint8_t txid[static DISCO_TXID_LEN], uint16_t region, uint64_t now_ns);
uint64_t mesh_ping_tick(struct mesh *, uint64_t now_ns);
// The node is gone, or all are (NULL).
void mesh_ping_drop(struct mesh *, const struct key *node);
