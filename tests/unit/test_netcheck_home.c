// Which region becomes home, and when it stays. Many cases follow those of the real client
// (tailscale net/netcheck/netcheck_test.go, TestAddReportHistoryAndSetPreferredDERP), with a tenth
// of its times.
#include "tests/unit/netcheck_sim.h"

enum {
	STEPS = 5,
	REGIONS = 4,
	GONE = 0, // does not answer: such a report takes 3 s
	NOT_HEARD = -1,
};

struct step {
	int after_ms; // the report before, or of the first
	int latency_ms[REGIONS];
	int heard_ms; // ago, at the start; NOT_HEARD: never. 0 stands for NOT_HEARD in the tables
	bool heard_meanwhile;
};

static const struct home_case {
	const char *name;
	struct step steps[STEPS];
	double score[REGIONS];
	bool avoid[REGIONS];
	uint32_t want;
} cases[] = {
	{"first reading", {{1000, {200, 300}}}, .want = 1},
	{"an earlier reading counts", {{1000, {200, 300}}, {1000, {400, 300}}}, .want = 1},
	{"home does not answer", {{1000, {200, 300}}, {1000, {400, 300}}, {1000, {GONE, 300}}},
		.want = 2},
	{"it is back, by its best",
		{{1000, {200, 300}}, {1000, {400, 300}}, {1000, {GONE, 300}}, {1000, {400, 300}}},
		.want = 1},
	{"what is older than five minutes is forgotten",
		{{1000, {100, 200}}, {1000, {100, 200}}, {306000, {300, 200}}}, .want = 2},
	{"what is younger is not", {{1000, {100, 200}}, {299000, {300, 200}}}, .want = 1},
	{"not fast enough for a change", {{1000, {400, 500}}, {1000, {400, 300}}}, .want = 1},
	{"less than 10 ms are none", {{1000, {8, 9}}, {1000, {8, 1}}}, .want = 1},
	{"11 ms, but not a third", {{1000, {34, 35}}, {1000, {34, 23}}}, .want = 1},
	{"fast enough", {{1000, {400, 500}}, {1000, {400, 100}}}, .want = 2},
	{"11 ms and a third", {{1000, {30, 35}}, {1000, {30, 19}}}, .want = 2},
	{"a score", {{1000, {200, 160}}}, .score = {2.0 / 3}, .want = 1},
	{"a score is not everything", {{1000, {500, 50}}}, .score = {2.0 / 3}, .want = 2},
	{"scores of zero and below do not count", {{1000, {200, 250}}}, .score = {0, -1},
		.want = 1},
	{"a score keeps home, too", {{1000, {200, 300}}, {1000, {200, 110}}}, .score = {0.5},
		.want = 1},
	{"frames of home", {{1000, {200, 300}}, {2000, {GONE, 300}, .heard_ms = 4900}}, .want = 1},
	{"frames of home, too old", {{1000, {200, 300}}, {2000, {GONE, 300}, .heard_ms = 5100}},
		.want = 2},
	{"frames of home, meanwhile",
		{{1000, {200, 300}}, {2000, {GONE, 300}, .heard_meanwhile = true}}, .want = 1},
	{"nothing answers, home was heard within 120 s",
		{{1000, {200, 300}}, {2000, {GONE, GONE}, .heard_ms = 116900}}, .want = 1},
	{"nothing answers, home was heard earlier",
		{{1000, {200, 300}}, {2000, {GONE, GONE}, .heard_ms = 117100}}, .want = 0},
	{"nothing answers, home was never heard", {{1000, {200, 300}}, {2000, {GONE, GONE}}},
		.want = 0},
	{"frames are those of the former home",
		{{1000, {100, 300}}, {1000, {GONE, 300}, .heard_ms = 5100},
			{1000, {GONE, GONE, 400}}},
		.want = 3},
	{"avoid: not chosen", {{1000, {20, 300}}}, .avoid = {true}, .want = 2},
	{"of two equals the first", {{1000, {50, 50, 50}}}, .want = 1},
};

static void run_step(struct sim *s, const struct step *step)
{
	s->now_ns += (uint64_t)step->after_ms * SIM_MS;
	for (unsigned i = 0; i < REGIONS; i++) {
		s->regions[i].v4_ms = step->latency_ms[i] ? step->latency_ms[i] : 1;
		s->regions[i].lose = step->latency_ms[i] ? 0 : 99;
	}
	if (step->heard_ms)
		netcheck_home_heard(s->nc, s->now_ns - (uint64_t)step->heard_ms * SIM_MS);
	sim_start(s, true, false);
	if (step->heard_meanwhile)
		netcheck_home_heard(s->nc, s->now_ns + SIM_MS);
	sim_until(s, UINT64_MAX);
	assert_int_equal(s->reports, 1);
}

static void test_home(void **)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct home_case *const c = &cases[i];
		struct sim_region regions[REGIONS];
		unsigned n = 0;

		// Of those that never answer, leave out the last: they would only take time.
		for (unsigned k = 0; k < REGIONS; k++)
			for (unsigned t = 0; t < STEPS; t++)
				if (c->steps[t].latency_ms[k])
					n = k + 1;
		for (unsigned k = 0; k < REGIONS; k++)
			regions[k] = (struct sim_region){.id = k + 1,
				.v4_ms = 1,
				.score = c->score[k],
				.avoid = c->avoid[k]};
		struct sim *const s = sim_create(regions, n);
		for (unsigned t = 0; t < STEPS && c->steps[t].after_ms; t++)
			run_step(s, &c->steps[t]);
		print_message("%s: %u\n", c->name, s->report.preferred);
		assert_int_equal(s->report.preferred, c->want);
		sim_destroy(s);
	}
}

// Home leaves the map, or is no longer to be one: no frame keeps it.
static void test_map_takes_home(void **)
{
	static const char *const names[] = {"gone from the map", "not to be home", "to be avoided"};

	for (unsigned i = 0; i < 3; i++) {
		struct sim_region regions[] = {{1, 20}, {2, 25}, {3, 200}};
		struct sim *const s = sim_create(regions, 3);

		sim_run(s, false, false);
		assert_int_equal(s->report.preferred, 1);
		if (i == 0)
			regions[0].id = 4;
		regions[0].no_measure = i == 1;
		regions[0].avoid = i == 2;
		sim_set_map(s);
		netcheck_home_heard(s->nc, s->now_ns);
		regions[0].lose = regions[1].lose = i == 1 ? 99 : 0;
		sim_run(s, false, false);
		print_message("%s: %u\n", names[i], s->report.preferred);
		assert_int_equal(s->report.preferred, i == 0 ? 4 : i == 1 ? 3 : 1);
		sim_destroy(s);
	}
}

// The history is bounded, however often a report is asked for.
static void test_history_is_bounded(void **)
{
	struct sim_region regions[100];

	for (unsigned i = 0; i < 100; i++)
		regions[i] = (struct sim_region){.id = i + 1, .v4_ms = 50 + (int)i};
	struct sim *const s = sim_create(regions, 100);
	for (unsigned i = 0; i < 60; i++) {
		sim_run(s, true, false);
		assert_int_equal(s->report.preferred, 1);
	}
	regions[0].v4_ms = 5000;
	sim_run(s, true, false);
	assert_int_equal(s->report.preferred, 2);
	sim_destroy(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_home),
		cmocka_unit_test(test_map_takes_home),
		cmocka_unit_test(test_history_is_bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
