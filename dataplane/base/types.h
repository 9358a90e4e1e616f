// Addresses, prefixes, endpoints, keys: the vocabulary of every other folder.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define must_check __attribute__((warn_unused_result))

enum {
	KEY_LEN = 32,	   // X25519 keys, preshared keys, hashes
	KEY_TEXT_LEN = 44, // base64 of a key, without the final zero
	IFNAME_LEN = 16,
	ADDR_TEXT_LEN = 46,
	PREFIX_TEXT_LEN = 50,
	ENDPOINT_TEXT_LEN = 56, // [v6]:port
};

enum ip_family {
	IP_NONE = 0,
	IP_V4 = 4,
	IP_V6 = 6,
};

// An IPv4 address lies in the first 4 bytes; the rest is zero, so that memcmp compares.
struct ip_addr {
	uint8_t bytes[16];
	uint8_t family; // enum ip_family
};

// Bits behind len are zero.
struct ip_prefix {
	struct ip_addr addr;
	uint8_t len; // bits
};

// An interface's address and the length of its network; host bits are kept.
struct ip_ifaddr {
	struct ip_addr addr;
	uint8_t len; // bits
};

struct endpoint {
	struct ip_addr addr;
	uint16_t port; // host order; 0: none
};

struct key {
	uint8_t bytes[KEY_LEN];
};

static inline bool ip_addr_equal(const struct ip_addr *a, const struct ip_addr *b)
{
	return a->family == b->family && memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

static inline bool endpoint_equal(const struct endpoint *a, const struct endpoint *b)
{
	return a->port == b->port && ip_addr_equal(&a->addr, &b->addr);
}

static inline unsigned ip_addr_bits(const struct ip_addr *a)
{
	return a->family == IP_V4 ? 32 : 128;
}

static inline struct ip_addr ip_addr_v4(const void *bytes)
{
	struct ip_addr a = {.family = IP_V4};
	memcpy(a.bytes, bytes, 4);
	return a;
}

static inline struct ip_addr ip_addr_v6(const void *bytes)
{
	struct ip_addr a = {.family = IP_V6};
	memcpy(a.bytes, bytes, 16);
	return a;
}

// Text to value; 0, or -EINVAL and *out untouched. No names are resolved.
int ip_addr_parse(const char *text, struct ip_addr *out) must_check;
// "10.0.0.0/8", or an address alone (its full length). Host bits are cleared.
int ip_prefix_parse(const char *text, struct ip_prefix *out) must_check;
// The same text with host bits kept.
int ip_ifaddr_parse(const char *text, struct ip_ifaddr *out) must_check;
// "192.0.2.1:41641" or "[2001:db8::1]:41641".
int endpoint_parse(const char *text, struct endpoint *out) must_check;
// Base64, exactly 44 characters, as wg(8) writes keys. Constant time in the key's value.
int key_parse(const char *text, struct key *out) must_check;

// Value to text; each returns its buffer.
const char *ip_addr_format(const struct ip_addr *a, char text[static ADDR_TEXT_LEN]);
const char *ip_prefix_format(const struct ip_prefix *p, char text[static PREFIX_TEXT_LEN]);
const char *endpoint_format(const struct endpoint *e, char text[static ENDPOINT_TEXT_LEN]);
const char *key_format(const struct key *k, char text[static KEY_TEXT_LEN + 1]);

// fe80::/10, 169.254.0.0/16.
bool ip_addr_is_link_local(const struct ip_addr *);
bool ip_addr_is_loopback(const struct ip_addr *); // ::1, 127.0.0.0/8
bool ip_addr_is_private(const struct ip_addr *);  // RFC 1918, RFC 4193
bool ip_prefix_contains(const struct ip_prefix *p, const struct ip_addr *a);
bool key_is_zero(const struct key *k);
