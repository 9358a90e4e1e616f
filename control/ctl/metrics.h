// Counters as OpenMetrics text (openmetrics.io 1.0.0), for Prometheus and what reads the same.
// [ctl]
#pragma once

#include <event2/buffer.h>

#include "control/ctl/answer.h"
#include "control/daemon.h"

#define METRICS_CONTENT_TYPE "application/openmetrics-text; version=1.0.0; charset=utf-8"

// All of it, "# EOF" included, in pieces: the numbers of peers are those of the moment at which
// they are written. 0 or -ENOMEM.
int metrics_source(const struct daemon *, const struct ctl_conns *, struct ctl_source *) must_check;
// Append a label's value with backslash, quote and line feed escaped.
void metrics_label(struct evbuffer *, const char *text);

// --- For the files of the metrics.

// A family's head (unit: NULL, or the end of its name as OpenMetrics asks), and one number without
// labels with its head. Counters end in _total.
void metrics_family(struct evbuffer *out, const char *name, const char *type, const char *unit,
	const char *help);
void metrics_single(struct evbuffer *out, const char *name, const char *type, const char *unit,
	const char *help, double value);

struct metrics_path;

// How far the text is.
struct metrics_walk {
	const struct daemon *d;
	const struct ctl_conns *conns;
	unsigned part, family;
	bool begun;		    // the family has its head
	size_t at;		    // the next peer
	struct metrics_path *paths; // of a tailnet's peers, as far as they were asked for
	size_t n_paths, paths_room;
};
// Those of a node of a tailnet, and of its peers; nothing without one. true: through.
bool metrics_node_part(struct metrics_walk *, struct evbuffer *out);
bool metrics_node_peers_part(struct metrics_walk *, struct evbuffer *out);
// What it translates, puts together, advertises and resolves; without a tailnet only the first two.
bool metrics_nat_part(struct metrics_walk *, struct evbuffer *out);
bool metrics_routes_part(struct metrics_walk *, struct evbuffer *out);
bool metrics_dns_part(struct metrics_walk *, struct evbuffer *out);
