#include "control/path/derp_pool.h"

#include <errno.h>
#include <stdlib.h>

#include "control/path/derp_pool_priv.h"
#include "dataplane/base/log.h"
#include "dataplane/base/mem.h"
#include "dataplane/crypto/x25519.h"

void derp_region_drop_waiting(struct derp_region *r)
{
	for (struct derp_waiting *w; (w = STAILQ_FIRST(&r->waiting));) {
		STAILQ_REMOVE_HEAD(&r->waiting, entry);
		free(w);
		r->info.tx_dropped++;
	}
	r->n_waiting = 0;
}

static void region_destroy(struct derp_region *r)
{
	derp_region_close(r);
	derp_region_drop_waiting(r);
	if (r->timer)
		event_free(r->timer);
	arena_fini(&r->arena);
	free(r);
}

static struct derp_region *region_create(struct derp_pool *p, const struct nm_derp_region *def)
{
	struct derp_region *r = mem_alloc(sizeof(*r));
	struct arena *a = &r->arena;

	r->pool = p;
	r->timer = evtimer_new(p->base, derp_region_tick, r);
	r->ping_deadline_ns = UINT64_MAX;
	STAILQ_INIT(&r->waiting);
	r->def = *def;
	r->def.code = arena_text(a, def->code);
	r->def.name = arena_text(a, def->name);
	r->def.nodes =
		def->n_nodes ? arena_copy(a, def->nodes, def->n_nodes, sizeof(*def->nodes)) : NULL;
	for (uint32_t i = 0; i < def->n_nodes; i++) {
		struct nm_derp_node *n = &r->def.nodes[i];
		n->name = arena_text(a, n->name);
		n->host = arena_text(a, n->host);
		n->cert = arena_text(a, n->cert);
		n->ipv4 = arena_text(a, n->ipv4);
		n->ipv6 = arena_text(a, n->ipv6);
	}
	if (r->timer)
		return r;
	region_destroy(r);
	return NULL;
}

struct derp_pool *derp_pool_create(
	struct event_base *base, struct net *net, const struct derp_pool_env *env)
{
	struct derp_pool *p = mem_alloc(sizeof(*p));

	p->base = base;
	p->net = net;
	p->env = *env;
	crypto_shorthash_keygen(p->routes.seed);
	return p;
}

void derp_pool_destroy(struct derp_pool *p)
{
	if (!p)
		return;
	for (uint32_t i = 0; i < p->n_regions; i++)
		region_destroy(p->regions[i]);
	free(p->regions);
	mem_wipe_free(p, sizeof(*p));
}

struct derp_region *derp_pool_find(const struct derp_pool *p, uint16_t id)
{
	uint32_t low = 0, high = p->n_regions;

	while (low < high) {
		const uint32_t middle = low + (high - low) / 2;
		if (p->regions[middle]->def.id == id)
			return p->regions[middle];
		if (p->regions[middle]->def.id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

void derp_pool_set_key(struct derp_pool *p, const struct key *node_private)
{
	if (memcmp(&p->private_key, node_private, sizeof(*node_private)) == 0)
		return;
	p->private_key = *node_private;
	p->has_key = !key_is_zero(node_private);
	x25519_public(p->public_key.bytes, node_private->bytes);
	for (uint32_t i = 0; i < p->n_regions; i++) {
		struct derp_region *r = p->regions[i];
		const bool was_open = r->open;
		derp_region_close(r);
		r->retry_ns = 0;
		r->failures = 0;
		derp_region_poke(r);
		if (was_open)
			p->env.changed(p->env.arg, (uint16_t)r->def.id);
	}
}

static bool text_equal(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

static bool node_equal(const struct nm_derp_node *a, const struct nm_derp_node *b)
{
	return text_equal(a->name, b->name) && text_equal(a->host, b->host) &&
	       text_equal(a->cert, b->cert) && text_equal(a->ipv4, b->ipv4) &&
	       text_equal(a->ipv6, b->ipv6) && a->derp_port == b->derp_port &&
	       a->stun_only == b->stun_only && a->insecure == b->insecure;
}

// In what connections depend on.
static bool region_equal(const struct nm_derp_region *a, const struct nm_derp_region *b)
{
	bool equal = a->id == b->id && a->n_nodes == b->n_nodes && text_equal(a->code, b->code);

	for (uint32_t i = 0; equal && i < a->n_nodes; i++)
		equal = node_equal(&a->nodes[i], &b->nodes[i]);
	return equal;
}

// The old region if its definition is the same; the new one takes its place in the old list.
static struct derp_region *keep(struct derp_region **old, const struct nm_derp_region *def)
{
	struct derp_region *r = *old;

	if (!r || !region_equal(&r->def, def))
		return NULL;
	*old = NULL;
	return r;
}

void derp_pool_set_map(struct derp_pool *p, const struct nm_derp_map *map)
{
	struct derp_region **old = p->regions;
	const uint32_t n_old = p->n_regions;
	uint32_t at = 0;

	p->regions = map->n_regions ? mem_alloc(map->n_regions * sizeof(*p->regions)) : NULL;
	p->n_regions = 0;
	for (uint32_t i = 0; i < map->n_regions; i++) { // both are in order of ID
		const struct nm_derp_region *def = &map->regions[i];
		while (at < n_old && (!old[at] || old[at]->def.id < def->id))
			at++;
		struct derp_region *r = at < n_old ? keep(&old[at], def) : NULL;
		if (!r)
			r = region_create(p, def);
		if (r)
			p->regions[p->n_regions++] = r;
	}
	for (uint32_t i = 0; i < n_old; i++) {
		if (!old[i])
			continue;
		const uint16_t id = (uint16_t)old[i]->def.id;
		const bool was_open = old[i]->open;
		region_destroy(old[i]);
		if (was_open)
			p->env.changed(p->env.arg, id);
	}
	free(old);
	for (uint32_t i = 0; i < p->n_regions; i++)
		derp_region_poke(p->regions[i]);
}

void derp_pool_set_home(struct derp_pool *p, uint16_t region)
{
	struct derp_region *before = derp_pool_find(p, p->home), *now = derp_pool_find(p, region);

	if (region == p->home)
		return;
	p->home = region;
	if (before) {
		derp_region_note(before);
		before->used_ns = derp_pool_now(p); // it has its 60 s from here
		derp_region_poke(before);
	}
	if (now) {
		derp_region_note(now);
		derp_region_poke(now);
	}
}

// The region's connection, or an open one that the peer was heard on; else the region again.
static struct derp_region *way_to(struct derp_pool *p, uint16_t region, const struct key *to)
{
	struct derp_region *r = derp_pool_find(p, region);

	if (r && r->ready)
		return r;
	const uint16_t other = derp_pool_peer_region(p, to);
	return other ? derp_pool_find(p, other) : r;
}

int derp_pool_send(
	struct derp_pool *p, uint16_t region, const struct key *to, const void *packet, size_t len)
{
	struct derp_region *r = p->has_key ? way_to(p, region, to) : NULL;

	return r ? derp_region_send(r, to, packet, len) : -EHOSTUNREACH;
}

uint16_t derp_pool_peer_region(const struct derp_pool *p, const struct key *peer)
{
	const struct derp_route *route = derp_routes_find(&p->routes, peer);
	const struct derp_region *r = route ? derp_pool_find(p, route->region) : NULL;

	return r && r->open && r->generation == route->generation ? route->region : 0;
}

void derp_pool_rebind(struct derp_pool *p)
{
	for (uint32_t i = 0; i < p->n_regions; i++)
		derp_region_rebind(p->regions[i]);
}

bool derp_pool_region(const struct derp_pool *p, uint16_t region, struct derp_region_info *out)
{
	const struct derp_region *r = derp_pool_find(p, region);

	if (r)
		*out = r->info;
	return r;
}
