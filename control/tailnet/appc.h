// An app connector's memory: which names it stands for, and the addresses that answers about them
// had. Pure: names, answers and saved text in, routes out. A name stands for itself, "*.x" for
// whatever is below x but not for x. (tailscale appc/appconnector.go, observe.go) [ctl]
#pragma once

#include <jansson.h>

#include "dataplane/base/types.h"

enum {
	APPC_DOMAINS_MAX = 4096, // that are watched
	APPC_PRESET_MAX = 4096,	 // networks that come with them
	APPC_LEARNED_MAX = 4096, // addresses, counted for each name; more are refused
	APPC_CHAIN_MAX = 16,	 // names that an answer leads through
	APPC_ROUTES_MAX = APPC_PRESET_MAX + APPC_LEARNED_MAX,
};

struct appc;

struct appc_spec {
	const char *const *domains;
	const struct ip_prefix *routes;
	uint32_t n_domains, n_routes;
};

struct appc_counters {
	uint64_t learned;   // addresses
	uint64_t forbidden; // addresses and networks that are nobody's to give
	uint64_t full;	    // addresses over APPC_LEARNED_MAX
	uint64_t bad;	    // domains that are none, or over APPC_DOMAINS_MAX
};

struct appc *appc_create(void);	  // never NULL
void appc_destroy(struct appc *); // NULL is fine
// What it is to stand for from now on; what was learned of other names is forgotten. True: that
// was something else before.
bool appc_configure(struct appc *, const struct appc_spec *);
// A resolver's answer to a question about name (lower case, without the final dot). The addresses
// count that the name leads to, by CNAMEs of this answer, if it or a name on that way is watched.
// is_own: addresses that are this machine's. True: there are new ones.
bool appc_observe(struct appc *, const char *name, const uint8_t *message, size_t len,
	bool (*is_own)(void *arg, const struct ip_addr *), void *arg);
// Networks to advertise, in any order; those that came with the domains first. out has room for
// APPC_ROUTES_MAX. How many.
uint32_t appc_routes(const struct appc *, struct ip_prefix *out);
const struct appc_counters *appc_counters(const struct appc *);
uint32_t appc_watched(const struct appc *); // domains
uint32_t appc_learned(const struct appc *); // addresses

// appctype.RouteInfo: {"Control": [networks], "Domains": {name: [addresses]}, "Wildcards":
// [names]}. A new reference.
json_t *appc_json(const struct appc *) must_check;
// {name: [addresses]}. A new reference.
json_t *appc_domains_json(const struct appc *) must_check;
// What appc_json gave before a restart, into an empty one. -EBADMSG: it is something else, and
// nothing was taken.
int appc_restore(struct appc *, const json_t *saved) must_check;

// Whether an address of this network could be an app's at all: not the tailnet's own, nor of a
// machine or link alone, nor many machines'.
bool appc_may_advertise(const struct ip_prefix *);
