// The query of a request on the control socket: no text may overrun, and what was accepted reads
// back within its bounds.
#include "control/ctl/query.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = {"packets", "worker", "peer", NULL};
	char err[QUERY_ERROR_LEN], *text = exact_text(data, size);
	struct query q;
	uint32_t number = 0;
	if (query_parse(text, names, &q, err) == 0) {
		const char *peer = query_text(&q, "peer");
		if (q.n > 3 || (peer != NULL && strlen(peer) >= QUERY_VALUE_LEN))
			abort();
		if (query_number(&q, "packets", 1, 1, 64, &number, err) == 0 &&
			(number < 1 || number > 64))
			abort();
	}
	free(text);
	return 0;
}
