// The guard and the port claim against the kernel:
//
//   shared port "va" === veth ===> shared port "vb" (10.2.0.2, fd02::2), guarded
//                                  TUN "tg0": 10.9.0.0/16 and fd09::/16 are routed into it
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <arpa/inet.h>
#include <poll.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "control/kernel/claim.h"
#include "control/kernel/guard.h"
#include "dataplane/port/port.h"
#include "tests/unit/eal.h"
#include "tests/unit/frames.h"
#include "tests/unit/netns.h"

enum {
	OTHER_PORT = 7002,
};

static struct port *va, *vb;
static struct rte_mempool *pool;
static const char *const devices[] = {"vb"};
static struct ip_prefix locals[2], routed[2];

static struct guard_params params(bool avoid_fib)
{
	return (struct guard_params){
		.tun = "tg0",
		.udp_port = FRAME_PORT,
		.devices = devices,
		.n_devices = 1,
		.locals = locals,
		.n_locals = 2,
		.routed = routed,
		.n_routed = 2,
		.avoid_fib = avoid_fib,
	};
}

enum change {
	AS_IT_IS,
	OTHER_MAC,
	VLAN_TAG,
	OTHER_DPORT,
	INTO_TUNNEL,
	TO_ELSEWHERE,
};

struct guard_case {
	const char *name;
	uint8_t family;
	enum change change;
	unsigned tunnel, routed; // how often each counter counts it
	bool seen;		 // by the port
};

static const struct guard_case cases[] = {
	{"to the gateway's port, v4", IP_V4, AS_IT_IS, 1, 0, true},
	{"to the gateway's port, v6", IP_V6, AS_IT_IS, 1, 0, true},
	{"into the tunnel, v4", IP_V4, INTO_TUNNEL, 0, 1, true},
	{"into the tunnel, v6", IP_V6, INTO_TUNNEL, 0, 1, true},
	{"to another port of the host, v4", IP_V4, OTHER_DPORT, 0, 0, true},
	{"to another port of the host, v6", IP_V6, OTHER_DPORT, 0, 0, true},
	{"same port, elsewhere, v4", IP_V4, TO_ELSEWHERE, 0, 0, true},
	{"same port, elsewhere, v6", IP_V6, TO_ELSEWHERE, 0, 0, true},
	{"another MAC", IP_V4, OTHER_MAC, 0, 0, false},
	{"another MAC, v6", IP_V6, OTHER_MAC, 0, 0, false},
	{"of a VLAN", IP_V4, VLAN_TAG, 0, 0, false},
	{"of a VLAN, v6", IP_V6, VLAN_TAG, 0, 0, false},
};

// The second byte of the destination network: 10.x.0.2, fdxx::2.
static void set_network(struct rte_mbuf *m, uint8_t family, uint8_t network)
{
	uint8_t *l3 = rte_pktmbuf_mtod_offset(m, uint8_t *, ETHER_HDR_LEN);
	l3[family == IP_V4 ? 17 : 25] = network;
	if (family == IP_V4)
		csum_ip4_hdr_set(l3, IP4_HDR_LEN);
}

static void send_case(const struct guard_case *c)
{
	struct frame f = {c->name, c->family, IPPROTO_UDP, 0, true, 100};
	struct rte_mbuf *m = frame_build(&f, pool, &va->mac, &vb->mac);
	uint8_t *data = rte_pktmbuf_mtod(m, uint8_t *);
	struct rte_udp_hdr *udp = rte_pktmbuf_mtod_offset(m, void *, m->l2_len + m->l3_len);
	switch (c->change) {
	case AS_IT_IS:
		break;
	case OTHER_MAC:
		data[5] ^= 1;
		break;
	case VLAN_TAG:
		data = (uint8_t *)rte_pktmbuf_prepend(m, ETHER_VLAN_LEN);
		memmove(data, data + ETHER_VLAN_LEN, 12);
		memcpy(data + 12, "\x81\x00\x00\x05", 4);
		m->l2_len += ETHER_VLAN_LEN;
		break;
	case OTHER_DPORT:
		udp->dst_port = rte_cpu_to_be_16(OTHER_PORT);
		break;
	case INTO_TUNNEL:
		set_network(m, c->family, 9);
		break;
	case TO_ELSEWHERE:
		set_network(m, c->family, 77);
		break;
	}
	assert_int_equal(port_tx(va, 0, &m, 1), 1);
}

// expected: then it is waited for, however busy the machine is
static bool seen(bool expected)
{
	struct rte_mbuf *m;
	struct pollfd fd = {.fd = vb->ops->wait_fd(vb, 0), .events = POLLIN};
	if (poll(&fd, 1, expected ? 30000 : 20) != 1 || port_rx(vb, 0, &m, 1) != 1)
		return false;
	rte_pktmbuf_free(m);
	return true;
}

static void check_cases(struct guard *g)
{
	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		const struct guard_case *c = &cases[i];
		struct guard_counters before, after;
		print_message("%s\n", c->name);
		assert_int_equal(guard_counters(g, &before), 0);
		send_case(c);
		assert_int_equal(seen(c->seen), c->seen);
		assert_int_equal(guard_counters(g, &after), 0);
		assert_int_equal(after.tunnel_packets - before.tunnel_packets, c->tunnel);
		assert_int_equal(after.routed_packets - before.routed_packets, c->routed);
	}
}

static void test_rules(void **state)
{
	char err[256];
	struct guard *g;
	struct guard_params p = params(*(bool *)*state);
	assert_int_equal(guard_create(&p, &g, err), 0);
	assert_int_equal(guard_has_fib(g), !p.avoid_fib);
	check_cases(g);

	print_message("the same after an update, counts go on\n");
	struct guard_counters before, after;
	assert_int_equal(guard_counters(g, &before), 0);
	assert_int_equal(guard_update(g, &p, err), 0);
	assert_int_equal(guard_counters(g, &after), 0);
	assert_memory_equal(&before, &after, sizeof(after));
	check_cases(g);

	print_message("another UDP port\n");
	p.udp_port = OTHER_PORT;
	assert_int_equal(guard_update(g, &p, err), 0);
	send_case(&cases[0]);
	send_case(&cases[4]);
	assert_int_equal(guard_counters(g, &before), 0);
	assert_int_equal(before.tunnel_packets, after.tunnel_packets * 2 + 1);
	assert_true(seen(true) && seen(true));

	print_message("more ports beside it, over IPv4\n");
	p.extra_port = FRAME_PORT - 1;
	p.n_extra_ports = 2;
	assert_int_equal(guard_update(g, &p, err), 0);
	send_case(&cases[0]);
	assert_true(seen(true));
	assert_int_equal(guard_counters(g, &after), 0);
	assert_int_equal(after.tunnel_packets, before.tunnel_packets + 1);
	p.n_extra_ports = 1;
	assert_int_equal(guard_update(g, &p, err), 0);
	send_case(&cases[0]);
	assert_true(seen(true));
	assert_int_equal(guard_counters(g, &before), 0);
	assert_int_equal(after.tunnel_packets, before.tunnel_packets);

	print_message("ports of the address translation\n");
	p.n_extra_ports = 0;
	p.nat_first = FRAME_PORT - 1;
	p.nat_last = FRAME_PORT;
	assert_int_equal(guard_update(g, &p, err), 0);
	send_case(&cases[0]);
	assert_true(seen(true));
	assert_int_equal(guard_counters(g, &after), 0);
	assert_int_equal(after.nat_packets, 1);
	assert_int_equal(after.tunnel_packets, before.tunnel_packets);
	p.nat_last = FRAME_PORT - 1;
	assert_int_equal(guard_update(g, &p, err), 0);
	send_case(&cases[0]);
	assert_true(seen(true));
	assert_int_equal(guard_counters(g, &after), 0);
	assert_int_equal(after.nat_packets, 1);
	guard_destroy(g);
	netns_run("! nft list tables | grep tailgate");
}

// A bridge's port: frames to the bridge are ours, whatever MAC the port has; others are not.
static void test_bridged(void **)
{
	char err[256];
	struct guard *g;
	struct guard_params p = params(false);
	struct guard_bridged b = {.device = "vb"};
	struct guard_counters counters;
	memcpy(b.mac, vb->mac.addr_bytes, sizeof(b.mac));
	p.n_devices = 0;
	p.bridged = &b;
	p.n_bridged = 1;
	assert_int_equal(guard_create(&p, &g, err), 0);
	check_cases(g);
	b.mac[5] ^= 0x55;
	assert_int_equal(guard_update(g, &p, err), 0);
	assert_int_equal(guard_counters(g, &counters), 0);
	uint64_t before = counters.tunnel_packets;
	send_case(&cases[0]);
	assert_true(seen(true));
	assert_int_equal(guard_counters(g, &counters), 0);
	assert_int_equal(counters.tunnel_packets, before);
	b.device = "x;y";
	assert_int_equal(guard_update(g, &p, err), -EINVAL);
	guard_destroy(g);
}

// A process that dies takes its table along; one that lives keeps it to itself.
static void test_owner(void **)
{
	char err[256];
	struct guard *g;
	struct guard_params p = params(false);
	int gate[2];
	assert_int_equal(pipe(gate), 0);
	pid_t child = fork();
	if (child == 0) {
		bool ok = guard_create(&p, &g, err) == 0;
		_exit(write(gate[1], &ok, 1) == 1 && pause());
	}
	bool ok = false;
	assert_int_equal(read(gate[0], &ok, 1), 1);
	assert_true(ok);
	assert_true(guard_create(&p, &g, err) < 0);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	assert_int_equal(guard_create(&p, &g, err), 0);
	guard_destroy(g);
}

// A table that nobody owns, as older kernels leave it after a kill -9.
static void test_stale(void **)
{
	char err[256];
	struct guard *g;
	struct guard_params p = params(false);
	netns_run("nft add table netdev tailgate_tg0; "
		  "nft add chain netdev tailgate_tg0 stale");
	assert_int_equal(guard_create(&p, &g, err), 0);
	netns_run("! nft list ruleset | grep stale");
	check_cases(g);
	guard_destroy(g);
}

static void test_refusals(void **)
{
	static const char *const bad[] = {
		"", "a b", "eth0\" drop", "x;y", "a\nb", "{", "\\", "sixteen-letters-"};
	char err[256];
	struct guard *g;
	for (unsigned i = 0; i < RTE_DIM(bad); i++) {
		struct guard_params p = params(false);
		p.devices = &bad[i];
		assert_int_equal(guard_create(&p, &g, err), -EINVAL);
		p = params(false);
		p.tun = bad[i];
		assert_int_equal(guard_create(&p, &g, err), -EINVAL);
	}
	print_message("a failed update leaves the rules as they were\n");
	struct guard_params good = params(false), p = params(false);
	p.devices = &bad[0];
	assert_int_equal(guard_create(&good, &g, err), 0);
	assert_true(guard_update(g, &p, err) < 0);
	check_cases(g);
	guard_destroy(g);
}

static int bind_udp(int family, uint16_t port)
{
	struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(family, SOCK_DGRAM, 0);
	int rc = family == AF_INET ? bind(fd, (struct sockaddr *)&a4, sizeof(a4))
				   : bind(fd, (struct sockaddr *)&a6, sizeof(a6));
	if (rc == 0)
		return fd;
	rc = -errno;
	close(fd);
	return rc;
}

// The kernel reports a port unreachable to a connected sender; a claimed port gives none.
static int probe(uint16_t port)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	assert_int_equal(send(fd, "x", 1, 0), 1);
	int rc = send(fd, "x", 1, 0) < 0 ? -errno : 0;
	close(fd);
	return rc;
}

static void test_claim(void **)
{
	struct port_claim c, second;
	assert_int_equal(probe(41641), -ECONNREFUSED);
	assert_int_equal(port_claim_open(41641, &c), 0);
	assert_int_equal(c.port, 41641);
	assert_int_equal(bind_udp(AF_INET, 41641), -EADDRINUSE);
	assert_int_equal(bind_udp(AF_INET6, 41641), -EADDRINUSE);
	assert_int_equal(port_claim_open(41641, &second), -EADDRINUSE);
	assert_int_equal(probe(41641), 0);
	struct pollfd fd = {.fd = c.fd4, .events = POLLIN};
	assert_int_equal(poll(&fd, 1, 10), 0); // dropped, not queued
	port_claim_close(&c);
	port_claim_close(&c);
	int free_again = bind_udp(AF_INET, 41641);
	assert_true(free_again >= 0);
	assert_int_equal(port_claim_open(41641, &c), -EADDRINUSE);
	close(free_again);
	free_again = bind_udp(AF_INET6, 41641);
	assert_int_equal(port_claim_open(41641, &c), -EADDRINUSE);
	close(free_again);
	assert_int_equal(port_claim_open(0, &c), 0);
	assert_true(c.port >= 1024);
	assert_int_equal(bind_udp(AF_INET6, c.port), -EADDRINUSE);
	port_claim_close(&c);
}

static void test_range(void **)
{
	static const struct {
		unsigned n;
		int error;
	} refused[] = {{0, -EINVAL}, {PORT_RANGE_MAX + 1, -EINVAL}, {100000, -EINVAL}};
	struct port_range r, other;
	for (unsigned i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		assert_int_equal(port_range_open(refused[i].n, &r), refused[i].error);
	assert_int_equal(port_range_open(256, &r), 0);
	assert_int_equal(r.n, 256);
	assert_in_range(r.first, 1024, 32768 - 256); // not of those that the kernel gives out
	for (unsigned i = 0; i < r.n; i++)
		assert_int_equal(bind_udp(AF_INET, (uint16_t)(r.first + i)), -EADDRINUSE);
	assert_int_equal(port_range_open(256, &other), 0);
	assert_true(other.first + 256 <= r.first || r.first + 256 <= other.first);
	port_range_close(&other);
	port_range_close(&r);
	assert_int_equal(r.n, 0);
	port_range_close(&r);
	int free_again = bind_udp(AF_INET, r.first);
	assert_true(free_again >= 0);
	close(free_again);
}

static struct port *open_port(const char *device, struct rte_mempool *super_pool)
{
	struct port_params p = {.name = device,
		.device = device,
		.n_queues = 1,
		.pool = pool,
		.super_pool = super_pool};
	char err[256];
	struct port *port;
	if (port_shared_open(&p, &port, err) != 0) {
		fprintf(stderr, "%s\n", err);
		exit(1);
	}
	return port;
}

int main(void)
{
	static bool with_fib = false, without_fib = true;
	netns_enter();
	test_eal_init();
	pool = test_pool("pool", 512);
	struct rte_mempool *super_pool =
		rte_pktmbuf_pool_create("super", 200, 0, 0, SUPER_ROOM, SOCKET_ID_ANY);
	netns_run("ip link set lo up");
	netns_run("ip link add va type veth peer name vb; ip link set va up; ip link set vb up");
	netns_run("sysctl -qw net.ipv6.conf.va.disable_ipv6=1 net.ipv6.conf.vb.accept_ra=0");
	netns_run("ip addr add 10.2.0.2/24 dev vb; ip addr add fd02::2/64 dev vb nodad");
	netns_run("ip tuntap add tg0 mode tun; ip link set tg0 up");
	netns_run("ip route add 10.9.0.0/16 dev tg0; ip route add fd09::/16 dev tg0");
	if (ip_prefix_parse("10.2.0.2/32", &locals[0]) ||
		ip_prefix_parse("fd02::2/128", &locals[1]) ||
		ip_prefix_parse("10.9.0.0/16", &routed[0]) ||
		ip_prefix_parse("fd09::/16", &routed[1]))
		return 1;
	va = open_port("va", super_pool);
	vb = open_port("vb", super_pool);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_prestate(test_rules, &with_fib),
		cmocka_unit_test_prestate(test_rules, &without_fib),
		cmocka_unit_test(test_bridged),
		cmocka_unit_test(test_owner),
		cmocka_unit_test(test_stale),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_claim),
		cmocka_unit_test(test_range),
	};
	int rc = cmocka_run_group_tests(tests, NULL, NULL);
	va->ops->close(va);
	vb->ops->close(vb);
	return rc;
}
