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

struct lpm; // layout private, but for the lookup below

struct lpm *lpm_create(enum ip_family family, struct rcu *) must_check; // [ctl]
void lpm_destroy(struct lpm *);						  // [ctl, no workers left]
// Add or replace. 0, -EINVAL (family, value), -ENOMEM (limits; the table is as before). [ctl]
int lpm_set(struct lpm *, const struct ip_prefix *, uint32_t value) must_check;
// Remove that very prefix; what it covered falls to the next shorter one. 0 or -ENOENT. [ctl]
int lpm_clear(struct lpm *, const struct ip_prefix *);
// The value of that very prefix, or LPM_NONE. [ctl]
uint32_t lpm_get(const struct lpm *, const struct ip_prefix *);
// Prefixes in the table. [ctl]
uint32_t lpm_count(const struct lpm *);
// Bytes of memory held. [ctl]
size_t lpm_memory(const struct lpm *);
