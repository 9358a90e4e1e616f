// A second connection to the server, for the doctor: it ends as soon as it is clear that the server
// takes it.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "control/coord/client_parts.h"

enum { PROBE_SETTLE_MS = 1500 }; // whoever is refused is cut off within

struct coord_probe {
	struct coord_client *client;
	struct login_url url;
	struct key server; // asked for anew
	struct dial *dial;
	struct session *session;
	struct event *settled;
	uint64_t begin_ns;
	struct coord_probe_result result;
	void (*done)(void *arg, const struct coord_probe_result *);
	void *arg;
};

static void forget(struct coord_probe *p)
{
	p->client->probe = NULL;
	dial_close(p->dial);
	coord_session_close(p->session);
	if (p->settled)
		event_free(p->settled);
	free(p);
}

static void finish(struct coord_probe *p)
{
	const struct coord_probe_result result = p->result;
	void (*const done)(void *, const struct coord_probe_result *) = p->done;
	void *const arg = p->arg;

	forget(p);
	done(arg, &result);
}

void probe_end(struct coord_client *c)
{
	if (!c->probe)
		return;
	c->probe->result.trouble = COORD_TROUBLE_CLOSED;
	snprintf(c->probe->result.why, sizeof(c->probe->result.why), "the daemon stops");
	finish(c->probe);
}

static void on_settled(evutil_socket_t, short, void *arg)
{
	finish(arg);
}

static void on_trouble(void *arg, const struct trouble *t)
{
	struct coord_probe *const p = arg;

	p->result.trouble = t->kind;
	trouble_line(t, p->result.why);
	finish(p);
}

static void on_dial_failed(void *arg, const struct trouble *t)
{
	struct coord_probe *const p = arg;

	p->dial = NULL;
	on_trouble(p, t);
}

static void on_dialled(void *arg, struct conn *conn, bool tls, uint16_t port)
{
	struct coord_probe *const p = arg;
	struct trouble t;

	p->dial = NULL;
	snprintf(p->result.why, sizeof(p->result.why), "%s, port %u", tls ? "https" : "http", port);
	p->result.took_ms = (unsigned)((coord_now(p->client) - p->begin_ns) / 1000000);
	if (coord_session_create(
		    &p->session, p->client->base, conn, p->url.authority, on_trouble, p)) {
		trouble_set(&t, COORD_TROUBLE_CONNECT, "no memory for a session");
		on_trouble(p, &t);
		return;
	}
	coord_timer(p->settled, PROBE_SETTLE_MS);
}

static int begin(struct coord_probe *p)
{
	struct coord_client *const c = p->client;
	const struct dial_events events = {on_dialled, on_dial_failed, p};
	const struct dial_options options = {
		.url = &p->url,
		.machine_private = &c->persist->machine_private,
		.server_public = &p->server,
		.version = COORD_CAP_VERSION,
	};

	p->settled = event_new(c->base, -1, 0, on_settled, p);
	if (!p->settled)
		return -ENOMEM;
	p->begin_ns = coord_now(c);
	return dial_start(&p->dial, c->base, c->net, &options, &events);
}

int coord_client_probe(struct coord_client *c,
	void (*done)(void *arg, const struct coord_probe_result *), void *arg)
{
	struct login_url url = c->url;

	if (c->probe)
		return -EBUSY;
	if (!url.host[0] && login_url_parse(c->persist->login_server, &url))
		return -ENOTCONN;
	struct coord_probe *const p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	*p = (struct coord_probe){.client = c, .url = url, .done = done, .arg = arg};
	c->probe = p;
	const int error = begin(p);
	if (error)
		forget(p);
	return error;
}
