// What the workers' address translation is told: settings, advertised 4via6 routes, port addresses.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <rte_common.h>

#include "control/tailnet/nat.h"
#include "dataplane/base/via6.h"

static struct ip_prefix prefix(const char *text)
{
	struct ip_prefix p;
	assert_int_equal(ip_prefix_parse(text, &p), 0);
	return p;
}

static void test_is_via(void **)
{
	static const struct {
		const char *prefix;
		bool via;
	} cases[] = {
		{"fd7a:115c:a1e0:b1a:0:7:c0a8:100/120", true},
		{"fd7a:115c:a1e0:b1a:0:7:c0a8:10a/128", true},
		{"fd7a:115c:a1e0:b1a:0:7::/96", true}, // all of IPv4
		{"fd7a:115c:a1e0:b1a::/64", false},    // no site
		{"fd7a:115c:a1e0:b1a:0:7::/95", false},
		{"fd7a:115c:a1e0:b1b:0:7:c0a8:100/120", false},
		{"fd7a:115c:a1e0::/48", false},
		{"192.168.1.0/24", false},
		{"::/0", false},
		{"0.0.0.0/0", false},
	};
	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		struct ip_prefix p = prefix(cases[i].prefix);
		print_message("%s\n", cases[i].prefix);
		assert_int_equal(via6_is(&p), cases[i].via);
	}
}

static void test_via_both_ways(void **)
{
	char text[PREFIX_TEXT_LEN];
	struct ip_prefix v4 = prefix("192.168.1.0/24"), v6, back;
	uint32_t site;
	assert_int_equal(via6_map(7, &v4, &v6), 0);
	assert_string_equal(ip_prefix_format(&v6, text), "fd7a:115c:a1e0:b1a:0:7:c0a8:100/120");
	assert_int_equal(via6_split(&v6, &site, &back), 0);
	assert_int_equal(site, 7);
	assert_memory_equal(&back, &v4, sizeof(v4));
	assert_int_equal(via6_map(65536, &v4, &back), -ERANGE);
	assert_int_equal(via6_map(7, &v6, &back), -EINVAL);
	assert_int_equal(via6_split(&v4, &site, &back), -EINVAL);
	v6 = prefix("fd7a:115c:a1e0:b1a:1234:5678::/96"); // reserved, but its site all the same
	assert_int_equal(via6_split(&v6, &site, &back), 0);
	assert_int_equal(site, 0x12345678);
	assert_int_equal(back.len, 0);
}

static void test_compile(void **)
{
	struct config *config = config_create();
	struct ip_addr port4[PORT_MAX] = {0}, port6[PORT_MAX] = {0};
	const struct ip_prefix routes[] = {prefix("0.0.0.0/0"), prefix("10.1.0.0/16"),
		prefix("fd7a:115c:a1e0:b1a:0:7:c0a8:100/120"),
		prefix("fd7a:115c:a1e0:b1a:0:9:c0a8:100/120")};
	assert_int_equal(ip_addr_parse("198.51.100.1", &port4[1]), 0);
	assert_int_equal(ip_addr_parse("2001:db8::1", &port6[1]), 0);
	config->nat.n_remap = 1;
	config->nat.remap[0] =
		(struct config_remap){prefix("10.9.0.0/24"), prefix("192.168.1.0/24")};
	config->nat.n_pool = 1;
	config->nat.pool[0] = port4[1];
	struct tn_nat_spec spec = {&config->nat, routes, RTE_DIM(routes), true, port4, port6};
	struct nat_config *c = tn_nat_compile(&spec);
	assert_true(c->snat);
	assert_false(c->endpoint_independent);
	assert_int_equal(c->port_first, 16384);
	assert_int_equal(c->port_last, 29999);
	assert_int_equal(c->n_via, 2);
	assert_memory_equal(&c->via[1], &routes[3], sizeof(routes[3]));
	assert_int_equal(c->n_remap, 1);
	assert_memory_equal(&c->remap[0].real, &config->nat.remap[0].real, sizeof(routes[0]));
	assert_int_equal(c->n_pool, 1);
	assert_true(ip_addr_equal(&c->pool[0], &port4[1]));
	assert_true(ip_addr_equal(&c->port4[1], &port4[1]));
	assert_true(ip_addr_equal(&c->port6[1], &port6[1]));
	assert_int_equal(c->port4[0].family, IP_NONE);
	assert_int_equal(c->n_services, 0);
	for (unsigned i = 0; i < NAT_CLASS_COUNT; i++)
		assert_true(c->idle_s[i] >= 60);
	assert_true(c->idle_s[NAT_TCP_OPEN] >= 7440); // RFC 5382 REQ-5
	assert_true(c->idle_s[NAT_UDP] >= 120);	      // RFC 4787 REQ-5
	nat_config_destroy(c);
	config->nat.mapping = CONFIG_NAT_INDEPENDENT;
	spec.snat = false;
	spec.n_routes = 0;
	c = tn_nat_compile(&spec);
	assert_false(c->snat);
	assert_true(c->endpoint_independent);
	assert_int_equal(c->n_via, 0);
	nat_config_destroy(c);
	config_free(config);
}

// One site after another, until no more fit.
static void test_too_many_vias(void **)
{
	struct config *config = config_create();
	struct ip_addr none[PORT_MAX] = {0};
	struct ip_prefix routes[NAT_VIA_MAX + 2];
	for (unsigned i = 0; i < RTE_DIM(routes); i++) {
		routes[i] = prefix("fd7a:115c:a1e0:b1a:0:7:c0a8:100/120");
		routes[i].addr.bytes[10] = (uint8_t)(i >> 8);
		routes[i].addr.bytes[11] = (uint8_t)i;
	}
	struct nat_config *c = tn_nat_compile(
		&(struct tn_nat_spec){&config->nat, routes, RTE_DIM(routes), true, none, none});
	assert_int_equal(c->n_via, NAT_VIA_MAX);
	assert_memory_equal(c->via, routes, sizeof(routes[0]) * NAT_VIA_MAX);
	nat_config_destroy(c);
	config_free(config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_is_via),
		cmocka_unit_test(test_via_both_ways),
		cmocka_unit_test(test_compile),
		cmocka_unit_test(test_too_many_vias),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
