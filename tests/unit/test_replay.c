#include "dataplane/table/replay.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
// after the above, as cmocka asks
#include <cmocka.h>

#define WINDOW ((uint64_t)WG_REPLAY_WINDOW)
#define LIMIT (WINDOW + 1) // how the kernel's test names it
#define REJECT WG_REJECT_AFTER_MESSAGES

// Each sequence starts with a fresh window and ends with a last entry of want END.
enum want { TAKEN, REFUSED, END };

struct step {
	uint64_t counter;
	enum want want;
};

// wireguard-linux-compat src/selftest/counter.c, its T() lines in order.
static const struct step kernel_mixed[] = {
	{0, TAKEN},
	{1, TAKEN},
	{1, REFUSED},
	{9, TAKEN},
	{8, TAKEN},
	{7, TAKEN},
	{7, REFUSED},
	{LIMIT, TAKEN},
	{LIMIT - 1, TAKEN},
	{LIMIT - 1, REFUSED},
	{LIMIT - 2, TAKEN},
	{2, TAKEN},
	{2, REFUSED},
	{LIMIT + 16, TAKEN},
	{3, REFUSED},
	{LIMIT + 16, REFUSED},
	{LIMIT * 4, TAKEN},
	{LIMIT * 4 - (LIMIT - 1), TAKEN},
	{10, REFUSED},
	{LIMIT * 4 - LIMIT, REFUSED},
	{LIMIT * 4 - (LIMIT + 1), REFUSED},
	{LIMIT * 4 - (LIMIT - 2), TAKEN},
	{LIMIT * 4 + 1 - LIMIT, REFUSED},
	{0, REFUSED},
	{REJECT, REFUSED},
	{REJECT - 1, TAKEN},
	{REJECT, REFUSED},
	{REJECT - 1, REFUSED},
	{REJECT - 2, TAKEN},
	{REJECT + 1, REFUSED},
	{REJECT + 2, REFUSED},
	{REJECT - 2, REFUSED},
	{REJECT - 3, TAKEN},
	{0, REFUSED},
	{0, END},
};

static const struct step jump_keeps_nothing[] = {
	{5, TAKEN},
	{UINT64_C(1) << 40, TAKEN},
	{5, REFUSED},
	{(UINT64_C(1) << 40) - WINDOW, TAKEN},
	{(UINT64_C(1) << 40) - WINDOW - 1, REFUSED},
	{0, END},
};

static const struct step last_values[] = {
	{UINT64_MAX, REFUSED},
	{UINT64_MAX - 1, REFUSED},
	{REJECT, REFUSED},
	{0, TAKEN},
	{UINT64_MAX, REFUSED},
	{0, REFUSED},
	{0, END},
};

static void run(const struct step *s)
{
	struct replay r = {0};
	for (; s->want != END; s++) {
		struct replay before = r;
		assert_int_equal(replay_check(&r, s->counter), s->want == TAKEN);
		assert_int_equal(replay_update(&r, s->counter), s->want == TAKEN);
		if (s->want == REFUSED)
			assert_memory_equal(&before, &r, sizeof(r));
	}
}

static void test_sequences(void **)
{
	run(kernel_mixed);
	run(jump_keeps_nothing);
	run(last_values);
}

struct range {
	const char *name;
	uint64_t first, last; // counted up or down
	uint64_t then;
	bool then_taken;
};

// The loops of the same file.
static const struct range ranges[] = {
	{"up, then 0", 1, WINDOW, 0, true},
	{"up, then 0 again", 0, WINDOW, 0, false},
	{"one too far", 2, LIMIT, 0, false},
	{"one too far, 1 is left", 2, LIMIT, 1, true},
	{"down", LIMIT - 1, 1, 0, true},
	{"down, from the edge", LIMIT, 1, 0, false},
	{"down, then above", LIMIT - 1, 0, LIMIT, true},
	{"down, then the top again", LIMIT - 1, 0, LIMIT - 1, false},
};

static void test_ranges(void **)
{
	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
		const struct range *t = &ranges[i];
		struct replay r = {0};
		int step = t->first < t->last ? 1 : -1;
		for (uint64_t c = t->first; c != t->last + step; c += step)
			assert_true(replay_update(&r, c));
		if (replay_update(&r, t->then) != t->then_taken)
			fail_msg("%s", t->name);
	}
}

// Against a plain list of what was taken.
static void test_random(void **)
{
	enum { RANGE = 1 << 16, STEPS = 200000 };
	static bool taken[RANGE];
	struct replay r = {0};
	uint64_t highest = 0;
	bool any = false;
	srandom(1);
	for (int i = 0; i < STEPS; i++) {
		uint64_t spread = 9000, top = any ? highest + 40 : 40;
		uint64_t back = (uint64_t)random() % spread;
		uint64_t c = back > top ? 0 : top - back;
		if (c >= RANGE)
			break;
		bool want = !taken[c] && (!any || c + WINDOW >= highest);
		assert_int_equal(replay_check(&r, c), want);
		assert_int_equal(replay_update(&r, c), want);
		taken[c] |= want;
		if (want && c > highest)
			highest = c;
		any |= want;
	}
	assert_true(highest > WINDOW);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sequences),
		cmocka_unit_test(test_ranges),
		cmocka_unit_test(test_random),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
