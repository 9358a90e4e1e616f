// The mirror beside a real kernel, in a network namespace of our own.
#include "tests/unit/mirror.h"

#include <errno.h>
#include <event2/event.h>
#include <sched.h>
#include <unistd.h>

static struct event_base *base;
static uint32_t wan_ifindex;

static uint16_t live_port_of(void *, uint32_t ifindex)
{
	return ifindex == wan_ifindex ? 1 : PORT_NONE;
}

static bool enter_namespace(void)
{
	return unshare(CLONE_NEWNET) == 0 || unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0;
}

static void command(const char *text)
{
	if (system(text) != 0)
		fail_msg("%s", text);
}

static void turn(void)
{
	event_base_loop(base, EVLOOP_NONBLOCK);
	usleep(10000);
}

// Let the loop run until it is so, a minute at most.
#define wait_until(condition)                                                                      \
	for (int i_ = 0; i_ < 6000 && !(condition); i_++)                                          \
	turn()

static void wait_way(const char *to, const char *text)
{
	wait_until(strcmp(way(to), text) == 0);
	expect(to, text);
}

static void live_routes(void)
{
	struct ip_prefix p;
	struct netlink *n = mirror_netlink(mirror);
	wait_way("192.0.2.1", "local");
	assert_true(mirror_ready(mirror));
	wait_way("192.0.2.7", "resolve 1 none");
	wait_way("10.5.0.1", "resolve 1 192.0.2.2");
	command("ip neigh replace 192.0.2.2 lladdr 02:00:00:00:00:02 dev wan nud permanent");
	wait_way("10.5.0.1", "link 1 ..02 from ..01");
	command("ip route replace 10.5.0.0/16 via 192.0.2.3");
	wait_way("10.5.0.1", "resolve 1 192.0.2.3");
	assert_int_equal(ip_prefix_parse("10.99.0.0/16", &p), 0);
	assert_int_equal(netlink_route_add(n, &p, wan_ifindex), 0);
	assert_int_equal(netlink_route_add(n, &p, wan_ifindex), 0); // again
	wait_way("10.99.0.1", "resolve 1 none");
	command("ip route show proto 41 | grep -q '10.99.0.0/16 dev wan scope link'");
	assert_int_equal(netlink_route_del(n, &p, wan_ifindex), 0);
	assert_int_equal(netlink_route_del(n, &p, wan_ifindex), -ESRCH);
	wait_way("10.99.0.1", "none");
	assert_int_equal(ip_prefix_parse("10.5.0.0/16", &p), 0);
	assert_int_equal(netlink_route_add(n, &p, wan_ifindex), -EEXIST); // somebody else's
	assert_int_equal(netlink_route_del(n, &p, wan_ifindex), -ESRCH);
}

static void live_tables(void)
{
	struct ip_prefix p, six;
	struct netlink *n = mirror_netlink(mirror);
	const struct netlink_rule rules[] = {
		{IP_V4, 5210, 0x80000, 0xff0000, RT_TABLE_MAIN},
		{IP_V4, 5250, 0x80000, 0xff0000, 0},
		{IP_V6, 5270, 0, 0, FIRST},
	};
	assert_int_equal(ip_prefix_parse("10.5.0.0/16", &p), 0); // main has it as well
	assert_int_equal(ip_prefix_parse("::/0", &six), 0);
	assert_int_equal(netlink_table_add(n, FIRST, &p, wan_ifindex), 0);
	assert_int_equal(netlink_table_add(n, FIRST, &six, wan_ifindex), 0);
	command("ip route show table 52 | grep -q '^10.5.0.0/16 dev wan proto 41 scope link'");
	command("ip -6 route show table 52 | grep -q '^default dev wan proto 41'");
	wait_way("10.5.0.1", "resolve 1 none");
	assert_int_equal(netlink_table_del(n, FIRST, &p, wan_ifindex), 0);
	assert_int_equal(netlink_table_del(n, FIRST, &p, wan_ifindex), -ESRCH);
	assert_int_equal(netlink_table_del(n, FIRST, &six, wan_ifindex), 0);
	wait_way("10.5.0.1", "resolve 1 192.0.2.3");
	command("ip route add throw 10.7.0.0/16 table 52"); // somebody else's
	for (unsigned i = 0; i < 300; i++) {
		p.addr.bytes[1] = (uint8_t)i;
		p.addr.bytes[0] = (uint8_t)(20 + i / 256);
		assert_int_equal(netlink_table_add(n, FIRST, &p, 0), 0);
	}
	command("test $(ip route show table 52 | grep -c '^throw') = 301");
	assert_int_equal(netlink_table_clear(n, FIRST), 0);
	command("test \"$(ip route show table 52)\" = 'throw 10.7.0.0/16 '");
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(netlink_rule_add(n, &rules[i % 3]), 0);
	command("ip rule | grep -q '^5210:.from all fwmark 0x80000/0xff0000 lookup main'");
	command("ip rule | grep -q '^5250:.from all fwmark 0x80000/0xff0000 unreachable'");
	command("test $(ip -6 rule | grep -c '^5270:.from all lookup 52') = 1");
	rules_gone = 0;
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(netlink_rule_del(n, &rules[i]), 0);
	assert_int_equal(netlink_rule_del(n, &rules[0]), -ENOENT);
	command("! ip rule | grep -q '^52'");
	wait_until(rules_gone >= 3);
	assert_int_equal(rules_gone, 3);
}

static void live_addresses(void)
{
	struct ip_ifaddr a;
	struct netlink *n = mirror_netlink(mirror);
	assert_int_equal(ip_ifaddr_parse("2001:db8:7::1/64", &a), 0);
	assert_int_equal(netlink_addr_add(n, &a, wan_ifindex), 0);
	assert_int_equal(netlink_addr_add(n, &a, wan_ifindex), 0);
	wait_way("2001:db8:7::1", "local");
	assert_int_equal(netlink_addr_del(n, &a, wan_ifindex), 0);
	wait_way("2001:db8:7::1", "none");
	assert_int_equal(netlink_addr_add(n, &a, 9999), -ENODEV);
	assert_int_equal(netlink_link_mtu(n, wan_ifindex, 1300), 0);
	assert_int_equal(netlink_link_mtu(n, 9999, 1300), -ENODEV);
	wait_until(mirror_link(mirror, wan_ifindex)->mtu == 1300);
	assert_int_equal(mirror_link(mirror, wan_ifindex)->mtu, 1300);
}

// The other end of the cable answers ARP.
static void live_resolve(void)
{
	struct ip_addr a = addr("192.0.2.66");
	command("ip link set far address 02:00:00:00:00:66");
	command("ip link set far up");
	expect("192.0.2.66", "resolve 1 none");
	assert_true(mirror_resolve(mirror, wan_ifindex, &a));
	assert_false(mirror_resolve(mirror, wan_ifindex, &a)); // within a second
	command("ip neigh replace 192.0.2.66 lladdr 02:00:00:00:00:66 dev wan nud reachable");
	wait_way("192.0.2.66", "link 1 ..66 from ..01");
}

// IPv4 routes go silently with the interface: a new dump finds out.
static void live_silence(void)
{
	struct mirror_stats before, after;
	mirror_stats(mirror, &before);
	command("ip link set wan down");
	wait_way("10.5.0.1", "none");
	wait_way("192.0.2.66", "none");
	mirror_stats(mirror, &after);
	assert_true(after.resyncs > before.resyncs);
	assert_int_equal(after.malformed, 0);
	command("ip link del wan");
	wait_until(!mirror_link(mirror, wan_ifindex));
	assert_null(mirror_link(mirror, wan_ifindex));
}

// More notifications than the socket holds, while nobody reads.
static void live_overrun(void)
{
	struct mirror_stats stats;
	command("ip link add wan address 02:00:00:00:00:01 type veth peer name far");
	command("ip link set far up && ip link set wan up && ip addr add 192.0.2.1/24 dev wan");
	wan_ifindex = if_nametoindex("wan");
	command("for i in $(seq 0 127); do for j in $(seq 0 255); do"
		" echo route add 10.$i.$j.0/24 via 192.0.2.2; done; done | ip -batch -");
	command("ip route flush root 10.64.0.0/10");
	wait_way("10.0.7.1", "resolve 1 192.0.2.2");
	wait_way("10.63.255.1", "resolve 1 192.0.2.2");
	wait_way("10.64.0.1", "none");
	wait_way("10.127.255.1", "none");
	for (int i = 0; i < 50; i++)
		turn();
	expect("10.64.0.1", "none");
	mirror_stats(mirror, &stats);
	assert_true(stats.overruns > 0);
	assert_in_range(stats.routes, 64 * 256, 64 * 256 + 100);
}

static void test_live(void **)
{
	if (!enter_namespace())
		skip();
	if (system("ip link add wan address 02:00:00:00:00:01 type veth peer name far") != 0)
		skip(); // no iproute2, or no veth in this kernel
	command("ip link set lo up");
	command("ip link set wan up && ip addr add 192.0.2.1/24 dev wan");
	command("ip link set far up && ip route add 10.5.0.0/16 via 192.0.2.2");
	wan_ifindex = if_nametoindex("wan");
	struct mirror_env live = env;
	live.port_of = live_port_of;
	live.tunnel_ifindex = 0;
	base = event_base_new();
	mirror_destroy(mirror);
	mirror = mirror_create(base, fib, &live);
	assert_non_null(mirror);
	assert_false(mirror_ready(mirror));
	live_routes();
	live_tables();
	live_addresses();
	live_resolve();
	live_silence();
	live_overrun();
	assert_int_equal(mirror_generation(mirror), last_generation);
	mirror_destroy(mirror);
	mirror = NULL;
	event_base_free(base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_live, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
