#include "dataplane/port/kernel.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>

enum {
	REFUSED_MAX = 4, // of a burst; then what is left of it would not fit either
};

// One packet's pieces behind its vnet header, into iov. Returns how many, header included.
static unsigned fill_iov(struct iovec *iov, struct vnet_hdr *h, const struct rte_mbuf *m)
{
	unsigned n = 0;
	iov[n++] = (struct iovec){.iov_base = h, .iov_len = sizeof(*h)};
	for (; m; m = m->next) {
		if (likely(m->data_len > 0))
			iov[n++] = (struct iovec){
				.iov_base = rte_pktmbuf_mtod(m, void *), .iov_len = m->data_len};
	}
	return n;
}

static void count_sent(struct port_stats *stats, const struct rte_mbuf *m)
{
	stats->tx_packets++;
	stats->tx_bytes += m->pkt_len;
	stats->tx_supers += (m->ol_flags & (RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG)) != 0;
}

static bool is_full(int error)
{
	return error == EAGAIN || error == ENOBUFS || error == ENOMEM;
}

// The device or its queue took this one not: full, or a veth whose other end has a smaller MTU.
static bool is_refused(int error, unsigned *refused)
{
	return error == ENOBUFS && ++*refused < REFUSED_MAX;
}

// Send the messages prepared for pkts. Returns how many are done with, sent or lost; fewer than n
// only when the socket buffer or the queue below is full.
static unsigned send_messages(
	struct kernel_queue *q, struct rte_mbuf **pkts, unsigned n, struct port_stats *stats)
{
	unsigned done = 0, refused = 0;
	while (done < n) {
		int sent = sendmmsg(q->fd, &q->tx_msg[done], n - done, MSG_DONTWAIT);
		if (sent > 0) {
			for (int i = 0; i < sent; i++)
				count_sent(stats, pkts[done + i]);
			done += sent;
		} else if (is_refused(errno, &refused)) {
			stats->tx_full++;
			done++;
		} else if (is_full(errno)) {
			break;
		} else if (errno != EINTR) {
			// The first one's: too long, interface (or VXLAN device) down or gone.
			stats->tx_errors++;
			done++;
		}
	}
	return done;
}

// Where to, if not out of the port: the VXLAN device that wraps it. NULL: out of the port.
static struct sockaddr_ll *device_of(struct rte_mbuf *m, struct sockaddr_ll *to)
{
	if (likely((m->ol_flags & RTE_MBUF_F_TX_TUNNEL_MASK) != RTE_MBUF_F_TX_TUNNEL_VXLAN))
		return NULL;
	// What is left are the frame's own wishes, which go into its vnet header.
	m->ol_flags &= ~RTE_MBUF_F_TX_TUNNEL_MASK;
	const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);
	*to = (struct sockaddr_ll){.sll_family = AF_PACKET,
		.sll_protocol = eth->ether_type,
		.sll_ifindex = (int)m->hash.usr};
	return to;
}

// Prepare messages for as many packets as the iov array holds, up to the first that cannot be sent.
static unsigned prepare(
	struct port *p, struct kernel_queue *q, struct rte_mbuf **pkts, unsigned n, bool *refused)
{
	unsigned at = 0, i = 0;
	*refused = false;
	for (; i < n; i++) {
		struct rte_mbuf *m = pkts[i];
		if (at + m->nb_segs + 1 > KERNEL_TX_IOV && m->nb_segs < KERNEL_IOV_MAX)
			break;
		struct sockaddr_ll *to = device_of(m, &q->tx_to[i]);
		if (unlikely(m->nb_segs >= KERNEL_IOV_MAX ||
			     vnet_from_mbuf(m, p->l2, &q->tx_hdr[i]) != 0)) {
			*refused = true;
			break;
		}
		unsigned used = fill_iov(&q->tx_iov[at], &q->tx_hdr[i], m);
		q->tx_msg[i].msg_hdr = (struct msghdr){.msg_name = to,
			.msg_namelen = to ? sizeof(*to) : 0,
			.msg_iov = &q->tx_iov[at],
			.msg_iovlen = used};
		at += used;
	}
	return i;
}

uint16_t kernel_tx_socket(struct port *p, uint16_t queue, struct rte_mbuf **pkts, uint16_t n)
{
	struct kernel_queue *q = kernel_port_of(p)->queue[queue];
	struct port_stats *stats = &p->stats[queue];
	unsigned done = 0;
	while (done < n) {
		bool refused;
		unsigned ready =
			prepare(p, q, pkts + done, RTE_MIN(n - done, PORT_BURST), &refused);
		unsigned sent = send_messages(q, pkts + done, ready, stats);
		done += sent;
		if (sent < ready) {
			stats->tx_full += n - done;
			break;
		}
		if (refused) {
			stats->tx_errors++;
			done++;
		}
	}
	rte_pktmbuf_free_bulk(pkts, done);
	return done;
}

uint16_t kernel_tx_tun(struct port *p, uint16_t queue, struct rte_mbuf **pkts, uint16_t n)
{
	struct kernel_queue *q = kernel_port_of(p)->queue[queue];
	struct port_stats *stats = &p->stats[queue];
	unsigned done = 0;
	for (; done < n; done++) {
		struct rte_mbuf *m = pkts[done];
		if (unlikely(m->nb_segs >= KERNEL_IOV_MAX ||
			     vnet_from_mbuf(m, p->l2, &q->tx_hdr[0]) != 0)) {
			stats->tx_errors++;
			continue;
		}
		unsigned used = fill_iov(q->tx_iov, &q->tx_hdr[0], m);
		ssize_t sent;
		do {
			sent = writev(q->fd, q->tx_iov, used);
		} while (unlikely(sent < 0 && errno == EINTR));
		if (likely(sent >= 0)) {
			count_sent(stats, m);
		} else if (is_full(errno)) {
			stats->tx_full += n - done;
			break;
		} else {
			stats->tx_errors++; // EIO: the interface is down
		}
	}
	rte_pktmbuf_free_bulk(pkts, done);
	return done;
}
