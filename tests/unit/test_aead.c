// ChaCha20-Poly1305 in bursts, each engine: RFC 8439, Wycheproof, libsodium, forgeries.
#include "tests/unit/vectors.h"

#include <errno.h>
#include "dataplane/crypto/aead_engine.h"

enum { SPACE = AEAD_MAX_LEN + AEAD_TAG_LEN + 16, CANARY = 0x5a };

static const char *const engine_names[] = {"avx512", "avx2", "ipsec-mb", "libsodium"};
static uint8_t got[AEAD_BURST][SPACE], want[AEAD_BURST][SPACE], clear[AEAD_BURST][SPACE];
static uint8_t keys[AEAD_BURST][KEY_LEN];

// Bytes that are the same in every run, so that a failure comes back.
static void fill(void *bytes, size_t len)
{
	static uint64_t calls;
	uint8_t seed[randombytes_SEEDBYTES] = {0};

	calls++;
	memcpy(seed, &calls, sizeof(calls));
	randombytes_buf_deterministic(bytes, len, seed);
}

static uint32_t fill_uniform(uint32_t bound)
{
	uint32_t x;

	fill(&x, sizeof(x));
	return x % bound;
}

static bool cpu_lacks(const char *engine)
{
	return !strcmp(engine, "avx512") && !__builtin_cpu_supports("avx512ifma");
}

// Runs fn with each engine of this CPU.
static void each_engine(void (*fn)(struct aead *aead))
{
	for (size_t i = 0; i < sizeof(engine_names) / sizeof(engine_names[0]); i++) {
		struct aead *aead;

		if (cpu_lacks(engine_names[i]))
			continue;
		aead = aead_create(engine_names[i]);
		assert_non_null(aead);
		assert_string_equal(aead_engine_name(aead), engine_names[i]);
		fn(aead);
		aead_destroy(aead);
	}
}

static uint64_t mask(unsigned n)
{
	return n == 64 ? UINT64_MAX : (UINT64_C(1) << n) - 1;
}

static void reference_seal(const struct aead_op *op, uint8_t *data)
{
	uint8_t nonce[12] = {0};

	for (unsigned i = 0; i < 8; i++)
		nonce[4 + i] = (uint8_t)(op->counter >> 8 * i);
	crypto_aead_chacha20poly1305_ietf_encrypt(
		data, NULL, data, op->len, NULL, 0, NULL, nonce, op->key);
}

static void test_names(void **)
{
	static const char *const unknown[] = {"", "Auto", "ipsec", "libsodium ", "openssl"};
	struct aead *aead = aead_create(NULL), *automatic = aead_create("auto");

	assert_non_null(aead);
	assert_non_null(automatic);
	assert_string_equal(aead_engine_name(aead), aead_engine_name(automatic));
	aead_destroy(aead);
	aead_destroy(automatic);
	aead_destroy(NULL);
	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
		errno = 0;
		assert_null(aead_create(unknown[i]));
		assert_int_equal(errno, EINVAL);
	}
}

// Engines of bursts alone take no additional data; their Poly1305: test_aead_engines.c.
static bool has_messages(const struct aead *aead)
{
	void *state;

	return aead_engine_of(aead, &state)->seal_message != NULL;
}

static void rfc8439(struct aead *aead)
{
	static const char text[] = "Ladies and Gentlemen of the class of '99: If I could offer you "
				   "only one tip for the future, sunscreen would be it.";
	uint8_t key[KEY_LEN], nonce[12], aad[12], tag[AEAD_TAG_LEN], start[16];
	void *state;
	const struct aead_engine *engine = aead_engine_of(aead, &state);
	const struct aead_message m = {.data = got[0],
		.len = strlen(text),
		.key = key,
		.nonce = nonce,
		.aad = aad,
		.aad_len = sizeof(aad)};

	if (!engine->seal_message)
		return;
	hex_bytes("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f", key, KEY_LEN);
	hex_bytes("070000004041424344454647", nonce, sizeof(nonce));
	hex_bytes("50515253c0c1c2c3c4c5c6c7", aad, sizeof(aad));
	hex_bytes("1ae10b594f09e26a7e902ecbd0600691", tag, sizeof(tag));
	hex_bytes("d31a8d34648e60db7b86afbc53ef7ec2", start, sizeof(start));
	memcpy(got[0], text, m.len);
	engine->seal_message(state, &m);
	assert_memory_equal(got[0], start, sizeof(start));
	assert_memory_equal(got[0] + m.len, tag, sizeof(tag));
	assert_true(engine->open_message(state, &m));
	assert_memory_equal(got[0], text, m.len);
}

// RFC 8439 2.8.2, as far as the engine's messages go.
static void test_rfc8439(void **)
{
	each_engine(rfc8439);
}

struct wycheproof {
	uint8_t key[KEY_LEN], nonce[32], aad[1024], text[1024], sealed[1024 + AEAD_TAG_LEN];
	size_t nonce_len, aad_len, len;
	bool valid;
};

static void read_wycheproof(const json_t *t, struct wycheproof *w)
{
	vectors_exact(t, "key", w->key, KEY_LEN);
	w->nonce_len = vectors_bytes(t, "iv", w->nonce, sizeof(w->nonce));
	w->aad_len = vectors_bytes(t, "aad", w->aad, sizeof(w->aad));
	w->len = vectors_bytes(t, "msg", w->text, sizeof(w->text));
	w->valid = json_is_true(json_object_get(t, "valid"));
	if (w->nonce_len == AEAD_NONCE_LEN) {
		assert_int_equal(vectors_bytes(t, "ct", w->sealed, 1024), w->len);
		vectors_exact(t, "tag", w->sealed + w->len, AEAD_TAG_LEN);
	}
}

// False: the engine answers otherwise.
static bool agrees_as_message(struct aead *aead, const struct wycheproof *w)
{
	void *state;
	const struct aead_engine *engine = aead_engine_of(aead, &state);
	const struct aead_message m = {.data = got[0],
		.len = (uint32_t)w->len,
		.key = w->key,
		.nonce = w->nonce,
		.aad = w->aad,
		.aad_len = (uint32_t)w->aad_len};

	if (!engine->seal_message)
		return true;
	memcpy(got[0], w->sealed, w->len + AEAD_TAG_LEN);
	const bool opens = engine->open_message(state, &m);
	if (opens != w->valid || (opens && memcmp(got[0], w->text, w->len)) ||
		(!opens && !sodium_is_zero(got[0], w->len)))
		return false;
	memcpy(got[0], w->text, w->len);
	engine->seal_message(state, &m);
	return w->valid == !memcmp(got[0], w->sealed, w->len + AEAD_TAG_LEN);
}

// Its key, text and (the rest of) its nonce through the burst, against libsodium.
static bool agrees_in_burst(struct aead *aead, const struct wycheproof *w)
{
	struct aead_op op = {.data = got[0], .len = (uint32_t)w->len, .key = w->key};

	memcpy(&op.counter, w->nonce + 4, 8);
	memcpy(got[0], w->text, w->len);
	memcpy(want[0], w->text, w->len);
	aead_seal(aead, &op, 1);
	reference_seal(&op, want[0]);
	return !memcmp(got[0], want[0], w->len + AEAD_TAG_LEN) && aead_open(aead, &op, 1) == 1 &&
	       !memcmp(got[0], w->text, w->len);
}

static void wycheproof(struct aead *aead)
{
	json_t *root = vectors_load("wycheproof_chacha20_poly1305.json"), *t;
	unsigned valid = 0, invalid = 0, other_nonce = 0;
	struct wycheproof w;
	size_t i;

	json_array_foreach(json_object_get(root, "tests"), i, t)
	{
		read_wycheproof(t, &w);
		if (w.nonce_len != AEAD_NONCE_LEN) { // invalid: the interface cannot express them
			assert_false(w.valid);
			other_nonce++;
			continue;
		}
		if (!agrees_as_message(aead, &w) || !agrees_in_burst(aead, &w))
			fail_msg("case %lld",
				(long long)json_integer_value(json_object_get(t, "id")));
		w.valid ? valid++ : invalid++;
	}
	print_message("%s: Wycheproof %u valid, %u forged %s, %u of other nonce lengths left out\n",
		aead_engine_name(aead), valid, invalid,
		has_messages(aead) ? "refused" : "as keys and texts of bursts", other_nonce);
	assert_int_equal(valid + invalid + other_nonce, 325);
	assert_int_equal(other_nonce, 9);
	json_decref(root);
}

static void test_wycheproof(void **)
{
	each_engine(wycheproof);
}

// Random keys, counters and bytes for ops[0..n); canaries after each tag; the same in want.
static void random_burst(struct aead_op ops[], unsigned n, uint32_t max_len)
{
	for (unsigned i = 0; i < n; i++) {
		const uint32_t len = fill_uniform(max_len + 1);

		fill(keys[i], KEY_LEN);
		fill(clear[i], len);
		memcpy(got[i], clear[i], len);
		memcpy(want[i], clear[i], len);
		memset(got[i] + len + AEAD_TAG_LEN, CANARY, 16);
		ops[i] = (struct aead_op){.data = got[i], .len = len, .key = keys[i]};
		fill(&ops[i].counter, sizeof(ops[i].counter));
		reference_seal(&ops[i], want[i]);
		memset(want[i] + len + AEAD_TAG_LEN, CANARY, 16);
	}
}

static void random_against_libsodium(struct aead *aead)
{
	static const uint32_t max_lens[] = {0, 70, 300, 1500, 9000, AEAD_MAX_LEN};
	struct aead_op ops[AEAD_BURST];

	for (unsigned round = 0; round < 60; round++) {
		const uint32_t max_len = max_lens[round % 6];
		const unsigned n = max_len > 9000 ? 4 : fill_uniform(AEAD_BURST + 1);

		random_burst(ops, n, max_len);
		aead_seal(aead, ops, n);
		for (unsigned i = 0; i < n; i++)
			assert_memory_equal(got[i], want[i], ops[i].len + AEAD_TAG_LEN + 16);
		assert_true(aead_open(aead, ops, n) == mask(n));
		for (unsigned i = 0; i < n; i++)
			assert_memory_equal(got[i], clear[i], ops[i].len);
	}
}

static void test_random(void **)
{
	each_engine(random_against_libsodium);
}

static void every_short_length(struct aead *aead)
{
	struct aead_op ops[AEAD_BURST];

	for (uint32_t base = 0; base < 1536; base += AEAD_BURST) {
		random_burst(ops, AEAD_BURST, 0);
		for (unsigned i = 0; i < AEAD_BURST; i++) {
			ops[i].len = base + i;
			fill(clear[i], ops[i].len);
			memcpy(got[i], clear[i], ops[i].len);
			memcpy(want[i], clear[i], ops[i].len);
			reference_seal(&ops[i], want[i]);
		}
		aead_seal(aead, ops, AEAD_BURST);
		for (unsigned i = 0; i < AEAD_BURST; i++)
			assert_memory_equal(got[i], want[i], ops[i].len + AEAD_TAG_LEN);
		assert_true(aead_open(aead, ops, AEAD_BURST) == UINT64_MAX);
		for (unsigned i = 0; i < AEAD_BURST; i++)
			assert_memory_equal(got[i], clear[i], ops[i].len);
	}
}

static void test_every_short_length(void **)
{
	each_engine(every_short_length);
}

static void longest(struct aead *aead)
{
	struct aead_op op = {
		.data = got[0], .len = AEAD_MAX_LEN, .counter = UINT64_MAX, .key = keys[0]};

	fill(clear[0], AEAD_MAX_LEN);
	memcpy(got[0], clear[0], AEAD_MAX_LEN);
	memcpy(want[0], clear[0], AEAD_MAX_LEN);
	aead_seal(aead, &op, 1);
	reference_seal(&op, want[0]);
	assert_memory_equal(got[0], want[0], AEAD_MAX_LEN + AEAD_TAG_LEN);
	assert_true(aead_open(aead, &op, 1) == 1);
	assert_memory_equal(got[0], clear[0], AEAD_MAX_LEN);
}

static void test_longest(void **)
{
	each_engine(longest);
}

static void empty_burst(struct aead *aead)
{
	aead_seal(aead, NULL, 0);
	assert_true(aead_open(aead, NULL, 0) == 0);
}

static void test_empty_burst(void **)
{
	each_engine(empty_burst);
}

static void keepalive(struct aead *aead)
{
	const struct aead_op op = {.data = got[0], .len = 0, .counter = 7, .key = keys[0]};

	aead_seal(aead, &op, 1);
	assert_true(aead_open(aead, &op, 1) == 1);
	got[0][0] ^= 1;
	assert_true(aead_open(aead, &op, 1) == 0);
}

static void test_keepalive(void **)
{
	each_engine(keepalive);
}

// One damaged in a burst: only it is refused, and it is zeroed.
static void expect_refused(struct aead *aead, const struct aead_op ops[], unsigned n, unsigned bad)
{
	assert_true(aead_open(aead, ops, n) == (mask(n) & ~(UINT64_C(1) << bad)));
	for (unsigned i = 0; i < n; i++) {
		if (i == bad)
			assert_true(sodium_is_zero(ops[i].data, ops[i].len));
		else
			assert_memory_equal(ops[i].data, clear[i], ops[i].len);
	}
}

static void forged_bits(struct aead *aead)
{
	static const uint32_t lens[] = {0, 1, 16, 64, 100};
	struct aead_op ops[3];

	for (size_t k = 0; k < sizeof(lens) / sizeof(lens[0]); k++) {
		for (unsigned bit = 0; bit < 8 * (lens[k] + AEAD_TAG_LEN); bit++) {
			random_burst(ops, 3, 80);
			ops[1].len = lens[k];
			memset(got[1], 1, lens[k]);
			aead_seal(aead, ops, 3);
			got[1][bit / 8] ^= (uint8_t)(1 << bit % 8);
			expect_refused(aead, ops, 3, 1);
		}
	}
}

// Each bit of ciphertext and tag.
static void test_forged_bits(void **)
{
	each_engine(forged_bits);
}

static void wrong_parameters(struct aead *aead)
{
	uint8_t other_key[KEY_LEN];
	struct aead_op ops[8];

	for (unsigned bit = 0; bit < 64; bit++) {
		random_burst(ops, 8, 300);
		aead_seal(aead, ops, 8);
		ops[bit % 8].counter ^= UINT64_C(1) << bit;
		expect_refused(aead, ops, 8, bit % 8);
	}
	for (unsigned bit = 0; bit < 8 * KEY_LEN; bit++) {
		random_burst(ops, 8, 300);
		aead_seal(aead, ops, 8);
		memcpy(other_key, ops[5].key, KEY_LEN);
		other_key[bit / 8] ^= (uint8_t)(1 << bit % 8);
		ops[5].key = other_key;
		expect_refused(aead, ops, 8, 5);
	}
}

// Each bit of counter and key.
static void test_wrong_parameters(void **)
{
	each_engine(wrong_parameters);
}

static void cut_and_grown(struct aead *aead)
{
	struct aead_op op = {.data = got[0], .key = keys[0]};

	for (uint32_t len = 2; len < 200; len++) {
		op.len = len;
		aead_seal(aead, &op, 1);
		op.len = len - 1;
		assert_true(aead_open(aead, &op, 1) == 0);
		op.len = len;
		memset(got[0] + len + AEAD_TAG_LEN, 0, 1);
		aead_seal(aead, &op, 1);
		op.len = len + 1;
		assert_true(aead_open(aead, &op, 1) == 0);
	}
}

static void test_cut_and_grown(void **)
{
	each_engine(cut_and_grown);
}

// Engines that are wrong in one respect each: the self-test refuses them.

static void seal_other_tag(void *, const struct aead_op ops[], unsigned n)
{
	aead_sodium.seal(NULL, ops, n);
	ops[n - 1].data[ops[n - 1].len + 15] ^= 0x80;
}

static void seal_other_nonce(void *, const struct aead_op ops[], unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct aead_op op = ops[i];

		op.counter = __builtin_bswap64(op.counter);
		aead_sodium.seal(NULL, &op, 1);
	}
}

static uint64_t open_all_authentic(void *, const struct aead_op ops[], unsigned n)
{
	return aead_sodium.open(NULL, ops, n) | mask(n);
}

static uint64_t open_none_authentic(void *, const struct aead_op ops[], unsigned n)
{
	return aead_sodium.open(NULL, ops, n) & 0;
}

static uint64_t open_leaves_text(void *, const struct aead_op ops[], unsigned n)
{
	const uint64_t authentic = aead_sodium.open(NULL, ops, n);

	for (unsigned i = 0; i < n; i++)
		if (!(authentic >> i & 1))
			memset(ops[i].data, 'x', ops[i].len);
	return authentic;
}

static void test_self_test(void **)
{
	static const struct {
		const char *name;
		void (*seal)(void *, const struct aead_op[], unsigned);
		uint64_t (*open)(void *, const struct aead_op[], unsigned);
	} broken[] = {
		{"other tag", seal_other_tag, NULL},
		{"other nonce", seal_other_nonce, NULL},
		{"all authentic", NULL, open_all_authentic},
		{"none authentic", NULL, open_none_authentic},
		{"leaves text", NULL, open_leaves_text},
	};
	struct aead_engine engine = aead_sodium;

	assert_true(aead_self_test(&engine, NULL));
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
		engine.seal = broken[i].seal ? broken[i].seal : aead_sodium.seal;
		engine.open = broken[i].open ? broken[i].open : aead_sodium.open;
		if (aead_self_test(&engine, NULL))
			fail_msg("an engine passed: %s", broken[i].name);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_rfc8439),
		cmocka_unit_test(test_wycheproof),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_every_short_length),
		cmocka_unit_test(test_longest),
		cmocka_unit_test(test_empty_burst),
		cmocka_unit_test(test_keepalive),
		cmocka_unit_test(test_forged_bits),
		cmocka_unit_test(test_wrong_parameters),
		cmocka_unit_test(test_cut_and_grown),
		cmocka_unit_test(test_self_test),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
