// Which exit node suits best. Pure. (tailscale ipn/ipnlocal/local.go, suggestExitNodeUsingDERP)
#pragma once

#include "control/coord/netmap.h"
#include "control/path/netcheck.h"

// Both default routes are approved.
bool exit_offered(const struct nm_node *);
// Of the peers that are online and that the server suggests: one whose home region is nearest by
// the last report, or if none of their regions was measured of a random one. In that region the one
// with the stable ID before, if it is there, else a random one. NULL: none; with *why set it cannot
// be told yet. *why is NULL otherwise.
const struct nm_node *exit_suggest(const struct netmap *, const struct netcheck_report *,
	const char *before, uint32_t random, const char **why);
