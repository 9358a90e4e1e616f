// Which of two ways is better.
#include "tests/unit/path_vectors.h"

#include "control/path/endpoint.h"

static const uint64_t MS = UINT64_C(1000000);

#define A "192.0.2.1:1"
#define B "192.0.2.2:2"
#define SIX "[2001:db8::1]:6"

static void test_better(void **)
{
	static const struct {
		const char *name, *a;
		uint32_t a_vni;
		unsigned a_ms;
		const char *b;
		uint32_t b_vni;
		unsigned b_ms;
		bool want;
	} cases[] = {
		{"anything against nothing", A, 0, 900, NULL, 0, 0, true},
		{"nothing against anything", NULL, 0, 0, A, 0, 900, false},
		{"itself", A, 0, 1, A, 0, 100, false},
		{"1 % faster is the same", A, 0, 99, B, 0, 100, false},
		{"2 % faster", A, 0, 98, B, 0, 100, true},
		{"slower", A, 0, 100, B, 0, 98, false},
		{"direct over a fast relay", A, 0, 900, B, 7, 1, true},
		{"no relay over direct", A, 7, 1, B, 0, 900, false},
		{"faster relay", A, 7, 10, B, 7, 20, true},
		{"IPv6, 9 % slower", SIX, 0, 100, A, 0, 91, true},
		{"IPv6, 11 % slower", SIX, 0, 100, A, 0, 89, false},
		{"private, 19 % slower", "10.0.0.1:1", 0, 100, A, 0, 81, true},
		{"link-local, 29 % slower", "169.254.0.1:1", 0, 100, A, 0, 71, true},
		{"loopback, 49 % slower", "127.0.0.1:1", 0, 100, A, 0, 51, true},
		{"loopback, 51 % slower", "127.0.0.1:1", 0, 100, A, 0, 49, false},
		{"172.32 is public", "172.32.0.1:1", 0, 100, A, 0, 95, false},
		{"unique local", "[fd00::1]:1", 0, 100, SIX, 0, 81, true},
		{"no time at all", A, 0, 0, B, 0, 0, false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct path_quality a = {.mtu = PATH_MTU}, b = {.mtu = PATH_MTU};

		print_message("%s\n", cases[i].name);
		if (cases[i].a)
			a.addr = (struct path_addr){endpoint_of(cases[i].a), cases[i].a_vni};
		if (cases[i].b)
			b.addr = (struct path_addr){endpoint_of(cases[i].b), cases[i].b_vni};
		a.latency_ns = cases[i].a_ms * MS;
		b.latency_ns = cases[i].b_ms * MS;
		assert_true(path_better(&a, &b) == cases[i].want);
	}
	const struct path_quality small = {.addr.to.port = 1, .mtu = 1360};
	const struct path_quality large = {.addr.to.port = 1, .mtu = 1500};
	assert_true(path_better(&large, &small));
	assert_false(path_better(&small, &large));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_better)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
