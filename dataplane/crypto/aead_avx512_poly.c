// Poly1305 in eight lanes, radix 2^44, with IFMA.
//
// A lane takes windows of four blocks: h = (h + m0) f + m1 r^3 + m2 r^2 + m3 r, where f is r^4, or
// r^(4 k) when k lanes share a packet and each takes every k-th window (m0 is then multiplied by
// r^4 on its own, and the lane's result by the power of r that its last window is short of).
// Messages are aligned at their ends: all lanes finish together, and what a lane lacks at the front
// is zero.
#include "dataplane/crypto/aead_avx512.h"

// A group: packets first..first + n of the order in eight lanes.
struct group {
	__m512i off;	     // bytes from the packet's start to the window, signed
	__m512i stride;	     // 64 k
	__m512i len;	     // of the packet
	__m512i data;	     // address of the packet
	__m512i pick;	     // lane to packet of the group, 32-bit
	__m512i behind;	     // windows between the lane's last one and the packet's
	unsigned steps;	     // of the longest lane
	unsigned whole_from; // from this step to the one before the last, lanes have 64 bytes
	unsigned n;	     // packets
	bool shared;	     // does any packet have several lanes?
	__mmask8 wide[3];    // lanes of packets with more than 1, 2, 4 lanes
	uint8_t first_lane[POLY_LANES];
};

static inline __m512i low44(__m512i x)
{
	return _mm512_and_si512(x, _mm512_set1_epi64((1LL << 44) - 1));
}

static inline __m512i low42(__m512i x)
{
	return _mm512_and_si512(x, _mm512_set1_epi64((1LL << 42) - 1));
}

// Bits 44 to 87 of the 128 in hi, lo.
static inline __m512i middle44(__m512i lo, __m512i hi)
{
	return _mm512_ternarylogic_epi64(_mm512_srli_epi64(lo, 44), _mm512_slli_epi64(hi, 20),
		_mm512_set1_epi64((1LL << 44) - 1), 0xa8); // (a | b) & c
}

static inline struct fe fe_load(__m512i lo, __m512i hi, __m512i pad)
{
	return (struct fe){
		{low44(lo), middle44(lo, hi), _mm512_or_si512(_mm512_srli_epi64(hi, 24), pad)}};
}

static inline void factor_set(struct fe_factor *f, const struct fe *a)
{
	for (unsigned i = 0; i < 3; i++) {
		f->r[i] = a->v[i];
		f->s[i] = _mm512_add_epi64(
			_mm512_slli_epi64(a->v[i], 4), _mm512_slli_epi64(a->v[i], 2));
	}
}

// Sums of products: lo at 2^(44 i), hi at 2^(44 i + 52).
struct sums {
	__m512i lo[3], hi[3];
};

static inline void mul1(struct sums *d, unsigned i, __m512i a, __m512i b)
{
	d->lo[i] = _mm512_madd52lo_epu64(d->lo[i], a, b);
	d->hi[i] = _mm512_madd52hi_epu64(d->hi[i], a, b);
}

static inline void mul_add(struct sums *d, const struct fe *a, const struct fe_factor *f)
{
	mul1(d, 0, a->v[0], f->r[0]);
	mul1(d, 1, a->v[0], f->r[1]);
	mul1(d, 2, a->v[0], f->r[2]);
	mul1(d, 0, a->v[1], f->s[2]);
	mul1(d, 1, a->v[1], f->r[0]);
	mul1(d, 2, a->v[1], f->r[1]);
	mul1(d, 0, a->v[2], f->s[1]);
	mul1(d, 1, a->v[2], f->s[2]);
	mul1(d, 2, a->v[2], f->r[0]);
}

// Up to 15 products of limbs below 2^45 and 2^49: lo < 2^56, hi < 2^46. The result's limbs are
// below 2^44, 2^44 + 2^15 and 2^42.
static inline struct fe carry(const struct sums *d)
{
	__m512i t1 = _mm512_add_epi64(d->lo[1], _mm512_slli_epi64(d->hi[0], 8));
	__m512i t2 = _mm512_add_epi64(d->lo[2], _mm512_slli_epi64(d->hi[1], 8));
	__m512i top = _mm512_slli_epi64(d->hi[2], 10);
	__m512i t0 = low44(d->lo[0]);

	t1 = _mm512_add_epi64(t1, _mm512_srli_epi64(d->lo[0], 44));
	t2 = _mm512_add_epi64(t2, _mm512_srli_epi64(t1, 44));
	top = _mm512_add_epi64(top, _mm512_srli_epi64(t2, 42));
	t0 = _mm512_add_epi64(_mm512_add_epi64(t0, top), _mm512_slli_epi64(top, 2));
	return (struct fe){
		{low44(t0), _mm512_add_epi64(low44(t1), _mm512_srli_epi64(t0, 44)), low42(t2)}};
}

static inline struct fe mul(const struct fe *a, const struct fe_factor *f)
{
	struct sums d = {0};

	mul_add(&d, a, f);
	return carry(&d);
}

static inline struct fe square(const struct fe *a)
{
	struct fe_factor f;

	factor_set(&f, a);
	return mul(a, &f);
}

static inline struct fe fe_add(const struct fe *a, const struct fe *b)
{
	return (struct fe){{_mm512_add_epi64(a->v[0], b->v[0]), _mm512_add_epi64(a->v[1], b->v[1]),
		_mm512_add_epi64(a->v[2], b->v[2])}};
}

static inline struct fe fe_select(__mmask8 mask, const struct fe *a, const struct fe *b)
{
	return (struct fe){{_mm512_mask_blend_epi64(mask, a->v[0], b->v[0]),
		_mm512_mask_blend_epi64(mask, a->v[1], b->v[1]),
		_mm512_mask_blend_epi64(mask, a->v[2], b->v[2])}};
}

static inline struct fe fe_one(void)
{
	return (struct fe){{_mm512_set1_epi64(1)}};
}

// 64-bit values of the group's lanes from two words of the Poly1305 keys.
static inline __m512i key_lanes(
	const struct work *w, const struct group *g, unsigned first, unsigned word)
{
	const __m256i pick = _mm512_castsi512_si256(g->pick);
	const __m256i lo = _mm256_permutevar8x32_epi32(
		_mm256_loadu_si256((const __m256i *)(w->poly_key[word] + first)), pick);
	const __m256i hi = _mm256_permutevar8x32_epi32(
		_mm256_loadu_si256((const __m256i *)(w->poly_key[word + 1] + first)), pick);

	return _mm512_or_si512(
		_mm512_cvtepu32_epi64(lo), _mm512_slli_epi64(_mm512_cvtepu32_epi64(hi), 32));
}

static inline __mmask8 bit_lanes(__m512i x, unsigned bit)
{
	return _mm512_test_epi64_mask(x, _mm512_set1_epi64(1LL << bit));
}

// The powers for lanes that share: stride r^(4 k), last r^(4 behind).
static void shared_powers(struct work *w, const struct group *g, const struct fe *r4)
{
	const struct fe r8 = square(r4), r16 = square(&r8), r32 = square(&r16), one = fe_one();
	struct fe stride = fe_select(g->wide[0], r4, &r8), last, x;
	struct fe_factor f;

	stride = fe_select(g->wide[1], &stride, &r16);
	stride = fe_select(g->wide[2], &stride, &r32);
	factor_set(&w->stride, &stride);

	last = fe_select(bit_lanes(g->behind, 0), &one, r4);
	x = fe_select(bit_lanes(g->behind, 1), &one, &r8);
	factor_set(&f, &x);
	last = mul(&last, &f);
	x = fe_select(bit_lanes(g->behind, 2), &one, &r16);
	factor_set(&f, &x);
	last = mul(&last, &f);
	factor_set(&w->last, &last);
}

static void set_powers(struct work *w, const struct group *g, unsigned first)
{
	const __m512i lo =
		_mm512_and_si512(key_lanes(w, g, first, 0), _mm512_set1_epi64(0x0ffffffc0fffffff));
	const __m512i hi =
		_mm512_and_si512(key_lanes(w, g, first, 2), _mm512_set1_epi64(0x0ffffffc0ffffffc));
	const struct fe r = fe_load(lo, hi, _mm512_setzero_si512());
	struct fe r2, r3, r4;

	factor_set(&w->powers[3], &r);
	r2 = mul(&r, &w->powers[3]);
	factor_set(&w->powers[2], &r2);
	r3 = mul(&r2, &w->powers[3]);
	r4 = mul(&r2, &w->powers[2]);
	factor_set(&w->powers[1], &r3);
	factor_set(&w->powers[0], &r4);
	if (g->shared)
		shared_powers(w, g, &r4);
}

// The windows of eight lanes into four blocks, low and high halves.
static inline void transpose(const __m512i x[static 8], __m512i lo[static 4], __m512i hi[static 4])
{
	__m512i block[2][4];

	for (unsigned i = 0; i < 2; i++) {
		const __m512i *q = x + i; // lanes i, i + 2, i + 4, i + 6
		const __m512i a = _mm512_shuffle_i64x2(q[0], q[2], 0x44);
		const __m512i b = _mm512_shuffle_i64x2(q[0], q[2], 0xee);
		const __m512i c = _mm512_shuffle_i64x2(q[4], q[6], 0x44);
		const __m512i d = _mm512_shuffle_i64x2(q[4], q[6], 0xee);

		block[i][0] = _mm512_shuffle_i64x2(a, c, 0x88);
		block[i][1] = _mm512_shuffle_i64x2(a, c, 0xdd);
		block[i][2] = _mm512_shuffle_i64x2(b, d, 0x88);
		block[i][3] = _mm512_shuffle_i64x2(b, d, 0xdd);
	}
	for (unsigned j = 0; j < 4; j++) {
		lo[j] = _mm512_unpacklo_epi64(block[0][j], block[1][j]);
		hi[j] = _mm512_unpackhi_epi64(block[0][j], block[1][j]);
	}
}

static inline void absorb(const struct work *w, struct fe *h, bool shared,
	const __m512i lo[static 4], const __m512i hi[static 4], const __m512i pad[static 4])
{
	struct sums d = {0};
	struct fe m;

	for (unsigned j = 3; j > 0; j--) {
		m = fe_load(lo[j], hi[j], pad[j]);
		mul_add(&d, &m, &w->powers[j]);
	}
	m = fe_load(lo[0], hi[0], pad[0]);
	if (shared) {
		mul_add(&d, &m, &w->powers[0]);
		mul_add(&d, h, &w->stride);
	} else {
		m = fe_add(h, &m);
		mul_add(&d, &m, &w->powers[0]);
	}
	*h = carry(&d);
}

// Steps in which every lane has a whole window.
static inline struct fe whole_steps(
	const struct work *w, const struct group *g, struct fe h, bool shared)
{
	const __m512i bit = _mm512_set1_epi64(1LL << 40);
	const __m512i pad[4] = {bit, bit, bit, bit};
	const __m512i start = _mm512_add_epi64(g->data, g->off);
	uintptr_t at[POLY_LANES], step[POLY_LANES];

	_mm512_storeu_si512(at, start);
	_mm512_storeu_si512(step, g->stride);
	for (unsigned s = g->whole_from; s + 1 < g->steps; s++) {
		__m512i x[8], lo[4], hi[4];

		for (unsigned i = 0; i < POLY_LANES; i++)
			x[i] = _mm512_loadu_si512((const void *)(at[i] + s * step[i]));
		transpose(x, lo, hi);
		absorb(w, &h, shared, lo, hi, pad);
	}
	return h;
}

// A step in which some lane's window begins before its packet, or ends behind it: these bytes are
// masked off. end: the last one, with the block of the lengths.
static struct fe partial_step(
	const struct work *w, const struct group *g, struct fe h, unsigned s, bool end)
{
	const __m512i ones = _mm512_set1_epi64(-1), zero = _mm512_setzero_si512();
	const __m512i off =
		_mm512_add_epi64(g->off, _mm512_mul_epu32(g->stride, _mm512_set1_epi64(s)));
	const __m512i before = _mm512_max_epi64(_mm512_sub_epi64(zero, off), zero);
	const __m512i until = _mm512_max_epi64(_mm512_sub_epi64(g->len, off), zero);
	const __m512i masks = _mm512_andnot_si512(
		_mm512_sllv_epi64(ones, until), _mm512_sllv_epi64(ones, before));
	__m512i x[8], lo[4], hi[4], pad[4];
	uint64_t mask[POLY_LANES];
	uintptr_t at[POLY_LANES];

	_mm512_storeu_si512(mask, masks);
	_mm512_storeu_si512(at, _mm512_add_epi64(g->data, off));
	for (unsigned i = 0; i < POLY_LANES; i++)
		x[i] = _mm512_maskz_loadu_epi8(mask[i], (const void *)at[i]);
	transpose(x, lo, hi);
	if (end) // no additional data, then the length
		hi[3] = _mm512_mask_or_epi64(
			hi[3], _mm512_testn_epi64_mask(g->behind, g->behind), hi[3], g->len);
	for (int j = 0; j < 4; j++)
		pad[j] = _mm512_maskz_set1_epi64(
			_mm512_cmpge_epi64_mask(off, _mm512_set1_epi64(-16 * j)), 1LL << 40);
	absorb(w, &h, g->shared, lo, hi, pad);
	return h;
}

// Lanes of a packet together, into its first one.
static struct fe add_lanes(const struct work *w, const struct group *g, struct fe h)
{
	const __m512i lanes = _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7);

	h = mul(&h, &w->last);
	for (int k = 0; k < 3; k++) {
		const __m512i other = _mm512_xor_si512(lanes, _mm512_set1_epi64(1LL << k));
		for (unsigned i = 0; i < 3; i++)
			h.v[i] = _mm512_mask_add_epi64(h.v[i], g->wide[k], h.v[i],
				_mm512_permutexvar_epi64(other, h.v[i]));
	}
	return h;
}

// h modulo 2^130 - 5, plus s, modulo 2^128: the tags, 16 bytes a lane.
static void finish(const struct work *w, const struct group *g, unsigned first, struct fe h,
	uint8_t tags[static POLY_LANES * AEAD_TAG_LEN])
{
	const __m512i five = _mm512_set1_epi64(5);
	const __m512i first_half = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11);
	const __m512i second_half = _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15);
	const __m512i s_lo = key_lanes(w, g, first, 4), s_hi = key_lanes(w, g, first, 6);
	__m512i lo, hi, c, g0, g1, g2;
	__mmask8 less;

	for (unsigned i = 0; i < 2; i++) { // limbs within their bits, twice round
		h.v[1] = _mm512_add_epi64(h.v[1], _mm512_srli_epi64(h.v[0], 44));
		h.v[0] = low44(h.v[0]);
		h.v[2] = _mm512_add_epi64(h.v[2], _mm512_srli_epi64(h.v[1], 44));
		h.v[1] = low44(h.v[1]);
		c = _mm512_srli_epi64(h.v[2], 42);
		h.v[2] = low42(h.v[2]);
		h.v[0] = _mm512_add_epi64(h.v[0], _mm512_add_epi64(c, _mm512_slli_epi64(c, 2)));
	}
	h.v[1] = _mm512_add_epi64(h.v[1], _mm512_srli_epi64(h.v[0], 44));
	h.v[0] = low44(h.v[0]);
	// h + 5 reaches 2^130: h is at least the modulus, and h + 5 - 2^130 is what remains.
	g0 = _mm512_add_epi64(h.v[0], five);
	g1 = _mm512_add_epi64(h.v[1], _mm512_srli_epi64(g0, 44));
	g2 = _mm512_add_epi64(h.v[2], _mm512_srli_epi64(g1, 44));
	less = _mm512_test_epi64_mask(g2, _mm512_set1_epi64(1LL << 42));
	h.v[0] = _mm512_mask_blend_epi64(less, h.v[0], low44(g0));
	h.v[1] = _mm512_mask_blend_epi64(less, h.v[1], low44(g1));
	h.v[2] = _mm512_mask_blend_epi64(less, h.v[2], low42(g2));

	lo = _mm512_or_si512(h.v[0], _mm512_slli_epi64(h.v[1], 44));
	hi = _mm512_or_si512(_mm512_srli_epi64(h.v[1], 20), _mm512_slli_epi64(h.v[2], 24));
	lo = _mm512_add_epi64(lo, s_lo);
	hi = _mm512_add_epi64(hi, s_hi);
	hi = _mm512_mask_add_epi64(hi, _mm512_cmplt_epu64_mask(lo, s_lo), hi, _mm512_set1_epi64(1));
	_mm512_storeu_si512(tags, _mm512_permutex2var_epi64(lo, first_half, hi));
	_mm512_storeu_si512(tags + 64, _mm512_permutex2var_epi64(lo, second_half, hi));
}

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

// Lanes beyond the first for a packet that is much longer than its neighbours, or when lanes would
// idle. They cost six multiplications in a row, about what SHARE_WINDOWS steps cost.
static struct deal deal_lanes(const struct work *w, unsigned first)
{
	enum { SHARE_WINDOWS = 7 };
	const unsigned fourth = first + 3 < w->n ? first + 3 : w->n - 1;
	const uint32_t longest = windows_of(w, first);
	uint32_t limit = windows_of(w, fourth) + windows_of(w, fourth) / 3;
	struct deal d = {0};

	if (longest < limit + SHARE_WINDOWS)
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
	while (d.lanes * 2 <= POLY_LANES &&
		(d.steps > SHARE_WINDOWS || (d.k[0] > 1 && d.steps > 1))) {
		d.steps = (d.steps + 1) / 2;
		d.lanes *= 2;
		for (unsigned i = 0; i < d.n; i++)
			d.k[i] *= 2;
	}
	return d;
}

// What one lane needs; arrays, to be loaded as vectors.
struct lanes {
	int64_t off[POLY_LANES], stride[POLY_LANES], len[POLY_LANES], data[POLY_LANES];
	int64_t behind[POLY_LANES];
	uint32_t pick[POLY_LANES * 2];
};

static void set_lane(struct lanes *l, unsigned lane, const struct aead_op *op, unsigned packet,
	unsigned j, unsigned k, unsigned steps)
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

static unsigned steps_before(int64_t off, int64_t stride)
{
	return off >= 0 ? 0
			: (unsigned)(((uint64_t)-off + (uint64_t)stride - 1) / (uint64_t)stride);
}

static void set_group(struct group *g, const struct work *w, unsigned first)
{
	const struct deal d = deal_lanes(w, first);
	struct lanes l;
	unsigned lane = 0;

	g->n = d.n;
	g->steps = d.steps;
	g->whole_from = 0;
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

static void poly_group(struct work *w, const struct group *g, unsigned first)
{
	uint8_t tags[POLY_LANES * AEAD_TAG_LEN];
	struct fe h = {0};

	set_powers(w, g, first);
	for (unsigned s = 0; s < g->whole_from; s++)
		h = partial_step(w, g, h, s, false);
	h = g->shared ? whole_steps(w, g, h, true) : whole_steps(w, g, h, false);
	h = partial_step(w, g, h, g->steps - 1, true);
	if (g->shared)
		h = add_lanes(w, g, h);
	finish(w, g, first, h, tags);
	for (unsigned i = 0; i < g->n; i++)
		memcpy(w->tags[first + i], tags + g->first_lane[i] * AEAD_TAG_LEN, AEAD_TAG_LEN);
}

void aead_avx512_poly(struct work *w)
{
	struct group g;

	for (unsigned first = 0; first < w->n; first += g.n) {
		set_group(&g, w, first);
		poly_group(w, &g, first);
	}
}

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
