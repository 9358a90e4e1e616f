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

// Positions by falling length: each packet's rank is the number of those that go before it.
static void set_order(struct work *w)
{
	uint32_t sizes[AEAD_BURST];
	bool equal = true;

	for (unsigned i = 0; i < w->n; i++) {
		sizes[i] = (w->ops[i].len + POLY_BLOCK - 1) / POLY_BLOCK << 6 | (63 - i);
		equal &= w->ops[i].len == w->ops[0].len;
		w->order[i] = (uint8_t)i;
	}
	if (equal)
		return;
	for (unsigned i = w->n; i < AEAD_BURST; i++)
		sizes[i] = 0;
	for (unsigned i = 0; i < w->n; i++) {
		const __m512i size = _mm512_set1_epi32((int)sizes[i]);
		unsigned rank = 0;

		for (unsigned k = 0; k < w->n; k += SET)
			rank += (unsigned)__builtin_popcount(
				_mm512_cmpgt_epu32_mask(_mm512_loadu_si512(sizes + k), size));
		w->order[rank] = (uint8_t)i;
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
	w->only_key = ops[0].key;
	for (unsigned i = 1; i < n; i++)
		if (ops[i].key != w->only_key)
			w->only_key = NULL;
	set_order(w);
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

// What compilers spilled: the deepest frame, aead_avx512_poly's, is 5 KB.
static __attribute__((noinline)) void wipe_stack(void)
{
	uint8_t below[6144];

	explicit_bzero(below, sizeof(below));
}

// Everything that came from a key, as far as this burst has used it. The registers too.
static void wipe(struct work *w)
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

static void seal(void *state, const struct aead_op ops[], unsigned n)
{
	struct work *w = state;

	begin(w, ops, n);
	while (aead_avx512_fill(w)) {
		aead_avx512_rounds(w);
		aead_avx512_xor(w);
	}
	aead_avx512_poly(w);
	for (unsigned i = 0; i < n; i++) {
		const struct aead_op *op = &ops[w->order[i]];
		memcpy(op->data + op->len, w->tags[i], AEAD_TAG_LEN);
	}
	wipe(w);
}

// Branch-free: the time does not tell where the first difference lies.
static inline bool tag_equal(const uint8_t *a, const uint8_t *b)
{
	uint64_t x[2], y[2];

	memcpy(x, a, sizeof(x));
	memcpy(y, b, sizeof(y));
	return ((x[0] ^ y[0]) | (x[1] ^ y[1])) == 0;
}

static uint64_t check_tags(struct work *w)
{
	uint64_t authentic = 0;

	for (unsigned i = 0; i < w->n; i++) {
		const struct aead_op *op = &w->ops[w->order[i]];

		if (tag_equal(w->tags[i], op->data + op->len))
			authentic |= UINT64_C(1) << w->order[i];
		else
			w->skip |= UINT64_C(1) << i;
	}
	return authentic;
}

// The keys first, then the tags, then the data. The last lanes of the keys may hold data already:
// their keystream waits.
static uint64_t open(void *state, const struct aead_op ops[], unsigned n)
{
	struct work *w = state;
	uint64_t authentic;

	begin(w, ops, n);
	while (w->cursor.key < n && aead_avx512_fill(w))
		aead_avx512_rounds(w);
	aead_avx512_poly(w);
	authentic = check_tags(w);
	do {
		aead_avx512_xor(w);
		if (!aead_avx512_fill(w))
			break;
		aead_avx512_rounds(w);
	} while (true);
	for (uint64_t forged = w->skip; forged; forged &= forged - 1) {
		const struct aead_op *op = &ops[w->order[__builtin_ctzll(forged)]];
		memset(op->data, 0, op->len);
	}
	wipe(w);
	return authentic;
}

// Measured by perf/aead: one packet alone leaves the lanes idle.
static bool suits(const struct aead_op ops[], unsigned n)
{
	return n >= 4 || ops[0].len > 8192;
}

const struct aead_engine aead_avx512 = {
	.name = "avx512",
	.create = create,
	.destroy = destroy,
	.seal = seal,
	.open = open,
	.suits = suits,
};

#include "dataplane/crypto/aead_avx512_end.h"
