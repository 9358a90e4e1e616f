#include "control/ctl/local_priv.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <pwd.h>
#include <sodium.h>
#include <stdlib.h>

#include "control/coord/json.h"
#include "control/ctl/socket.h"
#include "dataplane/base/mem.h"

#define LOCAL_PREFIX "/localapi/v0/"

// The name that the clients put into Host.
#define LOCAL_HOST "local-tailscaled.sock"

enum {
	LOCAL_NO_CONTENT = 204,
	LOCAL_FORBIDDEN = 403,
};

const char local_no_tailnet[] =
	"Tailgate runs without a tailnet: its configuration names static peers only. Start "
	"tailgated "
	"without a configuration file, or with a 'tailnet' block in it, then 'tailscale up'";

struct local_waiting {
	struct local *local; // NULL: the LocalAPI is gone
	struct evhttp_request *req;
	bool may_write;
	struct local_waiting *next, *before;
};

enum {
	ROUTE_WRITE = 1 << 0,	// only for those who may change something
	ROUTE_TAILNET = 1 << 1, // needs a tailnet
};

// A name may stand here once for each method.
static const struct route {
	const char *name;
	enum evhttp_cmd_type method;
	unsigned flags;
	local_handler *handler;
} routes[] = {
	{"appc-route-info", EVHTTP_REQ_GET, ROUTE_TAILNET, local_handle_appc},
	{"cert-domains", EVHTTP_REQ_GET, ROUTE_TAILNET, local_handle_cert_domains},
	{"check-ip-forwarding", EVHTTP_REQ_GET, 0, local_handle_warning},
	{"check-prefs", EVHTTP_REQ_POST, ROUTE_WRITE, local_handle_check},
	{"check-so-mark-in-use", EVHTTP_REQ_GET, 0, local_handle_so_mark},
	{"check-udp-gro-forwarding", EVHTTP_REQ_GET, 0, local_handle_warning},
	{"derpmap", EVHTTP_REQ_GET, ROUTE_TAILNET, local_handle_derpmap},
	{"dns-config", EVHTTP_REQ_GET, ROUTE_TAILNET, local_handle_dns},
	{"dns-osconfig", EVHTTP_REQ_GET, ROUTE_TAILNET, local_handle_dns_os},
	{"dns-query", EVHTTP_REQ_GET, ROUTE_WRITE | ROUTE_TAILNET, local_handle_dns_query},
	{"login-interactive", EVHTTP_REQ_POST, ROUTE_WRITE | ROUTE_TAILNET, local_handle_login},
	{"logout", EVHTTP_REQ_POST, ROUTE_WRITE | ROUTE_TAILNET, local_handle_logout},
	{"peer-by-id", EVHTTP_REQ_GET, ROUTE_TAILNET, local_handle_peer},
	{"ping", EVHTTP_REQ_POST, ROUTE_TAILNET, local_handle_ping},
	{"prefs", EVHTTP_REQ_GET, ROUTE_TAILNET, local_handle_prefs},
	{"prefs", EVHTTP_REQ_PATCH, ROUTE_WRITE | ROUTE_TAILNET, local_handle_patch},
	{"reload-config", EVHTTP_REQ_POST, ROUTE_WRITE, local_handle_reload},
	{"serve-config", EVHTTP_REQ_GET, 0, local_handle_serve},
	{"services", EVHTTP_REQ_GET, ROUTE_TAILNET, local_handle_services},
	{"start", EVHTTP_REQ_POST, ROUTE_WRITE | ROUTE_TAILNET, local_handle_start},
	{"status", EVHTTP_REQ_GET, 0, local_handle_status},
	{"suggest-exit-node", EVHTTP_REQ_GET, ROUTE_TAILNET, local_handle_suggest},
	{"suggest-exit-node", EVHTTP_REQ_POST, ROUTE_TAILNET, local_handle_suggest},
	{"user-profile", EVHTTP_REQ_GET, ROUTE_TAILNET, local_handle_user},
	{"usermetrics", EVHTTP_REQ_GET, ROUTE_TAILNET, local_handle_metrics},
	{"watch-ipn-bus", EVHTTP_REQ_GET, ROUTE_TAILNET, local_handle_watch},
	{"whois", EVHTTP_REQ_GET, ROUTE_TAILNET, local_handle_whois},
};

static void reply(struct local_request *r, int code, const char *type, const char *text)
{
	struct evbuffer *body = evbuffer_new();

	if (body != NULL)
		evbuffer_add_printf(body, "%s", text);
	ctl_send(r->req, code, type, body);
	if (body != NULL)
		evbuffer_free(body);
}

void local_json(struct local_request *r, int code, json_t *json)
{
	ctl_send_json(r->req, code, json, JSON_INDENT(1) | JSON_ENCODE_ANY);
}

void local_text(struct local_request *r, int code, const char *format, ...)
{
	char text[1024];
	va_list args;

	va_start(args, format);
	int n = vsnprintf(text, sizeof(text) - 1, format, args);
	va_end(args);
	n = n < 0 ? 0 : RTE_MIN(n, (int)sizeof(text) - 2);
	memcpy(text + n, "\n", 2);
	reply(r, code, "text/plain; charset=utf-8", text);
}

void local_no_content(struct local_request *r)
{
	reply(r, LOCAL_NO_CONTENT, NULL, "");
}

const char *local_query(const struct local_request *r, const char *name)
{
	const char *value = evhttp_find_header(&r->query, name);

	return value != NULL && *value != '\0' ? value : NULL;
}

// Without the white space around it. NULL: broken.
static json_t *parse(const char *text, size_t len)
{
	const char *end = text + len;

	while (text < end && memchr(" \t\r\n", *text, 4) != NULL)
		text++;
	while (end > text && memchr(" \t\r\n", end[-1], 4) != NULL)
		end--;
	return json_piece((struct slice){text, (size_t)(end - text)});
}

json_t *local_body(struct local_request *r)
{
	struct evbuffer *in = evhttp_request_get_input_buffer(r->req);
	size_t len = evbuffer_get_length(in);
	char *text = len > 0 ? (char *)evbuffer_pullup(in, -1) : NULL;
	json_t *json = text != NULL ? parse(text, len) : NULL;

	if (text != NULL) // it may have an auth key
		sodium_memzero(text, len);
	if (json_is_object(json))
		return json;
	json_decref(json);
	local_text(r, HTTP_BADREQUEST, "invalid JSON body");
	return NULL;
}

struct local_waiting *local_wait(struct local_request *r)
{
	struct local *local = r->local;

	if (local->n_waiting >= LOCAL_WAITING_MAX) {
		local_text(r, HTTP_SERVUNAVAIL, "%d requests wait already; try again",
			LOCAL_WAITING_MAX);
		return NULL;
	}
	struct local_waiting *w = mem_alloc(sizeof(*w));
	*w = (struct local_waiting){
		.local = local, .req = r->req, .may_write = r->may_write, .next = local->waiting};
	if (w->next != NULL)
		w->next->before = w;
	local->waiting = w;
	local->n_waiting++;
	return w;
}

static void unlink_waiting(struct local_waiting *w)
{
	if (w->before != NULL)
		w->before->next = w->next;
	else
		w->local->waiting = w->next;
	if (w->next != NULL)
		w->next->before = w->before;
	w->local->n_waiting--;
	w->local = NULL;
}

bool local_resume(struct local_waiting *w, struct local_request *r)
{
	struct local *local = w->local;

	if (local != NULL) {
		unlink_waiting(w);
		// Where the connection is gone, the answer only frees the request.
		*r = (struct local_request){.local = local,
			.req = w->req,
			.t = local->d->tailnet,
			.may_write = w->may_write};
	}
	free(w);
	return local != NULL;
}

struct local *local_create(struct daemon *d, struct ctl_conns *conns)
{
	struct local *local = mem_alloc(sizeof(*local));

	*local = (struct local){.d = d, .conns = conns};
	local->share = local_share_create(local);
	return local;
}

void local_destroy(struct local *local)
{
	if (local == NULL)
		return;
	local_bus_end(local);
	while (local->waiting != NULL) {
		// It stays the waiter's own: whoever was asked still calls local_resume.
		struct local_request r = {.local = local, .req = local->waiting->req};
		unlink_waiting(local->waiting);
		local_text(&r, HTTP_SERVUNAVAIL, "the daemon stops");
	}
	local_share_destroy(local->share);
	free(local);
}

// Asked of the system, which may have to ask others and take its time, once a minute only.
static bool operator_uid(struct local *local, const char *name, uid_t *out)
{
	struct local_operator *o = &local->operator;
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	if (strcmp(o->name, name) != 0 || now.tv_sec >= o->until_s) {
		const struct passwd *user = getpwnam(name);
		snprintf(o->name, sizeof(o->name), "%s", name);
		o->until_s = now.tv_sec + LOCAL_OPERATOR_S;
		o->known = user != NULL;
		o->uid = user != NULL ? user->pw_uid : 0;
	}
	*out = o->uid;
	return o->known;
}

// The user of the prefs who may do as root does here.
static bool is_operator(struct local *local, struct evhttp_request *req)
{
	struct evhttp_connection *connection = evhttp_request_get_connection(req);
	struct tailnet *t = local->d->tailnet;
	struct ucred peer;
	uid_t uid;

	return t != NULL &&
	       tailnet_prefs(t)->operator[0] != '\0' && connection != NULL && ctl_socket_peer(
		       bufferevent_getfd(evhttp_connection_get_bufferevent(connection)), &peer) ==
		       0 &&
	       operator_uid(local, tailnet_prefs(t)->operator, & uid) && uid == peer.uid;
}

// A page in a browser that is led here has one of these, or another name in Host.
static bool is_foreign(struct evhttp_request *req)
{
	struct evkeyvalq *headers = evhttp_request_get_input_headers(req);
	const char *host = evhttp_find_header(headers, "Host");

	return evhttp_find_header(headers, "Origin") != NULL ||
	       evhttp_find_header(headers, "Referer") != NULL ||
	       (host != NULL && *host != '\0' && strcmp(host, LOCAL_HOST) != 0);
}

static const struct route *find_route(struct local_request *r, const char *name)
{
	enum evhttp_cmd_type method = evhttp_request_get_command(r->req);
	char allowed[32] = "";

	for (unsigned i = 0; i < RTE_DIM(routes); i++) {
		if (strcmp(routes[i].name, name) != 0)
			continue;
		if (routes[i].method == method)
			return &routes[i];
		const char *one = routes[i].method == EVHTTP_REQ_GET	? "GET"
				  : routes[i].method == EVHTTP_REQ_POST ? "POST"
									: "PATCH";
		size_t n = strlen(allowed);
		snprintf(allowed + n, sizeof(allowed) - n, "%s%s", n > 0 ? ", " : "", one);
	}
	if (*allowed == '\0') {
		local_text(r, HTTP_NOTFOUND, "404 page not found");
		return NULL;
	}
	evhttp_add_header(evhttp_request_get_output_headers(r->req), "Allow", allowed);
	local_text(r, HTTP_BADMETHOD, "want %s", allowed);
	return NULL;
}

static void run(struct local_request *r, const char *name)
{
	const struct route *route = find_route(r, name);

	if (route == NULL)
		return;
	if ((route->flags & ROUTE_WRITE) && !r->may_write)
		local_text(r, LOCAL_FORBIDDEN, "%s access denied", name); // the command adds how
	else if ((route->flags & ROUTE_TAILNET) && r->t == NULL)
		local_text(r, HTTP_SERVUNAVAIL, "%s", local_no_tailnet);
	else
		route->handler(r);
}

bool local_handle(struct local *local, struct evhttp_request *req, bool manages)
{
	const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(req);
	const char *path = evhttp_uri_get_path(uri), *query = evhttp_uri_get_query(uri);
	struct local_request r = {.local = local, .req = req, .t = local->d->tailnet};

	if (path == NULL || strncmp(path, LOCAL_PREFIX, strlen(LOCAL_PREFIX)) != 0)
		return false;
	if (is_foreign(req)) {
		local_text(&r, LOCAL_FORBIDDEN, "invalid localapi request");
		return true;
	}
	if (evhttp_parse_query_str(query != NULL ? query : "", &r.query) < 0) {
		local_text(&r, HTTP_BADREQUEST, "invalid query");
		return true;
	}
	r.may_write = manages || is_operator(local, req);
	run(&r, path + strlen(LOCAL_PREFIX));
	evhttp_clear_headers(&r.query);
	return true;
}
