// ICMP errors about translated packets: what they quote is translated back, as far as it goes, and
// the checksum made anew, after it was found to be right (RFC 5508 4, RFC 7915 4.2 and 5.2).
#include "dataplane/node/nat_packet.h"

enum {
	ERROR4_LEN_MAX = 576,
	ERROR6_LEN_MAX = 1280,
};

static uint64_t pseudo_of(const uint8_t *l3, const struct ip_info *ip, uint32_t len)
{
	return ip->family == IP_V6 ? csum_pseudo6(l3, IPPROTO_ICMPV6, len) : 0;
}

static bool is_sound(const struct rte_mbuf *m, const struct ip_info *ip)
{
	const uint8_t *l3 = rte_pktmbuf_mtod(m, const uint8_t *);
	uint32_t len = ip->total_len - ip->l3_len;
	return csum_fold(csum_mbuf(m, ip->l3_len, len, pseudo_of(l3, ip, len))) == 0xffff;
}

static void complete(struct rte_mbuf *m, const struct ip_info *ip)
{
	uint8_t *l3 = rte_pktmbuf_mtod(m, uint8_t *), *field = l3 + ip->l3_len + 2;
	uint32_t len = ip->total_len - ip->l3_len;
	uint16_t csum = 0;
	memcpy(field, &csum, sizeof(csum));
	csum = csum_finish(csum_mbuf(m, ip->l3_len, len, pseudo_of(l3, ip, len)));
	memcpy(field, &csum, sizeof(csum));
}

// What becomes of an error's addresses; NULL: nothing.
struct change {
	const uint8_t *src, *dst; // of the error
	const uint8_t *quoted_src, *quoted_dst;
	rte_be16_t port[2]; // of what is quoted, as the two lie there; an echo's id first
};

// router: 16 bytes for the address of one that the other side has none for.
static struct change change_of(const struct rte_mbuf *m, const struct nat_bytes *q,
	enum nat_side side, const struct nat_flow *f, uint8_t *router)
{
	const struct nat_key *from = &f->side[side], *to = &f->side[!side];
	const uint8_t *src = nat_src(rte_pktmbuf_mtod(m, const uint8_t *), from->family);
	unsigned len = from->family == IP_V4 ? 4 : 16;
	bool any = f->flags & NAT_ANY_REMOTE, echo = nat_is_icmp(&q->ip);
	const uint8_t *remote = any ? NULL : to->remote;
	rte_be16_t was[2];
	memcpy(was, q->l3 + q->ip.l3_len, sizeof(was));
	if (side == NAT_INSIDE) {
		const uint8_t *hidden = f->flags & NAT_OWN_SOURCE ? NULL : to->local;
		return (struct change){.src = hidden,
			.dst = remote,
			.quoted_src = remote,
			.quoted_dst = to->local,
			.port = {echo  ? to->local_port
				 : any ? was[0]
				       : to->remote_port,
				to->local_port}};
	}
	struct change c = {.dst = to->local,
		.quoted_src = to->local,
		.quoted_dst = remote,
		.port = {to->local_port, any ? was[1] : to->remote_port}};
	if (!any && memcmp(src, from->remote, len) == 0) {
		c.src = to->remote;
	} else if (to->family == IP_V6 && from->family == IP_V4) {
		// In the network that the peer knows the other side by.
		memcpy(router, to->remote, 12);
		memcpy(router + 12, src, 4);
		c.src = router;
	}
	return c;
}

static void rewrite(struct rte_mbuf *m, struct nat_bytes *q, const struct change *c, bool ports)
{
	struct nat_bytes outer = nat_bytes_of(m);
	nat_rewrite(q, c->quoted_src, c->quoted_dst, ports ? c->port : NULL);
	outer.len = outer.ip.l3_len; // its checksum is made anew
	nat_rewrite(&outer, c->src, c->dst, NULL);
	complete(m, &outer.ip);
}

// The quoted packet's header and L4 in the other family, at out; as many bytes of it as fit in
// most. Returns how many.
static uint32_t quote_other(uint8_t *out, uint32_t most, const struct nat_bytes *q,
	const struct change *c, const struct ip_info *to)
{
	uint32_t n = RTE_MIN(q->len - q->ip.l3_len, most - to->l3_len);
	bool ports = q->ip.proto == IPPROTO_TCP || q->ip.proto == IPPROTO_UDP;
	nat_write_header(out, to, c->quoted_src, c->quoted_dst, 0);
	memcpy(out + to->l3_len, q->l3 + q->ip.l3_len, n);
	struct nat_bytes b = {.l3 = out, .len = to->l3_len + n, .ip = *to};
	if (ports) {
		nat_rewrite(&b, NULL, NULL, c->port);
		nat_fix_l4(&b,
			nat_addresses_change(
				q->l3, q->ip.family, c->quoted_src, c->quoted_dst, to->family),
			0);
	} else if (nat_is_icmp(&q->ip)) {
		nat_echo_other_family(
			out + to->l3_len, q->l3, &q->ip, c->quoted_src, c->quoted_dst, c->port[0]);
	}
	return b.len;
}

// An error of the other family in a packet of its own; NULL: it has ended.
static struct rte_mbuf *other_family(
	struct graph *g, struct rte_mbuf *m, const struct nat_bytes *q, const struct change *c)
{
	const struct ip_info *ip = &pkt_of(m)->ip;
	struct ip_info to = nat_other_family(ip), quoted = nat_other_family(&q->ip);
	uint8_t icmp[ICMP_HEAD_LEN];
	memcpy(icmp, rte_pktmbuf_mtod_offset(m, uint8_t *, ip->l3_len), sizeof(icmp));
	if (!nat_icmp_other_family(icmp, ip->family, q->ip.total_len) ||
		quoted.total_len > UINT16_MAX) {
		graph_drop(g, m, DROP_NAT_PROTOCOL);
		return NULL;
	}
	struct rte_mbuf *e = pkt_alloc(g);
	if (!e) {
		rte_pktmbuf_free(m);
		return NULL;
	}
	uint32_t head = to.l3_len + ICMP_HEAD_LEN;
	uint32_t most = (to.family == IP_V4 ? ERROR4_LEN_MAX : ERROR6_LEN_MAX) - head;
	uint8_t *out = rte_pktmbuf_mtod(e, uint8_t *);
	to.total_len = head + quote_other(out + head, most, q, c, &quoted);
	rte_pktmbuf_append(e, (uint16_t)to.total_len);
	nat_write_header(out, &to, c->src, c->dst, g->ip_id++);
	memcpy(out + to.l3_len, icmp, sizeof(icmp));
	complete(e, &to);
	pkt_inherit(e, m);
	pkt_of(e)->ip = to;
	rte_pktmbuf_free(m);
	return e;
}

static bool prepare(struct graph *g, struct rte_mbuf *m, struct nat_bytes *q)
{
	if (is_sound(m, &pkt_of(m)->ip) && nat_quote_of(m, q))
		return true;
	graph_drop(g, m, DROP_NAT_MALFORMED);
	return false;
}

struct rte_mbuf *nat_error(
	struct graph *g, struct rte_mbuf *m, enum nat_side side, const struct nat_flow *f)
{
	uint8_t router[16];
	struct nat_bytes q;
	if (!prepare(g, m, &q))
		return NULL;
	struct change c = change_of(m, &q, side, f, router);
	if (f->side[NAT_INSIDE].family != f->side[NAT_OUTSIDE].family)
		return other_family(g, m, &q, &c);
	rewrite(m, &q, &c, true);
	return m;
}

static bool remap_error(
	struct graph *g, struct rte_mbuf *m, const struct nat_config *config, enum nat_side side)
{
	uint8_t room[2][16];
	struct nat_bytes q;
	if (!prepare(g, m, &q))
		return false;
	const uint8_t *l3 = rte_pktmbuf_mtod(m, const uint8_t *);
	uint8_t family = q.ip.family;
	bool in = side == NAT_INSIDE;
	struct change c = {0};
	if (in) {
		c.dst = nat_mapped(config, true, nat_dst(l3, family), family, room[0]);
		c.quoted_src = nat_mapped(config, true, nat_src(q.l3, family), family, room[1]);
	} else {
		c.src = nat_mapped(config, false, nat_src(l3, family), family, room[0]);
		c.quoted_dst = nat_mapped(config, false, nat_dst(q.l3, family), family, room[1]);
	}
	if (c.src || c.dst || c.quoted_src || c.quoted_dst)
		rewrite(m, &q, &c, false);
	return true;
}

bool nat_remap(
	struct graph *g, struct rte_mbuf *m, const struct nat_config *config, enum nat_side side)
{
	uint8_t to[16];
	struct nat_key key;
	struct nat_bytes b = nat_bytes_of(m);
	bool in = side == NAT_INSIDE;
	if (nat_is_icmp(&b.ip) && nat_shape_of(m, &b.ip, side, &key) == NAT_SHAPE_ERROR)
		return remap_error(g, m, config, side);
	const uint8_t *other = nat_mapped(config, in,
		in ? nat_dst(b.l3, b.ip.family) : nat_src(b.l3, b.ip.family), b.ip.family, to);
	if (other)
		nat_rewrite(&b, in ? NULL : other, in ? other : NULL, NULL);
	return true;
}
