#include "control/ctl/trace.h"
#include "tests/unit/ctl_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
// after the above, as cmocka asks
#include <cmocka.h>

#define ETH "\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x02"
#define IP4(len, proto) "\x45\0\0" len "\0\0\0\0\x40" proto "\0\0\x0a\0\0\1\x0a\0\0\2"
#define IP6(len, next)                                                                             \
	"\x60\0\0\0\0" len next "\x40"                                                             \
	"\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1"                                                       \
	"\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\2"
#define UDP "\xa2\xa9\xa2\xa9\0\x28\0\0" // 41641 > 41641
#define BYTES(text) text, sizeof(text) - 1

static const struct summary_case {
	const char *name;
	const char *bytes;
	size_t n; // of bytes
	uint32_t len;
	const char *expected;
} cases[] = {
	{"udp", BYTES(IP4("\x1c", "\x11") "\x04\xd2\0\x35\0\x08\0\0"), 28,
		"10.0.0.1 > 10.0.0.2 udp 1234 > 53"},
	{"tcp", BYTES(IP4("\x28", "\x06") "\x04\xd2\x01\xbb"), 40,
		"10.0.0.1 > 10.0.0.2 tcp 1234 > 443"},
	{"icmp", BYTES(IP4("\x54", "\x01") "\x08\0\0\0"), 84,
		"10.0.0.1 > 10.0.0.2 icmp type 8 code 0"},
	{"other protocol", BYTES(IP4("\x54", "\x2f") "\0\0\0\0"), 84,
		"10.0.0.1 > 10.0.0.2 protocol 47"},
	{"fragment", BYTES("\x45\0\0\x54\0\0\x20\xb9\x40\x11\0\0\x0a\0\0\1\x0a\0\0\2\1\2\3\4"), 84,
		"10.0.0.1 > 10.0.0.2 fragment at 1480"},
	{"options, ports behind what was noted",
		BYTES("\x4f\0\0\x54\0\0\0\0\x40\x11\0\0\x0a\0\0\1\x0a\0\0\2\1\1\1\1"), 84,
		"10.0.0.1 > 10.0.0.2 udp"},
	{"ipv6, ports behind what was noted", BYTES(IP6("\x14", "\x06")), 60,
		"fd00::1 > fd00::2 tcp"},
	{"ethernet", BYTES(ETH "\x08\0" IP4("\x1c", "\x11") "\x04\xd2\0\x35\0\x08"), 42,
		"ethernet 10.0.0.1 > 10.0.0.2 udp 1234 > 53"},
	{"ethernet with vlan", BYTES(ETH "\x81\0\0\x07\x08\0" IP4("\x1c", "\x01")), 46,
		"ethernet vlan 7 10.0.0.1 > 10.0.0.2 icmp"},
	{"ethernet, ipv6 cut",
		BYTES(ETH "\x86\xdd\x60\0\0\0\0\x14\x3a\x40"
			  "\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\xfd\0"),
		74, "ethernet fd00::1 > ... icmp6"},
	{"arp", BYTES(ETH "\x08\x06\0\1\x08\0\6\4\0\1"), 42, "ethernet arp"},
	{"wireguard data", BYTES(IP4("\x7c", "\x11") UDP "\4\0\0\0\x78\x56\x34\x12\x05\0\0\0"), 124,
		"10.0.0.1 > 10.0.0.2 udp 41641 > 41641, wireguard data index 0x12345678 "
		"counter 5 (low 32 bits)"},
	{"wireguard data, headers gone", BYTES("\4\0\0\0\x78\x56\x34\x12\x05\0\0\0\1\0\0\0"), 96,
		"wireguard data index 0x12345678 counter 4294967301"},
	{"wireguard initiation", BYTES(IP4("\xb0", "\x11") UDP "\1\0\0\0\1\0\0\0"), 176,
		"10.0.0.1 > 10.0.0.2 udp 41641 > 41641, wireguard initiation index 0x00000001"},
	{"udp that is no wireguard", BYTES(IP4("\x7c", "\x11") UDP "\5\0\0\0\1\0\0\0"), 124,
		"10.0.0.1 > 10.0.0.2 udp 41641 > 41641"},
	{"ip longer than the packet", BYTES(IP4("\x54", "\x01") "\x08\0"), 30,
		"bytes 45 00 00 54 00 00 00 00 40 01 00 00 0a 00 00 01"},
	{"impossible header length", BYTES("\x44\0\0\x14\0\0\0\0\x40\1\0\0\x0a\0\0\1\x0a\0\0\2"),
		20, "bytes 44 00 00 14 00 00 00 00 40 01 00 00 0a 00 00 01"},
	{"one byte", BYTES("\x45"), 1, "bytes 45"},
	{"empty", BYTES(""), 0, "empty"},
};

static void test_summaries(void **)
{
	char text[TRACE_SUMMARY_LEN];
	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		// Exactly as many bytes as there are, so that a sanitizer sees one too many.
		uint8_t *head = malloc(cases[i].n + 1);
		memcpy(head, cases[i].bytes, cases[i].n);
		trace_summary(head, cases[i].n, cases[i].len, text);
		if (strcmp(text, cases[i].expected) != 0)
			fail_msg("%s: %s", cases[i].name, text);
		free(head);
	}
}

static void test_any_bytes(void **)
{
	char text[TRACE_SUMMARY_LEN];
	unsigned seed = 1;
	for (unsigned i = 0; i < 200000; i++) {
		uint8_t head[40];
		for (unsigned k = 0; k < sizeof(head); k++)
			head[k] = (uint8_t)((seed = seed * 1103515245 + 12345) >> 16);
		if (i % 2 == 0)
			head[0] = (uint8_t)((i % 4 ? 0x40 : 0x60) | (head[0] & 15));
		size_t n = i % 41;
		uint8_t *exact = malloc(n + 1);
		memcpy(exact, head, n);
		trace_summary(exact, n, seed % 70000, text);
		assert_true(strlen(text) < TRACE_SUMMARY_LEN);
		assert_true(strlen(text) > 0);
		free(exact);
	}
}

static void test_json(void **)
{
	struct trace t = {.n = 2, .port_in = 0};
	t.step[0] =
		(struct trace_step){.tsc = 3000, .node = NODE_ETH_INPUT, .len = 42, .segments = 1};
	t.step[1] = (struct trace_step){
		.tsc = 6000, .node = NODE_ROUTE, .len = 28, .segments = 3, .drop = 1 + DROP_TTL};
	memcpy(t.step[1].head, cases[0].bytes, cases[0].n);

	json_t *json = trace_json(&fixture.gw, 1, &t);
	char *text = json_dumps(json, JSON_COMPACT);
	assert_non_null(text);
	assert_string_equal(text,
		"{\"worker\":1,\"port\":\"lan\",\"cut\":false,\"steps\":["
		"{\"node\":\"eth_input\",\"ns\":0,\"len\":42,\"segments\":1,"
		"\"summary\":\"bytes 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00\","
		"\"drop\":null,\"help\":null},"
		"{\"node\":\"route\",\"ns\":1000,\"len\":28,\"segments\":3,"
		"\"summary\":\"10.0.0.1 > 10.0.0.2 udp 1234 > 53\",\"drop\":\"ttl_exceeded\","
		"\"help\":\"TTL reached zero: a routing loop, or a traceroute\"}]}");
	free(text);
	json_decref(json);
}

// What a torn read of a worker's memory may hold.
static void test_json_of_nonsense(void **)
{
	struct trace t = {.n = 255, .port_in = 999};
	for (unsigned i = 0; i < TRACE_STEPS; i++)
		t.step[i] = (struct trace_step){.node = 255, .drop = 255, .len = UINT32_MAX};
	json_t *json = trace_json(&fixture.gw, 0, &t);
	assert_non_null(json);
	assert_true(json_is_null(json_object_get(json, "port")));
	assert_true(json_is_true(json_object_get(json, "cut")));
	json_t *step = json_array_get(json_object_get(json, "steps"), TRACE_STEPS - 1);
	assert_string_equal(json_string_value(json_object_get(step, "node")), "unknown");
	assert_true(json_is_null(json_object_get(step, "drop")));
	json_decref(json);
}

static int setup(void **)
{
	test_eal_init();
	fixture_create(NULL);
	return 0;
}

static int teardown(void **)
{
	fixture_destroy();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_summaries),
		cmocka_unit_test(test_any_bytes),
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_json_of_nonsense),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
