// ChaCha20 in flat lanes of a ymm, with the Poly1305 of other packets between its instructions.
#include "dataplane/crypto/aead_avx2.h"

static const uint8_t rotate16[32] __attribute__((aligned(32))) = {2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8,
	9, 14, 15, 12, 13, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13};
static const uint8_t rotate8[32] __attribute__((aligned(32))) = {3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9,
	10, 15, 12, 13, 14, 3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10, 15, 12, 13, 14};

// The constant stays in memory: the state takes all registers.
static inline __m256i shuffle(__m256i x, const uint8_t (*by)[32])
{
	__m256i y;

	asm("vpshufb %2,%1,%0" : "=x"(y) : "x"(x), "m"(*by));
	return y;
}

#define ROTATE(x, n) _mm256_or_si256(_mm256_slli_epi32(x, n), _mm256_srli_epi32(x, 32 - n))
#define STEP1(a, b, c, d)                                                                          \
	a = _mm256_add_epi32(a, b);                                                                \
	d = shuffle(_mm256_xor_si256(d, a), &rotate16)
#define STEP2(a, b, c, d)                                                                          \
	c = _mm256_add_epi32(c, d);                                                                \
	b = _mm256_xor_si256(b, c);                                                                \
	b = ROTATE(b, 12)
#define STEP3(a, b, c, d)                                                                          \
	a = _mm256_add_epi32(a, b);                                                                \
	d = shuffle(_mm256_xor_si256(d, a), &rotate8)
#define STEP4(a, b, c, d)                                                                          \
	c = _mm256_add_epi32(c, d);                                                                \
	b = _mm256_xor_si256(b, c);                                                                \
	b = ROTATE(b, 7)
// Two quarter rounds side by side.
#define QUARTERS2(a, b, c, d, e, f, g, h)                                                          \
	do {                                                                                       \
		STEP1(a, b, c, d);                                                                 \
		STEP1(e, f, g, h);                                                                 \
		STEP2(a, b, c, d);                                                                 \
		STEP2(e, f, g, h);                                                                 \
		STEP3(a, b, c, d);                                                                 \
		STEP3(e, f, g, h);                                                                 \
		STEP4(a, b, c, d);                                                                 \
		STEP4(e, f, g, h);                                                                 \
	} while (0)
#define COLUMNS_0(x) QUARTERS2(x##0, x##4, x##8, x##12, x##1, x##5, x##9, x##13)
#define COLUMNS_1(x) QUARTERS2(x##2, x##6, x##10, x##14, x##3, x##7, x##11, x##15)
#define DIAGONALS_0(x) QUARTERS2(x##0, x##5, x##10, x##15, x##1, x##6, x##11, x##12)
#define DIAGONALS_1(x) QUARTERS2(x##2, x##7, x##8, x##13, x##3, x##4, x##9, x##14)

#define EACH_WORD(M, set, x)                                                                       \
	M(set, x, 0);                                                                              \
	M(set, x, 1);                                                                              \
	M(set, x, 2);                                                                              \
	M(set, x, 3);                                                                              \
	M(set, x, 4);                                                                              \
	M(set, x, 5);                                                                              \
	M(set, x, 6);                                                                              \
	M(set, x, 7);                                                                              \
	M(set, x, 8);                                                                              \
	M(set, x, 9);                                                                              \
	M(set, x, 10);                                                                             \
	M(set, x, 11);                                                                             \
	M(set, x, 12);                                                                             \
	M(set, x, 13);                                                                             \
	M(set, x, 14);                                                                             \
	M(set, x, 15)
#define LOAD(set, x, i) __m256i x##i = w->state[set][i]
#define STORE(set, x, i) w->stream[set][i] = _mm256_add_epi32(x##i, w->state[set][i])

// One set of lanes: the latency of the rounds shows, but half of them is not worked out in vain.
static void rounds_1(struct work *w)
{
	EACH_WORD(LOAD, 0, x);

	for (unsigned i = 0; i < 10; i++) {
		COLUMNS_0(x);
		COLUMNS_1(x);
		DIAGONALS_0(x);
		DIAGONALS_1(x);
	}
	EACH_WORD(STORE, 0, x);
}

// Two sets, which fill each other's latency although half of the words lie in memory; woven double
// rounds have four blocks of each stream of Poly1305 between their instructions, in slots that
// would be idle. Measured for 16 blocks and no, 64 and 80 blocks of Poly1305, cycles of the TSC:
// 735, 730, 750, where Poly1305 alone takes 450 and 560.
static void rounds_2(struct work *w, unsigned woven)
{
	struct poly p = w->poly[0].poly, q = w->poly[1].poly;
	const uint8_t *a = w->poly[0].at, *b = w->poly[1].at;
	unsigned i = 0;

	EACH_WORD(LOAD, 0, x);
	EACH_WORD(LOAD, 1, y);
	for (; i < woven; i++) {
		COLUMNS_0(x);
		poly_block(&p, a);
		COLUMNS_1(x);
		poly_block(&q, b);
		COLUMNS_0(y);
		poly_block(&p, a + POLY_BLOCK);
		COLUMNS_1(y);
		poly_block(&q, b + POLY_BLOCK);
		DIAGONALS_0(x);
		poly_block(&p, a + 2 * POLY_BLOCK);
		DIAGONALS_1(x);
		poly_block(&q, b + 2 * POLY_BLOCK);
		DIAGONALS_0(y);
		poly_block(&p, a + 3 * POLY_BLOCK);
		DIAGONALS_1(y);
		poly_block(&q, b + 3 * POLY_BLOCK);
		a += WOVEN_BLOCKS * POLY_BLOCK;
		b += WOVEN_BLOCKS * POLY_BLOCK;
	}
	for (; i < 10; i++) {
		COLUMNS_0(x);
		COLUMNS_1(x);
		COLUMNS_0(y);
		COLUMNS_1(y);
		DIAGONALS_0(x);
		DIAGONALS_1(x);
		DIAGONALS_0(y);
		DIAGONALS_1(y);
	}
	w->poly[0].poly = p;
	w->poly[1].poly = q;
	EACH_WORD(STORE, 0, x);
	EACH_WORD(STORE, 1, y);
}

// 8 times 8 words.
static inline void transpose(__m256i x[static 8])
{
	__m256i a[8], b[8];

	for (unsigned i = 0; i < 8; i += 2) {
		a[i] = _mm256_unpacklo_epi32(x[i], x[i + 1]);
		a[i + 1] = _mm256_unpackhi_epi32(x[i], x[i + 1]);
	}
	for (unsigned i = 0; i < 8; i += 4) {
		b[i] = _mm256_unpacklo_epi64(a[i], a[i + 2]);
		b[i + 1] = _mm256_unpackhi_epi64(a[i], a[i + 2]);
		b[i + 2] = _mm256_unpacklo_epi64(a[i + 1], a[i + 3]);
		b[i + 3] = _mm256_unpackhi_epi64(a[i + 1], a[i + 3]);
	}
	for (unsigned i = 0; i < 4; i++) {
		x[i] = _mm256_permute2x128_si256(b[i], b[i + 4], 0x20);
		x[i + 4] = _mm256_permute2x128_si256(b[i], b[i + 4], 0x31);
	}
}

static void fill_lane(struct chacha_lanes *l, unsigned position, uint32_t counter,
	const struct aead_op *op, uint8_t *at)
{
	l->counter[l->n] = counter;
	l->nonce_lo[l->n] = (uint32_t)op->counter;
	l->nonce_hi[l->n] = (uint32_t)(op->counter >> 32);
	l->key[l->n] = op->key;
	l->position[l->n] = (uint8_t)position;
	l->at[l->n++] = at;
}

// A lane in which the packet ends within a block.
static void fill_tail(
	struct chacha_lanes *l, unsigned position, const struct aead_op *op, uint8_t *spare)
{
	l->tails[l->n_tails].at = op->data + op->len / CHACHA_BLOCK * CHACHA_BLOCK;
	l->tails[l->n_tails].len = op->len % CHACHA_BLOCK;
	l->tails[l->n_tails++].lane = l->n;
	fill_lane(l, position, op->len / CHACHA_BLOCK + 1, op, spare);
}

static void fill_data(struct work *w, struct chacha_lanes *l)
{
	for (; w->next_packet < w->n; w->next_packet++, w->next_block = 0) {
		const unsigned position = w->next_packet;
		const struct aead_op *op = &w->ops[w->order[position]];
		const uint32_t whole = op->len / CHACHA_BLOCK, tail = op->len % CHACHA_BLOCK;

		if (w->skip >> position & 1)
			continue;
		for (; w->next_block < whole && l->n < LANES; w->next_block++)
			fill_lane(l, position, w->next_block + 1, op,
				op->data + (size_t)w->next_block * CHACHA_BLOCK);
		if (w->next_block < whole || (tail && l->n == LANES))
			return;
		if (tail)
			fill_tail(l, position, op, w->spare[l->n]);
	}
}

void aead_avx2_fill(struct work *w, struct chacha_lanes *l)
{
	l->n = 0;
	l->n_tails = 0;
	for (; w->next_key < w->n && l->n < LANES; w->next_key++)
		fill_lane(l, w->next_key, 0, &w->ops[w->order[w->next_key]], w->spare[l->n]);
	l->n_keys = l->n;
	fill_data(w, l);
	l->keys_until = w->next_key;
	l->data_until = w->next_packet;
	for (unsigned i = l->n; i < LANES; i++) { // idle lanes work on nothing
		l->at[i] = w->spare[i];
		l->key[i] = w->ops[0].key;
	}
}

static void fill_state(struct work *w, const struct chacha_lanes *l, unsigned set)
{
	__m256i *s = w->state[set];

	if (!w->only_key) {
		for (unsigned i = 0; i < SET; i++)
			s[4 + i] = _mm256_loadu_si256((const __m256i *)l->key[set * SET + i]);
		transpose(s + 4);
	}
	s[12] = _mm256_loadu_si256((const __m256i *)(l->counter + set * SET));
	s[14] = _mm256_loadu_si256((const __m256i *)(l->nonce_lo + set * SET));
	s[15] = _mm256_loadu_si256((const __m256i *)(l->nonce_hi + set * SET));
}

static unsigned woven_rounds(struct work *w)
{
	static const uint8_t nothing[10 * WOVEN_BLOCKS * POLY_BLOCK];
	unsigned n = 10;

	if (!w->poly[0].busy && !w->poly[1].busy)
		return 0;
	for (unsigned i = 0; i < 2; i++) {
		if (!w->poly[i].busy)
			w->poly[i].at = nothing;
		else if (w->poly[i].left / WOVEN_BLOCKS < n)
			n = w->poly[i].left / WOVEN_BLOCKS;
	}
	return n;
}

static void weave(struct work *w)
{
	const unsigned woven = woven_rounds(w);

	rounds_2(w, woven);
	for (unsigned i = 0; i < 2; i++) {
		if (w->poly[i].busy) {
			w->poly[i].at += woven * WOVEN_BLOCKS * POLY_BLOCK;
			w->poly[i].left -= woven * WOVEN_BLOCKS;
		}
	}
}

void aead_avx2_rounds(struct work *w, const struct chacha_lanes *l)
{
	const unsigned first_key = l->keys_until - l->n_keys;

	fill_state(w, l, 0);
	if (l->n > SET) {
		fill_state(w, l, 1);
		weave(w);
	} else {
		rounds_1(w);
	}
	for (unsigned from = 0; from < l->n_keys; from += SET)
		for (unsigned i = 0; i < POLY_KEY_WORDS; i++)
			_mm256_storeu_si256((__m256i *)(w->poly_key[i] + first_key + from),
				w->stream[from / SET][i]);
}

static inline void xor_half(uint8_t *at, __m256i stream)
{
	__m256i *p = (__m256i *)at;

	_mm256_storeu_si256(p, _mm256_xor_si256(_mm256_loadu_si256(p), stream));
}

static void xor_set(const struct work *w, const struct chacha_lanes *l, unsigned set)
{
	uint8_t *const *at = l->at + set * SET;

	for (unsigned half = 0; half < 2; half++) {
		__m256i x[8];

		memcpy(x, w->stream[set] + 8 * half, sizeof(x));
		transpose(x);
		for (unsigned i = 0; i < SET; i++)
			xor_half(at[i] + 32 * half, x[i]);
	}
}

void aead_avx2_xor(struct work *w, const struct chacha_lanes *l)
{
	for (unsigned i = 0; i < l->n_tails; i++)
		memcpy(w->spare[l->tails[i].lane], l->tails[i].at, l->tails[i].len);
	for (unsigned set = 0; set * SET < l->n; set++)
		if (l->n_keys < (set + 1) * SET)
			xor_set(w, l, set);
	for (unsigned i = 0; i < l->n_tails; i++)
		if (!(w->skip >> l->position[l->tails[i].lane] & 1))
			memcpy(l->tails[i].at, w->spare[l->tails[i].lane], l->tails[i].len);
}
