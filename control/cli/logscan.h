// A log of tailscaled, headscale or tailgated, line by line: which of the known symptoms are in it.
// Pure.
#pragma once

#include <jansson.h>

enum {
	LOGSCAN_LINE_MAX = 4096, // bytes of a line that are looked at
	LOGSCAN_SYMPTOMS = 24,	 // room; the table has less
};

struct logscan {
	unsigned long lines;
	struct logscan_hit {
		unsigned long n;
		char last[320]; // the end of the last such line, printable
	} hit[LOGSCAN_SYMPTOMS];
};

// Without its line end; any bytes. A line counts for one symptom, the most telling.
void logscan_line(struct logscan *, const char *line, size_t len);
// {"findings": [...]} as the daemon's doctor has them; name: of the log. NULL: out of memory.
json_t *logscan_report(const struct logscan *, const char *name)
	__attribute__((warn_unused_result));
