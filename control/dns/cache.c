#include "control/dns/cache.h"

#include <sodium.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "dataplane/base/mem.h"

enum { BUCKETS = 16384 };

struct entry {
	TAILQ_ENTRY(entry) used;
	struct entry *next; // in its bucket
	uint32_t bucket;
	uint64_t stored_s, until_s;
	size_t size; // of all of it
	size_t key_len;
	struct dns_reply *reply; // cut off behind its TTLs
	uint8_t *message;
	uint8_t bytes[]; // key, message
};

TAILQ_HEAD(used, entry);

struct dns_cache { // ctl only
	struct entry *buckets[BUCKETS];
	struct used used; // last used first
	uint8_t key[crypto_shorthash_KEYBYTES];
	struct dns_cache_counters counters;
};

struct flat_key {
	uint8_t bytes[8 + DNS_NAME_LEN];
	size_t len;
	uint32_t bucket;
};

static void flatten(const struct dns_cache *c, const struct dns_cache_key *k, struct flat_key *f)
{
	uint8_t hash[crypto_shorthash_BYTES];
	const uint8_t head[6] = {(uint8_t)(k->type >> 8), (uint8_t)k->type,
		(uint8_t)(k->where >> 8), (uint8_t)k->where, k->cd, k->dnssec_ok};
	const size_t n = strlen(k->name);

	memcpy(f->bytes, head, sizeof(head));
	memcpy(f->bytes + sizeof(head), k->name, n);
	f->len = sizeof(head) + n;
	crypto_shorthash(hash, f->bytes, f->len, c->key);
	memcpy(&f->bucket, hash, sizeof(f->bucket));
	f->bucket %= BUCKETS;
}

static struct entry *find(const struct dns_cache *c, const struct flat_key *f)
{
	struct entry *e = c->buckets[f->bucket];

	while (e && (e->key_len != f->len || memcmp(e->bytes, f->bytes, f->len) != 0))
		e = e->next;
	return e;
}

static void drop(struct dns_cache *c, struct entry *e)
{
	struct entry **at = &c->buckets[e->bucket];

	while (*at != e)
		at = &(*at)->next;
	*at = e->next;
	TAILQ_REMOVE(&c->used, e, used);
	c->counters.entries--;
	c->counters.bytes -= e->size;
	free(e->reply);
	free(e);
}

struct dns_cache *dns_cache_create(void)
{
	struct dns_cache *c = mem_alloc(sizeof(*c));

	TAILQ_INIT(&c->used);
	randombytes_buf(c->key, sizeof(c->key));
	return c;
}

void dns_cache_clear(struct dns_cache *c)
{
	for (struct entry *e; (e = TAILQ_FIRST(&c->used));)
		drop(c, e);
}

void dns_cache_destroy(struct dns_cache *c)
{
	if (!c)
		return;
	dns_cache_clear(c);
	free(c);
}

bool dns_cache_get(struct dns_cache *c, const struct dns_cache_key *key, uint64_t now_s,
	struct dns_cached *out)
{
	struct flat_key f;

	flatten(c, key, &f);
	struct entry *e = find(c, &f);
	if (e && (now_s >= e->until_s || now_s < e->stored_s)) {
		drop(c, e);
		e = NULL;
	}
	if (!e) {
		c->counters.misses++;
		return false;
	}
	TAILQ_REMOVE(&c->used, e, used);
	TAILQ_INSERT_HEAD(&c->used, e, used);
	*out = (struct dns_cached){e->message, e->reply, (uint32_t)(now_s - e->stored_s)};
	c->counters.hits++;
	return true;
}

void dns_cache_put(struct dns_cache *c, const struct dns_cache_key *key, uint64_t now_s,
	const uint8_t *message, const struct dns_reply *reply)
{
	const size_t reply_size =
		offsetof(struct dns_reply, ttl_at) + reply->n_ttls * sizeof(reply->ttl_at[0]);
	struct flat_key f;

	if (!reply->cacheable || reply->body_len > DNS_CACHE_ANSWER_MAX)
		return;
	flatten(c, key, &f);
	struct entry *e = find(c, &f);
	if (e)
		drop(c, e);
	const size_t size = sizeof(*e) + f.len + reply->body_len;
	e = malloc(size);
	struct dns_reply *copy = malloc(reply_size);
	if (!e || !copy)
		abort();
	memcpy(copy, reply, reply_size);
	*e = (struct entry){
		.next = c->buckets[f.bucket],
		.bucket = f.bucket,
		.stored_s = now_s,
		.until_s = now_s + reply->ttl_s,
		.size = size + reply_size,
		.key_len = f.len,
		.reply = copy,
		.message = e->bytes + f.len,
	};
	memcpy(e->bytes, f.bytes, f.len);
	memcpy(e->message, message, reply->body_len);
	c->buckets[f.bucket] = e;
	TAILQ_INSERT_HEAD(&c->used, e, used);
	c->counters.entries++;
	c->counters.bytes += e->size;
	while (c->counters.entries > DNS_CACHE_ENTRIES || c->counters.bytes > DNS_CACHE_BYTES) {
		drop(c, TAILQ_LAST(&c->used, used));
		c->counters.evicted++;
	}
}

void dns_cache_count(const struct dns_cache *c, struct dns_cache_counters *out)
{
	*out = c->counters;
}
