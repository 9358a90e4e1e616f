// The parts of portmap: the states (portmap.c), asking and explaining (portmap_io.c), UPnP
// (portmap_upnp.c). All functions: [ctl].
#pragma once

#include "control/path/portmap.h"

enum {
	UPNP_ERROR_LEN = 96,
	UPNP_DISCOVER_MS = 1000, // devices may wait so long with the answer
	UPNP_RENEW_S = 540,	 // no epoch tells of a gateway that has begun anew
};

// UPnP: libminiupnpc blocks, so it has a thread of its own, which takes one job after the other and
// says through a descriptor that a result is there.
struct upnp;

enum upnp_job_type {
	UPNP_NOTHING,
	UPNP_PROBE, // is there a gateway that speaks it?
	UPNP_MAP,
	UPNP_UNMAP, // what was mapped last; no result
};

struct upnp_job {
	enum upnp_job_type type;
	uint32_t generation; // comes back with the result
	struct ip_addr gateway, own;
	uint16_t port;	      // ours
	uint16_t wanted_port; // external; 0: any
};

struct upnp_result {
	enum upnp_job_type type;
	uint32_t generation;
	bool seen;		  // the gateway speaks UPnP
	struct endpoint external; // of the mapping; port 0: none
	uint32_t lifetime_s;
	char error[UPNP_ERROR_LEN]; // why there is none
};

struct upnp *upnp_create(void) must_check; // NULL with errno
// Deletes the mapping and ends the thread; waits no longer than that, the rest goes on without us.
void upnp_destroy(struct upnp *, unsigned timeout_ms);
int upnp_fd(const struct upnp *); // readable: upnp_take
// Jobs wait for the one under way; of each type only the last counts.
void upnp_post(struct upnp *, const struct upnp_job *);
bool upnp_take(struct upnp *, struct upnp_result *out); // false: no more

enum protocol { NONE, PMP, PCP, UPNP };

enum state {
	IDLE,	 // no gateway
	PROBING, // asked what it speaks
	MAPPING, // asked for a mapping by pm->trying
	HELD,
	NOTHING, // until retry
};

struct portmap {
	struct event_base *base;
	struct portmap_env env;
	struct event *timer, *readable, *upnp_ready;
	struct upnp *upnp; // NULL before the first use
	int fd;		   // connected to the gateway's port 5351; -1
	struct ip_addr gateway, own;
	uint16_t port;

	enum state state;
	enum protocol trying;
	uint64_t end_ns;    // of PROBING or NOTHING
	uint64_t resend_ns; // of PROBING or MAPPING
	unsigned sends;
	unsigned retry_s;
	bool notify;

	bool asked, upnp_asked;
	uint64_t pmp_seen_ns, pcp_seen_ns, upnp_seen_ns; // 0: never
	struct portmap_epoch pmp_epoch, pcp_epoch;
	struct ip_addr pmp_external; // IP_NONE: unknown
	uint64_t probed_ns, check_ns;
	uint32_t generation; // of UPnP's jobs

	enum protocol held; // NONE: no mapping
	struct portmap_want want;
	struct portmap_lease lease;
	struct portmap_info info;
	char refusal[160];
};

// portmap_io.c
void pm_send_probe(const struct portmap *, bool pmp, bool pcp);
void pm_send_map(const struct portmap *, enum protocol, const struct portmap_want *);
// Towards the gateway; when there can be none, nothing will be answered.
void pm_need_socket(struct portmap *);
void pm_close_socket(struct portmap *);
bool pm_post_upnp(struct portmap *, enum upnp_job_type); // false: no thread for it
bool pm_recent(uint64_t seen_ns, uint64_t now_ns);
const char *pm_name(enum protocol);
void pm_update_info(struct portmap *, uint64_t now_ns); // notify, if it changed

// portmap.c
void pm_on_readable(evutil_socket_t, short, void *portmap);
void pm_on_upnp(evutil_socket_t, short, void *portmap);
