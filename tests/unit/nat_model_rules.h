// What must happen to a packet: see nat_model.h.
#pragma once

#include "tests/unit/nat_model.h"

static inline bool m_same(const struct mkey *a, const struct mkey *b, bool any)
{
	return a->family == b->family && a->proto == b->proto &&
	       memcmp(a->local, b->local, 16) == 0 && a->lport == b->lport &&
	       (any || (memcmp(a->remote, b->remote, 16) == 0 && a->rport == b->rport));
}

static inline uint64_t m_idle_ms(const struct model *m, const struct mflow *f)
{
	return m->config.idle_s[f->class] * UINT64_C(1000);
}

// The flow of that key on a side: its own first, then one for any remote.
static inline struct mflow *m_find(struct model *m, unsigned side, const struct mkey *k)
{
	struct mflow *any = NULL;
	while (m->high > 0 && !m->flow[m->high - 1].used)
		m->high--;
	for (unsigned i = 0; i < m->high; i++) {
		struct mflow *f = &m->flow[i];
		if (f->used && m->ms - f->last_ms >= m_idle_ms(m, f))
			f->used = false;
		if (!f->used || !m_same(&f->side[side], k, f->any))
			continue;
		if (!f->any)
			return f;
		any = f;
	}
	return any;
}

// The key of a packet that side (0: the peer) sent.
static inline struct mkey m_key(const struct mp *p, unsigned side)
{
	struct mkey k = {.family = p->family, .proto = p->proto};
	memcpy(k.local, side == 0 ? p->src : p->dst, 16);
	memcpy(k.remote, side == 0 ? p->dst : p->src, 16);
	if (m_has_ports(p->proto)) {
		k.lport = side == 0 ? p->sport : p->dport;
		k.rport = side == 0 ? p->dport : p->sport;
	} else if (m_is_icmp(p)) {
		k.lport = p->sport;
	}
	return k;
}

static inline bool m_is_error(const struct mp *p)
{
	return m_is_icmp(p) && p->quote;
}

static inline bool m_is_echo(const struct mp *p, bool request)
{
	uint8_t type = p->family == IP_V4 ? (request ? 8 : 0) : (request ? 128 : 129);
	return m_is_icmp(p) && !p->quote && p->type == type && p->code == 0;
}

static inline bool m_starts(const uint8_t *addr, const char *hex, unsigned n)
{
	return memcmp(addr, hex, n) == 0;
}

static inline enum nexthop_type m_route(const uint8_t *a, uint8_t family, uint16_t *port)
{
	*port = GW_LAN;
	if (family == IP_V6) {
		if (m_starts(a, "\xfd\1\0\0\0\0\0\0\0\0\0\0\0\0\0\1", 16))
			return NH_LOCAL;
		if (m_starts(a, "\xfd\1\0\0\0\0\0\0", 8))
			return NH_LINK;
		*port = GW_WAN;
		if (m_starts(a, "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\2", 16))
			return NH_LINK;
		return m_starts(a, "\xfd\2", 2) ? NH_TUNNEL : NH_TYPE_COUNT;
	}
	if (m_starts(a, "\x0a\1\0\1", 4) || m_starts(a, "\xc0\0\2\1", 4) ||
		m_starts(a, "\xc6\x33\x64\1", 4))
		return NH_LOCAL;
	if (m_starts(a, "\x0a\1\0", 3))
		return NH_LINK;
	*port = GW_WAN;
	if (m_starts(a, "\xc0\0\2\2", 4) || m_starts(a, "\xc6\x33\x64", 3))
		return NH_LINK;
	return m_starts(a, "\x0a\2", 2) ? NH_TUNNEL : NH_TYPE_COUNT;
}

static inline bool m_is_outside(
	const struct model *m, const uint8_t *a, uint8_t family, uint16_t port)
{
	uint16_t link;
	if (port < m->hull_first || port > m->hull_last)
		return false;
	if (m_route(a, family, &link) == NH_LOCAL)
		return true;
	return m->has_config && m->which == 3 && family == IP_V4 &&
	       m_starts(a, "\xc6\x33\x64", 3) && (a[3] == 1 || a[3] == 2);
}

static inline struct mverdict m_drop(enum drop_reason why)
{
	return (struct mverdict){.result = M_DROP, .drop = why};
}

static inline struct mverdict m_pass(const struct mp *p)
{
	struct mverdict v = {.result = M_PASS, .out = *p};
	if (p->quote)
		v.quote = *p->quote;
	return v;
}

// 10.77.0.0/23 is 10.1.0.0/23, fd77::/33 is fd01::/33.
static inline bool m_remap(const struct model *m, uint8_t *a, uint8_t family, bool to_real)
{
	if (!m->has_config || m->which < 4)
		return false;
	if (family == IP_V4) {
		if (a[0] != 10 || a[1] != (to_real ? 77 : 1) || a[2] > 1)
			return false;
		a[1] = to_real ? 1 : 77;
		return true;
	}
	if (a[0] != 0xfd || a[1] != (to_real ? 0x77 : 1) || a[2] || a[3] || (a[4] & 0x80))
		return false;
	a[1] = to_real ? 1 : 0x77;
	return true;
}

// Untranslated, but for remapped prefixes.
static inline struct mverdict m_as_it_is(const struct model *m, const struct mp *p, unsigned side)
{
	struct mverdict v = m_pass(p);
	if (side == 0) {
		m_remap(m, v.out.dst, p->family, true);
		if (m_is_error(p))
			m_remap(m, v.quote.src, p->family, true);
	} else {
		m_remap(m, v.out.src, p->family, false);
		if (m_is_error(p))
			m_remap(m, v.quote.dst, p->family, false);
	}
	return v;
}

static inline bool m_is_known(const struct model *m, const struct mkey *k)
{
	for (unsigned i = 0; i < m->n_known; i++) {
		if (m_same(&m->known[i], k, false))
			return true;
	}
	return false;
}

static inline enum drop_reason m_filter(const struct model *m, const struct mp *p)
{
	struct mkey k = m_key(p, 0);
	if (p->fragment == 2)
		return DROP_COUNT;
	if (p->proto == IPPROTO_TCP &&
		(p->tcp_flags & (RTE_TCP_SYN_FLAG | RTE_TCP_ACK_FLAG)) != RTE_TCP_SYN_FLAG)
		return DROP_COUNT;
	if (m_is_error(p) || m_is_echo(p, false))
		return DROP_COUNT;
	if (p->proto == IPPROTO_UDP && m_is_known(m, &k))
		return DROP_COUNT;
	if (m->jailed)
		return DROP_FILTER_RULE;
	if (m_is_icmp(p) || p->proto == M_GRE)
		return DROP_COUNT;
	bool denied = p->dport == M_DENIED || (m->rules && p->dport == M_DENIED2);
	return denied ? DROP_FILTER_RULE : DROP_COUNT;
}

// TCP as RFC 5382 sees it; all else stays.
static inline void m_seen(const struct model *m, struct mflow *f, unsigned side, const struct mp *p)
{
	f->last_ms = m->ms;
	if (p->proto != IPPROTO_TCP)
		return;
	if (p->tcp_flags & RTE_TCP_RST_FLAG) {
		f->class = NAT_TCP_CLOSING;
	} else if (side == 0 && (p->tcp_flags & RTE_TCP_SYN_FLAG) && f->class != NAT_TCP_OPEN) {
		f->answered = f->fin[0] = f->fin[1] = false;
		f->class = NAT_TCP_OPENING;
	} else {
		if (side == 1)
			f->answered = true;
		else if (f->answered)
			f->class = NAT_TCP_OPEN;
		if (p->tcp_flags & RTE_TCP_FIN_FLAG)
			f->fin[side] = true;
	}
	if (f->fin[0] && f->fin[1])
		f->class = NAT_TCP_CLOSING;
}

static inline void m_other_family(struct mp *p, struct mverdict *v)
{
	bool v4 = p->family == IP_V6; // it becomes that
	bool echo = m_is_icmp(p) && !p->quote;
	if (m_is_icmp(p))
		p->proto = v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
	if (echo && v4)
		p->type = p->type == 128 ? 8 : 0;
	else if (echo)
		p->type = p->type == 8 ? 128 : 129;
	p->family = v4 ? IP_V4 : IP_V6;
	p->df = false; // small ones may be fragmented
	p->ip_id = 0;
	p->no_csum = p->no_csum && v4;
	if (v)
		v->any_id = v4;
}

// p, which side (0: the peer) made, with the addresses that flow f has there.
static inline void m_apply(
	struct mp *p, unsigned side, const struct mflow *f, unsigned on, struct mverdict *v)
{
	const struct mkey *to = &f->side[on];
	if (p->family != to->family)
		m_other_family(p, v);
	memcpy(side == 0 ? p->src : p->dst, to->local, 16);
	if (!f->any)
		memcpy(side == 0 ? p->dst : p->src, to->remote, 16);
	if (m_has_ports(p->proto)) {
		*(side == 0 ? &p->sport : &p->dport) = to->lport;
		if (!f->any)
			*(side == 0 ? &p->dport : &p->sport) = to->rport;
	} else if (m_is_icmp(p) && !p->quote) {
		p->sport = to->lport;
	}
}

// An error that side sent about a packet of f.
static inline struct mverdict m_error(const struct mp *p, unsigned side, const struct mflow *f)
{
	struct mverdict v = m_pass(p);
	struct mp *out = &v.out;
	const struct mkey *from = &f->side[side], *to = &f->side[!side];
	bool about_remote = memcmp(p->src, from->remote, 16) == 0;
	out->quote = &v.quote;
	m_apply(&v.quote, !side, f, !side, NULL);
	if (side == 0) {
		memcpy(out->dst, f->any ? p->dst : to->remote, 16);
		memcpy(out->src, f->own_source ? p->src : to->local, 16);
	} else {
		memcpy(out->dst, to->local, 16);
		if (about_remote && !f->any)
			memcpy(out->src, to->remote, 16);
		else if (from->family != to->family) {
			memcpy(out->src, to->remote, 12);
			memcpy(out->src + 12, p->src, 4);
		}
	}
	if (from->family == to->family)
		return v;
	bool to4 = from->family == IP_V6;
	m_other_family(out, &v);
	// What the generator makes: port unreachable, time exceeded, too big.
	if (to4 && p->type == 1) {
		out->type = 3;
		out->code = 3;
	} else if (to4 && p->type == 3) {
		out->type = 11;
	} else if (to4) {
		out->type = 3;
		out->code = 4;
		out->rest = p->rest - 20;
	} else if (p->type == 11) {
		out->type = 3;
	} else if (p->code == 3) {
		out->type = 1;
		out->code = 4;
	} else {
		out->type = 2;
		out->code = 0;
		out->rest = RTE_MAX(p->rest + 20, 1280u);
	}
	return v;
}

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
	bool all = m->which >= 4, nobody = false;
	uint16_t link;
	if (all && k->family == IP_V6 &&
		m_starts(k->remote, "\xfd\x7a\x11\x5c\xa1\xe0\x0b\x1a\0\0\0\7", 12)) {
		plan.redirected = true;
		memset(to->remote, 0, 16);
		memcpy(to->remote, k->remote + 12, 4);
		nobody = to->remote[0] == 0 || to->remote[0] == 127 || to->remote[0] >= 224;
	} else if (all && k->family == IP_V4 && m_starts(k->remote, "\x0a\x58\0\1", 4) &&
		   k->proto == IPPROTO_TCP && (k->rport == 80 || k->rport == 81)) {
		plan.redirected = true;
		memcpy(to->remote, "\x0a\1\0\2", 4);
		to->rport = 8080;
	} else if (all && k->family == IP_V4 && m_starts(k->remote, "\x0a\x58\0\2", 4)) {
		plan.redirected = true;
		memcpy(to->remote, "\x0a\1\0\1", 4);
	} else if (all && k->family == IP_V6 &&
		   m_starts(k->remote, "\xfd\x88\0\0\0\0\0\0\0\0\0\0\0\0\0\1", 16)) {
		plan.redirected = true;
		memset(to->remote, 0, 16);
		memcpy(to->remote, "\x0a\1\0\2", 4);
	} else if (all && k->family == IP_V4 && m_starts(k->remote, "\x0a\x58\0\3", 4)) {
		plan.redirected = nobody = true;
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
	if (nobody) {
		plan.drop = DROP_NAT_UNREACHABLE;
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

// Whether another flow has that outside.
static inline const struct mflow *m_taken(
	struct model *m, const struct mkey *outside, const struct mflow *but)
{
	for (unsigned i = 0; i < m->high; i++) {
		const struct mflow *f = &m->flow[i];
		if (f != but && f->used && m->ms - f->last_ms < m_idle_ms(m, f) &&
			m_same(&f->side[1], outside, f->any))
			return f;
	}
	return NULL;
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

static inline void m_expect(bool good, const char *what)
{
	if (!good)
		rte_panic("%s\n", what);
}

// Which outside port, and address of a pool, the real one took: any will do that is free, of the
// range and no other's, but for the inside port where that is all this.
static inline void m_learn(struct model *m, struct mflow *f)
{
	struct nat_key k = {.family = f->side[0].family, .proto = f->side[0].proto};
	memcpy(k.local, f->side[0].local, 16);
	memcpy(k.remote, f->side[0].remote, 16);
	k.local_port = rte_cpu_to_be_16(f->side[0].lport);
	k.remote_port = rte_cpu_to_be_16(f->side[0].rport);
	const struct nat_flow *real = nat_lookup(m_graph(m)->nat, NAT_INSIDE, &k, (uint32_t)m->ms);
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

static inline struct mverdict m_begin(struct model *m, const struct mp *p, const struct mkey *k)
{
	struct mplan plan = m_plan(m, k);
	struct mflow *f = m_find(m, 0, k);
	bool any = m->config.endpoint_independent && !plan.redirected && p->proto != M_GRE &&
		   memcmp(plan.to.remote, k->remote, 16) == 0;
	if (plan.drop == DROP_NAT_UNREACHABLE && plan.no_route)
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
	if (plan.own_source || p->proto == M_GRE) {
		if (m_taken(m, &plan.to, NULL))
			return m_drop(DROP_NAT_PORTS);
	}
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
