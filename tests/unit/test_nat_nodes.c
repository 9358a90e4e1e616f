// Address translation in whole gateways: what A's host sends through the tunnel leaves B under B's
// address, and what answers finds its way back; with errors on the way, super-packets, two workers.
#include "tests/unit/filter.h"

enum {
	OUT = GW_LAN, // of B: where its hosts are
	FIRST = 20000,
	LAST = 29999,
};

static struct nat_config *config_of(bool snat)
{
	static const uint32_t idle[] = {60, 60, 60, 60, 60, 60};
	struct nat_config *c = calloc(1, sizeof(*c));
	assert_non_null(c);
	*c = (struct nat_config){.snat = snat, .port_first = FIRST, .port_last = LAST};
	memcpy(c->idle_s, idle, sizeof(idle));
	const struct ip_range lan4 = range("10.2.0.1/32"), lan6 = range("fd02::1/128");
	c->port4[GW_LAN] = lan4.first;
	c->port6[GW_LAN] = lan6.first;
	return c;
}

static void translate(struct gw *g, struct nat_config *c)
{
	nat_config_publish(&g->gw.nat, g->gw.rcu, c);
	run(g); // a round in which the worker learns of it
}

static struct rules *all_rules(void)
{
	const struct ip_range all[] = {ip_range_any(IP_V4), ip_range_any(IP_V6)};
	const struct rule_target to[] = {{all[0], 0, 65535}, {all[1], 0, 65535}};
	struct rule_spec rule = {all, to, 2, 2};
	rule_protocol(&rule, IPPROTO_TCP);
	rule_protocol(&rule, IPPROTO_UDP);
	return rules_create(&(struct rules_spec){&rule, all, 1, 2, false});
}

static int open_nat(void **state)
{
	struct two *t;
	setup(state);
	t = *state;
	t->a.port[GW_LAN]->port.tx_offloads = 0;
	publish(&t->b, all_rules());
	translate(&t->b, config_of(true));
	return 0;
}

static int close_nat(void **state)
{
	struct two *t = *state;
	nat_config_publish(&t->b.gw.nat, t->b.gw.rcu, NULL);
	return teardown(state);
}

#define nat_test(f) cmocka_unit_test_setup_teardown(f, open_nat, close_nat)

// From A's host through the tunnel, out of B; false: it ended.
static bool through(struct two *t, const struct flat *p, struct flat *out)
{
	push_flat(&t->a, GW_LAN, p);
	run(&t->a);
	carry(&t->a, &t->b);
	run(&t->b);
	return take_flat(&t->b, OUT, out);
}

// From B's side to A's host.
static bool back(struct two *t, const struct flat *p, struct flat *out)
{
	push_flat(&t->b, OUT, p);
	run(&t->b);
	carry(&t->b, &t->a);
	run(&t->a);
	return take_flat(&t->a, GW_LAN, out);
}

// flow_finish, and ICMP over IPv4 has no pseudo header.
static void finish(struct flat *p)
{
	flow_finish(p->b, p->len);
	if (!flow_is_v4(p->b) || flow_proto(p->b) != IPPROTO_ICMP)
		return;
	put16(p->b + 22, 0);
	put16(p->b + 22, ~flow_sum(p->b + 20, p->len - 20, 0));
}

// The answer to p, as its receiver makes it.
static void answer(const struct flat *p, struct flat *out)
{
	bool v4 = flow_is_v4(p->b);
	uint32_t l3 = flow_l3_len(p->b), at = v4 ? 12 : 8, len = v4 ? 4 : 16;
	*out = *p;
	memcpy(out->b + at, p->b + at + len, len);
	memcpy(out->b + at + len, p->b + at, len);
	if (flow_proto(p->b) == IPPROTO_TCP || flow_proto(p->b) == IPPROTO_UDP) {
		memcpy(out->b + l3, p->b + l3 + 2, 2);
		memcpy(out->b + l3 + 2, p->b + l3, 2);
	} else {
		out->b[l3] = v4 ? 0 : 129;
	}
	out->b[v4 ? 8 : 7] = 64;
	finish(out);
}

static void check_sums(struct flat *p)
{
	struct flat sound = *p;
	finish(&sound);
	assert_memory_equal(sound.b, p->b, p->len);
}

static const struct spec begins[] = {
	{.proto = IPPROTO_TCP, .flags = SYN, .sport = 40000, .dport = 80, .payload = 3},
	{.proto = IPPROTO_UDP, .sport = 40001, .dport = 53, .payload = 100},
	{.proto = IPPROTO_UDP, .sport = 20007, .dport = 53, .payload = 1},
	{.proto = IPPROTO_ICMP, .sport = 0x0800, .payload = 40},
	{.family = IP_V6, .proto = IPPROTO_TCP, .flags = SYN, .sport = 40000, .dport = 80},
	{.family = IP_V6, .proto = IPPROTO_UDP, .sport = 40001, .dport = 53, .payload = 7},
	{.family = IP_V6, .proto = IPPROTO_ICMPV6, .sport = 0x8000, .payload = 40},
};

static void build_begin(const struct spec *s, struct flat *p)
{
	build(s, 1, 2, p);
	uint32_t l3 = flow_l3_len(p->b);
	if (s->proto == IPPROTO_ICMP || s->proto == IPPROTO_ICMPV6) {
		put16(p->b + l3 + 4, 4711); // id
		finish(p);
	}
}

static void test_there_and_back(void **state)
{
	struct two *t = *state;
	static struct flat p, out, reply, got;
	for (unsigned i = 0; i < RTE_DIM(begins); i++) {
		build_begin(&begins[i], &p);
		assert_true(through(t, &p, &out));
		bool v4 = flow_is_v4(p.b);
		uint32_t l3 = flow_l3_len(p.b);
		check_sums(&out);
		// B's address, the same destination.
		const struct ip_range own = range(v4 ? "10.2.0.1/32" : "fd02::1/128");
		assert_memory_equal(out.b + (v4 ? 12 : 8), own.first.bytes, v4 ? 4 : 16);
		assert_memory_equal(out.b + (v4 ? 16 : 24), p.b + (v4 ? 16 : 24), v4 ? 4 : 16);
		bool echo = begins[i].proto == IPPROTO_ICMP || begins[i].proto == IPPROTO_ICMPV6;
		uint32_t port = get16(out.b + l3 + (echo ? 4 : 0));
		assert_in_range(port, FIRST, LAST);
		if (begins[i].sport == 20007)
			assert_int_equal(port, 20007);
		answer(&out, &reply);
		assert_true(back(t, &reply, &got));
		check_sums(&got);
		assert_memory_equal(got.b + (v4 ? 16 : 24), p.b + (v4 ? 12 : 8), v4 ? 4 : 16);
		uint32_t head = flow_hdr_len(got.b);
		assert_memory_equal(got.b + head, reply.b + head, got.len - head);
	}
	assert_int_equal(nat_table_count(graph_of(&t->b)->nat), RTE_DIM(begins));
	assert_int_equal(graph_of(&t->b)->counters[COUNTER_NAT_CREATED], RTE_DIM(begins));
	assert_int_equal(drops(&t->b), 0);
}

// To the host itself, to other peers, from peers that are not filtered: never.
static void test_untouched(void **state)
{
	struct two *t = *state;
	static struct flat p, out;
	build(&begins[1], 1, 2, &p);
	put32(p.b + 16, gw_ip4(10, 2, 0, 1));
	flow_finish(p.b, p.len);
	push_flat(&t->a, GW_LAN, &p);
	run(&t->a);
	carry(&t->a, &t->b);
	run(&t->b);
	assert_true(take_flat(&t->b, GW_HOST, &out));
	assert_int_equal(get32(out.b + 12), gw_ip4(10, 1, 0, 2));
	atomic_store(&t->b.peer->filtered, false);
	build(&begins[1], 1, 2, &p);
	assert_true(through(t, &p, &out));
	assert_int_equal(get32(out.b + 12), gw_ip4(10, 1, 0, 2));
	assert_int_equal(nat_table_count(graph_of(&t->b)->nat), 0);
}

// Without SNAT B knows whom peers ask in vain; with it there is no need to.
static void test_unanswered(void **state)
{
	static const struct {
		const struct spec *begin;
		bool snat, noted;
	} cases[] = {
		{&begins[0], false, true},
		{&begins[1], false, false}, // UDP need not be answered
		{&begins[3], false, true},
		{&begins[4], false, true},
		{&begins[0], true, false},
	};
	struct two *t = *state;
	const struct unanswered *u = graph_of(&t->b)->unanswered;
	static struct flat p, out, reply, got;
	struct unanswered_view v;
	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		translate(&t->b, config_of(cases[i].snat));
		build_begin(cases[i].begin, &p);
		for (unsigned n = 0; n < 4; n++)
			assert_true(through(t, &p, &out));
		assert_int_equal(unanswered_read(u, &v, 1), cases[i].noted);
		if (!cases[i].noted)
			continue;
		bool v4 = flow_is_v4(p.b);
		assert_memory_equal(v.addr.bytes, p.b + (v4 ? 16 : 24), v4 ? 4 : 16);
		assert_int_equal(v.requests, 4);
		answer(&out, &reply);
		assert_true(back(t, &reply, &got));
		assert_int_equal(unanswered_read(u, &v, 1), 0);
	}
	// What policy refuses is no request.
	translate(&t->b, config_of(false));
	publish(&t->b, NULL);
	build_begin(&begins[0], &p);
	assert_false(through(t, &p, &out));
	assert_int_equal(unanswered_read(u, &v, 1), 0);
}

// What began on B's side is answered as it is, of TCP and UDP.
static void test_from_lan(void **state)
{
	struct two *t = *state;
	static struct flat p, got, reply, out;
	for (unsigned i = 0; i < 3; i++) {
		build(&begins[i], 2, 1, &p);
		assert_true(back(t, &p, &got));
		assert_int_equal(get32(got.b + 12), gw_ip4(10, 2, 0, 2));
		answer(&got, &reply);
		assert_true(through(t, &reply, &out));
		assert_int_equal(get32(out.b + 12), gw_ip4(10, 1, 0, 2));
		check_sums(&out);
	}
	assert_int_equal(nat_table_count(graph_of(&t->b)->nat), 0);
}

// Whether the gateway or the kernel translates what goes to a bridge with a VXLAN, is decided when
// the neighbour is known; a host at another port of the bridge is the kernel's.
static void test_bridge_decides_later(void **state)
{
	struct two *t = *state;
	static struct flat p, got;
	static const enum nexthop_type becomes[] = {NH_LINK, NH_KERNEL};
	for (unsigned i = 0; i < RTE_DIM(becomes); i++) {
		bool ours = becomes[i] == NH_LINK;
		gw_route(&t->b, "10.2.0.2/32", NH_RESOLVE, PORT_NONE, 1);
		struct spec s = begins[0];
		s.sport += i;
		build(&s, 1, 2, &p);
		assert_false(through(t, &p, &got));
		struct rte_mbuf *m = punted_get(&t->b.gw);
		assert_non_null(m);
		assert_int_equal(pkt_of(m)->reason, PUNT_RESOLVE);
		assert_int_equal(pkt_of(m)->nat, PKT_NAT_WAITS);
		assert_int_equal(pkt_of(m)->counter, t->b.peer->id);
		assert_int_equal(nat_table_count(graph_of(&t->b)->nat), i);
		gw_route(&t->b, "10.2.0.2/32", becomes[i], ours ? OUT : PORT_NONE, 1);
		pkt_of(m)->nat = PKT_NAT_NONE;
		pkt_of(m)->node = NODE_NAT;
		assert_true(mailbox_put(graph_of(&t->b)->inbox, &m));
		run(&t->b);
		assert_true(take_flat(&t->b, ours ? OUT : GW_HOST, &got));
		assert_int_equal(
			get32(got.b + 12), ours ? gw_ip4(10, 2, 0, 1) : gw_ip4(10, 1, 0, 2));
		assert_int_equal(nat_table_count(graph_of(&t->b)->nat), 1);
	}
	// Its peer has gone meanwhile.
	struct rte_mbuf *m;
	gw_route(&t->b, "10.2.0.2/32", NH_RESOLVE, PORT_NONE, 1);
	build(&begins[1], 1, 2, &p);
	assert_false(through(t, &p, &got));
	m = punted_get(&t->b.gw);
	assert_non_null(m);
	pkt_of(m)->counter = 12345;
	pkt_of(m)->node = NODE_NAT;
	assert_true(mailbox_put(graph_of(&t->b)->inbox, &m));
	run(&t->b);
	expect_drops(&t->b, DROP_PEER_GONE, 1);
}

// An ICMP error of B's own about a translated packet comes to who sent that.
static void test_own_errors(void **state)
{
	struct two *t = *state;
	static struct flat p, out, got;
	struct spec s = begins[1];
	s.ttl = 2; // A takes one, B the other
	build(&s, 1, 2, &p);
	assert_false(through(t, &p, &out));
	run(&t->b);
	carry(&t->b, &t->a);
	run(&t->a);
	assert_true(take_flat(&t->a, GW_LAN, &got));
	check_sums(&got);
	assert_int_equal(got.b[9], IPPROTO_ICMP);
	assert_int_equal(got.b[20], 11);
	assert_int_equal(get32(got.b + 12), gw_ip4(10, 2, 0, 1));
	assert_int_equal(get32(got.b + 16), gw_ip4(10, 1, 0, 2));
	assert_memory_equal(got.b + 28 + 12, p.b + 12, 8 + 4); // what A's host knows
	// And one about an answer, to who answered.
	s.ttl = 64;
	build(&s, 1, 2, &p);
	assert_true(through(t, &p, &out));
	static struct flat reply;
	answer(&out, &reply);
	reply.b[8] = 1;
	flow_finish(reply.b, reply.len);
	assert_false(back(t, &reply, &got));
	run(&t->b);
	assert_true(take_flat(&t->b, OUT, &got));
	check_sums(&got);
	assert_int_equal(got.b[20], 11);
	assert_int_equal(get32(got.b + 12), gw_ip4(10, 2, 0, 1));
	assert_int_equal(get32(got.b + 16), gw_ip4(10, 2, 0, 2));
	assert_memory_equal(got.b + 28 + 12, reply.b + 12, 8 + 4);
}

// A super-packet whose checksums are left to the hardware.
static void test_super_answer(void **state)
{
	struct two *t = *state;
	static struct flat p, out, reply, got;
	struct spec s = begins[0];
	build(&s, 1, 2, &p);
	assert_true(through(t, &p, &out));
	answer(&out, &reply);
	s = (struct spec){.sport = 80, .dport = (uint16_t)get16(out.b + 20), .payload = 9000};
	build(&s, 2, 1, &reply);
	put32(reply.b + 16, gw_ip4(10, 2, 0, 1));
	flow_finish(reply.b, reply.len);
	put16(reply.b + 20 + 16, flow_pseudo_sum(reply.b, reply.len - 20));
	push_super(&t->b, OUT, &reply, 1000);
	run(&t->b);
	assert_true(carry(&t->b, &t->a) > 0);
	run(&t->a);
	unsigned n = 0;
	for (; take_flat(&t->a, GW_LAN, &got); n++) {
		check_sums(&got);
		assert_int_equal(get32(got.b + 16), gw_ip4(10, 1, 0, 2));
		assert_int_equal(get16(got.b + 22), 40000);
	}
	assert_int_equal(n, 9);
}

// A packet for an outside port that nobody has is the kernel's; so are fragments, other protocols.
static void test_nobodys(void **state)
{
	struct two *t = *state;
	static struct flat p, got;
	static const struct {
		const char *name;
		struct spec spec;
		void (*change)(struct flat *);
	} cases[] = {
		{"an outside port without a flow", {.proto = IPPROTO_UDP, .dport = 20001}, NULL},
		{"TCP", {.dport = 20001}, NULL},
		{"below the range", {.proto = IPPROTO_UDP, .dport = FIRST - 1}, NULL},
		{"above the range", {.proto = IPPROTO_UDP, .dport = LAST + 1}, NULL},
		{"an echo request", {.proto = IPPROTO_ICMP, .sport = 0x0800}, NULL},
		{"GRE", {.proto = IPPROTO_GRE}, NULL},
		{"cut", {.proto = IPPROTO_UDP, .dport = 20001, .payload = 9}, cut7},
		{"an error without enough", {.proto = IPPROTO_ICMP, .sport = 0x0303}, NULL},
	};
	uint64_t left = graph_of(&t->b)->counters[COUNTER_LEFT_TO_KERNEL];
	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		build(&cases[i].spec, 2, 2, &p);
		put32(p.b + 16, gw_ip4(10, 2, 0, 1));
		flow_finish(p.b, p.len);
		if (cases[i].change) {
			cases[i].change(&p);
			fix_ip4(&p);
		}
		if (back(t, &p, &got) ||
			graph_of(&t->b)->counters[COUNTER_LEFT_TO_KERNEL] != ++left)
			fail_msg("%s", cases[i].name);
	}
	assert_int_equal(drops(&t->b), 0);
}

// The rules change while a flow runs: it is judged again, and goes on or not.
static void test_rules_change(void **state)
{
	struct two *t = *state;
	static struct flat p, out;
	build(&begins[1], 1, 2, &p);
	assert_true(through(t, &p, &out));
	publish(&t->b, all_rules());
	assert_true(through(t, &p, &out));
	publish(&t->b, some_rules(true));
	assert_false(through(t, &p, &out));
	expect_drops(&t->b, DROP_FILTER_RULE, 1);
	publish(&t->b, all_rules());
	assert_true(through(t, &p, &out));
	atomic_store(&t->b.peer->jailed, true);
	assert_false(through(t, &p, &out));
	expect_drops(&t->b, DROP_FILTER_RULE, 1);
	atomic_store(&t->b.peer->jailed, false);
	assert_true(through(t, &p, &out));
	publish(&t->b, NULL);
	assert_false(through(t, &p, &out));
	expect_drops(&t->b, DROP_FILTER_NOT_LOCAL, 1);
	assert_int_equal(nat_table_count(graph_of(&t->b)->nat), 1);
}

// Without a configuration flows go on, and none begins.
static void test_config_gone(void **state)
{
	struct two *t = *state;
	static struct flat p, out, reply, got;
	build(&begins[1], 1, 2, &p);
	assert_true(through(t, &p, &out));
	translate(&t->b, NULL);
	assert_true(through(t, &p, &out));
	assert_int_equal(get32(out.b + 12), gw_ip4(10, 2, 0, 1));
	answer(&out, &reply);
	assert_true(back(t, &reply, &got));
	build(&begins[2], 1, 2, &p);
	assert_true(through(t, &p, &out));
	assert_int_equal(get32(out.b + 12), gw_ip4(10, 1, 0, 2));
}

// What comes back on the other worker's queue is the owner's; every port taken is its.
static void test_two_workers(void **)
{
	struct two *t = two_open(&(struct gw_params){.workers = 2});
	static struct flat p, out, reply;
	t->b.port[GW_LAN]->port.tx_offloads = 0;
	atomic_store(&t->b.peer->filtered, true);
	publish(&t->b, all_rules());
	nat_config_publish(&t->b.gw.nat, t->b.gw.rcu, config_of(true));
	for (unsigned i = 0; i < 2; i++)
		worker_round(t->b.worker[i]);
	uint16_t owner = t->b.peer->owner;
	static bool taken[UINT16_MAX + 1]; // by chance, before its own turn
	for (uint16_t i = 0; i < 50; i++) {
		struct spec s = {.proto = IPPROTO_UDP, .sport = (uint16_t)(20000 + i), .dport = 53};
		build(&s, 1, 2, &p);
		push_flat(&t->a, GW_LAN, &p);
		for (unsigned w = 0; w < 4; w++)
			worker_round(t->a.worker[w % 2]);
		struct rte_mbuf *m = memport_take(t->a.port[GW_WAN], t->a.peer->owner);
		assert_non_null(m);
		assert_true(memport_put(t->b.port[GW_WAN], 0, wire_frame(&t->b, m)));
		for (unsigned w = 0; w < 4; w++)
			worker_round(t->b.worker[w % 2]);
		m = memport_take(t->b.port[OUT], owner);
		assert_non_null(m);
		rte_pktmbuf_adj(m, L2_LEN);
		flow_flat(m, &out);
		rte_pktmbuf_free(m);
		uint16_t port = (uint16_t)get16(out.b + 20);
		assert_int_equal(nat_port_owner(port, 2), owner);
		assert_int_equal(
			port == s.sport, nat_port_owner(s.sport, 2) == owner && !taken[s.sport]);
		assert_false(taken[port]);
		taken[port] = true;
		answer(&out, &reply);
		m = frame_of(&t->b, OUT, reply.b, reply.len);
		assert_true(memport_put(t->b.port[OUT], !owner, m));
		for (unsigned w = 0; w < 4; w++)
			worker_round(t->b.worker[w % 2]);
		m = memport_take(t->b.port[GW_WAN], owner);
		assert_non_null(m);
		rte_pktmbuf_free(m);
	}
	assert_int_equal(t->b.gw.graph[!owner]->nat->n, 0);
	assert_int_equal(t->b.gw.graph[owner]->nat->n, 50);
	assert_true(t->b.gw.graph[!owner]->counters[COUNTER_HANDOFF] >= 50);
	publish(&t->b, NULL);
	nat_config_publish(&t->b.gw.nat, t->b.gw.rcu, NULL);
	two_close(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		nat_test(test_there_and_back),
		nat_test(test_untouched),
		nat_test(test_unanswered),
		nat_test(test_from_lan),
		nat_test(test_bridge_decides_later),
		nat_test(test_own_errors),
		nat_test(test_super_answer),
		nat_test(test_nobodys),
		nat_test(test_rules_change),
		nat_test(test_config_gone),
		cmocka_unit_test(test_two_workers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
