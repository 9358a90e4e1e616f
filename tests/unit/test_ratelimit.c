// The rate limiter of handshakes per source address.
#include "tests/unit/vectors.h"

#include "control/wg/cookie.h"

static const uint64_t S = 1000000000, MS = 1000000; // ns

static struct ip_addr addr(const char *text)
{
	struct ip_addr a;

	assert_int_equal(ip_addr_parse(text, &a), 0);
	return a;
}

// n asks at one moment; how many pass.
static unsigned ask(struct ratelimit *r, const char *from, unsigned n, uint64_t now_ns)
{
	const struct ip_addr a = addr(from);
	unsigned passed = 0;

	while (n--)
		passed += ratelimit_allow(r, &a, now_ns);
	return passed;
}

static void test_rate(void **)
{
	static const struct {
		uint64_t at_ms;
		unsigned asked, passed;
	} steps[] = {
		{1000, 10, RATELIMIT_BURST},
		{1049, 1, 0},
		{1050, 2, 1}, // a token each 50 ms
		{1100, 1, 1},
		{1300, 10, 4},
		{1300, 1, 0},
		{60000, 100, RATELIMIT_BURST}, // never more than the burst
		{61000, 100, RATELIMIT_BURST},
	};
	struct ratelimit *r = ratelimit_create();

	assert_non_null(r);
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
		if (ask(r, "192.0.2.1", steps[i].asked, steps[i].at_ms * MS) != steps[i].passed)
			fail_msg("step %zu", i);
	ratelimit_destroy(r);
}

static void test_rate_steady(void **)
{
	struct ratelimit *r = ratelimit_create();
	unsigned passed = 0;

	assert_non_null(r);
	for (uint64_t ms = 0; ms < 10000; ms++) // a thousand a second
		passed += ask(r, "2001:db8::1", 1, 1000 * S + ms * MS);
	assert_in_range(passed, 10 * RATELIMIT_PER_S, 10 * RATELIMIT_PER_S + RATELIMIT_BURST);
	ratelimit_destroy(r);
}

static void test_rate_sources(void **)
{
	const struct ip_addr none = {0};
	struct ratelimit *r = ratelimit_create();

	assert_non_null(r);
	assert_int_equal(ask(r, "192.0.2.1", 9, S), RATELIMIT_BURST);
	assert_int_equal(ask(r, "192.0.2.2", 9, S), RATELIMIT_BURST);  // each for itself
	assert_int_equal(ask(r, "c000:201::", 9, S), RATELIMIT_BURST); // same bytes, other family
	assert_int_equal(ask(r, "2001:db8:0:1::1", 9, S), RATELIMIT_BURST);
	assert_int_equal(ask(r, "2001:db8:0:1:ffff::2", 9, S), 0); // same /64
	assert_int_equal(ask(r, "2001:db8:0:2::1", 9, S), RATELIMIT_BURST);
	assert_false(ratelimit_allow(r, &none, S));
	ratelimit_destroy(r);
}

// More sources than the table holds: all are served, and who asks all the time stays limited.
static void test_rate_bounded(void **)
{
	struct ratelimit *r = ratelimit_create();
	unsigned passed = 0;

	assert_non_null(r);
	for (uint32_t i = 0; i < 4 * RATELIMIT_SETS * RATELIMIT_WAYS; i++) {
		const uint8_t bytes[4] = {10, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i};
		const struct ip_addr a = ip_addr_v4(bytes);
		const uint64_t now_ns = S + (uint64_t)i * 1000;

		assert_true(ratelimit_allow(r, &a, now_ns));
		passed += ask(r, "192.0.2.1", 1, now_ns);
	}
	// 32768 asks within 33 ms
	assert_int_equal(passed, RATELIMIT_BURST);
	ratelimit_destroy(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rate),
		cmocka_unit_test(test_rate_steady),
		cmocka_unit_test(test_rate_sources),
		cmocka_unit_test(test_rate_bounded),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
