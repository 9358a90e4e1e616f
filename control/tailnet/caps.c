// Capabilities that the packet filter grants to peers: what they may do here beyond sending
// packets, for those who serve them to ask. (tailscale wgengine/filter/filter.go, AppendCaps)
#include "control/tailnet/filter.h"

static bool lies_in(
	const struct ip_addr *a, const struct ip_addr *first, const struct ip_addr *last)
{
	return a->family == first->family && ip_addr_compare(a, first) >= 0 &&
	       ip_addr_compare(a, last) <= 0;
}

bool tn_source_matches(
	const struct nm_source *s, const struct ip_addr *src, const struct nm_node *node)
{
	switch (s->match) {
	case NM_MATCH_ANY:
		return true;
	case NM_MATCH_RANGE:
		return lies_in(src, &s->first, &s->last);
	default:
		return node && nm_node_cap(node, s->cap);
	}
}

static const struct nm_node *node_of(const struct netmap *nm, const struct ip_addr *a)
{
	const struct nm_peer *p = netmap_peer_by_addr(nm, a);
	for (uint32_t i = 0; nm->self && i < nm->self->n_addresses; i++) {
		if (ip_addr_equal(&nm->self->addresses[i].addr, a))
			return nm->self;
	}
	return p ? p->node : NULL;
}

static bool is_from(const struct nm_rule *r, const struct ip_addr *src, const struct nm_node *node)
{
	for (uint32_t i = 0; i < r->n_sources; i++) {
		if (tn_source_matches(&r->sources[i], src, node))
			return true;
	}
	return false;
}

static bool is_towards(const struct nm_grant *g, const struct ip_addr *dst)
{
	for (uint32_t i = 0; i < g->n_destinations; i++) {
		if (ip_prefix_contains(&g->destinations[i], dst))
			return true;
	}
	return false;
}

// Each grant of the rule towards dst to fn, until it wants no more.
static bool walk_rule(const struct nm_rule *r, const struct ip_addr *dst,
	bool (*fn)(void *arg, const struct nm_cap *), void *arg)
{
	for (uint32_t i = 0; i < r->n_grants; i++) {
		const struct nm_grant *g = &r->grants[i];
		if (!is_towards(g, dst))
			continue;
		for (uint32_t c = 0; c < g->n_caps; c++) {
			if (!fn(arg, &g->caps[c]))
				return false;
		}
	}
	return true;
}

static void walk(const struct netmap *nm, const struct ip_addr *src, const struct ip_addr *dst,
	bool (*fn)(void *arg, const struct nm_cap *), void *arg)
{
	const struct nm_node *node = node_of(nm, src);
	for (size_t i = 0; i < nm->n_filter; i++) {
		for (uint32_t j = 0; j < nm->filter[i].n_rules; j++) {
			const struct nm_rule *r = &nm->filter[i].rules[j];
			if (r->n_grants && is_from(r, src, node) && !walk_rule(r, dst, fn, arg))
				return;
		}
	}
}

// Adds the values of a capability to those that are there.
static bool add_cap(void *caps, const struct nm_cap *cap)
{
	json_t *old = json_object_get(caps, cap->name);
	json_t *values = cap->values ? json_loads(cap->values, 0, NULL) : NULL;
	if (json_is_array(old) && json_is_array(values))
		json_array_extend(old, values);
	else if (!json_is_array(old))
		json_object_set(caps, cap->name, values ? values : json_null());
	json_decref(values);
	return true;
}

json_t *tn_peer_caps(const struct netmap *nm, const struct ip_addr *src, const struct ip_addr *dst)
{
	json_t *caps = json_object();
	walk(nm, src, dst, add_cap, caps);
	return caps;
}

struct wanted {
	const char *name;
	bool found;
};

static bool is_wanted(void *arg, const struct nm_cap *cap)
{
	struct wanted *w = arg;
	w->found = strcmp(cap->name, w->name) == 0;
	return !w->found;
}

bool tn_peer_has_cap(const struct netmap *nm, const struct ip_addr *src, const struct ip_addr *dst,
	const char *name)
{
	struct wanted w = {.name = name};
	walk(nm, src, dst, is_wanted, &w);
	return w.found;
}

bool tn_node_granted(const struct netmap *nm, const struct nm_node *node, const char *name)
{
	for (uint32_t i = 0; nm->self && i < node->n_addresses; i++) {
		for (uint32_t j = 0; j < nm->self->n_addresses; j++) {
			if (tn_peer_has_cap(nm, &node->addresses[i].addr,
				    &nm->self->addresses[j].addr, name))
				return true;
		}
	}
	return false;
}
