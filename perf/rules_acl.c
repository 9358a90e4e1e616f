// The same rules in rte_acl: a line for each source prefix, destination prefix, range of ports and
// protocol.
#include <rte_acl.h>
#include <rte_common.h>
#include <stdlib.h>

#include "dataplane/table/range_map.h"
#include "perf/rules.h"

enum {
	LINES_MAX = 200000,
	WORDS_MAX = 4,
	FIELDS_MAX = 1 + 2 * WORDS_MAX + 2,
	BURST = 64,
	QUERIES_MAX = 4096,
	PREFIXES_MAX = 256,
};

RTE_ACL_RULE_DEF(acl_line, FIELDS_MAX);

struct acl_input {
	uint8_t proto, pad[3];
	uint8_t addresses[8 * WORDS_MAX];
	rte_be16_t port, none;
};

struct acl {
	struct rte_acl_ctx *ctx;
	unsigned words, fields;
	uint8_t family;
	size_t lines;
	struct acl_input input[QUERIES_MAX];
	const uint8_t *at[QUERIES_MAX];
};

struct cut {
	wide_addr base;
	unsigned len;
};

static unsigned cut_range(const struct ip_range *r, struct cut *out)
{
	wide_addr first = wide_of(r->first.family, r->first.bytes);
	wide_addr last = wide_of(r->first.family, r->last.bytes);
	unsigned bits = ip_addr_bits(&r->first), n = 0;
	for (;;) {
		unsigned free = 0;
		for (; free < bits; free++) {
			wide_addr size = (wide_addr)1 << free, end = first + size + (size - 1);
			if ((first & size) || end > last || end < first)
				break;
		}
		out[n++] = (struct cut){first, bits - free};
		wide_addr end = free == 128 ? last : first + (((wide_addr)1 << free) - 1);
		if (end >= last)
			return n;
		first = end + 1;
	}
}

static void put_address(
	struct acl_line *l, unsigned field, const struct cut *c, const struct acl *a)
{
	for (unsigned w = 0; w < a->words; w++) {
		unsigned len = c->len > 32 * w ? RTE_MIN(c->len - 32 * w, 32u) : 0;
		l->field[field + w].value.u32 = (uint32_t)(c->base >> 32 * (a->words - 1 - w));
		l->field[field + w].mask_range.u32 = len;
	}
}

static bool add_lines(struct acl *a, const struct rule_spec *r, const struct cut *source,
	const struct rule_target *t)
{
	static struct cut cuts[PREFIXES_MAX];
	unsigned n = cut_range(&t->range, cuts), ports = 1 + 2 * a->words;
	for (unsigned i = 0; i < n; i++) {
		for (unsigned proto = 0; proto < 256; proto++) {
			struct acl_line l = {.data = {1, 1, 1}};
			if (!(r->protocols[proto / 64] >> proto % 64 & 1))
				continue;
			l.field[0].value.u8 = (uint8_t)proto;
			l.field[0].mask_range.u8 = 0xff;
			put_address(&l, 1, source, a);
			put_address(&l, 1 + a->words, &cuts[i], a);
			l.field[ports].value.u16 = t->port_first;
			l.field[ports].mask_range.u16 = t->port_last;
			l.field[ports + 1].mask_range.u16 = UINT16_MAX;
			if (++a->lines > LINES_MAX ||
				rte_acl_add_rules(a->ctx, (struct rte_acl_rule *)&l, 1) != 0)
				return false;
		}
	}
	return true;
}

static bool add_rule(struct acl *a, const struct rule_spec *r)
{
	static struct cut cuts[PREFIXES_MAX];
	for (uint32_t i = 0; i < r->n_sources; i++) {
		if (r->sources[i].first.family != a->family)
			continue;
		unsigned n = cut_range(&r->sources[i], cuts);
		for (unsigned c = 0; c < n; c++) {
			for (uint32_t t = 0; t < r->n_targets; t++) {
				if (r->targets[t].range.first.family == a->family &&
					!add_lines(a, r, &cuts[c], &r->targets[t]))
					return false;
			}
		}
	}
	return true;
}

static bool build(struct acl *a)
{
	struct rte_acl_config c = {.num_categories = 1, .num_fields = a->fields};
	unsigned words = 2 * a->words, n = 0;
	c.defs[n++] = (struct rte_acl_field_def){RTE_ACL_FIELD_TYPE_BITMASK, 1, 0, 0, 0};
	for (; n <= words; n++)
		c.defs[n] = (struct rte_acl_field_def){
			RTE_ACL_FIELD_TYPE_MASK, 4, (uint8_t)n, (uint8_t)n, 4 * n};
	for (unsigned half = 0; half < 2; half++, n++)
		c.defs[n] = (struct rte_acl_field_def){RTE_ACL_FIELD_TYPE_RANGE, 2, (uint8_t)n,
			(uint8_t)(words + 1), offsetof(struct acl_input, port) + 2 * half};
	return rte_acl_build(a->ctx, &c) == 0;
}

struct acl *acl_create(const struct rules_spec *spec, uint8_t family, size_t *lines)
{
	static unsigned serial;
	char name[32];
	struct acl *a = mem_alloc(sizeof(*a));
	bool made = true;
	a->family = family;
	a->words = family == IP_V4 ? 1 : 4;
	a->fields = 1 + 2 * a->words + 2;
	snprintf(name, sizeof(name), "acl%u", serial++);
	a->ctx = rte_acl_create(&(struct rte_acl_param){
		name, SOCKET_ID_ANY, RTE_ACL_RULE_SZ(a->fields), LINES_MAX});
	for (uint32_t i = 0; i < spec->n_rules && a->ctx && made; i++)
		made = add_rule(a, &spec->rules[i]);
	*lines = a->lines;
	if (a->ctx && made && build(a))
		return a;
	acl_destroy(a);
	return NULL;
}

void acl_destroy(struct acl *a)
{
	if (!a)
		return;
	rte_acl_free(a->ctx);
	free(a);
}

void acl_prepare(struct acl *a, const struct rule_query *queries, unsigned n)
{
	unsigned len = 4 * a->words;
	for (unsigned i = 0; i < n; i++) {
		struct acl_input *in = &a->input[i];
		*in = (struct acl_input){
			.proto = queries[i].proto, .port = rte_cpu_to_be_16(queries[i].port)};
		memcpy(in->addresses, queries[i].src, len);
		memcpy(in->addresses + len, queries[i].dst, len);
		a->at[i] = (const uint8_t *)in;
	}
}

void acl_classify(struct acl *a, uint32_t *allowed, unsigned n)
{
	for (unsigned i = 0; i < n; i += BURST) {
		if (rte_acl_classify(
			    a->ctx, a->at + i, allowed + i, RTE_MIN(n - i, (unsigned)BURST), 1))
			abort();
	}
}
