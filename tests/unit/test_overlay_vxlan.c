// TCP in VXLAN in the tunnel: MSS clamping held against packets built anew, what is left alone and
// how it is counted, and the boundaries of datagrams.
#include "tests/unit/vxlan.h"

enum {
	SYN = RTE_TCP_SYN_FLAG,
	MSS_AT = 2, // in the options
	PORT_OWN = 14789,
};

static void syn_build(uint8_t family, uint16_t mss, struct flat *p)
{
	struct spec s = {.family = family, .flags = SYN, .n_options = 4, .payload = 3, .host = 7};
	flow_build(&s, p);
	uint8_t *options = p->b + flow_l3_len(p->b) + TCP_HDR_LEN;
	memcpy(options, (uint8_t[]){2, 4}, 2);
	put16(options + MSS_AT, mss);
	flow_finish(p->b, p->len);
}

static const struct {
	const char *name;
	uint8_t outer, inner;
	uint16_t mss, becomes; // at an MTU of 1420
	uint16_t dport;
	bool csum;
} rows[] = {
	{"IPv4 in IPv4", IP_V4, IP_V4, 1460, 1330},
	{"with a checksum", IP_V4, IP_V4, 1460, 1330, .csum = true},
	{"at IANA's port", IP_V4, IP_V4, 1460, 1330, VXLAN_PORT, true},
	{"IPv6 in IPv4", IP_V4, IP_V6, 1440, 1310},
	{"IPv6 in IPv4, with a checksum", IP_V4, IP_V6, 1440, 1310, .csum = true},
	{"IPv4 in IPv6", IP_V6, IP_V4, 1460, 1310},
	{"IPv6 in IPv6", IP_V6, IP_V6, 1440, 1290},
	{"the greatest", IP_V4, IP_V4, 65535, 1330, .csum = true},
	{"one too large", IP_V4, IP_V4, 1331, 1330, .csum = true},
	{"fits exactly", IP_V4, IP_V4, 1330, 1330, .csum = true},
	{"small", IP_V6, IP_V6, 536, 536},
	{"at another port", IP_V4, IP_V4, 1460, 1460, 4790, true},
	{"at port 1, IPv6", IP_V6, IP_V6, 1440, 1440, 1},
};

static void wrapped_syn(unsigned i, uint8_t from, uint8_t to, uint16_t mss, struct flat *p)
{
	struct vx v = {.family = rows[i].outer,
		.from = from,
		.to = to,
		.dport = rows[i].dport,
		.csum = rows[i].csum};
	struct flat inner;
	syn_build(rows[i].inner, mss, &inner);
	vx_wrap(&v, &inner, p);
}

// Through both gateways, in at port in of A.
static void through(struct two *t, unsigned in, const struct flat *p, struct flat *got)
{
	push_flat(&t->a, in, p);
	run(&t->a);
	carry(&t->a, &t->b);
	run(&t->b);
	assert_true(take_flat(&t->b, GW_LAN, got));
}

static void into_the_tunnel(void **state)
{
	struct two *t = *state;
	t->b.gw.mss_clamp = false;
	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		struct flat p, want, got;
		print_message("%s\n", rows[i].name);
		graph_of(&t->a)->counters[COUNTER_MSS_CLAMPED] = 0;
		wrapped_syn(i, 1, 2, rows[i].mss, &p);
		wrapped_syn(i, 1, 2, rows[i].becomes, &want);
		through(t, GW_LAN, &p, &got);
		hop(&want);
		hop(&want);
		assert_flat_equal(&got, &want);
		assert_int_equal(graph_of(&t->a)->counters[COUNTER_MSS_CLAMPED],
			rows[i].mss != rows[i].becomes);
	}
}

static void out_of_the_tunnel(void **state)
{
	struct two *t = *state;
	t->a.gw.mss_clamp = false;
	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		struct flat p, want, got;
		wrapped_syn(i, 1, 2, rows[i].mss, &p);
		wrapped_syn(i, 1, 2, rows[i].becomes, &want);
		through(t, GW_HOST, &p, &got);
		hop(&want);
		assert_flat_equal(&got, &want);
	}
}

static void switched_off(void **state)
{
	struct two *t = *state;
	for (unsigned how = 0; how < 2; how++) {
		for (unsigned g = 0; g < 2; g++) {
			struct gateway *gw = g == 0 ? &t->a.gw : &t->b.gw;
			gw->mss_clamp = how != 0;
			gw->vxlan_ports = how == 0 ? gw->vxlan_ports : 0;
		}
		for (unsigned i = 0; i < RTE_DIM(rows); i++) {
			struct flat p, got;
			wrapped_syn(i, 1, 2, rows[i].mss, &p);
			through(t, GW_LAN, &p, &got);
			hop(&p);
			hop(&p);
			assert_flat_equal(&got, &p);
		}
	}
}

// On the way to the peer fit 80 bytes less than in the tunnel's MTU.
static void the_path_to_the_peer_counts(void **state)
{
	struct two *t = *state;
	for (unsigned i = 0; i < RTE_DIM(rows) * 2; i++) {
		unsigned row = i / 2;
		bool out = i & 1, changes = rows[row].mss > rows[row].becomes;
		struct gw *g = out ? &t->b : &t->a;
		struct peer_path path = gw_path(g);
		struct flat p, want, got;
		if (rows[row].becomes == 1330 && !changes)
			continue; // fits the tunnel, but not this path
		path.mtu = 1340;
		peer_set_path(g->gw.rcu, g->peer, &path);
		t->a.gw.mss_clamp = !out;
		t->b.gw.mss_clamp = out;
		wrapped_syn(row, 1, 2, rows[row].mss, &p);
		wrapped_syn(row, 1, 2, rows[row].becomes - (changes ? 80 : 0), &want);
		through(t, GW_LAN, &p, &got);
		hop(&want);
		hop(&want);
		assert_flat_equal(&got, &want);
	}
}

static void between_two_ports_nothing_is_clamped(void **state)
{
	struct two *t = *state;
	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		struct flat p, got;
		wrapped_syn(i, 7, 1, rows[i].mss, &p);
		push_flat(&t->a, GW_WAN, &p);
		run(&t->a);
		assert_true(take_flat(&t->a, GW_LAN, &got));
		hop(&p);
		assert_flat_equal(&got, &p);
	}
}

// What a SYN in VXLAN becomes by one change, from the outer IPv4 header on (20 + 8 + 8 + 14 + 20).
enum {
	AT_UDP = 20,
	AT_VXLAN = 28,
	AT_TYPE = 48,
	AT_IP = 50,
	AT_TCP = 70,
};

static const struct {
	const char *name;
	uint16_t at;
	uint8_t n, bytes[4];
	uint32_t cut;	      // to this length, which UDP and IP then say
	enum counter counter; // COUNTER_COUNT: none
} alone[] = {
	{"no VNI", AT_VXLAN, 1, {0}, 0, COUNTER_VXLAN_FLAGS},
	{"GPE", AT_VXLAN, 1, {0x0c}, 0, COUNTER_VXLAN_FLAGS},
	{"all flags", AT_VXLAN, 1, {0xff}, 0, COUNTER_VXLAN_FLAGS},
	{"nothing behind UDP", 0, 0, {0}, AT_VXLAN, COUNTER_VXLAN_SHORT},
	{"VXLAN cut short", 0, 0, {0}, AT_VXLAN + 7, COUNTER_VXLAN_SHORT},
	{"Ethernet cut short", 0, 0, {0}, AT_IP - 1, COUNTER_VXLAN_SHORT},
	{"UDP length 0", AT_UDP + 4, 2, {0, 0}, 0, COUNTER_VXLAN_SHORT},
	{"UDP length 7", AT_UDP + 4, 2, {0, 7}, 0, COUNTER_VXLAN_SHORT},
	{"UDP length beyond the packet", AT_UDP + 4, 2, {0xff, 0xff}, 0, COUNTER_VXLAN_SHORT},
	{"UDP ends within the SYN", AT_UDP + 4, 2, {0, 70}, 0, COUNTER_VXLAN_INNER},
	{"a VLAN", AT_TYPE, 4, {0x81, 0, 0, 5}, 0, COUNTER_VXLAN_VLAN},
	{"two VLANs", AT_TYPE, 4, {0x88, 0xa8, 0, 5}, 0, COUNTER_VXLAN_VLAN},
	{"ARP", AT_TYPE, 2, {0x08, 0x06}, 0, COUNTER_VXLAN_NOT_IP},
	{"no IP header", 0, 0, {0}, AT_IP, COUNTER_VXLAN_INNER},
	{"IP header cut short", 0, 0, {0}, AT_TCP - 1, COUNTER_VXLAN_INNER},
	{"IP packet cut short", 0, 0, {0}, AT_TCP + 24, COUNTER_VXLAN_INNER},
	{"IPv6 said", AT_TYPE, 2, {0x86, 0xdd}, 0, COUNTER_VXLAN_INNER},
	{"IP header length 16", AT_IP, 1, {0x44}, 0, COUNTER_VXLAN_INNER},
	{"a first fragment inside", AT_IP + 6, 2, {0x20, 0}, 0, COUNTER_COUNT},
	{"a later fragment inside", AT_IP + 6, 2, {0x20, 9}, 0, COUNTER_COUNT},
	{"UDP inside", AT_IP + 9, 1, {17}, 0, COUNTER_COUNT},
	{"no SYN", AT_TCP + 13, 1, {0x10}, 0, COUNTER_COUNT},
	{"no SYN, cut short", AT_TCP + 13, 1, {0x10}, AT_TCP + 24, COUNTER_VXLAN_INNER},
	{"no SYN, cut within TCP's header", AT_TCP + 13, 1, {0x10}, AT_TCP + 19,
		COUNTER_VXLAN_INNER},
	{"TCP header beyond the packet", AT_TCP + 12, 1, {0xf0}, 0, COUNTER_COUNT},
	{"TCP header of 16 bytes", AT_TCP + 12, 1, {0x40}, 0, COUNTER_COUNT},
	{"MSS of length 3", AT_TCP + 21, 1, {3}, 0, COUNTER_COUNT},
	{"IP packet ends within TCP's header", AT_IP + 2, 2, {0, 42}, 0, COUNTER_COUNT},
};

static const enum counter passed[] = {COUNTER_VXLAN_SHORT, COUNTER_VXLAN_FLAGS, COUNTER_VXLAN_VLAN,
	COUNTER_VXLAN_NOT_IP, COUNTER_VXLAN_INNER, COUNTER_VXLAN_NESTED};

static void expect_passed(struct two *t, enum counter counter)
{
	uint64_t *counters = graph_of(&t->a)->counters;
	assert_int_equal(counters[COUNTER_MSS_CLAMPED], 0);
	for (unsigned i = 0; i < RTE_DIM(passed); i++) {
		assert_int_equal(counters[passed[i]], passed[i] == counter);
		counters[passed[i]] = 0;
	}
}

static void what_is_not_understood_passes(void **state)
{
	struct two *t = *state;
	for (unsigned i = 0; i < RTE_DIM(alone); i++) {
		struct flat p, got;
		print_message("%s\n", alone[i].name);
		wrapped_syn(0, 1, 2, 1460, &p);
		if (alone[i].cut) {
			p.len = alone[i].cut;
			vx_finish(&(struct vx){0}, &p);
		}
		memcpy(p.b + alone[i].at, alone[i].bytes, alone[i].n);
		t->b.gw.mss_clamp = false;
		through(t, GW_LAN, &p, &got);
		hop(&p);
		hop(&p);
		assert_flat_equal(&got, &p);
		expect_passed(t, alone[i].counter);
		assert_int_equal(drops(&t->a) + drops(&t->b), 0);
	}
}

static void fragments_outside_are_left_alone(void **state)
{
	struct two *t = *state;
	static const uint8_t frag[][2] = {{0x20, 0}, {0x20, 8}, {0, 8}};
	for (unsigned i = 0; i < RTE_DIM(frag); i++) {
		struct flat p, got;
		wrapped_syn(0, 1, 2, 1460, &p);
		memcpy(p.b + 6, frag[i], 2);
		put16(p.b + 10, 0);
		put16(p.b + 10, ~flow_sum(p.b, 20, 0));
		through(t, GW_LAN, &p, &got);
		hop(&p);
		hop(&p);
		assert_flat_equal(&got, &p);
		expect_passed(t, COUNTER_COUNT);
	}
}

// VXLAN in VXLAN, looked into as deep as is said; each level takes its share of the MTU.
static void nested(void **state)
{
	struct two *t = *state;
	static const uint16_t mss[] = {0, 1330, 1280, 1230, 1180};
	const struct vx v = {.from = 1, .to = 2, .csum = true};
	t->b.gw.mss_clamp = false;
	for (unsigned levels = 1; levels <= VXLAN_DEPTH_MAX; levels++) {
		for (unsigned depth = 1; depth <= VXLAN_DEPTH_MAX; depth++) {
			bool reached = depth >= levels;
			struct flat p[2], want[2], got;
			syn_build(IP_V4, 1460, &p[0]);
			syn_build(IP_V4, reached ? mss[levels] : 1460, &want[0]);
			for (unsigned l = 0; l < levels; l++) {
				vx_wrap(&v, &p[l % 2], &p[(l + 1) % 2]);
				vx_wrap(&v, &want[l % 2], &want[(l + 1) % 2]);
			}
			t->a.gw.vxlan_depth = (uint8_t)depth;
			through(t, GW_LAN, &p[levels % 2], &got);
			hop(&want[levels % 2]);
			hop(&want[levels % 2]);
			assert_flat_equal(&got, &want[levels % 2]);
			graph_of(&t->a)->counters[COUNTER_MSS_CLAMPED] = 0;
			expect_passed(t, reached ? COUNTER_COUNT : COUNTER_VXLAN_NESTED);
		}
	}
}

// A port of one's own: its SYNs are clamped, and its datagrams stay as they are.
static void set_port(struct two *t, uint16_t port)
{
	const struct vxlan_ports ports = {{0, 0, rte_cpu_to_be_16(port)}};
	t->a.gw.vxlan_ports = t->b.gw.vxlan_ports = vxlan_ports_pack(&ports);
}

static void another_port_can_be_named(void **state)
{
	struct two *t = *state;
	const struct vx v = {.from = 1, .to = 2, .dport = PORT_OWN, .csum = true};
	struct flat inner, p, want, got;
	set_port(t, PORT_OWN);
	syn_build(IP_V4, 1460, &inner);
	vx_wrap(&v, &inner, &p);
	syn_build(IP_V4, 1330, &inner);
	vx_wrap(&v, &inner, &want);
	through(t, GW_LAN, &p, &got);
	hop(&want);
	hop(&want);
	assert_flat_equal(&got, &want);
}

// A super-packet of datagrams, each a SYN in VXLAN.
static void each_of_a_super_packet(void **state)
{
	struct two *t = *state;
	enum { N = 5 };
	struct flat inner, p, one, want, got;
	const struct vx v = {.from = 1, .to = 2, .csum = true};
	syn_build(IP_V4, 1460, &inner);
	vx_wrap(&v, &inner, &one);
	p = one;
	uint32_t head = IP4_HDR_LEN + UDP_HDR_LEN, segsz = one.len - head;
	for (unsigned i = 1; i < N; i++) {
		memcpy(p.b + p.len, one.b + head, segsz);
		p.len += segsz;
	}
	flow_finish(p.b, p.len);
	syn_build(IP_V4, 1330, &inner);
	vx_wrap(&v, &inner, &want);
	hop(&want);
	hop(&want);
	push_super(&t->a, GW_LAN, &p, (uint16_t)segsz);
	run(&t->a);
	carry(&t->a, &t->b);
	run(&t->b);
	assert_int_equal(graph_of(&t->a)->counters[COUNTER_MSS_CLAMPED], N);
	for (unsigned i = 0; i < N; i++) {
		assert_true(take_flat(&t->b, GW_LAN, &got));
		put16(want.b + 4, i); // identifications count up
		put16(want.b + 10, 0);
		put16(want.b + 10, ~flow_sum(want.b, 20, 0));
		assert_flat_equal(&got, &want);
	}
	assert_int_equal(sent(&t->b, GW_LAN), 0);
}

// Datagrams of a flow, equal and not, come out as they went in, one by one.
static void boundaries_are_kept(void **state)
{
	struct two *t = *state;
	static const uint16_t ports[] = {VXLAN_PORT, VXLAN_PORT_LINUX, PORT_OWN};
	static const uint16_t sizes[] = {1000, 1000, 1000, 200, 1000, 1, 1, 1300, 1300, 40};
	for (unsigned i = 0; i < RTE_DIM(ports); i++) {
		const struct vx v = {.from = 1, .to = 2, .dport = ports[i], .csum = true};
		set_port(t, PORT_OWN);
		for (unsigned k = 0; k < RTE_DIM(sizes); k++) {
			struct flat inner, p;
			flow_build(
				&(struct spec){.payload = sizes[k], .seq = k, .fill = k}, &inner);
			vx_wrap(&v, &inner, &p);
			push_flat(&t->a, GW_LAN, &p);
		}
		run(&t->a);
		carry(&t->a, &t->b);
		run(&t->b);
		assert_int_equal(sent(&t->b, GW_LAN), RTE_DIM(sizes));
		for (unsigned k = 0; k < RTE_DIM(sizes); k++) {
			struct flat inner, want, got;
			flow_build(
				&(struct spec){.payload = sizes[k], .seq = k, .fill = k}, &inner);
			vx_wrap(&v, &inner, &want);
			hop(&want);
			hop(&want);
			assert_true(take_flat(&t->b, GW_LAN, &got));
			assert_flat_equal(&got, &want);
		}
	}
	assert_int_equal(graph_of(&t->b)->counters[COUNTER_SUPERS_COALESCED], 0);
}

// A run of TCP segments in VXLAN that the kernel left in one piece: inner of segsz bytes each.
static void push_run(struct two *t, const struct vx *v, const struct flat *inner, uint16_t segsz)
{
	struct flat p;
	vx_wrap(v, inner, &p);
	struct rte_mbuf *m = frame_of(&t->a, GW_LAN, p.b, p.len);
	m->packet_type = VNET_TUNNEL_TCP;
	m->tso_segsz = segsz;
	push(&t->a, GW_LAN, m);
	run(&t->a);
}

static void a_run_of_segments(void **state)
{
	struct two *t = *state;
	enum { BYTES = 20000, SEGSZ = 1250 };
	for (unsigned i = 0; i < 8; i++) {
		const struct vx v = {
			.family = i & 1 ? IP_V6 : IP_V4, .from = 1, .to = 2, .csum = i & 4};
		struct flat inner, one, want, got;
		flow_build(
			&(struct spec){.family = i & 2 ? IP_V6 : IP_V4, .payload = BYTES}, &inner);
		push_run(t, &v, &inner, SEGSZ);
		carry(&t->a, &t->b);
		run(&t->b);
		assert_int_equal(sent(&t->b, GW_LAN), BYTES / SEGSZ);
		for (unsigned k = 0; flow_segment(&inner, SEGSZ, k, &one); k++) {
			vx_wrap(&v, &one, &want);
			hop(&want);
			hop(&want);
			if (v.family == IP_V4) { // identifications count up
				put16(want.b + 4, k);
				put16(want.b + 10, 0);
				put16(want.b + 10, ~flow_sum(want.b, 20, 0));
			}
			assert_true(take_flat(&t->b, GW_LAN, &got));
			assert_flat_equal(&got, &want);
		}
		assert_int_equal(drops(&t->a) + drops(&t->b), 0);
	}
	assert_int_equal(graph_of(&t->a)->counters[COUNTER_SUPERS_SEGMENTED], 8);
}

// Its segments do not fit: the host inside is told, and nobody else where the datagram may be cut.
static void a_run_of_large_segments(void **state)
{
	struct two *t = *state;
	for (unsigned df = 0; df < 2; df++) {
		const struct vx v = {.from = 1, .to = 2, .csum = true, .df = df};
		struct flat inner;
		flow_build(&(struct spec){.payload = 20000}, &inner);
		push_run(t, &v, &inner, 1331);
		expect_drops(&t->a, DROP_TOO_BIG, 1);
		assert_int_equal(graph_of(&t->a)->counters[COUNTER_VXLAN_TOLD], df + 1);
		assert_int_equal(graph_of(&t->a)->counters[COUNTER_ICMP_SENT], df);
		push_run(t, &v, &inner, 1330);
		expect_drops(&t->a, DROP_COUNT, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		two_test(into_the_tunnel),
		two_test(out_of_the_tunnel),
		two_test(switched_off),
		two_test(the_path_to_the_peer_counts),
		two_test(between_two_ports_nothing_is_clamped),
		two_test(what_is_not_understood_passes),
		two_test(fragments_outside_are_left_alone),
		two_test(nested),
		two_test(another_port_can_be_named),
		two_test(each_of_a_super_packet),
		two_test(boundaries_are_kept),
		two_test(a_run_of_segments),
		two_test(a_run_of_large_segments),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
