// The engines that work across packets, beside libsodium and intel-ipsec-mb: every alignment in
// buffers of exact size between pages that fault, keys alike and unlike, forgeries, mixed bursts.
#include "tests/unit/aead_burst.h"
#include "tests/unit/sanitized.h"

#include <sys/mman.h>
#include <unistd.h>

static uint64_t mask(unsigned n)
{
	return n == 64 ? UINT64_MAX : (UINT64_C(1) << n) - 1;
}

static void reference_seal(const struct burst *b, const struct aead_engine *reference, void *state)
{
	struct aead_op ops[AEAD_BURST];

	for (unsigned i = 0; i < b->n; i++) {
		ops[i] = b->ops[i];
		ops[i].data = want[i];
	}
	reference->seal(state, ops, b->n);
}

static void expect_sealed(const struct burst *b)
{
	for (unsigned i = 0; i < b->n; i++)
		assert_memory_equal(b->ops[i].data, want[i], b->ops[i].len + AEAD_TAG_LEN);
}

static void expect_clear(const struct burst *b)
{
	for (unsigned i = 0; i < b->n; i++)
		assert_memory_equal(b->ops[i].data, clear[i], b->ops[i].len);
}

// Sealed as libsodium and as ipsec-mb do it; opened, what they have sealed.
static void there_and_back(const struct aead_engine *engine, void *state, struct burst *b)
{
	void *ipsecmb = aead_ipsecmb.create();

	assert_non_null(ipsecmb);
	engine->seal(state, b->ops, b->n);
	reference_seal(b, &aead_sodium, NULL);
	expect_sealed(b);
	assert_true(aead_ipsecmb.open(ipsecmb, b->ops, b->n) == mask(b->n));
	expect_clear(b);
	aead_ipsecmb.seal(ipsecmb, b->ops, b->n);
	expect_sealed(b);
	assert_true(engine->open(state, b->ops, b->n) == mask(b->n));
	expect_clear(b);
	aead_ipsecmb.destroy(ipsecmb);
}

// Lengths of a random burst: of one kind, as in a gateway.
static uint32_t random_len(unsigned kind)
{
	static const uint32_t imix[] = {64, 64, 64, 64, 64, 64, 64, 576, 576, 576, 576, 1420};

	switch (kind) {
	case 0:
		return (uint32_t)pick(LEN_MAX + 1);
	case 1:
		return (uint32_t)pick(130);
	case 2:
		return imix[pick(12)];
	case 3:
		return pick(3) ? 1424 : 64;
	case 4:
		return 1424;
	default:
		return pick(8) ? (uint32_t)pick(20) : LEN_MAX;
	}
}

static void random_bursts(const struct aead_engine *engine, void *state)
{
	fill((uint8_t *)keys, sizeof(keys));
	for (unsigned round = 0; round < 1200; round++) {
		const unsigned n =
			round < 6 * AEAD_BURST ? round / 6 + 1 : 1 + (unsigned)pick(AEAD_BURST);
		const unsigned kind = round % 6, n_keys = round % 7 == 0   ? 64
							  : round % 5 == 0 ? 2
									   : 1;
		struct burst b = {0};

		for (unsigned i = 0; i < n; i++)
			burst_add(&b, random_len(kind), (unsigned)pick(64), i % n_keys);
		there_and_back(engine, state, &b);
		burst_free(&b);
	}
}

static void test_random_bursts(void **)
{
	each_engine(random_bursts);
}

// Every length around the blocks and windows, each beside others that are longer and shorter.
static void every_length(const struct aead_engine *engine, void *state)
{
	static const unsigned neighbours[] = {1, 2, 3, 5, 9, 17};

	for (uint32_t len = 0; len <= 700; len++) {
		struct burst b = {0};

		for (unsigned i = 0; i < neighbours[len % 6]; i++)
			burst_add(&b, i % 2 ? (uint32_t)pick(len + 1) : len, len % 64, 0);
		there_and_back(engine, state, &b);
		burst_free(&b);
	}
}

static void test_every_length(void **)
{
	each_engine(every_length);
}

// Packets that end where a page ends, or begin where it begins, with nothing mapped beyond: not
// even masked-off bytes of a vector may be touched there.
static void page_ends(const struct aead_engine *engine, void *state)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE), span = 3 * page;
	uint8_t *m = mmap(NULL, (AEAD_BURST / 2) * 4 * page, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(m != MAP_FAILED);
	for (unsigned i = 0; i < AEAD_BURST / 2; i++)
		assert_int_equal(mprotect(m + i * 4 * page + span, page, PROT_NONE), 0);
	for (uint32_t len = 0; len < 1500; len += len < 300 ? 1 : 37) {
		struct burst b = {.n = 16};

		for (unsigned i = 0; i < b.n; i++) {
			uint8_t *end = m + (i + 1) * 4 * page + span,
				*start = m + (i + 1) * 4 * page;
			const uint32_t l = i < 12 ? len : len / 2;

			b.ops[i] = (struct aead_op){.data = i % 2 ? start : end - l - AEAD_TAG_LEN,
				.len = l,
				.counter = pick(UINT64_MAX),
				.key = keys[i]};
			fill(clear[i], l);
			memcpy(b.ops[i].data, clear[i], l);
			memcpy(want[i], clear[i], l);
		}
		there_and_back(engine, state, &b);
	}
	munmap(m, (AEAD_BURST / 2) * 4 * page);
}

static void test_page_ends(void **)
{
	each_engine(page_ends);
}

// Each bit of the tag, the first and the last byte, of one packet among others: it alone is refused
// and zeroed. Several at once, too.
static void forgeries(const struct aead_engine *engine, void *state)
{
	static const uint32_t lens[] = {1, 15, 64, 65, 576, 1424};

	for (unsigned bit = 0; bit < 8 * AEAD_TAG_LEN + 16; bit++) {
		for (size_t k = 0; k < sizeof(lens) / sizeof(lens[0]); k++) {
			const unsigned n = 1 + (unsigned)pick(40), bad = (unsigned)pick(n);
			const unsigned other = (unsigned)pick(n);
			const uint64_t forged = UINT64_C(1) << bad | UINT64_C(1) << other;
			const uint32_t at = bit < 128	? lens[k] + bit / 8
					    : bit < 136 ? 0
							: lens[k] - 1;
			struct burst b = {0};

			for (unsigned i = 0; i < n; i++)
				burst_add(&b, i == bad ? lens[k] : random_len(3), 0, i % 3);
			engine->seal(state, b.ops, n);
			b.ops[bad].data[at] ^= (uint8_t)(1 << bit % 8);
			if (other != bad)
				b.ops[other].data[b.ops[other].len] ^= 0x80;
			assert_true(engine->open(state, b.ops, n) == (mask(n) & ~forged));
			for (unsigned i = 0; i < n; i++) {
				if (forged >> i & 1)
					assert_true(sodium_is_zero(b.ops[i].data, b.ops[i].len));
				else
					assert_memory_equal(b.ops[i].data, clear[i], b.ops[i].len);
			}
			burst_free(&b);
		}
	}
}

static void test_forgeries(void **)
{
	each_engine(forgeries);
}

// All forged: no packet is left decrypted.
static void all_forged(const struct aead_engine *engine, void *state)
{
	struct burst b = {0};

	for (unsigned i = 0; i < AEAD_BURST; i++)
		burst_add(&b, random_len(2), i, i % 2);
	engine->seal(state, b.ops, b.n);
	for (unsigned i = 0; i < b.n; i++)
		b.ops[i].data[b.ops[i].len + i % 16] ^= 1;
	assert_true(engine->open(state, b.ops, b.n) == 0);
	for (unsigned i = 0; i < b.n; i++)
		assert_true(sodium_is_zero(b.ops[i].data, b.ops[i].len));
	burst_free(&b);
}

static void test_all_forged(void **)
{
	each_engine(all_forged);
}

enum { BELOW = 16 * 1024 };

static __attribute__((noinline)) void clear_stack(void)
{
	uint8_t below[BELOW] = {0};

	asm volatile("" : "+m"(below)); // is not left out
}

// What lies where functions that were called before this one had their variables.
static __attribute__((noinline)) void copy_stack(uint8_t to[static BELOW])
{
	uint8_t below[BELOW];

	asm volatile("" : "+m"(below)); // as if it had been written here
	memcpy(to, below, BELOW);
}

// Nothing of a burst is left in the engine's memory, nor on the stack: two bursts with different
// keys and data leave both the same but for addresses, lengths and counters, which are equal here.
static void wiped(const struct aead_engine *engine, void *state)
{
	static uint8_t stack[2][BELOW];
	uint8_t *after[2];
	struct burst b = {0};

	seed = 1;
	for (unsigned i = 0; i < 40; i++)
		burst_add(&b, i < 20 ? 64 : random_len(3), 0, 1);
	for (unsigned turn = 0; turn < 2; turn++) {
		fill(keys[1], KEY_LEN);
		for (unsigned i = 0; i < b.n; i++)
			fill(b.ops[i].data, b.ops[i].len);
		clear_stack();
		engine->seal(state, b.ops, b.n);
		copy_stack(stack[turn]);
		assert_true(engine->open(state, b.ops, b.n) == mask(b.n));
		after[turn] = malloc(engine->state_size);
		assert_non_null(after[turn]);
		memcpy(after[turn], state, engine->state_size);
	}
	assert_memory_equal(after[0], after[1], engine->state_size);
	if (!SANITIZED)						     // whose frames are larger
		assert_memory_equal(stack[0], stack[1], BELOW - 64); // next to here: our addresses
	free(after[0]);
	free(after[1]);
	burst_free(&b);
}

static void test_wiped(void **)
{
	each_engine(wiped);
}

// What aead_create(NULL) returns chooses per burst; whichever engine it takes, the bytes are the
// same.
static void test_choice_per_burst(void **)
{
	struct aead *aead = aead_create(NULL);

	seed = 1;
	assert_non_null(aead);
	for (unsigned round = 0; round < 400; round++) {
		const unsigned n = 1 + (unsigned)pick(9);
		struct burst b = {0};

		for (unsigned i = 0; i < n; i++)
			burst_add(&b, random_len(round % 6), (unsigned)pick(16), round % 2 ? i : 0);
		aead_seal(aead, b.ops, n);
		reference_seal(&b, &aead_sodium, NULL);
		expect_sealed(&b);
		assert_true(aead_open(aead, b.ops, n) == mask(n));
		expect_clear(&b);
		burst_free(&b);
	}
	aead_destroy(aead);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_bursts),
		cmocka_unit_test(test_every_length),
		cmocka_unit_test(test_page_ends),
		cmocka_unit_test(test_forgeries),
		cmocka_unit_test(test_all_forged),
		cmocka_unit_test(test_wiped),
		cmocka_unit_test(test_choice_per_burst),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
