// The packet filter of a tailnet, default drop, for what comes from its peers: by rules what begins
// here, by state or shape what answers. What goes to them is only remembered. Order and exceptions
// are those of tailscale (wgengine/filter/filter.go, net/packet/packet.go), so that both sides of a
// connection mean the same; but fragments are judged as the whole packet that reassemble made.
#include "dataplane/node/nat_packet.h"

enum {
	PROTO_TSMP = 99, // between the nodes themselves; never the host's
	PROTO_IP6_FRAGMENT = 44,
	IP6_FRAGMENT_LEN = 8,
	ICMP_LEN_LEAST = 4,
	ICMP_ECHO_LEN = 8,
	IGMP_LEN_LEAST = 8,
	SCTP_HDR_LEN = 12,
	TSMP_LEN_LEAST = 7, // a rejection
	TSMP_PER_S = 20,    // of one peer
	TSMP_BURST = 16,
	ACCEPT = -1, // else enum drop_reason
};

// A rejected connection, for the node that began it. (tailscale net/packet/tsmp.go)
struct tsmp_reject {
	uint8_t type;
	uint8_t proto;
	uint8_t reason;
	rte_be16_t sport, dport; // of the rejected packet
} __attribute__((packed));
static_assert(sizeof(struct tsmp_reject) == TSMP_LEN_LEAST, "tsmp.go: minTSMPSize");

enum {
	TSMP_REJECT = '!',
	TSMP_REASON_ACL = 'A',
	TSMP_REASON_SHIELDS = 'S',
};

static const uint8_t *src_of(const uint8_t *l3, uint8_t family)
{
	return l3 + (family == IP_V4 ? 12 : 8);
}

static const uint8_t *dst_of(const uint8_t *l3, uint8_t family)
{
	return l3 + (family == IP_V4 ? 16 : 24);
}

// Cloud machines answer at this one link-local address.
static bool is_link_local(const uint8_t *dst, uint8_t family)
{
	static const uint8_t metadata[] = {169, 254, 169, 254};
	if (family == IP_V6)
		return dst[0] == 0xfe && (dst[1] & 0xc0) == 0x80;
	return dst[0] == 169 && dst[1] == 254 && memcmp(dst, metadata, sizeof(metadata)) != 0;
}

// Bytes of L4 header without which nothing can be told of a packet.
static uint32_t l4_least(const struct ip_info *ip)
{
	switch (ip->proto) {
	case IPPROTO_TCP:
		return TCP_HDR_LEN;
	case IPPROTO_UDP:
		return UDP_HDR_LEN;
	case IPPROTO_SCTP:
		return SCTP_HDR_LEN;
	case IPPROTO_ICMP:
		return ip->family == IP_V4 ? ICMP_LEN_LEAST : 0;
	case IPPROTO_ICMPV6:
		return ip->family == IP_V6 ? ICMP_LEN_LEAST : 0;
	case IPPROTO_IGMP:
		return ip->family == IP_V4 ? IGMP_LEN_LEAST : 0;
	case PROTO_TSMP:
		return TSMP_LEN_LEAST;
	default:
		return 0;
	}
}

// Whether what the verdict goes by can be read: all of the L4 header, no extension header of IPv6
// but a fragment's (of what goes out). m: in one piece as far as its L4 header goes.
static bool is_plain(const struct rte_mbuf *m, const struct ip_info *ip)
{
	const uint8_t *l3 = rte_pktmbuf_mtod(m, const uint8_t *);
	bool fragment = ip->family == IP_V6 && l3[6] == PROTO_IP6_FRAGMENT &&
			ip->l3_len == IP6_HDR_LEN + IP6_FRAGMENT_LEN;
	if (ip->family == IP_V6 && ip->l3_len != IP6_HDR_LEN && !fragment)
		return false;
	if (ip->flags & IP_FLAG_FRAG_TAIL) // has none
		return false;
	return m->data_len >= ip->l3_len + l4_least(ip);
}

// Ports of TCP, UDP and SCTP stand at the same place.
static rte_be16_t port_at(const uint8_t *l4, unsigned offset)
{
	rte_be16_t port;
	memcpy(&port, l4 + offset, sizeof(port));
	return port;
}

// The flow of a packet that came in, or of the answer to one that goes out. The key is written in
// whole words, as its hash reads it.
static struct flow_key flow_of(const struct rte_mbuf *m, const struct ip_info *ip, bool out)
{
	const uint8_t *l3 = rte_pktmbuf_mtod(m, const uint8_t *);
	const uint8_t *src = src_of(l3, ip->family), *dst = dst_of(l3, ip->family);
	uint64_t rest = (uint64_t)ip->proto << 40 | (uint64_t)ip->family << 32;
	struct flow_key key;
	if (ip->proto == IPPROTO_TCP || ip->proto == IPPROTO_UDP || ip->proto == IPPROTO_SCTP) {
		uint32_t ports = (uint32_t)csum_load32(l3 + ip->l3_len);
		rest |= out ? ports << 16 | ports >> 16 : ports;
	}
	nat_put_address(key.remote, out ? dst : src, ip->family);
	nat_put_address(key.local, out ? src : dst, ip->family);
	memcpy((uint8_t *)&key + offsetof(struct flow_key, remote_port), &rest, sizeof(rest));
	return key;
}
static_assert(offsetof(struct flow_key, local_port) == offsetof(struct flow_key, remote_port) + 2);
static_assert(offsetof(struct flow_key, family) == offsetof(struct flow_key, remote_port) + 4);
static_assert(offsetof(struct flow_key, proto) == offsetof(struct flow_key, remote_port) + 5);
static_assert(sizeof(struct flow_key) == offsetof(struct flow_key, remote_port) + 8);

static bool is_stateful(const struct ip_info *ip)
{
	return (ip->proto == IPPROTO_UDP || ip->proto == IPPROTO_SCTP) &&
	       !(ip->flags & IP_FLAG_FRAG_TAIL);
}

// An echo reply, or an error about something that we sent.
static bool is_icmp_answer(const struct rte_mbuf *m, const struct ip_info *ip)
{
	const uint8_t *icmp = rte_pktmbuf_mtod_offset(m, const uint8_t *, ip->l3_len);
	if (m->data_len < ip->l3_len + ICMP_ECHO_LEN)
		return false;
	if (ip->family == IP_V4)
		return (icmp[0] == 0 && icmp[1] == 0) || icmp[0] == 3 || icmp[0] == 11 ||
		       icmp[0] == 12;
	return (icmp[0] == 129 && icmp[1] == 0) || (icmp[0] >= 1 && icmp[0] <= 4);
}

static bool is_icmp(const struct ip_info *ip)
{
	return ip->proto == (ip->family == IP_V4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
}

static bool is_syn(const struct rte_mbuf *m, const struct ip_info *ip)
{
	const struct rte_tcp_hdr *tcp =
		rte_pktmbuf_mtod_offset(m, const struct rte_tcp_hdr *, ip->l3_len);
	return (tcp->tcp_flags & (RTE_TCP_SYN_FLAG | RTE_TCP_ACK_FLAG)) == RTE_TCP_SYN_FLAG;
}

// Whether a packet that answers nothing may come in. rules: NULL, nothing may.
static bool may_begin(const struct rules *rules, const struct rte_mbuf *m, const struct ip_info *ip)
{
	const uint8_t *l3 = rte_pktmbuf_mtod(m, const uint8_t *);
	struct rule_query q = {
		.src = src_of(l3, ip->family),
		.dst = dst_of(l3, ip->family),
		.family = ip->family,
		.proto = ip->proto,
	};
	if (!rules)
		return false;
	if (is_icmp(ip))
		return rules_allow(rules, &q, RULE_ANY_PORT);
	if (ip->proto != IPPROTO_TCP && !is_stateful(ip))
		return rules_allow(rules, &q, RULE_ALL_PORTS);
	q.port = rte_be_to_cpu_16(port_at(l3 + ip->l3_len, 2));
	return rules_allow(rules, &q, RULE_PORT);
}

// The last destination of this burst that is local: packets of a flow come in runs.
struct local_cache {
	uint8_t addr[16];
	uint8_t family;
};

static bool is_cached(const struct local_cache *c, const uint8_t *dst, uint8_t family)
{
	if (c->family != family)
		return false;
	return family == IP_V4 ? memcmp(c->addr, dst, 4) == 0 : memcmp(c->addr, dst, 16) == 0;
}

// Where sources stay as they are, an answer needs a route of others: what has to be answered is
// noted until something comes.
static void note_request(struct graph *g, const struct ip_info *ip, const uint8_t *dst)
{
	const struct nat_config *c = atomic_load_explicit(&g->gw->nat, memory_order_acquire);
	if (c && !c->snat && (ip->proto == IPPROTO_TCP || is_icmp(ip)))
		unanswered_request(g->unanswered, (enum ip_family)ip->family, dst, g->now);
}

// ACCEPT, or why the packet ends.
static int judge(struct graph *g, const struct rules *rules, const struct rte_mbuf *m,
	struct local_cache *local)
{
	const struct pkt *p = pkt_of((struct rte_mbuf *)(uintptr_t)m);
	const struct ip_info *ip = &p->ip;
	const uint8_t *dst = dst_of(rte_pktmbuf_mtod(m, const uint8_t *), ip->family);
	struct flow_key key;
	if (!is_plain(m, ip))
		return DROP_FILTER_MALFORMED;
	if (!is_cached(local, dst, ip->family)) {
		if (pkt_is_multicast(m, ip) || is_link_local(dst, ip->family))
			return DROP_FILTER_SCOPE;
		if (!rules || !rules_is_local(rules, ip->family, dst))
			return DROP_FILTER_NOT_LOCAL;
		memcpy(local->addr, dst, ip->family == IP_V4 ? 4 : 16);
		local->family = ip->family;
	}
	if (ip->proto == IPPROTO_TCP && !is_syn(m, ip))
		return ACCEPT;
	if (is_icmp(ip) && is_icmp_answer(m, ip))
		return ACCEPT;
	if (is_stateful(ip)) {
		key = flow_of(m, ip, false);
		if (flow_known(g->flows, &key))
			return ACCEPT;
	}
	bool jailed = atomic_load_explicit(&p->peer->jailed, memory_order_relaxed);
	if (!may_begin(jailed ? NULL : rules, m, ip))
		return DROP_FILTER_RULE;
	note_request(g, ip, dst);
	return ACCEPT;
}

// A few of each peer's, to the control thread.
static void tsmp(struct graph *g, struct rte_mbuf *m)
{
	struct pkt *p = pkt_of(m);
	struct peer *peer = p->peer;
	uint64_t step = (uint64_t)(g->gw->tsc_per_ns * 1e9) / TSMP_PER_S;
	if (!is_plain(m, &p->ip)) {
		graph_drop(g, m, DROP_FILTER_MALFORMED);
		return;
	}
	if (peer->tsmp_until > g->now + TSMP_BURST * step) {
		graph_drop(g, m, DROP_TSMP_RATE);
		return;
	}
	peer->tsmp_until = RTE_MAX(peer->tsmp_until, g->now) + step;
	p->counter = peer->id;
	punt_copy(g, m, PUNT_TSMP, NULL, 0);
	rte_pktmbuf_free(m);
}

static bool is_refused_connection(const struct rte_mbuf *m, const struct ip_info *ip, int verdict)
{
	return ip->family == IP_V4 && ip->proto == IPPROTO_TCP &&
	       (verdict == DROP_FILTER_RULE || verdict == DROP_FILTER_NOT_LOCAL) && is_syn(m, ip);
}

static void write_reject(
	uint8_t *out, const uint8_t *cause, const struct ip_info *ip, uint8_t reason)
{
	struct rte_ipv4_hdr *h = (struct rte_ipv4_hdr *)out;
	const uint8_t *tcp = cause + ip->l3_len;
	*h = (struct rte_ipv4_hdr){
		.version_ihl = 0x45,
		.total_length = rte_cpu_to_be_16(IP4_HDR_LEN + sizeof(struct tsmp_reject)),
		.time_to_live = 64,
		.next_proto_id = PROTO_TSMP,
	};
	memcpy(&h->src_addr, cause + 16, 4);
	memcpy(&h->dst_addr, cause + 12, 4);
	csum_ip4_hdr_set(out, IP4_HDR_LEN);
	*(struct tsmp_reject *)(out + IP4_HDR_LEN) = (struct tsmp_reject){
		.type = TSMP_REJECT,
		.proto = ip->proto,
		.reason = reason,
		.sport = port_at(tcp, 0),
		.dport = port_at(tcp, 2),
	};
}

// Tell the peer, whose user would wait for a timeout: back through the tunnel.
static void reject(struct graph *g, const struct rules *rules, const struct rte_mbuf *m)
{
	const struct pkt *cause = pkt_of((struct rte_mbuf *)(uintptr_t)m);
	bool shields = (rules && rules_shields_up(rules)) ||
		       atomic_load_explicit(&cause->peer->jailed, memory_order_relaxed);
	if (!icmp_token(g)) {
		g->drops[DROP_RATE]++;
		return;
	}
	struct rte_mbuf *r = pkt_alloc(g);
	if (!r)
		return;
	uint16_t len = IP4_HDR_LEN + sizeof(struct tsmp_reject);
	uint8_t *out = (uint8_t *)rte_pktmbuf_append(r, len);
	write_reject(out, rte_pktmbuf_mtod(m, const uint8_t *), &cause->ip,
		shields ? TSMP_REASON_SHIELDS : TSMP_REASON_ACL);
	struct pkt *p = pkt_of(r);
	p->from = FROM_SELF;
	p->port_in = cause->port_in;
	p->ip = (struct ip_info){
		.family = IP_V4,
		.proto = PROTO_TSMP,
		.ttl = 64,
		.l3_len = IP4_HDR_LEN,
		.total_len = len,
	};
	graph_count(g, COUNTER_REJECTS_SENT, 1);
	graph_to(g, NODE_WG_ROUTE, r);
}

// Whether the rules of this generation have let the flow's packets through.
static bool is_judged(
	const struct nat_flow *f, const struct nat_key *key, uint32_t generation, bool jailed)
{
	return f->generation == generation && generation != 0 &&
	       !(f->flags & NAT_JAILED) == !jailed &&
	       (!(f->flags & NAT_ANY_REMOTE) || nat_same_remote(&f->side[NAT_INSIDE], key));
}

// They did so now.
static void set_judged(struct nat_flow *f, uint32_t generation, bool jailed)
{
	f->generation = generation;
	f->flags = (uint8_t)((f->flags & ~NAT_JAILED) | (jailed ? NAT_JAILED : 0));
}

// The same for a burst.
struct judge {
	const struct rules *rules;
	uint32_t generation, now_ms;
	struct local_cache local;
};

// As judge, by the translated flow that the packet belongs to where it has one; pkt.flow is that.
static int judge_flow(struct graph *g, struct judge *j, struct rte_mbuf *m, struct nat_flow *f,
	const struct nat_key *key)
{
	struct pkt *p = pkt_of(m);
	p->flow = NULL;
	if (!f)
		return judge(g, j->rules, m, &j->local);
	bool jailed = atomic_load_explicit(&p->peer->jailed, memory_order_relaxed);
	// What goes on is let through by its looks alone: that says nothing of what begins.
	bool begins = p->ip.proto == IPPROTO_TCP && is_syn(m, &p->ip);
	if (unlikely(begins || !is_judged(f, key, j->generation, jailed))) {
		int verdict = judge(g, j->rules, m, &j->local);
		if (verdict != ACCEPT)
			return verdict;
		// One for any remote is NAT's to set to this one.
		if ((f->flags & NAT_ANY_REMOTE) && !nat_same_remote(&f->side[NAT_INSIDE], key))
			return ACCEPT;
		set_judged(f, j->generation, jailed);
	}
	f->last_ms = j->now_ms; // it stays for this round
	p->flow = f;
	return ACCEPT;
}

// The packets that may go on, to the front of pkts; returns how many. Nothing that might end a flow
// runs before all of them hold theirs.
static unsigned judge_burst(struct graph *g, struct rte_mbuf **pkts, uint16_t n, bool translates)
{
	const struct rules *rules = atomic_load_explicit(&g->gw->rules, memory_order_acquire);
	struct judge j = {.rules = rules,
		.generation = rules_generation(rules),
		.now_ms = nat_ms(g->now, g->gw->tsc_per_ns)};
	struct nat_burst b;
	unsigned accepted = 0;
	if (translates)
		nat_burst_find(g, pkts, n, NAT_INSIDE, j.now_ms, &b);
	for (unsigned i = 0; i < n; i++) {
		struct rte_mbuf *m = pkts[i];
		const struct ip_info *ip = &pkt_of(m)->ip;
		if (unlikely(ip->proto == PROTO_TSMP)) {
			tsmp(g, m);
			continue;
		}
		int verdict = translates ? judge_flow(g, &j, m, b.flow[i], &b.key[i])
					 : judge(g, rules, m, &j.local);
		if (likely(verdict == ACCEPT)) {
			pkts[accepted++] = m;
			continue;
		}
		if (is_refused_connection(m, ip, verdict))
			reject(g, rules, m);
		graph_drop(g, m, (enum drop_reason)verdict);
	}
	return accepted;
}

void node_filter(struct graph *g, struct rte_mbuf **pkts, uint16_t n)
{
	const struct nat_config *c = atomic_load_explicit(&g->gw->nat, memory_order_acquire);
	bool translates = nat_config_translates(c) || g->nat->n > 0;
	unsigned accepted = judge_burst(g, pkts, n, translates);
	graph_to_run(g, translates ? NODE_NAT : NODE_OVERLAY, pkts, accepted);
}

bool filter_is_answer(struct graph *g, const struct rte_mbuf *m)
{
	const struct ip_info *ip = &pkt_of((struct rte_mbuf *)(uintptr_t)m)->ip;
	struct flow_key key = flow_of(m, ip, false);
	return flow_known(g->flows, &key);
}

// Whether answers are told by what went out: of UDP and SCTP for the rules, of all but ICMP where
// what is no answer gets another source.
static bool is_remembered(const struct nat_config *c, const struct ip_info *ip)
{
	return is_stateful(ip) ||
	       (c && c->snat && !is_icmp(ip) && !(ip->flags & IP_FLAG_FRAG_TAIL));
}

bool filter_out(struct graph *g, struct rte_mbuf *m)
{
	const struct pkt *p = pkt_of(m);
	const struct ip_info *ip = &p->ip;
	const uint8_t *dst = dst_of(rte_pktmbuf_mtod(m, const uint8_t *), ip->family);
	if (unlikely(pkt_is_multicast(m, ip) || is_link_local(dst, ip->family))) {
		graph_drop(g, m, DROP_FILTER_SCOPE);
		return false;
	}
	if (p->nat != PKT_NAT_IN && !nat_towards_peer(g, m))
		return false;
	const struct nat_config *c = atomic_load_explicit(&g->gw->nat, memory_order_acquire);
	if (c && !c->snat)
		unanswered_answer(g->unanswered, (enum ip_family)ip->family,
			src_of(rte_pktmbuf_mtod(m, const uint8_t *), ip->family));
	// Else its flow knows.
	if (p->nat != PKT_NAT_IN && is_remembered(c, ip) && is_plain(m, ip)) {
		struct flow_key key = flow_of(m, ip, true);
		if (flow_remember(g->flows, &key))
			graph_count(g, COUNTER_FLOWS_EVICTED, 1);
	}
	return true;
}
