// Which packets, or parts of packets, the eight lanes of Poly1305 take.
#include "dataplane/crypto/aead_avx512.h"

// A message's blocks and that of its length, in windows.
static uint32_t windows_of(const struct work *w, unsigned position)
{
	const uint32_t blocks = (w->ops[w->order[position]].len + POLY_BLOCK - 1) / POLY_BLOCK;

	return blocks / 4 + 1;
}

// How the lanes are dealt out, the longest packet first.
struct deal {
	unsigned n, lanes, steps;
	uint8_t k[POLY_LANES]; // lanes of each packet: 1, 2, 4, 8, not rising
};

// Lanes beyond the first when lanes would idle, or for a packet that is much longer than its
// neighbours. Sharing costs six multiplications in a row, about seven steps; and lanes taken from
// neighbours may cost a group more. Measured: mixed bursts of 8 gain 15 % by 14, those of 32
// nothing.
static struct deal deal_lanes(const struct work *w, unsigned first)
{
	enum { IDLE_STEPS = 7, NEIGHBOUR_WINDOWS = 14 };
	const unsigned fourth = first + 3 < w->n ? first + 3 : w->n - 1;
	const uint32_t longest = windows_of(w, first);
	uint32_t limit = windows_of(w, fourth) + windows_of(w, fourth) / 3;
	struct deal d = {0};

	if (longest < limit + NEIGHBOUR_WINDOWS)
		limit = longest;
	for (; first + d.n < w->n && d.lanes < POLY_LANES; d.n++) {
		const uint32_t windows = windows_of(w, first + d.n);
		unsigned k = 1;

		while (k < POLY_LANES && (windows + k - 1) / k > limit)
			k *= 2;
		if (d.lanes + k > POLY_LANES)
			break;
		d.k[d.n] = (uint8_t)k;
		d.lanes += k;
		if ((windows + k - 1) / k > d.steps)
			d.steps = (windows + k - 1) / k;
	}
	while (d.lanes * 2 <= POLY_LANES && (d.steps > IDLE_STEPS || (d.k[0] > 1 && d.steps > 1))) {
		d.steps = (d.steps + 1) / 2;
		d.lanes *= 2;
		for (unsigned i = 0; i < d.n; i++)
			d.k[i] *= 2;
	}
	return d;
}

// What one lane needs; arrays, to be loaded as vectors.
struct lane_values {
	int64_t off[POLY_LANES], stride[POLY_LANES], len[POLY_LANES], data[POLY_LANES];
	int64_t behind[POLY_LANES];
	uint32_t pick[POLY_LANES * 2];
};

static void set_lane(struct lane_values *l, unsigned lane, const struct aead_op *op,
	unsigned packet, unsigned j, unsigned k, unsigned steps)
{
	const uint32_t blocks = (op->len + POLY_BLOCK - 1) / POLY_BLOCK;

	l->off[lane] = (int64_t)POLY_BLOCK * (blocks + 1) + (int64_t)POLY_WINDOW * j -
		       (int64_t)POLY_WINDOW * k * steps;
	l->stride[lane] = (int64_t)POLY_WINDOW * k;
	l->len[lane] = op->len;
	l->data[lane] = (int64_t)(uintptr_t)op->data;
	l->behind[lane] = k - 1 - j;
	l->pick[lane] = packet;
}

// stride is a power of two.
static unsigned steps_before(int64_t off, int64_t stride)
{
	return off >= 0 ? 0 : (unsigned)((-off + stride - 1) >> __builtin_ctzll((uint64_t)stride));
}

static void deal_mixed(struct poly_group *g, const struct work *w, unsigned first)
{
	const struct deal d = deal_lanes(w, first);
	struct lane_values l;
	unsigned lane = 0;

	g->first = first;
	g->n = d.n;
	g->steps = d.steps;
	g->whole_from = 0;
	g->lone = false;
	for (unsigned i = 0; i < d.n; i++) {
		g->first_lane[i] = (uint8_t)lane;
		for (unsigned j = 0; j < d.k[i]; j++, lane++)
			set_lane(&l, lane, &w->ops[w->order[first + i]], i, j, d.k[i], d.steps);
	}
	for (; lane < POLY_LANES; lane++) // idle: as the first packet in one lane, to no end
		set_lane(&l, lane, &w->ops[w->order[first]], 0, 0, d.k[0], d.steps);
	memset(l.pick + POLY_LANES, 0, sizeof(l.pick) / 2);
	for (unsigned i = 0; i < POLY_LANES; i++) {
		const unsigned from = steps_before(l.off[i], l.stride[i]);
		if (from > g->whole_from)
			g->whole_from = from;
		g->begin[i] = steps_before(l.off[i] + POLY_WINDOW - 1, l.stride[i]);
	}
	if (g->whole_from > g->steps - 1)
		g->whole_from = g->steps - 1;
	g->off = _mm512_loadu_si512(l.off);
	g->stride = _mm512_loadu_si512(l.stride);
	g->len = _mm512_loadu_si512(l.len);
	g->data = _mm512_loadu_si512(l.data);
	g->behind = _mm512_loadu_si512(l.behind);
	g->pick = _mm512_loadu_si512(l.pick);
	for (unsigned i = 0; i < 3; i++)
		g->wide[i] = _mm512_cmpgt_epi64_mask(
			g->stride, _mm512_set1_epi64((int64_t)POLY_WINDOW << i));
	g->shared = g->wide[0] != 0;
}

// Eight packets of the same length, a lane each.
static void deal_equal(struct poly_group *g, const struct work *w, unsigned first)
{
	const uint8_t *order = w->order + first;
	const struct aead_op *ops = w->ops;
	const uint32_t blocks = (ops[order[0]].len + POLY_BLOCK - 1) / POLY_BLOCK;
	const unsigned steps = blocks / 4 + 1;
	const int64_t off = (int64_t)POLY_BLOCK * (blocks + 1) - (int64_t)POLY_WINDOW * steps;

	g->off = _mm512_set1_epi64(off);
	g->stride = _mm512_set1_epi64(POLY_WINDOW);
	g->len = _mm512_set1_epi64(ops[order[0]].len);
#define AT(i) (int64_t)(uintptr_t) ops[order[i]].data
	g->data = _mm512_setr_epi64(AT(0), AT(1), AT(2), AT(3), AT(4), AT(5), AT(6), AT(7));
#undef AT
	g->pick = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 0, 0, 0, 0, 0, 0, 0, 0);
	g->behind = _mm512_setzero_si512();
	g->steps = steps;
	g->whole_from = off < 0 && steps > 1;
	g->first = first;
	g->n = POLY_LANES;
	g->lone = steps > 1 && off == POLY_BLOCK - POLY_WINDOW;
	g->shared = false;
	memset(g->wide, 0, sizeof(g->wide));
	for (unsigned i = 0; i < POLY_LANES; i++)
		g->first_lane[i] = (uint8_t)i;
	memset(g->begin, 0, sizeof(g->begin));
}

void aead_avx512_deal(struct poly_group *g, const struct work *w, unsigned first)
{
	const unsigned last = first + POLY_LANES - 1;

	if (last < w->n && w->ops[w->order[first]].len == w->ops[w->order[last]].len)
		deal_equal(g, w, first);
	else
		deal_mixed(g, w, first);
}
#include "dataplane/crypto/aead_avx512_end.h"
