#include "control/dns/doh.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "control/dns/dns.h"
#include "control/net/transfer.h"
#include "dataplane/base/mem.h"

struct connection {
	LIST_ENTRY(connection) entry;
	struct transfer transfer;
	struct doh_server *server;
	struct doh_job *job; // NULL: idle
	struct curl_slist *headers;
	uint8_t *answer; // DNS_MESSAGE_MAX
	size_t len;
	bool too_large;
	unsigned idle_s;
};

struct doh_job {
	TAILQ_ENTRY(doh_job) entry; // while it waits
	struct doh_server *server;
	struct connection *connection; // NULL: it waits
	void (*done)(void *arg, const uint8_t *answer, size_t len, const char *why);
	void *arg;
	size_t len;
	uint8_t query[512];
};

struct doh_server {
	LIST_ENTRY(doh_server) entry;
	struct doh *doh;
	struct dns_target target;
	LIST_HEAD(, connection) connections;
	TAILQ_HEAD(, doh_job) waiting;
	unsigned n_connections, n_waiting;
};

struct doh { // ctl only
	struct net *net;
	struct event *tick;
	LIST_HEAD(, doh_server) servers;
	unsigned n_servers;
};

static void connection_free(struct connection *c)
{
	LIST_REMOVE(c, entry);
	c->server->n_connections--;
	transfer_fini(&c->transfer);
	curl_slist_free_all(c->headers);
	free(c->answer);
	free(c);
}

static void server_free(struct doh_server *s)
{
	for (struct connection *c; (c = LIST_FIRST(&s->connections));) {
		free(c->job);
		connection_free(c);
	}
	for (struct doh_job *j; (j = TAILQ_FIRST(&s->waiting));) {
		TAILQ_REMOVE(&s->waiting, j, entry);
		free(j);
	}
	LIST_REMOVE(s, entry);
	s->doh->n_servers--;
	free(s);
}

// -- one query ------------------------------------------------------------------------------------

static size_t on_body(char *bytes, size_t, size_t n, void *arg)
{
	struct connection *c = arg;

	if (n > DNS_MESSAGE_MAX - c->len) {
		c->too_large = true;
		return 0;
	}
	memcpy(c->answer + c->len, bytes, n);
	c->len += n;
	return n;
}

static int run(struct connection *c, struct doh_job *j)
{
	CURL *e = c->transfer.easy;

	c->job = j;
	c->len = 0;
	c->too_large = false;
	c->idle_s = 0;
	j->connection = c;
	curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE, (long)j->len);
	curl_easy_setopt(e, CURLOPT_POSTFIELDS, j->query);
	return transfer_start(&c->transfer);
}

// The connection has nothing to do: the next query that waits, if there is one.
static void next(struct connection *c)
{
	struct doh_job *j = TAILQ_FIRST(&c->server->waiting);

	curl_multi_remove_handle(c->transfer.multi, c->transfer.easy);
	c->job = NULL;
	if (!j)
		return;
	TAILQ_REMOVE(&c->server->waiting, j, entry);
	c->server->n_waiting--;
	if (run(c, j) < 0)
		abort(); // libcurl is out of memory
}

static bool is_dns(CURL *e)
{
	const char *type = NULL;
	long status = 0;

	curl_easy_getinfo(e, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(e, CURLINFO_CONTENT_TYPE, &type);
	return status == 200 && type && strncasecmp(type, "application/dns-message", 23) == 0;
}

static void on_done(void *arg, CURLcode code)
{
	struct connection *c = arg;
	struct doh_job j = *c->job;
	char why[STREAM_WHY_LEN] = "";
	uint8_t *answer = c->answer;
	size_t len = c->len;
	long status = 0;

	curl_easy_getinfo(c->transfer.easy, CURLINFO_RESPONSE_CODE, &status);
	if (c->too_large)
		snprintf(why, sizeof(why), "its answer is larger than a DNS message can be");
	else if (code != CURLE_OK)
		transfer_explain(&c->transfer, code, why);
	else if (!is_dns(c->transfer.easy))
		snprintf(why, sizeof(why), "it answers with HTTP status %ld and no DNS message",
			status);
	free(c->job);
	// done may ask again, on this connection: it has another buffer by then.
	c->answer = mem_alloc(DNS_MESSAGE_MAX);
	next(c);
	j.done(j.arg, answer, why[0] ? 0 : len, why);
	free(answer);
}

static struct connection *connection_open(struct doh_server *s)
{
	struct connection *c = mem_alloc(sizeof(*c));
	char host[DNS_TARGET_LEN];
	const char *at = strstr(s->target.url, "://") + 3;
	const bool v6 = at[0] == '[';
	const bool tls = strncmp(s->target.url, "https", 5) == 0;

	at += v6;
	snprintf(host, sizeof(host), "%.*s", (int)strcspn(at, v6 ? "]" : ":/"), at);
	const struct transfer_target target = {
		.url = s->target.url,
		.host = host,
		.port = 443, // with addresses: https alone
		.address = s->target.addresses[0] ? s->target.addresses : NULL,
		// As the machine's own packets go: through the exit node, where one is in use.
		.inside = true,
	};
	c->server = s;
	c->answer = mem_alloc(DNS_MESSAGE_MAX);
	LIST_INSERT_HEAD(&s->connections, c, entry);
	s->n_connections++;
	c->headers = curl_slist_append(NULL, "Content-Type: application/dns-message");
	if (c->headers)
		curl_slist_append(c->headers, "Accept: application/dns-message");
	if (transfer_init(&c->transfer, s->doh->net, &target, on_done, c) < 0 || !c->headers) {
		connection_free(c);
		return NULL;
	}
	CURL *e = c->transfer.easy;
	curl_easy_setopt(e, CURLOPT_HTTPHEADER, c->headers);
	curl_easy_setopt(e, CURLOPT_POST, 1L);
	curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(e, CURLOPT_WRITEDATA, c);
	curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)DOH_TIMEOUT_MS);
	curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(e, CURLOPT_USERAGENT, "tailgate/" TAILGATE_VERSION);
	if (tls) { // some providers have ended HTTP/1.1
		curl_easy_setopt(e, CURLOPT_SSL_ENABLE_ALPN, 1L);
		curl_easy_setopt(e, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_2TLS);
	}
	return c;
}

static bool is_idle(const struct doh_server *s)
{
	const struct connection *c;

	LIST_FOREACH(c, &s->connections, entry)
	{
		if (c->job)
			return false;
	}
	return TAILQ_EMPTY(&s->waiting);
}

static struct doh_server *server_get(struct doh *d, const struct dns_target *t)
{
	struct doh_server *s, *idle = NULL;

	LIST_FOREACH(s, &d->servers, entry)
	{
		if (strcmp(s->target.url, t->url) == 0 &&
			strcmp(s->target.addresses, t->addresses) == 0)
			return s;
		idle = is_idle(s) ? s : idle;
	}
	if (d->n_servers == DOH_SERVERS_MAX && !idle)
		return NULL;
	if (d->n_servers == DOH_SERVERS_MAX)
		server_free(idle);
	s = mem_alloc(sizeof(*s));
	*s = (struct doh_server){.doh = d, .target = *t};
	LIST_INIT(&s->connections);
	TAILQ_INIT(&s->waiting);
	LIST_INSERT_HEAD(&d->servers, s, entry);
	d->n_servers++;
	return s;
}

static struct connection *free_connection(struct doh_server *s)
{
	struct connection *c;

	LIST_FOREACH(c, &s->connections, entry)
	{
		if (!c->job)
			return c;
	}
	return NULL;
}

int doh_ask(struct doh *d, const struct dns_target *target, const uint8_t *query, size_t len,
	void (*done)(void *arg, const uint8_t *answer, size_t len, const char *why), void *arg,
	struct doh_job **out)
{
	struct doh_server *s = server_get(d, target);
	struct doh_job *j;
	int error;

	if (!s || s->n_waiting == DOH_QUEUE_MAX)
		return -ENOBUFS;
	if (len > sizeof(j->query))
		return -EINVAL;
	j = mem_alloc(sizeof(*j));
	*j = (struct doh_job){.server = s, .done = done, .arg = arg, .len = len};
	memcpy(j->query, query, len);
	struct connection *c = free_connection(s);
	if (!c && s->n_connections < DOH_CONNECTIONS_MAX) {
		c = connection_open(s);
		if (!c) {
			free(j);
			return -ENOMEM;
		}
	}
	if (!c) {
		TAILQ_INSERT_TAIL(&s->waiting, j, entry);
		s->n_waiting++;
	} else if ((error = run(c, j)) < 0) {
		c->job = NULL;
		free(j);
		return error;
	}
	*out = j;
	return 0;
}

void doh_cancel(struct doh_job *j)
{
	if (!j)
		return;
	if (j->connection) {
		next(j->connection);
	} else {
		TAILQ_REMOVE(&j->server->waiting, j, entry);
		j->server->n_waiting--;
	}
	free(j);
}

// -- the whole ------------------------------------------------------------------------------------

static void on_tick(evutil_socket_t, short, void *arg)
{
	struct doh *d = arg;
	struct doh_server *s, *next_s;
	struct connection *c, *next_c;

	for (s = LIST_FIRST(&d->servers); s; s = next_s) {
		next_s = LIST_NEXT(s, entry);
		for (c = LIST_FIRST(&s->connections); c; c = next_c) {
			next_c = LIST_NEXT(c, entry);
			if (!c->job && c->idle_s++ >= DOH_IDLE_S)
				connection_free(c);
		}
		if (LIST_EMPTY(&s->connections))
			server_free(s);
	}
}

struct doh *doh_create(struct event_base *base, struct net *net)
{
	const struct timeval second = {.tv_sec = 1};
	struct doh *d = mem_alloc(sizeof(*d));

	*d = (struct doh){.net = net};
	LIST_INIT(&d->servers);
	d->tick = event_new(base, -1, EV_PERSIST, on_tick, d);
	if (d->tick && event_add(d->tick, &second) == 0)
		return d;
	doh_destroy(d);
	return NULL;
}

void doh_destroy(struct doh *d)
{
	if (!d)
		return;
	while (!LIST_EMPTY(&d->servers))
		server_free(LIST_FIRST(&d->servers));
	if (d->tick)
		event_free(d->tick);
	free(d);
}
