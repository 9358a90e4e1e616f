// What the resolver does, for people and programs.
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "control/dns/dns_priv.h"

static void set(json_t *o, const char *name, json_t *v)
{
	json_object_set_new(o, name, v);
}

static json_t *targets(const struct dns_route *r)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < r->n; i++)
		json_array_append_new(list, json_string(r->targets[i].text));
	return list;
}

static int by_suffix(const void *a, const void *b)
{
	const struct dns_route *const *x = a, *const *y = b;

	return strcmp((*x)->suffix, (*y)->suffix);
}

// Without the zones for addresses, which are always the same.
static json_t *routes(const struct dns_view *v)
{
	const struct dns_route **list = calloc(v->n_routes + 1, sizeof(*list));
	json_t *out = json_array();
	uint32_t n = 0;

	for (uint32_t i = 0; list && i < v->n_routes; i++)
		if (!v->routes[i].local || !dns_name_within(v->routes[i].suffix, "arpa"))
			list[n++] = &v->routes[i];
	if (n)
		qsort(list, n, sizeof(*list), by_suffix);
	for (uint32_t i = 0; i < n; i++)
		json_array_append_new(
			out, json_pack("{s:s, s:b, s:o}", "suffix", list[i]->suffix, "local",
				     list[i]->local, "resolvers", targets(list[i])));
	free(list);
	return out;
}

static json_t *servers(const struct dns *d)
{
	const int64_t now_s = (int64_t)(dns_now_ms() / 1000);
	unsigned n;
	const struct dns_server_info *s = dns_forward_servers(d->forward, &n);
	json_t *out = json_array();

	for (unsigned i = 0; i < n; i++, s++)
		json_array_append_new(
			out, json_pack("{s:s, s:I, s:I, s:I, s:i, s:s, s:i, s:I, s:I, s:s}",
				     "resolver", s->text, "asked", (json_int_t)s->asked, "answered",
				     (json_int_t)s->answered, "failed", (json_int_t)s->failed,
				     "silent", (int)s->silent, "by", s->how, "latency_ms",
				     (int)s->latency_ms, "answered_s_ago",
				     (json_int_t)(s->ok_s ? now_s - s->ok_s : -1), "failed_s_ago",
				     (json_int_t)(s->failed_s ? now_s - s->failed_s : -1), "why",
				     s->why));
	return out;
}

static json_t *listeners(const struct dns *d)
{
	char text[ENDPOINT_TEXT_LEN];
	json_t *out = json_array();

	for (unsigned i = 0; i < d->n_listeners; i++) {
		const struct dns_listener *l = &d->listeners[i];
		struct serve_counters c = {0};
		if (l->serve)
			serve_count(l->serve, &c);
		json_array_append_new(
			out, json_pack("{s:s, s:b, s:s, s:I, s:I, s:I, s:I, s:I, s:I}", "address",
				     endpoint_format(&l->at, text), "service", l->service, "error",
				     l->error ? strerror(-l->error) : "", "udp", (json_int_t)c.udp,
				     "tcp", (json_int_t)c.tcp, "refused", (json_int_t)c.refused,
				     "foreign", (json_int_t)c.foreign, "oversized",
				     (json_int_t)c.oversized, "unsent", (json_int_t)c.unsent));
	}
	return out;
}

static json_t *counters(const struct dns *d)
{
	const struct dns_counters *c = &d->counters;
	struct dns_forward_counters f;

	dns_forward_count(d->forward, &f);
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, "
			 "s:I}",
		"host", (json_int_t)c->queries[DNS_ASKER_HOST], "lan",
		(json_int_t)c->queries[DNS_ASKER_LAN], "peers",
		(json_int_t)c->queries[DNS_ASKER_PEER], "local", (json_int_t)c->local, "forwarded",
		(json_int_t)c->forwarded, "joined", (json_int_t)c->joined, "busy",
		(json_int_t)c->busy, "client_busy", (json_int_t)c->client_busy, "no_query",
		(json_int_t)c->no_query, "unanswered", (json_int_t)c->failed, "udp",
		(json_int_t)f.udp, "tcp", (json_int_t)f.tcp, "doh", (json_int_t)f.doh, "strays",
		(json_int_t)f.strays, "bad", (json_int_t)f.bad);
}

static json_t *cache(const struct dns *d)
{
	struct dns_cache_counters c;

	dns_cache_count(d->cache, &c);
	return json_pack("{s:I, s:I, s:I, s:I, s:I}", "hits", (json_int_t)c.hits, "misses",
		(json_int_t)c.misses, "evicted", (json_int_t)c.evicted, "entries",
		(json_int_t)c.entries, "bytes", (json_int_t)c.bytes);
}

static json_t *host(const struct dns *d)
{
	static const char *const names[] = {
		[OSCONF_OFF] = "off",
		[OSCONF_FILE] = "resolv.conf",
		[OSCONF_RESOLVED] = "systemd-resolved",
		[OSCONF_FAILED] = "failed",
	};
	const struct osconf_file *base = osconf_base(d->osconf);
	char why[OSCONF_TEXT_LEN];
	const enum osconf_how how = osconf_how(d->osconf, why);
	json_t *list = json_array();

	for (unsigned i = 0; i < base->n_servers; i++)
		json_array_append_new(list, json_string(base->servers[i]));
	return json_pack(
		"{s:s, s:s, s:o}", "asks_us_by", names[how], "why", why, "nameservers", list);
}

json_t *dns_info(struct dns *d)
{
	const struct dns_view *v = dns_view_now(d);
	json_t *o = json_object(), *search = json_array();

	for (uint32_t i = 0; i < v->n_search; i++)
		json_array_append_new(search, json_string(v->search[i]));
	set(o, "accept", json_boolean(d->accept));
	set(o, "magic_dns", json_boolean(v->proxied));
	set(o, "names", json_integer(v->n_hosts));
	set(o, "host", host(d));
	set(o, "search", search);
	set(o, "global", json_boolean(v->global));
	set(o, "resolvers", targets(&v->resolvers));
	set(o, "unsupported", json_integer(v->unsupported));
	set(o, "exit", json_string(d->exit_url));
	set(o, "routes", routes(v));
	set(o, "listen", listeners(d));
	set(o, "servers", servers(d));
	set(o, "cache", cache(d));
	set(o, "counters", counters(d));
	return o;
}

void dns_totals(const struct dns *d, struct dns_totals *out)
{
	const struct dns_counters *c = &d->counters;
	struct dns_forward_counters f;
	struct dns_cache_counters k;

	dns_forward_count(d->forward, &f);
	dns_cache_count(d->cache, &k);
	*out = (struct dns_totals){
		.refused = c->refused,
		.no_query = c->no_query,
		.unanswered = c->failed,
		.busy = c->busy + c->client_busy,
		.doh = f.doh,
		.udp = f.udp,
		.tcp = f.tcp,
		.strays = f.strays,
		.bad = f.bad,
		.cache_evicted = k.evicted,
		.cache_bytes = k.bytes,
		.cache_entries = k.entries,
		.waiting = d->n_questions,
	};
	memcpy(out->queries, c->queries, sizeof(out->queries));
	memcpy(out->answers, c->answers, sizeof(out->answers));
}

unsigned dns_resolver_totals(const struct dns *d, struct dns_resolver_totals *out, unsigned max)
{
	unsigned n;
	const struct dns_server_info *s = dns_forward_servers(d->forward, &n);

	n = n < max ? n : max;
	for (unsigned i = 0; i < n; i++)
		out[i] = (struct dns_resolver_totals){
			s[i].text, s[i].asked, s[i].answered, s[i].failed, s[i].latency_ms};
	return n;
}

unsigned dns_resolvers_of(struct dns *d, const char *text, const char **out, unsigned max)
{
	char name[DNS_NAME_LEN];

	if (dns_name_read(text, name) < 0)
		return 0;
	const struct dns_route *r = dns_view_route(dns_view_now(d), name);
	const unsigned n = r->n < max ? r->n : max;
	for (unsigned i = 0; i < n; i++)
		out[i] = r->targets[i].text;
	return n;
}

void dns_os(struct dns *d, struct dns_os *out)
{
	const struct osconf_file *base = osconf_base(d->osconf);
	const struct dns_view *v = dns_view_now(d);
	char why[OSCONF_TEXT_LEN];
	const enum osconf_how how = osconf_how(d->osconf, why);
	const bool ours = how == OSCONF_FILE || how == OSCONF_RESOLVED;

	*out = (struct dns_os){0};
	if (ours)
		out->servers[out->n_servers++] = "100.100.100.100";
	for (unsigned i = 0; !ours && i < base->n_servers; i++)
		out->servers[out->n_servers++] = base->servers[i];
	for (uint32_t i = 0; ours && i < v->n_search; i++)
		out->search[out->n_search++] = v->search[i];
	for (unsigned i = 0; i < base->n_search; i++)
		out->search[out->n_search++] = base->search[i];
}

void dns_health(struct dns *d, struct dns_health *out)
{
	char text[ENDPOINT_TEXT_LEN], why[OSCONF_TEXT_LEN];

	*out = (struct dns_health){
		.accept = d->accept, .unsupported = dns_view_now(d)->unsupported};
	if (osconf_how(d->osconf, why) == OSCONF_FAILED)
		snprintf(out->host_error, sizeof(out->host_error), "%s", why);
	for (unsigned i = 0; i < d->n_listeners && !out->listen_error[0]; i++)
		if (d->listeners[i].error)
			snprintf(out->listen_error, sizeof(out->listen_error),
				"cannot listen at %s: %s",
				endpoint_format(&d->listeners[i].at, text),
				strerror(-d->listeners[i].error));
}
