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
// The IPv6 prefix of a site's IPv4 network. 0, -EINVAL (not IPv4), -ERANGE (site).
int via6_map(uint32_t site, const struct ip_prefix *v4, struct ip_prefix *out) must_check;
// And back. 0, or -EINVAL: it is none.
int via6_split(const struct ip_prefix *, uint32_t *site, struct ip_prefix *v4) must_check;
