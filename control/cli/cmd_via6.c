// '4via6': between a site's IPv4 network and its IPv6 prefix, as 'tailscale debug via'.
#include <errno.h>

#include "control/cli/cli.h"
#include "control/cli/values.h"
#include "dataplane/base/via6.h"

static int print(const struct cli *cli, uint32_t site, const struct ip_prefix *v4,
	const struct ip_prefix *v6, const char *answer)
{
	char a[PREFIX_TEXT_LEN], b[PREFIX_TEXT_LEN];
	if (cli->json)
		fprintf(cli->out, "{\"site\": %u, \"v4\": \"%s\", \"v6\": \"%s\"}\n", site,
			ip_prefix_format(v4, a), ip_prefix_format(v6, b));
	else
		fprintf(cli->out, "%s\n", answer);
	return fflush(cli->out) == 0 ? CLI_OK : CLI_FAILED;
}

static int show_site(const struct cli *cli, const char *text)
{
	struct ip_prefix v6, v4;
	char answer[96], network[PREFIX_TEXT_LEN];
	uint32_t site;
	if (ip_prefix_parse(text, &v6) < 0 || via6_split(&v6, &site, &v4) < 0)
		return cli_fail(cli,
			"4via6: '%s' is no 4via6 prefix; write SITE CIDR for one, such as "
			"7 10.1.0.0/16",
			text);
	snprintf(answer, sizeof(answer), "site %u (0x%x), %s", site, site,
		ip_prefix_format(&v4, network));
	return print(cli, site, &v4, &v6, answer);
}

int cmd_4via6(const struct cli *cli)
{
	struct ip_prefix v4, v6;
	char answer[PREFIX_TEXT_LEN];
	unsigned site;
	if (cli->n_args == 1)
		return show_site(cli, cli->arg[0]);
	if (value_number(cli->arg[0], VIA6_SITE_MAX, &site) < 0)
		return cli_fail(cli, "4via6: site '%s': write 0 to %u", cli->arg[0], VIA6_SITE_MAX);
	if (ip_prefix_parse(cli->arg[1], &v4) < 0 || via6_map(site, &v4, &v6) < 0)
		return cli_fail(
			cli, "4via6: '%s' is no IPv4 network, such as 10.1.0.0/16", cli->arg[1]);
	ip_prefix_format(&v6, answer);
	return print(cli, site, &v4, &v6, answer);
}
