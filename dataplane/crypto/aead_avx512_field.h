// Numbers modulo 2^130 - 5 in eight lanes: limbs of 44, 44 and 42 bits, products with IFMA. No
// loops and no arrays where a register is meant: gcc would keep them in memory.
#pragma once

#include "dataplane/crypto/aead_avx512.h"

static inline __m512i low44(__m512i x)
{
	return _mm512_and_si512(x, _mm512_set1_epi64((1LL << 44) - 1));
}

static inline __m512i low42(__m512i x)
{
	return _mm512_and_si512(x, _mm512_set1_epi64((1LL << 42) - 1));
}

static inline __m512i times5(__m512i x)
{
	return _mm512_add_epi64(x, _mm512_slli_epi64(x, 2));
}

// Bits 44 to 87 of the 128 in hi, lo.
static inline __m512i middle44(__m512i lo, __m512i hi)
{
	return _mm512_ternarylogic_epi64(_mm512_srli_epi64(lo, 44), _mm512_slli_epi64(hi, 20),
		_mm512_set1_epi64((1LL << 44) - 1), 0xa8); // (a | b) & c
}

// pad: 2^40 for a whole block, its bit 128.
static inline struct fe fe_load(__m512i lo, __m512i hi, __m512i pad)
{
	return (struct fe){
		low44(lo), middle44(lo, hi), _mm512_or_si512(_mm512_srli_epi64(hi, 24), pad)};
}

static inline struct fe fe_one(void)
{
	return (struct fe){.l0 = _mm512_set1_epi64(1)};
}

static inline struct fe fe_add(struct fe a, struct fe b)
{
	return (struct fe){_mm512_add_epi64(a.l0, b.l0), _mm512_add_epi64(a.l1, b.l1),
		_mm512_add_epi64(a.l2, b.l2)};
}

// b in the lanes of mask, a in the others.
static inline struct fe fe_select(__mmask8 mask, struct fe a, struct fe b)
{
	return (struct fe){_mm512_mask_blend_epi64(mask, a.l0, b.l0),
		_mm512_mask_blend_epi64(mask, a.l1, b.l1),
		_mm512_mask_blend_epi64(mask, a.l2, b.l2)};
}

static inline void factor_set(struct fe_factor *f, struct fe a)
{
	f->r0 = a.l0;
	f->r1 = a.l1;
	f->r2 = a.l2;
	f->s1 = _mm512_slli_epi64(times5(a.l1), 2);
	f->s2 = _mm512_slli_epi64(times5(a.l2), 2);
}

// Sums of products: lo i at 2^(44 i), hi i at 2^(44 i + 52).
struct sums {
	__m512i lo0, lo1, lo2, hi0, hi1, hi2;
};

#define MUL(i, x, y)                                                                               \
	d.lo##i = _mm512_madd52lo_epu64(d.lo##i, a.x, f->y);                                       \
	d.hi##i = _mm512_madd52hi_epu64(d.hi##i, a.x, f->y)

// In the order in which carry has the limbs ready.
static inline struct sums mul_add(struct sums d, struct fe a, const struct fe_factor *f)
{
	MUL(0, l2, s1);
	MUL(1, l2, s2);
	MUL(2, l2, r0);
	MUL(0, l0, r0);
	MUL(1, l0, r1);
	MUL(2, l0, r2);
	MUL(0, l1, s2);
	MUL(1, l1, r0);
	MUL(2, l1, r1);
	return d;
}
#undef MUL

static inline struct sums sums_add(struct sums d, struct sums e)
{
	return (struct sums){
		_mm512_add_epi64(d.lo0, e.lo0),
		_mm512_add_epi64(d.lo1, e.lo1),
		_mm512_add_epi64(d.lo2, e.lo2),
		_mm512_add_epi64(d.hi0, e.hi0),
		_mm512_add_epi64(d.hi1, e.hi1),
		_mm512_add_epi64(d.hi2, e.hi2),
	};
}

// Of up to 15 products of limbs below 2^45 and 2^49: lo < 2^56, hi < 2^46. The result's limbs are
// below 2^44, 2^44 + 2^15 and 2^42.
static inline struct fe carry(struct sums d)
{
	__m512i t1 = _mm512_add_epi64(d.lo1, _mm512_slli_epi64(d.hi0, 8));
	__m512i t2 = _mm512_add_epi64(d.lo2, _mm512_slli_epi64(d.hi1, 8));
	__m512i top = _mm512_slli_epi64(d.hi2, 10);
	__m512i t0 = low44(d.lo0);

	t1 = _mm512_add_epi64(t1, _mm512_srli_epi64(d.lo0, 44));
	t2 = _mm512_add_epi64(t2, _mm512_srli_epi64(t1, 44));
	top = _mm512_add_epi64(top, _mm512_srli_epi64(t2, 42));
	t0 = _mm512_add_epi64(_mm512_add_epi64(t0, top), _mm512_slli_epi64(top, 2));
	return (struct fe){
		low44(t0), _mm512_add_epi64(low44(t1), _mm512_srli_epi64(t0, 44)), low42(t2)};
}

static inline struct fe mul(struct fe a, const struct fe_factor *f)
{
	const struct sums none = {0};

	return carry(mul_add(none, a, f));
}

static inline struct fe square(struct fe a)
{
	struct fe_factor f;

	factor_set(&f, a);
	return mul(a, &f);
}

static inline struct fe carry_round(struct fe h)
{
	h.l1 = _mm512_add_epi64(h.l1, _mm512_srli_epi64(h.l0, 44));
	h.l2 = _mm512_add_epi64(h.l2, _mm512_srli_epi64(h.l1, 44));
	h.l0 = _mm512_add_epi64(low44(h.l0), times5(_mm512_srli_epi64(h.l2, 42)));
	h.l1 = low44(h.l1);
	h.l2 = low42(h.l2);
	return h;
}

// The one representative below 2^130 - 5.
static inline struct fe reduce(struct fe h)
{
	struct fe g;
	__mmask8 not_less;

	h = carry_round(carry_round(h));
	h.l1 = _mm512_add_epi64(h.l1, _mm512_srli_epi64(h.l0, 44));
	h.l0 = low44(h.l0);
	// h + 5 reaches 2^130: h is at least the modulus, and h + 5 - 2^130 is what remains.
	g.l0 = _mm512_add_epi64(h.l0, _mm512_set1_epi64(5));
	g.l1 = _mm512_add_epi64(h.l1, _mm512_srli_epi64(g.l0, 44));
	g.l2 = _mm512_add_epi64(h.l2, _mm512_srli_epi64(g.l1, 44));
	not_less = _mm512_test_epi64_mask(g.l2, _mm512_set1_epi64(1LL << 42));
	return fe_select(not_less, h, (struct fe){low44(g.l0), low44(g.l1), low42(g.l2)});
}
