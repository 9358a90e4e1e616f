// Echoes of hosts behind the gateway, when they count as gone, and which networks are then offered.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <rte_common.h>
#include <stdio.h>

#include "control/tailnet/offer.h"
#include "dataplane/wire/csum.h"

static const uint8_t token[8] = {1, 2, 3, 4, 5, 6, 7, 8};

static void test_echo_bytes(void **)
{
	uint8_t request[ECHO_LEN], packet[IP4_HDR_LEN + 4 + ECHO_LEN] = {0x46};
	uint16_t seq = 0;
	echo_write(request, IP_V4, 0x1234, 0xabcd, token);
	assert_int_equal(request[0], 8);
	assert_int_equal(csum_fold(csum_add(request, sizeof(request), 0)), 0xffff);
	uint8_t *icmp = packet + IP4_HDR_LEN + 4; // a header with options
	memcpy(icmp, request, sizeof(request));
	assert_false(echo_read(packet, sizeof(packet), IP_V4, 0x1234, token, &seq)); // a request
	icmp[0] = 0;
	assert_true(echo_read(packet, sizeof(packet), IP_V4, 0x1234, token, &seq));
	assert_int_equal(seq, 0xabcd);
	assert_false(echo_read(packet, sizeof(packet), IP_V4, 0x1235, token, &seq));
	for (size_t len = 0; len < sizeof(packet); len++)
		assert_false(echo_read(packet, len, IP_V4, 0x1234, token, &seq));
	packet[0] = 0x44; // a header shorter than any
	assert_false(echo_read(packet, sizeof(packet), IP_V4, 0x1234, token, &seq));
	packet[0] = 0x46;
	icmp[15] ^= 1;
	assert_false(echo_read(packet, sizeof(packet), IP_V4, 0x1234, token, &seq));

	echo_write(request, IP_V6, 7, 9, token);
	assert_int_equal(request[0], 128);
	assert_false(echo_read(request, sizeof(request), IP_V6, 7, token, &seq));
	request[0] = 129;
	assert_true(echo_read(request, sizeof(request), IP_V6, 7, token, &seq));
	assert_int_equal(seq, 9);
	request[1] = 1;
	assert_false(echo_read(request, sizeof(request), IP_V6, 7, token, &seq));
}

// A second each: A answered, - silent. g: gone behind that second, . there.
static void test_seconds(void **)
{
	static const struct {
		const char *answers, *states;
	} cases[] = {
		{"AAAA", "...."},
		{"---", "..g"},
		{"--A--A--A", "........."},
		{"---A-A-AA", "..gggggg."},
		{"---AA", "..gg."},
		{"---AAA---", "..gg....g"},
	};
	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		struct reach_host h = {0};
		bool gone = false;
		uint16_t seq, stale = 0;
		print_message("%s\n", cases[i].answers);
		assert_false(reach_tick(&h, &seq));
		for (unsigned s = 0; cases[i].answers[s]; s++) {
			bool changed = false;
			assert_false(reach_reply(&h, stale)); // of the second before
			if (cases[i].answers[s] == 'A')
				changed = reach_reply(&h, seq);
			assert_false(reach_reply(&h, cases[i].answers[s] == 'A' ? seq : 0));
			stale = seq;
			changed |= reach_tick(&h, &seq);
			assert_true(seq != 0 && seq != stale);
			assert_int_equal(changed, h.gone != gone);
			gone = h.gone;
			assert_int_equal(cases[i].states[s] == 'g', gone);
		}
	}
}

static void test_sequence_wraps(void **)
{
	struct reach_host h = {.asked = UINT16_MAX, .answered = true};
	uint16_t seq;
	assert_false(reach_tick(&h, &seq));
	assert_int_equal(seq, 1);
}

static void test_offer(void **)
{
	static const char *const prefixes[] = {"0.0.0.0/0", "10.1.0.0/24", "10.1.0.0/16",
		"10.2.0.0/16", "::/0", "fd01::/64", "fd7a:115c:a1e0:b1a:0:7:a03:0/112"};
	static const struct {
		const char *gone, *there;
		bool draining;
		const char *offered; // a digit each
	} cases[] = {
		{"", "", false, "0123456"}, {"", "", true, ""},
		{"10.1.0.254", "", false, "3456"},	     // it was all that /0 and /16 have
		{"10.1.0.254", "10.2.0.1", false, "03456"},  // /0 has another one
		{"10.1.0.254", "10.1.1.1", false, "023456"}, // /16 too
		{"", "10.1.0.254", false, "0123456"}, {"fd01::1", "10.2.0.1", false, "01236"},
		{"192.0.2.1", "10.2.0.1", false, "0123456"}, {"10.1.0.254", "10.1.0.253", true, ""},
		{"10.3.0.9", "10.2.0.1", false, "012345"}, // of a site: 4via6
	};
	struct ip_prefix routes[RTE_DIM(prefixes)], out[RTE_DIM(prefixes)];
	for (unsigned i = 0; i < RTE_DIM(prefixes); i++)
		assert_int_equal(ip_prefix_parse(prefixes[i], &routes[i]), 0);
	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		struct reach_host hosts[2] = {{.gone = true}, {.gone = false}};
		unsigned n = 0;
		if (cases[i].gone[0])
			assert_int_equal(ip_addr_parse(cases[i].gone, &hosts[n++].addr), 0);
		if (cases[i].there[0]) {
			hosts[n].gone = false;
			assert_int_equal(ip_addr_parse(cases[i].there, &hosts[n++].addr), 0);
		}
		uint32_t offered = tn_offer(&(struct tn_offer_spec){routes, RTE_DIM(routes), hosts,
						    n, cases[i].draining},
			out);
		print_message("case %u\n", i);
		assert_int_equal(offered, strlen(cases[i].offered));
		for (uint32_t j = 0; j < offered; j++)
			assert_memory_equal(
				&out[j], &routes[cases[i].offered[j] - '0'], sizeof(out[j]));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_echo_bytes),
		cmocka_unit_test(test_seconds),
		cmocka_unit_test(test_sequence_wraps),
		cmocka_unit_test(test_offer),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
