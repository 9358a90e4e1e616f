// The tailgate command: one table of commands that reads the command line, prints the help and
// makes docs/man/tailgate.1.
#pragma once

#include <stdio.h>

#include "dataplane/base/types.h"

enum {
	CLI_OK = 0,
	CLI_FAILED = 1,
	CLI_USAGE = 2,
	CLI_ARGS_MAX = 2,
	CLI_OPTIONS_MAX = 6,
	CLI_ERROR_LEN = 512,
};

#define CLI_SOCKET_DEFAULT "/run/tailgate/tailgated.sock"

struct cli_option {
	const char *name; // "--peer", "-n"
	const char *arg;  // "NAME", or NULL: no value
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

// 0; or -EINVAL and one line in err. "--help" stands as the command help.
int cli_parse(
	int argc, char *const argv[], struct cli *out, char err[static CLI_ERROR_LEN]) must_check;
// The value of an option of the command, "" for one without value, NULL when it was not given.
const char *cli_option(const struct cli *, const char *name);
// Tell of a failure: one line on standard error, and an object on out with --json. CLI_FAILED.
int cli_fail(const struct cli *, const char *format, ...) __attribute__((format(printf, 2, 3)));

void cli_print_help(FILE *out, const struct command *); // NULL: the list
void cli_print_man(FILE *out);

// The commands.
int cmd_status(const struct cli *);
int cmd_stats(const struct cli *);
int cmd_top(const struct cli *);
int cmd_trace(const struct cli *);
int cmd_capture(const struct cli *);
int cmd_reload(const struct cli *);
int cmd_stop(const struct cli *);
int cmd_metrics(const struct cli *);
int cmd_import(const struct cli *);
int cmd_check(const struct cli *);
int cmd_genkey(const struct cli *);
int cmd_pubkey(const struct cli *);
int cmd_version(const struct cli *);
int cmd_help(const struct cli *);
int cmd_man(const struct cli *);
