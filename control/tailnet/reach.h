// Whether hosts behind the gateway answer ICMP echoes: a router that has lost its LAN must not go
// on attracting its traffic. A host is taken for gone after REACH_MISSES unanswered echoes, one a
// second, and for back after REACH_HITS answers in a row; before that it counts as there. [ctl]
#pragma once

#include "config/config.h"
#include "control/net/echo.h"

enum {
	REACH_MISSES = 3,
	REACH_HITS = 2,
};

struct reach_host {
	struct ip_addr addr;
	bool gone;
	uint8_t misses, hits; // in a row, while they count
	uint16_t asked;	      // sequence number of the last echo; 0: none yet
	bool answered;	      // that one
};

// --- One host, without I/O. True: gone or back since just now.

// A second is over: judge the last echo and count a new one, to be sent with *seq (never 0).
bool reach_tick(struct reach_host *, uint16_t *seq);
// An answer came.
bool reach_reply(struct reach_host *, uint16_t seq);

// --- All of them.

struct reach;

// changed: a host went or came back. NULL: no memory.
struct reach *reach_create(
	struct event_base *, uint32_t mark, void (*changed)(void *arg), void *arg) must_check;
void reach_destroy(struct reach *); // NULL is fine
// Watch these from now on; what is known of those that stay is kept.
void reach_set(struct reach *, const struct config_hosts *);
const struct reach_host *reach_hosts(const struct reach *, unsigned *n);
