// When a certificate is refused for its dates, is it the certificate or the clock of this machine?
// A second opinion is what the login server's port 80 says in its Date header. Anybody on the way
// may have written it: it goes into the message, nothing else follows from it. [ctl]
#pragma once

#include "control/coord/login_url.h"
#include "control/coord/trouble.h"
#include "control/net/stream.h"

enum {
	CLOCK_HINT_OFF_S = 300, // a clock this far off is to blame
	CLOCK_HINT_TIMEOUT_MS = 3000,
};

// Whether the trouble is one of dates.
bool clock_hint_wanted(const struct trouble *);
// What the server says of the time, seconds since 1970, beside what we have; 0: nothing.
void clock_hint_judge(struct trouble *, const struct login_url *, int64_t date, int64_t now);
// Ask. 0 or -errno; then done is not called.
int clock_hint_start(struct fetch **out, struct net *, const struct login_url *,
	void (*done)(void *arg, const struct fetch_answer *), void *arg) must_check;
