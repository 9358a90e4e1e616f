// Which rule lets a packet in, or why none does, by the netmap as the server gave it and the rules
// that were compiled of it; and what peers are granted.
#include "tests/unit/netmap_text.h"

#include <netinet/in.h>
#include <rte_common.h>
#include <stdlib.h>

#include "control/tailnet/explain.h"

// Peer 2 has the capability web, peer 3 is in jail. Of the filter "a", the second rule is broken.
static const char map[] =
	"{" SELF ",\"Peers\":["
	"{\"ID\":2,\"Key\":" NODEKEY("2") ",\"DiscoKey\":" DISCO(
		"d") ",\"Addresses\":[\"100.64.0.2/32\","
		     "\"fd7a:115c:a1e0::2/128\"],\"CapMap\":{\"web\":null}},"
		     "{\"ID\":3,\"Key\":" NODEKEY("3") ",\"DiscoKey\":" DISCO("d") "," ADDR(
			     "3") ",\"IsJailed\":true}],"
				  "\"PacketFilters\":{\"a\":["
				  "{\"SrcIPs\":[\"100.64.0.7\",\"100.64.0.2-100.64.0.3\"],"
				  "\"DstPorts\":["
				  "{\"IP\":\"10.1.0.0/24\",\"Ports\":{\"First\":80,\"Last\":90}},"
				  "{\"IP\":\"10.1.0.9\",\"Ports\":{\"First\":443,\"Last\":443}}],"
				  "\"IPProto\":[6]},"
				  "{\"SrcIPs\":7,\"DstPorts\":[]},"
				  "{\"SrcIPs\":[\"cap:web\"],\"DstPorts\":["
				  "{\"IP\":\"*\",\"Ports\":{\"First\":8080,\"Last\":8080}}]}],"
				  "\"b\":[{\"SrcIPs\":[\"*\"],\"DstPorts\":["
				  "{\"IP\":\"10.1.0.7\",\"Ports\":{\"First\":0,\"Last\":65535}}],"
				  "\"IPProto\":[47]},"
				  "{\"SrcIPs\":[\"cap:web\"],\"CapGrant\":[{\"Dsts\":[\"100.64.0.1/"
				  "32\"],"
				  "\"CapMap\":{\"x.test/a\":[1],\"x.test/b\":null}}]},"
				  "{\"SrcIPs\":[\"100.64.0.0/"
				  "30\"],\"CapGrant\":[{\"Dsts\":[\"100.64.0.0/24\"],"
				  "\"CapMap\":{\"x.test/a\":[\"2\"],\"x.test/b\":[3]}},"
				  "{\"Dsts\":[\"100.64.0.9/32\"],\"CapMap\":{\"x.test/"
				  "c\":[]}}]}]}}";

static const struct {
	const char *name, *src, *dst;
	uint8_t proto;
	uint16_t port;
	enum explain_verdict verdict;
	const char *filter; // of the rule; NULL: none
	uint32_t number;
	bool in_force;
} rows[] = {
	{"by a range", "100.64.0.2", "10.1.0.5", 6, 80, EXPLAIN_ALLOWED, "a", 1, true},
	{"the second destination", "100.64.0.2", "10.1.0.9", 6, 443, EXPLAIN_ALLOWED, "a", 1, true},
	{"by what a node is", "100.64.0.2", "10.1.0.5", 6, 8080, EXPLAIN_ALLOWED, "a", 3, true},
	{"by what a node is, IPv6", "fd7a:115c:a1e0::2", "fd00::5", 6, 8080, EXPLAIN_ALLOWED, "a",
		3, true},
	{"UDP, by the usual protocols", "100.64.0.2", "10.1.0.5", 17, 8080, EXPLAIN_ALLOWED, "a", 3,
		true},
	{"ICMP by a rule for TCP", "100.64.0.2", "10.1.0.5", 1, 0, EXPLAIN_ALLOWED, "a", 1, true},
	{"GRE", "100.64.0.2", "10.1.0.7", 47, 0, EXPLAIN_ALLOWED, "b", 1, true},
	{"another port", "100.64.0.2", "10.1.0.5", 6, 91, EXPLAIN_NO_PORT, "a", 1, false},
	{"another protocol", "100.64.0.2", "10.1.0.5", 132, 80, EXPLAIN_NO_PROTOCOL, "a", 1, false},
	{"GRE where few ports are open", "100.64.0.2", "10.1.0.5", 47, 0, EXPLAIN_NO_PROTOCOL, "a",
		1, false},
	{"to ourselves", "100.64.0.2", "100.64.0.1", 6, 22, EXPLAIN_NO_PORT, "a", 3, false},
	{"the peerAPI", "100.64.0.2", "100.64.0.1", 6, 4000, EXPLAIN_PEERAPI, "a", 3, true},
	{"not ours", "100.64.0.2", "10.2.0.5", 6, 8080, EXPLAIN_NOT_LOCAL, "a", 3, false},
	{"multicast", "100.64.0.2", "224.0.0.5", 17, 8080, EXPLAIN_SCOPE, "a", 3, false},
	{"link-local", "100.64.0.2", "169.254.1.1", 17, 8080, EXPLAIN_SCOPE, "a", 3, false},
	{"the cloud's metadata", "100.64.0.2", "169.254.169.254", 6, 8080, EXPLAIN_NOT_LOCAL, "a",
		3, false},
	{"a peer in jail", "100.64.0.3", "10.1.0.5", 6, 80, EXPLAIN_JAILED, "a", 1, false},
	{"nobody's address", "100.64.0.7", "10.1.0.5", 6, 80, EXPLAIN_UNKNOWN_SOURCE, "a", 1,
		false},
	{"our own", "100.64.0.1", "10.1.0.5", 6, 80, EXPLAIN_OWN_SOURCE, "b", 1, false},
};

static struct ip_addr addr(const char *text)
{
	struct ip_addr a;
	assert_int_equal(ip_addr_parse(text, &a), 0);
	return a;
}

static struct rules *compile(const struct netmap *nm, bool shields_up)
{
	struct ip_prefix routes[2];
	assert_int_equal(ip_prefix_parse("10.1.0.0/24", &routes[0]), 0);
	assert_int_equal(ip_prefix_parse("fd00::/64", &routes[1]), 0);
	struct rules *r = tn_filter_compile(&(struct tn_filter_spec){.netmap = nm,
		.routes = routes,
		.n_routes = 2,
		.shields_up = shields_up,
		.peerapi4 = 4000});
	assert_non_null(r);
	return r;
}

static void ask(struct explanation *e, const struct netmap *nm, const struct rules *r, unsigned row)
{
	const struct explain_query q = {
		addr(rows[row].src), addr(rows[row].dst), rows[row].proto, rows[row].port};
	explain(e, &q, nm, netmap_peer_by_addr(nm, &q.src), r);
}

static void each_row(void **)
{
	struct netmap *nm = new_netmap();
	apply(nm, map);
	struct rules *r = compile(nm, false);
	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		struct explanation e;
		print_message("%s\n", rows[i].name);
		ask(&e, nm, r, i);
		assert_int_equal(e.verdict, rows[i].verdict);
		assert_int_equal(e.in_force, rows[i].in_force);
		assert_non_null(e.rule);
		assert_string_equal(e.chunk->name, rows[i].filter);
		assert_int_equal(e.rule->number, rows[i].number);
		assert_non_null(e.source);
	}
	rules_destroy(r);
	netmap_destroy(nm);
}

// A host behind a peer that has the capability has none itself, as the compiled rules see it.
static void behind_a_peer(void **)
{
	struct netmap *nm = new_netmap();
	struct explanation e;
	apply(nm, map);
	struct rules *r = compile(nm, false);
	const struct ip_addr node = addr("100.64.0.2");
	const struct explain_query q = {addr("10.88.2.5"), addr("10.1.0.5"), IPPROTO_TCP, 8080};
	explain(&e, &q, nm, netmap_peer_by_addr(nm, &node), r);
	assert_int_equal(e.verdict, EXPLAIN_NO_DESTINATION); // of what anybody may
	assert_string_equal(e.chunk->name, "b");
	assert_false(e.in_force);
	rules_destroy(r);
	netmap_destroy(nm);
}

static void which_source_and_destination(void **)
{
	struct netmap *nm = new_netmap();
	struct explanation e;
	apply(nm, map);
	struct rules *r = compile(nm, false);
	ask(&e, nm, r, 1);
	assert_ptr_equal(e.source, &e.rule->sources[1]);
	assert_ptr_equal(e.destination, &e.rule->destinations[1]);
	ask(&e, nm, r, 7); // the destination whose port is another
	assert_ptr_equal(e.destination, &e.rule->destinations[0]);
	rules_destroy(r);
	netmap_destroy(nm);
}

static void shields_and_no_rules(void **)
{
	struct netmap *nm = new_netmap();
	struct explanation e;
	ask(&e, nm, NULL, 0);
	assert_int_equal(e.verdict, EXPLAIN_NO_NETMAP);
	assert_null(e.rule);
	apply(nm, map);
	struct rules *shields = compile(nm, true), *open = compile(nm, false);
	ask(&e, nm, shields, 0);
	assert_int_equal(e.verdict, EXPLAIN_SHIELDS_UP);
	assert_false(e.in_force);
	ask(&e, nm, NULL, 0); // before the first rules
	assert_int_equal(e.verdict, EXPLAIN_NOT_LOCAL);
	// The policy is another, the workers have the one before.
	apply(nm,
		"{\"PacketFilters\":{\"*\":null,\"c\":[{\"SrcIPs\":[\"100.64.0.9\"],\"DstPorts\":["
		"{\"IP\":\"*\",\"Ports\":{\"First\":1,\"Last\":1}}]}]}}");
	ask(&e, nm, open, 0);
	assert_int_equal(e.verdict, EXPLAIN_NO_SOURCE);
	assert_true(e.in_force);
	assert_null(e.rule);
	rules_destroy(shields);
	rules_destroy(open);
	netmap_destroy(nm);
}

static const struct {
	const char *name, *src, *dst, *caps;
} grants[] = {
	{"the union", "100.64.0.2", "100.64.0.1", "{\"x.test/a\":[1,\"2\"],\"x.test/b\":[3]}"},
	{"by another address", "fd7a:115c:a1e0::2", "100.64.0.1",
		"{\"x.test/a\":[1],\"x.test/b\":null}"},
	{"by a prefix alone", "100.64.0.3", "100.64.0.1",
		"{\"x.test/a\":[\"2\"],\"x.test/b\":[3]}"},
	{"towards another", "100.64.0.3", "100.64.0.9",
		"{\"x.test/a\":[\"2\"],\"x.test/b\":[3],\"x.test/c\":null}"},
	{"towards nobody", "100.64.0.2", "10.1.0.5", "{}"},
	{"of nobody", "100.64.0.7", "100.64.0.1", "{}"},
};

static void what_is_granted(void **)
{
	struct netmap *nm = new_netmap();
	apply(nm, map);
	for (unsigned i = 0; i < RTE_DIM(grants); i++) {
		const struct ip_addr src = addr(grants[i].src), dst = addr(grants[i].dst);
		print_message("%s\n", grants[i].name);
		json_t *caps = tn_peer_caps(nm, &src, &dst);
		char *text = json_dumps(caps, JSON_COMPACT | JSON_SORT_KEYS);
		assert_string_equal(text, grants[i].caps);
		assert_int_equal(tn_peer_has_cap(nm, &src, &dst, "x.test/a"),
			json_object_get(caps, "x.test/a") != NULL);
		assert_false(tn_peer_has_cap(nm, &src, &dst, "x.test"));
		free(text);
		json_decref(caps);
	}
	assert_true(tn_node_granted(nm, netmap_peer(nm, 2)->node, "x.test/b"));
	assert_true(tn_node_granted(nm, netmap_peer(nm, 3)->node, "x.test/a"));
	assert_false(tn_node_granted(nm, netmap_peer(nm, 3)->node, "x.test/c"));
	netmap_destroy(nm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_row),
		cmocka_unit_test(behind_a_peer),
		cmocka_unit_test(which_source_and_destination),
		cmocka_unit_test(shields_and_no_rules),
		cmocka_unit_test(what_is_granted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
