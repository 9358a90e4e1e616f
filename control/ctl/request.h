// What the handlers of the socket's requests share. [ctl]
#pragma once

#include <event2/http.h>
#include <jansson.h>

#include "control/ctl/query.h"
#include "control/daemon.h"

struct ctl_conns;
struct ctl_trace;
struct ctl_capture;
struct ctl_netcheck;
struct ctl_doctor;
struct local;

struct ctl_server {
	struct daemon *d;
	struct evhttp *http;	     // on the Unix socket
	struct evhttp *metrics_http; // on TCP, or NULL
	char path[108];
	dev_t device; // of the socket file, so that only our own is removed
	ino_t inode;
	struct ctl_conns *conns;
	struct local *local;		// the LocalAPI
	struct ctl_trace *trace;	// the one that runs, or NULL
	struct ctl_capture *capture;	// the one that runs, or NULL
	struct ctl_netcheck *netchecks; // that wait for a report
	struct ctl_doctor *doctors;	// requests under way
};

// Answer and forget the request. The object's reference is taken; NULL answers 500.
void ctl_reply_json(struct evhttp_request *, int code, json_t *);
// {"error": "..."}
void ctl_reply_error(struct evhttp_request *, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

// Read the URL's query; false: answered with 400.
bool ctl_query(struct evhttp_request *, const char *const names[], struct query *) must_check;
bool ctl_query_number(struct evhttp_request *, const struct query *, const char *name,
	uint32_t otherwise, uint32_t min, uint32_t max, uint32_t *out) must_check;
