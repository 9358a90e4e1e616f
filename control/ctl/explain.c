#include "control/ctl/explain.h"

#include <netinet/in.h>

#include "control/tailnet/tailnet.h"

enum {
	HTTP_CONFLICT = 409,
	RANGE_LEN = 2 * ADDR_TEXT_LEN,
};

static const struct {
	const char *name, *why;
} verdicts[] = {
	[EXPLAIN_ALLOWED] = {"allowed", "the rule lets it in"},
	[EXPLAIN_PEERAPI] = {"peerapi",
		"no rule is needed: it is this node's peerAPI, which judges who asks for itself"},
	[EXPLAIN_NO_NETMAP] = {"no_netmap",
		"the coordination server has not told the policy yet: see 'tailgate status'"},
	[EXPLAIN_OWN_SOURCE] = {"own_source",
		"the source is an address of this node, which no peer may use; what this node "
		"sends is filtered by the one that receives it"},
	[EXPLAIN_UNKNOWN_SOURCE] = {"unknown_source",
		"no peer may send from there: it is in nobody's addresses or accepted routes"},
	[EXPLAIN_SCOPE] = {"scope", "multicast and link-local destinations never are let in"},
	[EXPLAIN_NOT_LOCAL] = {"not_local",
		"the destination is neither an address of this node nor of a network that it "
		"advertises ('routes'): see 'tailgate set --advertise-routes'"},
	[EXPLAIN_SHIELDS_UP] = {"shields_up",
		"shields are up, only answers come in: 'tailgate set --shields-up=false'"},
	[EXPLAIN_JAILED] = {"jailed",
		"the coordination server says that the peer may only answer (IsJailed)"},
	[EXPLAIN_NO_SOURCE] = {"no_source", "no rule of the policy names the source"},
	[EXPLAIN_NO_DESTINATION] = {"no_destination",
		"rules name the source, but none of them the destination"},
	[EXPLAIN_NO_PROTOCOL] = {"no_protocol",
		"rules name source and destination, but none of them the protocol"},
	[EXPLAIN_NO_PORT] = {"no_port",
		"rules name source, destination and protocol, but none of them the port"},
};

static bool read_address(
	struct evhttp_request *req, const struct query *q, const char *name, struct ip_addr *out)
{
	const char *text = query_text(q, name);
	if (text && ip_addr_parse(text, out) == 0)
		return true;
	ctl_reply_error(req, HTTP_BADREQUEST, "%s must be an IP address", name);
	return false;
}

static bool read_query(struct evhttp_request *req, struct explain_query *out)
{
	static const char *const names[] = {"src", "dst", "proto", "port", NULL};
	struct query q;
	uint32_t proto, port;
	if (!ctl_query(req, names, &q) || !read_address(req, &q, "src", &out->src) ||
		!read_address(req, &q, "dst", &out->dst) ||
		!ctl_query_number(req, &q, "proto", IPPROTO_TCP, 0, UINT8_MAX, &proto) ||
		!ctl_query_number(req, &q, "port", 0, 0, UINT16_MAX, &port))
		return false;
	if (out->src.family != out->dst.family) {
		ctl_reply_error(
			req, HTTP_BADREQUEST, "src and dst must be of one family, IPv4 or IPv6");
		return false;
	}
	out->proto = (uint8_t)proto;
	out->port = (uint16_t)port;
	return true;
}

// -- the rule -------------------------------------------------------------------------------------

// A range as it reads best: "*", an address, a prefix, "a-b".
static const char *range_text(enum nm_match match, const struct ip_addr *first,
	const struct ip_addr *last, char text[static RANGE_LEN])
{
	char a[ADDR_TEXT_LEN], b[ADDR_TEXT_LEN];
	if (match == NM_MATCH_ANY)
		return "*";
	ip_addr_format(first, a);
	ip_addr_format(last, b);
	// The longest that ends there: shorter ones may begin before.
	for (unsigned len = ip_addr_bits(first) + 1u; len-- > 0;) {
		const struct ip_prefix p = {*first, (uint8_t)len};
		const struct ip_range r = ip_range_of(&p);
		if (!ip_addr_equal(&r.last, last) || ip_addr_equal(first, last))
			continue;
		snprintf(text, RANGE_LEN, "%s/%u", a, len);
		return text;
	}
	if (ip_addr_equal(first, last))
		snprintf(text, RANGE_LEN, "%s", a);
	else
		snprintf(text, RANGE_LEN, "%s-%s", a, b);
	return text;
}

static json_t *source_json(const struct nm_source *s)
{
	char text[RANGE_LEN];
	if (s->match == NM_MATCH_CAP)
		return json_sprintf("cap:%s", s->cap);
	return json_string(range_text(s->match, &s->first, &s->last, text));
}

static json_t *destination_json(const struct nm_destination *d)
{
	char text[RANGE_LEN];
	const char *range = range_text(d->match, &d->first, &d->last, text);
	if (d->port_first == 0 && d->port_last == UINT16_MAX)
		return json_sprintf("%s:*", range);
	if (d->port_first == d->port_last)
		return json_sprintf("%s:%u", range, d->port_first);
	return json_sprintf("%s:%u-%u", range, d->port_first, d->port_last);
}

// The rule as it came, or null.
static json_t *rule_text(const struct nm_rules *chunk, const struct nm_rule *rule)
{
	json_t *all = chunk->text ? json_loads(chunk->text, 0, NULL) : NULL;
	json_t *one = json_array_get(all, rule->number - 1);
	json_incref(one);
	json_decref(all);
	return one ? one : json_null();
}

static json_t *rule_json(const struct explanation *e)
{
	if (!e->rule)
		return json_null();
	return json_pack("{s:s, s:i, s:o, s:o, s:o}", "filter",
		e->chunk->name ? e->chunk->name : "", "number", (int)e->rule->number, "source",
		source_json(e->source), "destination",
		e->destination ? destination_json(e->destination) : json_null(), "text",
		rule_text(e->chunk, e->rule));
}

// -- the answer -----------------------------------------------------------------------------------

static json_t *peer_json(const struct nm_peer *peer)
{
	if (!peer)
		return json_null();
	return json_pack("{s:I, s:s}", "id", (json_int_t)peer->node->id, "name",
		peer->node->name ? peer->node->name : "");
}

static json_t *routes_json(const struct tailnet *t)
{
	char text[PREFIX_TEXT_LEN];
	uint32_t n;
	const struct ip_prefix *networks = tailnet_networks(t, &n);
	json_t *routes = json_array();
	for (uint32_t i = 0; i < n; i++)
		json_array_append_new(routes, json_string(ip_prefix_format(&networks[i], text)));
	return routes;
}

static const char *why_of(const struct explanation *e)
{
	if ((e->verdict <= EXPLAIN_PEERAPI) == e->in_force)
		return verdicts[e->verdict].why;
	return "the policy changed and could not be taken over, the one before stays in force: "
	       "see the log";
}

void ctl_explain_handle(struct ctl_server *s, struct evhttp_request *req)
{
	struct explain_query q;
	struct explanation e;
	char src[ADDR_TEXT_LEN], dst[ADDR_TEXT_LEN];
	const struct tailnet *t = s->d->tailnet;
	const struct gateway *gw = s->d->gw;
	if (!read_query(req, &q))
		return;
	if (!t) {
		ctl_reply_error(req, HTTP_CONFLICT,
			"this gateway is no node of a tailnet; static peers are not filtered");
		return;
	}
	const struct nm_peer *peer = tailnet_peer_of(t, &q.src);
	explain(&e, &q, tailnet_netmap(t), peer,
		atomic_load_explicit(&gw->rules, memory_order_acquire));
	ctl_reply_json(req, HTTP_OK,
		json_pack("{s:b, s:s, s:s, s:s, s:s, s:i, s:i, s:o, s:o, s:o, s:o}", "allowed",
			e.in_force, "verdict", verdicts[e.verdict].name, "why", why_of(&e), "src",
			ip_addr_format(&q.src, src), "dst", ip_addr_format(&q.dst, dst), "proto",
			q.proto, "port", q.port, "peer", peer_json(peer), "rule", rule_json(&e),
			"way", ctl_explain_way(gw, &q), "routes", routes_json(t)));
}
