// VXLAN that ends here: the devices of the kernel whose datagrams the workers take apart, and the
// remote VTEPs to which they wrap packets. A next hop NH_VXLAN names its remote VTEP by number;
// what leads there is published apart from it, because the outer route changes on its own.
#pragma once

#include <stdatomic.h>

#include "dataplane/base/mem.h"
#include "dataplane/wire/vxlan.h"

enum {
	VTEP_MAX = 4096, // remote VTEPs of all devices, those within their grace period too
	VXLAN_DEVICES_MAX = 1024, // that end here
	VTEP_NONE = 0,
	// Outer Ethernet, IP, UDP and VXLAN header at most.
	VTEP_OUTER_MAX = ETHER_HDR_LEN + IP6_HDR_LEN + UDP_HDR_LEN + VXLAN_HDR_LEN,
};

// How datagrams get to a remote VTEP. Lengths, checksums, source port and what of TOS the inner
// packet says are filled per datagram. // fixed once published
struct vtep {
	uint8_t outer[72]; // all of it, right-aligned; VXLAN header and all
	uint8_t outer_len;
	uint8_t family;		     // enum ip_family of the outer header
	uint16_t port;		     // out
	uint16_t mtu;		     // largest inner IP packet
	uint32_t ip_sum, udp_pseudo; // as in struct peer_path
	uint16_t source_first;	     // of the UDP source ports, host order
	uint16_t n_sources;	     // at least 1
	bool checksum;		     // UDP's, also where the port does not compute it
	bool tos_inherit;	     // DSCP of the inner header; else tos
	uint8_t tos;		     // DSCP in its place; 0 in outer
	uint32_t device;	     // ifindex of the VXLAN device, which knows all of this, too
};
static_assert((unsigned)VTEP_OUTER_MAX <= sizeof(((struct vtep *)0)->outer));

// A VXLAN device of this host.
struct vxlan_device {
	uint32_t vni;
	uint32_t ifindex;
	uint16_t port; // UDP, host order
	uint8_t mac[6];
	struct ip_addr addr4, addr6; // its own; IP_NONE: it has none
};

struct vxlan_devices {		      // fixed once published
	uint64_t ports;		      // vxlan_ports_pack() of all their ports
	uint32_t n;		      // at most VXLAN_DEVICES_MAX
	struct vxlan_device device[]; // by vni, then port
};

struct vtep_table {
	struct vtep *_Atomic vtep[VTEP_MAX];   // ctl: rw, wrk: ro (RCU); NULL: no way there
	struct vxlan_devices *_Atomic devices; // ctl: rw, wrk: ro (RCU); NULL: none
	struct vtep_control *control;	       // ctl only
};

struct vtep_table *vtep_table_create(struct rcu *) must_check; // never NULL [ctl]
// After the grace period; before rcu_destroy. NULL is fine. [ctl]
void vtep_table_destroy(struct vtep_table *);
// A number for one more remote VTEP, to which nothing leads yet; VTEP_NONE: all are in use. [ctl]
uint16_t vtep_take(struct vtep_table *) must_check;
// The number is free again after the grace period; no next hop has it any more. [ctl]
void vtep_give(struct vtep_table *, uint16_t number);
// What leads there from now on, by value; NULL: nothing does. True: it did not before. [ctl]
bool vtep_publish(struct vtep_table *, uint16_t number, const struct vtep *);
// What leads there, with the checksums' sums set. [ctl]
void vtep_finish(struct vtep *);
// The devices that end here from now on; n <= VXLAN_DEVICES_MAX, sorted here. Those whose port is
// one too many (VXLAN_PORTS_MAX) are left out. True: they were not the same before. [ctl]
bool vxlan_devices_publish(struct vtep_table *, struct vxlan_device *, uint32_t n);

// NULL: nothing leads there (any more): the kernel may know better. [wrk, ctl]
static inline const struct vtep *vtep_get(const struct vtep_table *t, uint16_t number)
{
	return atomic_load_explicit(&t->vtep[number], memory_order_acquire);
}

// [wrk, ctl]
static inline const struct vxlan_devices *vxlan_devices_get(const struct vtep_table *t)
{
	return atomic_load_explicit(&t->devices, memory_order_acquire);
}

// Of that VNI on that UDP port (host order), or NULL. [wrk, ctl]
const struct vxlan_device *vxlan_device_find(
	const struct vxlan_devices *, uint32_t vni, uint16_t port);
// Of that interface, or NULL. [wrk, ctl]
const struct vxlan_device *vxlan_device_of(const struct vxlan_devices *, uint32_t ifindex);
