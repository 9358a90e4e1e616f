// Helpers that several nodes share.
#pragma once

#include "dataplane/node/node.h"
#include "dataplane/port/gso.h"
#include "dataplane/table/lookup.h"
#include "dataplane/wire/ledger.h"

// The last address looked up in this burst: packets of a flow come in runs.
struct last_addr {
	uint8_t bytes[16];
	uint8_t family;
};

// Whether it was not this one; it is from now on. Lengths that the compiler knows: a comparison is
// then two instructions, not a call.
static inline bool addr_is_new(struct last_addr *last, const uint8_t *addr, uint8_t family)
{
	if (likely(family == IP_V4)) {
		if (likely(last->family == IP_V4 && memcmp(last->bytes, addr, 4) == 0))
			return false;
		memcpy(last->bytes, addr, 4);
	} else {
		if (likely(last->family == family && memcmp(last->bytes, addr, 16) == 0))
			return false;
		memcpy(last->bytes, addr, 16);
	}
	last->family = family;
	return true;
}

struct fib_cache {
	struct last_addr dst;
	const struct nexthop *nh;
};

static inline const struct nexthop *fib_cached(
	const struct fib *fib, struct fib_cache *c, const uint8_t *l3, uint8_t family)
{
	const uint8_t *dst = fib_address(l3, family);
	if (unlikely(addr_is_new(&c->dst, dst, family)))
		c->nh = fib_find(fib, dst, family);
	return c->nh;
}

// The same for the peer whose allowed IPs hold an inner address, given in network order.
struct peer_cache {
	struct last_addr addr;
	struct peer *peer;
};

static inline struct peer *peer_cached(
	const struct allowedips *allowed, struct peer_cache *c, const uint8_t *addr, uint8_t family)
{
	if (unlikely(addr_is_new(&c->addr, addr, family)))
		c->peer = family == IP_V4 ? allowedips_find4(allowed, addr)
					  : allowedips_find6(allowed, addr);
	return c->peer;
}

// One of a peer's counters: its owner alone writes it, so a load and a store will do.
static inline void peer_count(_Atomic uint64_t *counter, uint64_t n)
{
	uint64_t old = atomic_load_explicit(counter, memory_order_relaxed);
	atomic_store_explicit(counter, old + n, memory_order_relaxed);
}

// Where an mbuf's data really lies: all that stays of its flags when offloads were dealt with.
#define PKT_BUFFER_FLAGS (RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL)

// The pool whose buffers hold len bytes behind the usual headroom, if any does.
static inline struct rte_mempool *pkt_pool(const struct gateway *gw, uint32_t len)
{
	return len + RTE_PKTMBUF_HEADROOM <= rte_pktmbuf_data_room_size(gw->pool) ? gw->pool
										  : gw->super_pool;
}

static inline bool pkt_is_super(const struct rte_mbuf *m)
{
	return m->ol_flags & RTE_MBUF_F_RX_LRO;
}

// A run of TCP segments in a UDP tunnel, as vnet.h tells of it.
static inline bool pkt_is_tunnel_super(const struct rte_mbuf *m)
{
	return m->packet_type == VNET_TUNNEL_TCP && m->tso_segsz != 0;
}

// For many: multicast, or 255.255.255.255.
static inline bool pkt_is_multicast(const struct rte_mbuf *m, const struct ip_info *ip)
{
	const uint8_t *l3 = rte_pktmbuf_mtod(m, const uint8_t *);
	if (ip->family == IP_V6)
		return l3[24] == 0xff;
	return l3[16] >= 0xe0 &&
	       (l3[16] < 0xf0 || (l3[16] & l3[17] & l3[18] & l3[19]) == UINT8_MAX);
}

// Its sender left segmentation or checksum to the hardware.
static inline bool pkt_is_unfinished(const struct rte_mbuf *m)
{
	const uint64_t flags = RTE_MBUF_F_RX_LRO | RTE_MBUF_F_RX_L4_CKSUM_MASK;
	if (likely((m->ol_flags & flags) == 0))
		return false;
	return pkt_is_super(m) ||
	       (m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_NONE;
}

// Cut off what lies behind the IP packet: Ethernet's padding. False: not in the last segment alone.
static inline bool pkt_trim(struct rte_mbuf *m, uint32_t total_len)
{
	return likely(m->pkt_len == total_len) ||
	       rte_pktmbuf_trim(m, (uint16_t)(m->pkt_len - total_len)) == 0;
}

// IP bytes of the largest packet that this one becomes on a wire.
static inline uint32_t pkt_wire_len(const struct rte_mbuf *m, const struct ip_info *ip)
{
	if (!pkt_is_super(m))
		return ip->total_len;
	if (unlikely(pkt_is_tunnel_super(m)))
		return gso_hdr_len(m, ip) + m->tso_segsz;
	uint32_t l4 = UDP_HDR_LEN;
	if (ip->proto == IPPROTO_TCP)
		l4 = (rte_pktmbuf_mtod_offset(m, struct rte_tcp_hdr *, ip->l3_len)->data_off >> 4) *
		     4;
	return ip->l3_len + l4 + m->tso_segsz;
}

// The largest packet of a family on the path to a peer. No sender of IPv6 goes below its least MTU.
static inline uint16_t peer_mtu(
	const struct peer_path *path, uint16_t tunnel_mtu, enum ip_family family)
{
	uint16_t mtu = ledger_lower(tunnel_mtu, path->mtu);
	if (unlikely(path->least6 > mtu) && family == IP_V6)
		mtu = RTE_MIN(tunnel_mtu, path->least6);
	return mtu;
}

// Give a packet to the worker that owns its peer; it enters there at node.
void handoff(struct graph *g, struct rte_mbuf *m, enum node_id node);
// The same by the worker's number.
void handoff_to(struct graph *g, struct rte_mbuf *m, uint16_t worker, enum node_id node);
// A frame that is not for the graph: on a shared port the kernel has its own copy; an owned port's
// goes to the kernel through the mirror. stripped: data is behind the Ethernet header.
void leave_to_kernel(struct graph *g, struct rte_mbuf *m, bool stripped);

// A frame for a host behind a remote VTEP: the port has the kernel's VXLAN device wrap it.
static inline void output_into_vxlan(struct rte_mbuf *m)
{
	const struct pkt *p = pkt_of(m);
	if (likely(!p->nexthop || p->nexthop->type != NH_VXLAN))
		return;
	m->ol_flags |= RTE_MBUF_F_TX_TUNNEL_VXLAN;
	m->hash.usr = p->vtep->device;
}

// Put an Ethernet header in front (NULL: none): then to TX, or NODE_COUNT: no room, dropped.
// pkt.nexthop: whose header it is; NULL: the packet's own.
static inline enum node_id output_ether(struct graph *g, struct rte_mbuf *m, const uint8_t *l2)
{
	if (likely(l2)) {
		struct rte_ether_hdr *eth = (struct rte_ether_hdr *)rte_pktmbuf_prepend(m, L2_LEN);
		if (unlikely(!eth)) {
			graph_drop(g, m, DROP_NO_MBUF);
			return NODE_COUNT;
		}
		memcpy(eth, l2, L2_LEN);
		eth->ether_type = rte_cpu_to_be_16(
			pkt_of(m)->ip.family == IP_V4 ? RTE_ETHER_TYPE_IPV4 : RTE_ETHER_TYPE_IPV6);
		m->l2_len = L2_LEN;
		output_into_vxlan(m);
	} else {
		m->l2_len = 0;
	}
	return NODE_TX;
}

// The same, and transmit.
void output_l2(struct graph *g, struct rte_mbuf *m, const uint8_t *l2);
// The same for a packet whose segmentation or checksum is still to be done: by the port, or here.
void output_offload(struct graph *g, struct rte_mbuf *m, const uint8_t *l2);

// Have the control thread told; the mailbox being full is counted. True: told.
bool event_send(struct graph *g, const struct worker_event *e);
// Whether the rate limit lets one more message go that tells a peer of an error.
bool icmp_token(struct graph *g);
// A packet to a filtered peer: what it begins may be answered. False: it must not go, and has
// ended.
bool filter_out(struct graph *g, struct rte_mbuf *m);
// Whether a packet of a filtered peer answers what began on our side, of any protocol but ICMP; m:
// no fragment, its headers whole. That is remembered where sources are translated.
bool filter_is_answer(struct graph *g, const struct rte_mbuf *m);
// Whether a packet from a port is to enter NAT_RETURN; nh: by its destination.
bool nat_is_return(struct graph *g, const struct rte_mbuf *m, const struct ip_info *ip,
	const struct nexthop *nh);
// A packet from the network or the host towards a filtered peer, for no outside address of ours: a
// service's answer, a prefix by another name. False: it has ended.
bool nat_towards_peer(struct graph *g, struct rte_mbuf *m) must_check;
// Once a round: what the configuration says, flows that are idle. True: there is more to do.
bool nat_round(struct graph *g);
// Copy head and m's data, which lie in one piece, for the control thread, so that no receive buffer
// waits for it: to PUNT with this reason. m stays the caller's. What finds no room is counted.
void punt_copy(struct graph *g, const struct rte_mbuf *m, enum punt_reason reason,
	const uint8_t *head, uint32_t head_len);
// TSC units within which an event about one peer is not repeated.
uint64_t event_pause(const struct graph *g);
// Ask for a handshake or a path, unless that was done just now. index: of the keypair, or 0.
void peer_ask(struct graph *g, struct peer *peer, enum event_type type, uint32_t index);

// Tell the sender why its packet ends here, and end it. mtu: for ICMP_TOO_BIG.
static inline void icmp_reply(
	struct graph *g, struct rte_mbuf *m, enum icmp_reason reason, uint16_t mtu)
{
	pkt_of(m)->reason = reason;
	pkt_of(m)->mtu = mtu;
	graph_to(g, NODE_ICMP_ERROR, m);
}

// The inner packet of one that met congestion is marked, too. False: it must be dropped.
bool ecn_mark(uint8_t *inner, struct ip_info *ip);

// Congestion marked in the outer IP header reaches the inner one (RFC 6040, 4.2). False: the packet
// must be dropped.
static inline bool ecn_decapsulate(const uint8_t *outer, uint8_t *inner, struct ip_info *ip)
{
	uint8_t tos = outer[0] >> 4 == 4 ? outer[1] : (uint8_t)(outer[1] >> 4);
	return likely((tos & 3) != 3) || ecn_mark(inner, ip);
}
// m, of more than mtu bytes, may carry VXLAN: tell the host inside that its packet is too big,
// where it asked for that (DF, IPv6) and less would fit. m stays the caller's. True: told. False:
// nothing of the kind, or the rate limit, which is counted.
bool icmp_vxlan_too_big(struct graph *g, const struct rte_mbuf *m, uint16_t mtu);

// A packet of more than mtu bytes: an ICMP error (to the host in VXLAN first), or fragments to node
// where IPv4 and, into the tunnel, the configuration allow them.
void too_big(struct graph *g, struct rte_mbuf *m, uint16_t mtu, enum node_id node);

// An empty packet of the graph's own, or NULL (counted): headroom as usual.
static inline struct rte_mbuf *pkt_alloc(struct graph *g)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(g->gw->pool);
	if (unlikely(!m)) {
		g->drops[DROP_NO_MBUF]++;
		return NULL;
	}
	memset(pkt_of(m), 0, sizeof(struct pkt));
	return m;
}

// A new packet that continues another's way: its metadata.
static inline void pkt_inherit(struct rte_mbuf *to, const struct rte_mbuf *from)
{
	*pkt_of(to) = *(const struct pkt *)rte_mbuf_to_priv((struct rte_mbuf *)(uintptr_t)from);
}
