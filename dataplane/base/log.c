#include "dataplane/base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static enum log_level log_max = LOG_LEVEL_INFO; // fixed after init
static bool log_journal;			// fixed after init

void log_init(enum log_level level)
{
	log_max = level;
	log_journal = getenv("JOURNAL_STREAM") != NULL;
	setvbuf(stderr, NULL, _IOLBF, 0);
}

static const struct {
	const char *name;
	enum log_level level;
} log_levels[] = {
	{"error", LOG_LEVEL_ERROR},
	{"warn", LOG_LEVEL_WARN},
	{"info", LOG_LEVEL_INFO},
	{"debug", LOG_LEVEL_DEBUG},
};

bool log_level_parse(const char *text, enum log_level *out)
{
	for (unsigned i = 0; i < sizeof(log_levels) / sizeof(log_levels[0]); i++) {
		if (strcmp(text, log_levels[i].name) == 0) {
			*out = log_levels[i].level;
			return true;
		}
	}
	return false;
}

const char *log_level_name(enum log_level level)
{
	for (unsigned i = 0; i < sizeof(log_levels) / sizeof(log_levels[0]); i++) {
		if (log_levels[i].level == level)
			return log_levels[i].name;
	}
	return "?";
}

// Whether the site may write now; *left_out is set when a new window starts.
static bool log_admit(struct log_site *site, uint32_t *left_out)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	uint64_t now = (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
	*left_out = 0;
	if (site->window_ns == 0 || now - site->window_ns > LOG_INTERVAL_S * 1000000000ull) {
		*left_out = site->skipped;
		*site = (struct log_site){.window_ns = now};
	}
	if (site->written >= LOG_BURST) {
		site->skipped++;
		return false;
	}
	site->written++;
	return true;
}

void log_line(
	struct log_site *site, enum log_level level, const char *component, const char *format, ...)
{
	char text[1024];
	uint32_t left_out;
	if (level > log_max || !log_admit(site, &left_out))
		return;
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	// A line stays a line, whatever a peer put into it.
	for (char *c = text; *c; c++) {
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
	}
	char more[48] = "";
	if (left_out)
		snprintf(more, sizeof(more), " (%u more like this left out)", left_out);
	if (log_journal)
		fprintf(stderr, "<%d>%s: %s%s\n", level, component, text, more);
	else
		fprintf(stderr, "%s %s: %s%s\n", log_level_name(level), component, text, more);
}
