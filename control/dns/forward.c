#include "control/dns/forward.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "control/dns/forward_priv.h"
#include "dataplane/base/log.h"
#include "dataplane/base/mem.h"

// Tailscale net/dns/resolver/forwarder.go.
const struct dns_timing dns_timing = {
	.next_ms = 200,
	.doh_plain_ms = 500,
	.tcp_ms = 2000,
	.tcp_limit_ms = 5000,
	.limit_ms = DNS_TIMEOUT_MS - 200, // before whoever asked gives up
};

uint64_t dns_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

// -- what is known of resolvers -------------------------------------------------------------------

static uint64_t last_use(const struct dns_server_info *s)
{
	return (uint64_t)(s->ok_s > s->failed_s ? s->ok_s : s->failed_s);
}

// Whoever was not used for the longest time makes room.
static struct dns_server_info *server_of(struct dns_forward *f, const struct dns_target *t)
{
	struct dns_server_info *oldest = &f->servers[0];

	for (unsigned i = 0; i < f->n_servers; i++) {
		if (strcmp(f->servers[i].text, t->text) == 0)
			return &f->servers[i];
		if (last_use(&f->servers[i]) < last_use(oldest))
			oldest = &f->servers[i];
	}
	struct dns_server_info *s =
		f->n_servers < DNS_SERVERS_MAX ? &f->servers[f->n_servers++] : oldest;
	*s = (struct dns_server_info){0};
	snprintf(s->text, sizeof(s->text), "%s", t->text);
	return s;
}

static bool is_sick(struct dns_forward *f, const struct dns_target *t, uint64_t now_ms)
{
	const struct dns_server_info *s = server_of(f, t);

	return s->silent >= 2 && now_ms < (uint64_t)s->failed_s * 1000 + DNS_SICK_MS;
}

static void note_failure(struct dns_forward *f, const struct dns_target *t, const char *why)
{
	struct dns_server_info *s = server_of(f, t);

	s->failed++;
	s->silent++;
	s->failed_s = (int64_t)(dns_now_ms() / 1000);
	snprintf(s->why, sizeof(s->why), "%s", why);
}

static void note_answer(struct dns_attempt *a)
{
	struct dns_server_info *s = server_of(a->flight->forward, &a->flight->targets[a->target]);
	const uint64_t now_ms = dns_now_ms();

	s->answered++;
	s->silent = 0;
	s->ok_s = (int64_t)(now_ms / 1000);
	s->latency_ms = (uint32_t)(now_ms - a->started_ms);
	snprintf(s->how, sizeof(s->how), "%s", dns_how_text(a->how));
}

const struct dns_server_info *dns_forward_servers(const struct dns_forward *f, unsigned *n)
{
	*n = f->n_servers;
	return f->servers;
}

// -- the plan -------------------------------------------------------------------------------------

static void plan(struct dns_flight *fl, unsigned target, enum dns_how how, unsigned at_ms)
{
	unsigned i = fl->n_steps++;

	for (; i > 0 && fl->steps[i - 1].at_ms > at_ms; i--)
		fl->steps[i] = fl->steps[i - 1];
	fl->steps[i] = (struct dns_step){at_ms, target, how, false};
}

static void plan_all(struct dns_flight *fl)
{
	const struct dns_timing *t = &fl->forward->timing;
	unsigned at_ms = 0;

	for (unsigned i = 0; i < fl->n_targets; i++, at_ms += t->next_ms) {
		const bool doh = fl->targets[i].url[0] && fl->forward->doh;
		const unsigned plain_ms = at_ms + (doh ? t->doh_plain_ms : 0);
		if (doh)
			plan(fl, i, DNS_BY_DOH, at_ms);
		if (!fl->targets[i].plain.port)
			continue;
		plan(fl, i, DNS_BY_UDP, plain_ms);
		plan(fl, i, DNS_BY_TCP, plain_ms + t->tcp_ms);
	}
}

// Resolvers that were silent of late go to the end.
static void take_targets(struct dns_flight *fl, const struct dns_route *r)
{
	const uint64_t now_ms = dns_now_ms();

	for (int sick = 0; sick < 2; sick++)
		for (uint32_t i = 0; i < r->n && fl->n_targets < DNS_TARGETS_MAX; i++)
			if (is_sick(fl->forward, &r->targets[i], now_ms) == sick)
				fl->targets[fl->n_targets++] = r->targets[i];
	for (unsigned i = 0; i < fl->n_targets; i++)
		server_of(fl->forward, &fl->targets[i])->asked++;
}

// -- a flight -------------------------------------------------------------------------------------

static void flight_free(struct dns_flight *fl)
{
	for (struct dns_attempt *a; (a = LIST_FIRST(&fl->attempts));)
		dns_attempt_end(a);
	LIST_REMOVE(fl, entry);
	fl->forward->counters.flights--;
	if (fl->timer)
		event_free(fl->timer);
	free(fl->refusal);
	free(fl->refusal_reply);
	free(fl);
}

static void finish(struct dns_flight *fl, const uint8_t *message, const struct dns_reply *reply)
{
	if (!message && fl->refusal) {
		message = fl->refusal;
		reply = fl->refusal_reply;
	}
	fl->forward->counters.unanswered += message == NULL;
	fl->done(fl->arg, message, reply);
	flight_free(fl);
}

static struct dns_step *next_step(struct dns_flight *fl)
{
	for (unsigned i = 0; i < fl->n_steps; i++)
		if (!fl->steps[i].done && !fl->answered[fl->steps[i].target])
			return &fl->steps[i];
	return NULL;
}

// Everybody who is silent when time is up.
static void note_silence(struct dns_flight *fl)
{
	const struct dns_attempt *a;
	bool noted[DNS_TARGETS_MAX] = {false};

	LIST_FOREACH(a, &fl->attempts, entry)
	{
		if (noted[a->target] || fl->answered[a->target])
			continue;
		noted[a->target] = true;
		note_failure(fl->forward, &fl->targets[a->target], "does not answer");
	}
}

// What is due, and then the timer for what is not yet; the end when nothing is left.
static void drive(struct dns_flight *fl, bool at_once)
{
	const uint64_t now_ms = dns_now_ms(), limit_ms = fl->forward->timing.limit_ms;
	const uint64_t age_ms = now_ms - fl->started_ms;
	struct dns_step *s;

	if (age_ms >= limit_ms) {
		note_silence(fl);
		finish(fl, NULL, NULL);
		return;
	}
	while ((s = next_step(fl)) && (at_once || s->at_ms <= age_ms)) {
		s->done = true;
		const int error = dns_attempt_start(fl, s->target, s->how);
		at_once = error != 0;
		if (error)
			note_failure(fl->forward, &fl->targets[s->target], strerror(-error));
	}
	if (!s && LIST_EMPTY(&fl->attempts)) {
		finish(fl, NULL, NULL);
		return;
	}
	const uint64_t wait_ms = (s && s->at_ms < limit_ms ? s->at_ms : limit_ms) - age_ms;
	const struct timeval tv = {.tv_sec = (time_t)(wait_ms / 1000),
		.tv_usec = (suseconds_t)(wait_ms % 1000 * 1000)};
	event_add(fl->timer, &tv);
}

static void on_timer(evutil_socket_t, short, void *arg)
{
	drive(arg, false);
}

static bool is_answer(const struct dns_reply *r)
{
	return r->rcode == ns_r_noerror || r->rcode == ns_r_nxdomain;
}

static void keep_refusal(struct dns_flight *fl, const uint8_t *message, const struct dns_reply *r)
{
	if (fl->refusal)
		return;
	fl->refusal = mem_alloc(r->body_len);
	fl->refusal_reply = mem_alloc(sizeof(*r));
	memcpy(fl->refusal, message, r->body_len);
	*fl->refusal_reply = *r;
}

void dns_attempt_answered(
	struct dns_attempt *a, const uint8_t *message, const struct dns_reply *reply)
{
	struct dns_flight *fl = a->flight;

	note_answer(a);
	if (is_answer(reply)) {
		finish(fl, message, reply);
		return;
	}
	// Another may know better; this one need not be asked again.
	keep_refusal(fl, message, reply);
	fl->answered[a->target] = true;
	dns_attempt_end(a);
	drive(fl, true);
}

void dns_attempt_failed(struct dns_attempt *a, const char *why)
{
	struct dns_flight *fl = a->flight;

	note_failure(fl->forward, &fl->targets[a->target], why);
	dns_attempt_end(a);
	drive(fl, true);
}

void dns_attempt_to_tcp(struct dns_attempt *a)
{
	struct dns_flight *fl = a->flight;
	const unsigned target = a->target;

	dns_attempt_end(a);
	for (unsigned i = 0; i < fl->n_steps; i++) {
		struct dns_step *s = &fl->steps[i];
		if (s->target != target || s->how != DNS_BY_TCP || s->done)
			continue;
		s->done = true;
		const int error = dns_attempt_start(fl, target, DNS_BY_TCP);
		if (error)
			note_failure(fl->forward, &fl->targets[target], strerror(-error));
		drive(fl, error != 0);
		return;
	}
	drive(fl, false); // TCP runs already
}

struct dns_flight *dns_forward_ask(struct dns_forward *f, const struct dns_route *route,
	const struct dns_query *query,
	void (*done)(void *arg, const uint8_t *message, const struct dns_reply *), void *arg)
{
	static const struct timeval now = {0};
	struct dns_flight *fl = mem_alloc(sizeof(*fl));

	*fl = (struct dns_flight){.forward = f,
		.query = *query,
		.done = done,
		.arg = arg,
		.started_ms = dns_now_ms()};
	LIST_INIT(&fl->attempts);
	LIST_INSERT_HEAD(&f->flights, fl, entry);
	f->counters.flights++;
	take_targets(fl, route);
	plan_all(fl);
	fl->timer = evtimer_new(f->base, on_timer, fl);
	if (!fl->timer || event_add(fl->timer, &now) < 0)
		abort();
	return fl;
}

void dns_flight_cancel(struct dns_flight *fl)
{
	flight_free(fl);
}

struct dns_forward *dns_forward_create(
	struct event_base *base, struct net *net, const struct dns_timing *timing)
{
	struct dns_forward *f = mem_alloc(sizeof(*f));

	f->base = base;
	f->timing = *timing;
	LIST_INIT(&f->flights);
	f->doh = net ? doh_create(base, net) : NULL;
	if (!net || f->doh)
		return f;
	dns_forward_destroy(f);
	return NULL;
}

void dns_forward_destroy(struct dns_forward *f)
{
	if (!f)
		return;
	while (!LIST_EMPTY(&f->flights))
		flight_free(LIST_FIRST(&f->flights));
	doh_destroy(f->doh);
	free(f);
}

void dns_forward_count(const struct dns_forward *f, struct dns_forward_counters *out)
{
	*out = f->counters;
}
