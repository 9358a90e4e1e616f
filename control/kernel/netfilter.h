// Rules of the host's firewall for what the kernel itself forwards between the tunnel and
// interfaces that are no ports of ours: an nftables table of our own, inet family. What ports
// forward never comes here. After tailscale's iptables chains (util/linuxfw), but of its own: an
// accept in it does not take back what another table drops.
//
// The table belongs to this process, as those of the guard, and goes when it ends, however it ends.
// With it goes net.ipv4.conf.all.src_valid_mark, which a strict rp_filter needs for the marks: it
// is set with the mode on, and set back, if it was 0, unless the process is killed.
#pragma once

#include "dataplane/base/types.h"

struct netfilter;

enum netfilter_mode { // numbers of the LocalAPI
	NETFILTER_OFF,
	// The chains are there, but nothing leads into them: for rules of the administrator's in
	// the same table, which for that is not this process's own.
	NETFILTER_NO_DIVERT,
	NETFILTER_ON,
};

struct netfilter_params {
	const char *tun; // it also names the table: tailgate_host_<tun>
	enum netfilter_mode mode;
	bool masquerade; // what leaves the tunnel gets an address of the host
	bool stateful;	 // into the tunnel go answers only
};

// NULL: no nftables context, or out of memory.
struct netfilter *netfilter_create(void) must_check;
// The rules are those from now on; nothing happens when they are already. 0, or -errno with a line
// in err, and what was there stays. [ctl]
int netfilter_set(
	struct netfilter *, const struct netfilter_params *, char err[static 256]) must_check;
void netfilter_destroy(struct netfilter *); // removes the table; NULL is fine
