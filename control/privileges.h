// Root's powers, cut down to what a gateway needs.
#pragma once

#include "config/config.h"

// Before threads exist: keep only the capabilities that ports and netlink need, for good. owned:
// DPDK drives hardware or BPF, which needs more while ports open. 0 or -errno.
int privileges_limit(bool owned) must_check;
// After start: become user (all threads), keeping CAP_NET_ADMIN and CAP_NET_RAW. "": stay. 0 or
// -errno.
int privileges_user(const char *user) must_check;
