// Which size gets through a UDP path in one piece: a search by probes, for one path at a time.
// Traffic, answers and the time go in, sizes to probe come out; it sends nothing. Sizes are IP
// packets on the wire. Control thread.
//
// A path in use is searched when it is new, checked at its size while data flows, and asked for
// more every PMTU_RAISE_MS. A search goes in rounds: its goal, sizes between what got through and
// what did not, and one that is known to get through, largest first. That a size is too large is
// seen by smaller ones that are answered while it is not, and believed once the goal has failed in
// several rounds: a busy path loses single packets, mostly large ones. Until then, and while
// nothing is answered at all, the MTU stays what it was.
#pragma once

#include "dataplane/base/types.h"
#include "dataplane/wire/disco.h"

enum {
	PMTU_GRID = 6,			// sizes between, in a round
	PMTU_ROUND_MAX = PMTU_GRID + 2, // probes of a round
	PMTU_KEPT = 3 * PMTU_ROUND_MAX, // probes whose late answer still counts
	PMTU_REFUTALS = 3,		// rounds in which the goal has to fail
	PMTU_REFUTALS_MAX = 12,		// of a path that loses small ones as well
	PMTU_EMPTY_MAX = 4,		// rounds without any answer; then the search is given up
	PMTU_ROUND_MS = 100,		// and two round trips: no answer comes any more
	PMTU_LARGER_MS = 40,		// a larger one is answered that long behind the smallest
	PMTU_CHECK_FULL_MS = 250,	// between checks while large packets are sent
	PMTU_CHECK_MS = 5000,		// while any are
	PMTU_ROUNDS_MAX = 32,		// of a search
	PMTU_RAISE_MS = 10000,		// between looks for more
	PMTU_TRAFFIC_MS = 1000,		// since the last packet, it counts as traffic
	PMTU_RTT_MAX_MS = 1000,
};

// What was sent since the last call.
enum pmtu_traffic {
	PMTU_SMALL,
	PMTU_FULL,    // large packets
	PMTU_SUSPECT, // and nothing comes back
};

struct pmtu_probe {
	uint8_t txid[DISCO_TXID_LEN];
	uint16_t size;
	bool answered;
};

enum pmtu_state {
	PMTU_IDLE,
	PMTU_SEARCH,
	PMTU_RAISE, // a search above what is known, which one failure ends
};

// Zero-initialized: nothing is known. Fields are read by pmtu.c, tests, and for status.
struct pmtu {
	uint16_t min, top;   // every path carries; the link takes, or the tunnel fills. 0: unknown
	uint16_t mtu;	     // 0: unknown
	uint64_t proven_ns;  // when mtu was last seen to get through; 0: never
	uint64_t changed_ns; // when it became what it is; 0: never
	uint64_t traffic_ns, full_ns; // last time of; 0: never
	uint64_t suspect_ns;	      // since when nothing comes back; 0: something does
	enum pmtu_state state;
	uint64_t ended_ns;  // of the last search; 0: none
	uint64_t raised_ns; // when more was last looked for
	// Of a search:
	uint16_t good, bad, goal; // largest that got through; smallest that did not; in question
	uint16_t hint;		  // somebody says so; 0: nobody
	bool checked;		  // what is between bad and goal was asked again
	uint8_t rounds, refutals, needed, empty;
	uint64_t round_end_ns;
	// Newest last; those of the round are the last n_round.
	struct pmtu_probe probes[PMTU_KEPT];
	uint8_t n_probes, n_round;
};

// Another path, or none any more: nothing is known.
void pmtu_reset(struct pmtu *);
// What the path's link takes may change any time. min is less than top, or nothing is probed.
void pmtu_set_limits(struct pmtu *, uint16_t min, uint16_t top, uint64_t now_ns);
void pmtu_traffic(struct pmtu *, enum pmtu_traffic, uint64_t now_ns);
// A router, unproven, says how much it takes: it is asked for in what goes on.
void pmtu_hint(struct pmtu *, uint16_t mtu);
// Sizes to probe now, largest first; returns how many. Each that is sent is told by pmtu_sent, at
// once. rtt_ns: of the path; it may be wrong.
unsigned pmtu_tick(struct pmtu *, uint64_t rtt_ns, uint64_t now_ns,
	uint16_t sizes[static PMTU_ROUND_MAX]) must_check;
void pmtu_sent(struct pmtu *, uint16_t size, const uint8_t txid[static DISCO_TXID_LEN]);
// -ENOENT: to no probe.
int pmtu_answered(struct pmtu *, const uint8_t txid[static DISCO_TXID_LEN], uint64_t rtt_ns,
	uint64_t now_ns) must_check;
// When to tick; UINT64_MAX: with the next traffic.
uint64_t pmtu_next_ns(const struct pmtu *, uint64_t now_ns);
