// ChaCha20 in flat lanes.
#include "dataplane/crypto/aead_avx512.h"

// The rounds need all 32 registers and no more. Compilers spill here, so the order is fixed by
// hand: the quarter rounds of a set side by side (latency 2, four pipes, two that rotate), one set
// after the other, which the CPU overlaps.
#define ADD(x, y) "vpaddd %%zmm" #y ",%%zmm" #x ",%%zmm" #x "\n\t"
#define XOR(x, y) "vpxord %%zmm" #y ",%%zmm" #x ",%%zmm" #x "\n\t"
#define ROL(x, n) "vprold $" #n ",%%zmm" #x ",%%zmm" #x "\n\t"
#define ADD4(a, b, c, d, e, f, g, h) ADD(a, b) ADD(c, d) ADD(e, f) ADD(g, h)
#define XOR_ROL4(a, b, c, d, e, f, g, h, n)                                                        \
	XOR(a, b) XOR(c, d) XOR(e, f) XOR(g, h) ROL(a, n) ROL(c, n) ROL(e, n) ROL(g, n)
#define QUARTERS4(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p)                                  \
	ADD4(a, b, e, f, i, j, m, n)                                                               \
	XOR_ROL4(d, a, h, e, l, i, p, m, 16)                                                       \
	ADD4(c, d, g, h, k, l, o, p)                                                               \
	XOR_ROL4(b, c, f, g, j, k, n, o, 12)                                                       \
	ADD4(a, b, e, f, i, j, m, n)                                                               \
	XOR_ROL4(d, a, h, e, l, i, p, m, 8)                                                        \
	ADD4(c, d, g, h, k, l, o, p)                                                               \
	XOR_ROL4(b, c, f, g, j, k, n, o, 7)

#define DOUBLE_ROUND_1                                                                             \
	QUARTERS4(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15)                            \
	QUARTERS4(0, 5, 10, 15, 1, 6, 11, 12, 2, 7, 8, 13, 3, 4, 9, 14)
#define DOUBLE_ROUND_2                                                                             \
	QUARTERS4(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15)                            \
	QUARTERS4(16, 20, 24, 28, 17, 21, 25, 29, 18, 22, 26, 30, 19, 23, 27, 31)                  \
	QUARTERS4(0, 5, 10, 15, 1, 6, 11, 12, 2, 7, 8, 13, 3, 4, 9, 14)                            \
	QUARTERS4(16, 21, 26, 31, 17, 22, 27, 28, 18, 23, 24, 29, 19, 20, 25, 30)

#define LOAD(n) "vmovdqa64 64*" #n "(%[in]),%%zmm" #n "\n\t"
#define FINISH(n)                                                                                  \
	"vpaddd 64*" #n "(%[in]),%%zmm" #n ",%%zmm" #n "\n\tvmovdqa64 %%zmm" #n ",64*" #n          \
	"(%[out])\n\t"
#define EACH_0(M)                                                                                  \
	M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8) M(9) M(10) M(11) M(12) M(13) M(14) M(15)
#define EACH_1(M)                                                                                  \
	M(16)                                                                                      \
	M(17) M(18) M(19) M(20) M(21) M(22) M(23) M(24) M(25) M(26) M(27) M(28) M(29) M(30) M(31)
#define CLOBBER_0                                                                                  \
	"zmm0", "zmm1", "zmm2", "zmm3", "zmm4", "zmm5", "zmm6", "zmm7", "zmm8", "zmm9", "zmm10",   \
		"zmm11", "zmm12", "zmm13", "zmm14", "zmm15"
#define CLOBBER_1                                                                                  \
	"zmm16", "zmm17", "zmm18", "zmm19", "zmm20", "zmm21", "zmm22", "zmm23", "zmm24", "zmm25",  \
		"zmm26", "zmm27", "zmm28", "zmm29", "zmm30", "zmm31"

static void rounds_1(const void *in, void *out)
{
	unsigned left = 10;

	asm volatile(EACH_0(LOAD) "1:\n\t" DOUBLE_ROUND_1 "dec %[left]\n\tjnz 1b\n\t" EACH_0(FINISH)
		     : [left] "+r"(left)
		     : [in] "r"(in), [out] "r"(out)
		     : "memory", "cc", CLOBBER_0);
}

static void rounds_2(const void *in, void *out)
{
	unsigned left = 10;

	asm volatile(EACH_0(LOAD) EACH_1(LOAD) "1:\n\t" DOUBLE_ROUND_2
					       "dec %[left]\n\tjnz 1b\n\t" EACH_0(FINISH)
						       EACH_1(FINISH)
		     : [left] "+r"(left)
		     : [in] "r"(in), [out] "r"(out)
		     : "memory", "cc", CLOBBER_0, CLOBBER_1);
}

#define CLEAR(n) "vpxord %%zmm" #n ",%%zmm" #n ",%%zmm" #n "\n\t"
void aead_avx512_wipe_registers(void)
{
	asm volatile(EACH_0(CLEAR) EACH_1(CLEAR) : : : CLOBBER_0, CLOBBER_1);
}

static inline __m512i iota32(void)
{
	return _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}

// A lane per packet for n packets, all with the same block counter. Writes eight at a time; what is
// too much is overwritten by what comes next.
static inline void fill_packets(const struct work *w, struct chacha_lanes *l, unsigned position,
	unsigned n, uint32_t counter)
{
	for (unsigned i = 0; i < n; i += 8) {
		const __m512i nonce = _mm512_loadu_si512(w->nonce + position + i);

		_mm256_storeu_si256(
			(__m256i *)(l->counter + l->n + i), _mm256_set1_epi32((int)counter));
		_mm256_storeu_si256(
			(__m256i *)(l->nonce_lo + l->n + i), _mm512_cvtepi64_epi32(nonce));
		_mm256_storeu_si256((__m256i *)(l->nonce_hi + l->n + i),
			_mm512_cvtepi64_epi32(_mm512_srli_epi64(nonce, 32)));
		if (!w->only_key)
			_mm512_storeu_si512(
				l->key + l->n + i, _mm512_loadu_si512(w->key + position + i));
	}
}

// Block 0 of a packet's stream begins with its Poly1305 key.
static void fill_keys(struct work *w, struct chacha_lanes *l)
{
	const unsigned left = w->n - w->cursor.key;
	const unsigned n = left < LANES ? left : LANES;

	fill_packets(w, l, w->cursor.key, n, 0);
	for (unsigned i = 0; i < n; i += 8)
		_mm512_storeu_si512(l->at + i,
			_mm512_add_epi64(_mm512_set1_epi64((long long)(uintptr_t)&w->spare[i]),
				_mm512_setr_epi64(0, 64, 128, 192, 256, 320, 384, 448)));
	w->cursor.key += n;
	l->n = n;
	l->n_keys = n;
	l->keys_until = w->cursor.key;
}

// A lane: a block of a packet.
static inline void fill_lane(
	struct chacha_lanes *l, unsigned position, const struct aead_op *op, uint32_t block)
{
	l->counter[l->n] = block + 1; // block 0 made the key
	l->nonce_lo[l->n] = (uint32_t)op->counter;
	l->nonce_hi[l->n] = (uint32_t)(op->counter >> 32);
	l->key[l->n] = op->key;
	l->at[l->n] = op->data + (size_t)block * CHACHA_BLOCK;
	l->position[l->n++] = (uint8_t)position;
}

// n lanes. Writes whole vectors; what is too much is overwritten by the next run.
static inline void fill_run(struct chacha_lanes *l, unsigned position, const struct aead_op *op,
	uint32_t block, unsigned n)
{
	const __m512i lo = _mm512_set1_epi32((int)(uint32_t)op->counter);
	const __m512i hi = _mm512_set1_epi32((int)(uint32_t)(op->counter >> 32));
	const __m512i key = _mm512_set1_epi64((long long)(uintptr_t)op->key);
	const __m512i steps = _mm512_setr_epi64(0, 64, 128, 192, 256, 320, 384, 448);

	for (unsigned i = 0; i < n; i += SET) {
		const unsigned lane = l->n + i;
		const __m512i counter = _mm512_add_epi32(
			_mm512_set1_epi32((int)(block + i + 1)), iota32()); // data: from 1

		_mm512_storeu_si512(l->counter + lane, counter);
		_mm512_storeu_si512(l->nonce_lo + lane, lo);
		_mm512_storeu_si512(l->nonce_hi + lane, hi);
	}
	for (unsigned i = 0; i < n; i += 8) {
		const uint8_t *at = op->data + (size_t)(block + i) * CHACHA_BLOCK;

		_mm512_storeu_si512(l->at + l->n + i,
			_mm512_add_epi64(_mm512_set1_epi64((long long)(uintptr_t)at), steps));
		_mm512_storeu_si512(l->key + l->n + i, key);
	}
	_mm256_storeu_si256((__m256i *)(l->position + l->n), _mm256_set1_epi8((char)position));
	l->n += n;
}

// The packet ends within the block of this lane.
static void make_tail(
	struct work *w, struct chacha_lanes *l, unsigned lane, const struct aead_op *op)
{
	l->tails[l->n_tails].at = op->data + op->len / CHACHA_BLOCK * CHACHA_BLOCK;
	l->tails[l->n_tails].len = op->len % CHACHA_BLOCK;
	l->tails[l->n_tails++].lane = lane;
	l->at[lane] = (uint8_t *)&w->spare[lane];
}

// From the cursor on, packets have one block each: as many as there are lanes for.
static void fill_shorts(struct work *w, struct chacha_lanes *l)
{
	const unsigned first = w->cursor.packet, left = w->n_data - first;
	const unsigned n = left < LANES - l->n ? left : LANES - l->n;
	const __m128i steps = _mm_set_epi64x(0, 0x0706050403020100);

	fill_packets(w, l, first, n, 1);
	for (unsigned i = 0; i < n; i += 8) {
		const __mmask8 lanes = (__mmask8)(n - i < 8 ? (1u << (n - i)) - 1 : 0xff);
		const __m512i len = _mm512_loadu_si512(w->len + first + i);
		unsigned tails = _mm512_mask_test_epi64_mask(
			lanes, len, _mm512_set1_epi64(CHACHA_BLOCK - 1));

		_mm512_storeu_si512(l->at + l->n + i, _mm512_loadu_si512(w->data + first + i));
		_mm_storel_epi64((__m128i *)(l->position + l->n + i),
			_mm_add_epi8(_mm_set1_epi8((char)(first + i)), steps));
		for (; tails; tails &= tails - 1) {
			const unsigned k = i + (unsigned)__builtin_ctz(tails);

			make_tail(w, l, l->n + k, &w->ops[w->order[first + k]]);
		}
	}
	l->n += n;
	w->cursor.packet += n;
}

static void fill_data(struct work *w, struct chacha_lanes *l)
{
	struct chacha_cursor *c = &w->cursor;

	for (; c->packet < w->n_data; c->packet++, c->block = 0) {
		const struct aead_op *op = &w->ops[w->order[c->packet]];
		const uint32_t left = (op->len + CHACHA_BLOCK - 1) / CHACHA_BLOCK - c->block;
		const uint32_t n = left < LANES - l->n ? left : LANES - l->n;

		if (op->len <= CHACHA_BLOCK && !w->skip) { // all that follow are no longer
			fill_shorts(w, l);
			return;
		}
		if (w->skip >> c->packet & 1)
			continue;
		if (n == 1)
			fill_lane(l, c->packet, op, c->block);
		else if (n)
			fill_run(l, c->packet, op, c->block, n);
		c->block += n;
		if (n < left)
			return;
		if (op->len % CHACHA_BLOCK)
			make_tail(w, l, l->n - 1, op);
	}
}

// Words 4 to 11 of a set from the keys of its lanes: a transposition of 16 times 32 bytes.
static void fill_key_words(struct work *w, const struct chacha_lanes *l, unsigned set)
{
	const uint8_t *const *key = l->key + set * SET;
	__m512i pair[8], words[8];

	// pair i: lanes i and i + 4 (for i < 4), lanes i + 4 and i + 8: a quarter of a zmm is 4
	// words of one lane.
	for (unsigned half = 0; half < 2; half++) {
		__m512i q[4];

		for (unsigned i = 0; i < 4; i++) {
			__m512i x = _mm512_castsi128_si512(
				_mm_loadu_si128((const __m128i *)(key[i] + 16 * half)));
			x = _mm512_inserti32x4(
				x, _mm_loadu_si128((const __m128i *)(key[i + 4] + 16 * half)), 1);
			x = _mm512_inserti32x4(
				x, _mm_loadu_si128((const __m128i *)(key[i + 8] + 16 * half)), 2);
			q[i] = _mm512_inserti32x4(
				x, _mm_loadu_si128((const __m128i *)(key[i + 12] + 16 * half)), 3);
		}
		pair[0] = _mm512_unpacklo_epi32(q[0], q[1]);
		pair[1] = _mm512_unpackhi_epi32(q[0], q[1]);
		pair[2] = _mm512_unpacklo_epi32(q[2], q[3]);
		pair[3] = _mm512_unpackhi_epi32(q[2], q[3]);
		words[4 * half] = _mm512_unpacklo_epi64(pair[0], pair[2]);
		words[4 * half + 1] = _mm512_unpackhi_epi64(pair[0], pair[2]);
		words[4 * half + 2] = _mm512_unpacklo_epi64(pair[1], pair[3]);
		words[4 * half + 3] = _mm512_unpackhi_epi64(pair[1], pair[3]);
	}
	for (unsigned i = 0; i < 8; i++)
		w->state[set][4 + i] = words[i];
}

static void broadcast_key_words(struct work *w, const uint8_t *key, unsigned set)
{
	for (unsigned i = 0; i < 8; i++) {
		int word;

		memcpy(&word, key + 4 * i, sizeof(word));
		w->state[set][4 + i] = _mm512_set1_epi32(word);
	}
}

// Do the lanes of a set belong to one packet?
static bool one_packet(const struct chacha_lanes *l, unsigned set)
{
	return l->n_keys <= set * SET && l->n >= (set + 1) * SET &&
	       l->position[set * SET] == l->position[set * SET + SET - 1];
}

static void fill_state(struct work *w, const struct chacha_lanes *l, unsigned set)
{
	__m512i *s = w->state[set];

	if (!w->only_key) {
		if (!one_packet(l, set))
			fill_key_words(w, l, set);
		else if (w->set_key[set] != l->key[set * SET])
			broadcast_key_words(w, l->key[set * SET], set);
		w->set_key[set] = one_packet(l, set) ? l->key[set * SET] : NULL;
	}
	s[12] = _mm512_loadu_si512(l->counter + set * SET);
	s[14] = _mm512_loadu_si512(l->nonce_lo + set * SET);
	s[15] = _mm512_loadu_si512(l->nonce_hi + set * SET);
}

void aead_avx512_fill(struct work *w, struct chacha_lanes *l)
{
	l->n = 0;
	l->n_tails = 0;
	fill_keys(w, l);
	fill_data(w, l);
	if (w->lanes_used < l->n)
		w->lanes_used = l->n;
	for (unsigned i = l->n; i < LANES; i++) { // idle lanes work on nothing
		l->at[i] = (uint8_t *)&w->spare[i];
		l->key[i] = w->ops[0].key;
	}
}

void aead_avx512_rounds(struct work *w, const struct chacha_lanes *l)
{
	const unsigned first_key = l->keys_until - l->n_keys;

	fill_state(w, l, 0);
	if (l->n > SET) {
		fill_state(w, l, 1);
		rounds_2(w->state, w->stream);
	} else {
		rounds_1(w->state, w->stream);
	}
	for (unsigned from = 0; from < l->n_keys; from += SET)
		for (unsigned i = 0; i < POLY_KEY_WORDS; i++)
			_mm512_storeu_si512(
				w->poly_key[i] + first_key + from, w->stream[from / SET][i]);
}

static inline void xor_block(uint8_t *at, __m512i stream)
{
	_mm512_storeu_si512(at, _mm512_xor_si512(_mm512_loadu_si512(at), stream));
}

// A transposition of 16 times 16 words. Lane 4 m + i is quarter m of what i selects.
static void xor_set(
	const struct chacha_lanes *l, const __m512i stream[static CHACHA_WORDS], unsigned set)
{
	uint8_t *const *at = l->at + set * SET;
	__m512i y[4][4];

	for (unsigned q = 0; q < 4; q++) {
		const __m512i *x = stream + 4 * q;
		const __m512i a = _mm512_unpacklo_epi32(x[0], x[1]);
		const __m512i b = _mm512_unpackhi_epi32(x[0], x[1]);
		const __m512i c = _mm512_unpacklo_epi32(x[2], x[3]);
		const __m512i d = _mm512_unpackhi_epi32(x[2], x[3]);

		y[q][0] = _mm512_unpacklo_epi64(a, c);
		y[q][1] = _mm512_unpackhi_epi64(a, c);
		y[q][2] = _mm512_unpacklo_epi64(b, d);
		y[q][3] = _mm512_unpackhi_epi64(b, d);
	}
	for (unsigned i = 0; i < 4; i++) {
		const __m512i a = _mm512_shuffle_i32x4(y[0][i], y[1][i], 0x44);
		const __m512i b = _mm512_shuffle_i32x4(y[0][i], y[1][i], 0xee);
		const __m512i c = _mm512_shuffle_i32x4(y[2][i], y[3][i], 0x44);
		const __m512i d = _mm512_shuffle_i32x4(y[2][i], y[3][i], 0xee);

		xor_block(at[i], _mm512_shuffle_i32x4(a, c, 0x88));
		xor_block(at[4 + i], _mm512_shuffle_i32x4(a, c, 0xdd));
		xor_block(at[8 + i], _mm512_shuffle_i32x4(b, d, 0x88));
		xor_block(at[12 + i], _mm512_shuffle_i32x4(b, d, 0xdd));
	}
}

void aead_avx512_xor(struct work *w, const struct chacha_lanes *l)
{
	for (unsigned i = 0; i < l->n_tails; i++) {
		const __mmask64 mask = (UINT64_C(1) << l->tails[i].len) - 1;
		w->spare[l->tails[i].lane] = _mm512_maskz_loadu_epi8(mask, l->tails[i].at);
	}
	// Lanes without 64 bytes of data.
	w->spare_used |= l->n_tails || l->n_keys % SET || l->n % SET || w->skip;
	for (unsigned set = 0; set * SET < l->n; set++)
		if (l->n_keys < (set + 1) * SET)
			xor_set(l, w->stream[set], set);
	for (unsigned i = 0; i < l->n_tails; i++) {
		const __mmask64 mask = (UINT64_C(1) << l->tails[i].len) - 1;
		const unsigned lane = l->tails[i].lane;

		if (!(w->skip >> l->position[lane] & 1))
			_mm512_mask_storeu_epi8(l->tails[i].at, mask, w->spare[lane]);
	}
}

#include "dataplane/crypto/aead_avx512_end.h"
