// Answers to STUN requests. What is accepted has the length and the class of a response.
#include "control/path/stun.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t txid[STUN_TXID_LEN];
	struct endpoint mapped = {0};

	if (stun_response_parse(data, size, txid, &mapped) == 0) {
		if (size < STUN_HEADER_LEN || data[0] != 1 || mapped.port == 0)
			abort();
		if (mapped.addr.family != IP_V4 && mapped.addr.family != IP_V6)
			abort();
	} else if (mapped.port != 0) {
		abort();
	}
	return 0;
}
