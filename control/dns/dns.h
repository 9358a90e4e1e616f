// The resolver: names of the tailnet from the netmap, everything else from the resolvers that the
// netmap, the exit node or the machine names. It serves 100.100.100.100 and fd7a:115c:a1e0::53 to
// the gateway's own host, its listeners to the LAN, and the peerAPI by dns_answer. [ctl]
#pragma once

#include <event2/event.h>

#include "dataplane/base/types.h"

struct dns;
struct net;
struct netmap;

enum {
	DNS_MESSAGE_MAX = 65535, // bytes: TCP's length field
	DNS_QUERY_MAX = 4096,	 // bytes of a query that is taken
	DNS_LISTENERS_MAX = 8,
	DNS_ERROR_LEN = 256,
	DNS_PORT = 53,
	DNS_TIMEOUT_MS = 10000, // the longest that anyone waits for dns_answer
};

enum dns_asker {
	DNS_ASKER_HOST, // at the service addresses
	DNS_ASKER_LAN,	// at a listener
	// By the peerAPI: only what this machine would resolve without the tailnet's own names, and
	// nothing that the netmap's ExitNodeFilteredSet has.
	DNS_ASKER_PEER,
	DNS_ASKERS,
};

struct dns_client {
	enum dns_asker who;
	struct ip_addr addr;
	bool stream; // the answer may have DNS_MESSAGE_MAX bytes, not what fits into a datagram
};

// Answer a query. done is called exactly once, from within or from the loop, after DNS_TIMEOUT_MS at
// the latest, and never after dns_cancel or dns_destroy. len 0: what came is no query, there is
// nothing to answer. The answer is valid during the call.
void dns_answer(struct dns *, const struct dns_client *, const uint8_t *query, size_t len,
	void (*done)(void *arg, const uint8_t *answer, size_t len), void *arg);
// Whoever asked with this arg is gone.
void dns_cancel(struct dns *, const void *arg);
