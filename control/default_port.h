// Without ports in the configuration: the interface of the default route, shared with the kernel.
#pragma once

#include "config/config.h"

// Read a table in the form of /proc/net/route (v6: /proc/net/ipv6_route): the interface of the
// default route with the lowest metric. False: none. Pure but for reading.
bool default_route_interface(FILE *table, bool v6, char name[static IFNAME_LEN]) must_check;
// Add that port to a configuration without any. 0, or -ENETUNREACH.
int default_port_add(struct config *) must_check;
