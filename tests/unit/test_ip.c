#include "dataplane/wire/ether.h"
#include "dataplane/wire/ip.h"

#include <setjmp.h>
#include <stdarg.h>
// after the above, as cmocka asks
#include <cmocka.h>

enum { CHANGES = 4 };

// A byte to overwrite; the list ends at the first change without a value.
struct change {
	uint16_t at;
	uint8_t to;
};

#define V4 0x45, 0, 0, 60, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2
#define V6                                                                                         \
	0x60, 0, 0, 0, 0, 60, 6, 64, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xfd, 0,   \
		0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2

static const uint8_t v4[100] = {V4};
static const uint8_t v6[100] = {V6};

static void test_accepted(void **)
{
	static const struct {
		const char *name;
		const uint8_t *base;
		uint32_t contig, len;
		struct change change[CHANGES + 1];
		struct ip_info info;
	} cases[] = {
		{"IPv4", v4, 60, 60, {}, {IP_V4, 6, 64, 0, 20, IP_FLAG_DF, 60}},
		{"IPv4, padding", v4, 100, 100, {}, {IP_V4, 6, 64, 0, 20, IP_FLAG_DF, 60}},
		{"IPv4, header alone contiguous", v4, 20, 60, {},
			{IP_V4, 6, 64, 0, 20, IP_FLAG_DF, 60}},
		{"IPv4, no payload", v4, 20, 20, {{3, 20}}, {IP_V4, 6, 64, 0, 20, IP_FLAG_DF, 20}},
		{"IPv4, TOS, TTL, protocol", v4, 60, 60, {{1, 0xb9}, {8, 1}, {9, 17}, {6, 0}},
			{IP_V4, 17, 1, 0xb9, 20, 0, 60}},
		{"IPv4, reserved bit", v4, 60, 60, {{6, 0x80}}, {IP_V4, 6, 64, 0, 20, 0, 60}},
		{"IPv4, 4 bytes of options", v4, 60, 60, {{0, 0x46}},
			{IP_V4, 6, 64, 0, 24, IP_FLAG_DF | IP_FLAG_OPTIONS, 60}},
		{"IPv4, most options", v4, 60, 60, {{0, 0x4f}},
			{IP_V4, 6, 64, 0, 60, IP_FLAG_DF | IP_FLAG_OPTIONS, 60}},
		{"IPv4, first fragment", v4, 60, 60, {{6, 0x20}},
			{IP_V4, 6, 64, 0, 20, IP_FLAG_FRAG, 60}},
		{"IPv4, middle fragment", v4, 60, 60, {{6, 0x20}, {7, 1}},
			{IP_V4, 6, 64, 0, 20, IP_FLAG_FRAG | IP_FLAG_FRAG_TAIL, 60}},
		{"IPv4, last fragment", v4, 60, 60, {{6, 0x1f}, {7, 0xff}},
			{IP_V4, 6, 64, 0, 20, IP_FLAG_FRAG | IP_FLAG_FRAG_TAIL, 60}},
		{"IPv6", v6, 100, 100, {}, {IP_V6, 6, 64, 0, 40, IP_FLAG_DF, 100}},
		{"IPv6, header alone contiguous", v6, 40, 100, {},
			{IP_V6, 6, 64, 0, 40, IP_FLAG_DF, 100}},
		{"IPv6, no payload", v6, 40, 40, {{5, 0}}, {IP_V6, 6, 64, 0, 40, IP_FLAG_DF, 40}},
		{"IPv6, class, UDP, hop limit", v6, 100, 100,
			{{0, 0x6b}, {1, 0x9f}, {6, 17}, {7, 1}},
			{IP_V6, 17, 1, 0xb9, 40, IP_FLAG_DF, 100}},
		{"IPv6, ICMP", v6, 100, 100, {{6, 58}}, {IP_V6, 58, 64, 0, 40, IP_FLAG_DF, 100}},
		{"IPv6, no next header", v6, 100, 100, {{6, 59}},
			{IP_V6, 59, 64, 0, 40, IP_FLAG_DF, 100}},
		{"IPv6, ESP", v6, 100, 100, {{6, 50}}, {IP_V6, 50, 64, 0, 40, IP_FLAG_DF, 100}},
		{"IPv6, hop-by-hop", v6, 100, 100, {{6, 0}, {40, 6}},
			{IP_V6, 6, 64, 0, 48, IP_FLAG_DF | IP_FLAG_OPTIONS, 100}},
		{"IPv6, routing of 24, destination", v6, 100, 100,
			{{6, 43}, {40, 60}, {41, 2}, {64, 17}},
			{IP_V6, 17, 64, 0, 72, IP_FLAG_DF | IP_FLAG_OPTIONS, 100}},
		{"IPv6, authentication of 24", v6, 100, 100, {{6, 51}, {40, 6}, {41, 4}},
			{IP_V6, 6, 64, 0, 64, IP_FLAG_DF | IP_FLAG_OPTIONS, 100}},
		{"IPv6, first fragment", v6, 100, 100, {{6, 44}, {40, 6}, {43, 1}},
			{IP_V6, 6, 64, 0, 48, IP_FLAG_DF | IP_FLAG_OPTIONS | IP_FLAG_FRAG, 100}},
		{"IPv6, later fragment: no further header", v6, 100, 100,
			{{6, 44}, {40, 0}, {43, 8}},
			{IP_V6, 0, 64, 0, 48,
				IP_FLAG_DF | IP_FLAG_OPTIONS | IP_FLAG_FRAG | IP_FLAG_FRAG_TAIL,
				100}},
	};
	for (size_t i = 0; i < RTE_DIM(cases); i++) {
		uint8_t b[100];
		struct ip_info info;
		memcpy(b, cases[i].base, sizeof(b));
		for (const struct change *c = cases[i].change; c->at != 0 || c->to != 0; c++)
			b[c->at] = c->to;
		if (ip_parse_chain(b, cases[i].contig, cases[i].len, &info) != 0)
			fail_msg("%s: refused", cases[i].name);
		print_message("%s\n", cases[i].name);
		assert_memory_equal(&info, &cases[i].info, sizeof(info));
		// The short cut and the general case agree.
		assert_int_equal(ip_parse_slow(b, cases[i].contig, cases[i].len, &info), 0);
		assert_memory_equal(&info, &cases[i].info, sizeof(info));
	}
}

static void test_refused(void **)
{
	static const struct {
		const char *name;
		const uint8_t *base;
		uint32_t contig, len;
		struct change change[CHANGES + 1];
	} cases[] = {
		{"nothing", v4, 0, 0, {}},
		{"one byte", v4, 1, 1, {}},
		{"version 0", v4, 60, 60, {{0, 0x05}}},
		{"version 5", v4, 60, 60, {{0, 0x55}}},
		{"version 15", v4, 60, 60, {{0, 0xf5}}},
		{"IPv4, header cut short", v4, 19, 19, {{3, 19}}},
		{"IPv4, header not contiguous", v4, 19, 60, {}},
		{"IPv4, header length 0", v4, 60, 60, {{0, 0x40}}},
		{"IPv4, header length 16", v4, 60, 60, {{0, 0x44}}},
		{"IPv4, options behind the bytes", v4, 24, 60, {{0, 0x47}}},
		{"IPv4, options behind the packet", v4, 60, 60, {{0, 0x46}, {3, 23}}},
		{"IPv4, total length 0", v4, 60, 60, {{3, 0}}},
		{"IPv4, total length 19", v4, 60, 60, {{3, 19}}},
		{"IPv4, total length one too long", v4, 60, 60, {{3, 61}}},
		{"IPv4, total length far too long", v4, 60, 60, {{2, 0xff}}},
		{"IPv4, fragment too long", v4, 60, 60, {{3, 61}, {6, 0x20}}},
		{"IPv6, header cut short", v6, 39, 39, {{5, 0}}},
		{"IPv6, header not contiguous", v6, 39, 100, {}},
		{"IPv6, payload one too long", v6, 100, 100, {{5, 61}}},
		{"IPv6, ICMP, payload one too long", v6, 100, 100, {{5, 61}, {6, 58}}},
		{"IPv6, payload far too long", v6, 100, 100, {{4, 0xff}}},
		{"IPv6, extension behind the packet", v6, 47, 47, {{5, 7}, {6, 60}}},
		{"IPv6, extension longer than the packet", v6, 100, 100, {{6, 60}, {41, 7}}},
		{"IPv6, extension not contiguous", v6, 47, 100, {{6, 60}, {40, 6}}},
		{"IPv6, authentication longer than the packet", v6, 100, 100, {{6, 51}, {41, 14}}},
		{"IPv6, fragment header cut short", v6, 47, 47, {{5, 7}, {6, 44}}},
		{"IPv6, second extension cut short", v6, 52, 52, {{5, 12}, {6, 60}, {40, 60}}},
	};
	for (size_t i = 0; i < RTE_DIM(cases); i++) {
		struct ip_info info;
		// On the heap in its size: the sanitizer sees each byte too far.
		uint8_t *b = malloc(cases[i].contig + 1), whole[100];
		assert_non_null(b);
		memcpy(whole, cases[i].base, sizeof(whole));
		for (const struct change *c = cases[i].change; c->at != 0 || c->to != 0; c++)
			whole[c->at] = c->to;
		uint8_t *at_end = b + 1; // an odd address, too
		memcpy(at_end, whole, cases[i].contig);
		int err = ip_parse_chain(at_end, cases[i].contig, cases[i].len, &info);
		if (err != -EINVAL)
			fail_msg("%s: %d", cases[i].name, err);
		assert_int_equal(
			ip_parse_slow(at_end, cases[i].contig, cases[i].len, &info), -EINVAL);
		free(b);
	}
}

// The walk is bounded however long the chain is.
static void test_many_extensions(void **)
{
	uint8_t b[400] = {V6};
	struct ip_info info;
	b[4] = 1;
	b[5] = 104; // 360
	for (unsigned n = 1; n <= 12; n++) {
		b[6] = IPPROTO_DSTOPTS;
		memset(b + 40, 0, 360);
		for (unsigned i = 0; i < n; i++)
			b[40 + 8 * i] = i + 1 < n ? IPPROTO_DSTOPTS : IPPROTO_TCP;
		int err = ip_parse(b, sizeof(b), &info);
		assert_int_equal(err, n <= IP6_EXT_MAX ? 0 : -EINVAL);
		if (err == 0)
			assert_int_equal(info.l3_len, 40 + 8 * n);
	}
}

static void test_ether(void **)
{
	static const struct {
		const char *name;
		uint8_t tail[14]; // from the type on
		uint32_t len;
		int err;
		struct ether_info info;
	} cases[] = {
		{"IPv4", {0x08, 0x00}, 14, 0, {0x0800, 14, 0}},
		{"VLAN", {0x81, 0x00, 0x20, 0x07, 0x86, 0xdd}, 18, 0, {0x86dd, 18, 0x2007}},
		{"two tags", {0x88, 0xa8, 0, 5, 0x81, 0x00, 0, 7, 0x08, 0x06}, 22, 0,
			{0x0806, 22, 5}},
		{"a third tag is the type", {0x88, 0xa8, 0, 5, 0x81, 0, 0, 7, 0x81, 0}, 26, 0,
			{0x8100, 22, 5}},
		{"nothing", {}, 0, -EINVAL, {}},
		{"cut short", {0x08, 0x00}, 13, -EINVAL, {}},
		{"tag cut short", {0x81, 0x00, 0, 7, 8}, 17, -EINVAL, {}},
		{"tag missing", {0x81, 0x00}, 14, -EINVAL, {}},
		{"second tag cut short", {0x88, 0xa8, 0, 5, 0x81, 0x00, 0, 7}, 21, -EINVAL, {}},
	};
	for (size_t i = 0; i < RTE_DIM(cases); i++) {
		struct ether_info info = {};
		uint8_t frame[26] = {};
		memcpy(frame + 12, cases[i].tail, 14);
		uint8_t *b = malloc(cases[i].len + 1);
		assert_non_null(b);
		memcpy(b + 1, frame, cases[i].len);
		if (ether_parse(b + 1, cases[i].len, &info) != cases[i].err)
			fail_msg("%s", cases[i].name);
		if (cases[i].err == 0)
			assert_memory_equal(&info, &cases[i].info, sizeof(info));
		free(b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_accepted),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_many_extensions),
		cmocka_unit_test(test_ether),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
