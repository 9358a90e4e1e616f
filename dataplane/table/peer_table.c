#include "dataplane/table/peer_table.h"

#include "dataplane/wire/csum.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	BUCKETS = PEER_MAX,
	NONE = UINT32_MAX,
};

struct slot {
	struct peer *_Atomic peer; // ctl: rw, wrk: ro (RCU); NULL: free, or within its grace period
	uint32_t link;		   // ctl only: next in its bucket, or next free id
};

struct peer_table {
	struct rcu *rcu;
	uint32_t workers;
	uint32_t added; // ever: the next owner
	uint32_t count;
	uint32_t touched; // ids handed out at least once
	uint32_t free_head;
	uint32_t bucket[BUCKETS];
	struct slot slot[PEER_MAX];
};

// Keys are points on a curve: any bytes of them are spread well.
static uint32_t bucket_of(const struct key *k)
{
	uint32_t word;
	memcpy(&word, k->bytes, sizeof(word));
	return word % BUCKETS;
}

struct peer_table *peer_table_create(struct rcu *rcu, unsigned workers)
{
	struct peer_table *t = calloc(1, sizeof(*t));
	if (!t)
		return NULL;
	t->rcu = rcu;
	t->workers = workers;
	t->free_head = NONE;
	for (uint32_t i = 0; i < BUCKETS; i++)
		t->bucket[i] = NONE;
	return t;
}

void peer_table_destroy(struct peer_table *t)
{
	struct peer *p;
	if (!t)
		return;
	for (uint32_t id = 0; (p = peer_table_next(t, &id));)
		peer_table_remove(t, p);
	rcu_defer(t->rcu, free, t);
}

// NONE: all taken.
static uint32_t take_id(struct peer_table *t)
{
	uint32_t id = t->free_head;
	if (id != NONE)
		t->free_head = t->slot[id].link;
	else if (t->touched < PEER_MAX)
		id = t->touched++;
	return id;
}

int peer_table_add(
	struct peer_table *t, const struct key *public_key, const char *name, struct peer **out)
{
	if (peer_table_find(t, public_key))
		return -EEXIST;
	uint32_t id = take_id(t);
	if (id == NONE)
		return -ENOSPC;
	struct peer *p = mem_alloc(sizeof(*p));
	struct peer_path *path = mem_alloc(sizeof(*path));
	path->port = PORT_NONE;
	atomic_init(&p->path, path);
	atomic_init(&p->roaming, true);
	p->id = id;
	p->owner = (uint16_t)(t->added++ % t->workers);
	p->public_key = *public_key;
	snprintf(p->name, sizeof(p->name), "%s", name);
	uint32_t *bucket = &t->bucket[bucket_of(public_key)];
	t->slot[id].link = *bucket;
	atomic_store_explicit(&t->slot[id].peer, p, memory_order_release);
	*bucket = id;
	t->count++;
	*out = p;
	return 0;
}

struct retired_peer {
	struct peer_table *t;
	struct peer *peer;
};

static void free_peer(void *arg)
{
	struct retired_peer *r = arg;
	struct peer *p = r->peer;
	for (struct rte_mbuf *m = p->staged, *next; p->staged_n > 0; p->staged_n--, m = next) {
		next = *peer_staged_next(m);
		rte_pktmbuf_free(m);
	}
	r->t->slot[p->id].link = r->t->free_head;
	r->t->free_head = p->id;
	free(atomic_load_explicit(&p->path, memory_order_relaxed));
	mem_wipe_free(p, sizeof(*p));
	free(r);
}

void peer_table_remove(struct peer_table *t, struct peer *p)
{
	uint32_t *at = &t->bucket[bucket_of(&p->public_key)];
	while (*at != p->id)
		at = &t->slot[*at].link;
	*at = t->slot[p->id].link;
	atomic_store_explicit(&t->slot[p->id].peer, NULL, memory_order_relaxed);
	t->count--;
	peer_set_sending(p, NULL);
	atomic_store_explicit(&p->dead, 1, memory_order_release);
	struct retired_peer *r = mem_alloc(sizeof(*r));
	*r = (struct retired_peer){.t = t, .peer = p};
	rcu_defer(t->rcu, free_peer, r);
}

struct peer *peer_table_find(const struct peer_table *t, const struct key *public_key)
{
	for (uint32_t id = t->bucket[bucket_of(public_key)]; id != NONE; id = t->slot[id].link) {
		struct peer *p = peer_table_get(t, id);
		if (memcmp(&p->public_key, public_key, sizeof(*public_key)) == 0)
			return p;
	}
	return NULL;
}

struct peer *peer_table_get(const struct peer_table *t, uint32_t id)
{
	if (id >= PEER_MAX)
		return NULL;
	return atomic_load_explicit(&t->slot[id].peer, memory_order_acquire);
}

struct peer *peer_table_next(const struct peer_table *t, uint32_t *id)
{
	while (*id < t->touched) {
		struct peer *p = peer_table_get(t, (*id)++);
		if (p)
			return p;
	}
	return NULL;
}

uint32_t peer_table_count(const struct peer_table *t)
{
	return t->count;
}

// Of the outer IPv4 header without what changes with every datagram.
static uint32_t sum_outer4(const struct peer_path *path)
{
	struct rte_ipv4_hdr ip;
	memcpy(&ip, path->outer + sizeof(path->outer) - UDP_HDR_LEN - IP4_HDR_LEN, sizeof(ip));
	ip.type_of_service = 0;
	ip.total_length = ip.packet_id = ip.hdr_checksum = 0;
	return csum_fold(csum_ip4_plain_hdr((const uint8_t *)&ip));
}

void peer_set_path(struct rcu *rcu, struct peer *p, const struct peer_path *path)
{
	struct peer_path *copy = mem_alloc(sizeof(*copy));
	*copy = *path;
	copy->ip_sum = path->family == IP_V4 ? sum_outer4(path) : 0;
	struct peer_path *old = atomic_load_explicit(&p->path, memory_order_relaxed);
	atomic_store_explicit(&p->path, copy, memory_order_release);
	rcu_defer(rcu, free, old);
}

void peer_set_sending(struct peer *p, struct keypair *kp)
{
	atomic_store_explicit(&p->sending, kp, memory_order_release);
}
