#include "control/dns/cache.h"
#include "tests/unit/dns_text.h"

#include <setjmp.h>
#include <stdarg.h>
// after the above, as cmocka asks
#include <cmocka.h>

static struct message answer_of(
	const char *name, uint32_t ttl, size_t size, struct dns_reply *reply)
{
	static uint8_t data[DNS_TEST_MAX];
	const struct message m = ask_plainly(name, ns_t_a);
	struct message r = reply_to(&m, 0);
	if (size)
		put_record(&r, 0, ns_t_null, ttl, data, (uint16_t)size);
	else
		put_record(&r, 0, ns_t_a, ttl, "\1\2\3\4", 4);
	assert_int_equal(dns_reply_read(r.bytes, r.len, m.bytes, m.len, true, reply), 0);
	return r;
}

static void put(struct dns_cache *c, const char *name, uint32_t ttl, size_t size, uint64_t now_s)
{
	const struct dns_cache_key key = {.name = name, .type = ns_t_a};
	struct dns_reply reply;
	const struct message r = answer_of(name, ttl, size, &reply);
	dns_cache_put(c, &key, now_s, r.bytes, &reply);
}

static bool has(struct dns_cache *c, const char *name, uint64_t now_s)
{
	const struct dns_cache_key key = {.name = name, .type = ns_t_a};
	struct dns_cached found;
	return dns_cache_get(c, &key, now_s, &found);
}

static void test_age(void **)
{
	struct dns_cache *c = dns_cache_create();
	const struct dns_cache_key key = {.name = "a.test", .type = ns_t_a};
	struct dns_cached found;
	put(c, "a.test", 30, 0, 1000);
	assert_true(dns_cache_get(c, &key, 1010, &found));
	assert_int_equal(found.age_s, 10);
	assert_int_equal(found.reply->n_ttls, 1);
	assert_int_equal(found.message[0], 0x12);
	assert_true(has(c, "a.test", 1029));
	assert_false(has(c, "a.test", 1030));
	assert_false(has(c, "a.test", 1010)); // it has gone
	put(c, "a.test", 30, 0, 1000);
	assert_false(has(c, "a.test", 999)); // a clock that goes back
	put(c, "a.test", 0, 0, 1000);
	assert_false(has(c, "a.test", 1000)); // not to be kept at all
	dns_cache_destroy(c);
}

// Whatever makes an answer another one.
static void test_keys(void **)
{
	static const struct dns_cache_key others[] = {
		{.name = "b.test", .type = ns_t_a},
		{.name = "a.tes", .type = ns_t_a},
		{.name = "a.test", .type = ns_t_aaaa},
		{.name = "a.test", .type = ns_t_a, .where = 1},
		{.name = "a.test", .type = ns_t_a, .cd = true},
		{.name = "a.test", .type = ns_t_a, .dnssec_ok = true},
	};
	struct dns_cache *c = dns_cache_create();
	struct dns_cached found;
	put(c, "a.test", 30, 0, 1000);
	for (unsigned i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_false(dns_cache_get(c, &others[i], 1000, &found));
	dns_cache_clear(c);
	assert_false(has(c, "a.test", 1000));
	dns_cache_destroy(c);
}

static void test_number(void **)
{
	struct dns_cache *c = dns_cache_create();
	struct dns_cache_counters n;
	char name[32];
	for (unsigned i = 0; i < DNS_CACHE_ENTRIES; i++) {
		snprintf(name, sizeof(name), "n%u.test", i);
		put(c, name, 3000, 0, 1000);
	}
	assert_true(has(c, "n0.test", 1001)); // used: it is not the next to go
	put(c, "one-more.test", 3000, 0, 1000);
	assert_true(has(c, "n0.test", 1001));
	assert_false(has(c, "n1.test", 1001));
	put(c, "n2.test", 3000, 0, 1000); // the same again takes no further place
	assert_true(has(c, "n3.test", 1001));
	dns_cache_count(c, &n);
	assert_int_equal(n.entries, DNS_CACHE_ENTRIES);
	assert_int_equal(n.evicted, 1);
	dns_cache_clear(c);
	dns_cache_count(c, &n);
	assert_int_equal(n.bytes, 0);
	assert_int_equal(n.entries, 0);
	dns_cache_destroy(c);
}

static void test_bytes(void **)
{
	struct dns_cache *c = dns_cache_create();
	struct dns_cache_counters n;
	char name[32];
	for (unsigned i = 0; i < 4000; i++) {
		snprintf(name, sizeof(name), "n%u.test", i);
		put(c, name, 3000, 3500, 1000);
		dns_cache_count(c, &n);
		assert_true(n.bytes <= DNS_CACHE_BYTES);
	}
	assert_true(n.evicted > 0 && n.entries < 4000);
	assert_true(has(c, "n3999.test", 1000));
	dns_cache_destroy(c);
}

// One that would take a good part of it alone is not kept.
static void test_large(void **)
{
	struct dns_cache *c = dns_cache_create();
	const struct dns_cache_key key = {.name = "a.test", .type = ns_t_a};
	struct dns_reply reply;
	static uint8_t message[DNS_CACHE_ANSWER_MAX + 1];
	const struct message r = answer_of("a.test", 30, 0, &reply);
	memcpy(message, r.bytes, r.len);
	reply.body_len = DNS_CACHE_ANSWER_MAX + 1;
	dns_cache_put(c, &key, 1000, message, &reply);
	assert_false(has(c, "a.test", 1000));
	reply.body_len = DNS_CACHE_ANSWER_MAX;
	dns_cache_put(c, &key, 1000, message, &reply);
	assert_true(has(c, "a.test", 1000));
	dns_cache_destroy(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_age),
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_number),
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_large),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
