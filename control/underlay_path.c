// Headers and ways out: datagrams of our own, and the paths to peers.
#include <stdlib.h>

#include "control/underlay_parts.h"
#include "dataplane/wire/csum.h"
#include "dataplane/wire/ledger.h"

enum {
	OUTER_TTL = 64,
	DATAGRAM_MAX = 9216, // bytes of ours behind the UDP header: MTU probes of jumbo frames
};

void underlay_write_ip4(
	uint8_t *l3, const struct ip_addr *from, const struct ip_addr *to, size_t udp_len)
{
	struct rte_ipv4_hdr *h = (struct rte_ipv4_hdr *)l3;
	*h = (struct rte_ipv4_hdr){
		.version_ihl = 0x45,
		.type_of_service = 0x88, // AF41, as the kernel marks handshakes
		.total_length = rte_cpu_to_be_16((uint16_t)(IP4_HDR_LEN + udp_len)),
		.time_to_live = OUTER_TTL,
		.next_proto_id = IPPROTO_UDP,
	};
	memcpy(&h->src_addr, from->bytes, 4);
	memcpy(&h->dst_addr, to->bytes, 4);
	csum_ip4_hdr_set(l3, IP4_HDR_LEN);
}

void underlay_write_ip6(
	uint8_t *l3, const struct ip_addr *from, const struct ip_addr *to, size_t udp_len)
{
	struct rte_ipv6_hdr *h = (struct rte_ipv6_hdr *)l3;
	*h = (struct rte_ipv6_hdr){
		.vtc_flow = rte_cpu_to_be_32(6u << 28 | 0x88u << 20),
		.payload_len = rte_cpu_to_be_16((uint16_t)udp_len),
		.proto = IPPROTO_UDP,
		.hop_limits = OUTER_TTL,
	};
	memcpy(h->src_addr, from->bytes, 16);
	memcpy(h->dst_addr, to->bytes, 16);
}

struct rte_mbuf *underlay_alloc(const struct underlay *u, size_t len)
{
	bool small = len + RTE_PKTMBUF_HEADROOM <= rte_pktmbuf_data_room_size(u->gw->pool);
	struct rte_mbuf *m = rte_pktmbuf_alloc(small ? u->gw->pool : u->gw->super_pool);
	if (!m || rte_pktmbuf_tailroom(m) >= len)
		return m;
	rte_pktmbuf_free(m);
	return NULL;
}

// The address to send from: the wish if it is still ours, else what the route prefers.
static bool source_for(const struct underlay *u, const struct ip_addr *wish,
	const struct ip_addr *to, struct ip_addr *out)
{
	if (wish->family == to->family && mirror_is_local(u->mirror, wish)) {
		*out = *wish;
		return true;
	}
	return mirror_source(u->mirror, to, out) == 0;
}

bool underlay_send(void *arg, const struct ip_addr *local, const struct endpoint *to,
	const uint8_t *data, size_t len)
{
	return underlay_send_from(arg, local, 0, to, data, len);
}

// All of ours: what is large is a probe of what the path carries; what is not fits anywhere, and
// has no identification to be put together by (RFC 6864 section 4).
static void dont_fragment(uint8_t *l3)
{
	((struct rte_ipv4_hdr *)l3)->fragment_offset = RTE_BE16(RTE_IPV4_HDR_DF_FLAG);
	csum_ip4_hdr_set(l3, IP4_HDR_LEN);
}

bool underlay_send_from(struct underlay *u, const struct ip_addr *local, uint16_t local_port,
	const struct endpoint *to, const uint8_t *data, size_t len)
{
	struct ip_addr from;
	bool v4 = to->addr.family == IP_V4;
	uint16_t l3_len = v4 ? IP4_HDR_LEN : IP6_HDR_LEN;
	uint16_t udp_len = (uint16_t)(UDP_HDR_LEN + len);
	if (len > DATAGRAM_MAX || !source_for(u, local, &to->addr, &from))
		return false;
	struct rte_mbuf *m = underlay_alloc(u, l3_len + udp_len);
	if (!m)
		return false;
	uint8_t *l3 = (uint8_t *)rte_pktmbuf_append(m, l3_len + udp_len);
	(v4 ? underlay_write_ip4 : underlay_write_ip6)(l3, &from, &to->addr, udp_len);
	if (v4)
		dont_fragment(l3);
	struct rte_udp_hdr *udp = (struct rte_udp_hdr *)(l3 + l3_len);
	*udp = (struct rte_udp_hdr){
		.src_port =
			rte_cpu_to_be_16(local_port ? local_port : atomic_load(&u->gw->wg_port)),
		.dst_port = rte_cpu_to_be_16(to->port),
		.dgram_len = rte_cpu_to_be_16(udp_len),
	};
	memcpy(udp + 1, data, len);
	struct pkt *p = pkt_of(m);
	*p = (struct pkt){.from = FROM_SELF};
	if (ip_parse(l3, m->data_len, &p->ip) < 0)
		abort(); // written a few lines above
	udp->dgram_cksum =
		csum_finish_udp(csum_add(udp, udp_len, csum_pseudo(l3, &p->ip, udp_len)));
	return underlay_leave(u, m);
}

// Outer header of datagrams to the endpoint, right-aligned.
static void write_outer(
	struct peer_path *path, const struct nexthop *nh, uint16_t source_port, bool l2)
{
	bool v4 = path->family == IP_V4;
	unsigned l3_len = v4 ? IP4_HDR_LEN : IP6_HDR_LEN;
	path->l2_len = l2 ? L2_LEN : 0;
	path->outer_len = (uint8_t)(path->l2_len + l3_len + UDP_HDR_LEN);
	uint8_t *at = path->outer + sizeof(path->outer) - path->outer_len;
	if (l2) {
		struct rte_ether_hdr *eth = (struct rte_ether_hdr *)at;
		memcpy(at, nh->l2, L2_LEN);
		eth->ether_type = rte_cpu_to_be_16(v4 ? RTE_ETHER_TYPE_IPV4 : RTE_ETHER_TYPE_IPV6);
		at += L2_LEN;
	}
	(v4 ? underlay_write_ip4 : underlay_write_ip6)(at, &path->local, &path->remote.addr, 0);
	if (v4)
		((struct rte_ipv4_hdr *)at)->type_of_service = 0;
	else
		((struct rte_ipv6_hdr *)at)->vtc_flow = rte_cpu_to_be_32(6u << 28);
	struct ip_info info = {
		.family = path->family, .proto = IPPROTO_UDP, .l3_len = (uint16_t)l3_len};
	path->udp_pseudo = csum_fold(csum_pseudo(at, &info, 0));
	*(struct rte_udp_hdr *)(at + l3_len) = (struct rte_udp_hdr){
		.src_port = rte_cpu_to_be_16(source_port),
		.dst_port = rte_cpu_to_be_16(path->remote.port),
	};
}

bool underlay_path(void *arg, const struct endpoint *to, struct peer_path *path)
{
	struct underlay *u = arg;
	struct ip_addr wish = path->local;
	if (!u->mirror || !source_for(u, &wish, &to->addr, &path->local)) {
		path->local = wish;
		return false;
	}
	struct nexthop nh;
	if (!mirror_underlay(u->mirror, &to->addr, &nh))
		return false;
	if (nh.type == NH_RESOLVE) {
		mirror_resolve(u->mirror, nh.ifindex, nh.gateway.family ? &nh.gateway : &to->addr);
		return false;
	}
	const struct port *port = u->gw->port[nh.port];
	uint16_t mtu = ledger_lower(atomic_load(&port->mtu), nh.mtu);
	mtu = ledger_inside(mtu, ledger_carrier(to->addr.family, path->vni != 0));
	if (mtu == 0)
		return false; // nothing gets through a link that is so narrow
	path->family = to->addr.family;
	path->port = nh.port;
	path->mtu = mtu;
	write_outer(path, &nh, path->local_port ? path->local_port : atomic_load(&u->gw->wg_port),
		port->l2);
	return true;
}
