#include "control/coord/client_parts.h"

#include <errno.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "dataplane/base/log.h"

enum {
	BACKOFF_UNIT_MS = 10,
	BACKOFF_MAX_MS = 30000,
	REFUSED_MS = 60000,   // the server said no
	STEADY_S = 10,	      // a stream this old was a good one
	ERROR_TEXT_LEN = 160, // of what a server says
};
#define NS_PER_S UINT64_C(1000000000)

void coord_changed(struct coord_client *c)
{
	c->env.changed(c->env.arg);
}

void coord_timer(struct event *e, uint64_t ms)
{
	const struct timeval after = {
		.tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000 * 1000)};

	event_add(e, &after);
}

static unsigned jitter(unsigned ms)
{
	return ms / 2 + randombytes_uniform(ms + 1);
}

// n^2 * 10 ms, at most 30 s, times 0.5 .. 1.5. Source: tailscale util/backoff.
unsigned coord_backoff_ms(unsigned n)
{
	const unsigned ms = n * n * BACKOFF_UNIT_MS;

	return jitter(n < 100 && ms < BACKOFF_MAX_MS ? ms : BACKOFF_MAX_MS);
}

void coord_disconnect(struct coord_client *c)
{
	dial_close(c->dial);
	coord_session_close(c->session);
	c->dial = NULL;
	c->session = NULL;
	c->status.connected_ns = 0;
	c->lite_busy = false;
	event_del(c->lite);
}

// --- What went wrong.

static void trouble_count(struct coord_client *c, const struct trouble *t)
{
	char line[COORD_TEXT_LEN];

	trouble_line(t, line);
	if (strcmp(line, c->status.why) != 0)
		log_warn("coord", "%s: %s", coord_trouble_label(t->kind), line);
	c->status.trouble = t->kind;
	c->status.troubles[t->kind]++;
	memcpy(c->status.why, line, sizeof(line));
}

static void trouble_clear(struct coord_client *c)
{
	c->status.trouble = COORD_TROUBLE_NONE;
	c->status.why[0] = '\0';
}

void coord_note(struct coord_client *c, const struct trouble *t)
{
	const enum coord_trouble kind = t ? t->kind : COORD_TROUBLE_NONE;

	if (kind == c->status.trouble)
		return;
	if (t)
		trouble_count(c, t);
	else
		trouble_clear(c);
	coord_changed(c);
}

static uint64_t delay_of(struct coord_client *c, const struct trouble *t)
{
	if (t->wait_s)
		return t->wait_s * UINT64_C(1000);
	return t->refused ? jitter(REFUSED_MS) : coord_backoff_ms(c->failures);
}

static void wait_begin(struct coord_client *c, uint64_t delay_ms)
{
	c->phase = PHASE_WAIT;
	c->status.retry_ns = coord_now(c) + delay_ms * 1000000;
	coord_timer(c->retry, delay_ms);
}

void coord_fail(struct coord_client *c, const struct trouble *t)
{
	const uint64_t since = c->status.connected_ns;

	if (since && coord_now(c) - since > STEADY_S * NS_PER_S)
		c->failures = 0;
	c->failures++;
	c->status.failures++;
	coord_disconnect(c);
	trouble_count(c, t);
	if (c->phase == PHASE_LOGOUT) {
		logout_finish(c, -ENOTCONN);
		return;
	}
	c->status.state = t->refused	       ? COORD_REFUSED
			  : c->progress.url[0] ? COORD_VISIT_URL
					       : COORD_CONNECTING;
	if (t->refused)
		c->status.url[0] = '\0';
	wait_begin(c, delay_of(c, t));
	coord_changed(c);
}

void coord_fail_text(struct coord_client *c, enum coord_trouble kind, const char *format, ...)
{
	char text[COORD_TEXT_LEN];
	struct trouble t;
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	trouble_set(&t, kind, "%s", text);
	coord_fail(c, &t);
}

void coord_fail_answer(struct coord_client *c, const char *asked, const struct session_answer *a)
{
	struct trouble t;

	if (a->error == -ETIMEDOUT)
		trouble_set(&t, COORD_TROUBLE_SILENT, "no answer to %s in time", asked);
	else if (a->error == -EMSGSIZE)
		trouble_set(&t, COORD_TROUBLE_PROTOCOL, "the answer to %s is too long", asked);
	else if (a->error == -EPROTO)
		trouble_set(&t, COORD_TROUBLE_PROTOCOL, "the answer to %s breaks HTTP/2", asked);
	else if (a->error || a->status == 200)
		trouble_set(&t, COORD_TROUBLE_CLOSED, "the server ended %s", asked);
	else if (a->status == 400 && strstr(a->body, "unsupported client version"))
		trouble_set(&t, COORD_TROUBLE_VERSION, "the server refuses us: %.*s",
			ERROR_TEXT_LEN, a->body);
	else
		trouble_status(&t, asked, a->status, a->location ? a->location : "");
	t.refused = t.kind == COORD_TROUBLE_VERSION;
	coord_fail(c, &t);
}

// --- Connecting.

static void on_session_closed(void *arg, const struct trouble *t)
{
	coord_fail(arg, t);
}

static void on_dialled(void *arg, struct conn *conn, bool tls, uint16_t port)
{
	struct coord_client *const c = arg;

	c->dial = NULL;
	if (coord_session_create(
		    &c->session, c->base, conn, c->url.authority, on_session_closed, c)) {
		coord_fail_text(c, COORD_TROUBLE_CONNECT, "no memory for a session");
		return;
	}
	c->status.connects++;
	snprintf(c->status.path, sizeof(c->status.path), "%s, port %u", tls ? "https" : "http",
		port);
	log_info("coord", "connected to %s by %s", c->url.authority, c->status.path);
	if (c->phase == PHASE_LOGOUT)
		logout_send(c);
	else if (c->registered)
		poll_start(c);
	else
		login_send(c);
}

// Whoever answers next may be another one, with another key.
static void on_dial_failed(void *arg, const struct trouble *t)
{
	struct coord_client *const c = arg;

	c->dial = NULL;
	c->server_public = (struct key){0};
	coord_fail(c, t);
}

static void dial(struct coord_client *c)
{
	const struct dial_events events = {on_dialled, on_dial_failed, c};
	const uint64_t now = coord_now(c);
	const struct dial_options options = {
		.url = &c->url,
		.machine_private = &c->persist->machine_private,
		.server_public = &c->server_public,
		.version = COORD_CAP_VERSION,
		.https_first = c->dialled_ns && now - c->dialled_ns < DIAL_RECENT_S * NS_PER_S,
	};

	if (c->phase != PHASE_LOGOUT)
		c->phase = PHASE_DIAL;
	c->dialled_ns = now;
	c->status.retry_ns = 0;
	if (dial_start(&c->dial, c->base, c->net, &options, &events))
		coord_fail_text(c, COORD_TROUBLE_CONNECT, "no memory to connect");
}

static void on_retry(evutil_socket_t, short, void *arg)
{
	dial(arg);
}

void coord_redial(struct coord_client *c, uint64_t delay_ms)
{
	coord_disconnect(c);
	wait_begin(c, delay_ms);
}

static void on_tick(evutil_socket_t, short, void *arg)
{
	struct coord_client *const c = arg;
	const uint64_t now = coord_now(c);

	if (c->session)
		coord_session_tick(c->session, now);
	if (c->phase == PHASE_POLL)
		poll_tick(c, now);
}

// --- Life and death.

struct coord_client *coord_client_create(struct event_base *base, struct net *net,
	struct persist_state *persist, struct netmap *netmap, const struct coord_env *env)
{
	struct coord_client *const c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->base = base;
	c->net = net;
	c->persist = persist;
	c->netmap = netmap;
	c->env = *env;
	c->tick = event_new(base, -1, EV_PERSIST, on_tick, c);
	c->retry = event_new(base, -1, 0, on_retry, c);
	c->lite = event_new(base, -1, 0, on_lite_timer, c);
	c->logout = event_new(base, -1, 0, on_logout_timer, c);
	if (!c->tick || !c->retry || !c->lite || !c->logout) {
		coord_client_destroy(c);
		errno = ENOMEM;
		return NULL;
	}
	return c;
}

void coord_client_destroy(struct coord_client *c)
{
	if (!c)
		return;
	struct event *const events[] = {c->tick, c->retry, c->lite, c->logout};

	probe_end(c);
	dial_close(c->dial);
	coord_session_close(c->session);
	mapstream_destroy(c->stream);
	pings_fini(c);
	login_forget(c);
	for (size_t i = 0; i < sizeof(events) / sizeof(*events); i++)
		if (events[i])
			event_free(events[i]);
	free(c);
}

static void stop(struct coord_client *c)
{
	coord_disconnect(c);
	event_del(c->retry);
	event_del(c->tick);
	event_del(c->logout);
	c->phase = PHASE_OFF;
	c->status.state = COORD_OFF;
	c->status.retry_ns = 0;
	c->status.url[0] = '\0';
	trouble_clear(c);
}

int coord_client_start(struct coord_client *c, const struct coord_login *login)
{
	struct login_url url;
	struct trouble t;

	if (c->phase == PHASE_LOGOUT)
		logout_finish(c, -ECANCELED);
	stop(c);
	if (login_url_parse(login->server, &url) ||
		strlen(url.origin) >= sizeof(c->persist->login_server)) {
		trouble_set(&t, COORD_TROUBLE_WRONG_SERVER,
			"'%s' is no URL of a login server: it is https://NAME or http://NAME:PORT",
			login->server);
		t.complete = true;
		trouble_count(c, &t);
		coord_changed(c);
		return -EINVAL;
	}
	if (strcmp(url.origin, c->url.origin) != 0) {
		c->server_public = (struct key){0};
		c->dialled_ns = 0;
	}
	c->url = url;
	c->failures = 0;
	c->status.state = COORD_CONNECTING;
	login_prepare(c, login);
	coord_timer(c->tick, 1000);
	dial(c);
	coord_changed(c);
	return 0;
}

void coord_client_pause(struct coord_client *c)
{
	if (c->phase == PHASE_LOGOUT)
		return;
	stop(c);
	coord_changed(c);
}

void coord_client_logout(struct coord_client *c, void (*done)(void *arg, int error), void *arg)
{
	const bool registered = !key_is_zero(&c->persist->node_private);

	if (c->phase == PHASE_LOGOUT) {
		if (done)
			done(arg, -EALREADY);
		return;
	}
	stop(c);
	c->phase = PHASE_LOGOUT;
	c->logged_out = done;
	c->logged_out_arg = arg;
	coord_timer(c->logout, registered ? COORD_LOGOUT_S * 1000 : 0);
	if (registered && (c->url.host[0] || !login_url_parse(c->persist->login_server, &c->url)))
		dial(c);
}

void coord_client_retry(struct coord_client *c)
{
	if (c->phase == PHASE_WAIT) {
		c->failures = 0;
		event_del(c->retry);
		dial(c);
	} else if (c->phase == PHASE_POLL) {
		coord_client_update(c); // finds out soon whether the connection still carries
	}
}

void coord_client_reread(struct coord_client *c)
{
	if (c->phase == PHASE_POLL)
		coord_redial(c, 0);
}

const struct coord_status *coord_client_status(const struct coord_client *c)
{
	return &c->status;
}
