// Poly1305 of the engines that work across packets, beside libsodium: extreme values, sums around
// the modulus, Wycheproof's messages.
#include "tests/unit/aead_burst.h"

// Poly1305 alone, with keys of the test's choice, against libsodium.
static void expect_poly(const struct aead_engine *engine, void *state, unsigned n,
	uint8_t poly_keys[][32], const struct burst *b)
{
	uint8_t tags[AEAD_BURST][AEAD_TAG_LEN], tag[AEAD_TAG_LEN];

	engine->poly1305(state, b->ops, n, poly_keys, tags);
	for (unsigned i = 0; i < n; i++) {
		const uint64_t len = b->ops[i].len;
		static const uint8_t zeros[16];
		crypto_onetimeauth_state s;
		uint64_t lens[2] = {0, len};

		crypto_onetimeauth_init(&s, poly_keys[i]);
		crypto_onetimeauth_update(&s, b->ops[i].data, len);
		crypto_onetimeauth_update(&s, zeros, (16 - len % 16) % 16);
		crypto_onetimeauth_update(&s, (const uint8_t *)lens, sizeof(lens));
		crypto_onetimeauth_final(&s, tag);
		assert_memory_equal(tags[i], tag, AEAD_TAG_LEN);
	}
}

// r: nothing, one, all that clamping leaves, the greatest limbs one by one.
static const char *const extreme_r[] = {
	"00000000000000000000000000000000",
	"01000000000000000000000000000000",
	"04000000000000000000000000000000",
	"ffffffffffffffffffffffffffffffff",
	"ffffff0f000000000000000000000000",
	"00000000fcffff0f0000000000000000",
	"0000000000000000fcffff0f00000000",
	"000000000000000000000000fcffff0f",
	"fcffff0ffcffff0ffcffff0ffcffff0f",
};
static const char *const extreme_s[] = {
	"00000000000000000000000000000000",
	"ffffffffffffffffffffffffffffffff",
	"ffffffffffffffff0000000000000000",
	"01000000000000000000000000000000",
};

static void extreme_values(const struct aead_engine *engine, void *state)
{
	static const uint32_t lens[] = {0, 16, 31, 48, 64, 112, 128, 240, 512, 1424, 4096, LEN_MAX};
	static const uint8_t bytes[] = {0x00, 0xff, 0x80, 0x01};
	uint8_t poly_keys[AEAD_BURST][32];

	for (size_t k = 0; k < sizeof(lens) / sizeof(lens[0]); k++) {
		for (unsigned m = 0; m < sizeof(bytes); m++) {
			const unsigned pairs = 9 * 4;
			struct burst b = {0};

			for (unsigned i = 0; i < pairs; i++) {
				burst_add(&b, lens[k], 0, 0);
				memset(b.ops[i].data, bytes[m], lens[k]);
				hex_bytes(extreme_r[i / 4], poly_keys[i], 16);
				hex_bytes(extreme_s[i % 4], poly_keys[i] + 16, 16);
			}
			expect_poly(engine, state, pairs, poly_keys, &b);
			for (unsigned i = 0; i < 4; i++) // few lanes: a packet in several
				expect_poly(engine, state, i + 1, poly_keys + 12, &b);
			burst_free(&b);
		}
	}
}

static void test_extreme_values(void **)
{
	each_engine(extreme_values);
}

// With r = 1 a message's number is the sum of its blocks. Two blocks of data and that of the
// length, each with bit 128, and what the first one is chosen to add: 2^130 - 5 + d. Only from d =
// 0 on is the modulus subtracted.
static void near_the_modulus(const struct aead_engine *engine, void *state)
{
	const unsigned __int128 length_block = (unsigned __int128)32 << 64;
	uint8_t poly_keys[AEAD_BURST][32] = {0};
	struct burst b = {0};

	for (int d = -16; d < 16; d++) {
		const unsigned __int128 first = (unsigned __int128)(d - 5) - length_block;
		const unsigned i = b.n;

		burst_add(&b, 32, 0, 0);
		memset(b.ops[i].data, 0, 32);
		memcpy(b.ops[i].data, &first, sizeof(first));
		poly_keys[i][0] = 1;
		memset(poly_keys[i] + 16, i % 2 ? 0xff : 0, 16);
	}
	expect_poly(engine, state, b.n, poly_keys, &b);
	for (unsigned i = 0; i < b.n; i++) // one by one, too
		expect_poly(engine, state, 1, poly_keys + i, &(struct burst){.ops = {b.ops[i]}});
	burst_free(&b);
}

static void test_near_the_modulus(void **)
{
	each_engine(near_the_modulus);
}

// Wycheproof's messages as Poly1305 sees them: padded additional data, padded ciphertext. The
// engines append a block of lengths of their own, as libsodium does in expect_poly.
static void wycheproof(const struct aead_engine *engine, void *state)
{
	json_t *root = vectors_load("wycheproof_chacha20_poly1305.json"), *t;
	uint8_t poly_keys[1][32], message[2048], block[64] = {0}, key[KEY_LEN], nonce[32];
	unsigned n = 0;
	size_t i;

	json_array_foreach(json_object_get(root, "tests"), i, t)
	{
		struct burst b = {0};
		size_t len;

		n++;
		vectors_exact(t, "key", key, KEY_LEN);
		memset(message, 0, sizeof(message));
		len = vectors_bytes(t, "aad", message, 1024);
		len = (len + 15) / 16 * 16;
		if (vectors_bytes(t, "iv", nonce, sizeof(nonce)) != AEAD_NONCE_LEN)
			continue;
		len += vectors_bytes(t, "ct", message + len, 1024);
		memset(block, 0, sizeof(block));
		crypto_stream_chacha20_ietf(poly_keys[0], 32, nonce, key);
		burst_add(&b, (uint32_t)len, 3, 0);
		memcpy(b.ops[0].data, message, len);
		expect_poly(engine, state, 1, poly_keys, &b);
		burst_free(&b);
	}
	assert_int_equal(n, 325);
	json_decref(root);
}

static void test_wycheproof(void **)
{
	each_engine(wycheproof);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_extreme_values),
		cmocka_unit_test(test_near_the_modulus),
		cmocka_unit_test(test_wycheproof),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
