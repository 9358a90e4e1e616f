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

// The deal that gets most windows done in a step. Each group takes about 3 steps more, and one
// with shared lanes another 2, for the powers of r.
static inline struct deal deal_lanes(__m512i windows, __mmask8 there)
{
	enum { STEPS = 3, STEPS_SHARED = 2 };
	const unsigned longest = (unsigned)_mm_cvtsi128_si32(_mm512_castsi512_si128(windows));
	uint64_t best_done = 0, best_cost = 1;
	unsigned best = 0;

	for (unsigned doublings = 0; doublings <= 3; doublings++) {
		const struct deal d = deal_from(windows, there, longest, doublings);
		const uint64_t done = (uint64_t)_mm512_mask_reduce_add_epi64(d.taken, windows);
		const uint64_t cost = d.steps + STEPS + (doublings ? STEPS_SHARED : 0);
		const bool better = done * best_cost > best_done * cost;

		best = better ? doublings : best;
		best_done = better ? done : best_done;
		best_cost = better ? cost : best_cost;
	}
	return deal_from(windows, there, longest, best);
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
	g->lead = _mm512_sub_epi64(iota64(), j);
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
	g->lone = false;
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
