#include "control/tailnet/explain.h"

#include <netinet/in.h>
#include <rte_common.h>

// How far a rule goes with the packet.
enum reach {
	REACH_NOTHING,
	REACH_SOURCE,
	REACH_DESTINATION,
	REACH_PROTOCOL,
	REACH_ALL,
};

static bool is_icmp(const struct explain_query *q)
{
	return q->proto == (q->dst.family == IP_V4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
}

static bool has_ports(uint8_t proto)
{
	return proto == IPPROTO_TCP || proto == IPPROTO_UDP || proto == IPPROTO_SCTP;
}

static bool names_destination(const struct nm_destination *d, const struct ip_addr *a)
{
	return d->match == NM_MATCH_ANY ||
	       (d->match == NM_MATCH_RANGE && a->family == d->first.family &&
		       ip_addr_compare(a, &d->first) >= 0 && ip_addr_compare(a, &d->last) <= 0);
}

static bool names_protocol(const struct nm_rule *r, uint8_t proto)
{
	for (uint32_t i = 0; i < r->n_protocols; i++) {
		if (r->protocols[i] == proto)
			return true;
	}
	return r->n_protocols == 0 && (proto == IPPROTO_TCP || proto == IPPROTO_UDP ||
					      proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6);
}

static bool names_port(const struct nm_destination *d, const struct explain_query *q)
{
	if (is_icmp(q))
		return true;
	if (!has_ports(q->proto))
		return d->port_first == 0 && d->port_last == UINT16_MAX;
	return q->port >= d->port_first && q->port <= d->port_last;
}

static enum reach reach_of(const struct nm_rule *r, const struct explain_query *q,
	const struct nm_node *node, struct explanation *out)
{
	enum reach best = REACH_NOTHING;
	for (uint32_t i = 0; i < r->n_sources && best == REACH_NOTHING; i++) {
		if (tn_source_matches(&r->sources[i], &q->src, node)) {
			best = REACH_SOURCE;
			out->source = &r->sources[i];
		}
	}
	for (uint32_t i = 0; i < r->n_destinations && best != REACH_NOTHING; i++) {
		const struct nm_destination *d = &r->destinations[i];
		if (!names_destination(d, &q->dst))
			continue;
		bool protocol = is_icmp(q) || names_protocol(r, q->proto);
		enum reach its = !protocol	    ? REACH_DESTINATION
				 : names_port(d, q) ? REACH_ALL
						    : REACH_PROTOCOL;
		if (its > best) {
			best = its;
			out->destination = d;
		}
	}
	return best;
}

// The first rule that lets it in, or the first of those that go furthest.
static enum reach walk(const struct netmap *nm, const struct explain_query *q,
	const struct nm_node *node, struct explanation *out)
{
	enum reach best = REACH_NOTHING;
	for (size_t i = 0; i < nm->n_filter; i++) {
		for (uint32_t j = 0; j < nm->filter[i].n_rules && best != REACH_ALL; j++) {
			struct explanation its = *out;
			const struct nm_rule *r = &nm->filter[i].rules[j];
			if (r->n_destinations == 0) // grants of capabilities alone
				continue;
			its.source = NULL;
			its.destination = NULL;
			enum reach reach = reach_of(r, q, node, &its);
			if (reach <= best)
				continue;
			best = reach;
			its.chunk = &nm->filter[i];
			its.rule = r;
			*out = its;
		}
	}
	return best;
}

static bool is_out_of_scope(const struct ip_addr *a)
{
	static const uint8_t metadata[] = {169, 254, 169, 254}; // of cloud machines
	bool multicast = a->family == IP_V4 ? (a->bytes[0] & 0xf0) == 0xe0 : a->bytes[0] == 0xff;
	return multicast ||
	       (ip_addr_is_link_local(a) &&
		       !(a->family == IP_V4 && memcmp(a->bytes, metadata, sizeof(metadata)) == 0));
}

static bool is_in_force(const struct explain_query *q, const struct rules *rules, bool jailed)
{
	const struct rule_query rq = {q->src.bytes, q->dst.bytes, q->port, q->dst.family, q->proto};
	return rules && !jailed && rules_is_local(rules, q->dst.family, q->dst.bytes) &&
	       rules_allow(rules, &rq,
		       is_icmp(q)	     ? RULE_ANY_PORT
		       : has_ports(q->proto) ? RULE_PORT
					     : RULE_ALL_PORTS);
}

static bool is_of(const struct nm_node *node, const struct ip_addr *a)
{
	for (uint32_t i = 0; i < node->n_addresses; i++) {
		if (ip_addr_equal(&node->addresses[i].addr, a))
			return true;
	}
	return false;
}

void explain(struct explanation *out, const struct explain_query *q, const struct netmap *nm,
	const struct nm_peer *peer, const struct rules *rules)
{
	static const enum explain_verdict missing[] = {
		[REACH_NOTHING] = EXPLAIN_NO_SOURCE,
		[REACH_SOURCE] = EXPLAIN_NO_DESTINATION,
		[REACH_DESTINATION] = EXPLAIN_NO_PROTOCOL,
		[REACH_PROTOCOL] = EXPLAIN_NO_PORT,
		[REACH_ALL] = EXPLAIN_ALLOWED,
	};
	*out = (struct explanation){0};
	if (!nm->self) {
		out->verdict = EXPLAIN_NO_NETMAP;
		return;
	}
	bool jailed = peer && peer->node->jailed, scope = is_out_of_scope(&q->dst);
	// Hosts behind a peer do not have what it has.
	const struct nm_node *node = peer && is_of(peer->node, &q->src) ? peer->node : NULL;
	out->verdict = missing[walk(nm, q, node, out)];
	out->in_force = !scope && peer && is_in_force(q, rules, jailed);
	if (is_of(nm->self, &q->src))
		out->verdict = EXPLAIN_OWN_SOURCE;
	else if (!peer)
		out->verdict = EXPLAIN_UNKNOWN_SOURCE;
	else if (scope)
		out->verdict = EXPLAIN_SCOPE;
	else if (!rules || !rules_is_local(rules, q->dst.family, q->dst.bytes))
		out->verdict = EXPLAIN_NOT_LOCAL;
	else if (rules_shields_up(rules))
		out->verdict = EXPLAIN_SHIELDS_UP;
	else if (jailed)
		out->verdict = EXPLAIN_JAILED;
	else if (out->verdict != EXPLAIN_ALLOWED && out->in_force && q->proto == IPPROTO_TCP &&
		 is_of(nm->self, &q->dst))
		out->verdict = EXPLAIN_PEERAPI;
}
