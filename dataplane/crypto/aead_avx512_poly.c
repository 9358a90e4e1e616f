// Poly1305 in eight lanes, radix 2^44, with IFMA.
//
// A lane takes windows of four blocks: h = (h + m0) r^4 + m1 r^3 + m2 r^2 + m3 r. In a group of
// packets that are not of one length it is h = h r^4 + m0 r^3 + m1 r^2 + m2 r + m3, and what is
// missing comes last: when k lanes share a packet each takes every k-th window, with r^(4 k)
// instead of r^4, and in the end r for the last block and r^4 for each window behind its last one.
// Messages are aligned at their ends: all lanes finish together, and what a lane lacks at the front
// is zero.
#include "dataplane/crypto/aead_avx512_field.h"

// Windows of eight lanes: rows as loaded; blocks, their low and high halves lane by lane.
struct rows {
	__m512i x0, x1, x2, x3, x4, x5, x6, x7;
};

struct blocks {
	__m512i lo0, lo1, lo2, lo3, hi0, hi1, hi2, hi3;
};

static inline struct blocks transpose(struct rows r)
{
	// Quarters 0 and 1 (lo), 2 and 3 (hi) of the even and the odd lanes.
	const __m512i a = _mm512_shuffle_i64x2(r.x0, r.x2, 0x44);
	const __m512i b = _mm512_shuffle_i64x2(r.x0, r.x2, 0xee);
	const __m512i c = _mm512_shuffle_i64x2(r.x4, r.x6, 0x44);
	const __m512i d = _mm512_shuffle_i64x2(r.x4, r.x6, 0xee);
	const __m512i e = _mm512_shuffle_i64x2(r.x1, r.x3, 0x44);
	const __m512i f = _mm512_shuffle_i64x2(r.x1, r.x3, 0xee);
	const __m512i g = _mm512_shuffle_i64x2(r.x5, r.x7, 0x44);
	const __m512i h = _mm512_shuffle_i64x2(r.x5, r.x7, 0xee);
	const __m512i even0 = _mm512_shuffle_i64x2(a, c, 0x88);
	const __m512i even1 = _mm512_shuffle_i64x2(a, c, 0xdd);
	const __m512i even2 = _mm512_shuffle_i64x2(b, d, 0x88);
	const __m512i even3 = _mm512_shuffle_i64x2(b, d, 0xdd);
	const __m512i odd0 = _mm512_shuffle_i64x2(e, g, 0x88);
	const __m512i odd1 = _mm512_shuffle_i64x2(e, g, 0xdd);
	const __m512i odd2 = _mm512_shuffle_i64x2(f, h, 0x88);
	const __m512i odd3 = _mm512_shuffle_i64x2(f, h, 0xdd);

	return (struct blocks){
		.lo0 = _mm512_unpacklo_epi64(even0, odd0),
		.lo1 = _mm512_unpacklo_epi64(even1, odd1),
		.lo2 = _mm512_unpacklo_epi64(even2, odd2),
		.lo3 = _mm512_unpacklo_epi64(even3, odd3),
		.hi0 = _mm512_unpackhi_epi64(even0, odd0),
		.hi1 = _mm512_unpackhi_epi64(even1, odd1),
		.hi2 = _mm512_unpackhi_epi64(even2, odd2),
		.hi3 = _mm512_unpackhi_epi64(even3, odd3),
	};
}

struct pads {
	__m512i p0, p1, p2, p3;
};

// Two sums, so that a product need not wait for the one before it; what depends on h comes last.
static inline struct fe absorb(
	const struct poly_powers *p, struct fe h, struct blocks b, struct pads pad)
{
	const struct sums none = {0};
	struct sums d, e, f;

	d = mul_add(none, fe_load(b.lo3, b.hi3, pad.p3), &p->r1);
	e = mul_add(none, fe_load(b.lo2, b.hi2, pad.p2), &p->r2);
	d = mul_add(d, fe_load(b.lo1, b.hi1, pad.p1), &p->r3);
	f = mul_add(none, fe_add(h, fe_load(b.lo0, b.hi0, pad.p0)), &p->r4);
	return carry(sums_add(sums_add(d, e), f));
}

// The same where the factors of the last blocks come last.
static inline struct fe absorb_mixed(
	const struct poly_powers *p, struct fe h, struct blocks b, struct pads pad)
{
	const struct fe last = fe_load(b.lo3, b.hi3, pad.p3);
	const struct sums none = {0};
	struct sums d = {.lo0 = last.l0, .lo1 = last.l1, .lo2 = last.l2}, e, f;

	d = mul_add(d, fe_load(b.lo2, b.hi2, pad.p2), &p->r1);
	e = mul_add(none, fe_load(b.lo1, b.hi1, pad.p1), &p->r2);
	d = mul_add(d, fe_load(b.lo0, b.hi0, pad.p0), &p->r3);
	f = mul_add(none, h, &p->r4);
	return carry(sums_add(sums_add(d, e), f));
}

static inline __m512i row(uintptr_t at, uintptr_t off)
{
	return _mm512_loadu_si512((const void *)(at + off));
}

// Steps in which a lane has a whole window, or, where it is not busy, has not begun and reads
// zeros. mixed: packets of different lengths.
static inline struct fe whole_steps(const struct poly_powers *p, const struct poly_group *g,
	struct fe h, unsigned from, unsigned until, __mmask8 busy, bool mixed)
{
	static const uint8_t nothing[POLY_WINDOW] __attribute__((aligned(64)));
	const __m512i bit = _mm512_maskz_set1_epi64(busy, 1LL << 40);
	const __m512i idle = _mm512_set1_epi64((long long)(uintptr_t)nothing);
	uintptr_t at[POLY_LANES], step[POLY_LANES];

	_mm512_storeu_si512(at, _mm512_mask_add_epi64(idle, busy, g->data, g->off));
	_mm512_storeu_si512(step, _mm512_maskz_mov_epi64(busy, g->stride));
#define ROW(i) row(at[i], s *(mixed ? step[i] : POLY_WINDOW))
	for (uintptr_t s = from; s < until; s++) {
		const struct rows r = {
			ROW(0), ROW(1), ROW(2), ROW(3), ROW(4), ROW(5), ROW(6), ROW(7)};
		const struct pads pads = {bit, bit, bit, bit};
		h = mixed ? absorb_mixed(p, h, transpose(r), pads)
			  : absorb(p, h, transpose(r), pads);
	}
#undef ROW
	return h;
}

// 2^40 in the lanes whose block, at the offset given, is the message's.
static inline __m512i pad_at(__m512i off, int block)
{
	return _mm512_maskz_set1_epi64(
		_mm512_cmpge_epi64_mask(off, _mm512_set1_epi64(-POLY_BLOCK * block)), 1LL << 40);
}

// A step in which some lane's window begins before its packet, or ends behind it: these bytes are
// masked off. end: the last one, with the block of the lengths.
static inline struct fe partial_step(const struct poly_powers *p, const struct poly_group *g,
	struct fe h, unsigned s, bool end, bool mixed)
{
	const __m512i ones = _mm512_set1_epi64(-1), zero = _mm512_setzero_si512();
	const __m512i off =
		_mm512_add_epi64(g->off, _mm512_mul_epu32(g->stride, _mm512_set1_epi64(s)));
	const __m512i before = _mm512_max_epi64(_mm512_sub_epi64(zero, off), zero);
	const __m512i until = _mm512_max_epi64(_mm512_sub_epi64(g->len, off), zero);
	uintptr_t at[POLY_LANES];
	uint64_t mask[POLY_LANES];
	struct blocks b;
	struct pads pads;

	_mm512_storeu_si512(mask, _mm512_andnot_si512(_mm512_sllv_epi64(ones, until),
					  _mm512_sllv_epi64(ones, before)));
	_mm512_storeu_si512(at, _mm512_add_epi64(g->data, off));
#define ROW(i) _mm512_maskz_loadu_epi8(mask[i], (const void *)at[i])
	b = transpose(
		(struct rows){ROW(0), ROW(1), ROW(2), ROW(3), ROW(4), ROW(5), ROW(6), ROW(7)});
#undef ROW
	if (end) // no additional data, then the length
		b.hi3 = _mm512_mask_or_epi64(
			b.hi3, _mm512_testn_epi64_mask(g->behind, g->behind), b.hi3, g->len);
	pads = (struct pads){pad_at(off, 0), pad_at(off, 1), pad_at(off, 2), pad_at(off, 3)};
	return mixed ? absorb_mixed(p, h, b, pads) : absorb(p, h, b, pads);
}

// The blocks of the last step of packets of one length where it is not the first one, too: no
// window begins before its packet, and all have the same bytes masked off.
static inline struct blocks end_blocks(const struct poly_group *g)
{
	const __m512i off =
		_mm512_add_epi64(g->off, _mm512_set1_epi64((int64_t)POLY_WINDOW * (g->steps - 1)));
	const uint64_t left =
		(uint64_t)_mm_cvtsi128_si64(_mm512_castsi512_si128(_mm512_sub_epi64(g->len, off)));
	const __mmask64 mask = (__mmask64)((UINT64_C(1) << left) - 1);
	uintptr_t at[POLY_LANES];
	struct blocks b;

	_mm512_storeu_si512(at, _mm512_add_epi64(g->data, off));
#define ROW(i) _mm512_maskz_loadu_epi8(mask, (const void *)at[i])
	b = transpose(
		(struct rows){ROW(0), ROW(1), ROW(2), ROW(3), ROW(4), ROW(5), ROW(6), ROW(7)});
#undef ROW
	b.hi3 = _mm512_or_si512(b.hi3, g->len);
	return b;
}

// The first blocks of eight packets.
static inline struct fe first_blocks(const struct poly_group *g)
{
	uintptr_t at[POLY_LANES];
	__m512i even, odd;

	_mm512_storeu_si512(at, g->data);
#define BLOCK(i) _mm_loadu_si128((const __m128i *)at[i])
#define FOUR(i, j, k, l)                                                                           \
	_mm512_inserti64x4(_mm512_castsi256_si512(_mm256_inserti128_si256(                         \
				   _mm256_castsi128_si256(BLOCK(i)), BLOCK(j), 1)),                \
		_mm256_inserti128_si256(_mm256_castsi128_si256(BLOCK(k)), BLOCK(l), 1), 1)
	even = FOUR(0, 2, 4, 6);
	odd = FOUR(1, 3, 5, 7);
#undef FOUR
#undef BLOCK
	return fe_load(_mm512_unpacklo_epi64(even, odd), _mm512_unpackhi_epi64(even, odd),
		_mm512_set1_epi64(1LL << 40));
}

// Packets of one length of four blocks, and the block of the lengths: with r and r^2 alone, for r^3
// and r^4 would take as long as this.
static inline struct fe absorb_tiny(const struct poly_powers *p, const struct poly_group *g)
{
	const __m512i bit = _mm512_set1_epi64(1LL << 40);
	const struct sums none = {0};
	const struct blocks b = end_blocks(g);
	const struct fe m3 = fe_load(b.lo2, b.hi2, bit);
	struct sums d = {.lo0 = m3.l0, .lo1 = m3.l1, .lo2 = m3.l2}, e;
	struct fe h = mul(first_blocks(g), &p->r1);

	d = mul_add(d, fe_load(b.lo1, b.hi1, bit), &p->r1);
	e = mul_add(none, fe_load(b.lo3, b.hi3, bit), &p->r1);
	h = carry(mul_add(d, fe_add(h, fe_load(b.lo0, b.hi0, bit)), &p->r2));
	return carry(mul_add(e, h, &p->r2));
}

// Packets without data: the block of the lengths is all.
static inline struct fe absorb_nothing(const struct poly_powers *p, const struct poly_group *g)
{
	const __m512i bit = _mm512_set1_epi64(1LL << 40);

	return mul(fe_load(_mm512_setzero_si512(), g->len, bit), &p->r1);
}

// Neighbours 2^k apart into each other, in the lanes of mask.
static inline __m512i add_neighbours(__m512i x, __mmask8 mask, unsigned k)
{
	const __m512i other = _mm512_xor_si512(
		_mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7), _mm512_set1_epi64(1LL << k));

	return _mm512_mask_add_epi64(x, mask, x, _mm512_permutexvar_epi64(other, x));
}

// Lanes of a packet together, into its first one.
static inline struct fe add_lanes(const struct poly_group *g, struct fe h)
{
	for (unsigned k = 0; k < 3; k++) {
		h.l0 = add_neighbours(h.l0, g->wide[k], k);
		h.l1 = add_neighbours(h.l1, g->wide[k], k);
		h.l2 = add_neighbours(h.l2, g->wide[k], k);
	}
	return h;
}

// The packets' sums to their places. Writes all eight: what is too much is overwritten by the next
// group.
static inline void put_sums(struct work *w, const struct poly_group *g, struct fe h)
{
	_mm512_storeu_si512(w->sums[0] + g->first, _mm512_maskz_compress_epi64(g->leads, h.l0));
	_mm512_storeu_si512(w->sums[1] + g->first, _mm512_maskz_compress_epi64(g->leads, h.l1));
	_mm512_storeu_si512(w->sums[2] + g->first, _mm512_maskz_compress_epi64(g->leads, h.l2));
}

// The step at which the next lane begins, or the last step.
static inline unsigned next_begin(const struct poly_group *g, unsigned step)
{
	const __mmask8 later = _mm512_cmpgt_epi64_mask(g->begin, _mm512_set1_epi64(step));
	const uint64_t next = _mm512_mask_reduce_min_epu64(later, g->begin);

	return next < g->steps - 1 ? (unsigned)next : g->steps - 1;
}

// All steps but the last of packets of one length.
static inline struct fe early_equal(const struct poly_powers *p, const struct poly_group *g)
{
	const unsigned end = g->steps - 1;
	struct fe h = {0};
	unsigned s = 0;

	if (g->lone) {
		h = mul(first_blocks(g), &p->r1); // all lanes have one block in this step
		s = 1;
	} else if (end && (int64_t)_mm_cvtsi128_si64(_mm512_castsi512_si128(g->off)) < 0) {
		h = partial_step(p, g, h, 0, false, false);
		s = 1;
	}
	return whole_steps(p, g, h, s, end, 0xff, false);
}

// All steps but the last: where a lane begins within its window, that is masked.
static inline struct fe early_mixed(const struct poly_powers *p, const struct poly_group *g)
{
	struct fe h = {0};

	for (unsigned s = 0; s + 1 < g->steps;) {
		const __m512i off =
			_mm512_add_epi64(g->off, _mm512_mul_epu32(g->stride, _mm512_set1_epi64(s)));
		const __mmask8 busy = _mm512_cmpge_epi64_mask(off, _mm512_setzero_si512());
		const __mmask8 begun =
			_mm512_cmpgt_epi64_mask(off, _mm512_set1_epi64(-POLY_WINDOW));
		unsigned until = s + 1;

		if (busy != begun) {
			h = partial_step(p, g, h, s, false, true);
		} else {
			until = next_begin(g, s);
			h = whole_steps(p, g, h, s, until, busy, true);
		}
		s = until;
	}
	return h;
}

static __attribute__((noinline)) void equal_group(
	struct work *w, const struct poly_powers *p, const struct poly_group *g)
{
	const __m512i bit = _mm512_set1_epi64(1LL << 40);

	if (g->tiny && g->steps == 1)
		put_sums(w, g, absorb_nothing(p, g));
	else if (g->tiny)
		put_sums(w, g, absorb_tiny(p, g));
	else if (g->steps > 1)
		put_sums(w, g,
			absorb(p, early_equal(p, g), end_blocks(g),
				(struct pads){bit, bit, bit, bit}));
	else
		put_sums(w, g, partial_step(p, g, (struct fe){0}, 0, true, false));
}

static __attribute__((noinline)) void mixed_group(
	struct work *w, const struct poly_picked *p, const struct poly_group *g)
{
	struct fe h = early_mixed(&p->powers, g);

	h = partial_step(&p->powers, g, h, g->steps - 1, true, true);
	h = mul(h, &p->end);
	if (g->shared)
		h = add_lanes(g, h);
	put_sums(w, g, h);
}

void aead_avx512_deal_ahead(struct work *w, unsigned n)
{
	for (; n > 0 && w->dealt_packets < w->n && w->dealt - w->absorbed < POLY_AHEAD; n--) {
		struct poly_group *g = &w->groups[w->dealt++ % POLY_AHEAD];

		aead_avx512_deal(g, w, w->dealt_packets);
		w->dealt_packets += g->n;
	}
}

// Groups are dealt before the ones in front of them are worked on: their vectors are written in
// parts, and those are out of the store queue by the time they are loaded whole. The powers of the
// next one are prepared before the steps of this one, for they wait for each other.
void aead_avx512_poly(struct work *w)
{
	do {
		const unsigned turn = w->absorbed;
		const struct poly_group *g = &w->groups[turn % POLY_AHEAD];
		const struct poly_picked *picked = &w->picked[turn % 2];

		aead_avx512_deal_ahead(w, POLY_AHEAD);
		aead_avx512_powers(w);
		if (!g->equal)
			mixed_group(w, picked, g);
		else if (has_picked(g))
			equal_group(w, &picked->powers, g);
		else
			equal_group(w, powers_of(w, g->first / POLY_LANES), g);
	} while (++w->absorbed < w->dealt);
	aead_avx512_tags(w);
}

#include "dataplane/crypto/aead_avx512_end.h"
