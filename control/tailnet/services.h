// Services of the tailnet that this node hosts: a service has addresses of its own, which the
// server gives out; the configuration says where its ports lead. Pure. (tailscale tailcfg
// VIPService, ServiceIPMappings; ipn/ipnlocal/serve.go) [ctl]
#pragma once

#include <jansson.h>

#include "config/config.h"
#include "control/coord/netmap.h"
#include "dataplane/table/nat_config.h"

enum { TN_SERVICES_HASH_LEN = 65 };

struct tn_services_spec {
	const struct config_services *config;
	const struct nm_service *assigned; // addresses, of the server
	uint32_t n_assigned;
	const json_t *advertised; // AdvertiseServices of the prefs: names, or NULL
	bool draining;		  // of none new connections are wanted
};

// For the workers: the configured ports of the assigned addresses, then all their other ports,
// which are closed. out has room for NAT_SERVICES_MAX. How many.
uint32_t tn_services_compile(const struct tn_services_spec *, struct nat_service *out);
// What the server is told: [{"Name", "Ports", "Active"}], by name. A new reference.
json_t *tn_services_list(const struct tn_services_spec *) must_check;
// Of such a list, by which the server sees that it changed; "" of an empty one.
void tn_services_hash(const json_t *list, char out[static TN_SERVICES_HASH_LEN]);
// "tcp:443", "udp:1-5", "*". Returns text.
const char *tn_service_ports(const struct config_service *, char text[static 24]);
// The first of its name in the list; NULL: it has no addresses.
const struct nm_service *tn_service_assigned(const struct tn_services_spec *, const char *name);
