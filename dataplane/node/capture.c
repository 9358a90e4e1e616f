#include "dataplane/node/capture.h"

#include <errno.h>
#include <rte_ring.h>
#include <stdlib.h>

enum {
	CAPTURE_RING = CAPTURE_SLOTS + 1, // either ring holds all slots
	CAPTURE_PIECES = CAPTURE_SNAPLEN_MAX / CAPTURE_ROOM,
};

struct capture {
	struct capture_filter filter; // fixed after init
	bool one_peer;		      // fixed after init: peer_key is set
	struct capture_slot *slots;   // CAPTURE_SLOTS
	struct rte_ring *free;	      // wrk: out, ctl: in
	struct rte_ring *full;	      // wrk: in, ctl: out; first slots of packets
};

static struct rte_ring *ring_create(unsigned flags)
{
	void *ring = NULL;
	if (posix_memalign(
		    &ring, RTE_CACHE_LINE_SIZE, (size_t)rte_ring_get_memsize(CAPTURE_RING)) != 0)
		return NULL;
	if (rte_ring_init(ring, "capture", CAPTURE_RING, flags) != 0) {
		free(ring);
		return NULL;
	}
	return ring;
}

int capture_create(const struct capture_filter *filter, struct capture **out)
{
	struct capture *c = calloc(1, sizeof(*c));
	if (c == NULL)
		return -ENOMEM;
	c->filter = *filter;
	c->one_peer = !key_is_zero(&filter->peer_key);
	c->slots = calloc(CAPTURE_SLOTS, sizeof(*c->slots)); // pages come with first use
	c->free = ring_create(RING_F_SP_ENQ);
	c->full = ring_create(RING_F_SC_DEQ);
	if (c->slots == NULL || c->free == NULL || c->full == NULL) {
		capture_destroy(c);
		return -ENOMEM;
	}
	for (unsigned i = 0; i < CAPTURE_SLOTS; i++)
		rte_ring_sp_enqueue(c->free, &c->slots[i]);
	*out = c;
	return 0;
}

void capture_destroy(void *capture)
{
	struct capture *c = capture;
	free(c->full);
	free(c->free);
	free(c->slots);
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

unsigned capture_drain(struct capture *c, struct capture_slot **packets, unsigned n)
{
	return rte_ring_sc_dequeue_burst(c->full, (void **)packets, n, NULL);
}

void capture_release(struct capture *c, struct capture_slot *packet)
{
	while (packet != NULL) {
		struct capture_slot *next = packet->next;
		rte_ring_sp_enqueue(c->free, packet);
		packet = next;
	}
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

// Fill slots with the first bytes of the packet and the l2 bytes in front of it.
static void copy_packet(struct capture_slot *const slots[], unsigned n, const struct rte_mbuf *m,
	uint16_t l2, uint32_t bytes)
{
	uint32_t from = 0, front = RTE_MIN((uint32_t)l2, bytes);
	memcpy(slots[0]->data, rte_pktmbuf_mtod(m, const uint8_t *) - l2, front);
	bytes -= front;
	for (unsigned i = 0; i < n; i++, front = 0) {
		uint32_t len = RTE_MIN(bytes, CAPTURE_ROOM - front);
		uint8_t *to = slots[i]->data + front;
		const void *data = len > 0 ? rte_pktmbuf_read(m, from, len, to) : to;
		if (data != to)
			memcpy(to, data, len);
		slots[i]->n = front + len;
		slots[i]->next = i + 1 < n ? slots[i + 1] : NULL;
		from += len;
		bytes -= len;
	}
}

void capture_packet(struct graph *g, struct capture *c, const struct rte_mbuf *m,
	enum capture_point point, const struct peer *peer)
{
	const struct pkt *pkt = pkt_of((struct rte_mbuf *)(uintptr_t)m);
	uint16_t port = point == CAPTURE_WIRE_OUT ? pkt->port_out : pkt->port_in;
	if (m->pkt_len == 0 || !wanted(g, c, m, point, port, peer))
		return;

	uint16_t l2 = point == CAPTURE_WIRE_IN ? m->l2_len : 0;
	uint32_t bytes = RTE_MIN(m->pkt_len + l2, c->filter.snaplen);
	struct capture_slot *slots[CAPTURE_PIECES];
	unsigned n = (bytes + CAPTURE_ROOM - 1) / CAPTURE_ROOM;
	if (rte_ring_mc_dequeue_bulk(c->free, (void **)slots, n, NULL) == 0) {
		graph_count(g, COUNTER_CAPTURE_LOST, 1);
		return;
	}
	copy_packet(slots, n, m, l2, bytes);
	slots[0]->len = m->pkt_len + l2;
	slots[0]->tsc = rte_rdtsc();
	slots[0]->port = port;
	slots[0]->point = point;
	slots[0]->peer_key = peer != NULL ? peer->public_key : (struct key){};
	rte_ring_mp_enqueue(c->full, slots[0]);
}
