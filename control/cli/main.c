#include "control/cli/cli.h"

int main(int argc, char **argv)
{
	struct cli cli;
	char err[CLI_ERROR_LEN];
	if (cli_parse(argc, argv, &cli, err) < 0) {
		fprintf(stderr, "tailgate: %s\n", err);
		return CLI_USAGE;
	}
	return cli.command->fn(&cli);
}
