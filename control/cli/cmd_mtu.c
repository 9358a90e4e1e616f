// 'mtu': what fits into the tunnel to each peer, and into a stack of tunnels.
#include <errno.h>

#include "control/cli/ipn.h"
#include "control/cli/localapi.h"
#include "control/cli/mtu_peers.h"

#define STATUS "/tailgate/v0/status"

enum { JSON_FORM = JSON_INDENT(2) | JSON_REAL_PRECISION(6) };

static int end(const struct cli *cli, bool shown)
{
	return shown && fflush(cli->out) == 0 ? CLI_OK : cli_fail(cli, "out of memory");
}

static int plan(const struct cli *cli, const char *text)
{
	char err[CLI_ERROR_LEN];
	struct mtu_plan plan;
	if (mtu_plan_parse(text, &plan, err) < 0) {
		(void)cli_fail(cli, "mtu plan: %s", err);
		return CLI_USAGE;
	}
	if (cli->json)
		return cli_print_json(cli, mtu_plan_json(&plan), JSON_FORM);
	return end(cli, mtu_plan_show(cli->out, &plan));
}

static int peers(const struct cli *cli, const char *which)
{
	char err[CLI_ERROR_LEN];
	json_t *status;
	int result;
	int error = localapi_call(cli, "GET", STATUS, NULL, &status, err);
	if (error == -ENODATA)
		return cli_fail(cli, "mtu: the daemon is no tailgated and cannot tell; 'tailgate "
				     "mtu plan LAYERS' asks nobody");
	if (error < 0)
		return cli_fail(cli, "%s", err);
	ipn_clean(status);
	const json_t *only = which != NULL ? mtu_peer_find(status, which) : NULL;
	if (which != NULL && only == NULL)
		result = cli_fail(cli,
			"mtu: no peer has the name, key or address '%.60s': see tailgate status",
			which);
	else if (cli->json)
		result = cli_print_json(cli, mtu_peers_json(status, only), JSON_FORM);
	else
		result = end(cli, mtu_peers_show(cli->out, status, only));
	json_decref(status);
	return result;
}

int cmd_mtu(const struct cli *cli)
{
	const char *first = cli->n_args > 0 ? cli->arg[0] : NULL;
	bool is_plan = first != NULL && strcmp(first, "plan") == 0;
	if (is_plan && cli->n_args == 2)
		return plan(cli, cli->arg[1]);
	if (!is_plan && cli->n_args < 2)
		return peers(cli, first);
	(void)cli_fail(cli, "mtu: write 'tailgate mtu plan LAYERS', such as eth0:1500,wg4,vxlan, "
			    "or 'tailgate mtu [PEER]'");
	return CLI_USAGE;
}
