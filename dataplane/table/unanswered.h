// Hosts behind the gateway that peers began something with and that have said nothing since. Where
// no source is translated, this is how a missing route back looks. A small cache by address: who is
// crowded out is not known of. One worker writes, the control thread reads.
#pragma once

#include <stdatomic.h>

#include "dataplane/base/types.h"

enum {
	UNANSWERED_HOSTS = 64,
	UNANSWERED_STALE_SHIFT = 38, // TSC: about 90 s; one that is older makes room
};

struct unanswered_host { // wrk: rw, ctl: ro; all relaxed
	_Atomic uint64_t addr[2];
	_Atomic uint64_t last;	   // TSC of the last request
	_Atomic uint32_t requests; // since anything came from it; 0: nothing is open
	_Atomic uint8_t family;
};

struct unanswered {
	struct unanswered_host host[UNANSWERED_HOSTS];
};

// A peer asked that host. addr: 4 or 16 bytes. [wrk]
void unanswered_request(
	struct unanswered *, enum ip_family family, const uint8_t *addr, uint64_t now);
// That host sent a packet to some peer. [wrk]
void unanswered_answer(struct unanswered *, enum ip_family family, const uint8_t *addr);

struct unanswered_view {
	struct ip_addr addr;
	uint32_t requests;
	uint64_t last; // TSC
};
// Those with something open, at most max; one that changes meanwhile may be half another. [ctl]
unsigned unanswered_read(const struct unanswered *, struct unanswered_view *out, unsigned max);
