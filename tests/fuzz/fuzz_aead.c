// The engines against each other: equal bytes sealed, equal verdicts on what is opened. Input: for
// each operation a length (2 bytes), a counter (8), the first bytes of a key (2), and a
// flip (2): where in ciphertext and tag a byte is changed before it is opened, and how.
#include "dataplane/crypto/aead.h"
#include "tests/fuzz/fuzz.h"

enum {
	ENGINES = 5,
	OP_LEN = 14,
	TEXT_MAX = 2048, // lengths are taken modulo this, so that a burst stays quick
	SPACE = TEXT_MAX + AEAD_TAG_LEN,
};

// The choice per burst, then each on its own; libsodium, the reference, last. An engine that this
// CPU lacks is another one once more.
static const char *const names[ENGINES] = {NULL, "avx512", "avx2", "ipsec-mb", "libsodium"};
static struct aead *engines[ENGINES];
static uint8_t buffers[ENGINES][AEAD_BURST][SPACE], keys[AEAD_BURST][KEY_LEN];
static struct aead_op ops[ENGINES][AEAD_BURST];

static void fill_op(unsigned i, const uint8_t *input)
{
	const uint32_t len = (input[0] | (uint32_t)input[1] << 8) % TEXT_MAX;
	uint64_t counter;

	memcpy(&counter, input + 2, sizeof(counter));
	memset(keys[i], 0, KEY_LEN);
	memcpy(keys[i], input + 10, 2);
	for (unsigned e = 0; e < ENGINES; e++) {
		for (uint32_t k = 0; k < len; k++)
			buffers[e][i][k] = (uint8_t)(k * input[10] + input[11]);
		ops[e][i] = (struct aead_op){
			.data = buffers[e][i], .len = len, .counter = counter, .key = keys[i]};
	}
}

static void check_equal(unsigned n, uint32_t extra)
{
	for (unsigned e = 1; e < ENGINES; e++)
		for (unsigned i = 0; i < n; i++)
			check(!memcmp(buffers[0][i], buffers[e][i], ops[0][i].len + extra));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t untouched = 0, authentic[ENGINES];
	unsigned n = 0;

	for (unsigned e = 0; e < ENGINES && !engines[e]; e++) {
		engines[e] = aead_create(names[e]);
		check(engines[e]);
	}
	for (; n < AEAD_BURST && size >= (n + 1) * OP_LEN; n++)
		fill_op(n, data + n * OP_LEN);
	for (unsigned e = 0; e < ENGINES; e++)
		aead_seal(engines[e], ops[e], n);
	check_equal(n, AEAD_TAG_LEN);

	for (unsigned i = 0; i < n; i++) {
		const uint8_t *flip = data + i * OP_LEN + 12;
		const uint32_t at = flip[0] * 8u % (ops[0][i].len + AEAD_TAG_LEN);

		for (unsigned e = 0; e < ENGINES; e++)
			buffers[e][i][at] ^= flip[1];
		if (!flip[1])
			untouched |= UINT64_C(1) << i;
	}
	for (unsigned e = 0; e < ENGINES; e++) {
		authentic[e] = aead_open(engines[e], ops[e], n);
		check(authentic[e] == untouched);
	}
	check_equal(n, 0);
	return 0;
}
