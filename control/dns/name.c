// Names and numbers of DNS as text.
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "control/dns/wire.h"

bool dns_name_within(const char *name, const char *suffix)
{
	const size_t n = strlen(name), m = strlen(suffix);

	if (m == 0)
		return true;
	return n >= m && strcmp(name + n - m, suffix) == 0 && (n == m || name[n - m - 1] == '.');
}

int dns_name_read(const char *text, char out[static DNS_NAME_LEN])
{
	unsigned char bytes[NS_MAXCDNAME + 1];

	if (strlen(text) >= DNS_NAME_LEN || !*text ||
		ns_name_pton(text, bytes, sizeof(bytes)) < 0 ||
		ns_name_ntop(bytes, out, DNS_NAME_LEN) < 0)
		return -EINVAL;
	if (strcmp(out, ".") == 0)
		*out = '\0';
	for (; *out; out++)
		*out = (char)tolower((unsigned char)*out);
	return 0;
}

static struct ip_addr reverse_v4(const char *name, size_t len)
{
	char text[ADDR_TEXT_LEN];
	struct ip_addr a;

	if (len >= sizeof(text))
		return (struct ip_addr){0};
	memcpy(text, name, len);
	text[len] = '\0';
	if (ip_addr_parse(text, &a) < 0 || a.family != IP_V4)
		return (struct ip_addr){0};
	const uint8_t bytes[4] = {a.bytes[3], a.bytes[2], a.bytes[1], a.bytes[0]};
	return ip_addr_v4(bytes);
}

static int nibble(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static struct ip_addr reverse_v6(const char *name, size_t len)
{
	struct ip_addr a = {.family = IP_V6};

	if (len != 63)
		return (struct ip_addr){0};
	for (unsigned i = 0; i < 32; i++) {
		const int v = nibble(name[2 * i]);
		if (v < 0 || (i < 31 && name[2 * i + 1] != '.'))
			return (struct ip_addr){0};
		a.bytes[15 - i / 2] |= (uint8_t)(i % 2 ? v << 4 : v);
	}
	return a;
}

struct ip_addr dns_reverse_read(const char *name)
{
	static const char v4[] = ".in-addr.arpa", v6[] = ".ip6.arpa";
	const size_t n = strlen(name);

	if (n > sizeof(v4) - 1 && strcmp(name + n - (sizeof(v4) - 1), v4) == 0)
		return reverse_v4(name, n - (sizeof(v4) - 1));
	if (n > sizeof(v6) - 1 && strcmp(name + n - (sizeof(v6) - 1), v6) == 0)
		return reverse_v6(name, n - (sizeof(v6) - 1));
	return (struct ip_addr){0};
}

static const struct {
	const char *name;
	uint16_t type;
} types[] = {
	{"A", ns_t_a},
	{"AAAA", ns_t_aaaa},
	{"ALL", ns_t_any},
	{"ANY", ns_t_any},
	{"CAA", 257},
	{"CNAME", ns_t_cname},
	{"DNSKEY", ns_t_dnskey},
	{"DS", ns_t_ds},
	{"HINFO", ns_t_hinfo},
	{"HTTPS", 65},
	{"MINFO", ns_t_minfo},
	{"MX", ns_t_mx},
	{"NAPTR", ns_t_naptr},
	{"NS", ns_t_ns},
	{"PTR", ns_t_ptr},
	{"SOA", ns_t_soa},
	{"SRV", ns_t_srv},
	{"SSHFP", ns_t_sshfp},
	{"SVCB", 64},
	{"TLSA", ns_t_tlsa},
	{"TXT", ns_t_txt},
	{"WKS", ns_t_wks},
};

uint16_t dns_type_read(const char *text)
{
	char *end;

	for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (strcasecmp(types[i].name, text) == 0)
			return types[i].type;
	if (strncasecmp(text, "TYPE", 4) != 0 || !isdigit((unsigned char)text[4]))
		return 0;
	const unsigned long n = strtoul(text + 4, &end, 10);
	return *end || n > UINT16_MAX ? 0 : (uint16_t)n;
}

const char *dns_type_text(uint16_t type, char text[static 16])
{
	for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (types[i].type == type && type != ns_t_any)
			return types[i].name;
	snprintf(text, 16, "TYPE%u", type);
	return type == ns_t_any ? "ANY" : text;
}

const char *dns_rcode_text(unsigned rcode)
{
	static const char *const names[] = {
		"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"};

	return rcode < sizeof(names) / sizeof(names[0]) ? names[rcode] : "ERROR";
}
