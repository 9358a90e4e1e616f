#include "dataplane/node/icmp_build.h"

#include "dataplane/wire/csum.h"

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

bool icmp_answerable_addresses(const uint8_t *l3, uint8_t family)
{
	return family == IP_V4 ? answerable4(l3) : answerable6(l3);
}

// Errors are never answered: ICMPv4 other than queries, ICMPv6 types below 128.
static bool is_error(const uint8_t *l3, uint32_t contig, const struct ip_info *ip)
{
	if (contig <= ip->l3_len)
		return true;
	uint8_t type = l3[ip->l3_len];
	if (ip->proto == IPPROTO_ICMP)
		return type != 8 && type != 0 && type != 13 && type != 14;
	return ip->proto == IPPROTO_ICMPV6 && type < 128;
}

bool icmp_answerable(const uint8_t *l3, uint32_t contig, const struct ip_info *ip)
{
	return !(ip->flags & IP_FLAG_FRAG_TAIL) && !is_error(l3, contig, ip) &&
	       icmp_answerable_addresses(l3, ip->family);
}

static void build4(uint8_t *out, const struct icmp_answer *a)
{
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)out;
	uint8_t *icmp = out + IP4_HDR_LEN;
	*ip = (struct rte_ipv4_hdr){
		.version_ihl = 0x45,
		.type_of_service = ICMP_TOS_SENT,
		.total_length = rte_cpu_to_be_16(icmp_head_len(IP_V4) + a->quote),
		.packet_id = rte_cpu_to_be_16(a->id),
		.time_to_live = ICMP_TTL_SENT,
		.next_proto_id = IPPROTO_ICMP,
	};
	memcpy(&ip->src_addr, a->src, 4);
	memcpy(&ip->dst_addr, a->cause + 12, 4);
	csum_ip4_hdr_set(out, IP4_HDR_LEN);
	memset(icmp, 0, ICMP_HDR_LEN);
	icmp[0] = a->type;
	icmp[1] = a->code;
	rte_be16_t mtu = rte_cpu_to_be_16(a->mtu);
	memcpy(icmp + 6, &mtu, 2); // RFC 1191
	memcpy(icmp + ICMP_HDR_LEN, a->cause, a->quote);
	uint16_t csum = csum_finish(csum_add(icmp, ICMP_HDR_LEN + a->quote, 0));
	memcpy(icmp + 2, &csum, 2);
}

static void build6(uint8_t *out, const struct icmp_answer *a)
{
	struct rte_ipv6_hdr *ip = (struct rte_ipv6_hdr *)out;
	uint8_t *icmp = out + IP6_HDR_LEN;
	*ip = (struct rte_ipv6_hdr){
		.vtc_flow = rte_cpu_to_be_32(6u << 28),
		.payload_len = rte_cpu_to_be_16(ICMP_HDR_LEN + a->quote),
		.proto = IPPROTO_ICMPV6,
		.hop_limits = ICMP_TTL_SENT,
	};
	memcpy(ip->src_addr, a->src, 16);
	memcpy(ip->dst_addr, a->cause + 8, 16);
	memset(icmp, 0, ICMP_HDR_LEN);
	icmp[0] = a->type;
	icmp[1] = a->code;
	rte_be32_t mtu = rte_cpu_to_be_32(a->mtu);
	memcpy(icmp + 4, &mtu, 4);
	memcpy(icmp + ICMP_HDR_LEN, a->cause, a->quote);
	uint64_t sum = csum_pseudo6(out, IPPROTO_ICMPV6, ICMP_HDR_LEN + a->quote);
	uint16_t csum = csum_finish(csum_add(icmp, ICMP_HDR_LEN + a->quote, sum));
	memcpy(icmp + 2, &csum, 2);
}

void icmp_build(uint8_t *out, const struct icmp_answer *a)
{
	if (a->family == IP_V4)
		build4(out, a);
	else
		build6(out, a);
}
