// The machine's own resolver: which nameservers it has, and, with --accept-dns, that it asks us.
// resolv.conf is replaced and comes back at the end; after a kill, at the next start. Where
// systemd-resolved manages it, that is told over D-Bus and forgets with the TUN. [ctl]
#pragma once

#include "dataplane/base/types.h"

enum {
	OSCONF_SERVERS_MAX = 8,
	OSCONF_SEARCH_MAX = 32,
	OSCONF_FILE_MAX = 64 << 10,
	OSCONF_TEXT_LEN = 320,
	OSCONF_SERVER_LEN = 64,
};

// What a resolv.conf says.
struct osconf_file {
	char servers[OSCONF_SERVERS_MAX][OSCONF_SERVER_LEN];
	char search[OSCONF_SEARCH_MAX][256];
	unsigned n_servers, n_search;
	bool ours;     // we have written it
	bool resolved; // systemd-resolved's stub answers there
};

// text need not be terminated. Never fails: lines that are none are left out.
void osconf_read(const char *text, size_t len, struct osconf_file *out);

enum osconf_how {
	OSCONF_OFF,
	OSCONF_FILE,	 // resolv.conf is ours
	OSCONF_RESOLVED, // systemd-resolved was told
	OSCONF_FAILED,
};

struct osconf;
struct event_base;

struct osconf_params {
	struct event_base *base;
	const char *file;	    // "/etc/resolv.conf"
	const char *resolved;	    // "/run/systemd/resolve/resolv.conf", with its upstream servers
	const char *state_dir;	    // keeps the file of before
	void (*changed)(void *arg); // the machine's nameservers are others
	void *arg;
};

// Restores what an earlier process left. Never NULL.
struct osconf *osconf_create(const struct osconf_params *);
// Restores. NULL is fine.
void osconf_destroy(struct osconf *);
// Whether the machine is to ask us, from when on, and what it searches. search is copied; ours come
// before the machine's own. ifindex: of the TUN.
void osconf_set(
	struct osconf *, bool want, uint32_t ifindex, const char *const *search, unsigned n);
// Once a second or so: somebody may have written the file.
void osconf_tick(struct osconf *);
// The machine's nameservers without us.
const struct osconf_file *osconf_base(const struct osconf *);
enum osconf_how osconf_how(const struct osconf *, char why[static OSCONF_TEXT_LEN]);
