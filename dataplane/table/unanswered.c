#include "dataplane/table/unanswered.h"

#include <assert.h>
#include <string.h>

static void set(_Atomic uint64_t *at, uint64_t v)
{
	atomic_store_explicit(at, v, memory_order_relaxed);
}

static uint64_t get(const _Atomic uint64_t *at)
{
	return atomic_load_explicit(at, memory_order_relaxed);
}

static uint32_t requests_of(const struct unanswered_host *h)
{
	return atomic_load_explicit(&h->requests, memory_order_relaxed);
}

static void set_requests(struct unanswered_host *h, uint32_t n)
{
	atomic_store_explicit(&h->requests, n, memory_order_relaxed);
}

static void read_words(enum ip_family family, const uint8_t *addr, uint64_t words[2])
{
	words[0] = words[1] = 0;
	memcpy(words, addr, family == IP_V4 ? 4 : 16);
}

static struct unanswered_host *place_of(struct unanswered *u, const uint64_t words[2])
{
	const uint64_t hash = (words[0] ^ words[1] * 3) * 0x9e3779b97f4a7c15u;
	return &u->host[hash >> 58];
}
static_assert(UNANSWERED_HOSTS == 1 << (64 - 58), "as many places as the hash has");

static bool is_host(const struct unanswered_host *h, enum ip_family family, const uint64_t words[2])
{
	return get(&h->addr[0]) == words[0] && get(&h->addr[1]) == words[1] &&
	       atomic_load_explicit(&h->family, memory_order_relaxed) == family;
}

void unanswered_request(
	struct unanswered *u, enum ip_family family, const uint8_t *addr, uint64_t now)
{
	uint64_t words[2];
	read_words(family, addr, words);
	struct unanswered_host *h = place_of(u, words);
	const uint32_t n = requests_of(h);
	if (n > 0 && is_host(h, family, words)) {
		set_requests(h, n < UINT32_MAX ? n + 1 : n);
	} else if (n == 0 || (now - get(&h->last)) >> UNANSWERED_STALE_SHIFT) {
		set(&h->addr[0], words[0]);
		set(&h->addr[1], words[1]);
		atomic_store_explicit(&h->family, family, memory_order_relaxed);
		set_requests(h, 1);
	} else {
		return;
	}
	set(&h->last, now);
}

void unanswered_answer(struct unanswered *u, enum ip_family family, const uint8_t *addr)
{
	uint64_t words[2];
	read_words(family, addr, words);
	struct unanswered_host *h = place_of(u, words);
	if (requests_of(h) > 0 && is_host(h, family, words))
		set_requests(h, 0);
}

unsigned unanswered_read(const struct unanswered *u, struct unanswered_view *out, unsigned max)
{
	unsigned n = 0;
	for (unsigned i = 0; i < UNANSWERED_HOSTS && n < max; i++) {
		const struct unanswered_host *h = &u->host[i];
		const uint64_t words[2] = {get(&h->addr[0]), get(&h->addr[1])};
		out[n] = (struct unanswered_view){
			.addr.family = atomic_load_explicit(&h->family, memory_order_relaxed),
			.requests = requests_of(h),
			.last = get(&h->last),
		};
		memcpy(out[n].addr.bytes, words, sizeof(words));
		n += out[n].requests > 0;
	}
	return n;
}
