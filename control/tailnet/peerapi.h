// The peerAPI: a small HTTP/1.1 server at the node's own tailnet addresses, for other nodes, whom
// it knows by their source address. It listens on the TUN alone, one request per connection, all
// bounded. Source: tailscale ipn/ipnlocal/peerapi.go. [ctl]
#pragma once

#include "control/coord/netmap.h"

struct event_base;
struct peerapi;
struct dns;

enum {
	PEERAPI_TRIES = 5,	  // ports, before any is taken
	PEERAPI_CONNECTIONS = 64, // at once
	PEERAPI_PER_PEER = 8,	  // of one address
	PEERAPI_BODY_MAX = 65535,
	PEERAPI_TIME_S = 15, // a connection's life
};

struct peerapi_env {
	void *arg;
	// Who has this address; NULL: nobody, the connection is closed.
	const struct nm_peer *(*peer)(void *arg, const struct ip_addr *);
	// Whether that peer may ask us for names.
	bool (*may_resolve)(void *arg, const struct nm_peer *, const struct ip_addr *);
	struct dns *(*dns)(void *arg); // NULL: there is none
};

// The port to try first (n = 0) and next for a listener at this address.
uint16_t peerapi_port(const struct ip_addr *, unsigned n);
// Whether a request's Host says "peer", or the address and port at which it came in.
bool peerapi_host_fits(const char *host, size_t len, const struct endpoint *at);

struct peerapi *peerapi_create(struct event_base *, const struct peerapi_env *) must_check;
void peerapi_destroy(struct peerapi *); // NULL is fine
// Listen at these addresses, at most one of each family (IP_NONE: not), on that interface; others
// are closed. True: a port is another one now.
bool peerapi_listen(
	struct peerapi *, const struct ip_addr *v4, const struct ip_addr *v6, const char *device);
void peerapi_close(struct peerapi *);
uint16_t peerapi_port_of(const struct peerapi *, enum ip_family); // 0: it does not listen
