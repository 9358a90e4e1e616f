// Reports for people and programs, in the forms of 'tailscale netcheck'.
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "control/path/netcheck_priv.h"

enum {
	TIME_TEXT_LEN = 64,
	DURATION_TEXT_LEN = 32,
};

#define NS_PER_S UINT64_C(1000000000)

// -- what a report says ---------------------------------------------------------------------------

uint64_t netcheck_region_ns(const struct netcheck_report *r, uint32_t region)
{
	uint32_t first = 0, end = r->n_latency;

	while (first < end) { // by region
		const uint32_t middle = (first + end) / 2;

		if (r->latency[middle].region < region)
			first = middle + 1;
		else
			end = middle;
	}
	return first < r->n_latency && r->latency[first].region == region
		       ? nc_best_way(&r->latency[first])
		       : 0;
}

size_t netcheck_globals(const struct netcheck_report *r, struct endpoint *out, size_t max)
{
	size_t n = 0;

	for (uint32_t i = 0; i < r->n_globals && n < max; i++)
		if (r->global_seen[i] > 1 || endpoint_equal(&r->globals[i], &r->global_v4) ||
			endpoint_equal(&r->globals[i], &r->global_v6))
			out[n++] = r->globals[i];
	return n;
}

// -- Go's ways to write things --------------------------------------------------------------------

// A fraction behind the point, without trailing zeros; nothing when it is zero.
static void put_fraction(FILE *f, unsigned fraction, int digits)
{
	if (fraction == 0)
		return;
	for (; fraction % 10 == 0; fraction /= 10)
		digits--;
	fprintf(f, ".%0*u", digits, fraction);
}

// time.Duration's text, of ns rounded to a tenth of a millisecond. Returns the width in characters:
// µ has two bytes.
static int duration_text(uint64_t ns, char out[static DURATION_TEXT_LEN])
{
	const uint64_t us = (ns + 50000) / 100000 * 100, s = us / 1000000;
	FILE *const f = fmemopen(out, DURATION_TEXT_LEN, "w");

	out[0] = '\0';
	if (!f)
		return 0;
	if (us == 0) {
		fputs("0s", f);
	} else if (us < 1000) {
		fprintf(f, "%uµs", (unsigned)us);
	} else if (s == 0) {
		fprintf(f, "%u", (unsigned)(us / 1000));
		put_fraction(f, us % 1000, 3);
		fputs("ms", f);
	} else {
		if (s >= 3600)
			fprintf(f, "%uh", (unsigned)(s / 3600));
		if (s >= 60)
			fprintf(f, "%um", (unsigned)(s / 60 % 60));
		fprintf(f, "%u", (unsigned)(s % 60));
		put_fraction(f, us % 1000000, 6);
		fputs("s", f);
	}
	fclose(f);
	return (int)strlen(out) - (us > 0 && us < 1000);
}

// Date, time to the last nonzero digit, Z or the offset. between: of date and time.
static void put_time(FILE *f, uint64_t unix_ns, char between, bool local)
{
	const time_t s = (time_t)(unix_ns / NS_PER_S);
	struct tm tm;

	if (local)
		localtime_r(&s, &tm);
	else
		gmtime_r(&s, &tm);
	fprintf(f, "%04d-%02d-%02d%c%02d:%02d:%02d", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
		between, tm.tm_hour, tm.tm_min, tm.tm_sec);
	put_fraction(f, (unsigned)(unix_ns % NS_PER_S), 9);
	const long minutes = tm.tm_gmtoff / 60, east = minutes < 0 ? -minutes : minutes;
	if (minutes == 0)
		fputc('Z', f);
	else
		fprintf(f, "%c%02ld:%02ld", minutes < 0 ? '-' : '+', east / 60, east % 60);
}

// Of a server's choosing: nothing that steers a terminal.
static void put_foreign(FILE *f, const char *text)
{
	for (const char *c = text ? text : ""; *c; c++)
		fputc((unsigned char)*c < ' ' || *c == 0x7f ? '?' : *c, f);
}

static size_t characters(const char *text) // of UTF-8
{
	size_t n = 0;

	for (const char *c = text ? text : ""; *c; c++)
		n += (*c & 0xc0) != 0x80;
	return n;
}

// -- text -----------------------------------------------------------------------------------------

static const char *true_or_false(int8_t value) // -1: empty
{
	return value < 0 ? "" : value ? "true" : "false";
}

static void put_families(FILE *f, const struct netcheck_report *r)
{
	char text[ENDPOINT_TEXT_LEN];

	if (r->global_v4.port)
		fprintf(f, "\t* IPv4: yes, %s\n", endpoint_format(&r->global_v4, text));
	else
		fputs("\t* IPv4: (no addr found)\n", f);
	if (r->global_v6.port)
		fprintf(f, "\t* IPv6: yes, %s\n", endpoint_format(&r->global_v6, text));
	else if (r->ipv6)
		fputs("\t* IPv6: (no addr found)\n", f);
	else
		fprintf(f, "\t* IPv6: no, %s\n",
			r->os_has_ipv6 ? "but OS has support" : "unavailable in OS");
}

static void put_portmap(FILE *f, const struct netcheck_report *r)
{
	const struct {
		int8_t seen;
		const char *name;
	} services[] = {{r->upnp, "UPnP"}, {r->pmp, "NAT-PMP"}, {r->pcp, "PCP"}};
	const char *before = "";

	fputs("\t* PortMapping: ", f);
	if (r->upnp < 0 && r->pmp < 0 && r->pcp < 0)
		fputs("not checked", f);
	for (unsigned i = 0; i < 3; i++)
		if (services[i].seen > 0) {
			fprintf(f, "%s%s", before, services[i].name);
			before = ", ";
		}
	fputc('\n', f);
}

static const struct nm_derp_region *find_region(const struct nm_derp_map *map, uint32_t id)
{
	for (uint32_t i = 0; i < map->n_regions; i++)
		if (map->regions[i].id == id)
			return &map->regions[i];
	return NULL;
}

static void put_nearest(FILE *f, const struct netcheck_report *r, const struct nm_derp_map *map)
{
	const struct nm_derp_region *const region = find_region(map, r->preferred);

	fputs("\t* Nearest DERP: ", f);
	if (region)
		put_foreign(f, region->name);
	else if (r->preferred)
		fprintf(f, "%u (region not found in map)", r->preferred);
	else
		fputs("[none]", f);
	fputc('\n', f);
}

struct row {
	const struct nm_derp_region *region;
	uint64_t ns; // 0: no answer
};

static int row_order(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	if (x->ns != y->ns)
		return x->ns - 1 < y->ns - 1 ? -1 : 1; // none is behind all others
	return (x->region->id > y->region->id) - (x->region->id < y->region->id);
}

static void put_row(FILE *f, const struct row *row, bool verbose)
{
	char latency[DURATION_TEXT_LEN] = "";
	const int width = row->ns ? duration_text(row->ns, latency) : 0;
	const size_t code = characters(row->region->code);

	fprintf(f, "\t\t- %*s", code < 3 ? (int)(3 - code) : 0, "");
	put_foreign(f, row->region->code);
	fprintf(f, ": %s%*s (", latency, width < 7 ? 7 - width : 0, "");
	if (verbose)
		fprintf(f, "derp%u, ", row->region->id);
	put_foreign(f, row->region->name);
	fputs(")\n", f);
}

static void put_latencies(
	FILE *f, const struct netcheck_report *r, const struct nm_derp_map *map, bool verbose)
{
	struct row *const rows = calloc(map->n_regions + 1, sizeof(*rows));

	if (!rows)
		return;
	for (uint32_t i = 0; i < map->n_regions; i++)
		rows[i] = (struct row){&map->regions[i], netcheck_region_ns(r, map->regions[i].id)};
	qsort(rows, map->n_regions, sizeof(*rows), row_order);
	fputs("\t* DERP latency:\n", f);
	for (uint32_t i = 0; i < map->n_regions; i++)
		put_row(f, &rows[i], verbose);
	free(rows);
}

char *netcheck_text(const struct netcheck_report *r, const struct nm_derp_map *map, bool verbose)
{
	char *text = NULL;
	size_t len;
	FILE *const f = open_memstream(&text, &len);

	if (!f)
		return NULL;
	fputs("\nReport:\n\t* Time: ", f);
	put_time(f, r->unix_ns, ' ', true);
	fprintf(f, "\n\t* UDP: %s\n", true_or_false(r->udp));
	put_families(f, r);
	fprintf(f, "\t* MappingVariesByDestIP: %s\n", true_or_false(r->mapping_varies));
	put_portmap(f, r);
	if (r->captive_portal >= 0)
		fprintf(f, "\t* CaptivePortal: %s\n", true_or_false(r->captive_portal));
	if (r->n_latency == 0) {
		fputs("\t* Nearest DERP: unknown (no response to latency probes)\n", f);
	} else {
		put_nearest(f, r, map);
		put_latencies(f, r, map, verbose);
	}
	fclose(f);
	return text;
}

// -- JSON -----------------------------------------------------------------------------------------

struct json_out {
	FILE *f;
	bool indent;
	unsigned depth;
	bool first; // nothing yet in the innermost object
};

static void json_line(struct json_out *j)
{
	if (!j->indent)
		return;
	fputc('\n', j->f);
	for (unsigned i = 0; i < j->depth; i++)
		fputc('\t', j->f);
}

static void json_name(struct json_out *j, const char *name)
{
	if (!j->first)
		fputc(',', j->f);
	j->first = false;
	json_line(j);
	fprintf(j->f, "\"%s\":%s", name, j->indent ? " " : "");
}

static void json_begin(struct json_out *j)
{
	fputc('{', j->f);
	j->depth++;
	j->first = true;
}

static void json_end(struct json_out *j)
{
	j->depth--;
	if (!j->first)
		json_line(j);
	j->first = false;
	fputc('}', j->f);
}

static void json_tri(struct json_out *j, const char *name, int8_t value)
{
	json_name(j, name);
	fputs(value < 0 ? "null" : true_or_false(value), j->f);
}

struct json_entry { // of a map; Go sorts its keys as text
	char key[ENDPOINT_TEXT_LEN];
	uint64_t value;
};

static int entry_order(const void *a, const void *b)
{
	const struct json_entry *x = a, *y = b;

	return strcmp(x->key, y->key);
}

static void json_entries(struct json_out *j, const char *name, struct json_entry *list, unsigned n)
{
	qsort(list, n, sizeof(*list), entry_order);
	json_name(j, name);
	json_begin(j);
	for (unsigned i = 0; i < n; i++) {
		json_name(j, list[i].key);
		fprintf(j->f, "%llu", (unsigned long long)list[i].value);
	}
	json_end(j);
}

enum way { WAY_BEST, WAY_V4, WAY_V6 };

static void json_latencies(
	struct json_out *j, const char *name, const struct netcheck_report *r, enum way way)
{
	struct json_entry list[NETCHECK_REGIONS_MAX];
	unsigned n = 0;

	for (uint32_t i = 0; i < r->n_latency; i++) {
		const struct netcheck_latency *const l = &r->latency[i];
		const uint64_t ns = way == WAY_V4   ? l->v4_ns
				    : way == WAY_V6 ? l->v6_ns
						    : nc_best_way(l);

		if (!ns)
			continue;
		snprintf(list[n].key, sizeof(list[n].key), "%u", l->region);
		list[n++].value = ns;
	}
	json_entries(j, name, list, n);
}

static void json_counters(
	struct json_out *j, const char *name, const struct netcheck_report *r, uint8_t family)
{
	struct json_entry list[NETCHECK_GLOBALS_MAX];
	unsigned n = 0;

	for (uint32_t i = 0; i < r->n_globals; i++) {
		if (r->globals[i].addr.family != family)
			continue;
		endpoint_format(&r->globals[i], list[n].key);
		list[n++].value = r->global_seen[i];
	}
	if (n) {
		json_entries(j, name, list, n);
		return;
	}
	json_name(j, name);
	fputs("null", j->f);
}

static void json_endpoint(struct json_out *j, const char *name, const struct endpoint *e)
{
	char text[ENDPOINT_TEXT_LEN] = "";

	json_name(j, name);
	fprintf(j->f, "\"%s\"", e->port ? endpoint_format(e, text) : "");
}

char *netcheck_json(const struct netcheck_report *r, bool indent)
{
	char *text = NULL;
	size_t len;
	struct json_out j = {.f = open_memstream(&text, &len), .indent = indent};

	if (!j.f)
		return NULL;
	json_begin(&j);
	json_name(&j, "Now");
	fputc('"', j.f);
	put_time(j.f, r->unix_ns, 'T', false);
	fputc('"', j.f);
	json_tri(&j, "UDP", r->udp);
	json_tri(&j, "IPv6", r->ipv6);
	json_tri(&j, "IPv4", r->ipv4);
	json_tri(&j, "IPv6CanSend", r->ipv6_can_send);
	json_tri(&j, "IPv4CanSend", r->ipv4_can_send);
	json_tri(&j, "OSHasIPv6", r->os_has_ipv6);
	json_tri(&j, "ICMPv4", r->icmpv4);
	json_tri(&j, "MappingVariesByDestIP", r->mapping_varies);
	json_tri(&j, "UPnP", r->upnp);
	json_tri(&j, "PMP", r->pmp);
	json_tri(&j, "PCP", r->pcp);
	json_name(&j, "PreferredDERP");
	fprintf(j.f, "%u", r->preferred);
	json_latencies(&j, "RegionLatency", r, WAY_BEST);
	json_latencies(&j, "RegionV4Latency", r, WAY_V4);
	json_latencies(&j, "RegionV6Latency", r, WAY_V6);
	json_counters(&j, "GlobalV4Counters", r, IP_V4);
	json_counters(&j, "GlobalV6Counters", r, IP_V6);
	json_endpoint(&j, "GlobalV4", &r->global_v4);
	json_endpoint(&j, "GlobalV6", &r->global_v6);
	json_tri(&j, "CaptivePortal", r->captive_portal);
	json_end(&j);
	fclose(j.f);
	return text;
}
