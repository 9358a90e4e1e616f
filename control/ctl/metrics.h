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
