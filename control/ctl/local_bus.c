// 'watch-ipn-bus': an endless stream of ipn.Notify, one JSON object per line. What changed is told
// as it is now, not as it was: a slow reader misses steps in between, never the last one.
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "control/ctl/local_priv.h"
#include "dataplane/base/mem.h"

enum {
	// Bits of the mask (ipn.NotifyWatchOpt); of the others only the changes they ask for are
	// not there.
	WATCH_STATE = 1 << 1,
	WATCH_PREFS = 1 << 2,
	WATCH_NETMAP = 1 << 3,
	WATCH_HEALTH = 1 << 7,
	WATCH_RATE_LIMIT = 1 << 8,
	WATCH_SUGGESTION = 1 << 10,
	WATCH_PEER_CHANGES = 1 << 12,
	WATCH_NO_NETMAP = 1 << 13,
	WATCH_STATUS = 1 << 14,
	WATCH_PEER_PATCHES = 1 << 15,
	WATCH_IN_PROCESS = 1 << 16,

	WATCH_INITIAL = WATCH_STATE | WATCH_PREFS | WATCH_NETMAP | WATCH_HEALTH | WATCH_SUGGESTION |
			WATCH_STATUS,
	WATCH_UNLIMITED = WATCH_PEER_CHANGES | WATCH_NO_NETMAP | WATCH_STATUS | WATCH_PEER_PATCHES,

	WATCH_BACKLOG = 4 << 20, // bytes not read: the stream ends
	WATCH_TICK_MS = 1000,
};

struct local_watcher {
	struct local *local;
	struct evhttp_request *req;
	struct tailnet_listener *listener;
	json_t *self; // as last told
	bool may_write;
	uint64_t mask;
	bool waiting;		  // for the status: until then changes are kept back
	unsigned pending_changes; // enum tailnet_change
	size_t status_len;	  // bytes of the status, which are shared
	bool gone;		  // the connection is closed and no longer the request's
	bool ended;		  // by us
	struct local_watcher *next;
};

static json_t *notify_new(void)
{
	// null says that nothing changed; clients of other languages want to see the names.
	static const char *const always[] = {"ErrMessage", "LoginFinished", "State", "Prefs",
		"NetMap", "Engine", "BrowseToURL", "DriveShares"};
	json_t *o = json_object();

	json_object_set_new(o, "Version", json_string(TAILGATE_VERSION));
	for (unsigned i = 0; i < RTE_DIM(always); i++)
		json_object_set_new(o, always[i], json_null());
	return o;
}

// health.State. The lines have no names of their own: they get numbers.
static json_t *health_json(const struct tailnet *t)
{
	json_t *warnings = json_object();
	unsigned n = 0;
	const char *const *lines = tailnet_health(t, &n);
	char code[32];

	for (unsigned i = 0; i < n; i++) {
		snprintf(code, sizeof(code), "tailgate-%u", i);
		json_object_set_new(warnings, code,
			json_pack("{s:s, s:s, s:s, s:s}", "WarnableCode", code, "Severity",
				"medium", "Title", "Tailgate", "Text", lines[i]));
	}
	return json_pack("{s:o}", "Warnings", warnings);
}

static bool has_left(const struct local_watcher *w)
{
	struct evhttp_connection *connection = evhttp_request_get_connection(w->req);

	if (w->gone || w->ended || connection == NULL)
		return true;
	struct pollfd p = {
		.fd = bufferevent_getfd(evhttp_connection_get_bufferevent(connection)),
		.events = POLLRDHUP,
	};
	return poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL));
}

// status: NULL, or the text of the member InitialStatus.
static void send_notify(struct local_watcher *w, json_t *notify, struct evbuffer *status)
{
	struct evhttp_connection *connection = evhttp_request_get_connection(w->req);
	struct evbuffer *chunk = evbuffer_new();
	char *text = json_dumps(notify, JSON_COMPACT);

	json_decref(notify);
	if (w->gone || w->ended || connection == NULL || chunk == NULL || text == NULL ||
		evbuffer_get_length(bufferevent_get_output(evhttp_connection_get_bufferevent(
			connection))) > WATCH_BACKLOG + w->status_len) {
		w->ended = true; // the next tick does it: libevent may be at work on it now
	} else {
		evbuffer_add(chunk, text, strlen(text) - (status != NULL));
		if (status != NULL) {
			evbuffer_add_printf(chunk, ",\"InitialStatus\":");
			evbuffer_add_buffer_reference(chunk, status);
			evbuffer_add_printf(chunk, "}");
		}
		evbuffer_add_printf(chunk, "\n");
		ctl_send_piece(w->req, chunk, NULL, NULL);
	}
	free(text);
	if (chunk != NULL)
		evbuffer_free(chunk);
}

// Our own node, if it is another than the one last told.
static void add_self(struct local_watcher *w, const struct tailnet *t, json_t *notify, bool *news)
{
	const struct nm_node *node = tailnet_netmap(t)->self;
	json_t *self = node != NULL ? local_node(node) : NULL;

	if (self == NULL || (w->self != NULL && json_equal(self, w->self))) {
		json_decref(self);
		return;
	}
	json_decref(w->self);
	w->self = self;
	json_object_set(notify, "SelfChange", self);
	*news = true;
}

static void add_state(json_t *notify, const struct tailnet *t)
{
	json_object_set_new(notify, "State", json_integer(tailnet_state(t)));
}

static void add_url(json_t *notify, const struct tailnet *t, bool *news)
{
	if (*local_auth_url(t) == '\0')
		return;
	json_object_set_new(notify, "BrowseToURL", json_string(local_auth_url(t)));
	*news = true;
}

// 'tailscale up' takes it as the end of its hopes: only what trying again does not mend.
static void add_error(json_t *notify, const struct tailnet *t, bool *news)
{
	const struct coord_status *coord = tailnet_coord(t);

	if (coord->state != COORD_REFUSED || coord->why[0] == '\0')
		return;
	json_object_set_new(notify, "ErrMessage", json_string(coord->why));
	*news = true;
}

static void on_change(void *arg, unsigned changes)
{
	struct local_watcher *w = arg;
	const struct tailnet *t = w->local->d->tailnet;

	if (w->waiting) {
		w->pending_changes |= changes;
		return;
	}
	json_t *notify = notify_new();
	bool news = false;

	if (changes & TAILNET_CHANGED_STATE) {
		add_state(notify, t);
		news = true;
	}
	if (changes & TAILNET_CHANGED_PREFS) {
		json_object_set_new(notify, "Prefs", local_prefs(t));
		news = true;
	}
	if (changes & TAILNET_CHANGED_NETMAP)
		add_self(w, t, notify, &news);
	if (changes & TAILNET_CHANGED_URL)
		add_url(notify, t, &news);
	if (changes & TAILNET_CHANGED_ERROR)
		add_error(notify, t, &news);
	if (changes & TAILNET_CHANGED_HEALTH) {
		json_object_set_new(notify, "Health", health_json(t));
		news = true;
	}
	if (news)
		send_notify(w, notify, NULL);
	else
		json_decref(notify);
}

static void send_initial(struct local_watcher *w, struct evbuffer *status)
{
	const struct tailnet *t = w->local->d->tailnet;
	const uint64_t mask = w->mask;
	json_t *notify = notify_new();
	char id[17];
	uint8_t random[8];
	bool news = false;

	if (mask & WATCH_STATE) {
		randombytes_buf(random, sizeof(random));
		sodium_bin2hex(id, sizeof(id), random, sizeof(random));
		json_object_set_new(notify, "SessionID", json_string(id));
		add_state(notify, t);
		add_url(notify, t, &news);
	}
	if (mask & WATCH_PREFS)
		json_object_set_new(notify, "Prefs", local_prefs(t));
	if (mask & WATCH_NETMAP)
		add_self(w, t, notify, &news);
	if (mask & WATCH_HEALTH)
		json_object_set_new(notify, "Health", health_json(t));
	const char *why = NULL;
	const struct nm_node *exit = mask & WATCH_SUGGESTION ? tailnet_suggest_exit(t, &why) : NULL;
	if (exit != NULL && exit->stable_id != NULL)
		json_object_set_new(notify, "SuggestedExitNode", json_string(exit->stable_id));
	send_notify(w, notify, status);
}

static void on_status(void *arg, struct evbuffer *status)
{
	struct local_watcher *w = arg;

	w->waiting = false;
	if (status == NULL) {
		w->ended = true; // without memory
		return;
	}
	w->status_len = evbuffer_get_length(status);
	send_initial(w, status);
	if (w->pending_changes != 0)
		on_change(w, w->pending_changes);
}

static void finish(struct local_watcher *w)
{
	struct local_watcher **at = &w->local->watchers;

	tailnet_unlisten(w->listener);
	local_unshare(w->local, w);
	if (!w->gone)
		ctl_conns_on_close(w->local->conns, w->req, NULL, NULL);
	evhttp_send_reply_end(w->req);
	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
	w->local->n_watchers--;
	w->local->n_readers -= !w->may_write;
	json_decref(w->self);
	free(w);
}

static void on_close(void *arg)
{
	struct local_watcher *w = arg;

	w->gone = true;
}

// Nothing is read while an answer is under way, so libevent does not notice that a client has left.
static void tick(evutil_socket_t, short, void *arg)
{
	struct local *local = arg;

	for (struct local_watcher *w = local->watchers, *next; w != NULL; w = next) {
		next = w->next;
		if (has_left(w))
			finish(w);
	}
	if (local->watchers == NULL) {
		event_free(local->tick);
		local->tick = NULL;
	}
}

void local_bus_end(struct local *local)
{
	while (local->watchers != NULL)
		finish(local->watchers);
	if (local->tick != NULL)
		event_free(local->tick);
	local->tick = NULL;
}

static bool start_tick(struct local *local)
{
	static const struct timeval interval = {WATCH_TICK_MS / 1000, WATCH_TICK_MS % 1000 * 1000};

	if (local->tick != NULL)
		return true;
	local->tick = event_new(local->d->base, -1, EV_PERSIST, tick, local);
	return local->tick != NULL && event_add(local->tick, &interval) == 0;
}

// NULL, or what is wrong with the mask.
static const char *read_mask(const char *text, uint64_t *out)
{
	char *end = NULL;

	*out = 0;
	if (text == NULL)
		return NULL;
	errno = 0;
	*out = strtoull(text, &end, 10);
	if (*end != '\0' || text[0] < '0' || text[0] > '9' || errno != 0)
		return "bad mask";
	if (*out & WATCH_IN_PROCESS)
		return "NotifyInProcessNoDisconnect is only valid for in-process IPN bus "
		       "subscribers";
	if ((*out & WATCH_RATE_LIMIT) && (*out & WATCH_UNLIMITED))
		return "NotifyRateLimit is incompatible with new-style IPN bus subscription bits";
	return NULL;
}

void local_handle_watch(struct local_request *r)
{
	struct local *local = r->local;
	uint64_t mask;
	const char *wrong = read_mask(local_query(r, "mask"), &mask);

	if (wrong != NULL) {
		local_text(r, HTTP_BADREQUEST, "%s", wrong);
		return;
	}
	if (local->n_watchers >= LOCAL_WATCHERS_MAX ||
		(!r->may_write && local->n_readers >= LOCAL_READERS_MAX) || !start_tick(local)) {
		local_text(r, HTTP_SERVUNAVAIL, "too many watch already");
		return;
	}
	struct local_watcher *w = mem_alloc(sizeof(*w));
	*w = (struct local_watcher){
		.local = local, .req = r->req, .may_write = r->may_write, .mask = mask};
	w->listener = tailnet_listen(r->t, on_change, w);
	if (w->listener == NULL) {
		free(w);
		local_text(r, HTTP_SERVUNAVAIL, "too many listen already");
		return;
	}
	w->next = local->watchers;
	local->watchers = w;
	local->n_watchers++;
	local->n_readers += !w->may_write;
	ctl_conns_on_close(local->conns, r->req, on_close, w);
	ctl_send_begin(r->req, "application/json");
	w->waiting = mask & WATCH_STATUS;
	if (!w->waiting && (mask & WATCH_INITIAL))
		send_initial(w, NULL);
	if (w->waiting && local_share(local, on_status, w) < 0)
		on_status(w, NULL);
}
