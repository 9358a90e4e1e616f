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

// Eight operations, field by field.
struct eight_ops {
	__m512i data, len, nonce, key;
};

static inline struct eight_ops load_ops(const struct aead_op ops[], unsigned n)
{
	static_assert(sizeof(struct aead_op) == 32 && offsetof(struct aead_op, len) == 8 &&
		      offsetof(struct aead_op, counter) == 16 &&
		      offsetof(struct aead_op, key) == 24);
	const __m512i first = _mm512_setr_epi64(0, 4, 1, 5, 8, 12, 9, 13);
	const __m512i second = _mm512_setr_epi64(2, 6, 3, 7, 10, 14, 11, 15);
	const unsigned there = n < 8 ? (1u << 4 * n) - 1 : UINT32_MAX; // 8 bytes each
	const __m512i a = _mm512_maskz_loadu_epi64((__mmask8)there, ops);
	const __m512i b = _mm512_maskz_loadu_epi64((__mmask8)(there >> 8), ops + 2);
	const __m512i c = _mm512_maskz_loadu_epi64((__mmask8)(there >> 16), ops + 4);
	const __m512i d = _mm512_maskz_loadu_epi64((__mmask8)(there >> 24), ops + 6);
	const __m512i even0 = _mm512_unpacklo_epi64(a, b), odd0 = _mm512_unpackhi_epi64(a, b);
	const __m512i even1 = _mm512_unpacklo_epi64(c, d), odd1 = _mm512_unpackhi_epi64(c, d);

	return (struct eight_ops){
		.data = _mm512_permutex2var_epi64(even0, first, even1),
		.nonce = _mm512_permutex2var_epi64(even0, second, even1),
		.len = _mm512_and_si512(_mm512_permutex2var_epi64(odd0, first, odd1),
			_mm512_set1_epi64(UINT32_MAX)),
		.key = _mm512_permutex2var_epi64(odd0, second, odd1),
	};
}

// The operations' fields in the order they come in. True: they are of equal length.
static bool load_all(struct work *w)
{
	const __m512i len = _mm512_set1_epi64(w->ops[0].len);
	const __m512i key = _mm512_set1_epi64((long long)(uintptr_t)w->ops[0].key);
	unsigned lens = 0, keys = 0;

	for (unsigned i = 0; i < w->n; i += 8) {
		const unsigned left = w->n - i;
		const __mmask8 there = (__mmask8)(left < 8 ? (1u << left) - 1 : 0xff);
		const struct eight_ops o = load_ops(w->ops + i, left);

		_mm512_storeu_si512(w->data + i, o.data);
		_mm512_storeu_si512(w->len + i, o.len);
		_mm512_storeu_si512(w->nonce + i, o.nonce);
		_mm512_storeu_si512(w->key + i, o.key);
		lens |= _mm512_mask_cmpneq_epi64_mask(there, o.len, len);
		keys |= _mm512_mask_cmpneq_epi64_mask(there, o.key, key);
	}
	w->only_key = keys ? NULL : w->ops[0].key;
	return !lens;
}

static void order_as_they_come(uint8_t order[static AEAD_BURST])
{
	const __m512i bytes = _mm512_set_epi8(63, 62, 61, 60, 59, 58, 57, 56, 55, 54, 53, 52, 51,
		50, 49, 48, 47, 46, 45, 44, 43, 42, 41, 40, 39, 38, 37, 36, 35, 34, 33, 32, 31, 30,
		29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 16, 15, 14, 13, 12, 11, 10, 9,
		8, 7, 6, 5, 4, 3, 2, 1, 0);

	_mm512_storeu_si512(order, bytes);
}

// Positions of the packets by falling length: a rank is the number of those that go before.
static void sort(
	uint8_t order[static AEAD_BURST], const uint64_t len[static AEAD_BURST], unsigned n)
{
	uint32_t sizes[AEAD_BURST + 8]; // no two are equal
	uint8_t ranks[AEAD_BURST];

	for (unsigned i = 0; i < n; i += 8) {
		const __m512i nth = _mm512_sub_epi64(
			_mm512_set1_epi64(63 - i), _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7));

		_mm256_storeu_si256((__m256i *)(sizes + i),
			_mm512_cvtepi64_epi32(_mm512_or_si512(
				_mm512_slli_epi64(_mm512_loadu_si512(len + i), 6), nth)));
	}
	for (unsigned i = 0; i < n; i += SET) {
		const __m512i size = _mm512_loadu_si512(sizes + i);
		__m512i rank = _mm512_setzero_si512();

		for (unsigned k = 0; k < n; k++)
			rank = _mm512_mask_add_epi32(rank,
				_mm512_cmplt_epu32_mask(size, _mm512_set1_epi32((int)sizes[k])),
				rank, _mm512_set1_epi32(1));
		_mm_storeu_si128((__m128i *)(ranks + i), _mm512_cvtepi32_epi8(rank));
	}
	for (unsigned i = 0; i < n; i++)
		order[ranks[i]] = (uint8_t)i;
}

// The fields once more, in the order of the packets, for up to AEAD_BURST of them.
static void gather_many(struct work *w)
{
	const __m512i low_half = _mm512_set1_epi64(UINT32_MAX);

	for (unsigned i = 0; i < w->n; i += 8) {
		const unsigned left = w->n - i;
		const __mmask8 there = (__mmask8)(left < 8 ? (1u << left) - 1 : 0xff);
		const __m512i at = _mm512_slli_epi64(
			_mm512_cvtepu8_epi64(_mm_loadl_epi64((const __m128i *)(w->order + i))), 2);
		const __m512i zero = _mm512_setzero_si512();

#define GATHER(field) _mm512_mask_i64gather_epi64(zero, there, at, &w->ops[0].field, 8)
		_mm512_storeu_si512(w->data + i, GATHER(data));
		_mm512_storeu_si512(w->len + i, _mm512_and_si512(GATHER(len), low_half));
		_mm512_storeu_si512(w->nonce + i, GATHER(counter));
		if (!w->only_key)
			_mm512_storeu_si512(w->key + i, GATHER(key));
#undef GATHER
	}
}

// One field of up to 32 packets: cheaper than gathers, as long as it fits four registers.
static inline void permute_field(
	uint64_t field[static AEAD_BURST], const uint8_t order[static AEAD_BURST], unsigned n)
{
	const __m512i a = _mm512_loadu_si512(field), b = _mm512_loadu_si512(field + 8);
	const __m512i c = _mm512_loadu_si512(field + 16), d = _mm512_loadu_si512(field + 24);

	for (unsigned i = 0; i < n; i += 8) {
		const __m512i at =
			_mm512_cvtepu8_epi64(_mm_loadl_epi64((const __m128i *)(order + i)));
		const __mmask8 high = _mm512_test_epi64_mask(at, _mm512_set1_epi64(16));

		_mm512_storeu_si512(field + i,
			_mm512_mask_blend_epi64(high, _mm512_permutex2var_epi64(a, at, b),
				_mm512_permutex2var_epi64(c, at, d)));
	}
}

static void gather_all(struct work *w)
{
	if (w->n > 32) {
		gather_many(w);
		return;
	}
	permute_field(w->data, w->order, w->n);
	permute_field(w->len, w->order, w->n);
	permute_field(w->nonce, w->order, w->n);
	if (!w->only_key)
		permute_field(w->key, w->order, w->n);
}

static void begin(struct work *w, const struct aead_op ops[], unsigned n)
{
	static const uint32_t sigma[] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};

	w->ops = ops;
	w->n = n;
	w->skip = 0;
	w->lanes_used = 0;
	w->picked_used = 0;
	w->spare_used = false;
	w->dealt = w->dealt_packets = w->prepared = w->absorbed = 0;
	w->powers_set = w->powers_full = 0;
	w->cursor = (struct chacha_cursor){0};
	w->set_key[0] = w->set_key[1] = NULL;
	order_as_they_come(w->order);
	if (!load_all(w)) {
		sort(w->order, w->len, n);
		gather_all(w);
	}
	for (w->n_data = n; w->n_data > 0 && w->len[w->n_data - 1] == 0;)
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

// Nothing but stores, of n aligned vectors: explicit_bzero takes its time to start, and so does the
// string instruction that gcc would make of stores that are not volatile.
static inline __attribute__((always_inline)) void wipe_vectors(void *memory, unsigned n)
{
	volatile __m512i *v = memory;

	for (unsigned i = 0; i < n; i++)
		v[i] = _mm512_setzero_si512();
}

// What compilers spilled: the deepest frames, mixed_group's and those of what it calls, are 3.4 KB.
// Bytes, for an array of vectors would leave a gap where it is aligned: the last store fills that.
static __attribute__((noinline)) void wipe_stack(void)
{
	uint8_t below[4096];

	wipe_vectors(below + (-(uintptr_t)below & 63), sizeof(below) / sizeof(__m512i) - 1);
	_mm512_storeu_si512(below + sizeof(below) - sizeof(__m512i), _mm512_setzero_si512());
	asm volatile("" : : "r"(below) : "memory"); // is not left out
}

// Everything that came from a key, as far as this burst has used it. The registers too.
static inline __attribute__((always_inline)) void wipe(struct work *w)
{
	const unsigned sets = (w->lanes_used + SET - 1) / SET;
	const unsigned eights = (w->n + 7) / 8;

	for (unsigned i = 0; i < sets; i++) {
		wipe_vectors(w->state[i] + 4, CHACHA_WORDS / 2);
		wipe_vectors(w->stream[i], CHACHA_WORDS);
		if (w->spare_used)
			wipe_vectors(w->spare + i * SET, SET);
	}
	for (unsigned i = 0; i < POLY_KEY_WORDS; i++) // stored 16 at a time
		wipe_vectors(w->poly_key[i], (eights + 1) / 2);
	for (unsigned i = 0; i < POLY_POWERS && i < eights; i++)
		wipe_vectors(&w->powers[i],
			sizeof(w->powers[0]) / sizeof(__m512i) / (i < w->powers_full ? 1 : 2));
	for (unsigned i = 0; i < 2; i++)
		if (w->picked_used >> i & 1)
			wipe_vectors(&w->picked[i], sizeof(w->picked[0]) / sizeof(__m512i));
	for (unsigned i = 0; i < 3; i++) // stored where a packet is the last, too
		wipe_vectors(w->sums[i], eights + 1);
	wipe_vectors(w->tags, eights * 2);
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
		aead_avx512_deal_ahead(w, 1);
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
		if (l->n_keys)
			aead_avx512_deal_ahead(w, 2);
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
// done, and few packets of different lengths leave lanes idle. Ratios: one of 8900 B 0.93 to 1.07;
// two of 1420 B 0.98, of 8900 B 1.16; three of equal length 1.04 to 1.21; of mixed lengths three
// 0.77, five 0.95, six 1.03.
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
		return n == 2 && shortest >= 8192;
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
