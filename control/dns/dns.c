#include "control/dns/dns.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "control/dns/dns_priv.h"
#include "dataplane/base/clock.h"
#include "dataplane/base/log.h"
#include "dataplane/base/mem.h"

// -- the view -------------------------------------------------------------------------------------

static void hash_route(crypto_generichash_state *h, const struct dns_route *r)
{
	const uint32_t head[2] = {r->n, r->local};

	crypto_generichash_update(h, (const void *)head, sizeof(head));
	crypto_generichash_update(h, (const void *)r->suffix, strlen(r->suffix) + 1);
	for (uint32_t i = 0; i < r->n; i++)
		crypto_generichash_update(
			h, (const void *)r->targets[i].text, strlen(r->targets[i].text) + 1);
}

// Whether others are asked than before; what was cached does not count then.
static bool resolvers_changed(struct dns *d)
{
	uint8_t mark[sizeof(d->resolvers_mark)];
	crypto_generichash_state h;

	crypto_generichash_init(&h, NULL, 0, sizeof(mark));
	for (uint32_t i = 0; i < d->view->n_routes; i++)
		hash_route(&h, &d->view->routes[i]);
	hash_route(&h, &d->view->resolvers);
	hash_route(&h, &d->view->base);
	crypto_generichash_final(&h, mark, sizeof(mark));
	const bool changed = memcmp(mark, d->resolvers_mark, sizeof(mark)) != 0;
	memcpy(d->resolvers_mark, mark, sizeof(mark));
	return changed;
}

static void make_view(struct dns *d)
{
	const struct osconf_file *host = osconf_base(d->osconf);
	const char *base[OSCONF_SERVERS_MAX];
	struct dns_view_from from = {
		.netmap = d->params.netmap(d->params.arg),
		.exit_url = d->exit_url,
		.base = base,
		.n_base = host->n_servers,
		.own_host = d->accept,
	};

	for (unsigned i = 0; i < host->n_servers; i++)
		base[i] = host->servers[i];
	dns_view_destroy(d->view);
	d->view = dns_view_create(&from);
	d->view_stale = false;
	d->view_ms = dns_now_ms();
	if (!resolvers_changed(d))
		return;
	d->generation++;
	dns_cache_clear(d->cache);
}

const struct dns_view *dns_view_now(struct dns *d)
{
	const bool large = d->view && d->view->n_hosts > DNS_VIEW_SMALL;

	if (!d->view || (d->view_stale && (!large || dns_now_ms() - d->view_ms >= DNS_VIEW_MS)))
		make_view(d);
	return d->view;
}

void dns_netmap_changed(struct dns *d)
{
	d->view_stale = true;
}

// -- questions ------------------------------------------------------------------------------------

static void pending_free(struct dns_question *q, struct dns_pending *p)
{
	TAILQ_REMOVE(&q->pending, p, entry);
	q->dns->n_pending--;
	free(p);
}

static size_t room_of(const struct dns_client *c, const struct dns_query *q)
{
	return c->stream ? DNS_MESSAGE_MAX : q->udp_size;
}

// done may cancel any other, so that one after the other is taken from the head.
static void on_flight(void *arg, const uint8_t *message, const struct dns_reply *reply)
{
	struct dns_question *q = arg;
	struct dns *d = q->dns;
	const struct dns_cache_key key = {
		q->query.name, q->query.type, q->where, q->query.cd, q->query.dnssec_ok};

	LIST_REMOVE(q, entry);
	d->n_questions--;
	d->counters.failed += message == NULL;
	if (message && d->watch)
		d->watch(d->watch_arg, q->query.name, message, reply->len);
	if (message && q->generation == d->generation)
		dns_cache_put(d->cache, &key, dns_now_ms() / 1000, message, reply);
	for (struct dns_pending *p; (p = TAILQ_FIRST(&q->pending));) {
		struct dns_pending one = *p;
		pending_free(q, p);
		d->counters.answers[message ? DNS_FROM_RESOLVER : DNS_FROM_NOBODY]++;
		const size_t room = room_of(&one.client, &one.query);
		const size_t len = message ? dns_answer_copy(d->answer, room, one.message,
						     &one.query, message, reply, 0)
					   : dns_engine_refuse(one.message, &one.query,
						     ns_r_servfail, d->answer, room);
		one.done(one.arg, d->answer, len);
	}
	free(q);
}

static struct dns_question *question_find(
	struct dns *d, const struct dns_query *query, uint16_t where)
{
	struct dns_question *q;

	LIST_FOREACH(q, &d->questions, entry)
	{
		if (q->query.type == query->type && q->query.cd == query->cd &&
			q->query.dnssec_ok == query->dnssec_ok && q->where == where &&
			q->generation == d->generation && strcmp(q->query.name, query->name) == 0)
			return q;
	}
	return NULL;
}

static struct dns_question *question_ask(
	struct dns *d, const struct dns_route *route, const struct dns_query *query, uint16_t where)
{
	struct dns_question *q = question_find(d, query, where);

	if (q) {
		d->counters.joined++;
		return q;
	}
	if (d->n_questions == DNS_ACTIVE_MAX)
		return NULL;
	q = mem_alloc(sizeof(*q));
	*q = (struct dns_question){
		.dns = d, .query = *query, .where = where, .generation = d->generation};
	TAILQ_INIT(&q->pending);
	LIST_INSERT_HEAD(&d->questions, q, entry);
	d->n_questions++;
	q->flight = dns_forward_ask(d->forward, route, query, on_flight, q);
	return q;
}

// One address must not take all the places.
static bool client_has_room(const struct dns *d, const struct dns_client *c)
{
	const struct dns_question *q;
	const struct dns_pending *p;
	unsigned n = 0;

	if (c->who == DNS_ASKER_HOST)
		return true;
	LIST_FOREACH(q, &d->questions, entry)
	{
		TAILQ_FOREACH(p, &q->pending, entry)
		{
			n += ip_addr_equal(&p->client.addr, &c->addr);
		}
	}
	return n < DNS_CLIENT_MAX;
}

static bool wait_for(struct dns *d, const struct dns_client *client, const struct dns_route *route,
	const struct dns_query *query, const uint8_t *message, uint16_t where,
	void (*done)(void *arg, const uint8_t *answer, size_t len), void *arg)
{
	if (!client_has_room(d, client)) {
		d->counters.client_busy++;
		return false;
	}
	struct dns_question *q =
		d->n_pending < DNS_ACTIVE_MAX ? question_ask(d, route, query, where) : NULL;
	if (!q) {
		d->counters.busy++;
		return false;
	}
	struct dns_pending *p = mem_alloc(sizeof(*p));
	*p = (struct dns_pending){.client = *client, .query = *query, .done = done, .arg = arg};
	memcpy(p->message, message, (size_t)DNS_HEADER_LEN + query->question_len);
	TAILQ_INSERT_TAIL(&q->pending, p, entry);
	d->n_pending++;
	return true;
}

void dns_answer(struct dns *d, const struct dns_client *client, const uint8_t *message, size_t len,
	void (*done)(void *arg, const uint8_t *answer, size_t len), void *arg)
{
	const struct dns_view *view = dns_view_now(d);
	const struct dns_route *route;
	struct dns_cached cached;
	struct dns_query query;
	size_t n = 0;

	d->counters.queries[client->who]++;
	switch (dns_engine(view, client, message, len, (uint32_t)(unix_now_ns() / 1000000000),
		&query, d->answer, sizeof(d->answer), &n, &route)) {
	case DNS_IGNORE:
		d->counters.no_query++;
		done(arg, NULL, 0);
		return;
	case DNS_ANSWER:
		d->counters.local++;
		d->counters.answers[DNS_FROM_NETMAP]++;
		d->counters.refused += (d->answer[3] & 0xf) == ns_r_refused;
		done(arg, d->answer, n);
		return;
	case DNS_FORWARD:
		break;
	}
	const uint16_t where = route == &view->base;
	const struct dns_cache_key key = {query.name, query.type, where, query.cd, query.dnssec_ok};
	d->counters.forwarded++;
	if (dns_cache_get(d->cache, &key, dns_now_ms() / 1000, &cached)) {
		d->counters.answers[DNS_FROM_CACHE]++;
		n = dns_answer_copy(d->answer, room_of(client, &query), message, &query,
			cached.message, cached.reply, cached.age_s);
	} else if (wait_for(d, client, route, &query, message, where, done, arg)) {
		return;
	} else {
		d->counters.answers[DNS_FROM_NOBODY]++;
		n = dns_engine_refuse(
			message, &query, ns_r_servfail, d->answer, room_of(client, &query));
	}
	done(arg, d->answer, n);
}

void dns_cancel(struct dns *d, const void *arg)
{
	struct dns_question *q;

	LIST_FOREACH(q, &d->questions, entry)
	{
		for (struct dns_pending *p = TAILQ_FIRST(&q->pending), *next; p; p = next) {
			next = TAILQ_NEXT(p, entry);
			if (p->arg == arg)
				pending_free(q, p);
		}
	}
}

void dns_watch(struct dns *d, dns_watch_fn *fn, void *arg)
{
	d->watch = fn;
	d->watch_arg = arg;
	if (fn)
		dns_cache_clear(d->cache);
}

// -- listening ------------------------------------------------------------------------------------

static void listen_at(struct dns *d, struct dns_listener *l)
{
	const int before = l->error;
	char text[ENDPOINT_TEXT_LEN];

	l->error = serve_open(&l->serve, d, d->params.base, &l->at,
		l->service ? DNS_ASKER_HOST : DNS_ASKER_LAN, l->service);
	if (!l->error || l->error == before)
		return;
	log_warn("dns", "%s: %s%s", endpoint_format(&l->at, text), strerror(-l->error),
		l->error == -EADDRINUSE
			? ": another DNS server has it, maybe on all addresses; see "
			  "'ss -lunp sport = 53'"
			: "");
}

static void on_tick(evutil_socket_t, short, void *arg)
{
	struct dns *d = arg;

	osconf_tick(d->osconf);
	if (d->accept && d->view_stale) { // search domains may be others
		dns_view_now(d);
		dns_accept(d, true, d->ifindex);
	}
	if (++d->ticks % DNS_AGAIN_S)
		return;
	for (unsigned i = 0; i < d->n_listeners; i++)
		if (!d->listeners[i].serve)
			listen_at(d, &d->listeners[i]);
}

static void add_listeners(struct dns *d)
{
	if (d->params.service) {
		d->listeners[d->n_listeners++] =
			(struct dns_listener){.at = {dns_service_v4, DNS_PORT}, .service = true};
		d->listeners[d->n_listeners++] =
			(struct dns_listener){.at = {dns_service_v6, DNS_PORT}, .service = true};
	}
	for (unsigned i = 0; i < d->params.n_listen; i++)
		d->listeners[d->n_listeners++] = (struct dns_listener){.at = d->params.listen[i]};
	for (unsigned i = 0; i < d->n_listeners; i++)
		listen_at(d, &d->listeners[i]);
}

// -- the whole ------------------------------------------------------------------------------------

static void on_host(void *arg)
{
	struct dns *d = arg;

	d->view_stale = true;
	d->view_ms = 0; // at once
}

void dns_accept(struct dns *d, bool on, uint32_t ifindex)
{
	const bool changed = on != d->accept;

	d->accept = on;
	d->ifindex = ifindex;
	if (changed)
		on_host(d);
	const struct dns_view *v = dns_view_now(d);
	osconf_set(d->osconf, on, ifindex, v->search, v->n_search);
}

void dns_set_exit(struct dns *d, const char *url)
{
	if (strcmp(d->exit_url, url ? url : "") == 0)
		return;
	snprintf(d->exit_url, sizeof(d->exit_url), "%s", url ? url : "");
	on_host(d);
}

struct dns *dns_create(const struct dns_params *params)
{
	const struct timeval second = {.tv_sec = 1};
	struct dns *d = mem_alloc(sizeof(*d));
	const struct osconf_params host = {
		.base = params->base,
		.file = params->resolv_conf,
		.resolved = params->resolved_conf,
		.state_dir = params->state_dir,
		.changed = on_host,
		.arg = d,
	};

	d->params = *params;
	LIST_INIT(&d->questions);
	LIST_INIT(&d->probings);
	d->cache = dns_cache_create();
	d->osconf = osconf_create(&host);
	d->forward = dns_forward_create(params->base, params->net, &dns_timing);
	d->tick = event_new(params->base, -1, EV_PERSIST, on_tick, d);
	if (!d->forward || !d->tick || event_add(d->tick, &second) < 0) {
		dns_destroy(d);
		return NULL;
	}
	add_listeners(d);
	return d;
}

void dns_destroy(struct dns *d)
{
	if (!d)
		return;
	osconf_destroy(d->osconf);
	for (unsigned i = 0; i < d->n_listeners; i++)
		serve_close(d->listeners[i].serve);
	dns_probes_end(d);
	dns_forward_destroy(d->forward);
	for (struct dns_question *q; (q = LIST_FIRST(&d->questions));) {
		for (struct dns_pending *p; (p = TAILQ_FIRST(&q->pending));) {
			struct dns_pending one = *p;
			pending_free(q, p);
			one.done(one.arg, NULL, 0);
		}
		LIST_REMOVE(q, entry);
		free(q);
	}
	if (d->tick)
		event_free(d->tick);
	dns_cache_destroy(d->cache);
	dns_view_destroy(d->view);
	free(d);
}

static void nothing(void *)
{
}

void dns_recover(const char *resolv_conf, const char *state_dir)
{
	const struct osconf_params host = {
		.file = resolv_conf, .resolved = "", .state_dir = state_dir, .changed = nothing};

	osconf_destroy(osconf_create(&host));
}
