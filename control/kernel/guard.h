// Ingress rules in an nftables table of our own (netdev family): the kernel drops what Tailgate
// takes from a shared port, before it spends work on it. Packet sockets bound to ETH_P_ALL have
// seen the packet by then.
//
// What slips through there on its way into the tunnel is dropped behind the kernel's routing, in a
// table of the same name of the inet family.
//
// The tables belong to this process (Linux 5.12: nobody else changes it, and it goes when the
// process ends, however it ends). On older kernels it stays after a kill -9, and then drops
// only the gateway's own UDP port; the next start replaces it, or: nft delete table netdev NAME.
#pragma once

#include "dataplane/base/types.h"

enum {
	GUARD_NAME_LEN = 32,
};

struct guard;

// A port of a bridge of which what is to the bridge's own MAC is taken, and nothing else.
struct guard_bridged {
	const char *device;
	uint8_t mac[6];
};

struct guard_params {
	const char *tun;   // interface of the tunnel; it also names the table: tailgate_<tun>
	uint16_t udp_port; // the gateway's own; datagrams to a local address are dropped
	uint16_t extra_port, n_extra_ports; // more of its own in a row, over IPv4
	uint16_t nat_first, nat_last;	    // TCP and UDP, of its address translation; 0: none
	const char *const *devices;	    // shared ports that exist
	unsigned n_devices;
	const struct guard_bridged *bridged; // ports of bridges that exist
	unsigned n_bridged;
	// Only for kernels without fib expressions at ingress, which cannot look up by themselves:
	const struct ip_prefix *locals; // the host's addresses
	unsigned n_locals;
	const struct ip_prefix *routed; // what the kernel routes into the tunnel
	unsigned n_routed;
	bool avoid_fib; // do as on such a kernel
};

struct guard_counters {
	uint64_t tunnel_packets, tunnel_bytes; // datagrams to the gateway
	uint64_t routed_packets, routed_bytes; // packets that the kernel would route into the TUN
	uint64_t nat_packets, nat_bytes;       // answers to translated flows
};

// Install the rules; what a dead process left is replaced. -errno with one line in err. [ctl]
int guard_create(const struct guard_params *, struct guard **out, char err[static 256]) must_check;
// Put other rules in place of the present ones, in one step: after the UDP port changed or an
// interface came back (before Linux 6.16 its rules went with it). On failure the old ones stay.
// [ctl]
int guard_update(struct guard *, const struct guard_params *, char err[static 256]) must_check;
// Since guard_create. [ctl]
int guard_counters(struct guard *, struct guard_counters *out) must_check;
// The kernel looks addresses up by itself; false: guard_update when addresses or routes change.
bool guard_has_fib(const struct guard *);
const char *guard_table(const struct guard *);
// Remove the rules. NULL is fine. [ctl]
void guard_destroy(struct guard *);
