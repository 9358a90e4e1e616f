// Coalescing held against a reference: the rules of gso.h, one after the other, on flat bytes. Each
// packet is given to both; what comes out of a flush must be the reference's groups, in its order,
// and must come apart again into the packets that went in.
#pragma once

#include "dataplane/port/gso.h"
#include "tests/unit/flows.h"

#include <setjmp.h>
#include <stdarg.h>
// after the above, as cmocka asks
#include <cmocka.h>

enum {
	MBUFS = 8191,
	ROUND_MAX = 200, // packets between two flushes of the random test
	OUT_MAX = GRO_SLOTS,
};

// A packet as it was sent, and what the reference says of it.
struct sent {
	struct flat *p;
	uint64_t key;
	uint32_t padding;
};

// Indices into sent[] that belong into one packet.
struct group {
	unsigned n;
	unsigned at[GRO_SEGS_MAX];
	uint32_t total;
	bool open;
};

static struct rte_mempool *pool;
static struct gro *gro;
static struct rte_mbuf *out[OUT_MAX], *segments[OUT_MAX];
static struct sent sent[ROUND_MAX];
static struct group groups[ROUND_MAX];
static unsigned n_sent, n_groups;
static struct flat got, expected;

static inline void no_leak(void)
{
	assert_int_equal(rte_mempool_avail_count(pool), MBUFS);
}

static inline struct ip_info parse(const struct flat *p)
{
	struct ip_info info;
	assert_int_equal(ip_parse(p->b, p->len, &info), 0);
	return info;
}

static inline bool ref_has_flow(const struct ip_info *i)
{
	return (i->proto == IPPROTO_TCP || i->proto == IPPROTO_UDP) && !(i->flags & IP_FLAG_FRAG);
}

static inline bool ref_same_flow(const struct sent *a, const struct sent *b)
{
	struct ip_info ia = parse(a->p), ib = parse(b->p);
	if (!ref_has_flow(&ia) || !ref_has_flow(&ib) || ia.family != ib.family ||
		ia.proto != ib.proto || a->key != b->key)
		return false;
	bool v4 = ia.family == IP_V4;
	return memcmp(a->p->b + (v4 ? 12 : 8), b->p->b + (v4 ? 12 : 8), v4 ? 8 : 32) == 0 &&
	       memcmp(a->p->b + ia.l3_len, b->p->b + ib.l3_len, 4) == 0;
}

static inline bool ref_kept_port(uint32_t port)
{
	return port == 4789 || port == 8472 || port == 443 || port == 6081;
}

static inline bool ref_candidate(const struct flat *p)
{
	struct ip_info i = parse(p);
	const uint8_t *l4 = p->b + i.l3_len;
	if (!ref_has_flow(&i) || (i.flags & IP_FLAG_OPTIONS) || i.total_len <= flow_hdr_len(p->b))
		return false;
	if (i.proto == IPPROTO_UDP)
		return !ref_kept_port(get16(l4)) && !ref_kept_port(get16(l4 + 2)) &&
		       get16(l4 + 6) != 0 && get16(l4 + 4) == i.total_len - i.l3_len;
	return (l4[12] & 15) == 0 && (l4[13] == 0x10 || l4[13] == 0x18) && l4[12] >> 4 >= 5;
}

static inline bool ref_csum_ok(const struct flat *p)
{
	struct ip_info i = parse(p);
	uint32_t l4_len = i.total_len - i.l3_len;
	if (i.family == IP_V4 && flow_sum(p->b, i.l3_len, 0) != 0xffff)
		return false;
	return flow_sum(p->b + i.l3_len, l4_len, flow_pseudo_sum(p->b, l4_len)) == 0xffff;
}

static inline uint32_t ref_payload(const struct flat *p)
{
	struct ip_info i = parse(p);
	return i.total_len - flow_hdr_len(p->b);
}

// Whether b may follow the n packets that begin with a.
static inline bool ref_fits(const struct group *g, const struct flat *b)
{
	const struct flat *a = sent[g->at[0]].p, *last = sent[g->at[g->n - 1]].p;
	struct ip_info ia = parse(a), ib = parse(b);
	uint32_t hdr = flow_hdr_len(a->b);
	if (g->n == GRO_SEGS_MAX || g->total + ref_payload(b) > 65535 ||
		flow_hdr_len(b->b) != hdr || ref_payload(b) > ref_payload(a) ||
		ref_payload(last) != ref_payload(a) || ia.ttl != ib.ttl || ia.tos != ib.tos)
		return false;
	if (ia.family == IP_V6 && memcmp(a->b, b->b, 4) != 0)
		return false;
	if (ia.family == IP_V4) {
		if (a->b[6] != b->b[6])
			return false;
		if (!(ia.flags & IP_FLAG_DF) &&
			get16(b->b + 4) != ((get16(a->b + 4) + g->n) & 0xffff))
			return false;
	}
	if (ia.proto == IPPROTO_UDP)
		return true;
	const uint8_t *ta = a->b + ia.l3_len, *tb = b->b + ib.l3_len, *tl = last->b + ia.l3_len;
	return get32(tb + 4) == get32(tl + 4) + ref_payload(last) && !(tl[13] & 0x08) &&
	       get32(ta + 8) == get32(tb + 8) && memcmp(ta + 14, tb + 14, 2) == 0 &&
	       memcmp(ta + 18, tb + 18, hdr - ia.l3_len - 18) == 0;
}

static inline void ref_add(unsigned at)
{
	struct sent *s = &sent[at];
	struct ip_info info = parse(s->p);
	if (info.flags & IP_FLAG_FRAG && (info.proto == IPPROTO_TCP || info.proto == IPPROTO_UDP)) {
		for (unsigned i = 0; i < n_groups; i++)
			groups[i].open = false;
	}
	bool candidate = ref_candidate(s->p);
	for (unsigned i = 0; i < n_groups; i++) {
		struct group *g = &groups[i];
		if (!g->open || !ref_same_flow(&sent[g->at[0]], s))
			continue;
		if (candidate && ref_fits(g, s->p)) {
			g->at[g->n++] = at;
			g->total += ref_payload(s->p);
			return;
		}
		g->open = false;
	}
	groups[n_groups++] =
		(struct group){.n = 1, .at = {at}, .total = info.total_len, .open = candidate};
}

static inline void begin_round(void)
{
	n_sent = n_groups = 0;
}

static inline struct flat *next_flat(void)
{
	assert_true(n_sent < ROUND_MAX);
	struct flat **p = &sent[n_sent].p;
	if (*p == NULL)
		*p = malloc(sizeof(struct flat));
	assert_non_null(*p);
	return *p;
}

// Give the packet in next_flat() to both; padding bytes follow it.
static inline enum gro_verdict add(uint64_t key, uint32_t padding)
{
	struct flat *p = sent[n_sent].p;
	sent[n_sent].key = key;
	sent[n_sent].padding = padding;
	memset(p->b + p->len, 0xee, padding);
	struct rte_mbuf *m = flow_mbuf(pool, p->b, p->len + padding, 0, 0);
	struct ip_info info = flow_parse(m);
	enum gro_verdict verdict = gro_add(gro, m, &info, key);
	bool bad = ref_candidate(p) && !ref_csum_ok(p);
	assert_int_equal(verdict, bad ? GRO_BAD_CSUM : GRO_TAKEN);
	if (bad) {
		flow_flat(m, &got); // untouched
		assert_int_equal(got.len, p->len + padding);
		assert_memory_equal(got.b, p->b, got.len);
		rte_pktmbuf_free(m);
	} else {
		ref_add(n_sent++);
	}
	return verdict;
}

static inline enum gro_verdict add_spec(const struct spec *s)
{
	flow_build(s, next_flat());
	return add(0, 0);
}

static inline void check_lone(const struct rte_mbuf *m, const struct sent *s)
{
	uint32_t len = s->p->len + (ref_candidate(s->p) ? 0 : s->padding);
	assert_int_equal(m->ol_flags, 0);
	assert_int_equal(m->pkt_len, len);
	flow_flat(m, &got);
	assert_int_equal(got.len, len);
	assert_memory_equal(got.b, s->p->b, len);
}

// A super-packet: its headers, and that the reference and the real segmentation bring every packet
// back that went in.
static inline void check_super(struct rte_mbuf *m, const struct group *g)
{
	flow_flat(m, &got);
	uint32_t l3 = flow_l3_len(got.b), l4_len = got.len - l3;
	bool v4 = flow_is_v4(got.b), tcp = flow_proto(got.b) == IPPROTO_TCP;
	uint64_t flags = v4 ? RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM : RTE_MBUF_F_TX_IPV6;
	flags |= tcp ? RTE_MBUF_F_TX_TCP_SEG : RTE_MBUF_F_TX_UDP_SEG;
	assert_int_equal(m->ol_flags, flags);
	assert_int_equal(m->nb_segs, g->n);
	assert_int_equal(m->pkt_len, got.len);
	assert_int_equal(got.len, g->total);
	assert_int_equal(m->l2_len, 0);
	assert_int_equal(m->l3_len, l3);
	assert_int_equal(m->l3_len + m->l4_len, flow_hdr_len(got.b));
	assert_int_equal(m->tso_segsz, ref_payload(sent[g->at[0]].p));
	assert_int_equal(v4 ? get16(got.b + 2) : 40 + get16(got.b + 4), got.len);
	if (v4)
		assert_int_equal(flow_sum(got.b, l3, 0), 0xffff);
	if (!tcp)
		assert_int_equal(get16(got.b + l3 + 4), l4_len);
	assert_int_equal(get16(got.b + flow_csum_at(got.b)), flow_pseudo_sum(got.b, l4_len));
	rte_mbuf_sanity_check(m, 1);

	struct ip_info info = parse(&got);
	assert_int_equal(gso_segment(m, &info, pool, segments, OUT_MAX), g->n);
	static struct flat again;
	for (unsigned i = 0; i < g->n; i++) {
		const struct flat *p = sent[g->at[i]].p;
		assert_true(flow_segment(&got, m->tso_segsz, i, &expected));
		flow_flat(segments[i], &again);
		assert_int_equal(again.len, expected.len);
		assert_memory_equal(again.b, expected.b, again.len);
		if (v4 && (p->b[6] & 0x40)) { // identification may be lost: RFC 6864 4.1
			memcpy(expected.b + 4, p->b + 4, 2);
			memcpy(expected.b + 10, p->b + 10, 2);
		}
		assert_int_equal(expected.len, p->len);
		assert_memory_equal(expected.b, p->b, p->len);
	}
	rte_pktmbuf_free_bulk(segments, g->n);
}

// Flush step by step and hold what comes against the groups.
static inline void check_flush(unsigned step)
{
	unsigned n = 0;
	for (;;) {
		unsigned k = gro_flush(gro, out, step);
		assert_true(k <= step);
		if (k == 0)
			break;
		for (unsigned i = 0; i < k; i++, n++) {
			assert_true(n < n_groups);
			if (groups[n].n == 1)
				check_lone(out[i], &sent[groups[n].at[0]]);
			else
				check_super(out[i], &groups[n]);
			rte_pktmbuf_free(out[i]);
		}
	}
	assert_int_equal(n, n_groups);
	no_leak();
	begin_round();
}

static inline void coalesce_start(void)
{
	test_eal_init();
	pool = test_pool("coalesce", MBUFS);
	gro = gro_create(SOCKET_ID_ANY);
	assert(gro != NULL);
}

static inline void coalesce_stop(void)
{
	gro_destroy(gro);
	for (unsigned i = 0; i < ROUND_MAX; i++)
		free(sent[i].p);
}
