#include "control/path/mesh.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>

#include "control/path/mesh_priv.h"
#include "dataplane/base/mem.h"
#include "dataplane/crypto/x25519.h"

uint64_t mesh_counter(const struct mesh *m, enum mesh_counter counter)
{
	return m->counters[counter];
}

const char *mesh_counter_label(enum mesh_counter counter)
{
	static const char *const labels[] = {
#define X(name, label, help) label,
		MESH_COUNTERS(X)
#undef X
	};

	return labels[counter];
}

const char *mesh_counter_help(enum mesh_counter counter)
{
	static const char *const helps[] = {
#define X(name, label, help) help,
		MESH_COUNTERS(X)
#undef X
	};

	return helps[counter];
}

static void on_timer(evutil_socket_t, short, void *arg)
{
	mesh_tick(arg);
}

struct mesh *mesh_create(struct event_base *base, const struct mesh_env *env)
{
	struct mesh *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->env = *env;
	m->timer_ns = UINT64_MAX;
	m->boxes_aged_ns = mesh_now(m);
	m->timer = evtimer_new(base, on_timer, m);
	if (!m->timer) {
		free(m);
		errno = ENOMEM;
		return NULL;
	}
	randombytes_buf(m->hash_key, sizeof(m->hash_key));
	x25519_generate(m->self.disco_private.bytes);
	x25519_public(m->self.disco_public.bytes, m->self.disco_private.bytes);
	return m;
}

static void set_disco(struct mesh *m, struct mesh_peer *p, const struct key *disco)
{
	mesh_relay_drop(m, p); // their places are for the old key
	mesh_set_disco(m, p, disco);
}

static void free_peer(struct mesh *m, struct mesh_peer *p)
{
	const struct key node = p->node;

	if (p->active)
		mesh_deactivate(p->active);
	set_disco(m, p, &(struct key){0});
	mesh_remove_node(m, p);
	free(p->endpoints);
	free(p);
	mesh_ping_drop(m, &node);
}

void mesh_destroy(struct mesh *m)
{
	if (!m)
		return;
	mesh_reach_end(m);
	for (size_t i = 0; i < MESH_BUCKETS; i++)
		while (m->by_node[i])
			free_peer(m, m->by_node[i]);
	if (m->attempts.n_ports > 0)
		m->env.close_ports(m->env.arg);
	event_free(m->timer);
	sodium_memzero(m, sizeof(*m));
	free(m);
}

const struct key *mesh_disco_key(const struct mesh *m)
{
	return &m->self.disco_public;
}

void mesh_set_node_key(struct mesh *m, const struct key *node_public)
{
	m->self.node_public = *node_public;
}

static bool same_endpoints(const struct mesh_peer *p, const struct nm_node *n)
{
	if (p->n_endpoints != n->n_endpoints)
		return false;
	for (uint32_t i = 0; i < n->n_endpoints; i++)
		if (!endpoint_equal(&p->endpoints[i], &n->endpoints[i]))
			return false;
	return true;
}

// More than a path takes are not kept.
static int set_endpoints(struct mesh_peer *p, const struct nm_node *n)
{
	const uint32_t count =
		n->n_endpoints < PATH_CANDIDATES_MAX ? n->n_endpoints : PATH_CANDIDATES_MAX;
	struct endpoint *copy = NULL;

	if (same_endpoints(p, n))
		return 0;
	if (count > 0) {
		copy = calloc(count, sizeof(*copy));
		if (!copy)
			return -ENOMEM;
		memcpy(copy, n->endpoints, count * sizeof(*copy));
	}
	free(p->endpoints);
	p->endpoints = copy;
	p->n_endpoints = count;
	return 0;
}

static struct mesh_peer *add_peer(struct mesh *m, const struct key *node)
{
	struct mesh_peer *p = m->n_peers < NM_PEERS_MAX ? calloc(1, sizeof(*p)) : NULL;

	if (!p)
		return NULL;
	p->node = *node;
	mesh_add_node(m, p);
	return p;
}

int mesh_peer_set(struct mesh *m, const struct nm_node *n)
{
	struct mesh_peer *p = mesh_find(m, &n->key);
	const uint64_t now_ns = mesh_now(m);

	if (!p)
		p = add_peer(m, &n->key);
	if (!p || set_endpoints(p, n))
		return -ENOMEM;
	// What the peer said itself stays until the netmap says something new.
	if (!mesh_key_equal(&p->map_disco, &n->disco)) {
		p->map_disco = n->disco;
		set_disco(m, p, &n->disco);
	}
	p->home = n->home_derp <= UINT16_MAX ? (uint16_t)n->home_derp : 0;
	p->wg_only = n->wg_only;
	p->may_relay = n->cap >= MESH_CAP_RELAY;
	if (p->active) {
		mesh_set_path_map(p->active, now_ns);
		mesh_settle(p->active, now_ns);
	} else {
		mesh_tell_route(m, p, now_ns);
	}
	return 0;
}

void mesh_peer_remove(struct mesh *m, const struct key *node)
{
	struct mesh_peer *p = mesh_find(m, node);

	if (p)
		free_peer(m, p);
}

void mesh_peer_disco_key(struct mesh *m, const struct key *node, const struct key *disco)
{
	struct mesh_peer *p = mesh_find(m, node);

	if (p && !key_is_zero(disco) && !mesh_key_equal(&p->disco, disco))
		set_disco(m, p, disco);
}

bool mesh_knows(const struct mesh *m, const struct key *node)
{
	return mesh_find(m, node) != NULL;
}

uint16_t mesh_local_port(const struct mesh *m, const struct key *node, const struct endpoint *to)
{
	const struct mesh_peer *p = mesh_find(m, node);

	return p && p->active ? peer_path_local_port(p->active->path, to) : 0;
}

int mesh_route(const struct mesh *m, const struct key *node, struct mesh_route *out)
{
	const struct mesh_peer *p = mesh_find(m, node);

	if (!p)
		return -ENOENT;
	*out = p->told;
	return 0;
}

void mesh_set_silent(struct mesh *m, bool silent)
{
	if (m->silent == silent)
		return;
	m->silent = silent;
	for (struct mesh_active *a = m->active; a; a = a->next) {
		peer_path_set_silent(a->path, silent);
		mesh_settle(a, mesh_now(m));
	}
}

void mesh_set_relays(struct mesh *m, const struct key *nodes, size_t n)
{
	const uint64_t now_ns = mesh_now(m);
	const size_t count = n < MESH_RELAYS_MAX ? n : MESH_RELAYS_MAX;

	if (count > 0)
		memcpy(m->relays, nodes, count * sizeof(*nodes));
	m->n_relays = count;
	for (struct mesh_active *a = m->active; a; a = a->next) {
		mesh_set_path_map(a, now_ns);
		mesh_settle(a, now_ns);
	}
}

void mesh_rebind(struct mesh *m)
{
	const uint64_t now_ns = mesh_now(m);

	mesh_relay_drop(m, NULL);
	mesh_birthday_drop(m, NULL);
	for (struct mesh_active *a = m->active; a; a = a->next) {
		peer_path_lost(a->path, NULL);
		a->told_ns = 0; // the next packet starts the search
		mesh_settle(a, now_ns);
	}
}

void mesh_derp_gone(struct mesh *m, uint16_t region, const struct key *node)
{
	struct mesh_peer *p = mesh_find(m, node);

	if (!p || p->seen != region)
		return;
	p->seen = 0;
	if (p->active) {
		peer_path_derp_seen(p->active->path, 0);
		mesh_settle(p->active, mesh_now(m));
	} else {
		mesh_tell_route(m, p, mesh_now(m));
	}
}
