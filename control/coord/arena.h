// Memory that is freed together: what one message or one part of the netmap consists of. [ctl]
#pragma once

#include <stddef.h>
#include <stdint.h>

struct arena_chunk;

// All zero is an empty one.
struct arena {
	struct arena_chunk *chunks;
	size_t total; // bytes taken from the heap
};

// Zeroed memory, aligned for anything; never NULL: the daemon ends without memory.
void *arena_alloc(struct arena *, size_t size);
// A copy of count elements of size bytes.
void *arena_copy(struct arena *, const void *from, size_t count, size_t size);
// A copy with a final zero; text may be NULL, and so is the copy then.
char *arena_text(struct arena *, const char *text);
// Frees all of it but one chunk for the next use.
void arena_reset(struct arena *);
void arena_fini(struct arena *);
