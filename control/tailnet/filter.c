#include "control/tailnet/filter.h"

#include <net/if.h>
#include <netinet/in.h>
#include <rte_common.h>
#include <stdlib.h>

#include "dataplane/base/log.h"

struct ranges {
	struct ip_range *list;
	uint32_t n, room;
};

static void add(struct ranges *r, const struct ip_range *range)
{
	if (r->n == r->room) {
		r->room = r->room ? 2 * r->room : 64;
		r->list = realloc(r->list, r->room * sizeof(*r->list));
		if (!r->list)
			abort(); // as mem_alloc
	}
	r->list[r->n++] = *range;
}

static void add_any(struct ranges *r)
{
	const struct ip_range v4 = ip_range_any(IP_V4), v6 = ip_range_any(IP_V6);
	add(r, &v4);
	add(r, &v6);
}

// -- where packets may go at all ------------------------------------------------------------------

// What a default route never stands for (tailscale ipn/ipnlocal, removeFromDefaultRoute), and
// loopback.
static const char *const never_default[] = {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",
	"169.254.0.0/16", "224.0.0.0/4", "100.64.0.0/10", "127.0.0.0/8", "fe80::/10", "ff00::/8",
	"fd7a:115c:a1e0::/48", "::1/128"};

// The address one below (step -1) or above (step 1); the caller has seen to it that there is one.
static struct ip_addr beside(struct ip_addr a, int step)
{
	for (unsigned i = ip_addr_bits(&a) / 8; i-- > 0;) {
		a.bytes[i] = (uint8_t)(a.bytes[i] + step);
		if (a.bytes[i] != (step > 0 ? 0 : 0xff))
			break;
	}
	return a;
}

// Take x out of every range of the list.
static void subtract(struct ranges *r, const struct ip_range *x)
{
	uint32_t n = r->n;
	for (uint32_t i = 0; i < n; i++) {
		struct ip_range whole = r->list[i], rest = whole;
		if (whole.first.family != x->first.family ||
			ip_addr_compare(&whole.last, &x->first) < 0 ||
			ip_addr_compare(&x->last, &whole.first) < 0)
			continue;
		bool before = ip_addr_compare(&whole.first, &x->first) < 0;
		bool behind = ip_addr_compare(&x->last, &whole.last) < 0;
		if (behind) {
			rest.first = beside(x->last, 1);
			r->list[i] = rest;
		}
		if (before) {
			whole.last = beside(x->first, -1);
			if (behind)
				add(r, &whole);
			else
				r->list[i] = whole;
		}
		if (!before && !behind) { // nothing is left: the last one takes its place
			r->list[i--] = r->list[--n];
			r->list[n] = r->list[--r->n];
		}
	}
}

struct ip_prefix tn_network_of(const struct ip_ifaddr *a)
{
	struct ip_prefix p = {a->addr, a->len};
	for (unsigned bit = p.len; bit < ip_addr_bits(&p.addr); bit++)
		p.addr.bytes[bit / 8] &= (uint8_t) ~(0x80 >> bit % 8);
	return p;
}

// What a default route stands for. (tailscale ipn/ipnlocal, shrinkDefaultRoute)
static void add_internet(struct ranges *local, uint8_t family, const struct tn_filter_spec *spec)
{
	struct ranges r = {0};
	struct ip_range range = ip_range_any((enum ip_family)family);
	add(&r, &range);
	for (uint32_t i = 0; i < spec->n_attached; i++) {
		struct ip_prefix network = tn_network_of(&spec->attached[i]);
		range = ip_range_of(&network);
		subtract(&r, &range);
	}
	for (uint32_t i = 0; i < spec->n_attached; i++) {
		range = (struct ip_range){spec->attached[i].addr, spec->attached[i].addr};
		if (range.first.family == family)
			add(&r, &range);
	}
	for (unsigned i = 0; i < RTE_DIM(never_default); i++) {
		struct ip_prefix never;
		if (ip_prefix_parse(never_default[i], &never) < 0)
			abort(); // written a few lines above
		range = ip_range_of(&never);
		subtract(&r, &range);
	}
	for (uint32_t i = 0; i < r.n; i++)
		add(local, &r.list[i]);
	free(r.list);
}

static void add_local(struct ranges *local, const struct tn_filter_spec *spec)
{
	const struct nm_node *self = spec->netmap->self;
	for (uint32_t i = 0; i < self->n_addresses; i++) {
		struct ip_range range = ip_range_of(&self->addresses[i]);
		add(local, &range);
	}
	for (uint32_t i = 0; i < spec->n_vips; i++) {
		struct ip_range range = ip_range_of(&spec->vips[i]);
		add(local, &range);
	}
	for (uint32_t i = 0; i < spec->n_routes; i++) {
		struct ip_range range = ip_range_of(&spec->routes[i]);
		if (spec->routes[i].len == 0)
			add_internet(local, spec->routes[i].addr.family, spec);
		else
			add(local, &range);
	}
}

// -- rules ----------------------------------------------------------------------------------------

// Peers that get traffic and have the capability.
static void add_cap(struct ranges *sources, const struct netmap *nm, const char *cap)
{
	for (size_t i = 0; i < nm->n_peers && sources->n <= TN_FILTER_RANGES_MAX; i++) {
		const struct nm_node *n = nm->peers[i]->node;
		if (nm->peers[i]->unusable != NM_USABLE || !nm_node_cap(n, cap))
			continue;
		for (uint32_t j = 0; j < n->n_addresses; j++) {
			struct ip_range range = ip_range_of(&n->addresses[j]);
			add(sources, &range);
		}
	}
}

static void add_sources(struct ranges *sources, const struct netmap *nm, const struct nm_rule *r)
{
	for (uint32_t i = 0; i < r->n_sources; i++) {
		const struct nm_source *s = &r->sources[i];
		const struct ip_range range = {s->first, s->last};
		if (s->match == NM_MATCH_ANY)
			add_any(sources);
		else if (s->match == NM_MATCH_CAP)
			add_cap(sources, nm, s->cap);
		else
			add(sources, &range);
	}
}

// Its targets, two for each that is any address.
static uint32_t write_targets(struct rule_target *out, const struct nm_rule *r)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < r->n_destinations; i++) {
		const struct nm_destination *d = &r->destinations[i];
		struct rule_target t = {{d->first, d->last}, d->port_first, d->port_last};
		if (d->match == NM_MATCH_CAP)
			continue;
		if (d->match == NM_MATCH_ANY) {
			t.range = ip_range_any(IP_V4);
			out[n++] = t;
			t.range = ip_range_any(IP_V6);
		}
		out[n++] = t;
	}
	return n;
}

static void set_protocols(struct rule_spec *to, const struct nm_rule *r)
{
	static const uint8_t usual[] = {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP, IPPROTO_ICMPV6};
	const uint8_t *list = r->n_protocols ? r->protocols : usual;
	uint32_t n = r->n_protocols ? r->n_protocols : RTE_DIM(usual);
	for (uint32_t i = 0; i < n; i++)
		rule_protocol(to, list[i]);
}

struct building {
	struct ranges sources; // of all rules, one behind the other
	struct rule_target *targets;
	struct rule_spec *rules;
	uint32_t n_rules, n_targets;
};

// False: it would be too much.
static bool add_rule(struct building *b, const struct netmap *nm, const struct nm_rule *r)
{
	uint32_t before = b->sources.n;
	struct rule_spec spec = {0};
	if (r->n_destinations == 0 || r->n_sources == 0)
		return true; // grants of capabilities alone
	add_sources(&b->sources, nm, r);
	if (b->sources.n > TN_FILTER_RANGES_MAX) {
		b->sources.n = before;
		return false;
	}
	spec.n_sources = b->sources.n - before;
	spec.targets = b->targets + b->n_targets;
	spec.n_targets = write_targets(b->targets + b->n_targets, r);
	b->n_targets += spec.n_targets;
	set_protocols(&spec, r);
	b->rules[b->n_rules++] = spec;
	return true;
}

// From anybody to the peerAPI, and to nothing else: an echo still needs a rule of the policy.
static void add_peerapi(struct building *b, const struct tn_filter_spec *of)
{
	struct rule_spec spec = {.targets = b->targets + b->n_targets, .ports_only = true};
	const struct nm_node *self = of->netmap->self;
	uint32_t before = b->sources.n;
	for (uint32_t i = 0; i < self->n_addresses; i++) {
		const struct ip_addr *a = &self->addresses[i].addr;
		uint16_t port = a->family == IP_V4 ? of->peerapi4 : of->peerapi6;
		if (port)
			b->targets[b->n_targets++] = (struct rule_target){{*a, *a}, port, port};
	}
	add_any(&b->sources);
	spec.n_sources = b->sources.n - before;
	spec.n_targets = (uint32_t)(b->targets + b->n_targets - spec.targets);
	rule_protocol(&spec, IPPROTO_TCP);
	b->rules[b->n_rules++] = spec;
}

static bool add_rules(struct building *b, const struct tn_filter_spec *of)
{
	const struct netmap *nm = of->netmap;
	size_t rules = 1, targets = nm->self->n_addresses;
	bool all = true;
	for (size_t i = 0; i < nm->n_filter; i++) {
		rules += nm->filter[i].n_rules;
		for (uint32_t j = 0; j < nm->filter[i].n_rules; j++)
			targets += 2 * (size_t)nm->filter[i].rules[j].n_destinations;
	}
	b->rules = mem_alloc((rules + 1) * sizeof(*b->rules));
	b->targets = mem_alloc((targets + 1) * sizeof(*b->targets));
	for (size_t i = 0; i < nm->n_filter && all; i++) {
		for (uint32_t j = 0; j < nm->filter[i].n_rules && all; j++)
			all = add_rule(b, nm, &nm->filter[i].rules[j]);
	}
	add_peerapi(b, of);
	uint32_t at = 0;
	for (uint32_t i = 0; i < b->n_rules && b->sources.list; i++) {
		b->rules[i].sources = &b->sources.list[at]; // it does not move any more
		at += b->rules[i].n_sources;
	}
	return all;
}

struct rules *tn_filter_compile(const struct tn_filter_spec *spec)
{
	struct building b = {0};
	struct ranges local = {0};
	struct rules *rules = NULL;
	const char *why = "it names too many ranges of addresses";
	bool fits = true;
	if (spec->netmap->self) {
		add_local(&local, spec);
		fits = spec->shields_up || add_rules(&b, spec);
	}
	if (fits)
		rules = rules_try_create(
			&(struct rules_spec){
				.rules = b.rules,
				.local = local.list,
				.n_rules = b.n_rules,
				.n_local = local.n,
				.shields_up = spec->shields_up,
			},
			&why);
	if (!rules)
		log_warn("tailnet",
			"the packet filter is not taken, the one before stays: %s; give the "
			"tailnet's policy fewer or broader rules for this node",
			why);
	free(local.list);
	free(b.sources.list);
	free(b.targets);
	free(b.rules);
	return rules;
}

// -- the machine ----------------------------------------------------------------------------------

static uint8_t mask_len(const uint8_t *mask, unsigned bytes)
{
	unsigned len = 0;
	while (len < 8 * bytes && mask[len / 8] & (0x80 >> len % 8))
		len++;
	return (uint8_t)len;
}

bool tn_interface_address(const struct ifaddrs *i, struct ip_ifaddr *out)
{
	if (!i->ifa_addr || !i->ifa_netmask)
		return false;
	if (i->ifa_addr->sa_family == AF_INET) {
		const struct sockaddr_in *a = (const void *)i->ifa_addr;
		const struct sockaddr_in *m = (const void *)i->ifa_netmask;
		*out = (struct ip_ifaddr){
			ip_addr_v4(&a->sin_addr), mask_len((const uint8_t *)&m->sin_addr, 4)};
		return true;
	}
	if (i->ifa_addr->sa_family == AF_INET6) {
		const struct sockaddr_in6 *a = (const void *)i->ifa_addr;
		const struct sockaddr_in6 *m = (const void *)i->ifa_netmask;
		*out = (struct ip_ifaddr){
			ip_addr_v6(&a->sin6_addr), mask_len((const uint8_t *)&m->sin6_addr, 16)};
		return true;
	}
	return false;
}

struct rules *tn_filter_rules(const struct tn_filter_spec *of)
{
	struct ip_ifaddr *attached = mem_alloc(TN_FILTER_ATTACHED_MAX * sizeof(*attached));
	struct ifaddrs *all = NULL;
	struct tn_filter_spec spec = *of;
	spec.attached = attached;
	spec.n_attached = 0;
	bool known = getifaddrs(&all) == 0;
	for (struct ifaddrs *i = all; i && known; i = i->ifa_next) {
		known = spec.n_attached < TN_FILTER_ATTACHED_MAX;
		if (known)
			spec.n_attached += tn_interface_address(i, &attached[spec.n_attached]);
	}
	freeifaddrs(all);
	if (!known) {
		log_warn("tailnet", "the machine's networks cannot be told: no way out for peers");
		attached[0] = (struct ip_ifaddr){.addr.family = IP_V4}; // all of it is attached
		attached[1] = (struct ip_ifaddr){.addr.family = IP_V6};
		spec.n_attached = 2;
	}
	struct rules *rules = tn_filter_compile(&spec);
	free(attached);
	return rules;
}
