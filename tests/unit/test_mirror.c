#include "control/kernel/mirror.h"
#include "dataplane/table/lookup.h"
#include "tests/unit/rtnetlink.h"

#include <errno.h>
#include <event2/event.h>
#include <libmnl/libmnl.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <unistd.h>

enum {
	WAN = 3, // interface of port 1, as in the recording
	LAN = 4, // interface of port 2
	TUN = 5,
	OTHER = 6, // no port
};

static struct rcu *rcu;
static struct fib *fib;
static struct mirror *mirror;
static uint32_t changes, last_generation, neigh_events, rules_gone;
static struct ip_addr last_neigh;

static uint16_t port_of(void *, uint32_t ifindex)
{
	return ifindex == WAN ? 1 : ifindex == LAN ? 2 : PORT_NONE;
}

static void on_change(void *, uint32_t generation)
{
	changes++;
	last_generation = generation;
}

static void on_neigh(void *, const struct ip_addr *a, uint32_t)
{
	neigh_events++;
	last_neigh = *a;
}

static void on_rule_gone(void *)
{
	rules_gone++;
}

enum { FIRST = 52 };

static const struct mirror_env env = {.tunnel_ifindex = TUN,
	.first_table = FIRST,
	.port_of = port_of,
	.on_change = on_change,
	.on_neigh = on_neigh,
	.on_rule_gone = on_rule_gone};

static int setup(void **)
{
	changes = neigh_events = rules_gone = 0;
	rcu = rcu_create();
	fib = fib_create(rcu);
	mirror = mirror_create(NULL, fib, &env);
	return fib && mirror ? 0 : -1;
}

static int teardown(void **)
{
	mirror_destroy(mirror);
	fib_destroy(fib);
	rcu_destroy(rcu);
	return 0;
}

static struct ip_addr addr(const char *text)
{
	struct ip_addr a;
	if (ip_addr_parse(text, &a) < 0)
		fail_msg("%s", text);
	return a;
}

// -- the mirror, fed with messages ----------------------------------------------------------------

static void feed_recorded(const char *command, unsigned nth)
{
	alignas(8) uint8_t bytes[MESSAGE_MAX];
	size_t len = message_of(command, nth, bytes);
	mirror_feed(mirror, bytes, len);
}

struct builder {
	alignas(8) uint8_t bytes[MESSAGE_MAX];
	struct nlmsghdr *nh;
};

static void *begin(struct builder *b, uint16_t type, size_t fixed)
{
	b->nh = mnl_nlmsg_put_header(b->bytes);
	b->nh->nlmsg_type = type;
	return mnl_nlmsg_put_extra_header(b->nh, fixed);
}

static void put_addr(struct builder *b, uint16_t type, const struct ip_addr *a)
{
	mnl_attr_put(b->nh, type, ip_addr_bits(a) / 8, a->bytes);
}

static void feed(struct builder *b)
{
	mirror_feed(mirror, b->bytes, b->nh->nlmsg_len);
}

static void feed_link(uint32_t ifindex, uint32_t mtu, uint8_t mac_end)
{
	struct builder b;
	uint8_t mac[6] = {2, 0, 0, 0, 0, mac_end};
	struct ifinfomsg *m = begin(&b, RTM_NEWLINK, sizeof(*m));
	m->ifi_index = (int)ifindex;
	m->ifi_flags = IFF_UP;
	mnl_attr_put_strz(b.nh, IFLA_IFNAME, "x");
	mnl_attr_put_u32(b.nh, IFLA_MTU, mtu);
	mnl_attr_put(b.nh, IFLA_ADDRESS, sizeof(mac), mac);
	feed(&b);
}

static void feed_neigh(uint32_t ifindex, const char *text, uint16_t state, uint8_t mac_end)
{
	struct builder b;
	uint8_t mac[6] = {6, 0, 0, 0, 0, mac_end};
	struct ip_addr a = addr(text);
	struct ndmsg *m = begin(&b, RTM_NEWNEIGH, sizeof(*m));
	m->ndm_family = a.family == IP_V4 ? AF_INET : AF_INET6;
	m->ndm_ifindex = (int)ifindex;
	m->ndm_state = state;
	put_addr(&b, NDA_DST, &a);
	mnl_attr_put(b.nh, NDA_LLADDR, sizeof(mac), mac);
	feed(&b);
}

static void feed_addr(uint32_t ifindex, const char *text, uint8_t scope, uint32_t flags)
{
	struct builder b;
	struct ip_ifaddr a;
	assert_int_equal(ip_ifaddr_parse(text, &a), 0);
	struct ifaddrmsg *m = begin(&b, RTM_NEWADDR, sizeof(*m));
	m->ifa_family = a.addr.family == IP_V4 ? AF_INET : AF_INET6;
	m->ifa_index = ifindex;
	m->ifa_prefixlen = a.len;
	m->ifa_scope = scope;
	put_addr(&b, a.addr.family == IP_V4 ? IFA_LOCAL : IFA_ADDRESS, &a.addr);
	mnl_attr_put_u32(b.nh, IFA_FLAGS, flags);
	feed(&b);
}

struct route {
	const char *dst;
	const char *via; // NULL: on-link
	uint32_t dev;
	uint32_t metric;
	uint8_t type;  // 0: unicast
	uint8_t table; // 0: main
	unsigned flags;
	uint8_t protocol;
};

static void feed_route(uint16_t message_type, const struct route *r)
{
	struct builder b;
	struct ip_prefix dst;
	assert_int_equal(ip_prefix_parse(r->dst, &dst), 0);
	struct rtmsg *m = begin(&b, message_type, sizeof(*m));
	m->rtm_family = dst.addr.family == IP_V4 ? AF_INET : AF_INET6;
	m->rtm_dst_len = dst.len;
	m->rtm_table = r->table ? r->table : RT_TABLE_MAIN;
	m->rtm_type = r->type ? r->type : RTN_UNICAST;
	m->rtm_flags = r->flags;
	m->rtm_protocol = r->protocol;
	put_addr(&b, RTA_DST, &dst.addr);
	if (r->via) {
		struct ip_addr a = addr(r->via);
		put_addr(&b, RTA_GATEWAY, &a);
	}
	mnl_attr_put_u32(b.nh, RTA_OIF, r->dev);
	mnl_attr_put_u32(b.nh, RTA_PRIORITY, r->metric);
	feed(&b);
}

#define ROUTE(...) feed_route(RTM_NEWROUTE, &(struct route){__VA_ARGS__})
#define NO_ROUTE(...) feed_route(RTM_DELROUTE, &(struct route){__VA_ARGS__})

// "link 1 ..02", "resolve 1 192.0.2.2", "tunnel": what the FIB says of an address.
static const char *way(const char *to)
{
	static const char *const names[NH_TYPE_COUNT] = {
		"drop", "reject", "local", "tunnel", "link", "resolve", "vxlan", "kernel"};
	static char text[128];
	char gateway[ADDR_TEXT_LEN];
	struct ip_addr a = addr(to);
	const struct nexthop *h = fib_lookup(fib, &a);
	if (!h)
		return "none";
	if (h->type == NH_LINK)
		snprintf(text, sizeof(text), "link %u ..%02x from ..%02x", h->port, h->l2[5],
			h->l2[11]);
	else if (h->type == NH_RESOLVE)
		snprintf(text, sizeof(text), "resolve %u %s", h->port,
			ip_addr_format(&h->gateway, gateway));
	else
		snprintf(text, sizeof(text), "%s", names[h->type]);
	return text;
}

#define expect(to, text) assert_string_equal(way(to), text)

static void two_links(void)
{
	feed_link(WAN, 1500, 0xa1);
	feed_link(LAN, 9000, 0xa2);
	ROUTE("192.0.2.0/24", .dev = WAN);
	ROUTE("10.1.0.0/24", .dev = LAN);
	ROUTE("2001:db8::/64", .dev = WAN);
}

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

// -- beside a real kernel, in a network namespace of our own --------------------------------------

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

// Let the loop run until the FIB says so, 5 s at most.
static void wait_way(const char *to, const char *text)
{
	for (int i = 0; i < 500 && strcmp(way(to), text) != 0; i++) {
		event_base_loop(base, EVLOOP_NONBLOCK);
		usleep(10000);
	}
	expect(to, text);
}

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
	for (int i = 0; i < 500 && rules_gone < 3; i++) {
		event_base_loop(base, EVLOOP_NONBLOCK);
		usleep(10000);
	}
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
	for (int i = 0; i < 500 && mirror_link(mirror, wan_ifindex)->mtu != 1300; i++) {
		event_base_loop(base, EVLOOP_NONBLOCK);
		usleep(10000);
	}
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
	for (int i = 0; i < 500 && mirror_link(mirror, wan_ifindex); i++) {
		event_base_loop(base, EVLOOP_NONBLOCK);
		usleep(10000);
	}
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
	for (int i = 0; i < 50; i++) {
		event_base_loop(base, EVLOOP_NONBLOCK);
		usleep(10000);
	}
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
		CASE(test_live),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
