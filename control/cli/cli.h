// The tailgate command: one table of commands that reads the command line, prints the help and
// makes docs/man/tailgate.1.
#pragma once

#include <jansson.h>
#include <stdio.h>

#include "dataplane/base/types.h"

enum {
	CLI_OK = 0,
	CLI_FAILED = 1,
	CLI_USAGE = 2,
	CLI_ARGS_MAX = 4,
	CLI_OPTIONS_MAX = 20,
	CLI_ERROR_LEN = 512,
};

#define CLI_SOCKET_DEFAULT "/run/tailgate/tailgated.sock"

struct cli_option {
	const char *name; // "--peer", "-n"
	const char *arg;  // "NAME", or NULL: a switch
	const char *help; // a sentence
};

struct cli;

struct command {
	const char *name;
	const char *args; // "[N]"
	unsigned min_args, max_args;
	const char *help; // a sentence for the list
	const char *more; // more sentences for the manual, or NULL
	struct cli_option options[CLI_OPTIONS_MAX];
	int (*fn)(const struct cli *); // CLI_*
};

extern const struct command commands[];
extern const unsigned n_commands;
extern const struct cli_option global_options[];
extern const unsigned n_global_options;

// One command line, read.
struct cli {
	const struct command *command;
	const char *socket;
	bool json;
	const char *arg[CLI_ARGS_MAX];
	unsigned n_args;
	const char *option[CLI_OPTIONS_MAX]; // of the command, in its order; NULL: not given
	FILE *out;
};

// 0; or -EINVAL and one line in err. "--help" stands as the command help. As the tailscale command
// reads them: one dash or two, "--name value" or "--name=value", switches as "--name" or
// "--name=false", nothing but arguments after "--".
int cli_parse(
	int argc, char *const argv[], struct cli *out, char err[static CLI_ERROR_LEN]) must_check;
// The value of an option of the command, "true" or "false" of a switch, NULL when it was not given.
const char *cli_option(const struct cli *, const char *name);
// Whether a switch of the command is on; otherwise when it was not given.
bool cli_switch(const struct cli *, const char *name, bool otherwise);
// Tell of a failure: one line on standard error, and an object on out with --json. CLI_FAILED.
int cli_fail(const struct cli *, const char *format, ...) __attribute__((format(printf, 2, 3)));
// The same without "tailgate: " before it: words that scripts know from the tailscale command.
int cli_fail_plain(const struct cli *, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
// An object on out. Takes it; NULL is out of memory. CLI_OK or CLI_FAILED.
int cli_print_json(const struct cli *, json_t *, size_t flags);

void cli_print_help(FILE *out, const struct command *); // NULL: the list
void cli_print_man(FILE *out);

// The commands.
int cmd_status(const struct cli *);
int cmd_stats(const struct cli *);
int cmd_top(const struct cli *);
int cmd_trace(const struct cli *);
int cmd_capture(const struct cli *);
int cmd_reload(const struct cli *);
int cmd_nat(const struct cli *);
int cmd_routes(const struct cli *);
int cmd_appc_routes(const struct cli *);
int cmd_services(const struct cli *);
int cmd_drain(const struct cli *);
int cmd_stop(const struct cli *);
int cmd_metrics(const struct cli *);
int cmd_up(const struct cli *);
int cmd_down(const struct cli *);
int cmd_logout(const struct cli *);
int cmd_set(const struct cli *);
int cmd_ping(const struct cli *);
int cmd_ip(const struct cli *);
int cmd_whois(const struct cli *);
int cmd_netcheck(const struct cli *);
int cmd_exit_node(const struct cli *);
int cmd_doctor(const struct cli *);
int cmd_dns(const struct cli *);
int cmd_explain(const struct cli *);
int cmd_4via6(const struct cli *);
int cmd_mtu(const struct cli *);
int cmd_bench(const struct cli *);
int cmd_import(const struct cli *);
int cmd_check(const struct cli *);
int cmd_genkey(const struct cli *);
int cmd_pubkey(const struct cli *);
int cmd_version(const struct cli *);
int cmd_help(const struct cli *);
int cmd_man(const struct cli *);
