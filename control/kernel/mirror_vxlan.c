// VXLAN devices that end in the gateway: behind which remote VTEP a neighbour's MAC is, and how
// datagrams get there. ARP, ND and learning are the kernel's.
#include <stdlib.h>

#include "control/kernel/mirror_tables.h"
#include "dataplane/base/log.h"
#include "dataplane/wire/ledger.h"

enum {
	TTL_USUAL = 64,
	// RFC 7348 section 5: the source ports of those who are told nothing else.
	SOURCE_FIRST = 49152,
	SOURCE_LAST = 65535,
	TOS_INHERIT = 1, // IFLA_VXLAN_TOS
	ECN_MASK = 3,
};

static const uint8_t anyone[6];

// -- which devices --------------------------------------------------------------------------------

// NULL: it ends here.
static const char *left_because(const struct mirror *m, const struct mirror_link *l)
{
	const struct rt_vxlan *v = &l->vxlan;
	if (!v->plain)
		return "it is external, GPE, or has other extensions";
	if (l->master)
		return "it belongs to a bridge";
	if (!l->up || !l->has_mac)
		return "it is down";
	if (v->underlay && m->env.port_of(m->env.arg, v->underlay) == PORT_NONE)
		return "its underlay is no port of this gateway";
	return NULL;
}

bool vxlan_ends_here(const struct mirror *m, uint32_t ifindex)
{
	const struct link *l = link_find(m, ifindex);
	return l && l->seen.is_vxlan && !left_because(m, &l->seen);
}

static uint32_t list_devices(const struct mirror *m, struct vxlan_device *out)
{
	uint32_t n = 0;
	for (unsigned i = 0; i < LINK_BUCKETS; i++) {
		for (const struct link *l = m->link_bucket[i]; l; l = l->next) {
			if (!l->seen.is_vxlan || left_because(m, &l->seen) ||
				n == VXLAN_DEVICES_MAX)
				continue;
			struct vxlan_device *d = &out[n++];
			d->vni = l->seen.vxlan.vni;
			d->ifindex = l->seen.ifindex;
			d->port = l->seen.vxlan.port;
			memcpy(d->mac, l->seen.mac, sizeof(d->mac));
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

// -- remote VTEPs ---------------------------------------------------------------------------------

static struct remote *remote_find(const struct mirror *m, uint32_t ifindex,
	const struct ip_addr *addr, uint16_t port, uint32_t vni)
{
	struct remote *r = m->remotes;
	while (r && (r->ifindex != ifindex || r->port != port || r->vni != vni ||
			    !ip_addr_equal(&r->addr, addr)))
		r = r->next;
	return r;
}

static bool is_multicast(const struct ip_addr *a)
{
	return a->family == IP_V4 ? a->bytes[0] >= 224 : a->bytes[0] == 0xff;
}

// One more entry goes to that remote; NULL: a group, or no room.
static struct remote *remote_ref(struct mirror *m, const struct rt_fdb *f)
{
	if (is_multicast(&f->remote))
		return NULL;
	struct remote *r = remote_find(m, f->ifindex, &f->remote, f->port, f->vni);
	if (!r) {
		uint16_t number = vtep_take(m->fib->vteps);
		if (number == VTEP_NONE) {
			m->stats.fib_errors++;
			log_warn("kernel",
				"no room for more than %u remote VTEPs: the kernel does "
				"the rest",
				VTEP_MAX - 1);
			return NULL;
		}
		r = mem_alloc(sizeof(*r));
		*r = (struct remote){.next = m->remotes,
			.ifindex = f->ifindex,
			.vni = f->vni,
			.addr = f->remote,
			.port = f->port,
			.number = number};
		m->remotes = r;
	}
	r->entries++;
	return r;
}

// Those that nothing names any more.
static void remotes_reap(struct mirror *m)
{
	for (struct remote **at = &m->remotes; *at;) {
		struct remote *r = *at;
		if (r->entries > 0) {
			at = &r->next;
			continue;
		}
		*at = r->next;
		vtep_give(m->fib->vteps, r->number);
		free(r);
	}
}

// -- the forwarding database ----------------------------------------------------------------------

static uint32_t bucket_of(uint32_t ifindex, const uint8_t mac[static 6])
{
	uint32_t low, hash = ifindex * 0x9e3779b1u;
	memcpy(&low, mac + 2, sizeof(low));
	hash = (hash ^ low ^ (uint32_t)mac[0] << 8 ^ mac[1]) * 0x85ebca6bu;
	return (hash ^ hash >> 15) % FDB_BUCKETS;
}

static bool is_mac(const struct fdb *e, uint32_t ifindex, const uint8_t mac[static 6])
{
	return e->ifindex == ifindex && memcmp(e->mac, mac, sizeof(e->mac)) == 0;
}

static struct fdb **fdb_at(struct mirror *m, const struct rt_fdb *f)
{
	bool all = memcmp(f->mac, anyone, sizeof(anyone)) == 0;
	struct fdb **at = &m->fdb_bucket[bucket_of(f->ifindex, f->mac)];
	while (*at && !(is_mac(*at, f->ifindex, f->mac) &&
			      (!all || ip_addr_equal(&(*at)->addr, &f->remote))))
		at = &(*at)->next;
	return at;
}

static void fdb_remove(struct mirror *m, struct fdb **at)
{
	struct fdb *e = *at;
	*at = e->next;
	if (e->remote)
		e->remote->entries--;
	m->n_fdb--;
	m->fdb_changed = true;
	free(e);
}

// Ports and VNIs that are not said are the device's.
static void complete(const struct link *l, struct rt_fdb *f)
{
	if (f->port == 0)
		f->port = l->seen.vxlan.port;
	if (f->vni == 0)
		f->vni = l->seen.vxlan.vni;
}

void fdb_apply(struct mirror *m, const struct rt_message *msg)
{
	struct rt_fdb f = msg->fdb;
	const struct link *l = link_find(m, f.ifindex);
	struct fdb **at = fdb_at(m, &f);
	if (msg->gone) {
		if (*at && ip_addr_equal(&(*at)->addr, &f.remote))
			fdb_remove(m, at);
		return;
	}
	if (!l || !l->seen.is_vxlan || (!*at && m->n_fdb == FDB_MAX))
		return;
	complete(l, &f);
	struct fdb *e = *at;
	if (!e) {
		*at = e = mem_alloc(sizeof(*e));
		*e = (struct fdb){.ifindex = f.ifindex};
		memcpy(e->mac, f.mac, sizeof(e->mac));
		m->n_fdb++;
		m->fdb_changed = true;
	}
	struct remote *old = e->remote, *now = remote_ref(m, &f);
	if (old)
		old->entries--;
	m->fdb_changed |= old != now;
	e->remote = now;
	e->addr = f.remote;
	e->epoch = m->epoch;
}

typedef bool drop_fn(const struct mirror *, const struct fdb *, uint32_t ifindex);

static void fdb_drop(struct mirror *m, drop_fn *drop, uint32_t ifindex)
{
	for (unsigned i = 0; i < FDB_BUCKETS; i++) {
		for (struct fdb **at = &m->fdb_bucket[i]; *at;) {
			if (drop(m, *at, ifindex))
				fdb_remove(m, at);
			else
				at = &(*at)->next;
		}
	}
}

static bool is_stale(const struct mirror *m, const struct fdb *e, uint32_t)
{
	return e->epoch != m->epoch;
}

static bool is_of(const struct mirror *, const struct fdb *e, uint32_t ifindex)
{
	return e->ifindex == ifindex;
}

static bool is_any(const struct mirror *, const struct fdb *, uint32_t)
{
	return true;
}

void fdb_sweep(struct mirror *m)
{
	fdb_drop(m, is_stale, 0);
}

void fdb_forget(struct mirror *m, uint32_t ifindex)
{
	fdb_drop(m, is_of, ifindex);
}

void fdb_fini(struct mirror *m)
{
	fdb_drop(m, is_any, 0);
	remotes_reap(m);
}

// The remote that has the MAC, or the only one that has whatever is not known; NULL: neither.
static const struct remote *remote_of(
	const struct mirror *m, uint32_t ifindex, const uint8_t mac[static 6])
{
	const struct fdb *found = NULL;
	for (const struct fdb *e = m->fdb_bucket[bucket_of(ifindex, mac)]; e; e = e->next) {
		if (is_mac(e, ifindex, mac))
			return e->remote;
	}
	for (const struct fdb *e = m->fdb_bucket[bucket_of(ifindex, anyone)]; e; e = e->next) {
		if (!is_mac(e, ifindex, anyone))
			continue;
		if (found)
			return NULL;
		found = e;
	}
	return found ? found->remote : NULL;
}

void vxlan_neighbour(const struct mirror *m, struct nexthop *nh, const struct neigh *n)
{
	const struct link *l = link_find(m, nh->ifindex);
	const struct remote *r = remote_of(m, nh->ifindex, n->mac);
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
	if (!l || !l->seen.is_vxlan || left_because(m, &l->seen))
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
	for (unsigned i = 0; i < LINK_BUCKETS; i++) {
		for (const struct link *l = m->link_bucket[i]; l; l = l->next) {
			if (l->seen.is_vxlan)
				hops_refresh(m, l->seen.ifindex, NULL);
		}
	}
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

static void describe(const struct mirror *m, const struct mirror_link *l, struct mirror_vxlan *out)
{
	*out = (struct mirror_vxlan){.link = l, .left_because = left_because(m, l)};
	for (const struct remote *r = m->remotes; r; r = r->next) {
		if (r->ifindex != l->ifindex)
			continue;
		out->remotes++;
		out->reached += vtep_get(m->fib->vteps, r->number) != NULL;
	}
	for (unsigned i = 0; i < FDB_BUCKETS; i++) {
		for (const struct fdb *e = m->fdb_bucket[i]; e; e = e->next)
			out->macs += e->ifindex == l->ifindex;
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
