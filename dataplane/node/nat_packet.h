// What the address translation reads of packets, and writes to them. Packets lie with their headers
// in one piece; nothing is read or written that does not.
#pragma once

#include "dataplane/node/node.h"
#include "dataplane/node/output.h"
#include "dataplane/wire/csum.h"

enum {
	ICMP_HEAD_LEN = 8,
	ICMP4_ECHO_REPLY = 0,
	ICMP4_UNREACHABLE = 3,
	ICMP4_ECHO = 8,
	ICMP4_TIME = 11,
	ICMP4_PARAMETER = 12,
	ICMP6_UNREACHABLE = 1,
	ICMP6_TOO_BIG = 2,
	ICMP6_TIME = 3,
	ICMP6_PARAMETER = 4,
	ICMP6_ECHO = 128,
	ICMP6_ECHO_REPLY = 129,
};

// What a packet is to the translation.
enum nat_shape {
	NAT_SHAPE_PORTS,		   // TCP, UDP
	NAT_SHAPE_ECHO,			   // a request from the inside, a reply from the outside
	NAT_SHAPE_PLAIN,		   // another protocol: by addresses alone
	NAT_SHAPE_KEYED = NAT_SHAPE_PLAIN, // up to here: a packet of the flow with its key
	NAT_SHAPE_ERROR,		   // ICMP about a packet of the flow with its key
	NAT_SHAPE_REPLY,		   // the other way round than _ECHO: somebody else's
	NAT_SHAPE_ICMP,			   // neither of these
	NAT_SHAPE_FRAGMENT,		   // ports cannot be told, or checksums not be written
	NAT_SHAPE_CUT, // shorter than its headers, or extension headers in the way
};

// The general case of nat_shape_of.
enum nat_shape nat_shape_slow(const struct rte_mbuf *m, const struct ip_info *ip,
	enum nat_side side, struct nat_key *key);

static inline const uint8_t *nat_src(const uint8_t *l3, uint8_t family)
{
	return l3 + (family == IP_V4 ? 12 : 8);
}

static inline const uint8_t *nat_dst(const uint8_t *l3, uint8_t family)
{
	return l3 + (family == IP_V4 ? 16 : 24);
}

// An address into a key, in whole words: they are read as such at once.
static inline void nat_put_address(uint8_t *to, const uint8_t *addr, uint8_t family)
{
	uint64_t word[2] = {csum_load32(addr), 0};
	if (family == IP_V6)
		memcpy(word, addr, sizeof(word));
	memcpy(to, &word[0], sizeof(word[0]));
	memcpy(to + 8, &word[1], sizeof(word[1]));
}

// Addresses and protocol of a packet that side sent; ports: as both lie in it, or 0.
static inline void nat_put_key(const uint8_t *l3, const struct ip_info *ip, enum nat_side side,
	uint32_t ports, struct nat_key *key)
{
	const uint8_t *src = nat_src(l3, ip->family), *dst = nat_dst(l3, ip->family);
	uint16_t kind = (uint16_t)(ip->proto << 8 | ip->family);
	if (side == NAT_INSIDE) // the remote one comes first
		ports = ports << 16 | ports >> 16;
	nat_put_address(key->local, side == NAT_INSIDE ? src : dst, ip->family);
	nat_put_address(key->remote, side == NAT_INSIDE ? dst : src, ip->family);
	memcpy(&key->remote_port, &ports, sizeof(ports));
	memcpy(&key->family, &kind, sizeof(kind));
}
static_assert(RTE_BYTE_ORDER == RTE_LITTLE_ENDIAN, "family and proto in one store");
static_assert(offsetof(struct nat_key, local_port) == offsetof(struct nat_key, remote_port) + 2);
static_assert(offsetof(struct nat_key, proto) == offsetof(struct nat_key, family) + 1);

static inline void nat_key_of(
	const uint8_t *l3, const struct ip_info *ip, enum nat_side side, struct nat_key *key)
{
	nat_put_key(l3, ip, side, 0, key);
}

// Of a packet that side sent; *key is written for shapes up to NAT_SHAPE_ERROR.
static inline enum nat_shape nat_shape_of(
	const struct rte_mbuf *m, const struct ip_info *ip, enum nat_side side, struct nat_key *key)
{
	const uint8_t *l3 = rte_pktmbuf_mtod(m, const uint8_t *);
	uint32_t least = ip->proto == IPPROTO_TCP ? TCP_HDR_LEN : UDP_HDR_LEN;
	bool plain = !(ip->flags & (IP_FLAG_FRAG | (ip->family == IP_V6 ? IP_FLAG_OPTIONS : 0)));
	if (unlikely((ip->proto != IPPROTO_TCP && ip->proto != IPPROTO_UDP) || !plain ||
		     m->data_len < ip->l3_len + least))
		return nat_shape_slow(m, ip, side, key);
	nat_put_key(l3, ip, side, (uint32_t)csum_load32(l3 + ip->l3_len), key);
	return NAT_SHAPE_PORTS;
}

// Flows of a burst.
struct nat_burst {
	struct nat_flow *flow[BURST]; // NULL: none, or an error about one
	struct nat_key key[BURST];
	uint64_t hash[BURST];
	uint32_t guess[BURST];
	uint8_t shape[BURST]; // enum nat_shape
};

// Find them: the index's lines and the flows are asked of memory ahead of their use.
void nat_burst_find(struct graph *g, struct rte_mbuf **pkts, unsigned n, enum nat_side side,
	uint32_t now_ms, struct nat_burst *b);

// New addresses (4 or 16 bytes; NULL: as it is) in a header; what the sums of 16-bit words of it,
// and of the pseudo headers over it, change by.
static inline uint64_t nat_replace(uint8_t *at, const uint8_t *with, unsigned len)
{
	uint64_t sum = 0;
	if (!with)
		return 0;
	for (unsigned i = 0; i < len; i += 4)
		sum += (uint32_t)~csum_load32(at + i) + csum_load32(with + i);
	memcpy(at, with, len);
	return sum;
}

static inline void nat_csum_add(uint8_t *field, uint64_t change)
{
	uint16_t csum;
	memcpy(&csum, field, sizeof(csum));
	csum = csum_finish((uint16_t)~csum + change);
	memcpy(field, &csum, sizeof(csum));
}

// The L4 checksum at field, where addresses and ports changed by these sums. partial: it is the
// pseudo header's sum, for the hardware to complete.
static inline void nat_l4_csum(
	uint8_t *field, bool is_udp, bool partial, uint64_t addrs, uint64_t ports)
{
	uint16_t csum;
	memcpy(&csum, field, sizeof(csum));
	if (unlikely(partial))
		csum = csum_fold(csum + addrs);
	else if (!is_udp)
		csum = csum_finish((uint16_t)~csum + addrs + ports);
	else if (csum != 0) // RFC 768: there is one
		csum = csum_finish_udp((uint16_t)~csum + addrs + ports);
	memcpy(field, &csum, sizeof(csum));
}

// Bytes from an IP header on: of a packet, or of one that an ICMP error quotes.
struct nat_bytes {
	uint8_t *l3;
	uint32_t len; // that lie there
	struct ip_info ip;
	bool partial; // the L4 checksum is the pseudo header's sum
};

// The packet itself, as far as it lies in one piece.
static inline struct nat_bytes nat_bytes_of(struct rte_mbuf *m)
{
	return (struct nat_bytes){
		.l3 = rte_pktmbuf_mtod(m, uint8_t *),
		.len = m->data_len,
		.ip = pkt_of(m)->ip,
		.partial =
			(m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_NONE,
	};
}

// What an ICMP error quotes. False: not enough of it, a later fragment, extension headers.
bool nat_quote_of(struct rte_mbuf *m, struct nat_bytes *quote) must_check;
// New addresses (NULL: as they are), and ports or an echo's id at port[0] (NULL: as they are), with
// what checksums can be reached.
void nat_rewrite(
	struct nat_bytes *b, const uint8_t *src, const uint8_t *dst, const rte_be16_t *port);
// What an L4 checksum of b changes by with its addresses and ports, where it can be reached; an
// echo's type and pseudo header are not looked at.
void nat_fix_l4(struct nat_bytes *b, uint64_t addrs, uint64_t ports);
static inline bool nat_is_icmp(const struct ip_info *ip)
{
	return ip->proto == (ip->family == IP_V4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
}

// An IP header without options at out, for what info says.
void nat_write_header(uint8_t *out, const struct ip_info *info, const uint8_t *src,
	const uint8_t *dst, uint16_t id);
// The info of a packet of the other family with the same payload (RFC 7915 4.1, 5.1).
struct ip_info nat_other_family(const struct ip_info *ip);

// What an L4 checksum changes by when these addresses take the place of those of the header at l3.
uint64_t nat_addresses_change(
	const uint8_t *l3, uint8_t from, const uint8_t *src, const uint8_t *dst, uint8_t to);
// An echo at icmp: type, id and checksum in the other family, where these are its addresses; l3,
// from: its header. What follows its id counts as it is.
void nat_echo_other_family(uint8_t *icmp, const uint8_t *l3, const struct ip_info *from,
	const uint8_t *src, const uint8_t *dst, rte_be16_t id);
// The packet of side becomes one of the other family, of the flow whose key there is to (RFC 7915).
// shape: up to NAT_SHAPE_PLAIN. pkt.ip is of the new header. False: it has ended.
bool nat_to_family(struct graph *g, struct rte_mbuf *m, enum nat_shape shape, enum nat_side side,
	const struct nat_key *to) must_check;
// Type and code of an ICMP error in the other family, and its MTU or pointer (RFC 7915 4.2, 5.2).
// icmp: 8 bytes, changed; from: the family. False: it has no equal there.
bool nat_icmp_other_family(uint8_t *icmp, uint8_t from, uint32_t quoted) must_check;

// An ICMP error that side sent about a packet of flow f: it, and what it quotes, become the other
// side's. Returns the packet, m or another in its place, or NULL: it has ended.
struct rte_mbuf *nat_error(struct graph *g, struct rte_mbuf *m, enum nat_side side,
	const struct nat_flow *f) must_check;

// Without state (struct nat_remap): known addresses become real ones (of what side NAT_INSIDE
// sends), real ones known. False: it has ended.
bool nat_remap(struct graph *g, struct rte_mbuf *m, const struct nat_config *,
	enum nat_side side) must_check;

// What is to become of a packet of a filtered peer that belongs to no flow.
enum nat_way {
	NAT_AS_IT_IS, // or by nat_remap alone
	NAT_NEW_FLOW, // as *new says, but for its class
	NAT_REFUSED,  // drop has why; nexthop NULL: no route
	// To a neighbour that is not known, behind no port: a bridge with a VXLAN has hosts at its
	// other ports, too, and for those the kernel translates.
	NAT_UNDECIDED,
};

struct nat_decision {
	enum nat_way way;
	enum drop_reason drop;
	bool redirected;	       // as it is it cannot go: a service's address, 4via6
	const struct nexthop *nexthop; // of where it goes then
	struct nat_new new;
};

// key: the packet's, of the shape. [wrk]
void nat_decide(struct graph *g, const struct nat_config *, enum nat_shape shape,
	const struct nat_key *key, struct nat_decision *d);
// Whether port at the address is one that stands for peers. Host order.
bool nat_is_outside(const struct graph *g, const struct nat_config *, const uint8_t *addr,
	uint8_t family, uint16_t port, const struct nexthop *nh);

// Flow f has a packet of side: idle time, counters, what TCP says.
void nat_tcp_seen(struct graph *g, struct nat_flow *f, enum nat_side side, uint8_t tcp_flags,
	uint32_t now_ms);
static inline void nat_seen(struct graph *g, const struct rte_mbuf *m, struct nat_flow *f,
	enum nat_side side, uint32_t now_ms)
{
	const struct ip_info *ip = &pkt_of((struct rte_mbuf *)(uintptr_t)m)->ip;
	f->last_ms = now_ms;
	f->packets[side]++;
	f->bytes[side] += m->pkt_len;
	if (ip->proto != IPPROTO_TCP)
		return;
	uint8_t tcp_flags =
		rte_pktmbuf_mtod_offset(m, const struct rte_tcp_hdr *, ip->l3_len)->tcp_flags;
	if (unlikely(f->class != NAT_TCP_OPEN ||
		     (tcp_flags & (RTE_TCP_FIN_FLAG | RTE_TCP_RST_FLAG))))
		nat_tcp_seen(g, f, side, tcp_flags, now_ms);
}

// nat_rewrite of TCP and UDP whose headers are there; port: as both lie in the packet.
static inline void nat_rewrite_ports(struct rte_mbuf *m, const struct ip_info *ip,
	const uint8_t *src, const uint8_t *dst, const rte_be16_t port[static 2])
{
	uint8_t *l3 = rte_pktmbuf_mtod(m, uint8_t *), *l4 = l3 + ip->l3_len;
	uint64_t addrs;
	if (ip->family == IP_V4) {
		addrs = nat_replace(l3 + 12, src, 4) + nat_replace(l3 + 16, dst, 4);
		nat_csum_add(l3 + 10, addrs);
	} else {
		addrs = nat_replace(l3 + 8, src, 16) + nat_replace(l3 + 24, dst, 16);
	}
	uint64_t ports = nat_replace(l4, (const uint8_t *)port, 4);
	bool partial = (m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_NONE;
	bool tcp = ip->proto == IPPROTO_TCP;
	nat_l4_csum(l4 + (tcp ? 16 : 6), !tcp, partial, addrs, ports);
}
