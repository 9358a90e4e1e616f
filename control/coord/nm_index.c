#include <sodium.h>
#include <stdlib.h>

#include "control/coord/netmap_parts.h"

enum { BUCKETS_MIN = 256 };

struct entry {
	struct entry *next;
	struct nm_peer *peer;
	struct nm_name name;
};

struct nm_index {
	uint8_t hash_key[crypto_shorthash_KEYBYTES];
	struct entry **buckets;
	size_t n_buckets; // a power of two
	size_t used;
};

struct nm_name nm_name_of(enum nm_claim claim, const void *bytes, size_t len)
{
	struct nm_name name = {{(uint8_t)claim}};

	memcpy(name.bytes + 1, bytes, len);
	return name;
}

struct nm_name nm_name_of_addr(const struct ip_addr *a)
{
	struct nm_name name = nm_name_of(NM_CLAIM_ADDRESS, a->bytes, sizeof(a->bytes));

	name.bytes[1 + sizeof(a->bytes)] = a->family;
	return name;
}

static struct entry **find(const struct nm_index *x, const struct nm_name *name)
{
	uint64_t hash;

	crypto_shorthash((uint8_t *)&hash, name->bytes, sizeof(name->bytes), x->hash_key);
	struct entry **e = &x->buckets[hash & (x->n_buckets - 1)];
	while (*e && memcmp((*e)->name.bytes, name->bytes, sizeof(name->bytes)))
		e = &(*e)->next;
	return e;
}

static void resize(struct nm_index *x, size_t n_buckets)
{
	struct nm_index bigger = *x;

	bigger.n_buckets = n_buckets;
	bigger.buckets = calloc(n_buckets, sizeof(*bigger.buckets));
	if (!bigger.buckets)
		abort();
	for (size_t i = 0; i < x->n_buckets; i++)
		for (struct entry *e = x->buckets[i], *next; e; e = next) {
			next = e->next;
			e->next = NULL;
			*find(&bigger, &e->name) = e;
		}
	free(x->buckets);
	*x = bigger;
}

struct nm_index *nm_index_create(void)
{
	struct nm_index *x = calloc(1, sizeof(*x));

	if (!x)
		abort();
	randombytes_buf(x->hash_key, sizeof(x->hash_key));
	resize(x, BUCKETS_MIN);
	return x;
}

void nm_index_destroy(struct nm_index *x)
{
	for (size_t i = 0; i < x->n_buckets; i++)
		for (struct entry *e = x->buckets[i], *next; e; e = next) {
			next = e->next;
			free(e);
		}
	free(x->buckets);
	free(x);
}

struct nm_peer *nm_index_get(const struct nm_index *x, const struct nm_name *name)
{
	const struct entry *e = *find(x, name);

	return e ? e->peer : NULL;
}

void nm_index_put(struct nm_index *x, const struct nm_name *name, struct nm_peer *peer)
{
	struct entry **at = find(x, name);

	if (!*at) {
		if (x->used >= x->n_buckets) {
			resize(x, x->n_buckets * 2);
			at = find(x, name);
		}
		*at = calloc(1, sizeof(**at));
		if (!*at)
			abort();
		(*at)->name = *name;
		x->used++;
	}
	(*at)->peer = peer;
}

bool nm_index_remove(struct nm_index *x, const struct nm_name *name, const struct nm_peer *peer)
{
	struct entry **at = find(x, name), *e = *at;

	if (!e || e->peer != peer)
		return false;
	*at = e->next;
	free(e);
	x->used--;
	return true;
}

static bool is_own(const struct nm_node *self, const struct ip_addr *a)
{
	for (uint32_t i = 0; self && i < self->n_addresses; i++) {
		if (ip_addr_equal(&self->addresses[i].addr, a))
			return true;
	}
	return false;
}

size_t netmap_masqueraded(const struct netmap *nm, const struct nm_peer **first)
{
	size_t n = 0;
	for (size_t i = 0; i < nm->n_peers; i++) {
		const struct nm_node *p = nm->peers[i]->node;
		if ((p->masq_v4.family == IP_NONE || is_own(nm->self, &p->masq_v4)) &&
			(p->masq_v6.family == IP_NONE || is_own(nm->self, &p->masq_v6)))
			continue;
		if (n++ == 0)
			*first = nm->peers[i];
	}
	return n;
}
