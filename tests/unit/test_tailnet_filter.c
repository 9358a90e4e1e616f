// The netmap's filter, our addresses and routes compiled: asked packet by packet.
#include "tests/unit/netmap_text.h"

#include <netinet/in.h>
#include <rte_common.h>
#include <stdlib.h>

#include "control/tailnet/filter.h"

static struct ip_addr addr(const char *text)
{
	struct ip_addr a;
	if (ip_addr_parse(text, &a) < 0)
		fail_msg("%s", text);
	return a;
}

static bool is_local(const struct rules *r, const char *text)
{
	const struct ip_addr a = addr(text);
	return rules_is_local(r, a.family, a.bytes);
}

static bool allows(
	const struct rules *r, const char *from, const char *to, uint8_t proto, uint16_t port)
{
	const struct ip_addr s = addr(from), d = addr(to);
	const struct rule_query q = {s.bytes, d.bytes, port, d.family, proto};
	bool icmp = proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6;
	bool ports = proto == IPPROTO_TCP || proto == IPPROTO_UDP;
	return rules_allow(r, &q, icmp ? RULE_ANY_PORT : ports ? RULE_PORT : RULE_ALL_PORTS);
}

static struct rules *compile(const struct netmap *nm, const char *const *routes, uint32_t n,
	const char *const *attached, uint32_t n_attached, bool shields_up)
{
	struct ip_prefix prefixes[8];
	struct ip_ifaddr addresses[8];
	for (uint32_t i = 0; i < n; i++)
		assert_int_equal(ip_prefix_parse(routes[i], &prefixes[i]), 0);
	for (uint32_t i = 0; i < n_attached; i++)
		assert_int_equal(ip_ifaddr_parse(attached[i], &addresses[i]), 0);
	return tn_filter_compile(
		&(struct tn_filter_spec){nm, prefixes, n, addresses, n_attached, shields_up});
}

// Peer 2 has the capability web and two addresses, peer 3 is expired and has it, too.
static struct netmap *a_netmap(const char *filter)
{
	char text[4096];
	struct netmap *nm = new_netmap();
	apply(nm,
		"{" SELF ",\"Peers\":["
		"{\"ID\":2,\"Key\":" NODEKEY("2") ",\"DiscoKey\":" DISCO(
			"d") ",\"Addresses\":[\"100.64.0.2/32\",\"fd7a:115c:a1e0::2/128\"],"
			     "\"CapMap\":{\"web\":null}},"
			     "{\"ID\":3,\"Key\":" NODEKEY("3") ",\"DiscoKey\":" DISCO("d") "," ADDR(
				     "3") ",\"Expired\":true,\"CapMap\":{\"web\":"
					  "null}},"
					  "{\"ID\":4,\"Key\":" NODEKEY("4") ",\"DiscoKey\":" DISCO(
						  "d") "," ADDR("4") "}]}");
	snprintf(text, sizeof(text), "{%s}", filter);
	apply(nm, text);
	return nm;
}

#define ME "100.64.0.1"
#define RULES(list) "\"PacketFilters\":{\"base\":[" list "]}"
#define RULE(src, dst, first, last)                                                                \
	"{\"SrcIPs\":[" src "],\"DstPorts\":[{\"IP\":" dst ",\"Ports\":{\"First\":" first          \
	",\"Last\":" last "}}]}"
#define PROTO(src, dst, first, last, protocols)                                                    \
	"{\"SrcIPs\":[" src "],\"DstPorts\":[{\"IP\":" dst ",\"Ports\":{\"First\":" first          \
	",\"Last\":" last "}}],\"IPProto\":[" protocols "]}"

static const struct {
	const char *name, *filter, *from, *to;
	uint8_t proto;
	uint16_t port;
	bool allowed;
} rows[] = {
	{"no filter at all", "\"PacketFilters\":null", "100.64.0.2", ME, 6, 22},
	{"a filter without rules", RULES(""), "100.64.0.2", ME, 6, 22},
	{"all to all", RULES(RULE("\"*\"", "\"*\"", "0", "65535")), "100.64.0.2", ME, 6, 22, true},
	{"all to all, UDP", RULES(RULE("\"*\"", "\"*\"", "0", "65535")), "100.64.0.2", ME, 17, 22,
		true},
	{"all to all, ICMP", RULES(RULE("\"*\"", "\"*\"", "0", "65535")), "100.64.0.2", ME, 1, 0,
		true},
	{"all to all, IPv6", RULES(RULE("\"*\"", "\"*\"", "0", "65535")), "fd7a:115c:a1e0::2",
		"fd7a:115c:a1e0::1", 6, 22, true},
	{"all to all, SCTP", RULES(RULE("\"*\"", "\"*\"", "0", "65535")), "100.64.0.2", ME, 132, 0},
	{"all to all, GRE", RULES(RULE("\"*\"", "\"*\"", "0", "65535")), "100.64.0.2", ME, 47, 0},
	{"GRE when it is listed", RULES(PROTO("\"*\"", "\"*\"", "0", "65535", "47")), "100.64.0.2",
		ME, 47, 0, true},
	{"TCP when GRE is listed", RULES(PROTO("\"*\"", "\"*\"", "0", "65535", "47")), "100.64.0.2",
		ME, 6, 22},
	{"a source", RULES(RULE("\"100.64.0.2\"", "\"*\"", "22", "22")), "100.64.0.2", ME, 6, 22,
		true},
	{"another source", RULES(RULE("\"100.64.0.2\"", "\"*\"", "22", "22")), "100.64.0.4", ME, 6,
		22},
	{"another port", RULES(RULE("\"100.64.0.2\"", "\"*\"", "22", "22")), "100.64.0.2", ME, 6,
		23},
	{"a range", RULES(RULE("\"100.64.0.2-100.64.0.3\"", "\"" ME "\"", "22", "22")),
		"100.64.0.3", ME, 6, 22, true},
	{"behind a range", RULES(RULE("\"100.64.0.2-100.64.0.3\"", "\"" ME "\"", "22", "22")),
		"100.64.0.4", ME, 6, 22},
	{"a prefix as destination", RULES(RULE("\"*\"", "\"10.0.0.0/8\"", "22", "22")),
		"100.64.0.4", "10.255.255.255", 6, 22, true},
	{"outside of it", RULES(RULE("\"*\"", "\"10.0.0.0/8\"", "22", "22")), "100.64.0.4",
		"11.0.0.0", 6, 22},
	{"by capability", RULES(RULE("\"cap:web\"", "\"*\"", "80", "80")), "100.64.0.2", ME, 6, 80,
		true},
	{"by capability, IPv6", RULES(RULE("\"cap:web\"", "\"*\"", "80", "80")),
		"fd7a:115c:a1e0::2", "fd7a:115c:a1e0::1", 6, 80, true},
	{"who has it, but is expired", RULES(RULE("\"cap:web\"", "\"*\"", "80", "80")),
		"100.64.0.3", ME, 6, 80},
	{"who does not have it", RULES(RULE("\"cap:web\"", "\"*\"", "80", "80")), "100.64.0.4", ME,
		6, 80},
	{"a capability of nobody", RULES(RULE("\"cap:none\"", "\"*\"", "80", "80")), "100.64.0.2",
		ME, 6, 80},
	{"a capability beside an address",
		RULES(RULE("\"cap:none\",\"100.64.0.2\"", "\"*\"", "80", "80")), "100.64.0.2", ME,
		6, 80, true},
	{"the first of two rules",
		RULES(RULE("\"100.64.0.4\"", "\"*\"", "80", "80") "," RULE(
			"\"100.64.0.2\"", "\"*\"", "81", "81")),
		"100.64.0.4", ME, 6, 80, true},
	{"the second of two rules",
		RULES(RULE("\"100.64.0.4\"", "\"*\"", "80", "80") "," RULE(
			"\"100.64.0.2\"", "\"*\"", "81", "81")),
		"100.64.0.2", ME, 6, 81, true},
	{"half of each rule",
		RULES(RULE("\"100.64.0.4\"", "\"*\"", "80", "80") "," RULE(
			"\"100.64.0.2\"", "\"*\"", "81", "81")),
		"100.64.0.2", ME, 6, 80},
	{"a second chunk",
		"\"PacketFilters\":{\"a\":[" RULE("\"100.64.0.4\"", "\"*\"", "80",
			"80") "],\"b\":[" RULE("\"100.64.0.2\"", "\"*\"", "81", "81") "]}",
		"100.64.0.2", ME, 6, 81, true},
	{"a grant of capabilities is no rule",
		RULES("{\"SrcIPs\":[\"*\"],\"CapGrant\":[{\"Dsts\":[\"0.0.0.0/0\"],\"CapMap\":{"
		      "\"x\":null}}]}"),
		"100.64.0.2", ME, 6, 80},
};

static void each_rule(void **)
{
	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		struct netmap *nm = a_netmap(rows[i].filter);
		struct rules *r = compile(nm, NULL, 0, NULL, 0, false);
		struct rules *shields = compile(nm, NULL, 0, NULL, 0, true);
		print_message("%s\n", rows[i].name);
		assert_int_equal(allows(r, rows[i].from, rows[i].to, rows[i].proto, rows[i].port),
			rows[i].allowed);
		assert_false(
			allows(shields, rows[i].from, rows[i].to, rows[i].proto, rows[i].port));
		assert_true(is_local(shields, ME));
		rules_destroy(r);
		rules_destroy(shields);
		netmap_destroy(nm);
	}
}

static const struct {
	const char *name;
	const char *routes[3], *attached[3];
	const char *dst;
	bool local;
} places[] = {
	{"our address", {0}, {0}, ME, true},
	{"a peer's address", {0}, {0}, "100.64.0.2", false},
	{"our address on the LAN", {0}, {"10.1.0.1/24"}, "10.1.0.1", false},
	{"an advertised route", {"10.1.0.0/24"}, {"10.1.0.1/24"}, "10.1.0.7", true},
	{"beside it", {"10.1.0.0/24"}, {"10.1.0.1/24"}, "10.1.1.7", false},
	{"an advertised route of one address", {"203.0.113.7/32"}, {0}, "203.0.113.7", true},
	{"an advertised route, IPv6", {"2001:db8::/32"}, {0}, "2001:db8::1", true},
	{"the internet", {"0.0.0.0/0"}, {"203.0.113.9/24"}, "8.8.8.8", true},
	{"the internet, its last", {"0.0.0.0/0"}, {0}, "255.255.255.255", true},
	{"IPv6 by an IPv4 route", {"0.0.0.0/0"}, {0}, "2001:db8::1", false},
	{"the internet, IPv6", {"0.0.0.0/0", "::/0"}, {0}, "2001:db8::1", true},
	{"attached", {"0.0.0.0/0"}, {"203.0.113.9/24"}, "203.0.113.8", false},
	{"attached, the last", {"0.0.0.0/0"}, {"203.0.113.9/24"}, "203.0.113.255", false},
	{"behind what is attached", {"0.0.0.0/0"}, {"203.0.113.9/24"}, "203.0.114.0", true},
	{"before what is attached", {"0.0.0.0/0"}, {"203.0.113.9/24"}, "203.0.112.255", true},
	{"our address in what is attached", {"0.0.0.0/0"}, {"203.0.113.9/24"}, "203.0.113.9", true},
	{"attached, but advertised", {"0.0.0.0/0", "203.0.113.0/25"}, {"203.0.113.9/24"},
		"203.0.113.8", true},
	{"our private address", {"0.0.0.0/0"}, {"10.1.0.1/24"}, "10.1.0.1", false},
	{"private: 10", {"0.0.0.0/0"}, {0}, "10.0.0.0", false},
	{"below 10", {"0.0.0.0/0"}, {0}, "9.255.255.255", true},
	{"above 10", {"0.0.0.0/0"}, {0}, "11.0.0.0", true},
	{"private: 172", {"0.0.0.0/0"}, {0}, "172.31.255.255", false},
	{"above 172", {"0.0.0.0/0"}, {0}, "172.32.0.0", true},
	{"private: 192", {"0.0.0.0/0"}, {0}, "192.168.3.4", false},
	{"a private network that is advertised", {"0.0.0.0/0", "192.168.3.0/24"}, {0},
		"192.168.3.4", true},
	{"link-local", {"0.0.0.0/0"}, {0}, "169.254.169.254", false},
	{"a node of the tailnet", {"0.0.0.0/0"}, {0}, "100.64.0.2", false},
	{"multicast", {"0.0.0.0/0"}, {0}, "224.0.0.1", false},
	{"loopback", {"0.0.0.0/0"}, {"127.0.0.1/8"}, "127.0.0.1", false},
	{"IPv6: attached", {"::/0"}, {"2001:db8:1::5/64"}, "2001:db8:1::6", false},
	{"IPv6: our address", {"::/0"}, {"2001:db8:1::5/64"}, "2001:db8:1::5", true},
	{"IPv6: behind it", {"::/0"}, {"2001:db8:1::5/64"}, "2001:db8:1:1::", true},
	{"IPv6: loopback", {"::/0"}, {"::1/128"}, "::1", false},
	{"IPv6: link-local", {"::/0"}, {0}, "fe80::1", false},
	{"IPv6: multicast", {"::/0"}, {0}, "ff02::1", false},
	{"IPv6: a node of the tailnet", {"::/0"}, {0}, "fd7a:115c:a1e0::2", false},
	{"IPv6: another private network", {"::/0"}, {0}, "fd7b::2", true},
	{"IPv6: its last", {"::/0"}, {0}, "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true},
	{"all is attached", {"0.0.0.0/0", "::/0"}, {"0.0.0.0/0", "::/0"}, "8.8.8.8", false},
};

static uint32_t count(const char *const *list)
{
	uint32_t n = 0;
	while (n < 3 && list[n])
		n++;
	return n;
}

static void each_place(void **)
{
	struct netmap *nm = a_netmap(RULES(""));
	for (unsigned i = 0; i < RTE_DIM(places); i++) {
		print_message("%s\n", places[i].name);
		struct rules *r = compile(nm, places[i].routes, count(places[i].routes),
			places[i].attached, count(places[i].attached), false);
		assert_int_equal(is_local(r, places[i].dst), places[i].local);
		assert_true(is_local(r, ME));
		rules_destroy(r);
	}
	netmap_destroy(nm);
}

// Many networks, in any order and overlapping: what is attached is never the internet.
static void many_attached_networks(void **)
{
	enum { N = 500 };
	static struct ip_ifaddr attached[N];
	struct ip_prefix route = {.addr.family = IP_V4};
	struct netmap *nm = a_netmap(RULES(""));
	srand(1);
	for (unsigned i = 0; i < N; i++) {
		attached[i].addr.family = IP_V4;
		for (unsigned j = 0; j < 4; j++)
			attached[i].addr.bytes[j] = (uint8_t)(j == 0 ? 20 : rand());
		attached[i].len = (uint8_t)(12 + rand() % 20);
	}
	struct rules *r = tn_filter_compile(&(struct tn_filter_spec){nm, &route, 1, attached, N});
	for (unsigned i = 0; i < N; i++) {
		struct ip_addr other = attached[i].addr;
		bool ours = false;
		other.bytes[3] ^= 1;
		for (unsigned j = 0; j < N; j++)
			ours |= ip_addr_equal(&attached[j].addr, &other);
		assert_true(rules_is_local(r, IP_V4, attached[i].addr.bytes));
		assert_int_equal(rules_is_local(r, IP_V4, other.bytes), ours);
	}
	assert_true(is_local(r, "19.255.255.255"));
	assert_true(is_local(r, "21.0.0.0"));
	rules_destroy(r);
	netmap_destroy(nm);
}

static void without_netmap_nothing_comes_in(void **)
{
	struct netmap *nm = new_netmap();
	struct ip_prefix route = {.addr.family = IP_V4};
	struct rules *r = tn_filter_rules(
		&(struct tn_filter_spec){.netmap = nm, .routes = &route, .n_routes = 1});
	assert_non_null(r);
	assert_false(is_local(r, ME));
	assert_false(is_local(r, "8.8.8.8"));
	assert_false(allows(r, "100.64.0.2", ME, 6, 22));
	rules_destroy(r);
	netmap_destroy(nm);
}

// Of this machine, whatever its networks are.
static void loopback_is_never_outside(void **)
{
	struct netmap *nm = a_netmap(RULES(""));
	struct ip_prefix routes[] = {{.addr.family = IP_V4}, {.addr.family = IP_V6}};
	struct rules *r = tn_filter_rules(&(struct tn_filter_spec){
		.netmap = nm, .routes = routes, .n_routes = 2, .shields_up = true});
	assert_true(rules_shields_up(r));
	assert_true(is_local(r, ME));
	assert_false(is_local(r, "127.0.0.1"));
	assert_false(is_local(r, "::1"));
	assert_false(is_local(r, "fe80::1"));
	rules_destroy(r);
	netmap_destroy(nm);
}

// From any peer, whatever the rules say; at our own addresses and this port alone.
static void peerapi_is_let_in(void **)
{
	struct netmap *nm = a_netmap(RULES(""));
	struct tn_filter_spec spec = {.netmap = nm, .peerapi4 = 40000};
	struct rules *r = tn_filter_compile(&spec);
	assert_true(allows(r, "100.64.0.2", ME, 6, 40000));
	assert_true(allows(r, "192.0.2.1", ME, 6, 40000));
	assert_false(allows(r, "100.64.0.2", ME, 17, 40000));
	assert_false(allows(r, "100.64.0.2", ME, 6, 40001));
	assert_false(allows(r, "100.64.0.2", "100.64.0.3", 6, 40000));
	assert_false(allows(r, "100.64.0.2", ME, 1, 0)); // no echo by it
	rules_destroy(r);
	spec.peerapi4 = 0;
	r = tn_filter_compile(&spec);
	assert_false(allows(r, "100.64.0.2", ME, 6, 0));
	assert_false(allows(r, "100.64.0.2", ME, 6, 40000));
	rules_destroy(r);
	spec.peerapi4 = 40000;
	spec.shields_up = true;
	r = tn_filter_compile(&spec);
	assert_false(allows(r, "100.64.0.2", ME, 6, 40000));
	rules_destroy(r);
	netmap_destroy(nm);
}

// Rules whose sources would be millions: those that are too many let nobody in, the others stay.
static void too_many_sources_are_refused(void **)
{
	enum { PEERS = 3000, N = 400 };
	char *text = malloc(PEERS * 400 + N * 200), *at = text;
	struct netmap *nm = new_netmap();
	at += sprintf(at, "{" SELF ",\"Peers\":[");
	for (unsigned i = 0; i < PEERS; i++)
		at += sprintf(at,
			"%s{\"ID\":%u,\"Key\":\"nodekey:%064x\",\"DiscoKey\":" DISCO(
				"d") ",\"Addresses\":[\"100.%u.%u.%u/"
				     "32\"],\"CapMap\":{\"c\":null}}",
			i ? "," : "", i + 10, i + 10, 65 + i / 65536, i / 256 % 256, i % 256);
	at += sprintf(at, "],\"PacketFilters\":{\"base\":[");
	for (unsigned i = 0; i < N; i++)
		at += sprintf(at, "%s" RULE("\"cap:c\"", "\"*\"", "%u", "%u"), i ? "," : "", i, i);
	sprintf(at, "," RULE("\"100.64.0.9\"", "\"*\"", "999", "999") "]}}");
	apply(nm, text);
	assert_null(compile(nm, NULL, 0, NULL, 0, false));
	struct rules *shields = compile(nm, NULL, 0, NULL, 0, true); // needs none of them
	assert_non_null(shields);
	assert_false(allows(shields, "100.64.0.9", ME, 6, 999));
	rules_destroy(shields);
	netmap_destroy(nm);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_rule),
		cmocka_unit_test(each_place),
		cmocka_unit_test(many_attached_networks),
		cmocka_unit_test(without_netmap_nothing_comes_in),
		cmocka_unit_test(loopback_is_never_outside),
		cmocka_unit_test(peerapi_is_let_in),
		cmocka_unit_test(too_many_sources_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
