// What the mirror makes of the kernel's VXLAN devices and their forwarding databases.
#include "control/kernel/mirror.h"
#include "dataplane/table/lookup.h"
#include "tests/unit/rtnetlink.h"

#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

enum {
	WAN = 3, // interface of port 1
	LAN = 4, // of port 2
	TUN = 5,
	OTHER = 6, // no port
	VX = 7,
	BRIDGE = 8,
	LOCAL = 9, // another port of the bridge
	VRF = 10,
};

static struct rcu *rcu;
static struct fib *fib;
static struct mirror *mirror;

static uint16_t port_of(void *, uint32_t ifindex)
{
	return ifindex == WAN ? 1 : ifindex == LAN ? 2 : PORT_NONE;
}

static void on_change(void *, uint32_t)
{
}

// -- messages -------------------------------------------------------------------------------------

static void feed(struct builder *b)
{
	mirror_feed(mirror, b->bytes, b->nh->nlmsg_len);
}

static void feed_link(uint32_t ifindex, uint8_t mac_end)
{
	struct builder b;
	put_link(&b, ifindex, 1500, mac_end, true);
	feed(&b);
}

static void feed_neigh(uint32_t ifindex, const char *text, uint16_t state, uint8_t mac_end)
{
	struct builder b;
	put_neigh(&b, ifindex, text, state, mac_end);
	feed(&b);
}

// to: a prefix; via NULL: on-link
static void feed_route(uint16_t type, const char *to, const char *via, uint32_t dev)
{
	struct builder b;
	struct ip_prefix dst;
	assert_int_equal(ip_prefix_parse(to, &dst), 0);
	struct rtmsg *m = begin(&b, type, sizeof(*m));
	m->rtm_family = dst.addr.family == IP_V4 ? AF_INET : AF_INET6;
	m->rtm_dst_len = dst.len;
	m->rtm_table = RT_TABLE_MAIN;
	m->rtm_type = RTN_UNICAST;
	put_addr(&b, RTA_DST, &dst.addr);
	if (via) {
		struct ip_addr a = addr(via);
		put_addr(&b, RTA_GATEWAY, &a);
	}
	mnl_attr_put_u32(b.nh, RTA_OIF, dev);
	feed(&b);
}

struct vx { // 0: as usual
	uint32_t underlay, master, vni;
	uint16_t port;
	bool down, external;
};

static void feed_vxlan(const struct vx *v)
{
	struct builder b;
	uint8_t local[4] = {192, 0, 2, 1};
	put_link(&b, VX, 1450, 0xb1, !v->down);
	if (v->master)
		mnl_attr_put_u32(b.nh, IFLA_MASTER, v->master);
	struct nlattr *info = mnl_attr_nest_start(b.nh, IFLA_LINKINFO);
	mnl_attr_put_strz(b.nh, IFLA_INFO_KIND, "vxlan");
	struct nlattr *data = mnl_attr_nest_start(b.nh, IFLA_INFO_DATA);
	mnl_attr_put_u32(b.nh, IFLA_VXLAN_ID, v->vni ? v->vni : 100);
	mnl_attr_put_u32(b.nh, IFLA_VXLAN_LINK, v->underlay);
	mnl_attr_put(b.nh, IFLA_VXLAN_LOCAL, sizeof(local), local);
	mnl_attr_put_u16(b.nh, IFLA_VXLAN_PORT, rte_cpu_to_be_16(v->port ? v->port : 4789));
	mnl_attr_put_u8(b.nh, IFLA_VXLAN_COLLECT_METADATA, v->external);
	mnl_attr_nest_end(b.nh, data);
	mnl_attr_nest_end(b.nh, info);
	feed(&b);
}

#define VXLAN(...) feed_vxlan(&(struct vx){__VA_ARGS__})

// mac_end 0: whatever is not known
static void feed_fdb(uint16_t type, uint8_t mac_end, const char *remote, uint16_t port)
{
	struct builder b;
	uint8_t mac[6] = {mac_end ? 6 : 0, 0, 0, 0, 0, mac_end};
	struct ip_addr a = addr(remote);
	struct ndmsg *m = begin(&b, type, sizeof(*m));
	m->ndm_family = AF_BRIDGE;
	m->ndm_ifindex = VX;
	m->ndm_flags = NTF_SELF;
	m->ndm_state = NUD_PERMANENT;
	mnl_attr_put(b.nh, NDA_LLADDR, sizeof(mac), mac);
	put_addr(&b, NDA_DST, &a);
	if (port)
		mnl_attr_put_u16(b.nh, NDA_PORT, rte_cpu_to_be_16(port));
	feed(&b);
}

struct bridge { // 0: as usual
	uint32_t ifindex, master;
	bool down, vlan_aware, stp;
};

static void feed_bridge(const struct bridge *v)
{
	struct builder b;
	put_link(&b, v->ifindex ? v->ifindex : BRIDGE, 1500, 0xb8, !v->down);
	if (v->master)
		mnl_attr_put_u32(b.nh, IFLA_MASTER, v->master);
	struct nlattr *info = mnl_attr_nest_start(b.nh, IFLA_LINKINFO);
	mnl_attr_put_strz(b.nh, IFLA_INFO_KIND, "bridge");
	struct nlattr *data = mnl_attr_nest_start(b.nh, IFLA_INFO_DATA);
	mnl_attr_put_u8(b.nh, IFLA_BR_VLAN_FILTERING, v->vlan_aware);
	mnl_attr_put_u32(b.nh, IFLA_BR_STP_STATE, v->stp);
	mnl_attr_nest_end(b.nh, data);
	mnl_attr_nest_end(b.nh, info);
	feed(&b);
}

#define BRIDGED(...) feed_bridge(&(struct bridge){__VA_ARGS__})

// What the bridge has learned: that the MAC is behind the port.
static void feed_learned(uint16_t type, uint8_t mac_end, uint32_t port, uint16_t vlan)
{
	struct builder b;
	uint8_t mac[6] = {6, 0, 0, 0, 0, mac_end};
	struct ndmsg *m = begin(&b, type, sizeof(*m));
	m->ndm_family = AF_BRIDGE;
	m->ndm_ifindex = (int)port;
	m->ndm_state = NUD_REACHABLE;
	mnl_attr_put(b.nh, NDA_LLADDR, sizeof(mac), mac);
	mnl_attr_put_u32(b.nh, NDA_MASTER, BRIDGE);
	if (vlan)
		mnl_attr_put_u16(b.nh, NDA_VLAN, vlan);
	feed(&b);
}

static void feed_vlan(uint32_t ifindex, uint16_t vid, uint16_t flags)
{
	struct builder b;
	struct bridge_vlan_info tagged = {.vid = 7}, v = {.vid = vid, .flags = flags};
	struct ifinfomsg *m = begin(&b, RTM_NEWLINK, sizeof(*m));
	m->ifi_family = AF_BRIDGE;
	m->ifi_index = (int)ifindex;
	struct nlattr *spec = mnl_attr_nest_start(b.nh, IFLA_AF_SPEC);
	mnl_attr_put(b.nh, IFLA_BRIDGE_VLAN_INFO, sizeof(tagged), &tagged);
	if (vid)
		mnl_attr_put(b.nh, IFLA_BRIDGE_VLAN_INFO, sizeof(v), &v);
	mnl_attr_nest_end(b.nh, spec);
	feed(&b);
}

// -- what the workers are told --------------------------------------------------------------------

static const char *way(const char *to)
{
	static const char *const names[NH_TYPE_COUNT] = {
		[NH_RESOLVE] = "resolve", [NH_KERNEL] = "kernel", [NH_LINK] = "link"};
	static char text[64];
	struct ip_addr a = addr(to);
	const struct nexthop *h = fib_lookup(fib, &a);
	if (!h)
		return "none";
	if (h->type != NH_VXLAN)
		return names[h->type] ? names[h->type] : "other";
	snprintf(text, sizeof(text), "vxlan ..%02x from ..%02x%s", h->l2[5], h->l2[11],
		vtep_get(fib->vteps, h->vtep) ? "" : " nowhere");
	return text;
}

#define expect(to, text) assert_string_equal(way(to), text)

static const struct vtep *vtep_of(const char *to)
{
	struct ip_addr a = addr(to);
	const struct vtep *v = vtep_get(fib->vteps, fib_lookup(fib, &a)->vtep);
	assert_non_null(v);
	return v;
}

// A device in use, a neighbour in it with the MAC ..05, and what is known of its underlay.
static int setup(void **)
{
	static const struct mirror_env env = {
		.tunnel_ifindex = TUN, .port_of = port_of, .on_change = on_change};
	rcu = rcu_create();
	fib = fib_create(rcu);
	mirror = mirror_create(NULL, fib, &env);
	feed_link(WAN, 0xa1);
	feed_link(LAN, 0xa2);
	feed_route(RTM_NEWROUTE, "192.0.2.0/24", NULL, WAN);
	feed_route(RTM_NEWROUTE, "10.1.0.0/24", NULL, LAN);
	feed_neigh(WAN, "192.0.2.2", NUD_REACHABLE, 0x22);
	feed_neigh(WAN, "192.0.2.3", NUD_REACHABLE, 0x33);
	VXLAN(.underlay = WAN);
	feed_route(RTM_NEWROUTE, "10.50.0.0/24", NULL, VX);
	feed_route(RTM_NEWROUTE, "10.51.0.0/16", "10.50.0.5", VX);
	feed_neigh(VX, "10.50.0.5", NUD_PERMANENT, 5);
	return 0;
}

static int teardown(void **)
{
	mirror_destroy(mirror);
	fib_destroy(fib);
	rcu_destroy(rcu);
	return 0;
}

static void test_fdb(void **)
{
	expect("10.50.0.9", "resolve");
	expect("10.50.0.5", "kernel"); // nobody knows where the MAC is
	feed_fdb(RTM_NEWNEIGH, 5, "192.0.2.2", 0);
	expect("10.50.0.5", "vxlan ..05 from ..b1");
	expect("10.51.1.1", "vxlan ..05 from ..b1");
	feed_fdb(RTM_NEWNEIGH, 5, "192.0.2.3", 8472);
	expect("10.51.1.1", "vxlan ..05 from ..b1");
	feed_fdb(RTM_DELNEIGH, 5, "192.0.2.2", 0); // of where it was before
	expect("10.51.1.1", "vxlan ..05 from ..b1");
	feed_fdb(RTM_DELNEIGH, 5, "192.0.2.3", 8472);
	expect("10.51.1.1", "kernel");
	expect("10.50.0.5", "kernel");
}

static void test_outer_header(void **)
{
	feed_fdb(RTM_NEWNEIGH, 5, "192.0.2.2", 0);
	const struct vtep *v = vtep_of("10.51.1.1");
	assert_int_equal(v->port, 1);
	assert_int_equal(v->device, VX);
	assert_int_equal(v->mtu, 1500 - 50);
	assert_int_equal(v->outer_len, 14 + 20 + 8 + 8);
	const uint8_t *udp = v->outer + sizeof(v->outer) - 16, *ip = udp - 20, *l2 = ip - 14;
	assert_memory_equal(l2, "\6\0\0\0\0\x22\2\0\0\0\0\xa1\x08\0", 14);
	assert_memory_equal(ip + 12, "\xc0\0\2\1\xc0\0\2\2", 8);
	assert_memory_equal(udp + 2, "\x12\xb5", 2);
	assert_memory_equal(udp + 8, "\x08\0\0\0\0\0\x64\0", 8);
	feed_fdb(RTM_NEWNEIGH, 5, "192.0.2.3", 8472);
	v = vtep_of("10.51.1.1");
	udp = v->outer + sizeof(v->outer) - 16;
	assert_memory_equal(udp + 2, "\x21\x18", 2);
	assert_int_equal(*(udp - 1), 3);
}

static void test_default_remote(void **)
{
	feed_fdb(RTM_NEWNEIGH, 0, "192.0.2.2", 0);
	expect("10.50.0.5", "vxlan ..05 from ..b1");
	feed_fdb(RTM_NEWNEIGH, 0, "192.0.2.3", 0); // two: the kernel floods
	expect("10.50.0.5", "kernel");
	feed_fdb(RTM_NEWNEIGH, 5, "192.0.2.3", 0);
	expect("10.50.0.5", "vxlan ..05 from ..b1");
	feed_fdb(RTM_DELNEIGH, 5, "192.0.2.3", 0);
	feed_fdb(RTM_DELNEIGH, 0, "192.0.2.3", 0);
	expect("10.50.0.5", "vxlan ..05 from ..b1");
	feed_fdb(RTM_DELNEIGH, 0, "192.0.2.2", 0);
	feed_fdb(RTM_NEWNEIGH, 0, "239.1.1.1", 0); // a group
	expect("10.50.0.5", "kernel");
}

static void test_underlay_changes(void **)
{
	feed_fdb(RTM_NEWNEIGH, 5, "192.0.2.2", 0);
	expect("10.51.1.1", "vxlan ..05 from ..b1");
	feed_neigh(WAN, "192.0.2.2", NUD_FAILED, 0x22);
	expect("10.51.1.1", "vxlan ..05 from ..b1 nowhere");
	feed_neigh(WAN, "192.0.2.2", NUD_REACHABLE, 0x24);
	expect("10.51.1.1", "vxlan ..05 from ..b1");
	const struct vtep *v = vtep_of("10.51.1.1");
	assert_int_equal(v->outer[sizeof(v->outer) - 16 - 20 - 14 + 5], 0x24);
	feed_route(RTM_NEWROUTE, "192.0.2.2/32", NULL, TUN); // the kernel sends it into the tunnel
	expect("10.51.1.1", "vxlan ..05 from ..b1 nowhere");
	feed_route(RTM_DELROUTE, "192.0.2.2/32", NULL, TUN);
	feed_neigh(LAN, "10.1.0.9", NUD_REACHABLE, 9);
	feed_route(RTM_NEWROUTE, "192.0.2.2/32", "10.1.0.9", LAN); // another interface than its own
	expect("10.51.1.1", "vxlan ..05 from ..b1 nowhere");
}

static const struct {
	const char *why;
	struct vx v;
} left[] = {
	{"external", {.underlay = WAN, .external = true}},
	{"down", {.underlay = WAN, .down = true}},
	{"of something that is no bridge", {.underlay = WAN, .master = BRIDGE}},
	{"over an interface that is no port", {.underlay = OTHER}},
};

static void test_left_to_kernel(void **)
{
	struct mirror_vxlan v;
	feed_fdb(RTM_NEWNEIGH, 5, "192.0.2.2", 0);
	for (size_t i = 0; i < RTE_DIM(left); i++) {
		uint32_t at = 0;
		print_message("%s\n", left[i].why);
		feed_vxlan(&left[i].v);
		expect("10.51.1.1", "kernel");
		assert_null(vxlan_devices_get(fib->vteps));
		assert_true(mirror_vxlan_next(mirror, &at, &v));
		assert_non_null(v.left_because);
		VXLAN(.underlay = WAN);
		expect("10.51.1.1", "vxlan ..05 from ..b1");
		at = 0;
		assert_true(mirror_vxlan_next(mirror, &at, &v));
		assert_null(v.left_because);
		mirror_vxlan_count(mirror, &v);
		assert_int_equal(v.remotes, 1);
		assert_int_equal(v.reached, 1);
		assert_int_equal(v.macs, 1);
		assert_false(mirror_vxlan_next(mirror, &at, &v));
	}
}

static void test_devices(void **)
{
	const struct vxlan_devices *d = vxlan_devices_get(fib->vteps);
	assert_int_equal(vxlan_device_find(d, 100, 4789)->ifindex, VX);
	VXLAN(.underlay = WAN, .vni = 200, .port = 8472);
	d = vxlan_devices_get(fib->vteps);
	assert_null(vxlan_device_find(d, 100, 4789));
	assert_null(vxlan_device_find(d, 200, 4789));
	assert_int_equal(vxlan_device_find(d, 200, 8472)->ifindex, VX);
	assert_ptr_equal(vxlan_device_of(d, VX), vxlan_device_find(d, 200, 8472));
	assert_null(vxlan_device_of(d, WAN));
	assert_true(vxlan_is_port(d->ports, RTE_BE16(8472)));
	assert_false(vxlan_is_port(d->ports, RTE_BE16(4789)));
	feed_link(VX, 0xb1); // a device of another kind by that number
	assert_null(vxlan_devices_get(fib->vteps));
	expect("10.51.1.1", "kernel");
}

static void feed_many(uint16_t type, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		char text[32];
		snprintf(text, sizeof(text), "198.18.%u.%u", i / 250, i % 250 + 1);
		feed_fdb(type, 0, text, 0);
	}
}

// More remotes than there is room for: the kernel has the rest, and room comes back.
static void test_many_remotes(void **)
{
	enum { MORE = 5 };
	struct mirror_stats stats;
	feed_many(RTM_NEWNEIGH, VTEP_MAX - 1 + MORE);
	mirror_stats(mirror, &stats);
	assert_int_equal(stats.fib_errors, MORE);
	feed_fdb(RTM_NEWNEIGH, 5, "192.0.2.2", 0);
	expect("10.51.1.1", "kernel");
	feed_many(RTM_DELNEIGH, VTEP_MAX - 1 + MORE);
	mirror_stats(mirror, &stats);
	assert_int_equal(stats.fdb, 1);
	rcu_reclaim(rcu);
	feed_fdb(RTM_NEWNEIGH, 5, "192.0.2.2", 0);
	expect("10.51.1.1", "vxlan ..05 from ..b1");
}

// -- in a bridge ----------------------------------------------------------------------------------

static struct mirror_vxlan shown(void)
{
	struct mirror_vxlan v;
	uint32_t at = 0;
	assert_true(mirror_vxlan_next(mirror, &at, &v));
	mirror_vxlan_count(mirror, &v);
	return v;
}

// As above, but the device is a port of a bridge, which has the addresses and the neighbour.
static int setup_bridged(void **state)
{
	setup(state);
	BRIDGED();
	feed_link(LOCAL, 0xb9);
	VXLAN(.underlay = WAN, .master = BRIDGE);
	feed_route(RTM_NEWROUTE, "10.70.0.0/24", NULL, BRIDGE);
	feed_route(RTM_NEWROUTE, "10.71.0.0/16", "10.70.0.5", BRIDGE);
	feed_neigh(BRIDGE, "10.70.0.5", NUD_REACHABLE, 5);
	return 0;
}

static void test_bridged(void **)
{
	const char *ours = "vxlan ..05 from ..b8";
	const struct vxlan_devices *d = vxlan_devices_get(fib->vteps);
	assert_int_equal(vxlan_device_find(d, 100, 4789)->ifindex, BRIDGE);
	assert_int_equal(vxlan_device_find(d, 100, 4789)->mac[5], 0xb8);
	expect("10.51.1.1", "kernel"); // the device has no addresses of its own any more
	expect("10.70.0.9", "resolve");
	expect("10.71.1.1", "kernel");
	feed_fdb(RTM_NEWNEIGH, 5, "192.0.2.2", 0); // as written down; the bridge would flood
	expect("10.71.1.1", ours);
	expect("10.70.0.5", ours);
	feed_learned(RTM_NEWNEIGH, 5, LOCAL, 0); // it has moved to this host
	expect("10.71.1.1", "kernel");
	expect("10.70.0.5", "kernel");
	feed_learned(RTM_NEWNEIGH, 5, VX, 0);
	expect("10.71.1.1", ours);
	feed_learned(RTM_NEWNEIGH, 5, BRIDGE, 0); // an address of the bridge itself
	expect("10.71.1.1", "kernel");
	feed_learned(RTM_DELNEIGH, 5, LOCAL, 0); // of where it was before
	expect("10.71.1.1", "kernel");
	feed_learned(RTM_DELNEIGH, 5, BRIDGE, 0);
	expect("10.71.1.1", ours);
	feed_fdb(RTM_NEWNEIGH, 5, "192.0.2.3", 0);
	expect("10.71.1.1", ours);
	const struct vtep *v = vtep_of("10.71.1.1");
	assert_int_equal(v->outer[sizeof(v->outer) - 17], 3);
	assert_int_equal(shown().neighbours, 1);
	assert_int_equal(shown().routes, 2);
	assert_int_equal(shown().seat->ifindex, BRIDGE);
	assert_int_equal(shown().underlay->ifindex, WAN);
	feed_fdb(RTM_DELNEIGH, 5, "192.0.2.3", 0);
	expect("10.71.1.1", "kernel");
}

// The MTU of the device counts, too: the bridge's may be larger.
static void test_bridged_mtu(void **)
{
	struct ip_addr a = addr("10.71.1.1");
	feed_fdb(RTM_NEWNEIGH, 5, "192.0.2.2", 0);
	assert_int_equal(fib_lookup(fib, &a)->mtu, 1450);
}

// Whatever is not known goes to a single remote: only what the bridge sends to the device.
static void test_bridged_default(void **)
{
	feed_fdb(RTM_NEWNEIGH, 0, "192.0.2.2", 0);
	expect("10.71.1.1", "kernel"); // the bridge sends it everywhere
	feed_learned(RTM_NEWNEIGH, 5, VX, 0);
	expect("10.71.1.1", "vxlan ..05 from ..b8");
	feed_learned(RTM_NEWNEIGH, 5, VX, 7); // in another VLAN: says nothing of this one
	feed_learned(RTM_NEWNEIGH, 5, LOCAL, 8);
	expect("10.71.1.1", "vxlan ..05 from ..b8");
	feed_learned(RTM_DELNEIGH, 5, VX, 0);
	expect("10.71.1.1", "kernel");
}

// What FRR writes down for what EVPN tells it; a group's entry is no machine's.
static void test_noarp(void **)
{
	feed_neigh(BRIDGE, "10.70.0.6", NUD_NOARP, 6);
	feed_fdb(RTM_NEWNEIGH, 6, "192.0.2.2", 0);
	expect("10.70.0.6", "vxlan ..06 from ..b8");
	struct builder b;
	struct ip_addr a = addr("10.70.0.255");
	struct ndmsg *m = begin(&b, RTM_NEWNEIGH, sizeof(*m));
	m->ndm_family = AF_INET;
	m->ndm_ifindex = BRIDGE;
	m->ndm_state = NUD_NOARP;
	put_addr(&b, NDA_DST, &a);
	mnl_attr_put(b.nh, NDA_LLADDR, 6, "\xff\xff\xff\xff\xff\xff");
	feed(&b);
	expect("10.70.0.255", "resolve");
}

// A MAC behind a group of next hops (EVPN multihoming): the kernel chooses.
static void test_next_hop_group(void **)
{
	uint8_t mac[6] = {6, 0, 0, 0, 0, 5};
	feed_fdb(RTM_NEWNEIGH, 0, "192.0.2.2", 0);
	feed_learned(RTM_NEWNEIGH, 5, VX, 0);
	expect("10.71.1.1", "vxlan ..05 from ..b8");
	for (unsigned i = 0; i < 2; i++) {
		struct builder b;
		struct ndmsg *m = begin(&b, i ? RTM_DELNEIGH : RTM_NEWNEIGH, sizeof(*m));
		m->ndm_family = AF_BRIDGE;
		m->ndm_ifindex = VX;
		m->ndm_flags = NTF_SELF;
		mnl_attr_put(b.nh, NDA_LLADDR, sizeof(mac), mac);
		mnl_attr_put_u32(b.nh, NDA_NH_ID, 12);
		feed(&b);
		expect("10.71.1.1", i ? "vxlan ..05 from ..b8" : "kernel");
	}
}

enum { UNTAGGED = BRIDGE_VLAN_INFO_PVID | BRIDGE_VLAN_INFO_UNTAGGED };

static void test_vlan_aware(void **)
{
	feed_fdb(RTM_NEWNEIGH, 5, "192.0.2.2", 0);
	BRIDGED(.vlan_aware = true);
	expect("10.71.1.1", "kernel");
	assert_non_null(shown().left_because);
	feed_vlan(VX, 100, UNTAGGED);
	expect("10.71.1.1", "kernel");
	feed_vlan(BRIDGE, 101, UNTAGGED);
	expect("10.71.1.1", "kernel");
	feed_vlan(BRIDGE, 100, BRIDGE_VLAN_INFO_PVID); // goes up with a tag
	expect("10.71.1.1", "kernel");
	feed_vlan(BRIDGE, 100, UNTAGGED);
	expect("10.71.1.1", "vxlan ..05 from ..b8");
	feed_learned(RTM_NEWNEIGH, 5, LOCAL, 0); // as long as the bridge looks at VLANs: of none
	expect("10.71.1.1", "vxlan ..05 from ..b8");
	feed_learned(RTM_NEWNEIGH, 5, LOCAL, 100);
	expect("10.71.1.1", "kernel");
	feed_learned(RTM_NEWNEIGH, 5, VX, 100);
	expect("10.71.1.1", "vxlan ..05 from ..b8");
	feed_vlan(VX, 0, 0);
	expect("10.71.1.1", "kernel");
}

static const struct {
	const char *why;
	struct bridge b;
	struct vx v;
} left_bridged[] = {
	{"the bridge is down", {.down = true}, {.underlay = WAN, .master = BRIDGE}},
	{"the bridge is of a VRF", {.master = VRF}, {.underlay = WAN, .master = BRIDGE}},
	{"the bridge runs STP", {.stp = true}, {.underlay = WAN, .master = BRIDGE}},
	{"the bridge looks at VLANs", {.vlan_aware = true}, {.underlay = WAN, .master = BRIDGE}},
	{"the device is down", {}, {.underlay = WAN, .master = BRIDGE, .down = true}},
	{"the device is external", {}, {.underlay = WAN, .master = BRIDGE, .external = true}},
	{"of a bridge that is a port", {.ifindex = LAN}, {.underlay = WAN, .master = LAN}},
	{"of a bridge that nobody knows", {}, {.underlay = WAN, .master = 99}},
	{"of no bridge any more", {}, {.underlay = WAN}},
};

static void test_left_bridged(void **)
{
	feed_fdb(RTM_NEWNEIGH, 5, "192.0.2.2", 0);
	for (size_t i = 0; i < RTE_DIM(left_bridged); i++) {
		print_message("%s\n", left_bridged[i].why);
		feed_bridge(&left_bridged[i].b);
		feed_vxlan(&left_bridged[i].v);
		expect("10.71.1.1", "kernel");
		assert_int_equal(!shown().left_because, left_bridged[i].v.master == 0);
		feed_link(LAN, 0xa2);
		BRIDGED();
		VXLAN(.underlay = WAN, .master = BRIDGE);
		expect("10.71.1.1", "vxlan ..05 from ..b8");
	}
	struct builder b;
	put_link(&b, BRIDGE, 1500, 0xb8, true);
	b.nh->nlmsg_type = RTM_DELLINK;
	feed(&b);
	expect("10.71.1.1", "kernel");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define BRIDGED_CASE(name) cmocka_unit_test_setup_teardown(name, setup_bridged, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_fdb),
		CASE(test_outer_header),
		CASE(test_default_remote),
		CASE(test_underlay_changes),
		CASE(test_left_to_kernel),
		CASE(test_devices),
		CASE(test_many_remotes),
		BRIDGED_CASE(test_bridged),
		BRIDGED_CASE(test_bridged_mtu),
		BRIDGED_CASE(test_bridged_default),
		BRIDGED_CASE(test_noarp),
		BRIDGED_CASE(test_next_hop_group),
		BRIDGED_CASE(test_vlan_aware),
		BRIDGED_CASE(test_left_bridged),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
