// Exact prefix to number: the control thread's record beside a trie, and of routes. Open
// addressing, 24 bytes a slot, at most 3/4 full. One thread.
#pragma once

#include "dataplane/base/types.h"

struct prefix_slot {
	struct ip_prefix prefix;
	uint32_t value; // 0: free
};

struct prefix_map {
	struct prefix_slot *slots; // mask + 1, or NULL before the first entry
	uint32_t mask;
	uint32_t count;
};

// Add or replace; value is not 0. 0, or -ENOMEM and the map as before (never when replacing).
int prefix_map_set(struct prefix_map *, const struct ip_prefix *, uint32_t value) must_check;
// 0: not there.
uint32_t prefix_map_get(const struct prefix_map *, const struct ip_prefix *);
// The value removed, or 0.
uint32_t prefix_map_remove(struct prefix_map *, const struct ip_prefix *);
size_t prefix_map_memory(const struct prefix_map *);
void prefix_map_fini(struct prefix_map *);
// The prefix cut to len bits; len is not above its own.
struct ip_prefix prefix_shorten(const struct ip_prefix *, unsigned len);
