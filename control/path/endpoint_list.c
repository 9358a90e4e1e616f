// Where the peer may be reached: candidates, by whom they were named.
#include <stdlib.h>

#include "control/path/endpoint_priv.h"
#include "dataplane/base/mem.h"

bool path_grow(void **list, size_t n, size_t *max, size_t size, size_t limit)
{
	if (n < *max)
		return true;
	if (n == limit)
		return false;
	const size_t bigger = *max == 0 ? 4 : *max * 2 < limit ? *max * 2 : limit;
	void *copy = mem_alloc(bigger * size);
	if (n > 0)
		memcpy(copy, *list, n * size);
	free(*list);
	*list = copy;
	*max = bigger;
	return true;
}

struct path_candidate *path_find(
	struct path_search *p, const struct endpoint *addr, uint16_t local_port)
{
	for (size_t i = 0; i < p->n_candidates; i++)
		if (p->candidates[i].local_port == local_port &&
			endpoint_equal(&p->candidates[i].addr, addr))
			return &p->candidates[i];
	return NULL;
}

static bool is_stale(const struct path_candidate *c, uint64_t now_ns)
{
	return !c->in_map && !c->called &&
	       (!c->heard_ns || now_ns - c->heard_ns > PATH_SESSION_MS * PATH_MS);
}

void path_drop_stale(struct path_search *p, uint64_t now_ns)
{
	size_t kept = 0;

	for (size_t i = 0; i < p->n_candidates; i++)
		if (!is_stale(&p->candidates[i], now_ns))
			p->candidates[kept++] = p->candidates[i];
	p->n_candidates = kept;
}

struct path_candidate *path_find_or_add(
	struct path_search *p, const struct endpoint *addr, uint16_t local_port)
{
	struct path_candidate *c = path_find(p, addr, local_port);

	if (c || addr->port == 0 || addr->addr.family == IP_NONE)
		return c;
	if (!path_grow((void **)&p->candidates, p->n_candidates, &p->max_candidates, sizeof(*c),
		    PATH_CANDIDATES_MAX))
		return NULL;
	c = &p->candidates[p->n_candidates++];
	*c = (struct path_candidate){.addr = *addr, .local_port = local_port};
	return c;
}

size_t peer_path_candidates(const struct path_search *p)
{
	return p->n_candidates;
}

size_t peer_path_named(const struct path_search *p, struct endpoint *out, size_t max)
{
	size_t n = 0;

	for (size_t i = 0; i < p->n_candidates && n < max; i++)
		if (p->candidates[i].in_map || p->candidates[i].called)
			out[n++] = p->candidates[i].addr;
	return n;
}

uint16_t peer_path_local_port(const struct path_search *p, const struct endpoint *to)
{
	for (size_t i = 0; i < p->n_candidates; i++)
		if (p->candidates[i].local_port && endpoint_equal(&p->candidates[i].addr, to))
			return p->candidates[i].local_port;
	return 0;
}

bool peer_path_has_local_port(const struct path_search *p)
{
	for (size_t i = 0; i < p->n_candidates; i++)
		if (p->candidates[i].local_port)
			return true;
	return false;
}
