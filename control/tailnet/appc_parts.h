// What the files of the app connector's memory share.
#pragma once

#include "control/tailnet/appc.h"

struct app_name {
	char *name;	 // lower case, without the final dot
	bool configured; // not by a wildcard
	struct ip_addr *addrs;
	uint32_t n, room;
};

struct app_names { // sorted
	char **at;
	uint32_t n;
};

struct appc {			 // ctl only
	struct app_name **names; // sorted by name
	uint32_t n_names, room;
	struct app_names wildcards; // without "*."
	struct ip_prefix *preset;
	uint32_t n_preset, n_learned, n_domains;
	struct appc_counters counters;
};

struct app_name *appc_name(struct appc *, const char *name); // a new one if there is none
bool appc_knows(const struct app_name *, const struct ip_addr *);
void appc_put_addr(struct appc *, struct app_name *, const struct ip_addr *);
void appc_put_name(struct app_names *, const char *name); // at has room for it
void appc_names_finish(struct app_names *);		  // sorted, each once
