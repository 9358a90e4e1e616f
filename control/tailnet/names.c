// DNS as the node has it: the resolver sees the netmap, and the machine asks it when the user wants
// that (--accept-dns) and the tailnet runs.
#include <errno.h>

#include "control/dns/dns.h"
#include "control/tailnet/priv.h"

static const struct netmap *netmap_of(void *t)
{
	return tailnet_netmap(t);
}

struct dns *tailnet_dns(const struct tailnet *t)
{
	return t->names;
}

static uint32_t tun_ifindex(const struct tailnet *t)
{
	const struct gateway *gw = t->params.gw;
	return gw->host_port == PORT_NONE ? 0 : gw->port[gw->host_port]->ifindex;
}

int tn_names_create(struct tailnet *t)
{
	struct dns_params params = {
		.base = t->params.base,
		.net = t->net,
		.service = t->params.gw->host_port != PORT_NONE,
		.resolv_conf = DNS_RESOLV_CONF,
		.resolved_conf = DNS_RESOLVED_CONF,
		.state_dir = t->state_dir,
		.netmap = netmap_of,
		.arg = t,
	};
	for (uint32_t i = 0; i < t->params.dns_listen.count && i < DNS_LISTENERS_MAX; i++)
		params.listen[params.n_listen++] = t->params.dns_listen.list[i];
	t->names = dns_create(&params);
	return t->names ? 0 : -ENOMEM;
}

// A netmap without anything about DNS leaves the machine as it is.
static bool has_dns(const struct nm_dns *d)
{
	return d->proxied || d->resolvers.n || d->n_routes || d->n_records;
}

void tn_names_settled(struct tailnet *t)
{
	const struct netmap *nm = tailnet_netmap(t);
	bool accept = t->active && t->prefs->corp_dns && tun_ifindex(t) && has_dns(&nm->dns);
	dns_netmap_changed(t->names);
	dns_accept(t->names, accept, tun_ifindex(t));
}
