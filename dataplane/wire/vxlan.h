// VXLAN (RFC 7348): Ethernet frames in UDP. Read without trust; all structs are packed. Integers
// are big-endian.
#pragma once

#include "dataplane/wire/ether.h"
#include "dataplane/wire/ip.h"

enum {
	VXLAN_HDR_LEN = 8,
	VXLAN_PORT = 4789,	 // IANA's
	VXLAN_PORT_LINUX = 8472, // of Linux without dstport, and so of flannel
	VXLAN_VNI_MAX = (1 << 24) - 1,
	VXLAN_PORTS_MAX = 4,	 // that one gateway knows
	VXLAN_DEPTH_MAX = 4,	 // levels that may be configured
	VXLAN_FLAG_VNI = 0x08,	 // I: the VNI is valid
	VXLAN_FLAG_GROUP = 0x80, // G: a group's number in reserved (draft-smith-vxlan-group-policy)
};

struct vxlan_header {
	uint8_t flags;
	uint8_t reserved[3]; // ignored
	uint8_t vni[3];
	uint8_t reserved2; // ignored
} __attribute__((packed));
static_assert(sizeof(struct vxlan_header) == VXLAN_HDR_LEN, "RFC 7348 section 5");

static inline struct vxlan_header vxlan_header_of(uint32_t vni)
{
	return (struct vxlan_header){
		.flags = VXLAN_FLAG_VNI,
		.vni = {(uint8_t)(vni >> 16), (uint8_t)(vni >> 8), (uint8_t)vni},
	};
}

static inline uint32_t vxlan_vni(const struct vxlan_header *h)
{
	rte_be32_t vni; // and what is ignored behind it
	memcpy(&vni, (const uint8_t *)h + offsetof(struct vxlan_header, vni), sizeof(vni));
	return rte_be_to_cpu_32(vni) >> 8;
}

// Why a datagram is none of ours to understand.
enum vxlan_verdict {
	VXLAN_OK,
	VXLAN_SHORT,  // VXLAN or Ethernet header cut short
	VXLAN_FLAGS,  // I not set, or a flag that may change what follows (as VXLAN-GPE's P and O)
	VXLAN_VLAN,   // the frame has a tag
	VXLAN_NOT_IP, // the frame carries something else: ARP, LLDP
	VXLAN_INNER,  // IP header malformed, cut short, or not what the EtherType says
	VXLAN_VERDICTS,
};

// Where things lie: offsets from the VXLAN header.
enum {
	VXLAN_FRAME_AT = VXLAN_HDR_LEN,
	VXLAN_L3_AT = VXLAN_HDR_LEN + ETHER_HDR_LEN,
};

// Of vxlan_parse: why a frame of avail bytes that carries neither IPv4 nor IPv6 does not.
must_check enum vxlan_verdict vxlan_not_ip(const uint8_t *frame, uint32_t avail);

// Read a UDP payload of len bytes of which the first contig lie in one piece at h: VXLAN header,
// Ethernet without tags, IP header. *ip is that of the IP header at h + VXLAN_L3_AT, and defined
// only when the verdict is VXLAN_OK: ip->l3_len then lies within contig, ip->total_len within len;
// the L4 header is not looked at. *vni is defined when the verdict is none of VXLAN_SHORT and
// VXLAN_FLAGS. Which VNIs are known, and how deep VXLAN may lie in VXLAN, is the caller's to say:
// vxlan_is_port() of an inner UDP header. [any thread]
must_check static inline enum vxlan_verdict vxlan_parse(
	const uint8_t *h, uint32_t contig, uint32_t len, uint32_t *vni, struct ip_info *ip)
{
	contig = RTE_MIN(contig, len);
	if (contig < VXLAN_HDR_LEN)
		return VXLAN_SHORT;

	const struct vxlan_header *vxlan = (const struct vxlan_header *)h;
	if ((vxlan->flags & ~VXLAN_FLAG_GROUP) != VXLAN_FLAG_VNI)
		return VXLAN_FLAGS;
	*vni = vxlan_vni(vxlan);

	if (contig < VXLAN_L3_AT)
		return VXLAN_SHORT;
	rte_be16_t type;
	memcpy(&type, h + VXLAN_L3_AT - sizeof(type), sizeof(type));
	bool v4 = type == RTE_BE16(RTE_ETHER_TYPE_IPV4);
	if (unlikely(!v4 && type != RTE_BE16(RTE_ETHER_TYPE_IPV6)))
		return vxlan_not_ip(h + VXLAN_FRAME_AT, contig - VXLAN_FRAME_AT);

	const uint8_t *l3 = h + VXLAN_L3_AT;
	if (unlikely(ip_parse_chain(l3, contig - VXLAN_L3_AT, len - VXLAN_L3_AT, ip) != 0 ||
		     v4 != (ip->family == IP_V4)))
		return VXLAN_INNER;
	return VXLAN_OK;
}

// UDP destination ports of VXLAN, in network order; 0: none.
struct vxlan_ports {
	rte_be16_t port[VXLAN_PORTS_MAX];
};

// All of them in a word, to be shared by one atomic: port[0] in its lowest bytes as they lie there.
static inline uint64_t vxlan_ports_pack(const struct vxlan_ports *p)
{
	uint64_t packed;
	static_assert(sizeof(packed) == sizeof(*p));
	memcpy(&packed, p, sizeof(packed));
	return packed;
}

static inline bool vxlan_is_port(uint64_t packed, rte_be16_t port)
{
	// All at once: a difference of 0 is one that taking 1 away makes negative.
	const uint64_t ones = UINT64_C(0x0001000100010001);
	uint64_t differences = packed ^ port * ones;
	return port != 0 && ((differences - ones) & ~differences & ones << 15) != 0;
}
