// Take super-packets apart. A super-packet is one IP packet of up to 64 KiB that stands for a run
// of segments: its headers are those of the first, tso_segsz is the payload of each but the last
// (TCP bytes, or one UDP datagram's). coalesce.h makes them, kernel ports and NICs with LRO deliver
// them. What vnet.h marks as VNET_TUNNEL_TCP stands for a run of datagrams of VXLAN, with a TCP
// segment in each: tso_segsz is the payload of those.
#pragma once

#include "dataplane/base/types.h"
#include "dataplane/port/vnet.h"
#include "dataplane/wire/ip.h"

#include <rte_mbuf.h>

// An IP header that each segment gets anew.
struct gso_ip {
	uint64_t sum; // of an IPv4 header, without length, identification, checksum
	uint16_t at;  // from the first byte of the segment
	uint16_t len;
	uint16_t id; // IPv4 identification of the next segment, host order
	uint8_t family;
};

// A super-packet that is being taken apart. It is borrowed and not changed: it must live until the
// last segment is out. // wrk only
struct gso_iter {
	const uint8_t *hdr;	    // the super-packet's L3 header
	const struct rte_mbuf *seg; // where the next payload byte lies ...
	uint32_t seg_off;	    // ... from this byte of the segment on
	uint32_t left;		    // payload bytes not yet out
	uint32_t seq;		    // TCP sequence number of the next segment, host order
	uint16_t mss;		    // payload bytes per segment
	uint16_t hdr_len;	    // all headers, options included
	uint16_t port;		    // copied to each segment
	uint8_t proto;
	bool first;
	bool outer_csum;     // the UDP around has a checksum
	struct gso_ip ip;    // in front of the L4 header
	struct gso_ip outer; // len 0: no VXLAN around
	uint64_t l4_sum;     // L4 and pseudo header without all that changes per segment
	struct rte_mempool *pool;
};

// super: data at the L3 header, possibly a chain; all headers in its first segment; tso_segsz set
// (ol_flags are not looked at, packet_type for VNET_TUNNEL_TCP alone). info: ip_parse_chain of it.
// Payload behind info->total_len is left out, lengths and checksums in super's headers are not
// trusted, but for those of VXLAN, which have to agree. UDP around VXLAN has a checksum where the
// super-packet's is not 0.
// 0, -EINVAL (not TCP or UDP, fragment, SYN or RST, headers cut short, no payload, tso_segsz 0,
// chain shorter than the packet, a tunnel that is not TCP in IP in untagged Ethernet in VXLAN), or
// -EMSGSIZE (a segment does not fit pool's buffers). [wrk]
int gso_iter_init(struct gso_iter *it, const struct rte_mbuf *super, const struct ip_info *info,
	struct rte_mempool *pool) must_check;

// Bytes of all headers of each segment, or 0: such a super-packet cannot be taken apart. [wrk]
uint32_t gso_hdr_len(const struct rte_mbuf *super, const struct ip_info *info);

// Segments still to come.
static inline uint32_t gso_iter_left(const struct gso_iter *it)
{
	return (it->left + it->mss - 1) / it->mss;
}

// Make the next min(max, left) segments: fresh mbufs of one piece with the default headroom, data
// at the L3 header, all lengths, sequence numbers, flags and checksums as they go onto the wire.
// The private area is as the pool left it. Returns how many, 0 after the last, or -ENOMEM: pool is
// empty, nothing was allocated and the call may be repeated. [wrk]
int gso_iter_next(struct gso_iter *it, struct rte_mbuf *out[], unsigned max) must_check;

// The two above for a super-packet whose segments all fit in out. Returns how many, or -errno as
// above, or -ENOSPC (more than max segments); then nothing was allocated. The caller frees super.
int gso_segment(const struct rte_mbuf *super, const struct ip_info *info, struct rte_mempool *pool,
	struct rte_mbuf *out[], unsigned max) must_check;

// Write the L4 checksum of a packet that is not a super-packet and whose sender left it to the
// hardware (RTE_MBUF_F_RX_L4_CKSUM_NONE); what the field holds does not matter. m: data at the L3
// header, chains welcome, the L4 header in the first segment. TCP, UDP and ICMPv6.
// 0, -EINVAL (fragment, header cut short, UDP length out of bounds, chain shorter than the packet),
// or -EPROTONOSUPPORT; then nothing was changed. [wrk]
int gso_csum_complete(struct rte_mbuf *m, const struct ip_info *info) must_check;

// Turn the checksum fields of a packet that asks for segmentation (RTE_MBUF_F_TX_TCP_SEG, _UDP_SEG;
// l2_len, l3_len, l4_len set) from the kernel's convention to DPDK's: pseudo header without length,
// IPv4 header checksum 0. [wrk]
void gso_to_ethdev(struct rte_mbuf *m);

// Put decrypted segments together again: super-packets that the kernel and NICs take in one piece.
// The rules are the stricter of the kernel's GRO (net/ipv4/tcp_offload.c, udp_offload.c) and
// wireguard-go's (tun/offload_linux.go): whatever is merged, gso.h takes apart into the same bytes,
// but for IPv4 identifications of packets with DF (RFC 6864 4.1).
//
// Merged are packets of one key and 5-tuple that lie in one mbuf, without IPv4 options, extension
// headers or fragmentation, with equal TOS, TTL, DF, flow label (and identifications that count up
// where DF is not set), and
// - TCP: payload, next sequence number, flags ACK alone, equal acknowledgment, window, urgent
//   pointer and options. PSH is allowed on the last and ends the run.
// - UDP: payload, a checksum; neither port in the list of tunnels and QUIC, which keep their
//   boundaries (coalesce.c), nor one that gro_keep() names.
// All payloads have the size of the first, the last may be smaller; at most GRO_SEGS_MAX segments
// and 65535 bytes. Anything else of the same flow ends the run, so that a flow keeps its order.
enum {
	GRO_SLOTS = 256,   // packets and runs that a context holds between two flushes
	GRO_SEGS_MAX = 64, // as the kernel for UDP (UDP_GRO_CNT_MAX)
};

enum gro_verdict {
	GRO_TAKEN,    // held; comes out of gro_flush, alone or as part of a super-packet
	GRO_BAD_CSUM, // IPv4 header or L4 checksum wrong: still the caller's, to drop and count
	GRO_FULL,     // no slot left: still the caller's; flush and add again
};

struct gro; // one per worker. // wrk only

// NULL: no memory. socket: NUMA socket or SOCKET_ID_ANY.
struct gro *gro_create(int socket) must_check;
// Further ports whose UDP keeps its boundaries, as vxlan_ports_pack() makes them; none at first.
// [wrk]
void gro_keep(struct gro *g, uint64_t ports);
// Frees the packets that are still held. NULL does nothing.
void gro_destroy(struct gro *g);

// Add a packet. m: data at its L3 header; info: ip_parse_chain of it. key: packets with different
// keys are never merged (the next hop, say). Only packets that could be merged are verified, and
// lose bytes behind info->total_len; the others pass as they are, in order with their flow. A
// packet marked RTE_MBUF_F_RX_L4_CKSUM_NONE or RX_LRO is not merged. [wrk]
enum gro_verdict gro_add(
	struct gro *g, struct rte_mbuf *m, const struct ip_info *info, uint64_t key) must_check;

// Hand out what is held, oldest first by the first segment, and end all runs. Returns how many,
// <= max; call until 0. A packet that stayed alone is as it was. A super-packet is a chain with
// nb_segs segments' payloads, valid IPv4 header checksum and lengths, the pseudo header's sum
// (length included) in the L4 checksum field, l2_len 0, l3_len, l4_len, tso_segsz and
// RTE_MBUF_F_TX_TCP_SEG or _UDP_SEG with TX_IPV4 | TX_IP_CKSUM or TX_IPV6; its private area is the
// first segment's, whatever it says of the length. [wrk]
unsigned gro_flush(struct gro *g, struct rte_mbuf *out[], unsigned max) must_check;
