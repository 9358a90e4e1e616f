// The virtio network header, in front of every packet on a kernel port, and mbuf flags. Layout and
// values: virtio 1.2 section 5.1.6, linux/virtio_net.h (whose Debian 12 copy lacks UDP_L4). Fields
// are in host order: that is what the kernel's legacy header means on x86.
#pragma once

#include <rte_mbuf.h>

#include "dataplane/base/types.h"

enum {
	VNET_F_NEEDS_CSUM = 1, // sum from csum_start to the end belongs at csum_start + csum_offset
	VNET_F_DATA_VALID = 2, // the checksum was verified

	VNET_GSO_NONE = 0,
	VNET_GSO_TCPV4 = 1,
	VNET_GSO_TCPV6 = 4,
	VNET_GSO_UDP_L4 = 5, // gso_size: bytes of each datagram's payload (Linux 6.2)
	VNET_GSO_ECN = 0x80, // TCP with CWR set

	// packet_type of a run of TCP segments in a UDP tunnel (VXLAN): tso_segsz is their payload,
	// all headers are those of the first, and its inner checksum is to be completed. Where
	// VXLAN is what it seems to be, csum_start agrees.
	VNET_TUNNEL_TCP = RTE_PTYPE_TUNNEL_VXLAN | RTE_PTYPE_INNER_L4_TCP,

	VNET_CSUM_TCP = 16, // csum_offset: the field's place in the L4 header
	VNET_CSUM_UDP = 6,
	VNET_CSUM_SCTP = 8,
};

struct vnet_hdr {
	uint8_t flags;
	uint8_t gso_type;
	uint16_t hdr_len; // bytes of all headers; a hint
	uint16_t gso_size;
	uint16_t csum_start;
	uint16_t csum_offset;
};
static_assert(sizeof(struct vnet_hdr) == 10);

#define VNET_RX_PLAIN(h) (((h)->flags & VNET_F_NEEDS_CSUM) == 0 && (h)->gso_type == VNET_GSO_NONE)

// The general case of vnet_to_mbuf.
int vnet_to_mbuf_offload(const struct vnet_hdr *h, struct rte_mbuf *m, bool l2) must_check;

// Take over what the header says of a received packet: ol_flags, tso_segsz and packet_type
// (RTE_PTYPE _L4_TCP or _UDP of a super-packet). m: all of its headers in the first segment; l2:
// its data starts at an Ethernet header. A checksum that is left to us but is not the TCP or UDP
// one behind the IP header (SCTP, a tunnel's inner packet) is completed here, but for a run of TCP
// segments in a UDP tunnel: VNET_TUNNEL_TCP instead of RTE_MBUF_F_RX_LRO. -EINVAL: unknown type, or
// header and packet disagree. [wrk]
must_check static inline int vnet_to_mbuf(const struct vnet_hdr *h, struct rte_mbuf *m, bool l2)
{
	if (unlikely(!VNET_RX_PLAIN(h)))
		return vnet_to_mbuf_offload(h, m, l2);
	if (h->flags & VNET_F_DATA_VALID)
		m->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_GOOD;
	return 0;
}

#define VNET_TX_ASKS (RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG | RTE_MBUF_F_TX_L4_MASK)

// The general case of vnet_from_mbuf.
int vnet_from_mbuf_offload(const struct rte_mbuf *m, bool l2, struct vnet_hdr *h) must_check;

// Write the header of a packet to send.
// -EINVAL: an offload that kernel ports do not have, or lengths that do not fit the packet. [wrk]
must_check static inline int vnet_from_mbuf(const struct rte_mbuf *m, bool l2, struct vnet_hdr *h)
{
	if (m->ol_flags & RTE_MBUF_F_TX_OFFLOAD_MASK)
		return vnet_from_mbuf_offload(m, l2, h);
	*h = (struct vnet_hdr){0};
	return 0;
}
