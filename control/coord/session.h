// Requests on one upgraded connection: HTTP/2 inside of ts2021, all at once on the same one. [ctl]
#pragma once

#include "control/coord/conn.h"

enum { SESSION_ERROR_BODY_MAX = 4096 }; // what is kept of an answer other than 200 to a stream

struct session;

struct session_answer {
	int error;  // 0, or -errno: -ETIMEDOUT, -EMSGSIZE, what data returned ...
	int status; // 0: none came
	const char *retry_after, *location; // NULL: no such header
	const char *body;		    // terminated; "" with data
	size_t len;
};

struct session_request {
	const char *method, *path;
	const void *body;
	size_t body_len;
	size_t answer_max;  // bytes of the body
	unsigned timeout_s; // 0: none
	// The body of a 200, without end, as it comes; NULL: it is collected. Not 0 ends the
	// request with it.
	int (*data)(void *arg, const uint8_t *bytes, size_t len);
	void (*done)(
		void *arg, const struct session_answer *); // once; never after coord_session_close
	void *arg;
};

// The connection is this session's from now on, in any case. closed: once; coord_session_close it
// still. now_ns is for timeouts. 0 or -errno.
int coord_session_create(struct session **out, struct event_base *, struct conn *,
	const char *authority, void (*closed)(void *arg, const struct trouble *),
	void *arg) must_check;
// From within any event, too. Nothing is heard of it after that. NULL is fine.
void coord_session_close(struct session *);
// Events come from the loop, never from within. 0 or -errno: -EBUSY too many at once, -ESHUTDOWN
// the server takes no more.
int coord_session_send(
	struct session *, const struct session_request *, uint64_t now_ns) must_check;
// Now and then: ends what has waited too long.
void coord_session_tick(struct session *, uint64_t now_ns);
