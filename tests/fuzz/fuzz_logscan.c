// Any bytes as a log: each line counts once at most, and the report is JSON that can be printed.
#include "control/cli/logscan.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct logscan scan = {};
	unsigned long hits = 0;
	const char *text = (const char *)data, *end = text + size;
	while (text < end) {
		const char *stop = memchr(text, '\n', (size_t)(end - text));
		size_t len = (size_t)((stop != NULL ? stop : end) - text);
		logscan_line(&scan, text, len);
		text += len + 1;
	}
	for (unsigned i = 0; i < LOGSCAN_SYMPTOMS; i++)
		hits += scan.hit[i].n;
	if (hits > scan.lines)
		abort();
	json_t *report = logscan_report(&scan, "fuzz");
	char *json = json_dumps(report, 0);
	if (report == NULL || json == NULL)
		abort();
	free(json);
	json_decref(report);
	return 0;
}
