#include "control/ctl/server.h"

#include <errno.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/ctl/answer.h"
#include "control/ctl/capture.h"
#include "control/ctl/dns.h"
#include "control/ctl/doctor.h"
#include "control/ctl/local.h"
#include "control/ctl/metrics.h"
#include "control/ctl/explain.h"
#include "control/ctl/nat.h"
#include "control/ctl/node.h"
#include "control/ctl/report.h"
#include "control/ctl/routes.h"
#include "control/ctl/request.h"
#include "control/ctl/socket.h"
#include "control/ctl/trace.h"

enum {
	CTL_STOP_AFTER_MS = 50,
	HTTP_FORBIDDEN = 403,
	HTTP_UNPROCESSABLE = 422,
};

#define CTL_PREFIX "/tailgate/v0/"

// A handler of a request without parameters.
static bool without_query(struct evhttp_request *req)
{
	static const char *const none[] = {NULL};
	struct query q;
	return ctl_query(req, none, &q);
}

static json_t *next_status_peer(void *d, size_t *at, char[static CTL_MEMBER_LEN])
{
	return report_status_peer(d, at);
}

static void handle_status(struct ctl_server *s, struct evhttp_request *req)
{
	if (!without_query(req))
		return;
	const struct ctl_list list = {.object = report_status(s->d),
		.member = "peers",
		.next = next_status_peer,
		.arg = s->d};
	ctl_send_list(s->conns, req, &list);
}

static void handle_stats(struct ctl_server *s, struct evhttp_request *req)
{
	if (without_query(req))
		ctl_reply_json(req, HTTP_OK, report_stats(s->d));
}

static json_t *next_top_peer(void *d, size_t *at, char[static CTL_MEMBER_LEN])
{
	return report_top_peer(d, at);
}

static void handle_top(struct ctl_server *s, struct evhttp_request *req)
{
	if (!without_query(req))
		return;
	const struct ctl_list list = {
		.object = report_top(s->d), .member = "peers", .next = next_top_peer, .arg = s->d};
	ctl_send_list(s->conns, req, &list);
}

static void handle_metrics(struct ctl_server *s, struct evhttp_request *req)
{
	struct ctl_source source;
	if (metrics_source(s->d, s->conns, &source) < 0)
		ctl_reply_error(req, HTTP_INTERNAL, "out of memory");
	else
		ctl_send_source(s->conns, req, &source);
}

static void handle_reload(struct ctl_server *s, struct evhttp_request *req)
{
	char err[512] = "";
	if (!without_query(req))
		return;
	if (daemon_reload(s->d, err) < 0)
		ctl_reply_error(req, HTTP_UNPROCESSABLE, "%s", err);
	else
		ctl_reply_json(req, HTTP_OK, json_pack("{s:b}", "ok", true));
}

static void stop(evutil_socket_t, short, void *arg)
{
	daemon_stop(arg);
}

static void handle_stop(struct ctl_server *s, struct evhttp_request *req)
{
	// The answer leaves first.
	static const struct timeval soon = {.tv_usec = CTL_STOP_AFTER_MS * 1000};
	if (!without_query(req))
		return;
	if (event_base_once(s->d->base, -1, EV_TIMEOUT, stop, s->d, &soon) < 0)
		ctl_reply_error(req, HTTP_INTERNAL, "out of memory");
	else
		ctl_reply_json(req, HTTP_OK, json_pack("{s:b}", "ok", true));
}

static void handle_index(struct ctl_server *, struct evhttp_request *);

// A path may stand here once for each method.
static const struct route {
	enum evhttp_cmd_type method;
	const char *path;
	void (*handler)(struct ctl_server *, struct evhttp_request *);
	const char *help;
} routes[] = {
	{EVHTTP_REQ_GET, CTL_PREFIX, handle_index, "this list"},
	{EVHTTP_REQ_GET, CTL_PREFIX "status", handle_status, "version, workers, ports, peers"},
	{EVHTTP_REQ_GET, CTL_PREFIX "stats", handle_stats, "drops, counters, nodes, bursts"},
	{EVHTTP_REQ_GET, CTL_PREFIX "top", handle_top, "raw counters with a timestamp"},
	{EVHTTP_REQ_POST, CTL_PREFIX "trace", ctl_trace_handle,
		"?packets=N&worker=W&timeout=S: the way of the next packets"},
	{EVHTTP_REQ_GET, CTL_PREFIX "capture", ctl_capture_handle,
		"?peer=&port=&point=plain|wire&count=&snaplen=: a stream of pcapng"},
	{EVHTTP_REQ_POST, CTL_PREFIX "reload", handle_reload, "read the configuration again"},
	{EVHTTP_REQ_POST, CTL_PREFIX "stop", handle_stop, "stop the daemon"},
	{EVHTTP_REQ_GET, CTL_PREFIX "metrics", handle_metrics, "OpenMetrics text"},
	{EVHTTP_REQ_GET, CTL_PREFIX "doctor", ctl_doctor_handle, "what is wrong, what to do"},
	{EVHTTP_REQ_GET, CTL_PREFIX "dns", ctl_dns_handle,
		"who resolves which names, and how that goes"},
	{EVHTTP_REQ_GET, CTL_PREFIX "tailnet", ctl_tailnet_handle,
		"peers of the tailnet and why their paths are what they are"},
	{EVHTTP_REQ_GET, CTL_PREFIX "nat", ctl_nat_handle,
		"?client=&next=: the address translation and its flows"},
	{EVHTTP_REQ_GET, CTL_PREFIX "explain", ctl_explain_handle,
		"?src=&dst=&proto=&port=: which rule lets it in, or why none does"},
	{EVHTTP_REQ_GET, CTL_PREFIX "services", ctl_services_handle,
		"services of the tailnet that are hosted"},
	{EVHTTP_REQ_GET, CTL_PREFIX "routes", ctl_routes_handle,
		"the advertised networks and what became of each"},
	{EVHTTP_REQ_POST, CTL_PREFIX "drain", ctl_drain_handle,
		"?on=0|1: offer no routes any more, or again"},
	{EVHTTP_REQ_GET, CTL_PREFIX "netcheck", ctl_netcheck_handle, "the last report"},
	{EVHTTP_REQ_POST, CTL_PREFIX "netcheck", ctl_netcheck_handle,
		"?full=1: a new report of the network"},
};

// What the TCP address serves: nothing that changes or tells keys.
static const struct route metrics_routes[] = {
	{EVHTTP_REQ_GET, "/metrics", handle_metrics, "OpenMetrics text"},
};

static const char *method_name(const struct route *route)
{
	return route->method == EVHTTP_REQ_POST ? "POST" : "GET";
}

static void handle_index(struct ctl_server *, struct evhttp_request *req)
{
	if (!without_query(req))
		return;
	json_t *list = json_array();
	for (unsigned i = 0; i < RTE_DIM(routes); i++)
		json_array_append_new(
			list, json_pack("{s:s, s:s, s:s}", "method", method_name(&routes[i]),
				      "path", routes[i].path, "help", routes[i].help));
	ctl_reply_json(req, HTTP_OK, list);
}

static void dispatch(
	struct ctl_server *s, struct evhttp_request *req, const struct route *table, unsigned n)
{
	const char *path = evhttp_uri_get_path(evhttp_request_get_evhttp_uri(req));
	enum evhttp_cmd_type method = evhttp_request_get_command(req);
	const struct route *other = NULL;
	for (unsigned i = 0; i < n; i++) {
		if (path == NULL || strcmp(path, table[i].path) != 0)
			continue;
		if (table[i].method == method) {
			table[i].handler(s, req);
			return;
		}
		other = &table[i];
	}
	if (other == NULL) {
		ctl_reply_error(req, HTTP_NOTFOUND, "there is nothing here");
		return;
	}
	evhttp_add_header(evhttp_request_get_output_headers(req), "Allow", method_name(other));
	ctl_reply_error(req, HTTP_BADMETHOD, "use %s", method_name(other));
}

static void on_request(struct evhttp_request *req, void *arg)
{
	struct ctl_server *s = arg;
	if (!ctl_conns_request(s->conns, req))
		return;
	bool may_manage = ctl_conns_manages(s->conns, req);
	if (local_handle(s->local, req, may_manage))
		return;
	if (may_manage)
		dispatch(s, req, routes, RTE_DIM(routes));
	else
		ctl_reply_error(req, HTTP_FORBIDDEN, "only for root and the group of the socket");
}

static void on_metrics_request(struct evhttp_request *req, void *arg)
{
	struct ctl_server *s = arg;
	if (ctl_conns_request(s->conns, req))
		dispatch(s, req, metrics_routes, RTE_DIM(metrics_routes));
}

static struct evhttp *new_http(
	struct ctl_server *s, void (*handler)(struct evhttp_request *, void *))
{
	struct evhttp *http = evhttp_new(s->d->base);
	if (http == NULL)
		return NULL;
	evhttp_set_max_headers_size(http, CTL_HEADERS_MAX);
	evhttp_set_max_body_size(http, CTL_BODY_MAX);
	evhttp_set_timeout(http, CTL_REQUEST_S);
	// All of them, so that it is our table that refuses.
	evhttp_set_allowed_methods(http, EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_HEAD |
						 EVHTTP_REQ_PUT | EVHTTP_REQ_DELETE |
						 EVHTTP_REQ_OPTIONS | EVHTTP_REQ_PATCH);
	evhttp_set_gencb(http, handler, s);
	return http;
}

static int listen_unix(
	struct ctl_server *s, const struct ctl_params *params, char err[static CTL_ERROR_LEN])
{
	struct stat st;
	int fd = ctl_socket_listen(params->path, params->user, err);
	if (fd < 0)
		return fd;
	snprintf(s->path, sizeof(s->path), "%s", params->path);
	if (stat(s->path, &st) < 0)
		st = (struct stat){};
	s->device = st.st_dev;
	s->inode = st.st_ino;
	ctl_conns_watch_unix(s->conns, s->http, st.st_gid);
	struct evconnlistener *listener = evconnlistener_new(
		s->d->base, NULL, NULL, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
	if (listener == NULL) {
		close(fd);
		goto no_memory;
	}
	if (evhttp_bind_listener(s->http, listener) != NULL)
		return 0;
	evconnlistener_free(listener);
no_memory:
	snprintf(err, CTL_ERROR_LEN, "out of memory");
	return -ENOMEM;
}

static int listen_metrics(
	struct ctl_server *s, const struct endpoint *at, char err[static CTL_ERROR_LEN])
{
	char address[ADDR_TEXT_LEN], text[ENDPOINT_TEXT_LEN];
	if (at->port == 0)
		return 0;
	s->metrics_http = new_http(s, on_metrics_request);
	if (s->metrics_http != NULL && evhttp_bind_socket(s->metrics_http,
					       ip_addr_format(&at->addr, address), at->port) == 0) {
		ctl_conns_watch_tcp(s->conns, s->metrics_http);
		return 0;
	}
	int error = errno != 0 ? -errno : -EADDRINUSE;
	snprintf(err, CTL_ERROR_LEN, "cannot serve metrics on %s: %s", endpoint_format(at, text),
		strerror(-error));
	return error;
}

int ctl_server_create(struct daemon *d, const struct ctl_params *params, struct ctl_server **out,
	char err[static CTL_ERROR_LEN])
{
	int error = -ENOMEM;
	struct ctl_server *s = calloc(1, sizeof(*s));
	snprintf(err, CTL_ERROR_LEN, "out of memory");
	if (s == NULL)
		return error;
	signal(SIGPIPE, SIG_IGN); // libevent writes to clients that may have left
	s->d = d;
	s->conns = ctl_conns_create(d->base);
	s->local = local_create(d, s->conns);
	s->http = new_http(s, on_request);
	if (s->conns != NULL && s->http != NULL)
		error = listen_unix(s, params, err);
	if (error == 0)
		error = listen_metrics(s, &params->metrics, err);
	if (error < 0) {
		ctl_server_destroy(s);
		return error;
	}
	*out = s;
	return 0;
}

// Not a socket that somebody else has put there since.
static void remove_socket(const struct ctl_server *s)
{
	struct stat st;
	if (s->path[0] != '\0' && stat(s->path, &st) == 0 && st.st_dev == s->device &&
		st.st_ino == s->inode)
		unlink(s->path);
}

void ctl_server_destroy(struct ctl_server *s)
{
	if (s == NULL)
		return;
	ctl_netcheck_abort(s);
	ctl_doctor_abort(s);
	ctl_trace_abort(s);
	ctl_capture_abort(s);
	local_destroy(s->local);
	remove_socket(s);
	if (s->metrics_http != NULL)
		evhttp_free(s->metrics_http);
	if (s->http != NULL)
		evhttp_free(s->http);
	ctl_conns_destroy(s->conns);
	free(s);
}
