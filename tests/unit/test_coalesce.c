// Coalescing, case by case: what is merged, what is refused.
#include "tests/unit/coalesce_ref.h"

// Cases name what differs: a later initializer wins.
#pragma GCC diagnostic ignored "-Woverride-init"
#define TCP_A .seq = 1000, .payload = 500, .no_df = true, .id = 7
#define TCP_B .seq = 1500, .payload = 500, .no_df = true, .id = 8
#define UDP_A .proto = IPPROTO_UDP, .payload = 500, .no_df = true, .id = 0xffff
#define UDP_B .proto = IPPROTO_UDP, .payload = 500, .no_df = true, .id = 0
#define V6_A .family = IP_V6, .seq = 1000, .payload = 500
#define V6_B .family = IP_V6, .seq = 1500, .payload = 500

// Two packets: are they one afterwards?
static void test_pairs(void **)
{
	static const struct {
		const char *name;
		struct spec a, b;
		bool merged;
	} cases[] = {
		{"TCP in order", {TCP_A}, {TCP_B}, true},
		{"last smaller", {TCP_A}, {TCP_B, .payload = 1}, true},
		{"PSH on the last", {TCP_A}, {TCP_B, .flags = 0x18}, true},
		{"wrap of the sequence number", {TCP_A, .seq = -500u}, {TCP_B, .seq = 0}, true},
		{"equal options", {TCP_A, .n_options = 12}, {TCP_B, .n_options = 12}, true},
		{"DF: any identification", {.seq = 1, .payload = 9, .id = 5},
			{.seq = 10, .payload = 9, .id = 77}, true},
		{"IPv6", {V6_A}, {V6_B}, true},
		{"UDP", {UDP_A}, {UDP_B}, true},
		{"UDP, last smaller", {UDP_A}, {UDP_B, .payload = 499}, true},
		{"UDP, IPv6", {UDP_A, .family = IP_V6}, {UDP_B, .family = IP_V6}, true},
		{"last larger", {TCP_A}, {TCP_B, .payload = 501}, false},
		{"gap", {TCP_A}, {TCP_B, .seq = 1501}, false},
		{"overlap", {TCP_A}, {TCP_B, .seq = 1499}, false},
		{"retransmission", {TCP_A}, {TCP_A}, false},
		{"wrong way round", {TCP_B}, {TCP_A}, false},
		{"PSH on the first", {TCP_A, .flags = 0x18}, {TCP_B}, false},
		{"FIN", {TCP_A}, {TCP_B, .flags = 0x11}, false},
		{"FIN first", {TCP_A, .flags = 0x11}, {TCP_B}, false},
		{"SYN", {TCP_A, .flags = 0x12}, {TCP_B}, false},
		{"RST", {TCP_A}, {TCP_B, .flags = 0x14}, false},
		{"URG", {TCP_A}, {TCP_B, .flags = 0x30}, false},
		{"ECE on both", {TCP_A, .flags = 0x50}, {TCP_B, .flags = 0x50}, false},
		{"CWR", {TCP_A, .flags = 0x90}, {TCP_B}, false},
		{"AE on both", {TCP_A, .low_bits = 1}, {TCP_B, .low_bits = 1}, false},
		{"no ACK", {TCP_A, .flags = 0x08}, {TCP_B, .flags = 0x08}, false},
		{"ACK without payload", {TCP_A}, {TCP_B, .payload = 0}, false},
		{"two ACKs without payload", {TCP_A, .payload = 0}, {TCP_A, .payload = 0}, false},
		{"other acknowledgment", {TCP_A}, {TCP_B, .ack = 1}, false},
		{"other window", {TCP_A}, {TCP_B, .window = 1}, false},
		{"other urgent pointer", {TCP_A}, {TCP_B, .urgent = 1}, false},
		{"other option", {TCP_A, .n_options = 12}, {TCP_B, .n_options = 12, .option = 1},
			false},
		{"more options", {TCP_A}, {TCP_B, .n_options = 4}, false},
		{"other TTL", {TCP_A}, {TCP_B, .ttl = 63}, false},
		{"other TOS", {TCP_A}, {TCP_B, .tos = 4}, false},
		{"other ECN", {TCP_A}, {TCP_B, .tos = 3}, false},
		{"identification stands still", {TCP_A}, {TCP_B, .id = 7}, false},
		{"DF on one", {TCP_A}, {TCP_B, .no_df = false}, false},
		{"other source", {TCP_A}, {TCP_B, .host = 1}, false},
		{"other source port", {TCP_A}, {TCP_B, .sport = 1}, false},
		{"other destination port", {TCP_A}, {TCP_B, .dport = 1}, false},
		{"other hop limit", {V6_A}, {V6_B, .ttl = 1}, false},
		{"other class", {V6_A}, {V6_B, .tos = 1}, false},
		{"other flow label", {V6_A}, {V6_B, .label = 1}, false},
		{"UDP beside TCP", {TCP_A}, {UDP_B, .id = 8}, false},
		{"UDP, last larger", {UDP_A}, {UDP_B, .payload = 501}, false},
		{"UDP without payload", {UDP_A, .payload = 0}, {UDP_B, .payload = 0}, false},
		{"UDP, identification jumps", {UDP_A}, {UDP_B, .id = 1}, false},
		{"VXLAN", {UDP_A, .dport = 4789}, {UDP_B, .dport = 4789}, false},
		{"VXLAN, Linux's old port", {UDP_A, .dport = 8472}, {UDP_B, .dport = 8472}, false},
		{"QUIC", {UDP_A, .sport = 443}, {UDP_B, .sport = 443}, false},
		{"Geneve", {UDP_A, .sport = 6081}, {UDP_B, .sport = 6081}, false},
		{"SCTP", {UDP_A, .proto = 132}, {UDP_B, .proto = 132}, false},
	};
	for (size_t i = 0; i < RTE_DIM(cases); i++) {
		assert_int_equal(add_spec(&cases[i].a), GRO_TAKEN);
		assert_int_equal(add_spec(&cases[i].b), GRO_TAKEN);
		if (n_groups != (cases[i].merged ? 1 : 2))
			fail_msg("the reference disagrees: %s", cases[i].name);
		print_message("%s\n", cases[i].name);
		check_flush(OUT_MAX);
	}
}

// A run ends at each limit, and the next begins.
static void test_limits(void **)
{
	static const struct {
		const char *name;
		struct spec spec;
		unsigned n, first; // packets; segments in the first run
	} cases[] = {
		{"segments", {.payload = 100}, 130, 64}, {"IPv4 length", {.payload = 1460}, 60, 44},
		{"IPv6 length", {.family = IP_V6, .payload = 1440}, 60, 45},
		{"UDP length", {.proto = IPPROTO_UDP, .payload = 1900}, 60, 34},
		{"UDP datagrams", {.proto = IPPROTO_UDP, .payload = 1}, 100, 64},
		{"to the last byte", {.payload = 1559}, 60, 42}, // 40 + 42 * 1559 < 65535 < + 1559
	};
	for (size_t i = 0; i < RTE_DIM(cases); i++) {
		struct spec s = cases[i].spec;
		print_message("%s\n", cases[i].name);
		for (unsigned k = 0; k < cases[i].n; k++) {
			assert_int_equal(add_spec(&s), GRO_TAKEN);
			s.seq += s.payload;
		}
		assert_int_equal(groups[0].n, cases[i].first);
		check_flush(1);
	}
}

// No single bit of a candidate may be wrong and pass.
static void test_bad_checksums(void **)
{
	static const struct spec specs[] = {
		{TCP_A, .n_options = 12}, {V6_A}, {UDP_A}, {UDP_A, .family = IP_V6}};
	for (size_t i = 0; i < RTE_DIM(specs); i++) {
		unsigned bad = 0;
		flow_build(&specs[i], next_flat());
		struct flat *p = sent[n_sent].p;
		uint32_t l4 = flow_l3_len(p->b);
		for (uint32_t bit = 0; bit < 8 * p->len; bit++) {
			uint32_t at = bit / 8;
			// Lengths, versions and what decides whether it is a candidate: other
			// tests.
			if (at < 8 || at == l4 + 12 || at == l4 + 13 ||
				(at >= l4 + 4 && at < l4 + 8 && specs[i].proto == IPPROTO_UDP) ||
				at == (l4 == 20 ? 9u : 6u) || (l4 == 40 && at == 7))
				continue;
			p->b[at] ^= 1 << bit % 8;
			bad += add(0, 0) == GRO_BAD_CSUM;
			p->b[at] ^= 1 << bit % 8;
		}
		assert_int_equal(n_sent, 0);
		assert_true(bad > 8 * 500);
		no_leak();
	}
}

// The run before a bad packet stays as it is, and goes on behind it.
static void test_bad_in_the_middle(void **)
{
	assert_int_equal(add_spec(&(struct spec){TCP_A}), GRO_TAKEN);
	flow_build(&(struct spec){TCP_B}, next_flat());
	sent[n_sent].p->b[100] ^= 1;
	assert_int_equal(add(0, 0), GRO_BAD_CSUM);
	assert_int_equal(add_spec(&(struct spec){TCP_B}), GRO_TAKEN);
	assert_int_equal(n_groups, 1);
	check_flush(OUT_MAX);
}

// Packets that only the mbuf tells apart from candidates pass unread.
static void test_marks(void **)
{
	static const struct {
		const char *name;
		uint64_t ol_flags;
		uint32_t first;
	} cases[] = {
		{"checksum left to the hardware", RTE_MBUF_F_RX_L4_CKSUM_NONE, 0},
		{"already a super-packet", RTE_MBUF_F_RX_LRO, 0},
		{"in two pieces", 0, 200},
		{"headers in two pieces", 0, 30},
	};
	struct flat *p = next_flat();
	flow_build(&(struct spec){TCP_A}, p);
	p->b[36] ^= 1; // a checksum that would be refused
	for (size_t i = 0; i < RTE_DIM(cases); i++) {
		struct ip_info info = parse(p);
		struct rte_mbuf *m = flow_mbuf(pool, p->b, p->len, cases[i].first, 0);
		m->ol_flags = cases[i].ol_flags;
		if (gro_add(gro, m, &info, 0) != GRO_TAKEN)
			fail_msg("%s", cases[i].name);
		assert_int_equal(gro_flush(gro, out, OUT_MAX), 1);
		assert_ptr_equal(out[0], m);
		assert_int_equal(m->ol_flags, cases[i].ol_flags);
		flow_flat(m, &got);
		assert_memory_equal(got.b, p->b, p->len);
		rte_pktmbuf_free(m);
	}
	no_leak();
}

static void test_full(void **)
{
	struct flat *p = next_flat();
	for (unsigned i = 0; i < GRO_SLOTS + 1; i++) {
		flow_build(&(struct spec){.payload = 10, .sport = (uint16_t)(i + 1)}, p);
		struct ip_info info = parse(p);
		struct rte_mbuf *m = flow_mbuf(pool, p->b, p->len, 0, 0);
		assert_int_equal(gro_add(gro, m, &info, 0), i < GRO_SLOTS ? GRO_TAKEN : GRO_FULL);
		if (i == GRO_SLOTS)
			rte_pktmbuf_free(m);
	}
	for (unsigned i = 0, n; (n = gro_flush(gro, out, 100)) > 0; i += n) {
		for (unsigned k = 0; k < n; k++) {
			flow_flat(out[k], &got);
			assert_int_equal(get16(got.b + 20), i + k + 1);
		}
		rte_pktmbuf_free_bulk(out, n);
	}
	no_leak();
}

static void test_destroy_frees(void **)
{
	struct gro *g = gro_create(SOCKET_ID_ANY);
	assert_non_null(g);
	struct flat *p = next_flat();
	for (unsigned i = 0; i < 5; i++) {
		flow_build(&(struct spec){.payload = 10, .seq = i * 10}, p);
		struct ip_info info = parse(p);
		struct rte_mbuf *m = flow_mbuf(pool, p->b, p->len, 0, 0);
		assert_int_equal(gro_add(g, m, &info, 0), GRO_TAKEN);
	}
	assert_int_equal(rte_mempool_avail_count(pool), MBUFS - 5);
	gro_destroy(g);
	gro_destroy(NULL);
	no_leak();
}

// gso.h: what DPDK wants in the checksum fields.
static void test_to_ethdev(void **)
{
	static const struct spec specs[][2] = {
		{{TCP_A}, {TCP_B}}, {{UDP_A}, {UDP_B}}, {{V6_A}, {V6_B}}};
	for (size_t i = 0; i < RTE_DIM(specs); i++) {
		assert_int_equal(add_spec(&specs[i][0]), GRO_TAKEN);
		assert_int_equal(add_spec(&specs[i][1]), GRO_TAKEN);
		assert_int_equal(gro_flush(gro, out, OUT_MAX), 1);
		assert_non_null(rte_pktmbuf_prepend(out[0], 14));
		out[0]->l2_len = 14;
		gso_to_ethdev(out[0]);
		assert_non_null(rte_pktmbuf_adj(out[0], 14));
		flow_flat(out[0], &got);
		assert_int_equal(get16(got.b + flow_csum_at(got.b)), flow_pseudo_sum(got.b, 0));
		if (flow_is_v4(got.b))
			assert_int_equal(get16(got.b + 10), 0);
		rte_pktmbuf_free(out[0]);
		begin_round();
	}
	no_leak();
}

int main(void)
{
	coalesce_start();
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pairs),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_bad_checksums),
		cmocka_unit_test(test_bad_in_the_middle),
		cmocka_unit_test(test_marks),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_destroy_frees),
		cmocka_unit_test(test_to_ethdev),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	coalesce_stop();
	return failed;
}
