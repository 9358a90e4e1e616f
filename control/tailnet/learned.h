// Networks that a routing daemon has in the kernel, as they are offered to the tailnet. A route
// that comes and goes must not flood the coordination server: a network that went twice within a
// minute is offered again only once it has been there for 30 s. Where another gateway serves our
// networks, it is to have new ones as well: they wait until it has offered them. No clock and no
// kernel here. [ctl]
#pragma once

#include "config/config.h"

enum {
	LEARNED_HOLD_S = 30,
	LEARNED_WAIT_S = 5,    // for the other gateway
	LEARNED_FLAPS = 2,     // from the second time on that it went
	LEARNED_FORGET_S = 60, // after which what it did before does not count
};

struct learned_entry {
	struct ip_prefix prefix;
	bool there;
	bool offered;
	uint8_t flaps;	   // how often it went
	uint64_t since_ns; // since when it is there, or gone
};

struct learned {
	struct learned_entry *at; // sorted; at most limit that are there and as many that went
	uint32_t n;
	struct ip_prefix *offered; // sorted
	uint32_t n_offered;
	bool wait;	   // another gateway serves; set by the caller
	uint32_t held;	   // that have to stay for a while first
	uint32_t left_out; // for the limit
};

// Whether a route is to be offered at all.
bool learned_wants(const struct config_learned *, const struct ip_prefix *, uint8_t protocol);

// Whether that is a network of the site, by the ranges.
bool learned_is_within(const struct config_learned *, const struct ip_prefix *);

struct learned_view { // of the kernel
	void *arg;
	bool (*is_there)(void *arg, const struct ip_prefix *);
	// How many there are; the first max of them into out.
	uint32_t (*list)(void *arg, struct ip_prefix *out, uint32_t max);
};

// The view may have changed. True: other networks are offered than before.
bool learned_update(struct learned *, const struct learned_view *, uint32_t limit, uint64_t now_ns);
// Time has passed. True as above.
bool learned_tick(struct learned *, uint64_t now_ns);
void learned_fini(struct learned *);
