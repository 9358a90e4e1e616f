// What the mirror makes of messages: recorded ones, those of our own, and bad ones.
#include "tests/unit/mirror.h"

#include <errno.h>

static void test_route_types(void **)
{
	two_links();
	ROUTE("127.0.0.0/8", .dev = 1, .type = RTN_LOCAL, .table = RT_TABLE_LOCAL);
	ROUTE("192.0.2.255/32", .dev = WAN, .type = RTN_BROADCAST, .table = RT_TABLE_LOCAL);
	ROUTE("ff00::/8", .dev = WAN, .type = RTN_MULTICAST, .table = RT_TABLE_LOCAL);
	ROUTE("2001:db8::/128", .dev = WAN, .type = RTN_ANYCAST, .table = RT_TABLE_LOCAL);
	ROUTE("fe80::/64", .dev = WAN);
	ROUTE("fe80::1/128", .dev = WAN, .type = RTN_LOCAL, .table = RT_TABLE_LOCAL);
	ROUTE("10.2.0.0/16", .type = RTN_BLACKHOLE);
	ROUTE("10.3.0.0/16", .type = RTN_UNREACHABLE);
	ROUTE("10.4.0.0/16", .type = RTN_PROHIBIT);
	ROUTE("10.5.0.0/16", .type = RTN_THROW);
	ROUTE("10.6.0.0/16", .dev = TUN);
	ROUTE("10.7.0.0/16", .dev = OTHER);
	ROUTE("10.8.0.0/16", .dev = WAN, .table = 100);
	expect("127.0.0.1", "local");
	expect("192.0.2.255", "drop");
	expect("ff02::1", "drop");
	expect("2001:db8::", "local");
	expect("fe80::2", "drop");
	expect("fe80::1", "local");
	expect("10.2.0.1", "drop");
	expect("10.3.0.1", "reject");
	expect("10.4.0.1", "reject");
	expect("10.5.0.1", "reject");
	expect("10.6.0.1", "tunnel");
	expect("10.7.0.1", "kernel");
	expect("10.8.0.1", "none");
	expect("192.0.2.7", "resolve 1 none");
	expect("2001:db8::7", "resolve 1 none");
	struct ip_addr a = addr("192.0.2.7");
	assert_int_equal(fib_lookup(fib, &a)->mtu, 1500);
	a = addr("127.0.0.1");
	assert_true(mirror_is_local(mirror, &a));
	a = addr("127.0.0.1");
	a.bytes[0] = 10;
	assert_false(mirror_is_local(mirror, &a));
}

static void test_gateway_comes_and_goes(void **)
{
	two_links();
	ROUTE("0.0.0.0/0", .via = "192.0.2.2", .dev = WAN);
	ROUTE("10.0.0.0/8", .via = "192.0.2.2", .dev = WAN);
	ROUTE("11.0.0.0/8", .via = "192.0.2.3", .dev = WAN);
	expect("10.9.9.9", "resolve 1 192.0.2.2");
	feed_neigh(WAN, "192.0.2.2", NUD_REACHABLE, 0x02);
	assert_int_equal(neigh_events, 1);
	expect("10.9.9.9", "link 1 ..02 from ..a1");
	expect("8.8.8.8", "link 1 ..02 from ..a1");
	expect("192.0.2.2", "link 1 ..02 from ..a1");
	expect("11.0.0.1", "resolve 1 192.0.2.3");
	expect("192.0.2.3", "resolve 1 none");
	uint32_t before = changes;
	feed_neigh(WAN, "192.0.2.2", NUD_STALE, 0x02); // nothing new
	assert_int_equal(changes, before);
	assert_int_equal(neigh_events, 1);
	feed_neigh(WAN, "192.0.2.2", NUD_DELAY, 0x04); // another MAC
	assert_int_equal(changes, before + 1);
	expect("10.9.9.9", "link 1 ..04 from ..a1");
	expect("192.0.2.2", "link 1 ..04 from ..a1");
	feed_link(WAN, 1500, 0xb1); // our own MAC
	expect("10.9.9.9", "link 1 ..04 from ..b1");
	expect("192.0.2.2", "link 1 ..04 from ..b1");
	feed_neigh(WAN, "192.0.2.2", NUD_FAILED, 0x04);
	expect("10.9.9.9", "resolve 1 192.0.2.2");
	expect("192.0.2.2", "resolve 1 none");
	feed_neigh(WAN, "192.0.2.2", NUD_INCOMPLETE, 0);
	expect("10.9.9.9", "resolve 1 192.0.2.2");
	struct ip_addr gateway = addr("192.0.2.2");
	assert_true(ip_addr_equal(&last_neigh, &gateway));
	assert_int_equal(neigh_events, 3);
}

// -- routes that somebody wants to know of --------------------------------------------------------

static bool of_bgp(void *longest, const struct ip_prefix *p, uint8_t protocol)
{
	return protocol == RTPROT_BGP && p->len <= *(const uint8_t *)longest;
}

// Whether these networks are watched, and no others; whether that was told.
static void assert_watched(uint32_t *generation, bool told, unsigned n, const char *const *networks)
{
	struct ip_prefix found[8], p;
	assert_int_equal(mirror_watched(mirror, found, RTE_DIM(found)), n);
	for (unsigned i = 0; i < n; i++) {
		bool listed = false;
		assert_int_equal(ip_prefix_parse(networks[i], &p), 0);
		assert_true(mirror_is_watched(mirror, &p));
		for (unsigned j = 0; j < n; j++)
			listed |= memcmp(&found[j], &p, sizeof(p)) == 0;
		assert_true(listed);
	}
	assert_int_equal(mirror_watch_generation(mirror) != *generation, told);
	*generation = mirror_watch_generation(mirror);
}

#define WATCHED(told, ...)                                                                         \
	assert_watched(&generation, told,                                                          \
		sizeof((const char *const[]){NULL, ##__VA_ARGS__}) / sizeof(char *) - 1,           \
		(const char *const[]){NULL, ##__VA_ARGS__} + 1)
#define BGP(...) ROUTE(.protocol = RTPROT_BGP, __VA_ARGS__)
#define NO_BGP(...) NO_ROUTE(.protocol = RTPROT_BGP, __VA_ARGS__)

static void test_watched(void **)
{
	static uint8_t longest = 24;
	uint32_t generation = mirror_watch_generation(mirror);
	struct ip_prefix p;
	two_links();
	BGP(.dst = "10.3.0.0/16", .via = "192.0.2.2", .dev = WAN, .metric = 20);
	WATCHED(false); // nobody asked
	mirror_watch(mirror, of_bgp, &longest);
	WATCHED(true, "10.3.0.0/16");
	BGP(.dst = "10.4.0.0/24", .via = "192.0.2.2", .dev = WAN, .metric = 20);
	WATCHED(true, "10.3.0.0/16", "10.4.0.0/24");
	assert_int_equal(mirror_watched(mirror, &p, 1), 2);
	BGP(.dst = "10.5.0.1/32", .via = "192.0.2.2", .dev = WAN); // not wanted
	ROUTE("10.6.0.0/16", .via = "192.0.2.2", .dev = WAN, .protocol = RTPROT_STATIC);
	BGP(.dst = "10.7.0.0/16", .via = "192.0.2.2", .dev = WAN, .table = 100);
	WATCHED(false, "10.3.0.0/16", "10.4.0.0/24");
	BGP(.dst = "10.7.0.0/16", .dev = TUN, .table = FIRST);
	WATCHED(false, "10.3.0.0/16", "10.4.0.0/24");
	BGP(.dst = "10.8.0.0/16", .dev = TUN); // back into the tunnel
	BGP(.dst = "10.9.0.0/16", .type = RTN_BLACKHOLE);
	WATCHED(true, "10.3.0.0/16", "10.4.0.0/24");
	BGP(.dst = "10.8.0.0/16", .dev = OTHER, .metric = 5); // by no port of ours: the kernel's
	WATCHED(true, "10.3.0.0/16", "10.4.0.0/24", "10.8.0.0/16");
	mirror_set_tunnel(mirror, OTHER);
	WATCHED(true, "10.3.0.0/16", "10.4.0.0/24", "10.8.0.0/16"); // by the other, now
	mirror_set_tunnel(mirror, TUN);
	NO_BGP(.dst = "10.8.0.0/16", .dev = OTHER, .metric = 5);
	WATCHED(true, "10.3.0.0/16", "10.4.0.0/24");
	// A better route of somebody else changes nothing.
	ROUTE("10.4.0.0/24", .via = "192.0.2.2", .dev = WAN, .protocol = RTPROT_STATIC);
	WATCHED(false, "10.3.0.0/16", "10.4.0.0/24");
	NO_BGP(.dst = "10.4.0.0/24", .via = "192.0.2.2", .dev = WAN, .metric = 20);
	WATCHED(true, "10.3.0.0/16");
	// The same route, of another daemon.
	ROUTE("10.4.0.0/24", .via = "192.0.2.2", .dev = WAN, .protocol = RTPROT_BGP);
	WATCHED(true, "10.3.0.0/16", "10.4.0.0/24");
	mirror_watch(mirror, NULL, NULL);
	WATCHED(true);
	assert_int_equal(ip_prefix_parse("10.3.0.0/16", &p), 0);
	assert_false(mirror_is_watched(mirror, &p));
}

static void test_neighbour_needs_its_network(void **)
{
	two_links();
	feed_neigh(LAN, "192.0.2.5", NUD_REACHABLE, 5); // not on that link
	expect("192.0.2.5", "resolve 1 none");
	feed_neigh(LAN, "10.1.0.5", NUD_REACHABLE, 5);
	expect("10.1.0.5", "link 2 ..05 from ..a2");
	ROUTE("10.1.0.5/32", .dev = TUN); // moved behind the tunnel
	expect("10.1.0.5", "tunnel");
	NO_ROUTE("10.1.0.5/32", .dev = TUN);
	expect("10.1.0.5", "link 2 ..05 from ..a2");
	ROUTE("10.1.0.0/28", .via = "192.0.2.2", .dev = WAN); // its part of the network moved
	expect("10.1.0.5", "resolve 1 192.0.2.2");
	NO_ROUTE("10.1.0.0/28", .via = "192.0.2.2", .dev = WAN);
	expect("10.1.0.5", "link 2 ..05 from ..a2");
	NO_ROUTE("10.1.0.0/24", .dev = LAN);
	expect("10.1.0.5", "none");
	ROUTE("10.1.0.5/32", .dev = LAN); // as clouds have it
	expect("10.1.0.5", "link 2 ..05 from ..a2");
	feed_neigh(WAN, "fe80::5", NUD_REACHABLE, 6);
	expect("fe80::5", "none");
	ROUTE("2001:db8:5::/48", .via = "fe80::5", .dev = WAN);
	expect("2001:db8:5::1", "link 1 ..06 from ..a1");
	feed_neigh(OTHER, "2001:db8::9", NUD_REACHABLE, 7);
	expect("2001:db8::9", "resolve 1 none");
}

static void test_best_route(void **)
{
	two_links();
	ROUTE("10.0.0.0/8", .dev = OTHER, .metric = 200);
	ROUTE("10.0.0.0/8", .via = "192.0.2.2", .dev = WAN, .metric = 100);
	ROUTE("10.0.0.0/8", .dev = TUN, .metric = 300);
	expect("10.9.9.9", "resolve 1 192.0.2.2");
	NO_ROUTE("10.0.0.0/8", .via = "192.0.2.9", .dev = WAN, .metric = 100); // not that one
	NO_ROUTE("10.0.0.0/8", .via = "192.0.2.2", .dev = WAN, .metric = 101);
	expect("10.9.9.9", "resolve 1 192.0.2.2");
	NO_ROUTE("10.0.0.0/8", .via = "192.0.2.2", .dev = WAN, .metric = 100);
	expect("10.9.9.9", "kernel");
	ROUTE("10.0.0.0/8", .dev = OTHER, .metric = 200, .flags = RTNH_F_DEAD);
	expect("10.9.9.9", "tunnel");
	ROUTE("10.0.0.0/8", .type = RTN_LOCAL, .table = RT_TABLE_LOCAL, .metric = 999);
	expect("10.9.9.9", "local");
	NO_ROUTE("10.0.0.0/8", .type = RTN_LOCAL, .table = RT_TABLE_LOCAL, .metric = 999);
	NO_ROUTE("10.0.0.0/8", .dev = TUN, .metric = 300);
	expect("10.9.9.9", "none");
	struct mirror_stats stats;
	mirror_stats(mirror, &stats);
	assert_int_equal(stats.routes, 3);
	assert_int_equal(stats.malformed, 0);
}

static void test_recorded_scenario(void **)
{
	feed_recorded("ip link set wan up", 0);
	for (unsigned i = 0; i < 4; i++)
		feed_recorded("ip addr add 192.0.2.1/24 dev wan", i);
	feed_recorded("ip route add 10.5.0.0/16 via 192.0.2.2 mtu 1300", 0);
	expect("10.5.0.1", "resolve 1 192.0.2.2");
	struct ip_addr a = addr("10.5.0.1"), source;
	assert_int_equal(fib_lookup(fib, &a)->mtu, 1300);
	feed_recorded("ip route replace 10.5.0.0/16 via 192.0.2.3", 0);
	expect("10.5.0.1", "resolve 1 192.0.2.3");
	assert_int_equal(fib_lookup(fib, &a)->mtu, 1400); // the link's
	feed_recorded(
		"ip route add 10.6.0.0/16 nexthop via 192.0.2.2 dev wan nexthop via 192.0.2.3 "
		"dev wan",
		0);
	expect("10.6.0.1", "resolve 1 192.0.2.2");
	feed_recorded("ip neigh add 192.0.2.2 lladdr 02:00:00:00:00:02 dev wan nud reachable", 0);
	expect("10.6.0.1", "link 1 ..02 from ..01");
	feed_recorded("ip route add 10.7.0.0/16 via inet6 2001:db8::2 dev wan", 0);
	expect("10.7.0.1", "resolve 1 2001:db8::2");
	feed_recorded("ip neigh add 2001:db8::2 lladdr 02:00:00:00:00:22 dev wan nud permanent", 0);
	expect("10.7.0.1", "link 1 ..22 from ..01");
	feed_recorded("ip route add default via 192.0.2.2 src 192.0.2.9 metric 50", 0);
	a = addr("8.8.8.8");
	assert_int_equal(mirror_source(mirror, &a, &source), 0);
	a = addr("192.0.2.9");
	assert_true(ip_addr_equal(&a, &source));
	feed_recorded("ip route del 10.6.0.0/16", 0);
	expect("10.6.0.1", "link 1 ..02 from ..01"); // the default route
	feed_recorded("ip neigh del 192.0.2.2 dev wan", 0);
	feed_recorded("ip neigh del 192.0.2.2 dev wan", 1);
	expect("10.6.0.1", "resolve 1 192.0.2.2");
	feed_recorded("ip link del wan", 0);
	assert_null(mirror_link(mirror, WAN));
}

struct source_case {
	const char *to;
	const char *source; // NULL: error
	int error;
};

static void test_source(void **)
{
	static const struct source_case cases[] = {
		{"192.0.2.77", "192.0.2.1", 0},
		{"198.51.100.77", "198.51.100.1", 0}, // the address in its network
		{"203.0.113.1", "198.51.100.1", 0},   // in the gateway's network
		{"10.1.0.77", "192.0.2.1", 0},	      // borrowed: the LAN has none
		{"127.0.0.1", "127.0.0.1", 0},
		{"10.2.0.1", NULL, -ENETUNREACH},
		{"10.3.0.1", NULL, -ENETUNREACH},
		{"172.16.0.1", NULL, -ENETUNREACH},
		{"2001:db8::77", "2001:db8::1", 0},
		{"2001:db8:1::77", "2001:db8:1::1", 0},
		{"fe80::77", "fe80::1", 0},
		{"2001:db8:f::1", NULL, -ENETUNREACH},
	};
	two_links();
	feed_addr(WAN, "192.0.2.1/24", RT_SCOPE_UNIVERSE, IFA_F_PERMANENT);
	feed_addr(WAN, "192.0.2.9/24", RT_SCOPE_UNIVERSE, IFA_F_SECONDARY);
	feed_addr(WAN, "198.51.100.1/24", RT_SCOPE_UNIVERSE, IFA_F_PERMANENT);
	feed_addr(WAN, "fe80::1/64", RT_SCOPE_LINK, IFA_F_PERMANENT);
	feed_addr(WAN, "2001:db8::1/64", RT_SCOPE_UNIVERSE, IFA_F_PERMANENT);
	feed_addr(WAN, "2001:db8::2/64", RT_SCOPE_UNIVERSE, IFA_F_TENTATIVE);
	feed_addr(WAN, "2001:db8:1::1/64", RT_SCOPE_UNIVERSE, IFA_F_PERMANENT);
	feed_addr(1, "127.0.0.1/8", RT_SCOPE_HOST, IFA_F_PERMANENT);
	ROUTE("198.51.100.0/24", .dev = WAN);
	ROUTE("203.0.113.0/24", .via = "198.51.100.7", .dev = WAN);
	ROUTE("2001:db8:1::/64", .dev = WAN);
	ROUTE("fe80::/64", .dev = WAN);
	ROUTE("127.0.0.0/8", .dev = 1, .type = RTN_LOCAL, .table = RT_TABLE_LOCAL);
	ROUTE("10.2.0.0/16", .type = RTN_BLACKHOLE);
	ROUTE("10.3.0.0/16", .type = RTN_UNREACHABLE);
	for (size_t i = 0; i < RTE_DIM(cases); i++) {
		struct ip_addr to = addr(cases[i].to), got = {0};
		char text[ADDR_TEXT_LEN];
		if (mirror_source(mirror, &to, &got) != cases[i].error)
			fail_msg("%s", cases[i].to);
		if (cases[i].source)
			assert_string_equal(ip_addr_format(&got, text), cases[i].source);
	}
	struct ip_addr got, want = addr("192.0.2.1");
	assert_true(mirror_port_addr(mirror, WAN, IP_V4, &got));
	assert_true(ip_addr_equal(&got, &want));
	want = addr("2001:db8::1");
	assert_true(mirror_port_addr(mirror, WAN, IP_V6, &got));
	assert_true(ip_addr_equal(&got, &want));
	assert_false(mirror_port_addr(mirror, LAN, IP_V4, &got));
	assert_false(mirror_port_addr(mirror, 99, IP_V4, &got));
}

static void test_bad_datagrams(void **)
{
	uint8_t bytes[64] = {0};
	struct mirror_stats stats;
	mirror_feed(mirror, bytes, sizeof(bytes));
	mirror_feed(mirror, bytes, 3);
	mirror_feed(mirror, bytes, 0);
	mirror_stats(mirror, &stats);
	assert_int_equal(stats.malformed, 2);
	assert_int_equal(stats.messages, 0);
	assert_int_equal(changes, 0);
	assert_int_equal(fib_count(fib), 0);
}

// -- the table that is asked first ----------------------------------------------------------------

static const char *beside_tunnel(const char *to)
{
	struct nexthop nh;
	struct ip_addr a = addr(to), from;
	char text[ADDR_TEXT_LEN];
	static char way[64];
	if (!mirror_underlay(mirror, &a, &nh) || mirror_source(mirror, &a, &from) < 0)
		return "none";
	snprintf(way, sizeof(way), "%u from %s", nh.port, ip_addr_format(&from, text));
	return way;
}

// What the table that is asked first says wins, however long main's prefixes are.
static void test_first_table(void **)
{
	two_links();
	feed_addr(WAN, "192.0.2.1/24", RT_SCOPE_UNIVERSE, 0);
	feed_neigh(LAN, "10.1.0.5", NUD_REACHABLE, 5);
	ROUTE("192.0.2.1/32", .dev = WAN, .type = RTN_LOCAL, .table = RT_TABLE_LOCAL);
	ROUTE("127.0.0.0/8", .dev = 1, .type = RTN_LOCAL, .table = RT_TABLE_LOCAL);
	ROUTE("0.0.0.0/0", .via = "192.0.2.2", .dev = WAN);
	ROUTE("127.5.0.0/16", .dev = WAN); // never asked
	ROUTE("10.1.7.0/24", .via = "10.1.0.5", .dev = LAN);
	ROUTE("8.8.0.0/16", .type = RTN_BLACKHOLE);
	expect("127.5.0.1", "local");
	expect("10.1.0.5", "link 2 ..05 from ..a2");

	ROUTE("10.0.0.0/8", .dev = TUN, .table = FIRST); // over two of main
	expect("10.1.0.5", "tunnel");
	expect("10.1.7.1", "tunnel");
	expect("10.2.0.1", "tunnel");
	expect("9.9.9.9", "resolve 1 192.0.2.2");
	ROUTE("10.1.0.0/24", .type = RTN_THROW, .table = FIRST); // the one stays outside
	expect("10.1.0.5", "link 2 ..05 from ..a2");
	expect("10.1.0.6", "resolve 2 none");
	expect("10.1.7.1", "tunnel");
	ROUTE("10.1.0.128/25", .dev = TUN, .table = FIRST); // but for half of it
	expect("10.1.0.129", "tunnel");
	expect("10.1.0.5", "link 2 ..05 from ..a2");

	ROUTE("0.0.0.0/0", .dev = TUN, .table = FIRST); // everything
	expect("9.9.9.9", "tunnel");
	expect("8.8.8.8", "tunnel");
	expect("192.0.2.2", "tunnel");
	expect("192.0.2.1", "local");
	expect("127.5.0.1", "local");
	expect("10.1.0.6", "resolve 2 none");
	assert_string_equal(beside_tunnel("9.9.9.9"), "1 from 192.0.2.1");
	assert_string_equal(beside_tunnel("8.8.8.8"), "none");
	assert_string_equal(beside_tunnel("10.1.7.1"), "2 from 192.0.2.1"); // borrowed
	ROUTE("8.8.0.0/16", .via = "192.0.2.2", .dev = WAN, .metric = 7);   // comes under it
	expect("8.8.8.8", "tunnel");
	ROUTE("10.3.0.0/16", .type = RTN_THROW, .table = FIRST);
	expect("10.3.0.1", "resolve 1 192.0.2.2"); // main's default route
	NO_ROUTE("0.0.0.0/0", .via = "192.0.2.2", .dev = WAN);
	expect("10.3.0.1", "reject");

	NO_ROUTE("0.0.0.0/0", .dev = TUN, .table = FIRST);
	NO_ROUTE("10.0.0.0/8", .dev = TUN, .table = FIRST);
	NO_ROUTE("10.1.0.0/24", .type = RTN_THROW, .table = FIRST);
	NO_ROUTE("10.1.0.128/25", .dev = TUN, .table = FIRST);
	NO_ROUTE("10.3.0.0/16", .type = RTN_THROW, .table = FIRST);
	expect("10.1.0.5", "link 2 ..05 from ..a2");
	expect("10.1.0.129", "resolve 2 none");
	expect("10.1.7.1", "link 2 ..05 from ..a2");
	expect("8.8.8.8", "drop");
	expect("9.9.9.9", "none");
	expect("10.3.0.1", "none");
}

// More changes than are kept one by one.
static void test_many_of_first_table(void **)
{
	char text[2][32];
	two_links();
	for (int i = 0; i < 200; i++) {
		snprintf(text[0], sizeof(text[0]), "20.%d.3.0/24", i);
		ROUTE(text[0], .dev = LAN);
	}
	struct rtmsg *m;
	struct builder b;
	uint8_t all[200 * 64];
	size_t len = 0;
	for (int i = 0; i < 200; i++) { // in one wake-up
		struct ip_prefix p;
		snprintf(text[1], sizeof(text[1]), "20.%d.0.0/16", i);
		assert_int_equal(ip_prefix_parse(text[1], &p), 0);
		m = begin(&b, RTM_NEWROUTE, sizeof(*m));
		m->rtm_family = AF_INET;
		m->rtm_dst_len = p.len;
		m->rtm_table = FIRST;
		m->rtm_type = RTN_UNICAST;
		put_addr(&b, RTA_DST, &p.addr);
		mnl_attr_put_u32(b.nh, RTA_OIF, TUN);
		assert_true(len + b.nh->nlmsg_len <= sizeof(all));
		memcpy(all + len, b.nh, b.nh->nlmsg_len);
		len += b.nh->nlmsg_len;
	}
	mirror_feed(mirror, all, len);
	for (int i = 0; i < 200; i++) {
		snprintf(text[0], sizeof(text[0]), "20.%d.3.1", i);
		expect(text[0], "tunnel");
	}
	assert_int_equal(fib_count(fib), 3 + 400);
}

static void test_rule_gone(void **)
{
	struct builder b;
	begin(&b, RTM_NEWRULE, sizeof(struct rtmsg));
	feed(&b);
	assert_int_equal(rules_gone, 0);
	begin(&b, RTM_DELRULE, sizeof(struct rtmsg));
	feed(&b);
	assert_int_equal(rules_gone, 1);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(test_route_types),
		CASE(test_gateway_comes_and_goes),
		CASE(test_neighbour_needs_its_network),
		CASE(test_best_route),
		CASE(test_first_table),
		CASE(test_many_of_first_table),
		CASE(test_rule_gone),
		CASE(test_watched),
		CASE(test_recorded_scenario),
		CASE(test_source),
		CASE(test_bad_datagrams),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
