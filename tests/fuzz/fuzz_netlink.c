// The bytes are what a netlink socket delivered: messages one behind the other, into a mirror that
// knows nothing yet.
#include <stdlib.h>

#include "control/kernel/mirror.h"
#include "control/kernel/rtmsg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint16_t port_of(void *, uint32_t ifindex)
{
	return ifindex < PORT_MAX ? (uint16_t)ifindex : PORT_NONE;
}

static void on_change(void *, uint32_t)
{
}

static void parse(const uint8_t *at, size_t left)
{
	const struct nlmsghdr *nh;
	while ((nh = rt_next(&at, &left))) {
		struct rt_message m;
		if (rt_parse(nh, &m) == 0 && m.kind == RT_ROUTE &&
			(m.route.n_hops == 0 || m.route.n_hops > RT_HOPS_MAX ||
				m.route.dst.len > 128))
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct mirror_env env = {
		.tunnel_ifindex = 5, .port_of = port_of, .on_change = on_change};
	uint8_t *copy = malloc(size ? size : 1); // aligned, and ends where the input ends
	if (!copy)
		return 0;
	memcpy(copy, data, size);
	parse(copy, size);
	struct rcu *rcu = rcu_create();
	struct fib *fib = fib_create(rcu);
	struct mirror *m = mirror_create(NULL, fib, &env);
	mirror_feed(m, copy, size);
	mirror_feed(m, copy, size); // all of it is known by now
	mirror_destroy(m);
	fib_destroy(fib);
	rcu_destroy(rcu);
	free(copy);
	return 0;
}
