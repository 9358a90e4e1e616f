// The account of a path: what each layer of tunnels takes, which packets fit into all of them, and
// what share of the line is payload. Pure functions of numbers; any thread.
//
// A layer is a network: packets of up to its MTU travel in it. The first is the link; each further
// one carries its packets inside those of the layer before it ("below").
#pragma once

#include "dataplane/base/types.h"
#include "dataplane/wire/ether.h"
#include "dataplane/wire/geneve.h"
#include "dataplane/wire/ip.h"
#include "dataplane/wire/wireguard.h"

#include <rte_vxlan.h>

enum ledger_kind {
	LEDGER_LINK, // Ethernet
	LEDGER_VLAN, // a tag: on a link the frame grows, in an overlay the packet around it
	LEDGER_WG4,
	LEDGER_WG6,
	LEDGER_WG, // over what is not known: as over IPv6
	LEDGER_VXLAN4,
	LEDGER_VXLAN6,
	LEDGER_RELAY4, // WireGuard through a peer relay: Geneve before it
	LEDGER_RELAY6,
	LEDGER_DERP4, // WireGuard through DERP: frames in a TCP stream
	LEDGER_DERP6,
	LEDGER_KINDS,
};

// Bytes.
enum {
	LEDGER_LAYERS_MAX = 8,
	LEDGER_MTU_MIN4 = 576,	   // what every host takes (RFC 791)
	LEDGER_MTU_MIN6 = 1280,	   // what every link carries (RFC 8200 section 5)
	LEDGER_MTU_TAILNET = 1280, // of every node's interface (tailscale net/tstun/mtu.go)
	LEDGER_UDP4 = IP4_HDR_LEN + UDP_HDR_LEN,
	LEDGER_UDP6 = IP6_HDR_LEN + UDP_HDR_LEN,
	// VXLAN's header and the Ethernet header inside it; the one outside is no part of an MTU.
	LEDGER_VXLAN_LEN = sizeof(struct rte_vxlan_hdr) + ETHER_HDR_LEN,
	// Ethernet around an IP packet on the line: preamble 8, header, FCS 4, gap 12 (IEEE 802.3).
	LEDGER_FRAME_LEN = 8 + ETHER_HDR_LEN + 4 + 12,
	LEDGER_TIMESTAMPS_LEN = 12, // of TCP, as Linux sends them in every segment (RFC 7323)
	// DERP's frame header and key (tailscale derp/derp.go); TLS 1.3's header, type and tag, a
	// record for each frame: the worst case.
	LEDGER_DERP_LEN = 5 + 32 + 5 + 1 + 16,
	LEDGER_FRAGMENT6_LEN = 8,
};

// What an MTU is due to.
enum ledger_source {
	LEDGER_ROOM,	  // to what the layers below leave
	LEDGER_INTERFACE, // the MTU that it was given; may be more than fits
	LEDGER_ROUTE,
	LEDGER_PROBE, // the largest that came through
	LEDGER_ICMP,  // what a router says
	LEDGER_SOURCES,
};

struct ledger_layer {
	// In.
	enum ledger_kind kind;
	uint16_t said[LEDGER_SOURCES]; // by source, of this layer; 0: nothing. The link has one

	// Out.
	uint16_t overhead;	  // of a packet in the layer below
	uint16_t room;		  // largest that goes there in one piece; 0: a stream below
	uint16_t mtu;		  // largest packet of this layer
	enum ledger_source due;	  // to which the MTU is
	uint16_t mss4, mss6;	  // as TCP announces them; mss6 0: too small for IPv6
	uint32_t outer;		  // of a packet of mtu bytes, in the layer below
	uint16_t fragments;	  // into which that is cut there; 1: none. Of a stream: 1
	uint32_t packets_x100;	  // on the link for a packet of mtu bytes, hundredths
	uint16_t payload_permill; // of the line's time, with full TCP segments over IPv4
};

static inline uint16_t ledger_overhead(enum ledger_kind kind)
{
	static const uint16_t overhead[LEDGER_KINDS] = {
		[LEDGER_VLAN] = ETHER_VLAN_LEN,
		[LEDGER_WG4] = LEDGER_UDP4 + WG_DATA_OVERHEAD,
		[LEDGER_WG6] = LEDGER_UDP6 + WG_DATA_OVERHEAD,
		[LEDGER_WG] = LEDGER_UDP6 + WG_DATA_OVERHEAD,
		[LEDGER_VXLAN4] = LEDGER_UDP4 + LEDGER_VXLAN_LEN,
		[LEDGER_VXLAN6] = LEDGER_UDP6 + LEDGER_VXLAN_LEN,
		[LEDGER_RELAY4] = LEDGER_UDP4 + GENEVE_HEADER_LEN + WG_DATA_OVERHEAD,
		[LEDGER_RELAY6] = LEDGER_UDP6 + GENEVE_HEADER_LEN + WG_DATA_OVERHEAD,
		[LEDGER_DERP4] = WG_DATA_OVERHEAD + LEDGER_DERP_LEN,
		[LEDGER_DERP6] = WG_DATA_OVERHEAD + LEDGER_DERP_LEN,
	};
	return overhead[kind];
}

// What carries WireGuard to a peer by UDP.
static inline enum ledger_kind ledger_carrier(enum ip_family family, bool through_relay)
{
	if (through_relay)
		return family == IP_V4 ? LEDGER_RELAY4 : LEDGER_RELAY6;
	return family == IP_V4 ? LEDGER_WG4 : LEDGER_WG6;
}

// The largest packet inside, in one piece, of what travels below; 0: none.
static inline uint16_t ledger_inside(uint16_t below, enum ledger_kind kind)
{
	uint16_t overhead = ledger_overhead(kind);
	return below > overhead ? below - overhead : 0;
}

// The lower of an MTU and of what else is said; 0: nothing is.
static inline uint16_t ledger_lower(uint16_t mtu, uint16_t said)
{
	return said && said < mtu ? said : mtu;
}

// TCP's segment without options in a packet of mtu bytes.
static inline uint16_t ledger_mss(uint16_t mtu, enum ip_family family)
{
	uint16_t headers = (family == IP_V4 ? IP4_HDR_LEN : IP6_HDR_LEN) + TCP_HDR_LEN;
	return mtu > headers ? mtu - headers : 0;
}

// Into how many pieces a packet of len bytes, without options, is cut for a network of mtu bytes.
// 1: it fits; 0: no network can be so small.
uint32_t ledger_fragments(uint32_t len, uint16_t mtu, enum ip_family family);

// Fill the account in, from the link inward. 0; or what is wrong with layer *at:
// -EINVAL: a link that is not the first layer, or a first layer that is none; a tag where there is
// no Ethernet;
// -E2BIG: no layers or more than LEDGER_LAYERS_MAX (*at is n);
// -EDOM: something said is under LEDGER_MTU_MIN4, or the link has no MTU;
// -ENOSPC: less than LEDGER_MTU_MIN4 is left;
// -EAFNOSUPPORT: it goes over IPv6, and below is less than LEDGER_MTU_MIN6;
// -EMSGSIZE: an MTU of which a packet is not possible: a tag's that is larger than below's, or one
// of more than 65535 bytes with what is added.
int ledger_account(struct ledger_layer *layer, unsigned n, unsigned *at) must_check;

// What fits through all layers, in permille of what fits through one WireGuard tunnel over IPv6 on
// the same link: 1420 of 1500. Of an account that ledger_account() has filled in.
uint32_t ledger_capacity_permill(const struct ledger_layer *layer, unsigned n);
