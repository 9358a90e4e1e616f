// The DERP map as netcheck needs it: addresses parsed, host names with what they resolved to.
#include <stdlib.h>

#include "control/path/netcheck_priv.h"

static bool given(const char *text)
{
	return text && text[0];
}

static void read_literal(const char *text, uint8_t family, struct ip_addr *out, bool *off)
{
	struct ip_addr a;

	if (!given(text))
		return;
	*off = ip_addr_parse(text, &a) || a.family != family;
	if (!*off)
		*out = a;
}

static struct nm_derp_node *copy_node(struct arena *arena, const struct nm_derp_node *node)
{
	struct nm_derp_node *const copy = arena_copy(arena, node, 1, sizeof(*node));

	copy->name = arena_text(arena, node->name);
	copy->host = arena_text(arena, node->host);
	copy->cert = arena_text(arena, node->cert);
	copy->ipv4 = arena_text(arena, node->ipv4);
	copy->ipv6 = arena_text(arena, node->ipv6);
	return copy;
}

static void copy_region(
	struct arena *arena, const struct nm_derp_region *region, struct nc_region *out)
{
	const unsigned n =
		region->n_nodes < NETCHECK_NODES_MAX ? region->n_nodes : NETCHECK_NODES_MAX;

	*out = (struct nc_region){
		.id = region->id,
		.score = region->score,
		.avoid = region->avoid,
		.no_measure = region->no_measure_no_home,
		.nodes = arena_alloc(arena, (n + 1) * sizeof(*out->nodes)),
		.n_nodes = n,
	};
	for (unsigned i = 0; i < n; i++) {
		struct nc_node *const node = &out->nodes[i];

		node->node = copy_node(arena, &region->nodes[i]);
		read_literal(node->node->ipv4, IP_V4, &node->v4, &node->no_v4);
		read_literal(node->node->ipv6, IP_V6, &node->v6, &node->no_v6);
	}
}

static int name_order(const void *a, const void *b)
{
	const struct nc_name *x = a, *y = b;

	return strcmp(x->host, y->host);
}

static struct nc_name *find_name(const struct netcheck *nc, const char *host)
{
	const struct nc_name key = {.host = host};

	return nc->n_names ? bsearch(&key, nc->names, nc->n_names, sizeof(key), name_order) : NULL;
}

static void collect_names(struct netcheck *nc)
{
	unsigned total = 0, n = 0;

	for (unsigned r = 0; r < nc->n_regions; r++)
		total += nc->regions[r].n_nodes;
	nc->names = arena_alloc(&nc->map, (total + 1) * sizeof(*nc->names));
	for (unsigned r = 0; r < nc->n_regions; r++)
		for (unsigned i = 0; i < nc->regions[r].n_nodes; i++)
			if (given(nc->regions[r].nodes[i].node->host))
				nc->names[n++].host = nc->regions[r].nodes[i].node->host;
	if (n)
		qsort(nc->names, n, sizeof(*nc->names), name_order);
	nc->n_names = 0;
	for (unsigned i = 0; i < n; i++)
		if (!nc->n_names || name_order(&nc->names[nc->n_names - 1], &nc->names[i]) != 0)
			nc->names[nc->n_names++] = nc->names[i];
	for (unsigned r = 0; r < nc->n_regions; r++)
		for (unsigned i = 0; i < nc->regions[r].n_nodes; i++)
			if (given(nc->regions[r].nodes[i].node->host))
				nc->regions[r].nodes[i].name =
					find_name(nc, nc->regions[r].nodes[i].node->host);
}

static int region_order(const void *a, const void *b)
{
	const struct nc_region *x = a, *y = b;

	return (x->id > y->id) - (x->id < y->id);
}

void netcheck_set_map(struct netcheck *nc, const struct nm_derp_map *map)
{
	const unsigned n =
		map->n_regions < NETCHECK_REGIONS_MAX ? map->n_regions : NETCHECK_REGIONS_MAX;

	nc->phase = NC_IDLE;
	nc->n_sets = 0;
	nc->want_full = true;
	arena_reset(&nc->map);
	nc->regions = arena_alloc(&nc->map, (n + 1) * sizeof(*nc->regions));
	nc->n_regions = n;
	for (unsigned i = 0; i < n; i++)
		copy_region(&nc->map, &map->regions[i], &nc->regions[i]);
	if (n)
		qsort(nc->regions, n, sizeof(*nc->regions), region_order);
	collect_names(nc);
}

struct nc_region *nc_region(const struct netcheck *nc, uint32_t id)
{
	const struct nc_region key = {.id = id};

	return nc->n_regions ? bsearch(&key, nc->regions, nc->n_regions, sizeof(key), region_order)
			     : NULL;
}

void netcheck_resolved(struct netcheck *nc, const char *host, const struct ip_addr *list, size_t n,
	uint64_t now_ns)
{
	struct nc_name *const name = find_name(nc, host);
	struct ip_addr v4 = {0}, v6 = {0};

	if (!name)
		return;
	for (size_t i = n; i-- > 0;) { // the first of each family stays
		if (list[i].family == IP_V4)
			v4 = list[i];
		else if (list[i].family == IP_V6)
			v6 = list[i];
	}
	if (v4.family || v6.family) {
		name->v4 = v4;
		name->v6 = v6;
		name->expires_ns = now_ns + NETCHECK_NAME_TTL_MS * NETCHECK_MS;
	}
	name->known = true;
	netcheck_tick(nc, now_ns);
}

static enum nc_address resolved_address(
	struct netcheck *nc, struct nc_name *name, bool v6, uint64_t now_ns, struct ip_addr *out)
{
	if (now_ns >= name->expires_ns && !name->asked) {
		name->asked = true;
		if (!name->v4.family && !name->v6.family)
			name->known = false; // nothing good of earlier: wait
		nc->io.resolve(nc->io.arg, name->host);
	}
	*out = v6 ? name->v6 : name->v4;
	if (out->family)
		return NC_ADDRESS;
	return name->known ? NC_NO_ADDRESS : NC_NAME_WANTED;
}

enum nc_address nc_node_address(struct netcheck *nc, const struct nc_node *node, bool v6,
	uint64_t now_ns, struct ip_addr *out)
{
	*out = v6 ? node->v6 : node->v4;
	if (out->family)
		return NC_ADDRESS;
	if ((v6 ? node->no_v6 : node->no_v4) || !node->name)
		return NC_NO_ADDRESS;
	return resolved_address(nc, node->name, v6, now_ns, out);
}
