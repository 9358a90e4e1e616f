// What a node says about itself, in register and map requests. Headscale takes a missing
// RoutableIPs as withdrawn, so each request has all of it. [ctl]
#pragma once

#include "control/coord/json.h"

struct hostinfo_latency {
	uint32_t region;
	enum ip_family family;
	double seconds;
};

struct netinfo {
	int8_t mapping_varies, working_ipv6, os_has_ipv6, working_udp, working_icmp4, upnp, pmp,
		pcp; // -1: unknown
	bool have_port_map;
	uint32_t preferred_derp;	       // 0: nobody reaches us by DERP
	const char *link_type, *firewall_mode; // may be NULL
	const struct hostinfo_latency *latencies;
	size_t n_latencies;
};

struct hostinfo_service {
	const char *proto; // "peerapi4"
	uint16_t port;
};

struct hostinfo {
	const char *version, *backend_log_id; // the ID: 64 hex digits, stable
	const char *os, *os_version, *distro, *package, *app, *hostname, *machine, *go_arch;
	const char *services_hash, *exit_node_id;
	const struct ip_prefix *routes; // to advertise
	const char *const *tags;
	const struct hostinfo_service *services;
	size_t n_routes, n_tags, n_services;
	const struct netinfo *netinfo; // NULL: not known yet, the server keeps the old one
	bool shields_up, no_logs, app_connector, peer_relay, allows_update;
	int8_t userspace, userspace_router; // -1: leave out
};

json_t *hostinfo_json(const struct hostinfo *);
// "tag:", a letter, then letters, digits and dashes.
bool hostinfo_tag_valid(const char *tag);
