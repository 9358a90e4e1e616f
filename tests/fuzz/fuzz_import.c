// Any text through the import of wg-quick files. What it writes must be a valid tailgate.conf.
#include "config/import.h"
#include "tests/fuzz/fuzz.h"

// A file without a private key is imported, but not complete.
static bool is_complete(const char *text)
{
	return strstr(text, "\nprivate_key = ") != NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config *c = NULL;
	struct config_error err;
	char *text = NULL, *warnings = NULL;
	size_t n;
	FILE *in = fmemopen((void *)(uintptr_t)data, size, "r");
	if (!in)
		return 0; // an empty input
	FILE *out = open_memstream(&text, &n), *lines = open_memstream(&warnings, &n);
	if (!out || !lines)
		abort();
	int rc = import_wg(in, "fuzz", NULL, out, lines, &err);
	fclose(in);
	fclose(out);
	fclose(lines);
	if (rc == 0 && is_complete(text) && config_parse_string(text, "out", &c, &err) < 0)
		abort();
	if (rc < 0 && !err.message[0])
		abort();
	config_free(c);
	free(text);
	free(warnings);
	return 0;
}
