// Deferred free: what workers may still read is freed after each of them has passed a quiescent
// state. The control thread never waits for that.
#pragma once

#include <rte_rcu_qsbr.h>
#include <sodium.h>

#include "dataplane/base/types.h"

enum {
	RCU_THREADS_MAX = 64,
};

struct rcu; // one per gateway

struct rcu *rcu_create(void);
// Frees everything still deferred; all workers must be gone. [ctl]
void rcu_destroy(struct rcu *);
// The variable that workers report to (rte_rcu_qsbr_quiescent, thread_online, thread_offline).
struct rte_rcu_qsbr *rcu_qsbr(struct rcu *);
// Call fn(arg) once no worker can hold arg any more. Never blocks; grows as needed. [ctl]
void rcu_defer(struct rcu *, void (*fn)(void *), void *arg);
// Run what has become free; returns how many are still waiting. Called by the control loop. [ctl]
unsigned rcu_reclaim(struct rcu *);

// Zeroed memory on cache lines; never NULL: a gateway without memory at start cannot run.
void *mem_alloc(size_t size);
// Wiped, then freed; the size is that of mem_alloc. NULL is fine.
void mem_wipe_free(void *p, size_t size);
