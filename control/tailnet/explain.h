// Why a packet from a peer would be let in, or not: the netmap's rules walked in their order, as
// the server gave them, beside the verdict of the compiled rules that the workers hold. [ctl]
#pragma once

#include "control/tailnet/filter.h"

struct explain_query {
	struct ip_addr src, dst;
	uint8_t proto;
	uint16_t port; // of TCP, UDP, SCTP
};

// In the order in which they are looked at.
enum explain_verdict {
	EXPLAIN_ALLOWED,
	EXPLAIN_PEERAPI, // no rule, but every peer may reach that service of ours
	EXPLAIN_NO_NETMAP,
	EXPLAIN_OWN_SOURCE,	// we ourselves: not filtered, but nobody sends us that
	EXPLAIN_UNKNOWN_SOURCE, // no peer may send from there
	EXPLAIN_SCOPE,		// multicast, link-local
	EXPLAIN_NOT_LOCAL,	// neither ours nor of a route that we stand for
	EXPLAIN_SHIELDS_UP,
	EXPLAIN_JAILED,
	EXPLAIN_NO_SOURCE,	// no rule names the source
	EXPLAIN_NO_DESTINATION, // those that do name other destinations
	EXPLAIN_NO_PROTOCOL,	// ... other protocols
	EXPLAIN_NO_PORT,	// ... other ports
};

struct explanation {
	enum explain_verdict verdict;
	// The rule that lets it in, or else one that comes nearest; NULL: none.
	const struct nm_rules *chunk;
	const struct nm_rule *rule;
	const struct nm_source *source;
	const struct nm_destination *destination;
	bool in_force; // what the workers' rules say of it
};

// peer: whose address src is, or NULL. rules: the workers', or NULL; local destinations and shields
// are theirs.
void explain(struct explanation *, const struct explain_query *, const struct netmap *,
	const struct nm_peer *peer, const struct rules *rules);
