// Answers to a registration: two in a row, so that what the first left behind counts.
#include "control/coord/register.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const int statuses[] = {200, 400, 429, 500};
	struct register_progress p = {0};
	struct register_result r;
	char retry_after[16] = "";

	if (size < 1)
		return 0;
	const int status = statuses[data[0] % 4];
	char *const exact = exact_copy(data + 1, size - 1);
	memcpy(retry_after, exact,
		size - 1 < sizeof(retry_after) ? size - 1 : sizeof(retry_after) - 1);
	for (int i = 0; i < 2; i++) {
		register_answer(&p, status, retry_after, exact, size - 1, 1800000000, 7, &r);
		check_text(r.text, sizeof(r.text));
		check_text(r.login, sizeof(r.login));
		check_text(p.url, sizeof(p.url));
		check(r.wait_s <= REGISTER_WAIT_MAX_S);
		check(i == 0 || (r.action != REGISTER_NEW_KEY && r.action != REGISTER_VISIT_URL));
	}
	free(exact);
	return 0;
}
