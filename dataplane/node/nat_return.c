// What comes for outside addresses, on its way back to the peer whose flow it is of.
#include "dataplane/node/nat_packet.h"
#include "dataplane/port/gso.h"

// Out of the translation: into the tunnel, and nowhere else.
static void finish(struct graph *g, struct rte_mbuf *m, struct fib_cache *cache)
{
	struct pkt *p = pkt_of(m);
	p->nat = PKT_NAT_IN;
	p->nexthop =
		fib_cached(g->gw->fib, cache, rte_pktmbuf_mtod(m, const uint8_t *), p->ip.family);
	if (unlikely(!p->nexthop))
		icmp_reply(g, m, ICMP_NO_ROUTE, 0);
	else if (unlikely(p->nexthop->type != NH_TUNNEL))
		graph_drop(g, m, DROP_NAT_UNREACHABLE);
	else
		graph_to(g, NODE_OVERLAY, m);
}

// The packet becomes the peer's. False: it has ended.
static bool translate(struct graph *g, struct rte_mbuf *m, const struct nat_flow *f,
	enum nat_shape shape, const struct nat_key *seen)
{
	const struct pkt *p = pkt_of(m);
	const struct nat_key *to = &f->side[NAT_INSIDE];
	bool any = f->flags & NAT_ANY_REMOTE;
	const uint8_t *src = any ? NULL : to->remote;
	if (unlikely(to->family != p->ip.family))
		return nat_to_family(g, m, shape, NAT_OUTSIDE, to);
	if (likely(shape == NAT_SHAPE_PORTS)) {
		const rte_be16_t port[] = {
			any ? seen->remote_port : to->remote_port, to->local_port};
		nat_rewrite_ports(m, &p->ip, src, to->local, port);
	} else {
		struct nat_bytes b = nat_bytes_of(m);
		nat_rewrite(&b, src, to->local, shape == NAT_SHAPE_ECHO ? &to->local_port : NULL);
	}
	return true;
}

// Nobody's: the host's own, or too late.
static void nobody(struct graph *g, struct rte_mbuf *m)
{
	if (pkt_of(m)->from == FROM_PORT)
		leave_to_kernel(g, m, true);
	else
		graph_drop(g, m, DROP_NAT_NO_FLOW);
}

static bool has_port(const struct nat_key *k)
{
	return k->proto == IPPROTO_TCP || k->proto == IPPROTO_UDP ||
	       k->proto == (k->family == IP_V4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
}

static uint16_t owner_of(const struct graph *g, const struct nat_key *k)
{
	uint16_t n = g->gw->n_workers;
	uint16_t owner = has_port(k) ? nat_port_owner(rte_be_to_cpu_16(k->local_port), n)
				     : nat_claim_owner(&g->gw->nat_claims, k);
	return owner < n ? owner : g->id;
}

// The checksum of an ICMP packet that was left to the hardware.
static bool complete_icmp(struct graph *g, struct rte_mbuf *m)
{
	if (!pkt_is_unfinished(m) || !nat_is_icmp(&pkt_of(m)->ip))
		return true;
	if (pkt_is_super(m) || gso_csum_complete(m, &pkt_of(m)->ip) < 0) {
		graph_drop(g, m, DROP_NAT_MALFORMED);
		return false;
	}
	m->ol_flags &= PKT_BUFFER_FLAGS;
	return true;
}

static void one(struct graph *g, struct rte_mbuf *m, struct nat_burst *b, unsigned i,
	struct fib_cache *cache, uint32_t now_ms)
{
	enum nat_shape shape = (enum nat_shape)b->shape[i];
	struct nat_flow *f = b->flow[i];
	if (unlikely(shape > NAT_SHAPE_ERROR)) {
		nobody(g, m);
		return;
	}
	uint16_t owner = owner_of(g, &b->key[i]);
	if (unlikely(owner != g->id)) {
		handoff_to(g, m, owner, NODE_NAT_RETURN);
		return;
	}
	if (unlikely(shape == NAT_SHAPE_ERROR))
		f = nat_lookup(g->nat, NAT_OUTSIDE, &b->key[i], now_ms);
	if (unlikely(!f)) {
		nobody(g, m);
		return;
	}
	if (!complete_icmp(g, m))
		return;
	if (unlikely(shape == NAT_SHAPE_ERROR)) {
		m = nat_error(g, m, NAT_OUTSIDE, f);
		if (m)
			finish(g, m, cache);
		return;
	}
	nat_seen(g, m, f, NAT_OUTSIDE, now_ms);
	if (translate(g, m, f, shape, &b->key[i]))
		finish(g, m, cache);
}

void node_nat_return(struct graph *g, struct rte_mbuf **pkts, uint16_t n)
{
	struct nat_burst b;
	struct fib_cache cache = {0};
	uint32_t now_ms = nat_ms(g->now, g->gw->tsc_per_ns);
	nat_burst_find(g, pkts, n, NAT_OUTSIDE, now_ms, &b);
	for (unsigned i = 0; i < n; i++)
		one(g, pkts[i], &b, i, &cache, now_ms);
}

bool nat_is_return(struct graph *g, const struct rte_mbuf *m, const struct ip_info *ip,
	const struct nexthop *nh)
{
	const struct nat_config *c = atomic_load_explicit(&g->gw->nat, memory_order_acquire);
	struct nat_key key;
	if (!(nh && nh->type == NH_LOCAL) && !(c && c->n_pool > 0))
		return false;
	if (nat_shape_of(m, ip, NAT_OUTSIDE, &key) > NAT_SHAPE_ERROR)
		return false;
	if (!has_port(&key))
		return nat_claim_owner(&g->gw->nat_claims, &key) < g->gw->n_workers;
	return nat_is_outside(g, c, key.local, key.family, rte_be_to_cpu_16(key.local_port), nh);
}

// A service of the host, which answers to the peer's own address.
static bool from_service(struct graph *g, struct rte_mbuf *m, bool *ended)
{
	struct pkt *p = pkt_of(m);
	struct nat_key key;
	uint32_t now_ms = nat_ms(g->now, g->gw->tsc_per_ns);
	enum nat_shape shape = nat_shape_of(m, &p->ip, NAT_OUTSIDE, &key);
	*ended = false;
	if (shape > NAT_SHAPE_ERROR)
		return false;
	struct nat_flow *f = nat_lookup(g->nat, NAT_OUTSIDE, &key, now_ms);
	if (!f || !(f->flags & NAT_OWN_SOURCE))
		return false;
	*ended = !complete_icmp(g, m);
	if (*ended)
		return true;
	p->nat = PKT_NAT_IN;
	if (shape == NAT_SHAPE_ERROR) {
		*ended = nat_error(g, m, NAT_OUTSIDE, f) == NULL; // of one family: m itself
		return true;
	}
	nat_seen(g, m, f, NAT_OUTSIDE, now_ms);
	*ended = !translate(g, m, f, shape, &key);
	return true;
}

bool nat_towards_peer(struct graph *g, struct rte_mbuf *m)
{
	const struct nat_config *c = atomic_load_explicit(&g->gw->nat, memory_order_acquire);
	bool ended;
	if (g->nat->n_own_source > 0 && from_service(g, m, &ended))
		return !ended;
	return !c || c->n_remap == 0 || nat_remap(g, m, c, NAT_OUTSIDE);
}
