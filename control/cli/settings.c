#include "control/cli/settings_parts.h"

#include <ctype.h>
#include <stdlib.h>
#include <strings.h>

#include "control/cli/ipn.h"

enum {
	LABEL_MAX = 63,
	HOSTNAME_MAX = 253,
};

#define DEFAULT_SERVER "https://controlplane.tailscale.com"

const struct setting settings[] = {
	{"--accept-dns", "CorpDNS", SETTING_SWITCH, true},
	{"--accept-routes", "RouteAll", SETTING_SWITCH},
	{"--advertise-connector", "AppConnector", SETTING_CONNECTOR},
	{"--advertise-exit-node", "AdvertiseRoutes", SETTING_EXIT_ROUTES},
	{"--advertise-routes", "AdvertiseRoutes", SETTING_ROUTES},
	{"--advertise-tags", "AdvertiseTags", SETTING_TAGS},
	{"--exit-node", "ExitNodeIP", SETTING_EXIT_NODE},
	{"--exit-node-allow-lan-access", "ExitNodeAllowLANAccess", SETTING_SWITCH},
	{"--hostname", "Hostname", SETTING_HOST},
	{"--login-server", "ControlURL", SETTING_SERVER},
	{"--netfilter-mode", "NetfilterMode", SETTING_NETFILTER},
	{"--operator", "OperatorUser", SETTING_TEXT},
	{"--shields-up", "ShieldsUp", SETTING_SWITCH},
	{"--snat-subnet-routes", "NoSNAT", SETTING_SWITCH_NOT, true},
	{"--stateful-filtering", "NoStatefulFiltering", SETTING_SWITCH_NOT, false},
};
const unsigned n_settings = sizeof(settings) / sizeof(settings[0]);

static bool has_option(const struct cli *cli, const char *name)
{
	for (unsigned i = 0; i < CLI_OPTIONS_MAX; i++)
		if (cli->command->options[i].name != NULL &&
			strcmp(cli->command->options[i].name, name) == 0)
			return true;
	return false;
}

bool settings_same_server(const char *a, const char *b)
{
	static const char *const known[] = {DEFAULT_SERVER, "https://login.tailscale.com"};
	bool both[2] = {false, false};
	for (unsigned i = 0; i < 2; i++) {
		both[0] |= strcmp(a, known[i]) == 0;
		both[1] |= strcmp(b, known[i]) == 0;
	}
	return strcmp(a, b) == 0 || (both[0] && both[1]);
}

static int set_tags(json_t *prefs, const char *text, char err[static CLI_ERROR_LEN])
{
	char tag[128];
	json_t *array = json_array();
	while (text != NULL && *text != '\0') {
		size_t n = strcspn(text, ",");
		bool prefixed = memchr(text, ':', n) != NULL;
		snprintf(tag, sizeof(tag), "%s%.*s", prefixed ? "" : "tag:", (int)n, text);
		const char *name = strncmp(tag, "tag:", 4) == 0 ? tag + 4 : "";
		size_t good = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
					   "0123456789-");
		if (!isalpha((unsigned char)*name) || name[good] != '\0' || n >= sizeof(tag) - 5) {
			snprintf(err, CLI_ERROR_LEN,
				"tag: \"%.100s\": a tag is \"tag:\", a letter, then letters, "
				"digits and dashes",
				tag);
			json_decref(array);
			return -1;
		}
		json_array_append_new(array, json_string(tag));
		text += n + (text[n] == ',');
	}
	json_object_set_new(prefs, "AdvertiseTags", array);
	return 0;
}

static bool is_hostname(const char *text)
{
	size_t n = strlen(text);
	if (n > HOSTNAME_MAX)
		return false;
	for (size_t at = 0; at < n;) {
		size_t len = strcspn(text + at, ".");
		const char *label = text + at;
		for (size_t i = 0; i < len; i++)
			if (!isalnum((unsigned char)label[i]) &&
				(label[i] != '-' || i == 0 || i == len - 1))
				return false;
		if (len == 0 || len > LABEL_MAX)
			return false;
		at += len + 1;
	}
	return true;
}

static bool is_server(const char *text)
{
	const char *host = strncmp(text, "https://", 8) == 0  ? text + 8
			   : strncmp(text, "http://", 7) == 0 ? text + 7
							      : "";
	return isalnum((unsigned char)*host) || *host == '[';
}

// The peer that is meant; NULL with a line in err.
static const json_t *named_exit(
	const json_t *status, const char *name, char err[static CLI_ERROR_LEN])
{
	const char *key;
	const json_t *found = NULL;
	json_t *peer;
	unsigned n = 0;
	json_object_foreach(json_object_get(status, "Peer"), key, peer)
	{
		if (ipn_is_named(status, peer, name)) {
			found = peer;
			n++;
		}
	}
	if (json_object_size(json_object_get(status, "Peer")) == 0)
		snprintf(err, CLI_ERROR_LEN,
			"cannot resolve exit node by hostname while Tailscale is starting up; "
			"please use its Tailscale IP address instead");
	else if (n == 0)
		snprintf(err, CLI_ERROR_LEN,
			"invalid value \"%.100s\" for --exit-node; must be IP or peer hostname",
			name);
	else if (n > 1)
		snprintf(err, CLI_ERROR_LEN, "ambiguous exit node name \"%.100s\"", name);
	else if (!json_is_true(json_object_get(found, "ExitNodeOption")))
		snprintf(err, CLI_ERROR_LEN, "node \"%.100s\" is not advertising an exit node",
			name);
	else
		return found;
	return NULL;
}

static int check_exit_ip(const json_t *status, const struct ip_addr *ip, const char *name,
	char err[static CLI_ERROR_LEN])
{
	const json_t *peer = ipn_find_ip(status, ip);
	bool running = strcmp(show_text(status, "BackendState"), "Running") == 0;
	if (ipn_has_ip(json_object_get(status, "Self"), ip) || ipn_has_ip(status, ip))
		snprintf(err, CLI_ERROR_LEN,
			"cannot use %.100s as an exit node as it is a local IP address to this "
			"machine; did you mean --advertise-exit-node?",
			name);
	else if (running && peer == NULL)
		snprintf(err, CLI_ERROR_LEN, "no node found in netmap with IP %.100s", name);
	else if (running && !json_is_true(json_object_get(peer, "ExitNodeOption")))
		snprintf(err, CLI_ERROR_LEN, "node %.100s is not advertising an exit node", name);
	else
		return 0;
	return -1;
}

static int set_exit_node(
	const json_t *status, json_t *prefs, const char *name, char err[static CLI_ERROR_LEN])
{
	struct ip_addr ip;
	const char *text = name;
	bool is_auto = strncmp(name, "auto:", 5) == 0;
	if (is_auto)
		text = "";
	else if (*name != '\0' && ip_addr_parse(name, &ip) < 0) {
		const json_t *peer = named_exit(status, name, err);
		text = peer != NULL ? ipn_first_ip(peer) : "";
		if (peer != NULL && ip_addr_parse(text, &ip) < 0)
			snprintf(err, CLI_ERROR_LEN, "node \"%.100s\" has no Tailscale IP?", name);
		if (peer == NULL || ip_addr_parse(text, &ip) < 0)
			return -1;
	}
	if (*text != '\0' && check_exit_ip(status, &ip, name, err) < 0)
		return -1;
	json_object_set_new(prefs, "ExitNodeIP", json_string(text));
	json_object_set_new(prefs, "ExitNodeID", json_string(""));
	if (is_auto)
		json_object_set_new(prefs, "AutoExitNode", json_string(name + 5));
	else
		json_object_del(prefs, "AutoExitNode");
	return 0;
}

const char *const settings_netfilter[] = {"off", "nodivert", "on", NULL};

static bool set_netfilter(json_t *prefs, const char *text)
{
	int mode = 0;
	while (settings_netfilter[mode] && strcmp(settings_netfilter[mode], text) != 0)
		mode++;
	if (!settings_netfilter[mode])
		return false;
	json_object_set_new(prefs, "NetfilterMode", json_integer(mode));
	return true;
}

static int refuse(char err[static CLI_ERROR_LEN], const struct setting *s, const char *value,
	const char *expected)
{
	snprintf(err, CLI_ERROR_LEN, "%s=%.100s: expected %s", s->flag, value, expected);
	return -1;
}

// One setting but the routes. value: NULL: its default.
static int set_one(const struct setting *s, const json_t *status, json_t *prefs, const char *value,
	char err[static CLI_ERROR_LEN])
{
	bool on = value != NULL ? strcmp(value, "true") == 0 : s->on;
	const char *text = value != NULL ? value : s->kind == SETTING_SERVER ? DEFAULT_SERVER : "";
	switch (s->kind) {
	case SETTING_SWITCH:
	case SETTING_SWITCH_NOT:
		json_object_set_new(
			prefs, s->pref, json_boolean(on == (s->kind == SETTING_SWITCH)));
		return 0;
	case SETTING_CONNECTOR:
		json_object_set_new(prefs, s->pref, json_pack("{s:b}", "Advertise", on));
		return 0;
	case SETTING_TAGS:
		return set_tags(prefs, text, err);
	case SETTING_EXIT_NODE:
		return set_exit_node(status, prefs, text, err);
	case SETTING_NETFILTER:
		if (set_netfilter(prefs, value != NULL ? value : "on"))
			return 0;
		return refuse(err, s, text, "on, nodivert or off");
	case SETTING_HOST:
		if (!is_hostname(text))
			return refuse(err, s, text,
				"a host name: letters, digits and dashes, dots between labels");
		break;
	case SETTING_SERVER:
		if (!is_server(text))
			return refuse(err, s, text, "a URL like https://headscale.example.com");
		break;
	default:
		break;
	}
	if (json_object_set_new(prefs, s->pref, json_string(text)) < 0)
		return refuse(err, s, text, "UTF-8");
	return 0;
}

static int check_together(
	const struct cli *cli, const json_t *prefs, bool defaults, char err[static CLI_ERROR_LEN])
{
	bool uses = *show_text(prefs, "ExitNodeIP") != '\0' ||
		    *show_text(prefs, "AutoExitNode") != '\0';
	if (!defaults || uses || !cli_switch(cli, "--exit-node-allow-lan-access", false))
		return 0;
	snprintf(err, CLI_ERROR_LEN,
		"--exit-node-allow-lan-access can only be used with --exit-node");
	return -1;
}

json_t *settings_prefs(const struct cli *cli, const json_t *status, const json_t *current,
	bool defaults, char err[static CLI_ERROR_LEN])
{
	json_t *prefs = json_deep_copy(current);
	const char *user = getenv("USER"), *operator_user = show_text(current, "OperatorUser");
	int error = settings_set_routes(cli, prefs, defaults, err);
	EACH_SETTING(s)
	{
		const char *value = has_option(cli, s->flag) ? cli_option(cli, s->flag) : NULL;
		bool is_route = s->kind == SETTING_ROUTES || s->kind == SETTING_EXIT_ROUTES;
		if (error == 0 && !is_route && (value != NULL || defaults))
			error = set_one(s, status, prefs, value, err);
	}
	// One's own permission does not go by forgetting it.
	if (defaults && cli_option(cli, "--operator") == NULL && user != NULL &&
		strcmp(user, operator_user) == 0 && !cli_switch(cli, "--reset", false))
		json_object_set_new(prefs, "OperatorUser", json_string(operator_user));
	if (error == 0)
		error = check_together(cli, prefs, defaults, err);
	if (error == 0)
		return prefs;
	json_decref(prefs);
	return NULL;
}

static void mask(json_t *masked, const json_t *prefs, const char *pref)
{
	char name[64];
	json_t *value = json_object_get(prefs, pref);
	snprintf(name, sizeof(name), "%sSet", pref);
	if (value != NULL)
		json_object_set(masked, pref, value);
	json_object_set_new(masked, name, json_true());
}

json_t *settings_masked(const struct cli *cli, const json_t *prefs, bool all)
{
	json_t *masked = json_object();
	EACH_SETTING(s)
	{
		if (!has_option(cli, s->flag) || (!all && cli_option(cli, s->flag) == NULL))
			continue;
		mask(masked, prefs, s->pref);
		if (s->kind != SETTING_EXIT_NODE)
			continue;
		mask(masked, prefs, "ExitNodeID");
		if (*show_text(prefs, "AutoExitNode") != '\0')
			mask(masked, prefs, "AutoExitNode");
	}
	return masked;
}

unsigned settings_named(const struct cli *cli)
{
	unsigned n = 0;
	EACH_SETTING(s)
	{
		n += has_option(cli, s->flag) && cli_option(cli, s->flag) != NULL;
	}
	return n;
}
