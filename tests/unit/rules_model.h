// What rules must mean, written as plainly as can be, and policies and packets made of any bytes.
// Addresses have few bits, at both ends of the range and in its middle, so that ranges touch,
// overlap and are empty.
#pragma once

#include <netinet/in.h>
#include <rte_common.h>

#include "dataplane/table/rules.h"

enum {
	MODEL_RULES = 24,
	MODEL_EACH = 10,
};

struct model {
	struct rules_spec spec;
	struct rule_spec rule[MODEL_RULES];
	struct ip_range source[MODEL_RULES][MODEL_EACH], local[MODEL_EACH];
	struct rule_target target[MODEL_RULES][MODEL_EACH];
};

struct model_bytes {
	const uint8_t *at;
	size_t left;
};

struct model_packet {
	struct ip_addr src, dst;
	struct rule_query query;
	enum rule_ports ports;
};

static inline uint8_t model_byte(struct model_bytes *b)
{
	if (b->left == 0)
		return 0;
	b->left--;
	return *b->at++;
}

static inline struct ip_addr model_addr(struct model_bytes *b, uint8_t family)
{
	uint8_t v = model_byte(b);
	struct ip_addr a = {.family = family};
	unsigned len = family == IP_V4 ? 4 : 16;
	memset(a.bytes, v & 0x80 ? 0xff : 0, v & 0x40 ? len : len / 2);
	a.bytes[len - 1] = v & 0x80 ? (uint8_t)(0xe0 | (v & 0x1f)) : v & 0x1f;
	if (v & 0x20)
		a.bytes[len / 4] ^= v & 3;
	return a;
}

// One in 32 has bounds of two families, or the wrong way around more often.
static inline struct ip_range model_range(struct model_bytes *b)
{
	uint8_t kind = model_byte(b), family = kind & 1 ? IP_V6 : IP_V4;
	if (kind % 16 == 2)
		return ip_range_any(IP_V4);
	if (kind % 16 == 3)
		return ip_range_any(IP_V6);
	struct ip_range r = {model_addr(b, family), model_addr(b, family)};
	if (kind % 4 == 0)
		r.last = r.first;
	if (kind % 32 == 31)
		r.last.family ^= IP_V4 ^ IP_V6;
	return r;
}

static inline uint16_t model_port(struct model_bytes *b)
{
	uint8_t v = model_byte(b);
	return v & 0x80 ? (uint16_t)(UINT16_MAX - (v & 7)) : v & 7;
}

static inline struct rule_target model_target(struct model_bytes *b)
{
	struct rule_target t = {model_range(b), model_port(b), model_port(b)};
	if (model_byte(b) % 4 == 0) {
		t.port_first = 0;
		t.port_last = UINT16_MAX;
	}
	return t;
}

static inline uint8_t model_proto(struct model_bytes *b)
{
	static const uint8_t some[] = {IPPROTO_TCP, IPPROTO_UDP, 0, 255, 63, 64};
	return some[model_byte(b) % RTE_DIM(some)];
}

static inline void model_policy(struct model *m, struct model_bytes *b)
{
	uint32_t n = model_byte(b) % (MODEL_RULES + 1);
	m->spec = (struct rules_spec){
		m->rule, m->local, n, model_byte(b) % MODEL_EACH, model_byte(b) == 255};
	for (uint32_t i = 0; i < n; i++) {
		uint8_t counts = model_byte(b);
		m->rule[i] = (struct rule_spec){
			m->source[i], m->target[i], counts % MODEL_EACH, counts / 16 % MODEL_EACH};
		// Some share another's sources, as groups do.
		if (i > 0 && model_byte(b) % 4 == 0) {
			m->rule[i].sources = m->rule[i - 1].sources;
			m->rule[i].n_sources = m->rule[i - 1].n_sources;
		}
		for (uint32_t j = 0; j < MODEL_EACH; j++) {
			m->source[i][j] = model_range(b);
			m->target[i][j] = model_target(b);
		}
		m->rule[i].ports_only = counts % 8 == 7;
		for (uint8_t left = model_byte(b) % 4; left > 0; left--)
			rule_protocol(&m->rule[i], model_proto(b));
	}
	for (uint32_t i = 0; i < MODEL_EACH; i++)
		m->local[i] = model_range(b);
}

static inline void model_packet(struct model_packet *p, struct model_bytes *b)
{
	uint8_t kind = model_byte(b), family = kind & 1 ? IP_V6 : IP_V4;
	p->src = model_addr(b, family);
	p->dst = model_addr(b, family);
	p->query = (struct rule_query){
		p->src.bytes, p->dst.bytes, model_port(b), family, model_proto(b)};
	p->ports = kind % 8 < 6 ? RULE_PORT : kind % 8 == 6 ? RULE_ANY_PORT : RULE_ALL_PORTS;
}

static inline bool model_holds(const struct ip_range *r, const struct ip_addr *a)
{
	return r->first.family == a->family && r->last.family == a->family &&
	       ip_addr_compare(&r->first, a) <= 0 && ip_addr_compare(a, &r->last) <= 0;
}

static inline bool model_is_local(const struct model *m, const struct ip_addr *a)
{
	for (uint32_t i = 0; i < m->spec.n_local; i++) {
		if (model_holds(&m->spec.local[i], a))
			return true;
	}
	return false;
}

static inline bool model_reaches(const struct rule_target *t, const struct model_packet *p)
{
	if (!model_holds(&t->range, &p->dst) || t->port_first > t->port_last)
		return false;
	switch (p->ports) {
	case RULE_PORT:
		return t->port_first <= p->query.port && p->query.port <= t->port_last;
	case RULE_ALL_PORTS:
		return t->port_first == 0 && t->port_last == UINT16_MAX;
	default:
		return true;
	}
}

static inline bool model_lets_in(const struct rule_spec *r, const struct model_packet *p)
{
	bool from = false, to = false;
	uint8_t proto = p->query.proto;
	for (uint32_t i = 0; i < r->n_sources; i++)
		from |= model_holds(&r->sources[i], &p->src);
	for (uint32_t i = 0; i < r->n_targets; i++)
		to |= model_reaches(&r->targets[i], p);
	if (p->ports == RULE_ANY_PORT)
		return from && to && !r->ports_only;
	return from && to && (r->protocols[proto / 64] >> proto % 64 & 1);
}

static inline bool model_allows(const struct model *m, const struct model_packet *p)
{
	for (uint32_t i = 0; i < m->spec.n_rules && !m->spec.shields_up; i++) {
		if (model_lets_in(&m->spec.rules[i], p))
			return true;
	}
	return false;
}
