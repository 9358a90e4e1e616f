#include "dataplane/node/nat_packet.h"

enum {
	PROTO_UDPLITE = 136,
	PROTO_DCCP = 33,
	QUOTE_LEAST = 8, // bytes behind the quoted IP header (RFC 792)
};

static bool is_error(uint8_t type, uint8_t family)
{
	if (family == IP_V4)
		return type == ICMP4_UNREACHABLE || type == ICMP4_TIME || type == ICMP4_PARAMETER;
	return type >= ICMP6_UNREACHABLE && type <= ICMP6_PARAMETER;
}

// Of an echo: 1 a request, 2 a reply, 0 neither.
static unsigned echo_of(const uint8_t *icmp, uint8_t family)
{
	if (icmp[1] != 0)
		return 0;
	if (icmp[0] == (family == IP_V4 ? ICMP4_ECHO : ICMP6_ECHO))
		return 1;
	return icmp[0] == (family == IP_V4 ? ICMP4_ECHO_REPLY : ICMP6_ECHO_REPLY) ? 2 : 0;
}

static void read_ports(const uint8_t *l4, enum nat_side side, struct nat_key *key)
{
	rte_be16_t port[2];
	memcpy(port, l4, sizeof(port));
	key->local_port = port[side == NAT_OUTSIDE];
	key->remote_port = port[side == NAT_INSIDE];
}

bool nat_quote_of(struct rte_mbuf *m, struct nat_bytes *quote)
{
	const struct ip_info *ip = &pkt_of(m)->ip;
	uint32_t at = ip->l3_len + ICMP_HEAD_LEN;
	if (m->data_len < at + IP4_HDR_LEN)
		return false;
	*quote = (struct nat_bytes){
		.l3 = rte_pktmbuf_mtod_offset(m, uint8_t *, at), .len = m->data_len - at};
	uint8_t *l3 = quote->l3;
	struct ip_info *in = &quote->ip;
	in->family = ip->family;
	if (ip->family == IP_V4) {
		if (l3[0] >> 4 != 4 || ((l3[6] & 0x1f) | l3[7]) != 0)
			return false;
		in->proto = l3[9];
		in->ttl = l3[8];
		in->tos = l3[1];
		in->l3_len = (l3[0] & 15) * 4;
		in->flags = l3[6] & 0x40 ? IP_FLAG_DF : 0;
		in->total_len = (uint32_t)l3[2] << 8 | l3[3];
	} else {
		if (l3[0] >> 4 != 6 || quote->len < IP6_HDR_LEN)
			return false;
		in->proto = l3[6];
		in->ttl = l3[7];
		in->tos = (uint8_t)(l3[0] << 4 | l3[1] >> 4);
		in->l3_len = IP6_HDR_LEN;
		in->flags = IP_FLAG_DF;
		in->total_len = IP6_HDR_LEN + ((uint32_t)l3[4] << 8 | l3[5]);
	}
	return in->l3_len >= IP4_HDR_LEN && quote->len >= in->l3_len + QUOTE_LEAST &&
	       in->total_len >= in->l3_len + QUOTE_LEAST;
}

// The key of the flow whose packet is quoted; the other side sent that.
static enum nat_shape error_shape(const struct rte_mbuf *m, enum nat_side side, struct nat_key *key)
{
	enum nat_side sent = side == NAT_INSIDE ? NAT_OUTSIDE : NAT_INSIDE;
	struct nat_bytes q;
	if (!nat_quote_of((struct rte_mbuf *)(uintptr_t)m, &q))
		return NAT_SHAPE_CUT;
	const uint8_t *l4 = q.l3 + q.ip.l3_len;
	nat_key_of(q.l3, &q.ip, sent, key);
	if (q.ip.proto == IPPROTO_TCP || q.ip.proto == IPPROTO_UDP) {
		read_ports(l4, sent, key);
	} else if (nat_is_icmp(&q.ip)) {
		if (echo_of(l4, q.ip.family) != (sent == NAT_INSIDE ? 1 : 2))
			return NAT_SHAPE_ICMP;
		memcpy(&key->local_port, l4 + 4, sizeof(key->local_port));
	}
	return NAT_SHAPE_ERROR;
}

static enum nat_shape icmp_shape(
	const struct rte_mbuf *m, const struct ip_info *ip, enum nat_side side, struct nat_key *key)
{
	const uint8_t *l3 = rte_pktmbuf_mtod(m, const uint8_t *), *icmp = l3 + ip->l3_len;
	if (m->data_len < ip->l3_len + ICMP_HEAD_LEN)
		return NAT_SHAPE_CUT;
	if (is_error(icmp[0], ip->family))
		return error_shape(m, side, key);
	unsigned echo = echo_of(icmp, ip->family);
	if (echo == 0)
		return NAT_SHAPE_ICMP;
	if (echo != (side == NAT_INSIDE ? 1 : 2))
		return NAT_SHAPE_REPLY;
	nat_key_of(l3, ip, side, key);
	memcpy(&key->local_port, icmp + 4, sizeof(key->local_port));
	return NAT_SHAPE_ECHO;
}

enum nat_shape nat_shape_slow(
	const struct rte_mbuf *m, const struct ip_info *ip, enum nat_side side, struct nat_key *key)
{
	if (ip->flags & IP_FLAG_FRAG)
		return NAT_SHAPE_FRAGMENT;
	if ((ip->family == IP_V6 && (ip->flags & IP_FLAG_OPTIONS)) || ip->proto == IPPROTO_TCP ||
		ip->proto == IPPROTO_UDP)
		return NAT_SHAPE_CUT;
	if (nat_is_icmp(ip))
		return icmp_shape(m, ip, side, key);
	nat_key_of(rte_pktmbuf_mtod(m, const uint8_t *), ip, side, key);
	return NAT_SHAPE_PLAIN;
}

void nat_fix_l4(struct nat_bytes *b, uint64_t addrs, uint64_t ports)
{
	unsigned at = 6;
	bool is_udp = false;
	switch (b->ip.proto) {
	case IPPROTO_TCP:
		at = 16;
		break;
	case IPPROTO_UDP:
		is_udp = true;
		break;
	case IPPROTO_ICMPV6:
		at = 2;
		break;
	case IPPROTO_ICMP:
		at = 2;
		addrs = 0;
		break;
	case PROTO_UDPLITE:
	case PROTO_DCCP:
		break;
	default:
		return;
	}
	if (!(b->ip.flags & IP_FLAG_FRAG_TAIL) && b->ip.l3_len + at + 2 <= b->len)
		nat_l4_csum(b->l3 + b->ip.l3_len + at, is_udp, b->partial, addrs, ports);
}

void nat_rewrite(
	struct nat_bytes *b, const uint8_t *src, const uint8_t *dst, const rte_be16_t *port)
{
	uint8_t *l3 = b->l3, *l4 = l3 + b->ip.l3_len;
	uint64_t addrs, ports = 0;
	if (b->ip.family == IP_V4) {
		addrs = nat_replace(l3 + 12, src, 4) + nat_replace(l3 + 16, dst, 4);
		nat_csum_add(l3 + 10, addrs);
	} else {
		addrs = nat_replace(l3 + 8, src, 16) + nat_replace(l3 + 24, dst, 16);
	}
	if (port && (b->ip.proto == IPPROTO_TCP || b->ip.proto == IPPROTO_UDP)) {
		ports = nat_replace(l4, (const uint8_t *)port, 4);
	} else if (port && nat_is_icmp(&b->ip)) {
		rte_be16_t was;
		memcpy(&was, l4 + 4, sizeof(was));
		ports = (uint64_t)(uint16_t)~was + port[0];
		memcpy(l4 + 4, port, sizeof(was));
	}
	nat_fix_l4(b, addrs, ports);
}

static void find(struct graph *g, enum nat_side side, uint32_t now_ms, struct nat_burst *b,
	unsigned i, bool any)
{
	const struct nat_table *t = g->nat;
	const struct nat_key *k = &b->key[i];
	b->flow[i] = any ? nat_lookup(t, side, k, now_ms)
			 : nat_find_guessed(t, side, k, b->hash[i], b->guess[i], now_ms);
}

// Whether the packet in front is of the same flow: they come in runs.
static bool is_run(const struct nat_burst *b, unsigned i)
{
	return i > 0 && b->shape[i - 1] == b->shape[i] && b->hash[i - 1] == b->hash[i] &&
	       nat_same_key(&b->key[i - 1], &b->key[i]);
}

void nat_burst_find(struct graph *g, struct rte_mbuf **pkts, unsigned n, enum nat_side side,
	uint32_t now_ms, struct nat_burst *b)
{
	const struct nat_table *t = g->nat;
	bool any = t->n_any_remote > 0;
	for (unsigned i = 0; i < n; i++) {
		b->shape[i] =
			(uint8_t)nat_shape_of(pkts[i], &pkt_of(pkts[i])->ip, side, &b->key[i]);
		b->hash[i] = 0;
		if (b->shape[i] > NAT_SHAPE_KEYED)
			continue;
		b->hash[i] = nat_hash(t, side, &b->key[i]);
		rte_prefetch0(nat_home(t, b->hash[i]));
	}
	for (unsigned i = 0; i < n; i++) {
		b->guess[i] = NAT_NIL;
		if (b->shape[i] > NAT_SHAPE_KEYED)
			continue;
		b->guess[i] = nat_guess(t, side, b->hash[i]);
		rte_prefetch0(&t->flow[b->guess[i]]);
		rte_prefetch0((const uint8_t *)&t->flow[b->guess[i]] + 64);
	}
	for (unsigned i = 0; i < n; i++) {
		b->flow[i] = NULL;
		if (b->shape[i] > NAT_SHAPE_KEYED)
			continue;
		if (is_run(b, i))
			b->flow[i] = b->flow[i - 1];
		else
			find(g, side, now_ms, b, i, any);
	}
}
