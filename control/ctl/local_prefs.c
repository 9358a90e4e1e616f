// Prefs, and what 'tailscale up', 'set', 'down' and 'logout' do with them.
#include <sodium.h>

#include "control/ctl/local_priv.h"

// Shorter than any auth key is long.
enum { LOCAL_AUTH_KEY_MAX = 4096 };

// Who is logged in, as 'tailscale up' without flags wants to know; without the keys that the real
// daemon keeps in the same place.
static json_t *login_of(const struct tailnet *t)
{
	const struct nm_node *self = tailnet_netmap(t)->self;
	const struct nm_user *known =
		self != NULL ? local_user_of(tailnet_netmap(t), self->user) : NULL;
	struct nm_user user = known != NULL ? *known : (struct nm_user){};

	if (!tailnet_has_node_key(t))
		return json_null();
	if (user.login == NULL)
		user.login = (char *)tailnet_coord(t)->user;
	return json_pack("{s:o, s:s}", "UserProfile", local_user(&user), "NodeID",
		self != NULL && self->stable_id != NULL ? self->stable_id : "");
}

json_t *local_prefs(const struct tailnet *t)
{
	json_t *prefs = json_copy((json_t *)prefs_json(tailnet_prefs(t)));

	if (prefs != NULL)
		json_object_set_new(prefs, "Config", login_of(t));
	return prefs;
}

static void reply_prefs(struct local_request *r)
{
	local_json(r, HTTP_OK, local_prefs(r->t));
}

void local_handle_prefs(struct local_request *r)
{
	reply_prefs(r);
}

void local_handle_patch(struct local_request *r)
{
	char err[PREFS_ERROR_LEN] = "";
	json_t *masked = local_body(r);

	if (masked == NULL)
		return;
	struct prefs *prefs = prefs_patch(tailnet_prefs(r->t), masked, err);
	json_decref(masked);
	// tailnet_set_prefs takes them in any case.
	if (prefs == NULL || tailnet_set_prefs(r->t, prefs, err) < 0)
		local_json(r, HTTP_BADREQUEST, json_pack("{s:s}", "error", err));
	else
		reply_prefs(r);
}

void local_handle_check(struct local_request *r)
{
	char err[PREFS_ERROR_LEN] = "";
	json_t *whole = local_body(r);

	if (whole == NULL)
		return;
	struct prefs *prefs = prefs_parse(whole, err);
	json_decref(whole);
	local_json(r, HTTP_OK, prefs != NULL ? json_object() : json_pack("{s:s}", "Error", err));
	prefs_destroy(prefs);
}

// The prefs of ipn.Options, if there are any; false: answered.
static bool read_prefs(struct local_request *r, const json_t *options, struct prefs **out)
{
	const json_t *whole = json_object_get(options, "UpdatePrefs");
	char err[PREFS_ERROR_LEN] = "";

	*out = NULL;
	if (whole == NULL || json_is_null(whole))
		return true;
	*out = prefs_parse(whole, err);
	if (*out == NULL)
		local_text(r, HTTP_BADREQUEST, "%s", err);
	return *out != NULL;
}

static void start(struct local_request *r, const json_t *options)
{
	const json_t *key = json_object_get(options, "AuthKey");
	char err[PREFS_ERROR_LEN] = "";
	struct prefs *prefs;

	if (key != NULL && !json_is_null(key) &&
		(!json_is_string(key) || json_string_length(key) > LOCAL_AUTH_KEY_MAX)) {
		local_text(r, HTTP_BADREQUEST, "AuthKey is no auth key");
		return;
	}
	if (!read_prefs(r, options, &prefs))
		return;
	bool with_key = json_string_length(key) > 0;
	if (tailnet_start(r->t, prefs, with_key ? json_string_value(key) : NULL, err) < 0)
		local_text(r, HTTP_INTERNAL, "%s", err);
	else
		local_no_content(r);
}

void local_handle_start(struct local_request *r)
{
	json_t *options = local_body(r);

	if (options == NULL)
		return;
	json_t *key = json_object_get(options, "AuthKey");
	start(r, options);
	if (json_is_string(key)) // it is worth as much as a password
		sodium_memzero((char *)json_string_value(key), json_string_length(key));
	json_decref(options);
}

void local_handle_login(struct local_request *r)
{
	tailnet_login_interactive(r->t);
	local_no_content(r);
}

static void logged_out(void *arg, int error)
{
	struct local_request r;

	if (!local_resume(arg, &r))
		return;
	if (error < 0)
		local_text(&r, HTTP_INTERNAL, "logout: %s", strerror(-error));
	else
		local_no_content(&r);
}

void local_handle_logout(struct local_request *r)
{
	struct local_waiting *w = local_wait(r);

	if (w != NULL)
		tailnet_logout(r->t, logged_out, w);
}
