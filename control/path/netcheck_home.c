// The home region: the best of five minutes among those that answered now, unless the old one is
// about as good; a change of home costs every peer a detour.
#include "control/path/netcheck_priv.h"

enum {
	HEARD_MS = 8000,	 // a DERP frame so young shows that the region lives
	HEARD_ALONE_MS = 120000, // likewise, when nothing at all answered: twice DERP's keepalive
	CLOSE_MS = 10,		 // not worth a change
};

uint64_t nc_best_way(const struct netcheck_latency *l)
{
	uint64_t best = l->v4_ns;

	if (l->v6_ns && (!best || l->v6_ns < best))
		best = l->v6_ns;
	if (l->https_ns && (!best || l->https_ns < best))
		best = l->https_ns;
	return best;
}

static void remember(struct netcheck *nc, const struct netcheck_latency *l, uint64_t now_ns)
{
	const unsigned at = (nc->first_sample + nc->n_samples) % NETCHECK_SAMPLES_MAX;

	nc->samples[at] = (struct nc_sample){now_ns, nc_best_way(l), l->region};
	if (nc->n_samples < NETCHECK_SAMPLES_MAX)
		nc->n_samples++;
	else
		nc->first_sample = (nc->first_sample + 1) % NETCHECK_SAMPLES_MAX;
}

static void forget_old(struct netcheck *nc, uint64_t now_ns)
{
	const uint64_t age_ns =
		(NETCHECK_FULL_INTERVAL_MS + NETCHECK_REPORT_TIMEOUT_MS) * NETCHECK_MS;

	while (nc->n_samples && now_ns - nc->samples[nc->first_sample].at_ns > age_ns) {
		nc->first_sample = (nc->first_sample + 1) % NETCHECK_SAMPLES_MAX;
		nc->n_samples--;
	}
}

static double scaled(const struct nc_region *r, uint64_t latency_ns)
{
	return r->score > 0 ? (double)latency_ns * r->score : (double)latency_ns;
}

static bool heard_within(const struct netcheck *nc, uint64_t now_ns, uint64_t ms)
{
	return nc->home_heard_ns && nc->home_heard_ns + ms * NETCHECK_MS > now_ns;
}

// Lowest latency of the history, by region.
static void best_recent(const struct netcheck *nc, uint64_t best[static NETCHECK_REGIONS_MAX])
{
	for (unsigned i = 0; i < nc->n_samples; i++) {
		const struct nc_sample *const s =
			&nc->samples[(nc->first_sample + i) % NETCHECK_SAMPLES_MAX];
		const struct nc_region *const r = nc_region(nc, s->region);

		if (!r)
			continue;
		uint64_t *const b = &best[r - nc->regions];
		if (!*b || s->latency_ns < *b)
			*b = s->latency_ns;
	}
}

// The region with the lowest score among those that answered; *best is its score. One to avoid only
// if there is no other, or it is home already.
static const struct nc_region *fastest(const struct netcheck *nc, uint32_t old, double *best)
{
	uint64_t recent[NETCHECK_REGIONS_MAX] = {0};
	const struct nc_region *found = NULL;

	best_recent(nc, recent);
	for (int avoided = 0; avoided < 2 && !found; avoided++)
		for (uint32_t i = 0; i < nc->report.n_latency; i++) {
			const struct nc_region *const r =
				nc_region(nc, nc->report.latency[i].region);
			const double score = scaled(r, recent[r - nc->regions]);

			if ((r->avoid && r->id != old) != avoided)
				continue;
			if (!found || score < *best) {
				*best = score;
				found = r;
			}
		}
	return found;
}

static bool keep_old(
	const struct netcheck *nc, const struct nc_region *old, double best, uint64_t now_ns)
{
	const double old_now = scaled(old, netcheck_region_ns(&nc->report, old->id));
	const bool heard = nc->home_heard_ns > nc->start_ns || heard_within(nc, now_ns, HEARD_MS);

	if (old_now == 0)
		return heard; // by DERP alone: there is nothing to compare
	return old_now - best < (double)(CLOSE_MS * NETCHECK_MS) || best > old_now / 3 * 2;
}

void nc_choose_home(struct netcheck *nc, uint64_t now_ns)
{
	const struct nc_region *const old_region = nc_region(nc, nc->last.preferred);
	const struct nc_region *const old =
		old_region && !old_region->no_measure ? old_region : NULL;
	double best = 0;

	for (uint32_t i = 0; i < nc->report.n_latency; i++)
		remember(nc, &nc->report.latency[i], now_ns);
	forget_old(nc, now_ns);
	const struct nc_region *home = fastest(nc, old ? old->id : 0, &best);
	if (home && old && home != old && keep_old(nc, old, best, now_ns))
		home = old;
	if (!home && old && heard_within(nc, now_ns, HEARD_ALONE_MS))
		home = old;
	nc->report.preferred = home ? home->id : 0;
}
