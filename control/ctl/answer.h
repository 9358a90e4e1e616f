// How answers leave: as a whole, or piece by piece as the client reads them, so that a long one
// neither stalls the control thread nor lies in memory. [ctl]
#pragma once

#include <event2/buffer.h>
#include <event2/http.h>
#include <jansson.h>

#include "control/ctl/conns.h"

enum {
	CTL_PIECE = 32 << 10, // bytes after which a source may pause: about a millisecond
	CTL_MEMBER_LEN = 128, // name of a member of a long object
};

// Answer as a whole and forget the request. type: NULL for none.
void ctl_send(struct evhttp_request *, int code, const char *type, struct evbuffer *body);
// The same with JSON; the reference is taken, NULL answers 500. flags: of json_dumps.
void ctl_send_json(struct evhttp_request *, int code, json_t *, size_t flags);
// Begin an answer of code 200 whose end comes later (evhttp_send_reply_end).
void ctl_send_begin(struct evhttp_request *, const char *type);
// A piece of it. cb: NULL, or when it has left.
void ctl_send_piece(struct evhttp_request *, struct evbuffer *,
	void (*cb)(struct evhttp_connection *, void *), void *arg);

// What writes an answer of code 200.
struct ctl_source {
	const char *type;
	// Append some CTL_PIECE bytes; then, or at the end, return. 1: there is more, 0: that was
	// all, -errno: it cannot go on.
	int (*more)(void *arg, struct evbuffer *out);
	void (*end)(void *arg); // once, however it ends
	void *arg;
};
void ctl_send_source(struct ctl_conns *, struct evhttp_request *, const struct ctl_source *);

// A JSON object whose last member is long. Elements come one by one; what *at counts is the
// giver's own, 0 at first. NULL: that was the last one.
struct ctl_list {
	json_t *object;	    // the other members; taken, NULL answers 500
	const char *member; // name of the long one; NULL: there is none
	bool named;	    // it is an object, and each element gets its name
	bool bare;	    // no line end behind it
	json_t *(*next)(void *arg, size_t *at, char name[static CTL_MEMBER_LEN]);
	void *arg; // outlives the server
};
void ctl_send_list(struct ctl_conns *, struct evhttp_request *, const struct ctl_list *);
// The same as a source, for memory. 0, or -ENOMEM with nothing to end.
int ctl_list_source(const struct ctl_list *, struct ctl_source *source) must_check;
