// Poly1305 in eight lanes, radix 2^44, with IFMA.
//
// A lane takes windows of four blocks: h = (h + m0) r^4 + m1 r^3 + m2 r^2 + m3 r. When k lanes
// share a packet each takes every k-th window, with r^(4 k) to r^(4 k - 3), and its last one with
// what brings it to the packet's end. Messages are aligned at their ends: all lanes finish
// together, and what a lane lacks at the front is zero. The powers of r are made, and the sums
// finished, for eight neighbours in the order of packets at a time, however the lanes are dealt out
// between.
#include "dataplane/crypto/aead_avx512_field.h"

// 64-bit values of eight packets from two words of the Poly1305 keys.
static inline __m512i key_values(const struct work *w, unsigned first, unsigned word)
{
	const __m256i lo = _mm256_loadu_si256((const __m256i *)(w->poly_key[word] + first));
	const __m256i hi = _mm256_loadu_si256((const __m256i *)(w->poly_key[word + 1] + first));

	return _mm512_or_si512(
		_mm512_cvtepu32_epi64(lo), _mm512_slli_epi64(_mm512_cvtepu32_epi64(hi), 32));
}

static inline struct fe key_r(const struct work *w, unsigned first)
{
	const __m512i lo =
		_mm512_and_si512(key_values(w, first, 0), _mm512_set1_epi64(0x0ffffffc0fffffff));
	const __m512i hi =
		_mm512_and_si512(key_values(w, first, 2), _mm512_set1_epi64(0x0ffffffc0ffffffc));

	return fe_load(lo, hi, _mm512_setzero_si512());
}

static inline struct poly_powers *powers_of(struct work *w, unsigned eight)
{
	return &w->powers[eight % POLY_POWERS];
}

// r to r^4 of packets 8 i on, and, side by side, of the eight after them.
static __attribute__((noinline)) void set_powers(struct work *w, unsigned i, bool two)
{
	struct poly_powers *p = powers_of(w, i), *q = powers_of(w, i + 1);
	struct fe r[2], r2[2], r3[2], r4[2];

	r[0] = key_r(w, POLY_LANES * i);
	factor_set(&p->r1, r[0]);
	if (two) {
		r[1] = key_r(w, POLY_LANES * (i + 1));
		factor_set(&q->r1, r[1]);
	}
	r2[0] = mul(r[0], &p->r1);
	if (two)
		r2[1] = mul(r[1], &q->r1);
	factor_set(&p->r2, r2[0]);
	r3[0] = mul(r2[0], &p->r1);
	r4[0] = mul(r2[0], &p->r2);
	if (two) {
		factor_set(&q->r2, r2[1]);
		r3[1] = mul(r2[1], &q->r1);
		r4[1] = mul(r2[1], &q->r2);
		factor_set(&q->r3, r3[1]);
		factor_set(&q->r4, r4[1]);
	}
	factor_set(&p->r3, r3[0]);
	factor_set(&p->r4, r4[0]);
}

#define PICK(r, x) to->r.x = _mm512_permutex2var_epi64(low->r.x, g->pick, high->r.x)
#define PICK_FACTOR(r) PICK(r, r0), PICK(r, r1), PICK(r, r2), PICK(r, s1), PICK(r, s2)
// The powers for the lanes of a group, from the eight that it begins in and from the next.
static inline void pick_powers(struct poly_powers *to, const struct poly_powers *low,
	const struct poly_powers *high, const struct poly_group *g)
{
	PICK_FACTOR(r1);
	PICK_FACTOR(r2);
	PICK_FACTOR(r3);
	PICK_FACTOR(r4);
}
#undef PICK_FACTOR
#undef PICK

static inline __mmask8 bit_lanes(__m512i x, unsigned bit)
{
	return _mm512_test_epi64_mask(x, _mm512_set1_epi64(1LL << bit));
}

static inline struct fe factor_value(const struct fe_factor *f)
{
	return (struct fe){f->r0, f->r1, f->r2};
}

// r^(4 behind).
static inline struct fe power_behind(const struct fe_factor *r4, const struct poly_group *g)
{
	const struct fe one = fe_one();
	struct fe power = fe_select(bit_lanes(g->behind, 0), one, factor_value(r4)), r8;
	struct fe_factor f;

	if (!g->wide[1])
		return power;
	r8 = mul(factor_value(r4), r4);
	factor_set(&f, fe_select(bit_lanes(g->behind, 1), one, r8));
	power = mul(power, &f);
	if (!g->wide[2])
		return power;
	factor_set(&f, fe_select(bit_lanes(g->behind, 2), one, square(r8)));
	return mul(power, &f);
}

static inline void factor_lead(struct fe_factor *to, const struct fe_factor *f, __m512i lead)
{
	to->r0 = _mm512_permutexvar_epi64(lead, f->r0);
	to->r1 = _mm512_permutexvar_epi64(lead, f->r1);
	to->r2 = _mm512_permutexvar_epi64(lead, f->r2);
	to->s1 = _mm512_permutexvar_epi64(lead, f->s1);
	to->s2 = _mm512_permutexvar_epi64(lead, f->s2);
}

// For lanes that share packets: end, r to r^4 as picked, is multiplied by r^(4 behind). The first
// lane of k is k - 1 windows behind, so that its powers are what all of them need from one of their
// windows to the next.
static inline void share_powers(
	struct poly_powers *end, struct poly_powers *run, const struct poly_group *g)
{
	struct fe_factor f;

	factor_set(&f, power_behind(&end->r4, g));
	factor_set(&end->r1, mul(factor_value(&end->r1), &f));
	factor_set(&end->r2, mul(factor_value(&end->r2), &f));
	factor_set(&end->r3, mul(factor_value(&end->r3), &f));
	factor_set(&end->r4, mul(factor_value(&end->r4), &f));
	factor_lead(&run->r1, &end->r1, g->lead);
	factor_lead(&run->r2, &end->r2, g->lead);
	factor_lead(&run->r3, &end->r3, g->lead);
	factor_lead(&run->r4, &end->r4, g->lead);
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

static inline __m512i row(uintptr_t at, uintptr_t off)
{
	return _mm512_loadu_si512((const void *)(at + off));
}

// Steps in which a lane has a whole window, or, where it is not busy, has not begun and reads
// zeros. strided: lanes do not all go on by one window.
static inline struct fe whole_steps(const struct poly_powers *p, const struct poly_group *g,
	struct fe h, unsigned from, unsigned until, __mmask8 busy, bool strided)
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
		h = absorb(p, h, transpose(r), (struct pads){bit, bit, bit, bit});
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
	return absorb(p, h, b,
		(struct pads){pad_at(off, 0), pad_at(off, 1), pad_at(off, 2), pad_at(off, 3)});
}

// The last step of eight packets of one length that is not the first one, too: no window begins
// before its packet, and all have the same bytes masked off.
static inline struct fe equal_end(
	const struct poly_powers *p, const struct poly_group *g, struct fe h)
{
	const __m512i bit = _mm512_set1_epi64(1LL << 40);
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
	return absorb(p, h, b, (struct pads){bit, bit, bit, bit});
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

// Sums plus s, modulo 2^128: the tags of eight packets.
static inline void finish(struct work *w, unsigned first)
{
	const __m512i first_half = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11);
	const __m512i second_half = _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15);
	const __m512i s_lo = key_values(w, first, 4), s_hi = key_values(w, first, 6);
	const struct fe h = reduce((struct fe){_mm512_loadu_si512(w->sums[0] + first),
		_mm512_loadu_si512(w->sums[1] + first), _mm512_loadu_si512(w->sums[2] + first)});
	__m512i lo, hi;

	lo = _mm512_or_si512(h.l0, _mm512_slli_epi64(h.l1, 44));
	hi = _mm512_or_si512(_mm512_srli_epi64(h.l1, 20), _mm512_slli_epi64(h.l2, 24));
	lo = _mm512_add_epi64(lo, s_lo);
	hi = _mm512_add_epi64(hi, s_hi);
	hi = _mm512_mask_add_epi64(hi, _mm512_cmplt_epu64_mask(lo, s_lo), hi, _mm512_set1_epi64(1));
	_mm512_storeu_si512(w->tags[first], _mm512_permutex2var_epi64(lo, first_half, hi));
	_mm512_storeu_si512(w->tags[first + 4], _mm512_permutex2var_epi64(lo, second_half, hi));
}

// The step at which the next lane begins, or the last step.
static inline unsigned next_begin(const struct poly_group *g, unsigned step)
{
	const __mmask8 later = _mm512_cmpgt_epi64_mask(g->begin, _mm512_set1_epi64(step));
	const uint64_t next = _mm512_mask_reduce_min_epu64(later, g->begin);

	return next < g->steps - 1 ? (unsigned)next : g->steps - 1;
}

// All steps but the last: where a lane begins within its window, that is masked.
static inline struct fe early_steps(const struct poly_powers *p, const struct poly_group *g)
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
			h = s == 0 && g->lone ? lone_step(p, g) : partial_step(p, g, h, s, false);
		} else {
			until = next_begin(g, s);
			if (g->shared || busy != 0xff)
				h = whole_steps(p, g, h, s, until, busy, true);
			else
				h = whole_steps(p, g, h, s, until, 0xff, false);
		}
		s = until;
	}
	return h;
}

static __attribute__((noinline)) void absorb_group(struct work *w, const struct poly_group *g)
{
	const unsigned eight = g->first / POLY_LANES;
	const struct poly_powers *end = powers_of(w, eight), *run = end;
	struct fe h;

	if (!g->equal || g->first % POLY_LANES) {
		w->picked_used = true;
		pick_powers(&w->picked[0], end, powers_of(w, eight + 1), g);
		run = end = &w->picked[0];
	}
	if (g->shared) {
		share_powers(&w->picked[0], &w->picked[1], g);
		run = &w->picked[1];
	}
	h = early_steps(run, g);
	if (g->equal && g->steps > 1)
		h = equal_end(end, g, h);
	else
		h = partial_step(end, g, h, g->steps - 1, true);
	if (g->shared)
		h = add_lanes(g, h);
	put_sums(w, g, h);
}

// Groups are dealt before the ones in front of them are worked on: their vectors are written in
// parts, and those are out of the store queue by the time they are loaded whole.
void aead_avx512_poly(struct work *w)
{
	const unsigned eights = (w->n + POLY_LANES - 1) / POLY_LANES;
	struct poly_group *groups = w->groups;
	unsigned packets = 0, dealt = 0, powers = 0;

	for (unsigned done = 0; done < dealt || packets < w->n; done++) {
		const struct poly_group *g = &groups[done % POLY_AHEAD];

		for (; packets < w->n && dealt - done < POLY_AHEAD; dealt++) {
			aead_avx512_deal(&groups[dealt % POLY_AHEAD], w, packets);
			packets += groups[dealt % POLY_AHEAD].n;
		}
		for (; powers < eights && powers <= g->first / POLY_LANES + 2; powers += 2)
			set_powers(w, powers, powers + 1 < eights);
		absorb_group(w, g);
	}
	for (unsigned i = 0; i < w->n; i += POLY_LANES)
		finish(w, i);
}

#include "dataplane/crypto/aead_avx512_end.h"
