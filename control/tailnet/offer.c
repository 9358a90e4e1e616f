#include "control/tailnet/offer.h"

#include <stdio.h>
#include <stdlib.h>

#include "control/tailnet/priv.h"
#include "dataplane/base/log.h"
#include "dataplane/base/via6.h"

static const uint64_t DOUBT_NS = UINT64_C(3000000000); // what the server says by itself comes first

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

// Its place in the list; n: it is not there.
static uint32_t find(const struct ip_prefix *list, uint32_t n, const struct ip_prefix *p)
{
	uint32_t i = 0;
	while (i < n && memcmp(&list[i], p, sizeof(*p)) != 0)
		i++;
	return i;
}

static bool is_listed(const struct ip_prefix *list, uint32_t n, const struct ip_prefix *p)
{
	return find(list, n, p) < n;
}

// -- what we stand for ----------------------------------------------------------------------------

static void make_room(struct tn_networks *all, uint32_t n)
{
	all->at = realloc(all->at, (all->n + n + 1) * sizeof(*all->at));
	all->source = realloc(all->source, (all->n + n + 1) * sizeof(*all->source));
	if (!all->at || !all->source)
		abort(); // as mem_alloc
}

static void stand_for(struct tn_networks *all, const struct ip_prefix *list, uint32_t n,
	enum tailnet_network_source source)
{
	uint32_t before = all->n;
	make_room(all, n);
	for (uint32_t i = 0; i < n; i++) {
		if (is_listed(all->at, before, &list[i]))
			continue;
		all->at[all->n] = list[i];
		all->source[all->n++] = (uint8_t)source;
	}
}

// The app connector's come last: they may be thousands, and only what lies in none of the others.
static void stand_for_apps(struct tailnet *t, struct tn_networks *all)
{
	uint32_t n;
	const struct ip_prefix *apps = tn_appc_networks(t, all->at, all->n, &n);
	make_room(all, n);
	if (n)
		memcpy(&all->at[all->n], apps, n * sizeof(*apps));
	memset(&all->source[all->n], TAILNET_NETWORK_APP, n);
	all->n += n;
	all->n_apps = n;
}

// All sources of networks, each sorted and without doubles. True: they are others than before.
static bool gather(struct tailnet *t)
{
	struct tn_networks now = {0}, *old = &t->networks;
	stand_for(&now, t->prefs->routes, t->prefs->n_routes, TAILNET_NETWORK_SET);
	stand_for(&now, t->learned.offered, t->learned.n_offered, TAILNET_NETWORK_LEARNED);
	stand_for_apps(t, &now);
	bool same = now.n == old->n && old->at &&
		    memcmp(now.at, old->at, now.n * sizeof(*now.at)) == 0 &&
		    memcmp(now.source, old->source, now.n) == 0;
	tn_networks_free(old);
	*old = now;
	return !same;
}

void tn_networks_free(struct tn_networks *all)
{
	free(all->at);
	free(all->source);
	*all = (struct tn_networks){0};
}

const struct ip_prefix *tailnet_networks(const struct tailnet *t, uint32_t *n)
{
	*n = t->networks.n - t->networks.n_apps;
	return t->networks.at;
}

const struct ip_prefix *tailnet_app_networks(const struct tailnet *t, uint32_t *n)
{
	*n = t->networks.n_apps;
	return t->networks.at + t->networks.n - t->networks.n_apps;
}

// -- what we offer --------------------------------------------------------------------------------

static struct tn_offer_spec spec_of(const struct tailnet *t)
{
	struct tn_offer_spec spec = {
		.routes = t->networks.at,
		.n_routes = t->networks.n,
		.draining = t->draining,
	};
	if (t->reach)
		spec.hosts = reach_hosts(t->reach, &spec.n_hosts);
	return spec;
}

void tn_offer_update(struct tailnet *t)
{
	if (gather(t)) {
		t->filter_dirty = t->routes_dirty = true;
		tn_changed(t, 0);
	}
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
	coord_client_update(t->coord); // services are offered likewise
	tn_offer_update(t);
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

static enum tailnet_network_source source_of(
	const struct tn_networks *all, const struct ip_prefix *p)
{
	uint32_t i = find(all->at, all->n, p);
	return i < all->n ? (enum tailnet_network_source)all->source[i] : TAILNET_NETWORK_SET;
}

void tailnet_route_info(
	const struct tailnet *t, const struct ip_prefix *p, struct tailnet_route_info *out)
{
	const struct nm_node *self = t->netmap->self;
	const struct tn_offer_spec spec = spec_of(t);
	*out = (struct tailnet_route_info){
		.offered = is_listed(t->offered, t->n_offered, p),
		.source = source_of(&t->networks, p),
		.cut_off = tn_is_cut_off(&spec, p),
		.taken_over = is_taken_over(t, p),
	};
	if (self) {
		out->approved = is_listed(self->allowed_ips, self->n_allowed_ips, p);
		out->primary = is_listed(self->primary_routes, self->n_primary_routes, p);
	}
}

// The first network that another gateway of the site could serve as well; NULL: there is none.
static const struct ip_prefix *first_network(const struct tailnet *t)
{
	const struct tn_networks *all = &t->networks;
	const struct ip_prefix *first = NULL;
	for (uint32_t i = 0; i < all->n; i++) {
		const struct ip_prefix *p = &all->at[i];
		if (p->len > 0 && all->source[i] != TAILNET_NETWORK_APP &&
			(!first || memcmp(&p->addr, &first->addr, sizeof(p->addr)) < 0))
			first = p;
	}
	return first;
}

// Peers take what hosts send from the node that serves their network alone, and a router of theirs
// knows but one way: the gateway that serves the first network is the one.
bool tn_is_answered_through(const struct tailnet *t)
{
	const struct ip_prefix *first = first_network(t);
	return first && !is_taken_over(t, first);
}

// Nobody serves the first network, as far as we were told.
static bool is_in_doubt(const struct tailnet *t)
{
	struct tailnet_route_info i;
	const struct ip_prefix *first = first_network(t);
	if (!first)
		return false;
	tailnet_route_info(t, first, &i);
	return i.offered && !i.taken_over && !i.primary;
}

// Another gateway does no longer serve what we offer as well. If that made us the one, headscale
// tells everybody but us: a while later it is asked.
void tn_offer_settle(struct tailnet *t)
{
	const struct ip_prefix *first = first_network(t);
	bool stands_by = first && is_taken_over(t, first);
	if (t->stood_by && !stands_by)
		t->doubt_ns = tn_now_ns(t) + DOUBT_NS;
	t->stood_by = stands_by;
}

void tn_offer_tick(struct tailnet *t)
{
	if (!t->doubt_ns || tn_now_ns(t) < t->doubt_ns)
		return;
	t->doubt_ns = 0;
	if (is_in_doubt(t))
		coord_client_reread(t->coord);
}

bool tailnet_is_draining(const struct tailnet *t)
{
	return t->draining;
}

// -- what a routing daemon has in the kernel ------------------------------------------------------

static bool wants(void *arg, const struct ip_prefix *p, uint8_t protocol)
{
	const struct tailnet *t = arg;
	return learned_wants(&t->params.learned, p, protocol);
}

static bool is_there(void *mirror, const struct ip_prefix *p)
{
	return mirror_is_watched(mirror, p);
}

static uint32_t list_there(void *mirror, struct ip_prefix *out, uint32_t max)
{
	return mirror_watched(mirror, out, max);
}

static void tell_limit(const struct learned *l, uint32_t left_out_before)
{
	if (l->left_out && !left_out_before)
		log_warn("tailnet",
			"%u networks that advertise_learned names are left out: more than "
			"learned_limit; narrow the one or raise the other",
			l->left_out);
}

void tn_learned_tick(struct tailnet *t)
{
	struct mirror *m = t->params.mirror;
	const struct learned_view view = {m, is_there, list_there};
	uint32_t generation = mirror_watch_generation(m), left_out = t->learned.left_out;
	bool same = generation == t->learned_generation;
	t->learned.wait = first_network(t) && !tn_is_answered_through(t);
	t->learned_generation = generation;
	if (same ? learned_tick(&t->learned, tn_now_ns(t))
		 : learned_update(&t->learned, &view, t->params.learned.limit, tn_now_ns(t)))
		tn_offer_update(t);
	tell_limit(&t->learned, left_out);
}

void tailnet_set_learned(struct tailnet *t, const struct config_learned *learned)
{
	t->params.learned = *learned;
	mirror_watch(t->params.mirror, learned->n_ranges ? wants : NULL, t);
	tn_learned_tick(t);
}

void tailnet_learned_info(const struct tailnet *t, struct tailnet_learned_info *out)
{
	*out = (struct tailnet_learned_info){
		t->learned.n_offered, t->learned.held, t->learned.left_out};
}
