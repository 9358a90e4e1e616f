#include "control/options.h"

#include <errno.h>
#include <stdlib.h>

#include "config/config.h"

struct option_row {
	struct daemon_option option;
	int (*set)(struct daemon_args *, const char *value);
};

static int set_config(struct daemon_args *args, const char *value)
{
	args->config = value;
	return 0;
}

static int set_text(const char **at, const char *value, size_t room)
{
	*at = value;
	return strlen(value) < room ? 0 : -EINVAL;
}

static int set_state_dir(struct daemon_args *args, const char *value)
{
	return set_text(&args->state_dir, value, CONFIG_PATH_LEN);
}

static int set_socket(struct daemon_args *args, const char *value)
{
	return set_text(&args->socket, value, CONFIG_SOCKET_LEN);
}

static int set_tun(struct daemon_args *args, const char *value)
{
	return strchr(value, '/') ? -EINVAL : set_text(&args->tun, value, IFNAME_LEN);
}

static int set_port(struct daemon_args *args, const char *value)
{
	char *end;
	unsigned long port = strtoul(value, &end, 10);
	args->port = (int32_t)port;
	return *value >= '0' && *value <= '9' && *end == '\0' && port <= UINT16_MAX ? 0 : -EINVAL;
}

static int set_check(struct daemon_args *args, const char *value)
{
	args->check = value;
	return 0;
}

static int set_log_level(struct daemon_args *args, const char *value)
{
	args->has_log_level = true;
	return log_level_parse(value, &args->log_level) ? 0 : -EINVAL;
}

static int set_version(struct daemon_args *args, const char *)
{
	args->version = true;
	return 0;
}

static int set_help(struct daemon_args *args, const char *)
{
	args->help = true;
	return 0;
}

static const struct option_row rows[] = {
	{{"--config", "FILE",
		 "Run with this configuration, by default " DAEMON_CONFIG_DEFAULT
		 " where it exists. Without any the gateway is a node of a tailnet that waits for "
		 "'tailgate up'."},
		set_config},
	{{"--statedir", "DIR", "Keep the tailnet's keys and settings here, before state_dir."},
		set_state_dir},
	{{"--socket", "PATH", "Listen here for the tailgate command, before socket."}, set_socket},
	{{"--port", "NUMBER", "Use this UDP port, before listen_port; 0 picks one."}, set_port},
	{{"--tun", "NAME", "Name the TUN interface, before tun."}, set_tun},
	{{"--check", "FILE",
		 "Look for mistakes in this configuration, name file, line and key, and do nothing "
		 "else."},
		set_check},
	{{"--log-level", "LEVEL",
		 "Log error, warn, info or debug lines and those above, whatever the configuration "
		 "says."},
		set_log_level},
	{{"--version", NULL, "Print the version."}, set_version},
	{{"--help", NULL, "Print the options."}, set_help},
};
static const unsigned n_rows = sizeof(rows) / sizeof(rows[0]);

// The row of "--name" or "--name=value".
static const struct option_row *find(const char *word)
{
	size_t len = strcspn(word, "=");
	for (unsigned i = 0; i < n_rows; i++)
		if (strlen(rows[i].option.name) == len &&
			strncmp(rows[i].option.name, word, len) == 0)
			return &rows[i];
	return NULL;
}

int daemon_options_parse(int argc, char *const argv[], struct daemon_args *out,
	char err[static DAEMON_OPTIONS_ERROR_LEN])
{
	*out = (struct daemon_args){.port = -1};
	for (int i = 1; i < argc; i++) {
		const struct option_row *row = find(argv[i]);
		if (row == NULL) {
			snprintf(err, DAEMON_OPTIONS_ERROR_LEN,
				"unknown option '%.60s': see tailgated --help", argv[i]);
			return -EINVAL;
		}
		const char *name = row->option.name, *equals = strchr(argv[i], '=');
		const char *value = equals != NULL ? equals + 1 : NULL;
		if (row->option.arg != NULL && value == NULL && i + 1 < argc)
			value = argv[++i];
		if ((row->option.arg != NULL) != (value != NULL && *value != '\0')) {
			snprintf(err, DAEMON_OPTIONS_ERROR_LEN, "%s takes %s%s", name,
				row->option.arg != NULL ? "a value: " : "no value",
				row->option.arg != NULL ? row->option.arg : "");
			return -EINVAL;
		}
		if (row->set(out, value) < 0) {
			snprintf(err, DAEMON_OPTIONS_ERROR_LEN, "%s: '%.60s' is no %s", name, value,
				row->option.arg);
			return -EINVAL;
		}
	}
	return 0;
}

void daemon_options_print_help(FILE *out)
{
	fputs("usage: tailgated [OPTION]...\n\nThe Tailgate gateway. Options:\n", out);
	for (unsigned i = 0; i < n_rows; i++) {
		const struct daemon_option *o = &rows[i].option;
		int n = fprintf(out, "  %s %s", o->name, o->arg != NULL ? o->arg : "");
		fprintf(out, "%*s%s\n", n < 22 ? 22 - n : 1, "", o->help);
	}
	fputs("\nManual: tailgated(8), tailgate.conf(5), tailgate(1)\n", out);
}

void man_text(FILE *out, const char *text)
{
	if (*text == '.' || *text == '\'')
		fputs("\\&", out);
	for (; *text != '\0'; text++) {
		if (*text == '\\')
			fputs("\\e", out);
		else if (*text == '-')
			fputs("\\-", out);
		else
			fputc(*text, out);
	}
}

static const char man_head[] =
	".\\\" Made by 'tailgate --man tailgated.8' from the table in control/options.c.\n"
	".TH TAILGATED 8 \"\" \"tailgate\" \"System administration\"\n"
	".SH NAME\n"
	"tailgated \\- WireGuard gateway in user space\n"
	".SH SYNOPSIS\n"
	".B tailgated\n"
	"[\\fIOPTION\\fR]...\n"
	".SH DESCRIPTION\n"
	"tailgated moves packets between networks and WireGuard peers, as "
	"\\fBtailgate.conf\\fR(5) says.\n"
	"It stays in the foreground and logs to standard error; under systemd each line carries "
	"its\n"
	"level for the journal. \\fBtailgate\\fR(1) shows what it does.\n"
	".SH OPTIONS\n";

static const char man_tail[] =
	".SH SIGNALS\n"
	".TP\n"
	"SIGHUP\n"
	"Read the configuration again, as \\fBtailgate reload\\fR does. A file with a mistake "
	"changes nothing.\n"
	".TP\n"
	"SIGTERM, SIGINT\n"
	"Stop in order.\n"
	".SH EXIT STATUS\n"
	"0 after an orderly stop or a check without mistakes, 1 when it cannot start or the "
	"configuration\n"
	"has a mistake, 2 for a mistake in the options.\n"
	".SH FILES\n"
	".TP\n" DAEMON_CONFIG_DEFAULT "\n"
	"The configuration.\n"
	".TP\n/var/lib/tailgate\n"
	"Of a tailnet node: keys, settings and the last netmap, mode 0700.\n"
	".TP\n"
	"/run/tailgate/tailgated.sock\n"
	"The socket that \\fBtailgate\\fR(1) talks to: HTTP with JSON, mode 0666. "
	"GET /tailgate/v0/ lists its\n"
	"paths.\n"
	".SH SEE ALSO\n"
	"\\fBtailgate\\fR(1), \\fBtailgate.conf\\fR(5), \\fBwg\\fR(8)\n";

void daemon_options_print_man(FILE *out)
{
	fputs(man_head, out);
	for (unsigned i = 0; i < n_rows; i++) {
		const struct daemon_option *o = &rows[i].option;
		fputs(".TP\n\\fB", out);
		man_text(out, o->name);
		fputs("\\fR", out);
		if (o->arg != NULL)
			fprintf(out, " \\fI%s\\fR", o->arg);
		fputc('\n', out);
		man_text(out, o->help);
		fputc('\n', out);
	}
	fputs(man_tail, out);
}
