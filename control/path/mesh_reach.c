// Whether datagrams reach us that no firewall and no NAT expects.
#include <errno.h>

#include "control/path/mesh_priv.h"

// The end comes with the next tick, from the loop.
static void end_at(struct mesh *m, uint64_t at_ns, uint64_t now_ns)
{
	m->reach.end_ns = at_ns;
	mesh_arm(m, at_ns, now_ns);
}

void mesh_reach_ping(
	struct mesh *m, const struct mesh_peer *p, const struct endpoint *from, uint64_t now_ns)
{
	struct mesh_reach_run *r = &m->reach;
	const bool world = !ip_addr_is_private(&from->addr);

	for (unsigned i = 0; r->done && i < r->result.asked; i++) {
		if (!mesh_key_equal(&r->asked[i], &p->node) || (r->reached[i] && !world))
			continue;
		r->result.reached += !r->reached[i];
		r->reached[i] = true;
		if (world || r->result.from.port == 0) {
			r->result.from = *from;
			r->result.node = p->node;
		}
		if (world || r->result.reached == r->result.asked)
			end_at(m, now_ns, now_ns);
	}
}

// One to whom nothing went over UDP for MESH_IDLE_S, at least.
static bool is_quiet(const struct mesh_peer *p)
{
	return p && p->at_disco && !p->wg_only && !p->active && mesh_region(p) != 0;
}

int mesh_reach_start(struct mesh *m, const struct key *nodes, size_t n, unsigned timeout_ms,
	void (*done)(void *arg, const struct mesh_reach *), void *arg)
{
	struct mesh_reach_run *r = &m->reach;
	const uint64_t now_ns = mesh_now(m);
	struct disco_message message = {.type = DISCO_CALL_ME_MAYBE};

	if (r->done)
		return -EBUSY;
	*r = (struct mesh_reach_run){.done = done, .arg = arg};
	message.n_endpoints =
		(uint32_t)m->env.endpoints(m->env.arg, message.endpoints, DISCO_ENDPOINTS_MAX);
	for (size_t i = 0; i < n && r->result.asked < MESH_REACH_MAX; i++) {
		struct mesh_peer *p = mesh_find(m, &nodes[i]);
		if (!is_quiet(p) || mesh_disco_derp(m, mesh_region(p), p, &message, now_ns))
			continue;
		p->stats.calls_tx++;
		r->asked[r->result.asked++] = p->node;
	}
	if (r->result.asked == 0) {
		r->done = NULL;
		return -ENOENT;
	}
	end_at(m, now_ns + timeout_ms * MESH_MS, now_ns);
	return 0;
}

void mesh_reach_end(struct mesh *m)
{
	const struct mesh_reach_run ended = m->reach;

	m->reach.done = NULL; // another may begin
	if (ended.done)
		ended.done(ended.arg, &ended.result);
}

uint64_t mesh_reach_tick(struct mesh *m, uint64_t now_ns)
{
	if (m->reach.done && now_ns >= m->reach.end_ns)
		mesh_reach_end(m);
	return m->reach.done ? m->reach.end_ns : UINT64_MAX;
}
