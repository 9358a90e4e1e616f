// The ends of the way: coalescing or not, full rings, ports that are down.
#include "tests/unit/packets.h"

enum {
	MSS = 1000,
};

// n TCP segments of a flow, sealed by A, arrive at B in one burst; patch: byte of the one numbered
// bad that is changed.
static void segments_arrive(struct two *t, unsigned n, unsigned bad, uint32_t at, uint8_t proto)
{
	for (unsigned i = 0; i < n; i++) {
		struct flat p, frame;
		inner_build(
			&(struct spec){
				.proto = proto, .seq = 1000 + i * MSS, .payload = MSS, .fill = i},
			1, 2, &p);
		if (i == bad)
			p.b[at] ^= 0x55;
		sealed_raw(t, p.b, p.len, &frame);
		push_flat(&t->b, GW_WAN, &frame);
	}
	run(&t->b);
}

static const struct {
	const char *name;
	uint8_t proto;
	uint64_t offloads;
	bool on;
	unsigned frames; // that leave for 10 segments
} rows[] = {
	{"TCP", IPPROTO_TCP, RTE_ETH_TX_OFFLOAD_TCP_TSO, true, 1},
	{"TCP, switched off", IPPROTO_TCP, RTE_ETH_TX_OFFLOAD_TCP_TSO, false, 10},
	{"TCP, port without TSO", IPPROTO_TCP, RTE_ETH_TX_OFFLOAD_UDP_TSO, true, 10},
	{"UDP", IPPROTO_UDP, RTE_ETH_TX_OFFLOAD_UDP_TSO, true, 1},
	{"UDP, port without UDP segmentation", IPPROTO_UDP, RTE_ETH_TX_OFFLOAD_TCP_TSO, true, 10},
	{"ICMP", IPPROTO_ICMP, RTE_ETH_TX_OFFLOAD_TCP_TSO | RTE_ETH_TX_OFFLOAD_UDP_TSO, true, 10},
	{"no offload at all", IPPROTO_TCP, 0, true, 10},
};

static void only_what_the_port_takes_is_coalesced(void **state)
{
	struct two *t = *state;
	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		struct flat p;
		t->b.port[GW_LAN]->port.tx_offloads = rows[i].offloads;
		t->b.gw.coalesce = rows[i].on;
		print_message("%s\n", rows[i].name);
		segments_arrive(t, 10, 10, 0, rows[i].proto);
		assert_int_equal(sent(&t->b, GW_LAN), rows[i].frames);
		assert_int_equal(drops(&t->b), 0);
		while (take_flat(&t->b, GW_LAN, &p))
			;
	}
	const uint64_t *counters = graph_of(&t->b)->counters;
	assert_int_equal(counters[COUNTER_SUPERS_COALESCED], 2);
	assert_int_equal(counters[COUNTER_SEGMENTS_COALESCED], 20);
}

// A wrong checksum is never put right by coalescing; the others are not harmed.
static void bad_checksums_are_dropped(void **state)
{
	struct two *t = *state;
	static const struct {
		const char *name;
		unsigned bad;
		uint32_t at;
		uint8_t proto;
		unsigned frames;
	} cases[] = {
		{"payload of the first", 0, 500, IPPROTO_TCP, 1},
		{"payload in the middle", 5, 500, IPPROTO_TCP, 2},
		{"last byte of the last", 9, 40 + MSS - 1, IPPROTO_TCP, 1},
		{"the checksum itself", 5, 36, IPPROTO_TCP, 2},
		{"acknowledgment", 5, 28, IPPROTO_TCP, 2},
		{"UDP payload", 5, 500, IPPROTO_UDP, 1},
		{"UDP checksum", 5, 26, IPPROTO_UDP, 1},
	};
	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		struct flat p;
		uint32_t bytes = 0;
		print_message("%s\n", cases[i].name);
		segments_arrive(t, 10, cases[i].bad, cases[i].at, cases[i].proto);
		expect_drops(&t->b, DROP_L4_CHECKSUM, 1);
		assert_int_equal(sent(&t->b, GW_LAN), cases[i].frames);
		while (take_flat(&t->b, GW_LAN, &p))
			bytes += p.len - flow_hdr_len(p.b);
		assert_int_equal(bytes, 9 * MSS);
	}
}

// Nor where nothing is coalesced: the receiver finds it as it was sent.
static void bad_checksums_stay_bad(void **state)
{
	struct two *t = *state;
	struct flat p, frame, got;
	t->b.port[GW_LAN]->port.tx_offloads = 0;
	inner_build(&(struct spec){.payload = MSS}, 1, 2, &p);
	p.b[500] ^= 1;
	sealed_raw(t, p.b, p.len, &frame);
	push_flat(&t->b, GW_WAN, &frame);
	run(&t->b);
	hop(&p);
	assert_true(take_flat(&t->b, GW_LAN, &got));
	assert_flat_equal(&got, &p);
}

static void two_flows_stay_apart(void **state)
{
	struct two *t = *state;
	for (unsigned i = 0; i < 20; i++) {
		struct flat p, frame;
		inner_build(&(struct spec){.sport = (uint16_t)(1000 + i % 2),
				    .seq = 1000 + i / 2 * MSS,
				    .payload = MSS},
			1, 2, &p);
		sealed_raw(t, p.b, p.len, &frame);
		push_flat(&t->b, GW_WAN, &frame);
	}
	run(&t->b);
	assert_int_equal(sent(&t->b, GW_LAN), 2);
}

static void a_full_ring_is_counted(void **state)
{
	struct two *t = *state;
	struct flat p;
	inner_build(&(struct spec){.proto = IPPROTO_UDP, .payload = 60}, 1, 2, &p);
	t->a.port[GW_WAN]->port.tx_offloads = 0;
	t->a.port[GW_WAN]->room = 10;
	for (unsigned i = 0; i < 200; i++)
		push_flat(&t->a, GW_LAN, &p);
	run(&t->a);
	expect_drops(&t->a, DROP_TX_FULL, 190);
	assert_int_equal(sent(&t->a, GW_WAN), 10);
	assert_int_equal(t->a.port[GW_WAN]->port.stats[0].tx_full, 190);
}

static void a_port_that_is_down_is_counted(void **state)
{
	struct two *t = *state;
	struct flat p;
	inner_build(&(struct spec){.proto = IPPROTO_UDP, .payload = 60}, 1, 2, &p);
	for (unsigned i = 0; i < 5; i++) {
		bool up = i & 1;
		t->a.port[GW_WAN]->port.up = up;
		push_flat(&t->a, GW_LAN, &p);
		run(&t->a);
		expect_drops(&t->a, DROP_PORT_DOWN, !up);
		assert_int_equal(take_flat(&t->a, GW_WAN, &p), up);
		inner_build(&(struct spec){.proto = IPPROTO_UDP, .payload = 60}, 1, 2, &p);
	}
}

static void no_host_port(void **state)
{
	struct two *t = *state;
	struct flat p, frame;
	t->b.gw.host_port = PORT_NONE;
	inner_build(&(struct spec){.proto = IPPROTO_UDP, .payload = 60}, 1, 2, &p);
	p.b[19] = 1; // B itself
	flow_finish(p.b, p.len);
	sealed_raw(t, p.b, p.len, &frame);
	push_flat(&t->b, GW_WAN, &frame);
	run(&t->b);
	expect_drops(&t->b, DROP_NO_PORT, 1);
}

// What a host hands over unfinished is finished for a port that cannot.
static void the_rest_is_done_in_software(void **state)
{
	struct two *t = *state;
	static const struct {
		const char *name;
		uint64_t offloads;
		uint16_t segsz;
		uint8_t proto;
		unsigned frames;
	} cases[] = {
		{"checksum", 0, 0, IPPROTO_TCP, 1},
		{"checksum of UDP", 0, 0, IPPROTO_UDP, 1},
		{"segments", RTE_ETH_TX_OFFLOAD_TCP_CKSUM, 400, IPPROTO_TCP, 3},
		{"UDP segments", RTE_ETH_TX_OFFLOAD_UDP_CKSUM, 400, IPPROTO_UDP, 3},
		{"UDP segments with TSO only", RTE_ETH_TX_OFFLOAD_TCP_TSO, 400, IPPROTO_UDP, 3},
	};
	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		struct flat p, want, got;
		unsigned n = 0;
		inner_build(&(struct spec){.proto = cases[i].proto, .payload = 1000}, 7, 1, &p);
		t->a.port[GW_LAN]->port.tx_offloads = cases[i].offloads;
		push_super(&t->a, GW_WAN, &p, cases[i].segsz);
		run(&t->a);
		hop(&p);
		for (; take_flat(&t->a, GW_LAN, &got); n++) {
			if (cases[i].segsz)
				assert_true(flow_segment(&p, cases[i].segsz, n, &want));
			assert_flat_equal(&got, cases[i].segsz ? &want : &p);
		}
		assert_int_equal(n, cases[i].frames);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		two_test(only_what_the_port_takes_is_coalesced),
		two_test(bad_checksums_are_dropped),
		two_test(bad_checksums_stay_bad),
		two_test(two_flows_stay_apart),
		two_test(a_full_ring_is_counted),
		two_test(a_port_that_is_down_is_counted),
		two_test(no_host_port),
		two_test(the_rest_is_done_in_software),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
