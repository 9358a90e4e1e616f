// What the files of the LocalAPI share. [ctl]
#pragma once

#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <jansson.h>

#include "control/ctl/answer.h"
#include "control/ctl/local.h"
#include "control/tailnet/tailnet.h"

enum {
	LOCAL_WATCHERS_MAX = 32, // streams of watch-ipn-bus
	LOCAL_READERS_MAX = 16,	 // ... of those who may only read
	LOCAL_WAITING_MAX = 64,	 // pings and the like that are not answered yet
	LOCAL_TIME_LEN = 40,
	LOCAL_OPERATOR_S = 60, // that a user name's number is remembered
};

struct local_share;
struct local_watcher;
struct local_waiting;

struct local {
	struct daemon *d;
	struct ctl_conns *conns;
	struct local_watcher *watchers;
	unsigned n_watchers, n_readers;
	struct event *tick; // looks whether watchers have left
	struct local_waiting *waiting;
	unsigned n_waiting;
	struct local_share *share;
	struct local_operator {
		char name[sizeof(((struct prefs *)NULL)->operator)];
		bool known;
		uid_t uid;
		time_t until_s;
	} operator;
};

// A request on its way through its handler.
struct local_request {
	struct local *local;
	struct evhttp_request *req;
	struct tailnet *t; // NULL: none; only where the route says so
	bool may_write;
	struct evkeyvalq query;
};

// --- local.c

// Answers; the request is gone then. A reference to the object is taken, NULL is 500.
void local_json(struct local_request *, int code, json_t *);
// Text of one line, to which a newline is added.
void local_text(struct local_request *, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void local_no_content(struct local_request *);
// NULL: not there, or empty.
const char *local_query(const struct local_request *, const char *name);
// The body as JSON. NULL: answered with 400.
json_t *local_body(struct local_request *);
extern const char local_no_tailnet[]; // why, and what to do

// A request that is answered later. NULL: too many, answered with 503.
struct local_waiting *local_wait(struct local_request *) must_check;
// Ends the wait: fills in the request; false: whoever asked, or all of the LocalAPI, is gone.
bool local_resume(struct local_waiting *, struct local_request *) must_check;

// --- local_node.c: JSON of parts of the netmap

// RFC 3339 with nanoseconds as far as they are not zero; 0 is Go's zero time.
json_t *local_time(uint64_t unix_ns);
json_t *local_address(const struct ip_addr *);
json_t *local_prefixes(const struct ip_prefix *, uint32_t n);
json_t *local_texts(const char *const *, uint32_t n); // null when there are none
json_t *local_key(const struct key *, const char *prefix);
json_t *local_caps(const struct nm_cap *, uint32_t n, bool null_as_list);
json_t *local_node(const struct nm_node *);    // tailcfg.Node
json_t *local_user(const struct nm_user *);    // tailcfg.UserProfile
json_t *local_derp_map(const struct netmap *); // null before the first netmap
json_t *local_dns(const struct nm_dns *);      // tailcfg.DNSConfig
// The part of a name behind its first dot, without the final one.
void local_suffix(const char *fqdn, char *to, size_t room);
const struct nm_user *local_user_of(const struct netmap *, int64_t id); // NULL: unknown

// --- local_status.c

// Without a tailnet, too.
struct ctl_list local_status_list(struct daemon *, bool with_peers) must_check;
const char *local_auth_url(const struct tailnet *); // "": nobody has to log in

// --- local_share.c

// The status as text, at most a second old, or NULL without memory: at once or later. -EBUSY: too
// many wait; -ENOMEM; then done is not called.
int local_share(
	struct local *, void (*done)(void *arg, struct evbuffer *text), void *arg) must_check;
void local_unshare(struct local *, const void *arg);		   // done is not called any more
struct local_share *local_share_create(struct local *) must_check; // never NULL
void local_share_destroy(struct local_share *);			   // tells those that wait

// --- local_prefs.c

json_t *local_prefs(const struct tailnet *); // ipn.Prefs with who is logged in

// --- handlers, each of one route

typedef void local_handler(struct local_request *);
local_handler local_handle_status;					      // local_status.c
local_handler local_handle_prefs, local_handle_patch, local_handle_check;     // local_prefs.c
local_handler local_handle_start, local_handle_login, local_handle_logout;    // ...
local_handler local_handle_watch;					      // local_bus.c
local_handler local_handle_dns_os, local_handle_dns_query;		      // local_dns.c
local_handler local_handle_ping;					      // local_ping.c
local_handler local_handle_derpmap, local_handle_whois, local_handle_dns;     // local_misc.c
local_handler local_handle_warning, local_handle_serve, local_handle_metrics; // ...
local_handler local_handle_suggest, local_handle_cert_domains;		      // ...
local_handler local_handle_peer, local_handle_user, local_handle_reload;      // ...
local_handler local_handle_so_mark, local_handle_services;		      // ...
local_handler local_handle_appc;					      // ...

void local_bus_end(struct local *); // ends all streams
