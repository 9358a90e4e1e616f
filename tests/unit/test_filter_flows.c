// Beside the verdicts of the packet filter: flows that we began, TSMP, and what refused peers are
// told.
#include "tests/unit/filter.h"

// -- what B began ---------------------------------------------------------------------------------

// B's host 2 sends to A's host 2; what leaves B is thrown away.
static void begin(struct two *t, const struct spec *s)
{
	struct flat p;
	struct rte_mbuf *m;
	build(s, 2, 1, &p);
	push_flat(&t->b, GW_LAN, &p);
	run(&t->b);
	m = memport_take(t->b.port[GW_WAN], 0);
	assert_non_null(m);
	rte_pktmbuf_free(m);
	assert_int_equal(sent(&t->b, GW_WAN), 0);
}

static const struct {
	const char *name;
	struct spec sent, answer;
	bool known;
} answers[] = {
#define PORTS(f, p, s, d)                                                                          \
	{                                                                                          \
		.family = f, .proto = p, .sport = s, .dport = d, .payload = 40                     \
	}
	{"UDP", PORTS(0, 17, 5000, 6000), PORTS(0, 17, 6000, 5000), true},
	{"UDP over IPv6", PORTS(6, 17, 5000, 6000), PORTS(6, 17, 6000, 5000), true},
	{"SCTP", PORTS(0, 132, 5000, 6000), PORTS(0, 132, 6000, 5000), true},
	{"from another port", PORTS(0, 17, 5001, 6000), PORTS(0, 17, 6001, 5001)},
	{"to another port", PORTS(0, 17, 5002, 6000), PORTS(0, 17, 6000, 5003)},
	{"the same ports, not exchanged", PORTS(0, 17, 5004, 6000), PORTS(0, 17, 5004, 6000)},
	{"SCTP for UDP", PORTS(0, 17, 5005, 6000), PORTS(0, 132, 6000, 5005)},
	{"IPv6 for IPv4", PORTS(0, 17, 5006, 6000), PORTS(6, 17, 6000, 5006)},
	{"UDP for TCP", PORTS(0, 6, 5007, 6000), PORTS(0, 17, 6000, 5007)},
#undef PORTS
};

static void what_we_began_is_answered(void **state)
{
	struct two *t = *state;
	struct flat p;
	for (unsigned i = 0; i < RTE_DIM(answers); i++) {
		print_message("%s\n", answers[i].name);
		build(&answers[i].answer, 1, 2, &p);
		arrive(t, &p, DROP_FILTER_RULE);
		begin(t, &answers[i].sent);
		build(&answers[i].answer, 1, 2, &p);
		arrive(t, &p, answers[i].known ? ACCEPTED : DROP_FILTER_RULE);
	}
}

// New rules end no flow; what goes to a static peer is none.
static void flows_outlive_rules(void **state)
{
	struct two *t = *state;
	struct flat p;
	begin(t, &answers[0].sent);
	publish(&t->b, some_rules(true));
	inner_build(&answers[0].answer, 1, 2, &p);
	arrive(t, &p, ACCEPTED);
	atomic_store(&t->b.peer->filtered, false);
	begin(t, &answers[1].sent);
	atomic_store(&t->b.peer->filtered, true);
	inner_build(&answers[1].answer, 1, 2, &p);
	arrive(t, &p, DROP_FILTER_RULE);
}

// Another address behind the peer does not profit.
static void flows_are_of_addresses(void **state)
{
	struct two *t = *state;
	struct flat p;
	begin(t, &answers[0].sent);
	inner_build(&answers[0].answer, 1, 2, &p);
	source_3(&p);
	fix_ip4(&p);
	arrive(t, &p, DROP_FILTER_RULE);
	inner_build(&answers[0].answer, 1, 2, &p);
	to_neighbour(&p);
	fix_ip4(&p);
	arrive(t, &p, DROP_FILTER_RULE);
}

static void nothing_of_wider_scope_goes_out(void **state)
{
	struct two *t = *state;
	static const struct {
		enum ip_family family;
		void (*change)(struct flat *);
	} cases[] = {
		{IP_V4, to_multicast},
		{IP_V4, to_broadcast},
		{IP_V4, to_link_local},
		{IP_V6, to_multicast},
		{IP_V6, to_link_local},
	};
	gw_allow(&t->b, t->b.peer, "0.0.0.0/0", 0);
	gw_allow(&t->b, t->b.peer, "::/0", 0);
	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		struct flat p;
		struct spec s = {.proto = IPPROTO_UDP, .family = cases[i].family};
		inner_build(&s, 2, 1, &p);
		cases[i].change(&p);
		fix_ip4(&p);
		push_flat(&t->b, GW_HOST, &p);
		run(&t->b);
		expect_nothing(&t->b);
		expect_drops(&t->b, DROP_FILTER_SCOPE, 1);
	}
}

// -- TSMP -----------------------------------------------------------------------------------------

static struct rte_mbuf *tsmp_arrives(struct two *t, const struct flat *p)
{
	struct flat frame;
	sealed_raw(t, p->b, p->len, &frame);
	push_flat(&t->b, GW_WAN, &frame);
	run(&t->b);
	expect_nothing(&t->b);
	return punted_get(&t->b.gw);
}

static void tsmp_goes_to_the_control_thread(void **state)
{
	struct two *t = *state;
	publish(&t->b, NULL); // rules do not matter
	for (unsigned i = 0; i < 2; i++) {
		struct flat p, got;
		struct spec s = {.proto = TSMP, .family = i ? IP_V6 : IP_V4, .payload = 25};
		inner_build(&s, 1, 2, &p);
		struct rte_mbuf *m = tsmp_arrives(t, &p);
		assert_non_null(m);
		assert_int_equal(pkt_of(m)->reason, PUNT_TSMP);
		assert_int_equal(pkt_of(m)->counter, t->b.peer->id);
		flow_flat(m, &got);
		assert_flat_equal(&got, &p);
		rte_pktmbuf_free(m);
		expect_drops(&t->b, DROP_TSMP_RATE, 0);
	}
}

static const struct {
	const char *name;
	uint8_t family;
	void (*change)(struct flat *);
} bad_tsmp[] = {
	{"nothing in it", IP_V4, cut3},
	{"nothing in it, IPv6", IP_V6, cut3},
	{"behind options, IPv6", IP_V6, destination_options},
};

static void bad_tsmp_goes_nowhere(void **state)
{
	struct two *t = *state;
	for (unsigned i = 0; i < RTE_DIM(bad_tsmp); i++) {
		struct flat p;
		struct spec s = {.proto = TSMP, .family = bad_tsmp[i].family, .payload = 40};
		print_message("%s\n", bad_tsmp[i].name);
		inner_build(&s, 1, 2, &p);
		bad_tsmp[i].change(&p);
		fix_ip4(&p);
		assert_null(tsmp_arrives(t, &p));
		expect_drops(&t->b, DROP_FILTER_MALFORMED, 1);
	}
}

// A peer's flood is cut down; after a while it may speak again.
static void tsmp_has_a_rate(void **state)
{
	struct two *t = *state;
	struct flat p;
	struct rte_mbuf *m;
	unsigned up = 0;
	inner_build(&(struct spec){.proto = TSMP, .payload = 20}, 1, 2, &p);
	for (unsigned i = 0; i < 100; i++) {
		m = tsmp_arrives(t, &p);
		up += m != NULL;
		rte_pktmbuf_free(m);
	}
	assert_in_range(up, 16, 30); // the test itself takes its time
	expect_drops(&t->b, DROP_TSMP_RATE, 100 - up);
	t->b.peer->tsmp_until = 0;
	m = tsmp_arrives(t, &p);
	assert_non_null(m);
	rte_pktmbuf_free(m);
}

// -- rejects --------------------------------------------------------------------------------------

// What comes back to A for a packet of its own.
static bool rejected(struct two *t, const struct flat *p, struct flat *reject)
{
	struct flat frame;
	t->a.port[GW_LAN]->port.tx_offloads = 0;
	sealed_raw(t, p->b, p->len, &frame);
	push_flat(&t->b, GW_WAN, &frame);
	run(&t->b);
	carry(&t->b, &t->a);
	run(&t->a);
	return take_flat(&t->a, GW_LAN, reject);
}

static const struct {
	const char *name;
	struct spec s;
	void (*change)(struct flat *);
	bool shields_up;
	char reason; // 0: nothing is said
} rejects[] = {
	{"SYN", TCP(SYN, 81), .reason = 'A'},
	{"SYN with shields up", TCP(SYN, 80), .shields_up = true, .reason = 'S'},
	{"SYN to no address of ours", TCP(SYN, 80), to_other, .reason = 'A'},
	{"SYN with IP options", TCP(SYN, 81), options4, .reason = 'A'},
	{"ACK to no address of ours", TCP(ACK, 80), to_other},
	{"SYN over IPv6", TCP6(SYN, 81)},
	{"SYN cut", TCP(SYN, 81), cut19},
	{"SYN to multicast", TCP(SYN, 81), to_multicast},
	{"UDP", L4(IPPROTO_UDP, 81)},
};

static void refused_connections_are_told(void **state)
{
	struct two *t = *state;
	for (unsigned i = 0; i < RTE_DIM(rejects); i++) {
		struct flat p, got;
		print_message("%s\n", rejects[i].name);
		publish(&t->b, some_rules(rejects[i].shields_up));
		inner_build(&rejects[i].s, 1, 2, &p);
		if (rejects[i].change)
			rejects[i].change(&p);
		fix_ip4(&p);
		bool told = rejected(t, &p, &got);
		assert_int_equal(told, rejects[i].reason != 0);
		if (!told)
			continue;
		const uint8_t *tcp = p.b + flow_l3_len(p.b);
		uint8_t want[] = {'!', IPPROTO_TCP, (uint8_t)rejects[i].reason, tcp[0], tcp[1],
			tcp[2], tcp[3]};
		assert_int_equal(got.len, IP4_HDR_LEN + sizeof(want));
		assert_int_equal(got.b[9], TSMP);
		assert_memory_equal(got.b + 12, p.b + 16, 4);
		assert_memory_equal(got.b + 16, p.b + 12, 4);
		assert_memory_equal(got.b + IP4_HDR_LEN, want, sizeof(want));
	}
	assert_int_equal(graph_of(&t->b)->counters[COUNTER_REJECTS_SENT], 4);
}

static void rejects_have_the_rate_of_errors(void **state)
{
	struct two *t = *state;
	struct flat p, got;
	atomic_store(&t->b.gw.icmp_rate, 0);
	inner_build(&(struct spec){.flags = SYN, .dport = 81}, 1, 2, &p);
	assert_false(rejected(t, &p, &got));
	assert_int_equal(graph_of(&t->b)->drops[DROP_RATE], 1);
	assert_int_equal(graph_of(&t->b)->drops[DROP_FILTER_RULE], 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		filter_test(what_we_began_is_answered),
		filter_test(flows_outlive_rules),
		filter_test(flows_are_of_addresses),
		filter_test(nothing_of_wider_scope_goes_out),
		filter_test(tsmp_goes_to_the_control_thread),
		filter_test(bad_tsmp_goes_nowhere),
		filter_test(tsmp_has_a_rate),
		filter_test(refused_connections_are_told),
		filter_test(rejects_have_the_rate_of_errors),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
