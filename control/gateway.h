// Builds the data plane from a configuration and runs its workers.
#pragma once

#include "config/config.h"
#include "dataplane/node/node.h"

// Pools, tables, ports, graphs; workers do not run yet. 0, or -errno with one line in err.
int gateway_create(const struct config *, struct gateway **out, char err[static 256]) must_check;
// Start the workers on their lcores; and stop them and wait for them.
int gateway_start(struct gateway *, bool busy) must_check;
void gateway_stop(struct gateway *);
// After gateway_stop.
void gateway_destroy(struct gateway *);
// What a reload may change without stopping anything.
void gateway_tune(struct gateway *, const struct config *);
// The port whose kernel interface this is, or PORT_NONE.
uint16_t gateway_port_of(const struct gateway *, uint32_t ifindex);
