// Two peers and a stranger with fixed keys, for the tests of handshakes and cookies.
#pragma once

#include "tests/unit/vectors.h"

#include "control/wg/cookie.h"
#include "control/wg/noise.h"

enum {
	ALICE_INDEX = 0x01020304,
	BOB_INDEX = 0x0a0b0c0d,
};

struct pair {
	struct noise_identity alice, bob, mallory;
	struct noise_remote bob_of_alice, alice_of_bob; // whom, as seen by whom
	struct noise_handshake alice_hs, bob_hs;
	struct key psk;
	struct wg_initiation initiation;
	struct wg_response response;
};

// A private key that is nothing but its number.
static inline struct key numbered_key(uint8_t number)
{
	struct key key;

	memset(key.bytes, number, sizeof(key.bytes));
	return key;
}

static inline void pair_init(struct pair *p)
{
	const struct key alice = numbered_key(0xa1), bob = numbered_key(0xb0),
			 mallory = numbered_key(0x66);

	*p = (struct pair){.psk = numbered_key(0x05)};
	assert_int_equal(noise_identity_init(&p->alice, &alice), 0);
	assert_int_equal(noise_identity_init(&p->bob, &bob), 0);
	assert_int_equal(noise_identity_init(&p->mallory, &mallory), 0);
	assert_int_equal(
		noise_remote_init(&p->bob_of_alice, &p->alice, &p->bob.public_key, &p->psk), 0);
	assert_int_equal(
		noise_remote_init(&p->alice_of_bob, &p->bob, &p->alice.public_key, &p->psk), 0);
}

// Alice's initiation at this many seconds of 1970.
static inline void pair_initiate(struct pair *p, uint64_t seconds)
{
	const struct key ephemeral = numbered_key((uint8_t)seconds);
	uint8_t timestamp[WG_TAI64N_LEN];

	noise_tai64n(timestamp, seconds * 1000000000);
	assert_int_equal(noise_initiation_create(&p->alice_hs, &p->alice, &p->bob_of_alice,
				 ALICE_INDEX, ephemeral.bytes, timestamp, &p->initiation),
		0);
}

// Bob reads it and answers.
static inline void pair_respond(struct pair *p)
{
	const struct key ephemeral = numbered_key(0xbe);

	assert_int_equal(
		noise_initiation_open(&p->bob_hs, &p->bob, &p->initiation, sizeof(p->initiation)),
		0);
	assert_int_equal(noise_initiation_accept(&p->bob_hs, &p->alice_of_bob), 0);
	assert_int_equal(noise_response_create(&p->bob_hs, &p->alice_of_bob, BOB_INDEX,
				 ephemeral.bytes, &p->response),
		0);
}

static inline void flip_bit(void *bytes, unsigned bit)
{
	((uint8_t *)bytes)[bit / 8] ^= (uint8_t)(1 << bit % 8);
}
