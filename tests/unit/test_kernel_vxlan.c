// What a shared port has a VXLAN device of the kernel's wrap, against the kernel itself:
//
//   shared port "va" <== veth ==> shared port "vb"
//     10.9.0.1                      10.9.0.2, for the kernel just a neighbour
//        ^
//   VXLAN device "vx", VNI 9, to 10.9.0.2
#include "tests/unit/kernel_ports.h"

#include "dataplane/port/vnet.h"
#include "dataplane/wire/vxlan.h"

enum {
	// In front of the frame inside.
	HEAD = ETHER_HDR_LEN + IP4_HDR_LEN + UDP_HDR_LEN + VXLAN_HDR_LEN,
	NO_DEVICE = 9999,
};

static struct port *va, *vb;
static uint32_t vx;

static const struct rte_ether_addr host = {{2, 0, 0, 0, 9, 2}};

// In one piece up to 65535 bytes with all that is in front; the kernel segments what is longer.
static const struct {
	struct frame f;
	bool whole;
} frames[] = {
	{{"plain tcp4", IP_V4, IPPROTO_TCP, 0, false, 1000}, true},
	{{"plain tcp6", IP_V6, IPPROTO_TCP, 0, false, 1}, true},
	{{"csum tcp4", IP_V4, IPPROTO_TCP, 0, true, 1000}, true},
	{{"csum tcp6", IP_V6, IPPROTO_TCP, 0, true, 999}, true},
	{{"tso tcp4", IP_V4, IPPROTO_TCP, 1368, true, 20000}, true},
	{{"tso tcp6", IP_V6, IPPROTO_TCP, 1348, true, 20001}, true},
	{{"tso tcp4, the longest", IP_V4, IPPROTO_TCP, 1368, true, 65535 - HEAD - 54}, true},
	{{"tso tcp4, one byte more", IP_V4, IPPROTO_TCP, 1368, true, 65536 - HEAD - 54}, false},
};

static struct rte_mbuf *build(const struct frame *f)
{
	return frame_build(f, pool, &va->mac, &host);
}

static struct rte_mbuf *for_device(const struct frame *f, uint32_t ifindex)
{
	struct rte_mbuf *m = build(f);
	m->ol_flags |= RTE_MBUF_F_TX_TUNNEL_VXLAN;
	m->hash.usr = ifindex;
	return m;
}

static struct rte_mbuf *for_peer(const struct frame *f)
{
	return frame_build(f, pool, &va->mac, &vb->mac);
}

// What comes is a datagram of VNI 9; then m's data is the frame inside.
static struct rte_mbuf *receive_frame(void)
{
	struct rte_mbuf *m = receive(vb, WAIT_MS);
	assert_non_null(m);
	const uint8_t *vxlan = rte_pktmbuf_mtod_offset(m, uint8_t *, HEAD - VXLAN_HDR_LEN);
	assert_memory_equal(vxlan, "\x08\0\0\0\0\0\x09\0", VXLAN_HDR_LEN);
	rte_pktmbuf_adj(m, HEAD);
	assert_memory_equal(rte_pktmbuf_mtod(m, uint8_t *), &host, sizeof(host));
	return m;
}

static void expect_whole(const struct frame *f)
{
	struct rte_mbuf *m = receive_frame();
	assert_true(frame_payload_is(f, m, true, 0, f->payload));
	if (f->segsz == 0) {
		assert_true(frame_csum_ok(f, m, true));
	} else {
		assert_int_equal(m->packet_type, VNET_TUNNEL_TCP);
		assert_int_equal(m->tso_segsz, f->segsz);
	}
	rte_pktmbuf_free(m);
}

static void expect_segments(const struct frame *f)
{
	for (uint32_t done = 0; done < f->payload; done += f->segsz) {
		struct rte_mbuf *m = receive_frame();
		uint32_t len = RTE_MIN((uint32_t)f->segsz, f->payload - done);
		assert_true(frame_payload_is(f, m, true, done, len));
		assert_true(frame_csum_ok(f, m, true));
		rte_pktmbuf_free(m);
	}
}

static void test_wrapped(void **)
{
	for (unsigned i = 0; i < RTE_DIM(frames); i++) {
		const struct frame *f = &frames[i].f;
		struct rte_mbuf *m = for_device(f, vx);
		uint64_t sent = va->stats[0].tx_packets, supers = va->stats[0].tx_supers;
		print_message("%s\n", f->name);
		assert_int_equal(port_tx(va, 0, &m, 1), 1);
		assert_int_equal(va->stats[0].tx_packets - sent, 1);
		assert_int_equal(va->stats[0].tx_supers - supers, f->segsz != 0);
		if (frames[i].whole)
			expect_whole(f);
		else
			expect_segments(f);
	}
	assert_null(receive(vb, 20));
}

// Below is no offload for what is in a tunnel: the kernel cuts it.
static void test_segmented_by_kernel(void **)
{
	netns_offload("va", false);
	for (unsigned i = 0; i < RTE_DIM(frames); i++) {
		const struct frame *f = &frames[i].f;
		struct rte_mbuf *m = for_device(f, vx);
		print_message("%s\n", f->name);
		assert_int_equal(port_tx(va, 0, &m, 1), 1);
		if (f->segsz)
			expect_segments(f);
		else
			expect_whole(f);
	}
	netns_offload("va", true);
}

// A burst of more than one message vector, to both: in order, each where it is to go.
static void test_bursts(void **)
{
	const struct frame *small = &frames[0].f, *large = &frames[6].f;
	struct rte_mbuf *pkts[PORT_BURST];
	for (unsigned i = 0; i < PORT_BURST; i++)
		pkts[i] = i % 4 == 0 ? for_peer(small) : for_device(i % 4 == 1 ? large : small, vx);
	assert_int_equal(port_tx(va, 0, pkts, PORT_BURST), PORT_BURST);
	for (unsigned i = 0; i < PORT_BURST; i++) {
		struct rte_mbuf *m = i % 4 == 0 ? receive(vb, WAIT_MS) : receive_frame();
		const struct frame *f = i % 4 == 1 ? large : small;
		assert_non_null(m);
		assert_true(frame_payload_is(f, m, true, 0, f->payload));
		rte_pktmbuf_free(m);
	}
}

enum way {
	OUT,   // of the port
	WRAP,  // by the device
	GONE,  // the device that is to wrap it has gone
	GIANT, // by the device, whose MTU it is above
	SCTP,  // an offload that no kernel port has
};

// Each that the kernel does not take is one error, and the others pass.
static void test_refused(void **)
{
	static const struct frame good = {"good", IP_V4, IPPROTO_TCP, 0, false, 64},
				  giant = {"giant", IP_V4, IPPROTO_TCP, 0, false, 1411};
	static const struct {
		enum way burst[6];
		unsigned errors;
	} cases[] = {{{OUT, GONE, OUT, WRAP, GONE, WRAP}, 2},
		{{GONE, GONE, GONE, GONE, GONE, WRAP}, 5},
		{{GIANT, WRAP, GIANT, OUT, GIANT, OUT}, 3},
		{{SCTP, WRAP, GONE, SCTP, GIANT, OUT}, 4},
		{{GONE, GONE, GONE, GONE, GONE, GONE}, 6}};
	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		struct rte_mbuf *pkts[6];
		uint64_t errors = va->stats[0].tx_errors, sent = va->stats[0].tx_packets;
		for (unsigned k = 0; k < 6; k++) {
			enum way way = cases[i].burst[k];
			pkts[k] = way == OUT ? for_peer(&good)
					     : for_device(way == GIANT ? &giant : &good,
						       way == GONE ? NO_DEVICE : vx);
			if (way == SCTP)
				pkts[k]->ol_flags |= RTE_MBUF_F_TX_SCTP_CKSUM;
		}
		assert_int_equal(port_tx(va, 0, pkts, 6), 6);
		assert_int_equal(va->stats[0].tx_errors - errors, cases[i].errors);
		assert_int_equal(va->stats[0].tx_packets - sent, 6 - cases[i].errors);
		for (unsigned k = 0; k < 6; k++) {
			enum way way = cases[i].burst[k];
			if (way == OUT || way == WRAP)
				rte_pktmbuf_free(
					way == OUT ? receive(vb, WAIT_MS) : receive_frame());
		}
		assert_null(receive(vb, 20));
	}
}

// The device goes down, away, and is another one when it is back.
static void test_vanish(void **)
{
	static const struct frame good = {"good", IP_V4, IPPROTO_TCP, 0, false, 64};
	static const char *const ends[] = {"ip link set vx down", "ip link del vx"};
	for (unsigned i = 0; i < RTE_DIM(ends); i++) {
		struct rte_mbuf *pkts[2] = {for_device(&good, vx), for_peer(&good)};
		uint64_t errors = va->stats[0].tx_errors;
		netns_run("%s", ends[i]);
		assert_int_equal(port_tx(va, 0, pkts, 2), 2);
		assert_int_equal(va->stats[0].tx_errors - errors, 1);
		rte_pktmbuf_free(receive(vb, WAIT_MS));
		assert_null(receive(vb, 20));
	}
}

// A TUN or a mirror wraps nothing, and says so.
static void test_tun_refuses(void **)
{
	struct port_params params = {
		.name = "ta", .device = "ta", .id = 3, .n_queues = 1, .mtu = 1500};
	struct port *ta;
	char err[256];
	params.pool = pool;
	params.super_pool = super_pool;
	assert_int_equal(port_tun_open(&params, &ta, err), 0);
	assert_int_equal(ta->tx_offloads & RTE_ETH_TX_OFFLOAD_VXLAN_TNL_TSO, 0);
	assert_int_not_equal(va->tx_offloads & RTE_ETH_TX_OFFLOAD_VXLAN_TNL_TSO, 0);
	struct rte_mbuf *m = for_device(&frames[0].f, vx);
	assert_int_equal(port_tx(ta, 0, &m, 1), 1);
	assert_int_equal(ta->stats[0].tx_errors, 1);
	ta->ops->close(ta);
}

static int setup(void **)
{
	create_pools();
	netns_run("sysctl -qw net.ipv6.conf.default.disable_ipv6=1");
	netns_run("ip link add va type veth peer name vb address 02:00:00:00:00:0b; "
		  "ip link set va up; ip link set vb up");
	netns_run("ip addr add 10.9.0.1/24 dev va");
	netns_run("ip neigh add 10.9.0.2 dev va nud permanent lladdr 02:00:00:00:00:0b");
	netns_run("ip link add vx type vxlan id 9 local 10.9.0.1 remote 10.9.0.2 dev va "
		  "dstport 4789; ip link set vx up");
	va = open_port("va", 1, port_shared_open);
	vb = open_port("vb", 2, port_shared_open);
	vx = if_nametoindex("vx");
	assert_int_not_equal(vx, 0);
	return 0;
}

static int teardown(void **)
{
	va->ops->close(va);
	vb->ops->close(vb);
	check_pools();
	return 0;
}

int main(void)
{
	netns_enter();
	test_eal_init();
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wrapped),
		cmocka_unit_test(test_segmented_by_kernel),
		cmocka_unit_test(test_bursts),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_tun_refuses),
		cmocka_unit_test(test_vanish),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
