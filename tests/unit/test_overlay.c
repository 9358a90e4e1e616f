// MSS clamping, held against headers built anew.
#include "tests/unit/packets.h"

enum {
	SYN = RTE_TCP_SYN_FLAG,
	SYN_ACK = RTE_TCP_SYN_FLAG | RTE_TCP_ACK_FLAG,
};

static const struct {
	const char *name;
	uint8_t family, flags;
	uint8_t n, options[12]; // of TCP
	uint8_t at;		// of the MSS value in the options
	uint16_t becomes;	// 0: nothing is changed
} rows[] = {
	{"SYN", IP_V4, SYN, 4, {2, 4, 5, 180}, 2, 1380},
	{"SYN and ACK", IP_V4, SYN_ACK, 4, {2, 4, 5, 180}, 2, 1380},
	{"IPv6", IP_V6, SYN, 4, {2, 4, 5, 160}, 2, 1360},
	{"the greatest", IP_V4, SYN, 4, {2, 4, 255, 255}, 2, 1380},
	{"just too large", IP_V4, SYN, 4, {2, 4, 5, 101}, 2, 1380},
	{"at an odd offset", IP_V4, SYN, 8, {1, 2, 4, 5, 180, 1, 1, 1}, 3, 1380},
	{"odd, IPv6", IP_V6, SYN, 8, {1, 2, 4, 5, 180, 1, 1, 1}, 3, 1360},
	{"odd behind a window scale", IP_V4, SYN, 8, {3, 3, 7, 2, 4, 5, 180, 0}, 5, 1380},
	{"behind others", IP_V4, SYN, 12, {1, 1, 4, 2, 3, 3, 7, 1, 2, 4, 5, 180}, 10, 1380},
	{"SYN with ECN", IP_V4, SYN | RTE_TCP_ECE_FLAG | RTE_TCP_CWR_FLAG, 4, {2, 4, 5, 180}, 2,
		1380},

	{"fits exactly", IP_V4, SYN, 4, {2, 4, 5, 100}, 2, 0},
	{"small", IP_V4, SYN, 4, {2, 4, 2, 24}, 2, 0},
	{"zero", IP_V4, SYN, 4, {2, 4, 0, 0}, 2, 0},
	{"no SYN", IP_V4, RTE_TCP_ACK_FLAG, 4, {2, 4, 5, 180}, 2, 0},
	{"RST", IP_V4, RTE_TCP_RST_FLAG, 4, {2, 4, 5, 180}, 2, 0},
	{"no options", IP_V4, SYN, 0, {0}, 0, 0},
	{"behind the end of options", IP_V4, SYN, 8, {0, 0, 0, 0, 2, 4, 5, 180}, 6, 0},
	{"length 3", IP_V4, SYN, 4, {2, 3, 5, 180}, 2, 0},
	{"length 5", IP_V4, SYN, 8, {2, 5, 5, 180, 0, 0, 0, 0}, 2, 0},
	{"length 0 before it", IP_V4, SYN, 8, {3, 0, 1, 1, 2, 4, 5, 180}, 6, 0},
	{"length 1 before it", IP_V4, SYN, 8, {8, 1, 1, 1, 2, 4, 5, 180}, 6, 0},
	{"an option beyond the header", IP_V4, SYN, 8, {8, 40, 1, 1, 2, 4, 5, 180}, 6, 0},
	{"cut by the header's end", IP_V4, SYN, 4, {1, 1, 2, 4}, 0, 0},
};

static void build(unsigned i, uint8_t from, uint8_t to, bool clamped, struct flat *p)
{
	struct spec s = {.family = rows[i].family, .flags = rows[i].flags, .n_options = rows[i].n};
	inner_build(&s, from, to, p);
	uint8_t *options = p->b + flow_l3_len(p->b) + TCP_HDR_LEN;
	memcpy(options, rows[i].options, rows[i].n);
	if (clamped && rows[i].becomes)
		put16(options + rows[i].at, rows[i].becomes);
	flow_finish(p->b, p->len);
}

// What A holds goes through the tunnel and leaves B's LAN as want, hops routers further on.
static void arrives_as(struct two *t, struct flat *want, unsigned hops)
{
	struct flat got;
	run(&t->a);
	carry(&t->a, &t->b);
	run(&t->b);
	assert_true(take_flat(&t->b, GW_LAN, &got));
	while (hops-- > 0)
		hop(want);
	assert_flat_equal(&got, want);
}

static void into_the_tunnel(struct two *t, bool clamped)
{
	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		struct flat p, want;
		t->b.gw.mss_clamp = false;
		build(i, 1, 2, false, &p);
		build(i, 1, 2, clamped, &want);
		print_message("%s\n", rows[i].name);
		push_flat(&t->a, GW_LAN, &p);
		arrives_as(t, &want, 2);
	}
}

static void syns_into_the_tunnel_are_clamped(void **state)
{
	into_the_tunnel(*state, true);
}

static void the_switch_turns_it_off(void **state)
{
	struct two *t = *state;
	t->a.gw.mss_clamp = false;
	into_the_tunnel(t, false);
}

static void syns_out_of_the_tunnel_are_clamped(void **state)
{
	struct two *t = *state;
	t->a.gw.mss_clamp = false;
	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		struct flat p, want;
		build(i, 1, 2, false, &p);
		build(i, 1, 2, true, &want);
		push_flat(&t->a, GW_HOST, &p);
		arrives_as(t, &want, 1);
	}
}

static void between_two_ports_nothing_is_clamped(void **state)
{
	struct two *t = *state;
	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		struct flat p, got;
		build(i, 7, 1, false, &p);
		push_flat(&t->a, GW_WAN, &p);
		run(&t->a);
		assert_true(take_flat(&t->a, GW_LAN, &got));
		hop(&p);
		assert_flat_equal(&got, &p);
	}
}

// A sender that leaves the checksum to the hardware has only the pseudo header's sum in the field:
// the receiver must see a right one all the same.
static void partial_checksums_stay_right(void **state)
{
	struct two *t = *state;
	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		struct flat p, want;
		build(i, 1, 2, false, &p);
		build(i, 1, 2, true, &want);
		uint32_t l3 = flow_l3_len(p.b);
		put16(p.b + l3 + 16, flow_pseudo_sum(p.b, p.len - l3));
		push_super(&t->a, GW_HOST, &p, 0);
		arrives_as(t, &want, 1);
	}
}

// The TCP header of a later fragment is none.
static void fragments_are_left_alone(void **state)
{
	struct two *t = *state;
	struct flat p, want;
	build(0, 1, 2, false, &p);
	put16(p.b + 6, 5);
	put16(p.b + 10, 0);
	put16(p.b + 10, ~flow_sum(p.b, 20, 0));
	want = p;
	push_flat(&t->a, GW_LAN, &p);
	arrives_as(t, &want, 2);
	assert_int_equal(graph_of(&t->a)->counters[COUNTER_MSS_CLAMPED], 0);
}

// A data offset that leads beyond the packet.
static void short_headers_are_left_alone(void **state)
{
	struct two *t = *state;
	for (unsigned offset = 0; offset < 16; offset++) {
		struct flat p;
		build(0, 1, 2, false, &p);
		p.b[20 + 12] = (uint8_t)(offset << 4);
		flow_finish(p.b, p.len);
		push_flat(&t->a, GW_LAN, &p);
		run(&t->a);
		assert_int_equal(graph_of(&t->a)->counters[COUNTER_MSS_CLAMPED], offset == 6);
		graph_of(&t->a)->counters[COUNTER_MSS_CLAMPED] = 0;
	}
}

// What is known of the path to the peer, where that is less than the tunnel's MTU.
static const struct {
	const char *name;
	uint16_t mtu, least6;
	uint8_t family;
	uint16_t becomes;
} paths[] = {
	{"nothing known", 0, 0, IP_V4, 1380},
	{"more than the tunnel's", 1440, 0, IP_V4, 1380},
	{"the same", 1420, 0, IP_V6, 1360},
	{"a byte less", 1419, 0, IP_V4, 1379},
	{"less", 1340, 0, IP_V4, 1300},
	{"less, IPv6", 1340, 0, IP_V6, 1280},
	{"less than IPv6 takes", 1200, 1280, IP_V4, 1160},
	{"less than IPv6 takes, IPv6", 1200, 1280, IP_V6, 1220},
	{"the least", 576, 1280, IP_V4, 536},
};

static void set_path_mtu(struct gw *g, uint16_t mtu, uint16_t least6)
{
	struct peer_path path = gw_path(g);
	path.mtu = mtu;
	path.least6 = least6;
	peer_set_path(g->gw.rcu, g->peer, &path);
}

static void syn_of(uint8_t family, uint16_t mss, struct flat *p)
{
	struct spec s = {.family = family, .flags = SYN, .n_options = 4};
	inner_build(&s, 1, 2, p);
	uint8_t *options = p->b + flow_l3_len(p->b) + TCP_HDR_LEN;
	memcpy(options, (uint8_t[]){2, 4}, 2);
	put16(options + 2, mss);
	flow_finish(p->b, p->len);
}

static void the_path_to_the_peer_counts(void **state)
{
	struct two *t = *state;
	for (unsigned i = 0; i < RTE_DIM(paths) * 2; i++) {
		bool out = i & 1;
		struct flat p, want;
		print_message("%s, %s\n", paths[i / 2].name, out ? "out of the tunnel" : "into it");
		set_path_mtu(&t->a, out ? 0 : paths[i / 2].mtu, paths[i / 2].least6);
		set_path_mtu(&t->b, out ? paths[i / 2].mtu : 0, paths[i / 2].least6);
		t->a.gw.mss_clamp = !out;
		t->b.gw.mss_clamp = out;
		syn_of(paths[i / 2].family, 1460, &p);
		syn_of(paths[i / 2].family, paths[i / 2].becomes, &want);
		push_flat(&t->a, GW_LAN, &p);
		arrives_as(t, &want, 2);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		two_test(syns_into_the_tunnel_are_clamped),
		two_test(the_switch_turns_it_off),
		two_test(syns_out_of_the_tunnel_are_clamped),
		two_test(between_two_ports_nothing_is_clamped),
		two_test(partial_checksums_stay_right),
		two_test(fragments_are_left_alone),
		two_test(short_headers_are_left_alone),
		two_test(the_path_to_the_peer_counts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
