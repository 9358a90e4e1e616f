// Rules are turned into lines: what has the same sources, the same protocols and the same set of
// ports, with any number of destinations. A packet is let in when a line has its source, its
// destination, its protocol and its port. Each of the four is swept once: from bound to bound, the
// set of lines changes by those that begin or end there.
#include <errno.h>
#include <rte_common.h>
#include <stdlib.h>

#include "dataplane/table/rules_parts.h"

enum {
	RADIX = 256,
	LINE_PORTS_MAX = 4096, // ranges of ports of one line
	NONE = UINT32_MAX,
};

// From here on, number is in once more (delta 1) or once less (-1).
struct event {
	wide_addr at;
	uint32_t number;
	int32_t delta;
};

struct events {
	struct event *list;
	uint32_t n, room;
	wide_addr last; // nothing lies behind it
};

struct bounds {
	struct range_bound *list;
	uint32_t n, room;
};

struct port_range {
	uint16_t first, last;
};

// What makes a line; ports follow in the interned bytes.
struct line_key {
	uint64_t protocols[4];
	uint64_t ports_only; // no padding: the key is compared as bytes
	uint32_t list;	     // of sources
	uint32_t n_ports;
};

struct side_events {
	struct events source, target, local;
};

struct builder {
	struct rules *rules;
	struct interner lists, lines;
	struct side_events v4, v6;
	struct events port, proto;
	struct number_set *every, *all_ports;
	uint32_t *line_of_list; // first line of each list of sources, or NONE
	uint32_t *next_line;	// ... with the same sources
	uint32_t ranges;
	uint8_t *key; // room for the longest
	const char *why;
};

static int refuse(struct builder *b, const char *why)
{
	b->why = why;
	return -E2BIG;
}

static int too_much_memory(struct builder *b)
{
	return refuse(b, "it would take too much memory");
}

static void *more_room(void *list, uint32_t *room, size_t size)
{
	*room = *room ? 2 * *room : 64;
	void *grown = realloc(list, *room * size);
	if (!grown)
		abort(); // as mem_alloc
	return grown;
}

static void add_event(struct events *e, wide_addr at, uint32_t number, int32_t delta)
{
	if (e->n == e->room)
		e->list = more_room(e->list, &e->room, sizeof(*e->list));
	e->list[e->n++] = (struct event){at, number, delta};
}

static void add_range(struct events *e, wide_addr first, wide_addr last, uint32_t number)
{
	add_event(e, first, number, 1);
	if (last != e->last)
		add_event(e, last + 1, number, -1);
}

static struct side_events *side_of(struct builder *b, uint8_t family)
{
	return family == IP_V4 ? &b->v4 : &b->v6;
}

static int add_ip_range(
	struct builder *b, struct events *e, const struct ip_range *r, uint32_t number)
{
	if (b->ranges == RULES_RANGES_MAX)
		return refuse(b, "it names too many ranges of addresses");
	b->ranges++;
	add_range(e, wide_of(r->first.family, r->first.bytes),
		wide_of(r->first.family, r->last.bytes), number);
	return 0;
}

// -- from rules to lines --------------------------------------------------------------------------

// The number of a list of sources; equal lists are one. *any: it has an address at all.
static int source_list(struct builder *b, const struct rule_spec *r, uint32_t *list, bool *any)
{
	*any = false;
	for (uint32_t i = 0; i < r->n_sources && !*any; i++)
		*any = ip_range_is_sound(&r->sources[i]);
	if (!*any)
		return 0;
	if (r->n_sources > RULES_RANGES_MAX)
		return refuse(b, "it names too many ranges of addresses");
	int new = interner_add(
		&b->lists, r->sources, (uint32_t)(r->n_sources * sizeof(*r->sources)), list);
	if (new < 0)
		return too_much_memory(b);
	for (uint32_t i = 0; i < r->n_sources && new; i++) {
		const struct ip_range *range = &r->sources[i];
		if (ip_range_is_sound(range) &&
			add_ip_range(b, &side_of(b, range->first.family)->source, range, *list) < 0)
			return -E2BIG;
	}
	if (new)
		b->line_of_list[*list] = NONE;
	return 0;
}

static int compare_ranges(const struct ip_range *a, const struct ip_range *b)
{
	if (a->first.family != b->first.family)
		return a->first.family < b->first.family ? -1 : 1;
	int first = ip_addr_compare(&a->first, &b->first);
	return first ? first : ip_addr_compare(&a->last, &b->last);
}

static int compare_targets(const void *a, const void *b)
{
	const struct rule_target *x = *(const struct rule_target *const *)a;
	const struct rule_target *y = *(const struct rule_target *const *)b;
	int range = compare_ranges(&x->range, &y->range);
	if (range)
		return range;
	if (x->port_first != y->port_first)
		return x->port_first < y->port_first ? -1 : 1;
	return (x->port_last > y->port_last) - (x->port_last < y->port_last);
}

// A new line, known to the sources and the ports.
static int open_line(struct builder *b, const struct line_key *key, const struct port_range *ports,
	uint32_t line)
{
	if (line == NUMBER_SETS_MAX)
		return refuse(b, "it has too many rules");
	b->next_line[line] = b->line_of_list[key->list];
	b->line_of_list[key->list] = line;
	if (!key->ports_only)
		number_set_put(b->every, line, true);
	for (uint32_t i = 0; i < key->n_ports; i++) {
		add_range(&b->port, ports[i].first, ports[i].last, line);
		if (ports[i].first == 0 && ports[i].last == UINT16_MAX)
			number_set_put(b->all_ports, line, true);
	}
	for (unsigned p = 0; p < 256; p++) {
		if (key->protocols[p / 64] >> p % 64 & 1)
			add_range(&b->proto, p, p, line);
	}
	return 0;
}

// n targets, all of one range of addresses.
static int add_destination(struct builder *b, const struct rule_spec *r, uint32_t list,
	const struct rule_target *const *target, uint32_t n)
{
	struct line_key key = {.ports_only = r->ports_only, .list = list, .n_ports = n};
	const struct ip_range *range = &target[0]->range;
	struct port_range *ports = (struct port_range *)(b->key + sizeof(key));
	uint32_t line;
	if (n > LINE_PORTS_MAX)
		return refuse(b, "it names too many ports of one destination");
	memcpy(key.protocols, r->protocols, sizeof(key.protocols));
	memcpy(b->key, &key, sizeof(key));
	for (uint32_t i = 0; i < n; i++)
		ports[i] = (struct port_range){target[i]->port_first, target[i]->port_last};
	int new = interner_add(
		&b->lines, b->key, (uint32_t)(sizeof(key) + n * sizeof(*ports)), &line);
	if (new < 0)
		return too_much_memory(b);
	if (new &&open_line(b, &key, ports, line) < 0)
		return -E2BIG;
	return add_ip_range(b, &side_of(b, range->first.family)->target, range, line);
}

static int add_targets(struct builder *b, const struct rule_spec *r, uint32_t list)
{
	const struct rule_target **sorted = mem_alloc((r->n_targets + 1) * sizeof(*sorted));
	uint32_t n = 0;
	int result = 0;
	for (uint32_t i = 0; i < r->n_targets; i++) {
		const struct rule_target *t = &r->targets[i];
		if (ip_range_is_sound(&t->range) && t->port_first <= t->port_last)
			sorted[n++] = t;
	}
	qsort(sorted, n, sizeof(const struct rule_target *), compare_targets);
	for (uint32_t i = 0, same; i < n && result == 0; i += same) {
		for (same = 1; i + same < n; same++) {
			if (compare_ranges(&sorted[i]->range, &sorted[i + same]->range) != 0)
				break;
		}
		result = add_destination(b, r, list, sorted + i, same);
	}
	free(sorted);
	return result;
}

static int add_rule(struct builder *b, const struct rule_spec *r)
{
	uint32_t list = NONE;
	bool any;
	if (source_list(b, r, &list, &any) < 0)
		return -E2BIG;
	return any ? add_targets(b, r, list) : 0;
}

static int add_rules(struct builder *b, const struct rules_spec *spec)
{
	bool *covered = rules_covered(spec);
	int result = 0;
	for (uint32_t i = 0; i < spec->n_rules && result == 0 && !spec->shields_up; i++) {
		if (!covered[i])
			result = add_rule(b, &spec->rules[i]);
	}
	free(covered);
	return result;
}

static int add_local(struct builder *b, const struct rules_spec *spec)
{
	for (uint32_t i = 0; i < spec->n_local; i++) {
		const struct ip_range *r = &spec->local[i];
		if (ip_range_is_sound(r) &&
			add_ip_range(b, &side_of(b, r->first.family)->local, r, 0) < 0)
			return -E2BIG;
	}
	return 0;
}

// -- sweeps ---------------------------------------------------------------------------------------

static unsigned digit_of(wide_addr at, unsigned byte)
{
	return (unsigned)(at >> 8 * byte) & (RADIX - 1);
}

// By place, in time that grows with their number alone; what is equal in all of them costs a look.
static void sort_events(struct events *e)
{
	struct event *from = e->list, *to = mem_alloc((e->n + 1) * sizeof(*to));
	for (unsigned byte = 0; byte < sizeof(wide_addr); byte++) {
		uint32_t start[RADIX + 1] = {0};
		for (uint32_t i = 0; i < e->n; i++)
			start[digit_of(from[i].at, byte) + 1]++;
		if (e->n == 0 || start[digit_of(from[0].at, byte) + 1] == e->n)
			continue;
		for (unsigned d = 0; d < RADIX; d++)
			start[d + 1] += start[d];
		for (uint32_t i = 0; i < e->n; i++)
			to[start[digit_of(from[i].at, byte)]++] = from[i];
		struct event *swapped = from;
		from = to;
		to = swapped;
	}
	e->list = from;
	e->room = e->n;
	free(to);
}

// What a sweep's numbers are: lines, or lists of sources with their lines.
struct sweep {
	struct builder *b;
	const struct events *events;
	bool lists;
	uint32_t numbers; // how many there are
	struct number_set set;
	int32_t *depth; // by number: ranges that hold the place
};

static void toggle(struct sweep *s, uint32_t number, bool in)
{
	if (!s->lists) {
		number_set_put(&s->set, number, in);
		return;
	}
	uint32_t line = s->b->line_of_list[number];
	for (; line != NONE; line = s->b->next_line[line])
		number_set_put(&s->set, line, in);
}

static void pass(struct sweep *s, const struct event *e)
{
	int32_t before = s->depth[e->number], now = s->depth[e->number] += e->delta;
	if ((before == 0) != (now == 0))
		toggle(s, e->number, now > 0);
}

static int run_sweep(struct sweep *s, struct bounds *out)
{
	const struct events *e = s->events;
	uint32_t last = NUMBER_SETS_EMPTY;
	for (uint32_t i = 0, id; i < e->n;) {
		wide_addr at = e->list[i].at;
		for (; i < e->n && e->list[i].at == at; i++)
			pass(s, &e->list[i]);
		if (number_sets_add(&s->b->rules->sets, &s->set, &id) < 0 || id > RANGE_VALUE_MAX)
			return too_much_memory(s->b);
		if (id == last)
			continue;
		if (out->n == out->room)
			out->list = more_room(out->list, &out->room, sizeof(*out->list));
		out->list[out->n++] = (struct range_bound){at, last = id};
	}
	return 0;
}

// Bounds at which the set of lines changes.
static int sweep(struct builder *b, struct events *events, bool lists, struct bounds *out)
{
	struct sweep *s = mem_alloc(sizeof(*s));
	s->b = b;
	s->events = events;
	s->lists = lists;
	s->numbers = RTE_MAX(lists ? b->lists.n : b->lines.n, 1u); // 1: local
	s->depth = mem_alloc(s->numbers * sizeof(*s->depth));
	sort_events(events);
	int r = run_sweep(s, out);
	free(s->depth);
	free(s);
	return r;
}

static int sweep_to_map(struct builder *b, struct events *events, bool lists, struct range_map *map)
{
	struct bounds bounds = {0};
	int r = sweep(b, events, lists, &bounds);
	if (r == 0 && range_map_build(map, bounds.list, bounds.n, RULES_MEMORY_MAX) < 0)
		r = too_much_memory(b);
	b->rules->memory += map->memory;
	free(bounds.list);
	return r;
}

static int sweep_to_table(struct builder *b, struct events *events, uint32_t *table, uint32_t n)
{
	struct bounds bounds = {0};
	int r = sweep(b, events, false, &bounds);
	for (uint32_t i = 0; i < bounds.n; i++) {
		wide_addr end = i + 1 < bounds.n ? bounds.list[i + 1].bound : n;
		for (uint32_t at = (uint32_t)bounds.list[i].bound; at < end; at++)
			table[at] = bounds.list[i].value;
	}
	free(bounds.list);
	return r;
}

static int build_side(struct builder *b, struct side_events *e, struct rules_side *side)
{
	int r = sweep_to_map(b, &e->source, true, &side->source);
	if (r == 0)
		r = sweep_to_map(b, &e->target, false, &side->target);
	return r ? r : sweep_to_map(b, &e->local, false, &side->local);
}

static int build(struct builder *b, const struct rules_spec *spec)
{
	struct rules *r = b->rules;
	int result = add_rules(b, spec);
	if (result == 0)
		result = add_local(b, spec);
	if (result == 0)
		result = build_side(b, &b->v4, &r->v4);
	if (result == 0)
		result = build_side(b, &b->v6, &r->v6);
	if (result == 0)
		result = sweep_to_table(b, &b->port, r->port, UINT16_MAX + 1);
	if (result == 0)
		result = sweep_to_table(b, &b->proto, r->proto, RTE_DIM(r->proto));
	if (result == 0 && (number_sets_add(&r->sets, b->every, &r->every) < 0 ||
				   number_sets_add(&r->sets, b->all_ports, &r->all_ports) < 0))
		result = too_much_memory(b);
	r->memory += number_sets_built(&r->sets);
	if (result == 0 && r->memory > RULES_MEMORY_MAX)
		result = too_much_memory(b);
	return result;
}

// -- the whole ------------------------------------------------------------------------------------

static void side_init(struct side_events *e, uint8_t family)
{
	e->source.last = e->target.last = e->local.last = wide_last(family);
}

static void side_fini(struct side_events *e)
{
	free(e->source.list);
	free(e->target.list);
	free(e->local.list);
}

static void builder_fini(struct builder *b)
{
	interner_fini(&b->lists);
	interner_fini(&b->lines);
	side_fini(&b->v4);
	side_fini(&b->v6);
	free(b->port.list);
	free(b->proto.list);
	free(b->every);
	free(b->all_ports);
	free(b->line_of_list);
	free(b->next_line);
	free(b->key);
}

static void builder_init(struct builder *b, struct rules *r, uint32_t n_rules)
{
	*b = (struct builder){
		.rules = r,
		.port.last = UINT16_MAX,
		.proto.last = UINT8_MAX,
		.every = mem_alloc(sizeof(struct number_set)),
		.all_ports = mem_alloc(sizeof(struct number_set)),
		.line_of_list = mem_alloc((n_rules + (size_t)1) * sizeof(uint32_t)),
		.next_line = mem_alloc(NUMBER_SETS_MAX * sizeof(uint32_t)),
		.key = mem_alloc(
			sizeof(struct line_key) + LINE_PORTS_MAX * sizeof(struct port_range)),
	};
	interner_init(&b->lists, RULES_MEMORY_MAX);
	interner_init(&b->lines, RULES_MEMORY_MAX);
	side_init(&b->v4, IP_V4);
	side_init(&b->v6, IP_V6);
}

struct rules *rules_try_create(const struct rules_spec *spec, const char **why)
{
	struct rules *r = mem_alloc(sizeof(*r));
	struct builder b;
	r->shields_up = spec->shields_up;
	r->memory = sizeof(*r) + (UINT16_MAX + 1) * sizeof(*r->port);
	r->port = mem_alloc((UINT16_MAX + 1) * sizeof(*r->port));
	number_sets_init(&r->sets, RULES_MEMORY_MAX);
	builder_init(&b, r, spec->n_rules);
	int result = build(&b, spec);
	if (result < 0) {
		*why = b.why;
		rules_destroy(r);
		r = NULL;
	}
	builder_fini(&b);
	return r;
}
