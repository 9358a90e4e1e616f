// The packet filter's rules beside rte_acl: cycles of a lookup by how many rules there are and what
// they look like, packets that pass and packets that do not, and what it takes to build them.
// Cycles are those of the TSC, medians of slices in which all take turns. usage: perf_rules
// SECONDS_PER_ROW [JSON_FILE]
#include "perf/median.h"
#include "perf/rules.h"

#include <jansson.h>
#include <netinet/in.h>
#include <rte_byteorder.h>
#include <rte_common.h>
#include <rte_cycles.h>
#include <rte_debug.h>
#include <rte_eal.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	QUERIES = 1024,
	SLICES_MAX = 2001,
	SLICES_MIN = 11,
	RULES_MOST = 10000,
	FEW = 10,
	SOURCES = 20, // of a rule of groups
	GROUPS = 100,
};

enum shape {
	HOSTS,	 // each from one host to another, to one port
	GROUPED, // from one of a hundred groups of hosts to networks, two ranges of ports
	RANGES,	 // ranges of all sizes that overlap, of sources, destinations and ports
	MIXED,	 // every other one from anybody, the rest as HOSTS
	SHAPES,
};
static const char *const shape_names[] = {"hosts", "groups", "ranges", "any"};

struct policy {
	struct rule_spec rule[RULES_MOST];
	struct ip_range source[RULES_MOST][SOURCES];
	struct rule_target target[RULES_MOST][2];
	struct rules_spec spec;
};

struct packets {
	uint8_t src[QUERIES][16], dst[QUERIES][16];
	struct rule_query query[QUERIES];
};

static uint64_t random_state = 88172645463325252u;

static uint64_t next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

// A host of the tailnet's range or, net: of a LAN; number tells which.
static struct ip_addr host(uint8_t family, bool lan, uint32_t number)
{
	static const uint8_t ula[] = {0xfd, 0x7a, 0x11, 0x5c, 0xa1, 0xe0};
	struct ip_addr a = {.family = family};
	uint32_t low = (lan ? 0x0a000000u : 0x64400000u) + number % 0x400000;
	low = rte_cpu_to_be_32(low);
	if (family == IP_V6) {
		memcpy(a.bytes, ula, sizeof(ula));
		a.bytes[7] = lan;
	}
	memcpy(a.bytes + (family == IP_V4 ? 0 : 12), &low, sizeof(low));
	return a;
}

static struct ip_range one(struct ip_addr a)
{
	return (struct ip_range){a, a};
}

static struct ip_range span(uint8_t family, bool lan)
{
	uint32_t a = (uint32_t)(next_random() % 0x400000), b = (uint32_t)(next_random() % 0x400000);
	return (struct ip_range){
		host(family, lan, RTE_MIN(a, b)), host(family, lan, RTE_MAX(a, b))};
}

static struct ip_range network(uint8_t family, uint32_t number)
{
	return (struct ip_range){
		host(family, true, number << 8), host(family, true, number << 8 | 0xff)};
}

// Which host a number is: spread, the same in every run.
static uint32_t spread(uint32_t i)
{
	return i * 2654435761u >> 10;
}

static void fill_rule(struct policy *p, enum shape shape, uint8_t family, uint32_t i)
{
	struct rule_spec *r = &p->rule[i];
	struct ip_range *s = p->source[i];
	struct rule_target *t = p->target[i];
	uint16_t port = (uint16_t)(1024 + i % 50000), low = (uint16_t)next_random(),
		 high = (uint16_t)next_random();
	*r = (struct rule_spec){s, t, 1, 1};
	rule_protocol(r, IPPROTO_TCP);
	switch (shape) {
	case GROUPED:
		r->n_sources = SOURCES;
		r->n_targets = 2;
		for (uint32_t j = 0; j < SOURCES; j++)
			s[j] = one(host(family, false, spread(i % GROUPS * SOURCES + j)));
		t[0] = (struct rule_target){network(family, i), 443, 443};
		t[1] = (struct rule_target){network(family, i), 8000, 8999};
		rule_protocol(r, IPPROTO_UDP);
		break;
	case RANGES:
		s[0] = span(family, false);
		t[0] = (struct rule_target){
			span(family, true), RTE_MIN(low, high), RTE_MAX(low, high)};
		break;
	default:
		s[0] = shape == MIXED && i % 2 ? ip_range_any((enum ip_family)family)
					       : one(host(family, false, spread(i)));
		t[0] = (struct rule_target){one(host(family, true, spread(i + 77777))), port, port};
	}
}

static void fill_policy(struct policy *p, enum shape shape, uint8_t family, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		fill_rule(p, shape, family, i);
	p->spec = (struct rules_spec){.rules = p->rule, .n_rules = n};
}

// A packet that a rule lets in, or one from a host that a rule names to the destination of another
// on a port that none has; with ranges, anything goes.
// few: of ten of the rules, so that traffic is the same however many rules there are.
static void fill_packets(struct packets *out, const struct policy *p, uint8_t family, bool few,
	bool hits, const struct rules *r)
{
	uint32_t n = p->spec.n_rules, step = few ? n / FEW : 1;
	for (unsigned i = 0; i < QUERIES; i++) {
		struct rule_query *q = &out->query[i];
		do {
			const struct rule_spec *from = &p->rule[next_random() % (n / step) * step];
			const struct rule_spec *to =
				hits ? from : &p->rule[next_random() % (n / step) * step];
			const struct ip_range *s = &from->sources[next_random() % from->n_sources];
			const struct rule_target *t = &to->targets[next_random() % to->n_targets];
			memcpy(out->src[i], next_random() % 2 ? s->first.bytes : s->last.bytes, 16);
			memcpy(out->dst[i],
				next_random() % 2 ? t->range.first.bytes : t->range.last.bytes, 16);
			*q = (struct rule_query){
				out->src[i], out->dst[i], t->port_first, family, IPPROTO_TCP};
			if (!hits)
				q->port = (uint16_t)next_random();
		} while (rules_allow(r, q, RULE_PORT) != hits);
	}
}

struct row {
	// Cycles per lookup: of packets of all rules, of few of them; of refused, of allowed ones.
	double own[2][2], acl[2][2];
	double own_build_ms, acl_build_ms;
	size_t own_bytes, acl_lines;
	bool acl_built;
};

static double own_slice(const struct rules *r, const struct packets *p, bool want)
{
	unsigned allowed = 0;
	uint64_t start = rte_rdtsc();
	for (unsigned i = 0; i < QUERIES; i++)
		allowed += rules_allow(r, &p->query[i], RULE_PORT);
	double cycles = (double)(rte_rdtsc() - start) / QUERIES;
	if (allowed != (want ? QUERIES : 0))
		rte_panic("%u of %u packets allowed\n", allowed, QUERIES);
	return cycles;
}

static double acl_slice(struct acl *a, bool want)
{
	static uint32_t allowed[QUERIES];
	uint64_t start = rte_rdtsc();
	acl_classify(a, allowed, QUERIES);
	double cycles = (double)(rte_rdtsc() - start) / QUERIES;
	for (unsigned i = 0; i < QUERIES; i++) {
		if ((allowed[i] != 0) != want)
			rte_panic("rte_acl is of another mind about packet %u\n", i);
	}
	return cycles;
}

static void measure(struct row *row, const struct rules *r, struct acl *a,
	const struct packets *packets, bool few, bool hits, double seconds)
{
	static double own[SLICES_MAX], acl[SLICES_MAX];
	uint64_t end = rte_rdtsc() + (uint64_t)(seconds * (double)rte_get_tsc_hz());
	unsigned n = 0;
	if (a)
		acl_prepare(a, packets->query, QUERIES);
	own_slice(r, packets, hits);
	do {
		own[n] = own_slice(r, packets, hits);
		acl[n] = a ? acl_slice(a, hits) : 0;
		n++;
	} while (n < SLICES_MAX && (n < SLICES_MIN || rte_rdtsc() < end));
	row->own[few][hits] = median(own, n);
	row->acl[few][hits] = median(acl, n);
}

static double ms_since(uint64_t start)
{
	return (double)(rte_rdtsc() - start) * 1e3 / (double)rte_get_tsc_hz();
}

static bool measure_row(struct row *row, struct policy *p, uint8_t family, double seconds)
{
	static struct packets packets;
	const char *why = "";
	uint64_t start = rte_rdtsc();
	struct rules *r = rules_try_create(&p->spec, &why);
	row->own_build_ms = ms_since(start);
	if (!r) {
		printf("refused: %s\n", why);
		return false;
	}
	row->own_bytes = rules_memory(r);
	start = rte_rdtsc();
	struct acl *a = acl_create(&p->spec, family, &row->acl_lines);
	row->acl_build_ms = ms_since(start);
	row->acl_built = a != NULL;
	for (unsigned kind = 0; kind < 4; kind++) {
		bool few = kind & 2, hits = kind & 1;
		fill_packets(&packets, p, family, few, hits, r);
		measure(row, r, a, &packets, few, hits, seconds / 4);
	}
	acl_destroy(a);
	rules_destroy(r);
	return true;
}

static void print_row(const char *shape, uint8_t family, uint32_t n, const struct row *r)
{
	printf("%-7s %2u %6u %8.1f %8.1f %8.1f %8.1f %8.2f %8zu  ", shape, family, n, r->own[1][1],
		r->own[1][0], r->own[0][1], r->own[0][0], r->own_build_ms, r->own_bytes / 1024);
	if (r->acl_built)
		printf("%8.1f %8.1f %8.1f %8.1f %9.1f %7zu\n", r->acl[1][1], r->acl[1][0],
			r->acl[0][1], r->acl[0][0], r->acl_build_ms, r->acl_lines);
	else
		printf("not built: %zu lines, %.0f ms\n", r->acl_lines, r->acl_build_ms);
	fflush(stdout);
}

static void put_cycles(json_t *o, const double cycles[2][2])
{
	static const char *const names[2][2] = {{"cycles_per_refused_all", "cycles_per_packet_all"},
		{"cycles_per_refused", "cycles_per_packet"}};
	for (unsigned i = 0; i < 4; i++)
		json_object_set_new(o, names[i / 2][i % 2], json_real(cycles[i / 2][i % 2]));
}

static json_t *json_row(const char *shape, uint8_t family, uint32_t n, const struct row *r)
{
	json_t *o = json_pack("{s:s, s:s, s:i, s:i, s:f, s:I}", "stage", "rules", "shape", shape,
		"family", (int)family, "rules", (int)n, "build_ms", r->own_build_ms, "bytes",
		(json_int_t)r->own_bytes);
	json_t *acl = json_pack(
		"{s:I, s:f}", "lines", (json_int_t)r->acl_lines, "build_ms", r->acl_build_ms);
	put_cycles(o, r->own);
	if (r->acl_built)
		put_cycles(acl, r->acl);
	json_object_set_new(o, "rte_acl", acl);
	return o;
}

static bool run(double seconds, json_t *rows)
{
	static const uint8_t families[] = {IP_V4, IP_V6};
	static const uint32_t counts[] = {10, 100, 1000, RULES_MOST};
	struct policy *p = mem_alloc(sizeof(*p));
	bool ok = true;
	for (unsigned shape = 0; shape < SHAPES; shape++) {
		for (unsigned f = 0; f < RTE_DIM(families); f++) {
			for (unsigned c = 0; c < RTE_DIM(counts); c++) {
				struct row row;
				fill_policy(p, (enum shape)shape, families[f], counts[c]);
				ok &= measure_row(&row, p, families[f], seconds);
				print_row(shape_names[shape], families[f], counts[c], &row);
				json_array_append_new(rows,
					json_row(shape_names[shape], families[f], counts[c], &row));
			}
		}
	}
	free(p);
	return ok;
}

int main(int argc, char **argv)
{
	char cpu[16];
	double seconds = argc > 1 ? atof(argv[1]) : 0.2;
	snprintf(cpu, sizeof(cpu), "%d", sched_getcpu());
	char *eal[] = {"perf_rules", "--no-huge", "--no-shconf", "--no-pci", "--no-telemetry", "-m",
		"1536", "-l", cpu, "--log-level=critical", NULL};
	if (seconds <= 0) {
		fprintf(stderr, "usage: perf_rules SECONDS_PER_ROW [JSON_FILE]\n");
		return 2;
	}
	if (rte_eal_init(RTE_DIM(eal) - 1, eal) < 0)
		rte_panic("cannot start the EAL\n");
	json_t *rows = json_array();
	printf("%-7s %2s %6s %-17s %-17s %8s %8s  rte_acl\n", "", "", "", " of ten rules",
		" of all rules", "", "");
	printf("%-7s %2s %6s %8s %8s %8s %8s %8s %8s  %8s %8s %8s %8s %9s %7s\n", "rules", "IP",
		"number", "allowed", "refused", "allowed", "refused", "build ms", "KiB", "allowed",
		"refused", "allowed", "refused", "build ms", "lines");
	bool ok = run(seconds, rows);
	if (argc > 2 && json_dump_file(rows, argv[2], JSON_INDENT(2)) < 0) {
		fprintf(stderr, "perf_rules: cannot write %s\n", argv[2]);
		ok = false;
	}
	json_decref(rows);
	return ok ? 0 : 1;
}
