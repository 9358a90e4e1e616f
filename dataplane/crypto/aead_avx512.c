// ChaCha20-Poly1305 across the packets of a burst with AVX-512 (F, BW, VL, IFMA).
#include "dataplane/crypto/aead_avx512.h"

static void *create(void)
{
	struct work *w;

	if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
		!__builtin_cpu_supports("avx512vl") || !__builtin_cpu_supports("avx512ifma"))
		return NULL;
	w = aligned_alloc(64, (sizeof(*w) + 63) / 64 * 64);
	if (!w)
		return NULL;
	memset(w, 0, sizeof(*w));
	return w;
}

static void destroy(void *state)
{
	free(state); // every burst has wiped it
}

// Positions of the packets by falling length: a rank is the number of those that go before.
static void sort(uint8_t order[static AEAD_BURST], const struct aead_op ops[], unsigned n)
{
	uint32_t sizes[AEAD_BURST] = {0};

	if (aead_sizes(sizes, order, ops, n))
		return;
	for (unsigned i = 0; i < n; i++) {
		const __m512i size = _mm512_set1_epi32((int)sizes[i]);
		unsigned rank = 0;

		for (unsigned k = 0; k < n; k += SET)
			rank += (unsigned)__builtin_popcount(
				_mm512_cmpgt_epi32_mask(_mm512_loadu_si512(sizes + k), size));
		order[rank] = (uint8_t)i;
	}
}

static void begin(struct work *w, const struct aead_op ops[], unsigned n)
{
	static const uint32_t sigma[] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};

	w->ops = ops;
	w->n = n;
	w->skip = 0;
	w->lanes_used = 0;
	w->cursor = (struct chacha_cursor){0};
	w->only_key = aead_only_key(ops, n);
	w->set_key[0] = w->set_key[1] = NULL;
	sort(w->order, ops, n);
	for (w->n_data = n; w->n_data > 0 && ops[w->order[w->n_data - 1]].len == 0;)
		w->n_data--;
	for (unsigned set = 0; set < 2; set++) {
		for (unsigned i = 0; i < 4; i++)
			w->state[set][i] = _mm512_set1_epi32((int)sigma[i]);
		w->state[set][13] = _mm512_setzero_si512(); // the nonce begins with 4 zero bytes
		for (unsigned i = 0; i < 8 && w->only_key; i++) {
			uint32_t word;

			memcpy(&word, w->only_key + 4 * i, sizeof(word));
			w->state[set][4 + i] = _mm512_set1_epi32((int)word);
		}
	}
}

// What compilers spilled: the deepest frames, poly_two's of gcc and what it calls, are 5 KB. Bytes,
// for an array of vectors would leave a gap where it is aligned.
static __attribute__((noinline)) void wipe_stack(void)
{
	uint8_t below[6144];

	explicit_bzero(below, sizeof(below));
}

// Everything that came from a key, as far as this burst has used it. The registers too.
static inline __attribute__((always_inline)) void wipe(struct work *w)
{
	const unsigned sets = (w->lanes_used + SET - 1) / SET;
	const unsigned keys = (w->n + SET - 1) / SET * SET; // stored a vector at a time

	for (unsigned i = 0; i < sets; i++) {
		explicit_bzero(w->state[i] + 4, sizeof(w->state[i]) / 2);
		explicit_bzero(w->stream[i], sizeof(w->stream[i]));
		explicit_bzero(w->spare + i * SET, sizeof(w->spare[0]) * SET);
	}
	for (unsigned i = 0; i < POLY_KEY_WORDS; i++)
		explicit_bzero(w->poly_key[i], sizeof(w->poly_key[i][0]) * keys);
	explicit_bzero(w->powers, sizeof(w->powers[0]) * (w->n > 1 ? 2 : 1));
	explicit_bzero(w->tags, w->n * AEAD_TAG_LEN);
	wipe_stack();
	aead_avx512_wipe_registers();
}

// The lanes to run, with those after them filled. NULL: that was all.
static struct chacha_lanes *next_lanes(struct work *w, unsigned turn)
{
	if (turn == 0)
		aead_avx512_fill(w, &w->lanes[0]);
	if (!w->lanes[turn % 2].n)
		return NULL;
	aead_avx512_fill(w, &w->lanes[(turn + 1) % 2]);
	return &w->lanes[turn % 2];
}

static void seal(void *state, const struct aead_op ops[], unsigned n)
{
	struct work *w = state;
	struct chacha_lanes *l;

	begin(w, ops, n);
	for (unsigned turn = 0; (l = next_lanes(w, turn)); turn++) {
		aead_avx512_rounds(w, l);
		aead_avx512_xor(w, l);
	}
	aead_avx512_poly(w);
	for (unsigned i = 0; i < n; i++) {
		const struct aead_op *op = &ops[w->order[i]];
		memcpy(op->data + op->len, w->tags[i], AEAD_TAG_LEN);
	}
	wipe(w);
}

static uint64_t check_tags(struct work *w)
{
	uint64_t authentic = 0;

	for (unsigned i = 0; i < w->n; i++) {
		const struct aead_op *op = &w->ops[w->order[i]];

		if (aead_tag_equal(w->tags[i], op->data + op->len))
			authentic |= UINT64_C(1) << w->order[i];
		else
			w->skip |= UINT64_C(1) << i;
	}
	return authentic;
}

// Lanes that were filled before their packet's tag was known to be wrong.
static void unhook_forged(struct work *w, struct chacha_lanes *l)
{
	for (unsigned i = l->n_keys; i < l->n; i++)
		if (w->skip >> l->position[i] & 1)
			l->at[i] = (uint8_t *)&w->spare[i];
}

// The keys first, then the tags, then the data. The last lanes of the keys may hold data already:
// their keystream waits until the tags are checked.
static uint64_t open(void *state, const struct aead_op ops[], unsigned n)
{
	struct work *w = state;
	uint64_t authentic = 0;
	struct chacha_lanes *l;

	begin(w, ops, n);
	for (unsigned turn = 0; (l = next_lanes(w, turn)); turn++) {
		aead_avx512_rounds(w, l);
		if (l->n_keys && l->keys_until == n) {
			aead_avx512_poly(w);
			authentic = check_tags(w);
		}
		if (w->skip)
			unhook_forged(w, l);
		if (l->keys_until == n)
			aead_avx512_xor(w, l);
	}
	for (uint64_t forged = w->skip; forged; forged &= forged - 1) {
		const struct aead_op *op = &ops[w->order[__builtin_ctzll(forged)]];
		memset(op->data, 0, op->len);
	}
	wipe(w);
	return authentic;
}

// Measured in bursts of 1 to 6 beside ipsec-mb: about 1000 cycles go before the first packet is
// done, and few packets of different lengths leave lanes idle. Ratios: two of 1420 B 0.98, of 8900
// B 1.16; three of equal length 1.04 to 1.21; of mixed lengths three 0.77, five 0.95, six 1.03.
static bool suits(const struct aead_op ops[], unsigned n)
{
	uint32_t shortest = UINT32_MAX, longest = 0;

	if (n >= 6)
		return true;
	for (unsigned i = 0; i < n; i++) {
		shortest = ops[i].len < shortest ? ops[i].len : shortest;
		longest = ops[i].len > longest ? ops[i].len : longest;
	}
	if (n < 3)
		return shortest >= 8192;
	return longest <= 2 * shortest + CHACHA_BLOCK;
}

static void poly1305(void *state, const struct aead_op ops[], unsigned n,
	uint8_t poly_keys[][KEY_LEN], uint8_t tags[][AEAD_TAG_LEN])
{
	struct work *w = state;

	begin(w, ops, n);
	for (unsigned i = 0; i < n; i++)
		for (unsigned k = 0; k < POLY_KEY_WORDS; k++)
			memcpy(&w->poly_key[k][i], poly_keys[w->order[i]] + 4 * k, 4);
	aead_avx512_poly(w);
	for (unsigned i = 0; i < n; i++)
		memcpy(tags[w->order[i]], w->tags[i], AEAD_TAG_LEN);
	wipe(w);
}

const struct aead_engine aead_avx512 = {
	.name = "avx512",
	.create = create,
	.destroy = destroy,
	.seal = seal,
	.open = open,
	.suits = suits,
	.poly1305 = poly1305,
	.state_size = sizeof(struct work),
};

#include "dataplane/crypto/aead_avx512_end.h"
