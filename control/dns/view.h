// What the netmap says about names, looked up by query: a copy that does not change, made anew when
// the netmap does. Names are lower case without the final dot. [ctl]
#pragma once

#include "control/coord/netmap.h"
#include "control/dns/target.h"

enum {
	DNS_ROUTES_MAX = 4096,
	DNS_HOSTS_MAX = 65536,
	DNS_SEARCH_MAX = 32,
};

struct dns_host {
	const char *name;
	struct ip_addr first, v4, v6; // IP_NONE: has none
	bool subdomains;	      // names below it are it
};

struct dns_route {
	const char *suffix;
	const struct dns_target *targets;
	uint32_t n;
	bool local; // nobody is asked: what is not known there does not exist
};

struct dns_view {
	struct dns_route *routes; // longest suffix first
	uint32_t n_routes;
	struct dns_route resolvers; // for everything else: global ones, else the machine's
	struct dns_route base;	    // the machine's own
	const char **search;
	uint32_t n_search;
	const char **filtered; // ExitNodeFilteredSet; a leading dot is a suffix
	uint32_t n_filtered;
	uint32_t unsupported; // resolvers that cannot be asked
	bool proxied;	      // MagicDNS
	bool global;	      // the netmap has resolvers for everything
	bool own_host;	      // the machine itself resolves through us
	// Of view.c:
	struct arena arena;
	struct dns_host *hosts;
	uint32_t n_hosts, mask, *by_name;
	uint32_t routes_mask, *by_suffix;
	struct dns_pointer *pointers;
	uint32_t n_pointers, *by_address;
};

// What beside the netmap decides who is asked.
struct dns_view_from {
	const struct netmap *netmap; // NULL or not ready: none
	const char *exit_url;	     // peerAPI of the exit node in use; "" or NULL: none
	const char *const *base;     // nameservers of the machine
	uint32_t n_base;
	bool own_host;
};

// Never NULL.
struct dns_view *dns_view_create(const struct dns_view_from *);
void dns_view_destroy(struct dns_view *); // NULL is fine

// Those with subdomains also by a longer name. NULL: unknown.
const struct dns_host *dns_view_host(const struct dns_view *, const char *name);
const char *dns_view_name(const struct dns_view *, const struct ip_addr *); // NULL: nobody's
// Whose names are these: the longest suffix, else the resolvers for everything. Never NULL.
const struct dns_route *dns_view_route(const struct dns_view *, const char *name);
bool dns_view_is_filtered(const struct dns_view *, const char *name);
