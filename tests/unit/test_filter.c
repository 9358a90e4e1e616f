// The packet filter of a tailnet: what comes in by a rule, what as an answer, what not at all.
#include "tests/unit/filter.h"

static const struct row {
	const char *name;
	struct spec s;
	void (*change)(struct flat *);
	int verdict; // ACCEPTED or enum drop_reason
	bool answer; // passes without any rule
} rows[] = {
	{"TCP SYN by a rule", TCP(SYN, 80)},
	{"TCP SYN to another port", TCP(SYN, 81), NULL, DROP_FILTER_RULE},
	{"TCP SYN to a host without rules", TCP(SYN, 80), to_neighbour, DROP_FILTER_RULE},
	{"TCP SYN with ECN bits", TCP(SYN | 0xc0, 81), NULL, DROP_FILTER_RULE},
	{"TCP SYN FIN", TCP(SYN | RTE_TCP_FIN_FLAG, 81), NULL, DROP_FILTER_RULE},
	{"TCP SYN ACK", TCP(SYN | ACK, 81), .answer = true},
	{"TCP ACK", TCP(ACK, 81), .answer = true},
	{"TCP RST", TCP(RTE_TCP_RST_FLAG, 81), .answer = true},
	{"TCP SYN to no address of ours", TCP(SYN, 80), to_other, DROP_FILTER_NOT_LOCAL},
	{"TCP ACK to no address of ours", TCP(ACK, 80), to_other, DROP_FILTER_NOT_LOCAL},
	{"TCP cut", TCP(ACK, 80), cut19, DROP_FILTER_MALFORMED},
	{"TCP SYN with IP options", TCP(SYN, 80), options4},
	{"TCP SYN with IP options to another port", TCP(SYN, 81), options4, DROP_FILTER_RULE},
	{"UDP by a rule", L4(IPPROTO_UDP, 53)},
	{"UDP to another port", L4(IPPROTO_UDP, 54), NULL, DROP_FILTER_RULE},
	{"UDP to TCP's port", L4(IPPROTO_UDP, 80), NULL, DROP_FILTER_RULE},
	{"UDP cut", L4(IPPROTO_UDP, 53), cut7, DROP_FILTER_MALFORMED},
	{"SCTP by a rule", L4(IPPROTO_SCTP, 53)},
	{"SCTP to another port", L4(IPPROTO_SCTP, 54), NULL, DROP_FILTER_RULE},
	{"SCTP cut", L4(IPPROTO_SCTP, 53), cut11, DROP_FILTER_MALFORMED},
	{"GRE by a rule for all ports", L4(IPPROTO_GRE, 0)},
	{"GRE from a host without rules", L4(IPPROTO_GRE, 0), source_3, DROP_FILTER_RULE},
	{"ESP", L4(IPPROTO_ESP, 0), NULL, DROP_FILTER_RULE},
	{"IGMP", L4(IPPROTO_IGMP, 0), NULL, DROP_FILTER_RULE},
	{"IGMP cut", L4(IPPROTO_IGMP, 0), cut7, DROP_FILTER_MALFORMED},
	{"ICMP echo where something is open", ICMP4(8)},
	{"ICMP echo where nothing is open", ICMP4(8), to_neighbour, DROP_FILTER_RULE},
	{"ICMP echo reply", ICMP4(8), echo_reply, .answer = true},
	{"ICMP echo reply with a code", ICMP4(8), echo_reply_code},
	{"ICMP unreachable", ICMP4(3), .answer = true},
	{"ICMP time exceeded", ICMP4(11), .answer = true},
	{"ICMP parameter problem", ICMP4(12), .answer = true},
	{"ICMP redirect where nothing is open", ICMP4(5), to_neighbour, DROP_FILTER_RULE},
	{"ICMP unreachable, 7 bytes, nothing open", ICMP4(3), cut7},
	{"ICMP cut", ICMP4(3), cut3, DROP_FILTER_MALFORMED},
	{"ICMPv6 in IPv4", L4(IPPROTO_ICMPV6, 0), NULL, DROP_FILTER_RULE},
	{"multicast", L4(IPPROTO_UDP, 53), to_multicast, DROP_FILTER_SCOPE},
	{"broadcast", L4(IPPROTO_UDP, 53), to_broadcast, DROP_FILTER_SCOPE},
	{"link-local", TCP(ACK, 80), to_link_local, DROP_FILTER_SCOPE},
	{"the cloud's metadata: by rules", TCP(SYN, 80), to_metadata, DROP_FILTER_RULE},
	{"IPv6: TCP SYN by a rule", TCP6(SYN, 80)},
	{"IPv6: TCP SYN to another port", TCP6(SYN, 81), NULL, DROP_FILTER_RULE},
	{"IPv6: TCP SYN to no address of ours", TCP6(SYN, 80), to_other, DROP_FILTER_NOT_LOCAL},
	{"IPv6: TCP ACK", TCP6(ACK, 81), .answer = true},
	{"IPv6: TCP cut", TCP6(ACK, 81), cut19, DROP_FILTER_MALFORMED},
	{"IPv6: UDP by a rule", L46(IPPROTO_UDP, 53)},
	{"IPv6: UDP to another port", L46(IPPROTO_UDP, 54), NULL, DROP_FILTER_RULE},
	{"IPv6: UDP cut", L46(IPPROTO_UDP, 54), cut7, DROP_FILTER_MALFORMED},
	{"IPv6: echo where something is open", ICMP6(128)},
	{"IPv6: echo where nothing is open", ICMP6(128), to_neighbour, DROP_FILTER_RULE},
	{"IPv6: echo reply", ICMP6(128), echo_reply, .answer = true},
	{"IPv6: too big", ICMP6(2), .answer = true},
	{"IPv6: ICMP cut", ICMP6(2), cut3, DROP_FILTER_MALFORMED},
	{"IPv6: neighbour solicitation, nothing open", ICMP6(135), to_neighbour, DROP_FILTER_RULE},
	{"IPv6: ICMPv4 in it", L46(IPPROTO_ICMP, 0), NULL, DROP_FILTER_RULE},
	{"IPv6: multicast", L46(IPPROTO_UDP, 53), to_multicast, DROP_FILTER_SCOPE},
	{"IPv6: link-local", L46(IPPROTO_UDP, 53), to_link_local, DROP_FILTER_SCOPE},
	{"IPv6: destination options", L46(IPPROTO_UDP, 53), destination_options,
		DROP_FILTER_MALFORMED},
	{"IPv6: routing header", TCP6(ACK, 80), routing_header, DROP_FILTER_MALFORMED},
};

static int verdict_of(const struct row *r)
{
	return r->verdict == 0 ? ACCEPTED : r->verdict;
}

static void row_build(const struct row *r, struct flat *p)
{
	build(&r->s, 1, 2, p);
	if (r->change)
		r->change(p);
	fix_ip4(p);
}

static void each_row(void **state)
{
	struct flat p;
	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		print_message("%s\n", rows[i].name);
		row_build(&rows[i], &p);
		arrive(*state, &p, verdict_of(&rows[i]));
	}
}

// Shields up, or a peer in jail: what passed by a rule no longer does, all else is as it was.
static void only_answers_come_in(void **state)
{
	struct two *t = *state;
	struct flat p;
	for (unsigned i = 0; i < 2 * RTE_DIM(rows); i++) {
		const struct row *r = &rows[i / 2];
		bool passes = verdict_of(r) == ACCEPTED;
		print_message("%s, %s\n", r->name, i % 2 ? "shields up" : "in jail");
		publish(&t->b, some_rules(i % 2));
		atomic_store(&t->b.peer->jailed, i % 2 == 0);
		row_build(r, &p);
		arrive(t, &p, passes && !r->answer ? DROP_FILTER_RULE : verdict_of(r));
	}
}

static void without_rules_nothing_comes_in(void **state)
{
	struct two *t = *state;
	struct flat p;
	publish(&t->b, NULL);
	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		int verdict = verdict_of(&rows[i]);
		print_message("%s\n", rows[i].name);
		row_build(&rows[i], &p);
		arrive(t, &p,
			verdict == ACCEPTED || verdict == DROP_FILTER_RULE ? DROP_FILTER_NOT_LOCAL
									   : verdict);
	}
}

static void static_peers_are_not_filtered(void **state)
{
	struct two *t = *state;
	struct flat p;
	publish(&t->b, NULL);
	atomic_store(&t->b.peer->filtered, false);
	inner_build(&(struct spec){.flags = SYN, .dport = 81}, 1, 2, &p);
	arrive(t, &p, ACCEPTED);
	inner_build(&(struct spec){.proto = TSMP, .payload = 20}, 1, 2, &p);
	arrive(t, &p, ACCEPTED);
	assert_int_equal(t->b.gw.graph[0]->stats[NODE_FILTER].packets, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		filter_test(each_row),
		filter_test(only_answers_come_in),
		filter_test(without_rules_nothing_comes_in),
		filter_test(static_peers_are_not_filtered),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
