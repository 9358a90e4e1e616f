// A mirror of the kernel's tables under test, fed with messages; what the FIB says afterwards.
#pragma once

#include "control/kernel/mirror.h"
#include "dataplane/table/lookup.h"
#include "tests/unit/rtnetlink.h"

#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

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

static inline uint16_t port_of(void *, uint32_t ifindex)
{
	return ifindex == WAN ? 1 : ifindex == LAN ? 2 : PORT_NONE;
}

static inline void on_change(void *, uint32_t generation)
{
	changes++;
	last_generation = generation;
}

static inline void on_neigh(void *, const struct ip_addr *a, uint32_t)
{
	neigh_events++;
	last_neigh = *a;
}

static inline void on_rule_gone(void *)
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

static inline int setup(void **)
{
	changes = neigh_events = rules_gone = 0;
	rcu = rcu_create();
	fib = fib_create(rcu);
	mirror = mirror_create(NULL, fib, &env);
	return fib && mirror ? 0 : -1;
}

static inline int teardown(void **)
{
	mirror_destroy(mirror);
	fib_destroy(fib);
	rcu_destroy(rcu);
	return 0;
}

// -- the mirror, fed with messages ----------------------------------------------------------------

static inline void feed_recorded(const char *command, unsigned nth)
{
	alignas(8) uint8_t bytes[MESSAGE_MAX];
	size_t len = message_of(command, nth, bytes);
	mirror_feed(mirror, bytes, len);
}

static inline void feed(struct builder *b)
{
	mirror_feed(mirror, b->bytes, b->nh->nlmsg_len);
}

static inline void feed_link(uint32_t ifindex, uint32_t mtu, uint8_t mac_end)
{
	struct builder b;
	put_link(&b, ifindex, mtu, mac_end, true);
	feed(&b);
}

static inline void feed_neigh(uint32_t ifindex, const char *text, uint16_t state, uint8_t mac_end)
{
	struct builder b;
	put_neigh(&b, ifindex, text, state, mac_end);
	feed(&b);
}

static inline void feed_addr(uint32_t ifindex, const char *text, uint8_t scope, uint32_t flags)
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

static inline void feed_route(uint16_t message_type, const struct route *r)
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
static inline const char *way(const char *to)
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

static inline void two_links(void)
{
	feed_link(WAN, 1500, 0xa1);
	feed_link(LAN, 9000, 0xa2);
	ROUTE("192.0.2.0/24", .dev = WAN);
	ROUTE("10.1.0.0/24", .dev = LAN);
	ROUTE("2001:db8::/64", .dev = WAN);
}
