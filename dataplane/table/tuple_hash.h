// The keyed hash of flows: by the addresses of both ends, and what lies behind them.
#pragma once

#include <stdint.h>
#include <string.h>

enum {
	TUPLE_HASH_KEYS = 8, // random words, of which the last is odd
};

static inline uint64_t tuple_word(const uint8_t *p)
{
	uint64_t word;
	memcpy(&word, p, sizeof(word));
	return word;
}

// NH (RFC 4418, 5.2.2) with 64-bit words, folded: who does not know the key cannot aim at a place
// in a table. remote, local: 16 bytes; ports, kind: the rest.
static inline uint64_t tuple_hash(const uint64_t key[static TUPLE_HASH_KEYS], const uint8_t *remote,
	const uint8_t *local, uint64_t ports, uint64_t kind)
{
	unsigned __int128 sum = (unsigned __int128)(tuple_word(remote) + key[0]) *
				(tuple_word(remote + 8) + key[1]);
	sum += (unsigned __int128)(tuple_word(local) + key[2]) * (tuple_word(local + 8) + key[3]);
	sum += (unsigned __int128)(ports + key[4]) * (kind + key[5]);
	uint64_t h = ((uint64_t)sum ^ (uint64_t)(sum >> 64) * key[6]) * key[7];
	return h ^ h >> 32;
}
