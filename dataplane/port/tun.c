#include "dataplane/port/kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "dataplane/base/log.h"

// Since Linux 6.2; Debian 12's headers are older.
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

static void explain(const char *device, int error, char err[static 256])
{
	const char *remedy = strerror(error);
	if (error == ENOENT || error == ENODEV)
		remedy = "/dev/net/tun is missing: modprobe tun";
	else if (error == EPERM || error == EACCES)
		remedy = "it takes root or CAP_NET_ADMIN";
	else if (error == EBUSY)
		remedy = "another process has it; stop that one or name another interface";
	else if (error == EINVAL)
		remedy = "an interface of another kind has this name";
	snprintf(err, 256, "cannot make the interface %s: %s", device, remedy);
}

static int queue_open(struct kernel_port *kp)
{
	struct port *p = &kp->port;
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	struct ifreq ifr = {0};
	ifr.ifr_flags = (p->l2 ? IFF_TAP : IFF_TUN) | IFF_NO_PI | IFF_VNET_HDR |
			(p->n_queues > 1 ? IFF_MULTI_QUEUE : 0);
	memcpy(ifr.ifr_name, p->device, IFNAMSIZ);
	if (ioctl(fd, TUNSETIFF, &ifr) != 0) {
		int error = errno;
		close(fd);
		return -error;
	}
	return fd;
}

// What the kernel may leave to us. Segmentation of UDP both ways came with one kernel release, so
// the answer also tells whether we may send it.
static int offload_ask(struct kernel_port *kp, int fd)
{
	unsigned long base = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
	if (ioctl(fd, TUNSETOFFLOAD, base | TUN_F_USO4 | TUN_F_USO6) == 0) {
		kp->port.tx_offloads |= RTE_ETH_TX_OFFLOAD_UDP_TSO;
		return 0;
	}
	return ioctl(fd, TUNSETOFFLOAD, base) == 0 ? 0 : -errno;
}

// Make the interface with all its queues; the descriptors go under the queues' numbers.
static int device_open(struct kernel_port *kp)
{
	for (unsigned i = 0; i < kp->port.n_queues; i++) {
		struct kernel_queue *q = kp->queue[i];
		int fd = queue_open(kp);
		if (fd < 0)
			return fd;
		int rc = i == 0 ? offload_ask(kp, fd) : 0;
		if (q->fd >= 0) {
			dup3(fd, q->fd, O_CLOEXEC);
			close(fd);
		} else {
			q->fd = fd;
		}
		if (rc != 0)
			return rc;
	}
	return 0;
}

static int device_configure(struct kernel_port *kp, uint32_t mtu, const struct rte_ether_addr *mac)
{
	struct kernel_link link;
	int rc = kernel_link_get(kp->netlink, kp->port.device, &link);
	if (rc == 0)
		rc = kernel_link_set(kp->netlink, link.ifindex, mtu, mac);
	if (rc == 0)
		rc = kernel_link_get(kp->netlink, kp->port.device, &link);
	if (rc != 0)
		return rc;
	kp->dropped_base = link.tx_dropped;
	kernel_port_apply(kp, &link);
	return 0;
}

// Somebody deleted the interface: make it again. Its addresses and routes are the control thread's
// to set again; it sees another ifindex.
static void device_remake(struct kernel_port *kp)
{
	struct port *p = &kp->port;
	if (!kp->absent)
		log_warn("port", "%s: the interface was deleted; making it again", p->device);
	kp->absent = true;
	atomic_store_explicit(&p->up, false, memory_order_relaxed);
	int rc = device_open(kp);
	if (rc == 0)
		rc = device_configure(kp, p->mtu, p->l2 ? &p->mac : NULL);
	if (rc != 0)
		log_error("port", "%s: %s", p->device, strerror(-rc));
	else
		kp->absent = false;
}

static void tun_refresh(struct port *p)
{
	struct kernel_port *kp = kernel_port_of(p);
	struct kernel_link link;
	int rc = kernel_link_get(kp->netlink, p->device, &link);
	if (rc == -ENODEV) {
		device_remake(kp);
	} else if (rc == 0) {
		kernel_port_apply(kp, &link);
		p->stats[0].rx_missed = link.tx_dropped - kp->dropped_base;
	}
}

static const struct port_ops tun_ops = {
	.rx = kernel_rx_tun,
	.tx = kernel_tx_tun,
	.wait_fd = kernel_wait_fd,
	.refresh = tun_refresh,
	.close = kernel_port_close,
};

static int device_port(const struct port_params *params, enum port_kind kind, struct port **out,
	char err[static 256])
{
	struct kernel_port *kp = kernel_port_create(params, kind, &tun_ops, err);
	if (!kp)
		return -EINVAL;
	int rc = device_open(kp);
	if (rc == 0)
		rc = device_configure(kp, params->mtu, NULL);
	if (rc != 0) {
		explain(params->device, -rc, err);
		kernel_port_close(&kp->port);
		return rc;
	}
	*out = &kp->port;
	return 0;
}

int port_tun_open(const struct port_params *params, struct port **out, char err[static 256])
{
	return device_port(params, PORT_TUN, out, err);
}

int port_mirror_open(const struct port_params *params, struct port **out, char err[static 256])
{
	return device_port(params, PORT_MIRROR, out, err);
}

int port_mirror_pair(struct port *owned, struct port *mirror, char err[static 256])
{
	struct kernel_port *kp = kernel_port_of(mirror);
	int rc = device_configure(kp, owned->mtu, &owned->mac);
	if (rc != 0) {
		snprintf(err, 256, "%s: cannot give it the MAC and MTU of %.100s: %s", mirror->name,
			owned->name, strerror(-rc));
		return rc;
	}
	owned->ifindex = mirror->ifindex;
	owned->peer = mirror;
	mirror->peer = owned;
	return 0;
}
