// What rules.c and rules_build.c share.
#pragma once

#include "dataplane/table/number_sets.h"
#include "dataplane/table/range_map.h"
#include "dataplane/table/rules.h"

// Each answers with the set of lines (see rules_build.c) that the address is in; local with 1.
struct rules_side {
	struct range_map source, target, local;
};

struct rules { // fixed once published
	struct number_sets sets;
	struct rules_side v4, v6;
	uint32_t *port;	     // by port: the set of lines with that port
	uint32_t proto[256]; // by protocol
	uint32_t every;	     // the set of all lines that ICMP goes by
	uint32_t all_ports;  // ... with a target that has all ports
	uint32_t generation; // 0 until published
	bool shields_up;
	size_t memory;
};

// Whether a range counts: of one family, first <= last.
static inline bool ip_range_is_sound(const struct ip_range *r)
{
	return (r->first.family == IP_V4 || r->first.family == IP_V6) &&
	       r->first.family == r->last.family && ip_addr_compare(&r->first, &r->last) <= 0;
}

// rules_prune.c: by rule, whether others let in all that it lets in. The caller frees it.
bool *rules_covered(const struct rules_spec *) must_check;

static inline const struct rules_side *rules_side_of(const struct rules *r, uint8_t family)
{
	return family == IP_V4 ? &r->v4 : &r->v6;
}
