// What workers count, added up over workers and queues. Reads are relaxed: each number is right at
// some moment, two of them need not be of the same one. [ctl]
#pragma once

#include "dataplane/node/node.h"

static inline uint64_t read_count(const uint64_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

// One counter of struct port_stats.
struct port_counter {
	const char *name; // "rx_bytes"
	const char *help;
	size_t offset;
};
extern const struct port_counter port_counters[];
extern const unsigned n_port_counters;

uint64_t read_port(const struct port *, const struct port_counter *);
uint64_t read_drop(const struct gateway *, enum drop_reason);
uint64_t read_counter(const struct gateway *, enum counter);
struct node_stats read_node(const struct gateway *, enum node_id);

const char *port_kind_name(enum port_kind);
double tsc_hz(const struct gateway *);
