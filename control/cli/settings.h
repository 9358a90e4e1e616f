// The settings of 'up' and 'set': flags of the command line to ipn.Prefs and back. Pure.
// Rules: tailscale cmd/tailscale/cli/{up,set}.go, net/netutil/routes.go, ipn/prefs.go.
#pragma once

#include <jansson.h>

#include "control/cli/cli.h"

// The options that both commands have, in their order.
#define SETTINGS_OPTIONS                                                                           \
	{"--hostname", "NAME", "Name instead of the system's."},                                   \
		{"--advertise-routes", "LIST",                                                     \
			"Networks that others reach through this node, with commas between."},     \
		{"--advertise-exit-node", NULL, "Offer the way to the internet."},                 \
		{"--advertise-connector", NULL, "Be an app connector: learn routes from names."},  \
		{"--accept-routes", NULL, "Use the networks that other nodes advertise."},         \
		{"--accept-dns", NULL, "Use the tailnet's DNS (on by default)."},                  \
		{"--shields-up", NULL, "Let no connections in."},                                  \
		{"--snat-subnet-routes", NULL,                                                     \
			"Hide the tailnet's addresses from advertised networks (on by default)."}, \
		{"--stateful-filtering", NULL,                                                     \
			"Let the host forward nothing into the tunnel but answers."},              \
		{"--netfilter-mode", "MODE",                                                       \
			"Firewall rules for what the host forwards: on (default), nodivert, "      \
			"off."},                                                                   \
		{"--exit-node", "NODE",                                                            \
			"Address or name of the exit node to use, or auto:any; empty: none."},     \
		{"--exit-node-allow-lan-access", NULL,                                             \
			"Reach the local network past the exit node."},                            \
	{                                                                                          \
		"--operator", "USER", "User who may steer the gateway without being root."         \
	}

// A new ipn.Prefs: current with what the command line says; with defaults, the settings it does
// not name get their default. NULL with a line in err.
json_t *settings_prefs(const struct cli *, const json_t *status, const json_t *current,
	bool defaults, char err[static CLI_ERROR_LEN]) must_check;
// The ipn.MaskedPrefs of the settings that the command line names (all: of every one).
json_t *settings_masked(const struct cli *, const json_t *prefs, bool all) must_check;
unsigned settings_named(const struct cli *); // how many the command line names
// The flags that 'up' would have to name besides for nothing to fall back to its default, or "" if
// none; free it. NULL: out of memory.
char *settings_reverted(const struct cli *, const json_t *status, const json_t *current,
	const json_t *wanted) must_check;
// The login servers are the same one.
bool settings_same_server(const char *a, const char *b);
