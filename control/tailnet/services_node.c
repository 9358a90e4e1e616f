// Services as the node has them: who gets which address, what the workers and the server are told.
#include <stdlib.h>

#include "control/dns/dns.h"
#include "control/tailnet/priv.h"
#include "control/tailnet/services.h"
#include "dataplane/base/log.h"

struct tn_services { // ctl only
	struct config_services config;
	struct arena arena;
	struct nm_service *assigned;
	uint32_t n_assigned;
	char hash[TN_SERVICES_HASH_LEN]; // as it was asked for last
};

static struct tn_services_spec spec_of(const struct tailnet *t)
{
	const struct tn_services *s = t->hosted;
	return (struct tn_services_spec){
		.config = &s->config,
		.assigned = s->assigned,
		.n_assigned = s->n_assigned,
		.advertised = json_object_get(prefs_json(t->prefs), "AdvertiseServices"),
		.draining = t->draining,
	};
}

void tn_services_create(struct tailnet *t)
{
	t->hosted = mem_alloc(sizeof(*t->hosted));
	if (t->params.services)
		t->hosted->config = *t->params.services;
}

void tn_services_destroy(struct tailnet *t)
{
	if (!t->hosted)
		return;
	arena_fini(&t->hosted->arena);
	free(t->hosted);
}

bool tn_is_vip(const struct tailnet *t, const struct ip_addr *a)
{
	const struct tn_services *s = t->hosted;
	for (uint32_t i = 0; i < s->n_assigned; i++) {
		for (uint32_t j = 0; j < s->assigned[i].n_addrs; j++) {
			if (ip_addr_equal(&s->assigned[i].addrs[j], a))
				return true;
		}
	}
	return false;
}

uint32_t tn_vips(const struct tailnet *t, struct ip_prefix *out)
{
	const struct tn_services *s = t->hosted;
	uint32_t n = 0;
	for (uint32_t i = 0; i < s->n_assigned; i++) {
		for (uint32_t j = 0; j < s->assigned[i].n_addrs; j++) {
			const struct ip_addr *a = &s->assigned[i].addrs[j];
			out[n++] = (struct ip_prefix){*a, (uint8_t)ip_addr_bits(a)};
		}
	}
	return n;
}

uint32_t tn_services_nat(const struct tailnet *t, struct nat_service *out)
{
	const struct tn_services_spec spec = spec_of(t);
	return tn_services_compile(&spec, out);
}

// Of the server's list what can be a service's: addresses of the tailnet that are not our own.
static uint32_t usable(const struct tailnet *t, struct nm_service *list, uint32_t n)
{
	uint32_t kept = 0;
	for (uint32_t i = 0; i < n; i++) {
		struct nm_service s = list[i];
		s.n_addrs = 0;
		for (uint32_t j = 0; j < list[i].n_addrs; j++) {
			const struct ip_addr *a = &list[i].addrs[j];
			bool dns = ip_addr_equal(a, &dns_service_v4) ||
				   ip_addr_equal(a, &dns_service_v6);
			if (tn_is_tailnet(a) && !dns && !tn_is_node_address(t, a))
				s.addrs[s.n_addrs++] = *a;
		}
		if (s.n_addrs)
			list[kept++] = s;
	}
	return kept;
}

static bool same_assigned(const struct tn_services *s, const struct nm_service *list, uint32_t n)
{
	if (s->n_assigned != n)
		return false;
	for (uint32_t i = 0; i < n; i++) {
		const struct nm_service *x = &s->assigned[i], *y = &list[i];
		if (strcmp(x->name, y->name) != 0 || x->n_addrs != y->n_addrs ||
			memcmp(x->addrs, y->addrs, x->n_addrs * sizeof(x->addrs[0])) != 0)
			return false;
	}
	return true;
}

void tn_services_read(struct tailnet *t)
{
	struct tn_services *s = t->hosted;
	struct arena arena = {0};
	struct nm_service *list;
	uint64_t skipped = 0;
	uint32_t n = nm_services_read(&arena, t->netmap->self, &list, &skipped);
	n = usable(t, list, n);
	if (same_assigned(s, list, n)) {
		arena_fini(&arena);
		return;
	}
	if (skipped)
		log_warn("tailnet", "%llu services of the server cannot be read",
			(unsigned long long)skipped);
	arena_fini(&s->arena);
	s->arena = arena;
	s->assigned = list;
	s->n_assigned = n;
	t->filter_dirty = t->routes_dirty = true;
	tn_changed(t, TAILNET_CHANGED_HEALTH);
}

void tailnet_set_services(struct tailnet *t, const struct config_services *config)
{
	struct tn_services *s = t->hosted;
	if (memcmp(&s->config, config, sizeof(*config)) == 0)
		return;
	s->config = *config;
	tn_nat_apply(t);
	coord_client_update(t->coord); // ServicesHash is another
	tn_changed(t, TAILNET_CHANGED_HEALTH);
}

// -- what is told ---------------------------------------------------------------------------------

const char *tn_services_mark(struct tailnet *t)
{
	const struct tn_services_spec spec = spec_of(t);
	json_t *list = tn_services_list(&spec);
	tn_services_hash(list, t->hosted->hash);
	json_decref(list);
	return t->hosted->hash;
}

char *tn_services_answer(struct tailnet *t)
{
	const struct tn_services_spec spec = spec_of(t);
	json_t *list = tn_services_list(&spec);
	tn_services_hash(list, t->hosted->hash);
	json_t *o = json_pack("{s:o,s:s}", "VIPServices", list, "ServicesHash", t->hosted->hash);
	char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
	json_decref(o);
	return text;
}

const char *tn_services_orphan(const struct tailnet *t)
{
	const struct tn_services_spec spec = spec_of(t);
	for (uint32_t i = 0; i < spec.config->count; i++) {
		if (!tn_service_assigned(&spec, spec.config->list[i].name))
			return spec.config->list[i].name;
	}
	return NULL;
}

static json_t *ports_json(const struct config_services *config, const char *name)
{
	char text[ENDPOINT_TEXT_LEN], ports[24];
	json_t *list = json_array();
	for (uint32_t i = 0; i < config->count; i++) {
		const struct config_service *c = &config->list[i];
		json_t *backends = json_array();
		for (uint32_t j = 0; j < c->n_backends; j++) {
			const struct endpoint *b = &c->backend[j];
			json_array_append_new(
				backends, json_string(b->port ? endpoint_format(b, text)
							      : ip_addr_format(&b->addr, text)));
		}
		if (strcmp(c->name, name) == 0)
			json_array_append_new(
				list, json_pack("{s:s,s:o}", "ports", tn_service_ports(c, ports),
					      "backends", backends));
		else
			json_decref(backends);
	}
	return list;
}
static_assert((unsigned)ENDPOINT_TEXT_LEN >= (unsigned)ADDR_TEXT_LEN);

json_t *tailnet_services(const struct tailnet *t)
{
	const struct tn_services_spec spec = spec_of(t);
	char text[ADDR_TEXT_LEN];
	json_t *list = tn_services_list(&spec), *all = json_array(), *one;
	size_t i;
	json_array_foreach(list, i, one)
	{
		const char *name = json_string_value(json_object_get(one, "Name"));
		const struct nm_service *s = tn_service_assigned(&spec, name);
		json_t *addrs = json_array();
		for (uint32_t j = 0; s && j < s->n_addrs; j++)
			json_array_append_new(
				addrs, json_string(ip_addr_format(&s->addrs[j], text)));
		json_array_append_new(
			all, json_pack("{s:s,s:b,s:o,s:o}", "name", name, "active",
				     json_is_true(json_object_get(one, "Active")), "addresses",
				     addrs, "serves", ports_json(spec.config, name)));
	}
	json_decref(list);
	return all;
}
