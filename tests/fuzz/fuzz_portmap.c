// Answers of a gateway. Whatever it says, a lease has a port, ends, and ends within a day.
#include "control/path/portmap_wire.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct portmap_want want = {.local_port = 0xa2a9, .lifetime_s = 7200};
	const uint64_t now_ns = 1000000000;
	struct portmap_response r;
	struct portmap_lease lease;
	struct portmap_epoch epoch = {.known = true, .server_s = 1000};

	if (portmap_response_parse(data, size, &r))
		return 0;
	if (!portmap_result_text(&r)[0])
		abort();
	if (portmap_epoch_continues(&epoch, r.kind, r.epoch_s, now_ns) && r.epoch_s < 998)
		abort();
	if (portmap_granted(&r, &want, now_ns, &lease))
		return 0;
	if (r.result != PORTMAP_SUCCESS || lease.external.port == 0)
		abort();
	if (lease.renew_ns < now_ns || lease.expires_ns <= lease.renew_ns)
		abort();
	if (lease.lifetime_s > PORTMAP_LIFETIME_MAX_S)
		abort();
	return 0;
}
