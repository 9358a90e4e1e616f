// Rules of the packet filter, as data: matching is the data plane's.
// Source: tailscale wgengine/filter/tailcfg.go. Bad entries are skipped alone.
#include <errno.h>
#include <stdlib.h>

#include "control/coord/netmap_parts.h"

struct reader {
	struct nm_rules *rules;
	uint32_t room, number;
	uint64_t *skipped;
};

// IP, CIDR without host bits, "a-b" or "*".
static bool range_parse(
	const char *text, enum nm_match *match, struct ip_addr *first, struct ip_addr *last)
{
	char from[ADDR_TEXT_LEN];
	const char *const dash = strchr(text, '-');
	struct ip_prefix prefix;
	struct ip_ifaddr exact;

	*match = NM_MATCH_RANGE;
	if (!strcmp(text, "*")) {
		*match = NM_MATCH_ANY;
		return true;
	}
	if (dash) {
		const size_t n = (size_t)(dash - text);
		if (n >= sizeof(from))
			return false;
		memcpy(from, text, n);
		from[n] = '\0';
		return !ip_addr_parse(from, first) && !ip_addr_parse(dash + 1, last) &&
		       first->family == last->family &&
		       memcmp(first->bytes, last->bytes, sizeof(first->bytes)) <= 0;
	}
	if (ip_prefix_parse(text, &prefix) || ip_ifaddr_parse(text, &exact) ||
		!ip_addr_equal(&exact.addr, &prefix.addr))
		return false;
	*first = *last = prefix.addr;
	for (unsigned bit = prefix.len; bit < ip_addr_bits(&prefix.addr); bit++)
		last->bytes[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
	return true;
}

static void sources_read(struct reader *r, const json_t *array, struct nm_rule *rule)
{
	static const char cap[] = "cap:";
	struct arena *const a = &r->rules->arena;
	const json_t *v;
	size_t i;

	rule->sources = arena_alloc(a, (json_array_size(array) + 1) * sizeof(*rule->sources));
	json_array_foreach((json_t *)array, i, v)
	{
		struct nm_source s = {0};
		const char *const text = json_string_value(v);
		if (text && !strncmp(text, cap, sizeof(cap) - 1) && text[sizeof(cap) - 1]) {
			s.match = NM_MATCH_CAP;
			s.cap = arena_text(a, text + sizeof(cap) - 1);
		} else if (!text || !range_parse(text, &s.match, &s.first, &s.last)) {
			r->skipped[NM_SKIP_RULE]++;
			continue;
		}
		rule->sources[rule->n_sources++] = s;
	}
}

static void destinations_read(struct reader *r, const json_t *array, struct nm_rule *rule)
{
	const json_t *v;
	size_t i;

	rule->destinations = arena_alloc(
		&r->rules->arena, (json_array_size(array) + 1) * sizeof(*rule->destinations));
	json_array_foreach((json_t *)array, i, v)
	{
		struct json_object o = json_open(v);
		const char *const ip = json_text(&o, "IP");
		struct json_object ports = json_open(json_object_of(&o, "Ports"));
		struct nm_destination d = {
			.port_first = (uint16_t)json_number(&ports, "First", 0, 65535),
			.port_last = (uint16_t)json_number(&ports, "Last", 0, 65535),
		};
		if (o.bad || ports.bad || json_any(&o, "Bits") || !ip ||
			d.port_first > d.port_last ||
			!range_parse(ip, &d.match, &d.first, &d.last)) {
			r->skipped[NM_SKIP_RULE]++;
			continue;
		}
		rule->destinations[rule->n_destinations++] = d;
	}
}

// Caps (a list, old) and CapMap of a grant.
static void grant_caps_read(struct reader *r, struct json_object *o, struct nm_grant *grant)
{
	struct arena *const a = &r->rules->arena;
	const json_t *const old = json_array_of(o, "Caps"), *v;
	uint32_t n;
	size_t i;
	struct nm_cap *const map = nm_caps_parse(a, json_object_of(o, "CapMap"), &n);

	grant->caps = arena_alloc(a, (n + json_array_size(old) + 1) * sizeof(*grant->caps));
	memcpy(grant->caps, map, n * sizeof(*map));
	grant->n_caps = n;
	json_array_foreach((json_t *)old, i, v) if (json_string_length(v))
		grant->caps[grant->n_caps++]
			.name = arena_text(a, json_string_value(v));
}

static void grants_read(struct reader *r, const json_t *array, struct nm_rule *rule)
{
	struct arena *const a = &r->rules->arena;
	const json_t *v, *text;
	size_t i, d;

	rule->grants = arena_alloc(a, (json_array_size(array) + 1) * sizeof(*rule->grants));
	json_array_foreach((json_t *)array, i, v)
	{
		struct json_object o = json_open(v);
		const json_t *const list = json_array_of(&o, "Dsts");
		struct nm_grant grant = {
			.destinations = arena_alloc(
				a, (json_array_size(list) + 1) * sizeof(*grant.destinations))};
		json_array_foreach((json_t *)list, d, text)
		{
			const char *const s = json_string_value(text);
			if (s && !ip_prefix_parse(s, &grant.destinations[grant.n_destinations]))
				grant.n_destinations++;
			else
				r->skipped[NM_SKIP_RULE]++;
		}
		grant_caps_read(r, &o, &grant);
		if (o.bad)
			r->skipped[NM_SKIP_RULE]++;
		else
			rule->grants[rule->n_grants++] = grant;
	}
}

// An empty list means the usual protocols; one that has only bad numbers must not.
static bool protocols_read(struct reader *r, const json_t *array, struct nm_rule *rule)
{
	const json_t *v;
	size_t i;

	rule->protocols = arena_alloc(&r->rules->arena, json_array_size(array) + 1);
	json_array_foreach((json_t *)array, i, v)
	{
		const json_int_t n = json_is_integer(v) ? json_integer_value(v) : -1;
		if (n >= 0 && n <= 255)
			rule->protocols[rule->n_protocols++] = (uint8_t)n;
		else
			r->skipped[NM_SKIP_RULE]++;
	}
	return rule->n_protocols || !json_array_size(array);
}

static int rule_read(void *arg, struct slice value)
{
	struct reader *r = arg;
	struct nm_rules *const rules = r->rules;
	json_t *const v = json_piece(value);
	struct nm_rule rule = {.number = ++r->number};

	if (!v)
		return -EBADMSG;
	struct json_object o = json_open(v);
	const json_t *const sources = json_array_of(&o, "SrcIPs"),
			    *const grants = json_array_of(&o, "CapGrant"),
			    *const ports = json_array_of(&o, "DstPorts"),
			    *const protocols = json_array_of(&o, "IPProto");
	if (o.bad || json_any(&o, "SrcBits")) {
		r->skipped[NM_SKIP_RULE]++;
		goto out;
	}
	sources_read(r, sources, &rule);
	destinations_read(r, ports, &rule);
	grants_read(r, grants, &rule);
	if (!protocols_read(r, protocols, &rule) || !rule.n_sources)
		goto out;
	if (rules->n_rules == r->room) {
		const struct nm_rule *const old = rules->rules;
		r->room = r->room ? r->room * 2 : 16;
		rules->rules = arena_alloc(&rules->arena, r->room * sizeof(rule));
		if (old)
			memcpy(rules->rules, old, rules->n_rules * sizeof(rule));
	}
	rules->rules[rules->n_rules++] = rule;
out:
	json_decref(v);
	return 0;
}

int nm_rules_parse(struct nm_rules *rules, struct slice array, uint64_t *skipped)
{
	struct reader r = {.rules = rules, .skipped = skipped};

	return json_scan_elements(array, rule_read, &r);
}

void nm_rules_fini(struct nm_rules *r)
{
	arena_fini(&r->arena);
	free(r->name);
	free(r->text);
	*r = (struct nm_rules){0};
}
