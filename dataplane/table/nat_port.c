// The outside port of a flow: the inside one where it is free (RFC 4787 4.2.1), else one at random
// of those that the worker owns, of the same parity (4.2.2).
#include "dataplane/table/nat_priv.h"

enum {
	TRIES = 32,
};

// xorshift64*: what is chosen need not be secret, only hard to meet by accident.
static uint32_t draw(struct nat_table *t)
{
	t->random ^= t->random >> 12;
	t->random ^= t->random << 25;
	t->random ^= t->random >> 27;
	return (uint32_t)(t->random * UINT64_C(0x2545f4914f6cdd1d) >> 32);
}

static bool is_usable(const struct nat_table *t, const struct nat_config *c,
	const struct nat_new *new, uint32_t port)
{
	if (port < c->port_first || port > c->port_last || port == new->reserved ||
		nat_port_owner((uint16_t)port, t->n_workers) != t->worker ||
		port - new->reserved_first < new->n_reserved)
		return false;
	// A port is of one kind, or what comes back could be of either.
	bool odd = port / NAT_PORT_BLOCK / t->n_workers & 1;
	return !c->endpoint_independent || odd == !(new->flags &NAT_ANY_REMOTE);
}

static uint32_t random_port(
	struct nat_table *t, const struct nat_config *c, const struct nat_new *new)
{
	uint32_t port = c->port_first + draw(t) % (c->port_last - c->port_first + 1u);
	uint32_t block = port / NAT_PORT_BLOCK, n = t->n_workers;
	block += (t->worker + n - block % n) % n;
	if (block * NAT_PORT_BLOCK > c->port_last && block >= n)
		block -= n;
	uint32_t parity = rte_be_to_cpu_16(new->inside.local_port) & 1;
	return block * NAT_PORT_BLOCK + (port % NAT_PORT_BLOCK & ~1u) + parity;
}

// Who has the outside, by either kind of key.
static struct nat_flow *occupant(const struct nat_table *t, const struct nat_key *outside)
{
	struct nat_flow *f = nat_index_find(t, NAT_OUTSIDE, outside);
	if (f || t->n_any_remote == 0)
		return f;
	struct nat_key any = nat_any_remote(outside);
	return nat_index_find(t, NAT_OUTSIDE, &any);
}

// A flow that may end for its port.
struct victim {
	struct nat_flow *flow; // NULL: none so far
	uint32_t held;	       // ports of its client there
	rte_be16_t port;
};

// Whether it may for a client that holds so many ports there, where its own has that many: a cheap
// one for who has fewer, and for its own client; an open connection for who has at most half as
// many with the new one, and only when it is quiet. So nobody loses anything to who has more.
static bool gives_way(
	const struct nat_flow *f, uint32_t has, uint16_t client, uint32_t held, uint32_t now_ms)
{
	if (f->last_ms == now_ms)
		return false;
	if (nat_is_cheap(f))
		return f->client == client || has > held;
	return has >= 2 * (held + 1) && nat_is_quiet(f, now_ms);
}

// Of the client that holds most; its cheap ones first, then what is idle longest.
static bool is_better(const struct victim *v, const struct victim *than, uint32_t now_ms)
{
	if (!than->flow || v->held != than->held)
		return !than->flow || v->held > than->held;
	if (nat_is_cheap(v->flow) != nat_is_cheap(than->flow))
		return nat_is_cheap(v->flow);
	return now_ms - v->flow->last_ms > now_ms - than->flow->last_ms;
}

// Ports that f's client holds where f holds one.
static uint32_t held_by(const struct nat_table *t, const struct nat_flow *f)
{
	struct nat_key k = nat_index_key(f, NAT_OUTSIDE);
	return nat_held(t, &k, f->client);
}

bool nat_port_choose(
	struct nat_table *t, const struct nat_config *c, struct nat_new *new, uint16_t client)
{
	struct nat_key to =
		new->flags &NAT_ANY_REMOTE ? nat_any_remote(&new->outside) : new->outside;
	struct victim best = {0};
	uint32_t held = nat_held(t, &to, client);
	for (unsigned i = 0; i < TRIES && c->port_first <= c->port_last; i++) {
		uint32_t port =
			i == 0 ? rte_be_to_cpu_16(new->inside.local_port) : random_port(t, c, new);
		if (!is_usable(t, c, new, port))
			continue;
		new->outside.local_port = rte_cpu_to_be_16((uint16_t)port);
		struct victim v = {occupant(t, &new->outside), 0, new->outside.local_port};
		if (v.flow && nat_is_idle(t, v.flow, new->now_ms)) {
			nat_evict(t, v.flow, new->now_ms);
			v.flow = NULL;
		}
		if (!v.flow)
			return true;
		v.held = held_by(t, v.flow);
		if (gives_way(v.flow, v.held, client, held, new->now_ms) &&
			is_better(&v, &best, new->now_ms))
			best = v;
	}
	if (!best.flow)
		return false;
	nat_evict(t, best.flow, new->now_ms);
	new->outside.local_port = best.port;
	return true;
}
