#include "dataplane/port/ethdev.h"

#include <poll.h>
#include <unistd.h>

#include "dataplane/wire/csum.h"
#include "dataplane/wire/ip.h"

enum {
	LRO_HDR_LEN = IP6_HDR_LEN + TCP_HDR_LEN + 12, // with timestamps
};

#define SEG_FLAGS (RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG)

// Some drivers merge segments and do not say how large they were: what surely fits is no lie.
static void fix_lro(const struct port *p, struct rte_mbuf *m)
{
	if (m->tso_segsz == 0)
		m->tso_segsz = atomic_load_explicit(&p->mtu, memory_order_relaxed) - LRO_HDR_LEN;
	if ((m->packet_type & RTE_PTYPE_L4_MASK) == 0)
		m->packet_type |= RTE_PTYPE_L4_TCP;
}

static uint16_t take_early(struct ethdev_early *early, struct rte_mbuf **pkts, uint16_t n)
{
	n = RTE_MIN(n, early->n);
	memcpy(pkts, early->pkts, n * sizeof(*pkts));
	early->n -= n;
	memmove(early->pkts, &early->pkts[n], early->n * sizeof(*pkts));
	return n;
}

uint16_t ethdev_rx(struct port *p, uint16_t queue, struct rte_mbuf **pkts, uint16_t n)
{
	struct ethdev_port *ep = ethdev_of(p);
	struct port_stats *stats = &p->stats[queue];
	if (unlikely(queue >= ep->n_rx))
		return 0;
	uint16_t got = unlikely(ep->early[queue].n > 0) ? take_early(&ep->early[queue], pkts, n)
							: rte_eth_rx_burst(ep->dev, queue, pkts, n);
	for (uint16_t i = 0; i < got; i++) {
		struct rte_mbuf *m = pkts[i];
		m->port = p->id;
		stats->rx_bytes += m->pkt_len;
		if (m->ol_flags & RTE_MBUF_F_RX_LRO) {
			stats->rx_supers++;
			fix_lro(p, m);
		}
	}
	stats->rx_packets += got;
	return got;
}

// A copy in buffers of mp, with what nodes noted of the packet; NULL: mp is empty.
static struct rte_mbuf *copy_to(struct rte_mempool *mp, const struct rte_mbuf *m)
{
	struct rte_mbuf *copy = rte_pktmbuf_copy(m, mp, 0, UINT32_MAX);
	if (copy)
		memcpy(rte_mbuf_to_priv(copy), rte_mbuf_to_priv((struct rte_mbuf *)(uintptr_t)m),
			PKT_PRIV_LEN);
	return copy;
}

// Whether a part of it lies in a large buffer, of which there are few.
static bool holds_super(const struct ethdev_port *ep, struct rte_mbuf *m)
{
	for (; m; m = m->next) {
		struct rte_mbuf *direct = RTE_MBUF_DIRECT(m) ? m : rte_mbuf_from_indirect(m);
		if (direct->pool == ep->super_pool)
			return true;
	}
	return false;
}

// One buffer in place of a chain that is longer than the device takes. NULL: no room.
static struct rte_mbuf *flatten(struct ethdev_port *ep, struct rte_mbuf *m)
{
	uint32_t room = rte_pktmbuf_data_room_size(ep->pool) - RTE_PKTMBUF_HEADROOM;
	uint32_t super_room = rte_pktmbuf_data_room_size(ep->super_pool) - RTE_PKTMBUF_HEADROOM;
	if (m->pkt_len > super_room)
		return NULL;
	return copy_to(m->pkt_len <= room ? ep->pool : ep->super_pool, m);
}

static void put_pseudo(struct rte_mbuf *m, uint64_t flags)
{
	void *l3 = rte_pktmbuf_mtod_offset(m, void *, m->l2_len);
	uint16_t sum = flags & RTE_MBUF_F_TX_IPV6 ? rte_ipv6_phdr_cksum(l3, flags)
						  : rte_ipv4_phdr_cksum(l3, flags);
	rte_pktmbuf_mtod_offset(m, struct rte_tcp_hdr *, m->l2_len + m->l3_len)->cksum = sum;
}

// From the contract of port.h to DPDK's: a packet to be segmented has no length in its pseudo
// header sum, and the device writes the IPv4 checksums.
static void to_dpdk(const struct ethdev_port *ep, struct rte_mbuf *m)
{
	put_pseudo(m, m->ol_flags);
	if (ep->ip_csum && m->ol_flags & RTE_MBUF_F_TX_IPV4) {
		m->ol_flags |= RTE_MBUF_F_TX_IP_CKSUM;
		rte_pktmbuf_mtod_offset(m, struct rte_ipv4_hdr *, m->l2_len)->hdr_checksum = 0;
	}
}

// And back, for packets that the caller will send again.
static void from_dpdk(struct rte_mbuf *m)
{
	put_pseudo(m, m->ol_flags & ~SEG_FLAGS);
	if (m->ol_flags & RTE_MBUF_F_TX_IP_CKSUM) {
		m->ol_flags &= ~RTE_MBUF_F_TX_IP_CKSUM;
		csum_ip4_hdr_set(rte_pktmbuf_mtod_offset(m, uint8_t *, m->l2_len), m->l3_len);
	}
}

static bool segmentation_fits(const struct port *p, const struct rte_mbuf *m)
{
	return p->tx_offloads & RTE_ETH_TX_OFFLOAD_TCP_TSO && m->tso_segsz != 0 &&
	       (m->ol_flags & SEG_FLAGS) == RTE_MBUF_F_TX_TCP_SEG && m->l4_len >= TCP_HDR_LEN &&
	       m->l2_len + m->l3_len + m->l4_len <= m->data_len;
}

// Make one packet fit the device. NULL: it cannot be sent; it was freed.
static struct rte_mbuf *prepare(struct ethdev_port *ep, struct rte_mbuf *m)
{
	bool seg = m->ol_flags & SEG_FLAGS;
	// A hundred sent packets in a ring would be all large buffers there are: no kernel port
	// could receive, and without more to send the ring would never let go of them.
	if (ep->keeps && unlikely(holds_super(ep, m))) {
		struct rte_mbuf *small = copy_to(ep->pool, m);
		rte_pktmbuf_free(m);
		if (!small)
			return NULL;
		m = small;
	}
	if (unlikely(m->nb_segs > (seg ? ep->max_tso_segs : ep->max_segs))) {
		struct rte_mbuf *flat = flatten(ep, m);
		rte_pktmbuf_free(m);
		if (!flat)
			return NULL;
		m = flat;
	}
	if (!seg)
		return m;
	if (unlikely(!segmentation_fits(&ep->port, m))) {
		rte_pktmbuf_free(m);
		return NULL;
	}
	to_dpdk(ep, m);
	return m;
}

// What the device refuses is freed and taken out, so that the rest can go. Returns the rest.
static uint16_t drop_refused(struct ethdev_port *ep, uint16_t queue, struct rte_mbuf **pkts,
	uint16_t n, struct port_stats *stats)
{
	uint16_t ready = 0;
	for (;;) {
		ready += rte_eth_tx_prepare(ep->dev, queue, pkts + ready, n - ready);
		if (likely(ready == n))
			return n;
		rte_pktmbuf_free(pkts[ready]);
		stats->tx_errors++;
		n--;
		memmove(&pkts[ready], &pkts[ready + 1], (n - ready) * sizeof(*pkts));
	}
}

uint16_t ethdev_tx(struct port *p, uint16_t queue, struct rte_mbuf **pkts, uint16_t n)
{
	struct ethdev_port *ep = ethdev_of(p);
	struct port_stats *stats = &p->stats[queue];
	struct rte_mbuf *batch[PORT_BURST];
	uint32_t bytes[PORT_BURST + 1] = {0},
				    supers[PORT_BURST + 1] = {0}; // of the first i packets
	uint16_t ready = 0;

	n = RTE_MIN(n, PORT_BURST);
	for (uint16_t i = 0; i < n; i++) {
		struct rte_mbuf *m = prepare(ep, pkts[i]);
		if (likely(m != NULL))
			batch[ready++] = m;
	}
	stats->tx_errors += n - ready;
	ready = drop_refused(ep, queue, batch, ready, stats);
	for (uint16_t i = 0; i < ready; i++) { // the device frees them as it sends
		bytes[i + 1] = bytes[i] + batch[i]->pkt_len;
		supers[i + 1] = supers[i] + ((batch[i]->ol_flags & SEG_FLAGS) != 0);
	}
	uint16_t sent = rte_eth_tx_burst(ep->dev, queue, batch, ready);
	stats->tx_packets += sent;
	stats->tx_bytes += bytes[sent];
	stats->tx_supers += supers[sent];
	stats->tx_full += ready - sent;

	// Those that did not fit go back at the end of the caller's array, as they were.
	uint16_t back = ready - sent;
	for (uint16_t i = 0; i < back; i++) {
		struct rte_mbuf *m = batch[sent + i];
		if (m->ol_flags & SEG_FLAGS)
			from_dpdk(m);
		pkts[n - back + i] = m;
	}
	return n - back;
}

// Asked anew each time: virtual devices have other descriptors after their peer connected again.
int ethdev_wait_fd(struct port *p, uint16_t queue)
{
	const struct ethdev_port *ep = ethdev_of(p);
	if (!ep->interrupts || queue >= ep->n_rx)
		return -1;
	int fd = rte_eth_dev_rx_intr_ctl_q_get_fd(ep->dev, queue);
	return fd >= 0 ? fd : -1;
}

void ethdev_wait_arm(struct port *p, uint16_t queue, bool on)
{
	struct ethdev_port *ep = ethdev_of(p);
	struct ethdev_early *early = &ep->early[queue];
	struct pollfd fd = {.fd = ethdev_wait_fd(p, queue), .events = POLLIN};
	uint64_t count = 1;
	if (fd.fd < 0)
		return;
	if (on) {
		(void)!rte_eth_dev_rx_intr_enable(ep->dev, queue);
		// What came since the last rx interrupts nobody any more: do it in its place. There
		// is no way to ask all drivers but to receive.
		if (early->n == 0)
			early->n = rte_eth_rx_burst(ep->dev, queue, early->pkts, ETHDEV_EARLY);
		if (early->n > 0)
			(void)!write(fd.fd, &count, sizeof(count));
		return;
	}
	(void)!rte_eth_dev_rx_intr_disable(ep->dev, queue);
	if (poll(&fd, 1, 0) == 1) // an eventfd: the count is of no interest
		(void)!read(fd.fd, &count, sizeof(count));
}
