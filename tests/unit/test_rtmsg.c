#include "control/kernel/rtmsg.h"
#include "tests/unit/rtnetlink.h"

#include <errno.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <rte_common.h>
#include <stdalign.h>
#include <sys/socket.h>

static void describe_route(const struct rt_route *r, char *out, size_t size)
{
	char dst[PREFIX_TEXT_LEN], a[ADDR_TEXT_LEN];
	int n = snprintf(out, size, "%s type %u table %u metric %u mtu %u src %s",
		ip_prefix_format(&r->dst, dst), r->type, r->table, r->metric, r->mtu,
		ip_addr_format(&r->prefsrc, a));
	for (unsigned i = 0; i < r->n_hops; i++)
		n += snprintf(out + n, size - (size_t)n, " via %s dev %u",
			ip_addr_format(&r->hop[i].gateway, a), r->hop[i].ifindex);
}

static void describe_vxlan(const struct rt_link *l, char *out, size_t size)
{
	const struct rt_vxlan *v = &l->vxlan;
	char a[ADDR_TEXT_LEN];
	snprintf(out, size,
		" master %u vni %u port %u underlay %u local %s range %u-%u ttl %u%s%s%s%s",
		l->master, v->vni, v->port, v->underlay, ip_addr_format(&v->local, a), v->port_min,
		v->port_max, v->ttl, v->df ? " df" : "", v->csum4 ? " csum4" : "",
		v->nocsum6 ? " nocsum6" : "", v->plain ? "" : " unusual");
}

static void describe(const struct rt_message *m, char *out, size_t size)
{
	char a[ADDR_TEXT_LEN];
	int n = snprintf(out, size, "%s%s", m->gone ? "gone " : "", m->replace ? "replace " : "");
	out += n;
	size -= (size_t)n;
	switch (m->kind) {
	case RT_LINK:
		n = snprintf(out, size, "link %u %s mtu %u %s mac ..%02x", m->link.ifindex,
			m->link.name, m->link.mtu, m->link.up ? "up" : "down", m->link.mac[5]);
		if (m->link.is_vxlan)
			describe_vxlan(&m->link, out + n, size - (size_t)n);
		break;
	case RT_ADDR:
		snprintf(out, size, "addr %s/%u dev %u scope %u%s%s",
			ip_addr_format(&m->addr.local.addr, a), m->addr.local.len, m->addr.ifindex,
			m->addr.scope, m->addr.secondary ? " secondary" : "",
			m->addr.unready ? " unready" : "");
		break;
	case RT_NEIGH:
		snprintf(out, size, "neigh %s dev %u %s ..%02x", ip_addr_format(&m->neigh.addr, a),
			m->neigh.ifindex, m->neigh.valid ? "valid" : "invalid", m->neigh.mac[5]);
		break;
	case RT_BRIDGE_VLAN:
		snprintf(out, size, "vlan %u dev %u", m->vlan.untagged, m->vlan.ifindex);
		break;
	case RT_FDB:
		snprintf(out, size, "fdb ..%02x dev %u remote %s port %u vni %u", m->fdb.mac[5],
			m->fdb.ifindex, ip_addr_format(&m->fdb.remote, a), m->fdb.port, m->fdb.vni);
		break;
	case RT_ROUTE:
		describe_route(&m->route, out, size);
		break;
	}
}

// In the order of the recording.
static const char *const recorded[] = {
	"link 3 wan mtu 1400 up mac ..01",
	"ff00::/8 type 5 table 255 metric 256 mtu 0 src none via none dev 3",
	"addr 192.0.2.1/24 dev 3 scope 0",
	"192.0.2.1/32 type 2 table 255 metric 0 mtu 0 src 192.0.2.1 via none dev 3",
	"192.0.2.0/24 type 1 table 254 metric 0 mtu 0 src 192.0.2.1 via none dev 3",
	"192.0.2.255/32 type 3 table 255 metric 0 mtu 0 src 192.0.2.1 via none dev 3",
	"addr 192.0.2.9/24 dev 3 scope 0 secondary",
	"192.0.2.9/32 type 2 table 255 metric 0 mtu 0 src 192.0.2.1 via none dev 3",
	"2001:db8::/64 type 1 table 254 metric 256 mtu 0 src none via none dev 3",
	"addr 2001:db8::1/64 dev 3 scope 0",
	"2001:db8::1/128 type 2 table 255 metric 0 mtu 0 src none via none dev 3",
	"neigh 192.0.2.2 dev 3 valid ..02",
};

static void test_recorded_in_order(void **)
{
	alignas(8) uint8_t bytes[MESSAGE_MAX];
	for (size_t i = 0; i < RTE_DIM(recorded); i++) {
		struct rt_message m;
		char text[512];
		assert_true(message(i, bytes) > 0);
		assert_int_equal(rt_parse((const void *)bytes, &m), 0);
		describe(&m, text, sizeof(text));
		assert_string_equal(text, recorded[i]);
	}
}

static const struct {
	const char *command;
	unsigned nth;
	const char *expected;
} by_command[] = {
	{"ip route add default via 192.0.2.2 src 192.0.2.9 metric 50", 0,
		"0.0.0.0/0 type 1 table 254 metric 50 mtu 0 src 192.0.2.9 via 192.0.2.2 dev 3"},
	{"ip route add 10.5.0.0/16 via 192.0.2.2 mtu 1300", 0,
		"10.5.0.0/16 type 1 table 254 metric 0 mtu 1300 src none via 192.0.2.2 dev 3"},
	{"ip route replace 10.5.0.0/16 via 192.0.2.3", 0,
		"replace 10.5.0.0/16 type 1 table 254 metric 0 mtu 0 src none via 192.0.2.3 dev 3"},
	{"ip route add 10.6.0.0/16 nexthop via 192.0.2.2 dev wan nexthop via 192.0.2.3 dev wan", 0,
		"10.6.0.0/16 type 1 table 254 metric 0 mtu 0 src none via 192.0.2.2 dev 3 via "
		"192.0.2.3 dev 3"},
	{"ip route add 10.7.0.0/16 via inet6 2001:db8::2 dev wan", 0,
		"10.7.0.0/16 type 1 table 254 metric 0 mtu 0 src none via 2001:db8::2 dev 3"},
	{"ip route add blackhole 10.8.0.0/16", 0,
		"10.8.0.0/16 type 6 table 254 metric 0 mtu 0 src none via none dev 0"},
	{"ip route add unreachable 10.9.0.0/16", 0,
		"10.9.0.0/16 type 7 table 254 metric 0 mtu 0 src none via none dev 0"},
	{"ip -6 route add blackhole 2001:db8:8::/48", 0,
		"2001:db8:8::/48 type 6 table 254 metric 1024 mtu 0 src none via none dev 1"},
	{"ip -6 route add 2001:db8:9::/48 nexthop via 2001:db8::2 dev wan nexthop via 2001:db8::3 "
	 "dev wan",
		0,
		"2001:db8:9::/48 type 1 table 254 metric 1024 mtu 0 src none via 2001:db8::2 dev 3 "
		"via 2001:db8::3 dev 3"},
	{"ip route add 10.10.0.0/16 via 192.0.2.2 table 100", 0,
		"10.10.0.0/16 type 1 table 100 metric 0 mtu 0 src none via 192.0.2.2 dev 3"},
	{"ip neigh change 192.0.2.2 lladdr 02:00:00:00:00:03 dev wan nud stale", 0,
		"neigh 192.0.2.2 dev 3 valid ..03"},
	{"ip route del 10.6.0.0/16", 0,
		"gone 10.6.0.0/16 type 1 table 254 metric 0 mtu 0 src none via 192.0.2.2 dev 3 via "
		"192.0.2.3 dev 3"},
	{"ip neigh del 192.0.2.2 dev wan", 0, "neigh 192.0.2.2 dev 3 invalid ..00"},
	{"ip neigh del 192.0.2.2 dev wan", 1, "gone neigh 192.0.2.2 dev 3 invalid ..00"},
	{"ip addr del 192.0.2.9/24 dev wan", 0, "gone addr 192.0.2.9/24 dev 3 scope 0 secondary"},
	{"ip link del wan", 0, "gone link 3 wan mtu 1400 down mac ..01"},
	{"ip link add vx4 address 02:00:00:00:04:01 mtu 1450 up type vxlan id 100 dev wan local "
	 "192.0.2.1 dstport 4789 nolearning noudpcsum df set ttl 33 srcport 50000 50100",
		0,
		"link 4 vx4 mtu 1450 up mac ..01 master 0 vni 100 port 4789 underlay 3 local "
		"192.0.2.1 range 50000-50100 ttl 33 df"},
	{"ip link add vx6 address 02:00:00:00:06:01 up type vxlan id 200 local 2001:db8::1 dstport "
	 "8472 udp6zerocsumtx",
		0,
		"link 5 vx6 mtu 1500 up mac ..01 master 0 vni 200 port 8472 underlay 0 local "
		"2001:db8::1 range 0-0 ttl 0 csum4 nocsum6"},
	{"ip link add vxe type vxlan external dstport 4790", 0,
		"link 6 vxe mtu 1500 down mac ..b5 master 0 vni 0 port 4790 underlay 0 local none "
		"range 0-0 ttl 0 csum4 unusual"},
	{"ip link set vx6 master br0", 0,
		"link 5 vx6 mtu 1500 up mac ..01 master 7 vni 200 port 8472 underlay 0 local "
		"2001:db8::1 range 0-0 ttl 0 csum4 nocsum6"},
	{"bridge fdb append 00:00:00:00:00:00 dev vx4 dst 192.0.2.2", 0,
		"fdb ..00 dev 4 remote 192.0.2.2 port 0 vni 0"},
	{"bridge fdb add 02:00:00:00:04:02 dev vx4 dst 192.0.2.2", 0,
		"fdb ..02 dev 4 remote 192.0.2.2 port 0 vni 0"},
	{"bridge fdb replace 02:00:00:00:04:02 dev vx4 dst 192.0.2.3 port 4799 vni 101", 0,
		"fdb ..02 dev 4 remote 192.0.2.3 port 4799 vni 101"},
	{"bridge fdb add 02:00:00:00:06:02 dev vx6 dst 2001:db8::2", 0,
		"fdb ..02 dev 5 remote 2001:db8::2 port 0 vni 0"},
	{"bridge fdb del 02:00:00:00:04:02 dev vx4", 0,
		"gone fdb ..02 dev 4 remote 192.0.2.3 port 4799 vni 101"},
};

static void test_recorded_by_command(void **)
{
	alignas(8) uint8_t bytes[MESSAGE_MAX];
	for (size_t i = 0; i < RTE_DIM(by_command); i++) {
		struct rt_message m;
		char text[512];
		message_of(by_command[i].command, by_command[i].nth, bytes);
		assert_int_equal(rt_parse((const void *)bytes, &m), 0);
		describe(&m, text, sizeof(text));
		assert_string_equal(text, by_command[i].expected);
	}
}

// Each message cut to each length, in memory of just that length: attributes that no longer fit are
// refused, whatever is left keeps its bounds.
static void test_cut_short(void **)
{
	alignas(8) uint8_t bytes[MESSAGE_MAX];
	size_t refused = 0, len;
	for (size_t i = 0; (len = message(i, bytes)) > 0; i++) {
		for (uint32_t cut = NLMSG_HDRLEN; cut < len; cut++) {
			struct nlmsghdr *nh = malloc(cut);
			struct rt_message m;
			memcpy(nh, bytes, cut);
			nh->nlmsg_len = cut;
			int error = rt_parse(nh, &m);
			// What ends between two attributes is whole; shorter than the shortest
			// fixed part is not.
			assert_true(error == 0 || error == -EINVAL || error == -ENOENT);
			if (cut < NLMSG_HDRLEN + sizeof(struct ifaddrmsg))
				assert_int_equal(error, -EINVAL);
			refused += error == -EINVAL;
			free(nh);
		}
	}
	assert_true(refused > 5000);
}

static const struct {
	const char *what;
	const char *command;
	unsigned offset;
	uint8_t value;
	int error;
} damaged[] = {
	{"longer than IPv4", "ip route add blackhole 10.8.0.0/16", 17, 33, -EINVAL},
	{"host bits", "ip route add blackhole 10.8.0.0/16", 17, 8, -EINVAL},
	{"of IPv6, with 4 bytes", "ip route add blackhole 10.8.0.0/16", 16, AF_INET6, -EINVAL},
	{"a family we do not route", "ip route add blackhole 10.8.0.0/16", 16, AF_MPLS, -ENOENT},
	{"a source route", "ip route add blackhole 10.8.0.0/16", 18, 8, -ENOENT},
	{"for a TOS", "ip route add blackhole 10.8.0.0/16", 19, 8, -ENOENT},
	{"a cached route", "ip route add blackhole 10.8.0.0/16", 25, 2, -ENOENT},
	{"an attribute of 3 bytes", "ip route add blackhole 10.8.0.0/16", 28, 3, -EINVAL},
	{"an attribute beyond the end", "ip route add blackhole 10.8.0.0/16", 28, 40, -EINVAL},
	{"table of 3 bytes", "ip route add blackhole 10.8.0.0/16", 28, 7, -EINVAL},
	{"an unknown type of message", "ip route add blackhole 10.8.0.0/16", 4, 44, -ENOENT},
	{"a proxied neighbour",
		"ip neigh add 2001:db8::2 lladdr 02:00:00:00:00:22 dev wan nud permanent", 26,
		NTF_PROXY, -ENOENT},
	{"a MAC of 5 bytes", "bridge fdb del 02:00:00:00:04:02 dev vx4", 28, 9, -EINVAL},
	{"a remote of 5 bytes", "bridge fdb del 02:00:00:00:04:02 dev vx4", 40, 9, -EINVAL},
	{"a remote that is a MAC", "bridge fdb del 02:00:00:00:04:02 dev vx4", 30, NDA_DST,
		-ENOENT},
	{"interface 0 of a VTEP", "bridge fdb del 02:00:00:00:04:02 dev vx4", 20, 0, -ENOENT},
	{"a neighbour of the wrong family",
		"ip neigh add 2001:db8::2 lladdr 02:00:00:00:00:22 dev wan nud permanent", 16,
		AF_INET, -EINVAL},
	{"an address longer than IPv4", "ip addr add 192.0.2.1/24 dev wan", 17, 33, -EINVAL},
	{"a family of links that is unknown", "ip link set wan up", 16, AF_MPLS, -ENOENT},
	{"interface 0", "ip link set wan up", 20, 0, -EINVAL},
};

static void test_damaged(void **)
{
	alignas(8) uint8_t bytes[MESSAGE_MAX];
	for (size_t i = 0; i < RTE_DIM(damaged); i++) {
		struct rt_message m;
		message_of(damaged[i].command, 0, bytes);
		assert_int_equal(rt_parse((const void *)bytes, &m), 0);
		bytes[damaged[i].offset] = damaged[i].value;
		if (rt_parse((const void *)bytes, &m) != damaged[i].error)
			fail_msg("%s", damaged[i].what);
	}
}

static void test_datagram_bounds(void **)
{
	alignas(8) uint8_t bytes[MESSAGE_MAX] = {0};
	struct nlmsghdr *nh = (struct nlmsghdr *)bytes;
	static const uint32_t lengths[] = {
		0, 1, 15, 33, 0x7fffffff, 0x80000000, 0xbebebebe, 0xffffffff};
	for (size_t i = 0; i < RTE_DIM(lengths); i++) {
		const uint8_t *at = bytes;
		size_t left = 32;
		nh->nlmsg_len = lengths[i];
		assert_null(rt_next(&at, &left));
		assert_int_equal(left, 32);
	}
	const uint8_t *at = bytes;
	size_t left = 33;
	nh->nlmsg_len = 33; // padding is missing behind the last
	assert_non_null(rt_next(&at, &left));
	assert_int_equal(left, 0);
	left = 15;
	assert_null(rt_next(&at, &left));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_recorded_in_order),
		cmocka_unit_test(test_recorded_by_command),
		cmocka_unit_test(test_cut_short),
		cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_datagram_bounds),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
