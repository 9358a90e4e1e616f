// Tell a sender why its packet ended here: RFC 792, 1812 (4.3), 4443. Rate-limited, never about
// another error, a later fragment or an address that cannot be answered.
#include <rte_icmp.h>
#include <rte_ip_frag.h>

#include "dataplane/node/icmp_build.h"
#include "dataplane/node/node.h"
#include "dataplane/node/output.h"
#include "dataplane/node/reassemble.h"
#include "dataplane/port/gso.h"
#include "dataplane/wire/csum.h"

enum {
	ICMP_BURST_MS = 50, // tokens that gather while nothing is sent
	FRAGMENTS_MAX = 64,
};

static const struct {
	uint8_t type4, code4, type6, code6;
	enum drop_reason drop;
} icmp_kinds[] = {
	[ICMP_TTL] = {11, 0, 3, 0, DROP_TTL},
	[ICMP_TOO_BIG] = {3, 4, 2, 0, DROP_TOO_BIG},
	[ICMP_NO_ROUTE] = {3, 0, 1, 0, DROP_NO_ROUTE},
	[ICMP_NO_PEER] = {3, 1, 1, 3, DROP_NO_PEER},
	[ICMP_NO_ENDPOINT] = {3, 1, 1, 3, DROP_NO_ENDPOINT},
	[ICMP_NO_KEY] = {3, 1, 1, 3, DROP_NO_KEY},
	[ICMP_NO_NEIGHBOUR] = {3, 1, 1, 3, DROP_NEIGHBOUR},
	[ICMP_PROHIBITED] = {3, 13, 1, 1, DROP_BLACKHOLE},
	[ICMP_PORT_CLOSED] = {3, 3, 1, 4, DROP_NAT_CLOSED},
};

// One token is 1/icmp_rate of a second.
bool icmp_token(struct graph *g)
{
	uint32_t rate = atomic_load_explicit(&g->gw->icmp_rate, memory_order_relaxed);
	if (rate == 0)
		return false;
	uint64_t price = (uint64_t)(g->gw->tsc_per_ns * 1e9) / rate;
	uint64_t most = (uint64_t)(g->gw->tsc_per_ns * 1e6) * ICMP_BURST_MS + price;
	g->icmp_tokens = RTE_MIN(g->icmp_tokens + (g->now - g->icmp_refilled), most);
	g->icmp_refilled = g->now;
	if (g->icmp_tokens < price)
		return false;
	g->icmp_tokens -= price;
	return true;
}

// Our address on the side where the packet came from; the tunnel's for what came through it.
static bool source(const struct graph *g, const struct pkt *p, uint8_t *to)
{
	uint16_t port = p->from == FROM_PORT ? p->port_in : g->gw->host_port;
	for (unsigned i = 0; i < 2; i++, port = g->gw->host_port) {
		if (port == PORT_NONE)
			continue;
		if (p->ip.family == IP_V4) {
			uint32_t a = atomic_load_explicit(
				&g->gw->port_addr4[port], memory_order_relaxed);
			memcpy(to, &a, 4);
			if (a)
				return true;
		} else {
			const struct ip_addr *a = atomic_load_explicit(
				&g->gw->port_addr6[port], memory_order_acquire);
			if (a) {
				memcpy(to, a->bytes, 16);
				return true;
			}
		}
	}
	return false;
}

// The host's own kernel believes nothing that seems to come from an address of its own: its packets
// are too big for where they were going to.
static bool source_to_host(const struct rte_mbuf *m, const struct pkt *p, uint8_t *to)
{
	const uint8_t *l3 = rte_pktmbuf_mtod(m, const uint8_t *);
	if (p->from != FROM_HOST || p->reason != ICMP_TOO_BIG)
		return false;
	if (p->ip.family == IP_V4)
		memcpy(to, l3 + 16, 4);
	else
		memcpy(to, l3 + 24, 16);
	return true;
}

// Where an error enters: what was translated is named in it, so it has to be translated, too.
static enum node_id entry_of(const struct pkt *cause)
{
	if (likely(cause->nat == PKT_NAT_NONE))
		return NODE_ROUTE;
	return cause->nat == PKT_NAT_OUT ? NODE_NAT_RETURN : NODE_NAT;
}

// The error as a new packet, to be routed in the next round.
static void reply(struct graph *g, const struct rte_mbuf *m, const struct pkt *p)
{
	uint8_t src[16];
	bool v4 = p->ip.family == IP_V4;
	uint16_t head = icmp_head_len(p->ip.family);
	uint16_t quote = RTE_MIN(m->data_len, (v4 ? ICMP4_LEN_MAX : ICMP6_LEN_MAX) - head);
	if (g->later.n == BURST || (!source_to_host(m, p, src) && !source(g, p, src)))
		return;
	struct rte_mbuf *e = pkt_alloc(g);
	if (!e)
		return;
	uint8_t *out = (uint8_t *)rte_pktmbuf_append(e, head + quote);
	icmp_build(
		out, &(struct icmp_answer){
			     .family = p->ip.family,
			     .type = v4 ? icmp_kinds[p->reason].type4 : icmp_kinds[p->reason].type6,
			     .code = v4 ? icmp_kinds[p->reason].code4 : icmp_kinds[p->reason].code6,
			     .mtu = p->mtu,
			     .id = g->ip_id++,
			     .quote = quote,
			     .cause = rte_pktmbuf_mtod(m, const uint8_t *),
			     .src = src,
		     });
	struct pkt *ep = pkt_of(e);
	ep->from = FROM_SELF;
	ep->port_in = p->port_in;
	ep->node = (uint8_t)entry_of(p);
	ep->ip = (struct ip_info){
		.family = p->ip.family,
		.proto = v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6,
		.ttl = ICMP_TTL_SENT,
		.l3_len = v4 ? IP4_HDR_LEN : IP6_HDR_LEN,
		.total_len = (uint32_t)head + quote,
	};
	g->later.pkts[g->later.n++] = e;
	graph_count(g, COUNTER_ICMP_SENT, 1);
}

void node_icmp_error(struct graph *g, struct rte_mbuf **pkts, uint16_t n)
{
	for (unsigned i = 0; i < n; i++) {
		struct rte_mbuf *m = pkts[i];
		const struct pkt *p = pkt_of(m);
		if (icmp_answerable(rte_pktmbuf_mtod(m, const uint8_t *), m->data_len, &p->ip)) {
			if (icmp_token(g))
				reply(g, m, p);
			else
				g->drops[DROP_RATE]++;
		}
		graph_drop(g, m, icmp_kinds[p->reason].drop);
	}
}

// Fragments that we put together ourselves may always be cut again.
static bool may_not_be_cut(const struct graph *g, const struct ip_info *ip, enum node_id node)
{
	if (ip->flags & IP_FLAG_WHOLE)
		return false;
	return ip->family == IP_V6 || (ip->flags & IP_FLAG_DF) ||
	       (node == NODE_WG_ROUTE &&
		       !atomic_load_explicit(&g->gw->fragment, memory_order_relaxed));
}

void too_big(struct graph *g, struct rte_mbuf *m, uint16_t mtu, enum node_id node)
{
	struct rte_mbuf *out[FRAGMENTS_MAX];
	struct pkt *p = pkt_of(m);
	bool v6 = p->ip.family == IP_V6;
	bool told = icmp_vxlan_too_big(g, m, mtu);
	bool whole = may_not_be_cut(g, &p->ip, node);
	if (whole || (pkt_is_super(m) && !(told && pkt_is_tunnel_super(m)))) {
		icmp_reply(g, m, ICMP_TOO_BIG, mtu);
		return;
	}
	if (told) { // the host inside asked for it, and fragments would only be more packets
		graph_drop(g, m, DROP_TOO_BIG);
		return;
	}
	bool ready = (!pkt_is_unfinished(m) || gso_csum_complete(m, &p->ip) == 0) &&
		     rte_pktmbuf_linearize(m) == 0;
	if (ready && v6) {
		fragment_again6(g, m, mtu, node);
		return;
	}
	int n = !ready ? -1
		       : rte_ipv4_fragment_copy_nonseg_packet(
				 m, out, FRAGMENTS_MAX, mtu, pkt_pool(g->gw, mtu));
	if (n < 0) {
		graph_drop(g, m, DROP_NO_MBUF);
		return;
	}
	for (int i = 0; i < n; i++) {
		uint8_t *l3 = rte_pktmbuf_mtod(out[i], uint8_t *);
		pkt_inherit(out[i], m);
		csum_ip4_hdr_set(l3, rte_ipv4_hdr_len((void *)l3));
		out[i]->ol_flags = 0;
		if (ip_parse(l3, out[i]->pkt_len, &pkt_of(out[i])->ip) < 0)
			graph_drop(g, out[i], DROP_IP_MALFORMED);
		else
			graph_to(g, node, out[i]);
	}
	graph_count(g, COUNTER_FRAGMENTED, 1);
	rte_pktmbuf_free(m);
}
