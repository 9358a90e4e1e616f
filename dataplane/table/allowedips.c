#include <errno.h>
#include <stdlib.h>

#include "dataplane/table/lookup.h"

enum {
	LIST_MIN = 4,
};

// Prefixes of one peer.
struct list {
	struct ip_prefix *prefixes;
	uint32_t n, room;
};

struct allowedips_control {
	struct rcu *rcu;
	struct list list[PEER_MAX]; // by peer id
};

static struct lpm *lpm_of(const struct allowedips *a, const struct ip_prefix *p)
{
	return p->addr.family == IP_V4 ? a->v4 : a->v6;
}

static int list_reserve(struct list *l)
{
	if (l->n < l->room)
		return 0;
	uint32_t room = l->room ? l->room * 2 : LIST_MIN;
	struct ip_prefix *bigger = realloc(l->prefixes, room * sizeof(*bigger));
	if (!bigger)
		return -ENOMEM;
	l->prefixes = bigger;
	l->room = room;
	return 0;
}

static void list_free(struct list *l)
{
	free(l->prefixes);
	*l = (struct list){0};
}

// The prefix leaves the list of the peer; with the last one, workers no longer find the peer.
static void leave(struct allowedips *a, const struct ip_prefix *p, uint32_t id)
{
	struct list *l = &a->control->list[id];
	uint32_t i = 0;
	while (l->prefixes[i].len != p->len || !ip_addr_equal(&l->prefixes[i].addr, &p->addr))
		i++;
	l->prefixes[i] = l->prefixes[--l->n];
	if (l->n > 0)
		return;
	list_free(l);
	atomic_store_explicit(&a->peer[id + 1], NULL, memory_order_relaxed);
}

int allowedips_set(struct allowedips *a, const struct ip_prefix *p, struct peer *peer)
{
	struct lpm *lpm = lpm_of(a, p);
	struct list *l = &a->control->list[peer->id];
	uint32_t value = peer->id + 1, old = lpm_get(lpm, p);
	if (old == value)
		return 0;
	int error = list_reserve(l);
	if (error)
		return error;
	// First the pointer, so that the value never leads to nothing.
	atomic_store_explicit(&a->peer[value], peer, memory_order_release);
	error = lpm_set(lpm, p, value);
	if (error) {
		if (l->n == 0) {
			atomic_store_explicit(&a->peer[value], NULL, memory_order_relaxed);
			list_free(l);
		}
		return error;
	}
	l->prefixes[l->n++] = *p;
	if (old)
		leave(a, p, old - 1);
	return 0;
}

int allowedips_clear(struct allowedips *a, const struct ip_prefix *p, const struct peer *peer)
{
	struct lpm *lpm = lpm_of(a, p);
	if (lpm_get(lpm, p) != peer->id + 1)
		return -ENOENT;
	lpm_clear(lpm, p);
	leave(a, p, peer->id);
	return 0;
}

void allowedips_clear_peer(struct allowedips *a, const struct peer *peer)
{
	struct list *l = &a->control->list[peer->id];
	for (uint32_t i = 0; i < l->n; i++)
		lpm_clear(lpm_of(a, &l->prefixes[i]), &l->prefixes[i]);
	list_free(l);
	atomic_store_explicit(&a->peer[peer->id + 1], NULL, memory_order_relaxed);
}

struct peer *allowedips_get(const struct allowedips *a, const struct ip_prefix *p)
{
	return atomic_load_explicit(&a->peer[lpm_get(lpm_of(a, p), p)], memory_order_relaxed);
}

const struct ip_prefix *allowedips_of(
	const struct allowedips *a, const struct peer *peer, uint32_t *n)
{
	const struct list *l = &a->control->list[peer->id];
	*n = l->n;
	return l->prefixes;
}

uint32_t allowedips_count(const struct allowedips *a)
{
	return lpm_count(a->v4) + lpm_count(a->v6);
}

struct peer *allowedips_lookup4(const struct allowedips *a, const uint8_t addr[static 4])
{
	return allowedips_find4(a, addr);
}

struct peer *allowedips_lookup6(const struct allowedips *a, const uint8_t addr[static 16])
{
	return allowedips_find6(a, addr);
}

static void allowedips_free(void *arg)
{
	struct allowedips *a = arg;
	for (uint32_t i = 0; i < PEER_MAX; i++)
		list_free(&a->control->list[i]);
	free(a->peer);
	free(a->control);
	free(a);
}

void allowedips_destroy(struct allowedips *a)
{
	if (!a)
		return;
	lpm_destroy(a->v4);
	lpm_destroy(a->v6);
	rcu_defer(a->control->rcu, allowedips_free, a);
}

struct allowedips *allowedips_create(struct rcu *rcu)
{
	struct allowedips *a = mem_alloc(sizeof(*a));
	a->v4 = lpm_create(IP_V4, rcu);
	a->v6 = lpm_create(IP_V6, rcu);
	a->peer = calloc(PEER_MAX + 1, sizeof(*a->peer));
	a->control = calloc(1, sizeof(*a->control));
	if (!a->v4 || !a->v6 || !a->peer || !a->control)
		goto no_memory;
	a->control->rcu = rcu;
	return a;
no_memory:
	lpm_destroy(a->v4);
	lpm_destroy(a->v6);
	free(a->peer);
	free(a->control);
	free(a);
	errno = ENOMEM;
	return NULL;
}
