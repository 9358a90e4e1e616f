#include "control/ctl/report.h"
#include "control/ctl/routes.h"

#include "control/tailnet/tailnet.h"

enum {
	HTTP_CONFLICT = 409,
};

// Why peers do not send there what they could; "": they do. Each chooses its exit for itself. What
// we know of ourselves may be old: headscale does not always tell a node what became of it, but it
// does tell of the others.
static const char *hindrance(const struct tailnet_route_info *i, bool exit)
{
	if (i->cut_off)
		return "its hosts do not answer (route_probes): look at the LAN";
	if (!i->offered)
		return "draining: 'tailgate drain --cancel' offers it again";
	if (!exit && i->taken_over)
		return "another node serves it";
	if (!i->approved)
		return "not approved, as far as we were told: approve it at the coordination "
		       "server, as by 'headscale nodes approve-routes', or by autoApprovers in "
		       "the policy";
	return "";
}

static const char *state(const struct tailnet_route_info *i, bool exit)
{
	if (!i->offered)
		return "withdrawn";
	if (exit)
		return i->approved ? "exit" : "not used";
	if (i->taken_over)
		return "stands by";
	return i->primary ? "serves" : "not used";
}

static const char *const sources[] = {
	[TAILNET_NETWORK_SET] = "set",
	[TAILNET_NETWORK_LEARNED] = "learned",
	[TAILNET_NETWORK_APP] = "app",
};

static json_t *route_json(const struct tailnet *t, const struct ip_prefix *p)
{
	char text[PREFIX_TEXT_LEN];
	struct tailnet_route_info i;
	tailnet_route_info(t, p, &i);
	bool exit = p->len == 0;
	return json_pack("{s:s,s:s,s:s,s:b,s:b,s:b,s:b,s:b,s:s}", "route",
		ip_prefix_format(p, text), "from", sources[i.source], "state", state(&i, exit),
		"offered", i.offered, "approved", i.approved, "primary", i.primary, "taken_over",
		i.taken_over, "cut_off", i.cut_off, "why", hindrance(&i, exit));
}

static void reply(const struct daemon *d, struct evhttp_request *req)
{
	uint32_t n;
	const struct tailnet *t = d->tailnet;
	const struct ip_prefix *networks = tailnet_networks(t, &n);
	json_t *routes = json_array();
	uint32_t apps;
	tailnet_app_networks(t, &apps);
	for (uint32_t i = 0; i < n; i++)
		json_array_append_new(routes, route_json(t, &networks[i]));
	struct tailnet_learned_info learned;
	tailnet_learned_info(t, &learned);
	ctl_reply_json(req, HTTP_OK,
		json_pack("{s:b,s:b,s:o,s:{s:i,s:i,s:i},s:i,s:i,s:o}", "draining",
			tailnet_is_draining(t), "announcing", tailnet_is_announcing(t), "routes",
			routes, "learned", "offered", (int)learned.offered, "held",
			(int)learned.held, "left_out", (int)learned.left_out, "apps", (int)apps,
			"all", (int)(n + apps), "vxlans", report_vxlans(d->mirror)));
}

static struct tailnet *node_of(struct ctl_server *s, struct evhttp_request *req)
{
	if (!s->d->tailnet)
		ctl_reply_error(req, HTTP_CONFLICT,
			"this gateway is no node of a tailnet; its routes are in its "
			"configuration");
	return s->d->tailnet;
}

void ctl_routes_handle(struct ctl_server *s, struct evhttp_request *req)
{
	static const char *const none[] = {NULL};
	struct query q;
	if (!ctl_query(req, none, &q))
		return;
	json_t *vxlans = s->d->tailnet ? NULL : report_vxlans(s->d->mirror);
	if (json_array_size(vxlans) > 0) // no node of a tailnet: of routes there is nothing to say
		ctl_reply_json(req, HTTP_OK, json_pack("{s:O}", "vxlans", vxlans));
	else if (node_of(s, req))
		reply(s->d, req);
	json_decref(vxlans);
}

void ctl_services_handle(struct ctl_server *s, struct evhttp_request *req)
{
	static const char *const none[] = {NULL};
	struct query q;
	if (ctl_query(req, none, &q) && node_of(s, req))
		ctl_reply_json(req, HTTP_OK,
			json_pack("{s:o}", "services", tailnet_services(s->d->tailnet)));
}

void ctl_drain_handle(struct ctl_server *s, struct evhttp_request *req)
{
	static const char *const names[] = {"on", NULL};
	struct query q;
	uint32_t on;
	if (!ctl_query(req, names, &q) || !ctl_query_number(req, &q, "on", 1, 0, 1, &on) ||
		!node_of(s, req))
		return;
	tailnet_drain(s->d->tailnet, on);
	reply(s->d, req);
}
