#include "control/coord/session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "control/coord/h2.h"

enum {
	QUEUE_FULL = 256 << 10, // bytes to the kernel; more of HTTP/2 waits until they are gone
	VALUE_LEN = 256,
	BODY_MIN = 1024,
};

struct call {
	LIST_ENTRY(call) entry;
	struct session *session;
	struct session_request request; // without its texts
	uint64_t deadline_ns;		// 0: none
	int32_t stream;
	int error; // decided by us
	int status;
	char retry_after[VALUE_LEN], location[VALUE_LEN];
	char *body;
	size_t len, room;
};

struct session {
	struct conn *conn;
	struct h2 *h2;
	struct event *kick; // requests wait to go out
	LIST_HEAD(, call) calls;
	void (*closed)(void *arg, const struct trouble *);
	void *arg;
	bool busy;   // within HTTP/2 or an event: not to be freed now
	bool dead;   // nothing is to be heard of it any more
	bool failed; // closed has been said
};

static void coord_session_free(struct session *s)
{
	s->dead = true;
	h2_destroy(s->h2);
	conn_close(s->conn);
	if (s->kick)
		event_free(s->kick);
	free(s);
}

void coord_session_close(struct session *s)
{
	if (!s)
		return;
	s->dead = true;
	if (!s->busy)
		coord_session_free(s);
}

static void leave(struct session *s)
{
	s->busy = false;
	if (s->dead)
		coord_session_free(s);
}

static void fail(struct session *s, const struct trouble *trouble)
{
	if (s->dead || s->failed)
		return;
	s->failed = true;
	s->closed(s->arg, trouble);
}

static void fail_h2(struct session *s)
{
	struct trouble trouble;
	const char *const text = h2_error(s->h2);

	if (*text)
		trouble_set(&trouble, COORD_TROUBLE_PROTOCOL, "%s", text);
	else
		trouble_set(&trouble, COORD_TROUBLE_CLOSED, "the server ended the session");
	fail(s, &trouble);
}

// What HTTP/2 has to say goes out, as far as there is room.
static void pump(struct session *s)
{
	const uint8_t *bytes;
	long n = 0;

	while (!s->dead && !s->failed && conn_queued(s->conn) < QUEUE_FULL) {
		n = h2_output(s->h2, &bytes);
		if (n <= 0)
			break;
		if (conn_write(s->conn, bytes, (size_t)n)) {
			n = -EPIPE;
			break;
		}
	}
	if (n < 0 || h2_finished(s->h2))
		fail_h2(s);
}

static int on_data(void *arg, const uint8_t *bytes, size_t len)
{
	struct session *const s = arg;

	s->busy = true;
	if (!s->failed)
		(void)!h2_feed(s->h2, bytes, len); // an error is a finished session
	pump(s);
	const bool over = s->dead || s->failed;
	leave(s);
	return over ? -ECANCELED : 0;
}

static void on_drained(void *arg)
{
	struct session *const s = arg;

	s->busy = true;
	pump(s);
	leave(s);
}

static void on_kick(evutil_socket_t, short, void *arg)
{
	on_drained(arg);
}

static void on_closed(void *arg, const struct trouble *trouble)
{
	struct session *const s = arg;

	s->busy = true;
	fail(s, trouble);
	leave(s);
}

static void on_up(void *)
{
}

int coord_session_create(struct session **out, struct event_base *base, struct conn *conn,
	const char *authority, void (*closed)(void *arg, const struct trouble *), void *arg)
{
	struct session *const s = calloc(1, sizeof(*s));
	const struct conn_events events = {on_up, on_data, on_drained, on_closed, s};

	if (!s) {
		conn_close(conn);
		return -ENOMEM;
	}
	s->conn = conn;
	s->closed = closed;
	s->arg = arg;
	LIST_INIT(&s->calls);
	s->kick = event_new(base, -1, 0, on_kick, s);
	if (!s->kick || h2_create(&s->h2, authority)) {
		coord_session_free(s);
		return -ENOMEM;
	}
	conn_set_events(conn, &events);
	event_active(s->kick, EV_TIMEOUT, 0); // SETTINGS
	*out = s;
	return 0;
}

// --- Requests.

static void call_free(struct call *c)
{
	LIST_REMOVE(c, entry);
	free(c->body);
	free(c);
}

static void on_answer(void *arg, const struct h2_answer *answer)
{
	struct call *const c = arg;

	c->status = answer->status;
	if (answer->retry_after)
		snprintf(c->retry_after, sizeof(c->retry_after), "%s", answer->retry_after);
	if (answer->location)
		snprintf(c->location, sizeof(c->location), "%s", answer->location);
}

static int collect(struct call *c, const uint8_t *bytes, size_t len)
{
	if (c->len + len + 1 > c->room) {
		c->room = 2 * (c->len + len) + BODY_MIN;
		char *const body = realloc(c->body, c->room);
		if (!body)
			return -ENOMEM;
		c->body = body;
	}
	memcpy(c->body + c->len, bytes, len);
	c->len += len;
	c->body[c->len] = '\0';
	return 0;
}

static int on_body(void *arg, const uint8_t *bytes, size_t len)
{
	struct call *const c = arg;

	if (c->session->dead)
		return -ECANCELED;
	if (c->request.data && c->status == 200)
		return c->request.data(c->request.arg, bytes, len);
	const size_t max = c->request.data ? SESSION_ERROR_BODY_MAX : c->request.answer_max;
	return c->len + len > max ? -EMSGSIZE : collect(c, bytes, len);
}

static void on_end(void *arg, int error)
{
	struct call *const c = arg;
	const struct session_answer answer = {
		.error = c->error ? c->error : error,
		.status = c->status,
		.retry_after = c->retry_after[0] ? c->retry_after : NULL,
		.location = c->location[0] ? c->location : NULL,
		.body = c->body ? c->body : "",
		.len = c->len,
	};

	if (!c->session->dead) // within pump or h2_feed: it outlives this
		c->request.done(c->request.arg, &answer);
	call_free(c);
}

int coord_session_send(struct session *s, const struct session_request *request, uint64_t now_ns)
{
	struct call *const c = calloc(1, sizeof(*c));
	const struct h2_events events = {on_answer, on_body, on_end, c};
	const struct h2_request r = {
		.method = request->method,
		.path = request->path,
		.body = request->body,
		.body_len = request->body_len,
	};

	if (!c)
		return -ENOMEM;
	c->stream = s->dead || s->failed ? -ESHUTDOWN : h2_request(s->h2, &r, &events);
	if (c->stream < 0) {
		const int error = c->stream;
		free(c);
		return error;
	}
	c->session = s;
	c->request = *request;
	c->request.method = c->request.path = NULL;
	c->request.body = NULL;
	if (request->timeout_s)
		c->deadline_ns = now_ns + request->timeout_s * UINT64_C(1000000000);
	LIST_INSERT_HEAD(&s->calls, c, entry);
	event_active(s->kick, EV_TIMEOUT, 0);
	return 0;
}

void coord_session_tick(struct session *s, uint64_t now_ns)
{
	struct call *c;

	LIST_FOREACH(c, &s->calls, entry)
	{
		if (!c->deadline_ns || now_ns < c->deadline_ns || c->error)
			continue;
		c->error = -ETIMEDOUT;
		h2_cancel(s->h2, c->stream); // closes with the next output
		event_active(s->kick, EV_TIMEOUT, 0);
	}
}
