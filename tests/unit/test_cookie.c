// MACs and cookies: what lets a handshake through under load, and what does not.
#include "tests/unit/noise_pair.h"

#include <errno.h>

static const uint64_t S = 1000000000; // ns

static struct endpoint endpoint(const char *text)
{
	struct endpoint e;

	assert_int_equal(endpoint_parse(text, &e), 0);
	return e;
}

// All of Wycheproof, straight to the box that cookies are sealed with.
static void test_xchacha_wycheproof(void **)
{
	json_t *root = vectors_load("wycheproof_xchacha20_poly1305.json"), *t;
	uint8_t key[KEY_LEN], nonce[64], aad[1024], text[1024], want[1040], got[1040];
	unsigned valid = 0, invalid = 0, other_nonce = 0;
	size_t i;

	json_array_foreach(json_object_get(root, "tests"), i, t)
	{
		vectors_exact(t, "key", key, sizeof(key));
		if (vectors_bytes(t, "iv", nonce, sizeof(nonce)) != WG_COOKIE_NONCE_LEN) {
			assert_false(json_is_true(json_object_get(t, "valid")));
			other_nonce++;
			continue;
		}
		const size_t aad_len = vectors_bytes(t, "aad", aad, sizeof(aad));
		const size_t len = vectors_bytes(t, "msg", text, sizeof(text));
		assert_int_equal(vectors_bytes(t, "ct", want, 1024), len);
		vectors_exact(t, "tag", want + len, WG_TAG_LEN);
		const bool opens = !crypto_aead_xchacha20poly1305_ietf_decrypt(
			got, NULL, NULL, want, len + WG_TAG_LEN, aad, aad_len, nonce, key);
		assert_true(opens == json_is_true(json_object_get(t, "valid")));
		if (opens) {
			assert_memory_equal(got, text, len);
			crypto_aead_xchacha20poly1305_ietf_encrypt(
				got, NULL, text, len, aad, aad_len, NULL, nonce, key);
			assert_memory_equal(got, want, len + WG_TAG_LEN);
		}
		opens ? valid++ : invalid++;
	}
	print_message(
		"Wycheproof: %u valid, %u forged refused, %u of other nonce lengths left out\n",
		valid, invalid, other_nonce);
	assert_int_equal(valid + invalid + other_nonce, 315);
	json_decref(root);
}

// Recorded replies: key, cookie and the address as it is hashed.
static void test_transcripts(void **)
{
	json_t *root = vectors_load("wireguard.json"), *t;
	unsigned found = 0;
	size_t i;

	json_array_foreach(json_object_get(root, "transcripts"), i, t)
	{
		if (!json_object_get(t, "cookie"))
			continue;
		struct noise_identity responder, initiator;
		struct noise_remote of_initiator;
		struct cookie_maker maker = {.has_secret = true};
		struct cookie_jar jar = {0};
		struct wg_cookie_reply reply;
		struct wg_initiation initiation;
		struct key private_key;
		uint8_t cookie[WG_COOKIE_LEN], key[WG_HASH_LEN];
		const struct endpoint from =
			endpoint(json_string_value(json_object_get(t, "initiator_endpoint")));

		vectors_exact(root, "responder_private", private_key.bytes, KEY_LEN);
		assert_int_equal(noise_identity_init(&responder, &private_key), 0);
		vectors_exact(root, "initiator_private", private_key.bytes, KEY_LEN);
		assert_int_equal(noise_identity_init(&initiator, &private_key), 0);
		assert_int_equal(
			noise_remote_init(&of_initiator, &initiator, &responder.public_key, NULL),
			0);
		vectors_exact(t, "cookie_encryption_key", key, sizeof(key));
		assert_memory_equal(responder.cookie_key, key, sizeof(key));
		vectors_exact(t, "cookie_secret", maker.secret, sizeof(maker.secret));
		vectors_exact(t, "cookie", cookie, sizeof(cookie));
		vectors_exact(json_array_get(json_object_get(t, "packets"), 0), "wire",
			(uint8_t *)&initiation, sizeof(initiation));

		// Our reply with the recorded secret holds the recorded cookie.
		cookie_jar_stamp(&jar, &initiation, sizeof(initiation), 0);
		assert_int_equal(cookie_reply_create(&maker, &responder, &initiation,
					 sizeof(initiation), &from, 0, &reply),
			0);
		assert_int_equal(
			cookie_jar_consume(&jar, &of_initiator, &reply, sizeof(reply), 0), 0);
		assert_memory_equal(jar.cookie, cookie, sizeof(cookie));
		found++;
	}
	assert_int_equal(found, 2);
	json_decref(root);
}

// Alice sends, Bob answers with a cookie: what a test starts from.
struct exchange {
	struct pair p;
	struct cookie_maker maker;
	struct cookie_jar jar;
	struct wg_cookie_reply reply;
	struct endpoint from;
};

static void exchange_init(struct exchange *x, uint64_t now_ns)
{
	*x = (struct exchange){.from = endpoint("192.0.2.1:51820")};
	pair_init(&x->p);
	pair_initiate(&x->p, 1);
	cookie_jar_stamp(&x->jar, &x->p.initiation, sizeof(x->p.initiation), now_ns);
	assert_int_equal(cookie_reply_create(&x->maker, &x->p.bob, &x->p.initiation,
				 sizeof(x->p.initiation), &x->from, now_ns, &x->reply),
		0);
}

static int consume(struct exchange *x, const void *reply, size_t len, uint64_t now_ns)
{
	return cookie_jar_consume(&x->jar, &x->p.bob_of_alice, reply, len, now_ns);
}

// A new initiation with what the jar holds; whether Bob takes its mac2.
static bool passes(struct exchange *x, const struct endpoint *from, uint64_t now_ns)
{
	pair_initiate(&x->p, 2);
	cookie_jar_stamp(&x->jar, &x->p.initiation, sizeof(x->p.initiation), now_ns);
	assert_true(cookie_mac1_valid(&x->p.bob, &x->p.initiation, sizeof(x->p.initiation)));
	return cookie_mac2_valid(
		&x->maker, &x->p.initiation, sizeof(x->p.initiation), from, now_ns);
}

static void test_cookie_passes(void **)
{
	struct exchange x;

	exchange_init(&x, 10 * S);
	assert_int_equal(x.reply.receiver, rte_cpu_to_le_32(ALICE_INDEX));
	assert_int_equal(consume(&x, &x.reply, sizeof(x.reply), 10 * S), 0);
	assert_true(passes(&x, &x.from, 11 * S));
}

static void test_cookie_for_response(void **)
{
	struct cookie_maker maker = {0};
	struct cookie_jar jar = {0};
	struct wg_cookie_reply reply;
	const struct endpoint bob = endpoint("[2001:db8::b]:41641");
	struct pair p;

	pair_init(&p);
	pair_initiate(&p, 1);
	pair_respond(&p);
	cookie_jar_stamp(&jar, &p.response, sizeof(p.response), 0);
	assert_false(cookie_mac2_valid(&maker, &p.response, sizeof(p.response), &bob, 0));
	assert_int_equal(cookie_reply_create(&maker, &p.alice, &p.response, sizeof(p.response),
				 &bob, 0, &reply),
		0);
	assert_int_equal(reply.receiver, rte_cpu_to_le_32(BOB_INDEX));
	assert_int_equal(cookie_jar_consume(&jar, &p.alice_of_bob, &reply, sizeof(reply), 0), 0);
	cookie_jar_stamp(&jar, &p.response, sizeof(p.response), 0);
	assert_true(cookie_mac2_valid(&maker, &p.response, sizeof(p.response), &bob, 0));
	assert_true(cookie_mac1_valid(&p.alice, &p.response, sizeof(p.response)));
}

static void test_mac2_other_source(void **)
{
	static const char *const others[] = {"192.0.2.2:51820", "192.0.2.1:51821",
		"192.0.2.1:27850", "[2001:db8::1]:51820", "[c000:201::]:51820"};
	const struct endpoint none = {0};
	struct exchange x;

	exchange_init(&x, 0);
	assert_int_equal(consume(&x, &x.reply, sizeof(x.reply), 0), 0);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		const struct endpoint other = endpoint(others[i]);

		if (passes(&x, &other, 1))
			fail_msg("passes from %s", others[i]);
	}
	assert_false(passes(&x, &none, 1));
	assert_true(passes(&x, &x.from, 1));
}

static void test_mac2_without_cookie(void **)
{
	struct exchange x;

	exchange_init(&x, 0);
	assert_true(sodium_is_zero(x.p.initiation.macs.mac2, WG_MAC_LEN));
	assert_false(passes(&x, &x.from, 1));
	const struct cookie_maker unused = {0};
	assert_false(
		cookie_mac2_valid(&unused, &x.p.initiation, sizeof(x.p.initiation), &x.from, 1));
}

static void test_mac2_forged(void **)
{
	struct exchange x;

	exchange_init(&x, 0);
	assert_int_equal(consume(&x, &x.reply, sizeof(x.reply), 0), 0);
	assert_true(passes(&x, &x.from, 1));
	for (unsigned bit = 0; bit < 8 * WG_INITIATION_LEN; bit++) {
		struct wg_initiation m = x.p.initiation;

		flip_bit(&m, bit);
		assert_false(cookie_mac2_valid(&x.maker, &m, sizeof(m), &x.from, 1));
	}
	for (size_t len = 0; len < WG_INITIATION_LEN; len++)
		assert_false(cookie_mac2_valid(&x.maker, &x.p.initiation, len, &x.from, 1));
}

// The secret lives 120 s, the cookie 115 s at the initiator.
static void test_ages(void **)
{
	static const struct {
		uint64_t consumed_s, sent_s;
		bool passes;
	} cases[] = {
		{0, 0, true},
		{0, 114, true},
		{0, 115, false}, // not used any more
		{60, 119, true},
		{60, 120, false}, // secret too old
		{60, 174, false},
		{119, 1000, false},
	};
	struct exchange x;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		exchange_init(&x, 0);
		assert_int_equal(
			consume(&x, &x.reply, sizeof(x.reply), cases[i].consumed_s * S), 0);
		if (passes(&x, &x.from, cases[i].sent_s * S) != cases[i].passes)
			fail_msg("case %zu", i);
	}
}

static void test_secret_rotates(void **)
{
	uint8_t first[WG_HASH_LEN];
	struct exchange x;

	exchange_init(&x, 5 * S);
	memcpy(first, x.maker.secret, sizeof(first));
	assert_false(sodium_is_zero(first, sizeof(first)));
	assert_int_equal(cookie_reply_create(&x.maker, &x.p.bob, &x.p.initiation,
				 sizeof(x.p.initiation), &x.from, 125 * S - 1, &x.reply),
		0);
	assert_memory_equal(x.maker.secret, first, sizeof(first));
	assert_int_equal(cookie_reply_create(&x.maker, &x.p.bob, &x.p.initiation,
				 sizeof(x.p.initiation), &x.from, 125 * S, &x.reply),
		0);
	assert_memory_not_equal(x.maker.secret, first, sizeof(first));
	assert_int_equal(consume(&x, &x.reply, sizeof(x.reply), 125 * S), 0);
	assert_true(passes(&x, &x.from, 126 * S));
	cookie_maker_fini(&x.maker);
	assert_true(sodium_is_zero((const uint8_t *)&x.maker, sizeof(x.maker)));
}

static void test_reply_nonces_differ(void **)
{
	struct wg_cookie_reply other;
	struct exchange x;

	exchange_init(&x, 0);
	assert_int_equal(cookie_reply_create(&x.maker, &x.p.bob, &x.p.initiation,
				 sizeof(x.p.initiation), &x.from, 0, &other),
		0);
	assert_memory_not_equal(other.nonce, x.reply.nonce, sizeof(other.nonce));
	assert_memory_not_equal(other.cookie, x.reply.cookie, sizeof(other.cookie));
}

static void test_reply_refused_to_make(void **)
{
	const struct endpoint none = {0};
	uint8_t bytes[200] = {0};
	struct exchange x;

	exchange_init(&x, 0);
	memcpy(bytes, &x.p.initiation, sizeof(x.p.initiation));
	for (size_t len = 0; len <= sizeof(bytes); len++)
		assert_int_equal(
			cookie_reply_create(&x.maker, &x.p.bob, bytes, len, &x.from, 0, &x.reply),
			len == WG_INITIATION_LEN ? 0 : -EPROTO);
	assert_int_equal(cookie_reply_create(
				 &x.maker, &x.p.bob, bytes, WG_INITIATION_LEN, &none, 0, &x.reply),
		-EINVAL);
	for (unsigned type = 0; type < 256; type++) {
		bytes[0] = (uint8_t)type;
		assert_int_equal(cookie_reply_create(&x.maker, &x.p.bob, bytes, WG_INITIATION_LEN,
					 &x.from, 0, &x.reply),
			type == WG_TYPE_INITIATION ? 0 : -EPROTO);
		assert_int_equal(cookie_reply_create(&x.maker, &x.p.bob, bytes, WG_RESPONSE_LEN,
					 &x.from, 0, &x.reply),
			type == WG_TYPE_RESPONSE ? 0 : -EPROTO);
	}
}

static void test_reply_lengths(void **)
{
	uint8_t bytes[200] = {0};
	struct exchange x;

	exchange_init(&x, 0);
	memcpy(bytes, &x.reply, sizeof(x.reply));
	for (size_t len = 0; len <= sizeof(bytes); len++) {
		uint8_t *exact = malloc(len ? len : 1);

		memcpy(exact, bytes, len);
		if (len != sizeof(x.reply))
			assert_int_equal(consume(&x, exact, len, 0), -EPROTO);
		free(exact);
	}
	assert_int_equal(consume(&x, &x.reply, sizeof(x.reply), 0), 0);
}

static void test_reply_forged(void **)
{
	static const struct {
		const char *field;
		size_t from, to;
		int error;
	} cases[] = {
		{"type, reserved", 0, 4, -EPROTO},
		{"nonce", offsetof(struct wg_cookie_reply, nonce),
			offsetof(struct wg_cookie_reply, cookie), -EBADMSG},
		{"cookie", offsetof(struct wg_cookie_reply, cookie), WG_COOKIE_REPLY_LEN, -EBADMSG},
	};
	struct exchange x;

	exchange_init(&x, 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (size_t bit = 8 * cases[i].from; bit < 8 * cases[i].to; bit++) {
			struct wg_cookie_reply m = x.reply;

			flip_bit(&m, bit);
			if (consume(&x, &m, sizeof(m), 0) != cases[i].error)
				fail_msg("%s bit %zu", cases[i].field, bit);
			assert_false(x.jar.has_cookie);
		}
	}
	assert_int_equal(consume(&x, &x.reply, sizeof(x.reply), 0), 0); // still awaited
}

static void test_reply_unasked(void **)
{
	struct exchange x;

	exchange_init(&x, 0);
	const struct cookie_jar sent = x.jar;
	x.jar = (struct cookie_jar){0};
	assert_int_equal(consume(&x, &x.reply, sizeof(x.reply), 0), -ENOENT);
	x.jar = sent;
	assert_int_equal(consume(&x, &x.reply, sizeof(x.reply), 0), 0);
	assert_int_equal(consume(&x, &x.reply, sizeof(x.reply), 0), -ENOENT); // replayed
}

static void test_reply_to_older_message(void **)
{
	struct exchange x;

	exchange_init(&x, 0);
	pair_initiate(&x.p, 2);
	cookie_jar_stamp(&x.jar, &x.p.initiation, sizeof(x.p.initiation), 0);
	assert_int_equal(consume(&x, &x.reply, sizeof(x.reply), 0), -EBADMSG);
}

static void test_reply_of_another(void **)
{
	struct exchange x;

	exchange_init(&x, 0);
	assert_int_equal(cookie_reply_create(&x.maker, &x.p.mallory, &x.p.initiation,
				 sizeof(x.p.initiation), &x.from, 0, &x.reply),
		0);
	assert_int_equal(consume(&x, &x.reply, sizeof(x.reply), 0), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_xchacha_wycheproof),
		cmocka_unit_test(test_transcripts),
		cmocka_unit_test(test_cookie_passes),
		cmocka_unit_test(test_cookie_for_response),
		cmocka_unit_test(test_mac2_other_source),
		cmocka_unit_test(test_mac2_without_cookie),
		cmocka_unit_test(test_mac2_forged),
		cmocka_unit_test(test_ages),
		cmocka_unit_test(test_secret_rotates),
		cmocka_unit_test(test_reply_nonces_differ),
		cmocka_unit_test(test_reply_refused_to_make),
		cmocka_unit_test(test_reply_lengths),
		cmocka_unit_test(test_reply_forged),
		cmocka_unit_test(test_reply_unasked),
		cmocka_unit_test(test_reply_to_older_message),
		cmocka_unit_test(test_reply_of_another),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
