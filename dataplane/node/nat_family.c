// Between IPv4 and IPv6: RFC 7915, without fragments.
#include "dataplane/node/nat_packet.h"

enum {
	IP6_MTU_MIN = 1280,
	// RFC 7915 5.1: what fits where IPv6's least MTU does may be fragmented further on.
	DF_ABOVE = 1260,
	MTU_DIFFERENCE = IP6_HDR_LEN - IP4_HDR_LEN,
};

struct ip_info nat_other_family(const struct ip_info *ip)
{
	struct ip_info to = *ip;
	bool v4 = ip->family == IP_V6;
	to.family = v4 ? IP_V4 : IP_V6;
	to.l3_len = v4 ? IP4_HDR_LEN : IP6_HDR_LEN;
	to.total_len = ip->total_len - ip->l3_len + to.l3_len;
	to.flags = !v4 || to.total_len > DF_ABOVE ? IP_FLAG_DF : 0;
	if (ip->proto == IPPROTO_ICMPV6 && v4)
		to.proto = IPPROTO_ICMP;
	else if (ip->proto == IPPROTO_ICMP && !v4)
		to.proto = IPPROTO_ICMPV6;
	return to;
}

void nat_write_header(
	uint8_t *out, const struct ip_info *ip, const uint8_t *src, const uint8_t *dst, uint16_t id)
{
	if (ip->family == IP_V4) {
		struct rte_ipv4_hdr *h = (struct rte_ipv4_hdr *)out;
		*h = (struct rte_ipv4_hdr){
			.version_ihl = 0x45,
			.type_of_service = ip->tos,
			.total_length = rte_cpu_to_be_16((uint16_t)ip->total_len),
			.packet_id = rte_cpu_to_be_16(id),
			.fragment_offset =
				ip->flags & IP_FLAG_DF ? rte_cpu_to_be_16(RTE_IPV4_HDR_DF_FLAG) : 0,
			.time_to_live = ip->ttl,
			.next_proto_id = ip->proto,
		};
		memcpy(&h->src_addr, src, 4);
		memcpy(&h->dst_addr, dst, 4);
		csum_ip4_hdr_set(out, IP4_HDR_LEN);
		return;
	}
	struct rte_ipv6_hdr *h = (struct rte_ipv6_hdr *)out;
	*h = (struct rte_ipv6_hdr){
		.vtc_flow = rte_cpu_to_be_32(6u << 28 | (uint32_t)ip->tos << 20),
		.payload_len = rte_cpu_to_be_16((uint16_t)(ip->total_len - IP6_HDR_LEN)),
		.proto = ip->proto,
		.hop_limits = ip->ttl,
	};
	memcpy(h->src_addr, src, 16);
	memcpy(h->dst_addr, dst, 16);
}

// The sum of both addresses.
static uint64_t sum_of(const uint8_t *src, const uint8_t *dst, uint8_t family)
{
	uint64_t sum = 0;
	for (unsigned i = 0; i < (family == IP_V4 ? 4 : 16); i += 4)
		sum += csum_load32(src + i) + csum_load32(dst + i);
	return sum;
}

// What a checksum changes by where the words of from are gone and those of to are there.
static uint64_t change(uint64_t from, uint64_t to)
{
	return (uint64_t)(uint16_t)~csum_fold(from) + csum_fold(to);
}

uint64_t nat_addresses_change(
	const uint8_t *l3, uint8_t from, const uint8_t *src, const uint8_t *dst, uint8_t to)
{
	return change(sum_of(nat_src(l3, from), nat_dst(l3, from), from), sum_of(src, dst, to));
}

void nat_echo_other_family(uint8_t *icmp, const uint8_t *l3, const struct ip_info *from,
	const uint8_t *src, const uint8_t *dst, rte_be16_t id)
{
	uint64_t pseudo6 = (uint64_t)rte_cpu_to_be_16(IPPROTO_ICMPV6) +
			   rte_cpu_to_be_32(from->total_len - from->l3_len);
	uint64_t was = csum_load32(icmp) & RTE_BE32(0xffff0000), is;
	was += csum_load32(icmp + 4) & RTE_BE32(0xffff0000);
	if (from->family == IP_V6) {
		was += pseudo6 + sum_of(l3 + 8, l3 + 24, IP_V6);
		icmp[0] = icmp[0] == ICMP6_ECHO ? ICMP4_ECHO : ICMP4_ECHO_REPLY;
	} else {
		icmp[0] = icmp[0] == ICMP4_ECHO ? ICMP6_ECHO : ICMP6_ECHO_REPLY;
	}
	is = (csum_load32(icmp) & RTE_BE32(0xffff0000)) + id;
	if (from->family == IP_V4)
		is += pseudo6 + sum_of(src, dst, IP_V6);
	memcpy(icmp + 4, &id, sizeof(id));
	nat_csum_add(icmp + 2, change(was, is));
}

// UDP without a checksum, which IPv6 does not know (RFC 7915 4.5).
static bool complete_udp(struct rte_mbuf *m, struct nat_bytes *b)
{
	uint8_t *udp = b->l3 + b->ip.l3_len;
	uint32_t len = b->ip.total_len - b->ip.l3_len;
	if (b->ip.proto != IPPROTO_UDP || b->ip.family != IP_V4 || b->partial || udp[6] || udp[7])
		return true;
	if (((uint32_t)udp[4] << 8 | udp[5]) != len)
		return false;
	uint16_t csum = csum_finish_udp(
		csum_mbuf(m, b->ip.l3_len, len, csum_pseudo4(b->l3, IPPROTO_UDP, len)));
	memcpy(udp + 6, &csum, sizeof(csum));
	return true;
}

// L4 of a packet that is to be of the other family, while its header is still there.
static bool translate_l4(struct rte_mbuf *m, enum nat_shape shape, const struct ip_info *to,
	const uint8_t *src, const uint8_t *dst, const rte_be16_t *port)
{
	struct nat_bytes b = nat_bytes_of(m);
	uint8_t *l4 = b.l3 + b.ip.l3_len;
	if (shape == NAT_SHAPE_ECHO) {
		nat_echo_other_family(l4, b.l3, &b.ip, src, dst, port[0]);
		return true;
	}
	if (!complete_udp(m, &b))
		return false;
	uint64_t addrs = nat_addresses_change(b.l3, b.ip.family, src, dst, to->family);
	uint64_t ports = 0;
	if (shape == NAT_SHAPE_PORTS)
		ports = nat_replace(l4, (const uint8_t *)port, 4);
	nat_fix_l4(&b, addrs, ports);
	return true;
}

bool nat_to_family(struct graph *g, struct rte_mbuf *m, enum nat_shape shape, enum nat_side side,
	const struct nat_key *key)
{
	struct pkt *p = pkt_of(m);
	struct ip_info to = nat_other_family(&p->ip);
	bool out = side == NAT_INSIDE;
	const uint8_t *src = out ? key->local : key->remote, *dst = out ? key->remote : key->local;
	const rte_be16_t port[] = {
		out || shape == NAT_SHAPE_ECHO ? key->local_port : key->remote_port,
		out ? key->remote_port : key->local_port};
	int grow = (int)to.l3_len - (int)p->ip.l3_len;
	if (to.total_len > UINT16_MAX || (grow > 0 && rte_pktmbuf_headroom(m) < (unsigned)grow) ||
		!translate_l4(m, shape, &to, src, dst, port)) {
		graph_drop(g, m, DROP_NAT_PROTOCOL);
		return false;
	}
	if (grow > 0)
		rte_pktmbuf_prepend(m, (uint16_t)grow);
	else
		rte_pktmbuf_adj(m, (uint16_t)-grow);
	nat_write_header(rte_pktmbuf_mtod(m, uint8_t *), &to, src, dst, g->ip_id++);
	p->ip = to;
	return true;
}

// RFC 1191 7.1: what a router without a word about its MTU is likely to have.
static uint32_t plateau(uint32_t len)
{
	static const uint16_t most[] = {32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296};
	for (unsigned i = 0; i < RTE_DIM(most); i++) {
		if (most[i] < len)
			return most[i];
	}
	return 68;
}

static uint32_t load_be32(const uint8_t *p)
{
	return rte_be_to_cpu_32((uint32_t)csum_load32(p));
}

static void store_be32(uint8_t *p, uint32_t v)
{
	v = rte_cpu_to_be_32(v);
	memcpy(p, &v, sizeof(v));
}

static void set(uint8_t *icmp, uint8_t type, uint8_t code, uint32_t rest)
{
	icmp[0] = type;
	icmp[1] = code;
	store_be32(icmp + 4, rest);
}

// Where the field that a pointer points to is in the other header; 0xff: nowhere. (RFC 7915,
// figures 3 and 6)
static const uint8_t pointer6[IP4_HDR_LEN] = {
	0, 1, 4, 4, 0xff, 0xff, 0xff, 0xff, 7, 6, 0xff, 0xff, 8, 8, 8, 8, 24, 24, 24, 24};
static const uint8_t pointer4[IP6_HDR_LEN] = {0, 1, 0xff, 0xff, 2, 2, 9, 8, 12, 12, 12, 12, 12, 12,
	12, 12, 12, 12, 12, 12, 12, 12, 12, 12, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16,
	16, 16, 16};

static bool unreachable_to6(uint8_t *icmp, uint32_t quoted)
{
	uint32_t mtu = load_be32(icmp + 4) & 0xffff;
	switch (icmp[1]) {
	case 2: // protocol
		set(icmp, ICMP6_PARAMETER, 1, 6);
		return true;
	case 3: // port
		set(icmp, ICMP6_UNREACHABLE, 4, 0);
		return true;
	case 4: // too big
		mtu = (mtu ? mtu : plateau(quoted)) + MTU_DIFFERENCE;
		set(icmp, ICMP6_TOO_BIG, 0, RTE_MAX(mtu, (uint32_t)IP6_MTU_MIN));
		return true;
	case 9: // prohibited
	case 10:
	case 13:
	case 15:
		set(icmp, ICMP6_UNREACHABLE, 1, 0);
		return true;
	default:
		if (icmp[1] > 12)
			return false;
		set(icmp, ICMP6_UNREACHABLE, 0, 0);
		return true;
	}
}

static bool parameter_to6(uint8_t *icmp)
{
	uint8_t at = icmp[4];
	if ((icmp[1] != 0 && icmp[1] != 2) || at >= RTE_DIM(pointer6) || pointer6[at] == 0xff)
		return false;
	set(icmp, ICMP6_PARAMETER, 0, pointer6[at]);
	return true;
}

static bool unreachable_to4(uint8_t *icmp)
{
	static const uint8_t codes[] = {1, 10, 1, 1, 3};
	if (icmp[1] >= RTE_DIM(codes))
		return false;
	set(icmp, ICMP4_UNREACHABLE, codes[icmp[1]], 0);
	return true;
}

static bool parameter_to4(uint8_t *icmp)
{
	uint32_t at = load_be32(icmp + 4);
	if (icmp[1] == 1) {
		set(icmp, ICMP4_UNREACHABLE, 2, 0);
		return true;
	}
	if (icmp[1] != 0 || at >= RTE_DIM(pointer4) || pointer4[at] == 0xff)
		return false;
	set(icmp, ICMP4_PARAMETER, 0, (uint32_t)pointer4[at] << 24);
	return true;
}

static bool to4(uint8_t *icmp)
{
	uint32_t mtu = load_be32(icmp + 4);
	switch (icmp[0]) {
	case ICMP6_UNREACHABLE:
		return unreachable_to4(icmp);
	case ICMP6_TOO_BIG:
		mtu = RTE_MAX(mtu, (uint32_t)IP6_MTU_MIN) - MTU_DIFFERENCE;
		set(icmp, ICMP4_UNREACHABLE, 4, RTE_MIN(mtu, (uint32_t)UINT16_MAX));
		return true;
	case ICMP6_TIME:
		set(icmp, ICMP4_TIME, icmp[1], 0);
		return true;
	case ICMP6_PARAMETER:
		return parameter_to4(icmp);
	default:
		return false;
	}
}

bool nat_icmp_other_family(uint8_t *icmp, uint8_t from, uint32_t quoted)
{
	if (from == IP_V6)
		return to4(icmp);
	switch (icmp[0]) {
	case ICMP4_UNREACHABLE:
		return unreachable_to6(icmp, quoted);
	case ICMP4_TIME:
		set(icmp, ICMP6_TIME, icmp[1], 0);
		return true;
	case ICMP4_PARAMETER:
		return parameter_to6(icmp);
	default:
		return false;
	}
}
