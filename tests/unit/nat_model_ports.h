// Outside ports of the model, and who gets one where there are few: see nat_model.h.
#pragma once

#include "tests/unit/nat_model_flow.h"

static inline void m_expect(bool good, const char *what)
{
	if (!good)
		rte_panic("%s\n", what);
}

// Whether another flow has that outside.
static inline struct mflow *m_taken(
	struct model *m, const struct mkey *outside, const struct mflow *but)
{
	for (unsigned i = 0; i < m->high; i++) {
		struct mflow *f = &m->flow[i];
		if (f != but && f->used && m->ms - f->last_ms < m_idle_ms(m, f) &&
			m_same(&f->side[1], outside, f->any))
			return f;
	}
	return NULL;
}

// The flow as the nodes have it; NULL: they do not.
static inline const struct nat_flow *m_real(const struct model *m, const struct mflow *f)
{
	struct nat_key k = {.family = f->side[0].family, .proto = f->side[0].proto};
	memcpy(k.local, f->side[0].local, 16);
	memcpy(k.remote, f->side[0].remote, 16);
	k.local_port = rte_cpu_to_be_16(f->side[0].lport);
	k.remote_port = rte_cpu_to_be_16(f->side[0].rport);
	return nat_lookup(m_graph(m)->nat, NAT_INSIDE, &k, (uint32_t)m->ms);
}

// Which outside port, and address of a pool, the real one took: any will do that is free, of the
// range and no other's, but for the inside port where that is all this.
static inline void m_learn(struct model *m, struct mflow *f)
{
	const struct nat_flow *real = m_real(m, f);
	if (!real)
		rte_panic("configuration %u: no flow was made: %s\n", m->which,
			m_dropped == DROP_COUNT ? "passed" : drop_label(m_dropped));
	struct mkey *to = &f->side[1];
	uint16_t port = rte_be_to_cpu_16(real->side[NAT_OUTSIDE].local_port);
	const struct nat_config *c = &m->config;
	if (m->which == 3 && !f->hairpin && to->family == IP_V4) {
		to->local[3] = real->side[NAT_OUTSIDE].local[3];
		m_expect(to->local[3] == 1 || to->local[3] == 2, "an address not of the pool");
	}
	to->lport = f->side[0].lport;
	bool same = to->lport >= c->port_first && to->lport <= c->port_last && !m_taken(m, to, f) &&
		    (!c->endpoint_independent || (to->lport / 16 & 1) == !f->any);
	m_expect(!same || port == to->lport, "the port could have stayed");
	to->lport = port;
	m_expect(port >= c->port_first && port <= c->port_last, "a port out of the range");
	m_expect(!m_taken(m, to, f), "somebody else's port");
	m_expect(!same && (port ^ f->side[0].lport) & 1 ? false : true, "another parity");
}

// Ports of that outside that the client of this inside holds.
static inline unsigned m_held(
	const struct model *m, const struct mkey *inside, const struct mkey *outside, bool any)
{
	unsigned n = 0;
	for (unsigned i = 0; i < m->high; i++) {
		const struct mflow *f = &m->flow[i];
		struct mkey to = *outside;
		to.lport = f->side[1].lport;
		n += f->used && m->ms - f->last_ms < m_idle_ms(m, f) && !f->own_source &&
		     f->any == any && f->side[0].family == inside->family &&
		     memcmp(f->side[0].local, inside->local, 16) == 0 &&
		     m_same(&f->side[1], &to, any);
	}
	return n;
}

// How much a flow is to end for a client that holds so many ports there; 0: it stays.
static inline uint64_t m_rank(
	const struct model *m, const struct mflow *f, const struct mkey *inside, unsigned held)
{
	unsigned has = m_held(m, &f->side[0], &f->side[1], f->any);
	bool own = f->side[0].family == inside->family &&
		   memcmp(f->side[0].local, inside->local, 16) == 0;
	bool open = f->class == NAT_TCP_OPEN;
	uint64_t idle = m->ms - f->last_ms;
	if (idle == 0 || (!open && !own && has <= held) ||
		(open && (has < 2 * held + 2 || idle < 5000)))
		return 0;
	return (uint64_t)has << 48 | (uint64_t)!open << 40 | idle;
}

// Whether a port is free for that flow, or another one's becomes so; where there are many, one is.
// Of those that are equal the nodes may take any.
static inline bool m_make_place(
	struct model *m, const struct mkey *inside, const struct mkey *outside)
{
	struct mkey to = *outside;
	struct mflow *gone = NULL;
	uint64_t most = 0, of_gone = 0;
	const unsigned held = m_held(m, inside, outside, false);
	const uint16_t first = m->config.port_first;
	if (m->which != M_FEW)
		return true;
	to.lport = (uint16_t)(first + ((first ^ inside->lport) & 1));
	for (; to.lport <= m->config.port_last; to.lport = (uint16_t)(to.lport + 2)) {
		struct mflow *f = m_taken(m, &to, NULL);
		if (!f)
			return true;
		const uint64_t rank = m_rank(m, f, inside, held);
		most = RTE_MAX(most, rank);
		const struct nat_flow *real = m_real(m, f);
		if (real && real->side[NAT_OUTSIDE].local_port == rte_cpu_to_be_16(to.lport))
			continue;
		m_expect(!gone, "two flows ended for one");
		gone = f;
		of_gone = rank;
	}
	m_expect(of_gone == most && !gone == (most == 0), "another flow had to end");
	if (gone) {
		gone->used = false;
		m->evicted++;
	}
	return gone != NULL;
}
