// Data packets out: super-packets are segmented here, straight into the buffers that are sealed;
// header and padding by the WireGuard paper, 5.4.6.
#include "dataplane/node/capture.h"
#include "dataplane/node/node.h"
#include "dataplane/node/output.h"
#include "dataplane/node/state.h"
#include "dataplane/wire/geneve.h"
#include "dataplane/wire/ledger.h"
#include "dataplane/wire/wireguard.h"

enum {
	// In front of the plaintext: data header, and what wg_send writes for a path.
	HEADROOM = WG_DATA_HEADER_LEN + GENEVE_HEADER_LEN + sizeof(((struct peer_path *)0)->outer),
	TAILROOM = WG_PADDING + WG_TAG_LEN,
};
static_assert((unsigned)HEADROOM <= RTE_PKTMBUF_HEADROOM);

// A burst that is being collected for the AEAD, and what the packets of one peer add up to.
struct seal {
	struct aead_op op[AEAD_BURST];
	struct rte_mbuf *m[AEAD_BURST];
	unsigned n;
	uint16_t tunnel_mtu;
	uint16_t mtu; // of the peer: the limit of padding
	struct peer *peer;
	uint64_t packets, bytes, wire_bytes;
	bool any;
};

static void seal_run(struct graph *g, struct seal *s)
{
	aead_seal(g->aead, s->op, s->n);
	wg_send(g, s->m, s->n);
	s->n = 0;
}

// The peer's counters, once for a run of its packets.
static void write_counters(const struct graph *g, const struct seal *s)
{
	struct peer *peer = s->peer;
	if (!s->any)
		return;
	peer_count(&peer->tx_wire_bytes, s->wire_bytes);
	atomic_store_explicit(&peer->last_tx, g->now, memory_order_relaxed);
	if (s->packets == 0)
		return;
	peer_count(&peer->tx_packets, s->packets);
	peer_count(&peer->tx_bytes, s->bytes);
	atomic_store_explicit(&peer->last_tx_data, g->now, memory_order_relaxed);
}

// The packets from here on are another peer's.
static void switch_peer(const struct graph *g, struct seal *s, struct peer *peer)
{
	write_counters(g, s);
	s->peer = peer;
	const struct peer_path *path = atomic_load_explicit(&peer->path, memory_order_acquire);
	s->mtu = ledger_lower(s->tunnel_mtu, path->mtu);
	s->packets = s->bytes = s->wire_bytes = 0;
	s->any = false;
}

// Header, padding, operation. m: plaintext in one piece with room at both ends.
static void prepare(struct graph *g, struct seal *s, struct rte_mbuf *m)
{
	struct pkt *p = pkt_of(m);
	struct keypair *kp = p->keypair;
	uint32_t len = m->data_len;
	uint32_t padded = wg_padded_len(len, s->mtu);
	uint64_t counter = atomic_load_explicit(&kp->send_counter, memory_order_relaxed);
	atomic_store_explicit(&kp->send_counter, counter + 1, memory_order_relaxed);
	uint8_t *text = rte_pktmbuf_mtod(m, uint8_t *);
	// A fixed length: what is too much lies where the tag will.
	static_assert((unsigned)WG_PADDING <= (unsigned)WG_TAG_LEN);
	memset(text + len, 0, WG_PADDING);
	struct wg_data *h = (struct wg_data *)(text - WG_DATA_HEADER_LEN);
	*h = (struct wg_data){
		.type = wg_type_field(WG_TYPE_DATA),
		.receiver = rte_cpu_to_le_32(kp->remote_index),
		.counter = rte_cpu_to_le_64(counter),
	};
	m->data_off -= WG_DATA_HEADER_LEN;
	m->data_len = (uint16_t)(padded + WG_DATA_OVERHEAD);
	m->pkt_len = m->data_len;
	s->any = true;
	s->packets += len > 0;
	s->bytes += len;
	s->wire_bytes += m->data_len;
	s->op[s->n] = (struct aead_op){
		.data = text, .len = padded, .counter = counter, .key = kp->send_key};
	s->m[s->n++] = m;
	if (s->n == AEAD_BURST)
		seal_run(g, s);
}

static void segment(struct graph *g, struct seal *s, struct rte_mbuf *super)
{
	struct rte_mbuf *out[BURST];
	struct gso_iter it;
	struct pkt *p = pkt_of(super);
	struct rte_mempool *pool = pkt_pool(g->gw, pkt_wire_len(super, &p->ip) + TAILROOM);
	if (unlikely(gso_iter_init(&it, super, &p->ip, pool) < 0)) {
		graph_drop(g, super, DROP_SEGMENT);
		return;
	}
	unsigned made = 0;
	int n;
	while ((n = gso_iter_next(&it, out, BURST)) > 0) {
		for (int i = 0; i < n; i++) {
			pkt_inherit(out[i], super);
			pkt_of(out[i])->trace = i == 0 && made == 0 ? p->trace : 0;
			prepare(g, s, out[i]);
		}
		made += (unsigned)n;
	}
	if (n < 0)
		g->drops[DROP_NO_MBUF] += gso_iter_left(&it);
	graph_count(g, COUNTER_SUPERS_SEGMENTED, 1);
	graph_count(g, COUNTER_SEGMENTS_MADE, made);
	rte_pktmbuf_free(super);
}

// A packet in one piece that may be written around: itself, or a copy. NULL: counted.
static struct rte_mbuf *writable(struct graph *g, struct rte_mbuf *m)
{
	if (likely(RTE_MBUF_DIRECT(m) && m->nb_segs == 1 && rte_mbuf_refcnt_read(m) == 1 &&
		    rte_pktmbuf_headroom(m) >= HEADROOM && rte_pktmbuf_tailroom(m) >= TAILROOM))
		return m;
	struct rte_mbuf *copy = rte_pktmbuf_alloc(pkt_pool(g->gw, m->pkt_len + TAILROOM));
	if (unlikely(!copy) || rte_pktmbuf_tailroom(copy) < m->pkt_len + TAILROOM) {
		rte_pktmbuf_free(copy);
		graph_drop(g, m, DROP_NO_MBUF);
		return NULL;
	}
	char *to = rte_pktmbuf_append(copy, (uint16_t)m->pkt_len);
	const void *from = rte_pktmbuf_read(m, 0, m->pkt_len, to);
	if (from != to)
		memcpy(to, from, m->pkt_len);
	pkt_inherit(copy, m);
	rte_pktmbuf_free(m);
	return copy;
}

static void single(struct graph *g, struct seal *s, struct rte_mbuf *m)
{
	bool partial = (m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_NONE;
	if (partial && gso_csum_complete(m, &pkt_of(m)->ip) < 0) {
		graph_drop(g, m, DROP_SEGMENT);
		return;
	}
	m = writable(g, m);
	if (unlikely(!m))
		return;
	m->ol_flags = 0;
	if (unlikely(m->pkt_len == 0))
		graph_count(g, COUNTER_KEEPALIVES_TX, 1);
	prepare(g, s, m);
}

void node_wg_encrypt(struct graph *g, struct rte_mbuf **pkts, uint16_t n)
{
	struct seal s; // its arrays are filled before they are read
	s.n = 0;
	s.peer = NULL;
	s.any = false;
	s.tunnel_mtu = atomic_load_explicit(&g->gw->tunnel_mtu, memory_order_relaxed);
	for (unsigned i = 0; i < n; i++) {
		struct rte_mbuf *m = pkts[i];
		struct pkt *p = pkt_of(m);
		p->peer = p->keypair->peer;
		if (p->peer != s.peer)
			switch_peer(g, &s, p->peer);
		capture_copy(g, m, CAPTURE_PLAIN_OUT, p->peer);
		if (pkt_is_super(m))
			segment(g, &s, m);
		else
			single(g, &s, m);
	}
	seal_run(g, &s);
	write_counters(g, &s);
}
