// Next hops, TTL, sizes; and the ICMP errors that tell of them, held against RFC 792, 1191, 4443.
#include "tests/unit/packets.h"

enum way {
	FROM_LAN,
	FROM_TUN,  // the host's TUN
	FROM_PEER, // out of the tunnel
	FROM_WAN,  // plain, at the WAN port
};

struct row {
	const char *name;
	enum way way;
	uint8_t family;
	uint8_t ttl;   // as it comes to the gateway; 0: 64
	uint8_t to[4]; // IPv4 destination; 0: the usual
	uint16_t payload;
	bool no_df;
	// What comes of it.
	int port; // out, or -1
	enum drop_reason reason;
	uint8_t type, code; // of ICMP; 0: none
	uint16_t mtu;
};

enum {
	NONE = -1,
};

static const struct row rows[] = {
	{"LAN to tunnel", FROM_LAN, IP_V4, .port = GW_WAN},
	{"LAN to tunnel, IPv6", FROM_LAN, IP_V6, .port = GW_WAN},
	{"host to tunnel", FROM_TUN, IP_V4, .port = GW_WAN},
	{"host to tunnel with TTL 1", FROM_TUN, IP_V4, .ttl = 1, .port = GW_WAN},
	{"tunnel to LAN", FROM_PEER, IP_V4, .port = GW_LAN},
	{"tunnel to LAN, IPv6", FROM_PEER, IP_V6, .port = GW_LAN},
	{"TTL 2", FROM_LAN, IP_V4, .ttl = 2, .port = GW_WAN},
	{"tunnel to host", FROM_PEER, IP_V4, .to = {10, 2, 0, 1}, .port = GW_HOST},
	{"tunnel to host with TTL 1", FROM_PEER, IP_V4, .ttl = 1, .to = {10, 2, 0, 1},
		.port = GW_HOST},
	{"tunnel to the kernel's interface", FROM_PEER, IP_V4, .to = {10, 68, 0, 1},
		.port = GW_HOST},
	{"largest packet", FROM_LAN, IP_V4, .payload = 1392, .port = GW_WAN},
	{"largest packet, IPv6", FROM_LAN, IP_V6, .payload = 1372, .port = GW_WAN},

	{"TTL 1", FROM_LAN, IP_V4, .ttl = 1, .port = NONE, DROP_TTL, 11, 0},
	{"hop limit 1", FROM_LAN, IP_V6, .ttl = 1, .port = NONE, DROP_TTL, 3, 0},
	{"TTL 1 out of the tunnel", FROM_PEER, IP_V4, .ttl = 1, .port = NONE, DROP_TTL, 11, 0},
	{"hop limit 1 out of the tunnel", FROM_PEER, IP_V6, .ttl = 1, .port = NONE, DROP_TTL, 3, 0},
	{"no route", FROM_PEER, IP_V4, .to = {8, 8, 8, 8}, .port = NONE, DROP_NO_ROUTE, 3, 0},
	{"reject", FROM_PEER, IP_V4, .to = {10, 66, 0, 1}, .port = NONE, DROP_BLACKHOLE, 3, 13},
	{"blackhole", FROM_PEER, IP_V4, .to = {10, 67, 0, 1}, .port = NONE, DROP_BLACKHOLE},
	{"multicast", FROM_PEER, IP_V4, .to = {224, 0, 0, 5}, .port = NONE, DROP_BROADCAST},
	{"multicast, the last", FROM_PEER, IP_V4, .to = {239, 255, 255, 250}, .port = NONE,
		DROP_BROADCAST},
	{"limited broadcast", FROM_PEER, IP_V4, .to = {255, 255, 255, 255}, .port = NONE,
		DROP_BROADCAST},
	{"nobody's allowed IPs", FROM_LAN, IP_V4, .to = {10, 9, 0, 1}, .port = NONE, DROP_NO_PEER,
		3, 1},
	{"nobody's, from the host", FROM_TUN, IP_V4, .to = {10, 9, 0, 1}, .port = NONE,
		DROP_NO_PEER, 3, 1},
	{"one byte too much", FROM_LAN, IP_V4, .payload = 1393, .port = NONE, DROP_TOO_BIG, 3, 4,
		GW_MTU},
	{"a full Ethernet frame", FROM_LAN, IP_V4, .payload = 1472, .port = NONE, DROP_TOO_BIG, 3,
		4, GW_MTU},
	{"one byte too much, IPv6", FROM_LAN, IP_V6, .payload = 1373, .port = NONE, DROP_TOO_BIG, 2,
		0, GW_MTU},
	{"too big from the host", FROM_TUN, IP_V4, .payload = 1393, .port = NONE, DROP_TOO_BIG, 3,
		4, GW_MTU},
	{"too big from the host, IPv6", FROM_TUN, IP_V6, .payload = 1373, .port = NONE,
		DROP_TOO_BIG, 2, 0, GW_MTU},
};

static void build(const struct row *r, struct flat *p)
{
	struct spec s = {.family = r->family,
		.proto = IPPROTO_UDP,
		.ttl = r->ttl ? r->ttl : 64,
		.payload = r->payload ? r->payload : 100,
		.no_df = r->no_df};
	inner_build(&s, 1, 2, p);
	if (r->to[0])
		memcpy(p->b + 16, r->to, 4);
	flow_finish(p->b, p->len);
}

// Where the packet meets the gateway under test.
static struct gw *send_in(struct two *t, const struct row *r, const struct flat *p)
{
	struct flat frame;
	switch (r->way) {
	case FROM_PEER:
		sealed_raw(t, p->b, p->len, &frame);
		push_flat(&t->b, GW_WAN, &frame);
		return &t->b;
	case FROM_TUN:
		push_flat(&t->a, GW_HOST, p);
		return &t->a;
	default:
		push_flat(&t->a, r->way == FROM_LAN ? GW_LAN : GW_WAN, p);
		return &t->a;
	}
}

// The ICMP error that came of p: addresses, checksums, and p quoted as it was, or one hop on.
static void check_icmp(const struct row *r, const struct flat *p, const struct flat *e)
{
	uint32_t l3 = flow_l3_len(e->b);
	bool v4 = r->family == IP_V4;
	struct flat again = *e;
	assert_int_equal(flow_proto(e->b), v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
	assert_int_equal(e->b[l3], r->type);
	assert_int_equal(e->b[l3 + 1], r->code);
	assert_int_equal(v4 ? get16(e->b + l3 + 6) : get32(e->b + l3 + 4), r->mtu);
	assert_int_equal(e->len, v4 ? get16(e->b + 2) : 40 + get16(e->b + 4));
	assert_in_range(e->len, l3 + 8 + RTE_MIN(p->len, 500u), v4 ? 576 : 1280);
	assert_memory_equal(e->b + (v4 ? 16 : 24), p->b + (v4 ? 12 : 8), v4 ? 4 : 16);
	// The host's kernel refuses what seems to come from itself.
	if (r->way == FROM_TUN && r->reason == DROP_TOO_BIG)
		assert_memory_equal(e->b + (v4 ? 12 : 8), p->b + (v4 ? 16 : 24), v4 ? 4 : 16);
	assert_memory_equal(e->b + l3 + 8 + 12, p->b + 12, e->len - l3 - 8 - 12);
	put16(again.b + l3 + 2, 0);
	uint32_t sum = v4 ? 0 : flow_pseudo_sum(e->b, e->len - l3);
	assert_int_equal(get16(e->b + l3 + 2), (uint16_t)~flow_sum(again.b + l3, e->len - l3, sum));
	if (v4)
		assert_int_equal(flow_sum(e->b, l3, 0), 0xffff);
}

// The port on which an error goes back, sealed if it goes through the tunnel.
static void take_icmp(struct two *t, const struct row *r, struct flat *e)
{
	static const unsigned back[] = {[FROM_LAN] = GW_LAN,
		[FROM_TUN] = GW_LAN,
		[FROM_PEER] = GW_LAN,
		[FROM_WAN] = GW_LAN};
	if (r->way == FROM_PEER) {
		assert_int_equal(carry(&t->b, &t->a), 1);
		run(&t->a);
	}
	assert_true(take_flat(&t->a, back[r->way], e));
}

static void each_packet_goes_its_way(void **state)
{
	struct two *t = *state;
	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		const struct row *r = &rows[i];
		struct flat p, e;
		build(r, &p);
		print_message("%s\n", r->name);
		struct gw *g = send_in(t, r, &p);
		run(g);
		expect_drops(g, r->reason, r->port == NONE);
		if (r->type) {
			take_icmp(t, r, &e);
			check_icmp(r, &p, &e);
		}
		for (int port = 0; port < GW_PORTS; port++) {
			assert_int_equal(sent(g, (unsigned)port), port == r->port);
			while (take_flat(g, (unsigned)port, &e))
				;
		}
	}
}

static void source_of_errors(struct two *t, uint8_t expected[static 4])
{
	struct flat p, e;
	build(&(struct row){.family = IP_V4, .ttl = 1}, &p);
	push_flat(&t->a, GW_LAN, &p);
	run(&t->a);
	assert_true(take_flat(&t->a, GW_LAN, &e));
	assert_memory_equal(e.b + 12, expected, 4);
}

// The receiving port's address, else the host's, else no error.
static void errors_come_from_our_address(void **state)
{
	struct two *t = *state;
	struct flat p;
	atomic_store(&t->a.gw.port_addr4[GW_HOST], rte_cpu_to_be_32(gw_ip4(100, 64, 0, 1)));
	source_of_errors(t, (uint8_t[]){10, 1, 0, 1});
	atomic_store(&t->a.gw.port_addr4[GW_LAN], 0);
	source_of_errors(t, (uint8_t[]){100, 64, 0, 1});
	atomic_store(&t->a.gw.port_addr4[GW_HOST], 0);
	build(&(struct row){.family = IP_V4, .ttl = 1}, &p);
	push_flat(&t->a, GW_LAN, &p);
	run(&t->a);
	expect_nothing(&t->a);
}

// RFC 1812 4.3.2.7, RFC 4443 2.4 (e): errors are not sent about ...
static const struct {
	const char *name;
	uint8_t family, proto, first; // first byte of L4
	struct {
		uint8_t at, value;
	} patch[3];
	bool answered;
} causes[] = {
	{"UDP", IP_V4, IPPROTO_UDP, 0, {{0}}, true},
	{"echo request", IP_V4, IPPROTO_ICMP, 8, {{0}}, true},
	{"echo reply", IP_V4, IPPROTO_ICMP, 0, {{0}}, true},
	{"ICMPv6 echo request", IP_V6, IPPROTO_ICMPV6, 128, {{0}}, true},
	{"first fragment", IP_V4, IPPROTO_UDP, 0, {{6, 0x20}}, true},
	{"destination unreachable", IP_V4, IPPROTO_ICMP, 3, {{0}}, false},
	{"time exceeded", IP_V4, IPPROTO_ICMP, 11, {{0}}, false},
	{"redirect", IP_V4, IPPROTO_ICMP, 5, {{0}}, false},
	{"unknown ICMP type", IP_V4, IPPROTO_ICMP, 200, {{0}}, false},
	{"ICMPv6 too big", IP_V6, IPPROTO_ICMPV6, 2, {{0}}, false},
	{"unknown ICMPv6 error", IP_V6, IPPROTO_ICMPV6, 100, {{0}}, false},
	{"later fragment", IP_V4, IPPROTO_UDP, 0, {{7, 1}}, false},
	{"source 0.0.0.0", IP_V4, IPPROTO_UDP, 0, {{12, 0}, {13, 0}, {15, 0}}, false},
	{"loopback source", IP_V4, IPPROTO_UDP, 0, {{12, 127}}, false},
	{"multicast source", IP_V4, IPPROTO_UDP, 0, {{12, 230}}, false},
	{"class E source", IP_V4, IPPROTO_UDP, 0, {{12, 250}}, false},
	{"IPv6 multicast source", IP_V6, IPPROTO_UDP, 0, {{8, 0xff}}, false},
	{"IPv6 source ::", IP_V6, IPPROTO_UDP, 0, {{8, 0}, {9, 0}, {23, 0}}, false},
};

static void some_packets_are_not_answered(void **state)
{
	struct two *t = *state;
	for (unsigned i = 0; i < RTE_DIM(causes); i++) {
		struct flat p;
		struct spec s = {.family = causes[i].family,
			.proto = causes[i].proto,
			.ttl = 1,
			.payload = 100};
		inner_build(&s, 1, 2, &p);
		p.b[flow_l3_len(p.b)] = causes[i].first;
		for (unsigned k = 0; k < 3; k++) {
			if (causes[i].patch[k].at)
				p.b[causes[i].patch[k].at] = causes[i].patch[k].value;
		}
		flow_finish(p.b, p.len);
		print_message("%s\n", causes[i].name);
		push_flat(&t->a, GW_LAN, &p);
		run(&t->a);
		expect_drops(&t->a, DROP_TTL, 1);
		assert_int_equal(sent(&t->a, GW_LAN), causes[i].answered);
		while (take_flat(&t->a, GW_LAN, &p))
			;
	}
}

static void errors_are_rate_limited(void **state)
{
	struct two *t = *state;
	struct flat p;
	t->a.gw.icmp_rate = 100; // 5 and 1 at once
	build(&(struct row){.family = IP_V4, .ttl = 1}, &p);
	for (unsigned i = 0; i < 500; i++)
		push_flat(&t->a, GW_LAN, &p);
	run(&t->a);
	assert_in_range(sent(&t->a, GW_LAN), 1, 20);
	const struct graph *g = graph_of(&t->a);
	assert_int_equal(g->drops[DROP_TTL], 500);
	assert_int_equal(g->drops[DROP_RATE] + sent(&t->a, GW_LAN), 500);
	t->a.gw.icmp_rate = 0;
	unsigned before = sent(&t->a, GW_LAN);
	push_flat(&t->a, GW_LAN, &p);
	run(&t->a);
	assert_int_equal(sent(&t->a, GW_LAN), before);
}

// Fragments of IPv4 without DF, for the tunnel and for a link, are what the sender could have sent.
static void check_fragments(struct gw *g, unsigned port, const struct flat *p, uint32_t mtu)
{
	static uint8_t seen[70000];
	struct flat f;
	uint32_t have = 0;
	memset(seen, 0, sizeof(seen));
	while (take_flat(g, port, &f)) {
		uint32_t at = (get16(f.b + 6) & 0x1fff) * 8, len = f.len - 20;
		bool more = f.b[6] & 0x20;
		assert_in_range(f.len, 21, mtu);
		assert_int_equal(get16(f.b + 2), f.len);
		assert_int_equal(flow_sum(f.b, 20, 0), 0xffff);
		assert_int_equal(get16(f.b + 4), get16(p->b + 4));
		assert_memory_equal(f.b + 20, p->b + 20 + at, len);
		assert_int_equal(more, 20 + at + len < p->len);
		for (uint32_t i = at; i < at + len; i++)
			assert_int_equal(seen[i]++, 0);
		have += len;
	}
	assert_int_equal(have, p->len - 20);
}

static void packets_without_df_are_fragmented(void **state)
{
	struct two *t = *state;
	static const uint16_t payloads[] = {1393, 1472, 2900, 9000, 40000};
	for (unsigned i = 0; i < 2 * RTE_DIM(payloads); i++) {
		struct flat p;
		build(&(struct row){.family = IP_V4,
			      .no_df = true,
			      .payload = payloads[i % RTE_DIM(payloads)]},
			&p);
		if (i < RTE_DIM(payloads)) {
			push_flat(&t->a, GW_LAN, &p);
		} else { // with the checksum left to the hardware
			struct flat half = p;
			put16(half.b + 26, flow_pseudo_sum(p.b, p.len - 20));
			push_super(&t->a, GW_LAN, &half, 0);
		}
		run(&t->a);
		carry(&t->a, &t->b);
		run(&t->b);
		hop(&p);
		hop(&p);
		check_fragments(&t->b, GW_LAN, &p, GW_MTU);
		assert_int_equal(drops(&t->a) + drops(&t->b), 0);
	}
}

// Where the configuration says so, into the tunnel only; DF or not, their sender is told.
static void fragments_can_be_refused(void **state)
{
	struct two *t = *state;
	struct flat p, e, frame;
	const struct row r = {
		.family = IP_V4, .payload = 1393, .type = 3, .code = 4, .mtu = GW_MTU};
	for (unsigned no_df = 0; no_df < 2; no_df++) {
		struct row asked = r;
		asked.no_df = no_df;
		atomic_store(&t->a.gw.fragment, false);
		build(&asked, &p);
		push_flat(&t->a, GW_LAN, &p);
		run(&t->a);
		hop(&p);
		expect_drops(&t->a, DROP_TOO_BIG, 1);
		take_icmp(t, &asked, &e);
		check_icmp(&asked, &p, &e);
		assert_int_equal(graph_of(&t->a)->counters[COUNTER_FRAGMENTED], 0);
	}
	atomic_store(&t->b.gw.fragment, false);
	t->b.port[GW_LAN]->port.mtu = 1000;
	build(&(struct row){.way = FROM_PEER, .family = IP_V4, .payload = 1300, .no_df = true}, &p);
	sealed_raw(t, p.b, p.len, &frame);
	push_flat(&t->b, GW_WAN, &frame);
	run(&t->b);
	hop(&p);
	check_fragments(&t->b, GW_LAN, &p, 1000);
}

static void links_have_an_mtu_too(void **state)
{
	struct two *t = *state;
	struct flat p, frame, e;
	t->b.port[GW_LAN]->port.mtu = 1000;
	for (unsigned df = 0; df < 2; df++) {
		const struct row r = {.way = FROM_PEER,
			.family = IP_V4,
			.payload = 1300,
			.no_df = !df,
			.type = 3,
			.code = 4,
			.mtu = 1000};
		build(&r, &p);
		sealed_raw(t, p.b, p.len, &frame);
		push_flat(&t->b, GW_WAN, &frame);
		run(&t->b);
		if (df) {
			expect_drops(&t->b, DROP_TOO_BIG, 1);
			take_icmp(t, &r, &e);
			check_icmp(&r, &p, &e);
		} else {
			hop(&p);
			check_fragments(&t->b, GW_LAN, &p, 1000);
		}
	}
}

// A peer reached over a smaller path has a smaller tunnel.
static void paths_have_an_mtu_too(void **state)
{
	struct two *t = *state;
	struct peer_path path = gw_path(&t->a);
	struct flat p, e;
	const struct row r = {.family = IP_V4, .payload = 1272, .type = 3, .code = 4, .mtu = 1299};
	path.mtu = 1299;
	peer_set_path(t->a.gw.rcu, t->a.peer, &path);
	build(&r, &p);
	push_flat(&t->a, GW_LAN, &p);
	run(&t->a);
	expect_drops(&t->a, DROP_TOO_BIG, 1);
	assert_true(take_flat(&t->a, GW_LAN, &e));
	check_icmp(&r, &p, &e);
	// One that just fits is not padded beyond the path.
	build(&(struct row){.family = IP_V4, .payload = 1271}, &p);
	push_flat(&t->a, GW_LAN, &p);
	run(&t->a);
	assert_true(take_flat(&t->a, GW_WAN, &e));
	assert_int_equal(e.len, 1299 + WG_DATA_OVERHEAD + 28);
}

// Nobody who is told less than 1280 sends less: on a narrower way IPv6 goes on as far as the link
// takes it, IPv4 does not.
static void ipv6_has_its_least_mtu(void **state)
{
	struct two *t = *state;
	struct peer_path path = gw_path(&t->a);
	struct flat p, e;
	const struct row over4 = {
		.payload = 1213, .type = 3, .code = 4, .mtu = 1240, .family = IP_V4};
	const struct row over6 = {.payload = 1233, .type = 2, .mtu = 1280, .family = IP_V6};
	path.mtu = 1240;
	path.least6 = 1280;
	peer_set_path(t->a.gw.rcu, t->a.peer, &path);
	build(&over4, &p);
	push_flat(&t->a, GW_LAN, &p);
	run(&t->a);
	expect_drops(&t->a, DROP_TOO_BIG, 1);
	assert_true(take_flat(&t->a, GW_LAN, &e));
	check_icmp(&over4, &p, &e);
	build(&(struct row){.payload = 1232, .family = IP_V6}, &p);
	push_flat(&t->a, GW_LAN, &p);
	run(&t->a);
	expect_drops(&t->a, DROP_TOO_BIG, 0);
	assert_true(take_flat(&t->a, GW_WAN, &e));
	build(&over6, &p);
	push_flat(&t->a, GW_LAN, &p);
	run(&t->a);
	expect_drops(&t->a, DROP_TOO_BIG, 1);
	assert_true(take_flat(&t->a, GW_LAN, &e));
	check_icmp(&over6, &p, &e);
}

// The control thread resolves the neighbour and gives the packet back.
static void unresolved_packets_wait_above(void **state)
{
	struct two *t = *state;
	struct flat p, frame, got;
	struct rte_mbuf *m = NULL;
	build(&(struct row){.family = IP_V4, .to = {10, 2, 0, 77}}, &p);
	sealed_raw(t, p.b, p.len, &frame);
	push_flat(&t->b, GW_WAN, &frame);
	run(&t->b);
	m = punted_get(&t->b.gw);
	assert_non_null(m);
	assert_int_equal(pkt_of(m)->reason, PUNT_RESOLVE);
	flow_flat(m, &got);
	assert_flat_equal(&got, &p); // no hop yet
	gw_route(&t->b, "10.2.0.77/32", NH_LINK, GW_LAN, 1);
	pkt_of(m)->node = NODE_ROUTE;
	assert_true(mailbox_put(graph_of(&t->b)->inbox, &m));
	run(&t->b);
	assert_true(take_flat(&t->b, GW_LAN, &got));
	hop(&p);
	assert_flat_equal(&got, &p);
}

// Two gateways that send to each other what neither has: the packet dies of its TTL.
static void a_routing_loop_ends(void **state)
{
	struct two *t = *state;
	struct flat p;
	unsigned turns = 0;
	gw_route(&t->b, "10.9.0.0/16", NH_TUNNEL, PORT_NONE, 1);
	gw_allow(&t->a, t->a.peer, "10.%u.0.0/16", 9);
	gw_allow(&t->b, t->b.peer, "10.%u.0.0/16", 9);
	gw_allow(&t->a, t->a.peer, "10.%u.0.0/16", 1);
	build(&(struct row){.family = IP_V4, .to = {10, 9, 0, 1}, .ttl = 16}, &p);
	push_flat(&t->a, GW_LAN, &p);
	for (; turns < 100 && graph_of(&t->a)->drops[DROP_TTL] == 0 &&
		graph_of(&t->b)->drops[DROP_TTL] == 0;
		turns++) {
		run(&t->a);
		carry(&t->a, &t->b);
		run(&t->b);
		carry(&t->b, &t->a);
	}
	assert_in_range(turns, 4, 16);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		two_test(each_packet_goes_its_way),
		two_test(errors_come_from_our_address),
		two_test(some_packets_are_not_answered),
		two_test(errors_are_rate_limited),
		two_test(packets_without_df_are_fragmented),
		two_test(fragments_can_be_refused),
		two_test(links_have_an_mtu_too),
		two_test(paths_have_an_mtu_too),
		two_test(ipv6_has_its_least_mtu),
		two_test(unresolved_packets_wait_above),
		two_test(a_routing_loop_ends),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
