// The account of tunnels within tunnels, beside figures worked out by hand and a simulation that
// cuts packet by packet.
#include "dataplane/wire/ledger.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
// after the above, as cmocka asks
#include <cmocka.h>

#define N(array) (sizeof(array) / sizeof(array[0]))

#define L(k)                                                                                       \
	{                                                                                          \
		.kind = LEDGER_##k                                                                 \
	}
#define L_MTU(k, bytes)                                                                            \
	{                                                                                          \
		.kind = LEDGER_##k, .said = { [LEDGER_INTERFACE] = bytes }                         \
	}
#define L_SAID(k, bytes, source, other)                                                            \
	{                                                                                          \
		.kind = LEDGER_##k, .said = {                                                      \
			[LEDGER_INTERFACE] = bytes,                                                \
			[LEDGER_##source] = other                                                  \
		}                                                                                  \
	}
#define LINK(bytes) L_MTU(LINK, bytes)

static void test_overhead(void **)
{
	static const struct {
		enum ledger_kind kind;
		uint16_t bytes;
	} cases[] = {
		{LEDGER_LINK, 0},
		{LEDGER_VLAN, 4},
		{LEDGER_WG4, 20 + 8 + 16 + 16},
		{LEDGER_WG6, 40 + 8 + 16 + 16},
		{LEDGER_WG, 80},
		{LEDGER_VXLAN4, 20 + 8 + 8 + 14},
		{LEDGER_VXLAN6, 40 + 8 + 8 + 14},
		{LEDGER_RELAY4, 68},
		{LEDGER_RELAY6, 88},
	};
	for (unsigned i = 0; i < N(cases); i++)
		if (ledger_overhead(cases[i].kind) != cases[i].bytes)
			fail_msg("kind %u: %u", cases[i].kind, ledger_overhead(cases[i].kind));
	assert_int_equal(ledger_carrier(IP_V4, false), LEDGER_WG4);
	assert_int_equal(ledger_carrier(IP_V6, false), LEDGER_WG6);
	assert_int_equal(ledger_carrier(IP_V4, true), LEDGER_RELAY4);
	assert_int_equal(ledger_carrier(IP_V6, true), LEDGER_RELAY6);
}

// The values of the innermost layer.
static const struct {
	const char *name;
	struct ledger_layer layer[LEDGER_LAYERS_MAX];
	unsigned n;
	uint16_t mtu, mss4, mss6, fragments;
	uint32_t packets_x100;
	uint16_t payload, capacity; // permille
	enum ledger_source due;
} accounts[] = {
	{"a link", {LINK(1500)}, 1, 1500, 1460, 1440, 1, 100, 941, 1056, LEDGER_INTERFACE},
	{"WireGuard over IPv4", {LINK(1500), L(WG4)}, 2, 1440, 1400, 1380, 1, 100, 902, 1014,
		LEDGER_ROOM},
	{"WireGuard over IPv6", {LINK(1500), L(WG6)}, 2, 1420, 1380, 1360, 1, 100, 889, 1000,
		LEDGER_ROOM},
	{"VXLAN over IPv4", {LINK(1500), L(VXLAN4)}, 2, 1450, 1410, 1390, 1, 100, 909, 1021,
		LEDGER_ROOM},
	{"VXLAN over IPv6", {LINK(1500), L(VXLAN6)}, 2, 1430, 1390, 1370, 1, 100, 896, 1007,
		LEDGER_ROOM},
	{"a peer relay", {LINK(1500), L(RELAY4)}, 2, 1432, 1392, 1372, 1, 100, 897, 1008,
		LEDGER_ROOM},
	// The figures that users of flannel over a tailnet pass on: 1420, 1150 and 1370 bytes; 100,
	// 81 and 96 % of the first.
	{"direct", {LINK(1500), L(WG)}, 2, 1420, 1380, 1360, 1, 100, 889, 1000, LEDGER_ROOM},
	{"flannel over the tailnet", {LINK(1500), L_MTU(WG, 1280), L(VXLAN4), L(WG)}, 4, 1150, 1110,
		0, 1, 100, 785, 810, LEDGER_ROOM},
	{"flannel over the LAN", {LINK(1500), L(VXLAN4), L(WG)}, 3, 1370, 1330, 1310, 1, 100, 857,
		965, LEDGER_ROOM},
	{"a pod when flannel found the tailnet", {LINK(1500), L_MTU(WG, 1280), L(VXLAN4)}, 3, 1230,
		1190, 0, 1, 100, 843, 866, LEDGER_ROOM},
	// And what is really there: each node's tunnel has 1280, whatever fits; so does the pod's.
	{"direct, by default", {LINK(1500), L_MTU(WG, 1280)}, 2, 1280, 1240, 1220, 1, 100, 878, 901,
		LEDGER_INTERFACE},
	{"a proxy pod over the LAN", {LINK(1500), L(VXLAN4), L_MTU(WG, 1280)}, 3, 1280, 1240, 1220,
		1, 100, 848, 901, LEDGER_INTERFACE},
	{"a proxy pod over the tailnet, IPv4",
		{LINK(1500), L_MTU(WG4, 1280), L(VXLAN4), L_MTU(WG4, 1280)}, 4, 1280, 1240, 1220, 2,
		200, 736, 901, LEDGER_INTERFACE},
	{"a proxy pod over the tailnet, worst case",
		{LINK(1500), L_MTU(WG, 1280), L(VXLAN4), L_MTU(WG, 1280)}, 4, 1280, 1240, 1220, 2,
		200, 693, 901, LEDGER_INTERFACE},
	{"sums alone", {LINK(1500), L(WG), L(VXLAN4), L(WG)}, 4, 1290, 1250, 1230, 1, 100, 805, 908,
		LEDGER_ROOM},
	{"the brief's stack", {LINK(1500), L(WG4), L(VXLAN4), L(WG6)}, 4, 1310, 1270, 1250, 1, 100,
		818, 923, LEDGER_ROOM},
	{"jumbo frames", {LINK(9001), L(WG)}, 2, 8921, 8881, 8861, 1, 100, 981, 1000, LEDGER_ROOM},
	// A tag: of the frame on a link, of the packet in an overlay.
	{"VLAN", {LINK(1500), L(VLAN), L(WG4)}, 3, 1440, 1400, 1380, 1, 100, 900, 1014,
		LEDGER_ROOM},
	{"VLAN in VXLAN", {LINK(1500), L(VXLAN4), L(VLAN)}, 3, 1446, 1406, 1386, 1, 100, 906, 1018,
		LEDGER_ROOM},
	{"VLAN in VXLAN, as the kernel has it", {LINK(1500), L(VXLAN4), L_MTU(VLAN, 1450)}, 3, 1450,
		1410, 1390, 1, 200, 874, 1021, LEDGER_INTERFACE},
	{"DERP", {LINK(1500), L(DERP4)}, 2, 1280, 1240, 1220, 1, 95, 843, 901, LEDGER_INTERFACE},
	{"DERP with larger packets", {LINK(1500), L_MTU(DERP4, 8921)}, 2, 8921, 8881, 8861, 1, 622,
		927, 6282, LEDGER_INTERFACE},
	// What is said lowers; of two the lower counts; what is higher does not.
	{"probed", {L_SAID(LINK, 1500, PROBE, 1400), L(WG4)}, 2, 1340, 1300, 1280, 1, 100, 896,
		1015, LEDGER_ROOM},
	{"ICMP of the tunnel", {LINK(1500), L_SAID(WG4, 1420, ICMP, 1300)}, 2, 1300, 1260, 1240, 1,
		100, 893, 915, LEDGER_ICMP},
	{"ICMP says more", {LINK(1500), L_SAID(WG4, 1280, ICMP, 1400)}, 2, 1280, 1240, 1220, 1, 100,
		891, 901, LEDGER_INTERFACE},
	{"a route, no interface", {LINK(1500), L_SAID(WG4, 0, ROUTE, 1400)}, 2, 1400, 1360, 1340, 1,
		100, 900, 986, LEDGER_ROUTE},
	{"the smallest", {LINK(576)}, 1, 576, 536, 0, 1, 100, 853, 1161, LEDGER_INTERFACE},
	{"the smallest inside", {LINK(636), L(WG4)}, 2, 576, 536, 0, 1, 100, 777, 1036,
		LEDGER_ROOM},
	{"the largest", {LINK(65535), L(WG6)}, 2, 65455, 65415, 65395, 1, 100, 997, 1000,
		LEDGER_ROOM},
};

static void test_accounts(void **)
{
	for (unsigned i = 0; i < N(accounts); i++) {
		struct ledger_layer layer[LEDGER_LAYERS_MAX];
		unsigned at, n = accounts[i].n;
		memcpy(layer, accounts[i].layer, sizeof(layer));
		int rc = ledger_account(layer, n, &at);
		const struct ledger_layer *l = &layer[n - 1];
		if (rc < 0)
			fail_msg("%s: layer %u: %d", accounts[i].name, at, rc);
		if (l->mtu != accounts[i].mtu || l->mss4 != accounts[i].mss4 ||
			l->mss6 != accounts[i].mss6 || l->due != accounts[i].due)
			fail_msg("%s: mtu %u, mss %u %u, due %u", accounts[i].name, l->mtu, l->mss4,
				l->mss6, l->due);
		if (l->fragments != accounts[i].fragments ||
			l->packets_x100 != accounts[i].packets_x100 ||
			l->payload_permill != accounts[i].payload ||
			ledger_capacity_permill(layer, n) != accounts[i].capacity)
			fail_msg("%s: fragments %u, packets %u, payload %u, capacity %u",
				accounts[i].name, l->fragments, l->packets_x100, l->payload_permill,
				ledger_capacity_permill(layer, n));
	}
}

// Full packets as they are in the layer below.
static void test_outer(void **)
{
	static const struct {
		struct ledger_layer layer[2];
		uint32_t outer;
	} cases[] = {
		{{LINK(1500), L_MTU(WG4, 1420)}, 1480},
		{{LINK(1500), L_MTU(WG6, 1420)}, 1500},
		{{LINK(1500), L_MTU(VXLAN4, 1450)}, 1500},
		{{LINK(1500), L_MTU(VXLAN6, 1430)}, 1500},
		{{LINK(1230), L_MTU(WG4, 1280)}, 1340}, // a tailnet's packet in a pod's network
		{{LINK(1230), L_MTU(WG, 1280)}, 1360},
	};
	for (unsigned i = 0; i < N(cases); i++) {
		struct ledger_layer layer[2];
		unsigned at;
		memcpy(layer, cases[i].layer, sizeof(layer));
		assert_int_equal(ledger_account(layer, 2, &at), 0);
		assert_int_equal(layer[1].outer, cases[i].outer);
	}
}

static const struct {
	const char *name;
	struct ledger_layer layer[LEDGER_LAYERS_MAX + 1];
	unsigned n, at;
	int error;
} refusals[] = {
	{"nothing", {}, 0, 0, -E2BIG},
	{"too many", {LINK(9000), L(WG4), L(WG4), L(WG4), L(WG4), L(WG4), L(WG4), L(WG4), L(WG4)},
		9, 9, -E2BIG},
	{"no link", {L_MTU(WG4, 1420)}, 1, 0, -EINVAL},
	{"a tag alone", {L_MTU(VLAN, 1500)}, 1, 0, -EINVAL},
	{"a link within", {LINK(1500), LINK(1500)}, 2, 1, -EINVAL},
	{"no such kind", {LINK(1500), L(KINDS)}, 2, 1, -EINVAL},
	{"a tag in WireGuard", {LINK(1500), L(WG4), L(VLAN)}, 3, 2, -EINVAL},
	{"a tag in DERP", {LINK(1500), L(DERP4), L(VLAN)}, 3, 2, -EINVAL},
	{"a tag in a relay", {LINK(1500), L(RELAY6), L(VLAN)}, 3, 2, -EINVAL},
	{"a link without MTU", {L(LINK)}, 1, 0, -EDOM},
	{"only a probe of a link", {L_SAID(LINK, 0, PROBE, 1500)}, 1, 0, -EDOM},
	{"a narrow link", {LINK(575)}, 1, 0, -EDOM},
	{"a narrow interface", {LINK(1500), L_MTU(WG4, 575)}, 2, 1, -EDOM},
	{"an ICMP attack", {L_SAID(LINK, 1500, ICMP, 68), L(WG4)}, 2, 0, -EDOM},
	{"a probe of nothing", {LINK(1500), L_SAID(WG4, 0, PROBE, 1)}, 2, 1, -EDOM},
	{"no room", {LINK(635), L(WG4)}, 2, 1, -ENOSPC},
	{"no room at the end", {LINK(800), L(WG4), L(VXLAN4), L(WG4), L(VXLAN4), L(WG4)}, 6, 5,
		-ENOSPC},
	{"IPv6 on a narrow link", {LINK(1279), L(WG6)}, 2, 1, -EAFNOSUPPORT},
	{"IPv6 in a pod of the tailnet", {LINK(1500), L_MTU(WG4, 1280), L(VXLAN4), L(WG6)}, 4, 3,
		-EAFNOSUPPORT},
	{"VXLAN over IPv6 likewise", {LINK(1279), L(VXLAN6)}, 2, 1, -EAFNOSUPPORT},
	{"a relay over IPv6 likewise", {LINK(1279), L(RELAY6)}, 2, 1, -EAFNOSUPPORT},
	{"DERP over IPv6 likewise", {LINK(1279), L(DERP6)}, 2, 1, -EAFNOSUPPORT},
	{"IPv6 where ICMP says less", {L_SAID(LINK, 1500, ICMP, 1200), L(WG6)}, 2, 1,
		-EAFNOSUPPORT},
	{"a tag's interface larger than the link", {LINK(1500), L_MTU(VLAN, 1501)}, 2, 1,
		-EMSGSIZE},
	{"larger than VXLAN", {LINK(1500), L(VXLAN4), L_MTU(VLAN, 1451)}, 3, 2, -EMSGSIZE},
	{"more than IPv4 holds", {LINK(1500), L_MTU(WG4, 65476)}, 2, 1, -EMSGSIZE},
	{"more than IPv6 holds", {LINK(1500), L_MTU(VXLAN6, 65535)}, 2, 1, -EMSGSIZE},
};

static void test_refusals(void **)
{
	for (unsigned i = 0; i < N(refusals); i++) {
		struct ledger_layer layer[LEDGER_LAYERS_MAX + 1];
		unsigned at = 99;
		memcpy(layer, refusals[i].layer, sizeof(layer));
		int rc = ledger_account(layer, refusals[i].n, &at);
		if (rc != refusals[i].error || at != refusals[i].at)
			fail_msg("%s: %d at %u", refusals[i].name, rc, at);
	}
}

static void test_fragments(void **)
{
	static const struct {
		const char *name;
		uint32_t len;
		uint16_t mtu;
		enum ip_family family;
		uint32_t pieces;
	} cases[] = {
		{"fits", 1230, 1230, IP_V4, 1},
		{"one byte more", 1231, 1230, IP_V4, 2},
		{"a tailnet's packet in a pod's network", 1340, 1230, IP_V4, 2},
		{"the same over IPv6", 1360, 1230, IP_V6, 2},
		{"multiples of 8: 1208 and not 1210 each", 20 + 2 * 1210, 1230, IP_V4, 3},
		{"the last may be longer", 20 + 1208 + 1210, 1230, IP_V4, 2},
		{"but not by more", 21 + 1208 + 1210, 1230, IP_V4, 3},
		{"two full ones", 20 + 2 * 1208, 1230, IP_V4, 2},
		{"IPv6's header for fragments", 40 + 2 * 1232, 1280, IP_V6, 2},
		{"a byte more than two", 41 + 2 * 1232, 1280, IP_V6, 3},
		{"the largest", 65535, 576, IP_V4, 119},
		{"the narrowest of RFC 791", 548, 68, IP_V4, 11},
		{"no place for a piece, IPv4", 100, 27, IP_V4, 0},
		{"no place for a piece, IPv6", 100, 55, IP_V6, 0},
		{"nothing but a header", 20, 19, IP_V4, 0},
		{"no network", 1500, 0, IP_V4, 0},
	};
	for (unsigned i = 0; i < N(cases); i++) {
		uint32_t n = ledger_fragments(cases[i].len, cases[i].mtu, cases[i].family);
		if (n != cases[i].pieces)
			fail_msg("%s: %u", cases[i].name, n);
	}
}

// What workers ask for each packet or path.
static void test_inline(void **)
{
	assert_int_equal(ledger_inside(1500, LEDGER_WG4), 1440);
	assert_int_equal(ledger_inside(60, LEDGER_WG4), 0);
	assert_int_equal(ledger_inside(0, LEDGER_RELAY6), 0);
	assert_int_equal(ledger_lower(1420, 0), 1420);
	assert_int_equal(ledger_lower(1420, 1400), 1400);
	assert_int_equal(ledger_lower(1420, 1440), 1420);
	assert_int_equal(ledger_mss(1420, IP_V4), 1380);
	assert_int_equal(ledger_mss(1420, IP_V6), 1360);
	assert_int_equal(ledger_mss(40, IP_V4), 0);
	assert_int_equal(ledger_mss(0, IP_V6), 0);
	// What iperf3 shows as MSS, with timestamps: of a tunnel, of AWS' jumbo frames and a tunnel
	// there.
	static const uint16_t shown[][2] = {{1420, 1368}, {9001, 8949}, {8921, 8869}};
	for (unsigned i = 0; i < N(shown); i++)
		assert_int_equal(
			ledger_mss(shown[i][0], IP_V4) - LEDGER_TIMESTAMPS_LEN, shown[i][1]);
	static const uint32_t padded[][3] = {{0, 1420, 0}, {1, 1420, 16}, {16, 1420, 16},
		{1408, 1420, 1408}, {1409, 1420, 1420}, {1420, 1420, 1420}, {1150, 1150, 1150},
		{1150, 1280, 1152}, {1421, 1420, 1424}};
	for (unsigned i = 0; i < N(padded); i++)
		assert_int_equal(wg_padded_len(padded[i][0], padded[i][1]), padded[i][2]);
}

// --- Packet by packet.

enum { PACKETS_MAX = 1 << 16 };

struct packets {
	unsigned n;
	uint32_t len[PACKETS_MAX];
};

static void send_cut(struct packets *to, uint32_t len, uint16_t mtu, bool v4)
{
	uint32_t header = v4 ? 20 : 40, more = v4 ? 0 : 8, left = len - header;
	while (len > mtu && left + header + more > mtu) {
		uint32_t piece = 0;
		while (piece + 8 + header + more <= mtu && piece + 8 < left)
			piece += 8;
		to->len[to->n++] = header + more + piece;
		left -= piece;
	}
	to->len[to->n++] = len > mtu ? header + more + left : len;
}

static void simulate(const struct ledger_layer *layer, unsigned i, uint64_t *bytes, uint64_t *n)
{
	static struct packets room[2];
	struct packets *now = &room[0], *next = &room[1];
	now->n = 1;
	now->len[0] = layer[i].mtu;
	for (; i > 0; i--) {
		bool v4 = layer[i].kind == LEDGER_WG4 || layer[i].kind == LEDGER_VXLAN4;
		bool wg = layer[i].kind == LEDGER_WG4 || layer[i].kind == LEDGER_WG6;
		next->n = 0;
		for (unsigned k = 0; k < now->n; k++) {
			uint32_t len = now->len[k];
			while (wg && len % 16 != 0 && len < layer[i].mtu)
				len++;
			send_cut(next, len + (wg ? 32 : 22) + (v4 ? 28 : 48), layer[i - 1].mtu, v4);
		}
		struct packets *done = now;
		now = next;
		next = done;
	}
	*bytes = 0;
	*n = now->n;
	for (unsigned k = 0; k < now->n; k++)
		*bytes += now->len[k] + 38;
}

static void test_simulation(void **)
{
	static const enum ledger_kind kinds[] = {
		LEDGER_WG4, LEDGER_WG6, LEDGER_VXLAN4, LEDGER_VXLAN6};
	unsigned accepted = 0;
	srandom(6);
	for (unsigned round = 0; round < 20000; round++) {
		struct ledger_layer layer[LEDGER_LAYERS_MAX] = {LINK(576 + random() % 9000)};
		unsigned n = 2 + random() % 4, at;
		for (unsigned i = 1; i < n; i++) {
			layer[i].kind = kinds[random() % N(kinds)];
			if (random() % 2)
				layer[i].said[LEDGER_INTERFACE] = 576 + random() % 9000;
		}
		if (ledger_account(layer, n, &at) < 0)
			continue;
		accepted++;
		for (unsigned i = 0; i < n; i++) {
			uint64_t bytes, packets;
			simulate(layer, i, &bytes, &packets);
			uint64_t payload = ((layer[i].mtu - 52) * 1000 + bytes / 2) / bytes;
			assert_int_equal(layer[i].packets_x100, packets * 100);
			assert_int_equal(layer[i].payload_permill, payload);
		}
	}
	assert_in_range(accepted, 2000, 20000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_overhead),
		cmocka_unit_test(test_accounts),
		cmocka_unit_test(test_outer),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_fragments),
		cmocka_unit_test(test_inline),
		cmocka_unit_test(test_simulation),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
