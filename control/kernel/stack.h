// The interfaces of this host as they are stacked: bridges and their members, VXLAN and VLAN and
// what carries them, tunnels. A picture of one moment, for the command; bytes in, struct out, but
// for stack_read(). Any thread.
#pragma once

#include "dataplane/base/types.h"

enum {
	STACK_LINKS_MAX = 2048,
	STACK_ADDRESSES_MAX = 4, // of a link
};

enum stack_kind {
	STACK_PLAIN, // a network card, or a kind that is none of the below
	STACK_LOOPBACK,
	STACK_BRIDGE,
	STACK_VETH,
	STACK_VLAN,
	STACK_VXLAN,
	STACK_TUN,
	STACK_WIREGUARD,
	STACK_KINDS,
};

struct stack_address {
	struct ip_addr addr;
	bool leased; // has a lifetime, as DHCP's have
};

struct stack_link {
	uint32_t ifindex, mtu;
	uint32_t lower;	 // ifindex of what carries it; 0: not said
	uint32_t master; // ifindex of its bridge; 0: none
	uint32_t vni;	 // of a VXLAN device
	enum stack_kind kind;
	bool lower_elsewhere; // lower is an ifindex of another namespace
	uint32_t netnsid;     // that namespace, as this one numbers it
	uint32_t peer_mtu;    // of a bridge's veth: its other end, in that namespace; 0: not known
	bool peer_hidden;     // it is there, and the kernel does not say: privilege is missing
	bool odd_name;	      // a shell would read more than a name in it; made harmless below
	char name[IFNAME_LEN];
	struct ip_addr local, remote; // of a VXLAN device; IP_NONE: not said
	struct stack_address address[STACK_ADDRESSES_MAX];
	unsigned n_addresses;
	uint64_t rx_packets, rx_dropped; // since it was made
};

struct stack {
	struct stack_link link[STACK_LINKS_MAX];
	unsigned n, omitted; // links; those for which there was no room
};

// Take the messages of a dump of links or addresses in; links come before their addresses.
// 1: the dump's end was among them; 0: more is to come; -errno: what the kernel says instead;
// -EINTR: links came or went meanwhile, so that the dump is no picture of any moment.
int stack_feed(struct stack *, const uint8_t *bytes, size_t len) must_check;
// Take in the answer to the question for a veth's other end.
void stack_feed_peer(struct stack_link *, const uint8_t *bytes, size_t len);
// All of this network namespace, and the other ends of bridges' veths. Needs no privilege but for
// those. 0 or -errno; -EINTR: it never held still.
int stack_read(struct stack *out) must_check;

// The number that this network namespace has for the one of a process: netnsid of a link into it.
// 0; -ENOENT: it has none, as for itself; or -errno, of a process that has ended, too.
int stack_netnsid_of(uint32_t pid, uint32_t *netnsid) must_check;
// The same from the kernel's answer.
int stack_feed_netnsid(const uint8_t *bytes, size_t len, uint32_t *netnsid) must_check;

// NULL: there is none, or ifindex is 0.
const struct stack_link *stack_find(const struct stack *, uint32_t ifindex);
const struct stack_link *stack_named(const struct stack *, const char *name);
// What carries it, also of a VXLAN device that names only an address; NULL: not known.
const struct stack_link *stack_lower(const struct stack *, const struct stack_link *);
// The MTU of a veth's other end, wherever that is; 0: not known, or it is gone.
uint32_t stack_peer_mtu(const struct stack *, const struct stack_link *);
// Whether a text is an interface's name with nothing in it that a shell or sed would read.
bool stack_is_plain_name(const char *);
