// The socket file of a virtual device (memif's server, vhost) that a process left which was killed:
// DPDK's drivers refuse to bind where there is one. [ctl]
#pragma once

#include <stdbool.h>

// Remove it, if the device is one that listens at a file and nobody does so any more. Whatever else
// is there stays, and is the driver's to complain about. True: something was removed.
bool vdev_socket_clear(const char *device);
