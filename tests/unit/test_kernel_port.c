// Kernel ports against the kernel itself:
//
//   shared port "va" <== veth ==> shared port "vb"
//   TUN port "ta" (10.1.0.1) <== the kernel routes ==> TUN port "tb" (10.2.0.1)
#include "tests/unit/kernel_ports.h"

#include <errno.h>

static struct port *va, *vb, *ta, *tb;

// The largest with their Ethernet header are 65535 bytes: from 65536 on the kernel segments before
// the device does (gso_features_check).
static const struct frame frames[] = {
	{"plain tcp4", IP_V4, IPPROTO_TCP, 0, false, 1000},
	{"plain udp4", IP_V4, IPPROTO_UDP, 0, false, 1},
	{"plain udp6", IP_V6, IPPROTO_UDP, 0, false, 1400},
	{"csum tcp4", IP_V4, IPPROTO_TCP, 0, true, 1000},
	{"csum tcp6", IP_V6, IPPROTO_TCP, 0, true, 999},
	{"csum udp4", IP_V4, IPPROTO_UDP, 0, true, 100},
	{"csum udp6", IP_V6, IPPROTO_UDP, 0, true, 101},
	{"tso tcp4", IP_V4, IPPROTO_TCP, 1400, true, 20000},
	{"tso tcp6", IP_V6, IPPROTO_TCP, 1300, true, 20001},
	{"tso tcp4 of 64 KiB", IP_V4, IPPROTO_TCP, 1448, true, 65481},
	{"tso tcp6 of 64 KiB", IP_V6, IPPROTO_TCP, 1428, true, 65461},
	{"uso udp4", IP_V4, IPPROTO_UDP, 1400, true, 14000},
	{"uso udp6", IP_V6, IPPROTO_UDP, 1300, true, 20001},
	{"uso udp4 of 64 KiB", IP_V4, IPPROTO_UDP, 1420, true, 65493},
	{"uso udp6 of two", IP_V6, IPPROTO_UDP, 1200, true, 1201},
};

static struct rte_mbuf *build(const struct frame *f, struct port *from, struct port *to)
{
	return frame_build(f, pool, &from->mac, to->l2 ? &to->mac : NULL);
}

// The next packet that is not the kernel's own (router solicitations and the like).
static struct rte_mbuf *receive_frame(struct port *p, const struct frame *f)
{
	for (;;) {
		struct rte_mbuf *m = receive(p, WAIT_MS);
		if (!m)
			return NULL;
		const uint8_t *l3 = rte_pktmbuf_mtod_offset(m, uint8_t *, p->l2 ? 14 : 0);
		if ((l3[0] >> 4 == 4 ? l3[9] : l3[6]) == f->proto)
			return m;
		rte_pktmbuf_free(m);
	}
}

static void send_one(struct port *p, struct rte_mbuf *m)
{
	assert_int_equal(port_tx(p, 0, &m, 1), 1);
}

static void expect_flags(const struct frame *f, const struct rte_mbuf *m)
{
	uint64_t csum = m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK;
	assert_true(!f->csum || csum == RTE_MBUF_F_RX_L4_CKSUM_NONE);
	assert_int_equal(!!(m->ol_flags & RTE_MBUF_F_RX_LRO), f->segsz != 0);
	if (f->segsz == 0)
		return;
	assert_int_equal(m->tso_segsz, f->segsz);
	assert_int_equal(m->packet_type & RTE_PTYPE_L4_MASK,
		f->proto == IPPROTO_TCP ? RTE_PTYPE_L4_TCP : RTE_PTYPE_L4_UDP);
}

static void cross(const struct frame *f, struct port *from, struct port *to)
{
	send_one(from, build(f, from, to));
	struct rte_mbuf *m = receive_frame(to, f);
	assert_non_null(m);
	assert_int_equal(m->port, to->id);
	expect_flags(f, m);
	assert_true(frame_payload_is(f, m, to->l2, 0, f->payload));
	assert_true(f->csum || frame_csum_ok(f, m, to->l2));
	rte_pktmbuf_free(m);
}

static void test_cross(void **)
{
	for (unsigned i = 0; i < RTE_DIM(frames); i++) {
		print_message("%s\n", frames[i].name);
		cross(&frames[i], va, vb);
		cross(&frames[i], vb, va);
		cross(&frames[i], ta, tb);
	}
}

// A wire that has no offloads: the kernel segments and sums what the port sent, so our vnet
// headers and pseudo sums were right.
static void test_segmented_by_kernel(void **)
{
	netns_offload("va", false);
	for (unsigned i = 0; i < RTE_DIM(frames); i++) {
		const struct frame *f = &frames[i];
		print_message("%s\n", f->name);
		send_one(va, build(f, va, vb));
		uint32_t size = f->segsz ? f->segsz : f->payload;
		for (uint32_t done = 0; done < f->payload; done += size) {
			struct rte_mbuf *m = receive_frame(vb, f);
			assert_non_null(m);
			assert_int_equal(m->ol_flags & RTE_MBUF_F_RX_LRO, 0);
			assert_true(frame_payload_is(
				f, m, true, done, RTE_MIN(size, f->payload - done)));
			assert_true(frame_csum_ok(f, m, true));
			rte_pktmbuf_free(m);
		}
	}
	netns_offload("va", true);
}

static void test_bursts(void **)
{
	const struct frame *small = &frames[1], *large = &frames[9];
	struct rte_mbuf *pkts[PORT_BURST];
	for (unsigned i = 0; i < PORT_BURST; i++)
		pkts[i] = build(i % 8 == 0 ? large : small, va, vb);
	uint64_t sent = va->stats[0].tx_packets, supers = vb->stats[0].rx_supers;
	assert_int_equal(port_tx(va, 0, pkts, PORT_BURST), PORT_BURST);
	assert_int_equal(va->stats[0].tx_packets - sent, PORT_BURST);
	assert_int_equal(port_rx(vb, 0, pkts, PORT_BURST), PORT_BURST);
	for (unsigned i = 0; i < PORT_BURST; i++) {
		const struct frame *f = i % 8 == 0 ? large : small;
		assert_true(frame_payload_is(f, pkts[i], true, 0, f->payload));
	}
	rte_pktmbuf_free_bulk(pkts, PORT_BURST);
	assert_int_equal(vb->stats[0].rx_supers - supers, PORT_BURST / 8);
}

// What a port must not send is consumed and counted, and its neighbours in the burst go out.
static void test_refused(void **)
{
	static const struct frame good = {"good", IP_V4, IPPROTO_UDP, 0, false, 64};
	struct rte_mbuf *pkts[5];
	for (unsigned i = 0; i < RTE_DIM(pkts); i++)
		pkts[i] = build(&good, va, vb);
	pkts[1]->ol_flags |= RTE_MBUF_F_TX_SCTP_CKSUM;
	pkts[2]->ol_flags |= RTE_MBUF_F_TX_UDP_SEG; // without a segment size
	rte_pktmbuf_free(pkts[3]);
	struct frame giant = {"longer than the MTU", IP_V4, IPPROTO_UDP, 0, false, 4000};
	pkts[3] = build(&giant, va, vb);
	uint64_t errors = va->stats[0].tx_errors;
	assert_int_equal(port_tx(va, 0, pkts, 5), 5);
	assert_int_equal(va->stats[0].tx_errors - errors, 3);
	for (unsigned i = 0; i < 2; i++) {
		struct rte_mbuf *m = receive_frame(vb, &good);
		assert_non_null(m);
		assert_true(frame_payload_is(&good, m, true, 0, good.payload));
		rte_pktmbuf_free(m);
	}
	assert_null(receive(vb, 20));
}

// The other end of a veth takes less than ours: the queue below refuses a packet, as one that is
// full does, and those behind it go out, until a few in a row were refused.
static void test_refused_below(void **)
{
	static const struct frame good = {"good", IP_V4, IPPROTO_UDP, 0, false, 64},
				  giant = {"giant", IP_V4, IPPROTO_UDP, 0, false, 4000};
	static const struct {
		const char *burst; // g: giant
		unsigned done, full, arrive;
	} cases[] = {{".g.", 3, 1, 2}, {"g.g.g.", 6, 3, 3}, {"ggggg.", 3, 6, 0}};
	struct rte_mbuf *pkts[6];
	netns_run("ip link set va mtu 5000");
	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		unsigned n = (unsigned)strlen(cases[i].burst);
		for (unsigned k = 0; k < n; k++)
			pkts[k] = build(cases[i].burst[k] == 'g' ? &giant : &good, va, vb);
		uint64_t full = va->stats[0].tx_full;
		unsigned done = port_tx(va, 0, pkts, (uint16_t)n);
		assert_int_equal(done, cases[i].done);
		rte_pktmbuf_free_bulk(pkts + done, n - done);
		assert_int_equal(va->stats[0].tx_full - full, cases[i].full);
		for (unsigned k = 0; k < cases[i].arrive; k++) {
			struct rte_mbuf *m = receive_frame(vb, &good);
			assert_non_null(m);
			rte_pktmbuf_free(m);
		}
		assert_null(receive(vb, 20));
	}
	netns_run("ip link set va mtu 1500");
}

// Frames to another MAC, of another type, or with a VLAN tag are not ours.
static void test_filter(void **)
{
	static const struct frame f = {"udp4", IP_V4, IPPROTO_UDP, 0, false, 64};
	struct rte_mbuf *pkts[3];
	for (unsigned i = 0; i < RTE_DIM(pkts); i++)
		pkts[i] = build(&f, va, vb);
	rte_pktmbuf_mtod(pkts[0], struct rte_ether_hdr *)->dst_addr.addr_bytes[5] ^= 1;
	rte_pktmbuf_mtod(pkts[1], struct rte_ether_hdr *)->ether_type = rte_cpu_to_be_16(0x0806);
	uint8_t *frame = (uint8_t *)rte_pktmbuf_prepend(pkts[2], ETHER_VLAN_LEN);
	memmove(frame, frame + ETHER_VLAN_LEN, 12);
	memcpy(frame + 12, "\x81\x00\x00\x05", 4);
	assert_int_equal(port_tx(va, 0, pkts, 3), 3);
	assert_null(receive(vb, 50));
	cross(&f, va, vb);
}

// Our own pool is empty: counted, nothing lost but time.
static void test_no_buffers(void **)
{
	struct rte_mbuf *hoard[SUPER_POOL_SIZE], *pkts[PORT_BURST];
	unsigned n = 0;
	while (n < SUPER_POOL_SIZE && (hoard[n] = rte_pktmbuf_alloc(super_pool)))
		n++;
	uint64_t nombuf = vb->stats[0].rx_nombuf;
	unsigned got = 0;
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 40; i++)
			send_one(va, build(&frames[1], va, vb));
		uint16_t k = port_rx(vb, 0, &pkts[got], PORT_BURST - got);
		got += k;
	}
	assert_true(got > 0 && got < 120);
	assert_true(vb->stats[0].rx_nombuf > nombuf);
	rte_pktmbuf_free_bulk(hoard, n);
	rte_pktmbuf_free_bulk(pkts, got);
	while (got < 120) {
		uint16_t k = port_rx(vb, 0, pkts, PORT_BURST);
		assert_true(k > 0);
		rte_pktmbuf_free_bulk(pkts, k);
		got += k;
	}
}

// More than the socket buffer holds: the kernel drops, refresh counts.
static void test_missed(void **)
{
	struct rte_mbuf *m;
	unsigned sent = 400, got = 0;
	for (unsigned i = 0; i < sent; i++)
		send_one(va, build(&frames[9], va, vb));
	while (port_rx(vb, 0, &m, 1) == 1) {
		rte_pktmbuf_free(m);
		got++;
	}
	assert_true(got < sent);
	vb->ops->refresh(vb);
	assert_int_equal(vb->stats[0].rx_missed, sent - got);
}

static void test_down_up(void **)
{
	const struct frame *f = &frames[7];
	netns_run("ip link set vb down");
	va->ops->refresh(va);
	vb->ops->refresh(vb);
	assert_false(va->up); // no carrier
	assert_false(vb->up);
	assert_null(receive(vb, 20));
	uint64_t errors = vb->stats[0].tx_errors;
	send_one(vb, build(f, vb, va));
	assert_int_equal(vb->stats[0].tx_errors - errors, 1);
	netns_run("ip link set vb up mtu 1400");
	va->ops->refresh(va);
	vb->ops->refresh(vb);
	assert_true(va->up && vb->up);
	assert_int_equal(vb->mtu, 1400);
	cross(f, va, vb);
	cross(f, vb, va);
	netns_run("ip link set vb mtu 1500");
	vb->ops->refresh(vb);
}

static void test_vanish(void **)
{
	const struct frame *f = &frames[11];
	int fd = vb->ops->wait_fd(vb, 0);
	netns_run("ip link del va");
	va->ops->refresh(va);
	vb->ops->refresh(vb);
	assert_false(va->up || vb->up);
	assert_null(receive(vb, 20));
	send_one(va, build(f, va, vb)); // into nothing
	netns_run("ip link add va type veth peer name vb; ip link set va up; ip link set vb up");
	va->ops->refresh(va);
	vb->ops->refresh(vb);
	assert_true(va->up && vb->up);
	assert_int_equal(vb->ops->wait_fd(vb, 0), fd);
	cross(f, va, vb);
	cross(f, vb, va);
}

static void tun_addresses(void)
{
	netns_run("sysctl -qw net.ipv4.conf.ta.forwarding=1 net.ipv6.conf.ta.disable_ipv6=0 "
		  "net.ipv6.conf.tb.disable_ipv6=0");
	netns_run("ip addr add 10.1.0.1/24 dev ta; ip addr add fd01::1/64 dev ta nodad");
	netns_run("ip addr replace 10.2.0.1/24 dev tb; ip addr replace fd02::1/64 dev tb nodad");
}

static void test_tun_vanish(void **)
{
	netns_run("ip link del ta; ip link del tb");
	send_one(ta, build(&frames[3], ta, tb));
	assert_null(receive(tb, 20));
	ta->ops->refresh(ta);
	tb->ops->refresh(tb);
	assert_true(ta->up && tb->up);
	assert_int_equal(ta->ifindex, if_nametoindex("ta"));
	tun_addresses();
	cross(&frames[7], ta, tb);
	cross(&frames[12], ta, tb);
}

// Several workers: every packet reaches exactly one of the queues, a flow always the same one.
static void test_fanout(void **)
{
	struct port_params params = {.name = "many",
		.device = "vb",
		.id = 9,
		.n_queues = 3,
		.pool = pool,
		.super_pool = super_pool};
	char err[256];
	struct port *many;
	vb->ops->close(vb);
	assert_int_equal(port_shared_open(&params, &many, err), 0);
	for (int again = 0; again < 2; again++) {
		unsigned got[3] = {0}, total = 0;
		for (unsigned i = 0; i < 30; i++) {
			struct rte_mbuf *m = build(&frames[5], va, many);
			struct rte_udp_hdr *udp = rte_pktmbuf_mtod_offset(m, void *, 34);
			udp->src_port = rte_cpu_to_be_16(2000 + i);
			send_one(va, m);
		}
		for (unsigned q = 0; q < 3; q++) {
			struct rte_mbuf *pkts[PORT_BURST];
			got[q] = port_rx(many, q, pkts, PORT_BURST);
			if (got[q] == 0) // the error that the old socket left
				got[q] = port_rx(many, q, pkts, PORT_BURST);
			rte_pktmbuf_free_bulk(pkts, got[q]);
			total += got[q];
		}
		assert_int_equal(total, 30);
		assert_true(got[0] && got[1] && got[2]);
		if (again)
			break;
		netns_run("ip link del vb");
		many->ops->refresh(many);
		netns_run("ip link add va type veth peer name vb; ip link set va up; "
			  "ip link set vb up");
		va->ops->refresh(va);
		many->ops->refresh(many);
		assert_true(many->up);
	}
	many->ops->close(many);
	params.n_queues = 1;
	params.id = 2;
	assert_int_equal(port_shared_open(&params, &vb, err), 0);
}

static void test_open_refusals(void **)
{
	struct port_params params = {
		.name = "x", .n_queues = 1, .pool = pool, .super_pool = super_pool};
	static const struct {
		const char *device, *says;
		uint16_t n_queues;
	} cases[] = {
		{"nowhere0", "no such interface", 1},
		{"lo0123456789abcdef", "no interface name", 1},
		{"", "no interface name", 1},
		{"va", "queues", 0},
		{"va", "queues", PORT_QUEUE_MAX + 1},
		{"ta", "only Ethernet", 1},
	};
	char err[256];
	struct port *p;
	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		params.device = cases[i].device;
		params.n_queues = cases[i].n_queues;
		assert_true(port_shared_open(&params, &p, err) < 0);
		assert_non_null(strstr(err, cases[i].says));
	}
	params.n_queues = 1;
	params.device = "ta";
	assert_true(port_tun_open(&params, &p, err) < 0);
	assert_non_null(strstr(err, "another process has it"));
	params.device = "va";
	assert_true(port_tun_open(&params, &p, err) < 0);
	assert_non_null(strstr(err, "another kind"));
	params.super_pool = pool;
	assert_true(port_tun_open(&params, &p, err) < 0);
	assert_non_null(strstr(err, "too small"));
}

// The mirror takes over MAC and MTU; what the host sends arrives, frames of any type.
static void test_mirror(void **)
{
	struct port_params params = {.name = "m",
		.device = "mir",
		.id = 8,
		.n_queues = 2,
		.pool = pool,
		.super_pool = super_pool};
	char err[256];
	struct port *mirror;
	assert_int_equal(port_mirror_open(&params, &mirror, err), 0);
	assert_int_equal(port_mirror_pair(va, mirror, err), 0);
	assert_memory_equal(&mirror->mac, &va->mac, sizeof(mirror->mac));
	assert_ptr_equal(va->peer, mirror);
	assert_true(mirror->up);
	netns_run("ip addr add 10.3.0.1/24 dev mir; ip route add 10.3.1.0/24 via 10.3.0.9");
	netns_run("(echo x >/dev/udp/10.3.0.7/9) 2>/dev/null || "
		  "bash -c 'echo x >/dev/udp/10.3.0.7/9'");
	bool arp = false;
	struct rte_mbuf *m;
	for (int ms = 0; ms < WAIT_MS && !arp; ms++) {
		for (unsigned q = 0; q < 2; q++) {
			if (port_rx(mirror, q, &m, 1) != 1)
				continue;
			arp |= rte_pktmbuf_mtod(m, struct rte_ether_hdr *)->ether_type ==
			       rte_cpu_to_be_16(RTE_ETHER_TYPE_ARP);
			rte_pktmbuf_free(m);
		}
		usleep(1000);
	}
	assert_true(arp);
	va->ifindex = if_nametoindex("va");
	va->peer = NULL;
	mirror->ops->close(mirror);
	assert_int_equal(if_nametoindex("mir"), 0);
}

static int setup(void **)
{
	create_pools();
	netns_run("ip link set lo up");
	// The kernel routes between the TUNs only: not what the veths carry.
	netns_run("sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.default.forwarding=0 "
		  "net.ipv6.conf.all.forwarding=1 net.ipv6.conf.default.disable_ipv6=1");
	netns_run("ip link add va type veth peer name vb; ip link set va up; ip link set vb up");
	va = open_port("va", 1, port_shared_open);
	vb = open_port("vb", 2, port_shared_open);
	ta = open_port("ta", 3, port_tun_open);
	tb = open_port("tb", 4, port_tun_open);
	tun_addresses();
	return 0;
}

static int teardown(void **)
{
	va->ops->close(va);
	vb->ops->close(vb);
	ta->ops->close(ta);
	tb->ops->close(tb);
	check_pools();
	return 0;
}

int main(void)
{
	netns_enter();
	test_eal_init();
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cross),
		cmocka_unit_test(test_segmented_by_kernel),
		cmocka_unit_test(test_bursts),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_refused_below),
		cmocka_unit_test(test_filter),
		cmocka_unit_test(test_no_buffers),
		cmocka_unit_test(test_missed),
		cmocka_unit_test(test_down_up),
		cmocka_unit_test(test_vanish),
		cmocka_unit_test(test_tun_vanish),
		cmocka_unit_test(test_fanout),
		cmocka_unit_test(test_open_refusals),
		cmocka_unit_test(test_mirror),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
