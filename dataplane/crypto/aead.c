#include "dataplane/crypto/aead_engine.h"

#include <errno.h>
#include <sodium.h>

#include "dataplane/base/log.h"

struct aead {
	const struct aead_engine *engine; // fixed after create
	void *state;			  // wrk only
	// For the bursts that the engine does not suit; NULL when an engine was asked for by name.
	const struct aead_engine *other;
	void *other_state;
};

// The fastest first; the last one is the reference and runs everywhere.
static const struct aead_engine *const engines[] = {
	&aead_avx512, &aead_avx2, &aead_ipsecmb, &aead_sodium};

enum { SELF_TEST_SPACE = 9000 + AEAD_TAG_LEN };

// Around the block sizes of ChaCha20 (64), Poly1305 (16) and of vector code, then packets.
static const uint32_t self_test_lens[] = {0, 1, 15, 16, 17, 32, 63, 64, 65, 96, 127, 128, 192, 255,
	256, 257, 511, 512, 513, 1024, 1031, 1280, 1420, 1440, 2048, 4097, 8960, 9000};
enum { SELF_TEST_OPS = sizeof(self_test_lens) / sizeof(self_test_lens[0]) };
static_assert(sizeof(self_test_lens) / sizeof(self_test_lens[0]) <= AEAD_BURST);

struct self_test {
	uint8_t keys[SELF_TEST_OPS][KEY_LEN];
	uint8_t got[SELF_TEST_OPS][SELF_TEST_SPACE];
	uint8_t want[SELF_TEST_OPS][SELF_TEST_SPACE];
	struct aead_op got_ops[SELF_TEST_OPS], want_ops[SELF_TEST_OPS];
};

static void self_test_fill(struct self_test *t)
{
	for (unsigned i = 0; i < SELF_TEST_OPS; i++) {
		// Counters in both halves, so that byte order shows.
		const uint64_t counter = i * UINT64_C(0x0123456789abcdef);

		for (unsigned k = 0; k < KEY_LEN; k++)
			t->keys[i][k] = (uint8_t)(i * 37 + k * 11);
		for (unsigned k = 0; k < SELF_TEST_SPACE; k++)
			t->got[i][k] = (uint8_t)(i * 13 + k * 7 + (k >> 8));
		memcpy(t->want[i], t->got[i], SELF_TEST_SPACE);
		t->got_ops[i] = (struct aead_op){t->got[i], self_test_lens[i], counter, t->keys[i]};
		t->want_ops[i] =
			(struct aead_op){t->want[i], self_test_lens[i], counter, t->keys[i]};
	}
}

bool aead_self_test(const struct aead_engine *engine, void *state)
{
	const uint64_t all = (UINT64_C(1) << SELF_TEST_OPS) - 1;
	struct self_test *t = malloc(sizeof(*t));
	uint64_t forged = 0;
	bool good = false;

	if (!t)
		return false;
	self_test_fill(t);
	engine->seal(state, t->got_ops, SELF_TEST_OPS);
	aead_sodium.seal(NULL, t->want_ops, SELF_TEST_OPS);
	if (memcmp(t->got, t->want, sizeof(t->got)))
		goto done;
	for (unsigned i = 0; i < SELF_TEST_OPS; i += 3) {
		const unsigned bit = i % (8 * AEAD_TAG_LEN);

		forged |= UINT64_C(1) << i;
		t->got[i][self_test_lens[i] + bit / 8] ^= (uint8_t)(1 << bit % 8);
		t->want[i][self_test_lens[i] + bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	good = engine->open(state, t->got_ops, SELF_TEST_OPS) == (all & ~forged) &&
	       aead_sodium.open(NULL, t->want_ops, SELF_TEST_OPS) == (all & ~forged) &&
	       !memcmp(t->got, t->want, sizeof(t->got));
done:
	free(t);
	return good;
}

// The state of an engine that works; NULL: it does not run here, or it is wrong.
static void *start_engine(const struct aead_engine *engine)
{
	void *state = engine->create();

	if (state && !aead_self_test(engine, state)) {
		log_warn("crypto", "engine %s fails its self-test; not used", engine->name);
		engine->destroy(state);
		state = NULL;
	}
	return state;
}

// The first of engines[first..] that works.
static bool start_first(struct aead *aead, unsigned first)
{
	for (unsigned i = first; i < sizeof(engines) / sizeof(engines[0]); i++) {
		aead->engine = engines[i];
		aead->state = start_engine(engines[i]);
		if (aead->state)
			return true;
	}
	return false;
}

static void start_other(struct aead *aead)
{
	aead->other_state = start_engine(&aead_ipsecmb);
	if (aead->other_state)
		aead->other = &aead_ipsecmb;
}

// The first engine to try: -1 for an unknown name.
static int find_engine(const char *name)
{
	if (!name || !strcmp(name, "auto"))
		return 0;
	for (unsigned i = 0; i < sizeof(engines) / sizeof(engines[0]); i++)
		if (!strcmp(name, engines[i]->name))
			return (int)i;
	return -1;
}

struct aead *aead_create(const char *engine)
{
	const int first = find_engine(engine);
	struct aead *aead;

	if (first < 0) {
		errno = EINVAL;
		return NULL;
	}
	aead = calloc(1, sizeof(*aead));
	if (!aead || sodium_init() < 0)
		goto no_memory;
	if (!start_first(aead, (unsigned)first))
		goto no_memory;
	if ((!engine || !strcmp(engine, "auto")) && aead->engine->suits)
		start_other(aead);
	return aead;

no_memory:
	free(aead);
	errno = ENOMEM;
	return NULL;
}

void aead_destroy(struct aead *aead)
{
	if (!aead)
		return;
	aead->engine->destroy(aead->state);
	if (aead->other)
		aead->other->destroy(aead->other_state);
	free(aead);
}

const char *aead_engine_name(const struct aead *aead)
{
	return aead->engine->name;
}

const struct aead_engine *aead_engine_of(const struct aead *aead, void **state)
{
	*state = aead->state;
	return aead->engine;
}

void aead_seal(struct aead *aead, const struct aead_op ops[], unsigned n)
{
	if (!n)
		return;
	if (aead->other && !aead->engine->suits(ops, n))
		aead->other->seal(aead->other_state, ops, n);
	else
		aead->engine->seal(aead->state, ops, n);
}

uint64_t aead_open(struct aead *aead, const struct aead_op ops[], unsigned n)
{
	if (!n)
		return 0;
	if (aead->other && !aead->engine->suits(ops, n))
		return aead->other->open(aead->other_state, ops, n);
	return aead->engine->open(aead->state, ops, n);
}
