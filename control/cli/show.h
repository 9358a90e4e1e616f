// The daemon's answers for people. A member that is missing shows as zero or empty, so that a
// daemon of another version is shown as far as possible.
#pragma once

#include <jansson.h>
#include <stdio.h>

#include "dataplane/base/types.h"

// now: seconds since 1970.
void show_status(FILE *out, const json_t *status, double now);
void show_stats(FILE *out, const json_t *stats, bool all);
void show_trace(FILE *out, const json_t *trace);

// Rates between two answers of top: a new object, or NULL when out of memory. Members of the second
// that the first lacks (a new peer) count from zero.
json_t *top_rates(const json_t *before, const json_t *after) must_check;
void show_top(FILE *out, const json_t *rates);

static inline const char *show_text(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));
	return text != NULL ? text : "";
}

static inline double show_number(const json_t *object, const char *name)
{
	return json_number_value(json_object_get(object, name));
}
