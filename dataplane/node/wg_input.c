// WireGuard datagrams from the wire: take super-datagrams apart where they lie, send handshakes and
// disco up and data on to decryption, by receiver index, on the worker that owns the peer.
#include "dataplane/base/mailbox.h"
#include "dataplane/node/capture.h"
#include "dataplane/node/node.h"
#include "dataplane/node/output.h"
#include "dataplane/wire/classify_udp.h"
#include "dataplane/wire/wireguard.h"

struct index_cache {
	uint32_t index;
	struct keypair *keypair;
};

static bool is_handshake(const uint8_t *message, uint32_t len)
{
	rte_le32_t type;
	if (len < WG_COOKIE_REPLY_LEN)
		return false;
	memcpy(&type, message, sizeof(type));
	return (type == wg_type_field(WG_TYPE_INITIATION) && len == WG_INITIATION_LEN) ||
	       (type == wg_type_field(WG_TYPE_RESPONSE) && len == WG_RESPONSE_LEN) ||
	       (type == wg_type_field(WG_TYPE_COOKIE) && len == WG_COOKIE_REPLY_LEN);
}

static bool is_data(const struct rte_mbuf *m)
{
	return m->data_len >= WG_DATA_MIN_LEN &&
	       rte_pktmbuf_mtod(m, const struct wg_data *)->type == wg_type_field(WG_TYPE_DATA);
}

// m's data is a data message. Returns its way; NODE_COUNT: it has ended, or is elsewhere.
static __rte_always_inline enum node_id data(
	struct graph *g, struct rte_mbuf *m, const uint8_t *outer, struct index_cache *cache)
{
	const struct wg_data *h = rte_pktmbuf_mtod(m, const struct wg_data *);
	struct pkt *p = pkt_of(m);
	uint32_t index = rte_le_to_cpu_32(h->receiver);
	if (unlikely(cache->keypair == NULL || cache->index != index))
		*cache = (struct index_cache){index, index_lookup(g->gw->index, index)};
	struct keypair *kp = cache->keypair;
	if (unlikely(!kp)) {
		graph_drop(g, m, DROP_WG_INDEX);
		return NODE_COUNT;
	}
	p->keypair = kp;
	p->peer = kp->peer;
	p->outer = outer;
	p->counter = rte_le_to_cpu_64(h->counter);
	if (likely(kp->peer->owner == g->id))
		return NODE_WG_DECRYPT;
	handoff(g, m, NODE_WG_DECRYPT);
	return NODE_COUNT;
}

static void up(struct graph *g, struct rte_mbuf *m, enum punt_reason reason, const uint8_t *outer,
	uint32_t outer_len)
{
	punt_copy(g, m, reason, outer, outer_len);
	rte_pktmbuf_free(m);
}

// From a peer relay: WireGuard behind a Geneve header, which the control thread wants to see.
static enum node_id relayed(struct graph *g, struct rte_mbuf *m, const uint8_t *outer,
	uint32_t outer_len, struct index_cache *cache)
{
	const struct geneve_header *h = rte_pktmbuf_mtod(m, const struct geneve_header *);
	bool sound = h->version_options == 0 && !geneve_is_control(h) && geneve_vni(h) != 0;
	if (sound && is_handshake((const uint8_t *)(h + 1), m->data_len - GENEVE_HEADER_LEN)) {
		up(g, m, PUNT_DATAGRAM, outer, outer_len);
		return NODE_COUNT;
	}
	rte_pktmbuf_adj(m, GENEVE_HEADER_LEN);
	if (sound && is_data(m))
		return data(g, m, outer, cache);
	graph_drop(g, m, DROP_WG_MALFORMED);
	return NODE_COUNT;
}

// Anything but data without a Geneve header; kept out of the way of that.
static __rte_noinline enum node_id other(struct graph *g, struct rte_mbuf *m, const uint8_t *outer,
	uint32_t outer_len, struct index_cache *cache)
{
	const uint8_t *payload = rte_pktmbuf_mtod(m, const uint8_t *);
	enum udp_class class = UDP_WIREGUARD;
	if (atomic_load_explicit(&g->gw->disco, memory_order_relaxed))
		class = udp_classify(payload, m->data_len);
	if (class == UDP_GENEVE_WIREGUARD)
		return relayed(g, m, outer, outer_len, cache);
	if (class != UDP_WIREGUARD)
		up(g, m, PUNT_DISCO, outer, outer_len);
	else if (is_handshake(payload, m->data_len))
		up(g, m, PUNT_DATAGRAM, outer, outer_len);
	else
		graph_drop(g, m, DROP_WG_MALFORMED);
	return NODE_COUNT;
}

// m's data is one UDP payload; outer is its IP header, outer_len bytes up to the payload.
static enum node_id datagram(struct graph *g, struct rte_mbuf *m, const uint8_t *outer,
	uint32_t outer_len, struct index_cache *cache)
{
	return likely(is_data(m)) ? data(g, m, outer, cache) : other(g, m, outer, outer_len, cache);
}

// A fresh mbuf becomes a view of len bytes at offset off of m's first segment, on the reference
// that the caller has taken. m is direct.
static void view(struct rte_mbuf *s, struct rte_mbuf *m, uint32_t off, uint32_t len)
{
	s->buf_addr = m->buf_addr;
	rte_mbuf_iova_set(s, rte_mbuf_iova_get(m));
	s->buf_len = m->buf_len;
	s->priv_size = m->priv_size;
	s->ol_flags = RTE_MBUF_F_INDIRECT;
	s->port = m->port;
	s->data_off = (uint16_t)(m->data_off + off);
	s->data_len = (uint16_t)len;
	s->pkt_len = len;
}

// The datagram of len bytes at offset off as a copy, the outer headers in front of its data. NULL:
// counted.
static struct rte_mbuf *copy_out(
	struct graph *g, const struct rte_mbuf *m, uint32_t outer_len, uint32_t off, uint32_t len)
{
	struct rte_mbuf *s = rte_pktmbuf_alloc(pkt_pool(g->gw, outer_len + len));
	char *to = s ? rte_pktmbuf_append(s, (uint16_t)(outer_len + len)) : NULL;
	if (unlikely(!to)) {
		g->drops[s ? DROP_WG_MALFORMED : DROP_NO_MBUF]++;
		rte_pktmbuf_free(s);
		return NULL;
	}
	pkt_inherit(s, m);
	memcpy(to, rte_pktmbuf_mtod(m, void *), outer_len);
	const void *from = rte_pktmbuf_read(m, off, len, to + outer_len);
	if (from != to + outer_len)
		memcpy(to + outer_len, from, len);
	rte_pktmbuf_adj(s, (uint16_t)outer_len);
	return s;
}

// The n datagrams of size bytes each, the last may be shorter, from offset off on: views, but for
// one that does not lie in the first segment alone.
static void slice(struct graph *g, struct rte_mbuf *m, struct rte_mbuf **s, uint32_t n,
	uint32_t outer_len, uint32_t off, struct index_cache *cache)
{
	const uint8_t *outer = rte_pktmbuf_mtod(m, const uint8_t *);
	uint32_t size = m->tso_segsz;
	bool direct = RTE_MBUF_DIRECT(m);
	struct graph_way way = {s, NODE_COUNT};
	for (uint32_t i = 0; i < n; i++, off += size) {
		uint32_t len = RTE_MIN(size, m->pkt_len - off);
		const uint8_t *header = outer;
		if (likely(direct && off + len <= m->data_len)) {
			rte_prefetch0(rte_pktmbuf_mtod_offset(m, char *, off + size));
			view(s[i], m, off, len);
			pkt_inherit(s[i], m);
		} else {
			// m's own reference instead of the view's
			rte_mbuf_refcnt_update(m, -(int)direct);
			rte_pktmbuf_free(s[i]);
			s[i] = copy_out(g, m, outer_len, off, len);
			if (s[i])
				header = rte_pktmbuf_mtod(s[i], uint8_t *) - outer_len;
		}
		graph_go(g, &way, &s[i],
			likely(s[i]) ? datagram(g, s[i], header, outer_len, cache) : NODE_COUNT);
		pkt_of(m)->trace = 0; // the first datagram stands for all
	}
	graph_go(g, &way, &s[n], NODE_COUNT);
}

// A run of datagrams of tso_segsz bytes each, the last may be shorter (kernel: UDP GRO).
static void split(struct graph *g, struct rte_mbuf *m, struct index_cache *cache)
{
	struct rte_mbuf *s[BURST];
	uint32_t outer_len = pkt_of(m)->ip.l3_len + UDP_HDR_LEN;
	uint32_t size = m->tso_segsz;
	if (size < WG_DATA_MIN_LEN) {
		graph_drop(g, m, DROP_WG_MALFORMED);
		return;
	}
	for (uint32_t off = outer_len, n; off < m->pkt_len; off += n * size) {
		uint32_t left = (m->pkt_len - off + size - 1) / size;
		n = RTE_MIN(left, (uint32_t)BURST);
		if (unlikely(rte_pktmbuf_alloc_bulk(g->gw->pool, s, n) != 0)) {
			g->drops[DROP_NO_MBUF] += left;
			break;
		}
		if (RTE_MBUF_DIRECT(m))
			rte_mbuf_refcnt_update(m, (int16_t)n); // at once for all views
		slice(g, m, s, n, outer_len, off, cache);
		graph_count(g, COUNTER_DATAGRAMS_SPLIT, n);
	}
	rte_pktmbuf_free(m); // the views keep the buffer
}

// The UDP payload of a packet that is no run of datagrams: where it lies, or copied into one piece
// (some drivers receive into several segments), which takes its place in the burst.
static enum node_id single(struct graph *g, struct rte_mbuf **at, struct index_cache *cache)
{
	struct rte_mbuf *m = *at;
	uint32_t l3_len = pkt_of(m)->ip.l3_len, outer_len = l3_len + UDP_HDR_LEN;
	const uint8_t *outer = rte_pktmbuf_mtod(m, const uint8_t *);
	const struct rte_udp_hdr *udp = (const struct rte_udp_hdr *)(outer + l3_len);
	if (unlikely(rte_be_to_cpu_16(udp->dgram_len) != m->pkt_len - l3_len)) {
		graph_drop(g, m, DROP_WG_MALFORMED);
		return NODE_COUNT;
	}
	if (unlikely(m->nb_segs > 1)) {
		*at = copy_out(g, m, outer_len, outer_len, m->pkt_len - outer_len);
		rte_pktmbuf_free(m);
		m = *at;
		if (!m)
			return NODE_COUNT;
		outer = rte_pktmbuf_mtod(m, uint8_t *) - outer_len;
	} else {
		rte_pktmbuf_adj(m, (uint16_t)outer_len);
	}
	return datagram(g, m, outer, outer_len, cache);
}

void node_wg_input(struct graph *g, struct rte_mbuf **pkts, uint16_t n)
{
	struct index_cache cache = {0};
	struct graph_way way = {pkts, NODE_COUNT};
	for (unsigned i = 0; i < n; i++) {
		capture_copy(g, pkts[i], CAPTURE_WIRE_IN, NULL);
		if (pkt_is_super(pkts[i])) {
			graph_go(g, &way, &pkts[i], NODE_COUNT); // its datagrams go behind these
			split(g, pkts[i], &cache);
		} else {
			graph_go(g, &way, &pkts[i], single(g, &pkts[i], &cache));
		}
	}
	graph_go(g, &way, &pkts[n], NODE_COUNT);
}
