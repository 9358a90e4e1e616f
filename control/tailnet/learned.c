#include "control/tailnet/learned.h"

#include <assert.h>
#include <rte_common.h>
#include <stddef.h>
#include <stdlib.h>

#include "dataplane/base/mem.h"
#include "dataplane/base/prefix.h"

// Never advertised, nor what holds one of them: the tailnet's own ranges, and what is nobody's
// network.
static const char *const never[] = {"100.64.0.0/10", "fd7a:115c:a1e0::/48", "127.0.0.0/8",
	"169.254.0.0/16", "224.0.0.0/4", "::1/128", "fe80::/10", "ff00::/8"};

static bool is_never(const struct ip_prefix *p)
{
	for (unsigned i = 0; i < RTE_DIM(never); i++) {
		struct ip_prefix n;
		if (ip_prefix_parse(never[i], &n) < 0)
			abort(); // written a few lines above
		if (ip_prefix_overlap(&n, p))
			return true;
	}
	return false;
}

bool learned_wants(const struct config_learned *c, const struct ip_prefix *p, uint8_t protocol)
{
	if (p->len == 0 || !config_learns_from(c, protocol))
		return false;
	for (uint32_t i = 0; i < c->n_ranges; i++) {
		const struct config_range *r = &c->range[i];
		if (p->len >= r->within.len && p->len <= r->longest &&
			ip_prefix_contains(&r->within, &p->addr))
			return !is_never(p);
	}
	return false;
}

bool learned_is_within(const struct config_learned *c, const struct ip_prefix *p)
{
	for (uint32_t i = 0; i < c->n_ranges; i++) {
		const struct ip_prefix *within = &c->range[i].within;
		if (p->len >= within->len && ip_prefix_contains(within, &p->addr))
			return true;
	}
	return false;
}

static_assert(offsetof(struct learned_entry, prefix) == 0); // for ip_prefix_order

static bool passed(const struct learned_entry *e, uint64_t now_ns, unsigned s)
{
	return now_ns - e->since_ns >= s * UINT64_C(1000000000);
}

// What follows from its state and from the time.
static void judge(struct learned_entry *e, bool wait, uint64_t now_ns)
{
	unsigned least_s = e->flaps >= LEARNED_FLAPS ? LEARNED_HOLD_S : wait ? LEARNED_WAIT_S : 0;
	if (!e->there)
		e->offered = false;
	else if (passed(e, now_ns, least_s))
		e->offered = true;
}

static void set_there(struct learned_entry *e, bool there, uint64_t now_ns)
{
	if (e->there == there)
		return;
	if (passed(e, now_ns, LEARNED_FORGET_S))
		e->flaps = 0;
	e->there = there;
	e->since_ns = now_ns;
	e->flaps += !there && e->flaps < UINT8_MAX;
}

// The list of what is offered anew. True: it is another one.
static bool publish(struct learned *l)
{
	struct ip_prefix *now = mem_alloc((l->n + 1) * sizeof(*now));
	uint32_t n = 0;
	l->held = 0;
	for (uint32_t i = 0; i < l->n; i++) {
		l->held += l->at[i].there && !l->at[i].offered;
		if (l->at[i].offered)
			now[n++] = l->at[i].prefix;
	}
	bool same = n == l->n_offered && (n == 0 || memcmp(now, l->offered, n * sizeof(*now)) == 0);
	free(l->offered);
	l->offered = now;
	l->n_offered = n;
	return !same;
}

bool learned_tick(struct learned *l, uint64_t now_ns)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < l->n; i++) {
		struct learned_entry *e = &l->at[i];
		judge(e, l->wait, now_ns);
		if (e->there || !passed(e, now_ns, LEARNED_FORGET_S))
			l->at[n++] = *e;
	}
	l->n = n;
	return publish(l);
}

static bool is_known(const struct learned *l, uint32_t n, const struct ip_prefix *p)
{
	return n && bsearch(p, l->at, n, sizeof(l->at[0]), ip_prefix_order) != NULL;
}

// The one that went first makes room.
static void forget_oldest(struct learned *l)
{
	uint32_t oldest = l->n;
	for (uint32_t i = 0; i < l->n; i++) {
		if (!l->at[i].there &&
			(oldest == l->n || l->at[i].since_ns < l->at[oldest].since_ns))
			oldest = i;
	}
	if (oldest == l->n)
		return;
	l->n--;
	memmove(&l->at[oldest], &l->at[oldest + 1], (l->n - oldest) * sizeof(l->at[0]));
}

static uint32_t count_there(const struct learned *l)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < l->n; i++)
		n += l->at[i].there;
	return n;
}

// Of found as many new ones as there is room for.
static void add_new(struct learned *l, const struct ip_prefix *found, uint32_t n, uint32_t limit,
	uint64_t now_ns)
{
	uint32_t there = count_there(l);
	l->at = realloc(l->at, (l->n + limit + 1) * sizeof(l->at[0]));
	if (!l->at)
		abort(); // as mem_alloc
	uint32_t known = l->n;
	for (uint32_t i = 0; i < n && there < limit; i++) {
		if (is_known(l, known, &found[i]))
			continue;
		l->at[l->n++] = (struct learned_entry){
			.prefix = found[i], .there = true, .since_ns = now_ns};
		there++;
	}
	while (l->n > 2 * limit)
		forget_oldest(l);
	qsort(l->at, l->n, sizeof(l->at[0]), ip_prefix_order);
}

bool learned_update(
	struct learned *l, const struct learned_view *view, uint32_t limit, uint64_t now_ns)
{
	// Those that are known may be the first ones of the list.
	uint32_t max = l->n + limit;
	struct ip_prefix *found = mem_alloc(max * sizeof(*found));
	uint32_t room = limit;
	for (uint32_t i = 0; i < l->n; i++) {
		bool there = room > 0 && view->is_there(view->arg, &l->at[i].prefix);
		set_there(&l->at[i], there, now_ns);
		room -= there;
	}
	uint32_t total = view->list(view->arg, found, max);
	add_new(l, found, RTE_MIN(total, max), limit, now_ns);
	uint32_t there = count_there(l);
	l->left_out = total > there ? total - there : 0;
	free(found);
	return learned_tick(l, now_ns);
}

void learned_fini(struct learned *l)
{
	free(l->at);
	free(l->offered);
	*l = (struct learned){0};
}
