// Other addresses for what filtered peers send: masquerading, 4via6, services, prefixes by other
// names. Flows that exist were found by FILTER; what they cost here is writing.
#include "dataplane/node/nat_packet.h"

enum {
	EXPIRE_PER_ROUND = 2 * BURST, // flows looked at: more than a round can begin
};

void nat_tcp_seen(
	struct graph *g, struct nat_flow *f, enum nat_side side, uint8_t tcp_flags, uint32_t now_ms)
{
	const unsigned both = NAT_FIN_OUT | NAT_FIN_IN;
	unsigned is = f->class, class = is;
	bool fin = tcp_flags & RTE_TCP_FIN_FLAG;
	if (tcp_flags & RTE_TCP_RST_FLAG) {
		class = NAT_TCP_CLOSING;
	} else if (side == NAT_OUTSIDE) {
		f->flags |= NAT_ANSWERED | (fin ? NAT_FIN_IN : 0);
	} else if ((tcp_flags & RTE_TCP_SYN_FLAG) && is != NAT_TCP_OPEN) {
		// The same addresses once more (RFC 9293 3.6.1).
		f->flags &= (uint8_t) ~(both | NAT_ANSWERED);
		class = NAT_TCP_OPENING;
	} else {
		f->flags |= fin ? NAT_FIN_OUT : 0;
		// A reset may be anybody's: who goes on has not believed it.
		if (f->flags & NAT_ANSWERED)
			class = NAT_TCP_OPEN;
	}
	if ((f->flags & both) == both)
		class = NAT_TCP_CLOSING;
	if (class != is)
		nat_set_class(g->nat, f, (enum nat_class) class, now_ms);
}

static enum nat_shape shape_of(const struct nat_flow *f)
{
	uint8_t proto = f->side[NAT_INSIDE].proto;
	if (likely(proto == IPPROTO_TCP || proto == IPPROTO_UDP))
		return NAT_SHAPE_PORTS;
	return f->class == NAT_ICMP ? NAT_SHAPE_ECHO : NAT_SHAPE_PLAIN;
}

static void out(struct graph *g, struct rte_mbuf *m, struct nat_flow *f, uint32_t now_ms)
{
	struct pkt *p = pkt_of(m);
	const struct nat_key *to = &f->side[NAT_OUTSIDE];
	enum nat_shape shape = shape_of(f);
	nat_seen(g, m, f, NAT_INSIDE, now_ms);
	p->nat = PKT_NAT_OUT;
	if (unlikely(to->family != p->ip.family)) {
		if (!nat_to_family(g, m, shape, NAT_INSIDE, to))
			return;
	} else if (likely(shape == NAT_SHAPE_PORTS)) {
		const rte_be16_t port[] = {to->local_port, to->remote_port};
		nat_rewrite_ports(m, &p->ip, to->local, to->remote, port);
	} else {
		struct nat_bytes b = nat_bytes_of(m);
		nat_rewrite(&b, to->local, to->remote,
			shape == NAT_SHAPE_ECHO ? &to->local_port : NULL);
	}
	graph_to(g, f->flags & NAT_HAIRPIN ? NODE_NAT_RETURN : NODE_OVERLAY, m);
}

// As it is, but for prefixes that go by other names.
static void pass(struct graph *g, struct rte_mbuf *m, const struct nat_config *c)
{
	if (c && c->n_remap > 0 && !nat_remap(g, m, c, NAT_INSIDE))
		return;
	graph_to(g, NODE_OVERLAY, m);
}

// An ICMP error from a peer, or from us about a packet to one.
static void error(struct graph *g, struct rte_mbuf *m, const struct nat_config *c,
	const struct nat_key *key, uint32_t now_ms)
{
	struct nat_decision d;
	const struct nat_flow *f = nat_lookup(g->nat, NAT_INSIDE, key, now_ms);
	if (f) {
		m = nat_error(g, m, NAT_INSIDE, f);
		if (!m)
			return;
		pkt_of(m)->nat = PKT_NAT_OUT;
		graph_to(g, NODE_OVERLAY, m);
		return;
	}
	if (c)
		nat_decide(g, c, NAT_SHAPE_ERROR, key, &d);
	if (pkt_of(m)->from == FROM_SELF || (c && d.redirected))
		graph_drop(g, m, DROP_NAT_NO_FLOW);
	else
		pass(g, m, c);
}

// What cannot begin a flow, and has none.
static void other(
	struct graph *g, struct rte_mbuf *m, const struct nat_config *c, enum nat_shape shape)
{
	static const enum drop_reason reasons[] = {
		[NAT_SHAPE_REPLY] = DROP_NAT_NO_FLOW,
		[NAT_SHAPE_ICMP] = DROP_NAT_PROTOCOL,
		[NAT_SHAPE_FRAGMENT] = DROP_NAT_FRAGMENT,
		[NAT_SHAPE_CUT] = DROP_NAT_MALFORMED,
	};
	struct nat_key key;
	struct nat_decision d;
	nat_key_of(rte_pktmbuf_mtod(m, const uint8_t *), &pkt_of(m)->ip, NAT_INSIDE, &key);
	if (c)
		nat_decide(g, c, shape, &key, &d);
	// A reply to an echo that began on our side is nobody's flow.
	if (!c || d.way == NAT_AS_IT_IS || (shape == NAT_SHAPE_REPLY && !d.redirected))
		pass(g, m, c);
	else
		graph_drop(g, m, reasons[shape]);
}

// Whether a packet answers what began on our side, where nothing is translated.
static bool is_answer(struct graph *g, const struct rte_mbuf *m)
{
	const struct ip_info *ip = &pkt_of((struct rte_mbuf *)(uintptr_t)m)->ip;
	if (ip->proto == IPPROTO_TCP) {
		uint8_t f = rte_pktmbuf_mtod_offset(m, const struct rte_tcp_hdr *, ip->l3_len)
				    ->tcp_flags;
		uint8_t syn_ack = RTE_TCP_SYN_FLAG | RTE_TCP_ACK_FLAG;
		if ((f & RTE_TCP_RST_FLAG) || (f & syn_ack) == syn_ack)
			return true;
	}
	return filter_is_answer(g, m);
}

static enum nat_class class_of(const struct ip_info *ip, enum nat_shape shape)
{
	if (shape == NAT_SHAPE_PORTS)
		return ip->proto == IPPROTO_TCP ? NAT_TCP_OPENING : NAT_UDP;
	return shape == NAT_SHAPE_ECHO ? NAT_ICMP : NAT_OTHER;
}

// A flow as was decided; NULL: its packet has ended.
static struct nat_flow *open_flow(struct graph *g, struct rte_mbuf *m, const struct nat_config *c,
	enum nat_shape shape, struct nat_new *new)
{
	static const enum drop_reason reasons[NAT_REFUSALS] = {
		[NAT_REFUSED_CLIENT] = DROP_NAT_CLIENT,
		[NAT_REFUSED_PORTS] = DROP_NAT_PORTS,
		[NAT_REFUSED_FULL] = DROP_NAT_FULL,
	};
	const struct pkt *p = pkt_of(m);
	const struct rules *rules = atomic_load_explicit(&g->gw->rules, memory_order_acquire);
	enum nat_refusal why;
	new->class = class_of(&p->ip, shape);
	new->generation = rules_generation(rules);
	if (atomic_load_explicit(&p->peer->jailed, memory_order_relaxed))
		new->flags |= NAT_JAILED;
	struct nat_flow *f = nat_open(g->nat, c, new, &why);
	if (!f)
		graph_drop(g, m, reasons[why]);
	return f;
}

static void refuse(struct graph *g, struct rte_mbuf *m, const struct nat_decision *d)
{
	if (d->drop == DROP_NAT_CLOSED)
		icmp_reply(g, m, ICMP_PORT_CLOSED, 0);
	else if (d->drop == DROP_NAT_UNREACHABLE && !d->nexthop)
		icmp_reply(g, m, ICMP_NO_ROUTE, 0);
	else
		graph_drop(g, m, d->drop);
}

static void wait_for_next_hop(struct graph *g, struct rte_mbuf *m)
{
	struct pkt *p = pkt_of(m);
	p->counter = p->peer->id;
	p->nat = PKT_NAT_WAITS;
	p->reason = PUNT_RESOLVE;
	graph_to(g, NODE_PUNT, m);
}

// No flow was known when FILTER looked, or it was one for any remote and this is a new one.
static void begin(struct graph *g, struct rte_mbuf *m, const struct nat_config *c, uint32_t now_ms)
{
	struct nat_key key;
	struct nat_decision d;
	enum nat_shape shape = nat_shape_of(m, &pkt_of(m)->ip, NAT_INSIDE, &key);
	if (shape > NAT_SHAPE_KEYED) {
		if (shape == NAT_SHAPE_ERROR)
			error(g, m, c, &key, now_ms);
		else
			other(g, m, c, shape);
		return;
	}
	struct nat_flow *f = nat_lookup(g->nat, NAT_INSIDE, &key, now_ms);
	if (f && (!(f->flags & NAT_ANY_REMOTE) || nat_same_remote(&f->side[NAT_INSIDE], &key))) {
		out(g, m, f, now_ms);
		return;
	}
	if (!c) {
		pass(g, m, c);
		return;
	}
	nat_decide(g, c, shape, &key, &d);
	d.new.now_ms = now_ms;
	if (d.way == NAT_REFUSED) {
		refuse(g, m, &d);
	} else if (d.way == NAT_AS_IT_IS) {
		pass(g, m, c);
	} else if (f && (d.new.flags &NAT_ANY_REMOTE)) {
		nat_set_remote(f, &key, d.new.flags &NAT_HAIRPIN);
		out(g, m, f, now_ms);
	} else if (is_answer(g, m)) {
		if (d.redirected)
			graph_drop(g, m, DROP_NAT_NO_FLOW);
		else
			pass(g, m, c);
	} else if (d.way == NAT_UNDECIDED) {
		wait_for_next_hop(g, m);
	} else if ((f = open_flow(g, m, c, shape, &d.new))) {
		out(g, m, f, now_ms);
	}
}

void node_nat(struct graph *g, struct rte_mbuf **pkts, uint16_t n)
{
	const struct nat_config *c = atomic_load_explicit(&g->gw->nat, memory_order_acquire);
	uint32_t now_ms = nat_ms(g->now, g->gw->tsc_per_ns);
	for (unsigned i = 0; i < n; i++) {
		struct nat_flow *f = pkt_of(pkts[i])->flow;
		if (likely(f))
			out(g, pkts[i], f, now_ms);
		else
			begin(g, pkts[i], c, now_ms);
	}
}

bool nat_round(struct graph *g)
{
	const struct nat_config *c = atomic_load_explicit(&g->gw->nat, memory_order_acquire);
	struct nat_table *t = g->nat;
	nat_idle_times(t, c);
	if (nat_config_translates(c) && c->port_first <= c->port_last) {
		g->nat_port_first = RTE_MIN(g->nat_port_first, c->port_first);
		g->nat_port_last = RTE_MAX(g->nat_port_last, c->port_last);
	}
	bool more = nat_expire(t, nat_ms(g->now, g->gw->tsc_per_ns), EXPIRE_PER_ROUND);
	g->counters[COUNTER_NAT_CREATED] = t->created;
	g->counters[COUNTER_NAT_EXPIRED] = t->expired;
	g->counters[COUNTER_NAT_EVICTED] = t->evicted;
	return more;
}
