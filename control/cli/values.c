#include "control/cli/values.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static const struct unit {
	const char *name;
	double ms;
} units[] = {{"ms", 1}, {"us", 1e-3}, {"ns", 1e-6}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};

static const double duration_max_ms = 7 * 86400e3;

// The unit at the head of text, or NULL. "ms" stands before "m".
static const struct unit *unit_at(const char *text)
{
	for (unsigned i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (strncmp(text, units[i].name, strlen(units[i].name)) == 0)
			return &units[i];
	return NULL;
}

int value_duration(const char *text, unsigned *ms)
{
	double sum = 0;
	if (strcmp(text, "0") == 0) {
		*ms = 0;
		return 0;
	}
	do {
		if (strspn(text, "0123456789.") == 0 || strspn(text, "0123456789.") > 15)
			return -EINVAL;
		char *end;
		double number = strtod(text, &end);
		const struct unit *unit = unit_at(end);
		if (end != text + strspn(text, "0123456789.") || unit == NULL)
			return -EINVAL;
		sum += number * unit->ms;
		text = end + strlen(unit->name);
	} while (*text != '\0');
	if (!(sum <= duration_max_ms))
		return -EINVAL;
	*ms = (unsigned)ceil(sum);
	return 0;
}

const char *value_seconds(double seconds, char text[static VALUE_TEXT_LEN])
{
	// Outside of what can be told: also not a number.
	uint64_t ms = seconds > 0 && seconds < 1e9 ? (uint64_t)llround(seconds * 1000) : 0;
	int n = 0;
	if (ms == 0 || (ms < 1000)) {
		snprintf(text, VALUE_TEXT_LEN, ms == 0 ? "0s" : "%lums", ms);
		return text;
	}
	if (ms >= 3600000)
		n = snprintf(text, VALUE_TEXT_LEN, "%luh", ms / 3600000);
	if (ms >= 60000)
		n += snprintf(text + n, VALUE_TEXT_LEN - (size_t)n, "%lum", ms / 60000 % 60);
	n += snprintf(text + n, VALUE_TEXT_LEN - (size_t)n, "%lu.%03lu", ms / 1000 % 60, ms % 1000);
	while (text[n - 1] == '0')
		n--;
	if (text[n - 1] == '.')
		n--;
	snprintf(text + n, VALUE_TEXT_LEN - (size_t)n, "s");
	return text;
}

int64_t value_time(const char *text)
{
	struct tm tm = {};
	int hours = 0, minutes = 0;
	char sign;
	const char *end = text != NULL ? strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;
	if (end == NULL || tm.tm_year <= 1 - 1900)
		return 0;
	if (*end == '.')
		end += 1 + strspn(end + 1, "0123456789");
	int64_t at = timegm(&tm);
	if (sscanf(end, "%c%2d:%2d", &sign, &hours, &minutes) == 3 && (sign == '+' || sign == '-'))
		at -= (sign == '+' ? 1 : -1) * (hours * 3600 + minutes * 60);
	else if (strcmp(end, "Z") != 0)
		return 0;
	return at;
}

const char *value_last_seen(int64_t at_s, int64_t now_s, char text[static VALUE_TEXT_LEN])
{
	int64_t age = now_s - at_s > 60 ? now_s - at_s : 60;
	if (at_s == 0)
		*text = '\0';
	else if (age < 3600)
		snprintf(text, VALUE_TEXT_LEN, ", last seen %ldm ago", age / 60);
	else if (age < 86400)
		snprintf(text, VALUE_TEXT_LEN, ", last seen %ldh ago", age / 3600);
	else
		snprintf(text, VALUE_TEXT_LEN, ", last seen %ldd ago", age / 86400);
	return text;
}

int value_number(const char *text, unsigned max, unsigned *out)
{
	size_t digits = strspn(text, "0123456789");
	if (digits == 0 || digits > 10 || text[digits] != '\0')
		return -EINVAL;
	unsigned long value = strtoul(text, NULL, 10);
	if (value > max)
		return -EINVAL;
	*out = (unsigned)value;
	return 0;
}
