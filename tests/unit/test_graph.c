// The whole way, from one gateway's LAN to the other's, held against plain segments; two workers;
// what the graph says of itself.
#include "tests/unit/packets.h"

// What the ports of a gateway offer.
enum {
	NO_OFFLOAD = 0,
	CHECKSUMS = RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM,
	ALL = CHECKSUMS | RTE_ETH_TX_OFFLOAD_TCP_TSO | RTE_ETH_TX_OFFLOAD_UDP_TSO,
};

static const struct {
	const char *name;
	uint8_t outer, inner, proto;
	uint32_t payload;
	uint16_t segsz;
	uint64_t wan, lan;
} rows[] = {
	{"64 KB, all offloads", IP_V4, IP_V4, 0, 65000, 1380, ALL, ALL},
	{"IPv6 inside", IP_V4, IP_V6, 0, 65000, 1360, ALL, ALL},
	{"IPv6 outside", IP_V6, IP_V4, 0, 65000, 1380, ALL, ALL},
	{"IPv6 both", IP_V6, IP_V6, 0, 65000, 1360, ALL, ALL},
	{"plain wire", IP_V4, IP_V4, 0, 65000, 1380, CHECKSUMS, ALL},
	{"plain wire without checksums, IPv6", IP_V6, IP_V6, 0, 30000, 1360, NO_OFFLOAD, ALL},
	{"plain LAN", IP_V4, IP_V4, 0, 65000, 1380, ALL, NO_OFFLOAD},
	{"nothing offered", IP_V4, IP_V4, 0, 65000, 1380, NO_OFFLOAD, NO_OFFLOAD},
	{"two segments", IP_V4, IP_V4, 0, 1381, 1380, ALL, ALL},
	{"small segments", IP_V4, IP_V4, 0, 20000, 100, ALL, ALL},
	{"tiny segments", IP_V4, IP_V4, 0, 2000, 1, ALL, ALL},
	{"odd segments", IP_V4, IP_V4, 0, 60001, 777, ALL, ALL},
	{"all of one size", IP_V4, IP_V4, 0, 44 * 1380, 1380, ALL, ALL},
	{"UDP", IP_V4, IP_V4, IPPROTO_UDP, 60000, 1200, ALL, ALL},
	{"UDP, plain", IP_V4, IP_V6, IPPROTO_UDP, 60000, 1200, NO_OFFLOAD, NO_OFFLOAD},
	{"not a super-packet", IP_V4, IP_V4, 0, 1000, 0, ALL, ALL},
};

static uint32_t seed = 1;

static void build(unsigned row, uint32_t turn, struct flat *p)
{
	inner_build(&(struct spec){.family = rows[row].inner,
			    .proto = rows[row].proto,
			    .seq = 5000 + turn * rows[row].payload,
			    .flags = RTE_TCP_ACK_FLAG,
			    .n_options = 12,
			    .option = 1,
			    .id = (uint16_t)(turn * 100),
			    .payload = rows[row].payload - 12,
			    .fill = flow_random(&seed)},
		1, 2, p);
}

// Every segment of the super-packet comes out as the sender's own stack would have sent it; at is
// where in the frames from the LAN we are.
struct reader {
	struct gw *g;
	struct rte_mbuf *m;
	struct flat frame;
	unsigned next;
	bool super;
};

// The next plain segment that left through the LAN; false: none.
static bool next_segment(struct reader *r, struct flat *out)
{
	if (!r->m || !r->super || !flow_segment(&r->frame, r->m->tso_segsz, r->next++, out)) {
		rte_pktmbuf_free(r->m);
		r->m = memport_take(r->g->port[GW_LAN], 0);
		if (!r->m)
			return false;
		rte_pktmbuf_adj(r->m, L2_LEN);
		flow_flat(r->m, &r->frame);
		r->super = r->m->ol_flags & (RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG);
		r->next = 1;
		if (!r->super) {
			*out = r->frame;
			return true;
		}
		return flow_segment(&r->frame, r->m->tso_segsz, 0, out);
	}
	return true;
}

// IPv4 identifications of packets with DF may change (RFC 6864 4.1).
static void forget_id(struct flat *p)
{
	if (flow_is_v4(p->b)) {
		put16(p->b + 4, 0);
		flow_finish(p->b, p->len);
	}
}

static void check_row(struct two *t, unsigned row)
{
	static struct flat p, want, got;
	struct reader r = {.g = &t->b};
	for (unsigned turn = 0; turn < 3; turn++) {
		build(row, turn, &p);
		if (rows[row].segsz)
			push_super(&t->a, GW_LAN, &p, rows[row].segsz);
		else
			push_flat(&t->a, GW_LAN, &p);
		run(&t->a);
		carry(&t->a, &t->b);
		run(&t->b);
		hop(&p);
		hop(&p);
		for (unsigned i = 0; i == 0 || rows[row].segsz; i++) {
			want = p;
			if (rows[row].segsz && !flow_segment(&p, rows[row].segsz, i, &want))
				break;
			assert_true(next_segment(&r, &got));
			forget_id(&want);
			forget_id(&got);
			assert_flat_equal(&got, &want);
		}
		assert_false(next_segment(&r, &got));
		assert_int_equal(drops(&t->a) + drops(&t->b), 0);
	}
}

static void super_packets_arrive_as_their_segments(void **)
{
	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		struct two *t =
			two_open(&(struct gw_params){.outer = rows[i].outer, .tunnel_mtu = 1440});
		print_message("%s\n", rows[i].name);
		for (unsigned k = 0; k < 2; k++) {
			struct gw *g = k ? &t->b : &t->a;
			g->port[GW_WAN]->port.tx_offloads = rows[i].wan;
			g->port[GW_LAN]->port.tx_offloads = rows[i].lan;
		}
		check_row(t, i);
		two_close(t);
	}
}

// Super-packets stay super-packets: one frame on each wire.
static void few_frames_cross_the_wire(void **state)
{
	struct two *t = *state;
	static struct flat p;
	inner_build(&(struct spec){.payload = 44 * 1380}, 1, 2, &p);
	push_super(&t->a, GW_LAN, &p, 1380);
	run(&t->a);
	assert_int_equal(carry(&t->a, &t->b), 1);
	run(&t->b);
	assert_int_equal(sent(&t->b, GW_LAN), 1);
	const uint64_t *a = graph_of(&t->a)->counters, *b = graph_of(&t->b)->counters;
	assert_int_equal(a[COUNTER_SUPERS_SEGMENTED], 1);
	assert_int_equal(a[COUNTER_SEGMENTS_MADE], 44);
	assert_int_equal(a[COUNTER_BATCHES], 1);
	assert_int_equal(a[COUNTER_DATAGRAMS_BATCHED], 44);
	assert_int_equal(b[COUNTER_DATAGRAMS_SPLIT], 44);
	assert_int_equal(b[COUNTER_SUPERS_COALESCED], 1);
	assert_int_equal(b[COUNTER_SEGMENTS_COALESCED], 44);
	assert_int_equal(t->a.peer->tx_packets, 44);
	assert_int_equal(t->b.peer->rx_packets, 44);
	assert_int_equal(t->a.peer->tx_bytes, t->b.peer->rx_bytes);
	assert_int_equal(t->a.peer->tx_wire_bytes, t->b.peer->rx_wire_bytes);
}

// Random bytes lost, doubled, reordered and damaged on the wire: nothing wrong ever comes out.
static void a_bad_wire_harms_no_other_packet(void **state)
{
	struct two *t = *state;
	enum { N = 400 };
	static struct flat frame, want, got;
	unsigned good = 0;
	t->b.port[GW_LAN]->port.tx_offloads = 0;
	for (unsigned i = 0; i < N; i++) {
		struct flat p;
		inner_build(&(struct spec){.proto = IPPROTO_UDP,
				    .id = (uint16_t)i,
				    .fill = i,
				    .payload = 8 + flow_random(&seed) % 1000},
			1, 2, &p);
		sealed_build(t, &p, &frame);
		uint32_t fate = flow_random(&seed) % 8;
		if (fate == 0)
			continue;
		if (fate == 1)
			frame.b[28 + flow_random(&seed) % (frame.len - 28)] ^= 0x10;
		if (fate == 2)
			frame.len -= flow_random(&seed) % 20 + 1;
		flow_finish(frame.b, frame.len);
		push_flat(&t->b, GW_WAN, &frame);
		if (fate == 3)
			push_flat(&t->b, GW_WAN, &frame);
		good += fate > 2;
	}
	run(&t->b);
	for (unsigned came = 0; came < good; came++) {
		assert_true(take_flat(&t->b, GW_LAN, &got));
		inner_build(&(struct spec){.proto = IPPROTO_UDP,
				    .id = (uint16_t)get16(got.b + 4),
				    .fill = get16(got.b + 4),
				    .payload = got.len - 28},
			1, 2, &want);
		hop(&want);
		hop(&want);
		assert_flat_equal(&got, &want);
	}
	expect_nothing(&t->b);
}

static unsigned round_of(struct gw *g, unsigned worker)
{
	unsigned n = worker_round(g->worker[worker]);
	rcu_reclaim(g->gw.rcu);
	return n;
}

// Peers belong to worker 0; worker 1 receives. Both directions go by the owner.
static void packets_go_to_the_owner(void **)
{
	struct two *t = two_open(&(struct gw_params){.workers = 2});
	static struct flat p, got;
	assert_int_equal(t->a.peer->owner, 0);
	for (unsigned super = 0; super < 2; super++) {
		inner_build(&(struct spec){.payload = super ? 20000 : 500}, 1, 2, &p);
		struct rte_mbuf *m = frame_of(&t->a, GW_LAN, p.b, p.len);
		m->ol_flags = super ? RTE_MBUF_F_RX_LRO | RTE_MBUF_F_RX_L4_CKSUM_NONE : 0;
		m->tso_segsz = 1000;
		assert_true(memport_put(t->a.port[GW_LAN], 1, m));
		assert_int_equal(round_of(&t->a, 1), 1);
		expect_nothing(&t->a);
		assert_int_equal(t->a.gw.graph[1]->counters[COUNTER_HANDOFF], 1 + super);
		assert_int_equal(round_of(&t->a, 0), 1);
		assert_int_equal(sent(&t->a, GW_WAN), 1);

		m = wire_frame(&t->b, memport_take(t->a.port[GW_WAN], 0));
		assert_true(memport_put(t->b.port[GW_WAN], 1, m));
		assert_int_equal(round_of(&t->b, 1), 1);
		expect_nothing(&t->b);
		assert_int_equal(round_of(&t->b, 0), super ? 20 : 1);
		assert_true(take_flat(&t->b, GW_LAN, &got));
		hop(&p);
		hop(&p);
		assert_memory_equal(got.b + 40, p.b + 40, p.len - 40);
		assert_int_equal(got.len, p.len);
	}
	for (unsigned i = 0; i < 2; i++) {
		for (unsigned k = 0; k < DROP_COUNT; k++)
			assert_int_equal(
				t->a.gw.graph[i]->drops[k] + t->b.gw.graph[i]->drops[k], 0);
	}
	two_close(t);
}

// An ICMP error that leaves through the tunnel of a peer whose owner is another worker.
static void errors_go_to_the_owner(void **)
{
	struct two *t = two_open(&(struct gw_params){.workers = 2});
	struct flat p;
	inner_build(&(struct spec){.proto = IPPROTO_UDP, .payload = 50}, 2, 1, &p);
	put32(p.b + 16, gw_ip4(10, 9, 0, 1)); // nobody's allowed IPs
	flow_finish(p.b, p.len);
	assert_true(memport_put(t->a.port[GW_LAN], 1, frame_of(&t->a, GW_LAN, p.b, p.len)));
	round_of(&t->a, 1);
	round_of(&t->a, 1);
	assert_int_equal(t->a.gw.graph[1]->counters[COUNTER_HANDOFF], 1);
	assert_int_equal(round_of(&t->a, 0), 1);
	assert_int_equal(sent(&t->a, GW_WAN), 1);
	assert_int_equal(drops(&t->a), 0);
	two_close(t);
}

// The session ends while its packets are on their way between workers.
static void a_session_ends_between_workers(void **)
{
	struct two *t = two_open(&(struct gw_params){.workers = 2});
	struct flat p;
	inner_build(&(struct spec){.payload = 500}, 1, 2, &p);
	push_flat(&t->a, GW_LAN, &p);
	round_of(&t->a, 0);
	struct rte_mbuf *m = wire_frame(&t->b, memport_take(t->a.port[GW_WAN], 0));
	assert_true(memport_put(t->b.port[GW_WAN], 1, m));
	round_of(&t->b, 1);
	peer_set_sending(t->b.peer, NULL);
	index_free(t->b.gw.index, t->b.keypair->local_index);
	round_of(&t->b, 0);
	expect_drops(&t->b, DROP_WG_INDEX, 1);
	two_close(t);
}

static void a_full_inbox_is_counted(void **)
{
	struct two *t = two_open(&(struct gw_params){.workers = 2, .pkts = 4500, .large = 31});
	struct flat p;
	unsigned n = 0;
	inner_build(&(struct spec){.proto = IPPROTO_UDP, .payload = 10}, 1, 2, &p);
	while (t->a.gw.graph[1]->drops[DROP_HANDOFF_FULL] == 0 && n++ < 4400) {
		assert_true(memport_put(t->a.port[GW_LAN], 1, frame_of(&t->a, GW_LAN, p.b, p.len)));
		round_of(&t->a, 1);
	}
	assert_int_equal(t->a.gw.graph[1]->drops[DROP_HANDOFF_FULL], 1);
	assert_int_equal(t->a.gw.graph[1]->counters[COUNTER_HANDOFF], n - 1);
	two_close(t); // nothing is lost of what waits there
}

static void names_are_unique(void **)
{
	for (unsigned i = 0; i < DROP_COUNT; i++) {
		assert_true(strlen(drop_help((enum drop_reason)i)) > 10);
		for (unsigned k = 0; k < i; k++)
			assert_string_not_equal(
				drop_label((enum drop_reason)i), drop_label((enum drop_reason)k));
	}
	for (unsigned i = 0; i < COUNTER_COUNT; i++) {
		assert_true(strlen(counter_help((enum counter)i)) > 10);
		for (unsigned k = 0; k < i; k++)
			assert_string_not_equal(
				counter_label((enum counter)i), counter_label((enum counter)k));
	}
}

// The steps of two packets: one that goes through, one that ends.
static void traces_tell_the_way(void **state)
{
	struct two *t = *state;
	struct graph *g = graph_of(&t->a);
	static const enum node_id through[] = {NODE_ETH_INPUT, NODE_CLASSIFY, NODE_OVERLAY,
		NODE_ROUTE, NODE_WG_ROUTE, NODE_WG_ENCRYPT, NODE_TX};
	struct flat p;
	g->trace_wanted = 2;
	inner_build(&(struct spec){.payload = 100}, 1, 2, &p);
	push_flat(&t->a, GW_LAN, &p);
	p.b[8] = 1;
	flow_finish(p.b, p.len);
	push_flat(&t->a, GW_LAN, &p);
	run(&t->a);
	assert_int_equal(g->trace_done, 2);
	assert_int_equal(g->trace[0].n, RTE_DIM(through));
	for (unsigned i = 0; i < RTE_DIM(through); i++)
		assert_int_equal(g->trace[0].step[i].node, through[i]);
	const struct trace_step *last = &g->trace[1].step[g->trace[1].n - 1];
	assert_int_equal(last->drop, 1 + DROP_TTL);
	assert_int_equal(last->node, NODE_ICMP_ERROR);
	assert_memory_equal(g->trace[0].step[2].head, "\x45", 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(super_packets_arrive_as_their_segments),
		two_test(few_frames_cross_the_wire),
		two_test(a_bad_wire_harms_no_other_packet),
		cmocka_unit_test(packets_go_to_the_owner),
		cmocka_unit_test(errors_go_to_the_owner),
		cmocka_unit_test(a_session_ends_between_workers),
		cmocka_unit_test(a_full_inbox_is_counted),
		cmocka_unit_test(names_are_unique),
		two_test(traces_tell_the_way),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
