// To hosts behind remote VTEPs (RFC 7348): VXLAN and Ethernet header in front of each packet, and
// runs of a flow as one UDP super-datagram where the port segments UDP. TCP is not put together for
// it: who segments it would have to look inside. A port that has this done takes TCP from
// link_output instead.
#include "dataplane/node/node.h"
#include "dataplane/node/output.h"
#include "dataplane/node/state.h"
#include "dataplane/port/gso.h"

enum {
	FRAME_LEN = VXLAN_HDR_LEN + L2_LEN, // in front of each packet
	// What is written in front of that, all of it a fixed length.
	HEAD_LEN = sizeof(((struct vtep *)0)->outer) - VXLAN_HDR_LEN,
};
static_assert((unsigned)HEAD_LEN + FRAME_LEN <= RTE_PKTMBUF_HEADROOM);

static inline uint64_t load64(const uint8_t *p)
{
	uint64_t word;
	memcpy(&word, p, sizeof(word));
	return word;
}

// The UDP source port says which flow it is (RFC 7348 section 5), in network order.
static rte_be16_t source_port(const struct vtep *v, const struct rte_mbuf *m, const struct pkt *p)
{
	const uint8_t *l3 = rte_pktmbuf_mtod(m, const uint8_t *);
	uint64_t h = p->ip.proto;
	bool has_ports = (p->ip.proto == IPPROTO_TCP || p->ip.proto == IPPROTO_UDP) &&
			 !(p->ip.flags & IP_FLAG_FRAG) && m->data_len >= p->ip.l3_len + 4;
	if (has_ports)
		h ^= csum_load32(l3 + p->ip.l3_len) << 8;
	if (p->ip.family == IP_V4) {
		h ^= load64(l3 + 12);
	} else {
		h ^= load64(l3 + 8) ^ rte_bswap64(load64(l3 + 16));
		h = h * UINT64_C(0x9e3779b97f4a7c15) ^ load64(l3 + 24) ^
		    rte_bswap64(load64(l3 + 32));
	}
	h *= UINT64_C(0x9e3779b97f4a7c15);
	uint32_t at = (uint32_t)(h >> 48) * v->n_sources >> 16;
	return rte_cpu_to_be_16((uint16_t)(v->source_first + at));
}

// Outer headers in front of a run of datagrams: lengths, checksums, flags.
static void put_outer(struct graph *g, const struct outer_run *r)
{
	const struct vtep *v = r->to;
	const struct port *port = g->gw->port[v->port];
	struct rte_mbuf *m = r->head;
	bool v4 = v->family == IP_V4;
	uint32_t l3_len = v4 ? IP4_HDR_LEN : IP6_HDR_LEN, udp_len = m->pkt_len + UDP_HDR_LEN;
	uint16_t len = v->outer_len - VXLAN_HDR_LEN, segsz = r->n > 1 ? r->size : 0;
	uint8_t *end = rte_pktmbuf_mtod(m, uint8_t *), *l3 = end - UDP_HDR_LEN - l3_len;
	memcpy(end - HEAD_LEN, v->outer, HEAD_LEN); // vxlan_output has made sure of the room
	m->data_off -= len;
	m->data_len += len;
	m->pkt_len += len;
	m->tx_offload = rte_mbuf_tx_offload(L2_LEN, l3_len, UDP_HDR_LEN, segsz, 0, 0, 0);
	struct rte_udp_hdr *udp = (struct rte_udp_hdr *)(end - UDP_HDR_LEN);
	udp->src_port = r->source;
	udp->dgram_len = rte_cpu_to_be_16((uint16_t)udp_len);
	if (v4)
		outer_finish_ip4(g, l3, v->ip_sum, udp_len, r->tos, r->n);
	else
		outer_finish_ip6(l3, udp_len, r->tos);
	m->ol_flags |= (v4 ? RTE_MBUF_F_TX_IPV4 : RTE_MBUF_F_TX_IPV6) |
		       (segsz ? RTE_MBUF_F_TX_UDP_SEG : 0);
	// Segments get one in any case.
	if (segsz || (v->checksum && port->tx_offloads & RTE_ETH_TX_OFFLOAD_UDP_CKSUM)) {
		m->ol_flags |= RTE_MBUF_F_TX_UDP_CKSUM;
		udp->dgram_cksum = csum_fold((uint64_t)v->udp_pseudo + udp->dgram_len);
	} else {
		udp->dgram_cksum = v->checksum ? outer_udp_checksum(m, l3, v4) : 0;
	}
}

static void run_send(struct graph *g, struct outer_run *r)
{
	put_outer(g, r);
	if (r->n > 1) {
		graph_count(g, COUNTER_BATCHES, 1);
		graph_count(g, COUNTER_DATAGRAMS_BATCHED, r->n);
	}
	graph_to(g, NODE_TX, r->head);
	*r = (struct outer_run){0};
}

// One datagram more, behind those of its flow.
static void collect(struct graph *g, const struct outer_run *one)
{
	struct outer_run *r = &g->state->vxlan_run[rte_be_to_cpu_16(one->source) % RUNS];
	if (r->to) {
		if (outer_run_add(r, one))
			return;
		run_send(g, r);
	}
	g->state->collecting |= STATE_VXLAN_RUNS;
	*r = *one;
}

// VXLAN and Ethernet header in front of m: in its own headroom, or in a small buffer where that is
// another packet's. NULL: no buffer; counted.
static struct rte_mbuf *put_frame(struct graph *g, struct rte_mbuf *m)
{
	const struct pkt *p = pkt_of(m);
	struct rte_mbuf *h = m;
	if (unlikely(!(RTE_MBUF_DIRECT(m) && rte_mbuf_refcnt_read(m) == 1 &&
		       rte_pktmbuf_headroom(m) >= FRAME_LEN + HEAD_LEN))) {
		h = rte_pktmbuf_alloc(g->gw->pool);
		if (unlikely(!h)) {
			graph_drop(g, m, DROP_NO_MBUF);
			return NULL;
		}
		pkt_inherit(h, m);
		h->next = m;
		h->nb_segs = m->nb_segs + 1;
		h->pkt_len = m->pkt_len;
	}
	m->ol_flags &= PKT_BUFFER_FLAGS;
	h->data_off -= FRAME_LEN;
	h->data_len += FRAME_LEN;
	h->pkt_len += FRAME_LEN;
	uint8_t *vxlan = rte_pktmbuf_mtod(h, uint8_t *), *l2 = vxlan + VXLAN_HDR_LEN;
	memcpy(vxlan, p->vtep->outer + HEAD_LEN, VXLAN_HDR_LEN);
	memcpy(l2, p->nexthop->l2, L2_LEN);
	rte_be16_t type =
		rte_cpu_to_be_16(p->ip.family == IP_V4 ? RTE_ETHER_TYPE_IPV4 : RTE_ETHER_TYPE_IPV6);
	memcpy(l2 + 12, &type, sizeof(type));
	return h;
}

// A whole packet, checksums and all.
static void encapsulate(struct graph *g, struct rte_mbuf *m)
{
	const struct pkt *p = pkt_of(m);
	const struct vtep *v = p->vtep;
	uint8_t dscp = v->tos_inherit ? p->ip.tos & (uint8_t)~3 : v->tos;
	struct outer_run one = {.to = v,
		.source = source_port(v, m, p),
		.tos = dscp | (p->ip.tos & 3), // ECN: RFC 6040 4.1
		.n = 1};
	one.head = put_frame(g, m);
	if (unlikely(!one.head))
		return;
	one.tail = rte_pktmbuf_lastseg(one.head);
	one.bytes = one.head->pkt_len;
	one.size = (uint16_t)one.bytes;
	graph_count(g, COUNTER_VTEP_OUT, 1);
	if (g->gw->port[v->port]->tx_offloads & RTE_ETH_TX_OFFLOAD_UDP_TSO)
		collect(g, &one);
	else
		run_send(g, &one);
}

static void segment(struct graph *g, struct rte_mbuf *super)
{
	struct rte_mbuf *out[BURST];
	struct gso_iter it;
	const struct pkt *p = pkt_of(super);
	if (gso_iter_init(&it, super, &p->ip, pkt_pool(g->gw, pkt_wire_len(super, &p->ip))) < 0) {
		graph_drop(g, super, DROP_SEGMENT);
		return;
	}
	int n;
	while ((n = gso_iter_next(&it, out, BURST)) > 0) {
		for (int i = 0; i < n; i++) {
			pkt_inherit(out[i], super);
			pkt_of(out[i])->trace = 0;
			encapsulate(g, out[i]);
		}
	}
	if (n < 0)
		g->drops[DROP_NO_MBUF] += gso_iter_left(&it);
	rte_pktmbuf_free(super);
}

void node_vxlan_output(struct graph *g, struct rte_mbuf **pkts, uint16_t n)
{
	for (unsigned i = 0; i < n; i++) {
		struct rte_mbuf *m = pkts[i];
		if (unlikely(pkt_is_super(m)))
			segment(g, m);
		else if (unlikely(pkt_is_unfinished(m)) && gso_csum_complete(m, &pkt_of(m)->ip) < 0)
			graph_drop(g, m, DROP_SEGMENT);
		else
			encapsulate(g, m);
	}
}

void vxlan_output_flush(struct graph *g)
{
	for (unsigned i = 0; i < RUNS; i++) {
		if (g->state->vxlan_run[i].to)
			run_send(g, &g->state->vxlan_run[i]);
	}
	g->state->collecting &= ~(unsigned)STATE_VXLAN_RUNS;
}
