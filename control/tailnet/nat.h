// What the workers' address translation follows from: the user's settings, what we advertise, and
// the addresses of our ports. [ctl]
#pragma once

#include "config/config.h"
#include "dataplane/table/nat_config.h"

struct tn_nat_spec {
	const struct config_nat *config;
	const struct ip_prefix *routes; // advertised; those of 4via6 among them count here
	uint32_t n_routes;
	bool snat;
	const struct ip_addr *port4, *port6; // PORT_MAX each; IP_NONE: it has none
	const struct nat_service *services;
	uint32_t n_services;
};

// Never NULL; the caller's until it is published.
struct nat_config *tn_nat_compile(const struct tn_nat_spec *);
