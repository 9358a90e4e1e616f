// control/default_port: tables of the kernel as text.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "control/default_port.h"

#define HEAD4 "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
#define ZERO "00000000000000000000000000000000"

static const struct {
	const char *what, *text;
	bool v6;
	const char *expect; // NULL: none
} cases[] = {
	{"nothing", "", false, NULL},
	{"no default", HEAD4 "eth0\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n", false,
		NULL},
	{"half of everything", HEAD4 "tun0\t00000000\t00000000\t0001\t0\t0\t0\t00000080\t0\t0\t0\n",
		false, NULL},
	{"down", HEAD4 "eth0\t00000000\t0101A8C0\t0002\t0\t0\t0\t00000000\t0\t0\t0\n", false, NULL},
	{"unreachable", HEAD4 "*\t00000000\t00000000\t0201\t0\t0\t0\t00000000\t0\t0\t0\n", false,
		NULL},
	{"cut short", HEAD4 "eth0\t00000000\t0101A8C0\t0003\n", false, NULL},
	{"one", HEAD4 "eth0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n", false,
		"eth0"},
	{"lowest metric",
		HEAD4 "wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n"
		      "eth1\t00000000\t0102A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
		      "eth2\t00000000\t0102A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n",
		false, "eth1"},
	{"v6: the kernel's own reject route",
		ZERO " 00 " ZERO " 00 " ZERO " ffffffff 00000001 00000000 00200200       lo\n",
		true, NULL},
	{"v6: not a default",
		"fd000000000000000000000000000000 40 " ZERO " 00 " ZERO
		" 00000100 00000001 00000000 00000001     eth0\n",
		true, NULL},
	{"v6",
		ZERO " 00 " ZERO
		     " 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003"
		     "     eth3\n",
		true, "eth3"},
};

static void test_tables(void **)
{
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char name[IFNAME_LEN] = "untouched";
		FILE *f =
			fmemopen((void *)(uintptr_t)cases[i].text, strlen(cases[i].text) + 1, "r");
		bool found = default_route_interface(f, cases[i].v6, name);
		fclose(f);
		if (found != (cases[i].expect != NULL))
			fail_msg("%s", cases[i].what);
		if (found)
			assert_string_equal(name, cases[i].expect);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_tables)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
