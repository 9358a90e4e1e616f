// Ways to a peer beside its UDP endpoint: a peer relay, DERP, both, neither.
#include "dataplane/wire/geneve.h"
#include "tests/unit/packets.h"

enum {
	VNI = 0x0a0b0c,
	RUN = 10,
};

static void plain(uint32_t fill, struct flat *p)
{
	inner_build(&(struct spec){.proto = IPPROTO_UDP, .payload = 60 + fill % 3, .fill = fill}, 1,
		2, p);
}

static void push_plain(struct gw *g, unsigned n)
{
	struct flat p;
	for (unsigned i = 0; i < n; i++) {
		plain(i, &p);
		push_flat(g, GW_LAN, &p);
	}
	run(g);
}

static void set_path(struct gw *g, bool udp, uint32_t vni, bool derp)
{
	struct peer_path path = gw_path(g);
	path.vni = vni;
	path.derp = derp;
	if (!udp) {
		path.port = PORT_NONE;
		path.remote.port = 0;
	}
	peer_set_path(g->gw.rcu, g->peer, &path);
}

// The n packets arrive at B in order.
static void expect_arrivals(struct two *t, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct flat want, got;
		plain(i, &want);
		hop(&want);
		hop(&want);
		assert_true(take_flat(&t->b, GW_LAN, &got));
		assert_flat_equal(&got, &want);
	}
	expect_nothing(&t->b);
	assert_int_equal(drops(&t->b), 0);
}

static struct two *open_two(uint8_t outer, bool batches)
{
	struct two *t = two_open(&(struct gw_params){.outer = outer});
	t->b.port[GW_LAN]->port.tx_offloads = 0; // plain packets come out
	atomic_store(&t->b.gw.disco, true);
	if (!batches)
		t->a.port[GW_WAN]->port.tx_offloads = 0;
	return t;
}

// Each datagram of a frame, one behind the other in a super-packet, has its Geneve header.
static void expect_geneve(const struct rte_mbuf *m)
{
	struct flat p;
	flow_flat(m, &p);
	uint32_t at = L2_LEN + flow_l3_len(p.b + L2_LEN) + UDP_HDR_LEN;
	uint32_t size = m->ol_flags & RTE_MBUF_F_TX_UDP_SEG ? m->tso_segsz : p.len - at;
	assert_int_equal(get16(p.b + at - UDP_HDR_LEN + 4), p.len - at + UDP_HDR_LEN);
	for (; at < p.len; at += size) {
		assert_memory_equal(p.b + at, "\0\0\x7a\x12\x0a\x0b\x0c\0\4\0\0\0", 12);
		assert_true(RTE_MIN(size, p.len - at) % 16 == GENEVE_HEADER_LEN);
	}
}

static void a_relay_takes_a_header(void **)
{
	for (unsigned i = 0; i < 4; i++) {
		struct two *t = open_two(i & 1 ? IP_V6 : IP_V4, i & 2);
		struct rte_mbuf *m;
		unsigned frames = 0;
		set_path(&t->a, true, VNI, false);
		push_plain(&t->a, RUN);
		for (; (m = memport_take(t->a.port[GW_WAN], 0)); frames++) {
			expect_geneve(m);
			push(&t->b, GW_WAN, wire_frame(&t->b, m));
		}
		assert_true(i & 2 ? frames < RUN : frames == RUN);
		run(&t->b);
		expect_arrivals(t, RUN);
		assert_int_equal(drops(&t->a), 0);
		two_close(t);
	}
}

// From now on, and only for it.
static void paths_change_between_packets(void **)
{
	struct two *t = open_two(IP_V4, true);
	struct flat frame;
	for (unsigned i = 0; i < 6; i++) {
		struct flat p;
		set_path(&t->a, true, i % 2 ? VNI : 0, false);
		plain(i, &p);
		sealed_build(t, &p, &frame);
		assert_int_equal(frame.b[28], i % 2 ? 0 : WG_TYPE_DATA);
	}
	two_close(t);
}

static struct rte_mbuf *take_derp(struct gw *g)
{
	struct rte_mbuf *m = punted_get(&g->gw);
	if (!m)
		return NULL;
	assert_int_equal(pkt_of(m)->reason, PUNT_DERP);
	assert_int_equal(pkt_of(m)->counter, g->peer->id);
	assert_int_equal(m->nb_segs, 1);
	return m;
}

// What A handed up arrives at B as a datagram.
static void over_derp(struct two *t, const struct rte_mbuf *m)
{
	struct flat p;
	flow_build(&(struct spec){.proto = IPPROTO_UDP, .payload = m->data_len}, &p);
	put32(p.b + 12, gw_ip4(127, 3, 3, 40));
	put32(p.b + 16, gw_ip4(192, 0, 2, 2));
	put16(p.b + 22, GW_PORT);
	memcpy(p.b + 28, rte_pktmbuf_mtod(m, void *), m->data_len);
	flow_finish(p.b, p.len);
	push_flat(&t->b, GW_WAN, &p);
}

static void derp_alone(void **)
{
	struct two *t = open_two(IP_V4, true);
	struct rte_mbuf *m;
	unsigned n = 0;
	set_path(&t->a, false, 0, true);
	push_plain(&t->a, RUN);
	expect_nothing(&t->a);
	for (; (m = take_derp(&t->a)); n++) {
		over_derp(t, m);
		rte_pktmbuf_free(m);
	}
	assert_int_equal(n, RUN);
	atomic_store(&t->b.peer->roaming, false);
	run(&t->b);
	expect_arrivals(t, RUN);
	assert_int_equal(drops(&t->a), 0);
	two_close(t);
}

// The same datagram twice, through a relay with its header and over DERP without: one is a replay.
static void derp_beside_udp(void **)
{
	for (unsigned relay = 0; relay < 2; relay++) {
		struct two *t = open_two(IP_V4, true);
		struct rte_mbuf *m;
		set_path(&t->a, true, relay ? VNI : 0, true);
		push_plain(&t->a, RUN);
		assert_true(carry(&t->a, &t->b) > 0);
		run(&t->b);
		expect_arrivals(t, RUN);
		atomic_store(&t->b.peer->roaming, false);
		while ((m = take_derp(&t->a))) {
			over_derp(t, m);
			rte_pktmbuf_free(m);
		}
		run(&t->b);
		expect_nothing(&t->b);
		expect_drops(&t->b, DROP_WG_REPLAY, RUN);
		two_close(t);
	}
}

// What comes directly from a peer that is reached over DERP is told, and no more often than other
// events; through a relay it is not the peer's address.
static void direct_is_news_over_derp(void **)
{
	static const struct {
		const char *name;
		uint32_t vni;
		bool udp, derp, told; // of the path back
	} cases[] = {
		{"directly, DERP alone back", 0, false, true, true},
		{"directly, as the path is, and DERP", 0, true, true, false},
		{"directly, as the path is", 0, true, false, false},
		{"directly, no way back", 0, false, false, false},
		{"through a relay, DERP back", VNI, false, true, false},
	};
	for (unsigned i = 0; i < 2 * RTE_DIM(cases); i++) {
		const unsigned c = i / 2;
		struct two *t = open_two(i & 1 ? IP_V6 : IP_V4, true);
		struct worker_event e;
		print_message("%s, %s\n", cases[c].name, i & 1 ? "IPv6" : "IPv4");
		atomic_store(&t->b.peer->roaming, false);
		set_path(&t->a, true, cases[c].vni, false);
		set_path(&t->b, cases[c].udp, 0, cases[c].derp);
		for (unsigned n = 0; n < 3; n++) {
			push_plain(&t->a, RUN);
			assert_true(carry(&t->a, &t->b) > 0);
			run(&t->b);
			expect_arrivals(t, RUN);
		}
		assert_int_equal(take_event(&t->b, &e), cases[c].told);
		if (cases[c].told) {
			assert_int_equal(e.type, EVENT_ROAM);
			assert_int_equal(e.peer_id, t->b.peer->id);
			assert_int_equal(e.index, t->b.keypair->local_index);
			assert_int_equal(e.source.port, GW_PORT);
		}
		expect_no_event(&t->b);
		two_close(t);
	}
}

static void neither(void **)
{
	struct two *t = open_two(IP_V4, true);
	set_path(&t->a, false, 0, false);
	push_plain(&t->a, RUN);
	expect_drops(&t->a, DROP_NO_ENDPOINT, RUN);
	two_close(t);
}

static void ask(struct gw *g, enum self_reason reason)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(g->gw.pool);
	*pkt_of(m) = (struct pkt){.from = FROM_SELF,
		.node = NODE_WG_ROUTE,
		.reason = (uint8_t)reason,
		.counter = g->peer->id};
	assert_true(mailbox_put(graph_of(g)->inbox, &m));
	run(g);
}

// A peer that only DERP reaches is one worth a handshake, and packets wait for it.
static void handshakes_are_asked_for(void **)
{
	struct two *t = open_two(IP_V4, true);
	struct worker_event e;
	struct rte_mbuf *m;
	unsigned n = 0;
	set_path(&t->a, false, 0, true);
	peer_set_sending(t->a.peer, NULL);
	push_plain(&t->a, RUN);
	assert_true(take_event(&t->a, &e));
	assert_int_equal(e.type, EVENT_NEED_HANDSHAKE);
	assert_int_equal(t->a.peer->staged_n, RUN);
	peer_set_sending(t->a.peer, t->a.keypair);
	ask(&t->a, SELF_KEYED);
	for (; (m = take_derp(&t->a)); n++)
		rte_pktmbuf_free(m);
	assert_int_equal(n, RUN);
	ask(&t->a, SELF_KEEPALIVE);
	m = take_derp(&t->a);
	assert_non_null(m);
	assert_int_equal(m->data_len, WG_DATA_MIN_LEN);
	rte_pktmbuf_free(m);
	assert_int_equal(drops(&t->a), 0);
	two_close(t);
}

// Bulk traffic over DERP has half of the room; handshakes and disco find theirs.
static void derp_has_a_share(void **)
{
	struct two *t = open_two(IP_V4, true);
	struct rte_mbuf *m;
	unsigned share = t->a.gw.pool->size / 4 / 2, n = 0;
	uint8_t initiation[WG_INITIATION_LEN] = {WG_TYPE_INITIATION};
	struct flat p;
	set_path(&t->a, false, 0, true);
	for (unsigned i = 0; i < share + 50; i += RUN)
		push_plain(&t->a, RUN);
	uint64_t lost = graph_of(&t->a)->drops[DROP_DERP_FULL];
	assert_in_range(lost, 40, 60);
	expect_drops(&t->a, DROP_DERP_FULL, lost);
	flow_build(&(struct spec){.proto = IPPROTO_UDP, .payload = sizeof(initiation)}, &p);
	put32(p.b + 12, gw_ip4(192, 0, 2, 2));
	put32(p.b + 16, gw_ip4(192, 0, 2, 1));
	put16(p.b + 22, GW_PORT);
	memcpy(p.b + 28, initiation, sizeof(initiation));
	flow_finish(p.b, p.len);
	push_flat(&t->a, GW_WAN, &p);
	run(&t->a);
	expect_drops(&t->a, DROP_DERP_FULL, 0);
	for (; (m = punted_get(&t->a.gw)); n++) {
		assert_int_equal(pkt_of(m)->reason, n == share ? PUNT_DATAGRAM : PUNT_DERP);
		rte_pktmbuf_free(m);
	}
	assert_int_equal(n, share + 1);
	two_close(t);
}

// Packets that barely leave room in front of them: data header, Geneve, the largest outer header.
static void headroom_is_enough(void **)
{
	static const uint16_t rooms[] = {0, 48, 79, 80, 87, 88, 96, 128};
	for (unsigned i = 0; i < RTE_DIM(rooms); i++) {
		struct two *t = open_two(IP_V6, true);
		struct flat p;
		set_path(&t->a, true, VNI, false);
		plain(0, &p);
		struct rte_mbuf *m = rte_pktmbuf_alloc(t->a.gw.pool);
		m->data_off = rooms[i];
		memcpy(rte_pktmbuf_append(m, (uint16_t)p.len), p.b, p.len);
		push(&t->a, GW_HOST, m);
		run(&t->a);
		m = memport_take(t->a.port[GW_WAN], 0);
		assert_non_null(m);
		expect_geneve(m);
		rte_pktmbuf_free(m);
		assert_int_equal(drops(&t->a), 0);
		two_close(t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_relay_takes_a_header),
		cmocka_unit_test(paths_change_between_packets),
		cmocka_unit_test(derp_alone),
		cmocka_unit_test(derp_beside_udp),
		cmocka_unit_test(direct_is_news_over_derp),
		cmocka_unit_test(neither),
		cmocka_unit_test(handshakes_are_asked_for),
		cmocka_unit_test(derp_has_a_share),
		cmocka_unit_test(headroom_is_enough),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
