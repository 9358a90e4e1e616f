// A resolver as the netmap or resolv.conf names it, and the public ones that also speak DNS over
// HTTPS: those are asked so. Pure. Source: tailscale net/dns/publicdns.
#pragma once

#include "dataplane/base/types.h"

enum {
	DNS_TARGET_LEN = 192,
	DNS_TARGETS_MAX = 8, // resolvers of one suffix
};

struct dns_target {
	char text[DNS_TARGET_LEN]; // as it was given
	struct endpoint plain;	   // UDP and TCP; port 0: not to be asked so
	char url[DNS_TARGET_LEN];  // of DNS over HTTPS; "": none
	char addresses[160];	   // that the URL's name has, with commas; "": the URL has one
};

// An address, an address with port, https:// of a provider that is known, http:// with an address
// (the peerAPI of an exit node). 0; -EINVAL: none of these; -ENOTSUP: tls:// or an unknown
// https://.
int dns_target_read(const char *text, struct dns_target *out) must_check;
bool dns_target_equal(const struct dns_target *, const struct dns_target *);
