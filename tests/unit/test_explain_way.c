// Where 'explain' says that a packet would go, by tables as the control thread makes them.
#include "control/ctl/explain.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
// after the above, as cmocka asks
#include <cmocka.h>

#include "tests/unit/vtep.h"

enum {
	NO_SNAT = 1,
	POOL = 2,
	NOTHING = 4, // no configuration of the translation at all
};

static struct ip_prefix prefix(const char *text)
{
	struct ip_prefix p;
	assert_int_equal(ip_prefix_parse(text, &p), 0);
	return p;
}

static struct ip_addr addr(const char *text)
{
	struct ip_addr a;
	assert_int_equal(ip_addr_parse(text, &a), 0);
	return a;
}

static const struct {
	const char *name;
	unsigned how;
	const char *dst;
	uint8_t proto;
	uint16_t port;
	const char *way;
} rows[] = {
	{"a host of the LAN", 0, "10.1.0.2", 6, 80,
		"{\"from\":[\"10.1.0.1\"],\"port\":\"mem0\",\"route\":\"link\"}"},
	{"one that is not known yet", 0, "10.1.0.77", 6, 80,
		"{\"from\":[\"10.1.0.1\"],\"port\":\"mem0\",\"route\":\"link\"}"},
	{"IPv6", 0, "fd01::2", 6, 80,
		"{\"from\":[\"fd01::1\"],\"port\":\"mem0\",\"route\":\"link\"}"},
	{"by its own address", NO_SNAT, "10.1.0.2", 6, 80,
		"{\"port\":\"mem0\",\"route\":\"link\"}"},
	{"nothing is translated", NOTHING, "10.1.0.2", 6, 80,
		"{\"port\":\"mem0\",\"route\":\"link\"}"},
	{"an address of the pool", POOL, "10.1.0.2", 6, 80,
		"{\"from\":[\"198.51.100.1\",\"198.51.100.2\"],\"port\":\"mem0\",\"route\":"
		"\"link\"}"},
	{"a pool of the other family", POOL, "fd01::2", 6, 80,
		"{\"from\":[\"fd01::1\"],\"port\":\"mem0\",\"route\":\"link\"}"},
	{"no address on the link", 0, "2001:db8::2", 6, 80,
		"{\"from\":[],\"port\":\"mem1\",\"route\":\"link\"}"},
	{"this host", 0, "10.1.0.1", 6, 80, "{\"route\":\"this host\"}"},
	{"another peer", 0, "10.2.0.2", 6, 80, "{\"route\":\"tunnel\"}"},
	{"the kernel's", 0, "10.68.0.1", 6, 80, "{\"route\":\"kernel\"}"},
	{"prohibited", 0, "10.66.0.1", 6, 80, "{\"route\":\"unreachable\"}"},
	{"no route", 0, "203.0.113.1", 6, 80, "{\"route\":\"none\"}"},
	{"behind a VXLAN", 0, "10.1.50.5", 6, 80, "{\"from\":[\"10.1.50.1\"],\"route\":\"vxlan\"}"},
	{"behind a VXLAN without an address", 0, "fd01:50::5", 6, 80,
		"{\"from\":[],\"route\":\"vxlan\"}"},

	{"another name", 0, "10.77.1.2", 6, 80,
		"{\"route\":\"none\",\"to\":[\"10.1.1.2\"],\"translation\":\"remap\"}"},
	{"another name, without SNAT", NO_SNAT, "10.77.0.2", 6, 80,
		"{\"port\":\"mem0\",\"route\":\"link\",\"to\":[\"10.1.0.2\"],"
		"\"translation\":\"remap\"}"},
	{"a site, without SNAT", NO_SNAT, "fd7a:115c:a1e0:b1a:0:7:a01:2", 6, 80,
		"{\"from\":[\"10.1.0.1\"],\"port\":\"mem0\",\"route\":\"link\","
		"\"to\":[\"10.1.0.2\"],\"translation\":\"4via6\"}"},
	{"nobody of a site", 0, "fd7a:115c:a1e0:b1a:0:7:7f00:1", 6, 80,
		"{\"route\":\"closed\",\"to\":[\"127.0.0.1\"],\"translation\":\"4via6\"}"},
	{"the cloud's metadata at a site", 0, "fd7a:115c:a1e0:b1a:0:7:a9fe:a9fe", 6, 80,
		"{\"route\":\"closed\",\"to\":[\"169.254.169.254\"],\"translation\":\"4via6\"}"},
	{"a node by a site", 0, "fd7a:115c:a1e0:b1a:0:7:6440:9", 6, 80,
		"{\"route\":\"closed\",\"to\":[\"100.64.0.9\"],\"translation\":\"4via6\"}"},
	{"a site that is not ours", 0, "fd7a:115c:a1e0:b1a:0:8:a01:2", 6, 80,
		"{\"route\":\"none\"}"},
	{"a service", NO_SNAT, "10.88.0.1", 6, 80,
		"{\"from\":[\"10.1.0.1\"],\"port\":\"mem0\",\"route\":\"link\","
		"\"to\":[\"10.1.0.2\",\"10.1.0.3\"],\"translation\":\"service\"}"},
	{"its other ports", 0, "10.88.0.1", 6, 82,
		"{\"route\":\"closed\",\"to\":[],\"translation\":\"service\"}"},
	{"an echo to it is the host's", 0, "10.88.0.1", 1, 0, "{\"route\":\"none\"}"},
	{"with a backend of the wrong family", 0, "10.88.0.3", 6, 80,
		"{\"route\":\"closed\",\"to\":[],\"translation\":\"service\"}"},
	{"with one that IPv6 reaches", 0, "fd88::1", 6, 80,
		"{\"from\":[\"10.1.0.1\"],\"port\":\"mem0\",\"route\":\"link\","
		"\"to\":[\"10.1.0.2\"],\"translation\":\"service\"}"},
	{"the host's own service", 0, "10.88.0.2", 17, 53,
		"{\"route\":\"this host\",\"to\":[\"10.1.0.1\"],\"translation\":\"service\"}"},
};

static void configure(struct nat_config *c, unsigned how)
{
	static struct ip_prefix via[1];
	static struct nat_remap remap[1];
	static struct nat_service service[5];
	via[0] = prefix("fd7a:115c:a1e0:b1a:0:7::/96");
	remap[0] = (struct nat_remap){prefix("10.77.0.0/23"), prefix("10.1.0.0/23")};
	service[0] = (struct nat_service){.vip = addr("10.88.0.1"),
		.port_first = 80,
		.port_last = 81,
		.proto = IPPROTO_TCP,
		.n_backends = 2,
		.backend = {{.addr = addr("10.1.0.2")}, {.addr = addr("10.1.0.3")}}};
	service[1] = (struct nat_service){
		.vip = addr("10.88.0.2"), .n_backends = 1, .backend = {{.addr = addr("10.1.0.1")}}};
	service[2] = (struct nat_service){
		.vip = addr("10.88.0.3"), .n_backends = 1, .backend = {{.addr = addr("fd01::2")}}};
	service[3] = (struct nat_service){
		.vip = addr("fd88::1"), .n_backends = 1, .backend = {{.addr = addr("10.1.0.2")}}};
	service[4] = (struct nat_service){.vip = addr("10.88.0.1"), .port_last = UINT16_MAX};
	*c = (struct nat_config){.snat = !(how & NO_SNAT),
		.via = via,
		.n_via = 1,
		.remap = remap,
		.n_remap = 1,
		.service = service,
		.n_services = RTE_DIM(service),
		.n_pool = how & POOL ? 2 : 0,
		.pool = {addr("198.51.100.1"), addr("198.51.100.2")}};
	c->port4[GW_LAN] = addr("10.1.0.1");
	c->port6[GW_LAN] = addr("fd01::1");
	c->port4[GW_WAN] = addr("192.0.2.1");
}

static void each_row(void **)
{
	static struct gw g;
	struct nat_config c;
	test_eal_init();
	gw_open(&g, 1, &(struct gw_params){0});
	struct vxlan_device device = {
		.vni = VNI, .ifindex = IFINDEX, .port = VXLAN_PORT, .addr4 = addr("10.1.50.1")};
	vxlan_devices_publish(g.gw.fib->vteps, &device, 1);
	const uint16_t remote = vtep_take(g.gw.fib->vteps);
	publish_remote(&g, remote, IP_V4, false);
	route_remote(&g, "10.1.50.5/32", remote);
	route_remote(&g, "fd01:50::5/128", remote);
	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		const struct explain_query q = {.src = addr("100.64.0.2"),
			.dst = addr(rows[i].dst),
			.proto = rows[i].proto,
			.port = rows[i].port};
		configure(&c, rows[i].how);
		atomic_store(&g.gw.nat, rows[i].how & NOTHING ? NULL : &c);
		json_t *way = ctl_explain_way(&g.gw, &q);
		char *text = json_dumps(way, JSON_COMPACT | JSON_SORT_KEYS);
		if (strcmp(text, rows[i].way) != 0)
			fail_msg("%s: %s", rows[i].name, text);
		free(text);
		json_decref(way);
	}
	atomic_store(&g.gw.nat, NULL);
	assert_int_equal(gw_close(&g), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(each_row)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
