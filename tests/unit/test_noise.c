// The handshake between two of us, and everything that must be refused.
#include "tests/unit/noise_pair.h"

#include <errno.h>

static void test_tai64n(void **)
{
	static const struct {
		uint64_t unix_ns;
		const char *want;
	} cases[] = {
		{0, "400000000000000a00000000"},
		{1, "400000000000000a00000000"},
		{0xffffff, "400000000000000a00000000"},
		{0x1000000, "400000000000000a01000000"},
		{999999999, "400000000000000a3b000000"},
		{1000000000, "400000000000000b00000000"},
		{UINT64_C(1767225600305419896), "400000006955b90a12000000"},
	};
	uint8_t got[WG_TAI64N_LEN], want[WG_TAI64N_LEN], last[WG_TAI64N_LEN] = {0};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		hex_bytes(cases[i].want, want, sizeof(want));
		noise_tai64n(got, cases[i].unix_ns);
		assert_memory_equal(got, want, sizeof(want));
		assert_true(memcmp(got, last, sizeof(got)) >= 0);
		memcpy(last, got, sizeof(got));
	}
}

static void test_round_trips(void **)
{
	struct noise_keys alice, bob;
	struct pair p;

	pair_init(&p);
	for (unsigned i = 1; i <= 20; i++) {
		pair_initiate(&p, i);
		pair_respond(&p);
		assert_int_equal(noise_response_open(&p.alice_hs, &p.alice, &p.bob_of_alice,
					 &p.response, sizeof(p.response)),
			0);
		assert_int_equal(noise_keys_derive(&p.alice_hs, &alice), 0);
		assert_int_equal(noise_keys_derive(&p.bob_hs, &bob), 0);
		assert_memory_equal(&alice.send, &bob.recv, KEY_LEN);
		assert_memory_equal(&alice.recv, &bob.send, KEY_LEN);
		assert_memory_not_equal(&alice.send, &alice.recv, KEY_LEN);
		assert_int_equal(alice.local_index, ALICE_INDEX);
		assert_int_equal(alice.remote_index, BOB_INDEX);
		assert_int_equal(bob.local_index, BOB_INDEX);
		assert_int_equal(bob.remote_index, ALICE_INDEX);
	}
}

static void test_initiation_lengths(void **)
{
	uint8_t bytes[300] = {WG_TYPE_INITIATION};
	struct noise_handshake hs;
	struct pair p;

	pair_init(&p);
	pair_initiate(&p, 1);
	memcpy(bytes, &p.initiation, sizeof(p.initiation));
	for (size_t len = 0; len <= sizeof(bytes); len++) {
		const int want = len == WG_INITIATION_LEN ? 0 : -EPROTO;
		uint8_t *exact = malloc(len ? len : 1); // so that reading beyond is seen

		memcpy(exact, bytes, len);
		assert_int_equal(noise_initiation_open(&hs, &p.bob, exact, len), want);
		assert_int_equal(cookie_mac1_valid(&p.bob, exact, len), want == 0);
		free(exact);
	}
}

// What a flipped bit of each field of an initiation leads to.
static void test_initiation_forged(void **)
{
	static const struct {
		const char *field;
		size_t from, to;
		int open, accept;
	} cases[] = {
		{"type, reserved", 0, 4, -EPROTO, 0},
		{"sender: for mac1 to see", 4, 8, 0, 0},
		{"ephemeral", 8, 39, -EBADMSG, 0},
		{"static", offsetof(struct wg_initiation, static_key),
			offsetof(struct wg_initiation, timestamp), -EBADMSG, 0},
		{"timestamp", offsetof(struct wg_initiation, timestamp),
			offsetof(struct wg_initiation, macs), 0, -EBADMSG},
		{"mac1", offsetof(struct wg_initiation, macs.mac1),
			offsetof(struct wg_initiation, macs.mac2), 0, 0},
	};
	struct noise_handshake hs;
	struct pair p;

	pair_init(&p);
	pair_initiate(&p, 1);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (size_t bit = 8 * cases[i].from; bit < 8 * cases[i].to; bit++) {
			struct wg_initiation m = p.initiation;
			struct noise_remote remote = p.alice_of_bob;

			flip_bit(&m, bit);
			if (cookie_mac1_valid(&p.bob, &m, sizeof(m)))
				fail_msg("mac1 accepts %s", cases[i].field);
			int error = noise_initiation_open(&hs, &p.bob, &m, sizeof(m));
			if (error != cases[i].open)
				fail_msg("%s: open %d", cases[i].field, error);
			if (error) {
				assert_int_equal(hs.state, NOISE_NONE);
				continue;
			}
			error = noise_initiation_accept(&hs, &remote);
			if (error != cases[i].accept)
				fail_msg("%s: accept %d", cases[i].field, error);
			assert_int_equal(hs.state, error ? NOISE_NONE : NOISE_INITIATION_RECEIVED);
			if (error)
				assert_true(sodium_is_zero(remote.timestamp, WG_TAI64N_LEN));
		}
	}
}

static int deliver_initiation(struct pair *p, const struct wg_initiation *m)
{
	const int error = noise_initiation_open(&p->bob_hs, &p->bob, m, sizeof(*m));

	return error ? error : noise_initiation_accept(&p->bob_hs, &p->alice_of_bob);
}

static void test_initiation_replayed(void **)
{
	struct wg_initiation first, second;
	struct pair p;

	pair_init(&p);
	pair_initiate(&p, 100);
	first = p.initiation;
	assert_int_equal(deliver_initiation(&p, &first), 0);
	assert_int_equal(deliver_initiation(&p, &first), -ESTALE);
	assert_int_equal(p.bob_hs.state, NOISE_NONE);
	pair_initiate(&p, 101);
	second = p.initiation;
	pair_initiate(&p, 99); // Alice's clock went back
	assert_int_equal(deliver_initiation(&p, &p.initiation), -ESTALE);
	assert_int_equal(deliver_initiation(&p, &second), 0);
	assert_int_equal(deliver_initiation(&p, &first), -ESTALE);
	assert_int_equal(deliver_initiation(&p, &second), -ESTALE);
	pair_initiate(&p, 101); // the same moment again
	assert_int_equal(deliver_initiation(&p, &p.initiation), -ESTALE);
	pair_initiate(&p, 102);
	assert_int_equal(deliver_initiation(&p, &p.initiation), 0);
}

static void test_initiation_reflected(void **)
{
	struct noise_handshake hs;
	struct pair p;

	pair_init(&p);
	pair_initiate(&p, 1);
	assert_false(cookie_mac1_valid(&p.alice, &p.initiation, sizeof(p.initiation)));
	assert_int_equal(noise_initiation_open(&hs, &p.alice, &p.initiation, sizeof(p.initiation)),
		-EBADMSG);
	assert_int_equal(noise_response_open(&p.alice_hs, &p.alice, &p.bob_of_alice, &p.initiation,
				 sizeof(p.initiation)),
		-EPROTO);
	assert_int_equal(p.alice_hs.state, NOISE_INITIATION_SENT);

	pair_respond(&p);
	assert_false(cookie_mac1_valid(&p.bob, &p.response, sizeof(p.response)));
	assert_int_equal(noise_response_open(&p.bob_hs, &p.bob, &p.alice_of_bob, &p.response,
				 sizeof(p.response)),
		-EINVAL);
	assert_int_equal(p.bob_hs.state, NOISE_RESPONSE_SENT);
}

static void test_initiation_for_another(void **)
{
	struct noise_handshake hs;
	struct pair p;

	pair_init(&p);
	pair_initiate(&p, 1);
	assert_int_equal(
		noise_initiation_open(&hs, &p.mallory, &p.initiation, sizeof(p.initiation)),
		-EBADMSG);
}

// Mallory knows all public keys and writes Alice's into an initiation.
static void test_impersonation(void **)
{
	const struct key ephemeral = numbered_key(0x77);
	uint8_t timestamp[WG_TAI64N_LEN];
	struct noise_remote bob_of_mallory;
	struct noise_identity fake;
	struct noise_handshake hs;
	struct wg_initiation m;
	struct pair p;

	pair_init(&p);
	fake = p.mallory;
	fake.public_key = p.alice.public_key;
	noise_tai64n(timestamp, UINT64_C(1) << 60);
	assert_int_equal(noise_remote_init(&bob_of_mallory, &fake, &p.bob.public_key, &p.psk), 0);
	assert_int_equal(noise_initiation_create(
				 &hs, &fake, &bob_of_mallory, 1, ephemeral.bytes, timestamp, &m),
		0);
	assert_true(cookie_mac1_valid(&p.bob, &m, sizeof(m)));
	assert_int_equal(noise_initiation_open(&p.bob_hs, &p.bob, &m, sizeof(m)), 0);
	assert_memory_equal(&p.bob_hs.remote_static, &p.alice.public_key, KEY_LEN);
	assert_int_equal(noise_initiation_accept(&p.bob_hs, &p.alice_of_bob), -EBADMSG);
	// It did not lock Alice out with a timestamp of the far future.
	pair_initiate(&p, 1);
	assert_int_equal(deliver_initiation(&p, &p.initiation), 0);
}

static void test_accept_other_remote(void **)
{
	struct noise_remote mallory_of_bob;
	struct pair p;

	pair_init(&p);
	assert_int_equal(
		noise_remote_init(&mallory_of_bob, &p.bob, &p.mallory.public_key, NULL), 0);
	pair_initiate(&p, 1);
	assert_int_equal(
		noise_initiation_open(&p.bob_hs, &p.bob, &p.initiation, sizeof(p.initiation)), 0);
	assert_int_equal(noise_initiation_accept(&p.bob_hs, &mallory_of_bob), -EINVAL);
	assert_int_equal(p.bob_hs.state, NOISE_NONE);
}

static void test_low_order(void **)
{
	static const struct key zero = {0}, one = {{1}};
	struct noise_remote remote;
	struct noise_handshake hs;
	struct pair p;

	pair_init(&p);
	assert_int_equal(noise_remote_init(&remote, &p.alice, &zero, NULL), -EKEYREJECTED);
	assert_int_equal(noise_remote_init(&remote, &p.alice, &one, NULL), -EKEYREJECTED);
	assert_true(sodium_is_zero(remote.static_static, KEY_LEN));

	pair_initiate(&p, 1);
	struct wg_initiation initiation = p.initiation;
	memset(initiation.ephemeral, 0, KEY_LEN);
	assert_int_equal(
		noise_initiation_open(&hs, &p.bob, &initiation, sizeof(initiation)), -EKEYREJECTED);

	pair_respond(&p);
	struct wg_response response = p.response;
	memcpy(response.ephemeral, one.bytes, KEY_LEN);
	assert_int_equal(noise_response_open(&p.alice_hs, &p.alice, &p.bob_of_alice, &response,
				 sizeof(response)),
		-EKEYREJECTED);
	assert_int_equal(p.alice_hs.state, NOISE_INITIATION_SENT);
	assert_int_equal(noise_response_open(&p.alice_hs, &p.alice, &p.bob_of_alice, &p.response,
				 sizeof(p.response)),
		0);
}

static void test_response_lengths(void **)
{
	uint8_t bytes[200] = {WG_TYPE_RESPONSE};
	struct pair p;

	pair_init(&p);
	pair_initiate(&p, 1);
	pair_respond(&p);
	memcpy(bytes, &p.response, sizeof(p.response));
	for (size_t len = 0; len <= sizeof(bytes); len++) {
		uint8_t *exact = malloc(len ? len : 1);
		struct noise_handshake hs = p.alice_hs;

		memcpy(exact, bytes, len);
		assert_int_equal(noise_response_open(&hs, &p.alice, &p.bob_of_alice, exact, len),
			len == WG_RESPONSE_LEN ? 0 : -EPROTO);
		free(exact);
	}
}

static void test_response_forged(void **)
{
	static const struct {
		const char *field;
		size_t from, to;
		int error;
	} cases[] = {
		{"type, reserved", 0, 4, -EPROTO},
		{"sender: for mac1 to see", 4, 8, 0},
		{"receiver", 8, 12, -ENOENT},
		{"ephemeral", 12, 43, -EBADMSG},
		{"empty", offsetof(struct wg_response, empty), offsetof(struct wg_response, macs),
			-EBADMSG},
		{"mac1", offsetof(struct wg_response, macs.mac1),
			offsetof(struct wg_response, macs.mac2), 0},
	};
	struct pair p;

	pair_init(&p);
	pair_initiate(&p, 1);
	pair_respond(&p);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (size_t bit = 8 * cases[i].from; bit < 8 * cases[i].to; bit++) {
			struct noise_handshake hs = p.alice_hs;
			struct wg_response m = p.response;

			flip_bit(&m, bit);
			if (cookie_mac1_valid(&p.alice, &m, sizeof(m)))
				fail_msg("mac1 accepts %s", cases[i].field);
			const int error =
				noise_response_open(&hs, &p.alice, &p.bob_of_alice, &m, sizeof(m));
			if (error != cases[i].error)
				fail_msg("%s: %d", cases[i].field, error);
			if (error) // the true one is still awaited
				assert_memory_equal(&hs, &p.alice_hs, sizeof(hs));
		}
	}
}

static void test_wrong_psk(void **)
{
	struct noise_remote other;
	struct pair p;

	pair_init(&p);
	other = p.bob_of_alice;
	other.preshared_key = (struct key){0};
	pair_initiate(&p, 1);
	pair_respond(&p);
	assert_int_equal(
		noise_response_open(&p.alice_hs, &p.alice, &other, &p.response, sizeof(p.response)),
		-EBADMSG);
	other.preshared_key = numbered_key(0x06);
	assert_int_equal(
		noise_response_open(&p.alice_hs, &p.alice, &other, &p.response, sizeof(p.response)),
		-EBADMSG);
	assert_int_equal(noise_response_open(&p.alice_hs, &p.alice, &p.bob_of_alice, &p.response,
				 sizeof(p.response)),
		0);
}

static void test_response_replayed(void **)
{
	struct noise_keys keys;
	struct pair p;

	pair_init(&p);
	pair_initiate(&p, 1);
	pair_respond(&p);
	const struct wg_response old = p.response;
	assert_int_equal(
		noise_response_open(&p.alice_hs, &p.alice, &p.bob_of_alice, &old, sizeof(old)), 0);
	assert_int_equal(
		noise_response_open(&p.alice_hs, &p.alice, &p.bob_of_alice, &old, sizeof(old)),
		-EINVAL);
	assert_int_equal(noise_keys_derive(&p.alice_hs, &keys), 0);
	assert_int_equal(
		noise_response_open(&p.alice_hs, &p.alice, &p.bob_of_alice, &old, sizeof(old)),
		-EINVAL);
	pair_initiate(&p, 2); // an old answer to a new question with the same index
	assert_int_equal(
		noise_response_open(&p.alice_hs, &p.alice, &p.bob_of_alice, &old, sizeof(old)),
		-EBADMSG);
}

static void test_states(void **)
{
	const struct key ephemeral = numbered_key(0x31);
	struct noise_handshake hs = {0};
	struct noise_keys keys;
	struct wg_response response;
	struct pair p;

	pair_init(&p);
	assert_int_equal(noise_keys_derive(&hs, &keys), -EINVAL);
	assert_int_equal(noise_initiation_accept(&hs, &p.alice_of_bob), -EINVAL);
	assert_int_equal(noise_response_create(&hs, &p.alice_of_bob, 1, ephemeral.bytes, &response),
		-EINVAL);
	pair_initiate(&p, 1);
	assert_int_equal(noise_keys_derive(&p.alice_hs, &keys), -EINVAL);
	assert_int_equal(p.alice_hs.state, NOISE_INITIATION_SENT);
	assert_int_equal(
		noise_initiation_open(&hs, &p.bob, &p.initiation, sizeof(p.initiation)), 0);
	assert_int_equal(noise_keys_derive(&hs, &keys), -EINVAL);
	// Not accepted yet: no answer, and the handshake is gone.
	assert_int_equal(noise_response_create(&hs, &p.alice_of_bob, 1, ephemeral.bytes, &response),
		-EINVAL);
	assert_int_equal(noise_initiation_accept(&hs, &p.alice_of_bob), -EINVAL);
	pair_respond(&p);
	assert_int_equal(noise_keys_derive(&p.bob_hs, &keys), 0);
	assert_int_equal(noise_keys_derive(&p.bob_hs, &keys), -EINVAL);
}

static void test_wiped(void **)
{
	struct noise_keys keys;
	struct pair p;

	pair_init(&p);
	pair_initiate(&p, 1);
	pair_respond(&p);
	assert_int_equal(noise_keys_derive(&p.bob_hs, &keys), 0);
	assert_true(sodium_is_zero((const uint8_t *)&p.bob_hs, sizeof(p.bob_hs)));
	noise_handshake_fini(&p.alice_hs);
	assert_true(sodium_is_zero((const uint8_t *)&p.alice_hs, sizeof(p.alice_hs)));
	noise_keys_fini(&keys);
	assert_true(sodium_is_zero((const uint8_t *)&keys, sizeof(keys)));
	noise_remote_fini(&p.bob_of_alice);
	assert_true(sodium_is_zero((const uint8_t *)&p.bob_of_alice, sizeof(p.bob_of_alice)));
	noise_identity_fini(&p.alice);
	assert_true(sodium_is_zero((const uint8_t *)&p.alice, sizeof(p.alice)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tai64n),
		cmocka_unit_test(test_round_trips),
		cmocka_unit_test(test_initiation_lengths),
		cmocka_unit_test(test_initiation_forged),
		cmocka_unit_test(test_initiation_replayed),
		cmocka_unit_test(test_initiation_reflected),
		cmocka_unit_test(test_initiation_for_another),
		cmocka_unit_test(test_impersonation),
		cmocka_unit_test(test_accept_other_remote),
		cmocka_unit_test(test_low_order),
		cmocka_unit_test(test_response_lengths),
		cmocka_unit_test(test_response_forged),
		cmocka_unit_test(test_wrong_psk),
		cmocka_unit_test(test_response_replayed),
		cmocka_unit_test(test_states),
		cmocka_unit_test(test_wiped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
