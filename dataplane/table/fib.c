#include "dataplane/table/fib.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "dataplane/table/lookup.h"

static_assert(
	(uint32_t)FIB_NEXTHOP_MAX <= LPM_VALUE_MAX, "a next hop's number is a value of the LPM");

enum {
	BUCKETS = 1 << 14,
	NEXTHOP_FIRST = 1, // 0: no route
};

// Of one next hop's number.
struct hop_control {
	uint32_t prefixes; // that lead to it; 0: free, or within its grace period
	uint32_t link;	   // next in its bucket, or next free number
};

struct fib_control {
	struct rcu *rcu;
	uint32_t touched; // numbers handed out at least once
	uint32_t free_head;
	uint32_t used;
	uint32_t bucket[BUCKETS]; // first number with that hash
	struct hop_control hop[FIB_NEXTHOP_MAX];
};

bool nexthop_equal(const struct nexthop *a, const struct nexthop *b)
{
	return a->type == b->type && a->port == b->port && a->mtu == b->mtu &&
	       a->ifindex == b->ifindex && a->vtep == b->vtep &&
	       ip_addr_equal(&a->gateway, &b->gateway) && memcmp(a->l2, b->l2, sizeof(a->l2)) == 0;
}

static uint64_t fold(uint64_t hash, const uint8_t bytes[static 16])
{
	uint64_t words[2];
	memcpy(words, bytes, sizeof(words));
	for (unsigned i = 0; i < 2; i++) {
		hash = (hash ^ words[i]) * UINT64_C(0x9e3779b97f4a7c15);
		hash ^= hash >> 29;
	}
	return hash;
}

static uint32_t bucket_of(const struct nexthop *h)
{
	uint64_t hash = (uint64_t)h->ifindex << 32 | (uint32_t)h->mtu << 16 | h->port;
	hash = fold(hash ^ (uint64_t)h->type << 60 ^ (uint64_t)h->vtep << 20, h->gateway.bytes);
	return (uint32_t)(fold(hash, h->l2) >> 40) % BUCKETS;
}

static struct nexthop *hop_get(const struct fib *f, uint32_t number)
{
	return atomic_load_explicit(&f->nexthop[number], memory_order_relaxed);
}

static uint32_t find(const struct fib *f, const struct nexthop *h)
{
	uint32_t number = f->control->bucket[bucket_of(h)];
	while (number && !nexthop_equal(hop_get(f, number), h))
		number = f->control->hop[number].link;
	return number;
}

// Publish a copy of h under the number.
static void publish(struct fib *f, uint32_t number, const struct nexthop *h)
{
	struct fib_control *c = f->control;
	struct nexthop *copy = mem_alloc(sizeof(*copy));
	*copy = *h;
	uint32_t *bucket = &c->bucket[bucket_of(h)];
	c->hop[number].link = *bucket;
	*bucket = number;
	atomic_store_explicit(&f->nexthop[number], copy, memory_order_release);
}

static void unlink_hop(struct fib *f, uint32_t number)
{
	uint32_t *at = &f->control->bucket[bucket_of(hop_get(f, number))];
	while (*at != number)
		at = &f->control->hop[*at].link;
	*at = f->control->hop[number].link;
}

// The number of an equal next hop, or of a new one; 0: no room.
static uint32_t hop_ref(struct fib *f, const struct nexthop *h)
{
	struct fib_control *c = f->control;
	uint32_t number = find(f, h);
	if (!number) {
		number = c->free_head;
		if (number)
			c->free_head = c->hop[number].link;
		else if (c->touched < FIB_NEXTHOP_MAX)
			number = c->touched++;
		else
			return 0;
		publish(f, number, h);
		c->used++;
	}
	c->hop[number].prefixes++;
	return number;
}

struct retired_hop {
	struct fib *f;
	uint32_t number;
};

static void give_number(void *arg)
{
	struct retired_hop *r = arg;
	struct fib_control *c = r->f->control;
	free(hop_get(r->f, r->number));
	atomic_store_explicit(&r->f->nexthop[r->number], NULL, memory_order_relaxed);
	c->hop[r->number].link = c->free_head;
	c->free_head = r->number;
	free(r);
}

// The number stays taken until no worker can hold it: one may have read it from the LPM, but not
// yet the next hop.
static void hop_unref(struct fib *f, uint32_t number)
{
	struct fib_control *c = f->control;
	if (!number || --c->hop[number].prefixes > 0)
		return;
	unlink_hop(f, number);
	c->used--;
	struct retired_hop *r = mem_alloc(sizeof(*r));
	*r = (struct retired_hop){.f = f, .number = number};
	rcu_defer(c->rcu, give_number, r);
}

static struct lpm *lpm_of(const struct fib *f, const struct ip_prefix *p)
{
	return p->addr.family == IP_V4 ? f->v4 : f->v6;
}

int fib_set(struct fib *f, const struct ip_prefix *p, const struct nexthop *h)
{
	struct lpm *l = lpm_of(f, p);
	if (h->type >= NH_TYPE_COUNT)
		return -EINVAL;
	uint32_t old = lpm_get(l, p);
	if (old && nexthop_equal(hop_get(f, old), h))
		return 0;
	uint32_t number = hop_ref(f, h);
	if (!number)
		return -ENOSPC;
	int error = lpm_set(l, p, number);
	hop_unref(f, error ? number : old);
	return error;
}

static void replace_hop(struct fib *f, uint32_t number, const struct nexthop *to)
{
	struct nexthop *old = hop_get(f, number);
	unlink_hop(f, number);
	publish(f, number, to);
	rcu_defer(f->control->rcu, free, old);
}

int fib_replace(struct fib *f, const struct nexthop *from, const struct nexthop *to)
{
	uint32_t number = find(f, from);
	if (to->type >= NH_TYPE_COUNT)
		return -EINVAL;
	if (!number)
		return -ENOENT;
	if (nexthop_equal(from, to))
		return 0;
	// Another number may stand for what to is: that costs a slot, no more. So from may have
	// several.
	for (; number; number = find(f, from))
		replace_hop(f, number, to);
	return 0;
}

int fib_clear(struct fib *f, const struct ip_prefix *p)
{
	struct lpm *l = lpm_of(f, p);
	uint32_t old = lpm_get(l, p);
	int error = lpm_clear(l, p);
	if (!error)
		hop_unref(f, old);
	return error;
}

const struct nexthop *fib_get(const struct fib *f, const struct ip_prefix *p)
{
	return hop_get(f, lpm_get(lpm_of(f, p), p));
}

const struct nexthop *fib_lookup(const struct fib *f, const struct ip_addr *a)
{
	return fib_find(f, a->bytes, a->family);
}

uint32_t fib_count(const struct fib *f)
{
	return lpm_count(f->v4) + lpm_count(f->v6);
}

uint32_t fib_nexthop_count(const struct fib *f)
{
	return f->control->used;
}

size_t fib_memory(const struct fib *f)
{
	size_t number = sizeof(*f->nexthop) + sizeof(struct hop_control) + sizeof(struct nexthop);
	return lpm_memory(f->v4) + lpm_memory(f->v6) + f->control->touched * number +
	       sizeof(f->control->bucket);
}

static void fib_free(void *arg)
{
	struct fib *f = arg;
	for (uint32_t i = NEXTHOP_FIRST; i < f->control->touched; i++)
		free(hop_get(f, i));
	free(f->nexthop);
	free(f->control);
	free(f);
}

void fib_destroy(struct fib *f)
{
	if (!f)
		return;
	lpm_destroy(f->v4);
	lpm_destroy(f->v6);
	vtep_table_destroy(f->vteps);
	rcu_defer(f->control->rcu, fib_free, f);
}

struct fib *fib_create(struct rcu *rcu)
{
	struct fib *f = mem_alloc(sizeof(*f));
	f->v4 = lpm_create(IP_V4, rcu);
	f->v6 = lpm_create(IP_V6, rcu);
	// calloc: pages of numbers that were never used stay untouched.
	f->nexthop = calloc(FIB_NEXTHOP_MAX, sizeof(*f->nexthop));
	f->control = calloc(1, sizeof(*f->control));
	if (!f->v4 || !f->v6 || !f->nexthop || !f->control)
		goto no_memory;
	f->control->rcu = rcu;
	f->control->touched = NEXTHOP_FIRST;
	f->vteps = vtep_table_create(rcu);
	return f;
no_memory:
	lpm_destroy(f->v4);
	lpm_destroy(f->v6);
	free(f->nexthop);
	free(f->control);
	free(f);
	errno = ENOMEM;
	return NULL;
}
