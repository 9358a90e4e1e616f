// Outer datagrams: which are WireGuard messages or disco, runs of them in one super-packet, what
// goes up.
#include "dataplane/wire/classify_udp.h"
#include "tests/unit/packets.h"

enum {
	OUTER4 = IP4_HDR_LEN + UDP_HDR_LEN,
};

// A datagram to A's WireGuard port from B, IPv4.
static void outer_build(const uint8_t *message, uint32_t len, struct flat *p)
{
	flow_build(&(struct spec){.proto = IPPROTO_UDP, .payload = len}, p);
	put32(p->b + 12, gw_ip4(192, 0, 2, 2));
	put32(p->b + 16, gw_ip4(192, 0, 2, 1));
	put16(p->b + 20, GW_PORT);
	put16(p->b + 22, GW_PORT);
	if (message)
		memcpy(p->b + OUTER4, message, len);
	flow_finish(p->b, p->len);
}

static const struct {
	const char *name;
	uint8_t head[4];
	uint32_t len;
	bool punted;
	enum drop_reason reason;
	int udp_len; // added to the UDP header's length
} rows[] = {
	{"initiation", {1}, 148, true},
	{"response", {2}, 92, true},
	{"cookie reply", {3}, 64, true},
	{"initiation cut", {1}, 147, false, DROP_WG_MALFORMED},
	{"initiation with a byte more", {1}, 149, false, DROP_WG_MALFORMED},
	{"initiation of a response's length", {1}, 92, false, DROP_WG_MALFORMED},
	{"response cut", {2}, 91, false, DROP_WG_MALFORMED},
	{"response with a byte more", {2}, 93, false, DROP_WG_MALFORMED},
	{"cookie reply cut", {3}, 63, false, DROP_WG_MALFORMED},
	{"cookie reply with a byte more", {3}, 65, false, DROP_WG_MALFORMED},
	{"data cut below its tag", {4}, 31, false, DROP_WG_MALFORMED},
	{"data header alone", {4}, 16, false, DROP_WG_MALFORMED},
	{"four bytes", {4}, 4, false, DROP_WG_MALFORMED},
	{"one byte", {4}, 1, false, DROP_WG_MALFORMED},
	{"no byte", {0}, 0, false, DROP_WG_MALFORMED},
	{"type 0", {0}, 148, false, DROP_WG_MALFORMED},
	{"type 5", {5}, 148, false, DROP_WG_MALFORMED},
	{"type 255", {255}, 92, false, DROP_WG_MALFORMED},
	{"initiation, reserved byte set", {1, 1}, 148, false, DROP_WG_MALFORMED},
	{"initiation, last reserved byte set", {1, 0, 0, 1}, 148, false, DROP_WG_MALFORMED},
	{"data, reserved byte set", {4, 0, 1}, 96, false, DROP_WG_MALFORMED},
	{"data for an unknown index", {4}, 96, false, DROP_WG_INDEX},
	{"keepalive for an unknown index", {4}, 32, false, DROP_WG_INDEX},
	{"UDP length beyond the packet", {1}, 148, false, DROP_WG_MALFORMED, 1},
	{"UDP length short of the packet", {1}, 148, false, DROP_WG_MALFORMED, -1},
	{"UDP length below its header", {1}, 148, false, DROP_WG_MALFORMED, -150},
};

static void each_message_has_its_place(void **state)
{
	struct two *t = *state;
	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		struct flat p;
		struct rte_mbuf *m;
		uint8_t message[256] = {0};
		memcpy(message, rows[i].head, 4);
		memset(message + 4, 0x77, sizeof(message) - 4);
		outer_build(message, rows[i].len, &p);
		put16(p.b + 24, get16(p.b + 24) + (uint32_t)rows[i].udp_len);
		print_message("%s\n", rows[i].name);
		push_flat(&t->a, GW_WAN, &p);
		run(&t->a);
		m = punted_get(&t->a.gw);
		assert_int_equal(m != NULL, rows[i].punted);
		if (m) {
			struct flat got;
			assert_int_equal(pkt_of(m)->reason, PUNT_DATAGRAM);
			assert_int_equal(pkt_of(m)->port_in, GW_WAN);
			flow_flat(m, &got);
			assert_flat_equal(&got, &p);
			rte_pktmbuf_free(m);
		}
		expect_drops(&t->a, rows[i].reason, !rows[i].punted);
	}
}

// What a node of a tailnet takes beside WireGuard. hex: the first bytes; then zeros.
static const struct {
	const char *name;
	const char *head;
	uint32_t head_len, len;
	int punted; // enum punt_reason; -1: malformed for all
} tailnet_rows[] = {
#define ROW(name, head, len, punted)                                                               \
	{                                                                                          \
		name, head, sizeof(head) - 1, len, punted                                          \
	}
#define STUN "\1\1\0\0\x21\x12\xa4\x42"
#define DISCO "TS\xf0\x9f\x92\xac"
#define GENEVE_DISCO "\0\0\x7a\x11\0\0\7\0"
#define GENEVE_WG "\0\0\x7a\x12\0\0\7\0"
	ROW("STUN response", STUN, 32, PUNT_DISCO),
	ROW("STUN header alone", STUN, 20, PUNT_DISCO),
	ROW("STUN cut", STUN, 19, -1),
	ROW("STUN with another magic", "\1\1\0\0\x21\x12\xa4\x43", 32, -1),
	ROW("disco", DISCO, 124, PUNT_DISCO),
	ROW("the shortest disco", DISCO, 62, PUNT_DISCO),
	ROW("disco cut before its key's end", DISCO, 37, -1),
	ROW("disco of an MTU probe", DISCO, 1452, PUNT_DISCO),
	ROW("disco of a jumbo frame's probe", DISCO, 8972, PUNT_DISCO),
	ROW("disco from a relay", GENEVE_DISCO DISCO, 132, PUNT_DISCO),
	ROW("disco of the relay itself", "\0\x80\x7a\x11\0\0\7\0" DISCO, 160, PUNT_DISCO),
	ROW("Geneve disco without disco", GENEVE_DISCO, 132, -1),
	ROW("initiation from a relay", GENEVE_WG "\1", 8 + 148, PUNT_DATAGRAM),
	ROW("response from a relay", GENEVE_WG "\2", 8 + 92, PUNT_DATAGRAM),
	ROW("cookie reply from a relay", GENEVE_WG "\3", 8 + 64, PUNT_DATAGRAM),
	ROW("initiation of the relay itself", "\0\x80\x7a\x12\0\0\7\0\1", 8 + 148, -1),
	ROW("initiation from no relay", "\0\0\x7a\x12\0\0\0\0\1", 8 + 148, -1),
	ROW("initiation from a relay, cut", GENEVE_WG "\1", 8 + 147, -1),
	ROW("data from a relay, cut", GENEVE_WG "\4", 8 + 31, -1),
	ROW("data of the relay itself", "\0\x80\x7a\x12\0\0\7\0\4", 8 + 96, -1),
	ROW("Geneve in Geneve", GENEVE_WG GENEVE_WG "\1", 16 + 148, -1),
	ROW("Geneve header alone", GENEVE_WG, 8, -1),
	ROW("Geneve with options", "\1\0\x7a\x12\0\0\7\0\1", 8 + 148, -1),
	ROW("Geneve of another version", "\x40\0\x7a\x12\0\0\7\0\1", 8 + 148, -1),
	ROW("one byte", "\7", 1, -1),
#undef ROW
};

static void expect_up(struct gw *g, const struct flat *p, int reason)
{
	struct flat got;
	struct rte_mbuf *m = punted_get(&g->gw);
	assert_int_equal(m != NULL, reason >= 0);
	expect_drops(g, DROP_WG_MALFORMED, reason < 0);
	if (!m)
		return;
	assert_int_equal(pkt_of(m)->reason, reason);
	assert_int_equal(m->nb_segs, 1);
	flow_flat(m, &got);
	assert_flat_equal(&got, p);
	rte_pktmbuf_free(m);
}

static void a_node_of_a_tailnet_takes_more(void **state)
{
	struct two *t = *state;
	for (unsigned i = 0; i < 2 * RTE_DIM(tailnet_rows); i++) {
		unsigned row = i / 2;
		bool on = i % 2;
		static struct flat p;
		uint8_t message[9000] = {0};
		memcpy(message, tailnet_rows[row].head, tailnet_rows[row].head_len);
		outer_build(message, tailnet_rows[row].len, &p);
		print_message("%s, %s\n", tailnet_rows[row].name, on ? "on" : "off");
		atomic_store(&t->a.gw.disco, on);
		push_flat(&t->a, GW_WAN, &p);
		run(&t->a);
		expect_up(&t->a, &p, on ? tailnet_rows[row].punted : -1);
	}
}

// Data from a relay goes the way of all data, alone and in runs.
static void data_behind_geneve_is_data(void **state)
{
	struct two *t = *state;
	struct flat inner, frame, got;
	uint8_t payload[2 * 256];
	uint32_t size = 0;
	atomic_store(&t->b.gw.disco, true);
	for (unsigned i = 0; i < 2; i++) {
		inner_build(&(struct spec){.proto = IPPROTO_UDP, .payload = 100, .fill = i}, 1, 2,
			&inner);
		sealed_build(t, &inner, &frame);
		size = GENEVE_HEADER_LEN + frame.len - OUTER4;
		assert_true(size <= 256);
		memcpy(payload + i * size, GENEVE_WG, GENEVE_HEADER_LEN);
		memcpy(payload + i * size + GENEVE_HEADER_LEN, frame.b + OUTER4,
			frame.len - OUTER4);
	}
	flow_build(&(struct spec){.proto = IPPROTO_UDP, .payload = 2 * size}, &frame);
	put32(frame.b + 12, gw_ip4(192, 0, 2, 1));
	put32(frame.b + 16, gw_ip4(192, 0, 2, 2));
	put16(frame.b + 20, GW_PORT);
	put16(frame.b + 22, GW_PORT);
	memcpy(frame.b + OUTER4, payload, 2 * size);
	flow_finish(frame.b, frame.len);
	t->b.port[GW_LAN]->port.tx_offloads = 0;
	push_super(&t->b, GW_WAN, &frame, (uint16_t)size);
	run(&t->b);
	assert_int_equal(sent(&t->b, GW_LAN), 2);
	while (take_flat(&t->b, GW_LAN, &got))
		assert_int_equal(got.len, inner.len);
	expect_drops(&t->b, DROP_WG_AUTH, 0);
}

// A flood of disco has its share of what waits, and leaves room for handshakes.
static void disco_leaves_room_for_handshakes(void **state)
{
	struct two *t = *state;
	struct flat p;
	struct rte_mbuf *m;
	unsigned share = t->a.gw.pool->size / 4 / 4, n = 0;
	atomic_store(&t->a.gw.disco, true);
	outer_build((const uint8_t[DISCO_CLASSIFY_MIN_LEN]){DISCO}, DISCO_CLASSIFY_MIN_LEN, &p);
	for (unsigned i = 0; i < share + 100; i++) {
		push_flat(&t->a, GW_WAN, &p);
		run(&t->a);
	}
	expect_drops(&t->a, DROP_DISCO_FULL, 100);
	outer_build((const uint8_t[WG_INITIATION_LEN]){WG_TYPE_INITIATION}, WG_INITIATION_LEN, &p);
	push_flat(&t->a, GW_WAN, &p);
	run(&t->a);
	expect_drops(&t->a, DROP_DISCO_FULL, 0);
	for (; (m = punted_get(&t->a.gw)); n++) {
		assert_int_equal(pkt_of(m)->reason, n == share ? PUNT_DATAGRAM : PUNT_DISCO);
		rte_pktmbuf_free(m);
	}
	assert_int_equal(n, share + 1);
	assert_int_equal(t->a.gw.punted_n[PUNT_DISCO], 0);
}

// The few large buffers are for receiving.
static void large_disco_leaves_large_buffers(void **state)
{
	struct two *t = *state;
	static struct flat p;
	static uint8_t message[8972] = DISCO;
	struct rte_mbuf *m;
	unsigned most = t->a.gw.super_pool->size / 16;
	atomic_store(&t->a.gw.disco, true);
	outer_build(message, sizeof(message), &p);
	for (unsigned i = 0; i < 20; i++) {
		push_flat(&t->a, GW_WAN, &p);
		run(&t->a);
	}
	expect_drops(&t->a, DROP_NO_MBUF, 20 - most);
	while ((m = punted_get(&t->a.gw)))
		rte_pktmbuf_free(m);
}

// A receiver index that differs in one bit is another session's.
static void neighbouring_indices_are_unknown(void **state)
{
	struct two *t = *state;
	for (unsigned bit = 0; bit < 32; bit++) {
		struct flat p;
		struct wg_data h = {.type = wg_type_field(WG_TYPE_DATA)};
		uint8_t message[64] = {0};
		h.receiver = rte_cpu_to_le_32(t->a.keypair->local_index ^ 1u << bit);
		memcpy(message, &h, sizeof(h));
		outer_build(message, sizeof(message), &p);
		push_flat(&t->a, GW_WAN, &p);
		run(&t->a);
		expect_drops(&t->a, DROP_WG_INDEX, 1);
	}
}

// n sealed packets from A as one run of datagrams to B; the last is shorter when short_last.
static void sealed_run(struct two *t, unsigned n, uint32_t payload, bool short_last,
	struct flat *out, uint32_t *size, struct flat *inner)
{
	struct flat frame;
	out->len = OUTER4;
	for (unsigned i = 0; i < n; i++) {
		bool last = i == n - 1;
		inner_build(&(struct spec){.proto = IPPROTO_UDP,
				    .payload = payload - (last && short_last ? 32 : 0),
				    .fill = i},
			1, 2, &inner[i]);
		sealed_build(t, &inner[i], &frame);
		hop(&inner[i]);
		hop(&inner[i]);
		memcpy(out->b, frame.b, OUTER4);
		memcpy(out->b + out->len, frame.b + OUTER4, frame.len - OUTER4);
		out->len += frame.len - OUTER4;
		*size = i == 0 ? frame.len - OUTER4 : *size;
	}
	flow_finish(out->b, out->len);
}

static void expect_inner(struct gw *g, const struct flat *inner, unsigned n)
{
	struct flat got;
	for (unsigned i = 0; i < n; i++) {
		assert_true(take_flat(g, GW_LAN, &got));
		assert_flat_equal(&got, &inner[i]);
	}
	expect_nothing(g);
	assert_int_equal(drops(g), 0);
}

static const struct {
	const char *name;
	unsigned n;
	uint32_t payload;
	bool short_last;
	uint32_t first, piece; // how the frame lies in segments; 0: in one
} runs[] = {
	{"one datagram", 1, 100, false},
	{"two", 2, 100, false},
	{"two, the last shorter", 2, 100, true},
	{"as many as the kernel sends", 64, 900, false},
	{"small ones", 64, 64, true},
	{"a large one", 44, 1380, true},
	{"in segments of 2000", 20, 1380, true, 2000, 2000},
	{"headers in a segment of their own", 20, 500, false, 42, 1900},
	{"a segment per datagram", 6, 500, false, 42, 560},
	{"the last byte alone", 4, 400, false, 42 + 4 * 464 - 1, 1},
};

static void runs_are_taken_apart(void **state)
{
	struct two *t = *state;
	static struct flat inner[64], out;
	t->b.port[GW_LAN]->port.tx_offloads = 0; // plain packets come out
	for (unsigned i = 0; i < RTE_DIM(runs); i++) {
		uint32_t size = 0;
		print_message("%s\n", runs[i].name);
		sealed_run(t, runs[i].n, runs[i].payload, runs[i].short_last, &out, &size, inner);
		struct rte_mbuf *m = frame_of(&t->b, GW_WAN, out.b, out.len);
		if (runs[i].first) {
			struct flat frame;
			flow_flat(m, &frame);
			rte_pktmbuf_free(m);
			m = flow_mbuf(
				t->b.gw.pool, frame.b, frame.len, runs[i].first, runs[i].piece);
		}
		m->ol_flags = RTE_MBUF_F_RX_LRO;
		m->tso_segsz = (uint16_t)size;
		push(&t->b, GW_WAN, m);
		run(&t->b);
		expect_inner(&t->b, inner, runs[i].n);
	}
}

// One bad datagram of a run harms no other.
static void a_forged_one_harms_no_other(void **state)
{
	struct two *t = *state;
	static struct flat inner[8], out;
	uint32_t size = 0;
	t->b.port[GW_LAN]->port.tx_offloads = 0;
	sealed_run(t, 8, 200, false, &out, &size, inner);
	out.b[OUTER4 + 3 * size + 40] ^= 1;	   // the fourth: forged
	put32(out.b + OUTER4 + 5 * size + 4, 1);   // the sixth: unknown index
	out.b[OUTER4 + 6 * size] = WG_TYPE_COOKIE; // the seventh: no such message
	push_super(&t->b, GW_WAN, &out, (uint16_t)size);
	run(&t->b);
	const struct graph *g = graph_of(&t->b);
	assert_int_equal(g->drops[DROP_WG_AUTH], 1);
	assert_int_equal(g->drops[DROP_WG_INDEX], 1);
	assert_int_equal(g->drops[DROP_WG_MALFORMED], 1);
	for (unsigned i = 0; i < 8; i++) {
		struct flat got;
		if (i == 3 || i == 5 || i == 6)
			continue;
		assert_true(take_flat(&t->b, GW_LAN, &got));
		assert_flat_equal(&got, &inner[i]);
	}
	expect_nothing(&t->b);
}

static const struct {
	const char *name;
	uint16_t size;
} bad_sizes[] = {{"0", 0}, {"1", 1}, {"31, less than any data message", 31}};

static void runs_of_tiny_datagrams_are_refused(void **state)
{
	struct two *t = *state;
	for (unsigned i = 0; i < RTE_DIM(bad_sizes); i++) {
		struct flat p;
		outer_build(NULL, 1000, &p);
		push_super(&t->a, GW_WAN, &p, bad_sizes[i].size);
		run(&t->a);
		expect_drops(&t->a, DROP_WG_MALFORMED, 1);
	}
}

static void runs_of_handshakes_go_up_one_by_one(void **state)
{
	struct two *t = *state;
	struct flat p;
	uint8_t messages[3 * WG_INITIATION_LEN] = {0};
	for (unsigned i = 0; i < 3; i++)
		messages[i * WG_INITIATION_LEN] = WG_TYPE_INITIATION;
	outer_build(messages, sizeof(messages), &p);
	push_super(&t->a, GW_WAN, &p, WG_INITIATION_LEN);
	run(&t->a);
	assert_int_equal(mailbox_count(t->a.gw.punted), 3);
	assert_int_equal(drops(&t->a), 0);
}

// Driver's segments: one datagram in a chain.
static void a_chain_is_put_in_one_piece(void **state)
{
	struct two *t = *state;
	struct flat inner, frame, whole;
	inner_build(&(struct spec){.proto = IPPROTO_UDP, .payload = 1000}, 1, 2, &inner);
	sealed_build(t, &inner, &frame);
	struct rte_mbuf *m = frame_of(&t->b, GW_WAN, frame.b, frame.len);
	flow_flat(m, &whole);
	rte_pktmbuf_free(m);
	push(&t->b, GW_WAN, flow_mbuf(t->b.gw.pool, whole.b, whole.len, 100, 300));
	run(&t->b);
	hop(&inner);
	hop(&inner);
	expect_inner(&t->b, &inner, 1);
}

static void long_extension_headers_do_no_harm(void **state)
{
	struct two *t = *state;
	static const uint32_t lens[] = {8, 64, 1600, 1800, 1936, 2040};
	for (unsigned i = 0; i < RTE_DIM(lens); i++) {
		static struct flat p;
		uint32_t len = lens[i];
		memset(p.b, 0, 8000);
		p.b[0] = 0x60;
		put16(p.b + 4, len + UDP_HDR_LEN + WG_INITIATION_LEN);
		p.b[6] = IPPROTO_DSTOPTS;
		memcpy(p.b + 8, "\x20\x01\x0d\xb8", 4);
		memcpy(p.b + 24, "\x20\x01\x0d\xb8", 4);
		p.b[23] = 2;
		p.b[39] = 1;
		p.b[40] = IPPROTO_UDP;
		p.b[41] = (uint8_t)(len / 8 - 1);
		put16(p.b + 40 + len + 2, GW_PORT);
		put16(p.b + 40 + len + 4, UDP_HDR_LEN + WG_INITIATION_LEN);
		p.b[40 + len + UDP_HDR_LEN] = WG_TYPE_INITIATION;
		p.len = 40 + len + UDP_HDR_LEN + WG_INITIATION_LEN;
		push_flat(&t->a, GW_WAN, &p);
		run(&t->a);
		struct rte_mbuf *m = punted_get(&t->a.gw);
		bool up = m != NULL;
		rte_pktmbuf_free(m);
		expect_drops(&t->a, DROP_WG_MALFORMED, !up);
		assert_true(up || len > 1600);
	}
}

static void an_empty_pool_is_counted(void **state)
{
	struct two *t = *state;
	static struct flat inner[10], out;
	struct rte_mbuf *all[4096];
	uint32_t size = 0;
	unsigned n = 0;
	sealed_run(t, 10, 200, false, &out, &size, inner);
	struct rte_mbuf *m = frame_of(&t->b, GW_WAN, out.b, out.len);
	m->ol_flags = RTE_MBUF_F_RX_LRO;
	m->tso_segsz = (uint16_t)size;
	while ((all[n] = rte_pktmbuf_alloc(t->b.gw.pool)))
		n++;
	push(&t->b, GW_WAN, m);
	run(&t->b);
	expect_drops(&t->b, DROP_NO_MBUF, 10);
	rte_pktmbuf_free_bulk(all, n);
}

static void a_full_mailbox_is_counted(void **state)
{
	struct two *t = *state;
	struct flat p;
	struct rte_mbuf *m = NULL;
	while (mailbox_put(t->a.gw.punted, &m))
		;
	outer_build((const uint8_t[WG_INITIATION_LEN]){WG_TYPE_INITIATION}, WG_INITIATION_LEN, &p);
	for (unsigned i = 0; i < 3; i++)
		push_flat(&t->a, GW_WAN, &p);
	run(&t->a);
	expect_drops(&t->a, DROP_PUNT_FULL, 3);
	while (mailbox_get(t->a.gw.punted, &m, 1) == 1)
		assert_null(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		two_test(each_message_has_its_place),
		two_test(a_node_of_a_tailnet_takes_more),
		two_test(data_behind_geneve_is_data),
		two_test(disco_leaves_room_for_handshakes),
		two_test(large_disco_leaves_large_buffers),
		two_test(neighbouring_indices_are_unknown),
		two_test(runs_are_taken_apart),
		two_test(a_forged_one_harms_no_other),
		two_test(runs_of_tiny_datagrams_are_refused),
		two_test(runs_of_handshakes_go_up_one_by_one),
		two_test(a_chain_is_put_in_one_piece),
		two_test(long_extension_headers_do_no_harm),
		two_test(an_empty_pool_is_counted),
		two_test(a_full_mailbox_is_counted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
