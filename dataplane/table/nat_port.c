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

bool nat_port_choose(
	struct nat_table *t, const struct nat_config *c, struct nat_new *new, uint16_t client)
{
	struct nat_flow *victim = NULL;
	rte_be16_t of_victim = 0;
	for (unsigned i = 0; i < TRIES && c->port_first <= c->port_last; i++) {
		uint32_t port =
			i == 0 ? rte_be_to_cpu_16(new->inside.local_port) : random_port(t, c, new);
		if (!is_usable(t, c, new, port))
			continue;
		new->outside.local_port = rte_cpu_to_be_16((uint16_t)port);
		struct nat_flow *f = occupant(t, &new->outside);
		if (f && nat_is_idle(t, f, new->now_ms)) {
			nat_evict(t, f, new->now_ms);
			f = NULL;
		}
		if (!f)
			return true;
		if ((f->class == new->class || f->class == NAT_TCP_CLOSING) &&
			nat_may_evict(t, f, client, new->now_ms) &&
			(!victim || new->now_ms - f->last_ms > new->now_ms - victim->last_ms)) {
			victim = f;
			of_victim = new->outside.local_port;
		}
	}
	if (!victim)
		return false;
	nat_evict(t, victim, new->now_ms);
	new->outside.local_port = of_victim;
	return true;
}
