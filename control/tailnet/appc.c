#include "control/tailnet/appc_parts.h"

#include <stdlib.h>

#include "control/dns/wire.h"
#include "dataplane/base/mem.h"
#include "dataplane/base/prefix.h"

// -- what may be advertised -----------------------------------------------------------------------

// Loopback, this network, link-local, multicast and reserved, and the tailnet's own addresses; of
// IPv6 also what stands for an IPv4 address.
static const struct ip_prefix never[] = {
	{{.bytes = {0}, .family = IP_V4}, 8},
	{{.bytes = {100, 64}, .family = IP_V4}, 10},
	{{.bytes = {127}, .family = IP_V4}, 8},
	{{.bytes = {169, 254}, .family = IP_V4}, 16},
	{{.bytes = {224}, .family = IP_V4}, 3},
	{{.bytes = {0}, .family = IP_V6}, 80},
	{{.bytes = {0xfd, 0x7a, 0x11, 0x5c, 0xa1, 0xe0}, .family = IP_V6}, 48},
	{{.bytes = {0xfe, 0x80}, .family = IP_V6}, 10},
	{{.bytes = {0xff}, .family = IP_V6}, 8},
};

bool appc_may_advertise(const struct ip_prefix *p)
{
	for (unsigned i = 0; i < sizeof(never) / sizeof(never[0]); i++)
		if (ip_prefix_overlap(&never[i], p))
			return false;
	return true;
}

// -- names ----------------------------------------------------------------------------------------

static int name_order(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

// Where the name is, or would be.
static uint32_t place_of(const struct appc *a, const char *name)
{
	uint32_t low = 0, high = a->n_names;

	while (low < high) {
		const uint32_t middle = (low + high) / 2;
		if (strcmp(a->names[middle]->name, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct app_name *find(const struct appc *a, const char *name)
{
	const uint32_t i = place_of(a, name);

	return i < a->n_names && strcmp(a->names[i]->name, name) == 0 ? a->names[i] : NULL;
}

static void *grown(void *list, uint32_t n, uint32_t *room, size_t size)
{
	if (n < *room)
		return list;
	*room = *room ? *room * 2 : 4;
	list = realloc(list, *room * size);
	if (!list)
		abort(); // as mem_alloc
	return list;
}

static char *copy_of(const char *text)
{
	char *const copy = strdup(text);

	if (!copy)
		abort();
	return copy;
}

struct app_name *appc_name(struct appc *a, const char *name)
{
	const uint32_t i = place_of(a, name);

	if (i < a->n_names && strcmp(a->names[i]->name, name) == 0)
		return a->names[i];
	struct app_name *const new = mem_alloc(sizeof(*new));
	*new = (struct app_name){.name = copy_of(name)};
	a->names = grown(a->names, a->n_names, &a->room, sizeof(a->names[0]));
	memmove(&a->names[i + 1], &a->names[i], (a->n_names - i) * sizeof(a->names[0]));
	a->names[i] = new;
	a->n_names++;
	return new;
}

static void app_name_free(struct appc *a, struct app_name *n)
{
	a->n_learned -= n->n;
	free(n->name);
	free(n->addrs);
	free(n);
}

static void names_free(struct app_names *l)
{
	for (uint32_t i = 0; i < l->n; i++)
		free(l->at[i]);
	free(l->at);
	*l = (struct app_names){0};
}

static bool names_have(const struct app_names *l, const char *name)
{
	return l->n && bsearch(&name, l->at, l->n, sizeof(l->at[0]), name_order);
}

static bool by_wildcard(const struct app_names *wildcards, const char *name)
{
	for (const char *dot = strchr(name, '.'); dot; dot = strchr(dot + 1, '.'))
		if (names_have(wildcards, dot + 1))
			return true;
	return false;
}

void appc_put_name(struct app_names *l, const char *name)
{
	l->at[l->n++] = copy_of(name);
}

// -- what to stand for ----------------------------------------------------------------------------

// Sorted, each once.
void appc_names_finish(struct app_names *l)
{
	uint32_t n = 0;

	if (l->n)
		qsort(l->at, l->n, sizeof(l->at[0]), name_order);
	for (uint32_t i = 0; i < l->n; i++) {
		if (n == 0 || strcmp(l->at[n - 1], l->at[i]) != 0)
			l->at[n++] = l->at[i];
		else
			free(l->at[i]);
	}
	l->n = n;
}

static void split(struct appc *a, const struct appc_spec *spec, struct app_names *exact,
	struct app_names *wildcards)
{
	const size_t room = spec->n_domains < APPC_DOMAINS_MAX ? spec->n_domains : APPC_DOMAINS_MAX;
	char name[DNS_NAME_LEN];

	exact->at = mem_alloc((room + 1) * sizeof(char *));
	wildcards->at = mem_alloc((room + 1) * sizeof(char *));
	for (uint32_t i = 0; i < spec->n_domains; i++) {
		const bool wild = strncmp(spec->domains[i], "*.", 2) == 0;
		struct app_names *const to = wild ? wildcards : exact;
		if (exact->n + wildcards->n == room ||
			dns_name_read(spec->domains[i] + (wild ? 2 : 0), name) < 0 || !name[0] ||
			strchr(name, '*'))
			a->counters.bad++;
		else
			appc_put_name(to, name);
	}
	appc_names_finish(exact);
	appc_names_finish(wildcards);
}

static bool same_names(const struct app_names *a, const struct app_names *b)
{
	if (a->n != b->n)
		return false;
	for (uint32_t i = 0; i < a->n; i++)
		if (strcmp(a->at[i], b->at[i]) != 0)
			return false;
	return true;
}

static bool set_preset(struct appc *a, const struct appc_spec *spec)
{
	struct ip_prefix *const now = mem_alloc((spec->n_routes + 1) * sizeof(struct ip_prefix));
	uint32_t n = 0;

	for (uint32_t i = 0; i < spec->n_routes; i++) {
		if (!appc_may_advertise(&spec->routes[i]) || n == APPC_PRESET_MAX)
			a->counters.forbidden++;
		else
			now[n++] = spec->routes[i];
	}
	const bool same =
		n == a->n_preset && (n == 0 || memcmp(now, a->preset, n * sizeof(now[0])) == 0);
	free(a->preset);
	a->preset = now;
	a->n_preset = n;
	return !same;
}

// Names that are watched no longer go, with what was learned of them. True: something went.
static bool forget_others(struct appc *a, const struct app_names *exact)
{
	uint32_t n = 0;
	bool gone = false;

	for (uint32_t i = 0; i < a->n_names; i++) {
		struct app_name *const one = a->names[i];
		one->configured = names_have(exact, one->name);
		if (one->configured || (one->n && by_wildcard(&a->wildcards, one->name))) {
			a->names[n++] = one;
		} else {
			gone = true;
			app_name_free(a, one);
		}
	}
	a->n_names = n;
	return gone;
}

bool appc_configure(struct appc *a, const struct appc_spec *spec)
{
	const struct appc_counters before = a->counters;
	struct app_names exact = {0}, wildcards = {0};

	a->counters.bad = a->counters.forbidden = 0;
	split(a, spec, &exact, &wildcards);
	bool changed = set_preset(a, spec);
	changed |= !same_names(&wildcards, &a->wildcards);
	names_free(&a->wildcards);
	a->wildcards = wildcards;
	changed |= forget_others(a, &exact);
	for (uint32_t i = 0; i < exact.n; i++) {
		changed |= find(a, exact.at[i]) == NULL;
		appc_name(a, exact.at[i])->configured = true;
	}
	changed |= a->n_domains != exact.n + wildcards.n;
	a->n_domains = exact.n + wildcards.n;
	names_free(&exact);
	// The same configuration again says nothing new of what is wrong with it.
	a->counters.bad = changed ? before.bad + a->counters.bad : before.bad;
	a->counters.forbidden =
		changed ? before.forbidden + a->counters.forbidden : before.forbidden;
	return changed;
}

// -- answers --------------------------------------------------------------------------------------

// The names that an answer leads through, the question's first.
struct chain {
	char name[APPC_CHAIN_MAX][DNS_NAME_LEN];
	unsigned n;
	bool grew;
};

static int chain_find(const struct chain *c, const char *name)
{
	for (unsigned i = 0; i < c->n; i++)
		if (strcmp(c->name[i], name) == 0)
			return (int)i;
	return -1;
}

// In any order of records: the walk is repeated while the chain grows.
static bool follow(void *arg, const struct dns_record *r)
{
	struct chain *const c = arg;

	if (!r->target || c->n == APPC_CHAIN_MAX || strlen(r->target) >= DNS_NAME_LEN ||
		strcmp(c->name[c->n - 1], r->name) != 0 || chain_find(c, r->target) >= 0)
		return true;
	strcpy(c->name[c->n++], r->target);
	c->grew = true;
	return true;
}

// The watched name nearest to the i-th: itself, else what led there. NULL: none is.
static const char *watched(const struct appc *a, const struct chain *c, int i)
{
	for (; i >= 0; i--) {
		const struct app_name *const n = find(a, c->name[i]);
		if ((n && n->configured) || by_wildcard(&a->wildcards, c->name[i]))
			return c->name[i];
	}
	return NULL;
}

struct learning {
	struct appc *a;
	const struct chain *chain;
	bool (*is_own)(void *arg, const struct ip_addr *);
	void *arg;
	bool learned;
};

bool appc_knows(const struct app_name *n, const struct ip_addr *addr)
{
	for (uint32_t i = 0; n && i < n->n; i++)
		if (ip_addr_equal(&n->addrs[i], addr))
			return true;
	return false;
}

void appc_put_addr(struct appc *a, struct app_name *n, const struct ip_addr *addr)
{
	n->addrs = grown(n->addrs, n->n, &n->room, sizeof(n->addrs[0]));
	n->addrs[n->n++] = *addr;
	a->n_learned++;
}

static struct ip_prefix single(const struct ip_addr *addr)
{
	return (struct ip_prefix){*addr, (uint8_t)ip_addr_bits(addr)};
}

static bool learn(void *arg, const struct dns_record *r)
{
	struct learning *const l = arg;
	struct appc *const a = l->a;
	const int i = r->addr.family == IP_NONE ? -1 : chain_find(l->chain, r->name);
	const char *const name = i < 0 ? NULL : watched(a, l->chain, i);

	if (!name || appc_knows(find(a, name), &r->addr))
		return true;
	const struct ip_prefix p = single(&r->addr);
	if (!appc_may_advertise(&p) || l->is_own(l->arg, &r->addr)) {
		a->counters.forbidden++;
	} else if (a->n_learned >= APPC_LEARNED_MAX) {
		a->counters.full++;
	} else {
		appc_put_addr(a, appc_name(a, name), &r->addr);
		a->counters.learned++;
		l->learned = true;
	}
	return true;
}

bool appc_observe(struct appc *a, const char *name, const uint8_t *message, size_t len,
	bool (*is_own)(void *arg, const struct ip_addr *), void *arg)
{
	struct chain c = {.n = 1, .grew = true};
	struct learning l = {.a = a, .chain = &c, .is_own = is_own, .arg = arg};

	if (a->n_domains == 0 || strlen(name) >= sizeof(c.name[0]))
		return false;
	strcpy(c.name[0], name);
	while (c.grew) {
		c.grew = false;
		if (dns_answer_walk(message, len, follow, &c) < 0)
			return false;
	}
	if (!watched(a, &c, (int)c.n - 1))
		return false;
	return dns_answer_walk(message, len, learn, &l) == 0 && l.learned;
}

// -- what came of it ------------------------------------------------------------------------------

uint32_t appc_routes(const struct appc *a, struct ip_prefix *out)
{
	uint32_t n = a->n_preset;

	if (n)
		memcpy(out, a->preset, n * sizeof(out[0]));
	for (uint32_t i = 0; i < a->n_names; i++)
		for (uint32_t j = 0; j < a->names[i]->n; j++)
			out[n++] = single(&a->names[i]->addrs[j]);
	return n;
}

const struct appc_counters *appc_counters(const struct appc *a)
{
	return &a->counters;
}

uint32_t appc_watched(const struct appc *a)
{
	return a->n_domains;
}

uint32_t appc_learned(const struct appc *a)
{
	return a->n_learned;
}

struct appc *appc_create(void)
{
	return mem_alloc(sizeof(struct appc));
}

void appc_destroy(struct appc *a)
{
	if (!a)
		return;
	for (uint32_t i = 0; i < a->n_names; i++)
		app_name_free(a, a->names[i]);
	free(a->names);
	names_free(&a->wildcards);
	free(a->preset);
	free(a);
}
