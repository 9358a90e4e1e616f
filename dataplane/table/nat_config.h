// What the address translation of tailnet peers' packets is to do, as the control thread compiled
// it; replaced as a whole by RCU. A flow has an inside, as the peer knows it, and an outside, as
// the network behind the gateway sees it; any of the four addresses may differ, and so may the
// family (4via6).
#pragma once

#include <stdatomic.h>

#include "dataplane/base/mem.h"
#include "dataplane/base/types.h"
#include "dataplane/port/port.h"

enum {
	NAT_POOL_MAX = 64,
	NAT_VIA_MAX = 256,
	NAT_REMAP_MAX = 256,
	NAT_SERVICES_MAX = 1024,
	NAT_BACKENDS_MAX = 8,
};

// 1:1, without state: peers know a network by the addresses of another one of the same length.
struct nat_remap {
	struct ip_prefix known; // what is advertised
	struct ip_prefix real;	// of the same family and length
};

// What peers send to an address that is nobody's machine goes to one of the backends.
struct nat_service {
	struct ip_addr vip;
	uint16_t port_first, port_last; // host order
	uint8_t proto;			// IPPROTO_TCP, IPPROTO_UDP; 0: any
	uint8_t n_backends;		// 0: its ports are closed, what has none is the host's
	struct endpoint backend[NAT_BACKENDS_MAX]; // port 0: the same port
};

enum nat_class {	 // of flows with an idle time of their own
	NAT_TCP_OPENING, // no answer yet
	NAT_TCP_OPEN,
	NAT_TCP_CLOSING, // FIN of both, or RST
	NAT_UDP,
	NAT_ICMP,
	NAT_OTHER,
	NAT_CLASS_COUNT,
};

struct nat_config { // fixed once published
	// What leaves by a link gets an address of ours; else only 4via6 and services do.
	bool snat;
	// Mapping and filtering (RFC 4787 4.1, 5); else both by destination.
	bool endpoint_independent;
	uint16_t port_first, port_last; // host order, of all addresses that masquerade
	uint32_t client_flows;		// most of one client (inside source address); 0: no limit
	uint32_t idle_s[NAT_CLASS_COUNT];
	struct ip_addr pool[NAT_POOL_MAX]; // addresses to masquerade with; none of the family:
	uint32_t n_pool;		   // the outgoing port's
	struct ip_addr port4[PORT_MAX], port6[PORT_MAX]; // by port; IP_NONE: it has none
	// Advertised 4via6 prefixes, 96 bits at least: fd7a:115c:a1e0:b1a:0:SITE:a.b.c.d. The last
	// 4 bytes of an address there are the IPv4 address behind us. (tailscale net/tsaddr)
	struct ip_prefix *via;
	struct nat_remap *remap;
	struct nat_service *service; // the first that fits counts
	uint32_t n_via, n_remap, n_services;
};

// Whether there is anything that it changes in packets. [any]
static inline bool nat_config_translates(const struct nat_config *c)
{
	return c && (c->snat || c->n_via > 0 || c->n_remap > 0 || c->n_services > 0);
}

// What workers do by it and 'explain' tells. to, addr: addresses in network order. [any]

// Whether it is one behind a site, by 4via6.
bool nat_is_via(const struct nat_config *, const struct ip_addr *to);
// The service that gets it. port: host order. NULL: none; the host's own, where it has the address.
const struct nat_service *nat_service_of(
	const struct nat_config *, const struct ip_addr *to, uint8_t proto, uint16_t port);
// Whether a packet of a family can go there: IPv4 grows into IPv6 where there may be no room in
// front of it.
static inline bool nat_is_reachable(const struct endpoint *backend, uint8_t family)
{
	return backend->addr.family == family || family == IP_V6;
}
// An address by its other name: the real one of a known one, or back. NULL: it has none; else to,
// written.
const uint8_t *nat_mapped(const struct nat_config *, bool to_real, const uint8_t *addr,
	uint8_t family, uint8_t to[static 16]);

// Workers use config from now on (NULL: what begins is not translated; flows that exist go on until
// they are idle) instead of what was there. [ctl]
void nat_config_publish(struct nat_config *_Atomic *at, struct rcu *, struct nat_config *config);
// With what it points to. For rcu_defer, and for one that was never published. NULL is fine. [ctl]
void nat_config_destroy(void *config);
