// 4via6: IPv4 networks of several sites that may overlap, each under an IPv6 prefix of its own,
// fd7a:115c:a1e0:b1a:0:SITE:a.b.c.d. (tailscale net/tsaddr/tsaddr.go)
#pragma once

#include "dataplane/base/types.h"

enum {
	VIA6_V4_BITS = 96,	// the IPv4 address lies behind them
	VIA6_SITE_MAX = 0xffff, // larger ones are reserved (tailscale cmd/tailscale/cli/debug.go)
};

// Whether all of an IPv6 prefix belongs to one site.
bool via6_is(const struct ip_prefix *);
// Whether an IPv4 address, 4 bytes, may stand behind one: the packet filter sees the IPv6 address
// alone, so not the gateway's own machine, its link (a cloud's metadata), nor the tailnet's range,
// which may be anybody's there. (tailscale ipn/ipnlocal/via.go)
static inline bool via6_is_target(const uint8_t *v4)
{
	return v4[0] != 0 && v4[0] != 127 && v4[0] < 224 && !(v4[0] == 169 && v4[1] == 254) &&
	       !(v4[0] == 100 && (v4[1] & 0xc0) == 64);
}
// The IPv6 prefix of a site's IPv4 network. 0, -EINVAL (not IPv4), -ERANGE (site).
int via6_map(uint32_t site, const struct ip_prefix *v4, struct ip_prefix *out) must_check;
// And back. 0, or -EINVAL: it is none.
int via6_split(const struct ip_prefix *, uint32_t *site, struct ip_prefix *v4) must_check;
