// What the capabilities of our node say of app connectors and services.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <rte_common.h>

#include "tests/unit/netmap_text.h"

static struct netmap *with_caps(const char *caps)
{
	struct netmap *nm = new_netmap();
	char text[4096];
	snprintf(text, sizeof(text),
		"{\"Node\":{\"ID\":1,\"Name\":\"us.\",\"Key\":" NODEKEY("1") "," ADDR(
			"1") ","
			     "\"CapMap\":{%s}}}",
		caps);
	apply(nm, text);
	return nm;
}

#define APPS(values) "\"tailscale.com/app-connectors\":" values

static void test_apps_read(void **)
{
	static const struct {
		const char *caps;
		unsigned apps, skipped;
	} cases[] = {
		{"", 0, 0},
		{APPS("null"), 0, 0},
		{APPS("[]"), 0, 0},
		{APPS("[{}]"), 1, 0},
		{APPS("[{\"name\":\"x\",\"domains\":[\"a.b\"],\"routes\":[\"192.0.2.0/24\"],"
		      "\"connectors\":[\"*\"],\"more\":7}]"),
			1, 0},
		{APPS("[{\"name\":\"x\"},{\"name\":\"y\"}]"), 2, 0},
		{APPS("[{\"domains\":null,\"routes\":null}]"), 1, 0},
		{APPS("[7,{\"name\":\"y\"}]"), 1, 1},
		{APPS("[{\"name\":7}]"), 0, 1},
		{APPS("[{\"domains\":\"a.b\"}]"), 0, 1},
		{APPS("[{\"domains\":[7]}]"), 0, 1},
		{APPS("[{\"connectors\":{}}]"), 0, 1},
		{APPS("[{\"routes\":[\"192.0.2.0\",\"x\"]}]"), 0, 1},
		{APPS("[\"text\"]"), 0, 1},
	};
	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		struct netmap *nm = with_caps(cases[i].caps);
		struct arena arena = {0};
		struct nm_app *apps;
		uint64_t skipped = 0;
		print_message("%s\n", cases[i].caps);
		assert_int_equal(nm_apps_read(&arena, nm->self, &apps, &skipped), cases[i].apps);
		assert_int_equal(skipped, cases[i].skipped);
		arena_fini(&arena);
		netmap_destroy(nm);
	}
	struct netmap *nm = with_caps(cases[4].caps);
	struct arena arena = {0};
	struct nm_app *app;
	uint64_t skipped = 0;
	assert_int_equal(nm_apps_read(&arena, nm->self, &app, &skipped), 1);
	assert_string_equal(app->name, "x");
	assert_string_equal(app->domains[0], "a.b");
	assert_string_equal(app->connectors[0], "*");
	assert_int_equal(app->routes[0].len, 24);
	assert_int_equal(nm_apps_read(&arena, NULL, &app, &skipped), 0);
	arena_fini(&arena);
	netmap_destroy(nm);
}

static void test_names(void **)
{
	static const struct {
		const char *name;
		bool valid;
	} cases[] = {
		{"svc:web", true},
		{"svc:a", true},
		{"svc:a-b-9", true},
		{"svc:9", true},
		{"svc:"
		 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
			true},
		{"svc:"
		 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
			false},
		{"", false},
		{"web", false},
		{"svc:", false},
		{"SVC:web", false},
		{"svc:-a", false},
		{"svc:a-", false},
		{"svc:a.b", false},
		{"svc:a_b", false},
		{"svc:a b", false},
	};
	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		print_message("%s\n", cases[i].name);
		assert_int_equal(nm_service_name_valid(cases[i].name), cases[i].valid);
	}
}

#define HOST(values) "\"service-host\":" values

static void test_assigned(void **)
{
	static const struct {
		const char *caps, *read; // "name addr addr; name"
		unsigned skipped;
	} cases[] = {
		{"", "", 0},
		{HOST("null"), "", 0},
		{HOST("[]"), "", 0},
		{HOST("[{}]"), "", 0},
		{HOST("[{\"svc:web\":[\"100.65.0.1\",\"fd7a:115c:a1e0::1\"]}]"),
			"svc:web 100.65.0.1 fd7a:115c:a1e0::1", 0},
		{HOST("[{\"svc:a\":[\"100.65.0.1\"]},{\"svc:b\":[]}]"), "svc:a 100.65.0.1; svc:b",
			0},
		{HOST("[{\"svc:a\":[\"100.65.0.1\"]},{\"svc:a\":[\"100.65.0.2\"]}]"),
			"svc:a 100.65.0.2", 0},
		{HOST("[7]"), "", 1},
		{HOST("[[]]"), "", 1},
		{HOST("[{\"web\":[\"100.65.0.1\"]}]"), "", 1},
		{HOST("[{\"svc:a\":\"100.65.0.1\"}]"), "", 1},
		{HOST("[{\"svc:a\":[\"x\"]}]"), "", 1},
		{HOST("[{\"svc:a\":[100]}]"), "", 1},
		{HOST("[{\"svc:a\":[\"100.65.0.1\",\"100.65.0.2\",\"100.65.0.3\",\"100.65.0.4\","
		      "\"100.65.0.5\"]}]"),
			"", 1},
		{HOST("[{\"svc:a\":null,\"svc:b\":[\"100.65.0.1\"]}]"), "svc:b 100.65.0.1", 1},
	};
	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		struct netmap *nm = with_caps(cases[i].caps);
		struct arena arena = {0};
		struct nm_service *list;
		uint64_t skipped = 0;
		char all[1024] = "", one[ADDR_TEXT_LEN];
		print_message("%s\n", cases[i].caps);
		uint32_t n = nm_services_read(&arena, nm->self, &list, &skipped);
		for (uint32_t j = 0; j < n; j++) {
			size_t len = strlen(all);
			snprintf(all + len, sizeof(all) - len, "%s%s", j ? "; " : "", list[j].name);
			for (uint32_t k = 0; k < list[j].n_addrs; k++) {
				len = strlen(all);
				snprintf(all + len, sizeof(all) - len, " %s",
					ip_addr_format(&list[j].addrs[k], one));
			}
		}
		assert_string_equal(all, cases[i].read);
		assert_int_equal(skipped, cases[i].skipped);
		arena_fini(&arena);
		netmap_destroy(nm);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_apps_read),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_assigned),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
