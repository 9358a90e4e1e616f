// One line per event on the control thread, rate-limited per call site. Workers never log: they
// count. Under systemd (JOURNAL_STREAM) each line carries its syslog level for journald.
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

enum log_level {
	LOG_LEVEL_ERROR = 3, // the numbers are syslog's
	LOG_LEVEL_WARN = 4,
	LOG_LEVEL_INFO = 6,
	LOG_LEVEL_DEBUG = 7,
};

enum {
	LOG_BURST = 10,	    // lines that one call site may write ...
	LOG_INTERVAL_S = 5, // ... in this time; the next line says how many were left out
};

// State of one call site. // ctl: rw
struct log_site {
	uint64_t window_ns;
	uint32_t written;
	uint32_t skipped;
};

void log_init(enum log_level level);
bool log_level_parse(const char *text, enum log_level *out);
const char *log_level_name(enum log_level level);
void log_line(struct log_site *site, enum log_level level, const char *component,
	const char *format, ...) __attribute__((format(printf, 4, 5)));

#define log_at(level, component, ...)                                                              \
	do {                                                                                       \
		static struct log_site log_site_;                                                  \
		log_line(&log_site_, level, component, __VA_ARGS__);                               \
	} while (0)
#define log_error(component, ...) log_at(LOG_LEVEL_ERROR, component, __VA_ARGS__)
#define log_warn(component, ...) log_at(LOG_LEVEL_WARN, component, __VA_ARGS__)
#define log_info(component, ...) log_at(LOG_LEVEL_INFO, component, __VA_ARGS__)
#define log_debug(component, ...) log_at(LOG_LEVEL_DEBUG, component, __VA_ARGS__)
