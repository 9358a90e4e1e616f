// DPDK's environment for one gateway: memory, threads. Several gateways can run on one machine:
// nothing of it has a name outside the process.
#pragma once

#include "config/config.h"

// Threads: lcore 0 is the caller, 1..workers the workers. 0, or -errno with one line in err (what
// is missing, what to do). Only once per process.
int eal_start(const struct config *, char err[static 256]) must_check;
// Whether packet buffers are to lie in transparent huge pages: none are reserved for DPDK's memory,
// and no driver has to know where they are (dataplane/port/pool.h). Once it is started.
bool eal_transparent(const struct config *);
void eal_stop(void);
