// VXLAN that ends here (RFC 7348): what the frames carry for the tunnel goes on like packets of the
// port; all else is the kernel's, whose device it is, and stays as it came.
#include "dataplane/node/node.h"
#include "dataplane/node/output.h"
#include "dataplane/node/reassemble.h"
#include "dataplane/table/lookup.h"
#include "dataplane/wire/csum.h"

// What neighbours in a burst have in common.
struct decap {
	const struct vxlan_device *device;
	struct fib_cache fib;
};

enum fate {
	FATE_KERNEL,
	FATE_MALFORMED,
	FATE_TUNNEL,
	FATE_US, // to one of our addresses: an answer to a translated flow, maybe
};

static const struct vxlan_device *device_of(
	const struct graph *g, struct decap *d, uint32_t vni, uint16_t port)
{
	if (unlikely(!d->device || d->device->vni != vni || d->device->port != port))
		d->device = vxlan_device_find(vxlan_devices_get(g->gw->fib->vteps), vni, port);
	return d->device;
}

static __rte_always_inline enum fate by_route(
	struct graph *g, struct decap *d, struct pkt *p, const uint8_t *l3)
{
	p->nexthop = fib_cached(g->gw->fib, &d->fib, l3, p->ip.family);
	enum nexthop_type type = p->nexthop ? p->nexthop->type : NH_KERNEL;
	if (likely(type == NH_TUNNEL))
		return FATE_TUNNEL;
	return type == NH_LOCAL && g->nat_port_first <= g->nat_port_last ? FATE_US : FATE_KERNEL;
}

// A UDP payload of len bytes, contig of them in one piece at h, that came to the port. p: becomes
// the inner packet's, as far as fate says that it was read. Once per datagram, so no call.
static __rte_always_inline enum fate read(struct graph *g, struct decap *d, struct pkt *p,
	const uint8_t *h, uint32_t contig, uint32_t len, uint16_t port)
{
	uint32_t vni = 0;
	enum vxlan_verdict v = vxlan_parse(h, contig, len, &vni, &p->ip);
	if (unlikely(v == VXLAN_SHORT || v == VXLAN_FLAGS))
		return FATE_KERNEL; // which counts them
	const struct vxlan_device *device = device_of(g, d, vni, port);
	if (unlikely(!device)) {
		graph_count(g, COUNTER_VTEP_UNKNOWN, 1);
		return FATE_KERNEL;
	}
	if (unlikely(v == VXLAN_VLAN || v == VXLAN_NOT_IP ||
		     memcmp(h + VXLAN_FRAME_AT, device->mac, sizeof(device->mac)) != 0))
		return FATE_KERNEL;
	const uint8_t *l3 = h + VXLAN_L3_AT;
	if (unlikely(
		    v != VXLAN_OK || (p->ip.family == IP_V4 && !csum_ip4_hdr_ok(l3, p->ip.l3_len))))
		return FATE_MALFORMED;
	return by_route(g, d, p, l3);
}

// m's data is the inner packet now. False: it ended. outer: the IP header before it.
static __rte_always_inline bool decapsulate(
	struct graph *g, struct rte_mbuf *m, const uint8_t *outer)
{
	struct pkt *p = pkt_of(m);
	enum drop_reason why = DROP_VTEP_MALFORMED;
	p->from = FROM_PORT;
	if (likely(pkt_trim(m, p->ip.total_len))) {
		if (likely(ecn_decapsulate(outer, rte_pktmbuf_mtod(m, uint8_t *), &p->ip))) {
			graph_count(g, COUNTER_VTEP_IN, 1);
			return true;
		}
		why = DROP_VTEP_ECN;
	}
	graph_drop(g, m, why);
	return false;
}

// The same for what is to one of our addresses. NODE_MIRROR: it is the kernel's, m is still the
// caller's; NODE_COUNT: it has ended, or waits for the rest of it.
static __rte_noinline enum node_id answer(struct graph *g, struct rte_mbuf *m, const uint8_t *outer)
{
	struct pkt *p = pkt_of(m);
	p->from = FROM_PORT;
	// An owned port's kernel would not find its own among what was put together: outer headers
	// do not go with it.
	bool owned = g->gw->port[p->port_in]->kind == PORT_OWNED;
	if (unlikely(p->ip.flags & IP_FLAG_FRAG) && !owned && reassemble_return(g, m, p->nexthop))
		return NODE_COUNT;
	if (nat_is_return(g, m, &p->ip, p->nexthop))
		return decapsulate(g, m, outer) ? NODE_NAT_RETURN : NODE_COUNT;
	return NODE_MIRROR;
}

// A run of TCP segments, which the kernel put together, counts as one that came without VXLAN.
static void take_offload(struct rte_mbuf *m)
{
	bool super = pkt_is_tunnel_super(m);
	m->ol_flags &= PKT_BUFFER_FLAGS;
	m->packet_type = super ? RTE_PTYPE_L4_TCP : 0;
	if (super)
		m->ol_flags |= RTE_MBUF_F_RX_LRO | RTE_MBUF_F_RX_L4_CKSUM_NONE;
}

// As it came; what is known of it is the outer header's again.
static __rte_noinline enum node_id kernel(struct graph *g, struct rte_mbuf *m)
{
	const uint8_t *l3 = rte_pktmbuf_mtod(m, const uint8_t *);
	if (ip_parse_chain(l3, m->data_len, m->pkt_len, &pkt_of(m)->ip) < 0)
		graph_drop(g, m, DROP_IP_MALFORMED);
	else
		leave_to_kernel(g, m, true);
	return NODE_COUNT;
}

// Of single(): the packet inside, head bytes on, is to one of our addresses.
static __rte_noinline enum node_id single_to_us(struct graph *g, struct rte_mbuf *m, uint16_t head)
{
	const uint8_t *outer = rte_pktmbuf_mtod(m, const uint8_t *);
	uint64_t flags = m->ol_flags;
	take_offload(m);
	rte_pktmbuf_adj(m, head);
	enum node_id next = answer(g, m, outer);
	if (likely(next != NODE_MIRROR))
		return next;
	m->ol_flags = flags;
	rte_pktmbuf_prepend(m, head);
	return kernel(g, m);
}

// One datagram.
static enum node_id single(struct graph *g, struct rte_mbuf *m, struct decap *d)
{
	struct pkt *p = pkt_of(m);
	const uint8_t *outer = rte_pktmbuf_mtod(m, const uint8_t *);
	uint32_t l3_len = p->ip.l3_len, head = l3_len + UDP_HDR_LEN;
	const struct rte_udp_hdr *udp = (const struct rte_udp_hdr *)(outer + l3_len);
	enum fate fate = FATE_MALFORMED;
	if (likely(rte_be_to_cpu_16(udp->dgram_len) == m->pkt_len - l3_len))
		fate = read(g, d, p, outer + head, m->data_len - head, m->pkt_len - head,
			rte_be_to_cpu_16(udp->dst_port));
	if (unlikely(fate == FATE_KERNEL))
		return kernel(g, m);
	if (unlikely(fate == FATE_MALFORMED ||
		     (pkt_is_tunnel_super(m) && p->ip.proto != IPPROTO_TCP))) {
		graph_drop(g, m, DROP_VTEP_MALFORMED);
		return NODE_COUNT;
	}
	if (unlikely(fate == FATE_US))
		return single_to_us(g, m, (uint16_t)(head + VXLAN_L3_AT));
	take_offload(m);
	rte_pktmbuf_adj(m, (uint16_t)(head + VXLAN_L3_AT));
	return decapsulate(g, m, outer) ? NODE_OVERLAY : NODE_COUNT;
}

// The packet inside the datagram of len bytes at offset off of m, as a copy: what goes into the
// tunnel must be one that may be written around. NULL: the kernel's, or counted.
static struct rte_mbuf *copy_inner(struct graph *g, const struct rte_mbuf *m, struct decap *d,
	uint32_t off, uint32_t len, enum fate *fate)
{
	struct pkt p = *(const struct pkt *)rte_mbuf_to_priv((struct rte_mbuf *)(uintptr_t)m);
	const struct rte_udp_hdr *udp =
		rte_pktmbuf_mtod_offset(m, const struct rte_udp_hdr *, p.ip.l3_len);
	uint32_t contig = off < m->data_len ? RTE_MIN(len, m->data_len - off) : 0;
	*fate = read(g, d, &p, rte_pktmbuf_mtod_offset(m, const uint8_t *, off), contig, len,
		rte_be_to_cpu_16(udp->dst_port));
	if (*fate == FATE_KERNEL) {
		// Runs come from ports of the kernel, which has its own copy.
		graph_count(g, COUNTER_LEFT_TO_KERNEL, 1);
		return NULL;
	}
	if (*fate == FATE_MALFORMED || contig < len) {
		g->drops[DROP_VTEP_MALFORMED]++;
		return NULL;
	}
	struct rte_mbuf *copy = rte_pktmbuf_alloc(pkt_pool(g->gw, p.ip.total_len));
	char *to = copy ? rte_pktmbuf_append(copy, (uint16_t)p.ip.total_len) : NULL;
	if (unlikely(!to)) {
		g->drops[DROP_NO_MBUF]++;
		rte_pktmbuf_free(copy);
		return NULL;
	}
	memcpy(to, rte_pktmbuf_mtod_offset(m, const uint8_t *, off + VXLAN_L3_AT), p.ip.total_len);
	*pkt_of(copy) = p;
	copy->port = m->port;
	return copy;
}

static enum node_id copied(
	struct graph *g, struct rte_mbuf *copy, const uint8_t *outer, enum fate fate)
{
	if (unlikely(fate == FATE_US))
		return answer(g, copy, outer);
	return decapsulate(g, copy, outer) ? NODE_OVERLAY : NODE_COUNT;
}

// A run of datagrams of tso_segsz bytes each, the last may be shorter.
static __rte_noinline void split(struct graph *g, struct rte_mbuf *m, struct decap *d)
{
	const uint8_t *outer = rte_pktmbuf_mtod(m, const uint8_t *);
	uint32_t size = m->tso_segsz;
	for (uint32_t off = pkt_of(m)->ip.l3_len + UDP_HDR_LEN; size && off < m->pkt_len;
		off += size) {
		enum fate fate;
		struct rte_mbuf *copy =
			copy_inner(g, m, d, off, RTE_MIN(size, m->pkt_len - off), &fate);
		enum node_id next = copy ? copied(g, copy, outer, fate) : NODE_COUNT;
		if (unlikely(next == NODE_MIRROR)) {
			graph_count(g, COUNTER_LEFT_TO_KERNEL, 1);
			rte_pktmbuf_free(copy);
		} else if (likely(next != NODE_COUNT)) {
			graph_to(g, next, copy);
		}
		pkt_of(m)->trace = 0; // the first datagram stands for all
	}
	rte_pktmbuf_free(m);
}

void node_vxlan_input(struct graph *g, struct rte_mbuf **pkts, uint16_t n)
{
	struct decap d = {0};
	struct graph_way way = {pkts, NODE_COUNT};
	for (unsigned i = 0; i < n; i++) {
		if (unlikely(pkt_is_super(pkts[i]))) {
			graph_go(g, &way, &pkts[i], NODE_COUNT); // its datagrams go behind these
			split(g, pkts[i], &d);
		} else {
			graph_go(g, &way, &pkts[i], single(g, pkts[i], &d));
		}
	}
	graph_go(g, &way, &pkts[n], NODE_COUNT);
}
