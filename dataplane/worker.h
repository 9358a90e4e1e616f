// A worker: one thread that polls its queues, runs the graph over what came, and sleeps when
// nothing comes (poll = "adaptive").
#pragma once

#include "dataplane/node/node.h"

struct worker;

// An EAL lcore is to run it; cpu: pin to it, or -1. busy: never sleep. [ctl]
struct worker *worker_create(struct graph *g, bool busy) must_check;
// The loop; returns after worker_stop. arg: struct worker *. For rte_eal_remote_launch. [wrk]
int worker_run(void *arg);
// One turn of that loop: receive, run the graph, transmit. Returns how many packets came in. For
// tests and measurements; the thread is registered with the gateway's RCU. [wrk]
unsigned worker_round(struct worker *);
void worker_stop(struct worker *); // [any thread]; wakes it up
void worker_destroy(struct worker *);
