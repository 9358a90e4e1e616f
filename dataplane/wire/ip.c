#include "dataplane/wire/ip.h"

static int parse_v4(const uint8_t *l3, uint32_t contig, uint32_t pkt_len, struct ip_info *info)
{
	const struct rte_ipv4_hdr *ip4 = (const struct rte_ipv4_hdr *)l3;
	if (contig < IP4_HDR_LEN)
		return -EINVAL;

	uint16_t l3_len = (l3[0] & 0x0f) * 4;
	uint32_t total = rte_be_to_cpu_16(ip4->total_length);
	if (l3_len < IP4_HDR_LEN || l3_len > contig || total < l3_len || total > pkt_len)
		return -EINVAL;

	uint16_t frag = rte_be_to_cpu_16(ip4->fragment_offset);
	uint16_t flags = 0;
	if (frag & RTE_IPV4_HDR_DF_FLAG)
		flags |= IP_FLAG_DF;
	if (frag & (RTE_IPV4_HDR_MF_FLAG | RTE_IPV4_HDR_OFFSET_MASK))
		flags |= IP_FLAG_FRAG;
	if (frag & RTE_IPV4_HDR_OFFSET_MASK)
		flags |= IP_FLAG_FRAG_TAIL;
	if (l3_len > IP4_HDR_LEN)
		flags |= IP_FLAG_OPTIONS;
	*info = (struct ip_info){
		.family = IP_V4,
		.proto = ip4->next_proto_id,
		.ttl = ip4->time_to_live,
		.tos = ip4->type_of_service,
		.l3_len = l3_len,
		.flags = flags,
		.total_len = total,
	};
	return 0;
}

static bool is_extension(uint8_t proto)
{
	return proto == IPPROTO_HOPOPTS || proto == IPPROTO_ROUTING || proto == IPPROTO_DSTOPTS ||
	       proto == IPPROTO_AH || proto == IPPROTO_FRAGMENT;
}

// Step over the extension header at *offset; its length comes in units that depend on its kind
// (RFC 8200 4, RFC 4302 2.2). Never beyond limit.
static int skip_extension(
	const uint8_t *l3, uint32_t limit, uint32_t *offset, uint8_t *proto, uint16_t *flags)
{
	if (limit - *offset < 8)
		return -EINVAL;

	const uint8_t *ext = l3 + *offset;
	uint32_t len = 8;
	if (*proto == IPPROTO_FRAGMENT) {
		*flags |= IP_FLAG_FRAG;
		if (((ext[2] << 8 | ext[3]) & 0xfff8) != 0)
			*flags |= IP_FLAG_FRAG_TAIL;
	} else if (*proto == IPPROTO_AH) {
		len = (ext[1] + 2) * 4;
	} else {
		len = (ext[1] + 1) * 8;
	}
	if (len > limit - *offset)
		return -EINVAL;

	*proto = ext[0];
	*offset += len;
	*flags |= IP_FLAG_OPTIONS;
	return 0;
}

static int parse_v6(const uint8_t *l3, uint32_t contig, uint32_t pkt_len, struct ip_info *info)
{
	const struct rte_ipv6_hdr *ip6 = (const struct rte_ipv6_hdr *)l3;
	if (contig < IP6_HDR_LEN)
		return -EINVAL;

	uint32_t total = IP6_HDR_LEN + rte_be_to_cpu_16(ip6->payload_len);
	if (total > pkt_len)
		return -EINVAL;

	uint32_t limit = RTE_MIN(total, contig);
	uint32_t offset = IP6_HDR_LEN;
	uint8_t proto = ip6->proto;
	uint16_t flags = IP_FLAG_DF;
	for (unsigned n = 0; is_extension(proto) && !(flags & IP_FLAG_FRAG_TAIL); n++) {
		if (n == IP6_EXT_MAX || skip_extension(l3, limit, &offset, &proto, &flags) != 0)
			return -EINVAL;
	}
	*info = (struct ip_info){
		.family = IP_V6,
		.proto = proto,
		.ttl = ip6->hop_limits,
		.tos = (uint8_t)(rte_be_to_cpu_32(ip6->vtc_flow) >> 20),
		.l3_len = (uint16_t)offset,
		.flags = flags,
		.total_len = total,
	};
	return 0;
}

int ip_parse_slow(const uint8_t *l3, uint32_t contig, uint32_t pkt_len, struct ip_info *info)
{
	if (contig == 0)
		return -EINVAL;
	switch (l3[0] >> 4) {
	case 4:
		return parse_v4(l3, contig, pkt_len, info);
	case 6:
		return parse_v6(l3, contig, pkt_len, info);
	default:
		return -EINVAL;
	}
}
