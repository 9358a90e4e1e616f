// The AVX-512 engine's two halves, and what they share while a burst runs. Only its files and
// tests include this.
//
// ChaCha20 runs in flat lanes: a zmm holds one word of 16 blocks, and the blocks are taken from
// whatever packets the burst has, first the n blocks that make the Poly1305 keys, then the data.
// Poly1305 runs eight messages (or pieces of messages) in the eight 64-bit lanes of a zmm.
#pragma once

#include <immintrin.h>

#include "dataplane/crypto/aead_common.h"

// The rest of the tree is built for the baseline CPU. Files that include this end with
// aead_avx512_end.h.
#if defined(__clang__)
#pragma clang attribute push(                                                                      \
	__attribute__((target("avx512f,avx512bw,avx512vl,avx512ifma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512ifma")
#endif

enum {
	CHACHA_BLOCK = 64,
	CHACHA_WORDS = 16,
	SET = 16,	 // lanes of a zmm of 32-bit words
	LANES = 2 * SET, // two sets fill the latency of each other's instructions
	POLY_BLOCK = 16,
	POLY_WINDOW = 64, // what a lane takes in one step: 4 blocks
	POLY_LANES = 8,
	POLY_AHEAD = 8,	    // groups that are dealt before they are worked on
	POLY_POWERS = 4,    // eights of packets whose powers of r are kept
	POLY_KEY_WORDS = 8, // r, then s, little-endian words
};

// A number modulo 2^130 - 5 in each of eight lanes: limbs of 44, 44 and 42 bits.
struct fe {
	__m512i l0, l1, l2;
};

// A multiplier: the limbs, and 20 times limbs 1 and 2 (2^132 = 4 * 5 modulo 2^130 - 5).
struct fe_factor {
	__m512i r0, r1, r2, s1, s2;
};

// What multiplies the blocks of a window: r to r^4 of eight packets.
struct poly_powers {
	struct fe_factor r1, r2, r3, r4;
};

// Of a group whose lanes are not eight neighbours in a row: where k share a packet r4 is r^(4 k).
// end: what brings the sums of packets that are not of one length to their ends.
struct poly_picked {
	struct poly_powers powers;
	struct fe_factor end;
};

// The data of lane i is 64 bytes at at[i]; a lane with less is in tails and works in spare[i].
struct chacha_lanes {
	uint32_t counter[LANES + SET], nonce_lo[LANES + SET], nonce_hi[LANES + SET];
	const uint8_t *key[LANES + SET];
	uint8_t *at[LANES + SET];
	uint8_t position[2 * LANES]; // of the packet whose data it is
	unsigned n;		     // lanes in use
	unsigned n_keys;	     // the first of them are key blocks
	unsigned keys_until;	     // positions that have got theirs with this
	unsigned n_tails;
	struct {
		uint8_t *at;
		uint32_t len, lane;
	} tails[LANES];
};

// Where the next lanes come from. Packets go in the order of work.order.
struct chacha_cursor {
	unsigned key;	 // next packet whose key block is due
	unsigned packet; // next packet with data
	uint32_t block;	 // its next block, from 0
};

// A group: packets first..first + n of the order in eight lanes.
struct poly_group {
	__m512i off;	   // bytes from the packet's start to the window, signed
	__m512i stride;	   // bytes from window to window: 64 for each lane of the packet
	__m512i len;	   // of the packet
	__m512i data;	   // address of the packet
	__m512i pick;	   // packet of the lane, from the vector of positions on that first lies in
	__m512i behind;	   // windows between the lane's last one and the packet's
	__m512i begin;	   // the lane's first step that is not all before its packet
	unsigned steps;	   // of the longest lane
	unsigned first, n; // packets
	bool equal;	   // packets of one length?
	bool tiny;	   // and is_tiny?
	bool shared;	   // does any packet have several lanes?
	bool lone;	   // equal, and lanes begin with the last block of their first window?
	__mmask8 wide[3];  // lanes of packets with more than 1, 2, 4 lanes
	__mmask8 leads;	   // lanes that are the first of a packet
};

struct work {
	__m512i state[2][CHACHA_WORDS]; // initial words
	__m512i stream[2][CHACHA_WORDS];
	struct poly_powers powers[POLY_POWERS];	   // of positions 8 i on in i % POLY_POWERS
	struct poly_picked picked[2];		   // of the lanes of groups, in turn
	uint64_t sums[3][AEAD_BURST + POLY_LANES]; // limbs by position, before s is added
	struct poly_group groups[POLY_AHEAD];
	__m512i spare[LANES];
	uint32_t poly_key[POLY_KEY_WORDS][AEAD_BURST + LANES]; // by position in order
	uint8_t tags[AEAD_BURST][AEAD_TAG_LEN];		       // likewise
	// Those that run and those that are next, filled ahead: vectors that were written in parts
	// cannot be loaded before the parts have left the store queue.
	struct chacha_lanes lanes[2];
	struct chacha_cursor cursor;
	const struct aead_op *ops;
	unsigned n;
	unsigned n_data;     // positions before this one have data
	unsigned lanes_used; // at most, to be wiped
	bool spare_used;
	unsigned picked_used;		  // a bit for each
	unsigned dealt, dealt_packets;	  // groups, and packets in them
	unsigned prepared, absorbed;	  // groups
	unsigned powers_set, powers_full; // eights; those with all four powers
	uint64_t skip;			  // packets (by position) whose data is left alone
	const uint8_t *only_key;	  // of all packets, or NULL
	const uint8_t *set_key[2];	  // what state has for all lanes of a set, or NULL
	uint8_t order[AEAD_BURST + 8];	  // longest first; room to load eight
	// Of the operations, in this order, for vectors.
	uint64_t data[AEAD_BURST + 8], len[AEAD_BURST + 8], nonce[AEAD_BURST + 8];
	uint64_t key[AEAD_BURST + 8]; // not of only_key
};

static inline struct poly_powers *powers_of(struct work *w, unsigned eight)
{
	return &w->powers[eight % POLY_POWERS];
}

// Has the group other lanes than the eight packets in which it begins?
static inline bool has_picked(const struct poly_group *g)
{
	return !g->equal || g->first % POLY_LANES;
}

// Of four blocks, or none: what Poly1305 does with r and r^2 alone where all are of this length.
static inline bool is_tiny(uint64_t len)
{
	return !len || (len > CHACHA_BLOCK - POLY_BLOCK && len <= CHACHA_BLOCK);
}

static_assert(sizeof(((struct work *)0)->tags) == AEAD_BURST * AEAD_TAG_LEN);

// Fill the next lanes; n is 0 when none are left.
void aead_avx512_fill(struct work *w, struct chacha_lanes *l);
// Keystream of the lanes into w->stream; the keys among them into w->poly_key.
void aead_avx512_rounds(struct work *w, const struct chacha_lanes *l);
// Keystream onto the data of the lanes.
void aead_avx512_xor(struct work *w, const struct chacha_lanes *l);
void aead_avx512_wipe_registers(void);
// Deal up to n groups of the lanes of Poly1305, ahead of that.
void aead_avx512_deal_ahead(struct work *w, unsigned n);
// Powers of r for the group that is next, and for the one after it, which wait for each other while
// others are worked on.
void aead_avx512_powers(struct work *w);
// Tags, w->tags, from the sums.
void aead_avx512_tags(struct work *w);
// Tags of all packets, w->tags, from w->poly_key and the data as it is now.
void aead_avx512_poly(struct work *w);
// The group that begins with packet first of the order.
void aead_avx512_deal(struct poly_group *g, const struct work *w, unsigned first);
