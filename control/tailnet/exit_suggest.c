#include "control/tailnet/exit_suggest.h"

#include <string.h>

bool exit_offered(const struct nm_node *node)
{
	bool v4 = false, v6 = false;
	for (uint32_t i = 0; i < node->n_allowed_ips; i++) {
		const struct ip_prefix *p = &node->allowed_ips[i];
		v4 |= p->len == 0 && p->addr.family == IP_V4;
		v6 |= p->len == 0 && p->addr.family == IP_V6;
	}
	return v4 && v6;
}

static bool is_candidate(const struct nm_peer *p)
{
	const struct nm_node *n = p->node;
	return p->unusable == NM_USABLE && n->online == NM_ONLINE && n->home_derp &&
	       exit_offered(n) && nm_node_cap(n, "suggest-exit-node");
}

static uint64_t latency_of(const struct netcheck_report *report, uint32_t region)
{
	uint64_t best = UINT64_MAX;
	for (uint32_t i = 0; i < report->n_latency; i++) {
		const struct netcheck_latency *l = &report->latency[i];
		const uint64_t all[] = {l->v4_ns, l->v6_ns, l->https_ns};
		for (unsigned k = 0; l->region == region && k < 3; k++) {
			if (all[k] && all[k] < best)
				best = all[k];
		}
	}
	return best;
}

// The nth candidate, of any region (0) or of that one; NULL: there are fewer, *n of them.
static const struct nm_node *candidate(
	const struct netmap *nm, uint32_t region, uint32_t nth, uint32_t *n)
{
	*n = 0;
	for (size_t i = 0; i < nm->n_peers; i++) {
		const struct nm_peer *p = nm->peers[i];
		if (is_candidate(p) && (!region || p->node->home_derp == region) && (*n)++ == nth)
			return p->node;
	}
	return NULL;
}

// 0: no candidate's region was measured.
static uint32_t nearest_region(const struct netmap *nm, const struct netcheck_report *report)
{
	uint64_t best = UINT64_MAX;
	uint32_t region = 0;
	for (size_t i = 0; i < nm->n_peers; i++) {
		if (!is_candidate(nm->peers[i]))
			continue;
		uint64_t ns = latency_of(report, nm->peers[i]->node->home_derp);
		if (ns < best) {
			best = ns;
			region = nm->peers[i]->node->home_derp;
		}
	}
	return region;
}

const struct nm_node *exit_suggest(const struct netmap *nm, const struct netcheck_report *report,
	const char *before, uint32_t random, const char **why)
{
	const struct nm_node *n;
	uint32_t count, region;
	*why = NULL;
	if (report->preferred == 0 || !nm->self) {
		*why = "no preferred DERP, try again later";
		return NULL;
	}
	candidate(nm, 0, UINT32_MAX, &count);
	if (count == 0)
		return NULL;
	region = nearest_region(nm, report);
	if (!region)
		region = candidate(nm, 0, random % count, &count)->home_derp;
	for (uint32_t i = 0; (n = candidate(nm, region, i, &count)); i++) {
		if (n->stable_id && strcmp(n->stable_id, before) == 0)
			return n;
	}
	return candidate(nm, region, random % count, &count);
}
