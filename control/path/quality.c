#include "control/path/quality.h"

// Nearer is better even when it is a little slower; IPv6 has no NAT.
static int place_points(const struct ip_addr *a)
{
	const int family = a->family == IP_V6 ? 10 : 0;

	if (ip_addr_is_loopback(a))
		return family + 50;
	if (ip_addr_is_link_local(a))
		return family + 30;
	return family + (ip_addr_is_private(a) ? 20 : 0);
}

// Percent by which fast is faster, whole ones.
static int speed_points(uint64_t fast, uint64_t slow)
{
	return slow ? 100 - (int)(fast * 100 / slow) : 0;
}

bool path_better(const struct path_quality *a, const struct path_quality *b)
{
	if (path_addr_equal(&a->addr, &b->addr))
		return a->mtu > b->mtu;
	if (!path_addr_exists(&b->addr))
		return true;
	if (!path_addr_exists(&a->addr))
		return false;
	if (path_addr_is_direct(&a->addr) != path_addr_is_direct(&b->addr))
		return path_addr_is_direct(&a->addr);
	int a_points = place_points(&a->addr.to.addr), b_points = place_points(&b->addr.to.addr);
	if (a->latency_ns > b->latency_ns)
		b_points += speed_points(b->latency_ns, a->latency_ns);
	else
		a_points += speed_points(a->latency_ns, b->latency_ns);
	// About the same: stay.
	if (a_points <= 1 && b_points == 0)
		return false;
	return a_points > b_points;
}
