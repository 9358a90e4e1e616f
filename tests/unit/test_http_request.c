#include "tests/unit/vectors.h"

#include <errno.h>

#include "control/net/http_request.h"

#define END "\r\n\r\n"

static bool is(struct http_text t, const char *text)
{
	return http_text_is(&t, text);
}

static void test_taken(void **)
{
	static const struct {
		const char *name, *text, *method, *path, *query, *host, *type;
		uint64_t length;
		bool foreign, expects;
	} cases[] = {
		{"plain", "GET / HTTP/1.1\r\nHost: peer" END, "GET", "/", "", "peer", "", 0, false,
			false},
		{"without headers", "HEAD / HTTP/1.1" END, "HEAD", "/", "", "", "", 0, false,
			false},
		{"query", "GET /dns-query?dns=AA&x HTTP/1.1\r\nhOST:\t100.64.0.1:40000 " END, "GET",
			"/dns-query", "dns=AA&x", "100.64.0.1:40000", "", 0, false, false},
		{"empty query", "GET /a? HTTP/1.1\r\nHost:" END, "GET", "/a", "", "", "", 0, false,
			false},
		{"body", "POST /d HTTP/1.1\r\nContent-Length: 12\r\nContent-Type: a/b" END, "POST",
			"/d", "", "", "a/b", 12, false, false},
		{"expects", "POST /d HTTP/1.1\r\nExpect: 100-Continue" END, "POST", "/d", "", "",
			"", 0, false, true},
		{"browser", "GET / HTTP/1.1\r\nOrigin: null" END, "GET", "/", "", "", "", 0, true,
			false},
		{"link", "GET / HTTP/1.1\r\nreferer:" END, "GET", "/", "", "", "", 0, true, false},
	};
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct http_request r;
		size_t len = strlen(cases[i].text);
		if (http_request_parse((const uint8_t *)cases[i].text, len, &r) != (long)len)
			fail_msg("%s: not taken", cases[i].name);
		if (!is(r.method, cases[i].method) || !is(r.path, cases[i].path) ||
			!is(r.query, cases[i].query) || !is(r.host, cases[i].host) ||
			!is(r.content_type, cases[i].type) || r.content_length != cases[i].length ||
			r.foreign != cases[i].foreign || r.expects != cases[i].expects)
			fail_msg("%s", cases[i].name);
		for (size_t cut = 0; cut < len; cut++)
			assert_int_equal(
				http_request_parse((const uint8_t *)cases[i].text, cut, &r), 0);
	}
}

static void test_refused(void **)
{
	static const struct {
		const char *name, *text;
		long error;
	} cases[] = {
		{"HTTP/1.0", "GET / HTTP/1.0" END, -EPROTO},
		{"HTTP/2", "PRI * HTTP/2.0" END, -EPROTO},
		{"no version", "GET /" END, -EPROTO},
		{"no target", "GET  HTTP/1.1" END, -EPROTO},
		{"only a version", " HTTP/1.1" END, -EPROTO},
		{"proxy's form", "GET http://peer/ HTTP/1.1" END, -EPROTO},
		{"two targets", "GET / /x HTTP/1.1" END, -EPROTO},
		{"lower case", "get / HTTP/1.1" END, -EPROTO},
		{"empty line first", "\r\nGET / HTTP/1.1" END, -EPROTO},
		{"bare line feed", "GET / HTTP/1.1\nHost: peer\n\n", -EPROTO},
		{"two hosts", "GET / HTTP/1.1\r\nHost: peer\r\nHost: x" END, -EPROTO},
		{"two lengths", "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1" END,
			-EPROTO},
		{"negative length", "POST / HTTP/1.1\r\nContent-Length: -1" END, -EPROTO},
		{"signed length", "POST / HTTP/1.1\r\nContent-Length: +1" END, -EPROTO},
		{"no length", "POST / HTTP/1.1\r\nContent-Length:" END, -EPROTO},
		{"huge length", "POST / HTTP/1.1\r\nContent-Length: 99999999999" END, -EPROTO},
		{"length and coding",
			"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked" END,
			-EPROTO},
		{"coding", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked" END, -ENOTSUP},
		{"folded", "GET / HTTP/1.1\r\nHost: a\r\n b" END, -EPROTO},
		{"no colon", "GET / HTTP/1.1\r\nHost" END, -EPROTO},
		{"no name", "GET / HTTP/1.1\r\n: x" END, -EPROTO},
		{"space before the colon", "GET / HTTP/1.1\r\nHost : x" END, -EPROTO},
		{"control character", "GET / HTTP/1.1\r\nHost: a\001" END, -EPROTO},
		{"in the target", "GET /\177 HTTP/1.1" END, -EPROTO},
	};
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct http_request r;
		long n = http_request_parse(
			(const uint8_t *)cases[i].text, strlen(cases[i].text), &r);
		if (n != cases[i].error)
			fail_msg("%s: %ld", cases[i].name, n);
	}
	static uint8_t endless[HTTP_REQUEST_MAX + 1];
	struct http_request r;
	memset(endless, 'A', sizeof(endless));
	assert_int_equal(http_request_parse(endless, HTTP_REQUEST_MAX - 1, &r), 0);
	assert_int_equal(http_request_parse(endless, HTTP_REQUEST_MAX, &r), -EMSGSIZE);
	assert_int_equal(http_request_parse(endless, sizeof(endless), &r), -EMSGSIZE);
}

static void test_query(void **)
{
	static const char text[] = "dnsx=1&=3&dns&dns=&dns=AAB&ct";
	struct http_text query = {text, sizeof(text) - 1}, none = {0}, value;
	assert_true(http_query_get(&query, "dnsx", &value) && is(value, "1"));
	assert_true(http_query_get(&query, "dns", &value) && is(value, ""));
	assert_false(http_query_get(&query, "ct", &value));
	assert_false(http_query_get(&query, "d", &value));
	assert_false(http_query_get(&none, "dns", &value));
}

static void test_base64url(void **)
{
	static const struct {
		const char *text, *bytes;
		long n;
	} cases[] = {// RFC 4648, 10, and the two letters of its section 5.
		{"", "", 0}, {"Zg", "f", 1}, {"Zm8", "fo", 2}, {"Zm9v", "foo", 3},
		{"Zm9vYg", "foob", 4}, {"Zm9vYmE", "fooba", 5}, {"Zm9vYmFy", "foobar", 6},
		{"-_-_", "\xfb\xff\xbf", 3}, {"Zg==", "", -EINVAL}, {"Z", "", -EINVAL},
		{"Zm9vY", "", -EINVAL}, {"Zh", "", -EINVAL}, {"Zm9", "", -EINVAL},
		{"+/+/", "", -EINVAL}, {"Zm 9", "", -EINVAL}, {"Zm9vYmFyZg", "", -EINVAL}};
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t out[6];
		struct http_text t = {cases[i].text, strlen(cases[i].text)};
		long n = base64url_decode(&t, out, sizeof(out));
		if (n != cases[i].n || (n > 0 && memcmp(out, cases[i].bytes, (size_t)n) != 0))
			fail_msg("%s: %ld", cases[i].text, n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_taken),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_query),
		cmocka_unit_test(test_base64url),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
