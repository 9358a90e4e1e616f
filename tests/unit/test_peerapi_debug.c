// The peerAPI's /dns-query?q=NAME: what is asked, and what people see of the answer.
#include "control/tailnet/peerapi_debug.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
// after the above, as cmocka asks
#include <cmocka.h>

#include "control/dns/wire.h"

#define N(array) (sizeof(array) / sizeof(array[0]))

static void test_queries(void **)
{
	static const struct {
		const char *query, *name; // NULL: refused
		uint16_t type;
		long error;
	} cases[] = {
		{"q=Host.Test", "host.test", ns_t_a, 0},
		{"q=host.test.", "host.test", ns_t_a, 0},
		{"q=host.test&t=AAAA", "host.test", ns_t_aaaa, 0},
		{"t=txt&q=host.test", "host.test", ns_t_txt, 0},
		{"q=host.test&t=MX", "host.test", ns_t_a, 0},
		{"q=host.test&t=", "host.test", ns_t_a, 0},
		{"", NULL, 0, -ENOENT},
		{"t=A", NULL, 0, -ENOENT},
		{"q=", NULL, 0, -ENOENT},
		{"qq=host.test", NULL, 0, -ENOENT},
		{"q=a..b", NULL, 0, -EINVAL},
		{"q=.a", NULL, 0, -EINVAL},
		{"q=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", NULL, 0,
			-EINVAL},
	};
	for (unsigned i = 0; i < N(cases); i++) {
		const struct http_text query = {cases[i].query, strlen(cases[i].query)};
		uint8_t out[512];
		struct dns_query q;
		const long n = peerapi_debug_query(&query, out, sizeof(out));
		print_message("%s\n", cases[i].query);
		if (cases[i].name == NULL) {
			assert_int_equal(n, cases[i].error);
			continue;
		}
		assert_true(n > 0);
		assert_int_equal(dns_query_read(out, (size_t)n, &q), 0);
		assert_string_equal(q.name, cases[i].name);
		assert_int_equal(q.type, cases[i].type);
		assert_true(q.rd);
		assert_int_not_equal(q.id, 0);
	}
}

static void test_long_name(void **)
{
	char text[2000] = "q=";
	struct http_text query = {text, 2};
	uint8_t out[512];
	for (; query.len < 1500; query.len += 2)
		memcpy(text + query.len, "a.", 2);
	assert_int_equal(peerapi_debug_query(&query, out, sizeof(out)), -EINVAL);
	query.len = 300; // longer than a name may be
	assert_int_equal(peerapi_debug_query(&query, out, sizeof(out)), -EINVAL);
	query = (struct http_text){"q=host.test", 11};
	assert_int_equal(peerapi_debug_query(&query, out, DNS_HEADER_LEN + 2), -EINVAL);
}

#define HEAD(flags, rcode, answers) "\0\1" flags rcode "\0\1\0" answers "\0\0\0\0" QUESTION
#define QUESTION "\1a\0\0\1\0\1"
#define RECORD(type, class, len) "\xc0\x0c\0" type "\0" class "\0\0\0\1\0" len

static void test_answers(void **)
{
	static const struct {
		const char *name, *bytes;
		size_t len;
		const char *text;
	} cases[] = {
#define CASE(name, bytes, text) {name, bytes, sizeof(bytes) - 1, text "\n"}
		CASE("none", HEAD("\x81", "\x80", "\0"), "[]"),
		CASE("A", HEAD("\x81", "\x80", "\1") RECORD("\1", "\1", "\4") "\xc0\0\2\1",
			"[\"192.0.2.1\"]"),
		CASE("two",
			HEAD("\x81", "\x80", "\2") RECORD("\1", "\1", "\4") "\xc0\0\2\1" RECORD(
				"\x1c", "\1", "\x10") "\x20\1\r\xb8\0\0\0\0\0\0\0\0\0\0\0\1",
			"[\"192.0.2.1\",\"2001:db8::1\"]"),
		CASE("TXT",
			HEAD("\x81", "\x80", "\1") RECORD("\x10", "\1", "\x09") "\2hi\5a\"\n\xff"
										"b",
			"[\"hi\",\"a\\\"??b\"]"),
		CASE("TXT, cut", HEAD("\x81", "\x80", "\1") RECORD("\x10", "\1", "\3") "\5hi",
			"[]"),
		CASE("A of five bytes",
			HEAD("\x81", "\x80", "\1") RECORD("\1", "\1", "\5") "\xc0\0\2\1\0", "[]"),
		CASE("another class",
			HEAD("\x81", "\x80", "\1") RECORD("\1", "\3", "\4") "\xc0\0\2\1", "[]"),
		CASE("CNAME", HEAD("\x81", "\x80", "\1") RECORD("\5", "\1", "\3") "\1b\0", "[]"),
		CASE("NXDOMAIN", HEAD("\x81", "\x83", "\0"), "{\"Error\":\"NXDOMAIN\"}"),
		CASE("an rcode of the future", HEAD("\x81", "\x8f", "\0"), "{\"Error\":\"ERROR\"}"),
		CASE("short", "\0\1\x81", "{\"Error\":\"the answer is no DNS message\"}"),
		CASE("cut", HEAD("\x81", "\x80", "\1") RECORD("\1", "\1", "\4") "\xc0\0",
			"{\"Error\":\"the answer is no DNS message\"}"),
	};
	for (unsigned i = 0; i < N(cases); i++) {
		char *text = peerapi_debug_answer((const uint8_t *)cases[i].bytes, cases[i].len);
		print_message("%s\n", cases[i].name);
		assert_non_null(text);
		assert_string_equal(text, cases[i].text);
		free(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_queries),
		cmocka_unit_test(test_long_name),
		cmocka_unit_test(test_answers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
