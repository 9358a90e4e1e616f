// Who is asked in a run: all regions, or the three fastest of the last one and home.
#include <stdlib.h>

#include "control/path/netcheck_priv.h"

static bool may_have(const struct nc_node *node, bool v6)
{
	return node->node->stun_port && !(v6 ? node->no_v6 : node->no_v4);
}

static void add_set(struct netcheck *nc, struct nc_region *region, bool v6, unsigned tries,
	const uint64_t *delay_ns)
{
	struct nc_set *const set = &nc->sets[nc->n_sets];

	*set = (struct nc_set){.region = region, .v6 = v6, .base_ns = nc->start_ns};
	for (unsigned try = 0; try < tries; try++) {
		struct nc_node *const node = &region->nodes[try % region->n_nodes];

		if (!may_have(node, v6))
			continue;
		set->node[set->n] = node;
		set->delay_ns[set->n++] = delay_ns[try];
	}
	if (set->n)
		nc->n_sets++;
}

static void plan_full(struct netcheck *nc)
{
	static const uint64_t delay_ns[] = {
		0, NETCHECK_FULL_RETRY_MS * NETCHECK_MS, 2 * NETCHECK_FULL_RETRY_MS * NETCHECK_MS};

	// IPv4 first: whether it can be sent at all says what a failure of IPv6 means.
	for (int v6 = 0; v6 < 2; v6++)
		for (unsigned i = 0; i < nc->n_regions; i++) {
			struct nc_region *const r = &nc->regions[i];

			if (r->n_nodes && !r->no_measure && (v6 ? nc->have_v6 : nc->have_v4))
				add_set(nc, r, v6, 3, delay_ns);
		}
}

struct ranked {
	struct nc_region *region;
	uint64_t latency_ns; // UINT64_MAX: none
};

static int rank_order(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;

	if (x->latency_ns != y->latency_ns)
		return x->latency_ns < y->latency_ns ? -1 : 1;
	return (x->region->id > y->region->id) - (x->region->id < y->region->id);
}

// The regions of an incremental run into out, fastest first; returns how many.
static unsigned incremental_regions(
	const struct netcheck *nc, struct ranked out[static NETCHECK_INCREMENTAL_REGIONS + 1])
{
	struct ranked all[NETCHECK_REGIONS_MAX];
	unsigned n = 0, taken = 0;

	for (unsigned i = 0; i < nc->n_regions; i++) {
		struct nc_region *const r = &nc->regions[i];
		const uint64_t ns = netcheck_region_ns(&nc->last, r->id);

		if (r->n_nodes && !r->no_measure && (!r->avoid || r->id == nc->last.preferred))
			all[n++] = (struct ranked){r, ns ? ns : UINT64_MAX};
	}
	qsort(all, n, sizeof(all[0]), rank_order);
	for (unsigned i = 0; i < n; i++)
		if (taken < NETCHECK_INCREMENTAL_REGIONS || all[i].region->id == nc->last.preferred)
			out[taken++] = all[i];
	return taken;
}

struct had {
	bool v4, v6; // answers in the last report
};

static void plan_region(struct netcheck *nc, const struct ranked *r, unsigned rank, struct had had)
{
	const bool home = r->region->id == nc->last.preferred, fastest_two = rank < 2;
	const unsigned tries = home ? 4 : fastest_two ? 2 : 1;
	const uint64_t step_ns = r->latency_ns == UINT64_MAX ? NETCHECK_RETRY_MS * NETCHECK_MS
							     : r->latency_ns * 120 / 100;
	bool v4 = nc->have_v4, v6 = nc->have_v6;
	uint64_t delay_ns[NETCHECK_TRIES_MAX];

	for (unsigned try = 0; try < tries; try++)
		delay_ns[try] = try * step_ns + (try > 1 ? try * 50 * NETCHECK_MS : 0);
	if (!home && !fastest_two) {
		if (v6 && had.v4 && had.v6) { // the slower ones take turns
			v4 = rank % 2 == 0;
			v6 = !v4;
		}
		v6 = v6 && had.v6;
	}
	if (v4)
		add_set(nc, r->region, false, tries, delay_ns);
	if (v6) // once is enough to see IPv6 come
		add_set(nc, r->region, true, had.v6 ? tries : 1, delay_ns);
}

static void plan_incremental(struct netcheck *nc)
{
	struct ranked regions[NETCHECK_INCREMENTAL_REGIONS + 1];
	const unsigned n = incremental_regions(nc, regions);
	struct had had = {0};

	for (unsigned i = 0; i < nc->last.n_latency; i++) {
		had.v4 |= nc->last.latency[i].v4_ns != 0;
		had.v6 |= nc->last.latency[i].v6_ns != 0;
	}
	for (unsigned i = 0; i < n; i++)
		plan_region(nc, &regions[i], i, had);
}

void nc_plan(struct netcheck *nc)
{
	nc->n_sets = 0;
	if (nc->only_tcp)
		return;
	if (nc->report.full || nc->last.n_latency == 0)
		plan_full(nc);
	else
		plan_incremental(nc);
	nc->open_sets = nc->n_sets;
}

static bool has_derp_node(const struct nc_region *r)
{
	for (unsigned i = 0; i < r->n_nodes; i++)
		if (!r->nodes[i].node->stun_only)
			return true;
	return false;
}

void nc_plan_https(struct netcheck *nc)
{
	const bool all = nc->report.full || nc->last.n_latency == 0;
	struct ranked some[NETCHECK_INCREMENTAL_REGIONS + 1];
	const unsigned n = all ? 0 : incremental_regions(nc, some);

	for (unsigned i = 0; i < nc->n_regions; i++) {
		struct nc_region *const r = &nc->regions[i];

		r->https_wanted = all && !r->no_measure && has_derp_node(r) &&
				  (!r->avoid || r->id == nc->last.preferred);
	}
	for (unsigned i = 0; i < n; i++)
		some[i].region->https_wanted = has_derp_node(some[i].region);
}
