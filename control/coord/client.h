// The conversation with the coordination server: key fetch, ts2021 over port 80 then 443, register,
// the map stream and lite updates beside it, ping requests, back-off and watchdog. It keeps the
// netmap current and says what changed. Source: tailscale control/controlclient. [ctl]
#pragma once

#include "control/coord/hostinfo.h"
#include "control/coord/mapstream.h"
#include "control/coord/netmap.h"
#include "control/coord/persist.h"
#include "control/coord/register.h"
#include "control/net/stream.h"

enum {
	COORD_CAP_VERSION = 142, // what stable 1.102 declares
	COORD_TEXT_LEN = 640,
};

enum coord_state {
	COORD_OFF,	      // not started, or logged out
	COORD_CONNECTING,     // key, upgrade, register
	COORD_VISIT_URL,      // status.url waits for somebody to log in
	COORD_AWAIT_APPROVAL, // registered, machine not authorized
	COORD_REFUSED,	      // the server says no; tried again slowly or after a change
	COORD_STREAMING,      // the map stream gives messages; trouble may be EXPIRED or CLOCK
};

// Why it is not streaming, as a name for metrics and doctor; "" in status.why is well.
#define COORD_TROUBLES(X)                                                                          \
	X(NONE, "")                                                                                \
	X(DNS, "dns")                                                                              \
	X(CONNECT, "connect")                                                                      \
	X(CERTIFICATE, "certificate")                                                              \
	X(WRONG_SERVER, "wrong_server")	  /* answers, but not with this protocol */                \
	X(REDIRECT, "redirect")		  /* 308 and the like: the login server moved */           \
	X(VERSION, "unsupported_version") /* 400, or the close right after the 101 */              \
	X(KEY, "auth_key")		  /* the auth key is refused */                            \
	X(REFUSED, "refused")		  /* the server says no to us, for another reason */       \
	X(EXPIRED, "node_key_expired")                                                             \
	X(UNKNOWN_NODE, "unknown_node") /* 404 of the map: register again */                       \
	X(RATE_LIMITED, "rate_limited")                                                            \
	X(CLOSED, "closed") /* the connection ended */                                             \
	X(SILENT, "silent") /* nothing for 120 s */                                                \
	X(PROTOCOL, "protocol")                                                                    \
	X(CLOCK, "clock")     /* our clock is far off: TLS or expiry */                            \
	X(STORAGE, "storage") /* a new key cannot be kept on disk */

enum coord_trouble {
#define X(name, label) COORD_TROUBLE_##name,
	COORD_TROUBLES(X)
#undef X
		COORD_TROUBLE_COUNT
};
const char *coord_trouble_label(enum coord_trouble);

struct coord_status {
	enum coord_state state;
	enum coord_trouble trouble;
	char why[COORD_TEXT_LEN]; // one line: what happened, probable cause, remedy
	char url[REGISTER_TEXT_LEN];
	char user[256];		     // login name
	uint64_t connected_ns;	     // since when the stream runs; 0: it does not
	uint64_t heard_ns;	     // last message of the server
	uint64_t retry_ns;	     // next attempt; 0: none planned
	uint64_t parse_ns, apply_ns; // CPU time that the last whole netmap took
	uint64_t connects, failures, messages, lite_updates, ping_requests;
	uint64_t troubles[COORD_TROUBLE_COUNT]; // how often
	char path[64];				// "https, port 443", "http, port 8080"
};

struct coord_client;

struct coord_env {
	void *arg;
	uint64_t (*now_ns)(void *arg);
	// What we say of ourselves now; valid until the next call.
	const struct hostinfo *(*hostinfo)(void *arg);
	// Our endpoints now, best first; returns how many, at most max.
	size_t (*endpoints)(void *arg, struct map_endpoint *out, size_t max);
	struct key (*disco_key)(void *arg); // public
	// Keys or login in *persist changed: write them. Not 0: they are not used then.
	int (*save)(void *arg);
	// A message was applied to the netmap.
	void (*map)(void *arg, const struct netmap_delta *);
	void (*changed)(void *arg); // coord_client_status
	// A ping request other than plain HEAD and c2n: JSON. Answer with coord_client_post. NULL:
	// not done.
	void (*ping)(void *arg, const char *request);
	// A c2n request (HTTP/1.x text) to its answer, a full HTTP/1.1 response to be freed; NULL:
	// 400.
	char *(*c2n)(void *arg, const char *request, size_t len, size_t *answer_len);
};

// persist: the caller's, with machine key; the client writes the rest but hostname and log ID.
// netmap: the caller's, with its own key set by the client.
struct coord_client *coord_client_create(struct event_base *, struct net *, struct persist_state *,
	struct netmap *, const struct coord_env *) must_check;
void coord_client_destroy(struct coord_client *);

// The private key that our peers know: during a rotation the old one. After a change of it the
// netmap's own key is its public half. Zero: none.
const struct key *coord_key_in_use(const struct persist_state *);

struct coord_login {
	const char *server;   // URL
	const char *auth_key; // NULL: none. Wiped once used
	bool ephemeral;
	bool interactive; // a new node key, even if the old one is still good
};

// Begin, or begin anew: register with the node key of persist (a new one if it has none), then the
// map stream. 0 or -EINVAL: URL, with a line in status.why.
int coord_client_start(struct coord_client *, const struct coord_login *) must_check;
// End the stream and stay silent; keys stay. The data plane goes on with what it knows.
void coord_client_pause(struct coord_client *);
// Tell the server, then drop the node key (done also when the server cannot be reached within 5 s).
void coord_client_logout(struct coord_client *, void (*done)(void *arg, int error), void *arg);
// Hostinfo, NetInfo, endpoints or disco key changed: a lite update, soon; several become one.
void coord_client_update(struct coord_client *);
// The network changed: try again now.
void coord_client_retry(struct coord_client *);
// What the server said of us may be old: have the whole netmap again, over a new connection.
// Nothing happens while there is no stream.
void coord_client_reread(struct coord_client *);
// POST over the noise channel; the answer counts for nothing. path: or the URL of a ping request.
// 0, -ENOTCONN, -EINVAL.
int coord_client_post(struct coord_client *, const char *path, const char *body, size_t len);
// Would the server take us today? Its key, port and handshake once more, beside what runs, which is
// left alone: an old client may have been refused since its stream began. trouble: NONE, or with a
// line in why; why is the way ("https, port 443") when all is well.
struct coord_probe_result {
	enum coord_trouble trouble;
	char why[COORD_TEXT_LEN];
	unsigned took_ms;
};
// done once, from the loop, within 25 s, or from coord_client_destroy. 0, -EBUSY: one is under
// way, -ENOTCONN: no server is known, or -errno.
int coord_client_probe(struct coord_client *,
	void (*done)(void *arg, const struct coord_probe_result *), void *arg) must_check;
const struct coord_status *coord_client_status(const struct coord_client *);
