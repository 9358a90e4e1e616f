// NAT-PMP and PCP: the RFCs' layouts in hex, what a gateway may answer, and its clock.
#include "tests/unit/path_vectors.h"

#include <errno.h>

#include "control/path/portmap_wire.h"

enum { MAX = 2048 };
static const uint64_t S = UINT64_C(1000000000);

#define NONCE "000102030405060708090a0b"
#define V4 "00000000000000000000ffff"

static struct portmap_want want_of(void)
{
	struct portmap_want want = {
		.local_port = 41641, .external_port = 50000, .lifetime_s = PORTMAP_LIFETIME_S};

	assert_int_equal(ip_addr_parse("192.168.1.5", &want.client), 0);
	hex_bytes(NONCE, want.nonce, sizeof(want.nonce));
	return want;
}

static void assert_hex(const void *got, size_t len, const char *want)
{
	uint8_t bytes[MAX];

	assert_int_equal(hex_bytes(want, bytes, MAX), len);
	assert_memory_equal(got, bytes, len);
}

static void test_requests(void **)
{
	struct portmap_want want = want_of();
	struct natpmp_external_request external;
	struct natpmp_map_request map;
	struct pcp_request announce;
	struct pcp_map_request pcp;

	natpmp_external_request_write(&external);
	assert_hex(&external, sizeof(external), "0000");
	natpmp_map_request_write(&map, &want);
	assert_hex(&map, sizeof(map), "00010000a2a9c35000001c20");
	pcp_announce_request_write(&announce, &want.client);
	assert_hex(&announce, sizeof(announce), "0200000000000000" V4 "c0a80105");
	pcp_map_request_write(&pcp, &want);
	assert_hex(&pcp, sizeof(pcp),
		"0201000000001c20" V4 "c0a80105" NONCE "11000000a2a9c350" V4 "00000000");
	assert_int_equal(ip_addr_parse("203.0.113.5", &want.external), 0);
	want.lifetime_s = 0; // delete: PCP as it was asked for, NAT-PMP without a wish
	pcp_map_request_write(&pcp, &want);
	assert_hex(&pcp, sizeof(pcp),
		"0201000000000000" V4 "c0a80105" NONCE "11000000a2a9c350" V4 "cb007105");
	natpmp_map_request_write(&map, &want);
	assert_hex(&map, sizeof(map), "00010000a2a9000000000000");
}

#define PCP_HEADER(result, lifetime) "028100" result lifetime "000003e8" NONCE

static const struct {
	const char *name, *hex;
	int parse, granted;
	const char *external; // with the lease
	uint32_t lifetime_s;
} answers[] = {
	{"nat-pmp map", "00810000000003e8a2a9c35000000e10", 0, 0, "none", 3600},
	{"nat-pmp map, other port granted", "00810000000003e8a2a9000900000e10", 0, 0, "none", 3600},
	{"nat-pmp map, for ever", "00810000000003e8a2a9c350ffffffff", 0, 0, "none", 86400},
	{"nat-pmp map, bytes behind", "00810000000003e8a2a9c35000000e10ff", 0, 0, "none", 3600},
	{"nat-pmp map refused", "00810002000003e8", 0, -EACCES, NULL, 0},
	{"nat-pmp map refused, 16 bytes", "00810004000003e8a2a9000000000000", 0, -EACCES, NULL, 0},
	{"nat-pmp map, our deletion", "00810000000003e8a2a9000000000000", 0, -EPROTO, NULL, 0},
	{"nat-pmp map, another local port", "00810000000003e8a2aac35000000e10", 0, -EPROTO, NULL,
		0},
	{"nat-pmp map, no lifetime", "00810000000003e8a2a9c35000000000", 0, -EPROTO, NULL, 0},
	{"nat-pmp map, cut", "00810000000003e8a2a9c35000000e", -EBADMSG, 0, NULL, 0},
	{"nat-pmp, cut header", "00810000000003", -EBADMSG, 0, NULL, 0},
	{"nat-pmp tcp map", "00820000000003e8a2a9c35000000e10", -EPROTO, 0, NULL, 0},
	{"nat-pmp external", "00800000000003e8cb007105", 0, -EPROTO, NULL, 0},
	{"nat-pmp external, cut", "00800000000003e8cb0071", -EBADMSG, 0, NULL, 0},
	{"a request", "00010000a2a9c35000001c20", -EPROTO, 0, NULL, 0},
	{"pcp map", PCP_HEADER("00", "00000e10") NONCE "11000000a2a9c350" V4 "cb007105", 0, 0,
		"203.0.113.5:50000", 3600},
	{"pcp map, other nonce",
		PCP_HEADER("00", "00000e10") "ff0102030405060708090a0b11000000a2a9c350" V4
					     "cb007105",
		0, -EPROTO, NULL, 0},
	{"pcp map, tcp", PCP_HEADER("00", "00000e10") NONCE "06000000a2a9c350" V4 "cb007105",
		-EPROTO, 0, NULL, 0},
	{"pcp map, IPv6",
		PCP_HEADER("00", "00000e10") NONCE
		"11000000a2a9c35020010db8000000000000000000000005",
		-EPROTO, 0, NULL, 0},
	{"pcp map, 0.0.0.0", PCP_HEADER("00", "00000e10") NONCE "11000000a2a9c350" V4 "00000000", 0,
		-EPROTO, NULL, 0},
	{"pcp map, multicast", PCP_HEADER("00", "00000e10") NONCE "11000000a2a9c350" V4 "e0000001",
		0, -EPROTO, NULL, 0},
	{"pcp map, port 0", PCP_HEADER("00", "00000e10") NONCE "11000000a2a90000" V4 "cb007105", 0,
		-EPROTO, NULL, 0},
	{"pcp map, cut", PCP_HEADER("00", "00000e10") NONCE "11000000a2a9c350" V4 "cb0071",
		-EBADMSG, 0, NULL, 0},
	{"pcp not authorized", PCP_HEADER("02", "00000000"), 0, -EACCES, NULL, 0},
	{"pcp another NAT", PCP_HEADER("0c", "00000000"), 0, -EACCES, NULL, 0},
	{"pcp announce", "0280000000000000000003e8000000000000000000000000", 0, -EPROTO, NULL, 0},
	{"pcp header of 23", "0280000000000000000003e80000000000000000000000", -EBADMSG, 0, NULL,
		0},
	{"pcp peer opcode", "0282000000000000000003e8000000000000000000000000", -EPROTO, 0, NULL,
		0},
	{"pcp map request", "0201000000001c20" V4 "c0a80105" NONCE "11000000a2a9c350" V4 "00000000",
		-EPROTO, 0, NULL, 0},
	{"version 1", "0180000000000000", -EPROTO, 0, NULL, 0},
	{"nothing", "", -EBADMSG, 0, NULL, 0},
};

static void test_answers(void **)
{
	const struct portmap_want want = want_of();

	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		uint8_t bytes[MAX];
		struct portmap_response r;
		struct portmap_lease lease;
		const size_t len = hex_bytes(answers[i].hex, bytes, MAX);
		uint8_t *copy = exact_copy(bytes, len);

		print_message("%s\n", answers[i].name);
		assert_int_equal(portmap_response_parse(copy, len, &r), answers[i].parse);
		free(copy);
		if (answers[i].parse)
			continue;
		assert_int_equal(r.epoch_s, 1000);
		assert_int_equal(portmap_granted(&r, &want, 5 * S, &lease), answers[i].granted);
		if (answers[i].granted)
			continue;
		// NAT-PMP's address comes in its other answer.
		assert_endpoint(&lease.external, answers[i].external);
		assert_int_equal(lease.lifetime_s, answers[i].lifetime_s);
		assert_int_equal(lease.renew_ns, 5 * S + answers[i].lifetime_s * S / 2);
		assert_int_equal(lease.expires_ns, 5 * S + answers[i].lifetime_s * S);
	}
}

static void test_external(void **)
{
	uint8_t bytes[MAX];
	struct portmap_response r;
	char text[ADDR_TEXT_LEN];

	hex_bytes("00800000000003e8cb007105", bytes, MAX);
	assert_int_equal(portmap_response_parse(bytes, 12, &r), 0);
	assert_int_equal(r.kind, NATPMP_EXTERNAL);
	assert_string_equal(ip_addr_format(&r.external, text), "203.0.113.5");
}

static void test_oversized(void **)
{
	static uint8_t bytes[PORTMAP_RESPONSE_MAX + 1] = {0, 0x80};
	struct portmap_response r;

	assert_int_equal(portmap_response_parse(bytes, sizeof(bytes), &r), -EPROTO);
	assert_int_equal(portmap_response_parse(bytes, sizeof(bytes) - 1, &r), 0);
}

static void test_result_texts(void **)
{
	static const struct {
		enum portmap_kind kind;
		uint16_t result;
		const char *want;
	} cases[] = {
		{NATPMP_MAP, NATPMP_UNSUPPORTED_VERSION, "version not supported"},
		{NATPMP_EXTERNAL, 3, "the gateway has no address itself"},
		{NATPMP_MAP, 6, "unknown result"},
		{PCP_MAP, PCP_ADDRESS_MISMATCH, "another NAT is between here and the gateway"},
		{PCP_ANNOUNCE, PCP_NOT_AUTHORIZED, "refused: switched off at the gateway"},
		{PCP_MAP, 14, "unknown result"},
		{PCP_MAP, 65535, "unknown result"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct portmap_response r = {
			.kind = cases[i].kind, .result = cases[i].result};
		assert_string_equal(portmap_result_text(&r), cases[i].want);
	}
}

static void test_epoch(void **)
{
	static const struct {
		const char *name;
		enum portmap_kind kind;
		uint32_t before, after;
		unsigned elapsed_s;
		bool continues;
	} cases[] = {
		{"nat-pmp in step", NATPMP_MAP, 1000, 1100, 100, true},
		{"nat-pmp 1/8 slow", NATPMP_MAP, 1000, 1086, 100, true},
		{"nat-pmp slower", NATPMP_MAP, 1000, 1084, 100, false},
		{"nat-pmp ahead", NATPMP_EXTERNAL, 1000, 9000, 100, true},
		{"nat-pmp rebooted", NATPMP_MAP, 1000, 3, 100, false},
		{"nat-pmp at the end of its numbers", NATPMP_MAP, UINT32_MAX, UINT32_MAX, 2, true},
		{"pcp in step", PCP_MAP, 1000, 1100, 100, true},
		{"pcp rebooted", PCP_MAP, 1000, 3, 100, false},
		{"pcp one back, same moment", PCP_ANNOUNCE, 1000, 999, 0, true},
		{"pcp two back", PCP_ANNOUNCE, 1000, 998, 0, false},
		{"pcp 1/16 slow", PCP_MAP, 1000, 1092, 100, true},
		{"pcp slower", PCP_MAP, 1000, 1091, 100, false},
		{"pcp 1/16 fast", PCP_MAP, 1000, 1108, 100, true},
		{"pcp faster", PCP_MAP, 1000, 1110, 100, false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct portmap_epoch epoch = {0};

		print_message("%s\n", cases[i].name);
		assert_true(portmap_epoch_continues(&epoch, cases[i].kind, cases[i].before, 7 * S));
		assert_true(portmap_epoch_continues(&epoch, cases[i].kind, cases[i].after,
				    7 * S + cases[i].elapsed_s * S) == cases[i].continues);
		// What was seen last is what counts from now on.
		assert_true(portmap_epoch_continues(
			&epoch, cases[i].kind, cases[i].after, 7 * S + cases[i].elapsed_s * S));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_external),
		cmocka_unit_test(test_oversized),
		cmocka_unit_test(test_result_texts),
		cmocka_unit_test(test_epoch),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
