// The bytes are what a netlink socket delivered: messages one behind the other, into a mirror that
// knows nothing yet.
#include "control/kernel/mirror.h"
#include "control/kernel/rtmsg.h"
#include "tests/fuzz/fuzz.h"

static uint16_t port_of(void *, uint32_t ifindex)
{
	return ifindex < PORT_MAX ? (uint16_t)ifindex : PORT_NONE;
}

static void on_change(void *, uint32_t)
{
}

// Returns how many messages say something.
static unsigned parse(const uint8_t *at, size_t left)
{
	const struct nlmsghdr *nh;
	unsigned n = 0;
	while ((nh = rt_next(&at, &left))) {
		struct rt_message m;
		if (rt_parse(nh, &m))
			continue;
		n++;
		check(m.kind != RT_ROUTE || (m.route.n_hops > 0 && m.route.n_hops <= RT_HOPS_MAX &&
						    m.route.dst.len <= 128));
	}
	return n;
}

static void feed(const uint8_t *data, size_t size)
{
	static const struct mirror_env env = {
		.tunnel_ifindex = 5, .port_of = port_of, .on_change = on_change};
	struct rcu *rcu = rcu_create();
	struct fib *fib = fib_create(rcu);
	struct mirror *m = mirror_create(NULL, fib, &env);
	mirror_feed(m, data, size);
	mirror_feed(m, data, size); // all of it is known by now
	mirror_destroy(m);
	fib_destroy(fib);
	rcu_destroy(rcu);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *const copy = exact_copy(data, size); // aligned
	if (parse(copy, size) > 0)
		feed(copy, size);
	free(copy);
	return 0;
}
