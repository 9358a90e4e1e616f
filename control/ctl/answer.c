#include "control/ctl/answer.h"

#include <errno.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#define JSON_TYPE "application/json"

static const char no_memory[] = "{\"error\":\"out of memory\"}\n";

static const char *reason_of(int code)
{
	static const struct {
		int code;
		const char *reason;
	} reasons[] = {
		{HTTP_OK, "OK"},
		{204, "No Content"},
		{HTTP_BADREQUEST, "Bad Request"},
		{403, "Forbidden"},
		{HTTP_NOTFOUND, "Not Found"},
		{HTTP_BADMETHOD, "Method Not Allowed"},
		{409, "Conflict"},
		{422, "Unprocessable Content"},
		{HTTP_SERVUNAVAIL, "Service Unavailable"},
	};
	for (unsigned i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (reasons[i].code == code)
			return reasons[i].reason;
	return "Internal Server Error";
}

// libevent reads on while it answers, and takes the end of what a client sends for the end of the
// connection: who closes its half after the request would get the first bytes only. Before the
// next request it reads again.
static void stop_reading(struct evhttp_connection *connection)
{
	if (connection != NULL)
		bufferevent_disable(evhttp_connection_get_bufferevent(connection), EV_READ);
}

void ctl_send(struct evhttp_request *req, int code, const char *type, struct evbuffer *body)
{
	struct evhttp_connection *connection = evhttp_request_get_connection(req);
	if (type != NULL)
		evhttp_add_header(evhttp_request_get_output_headers(req), "Content-Type", type);
	evhttp_send_reply(req, code, reason_of(code), body);
	stop_reading(connection);
}

void ctl_send_json(struct evhttp_request *req, int code, json_t *json, size_t flags)
{
	struct evbuffer *body = evbuffer_new();
	char *text = json != NULL ? json_dumps(json, flags) : NULL;
	if (body != NULL && text != NULL)
		evbuffer_add_printf(body, "%s\n", text);
	else if (body != NULL)
		evbuffer_add(body, no_memory, sizeof(no_memory) - 1);
	ctl_send(req, text != NULL ? code : HTTP_INTERNAL, JSON_TYPE, body);
	if (body != NULL)
		evbuffer_free(body);
	free(text);
	json_decref(json);
}

void ctl_send_begin(struct evhttp_request *req, const char *type)
{
	evhttp_add_header(evhttp_request_get_output_headers(req), "Content-Type", type);
	evhttp_send_reply_start(req, HTTP_OK, "OK");
	stop_reading(evhttp_request_get_connection(req));
}

void ctl_send_piece(struct evhttp_request *req, struct evbuffer *piece,
	void (*cb)(struct evhttp_connection *, void *), void *arg)
{
	evhttp_send_reply_chunk_with_cb(req, piece, cb, arg);
	stop_reading(evhttp_request_get_connection(req));
}

// --- Piece by piece

struct stream {
	struct ctl_conns *conns;
	struct evhttp_request *req;
	struct ctl_source source;
};

static void stream_free(struct stream *s)
{
	s->source.end(s->source.arg);
	free(s);
}

static void on_close(void *arg)
{
	struct stream *s = arg;
	// Otherwise the server is on its way out and frees its requests itself.
	if (evhttp_request_get_connection(s->req) == NULL)
		evhttp_send_reply_end(s->req);
	stream_free(s);
}

static void stream_end(struct stream *s)
{
	struct evhttp_request *req = s->req;
	ctl_conns_on_close(s->conns, req, NULL, NULL);
	stream_free(s);
	evhttp_send_reply_end(req);
}

// At least something, if there is more.
static int fill(const struct ctl_source *source, struct evbuffer *out)
{
	int result;
	do
		result = source->more(source->arg, out);
	while (result > 0 && evbuffer_get_length(out) == 0);
	return result;
}

static void on_drained(struct evhttp_connection *connection, void *arg)
{
	struct stream *s = arg;
	struct evbuffer *piece = evbuffer_new();
	int result = piece != NULL ? fill(&s->source, piece) : -ENOMEM;
	if (result >= 0)
		ctl_send_piece(s->req, piece, result > 0 ? on_drained : NULL, s);
	if (piece != NULL)
		evbuffer_free(piece);
	if (result == 0)
		stream_end(s);
	else if (result < 0) // a cut answer must not look whole
		bufferevent_trigger_event(evhttp_connection_get_bufferevent(connection),
			BEV_EVENT_ERROR, BEV_TRIG_DEFER_CALLBACKS);
}

static void stream_begin(struct ctl_conns *conns, struct evhttp_request *req,
	const struct ctl_source *source, struct evbuffer *first)
{
	struct stream *s = malloc(sizeof(*s));
	if (s == NULL) {
		source->end(source->arg);
		ctl_send_json(req, HTTP_INTERNAL, NULL, JSON_COMPACT);
		return;
	}
	*s = (struct stream){.conns = conns, .req = req, .source = *source};
	ctl_conns_on_close(conns, req, on_close, s);
	ctl_send_begin(req, source->type);
	ctl_send_piece(req, first, on_drained, s);
}

void ctl_send_source(
	struct ctl_conns *conns, struct evhttp_request *req, const struct ctl_source *source)
{
	struct evbuffer *first = evbuffer_new();
	int result = first != NULL ? fill(source, first) : -ENOMEM;
	if (result > 0) {
		stream_begin(conns, req, source, first);
	} else {
		source->end(source->arg);
		if (result == 0)
			ctl_send(req, HTTP_OK, source->type, first);
		else
			ctl_send_json(req, HTTP_INTERNAL, NULL, JSON_COMPACT);
	}
	if (first != NULL)
		evbuffer_free(first);
}

// --- Long JSON

struct list {
	struct ctl_list params;
	size_t at;
	bool begun;
	bool any;
};

static int add_text(struct evbuffer *out, json_t *json, bool open)
{
	char *text = json != NULL ? json_dumps(json, JSON_COMPACT) : NULL;
	// Without the final bracket, where a member is to come.
	size_t len = text != NULL ? strlen(text) - open : 0;
	int added = text != NULL ? evbuffer_add(out, text, len) : -1;
	free(text);
	json_decref(json);
	return added == 0 ? 0 : -ENOMEM;
}

static int list_begin(struct list *l, struct evbuffer *out)
{
	if (l->params.member == NULL)
		return add_text(out, json_incref(l->params.object), false);
	bool empty = json_object_size(l->params.object) == 0;
	int error = add_text(out, l->params.object, true);
	l->params.object = NULL;
	l->begun = true;
	if (error == 0 && evbuffer_add_printf(out, "%s\"%s\":%c", empty ? "" : ",",
				  l->params.member, l->params.named ? '{' : '[') < 0)
		error = -ENOMEM;
	return error;
}

static int list_element(struct list *l, struct evbuffer *out)
{
	char name[CTL_MEMBER_LEN] = "";
	json_t *element = l->params.next(l->params.arg, &l->at, name);
	if (element == NULL)
		return 0;
	if (l->any)
		evbuffer_add(out, ",", 1);
	if (l->params.named)
		evbuffer_add_printf(out, "\"%s\":", name);
	l->any = true;
	int error = add_text(out, element, false);
	return error < 0 ? error : 1;
}

static int list_close(const struct list *l, struct evbuffer *out)
{
	if (l->params.member != NULL && evbuffer_add(out, l->params.named ? "}}" : "]}", 2) < 0)
		return -ENOMEM;
	return !l->params.bare && evbuffer_add(out, "\n", 1) < 0 ? -ENOMEM : 0;
}

static int list_more(void *arg, struct evbuffer *out)
{
	struct list *l = arg;
	int result = l->begun ? 0 : list_begin(l, out);
	if (result == 0 && l->params.member != NULL)
		do
			result = list_element(l, out);
		while (result > 0 && evbuffer_get_length(out) < CTL_PIECE);
	return result == 0 ? list_close(l, out) : result;
}

static void list_end(void *arg)
{
	struct list *l = arg;
	json_decref(l->params.object);
	free(l);
}

int ctl_list_source(const struct ctl_list *params, struct ctl_source *source)
{
	struct list *l = params->object != NULL ? calloc(1, sizeof(*l)) : NULL;
	if (l == NULL) {
		json_decref(params->object);
		return -ENOMEM;
	}
	l->params = *params;
	*source = (struct ctl_source){
		.type = JSON_TYPE, .more = list_more, .end = list_end, .arg = l};
	return 0;
}

void ctl_send_list(
	struct ctl_conns *conns, struct evhttp_request *req, const struct ctl_list *params)
{
	struct ctl_source source;
	if (ctl_list_source(params, &source) < 0)
		ctl_send_json(req, HTTP_INTERNAL, NULL, JSON_COMPACT);
	else
		ctl_send_source(conns, req, &source);
}
