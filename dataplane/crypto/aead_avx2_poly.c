// Poly1305 for the AVX2 engine: two packets at a time, 64-bit words.
#include "dataplane/crypto/aead_avx2.h"

static uint64_t key_word(const struct work *w, unsigned position, unsigned word)
{
	return w->poly_key[word][position] | (uint64_t)w->poly_key[word + 1][position] << 32;
}

static void start(struct work *w, struct poly_stream *s)
{
	const struct aead_op *op;

	s->position = w->next_poly++;
	s->busy = true;
	op = &w->ops[w->order[s->position]];
	s->at = op->data;
	s->left = op->len / POLY_BLOCK;
	s->poly = (struct poly){
		.r0 = key_word(w, s->position, 0) & 0x0ffffffc0fffffff,
		.r1 = key_word(w, s->position, 2) & 0x0ffffffc0ffffffc,
	};
	s->poly.s1 = s->poly.r1 + (s->poly.r1 >> 2);
}

// h modulo 2^130 - 5, plus s.
static void make_tag(struct work *w, const struct poly_stream *s)
{
	const struct poly *p = &s->poly;
	unsigned __int128 t = (unsigned __int128)p->h0 + 5;
	uint64_t h0 = p->h0, h1 = p->h1, g0 = (uint64_t)t, g1, use_g;

	t = (unsigned __int128)h1 + (uint64_t)(t >> 64);
	g1 = (uint64_t)t;
	// h + 5 reaches 2^130: h is at least the modulus, and h + 5 - 2^130 is what remains.
	use_g = 0 - ((p->h2 + (uint64_t)(t >> 64)) >> 2);
	asm("" : "+r"(use_g)); // stays a mask
	h0 ^= (h0 ^ g0) & use_g;
	h1 ^= (h1 ^ g1) & use_g;
	t = (unsigned __int128)h0 + key_word(w, s->position, 4);
	h0 = (uint64_t)t;
	h1 += key_word(w, s->position, 6) + (uint64_t)(t >> 64);
	memcpy(w->tags[s->position], &h0, sizeof(h0));
	memcpy(w->tags[s->position] + sizeof(h0), &h1, sizeof(h1));
}

// What is left of the packet, then the lengths: no additional data, and the data's.
static void finish(struct work *w, struct poly_stream *s)
{
	const struct aead_op *op = &w->ops[w->order[s->position]];
	uint8_t last[2][POLY_BLOCK] = {0};
	const uint64_t len = op->len;

	for (; s->left; s->left--, s->at += POLY_BLOCK)
		poly_block(&s->poly, s->at);
	if (len % POLY_BLOCK) {
		memcpy(last[0], s->at, len % POLY_BLOCK);
		poly_block(&s->poly, last[0]);
	}
	memcpy(last[1] + 8, &len, sizeof(len));
	poly_block(&s->poly, last[1]);
	make_tag(w, s);
	w->done |= UINT64_C(1) << s->position;
	s->busy = false;
	s->left = 0;
}

void aead_avx2_poly_supply(struct work *w, unsigned limit)
{
	for (unsigned i = 0; i < 2; i++) {
		struct poly_stream *s = &w->poly[i];

		while (s->busy ? s->left < WOVEN_BLOCKS : w->next_poly < limit) {
			if (s->busy)
				finish(w, s);
			else
				start(w, s);
		}
	}
}

static void both(struct poly_stream *a, struct poly_stream *b)
{
	const uint32_t n = a->left < b->left ? a->left : b->left;
	const uint8_t *x = a->at, *y = b->at;
	struct poly p = a->poly, q = b->poly;

	for (uint32_t i = 0; i < n; i++) {
		poly_block(&p, x + (size_t)i * POLY_BLOCK);
		poly_block(&q, y + (size_t)i * POLY_BLOCK);
	}
	a->poly = p;
	b->poly = q;
	a->left -= n;
	b->left -= n;
	a->at += (size_t)n * POLY_BLOCK;
	b->at += (size_t)n * POLY_BLOCK;
}

static uint64_t before(unsigned limit)
{
	return limit == 64 ? UINT64_MAX : (UINT64_C(1) << limit) - 1;
}

void aead_avx2_poly_drain(struct work *w, unsigned limit)
{
	struct poly_stream *s = w->poly;

	while (~w->done & before(limit)) {
		aead_avx2_poly_supply(w, limit);
		if (s[0].busy && s[1].busy)
			both(&s[0], &s[1]);
		else if (s[0].busy)
			finish(w, &s[0]);
		else if (s[1].busy)
			finish(w, &s[1]);
	}
}
