// vxlan_output: what comes out of the tunnel for a VXLAN that ends here, and how it leaves.
#include "dataplane/port/vnet.h"
#include "tests/unit/vxlan_ends.h"

// B's host sends p, and all that B seals for it reaches A.
static void send_back(struct two *t, const struct flat *p)
{
	push_flat(&t->b, GW_LAN, p);
	run(&t->b);
	carry(&t->b, &t->a);
}

static uint16_t check_outer(const struct flat *f, uint8_t family)
{
	uint32_t l3 = family == IP_V4 ? 20 : 40;
	const uint8_t *udp = f->b + l3;
	if (family == IP_V4) {
		assert_int_equal(flow_sum(f->b, 20, 0), 0xffff);
		assert_int_equal(get16(f->b + 2), f->len);
		assert_memory_equal(f->b + 12, outer4, 8);
	} else {
		assert_int_equal(get16(f->b + 4) + 40, f->len);
		assert_memory_equal(f->b + 8, outer6, 32);
	}
	assert_int_equal(get16(udp + 4) + l3, f->len);
	assert_int_equal(get16(udp + 2), VXLAN_PORT);
	assert_in_range(get16(udp), 50000, 50099);
	assert_memory_equal(udp + 8, "\x08\0\0\0\0\0\x64\0", 8);
	assert_memory_equal(udp + 16, host_mac, 6);
	assert_memory_equal(udp + 22, device_mac, 6);
	return (uint16_t)get16(udp);
}

static void out_of_the_tunnel(void **state)
{
	struct two *t = *state;
	static const struct {
		uint8_t outer, inner;
		bool checksum;
	} ways[] = {{IP_V4, IP_V4, false}, {IP_V4, IP_V6, false}, {IP_V6, IP_V4, true},
		{IP_V6, IP_V6, false}, {IP_V4, IP_V4, true}};
	open_vtep(&t->a, IP_V4, false);
	for (unsigned i = 0; i < RTE_DIM(ways); i++) {
		struct flat p, got;
		uint32_t head = ways[i].outer == IP_V4 ? VTEP_HEAD4 : VTEP_HEAD6;
		publish_remote(&t->a, remote_number, ways[i].outer, ways[i].checksum);
		// Once by the port's offload, once without.
		t->a.port[GW_WAN]->port.tx_offloads ^= RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
		to_host(&(struct spec){.family = ways[i].inner, .payload = 500, .tos = 0xba}, &p);
		send_back(t, &p);
		run(&t->a);
		struct rte_mbuf *m = memport_take(t->a.port[GW_WAN], 0);
		assert_non_null(m);
		bool asks = m->ol_flags & RTE_MBUF_F_TX_UDP_CKSUM;
		rte_pktmbuf_adj(m, L2_LEN);
		flow_flat(m, &got);
		rte_pktmbuf_free(m);
		check_outer(&got, ways[i].outer);
		uint8_t tos = ways[i].outer == IP_V4 ? got.b[1]
						     : (uint8_t)(got.b[0] << 4 | got.b[1] >> 4);
		assert_int_equal(tos, 0xba);
		uint32_t l4 = head - 30, csum = get16(got.b + l4 + 6);
		if (!ways[i].checksum)
			assert_int_equal(csum, 0);
		else if (!asks)
			assert_int_equal(flow_sum(got.b + l4, got.len - l4,
						 flow_pseudo_sum(got.b, got.len - l4)),
				0xffff);
		hop(&p);
		hop(&p);
		assert_int_equal(got.len - head, p.len);
		assert_memory_equal(got.b + head, p.b, p.len);
	}
	assert_int_equal(counter(&t->a, COUNTER_VTEP_OUT), RTE_DIM(ways));
}

// A flow's datagrams leave as one where the port segments UDP, another flow by another port.
static void runs_of_a_flow(void **state)
{
	struct two *t = *state;
	struct flat p, got;
	open_vtep(&t->a, IP_V4, false);
	to_host(&(struct spec){.payload = 14000}, &p);
	push_super(&t->b, GW_LAN, &p, 1300);
	run(&t->b);
	carry(&t->b, &t->a);
	run(&t->a);
	assert_int_equal(counter(&t->a, COUNTER_VTEP_OUT), 11);
	assert_int_equal(sent(&t->a, GW_WAN), 1);
	struct rte_mbuf *m = memport_take(t->a.port[GW_WAN], 0);
	assert_true(m->ol_flags & RTE_MBUF_F_TX_UDP_SEG);
	assert_int_equal(m->tso_segsz, 1300 + 40 + 22);
	assert_int_equal(m->pkt_len, L2_LEN + 28 + 11 * (22 + 40) + 14000);
	rte_pktmbuf_adj(m, L2_LEN);
	flow_flat(m, &got);
	rte_pktmbuf_free(m);
	uint16_t source = check_outer(&got, IP_V4);
	// The same as datagrams of their own.
	unsigned other = 0;
	t->a.port[GW_WAN]->port.tx_offloads &= ~(uint64_t)RTE_ETH_TX_OFFLOAD_UDP_TSO;
	for (uint16_t sport = 1000; sport < 1010; sport++) {
		to_host(&(struct spec){.payload = 100, .sport = sport}, &p);
		send_back(t, &p);
		run(&t->a);
		assert_true(take_flat(&t->a, GW_WAN, &got));
		other += check_outer(&got, IP_V4) != source;
	}
	assert_in_range(other, 5, 9); // the first is that flow
	assert_int_equal(drops(&t->a), 0);
}

// What the port has the kernel's device wrap: the frame inside, with the flow's own offloads.
static void check_frame(const struct rte_mbuf *m, bool super)
{
	assert_int_equal(
		m->ol_flags & RTE_MBUF_F_TX_TUNNEL_MASK, (uint64_t)RTE_MBUF_F_TX_TUNNEL_VXLAN);
	assert_int_equal(m->hash.usr, IFINDEX);
	assert_int_equal(!!(m->ol_flags & RTE_MBUF_F_TX_TCP_SEG), super);
	assert_int_equal(m->l2_len, L2_LEN);
	const uint8_t *l2 = rte_pktmbuf_mtod(m, const uint8_t *);
	assert_memory_equal(l2, host_mac, 6);
	assert_memory_equal(l2 + 6, device_mac, 6);
	assert_int_equal(get16(l2 + 12), flow_is_v4(l2 + L2_LEN) ? 0x0800 : 0x86dd);
}

static void open_device(struct two *t)
{
	open_vtep(&t->a, IP_V4, false);
	t->a.port[GW_WAN]->port.tx_offloads |= RTE_ETH_TX_OFFLOAD_VXLAN_TNL_TSO;
}

static struct rte_mbuf *take_only(struct gw *g)
{
	assert_int_equal(sent(g, GW_WAN), 1);
	return memport_take(g->port[GW_WAN], 0);
}

// TCP goes to the kernel's device where the port offers that: a run as one packet.
static void tcp_by_the_device(void **state)
{
	struct two *t = *state;
	struct flat p, got;
	static const uint8_t families[] = {IP_V4, IP_V6};
	open_device(t);
	for (unsigned i = 0; i < RTE_DIM(families); i++) {
		uint32_t hdr = families[i] == IP_V4 ? 40 : 60;
		to_host(&(struct spec){.family = families[i], .payload = 14000}, &p);
		push_super(&t->b, GW_LAN, &p, 1300);
		run(&t->b);
		carry(&t->b, &t->a);
		run(&t->a);
		assert_int_equal(counter(&t->a, COUNTER_VTEP_OUT), 11);
		struct rte_mbuf *m = take_only(&t->a);
		check_frame(m, true);
		assert_int_equal(m->tso_segsz, 1300);
		assert_int_equal(m->pkt_len, L2_LEN + hdr + 14000);
		rte_pktmbuf_free(m);
		forget(&t->a);

		to_host(&(struct spec){.family = families[i], .payload = 100}, &p);
		send_back(t, &p);
		run(&t->a);
		m = take_only(&t->a);
		check_frame(m, false);
		rte_pktmbuf_adj(m, L2_LEN);
		flow_flat(m, &got);
		rte_pktmbuf_free(m);
		hop(&p);
		hop(&p);
		assert_flat_equal(&got, &p);
		forget(&t->a);
	}
	assert_int_equal(drops(&t->a), 0);
}

// All else is wrapped here, and without coalescing there are as many frames as segments.
static void what_the_device_is_not_for(void **state)
{
	struct two *t = *state;
	struct flat p, got;
	struct rte_mbuf *m;
	open_device(t);
	to_host(&(struct spec){.proto = IPPROTO_UDP, .payload = 600}, &p);
	send_back(t, &p);
	run(&t->a);
	m = take_only(&t->a);
	assert_int_equal(m->ol_flags & RTE_MBUF_F_TX_TUNNEL_MASK, 0);
	rte_pktmbuf_adj(m, L2_LEN);
	flow_flat(m, &got);
	rte_pktmbuf_free(m);
	check_outer(&got, IP_V4);

	// Out of a link, not into a VXLAN.
	inner_build(&(struct spec){.payload = 100}, 2, 1, &p);
	send_back(t, &p);
	run(&t->a);
	assert_int_equal(sent(&t->a, GW_LAN), 1);
	m = memport_take(t->a.port[GW_LAN], 0);
	assert_int_equal(m->ol_flags & RTE_MBUF_F_TX_TUNNEL_MASK, 0);
	rte_pktmbuf_free(m);
	assert_int_equal(counter(&t->a, COUNTER_VTEP_OUT), 1);

	forget(&t->a);
	t->a.gw.coalesce = false;
	to_host(&(struct spec){.payload = 2600}, &p);
	push_super(&t->b, GW_LAN, &p, 1300);
	run(&t->b);
	carry(&t->b, &t->a);
	run(&t->a);
	assert_int_equal(sent(&t->a, GW_WAN), 2);
	while ((m = memport_take(t->a.port[GW_WAN], 0))) {
		check_frame(m, false);
		rte_pktmbuf_free(m);
	}
	t->a.gw.coalesce = true;
	assert_int_equal(drops(&t->a), 0);
}

// What does not fit is cut before, or its sender told.
static void too_big_for_the_device(void **state)
{
	struct two *t = *state;
	struct flat p;
	struct rte_mbuf *m;
	open_device(t);
	struct vtep small = *vtep_get(t->a.gw.fib->vteps, remote_number);
	small.mtu = 1300;
	assert_true(vtep_publish(t->a.gw.fib->vteps, remote_number, &small));
	to_host(&(struct spec){.payload = 1301 - 40}, &p);
	send_back(t, &p);
	run(&t->a);
	expect_drops(&t->a, DROP_TOO_BIG, 1);
	assert_int_equal(counter(&t->a, COUNTER_VTEP_OUT), 0);
	forget(&t->a);
	to_host(&(struct spec){.payload = 1301 - 40, .no_df = true}, &p);
	send_back(t, &p);
	run(&t->a);
	assert_int_equal(sent(&t->a, GW_WAN), 2);
	while ((m = memport_take(t->a.port[GW_WAN], 0))) {
		check_frame(m, false);
		rte_pktmbuf_free(m);
	}
	assert_int_equal(counter(&t->a, COUNTER_VTEP_OUT), 2);
}

// An owned port's packet into a VXLAN is its kernel's: the mirror gets the frame as it came.
static void a_mirror_wraps_nothing(void **state)
{
	struct two *t = *state;
	struct gw *g = &t->a;
	struct flat p;
	open_vtep(g, IP_V4, false);
	struct port *lan = &g->port[GW_LAN]->port, *mirror = &g->port[GW_HOST]->port;
	lan->peer = mirror;
	mirror->peer = lan;
	mirror->l2 = true;
	to_host(&(struct spec){.payload = 100}, &p);
	struct rte_mbuf *m = frame_of(g, GW_LAN, p.b, p.len);
	m->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_NONE;
	push(g, GW_LAN, m);
	run(g);
	assert_int_equal(sent(g, GW_HOST), 1);
	m = memport_take(g->port[GW_HOST], 0);
	assert_true(m->ol_flags & RTE_MBUF_F_TX_TCP_CKSUM);
	assert_int_equal(m->ol_flags & RTE_MBUF_F_TX_TUNNEL_MASK, 0);
	rte_pktmbuf_free(m);
	mirror->l2 = false;
}

static void too_big_for_the_way(void **state)
{
	struct two *t = *state;
	struct flat p, got;
	open_vtep(&t->a, IP_V4, false);
	t->a.port[GW_WAN]->port.mtu = 1500;
	struct vtep small = *vtep_get(t->a.gw.fib->vteps, remote_number);
	small.mtu = 1300;
	assert_true(vtep_publish(t->a.gw.fib->vteps, remote_number, &small));
	to_host(&(struct spec){.proto = IPPROTO_UDP, .payload = 1301 - 28}, &p);
	send_back(t, &p);
	run(&t->a);
	expect_drops(&t->a, DROP_TOO_BIG, 1);
	carry(&t->a, &t->b);
	run(&t->b);
	assert_true(take_flat(&t->b, GW_LAN, &got));
	assert_int_equal(got.b[9], IPPROTO_ICMP);
	assert_int_equal(get16(got.b + 26), 1300);
	to_host(&(struct spec){.proto = IPPROTO_UDP, .payload = 1301 - 28, .no_df = true}, &p);
	send_back(t, &p);
	run(&t->a);
	assert_int_equal(counter(&t->a, COUNTER_VTEP_OUT), 2); // fragments
	forget(&t->a);
}

// Where nothing leads to the remote, the kernel may know better: by way of the host TUN.
static void no_way_to_the_remote(void **state)
{
	struct two *t = *state;
	struct flat p, got;
	open_vtep(&t->a, IP_V4, false);
	assert_true(vtep_publish(t->a.gw.fib->vteps, remote_number, NULL));
	assert_false(vtep_publish(t->a.gw.fib->vteps, remote_number, NULL));
	to_host(&(struct spec){.payload = 100}, &p);
	send_back(t, &p);
	run(&t->a);
	assert_int_equal(counter(&t->a, COUNTER_VTEP_OUT), 0);
	assert_true(take_flat(&t->a, GW_HOST, &got));
	hop(&p);
	assert_flat_equal(&got, &p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		two_test(out_of_the_tunnel),
		two_test(runs_of_a_flow),
		two_test(tcp_by_the_device),
		two_test(what_the_device_is_not_for),
		two_test(too_big_for_the_device),
		two_test(a_mirror_wraps_nothing),
		two_test(too_big_for_the_way),
		two_test(no_way_to_the_remote),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
