// Collects for the guard which devices, ports and addresses are the gateway's.
#include "control/guarding.h"

#include <net/if.h>
#include <stdlib.h>

#include "control/kernel/guard.h"
#include "control/kernel/mirror.h"
#include "dataplane/base/heap.h"
#include "dataplane/base/log.h"

enum { DEVICES_MAX = PORT_MAX + VXLAN_DEVICES_MAX };

// Our addresses, and what the peers' allowed IPs hold, for kernels that cannot look up at ingress.
static unsigned locals_of(const struct daemon *d, struct ip_prefix *out)
{
	static const enum ip_family families[] = {IP_V4, IP_V6};
	unsigned n = 0;
	for (unsigned i = 0; i < d->gw->n_ports * RTE_DIM(families); i++) {
		uint32_t ifindex = d->gw->port[i / 2]->ifindex;
		if (mirror_port_addr(d->mirror, ifindex, families[i % 2], &out[n].addr)) {
			out[n].len = (uint8_t)ip_addr_bits(&out[n].addr);
			n++;
		}
	}
	return n;
}

static struct ip_prefix *routed_of(const struct config *c, unsigned *n)
{
	unsigned total = 0;
	for (unsigned i = 0; i < c->n_peers; i++)
		total += c->peers[i].n_allowed_ips;
	struct ip_prefix *list = mem_alloc((total + 1) * sizeof(*list));
	*n = 0;
	for (unsigned i = 0; i < c->n_peers; i++) {
		for (unsigned j = 0; j < c->peers[i].n_allowed_ips; j++)
			list[(*n)++] = c->peers[i].allowed_ips[j];
	}
	return list;
}

// Which VXLAN devices end here, and the MACs of their bridges, in a number.
static uint64_t vxlans_sum(const struct daemon *d)
{
	struct mirror_vxlan v;
	uint64_t sum = 0;
	for (uint32_t i = 0; mirror_vxlan_next(d->mirror, &i, &v);) {
		uint64_t mac = 0;
		if (v.left_because)
			continue;
		if (v.seat != v.link)
			memcpy(&mac, v.seat->mac, sizeof(v.seat->mac));
		sum += (v.link->ifindex ^ mac << 16) * UINT64_C(0x9e3779b97f4a7c15);
	}
	return sum;
}

// What comes out of a VXLAN for the tunnel is ours as well: the kernel takes it out, too.
static void add_vxlans(const struct daemon *d, struct guard_params *p, const char **devices,
	struct guard_bridged *bridged)
{
	struct mirror_vxlan v;
	for (uint32_t i = 0; mirror_vxlan_next(d->mirror, &i, &v);) {
		if (v.left_because || p->n_devices + p->n_bridged == DEVICES_MAX ||
			!if_nametoindex(v.link->name))
			continue;
		if (v.seat == v.link) {
			devices[p->n_devices++] = v.link->name;
			continue;
		}
		struct guard_bridged *b = &bridged[p->n_bridged++];
		b->device = v.link->name;
		memcpy(b->mac, v.seat->mac, sizeof(b->mac));
	}
}

int guarding_set(struct daemon *d, struct guarding *g, char err[static 256])
{
	const char *devices[DEVICES_MAX];
	struct guard_bridged bridged[DEVICES_MAX];
	struct ip_prefix locals[PORT_MAX * 2];
	struct guard_params params = {
		.tun = d->config->tun[0] ? d->config->tun : NULL,
		.udp_port = d->wg_port,
		.extra_port = g->extra.first,
		.n_extra_ports = g->extra.n,
		.nat_first = g->nat_first,
		.nat_last = g->nat_last,
		.devices = devices,
		.bridged = bridged,
		.locals = locals,
		.n_locals = locals_of(d, locals),
	};
	for (unsigned i = 0; i < d->gw->n_ports; i++) {
		const struct port *port = d->gw->port[i];
		g->port_ifindex[i] = port->ifindex;
		// nft refuses all rules when one interface is away just now
		if (port->kind == PORT_SHARED && if_nametoindex(port->device))
			devices[params.n_devices++] = port->device;
	}
	g->vxlans = vxlans_sum(d);
	if (params.n_devices == 0 || !d->config->guard)
		return 0;
	add_vxlans(d, &params, devices, bridged);
	struct ip_prefix *routed = routed_of(d->config, &params.n_routed);
	params.routed = routed;
	int rc = d->guard ? guard_update(d->guard, &params, err)
			  : guard_create(&params, &d->guard, err);
	free(routed);
	return rc;
}

void guarding_renew(struct daemon *d, struct guarding *g)
{
	char err[256];
	if (guarding_set(d, g, err) < 0)
		log_error("guard", "%s", err);
}

bool guarding_is_stale(const struct daemon *d, const struct guarding *g)
{
	return !guard_has_fib(d->guard) || g->vxlans != vxlans_sum(d);
}
