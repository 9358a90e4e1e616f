// What TUN, TAP and AF_PACKET ports share: a descriptor per queue that moves packets with a vnet
// header in front, and the interface behind it. Private to port/.
#pragma once

#include <linux/if_packet.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "dataplane/port/port.h"
#include "dataplane/port/vnet.h"

enum {
	KERNEL_IOV_MAX = 1024,			// segments of one message (UIO_MAXIOV)
	KERNEL_TX_IOV = PORT_BURST * 68,	// one burst of super-packets of 64 segments
	KERNEL_SOCKET_BUFFER = 8 * 1024 * 1024, // bytes; the kernel books twice that
	IP_PACKET_MAX = 65535,
};
static_assert(KERNEL_TX_IOV >= KERNEL_IOV_MAX);

// One receive slot: a large buffer, and a small one for what does not fit.
// [vnet header][frame] lie in one piece, the header in the headroom.
struct kernel_slot {
	struct rte_mbuf *super;
	struct rte_mbuf *over;
	struct iovec iov[2];
};

// wrk only, fd apart: it is replaced under its number by refresh.
struct kernel_queue {
	int fd;
	uint16_t head; // slots head..PORT_BURST-1 hold buffers
	struct kernel_slot slot[PORT_BURST];
	struct mmsghdr rx_msg[PORT_BURST]; // AF_PACKET; each points to its slot's iov

	struct vnet_hdr tx_hdr[PORT_BURST];
	struct mmsghdr tx_msg[PORT_BURST];
	struct sockaddr_ll tx_to[PORT_BURST]; // of those to another device than the port's
	struct iovec tx_iov[KERNEL_TX_IOV];
};

struct kernel_port {
	struct port port;
	struct rte_mempool *pool, *super_pool; // fixed after init
	struct kernel_queue *queue[PORT_QUEUE_MAX];
	int netlink;	       // ctl only
	uint64_t dropped_base; // TUN: the interface's tx_dropped when it was opened. // ctl only
	bool absent;	       // the interface has gone. // ctl only
};

// The interface as the kernel describes it. (kernel_link.c)
struct kernel_link {
	uint32_t ifindex;
	uint32_t flags; // IFF_*
	uint32_t mtu;
	uint16_t type; // ARPHRD_*
	struct rte_ether_addr mac;
	uint64_t tx_dropped;
};

// The port with its queues, nothing opened (fds -1), or NULL with err. [ctl]
struct kernel_port *kernel_port_create(const struct port_params *params, enum port_kind kind,
	const struct port_ops *ops, char err[static 256]) must_check;
// Closes descriptors, frees buffers and the port. Workers are done with it. [ctl]
void kernel_port_close(struct port *p);
static inline struct kernel_port *kernel_port_of(struct port *p)
{
	return (struct kernel_port *)p;
}

int kernel_link_open(void) must_check; // a netlink socket, or -errno
int kernel_link_get(int netlink, const char *name, struct kernel_link *out) must_check;
// Bring up; mtu 0 and mac NULL: leave as they are. 0 or -errno.
int kernel_link_set(
	int netlink, uint32_t ifindex, uint32_t mtu, const struct rte_ether_addr *mac) must_check;
// What a link says, into the port's mac, mtu and up.
void kernel_port_apply(struct kernel_port *kp, const struct kernel_link *link);

// (kernel_rx.c, kernel_tx.c) The port_ops of both kinds. [wrk]
uint16_t kernel_rx_socket(struct port *p, uint16_t queue, struct rte_mbuf **pkts, uint16_t n);
uint16_t kernel_rx_tun(struct port *p, uint16_t queue, struct rte_mbuf **pkts, uint16_t n);
uint16_t kernel_tx_socket(struct port *p, uint16_t queue, struct rte_mbuf **pkts, uint16_t n);
uint16_t kernel_tx_tun(struct port *p, uint16_t queue, struct rte_mbuf **pkts, uint16_t n);
int kernel_wait_fd(struct port *p, uint16_t queue);
void kernel_rx_init(struct kernel_queue *q);
void kernel_rx_fini(struct kernel_queue *q);
