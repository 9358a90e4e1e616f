// X25519: RFC 7748 and all of Wycheproof.
#include "tests/unit/vectors.h"

#include <errno.h>

#include "dataplane/crypto/x25519.h"

static void test_rfc7748(void **)
{
	static const struct {
		const char *name, *private_key, *public_key, *shared;
	} cases[] = {
		{"5.2 first", "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
			"e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
			"c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"},
		{"5.2 second", "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
			"e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
			"95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957"},
		{"6.1 Alice", "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
			"de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
			"4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"},
		{"6.1 Bob", "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
			"8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
			"4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t private_key[KEY_LEN], public_key[KEY_LEN], want[KEY_LEN], got[KEY_LEN];

		hex_bytes(cases[i].private_key, private_key, KEY_LEN);
		hex_bytes(cases[i].public_key, public_key, KEY_LEN);
		hex_bytes(cases[i].shared, want, KEY_LEN);
		assert_int_equal(x25519(got, private_key, public_key), 0);
		if (memcmp(got, want, KEY_LEN))
			fail_msg("RFC 7748 %s", cases[i].name);
	}
}

static void test_rfc7748_public(void **)
{
	uint8_t private_key[KEY_LEN], want[KEY_LEN], got[KEY_LEN];

	hex_bytes("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a", private_key,
		KEY_LEN);
	hex_bytes(
		"8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a", want, KEY_LEN);
	x25519_public(got, private_key);
	assert_memory_equal(got, want, KEY_LEN);
}

static void test_rfc7748_iterated(void **)
{
	uint8_t k[KEY_LEN] = {9}, u[KEY_LEN] = {9}, r[KEY_LEN], want[KEY_LEN];

	for (unsigned i = 1; i <= 1000; i++) {
		assert_int_equal(x25519(r, k, u), 0);
		memcpy(u, k, KEY_LEN);
		memcpy(k, r, KEY_LEN);
		if (i == 1) {
			hex_bytes(
				"422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079",
				want, KEY_LEN);
			assert_memory_equal(k, want, KEY_LEN);
		}
	}
	hex_bytes(
		"684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51", want, KEY_LEN);
	assert_memory_equal(k, want, KEY_LEN);
}

static void test_wycheproof(void **)
{
	json_t *root = vectors_load("wycheproof_x25519.json"), *t;
	const json_t *tests = json_object_get(root, "tests");
	const uint8_t zero[KEY_LEN] = {0};
	unsigned agreed = 0, refused = 0;
	size_t i;

	json_array_foreach(tests, i, t)
	{
		uint8_t private_key[KEY_LEN], public_key[KEY_LEN], want[KEY_LEN], got[KEY_LEN];
		const bool refuse = json_is_true(json_object_get(t, "zero_shared"));

		vectors_exact(t, "private", private_key, KEY_LEN);
		vectors_exact(t, "public", public_key, KEY_LEN);
		vectors_exact(t, "shared", want, KEY_LEN);
		const int error = x25519(got, private_key, public_key);
		if (error != (refuse ? -EKEYREJECTED : 0) || memcmp(got, want, KEY_LEN))
			fail_msg("case %lld: %d",
				(long long)json_integer_value(json_object_get(t, "id")), error);
		assert_true(!refuse || !memcmp(got, zero, KEY_LEN));
		refuse ? refused++ : agreed++;
	}
	print_message("Wycheproof: %u agreed, %u of low order refused\n", agreed, refused);
	assert_int_equal(agreed + refused, 518);
	json_decref(root);
}

static void test_low_order(void **)
{
	static const char *const points[] = {
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
		"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	};
	uint8_t private_key[KEY_LEN], public_key[KEY_LEN], out[KEY_LEN];
	const uint8_t zero[KEY_LEN] = {0};

	x25519_generate(private_key);
	for (size_t i = 0; i < 2 * sizeof(points) / sizeof(points[0]); i++) {
		hex_bytes(points[i / 2], public_key, KEY_LEN);
		if (i % 2) // the top bit is not part of the number
			public_key[31] |= 0x80;
		memset(out, 0xee, KEY_LEN);
		assert_int_equal(x25519(out, private_key, public_key), -EKEYREJECTED);
		assert_memory_equal(out, zero, KEY_LEN);
	}
}

static void test_clamp(void **)
{
	uint8_t raw[KEY_LEN], clamped[KEY_LEN], a[KEY_LEN], b[KEY_LEN];

	memset(raw, 0xff, KEY_LEN);
	memcpy(clamped, raw, KEY_LEN);
	x25519_clamp(clamped);
	assert_int_equal(clamped[0], 0xf8);
	assert_int_equal(clamped[31], 0x7f);
	memset(clamped, 0, KEY_LEN);
	x25519_clamp(clamped);
	assert_int_equal(clamped[31], 0x40);

	memcpy(clamped, raw, KEY_LEN);
	x25519_clamp(clamped);
	x25519_public(a, raw);
	x25519_public(b, clamped);
	assert_memory_equal(a, b, KEY_LEN);
}

static void test_generate(void **)
{
	uint8_t a[KEY_LEN], b[KEY_LEN], a_public[KEY_LEN], b_public[KEY_LEN], ab[KEY_LEN],
		ba[KEY_LEN];

	for (unsigned i = 0; i < 20; i++) {
		x25519_generate(a);
		x25519_generate(b);
		assert_memory_not_equal(a, b, KEY_LEN);
		assert_int_equal(a[0] & 7, 0);
		assert_int_equal(a[31] & 0xc0, 0x40);
		x25519_public(a_public, a);
		x25519_public(b_public, b);
		assert_int_equal(x25519(ab, a, b_public), 0);
		assert_int_equal(x25519(ba, b, a_public), 0);
		assert_memory_equal(ab, ba, KEY_LEN);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rfc7748),
		cmocka_unit_test(test_rfc7748_public),
		cmocka_unit_test(test_rfc7748_iterated),
		cmocka_unit_test(test_wycheproof),
		cmocka_unit_test(test_low_order),
		cmocka_unit_test(test_clamp),
		cmocka_unit_test(test_generate),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
