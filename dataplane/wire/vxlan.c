#include "dataplane/wire/vxlan.h"

enum vxlan_verdict vxlan_not_ip(const uint8_t *frame, uint32_t avail)
{
	struct ether_info eth;
	if (ether_parse(frame, avail, &eth) != 0)
		return VXLAN_SHORT;
	return eth.l2_len != ETHER_HDR_LEN ? VXLAN_VLAN : VXLAN_NOT_IP;
}
