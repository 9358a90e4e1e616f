// The configuration of the workers' address translation: made anew when anything changes that it
// follows from, and published if it is another one.
#include "control/tailnet/nat.h"

#include <stdlib.h>

#include "control/tailnet/priv.h"
#include "dataplane/base/log.h"
#include "dataplane/base/via6.h"

enum { // seconds (RFC 5382 REQ-5, RFC 5508 REQ-1)
	TCP_OPENING_S = 240,
	TCP_CLOSING_S = 240,
	ICMP_S = 60,
	OTHER_S = 600,
};

static void set_limits(struct nat_config *c, const struct config_nat *config)
{
	c->endpoint_independent = config->mapping == CONFIG_NAT_INDEPENDENT;
	c->port_first = config->ports.first;
	c->port_last = config->ports.last;
	c->client_flows = config->client_flows;
	c->idle_s[NAT_TCP_OPENING] = TCP_OPENING_S;
	c->idle_s[NAT_TCP_OPEN] = config->tcp_idle_s;
	c->idle_s[NAT_TCP_CLOSING] = TCP_CLOSING_S;
	c->idle_s[NAT_UDP] = config->udp_idle_s;
	c->idle_s[NAT_ICMP] = ICMP_S;
	c->idle_s[NAT_OTHER] = OTHER_S;
}

static void set_via(struct nat_config *c, const struct ip_prefix *routes, uint32_t n)
{
	c->via = mem_alloc(NAT_VIA_MAX * sizeof(*c->via));
	for (uint32_t i = 0; i < n; i++) {
		if (!via6_is(&routes[i]))
			continue;
		if (c->n_via == NAT_VIA_MAX) {
			log_warn("tailnet", "more than %u 4via6 routes: the rest is not translated",
				NAT_VIA_MAX);
			return;
		}
		c->via[c->n_via++] = routes[i];
	}
}

struct nat_config *tn_nat_compile(const struct tn_nat_spec *spec)
{
	struct nat_config *c = mem_alloc(sizeof(*c));
	const struct config_nat *config = spec->config;
	set_limits(c, config);
	c->snat = spec->snat;
	set_via(c, spec->routes, spec->n_routes);
	c->remap = mem_alloc((config->n_remap + 1) * sizeof(*c->remap));
	for (uint32_t i = 0; i < config->n_remap; i++)
		c->remap[c->n_remap++] =
			(struct nat_remap){config->remap[i].known, config->remap[i].real};
	c->service = mem_alloc((spec->n_services + 1) * sizeof(*c->service));
	c->n_services = spec->n_services;
	if (c->n_services)
		memcpy(c->service, spec->services, c->n_services * sizeof(*c->service));
	c->n_pool = config->n_pool;
	memcpy(c->pool, config->pool, sizeof(c->pool));
	memcpy(c->port4, spec->port4, sizeof(c->port4));
	memcpy(c->port6, spec->port6, sizeof(c->port6));
	return c;
}
static_assert((unsigned)CONFIG_NAT_POOL_MAX == (unsigned)NAT_POOL_MAX &&
	      (unsigned)CONFIG_NAT_REMAP_MAX <= (unsigned)NAT_REMAP_MAX);

static bool is_same(const struct nat_config *a, const struct nat_config *b)
{
	struct nat_config x = *a, y = *b;
	x.via = y.via = NULL;
	x.remap = y.remap = NULL;
	x.service = y.service = NULL;
	return memcmp(&x, &y, sizeof(x)) == 0 &&
	       memcmp(a->via, b->via, a->n_via * sizeof(*a->via)) == 0 &&
	       memcmp(a->remap, b->remap, a->n_remap * sizeof(*a->remap)) == 0 &&
	       memcmp(a->service, b->service, a->n_services * sizeof(*a->service)) == 0;
}

// What it is told with: the ports that it needs, while it needs them.
static void tell_ports(struct tailnet *t, const struct nat_config *c)
{
	if (t->params.env.nat_ports)
		t->params.env.nat_ports(
			t->params.env.ports_arg, c ? c->port_first : 0, c ? c->port_last : 0);
}

void tn_nat_apply(struct tailnet *t)
{
	struct gateway *gw = t->params.gw;
	struct ip_addr port4[PORT_MAX] = {0}, port6[PORT_MAX] = {0};
	for (unsigned i = 0; i < gw->n_ports; i++) {
		uint32_t ifindex = gw->port[i]->ifindex;
		if (i != gw->host_port) {
			mirror_port_addr(t->params.mirror, ifindex, IP_V4, &port4[i]);
			mirror_port_addr(t->params.mirror, ifindex, IP_V6, &port6[i]);
		}
	}
	struct nat_config *c = NULL, *now = atomic_load(&gw->nat);
	struct nat_service *services = mem_alloc(NAT_SERVICES_MAX * sizeof(*services));
	uint32_t n_services = t->active ? tn_services_nat(t, services) : 0;
	if (t->active && (t->networks.n > 0 || n_services > 0))
		c = tn_nat_compile(&(struct tn_nat_spec){
			.config = &t->params.nat,
			.routes = t->networks.at,
			.n_routes = t->networks.n,
			.snat = !t->prefs->no_snat,
			.services = services,
			.n_services = n_services,
			.port4 = port4,
			.port6 = port6,
		});
	free(services);
	if (c && now && is_same(c, now)) {
		nat_config_destroy(c);
		return;
	}
	if (c || now) {
		tell_ports(t, c);
		nat_config_publish(&gw->nat, gw->rcu, c);
	}
}

void tailnet_set_nat(struct tailnet *t, const struct config_nat *nat)
{
	t->params.nat = *nat;
	tn_nat_apply(t);
}
