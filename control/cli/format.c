#include "control/cli/format.h"

#include <stdio.h>

const char *format_bytes(double bytes, char text[static FORMAT_LEN])
{
	static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB"};
	unsigned i = 0;
	if (bytes < 1024) {
		snprintf(text, FORMAT_LEN, "%.0f B", bytes);
		return text;
	}
	for (bytes /= 1024; bytes >= 1024 && i < 4; i++)
		bytes /= 1024;
	snprintf(text, FORMAT_LEN, "%.2f %s", bytes, units[i]);
	return text;
}

const char *format_rate(double per_s, const char *unit, char text[static FORMAT_LEN])
{
	static const char prefixes[] = " kMGT";
	unsigned i = 0;
	for (; per_s >= 1000 && i < 4; i++)
		per_s /= 1000;
	if (i == 0)
		snprintf(text, FORMAT_LEN, "%.0f %s", per_s, unit);
	else
		snprintf(text, FORMAT_LEN, "%.*f %c%s", per_s < 10 ? 2 : 1, per_s, prefixes[i],
			unit);
	return text;
}

const char *format_duration(uint64_t seconds, char text[static FORMAT_LEN])
{
	static const struct {
		uint64_t seconds;
		const char *name;
	} units[] = {{365 * 86400, "year"}, {86400, "day"}, {3600, "hour"}, {60, "minute"},
		{1, "second"}};
	size_t n = 0;
	snprintf(text, FORMAT_LEN, "0 seconds");
	for (unsigned i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		uint64_t count = seconds / units[i].seconds;
		seconds %= units[i].seconds;
		if (count > 0 && n < FORMAT_LEN)
			n += (size_t)snprintf(text + n, FORMAT_LEN - n, "%s%lu %s%s",
				n > 0 ? ", " : "", count, units[i].name, count == 1 ? "" : "s");
	}
	return text;
}
