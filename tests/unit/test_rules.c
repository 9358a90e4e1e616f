// Compiled rules against all that they could be confused with, and against a plain walk over the
// same rules.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <netinet/in.h>
#include <rte_byteorder.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/rules_model.h"

static struct ip_addr addr(const char *text)
{
	struct ip_addr a;
	assert_int_equal(ip_addr_parse(text, &a), 0);
	return a;
}

// "first-last", or a prefix.
static struct ip_range range(const char *text)
{
	char first[64];
	struct ip_prefix p;
	const char *dash = strchr(text, '-');
	if (!dash) {
		assert_int_equal(ip_prefix_parse(text, &p), 0);
		return ip_range_of(&p);
	}
	snprintf(first, sizeof(first), "%.*s", (int)(dash - text), text);
	return (struct ip_range){addr(first), addr(dash + 1)};
}

static bool ask(const struct rules *r, const char *src, const char *dst, uint8_t proto,
	uint16_t port, enum rule_ports ports)
{
	const struct ip_addr s = addr(src), d = addr(dst);
	const struct rule_query q = {s.bytes, d.bytes, port, d.family, proto};
	assert_int_equal(s.family, d.family);
	return rules_allow(r, &q, ports);
}

// The rule set of the rows below.
static struct rules *some_rules(bool shields_up)
{
	const struct ip_range web[] = {range("100.64.0.1-100.64.0.9"), range("fd7a::10-fd7a::1f"),
		range("100.64.0.5-100.64.0.20"), range("100.64.0.21/32")};
	const struct rule_target web_to[] = {{range("10.0.0.0/24"), 80, 80},
		{range("10.0.1.7/32"), 443, 8443}, {range("fd00::/64"), 80, 80}};
	const struct ip_range all[] = {ip_range_any(IP_V4), ip_range_any(IP_V6)};
	const struct rule_target dns[] = {{range("10.0.0.53/32"), 53, 53}};
	const struct rule_target whole[] = {{range("10.9.0.0/16"), 0, 65535}};
	const struct ip_range local[] = {range("10.0.0.0/16"), range("fd00::/48"),
		range("10.1.0.0-10.1.0.0"), range("100.64.0.99/32")};
	struct rule_spec rules[] = {
		{web, web_to, RTE_DIM(web), RTE_DIM(web_to)}, {all, dns, RTE_DIM(all), 1},
		{web, whole, 1, 1}, {NULL, whole, 0, 1}, // nobody
		{all, NULL, 2, 0},			 // to nowhere
	};
	rule_protocol(&rules[0], IPPROTO_TCP);
	rule_protocol(&rules[1], IPPROTO_UDP);
	rule_protocol(&rules[2], IPPROTO_GRE);
	rule_protocol(&rules[2], 255);
	rule_protocol(&rules[2], 0);
	rule_protocol(&rules[3], IPPROTO_TCP);
	rule_protocol(&rules[4], IPPROTO_TCP);
	return rules_create(
		&(struct rules_spec){rules, local, RTE_DIM(rules), RTE_DIM(local), shields_up});
}

static const struct {
	const char *name, *src, *dst;
	uint8_t proto;
	uint16_t port;
	enum rule_ports ports;
	bool allowed;
} rows[] = {
	{"web", "100.64.0.1", "10.0.0.1", 6, 80, RULE_PORT, true},
	{"first of a range", "100.64.0.1", "10.0.0.0", 6, 80, RULE_PORT, true},
	{"last of ranges that overlap and touch", "100.64.0.21", "10.0.0.255", 6, 80, RULE_PORT,
		true},
	{"before the range", "100.64.0.0", "10.0.0.1", 6, 80, RULE_PORT, false},
	{"behind the ranges", "100.64.0.22", "10.0.0.1", 6, 80, RULE_PORT, false},
	{"another port", "100.64.0.1", "10.0.0.1", 6, 81, RULE_PORT, false},
	{"another protocol", "100.64.0.1", "10.0.0.1", 17, 80, RULE_PORT, false},
	{"behind the target", "100.64.0.1", "10.0.1.0", 6, 80, RULE_PORT, false},
	{"another target's port", "100.64.0.1", "10.0.1.7", 6, 80, RULE_PORT, false},
	{"first port", "100.64.0.1", "10.0.1.7", 6, 443, RULE_PORT, true},
	{"last port", "100.64.0.1", "10.0.1.7", 6, 8443, RULE_PORT, true},
	{"behind the last port", "100.64.0.1", "10.0.1.7", 6, 8444, RULE_PORT, false},
	{"IPv6", "fd7a::1f", "fd00::1", 6, 80, RULE_PORT, true},
	{"IPv6, behind the source", "fd7a::20", "fd00::1", 6, 80, RULE_PORT, false},
	{"IPv6, before the source", "fd7a::f", "fd00::1", 6, 80, RULE_PORT, false},
	{"IPv6, another high half", "fd7b::10", "fd00::1", 6, 80, RULE_PORT, false},
	{"IPv6, behind the target", "fd7a::10", "fd00:0:0:1::", 6, 80, RULE_PORT, false},
	{"anybody's DNS", "203.0.113.1", "10.0.0.53", 17, 53, RULE_PORT, true},
	{"anybody's, the lowest", "0.0.0.0", "10.0.0.53", 17, 53, RULE_PORT, true},
	{"anybody's, the highest", "255.255.255.255", "10.0.0.53", 17, 53, RULE_PORT, true},
	{"ICMP by a rule for TCP", "100.64.0.1", "10.0.0.1", 1, 0, RULE_ANY_PORT, true},
	{"ICMP from others", "100.64.0.30", "10.0.0.1", 1, 0, RULE_ANY_PORT, false},
	{"ICMP to what nobody offers", "100.64.0.1", "10.3.0.1", 1, 0, RULE_ANY_PORT, false},
	{"GRE", "100.64.0.1", "10.9.1.1", 47, 0, RULE_ALL_PORTS, true},
	{"protocol 0", "100.64.0.1", "10.9.1.1", 0, 0, RULE_ALL_PORTS, true},
	{"protocol 255", "100.64.0.1", "10.9.1.1", 255, 0, RULE_ALL_PORTS, true},
	{"ESP", "100.64.0.1", "10.9.1.1", 50, 0, RULE_ALL_PORTS, false},
	{"a neighbour of GRE", "100.64.0.1", "10.9.1.1", 46, 0, RULE_ALL_PORTS, false},
	{"GRE where few ports are open", "100.64.0.1", "10.0.0.1", 47, 0, RULE_ALL_PORTS, false},
	{"TCP where a rule has no source", "1.2.3.4", "10.9.1.1", 6, 80, RULE_PORT, false},
};

static void each_row(void **)
{
	struct rules *r = some_rules(false), *shields = some_rules(true);
	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		print_message("%s\n", rows[i].name);
		assert_int_equal(ask(r, rows[i].src, rows[i].dst, rows[i].proto, rows[i].port,
					 rows[i].ports),
			rows[i].allowed);
		assert_false(ask(shields, rows[i].src, rows[i].dst, rows[i].proto, rows[i].port,
			rows[i].ports));
	}
	assert_false(rules_shields_up(r));
	assert_true(rules_shields_up(shields));
	rules_destroy(r);
	rules_destroy(shields);
	rules_destroy(NULL);
}

static const struct {
	const char *dst;
	bool local;
} local_rows[] = {
	{"10.0.0.0", true},
	{"10.0.255.255", true},
	{"10.1.0.0", true},
	{"10.1.0.1", false},
	{"9.255.255.255", false},
	{"100.64.0.99", true},
	{"100.64.0.98", false},
	{"100.64.0.100", false},
	{"0.0.0.0", false},
	{"255.255.255.255", false},
	{"fd00::", true},
	{"fd00:0:0:ffff:ffff:ffff:ffff:ffff", true},
	{"fd00:0:1::", false},
	{"fcff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false},
	{"::", false},
	{"::10.0.0.1", false},
};

static void local_destinations(void **)
{
	struct rules *r = some_rules(false), *shields = some_rules(true);
	for (unsigned i = 0; i < RTE_DIM(local_rows); i++) {
		const struct ip_addr a = addr(local_rows[i].dst);
		print_message("%s\n", local_rows[i].dst);
		assert_int_equal(rules_is_local(r, a.family, a.bytes), local_rows[i].local);
		assert_int_equal(rules_is_local(shields, a.family, a.bytes), local_rows[i].local);
	}
	rules_destroy(r);
	rules_destroy(shields);
}

// Ranges that make no sense match nothing, and harm nobody.
static void senseless_ranges_match_nothing(void **)
{
	const struct ip_range bad[] = {range("10.0.0.9-10.0.0.1"), range("10.0.0.1-fd00::1"), {}};
	const struct ip_range good = range("10.0.0.5/32");
	const struct rule_target to[] = {
		{bad[0], 0, 65535}, {bad[1], 0, 65535}, {{}, 0, 65535}, {good, 90, 80}};
	struct rule_spec rules[] = {{bad, to, 3, 4}, {&good, to, 1, 4}};
	memset(rules[0].protocols, 0xff, sizeof(rules[0].protocols));
	memset(rules[1].protocols, 0xff, sizeof(rules[1].protocols));
	struct rules *r = rules_create(&(struct rules_spec){rules, bad, 2, 3, false});
	struct rules *none = rules_create(&(struct rules_spec){});
	assert_false(ask(r, "10.0.0.5", "10.0.0.5", 6, 85, RULE_PORT));
	assert_false(ask(r, "10.0.0.5", "10.0.0.5", 6, 85, RULE_ANY_PORT));
	assert_false(ask(none, "10.0.0.5", "10.0.0.5", 6, 85, RULE_ANY_PORT));
	assert_false(rules_is_local(r, IP_V4, good.first.bytes));
	assert_false(rules_is_local(none, IP_V4, good.first.bytes));
	rules_destroy(r);
	rules_destroy(none);
}

// A million packets through two thousand policies.
static void as_a_plain_walk(void **)
{
	enum { POLICIES = 2000, PACKETS = 500, BYTES = 8192 };
	struct model *m = mem_alloc(sizeof(*m));
	uint8_t *bytes = mem_alloc(BYTES);
	unsigned allowed = 0, local = 0;
	srand(4);
	for (unsigned set = 0; set < POLICIES; set++) {
		struct model_bytes from = {bytes, BYTES};
		for (unsigned i = 0; i < BYTES; i++)
			bytes[i] = (uint8_t)(rand() >> 7);
		model_policy(m, &from);
		struct rules *r = rules_create(&m->spec);
		for (unsigned i = 0; i < PACKETS; i++) {
			struct model_packet p;
			model_packet(&p, &from);
			bool want = model_allows(m, &p), here = model_is_local(m, &p.dst);
			assert_true(from.left);
			assert_int_equal(rules_allow(r, &p.query, p.ports), want);
			assert_int_equal(rules_is_local(r, p.dst.family, p.dst.bytes), here);
			allowed += want;
			local += here;
		}
		rules_destroy(r);
	}
	print_message("%u of a million allowed, %u local\n", allowed, local);
	assert_in_range(allowed, 100000, 900000); // both happen
	assert_in_range(local, 100000, 900000);
	free(bytes);
	free(m);
}

// Each rule with sources of its own: they are lines that cannot be joined.
static struct rules *many_rules(uint32_t n, uint32_t sources, const char **why)
{
	struct rule_spec *rules = mem_alloc(n * sizeof(*rules));
	struct ip_range *from = mem_alloc(((size_t)n + sources) * sizeof(*from));
	const struct rule_target to = {range("10.0.0.0/8"), 80, 80};
	for (uint32_t i = 0; i < n + sources; i++) {
		uint32_t host = rte_cpu_to_be_32(0x64400000 + 2 * i);
		from[i].first = from[i].last = ip_addr_v4(&host);
	}
	for (uint32_t i = 0; i < n; i++) {
		rules[i] = (struct rule_spec){from + i, &to, sources, 1};
		rule_protocol(&rules[i], IPPROTO_TCP);
	}
	struct rules *r = rules_try_create(&(struct rules_spec){.rules = rules, .n_rules = n}, why);
	free(rules);
	free(from);
	return r;
}

static void bounds_are_kept(void **)
{
	const char *why = NULL;
	struct rules *r = many_rules(32768, 1, &why);
	assert_non_null(r);
	assert_true(ask(r, "100.64.0.0", "10.1.1.1", 6, 80, RULE_PORT));
	assert_true(ask(r, "100.64.255.254", "10.1.1.1", 6, 80, RULE_PORT));
	assert_false(ask(r, "100.64.0.1", "10.1.1.1", 6, 80, RULE_PORT));
	assert_false(ask(r, "100.65.0.0", "10.1.1.1", 6, 80, RULE_PORT));
	assert_in_range(rules_memory(r), 1 << 18, 1 << 20);
	rules_destroy(r);
	assert_null(many_rules(32769, 1, &why));
	assert_string_equal(why, "it has too many rules");
	assert_null(many_rules(3000, 400, &why));
	assert_string_equal(why, "it names too many ranges of addresses");
}

// In each quarter of all addresses, each rule has a range of its own that overlaps with the others.
static void what_takes_too_much_memory_is_refused(void **)
{
	enum { RULES = 32768, EACH = 4 };
	const char *why = NULL;
	struct rule_spec *rules = mem_alloc(RULES * sizeof(*rules));
	struct ip_range *from = mem_alloc(RULES * EACH * sizeof(*from));
	const struct rule_target to = {range("10.0.0.0/8"), 80, 80};
	for (uint32_t i = 0; i < RULES * EACH; i++) {
		uint32_t quarter = i % EACH, order = 2654435761u + 2 * 1000003 * quarter;
		uint32_t first = (i / EACH * order) >> 3 | quarter << 30;
		uint32_t bounds[] = {rte_cpu_to_be_32(first), rte_cpu_to_be_32(first | 1u << 29)};
		from[i] = (struct ip_range){ip_addr_v4(&bounds[0]), ip_addr_v4(&bounds[1])};
	}
	for (uint32_t i = 0; i < RULES; i++) {
		rules[i] = (struct rule_spec){from + i * EACH, &to, EACH, 1};
		rule_protocol(&rules[i], IPPROTO_TCP);
	}
	assert_null(rules_try_create(&(struct rules_spec){.rules = rules, .n_rules = RULES}, &why));
	assert_string_equal(why, "it would take too much memory");
	free(rules);
	free(from);
}

// A remembered verdict is never taken for one of another set.
static void each_publication_has_a_generation(void **)
{
	struct rcu *rcu = rcu_create();
	struct rules *_Atomic at = NULL, *_Atomic other = NULL;
	struct rules *r = some_rules(false);
	assert_int_equal(rules_generation(NULL), 0);
	assert_int_equal(rules_generation(r), 0);
	rules_publish(&at, rcu, r);
	uint32_t first = rules_generation(r);
	assert_int_not_equal(first, 0);
	rules_publish(&at, rcu, NULL);
	rules_publish(&at, rcu, some_rules(true));
	assert_int_equal(rules_generation(at), first + 1);
	rules_publish(&other, rcu, some_rules(true));
	assert_int_equal(rules_generation(other), first + 2);
	rules_publish(&at, rcu, NULL);
	rules_publish(&other, rcu, NULL);
	rcu_destroy(rcu);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_row),
		cmocka_unit_test(local_destinations),
		cmocka_unit_test(senseless_ranges_match_nothing),
		cmocka_unit_test(as_a_plain_walk),
		cmocka_unit_test(bounds_are_kept),
		cmocka_unit_test(what_takes_too_much_memory_is_refused),
		cmocka_unit_test(each_publication_has_a_generation),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
