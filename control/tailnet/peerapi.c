#include "control/tailnet/peerapi.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <unistd.h>

#include "control/dns/dns.h"
#include "control/net/http_request.h"
#include "control/tailnet/peerapi_debug.h"
#include "dataplane/base/log.h"
#include "dataplane/base/mem.h"

static const char dns_type[] = "application/dns-message";

struct listener {
	struct ip_addr addr;
	uint16_t port;
	struct evconnlistener *l; // NULL: not listening
};

struct connection {
	LIST_ENTRY(connection) entry;
	struct peerapi *api;
	struct bufferevent *bev;
	struct event *deadline;
	struct ip_addr peer;
	struct endpoint at; // where it came in
	bool asked;	    // a resolver is at work
	bool answered;	    // what is left is to send it
	bool head_only;	    // without a body: HEAD
	bool debug;	    // asked by people: the answer is JSON
};

struct peerapi { // ctl only
	struct event_base *base;
	struct peerapi_env env;
	struct listener listeners[2];
	char device[IFNAME_LEN];
	LIST_HEAD(, connection) connections;
	unsigned n_connections;
};

// -- ports and hosts ------------------------------------------------------------------------------

// IEEE 802.3, as in Go's hash/crc32.
static uint32_t crc32(const uint8_t *bytes, size_t len)
{
	uint32_t crc = UINT32_MAX;
	for (size_t i = 0; i < len; i++) {
		crc ^= bytes[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
	}
	return ~crc;
}

uint16_t peerapi_port(const struct ip_addr *a, unsigned n)
{
	uint8_t last[3];
	memcpy(last, a->bytes + ip_addr_bits(a) / 8 - sizeof(last), sizeof(last));
	last[0] = (uint8_t)(last[0] + n);
	return (uint16_t)(0x8000 | (crc32(last, sizeof(last)) & 0xffff));
}

bool peerapi_host_fits(const char *host, size_t len, const struct endpoint *at)
{
	char own[ENDPOINT_TEXT_LEN];
	endpoint_format(at, own);
	return (len == 4 && memcmp(host, "peer", 4) == 0) ||
	       (len == strlen(own) && memcmp(host, own, len) == 0);
}

// -- connections ----------------------------------------------------------------------------------

static void connection_free(struct connection *c)
{
	if (c->asked)
		dns_cancel(c->api->env.dns(c->api->env.arg), c);
	LIST_REMOVE(c, entry);
	c->api->n_connections--;
	if (c->deadline)
		event_free(c->deadline);
	if (c->bev)
		bufferevent_free(c->bev);
	free(c);
}

static void on_sent(struct bufferevent *, void *arg)
{
	struct connection *c = arg;
	if (c->answered)
		connection_free(c);
}

static void on_end(struct bufferevent *, short, void *arg)
{
	connection_free(arg);
}

static void on_deadline(evutil_socket_t, short, void *arg)
{
	connection_free(arg);
}

static const char *reason_of(int code)
{
	switch (code) {
	case 200:
		return "OK";
	case 400:
		return "Bad Request";
	case 403:
		return "Forbidden";
	case 404:
		return "Not Found";
	case 405:
		return "Method Not Allowed";
	case 413:
		return "Content Too Large";
	case 415:
		return "Unsupported Media Type";
	default:
		return "Service Unavailable";
	}
}

static void reply(struct connection *c, int code, const char *type, const void *body, size_t len)
{
	struct evbuffer *out = bufferevent_get_output(c->bev);
	c->answered = true;
	bufferevent_disable(c->bev, EV_READ);
	evbuffer_add_printf(out,
		"HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
		"X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n",
		code, reason_of(code), type, len);
	if (!c->head_only)
		evbuffer_add(out, body, len);
}

static void reply_text(struct connection *c, int code, const char *text)
{
	char line[160];
	int n = snprintf(line, sizeof(line), "%s\n", text);
	reply(c, code, "text/plain; charset=utf-8", line, (size_t)n);
}

// -- requests -------------------------------------------------------------------------------------

static void reply_debug(struct connection *c, const uint8_t *answer, size_t len)
{
	char *text = peerapi_debug_answer(answer, len);
	if (text)
		reply(c, 200, "application/json", text, strlen(text));
	else
		reply_text(c, 503, "out of memory");
	free(text);
}

static void on_answer(void *arg, const uint8_t *answer, size_t len)
{
	struct connection *c = arg;
	c->asked = false;
	if (len && c->debug)
		reply_debug(c, answer, len);
	else if (len)
		reply(c, 200, dns_type, answer, len);
	else
		reply_text(c, 400, "that is no DNS query");
}

static void resolve(struct connection *c, const uint8_t *query, size_t len)
{
	const struct dns_client client = {.who = DNS_ASKER_PEER, .addr = c->peer, .stream = true};
	struct dns *dns = c->api->env.dns(c->api->env.arg);
	if (!dns) {
		reply_text(c, 503, "no resolver");
		return;
	}
	c->asked = true;
	dns_answer(dns, &client, query, len, on_answer, c);
}

// The query of a URL: a DNS message (RFC 8484), or a name in the form for people. Bytes or -errno.
static long url_query(struct connection *c, const struct http_text *in, uint8_t *out, size_t room)
{
	struct http_text value;
	if (http_query_get(in, "dns", &value))
		return base64url_decode(&value, out, room);
	c->debug = true;
	return peerapi_debug_query(in, out, room);
}

// RFC 8484. GET: the query is in the URL; POST: it is the body.
static void dns_query(
	struct connection *c, const struct http_request *r, const uint8_t *body, size_t len)
{
	const struct peerapi_env *env = &c->api->env;
	const struct nm_peer *peer = env->peer(env->arg, &c->peer);
	uint8_t query[DNS_QUERY_MAX];
	if (!peer || !env->may_resolve(env->arg, peer, &c->peer)) {
		reply_text(c, 403, "DNS access denied");
	} else if (http_text_is(&r->method, "POST")) {
		if (!http_text_is(&r->content_type, dns_type))
			reply_text(c, 415, "want application/dns-message");
		else if (len > DNS_QUERY_MAX)
			reply_text(c, 413, "the query is too long");
		else
			resolve(c, body, len);
	} else if (http_text_is(&r->method, "GET")) {
		long n = url_query(c, &r->query, query, sizeof(query));
		if (n < 0)
			reply_text(c, 400, "want dns= with a query in base64url, or q=NAME");
		else
			resolve(c, query, (size_t)n);
	} else {
		reply_text(c, 405, "want GET or POST");
	}
}

static void dispatch(
	struct connection *c, const struct http_request *r, const uint8_t *body, size_t len)
{
	c->head_only = http_text_is(&r->method, "HEAD");
	if (r->foreign || !peerapi_host_fits(r->host.at, r->host.len, &c->at)) {
		reply_text(c, 403, "not for browsers");
	} else if (http_text_is(&r->path, "/")) {
		if (c->head_only || http_text_is(&r->method, "GET"))
			reply_text(c, 200, "This is the peerAPI of a Tailgate gateway.");
		else
			reply_text(c, 405, "want GET or HEAD");
	} else if (http_text_is(&r->path, "/dns-query")) {
		dns_query(c, r, body, len);
	} else {
		reply_text(c, 404, "404 page not found");
	}
}

static void on_readable(struct bufferevent *bev, void *arg)
{
	struct connection *c = arg;
	struct evbuffer *in = bufferevent_get_input(bev);
	size_t len = evbuffer_get_length(in);
	struct http_request r;
	if (c->answered || c->asked)
		return;
	const uint8_t *bytes = evbuffer_pullup(in, -1);
	long head = http_request_parse(bytes, len, &r);
	if (head == 0)
		return;
	if (head < 0) {
		reply_text(c, 400, "that is no HTTP/1.1 request that is taken here");
	} else if (r.content_length > PEERAPI_BODY_MAX) {
		reply_text(c, 413, "the body is too long");
	} else if (!r.has_host) {
		reply_text(c, 400, "no Host");
	} else if (len - (size_t)head < r.content_length) {
		if (r.expects && len == (size_t)head)
			evbuffer_add_printf(
				bufferevent_get_output(bev), "HTTP/1.1 100 Continue\r\n\r\n");
	} else {
		dispatch(c, &r, bytes + head, (size_t)r.content_length);
	}
}

// -- listeners ------------------------------------------------------------------------------------

static bool read_sockaddr(const struct sockaddr *sa, struct endpoint *out)
{
	const struct sockaddr_in *a4 = (const void *)sa;
	const struct sockaddr_in6 *a6 = (const void *)sa;
	*out = (struct endpoint){0};
	if (sa->sa_family == AF_INET) {
		out->addr = ip_addr_v4(&a4->sin_addr);
		out->port = ntohs(a4->sin_port);
	} else if (sa->sa_family == AF_INET6) {
		out->addr = ip_addr_v6(&a6->sin6_addr);
		out->port = ntohs(a6->sin6_port);
	}
	return out->port != 0;
}

static bool is_welcome(struct peerapi *api, const struct ip_addr *peer)
{
	unsigned n = 0;
	struct connection *c;
	LIST_FOREACH(c, &api->connections, entry)
	{
		n += ip_addr_equal(&c->peer, peer);
	}
	return api->n_connections < PEERAPI_CONNECTIONS && n < PEERAPI_PER_PEER &&
	       api->env.peer(api->env.arg, peer);
}

static void on_accept(
	struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *sa, int, void *arg)
{
	static const struct timeval life = {.tv_sec = PEERAPI_TIME_S};
	struct peerapi *api = arg;
	struct endpoint from;
	if (!read_sockaddr(sa, &from) || !is_welcome(api, &from.addr)) {
		close(fd);
		return;
	}
	struct connection *c = mem_alloc(sizeof(*c));
	const struct listener *at = &api->listeners[l == api->listeners[1].l];
	*c = (struct connection){
		.api = api, .peer = from.addr, .at = {.addr = at->addr, .port = at->port}};
	LIST_INSERT_HEAD(&api->connections, c, entry);
	api->n_connections++;
	c->bev = bufferevent_socket_new(api->base, fd, BEV_OPT_CLOSE_ON_FREE);
	c->deadline = evtimer_new(api->base, on_deadline, c);
	if (!c->bev)
		close(fd);
	if (!c->bev || !c->deadline || event_add(c->deadline, &life) < 0) {
		connection_free(c);
		return;
	}
	bufferevent_setcb(c->bev, on_readable, on_sent, on_end, c);
	bufferevent_setwatermark(c->bev, EV_READ, 0, HTTP_REQUEST_MAX + PEERAPI_BODY_MAX);
	bufferevent_enable(c->bev, EV_READ | EV_WRITE);
}

static int open_socket(const struct ip_addr *a, uint16_t port, const char *device)
{
	struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	bool v4 = a->family == IP_V4;
	const int on = 1;
	memcpy(&a4.sin_addr, a->bytes, sizeof(a4.sin_addr));
	memcpy(&a6.sin6_addr, a->bytes, sizeof(a6.sin6_addr));
	int fd = socket(a->family == IP_V4 ? AF_INET : AF_INET6,
		SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	// The address need not be there yet. What does not come out of the tunnel is not heard.
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
		setsockopt(fd, SOL_IP, IP_FREEBIND, &on, sizeof(on)) < 0 ||
		(device[0] && setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device,
				      (socklen_t)strlen(device)) < 0) ||
		(v4 ? bind(fd, (struct sockaddr *)&a4, sizeof(a4))
		    : bind(fd, (struct sockaddr *)&a6, sizeof(a6))) < 0) {
		const int error = errno;
		close(fd);
		return -error;
	}
	return fd;
}

static uint16_t bound_port(int fd)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	struct endpoint e;
	if (getsockname(fd, (struct sockaddr *)&sa, &len) < 0 ||
		!read_sockaddr((struct sockaddr *)&sa, &e))
		return 0;
	return e.port;
}

static void listener_close(struct listener *l)
{
	if (l->l)
		evconnlistener_free(l->l);
	*l = (struct listener){0};
}

static void listener_open(struct peerapi *api, struct listener *l, const struct ip_addr *a)
{
	char text[ADDR_TEXT_LEN];
	int fd = -EADDRINUSE;
	for (unsigned i = 0; i <= PEERAPI_TRIES && fd == -EADDRINUSE; i++)
		fd = open_socket(a, i < PEERAPI_TRIES ? peerapi_port(a, i) : 0, api->device);
	if (fd < 0) {
		log_warn("tailnet", "no peerAPI at %s: %s", ip_addr_format(a, text), strerror(-fd));
		return;
	}
	*l = (struct listener){.addr = *a, .port = bound_port(fd)};
	l->l = evconnlistener_new(api->base, on_accept, api,
		LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, PEERAPI_CONNECTIONS, fd);
	if (!l->l) {
		close(fd);
		listener_close(l);
	}
}

bool peerapi_listen(
	struct peerapi *api, const struct ip_addr *v4, const struct ip_addr *v6, const char *device)
{
	const struct ip_addr *const wanted[] = {v4, v6};
	bool moved = strcmp(api->device, device) != 0, changed = false;
	snprintf(api->device, sizeof(api->device), "%s", device);
	for (unsigned i = 0; i < 2; i++) {
		struct listener *l = &api->listeners[i];
		uint16_t before = l->port;
		if (l->l && !moved && ip_addr_equal(&l->addr, wanted[i]))
			continue;
		listener_close(l);
		if (wanted[i]->family != IP_NONE)
			listener_open(api, l, wanted[i]);
		changed |= l->port != before;
	}
	return changed;
}

void peerapi_close(struct peerapi *api)
{
	listener_close(&api->listeners[0]);
	listener_close(&api->listeners[1]);
	while (!LIST_EMPTY(&api->connections))
		connection_free(LIST_FIRST(&api->connections));
}

uint16_t peerapi_port_of(const struct peerapi *api, enum ip_family family)
{
	return api->listeners[family == IP_V6].port;
}

struct peerapi *peerapi_create(struct event_base *base, const struct peerapi_env *env)
{
	struct peerapi *api = mem_alloc(sizeof(*api));
	*api = (struct peerapi){.base = base, .env = *env};
	LIST_INIT(&api->connections);
	return api;
}

void peerapi_destroy(struct peerapi *api)
{
	if (!api)
		return;
	peerapi_close(api);
	free(api);
}
