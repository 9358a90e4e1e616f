// Sealed datagrams towards the wire: outer headers, and runs to one peer as one super-datagram
// where the port can segment UDP; to DERP through the control thread.
#include "dataplane/node/capture.h"
#include "dataplane/node/output.h"
#include "dataplane/node/state.h"
#include "dataplane/wire/geneve.h"

// The outer header in front of m's data: lengths, checksums, flags. Once per datagram: a call would
// cost more than 2 % of what it does.
static __rte_always_inline void put_outer(struct graph *g, struct rte_mbuf *m,
	const struct peer_path *path, uint8_t tos, uint16_t segsz)
{
	const struct port *port = g->gw->port[path->port];
	bool v4 = path->family == IP_V4;
	uint32_t l3_len = v4 ? IP4_HDR_LEN : IP6_HDR_LEN;
	uint32_t udp_len = m->pkt_len + UDP_HDR_LEN;
	uint8_t *end = rte_pktmbuf_mtod(m, uint8_t *);
	// All of it, a fixed length: wg_encrypt has made sure of the room in front.
	memcpy(end - sizeof(path->outer), path->outer, sizeof(path->outer));
	m->data_off -= path->outer_len;
	m->data_len += path->outer_len;
	m->pkt_len += path->outer_len;
	m->tx_offload = rte_mbuf_tx_offload(path->l2_len, l3_len, UDP_HDR_LEN, segsz, 0, 0, 0);
	uint8_t *l3 = end - UDP_HDR_LEN - l3_len;
	struct rte_udp_hdr *udp = (struct rte_udp_hdr *)(end - UDP_HDR_LEN);
	uint16_t dgram_len = rte_cpu_to_be_16((uint16_t)udp_len);
	udp->dgram_len = dgram_len;
	if (likely(v4))
		outer_finish_ip4(g, l3, path->ip_sum, udp_len, tos, m->nb_segs);
	else
		outer_finish_ip6(l3, udp_len, tos);
	uint64_t flags = v4 ? RTE_MBUF_F_TX_IPV4 : RTE_MBUF_F_TX_IPV6;
	flags |= segsz ? RTE_MBUF_F_TX_UDP_SEG : 0;
	if (port->tx_offloads & RTE_ETH_TX_OFFLOAD_UDP_CKSUM) {
		flags |= RTE_MBUF_F_TX_UDP_CKSUM;
		udp->dgram_cksum = csum_fold((uint64_t)path->udp_pseudo + dgram_len);
	} else {
		// IPv4 may leave it out (RFC 768), and the tag protects more than it would.
		udp->dgram_cksum = v4 ? 0 : outer_udp_checksum(m, l3, false);
	}
	m->ol_flags |= flags;
	pkt_of(m)->port_out = path->port;
}

static __rte_always_inline enum node_id emit(struct graph *g, struct rte_mbuf *m,
	const struct peer_path *path, uint8_t tos, uint16_t segsz)
{
	put_outer(g, m, path, tos, segsz);
	capture_copy(g, m, CAPTURE_WIRE_OUT, pkt_of(m)->peer);
	return NODE_TX;
}

static void run_send(struct graph *g, struct outer_run *r)
{
	struct rte_mbuf *m = r->head;
	if (r->n > 1) {
		graph_count(g, COUNTER_BATCHES, 1);
		graph_count(g, COUNTER_DATAGRAMS_BATCHED, r->n);
	}
	graph_to(g, emit(g, m, r->to, r->tos, r->n > 1 ? r->size : 0), m);
	*r = (struct outer_run){0};
}

// A path that is more or less than a UDP endpoint. False: that was m's end.
static __rte_noinline bool detour(struct graph *g, struct rte_mbuf *m, const struct peer_path *path)
{
	struct geneve_header *h;
	if (path->derp) {
		pkt_of(m)->counter = pkt_of(m)->peer->id;
		punt_copy(g, m, PUNT_DERP, NULL, 0);
	}
	if (path->port == PORT_NONE) {
		if (path->derp)
			rte_pktmbuf_free(m);
		else
			graph_drop(g, m, DROP_NO_ENDPOINT);
		return false;
	}
	if (path->vni != 0) { // wg_encrypt has made sure of the room
		h = (struct geneve_header *)rte_pktmbuf_prepend(m, GENEVE_HEADER_LEN);
		*h = geneve_header_of(GENEVE_PROTOCOL_WIREGUARD, path->vni, false);
	}
	return true;
}

// Into the run of its peer, which leaves when the next one does not fit, or with the round.
static void collect(struct graph *g, struct rte_mbuf *m, const struct peer_path *path, uint8_t tos)
{
	struct outer_run *r = &g->state->wg_run[pkt_of(m)->peer->id % RUNS];
	struct outer_run one = {.to = path,
		.head = m,
		.tail = m,
		.bytes = m->data_len,
		.size = m->data_len,
		.n = 1,
		.tos = tos};
	if (r->to) {
		if (outer_run_add(r, &one))
			return;
		run_send(g, r);
	}
	g->state->collecting |= STATE_WG_RUNS;
	*r = one;
}

void wg_send(struct graph *g, struct rte_mbuf **pkts, unsigned n)
{
	const struct peer *peer = NULL;
	const struct peer_path *path = NULL;
	bool plain = false, collects = false;
	struct graph_way way = {pkts, NODE_COUNT};
	for (unsigned i = 0; i < n; i++) {
		struct rte_mbuf *m = pkts[i];
		const struct pkt *p = pkt_of(m);
		enum node_id next = NODE_COUNT;
		if (p->peer != peer) {
			peer = p->peer;
			path = atomic_load_explicit(&peer->path, memory_order_acquire);
			plain = path->port != PORT_NONE && path->vni == 0 && !path->derp;
			collects = path->port != PORT_NONE && g->gw->port[path->port]->tx_offloads &
								      RTE_ETH_TX_OFFLOAD_UDP_TSO;
		}
		// ECN is copied to the outer header, DSCP is not (RFC 6040 4.1; the kernel's
		// send.c).
		uint8_t tos = p->ip.tos & 3;
		if (likely(plain) || detour(g, m, path)) {
			if (collects)
				collect(g, m, path, tos);
			else
				next = emit(g, m, path, tos, 0);
		}
		graph_go(g, &way, &pkts[i], next);
	}
	graph_go(g, &way, &pkts[n], NODE_COUNT);
}

void wg_send_flush(struct graph *g)
{
	for (unsigned i = 0; i < RUNS; i++) {
		if (g->state->wg_run[i].to)
			run_send(g, &g->state->wg_run[i]);
	}
	g->state->collecting &= ~(unsigned)STATE_WG_RUNS;
}
