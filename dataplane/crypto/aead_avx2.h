// The AVX2 engine's two halves, and what they share while a burst runs. Only its files and tests
// include this.
//
// ChaCha20 runs in flat lanes: a ymm holds one word of 8 blocks, and the blocks are taken from
// whatever packets the burst has, first the n blocks that make the Poly1305 keys, then the data.
// Poly1305 is scalar, two packets at a time, in the slots that the rounds leave free.
#pragma once

#include "dataplane/crypto/aead_common.h"

enum {
	CHACHA_BLOCK = 64,
	CHACHA_WORDS = 16,
	SET = 8, // lanes of a ymm of 32-bit words
	LANES = 2 * SET,
	POLY_BLOCK = 16,
	POLY_KEY_WORDS = 8, // r, then s, little-endian words
	WOVEN_BLOCKS = 4,   // of each stream in a double round
};

// h = h1 2^64 + h0, and a few bits in h2; r likewise; s1 = r1 / 4 * 5.
struct poly {
	uint64_t h0, h1, h2, r0, r1, s1;
};

struct poly_stream {
	struct poly poly;
	const uint8_t *at;
	uint32_t left;	   // whole blocks of data from at on
	unsigned position; // of the packet, in order
	bool busy;
};

struct chacha_lanes {
	uint32_t counter[LANES], nonce_lo[LANES], nonce_hi[LANES];
	const uint8_t *key[LANES];
	uint8_t *at[LANES];	 // 64 bytes; a lane with less is in tails and works in spare
	uint8_t position[LANES]; // of the packet
	unsigned n;		 // lanes in use
	unsigned n_keys;	 // the first of them are key blocks
	unsigned keys_until;	 // positions that have got theirs with this
	unsigned data_until;	 // positions whose data ends with this
	unsigned n_tails;
	struct {
		uint8_t *at;
		uint32_t len, lane;
	} tails[LANES];
};

struct work {
	__m256i state[2][CHACHA_WORDS]; // initial words
	__m256i stream[2][CHACHA_WORDS];
	uint8_t spare[LANES][CHACHA_BLOCK];
	uint32_t poly_key[POLY_KEY_WORDS][AEAD_BURST + LANES]; // by position in order
	uint8_t tags[AEAD_BURST][AEAD_TAG_LEN];		       // likewise
	struct poly_stream poly[2];
	// Those that run and those that are next, filled ahead: vectors that were written in parts
	// cannot be loaded before the parts have left the store queue.
	struct chacha_lanes lanes[2];
	const struct aead_op *ops;
	const uint8_t *only_key; // of all packets, or NULL
	unsigned n;
	unsigned next_key;	   // position whose key block is due
	unsigned next_packet;	   // position with data to fill lanes with
	uint32_t next_block;	   // of it
	unsigned next_poly;	   // position that no stream has taken yet
	uint64_t done, skip;	   // positions whose tags are made; whose data is left alone
	uint8_t order[AEAD_BURST]; // longest first
};

// Fill the next lanes; n is 0 when none are left.
void aead_avx2_fill(struct work *w, struct chacha_lanes *l);
// Keystream of the lanes into w->stream; the keys among them into w->poly_key. Meanwhile up to
// 10 * WOVEN_BLOCKS blocks of both Poly1305 streams.
void aead_avx2_rounds(struct work *w, const struct chacha_lanes *l);
// Keystream onto the data of the lanes.
void aead_avx2_xor(struct work *w, const struct chacha_lanes *l);

// Give idle streams the next packets before position limit; what is too short to be woven is done
// at once. Blocks that each stream can weave: w->poly[].left.
void aead_avx2_poly_supply(struct work *w, unsigned limit);
// Finish the packets before position limit.
void aead_avx2_poly_drain(struct work *w, unsigned limit);

// One block: 16 bytes and bit 128. In assembly, since gcc loses the carries.
static inline __attribute__((always_inline)) void poly_block(struct poly *p, const uint8_t *m)
{
	uint64_t d0, d2, t0, t1, t2, t3;

	asm("add (%[m]),%[h0]\n\t"
	    "adc 8(%[m]),%[h1]\n\t"
	    "adc $1,%[h2]\n\t"
	    "mov %[r0],%%rdx\n\t"
	    "mulx %[h0],%[d0],%[t3]\n\t"
	    "mulx %[h1],%[t0],%[t1]\n\t"
	    "mov %[h2],%[d2]\n\t"
	    "imul %%rdx,%[d2]\n\t"
	    "mov %[r1],%%rdx\n\t"
	    "mulx %[h0],%[t2],%[h0]\n\t"
	    "add %[t2],%[t0]\n\t"
	    "adc %[h0],%[t1]\n\t"
	    "mov %[s1],%%rdx\n\t"
	    "mulx %[h1],%[t2],%[h1]\n\t"
	    "imul %%rdx,%[h2]\n\t"
	    "add %[t2],%[d0]\n\t"
	    "adc %[h1],%[t3]\n\t"
	    "add %[h2],%[t0]\n\t"
	    "adc $0,%[t1]\n\t"
	    "add %[t3],%[t0]\n\t"
	    "adc %[t1],%[d2]\n\t"
	    "mov %[d2],%[h2]\n\t" // 2^130 = 5: what is above bit 130 comes back as c + c / 4
	    "mov %[d2],%[h0]\n\t"
	    "and $3,%[h2]\n\t"
	    "and $-4,%[d2]\n\t"
	    "shr $2,%[h0]\n\t"
	    "add %[d2],%[h0]\n\t"
	    "mov %[t0],%[h1]\n\t"
	    "add %[d0],%[h0]\n\t"
	    "adc $0,%[h1]\n\t"
	    "adc $0,%[h2]"
		: [h0] "+&r"(p->h0), [h1] "+&r"(p->h1), [h2] "+&r"(p->h2), [d0] "=&r"(d0),
		[d2] "=&r"(d2), [t0] "=&r"(t0), [t1] "=&r"(t1), [t2] "=&r"(t2), [t3] "=&r"(t3)
		: [m] "r"(m), [r0] "m"(p->r0), [r1] "m"(p->r1), [s1] "m"(p->s1),
		"m"(*(const uint8_t(*)[POLY_BLOCK])m)
		: "rdx", "cc");
}
