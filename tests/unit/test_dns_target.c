#include "control/dns/target.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
// after the above, as cmocka asks
#include <cmocka.h>

#define N(array) (sizeof(array) / sizeof(array[0]))

static void test_targets(void **)
{
	static const struct {
		const char *text, *plain, *url, *addresses;
	} cases[] = {
		{"192.0.2.53", "192.0.2.53:53", "", ""},
		{"192.0.2.53:5353", "192.0.2.53:5353", "", ""},
		{"2001:db8::53", "[2001:db8::53]:53", "", ""},
		{"[2001:db8::53]:54", "[2001:db8::53]:54", "", ""},
		{"1.1.1.1", "1.1.1.1:53", "https://cloudflare-dns.com/dns-query",
			"1.1.1.1,1.0.0.1,2606:4700:4700::1111,2606:4700:4700::1001"},
		{"1.0.0.1", "1.0.0.1:53", "https://cloudflare-dns.com/dns-query",
			"1.0.0.1,1.1.1.1,2606:4700:4700::1111,2606:4700:4700::1001"},
		{"1.1.1.1:54", "1.1.1.1:54", "", ""},
		{"8.8.4.4", "8.8.4.4:53", "https://dns.google/dns-query",
			"8.8.4.4,8.8.8.8,2001:4860:4860::8888,2001:4860:4860::8844"},
		{"9.9.9.9", "9.9.9.9:53", "https://dns.quad9.net/dns-query",
			"9.9.9.9,149.112.112.112,2620:fe::fe,2620:fe::9"},
		{"2620:fe::fe", "[2620:fe::fe]:53", "https://dns.quad9.net/dns-query",
			"2620:fe::fe,9.9.9.9,149.112.112.112,2620:fe::9"},
		{"76.76.2.2", "76.76.2.2:53", "https://freedns.controld.com/p2",
			"76.76.2.2,76.76.10.2,2606:1a40::2,2606:1a40:1::2"},
		{"185.71.138.138", "", "https://wikimedia-dns.org/dns-query",
			"185.71.138.138,2001:67c:930::1"},
		{"2a07:a8c0::c3:a884", "", "https://dns.nextdns.io/c3a884", "2a07:a8c0::c3:a884"},
		{"2a07:a8c1::1:c3a8:8400", "", "https://dns.nextdns.io/01c3a88400",
			"2a07:a8c1::1:c3a8:8400"},
		{"2a07:a8c0:8000::1", "[2a07:a8c0:8000::1]:53", "", ""},
		{"https://dns.google/dns-query", "", "https://dns.google/dns-query",
			"8.8.8.8,8.8.4.4,2001:4860:4860::8888,2001:4860:4860::8844"},
		{"https://dns.nextdns.io/abc123", "", "https://dns.nextdns.io/abc123",
			"45.90.28.0,45.90.30.0"},
		{"https://dns.controld.com/xyz", "", "https://dns.controld.com/xyz",
			"76.76.2.22,76.76.10.22,2606:1a40::22,2606:1a40:1::22"},
		{"http://100.64.0.2:40000/dns-query", "", "http://100.64.0.2:40000/dns-query", ""},
		{"http://[fd7a:115c:a1e0::2]:40000/dns-query", "",
			"http://[fd7a:115c:a1e0::2]:40000/dns-query", ""},
	};
	for (unsigned i = 0; i < N(cases); i++) {
		char plain[ENDPOINT_TEXT_LEN] = "";
		struct dns_target t;
		if (dns_target_read(cases[i].text, &t) < 0)
			fail_msg("%s: refused", cases[i].text);
		if (t.plain.port)
			endpoint_format(&t.plain, plain);
		assert_string_equal(t.text, cases[i].text);
		assert_string_equal(plain, cases[i].plain);
		assert_string_equal(t.url, cases[i].url);
		assert_string_equal(t.addresses, cases[i].addresses);
	}
}

static void test_refusals(void **)
{
	static const struct {
		const char *text;
		int error;
	} cases[] = {
		{"", -EINVAL},
		{"dns.example.com", -EINVAL},
		{"1.1.1", -EINVAL},
		{"1.1.1.1 ", -EINVAL},
		{"1.1.1.1:99999", -EINVAL},
		{"1.1.1.1\n8.8.8.8", -EINVAL},
		{"tls://1.1.1.1", -ENOTSUP},
		{"https://doh.example.com/dns-query", -ENOTSUP},
		{"https://dns.google.evil.example/dns-query", -ENOTSUP},
		{"https://dns.nextdns.io.evil.example/", -ENOTSUP},
		{"http://dns.example.com/dns-query", -EINVAL},
		{"http://100.64.0.2/dns-query", -EINVAL},
		{"http://100.64.0.2:1", -EINVAL},
		{"http://100.64.0.2:1@evil.example:1/", -EINVAL},
		{"ftp://1.1.1.1", -EINVAL},
	};
	char longest[300];
	struct dns_target t;
	for (unsigned i = 0; i < N(cases); i++)
		if (dns_target_read(cases[i].text, &t) != cases[i].error)
			fail_msg("'%s': not %d", cases[i].text, cases[i].error);
	memset(longest, '1', sizeof(longest));
	longest[299] = '\0';
	assert_int_equal(dns_target_read(longest, &t), -EINVAL);
	memcpy(longest, "https://dns.nextdns.io/", 23);
	assert_int_equal(dns_target_read(longest, &t), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_targets),
		cmocka_unit_test(test_refusals),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
