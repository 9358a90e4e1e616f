#include "dataplane/table/interner.h"

#include <errno.h>
#include <rte_common.h>
#include <stdlib.h>

#include "dataplane/base/mem.h"

enum {
	SLOTS_LEAST = 256,
	BYTES_LEAST = 4096,
	ITEMS_LEAST = 128,
};

static uint32_t hash_of(const uint8_t *p, size_t len)
{
	uint64_t h = len;
	while (len > 0) {
		uint64_t v = 0;
		size_t n = RTE_MIN(len, sizeof(v));
		memcpy(&v, p, n);
		h = (h ^ v) * UINT64_C(0x9e3779b97f4a7c15);
		h ^= h >> 32;
		p += n;
		len -= n;
	}
	return (uint32_t)h;
}

static int account(struct interner *t, size_t bytes)
{
	t->memory += bytes;
	return t->memory > t->memory_max ? -E2BIG : 0;
}

// Of contents that matter little: realloc moves pages, not bytes.
static void *resize(void *old, size_t room)
{
	void *grown = realloc(old, room);
	if (!grown)
		abort(); // as mem_alloc
	return grown;
}

static const uint8_t *bytes_of(const struct interner *t, uint32_t number)
{
	return t->bytes + (size_t)t->item[number].at * INTERNER_ALIGN;
}

static void put(struct interner *t, uint32_t hash, uint32_t number)
{
	uint32_t at = hash & t->mask;
	while (t->slot[at])
		at = (at + 1) & t->mask;
	t->slot[at] = number + 1;
}

static int reserve_slots(struct interner *t)
{
	if (t->slot && t->n * 2 < t->mask)
		return 0;
	uint32_t slots = t->slot ? 2 * (t->mask + 1) : SLOTS_LEAST;
	if (account(t, slots * sizeof(*t->slot)) < 0)
		return -E2BIG;
	free(t->slot);
	t->slot = mem_alloc(slots * sizeof(*t->slot));
	t->mask = slots - 1;
	for (uint32_t i = 0; i < t->n; i++)
		put(t, hash_of(bytes_of(t, i), t->item[i].len), i);
	return 0;
}

static int reserve(struct interner *t, size_t len)
{
	if (t->n == t->items_room) {
		uint32_t more = RTE_MAX(t->items_room, (uint32_t)ITEMS_LEAST);
		if (account(t, more * sizeof(*t->item)) < 0)
			return -E2BIG;
		t->items_room += more;
		t->item = resize(t->item, t->items_room * sizeof(*t->item));
	}
	if (t->used + len > t->room) {
		size_t more = RTE_MAX(RTE_MAX(t->room, (size_t)BYTES_LEAST), len);
		if (account(t, more) < 0)
			return -E2BIG;
		t->room += more;
		t->bytes = resize(t->bytes, t->room);
	}
	return reserve_slots(t);
}

void interner_init(struct interner *t, size_t memory_max)
{
	*t = (struct interner){.memory_max = memory_max};
}

int interner_add(struct interner *t, const void *bytes, uint32_t len, uint32_t *number)
{
	size_t aligned = RTE_ALIGN_CEIL((size_t)len, INTERNER_ALIGN);
	uint32_t hash = hash_of(bytes, len);
	if (reserve(t, aligned) < 0)
		return -E2BIG;
	for (uint32_t at = hash & t->mask; t->slot[at]; at = (at + 1) & t->mask) {
		*number = t->slot[at] - 1;
		if (t->item[*number].len == len && memcmp(bytes_of(t, *number), bytes, len) == 0)
			return 0;
	}
	*number = t->n;
	t->item[t->n] = (struct interner_item){(uint32_t)(t->used / INTERNER_ALIGN), len};
	memcpy(t->bytes + t->used, bytes, len);
	memset(t->bytes + t->used + len, 0, aligned - len);
	t->used += aligned;
	t->n++;
	put(t, hash, *number);
	return 1;
}

void *interner_take_bytes(struct interner *t)
{
	void *bytes = mem_alloc(t->used);
	memcpy(bytes, t->bytes, t->used);
	interner_fini(t);
	return bytes;
}

void interner_fini(struct interner *t)
{
	free(t->bytes);
	free(t->item);
	free(t->slot);
	*t = (struct interner){0};
}
