// Tells systemd-resolved over D-Bus that names are asked of us on the TUN; it forgets when the
// interface goes. [ctl]
#pragma once

#include <stdint.h>

struct event_base;
struct resolved;

// done once, from the loop: "" is well, else why not. NULL after done was called at once: no bus.
struct resolved *resolved_tell(struct event_base *, uint32_t ifindex, const char *const *search,
	unsigned n_search, void (*done)(void *arg, const char *why), void *arg);
void resolved_revert(struct resolved *, uint32_t ifindex);
void resolved_end(struct resolved *); // NULL is fine
