#include "control/tailnet/prefs.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "control/coord/json.h"
#include "control/coord/statefile.h"
#include "control/tailnet/prefs_fields.h"
#include "dataplane/base/prefix.h"

static const char file_name[] = "prefs.json";

enum {
	PREFS_FILE_MAX = JSON_PIECE_MAX,
};

void prefs_destroy(struct prefs *p)
{
	if (!p)
		return;
	for (uint32_t i = 0; i < p->n_tags; i++)
		free(p->tags[i]);
	free(p->tags);
	free(p->routes);
	json_decref(p->all);
	free(p);
}

const json_t *prefs_json(const struct prefs *p)
{
	return p->all;
}

static bool read_routes(struct prefs *p, const json_t *list)
{
	const size_t n = json_array_size(list);

	p->routes = calloc(n ? n : 1, sizeof(*p->routes));
	if (!p->routes)
		return false;
	for (size_t i = 0; i < n; i++) {
		const char *const text = json_string_value(json_array_get(list, i));
		if (!ip_prefix_parse(text, &p->routes[p->n_routes]))
			p->n_routes++;
	}
	qsort(p->routes, p->n_routes, sizeof(*p->routes), ip_prefix_order);
	uint32_t kept = 0;
	for (uint32_t i = 0; i < p->n_routes; i++)
		if (!kept || ip_prefix_order(&p->routes[i], &p->routes[kept - 1]))
			p->routes[kept++] = p->routes[i];
	p->n_routes = kept;
	return true;
}

static bool read_tags(struct prefs *p, const json_t *list)
{
	const size_t n = json_array_size(list);

	p->tags = calloc(n ? n : 1, sizeof(*p->tags));
	for (size_t i = 0; p->tags && i < n; i++) {
		p->tags[i] = strdup(json_string_value(json_array_get(list, i)));
		if (!p->tags[i])
			return false;
		p->n_tags++;
	}
	return p->tags != NULL;
}

static void read_text(const struct prefs *p, const char *name, char to[static PREFS_TEXT_LEN])
{
	const char *const text = json_string_value(json_object_get(p->all, name));

	snprintf(to, PREFS_TEXT_LEN, "%s", text ? text : "");
}

static bool flag(const struct prefs *p, const char *name)
{
	return json_is_true(json_object_get(p->all, name));
}

// The members of the struct, from all, which is in order.
static bool read_members(struct prefs *p)
{
	const json_t *const port = json_object_get(p->all, "RelayServerPort");

	read_text(p, "ControlURL", p->control_url);
	read_text(p, "ExitNodeID", p->exit_node_id);
	read_text(p, "ExitNodeIP", p->exit_node_ip);
	read_text(p, "AutoExitNode", p->auto_exit_node);
	read_text(p, "Hostname", p->hostname);
	read_text(p, "OperatorUser", p->operator);
	p->want_running = flag(p, "WantRunning");
	p->logged_out = flag(p, "LoggedOut");
	p->route_all = flag(p, "RouteAll");
	p->corp_dns = flag(p, "CorpDNS");
	p->shields_up = flag(p, "ShieldsUp");
	p->no_snat = flag(p, "NoSNAT");
	p->exit_node_allow_lan = flag(p, "ExitNodeAllowLANAccess");
	p->run_ssh = flag(p, "RunSSH");
	p->app_connector =
		json_is_true(json_object_get(json_object_get(p->all, "AppConnector"), "Advertise"));
	// Unset is off, too: only an explicit false filters.
	p->no_stateful = !json_is_false(json_object_get(p->all, "NoStatefulFiltering"));
	p->netfilter_mode = (int32_t)json_integer_value(json_object_get(p->all, "NetfilterMode"));
	p->relay_server_port = json_is_integer(port) ? (int32_t)json_integer_value(port) : -1;
	return read_routes(p, json_object_get(p->all, "AdvertiseRoutes")) &&
	       read_tags(p, json_object_get(p->all, "AdvertiseTags"));
}

static bool uses_exit_node(const struct prefs *p)
{
	return p->exit_node_id[0] || p->exit_node_ip[0] || p->auto_exit_node[0];
}

static bool is_exit_node(const struct prefs *p)
{
	for (uint32_t i = 0; i < p->n_routes; i++)
		if (p->routes[i].len == 0)
			return true;
	return false;
}

// Fields of other versions are kept, as long as they are few.
static int keep_unknown(json_t *all, const json_t *source, char err[static PREFS_ERROR_LEN])
{
	const char *name;
	json_t *value;
	unsigned n = 0;

	json_object_foreach((json_t *)source, name, value)
	{
		if (prefs_field_of(name))
			continue;
		if (!prefs_name_valid(name) || n++ >= PREFS_UNKNOWN_MAX) {
			snprintf(err, PREFS_ERROR_LEN,
				"more than %d unknown fields, or a strange name",
				PREFS_UNKNOWN_MAX);
			return -EINVAL;
		}
		if (json_object_set_new(all, name, json_deep_copy(value))) {
			snprintf(err, PREFS_ERROR_LEN, "out of memory");
			return -ENOMEM;
		}
	}
	return 0;
}

static int put_default(json_t *all, const struct prefs_field *f, char err[static PREFS_ERROR_LEN])
{
	json_t *const value = f->otherwise ? json_loads(f->otherwise, JSON_DECODE_ANY, NULL) : NULL;
	const int error = prefs_field_put(all, f, value, err);

	json_decref(value);
	return error;
}

// Every field in its order and form; what source lacks is empty, or has its default.
static struct prefs *assemble(const json_t *source, bool defaults, char err[static PREFS_ERROR_LEN])
{
	struct prefs *const p = calloc(1, sizeof(*p));
	int error = 0;

	snprintf(err, PREFS_ERROR_LEN, "out of memory");
	if (!p)
		return NULL;
	p->all = json_object();
	if (!p->all)
		goto refused;
	for (unsigned i = 0; !error && i < prefs_n_fields; i++) {
		const json_t *const value = json_object_get(source, prefs_fields[i].name);
		error = !value && defaults ? put_default(p->all, &prefs_fields[i], err)
					   : prefs_field_put(p->all, &prefs_fields[i], value, err);
	}
	if (!error)
		error = keep_unknown(p->all, source, err);
	if (error || !read_members(p))
		goto refused;
	if (uses_exit_node(p) && is_exit_node(p)) {
		snprintf(err, PREFS_ERROR_LEN,
			"Cannot advertise an exit node and use an exit node "
			"at the same time.");
		goto refused;
	}
	*err = '\0';
	return p;
refused:
	prefs_destroy(p);
	return NULL;
}

struct prefs *prefs_create(void)
{
	char err[PREFS_ERROR_LEN];

	return assemble(NULL, true, err);
}

struct prefs *prefs_parse(const json_t *whole, char err[static PREFS_ERROR_LEN])
{
	if (json_is_object(whole))
		return assemble(whole, false, err);
	snprintf(err, PREFS_ERROR_LEN, "prefs are not an object");
	return NULL;
}

// {"CheckSet": true, ...} takes members of an object one by one.
static int patch_members(json_t *to, const char *name, const json_t *mask, const json_t *from,
	char err[static PREFS_ERROR_LEN])
{
	static const char *const members[][2] = {{"CheckSet", "Check"}, {"ApplySet", "Apply"}};
	json_t *const old = json_object_get(to, name);

	if (from && !json_is_null(from) && !json_is_object(from)) {
		snprintf(err, PREFS_ERROR_LEN, "%s is not an object", name);
		return -EINVAL;
	}
	for (unsigned i = 0; i < sizeof(members) / sizeof(*members); i++) {
		json_t *const value = json_object_get(from, members[i][1]);
		if (!json_is_true(json_object_get(mask, members[i][0])))
			continue;
		if (json_object_set_new(
			    old, members[i][1], value ? json_deep_copy(value) : json_null()))
			return -ENOMEM;
	}
	return 0;
}

static int patch_field(json_t *to, const char *name, const json_t *mask, const json_t *masked,
	char err[static PREFS_ERROR_LEN])
{
	const struct prefs_field *const f = prefs_field_of(name);
	json_t *const value = json_object_get(masked, name);

	if (!strcmp(name, "InternalExitNodePrior")) {
		snprintf(err, PREFS_ERROR_LEN, "can't set Internal fields");
		return -EINVAL;
	}
	if (f && f->type == PREFS_UPDATE)
		return patch_members(to, name, mask, value, err);
	if (!value || json_is_null(value))
		return json_object_del(to, name), 0;
	return json_object_set_new(to, name, json_deep_copy(value)) ? -ENOMEM : 0;
}

// The name that "XSet" is about: X.
static bool name_of_mask(const char *key, char name[static PREFS_NAME_LEN])
{
	const size_t len = strlen(key);

	if (len <= 3 || len - 3 >= PREFS_NAME_LEN || strcmp(key + len - 3, "Set"))
		return false;
	snprintf(name, PREFS_NAME_LEN, "%.*s", (int)len - 3, key);
	return prefs_name_valid(name);
}

static bool sets(const json_t *masked, const char *mask)
{
	return json_is_true(json_object_get(masked, mask));
}

// What follows from a choice of exit node by hand: no automatic one.
static void adjust(json_t *to, const json_t *masked)
{
	const char *const id = json_string_value(json_object_get(to, "ExitNodeID"));

	if (sets(masked, "ExitNodeIDSet") && (!id || !*id))
		json_object_del(to, "InternalExitNodePrior");
	if ((sets(masked, "ExitNodeIDSet") || sets(masked, "ExitNodeIPSet")) &&
		!sets(masked, "AutoExitNodeSet"))
		json_object_del(to, "AutoExitNode");
}

static int patch_all(json_t *to, const json_t *masked, char err[static PREFS_ERROR_LEN])
{
	char name[PREFS_NAME_LEN];
	const char *key;
	json_t *mask;
	int error;

	json_object_foreach((json_t *)masked, key, mask)
	{
		if (!name_of_mask(key, name) || json_is_false(mask) || json_is_null(mask))
			continue;
		const struct prefs_field *const f = prefs_field_of(name);
		const bool parts = f && f->type == PREFS_UPDATE;
		if (parts ? !json_is_object(mask) : !json_is_true(mask)) {
			snprintf(err, PREFS_ERROR_LEN, "%s has the wrong type", key);
			return -EINVAL;
		}
		error = patch_field(to, name, mask, masked, err);
		if (error)
			return error;
	}
	adjust(to, masked);
	return 0;
}

struct prefs *prefs_patch(
	const struct prefs *old, const json_t *masked, char err[static PREFS_ERROR_LEN])
{
	struct prefs *patched = NULL;

	if (!json_is_object(masked)) {
		snprintf(err, PREFS_ERROR_LEN, "prefs are not an object");
		return NULL;
	}
	snprintf(err, PREFS_ERROR_LEN, "out of memory");
	json_t *const all = json_deep_copy(old->all);
	if (all && !patch_all(all, masked, err))
		patched = assemble(all, false, err);
	json_decref(all);
	return patched;
}

int prefs_save(const char *dir, const struct prefs *p)
{
	char *const text = json_dumps(p->all, JSON_INDENT(2));
	int error = -ENOMEM;

	if (!text)
		return error;
	const size_t len = strlen(text);
	error = len > PREFS_FILE_MAX ? -EFBIG : statefile_write(dir, file_name, "", text, len);
	free(text);
	return error;
}

int prefs_load(const char *dir, struct prefs **out, char err[static PREFS_ERROR_LEN])
{
	char *text = NULL;
	size_t len = 0;
	int error = statefile_read(dir, file_name, PREFS_FILE_MAX, &text, &len);

	*out = NULL;
	if (error) {
		snprintf(err, PREFS_ERROR_LEN, "cannot read %s: %s", file_name, strerror(-error));
		return error;
	}
	json_t *const all = json_piece((struct slice){text, len});
	if (json_is_object(all))
		*out = assemble(all, true, err);
	else
		snprintf(err, PREFS_ERROR_LEN, "%s is not JSON", file_name);
	json_decref(all);
	free(text);
	return *out ? 0 : -EBADMSG;
}
