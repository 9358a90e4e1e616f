// Poly1305 in eight lanes, radix 2^44, with IFMA.
//
// A lane takes windows of four blocks: h = (h + m0) f + m1 r^3 + m2 r^2 + m3 r, where f is r^4, or
// r^(4 k) when k lanes share a packet and each takes every k-th window (m0 is then multiplied by
// r^4 on its own, and the lane's result by the power of r that its last window is short of).
// Messages are aligned at their ends: all lanes finish together, and what a lane lacks at the front
// is zero.
#include "dataplane/crypto/aead_avx512_field.h"

// 64-bit values of the group's lanes from two words of the Poly1305 keys.
static inline __m512i key_lanes(const struct work *w, const struct poly_group *g, unsigned word)
{
	const __m256i pick = _mm512_castsi512_si256(g->pick);
	const __m256i lo = _mm256_permutevar8x32_epi32(
		_mm256_loadu_si256((const __m256i *)(w->poly_key[word] + g->first)), pick);
	const __m256i hi = _mm256_permutevar8x32_epi32(
		_mm256_loadu_si256((const __m256i *)(w->poly_key[word + 1] + g->first)), pick);

	return _mm512_or_si512(
		_mm512_cvtepu32_epi64(lo), _mm512_slli_epi64(_mm512_cvtepu32_epi64(hi), 32));
}

static inline __mmask8 bit_lanes(__m512i x, unsigned bit)
{
	return _mm512_test_epi64_mask(x, _mm512_set1_epi64(1LL << bit));
}

// The powers for lanes that share: stride r^(4 k), last r^(4 behind).
static void shared_powers(struct poly_powers *p, const struct poly_group *g, struct fe r4)
{
	const struct fe r8 = square(r4), r16 = square(r8), r32 = square(r16), one = fe_one();
	struct fe stride = fe_select(g->wide[0], r4, r8), last;
	struct fe_factor f;

	stride = fe_select(g->wide[1], stride, r16);
	stride = fe_select(g->wide[2], stride, r32);
	factor_set(&p->stride, stride);

	last = fe_select(bit_lanes(g->behind, 0), one, r4);
	factor_set(&f, fe_select(bit_lanes(g->behind, 1), one, r8));
	last = mul(last, &f);
	factor_set(&f, fe_select(bit_lanes(g->behind, 2), one, r16));
	last = mul(last, &f);
	factor_set(&p->last, last);
}

static inline struct fe key_r(const struct work *w, const struct poly_group *g)
{
	const __m512i lo =
		_mm512_and_si512(key_lanes(w, g, 0), _mm512_set1_epi64(0x0ffffffc0fffffff));
	const __m512i hi =
		_mm512_and_si512(key_lanes(w, g, 2), _mm512_set1_epi64(0x0ffffffc0ffffffc));

	return fe_load(lo, hi, _mm512_setzero_si512());
}

// r to r^4 of one group, or of two side by side.
static inline void set_powers(
	struct work *w, const struct poly_group *a, const struct poly_group *b)
{
	struct poly_powers *p = w->powers, *q = w->powers + 1;
	struct fe r[2], r2[2], r3[2], r4[2];

	r[0] = key_r(w, a);
	factor_set(&p->r1, r[0]);
	if (b) {
		r[1] = key_r(w, b);
		factor_set(&q->r1, r[1]);
	}
	r2[0] = mul(r[0], &p->r1);
	if (b)
		r2[1] = mul(r[1], &q->r1);
	factor_set(&p->r2, r2[0]);
	r3[0] = mul(r2[0], &p->r1);
	r4[0] = mul(r2[0], &p->r2);
	if (b) {
		factor_set(&q->r2, r2[1]);
		r3[1] = mul(r2[1], &q->r1);
		r4[1] = mul(r2[1], &q->r2);
		factor_set(&q->r3, r3[1]);
		factor_set(&q->r4, r4[1]);
	}
	factor_set(&p->r3, r3[0]);
	factor_set(&p->r4, r4[0]);
	if (!b && a->shared)
		shared_powers(p, a, r4[0]);
}

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

// Several sums, so that a product need not wait for the one before it; what depends on h comes
// last.
static inline struct fe absorb(
	const struct poly_powers *p, bool shared, struct fe h, struct blocks b, struct pads pad)
{
	const struct sums none = {0};
	struct sums d, e, f;

	d = mul_add(none, fe_load(b.lo3, b.hi3, pad.p3), &p->r1);
	e = mul_add(none, fe_load(b.lo2, b.hi2, pad.p2), &p->r2);
	d = mul_add(d, fe_load(b.lo1, b.hi1, pad.p1), &p->r3);
	if (shared) {
		e = mul_add(e, fe_load(b.lo0, b.hi0, pad.p0), &p->r4);
		f = mul_add(none, h, &p->stride);
	} else {
		f = mul_add(none, fe_add(h, fe_load(b.lo0, b.hi0, pad.p0)), &p->r4);
	}
	return carry(sums_add(sums_add(d, e), f));
}

static inline __m512i row(uintptr_t at, uintptr_t off)
{
	return _mm512_loadu_si512((const void *)(at + off));
}

// Steps in which a lane has a whole window, or, where it is not busy, has not begun and reads
// zeros. strided: lanes do not all go on by one window.
static inline struct fe whole_steps(const struct poly_powers *p, const struct poly_group *g,
	struct fe h, unsigned from, unsigned until, __mmask8 busy, bool shared, bool strided)
{
	static const uint8_t nothing[POLY_WINDOW] __attribute__((aligned(64)));
	const __m512i bit = _mm512_maskz_set1_epi64(busy, 1LL << 40);
	const __m512i idle = _mm512_set1_epi64((long long)(uintptr_t)nothing);
	uintptr_t at[POLY_LANES], step[POLY_LANES];

	_mm512_storeu_si512(at, _mm512_mask_add_epi64(idle, busy, g->data, g->off));
	_mm512_storeu_si512(step, _mm512_maskz_mov_epi64(busy, g->stride));
#define ROW(i) row(at[i], s *(strided ? step[i] : POLY_WINDOW))
	for (uintptr_t s = from; s < until; s++) {
		const struct rows r = {
			ROW(0), ROW(1), ROW(2), ROW(3), ROW(4), ROW(5), ROW(6), ROW(7)};
		h = absorb(p, shared, h, transpose(r), (struct pads){bit, bit, bit, bit});
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
static inline struct fe partial_step(
	const struct poly_powers *p, const struct poly_group *g, struct fe h, unsigned s, bool end)
{
	const __m512i ones = _mm512_set1_epi64(-1), zero = _mm512_setzero_si512();
	const __m512i off =
		_mm512_add_epi64(g->off, _mm512_mul_epu32(g->stride, _mm512_set1_epi64(s)));
	const __m512i before = _mm512_max_epi64(_mm512_sub_epi64(zero, off), zero);
	const __m512i until = _mm512_max_epi64(_mm512_sub_epi64(g->len, off), zero);
	uintptr_t at[POLY_LANES];
	uint64_t mask[POLY_LANES];
	struct blocks b;

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
	return absorb(p, g->shared, h, b,
		(struct pads){pad_at(off, 0), pad_at(off, 1), pad_at(off, 2), pad_at(off, 3)});
}

// The first step where all lanes have one block in it, their first: three quarters of a step saved,
// which is much of a small packet's.
static inline struct fe lone_step(const struct poly_powers *p, const struct poly_group *g)
{
	const struct sums none = {0};
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
	return carry(mul_add(none,
		fe_load(_mm512_unpacklo_epi64(even, odd), _mm512_unpackhi_epi64(even, odd),
			_mm512_set1_epi64(1LL << 40)),
		&p->r1));
}

// The first steps of a group of which each lane has all windows but the first whole.
static inline struct fe first_step(const struct poly_powers *p, const struct poly_group *g)
{
	const struct fe none = {0};

	return g->lone ? lone_step(p, g) : partial_step(p, g, none, 0, false);
}

// Neighbours 2^k apart into each other, in the lanes of mask.
static inline __m512i add_neighbours(__m512i x, __mmask8 mask, unsigned k)
{
	const __m512i other = _mm512_xor_si512(
		_mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7), _mm512_set1_epi64(1LL << k));

	return _mm512_mask_add_epi64(x, mask, x, _mm512_permutexvar_epi64(other, x));
}

// Lanes of a packet together, into its first one.
static struct fe add_lanes(const struct poly_powers *p, const struct poly_group *g, struct fe h)
{
	h = mul(h, &p->last);
	for (unsigned k = 0; k < 3; k++) {
		h.l0 = add_neighbours(h.l0, g->wide[k], k);
		h.l1 = add_neighbours(h.l1, g->wide[k], k);
		h.l2 = add_neighbours(h.l2, g->wide[k], k);
	}
	return h;
}

// h plus s, modulo 2^128: the tags.
static inline void finish(struct work *w, const struct poly_group *g, struct fe h)
{
	const __m512i first_half = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11);
	const __m512i second_half = _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15);
	const __m512i s_lo = key_lanes(w, g, 4), s_hi = key_lanes(w, g, 6);
	__m512i lo, hi;
	uint8_t tags[POLY_LANES][AEAD_TAG_LEN];

	h = reduce(h);
	lo = _mm512_or_si512(h.l0, _mm512_slli_epi64(h.l1, 44));
	hi = _mm512_or_si512(_mm512_srli_epi64(h.l1, 20), _mm512_slli_epi64(h.l2, 24));
	lo = _mm512_add_epi64(lo, s_lo);
	hi = _mm512_add_epi64(hi, s_hi);
	hi = _mm512_mask_add_epi64(hi, _mm512_cmplt_epu64_mask(lo, s_lo), hi, _mm512_set1_epi64(1));
	_mm512_storeu_si512(tags, _mm512_permutex2var_epi64(lo, first_half, hi));
	_mm512_storeu_si512(tags[4], _mm512_permutex2var_epi64(lo, second_half, hi));
	for (unsigned i = 0; i < g->n; i++)
		memcpy(w->tags[g->first + i], tags[g->first_lane[i]], AEAD_TAG_LEN);
}

// The step at which the next lane begins, or the last step.
static unsigned next_begin(const struct poly_group *g, unsigned step)
{
	unsigned next = g->steps - 1;

	for (unsigned i = 0; i < POLY_LANES; i++)
		if (g->begin[i] > step && g->begin[i] < next)
			next = g->begin[i];
	return next;
}

// All steps but the last: where a lane begins within its window, that is masked.
static inline struct fe early_steps(
	const struct poly_powers *p, const struct poly_group *g, struct fe h)
{
	for (unsigned s = 0; s + 1 < g->steps;) {
		const __m512i off =
			_mm512_add_epi64(g->off, _mm512_mul_epu32(g->stride, _mm512_set1_epi64(s)));
		const __mmask8 busy = _mm512_cmpge_epi64_mask(off, _mm512_setzero_si512());
		const __mmask8 begun =
			_mm512_cmpgt_epi64_mask(off, _mm512_set1_epi64(-POLY_WINDOW));
		unsigned until = s + 1;

		if (busy != begun) {
			h = s == 0 && g->lone ? lone_step(p, g) : partial_step(p, g, h, s, false);
		} else {
			until = next_begin(g, s);
			if (g->shared)
				h = whole_steps(p, g, h, s, until, busy, true, true);
			else if (busy != 0xff)
				h = whole_steps(p, g, h, s, until, busy, false, true);
			else
				h = whole_steps(p, g, h, s, until, 0xff, false, false);
		}
		s = until;
	}
	return h;
}

// Not inlined, like the other: what they spill then lies in the same place.
static __attribute__((noinline)) void poly_one(struct work *w, const struct poly_group *g)
{
	const struct poly_powers *p = w->powers;
	struct fe h = {0};

	set_powers(w, g, NULL);
	h = early_steps(p, g, h);
	h = partial_step(p, g, h, g->steps - 1, true);
	if (g->shared)
		h = add_lanes(p, g, h);
	finish(w, g, h);
}

// Two groups fill each other's latency at both ends, where they are alike.
static bool alike(const struct poly_group *a, const struct poly_group *b)
{
	return a->steps == b->steps && a->whole_from == b->whole_from && a->whole_from <= 1 &&
	       a->lone == b->lone && !a->shared && !b->shared;
}

static __attribute__((noinline)) void poly_two(
	struct work *w, const struct poly_group *a, const struct poly_group *b)
{
	const struct poly_powers *p = w->powers, *q = w->powers + 1;
	struct fe h = {0}, i = {0};

	set_powers(w, a, b);
	if (a->whole_from) {
		h = first_step(p, a);
		i = first_step(q, b);
	}
	h = whole_steps(p, a, h, a->whole_from, a->steps - 1, 0xff, false, false);
	i = whole_steps(q, b, i, b->whole_from, b->steps - 1, 0xff, false, false);
	h = partial_step(p, a, h, a->steps - 1, true);
	i = partial_step(q, b, i, b->steps - 1, true);
	finish(w, a, h);
	finish(w, b, i);
}

// Groups are dealt before the ones in front of them are worked on: their vectors are written in
// parts, and those are out of the store queue by the time they are loaded whole.
void aead_avx512_poly(struct work *w)
{
	struct poly_group *groups = w->groups;
	unsigned packets = 0, dealt = 0, done = 0;

	for (;;) {
		const struct poly_group *a = &groups[done % POLY_AHEAD];
		const struct poly_group *b = &groups[(done + 1) % POLY_AHEAD];

		for (; packets < w->n && dealt - done < POLY_AHEAD; dealt++) {
			aead_avx512_deal(&groups[dealt % POLY_AHEAD], w, packets);
			packets += groups[dealt % POLY_AHEAD].n;
		}
		if (dealt - done >= 2 && alike(a, b)) {
			poly_two(w, a, b);
			done += 2;
		} else if (done < dealt) {
			poly_one(w, a);
			done++;
		} else {
			return;
		}
	}
}

#include "dataplane/crypto/aead_avx512_end.h"
