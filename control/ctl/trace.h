// 'tailgate trace': ask workers to note the steps of their next packets, wait, answer. [ctl]
#pragma once

#include "control/ctl/request.h"

enum { TRACE_SUMMARY_LEN = 192 };

// POST trace?packets=N&worker=W&timeout=S. Without worker, the first N packets of all.
void ctl_trace_handle(struct ctl_server *, struct evhttp_request *);
// Answer now with what there is.
void ctl_trace_abort(struct ctl_server *);

// A packet's first bytes in words: addresses, protocol and ports, or the WireGuard message. len is
// the whole packet's. Returns text.
const char *trace_summary(
	const uint8_t *head, size_t head_len, uint32_t len, char text[static TRACE_SUMMARY_LEN]);
// One packet's way as JSON; NULL when out of memory.
json_t *trace_json(const struct gateway *, unsigned worker, const struct trace *) must_check;
