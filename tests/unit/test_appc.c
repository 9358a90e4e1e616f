// An app connector: which names it watches, what it learns of answers and what not, its limits,
// what a restart keeps. test_nm_caps.c has the capabilities that say all this.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <rte_common.h>

#include "control/tailnet/appc.h"
#include "control/tailnet/priv.h"
#include "tests/unit/dns_text.h"

// -- answers --------------------------------------------------------------------------------------

// A name in wire form.
static size_t wire_name(const char *name, uint8_t *out)
{
	size_t len = 0;
	while (*name) {
		const size_t n = strcspn(name, ".");
		out[len++] = (uint8_t)n;
		memcpy(out + len, name, n);
		len += n;
		name += n + (name[n] == '.');
	}
	out[len++] = 0;
	return len;
}

// A record of any name: "A" or "AAAA" with an address, "CNAME" with a name.
static void put_named(struct message *m, const char *name, const char *type, const char *data)
{
	uint8_t owner[256], value[256];
	size_t owner_len = wire_name(name, owner), len;
	struct ip_addr a;
	if (strcmp(type, "CNAME") == 0) {
		len = wire_name(data, value);
	} else {
		assert_int_equal(ip_addr_parse(data, &a), 0);
		len = a.family == IP_V4 ? 4 : 16;
		memcpy(value, a.bytes, len);
	}
	const uint16_t t = dns_type_read(type);
	const uint8_t head[10] = {(uint8_t)(t >> 8), (uint8_t)t, 0, 1, 0, 0, 0, 60,
		(uint8_t)(len >> 8), (uint8_t)len};
	put_bytes(m, owner, owner_len);
	put_bytes(m, head, sizeof(head));
	put_bytes(m, value, len);
	m->bytes[7]++;
}

// "NAME TYPE DATA; ..." as the answer to a question for name.
static struct message answer(const char *name, const char *records)
{
	const struct message q = ask_plainly(name, ns_t_a);
	struct message m = reply_to(&q, ns_r_noerror);
	char owner[256], type[16], data[256];
	int used;
	while (sscanf(records, "%255s %15s %255[^; ]%n", owner, type, data, &used) == 3) {
		put_named(&m, owner, type, data);
		records += used + strspn(records + used, "; ");
	}
	return m;
}

static bool no_own(void *, const struct ip_addr *)
{
	return false;
}

static bool is_198(void *, const struct ip_addr *a)
{
	return a->family == IP_V4 && a->bytes[0] == 198;
}

static bool observe(struct appc *a, const char *name, const char *records)
{
	const struct message m = answer(name, records);
	return appc_observe(a, name, m.bytes, m.len, no_own, NULL);
}

static bool configure(struct appc *a, const char *const *domains, uint32_t n)
{
	return appc_configure(a, &(struct appc_spec){.domains = domains, .n_domains = n});
}

// What was learned as "name addr addr; name addr"
static void assert_learned(const struct appc *a, const char *want)
{
	char text[2048] = "";
	json_t *domains = appc_domains_json(a), *addrs, *v;
	const char *name;
	size_t i;
	json_object_foreach(domains, name, addrs)
	{
		size_t n = strlen(text);
		if (json_array_size(addrs) == 0)
			continue;
		snprintf(text + n, sizeof(text) - n, "%s%s", n ? "; " : "", name);
		json_array_foreach(addrs, i, v)
		{
			n = strlen(text);
			snprintf(text + n, sizeof(text) - n, " %s", json_string_value(v));
		}
	}
	json_decref(domains);
	assert_string_equal(text, want);
}

static void test_matching(void **)
{
	static const char *const domains[] = {"Example.com", "*.wild.example", "*.deep.wild.test",
		"dotted.example.", "a_b.example"};
	static const struct {
		const char *question, *records, *learned; // "": nothing
	} cases[] = {
		{"example.com", "example.com A 203.0.113.1", "example.com 203.0.113.1"},
		{"example.com", "EXAMPLE.com A 203.0.113.1", "example.com 203.0.113.1"},
		{"example.com", "example.com AAAA 2001:db8::1; example.com A 203.0.113.1",
			"example.com 2001:db8::1 203.0.113.1"},
		{"dotted.example", "dotted.example A 203.0.113.1", "dotted.example 203.0.113.1"},
		{"a_b.example", "a_b.example A 203.0.113.1", "a_b.example 203.0.113.1"},
		{"www.example.com", "www.example.com A 203.0.113.1", ""},
		{"notexample.com", "notexample.com A 203.0.113.1", ""},
		{"com", "com A 203.0.113.1", ""},
		{"a.wild.example", "a.wild.example A 203.0.113.1", "a.wild.example 203.0.113.1"},
		{"a.b.wild.example", "a.b.wild.example A 203.0.113.1",
			"a.b.wild.example 203.0.113.1"},
		{"wild.example", "wild.example A 203.0.113.1", ""}, // only what is below
		{"awild.example", "awild.example A 203.0.113.1", ""},
		{"wild.test", "wild.test A 203.0.113.1", ""},
		// the way of CNAMEs, in any order; the name counts that is nearest to the address
		{"example.com", "example.com CNAME cdn.test; cdn.test A 203.0.113.1",
			"example.com 203.0.113.1"},
		{"example.com", "cdn.test A 203.0.113.1; example.com CNAME cdn.test",
			"example.com 203.0.113.1"},
		{"www.test", "www.test CNAME example.com; example.com A 203.0.113.1",
			"example.com 203.0.113.1"},
		{"www.test",
			"b.test A 203.0.113.1; a.wild.example CNAME b.test; www.test CNAME "
			"a.wild.example",
			"a.wild.example 203.0.113.1"},
		{"example.com", "example.com CNAME a.wild.example; a.wild.example A 203.0.113.1",
			"a.wild.example 203.0.113.1"},
		{"www.test", "www.test CNAME cdn.test; cdn.test A 203.0.113.1", ""},
		// what the question does not lead to is nobody's word
		{"evil.test", "example.com A 203.0.113.1", ""},
		{"evil.test", "evil.test A 203.0.113.2; example.com A 203.0.113.1", ""},
		{"example.com", "example.com A 203.0.113.2; a.wild.example A 203.0.113.1",
			"example.com 203.0.113.2"},
		{"example.com", "x.test CNAME cdn.test; cdn.test A 203.0.113.1", ""},
		// circles
		{"example.com", "example.com CNAME example.com; example.com A 203.0.113.1",
			"example.com 203.0.113.1"},
		{"example.com",
			"example.com CNAME a.test; a.test CNAME example.com; a.test A 203.0.113.1",
			"example.com 203.0.113.1"},
		{"example.com", "", ""},
		{"example.com", "example.com CNAME nowhere.test", ""},
	};
	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		struct appc *a = appc_create();
		assert_true(configure(a, domains, RTE_DIM(domains)));
		print_message("%s: %s\n", cases[i].question, cases[i].records);
		assert_int_equal(observe(a, cases[i].question, cases[i].records),
			cases[i].learned[0] != '\0');
		assert_learned(a, cases[i].learned);
		// Once more is nothing new.
		assert_false(observe(a, cases[i].question, cases[i].records));
		appc_destroy(a);
	}
}

static void test_poisoned(void **)
{
	static const char *const domains[] = {"*.example.com"};
	static const struct {
		const char *addr;
		bool allowed;
	} cases[] = {
		{"0.0.0.0", false},
		{"0.1.2.3", false},
		{"127.0.0.1", false},
		{"127.255.1.2", false},
		{"100.64.0.1", false},
		{"100.127.255.255", false},
		{"100.100.100.100", false},
		{"169.254.169.254", false},
		{"224.0.0.1", false},
		{"239.1.2.3", false},
		{"240.0.0.1", false},
		{"255.255.255.255", false},
		{"::", false},
		{"::1", false},
		{"::ffff:127.0.0.1", false},
		{"::ffff:8.8.8.8", false},
		{"::8.8.8.8", false},
		{"fe80::1", false},
		{"febf::1", false},
		{"ff02::1", false},
		{"fd7a:115c:a1e0::53", false},
		{"fd7a:115c:a1e0:b1a::1", false},
		{"198.51.100.1", false}, // our own
		{"100.63.255.255", true},
		{"100.128.0.1", true},
		{"10.1.2.3", true},
		{"192.168.1.1", true},
		{"223.255.255.1", true},
		{"2001:db8::1", true},
		{"fd00::1", true},
		{"64:ff9b::808:808", true},
	};
	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		struct appc *a = appc_create();
		char records[128];
		bool v6 = strchr(cases[i].addr, ':');
		print_message("%s\n", cases[i].addr);
		assert_true(configure(a, domains, 1));
		snprintf(records, sizeof(records), "www.example.com %s %s", v6 ? "AAAA" : "A",
			cases[i].addr);
		const struct message m = answer("www.example.com", records);
		assert_int_equal(appc_observe(a, "www.example.com", m.bytes, m.len, is_198, NULL),
			cases[i].allowed);
		assert_int_equal(appc_counters(a)->forbidden, !cases[i].allowed);
		assert_int_equal(appc_learned(a), cases[i].allowed);
		appc_destroy(a);
	}
}

static void test_damaged(void **)
{
	static const char *const domains[] = {"example.com"};
	const struct message m = answer("example.com",
		"example.com CNAME a.test; a.test A 203.0.113.1; a.test A 203.0.113.2");
	for (size_t len = 0; len < m.len; len++) {
		struct appc *a = appc_create();
		assert_true(configure(a, domains, 1));
		assert_false(appc_observe(a, "example.com", m.bytes, len, no_own, NULL));
		assert_int_equal(appc_learned(a), 0);
		appc_destroy(a);
	}
}

// A chain that is too long leads nowhere.
static void test_long_chain(void **)
{
	for (unsigned links = APPC_CHAIN_MAX - 2; links <= APPC_CHAIN_MAX; links++) {
		static const char *const domains[] = {"n0.test"};
		const struct message q = ask_plainly("n0.test", ns_t_a);
		struct message m = reply_to(&q, ns_r_noerror);
		struct appc *a = appc_create();
		char from[32], to[32];
		assert_true(configure(a, domains, 1));
		for (unsigned i = 0; i < links; i++) {
			snprintf(from, sizeof(from), "n%u.test", i);
			snprintf(to, sizeof(to), "n%u.test", i + 1);
			put_named(&m, from, "CNAME", to);
		}
		snprintf(to, sizeof(to), "n%u.test", links);
		put_named(&m, to, "A", "203.0.113.1");
		assert_int_equal(appc_observe(a, "n0.test", m.bytes, m.len, no_own, NULL),
			links < APPC_CHAIN_MAX);
		appc_destroy(a);
	}
}

static void test_full(void **)
{
	static const char *const domains[] = {"*.example.com"};
	static struct ip_prefix routes[APPC_ROUTES_MAX];
	struct appc *a = appc_create();
	char name[64], records[128];
	assert_true(configure(a, domains, 1));
	for (unsigned i = 0; i < APPC_LEARNED_MAX + 5; i++) {
		snprintf(name, sizeof(name), "h%u.example.com", i);
		snprintf(records, sizeof(records), "%s A 203.%u.%u.1", name, i / 200, i % 200);
		assert_int_equal(observe(a, name, records), i < APPC_LEARNED_MAX);
	}
	assert_int_equal(appc_learned(a), APPC_LEARNED_MAX);
	assert_int_equal(appc_counters(a)->full, 5);
	assert_int_equal(appc_routes(a, routes), APPC_LEARNED_MAX);
	// What is known stays known, and room comes with what goes.
	assert_false(observe(a, "h1.example.com", "h1.example.com A 203.0.1.1"));
	assert_int_equal(appc_counters(a)->full, 5);
	static const char *const one[] = {"h7.example.com"};
	assert_true(configure(a, one, 1));
	assert_learned(a, "h7.example.com 203.0.7.1");
	assert_true(observe(a, "h7.example.com", "h7.example.com A 203.0.113.9"));
	appc_destroy(a);
}

static void test_bad_domains(void **)
{
	static const char *const bad[] = {"", ".", "*.", "*", "a.*.example", "*.*.example", "a..b"};
	for (unsigned i = 0; i < RTE_DIM(bad); i++) {
		struct appc *a = appc_create();
		print_message("'%s'\n", bad[i]);
		configure(a, &bad[i], 1);
		assert_int_equal(appc_watched(a), 0);
		assert_false(observe(a, "a.example", "a.example A 203.0.113.1"));
		appc_destroy(a);
	}
	const char **many = calloc(APPC_DOMAINS_MAX + 3, sizeof(*many));
	char *text = calloc(APPC_DOMAINS_MAX + 3, 32);
	for (unsigned i = 0; i < APPC_DOMAINS_MAX + 3; i++) {
		snprintf(text + 32 * (size_t)i, 32, "d%u.example", i);
		many[i] = text + 32 * (size_t)i;
	}
	struct appc *a = appc_create();
	assert_true(configure(a, many, APPC_DOMAINS_MAX + 3));
	assert_int_equal(appc_watched(a), APPC_DOMAINS_MAX);
	assert_int_equal(appc_counters(a)->bad, 3);
	appc_destroy(a);
	free(many);
	free(text);
}

// -- what is kept ---------------------------------------------------------------------------------

static void test_configure(void **)
{
	static const char *const both[] = {"*.example.com", "example.org"};
	struct appc *a = appc_create();
	assert_false(observe(a, "example.org", "example.org A 203.0.113.1")); // nothing yet
	assert_true(configure(a, both, 2));
	assert_false(configure(a, both, 2));
	assert_true(observe(a, "example.org", "example.org A 203.0.113.1"));
	assert_true(observe(a, "a.example.com", "a.example.com A 203.0.113.2"));
	assert_true(configure(a, both, 1));
	assert_learned(a, "a.example.com 203.0.113.2");
	assert_true(configure(a, both + 1, 1));
	assert_learned(a, "");
	assert_true(configure(a, both, 0));
	assert_int_equal(appc_watched(a), 0);
	appc_destroy(a);
}

static struct ip_prefix prefix(const char *text)
{
	struct ip_prefix p;
	assert_int_equal(ip_prefix_parse(text, &p), 0);
	return p;
}

static void test_preset(void **)
{
	const struct ip_prefix routes[] = {prefix("192.0.2.0/24"), prefix("0.0.0.0/0"),
		prefix("::/0"), prefix("100.64.0.0/16"), prefix("96.0.0.0/3"),
		prefix("2001:db8::/32"), prefix("fd7a:115c:a1e0::/64"), prefix("127.0.0.0/8"),
		prefix("224.0.0.0/8")};
	const struct appc_spec spec = {.routes = routes, .n_routes = RTE_DIM(routes)};
	static struct ip_prefix out[APPC_ROUTES_MAX];
	struct appc *a = appc_create();
	assert_true(appc_configure(a, &spec));
	assert_false(appc_configure(a, &spec));
	assert_int_equal(appc_routes(a, out), 2);
	assert_memory_equal(&out[0], &routes[0], sizeof(out[0]));
	assert_memory_equal(&out[1], &routes[5], sizeof(out[0]));
	assert_int_equal(appc_counters(a)->forbidden, 7);
	appc_destroy(a);
}

static void test_restart(void **)
{
	static const char *const domains[] = {"*.example.com", "example.org"};
	const struct ip_prefix preset = prefix("192.0.2.0/24");
	const struct appc_spec spec = {domains, &preset, 2, 1};
	static struct ip_prefix out[APPC_ROUTES_MAX];
	struct appc *a = appc_create(), *b = appc_create();
	assert_true(appc_configure(a, &spec));
	assert_true(observe(a, "x.example.com", "x.example.com AAAA 2001:db8::7"));
	json_t *saved = appc_json(a);
	assert_int_equal(appc_restore(b, saved), 0);
	// Before the configuration is known, and after.
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(appc_routes(b, out), 2);
		assert_learned(b, "x.example.com 2001:db8::7");
		appc_configure(b, &spec);
	}
	assert_false(observe(b, "x.example.com", "x.example.com AAAA 2001:db8::7"));
	assert_true(observe(b, "y.example.com", "y.example.com A 203.0.113.1"));
	json_decref(saved);
	appc_destroy(a);
	appc_destroy(b);
}

static void test_bad_state(void **)
{
	static const char *const cases[] = {
		"[]",
		"{}",
		"{\"Domains\":{},\"Control\":[]}",
		"{\"Domains\":[],\"Control\":[],\"Wildcards\":[]}",
		"{\"Domains\":{\"a\":\"1.2.3.4\"},\"Control\":[],\"Wildcards\":[]}",
		"{\"Domains\":{\"a\":[\"nothing\"]},\"Control\":[],\"Wildcards\":[]}",
		"{\"Domains\":{\"a\":[7]},\"Control\":[],\"Wildcards\":[]}",
		"{\"Domains\":{\"\":[]},\"Control\":[],\"Wildcards\":[]}",
		"{\"Domains\":{\"a\":[\"203.0.113.1\"]},\"Control\":[\"x\"],\"Wildcards\":[]}",
		"{\"Domains\":{\"a\":[\"203.0.113.1\"]},\"Control\":[],\"Wildcards\":[1]}",
		"{\"Domains\":{\"a\":[\"203.0.113.1\"]},\"Control\":[],\"Wildcards\":[\"\"]}",
	};
	static struct ip_prefix out[APPC_ROUTES_MAX];
	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		struct appc *a = appc_create();
		json_t *o = json_loads(cases[i], 0, NULL);
		print_message("%s\n", cases[i]);
		assert_non_null(o);
		assert_int_equal(appc_restore(a, o), -EBADMSG);
		assert_int_equal(appc_learned(a), 0);
		assert_int_equal(appc_routes(a, out), 0);
		json_decref(o);
		appc_destroy(a);
	}
	// Written by somebody who learned too much.
	struct appc *a = appc_create();
	json_t *o = json_loads("{\"Domains\":{\"a\":[\"127.0.0.1\",\"203.0.113.1\"]},\"Control\":["
			       "\"0.0.0.0/0\"],\"Wildcards\":[]}",
		0, NULL);
	assert_int_equal(appc_restore(a, o), 0);
	assert_learned(a, "a 203.0.113.1");
	assert_int_equal(appc_routes(a, out), 1);
	json_decref(o);
	appc_destroy(a);
}

// -- which routes are to be advertised ------------------------------------------------------------

static void test_sweep(void **)
{
	static const struct {
		const char *set, *apps, *left;
	} cases[] = {
		{"", "", ""},
		{"", "203.0.113.1/32", "203.0.113.1/32"},
		{"", "203.0.113.1/32 203.0.113.1/32", "203.0.113.1/32"},
		{"203.0.113.1/32", "203.0.113.1/32", ""},
		{"203.0.113.0/24", "203.0.113.1/32 203.0.112.1/32", "203.0.112.1/32"},
		{"0.0.0.0/0 ::/0", "203.0.113.1/32 2001:db8::1/128",
			"203.0.113.1/32 2001:db8::1/128"},
		{"", "203.0.113.9/32 203.0.113.0/24", "203.0.113.0/24"},
		{"", "203.0.113.0/25 203.0.113.0/24 203.0.113.200/32", "203.0.113.0/24"},
		{"203.0.0.0/16 203.0.113.0/24", "203.0.113.7/32 203.0.1.1/32 203.1.0.0/32",
			"203.1.0.0/32"},
		{"2001:db8::/32", "32.1.13.184/32 2001:db8::1/128", "32.1.13.184/32"},
	};
	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		const char *const texts[] = {cases[i].set, cases[i].apps, cases[i].left};
		struct ip_prefix list[3][8];
		uint32_t n[3] = {0};
		for (unsigned j = 0; j < 3; j++) {
			char copy[256], *at = copy, *word;
			snprintf(copy, sizeof(copy), "%s", texts[j]);
			while ((word = strsep(&at, " ")))
				if (*word)
					list[j][n[j]++] = prefix(word);
		}
		print_message("%s + %s\n", cases[i].set, cases[i].apps);
		assert_int_equal(tn_appc_sweep(list[0], n[0], list[1], n[1]), n[2]);
		if (n[2])
			assert_memory_equal(list[1], list[2], n[2] * sizeof(list[2][0]));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_matching),
		cmocka_unit_test(test_poisoned),
		cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_long_chain),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_bad_domains),
		cmocka_unit_test(test_configure),
		cmocka_unit_test(test_preset),
		cmocka_unit_test(test_restart),
		cmocka_unit_test(test_bad_state),
		cmocka_unit_test(test_sweep),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
