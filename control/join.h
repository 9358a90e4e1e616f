// Makes the daemon a node of a tailnet: the tailnet's hooks to the underlay, WireGuard and the
// workers. [ctl]
#pragma once

#include "control/daemon.h"
#include "control/underlay.h"

// 0, or -errno with a line in err.
int join_start(struct daemon *, struct underlay *, char err[static 512]) must_check;
// The configuration's limits of looking for paths are others.
void join_tune(struct daemon *);
void join_stop(struct daemon *, struct underlay *);
