// Who is connected to the control socket and to the metrics address: how many of a kind there may
// be, and how long one may say nothing, not finish its request or not read its answer. Above
// libevent's HTTP, which knows no such bounds. [ctl]
#pragma once

#include <event2/http.h>
#include <sys/types.h>

#include "dataplane/base/types.h"

enum ctl_conn_kind {
	CTL_CONN_MANAGER, // root, the daemon's user, the socket's group
	CTL_CONN_READER,  // everybody else on the socket
	CTL_CONN_METRICS, // over TCP
	CTL_CONN_KINDS,
};

enum {
	CTL_MANAGERS_MAX = 128,
	CTL_READERS_MAX = 64,
	CTL_READERS_PER_USER = 24,
	CTL_SCRAPERS_MAX = 32,
	// From the connection, or the last answer, to the end of the next request.
	CTL_REQUEST_S = 30,
	// Whoever takes less than so many bytes in so much time, while more wait, is too slow.
	CTL_SLOW_S = 30,
	CTL_SLOW_BYTES = 64 << 10,
	CTL_HEADERS_MAX = 8192,	  // bytes
	CTL_BODY_MAX = 256 << 10, // prefs with all routes there may be
	// What is read ahead of an answer: libevent wants to see a whole body.
	CTL_UNREAD_MAX = CTL_BODY_MAX + 2 * CTL_HEADERS_MAX,
};

#define CTL_CONN_ENDS(X)                                                                           \
	X(REFUSED, "refused")	  /* too many of its kind, none of them idle */                    \
	X(DISPLACED, "displaced") /* idle, and somebody else wanted its place */                   \
	X(IDLE, "idle")		  /* no whole request in time */                                   \
	X(SLOW, "slow")		  /* its answer was not read */

enum ctl_conn_end {
#define X(name, label) CTL_CONN_##name,
	CTL_CONN_ENDS(X)
#undef X
		CTL_CONN_END_COUNT
};

struct ctl_conns;

// NULL: out of memory.
struct ctl_conns *ctl_conns_create(struct event_base *) must_check;
// After the servers were freed. NULL is fine.
void ctl_conns_destroy(struct ctl_conns *);
// Watch each connection to this server. TCP: for metrics; otherwise it is a Unix socket, and
// members of the group manage. Once each.
void ctl_conns_watch_tcp(struct ctl_conns *, struct evhttp *);
void ctl_conns_watch_unix(struct ctl_conns *, struct evhttp *, gid_t group);
// For the server's callback: a request is complete. false: answered, its connection is one too
// many.
bool ctl_conns_request(struct ctl_conns *, struct evhttp_request *) must_check;
// fn when the connection of a request goes before its answer is complete; NULL: not any more. It
// may not touch the connection. The request stays the handler's to end, unless the server goes.
void ctl_conns_on_close(
	struct ctl_conns *, struct evhttp_request *, void (*fn)(void *arg), void *arg);
// Who asks may do everything.
bool ctl_conns_manages(const struct ctl_conns *, struct evhttp_request *);

// End what is idle or slow; now: of CLOCK_MONOTONIC. Done every second by itself.
void ctl_conns_check(struct ctl_conns *, uint64_t now_ns);

unsigned ctl_conns_count(const struct ctl_conns *, enum ctl_conn_kind);
const char *ctl_conn_kind_label(enum ctl_conn_kind);
uint64_t ctl_conns_ended(const struct ctl_conns *, enum ctl_conn_end);
const char *ctl_conn_end_label(enum ctl_conn_end);
