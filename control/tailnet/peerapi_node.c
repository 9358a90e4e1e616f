// The peerAPI as the node has it: where it listens, who may ask it what, and what we tell of it.
#include <errno.h>
#include <netinet/in.h>

#include "control/tailnet/peerapi.h"
#include "control/tailnet/priv.h"
#include "dataplane/table/rules.h"

static const struct nm_peer *peer_at(void *arg, const struct ip_addr *a)
{
	const struct tailnet *t = arg;
	const struct nm_peer *p = netmap_peer_by_addr(t->netmap, a);
	return t->active && p && p->unusable == NM_USABLE ? p : NULL;
}

static bool offers_exit(const struct tailnet *t)
{
	for (uint32_t i = 0; i < t->prefs->n_routes; i++) {
		if (t->prefs->routes[i].len == 0)
			return true;
	}
	return false;
}

// The user's own nodes; of an exit node or app connector those that the filter lets go to names
// through us: TCP to 0.0.0.0:53, or [2000::]:53 of an IPv6 address, as the real client asks it.
static bool may_resolve(void *arg, const struct nm_peer *peer, const struct ip_addr *from)
{
	static const uint8_t any4[4] = {0}, any6[16] = {0x20};
	const struct tailnet *t = arg;
	const struct nm_node *self = t->netmap->self;
	const struct rules *rules = atomic_load(&t->params.gw->rules);
	const struct rule_query q = {
		.src = from->bytes,
		.dst = from->family == IP_V4 ? any4 : any6,
		.port = 53,
		.family = from->family,
		.proto = IPPROTO_TCP,
	};
	if (self && self->user && self->user == peer->node->user && !peer->node->jailed)
		return true;
	return rules && rules_allow(rules, &q, RULE_PORT) &&
	       (t->prefs->app_connector ||
		       (offers_exit(t) && rules_is_local(rules, q.family, q.dst)));
}

static struct dns *dns_of(void *arg)
{
	const struct tailnet *t = arg;
	return t->names;
}

int tn_peerapi_create(struct tailnet *t)
{
	const struct peerapi_env env = {
		.arg = t, .peer = peer_at, .may_resolve = may_resolve, .dns = dns_of};
	t->peerapi = peerapi_create(t->params.base, &env);
	return t->peerapi ? 0 : -ENOMEM;
}

void tn_peerapi_settle(struct tailnet *t)
{
	const struct gateway *gw = t->params.gw;
	const struct nm_node *self = t->netmap->self;
	struct ip_addr own[2] = {0};
	for (uint32_t i = 0; t->active && self && i < self->n_addresses; i++) {
		struct ip_addr *a = &own[self->addresses[i].addr.family == IP_V6];
		if (a->family == IP_NONE)
			*a = self->addresses[i].addr;
	}
	if (gw->host_port == PORT_NONE ||
		!peerapi_listen(t->peerapi, &own[0], &own[1], gw->port[gw->host_port]->device))
		return;
	t->filter_dirty = true;
	coord_client_update(t->coord);
}

uint32_t tn_peerapi_services(const struct tailnet *t, struct hostinfo_service *out)
{
	const struct hostinfo_service all[TN_SERVICES_MAX] = {
		{"peerapi4", peerapi_port_of(t->peerapi, IP_V4)},
		{"peerapi6", peerapi_port_of(t->peerapi, IP_V6)},
		{"peerapi-dns-proxy", offers_exit(t) || t->prefs->app_connector},
	};
	uint32_t n = 0;
	for (unsigned i = 0; i < TN_SERVICES_MAX; i++) {
		if (all[i].port)
			out[n++] = all[i];
	}
	return n;
}
