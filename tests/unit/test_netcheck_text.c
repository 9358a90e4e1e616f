// Reports as text and JSON: byte for byte what 'tailscale netcheck' prints for the same conditions.
// The first three are recorded from it (1.103), behind a hard NAT, an easy one and none.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "control/path/netcheck.h"

#define US UINT64_C(1000)
#define MS UINT64_C(1000000)

static struct nm_derp_region lab_regions[] = {
	{.id = 901, .code = "lab901", .name = "Lab 901"},
	{.id = 902, .code = "lab902", .name = "Lab 902"},
};
static const struct nm_derp_map lab = {.regions = lab_regions, .n_regions = 2};

static struct nm_derp_region world_regions[] = {
	{.id = 1, .code = "nyc", .name = "New York City"},
	{.id = 2, .code = "x", .name = "One letter"},
	{.id = 3, .code = "m\xc3\xbcn", .name = "M\xc3\xbcnchen"},
	{.id = 10, .code = "bad", .name = "clear\x1b[2J"},
	{.id = 11, .code = NULL, .name = NULL},
};
static const struct nm_derp_map world = {.regions = world_regions, .n_regions = 5};

// 2026-11-21 05:54:00.443816706 UTC
#define NOW UINT64_C(1795240440443816706)

static const struct {
	const char *name;
	const struct nm_derp_map *map;
	const char *v4, *v6;
	struct netcheck_report report;
	bool verbose;
	const char *want;
} texts[] = {
	{"hard NAT", &lab, "10.77.0.13:59575", NULL,
		{.unix_ns = NOW,
			.udp = true,
			.os_has_ipv6 = true,
			.mapping_varies = 1,
			.preferred = 901,
			.latency = {{901, 104 * US}, {902, 312 * US}},
			.n_latency = 2},
		false,
		"\nReport:\n"
		"\t* Time: 2026-11-21 05:54:00.443816706Z\n"
		"\t* UDP: true\n"
		"\t* IPv4: yes, 10.77.0.13:59575\n"
		"\t* IPv6: no, but OS has support\n"
		"\t* MappingVariesByDestIP: true\n"
		"\t* PortMapping: \n"
		"\t* Nearest DERP: Lab 901\n"
		"\t* DERP latency:\n"
		"\t\t- lab901: 100µs   (Lab 901)\n"
		"\t\t- lab902: 300µs   (Lab 902)\n"},
	{"easy NAT", &lab, "10.77.0.12:57351", NULL,
		{.unix_ns = NOW - 267500590,
			.udp = true,
			.os_has_ipv6 = true,
			.preferred = 901,
			.latency = {{901, 250 * US}, {902, 549 * US}},
			.n_latency = 2},
		false,
		"\nReport:\n"
		"\t* Time: 2026-11-21 05:54:00.176316116Z\n"
		"\t* UDP: true\n"
		"\t* IPv4: yes, 10.77.0.12:57351\n"
		"\t* IPv6: no, but OS has support\n"
		"\t* MappingVariesByDestIP: false\n"
		"\t* PortMapping: \n"
		"\t* Nearest DERP: Lab 901\n"
		"\t* DERP latency:\n"
		"\t\t- lab901: 300µs   (Lab 901)\n"
		"\t\t- lab902: 500µs   (Lab 902)\n"},
	{"no NAT, the second is nearer", &lab, "10.77.0.11:44092", NULL,
		{.unix_ns = NOW - 443816706,
			.udp = true,
			.os_has_ipv6 = true,
			.preferred = 902,
			.latency = {{901, 201 * US}, {902, 199 * US}},
			.n_latency = 2},
		false,
		"\nReport:\n"
		"\t* Time: 2026-11-21 05:54:00Z\n"
		"\t* UDP: true\n"
		"\t* IPv4: yes, 10.77.0.11:44092\n"
		"\t* IPv6: no, but OS has support\n"
		"\t* MappingVariesByDestIP: false\n"
		"\t* PortMapping: \n"
		"\t* Nearest DERP: Lab 902\n"
		"\t* DERP latency:\n"
		"\t\t- lab902: 200µs   (Lab 902)\n"
		"\t\t- lab901: 200µs   (Lab 901)\n"},
	{"everything, verbose", &world, "203.0.113.5:41641", "[2001:db8::1]:41641",
		{.unix_ns = NOW - 816706,
			.udp = true,
			.ipv6 = true,
			.mapping_varies = -1,
			.upnp = 1,
			.pmp = 1,
			.pcp = 1,
			.captive_portal = 0,
			.preferred = 1,
			.latency = {{1, 13 * MS + 240 * US}, {2, 0, 0, 1234567890},
				{3, 20 * MS, 13 * MS}, {10, 40 * US}},
			.n_latency = 4},
		true,
		"\nReport:\n"
		"\t* Time: 2026-11-21 05:54:00.443Z\n"
		"\t* UDP: true\n"
		"\t* IPv4: yes, 203.0.113.5:41641\n"
		"\t* IPv6: yes, [2001:db8::1]:41641\n"
		"\t* MappingVariesByDestIP: \n"
		"\t* PortMapping: UPnP, NAT-PMP, PCP\n"
		"\t* CaptivePortal: false\n"
		"\t* Nearest DERP: New York City\n"
		"\t* DERP latency:\n"
		"\t\t- bad: 0s      (derp10, clear?[2J)\n"
		"\t\t- m\xc3\xbcn: 13ms    (derp3, M\xc3\xbcnchen)\n"
		"\t\t- nyc: 13.2ms  (derp1, New York City)\n"
		"\t\t-   x: 1.2346s (derp2, One letter)\n"
		"\t\t-    :         (derp11, )\n"},
	{"nothing", &lab, NULL, NULL,
		{.unix_ns = NOW,
			.mapping_varies = -1,
			.upnp = -1,
			.pmp = -1,
			.pcp = -1,
			.captive_portal = 1},
		false,
		"\nReport:\n"
		"\t* Time: 2026-11-21 05:54:00.443816706Z\n"
		"\t* UDP: false\n"
		"\t* IPv4: (no addr found)\n"
		"\t* IPv6: no, unavailable in OS\n"
		"\t* MappingVariesByDestIP: \n"
		"\t* PortMapping: not checked\n"
		"\t* CaptivePortal: true\n"
		"\t* Nearest DERP: unknown (no response to latency probes)\n"},
	{"odd: no home, IPv6 without address, an hour", &lab, NULL, NULL,
		{.unix_ns = NOW,
			.ipv6 = true,
			.pmp = 1,
			.latency = {{901, 0, 3723 * 1000 * MS + 500 * MS},
				{902, 0, 65 * 1000 * MS}},
			.n_latency = 2},
		false,
		"\nReport:\n"
		"\t* Time: 2026-11-21 05:54:00.443816706Z\n"
		"\t* UDP: false\n"
		"\t* IPv4: (no addr found)\n"
		"\t* IPv6: (no addr found)\n"
		"\t* MappingVariesByDestIP: false\n"
		"\t* PortMapping: NAT-PMP\n"
		"\t* CaptivePortal: false\n"
		"\t* Nearest DERP: [none]\n"
		"\t* DERP latency:\n"
		"\t\t- lab902: 1m5s    (Lab 902)\n"
		"\t\t- lab901: 1h2m3.5s (Lab 901)\n"},
	{"home is in no map", &(const struct nm_derp_map){0}, NULL, NULL,
		{.unix_ns = NOW, .preferred = 7, .latency = {{7, MS}}, .n_latency = 1}, false,
		"\nReport:\n"
		"\t* Time: 2026-11-21 05:54:00.443816706Z\n"
		"\t* UDP: false\n"
		"\t* IPv4: (no addr found)\n"
		"\t* IPv6: no, unavailable in OS\n"
		"\t* MappingVariesByDestIP: false\n"
		"\t* PortMapping: \n"
		"\t* CaptivePortal: false\n"
		"\t* Nearest DERP: 7 (region not found in map)\n"
		"\t* DERP latency:\n"},
};

static struct endpoint endpoint_of(const char *text)
{
	struct endpoint e = {0};

	if (text)
		assert_int_equal(endpoint_parse(text, &e), 0);
	return e;
}

static void test_texts(void **)
{
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct netcheck_report report = texts[i].report;

		print_message("%s\n", texts[i].name);
		report.global_v4 = endpoint_of(texts[i].v4);
		report.global_v6 = endpoint_of(texts[i].v6);
		if (i < 3) // recorded when there was no portal to look for
			report.captive_portal = -1;
		char *const text = netcheck_text(&report, texts[i].map, texts[i].verbose);
		assert_string_equal(text, texts[i].want);
		free(text);
	}
}

static void test_time_zones(void **)
{
	static const struct {
		const char *zone, *want;
	} cases[] = {
		{"UTC0", "\n\t* Time: 2026-11-21 05:54:00.443816706Z\n"},
		{"CEST-2", "\n\t* Time: 2026-11-21 07:54:00.443816706+02:00\n"},
		{"NST3:30", "\n\t* Time: 2026-11-21 02:24:00.443816706-03:30\n"},
	};
	const struct netcheck_report report = {.unix_ns = NOW};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		setenv("TZ", cases[i].zone, 1);
		tzset();
		char *const text = netcheck_text(&report, &lab, false);
		assert_non_null(strstr(text, cases[i].want));
		free(text);
	}
	setenv("TZ", "UTC0", 1);
	tzset();
}

static const char json_full[] = "{\n"
				"\t\"Now\": \"2026-11-21T05:54:00.443816706Z\",\n"
				"\t\"UDP\": true,\n"
				"\t\"IPv6\": true,\n"
				"\t\"IPv4\": true,\n"
				"\t\"IPv6CanSend\": true,\n"
				"\t\"IPv4CanSend\": true,\n"
				"\t\"OSHasIPv6\": true,\n"
				"\t\"ICMPv4\": false,\n"
				"\t\"MappingVariesByDestIP\": true,\n"
				"\t\"UPnP\": false,\n"
				"\t\"PMP\": null,\n"
				"\t\"PCP\": true,\n"
				"\t\"PreferredDERP\": 9,\n"
				"\t\"RegionLatency\": {\n"
				"\t\t\"10\": 300,\n"
				"\t\t\"9\": 100\n"
				"\t},\n"
				"\t\"RegionV4Latency\": {\n"
				"\t\t\"10\": 300,\n"
				"\t\t\"9\": 200\n"
				"\t},\n"
				"\t\"RegionV6Latency\": {\n"
				"\t\t\"9\": 100\n"
				"\t},\n"
				"\t\"GlobalV4Counters\": {\n"
				"\t\t\"192.0.2.1:1\": 2,\n"
				"\t\t\"192.0.2.1:2\": 1\n"
				"\t},\n"
				"\t\"GlobalV6Counters\": null,\n"
				"\t\"GlobalV4\": \"192.0.2.1:2\",\n"
				"\t\"GlobalV6\": \"\",\n"
				"\t\"CaptivePortal\": null\n"
				"}";

static const char json_empty[] =
	"{\"Now\":\"1970-01-01T00:00:00Z\",\"UDP\":false,\"IPv6\":false,\"IPv4\":false,"
	"\"IPv6CanSend\":false,\"IPv4CanSend\":false,\"OSHasIPv6\":false,\"ICMPv4\":false,"
	"\"MappingVariesByDestIP\":null,\"UPnP\":null,\"PMP\":null,\"PCP\":null,"
	"\"PreferredDERP\":0,\"RegionLatency\":{},\"RegionV4Latency\":{},\"RegionV6Latency\":{},"
	"\"GlobalV4Counters\":null,\"GlobalV6Counters\":null,\"GlobalV4\":\"\",\"GlobalV6\":\"\","
	"\"CaptivePortal\":null}";

static void test_json(void **)
{
	struct netcheck_report report = {
		.unix_ns = NOW,
		.udp = true,
		.ipv4 = true,
		.ipv6 = true,
		.ipv4_can_send = true,
		.ipv6_can_send = true,
		.os_has_ipv6 = true,
		.mapping_varies = 1,
		.upnp = 0,
		.pmp = -1,
		.pcp = 1,
		.captive_portal = -1,
		.preferred = 9,
		.global_v4 = endpoint_of("192.0.2.1:2"),
		.globals = {endpoint_of("192.0.2.1:2"), endpoint_of("192.0.2.1:1")},
		.global_seen = {1, 2},
		.n_globals = 2,
		.latency = {{9, 200, 100}, {10, 300}},
		.n_latency = 2,
	};
	char *text = netcheck_json(&report, true);

	assert_string_equal(text, json_full);
	free(text);
	report = (struct netcheck_report){
		.mapping_varies = -1, .upnp = -1, .pmp = -1, .pcp = -1, .captive_portal = -1};
	text = netcheck_json(&report, false);
	assert_string_equal(text, json_empty);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_time_zones),
		cmocka_unit_test(test_json),
	};
	setenv("TZ", "UTC0", 1);
	tzset();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
