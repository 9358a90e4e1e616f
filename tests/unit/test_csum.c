#include "dataplane/wire/csum.h"
#include "tests/unit/eal.h"

#include <setjmp.h>
#include <stdarg.h>
// after the above, as cmocka asks
#include <cmocka.h>

enum { LARGE = 4500000 }; // more than the vector loop sums before it empties its counters

static struct rte_mempool *pool;

static void fill(uint8_t *p, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++) {
		seed = seed * 1103515245 + 12345;
		p[i] = (uint8_t)(seed >> 16);
	}
}

// RFC 1071 1: big-endian words, end-around carry, nothing else. In wire order, as the code has it.
static uint16_t naive(const uint8_t *p, size_t len)
{
	uint32_t sum = 0;
	for (size_t i = 0; i < len; i++) {
		sum += i % 2 == 0 ? (uint32_t)p[i] << 8 : p[i];
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return rte_cpu_to_be_16((uint16_t)sum);
}

static void test_rfc1071(void **)
{
	// RFC 1071 3: the sum of these is ddf2 (2ddf0 before the carries).
	static const uint8_t bytes[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
	assert_int_equal(csum_fold(csum_add(bytes, 8, 0)), rte_cpu_to_be_16(0xddf2));
	assert_int_equal(csum_finish(csum_add(bytes, 8, 0)), rte_cpu_to_be_16(0x220d));
	assert_int_equal(csum_fold(csum_add(bytes, 0, 0)), 0);
}

static void test_lengths_and_alignments(void **)
{
	static uint8_t src[512], dst[512], expected[512];
	fill(src, sizeof(src), 7);
	for (unsigned align = 0; align < 33; align++) {
		for (unsigned len = 0; len <= 300; len++) {
			const uint8_t *p = src + align;
			uint8_t *to = dst + (align * 5 + len) % 37 + 1;
			uint16_t sum = naive(p, len);
			assert_int_equal(csum_fold(csum_add(p, len, 0)), sum);
			assert_int_equal(csum_fold(csum_add_plain(p, len, 0)), sum);

			memset(dst, 0xa5, sizeof(dst));
			memset(expected, 0xa5, sizeof(expected));
			memcpy(expected + (to - dst), p, len);
			assert_int_equal(csum_fold(csum_copy(to, p, len, 0)), sum);
			assert_memory_equal(dst, expected, sizeof(dst));

			memset(dst, 0xa5, sizeof(dst));
			assert_int_equal(csum_fold(csum_copy_plain(to, p, len, 0)), sum);
			assert_memory_equal(dst, expected, sizeof(dst));
		}
	}
}

static void test_large(void **)
{
	static const struct {
		const char *name;
		int byte; // -1: random
		size_t len;
	} cases[] = {
		{"jumbo", -1, 9001},
		{"super-packet", -1, 65535},
		{"longer than the counters hold", -1, LARGE},
		{"all ones, longer than the counters hold", 0xff, LARGE - 1},
		{"all ones at the limit of the counters", 0xff, 128 * 0x7fff},
		{"all ones just below that limit", 0xff, 128 * 0x7fff - 1},
		{"zeros", 0, LARGE},
	};
	uint8_t *src = malloc(LARGE), *dst = malloc(LARGE);
	assert_non_null(src);
	assert_non_null(dst);
	for (size_t i = 0; i < RTE_DIM(cases); i++) {
		if (cases[i].byte < 0)
			fill(src, cases[i].len, 3);
		else
			memset(src, cases[i].byte, cases[i].len);
		uint16_t sum = naive(src, cases[i].len);
		if (csum_fold(csum_add(src, cases[i].len, 0)) != sum ||
			csum_fold(csum_copy(dst, src, cases[i].len, 0)) != sum ||
			csum_fold(csum_add_plain(src, cases[i].len, 0)) != sum)
			fail_msg("%s", cases[i].name);
		assert_memory_equal(src, dst, cases[i].len);
	}
	free(src);
	free(dst);
}

static void test_incremental(void **)
{
	uint8_t p[40];
	for (unsigned seed = 0; seed < 20000; seed++) {
		fill(p, sizeof(p), seed);
		if (seed % 3 == 0)
			memset(p, seed % 2 ? 0xff : 0, 20);
		csum_ip4_hdr_set(p, 40);
		assert_true(csum_ip4_hdr_ok(p, 40));

		// The checksum lies at 10; change a word elsewhere, to 0 and ffff as well.
		unsigned at = seed % 2 ? 4 : 16;
		uint32_t from, to = seed % 5 == 0   ? 0
				    : seed % 5 == 1 ? 0xffffffff
						    : seed * 2654435761u;
		uint16_t csum, from16, to16 = (uint16_t)to;
		memcpy(&csum, p + 10, 2);
		memcpy(&from, p + at, 4);
		memcpy(p + at, &to, 4);
		csum = csum_update32(csum, from, to);
		memcpy(p + 10, &csum, 2);
		assert_true(csum_ip4_hdr_ok(p, 40));

		memcpy(&from16, p + 8, 2);
		memcpy(p + 8, &to16, 2);
		csum = csum_update16(csum, from16, to16);
		memcpy(p + 10, &csum, 2);
		assert_true(csum_ip4_hdr_ok(p, 40));
	}
	// RFC 1624 4: dd2f with 5555 -> 3285 gives 0000, not ffff.
	assert_int_equal(csum_update16(rte_cpu_to_be_16(0xdd2f), rte_cpu_to_be_16(0x5555),
				 rte_cpu_to_be_16(0x3285)),
		0);
}

static void test_pseudo(void **)
{
	uint8_t l3[40];
	for (unsigned seed = 1; seed < 500; seed++) {
		uint32_t len = seed * 131;
		uint8_t pseudo4[12], pseudo6[40];
		fill(l3, sizeof(l3), seed);

		memcpy(pseudo4, l3 + 12, 8);
		pseudo4[8] = 0;
		pseudo4[9] = (uint8_t)seed;
		pseudo4[10] = (uint8_t)(len >> 8);
		pseudo4[11] = (uint8_t)len;
		if (len <= 65535)
			assert_int_equal(csum_fold(csum_pseudo4(l3, (uint8_t)seed, len)),
				naive(pseudo4, 12));

		memcpy(pseudo6, l3 + 8, 32);
		memcpy(pseudo6 + 32, &(uint32_t){rte_cpu_to_be_32(len)}, 4);
		memcpy(pseudo6 + 36, &(uint32_t){rte_cpu_to_be_32(seed & 0xff)}, 4);
		assert_int_equal(
			csum_fold(csum_pseudo6(l3, (uint8_t)seed, len)), naive(pseudo6, 40));
	}
}

static void test_ip4_header(void **)
{
	// 45 00 00 73 00 00 40 00 40 11 b8 61 c0 a8 00 01 c0 a8 00 c7, a header seen on a wire
	uint8_t good[] = {0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0xb8, 0x61,
		0xc0, 0xa8, 0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7};
	uint8_t hdr[20];
	assert_true(csum_ip4_hdr_ok(good, 20));
	for (unsigned bit = 0; bit < 160; bit++) {
		memcpy(hdr, good, 20);
		hdr[bit / 8] ^= 1 << bit % 8;
		assert_false(csum_ip4_hdr_ok(hdr, 20));
	}
	memcpy(hdr, good, 20);
	hdr[10] = hdr[11] = 0x5a;
	csum_ip4_hdr_set(hdr, 20);
	assert_memory_equal(hdr, good, 20);
}

static void test_udp_never_zero(void **)
{
	uint8_t ones[2] = {0xff, 0xff};
	assert_int_equal(csum_finish(csum_add(ones, 2, 0)), 0);
	assert_int_equal(csum_finish_udp(csum_add(ones, 2, 0)), 0xffff);
}

static void test_chains(void **)
{
	static uint8_t flat[4096];
	fill(flat, sizeof(flat), 99);
	for (unsigned seed = 1; seed < 3000; seed++) {
		struct rte_mbuf *head = NULL;
		uint32_t total = 0;
		for (unsigned i = 0; i < 1 + seed % 6; i++) {
			struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
			assert_non_null(m);
			uint16_t n = (uint16_t)((seed * (i + 3) * 37) % 160); // some are empty
			memcpy(rte_pktmbuf_append(m, n), flat + total, n);
			total += n;
			if (head == NULL)
				head = m;
			else
				assert_int_equal(rte_pktmbuf_chain(head, m), 0);
		}
		uint32_t offset = total ? seed % total : 0;
		uint32_t len = total - offset - (seed % 3 && total > offset ? 1 : 0);
		assert_int_equal(
			csum_fold(csum_mbuf(head, offset, len, 0)), naive(flat + offset, len));
		rte_pktmbuf_free(head);
	}
	assert_int_equal(rte_mempool_avail_count(pool), 63);
}

int main(void)
{
	test_eal_init();
	pool = test_pool("csum", 63);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rfc1071),
		cmocka_unit_test(test_lengths_and_alignments),
		cmocka_unit_test(test_large),
		cmocka_unit_test(test_incremental),
		cmocka_unit_test(test_pseudo),
		cmocka_unit_test(test_ip4_header),
		cmocka_unit_test(test_udp_never_zero),
		cmocka_unit_test(test_chains),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
