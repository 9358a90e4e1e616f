// Packets through gateways in memory (gateway.h): frames in, what came out, and the wire between
// the two. Packets are flat bytes of flows.h, from the IP header on.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dataplane/port/gso.h"
#include "tests/unit/flows.h"
#include "tests/unit/gateway.h"

// Both gateways of a test. Some tests use a alone.
struct two {
	struct gw a, b;
};

static inline struct two *two_open(const struct gw_params *p)
{
	struct two *t = mem_alloc(sizeof(*t));
	test_eal_init();
	gw_open_pair(&t->a, &t->b, p);
	return t;
}

// No mbuf is lost, whatever the test did.
static inline void two_close(struct two *t)
{
	assert_int_equal(gw_close(&t->a), 0);
	assert_int_equal(gw_close(&t->b), 0);
	free(t);
}

static inline int two_setup(void **state)
{
	*state = two_open(&(struct gw_params){0});
	return 0;
}

static inline int two_teardown(void **state)
{
	two_close(*state);
	return 0;
}

#define two_test(f) cmocka_unit_test_setup_teardown(f, two_setup, two_teardown)

static inline struct graph *graph_of(struct gw *g)
{
	return g->gw.graph[0];
}

// From host 2 behind gateway from to host 2 behind gateway to.
static inline void inner_build(const struct spec *s, uint8_t from, uint8_t to, struct flat *p)
{
	flow_build(s, p);
	if (flow_is_v4(p->b)) {
		put32(p->b + 12, gw_ip4(10, from, 0, 2));
		put32(p->b + 16, gw_ip4(10, to, 0, 2));
	} else {
		memset(p->b + 8, 0, 32);
		p->b[8] = p->b[24] = 0xfd;
		p->b[9] = from;
		p->b[25] = to;
		p->b[23] = p->b[39] = 2;
	}
	flow_finish(p->b, p->len);
}

// A frame as it comes in at a port of g: Ethernet header unless the port has none.
static inline struct rte_mbuf *frame_of(struct gw *g, unsigned port, const uint8_t *b, uint32_t len)
{
	const struct port *p = &g->port[port]->port;
	uint32_t l2 = p->l2 ? L2_LEN : 0;
	bool large = len + l2 + RTE_PKTMBUF_HEADROOM > RTE_MBUF_DEFAULT_BUF_SIZE;
	struct rte_mbuf *m = rte_pktmbuf_alloc(large ? g->gw.super_pool : g->gw.pool);
	assert_non_null(m);
	memset(pkt_of(m), 0xa5, sizeof(struct pkt)); // as a buffer's last use left it
	uint8_t *to = (uint8_t *)rte_pktmbuf_append(m, (uint16_t)(l2 + len));
	assert_non_null(to);
	if (l2) {
		memcpy(to, p->mac.addr_bytes, 6);
		memcpy(to + 6, gw_peer_mac(0), 6);
		put16(to + 12, len > 0 && b[0] >> 4 == 6 ? 0x86dd : 0x0800);
	}
	memcpy(to + l2, b, len);
	return m;
}

static inline void push(struct gw *g, unsigned port, struct rte_mbuf *m)
{
	assert_true(memport_put(g->port[port], 0, m));
}

static inline void push_flat(struct gw *g, unsigned port, const struct flat *p)
{
	push(g, port, frame_of(g, port, p->b, p->len));
}

// A packet whose sender left segmentation (segsz > 0) and checksum to the hardware.
static inline void push_super(struct gw *g, unsigned port, const struct flat *p, uint16_t segsz)
{
	struct rte_mbuf *m = frame_of(g, port, p->b, p->len);
	m->tso_segsz = segsz;
	m->ol_flags = RTE_MBUF_F_RX_L4_CKSUM_NONE | (segsz ? RTE_MBUF_F_RX_LRO : 0);
	push(g, port, m);
}

// Turns of the worker until nothing comes in.
static inline void run(struct gw *g)
{
	while (gw_round(g) > 0 || graph_of(g)->later.n > 0)
		;
	for (unsigned i = 0; i < NODE_COUNT; i++)
		assert_int_equal(graph_of(g)->queue[i].n, 0);
}

static inline unsigned sent(struct gw *g, unsigned port)
{
	return memport_waiting(&g->port[port]->queue[0].out);
}

static inline uint64_t drops(struct gw *g)
{
	uint64_t n = 0;
	for (unsigned i = 0; i < DROP_COUNT; i++)
		n += graph_of(g)->drops[i];
	return n;
}

// n packets ended for this reason and none for another since the last call.
static inline void expect_drops(struct gw *g, enum drop_reason reason, uint64_t n)
{
	for (unsigned i = 0; i < DROP_COUNT; i++) {
		if (graph_of(g)->drops[i] != (i == reason ? n : 0))
			fail_msg("%s: %lu drops", drop_label((enum drop_reason)i),
				graph_of(g)->drops[i]);
	}
	memset(graph_of(g)->drops, 0, sizeof(graph_of(g)->drops));
}

static inline void expect_nothing(struct gw *g)
{
	for (unsigned i = 0; i < GW_PORTS; i++)
		assert_int_equal(sent(g, i), 0);
}

// The next packet that left through a port, without its Ethernet header; false: none.
static inline bool take_flat(struct gw *g, unsigned port, struct flat *p)
{
	struct rte_mbuf *m = memport_take(g->port[port], 0);
	if (!m)
		return false;
	if (g->port[port]->port.l2)
		assert_non_null(rte_pktmbuf_adj(m, L2_LEN));
	flow_flat(m, p);
	rte_pktmbuf_free(m);
	return true;
}

static inline void assert_flat_equal(const struct flat *got, const struct flat *want)
{
	assert_int_equal(got->len, want->len);
	assert_memory_equal(got->b, want->b, want->len);
}

// What a router makes of a packet: one hop less.
static inline void hop(struct flat *p)
{
	p->b[flow_is_v4(p->b) ? 8 : 7]--;
	if (flow_is_v4(p->b)) {
		put16(p->b + 10, 0);
		put16(p->b + 10, ~flow_sum(p->b, flow_l3_len(p->b), 0));
	}
}

// Write the checksum that a sender left to the port.
static inline void wire_checksum(struct rte_mbuf *m)
{
	uint64_t asks = m->ol_flags & RTE_MBUF_F_TX_L4_MASK;
	if (!asks)
		return;
	rte_pktmbuf_adj(m, L2_LEN);
	struct ip_info ip = flow_parse(m);
	assert_int_equal(gso_csum_complete(m, &ip), 0);
	rte_pktmbuf_prepend(m, L2_LEN);
}

// One frame over the wire: in one piece, with the offloads that the receiving port understands.
static inline struct rte_mbuf *wire_frame(struct gw *to, struct rte_mbuf *m)
{
	static uint8_t room[70000];
	bool super = m->ol_flags & RTE_MBUF_F_TX_UDP_SEG;
	if (!super)
		wire_checksum(m);
	const uint8_t *b = rte_pktmbuf_read(m, 0, m->pkt_len, room);
	struct rte_mbuf *n = frame_of(to, GW_WAN, b + L2_LEN, m->pkt_len - L2_LEN);
	if (super) {
		n->ol_flags = RTE_MBUF_F_RX_LRO | RTE_MBUF_F_RX_L4_CKSUM_NONE;
		n->tso_segsz = m->tso_segsz;
	}
	rte_pktmbuf_free(m);
	return n;
}

// Everything that from sent on its wan arrives at to's. Returns how many frames.
static inline unsigned carry(struct gw *from, struct gw *to)
{
	struct rte_mbuf *m;
	unsigned n = 0;
	for (; (m = memport_take(from->port[GW_WAN], 0)); n++)
		push(to, GW_WAN, wire_frame(to, m));
	return n;
}

// p as A seals it for B: the frame's bytes from the outer IP header on.
static inline void sealed_build(struct two *t, const struct flat *p, struct flat *frame)
{
	push_flat(&t->a, GW_LAN, p);
	run(&t->a);
	struct rte_mbuf *m = memport_take(t->a.port[GW_WAN], 0);
	assert_non_null(m);
	assert_int_equal(sent(&t->a, GW_WAN), 0);
	wire_checksum(m);
	rte_pktmbuf_adj(m, L2_LEN);
	flow_flat(m, frame);
	rte_pktmbuf_free(m);
}

// Any bytes as the plaintext of an authentic data packet from A to B, unpadded.
static inline void sealed_raw(struct two *t, const uint8_t *text, uint32_t len, struct flat *frame)
{
	struct keypair *kp = t->a.keypair;
	uint32_t udp_len = UDP_HDR_LEN + WG_DATA_OVERHEAD + len;
	struct peer_path path = gw_path(&t->a);
	uint32_t head = path.outer_len - L2_LEN;
	memcpy(frame->b, path.outer + sizeof(path.outer) - head, head);
	struct wg_data *h = (struct wg_data *)(frame->b + head);
	*h = (struct wg_data){
		.type = wg_type_field(WG_TYPE_DATA),
		.receiver = rte_cpu_to_le_32(kp->remote_index),
		.counter = rte_cpu_to_le_64(kp->send_counter),
	};
	if (len > 0)
		memcpy(h + 1, text, len);
	struct aead_op op = {.data = (uint8_t *)(h + 1),
		.len = len,
		.counter = kp->send_counter++,
		.key = kp->send_key};
	aead_seal(graph_of(&t->a)->aead, &op, 1);
	frame->len = head - UDP_HDR_LEN + udp_len;
	flow_finish(frame->b, frame->len);
}

static inline unsigned take_event(struct gw *g, struct worker_event *e)
{
	return mailbox_get(g->gw.events, e, 1);
}

// Nothing was told to the control thread.
static inline void expect_no_event(struct gw *g)
{
	assert_int_equal(mailbox_count(g->gw.events), 0);
	assert_int_equal(mailbox_count(g->gw.punted), 0);
}
