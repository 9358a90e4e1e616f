#include "control/coord/h2.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	STREAM_WINDOW = 1 << 20,
	CONNECTION_WINDOW = 4 << 20,
	VALUE_LEN = 256, // of a header that is kept
};

struct stream {
	struct stream *next;
	struct h2_events events;
	int32_t id;
	int error; // decided before the stream closes
	int status;
	bool answered;
	unsigned headers;
	char retry_after[VALUE_LEN], location[VALUE_LEN];
	uint64_t received, answer_max;
	uint8_t *body;
	size_t body_len, body_sent;
};

struct h2 {
	nghttp2_session *session;
	struct stream *streams;
	unsigned n_streams;
	char *authority;
	bool goaway, failed;
	char error[H2_ERROR_TEXT_LEN];
};

static void stream_free(struct stream *s)
{
	explicit_bzero(s->body, s->body_len); // may hold an auth key
	free(s->body);
	free(s);
}

static void stream_close(struct h2 *h, struct stream *s, int error)
{
	struct stream **at = &h->streams;

	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	h->n_streams--;
	const struct h2_events events = s->events;
	stream_free(s);
	events.closed(events.arg, error);
}

static struct stream *stream_find(struct h2 *h, int32_t id)
{
	struct stream *s = h->streams; // nghttp2 does not know those that wait to be sent

	while (s && s->id != id)
		s = s->next;
	return s;
}

// End a stream from our side; it closes with this error.
static void stream_abort(struct h2 *h, struct stream *s, int error)
{
	if (s->error)
		return;
	s->error = error;
	nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_CANCEL);
}

static void value_keep(char to[static VALUE_LEN], const uint8_t *value, size_t len)
{
	if (len >= VALUE_LEN)
		return;
	memcpy(to, value, len);
	to[len] = '\0';
}

static int on_header(nghttp2_session *, const nghttp2_frame *frame, const uint8_t *name,
	size_t name_len, const uint8_t *value, size_t len, uint8_t, void *arg)
{
	struct h2 *h = arg;
	struct stream *const s = stream_find(h, frame->hd.stream_id);

	if (!s || s->error || frame->hd.type != NGHTTP2_HEADERS)
		return 0;
	if (++s->headers > H2_HEADERS_MAX)
		stream_abort(h, s, -EMSGSIZE);
	else if (name_len == 7 && !memcmp(name, ":status", 7))
		s->status = atoi((const char *)value); // three digits, nghttp2 has looked
	else if (name_len == 11 && !memcmp(name, "retry-after", 11))
		value_keep(s->retry_after, value, len);
	else if (name_len == 8 && !memcmp(name, "location", 8))
		value_keep(s->location, value, len);
	return 0;
}

static void goaway_take(struct h2 *h, const nghttp2_goaway *goaway)
{
	h->goaway = true;
	if (goaway->error_code == NGHTTP2_NO_ERROR)
		return;
	int n = snprintf(h->error, sizeof(h->error), "the server ended the session: %s ",
		nghttp2_http2_strerror(goaway->error_code));
	for (size_t i = 0; i < goaway->opaque_data_len && n < (int)sizeof(h->error) - 1; i++) {
		const uint8_t c = goaway->opaque_data[i];
		h->error[n++] = c >= ' ' && c < 0x7f ? (char)c : '?';
	}
	h->error[n] = '\0';
}

static int on_frame(nghttp2_session *, const nghttp2_frame *frame, void *arg)
{
	struct h2 *h = arg;
	struct stream *const s = stream_find(h, frame->hd.stream_id);

	if (frame->hd.type == NGHTTP2_GOAWAY)
		goaway_take(h, &frame->goaway);
	// 1xx come before the answer, trailers after it.
	if (frame->hd.type != NGHTTP2_HEADERS || !s || s->error || s->answered || s->status < 200)
		return 0;
	s->answered = true;
	const struct h2_answer answer = {
		.status = s->status,
		.retry_after = s->retry_after[0] ? s->retry_after : NULL,
		.location = s->location[0] ? s->location : NULL,
	};
	if (s->events.answer)
		s->events.answer(s->events.arg, &answer);
	return 0;
}

static int on_data(
	nghttp2_session *, uint8_t, int32_t id, const uint8_t *bytes, size_t len, void *arg)
{
	struct h2 *h = arg;
	struct stream *const s = stream_find(h, id);

	if (!s || s->error)
		return 0;
	s->received += len;
	if (s->answer_max && s->received > s->answer_max) {
		stream_abort(h, s, -EMSGSIZE);
		return 0;
	}
	const int error = s->events.data && len ? s->events.data(s->events.arg, bytes, len) : 0;
	if (error)
		stream_abort(h, s, error);
	return 0;
}

static int close_error(const struct stream *s, uint32_t code)
{
	if (s->error)
		return s->error;
	switch (code) {
	case NGHTTP2_NO_ERROR:
		return s->answered ? 0 : -EPROTO;
	case NGHTTP2_REFUSED_STREAM:
		return -EAGAIN;
	case NGHTTP2_PROTOCOL_ERROR:
		return -EPROTO;
	default:
		return -ECONNRESET;
	}
}

static int on_close(nghttp2_session *, int32_t id, uint32_t code, void *arg)
{
	struct h2 *h = arg;
	struct stream *const s = stream_find(h, id);

	if (s)
		stream_close(h, s, close_error(s, code));
	return 0;
}

// A request that could not be sent, since the server said no more before.
static int on_not_sent(nghttp2_session *, const nghttp2_frame *frame, int, void *arg)
{
	struct h2 *h = arg;
	struct stream *const s =
		frame->hd.type == NGHTTP2_HEADERS ? stream_find(h, frame->hd.stream_id) : NULL;

	if (s && !s->error)
		s->error = -EAGAIN;
	return 0;
}

static int on_invalid(nghttp2_session *, const nghttp2_frame *, int error, void *arg)
{
	struct h2 *h = arg;

	if (!h->error[0])
		snprintf(h->error, sizeof(h->error), "the server broke HTTP/2: %s",
			nghttp2_strerror(error));
	return 0;
}

// Also what on_invalid does not see ends with our GOAWAY.
static int on_sent(nghttp2_session *, const nghttp2_frame *frame, void *arg)
{
	struct h2 *h = arg;

	if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != NGHTTP2_NO_ERROR &&
		!h->error[0])
		snprintf(h->error, sizeof(h->error), "the server broke HTTP/2: %s",
			nghttp2_http2_strerror(frame->goaway.error_code));
	return 0;
}

static int session_start(struct h2 *h)
{
	const nghttp2_settings_entry settings[] = {
		{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
		{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW},
		{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, H2_HEADER_LIST_MAX},
	};
	nghttp2_session_callbacks *c;

	if (nghttp2_session_callbacks_new(&c))
		return -ENOMEM;
	nghttp2_session_callbacks_set_on_header_callback(c, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(c, on_frame);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(c, on_close);
	nghttp2_session_callbacks_set_on_frame_not_send_callback(c, on_not_sent);
	nghttp2_session_callbacks_set_on_frame_send_callback(c, on_sent);
	nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(c, on_invalid);
	const int error = nghttp2_session_client_new(&h->session, c, h);
	nghttp2_session_callbacks_del(c);
	if (error ||
		nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, settings,
			sizeof(settings) / sizeof(*settings)) ||
		nghttp2_session_set_local_window_size(
			h->session, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW))
		return -ENOMEM;
	return 0;
}

int h2_create(struct h2 **out, const char *authority)
{
	struct h2 *h = calloc(1, sizeof(*h));

	if (!h)
		return -ENOMEM;
	h->authority = strdup(authority);
	if (!h->authority || session_start(h)) {
		h2_destroy(h);
		return -ENOMEM;
	}
	*out = h;
	return 0;
}

void h2_destroy(struct h2 *h)
{
	if (!h)
		return;
	h->failed = true; // no requests from the callbacks
	while (h->streams)
		stream_close(h, h->streams, -ECONNABORTED);
	nghttp2_session_del(h->session);
	free(h->authority);
	free(h);
}

static ssize_t body_read(nghttp2_session *, int32_t, uint8_t *to, size_t len, uint32_t *flags,
	nghttp2_data_source *source, void *)
{
	struct stream *const s = source->ptr;
	const size_t left = s->body_len - s->body_sent, n = len < left ? len : left;

	memcpy(to, s->body + s->body_sent, n);
	s->body_sent += n;
	if (s->body_sent == s->body_len)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
}

static nghttp2_nv header(const char *name, const char *value)
{
	return (nghttp2_nv){.name = (uint8_t *)name,
		.value = (uint8_t *)value,
		.namelen = strlen(name),
		.valuelen = strlen(value)};
}

static int32_t submit(struct h2 *h, const struct h2_request *r, struct stream *s)
{
	const nghttp2_data_provider body = {.source.ptr = s, .read_callback = body_read};
	char length[24];
	nghttp2_nv headers[8];
	size_t n = 0;

	headers[n++] = header(":method", r->method);
	headers[n++] = header(":scheme", "https");
	headers[n++] = header(":authority", h->authority);
	headers[n++] = header(":path", r->path);
	if (r->load_balancing)
		headers[n++] = header("ts-lb", r->load_balancing);
	if (r->body_len) {
		snprintf(length, sizeof(length), "%zu", r->body_len);
		headers[n++] = header("content-type", "application/json");
		headers[n++] = header("content-length", length);
	}
	return nghttp2_submit_request(h->session, NULL, headers, n, r->body_len ? &body : NULL, s);
}

int32_t h2_request(struct h2 *h, const struct h2_request *r, const struct h2_events *events)
{
	if (!h2_open(h))
		return -ESHUTDOWN;
	if (r->body_len > H2_BODY_MAX)
		return -EMSGSIZE;
	if (h->n_streams == H2_STREAMS_MAX)
		return -EBUSY;
	struct stream *s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->events = *events;
	s->answer_max = r->answer_max;
	s->body_len = r->body_len;
	s->body = malloc(r->body_len + 1);
	if (!s->body) {
		free(s);
		return -ENOMEM;
	}
	if (r->body_len)
		memcpy(s->body, r->body, r->body_len);
	s->id = submit(h, r, s);
	if (s->id < 0) {
		stream_free(s);
		return -ESHUTDOWN;
	}
	s->next = h->streams;
	h->streams = s;
	h->n_streams++;
	return s->id;
}

void h2_cancel(struct h2 *h, int32_t id)
{
	struct stream *const s = stream_find(h, id);

	if (s)
		stream_abort(h, s, -ECANCELED);
}

static int fail(struct h2 *h, int error)
{
	h->failed = true;
	if (!h->error[0])
		snprintf(h->error, sizeof(h->error), "the HTTP/2 session failed: %s",
			nghttp2_strerror(error));
	return -EPROTO;
}

int h2_feed(struct h2 *h, const uint8_t *bytes, size_t len)
{
	if (h->failed)
		return -EPROTO;
	const ssize_t n = nghttp2_session_mem_recv(h->session, bytes, len);

	return n < 0 ? fail(h, (int)n) : 0;
}

long h2_output(struct h2 *h, const uint8_t **bytes)
{
	const ssize_t n = h->failed ? 0 : nghttp2_session_mem_send(h->session, bytes);

	return n < 0 ? fail(h, (int)n) : n;
}

bool h2_open(const struct h2 *h)
{
	return !h->failed && !h->goaway && nghttp2_session_check_request_allowed(h->session);
}

bool h2_finished(const struct h2 *h)
{
	return h->failed ||
	       (!nghttp2_session_want_read(h->session) &&
		       !nghttp2_session_want_write(h->session)) ||
	       (h->goaway && !h->n_streams && !nghttp2_session_want_write(h->session));
}

const char *h2_error(const struct h2 *h)
{
	return h->error;
}
