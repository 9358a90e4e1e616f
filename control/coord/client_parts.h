// What the files of the client share: client.c (states, dialling, back-off), login.c (register,
// keys, logout), poll.c (map stream, lite updates), pings.c (what the server asks for). [ctl]
#pragma once

#include "control/coord/client.h"
#include "control/coord/dial.h"
#include "control/coord/session.h"

enum coord_phase {
	PHASE_OFF,
	PHASE_WAIT, // for the next attempt
	PHASE_DIAL,
	PHASE_REGISTER,
	PHASE_POLL,
	PHASE_LOGOUT, // its dial and its request
};

enum {
	COORD_REQUEST_S = 60,	// for an answer to register; a followup has longer:
	COORD_FOLLOWUP_S = 300, // somebody has to log in; then it is asked anew
	COORD_SHORT_S = 15,	// lite updates, pings, posts
	COORD_LOGOUT_S = 5,
	COORD_ENDPOINTS_MAX = 64,
	COORD_PINGS_MAX = 4,	    // HEAD requests at once
	COORD_PINGS_REMEMBERED = 8, // URLs
};

// A plain HEAD under way.
struct coord_head {
	struct coord_client *client;
	struct fetch *fetch; // NULL: free
};

struct coord_probe; // of probe.c

struct coord_client {
	struct event_base *base;
	struct net *net;
	struct persist_state *persist;
	struct netmap *netmap;
	struct coord_env env;
	struct coord_status status;

	enum coord_phase phase;
	struct login_url url;
	struct key server_public; // zero: not known
	struct dial *dial;
	struct session *session;
	struct event *tick, *retry;
	uint64_t dialled_ns; // 0: never
	unsigned failures;   // in a row

	// login.c
	char *auth_key;
	bool ephemeral;
	bool want_new_key;
	bool registered;
	bool may_try_old; // the last run was ended during a rotation: is the old key still good?
	bool try_old;
	uint64_t asked_ns;
	struct register_progress progress;
	void (*logged_out)(void *arg, int error);
	void *logged_out_arg;
	struct event *logout;

	// poll.c
	struct mapstream *stream;
	uint64_t alive_ns; // last message, or the request
	struct event *lite;
	unsigned lite_failures;
	bool lite_wanted, lite_busy;

	struct coord_probe *probe; // NULL: none is under way

	// pings.c
	struct coord_head heads[COORD_PINGS_MAX];
	char *ping_urls[COORD_PINGS_REMEMBERED];
	unsigned next_ping_url;
};

// client.c
void coord_changed(struct coord_client *);
// Drop the connection and try again later.
void coord_fail(struct coord_client *, const struct trouble *);
void coord_fail_text(struct coord_client *, enum coord_trouble, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
// What a request's answer says when it is not 200 with a proper end.
void coord_fail_answer(
	struct coord_client *, const char *asked, const struct session_answer *answer);
// Something is wrong, but the stream goes on. NULL: all is well again.
void coord_note(struct coord_client *, const struct trouble *);
// Drop the connection and take another one, without any fault.
void coord_redial(struct coord_client *, uint64_t delay_ms);
void coord_disconnect(struct coord_client *);
unsigned coord_backoff_ms(unsigned failures);
void coord_timer(struct event *, uint64_t ms);
static inline uint64_t coord_now(const struct coord_client *c)
{
	return c->env.now_ns(c->env.arg);
}

// login.c
void login_prepare(struct coord_client *, const struct coord_login *);
void login_send(struct coord_client *);
void login_forget(struct coord_client *); // the auth key, and the progress
void logout_send(struct coord_client *);
void logout_finish(struct coord_client *, int error);
void on_logout_timer(evutil_socket_t, short, void *client);
struct key login_public(const struct key *private_key); // zero of zero

// poll.c
void poll_start(struct coord_client *);
void poll_tick(struct coord_client *, uint64_t now_ns);
void on_lite_timer(evutil_socket_t, short, void *client);

// probe.c
void probe_end(struct coord_client *); // if one is under way

// pings.c
void pings_take(struct coord_client *, const char *request);
void pings_fini(struct coord_client *);
