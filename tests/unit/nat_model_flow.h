// Flows of the model, and what they make of packets: see nat_model.h.
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
	if (m_starts(a, "\xc0\0\2\2", 4) || m_starts(a, "\xc6\x33\x64", 3) ||
		m_starts(a, "\xa9\xfe", 2) || m_starts(a, "\x64\x40\0", 3))
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
	if (!m->has_config || !m_is_all(m->which))
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
	if (p->fragment == 2) // none comes here: they are put together before
		return DROP_FILTER_MALFORMED;
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
