// NaCl boxes: those that real disco and DERP sealed, and what must not open.
#include "tests/unit/path_vectors.h"

#include <errno.h>

#include "dataplane/crypto/box.h"
#include "dataplane/crypto/x25519.h"

static struct box box_of(const json_t *keys, const char *own, const char *other)
{
	const struct key private_key = vectors_key(json_object_get(keys, own), "private");
	const struct key public_key = vectors_key(json_object_get(keys, other), "public");
	struct box box;

	assert_int_equal(box_init(&box, private_key.bytes, public_key.bytes), 0);
	return box;
}

// Seal again what was recorded, from both ends.
static void test_recorded(void **)
{
	enum { DISCO_CLEAR = 38, MAX = 4096 }; // magic and sender stand before the nonce
	json_t *root = vectors_load("disco.json"), *t;
	const json_t *keys = json_object_get(root, "keys");
	uint8_t wire[MAX], plain[MAX], nonce[BOX_NONCE_LEN], got[MAX];
	size_t i;

	json_array_foreach(json_object_get(root, "messages"), i, t)
	{
		const char *from = vectors_text(t, "from"), *to = vectors_text(t, "to");
		const struct box sender = box_of(keys, from, to);
		const struct box receiver = box_of(keys, to, from);
		const size_t wire_len = vectors_bytes(t, "wire", wire, MAX);
		const size_t len = vectors_bytes(t, "plaintext", plain, MAX);

		vectors_exact(t, "nonce", nonce, sizeof(nonce));
		assert_memory_equal(&sender, &receiver, sizeof(sender));
		box_seal(&sender, nonce, plain, len, got);
		assert_int_equal(wire_len - DISCO_CLEAR, len + BOX_OVERHEAD);
		assert_memory_equal(got, wire + DISCO_CLEAR, len + BOX_OVERHEAD);
		assert_int_equal(
			box_open(&receiver, wire + DISCO_CLEAR, wire_len - DISCO_CLEAR, got), 0);
		assert_memory_equal(got, plain, len);
	}
	assert_int_equal(i, 16);
	json_decref(root);
}

static void test_forged(void **)
{
	json_t *root = vectors_load("disco.json");
	const json_t *keys = json_object_get(root, "keys");
	const struct box box = box_of(keys, "alice", "bob"), other = box_of(keys, "alice", "relay");
	const uint8_t nonce[BOX_NONCE_LEN] = {7};
	uint8_t sealed[5 + BOX_OVERHEAD], out[5];

	box_seal(&box, nonce, "hello", 5, sealed);
	assert_int_equal(box_open(&box, sealed, sizeof(sealed), out), 0);
	assert_int_equal(box_open(&other, sealed, sizeof(sealed), out), -EBADMSG);
	for (size_t bit = 0; bit < sizeof(sealed) * 8; bit++) {
		sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(box_open(&box, sealed, sizeof(sealed), out), -EBADMSG);
		sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	for (size_t len = 0; len < sizeof(sealed); len++) {
		uint8_t *cut = exact_copy(sealed, len);
		assert_int_equal(box_open(&box, cut, len, out), -EBADMSG);
		free(cut);
	}
	json_decref(root);
}

static void test_bad_keys(void **)
{
	static const struct key low_order[] = {
		{{0}},
		{{1}},
		{{0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1,
			0x9f, 0xc4, 0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86,
			0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00}},
	};
	struct key private_key;
	struct box box;

	x25519_generate(private_key.bytes);
	for (size_t i = 0; i < sizeof(low_order) / sizeof(low_order[0]); i++) {
		memset(&box, 0xff, sizeof(box));
		assert_int_equal(
			box_init(&box, private_key.bytes, low_order[i].bytes), -EKEYREJECTED);
		assert_true(sodium_is_zero(box.shared, sizeof(box.shared)));
	}
}

static void test_wiped(void **)
{
	json_t *root = vectors_load("disco.json");
	struct box box = box_of(json_object_get(root, "keys"), "alice", "bob");

	assert_false(sodium_is_zero(box.shared, sizeof(box.shared)));
	box_fini(&box);
	assert_true(sodium_is_zero(box.shared, sizeof(box.shared)));
	json_decref(root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_recorded),
		cmocka_unit_test(test_forged),
		cmocka_unit_test(test_bad_keys),
		cmocka_unit_test(test_wiped),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
