// Data packets in: open a burst in place, then replay window, inner header, allowed source.
// Layout and order of the checks: WireGuard paper 5.4.6; the kernel's receive.c.
#include "dataplane/node/capture.h"
#include "dataplane/node/node.h"
#include "dataplane/node/output.h"
#include "dataplane/wire/csum.h"
#include "dataplane/wire/wireguard.h"

// What a run of packets of one peer adds up to, written once per run.
struct tally {
	struct peer *peer;
	uint64_t packets, wire_bytes, bytes;
	bool data;
	enum node_id next; // where the peer's packets go
};

static void tally_write(const struct graph *g, struct tally *t)
{
	struct peer *peer = t->peer;
	if (!peer || t->wire_bytes == 0)
		return;
	peer_count(&peer->rx_packets, t->packets);
	peer_count(&peer->rx_bytes, t->bytes);
	peer_count(&peer->rx_wire_bytes, t->wire_bytes);
	atomic_store_explicit(&peer->last_rx, g->now, memory_order_relaxed);
	if (t->data)
		atomic_store_explicit(&peer->last_rx_data, g->now, memory_order_relaxed);
}

static void tally_switch(const struct graph *g, struct tally *t, struct peer *peer)
{
	tally_write(g, t);
	bool filtered = atomic_load_explicit(&peer->filtered, memory_order_relaxed);
	*t = (struct tally){.peer = peer, .next = filtered ? NODE_FILTER : NODE_OVERLAY};
}

// First authentic packet of a keypair that we answered for: the initiator has it too.
static void confirm(struct graph *g, struct keypair *kp)
{
	if (atomic_load_explicit(&kp->confirmed, memory_order_relaxed))
		return;
	struct worker_event e = {
		.type = EVENT_CONFIRMED,
		.peer_id = kp->peer->id,
		.index = kp->local_index,
		.worker = g->id,
	};
	if (event_send(g, &e))
		atomic_store_explicit(&kp->confirmed, true, memory_order_relaxed);
}

static void ask_rekey(struct graph *g, struct keypair *kp)
{
	struct peer *peer = kp->peer;
	// What comes late on the one before asks for nothing: there is a newer.
	if (kp->initiator && g->now >= kp->rekey_recv_at &&
		atomic_load_explicit(&peer->sending, memory_order_relaxed) == kp)
		peer_ask(g, peer, EVENT_NEED_HANDSHAKE, kp->local_index);
}

static struct endpoint outer_source(const uint8_t *outer, struct ip_addr *local)
{
	struct endpoint e = {0};
	struct ip_info info;
	if (ip_parse(outer, UINT32_MAX, &info) < 0) // it was sound when it came
		return e;
	bool v4 = info.family == IP_V4;
	const struct rte_udp_hdr *udp = (const void *)(outer + info.l3_len);
	e.addr = v4 ? ip_addr_v4(outer + 12) : ip_addr_v6(outer + 8);
	*local = v4 ? ip_addr_v4(outer + 16) : ip_addr_v6(outer + 24);
	e.port = rte_be_to_cpu_16(udp->src_port);
	return e;
}

// A packet from where we send to, to where we send from: told by the few bytes that say so.
static bool is_from_path(const struct peer_path *path, const uint8_t *outer)
{
	const struct ip_addr *remote = &path->remote.addr, *local = &path->local;
	rte_be16_t port = rte_cpu_to_be_16(path->remote.port);
	if (outer[0] == 0x45 && remote->family == IP_V4)
		return memcmp(outer + 12, remote->bytes, 4) == 0 &&
		       memcmp(outer + 16, local->bytes, 4) == 0 &&
		       memcmp(outer + IP4_HDR_LEN, &port, 2) == 0;
	if (outer[0] >> 4 == 6 && outer[6] == IPPROTO_UDP && remote->family == IP_V6)
		return memcmp(outer + 8, remote->bytes, 16) == 0 &&
		       memcmp(outer + 24, local->bytes, 16) == 0 &&
		       memcmp(outer + IP6_HDR_LEN, &port, 2) == 0;
	return false;
}

// Where a datagram in IPv4 came from, and to which of our addresses; as they lie in its headers.
struct source4 {
	uint64_t addrs;
	uint16_t port;
};

// Whether it came from where the last one did, which it is from now on. IPv6 and options: false.
static bool is_same_source(struct source4 *last, const uint8_t *outer)
{
	struct source4 s;
	if (outer[0] != 0x45)
		return false;
	memcpy(&s.addrs, outer + 12, sizeof(s.addrs));
	memcpy(&s.port, outer + IP4_HDR_LEN, sizeof(s.port));
	if (likely(s.addrs == last->addrs && s.port == last->port))
		return true;
	*last = s;
	return false;
}

// Through a peer relay the source is the relay's.
static bool is_relayed(const uint8_t *outer)
{
	const uint32_t l3_len = outer[0] >> 4 == 4 ? (outer[0] & 15) * 4u : IP6_HDR_LEN;
	return outer[l3_len + UDP_HDR_LEN] != WG_TYPE_DATA;
}

// The peer moved when an authentic packet comes from elsewhere than we send to. (Paper 2.1) Of a
// peer in a tailnet that is not followed, but news while it is reached over DERP.
static void follow(struct graph *g, const struct pkt *p)
{
	struct peer *peer = p->peer;
	const struct peer_path *path = atomic_load_explicit(&peer->path, memory_order_acquire);
	if (likely(is_from_path(path, p->outer)) ||
		p->from == FROM_SELF || // over DERP: its outer header is made up
		!(atomic_load_explicit(&peer->roaming, memory_order_relaxed) ||
			(path->derp && !is_relayed(p->outer))))
		return;
	struct worker_event e = {
		.type = EVENT_ROAM,
		.peer_id = peer->id,
		.index = p->keypair->local_index,
		.worker = g->id,
	};
	e.source = outer_source(p->outer, &e.local);
	if (unlikely(e.source.port == 0))
		return;
	bool same =
		endpoint_equal(&path->remote, &e.source) && ip_addr_equal(&path->local, &e.local);
	if (same || g->now - peer->told_roam < event_pause(g))
		return;
	if (event_send(g, &e))
		peer->told_roam = g->now;
}

// What the burst's packets have in common, mostly.
struct opened {
	struct tally tally;
	struct peer_cache cache;
	const struct keypair *keypair; // of the last one
	struct source4 source;	       // likewise
	struct last_addr asked;	       // memory, for its next hop
};

// An authentic packet, header and tag still on it. Returns its way; NODE_COUNT: it has ended.
static enum node_id admit(struct graph *g, struct rte_mbuf *m, struct opened *o)
{
	struct pkt *p = pkt_of(m);
	struct tally *t = &o->tally;
	uint16_t len = (uint16_t)(m->data_len - WG_DATA_OVERHEAD);
	t->wire_bytes += m->data_len;
	m->data_off += WG_DATA_HEADER_LEN;
	m->data_len = len;
	m->pkt_len = len;
	if (unlikely(len == 0)) {
		graph_count(g, COUNTER_KEEPALIVES_RX, 1);
		rte_pktmbuf_free(m);
		return NODE_COUNT;
	}
	uint8_t *inner = rte_pktmbuf_mtod(m, uint8_t *);
	t->data = true;
	if (unlikely(ip_parse(inner, len, &p->ip) < 0)) {
		graph_drop(g, m, DROP_WG_INNER);
		return NODE_COUNT;
	}
	m->data_len = (uint16_t)p->ip.total_len; // cut the padding off
	m->pkt_len = p->ip.total_len;
	if (unlikely(p->ip.family == IP_V4 && !csum_ip4_hdr_ok(inner, p->ip.l3_len))) {
		graph_drop(g, m, DROP_IP_CHECKSUM);
		return NODE_COUNT;
	}
	if (addr_is_new(&o->asked, fib_address(inner, p->ip.family), p->ip.family))
		fib_ask_root(g->gw->fib, inner, p->ip.family);
	const uint8_t *src = inner + (p->ip.family == IP_V4 ? 12 : 8);
	if (unlikely(peer_cached(g->gw->allowed, &o->cache, src, p->ip.family) != p->peer)) {
		graph_drop(g, m, DROP_WG_SOURCE);
		return NODE_COUNT;
	}
	if (unlikely(!ecn_decapsulate(p->outer, inner, &p->ip))) {
		graph_drop(g, m, DROP_WG_ECN);
		return NODE_COUNT;
	}
	t->packets++;
	t->bytes += m->pkt_len;
	p->from = FROM_TUNNEL;
	m->l2_len = 0;
	capture_copy(g, m, CAPTURE_PLAIN_IN, p->peer);
	m->ol_flags &= PKT_BUFFER_FLAGS;
	// What is judged is judged whole.
	bool fragment = p->ip.flags & IP_FLAG_FRAG && t->next == NODE_FILTER;
	return unlikely(fragment) ? NODE_REASSEMBLE : t->next;
}

// A counter that was seen, or that no message has.
static __rte_noinline void not_new(struct graph *g, struct rte_mbuf *m)
{
	if (pkt_of(m)->counter != WG_PROBE_COUNTER) {
		graph_drop(g, m, DROP_WG_REPLAY);
		return;
	}
	graph_count(g, COUNTER_PROBES_RX, 1);
	rte_pktmbuf_free(m);
}

// Packets worth decrypting, in order: the rest is dropped and counted.
static unsigned gather(struct graph *g, struct rte_mbuf **pkts, uint16_t n, struct aead_op *ops)
{
	unsigned kept = 0;
	for (unsigned i = 0; i < n; i++) {
		struct rte_mbuf *m = pkts[i];
		const struct pkt *p = pkt_of(m);
		struct keypair *kp = p->keypair;
		if (unlikely(g->now >= kp->reject_at)) {
			graph_drop(g, m, DROP_WG_EXPIRED);
			continue;
		}
		if (unlikely(!replay_check(&kp->replay, p->counter))) {
			not_new(g, m);
			continue;
		}
		ops[kept] = (struct aead_op){
			.data = rte_pktmbuf_mtod_offset(m, uint8_t *, WG_DATA_HEADER_LEN),
			.len = m->data_len - WG_DATA_OVERHEAD,
			.counter = p->counter,
			.key = kp->recv_key,
		};
		pkts[kept++] = m;
	}
	return kept;
}

// A packet that was opened: its way, or NODE_COUNT.
static enum node_id settle(struct graph *g, struct rte_mbuf *m, bool authentic, struct opened *o)
{
	struct pkt *p = pkt_of(m);
	if (unlikely(!authentic)) {
		graph_drop(g, m, DROP_WG_AUTH);
		return NODE_COUNT;
	}
	if (unlikely(!replay_update(&p->keypair->replay, p->counter))) {
		graph_drop(g, m, DROP_WG_REPLAY);
		return NODE_COUNT;
	}
	if (unlikely(o->keypair != p->keypair)) {
		o->keypair = p->keypair;
		o->source = (struct source4){0};
		tally_switch(g, &o->tally, p->peer);
		confirm(g, p->keypair);
		ask_rekey(g, p->keypair);
	}
	if (unlikely(!is_same_source(&o->source, p->outer)))
		follow(g, p);
	return admit(g, m, o);
}

void node_wg_decrypt(struct graph *g, struct rte_mbuf **pkts, uint16_t n)
{
	struct aead_op ops[AEAD_BURST];
	struct opened o = {0};
	struct graph_way way = {pkts, NODE_COUNT};
	unsigned kept = gather(g, pkts, n, ops);
	if (kept == 0)
		return;
	uint64_t authentic = aead_open(g->aead, ops, kept);
	for (unsigned i = 0; i < kept; i++)
		graph_go(g, &way, &pkts[i], settle(g, pkts[i], authentic >> i & 1, &o));
	graph_go(g, &way, &pkts[kept], NODE_COUNT);
	tally_write(g, &o.tally);
}
static_assert((unsigned)AEAD_BURST >= (unsigned)BURST);
