// Tell a sender why its packet ended here: RFC 792, 1812 (4.3), 4443. Rate-limited, never about
// another error, a later fragment or an address that cannot be answered.
#include <rte_icmp.h>
#include <rte_ip_frag.h>

#include "dataplane/node/node.h"
#include "dataplane/node/output.h"
#include "dataplane/node/reassemble.h"
#include "dataplane/port/gso.h"
#include "dataplane/wire/csum.h"

enum {
	ICMP4_LEN_MAX = 576,  // RFC 1812 4.3.2.3
	ICMP6_LEN_MAX = 1280, // RFC 4443 2.4 (c)
	ICMP_HDR_LEN = 8,
	ICMP_TTL_SENT = 64,
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

// Whether the sender may be answered at all.
static bool answerable4(const uint8_t *l3)
{
	uint8_t s = l3[12], d = l3[16];
	return s != 0 && s != 127 && s < 224 && d < 224;
}

static bool answerable6(const uint8_t *l3)
{
	static const uint8_t zero[15];
	bool nobody = memcmp(l3 + 8, zero, 15) == 0 && l3[23] <= 1; // :: and ::1
	return !nobody && l3[8] != 0xff && l3[24] != 0xff;
}

// Errors are never answered: ICMPv4 other than queries, ICMPv6 types below 128.
static bool is_icmp_error(const struct rte_mbuf *m, const struct ip_info *ip)
{
	if (m->data_len <= ip->l3_len)
		return true;
	uint8_t type = *rte_pktmbuf_mtod_offset(m, uint8_t *, ip->l3_len);
	if (ip->proto == IPPROTO_ICMP)
		return type != 8 && type != 0 && type != 13 && type != 14;
	return ip->proto == IPPROTO_ICMPV6 && type < 128;
}

static bool answerable(const struct rte_mbuf *m, const struct pkt *p)
{
	const uint8_t *l3 = rte_pktmbuf_mtod(m, const uint8_t *);
	if ((p->ip.flags & IP_FLAG_FRAG_TAIL) || is_icmp_error(m, &p->ip))
		return false;
	return p->ip.family == IP_V4 ? answerable4(l3) : answerable6(l3);
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

static void build4(struct graph *g, uint8_t *out, const uint8_t *cause, uint16_t quote,
	const struct pkt *p, const uint8_t *src)
{
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)out;
	uint8_t *icmp = out + IP4_HDR_LEN;
	*ip = (struct rte_ipv4_hdr){
		.version_ihl = 0x45,
		.type_of_service = 0xc0, // RFC 1812 4.3.2.5: internetwork control
		.total_length = rte_cpu_to_be_16(IP4_HDR_LEN + ICMP_HDR_LEN + quote),
		.packet_id = rte_cpu_to_be_16(g->ip_id++),
		.time_to_live = ICMP_TTL_SENT,
		.next_proto_id = IPPROTO_ICMP,
	};
	memcpy(&ip->src_addr, src, 4);
	memcpy(&ip->dst_addr, cause + 12, 4);
	csum_ip4_hdr_set(out, IP4_HDR_LEN);
	memset(icmp, 0, ICMP_HDR_LEN);
	icmp[0] = icmp_kinds[p->reason].type4;
	icmp[1] = icmp_kinds[p->reason].code4;
	rte_be16_t mtu = rte_cpu_to_be_16(p->mtu);
	memcpy(icmp + 6, &mtu, 2); // RFC 1191
	memcpy(icmp + ICMP_HDR_LEN, cause, quote);
	uint16_t csum = csum_finish(csum_add(icmp, ICMP_HDR_LEN + quote, 0));
	memcpy(icmp + 2, &csum, 2);
}

static void build6(
	uint8_t *out, const uint8_t *cause, uint16_t quote, const struct pkt *p, const uint8_t *src)
{
	struct rte_ipv6_hdr *ip = (struct rte_ipv6_hdr *)out;
	uint8_t *icmp = out + IP6_HDR_LEN;
	*ip = (struct rte_ipv6_hdr){
		.vtc_flow = rte_cpu_to_be_32(6u << 28),
		.payload_len = rte_cpu_to_be_16(ICMP_HDR_LEN + quote),
		.proto = IPPROTO_ICMPV6,
		.hop_limits = ICMP_TTL_SENT,
	};
	memcpy(ip->src_addr, src, 16);
	memcpy(ip->dst_addr, cause + 8, 16);
	memset(icmp, 0, ICMP_HDR_LEN);
	icmp[0] = icmp_kinds[p->reason].type6;
	icmp[1] = icmp_kinds[p->reason].code6;
	rte_be32_t mtu = rte_cpu_to_be_32(p->mtu);
	memcpy(icmp + 4, &mtu, 4);
	memcpy(icmp + ICMP_HDR_LEN, cause, quote);
	uint64_t sum = csum_pseudo6(out, IPPROTO_ICMPV6, ICMP_HDR_LEN + quote);
	uint16_t csum = csum_finish(csum_add(icmp, ICMP_HDR_LEN + quote, sum));
	memcpy(icmp + 2, &csum, 2);
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
	uint16_t head = ICMP_HDR_LEN + (v4 ? IP4_HDR_LEN : IP6_HDR_LEN);
	uint16_t quote = RTE_MIN(m->data_len, (v4 ? ICMP4_LEN_MAX : ICMP6_LEN_MAX) - head);
	if (g->later.n == BURST || !source(g, p, src))
		return;
	struct rte_mbuf *e = pkt_alloc(g);
	if (!e)
		return;
	uint8_t *out = (uint8_t *)rte_pktmbuf_append(e, head + quote);
	const uint8_t *cause = rte_pktmbuf_mtod(m, const uint8_t *);
	if (v4)
		build4(g, out, cause, quote, p, src);
	else
		build6(out, cause, quote, p, src);
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
		if (answerable(m, p)) {
			if (icmp_token(g))
				reply(g, m, p);
			else
				g->drops[DROP_RATE]++;
		}
		graph_drop(g, m, icmp_kinds[p->reason].drop);
	}
}

void too_big(struct graph *g, struct rte_mbuf *m, uint16_t mtu, enum node_id node)
{
	struct rte_mbuf *out[FRAGMENTS_MAX];
	struct pkt *p = pkt_of(m);
	bool v6 = p->ip.family == IP_V6;
	if ((v6 ? !(p->ip.flags & IP_FLAG_WHOLE) : p->ip.flags & IP_FLAG_DF) || pkt_is_super(m)) {
		icmp_reply(g, m, ICMP_TOO_BIG, mtu);
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
