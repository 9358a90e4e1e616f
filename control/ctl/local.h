// The LocalAPI of tailscaled on the daemon's socket, so that the unmodified tailscale command
// works: requests under /localapi/v0/. Everyone who can connect may read; root, the daemon's user,
// the operator of the prefs and whoever may manage the daemon may change something. [ctl]
#pragma once

#include <event2/http.h>

#include "control/daemon.h"

struct ctl_conns;
struct local;

// Never NULL; the tailnet of the daemon may come later, and has to stay until local_destroy.
struct local *local_create(struct daemon *, struct ctl_conns *);
// Answers what waits and ends the streams. NULL is fine. Before the connections are closed.
void local_destroy(struct local *);
// True: it is ours, and answered or will be. manages: who asks may manage the daemon.
bool local_handle(struct local *, struct evhttp_request *, bool manages);
