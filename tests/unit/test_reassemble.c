// Fragments of filtered peers become whole packets before the filter sees them, and are cut again
// where they leave; what cannot be put together ends and is counted.
#include "tests/unit/filter.h"

#include "dataplane/table/fragments.h"

enum {
	PIECES = 6,
	HELD = -2, // nothing comes out, nothing is dropped
	LINK_MTU = 1500,
};

// Payload of the IP packet from at on; other: with other bytes than the packet has.
struct piece {
	uint16_t at, len;
	bool last, other;
};

// The fragment of a whole packet.
static void cut_piece(
	const struct flat *whole, const struct piece *c, uint16_t id, struct flat *out)
{
	uint32_t head = flow_l3_len(whole->b), at = head;
	memcpy(out->b, whole->b, head);
	if (flow_is_v4(whole->b)) {
		put16(out->b + 4, id);
		put16(out->b + 6, (c->last ? 0 : 0x2000) | c->at / 8);
	} else {
		out->b[6] = IPPROTO_FRAGMENT;
		memset(out->b + at, 0, 8);
		out->b[at] = whole->b[6];
		put16(out->b + at + 2, c->at | !c->last);
		put16(out->b + at + 6, id);
		at += 8;
	}
	memset(out->b + at, 0xee, c->len);
	if (!c->other && head + c->at < whole->len)
		memcpy(out->b + at, whole->b + head + c->at,
			RTE_MIN((uint32_t)c->len, whole->len - head - c->at));
	out->len = at + c->len;
	if (flow_is_v4(whole->b)) {
		put16(out->b + 2, out->len);
		csum_ip4_hdr_set(out->b, head);
	} else {
		put16(out->b + 4, out->len - IP6_HDR_LEN);
	}
}

static void send_piece(struct two *t, const struct flat *whole, const struct piece *c, uint16_t id)
{
	static struct flat p, frame;
	cut_piece(whole, c, id, &p);
	sealed_raw(t, p.b, p.len, &frame);
	push(&t->b, GW_WAN, frame_of(&t->b, GW_WAN, frame.b, frame.len));
	run(&t->b);
}

// Put what left for the LAN together again, in the most obvious way. False: nothing left.
static bool come_out(struct two *t, struct flat *got)
{
	static struct flat p;
	uint32_t total = 0, have = 0, head = 0;
	while (take_flat(&t->b, GW_LAN, &p)) {
		bool v4 = flow_is_v4(p.b);
		assert_true(p.len <= LINK_MTU);
		head = flow_l3_len(p.b);
		uint32_t at = head + (v4 ? 0 : 8);
		uint32_t field = v4			      ? get16(p.b + 6)
				 : p.b[6] == IPPROTO_FRAGMENT ? get16(p.b + 42)
							      : 0;
		if (v4 ? !(field & 0x3fff) : p.b[6] != IPPROTO_FRAGMENT) {
			memcpy(got->b, p.b, p.len);
			got->len = p.len;
			return true;
		}
		uint32_t offset = v4 ? (field & 0x1fff) * 8 : field & 0xfff8;
		memcpy(got->b, p.b, head);
		if (!v4)
			got->b[6] = p.b[40];
		memcpy(got->b + head + offset, p.b + at, p.len - at);
		have += p.len - at;
		if (v4 ? !(field & 0x2000) : !(field & 1))
			total = offset + p.len - at;
	}
	got->len = head + total;
	assert_int_equal(have, total);
	return total > 0;
}

static void set_whole4(struct flat *p)
{
	put16(p->b + 2, p->len);
	put16(p->b + 4, 0);
	put16(p->b + 6, 0);
	csum_ip4_hdr_set(p->b, IP4_HDR_LEN);
}

static void expect_whole(struct two *t, const struct flat *whole)
{
	static struct flat got, want;
	memcpy(&want, whole, sizeof(want));
	hop(&want);
	assert_true(come_out(t, &got));
	if (flow_is_v4(got.b)) {
		set_whole4(&got);
		set_whole4(&want);
	} else {
		put16(got.b + 4, got.len - IP6_HDR_LEN);
	}
	assert_flat_equal(&got, &want);
}

// Of a UDP packet with 3000 bytes behind the IP header, 2992 of them payload.
static const struct {
	const char *name;
	struct piece piece[PIECES];
	int verdict;	// ACCEPTED, HELD or enum drop_reason
	uint16_t drops; // fragments that end
	uint16_t dport; // 0: one that is allowed
} rows[] = {
	{"in order", {{0, 1400}, {1400, 1400}, {2800, 200, true}}, ACCEPTED},
	{"the last one first", {{2800, 200, true}, {1400, 1400}, {0, 1400}}, ACCEPTED},
	{"the middle last", {{0, 1400}, {2800, 200, true}, {1400, 1400}}, ACCEPTED},
	{"two", {{0, 2000}, {2000, 1000, true}}, ACCEPTED},
	{"the first one tiny", {{0, 8}, {8, 1000}, {1008, 1992, true}}, ACCEPTED},
	{"one twice", {{0, 1400}, {0, 1400}, {1400, 1600, true}}, ACCEPTED},
	{"the last one twice", {{1400, 1600, true}, {1400, 1600, true}, {0, 1400}}, ACCEPTED},
	{"no rule for it", {{0, 1400}, {1400, 1600, true}}, DROP_FILTER_RULE, 1, 54},
	{"no rule, ports behind the first", {{0, 8}, {8, 2992, true}}, DROP_FILTER_RULE, 1, 54},
	{"without the first", {{1400, 1400}, {2800, 200, true}}, HELD},
	{"without the last", {{0, 1400}, {1400, 1400}}, HELD},
	{"with a hole", {{0, 1400}, {1408, 1592, true}}, HELD},
	{"overlap by eight bytes", {{0, 1400}, {1392, 1608, true}}, DROP_FRAGMENT_OVERLAP, 2},
	{"overlap from behind", {{1392, 1608, true}, {0, 1400}}, DROP_FRAGMENT_OVERLAP, 2},
	{"one within another", {{0, 1400}, {80, 80}}, DROP_FRAGMENT_OVERLAP, 2},
	{"one around another", {{80, 80}, {0, 1400}}, DROP_FRAGMENT_OVERLAP, 2},
	{"ports written over", {{0, 1400}, {0, 8}}, DROP_FRAGMENT_OVERLAP, 2},
	{"the same place, other bytes", {{0, 1400}, {0, 1400, .other = true}},
		DROP_FRAGMENT_OVERLAP, 2},
	{"what follows an overlap", {{0, 1400}, {0, 8}, {1400, 1600, true}, {0, 1400}},
		DROP_FRAGMENT_OVERLAP, 4},
	{"not a multiple of eight", {{0, 1401}}, DROP_FRAGMENT_MALFORMED, 1},
	{"empty", {{1400, 0, true}}, DROP_FRAGMENT_MALFORMED, 1},
	{"the last one within", {{1400, 1600, true}, {8, 800, true}}, DROP_FRAGMENT_OVERLAP, 0},
	{"behind the last", {{1400, 1600, true}, {3000, 80}}, DROP_FRAGMENT_OVERLAP, 0},
	{"beyond 65535", {{65520, 80, true}}, DROP_FRAGMENT_MALFORMED, 1},
};

static void build_whole(uint8_t family, uint32_t payload, uint16_t dport, struct flat *p)
{
	inner_build(&(struct spec){.family = family,
			    .proto = IPPROTO_UDP,
			    .dport = dport ? dport : 53,
			    .payload = payload,
			    .no_df = true},
		1, 2, p);
}

static void expect_ends(struct two *t, unsigned row)
{
	uint64_t *d = graph_of(&t->b)->drops;
	if (rows[row].drops) {
		expect_drops(&t->b, (enum drop_reason)rows[row].verdict, rows[row].drops);
		return;
	}
	// One is malformed for what is there already, which ends with it.
	assert_int_equal(d[DROP_FRAGMENT_MALFORMED], 1);
	assert_int_equal(d[DROP_FRAGMENT_OVERLAP], 1);
	assert_int_equal(drops(&t->b), 2);
	memset(d, 0, DROP_COUNT * sizeof(*d));
}

static bool is_end(const struct piece *c)
{
	return c->at == 0 && c->len == 0;
}

static void each_row(void **state)
{
	static struct flat whole, got;
	struct two *t = *state;
	struct graph *g = graph_of(&t->b);
	for (unsigned i = 0; i < 2 * RTE_DIM(rows); i++) {
		const struct piece *piece = rows[i / 2].piece;
		int verdict = rows[i / 2].verdict;
		uint8_t family = i % 2 ? IP_V6 : IP_V4;
		print_message("IPv%u: %s\n", family, rows[i / 2].name);
		build_whole(family, 2992, rows[i / 2].dport, &whole);
		for (unsigned c = 0; c < PIECES && !is_end(&piece[c]); c++)
			send_piece(t, &whole, &piece[c], 7);
		if (verdict == ACCEPTED)
			expect_whole(t, &whole);
		else
			assert_false(come_out(t, &got));
		if (verdict >= 0)
			expect_ends(t, i / 2);
		else
			assert_int_equal(drops(&t->b), 0);
		assert_int_equal(g->counters[COUNTER_REASSEMBLED],
			verdict == ACCEPTED || verdict == DROP_FILTER_RULE);
		g->counters[COUNTER_REASSEMBLED] = 0;
		fragments_clear(g->state->fragments);
	}
}

// What fits leaves in one piece; datagrams that mix do not mix.
static void mixed_datagrams_stay_apart(void **state)
{
	static struct flat a, b, six;
	const struct piece first = {0, 400}, last = {400, 608, true};
	build_whole(IP_V4, 1000, 0, &a);
	build_whole(IP_V6, 1000, 0, &six);
	build_whole(IP_V4, 1000, 0, &b);
	b.b[100] ^= 1;
	send_piece(*state, &a, &first, 1);
	send_piece(*state, &b, &first, 2);
	send_piece(*state, &six, &first, 1);
	send_piece(*state, &b, &last, 2);
	expect_whole(*state, &b);
	send_piece(*state, &a, &last, 1);
	expect_whole(*state, &a);
	send_piece(*state, &six, &last, 1);
	expect_whole(*state, &six);
}

// All that a buffer holds, in pieces of 1,232; and one byte more.
static void the_largest_packet(void **state)
{
	static struct flat whole, got;
	enum { ALL = FRAGMENTS_PACKET_MAX - IP4_HDR_LEN, STEP = 1232 };
	build_whole(IP_V4, ALL - UDP_HDR_LEN, 0, &whole);
	for (unsigned at = 0; at < ALL; at += STEP) {
		struct piece c = {
			(uint16_t)at, (uint16_t)RTE_MIN(ALL - at, STEP), at + STEP >= ALL};
		send_piece(*state, &whole, &c, 9);
	}
	expect_drops(&((struct two *)*state)->b, DROP_FILTER_RULE, 0);
	expect_whole(*state, &whole);
	for (unsigned at = 0; at < ALL; at += STEP) {
		struct piece c = {
			(uint16_t)at, (uint16_t)RTE_MIN(ALL - at, STEP), at + STEP >= ALL};
		c.len = (uint16_t)(c.len + c.last);
		send_piece(*state, &whole, &c, 10);
	}
	assert_false(come_out(*state, &got));
	assert_int_equal(graph_of(&((struct two *)*state)->b)->drops[DROP_FRAGMENT_MALFORMED], 1);
	memset(graph_of(&((struct two *)*state)->b)->drops, 0,
		sizeof(graph_of(&((struct two *)*state)->b)->drops));
}

// A fragment header in a packet that is whole (RFC 6946), and one behind another header.
static void headers_of_ipv6(void **state)
{
	static struct flat whole, got, p, frame;
	struct two *t = *state;
	build_whole(IP_V6, 400, 0, &whole);
	send_piece(t, &whole, &(struct piece){0, 408, true}, 3);
	expect_whole(t, &whole);
	cut_piece(&whole, &(struct piece){0, 400}, 4, &p);
	extend(&p, IPPROTO_HOPOPTS);
	sealed_raw(t, p.b, p.len, &frame);
	push(&t->b, GW_WAN, frame_of(&t->b, GW_WAN, frame.b, frame.len));
	run(&t->b);
	assert_false(come_out(t, &got));
	expect_drops(&t->b, DROP_FRAGMENT_MALFORMED, 1);
}

// A static peer's fragments, and what is no fragment, never see the node.
static void others_pass_it_by(void **state)
{
	static struct flat whole, got;
	struct two *t = *state;
	build_whole(IP_V4, 400, 0, &whole);
	arrive(t, &whole, ACCEPTED);
	atomic_store(&t->b.peer->filtered, false);
	send_piece(t, &whole, &(struct piece){0, 400}, 5);
	assert_int_equal(sent(&t->b, GW_LAN), 1);
	assert_true(take_flat(&t->b, GW_LAN, &got));
	assert_int_equal(graph_of(&t->b)->stats[NODE_REASSEMBLE].packets, 0);
}

// To an address of the gateway, while it translates: put together, and the kernel's if nobody's.
static void returns_are_whole(void **state)
{
	static struct flat whole, p;
	struct two *t = *state;
	const struct piece piece[] = {{0, 400}, {400, 608, true}};
	graph_of(&t->b)->nat_port_first = 16384;
	graph_of(&t->b)->nat_port_last = 32767;
	flow_build(&(struct spec){.proto = IPPROTO_UDP, .payload = 1000, .no_df = true}, &whole);
	put32(whole.b + 12, gw_ip4(10, 2, 0, 2));
	put32(whole.b + 16, gw_ip4(10, 2, 0, 1));
	flow_finish(whole.b, whole.len);
	for (unsigned i = 0; i < RTE_DIM(piece); i++) {
		cut_piece(&whole, &piece[i], 6, &p);
		push_flat(&t->b, GW_LAN, &p);
		run(&t->b);
	}
	assert_int_equal(graph_of(&t->b)->stats[NODE_REASSEMBLE].packets, 2);
	assert_int_equal(graph_of(&t->b)->counters[COUNTER_REASSEMBLED], 1);
	expect_nothing(&t->b);
	assert_int_equal(drops(&t->b), 0);
}

// -- the table ------------------------------------------------------------------------------------

enum { MS = 1000 }; // TSC units

struct bench {
	struct two *t;
	struct fragments *f;
	struct rte_mbuf *m; // any bytes
	uint8_t head[IP4_HDR_LEN];
};

static void bench_open(struct bench *b, struct two *t)
{
	*b = (struct bench){.t = t, .f = fragments_create(MS, t->a.gw.pool)};
	b->m = rte_pktmbuf_alloc(t->a.gw.pool);
	memset(rte_pktmbuf_append(b->m, 1000), 0x5a, 1000);
}

static void bench_close(struct bench *b)
{
	fragments_destroy(b->f);
	rte_pktmbuf_free(b->m);
}

static enum fragment_verdict put(
	struct bench *b, uint32_t origin, uint32_t id, uint16_t offset, bool more, uint64_t now)
{
	struct rte_mbuf *whole;
	const struct fragment p = {
		.key = {.family = IP_V4, .origin = origin, .id = id},
		.head = b->head,
		.data_at = 20,
		.offset = offset,
		.len = 80,
		.head_len = sizeof(b->head),
		.more = more,
	};
	enum fragment_verdict v = fragments_add(b->f, &p, b->m, now, b->t->a.gw.super_pool, &whole);
	if (v == FRAGMENT_WHOLE)
		rte_pktmbuf_free(whole);
	return v;
}

static void what_does_not_come_ends(void **state)
{
	struct bench b;
	bench_open(&b, *state);
	assert_int_equal(put(&b, 1, 1, 0, true, 0), FRAGMENT_WAITS);
	assert_int_equal(put(&b, 1, 2, 0, true, 10 * MS), FRAGMENT_WAITS);
	assert_true(fragments_expire(b.f, (FRAGMENTS_TIMEOUT_MS - 1) * MS));
	assert_int_equal(fragments_ended(b.f)->timeout, 0);
	assert_true(fragments_expire(b.f, FRAGMENTS_TIMEOUT_MS * MS));
	assert_int_equal(fragments_ended(b.f)->timeout, 1);
	assert_int_equal(put(&b, 1, 2, 80, false, FRAGMENTS_TIMEOUT_MS * MS), FRAGMENT_WHOLE);
	assert_int_equal(put(&b, 1, 1, 80, false, FRAGMENTS_TIMEOUT_MS * MS), FRAGMENT_WAITS);
	assert_false(fragments_expire(b.f, 3 * FRAGMENTS_TIMEOUT_MS * MS));
	assert_int_equal(fragments_ended(b.f)->timeout, 2);
	bench_close(&b);
}

// Many senders of a packet each, and one that sends first fragments as fast as it can.
static void a_flood_meets_its_sender(void **state)
{
	enum { QUIET = 20, FLOOD = 5000 };
	struct bench b;
	bench_open(&b, *state);
	for (uint32_t i = 0; i < QUIET; i++)
		assert_int_equal(put(&b, 100 + i, i, 0, true, 0), FRAGMENT_WAITS);
	for (uint32_t i = 0; i < FLOOD; i++) {
		assert_int_equal(put(&b, 7, 1000 + i, 0, true, MS), FRAGMENT_WAITS);
		assert_in_range(
			rte_mempool_in_use_count(b.t->a.gw.pool), 1, FRAGMENTS_BUFFERS_MAX + 1);
	}
	for (uint32_t i = 0; i < QUIET; i++)
		assert_int_equal(put(&b, 100 + i, i, 80, false, 2 * MS), FRAGMENT_WHOLE);
	assert_in_range(fragments_ended(b.f)->full, FLOOD - FRAGMENTS_DATAGRAMS_MAX, FLOOD);
	bench_close(&b);
}

// Small fragments of one packet do not fill the table either.
static void one_packet_has_a_bound(void **state)
{
	struct bench b;
	unsigned i = 0;
	bench_open(&b, *state);
	for (; i < 600 && put(&b, 1, 1, (uint16_t)(160 * i % 65440), true, 0) == FRAGMENT_WAITS;
		i++)
		;
	assert_in_range(i, 1, FRAGMENTS_DATAGRAM_BUFFERS);
	assert_int_equal(put(&b, 2, 1, 0, true, 0), FRAGMENT_WAITS);
	assert_int_equal(put(&b, 2, 1, 80, false, 0), FRAGMENT_WHOLE);
	bench_close(&b);
}

// A sixteenth of the pool is more than a worker may hold.
static int large_setup(void **state)
{
	struct two *t = two_open(&(struct gw_params){.pkts = 2047});
	*state = t;
	atomic_store(&t->b.peer->filtered, true);
	publish(&t->b, some_rules(false));
	return 0;
}

#define large_test(f) cmocka_unit_test_setup_teardown(f, large_setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		filter_test(each_row),
		filter_test(mixed_datagrams_stay_apart),
		large_test(the_largest_packet),
		filter_test(headers_of_ipv6),
		filter_test(others_pass_it_by),
		filter_test(returns_are_whole),
		large_test(what_does_not_come_ends),
		large_test(a_flood_meets_its_sender),
		large_test(one_packet_has_a_bound),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
