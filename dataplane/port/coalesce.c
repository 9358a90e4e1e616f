#include "dataplane/port/gso.h"

#include "dataplane/wire/csum.h"
#include "dataplane/wire/vxlan.h"

#include <rte_malloc.h>

enum {
	SETS = 16, // open runs are found by hash in a table of SETS * WAYS
	WAYS = 4,
	SLOT_NONE = 0xffff,
	TOTAL_MAX = 65535, // what an IPv4 length says; IPv6 could be 40 more
	DF_BIT = 0x40,	   // in byte 6 of the IPv4 header
};
static_assert((int)GRO_SLOTS < (int)SLOT_NONE);

// VXLAN (IANA and Linux's old port), QUIC, Geneve: whoever takes these apart counts on datagrams.
static const rte_be16_t udp_keep[] = {
	RTE_BE16(4789),
	RTE_BE16(8472),
	RTE_BE16(443),
	RTE_BE16(6081),
};

struct flow_key {
	uint64_t addr[4]; // IPv4: source and destination in the first, the rest 0
	uint64_t ports;	  // as in the L4 header, and protocol << 32, family << 40
	uint64_t key;	  // the caller's
};

// A packet, or a run of segments.
struct slot {
	struct rte_mbuf *head;
	struct rte_mbuf *tail;
	struct flow_key flow; // this and the following: runs only
	uint32_t total_len;   // IP length of the super-packet so far
	uint32_t next_seq;    // TCP, host order
	uint16_t mss;	      // payload of the first
	uint16_t segs;
	uint16_t l3_len;
	uint16_t hdr_len;
	uint8_t family;
	uint8_t proto;
};

struct gro {
	unsigned first; // slots before this have been flushed
	unsigned end;
	uint16_t *last;		   // entry of open that was found last, in case the next is its too
	uint64_t keep;		   // further UDP ports whose datagrams stay alone
	uint8_t victim;		   // way that the next full set gives up
	uint16_t open[SETS][WAYS]; // slot of a run that may grow, or SLOT_NONE
	struct slot slots[GRO_SLOTS];
};

// What gro_add found out of a packet.
struct candidate {
	const uint8_t *l3;
	struct flow_key flow;
	uint32_t seq; // TCP, host order
	uint16_t l3_len;
	uint16_t hdr_len;
	uint16_t payload;
	uint8_t family;
	uint8_t proto;
	bool push;
};

enum kind {
	KIND_ALONE,  // no run can be concerned
	KIND_ORDER,  // cannot be merged, but has its place in its flow
	KIND_UNSURE, // a fragment: nobody knows of which flow
	KIND_MERGE,
};

struct gro *gro_create(int socket)
{
	struct gro *g = rte_zmalloc_socket("gro", sizeof(*g), RTE_CACHE_LINE_SIZE, socket);
	if (g == NULL)
		return NULL;
	memset(g->open, 0xff, sizeof(g->open));
	g->last = &g->open[0][0];
	return g;
}

void gro_keep(struct gro *g, uint64_t ports)
{
	g->keep = ports;
}

void gro_destroy(struct gro *g)
{
	if (g == NULL)
		return;
	for (unsigned i = g->first; i < g->end; i++)
		rte_pktmbuf_free(g->slots[i].head);
	rte_free(g);
}

static inline uint64_t load64(const uint8_t *p)
{
	uint64_t v;
	memcpy(&v, p, sizeof(v));
	return v;
}

static inline uint32_t load32(const uint8_t *p)
{
	uint32_t v;
	memcpy(&v, p, sizeof(v));
	return v;
}

static inline uint16_t load16(const uint8_t *p)
{
	uint16_t v;
	memcpy(&v, p, sizeof(v));
	return v;
}

static inline void read_flow(
	const uint8_t *l3, const struct ip_info *info, uint64_t key, struct flow_key *f)
{
	if (info->family == IP_V4) {
		f->addr[0] = load64(l3 + 12);
		f->addr[1] = f->addr[2] = f->addr[3] = 0;
	} else {
		for (unsigned i = 0; i < 4; i++)
			f->addr[i] = load64(l3 + 8 + 8 * i);
	}
	f->ports = load32(l3 + info->l3_len) | (uint64_t)info->proto << 32 |
		   (uint64_t)info->family << 40;
	f->key = key;
}

static inline bool flow_equal(const struct flow_key *a, const struct flow_key *b)
{
	return ((a->addr[0] ^ b->addr[0]) | (a->addr[1] ^ b->addr[1]) | (a->addr[2] ^ b->addr[2]) |
		       (a->addr[3] ^ b->addr[3]) | (a->ports ^ b->ports) | (a->key ^ b->key)) == 0;
}

// Which set; a flood of one set costs merging, nothing else.
static inline unsigned flow_set(const struct flow_key *f)
{
	uint64_t h = f->addr[0] ^ rte_bswap64(f->addr[1]);
	h ^= (f->addr[2] ^ rte_bswap64(f->addr[3])) * 0x9e3779b97f4a7c15;
	h = (h ^ f->ports ^ f->key) * 0xff51afd7ed558ccd;
	h = (h ^ h >> 32) * 0xc4ceb9fe1a85ec53;
	return h >> 60;
}
static_assert(SETS == 1 << 4);

static enum kind read_tcp(const struct ip_info *info, const uint8_t *l4, struct candidate *c)
{
	const struct rte_tcp_hdr *tcp = (const struct rte_tcp_hdr *)l4;
	uint32_t hdr_len = info->l3_len + (tcp->data_off >> 4) * 4;
	uint8_t flags = tcp->tcp_flags & ~RTE_TCP_PSH_FLAG;
	// The low half of data_off holds flags too: AE of AccECN, and reserved ones.
	if (flags != RTE_TCP_ACK_FLAG || (tcp->data_off & 0x0f) != 0 ||
		hdr_len < (uint32_t)info->l3_len + TCP_HDR_LEN || hdr_len >= info->total_len)
		return KIND_ORDER;
	c->seq = rte_be_to_cpu_32(tcp->sent_seq);
	c->push = tcp->tcp_flags & RTE_TCP_PSH_FLAG;
	c->hdr_len = (uint16_t)hdr_len;
	return KIND_MERGE;
}

static enum kind read_udp(
	uint64_t keep, const struct ip_info *info, const uint8_t *l4, struct candidate *c)
{
	const struct rte_udp_hdr *udp = (const struct rte_udp_hdr *)l4;
	for (unsigned i = 0; i < RTE_DIM(udp_keep); i++) {
		if (udp->src_port == udp_keep[i] || udp->dst_port == udp_keep[i])
			return KIND_ALONE;
	}
	if (vxlan_is_port(keep, udp->src_port) || vxlan_is_port(keep, udp->dst_port))
		return KIND_ALONE;
	uint32_t hdr_len = info->l3_len + UDP_HDR_LEN;
	if (info->l3_len + rte_be_to_cpu_16(udp->dgram_len) != info->total_len ||
		udp->dgram_cksum == 0 || hdr_len >= info->total_len)
		return KIND_ORDER;
	c->seq = 0;
	c->push = false;
	c->hdr_len = (uint16_t)hdr_len;
	return KIND_MERGE;
}

static inline enum kind examine(const struct gro *g, const struct rte_mbuf *m,
	const struct ip_info *info, uint64_t key, struct candidate *c)
{
	bool tcp = info->proto == IPPROTO_TCP;
	if (!tcp && info->proto != IPPROTO_UDP)
		return KIND_ALONE;
	if (unlikely(info->flags & IP_FLAG_FRAG))
		return KIND_UNSURE;
	uint32_t l4_min = info->l3_len + (tcp ? TCP_HDR_LEN : UDP_HDR_LEN);
	if (unlikely(m->data_len < l4_min || info->total_len < l4_min))
		return KIND_ALONE;

	c->l3 = rte_pktmbuf_mtod(m, const uint8_t *);
	read_flow(c->l3, info, key, &c->flow);
	const uint8_t *l4 = c->l3 + info->l3_len;
	enum kind kind = tcp ? read_tcp(info, l4, c) : read_udp(g->keep, info, l4, c);
	if (kind != KIND_MERGE)
		return kind;
	uint64_t l4_csum = m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK;
	if ((info->flags & IP_FLAG_OPTIONS) || m->nb_segs != 1 || info->total_len > m->data_len ||
		info->total_len > TOTAL_MAX || l4_csum == RTE_MBUF_F_RX_L4_CKSUM_NONE ||
		(m->ol_flags & RTE_MBUF_F_RX_LRO))
		return KIND_ORDER;
	c->family = info->family;
	c->proto = info->proto;
	c->l3_len = info->l3_len;
	c->payload = (uint16_t)(info->total_len - c->hdr_len);
	return KIND_MERGE;
}

static inline bool csum_ok(const struct candidate *c, const struct ip_info *info)
{
	uint32_t l4_len = info->total_len - info->l3_len;
	if (info->family == IP_V4 && !csum_ip4_hdr_ok(c->l3, IP4_HDR_LEN))
		return false;
	uint64_t sum = csum_pseudo(c->l3, info, l4_len);
	return csum_fold(csum_add(c->l3 + info->l3_len, l4_len, sum)) == 0xffff;
}

static inline bool entry_is(const struct gro *g, uint16_t i, const struct flow_key *f)
{
	return i != SLOT_NONE && flow_equal(&g->slots[i].flow, f);
}

// The table's entry of the run that the flow may still grow, or NULL.
static inline uint16_t *find(struct gro *g, const struct flow_key *f)
{
	if (likely(entry_is(g, *g->last, f)))
		return g->last;
	uint16_t *set = g->open[flow_set(f)];
	for (unsigned way = 0; way < WAYS; way++) {
		if (entry_is(g, set[way], f)) {
			g->last = &set[way];
			return g->last;
		}
	}
	return NULL;
}

// Differences of two IP headers that a super-packet cannot carry. n: position of b in the run.
static inline uint32_t ip_differs(const uint8_t *a, const uint8_t *b, uint8_t family, uint16_t n)
{
	if (family == IP_V6) // version, class, flow label; next header and hop limit
		return (load32(a) ^ load32(b)) | (uint32_t)(load16(a + 6) ^ load16(b + 6));
	uint32_t differs = (uint32_t)(load16(a) ^ load16(b)) |	       // IHL, TOS
			   (uint32_t)(load16(a + 6) ^ load16(b + 6)) | // DF
			   (uint32_t)(load16(a + 8) ^ load16(b + 8));  // TTL, protocol
	if (!(a[6] & DF_BIT))
		differs |= (uint16_t)(rte_be_to_cpu_16(load16(a + 4)) + n) ^
			   rte_be_to_cpu_16(load16(b + 4));
	return differs;
}

// Acknowledgment; data offset, flags, window but for PSH; urgent pointer; options.
static inline uint32_t tcp_differs(const uint8_t *a, const uint8_t *b, uint32_t len)
{
	uint32_t differs =
		(load32(a + 8) ^ load32(b + 8)) | (uint32_t)(load16(a + 18) ^ load16(b + 18));
	differs |= (load32(a + 12) ^ load32(b + 12)) & ~rte_cpu_to_be_32(RTE_TCP_PSH_FLAG << 16);
	for (uint32_t i = TCP_HDR_LEN; i < len; i += 4)
		differs |= load32(a + i) ^ load32(b + i);
	return differs;
}

static inline bool can_append(const struct slot *s, const struct candidate *c)
{
	if (c->payload > s->mss || s->total_len + c->payload > TOTAL_MAX ||
		c->hdr_len != s->hdr_len || c->seq != s->next_seq)
		return false;
	const uint8_t *head = rte_pktmbuf_mtod(s->head, const uint8_t *);
	if (ip_differs(head, c->l3, c->family, s->segs) != 0)
		return false;
	return c->proto == IPPROTO_UDP ||
	       tcp_differs(head + c->l3_len, c->l3 + c->l3_len, c->hdr_len - c->l3_len) == 0;
}

// Returns whether the run may grow further.
static inline bool append(struct slot *s, struct rte_mbuf *m, const struct candidate *c)
{
	m->data_off += c->hdr_len;
	m->data_len = c->payload;
	m->pkt_len = c->payload;
	s->tail->next = m;
	s->tail = m;
	s->head->nb_segs++;
	s->head->pkt_len += c->payload;
	s->total_len += c->payload;
	s->segs++;
	if (c->proto == IPPROTO_TCP) {
		s->next_seq += c->payload;
		if (c->push)
			rte_pktmbuf_mtod_offset(s->head, struct rte_tcp_hdr *, s->l3_len)
				->tcp_flags |= RTE_TCP_PSH_FLAG;
	}
	return !c->push && c->payload == s->mss && s->segs < GRO_SEGS_MAX;
}

// A packet that is held for its place in the order only.
static inline void hold(struct gro *g, struct rte_mbuf *m)
{
	struct slot *s = &g->slots[g->end++];
	s->head = m;
	s->segs = 1;
}

// Begin a run with m, and leave it open where it may grow.
static inline void begin(struct gro *g, struct rte_mbuf *m, const struct candidate *c)
{
	uint16_t i = (uint16_t)g->end++;
	m->data_len = c->hdr_len + c->payload; // WireGuard's padding would end up inside the run
	m->pkt_len = m->data_len;
	g->slots[i] = (struct slot){
		.head = m,
		.tail = m,
		.flow = c->flow,
		.total_len = m->pkt_len,
		.next_seq = c->proto == IPPROTO_TCP ? c->seq + c->payload : 0,
		.mss = c->payload,
		.segs = 1,
		.l3_len = c->l3_len,
		.hdr_len = c->hdr_len,
		.family = c->family,
		.proto = c->proto,
	};
	if (c->push)
		return;
	uint16_t *set = g->open[flow_set(&c->flow)];
	unsigned way = 0;
	while (way < WAYS && set[way] != SLOT_NONE)
		way++;
	if (way == WAYS)
		way = g->victim++ % WAYS;
	set[way] = i;
	g->last = &set[way];
}

static void end_all(struct gro *g)
{
	memset(g->open, 0xff, sizeof(g->open));
}

enum gro_verdict gro_add(
	struct gro *g, struct rte_mbuf *m, const struct ip_info *info, uint64_t key)
{
	struct candidate c = {};
	if (unlikely(g->end == GRO_SLOTS))
		return GRO_FULL;

	enum kind kind = examine(g, m, info, key, &c);
	if (kind == KIND_MERGE && unlikely(!csum_ok(&c, info)))
		return GRO_BAD_CSUM;
	if (kind == KIND_ALONE || kind == KIND_UNSURE) {
		if (kind == KIND_UNSURE)
			end_all(g);
		hold(g, m);
		return GRO_TAKEN;
	}

	uint16_t *at = find(g, &c.flow);
	if (at != NULL) {
		struct slot *s = &g->slots[*at];
		if (kind == KIND_MERGE && can_append(s, &c)) {
			if (!append(s, m, &c))
				*at = SLOT_NONE;
			return GRO_TAKEN;
		}
		*at = SLOT_NONE;
	}
	if (kind == KIND_MERGE)
		begin(g, m, &c);
	else
		hold(g, m);
	return GRO_TAKEN;
}

// The headers of the first segment become those of the super-packet.
static struct rte_mbuf *finish(const struct slot *s)
{
	struct rte_mbuf *m = s->head;
	uint8_t *l3 = rte_pktmbuf_mtod(m, uint8_t *);
	uint32_t l4_len = s->total_len - s->l3_len;
	uint64_t pseudo;
	m->ol_flags &= ~(RTE_MBUF_F_RX_IP_CKSUM_MASK | RTE_MBUF_F_RX_L4_CKSUM_MASK);
	if (s->family == IP_V4) {
		struct rte_ipv4_hdr *ip4 = (struct rte_ipv4_hdr *)l3;
		uint16_t total = rte_cpu_to_be_16((uint16_t)s->total_len);
		ip4->hdr_checksum = csum_update16(ip4->hdr_checksum, ip4->total_length, total);
		ip4->total_length = total;
		pseudo = csum_pseudo4(l3, s->proto, l4_len);
		m->ol_flags |= RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM;
	} else {
		((struct rte_ipv6_hdr *)l3)->payload_len = rte_cpu_to_be_16((uint16_t)l4_len);
		pseudo = csum_pseudo6(l3, s->proto, l4_len);
		m->ol_flags |= RTE_MBUF_F_TX_IPV6;
	}
	if (s->proto == IPPROTO_TCP) {
		((struct rte_tcp_hdr *)(l3 + s->l3_len))->cksum = csum_fold(pseudo);
		m->ol_flags |= RTE_MBUF_F_TX_TCP_SEG;
	} else {
		struct rte_udp_hdr *udp = (struct rte_udp_hdr *)(l3 + s->l3_len);
		udp->dgram_len = rte_cpu_to_be_16((uint16_t)l4_len);
		udp->dgram_cksum = csum_fold(pseudo);
		m->ol_flags |= RTE_MBUF_F_TX_UDP_SEG;
	}
	m->l2_len = 0;
	m->l3_len = s->l3_len;
	m->l4_len = s->hdr_len - s->l3_len;
	m->tso_segsz = s->mss;
	return m;
}

unsigned gro_flush(struct gro *g, struct rte_mbuf *out[], unsigned max)
{
	unsigned n = RTE_MIN(max, g->end - g->first);
	end_all(g);
	for (unsigned i = 0; i < n; i++) {
		const struct slot *s = &g->slots[g->first + i];
		out[i] = s->segs > 1 ? finish(s) : s->head;
	}
	g->first += n;
	if (g->first == g->end)
		g->first = g->end = 0;
	return n;
}
