// Networks of a routing daemon: which of them are offered, and when, as routes come and go.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <linux/rtnetlink.h>
#include <rte_common.h>
#include <stdio.h>

#include "control/tailnet/learned.h"

static struct ip_prefix prefix(const char *text)
{
	struct ip_prefix p;
	if (ip_prefix_parse(text, &p) < 0)
		fail_msg("%s", text);
	return p;
}

static void test_wants(void **)
{
	const struct config_learned of_daemons = {
		.range = {{prefix("10.0.0.0/8"), 24}, {prefix("100.0.0.0/6"), 32},
			{prefix("fd00::/8"), 64}, {prefix("0.0.0.0/0"), 8}},
		.n_ranges = 4,
	};
	static const struct {
		const char *prefix;
		uint8_t protocol;
		bool wanted;
	} cases[] = {
		{"10.0.0.0/8", RTPROT_BGP, true},
		{"10.1.0.0/24", RTPROT_BGP, true},
		{"10.1.0.0/24", RTPROT_BIRD, true},
		{"10.1.0.0/24", RTPROT_OSPF, true},
		{"10.1.0.0/24", RTPROT_KERNEL, false},
		{"10.1.0.0/24", RTPROT_BOOT, false},
		{"10.1.0.0/24", RTPROT_STATIC, false},
		{"10.1.0.0/24", RTPROT_RA, false},
		{"10.1.0.0/24", 41, false}, // ours
		{"10.1.0.0/25", RTPROT_BGP, false},
		{"10.1.0.1/32", RTPROT_BGP, false},
		{"12.0.0.0/8", RTPROT_BGP, true},
		{"12.0.0.0/9", RTPROT_BGP, false},
		{"0.0.0.0/0", RTPROT_BGP, false},
		{"::/0", RTPROT_BGP, false},
		{"fd01::/64", RTPROT_BGP, true},
		{"fd01::/65", RTPROT_BGP, false},
		{"2001:db8::/32", RTPROT_BGP, false},
		{"101.0.0.0/16", RTPROT_BGP, true},
		// the tailnet's, also in part and as a part
		{"100.64.0.0/10", RTPROT_BGP, false},
		{"100.64.0.7/32", RTPROT_BGP, false},
		{"100.0.0.0/8", RTPROT_BGP, false},
		{"fd7a:115c:a1e0::/48", RTPROT_BGP, false},
		{"fd7a:115c:a1e0:b1a::/64", RTPROT_BGP, false},
		{"fd7a::/16", RTPROT_BGP, false},
		// nobody's
		{"127.0.0.0/8", RTPROT_BGP, false},
		{"224.0.0.0/8", RTPROT_BGP, false},
	};
	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		const struct ip_prefix p = prefix(cases[i].prefix);
		print_message("%s proto %u\n", cases[i].prefix, cases[i].protocol);
		assert_int_equal(
			learned_wants(&of_daemons, &p, cases[i].protocol), cases[i].wanted);
	}
	const struct config_learned named = {.range = {{prefix("10.0.0.0/8"), 24}},
		.n_ranges = 1,
		.protocol = {RTPROT_STATIC},
		.n_protocols = 1};
	const struct ip_prefix p = prefix("10.1.0.0/24");
	assert_true(learned_wants(&named, &p, RTPROT_STATIC));
	assert_false(learned_wants(&named, &p, RTPROT_BGP));
	assert_false(learned_wants(&(struct config_learned){0}, &p, RTPROT_BGP));
}

// -- coming and going -----------------------------------------------------------------------------

enum { NETWORKS = 10 };

static bool there[NETWORKS]; // 10.I.0.0/16
static unsigned rotate;	     // where the list begins

static struct ip_prefix network(unsigned i)
{
	struct ip_prefix p = prefix("10.0.0.0/16");
	p.addr.bytes[1] = (uint8_t)i;
	return p;
}

static bool is_there(void *, const struct ip_prefix *p)
{
	return there[p->addr.bytes[1]];
}

static uint32_t list(void *, struct ip_prefix *out, uint32_t max)
{
	uint32_t n = 0;
	for (unsigned i = 0; i < NETWORKS; i++) {
		unsigned at = (i + rotate) % NETWORKS;
		if (there[at] && n++ < max)
			out[n - 1] = network(at);
	}
	return n;
}

static const struct learned_view view = {.is_there = is_there, .list = list};

// Digits of the networks.
static void set_there(const char *digits)
{
	for (unsigned i = 0; i < NETWORKS; i++)
		there[i] = strchr(digits, '0' + (int)i) != NULL;
}

static void assert_offered(const struct learned *l, const char *digits)
{
	char text[NETWORKS + 1] = "";
	for (uint32_t i = 0; i < l->n_offered; i++)
		text[i] = (char)('0' + l->offered[i].addr.bytes[1]);
	assert_string_equal(text, digits);
}

#define S(s) ((s)*UINT64_C(1000000000))

static void test_flapping(void **)
{
	static const struct {
		unsigned at_s;
		const char *there; // NULL: nothing is heard, time passes
		const char *offered;
		uint32_t held;
	} steps[] = {
		{100, "13", "13", 0}, {101, "137", "137", 0}, {102, "37", "37", 0},
		{103, "137", "137", 0},			     // once is forgiven
		{104, "37", "37", 0}, {105, "137", "37", 1}, // twice is not
		{134, NULL, "37", 1}, {135, NULL, "137", 0}, {140, "37", "37", 0},
		{141, "137", "37", 1}, {170, "37", "37", 0}, // and the time begins anew
		{171, "137", "37", 1}, {200, NULL, "37", 1}, {201, NULL, "137", 0},
		{260, NULL, "137", 0}, // quiet for long enough
		{261, "37", "37", 0}, {262, "137", "137", 0}, {263, "", "", 0}, {322, "", "", 0},
		{323, "1", "1", 0}, // everything is forgotten by now
	};
	struct learned l = {0};
	const char *before = "";
	for (unsigned i = 0; i < RTE_DIM(steps); i++) {
		print_message("%u s\n", steps[i].at_s);
		if (steps[i].there)
			set_there(steps[i].there);
		bool changed = steps[i].there ? learned_update(&l, &view, 5, S(steps[i].at_s))
					      : learned_tick(&l, S(steps[i].at_s));
		assert_offered(&l, steps[i].offered);
		assert_int_equal(changed, strcmp(before, steps[i].offered) != 0);
		assert_int_equal(l.held, steps[i].held);
		before = steps[i].offered;
	}
	learned_fini(&l);
}

// Where another gateway serves, it gets new networks first.
static void test_wait(void **)
{
	struct learned l = {0};
	set_there("1");
	assert_true(learned_update(&l, &view, 5, S(1)));
	l.wait = true;
	set_there("12");
	assert_false(learned_update(&l, &view, 5, S(2)));
	assert_offered(&l, "1"); // what is offered stays
	assert_int_equal(l.held, 1);
	assert_false(learned_tick(&l, S(6)));
	assert_true(learned_tick(&l, S(7)));
	assert_offered(&l, "12");
	set_there("123");
	assert_false(learned_update(&l, &view, 5, S(8)));
	l.wait = false; // the other has left
	assert_true(learned_tick(&l, S(9)));
	assert_offered(&l, "123");
	learned_fini(&l);
}

static void test_within(void **)
{
	const struct config_learned c = {.range = {{prefix("10.0.0.0/8"), 24}}, .n_ranges = 1};
	static const struct {
		const char *prefix;
		bool within;
	} cases[] = {
		{"10.0.0.0/8", true},
		{"10.1.2.0/28", true}, // longer than what is learned
		{"8.0.0.0/5", false},
		{"11.0.0.0/8", false},
		{"a00::/8", false},
	};
	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		const struct ip_prefix p = prefix(cases[i].prefix);
		assert_int_equal(learned_is_within(&c, &p), cases[i].within);
		assert_false(learned_is_within(&(struct config_learned){0}, &p));
	}
}

// However often a network comes and goes, the server hears of it twice in 30 s at most.
static void test_flood(void **)
{
	struct learned l = {0};
	unsigned changes = 0;
	for (unsigned s = 1; s <= 600; s++) {
		set_there(s % 2 ? "1" : "");
		changes += learned_update(&l, &view, 5, S(s));
	}
	assert_in_range(changes, 1, 5);
	for (unsigned s = 601; s <= 1200; s++) { // there for 31 s, gone for one
		set_there(s % 32 ? "1" : "");
		changes += learned_update(&l, &view, 5, S(s));
	}
	assert_in_range(changes, 1, 5 + 2 * 600 / 30);
	learned_fini(&l);
}

static void test_limit(void **)
{
	struct learned l = {0};
	set_there("0123");
	assert_true(learned_update(&l, &view, 3, S(1)));
	assert_offered(&l, "012");
	assert_int_equal(l.left_out, 1);
	rotate = 3; // the kernel lists others first: those that are offered stay
	set_there("0123456789");
	assert_false(learned_update(&l, &view, 3, S(2)));
	assert_offered(&l, "012");
	assert_int_equal(l.left_out, 7);
	set_there("023456789");
	assert_true(learned_update(&l, &view, 3, S(3)));
	assert_offered(&l, "023");
	set_there("13456789"); // what is there already goes before what comes back
	assert_true(learned_update(&l, &view, 3, S(4)));
	assert_int_equal(l.n_offered, 3);
	assert_int_equal(l.left_out, 5);
	assert_in_range(l.n, 3, 6);
	for (unsigned s = 5; s < 100; s++) { // nor do those that went pile up
		set_there(s % 2 ? "01234" : "56789");
		learned_update(&l, &view, 3, S(s));
		assert_in_range(l.n, 0, 6);
		assert_in_range(l.n_offered, 0, 3);
	}
	rotate = 0;
	set_there("01234");
	learned_update(&l, &view, 2, S(1000)); // lowered
	assert_int_equal(l.n_offered, 2);
	set_there("");
	assert_true(learned_update(&l, &view, 2, S(1001)));
	assert_offered(&l, "");
	assert_int_equal(l.left_out, 0);
	learned_fini(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wants),
		cmocka_unit_test(test_flapping),
		cmocka_unit_test(test_wait),
		cmocka_unit_test(test_within),
		cmocka_unit_test(test_flood),
		cmocka_unit_test(test_limit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
