#include "control/ctl/node.h"

#include <stdio.h>
#include <stdlib.h>

#include "control/ctl/answer.h"
#include "control/ctl/report.h"
#include "control/tailnet/tailnet.h"
#include "dataplane/base/clock.h"
#include "dataplane/base/mem.h"

enum {
	HTTP_CONFLICT = 409,
	WAITING_MAX = 8,
};

struct ctl_netcheck { // a request that waits for its report
	struct ctl_server *server;
	struct evhttp_request *req; // NULL: the server is gone
	struct ctl_netcheck *next;
};

static const char *text(const char *s)
{
	return s ? s : "";
}

static json_t *seconds_since(uint64_t unix_ns, uint64_t now_ns)
{
	if (unix_ns == 0)
		return json_null();
	return json_integer((json_int_t)((now_ns > unix_ns ? now_ns - unix_ns : 0) / 1000000000));
}

static const char *path_kind(const struct tailnet_peer_info *i)
{
	return i->direct.port	? i->relay_vni ? "peer-relay" : "direct"
	       : i->derp_region ? "relay"
				: "none";
}

static json_t *peer_json(const struct tailnet *t, const struct nm_peer *p, uint64_t now)
{
	const struct nm_node *n = p->node;
	char ip[ADDR_TEXT_LEN] = "", endpoint[ENDPOINT_TEXT_LEN] = "";
	struct tailnet_peer_info i;
	bool known = tailnet_peer_info(t, p, &i);
	if (n->n_addresses)
		ip_addr_format(&n->addresses[0].addr, ip);
	if (i.direct.port)
		endpoint_format(&i.direct, endpoint);
	json_t *o = json_pack("{s:s,s:s,s:s,s:s,s:s,s:b,s:s}", "name", text(n->name), "ip", ip,
		"path", path_kind(&i), "endpoint", endpoint, "region",
		tailnet_region_code(t, i.derp_region), "active", i.active, "why",
		known ? i.why : nm_unusable_text((enum nm_unusable)p->unusable));
	json_object_set_new(o, "vni", json_integer(i.relay_vni));
	json_object_set_new(o, "latency_ms",
		i.latency_ns ? json_real((double)i.latency_ns / 1e6) : json_null());
	json_object_set_new(o, "handshake_age_s", seconds_since(i.handshake_unix_ns, now));
	json_object_set_new(o, "last_pong_s", seconds_since(i.last_pong_unix_ns, now));
	json_object_set_new(
		o, "key_expiry", n->key_expiry ? json_integer(n->key_expiry) : json_null());
	json_object_set_new(o, "mtu", json_integer(i.mtu));
	if (i.mtu_probed.mtu)
		json_object_set_new(o, "mtu_probed", report_learned(&i.mtu_probed));
	json_object_set_new(o, "candidates", json_integer(i.candidates));
	json_object_set_new(o, "pings_sent", json_integer(i.pings_sent));
	json_object_set_new(o, "pongs_received", json_integer(i.pongs_received));
	json_object_set_new(o, "call_me_maybes_sent", json_integer(i.call_me_maybes_sent));
	json_object_set_new(o, "call_me_maybes_received", json_integer(i.call_me_maybes_received));
	json_object_set_new(o, "rx_bytes", json_integer((json_int_t)i.rx_bytes));
	json_object_set_new(o, "tx_bytes", json_integer((json_int_t)i.tx_bytes));
	json_object_set_new(o, "cap", json_integer(n->cap));
	return o;
}

static json_t *coord_json(const struct coord_status *c)
{
	return json_pack("{s:b,s:s,s:s,s:s,s:s,s:s,s:I,s:I,s:I,s:I,s:I}", "streaming",
		c->state == COORD_STREAMING, "trouble", coord_trouble_label(c->trouble), "why",
		c->why, "url", c->url, "user", c->user, "path", c->path, "connects",
		(json_int_t)c->connects, "failures", (json_int_t)c->failures, "messages",
		(json_int_t)c->messages, "lite_updates", (json_int_t)c->lite_updates,
		"ping_requests", (json_int_t)c->ping_requests);
}

static const struct tailnet *node_of(struct ctl_server *s, struct evhttp_request *req)
{
	if (!s->d->tailnet)
		ctl_reply_error(req, HTTP_CONFLICT,
			"this gateway is no node of a tailnet: see tailnet in tailgate.conf(5)");
	return s->d->tailnet;
}

static json_t *next_peer(void *arg, size_t *at, char[static CTL_MEMBER_LEN])
{
	const struct tailnet *t = ((const struct daemon *)arg)->tailnet;
	const struct netmap *nm = tailnet_netmap(t);
	return *at < nm->n_peers ? peer_json(t, nm->peers[(*at)++], unix_now_ns()) : NULL;
}

void ctl_tailnet_handle(struct ctl_server *s, struct evhttp_request *req)
{
	static const char *const none[] = {NULL};
	struct query q;
	unsigned n_health;
	if (!ctl_query(req, none, &q))
		return;
	const struct tailnet *t = node_of(s, req);
	if (!t)
		return;
	json_t *lines = json_array();
	const char *const *health = tailnet_health(t, &n_health);
	for (unsigned i = 0; i < n_health; i++)
		json_array_append_new(lines, json_string(health[i]));
	const struct ctl_list list = {
		.object = json_pack("{s:s,s:s,s:o,s:o}", "state",
			tailnet_state_text(tailnet_state(t)), "home",
			tailnet_region_code(t, tailnet_netcheck(t)->preferred), "coord",
			coord_json(tailnet_coord(t)), "health", lines),
		.member = "peers",
		.next = next_peer,
		.arg = s->d,
	};
	ctl_send_list(s->conns, req, &list);
}

static void reply_report(
	struct ctl_server *s, struct evhttp_request *req, const struct netcheck_report *r)
{
	const struct nm_derp_map *map = &tailnet_netmap(s->d->tailnet)->derp;
	char *lines = netcheck_text(r, map, false), *json = netcheck_json(r, false);
	json_t *report = json ? json_loads(json, 0, NULL) : NULL;
	ctl_reply_json(req, HTTP_OK,
		json_pack(
			"{s:s,s:o}", "text", text(lines), "report", report ? report : json_null()));
	free(lines);
	free(json);
}

static void on_report(void *arg, const struct netcheck_report *r)
{
	struct ctl_netcheck *w = arg;
	if (w->req) {
		struct ctl_netcheck **at = &w->server->netchecks;
		while (*at != w)
			at = &(*at)->next;
		*at = w->next;
		reply_report(w->server, w->req, r);
	}
	free(w);
}

void ctl_netcheck_abort(struct ctl_server *s)
{
	for (struct ctl_netcheck *w = s->netchecks; w; w = w->next) {
		ctl_reply_error(w->req, HTTP_SERVUNAVAIL, "the daemon stops");
		w->req = NULL;
	}
	s->netchecks = NULL;
}

void ctl_netcheck_handle(struct ctl_server *s, struct evhttp_request *req)
{
	static const char *const names[] = {"full", NULL};
	struct query q;
	uint32_t full;
	unsigned waiting = 0;
	if (!ctl_query(req, names, &q) || !ctl_query_number(req, &q, "full", 0, 0, 1, &full) ||
		!node_of(s, req))
		return;
	if (evhttp_request_get_command(req) == EVHTTP_REQ_GET) {
		reply_report(s, req, tailnet_netcheck(s->d->tailnet));
		return;
	}
	for (const struct ctl_netcheck *w = s->netchecks; w; w = w->next)
		waiting++;
	if (waiting == WAITING_MAX) {
		ctl_reply_error(req, HTTP_CONFLICT, "too many wait for a report already");
		return;
	}
	struct ctl_netcheck *w = mem_alloc(sizeof(*w));
	*w = (struct ctl_netcheck){.server = s, .req = req, .next = s->netchecks};
	s->netchecks = w;
	tailnet_netcheck_start(s->d->tailnet, full, on_report, w);
}
