// Endpoints that the configuration gives by name: looked up in the background, and again while a
// peer has no session, since the name may have moved.
#pragma once

#include <event2/event.h>

#include "config/config.h"
#include "control/wg/session.h"

struct resolve;

struct resolve *resolve_create(struct event_base *, struct wg *) must_check;
void resolve_destroy(struct resolve *); // NULL is fine
// Names of this configuration from now on; it must live until the next call. [ctl]
void resolve_set(struct resolve *, const struct config *);
