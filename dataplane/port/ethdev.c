#include "dataplane/port/ethdev.h"

#include <errno.h>
#include <net/if.h>
#include <rte_bus.h>
#include <rte_dev.h>
#include <rte_devargs.h>
#include <rte_mbuf_pool_ops.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "dataplane/base/log.h"
#include "dataplane/base/mem.h"
#include "dataplane/port/kernel.h"
#include "dataplane/port/vdev_socket.h"

enum {
	ETHDEV_RX_DESC = 512, // of each queue; the device may want fewer
	ETHDEV_TX_DESC = 512,
	AF_XDP_BUFFERS = 6144, // of each queue: 2048 wait for packets, 2048 are being sent
};

#define RX_WANTED                                                                                  \
	(RTE_ETH_RX_OFFLOAD_TCP_LRO | RTE_ETH_RX_OFFLOAD_SCATTER | RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | \
		RTE_ETH_RX_OFFLOAD_TCP_CKSUM | RTE_ETH_RX_OFFLOAD_UDP_CKSUM)
// Not UDP_TSO: DPDK 22.11 means IP fragments of one datagram by that (rte_mbuf_core.h).
#define TX_WANTED                                                                                  \
	(RTE_ETH_TX_OFFLOAD_TCP_TSO | RTE_ETH_TX_OFFLOAD_IPV4_CKSUM |                              \
		RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM |                      \
		RTE_ETH_TX_OFFLOAD_MULTI_SEGS)

static int fail(char err[static 256], const struct ethdev_port *ep, int rc, const char *what)
{
	snprintf(err, 256, "%.80s: %s: %s", ep->port.device, what, rte_strerror(-rc));
	return rc;
}

// Find the device or attach it.
static int attach(struct ethdev_port *ep, char err[static 256])
{
	struct rte_devargs args = {0};
	int rc = rte_devargs_parse(&args, ep->port.device);
	if (rc != 0 || args.name[0] == '\0') {
		snprintf(err, 256,
			"%.80s: neither a PCI address (0000:03:00.0) nor a DPDK driver's name with "
			"a "
			"number (net_memif0,...)",
			ep->port.device);
		rte_devargs_reset(&args);
		return -EINVAL;
	}
	if (rte_eth_dev_get_port_by_name(args.name, &ep->dev) != 0) {
		vdev_socket_clear(ep->port.device);
		rc = rte_dev_probe(ep->port.device);
		if (rc == 0)
			rc = rte_eth_dev_get_port_by_name(args.name, &ep->dev);
		ep->hotplugged = rc == 0;
	}
	rte_devargs_reset(&args);
	if (rc != 0) {
		ep->dev = RTE_MAX_ETHPORTS;
		snprintf(err, 256,
			"%.80s: DPDK cannot open it (%s); a PCI device must be bound to vfio-pci: "
			"dpdk-devbind.py --bind=vfio-pci ADDRESS",
			ep->port.device, rte_strerror(-rc));
	}
	return rc;
}

static struct rte_eth_conf configuration(
	struct ethdev_port *ep, const struct rte_eth_dev_info *info, bool interrupts)
{
	struct rte_eth_conf conf = {
		.rxmode.offloads = info->rx_offload_capa & RX_WANTED,
		.txmode.offloads = info->tx_offload_capa & TX_WANTED,
		.intr_conf.rxq = interrupts,
	};
	if (conf.rxmode.offloads & RTE_ETH_RX_OFFLOAD_TCP_LRO)
		conf.rxmode.max_lro_pkt_size = info->max_lro_pkt_size;
	uint64_t hash =
		(RTE_ETH_RSS_IP | RTE_ETH_RSS_UDP | RTE_ETH_RSS_TCP) & info->flow_type_rss_offloads;
	if (ep->n_rx > 1 && hash != 0) {
		conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
		conf.rx_adv_conf.rss_conf.rss_hf = hash;
	}
	return conf;
}

static int start_queues(struct ethdev_port *ep, const struct rte_eth_dev_info *info,
	const struct rte_eth_conf *conf)
{
	int socket = rte_eth_dev_socket_id(ep->dev);
	uint16_t rx_desc = ETHDEV_RX_DESC, tx_desc = ETHDEV_TX_DESC;
	int rc = rte_eth_dev_adjust_nb_rx_tx_desc(ep->dev, &rx_desc, &tx_desc);
	struct rte_eth_rxconf rx = info->default_rxconf;
	struct rte_eth_txconf tx = info->default_txconf;
	rx.offloads = conf->rxmode.offloads;
	tx.offloads = conf->txmode.offloads;
	for (uint16_t q = 0; rc == 0 && q < ep->n_rx; q++)
		rc = rte_eth_rx_queue_setup(
			ep->dev, q, rx_desc, socket, &rx, ep->own_pool ? ep->own_pool : ep->pool);
	for (uint16_t q = 0; rc == 0 && q < ep->port.n_queues; q++)
		rc = rte_eth_tx_queue_setup(ep->dev, q, tx_desc, socket, &tx);
	return rc == 0 ? rte_eth_dev_start(ep->dev) : rc;
}

// Whether the driver wakes us through a descriptor that can be quieted by reading it. vhost gives
// an epoll set of descriptors of its own: that one would stay readable.
static bool can_sleep(const struct ethdev_port *ep)
{
	struct epoll_event event;
	bool works = rte_eth_dev_rx_intr_enable(ep->dev, 0) != -ENOTSUP;
	(void)!rte_eth_dev_rx_intr_disable(ep->dev, 0);
	int fd = rte_eth_dev_rx_intr_ctl_q_get_fd(ep->dev, 0);
	return works && !(fd >= 0 && epoll_wait(fd, &event, 1, 0) >= 0);
}

// Configure and start, with interrupts if the driver has them.
static int start(struct ethdev_port *ep, const struct rte_eth_dev_info *info, char err[static 256])
{
	struct rte_eth_conf conf;
	int rc = 0;
	for (int interrupts = 1; interrupts >= 0; interrupts--) {
		conf = configuration(ep, info, interrupts);
		rc = rte_eth_dev_configure(ep->dev, ep->n_rx, ep->port.n_queues, &conf);
		if (rc == 0)
			rc = start_queues(ep, info, &conf);
		if (rc == 0)
			break;
	}
	if (rc != 0)
		return fail(err, ep, rc, "DPDK cannot start it");
	ep->started = true;
	ep->port.rx_offloads = conf.rxmode.offloads;
	ep->port.tx_offloads = conf.txmode.offloads & ~RTE_ETH_TX_OFFLOAD_IPV4_CKSUM;
	ep->ip_csum = conf.txmode.offloads & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM;
	ep->interrupts = conf.intr_conf.rxq && can_sleep(ep);
	return 0;
}

// How long chains may be. 0 in the device's limits: it names none.
static void take_limits(struct ethdev_port *ep, const struct rte_eth_dev_info *info)
{
	uint16_t none = UINT16_MAX;
	bool chains = info->tx_offload_capa & RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
	const struct rte_eth_desc_lim *limits = &info->tx_desc_lim;
	ep->max_segs = !chains ? 1 : limits->nb_mtu_seg_max ? limits->nb_mtu_seg_max : none;
	ep->max_tso_segs = !chains ? 1 : limits->nb_seg_max ? limits->nb_seg_max : none;
}

// AF_XDP maps its pool as one array of equal buffers (rte_eth_af_xdp.c, xdp_umem_configure), which
// DPDK's usual pools are not where an object would cross a page.
static int make_own_pool(struct ethdev_port *ep)
{
	uint16_t priv = rte_pktmbuf_priv_size(ep->pool);
	uint16_t room = rte_pktmbuf_data_room_size(ep->pool);
	struct rte_pktmbuf_pool_private sizes = {
		.mbuf_data_room_size = room, .mbuf_priv_size = priv};
	char name[RTE_MEMPOOL_NAMESIZE];
	snprintf(name, sizeof(name), "af_xdp%u", ep->dev);
	struct rte_mempool *mp = rte_mempool_create_empty(name, AF_XDP_BUFFERS * ep->n_rx,
		sizeof(struct rte_mbuf) + priv + room, RTE_MEMPOOL_CACHE_MAX_SIZE, sizeof(sizes),
		rte_eth_dev_socket_id(ep->dev), RTE_MEMPOOL_F_NO_IOVA_CONTIG);
	if (!mp)
		return -rte_errno;
	int rc = rte_mempool_set_ops_byname(mp, rte_mbuf_best_mempool_ops(), NULL);
	if (rc == 0) {
		rte_pktmbuf_pool_init(mp, &sizes);
		rc = rte_mempool_populate_default(mp);
	}
	if (rc < 0) {
		rte_mempool_free(mp);
		return rc;
	}
	rte_mempool_obj_iter(mp, rte_pktmbuf_init, NULL);
	ep->own_pool = mp;
	return 0;
}

size_t port_owned_memory(const char *device, uint16_t n_queues)
{
	// Data, private area, mbuf, and what the pool adds to each.
	size_t each = 2048 + RTE_PKTMBUF_HEADROOM + PKT_PRIV_LEN + sizeof(struct rte_mbuf) + 64;
	if (strncmp(device, "net_af_xdp", strlen("net_af_xdp")) != 0)
		return 0;
	return n_queues * AF_XDP_BUFFERS * each;
}

static int prepare_af_xdp(struct ethdev_port *ep, char err[static 256])
{
	ep->netlink = kernel_link_open();
	int rc = ep->netlink < 0 ? ep->netlink : make_own_pool(ep);
	return rc == 0 ? 0 : fail(err, ep, rc, "no memory for its buffers");
}

// These copy what they send, or have it taken at once; others keep buffers in their ring.
static bool copies(const char *driver)
{
	static const char *const names[] = {"net_vhost", "net_memif", "net_af_xdp"};
	for (unsigned i = 0; i < RTE_DIM(names); i++) {
		if (strcmp(driver, names[i]) == 0)
			return true;
	}
	return false;
}

static int configure(struct ethdev_port *ep, uint16_t mtu, char err[static 256])
{
	struct rte_eth_dev_info info;
	int rc = rte_eth_dev_info_get(ep->dev, &info);
	if (rc != 0)
		return fail(err, ep, rc, "DPDK does not describe it");
	if (info.max_tx_queues < ep->port.n_queues) {
		snprintf(err, 256, "%.80s: %u transmit queues for %u workers; set workers = %u",
			ep->port.device, info.max_tx_queues, ep->port.n_queues, info.max_tx_queues);
		return -ENOSPC;
	}
	ep->n_rx = RTE_MIN(info.max_rx_queues, ep->port.n_queues);
	take_limits(ep, &info);
	ep->keeps = !copies(info.driver_name);
	if (strcmp(info.driver_name, "net_af_xdp") == 0)
		rc = prepare_af_xdp(ep, err);
	if (rc == 0)
		rc = start(ep, &info, err);
	if (rc == 0 && mtu != 0 && (rc = rte_eth_dev_set_mtu(ep->dev, mtu)) != 0)
		return fail(err, ep, rc, "it does not take this MTU");
	if (rc != 0)
		return rc;
	(void)!rte_eth_allmulticast_enable(ep->dev); // neighbour discovery; memif has no filter
	return rte_eth_macaddr_get(ep->dev, &ep->port.mac);
}

// AF_XDP calls its link up whatever the interface says.
static bool interface_up(const struct ethdev_port *ep)
{
	char name[IF_NAMESIZE];
	struct rte_eth_dev_info info;
	struct kernel_link link;
	return rte_eth_dev_info_get(ep->dev, &info) == 0 && if_indextoname(info.if_index, name) &&
	       kernel_link_get(ep->netlink, name, &link) == 0 && link.flags & IFF_RUNNING;
}

static void ethdev_refresh(struct port *p)
{
	struct ethdev_port *ep = ethdev_of(p);
	struct rte_eth_link link = {0};
	struct rte_eth_stats stats;
	uint16_t mtu;
	bool up = rte_eth_link_get_nowait(ep->dev, &link) == 0 && link.link_status;
	if (ep->netlink >= 0)
		up = up && interface_up(ep);
	if (rte_eth_dev_get_mtu(ep->dev, &mtu) == 0)
		atomic_store_explicit(&p->mtu, mtu, memory_order_relaxed);
	if (rte_eth_stats_get(ep->dev, &stats) == 0) {
		p->stats[0].rx_missed = stats.imissed; // of all queues
		p->stats[0].rx_nombuf = stats.rx_nombuf;
	}
	if (up != atomic_load_explicit(&p->up, memory_order_relaxed))
		log_info("port", "%s: link %s", p->name, up ? "up" : "down");
	atomic_store_explicit(&p->up, up, memory_order_release);
}

static void ethdev_close(struct port *p)
{
	struct ethdev_port *ep = ethdev_of(p);
	struct rte_eth_dev_info info = {0};
	for (unsigned q = 0; q < PORT_QUEUE_MAX; q++)
		rte_pktmbuf_free_bulk(ep->early[q].pkts, ep->early[q].n);
	if (ep->dev != RTE_MAX_ETHPORTS) {
		if (ep->started)
			(void)!rte_eth_dev_stop(ep->dev);
		(void)!rte_eth_dev_info_get(ep->dev, &info);
		rte_eth_dev_close(ep->dev);
		if (ep->hotplugged && info.device)
			rte_dev_remove(info.device);
	}
	// A buffer that is still in other hands must stay valid.
	if (ep->own_pool && rte_mempool_full(ep->own_pool))
		rte_mempool_free(ep->own_pool);
	if (ep->netlink >= 0)
		close(ep->netlink);
	free(ep);
}

static const struct port_ops ethdev_ops = {
	.rx = ethdev_rx,
	.tx = ethdev_tx,
	.wait_fd = ethdev_wait_fd,
	.wait_arm = ethdev_wait_arm,
	.refresh = ethdev_refresh,
	.close = ethdev_close,
};

int port_owned_open(const struct port_params *params, struct port **out, char err[static 256])
{
	if (strlen(params->device) >= sizeof((*out)->device) || params->n_queues == 0 ||
		params->n_queues > PORT_QUEUE_MAX) {
		snprintf(err, 256, "%.80s: device of 1 to 127 characters, 1 to %d workers",
			params->device, PORT_QUEUE_MAX);
		return -EINVAL;
	}
	struct ethdev_port *ep = mem_alloc(sizeof(*ep));
	ep->pool = params->pool;
	ep->super_pool = params->super_pool;
	ep->dev = RTE_MAX_ETHPORTS;
	ep->netlink = -1;
	ep->port = (struct port){
		.ops = &ethdev_ops,
		.kind = PORT_OWNED,
		.id = params->id,
		.n_queues = params->n_queues,
		.l2 = true,
	};
	snprintf(ep->port.name, sizeof(ep->port.name), "%s", params->name);
	snprintf(ep->port.device, sizeof(ep->port.device), "%s", params->device);
	int rc = attach(ep, err);
	if (rc == 0)
		rc = configure(ep, params->mtu, err);
	if (rc != 0) {
		ethdev_close(&ep->port);
		return rc;
	}
	ethdev_refresh(&ep->port);
	*out = &ep->port;
	return 0;
}
