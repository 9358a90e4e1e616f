// What the socket answers, as JSON. docs/man/tailgate.1 shows the same to people; the names here
// are what scripts rely on. [ctl]
#pragma once

#include <jansson.h>

#include "control/daemon.h"

// Each returns a new object, or NULL when out of memory.
json_t *report_status(const struct daemon *) must_check; // version, workers, ports, warnings
json_t *report_stats(const struct daemon *) must_check;	 // drops, counters, nodes, bursts, buffers
json_t *report_top(const struct daemon *) must_check;	 // raw counters and when they were read
// The next element of "peers" in the status and in top; *at: 0 at first. NULL: none is left.
json_t *report_status_peer(const struct daemon *, size_t *at) must_check;
json_t *report_top_peer(const struct daemon *, size_t *at) must_check;

json_t *report_vxlans(const struct mirror *) must_check; // NULL: none

// A limit of a path: "bytes" inside, and "since" when, seconds since 1970.
json_t *report_learned(const struct wg_learned *) must_check;

// Whether a peer can be talked to; now: nanoseconds since 1970. *remedy: NULL, or what is missing
// and what to do.
const char *report_peer_state(
	const struct wg_peer_info *, uint64_t now_unix_ns, const char **remedy);
