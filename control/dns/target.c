#include "control/dns/target.h"

#include <errno.h>
#include <stdio.h>

#include "control/dns/dns.h"

// Addresses of one service belong together: whichever is configured, DNS over HTTPS may use all.
static const struct provider {
	const char *url, *addresses[4];
} providers[] = {
	{"https://cloudflare-dns.com/dns-query",
		{"1.1.1.1", "1.0.0.1", "2606:4700:4700::1111", "2606:4700:4700::1001"}},
	{"https://security.cloudflare-dns.com/dns-query",
		{"1.1.1.2", "1.0.0.2", "2606:4700:4700::1112", "2606:4700:4700::1002"}},
	{"https://family.cloudflare-dns.com/dns-query",
		{"1.1.1.3", "1.0.0.3", "2606:4700:4700::1113", "2606:4700:4700::1003"}},
	{"https://dns.google/dns-query",
		{"8.8.8.8", "8.8.4.4", "2001:4860:4860::8888", "2001:4860:4860::8844"}},
	{"https://dns.quad9.net/dns-query",
		{"9.9.9.9", "149.112.112.112", "2620:fe::fe", "2620:fe::9"}},
	{"https://dns11.quad9.net/dns-query",
		{"9.9.9.11", "149.112.112.11", "2620:fe::11", "2620:fe::fe:11"}},
	{"https://dns10.quad9.net/dns-query",
		{"9.9.9.10", "149.112.112.10", "2620:fe::10", "2620:fe::fe:10"}},
	{"https://dns.mullvad.net/dns-query", {"194.242.2.2", "2a07:e340::2"}},
	{"https://adblock.dns.mullvad.net/dns-query", {"194.242.2.3", "2a07:e340::3"}},
	{"https://base.dns.mullvad.net/dns-query", {"194.242.2.4", "2a07:e340::4"}},
	{"https://extended.dns.mullvad.net/dns-query", {"194.242.2.5", "2a07:e340::5"}},
	{"https://family.dns.mullvad.net/dns-query", {"194.242.2.6", "2a07:e340::6"}},
	{"https://all.dns.mullvad.net/dns-query", {"194.242.2.9", "2a07:e340::9"}},
	{"https://wikimedia-dns.org/dns-query", {"185.71.138.138", "2001:67c:930::1"}},
	{"https://freedns.controld.com/p0",
		{"76.76.2.0", "76.76.10.0", "2606:1a40::", "2606:1a40:1::"}},
	{"https://freedns.controld.com/p1",
		{"76.76.2.1", "76.76.10.1", "2606:1a40::1", "2606:1a40:1::1"}},
	{"https://freedns.controld.com/p2",
		{"76.76.2.2", "76.76.10.2", "2606:1a40::2", "2606:1a40:1::2"}},
	{"https://freedns.controld.com/p3",
		{"76.76.2.3", "76.76.10.3", "2606:1a40::3", "2606:1a40:1::3"}},
	{"https://freedns.controld.com/family",
		{"76.76.2.4", "76.76.10.4", "2606:1a40::4", "2606:1a40:1::4"}},
	{"https://private.canadianshield.cira.ca/dns-query",
		{"149.112.121.10", "149.112.122.10", "2620:10a:80bb::10", "2620:10a:80bc::10"}},
	{"https://protected.canadianshield.cira.ca/dns-query",
		{"149.112.121.20", "149.112.122.20", "2620:10a:80bb::20", "2620:10a:80bc::20"}},
	{"https://family.canadianshield.cira.ca/dns-query",
		{"149.112.121.30", "149.112.122.30", "2620:10a:80bb::30", "2620:10a:80bc::30"}},
};

enum { PROVIDERS = sizeof(providers) / sizeof(providers[0]), ADDRESSES = 4 };

#define NEXTDNS "https://dns.nextdns.io/"
#define CONTROLD "https://dns.controld.com/"
static const char nextdns_addresses[] = "45.90.28.0,45.90.30.0";
static const char controld_addresses[] = "76.76.2.22,76.76.10.22,2606:1a40::22,2606:1a40:1::22";
// Serve DNS over HTTPS alone.
static const char wikimedia[] = "https://wikimedia-dns.org/dns-query";

// first goes first.
static void list_addresses(const struct provider *p, const char *first, struct dns_target *out)
{
	int n = snprintf(out->addresses, sizeof(out->addresses), "%s", first ? first : "");

	for (unsigned i = 0; i < ADDRESSES && p->addresses[i]; i++)
		if (!first || strcmp(first, p->addresses[i]) != 0)
			n += snprintf(out->addresses + n, sizeof(out->addresses) - (size_t)n,
				"%s%s", n ? "," : "", p->addresses[i]);
}

static const struct provider *by_address(const char *text)
{
	for (unsigned i = 0; i < PROVIDERS; i++)
		for (unsigned j = 0; j < ADDRESSES && providers[i].addresses[j]; j++)
			if (strcmp(providers[i].addresses[j], text) == 0)
				return &providers[i];
	return NULL;
}

// 2a07:a8c0::/33 and 2a07:a8c1::/33: the customer's ID is in the low 12 bytes.
static bool is_nextdns(const struct ip_addr *a, struct dns_target *out)
{
	static const uint8_t range[3] = {0x2a, 0x07, 0xa8};

	if (a->family != IP_V6 || memcmp(a->bytes, range, sizeof(range)) != 0 ||
		(a->bytes[3] & 0xfe) != 0xc0 || (a->bytes[4] & 0x80))
		return false;
	unsigned i = 4;
	while (i < 15 && a->bytes[i] == 0)
		i++;
	int n = snprintf(out->url, sizeof(out->url), NEXTDNS);
	for (; i < 16; i++)
		n += snprintf(out->url + n, sizeof(out->url) - (size_t)n, "%02x", a->bytes[i]);
	ip_addr_format(a, out->addresses);
	return true;
}

static int read_address(const struct endpoint *e, struct dns_target *out)
{
	char text[ADDR_TEXT_LEN];

	out->plain = *e;
	if (e->port != DNS_PORT)
		return 0;
	if (is_nextdns(&e->addr, out)) {
		out->plain.port = 0;
		return 0;
	}
	const struct provider *p = by_address(ip_addr_format(&e->addr, text));
	if (!p)
		return 0;
	snprintf(out->url, sizeof(out->url), "%s", p->url);
	list_addresses(p, text, out);
	if (strcmp(p->url, wikimedia) == 0)
		out->plain.port = 0;
	return 0;
}

static int read_https(const char *text, struct dns_target *out)
{
	snprintf(out->url, sizeof(out->url), "%s", text);
	for (unsigned i = 0; i < PROVIDERS; i++)
		if (strcmp(providers[i].url, text) == 0) {
			list_addresses(&providers[i], NULL, out);
			return 0;
		}
	if (strncmp(text, NEXTDNS, strlen(NEXTDNS)) == 0)
		memcpy(out->addresses, nextdns_addresses, sizeof(nextdns_addresses));
	else if (strncmp(text, CONTROLD, strlen(CONTROLD)) == 0)
		memcpy(out->addresses, controld_addresses, sizeof(controld_addresses));
	return out->addresses[0] ? 0 : -ENOTSUP;
}

// http://ADDRESS:PORT/..., an IPv6 address in brackets.
static int read_http(const char *text, struct dns_target *out)
{
	static const char scheme[] = "http://";
	const char *host = text + sizeof(scheme) - 1;
	const size_t n = strcspn(host, "/");
	char at[ENDPOINT_TEXT_LEN];
	struct endpoint e;

	if (n >= sizeof(at) || !host[n])
		return -EINVAL;
	memcpy(at, host, n);
	at[n] = '\0';
	if (endpoint_parse(at, &e) < 0)
		return -EINVAL;
	snprintf(out->url, sizeof(out->url), "%s", text);
	return 0;
}

int dns_target_read(const char *text, struct dns_target *out)
{
	struct endpoint e = {.port = DNS_PORT};

	*out = (struct dns_target){0};
	if (strlen(text) >= sizeof(out->text) || strpbrk(text, " \t\r\n\"\\"))
		return -EINVAL;
	snprintf(out->text, sizeof(out->text), "%s", text);
	if (strncmp(text, "http://", 7) == 0)
		return read_http(text, out);
	if (strncmp(text, "https://", 8) == 0)
		return read_https(text, out);
	if (strncmp(text, "tls://", 6) == 0)
		return -ENOTSUP;
	if (ip_addr_parse(text, &e.addr) == 0 || endpoint_parse(text, &e) == 0)
		return read_address(&e, out);
	return -EINVAL;
}

bool dns_target_equal(const struct dns_target *a, const struct dns_target *b)
{
	return strcmp(a->text, b->text) == 0;
}
