// 'mtu': what fits into a stack of tunnels.
#include <errno.h>

#include "control/cli/mtu_plan.h"

static int plan(const struct cli *cli, const char *text)
{
	char err[CLI_ERROR_LEN];
	struct mtu_plan plan;
	if (mtu_plan_parse(text, &plan, err) < 0) {
		(void)cli_fail(cli, "mtu plan: %s", err);
		return CLI_USAGE;
	}
	if (cli->json)
		return cli_print_json(
			cli, mtu_plan_json(&plan), JSON_INDENT(2) | JSON_REAL_PRECISION(6));
	return mtu_plan_show(cli->out, &plan) && fflush(cli->out) == 0
		       ? CLI_OK
		       : cli_fail(cli, "out of memory");
}

int cmd_mtu(const struct cli *cli)
{
	if (strcmp(cli->arg[0], "plan") == 0 && cli->n_args == 2)
		return plan(cli, cli->arg[1]);
	(void)cli_fail(cli, "mtu: write 'tailgate mtu plan LAYERS', such as eth0:1500,wg4,vxlan");
	return CLI_USAGE;
}
