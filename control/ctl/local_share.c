// One status for all who may only read: a large one takes the control thread so long that several
// in a row would delay handshakes. It is made in pieces, with the event loop's turn in between,
// and serves everybody for a second.
#include <errno.h>
#include <event2/event.h>

#include "control/ctl/local_priv.h"
#include "dataplane/base/mem.h"

enum {
	SHARE_S = 1,
	SHARE_WAITING_MAX = LOCAL_WAITING_MAX + LOCAL_WATCHERS_MAX,
};

struct local_share {
	struct local *local;
	struct event *timer;	  // the next piece; after it the end of the text
	struct evbuffer *text;	  // whole, or as far as it is
	struct ctl_source source; // while it is made
	bool making;
	struct {
		void (*done)(void *arg, struct evbuffer *text);
		void *arg;
	} waiting[SHARE_WAITING_MAX];
	unsigned n_waiting;
};

static void forget(struct local_share *s)
{
	if (s->making)
		s->source.end(s->source.arg);
	s->making = false;
	if (s->text != NULL)
		evbuffer_free(s->text);
	s->text = NULL;
	event_del(s->timer);
}

// To all that wait. NULL: there is none.
static void tell(struct local_share *s, struct evbuffer *text)
{
	while (s->n_waiting > 0) {
		s->n_waiting--;
		s->waiting[s->n_waiting].done(s->waiting[s->n_waiting].arg, text);
	}
}

static void make_piece(struct local_share *s)
{
	static const struct timeval soon = {}, keep = {.tv_sec = SHARE_S};
	struct evbuffer *piece = evbuffer_new();
	int result = piece != NULL ? s->source.more(s->source.arg, piece) : -ENOMEM;
	if (result >= 0 && evbuffer_add_buffer(s->text, piece) < 0)
		result = -ENOMEM;
	if (piece != NULL)
		evbuffer_free(piece);
	if (result > 0) {
		event_add(s->timer, &soon);
		return;
	}
	if (result < 0) {
		forget(s);
		tell(s, NULL);
		return;
	}
	s->source.end(s->source.arg);
	s->making = false;
	event_add(s->timer, &keep);
	tell(s, s->text);
}

static void on_timer(evutil_socket_t, short, void *arg)
{
	struct local_share *s = arg;
	if (s->making)
		make_piece(s);
	else
		forget(s);
}

static int begin(struct local_share *s)
{
	struct ctl_list list = local_status_list(s->local->d, true);
	list.bare = true; // it may become a member of something
	s->text = evbuffer_new();
	if (s->text == NULL) {
		json_decref(list.object);
		return -ENOMEM;
	}
	int error = ctl_list_source(&list, &s->source);
	s->making = error == 0;
	if (error < 0)
		forget(s);
	return error;
}

int local_share(struct local *local, void (*done)(void *arg, struct evbuffer *text), void *arg)
{
	struct local_share *s = local->share;
	if (s->text != NULL && !s->making) {
		done(arg, s->text);
		return 0;
	}
	if (s->n_waiting == SHARE_WAITING_MAX)
		return -EBUSY;
	bool making = s->making;
	int error = making ? 0 : begin(s);
	if (error < 0)
		return error;
	s->waiting[s->n_waiting].done = done;
	s->waiting[s->n_waiting++].arg = arg;
	if (!making)
		make_piece(s);
	return 0;
}

void local_unshare(struct local *local, const void *arg)
{
	struct local_share *s = local->share;
	unsigned n = 0;
	for (unsigned i = 0; i < s->n_waiting; i++)
		if (s->waiting[i].arg != arg)
			s->waiting[n++] = s->waiting[i];
	s->n_waiting = n;
}

struct local_share *local_share_create(struct local *local)
{
	struct local_share *s = mem_alloc(sizeof(*s));
	*s = (struct local_share){.local = local};
	s->timer = event_new(local->d->base, -1, 0, on_timer, s);
	if (s->timer == NULL)
		abort();
	return s;
}

void local_share_destroy(struct local_share *s)
{
	tell(s, NULL);
	forget(s);
	event_free(s->timer);
	free(s);
}
