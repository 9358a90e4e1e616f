// What the files of a path share: endpoint.c decides, endpoint_list.c keeps the candidates.
#pragma once

#include "control/path/endpoint.h"

static const uint64_t PATH_MS = UINT64_C(1000000); // ns

struct path_candidate {
	struct endpoint addr;
	uint16_t local_port; // see struct path_addr
	bool in_map, called; // called: from the last call-me-maybe
	bool has_ping;
	uint8_t last_txid[DISCO_TXID_LEN]; // of the peer's last ping from there
	uint64_t heard_ns;		   // its last ping or answer; 0: none
	uint64_t pinged_ns;		   // 0: ping as soon as there is an occasion
	uint64_t pinged_back_ns;	   // 0: never
};

struct path_ping {
	uint8_t txid[DISCO_TXID_LEN];
	struct path_addr to;
	uint64_t sent_ns;
};

struct path_search {
	struct path_io io;
	struct path_quality best; // port 0: none
	uint64_t trust_until_ns;
	uint64_t last_send_ns, heartbeat_ns; // heartbeat: when; 0: not armed
	uint64_t doubt_ns;		     // a heartbeat should be answered by then; 0: it was
	unsigned unanswered;		     // in a row
	struct path_addr proven;	     // direct, that a pong vouched for last; port 0: none
	uint64_t lost_ns;		     // since when there is none; 0: there is, or no traffic
	uint64_t retry_ns;		     // proven is asked again; 0: not
	uint64_t full_ping_ns, relay_discovery_ns; // 0: never
	uint16_t home_region, seen_region;
	bool relays, silent;
	struct path_candidate *candidates;
	size_t n_candidates, max_candidates;
	struct path_ping *pings; // oldest first
	size_t n_pings, max_pings;
};

// Room for one more of size bytes, at most limit; false: full.
bool path_grow(void **list, size_t n, size_t *max, size_t size, size_t limit);
struct path_candidate *path_find(
	struct path_search *, const struct endpoint *addr, uint16_t local_port); // NULL: is none
// The candidate of that address, new if need be; NULL: there are too many, or it is no address.
struct path_candidate *path_find_or_add(
	struct path_search *, const struct endpoint *addr, uint16_t local_port);
// Drop what no list names and the peer was not heard from. The caller sees to the best path.
void path_drop_stale(struct path_search *, uint64_t now_ns);
