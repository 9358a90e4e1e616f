// Data packets out: what lies on the wire, opened with libsodium.
#include <sodium.h>

#include "tests/unit/packets.h"

// Opens the message behind the outer headers of frame; returns its plaintext's length.
static uint32_t open_message(
	struct two *t, const struct flat *frame, uint64_t counter, uint8_t *text)
{
	const uint8_t *udp = frame->b + flow_l3_len(frame->b);
	const struct wg_data *h = (const struct wg_data *)(udp + UDP_HDR_LEN);
	uint32_t len = frame->len - flow_l3_len(frame->b) - UDP_HDR_LEN - WG_DATA_HEADER_LEN;
	uint8_t nonce[12] = {0};
	unsigned long long n;
	assert_int_equal(h->type, rte_cpu_to_le_32(WG_TYPE_DATA));
	assert_int_equal(h->receiver, rte_cpu_to_le_32(t->b.keypair->local_index));
	assert_int_equal(h->counter, rte_cpu_to_le_64(counter));
	memcpy(nonce + 4, &h->counter, 8);
	assert_int_equal(
		crypto_aead_chacha20poly1305_ietf_decrypt(text, &n, NULL, (const uint8_t *)(h + 1),
			len, NULL, 0, nonce, t->b.keypair->recv_key),
		0);
	return (uint32_t)n;
}

static void check_outer(const struct flat *f, bool v4, bool offload)
{
	struct flat again = *f;
	uint32_t l3 = flow_l3_len(f->b), len = f->len - l3;
	assert_int_equal(flow_is_v4(f->b), v4);
	assert_int_equal(flow_proto(f->b), IPPROTO_UDP);
	assert_int_equal(get16(f->b + l3 + 4), len);
	if (v4) {
		assert_int_equal(get16(f->b + 2), f->len);
		assert_int_equal(flow_sum(f->b, 20, 0), 0xffff);
		assert_int_equal(f->b[6], 0x40);
	} else {
		assert_int_equal(get16(f->b + 4), len);
	}
	uint32_t csum = get16(f->b + l3 + 6);
	if (offload) {
		assert_int_equal(csum, flow_pseudo_sum(f->b, len));
	} else if (v4) {
		assert_int_equal(csum, 0);
	} else {
		flow_finish(again.b, again.len);
		assert_flat_equal(f, &again);
	}
}

static const struct {
	const char *name;
	uint8_t outer, inner;
	uint16_t payload, mtu;
	uint32_t padded; // 0: to the next 16
	bool offload;
} rows[] = {
	{"small", IP_V4, IP_V4, 1, GW_MTU},
	{"a multiple of 16", IP_V4, IP_V4, 100, GW_MTU, 128},
	{"one more", IP_V4, IP_V4, 101, GW_MTU, 144},
	{"one less", IP_V4, IP_V4, 99, GW_MTU, 128},
	{"IPv6 inside", IP_V4, IP_V6, 99, GW_MTU},
	{"IPv6 outside", IP_V6, IP_V4, 99, GW_MTU},
	{"IPv6 both", IP_V6, IP_V6, 99, GW_MTU},
	{"checksum by the port", IP_V4, IP_V4, 99, GW_MTU, 0, true},
	{"checksum by the port, IPv6", IP_V6, IP_V6, 99, GW_MTU, 0, true},
	{"of the MTU's size, no multiple", IP_V4, IP_V4, GW_MTU - 28, GW_MTU, GW_MTU},
	{"just below it", IP_V4, IP_V4, GW_MTU - 29, GW_MTU, GW_MTU},
	{"a page", IP_V4, IP_V4, 1800 - 28, 8900},
	{"what just fits a buffer", IP_V4, IP_V4, 1920 - 28, 8900},
	{"jumbo", IP_V4, IP_V4, 8800, 8900},
	{"jumbo of the MTU's size", IP_V4, IP_V4, 8873, 8901, 8901},
};

static void messages_are_as_the_paper_says(void **)
{
	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		struct two *t = two_open(
			&(struct gw_params){.outer = rows[i].outer, .tunnel_mtu = rows[i].mtu});
		static uint8_t text[70000];
		struct flat p, frame;
		print_message("%s\n", rows[i].name);
		t->a.port[GW_WAN]->port.tx_offloads =
			rows[i].offload ? RTE_ETH_TX_OFFLOAD_UDP_CKSUM : 0;
		for (uint64_t counter = 0; counter < 3; counter++) {
			inner_build(&(struct spec){.family = rows[i].inner,
					    .proto = IPPROTO_UDP,
					    .payload = rows[i].payload,
					    .fill = (uint32_t)counter},
				1, 2, &p);
			push_flat(&t->a, GW_LAN, &p);
			run(&t->a);
			assert_int_equal(drops(&t->a), 0);
			assert_true(take_flat(&t->a, GW_WAN, &frame));
			check_outer(&frame, rows[i].outer == IP_V4, rows[i].offload);
			uint32_t len = open_message(t, &frame, counter, text);
			uint32_t padded = RTE_ALIGN_CEIL(p.len, 16u);
			assert_int_equal(len, rows[i].padded ? rows[i].padded : padded);
			hop(&p);
			assert_memory_equal(text, p.b, p.len);
			for (uint32_t k = p.len; k < len; k++)
				assert_int_equal(text[k], 0);
		}
		assert_int_equal(t->a.peer->tx_packets, 3);
		assert_int_equal(t->a.peer->tx_bytes, 3 * p.len);
		two_close(t);
	}
}

// A packet in any shape: chains, buffers without room at either end, buffers that others hold.
static const struct {
	const char *name;
	uint32_t payload, first, piece;
	uint16_t headroom; // 0: the usual
	bool shared;
} shapes[] = {
	{"two segments", 600, 300, 1900},
	{"many segments", 1300, 60, 100},
	{"headers cut off", 600, 14 + 20, 1900},
	{"no headroom", 600, 0, 0, 2},
	{"little headroom", 600, 0, 0, 50},
	{"somebody else's too", 600, 0, 0, 0, true},
	{"up to the buffer's end", 2048 - 14 - 28, 0, 0},
};

static void packets_of_any_shape(void **)
{
	struct two *t = two_open(&(struct gw_params){.tunnel_mtu = 9000});
	for (unsigned i = 0; i < RTE_DIM(shapes); i++) {
		static uint8_t text[4096];
		struct flat p, whole, frame;
		inner_build(&(struct spec){.proto = IPPROTO_UDP, .payload = shapes[i].payload}, 1,
			2, &p);
		struct rte_mbuf *m = frame_of(&t->a, GW_LAN, p.b, p.len);
		flow_flat(m, &whole);
		rte_pktmbuf_free(m);
		m = flow_mbuf(t->a.gw.pool, whole.b, whole.len, shapes[i].first, shapes[i].piece);
		print_message("%s\n", shapes[i].name);
		if (shapes[i].headroom) {
			uint8_t *b = (uint8_t *)m->buf_addr + shapes[i].headroom;
			memmove(b, rte_pktmbuf_mtod(m, void *), m->data_len);
			m->data_off = shapes[i].headroom;
		}
		if (shapes[i].shared)
			rte_mbuf_refcnt_update(m, 1);
		push(&t->a, GW_LAN, m);
		run(&t->a);
		assert_true(take_flat(&t->a, GW_WAN, &frame));
		open_message(t, &frame, i, text);
		hop(&p);
		assert_memory_equal(text, p.b, p.len);
		if (shapes[i].shared)
			rte_pktmbuf_free(m);
	}
	assert_int_equal(drops(&t->a), 0);
	two_close(t);
}

static const struct {
	const char *name;
	struct spec s;
	uint16_t segsz;
	bool cut; // the chain is shorter than the header says
	enum drop_reason reason;
} bad_supers[] = {
	{"SYN", {.flags = RTE_TCP_SYN_FLAG, .payload = 5000}, 1000, false, DROP_SEGMENT},
	{"RST", {.flags = RTE_TCP_RST_FLAG, .payload = 5000}, 1000, false, DROP_SEGMENT},
	{"segment size 0", {.payload = 5000}, 0, false, DROP_SEGMENT},
	{"ICMP", {.proto = IPPROTO_ICMP, .payload = 5000}, 1000, false, DROP_SEGMENT},
	{"segments larger than the tunnel", {.payload = 5000}, 1400, false, DROP_TOO_BIG},
	{"the same, IPv6", {.family = IP_V6, .payload = 5000}, 1361, false, DROP_TOO_BIG},
	{"UDP the same", {.proto = IPPROTO_UDP, .payload = 5000}, 1393, false, DROP_TOO_BIG},
};

static void super_packets_that_cannot_be_cut(void **state)
{
	struct two *t = *state;
	for (unsigned i = 0; i < RTE_DIM(bad_supers); i++) {
		struct flat p;
		inner_build(&bad_supers[i].s, 1, 2, &p);
		struct rte_mbuf *m = frame_of(&t->a, GW_LAN, p.b, p.len);
		m->ol_flags = RTE_MBUF_F_RX_LRO | RTE_MBUF_F_RX_L4_CKSUM_NONE;
		m->tso_segsz = bad_supers[i].segsz;
		print_message("%s\n", bad_supers[i].name);
		push(&t->a, GW_LAN, m);
		run(&t->a);
		expect_drops(&t->a, bad_supers[i].reason, 1);
		assert_int_equal(sent(&t->a, GW_WAN), 0);
		while (take_flat(&t->a, GW_LAN, &p)) // the answer to what is too big
			assert_int_equal(
				flow_is_v4(p.b) ? get16(p.b + 26) : get32(p.b + 44), GW_MTU);
	}
}

static void checksums_that_cannot_be_completed(void **state)
{
	struct two *t = *state;
	static const struct {
		const char *name;
		struct spec s;
		uint8_t at, value;
	} cases[] = {
		{"fragment", {.proto = IPPROTO_UDP, .payload = 100}, 6, 0x20},
		{"unknown protocol", {.proto = 99, .payload = 100}, 0, 0x45},
		{"TCP header cut", {.proto = IPPROTO_UDP, .payload = 4}, 9, IPPROTO_TCP},
		{"UDP length beyond the end", {.proto = IPPROTO_UDP, .payload = 100}, 24, 1},
	};
	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		struct flat p;
		inner_build(&cases[i].s, 1, 2, &p);
		p.b[cases[i].at] = cases[i].value;
		put16(p.b + 10, 0);
		put16(p.b + 10, ~flow_sum(p.b, 20, 0));
		push_super(&t->a, GW_LAN, &p, 0);
		run(&t->a);
		expect_drops(&t->a, DROP_SEGMENT, 1);
	}
}

// The pool runs dry in the middle of a super-packet: what was made goes out.
static void an_empty_pool_is_counted(void **state)
{
	struct two *t = *state;
	struct rte_mbuf *all[4096];
	struct flat p;
	unsigned n = 0;
	inner_build(&(struct spec){.payload = 100 * 500}, 1, 2, &p);
	while ((all[n] = rte_pktmbuf_alloc(t->a.gw.pool)))
		n++;
	rte_pktmbuf_free_bulk(all + n - 70, 70);
	push_super(&t->a, GW_LAN, &p, 500);
	run(&t->a);
	expect_drops(&t->a, DROP_NO_MBUF, 100 - 64);
	assert_int_equal(t->a.peer->tx_packets, 64);
	rte_pktmbuf_free_bulk(all, n - 70);
	assert_int_equal(carry(&t->a, &t->b), 1);
	run(&t->b);
	assert_int_equal(t->b.peer->rx_packets, 64);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages_are_as_the_paper_says),
		cmocka_unit_test(packets_of_any_shape),
		two_test(super_packets_that_cannot_be_cut),
		two_test(checksums_that_cannot_be_completed),
		two_test(an_empty_pool_is_counted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
