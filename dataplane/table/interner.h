// Byte strings, each kept once: equal ones get the same number. For what is built once. [ctl]
#pragma once

#include <stddef.h>

#include "dataplane/base/types.h"

enum {
	INTERNER_ALIGN = 8, // bytes: where strings begin
};

struct interner_item {
	uint32_t at; // of its bytes, in units of INTERNER_ALIGN
	uint32_t len;
};

struct interner {
	uint8_t *bytes; // one behind the other; they move as they grow
	size_t used, room;
	struct interner_item *item; // by number
	uint32_t *slot;		    // number + 1, or 0; at most half full
	uint32_t n, items_room, mask;
	size_t memory, memory_max; // bytes
};

void interner_init(struct interner *, size_t memory_max);
// 1: it is new; 0: was there; -E2BIG: more than memory_max bytes. len: not 0.
int interner_add(struct interner *, const void *bytes, uint32_t len, uint32_t *number) must_check;
// What remains are the bytes, on a cache line: the caller's, to be freed. Not of an empty one.
void *interner_take_bytes(struct interner *);
void interner_fini(struct interner *);
