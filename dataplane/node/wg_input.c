// WireGuard datagrams from the wire: take super-datagrams apart where they lie, send handshakes up
// and data on to decryption, by receiver index, on the worker that owns the peer.
#include "dataplane/base/mailbox.h"
#include "dataplane/node/node.h"
#include "dataplane/node/output.h"
#include "dataplane/wire/wireguard.h"

struct index_cache {
	uint32_t index;
	struct keypair *keypair;
};

// Copy what the control thread needs, so that no receive buffer waits for it: m's data becomes
// the outer IP and UDP header and the message.
static void punt_handshake(
	struct graph *g, struct rte_mbuf *m, const uint8_t *outer, uint32_t outer_len)
{
	struct rte_mbuf *copy = pkt_alloc(g);
	if (copy) {
		pkt_inherit(copy, m);
		pkt_of(copy)->reason = PUNT_WG_HANDSHAKE;
		pkt_of(copy)->outer = NULL;
		char *to = rte_pktmbuf_append(copy, (uint16_t)(outer_len + m->data_len));
		memcpy(to, outer, outer_len);
		memcpy(to + outer_len, rte_pktmbuf_mtod(m, void *), m->data_len);
		graph_to(g, NODE_PUNT, copy);
	}
	rte_pktmbuf_free(m);
}

static bool is_handshake(const struct rte_mbuf *m, rte_le32_t type)
{
	return (type == wg_type_field(WG_TYPE_INITIATION) && m->data_len == WG_INITIATION_LEN) ||
	       (type == wg_type_field(WG_TYPE_RESPONSE) && m->data_len == WG_RESPONSE_LEN) ||
	       (type == wg_type_field(WG_TYPE_COOKIE) && m->data_len == WG_COOKIE_REPLY_LEN);
}

// m's data is one UDP payload; outer is its IP header, outer_len bytes up to the payload.
static void datagram(struct graph *g, struct rte_mbuf *m, const uint8_t *outer, uint32_t outer_len,
	struct index_cache *cache)
{
	const struct wg_data *h = rte_pktmbuf_mtod(m, const struct wg_data *);
	struct pkt *p = pkt_of(m);
	if (m->data_len < WG_DATA_MIN_LEN || h->type != wg_type_field(WG_TYPE_DATA)) {
		if (m->data_len >= WG_COOKIE_REPLY_LEN && is_handshake(m, h->type))
			punt_handshake(g, m, outer, outer_len);
		else
			graph_drop(g, m, DROP_WG_MALFORMED);
		return;
	}
	uint32_t index = rte_le_to_cpu_32(h->receiver);
	if (cache->keypair == NULL || cache->index != index)
		*cache = (struct index_cache){index, index_lookup(g->gw->index, index)};
	struct keypair *kp = cache->keypair;
	if (unlikely(!kp)) {
		graph_drop(g, m, DROP_WG_INDEX);
		return;
	}
	p->keypair = kp;
	p->peer = kp->peer;
	p->outer = outer;
	p->counter = rte_le_to_cpu_64(h->counter);
	if (unlikely(kp->peer->owner != g->id))
		handoff(g, m, NODE_WG_DECRYPT);
	else
		graph_to(g, NODE_WG_DECRYPT, m);
}

// A datagram of len bytes at offset off of m: a view into the same buffer, or a copy where it
// crosses into the next segment. NULL: counted.
static struct rte_mbuf *slice(struct graph *g, struct rte_mbuf *m, uint32_t off, uint32_t len)
{
	struct rte_mbuf *s = pkt_alloc(g);
	if (unlikely(!s))
		return NULL;
	pkt_inherit(s, m);
	if (likely(off + len <= m->data_len)) {
		rte_pktmbuf_attach(s, m);
		s->data_off = (uint16_t)(m->data_off + off);
		s->data_len = (uint16_t)len;
		s->pkt_len = len;
		s->nb_segs = 1;
		s->next = NULL;
		s->ol_flags &= RTE_MBUF_F_INDIRECT;
		return s;
	}
	char *to = rte_pktmbuf_append(s, (uint16_t)len);
	const void *from = to ? rte_pktmbuf_read(m, off, len, to) : NULL;
	if (unlikely(!from)) {
		graph_drop(g, s, DROP_WG_MALFORMED);
		return NULL;
	}
	if (from != to)
		memcpy(to, from, len);
	return s;
}

// A run of datagrams of tso_segsz bytes each, the last may be shorter (kernel: UDP GRO).
static void split(struct graph *g, struct rte_mbuf *m, struct index_cache *cache)
{
	const uint8_t *outer = rte_pktmbuf_mtod(m, const uint8_t *);
	uint32_t outer_len = pkt_of(m)->ip.l3_len + UDP_HDR_LEN;
	uint32_t size = m->tso_segsz;
	if (size < WG_DATA_MIN_LEN) {
		graph_drop(g, m, DROP_WG_MALFORMED);
		return;
	}
	for (uint32_t off = outer_len; off < m->pkt_len; off += size) {
		uint32_t len = RTE_MIN(size, m->pkt_len - off);
		struct rte_mbuf *s = slice(g, m, off, len);
		if (!s)
			break;
		graph_count(g, COUNTER_DATAGRAMS_SPLIT, 1);
		datagram(g, s, outer, outer_len, cache);
	}
	rte_pktmbuf_free(m); // the views keep the buffer
}

// One datagram that lies in several segments, as some drivers receive: into one piece.
static struct rte_mbuf *in_one_piece(struct graph *g, struct rte_mbuf *m)
{
	struct rte_mbuf *s = slice(g, m, 0, m->pkt_len);
	rte_pktmbuf_free(m);
	return s;
}

void node_wg_input(struct graph *g, struct rte_mbuf **pkts, uint16_t n)
{
	struct index_cache cache = {0};
	for (unsigned i = 0; i < n; i++) {
		struct rte_mbuf *m = pkts[i];
		if (pkt_is_super(m)) {
			split(g, m, &cache);
			continue;
		}
		if (m->nb_segs > 1 && !(m = in_one_piece(g, m)))
			continue;
		const uint8_t *outer = rte_pktmbuf_mtod(m, const uint8_t *);
		uint32_t outer_len = pkt_of(m)->ip.l3_len + UDP_HDR_LEN;
		rte_pktmbuf_adj(m, (uint16_t)outer_len);
		datagram(g, m, outer, outer_len, &cache);
	}
}
