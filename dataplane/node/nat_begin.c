// What is to become of a packet that no flow is known for: where it goes, and from whom.
#include "dataplane/base/via6.h"
#include "dataplane/node/nat_packet.h"

static struct ip_addr address(const uint8_t *bytes, uint8_t family)
{
	return family == IP_V4 ? ip_addr_v4(bytes) : ip_addr_v6(bytes);
}

// A number that is the client's, as long as this worker runs.
static uint64_t client_hash(const struct nat_table *t, const struct nat_key *k)
{
	struct nat_key who = {.family = k->family};
	memcpy(who.local, k->local, sizeof(who.local));
	return nat_hash(t, NAT_INSIDE, &who) >> 16;
}

// A client stays with its backend. False: it has none for this family.
static bool to_backend(
	const struct nat_table *t, const struct nat_service *s, struct nat_key *outside)
{
	unsigned n = 0, which;
	for (unsigned i = 0; i < s->n_backends; i++)
		n += nat_is_reachable(&s->backend[i], outside->family);
	if (n == 0)
		return false;
	which = (unsigned)(client_hash(t, outside) % n);
	for (unsigned i = 0; i < s->n_backends; i++) {
		const struct endpoint *b = &s->backend[i];
		if (!nat_is_reachable(b, outside->family) || which-- > 0)
			continue;
		if (outside->family == IP_V6 && b->addr.family == IP_V4 &&
			outside->proto == IPPROTO_ICMPV6)
			outside->proto = IPPROTO_ICMP;
		memcpy(outside->remote, b->addr.bytes, sizeof(outside->remote));
		outside->family = b->addr.family;
		bool has_port = outside->proto == IPPROTO_TCP || outside->proto == IPPROTO_UDP;
		if (b->port && has_port)
			outside->remote_port = rte_cpu_to_be_16(b->port);
		return true;
	}
	return false;
}

static void to_site(struct nat_key *outside)
{
	uint8_t v4[4];
	memcpy(v4, outside->remote + 12, sizeof(v4));
	memset(outside->remote, 0, sizeof(outside->remote));
	memcpy(outside->remote, v4, sizeof(v4));
	outside->family = IP_V4;
	if (outside->proto == IPPROTO_ICMPV6)
		outside->proto = IPPROTO_ICMP;
}

// What a destination becomes.
enum redirect {
	TO_ITSELF,
	TO_REMAPPED, // which needs no state
	TO_BACKEND,
	TO_SITE,
	TO_NOBODY,
	TO_CLOSED, // a port of a service that nothing serves
};

static enum redirect redirect(
	const struct graph *g, const struct nat_config *c, struct nat_key *outside)
{
	const struct nat_service *s;
	uint8_t real[16];
	const struct ip_addr dst = address(outside->remote, outside->family);
	if (nat_is_via(c, &dst)) {
		to_site(outside);
		return via6_is_target(outside->remote) ? TO_SITE : TO_NOBODY;
	}
	if (c->n_services > 0 && (s = nat_service_of(c, &dst, outside->proto,
					  rte_be_to_cpu_16(outside->remote_port))))
		return to_backend(g->nat, s, outside) ? TO_BACKEND : TO_CLOSED;
	if (c->n_remap > 0 && nat_mapped(c, true, outside->remote, outside->family, real)) {
		memcpy(outside->remote, real, outside->family == IP_V4 ? 4 : 16);
		return TO_REMAPPED;
	}
	return TO_ITSELF;
}

// The device's own address in a VXLAN, which is no port.
static const struct ip_addr *of_device(
	const struct graph *g, const struct nexthop *nh, const struct nat_key *outside)
{
	static const struct ip_addr none = {.family = IP_NONE};
	const struct vxlan_device *d =
		vxlan_device_of(vxlan_devices_get(g->gw->fib->vteps), nh->ifindex);
	if (!d)
		return &none;
	return outside->family == IP_V4 ? &d->addr4 : &d->addr6;
}

// The address that masquerades: of the pool always the same for a client (RFC 4787 4.1), or else
// the port's. IP_NONE: there is none.
static const struct ip_addr *masquerade(const struct graph *g, const struct nat_config *c,
	uint64_t client, const struct nexthop *nh, const struct nat_key *outside)
{
	unsigned n = 0, which;
	for (unsigned i = 0; i < c->n_pool; i++)
		n += c->pool[i].family == outside->family;
	which = n > 0 ? (unsigned)(client % n) : 0;
	for (unsigned i = 0; n > 0 && i < c->n_pool; i++) {
		if (c->pool[i].family == outside->family && which-- == 0)
			return &c->pool[i];
	}
	if (nh->port == PORT_NONE)
		return of_device(g, nh, outside);
	return outside->family == IP_V4 ? &c->port4[nh->port] : &c->port6[nh->port];
}

static bool is_of_pool(const struct nat_config *c, const uint8_t *addr, uint8_t family)
{
	for (unsigned i = 0; i < c->n_pool; i++) {
		if (c->pool[i].family == family &&
			memcmp(c->pool[i].bytes, addr, family == IP_V4 ? 4 : 16) == 0)
			return true;
	}
	return false;
}

bool nat_is_outside(const struct graph *g, const struct nat_config *c, const uint8_t *addr,
	uint8_t family, uint16_t port, const struct nexthop *nh)
{
	if (port < g->nat_port_first || port > g->nat_port_last)
		return false;
	if (nh && nh->type == NH_LOCAL)
		return true;
	return c && c->n_pool > 0 && is_of_pool(c, addr, family);
}

static void refuse(struct nat_decision *d, enum drop_reason why)
{
	d->way = NAT_REFUSED;
	d->drop = why;
}

static void reserve(const struct graph *g, struct nat_new *new)
{
	uint32_t extra = atomic_load_explicit(&g->gw->extra_ports, memory_order_relaxed);
	new->reserved = atomic_load_explicit(&g->gw->wg_port, memory_order_relaxed);
	new->reserved_first = (uint16_t)(extra >> 16);
	new->n_reserved = (uint16_t)extra;
}

// From this address of ours.
static void new_source(
	struct graph *g, enum nat_shape shape, const uint8_t *local, struct nat_decision *d)
{
	struct nat_new *new = &d->new;
	memcpy(new->outside.local, local, sizeof(new->outside.local));
	d->way = NAT_NEW_FLOW;
	new->choose = shape != NAT_SHAPE_PLAIN;
	if (!new->choose)
		new->flags |= NAT_CLAIMED;
	else if (new->outside.proto == IPPROTO_UDP)
		reserve(g, new);
}

static void through_link(
	struct graph *g, const struct nat_config *c, enum nat_shape shape, struct nat_decision *d)
{
	struct nat_new *new = &d->new;
	const struct ip_addr *own =
		masquerade(g, c, client_hash(g->nat, &new->inside), d->nexthop, &new->outside);
	if (own->family != new->outside.family) {
		refuse(d, DROP_NAT_NO_ADDRESS);
		return;
	}
	new_source(g, shape, own->bytes, d);
	if (c->endpoint_independent && !d->redirected && shape != NAT_SHAPE_PLAIN &&
		nat_same_remote(&new->inside, &new->outside))
		new->flags |= NAT_ANY_REMOTE;
}

// By an outside address to another peer, or to nobody (RFC 4787 6).
static void hairpin(
	struct graph *g, const struct nat_config *c, enum nat_shape shape, struct nat_decision *d)
{
	uint8_t local[16];
	memcpy(local, d->new.outside.remote, sizeof(local));
	new_source(g, shape, local, d);
	d->new.flags |= NAT_HAIRPIN | (c->endpoint_independent ? NAT_ANY_REMOTE : 0);
}

void nat_decide(struct graph *g, const struct nat_config *c, enum nat_shape shape,
	const struct nat_key *key, struct nat_decision *d)
{
	*d = (struct nat_decision){.new = {.inside = *key, .outside = *key}};
	struct nat_key *to = &d->new.outside;
	enum redirect how = redirect(g, c, to);
	const struct nexthop *nh = d->nexthop = fib_find(g->gw->fib, to->remote, to->family);
	d->redirected = how >= TO_BACKEND;
	bool link = nh && (nh->type == NH_LINK || nh->type == NH_RESOLVE || nh->type == NH_VXLAN);
	bool maybe = nh && nh->type == NH_RESOLVE && nh->port == PORT_NONE;
	if (how == TO_NOBODY || how == TO_CLOSED) {
		refuse(d, how == TO_CLOSED ? DROP_NAT_CLOSED : DROP_NAT_UNREACHABLE);
	} else if (how == TO_ITSELF && shape == NAT_SHAPE_PORTS && c->snat &&
		   nat_is_outside(
			   g, c, to->remote, to->family, rte_be_to_cpu_16(to->remote_port), nh)) {
		hairpin(g, c, shape, d);
	} else if (maybe && c->snat && !d->redirected) {
		d->way = NAT_UNDECIDED;
	} else if (link && (c->snat || d->redirected)) {
		through_link(g, c, shape, d);
	} else if (how == TO_BACKEND && nh && nh->type == NH_LOCAL && to->family == key->family) {
		// The host's own service sees the peer's own address.
		d->way = NAT_NEW_FLOW;
		d->new.flags |= NAT_OWN_SOURCE;
	} else if (d->redirected) {
		refuse(d, DROP_NAT_UNREACHABLE);
	}
}
