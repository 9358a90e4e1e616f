#include "dataplane/port/kernel.h"

#include <net/if.h>
#include <stdio.h>
#include <unistd.h>

#include "dataplane/base/mem.h"

static bool params_fit(const struct port_params *params, char err[static 256])
{
	if (strlen(params->device) >= IFNAME_LEN || params->device[0] == '\0')
		snprintf(err, 256, "'%.100s' is no interface name: 1 to %d characters",
			params->device, IFNAME_LEN - 1);
	else if (params->n_queues == 0 || params->n_queues > PORT_QUEUE_MAX)
		snprintf(err, 256, "%s: %u workers, a port has 1 to %d queues", params->device,
			params->n_queues, PORT_QUEUE_MAX);
	else if (rte_pktmbuf_data_room_size(params->super_pool) < IP_PACKET_MAX ||
		 rte_pktmbuf_data_room_size(params->pool) < RTE_PKTMBUF_HEADROOM + 1024)
		snprintf(err, 256, "%s: its pools' buffers are too small", params->device);
	else
		return true;
	return false;
}

struct kernel_port *kernel_port_create(const struct port_params *params, enum port_kind kind,
	const struct port_ops *ops, char err[static 256])
{
	if (!params_fit(params, err))
		return NULL;
	struct kernel_port *kp = mem_alloc(sizeof(*kp));
	kp->pool = params->pool;
	kp->super_pool = params->super_pool;
	kp->netlink = kernel_link_open();
	kp->port = (struct port){
		.ops = ops,
		.kind = kind,
		.id = params->id,
		.n_queues = params->n_queues,
		.l2 = kind != PORT_TUN,
		.rx_offloads = RTE_ETH_RX_OFFLOAD_TCP_LRO | RTE_ETH_RX_OFFLOAD_SCATTER,
		.tx_offloads = RTE_ETH_TX_OFFLOAD_TCP_TSO | RTE_ETH_TX_OFFLOAD_TCP_CKSUM |
			       RTE_ETH_TX_OFFLOAD_UDP_CKSUM | RTE_ETH_TX_OFFLOAD_MULTI_SEGS,
	};
	snprintf(kp->port.name, sizeof(kp->port.name), "%s", params->name);
	snprintf(kp->port.device, sizeof(kp->port.device), "%s", params->device);
	for (unsigned i = 0; i < params->n_queues; i++) {
		kp->queue[i] = mem_alloc(sizeof(*kp->queue[i]));
		kp->queue[i]->fd = -1;
		kernel_rx_init(kp->queue[i]);
	}
	if (kp->netlink < 0) {
		snprintf(err, 256, "no netlink socket: %s", strerror(-kp->netlink));
		kernel_port_close(&kp->port);
		return NULL;
	}
	return kp;
}

void kernel_port_close(struct port *p)
{
	struct kernel_port *kp = kernel_port_of(p);
	for (unsigned i = 0; i < p->n_queues; i++) {
		struct kernel_queue *q = kp->queue[i];
		if (q->fd >= 0)
			close(q->fd);
		kernel_rx_fini(q);
		free(q);
	}
	if (kp->netlink >= 0)
		close(kp->netlink);
	free(kp);
}

void kernel_port_apply(struct kernel_port *kp, const struct kernel_link *link)
{
	struct port *p = &kp->port;
	p->ifindex = link->ifindex;
	p->mac = link->mac;
	atomic_store_explicit(&p->mtu, RTE_MIN(link->mtu, UINT16_MAX), memory_order_relaxed);
	atomic_store_explicit(&p->up,
		(link->flags & (IFF_UP | IFF_RUNNING)) == (IFF_UP | IFF_RUNNING),
		memory_order_release);
}
