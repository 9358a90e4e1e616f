// Fragments become whole packets before anything judges or translates them: what filtered peers
// send, and what comes for us or for addresses of the translation. Whole packets are cut again
// where they are too large for what they leave by (too_big). Packets that are no fragments never
// come here.
#include "dataplane/node/reassemble.h"

#include "dataplane/node/state.h"
#include "dataplane/wire/csum.h"

enum {
	FRAGMENT6_LEN = 8, // RFC 8200 4.5
	NEXT_HEADER_AT = 6,
	FLAGS4_AT = 6,
	ID4_AT = 4,
};

// Who sends: a peer, or the port's side.
static uint32_t origin_of(const struct pkt *p)
{
	return p->from == FROM_TUNNEL ? p->peer->id : UINT32_MAX - p->port_in;
}

static void read4(const uint8_t *l3, const struct ip_info *ip, struct fragment *f)
{
	rte_be16_t field, id;
	memcpy(&field, l3 + FLAGS4_AT, sizeof(field));
	memcpy(&id, l3 + ID4_AT, sizeof(id));
	uint16_t v = rte_be_to_cpu_16(field);
	f->head_len = ip->l3_len;
	f->data_at = ip->l3_len;
	f->offset = (uint16_t)((v & RTE_IPV4_HDR_OFFSET_MASK) * 8);
	f->more = v & RTE_IPV4_HDR_MF_FLAG;
	f->key.id = id;
	f->key.proto = ip->proto;
	memcpy(f->key.src, l3 + 12, 4);
	memcpy(f->key.dst, l3 + 16, 4);
}

static void read6(const uint8_t *l3, struct fragment *f)
{
	const uint8_t *ext = l3 + IP6_HDR_LEN;
	rte_be16_t field;
	memcpy(&field, ext + 2, sizeof(field));
	f->head_len = IP6_HDR_LEN;
	f->data_at = IP6_HDR_LEN + FRAGMENT6_LEN;
	f->offset = rte_be_to_cpu_16(field) & 0xfff8;
	f->more = rte_be_to_cpu_16(field) & 1;
	memcpy(&f->key.id, ext + 4, sizeof(f->key.id));
	memcpy(f->key.src, l3 + 8, 16);
	memcpy(f->key.dst, l3 + 24, 16);
}

// IPv6: the fragment header is the first one; what has others in front is not put together.
static bool is_plain6(const struct rte_mbuf *m)
{
	const uint8_t *l3 = rte_pktmbuf_mtod(m, const uint8_t *);
	return m->data_len >= IP6_HDR_LEN + FRAGMENT6_LEN && l3[NEXT_HEADER_AT] == IPPROTO_FRAGMENT;
}

static bool read_fragment(const struct rte_mbuf *m, const struct pkt *p, struct fragment *f)
{
	const uint8_t *l3 = rte_pktmbuf_mtod(m, const uint8_t *);
	*f = (struct fragment){.key = {.family = p->ip.family, .origin = origin_of(p)},
		.head = l3,
		.tos = p->ip.tos};
	if (p->ip.family == IP_V6 && !is_plain6(m))
		return false;
	if (p->ip.family == IP_V4)
		read4(l3, &p->ip, f);
	else
		read6(l3, f);
	if (p->ip.total_len < f->data_at)
		return false;
	f->len = (uint16_t)(p->ip.total_len - f->data_at);
	return true;
}

// The headers of one packet where there were those of fragments. next: IPv6's protocol behind the
// fragment header.
static void finish_head(uint8_t *l3, const struct fragment *f, uint32_t len, uint8_t next)
{
	if (f->key.family == IP_V4) {
		struct rte_ipv4_hdr *h = (struct rte_ipv4_hdr *)l3;
		h->total_length = rte_cpu_to_be_16((uint16_t)len);
		h->fragment_offset = 0; // nor DF: its sender let it be cut, so it may be again
		csum_ip4_hdr_set(l3, rte_ipv4_hdr_len(h));
		return;
	}
	struct rte_ipv6_hdr *h = (struct rte_ipv6_hdr *)l3;
	h->payload_len = rte_cpu_to_be_16((uint16_t)(len - IP6_HDR_LEN));
	h->proto = next;
}

// Its way through the graph is the one of the fragment that came last.
static void hand_on(struct graph *g, struct rte_mbuf *whole, const struct rte_mbuf *last)
{
	struct pkt *p = pkt_of(whole);
	const uint8_t *l3 = rte_pktmbuf_mtod(whole, const uint8_t *);
	pkt_inherit(whole, last);
	if (ip_parse(l3, whole->pkt_len, &p->ip) < 0) {
		graph_drop(g, whole, DROP_FRAGMENT_MALFORMED);
		return;
	}
	p->ip.flags |= IP_FLAG_WHOLE;
	graph_count(g, COUNTER_REASSEMBLED, 1);
	if (p->from == FROM_TUNNEL) {
		graph_to(g, NODE_FILTER, whole);
		return;
	}
	p->nexthop = fib_find(g->gw->fib, fib_address(l3, p->ip.family), p->ip.family);
	// An owned port's goes on to the kernel if it is nobody's: with its Ethernet header.
	if (rte_pktmbuf_headroom(last) >= L2_LEN)
		memcpy(rte_pktmbuf_mtod(whole, uint8_t *) - L2_LEN,
			rte_pktmbuf_mtod(last, const uint8_t *) - L2_LEN, L2_LEN);
	enum node_id node = NODE_COUNT;
	if (p->nexthop && p->nexthop->type == NH_LOCAL)
		node = node_of_datagram(g, whole, &p->ip);
	if (node != NODE_COUNT)
		handoff_to(g, whole, g->id, node); // which is an earlier node
	else if (g->nat_port_first <= g->nat_port_last &&
		 nat_is_return(g, whole, &p->ip, p->nexthop))
		graph_to(g, NODE_NAT_RETURN, whole);
	else
		leave_to_kernel(g, whole, true);
}

static void count_ended(struct graph *g)
{
	struct fragments_ended *e = fragments_ended(g->state->fragments);
	g->drops[DROP_FRAGMENT_TIMEOUT] += e->timeout;
	g->drops[DROP_FRAGMENT_FULL] += e->full;
	g->drops[DROP_FRAGMENT_OVERLAP] += e->refused;
	*e = (struct fragments_ended){0};
	g->fragment_buffers = fragments_buffers(g->state->fragments);
}

static void one(struct graph *g, struct rte_mbuf *m)
{
	static const enum drop_reason drops[] = {
		[FRAGMENT_MALFORMED] = DROP_FRAGMENT_MALFORMED,
		[FRAGMENT_OVERLAP] = DROP_FRAGMENT_OVERLAP,
		[FRAGMENT_NO_BUFFER] = DROP_NO_MBUF,
	};
	const struct pkt *p = pkt_of(m);
	struct rte_mbuf *whole;
	struct fragment f;
	if (pkt_is_super(m) || !read_fragment(m, p, &f)) {
		graph_drop(g, m, DROP_FRAGMENT_MALFORMED);
		return;
	}
	enum fragment_verdict v =
		fragments_add(g->state->fragments, &f, m, g->now, g->gw->super_pool, &whole);
	if (v > FRAGMENT_COPY) {
		graph_drop(g, m, drops[v]);
		return;
	}
	if (v == FRAGMENT_WHOLE) {
		const uint8_t *l3 = rte_pktmbuf_mtod(m, const uint8_t *);
		finish_head(
			rte_pktmbuf_mtod(whole, uint8_t *), &f, whole->pkt_len, l3[IP6_HDR_LEN]);
		hand_on(g, whole, m);
	}
	rte_pktmbuf_free(m);
}

void node_reassemble(struct graph *g, struct rte_mbuf **pkts, uint16_t n)
{
	for (unsigned i = 0; i < n; i++)
		one(g, pkts[i]);
	count_ended(g);
	g->state->collecting |= STATE_FRAGMENTS;
}

void reassemble_flush(struct graph *g)
{
	if (!fragments_expire(g->state->fragments, g->now))
		g->state->collecting &= ~(unsigned)STATE_FRAGMENTS;
	count_ended(g);
}

static bool is_for_nat(const struct graph *g, const struct nexthop *nh)
{
	const struct nat_config *c = atomic_load_explicit(&g->gw->nat, memory_order_acquire);
	return (nh && nh->type == NH_LOCAL) || (c && c->n_pool > 0);
}

bool reassemble_return(struct graph *g, struct rte_mbuf *m, const struct nexthop *nh)
{
	const struct pkt *p = pkt_of(m);
	struct fragment f;
	if (!is_for_nat(g, nh) || pkt_is_super(m) || !read_fragment(m, p, &f))
		return false;
	uint32_t hash = f.key.id;
	for (unsigned i = 0; i < sizeof(f.key.src); i += sizeof(hash)) {
		uint32_t src, dst;
		memcpy(&src, f.key.src + i, sizeof(src));
		memcpy(&dst, f.key.dst + i, sizeof(dst));
		hash = (hash ^ src ^ rte_bswap32(dst)) * 2654435761u;
	}
	uint16_t owner = (uint16_t)((hash >> 16) % g->gw->n_workers);
	if (owner == g->id)
		graph_to(g, NODE_REASSEMBLE, m);
	else
		handoff_to(g, m, owner, NODE_REASSEMBLE);
	return true;
}

// -- and apart again ------------------------------------------------------------------------------

static struct rte_mbuf *cut6(struct graph *g, const struct rte_mbuf *m, uint32_t at, uint32_t len,
	bool more, rte_be32_t id)
{
	uint32_t room = IP6_HDR_LEN + FRAGMENT6_LEN + len;
	const uint8_t *l3 = rte_pktmbuf_mtod(m, const uint8_t *);
	struct rte_mbuf *out = rte_pktmbuf_alloc(pkt_pool(g->gw, room));
	if (!out)
		return NULL;
	uint8_t *to = (uint8_t *)rte_pktmbuf_append(out, (uint16_t)room);
	uint8_t *ext = to + IP6_HDR_LEN;
	rte_be16_t payload = rte_cpu_to_be_16((uint16_t)(FRAGMENT6_LEN + len));
	rte_be16_t offset = rte_cpu_to_be_16((uint16_t)(at | more));
	memcpy(to, l3, IP6_HDR_LEN);
	memcpy(to + 4, &payload, sizeof(payload));
	to[NEXT_HEADER_AT] = IPPROTO_FRAGMENT;
	ext[0] = l3[NEXT_HEADER_AT];
	ext[1] = 0;
	memcpy(ext + 2, &offset, sizeof(offset));
	memcpy(ext + 4, &id, sizeof(id));
	memcpy(ext + FRAGMENT6_LEN, l3 + IP6_HDR_LEN + at, len);
	return out;
}

void fragment_again6(struct graph *g, struct rte_mbuf *m, uint16_t mtu, enum node_id node)
{
	uint32_t total = m->pkt_len - IP6_HDR_LEN, len;
	uint32_t most = (RTE_MIN(mtu, FRAGMENT_AGAIN6_MTU) - IP6_HDR_LEN - FRAGMENT6_LEN) & ~7u;
	rte_be32_t id = rte_cpu_to_be_32(++g->state->fragment_id);
	for (uint32_t at = 0; at < total; at += len) {
		len = RTE_MIN(most, total - at);
		struct rte_mbuf *out = cut6(g, m, at, len, at + len < total, id);
		if (!out) {
			g->drops[DROP_NO_MBUF]++;
			break;
		}
		pkt_inherit(out, m);
		if (ip_parse(rte_pktmbuf_mtod(out, uint8_t *), out->pkt_len, &pkt_of(out)->ip) < 0)
			graph_drop(g, out, DROP_IP_MALFORMED);
		else
			graph_to(g, node, out);
	}
	graph_count(g, COUNTER_FRAGMENTED, 1);
	rte_pktmbuf_free(m);
}
