// The app connector as the node has it: what it stands for follows from the settings, our own
// capabilities and the configuration; what the resolver's answers teach it is on the disk before
// anybody is told of it.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "control/coord/json.h"
#include "control/coord/statefile.h"
#include "control/dns/dns.h"
#include "control/tailnet/appc.h"
#include "control/tailnet/priv.h"
#include "dataplane/base/log.h"
#include "dataplane/base/prefix.h"
#include "dataplane/table/fib.h"

enum {
	LEARN_MS = 20,	    // what is learned within it is told of at once
	SAVE_SHARE = 50,    // of the time goes into saving: one in so many
	FILE_MAX = 1 << 20, // bytes
};

static const char file_name[] = "appc.json";

struct tn_appc {	   // ctl only
	struct appc *appc; // NULL: we are none
	struct config_domains config;
	struct event *learned;	  // save, then tell
	struct ip_prefix *routes; // room for APPC_ROUTES_MAX
	uint64_t save_ns;	  // that it took the last time
	bool full, save_failed;	  // was said
};

// -- which networks -------------------------------------------------------------------------------

struct candidate {
	struct ip_prefix prefix;
	bool set; // by the user, who may name what lies in another one
};

// A network that holds others stands before them; of equal ones the user's.
static int order(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;
	int o = ip_prefix_order(&x->prefix, &y->prefix);
	return o ? o : (int)y->set - (int)x->set;
}

// Without what lies in another one, default routes aside.
uint32_t tn_appc_sweep(
	const struct ip_prefix *set, uint32_t n_set, struct ip_prefix *apps, uint32_t n)
{
	struct candidate *all = mem_alloc((n_set + n + 1) * sizeof(*all));
	const struct ip_prefix *over = NULL;
	uint32_t n_all = 0, kept = 0;
	for (uint32_t i = 0; i < n_set; i++) {
		if (set[i].len > 0)
			all[n_all++] = (struct candidate){set[i], true};
	}
	for (uint32_t i = 0; i < n; i++)
		all[n_all++] = (struct candidate){apps[i], false};
	if (n_all)
		qsort(all, n_all, sizeof(all[0]), order);
	for (uint32_t i = 0; i < n_all; i++) {
		const struct ip_prefix *p = &all[i].prefix;
		bool covered = over && ip_prefix_contains(over, &p->addr);
		if (!covered)
			over = p;
		if (!covered && !all[i].set)
			apps[kept++] = *p;
	}
	free(all);
	return kept;
}

const struct ip_prefix *tn_appc_networks(
	struct tailnet *t, const struct ip_prefix *others, uint32_t n_others, uint32_t *n)
{
	const struct tn_appc *a = t->connector;
	*n = 0;
	if (a->appc) {
		*n = appc_routes(a->appc, a->routes);
		*n = tn_appc_sweep(others, n_others, a->routes, *n);
	}
	return a->routes;
}

// -- the disk -------------------------------------------------------------------------------------

static void save(struct tailnet *t)
{
	struct tn_appc *a = t->connector;
	uint64_t begin_ns = tn_now_ns(t);
	json_t *o = appc_json(a->appc);
	char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
	int r = text ? statefile_write(t->state_dir, file_name, "", text, strlen(text)) : -ENOMEM;
	json_decref(o);
	free(text);
	if (r < 0 && !a->save_failed)
		log_error("tailnet",
			"%s: what the app connector learned cannot be written: %s; it will be lost "
			"with a restart",
			t->state_dir, strerror(-r));
	a->save_failed = r < 0;
	a->save_ns = tn_now_ns(t) - begin_ns;
}

static void load(struct tailnet *t)
{
	struct tn_appc *a = t->connector;
	char *text = NULL;
	size_t len;
	int r = statefile_read(t->state_dir, file_name, FILE_MAX, &text, &len);
	if (r == -ENOENT)
		return;
	json_t *o = r == 0 ? json_piece((struct slice){text, len}) : NULL;
	free(text);
	if (r == 0)
		r = appc_restore(a->appc, o);
	json_decref(o);
	if (r < 0)
		log_warn("tailnet",
			"what the app connector learned before cannot be used (%s): it learns anew",
			strerror(-r));
}

// -- learning -------------------------------------------------------------------------------------

static void on_learned(evutil_socket_t, short, void *arg)
{
	struct tailnet *t = arg;
	if (!t->connector->appc)
		return;
	save(t);
	tn_offer_update(t);
}

static void learned(struct tailnet *t)
{
	const struct tn_appc *a = t->connector;
	uint64_t wait_us = RTE_MAX((uint64_t)LEARN_MS * 1000, a->save_ns / 1000 * SAVE_SHARE);
	const struct timeval later = {
		.tv_sec = (time_t)(wait_us / 1000000), .tv_usec = (suseconds_t)(wait_us % 1000000)};
	if (!event_pending(a->learned, EV_TIMEOUT, NULL))
		event_add(a->learned, &later);
}

static bool is_own(void *arg, const struct ip_addr *addr)
{
	const struct tailnet *t = arg;
	const struct nexthop *nh = fib_lookup(t->params.gw->fib, addr);
	return nh && nh->type == NH_LOCAL;
}

static void on_answer(void *arg, const char *name, const uint8_t *message, size_t len)
{
	struct tailnet *t = arg;
	struct tn_appc *a = t->connector;
	uint64_t refused = appc_counters(a->appc)->full;
	if (appc_observe(a->appc, name, message, len, is_own, t))
		learned(t);
	if (appc_counters(a->appc)->full == refused || a->full)
		return;
	a->full = true;
	log_warn("tailnet",
		"the app connector has learned %u addresses, the most that it keeps: clients reach "
		"no further ones through it; name fewer domains, or networks instead, then "
		"'tailgate "
		"set --advertise-connector=false' and =true forget what was learned",
		APPC_LEARNED_MAX);
}

// -- what it stands for ---------------------------------------------------------------------------

static bool is_for_us(const struct nm_app *app, const struct nm_node *self)
{
	for (uint32_t i = 0; i < app->n_connectors; i++) {
		if (strcmp(app->connectors[i], "*") == 0)
			return true;
		for (uint32_t j = 0; j < self->n_tags; j++) {
			if (strcmp(app->connectors[i], self->tags[j]) == 0)
				return true;
		}
	}
	return false;
}

// Those of the configuration, then those of the server that are for one of our tags.
static void collect(const struct tailnet *t, const struct nm_app *apps, uint32_t n,
	struct arena *arena, struct appc_spec *out)
{
	const struct config_domains *own = &t->connector->config;
	uint32_t n_domains = own->count, n_routes = 0;
	for (uint32_t i = 0; i < n; i++) {
		n_domains += apps[i].n_domains;
		n_routes += apps[i].n_routes;
	}
	const char **domains = arena_alloc(arena, (n_domains + 1) * sizeof(*domains));
	struct ip_prefix *routes = arena_alloc(arena, (n_routes + 1) * sizeof(*routes));
	*out = (struct appc_spec){.domains = domains, .routes = routes};
	for (; out->n_domains < own->count; out->n_domains++)
		domains[out->n_domains] = own->list[out->n_domains];
	for (uint32_t i = 0; i < n; i++) {
		if (!is_for_us(&apps[i], t->netmap->self))
			continue;
		for (uint32_t j = 0; j < apps[i].n_domains; j++)
			domains[out->n_domains++] = apps[i].domains[j];
		for (uint32_t j = 0; j < apps[i].n_routes; j++)
			routes[out->n_routes++] = apps[i].routes[j];
	}
}

static void configure(struct tailnet *t)
{
	struct tn_appc *a = t->connector;
	const struct appc_counters before = *appc_counters(a->appc);
	struct arena arena = {0};
	struct nm_app *apps;
	struct appc_spec spec;
	uint64_t skipped = 0;
	uint32_t n = nm_apps_read(&arena, t->netmap->self, &apps, &skipped);
	collect(t, apps, n, &arena, &spec);
	bool changed = appc_configure(a->appc, &spec);
	arena_fini(&arena);
	if (!changed)
		return;
	const struct appc_counters *now = appc_counters(a->appc);
	log_info("tailnet", "the app connector watches %u domains and knows %u addresses",
		appc_watched(a->appc), appc_learned(a->appc));
	if (skipped || now->bad != before.bad || now->forbidden != before.forbidden)
		log_warn("tailnet",
			"of what the app connector is to stand for, %llu apps and %llu domains "
			"cannot "
			"be read, and %llu networks are not to be advertised",
			(unsigned long long)skipped, (unsigned long long)(now->bad - before.bad),
			(unsigned long long)(now->forbidden - before.forbidden));
	a->full = false;
	dns_watch(t->names, on_answer, t); // what is in the cache may be news now
	learned(t);
}

static void begin(struct tailnet *t)
{
	t->connector->appc = appc_create();
	t->connector->full = false;
	load(t);
}

static void end(struct tailnet *t)
{
	struct tn_appc *a = t->connector;
	dns_watch(t->names, NULL, NULL);
	event_del(a->learned);
	appc_destroy(a->appc);
	a->appc = NULL;
	int r = statefile_remove(t->state_dir, file_name);
	if (r < 0)
		log_error("tailnet", "what the app connector learned cannot be removed: %s",
			strerror(-r));
	tn_offer_update(t);
}

// Before a netmap is there, what was learned stays as it is.
void tn_appc_settle(struct tailnet *t)
{
	struct tn_appc *a = t->connector;
	bool wanted = t->prefs->app_connector && !t->prefs->logged_out;
	if (wanted && !a->appc)
		begin(t);
	else if (!wanted && a->appc)
		end(t);
	if (a->appc && t->netmap->self && !t->stale)
		configure(t);
}

void tailnet_set_app_domains(struct tailnet *t, const struct config_domains *config)
{
	t->connector->config = *config;
	tn_appc_settle(t);
}

int tn_appc_create(struct tailnet *t)
{
	struct tn_appc *a = mem_alloc(sizeof(*a));
	t->connector = a;
	if (t->params.app_domains)
		a->config = *t->params.app_domains;
	a->routes = mem_alloc(APPC_ROUTES_MAX * sizeof(a->routes[0]));
	a->learned = event_new(t->params.base, -1, 0, on_learned, t);
	if (!a->learned)
		return -ENOMEM;
	if (t->prefs->app_connector && !t->prefs->logged_out)
		begin(t);
	return 0;
}

void tn_appc_destroy(struct tailnet *t)
{
	struct tn_appc *a = t->connector;
	if (!a)
		return;
	if (a->learned && event_pending(a->learned, EV_TIMEOUT, NULL))
		save(t);
	if (a->learned)
		event_free(a->learned);
	appc_destroy(a->appc);
	free(a->routes);
	free(a);
	t->connector = NULL;
}

// -- who asks -------------------------------------------------------------------------------------

json_t *tailnet_appc(const struct tailnet *t)
{
	return t->connector->appc ? appc_json(t->connector->appc) : json_object();
}

const struct appc_counters *tailnet_appc_counters(
	const struct tailnet *t, uint32_t *domains, uint32_t *addresses)
{
	const struct appc *a = t->connector->appc;
	*domains = a ? appc_watched(a) : 0;
	*addresses = a ? appc_learned(a) : 0;
	return a ? appc_counters(a) : NULL;
}

char *tn_appc_answer(struct tailnet *t)
{
	const struct appc *a = t->connector->appc;
	json_t *o = json_pack("{s:o}", "Domains", a ? appc_domains_json(a) : json_null());
	char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
	json_decref(o);
	return text;
}
