// tailgated: options, then the daemon.
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "config/config.h"
#include "control/options.h"
#include "control/run.h"

enum {
	EXIT_USAGE = 2,
};

static int load(const char *path, struct config **out)
{
	struct config_error mistake;
	char text[CONFIG_ERROR_TEXT_LEN];
	int rc = config_load(path, out, &mistake);
	if (rc < 0)
		fprintf(stderr, "%s\n", config_error_format(&mistake, text));
	return rc;
}

static int check(const char *path)
{
	struct config *c;
	if (load(path, &c) < 0)
		return EXIT_FAILURE;
	printf("%s: all right: ports %u, peers %u\n", path, c->n_ports, c->n_peers);
	config_free(c);
	return EXIT_SUCCESS;
}

static int run(const struct daemon_args *args)
{
	struct config *c;
	if (load(args->config, &c) < 0)
		return EXIT_FAILURE;
	if (args->has_log_level)
		c->log_level = args->log_level;
	log_init((enum log_level)c->log_level);
	return daemon_run(c, args->config, args->has_log_level) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
	struct daemon_args args;
	char err[DAEMON_OPTIONS_ERROR_LEN];
	if (sodium_init() < 0)
		return EXIT_FAILURE;
	if (daemon_options_parse(argc, argv, &args, err) < 0) {
		fprintf(stderr, "tailgated: %s\n", err);
		return EXIT_USAGE;
	}
	if (args.help) {
		daemon_options_print_help(stdout);
		return EXIT_SUCCESS;
	}
	if (args.version) {
		puts("tailgated " TAILGATE_VERSION);
		return EXIT_SUCCESS;
	}
	return args.check ? check(args.check) : run(&args);
}
