// From a configuration to tables: at start, and the differences at a reload.
#pragma once

#include "control/daemon.h"

// Key, peers, addresses and routes of d->config, into an empty gateway. 0, or -errno and a line.
int apply_start(struct daemon *, char err[static 512]) must_check;
// The host TUN came back under another number: addresses and routes anew. 0 or -errno.
int apply_tun(struct daemon *) must_check;
// Routes that we have installed, taken out again.
void apply_stop(struct daemon *);
// Addresses of the ports changed: what ICMP errors are sent from.
void apply_port_addresses(struct daemon *);
