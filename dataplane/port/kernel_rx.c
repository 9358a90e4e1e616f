#include "dataplane/port/kernel.h"

#include <errno.h>

#include "dataplane/wire/ether.h"
#include "dataplane/wire/ip.h"

void kernel_rx_init(struct kernel_queue *q)
{
	q->head = PORT_BURST;
	for (unsigned i = 0; i < PORT_BURST; i++)
		q->rx_msg[i].msg_hdr = (struct msghdr){.msg_iov = q->slot[i].iov, .msg_iovlen = 2};
}

void kernel_rx_fini(struct kernel_queue *q)
{
	for (unsigned i = 0; i < PORT_BURST; i++) {
		if (i >= q->head)
			rte_pktmbuf_free(q->slot[i].super);
		rte_pktmbuf_free(q->slot[i].over);
	}
}

static void slot_fill(struct kernel_slot *s, struct rte_mbuf *m)
{
	s->super = m;
	s->iov[0] = (struct iovec){
		.iov_base = rte_pktmbuf_mtod_offset(m, uint8_t *, -(int)sizeof(struct vnet_hdr)),
		.iov_len = sizeof(struct vnet_hdr) + rte_pktmbuf_tailroom(m),
	};
	s->iov[1] = (struct iovec){
		.iov_base = rte_pktmbuf_mtod(s->over, void *),
		.iov_len = rte_pktmbuf_tailroom(s->over),
	};
}

// New buffers into the slots that were used: from the last one down, so that an empty pool leaves
// one run of filled slots.
static void refill(struct kernel_port *kp, struct kernel_queue *q, struct port_stats *stats)
{
	struct rte_mbuf *fresh[PORT_BURST];
	uint16_t n = q->head;
	if (n == 0)
		return;
	if (rte_pktmbuf_alloc_bulk(kp->super_pool, fresh, n) != 0) {
		stats->rx_nombuf++;
		for (n = 0; n < q->head && (fresh[n] = rte_pktmbuf_alloc(kp->super_pool)); n++)
			;
	}
	while (n > 0) {
		struct kernel_slot *s = &q->slot[q->head - 1];
		if (!s->over && !(s->over = rte_pktmbuf_alloc(kp->pool)))
			break;
		slot_fill(s, fresh[--n]);
		q->head--;
	}
	if (unlikely(n > 0)) {
		stats->rx_nombuf++;
		rte_pktmbuf_free_bulk(fresh, n);
	}
}

static void chain_over(struct kernel_slot *s, struct rte_mbuf *m, uint32_t len)
{
	m->data_len = rte_pktmbuf_tailroom(m);
	m->next = s->over;
	m->nb_segs = 2;
	s->over->data_len = len - m->data_len;
	s->over->pkt_len = s->over->data_len;
	s->over = NULL;
}

// Make the packet of len bytes, vnet header included, that lies in a slot. NULL: it was refused.
static struct rte_mbuf *slot_take(struct kernel_port *kp, struct kernel_slot *s, uint32_t len,
	bool truncated, struct port_stats *stats)
{
	struct rte_mbuf *m = s->super;
	bool l2 = kp->port.l2;
	const struct vnet_hdr *h = s->iov[0].iov_base;
	if (unlikely(truncated ||
		     len < sizeof(*h) + (l2 ? (unsigned)ETHER_HDR_LEN : (unsigned)IP4_HDR_LEN)))
		goto refused;
	len -= sizeof(*h);
	m->port = kp->port.id;
	m->pkt_len = len;
	if (likely(len <= rte_pktmbuf_tailroom(m)))
		m->data_len = len;
	else
		chain_over(s, m, len);
	if (unlikely(vnet_to_mbuf(h, m, l2) != 0))
		goto refused;
	stats->rx_packets++;
	stats->rx_bytes += len;
	stats->rx_supers += (m->ol_flags & RTE_MBUF_F_RX_LRO) != 0;
	return m;
refused:
	stats->rx_errors++;
	rte_pktmbuf_free(m);
	return NULL;
}

uint16_t kernel_rx_socket(struct port *p, uint16_t queue, struct rte_mbuf **pkts, uint16_t n)
{
	struct kernel_port *kp = kernel_port_of(p);
	struct kernel_queue *q = kp->queue[queue];
	struct port_stats *stats = &p->stats[queue];

	refill(kp, q, stats);
	uint16_t head = q->head;
	n = RTE_MIN(n, PORT_BURST - head);
	if (n == 0)
		return 0;
	int got = recvmmsg(q->fd, &q->rx_msg[head], n, MSG_DONTWAIT, NULL);
	if (got <= 0) {
		// EINVAL: a packet without a vnet header of its kind (a tunnel's segmentation); it
		// is gone. ENETDOWN and ENETUNREACH tell of the interface; refresh looks after it.
		if (got < 0 && errno == EINVAL)
			stats->rx_errors++;
		return 0;
	}
	q->head = head + got;
	uint16_t out = 0;
	for (int i = 0; i < got; i++) {
		struct kernel_slot *s = &q->slot[head + i];
		if (i + 2 < got)
			rte_prefetch0(q->slot[head + i + 2].iov[0].iov_base);
		struct rte_mbuf *m = slot_take(kp, s, q->rx_msg[head + i].msg_len,
			q->rx_msg[head + i].msg_hdr.msg_flags & MSG_TRUNC, stats);
		if (likely(m != NULL))
			pkts[out++] = m;
	}
	return out;
}

uint16_t kernel_rx_tun(struct port *p, uint16_t queue, struct rte_mbuf **pkts, uint16_t n)
{
	struct kernel_port *kp = kernel_port_of(p);
	struct kernel_queue *q = kp->queue[queue];
	struct port_stats *stats = &p->stats[queue];

	refill(kp, q, stats);
	n = RTE_MIN(n, PORT_BURST - q->head);
	uint16_t out = 0;
	while (n-- > 0) {
		struct kernel_slot *s = &q->slot[q->head];
		ssize_t len = readv(q->fd, s->iov, 2);
		if (len <= 0)
			break;
		q->head++;
		// A packet that fills everything was cut: read does not say so.
		struct rte_mbuf *m = slot_take(
			kp, s, len, (size_t)len == s->iov[0].iov_len + s->iov[1].iov_len, stats);
		if (likely(m != NULL))
			pkts[out++] = m;
	}
	return out;
}

int kernel_wait_fd(struct port *p, uint16_t queue)
{
	return kernel_port_of(p)->queue[queue]->fd;
}
