// What the files of control/wg share: the device, and a peer's handshake side.
#pragma once

#include <sys/queue.h>

#include "control/wg/cookie.h"
#include "control/wg/session.h"
#include "dataplane/table/peer_table.h"

enum {
	WG_TICK_MS = 100,
	WG_GIVE_UP_ATTEMPTS = WG_REKEY_ATTEMPT_TIME_S / WG_REKEY_TIMEOUT_S,
	WG_LOAD_STICKY_MS = 1000,
};

// One peer's handshakes, keypairs and timers. Times are TSC; 0: not set. // ctl only
struct session {
	struct wg *wg;
	struct peer *peer;
	LIST_ENTRY(session) timed; // of wg, while is_timed
	bool is_timed;
	struct key preshared_key;
	struct noise_remote remote;
	bool remote_stale;	   // to be computed before it is used
	bool remote_valid;	   // false: its key cannot be used (low order)
	struct noise_handshake hs; // our own initiation
	uint32_t hs_index;	   // reserved for it; 0: none
	uint64_t hs_sent;
	uint64_t hs_retry_at;
	unsigned hs_attempts;
	uint64_t initiation_received; // the last accepted one
	uint64_t told_unix_ns;	      // timestamp of our last initiation
	struct cookie_jar jar;

	struct keypair *current, *previous, *next; // as in the kernel's noise_keypairs
	uint64_t derived;			   // when the last keypair was made
	uint64_t handshake_unix_ns;		   // when the last one came into use

	bool meshed;
	uint16_t local_port;	  // meshed: of struct wg_route
	uint32_t vni;		  // likewise
	bool derp;		  // likewise
	struct wg_learned probed; // likewise
	struct wg_learned told;	  // by a router, until told_until
	uint64_t told_until;
	uint16_t link_mtu; // largest inner packet that our own link takes; 0: unknown
	uint64_t probe_at; // the next one not before
	uint64_t probe_packets, probe_bytes; // what had been sent at the last look
	struct endpoint endpoint;	     // where we send; port 0: nowhere
	struct endpoint configured;
	struct ip_addr local; // from which address; IP_NONE: the route's
	struct ip_prefix *allowed;
	uint32_t n_allowed;
	uint32_t keepalive_s;
	uint64_t heard_from, keepalive_at; // data came at, and nothing went since: keepalive
	uint64_t kept_alive;		   // when the last keepalive was asked for
	uint64_t asked_from, silent_at;	   // data went at, and nothing came since: new handshake
	uint64_t settled;	  // no answer is expected to data of before: there was a handshake
	uint64_t persistent_from; // last look of the persistent keepalive

	uint64_t sent, received, failed; // handshakes
};

struct wg { // ctl only
	struct event_base *base;
	struct gateway *gw;
	struct wg_env env;
	struct event *tick;
	bool has_key;
	struct noise_identity identity;
	struct cookie_maker cookies;
	struct ratelimit *ratelimit;
	LIST_HEAD(, session) timed; // those whose timers may have something to do
	struct session **by_slot;   // of reserved indices: low bits of the index
	uint64_t load_until;	    // under load until then
	uint32_t handshake_rate;    // initiations a second that are no load
	uint64_t second_start;
	uint32_t second_count;
	uint64_t too_big_tat; // of ICMP errors: when the next one is on time
	uint64_t counters[WG_COUNTER_COUNT];
	uint64_t set_tsc, set_unix_ns; // fixed: 0, but tests set the clocks
};

// The clock of all timers, TSC; and the same in nanoseconds.
static inline uint64_t wg_now(const struct wg *w)
{
	return unlikely(w->set_tsc) ? w->set_tsc : rte_rdtsc();
}

static inline uint64_t wg_now_ns(const struct wg *w)
{
	return (uint64_t)((double)wg_now(w) / w->gw->tsc_per_ns);
}

static inline uint64_t wg_tsc(const struct wg *w, uint64_t ms)
{
	return (uint64_t)(w->gw->tsc_per_ns * 1e6 * (double)ms);
}

static inline void wg_count(struct wg *w, enum wg_counter c)
{
	w->counters[c]++;
}

// handshake.c
// Begin a handshake, unless one is under way (is_retry: begin it anew) or was sent within 5 s.
void session_initiate(struct session *, bool is_retry);
void session_wipe_keypairs(struct session *);
void session_wipe_handshake(struct session *);
void session_reset(struct session *); // both, and the next handshake need not wait
void session_confirmed(struct session *, uint32_t index);
// The peer's side of the handshake, computed if it is stale. False: its key cannot be used.
bool session_remote(struct session *);
// too_big.c
void session_forget_told(struct session *, uint64_t now); // once it is old
// probe.c
void session_probe(struct session *, uint64_t now); // if it is time to
// timers.c
void session_time(struct session *); // from now on it is looked at each tick, until it is idle
void session_untime(struct session *);
void session_tick(struct session *, uint64_t now);
// device.c
void session_set_endpoint(struct session *, const struct endpoint *, const struct ip_addr *local);
void session_update_path(struct session *);
void session_tell_worker(struct session *, enum self_reason);
