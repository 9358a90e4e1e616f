#include "dataplane/wire/icmp_quote.h"

#include <errno.h>
#include <string.h>

#include "dataplane/wire/csum.h"

enum {
	ICMP_LEN = 8, // in front of the quote
	ICMP_MTU4_AT = 6,
	ICMP_MTU6_AT = 4,
};

static uint32_t read32(const uint8_t *at)
{
	rte_be32_t v;
	memcpy(&v, at, sizeof(v));
	return rte_be_to_cpu_32(v);
}

static uint16_t read16(const uint8_t *at)
{
	rte_be16_t v;
	memcpy(&v, at, sizeof(v));
	return rte_be_to_cpu_16(v);
}

static bool checksum_ok(const uint8_t *l3, const struct ip_info *ip, size_t icmp_len)
{
	uint64_t sum =
		ip->family == IP_V6 ? csum_pseudo6(l3, IPPROTO_ICMPV6, (uint32_t)icmp_len) : 0;
	return csum_finish(csum_add(l3 + ip->l3_len, (uint32_t)icmp_len, sum)) == 0;
}

// A quote is cut wherever the router liked: its header says more than there is.
static int read_quote4(const uint8_t *q, size_t len, struct icmp_quote *out)
{
	if (len < IP4_HDR_LEN || q[0] >> 4 != 4)
		return -EBADMSG;
	size_t l3_len = (q[0] & 15u) * 4;
	uint16_t fragment = read16(q + 6);
	if (l3_len < IP4_HDR_LEN || len < l3_len + UDP_HDR_LEN)
		return -EBADMSG;
	if (q[9] != IPPROTO_UDP || (fragment & RTE_IPV4_HDR_OFFSET_MASK) != 0 ||
		(fragment & RTE_IPV4_HDR_MF_FLAG) != 0)
		return -EPROTONOSUPPORT;
	out->total_len = read16(q + 2);
	out->may_cut = (fragment & RTE_IPV4_HDR_DF_FLAG) == 0;
	out->from.addr = ip_addr_v4(q + 12);
	out->to.addr = ip_addr_v4(q + 16);
	out->payload = q + l3_len;
	return 0;
}

static int read_quote6(const uint8_t *q, size_t len, struct icmp_quote *out)
{
	if (len < IP6_HDR_LEN + UDP_HDR_LEN || q[0] >> 4 != 6)
		return -EBADMSG;
	if (q[6] != IPPROTO_UDP) // ours have no extension headers
		return -EPROTONOSUPPORT;
	uint32_t total = IP6_HDR_LEN + (uint32_t)read16(q + 4);
	out->total_len = (uint16_t)(total > UINT16_MAX ? UINT16_MAX : total);
	out->from.addr = ip_addr_v6(q + 8);
	out->to.addr = ip_addr_v6(q + 24);
	out->payload = q + IP6_HDR_LEN;
	return 0;
}

int icmp_quote_read(const uint8_t *packet, size_t len, struct icmp_quote *out)
{
	struct ip_info ip;
	*out = (struct icmp_quote){0};
	if (len > UINT16_MAX || ip_parse(packet, (uint32_t)len, &ip) < 0 || ip.total_len > len)
		return -EBADMSG;
	uint8_t icmp = ip.family == IP_V4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
	if (ip.proto != icmp || (ip.flags & IP_FLAG_FRAG))
		return -ENOMSG;
	if (ip.total_len < ip.l3_len + ICMP_LEN)
		return -EBADMSG;
	const uint8_t *l4 = packet + ip.l3_len;
	size_t icmp_len = ip.total_len - ip.l3_len;
	if (!icmp_is_too_big(ip.family, l4))
		return -ENOMSG;
	out->mtu = ip.family == IP_V4 ? read16(l4 + ICMP_MTU4_AT) : read32(l4 + ICMP_MTU6_AT);
	if (out->mtu == 0 || !checksum_ok(packet, &ip, icmp_len))
		return -EBADMSG;
	size_t quoted = icmp_len - ICMP_LEN;
	int rc = (ip.family == IP_V4 ? read_quote4 : read_quote6)(l4 + ICMP_LEN, quoted, out);
	if (rc < 0)
		return rc;
	out->from.port = read16(out->payload);
	out->to.port = read16(out->payload + 2);
	out->payload += UDP_HDR_LEN;
	out->len = (size_t)(l4 + icmp_len - out->payload);
	return 0;
}
