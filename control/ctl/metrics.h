// Counters as OpenMetrics text (openmetrics.io 1.0.0), for Prometheus and what reads the same.
// [ctl]
#pragma once

#include <event2/buffer.h>

#include "control/daemon.h"

#define METRICS_CONTENT_TYPE "application/openmetrics-text; version=1.0.0; charset=utf-8"

// Append everything, "# EOF" included. 0 or -ENOMEM.
int metrics_write(const struct daemon *, struct evbuffer *) must_check;
// Append a label's value with backslash, quote and line feed escaped.
void metrics_label(struct evbuffer *, const char *text);

// For the files of the metrics: a family's head (unit: NULL, or the end of its name as OpenMetrics
// asks), and one number without labels with its head. Counters end in _total.
void metrics_family(struct evbuffer *out, const char *name, const char *type, const char *unit,
	const char *help);
void metrics_single(struct evbuffer *out, const char *name, const char *type, const char *unit,
	const char *help, double value);
// Those of a node of a tailnet.
void metrics_node(struct evbuffer *out, const struct tailnet *);
