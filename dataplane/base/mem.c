#include "dataplane/base/mem.h"

#include <rte_malloc.h>
#include <stdlib.h>
#include <sys/queue.h>

struct deferred {
	STAILQ_ENTRY(deferred) next;
	uint64_t token;
	void (*fn)(void *);
	void *arg;
};

struct rcu {
	struct rte_rcu_qsbr *qsbr;
	STAILQ_HEAD(, deferred) waiting; // ctl only, tokens ascend
	unsigned n;
};

void *mem_alloc(size_t size)
{
	size_t rounded = (size + 63) & ~(size_t)63;
	void *p = aligned_alloc(64, rounded);
	if (!p)
		abort();
	memset(p, 0, rounded);
	return p;
}

void mem_wipe_free(void *p, size_t size)
{
	if (!p)
		return;
	sodium_memzero(p, size);
	free(p);
}

struct rcu *rcu_create(void)
{
	struct rcu *r = mem_alloc(sizeof(*r));
	r->qsbr = mem_alloc(rte_rcu_qsbr_get_memsize(RCU_THREADS_MAX));
	rte_rcu_qsbr_init(r->qsbr, RCU_THREADS_MAX);
	STAILQ_INIT(&r->waiting);
	return r;
}

static void run_first(struct rcu *r)
{
	struct deferred *d = STAILQ_FIRST(&r->waiting);
	STAILQ_REMOVE_HEAD(&r->waiting, next);
	r->n--;
	d->fn(d->arg);
	free(d);
}

void rcu_destroy(struct rcu *r)
{
	if (!r)
		return;
	while (!STAILQ_EMPTY(&r->waiting))
		run_first(r);
	free(r->qsbr);
	free(r);
}

struct rte_rcu_qsbr *rcu_qsbr(struct rcu *r)
{
	return r->qsbr;
}

void rcu_defer(struct rcu *r, void (*fn)(void *), void *arg)
{
	struct deferred *d = mem_alloc(sizeof(*d));
	*d = (struct deferred){.token = rte_rcu_qsbr_start(r->qsbr), .fn = fn, .arg = arg};
	STAILQ_INSERT_TAIL(&r->waiting, d, next);
	r->n++;
}

unsigned rcu_reclaim(struct rcu *r)
{
	while (!STAILQ_EMPTY(&r->waiting) &&
		rte_rcu_qsbr_check(r->qsbr, STAILQ_FIRST(&r->waiting)->token, false))
		run_first(r);
	return r->n;
}
