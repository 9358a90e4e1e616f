// 'status': the tailnet as the tailscale command shows it, then the gateway itself.
#include <errno.h>

#include "control/cli/ipn.h"
#include "control/cli/localapi.h"
#include "dataplane/base/clock.h"

#define API "/tailgate/v0/"

struct report {
	json_t *gateway; // NULL: the daemon has none
	json_t *tailnet; // NULL: the daemon has none
	json_t *paths;	 // NULL: not asked for, or it has none
};

static double now(void)
{
	return (double)unix_now_ns() / 1e9;
}

// What the daemon can tell; 0, or -errno with a line in err when that is nothing.
static int get(const struct cli *cli, struct report *r, char err[static CLI_ERROR_LEN])
{
	char ignored[CLI_ERROR_LEN];
	const char *status = cli_switch(cli, "--peers", true) ? LOCALAPI "status"
							      : LOCALAPI "status?peers=false";
	int error = localapi_call(cli, "GET", API "status", NULL, &r->gateway, err);
	if (error < 0 && error != -ENODATA)
		return error;
	error = localapi_call(cli, "GET", status, NULL, &r->tailnet, ignored);
	if (error < 0 && r->gateway == NULL)
		return error;
	if (r->tailnet != NULL && cli_switch(cli, "--verbose", false))
		error = localapi_call(cli, "GET", API "tailnet", NULL, &r->paths, ignored);
	return 0;
}

// A gateway by its file alone, that nobody has joined to a tailnet: nothing to tell of one.
static bool is_apart(const struct report *r)
{
	if (r->tailnet == NULL || r->gateway == NULL)
		return r->tailnet == NULL;
	bool joined = json_is_true(json_object_get(r->tailnet, "HaveNodeKey")) ||
		      *show_text(r->tailnet, "AuthURL") != '\0';
	bool by_file = *show_text(r->gateway, "config") != '\0' ||
		       show_has_static_peers(r->gateway, r->tailnet);
	return !joined && by_file;
}

static int show_tailnet(const struct cli *cli, const struct report *r)
{
	char description[IPN_DESCRIPTION_LEN];
	struct ipn_view view = {.self = cli_switch(cli, "--self", true),
		.peers = cli_switch(cli, "--peers", true),
		.active = cli_switch(cli, "--active", false),
		.header = cli_switch(cli, "--header", false),
		.now_s = (int64_t)now()};
	if (ipn_is_up(r->tailnet, description))
		return ipn_show(cli->out, r->tailnet, &view) ? CLI_OK
							     : cli_fail(cli, "out of memory");
	// Why it is in such a state, it may know itself.
	bool stopped = strcmp(show_text(r->tailnet, "BackendState"), "Stopped") == 0;
	if (!stopped && json_array_size(json_object_get(r->tailnet, "Health")) > 0) {
		ipn_show_health(cli->out, r->tailnet);
		fputc('\n', cli->out);
	}
	fprintf(cli->out, "%s\n", description);
	return CLI_FAILED;
}

static int show(const struct cli *cli, const struct report *r)
{
	int result = CLI_OK;
	bool apart = is_apart(r);
	ipn_clean(r->gateway);
	ipn_clean(r->tailnet);
	ipn_clean(r->paths);
	if (!apart)
		result = show_tailnet(cli, r);
	if (r->paths != NULL)
		show_paths(cli->out, r->paths, now());
	if (!apart && r->gateway != NULL)
		fputc('\n', cli->out);
	if (r->gateway != NULL)
		show_status(cli->out, r->gateway, r->tailnet, now());
	return result;
}

// One object: the gateway's report with what there is of the tailnet.
static int print_json(const struct cli *cli, const struct report *r)
{
	json_t *all = r->gateway != NULL ? json_incref(r->gateway) : json_object();
	if (r->tailnet != NULL)
		json_object_set(all, "tailnet", r->tailnet);
	if (r->paths != NULL)
		json_object_set(all, "paths", r->paths);
	return cli_print_json(cli, all, JSON_INDENT(2));
}

int cmd_status(const struct cli *cli)
{
	char err[CLI_ERROR_LEN];
	struct report r = {};
	int error = get(cli, &r, err), result;
	if (error < 0)
		result = cli_fail(cli, "%s", err);
	else
		result = cli->json ? print_json(cli, &r) : show(cli, &r);
	json_decref(r.gateway);
	json_decref(r.tailnet);
	json_decref(r.paths);
	return result;
}
