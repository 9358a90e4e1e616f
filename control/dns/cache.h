// Answers of resolvers, for as long as their TTLs say. Bounded in number and bytes; the one that
// was not used for the longest time goes first. [ctl]
#pragma once

#include "control/dns/wire.h"

enum {
	DNS_CACHE_ENTRIES = 8192,
	DNS_CACHE_BYTES = 8 << 20,
	DNS_CACHE_ANSWER_MAX = 16 << 10, // bytes of one; larger ones are not kept
};

// What makes two queries the same.
struct dns_cache_key {
	const char *name;
	uint16_t type;
	uint16_t where; // whoever answers: what another would say may differ
	bool cd, dnssec_ok;
};

struct dns_cached {
	const uint8_t *message;
	const struct dns_reply *reply;
	uint32_t age_s;
};

struct dns_cache_counters {
	uint64_t hits, misses, evicted;
	uint32_t entries;
	size_t bytes;
};

struct dns_cache;

struct dns_cache *dns_cache_create(void);   // never NULL
void dns_cache_destroy(struct dns_cache *); // NULL is fine
void dns_cache_clear(struct dns_cache *);
// true: *out is valid until the next call. now_s: any clock that does not jump.
bool dns_cache_get(
	struct dns_cache *, const struct dns_cache_key *, uint64_t now_s, struct dns_cached *out);
// Nothing happens where the reply is not cacheable.
void dns_cache_put(struct dns_cache *, const struct dns_cache_key *, uint64_t now_s,
	const uint8_t *message, const struct dns_reply *);
void dns_cache_count(const struct dns_cache *, struct dns_cache_counters *out);
