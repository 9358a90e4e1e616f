// Networks beside each other: their order, and whether they have addresses in common.
#pragma once

#include "dataplane/base/types.h"

// By family, address and length, so that a network stands before those in it. For qsort and bsearch
// over struct ip_prefix, or what begins with one.
static inline int ip_prefix_order(const void *a, const void *b)
{
	const struct ip_prefix *p = a, *q = b;
	int o = (int)p->addr.family - (int)q->addr.family;
	if (o == 0)
		o = memcmp(p->addr.bytes, q->addr.bytes, sizeof(p->addr.bytes));
	return o ? o : (int)p->len - (int)q->len;
}

static inline bool ip_prefix_overlap(const struct ip_prefix *a, const struct ip_prefix *b)
{
	return ip_prefix_contains(a, &b->addr) || ip_prefix_contains(b, &a->addr);
}
