// Which flows began on our side: what a packet filter without rules for them lets back in. One
// table per worker, of a fixed size, in sets of which the least recently used flow gives way;
// nothing ends with time. The hash is keyed at random: nobody can aim at a set. [wrk]
#pragma once

#include <assert.h>

#include "dataplane/base/types.h"

struct flow_table;

// Seen from a packet that comes back: remote is its source. All bytes count. Network order.
struct flow_key {
	uint8_t remote[16], local[16]; // IPv4: the first 4 bytes, the rest zero
	uint16_t remote_port, local_port;
	uint8_t family; // enum ip_family
	uint8_t proto;
	uint8_t pad[2];
};
static_assert(sizeof(struct flow_key) == 40);

enum {
	FLOW_WAYS = 8, // flows of a set
	FLOWS = 1 << 16,
};

// flows: a power of two, FLOW_WAYS at least. Its memory is touched as flows come. NULL: no memory.
// [ctl]
struct flow_table *flow_table_create(uint32_t flows) must_check;
void flow_table_destroy(struct flow_table *); // NULL is fine [ctl]
// The flow is in use from now on. True: another one gave way for it.
bool flow_remember(struct flow_table *, const struct flow_key *);
// Whether it is remembered, which counts as use.
bool flow_known(struct flow_table *, const struct flow_key *);
