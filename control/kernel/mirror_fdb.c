// Forwarding databases: behind which remote VTEP of a VXLAN device, and behind which port of its
// bridge, a MAC is. ARP, ND and learning are the kernel's.
#include <stdlib.h>

#include "control/kernel/mirror_tables.h"
#include "dataplane/base/log.h"

static const uint8_t anyone[6];

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
	if (f->remote.family == IP_NONE || is_multicast(&f->remote))
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

void remotes_reap(struct mirror *m)
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

static bool is_mac(
	const struct fdb *e, uint32_t ifindex, uint16_t vlan, const uint8_t mac[static 6])
{
	return e->ifindex == ifindex && e->vlan == vlan && memcmp(e->mac, mac, sizeof(e->mac)) == 0;
}

static struct fdb **fdb_at(struct mirror *m, const struct rt_fdb *f)
{
	bool all = memcmp(f->mac, anyone, sizeof(anyone)) == 0;
	struct fdb **at = &m->fdb_bucket[bucket_of(f->ifindex, f->mac)];
	while (*at && !(is_mac(*at, f->ifindex, f->vlan, f->mac) &&
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

static bool is_kept(const struct link *l, const struct rt_fdb *f)
{
	return l && (f->behind ? l->n_vxlans > 0 : l->seen.is_vxlan);
}

static struct fdb *fdb_add(struct mirror *m, struct fdb **at, const struct rt_fdb *f)
{
	struct fdb *e = *at = mem_alloc(sizeof(*e));
	*e = (struct fdb){.ifindex = f->ifindex, .vlan = f->vlan};
	memcpy(e->mac, f->mac, sizeof(e->mac));
	if (++m->n_fdb == FDB_MAX)
		log_warn("kernel",
			"VXLAN devices and their bridges know more than %u MACs: the kernel does "
			"the "
			"rest",
			FDB_MAX);
	m->fdb_changed = true;
	return e;
}

void fdb_apply(struct mirror *m, const struct rt_message *msg)
{
	struct rt_fdb f = msg->fdb;
	const struct link *l = link_find(m, f.ifindex);
	struct fdb **at = fdb_at(m, &f);
	if (msg->gone) {
		if (*at && ip_addr_equal(&(*at)->addr, &f.remote) && (*at)->behind == f.behind)
			fdb_remove(m, at);
		return;
	}
	if (!is_kept(l, &f) || (!*at && m->n_fdb == FDB_MAX))
		return;
	struct fdb *e = *at ? *at : fdb_add(m, at, &f);
	e->epoch = m->epoch;
	if (f.behind) {
		m->fdb_changed |= e->behind != f.behind;
		e->behind = f.behind;
		return;
	}
	complete(l, &f);
	struct remote *old = e->remote, *now = remote_ref(m, &f);
	if (old)
		old->entries--;
	m->fdb_changed |= old != now;
	e->remote = now;
	e->addr = f.remote;
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

uint32_t fdb_count(const struct mirror *m, uint32_t ifindex)
{
	uint32_t n = 0;
	for (unsigned i = 0; i < FDB_BUCKETS; i++) {
		for (const struct fdb *e = m->fdb_bucket[i]; e; e = e->next)
			n += e->ifindex == ifindex;
	}
	return n;
}

// -- where a MAC is -------------------------------------------------------------------------------

static const struct fdb *fdb_find(
	const struct mirror *m, uint32_t ifindex, uint16_t vlan, const uint8_t mac[static 6])
{
	const struct fdb *e = m->fdb_bucket[bucket_of(ifindex, mac)];
	while (e && !is_mac(e, ifindex, vlan, mac))
		e = e->next;
	return e;
}

// The only one that gets whatever is not known.
static const struct remote *default_remote(const struct mirror *m, uint32_t device)
{
	const struct fdb *found = NULL;
	if (m->n_fdb == FDB_MAX) // what is not known here, the kernel may know
		return NULL;
	for (const struct fdb *e = m->fdb_bucket[bucket_of(device, anyone)]; e; e = e->next) {
		if (!is_mac(e, device, 0, anyone))
			continue;
		if (found)
			return NULL;
		found = e;
	}
	return found ? found->remote : NULL;
}

static const struct remote *device_remote(
	const struct mirror *m, uint32_t device, const uint8_t mac[static 6])
{
	const struct fdb *e = fdb_find(m, device, 0, mac);
	return e ? e->remote : default_remote(m, device);
}

// What a bridge has not learned it sends everywhere; that may be left out where its only VXLAN
// device was told where the MAC is.
static const struct remote *bridge_remote(
	const struct mirror *m, const struct link *bridge, const uint8_t mac[static 6])
{
	const struct mirror_link *b = &bridge->seen;
	const struct fdb *e = fdb_find(m, b->ifindex, b->vlan_aware ? b->vlan : 0, mac);
	if (!e) {
		e = bridge->n_vxlans == 1 && bridge->n_ending == 1
			    ? fdb_find(m, bridge->ending, 0, mac)
			    : NULL;
		return e ? e->remote : NULL;
	}
	const struct link *port = link_find(m, e->behind);
	if (!port || !port->seen.is_vxlan || port->seen.master != b->ifindex ||
		vxlan_left_because(m, &port->seen))
		return NULL;
	return device_remote(m, e->behind, mac);
}

const struct remote *fdb_remote(
	const struct mirror *m, uint32_t ifindex, const uint8_t mac[static 6])
{
	const struct link *l = link_find(m, ifindex);
	return l && l->seen.is_bridge ? bridge_remote(m, l, mac) : device_remote(m, ifindex, mac);
}

// -- bridges --------------------------------------------------------------------------------------

static void look_at_port(struct mirror *m, const struct mirror_link *vxlan)
{
	struct link *b = m->link_bucket[vxlan->master % LINK_BUCKETS];
	while (b && b->seen.ifindex != vxlan->master)
		b = b->next;
	if (!b || !b->seen.is_bridge)
		return;
	b->n_vxlans++;
	if (vxlan_left_because(m, vxlan))
		return;
	b->n_ending++;
	b->ending = vxlan->ifindex;
}

typedef void link_fn(struct mirror *, struct link *);

static void links_each(struct mirror *m, link_fn *fn)
{
	for (unsigned i = 0; i < LINK_BUCKETS; i++) {
		for (struct link *l = m->link_bucket[i]; l; l = l->next)
			fn(m, l);
	}
}

static void count_anew(struct mirror *m, struct link *l)
{
	l->had_vxlans = l->n_vxlans > 0;
	l->n_vxlans = l->n_ending = l->ending = 0;
}

static void count_port(struct mirror *m, struct link *l)
{
	if (l->seen.is_vxlan && l->seen.master)
		look_at_port(m, &l->seen);
}

// What a bridge without VXLAN devices has learned is not kept.
static void ask_for_more(struct mirror *m, struct link *l)
{
	if (l->n_vxlans > 0 && !l->had_vxlans && m->ready)
		mirror_want_resync(m);
}

void bridges_look(struct mirror *m)
{
	links_each(m, count_anew);
	links_each(m, count_port);
	links_each(m, ask_for_more);
}
