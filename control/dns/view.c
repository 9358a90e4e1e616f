#include "control/dns/view.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "control/dns/wire.h"
#include "dataplane/base/log.h"
#include "dataplane/base/mem.h"

struct dns_pointer {
	struct ip_addr addr;
	const char *name;
};

// Names and addresses come from a server: what collides must not be its choice.
static uint32_t hash(const void *bytes, size_t len)
{
	static uint8_t key[crypto_shorthash_KEYBYTES];
	static bool keyed;
	uint8_t out[crypto_shorthash_BYTES];
	uint32_t h;

	if (!keyed)
		randombytes_buf(key, sizeof(key));
	keyed = true;
	crypto_shorthash(out, bytes, len, key);
	memcpy(&h, out, sizeof(h));
	return h;
}

// -- hosts ----------------------------------------------------------------------------------------

// The cell of the name, or the empty one where it would go. Cells count from 1.
static uint32_t *name_cell(const struct dns_view *v, const char *name)
{
	uint32_t i = hash(name, strlen(name)) & v->mask;

	while (v->by_name[i] && strcmp(v->hosts[v->by_name[i] - 1].name, name) != 0)
		i = (i + 1) & v->mask;
	return &v->by_name[i];
}

static uint32_t *address_cell(const struct dns_view *v, const struct ip_addr *a)
{
	uint32_t i = hash(a, sizeof(*a)) & v->mask;

	while (v->by_address[i] && !ip_addr_equal(&v->pointers[v->by_address[i] - 1].addr, a))
		i = (i + 1) & v->mask;
	return &v->by_address[i];
}

static struct dns_host *host_put(struct dns_view *v, const char *text)
{
	char name[DNS_NAME_LEN];

	if (!text || dns_name_read(text, name) < 0 || !name[0])
		return NULL;
	uint32_t *cell = name_cell(v, name);
	if (!*cell) {
		if (v->n_hosts == v->mask / 2)
			return NULL;
		v->hosts[v->n_hosts++].name = arena_text(&v->arena, name);
		*cell = v->n_hosts;
	}
	return &v->hosts[*cell - 1];
}

static void host_add(struct dns_view *v, struct dns_host *h, const struct ip_addr *a)
{
	struct ip_addr *slot = a->family == IP_V4 ? &h->v4 : &h->v6;

	if (h->first.family == IP_NONE)
		h->first = *a;
	if (slot->family == IP_NONE)
		*slot = *a;
}

// The first to have the address is who it is.
static void pointer_put(struct dns_view *v, const struct ip_addr *a, const char *name)
{
	uint32_t *cell = address_cell(v, a);

	if (*cell || v->n_pointers == v->mask / 2)
		return;
	v->pointers[v->n_pointers++] = (struct dns_pointer){*a, name};
	*cell = v->n_pointers;
}

// Which addresses of a node are told (tailscale ipn/ipnlocal, magicDNSAddrs): IPv6 ones where IPv4
// cannot be used, or the server asks for it.
struct address_rule {
	bool self_v6_only, want_aaaa;
};

static void node_put(struct dns_view *v, const struct nm_node *n, const struct address_rule *rule)
{
	bool has_v4 = false;

	for (uint32_t i = 0; i < n->n_addresses; i++)
		has_v4 |= n->addresses[i].addr.family == IP_V4;
	struct dns_host *h = n->n_addresses ? host_put(v, n->name) : NULL;
	if (!h)
		return;
	h->subdomains |= nm_node_cap(n, "dns-subdomain-resolve") != NULL;
	const bool known = h->first.family != IP_NONE; // ExtraRecords come first
	for (uint32_t i = 0; i < n->n_addresses; i++) {
		const struct ip_addr *a = &n->addresses[i].addr;
		const bool left_out = rule->self_v6_only
					      ? a->family != IP_V6
					      : a->family == IP_V6 && has_v4 && !rule->want_aaaa;
		if (!known && !left_out)
			host_add(v, h, a);
		pointer_put(v, a, h->name);
	}
}

static void records_put(struct dns_view *v, const struct nm_dns *dns)
{
	struct ip_addr a;

	for (uint32_t i = 0; i < dns->n_records; i++) {
		const struct nm_dns_record *r = &dns->records[i];
		if ((r->type && *r->type && strcmp(r->type, "A") != 0 &&
			    strcmp(r->type, "AAAA") != 0) ||
			ip_addr_parse(r->value, &a) < 0)
			continue;
		struct dns_host *h = host_put(v, r->name);
		if (!h)
			continue;
		host_add(v, h, &a);
	}
}

// Nodes give addresses their names before records do.
static void record_pointers_put(struct dns_view *v, const struct nm_dns *dns)
{
	struct ip_addr a;

	for (uint32_t i = 0; i < dns->n_records; i++) {
		char name[DNS_NAME_LEN];
		if (ip_addr_parse(dns->records[i].value, &a) < 0 ||
			dns_name_read(dns->records[i].name, name) < 0)
			continue;
		const uint32_t cell = *name_cell(v, name);
		if (cell)
			pointer_put(v, &a, v->hosts[cell - 1].name);
	}
}

static void hosts_make(struct dns_view *v, const struct netmap *nm)
{
	const struct nm_node *self = nm->self;
	bool v4 = false, v6 = false;
	size_t n = nm->n_peers + nm->dns.n_records + 1;

	n = n < DNS_HOSTS_MAX ? n : DNS_HOSTS_MAX;
	for (v->mask = 64; v->mask < n * 4;)
		v->mask *= 2;
	v->hosts = arena_alloc(&v->arena, v->mask / 2 * sizeof(*v->hosts));
	v->pointers = arena_alloc(&v->arena, v->mask / 2 * sizeof(*v->pointers));
	v->by_name = arena_alloc(&v->arena, v->mask * sizeof(*v->by_name));
	v->by_address = arena_alloc(&v->arena, v->mask * sizeof(*v->by_address));
	v->mask--;
	for (uint32_t i = 0; i < self->n_addresses; i++) {
		v4 |= self->addresses[i].addr.family == IP_V4;
		v6 |= self->addresses[i].addr.family == IP_V6;
	}
	const struct address_rule rule = {
		.self_v6_only = v6 && !v4,
		.want_aaaa = nm_node_cap(self, "magicdns-aaaa") != NULL,
	};
	records_put(v, &nm->dns);
	node_put(v, self, &rule);
	for (size_t i = 0; i < nm->n_peers; i++)
		node_put(v, nm->peers[i]->node, &rule);
	record_pointers_put(v, &nm->dns);
}

const struct dns_host *dns_view_host(const struct dns_view *v, const char *name)
{
	if (!v->n_hosts)
		return NULL;
	uint32_t cell = *name_cell(v, name);
	if (cell)
		return &v->hosts[cell - 1];
	while ((name = strchr(name, '.'))) {
		cell = *name_cell(v, ++name);
		if (cell && v->hosts[cell - 1].subdomains)
			return &v->hosts[cell - 1];
	}
	return NULL;
}

const char *dns_view_name(const struct dns_view *v, const struct ip_addr *a)
{
	const uint32_t cell = v->n_hosts ? *address_cell(v, a) : 0;

	return cell ? v->pointers[cell - 1].name : NULL;
}

// -- who is asked ---------------------------------------------------------------------------------

static void targets_make(struct dns_view *v, struct dns_route *r, const char *const *texts,
	const bool *take, uint32_t n)
{
	struct dns_target list[DNS_TARGETS_MAX];

	r->n = 0;
	for (uint32_t i = 0; i < n && r->n < DNS_TARGETS_MAX; i++) {
		if (take && !take[i])
			continue;
		if (dns_target_read(texts[i], &list[r->n]) == 0)
			r->n++;
		else
			v->unsupported++;
	}
	r->targets = arena_copy(&v->arena, list, r->n, sizeof(*list));
}

static uint32_t *suffix_cell(const struct dns_view *v, const char *suffix)
{
	uint32_t i = hash(suffix, strlen(suffix)) & v->routes_mask;

	while (v->by_suffix[i] && strcmp(v->routes[v->by_suffix[i] - 1].suffix, suffix) != 0)
		i = (i + 1) & v->routes_mask;
	return &v->by_suffix[i];
}

// l: NULL, a zone of the netmap's own. With an exit node only resolvers that may be asked beside it
// count.
static void route_put(
	struct dns_view *v, const char *suffix, const struct nm_dns_list *l, bool exit)
{
	char name[DNS_NAME_LEN];
	struct dns_route r = {.local = !l || l->n == 0};

	if (dns_name_read(suffix, name) < 0)
		return;
	if (l)
		targets_make(v, &r, l->addresses, exit ? l->with_exit_node : NULL, l->n);
	if (exit && !r.local && !r.n)
		return;
	uint32_t *cell = suffix_cell(v, name);
	if (!*cell && v->n_routes == DNS_ROUTES_MAX)
		return;
	if (!*cell)
		*cell = ++v->n_routes;
	r.suffix = arena_text(&v->arena, name);
	v->routes[*cell - 1] = r;
}

// The zones of the tailnet's own names (tailscale ipn/ipnlocal, magicDNSRootDomains).
static void zones_put(struct dns_view *v, const struct nm_node *self)
{
	char zone[32];
	const char *dot = self->name ? strchr(self->name, '.') : NULL;

	if (dot && dot[1])
		route_put(v, dot + 1, NULL, false);
	for (unsigned i = 64; i < 128; i++) {
		snprintf(zone, sizeof(zone), "%u.100.in-addr.arpa.", i);
		route_put(v, zone, NULL, false);
	}
	route_put(v, "0.e.1.a.c.5.1.1.a.7.d.f.ip6.arpa.", NULL, false);
}

static void routes_make(struct dns_view *v, const struct netmap *nm, bool exit)
{
	const struct nm_dns *dns = &nm->dns;
	const uint32_t zones = 80, wanted = dns->n_routes + zones;
	const uint32_t room = wanted < DNS_ROUTES_MAX ? wanted : DNS_ROUTES_MAX;

	for (v->routes_mask = 256; v->routes_mask < room * 2;)
		v->routes_mask *= 2;
	v->routes = arena_alloc(&v->arena, room * sizeof(*v->routes));
	v->by_suffix = arena_alloc(&v->arena, v->routes_mask * sizeof(*v->by_suffix));
	v->routes_mask--;
	v->proxied = dns->proxied;
	if (dns->proxied)
		zones_put(v, nm->self);
	for (uint32_t i = 0; i < dns->n_routes; i++)
		route_put(v, dns->routes[i].suffix, &dns->routes[i], exit);
}

static void resolvers_make(struct dns_view *v, const struct dns_view_from *from, bool mapped)
{
	const struct nm_dns *dns = mapped ? &from->netmap->dns : NULL;
	const bool exit = from->exit_url && from->exit_url[0];

	v->resolvers.suffix = v->base.suffix = "";
	targets_make(v, &v->base, from->base, NULL, from->n_base);
	if (mapped)
		targets_make(v, &v->resolvers, dns->resolvers.addresses,
			exit ? dns->resolvers.with_exit_node : NULL, dns->resolvers.n);
	v->global = mapped && dns->resolvers.n > 0;
	if (exit && !v->resolvers.n)
		targets_make(v, &v->resolvers, &from->exit_url, NULL, 1);
	if (!v->resolvers.n && !v->global)
		v->resolvers = v->base;
	if (mapped && !v->resolvers.n && !v->global)
		targets_make(v, &v->resolvers, dns->fallback.addresses, NULL, dns->fallback.n);
}

static const char **texts_make(
	struct dns_view *v, const char *const *from, uint32_t n, uint32_t max, uint32_t *count)
{
	char name[DNS_NAME_LEN + 1];
	const char **list = arena_alloc(&v->arena, (n + 1) * sizeof(*list));

	for (uint32_t i = 0; i < n && *count < max; i++) {
		const bool dot = from[i][0] == '.' && from[i][1];
		char *text = name + dot;
		name[0] = '.';
		if (dns_name_read(from[i] + dot, text) == 0)
			list[(*count)++] = arena_text(&v->arena, name);
	}
	return list;
}

struct dns_view *dns_view_create(const struct dns_view_from *from)
{
	struct dns_view *v = mem_alloc(sizeof(*v));
	const struct netmap *nm = from->netmap;
	const bool mapped = nm && nm->ready && nm->self;

	v->own_host = from->own_host;
	resolvers_make(v, from, mapped);
	if (!mapped)
		return v;
	hosts_make(v, nm);
	routes_make(v, nm, from->exit_url && from->exit_url[0]);
	v->search = texts_make(v, nm->dns.domains, nm->dns.n_domains, DNS_SEARCH_MAX, &v->n_search);
	v->filtered = texts_make(
		v, nm->dns.exit_filtered, nm->dns.n_exit_filtered, UINT32_MAX, &v->n_filtered);
	return v;
}

void dns_view_destroy(struct dns_view *v)
{
	if (!v)
		return;
	arena_fini(&v->arena);
	free(v);
}

const struct dns_route *dns_view_route(const struct dns_view *v, const char *name)
{
	for (; v->n_routes; name += *name == '.') {
		const uint32_t cell = *suffix_cell(v, name);
		if (cell)
			return &v->routes[cell - 1];
		if (!*name)
			break;
		name += strcspn(name, ".");
	}
	return &v->resolvers;
}

bool dns_view_is_filtered(const struct dns_view *v, const char *name)
{
	for (uint32_t i = 0; i < v->n_filtered; i++) {
		const char *f = v->filtered[i];
		if (f[0] == '.' ? dns_name_within(name, f + 1) : strcmp(name, f) == 0)
			return true;
	}
	return false;
}
