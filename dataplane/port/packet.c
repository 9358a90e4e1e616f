#include "dataplane/port/kernel.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/if_ether.h>
#include <stdio.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "dataplane/base/log.h"

// Newer than Debian 12's headers or libc.
#ifndef PACKET_FANOUT_FLAG_IGNORE_OUTGOING
#define PACKET_FANOUT_FLAG_IGNORE_OUTGOING 0x4000
#endif

// IP packets to this host's MAC without a VLAN tag (a tagged one belongs to the VLAN's interface).
static const struct sock_filter take_ip[] = {
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, SKF_AD_OFF + SKF_AD_PKTTYPE),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_HOST, 0, 6),
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 4),
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, SKF_AD_OFF + SKF_AD_PROTOCOL),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_IP, 1, 0),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_IPV6, 0, 1),
	BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
	BPF_STMT(BPF_RET | BPF_K, 0),
};

static int set_int(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value)) == 0 ? 0 : -errno;
}

// Options that hold before the first packet: the socket is bound afterwards.
static int socket_prepare(int fd)
{
	struct sock_fprog filter = {
		.len = RTE_DIM(take_ip), .filter = (struct sock_filter *)take_ip};
	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)) != 0)
		return -errno;
	int rc = set_int(fd, SOL_PACKET, PACKET_VNET_HDR, 1);
	if (rc == 0)
		rc = set_int(fd, SOL_SOCKET, SO_RCVBUFFORCE, KERNEL_SOCKET_BUFFER);
	if (rc == 0)
		rc = set_int(fd, SOL_SOCKET, SO_SNDBUFFORCE, KERNEL_SOCKET_BUFFER);
	if (rc == 0)
		rc = set_int(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, 1);
	return rc;
}

// A socket that is ready and bound, or -errno. ETH_P_ALL: those see a packet before the ingress
// hook, where the guard then drops it.
static int socket_open(uint32_t ifindex)
{
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	struct sockaddr_ll bound = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = ifindex,
	};
	int rc = socket_prepare(fd);
	if (rc == 0 && bind(fd, (struct sockaddr *)&bound, sizeof(bound)) != 0)
		rc = -errno;
	if (rc != 0) {
		close(fd);
		return rc;
	}
	return fd;
}

// Let the kernel spread flows over the sockets. The first socket founds the group (*group < 0).
static int fanout_join(int fd, int *group)
{
	unsigned type = PACKET_FANOUT_HASH | PACKET_FANOUT_FLAG_IGNORE_OUTGOING;
	if (*group >= 0)
		return set_int(fd, SOL_PACKET, PACKET_FANOUT, (int)(*group | type << 16));
	type |= PACKET_FANOUT_FLAG_UNIQUEID;
	int rc = set_int(fd, SOL_PACKET, PACKET_FANOUT, (int)(type << 16));
	if (rc != 0)
		return rc;
	int joined;
	socklen_t len = sizeof(joined);
	if (getsockopt(fd, SOL_PACKET, PACKET_FANOUT, &joined, &len) != 0)
		return -errno;
	*group = joined & 0xffff;
	return 0;
}

// Bind all queues to an interface; the sockets go under the queues' numbers. A socket in a fanout
// group cannot be bound again, so after the interface came back there are new ones.
static int queues_open(struct kernel_port *kp, uint32_t ifindex)
{
	int group = -1;
	for (unsigned i = 0; i < kp->port.n_queues; i++) {
		struct kernel_queue *q = kp->queue[i];
		int fd = socket_open(ifindex);
		if (fd < 0)
			return fd;
		int rc = kp->port.n_queues > 1 ? fanout_join(fd, &group) : 0;
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

static void missed_read(struct kernel_port *kp)
{
	for (unsigned i = 0; i < kp->port.n_queues; i++) {
		struct tpacket_stats missed = {0}; // since the last call
		socklen_t len = sizeof(missed);
		if (getsockopt(kp->queue[i]->fd, SOL_PACKET, PACKET_STATISTICS, &missed, &len) == 0)
			kp->port.stats[i].rx_missed += missed.tp_drops;
	}
}

static void packet_refresh(struct port *p)
{
	struct kernel_port *kp = kernel_port_of(p);
	struct kernel_link link;
	int rc = kernel_link_get(kp->netlink, p->device, &link);
	if (rc == -ENODEV) {
		if (!kp->absent)
			log_warn("port", "%s: the interface is gone", p->device);
		kp->absent = true;
		atomic_store_explicit(&p->up, false, memory_order_relaxed);
		return;
	}
	if (rc != 0)
		return;
	missed_read(kp);
	if (kp->absent || link.ifindex != p->ifindex) {
		kp->absent = true; // until it worked
		atomic_store_explicit(&p->up, false, memory_order_relaxed);
		rc = queues_open(kp, link.ifindex);
		if (rc != 0) {
			log_error("port", "%s: it is back, but: %s", p->device, strerror(-rc));
			return;
		}
		log_info("port", "%s: the interface is back", p->device);
		kp->absent = false;
	}
	kernel_port_apply(kp, &link);
}

static const struct port_ops packet_ops = {
	.rx = kernel_rx_socket,
	.tx = kernel_tx_socket,
	.wait_fd = kernel_wait_fd,
	.refresh = packet_refresh,
	.close = kernel_port_close,
};

// Packet sockets learned UDP segmentation with Linux 6.2; there is no way to ask them.
static bool kernel_has_uso(void)
{
	struct utsname name;
	unsigned major, minor;
	return uname(&name) == 0 && sscanf(name.release, "%u.%u", &major, &minor) == 2 &&
	       (major > 6 || (major == 6 && minor >= 2));
}

static int explain(const char *device, int rc, char err[static 256])
{
	const char *remedy = strerror(-rc);
	if (rc == -ENODEV)
		remedy = "there is no such interface; 'ip link' lists them";
	else if (rc == -EPERM || rc == -EACCES)
		remedy = "it takes root or CAP_NET_RAW and CAP_NET_ADMIN";
	else if (rc == -EAFNOSUPPORT)
		remedy = "the kernel has no packet sockets: modprobe af_packet";
	else if (rc == -EMEDIUMTYPE)
		remedy = "only Ethernet interfaces can be shared";
	snprintf(err, 256, "%s: %s", device, remedy);
	return rc;
}

int port_shared_open(const struct port_params *params, struct port **out, char err[static 256])
{
	struct kernel_port *kp = kernel_port_create(params, PORT_SHARED, &packet_ops, err);
	if (!kp)
		return -EINVAL;
	struct kernel_link link;
	int rc = kernel_link_get(kp->netlink, params->device, &link);
	if (rc == 0 && link.type != ARPHRD_ETHER)
		rc = -EMEDIUMTYPE;
	if (rc == 0)
		rc = queues_open(kp, link.ifindex);
	if (rc != 0) {
		kernel_port_close(&kp->port);
		return explain(params->device, rc, err);
	}
	kp->port.tx_offloads |= RTE_ETH_TX_OFFLOAD_VXLAN_TNL_TSO;
	if (kernel_has_uso())
		kp->port.tx_offloads |= RTE_ETH_TX_OFFLOAD_UDP_TSO;
	kernel_port_apply(kp, &link);
	*out = &kp->port;
	return 0;
}
