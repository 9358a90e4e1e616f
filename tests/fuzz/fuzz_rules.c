// Whatever the policy: compiled rules mean what a plain walk over them means.
#include <stdlib.h>

#include "tests/unit/rules_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	PACKETS = 200,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct model m;
	struct model_bytes bytes = {data, size};
	struct model_packet p;
	model_policy(&m, &bytes);
	struct rules *r = rules_create(&m.spec);
	for (unsigned i = 0; i < PACKETS && bytes.left; i++) {
		model_packet(&p, &bytes);
		if (rules_allow(r, &p.query, p.ports) != model_allows(&m, &p) ||
			rules_is_local(r, p.dst.family, p.dst.bytes) != model_is_local(&m, &p.dst))
			abort();
	}
	rules_destroy(r);
	return 0;
}
