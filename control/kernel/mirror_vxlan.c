// VXLAN devices that end in the gateway: which, and how datagrams get to their remote VTEPs.
#include <stdlib.h>

#include "control/kernel/mirror_tables.h"
#include "dataplane/wire/ledger.h"

enum {
	TTL_USUAL = 64,
	// RFC 7348 section 5: the source ports of those who are told nothing else.
	SOURCE_FIRST = 49152,
	SOURCE_LAST = 65535,
	TOS_INHERIT = 1, // IFLA_VXLAN_TOS
	ECN_MASK = 3,
};

// -- which devices --------------------------------------------------------------------------------

static const char *bridge_because(const struct mirror *m, const struct mirror_link *vxlan)
{
	const struct link *l = link_find(m, vxlan->master);
	const struct mirror_link *b = l ? &l->seen : NULL;
	if (!b || !b->is_bridge)
		return "it is part of a device that is no bridge: a VRF or a bond";
	if (b->master)
		return "its bridge is part of another device, such as a VRF";
	if (m->env.port_of(m->env.arg, b->ifindex) != PORT_NONE)
		return "its bridge is a port of this gateway";
	if (!b->up || !b->has_mac)
		return "its bridge is down";
	if (b->stp)
		return "its bridge runs STP";
	if (b->vlan_aware && (b->vlan == 0 || b->vlan != vxlan->vlan))
		return "its bridge is VLAN-aware, and the two share no untagged VLAN (PVID)";
	return NULL;
}

const char *vxlan_left_because(const struct mirror *m, const struct mirror_link *l)
{
	const struct rt_vxlan *v = &l->vxlan;
	if (!v->plain)
		return "it is external, GPE, or has other extensions";
	if (!l->up || !l->has_mac)
		return "it is down";
	if (v->underlay && m->env.port_of(m->env.arg, v->underlay) == PORT_NONE)
		return "its underlay is no port of this gateway";
	return l->master ? bridge_because(m, l) : NULL;
}

bool vxlan_ends_here(const struct mirror *m, uint32_t ifindex)
{
	const struct link *l = link_find(m, ifindex);
	if (!l || !l->seen.is_vxlan)
		return l && l->n_ending > 0;
	return !l->seen.master && !vxlan_left_because(m, &l->seen);
}

// The interface that has its MAC and addresses.
static const struct mirror_link *seat_of(const struct mirror *m, const struct mirror_link *vxlan)
{
	const struct link *bridge = vxlan->master ? link_find(m, vxlan->master) : NULL;
	return bridge ? &bridge->seen : vxlan;
}

static uint32_t list_devices(const struct mirror *m, struct vxlan_device *out)
{
	uint32_t n = 0;
	for (unsigned i = 0; i < LINK_BUCKETS; i++) {
		for (const struct link *l = m->link_bucket[i]; l; l = l->next) {
			if (!l->seen.is_vxlan || vxlan_left_because(m, &l->seen) ||
				n == VXLAN_DEVICES_MAX)
				continue;
			struct vxlan_device *d = &out[n++];
			const struct mirror_link *seat = seat_of(m, &l->seen);
			d->vni = l->seen.vxlan.vni;
			d->ifindex = seat->ifindex;
			d->port = l->seen.vxlan.port;
			memcpy(d->mac, seat->mac, sizeof(d->mac));
			mirror_port_addr(m, d->ifindex, IP_V4, &d->addr4);
			mirror_port_addr(m, d->ifindex, IP_V6, &d->addr6);
		}
	}
	return n;
}

static void publish_devices(struct mirror *m)
{
	struct vxlan_device *list = mem_alloc(VXLAN_DEVICES_MAX * sizeof(*list));
	m->changed |= vxlan_devices_publish(m->fib->vteps, list, list_devices(m, list));
	free(list);
}

// -- next hops ------------------------------------------------------------------------------------

void vxlan_neighbour(const struct mirror *m, struct nexthop *nh, const struct neigh *n)
{
	const struct link *l = link_find(m, nh->ifindex);
	const struct remote *r = fdb_remote(m, nh->ifindex, n->mac);
	const struct link *device = r ? link_find(m, r->ifindex) : NULL;
	if (device && device->seen.mtu < UINT16_MAX)
		nh->mtu = ledger_lower(nh->mtu, (uint16_t)device->seen.mtu);
	nh->type = r ? NH_VXLAN : NH_KERNEL;
	nh->gateway = n->addr;
	nh->vtep = r ? r->number : VTEP_NONE;
	memcpy(nh->l2, n->mac, sizeof(n->mac));
	memcpy(nh->l2 + sizeof(n->mac), l->seen.mac, sizeof(l->seen.mac));
}

// -- how remotes are reached ----------------------------------------------------------------------

static void put_ip4(uint8_t *l3, const struct rt_vxlan *v, const struct ip_addr *local,
	const struct ip_addr *remote)
{
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)l3;
	*ip = (struct rte_ipv4_hdr){
		.version_ihl = 0x45,
		.fragment_offset = v->df ? RTE_BE16(RTE_IPV4_HDR_DF_FLAG) : 0,
		.time_to_live = v->ttl ? v->ttl : TTL_USUAL,
		.next_proto_id = IPPROTO_UDP,
	};
	memcpy(&ip->src_addr, local->bytes, 4);
	memcpy(&ip->dst_addr, remote->bytes, 4);
}

static void put_ip6(uint8_t *l3, const struct rt_vxlan *v, const struct ip_addr *local,
	const struct ip_addr *remote)
{
	struct rte_ipv6_hdr *ip = (struct rte_ipv6_hdr *)l3;
	*ip = (struct rte_ipv6_hdr){
		.vtc_flow = rte_cpu_to_be_32(6u << 28),
		.proto = IPPROTO_UDP,
		.hop_limits = v->ttl ? v->ttl : TTL_USUAL,
	};
	memcpy(ip->src_addr, local->bytes, 16);
	memcpy(ip->dst_addr, remote->bytes, 16);
}

static void put_headers(struct vtep *out, const struct nexthop *nh, const struct remote *r,
	const struct rt_vxlan *v, const struct ip_addr *local)
{
	bool v4 = r->addr.family == IP_V4;
	uint32_t l3_len = v4 ? IP4_HDR_LEN : IP6_HDR_LEN;
	uint8_t *vxlan = out->outer + sizeof(out->outer) - VXLAN_HDR_LEN,
		*udp = vxlan - UDP_HDR_LEN;
	uint8_t *l3 = udp - l3_len, *l2 = l3 - ETHER_HDR_LEN;
	struct vxlan_header h = vxlan_header_of(r->vni);
	memcpy(vxlan, &h, sizeof(h));
	((struct rte_udp_hdr *)udp)->dst_port = rte_cpu_to_be_16(r->port);
	if (v4)
		put_ip4(l3, v, local, &r->addr);
	else
		put_ip6(l3, v, local, &r->addr);
	memcpy(l2, nh->l2, L2_LEN);
	rte_be16_t type = rte_cpu_to_be_16(v4 ? RTE_ETHER_TYPE_IPV4 : RTE_ETHER_TYPE_IPV6);
	memcpy(l2 + 12, &type, sizeof(type));
	out->outer_len = (uint8_t)(L2_LEN + l3_len + UDP_HDR_LEN + VXLAN_HDR_LEN);
	out->family = r->addr.family;
	vtep_finish(out);
}

// The neighbour behind a port that leads to the remote; the kernel is asked for one that is not
// known. False: no such way (yet).
static bool outer_hop(
	struct mirror *m, const struct remote *r, const struct rt_vxlan *v, struct nexthop *nh)
{
	const struct nexthop *to = fib_lookup(m->fib, &r->addr);
	if (!to || to->port == PORT_NONE || (v->underlay && to->ifindex != v->underlay))
		return false;
	*nh = *to;
	if (nh->type == NH_RESOLVE)
		mirror_resolve(m, nh->ifindex, nh->gateway.family ? &nh->gateway : &r->addr);
	return nh->type == NH_LINK;
}

static bool build(struct mirror *m, const struct remote *r, struct vtep *out)
{
	const struct link *l = link_find(m, r->ifindex);
	struct nexthop nh;
	if (!l || !l->seen.is_vxlan || vxlan_left_because(m, &l->seen))
		return false;
	const struct rt_vxlan *v = &l->seen.vxlan;
	struct ip_addr local = v->local;
	if (!outer_hop(m, r, v, &nh) ||
		(local.family == IP_NONE && mirror_source(m, &r->addr, &local) < 0) ||
		local.family != r->addr.family)
		return false;
	bool v4 = r->addr.family == IP_V4;
	bool range = v->port_min && v->port_min < v->port_max;
	memset(out, 0, sizeof(*out)); // padding too: it is compared
	out->port = nh.port;
	out->device = r->ifindex;
	out->mtu = nh.mtu ? ledger_inside(nh.mtu, v4 ? LEDGER_VXLAN4 : LEDGER_VXLAN6) : UINT16_MAX;
	out->source_first = range ? v->port_min : SOURCE_FIRST;
	out->n_sources = (uint16_t)((range ? v->port_max : SOURCE_LAST) - out->source_first + 1);
	out->checksum = v4 ? v->csum4 : !v->nocsum6;
	out->tos_inherit = v->tos == TOS_INHERIT;
	out->tos = out->tos_inherit ? 0 : v->tos & (uint8_t)~ECN_MASK;
	put_headers(out, &nh, r, v, &local);
	return true;
}

void vxlan_refresh(struct mirror *m)
{
	if (!m->fdb_changed)
		return;
	bridges_look(m);
	hops_refresh_portless(m);
	m->neighs_stale = true;
	m->vteps_changed = true;
	m->fdb_changed = false;
}

void vxlan_settle(struct mirror *m)
{
	if (!m->vteps_changed && !m->changed)
		return;
	m->vteps_changed = false;
	remotes_reap(m);
	for (const struct remote *r = m->remotes; r; r = r->next) {
		struct vtep v;
		bool leads = build(m, r, &v);
		m->changed |= vtep_publish(m->fib->vteps, r->number, leads ? &v : NULL);
	}
	publish_devices(m);
}

// -- what is shown --------------------------------------------------------------------------------

static bool is_through(const struct mirror *m, const struct neigh *n, const struct mirror_vxlan *v)
{
	if (n->ifindex != v->seat->ifindex)
		return false;
	const struct remote *r = fdb_remote(m, n->ifindex, n->mac);
	return r && r->ifindex == v->link->ifindex;
}

static void describe(const struct mirror *m, const struct mirror_link *l, struct mirror_vxlan *out)
{
	*out = (struct mirror_vxlan){.link = l,
		.seat = seat_of(m, l),
		.left_because = vxlan_left_because(m, l),
		.underlay = l->vxlan.underlay ? mirror_link(m, l->vxlan.underlay) : NULL};
}

void mirror_vxlan_count(const struct mirror *m, struct mirror_vxlan *v)
{
	uint32_t ifindex = v->link->ifindex;
	v->remotes = v->reached = v->neighbours = v->routes = 0;
	v->macs = fdb_count(m, ifindex);
	for (const struct remote *r = m->remotes; r; r = r->next) {
		if (r->ifindex != ifindex)
			continue;
		v->remotes++;
		v->reached += vtep_get(m->fib->vteps, r->number) != NULL;
	}
	if (v->left_because)
		return;
	v->routes = hops_routes(m, v->seat->ifindex);
	for (unsigned i = 0; i < NEIGH_BUCKETS; i++) {
		for (const struct neigh *n = m->neigh_bucket[i]; n; n = n->next)
			v->neighbours += is_through(m, n, v);
	}
}

bool mirror_vxlan_next(const struct mirror *m, uint32_t *at, struct mirror_vxlan *out)
{
	uint32_t n = 0;
	for (unsigned i = 0; i < LINK_BUCKETS; i++) {
		for (const struct link *l = m->link_bucket[i]; l; l = l->next) {
			if (!l->seen.is_vxlan || n++ < *at)
				continue;
			++*at;
			describe(m, &l->seen, out);
			return true;
		}
	}
	return false;
}
