// An obvious filter with address translation: plain arrays, linear searches, packets built from
// scratch; beside it the real nodes of a gateway, whose way ends at OVERLAY. Both get the same
// packets; what comes out must be the same bytes, or end for the same reason.
//
// Gateway A of gateway.h; its peer has 10.2.0.0/16 and fd02::/16. Network: 10.1.0.2 and fd01::2 on
// lan, 192.0.2.2 and 2001:db8::2 on wan; so are 169.254.0.0/16 and 100.64.0.0/24. Services,
// remapped prefixes and 4via6: model_config().
#pragma once

#include "dataplane/node/output.h"
#include "tests/unit/packets.h"

enum {
	M_FLOWS = 512,
	M_KNOWN = 512,
	M_CLASSES = NAT_CLASS_COUNT,
	M_DENIED = 666,	 // a port that no rule allows
	M_DENIED2 = 667, // nor does the second set of rules allow this one
	M_PAYLOAD = 40,
	M_GRE = 47,
};

// A packet as values. Ports and ids are host order.
struct mp {
	uint8_t family, proto;
	uint8_t src[16], dst[16];
	uint16_t sport, dport; // echo: id in sport
	uint8_t type, code;    // ICMP
	uint8_t tcp_flags;
	uint8_t ttl, tos;
	bool no_csum; // UDP over IPv4
	bool df;
	uint8_t fragment; // 1: the first, 2: a later one
	uint16_t ip_id;
	uint16_t payload;
	uint32_t rest;	     // ICMP error: the 4 bytes behind the checksum
	struct mp *quote;    // ICMP error
	uint16_t quoted_len; // L4 bytes of it
};

struct mflow {
	bool used, any, own_source, hairpin, answered, fin[2];
	uint8_t class;
	// by side; ports host order, the id of an echo is the local one's
	struct mkey {
		uint8_t family, proto;
		uint8_t local[16], remote[16];
		uint16_t lport, rport;
	} side[2];
	uint64_t last_ms;
};

enum mresult {
	M_PASS,
	M_DROP,
	M_KERNEL,
	M_ICMP, // answered with an error
};

struct mverdict {
	enum mresult result;
	enum drop_reason drop;
	struct mp out, quote;
	bool any_id; // of the output: the IPv4 id may be any
};

struct model {
	struct gw *g;
	uint64_t ms; // now
	unsigned which;
	struct nat_config config;
	bool has_config, jailed;
	uint16_t hull_first, hull_last;
	unsigned rules;
	struct mflow flow[M_FLOWS];
	struct mkey known[M_KNOWN]; // what went out untranslated
	unsigned n_known;
	unsigned high; // no flow in use lies at or behind it
	uint64_t drops[DROP_COUNT], hairpins, errors, families;
	uint64_t passed, dropped, kernel, icmp, created, evicted;
};

static inline void m_addr(uint8_t to[16], const char *text)
{
	struct ip_addr a;
	if (ip_addr_parse(text, &a) < 0)
		abort();
	memcpy(to, a.bytes, 16);
}

static inline unsigned m_len(uint8_t family)
{
	return family == IP_V4 ? 4 : 16;
}

static inline bool m_is_icmp(const struct mp *p)
{
	return p->proto == (p->family == IP_V4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
}

static inline bool m_has_ports(uint8_t proto)
{
	return proto == IPPROTO_TCP || proto == IPPROTO_UDP;
}

// Bytes of it, all checksums right.
static inline uint32_t m_l4(const struct mp *p, uint8_t *l4)
{
	uint32_t head = 8;
	memset(l4, 0, 20);
	if (p->proto == IPPROTO_TCP) {
		head = 20;
		l4[12] = 5 << 4;
		l4[13] = p->tcp_flags;
	}
	if (m_has_ports(p->proto)) {
		put16(l4, p->sport);
		put16(l4 + 2, p->dport);
	} else if (m_is_icmp(p)) {
		l4[0] = p->type;
		l4[1] = p->code;
		if (p->quote)
			put32(l4 + 4, p->rest);
		else
			put16(l4 + 4, p->sport);
	}
	for (uint32_t i = 0; i < p->payload; i++)
		l4[head + i] = (uint8_t)(i * 7 + p->payload);
	return head + p->payload;
}

static inline void m_l3(const struct mp *p, uint8_t *b, uint32_t l4_len)
{
	memset(b, 0, p->family == IP_V4 ? 20 : 40);
	if (p->family == IP_V4) {
		b[0] = 0x45;
		b[1] = p->tos;
		put16(b + 2, 20 + l4_len);
		put16(b + 4, p->ip_id);
		b[6] = p->df ? 0x40 : p->fragment == 1 ? 0x20 : 0;
		b[7] = p->fragment == 2 ? 100 : 0;
		b[8] = p->ttl;
		b[9] = p->proto;
		memcpy(b + 12, p->src, 4);
		memcpy(b + 16, p->dst, 4);
		put16(b + 10, ~flow_sum(b, 20, 0));
		return;
	}
	put32(b, 6u << 28 | (uint32_t)p->tos << 20);
	put16(b + 4, l4_len);
	b[6] = p->proto;
	b[7] = p->ttl;
	memcpy(b + 8, p->src, 16);
	memcpy(b + 24, p->dst, 16);
}

static inline void m_csum(const struct mp *p, uint8_t *b, uint32_t len)
{
	uint32_t l3 = p->family == IP_V4 ? 20 : 40, l4_len = len - l3, at, sum = 0;
	uint8_t *l4 = b + l3;
	if (p->proto == IPPROTO_TCP)
		at = 16;
	else if (p->proto == IPPROTO_UDP)
		at = 6;
	else if (m_is_icmp(p))
		at = 2;
	else
		return;
	if (p->proto == IPPROTO_UDP)
		put16(l4 + 4, l4_len);
	put16(l4 + at, 0);
	if (p->no_csum || p->fragment == 2)
		return;
	if (!m_is_icmp(p) || p->family == IP_V6)
		sum = flow_pseudo_sum(b, l4_len);
	sum = ~flow_sum(l4, l4_len, sum) & 0xffff;
	put16(l4 + at, p->proto == IPPROTO_UDP && sum == 0 ? 0xffff : sum);
}

static inline void m_build(const struct mp *p, struct flat *f)
{
	uint32_t l3 = p->family == IP_V4 ? 20 : 40, l4_len = m_l4(p, f->b + l3);
	if (p->quote) {
		struct flat q;
		m_build(p->quote, &q);
		uint32_t n = (p->family == IP_V4 ? 20 : 40) + p->quoted_len;
		n = RTE_MIN(n, q.len);
		memcpy(f->b + l3 + 8, q.b, n);
		l4_len = 8 + n;
	}
	f->len = l3 + l4_len;
	m_l3(p, f->b, l4_len);
	m_csum(p, f->b, f->len);
}

// --- the gateway's side -------------------------------------------------------------------------

static struct rte_mbuf *m_out[BURST];
static unsigned m_n_out;

static inline void m_collect(struct graph *, struct rte_mbuf **pkts, uint16_t n)
{
	for (unsigned i = 0; i < n; i++) {
		if (m_n_out == BURST)
			rte_panic("more packets come out than went in\n");
		m_out[m_n_out++] = pkts[i];
	}
}

static enum drop_reason m_dropped; // DROP_COUNT: none
static unsigned m_answered;

static inline void m_answer(struct graph *, struct rte_mbuf **pkts, uint16_t n)
{
	m_answered += n;
	rte_pktmbuf_free_bulk(pkts, n);
}

static inline void m_discard(struct graph *, struct rte_mbuf **pkts, uint16_t n)
{
	rte_pktmbuf_free_bulk(pkts, n);
}

static inline struct graph *m_graph(const struct model *m)
{
	return m->g->gw.graph[0];
}

static inline void m_time(struct model *m, uint64_t ms)
{
	struct graph *g = m_graph(m);
	m->ms += ms;
	g->now = (uint64_t)((double)m->ms * 1e6 * m->g->gw.tsc_per_ns) + 1000;
	graph_inbox(g);
	rte_rcu_qsbr_quiescent(rcu_qsbr(m->g->gw.rcu), 0);
	rcu_reclaim(m->g->gw.rcu);
}

static inline struct ip_prefix m_prefix(const char *text)
{
	struct ip_prefix p;
	if (ip_prefix_parse(text, &p) < 0)
		abort();
	return p;
}

static inline void m_set_rules(struct model *m, unsigned which)
{
	const struct ip_range all[] = {ip_range_any(IP_V4), ip_range_any(IP_V6)};
	const uint16_t first = which ? M_DENIED2 + 1 : M_DENIED + 1;
	const struct rule_target to[] = {{all[0], 0, M_DENIED - 1}, {all[1], 0, M_DENIED - 1},
		{all[0], first, 65535}, {all[1], first, 65535}};
	const struct rule_target every[] = {{all[0], 0, 65535}, {all[1], 0, 65535}};
	struct rule_spec rules[2] = {{all, to, 2, 4}, {all, every, 2, 2}};
	rule_protocol(&rules[0], IPPROTO_TCP);
	rule_protocol(&rules[0], IPPROTO_UDP);
	rule_protocol(&rules[1], M_GRE);
	m->rules = which;
	rules_publish(&m->g->gw.rules, m->g->gw.rcu,
		rules_create(&(struct rules_spec){rules, all, 2, 2, false}));
}

enum {
	M_FEW = 6, // configuration with four ports
	M_CONFIGS,
};

static inline void *m_copy(const void *from, size_t size)
{
	void *to = malloc(size);
	if (!to)
		abort();
	memcpy(to, from, size);
	return to;
}

static inline struct endpoint m_endpoint(const char *addr, uint16_t port)
{
	struct endpoint e = {.port = port};
	if (ip_addr_parse(addr, &e.addr) < 0)
		abort();
	return e;
}

// Services, remapped prefixes and 4via6 too.
static inline bool m_is_all(unsigned which)
{
	return which == 4 || which == 5;
}

// 0: none; 1: masquerading; 2: the same by endpoint; 3: by a pool, other ports; 4: no masquerading,
// but all else; 5: all of it; M_FEW: masquerading by four ports.
static inline struct nat_config *m_make_config(unsigned which)
{
	struct nat_config *c = calloc(1, sizeof(*c));
	static const uint32_t idle[] = {30, 600, 20, 60, 10, 40};
	if (!c)
		abort();
	c->snat = which != 4;
	c->endpoint_independent = which == 2;
	c->port_first = which == 3 ? 40000 : 20000;
	c->port_last = which == 3 ? 40999 : which == M_FEW ? 20003 : 29999;
	memcpy(c->idle_s, idle, sizeof(idle));
	m_addr(c->port4[GW_LAN].bytes, "10.1.0.1");
	m_addr(c->port4[GW_WAN].bytes, "192.0.2.1");
	m_addr(c->port6[GW_LAN].bytes, "fd01::1");
	c->port4[GW_LAN].family = c->port4[GW_WAN].family = IP_V4;
	c->port6[GW_LAN].family = IP_V6; // none on wan
	if (which == 3) {
		c->n_pool = 2;
		c->pool[0] = m_endpoint("198.51.100.1", 0).addr;
		c->pool[1] = m_endpoint("198.51.100.2", 0).addr;
	}
	if (!m_is_all(which))
		return c;
	const struct ip_prefix via[] = {m_prefix("fd7a:115c:a1e0:b1a:0:7::/96")};
	const struct nat_remap remap[] = {{m_prefix("10.77.0.0/23"), m_prefix("10.1.0.0/23")},
		{m_prefix("fd77::/33"), m_prefix("fd01::/33")}};
	const struct nat_service service[] = {
		{.vip = m_endpoint("10.88.0.1", 0).addr,
			.port_first = 80,
			.port_last = 81,
			.proto = IPPROTO_TCP,
			.n_backends = 1,
			.backend = {m_endpoint("10.1.0.2", 8080)}},
		{.vip = m_endpoint("10.88.0.2", 0).addr,
			.n_backends = 1,
			.backend = {m_endpoint("10.1.0.1", 0)}}, // the host itself
		{.vip = m_endpoint("fd88::1", 0).addr,
			.n_backends = 2,
			.backend = {m_endpoint("10.1.0.2", 0), m_endpoint("10.1.0.2", 0)}},
		{.vip = m_endpoint("10.88.0.3", 0).addr,
			.n_backends = 1,
			.backend = {m_endpoint("fd01::2", 0)}},			   // IPv4 cannot
		{.vip = m_endpoint("10.88.0.1", 0).addr, .port_last = UINT16_MAX}, // the rest
	};
	c->via = m_copy(via, sizeof(via));
	c->remap = m_copy(remap, sizeof(remap));
	c->service = m_copy(service, sizeof(service));
	c->n_via = RTE_DIM(via);
	c->n_remap = RTE_DIM(remap);
	c->n_services = RTE_DIM(service);
	return c;
}

static inline void m_set_config(struct model *m, unsigned which)
{
	m->which = which;
	m->has_config = which > 0;
	struct nat_config *c = which ? m_make_config(which) : NULL;
	if (c) {
		m->config = *c;
		m->hull_first = RTE_MIN(m->hull_first, c->port_first);
		m->hull_last = RTE_MAX(m->hull_last, c->port_last);
	}
	nat_config_publish(&m->g->gw.nat, m->g->gw.rcu, c);
	m_time(m, 1);
}

static inline void m_open(struct model *m, struct gw *g)
{
	memset(m, 0, sizeof(*m));
	m->g = g;
	m->ms = 1000000;
	m->hull_first = UINT16_MAX;
	gw_open(g, 1, &(struct gw_params){.kind = PORT_SHARED, .pkts = 255, .large = 63});
	g->gw.icmp_rate = 1000000;
	gw_add_peer(g);
	gw_route(g, "198.51.100.0/24", NH_LINK, GW_WAN, 2);
	gw_route(g, "198.51.100.1/32", NH_LOCAL, PORT_NONE, 0);
	gw_route(g, "169.254.0.0/16", NH_LINK, GW_WAN, 2);
	gw_route(g, "100.64.0.0/24", NH_LINK, GW_WAN, 2);
	atomic_store(&g->peer->filtered, true);
	m_graph(m)->fn[NODE_OVERLAY] = m_collect;
	m_graph(m)->fn[NODE_ICMP_ERROR] = m_answer;
	m_graph(m)->fn[NODE_WG_ROUTE] = m_discard; // what tells peers of refused connections
	m_set_rules(m, 0);
	m_set_config(m, 0);
}

static inline void m_close(struct model *m)
{
	rules_publish(&m->g->gw.rules, m->g->gw.rcu, NULL);
	nat_config_publish(&m->g->gw.nat, m->g->gw.rcu, NULL);
	if (gw_close(m->g) != 0)
		rte_panic("packets were lost\n");
}
