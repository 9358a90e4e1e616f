#include "control/coord/arena.h"

#include <stdlib.h>
#include <string.h>

enum {
	CHUNK_LEN = 4096,
	ALIGNMENT = 16,
};

struct arena_chunk {
	struct arena_chunk *next;
	size_t size, used;
	_Alignas(ALIGNMENT) uint8_t bytes[];
};

void *arena_alloc(struct arena *a, size_t size)
{
	struct arena_chunk *c = a->chunks;

	size = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
	if (!c || c->size - c->used < size) {
		const size_t room = size > CHUNK_LEN ? size : CHUNK_LEN;
		c = malloc(sizeof(*c) + room);
		if (!c)
			abort();
		c->next = a->chunks;
		c->size = room;
		c->used = 0;
		a->chunks = c;
		a->total += sizeof(*c) + room;
	}
	void *const p = c->bytes + c->used;
	c->used += size;
	return memset(p, 0, size);
}

void *arena_copy(struct arena *a, const void *from, size_t count, size_t size)
{
	return count ? memcpy(arena_alloc(a, count * size), from, count * size) : NULL;
}

char *arena_text(struct arena *a, const char *text)
{
	return text ? arena_copy(a, text, strlen(text) + 1, 1) : NULL;
}

void arena_reset(struct arena *a)
{
	struct arena_chunk *const kept = a->chunks;

	if (!kept)
		return;
	for (struct arena_chunk *c = kept->next, *next; c; c = next) {
		next = c->next;
		free(c);
	}
	kept->next = NULL;
	kept->used = 0;
	a->total = sizeof(*kept) + kept->size;
}

void arena_fini(struct arena *a)
{
	arena_reset(a);
	free(a->chunks);
	*a = (struct arena){0};
}
