#include "control/ctl/conns.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#include "control/ctl/socket.h"
#include "dataplane/base/log.h"

enum { TICK_MS = 1000 };

struct conn {
	struct conn *next, *before;
	struct ctl_conns *all;
	struct bufferevent *bev;	  // until it is adopted a reference of ours
	struct evhttp_connection *evhttp; // NULL: not adopted yet
	bool unix_socket;
	enum ctl_conn_kind kind;
	uid_t uid;
	bool busy;	   // a request is being answered
	bool ending;	   // shut down: libevent will close it
	uint64_t since_ns; // not busy: since then
	struct evbuffer_cb_entry *output;
	uint64_t taken;	  // bytes that the client read ...
	uint64_t slow_ns; // ... since then, while others waited; 0: none wait
	void (*on_close)(void *arg);
	void *on_close_arg;
};

struct listener { // the argument of a server's bufferevents
	struct ctl_conns *all;
	bool unix_socket;
};

struct ctl_conns {
	struct event_base *base;
	gid_t group;
	struct listener listeners[2]; // TCP, Unix socket
	struct conn *list;	      // newest first
	struct event *adopt, *tick;
	unsigned n[CTL_CONN_KINDS]; // those that are not ending
	uint64_t ended[CTL_CONN_END_COUNT];
};

static const struct {
	const char *label;
	unsigned max;
} kinds[CTL_CONN_KINDS] = {
	[CTL_CONN_MANAGER] = {"manager", CTL_MANAGERS_MAX},
	[CTL_CONN_READER] = {"reader", CTL_READERS_MAX},
	[CTL_CONN_METRICS] = {"metrics", CTL_SCRAPERS_MAX},
};

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static struct conn *find(const struct ctl_conns *all, const struct evhttp_connection *evhttp)
{
	struct conn *c = all->list;
	while (c != NULL && (evhttp == NULL || c->evhttp != evhttp))
		c = c->next;
	return c;
}

static void unlink_conn(struct conn *c)
{
	if (c->before != NULL)
		c->before->next = c->next;
	else
		c->all->list = c->next;
	if (c->next != NULL)
		c->next->before = c->before;
}

// libevent notices and closes it, whatever it is doing.
static void shut_down(struct conn *c, enum ctl_conn_end why)
{
	c->ending = true;
	c->all->n[c->kind]--;
	c->all->ended[why]++;
	shutdown(bufferevent_getfd(c->bev), SHUT_RDWR);
}

static void on_evhttp_close(struct evhttp_connection *, void *arg)
{
	struct conn *c = arg;
	void (*fn)(void *) = c->on_close;
	void *fn_arg = c->on_close_arg;
	evbuffer_remove_cb_entry(bufferevent_get_output(c->bev), c->output);
	c->all->n[c->kind] -= !c->ending;
	unlink_conn(c);
	if (c->all->list == NULL)
		event_del(c->all->tick);
	free(c);
	if (fn != NULL)
		fn(fn_arg);
}

static void on_output(struct evbuffer *, const struct evbuffer_cb_info *info, void *arg)
{
	struct conn *c = arg;
	c->taken += info->n_deleted;
}

// --- Room

static void refuse(struct conn *c)
{
	static const char text[] =
		"{\"error\":\"too many connections, none of them idle: try again "
		"later\"}\n";
	char answer[256];
	int n = snprintf(answer, sizeof(answer),
		"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
		"Connection: close\r\nContent-Length: %zu\r\n\r\n%s",
		sizeof(text) - 1, text);
	// A new connection has room for it, and a client that does not get it sees the end.
	ssize_t sent =
		send(bufferevent_getfd(c->bev), answer, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
	log_warn("ctl", "a connection (%s, user %d) is refused: there are too many%s",
		kinds[c->kind].label, c->kind == CTL_CONN_METRICS ? -1 : (int)c->uid,
		sent < 0 ? ", and it was not told" : "");
	shut_down(c, CTL_CONN_REFUSED);
}

static bool is_rival(const struct conn *c, const struct conn *newest, bool of_user)
{
	return !c->ending && c->evhttp != NULL && c->kind == newest->kind &&
	       (!of_user || c->uid == newest->uid);
}

// A place for the newest, from whoever of its kind (or of its user) is idle for the longest.
static void make_room(struct conn *newest, unsigned max, bool of_user)
{
	struct conn *oldest = NULL;
	unsigned n = 0;
	for (struct conn *c = newest->all->list; c != NULL; c = c->next) {
		if (!is_rival(c, newest, of_user))
			continue;
		n++;
		if (c != newest && !c->busy && (oldest == NULL || c->since_ns < oldest->since_ns))
			oldest = c;
	}
	if (n <= max)
		return;
	if (oldest != NULL)
		shut_down(oldest, CTL_CONN_DISPLACED);
	else
		refuse(newest);
}

static void classify(struct conn *c)
{
	int fd = bufferevent_getfd(c->bev);
	struct ucred peer = {.uid = (uid_t)-1};
	if (!c->unix_socket) {
		c->kind = CTL_CONN_METRICS;
		return;
	}
	if (ctl_socket_peer(fd, &peer) < 0)
		peer.uid = (uid_t)-1;
	c->uid = peer.uid;
	c->kind = ctl_socket_peer_manages(fd, c->all->group) ? CTL_CONN_MANAGER : CTL_CONN_READER;
}

// Its evhttp connection is known only now, as the argument of the callbacks.
static void adopt(struct conn *c)
{
	bufferevent_event_cb on_event = NULL;
	void *evhttp = NULL;
	bufferevent_getcb(c->bev, NULL, NULL, &on_event, &evhttp);
	if (on_event == NULL || evhttp == NULL) { // it did not come about
		unlink_conn(c);
		bufferevent_decref(c->bev);
		free(c);
		return;
	}
	bufferevent_decref(c->bev);
	c->evhttp = evhttp;
	evhttp_connection_set_closecb(evhttp, on_evhttp_close, c);
	classify(c);
	c->all->n[c->kind]++;
	if (c->kind == CTL_CONN_READER)
		make_room(c, CTL_READERS_PER_USER, true);
	if (!c->ending)
		make_room(c, kinds[c->kind].max, false);
}

static void on_adopt(evutil_socket_t, short, void *arg)
{
	static const struct timeval interval = {.tv_sec = TICK_MS / 1000};
	struct ctl_conns *all = arg;
	for (struct conn *c = all->list, *next; c != NULL; c = next) {
		next = c->next;
		if (c->evhttp == NULL)
			adopt(c);
	}
	if (all->list != NULL && !event_pending(all->tick, EV_TIMEOUT, NULL))
		event_add(all->tick, &interval);
}

// A connection has come: it gets a bufferevent that we know.
static struct bufferevent *on_accept(struct event_base *base, void *arg)
{
	const struct listener *l = arg;
	struct ctl_conns *all = l->all;
	struct conn *c = calloc(1, sizeof(*c));
	struct bufferevent *bev = c != NULL ? bufferevent_socket_new(base, -1, 0) : NULL;
	if (bev == NULL) {
		free(c);
		return NULL; // libevent makes one itself; its requests are refused
	}
	*c = (struct conn){.all = all,
		.bev = bev,
		.unix_socket = l->unix_socket,
		.since_ns = now_ns(),
		.next = all->list};
	bufferevent_incref(bev);
	// What is sent ahead of an answer is not read without end.
	bufferevent_setwatermark(bev, EV_READ, 0, CTL_UNREAD_MAX);
	c->output = evbuffer_add_cb(bufferevent_get_output(bev), on_output, c);
	if (c->next != NULL)
		c->next->before = c;
	all->list = c;
	event_active(all->adopt, EV_TIMEOUT, 0);
	return bev;
}

// --- Time

static void judge(struct conn *c, uint64_t now)
{
	const uint64_t s = 1000000000;
	if (evbuffer_get_length(bufferevent_get_output(c->bev)) == 0)
		c->slow_ns = 0;
	else if (c->slow_ns == 0 || c->taken >= CTL_SLOW_BYTES) {
		c->slow_ns = now;
		c->taken = 0;
	}
	if (!c->busy && now - c->since_ns > CTL_REQUEST_S * s)
		shut_down(c, CTL_CONN_IDLE);
	else if (c->slow_ns != 0 && now - c->slow_ns > CTL_SLOW_S * s)
		shut_down(c, CTL_CONN_SLOW);
}

void ctl_conns_check(struct ctl_conns *all, uint64_t now)
{
	for (struct conn *c = all->list; c != NULL; c = c->next)
		if (c->evhttp != NULL && !c->ending)
			judge(c, now);
}

static void on_tick(evutil_socket_t, short, void *arg)
{
	ctl_conns_check(arg, now_ns());
}

// --- What the server tells

static void on_complete(struct evhttp_request *req, void *arg)
{
	struct conn *c = find(arg, evhttp_request_get_connection(req));
	if (c == NULL)
		return;
	c->busy = false;
	c->since_ns = now_ns();
}

bool ctl_conns_request(struct ctl_conns *all, struct evhttp_request *req)
{
	struct conn *c = find(all, evhttp_request_get_connection(req));
	if (c == NULL || c->ending) {
		evhttp_send_reply(req, HTTP_SERVUNAVAIL, "Service Unavailable", NULL);
		return false;
	}
	c->busy = true;
	// Until the answer is over: nothing is kept of what is sent ahead, and silence is no fault.
	bufferevent_disable(c->bev, EV_READ);
	evhttp_request_set_on_complete_cb(req, on_complete, all);
	return true;
}

void ctl_conns_on_close(
	struct ctl_conns *all, struct evhttp_request *req, void (*fn)(void *arg), void *arg)
{
	struct conn *c = find(all, evhttp_request_get_connection(req));
	if (c == NULL)
		return;
	c->on_close = fn;
	c->on_close_arg = arg;
}

bool ctl_conns_manages(const struct ctl_conns *all, struct evhttp_request *req)
{
	const struct conn *c = find(all, evhttp_request_get_connection(req));
	return c != NULL && c->kind == CTL_CONN_MANAGER;
}

unsigned ctl_conns_count(const struct ctl_conns *all, enum ctl_conn_kind kind)
{
	return all->n[kind];
}

const char *ctl_conn_kind_label(enum ctl_conn_kind kind)
{
	return kinds[kind].label;
}

uint64_t ctl_conns_ended(const struct ctl_conns *all, enum ctl_conn_end why)
{
	return all->ended[why];
}

const char *ctl_conn_end_label(enum ctl_conn_end why)
{
	static const char *const labels[CTL_CONN_END_COUNT] = {
#define X(name, text) [CTL_CONN_##name] = text,
		CTL_CONN_ENDS(X)
#undef X
	};
	return labels[why];
}

struct ctl_conns *ctl_conns_create(struct event_base *base)
{
	struct ctl_conns *all = calloc(1, sizeof(*all));
	if (all == NULL)
		return NULL;
	*all = (struct ctl_conns){.base = base,
		.listeners = {{all, false}, {all, true}},
		.adopt = event_new(base, -1, 0, on_adopt, all),
		.tick = event_new(base, -1, EV_PERSIST, on_tick, all)};
	if (all->adopt != NULL && all->tick != NULL)
		return all;
	ctl_conns_destroy(all);
	return NULL;
}

void ctl_conns_destroy(struct ctl_conns *all)
{
	if (all == NULL)
		return;
	while (all->list != NULL) { // not adopted: libevent has freed it already
		struct conn *c = all->list;
		unlink_conn(c);
		bufferevent_decref(c->bev);
		free(c);
	}
	if (all->adopt != NULL)
		event_free(all->adopt);
	if (all->tick != NULL)
		event_free(all->tick);
	free(all);
}

void ctl_conns_watch_tcp(struct ctl_conns *all, struct evhttp *http)
{
	evhttp_set_bevcb(http, on_accept, &all->listeners[0]);
}

void ctl_conns_watch_unix(struct ctl_conns *all, struct evhttp *http, gid_t group)
{
	all->group = group;
	evhttp_set_bevcb(http, on_accept, &all->listeners[1]);
}
