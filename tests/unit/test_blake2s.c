// BLAKE2s, its MAC, HMAC and Noise's HKDF. Values besides the RFC's are CPython's hashlib and hmac
// (the BLAKE2 reference code) over data(n): bytes 7 i + 3, and keys 0, 1, 2, ...
#include "tests/unit/vectors.h"

#include <pthread.h>

#include "dataplane/crypto/blake2s.h"

enum { DATA_MAX = 1000, THREADS = 4 };

static uint8_t data[DATA_MAX], keys[BLAKE2S_BLOCK_LEN];

static void check(const char *what, size_t i, const uint8_t *got, const char *want_hex, size_t len)
{
	uint8_t want[BLAKE2S_LEN];

	assert_int_equal(hex_bytes(want_hex, want, sizeof(want)), len);
	if (memcmp(got, want, len))
		fail_msg("%s %zu", what, i);
}

static void test_hash(void **)
{
	static const struct {
		size_t len;
		const char *want;
	} cases[] = {
		{0, "69217a3079908094e11121d042354a7c1f55b6482ca1a51e1b250dfd1ed0eef9"},
		{1, "a28ac19d6bcbe2cd1d7de183485768d598e996b07889b9b11f418cb1b4a4fb0d"},
		{63, "de27df0e375d83c49f1af9ca8270f9f2fe7b70bf800fc01672db0e9746021ebf"},
		{64, "5377e4ff957bda4d4535f4879876b71a61056c4cec31e78397c66ec47a86a130"},
		{65, "19b1b26fba093f4a670d8913e1b71cbb2916dfa701018cc6b05785c966593374"},
		{128, "83470c75afa23d90cd7659906e4b47daa278131fbb225241dd37a40fd5355ac7"},
		{1000, "02a016193469710efadf8fb005ca19b509331cb847df5598cc0794bded669681"},
	};
	uint8_t out[BLAKE2S_LEN];

	blake2s(out, "abc", 3, NULL, 0);
	check("RFC 7693 B", 0, out,
		"508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982", sizeof(out));
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		// Cut in two at several places: the parts are joined.
		for (size_t cut = 0; cut <= cases[i].len; cut += 21) {
			blake2s(out, data, cut, data + cut, cases[i].len - cut);
			check("hash", i, out, cases[i].want, sizeof(out));
		}
	}
}

static void test_mac(void **)
{
	static const struct {
		size_t key_len, len;
		const char *want;
	} cases[] = {
		{32, 0, "9536f9b267655743dee97b8a670f9f53"},
		{32, 116, "3bb7844efca93a99b448f184b6b4c2d1"},
		{16, 132, "dded1e0ed5c1b8da254d0a8e0bb2643a"},
		{32, 64, "27337ab7d92116d773ea23fded157e28"},
		{1, 1, "efe57addfe6c95347c96d56309c45b5d"},
		{32, 65, "0b9ae39a44ce901047c9d568694a26d0"},
		{16, 18, "72c0620cc40711ffa72a0d43a3e03e4f"},
		{32, 1000, "55c7574f0da0352ecb127f2f70e0aa6a"},
	};
	uint8_t out[BLAKE2S_MAC_LEN];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		blake2s_mac(out, keys, cases[i].key_len, data, cases[i].len);
		check("mac", i, out, cases[i].want, sizeof(out));
	}
}

static void test_hmac(void **)
{
	static const struct {
		size_t key_len, len;
		const char *want;
	} cases[] = {
		{0, 0, "eaf4bb25938f4d20e72656bbbc7a9bf63c0c18537333c35bdb67db1402661acd"},
		{32, 0, "e2641d24dfa8dd89e8cb77f1cdc77d8c006e5bebdfc4d6a3a3a6f8d5b7586fb0"},
		{32, 32, "5a0d1244e9f578b4fe10fd8cbaf067e1a3230320116d7dfddf5ec201c6bf6bb5"},
		{32, 33, "80b04a36a5d9b39dee4ebb132e59e6e00e17a3b82d1d44af8c97e82e20f97900"},
		{64, 5, "14bcb6efe857135d793f537d5c1d515937a80e5fc127edf43f8327496bcd40b6"},
		{1, 200, "af7e23764cfd4fe6f5d5110516b2572542e23c70c159527fed06ca0cc80f7220"},
	};
	uint8_t out[BLAKE2S_LEN];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		blake2s_hmac(out, keys, cases[i].key_len, data, cases[i].len);
		check("hmac", i, out, cases[i].want, sizeof(out));
	}
}

static void test_kdf(void **)
{
	static const struct {
		size_t len;
		const char *want[3];
	} cases[] = {
		{32, {"f32124ebbb23835220f773cd772f0312039b18346b772420fb3c0baf7e3c323e",
			     "433f2e6893df3103b3a0194498d1ae7fd2c11bbff7b8faf81f2a14e551dfc77d",
			     "3e8a1eb3e5f8b4515f47b946bec4c5f953f8cbb25d17475a75e39a6b34bc9907"}},
		{0, {"7a38c34bf2b8738d7374ca77c44ecb309a11d2b2528304fa86052c365e722624",
			    "1a17621f346abdc520746a9fb64d8eb03231d674fc15687537b0780fd9c060fd",
			    "4eaf02809ac4b930ef63479de62275f1c55656e61f78a3cc653c18a2223d6c5f"}},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (unsigned n = 1; n <= 3; n++) {
			uint8_t out[4][BLAKE2S_LEN];

			memset(out, 0xee, sizeof(out));
			blake2s_kdf(out, n, keys, data, cases[i].len);
			for (unsigned k = 0; k < n; k++)
				check("kdf", i, out[k], cases[i].want[k], BLAKE2S_LEN);
			assert_int_equal(out[n][0], 0xee); // nothing beyond n
		}
	}
}

static void test_kdf_in_place(void **)
{
	uint8_t chain[1][BLAKE2S_LEN];

	memcpy(chain[0], keys, BLAKE2S_LEN);
	blake2s_kdf(chain, 1, chain[0], data, 32);
	check("in place", 0, chain[0],
		"f32124ebbb23835220f773cd772f0312039b18346b772420fb3c0baf7e3c323e", BLAKE2S_LEN);
}

// Each thread makes its own contexts and gets the same answers.
static void *hash_much(void *wrong)
{
	uint8_t out[BLAKE2S_LEN], mac[BLAKE2S_MAC_LEN], first[BLAKE2S_LEN],
		first_mac[BLAKE2S_MAC_LEN];

	blake2s(first, data, 100, NULL, 0);
	blake2s_mac(first_mac, keys, 32, data, 100);
	for (unsigned i = 0; i < 2000; i++) {
		blake2s(out, data, 40, data + 40, 60);
		blake2s_mac(mac, keys, 32, data, 100);
		if (memcmp(out, first, sizeof(out)) || memcmp(mac, first_mac, sizeof(mac)))
			*(bool *)wrong = true;
	}
	return NULL;
}

static void test_threads(void **)
{
	pthread_t threads[THREADS];
	bool wrong[THREADS] = {false};

	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, hash_much, &wrong[i]), 0);
	for (unsigned i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_false(wrong[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hash),
		cmocka_unit_test(test_mac),
		cmocka_unit_test(test_hmac),
		cmocka_unit_test(test_kdf),
		cmocka_unit_test(test_kdf_in_place),
		cmocka_unit_test(test_threads),
	};

	for (unsigned i = 0; i < DATA_MAX; i++)
		data[i] = (uint8_t)(i * 7 + 3);
	for (unsigned i = 0; i < sizeof(keys); i++)
		keys[i] = (uint8_t)i;
	if (blake2s_init())
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
