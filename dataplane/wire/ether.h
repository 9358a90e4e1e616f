// Ethernet headers, with at most two VLAN tags (IEEE 802.1Q, 802.1ad). Structs are DPDK's.
#pragma once

#include "dataplane/base/types.h"

#include <errno.h>
#include <rte_byteorder.h>
#include <rte_ether.h>

enum {
	ETHER_HDR_LEN = 14, // two addresses and the type
	ETHER_VLAN_LEN = 4,
	ETHER_VLAN_MAX = 2, // tags walked; a third is left as the type
};
static_assert(sizeof(struct rte_ether_hdr) == ETHER_HDR_LEN);
static_assert(sizeof(struct rte_vlan_hdr) == ETHER_VLAN_LEN);

struct ether_info {
	uint16_t type;	 // host order, behind the tags: RTE_ETHER_TYPE_IPV4 ...
	uint16_t l2_len; // bytes up to the payload
	uint16_t vlan;	 // TCI of the outer tag, host order; 0: none
};

// Read the Ethernet header of a frame of avail contiguous bytes.
// 0, or -EINVAL when header or tags are cut short. [any thread]
must_check static inline int ether_parse(
	const uint8_t *frame, uint32_t avail, struct ether_info *info)
{
	if (avail < ETHER_HDR_LEN)
		return -EINVAL;

	// Byte by byte: rte_ether_hdr wants an even address, a VXLAN payload may have an odd one.
	uint16_t type = (uint16_t)(frame[12] << 8 | frame[13]);
	*info = (struct ether_info){.type = type, .l2_len = ETHER_HDR_LEN};
	for (unsigned n = 0; n < ETHER_VLAN_MAX; n++) {
		if (likely(info->type != RTE_ETHER_TYPE_VLAN && info->type != RTE_ETHER_TYPE_QINQ))
			break;
		if (avail < (uint32_t)info->l2_len + ETHER_VLAN_LEN)
			return -EINVAL;
		const struct rte_vlan_hdr *tag =
			(const struct rte_vlan_hdr *)(frame + info->l2_len);
		if (n == 0)
			info->vlan = rte_be_to_cpu_16(tag->vlan_tci);
		info->type = rte_be_to_cpu_16(tag->eth_proto);
		info->l2_len += ETHER_VLAN_LEN;
	}
	return 0;
}
