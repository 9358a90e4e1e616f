// Longest-prefix match as one would explain it: a list, searched from end to end. Grouped by length
// so that a million lookups end.
#pragma once

#include <stdio.h>
#include <stdlib.h>

#include "dataplane/base/types.h"

struct naive_entry {
	struct ip_prefix prefix;
	uint32_t value;
};

struct naive_lpm {
	struct naive_entry *list[129];
	uint32_t n[129];
};

static inline void naive_set(struct naive_lpm *t, const struct ip_prefix *p, uint32_t value)
{
	struct naive_entry *list = t->list[p->len];
	uint32_t *n = &t->n[p->len];
	for (uint32_t i = 0; i < *n; i++) {
		if (ip_addr_equal(&list[i].prefix.addr, &p->addr)) {
			list[i].value = value;
			return;
		}
	}
	t->list[p->len] = list = realloc(list, (*n + 1) * sizeof(*list));
	list[(*n)++] = (struct naive_entry){*p, value};
}

static inline bool naive_clear(struct naive_lpm *t, const struct ip_prefix *p)
{
	struct naive_entry *list = t->list[p->len];
	for (uint32_t i = 0; i < t->n[p->len]; i++) {
		if (ip_addr_equal(&list[i].prefix.addr, &p->addr)) {
			list[i] = list[--t->n[p->len]];
			return true;
		}
	}
	return false;
}

static inline uint32_t naive_lookup(const struct naive_lpm *t, const struct ip_addr *a)
{
	for (int len = 128; len >= 0; len--) {
		for (uint32_t i = 0; i < t->n[len]; i++) {
			if (ip_prefix_contains(&t->list[len][i].prefix, a))
				return t->list[len][i].value;
		}
	}
	return 0;
}

static inline uint32_t naive_count(const struct naive_lpm *t)
{
	uint32_t n = 0;
	for (int len = 0; len <= 128; len++)
		n += t->n[len];
	return n;
}

static inline void naive_fini(struct naive_lpm *t)
{
	for (int len = 0; len <= 128; len++)
		free(t->list[len]);
	*t = (struct naive_lpm){0};
}

// Random addresses from few different bytes, so that prefixes nest and lookups hit.
static inline struct ip_addr random_addr(enum ip_family family)
{
	struct ip_addr a = {.family = family};
	for (unsigned i = 0; i < ip_addr_bits(&a) / 8; i++) {
		long r = random();
		a.bytes[i] = (uint8_t)(r % 4 ? (r >> 8) % 3 * 127 : r >> 8);
	}
	return a;
}

static inline struct ip_prefix random_prefix(enum ip_family family)
{
	struct ip_addr a = random_addr(family);
	char text[ADDR_TEXT_LEN + 8];
	struct ip_prefix p;
	ip_addr_format(&a, text);
	sprintf(text + strlen(text), "/%ld", random() % (ip_addr_bits(&a) + 1));
	if (ip_prefix_parse(text, &p) < 0)
		abort();
	return p;
}
