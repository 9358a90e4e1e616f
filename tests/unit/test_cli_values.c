// Durations, times and numbers as the tailscale command has them.
#include "control/cli/values.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
// after the above, as cmocka asks
#include <cmocka.h>

#define N(array) (sizeof(array) / sizeof(array[0]))

enum { NOW_S = 1795240429 }; // 2026-11-21T05:53:49Z

static void test_durations(void **)
{
	static const struct {
		const char *text;
		unsigned ms;
	} good[] = {
		{"0", 0},
		{"0s", 0},
		{"5s", 5000},
		{"300ms", 300},
		{"1.5s", 1500},
		{"1m30s", 90000},
		{"2h", 7200000},
		{"1us", 1},
		{"168h", 604800000},
	};
	static const char *const bad[] = {"", "5", "s", "-5s", "+5s", "5 s", "5x", "1m30", "1e3s",
		"0x5s", "infs", "nan", "169h", "99999999999999999s", "1..5s", ".s", "5s "};
	unsigned ms;
	for (unsigned i = 0; i < N(good); i++)
		if (value_duration(good[i].text, &ms) < 0 || ms != good[i].ms)
			fail_msg("%s: %u", good[i].text, ms);
	for (unsigned i = 0; i < N(bad); i++)
		if (value_duration(bad[i], &ms) != -EINVAL)
			fail_msg("%s is taken", bad[i]);
}

static void test_latencies(void **)
{
	static const struct {
		double seconds;
		const char *text;
	} cases[] = {
		{0, "0s"},
		{0.0004, "0s"},
		{0.0005, "1ms"},
		{0.13, "130ms"},
		{0.9996, "1s"},
		{1.25, "1.25s"},
		{10, "10s"},
		{62.5, "1m2.5s"},
		{3600, "1h0m0s"},
		{-1, "0s"},
		{1e300, "0s"},
	};
	char text[VALUE_TEXT_LEN];
	for (unsigned i = 0; i < N(cases); i++)
		assert_string_equal(value_seconds(cases[i].seconds, text), cases[i].text);
}

static void test_times(void **)
{
	static const struct {
		const char *text;
		int64_t at;
	} cases[] = {
		{"2026-11-21T05:53:49Z", NOW_S},
		{"2026-11-21T05:53:49.43679666Z", NOW_S},
		{"2026-11-21T07:53:49+02:00", NOW_S},
		{"2026-11-21T00:23:49.5-05:30", NOW_S},
		{"1970-01-01T00:00:00Z", 0},
		{"0001-01-01T00:00:00Z", 0},
		{"", 0},
		{"yesterday", 0},
		{"2026-11-21", 0},
		{"2026-11-21T05:53:49", 0},
		{"2026-11-21T05:53:49X", 0},
		{"2026-13-41T05:53:49Z", 0},
	};
	char text[VALUE_TEXT_LEN];
	for (unsigned i = 0; i < N(cases); i++)
		if (value_time(cases[i].text) != cases[i].at)
			fail_msg("%s: %ld", cases[i].text, value_time(cases[i].text));
	assert_int_equal(value_time(NULL), 0);
	assert_string_equal(value_last_seen(0, NOW_S, text), "");
	assert_string_equal(value_last_seen(NOW_S + 50, NOW_S, text), ", last seen 1m ago");
	assert_string_equal(value_last_seen(NOW_S - 3599, NOW_S, text), ", last seen 59m ago");
	assert_string_equal(value_last_seen(NOW_S - 86399, NOW_S, text), ", last seen 23h ago");
	assert_string_equal(value_last_seen(NOW_S - 86400, NOW_S, text), ", last seen 1d ago");
}

static void test_numbers(void **)
{
	static const char *const bad[] = {
		"", "-1", "+1", "1x", "x", " 1", "11", "99999999999", "0x1"};
	unsigned n;
	assert_int_equal(value_number("0", 10, &n), 0);
	assert_int_equal(value_number("10", 10, &n), 0);
	assert_int_equal(n, 10);
	for (unsigned i = 0; i < N(bad); i++)
		if (value_number(bad[i], 10, &n) != -EINVAL)
			fail_msg("%s is taken", bad[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_durations),
		cmocka_unit_test(test_latencies),
		cmocka_unit_test(test_times),
		cmocka_unit_test(test_numbers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
