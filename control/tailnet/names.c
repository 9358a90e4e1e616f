// DNS as the node has it: the resolver sees the netmap, and the machine asks it when the user wants
// that (--accept-dns) and the tailnet runs.
#include <errno.h>
#include <stdio.h>

#include "control/dns/dns.h"
#include "control/tailnet/priv.h"

enum {
	CAP_EXIT_DNS = 26, // from then on every exit node answers DNS
	EXIT_URL_LEN = ENDPOINT_TEXT_LEN + 24,
};

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

// What leaves by an exit node is resolved there: its own resolvers may know other names, and ours
// may not be reached. (tailscale ipn/ipnlocal/local.go, peerAPIBase, exitNodeCanProxyDNS)
static const char *exit_url(const struct tailnet *t, char url[static EXIT_URL_LEN])
{
	char at[ENDPOINT_TEXT_LEN];
	const struct nm_peer *peer = t->active ? tn_exit_peer(t) : NULL;
	const struct nm_node *n = peer && peer->unusable == NM_USABLE ? peer->node : NULL;
	if (!n || !tailnet_offers_exit(n) || !(n->peerapi_dns || n->cap >= CAP_EXIT_DNS))
		return NULL;
	for (uint32_t i = 0; i < n->n_addresses; i++) {
		struct endpoint e = {.addr = n->addresses[i].addr};
		e.port = e.addr.family == IP_V4 ? n->peerapi4 : n->peerapi6;
		if (e.port == 0)
			continue;
		snprintf(url, EXIT_URL_LEN, "http://%s/dns-query", endpoint_format(&e, at));
		return url;
	}
	return NULL;
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
	char url[EXIT_URL_LEN];
	dns_netmap_changed(t->names);
	dns_set_exit(t->names, exit_url(t, url));
	dns_accept(t->names, accept, tun_ifindex(t));
}
