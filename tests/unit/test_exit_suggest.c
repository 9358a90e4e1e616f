#include "tests/unit/netmap_text.h"

#include <stdio.h>
#include <stdlib.h>

#include "control/tailnet/exit_suggest.h"

#define CAP ",\"CapMap\":{\"suggest-exit-node\":null}"
#define EXIT(n) ",\"AllowedIPs\":[\"100.64.0." n "/32\",\"0.0.0.0/0\",\"::/0\"]"
#define ON ",\"Online\":true"
#define NODE(n, derp, rest)                                                                        \
	PEER(n, n, ",\"StableID\":\"n" n "\",\"HomeDERP\":" derp "," ADDR(n) rest)

// Random numbers 0 to 11 give these nodes, several with bars between.
static const struct suggestion {
	const char *name, *peers, *before, *node;
	uint32_t measured[3]; // region, milliseconds, milliseconds of its HTTPS
} suggestions[] = {
	{"one", NODE("2", "5", ON CAP EXIT("2")), "", "n2", {}},
	{"the nearer region", NODE("2", "5", ON CAP EXIT("2")) "," NODE("3", "6", ON CAP EXIT("3")),
		"", "n3", {6, 10}},
	{"by HTTPS", NODE("2", "5", ON CAP EXIT("2")) "," NODE("3", "6", ON CAP EXIT("3")), "",
		"n2", {5, 0, 20}},
	{"none measured", NODE("2", "5", ON CAP EXIT("2")) "," NODE("3", "6", ON CAP EXIT("3")), "",
		"n2|n3", {7, 1}},
	{"several in the region",
		NODE("2", "6", ON CAP EXIT("2")) "," NODE("3", "6", ON CAP EXIT("3")) "," NODE(
			"4", "5", ON CAP EXIT("4")),
		"", "n2|n3", {6, 9}},
	{"the one before",
		NODE("2", "6", ON CAP EXIT("2")) "," NODE("3", "6", ON CAP EXIT("3")) "," NODE(
			"4", "5", ON CAP EXIT("4")),
		"n3", "n3", {6, 9}},
	{"the one before is elsewhere",
		NODE("2", "6", ON CAP EXIT("2")) "," NODE("4", "5", ON CAP EXIT("4")), "n4", "n2",
		{6, 9}},
	{"offline", NODE("2", "5", ",\"Online\":false" CAP EXIT("2")), "", "", {}},
	{"nobody knows whether", NODE("2", "5", CAP EXIT("2")), "", "", {}},
	{"not suggested", NODE("2", "5", ON EXIT("2")), "", "", {}},
	{"not approved", NODE("2", "5", ON CAP), "", "", {}},
	{"only IPv4", NODE("2", "5", ON CAP ",\"AllowedIPs\":[\"100.64.0.2/32\",\"0.0.0.0/0\"]"),
		"", "", {}},
	{"no home", NODE("2", "0", ON CAP EXIT("2")), "", "", {}},
	{"expired", NODE("2", "5", ON CAP EXIT("2") ",\"Expired\":true"), "", "", {}},
};

static void test_suggestions(void **)
{
	for (unsigned i = 0; i < sizeof(suggestions) / sizeof(suggestions[0]); i++) {
		const struct suggestion *s = &suggestions[i];
		struct netcheck_report report = {.preferred = 5};
		struct netmap *nm = new_netmap();
		char text[8192], all[64];
		const char *why;
		snprintf(text, sizeof(text), "{" SELF ",\"Peers\":[%s]}", s->peers);
		apply(nm, text);
		report.latency[0] = (struct netcheck_latency){.region = s->measured[0],
			.v4_ns = s->measured[1] * UINT64_C(1000000),
			.https_ns = s->measured[2] * UINT64_C(1000000)};
		report.n_latency = s->measured[0] > 0;
		for (uint32_t random = 0; random < 12; random++) {
			const struct nm_node *n =
				exit_suggest(nm, &report, s->before, random, &why);
			const char *id = n ? n->stable_id : "";
			snprintf(all, sizeof(all), "|%s|", s->node);
			snprintf(text, sizeof(text), "|%s|", id);
			if (!strstr(all, text) || why)
				fail_msg("%s: %s for %u", s->name, id, random);
		}
		// Each of several is chosen sometimes.
		if (strchr(s->node, '|'))
			assert_ptr_not_equal(exit_suggest(nm, &report, s->before, 0, &why),
				exit_suggest(nm, &report, s->before, 1, &why));
		netmap_destroy(nm);
	}
}

static void test_too_early(void **)
{
	const struct netcheck_report none = {0}, home = {.preferred = 5};
	struct netmap *nm = new_netmap();
	const char *why;
	assert_null(exit_suggest(nm, &home, "", 0, &why));
	assert_string_equal(why, "no preferred DERP, try again later");
	apply(nm, "{" SELF ",\"Peers\":[" NODE("2", "5", ON CAP EXIT("2")) "]}");
	assert_null(exit_suggest(nm, &none, "", 0, &why));
	assert_non_null(why);
	assert_non_null(exit_suggest(nm, &home, "", 0, &why));
	assert_null(why);
	netmap_destroy(nm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_suggestions),
		cmocka_unit_test(test_too_early),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
