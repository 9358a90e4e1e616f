// What comes from the Poly1305 keys: the powers of r before the sums, and s after them. Both for
// eight neighbours in the order of packets at a time, however the lanes are dealt out.
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

// r to r^4 of packets 8 i on, and, side by side, of the eight after them. tiny: r and r^2 only.
static __attribute__((noinline)) void set_powers(struct work *w, unsigned i, bool two, bool tiny)
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
	if (two)
		factor_set(&q->r2, r2[1]);
	if (tiny)
		return;
	r3[0] = mul(r2[0], &p->r1);
	r4[0] = mul(r2[0], &p->r2);
	if (two) {
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
	if (g->tiny)
		return;
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

// For lanes that share packets: r^(4 k) for r^4, and r^(4 behind + 1).
static inline void share_powers(
	struct poly_powers *p, struct fe_factor *to_end, const struct poly_group *g)
{
	const struct fe one = fe_one(), r4 = factor_value(&p->r4), r8 = mul(r4, &p->r4);
	struct fe last = mul(fe_select(bit_lanes(g->behind, 0), one, r4), &p->r1);
	struct fe run = fe_select(g->wide[0], r4, r8), r16;
	struct fe_factor f;

	if (g->wide[1]) {
		factor_set(&f, fe_select(bit_lanes(g->behind, 1), one, r8));
		last = mul(last, &f);
		r16 = square(r8);
		run = fe_select(g->wide[1], run, r16);
	}
	if (g->wide[2]) {
		factor_set(&f, fe_select(bit_lanes(g->behind, 2), one, r16));
		last = mul(last, &f);
		run = fe_select(g->wide[2], run, square(r16));
	}
	factor_set(&p->r4, run);
	factor_set(to_end, last);
}

// The powers of a group whose lanes are not the eight in which it begins.
static __attribute__((noinline)) void prepare(
	struct work *w, struct poly_picked *to, const struct poly_group *g)
{
	const unsigned eight = g->first / POLY_LANES;

	pick_powers(&to->powers, powers_of(w, eight), powers_of(w, eight + 1), g);
	if (g->shared)
		share_powers(&to->powers, &to->end, g);
	else if (!g->equal)
		to->end = to->powers.r1;
}

// Are the packets of all groups that have some of eight i tiny, and so, in order, all after them?
static bool tiny_eight(const struct work *w, unsigned i)
{
	const uint64_t len = w->len[i ? POLY_LANES * i - (POLY_LANES - 1) : 0];

	return is_tiny(len) && len == w->len[w->n - 1];
}

void aead_avx512_powers(struct work *w)
{
	const unsigned eights = (w->n + POLY_LANES - 1) / POLY_LANES;
	const unsigned eight = w->groups[w->absorbed % POLY_AHEAD].first / POLY_LANES;

	for (; w->powers_set < eights && w->powers_set <= eight + 2; w->powers_set += 2) {
		const bool tiny = tiny_eight(w, w->powers_set);

		set_powers(w, w->powers_set, w->powers_set + 1 < eights, tiny);
		if (!tiny)
			w->powers_full = w->powers_set + 2;
	}
	for (; w->prepared < w->dealt && w->prepared < w->absorbed + 2; w->prepared++) {
		const struct poly_group *next = &w->groups[w->prepared % POLY_AHEAD];

		if (has_picked(next)) {
			w->picked_used |= 1u << w->prepared % 2;
			prepare(w, &w->picked[w->prepared % 2], next);
		}
	}
}

// Sums plus s, modulo 2^128: the tags of eight packets.
static inline void make_tags(struct work *w, unsigned first)
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

void aead_avx512_tags(struct work *w)
{
	for (unsigned i = 0; i < w->n; i += POLY_LANES)
		make_tags(w, i);
}

#include "dataplane/crypto/aead_avx512_end.h"
