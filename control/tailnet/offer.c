#include "control/tailnet/offer.h"

#include <stdio.h>
#include <stdlib.h>

#include "control/tailnet/priv.h"
#include "dataplane/base/log.h"
#include "dataplane/base/via6.h"

bool tn_is_cut_off(const struct tn_offer_spec *spec, const struct ip_prefix *p)
{
	unsigned gone = 0, there = 0;
	struct ip_prefix v4;
	uint32_t site;
	if (via6_split(p, &site, &v4) == 0) // the hosts there are known by IPv4
		p = &v4;
	for (unsigned i = 0; i < spec->n_hosts; i++) {
		if (ip_prefix_contains(p, &spec->hosts[i].addr))
			++*(spec->hosts[i].gone ? &gone : &there);
	}
	return gone > 0 && there == 0;
}

uint32_t tn_offer(const struct tn_offer_spec *spec, struct ip_prefix *out)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < spec->n_routes && !spec->draining; i++) {
		if (!tn_is_cut_off(spec, &spec->routes[i]))
			out[n++] = spec->routes[i];
	}
	return n;
}

static struct tn_offer_spec spec_of(const struct tailnet *t)
{
	struct tn_offer_spec spec = {
		.routes = t->prefs->routes,
		.n_routes = t->prefs->n_routes,
		.draining = t->draining,
	};
	if (t->reach)
		spec.hosts = reach_hosts(t->reach, &spec.n_hosts);
	return spec;
}

void tn_offer_update(struct tailnet *t)
{
	const struct tn_offer_spec spec = spec_of(t);
	struct ip_prefix *now = mem_alloc((spec.n_routes + 1) * sizeof(*now));
	uint32_t n = tn_offer(&spec, now);
	bool same = n == t->n_offered && (n == 0 || memcmp(now, t->offered, n * sizeof(*now)) == 0);
	free(t->offered);
	t->offered = now;
	t->n_offered = n;
	if (same)
		return;
	if (t->coord)
		coord_client_update(t->coord);
	tn_changed(t, TAILNET_CHANGED_HEALTH);
}

void tn_reach_changed(void *arg)
{
	tn_offer_update(arg);
}

void tailnet_set_probes(struct tailnet *t, const struct config_hosts *hosts)
{
	reach_set(t->reach, hosts);
	tn_offer_update(t);
}

void tailnet_drain(struct tailnet *t, bool on)
{
	if (t->draining == on)
		return;
	t->draining = on;
	log_info("tailnet", on ? "draining: no routes are offered any more"
			       : "no longer draining: routes are offered again");
	tn_offer_update(t);
}

static bool is_listed(const struct ip_prefix *list, uint32_t n, const struct ip_prefix *p)
{
	for (uint32_t i = 0; i < n; i++) {
		if (memcmp(&list[i], p, sizeof(*p)) == 0)
			return true;
	}
	return false;
}

// Whether peers send somebody else what goes there.
static bool is_taken_over(const struct tailnet *t, const struct ip_prefix *p)
{
	for (size_t i = 0; i < t->netmap->n_peers; i++) {
		const struct nm_node *n = t->netmap->peers[i]->node;
		if (is_listed(n->primary_routes, n->n_primary_routes, p) ||
			(p->len == 0 && is_listed(n->allowed_ips, n->n_allowed_ips, p)))
			return true;
	}
	return false;
}

void tailnet_route_info(
	const struct tailnet *t, const struct ip_prefix *p, struct tailnet_route_info *out)
{
	const struct nm_node *self = t->netmap->self;
	const struct tn_offer_spec spec = spec_of(t);
	*out = (struct tailnet_route_info){
		.offered = is_listed(t->offered, t->n_offered, p),
		.cut_off = tn_is_cut_off(&spec, p),
		.taken_over = is_taken_over(t, p),
	};
	if (self) {
		out->approved = is_listed(self->allowed_ips, self->n_allowed_ips, p);
		out->primary = is_listed(self->primary_routes, self->n_primary_routes, p);
	}
}

bool tailnet_is_draining(const struct tailnet *t)
{
	return t->draining;
}
