// DERPMap and DNSConfig.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "control/coord/netmap_parts.h"

enum {
	STUN_PORT = 3478,
	DERP_PORT = 443,
};

struct regions {
	struct arena *arena;
	struct nm_derp_region *list;
	uint32_t n, room;
	uint64_t *skipped;
};

static bool derp_node_read(struct arena *a, const json_t *value, struct nm_derp_node *out)
{
	struct json_object o = json_open(value);
	const int stun = (int)json_number(&o, "STUNPort", -1, 65535),
		  derp = (int)json_number(&o, "DERPPort", 0, 65535);
	const char *const host = json_text(&o, "HostName");

	*out = (struct nm_derp_node){
		.name = arena_text(a, json_text(&o, "Name")),
		.host = arena_text(a, host),
		.cert = arena_text(a, json_text(&o, "CertName")),
		.ipv4 = arena_text(a, json_text(&o, "IPv4")),
		.ipv6 = arena_text(a, json_text(&o, "IPv6")),
		.stun_port = stun == 0	? STUN_PORT
			     : stun < 0 ? 0
					: stun,
		.derp_port = (uint16_t)(derp ? derp : DERP_PORT),
		.stun_only = json_flag(&o, "STUNOnly"),
		.port_80 = json_flag(&o, "CanPort80"),
		.insecure = json_flag(&o, "InsecureForTests"),
	};
	return !o.bad && host;
}

static int region_read(void *arg, struct slice, struct slice value)
{
	struct regions *r = arg;
	json_t *const v = json_piece(value);
	struct nm_derp_region region = {0};
	const json_t *node;
	size_t i;

	if (!v)
		return -EBADMSG;
	if (json_is_null(v)) // dropped: a region that a file took away
		goto out;
	struct json_object o = json_open(v);
	region.id = (uint32_t)json_number(&o, "RegionID", 0, 65535);
	region.code = arena_text(r->arena, json_text(&o, "RegionCode"));
	region.name = arena_text(r->arena, json_text(&o, "RegionName"));
	region.avoid = json_flag(&o, "Avoid");
	region.no_measure_no_home = json_flag(&o, "NoMeasureNoHome");
	const json_t *const nodes = json_array_of(&o, "Nodes");
	if (o.bad || !region.id || json_array_size(nodes) > NM_LIST_MAX || r->n == NM_LIST_MAX) {
		r->skipped[NM_SKIP_REGION]++;
		goto out;
	}
	region.nodes = arena_alloc(r->arena, (json_array_size(nodes) + 1) * sizeof(*region.nodes));
	json_array_foreach((json_t *)nodes, i, node)
	{
		if (derp_node_read(r->arena, node, &region.nodes[region.n_nodes]))
			region.n_nodes++;
		else
			r->skipped[NM_SKIP_REGION]++;
	}
	if (r->n == r->room) {
		struct nm_derp_region *const old = r->list;
		r->room = r->room ? r->room * 2 : 32;
		r->list = arena_alloc(r->arena, r->room * sizeof(*r->list));
		if (r->n)
			memcpy(r->list, old, r->n * sizeof(*old));
	}
	r->list[r->n++] = region;
out:
	json_decref(v);
	return 0;
}

static int region_order(const void *a, const void *b)
{
	const struct nm_derp_region *x = a, *y = b;

	return (x->id > y->id) - (x->id < y->id);
}

static int scores_read(struct slice text, struct nm_derp_map *map)
{
	json_t *const scores = text.len ? json_piece(text) : NULL;
	char id[16];

	if (!text.len)
		return 0;
	for (uint32_t i = 0; json_is_object(scores) && i < map->n_regions; i++) {
		snprintf(id, sizeof(id), "%u", map->regions[i].id);
		map->regions[i].score = json_number_value(json_object_get(scores, id));
	}
	const bool right = json_is_object(scores) || json_is_null(scores);
	json_decref(scores);
	return right ? 0 : -EBADMSG;
}

int nm_derp_parse(struct arena *arena, struct slice text, struct slice scores,
	struct nm_derp_map *out, uint64_t *skipped)
{
	struct regions r = {.arena = arena, .skipped = skipped};
	uint32_t n = 0;
	int error = text.len ? json_scan_members(text, region_read, &r) : 0;

	if (error)
		return error;
	if (r.n)
		qsort(r.list, r.n, sizeof(*r.list), region_order);
	for (uint32_t i = 0; i < r.n; i++) // one of each ID
		if (!n || r.list[n - 1].id != r.list[i].id)
			r.list[n++] = r.list[i];
	out->regions = r.list;
	out->n_regions = n;
	return scores_read(scores, out);
}

// Texts of an array; odd elements are left out and counted.
static const char **texts_read(
	struct arena *a, struct json_object *o, const char *name, uint32_t *n, uint64_t *skipped)
{
	const json_t *const array = json_array_of(o, name), *v;
	const char **const out = arena_alloc(a, (json_array_size(array) + 1) * sizeof(*out));
	size_t i;

	*n = 0;
	json_array_foreach((json_t *)array, i, v)
	{
		if (json_string_length(v))
			out[(*n)++] = arena_text(a, json_string_value(v));
		else
			skipped[NM_SKIP_DNS]++;
	}
	return out;
}

static struct nm_dns_list resolvers_read(struct arena *a, const json_t *array, uint64_t *skipped)
{
	const size_t room = json_array_size(array) + 1;
	struct nm_dns_list list = {
		.addresses = arena_alloc(a, room * sizeof(char *)),
		.with_exit_node = arena_alloc(a, room * sizeof(bool)),
	};
	const json_t *v;
	size_t i;

	json_array_foreach((json_t *)array, i, v)
	{
		struct json_object o = json_open(v);
		const char *const address = json_text(&o, "Addr");
		if (address) {
			list.with_exit_node[list.n] = json_flag(&o, "UseWithExitNode");
			list.addresses[list.n++] = arena_text(a, address);
		}
		if (!address || o.bad)
			skipped[NM_SKIP_DNS]++;
	}
	return list;
}

static void routes_read(
	struct arena *a, const json_t *object, struct nm_dns *out, uint64_t *skipped)
{
	const char *suffix;
	json_t *v;

	out->routes = arena_alloc(a, (json_object_size(object) + 1) * sizeof(*out->routes));
	json_object_foreach((json_t *)object, suffix, v)
	{
		if (!json_is_array(v) && !json_is_null(v)) {
			skipped[NM_SKIP_DNS]++;
			continue;
		}
		out->routes[out->n_routes] = resolvers_read(a, v, skipped);
		out->routes[out->n_routes++].suffix = arena_text(a, suffix);
	}
}

static void records_read(
	struct arena *a, const json_t *array, struct nm_dns *out, uint64_t *skipped)
{
	const json_t *v;
	size_t i;

	out->records = arena_alloc(a, (json_array_size(array) + 1) * sizeof(*out->records));
	json_array_foreach((json_t *)array, i, v)
	{
		struct json_object o = json_open(v);
		const struct nm_dns_record record = {
			.name = arena_text(a, json_text(&o, "Name")),
			.type = arena_text(a, json_text(&o, "Type")),
			.value = arena_text(a, json_text(&o, "Value")),
		};
		if (!o.bad && record.name && record.value)
			out->records[out->n_records++] = record;
		else
			skipped[NM_SKIP_DNS]++;
	}
}

int nm_dns_parse(struct arena *a, const json_t *value, struct nm_dns *out, uint64_t *skipped)
{
	struct json_object o = json_open(value);

	*out = (struct nm_dns){.proxied = json_flag(&o, "Proxied")};
	out->resolvers = resolvers_read(a, json_array_of(&o, "Resolvers"), skipped);
	out->fallback = resolvers_read(a, json_array_of(&o, "FallbackResolvers"), skipped);
	out->domains = texts_read(a, &o, "Domains", &out->n_domains, skipped);
	out->cert_domains = texts_read(a, &o, "CertDomains", &out->n_cert_domains, skipped);
	out->exit_filtered =
		texts_read(a, &o, "ExitNodeFilteredSet", &out->n_exit_filtered, skipped);
	routes_read(a, json_object_of(&o, "Routes"), out, skipped);
	records_read(a, json_array_of(&o, "ExtraRecords"), out, skipped);
	return o.bad ? -EBADMSG : 0;
}
