// Requests to the kernel: routes, addresses and links of our TUN, neighbours to be resolved. The
// kernel works them off within the call and answers at once. Control thread only.
#pragma once

#include "dataplane/base/types.h"

enum {
	NETLINK_PROTOCOL = 41, // rtm_protocol of our routes, "proto 41" in ip route; nobody else's
};

// Which table is asked. (ip-rule(8))
struct netlink_rule {
	enum ip_family family;
	uint32_t priority;   // lower ones are asked first
	uint32_t mark, mask; // of the packet; mask 0: all packets
	uint8_t table;	     // 0: unreachable
};

struct netlink;

// Of the network namespace that the thread is in. NULL with errno.
struct netlink *netlink_open(void) must_check;
void netlink_close(struct netlink *); // NULL is fine

// All return 0 or -errno: -EPERM without CAP_NET_ADMIN, -ENODEV, what the kernel says else.

// A route of ours, scope link (IPv4), in the main table. Replaces one of ours; one that somebody
// else made for this prefix with the same metric stays: -EEXIST.
int netlink_route_add(struct netlink *, const struct ip_prefix *, uint32_t ifindex) must_check;
// -ESRCH: no such route of ours.
int netlink_route_del(struct netlink *, const struct ip_prefix *, uint32_t ifindex);
// The same in another table, below 255. ifindex 0: a throw route, from which the next rule goes on.
int netlink_table_add(
	struct netlink *, uint8_t table, const struct ip_prefix *, uint32_t ifindex) must_check;
int netlink_table_del(struct netlink *, uint8_t table, const struct ip_prefix *, uint32_t ifindex);
// Take all throw routes of ours out of the table: those through an interface go with it.
int netlink_table_clear(struct netlink *, uint8_t table);
// Fine when it is there already.
int netlink_rule_add(struct netlink *, const struct netlink_rule *) must_check;
int netlink_rule_del(struct netlink *, const struct netlink_rule *); // -ENOENT: there is none
// Fine when it is there already. IPv6: without duplicate address detection.
int netlink_addr_add(struct netlink *, const struct ip_ifaddr *, uint32_t ifindex) must_check;
// The same for one at which only this machine is asked: no packet gets it as its source by itself.
int netlink_addr_add_local(struct netlink *, const struct ip_ifaddr *, uint32_t ifindex) must_check;
int netlink_addr_del(struct netlink *, const struct ip_ifaddr *, uint32_t ifindex);
int netlink_link_up(struct netlink *, uint32_t ifindex) must_check;
int netlink_link_mtu(struct netlink *, uint32_t ifindex, uint32_t mtu) must_check;
// Ask for the address on the link, or confirm it: ARP and ND are the kernel's. Does not wait.
int netlink_neigh_use(struct netlink *, const struct ip_addr *, uint32_t ifindex);
