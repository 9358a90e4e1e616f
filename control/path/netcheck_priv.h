// The parts of netcheck share this: the map with its names, the plan, the run, the choice of home.
#pragma once

#include "control/coord/arena.h"
#include "control/path/netcheck.h"
#include "dataplane/wire/stun.h"

#define NETCHECK_MS UINT64_C(1000000)

enum {
	NETCHECK_NODES_MAX = 8, // of a region; more are not asked
	NETCHECK_TRIES_MAX = 4,
	NETCHECK_SETS_MAX = 2 * NETCHECK_REGIONS_MAX,
	NETCHECK_SAMPLES_MAX = 2048, // of the history: eight full reports
	NETCHECK_HTTPS_MAX = 32,     // requests at a time
	NETCHECK_CAPTIVE_MAX = 5,    // nodes asked
	NETCHECK_ENOUGH_REGIONS = 3,
	NETCHECK_INCREMENTAL_REGIONS = 3,
	NETCHECK_FULL_RETRY_MS = 100,
	NETCHECK_RETRY_MS = 200, // without a latency of last time
	NETCHECK_CAPTIVE_DELAY_MS = 200,
	NETCHECK_CAPTIVE_TIMEOUT_MS = 3000,
	NETCHECK_ICMP_TIMEOUT_MS = 1000,
	NETCHECK_FULL_INTERVAL_MS = 300000,
	NETCHECK_NAME_TTL_MS = 300000,
};

// A host name; one entry for all nodes that have it.
struct nc_name {
	const char *host;
	struct ip_addr v4, v6;
	uint64_t expires_ns;
	bool known; // an answer came, ever; the last good one is used while it is asked for anew
	bool asked; // since the run began
};

struct nc_node {
	const struct nm_derp_node *node; // in the arena
	struct ip_addr v4, v6;		 // literals
	bool no_v4, no_v6;		 // switched off, or nonsense
	struct nc_name *name;
};

struct nc_region {
	uint32_t id;
	double score;
	bool avoid, no_measure;
	struct nc_node *nodes;
	unsigned n_nodes;
	// Of the run:
	struct netcheck_latency latency;
	bool https_wanted, https_asked, icmp_asked;
	unsigned https_node;
};

struct nc_probe {
	struct endpoint to;
	uint64_t sent_ns;
	uint8_t txid[STUN_TXID_LEN];
	bool waiting;
};

// The probes of one region by one family. The first answer ends it.
struct nc_set {
	struct nc_region *region;
	bool v6, over;
	bool sent, failed; // any of them
	bool wants_name;   // the next one
	uint8_t n, next;
	uint64_t base_ns; // the delays count from here
	uint64_t delay_ns[NETCHECK_TRIES_MAX];
	struct nc_node *node[NETCHECK_TRIES_MAX];
	struct nc_probe probe[NETCHECK_TRIES_MAX];
};

struct nc_sample {
	uint64_t at_ns, latency_ns;
	uint32_t region;
};

struct nc_seen {
	struct endpoint addr;
	uint32_t count;
};

enum nc_phase {
	NC_IDLE,
	NC_STUN,
	NC_HTTPS, // and ICMP
	NC_WAIT,  // for the captive portal's check
	NC_OVER,
};

enum nc_captive {
	NC_CAPTIVE_OFF,
	NC_CAPTIVE_LATER,
	NC_CAPTIVE_ASKED,
	NC_CAPTIVE_KNOWN,
};

struct netcheck {
	struct netcheck_io io;
	bool have_v4, have_v6, os_has_ipv6;
	int8_t upnp, pmp, pcp;
	uint64_t home_heard_ns;

	struct arena map;
	struct nc_region *regions; // by ID
	unsigned n_regions;
	struct nc_name *names; // by name
	unsigned n_names;

	struct nc_sample samples[NETCHECK_SAMPLES_MAX]; // ring
	unsigned first_sample, n_samples;
	uint64_t last_full_ns;
	bool want_full;
	struct netcheck_report last;

	// The run.
	enum nc_phase phase;
	bool busy, again; // a callback has answered from within
	bool only_tcp;
	uint64_t start_ns, start_unix_ns;
	uint64_t stop_ns; // enough regions: end of STUN; UINT64_MAX: not yet
	unsigned n_sets, open_sets, measured_regions;
	unsigned https_pending, icmp_pending;
	uint64_t icmp_end_ns;
	enum nc_captive captive;
	unsigned captive_pending;
	uint64_t captive_at_ns; // begin, or end
	struct endpoint first_v4, first_v4_server;
	struct nc_seen seen[NETCHECK_SETS_MAX];
	unsigned n_seen;
	struct netcheck_report report;
	struct nc_set sets[NETCHECK_SETS_MAX];
};

// netcheck_map.c
struct nc_region *nc_region(const struct netcheck *, uint32_t id); // NULL: unknown
enum nc_address {
	NC_ADDRESS,
	NC_NO_ADDRESS,
	NC_NAME_WANTED, // has been asked for
};
enum nc_address nc_node_address(
	struct netcheck *, const struct nc_node *, bool v6, uint64_t now_ns, struct ip_addr *out);

// netcheck_plan.c
void nc_plan(struct netcheck *);       // sets, by what the last report says
void nc_plan_https(struct netcheck *); // https_wanted of the regions

// netcheck_home.c: take the report into the history, then choose its home.
void nc_choose_home(struct netcheck *, uint64_t now_ns);
uint64_t nc_best_way(const struct netcheck_latency *); // 0: none

// netcheck_tcp.c
void nc_lower(uint64_t *latency_ns, uint64_t ns); // 0 is rounded up: it means no answer
void nc_https_begin(struct netcheck *, uint64_t now_ns);
void nc_https_run(struct netcheck *, uint64_t now_ns);
void nc_captive_run(struct netcheck *, uint64_t now_ns);
