#include "dataplane/base/types.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

int ip_addr_parse(const char *text, struct ip_addr *out)
{
	struct ip_addr a = {0};
	if (inet_pton(AF_INET, text, a.bytes) == 1)
		a.family = IP_V4;
	else if (inet_pton(AF_INET6, text, a.bytes) == 1)
		a.family = IP_V6;
	else
		return -EINVAL;
	*out = a;
	return 0;
}

// A decimal number without sign or white space, at most max; -EINVAL otherwise.
static int number_parse(const char *text, unsigned max)
{
	unsigned value = 0;
	if (*text == '\0')
		return -EINVAL;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return -EINVAL;
		value = value * 10 + (unsigned)(*text - '0');
		if (value > max)
			return -EINVAL;
	}
	return (int)value;
}

static void clear_host_bits(struct ip_prefix *p)
{
	for (unsigned i = 0; i < sizeof(p->addr.bytes); i++) {
		unsigned kept = p->len > i * 8 ? p->len - i * 8 : 0;
		if (kept < 8)
			p->addr.bytes[i] &= (uint8_t)(0xff00 >> kept);
	}
}

int ip_ifaddr_parse(const char *text, struct ip_ifaddr *out)
{
	char addr[ADDR_TEXT_LEN];
	struct ip_ifaddr p;
	const char *slash = strchr(text, '/');
	size_t n = slash ? (size_t)(slash - text) : strlen(text);
	if (n >= sizeof(addr))
		return -EINVAL;
	memcpy(addr, text, n);
	addr[n] = '\0';
	if (ip_addr_parse(addr, &p.addr) < 0)
		return -EINVAL;
	int len = (int)ip_addr_bits(&p.addr);
	if (slash)
		len = number_parse(slash + 1, (unsigned)len);
	if (len < 0)
		return -EINVAL;
	p.len = (uint8_t)len;
	*out = p;
	return 0;
}

int ip_prefix_parse(const char *text, struct ip_prefix *out)
{
	struct ip_ifaddr a;
	if (ip_ifaddr_parse(text, &a) < 0)
		return -EINVAL;
	struct ip_prefix p = {.addr = a.addr, .len = a.len};
	clear_host_bits(&p);
	*out = p;
	return 0;
}

int endpoint_parse(const char *text, struct endpoint *out)
{
	char addr[ADDR_TEXT_LEN];
	struct endpoint e;
	const char *colon = strrchr(text, ':');
	if (!colon)
		return -EINVAL;
	bool bracketed = text[0] == '[' && colon > text && colon[-1] == ']';
	const char *start = bracketed ? text + 1 : text;
	size_t n = (size_t)((bracketed ? colon - 1 : colon) - start);
	if (n >= sizeof(addr))
		return -EINVAL;
	memcpy(addr, start, n);
	addr[n] = '\0';
	if (ip_addr_parse(addr, &e.addr) < 0 || bracketed != (e.addr.family == IP_V6))
		return -EINVAL;
	int port = number_parse(colon + 1, 65535);
	if (port <= 0)
		return -EINVAL;
	e.port = (uint16_t)port;
	*out = e;
	return 0;
}

int key_parse(const char *text, struct key *out)
{
	struct key k;
	size_t n = 0;
	const char *end = NULL;
	if (strlen(text) != KEY_TEXT_LEN)
		return -EINVAL;
	if (sodium_base642bin(k.bytes, sizeof(k.bytes), text, KEY_TEXT_LEN, NULL, &n, &end,
		    sodium_base64_VARIANT_ORIGINAL) < 0 ||
		n != KEY_LEN || end != text + KEY_TEXT_LEN)
		return -EINVAL;
	*out = k;
	sodium_memzero(&k, sizeof(k));
	return 0;
}

const char *ip_addr_format(const struct ip_addr *a, char text[static ADDR_TEXT_LEN])
{
	if (a->family == IP_NONE)
		return strcpy(text, "none");
	inet_ntop(a->family == IP_V4 ? AF_INET : AF_INET6, a->bytes, text, ADDR_TEXT_LEN);
	return text;
}

const char *ip_prefix_format(const struct ip_prefix *p, char text[static PREFIX_TEXT_LEN])
{
	ip_addr_format(&p->addr, text);
	size_t n = strlen(text);
	snprintf(text + n, PREFIX_TEXT_LEN - n, "/%u", p->len);
	return text;
}

const char *endpoint_format(const struct endpoint *e, char text[static ENDPOINT_TEXT_LEN])
{
	char addr[ADDR_TEXT_LEN];
	if (e->port == 0 || e->addr.family == IP_NONE)
		return strcpy(text, "none");
	ip_addr_format(&e->addr, addr);
	const char *form = e->addr.family == IP_V6 ? "[%s]:%u" : "%s:%u";
	snprintf(text, ENDPOINT_TEXT_LEN, form, addr, e->port);
	return text;
}

const char *key_format(const struct key *k, char text[static KEY_TEXT_LEN + 1])
{
	return sodium_bin2base64(
		text, KEY_TEXT_LEN + 1, k->bytes, KEY_LEN, sodium_base64_VARIANT_ORIGINAL);
}

bool ip_prefix_contains(const struct ip_prefix *p, const struct ip_addr *a)
{
	if (p->addr.family != a->family)
		return false;
	struct ip_prefix q = {.addr = *a, .len = p->len};
	clear_host_bits(&q);
	return ip_addr_equal(&q.addr, &p->addr);
}

bool ip_addr_is_link_local(const struct ip_addr *a)
{
	const uint8_t *b = a->bytes;
	return a->family == IP_V4 ? b[0] == 169 && b[1] == 254
				  : b[0] == 0xfe && (b[1] & 0xc0) == 0x80;
}

bool ip_addr_is_loopback(const struct ip_addr *a)
{
	static const uint8_t v6[16] = {[15] = 1};
	return a->family == IP_V4 ? a->bytes[0] == 127 : memcmp(a->bytes, v6, sizeof(v6)) == 0;
}

bool ip_addr_is_private(const struct ip_addr *a)
{
	const uint8_t *b = a->bytes;
	if (a->family == IP_V6)
		return (b[0] & 0xfe) == 0xfc;
	return b[0] == 10 || (b[0] == 172 && (b[1] & 0xf0) == 16) || (b[0] == 192 && b[1] == 168);
}

bool key_is_zero(const struct key *k)
{
	return sodium_is_zero(k->bytes, KEY_LEN);
}
