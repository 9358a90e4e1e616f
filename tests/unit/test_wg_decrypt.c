// Data packets in: authentic or not, replayed, old, from whom, with what inside.
#include "tests/unit/packets.h"

static void plain(uint32_t fill, uint32_t payload, struct flat *p)
{
	inner_build(
		&(struct spec){.proto = IPPROTO_UDP, .payload = payload, .fill = fill}, 1, 2, p);
}

// frame arrives at B; its inner packet comes out as want says, or not at all.
static void arrive(struct two *t, const struct flat *frame, const struct flat *want)
{
	struct flat got;
	push_flat(&t->b, GW_WAN, frame);
	run(&t->b);
	assert_int_equal(take_flat(&t->b, GW_LAN, &got), want != NULL);
	if (want)
		assert_flat_equal(&got, want);
	expect_nothing(&t->b);
}

static void arrived(const struct flat *p, struct flat *want)
{
	*want = *p;
	hop(want);
	hop(want);
}

static void a_message_comes_through_once(void **state)
{
	struct two *t = *state;
	struct flat p, frame, want;
	plain(1, 100, &p);
	sealed_build(t, &p, &frame);
	arrived(&p, &want);
	arrive(t, &frame, &want);
	for (unsigned i = 0; i < 5; i++) {
		arrive(t, &frame, NULL);
		expect_drops(&t->b, DROP_WG_REPLAY, 1);
	}
	assert_int_equal(t->b.peer->rx_packets, 1);
	assert_int_equal(t->b.peer->rx_bytes, p.len);
	assert_int_equal(t->b.peer->rx_wire_bytes, frame.len - IP4_HDR_LEN - UDP_HDR_LEN);
}

// The same twice in one burst: the window is asked again behind the decryption.
static void a_replay_in_one_burst_is_seen(void **state)
{
	struct two *t = *state;
	struct flat p, frame;
	plain(1, 100, &p);
	sealed_build(t, &p, &frame);
	for (unsigned i = 0; i < 10; i++)
		push_flat(&t->b, GW_WAN, &frame);
	run(&t->b);
	assert_int_equal(sent(&t->b, GW_LAN), 1);
	expect_drops(&t->b, DROP_WG_REPLAY, 9);
}

static void any_order_within_the_window_is_accepted(void **state)
{
	struct two *t = *state;
	enum { N = 32 };
	static struct flat frame[N], want[N];
	for (unsigned i = 0; i < N; i++) {
		struct flat p;
		plain(i, 50, &p);
		sealed_build(t, &p, &frame[i]);
		arrived(&p, &want[i]);
	}
	for (unsigned i = 0; i < N; i++)
		arrive(t, &frame[i * 13 % N], &want[i * 13 % N]);
	assert_int_equal(drops(&t->b), 0);
}

static const struct {
	const char *name;
	uint64_t counter, older;
	bool ok;
} windows[] = {
	{"just in the window", 10000, WG_REPLAY_WINDOW, true},
	{"just out of it", 20000, WG_REPLAY_WINDOW + 1, false},
	{"long out of it", 40000, 30000, false},
};

static void the_window_has_an_end(void **state)
{
	struct two *t = *state;
	for (unsigned i = 0; i < RTE_DIM(windows); i++) {
		struct flat p, recent, old, want;
		plain(i, 50, &p);
		arrived(&p, &want);
		t->a.keypair->send_counter = windows[i].counter - windows[i].older;
		sealed_build(t, &p, &old);
		t->a.keypair->send_counter = windows[i].counter;
		sealed_build(t, &p, &recent);
		arrive(t, &recent, &want);
		arrive(t, &old, windows[i].ok ? &want : NULL);
		expect_drops(&t->b, DROP_WG_REPLAY, !windows[i].ok);
	}
}

// Every part of a message is protected; what is not sealed leads elsewhere.
static const struct {
	const char *name;
	uint32_t at; // from the WireGuard header on
	enum drop_reason reason;
} forged[] = {
	{"receiver", 4, DROP_WG_INDEX},
	{"receiver's random part", 7, DROP_WG_INDEX},
	{"counter", 8, DROP_WG_AUTH},
	{"counter, a middle byte", 11, DROP_WG_AUTH},
	{"counter, the greatest byte", 15, DROP_WG_AUTH},
	{"inner version", 16, DROP_WG_AUTH},
	{"inner source", 16 + 15, DROP_WG_AUTH},
	{"payload", 16 + 60, DROP_WG_AUTH},
	{"padding", 16 + 128, DROP_WG_AUTH},
	{"tag, first byte", 16 + 144, DROP_WG_AUTH},
	{"tag, last byte", 16 + 159, DROP_WG_AUTH},
	{"type", 0, DROP_WG_MALFORMED},
};

static void forged_messages_are_refused(void **state)
{
	struct two *t = *state;
	struct flat p, frame, bad, want;
	plain(1, 101, &p); // 129 bytes, padded to 144
	arrived(&p, &want);
	sealed_build(t, &p, &frame);
	for (unsigned i = 0; i < RTE_DIM(forged); i++) {
		print_message("%s\n", forged[i].name);
		bad = frame;
		bad.b[28 + forged[i].at] ^= 0x40;
		flow_finish(bad.b, bad.len);
		arrive(t, &bad, NULL);
		expect_drops(&t->b, forged[i].reason, 1);
	}
	arrive(t, &frame, &want); // none of them has used the counter up
	assert_int_equal(t->b.peer->rx_packets, 1);
}

static void truncated_messages_are_refused(void **state)
{
	struct two *t = *state;
	struct flat p, frame;
	plain(1, 100, &p);
	sealed_build(t, &p, &frame);
	for (uint32_t len = 28; len < frame.len; len++) {
		struct flat cut = frame;
		cut.len = len;
		flow_finish(cut.b, cut.len);
		arrive(t, &cut, NULL);
		expect_drops(
			&t->b, len < 28 + WG_DATA_MIN_LEN ? DROP_WG_MALFORMED : DROP_WG_AUTH, 1);
	}
	for (uint32_t more = 1; more < 64; more++) {
		struct flat longer = frame;
		memset(longer.b + longer.len, 0, more);
		longer.len += more;
		flow_finish(longer.b, longer.len);
		arrive(t, &longer, NULL);
		expect_drops(&t->b, DROP_WG_AUTH, 1);
	}
}

// One's own message comes back: the index is not ours, or the key is the other direction's.
static void reflected_messages_are_refused(void **state)
{
	struct two *t = *state;
	struct flat p, frame;
	plain(1, 100, &p);
	sealed_build(t, &p, &frame);
	push_flat(&t->a, GW_WAN, &frame);
	run(&t->a);
	assert_int_equal(sent(&t->a, GW_LAN) + sent(&t->a, GW_HOST), 0);
	memcpy(frame.b + 16, "\xc0\0\2\1", 4); // to A
	memcpy(frame.b + 12, "\xc0\0\2\2", 4);
	flow_finish(frame.b, frame.len);
	push_flat(&t->a, GW_WAN, &frame);
	run(&t->a);
	expect_drops(&t->a, DROP_WG_INDEX, 1);
	rte_le32_t index = rte_cpu_to_le_32(t->a.keypair->local_index);
	memcpy(frame.b + 28 + 4, &index, 4);
	flow_finish(frame.b, frame.len);
	push_flat(&t->a, GW_WAN, &frame);
	run(&t->a);
	expect_drops(&t->a, DROP_WG_AUTH, 1);
}

static void old_keys_are_refused(void **state)
{
	struct two *t = *state;
	struct flat p, frame, want;
	plain(1, 100, &p);
	arrived(&p, &want);
	sealed_build(t, &p, &frame);
	t->b.keypair->reject_at = rte_rdtsc();
	arrive(t, &frame, NULL);
	expect_drops(&t->b, DROP_WG_EXPIRED, 1);
	t->b.keypair->reject_at = UINT64_MAX;
	arrive(t, &frame, &want);
}

// The previous session goes on receiving until its key is taken away.
static void a_key_change_loses_nothing(void **state)
{
	struct two *t = *state;
	struct flat p, frame[2], want;
	uint32_t old = t->b.keypair->local_index;
	plain(1, 100, &p);
	arrived(&p, &want);
	sealed_build(t, &p, &frame[0]);
	gw_session(&t->a, &t->b, 2);
	sealed_build(t, &p, &frame[1]);
	arrive(t, &frame[1], &want);
	arrive(t, &frame[0], &want);
	index_free(t->b.gw.index, old);
	arrive(t, &frame[0], NULL);
	expect_drops(&t->b, DROP_WG_INDEX, 1);
}

enum inner_kind {
	V4,
	V6,
};

static const struct {
	const char *name;
	enum inner_kind kind;
	uint32_t len; // 0: all of it
	struct {
		uint8_t at, value;
	} patch[4];
	bool csum; // repair the IPv4 header checksum
	bool ok;
	enum drop_reason reason;
} inners[] = {
	{"IPv4", V4, 0, {{0}}, false, true},
	{"IPv6", V6, 0, {{0}}, false, true},
	{"source of somebody else", V4, 0, {{13, 7}}, true, false, DROP_WG_SOURCE},
	{"our own source", V4, 0, {{13, 2}}, true, false, DROP_WG_SOURCE},
	{"source 0.0.0.0", V4, 0, {{12, 0}, {13, 0}, {15, 0}}, true, false, DROP_WG_SOURCE},
	{"source 127.0.0.1", V4, 0, {{12, 127}, {13, 0}, {15, 1}}, true, false, DROP_WG_SOURCE},
	{"IPv6 source of somebody else", V6, 0, {{9, 7}}, false, false, DROP_WG_SOURCE},
	{"IPv6 source ::", V6, 0, {{8, 0}, {9, 0}, {23, 0}}, false, false, DROP_WG_SOURCE},
	{"version 0", V4, 0, {{0, 0x05}}, false, false, DROP_WG_INNER},
	{"version 5", V4, 0, {{0, 0x55}}, false, false, DROP_WG_INNER},
	{"version 15", V4, 0, {{0, 0xf5}}, false, false, DROP_WG_INNER},
	{"header length 4", V4, 0, {{0, 0x41}}, false, false, DROP_WG_INNER},
	{"total length 0", V4, 0, {{2, 0}, {3, 0}}, true, false, DROP_WG_INNER},
	{"total length 19", V4, 0, {{2, 0}, {3, 19}}, true, false, DROP_WG_INNER},
	{"total length beyond the padding", V4, 0, {{2, 1}, {3, 0}}, true, false, DROP_WG_INNER},
	{"one byte", V4, 1, {{0}}, false, false, DROP_WG_INNER},
	{"19 bytes", V4, 19, {{0}}, false, false, DROP_WG_INNER},
	{"IPv6 of 39 bytes", V6, 39, {{0}}, false, false, DROP_WG_INNER},
	{"IPv6 payload length beyond the end", V6, 0, {{4, 1}}, false, false, DROP_WG_INNER},
	{"IPv6 extension without end", V6, 0, {{6, 0}, {41, 255}}, false, false, DROP_WG_INNER},
	{"IPv6 routing header without end", V6, 0, {{6, 43}, {41, 99}}, false, false,
		DROP_WG_INNER},
	{"wrong IPv4 checksum", V4, 0, {{10, 1}, {11, 1}}, false, false, DROP_IP_CHECKSUM},
	{"IPv4 checksum 0", V4, 0, {{10, 0}, {11, 0}}, false, false, DROP_IP_CHECKSUM},
	{"first fragment", V4, 0, {{6, 0x20}}, true, true},
	{"later fragment", V4, 0, {{6, 0x00}, {7, 0x10}}, true, true},
	{"IPv4 options", V4, 0, {{0, 0x46}, {20, 1}, {21, 1}, {22, 1}}, true, true},
	{"unknown protocol", V4, 0, {{9, 253}}, true, true},
	{"IPv6 destination options", V6, 0, {{6, 60}, {40, 59}, {41, 0}}, false, true},
	{"IPv6 fragment", V6, 0, {{6, 44}, {40, 17}, {42, 0}, {43, 1}}, false, true},
};

static void inner_packets_are_checked(void **state)
{
	struct two *t = *state;
	for (unsigned i = 0; i < RTE_DIM(inners); i++) {
		struct flat p, frame, got;
		uint8_t family = inners[i].kind == V6 ? IP_V6 : IP_V4;
		inner_build(&(struct spec){.family = family, .proto = IPPROTO_UDP, .payload = 90},
			1, 2, &p);
		for (unsigned k = 0; k < 4 && (inners[i].patch[k].at || k == 0); k++) {
			if (inners[i].patch[k].at || inners[i].patch[k].value)
				p.b[inners[i].patch[k].at] = inners[i].patch[k].value;
		}
		if (inners[i].csum) {
			put16(p.b + 10, 0);
			put16(p.b + 10, ~flow_sum(p.b, flow_l3_len(p.b), 0));
		}
		print_message("%s\n", inners[i].name);
		sealed_raw(t, p.b, inners[i].len ? inners[i].len : p.len, &frame);
		push_flat(&t->b, GW_WAN, &frame);
		run(&t->b);
		if (!inners[i].ok)
			expect_drops(&t->b, inners[i].reason, 1);
		assert_int_equal(drops(&t->b), 0);
		assert_int_equal(take_flat(&t->b, GW_LAN, &got), inners[i].ok);
		if (inners[i].ok) {
			hop(&p);
			assert_flat_equal(&got, &p);
		}
		expect_nothing(&t->b);
	}
}

// Zero bytes behind the packet are WireGuard's padding, however many.
static void padding_is_cut_off(void **state)
{
	struct two *t = *state;
	static const uint32_t pads[] = {0, 1, 15, 16, 17, 500};
	for (unsigned i = 0; i < RTE_DIM(pads); i++) {
		struct flat p, frame;
		plain(1, 61, &p);
		memset(p.b + p.len, 0, pads[i]);
		sealed_raw(t, p.b, p.len + pads[i], &frame);
		hop(&p);
		arrive(t, &frame, &p);
	}
}

static void keepalives_are_counted(void **state)
{
	struct two *t = *state;
	struct flat frame;
	sealed_raw(t, NULL, 0, &frame);
	t->b.peer->last_rx = t->b.peer->last_rx_data = 0;
	arrive(t, &frame, NULL);
	assert_int_equal(drops(&t->b), 0);
	assert_int_equal(graph_of(&t->b)->counters[COUNTER_KEEPALIVES_RX], 1);
	assert_int_not_equal(t->b.peer->last_rx, 0);
	assert_int_equal(t->b.peer->last_rx_data, 0);
	assert_int_equal(t->b.peer->rx_packets, 0);
	arrive(t, &frame, NULL);
	expect_drops(&t->b, DROP_WG_REPLAY, 1);
}

// RFC 6040 4.2.
static const struct {
	const char *name;
	uint8_t outer, inner;
	bool ok;
	uint8_t becomes;
} ecns[] = {
	{"not capable", 0, 0, true, 0},
	{"not capable outside", 0, 2, true, 2},
	{"not capable inside", 2, 0, true, 0},
	{"ECT(0) both", 2, 2, true, 2},
	{"ECT(1) inside", 2, 1, true, 1},
	{"congested inside", 2, 3, true, 3},
	{"congested outside, ECT(0)", 3, 2, true, 3},
	{"congested outside, ECT(1)", 3, 1, true, 3},
	{"congested both", 3, 3, true, 3},
	{"congested outside, not capable inside", 3, 0, false, 0},
};

static void congestion_marks_reach_the_inner_packet(void **state)
{
	struct two *t = *state;
	for (unsigned i = 0; i < 2 * RTE_DIM(ecns); i++) {
		bool v6 = i >= RTE_DIM(ecns);
		unsigned row = i % RTE_DIM(ecns);
		struct flat p, frame, want;
		struct spec s = {.family = v6 ? IP_V6 : IP_V4,
			.proto = IPPROTO_UDP,
			.tos = (uint8_t)(0xb8 | ecns[row].inner),
			.payload = 40};
		inner_build(&s, 1, 2, &p);
		sealed_build(t, &p, &frame);
		assert_int_equal(frame.b[1], ecns[row].inner); // RFC 6040 4.1; DSCP stays inside
		frame.b[1] = ecns[row].outer;
		flow_finish(frame.b, frame.len);
		s.tos = (uint8_t)(0xb8 | ecns[row].becomes);
		inner_build(&s, 1, 2, &p);
		arrived(&p, &want);
		arrive(t, &frame, ecns[row].ok ? &want : NULL);
		expect_drops(&t->b, DROP_WG_ECN, !ecns[row].ok);
	}
}

static void confirm_is_told_once(void **state)
{
	struct two *t = *state;
	struct worker_event e;
	struct flat p, frame;
	t->b.keypair->confirmed = false;
	plain(1, 100, &p);
	for (unsigned i = 0; i < 3; i++) {
		sealed_build(t, &p, &frame);
		if (i == 0) { // a forged one confirms nothing
			struct flat bad = frame;
			bad.b[60] ^= 1;
			flow_finish(bad.b, bad.len);
			arrive(t, &bad, NULL);
			expect_no_event(&t->b);
		}
		push_flat(&t->b, GW_WAN, &frame);
		run(&t->b);
		assert_int_equal(take_event(&t->b, &e), i == 0);
	}
	assert_int_equal(e.type, EVENT_CONFIRMED);
	assert_int_equal(e.index, t->b.keypair->local_index);
	assert_int_equal(e.peer_id, t->b.peer->id);
}

static const struct {
	const char *name;
	bool roaming, forge;
	uint8_t at, value; // of the outer IPv4 header
	bool told;
} moves[] = {
	{"same address", true, false, 0, 0x45, false},
	{"other address", true, false, 15, 77, true},
	{"other port", true, false, 21, 77, true},
	{"forged from another address", true, true, 15, 77, false},
	{"another address, roaming off", false, false, 15, 77, false},
};

static void moves_are_told(void **state)
{
	struct two *t = *state;
	for (unsigned i = 0; i < RTE_DIM(moves); i++) {
		struct worker_event e;
		struct flat p, frame;
		t->b.peer->roaming = moves[i].roaming;
		t->b.peer->told_roam = 0;
		plain(1, 100, &p);
		sealed_build(t, &p, &frame);
		frame.b[moves[i].at] = moves[i].value;
		frame.b[100] ^= moves[i].forge;
		flow_finish(frame.b, frame.len);
		push_flat(&t->b, GW_WAN, &frame);
		run(&t->b);
		assert_int_equal(take_event(&t->b, &e), moves[i].told);
		if (!moves[i].told)
			continue;
		assert_int_equal(e.type, EVENT_ROAM);
		assert_memory_equal(e.source.addr.bytes, frame.b + 12, 4);
		assert_memory_equal(e.local.bytes, frame.b + 16, 4);
		assert_int_equal(e.source.port, get16(frame.b + 20));
		push_flat(&t->b, GW_WAN, &frame);
		run(&t->b);
		expect_no_event(&t->b); // a replay
	}
}

// Receiving on a key that ages asks for a handshake, for its initiator and not too often.
static void aging_keys_ask_for_a_handshake(void **state)
{
	struct two *t = *state;
	for (unsigned i = 0; i < 4; i++) {
		struct worker_event e;
		struct flat p, frame;
		bool initiator = i & 1, old = i & 2;
		t->b.keypair->initiator = initiator;
		t->b.keypair->rekey_recv_at = old ? 0 : UINT64_MAX;
		plain(1, 100, &p);
		for (unsigned k = 0; k < 3; k++) {
			sealed_build(t, &p, &frame);
			push_flat(&t->b, GW_WAN, &frame);
			run(&t->b);
		}
		assert_int_equal(take_event(&t->b, &e), initiator && old);
		if (initiator && old)
			assert_int_equal(e.type, EVENT_NEED_HANDSHAKE);
		expect_no_event(&t->b);
	}
}

// No message, but a question to the routers between: not even opened.
static void a_path_probe_is_counted(void **state)
{
	struct two *t = *state;
	struct flat frame;
	t->a.keypair->send_counter = WG_PROBE_COUNTER;
	sealed_raw(t, (const uint8_t[1388]){0}, 1388, &frame);
	t->a.keypair->send_counter = 0;
	push_flat(&t->b, GW_WAN, &frame);
	run(&t->b);
	assert_int_equal(graph_of(&t->b)->counters[COUNTER_PROBES_RX], 1);
	expect_drops(&t->b, DROP_COUNT, 0);
	expect_nothing(&t->b);
	assert_int_equal(t->b.keypair->replay.next, 0);
	// The counter before it is no better, and no probe.
	t->a.keypair->send_counter = WG_PROBE_COUNTER - 1;
	sealed_raw(t, (const uint8_t[1388]){0}, 1388, &frame);
	t->a.keypair->send_counter = 0;
	push_flat(&t->b, GW_WAN, &frame);
	run(&t->b);
	expect_drops(&t->b, DROP_WG_REPLAY, 1);
	assert_int_equal(graph_of(&t->b)->counters[COUNTER_PROBES_RX], 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		two_test(a_message_comes_through_once),
		two_test(a_replay_in_one_burst_is_seen),
		two_test(any_order_within_the_window_is_accepted),
		two_test(the_window_has_an_end),
		two_test(forged_messages_are_refused),
		two_test(truncated_messages_are_refused),
		two_test(reflected_messages_are_refused),
		two_test(old_keys_are_refused),
		two_test(a_key_change_loses_nothing),
		two_test(inner_packets_are_checked),
		two_test(padding_is_cut_off),
		two_test(keepalives_are_counted),
		two_test(a_path_probe_is_counted),
		two_test(congestion_marks_reach_the_inner_packet),
		two_test(confirm_is_told_once),
		two_test(moves_are_told),
		two_test(aging_keys_ask_for_a_handshake),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
