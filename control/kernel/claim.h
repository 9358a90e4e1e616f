// The WireGuard UDP port as the kernel sees it: taken, so that no other program gets it and the
// kernel sends no port unreachable, while the datagrams themselves come through the ports.
#pragma once

#include "dataplane/base/types.h"

struct port_claim {
	int fd4, fd6; // never read; a filter drops everything
	uint16_t port;
};

// Take port for IPv4 and IPv6 on all addresses; 0: one that is free in both. *out holds it.
// -EADDRINUSE: somebody has it; the caller may try 0. Without IPv6 in the kernel: IPv4 alone. [ctl]
int port_claim_open(uint16_t port, struct port_claim *out) must_check;
// Fine for a claim that was never opened (zeroed but for fds of -1).
void port_claim_close(struct port_claim *);

enum {
	PORT_RANGE_MAX = 512,
};

// Ports in a row, for IPv4 alone.
struct port_range {
	uint16_t first, n; // n 0: none
	int fd[PORT_RANGE_MAX];
};

// Take n (1 to PORT_RANGE_MAX) ports that nobody has, outside of where the kernel chooses ports for
// programs. -EADDRINUSE: there is no such row; -EMFILE. [ctl]
int port_range_open(unsigned n, struct port_range *out) must_check;
void port_range_close(struct port_range *); // fine for one of n 0
