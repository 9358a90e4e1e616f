// Symptoms on a host with flannel and on a plain one: what the kernel counted while the doctor
// looked.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
// after the above, as cmocka asks
#include <cmocka.h>

#include "control/cli/doctor_mtu.h"
#include "control/cli/show.h"

#define N(array) (sizeof(array) / sizeof(array[0]))
#define ALL_KNOWN ((1u << COUNTS) - 1)

// eth0 of lan bytes; with flannel on it: of 50 less.
static struct doctor_mtu_facts *host(unsigned lan, bool flannel)
{
	static struct doctor_mtu_facts f;
	memset(&f, 0, sizeof(f));
	f.stack.link[0] = (struct stack_link){.ifindex = 1,
		.name = "eth0",
		.mtu = lan,
		.n_addresses = 1,
		.address = {{.addr = {.family = IP_V4, .bytes = {192, 168, 1, 7}}}}};
	f.stack.link[1] = (struct stack_link){.ifindex = 2,
		.name = "flannel.1",
		.mtu = lan - 50,
		.kind = STACK_VXLAN,
		.lower = 1};
	f.stack.n = flannel ? 2 : 1;
	return &f;
}

// A text of the finding with this number; "nothing": there is none.
static const char *said(const struct doctor_mtu_facts *f, const char *id, const char *name)
{
	static char text[512];
	size_t k;
	json_t *finding, *report = doctor_mtu_judge(f);
	assert_non_null(report);
	strcpy(text, "nothing");
	json_array_foreach(json_object_get(report, "findings"), k, finding)
	{
		if (strcmp(show_text(finding, "id"), id) == 0)
			snprintf(text, sizeof(text), "%s", show_text(finding, name));
	}
	assert_int_equal(json_array_size(json_object_get(report, "commands")), 0);
	json_decref(report);
	return text;
}

static const struct {
	const char *name;
	uint64_t before[COUNTS], after[COUNTS];
	unsigned known;
	const char *again, *fragments; // severity
} counts[] = {
	{"nothing", {0}, {0}, ALL_KNOWN, "ok", "ok"},
	{"not known", {0}, {0, 0, 9, 9, 9}, 0, "nothing", "nothing"},
	{"one of them is not", {0}, {0, 0, 9, 9, 9}, ALL_KNOWN & ~(1u << COUNT_LOST), "ok",
		"nothing"},
	{"all arrives", {1000, 5}, {2000, 5}, ALL_KNOWN, "ok", "ok"},
	{"just under it", {1000, 5}, {2000, 24}, ALL_KNOWN, "ok", "ok"},
	{"just as much", {1000, 5}, {2000, 25}, ALL_KNOWN, "warn", "ok"},
	{"of too few", {1000, 5}, {1049, 54}, ALL_KNOWN, "ok", "ok"},
	{"of just enough", {1000, 5}, {1050, 6}, ALL_KNOWN, "warn", "ok"},
	{"only before", {100000, 2000}, {101000, 2020}, ALL_KNOWN, "warn", "ok"},
	{"long ago", {100000, 3000}, {101000, 3000}, ALL_KNOWN, "info", "ok"},
	{"set back", {100000, 100}, {10, 1}, ALL_KNOWN, "ok", "ok"},
	{"as large as can be", {0}, {UINT64_MAX, UINT64_MAX}, ALL_KNOWN, "warn", "ok"},
	{"fragments", {0, 0, 4}, {0, 0, 6}, ALL_KNOWN, "ok", "warn"},
	{"fragments long ago", {0, 0, 4}, {0, 0, 4}, ALL_KNOWN, "ok", "info"},
	{"that do not arrive", {0, 0, 4, 0, 1}, {0, 0, 4, 0, 2}, ALL_KNOWN, "ok", "warn"},
	{"as it should be", {0, 0, 0, 1}, {0, 0, 0, 9}, ALL_KNOWN, "ok", "info"},
	{"fragments set back", {0, 0, 9}, {0, 0, 1}, ALL_KNOWN, "ok", "info"},
};

static void judge_counts(unsigned i, bool flannel)
{
	const char *expected[] = {counts[i].again, counts[i].fragments};
	static const char *const ids[] = {"F080", "F111"};
	struct doctor_mtu_facts *f = host(1500, flannel);
	memcpy(f->count_before.value, counts[i].before, sizeof(counts[i].before));
	memcpy(f->count.value, counts[i].after, sizeof(counts[i].after));
	f->count.known = counts[i].known;
	f->count_before.known = ALL_KNOWN;
	for (unsigned k = 0; k < N(ids); k++) {
		const bool only_known = !flannel && strcmp(expected[k], "warn") == 0;
		const char *severity = said(f, ids[k], "severity");
		if (strcmp(severity, only_known ? "info" : expected[k]) != 0)
			fail_msg("%s: %s is %s", counts[i].name, ids[k], severity);
	}
}

static void test_counts(void **)
{
	for (unsigned i = 0; i < N(counts); i++) {
		judge_counts(i, true);
		judge_counts(i, false);
	}
}

static void test_recommended(void **)
{
	static const struct {
		unsigned lan; // 0: there is none
		bool flannel;
		const char *text;
	} cases[] = {
		{1500, false, "MTUs with which nothing is cut: 1420 for a tunnel on eth0"},
		{0, false, "MTUs with which nothing is cut: 1420 for a tunnel on the LAN"},
		{1500, true,
			"MTUs with which nothing is cut: 1420 for a tunnel on eth0, 1450 for "
			"pods, 1370 for a tunnel in one"},
		{9000, true,
			"MTUs with which nothing is cut: 8920 for a tunnel on eth0, 8950 for "
			"pods, 8870 for a tunnel in one"},
	};
	for (unsigned i = 0; i < N(cases); i++) {
		struct doctor_mtu_facts *f = host(cases[i].lan, cases[i].flannel);
		f->stack.n = cases[i].lan != 0 ? f->stack.n : 0;
		f->count.known = f->count_before.known = ALL_KNOWN;
		assert_string_equal(said(f, "F111", "remedy"), cases[i].text);
	}
}

static void test_dropped(void **)
{
	static const struct {
		const char *name;
		uint64_t packets[2], dropped[2]; // before, after
		const char *severity;
	} cases[] = {
		{"none", {100, 200}, {7, 7}, "ok"},
		{"a few", {100, 200}, {7, 16}, "info"},
		{"many", {100, 200}, {7, 17}, "warn"},
		{"many of very many", {0, 100000}, {7, 999}, "info"},
		{"one percent", {0, 100000}, {0, 1000}, "warn"},
		{"and nothing else", {5, 5}, {0, 10}, "warn"},
		{"made anew", {1000, 3}, {9, 9}, "nothing"},
		{"set back", {1000, 1003}, {9, 0}, "nothing"},
	};
	for (unsigned i = 0; i < N(cases); i++) {
		struct doctor_mtu_facts *f = host(1500, true);
		f->before = f->stack;
		f->before.link[0].rx_packets = cases[i].packets[0];
		f->before.link[0].rx_dropped = cases[i].dropped[0];
		f->stack.link[0].rx_packets = cases[i].packets[1];
		f->stack.link[0].rx_dropped = cases[i].dropped[1];
		const char *severity = said(f, "F081", "severity");
		if (strcmp(severity, cases[i].severity) != 0)
			fail_msg("%s: %s", cases[i].name, severity);
		f->before.n = 0; // it has come meanwhile
		assert_string_equal(said(f, "F081", "severity"), "nothing");
	}
}

static void test_userspace(void **)
{
	struct doctor_mtu_facts *f = host(1500, true);
	assert_string_equal(said(f, "F087", "severity"), "nothing");
	f->n_userspace = 2;
	assert_string_equal(said(f, "F087", "severity"), "info");
	assert_string_equal(
		said(f, "F087", "evidence"), "2 tailscaled with --tun=userspace-networking");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_counts),
		cmocka_unit_test(test_recommended),
		cmocka_unit_test(test_dropped),
		cmocka_unit_test(test_userspace),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
