// The view of a netmap and what becomes of queries by it.
#include "control/dns/engine.h"
#include "tests/unit/dns_text.h"

#include <setjmp.h>
#include <stdarg.h>
// after the above, as cmocka asks
#include <cmocka.h>

#define N(array) (sizeof(array) / sizeof(array[0]))

#define PROXIED "\"Proxied\":true,\"Domains\":[\"lab.test\",\"corp.test\"]"
#define RECORDS                                                                                    \
	"\"ExtraRecords\":[{\"Name\":\"db.lab.test\",\"Value\":\"100.64.0.99\"},"                  \
	"{\"Name\":\"db.lab.test\",\"Type\":\"AAAA\",\"Value\":\"fd00::99\"},"                     \
	"{\"Name\":\"out.example\",\"Type\":\"A\",\"Value\":\"100.64.0.98\"},"                     \
	"{\"Name\":\"t.lab.test\",\"Type\":\"TXT\",\"Value\":\"100.64.0.97\"},"                    \
	"{\"Name\":\"bad.lab.test\",\"Value\":\"no address\"}]"
#define ROUTES                                                                                     \
	"\"Resolvers\":[{\"Addr\":\"192.0.2.53\"}],\"Routes\":{"                                   \
	"\"corp.test.\":[{\"Addr\":\"10.0.0.53\"},{\"Addr\":\"10.0.0.54:5353\"}],"                 \
	"\"deep.corp.test.\":[{\"Addr\":\"10.1.0.53\"}],"                                          \
	"\"here.test.\":null,\"Odd.test\":[{\"Addr\":\"tls://1.1.1.1\"}]}"
#define FILTERED "\"ExitNodeFilteredSet\":[\"secret.test\",\".hidden.test\"]"

static const char *const base[] = {"203.0.113.1"};

static struct dns_view *view_of(const char *self_more, const char *dns, const char *exit)
{
	struct netmap *nm = dns_netmap(self_more, dns);
	const struct dns_view_from from = {
		.netmap = nm, .exit_url = exit, .base = base, .n_base = 1};
	struct dns_view *v = dns_view_create(&from);
	netmap_destroy(nm); // nothing of it may be used
	return v;
}

static const struct dns_client on_host = {.who = DNS_ASKER_HOST};

// "rcode records [aa] [soa]" or "> resolvers".
static const char *outcome(const struct dns_view *v, const struct dns_client *client,
	const char *name, uint16_t type, char out[static 600])
{
	const struct message m = ask_for(name, type);
	const struct dns_route *route = NULL;
	struct dns_query q;
	uint8_t answer[1500];
	size_t len = 0;
	int n = 0;
	switch (dns_engine(
		v, client, m.bytes, m.len, 1900000000, &q, answer, sizeof(answer), &len, &route)) {
	case DNS_IGNORE:
		return "ignored";
	case DNS_FORWARD:
		n = snprintf(out, 600, ">");
		for (uint32_t i = 0; i < route->n; i++)
			n += snprintf(out + n, 600 - (size_t)n, " %s", route->targets[i].text);
		return out;
	case DNS_ANSWER:
		break;
	}
	assert_memory_equal(answer, m.bytes, 2);
	assert_int_equal(answer[11], 1); // EDNS is answered by EDNS
	snprintf(out, 600, "%s%s%s%s%s", dns_rcode_text(rcode_of(answer)), answer[7] ? " " : "",
		records_of(answer, len).text, answer[2] & 4 ? " aa" : "", answer[9] ? " soa" : "");
	return out;
}

struct query_case {
	const char *name;
	uint16_t type;
	const char *outcome;
};

static void expect(const struct dns_view *v, const struct query_case *cases, size_t n)
{
	char text[600];
	for (size_t i = 0; i < n; i++) {
		const char *is = outcome(v, &on_host, cases[i].name, cases[i].type, text);
		if (strcmp(is, cases[i].outcome) != 0)
			fail_msg("%s type %u: '%s' instead of '%s'", cases[i].name, cases[i].type,
				is, cases[i].outcome);
	}
}

static void test_names(void **)
{
	static const struct query_case cases[] = {
		{"alice.lab.test", ns_t_a, "NOERROR alice.lab.test A 5 100.64.0.2 aa"},
		{"ALICE.Lab.Test", ns_t_a, "NOERROR alice.lab.test A 5 100.64.0.2 aa"},
		{"gw.lab.test", ns_t_a, "NOERROR gw.lab.test A 5 100.64.0.1 aa"},
		{"alice.lab.test", ns_t_aaaa, "NOERROR aa soa"},
		{"alice.lab.test", ns_t_any, "NOERROR alice.lab.test A 5 100.64.0.2 aa"},
		{"six.lab.test", ns_t_aaaa, "NOERROR six.lab.test AAAA 5 fd7a:115c:a1e0::3 aa"},
		{"six.lab.test", ns_t_a, "NOERROR aa soa"},
		{"alice.lab.test", ns_t_mx, "NOERROR aa soa"},
		{"alice.lab.test", ns_t_soa, "NOTIMP aa"},
		{"alice.lab.test", ns_t_ns, "NOTIMP aa"},
		{"alice.lab.test", ns_t_hinfo, "NOTIMP aa"},
		{"nobody.lab.test", ns_t_a, "NXDOMAIN aa soa"},
		{"sub.alice.lab.test", ns_t_a, "NXDOMAIN aa soa"},
		{"a.b.web.lab.test", ns_t_a, "NOERROR a.b.web.lab.test A 5 100.64.0.4 aa"},
		{"lab.test", ns_t_a, "NXDOMAIN aa soa"},
		{"alice", ns_t_a, "> 192.0.2.53"}, // the machine's resolver searches
		{"alice.lab.test.evil.example", ns_t_a, "> 192.0.2.53"},
		{"evil-lab.test", ns_t_a, "> 192.0.2.53"},
	};
	struct dns_view *v = view_of(DNS_TEST_SELF, PROXIED "," ROUTES, NULL);
	expect(v, cases, N(cases));
	assert_int_equal(v->n_search, 2);
	assert_string_equal(v->search[0], "lab.test");
	dns_view_destroy(v);
}

// Which of a node's addresses are told.
static void test_families(void **)
{
	static const struct query_case wanted[] = {
		{"alice.lab.test", ns_t_aaaa, "NOERROR alice.lab.test AAAA 5 fd7a:115c:a1e0::2 aa"},
		{"alice.lab.test", ns_t_a, "NOERROR alice.lab.test A 5 100.64.0.2 aa"},
	};
	static const struct query_case only_v6[] = {
		{"alice.lab.test", ns_t_aaaa, "NOERROR alice.lab.test AAAA 5 fd7a:115c:a1e0::2 aa"},
		{"alice.lab.test", ns_t_a, "NOERROR aa soa"},
	};
	struct dns_view *v =
		view_of(DNS_TEST_SELF ",\"CapMap\":{\"magicdns-aaaa\":null}", PROXIED, NULL);
	expect(v, wanted, N(wanted));
	dns_view_destroy(v);
	v = view_of("\"Addresses\":[\"fd7a:115c:a1e0::1/128\"]", PROXIED, NULL);
	expect(v, only_v6, N(only_v6));
	dns_view_destroy(v);
}

static void test_records(void **)
{
	static const struct query_case cases[] = {
		{"db.lab.test", ns_t_a, "NOERROR db.lab.test A 5 100.64.0.99 aa"},
		{"db.lab.test", ns_t_aaaa, "NOERROR db.lab.test AAAA 5 fd00::99 aa"},
		{"out.example", ns_t_a, "NOERROR out.example A 5 100.64.0.98 aa"},
		{"out.example", ns_t_aaaa, "NOERROR aa"},
		{"t.lab.test", ns_t_a, "NXDOMAIN aa soa"},
		{"bad.lab.test", ns_t_a, "NXDOMAIN aa soa"},
	};
	struct dns_view *v = view_of(DNS_TEST_SELF, PROXIED "," RECORDS, NULL);
	expect(v, cases, N(cases));
	dns_view_destroy(v);
}

static void test_pointers(void **)
{
	static const struct query_case cases[] = {
		{"2.0.64.100.in-addr.arpa", ns_t_ptr, "NOERROR 2.0.64.100.in-addr.arpa PTR 5  aa"},
		{"3.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.e.1.a.c.5.1.1.a.7.d.f.ip6.arpa",
			ns_t_ptr,
			"NOERROR "
			"3.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.e.1.a.c.5.1.1.a.7.d.f.ip6."
			"arpa PTR 5  aa"},
		{"100.100.100.100.in-addr.arpa", ns_t_ptr,
			"NOERROR 100.100.100.100.in-addr.arpa PTR 5  aa"},
		{"77.0.64.100.in-addr.arpa", ns_t_ptr, "NXDOMAIN aa soa"},
		{"1.0.128.100.in-addr.arpa", ns_t_ptr, "> 192.0.2.53"},
		{"1.0.0.10.in-addr.arpa", ns_t_ptr, "> 192.0.2.53"},
		{"b._dns-sd._udp.0.0.0.10.in-addr.arpa", ns_t_ptr, "NXDOMAIN"},
		{"lb._dns-sd._udp.lab.test", ns_t_ptr, "NXDOMAIN"},
		{"alice.lab.test", ns_t_ptr, "NXDOMAIN aa soa"},
		{"2.0.64.100.in-addr.arpa", ns_t_a, "NXDOMAIN aa soa"},
	};
	struct dns_view *v = view_of(DNS_TEST_SELF, PROXIED "," ROUTES, NULL);
	expect(v, cases, N(cases));
	const struct ip_addr alice = {.bytes = {100, 64, 0, 2}, .family = IP_V4};
	assert_string_equal(dns_view_name(v, &alice), "alice.lab.test");
	dns_view_destroy(v);
}

static void test_special(void **)
{
	static const struct query_case cases[] = {
		{"x.onion", ns_t_a, "NXDOMAIN aa"},
		{"onion", ns_t_aaaa, "NXDOMAIN aa"},
		{"magicdns.localhost-tailscale-daemon", ns_t_a,
			"NOERROR magicdns.localhost-tailscale-daemon A 5 100.100.100.100 aa"},
		{"magicdns.localhost-tailscale-daemon", ns_t_aaaa,
			"NOERROR magicdns.localhost-tailscale-daemon AAAA 5 fd7a:115c:a1e0::53 aa"},
		{"192-168-1-2-via-7", ns_t_aaaa,
			"NOERROR 192-168-1-2-via-7 AAAA 5 fd7a:115c:a1e0:b1a:0:7:c0a8:102 aa"},
		{"10-0-0-1-via-0x10.foo.ts.net", ns_t_aaaa,
			"NOERROR 10-0-0-1-via-0x10.foo.ts.net AAAA 5 fd7a:115c:a1e0:b1a:0:10:a00:1 "
			"aa"},
		{"192-168-1-2-via-7", ns_t_a, "NOERROR aa"},
		{"192-168-1-2-via-7", ns_t_txt, "> 192.0.2.53"},
		{"192-168-1-2-via-7.example.com", ns_t_aaaa, "> 192.0.2.53"},
		{"192-168-1-300-via-7", ns_t_aaaa, "> 192.0.2.53"},
		{"192-168-1-via-7", ns_t_aaaa, "> 192.0.2.53"},
		{"192-168-1-2-via-", ns_t_aaaa, "> 192.0.2.53"},
		{"192-168-1-2-via-7x", ns_t_aaaa, "> 192.0.2.53"},
		{"192-168-1-2-via-4294967296", ns_t_aaaa, "> 192.0.2.53"},
		{"192-168-1-2-via--1", ns_t_aaaa, "> 192.0.2.53"},
		{"a.192-168-1-2-via-7", ns_t_aaaa, "> 192.0.2.53"},
	};
	struct dns_view *v = view_of(DNS_TEST_SELF, PROXIED "," ROUTES, NULL);
	expect(v, cases, N(cases));
	dns_view_destroy(v);
}

static void test_split(void **)
{
	static const struct query_case cases[] = {
		{"corp.test", ns_t_a, "> 10.0.0.53 10.0.0.54:5353"},
		{"a.corp.test", ns_t_a, "> 10.0.0.53 10.0.0.54:5353"},
		{"a.deep.corp.test", ns_t_a, "> 10.1.0.53"},
		{"deep.corp.test", ns_t_txt, "> 10.1.0.53"},
		{"notcorp.test", ns_t_a, "> 192.0.2.53"},
		{"a.here.test", ns_t_a, "NXDOMAIN aa soa"},
		{"a.odd.test", ns_t_a, "SERVFAIL"},
		{"", ns_t_ns, "> 192.0.2.53"},
	};
	struct dns_view *v = view_of(DNS_TEST_SELF, PROXIED "," ROUTES, NULL);
	expect(v, cases, N(cases));
	assert_int_equal(v->unsupported, 1);
	dns_view_destroy(v);
}

// Without MagicDNS names of nodes are known all the same, and nothing is denied.
static void test_without_magic(void **)
{
	static const struct query_case cases[] = {
		{"alice.lab.test", ns_t_a, "NOERROR alice.lab.test A 5 100.64.0.2 aa"},
		{"nobody.lab.test", ns_t_a, "> 203.0.113.1"},
		{"77.0.64.100.in-addr.arpa", ns_t_ptr, "> 203.0.113.1"},
	};
	struct dns_view *v = view_of(DNS_TEST_SELF, "\"Domains\":[]", NULL);
	expect(v, cases, N(cases));
	dns_view_destroy(v);
}

static void test_exit_node(void **)
{
	static const struct query_case through[] = {
		{"example.com", ns_t_a, "> http://100.64.0.2:1234/dns-query"},
		{"a.corp.test", ns_t_a, "> http://100.64.0.2:1234/dns-query"},
		{"a.here.test", ns_t_a, "NXDOMAIN aa soa"},
		{"alice.lab.test", ns_t_a, "NOERROR alice.lab.test A 5 100.64.0.2 aa"},
	};
	static const struct query_case beside[] = {
		{"example.com", ns_t_a, "> 192.0.2.54"},
		{"a.corp.test", ns_t_a, "> 10.0.0.53"},
		{"a.other.test", ns_t_a, "> 192.0.2.54"},
	};
	static const char url[] = "http://100.64.0.2:1234/dns-query";
	struct dns_view *v = view_of(DNS_TEST_SELF, PROXIED "," ROUTES, url);
	expect(v, through, N(through));
	dns_view_destroy(v);
	v = view_of(DNS_TEST_SELF,
		PROXIED
		",\"Resolvers\":[{\"Addr\":\"192.0.2.53\"},{\"Addr\":\"192.0.2.54\","
		"\"UseWithExitNode\":true}],\"Routes\":{\"corp.test\":[{\"Addr\":\"10.0.0.53\","
		"\"UseWithExitNode\":true},{\"Addr\":\"10.0.0.54\"}],\"other.test\":[{\"Addr\":"
		"\"10.0.0.55\"}]}",
		url);
	expect(v, beside, N(beside));
	dns_view_destroy(v);
}

// What peers get by the peerAPI.
static void test_peers(void **)
{
	static const struct dns_client peer = {.who = DNS_ASKER_PEER, .stream = true};
	static const struct query_case cases[] = {
		{"example.com", ns_t_a, "> 203.0.113.1"},
		{"alice.lab.test", ns_t_a, "> 203.0.113.1"},
		{"secret.test", ns_t_a, "REFUSED"},
		{"SECRET.test", ns_t_a, "REFUSED"},
		{"a.secret.test", ns_t_a, "> 203.0.113.1"},
		{"hidden.test", ns_t_a, "REFUSED"},
		{"a.hidden.test", ns_t_a, "REFUSED"},
	};
	char text[600];
	struct dns_view *v = view_of(DNS_TEST_SELF, PROXIED "," ROUTES "," FILTERED, NULL);
	for (unsigned i = 0; i < N(cases); i++)
		assert_string_equal(
			outcome(v, &peer, cases[i].name, cases[i].type, text), cases[i].outcome);
	v->own_host = true; // the machine itself resolves by the tailnet's settings
	assert_string_equal(outcome(v, &peer, "example.com", ns_t_a, text), "> 192.0.2.53");
	assert_string_equal(outcome(v, &peer, "a.deep.corp.test", ns_t_a, text), "> 10.1.0.53");
	dns_view_destroy(v);
}

// No netmap: the machine's resolvers for everything.
static void test_no_netmap(void **)
{
	static const struct query_case cases[] = {
		{"alice.lab.test", ns_t_a, "> 203.0.113.1"},
		{"x.onion", ns_t_a, "NXDOMAIN aa"},
	};
	struct dns_view_from from = {.base = base, .n_base = 1};
	char text[600];
	struct dns_view *v = dns_view_create(&from);
	expect(v, cases, N(cases));
	dns_view_destroy(v);
	from.n_base = 0;
	v = dns_view_create(&from);
	assert_string_equal(outcome(v, &on_host, "a.test", ns_t_a, text), "SERVFAIL");
	dns_view_destroy(v);
}

static void test_bad_queries(void **)
{
	struct dns_view *v = view_of(DNS_TEST_SELF, PROXIED, NULL);
	struct message m = ask_for("alice.lab.test", ns_t_a);
	const struct dns_route *route;
	struct dns_query q;
	uint8_t out[512];
	size_t n = 0;
	m.bytes[2] |= 0x80;
	assert_int_equal(
		dns_engine(v, &on_host, m.bytes, m.len, 0, &q, out, sizeof(out), &n, &route),
		DNS_IGNORE);
	m.bytes[2] = 0x28;
	assert_int_equal(
		dns_engine(v, &on_host, m.bytes, m.len, 0, &q, out, sizeof(out), &n, &route),
		DNS_ANSWER);
	assert_int_equal(rcode_of(out), ns_r_notimpl);
	m.bytes[2] = 1;
	assert_int_equal(dns_engine(v, &on_host, m.bytes, 20, 0, &q, out, sizeof(out), &n, &route),
		DNS_ANSWER);
	assert_int_equal(rcode_of(out), ns_r_formerr);
	assert_int_equal(n, DNS_HEADER_LEN);
	dns_view_destroy(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_families),
		cmocka_unit_test(test_records),
		cmocka_unit_test(test_pointers),
		cmocka_unit_test(test_special),
		cmocka_unit_test(test_split),
		cmocka_unit_test(test_without_magic),
		cmocka_unit_test(test_exit_node),
		cmocka_unit_test(test_peers),
		cmocka_unit_test(test_no_netmap),
		cmocka_unit_test(test_bad_queries),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
