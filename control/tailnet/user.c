// What the user does: settings, login, logout; and what the coordination client tells of it.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "control/tailnet/priv.h"
#include "dataplane/base/log.h"
#include "dataplane/crypto/x25519.h"

enum {
	AUTH_KEY_KEPT_S = 10, // until the second half of the command's start has come
};

static const char default_server[] = "https://controlplane.tailscale.com";

const struct prefs *tailnet_prefs(const struct tailnet *t)
{
	return t->prefs;
}

bool tn_wants_up(const struct tailnet *t)
{
	return t->prefs->want_running && !t->prefs->logged_out;
}

static const char *server_of(const struct prefs *p)
{
	return p->control_url[0] ? p->control_url : default_server;
}

// The public key of the login, for all who need it.
void tn_own_key(struct tailnet *t)
{
	struct key public_key = {0};
	t->node_private = *coord_key_in_use(&t->persist);
	if (!key_is_zero(&t->node_private))
		x25519_public(public_key.bytes, t->node_private.bytes);
	t->node_key = public_key;
}

// Workers, mesh and DERP speak with the key of the login from now on.
static void use_key(struct tailnet *t)
{
	struct key before = t->node_key;
	tn_own_key(t);
	if (memcmp(&before, &t->node_key, sizeof(before)) == 0)
		return;
	mesh_set_node_key(t->mesh, &t->node_key);
	if (key_is_zero(&t->node_key))
		return;
	derp_pool_set_key(t->derp, &t->node_private);
	if (t->active && wg_set_key(t->params.wg, &t->node_private) < 0)
		log_error("tailnet", "the new node key cannot be used");
}

int tn_coord_save(void *arg)
{
	struct tailnet *t = arg;
	int r = tn_save_state(t);
	if (r == 0)
		use_key(t);
	return r;
}

void tn_coord_changed(void *arg)
{
	struct tailnet *t = arg;
	use_key(t);
	if (coord_client_status(t->coord)->state != COORD_CONNECTING)
		t->login_runs = false;
	tn_changed(t, TAILNET_CHANGED_URL | TAILNET_CHANGED_HEALTH | TAILNET_CHANGED_ERROR);
	tn_evaluate(t);
}

void tn_login(struct tailnet *t, const char *auth_key, bool interactive)
{
	const struct coord_login login = {
		.server = server_of(t->prefs),
		.auth_key = auth_key,
		.interactive = interactive,
	};
	t->login_runs = auth_key != NULL || interactive;
	if (coord_client_start(t->coord, &login) < 0)
		log_warn("tailnet", "%s", coord_client_status(t->coord)->why);
	tn_changed(t, TAILNET_CHANGED_ERROR | TAILNET_CHANGED_HEALTH);
}

static bool same_text(const char *a, const char *b)
{
	return strcmp(a, b) == 0;
}

static bool same_routes(const struct prefs *a, const struct prefs *b)
{
	return a->n_routes == b->n_routes &&
	       memcmp(a->routes, b->routes, a->n_routes * sizeof(a->routes[0])) == 0;
}

static int check(const struct prefs *p, char err[static PREFS_ERROR_LEN])
{
	if (p->run_ssh) {
		snprintf(err, PREFS_ERROR_LEN,
			"Tailgate has no SSH server: leave --ssh out, sshd listens on the tailnet "
			"too");
		return -EOPNOTSUPP;
	}
	return 0;
}

// What differs between old and new is done. The new ones are in force already.
static void follow(struct tailnet *t, const struct prefs *old)
{
	const struct prefs *now = t->prefs;
	bool was_up = old->want_running && !old->logged_out;
	if (was_up && !tn_wants_up(t))
		coord_client_pause(t->coord);
	else if (tn_wants_up(t) && (!was_up || !same_text(server_of(old), server_of(now))))
		tn_login(t, NULL, false);
	else
		coord_client_update(t->coord);
	tn_exit_settle(t);
	if (t->active && (tn_uses_exit(old) != tn_uses_exit(now) ||
				 old->exit_node_allow_lan != now->exit_node_allow_lan)) {
		t->routes_dirty = true;
		tn_routes_apply(t);
	}
	if (t->active && (old->route_all != now->route_all || old->shields_up != now->shields_up ||
				 !same_routes(old, now)))
		tn_peers_again(t);
}

// p is in force and saved, *old the caller's; or p is gone, with a line in err.
static int replace(
	struct tailnet *t, struct prefs *p, struct prefs **old, char err[static PREFS_ERROR_LEN])
{
	int r = check(p, err);
	if (r == 0) {
		r = prefs_save(t->state_dir, p);
		if (r < 0)
			snprintf(err, PREFS_ERROR_LEN, "%.100s: %s", t->state_dir, strerror(-r));
	}
	if (r < 0) {
		prefs_destroy(p);
		return r;
	}
	*old = t->prefs;
	t->prefs = p;
	tn_appc_settle(t);
	tn_offer_update(t);
	tn_nat_apply(t);
	tn_changed(t, TAILNET_CHANGED_PREFS);
	return 0;
}

int tailnet_set_prefs(struct tailnet *t, struct prefs *p, char err[static PREFS_ERROR_LEN])
{
	struct prefs *old;
	int r = replace(t, p, &old, err);
	if (r < 0)
		return r;
	follow(t, old);
	prefs_destroy(old);
	tn_evaluate(t);
	return 0;
}

int tailnet_start(
	struct tailnet *t, struct prefs *p, const char *auth_key, char err[static PREFS_ERROR_LEN])
{
	if (p) {
		struct prefs *old;
		int r = replace(t, p, &old, err);
		if (r < 0)
			return r;
		prefs_destroy(old);
	}
	if (auth_key) {
		snprintf(t->auth_key, sizeof(t->auth_key), "%s", auth_key);
		t->auth_key_until_ns = tn_now_ns(t) + AUTH_KEY_KEPT_S * UINT64_C(1000000000);
		t->auth_key_first = key_is_zero(&t->node_key);
	}
	if (tn_wants_up(t) && (auth_key || !key_is_zero(&t->node_key)))
		tn_login(t, auth_key, false);
	if (t->active)
		tn_peers_again(t);
	tn_evaluate(t);
	return 0;
}

// The real command asks for this behind a start: of a node without a key, where the auth key that
// it gave there comes first, and with --force-reauth, where that auth key is for a new node key.
void tailnet_login_interactive(struct tailnet *t)
{
	bool fresh = t->auth_key[0] && tn_now_ns(t) < t->auth_key_until_ns;
	if (fresh && t->auth_key_first)
		return; // the server may have taken it by now
	tn_login(t, fresh ? t->auth_key : NULL, true);
	tn_evaluate(t);
}

void tn_forget_auth_key(struct tailnet *t)
{
	sodium_memzero(t->auth_key, sizeof(t->auth_key));
}

struct logout {
	struct tailnet *t;
	void (*done)(void *arg, int error);
	void *arg;
};

static void logged_out(void *arg, int error)
{
	struct logout *l = arg;
	struct tailnet *t = l->t;
	char err[PREFS_ERROR_LEN];
	json_t *masked = json_pack("{s:b,s:b,s:b,s:b}", "WantRunning", 0, "WantRunningSet", 1,
		"LoggedOut", 1, "LoggedOutSet", 1);
	struct prefs *p = prefs_patch(t->prefs, masked, err);
	json_decref(masked);
	if (p && tailnet_set_prefs(t, p, err) < 0)
		log_error("tailnet", "logout: %s", err);
	t->stale = true;
	int r = persist_netmap_remove(t->state_dir);
	if (r < 0)
		log_error("tailnet", "the netmap of before cannot be removed: %s", strerror(-r));
	use_key(t);
	tn_evaluate(t);
	if (l->done)
		l->done(l->arg, error);
	free(l);
}

void tailnet_logout(struct tailnet *t, void (*done)(void *arg, int error), void *arg)
{
	struct logout *l = mem_alloc(sizeof(*l));
	*l = (struct logout){.t = t, .done = done, .arg = arg};
	coord_client_logout(t->coord, logged_out, l);
}
