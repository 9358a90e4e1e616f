// HTTP/2 inside of ts2021, as its client with prior knowledge: several requests with JSON bodies at
// once, answers streamed as they come. An engine without I/O over nghttp2: bytes of the connection
// in and out, events by callback. SETTINGS, PING and windows are seen to. [ctl]
#pragma once

#include "dataplane/base/types.h"

enum {
	H2_STREAMS_MAX = 32,	    // requests at once
	H2_HEADERS_MAX = 100,	    // of one answer
	H2_HEADER_LIST_MAX = 16384, // bytes of them that we announce to take; 64 KiB end the stream
	H2_BODY_MAX = 1 << 20,	    // of a request: headscale takes no more
	H2_ERROR_TEXT_LEN = 128,
};

struct h2;

struct h2_answer {
	int status;
	const char *retry_after; // the header's value, or NULL
	const char *location;	 // of a redirect
};

// Of one request. They may make requests and cancel others, but not destroy the session.
struct h2_events {
	// Once, before any data; may be NULL.
	void (*answer)(void *arg, const struct h2_answer *);
	// Not 0 cancels the request, which then closes with it; may be NULL.
	int (*data)(void *arg, const uint8_t *bytes, size_t len);
	// Once, and last. 0: the answer is complete. -EMSGSIZE over answer_max or too many headers;
	// -ECANCELED by h2_cancel; -EAGAIN not taken by the server, may be sent again; -ECONNRESET
	// the server ended it; -EPROTO; -ECONNABORTED the session was destroyed.
	void (*closed)(void *arg, int error);
	void *arg;
};

struct h2_request {
	const char *method, *path;
	const char *load_balancing; // Ts-Lb: node key, or NULL
	const void *body;	    // copied
	size_t body_len;
	uint64_t answer_max; // bytes; 0: without end, as the map stream
};

// authority: the server's host as in its URL. 0 or -errno.
int h2_create(struct h2 **out, const char *authority) must_check;
// Closes what is open. NULL is fine.
void h2_destroy(struct h2 *);
// The stream's number, or -EBUSY: too many at once; -ESHUTDOWN: the server takes no more on this
// connection; -EMSGSIZE: body too long; -ENOMEM.
int32_t h2_request(struct h2 *, const struct h2_request *, const struct h2_events *) must_check;
// closed comes from within, or with the next output. An unknown stream is fine.
void h2_cancel(struct h2 *, int32_t stream);
// Bytes from the server, any split. 0, or -EPROTO, for good.
int h2_feed(struct h2 *, const uint8_t *bytes, size_t len) must_check;
// The next bytes for the server; 0: nothing now, -EPROTO. They are valid until the next call.
long h2_output(struct h2 *, const uint8_t **bytes) must_check;
// May requests be made? No more after a GOAWAY or an error.
bool h2_open(const struct h2 *);
// Nothing is left to say or to wait for: the connection may be closed.
bool h2_finished(const struct h2 *);
// Why the session ended; "" when nothing went wrong. Printable.
const char *h2_error(const struct h2 *);
