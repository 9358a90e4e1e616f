// What the doctor tries, beside what it finds.
#include <sodium.h>
#include <stdio.h>

#include "control/tailnet/priv.h"

enum { ASK_MAX = 64 }; // nodes that are offered to the mesh, which takes a few

void tailnet_coord_probe(
	struct tailnet *t, void (*done)(void *arg, const struct coord_probe_result *), void *arg)
{
	const int error = coord_client_probe(t->coord, done, arg);
	struct coord_probe_result result = {.trouble = COORD_TROUBLE_CONNECT};
	if (error == 0)
		return;
	snprintf(result.why, sizeof(result.why), "not tried: %s", strerror(-error));
	done(arg, &result);
}

static bool may_ask(const struct nm_peer *p)
{
	return p->unusable == NM_USABLE && p->node->online == NM_ONLINE && !p->node->expired;
}

// Others each time, so that one whose own network is closed is not the only witness.
void tailnet_reach(struct tailnet *t, unsigned timeout_ms,
	void (*done)(void *arg, const struct mesh_reach *), void *arg)
{
	const struct netmap *m = t->netmap;
	struct key nodes[ASK_MAX];
	size_t n = 0;
	const size_t from = m->n_peers > 0 ? randombytes_uniform((uint32_t)m->n_peers) : 0;
	for (size_t i = 0; i < m->n_peers && n < ASK_MAX; i++) {
		const struct nm_peer *p = m->peers[(from + i) % m->n_peers];
		if (may_ask(p))
			nodes[n++] = p->node->key;
	}
	if (mesh_reach_start(t->mesh, nodes, n, timeout_ms, done, arg) < 0)
		done(arg, &(struct mesh_reach){});
}
