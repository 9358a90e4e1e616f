// Packets in VXLAN that are too big: who is told what, and what becomes of them.
#include "dataplane/node/icmp_build.h"
#include "tests/unit/vxlan.h"

enum {
	MTU = 1420,
};

// Changes of a packet in VXLAN over IPv4; at counts from its outer IP header.
enum {
	AT_VXLAN = 28,
	AT_FRAME = 36,
	AT_TYPE = 48,
	AT_IP = 50,
};

static const struct {
	const char *name;
	uint8_t outer, inner;
	bool df, inner_no_df; // outside; inside
	uint8_t proto;	      // inside; 0: TCP
	uint16_t len;	      // inside
	uint16_t at;	      // 0: nothing is changed
	uint8_t n, bytes[8];
	uint16_t dport;
	uint16_t mtu; // of the tunnel; 0: MTU
	bool silent;  // icmp_rate = 0

	uint16_t told;	 // what the host inside is told; 0: nothing
	bool outer_told; // the VTEP is
	unsigned pieces; // that arrive behind the tunnel
} rows[] = {
	{"IPv4 in IPv4", IP_V4, IP_V4, .len = 1400, .told = 1370},
	{"IPv6 in IPv4", IP_V4, IP_V6, .len = 1400, .told = 1370},
	{"UDP", IP_V4, IP_V4, .proto = IPPROTO_UDP, .len = 1371, .told = 1370},
	{"at IANA's port", IP_V4, IP_V4, .len = 1400, .dport = VXLAN_PORT, .told = 1370},
	{"as large as can be", IP_V4, IP_V4, .len = 9000, .told = 1370},
	{"an echo request", IP_V4, IP_V4, .proto = IPPROTO_ICMP, .len = 1400, .at = AT_IP + 20,
		.n = 1, .bytes = {8}, .told = 1370},
	{"DF outside", IP_V4, IP_V4, .df = true, .len = 1400, .told = 1370, .outer_told = true},
	{"IPv4 in IPv6", IP_V6, IP_V4, .len = 1400, .told = 1350, .outer_told = true},
	{"IPv6 in IPv6", IP_V6, IP_V6, .len = 1400, .told = 1350, .outer_told = true},
	{"IPv6 in less than it needs", IP_V4, IP_V6, .len = 1281, .mtu = 1300, .told = 1280},

	{"fits", IP_V4, IP_V4, .len = 1370, .pieces = 1},
	{"fits, IPv6", IP_V6, IP_V6, .len = 1350, .pieces = 1},
	{"IPv6 of what it needs", IP_V4, IP_V6, .len = 1280, .mtu = 1300, .pieces = 2},
	{"IPv6 of what it needs, in IPv6", IP_V6, IP_V6, .len = 1280, .mtu = 1300,
		.outer_told = true},
	{"no DF inside", IP_V4, IP_V4, .inner_no_df = true, .len = 1400, .pieces = 2},
	{"no DF inside, in IPv6", IP_V6, IP_V4, .inner_no_df = true, .len = 1400,
		.outer_told = true},
	{"no DF inside, but outside", IP_V4, IP_V4, .df = true, .inner_no_df = true, .len = 1400,
		.outer_told = true},
	{"another port", IP_V4, IP_V4, .len = 1400, .dport = 4790, .pieces = 2},
	{"the rate limit", IP_V4, IP_V4, .len = 1400, .silent = true, .pieces = 2},
	{"wrong flags", IP_V4, IP_V4, .len = 1400, .at = AT_VXLAN, .n = 1, .bytes = {0xff},
		.pieces = 2},
	{"a VLAN", IP_V4, IP_V4, .len = 1400, .at = AT_TYPE, .n = 1, .bytes = {0x81}, .pieces = 2},
	{"ARP", IP_V4, IP_V4, .len = 1400, .at = AT_TYPE + 1, .n = 1, .bytes = {6}, .pieces = 2},
	{"padding behind a small one", IP_V4, IP_V4, .len = 1400, .at = AT_IP + 2, .n = 2,
		.bytes = {0, 60}, .pieces = 2},
	{"inside longer than outside", IP_V4, IP_V4, .len = 1400, .at = AT_IP + 2, .n = 2,
		.bytes = {0xff, 0xff}, .pieces = 2},
	{"an error", IP_V4, IP_V4, .proto = IPPROTO_ICMP, .len = 1400, .at = AT_IP + 20, .n = 1,
		.bytes = {3}, .pieces = 2},
	{"an error of IPv6", IP_V4, IP_V6, .proto = IPPROTO_ICMPV6, .len = 1400, .at = AT_IP + 40,
		.n = 1, .bytes = {2}, .pieces = 2},
	{"a later fragment", IP_V4, IP_V4, .len = 1400, .at = AT_IP + 6, .n = 2, .bytes = {0x40, 9},
		.pieces = 2},
	{"to a multicast MAC", IP_V4, IP_V4, .len = 1400, .at = AT_FRAME, .n = 1, .bytes = {1},
		.pieces = 2},
	{"to a multicast address", IP_V4, IP_V4, .len = 1400, .at = AT_IP + 16, .n = 1,
		.bytes = {224}, .pieces = 2},
	{"from nobody", IP_V4, IP_V4, .len = 1400, .at = AT_IP + 12, .n = 4, .bytes = {0},
		.pieces = 2},
	{"from the loopback", IP_V4, IP_V4, .len = 1400, .at = AT_IP + 12, .n = 1, .bytes = {127},
		.pieces = 2},
	{"from a group", IP_V4, IP_V4, .len = 1400, .at = AT_IP + 12, .n = 1, .bytes = {239},
		.pieces = 2},
};

static void build(unsigned i, const struct vx *v, struct flat *inner, struct flat *p)
{
	struct spec s = {.family = rows[i].inner,
		.proto = rows[i].proto,
		.host = 7,
		.no_df = rows[i].inner_no_df};
	flow_build(&s, p);
	s.payload = rows[i].len - p->len;
	flow_build(&s, inner);
	vx_wrap(v, inner, p);
	if (rows[i].at)
		memcpy(p->b + rows[i].at, rows[i].bytes, rows[i].n);
	vx_finish(v, p);
	memcpy(inner->b, p->b + vx_head_len(v), inner->len);
}

// got is the answer to p, in which inner lies: back where it came from, at every layer.
static void assert_answer(const struct flat *got, const struct vx *v, const struct flat *p,
	const struct flat *inner, uint16_t mtu)
{
	bool outer6 = v->family == IP_V6, v4 = flow_is_v4(inner->b);
	uint32_t head = vx_head_len(v), at = outer6 ? 8 : 12, size = outer6 ? 16 : 4;
	uint32_t l3_len = v4 ? 20 : 40, icmp_at = head + l3_len, quote = got->len - icmp_at - 8;
	const uint8_t *frame = p->b + head - ETHER_HDR_LEN, *back = got->b + head - ETHER_HDR_LEN;
	assert_true(got->len <= 1280 && (!v4 || got->len - head <= 576));
	vx_assert_sums(got->b, got->len);
	assert_int_equal(flow_is_v4(got->b), !outer6);
	assert_memory_equal(got->b + at, p->b + at + size, size);
	assert_memory_equal(got->b + at + size, p->b + at, size);
	assert_int_equal(
		get16(got->b + head - VXLAN_L3_AT - 6), v->dport ? v->dport : VXLAN_PORT_LINUX);
	assert_memory_equal(back - VXLAN_HDR_LEN, frame - VXLAN_HDR_LEN, VXLAN_HDR_LEN);
	assert_memory_equal(back, frame + 6, 6);
	assert_memory_equal(back + 6, frame, 6);
	assert_memory_equal(back + 12, frame + 12, 2);

	vx_assert_sums(got->b + head, got->len - head);
	at = v4 ? 12 : 8, size = v4 ? 4 : 16;
	assert_int_equal(flow_is_v4(got->b + head), v4);
	assert_int_equal(flow_proto(got->b + head), v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
	assert_memory_equal(got->b + head + at, inner->b + at + size, size);
	assert_memory_equal(got->b + head + at + size, inner->b + at, size);
	assert_int_equal(get16(got->b + icmp_at), v4 ? 0x0304 : 0x0200);
	assert_int_equal(get32(got->b + icmp_at + 4), mtu);
	assert_true(quote >= l3_len + 8);
	assert_memory_equal(got->b + icmp_at + 8, inner->b, quote);
}

// To the VTEP, as without VXLAN.
static void assert_outer_answer(const struct flat *got, const struct flat *p, uint16_t mtu)
{
	bool v4 = flow_is_v4(p->b);
	uint32_t l3_len = v4 ? 20 : 40;
	vx_assert_sums(got->b, got->len);
	assert_int_equal(get16(got->b + l3_len), v4 ? 0x0304 : 0x0200);
	assert_int_equal(get32(got->b + l3_len + 4), mtu);
	assert_memory_equal(got->b + (v4 ? 16 : 24), p->b + (v4 ? 12 : 8), v4 ? 4 : 16);
}

static void into_the_tunnel(void **state)
{
	struct two *t = *state;
	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		const struct vx v = {.family = rows[i].outer,
			.from = 1,
			.to = 2,
			.csum = true,
			.df = rows[i].df,
			.dport = rows[i].dport};
		uint16_t mtu = rows[i].mtu ? rows[i].mtu : MTU;
		struct flat inner, p, got;
		print_message("%s\n", rows[i].name);
		build(i, &v, &inner, &p);
		t->a.gw.tunnel_mtu = mtu;
		t->a.gw.icmp_rate = rows[i].silent ? 0 : 1000000;
		graph_of(&t->a)->icmp_tokens = 0;
		push_flat(&t->a, GW_LAN, &p);
		run(&t->a);
		hop(&p);
		if (rows[i].told) {
			assert_true(take_flat(&t->a, GW_LAN, &got));
			assert_answer(&got, &v, &p, &inner, rows[i].told);
		}
		if (rows[i].outer_told) {
			assert_true(take_flat(&t->a, GW_LAN, &got));
			assert_outer_answer(&got, &p, mtu);
		}
		assert_int_equal(sent(&t->a, GW_LAN), 0);
		carry(&t->a, &t->b);
		graph_of(&t->a)->drops[DROP_RATE] -= rows[i].silent;
		expect_drops(&t->a, DROP_TOO_BIG, rows[i].told || rows[i].outer_told);
		run(&t->b);
		unsigned pieces = 0;
		while (take_flat(&t->b, GW_LAN, &got))
			pieces++;
		assert_int_equal(pieces, rows[i].pieces);
	}
}

// What a link behind the tunnel does not take: the answer goes back through the tunnel.
static void out_of_the_tunnel(void **state)
{
	struct two *t = *state;
	enum { LEN = 1415 };
	static const uint8_t families[] = {IP_V4, IP_V6};
	t->b.port[GW_LAN]->port.mtu = 1400;
	for (unsigned i = 0; i < 4; i++) {
		const struct vx v = {.family = families[i / 2], .from = 1, .to = 2, .csum = true};
		struct flat inner, p, got;
		uint16_t told = v.family == IP_V6 ? 1330 : 1350;
		struct spec s = {.family = families[i % 2], .host = 7};
		flow_build(&s, &p);
		s.payload = LEN - vx_head_len(&v) - p.len;
		flow_build(&s, &inner);
		vx_wrap(&v, &inner, &p);
		push_flat(&t->a, GW_LAN, &p);
		run(&t->a);
		assert_int_equal(carry(&t->a, &t->b), 1);
		run(&t->b);
		assert_int_equal(sent(&t->b, GW_LAN), 0);
		expect_drops(&t->b, DROP_TOO_BIG, 1);
		carry(&t->b, &t->a);
		run(&t->a);
		assert_true(take_flat(&t->a, GW_LAN, &got));
		assert_answer(&got, &v, &p, &inner, told);
		if (v.family == IP_V6) {
			assert_true(take_flat(&t->a, GW_LAN, &got));
			assert_outer_answer(&got, &p, 1400);
		}
		assert_false(take_flat(&t->a, GW_LAN, &got));
	}
}

// Many too big at once: as many are told as the rate allows, the others go in fragments.
static void a_flood_is_limited(void **state)
{
	struct two *t = *state;
	enum { N = 40 };
	const struct vx v = {.from = 1, .to = 2};
	struct flat inner, p;
	unsigned told, cut = 0;
	t->a.gw.icmp_rate = 1;
	flow_build(&(struct spec){.payload = 1350}, &inner);
	vx_wrap(&v, &inner, &p);
	for (unsigned i = 0; i < N; i++)
		push_flat(&t->a, GW_LAN, &p);
	run(&t->a);
	for (told = 0; take_flat(&t->a, GW_LAN, &p); told++)
		;
	assert_true(told <= 1);
	cut = carry(&t->a, &t->b);
	assert_true(cut > 0);
	assert_int_equal(graph_of(&t->a)->counters[COUNTER_FRAGMENTED], N - told);
	graph_of(&t->a)->drops[DROP_RATE] -= N - told;
	expect_drops(&t->a, DROP_TOO_BIG, told);
	run(&t->b);
	while (take_flat(&t->b, GW_LAN, &p))
		;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		two_test(into_the_tunnel),
		two_test(out_of_the_tunnel),
		two_test(a_flood_is_limited),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
