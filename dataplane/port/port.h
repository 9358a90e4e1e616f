// How packets enter and leave: one small interface, two implementations (kernel.c, ethdev.c).
//
// Packets are mbufs with DPDK's own offload flags on both sides:
// - A received packet's data starts at its Ethernet header on a port with l2, at its IP header on
//   one without (TUN). RTE_MBUF_F_RX_LRO with tso_segsz marks a super-packet: TCP payload bytes per
//   segment, or the size of each UDP payload. RTE_MBUF_F_RX_L4_CKSUM_NONE marks a checksum that the
//   sender left to the hardware: it is to be completed before the packet leaves this machine.
// - A packet to send has l2_len, l3_len, l4_len set where a flag asks for an offload
//   (RTE_MBUF_F_TX_TCP_SEG, _UDP_SEG with tso_segsz, _TCP_CKSUM, _UDP_CKSUM with _IPV4 or _IPV6),
//   and its L4 checksum field then holds the sum of the pseudo header, length included (the
//   kernel's convention; ethdev.c turns it into DPDK's). Chains of segments are welcome.
// - With RTE_MBUF_F_TX_TUNNEL_VXLAN, where the port offers RTE_ETH_TX_OFFLOAD_VXLAN_TNL_TSO, it is
//   the frame inside of VXLAN, offloads and all, for the VXLAN device of the kernel whose ifindex
//   hash.usr is: that wraps it, and sends it out of the port.
#pragma once

#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include "dataplane/base/types.h"

enum {
	PORT_MAX = 32,	     // ports of one gateway, mirrors and the host TUN included
	PORT_QUEUE_MAX = 32, // one queue per worker
	PORT_NONE = 0xffff,
	PKT_PRIV_LEN = 64, // private area of every mbuf: struct pkt of node/node.h
	PORT_BURST = 64,   // packets that rx and tx take at most
	L2_LEN = 14,
};

enum port_kind {
	PORT_TUN,    // host: kernel TUN, no Ethernet header
	PORT_SHARED, // AF_PACKET on an interface that the kernel keeps
	PORT_MIRROR, // TAP beside an owned port, for the host's own traffic
	PORT_OWNED,  // ethdev
};

// Counted by the port for one queue. // wrk rw, ctl ro (relaxed)
struct port_stats {
	uint64_t rx_packets; // super-packets count once
	uint64_t rx_bytes;
	uint64_t rx_supers;
	uint64_t rx_errors; // truncated, or a vnet header that makes no sense
	uint64_t rx_missed; // the kernel or the NIC had no room (PACKET_STATISTICS, imissed)
	uint64_t rx_nombuf; // our own pool was empty
	uint64_t tx_packets;
	uint64_t tx_bytes;
	uint64_t tx_supers;
	uint64_t tx_errors; // refused by the kernel: the packet is lost
	uint64_t tx_full;   // ring or socket buffer full: handed back to the caller
} __rte_cache_aligned;

struct port;

struct port_ops {
	// Receive up to n packets on a queue. Never blocks. Returns how many. [wrk]
	uint16_t (*rx)(struct port *, uint16_t queue, struct rte_mbuf **pkts, uint16_t n);
	// Send a burst. Returns how many the port took, in order; those belong to it. [wrk]
	uint16_t (*tx)(struct port *, uint16_t queue, struct rte_mbuf **pkts, uint16_t n);
	// A descriptor that polls readable when rx has work, or -1: then the worker naps. The
	// number stays; refresh may put another file behind it, so poll(2) it and keep it in no
	// epoll set.
	int (*wait_fd)(struct port *, uint16_t queue);
	// Before (true) and after (false) sleeping on wait_fd; NULL where nothing is to be done.
	// [wrk]
	void (*wait_arm)(struct port *, uint16_t queue, bool on);
	// Link state and MTU as of now, into up and mtu. [ctl, about once a second; on netlink
	// events]
	void (*refresh)(struct port *);
	void (*close)(struct port *);
};

struct port {
	const struct port_ops *ops; // this block: fixed after init
	char name[IFNAME_LEN];	    // the configuration's
	char device[128];	    // interface name, PCI address or vdev string
	enum port_kind kind;
	uint16_t id;
	uint16_t n_queues;
	uint32_t ifindex; // the kernel's interface: for an owned port, of its mirror
	bool l2;
	struct rte_ether_addr mac;
	uint64_t rx_offloads; // RTE_ETH_RX_OFFLOAD_*: TCP_LRO = super-packets may arrive
	uint64_t tx_offloads; // RTE_ETH_TX_OFFLOAD_*: TCP_TSO, UDP_TSO, TCP_CKSUM, UDP_CKSUM,
			      // VXLAN_TNL_TSO (as above)
	struct port *peer; // owned <-> mirror

	_Atomic bool up;      // ctl: rw, wrk: ro (relaxed)
	_Atomic uint16_t mtu; // ctl: rw, wrk: ro (relaxed); bytes behind the Ethernet header
	struct port_stats stats[PORT_QUEUE_MAX];
};

// What a port is made from. All strings are copied.
struct port_params {
	const char *name;
	const char *device;
	uint16_t id;
	uint16_t n_queues;		// workers
	uint16_t mtu;			// TUN, mirror: set on the interface; 0: leave
	struct rte_mempool *pool;	// 2 KiB data room and PKT_PRIV_LEN private area
	struct rte_mempool *super_pool; // SUPER_ROOM data room: kernel ports receive into these
};

enum {
	// One received super-packet lies in one buffer, so that its datagrams can be decrypted
	// where they lie; the few bytes of a 64 KiB packet that do not fit continue in an mbuf of
	// the pool.
	SUPER_ROOM = 65535,
};

// Each returns 0 and the port, or -errno with one line in err (what is missing, what to do). [ctl]
int port_tun_open(const struct port_params *, struct port **out, char err[static 256]) must_check;
int port_shared_open(
	const struct port_params *, struct port **out, char err[static 256]) must_check;
int port_mirror_open(
	const struct port_params *, struct port **out, char err[static 256]) must_check;
int port_owned_open(const struct port_params *, struct port **out, char err[static 256]) must_check;
// Bytes of packet memory that an owned port takes beside params->pool: a pool of its own, 0 for
// most devices. [ctl]
size_t port_owned_memory(const char *device, uint16_t n_queues);

// Make a mirror's MAC and MTU those of its owned port, and each the other's peer. [ctl]
int port_mirror_pair(struct port *owned, struct port *mirror, char err[static 256]) must_check;

static inline uint16_t port_rx(struct port *p, uint16_t queue, struct rte_mbuf **pkts, uint16_t n)
{
	return p->ops->rx(p, queue, pkts, n);
}

static inline uint16_t port_tx(struct port *p, uint16_t queue, struct rte_mbuf **pkts, uint16_t n)
{
	return p->ops->tx(p, queue, pkts, n);
}
