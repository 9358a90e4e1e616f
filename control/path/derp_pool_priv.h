// What the files of the pool of DERP connections share. [ctl]
#pragma once

#include <sodium.h>
#include <sys/queue.h>

#include "control/coord/arena.h"
#include "control/path/derp_pool.h"

static const uint64_t DERP_MS = UINT64_C(1000000); // ns
static const uint64_t DERP_S = UINT64_C(1000000000);

enum {
	DERP_WAITING_MAX = 32, // packets, while a connection is made
	DERP_IDLE_S = 60,
	DERP_PING_TIMEOUT_S = 3,
};

// A packet that waits for its connection.
struct derp_waiting {
	STAILQ_ENTRY(derp_waiting) entry;
	struct key to;
	size_t len;
	uint8_t bytes[];
};

// How much may wait to be sent: as much as left in the last 100 ms in which something always
// waited, so that delay stays where it is and the rate is not limited.
struct derp_backlog {
	uint64_t since_ns;	// begin of the window
	size_t queued, written; // at its begin; since
	bool emptied;		// within it
	size_t limit;
};

struct derp_region {
	struct derp_pool *pool;
	struct arena arena; // of def
	struct nm_derp_region def;
	struct event *timer;

	// An attempt goes through the nodes; each by its addresses, then perhaps by its name.
	struct stream *stream;
	struct derp *derp; // once TLS is up
	uint32_t step;
	const struct nm_derp_node *node;
	char host[DERP_HOST_MAX]; // of the node, with its port
	bool fast_start, fast_start_failed;
	bool ready;	     // packets can be sent
	bool open;	     // the server admitted us
	uint64_t generation; // of the connection

	unsigned failures;
	uint64_t retry_ns;
	uint64_t restart_until_ns; // the server said so: no growing pauses until then
	uint64_t used_ns;	   // the last packet for it; 0: never
	uint64_t ping_deadline_ns; // UINT64_MAX: none is under way
	uint8_t ping[DERP_PING_LEN];
	struct key last_peer; // whose route is known to be right
	STAILQ_HEAD(, derp_waiting) waiting;
	unsigned n_waiting;
	struct derp_backlog backlog;
	struct derp_region_info info;
	char logged[STREAM_WHY_LEN]; // the failure that the log knows
};

// Where a peer was heard from. Sets of four; the oldest of a set goes.
struct derp_route {
	struct key peer;
	uint16_t region; // 0: free
	uint64_t generation;
};

enum {
	DERP_ROUTE_SETS = 1024,
	DERP_ROUTE_WAYS = 4,
};

struct derp_routes {
	struct derp_route sets[DERP_ROUTE_SETS][DERP_ROUTE_WAYS];
	uint8_t next[DERP_ROUTE_SETS];
	uint8_t seed[crypto_shorthash_KEYBYTES];
};

struct derp_pool {
	struct event_base *base;
	struct net *net;
	struct derp_pool_env env;
	struct key private_key, public_key;
	bool has_key;
	uint16_t home;
	struct derp_region **regions; // by ID
	uint32_t n_regions;
	uint64_t generation;
	struct derp_routes routes;
};

static inline uint64_t derp_pool_now(const struct derp_pool *p)
{
	return p->env.now_ns(p->env.arg);
}

struct derp_region *derp_pool_find(const struct derp_pool *, uint16_t id);

// One region's connection (derp_pool_conn.c):
// End the connection. The next one is made when it is wanted.
void derp_region_close(struct derp_region *);
// Remember what went wrong; it is logged when no node is left.
void derp_region_say(struct derp_region *, const char *why);
void derp_region_drop_waiting(struct derp_region *);
// The timer: dial, close when idle, time out.
void derp_region_tick(evutil_socket_t, short, void *region);
// Set the timer to what is due next.
void derp_region_poke(struct derp_region *);
int derp_region_send(
	struct derp_region *, const struct key *to, const void *packet, size_t len) must_check;
// Tell the server whether it is home.
void derp_region_note(struct derp_region *);
// The network changed.
void derp_region_rebind(struct derp_region *);

// Dialling (derp_pool_dial.c): begin with the step that r->step says. -EHOSTUNREACH: none is left,
// and info.error says why.
int derp_region_dial(struct derp_region *, const struct stream_events *) must_check;
// The engine for the stream that came up.
int derp_region_greet(struct derp_region *, const struct derp_io *) must_check;

void derp_backlog_init(struct derp_backlog *, uint64_t now_ns);
// Whether more may be queued; queued: bytes that wait now.
bool derp_backlog_room(struct derp_backlog *, uint64_t now_ns, size_t queued);

void derp_routes_learn(
	struct derp_routes *, const struct key *peer, uint16_t region, uint64_t generation);
void derp_routes_forget(struct derp_routes *, const struct key *peer, uint16_t region);
// NULL: none.
const struct derp_route *derp_routes_find(const struct derp_routes *, const struct key *peer);
