// The daemon's answers for people. A member that is missing shows as zero or empty, so that a
// daemon of another version is shown as far as possible.
#pragma once

#include <jansson.h>
#include <stdio.h>

#include "dataplane/base/types.h"

// now: seconds since 1970. The peers of a tailnet (tailnet: ipnstate.Status, or NULL) are left out:
// they stand in their own table.
void show_status(FILE *out, const json_t *status, const json_t *tailnet, double now);
// Whether the report has peers of its own besides those of the tailnet.
bool show_has_static_peers(const json_t *status, const json_t *tailnet);
// For each peer of a tailnet which way it is reached and why; then coordination and DERP home.
void show_paths(FILE *out, const json_t *paths, double now);
// How much a path carries, by how it was learned, and for how long; nothing where it was not.
void show_mtu_learned(FILE *out, const json_t *peer, const char *name, const char *how, double now);
void show_stats(FILE *out, const json_t *stats, bool all);
void show_trace(FILE *out, const json_t *trace);

void show_dns(FILE *out, const json_t *dns);

// Rates between two answers of top: a new object, or NULL when out of memory. Members of the second
// that the first lacks (a new peer) count from zero.
json_t *top_rates(const json_t *before, const json_t *after) must_check;
void show_top(FILE *out, const json_t *rates);

enum show_severity {
	SHOW_OK,
	SHOW_INFO,
	SHOW_WARN,
	SHOW_ERROR,
};

// What the doctor found; all: what is well in full, too.
void show_doctor(FILE *out, const json_t *findings, bool all);
// What mends it, to be run one after the other; nothing when there is nothing.
void show_doctor_commands(FILE *out, const json_t *commands);
unsigned show_worst_finding(const json_t *findings); // enum show_severity

static inline const char *show_text(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));
	return text != NULL ? text : "";
}

static inline double show_number(const json_t *object, const char *name)
{
	return json_number_value(json_object_get(object, name));
}
