// Random packets through the model and the nodes: a step at a time, the choices made by m_draw.
#pragma once

#include "tests/unit/nat_model_rules.h"

static uint32_t (*m_source)(void); // random bits

static inline uint32_t m_draw(uint32_t n)
{
	return m_source() % n;
}

static const char *const m_clients[] = {"10.2.0.2", "10.2.0.3", "10.2.3.4", "fd02::2", "fd02::3"};
static const char *const m_servers4[] = {"10.1.0.2", "10.1.0.3", "192.0.2.2", "10.1.0.1",
	"192.0.2.1", "198.51.100.1", "198.51.100.2", "10.77.0.2", "10.77.1.9", "10.88.0.1",
	"10.88.0.2", "10.88.0.3", "10.50.0.1", "10.2.0.9"};
static const char *const m_servers6[] = {"fd01::2", "fd01::1", "2001:db8::2",
	"fd7a:115c:a1e0:b1a:0:7:10.1.0.2", "fd7a:115c:a1e0:b1a:0:7:10.1.0.1",
	"fd7a:115c:a1e0:b1a:0:7:192.0.2.2", "fd7a:115c:a1e0:b1a:0:7:10.50.0.1",
	"fd7a:115c:a1e0:b1a:0:7:224.0.0.1", "fd7a:115c:a1e0:b1a:0:7:169.254.169.254",
	"fd7a:115c:a1e0:b1a:0:7:100.64.0.9", "fd77::2", "fd88::1", "fd99::1"};
static const uint16_t m_ports[] = {
	53, 80, 81, M_DENIED, M_DENIED2, 1000, 20001, 20002, 25017, 40000, 40001, 50000};

static inline uint16_t m_any_port(void)
{
	return m_ports[m_draw(RTE_DIM(m_ports))];
}

static inline struct mflow *m_any_flow(struct model *m)
{
	unsigned at = m->high ? m_draw(m->high) : 0;
	for (unsigned i = 0; i < m->high; i++) {
		struct mflow *f = &m->flow[(at + i) % m->high];
		if (f->used)
			return f;
	}
	return NULL;
}

static inline uint8_t m_any_flags(void)
{
	static const uint8_t flags[] = {RTE_TCP_SYN_FLAG, RTE_TCP_SYN_FLAG, RTE_TCP_ACK_FLAG,
		RTE_TCP_ACK_FLAG, RTE_TCP_ACK_FLAG, RTE_TCP_SYN_FLAG | RTE_TCP_ACK_FLAG,
		RTE_TCP_FIN_FLAG | RTE_TCP_ACK_FLAG, RTE_TCP_RST_FLAG,
		RTE_TCP_RST_FLAG | RTE_TCP_ACK_FLAG, RTE_TCP_SYN_FLAG | RTE_TCP_FIN_FLAG};
	return flags[m_draw(RTE_DIM(flags))];
}

static inline void m_dress(struct mp *p)
{
	p->ttl = (uint8_t)(1 + m_draw(255));
	p->tos = (uint8_t)m_draw(256);
	p->df = p->family == IP_V4 && m_draw(2);
	p->ip_id = p->family == IP_V4 ? (uint16_t)m_draw(65536) : 0;
	p->payload = (uint16_t)m_draw(M_PAYLOAD);
	p->tcp_flags = p->proto == IPPROTO_TCP ? m_any_flags() : 0;
	p->no_csum = p->proto == IPPROTO_UDP && p->family == IP_V4 && m_draw(8) == 0;
}

static inline void m_proto(struct mp *p, bool request)
{
	switch (m_draw(8)) {
	case 0:
	case 1:
	case 2:
		p->proto = IPPROTO_TCP;
		break;
	case 3:
	case 4:
		p->proto = IPPROTO_UDP;
		break;
	case 5:
		p->proto = M_GRE;
		break;
	default:
		p->proto = p->family == IP_V4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
		if (m_draw(8) == 0) // neither echo nor error
			p->type = p->family == IP_V4 ? 13 : 135;
		else if (p->family == IP_V4)
			p->type = request ? 8 : 0;
		else
			p->type = request ? 128 : 129;
		if (m_draw(16) == 0 && p->type != 13 && p->type != 135)
			p->type ^= p->family == IP_V4 ? 8 : 1;
	}
	if (p->proto != M_GRE && p->type != 13 && p->type != 135)
		p->sport = m_any_port();
	if (m_has_ports(p->proto))
		p->dport = m_any_port();
}

// A packet with the key, as side sends it.
static inline struct mp m_of_key(const struct mkey *k, unsigned side)
{
	struct mp p = {.family = k->family, .proto = k->proto};
	memcpy(side == 0 ? p.src : p.dst, k->local, 16);
	memcpy(side == 0 ? p.dst : p.src, k->remote, 16);
	if (m_has_ports(k->proto)) {
		p.sport = side == 0 ? k->lport : k->rport;
		p.dport = side == 0 ? k->rport : k->lport;
	} else if (k->proto != M_GRE) {
		p.sport = k->lport;
		p.type = k->family == IP_V4 ? (side == 0 ? 8 : 0) : (side == 0 ? 128 : 129);
	}
	m_dress(&p);
	return p;
}

// About that packet, from its destination or a router.
static inline struct mp m_error_about(struct mp *quote, unsigned side)
{
	static const uint8_t kinds[2][3][2] = {{{3, 3}, {11, 0}, {3, 4}}, {{1, 4}, {3, 0}, {2, 0}}};
	struct mp p = {.family = quote->family, .quote = quote, .proto = IPPROTO_ICMP};
	const uint8_t *kind = kinds[quote->family == IP_V6][m_draw(3)];
	if (quote->family == IP_V6)
		p.proto = IPPROTO_ICMPV6;
	quote->no_csum = false;
	p.type = kind[0];
	p.code = kind[1];
	if ((p.type == 3 && p.code == 4) || p.type == 2)
		p.rest = p.family == IP_V4 ? 600 + m_draw(900) : 1280 + m_draw(200);
	memcpy(p.src, quote->dst, 16);
	memcpy(p.dst, quote->src, 16);
	if (m_draw(3) == 0)
		m_addr(p.src, p.family == IP_V4 ? (side ? "10.1.0.77" : "10.2.0.77")
						: (side ? "fd01::77" : "fd02::77"));
	m_dress(&p);
	p.payload = 0;
	p.quoted_len = (uint16_t)(m_draw(2) ? 8 : 8 + 2 * m_draw(20)); // no half a checksum
	return p;
}

static inline struct mp m_from_peer(struct model *m, struct mp *quote)
{
	struct mflow *f = m_any_flow(m);
	unsigned how = m_draw(16);
	struct mp p = {0};
	if (f && how < 7)
		return m_of_key(&f->side[0], 0);
	if (f && how < 9) {
		*quote = m_of_key(&f->side[0], 1);
		return m_error_about(quote, 0);
	}
	if (m->n_known > 0 && how == 9) {
		p = m_of_key(&m->known[m_draw(m->n_known)], 0);
		return p;
	}
	const char *client = m_clients[m_draw(RTE_DIM(m_clients))];
	p.family = client[0] == 'f' ? IP_V6 : IP_V4;
	m_addr(p.src, client);
	m_addr(p.dst, p.family == IP_V4 ? m_servers4[m_draw(RTE_DIM(m_servers4))]
					: m_servers6[m_draw(RTE_DIM(m_servers6))]);
	m_proto(&p, true);
	m_dress(&p);
	if (f && how == 10 && m_has_ports(p.proto)) { // somebody else's outside
		const struct mkey *to = &f->side[1];
		if (to->family == p.family && m_has_ports(to->proto)) {
			memcpy(p.dst, to->local, 16);
			p.proto = to->proto;
			p.dport = to->lport;
			m_dress(&p);
		}
	}
	if (m->which == M_FEW && m_has_ports(p.proto) && m_draw(4)) { // for few destinations
		m_addr(p.dst, p.family == IP_V4 ? "10.1.0.2" : "fd01::2");
		p.dport = 80;
		p.sport = (uint16_t)(1000 + m_draw(100));
	}
	if (p.family == IP_V4 && m_draw(16) == 0) {
		p.fragment = (uint8_t)(1 + m_draw(2));
		p.df = false;
	}
	return p;
}

static inline struct mp m_from_port(struct model *m, struct mp *quote)
{
	struct mflow *f = m_any_flow(m);
	unsigned how = m_draw(16);
	struct mp p = {0};
	if (f && how < 8) {
		p = m_of_key(&f->side[1], 1);
		if (how == 7 && m_has_ports(p.proto))
			p.sport++; // somebody else at that address
		return p;
	}
	if (f && how < 11) {
		*quote = m_of_key(&f->side[1], 0);
		return m_error_about(quote, 1);
	}
	p.family = m_draw(2) ? IP_V4 : IP_V6;
	if (how < 14) { // begins towards a client, or goes to us
		m_addr(p.src, p.family == IP_V4 ? "10.1.0.2" : "fd01::2");
		m_addr(p.dst, p.family == IP_V4 ? (m_draw(4) ? "10.2.0.2" : "192.0.2.1")
						: (m_draw(4) ? "fd02::2" : "fd01::1"));
		m_proto(&p, m_draw(2));
	} else {
		m_addr(p.src, p.family == IP_V4 ? "10.1.0.1" : "fd01::1");
		m_addr(p.dst, p.family == IP_V4 ? "10.2.0.3" : "fd02::3");
		m_proto(&p, m_draw(2));
	}
	if (m_has_ports(p.proto)) { // few, as all of them are remembered
		p.sport = m_draw(2) ? 53 : 20001;
		p.dport = m_draw(2) ? 1000 : 50000;
	}
	m_dress(&p);
	return p;
}

static inline struct rte_mbuf *m_mbuf(struct model *m, const struct flat *f, enum pkt_from from)
{
	struct rte_mbuf *b = rte_pktmbuf_alloc(m->g->gw.pool);
	if (!b)
		rte_panic("no buffer\n");
	memcpy(rte_pktmbuf_append(b, (uint16_t)f->len), f->b, f->len);
	*pkt_of(b) = (struct pkt){.from = (uint8_t)from, .port_in = GW_LAN, .peer = m->g->peer};
	return b;
}

// What the nodes made of it: m_out, m_dropped, m_answered; or the kernel has it.
static inline void m_run(struct model *m, const struct flat *f, bool from_port)
{
	struct graph *g = m_graph(m);
	struct rte_mbuf *b = m_mbuf(m, f, from_port ? FROM_PORT : FROM_TUNNEL);
	memset(g->drops, 0, sizeof(g->drops));
	m_n_out = m_answered = 0;
	m_dropped = DROP_COUNT;
	if (from_port)
		graph_to(g, NODE_CLASSIFY, b);
	else if (ip_parse(f->b, f->len, &pkt_of(b)->ip) < 0)
		rte_panic("a packet that is none\n");
	else
		graph_to(g, NODE_FILTER, b);
	graph_flush(g);
	struct rte_mbuf *punted; // a copy beside the packet's way
	while ((punted = punted_get(&m->g->gw)))
		rte_pktmbuf_free(punted);
	// The rest of the way to a peer's owner.
	if (from_port && m_n_out == 1 && !filter_out(g, m_out[0]))
		m_n_out = 0;
	for (unsigned i = 0; i < DROP_COUNT; i++) {
		if (g->drops[i] && i != DROP_RATE)
			m_dropped = (enum drop_reason)i;
	}
}

static inline void m_show(const char *what, const uint8_t *b, uint32_t len)
{
	fprintf(stderr, "%s:", what);
	for (uint32_t i = 0; i < len; i++)
		fprintf(stderr, "%s%02x", i % 4 ? "" : " ", b[i]);
	fprintf(stderr, "\n");
}

static inline const char *m_result(enum mresult r, enum drop_reason why)
{
	static const char *const names[] = {"pass", "drop", "kernel", "icmp"};
	return r == M_DROP ? drop_label(why) : names[r];
}

static inline void m_compare(struct model *m, const struct flat *in, struct mverdict *v)
{
	enum mresult is = m_n_out		    ? M_PASS
			  : m_answered		    ? M_ICMP
			  : m_dropped != DROP_COUNT ? M_DROP
						    : M_KERNEL;
	struct flat want, got;
	if (is != v->result || (is == M_DROP && m_dropped != v->drop)) {
		m_show("in", in->b, in->len);
		rte_panic("configuration %u: %s instead of %s\n", m->which, m_result(is, m_dropped),
			m_result(v->result, v->drop));
	}
	if (is != M_PASS)
		return;
	if (v->out.quote)
		v->out.quote = &v->quote;
	flow_flat(m_out[0], &got);
	rte_pktmbuf_free(m_out[0]);
	if (v->any_id)
		v->out.ip_id = (uint16_t)get16(got.b + 4);
	m_build(&v->out, &want);
	if (got.len != want.len || memcmp(got.b, want.b, got.len) != 0) {
		m_show("in  ", in->b, in->len);
		m_show("got ", got.b, got.len);
		m_show("want", want.b, want.len);
		rte_panic("configuration %u: other bytes\n", m->which);
	}
}

static inline void m_tick(struct model *m)
{
	switch (m_draw(64)) {
	case 0:
		m_time(m, 1000 * (1 + m_draw(40)));
		break;
	case 1:
		m_time(m, 1000 * 70);
		break;
	default:
		m_time(m, m_draw(100));
	}
	if (m_draw(4000) == 0)
		m_time(m, 1000 * 700); // all of it is idle
	if (m_draw(500) == 0)
		m_set_config(m, m_draw(M_CONFIGS));
	if (m_draw(500) == 0)
		m_set_rules(m, m_draw(2));
	if (m_draw(500) == 0) {
		m->jailed = !m->jailed && m_draw(2);
		atomic_store(&m->g->peer->jailed, m->jailed);
	}
}

// What is idle, but still lies there, holds its port: the model counts none of these.
static inline void m_sweep(struct model *m)
{
	struct nat_table *t = m_graph(m)->nat;
	for (uint32_t i = NAT_NIL + 1; i < t->touched; i++) {
		struct nat_flow *f = &t->flow[i];
		if (f->side[NAT_INSIDE].family != IP_NONE && nat_is_idle(t, f, (uint32_t)m->ms))
			nat_close(t, f);
	}
}

static inline void m_step(struct model *m)
{
	struct mp quote = {0};
	struct flat in;
	m_tick(m);
	if (m->which == M_FEW)
		m_sweep(m);
	bool from_port = m_draw(3) == 0;
	struct mp p = from_port ? m_from_port(m, &quote) : m_from_peer(m, &quote);
	// The model does not know which address of the pool it would get.
	if (!from_port && p.proto == M_GRE && m->which == 3)
		p.proto = IPPROTO_UDP;
	m_build(&p, &in);
	m_run(m, &in, from_port);
	struct mverdict v = from_port ? m_port(m, &p) : m_tunnel(m, &p);
	m_compare(m, &in, &v);
	m->passed += v.result == M_PASS;
	m->dropped += v.result == M_DROP;
	if (v.result == M_DROP)
		m->drops[v.drop]++;
	m->errors += v.result == M_PASS && p.quote;
	m->kernel += v.result == M_KERNEL;
	m->icmp += v.result == M_ICMP;
}
