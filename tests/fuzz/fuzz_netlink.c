// The bytes are what a netlink socket delivered: messages one behind the other.
#include <stdlib.h>

#include "control/kernel/rtmsg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	void *copy = malloc(size ? size : 1); // aligned, and ends where the input ends
	if (!copy)
		return 0;
	memcpy(copy, data, size);
	const uint8_t *at = copy;
	size_t left = size;
	const struct nlmsghdr *nh;
	while ((nh = rt_next(&at, &left))) {
		struct rt_message m;
		if (rt_parse(nh, &m) == 0 && m.kind == RT_ROUTE &&
			(m.route.n_hops == 0 || m.route.n_hops > RT_HOPS_MAX ||
				m.route.dst.len > 128))
			abort();
	}
	free(copy);
	return 0;
}
