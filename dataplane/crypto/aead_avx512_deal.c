// Which packets, or parts of packets, the eight lanes of Poly1305 take. Vectors throughout: with
// packets of any length a branch per packet would be foretold wrong.
#include "dataplane/crypto/aead_avx512.h"

static inline __m512i iota64(void)
{
	return _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7);
}

// A message's blocks and that of its length, in windows, of eight packets.
static inline __m512i windows_of(__m512i len)
{
	return _mm512_add_epi64(
		_mm512_srli_epi64(_mm512_add_epi64(len, _mm512_set1_epi64(POLY_BLOCK - 1)), 6),
		_mm512_set1_epi64(1));
}

// x of the lane i below, and zero.
#define UP(x, i) _mm512_alignr_epi64(x, _mm512_setzero_si512(), 8 - (i))

static inline __m512i sums_until(__m512i x)
{
	x = _mm512_add_epi64(x, UP(x, 1));
	x = _mm512_add_epi64(x, UP(x, 2));
	return _mm512_add_epi64(x, UP(x, 4));
}

static inline __m512i greatest_until(__m512i x)
{
	x = _mm512_max_epi64(x, UP(x, 1));
	x = _mm512_max_epi64(x, UP(x, 2));
	return _mm512_max_epi64(x, UP(x, 4));
}
#undef UP

// How the lanes are dealt out to the next eight packets, the longest first.
struct deal {
	__m512i k;	// lanes of each packet: 1, 2, 4, 8, not rising
	__m512i until;	// lanes of the packets up to each
	__mmask8 taken; // packets that get theirs
	unsigned steps;
};

// The longest packet gets 2^doublings lanes, the others as many as they need to end with it.
static inline struct deal deal_from(
	__m512i windows, __mmask8 there, unsigned longest, unsigned doublings)
{
	const unsigned steps = (longest + (1u << doublings) - 1) >> doublings;
	struct deal d = {.k = _mm512_set1_epi64(1), .steps = steps};

	for (unsigned i = 0; i < 3; i++)
		d.k = _mm512_mask_add_epi64(d.k,
			_mm512_cmpgt_epi64_mask(windows, _mm512_set1_epi64(steps << i)), d.k, d.k);
	d.until = sums_until(d.k);
	d.taken = _mm512_mask_cmple_epi64_mask(there, d.until, _mm512_set1_epi64(POLY_LANES));
	return d;
}

// The doublings with which most windows are done in a step; the fewest, where some are as good.
// Each group takes about 3 steps more, and one with shared lanes another 3, for the powers of r.
// Quarter i of a vector has the eight packets with i doublings.
static inline unsigned best_doublings(__m512i windows, __mmask8 there)
{
	const __m512i ones = _mm512_set1_epi16(1);
	const __m512i doublings =
		_mm512_set_epi64(0x0003000300030003, 0x0003000300030003, 0x0002000200020002,
			0x0002000200020002, 0x0001000100010001, 0x0001000100010001, 0, 0);
	const __m512i first_words =
		_mm512_setr_epi32(0, 4, 8, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
	const __m128 more = _mm_setr_ps(3, 6, 6, 6);
	// Longer packets than there are: a worse deal, but a deal.
	const __m128i eight = _mm512_cvtusepi64_epi16(
		_mm512_min_epu64(windows, _mm512_set1_epi64(INT16_MAX / 8)));
	const __m512i w = _mm512_broadcast_i32x4(_mm_maskz_mov_epi16(there, eight));
	const __m512i longest = _mm512_broadcastw_epi16(eight);
	const __m512i steps = _mm512_srlv_epi16(
		_mm512_add_epi16(
			longest, _mm512_sub_epi16(_mm512_sllv_epi16(ones, doublings), ones)),
		doublings);
	__m512i k = ones, until, done;
	__m128i cost;
	__m128 rate, best;

	for (unsigned i = 0; i < 3; i++)
		k = _mm512_mask_add_epi16(
			k, _mm512_cmpgt_epi16_mask(w, _mm512_slli_epi16(steps, i)), k, k);
	until = _mm512_add_epi16(k, _mm512_bslli_epi128(k, 2));
	until = _mm512_add_epi16(until, _mm512_bslli_epi128(until, 4));
	until = _mm512_add_epi16(until, _mm512_bslli_epi128(until, 8));
	done = _mm512_maskz_mov_epi16(
		_mm512_cmple_epi16_mask(until, _mm512_set1_epi16(POLY_LANES)), w);
	done = _mm512_madd_epi16(done, ones);
	done = _mm512_add_epi32(done, _mm512_shuffle_epi32(done, 0x4e));
	done = _mm512_add_epi32(done, _mm512_shuffle_epi32(done, 0xb1));
	done = _mm512_permutexvar_epi32(first_words, done);
	cost = _mm512_castsi512_si128(_mm512_permutexvar_epi32(
		first_words, _mm512_and_si512(steps, _mm512_set1_epi32(UINT16_MAX))));
	rate = _mm_div_ps(_mm_cvtepi32_ps(_mm512_castsi512_si128(done)),
		_mm_add_ps(_mm_cvtepi32_ps(cost), more));
	best = _mm_max_ps(rate, _mm_shuffle_ps(rate, rate, 0x4e));
	best = _mm_max_ps(best, _mm_shuffle_ps(best, best, 0xb1));
	return (unsigned)__builtin_ctz((unsigned)_mm_movemask_ps(_mm_cmpeq_ps(rate, best)));
}

static inline struct deal deal_lanes(__m512i windows, __mmask8 there)
{
	const unsigned longest = (unsigned)_mm_cvtsi128_si32(_mm512_castsi512_si128(windows));

	return deal_from(windows, there, longest, best_doublings(windows, there));
}

// The vectors of a group: what its lanes are. Idle ones do again what the last packet's first lane
// does, and nobody looks at it.
static inline void set_lanes(
	struct poly_group *g, const struct work *w, const struct deal *d, unsigned lanes)
{
	const __m512i len = _mm512_loadu_si512(w->len + g->first);
	const __m512i start = _mm512_sub_epi64(d->until, d->k);
	const __m512i packet = greatest_until(_mm512_maskz_expand_epi64(g->leads, iota64()));
	const __m512i k = _mm512_permutexvar_epi64(packet, d->k);
	const __m512i j = _mm512_maskz_sub_epi64(
		(__mmask8)((1u << lanes) - 1), iota64(), _mm512_permutexvar_epi64(packet, start));
	__m512i blocks, before, doublings = _mm512_setzero_si512();

	for (unsigned i = 0; i < 3; i++) {
		g->wide[i] = _mm512_cmpgt_epi64_mask(k, _mm512_set1_epi64(1 << i));
		doublings = _mm512_mask_add_epi64(
			doublings, g->wide[i], doublings, _mm512_set1_epi64(1));
	}
	g->pick = _mm512_add_epi64(packet, _mm512_set1_epi64(g->first % POLY_LANES));
	g->behind = _mm512_sub_epi64(_mm512_sub_epi64(k, _mm512_set1_epi64(1)), j);
	g->stride = _mm512_slli_epi64(k, 6);
	g->len = _mm512_permutexvar_epi64(packet, len);
	g->data = _mm512_permutexvar_epi64(packet, _mm512_loadu_si512(w->data + g->first));
	blocks = _mm512_srli_epi64(
		_mm512_add_epi64(g->len, _mm512_set1_epi64(2 * POLY_BLOCK - 1)), 4);
	before = _mm512_sub_epi64(
		_mm512_mul_epu32(g->stride, _mm512_set1_epi64(g->steps)), _mm512_slli_epi64(j, 6));
	g->off = _mm512_sub_epi64(_mm512_slli_epi64(blocks, 4), before);
	// Steps whose windows end at or before the packet's start.
	before = _mm512_max_epi64(_mm512_sub_epi64(_mm512_set1_epi64(1 - POLY_WINDOW), g->off),
		_mm512_setzero_si512());
	before = _mm512_add_epi64(before, _mm512_sub_epi64(g->stride, _mm512_set1_epi64(1)));
	g->begin = _mm512_srlv_epi64(before, _mm512_add_epi64(doublings, _mm512_set1_epi64(6)));
}

// Packets of one length, a lane each. Idle lanes do the first one's once more.
static inline void deal_equal(
	struct poly_group *g, const struct work *w, __m512i len, __mmask8 there)
{
	const __m512i data = _mm512_loadu_si512(w->data + g->first);
	const unsigned blocks =
		((unsigned)_mm_cvtsi128_si32(_mm512_castsi512_si128(len)) + POLY_BLOCK - 1) /
		POLY_BLOCK;
	const unsigned steps = blocks / 4 + 1;
	const int64_t off = (int64_t)POLY_BLOCK * (blocks + 1) - (int64_t)POLY_WINDOW * steps;

	g->off = _mm512_set1_epi64(off);
	g->stride = _mm512_set1_epi64(POLY_WINDOW);
	g->len = len;
	g->data = _mm512_mask_mov_epi64(
		_mm512_broadcastq_epi64(_mm512_castsi512_si128(data)), there, data);
	g->pick = _mm512_add_epi64(iota64(), _mm512_set1_epi64(g->first % POLY_LANES));
	g->behind = _mm512_setzero_si512();
	g->begin = _mm512_setzero_si512();
	g->steps = steps;
	g->n = (unsigned)__builtin_popcount(there);
	g->equal = true;
	g->shared = false;
	g->lone = steps > 1 && off == POLY_BLOCK - POLY_WINDOW;
	g->tiny = is_tiny((uint64_t)_mm_cvtsi128_si64(_mm512_castsi512_si128(len)));
	g->leads = there;
}

static inline void deal_mixed(
	struct poly_group *g, const struct work *w, __m512i len, __mmask8 there)
{
	const struct deal d = deal_lanes(windows_of(len), there);
	const unsigned lanes = (unsigned)_mm512_mask_reduce_add_epi64(d.taken, d.k);

	g->steps = d.steps;
	g->n = (unsigned)__builtin_popcount(d.taken);
	g->equal = false;
	g->lone = g->tiny = false;
	g->leads = (__mmask8)_mm512_mask_reduce_or_epi64(
		d.taken, _mm512_sllv_epi64(_mm512_set1_epi64(1), _mm512_sub_epi64(d.until, d.k)));
	set_lanes(g, w, &d, lanes);
	g->shared = g->wide[0] != 0;
}

void aead_avx512_deal(struct poly_group *g, const struct work *w, unsigned first)
{
	enum { SHORT = 3 * POLY_WINDOW }; // not worth sharing
	const unsigned left = w->n - first, last = left < POLY_LANES ? left - 1 : POLY_LANES - 1;
	const __mmask8 there = (__mmask8)((2u << last) - 1);
	const uint64_t longest = w->len[first];

	g->first = first;
	if (w->len[first + last] == longest && (left >= POLY_LANES || longest < SHORT))
		deal_equal(g, w, _mm512_set1_epi64((long long)longest), there);
	else
		deal_mixed(g, w, _mm512_loadu_si512(w->len + first), there);
}
#include "dataplane/crypto/aead_avx512_end.h"
