#include "dataplane/wire/vxlan.h"

enum vxlan_verdict vxlan_parse(
	const uint8_t *h, uint32_t contig, uint32_t len, uint32_t *vni, struct ip_info *ip)
{
	if (contig > len)
		contig = len;
	if (contig < VXLAN_HDR_LEN)
		return VXLAN_SHORT;

	const struct vxlan_header *vxlan = (const struct vxlan_header *)h;
	if ((vxlan->flags & ~VXLAN_FLAG_GROUP) != VXLAN_FLAG_VNI)
		return VXLAN_FLAGS;
	*vni = vxlan_vni(vxlan);

	struct ether_info eth;
	if (ether_parse(h + VXLAN_FRAME_AT, contig - VXLAN_FRAME_AT, &eth) != 0)
		return VXLAN_SHORT;
	if (eth.l2_len != ETHER_HDR_LEN)
		return VXLAN_VLAN;
	if (eth.type != RTE_ETHER_TYPE_IPV4 && eth.type != RTE_ETHER_TYPE_IPV6)
		return VXLAN_NOT_IP;

	if (ip_parse_chain(h + VXLAN_L3_AT, contig - VXLAN_L3_AT, len - VXLAN_L3_AT, ip) != 0 ||
		(ip->family == IP_V4) != (eth.type == RTE_ETHER_TYPE_IPV4))
		return VXLAN_INNER;
	return VXLAN_OK;
}
