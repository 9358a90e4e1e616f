// tailgated: options, then the daemon.
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "config/config.h"
#include "control/options.h"
#include "control/run.h"
#include "dataplane/base/heap.h"

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

// Without a file: a node of a tailnet.
static int load_or_default(const struct daemon_args *args, const char **path, struct config **out)
{
	*path = args->config ? args->config : DAEMON_CONFIG_DEFAULT;
	if (args->config || access(*path, F_OK) == 0)
		return load(*path, out);
	*path = "";
	*out = config_create();
	if (!*out)
		return -ENOMEM;
	(*out)->tailnet = true;
	(void)config_tailnet_mtu(getenv(CONFIG_MTU_VARIABLE), &(*out)->mtu);
	return 0;
}

// What the command line says comes before the file.
static void override(struct config *c, const struct daemon_args *args)
{
	if (args->state_dir)
		snprintf(c->state_dir, sizeof(c->state_dir), "%s", args->state_dir);
	if (args->socket)
		snprintf(c->socket, sizeof(c->socket), "%s", args->socket);
	if (args->tun)
		snprintf(c->tun, sizeof(c->tun), "%s", args->tun);
	if (args->port >= 0)
		c->listen_port = (uint32_t)args->port;
}

// Else nobody would know why the interface has another MTU.
static void warn_of_mtu(const struct config *c)
{
	const char *text = getenv(CONFIG_MTU_VARIABLE);
	uint32_t mtu;
	if (c->tailnet && config_tailnet_mtu(text, &mtu) < 0)
		fprintf(stderr, "tailgated: %s=%s is no MTU from %u to %u; the MTU is %u\n",
			CONFIG_MTU_VARIABLE, text, CONFIG_MTU_MIN, CONFIG_MTU_MAX, c->mtu);
}

static int run(const struct daemon_args *args)
{
	struct config *c;
	const char *path;
	if (load_or_default(args, &path, &c) < 0)
		return EXIT_FAILURE;
	override(c, args);
	warn_of_mtu(c);
	if (args->has_log_level)
		c->log_level = args->log_level;
	log_init((enum log_level)c->log_level);
	return daemon_run(c, path, args->has_log_level) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
	struct daemon_args args;
	char err[DAEMON_OPTIONS_ERROR_LEN];
	heap_init();
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
