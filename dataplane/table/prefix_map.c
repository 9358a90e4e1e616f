#include "dataplane/table/prefix_map.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

enum {
	SLOTS_MIN = 16,
};

static_assert(sizeof(struct prefix_slot) == 24, "as prefix_map.h says");

static uint64_t mix(uint64_t x)
{
	x ^= x >> 32;
	x *= UINT64_C(0xd6e8feb86659fd93);
	x ^= x >> 32;
	x *= UINT64_C(0xd6e8feb86659fd93);
	return x ^ x >> 32;
}

static uint32_t home(const struct prefix_map *m, const struct ip_prefix *p)
{
	uint64_t high, low;
	memcpy(&high, p->addr.bytes, 8);
	memcpy(&low, p->addr.bytes + 8, 8);
	uint64_t tail = (uint64_t)p->addr.family << 8 | p->len;
	return (uint32_t)mix(mix(high + tail) ^ low) & m->mask;
}

static bool same(const struct ip_prefix *a, const struct ip_prefix *b)
{
	return a->len == b->len && ip_addr_equal(&a->addr, &b->addr);
}

// The slot of the prefix, or the free one where it belongs.
static struct prefix_slot *find(const struct prefix_map *m, const struct ip_prefix *p)
{
	uint32_t i = home(m, p);
	while (m->slots[i].value && !same(&m->slots[i].prefix, p))
		i = (i + 1) & m->mask;
	return &m->slots[i];
}

static int grow(struct prefix_map *m)
{
	uint32_t old_n = m->slots ? m->mask + 1 : 0;
	uint32_t n = old_n ? old_n * 2 : SLOTS_MIN;
	struct prefix_map bigger = {.mask = n - 1, .count = m->count};
	bigger.slots = calloc(n, sizeof(*bigger.slots));
	if (!bigger.slots)
		return -ENOMEM;
	for (uint32_t i = 0; i < old_n; i++) {
		if (m->slots[i].value)
			*find(&bigger, &m->slots[i].prefix) = m->slots[i];
	}
	free(m->slots);
	*m = bigger;
	return 0;
}

int prefix_map_set(struct prefix_map *m, const struct ip_prefix *p, uint32_t value)
{
	struct prefix_slot *s = m->slots ? find(m, p) : NULL;
	bool known = s && s->value;
	if (!known && (!s || m->count >= (m->mask + 1) / 4 * 3)) {
		int error = grow(m);
		if (error)
			return error;
		s = find(m, p);
	}
	m->count += !known;
	*s = (struct prefix_slot){.prefix = *p, .value = value};
	return 0;
}

uint32_t prefix_map_get(const struct prefix_map *m, const struct ip_prefix *p)
{
	return m->slots ? find(m, p)->value : 0;
}

// Slots behind the hole move up, so that no search stops early (Knuth 6.4, algorithm R).
static void close_hole(struct prefix_map *m, uint32_t hole)
{
	uint32_t i = hole;
	for (;;) {
		i = (i + 1) & m->mask;
		if (!m->slots[i].value)
			break;
		uint32_t from = home(m, &m->slots[i].prefix);
		if (((i - from) & m->mask) < ((i - hole) & m->mask))
			continue; // lies between its home and the hole: reachable
		m->slots[hole] = m->slots[i];
		hole = i;
	}
	m->slots[hole] = (struct prefix_slot){0};
}

uint32_t prefix_map_remove(struct prefix_map *m, const struct ip_prefix *p)
{
	if (!m->slots)
		return 0;
	struct prefix_slot *s = find(m, p);
	uint32_t value = s->value;
	if (!value)
		return 0;
	close_hole(m, (uint32_t)(s - m->slots));
	m->count--;
	return value;
}

size_t prefix_map_memory(const struct prefix_map *m)
{
	return m->slots ? ((size_t)m->mask + 1) * sizeof(*m->slots) : 0;
}

void prefix_map_fini(struct prefix_map *m)
{
	free(m->slots);
	*m = (struct prefix_map){0};
}

struct ip_prefix prefix_shorten(const struct ip_prefix *p, unsigned len)
{
	struct ip_prefix q = {.addr = {.family = p->addr.family}, .len = (uint8_t)len};
	memcpy(q.addr.bytes, p->addr.bytes, (len + 7) / 8);
	if (len % 8)
		q.addr.bytes[len / 8] &= (uint8_t)(0xff00 >> len % 8);
	return q;
}
