// Which counters of a keypair were seen: the sliding window of RFC 6479, 8192 bits of which one
// word is being refilled, as in the kernel's receive.c. Touched by the keypair's owner only.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/wire/wireguard.h"

enum {
	REPLAY_WORDS = WG_REPLAY_BITS / WG_REPLAY_WORD_BITS,
};

struct replay {
	uint64_t next;		     // one more than the highest counter accepted
	uint64_t seen[REPLAY_WORDS]; // a ring: bit (counter + 1) % WG_REPLAY_BITS
};

static inline bool replay_in_window(const struct replay *r, uint64_t counter)
{
	return counter < WG_REJECT_AFTER_MESSAGES && counter + 1 + WG_REPLAY_WINDOW >= r->next;
}

// True when replay_update would accept. Cheap enough to refuse before decrypting. [wrk]
static inline bool replay_check(const struct replay *r, uint64_t counter)
{
	uint64_t bit = counter + 1;
	if (!replay_in_window(r, counter))
		return false;
	return bit > r->next ||
	       !(r->seen[bit / WG_REPLAY_WORD_BITS % REPLAY_WORDS] >> (bit % WG_REPLAY_WORD_BITS) &
		       1);
}

// Words between the old highest counter and the new one fall out of the window.
static inline void replay_advance(struct replay *r, uint64_t next)
{
	uint64_t old_word = r->next / WG_REPLAY_WORD_BITS;
	uint64_t words = next / WG_REPLAY_WORD_BITS - old_word;
	if (words > REPLAY_WORDS)
		words = REPLAY_WORDS;
	for (uint64_t i = 1; i <= words; i++)
		r->seen[(old_word + i) % REPLAY_WORDS] = 0;
	r->next = next;
}

// Record the counter of an authentic packet. False: seen before, too old, or at the limit of
// messages per key; nothing changed. Only after authentication. [wrk]
static inline bool replay_update(struct replay *r, uint64_t counter)
{
	uint64_t bit = counter + 1;
	if (!replay_in_window(r, counter))
		return false;
	if (bit > r->next)
		replay_advance(r, bit);
	uint64_t *word = &r->seen[bit / WG_REPLAY_WORD_BITS % REPLAY_WORDS];
	uint64_t mask = UINT64_C(1) << (bit % WG_REPLAY_WORD_BITS);
	if (*word & mask)
		return false;
	*word |= mask;
	return true;
}
