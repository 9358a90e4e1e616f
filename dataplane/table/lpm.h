// Longest-prefix match for one address family: a trie of 16 bits, then 8 bits a step. The control
// thread changes it in place, entry by entry; workers look up meanwhile. Serves both the FIB and
// allowed IPs.
#pragma once

#include "dataplane/base/mem.h"
#include "dataplane/base/types.h"

enum {
	LPM_NONE = 0,		    // no prefix matches
	LPM_VALUE_MAX = 0x00ffffff, // values are 1..LPM_VALUE_MAX
};

struct lpm; // workers look up with the inline functions of table/lookup.h

struct lpm *lpm_create(enum ip_family family, struct rcu *) must_check; // NULL with errno [ctl]
// After the grace period; before rcu_destroy. NULL is fine. [ctl]
void lpm_destroy(struct lpm *);
// Add or replace. 0, -EINVAL (family, host bits, value), -ENOMEM (limits; the table is as before).
// Cost grows with the nodes below: one node for a /24, all of them for a default route. [ctl]
int lpm_set(struct lpm *, const struct ip_prefix *, uint32_t value) must_check;
// Remove that very prefix; what it covered falls to the next shorter one. 0 or -ENOENT. [ctl]
int lpm_clear(struct lpm *, const struct ip_prefix *);
// The value of that very prefix, or LPM_NONE. [ctl]
uint32_t lpm_get(const struct lpm *, const struct ip_prefix *);
// Prefixes in the table. [ctl]
uint32_t lpm_count(const struct lpm *);
// Bytes of memory held: the most nodes there ever were, and the prefixes. [ctl]
size_t lpm_memory(const struct lpm *);
