// The options of tailgated: one table that reads the command line, prints the help and makes
// docs/man/tailgated.8. Pure.
#pragma once

#include <stdio.h>

#include "dataplane/base/log.h"
#include "dataplane/base/types.h"

#define DAEMON_CONFIG_DEFAULT "/etc/tailgate/tailgate.conf"

enum { DAEMON_OPTIONS_ERROR_LEN = 160 };

struct daemon_option {
	const char *name; // "--config"
	const char *arg;  // "FILE", or NULL
	const char *help; // a sentence
};

// What the command line says.
struct daemon_args {
	const char *config; // file to run with; NULL: the default one if there is any, else none
	// Before what the file says; NULL and -1: not given.
	const char *state_dir, *socket, *tun;
	int32_t port;
	const char *check; // NULL, or the file to check
	bool has_log_level;
	enum log_level log_level;
	bool version, help;
};

// 0; or -EINVAL for an unknown option, a missing or bad value or a stray word, one line in err.
int daemon_options_parse(int argc, char *const argv[], struct daemon_args *out,
	char err[static DAEMON_OPTIONS_ERROR_LEN]) must_check;
void daemon_options_print_help(FILE *out);
void daemon_options_print_man(FILE *out);

// Text as roff shows it; also for the other pages.
void man_text(FILE *out, const char *text);
