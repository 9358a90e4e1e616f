#include "dataplane/node/capture.h"

#include <errno.h>
#include <rte_errno.h>
#include <rte_malloc.h>
#include <rte_ring.h>

enum {
	CAPTURE_ROOM = 2048,
	CAPTURE_RING = 4096, // holds every buffer
};

struct capture {
	struct capture_filter filter; // fixed after init
	bool one_peer;		      // fixed after init: peer_key is set
	struct rte_mempool *pool;     // wrk: takes, ctl: gives back
	struct rte_ring *ring;	      // wrk: in, ctl: out
};

int capture_create(const struct capture_filter *filter, struct capture **out)
{
	static unsigned serial; // old ones live on until workers have let go of them; [ctl]
	char name[RTE_RING_NAMESIZE];

	struct capture *c = calloc(1, sizeof(*c));
	if (c == NULL)
		return -ENOMEM;
	c->filter = *filter;
	c->one_peer = !key_is_zero(&filter->peer_key);

	serial++;
	snprintf(name, sizeof(name), "capture_%u", serial);
	uint32_t room = RTE_MIN(filter->snaplen, (uint32_t)CAPTURE_ROOM);
	c->pool = rte_pktmbuf_pool_create(name, CAPTURE_BUFFERS, 0,
		RTE_ALIGN_CEIL(sizeof(struct capture_meta), RTE_MBUF_PRIV_ALIGN),
		(uint16_t)(room + RTE_PKTMBUF_HEADROOM), SOCKET_ID_ANY);
	if (c->pool != NULL)
		c->ring = rte_ring_create(name, CAPTURE_RING, SOCKET_ID_ANY, RING_F_SC_DEQ);
	if (c->ring == NULL) {
		int error = -rte_errno;
		capture_destroy(c);
		return error;
	}
	*out = c;
	return 0;
}

void capture_destroy(void *capture)
{
	struct capture *c = capture;
	struct rte_mbuf *copy;
	while (c->ring != NULL && rte_ring_sc_dequeue(c->ring, (void **)&copy) == 0)
		rte_pktmbuf_free(copy);
	rte_ring_free(c->ring);
	rte_mempool_free(c->pool);
	free(c);
}

int capture_start(struct gateway *gw, struct capture *c)
{
	for (unsigned i = 0; i < gw->n_workers; i++)
		if (atomic_load_explicit(&gw->graph[i]->capture, memory_order_relaxed) != NULL)
			return -EBUSY;
	for (unsigned i = 0; i < gw->n_workers; i++)
		atomic_store_explicit(&gw->graph[i]->capture, c, memory_order_release);
	return 0;
}

void capture_stop(struct gateway *gw, struct capture *c)
{
	for (unsigned i = 0; i < gw->n_workers; i++)
		if (atomic_load_explicit(&gw->graph[i]->capture, memory_order_relaxed) == c)
			atomic_store_explicit(&gw->graph[i]->capture, NULL, memory_order_release);
}

unsigned capture_drain(struct capture *c, struct rte_mbuf **copies, unsigned n)
{
	return rte_ring_sc_dequeue_burst(c->ring, (void **)copies, n, NULL);
}

// The outer header's remote side: the source of what comes in, the destination of what goes out.
static bool remote_is(const struct rte_mbuf *m, uint32_t l3, bool in, const struct endpoint *remote)
{
	uint8_t room[IP6_HDR_LEN];
	struct ip_info ip;
	uint16_t port;
	uint32_t contig = RTE_MIN(m->pkt_len - RTE_MIN(l3, m->pkt_len), (uint32_t)sizeof(room));
	const uint8_t *p = rte_pktmbuf_read(m, l3, contig, room);
	if (p == NULL || ip_parse_chain(p, contig, m->pkt_len - l3, &ip) < 0)
		return false;
	struct ip_addr addr =
		ip.family == IP_V4 ? ip_addr_v4(p + (in ? 12 : 16)) : ip_addr_v6(p + (in ? 8 : 24));
	const uint8_t *udp = rte_pktmbuf_read(m, l3 + ip.l3_len + (in ? 0 : 2), 2, &port);
	if (udp == NULL || ip.proto != IPPROTO_UDP || !ip_addr_equal(&addr, &remote->addr))
		return false;
	return (udp[0] << 8 | udp[1]) == remote->port;
}

static bool is_of_peer(const struct graph *g, const struct capture *c, const struct rte_mbuf *m,
	enum capture_point point, uint16_t port, const struct peer *peer)
{
	const struct capture_filter *f = &c->filter;
	if (peer != NULL)
		return memcmp(&peer->public_key, &f->peer_key, sizeof(struct key)) == 0;
	if (f->peer_endpoint.addr.family == IP_NONE)
		return false;
	if (point == CAPTURE_WIRE_IN)
		return remote_is(m, 0, true, &f->peer_endpoint);
	if (point == CAPTURE_WIRE_OUT && port < g->gw->n_ports)
		return remote_is(m, g->gw->port[port]->l2 ? L2_LEN : 0, false, &f->peer_endpoint);
	return false;
}

static bool wanted(const struct graph *g, const struct capture *c, const struct rte_mbuf *m,
	enum capture_point point, uint16_t port, const struct peer *peer)
{
	if (!(c->filter.points & 1u << point))
		return false;
	if (c->filter.port != PORT_NONE && c->filter.port != port)
		return false;
	return !c->one_peer || is_of_peer(g, c, m, point, port, peer);
}

// The packet's data with the l2 bytes in front of it, cut to the capture's length.
static struct rte_mbuf *copy_packet(const struct capture *c, const struct rte_mbuf *m, uint16_t l2)
{
	struct rte_mbuf *copy = rte_pktmbuf_copy(m, c->pool, 0, c->filter.snaplen - l2);
	if (copy != NULL && l2 > 0)
		memcpy(rte_pktmbuf_prepend(copy, l2), rte_pktmbuf_mtod(m, const uint8_t *) - l2,
			l2);
	return copy;
}

void capture_packet(struct graph *g, struct capture *c, const struct rte_mbuf *m,
	enum capture_point point, const struct peer *peer)
{
	const struct pkt *pkt = pkt_of((struct rte_mbuf *)(uintptr_t)m);
	uint16_t port = point == CAPTURE_WIRE_OUT ? pkt->port_out : pkt->port_in;
	if (m->pkt_len == 0 || !wanted(g, c, m, point, port, peer))
		return;

	uint16_t l2 = point == CAPTURE_WIRE_IN ? m->l2_len : 0;
	struct rte_mbuf *copy = copy_packet(c, m, l2);
	if (copy == NULL)
		goto lost;
	*capture_meta(copy) = (struct capture_meta){
		.tsc = rte_rdtsc(),
		.len = m->pkt_len + l2,
		.port = port,
		.point = point,
		.peer_key = peer != NULL ? peer->public_key : (struct key){},
	};
	if (rte_ring_mp_enqueue(c->ring, copy) == 0)
		return;
	rte_pktmbuf_free(copy);
lost:
	graph_count(g, COUNTER_CAPTURE_LOST, 1);
}
