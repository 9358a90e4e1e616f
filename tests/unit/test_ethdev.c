// Owned ports over DPDK's virtual devices, both ends in this process:
//
//   memif server <== shared memory ==> memif client
//   vhost <== shared memory ==> virtio-user, with TSO towards vhost and LRO out of it
//   AF_XDP on "va" <== veth ==> AF_XDP on "vb"
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <rte_alarm.h>

#include "dataplane/port/port.h"
#include "tests/unit/eal.h"
#include "tests/unit/frames.h"
#include "tests/unit/netns.h"

enum {
	POOL_SIZE = 4096,
	SUPER_POOL_SIZE = 100,
	WAIT_MS = 30000,
};

static struct rte_mempool *pool, *super_pool;
static char dir[] = "/tmp/tailgate-test-XXXXXX";

static const struct frame plain[] = {
	{"plain tcp4", IP_V4, IPPROTO_TCP, 0, false, 1000},
	{"plain udp6", IP_V6, IPPROTO_UDP, 0, false, 1},
	{"plain udp4", IP_V4, IPPROTO_UDP, 0, false, 1400},
};

static const struct frame offloaded[] = {
	{"csum tcp4", IP_V4, IPPROTO_TCP, 0, true, 1000},
	{"csum udp6", IP_V6, IPPROTO_UDP, 0, true, 999},
	{"tso tcp4", IP_V4, IPPROTO_TCP, 1400, true, 20000},
	{"tso tcp6", IP_V6, IPPROTO_TCP, 1300, true, 60001},
};

// DPDK 22.11's AF_XDP driver frees a umem's memory but not its handle.
const char *__lsan_default_suppressions(void);

const char *__lsan_default_suppressions(void)
{
	return "leak:xsk_umem__create";
}

static struct port *open_port(const char *device, uint16_t id)
{
	struct port_params params = {.name = "dut",
		.device = device,
		.id = id,
		.n_queues = 1,
		.pool = pool,
		.super_pool = super_pool};
	char err[256];
	struct port *p;
	if (port_owned_open(&params, &p, err) != 0) {
		fprintf(stderr, "%s\n", err);
		return NULL;
	}
	return p;
}

static bool await_link(struct port *p, bool up)
{
	for (int ms = 0; ms < WAIT_MS; ms += 10) {
		p->ops->refresh(p);
		if (p->up == up)
			return true;
		usleep(10000);
	}
	return false;
}

static bool is_frame(const struct frame *f, const struct port *to, const struct rte_mbuf *m)
{
	const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);
	return rte_is_same_ether_addr(&eth->dst_addr, &to->mac) &&
	       m->pkt_len == frame_hdr_len(f, true) + f->payload;
}

static struct rte_mbuf *receive(struct port *p, const struct frame *f)
{
	struct rte_mbuf *m;
	for (int ms = 0; ms < WAIT_MS; ms++) {
		while (port_rx(p, 0, &m, 1) == 1) {
			if (is_frame(f, p, m))
				return m;
			rte_pktmbuf_free(m); // the kernel's own, on veth
		}
		usleep(1000);
	}
	return NULL;
}

static void cross(const struct frame *f, struct port *from, struct port *to)
{
	print_message("%s to port %u\n", f->name, to->id);
	struct rte_mbuf *m = frame_build(f, pool, &from->mac, &to->mac);
	// memif's server has no room before the client has looked once.
	for (int i = 0; port_tx(from, 0, &m, 1) != 1; i++) {
		assert_true(i < WAIT_MS);
		port_rx(to, 0, &m, 0);
		usleep(1000);
	}
	m = receive(to, f);
	assert_non_null(m);
	assert_int_equal(m->port, to->id);
	assert_true(frame_payload_is(f, m, true, 0, f->payload));
	if (!f->csum)
		assert_true(frame_csum_ok(f, m, true));
	assert_int_equal(!!(m->ol_flags & RTE_MBUF_F_RX_LRO), f->segsz != 0);
	if (f->segsz) {
		assert_int_equal(m->tso_segsz, f->segsz);
		assert_int_equal(m->packet_type & RTE_PTYPE_L4_MASK, RTE_PTYPE_L4_TCP);
		assert_int_equal(
			m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK, RTE_MBUF_F_RX_L4_CKSUM_NONE);
	}
	rte_pktmbuf_free(m);
}

// What the device has no offload for is consumed and counted.
static void expect_refused(struct port *p, const struct frame *f)
{
	uint64_t errors = p->stats[0].tx_errors;
	struct rte_mbuf *m = frame_build(f, pool, &p->mac, &p->mac);
	assert_int_equal(port_tx(p, 0, &m, 1), 1);
	assert_int_equal(p->stats[0].tx_errors - errors, 1);
}

// Fill the ring: the rest comes back as it was, at the end of the array, and goes out later.
static void check_full(struct port *from, struct port *to, const struct frame *f, unsigned rounds)
{
	unsigned sent = 0, got = 0;
	uint16_t took = PORT_BURST;
	struct rte_mbuf *pkts[PORT_BURST], *m;
	for (unsigned i = 0; i < rounds && took == PORT_BURST; i++) {
		for (unsigned k = 0; k < PORT_BURST; k++)
			pkts[k] = frame_build(f, pool, &from->mac, &to->mac);
		took = port_tx(from, 0, pkts, PORT_BURST);
		sent += took;
	}
	assert_true(took < PORT_BURST);
	assert_true(from->stats[0].tx_full >= (uint64_t)PORT_BURST - took);
	struct rte_mbuf *fresh = frame_build(f, pool, &from->mac, &to->mac);
	for (unsigned k = took; k < PORT_BURST; k++) {
		assert_int_equal(pkts[k]->pkt_len, fresh->pkt_len);
		assert_int_equal(pkts[k]->ol_flags, fresh->ol_flags);
		assert_memory_equal(rte_pktmbuf_mtod(pkts[k], void *),
			rte_pktmbuf_mtod(fresh, void *), frame_hdr_len(f, true));
	}
	rte_pktmbuf_free(fresh);
	for (int ms = 0; ms < WAIT_MS && got < sent; ms++) {
		if (port_rx(to, 0, &m, 1) != 1) {
			usleep(1000);
			continue;
		}
		assert_true(frame_payload_is(f, m, true, 0, f->payload));
		rte_pktmbuf_free(m);
		got++;
		if (took < PORT_BURST)
			took += port_tx(from, 0, &pkts[took], 1);
	}
	assert_true(got >= sent);
	rte_pktmbuf_free_bulk(&pkts[took], PORT_BURST - took);
	while (port_rx(to, 0, &m, 1) == 1)
		rte_pktmbuf_free(m);
}

static void set_flag(void *flag)
{
	atomic_store((atomic_bool *)flag, true);
}

// Until DPDK's interrupt thread, which runs alarms too, has done with what it was at: closing a
// memif frees what that thread frees when the other side goes.
static void await_interrupts(void)
{
	static atomic_bool done;
	atomic_store(&done, false);
	assert_int_equal(rte_eal_alarm_set(1, set_flag, &done), 0);
	for (int ms = 0; ms < WAIT_MS && !atomic_load(&done); ms++)
		usleep(1000);
	assert_true(atomic_load(&done));
}

static void test_memif(void **)
{
	char device[128];
	snprintf(device, sizeof(device), "net_memif0,role=server,socket=%s/m,socket-abstract=no",
		dir);
	struct port *server = open_port(device, 1);
	assert_non_null(server);
	assert_false(server->up);
	snprintf(device, sizeof(device), "net_memif1,role=client,socket=%s/m,socket-abstract=no",
		dir);
	struct port *client = open_port(device, 2);
	assert_non_null(client);
	assert_true(await_link(server, true) && await_link(client, true));
	for (unsigned i = 0; i < RTE_DIM(plain); i++) {
		cross(&plain[i], client, server);
		cross(&plain[i], server, client);
	}
	expect_refused(client, &offloaded[2]);
	check_full(client, server, &plain[0], 100);

	print_message("the other side restarts\n");
	client->ops->close(client);
	assert_true(await_link(server, false));
	client = open_port(device, 2);
	assert_non_null(client);
	assert_true(await_link(server, true) && await_link(client, true));
	cross(&plain[0], client, server);
	client->ops->close(client);
	assert_true(await_link(server, false));
	await_interrupts();
	server->ops->close(server);
}

// An armed queue's descriptor becomes readable, and is quiet again afterwards.
static void check_wake(struct port *from, struct port *to)
{
	struct pollfd fd = {.fd = to->ops->wait_fd(to, 0), .events = POLLIN};
	assert_true(fd.fd >= 0);
	for (int round = 0; round < 3; round++) {
		to->ops->wait_arm(to, 0, true);
		to->ops->wait_arm(to, 0, false); // what earlier packets left
		to->ops->wait_arm(to, 0, true);
		assert_int_equal(poll(&fd, 1, 20), 0);
		struct rte_mbuf *m = frame_build(&plain[0], pool, &from->mac, &to->mac);
		assert_int_equal(port_tx(from, 0, &m, 1), 1);
		assert_int_equal(poll(&fd, 1, WAIT_MS), 1);
		to->ops->wait_arm(to, 0, false);
		m = receive(to, &plain[0]);
		assert_non_null(m);
		rte_pktmbuf_free(m);
	}
}

// A packet that came before the queue was armed wakes too.
static void check_no_lost_wake(struct port *from, struct port *to)
{
	struct pollfd fd = {.fd = to->ops->wait_fd(to, 0), .events = POLLIN};
	struct rte_mbuf *m = frame_build(&plain[0], pool, &from->mac, &to->mac);
	to->ops->wait_arm(to, 0, true);
	to->ops->wait_arm(to, 0, false);
	assert_int_equal(port_tx(from, 0, &m, 1), 1);
	assert_int_equal(poll(&fd, 1, 20), 0);
	to->ops->wait_arm(to, 0, true);
	assert_int_equal(poll(&fd, 1, WAIT_MS), 1);
	to->ops->wait_arm(to, 0, false);
	m = receive(to, &plain[0]);
	assert_non_null(m);
	rte_pktmbuf_free(m);
	m = frame_build(&plain[0], pool, &from->mac, &to->mac);
	assert_int_equal(port_tx(from, 0, &m, 1), 1);
	to->ops->wait_arm(to, 0, true); // found, and freed when the port is closed
	to->ops->wait_arm(to, 0, false);
}

static void test_vhost(void **)
{
	char device[128];
	snprintf(device, sizeof(device), "net_vhost0,iface=%s/v,queues=1,tso=1", dir);
	struct port *host = open_port(device, 3);
	assert_non_null(host);
	snprintf(device, sizeof(device),
		"net_virtio_user0,path=%s/v,queues=1,mac=02:00:00:00:00:09", dir);
	struct port *guest = open_port(device, 4);
	assert_non_null(guest);
	assert_true(await_link(host, true) && await_link(guest, true));
	assert_true(guest->tx_offloads & RTE_ETH_TX_OFFLOAD_TCP_TSO);
	for (unsigned i = 0; i < RTE_DIM(plain); i++) {
		cross(&plain[i], guest, host);
		cross(&plain[i], host, guest);
	}
	for (unsigned i = 0; i < RTE_DIM(offloaded); i++)
		cross(&offloaded[i], guest, host);
	static const struct frame uso = {"uso", IP_V4, IPPROTO_UDP, 1400, true, 2800};
	expect_refused(guest, &uso); // DPDK has none
	check_full(guest, host, &offloaded[2], 100);
	check_wake(host, guest);
	check_no_lost_wake(host, guest);
	assert_int_equal(host->ops->wait_fd(host, 0), -1); // the worker naps
	guest->ops->close(guest);
	host->ops->close(host);
}

// Packets are lost while the veth restarts its queues for XDP.
static void settle(struct port *from, struct port *to)
{
	struct rte_mbuf *m;
	for (unsigned got = 0, i = 0; got == 0 && i < 1000; i++) {
		m = frame_build(&plain[0], pool, &from->mac, &to->mac);
		if (port_tx(from, 0, &m, 1) == 0)
			rte_pktmbuf_free(m);
		usleep(20000);
		for (; port_rx(to, 0, &m, 1) == 1; rte_pktmbuf_free(m))
			got += is_frame(&plain[0], to, m);
	}
}

static void test_af_xdp(void **)
{
	netns_run("ip link add va type veth peer name vb; ip link set va up; ip link set vb up");
	struct port *a = open_port("net_af_xdp0,iface=va", 5);
	struct port *b = a ? open_port("net_af_xdp1,iface=vb", 6) : NULL;
	if (!a || !b) {
		print_message("no AF_XDP in this kernel\n");
		if (a)
			a->ops->close(a);
		skip();
	}
	assert_true(await_link(a, true) && await_link(b, true));
	settle(a, b);
	settle(b, a);
	// Chains become one buffer: the device takes no more.
	static const struct frame chain = {"chain", IP_V4, IPPROTO_UDP, 0, false, 1460};
	for (unsigned i = 0; i < RTE_DIM(plain); i++)
		cross(&plain[i], a, b);
	cross(&chain, b, a);
	expect_refused(a, &offloaded[2]);
	netns_run("ip link set vb down");
	assert_true(await_link(a, false));
	netns_run("ip link set vb up");
	assert_true(await_link(a, true));
	settle(a, b);
	cross(&plain[0], a, b);
	b->ops->close(b);
	a->ops->close(a);
}

static void test_refusals(void **)
{
	static const struct {
		const char *device, *says;
		uint16_t n_queues;
	} cases[] = {
		{"", "neither", 1},
		{"eth0", "neither", 1},
		{"net_nothing0", "neither", 1},
		{"0000:ff:1f.7", "vfio-pci", 1},
		{"net_memif7,role=server,socket=/nowhere/x,socket-abstract=no", "DPDK", 1},
		{"net_null0", "workers", 0},
		{"net_null0", "workers", PORT_QUEUE_MAX + 1},
		{"net_virtio_user7,path=/nowhere/x", "DPDK", 1},
		{"net_ring7", "transmit queues for 32 workers", 32},
	};
	char err[256];
	struct port *p;
	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		struct port_params params = {.name = "dut",
			.device = cases[i].device,
			.n_queues = cases[i].n_queues,
			.pool = pool,
			.super_pool = super_pool};
		print_message("%s\n", cases[i].device);
		assert_true(port_owned_open(&params, &p, err) < 0);
		print_message("    %s\n", err);
		assert_non_null(strstr(err, cases[i].says));
	}
}

static int setup(void **)
{
	pool = test_pool("pool", POOL_SIZE);
	super_pool =
		rte_pktmbuf_pool_create("super", SUPER_POOL_SIZE, 0, 0, SUPER_ROOM, SOCKET_ID_ANY);
	return super_pool && mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **)
{
	netns_run("rm -r %s", dir);
	assert_int_equal(rte_mempool_avail_count(pool), POOL_SIZE);
	assert_int_equal(rte_mempool_avail_count(super_pool), SUPER_POOL_SIZE);
	return 0;
}

int main(void)
{
	netns_enter();
	test_eal_init();
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_memif),
		cmocka_unit_test(test_vhost),
		cmocka_unit_test(test_af_xdp),
		cmocka_unit_test(test_refusals),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
