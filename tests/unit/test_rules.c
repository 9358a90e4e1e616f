// Compiled rules against all that they could be confused with, and against a plain walk over the
// same rules.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <netinet/in.h>
#include <rte_common.h>
#include <stdio.h>
#include <stdlib.h>

#include "dataplane/table/rules.h"

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

enum {
	RANDOM_RULES = 20,
	RANDOM_EACH = 12,
};

struct random_rules {
	struct rule_spec rule[RANDOM_RULES];
	struct ip_range src[RANDOM_RULES][RANDOM_EACH];
	struct rule_target dst[RANDOM_RULES][RANDOM_EACH];
};

// Addresses of few bits, so that ranges touch and overlap; every other one of IPv6.
static struct ip_addr some_addr(uint8_t family)
{
	struct ip_addr a = {.family = family};
	a.bytes[family == IP_V4 ? 3 : 15] = (uint8_t)(rand() % 64);
	a.bytes[family == IP_V4 ? 0 : 7] = (uint8_t)(rand() % 2 ? 0xff : 0);
	return a;
}

static struct ip_range some_range(void)
{
	uint8_t family = rand() % 2 ? IP_V4 : IP_V6;
	return (struct ip_range){some_addr(family), some_addr(family)};
}

static void fill(struct random_rules *r)
{
	for (unsigned i = 0; i < RANDOM_RULES; i++) {
		r->rule[i] = (struct rule_spec){r->src[i], r->dst[i], RANDOM_EACH, RANDOM_EACH};
		r->rule[i].protocols[0] = 1u << (rand() % 4) | 1u << (rand() % 4);
		for (unsigned j = 0; j < RANDOM_EACH; j++) {
			uint16_t first = (uint16_t)(rand() % 4);
			r->src[i][j] = some_range();
			r->dst[i][j] = (struct rule_target){
				some_range(), first, (uint16_t)(first + rand() % 3)};
		}
	}
}

static bool lies_in(const struct ip_range *r, const struct ip_addr *a)
{
	return r->first.family == a->family && ip_addr_compare(&r->first, a) <= 0 &&
	       ip_addr_compare(a, &r->last) <= 0;
}

static bool walk(const struct random_rules *r, const struct ip_addr *src, const struct ip_addr *dst,
	unsigned proto, unsigned port)
{
	for (unsigned i = 0; i < RANDOM_RULES; i++) {
		bool from = false, to = false;
		for (unsigned j = 0; j < RANDOM_EACH; j++) {
			const struct rule_target *t = &r->dst[i][j];
			from |= lies_in(&r->src[i][j], src);
			to |= lies_in(&t->range, dst) && port >= t->port_first &&
			      port <= t->port_last;
		}
		if (from && to && r->rule[i].protocols[0] >> proto & 1)
			return true;
	}
	return false;
}

static void as_a_plain_walk(void **)
{
	struct random_rules *r = mem_alloc(sizeof(*r));
	unsigned allowed = 0;
	srand(4);
	for (unsigned set = 0; set < 50; set++) {
		fill(r);
		struct rules *rules = rules_create(
			&(struct rules_spec){.rules = r->rule, .n_rules = RANDOM_RULES});
		for (unsigned i = 0; i < 2000; i++) {
			uint8_t family = rand() % 2 ? IP_V4 : IP_V6;
			struct ip_addr src = some_addr(family), dst = some_addr(family);
			uint8_t proto = (uint8_t)(rand() % 4);
			uint16_t port = (uint16_t)(rand() % 6);
			const struct rule_query q = {src.bytes, dst.bytes, port, family, proto};
			bool want = walk(r, &src, &dst, proto, port);
			assert_int_equal(rules_allow(rules, &q, RULE_PORT), want);
			allowed += want;
		}
		rules_destroy(rules);
	}
	assert_in_range(allowed, 10000, 90000); // both happen
	free(r);
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
		cmocka_unit_test(each_publication_has_a_generation),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
