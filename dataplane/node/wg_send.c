// Sealed datagrams towards the wire: outer headers, and runs to one peer as one super-datagram
// where the port can segment UDP.
#include "dataplane/node/capture.h"
#include "dataplane/node/output.h"
#include "dataplane/node/state.h"
#include "dataplane/wire/csum.h"

enum {
	OUTER_TTL = 64,
};

// UDP checksum of an outer header without offload. IPv4 may leave it out (RFC 768), and the tag
// protects more than it would.
static uint16_t udp_checksum(const struct rte_mbuf *m, const uint8_t *l3, bool v4)
{
	if (v4)
		return 0;
	uint32_t at = (uint32_t)m->l2_len + m->l3_len, l4_len = m->pkt_len - at;
	uint64_t sum = csum_pseudo6(l3, IPPROTO_UDP, l4_len);
	return csum_finish_udp(csum_mbuf(m, at, l4_len, sum));
}

// Lengths, checksums and flags of the outer header in front of m's data.
static void finish_outer(
	struct graph *g, struct rte_mbuf *m, const struct peer_path *path, uint8_t tos)
{
	const struct port *port = g->gw->port[path->port];
	bool v4 = path->family == IP_V4;
	uint32_t payload = m->pkt_len;
	uint8_t *outer = (uint8_t *)rte_pktmbuf_prepend(m, path->outer_len);
	memcpy(outer, path->outer + sizeof(path->outer) - path->outer_len, path->outer_len);
	uint8_t *l3 = outer + path->l2_len;
	uint32_t l3_len = v4 ? IP4_HDR_LEN : IP6_HDR_LEN;
	struct rte_udp_hdr *udp = (struct rte_udp_hdr *)(l3 + l3_len);
	uint32_t udp_len = payload + UDP_HDR_LEN;
	udp->dgram_len = rte_cpu_to_be_16((uint16_t)udp_len);
	if (v4) {
		struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)l3;
		ip->type_of_service = tos;
		ip->total_length = rte_cpu_to_be_16((uint16_t)(udp_len + IP4_HDR_LEN));
		ip->packet_id = rte_cpu_to_be_16(g->ip_id);
		g->ip_id = (uint16_t)(g->ip_id + m->nb_segs);
		csum_ip4_hdr_set(l3, IP4_HDR_LEN);
	} else {
		struct rte_ipv6_hdr *ip = (struct rte_ipv6_hdr *)l3;
		ip->vtc_flow |= rte_cpu_to_be_32((uint32_t)tos << 20);
		ip->payload_len = rte_cpu_to_be_16((uint16_t)udp_len);
	}
	m->l2_len = path->l2_len;
	m->l3_len = l3_len;
	m->l4_len = UDP_HDR_LEN;
	m->ol_flags |= v4 ? RTE_MBUF_F_TX_IPV4 : RTE_MBUF_F_TX_IPV6;
	if (port->tx_offloads & RTE_ETH_TX_OFFLOAD_UDP_CKSUM) {
		m->ol_flags |= RTE_MBUF_F_TX_UDP_CKSUM;
		udp->dgram_cksum = csum_fold(path->udp_pseudo + udp->dgram_len);
	} else {
		udp->dgram_cksum = udp_checksum(m, l3, v4);
	}
	pkt_of(m)->port_out = path->port;
}

static void emit(struct graph *g, struct rte_mbuf *m, const struct peer_path *path, uint8_t tos)
{
	finish_outer(g, m, path, tos);
	capture_copy(g, m, CAPTURE_WIRE_OUT, pkt_of(m)->peer);
	graph_to(g, NODE_TX, m);
}

static void chain_send(struct graph *g, struct chain *c)
{
	struct rte_mbuf *m = c->head;
	if (m->nb_segs > 1) {
		m->ol_flags |= RTE_MBUF_F_TX_UDP_SEG;
		m->tso_segsz = c->size;
		graph_count(g, COUNTER_BATCHES, 1);
		graph_count(g, COUNTER_DATAGRAMS_BATCHED, m->nb_segs);
	}
	emit(g, m, c->path, c->tos);
	*c = (struct chain){0};
}

static bool chain_fits(
	const struct chain *c, const struct rte_mbuf *m, const struct peer_path *path, uint8_t tos)
{
	return c->path == path && !c->closed && c->tos == tos && m->data_len <= c->size &&
	       c->head->nb_segs < CHAIN_SEGMENTS_MAX && c->bytes + m->data_len <= CHAIN_BYTES_MAX;
}

void wg_send(struct graph *g, struct rte_mbuf *m, const struct peer_path *path, uint8_t tos)
{
	if (unlikely(path->port == PORT_NONE)) {
		graph_drop(g, m, DROP_NO_ENDPOINT);
		return;
	}
	if (!(g->gw->port[path->port]->tx_offloads & RTE_ETH_TX_OFFLOAD_UDP_TSO)) {
		emit(g, m, path, tos);
		return;
	}
	struct chain *c = &g->state->chain[pkt_of(m)->peer->id % CHAINS];
	if (c->path && chain_fits(c, m, path, tos)) {
		c->tail->next = m;
		c->tail = m;
		c->head->nb_segs++;
		c->head->pkt_len += m->data_len;
		c->bytes += m->data_len;
		c->closed = m->data_len < c->size;
		return;
	}
	if (c->path)
		chain_send(g, c);
	*c = (struct chain){.path = path,
		.head = m,
		.tail = m,
		.bytes = m->data_len,
		.size = m->data_len,
		.tos = tos};
}

void wg_send_flush(struct graph *g)
{
	for (unsigned i = 0; i < CHAINS; i++) {
		if (g->state->chain[i].path)
			chain_send(g, &g->state->chain[i]);
	}
}
