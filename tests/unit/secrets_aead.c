// Constant time, as valgrind sees it: keys and data are marked undefined, so that memcheck
// complains of every branch and every address that depends on them. For avx2; valgrind knows no
// AVX-512, for which test_aead_traces.c stands in. The engine is compiled with
// AEAD_SECRETS_UNDEFINED, which makes the verdict on a tag public.
#include <sodium.h>
#include <stdio.h>
#include <valgrind/memcheck.h>

#include "dataplane/crypto/aead_engine.h"

enum { LEN_MAX = 1424 };

static uint8_t keys[AEAD_BURST][KEY_LEN], data[AEAD_BURST][LEN_MAX + AEAD_TAG_LEN];
static uint8_t want[AEAD_BURST][LEN_MAX + AEAD_TAG_LEN];
static struct aead_op ops[AEAD_BURST], want_ops[AEAD_BURST];

static const struct trial {
	unsigned n;
	uint32_t lens[3]; // in turn
	bool one_key;
	uint64_t forged;
} trials[] = {
	{1, {1424, 0, 0}, true, 0},
	{1, {0, 0, 0}, true, 1},
	{64, {64, 64, 64}, true, 0},
	{11, {1424, 64, 577}, false, 0x402},
	{33, {1023, 0, 17}, true, 1},
};

static void set_defined(bool defined)
{
	if (defined) {
		(void)VALGRIND_MAKE_MEM_DEFINED(keys, sizeof(keys));
		(void)VALGRIND_MAKE_MEM_DEFINED(data, sizeof(data));
	} else {
		(void)VALGRIND_MAKE_MEM_UNDEFINED(keys, sizeof(keys));
		(void)VALGRIND_MAKE_MEM_UNDEFINED(data, sizeof(data));
	}
}

// True: sealed and opened right.
static bool run(const struct aead_engine *engine, void *state, const struct trial *t)
{
	const uint64_t all = t->n == 64 ? UINT64_MAX : (UINT64_C(1) << t->n) - 1;
	uint64_t authentic;

	for (unsigned i = 0; i < t->n; i++) {
		ops[i] = (struct aead_op){.data = data[i],
			.len = t->lens[i % 3],
			.counter = i,
			.key = keys[t->one_key ? 0 : i]};
		want_ops[i] = ops[i];
		want_ops[i].data = want[i];
	}
	randombytes_buf(keys, sizeof(keys));
	randombytes_buf(data, sizeof(data));
	memcpy(want, data, sizeof(want));
	aead_sodium.seal(NULL, want_ops, t->n);
	set_defined(false);
	engine->seal(state, ops, t->n);
	set_defined(true);
	for (unsigned i = 0; i < t->n; i++) {
		if (memcmp(data[i], want[i], ops[i].len + AEAD_TAG_LEN))
			return false;
		if (t->forged >> i & 1)
			data[i][ops[i].len] ^= 1;
	}
	set_defined(false);
	authentic = engine->open(state, ops, t->n);
	set_defined(true);
	return authentic == (all & ~t->forged);
}

int main(void)
{
	void *state = aead_avx2.create();
	volatile uint8_t secret = 1;
	unsigned found;

	if (sodium_init() < 0 || !RUNNING_ON_VALGRIND || !state)
		return 77; // skipped
	for (size_t i = 0; i < sizeof(trials) / sizeof(trials[0]); i++) {
		if (!run(&aead_avx2, state, &trials[i])) {
			fprintf(stderr, "trial %zu: wrong result\n", i);
			return 1;
		}
	}
	aead_avx2.destroy(state);
	found = VALGRIND_COUNT_ERRORS;
	// Would it have been seen? The complaint about this line is the one that belongs here.
	(void)VALGRIND_MAKE_MEM_UNDEFINED(&secret, sizeof(secret));
	if (secret)
		fprintf(stderr, "a branch on a secret, on purpose\n");
	printf("%u branches or addresses depend on secrets\n", found);
	return found == 0 && VALGRIND_COUNT_ERRORS == 1 ? 0 : 1;
}
