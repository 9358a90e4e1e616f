#include "control/coord/dial.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "control/coord/clock_hint.h"
#include "control/coord/json.h"

enum {
	KEY_ANSWER_MAX = 64 << 10,
	REDIRECTS_MAX = 3,
	NAME_LEN = 32,
};

struct attempt {
	struct dial *dial;
	struct conn *conn;
	bool tls, begun, failed;
	uint16_t port;
	struct trouble trouble;
};

struct dial {
	struct net *net;
	struct dial_options options;
	struct dial_events events;
	struct fetch *key;
	unsigned redirects;
	struct fetch *hint;
	struct trouble refused;	    // that the hint is for
	struct attempt attempts[2]; // in their order
	unsigned n_attempts;
	struct event *begin, *second, *budget;
};

static void event_drop(struct event *e)
{
	if (e)
		event_free(e);
}

void dial_close(struct dial *d)
{
	if (!d)
		return;
	fetch_cancel(d->key);
	fetch_cancel(d->hint);
	for (unsigned i = 0; i < d->n_attempts; i++)
		conn_close(d->attempts[i].conn);
	event_drop(d->begin);
	event_drop(d->second);
	event_drop(d->budget);
	free(d);
}

static void fail(struct dial *d, const struct trouble *trouble)
{
	const struct dial_events events = d->events;
	const struct trouble copy = *trouble;

	dial_close(d);
	events.failed(events.arg, &copy);
}

// --- Two attempts, of which one is enough.

static const char *attempt_name(const struct attempt *a, char name[static NAME_LEN])
{
	snprintf(name, NAME_LEN, "%s, port %u", a->tls ? "HTTPS" : "HTTP", a->port);
	return name;
}

static void attempts_failed(struct dial *d)
{
	struct trouble trouble = d->attempts[0].trouble;
	char name[NAME_LEN], other[NAME_LEN];

	if (d->n_attempts > 1)
		trouble_join(&trouble, attempt_name(&d->attempts[0], name), &d->attempts[1].trouble,
			attempt_name(&d->attempts[1], other));
	fail(d, &trouble);
}

static void attempt_begin(struct attempt *a);

// The next at once, or the end of it.
static void attempt_failed(struct attempt *a, const struct trouble *trouble)
{
	struct dial *const d = a->dial;

	a->trouble = *trouble;
	a->failed = true;
	conn_close(a->conn);
	a->conn = NULL;
	for (unsigned i = 0; i < d->n_attempts; i++)
		if (!d->attempts[i].begun) {
			attempt_begin(&d->attempts[i]);
			return;
		}
	for (unsigned i = 0; i < d->n_attempts; i++)
		if (!d->attempts[i].failed)
			return;
	attempts_failed(d);
}

static void on_up(void *arg)
{
	struct attempt *const a = arg;
	struct dial *const d = a->dial;
	const struct dial_events events = d->events;
	struct conn *const conn = a->conn;
	const uint16_t port = a->port;
	const bool tls = a->tls;

	a->conn = NULL;
	dial_close(d);
	events.up(events.arg, conn, tls, port);
}

// Only between up and the hand-over, which is the same moment.
static int on_data(void *, const uint8_t *, size_t)
{
	return -ECANCELED;
}

static void on_drained(void *)
{
}

static void on_closed(void *arg, const struct trouble *trouble)
{
	attempt_failed(arg, trouble);
}

static void attempt_begin(struct attempt *a)
{
	const struct dial *const d = a->dial;
	const struct conn_events events = {on_up, on_data, on_drained, on_closed, a};
	const struct conn_options options = {
		.url = d->options.url,
		.port = a->port,
		.tls = a->tls,
		.timeout_ms = DIAL_BUDGET_S * 1000,
		.version = d->options.version,
		.machine_private = d->options.machine_private,
		.server_public = d->options.server_public,
	};
	struct trouble trouble;

	a->begun = true;
	const int error = conn_open(&a->conn, d->net, &options, &events);
	if (!error)
		return;
	trouble_set(&trouble,
		error == -EKEYREJECTED ? COORD_TROUBLE_PROTOCOL : COORD_TROUBLE_CONNECT,
		error == -EKEYREJECTED ? "the server's key is none" : "no connection: %s",
		strerror(-error));
	attempt_failed(a, &trouble);
}

static void attempts_start(struct dial *d)
{
	static const struct timeval after = {.tv_usec = DIAL_HTTPS_AFTER_MS * 1000},
				    budget = {.tv_sec = DIAL_BUDGET_S};
	const struct login_url *const u = d->options.url;
	const bool https_first = d->options.https_first && u->https_port;

	d->n_attempts = u->https_port ? 2 : 1;
	for (unsigned i = 0; i < d->n_attempts; i++) {
		struct attempt *const a = &d->attempts[i];
		a->dial = d;
		a->tls = https_first ? i == 0 : i == 1;
		a->port = a->tls ? u->https_port : u->http_port;
	}
	if (d->n_attempts > 1 && !https_first)
		event_add(d->second, &after);
	event_add(d->budget, &budget);
	attempt_begin(&d->attempts[0]);
}

static void on_second(evutil_socket_t, short, void *arg)
{
	struct dial *const d = arg;

	if (!d->attempts[1].begun)
		attempt_begin(&d->attempts[1]);
}

static void on_budget(evutil_socket_t, short, void *arg)
{
	struct dial *const d = arg;
	struct trouble trouble;

	trouble_set(&trouble, COORD_TROUBLE_CONNECT,
		"no answer of %s within %d s: something on the way drops packets, or the server "
		"hangs",
		d->options.url->authority, DIAL_BUDGET_S);
	for (unsigned i = 0; i < d->n_attempts; i++)
		if (!d->attempts[i].failed)
			d->attempts[i].trouble = trouble;
	attempts_failed(d);
}

// --- The server's key.

static int key_fetch(struct dial *d, const char *url);

// On the same host, and never from HTTPS to HTTP.
static bool redirect_followed(struct dial *d, const struct fetch_answer *a)
{
	struct login_url to;
	char origin[LOGIN_URL_MAX];

	if (a->status < 300 || a->status > 399 || ++d->redirects > REDIRECTS_MAX ||
		login_url_parse(url_origin(a->location, origin, sizeof(origin)), &to) ||
		strcasecmp(to.host, d->options.url->host) != 0 || (d->options.url->tls && !to.tls))
		return false;
	return key_fetch(d, a->location) == 0;
}

static int key_read(const struct fetch_answer *a, struct key *out)
{
	json_t *const v = json_piece((struct slice){a->body, a->len});
	struct json_object o = json_open(v);

	*out = json_key(&o, "publicKey", "mkey:");
	const bool bad = o.bad || key_is_zero(out);
	json_decref(v);
	return bad ? -EPROTO : 0;
}

static void key_trouble(struct dial *d, const struct fetch_answer *a, struct trouble *t)
{
	static const char asked[] = "GET /key";

	if (a->error) {
		trouble_net(t, a->error, a->why);
	} else if (a->status == 400 && strstr(a->body, "version")) {
		trouble_set(t, COORD_TROUBLE_VERSION,
			"the server does not take our version: %.120s", a->body);
		t->refused = true;
	} else if (a->status != 200) {
		trouble_status(t, asked, a->status, a->location);
	} else {
		trouble_set(t, COORD_TROUBLE_WRONG_SERVER,
			"%s answers %s without a key: not a coordination server, or a far too old "
			"one",
			d->options.url->authority, asked);
	}
}

static void on_hint(void *arg, const struct fetch_answer *a)
{
	struct dial *const d = arg;

	d->hint = NULL;
	clock_hint_judge(&d->refused, d->options.url, a->error ? 0 : a->date, time(NULL));
	fail(d, &d->refused);
}

static void on_key(void *arg, const struct fetch_answer *a)
{
	struct dial *const d = arg;
	struct trouble trouble;

	d->key = NULL;
	if (!a->error && a->status == 200 && !key_read(a, d->options.server_public)) {
		attempts_start(d);
		return;
	}
	if (!a->error && redirect_followed(d, a))
		return;
	key_trouble(d, a, &trouble);
	d->refused = trouble;
	if (clock_hint_wanted(&trouble) &&
		clock_hint_start(&d->hint, d->net, d->options.url, on_hint, d) == 0)
		return;
	fail(d, &trouble);
}

static int key_fetch(struct dial *d, const char *url)
{
	const struct fetch_request request = {
		.method = "GET",
		.url = url,
		.max = KEY_ANSWER_MAX,
		.timeout_ms = DIAL_BUDGET_S * 1000,
	};

	return fetch_start(&d->key, d->net, &request, on_key, d);
}

static void on_begin(evutil_socket_t, short, void *arg)
{
	struct dial *const d = arg;
	char url[LOGIN_URL_MAX + 16];
	struct trouble trouble;

	if (!key_is_zero(d->options.server_public)) {
		attempts_start(d);
		return;
	}
	snprintf(url, sizeof(url), "%s/key?v=%u", d->options.url->origin, d->options.version);
	const int error = key_fetch(d, url);
	if (!error)
		return;
	trouble_set(&trouble, COORD_TROUBLE_CONNECT, "cannot ask for the server's key: %s",
		strerror(-error));
	fail(d, &trouble);
}

int dial_start(struct dial **out, struct event_base *base, struct net *net,
	const struct dial_options *options, const struct dial_events *events)
{
	struct dial *const d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	*d = (struct dial){.net = net, .options = *options, .events = *events};
	d->begin = event_new(base, -1, 0, on_begin, d);
	d->second = event_new(base, -1, 0, on_second, d);
	d->budget = event_new(base, -1, 0, on_budget, d);
	if (!d->begin || !d->second || !d->budget) {
		dial_close(d);
		return -ENOMEM;
	}
	event_active(d->begin, EV_TIMEOUT, 0); // events come from the loop only
	*out = d;
	return 0;
}
