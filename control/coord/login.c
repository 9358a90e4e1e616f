// Register, by auth key or by URL; a new node key and the old one beside it; logout.
#include "control/coord/client_parts.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "dataplane/base/log.h"
#include "dataplane/crypto/x25519.h"

static const char asked[] = "POST /machine/register";

enum {
	FOLLOWUP_MIN_S = 2, // an answer that is faster waited for nobody
};
#define NS_PER_S UINT64_C(1000000000)

struct key login_public(const struct key *private_key)
{
	struct key public_key = {0};

	if (!key_is_zero(private_key))
		x25519_public(public_key.bytes, private_key->bytes);
	return public_key;
}

const struct key *coord_key_in_use(const struct persist_state *p)
{
	return key_is_zero(&p->old_node_private) ? &p->node_private : &p->old_node_private;
}

static void auth_key_wipe(struct coord_client *c)
{
	if (c->auth_key)
		sodium_memzero(c->auth_key, strlen(c->auth_key));
	free(c->auth_key);
	c->auth_key = NULL;
}

void login_forget(struct coord_client *c)
{
	auth_key_wipe(c);
	c->progress = (struct register_progress){0};
	c->registered = c->want_new_key = c->may_try_old = c->try_old = false;
}

static void own_key_say(struct coord_client *c)
{
	const struct key own = login_public(coord_key_in_use(c->persist));

	if (memcmp(&own, &c->netmap->own_key, sizeof(own)) != 0)
		netmap_own_key(c->netmap, &own);
}

// Keys belong to one server.
void login_prepare(struct coord_client *c, const struct coord_login *login)
{
	struct persist_state *const p = c->persist;

	login_forget(c);
	if (login->auth_key && *login->auth_key)
		c->auth_key = strdup(login->auth_key);
	c->ephemeral = login->ephemeral;
	if (p->login_server[0] && strcmp(p->login_server, c->url.origin) != 0) {
		p->node_private = p->old_node_private = (struct key){0};
		p->stable_id[0] = '\0';
	}
	memcpy(p->login_server, c->url.origin, strlen(c->url.origin) + 1); // its length was checked
	p->logged_out = false;
	c->want_new_key = login->interactive || key_is_zero(&p->node_private);
	c->may_try_old = !login->interactive && !c->auth_key && !key_is_zero(&p->old_node_private);
	own_key_say(c);
}

// On disk before anybody hears of it, the old one beside it until the server has taken the new:
// killed at any moment, one of both is the server's.
static int key_renew(struct coord_client *c)
{
	struct persist_state *const p = c->persist;
	struct persist_state before = *p;

	// A key that nobody ever logged in with is nothing to go back to.
	const bool known = p->user || p->login[0] || c->progress.rotated;
	if (known && key_is_zero(&p->old_node_private))
		p->old_node_private = p->node_private;
	x25519_generate(p->node_private.bytes);
	const int error = c->env.save(c->env.arg);
	if (error)
		*p = before;
	sodium_memzero(&before, sizeof(before));
	if (error)
		return error;
	c->want_new_key = false;
	own_key_say(c);
	return 0;
}

// The server has taken the key.
static void adopt(struct coord_client *c, const struct register_result *r)
{
	struct persist_state *const p = c->persist;
	const bool rotated = !key_is_zero(&p->old_node_private);
	bool changed = rotated || p->user != r->user || strcmp(p->login, r->login) != 0;

	if (c->try_old)
		p->node_private = p->old_node_private;
	p->old_node_private = (struct key){0};
	p->user = r->user;
	snprintf(p->login, sizeof(p->login), "%s", r->login);
	snprintf(c->status.user, sizeof(c->status.user), "%s", r->login);
	if (changed && c->env.save(c->env.arg)) {
		// What is on the disk does as well: both keys are there.
		c->status.troubles[COORD_TROUBLE_STORAGE]++;
		log_warn("coord", "the login cannot be written to the state directory");
	}
	own_key_say(c);
	login_forget(c);
	c->registered = true;
	c->status.url[0] = '\0';
	if (r->action == REGISTER_AWAIT_APPROVAL)
		c->status.state = COORD_AWAIT_APPROVAL;
	coord_changed(c);
}

static bool key_trouble(const struct coord_client *c, const char *text)
{
	return c->auth_key && (strcasestr(text, "auth") || strcasestr(text, "invalid key") ||
				      strcasestr(text, "api key"));
}

static void refused(struct coord_client *c, enum coord_trouble kind, const char *text)
{
	struct trouble t;

	trouble_set(&t, kind, "the server refuses to register this node: %s", text);
	t.refused = true;
	c->progress = (struct register_progress){0};
	coord_fail(c, &t);
}

static void wait_as_told(struct coord_client *c, const struct register_result *r)
{
	struct trouble t;

	trouble_set(&t, COORD_TROUBLE_RATE_LIMITED,
		"the server takes no registrations for %u s%s%s", r->wait_s, r->text[0] ? ": " : "",
		r->text);
	t.wait_s = r->wait_s;
	coord_fail(c, &t);
}

// A server that hands out URLs without waiting for anybody would keep us busy.
static void url_show(struct coord_client *c, bool followed)
{
	if (c->may_try_old && !followed) {
		c->progress = (struct register_progress){0};
		c->may_try_old = false;
		c->try_old = true;
		login_send(c);
		return;
	}
	snprintf(c->status.url, sizeof(c->status.url), "%s", c->progress.url);
	c->status.state = COORD_VISIT_URL;
	log_info("coord", "to log in, visit %s", c->status.url);
	if (followed && coord_now(c) - c->asked_ns < FOLLOWUP_MIN_S * NS_PER_S) {
		coord_fail_text(c, COORD_TROUBLE_PROTOCOL,
			"the server answers with a new login URL at once, each time");
		return;
	}
	coord_changed(c);
	login_send(c);
}

static void expired(struct coord_client *c)
{
	c->status.troubles[COORD_TROUBLE_EXPIRED]++;
	// A key from a rotation that was cut off is new enough.
	c->want_new_key = !c->try_old;
	c->try_old = c->may_try_old = false;
	log_info("coord", "the node key has expired: registering a new one");
	login_send(c);
}

static void back_off(struct coord_client *c, const struct register_result *r)
{
	if (!r->text[0]) // nobody has logged in yet
		coord_redial(c, coord_backoff_ms(++c->failures));
	else
		coord_fail_text(c, COORD_TROUBLE_PROTOCOL, "%s gives nothing to go on with: %s",
			asked, r->text);
}

static void act(struct coord_client *c, const struct register_result *r, bool followed)
{
	switch (r->action) {
	case REGISTER_DONE:
	case REGISTER_AWAIT_APPROVAL:
		adopt(c, r);
		poll_start(c);
		break;
	case REGISTER_VISIT_URL:
		url_show(c, followed);
		break;
	case REGISTER_NEW_KEY:
		expired(c);
		break;
	case REGISTER_WAIT:
		wait_as_told(c, r);
		break;
	case REGISTER_BACK_OFF:
		back_off(c, r);
		break;
	case REGISTER_FAILED:
		refused(c,
			key_trouble(c, r->text) ? COORD_TROUBLE_KEY
			: c->progress.rotated	? COORD_TROUBLE_EXPIRED
						: COORD_TROUBLE_REFUSED,
			r->text);
		break;
	case REGISTER_SIGN:
		refused(c, COORD_TROUBLE_REFUSED,
			"the tailnet is locked, and this node has no key to sign with");
		break;
	case REGISTER_TOO_OLD:
		refused(c, COORD_TROUBLE_VERSION, r->text);
		break;
	}
}

static void on_registered(void *arg, const struct session_answer *a)
{
	struct coord_client *const c = arg;
	const bool followed = c->progress.url[0] != '\0';
	struct register_result r;

	if (followed && a->error == -ETIMEDOUT) {
		coord_redial(c, 0); // is the server still there? The URL stays.
		return;
	}
	const bool redirect = a->status >= 300 && a->status < 400;
	if (a->error || redirect || a->status == 404 || a->status >= 500) {
		coord_fail_answer(c, asked, a);
		return;
	}
	register_answer(&c->progress, a->status, a->retry_after, a->body, a->len, time(NULL),
		randombytes_random(), &r);
	act(c, &r, followed);
}

// path and texts of a request to register; what it carries may be secret.
static int register_post(struct coord_client *c, const struct register_request *r,
	unsigned timeout_s, void (*done)(void *arg, const struct session_answer *))
{
	size_t len;
	char *const text = register_request_text(r, &len);
	const struct session_request request = {
		.method = "POST",
		.path = "/machine/register",
		.body = text,
		.body_len = len,
		.answer_max = REGISTER_ANSWER_MAX,
		.timeout_s = timeout_s,
		.done = done,
		.arg = c,
	};

	if (!text)
		return -ENOMEM;
	const int error = coord_session_send(c->session, &request, coord_now(c));
	sodium_memzero(text, len);
	free(text);
	return error;
}

void login_send(struct coord_client *c)
{
	static const struct key none;
	const struct persist_state *const p = c->persist;

	if (!c->session) // whoever was told of a change has ended it
		return;
	if (c->want_new_key && key_renew(c)) {
		coord_fail_text(c, COORD_TROUBLE_STORAGE,
			"a new node key cannot be written to the state directory, so it is not "
			"used");
		return;
	}
	const struct register_request request = {
		.version = COORD_CAP_VERSION,
		.node_key = login_public(c->try_old ? &p->old_node_private : &p->node_private),
		.old_node_key = login_public(c->try_old ? &none : &p->old_node_private),
		.auth_key = c->auth_key,
		.followup = c->progress.url[0] ? c->progress.url : NULL,
		.hostinfo = c->env.hostinfo(c->env.arg),
		.ephemeral = c->ephemeral,
	};
	c->phase = PHASE_REGISTER;
	c->asked_ns = coord_now(c);
	if (register_post(c, &request, request.followup ? COORD_FOLLOWUP_S : COORD_REQUEST_S,
		    on_registered))
		coord_fail_text(c, COORD_TROUBLE_CLOSED, "the server takes no more requests");
}

// --- Logout.

static void on_logged_out(void *arg, const struct session_answer *a)
{
	logout_finish(arg, a->error ? a->error : a->status == 200 ? 0 : -EREMOTEIO);
}

void on_logout_timer(evutil_socket_t, short, void *arg)
{
	struct coord_client *const c = arg;

	logout_finish(c, key_is_zero(&c->persist->node_private) ? 0 : -ETIMEDOUT);
}

void logout_send(struct coord_client *c)
{
	const struct register_request request = {
		.version = COORD_CAP_VERSION,
		.node_key = login_public(coord_key_in_use(c->persist)),
		.expiry = REGISTER_LOGOUT_EXPIRY,
		.hostinfo = c->env.hostinfo(c->env.arg),
	};

	if (register_post(c, &request, COORD_LOGOUT_S, on_logged_out))
		logout_finish(c, -ENOTCONN);
}

void logout_finish(struct coord_client *c, int error)
{
	struct persist_state *const p = c->persist;
	void (*const done)(void *, int) = c->logged_out;

	c->phase = PHASE_OFF;
	c->logged_out = NULL;
	login_forget(c);
	sodium_memzero(&p->node_private, sizeof(p->node_private));
	sodium_memzero(&p->old_node_private, sizeof(p->old_node_private));
	p->user = 0;
	p->login[0] = p->stable_id[0] = c->status.user[0] = '\0';
	p->logged_out = true;
	const int unsaved = c->env.save(c->env.arg);
	if (unsaved)
		log_warn("coord", "the logout cannot be written to the state directory");
	log_info("coord", "logged out%s", error ? "; the server may not know of it" : "");
	coord_client_pause(c);
	if (done)
		done(c->logged_out_arg, unsaved ? unsaved : error);
}
