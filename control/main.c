// tailgated: options, then the daemon.
#include <errno.h>
#include <getopt.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "control/run.h"
#include "dataplane/base/log.h"

#define DEFAULT_CONFIG "/etc/tailgate/tailgate.conf"

enum {
	EXIT_USAGE = 2,
};

static const struct option options[] = {
	{"config", required_argument, NULL, 'c'},
	{"check", required_argument, NULL, 'k'},
	{"version", no_argument, NULL, 'V'},
	{"help", no_argument, NULL, 'h'},
	{0},
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
	printf("%s: all right, %u ports, %u peers\n", path, c->n_ports, c->n_peers);
	config_free(c);
	return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	const char *path = DEFAULT_CONFIG;
	struct config *config;
	int o;
	if (sodium_init() < 0)
		return EXIT_FAILURE;
	while ((o = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		switch (o) {
		case 'c':
			path = optarg;
			break;
		case 'k':
			return check(optarg);
		case 'V':
			puts("tailgated " TAILGATE_VERSION);
			return EXIT_SUCCESS;
		case 'h':
			puts("usage: tailgated [--config FILE] | --check FILE");
			return EXIT_SUCCESS;
		default:
			return EXIT_USAGE;
		}
	}
	if (load(path, &config) < 0)
		return EXIT_FAILURE;
	log_init((enum log_level)config->log_level);
	return daemon_run(config, path) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
