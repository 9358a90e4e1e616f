// 'up' and 'set': the settings of the node. The order of calls is the tailscale command's.
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <unistd.h>

#include "control/cli/ipn.h"
#include "control/cli/localapi.h"
#include "control/cli/settings.h"
#include "control/cli/values.h"

enum {
	NOTIFY_MAX = 64 << 20, // bytes of one message
	AUTH_KEY_MAX = 4096,
	STATE_NEEDS_MACHINE_AUTH = 3, // ipn.State
	STATE_RUNNING = 6,
	STATE_UNKNOWN = -1,
};

#define REVERT_TEXT                                                                                \
	"Error: changing settings via 'tailgate up' requires mentioning all\n"                     \
	"non-default flags. To proceed, either re-run your command with --reset or\n"              \
	"use the command below to explicitly mention the current value of\n"                       \
	"all non-default settings:\n\n\ttailgate up%s\n"

struct up {
	const struct cli *cli;
	json_t *status, *current, *wanted;
	char auth_key[AUTH_KEY_MAX];
	unsigned timeout_ms;
	bool simple, force;
	// While it waits.
	char *line; // what came of the next message
	size_t line_len;
	int state; // of the daemon, as far as it has said
	bool printed, done;
	char last_url[512];
	char err[CLI_ERROR_LEN]; // not empty: it failed
};

static bool is_state(const struct up *up, const char *state)
{
	return strcmp(show_text(up->status, "BackendState"), state) == 0;
}

// The key, or what a file: of it says.
static int read_auth_key(struct up *up)
{
	const char *key = cli_option(up->cli, "--auth-key");
	if (key == NULL)
		return 0;
	if (strncmp(key, "file:", 5) != 0) {
		snprintf(up->auth_key, sizeof(up->auth_key), "%s", key);
		return 0;
	}
	int fd = open(key + 5, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, up->auth_key, sizeof(up->auth_key) - 1) : -1;
	if (n < 0)
		snprintf(up->err, sizeof(up->err), "--auth-key: cannot read %.200s: %s", key + 5,
			strerror(errno));
	if (fd >= 0)
		close(fd);
	while (n > 0 && isspace((unsigned char)up->auth_key[n - 1]))
		n--;
	if (n == 0)
		snprintf(up->err, sizeof(up->err), "--auth-key: %.200s is empty", key + 5);
	if (n <= 0)
		return -EINVAL;
	up->auth_key[n] = '\0';
	return 0;
}

// Settings that nobody spoke of may not change by themselves.
static int check_reverts(const struct up *up)
{
	const struct cli *cli = up->cli;
	if (*show_text(up->current, "ControlURL") == '\0' || cli_switch(cli, "--reset", false))
		return CLI_OK;
	char *text = settings_reverted(cli, up->status, up->current, up->wanted);
	int result = CLI_OK;
	if (text == NULL)
		result = cli_fail(cli, "out of memory");
	else if (*text != '\0')
		result = cli_fail_plain(cli, REVERT_TEXT, text);
	free(text);
	return result;
}

static bool any_option(const struct cli *cli)
{
	for (unsigned i = 0; i < CLI_OPTIONS_MAX; i++)
		if (cli->option[i] != NULL)
			return true;
	return false;
}

// 'up' alone of a node that has been logged in changes no settings.
static bool is_simple(const struct up *up)
{
	const json_t *user = json_object_get(json_object_get(up->current, "Config"), "UserProfile");
	bool known = json_is_true(json_object_get(up->status, "HaveNodeKey")) ||
		     *show_text(user, "LoginName") != '\0';
	return !any_option(up->cli) && known && *show_text(up->current, "ControlURL") != '\0' &&
	       !is_state(up, "NeedsLogin");
}

// Hints of the daemon on what is to be advertised; one without the calls gives none.
static void warn_of_routes(const struct cli *cli, const json_t *prefs)
{
	static const char *const checks[] = {"check-ip-forwarding", "check-udp-gro-forwarding"};
	char err[CLI_ERROR_LEN], path[64];
	if (json_array_size(json_object_get(prefs, "AdvertiseRoutes")) == 0)
		return;
	for (unsigned i = 0; i < 2; i++) {
		json_t *answer = NULL;
		snprintf(path, sizeof(path), LOCALAPI "%s", checks[i]);
		if (localapi_call(cli, "GET", path, NULL, &answer, err) == 0 &&
			*show_text(answer, "Warning") != '\0')
			fprintf(stderr, "Warning: %s\n", show_text(answer, "Warning"));
		json_decref(answer);
	}
	if (json_is_true(json_object_get(prefs, "NoSNAT")) &&
		cli_switch(cli, "--advertise-exit-node", false))
		fputs("Warning: --snat-subnet-routes=false is set with --advertise-exit-node; "
		      "internet traffic through this exit node may not work as expected\n",
			stderr);
}

// Before the waiting: the daemon is told what to do. Its messages are listened to by then.
static int begin(struct up *up)
{
	const struct cli *cli = up->cli;
	if (up->simple)
		return localapi_call(cli, "PATCH", LOCALAPI "prefs",
			json_pack("{s:b, s:b}", "WantRunning", true, "WantRunningSet", true), NULL,
			up->err);
	int error = localapi_call(
		cli, "POST", LOCALAPI "check-prefs", json_incref(up->wanted), NULL, up->err);
	if (error == 0)
		error = localapi_call(cli, "POST", LOCALAPI "start",
			json_pack("{s:s, s:O}", "AuthKey", up->auth_key, "UpdatePrefs", up->wanted),
			NULL, up->err);
	sodium_memzero(up->auth_key, sizeof(up->auth_key));
	if (error == 0 && (up->force || !json_is_true(json_object_get(up->status, "HaveNodeKey"))))
		error = localapi_call(
			cli, "POST", LOCALAPI "login-interactive", NULL, NULL, up->err);
	return error;
}

static void print_state_json(const struct up *up, const char *url, const char *state)
{
	(void)cli_print_json(up->cli,
		*url != '\0' ? json_pack("{s:s, s:s}", "AuthURL", url, "BackendState", state)
			     : json_pack("{s:s}", "BackendState", state),
		JSON_INDENT(2));
}

static void print_url(struct up *up, const char *url)
{
	bool old = up->force && strcmp(url, show_text(up->status, "AuthURL")) == 0;
	if (*url == '\0' || cli_option(up->cli, "--auth-key") != NULL || old ||
		strcmp(url, up->last_url) == 0)
		return;
	snprintf(up->last_url, sizeof(up->last_url), "%s", url);
	up->printed = true;
	if (up->cli->json)
		print_state_json(up, url, show_text(up->status, "BackendState"));
	else
		fprintf(stderr, "\nTo authenticate, visit:\n\n\t%s\n\n", url);
}

static void print_approval(struct up *up)
{
	if (!up->printed && up->cli->json)
		print_state_json(up, "", "NeedsMachineAuth");
	else if (!up->printed)
		fprintf(stderr, "\nTo approve your machine, visit (as admin):\n\n\t%s/admin\n\n",
			show_text(up->wanted, "ControlURL"));
	up->printed = true;
}

// With --force-reauth it runs before and after: the node key tells which.
static bool has_new_key(const struct up *up)
{
	char err[CLI_ERROR_LEN];
	json_t *status;
	if (localapi_status(up->cli, false, &status, err) < 0)
		return false;
	const json_t *before = json_object_get(up->status, "Self"),
		     *after = json_object_get(status, "Self");
	bool is_new = strcmp(show_text(before, "PublicKey"), show_text(after, "PublicKey")) != 0;
	json_decref(status);
	return is_new;
}

// One message; false: the waiting is over.
static bool take_notify(struct up *up, json_t *notify)
{
	ipn_clean(notify);
	const json_t *state = json_object_get(notify, "State");
	const char *message = show_text(notify, "ErrMessage");
	if (*message != '\0') {
		snprintf(up->err, sizeof(up->err), "backend error: %.400s", message);
		return false;
	}
	if (json_is_integer(state))
		up->state = (int)json_integer_value(state);
	if (json_is_integer(state) && up->state == STATE_NEEDS_MACHINE_AUTH)
		print_approval(up);
	if (up->state == STATE_RUNNING && (!up->force || has_new_key(up))) {
		up->done = true;
		return false;
	}
	print_url(up, show_text(notify, "BrowseToURL"));
	return true;
}

// The messages are lines of JSON.
static bool on_bytes(void *arg, const char *bytes, size_t n)
{
	struct up *up = arg;
	char *grown = up->line_len + n <= NOTIFY_MAX ? realloc(up->line, up->line_len + n) : NULL;
	bool goes_on = grown != NULL;
	size_t used = 0;
	if (grown == NULL) {
		snprintf(up->err, sizeof(up->err), "a message of the daemon is too large");
		return false;
	}
	memcpy(grown + up->line_len, bytes, n);
	up->line = grown;
	up->line_len += n;
	for (char *end; goes_on && (end = memchr(grown + used, '\n', up->line_len - used)) != NULL;
		used = (size_t)(end - grown) + 1) {
		json_t *notify = json_loadb(grown + used, (size_t)(end - grown) - used, 0, NULL);
		if (json_is_object(notify))
			goes_on = take_notify(up, notify);
		json_decref(notify);
	}
	memmove(grown, grown + used, up->line_len - used);
	up->line_len -= used;
	return goes_on;
}

static bool on_begun(void *arg)
{
	return begin(arg) == 0;
}

static void print_health(const struct cli *cli)
{
	char err[CLI_ERROR_LEN];
	json_t *status;
	if (localapi_status(cli, false, &status, err) < 0)
		return;
	if (json_array_size(json_object_get(status, "Health")) > 0)
		ipn_show_health(stderr, status);
	json_decref(status);
}

static int wait_for_it(struct up *up)
{
	char err[CLI_ERROR_LEN];
	struct client_request request = {.socket = up->cli->socket,
		.method = "GET",
		.path = LOCALAPI "watch-ipn-bus?mask=0",
		.timeout_ms = up->timeout_ms,
		.take = on_bytes,
		.begun = on_begun,
		.arg = up};
	if (up->simple && is_state(up, "NeedsMachineAuth"))
		print_approval(up);
	int error = client_request(&request, err);
	free(up->line);
	if (up->done) {
		if (up->cli->json)
			print_state_json(up, "", "Running");
		else if (up->printed)
			fputs("Success.\n", stderr);
		return CLI_OK;
	}
	if (error == -ETIMEDOUT) {
		print_health(up->cli);
		return cli_fail_plain(up->cli,
			"timeout waiting for Tailscale service to enter a Running state; check "
			"health with \"tailgate status\"");
	}
	if (error == 0)
		return cli_fail(up->cli, "the daemon ended while 'up' was waiting for it");
	return cli_fail(up->cli, "%s", up->err[0] != '\0' ? up->err : err);
}

static int just_edit(struct up *up)
{
	json_t *masked =
		settings_masked(up->cli, up->wanted, cli_switch(up->cli, "--reset", false));
	json_object_set_new(masked, "WantRunning", json_true());
	json_object_set_new(masked, "WantRunningSet", json_true());
	if (localapi_call(up->cli, "PATCH", LOCALAPI "prefs", masked, NULL, up->err) < 0)
		return cli_fail(up->cli, "%s", up->err);
	if (up->cli->json)
		print_state_json(up, "", "Running");
	return CLI_OK;
}

// Of the health lines, those that have to do with settings.
static void warn_of_settings(const struct cli *cli)
{
	static const char *const worth[] = {"--accept-routes is false", "node is locked out"};
	char err[CLI_ERROR_LEN];
	size_t i;
	json_t *status, *line;
	if (cli->json || localapi_status(cli, false, &status, err) < 0)
		return;
	json_array_foreach(json_object_get(status, "Health"), i, line)
	{
		const char *text = json_is_string(line) ? json_string_value(line) : "";
		for (unsigned w = 0; w < sizeof(worth) / sizeof(worth[0]); w++)
			if (strstr(text, worth[w]) != NULL)
				fprintf(cli->out, "%s\n", text);
	}
	json_decref(status);
}

static bool tags_differ(const struct up *up)
{
	const json_t *a = json_object_get(up->current, "AdvertiseTags"),
		     *b = json_object_get(up->wanted, "AdvertiseTags");
	size_t n = json_array_size(a);
	return n != json_array_size(b) || (n > 0 && !json_equal(a, b));
}

static int run_up(struct up *up)
{
	const struct cli *cli = up->cli;
	bool running = is_state(up, "Running");
	bool same_server = settings_same_server(
		show_text(up->current, "ControlURL"), show_text(up->wanted, "ControlURL"));
	warn_of_routes(cli, up->wanted);
	up->simple = is_simple(up);
	int result = up->simple ? CLI_OK : check_reverts(up);
	if (result != CLI_OK)
		return result;
	if (up->simple && running)
		return just_edit(up);
	if (!up->simple && !same_server && running && !up->force)
		return cli_fail_plain(cli, "can't change --login-server without --force-reauth");
	if (running && !up->force && cli_option(cli, "--auth-key") == NULL && same_server &&
		!tags_differ(up))
		result = just_edit(up);
	else
		result = wait_for_it(up);
	if (result == CLI_OK)
		warn_of_settings(cli);
	return result;
}

// What is running on and the settings as they are. 0, or as localapi_call.
static int get_current(
	const struct cli *cli, json_t **status, json_t **current, char err[static CLI_ERROR_LEN])
{
	int error = localapi_status(cli, true, status, err);
	if (error == 0)
		error = localapi_call(cli, "GET", LOCALAPI "prefs", NULL, current, err);
	return error;
}

int cmd_up(const struct cli *cli)
{
	struct up up = {.cli = cli,
		.state = STATE_UNKNOWN,
		.force = cli_switch(cli, "--force-reauth", false)};
	int result = CLI_USAGE;
	const char *timeout = cli_option(cli, "--timeout");
	if (timeout != NULL && value_duration(timeout, &up.timeout_ms) < 0) {
		cli_fail(cli, "up: --timeout takes a time like 30s or 2m");
		return CLI_USAGE;
	}
	if (read_auth_key(&up) < 0) {
		cli_fail(cli, "up: %s", up.err);
		return CLI_USAGE;
	}
	if (get_current(cli, &up.status, &up.current, up.err) < 0) {
		result = cli_fail(cli, "%s", up.err);
		goto out;
	}
	up.wanted = settings_prefs(cli, up.status, up.current, true, up.err);
	if (up.wanted == NULL) {
		cli_fail_plain(cli, "%s", up.err);
		goto out;
	}
	json_object_set_new(up.wanted, "WantRunning", json_true());
	json_object_set_new(up.wanted, "LoggedOut", json_false());
	json_object_del(up.wanted, "Config"); // the daemon's own
	result = run_up(&up);
out:
	sodium_memzero(up.auth_key, sizeof(up.auth_key));
	json_decref(up.status);
	json_decref(up.current);
	json_decref(up.wanted);
	return result;
}

int cmd_set(const struct cli *cli)
{
	char err[CLI_ERROR_LEN];
	json_t *status = NULL, *current = NULL, *wanted = NULL;
	int result = CLI_USAGE;
	if (settings_named(cli) == 0) {
		cli_print_help(stderr, cli->command);
		return CLI_USAGE;
	}
	if (get_current(cli, &status, &current, err) < 0) {
		result = cli_fail(cli, "%s", err);
		goto out;
	}
	wanted = settings_prefs(cli, status, current, false, err);
	if (wanted == NULL) {
		cli_fail_plain(cli, "%s", err);
		goto out;
	}
	if (cli_option(cli, "--advertise-routes") != NULL ||
		cli_option(cli, "--advertise-exit-node") != NULL)
		warn_of_routes(cli, wanted);
	if (localapi_call(cli, "POST", LOCALAPI "check-prefs", json_incref(wanted), NULL, err) <
			0 ||
		localapi_call(cli, "PATCH", LOCALAPI "prefs", settings_masked(cli, wanted, false),
			NULL, err) < 0)
		result = cli_fail(cli, "%s", err);
	else
		result =
			cli->json ? cli_print_json(cli, json_pack("{s:b}", "ok", true), 0) : CLI_OK;
out:
	json_decref(status);
	json_decref(current);
	json_decref(wanted);
	return result;
}
