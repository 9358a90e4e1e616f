// The way to an upgraded connection: the server's key, then port 80 and soon after 443, of which
// the first that completes the Noise handshake counts. Source: tailscale
// control/controlhttp/client.go. [ctl]
#pragma once

#include "control/coord/conn.h"

enum {
	DIAL_BUDGET_S = 10,
	DIAL_HTTPS_AFTER_MS = 500,
	DIAL_RECENT_S = 120, // a dial as young as this did not last: HTTPS goes first
};

struct dial;

struct dial_options {
	const struct login_url *url; // these three outlive the dial
	const struct key *machine_private;
	struct key *server_public; // zero: it is fetched first, and written here
	uint16_t version;
	bool https_first; // middleboxes break what they see on port 80
};

// One of both, once; the dial is gone then, and not to be closed.
struct dial_events {
	void (*up)(void *arg, struct conn *, bool tls, uint16_t port); // the caller's conn now
	void (*failed)(void *arg, const struct trouble *);
	void *arg;
};

// 0 or -errno.
int dial_start(struct dial **out, struct event_base *, struct net *, const struct dial_options *,
	const struct dial_events *) must_check;
void dial_close(struct dial *); // before its event; NULL is fine
