// Where a packet from a peer would go, and with which addresses: what the workers' nat node decides
// (dataplane/node/nat_begin.c), told for people.
#include "control/ctl/explain.h"

#include "dataplane/base/via6.h"
#include "dataplane/table/fib.h"
#include "dataplane/table/vtep.h"

// What the translation makes of the destination.
struct way {
	const char *how; // NULL: nothing
	bool closed;	 // nothing is behind it
	// All that it may become: which one it is, is up to the client. None but dst: n is 1.
	struct ip_addr to[NAT_BACKENDS_MAX];
	unsigned n;
};

// To a service's backends.
static void to_backends(const struct nat_service *s, uint8_t family, struct way *way)
{
	way->n = 0;
	for (unsigned i = 0; i < s->n_backends; i++) {
		if (nat_is_reachable(&s->backend[i], family))
			way->to[way->n++] = s->backend[i].addr;
	}
	way->closed = way->n == 0;
	way->how = "service";
}

static struct way way_of(const struct nat_config *c, const struct explain_query *q)
{
	struct way way = {.to = {q->dst}, .n = 1};
	const struct nat_service *s;
	if (!c)
		return way;
	if (nat_is_via(c, &q->dst)) {
		way.how = "4via6";
		way.to[0] = ip_addr_v4(q->dst.bytes + 12);
		way.closed = !via6_is_target(way.to[0].bytes);
	} else if ((s = nat_service_of(c, &q->dst, q->proto, q->port))) {
		to_backends(s, q->dst.family, &way);
	} else if (nat_mapped(c, true, q->dst.bytes, q->dst.family, way.to[0].bytes)) {
		way.how = "remap";
	}
	return way;
}

static json_t *address_json(const struct ip_addr *a)
{
	char text[ADDR_TEXT_LEN];
	return json_string(ip_addr_format(a, text));
}

// The address of the link, which may be a VXLAN device in place of a port.
static const struct ip_addr *of_link(const struct gateway *gw, const struct nat_config *c,
	const struct nexthop *nh, uint8_t family)
{
	if (nh->port != PORT_NONE)
		return family == IP_V4 ? &c->port4[nh->port] : &c->port6[nh->port];
	const struct vxlan_device *d =
		vxlan_device_of(vxlan_devices_get(gw->fib->vteps), nh->ifindex);
	if (!d)
		return NULL;
	return family == IP_V4 ? &d->addr4 : &d->addr6;
}

// The addresses of which it leaves with one, an empty array where that is missing; NULL: it keeps
// its own.
static json_t *masquerade(const struct gateway *gw, const struct nat_config *c,
	const struct way *way, const struct nexthop *nh)
{
	const uint8_t family = way->to[0].family;
	const bool redirected = way->how && strcmp(way->how, "remap") != 0;
	if (!c || !(c->snat || redirected) || !nh ||
		(nh->type != NH_LINK && nh->type != NH_RESOLVE && nh->type != NH_VXLAN))
		return NULL;
	json_t *from = json_array();
	for (uint32_t i = 0; i < c->n_pool; i++) {
		if (c->pool[i].family == family)
			json_array_append_new(from, address_json(&c->pool[i]));
	}
	const struct ip_addr *own = of_link(gw, c, nh, family);
	if (json_array_size(from) == 0 && own && own->family == family)
		json_array_append_new(from, address_json(own));
	return from;
}

json_t *ctl_explain_way(const struct gateway *gw, const struct explain_query *q)
{
	static const char *const types[NH_TYPE_COUNT] = {[NH_DROP] = "blackhole",
		[NH_REJECT] = "unreachable",
		[NH_LOCAL] = "this host",
		[NH_TUNNEL] = "tunnel",
		[NH_LINK] = "link",
		[NH_RESOLVE] = "link",
		[NH_VXLAN] = "vxlan",
		[NH_KERNEL] = "kernel"};
	const struct nat_config *c = atomic_load_explicit(&gw->nat, memory_order_acquire);
	const struct way way = way_of(c, q);
	json_t *json = json_object(), *to = json_array(), *from;
	const struct nexthop *nh = gw->fib && !way.closed ? fib_lookup(gw->fib, &way.to[0]) : NULL;
	for (unsigned i = 0; way.how && i < way.n; i++)
		json_array_append_new(to, address_json(&way.to[i]));
	if (way.how) {
		json_object_set_new(json, "translation", json_string(way.how));
		json_object_set(json, "to", to);
	}
	json_decref(to);
	json_object_set_new(json, "route",
		json_string(way.closed ? "closed"
			    : nh       ? types[nh->type]
				       : "none"));
	if (nh && nh->port < gw->n_ports)
		json_object_set_new(json, "port", json_string(gw->port[nh->port]->name));
	if ((from = masquerade(gw, c, &way, nh)))
		json_object_set_new(json, "from", from);
	return json;
}
