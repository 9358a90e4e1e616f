// VXLAN headers: what is understood, and each refusal by its reason.
#include "dataplane/wire/vxlan.h"

#include <setjmp.h>
#include <stdarg.h>
// after the above, as cmocka asks
#include <cmocka.h>

enum { LEN = 90, CHANGES = 4 };

struct change { // the list ends at the first without a value
	uint16_t at;
	uint8_t to;
};

#define HEAD 0x08, 0, 0, 0, 0x01, 0x02, 0x03, 0
#define MACS 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2
// 60 bytes of IPv4, 60 of IPv6; behind them padding.
static const uint8_t v4[LEN] = {
	HEAD, MACS, 8, 0, 0x45, 0, 0, 60, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 42, 0, 2, 10, 42, 1, 2};
static const uint8_t v6[LEN] = {HEAD, MACS, 0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, 6, 64, 0xfd};

static const struct {
	const char *name;
	const uint8_t *base;
	uint32_t contig, len;
	struct change change[CHANGES + 1];
	enum vxlan_verdict verdict;
} rows[] = {
	{"IPv4", v4, LEN, LEN, {}, VXLAN_OK},
	{"IPv6", v6, LEN, LEN, {}, VXLAN_OK},
	{"IPv4 without padding", v4, 82, 82, {}, VXLAN_OK},
	{"headers alone contiguous", v4, 42, LEN, {}, VXLAN_OK},
	{"more contiguous than the datagram has", v4, LEN, 82, {}, VXLAN_OK},
	{"reserved fields", v4, LEN, LEN, {{1, 0xff}, {3, 0xff}, {7, 0xff}}, VXLAN_OK},
	{"group policy", v4, LEN, LEN, {{0, 0x88}, {3, 7}}, VXLAN_OK},
	{"VNI 0", v4, LEN, LEN, {{4, 0}, {5, 0}, {6, 0}}, VXLAN_OK},
	{"a fragment", v4, LEN, LEN, {{28, 0x20}}, VXLAN_OK},

	{"nothing", v4, 0, 0, {}, VXLAN_SHORT},
	{"one byte", v4, 1, 1, {}, VXLAN_SHORT},
	{"7 bytes", v4, 7, 7, {}, VXLAN_SHORT},
	{"7 of them contiguous", v4, 7, LEN, {}, VXLAN_SHORT},
	{"7, though more lie behind", v4, LEN, 7, {}, VXLAN_SHORT},
	{"no frame", v4, 8, 8, {}, VXLAN_SHORT},
	{"13 bytes of a frame", v4, 21, 21, {}, VXLAN_SHORT},
	{"13 of them contiguous", v4, 21, LEN, {}, VXLAN_SHORT},
	{"a tag cut short", v4, 25, 25, {{20, 0x81}, {21, 0}}, VXLAN_SHORT},
	{"a reserved flag alone", v4, LEN, LEN, {{0, 0x10}}, VXLAN_FLAGS},
	{"VNI not valid", v4, LEN, LEN, {{0, 0x80}}, VXLAN_FLAGS},
	{"GPE: next protocol", v4, LEN, LEN, {{0, 0x0c}, {3, 1}}, VXLAN_FLAGS},
	{"GPE: OAM", v4, LEN, LEN, {{0, 0x09}}, VXLAN_FLAGS},
	{"GPE: version 1", v4, LEN, LEN, {{0, 0x18}}, VXLAN_FLAGS},
	{"reserved flag", v4, LEN, LEN, {{0, 0x48}}, VXLAN_FLAGS},
	{"all flags", v4, LEN, LEN, {{0, 0xff}}, VXLAN_FLAGS},
	{"a tag", v4, LEN, LEN, {{20, 0x81}, {21, 0}, {24, 8}, {25, 0}}, VXLAN_VLAN},
	{"a service tag", v4, LEN, LEN, {{20, 0x88}, {21, 0xa8}, {24, 8}, {25, 0}}, VXLAN_VLAN},
	{"ARP", v4, LEN, LEN, {{21, 6}}, VXLAN_NOT_IP},
	{"LLDP", v4, LEN, LEN, {{20, 0x88}, {21, 0xcc}}, VXLAN_NOT_IP},
	{"802.3 length", v4, LEN, LEN, {{20, 0}, {21, 60}}, VXLAN_NOT_IP},
	{"no packet in the frame", v4, 22, 22, {}, VXLAN_INNER},
	{"IPv4 header cut short", v4, 41, 41, {}, VXLAN_INNER},
	{"IPv4 header not contiguous", v4, 41, LEN, {}, VXLAN_INNER},
	{"IPv4 header length 16", v4, LEN, LEN, {{22, 0x44}}, VXLAN_INNER},
	{"IPv4 cut short", v4, 81, 81, {}, VXLAN_INNER},
	{"IPv4 one byte too long", v4, LEN, LEN, {{25, 69}}, VXLAN_INNER},
	{"IPv4 said, IPv6 there", v6, LEN, LEN, {{20, 8}, {21, 0}}, VXLAN_INNER},
	{"IPv6 said, IPv4 there", v4, LEN, LEN, {{20, 0x86}, {21, 0xdd}}, VXLAN_INNER},
	{"IPv6 header cut short", v6, 61, 61, {}, VXLAN_INNER},
	{"IPv6 one byte too long", v6, LEN, LEN, {{27, 29}}, VXLAN_INNER},
	{"version 5", v4, LEN, LEN, {{22, 0x55}}, VXLAN_INNER},
};

static void test_verdicts(void **)
{
	for (size_t i = 0; i < RTE_DIM(rows); i++) {
		uint8_t whole[LEN];
		memcpy(whole, rows[i].base, LEN);
		for (const struct change *c = rows[i].change; c->at != 0 || c->to != 0; c++)
			whole[c->at] = c->to;
		// On the heap in its size and at an odd address: the sanitizer sees each byte too
		// far.
		uint8_t *b = malloc(rows[i].contig + 1);
		assert_non_null(b);
		memcpy(b + 1, whole, rows[i].contig);
		uint32_t vni = UINT32_MAX;
		struct ip_info ip;
		print_message("%s\n", rows[i].name);
		assert_int_equal(vxlan_parse(b + 1, rows[i].contig, rows[i].len, &vni, &ip),
			rows[i].verdict);
		if (rows[i].verdict == VXLAN_OK) {
			assert_int_equal(vni, whole[4] ? 0x010203 : 0);
			assert_int_equal(ip.family, rows[i].base == v4 ? IP_V4 : IP_V6);
			assert_int_equal(ip.total_len, 60);
		}
		free(b);
	}
}

static void test_header(void **)
{
	static const uint32_t vnis[] = {0, 1, 0x010203, VXLAN_VNI_MAX};
	for (size_t i = 0; i < RTE_DIM(vnis); i++) {
		struct vxlan_header h = vxlan_header_of(vnis[i]);
		assert_int_equal(vxlan_vni(&h), vnis[i]);
	}
	struct vxlan_header h = vxlan_header_of(0x010203);
	assert_memory_equal(&h, v4, sizeof(h));
}

static void test_ports(void **)
{
	static const struct vxlan_ports none,
		two = {{RTE_BE16(4789), RTE_BE16(8472)}},
		four = {{RTE_BE16(1), RTE_BE16(2), RTE_BE16(3), RTE_BE16(65535)}};
	for (uint32_t port = 0; port <= UINT16_MAX; port++) {
		rte_be16_t be = rte_cpu_to_be_16((uint16_t)port);
		assert_false(vxlan_is_port(vxlan_ports_pack(&none), be));
		assert_int_equal(vxlan_is_port(vxlan_ports_pack(&two), be),
			port == VXLAN_PORT || port == VXLAN_PORT_LINUX);
		assert_int_equal(vxlan_is_port(vxlan_ports_pack(&four), be),
			(port >= 1 && port <= 3) || port == 65535);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_verdicts),
		cmocka_unit_test(test_header),
		cmocka_unit_test(test_ports),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
