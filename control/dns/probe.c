// Whether the configured resolvers answer.
#include <stdio.h>
#include <stdlib.h>

#include "control/dns/dns_priv.h"
#include "dataplane/base/mem.h"

static const struct dns_timing probe_timing = {
	.next_ms = 0,
	.doh_plain_ms = 1000,
	.tcp_ms = 1000,
	.tcp_limit_ms = 2000,
	.limit_ms = 2800,
};

struct one {
	struct dns_probing *run;
	struct dns_target target;
	struct dns_probe result;
	uint64_t started_ms;
};

struct dns_probing {
	LIST_ENTRY(dns_probing) entry;
	struct dns_forward *forward; // its own: what is known of resolvers from questions stays
	struct event *end;
	struct one list[DNS_PROBES_MAX];
	unsigned n, left;
	void (*done)(void *arg, const struct dns_probe *, unsigned n);
	void *arg;
};

static void run_free(struct dns_probing *r)
{
	LIST_REMOVE(r, entry);
	dns_forward_destroy(r->forward);
	if (r->end)
		event_free(r->end);
	free(r);
}

static void on_end(evutil_socket_t, short, void *arg)
{
	struct dns_probing *r = arg;
	struct dns_probe results[DNS_PROBES_MAX];

	for (unsigned i = 0; i < r->n; i++)
		results[i] = r->list[i].result;
	r->done(r->arg, results, r->n);
	run_free(r);
}

// The forwarder is in the middle of it: the end comes from the loop.
static void on_answer(void *arg, const uint8_t *message, const struct dns_reply *)
{
	static const struct timeval now = {0};
	struct one *o = arg;
	struct dns_probing *r = o->run;
	unsigned n;
	const struct dns_server_info *s = dns_forward_servers(r->forward, &n);

	o->result.answers = message != NULL;
	o->result.took_ms = (uint32_t)(dns_now_ms() - o->started_ms);
	for (unsigned i = 0; i < n && !message; i++)
		if (strcmp(s[i].text, o->target.text) == 0)
			snprintf(o->result.why, sizeof(o->result.why), "%s", s[i].why);
	if (--r->left == 0)
		event_add(r->end, &now);
}

static void add(struct dns_probing *r, const struct dns_route *route)
{
	for (uint32_t i = 0; i < route->n && r->n < DNS_PROBES_MAX; i++) {
		bool known = false;
		for (unsigned j = 0; j < r->n; j++)
			known |= dns_target_equal(&r->list[j].target, &route->targets[i]);
		if (known)
			continue;
		struct one *o = &r->list[r->n++];
		o->run = r;
		o->target = route->targets[i];
		memcpy(o->result.text, o->target.text, sizeof(o->target.text));
	}
}

void dns_probe(
	struct dns *d, void (*done)(void *arg, const struct dns_probe *, unsigned n), void *arg)
{
	static const struct timeval now = {0};
	const struct dns_view *v = dns_view_now(d);
	struct dns_query q = {.type = ns_t_ns};
	struct dns_probing *r = mem_alloc(sizeof(*r));

	r->done = done;
	r->arg = arg;
	LIST_INSERT_HEAD(&d->probings, r, entry);
	r->end = evtimer_new(d->params.base, on_end, r);
	r->forward = dns_forward_create(d->params.base, d->params.net, &probe_timing);
	if (!r->end || !r->forward)
		abort();
	add(r, &v->resolvers);
	for (uint32_t i = 0; i < v->n_routes; i++)
		add(r, &v->routes[i]);
	r->left = r->n;
	for (unsigned i = 0; i < r->n; i++) {
		struct one *o = &r->list[i];
		const struct dns_route one = {.suffix = "", .targets = &o->target, .n = 1};
		o->started_ms = dns_now_ms();
		dns_forward_ask(r->forward, &one, &q, on_answer, o);
	}
	if (!r->n)
		event_add(r->end, &now);
}

void dns_probes_end(struct dns *d)
{
	while (!LIST_EMPTY(&d->probings))
		on_end(-1, 0, LIST_FIRST(&d->probings));
}
