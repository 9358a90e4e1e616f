// What must happen to a packet: see nat_model.h.
#pragma once

#include "tests/unit/nat_model_ports.h"

// Where a packet goes and from whom, without a flow.
struct mplan {
	bool flow, redirected, hairpin, own_source;
	enum drop_reason drop; // DROP_COUNT: none
	bool no_route;
	struct mkey to;
};

static inline struct mplan m_plan(const struct model *m, const struct mkey *k)
{
	struct mplan plan = {.drop = DROP_COUNT, .to = *k};
	struct mkey *to = &plan.to;
	bool all = m_is_all(m->which), nobody = false, closed = false;
	uint16_t link;
	if (all && k->family == IP_V6 &&
		m_starts(k->remote, "\xfd\x7a\x11\x5c\xa1\xe0\x0b\x1a\0\0\0\7", 12)) {
		plan.redirected = true;
		memset(to->remote, 0, 16);
		memcpy(to->remote, k->remote + 12, 4);
		nobody = to->remote[0] == 0 || to->remote[0] == 127 || to->remote[0] >= 224 ||
			 m_starts(to->remote, "\xa9\xfe", 2) ||
			 (to->remote[0] == 100 && to->remote[1] / 64 == 1);
	} else if (all && k->family == IP_V4 && m_starts(k->remote, "\x0a\x58\0\1", 4) &&
		   k->proto == IPPROTO_TCP && (k->rport == 80 || k->rport == 81)) {
		plan.redirected = true;
		memcpy(to->remote, "\x0a\1\0\2", 4);
		to->rport = 8080;
	} else if (all && k->family == IP_V4 && m_starts(k->remote, "\x0a\x58\0\1", 4) &&
		   m_has_ports(k->proto)) {
		plan.redirected = closed = true;
	} else if (all && k->family == IP_V4 && m_starts(k->remote, "\x0a\x58\0\2", 4)) {
		plan.redirected = true;
		memcpy(to->remote, "\x0a\1\0\1", 4);
	} else if (all && k->family == IP_V6 &&
		   m_starts(k->remote, "\xfd\x88\0\0\0\0\0\0\0\0\0\0\0\0\0\1", 16)) {
		plan.redirected = true;
		memset(to->remote, 0, 16);
		memcpy(to->remote, "\x0a\1\0\2", 4);
	} else if (all && k->family == IP_V4 && m_starts(k->remote, "\x0a\x58\0\3", 4)) {
		plan.redirected = closed = true;
	} else {
		m_remap(m, to->remote, k->family, true);
	}
	if (plan.redirected && k->family == IP_V6) {
		to->family = IP_V4;
		if (to->proto == IPPROTO_ICMPV6)
			to->proto = IPPROTO_ICMP;
	}
	enum nexthop_type type = m_route(to->remote, to->family, &link);
	plan.no_route = type == NH_TYPE_COUNT;
	bool snat = m->config.snat;
	if (nobody || closed) {
		plan.drop = closed ? DROP_NAT_CLOSED : DROP_NAT_UNREACHABLE;
	} else if (snat && m_has_ports(k->proto) && memcmp(to->remote, k->remote, 16) == 0 &&
		   !plan.redirected && m_is_outside(m, k->remote, k->family, k->rport)) {
		plan.flow = plan.hairpin = true;
		memcpy(to->local, to->remote, 16);
	} else if (type == NH_LINK && (snat || plan.redirected)) {
		plan.flow = true;
		memset(to->local, 0, 16);
		if (to->family == IP_V4)
			memcpy(to->local,
				m->which == 3	 ? "\xc6\x33\x64" // or .2
				: link == GW_LAN ? "\x0a\1\0\1"
						 : "\xc0\0\2\1",
				m->which == 3 ? 3 : 4);
		else if (link == GW_LAN)
			memcpy(to->local, "\xfd\1\0\0\0\0\0\0\0\0\0\0\0\0\0\1", 16);
		else
			plan.drop = DROP_NAT_NO_ADDRESS;
	} else if (plan.redirected && type == NH_LOCAL && to->family == k->family) {
		plan.flow = plan.own_source = true;
	} else if (plan.redirected) {
		plan.drop = DROP_NAT_UNREACHABLE;
	}
	return plan;
}

static inline uint8_t m_class(const struct mp *p)
{
	if (m_has_ports(p->proto))
		return p->proto == IPPROTO_TCP ? NAT_TCP_OPENING : NAT_UDP;
	return m_is_icmp(p) ? NAT_ICMP : NAT_OTHER;
}

static inline struct mflow *m_new(struct model *m)
{
	for (unsigned i = 0; i < M_FLOWS; i++) {
		if (m->flow[i].used)
			continue;
		m->high = RTE_MAX(m->high, i + 1);
		return &m->flow[i];
	}
	abort();
}

static inline struct mverdict m_return(struct model *m, const struct mp *p, bool from_port);

static inline struct mverdict m_send(struct model *m, struct mflow *f, const struct mp *p)
{
	struct mverdict v = m_pass(p);
	m_seen(m, f, 0, p);
	m_apply(&v.out, 0, f, 1, &v);
	m->families += v.out.family != p->family;
	if (!f->hairpin)
		return v;
	v = m_return(m, &v.out, false);
	m->hairpins += v.result == M_PASS;
	return v;
}

static inline struct mverdict m_begin(struct model *m, const struct mp *p, const struct mkey *k)
{
	struct mplan plan = m_plan(m, k);
	struct mflow *f = m_find(m, 0, k);
	bool any = m->config.endpoint_independent && !plan.redirected && p->proto != M_GRE &&
		   memcmp(plan.to.remote, k->remote, 16) == 0;
	if (plan.drop == DROP_NAT_CLOSED || (plan.drop == DROP_NAT_UNREACHABLE && plan.no_route))
		return (struct mverdict){.result = M_ICMP};
	if (plan.drop != DROP_COUNT)
		return m_drop(plan.drop);
	if (!plan.flow)
		return m_as_it_is(m, p, 0);
	if (f && any) {
		for (unsigned i = 0; i < 2; i++) {
			memcpy(f->side[i].remote, k->remote, 16);
			f->side[i].rport = k->rport;
		}
		f->hairpin = plan.hairpin;
		return m_send(m, f, p);
	}
	bool answers = m_is_known(m, k);
	if (p->proto == IPPROTO_TCP)
		answers |= (p->tcp_flags & RTE_TCP_RST_FLAG) ||
			   (p->tcp_flags & (RTE_TCP_SYN_FLAG | RTE_TCP_ACK_FLAG)) ==
				   (RTE_TCP_SYN_FLAG | RTE_TCP_ACK_FLAG);
	if (m_is_icmp(p))
		answers = false;
	if (answers)
		return plan.redirected ? m_drop(DROP_NAT_NO_FLOW) : m_as_it_is(m, p, 0);
	bool free = plan.own_source || p->proto == M_GRE ? !m_taken(m, &plan.to, NULL)
							 : m_make_place(m, k, &plan.to);
	if (!free)
		return m_drop(DROP_NAT_PORTS);
	f = m_new(m);
	*f = (struct mflow){.used = true,
		.any = any,
		.own_source = plan.own_source,
		.hairpin = plan.hairpin,
		.class = m_class(p),
		.side = {*k, plan.to}};
	m->created++;
	f->last_ms = m->ms;
	if (!plan.own_source && p->proto != M_GRE)
		m_learn(m, f);
	return m_send(m, f, p);
}

// A packet from the peer.
static inline struct mverdict m_tunnel(struct model *m, const struct mp *p)
{
	enum drop_reason why = m_filter(m, p);
	struct mkey k = m_key(p, 0);
	if (why != DROP_COUNT)
		return m_drop(why);
	if (m_is_error(p)) {
		struct mkey q = m_key(p->quote, 1);
		struct mflow *f = m_find(m, 0, &q);
		if (f)
			return m_error(p, 0, f);
		if (m->has_config && m_plan(m, &q).redirected)
			return m_drop(DROP_NAT_NO_FLOW);
		return m_as_it_is(m, p, 0);
	}
	bool keyed = p->fragment == 0 && (!m_is_icmp(p) || m_is_echo(p, true));
	if (!keyed) {
		struct mkey bare = k;
		bare.lport = bare.rport = 0;
		struct mplan plan = m_plan(m, &bare);
		bool reply = p->fragment == 0 && m_is_echo(p, false);
		if (!m->has_config || (!plan.flow && plan.drop == DROP_COUNT) ||
			(reply && !plan.redirected))
			return m_as_it_is(m, p, 0);
		return m_drop(p->fragment ? DROP_NAT_FRAGMENT
			      : reply	  ? DROP_NAT_NO_FLOW
					  : DROP_NAT_PROTOCOL);
	}
	struct mflow *f = m_find(m, 0, &k);
	if (f && (!f->any || m_same(&f->side[0], &k, false)))
		return m_send(m, f, p);
	return m->has_config ? m_begin(m, p, &k) : m_as_it_is(m, p, 0);
}

// A packet for an outside address, from a port or by way of one (hairpin).
static inline struct mverdict m_return(struct model *m, const struct mp *p, bool from_port)
{
	struct mverdict none =
		from_port ? (struct mverdict){.result = M_KERNEL} : m_drop(DROP_NAT_NO_FLOW);
	struct mkey k = m_is_error(p) ? m_key(p->quote, 0) : m_key(p, 1);
	if (p->fragment || (m_is_icmp(p) && !m_is_error(p) && !m_is_echo(p, false)))
		return none;
	struct mflow *f = m_find(m, 1, &k);
	if (!f)
		return none;
	if (m_is_error(p))
		return m_error(p, 1, f);
	struct mverdict v = m_pass(p);
	m_seen(m, f, 1, p);
	m_apply(&v.out, 1, f, 0, &v);
	return v;
}

static inline void m_remember(struct model *m, const struct mp *p)
{
	struct mkey k = m_key(p, 1);
	bool wanted = p->proto == IPPROTO_UDP || (m->has_config && m->config.snat && !m_is_icmp(p));
	if (!wanted || p->fragment || m_is_known(m, &k))
		return;
	m_expect(m->n_known < M_KNOWN, "more flows from the network than the model holds");
	m->known[m->n_known++] = k;
}

// A packet from a port, as far as the peer's owner.
static inline struct mverdict m_port(struct model *m, const struct mp *p)
{
	uint16_t link;
	struct mkey k = m_is_error(p) ? m_key(p->quote, 0) : m_key(p, 1);
	bool here = m_route(p->dst, p->family, &link) == NH_LOCAL ||
		    m_is_outside(m, p->dst, p->family, m->hull_first);
	if (here && (k.proto == M_GRE || m_is_outside(m, k.local, k.family, k.lport)))
		return m_return(m, p, true);
	if (m_route(p->dst, p->family, &link) != NH_TUNNEL)
		return (struct mverdict){.result = M_KERNEL};
	bool keyed = p->fragment == 0 && (!m_is_icmp(p) || m_is_error(p) || m_is_echo(p, false));
	struct mflow *f = keyed ? m_find(m, 1, &k) : NULL;
	if (f && f->own_source)
		return m_return(m, p, true);
	struct mverdict v = m_as_it_is(m, p, 1);
	m_remember(m, &v.out);
	return v;
}
