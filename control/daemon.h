// The running gateway as the control thread sees it: what the socket, the metrics and the reload
// work on.
#pragma once

#include <event2/event.h>

#include "config/config.h"
#include "control/wg/session.h"
#include "dataplane/node/node.h"

struct mirror;
struct guard;
struct resolve;
struct tailnet;

struct daemon { // ctl only
	struct event_base *base;
	char config_path[256];
	struct config *config;
	struct gateway *gw;
	struct wg *wg;
	struct mirror *mirror;
	struct guard *guard;
	struct resolve *resolve;
	struct tailnet *tailnet; // NULL: no node of a tailnet
	uint16_t wg_port;	 // in use
	bool wg_port_fallback;	 // the configured one was taken
	bool log_level_fixed;	 // by the command line: a reload leaves it
	uint64_t started_unix_ns;
	uint64_t reloads, reload_failures;
	char last_reload_error[512];
	const char *warnings[16]; // shown by status: one clear line each with what to do
	unsigned n_warnings;
};

// Read the configuration again and apply what changed. 0, or -errno with a line in err and nothing
// changed.
int daemon_reload(struct daemon *, char err[static 512]) must_check;
// Take n more UDP ports in a row over IPv4, from *first on, for the workers; none may be taken yet.
// 0 or -errno.
int daemon_open_ports(struct daemon *, unsigned n, uint16_t *first) must_check;
void daemon_close_ports(struct daemon *);
// TCP and UDP ports of our addresses that are the workers', not the kernel's; 0: none.
void daemon_nat_ports(struct daemon *, uint16_t first, uint16_t last);
// Orderly stop of the event loop.
void daemon_stop(struct daemon *);
