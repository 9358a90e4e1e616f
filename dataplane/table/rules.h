// A tailnet's packet filter, compiled: who may begin what towards which addresses. Never changed
// once made; replaced as a whole by RCU. Which packets need a rule at all is the node's affair
// (dataplane/node/filter.c). A lookup costs the same for ten rules and for ten thousand
// (perf/rules.c).
#pragma once

#include <stdatomic.h>

#include "dataplane/base/mem.h"

struct rules;

// Addresses of one family, first <= last.
struct ip_range {
	struct ip_addr first, last;
};

struct rule_target {
	struct ip_range range;
	uint16_t port_first, port_last; // host order
};

// Any of the sources to any of the targets by one of the protocols.
struct rule_spec {
	const struct ip_range *sources;
	const struct rule_target *targets;
	uint32_t n_sources, n_targets;
	uint64_t protocols[4]; // bit set: rule_protocol()
	bool ports_only;       // says nothing of ICMP
};

struct rules_spec {
	const struct rule_spec *rules;
	const struct ip_range *local; // where packets from the tunnel may go at all
	uint32_t n_rules, n_local;
	bool shields_up; // nobody may begin anything: the rules do not count
};

// How a rule's ports are compared.
enum rule_ports {
	RULE_PORT,	// the packet's lies in the target's
	RULE_ANY_PORT,	// neither ports nor protocol count: ICMP
	RULE_ALL_PORTS, // the target has all ports: protocols without
};

// What rules are asked for a packet. Addresses: 4 or 16 bytes.
struct rule_query {
	const uint8_t *src, *dst;
	uint16_t port;	// destination's, host order
	uint8_t family; // enum ip_family
	uint8_t proto;
};

static inline void rule_protocol(struct rule_spec *r, uint8_t proto)
{
	r->protocols[proto / 64] |= UINT64_C(1) << proto % 64;
}

// All addresses of a family.
struct ip_range ip_range_any(enum ip_family);
struct ip_range ip_range_of(const struct ip_prefix *);
int ip_addr_compare(const struct ip_addr *, const struct ip_addr *); // of one family; as memcmp

enum {
	RULES_RANGES_MAX = 1 << 20,  // of addresses; equal lists of sources count once
	RULES_MEMORY_MAX = 64 << 20, // bytes of what is kept
};

// Ranges that are empty or of two families count for nothing. NULL: more than is compiled, *why
// says what of: ranges, 32768 different rules, memory. [ctl]
struct rules *rules_try_create(const struct rules_spec *, const char **why) must_check;
// The same for few rules: never NULL.
struct rules *rules_create(const struct rules_spec *) must_check;
size_t rules_memory(const struct rules *); // bytes
// No worker may hold it any more: after rules_publish, by rcu_defer. NULL is fine. [ctl]
void rules_destroy(void *rules);
// Workers use rules (theirs from now on; NULL: nothing may come in) instead of what was there,
// which is freed after the grace period. [ctl]
void rules_publish(struct rules *_Atomic *at, struct rcu *, struct rules *rules);

// Which published set it is, for verdicts that are remembered: each publication gives the next
// number; 0 is NULL's and that of rules not published. [wrk, ctl]
uint32_t rules_generation(const struct rules *);
bool rules_shields_up(const struct rules *); // [wrk, ctl]
// Whether packets from the tunnel may go there: ours, or of networks that we stand for. [wrk, ctl]
bool rules_is_local(const struct rules *, uint8_t family, const uint8_t *dst);
// Whether a rule lets it in; none does with shields up. [wrk, ctl]
bool rules_allow(const struct rules *, const struct rule_query *, enum rule_ports);
