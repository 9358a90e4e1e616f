// The help texts and docs/man/tailgate.1 out of the command table.
#include "control/cli/cli.h"
#include "control/options.h"

enum {
	HELP_COLUMN = 26,
	OPTION_COLUMN = 32,
};

static void print_option(FILE *out, const struct cli_option *o)
{
	int n = fprintf(out, "  %s %s", o->name, o->arg != NULL ? o->arg : "");
	fprintf(out, "%*s%s\n", n < OPTION_COLUMN ? OPTION_COLUMN - n : 1, "", o->help);
}

static void print_options(FILE *out, const struct cli_option *options, unsigned max)
{
	for (unsigned i = 0; i < max && options[i].name != NULL; i++)
		print_option(out, &options[i]);
}

void cli_print_help(FILE *out, const struct command *command)
{
	if (command != NULL) {
		fprintf(out, "usage: tailgate %s%s%s\n\n%s", command->name,
			*command->args ? " " : "", command->args, command->help);
		fprintf(out, "%s%s\n", command->more != NULL ? " " : "",
			command->more != NULL ? command->more : "");
		if (command->options[0].name != NULL)
			fputs("\nOptions:\n", out);
		print_options(out, command->options, CLI_OPTIONS_MAX);
		return;
	}
	fputs("usage: tailgate [OPTION]... COMMAND [ARGUMENT]...\n\nCommands:\n", out);
	for (unsigned i = 0; i < n_commands; i++) {
		const struct command *c = &commands[i];
		if (c->help == NULL)
			continue;
		int n = fprintf(out, "  %s %s", c->name, c->args);
		fprintf(out, "%*s%s\n", n < HELP_COLUMN ? HELP_COLUMN - n : 1, "", c->help);
	}
	fputs("\nOptions:\n", out);
	print_options(out, global_options, n_global_options);
	fputs("\n'tailgate help COMMAND' shows the options of a command; manual: tailgate(1)\n",
		out);
}

static void man_option(FILE *out, const struct cli_option *o)
{
	fputs(".TP\n\\fB", out);
	man_text(out, o->name);
	fputs("\\fR", out);
	if (o->arg != NULL)
		fprintf(out, " \\fI%s\\fR", o->arg);
	fputc('\n', out);
	man_text(out, o->help);
	fputc('\n', out);
}

static void man_command(FILE *out, const struct command *c)
{
	fprintf(out, ".SS %s %s\n", c->name, c->args);
	man_text(out, c->help);
	fputc('\n', out);
	if (c->more != NULL) {
		man_text(out, c->more);
		fputc('\n', out);
	}
	for (unsigned i = 0; i < CLI_OPTIONS_MAX && c->options[i].name != NULL; i++)
		man_option(out, &c->options[i]);
}

static const char man_head[] =
	".\\\" Made by 'tailgate --man tailgate.1' from the table in control/cli/commands.c.\n"
	".TH TAILGATE 1 \"\" \"tailgate\" \"User commands\"\n"
	".SH NAME\n"
	"tailgate \\- see and steer the Tailgate gateway\n"
	".SH SYNOPSIS\n"
	".B tailgate\n"
	"[\\fIOPTION\\fR]... \\fICOMMAND\\fR [\\fIARGUMENT\\fR]...\n"
	".SH DESCRIPTION\n"
	"tailgate asks the running \\fBtailgated\\fR(8) over its Unix socket and prints the "
	"answers, for\n"
	"people or with \\fB\\-\\-json\\fR for programs.\n"
	".SH OPTIONS\n";

static const char man_tail[] =
	".SH EXIT STATUS\n"
	"0 when it worked, 1 when it did not (the reason stands on standard error), 2 for a "
	"mistake in\n"
	"the command line. \\fBdoctor\\fR has its own.\n"
	".SH EXAMPLES\n"
	"Join a tailnet and see which way a peer is reached:\n"
	".PP\n"
	".nf\n"
	"tailgate up \\-\\-login\\-server https://headscale.example.com \\-\\-auth\\-key "
	"file:/root/key\n"
	"tailgate ping berlin\n"
	"tailgate doctor\n"
	".fi\n"
	".PP\n"
	"Watch the packets of one peer as they are before encryption and after decryption:\n"
	".PP\n"
	".nf\n"
	"tailgate capture \\-\\-peer berlin \\-\\-point plain | tcpdump \\-nr \\-\n"
	".fi\n"
	".PP\n"
	"Make a key and move from wg\\-quick:\n"
	".PP\n"
	".nf\n"
	"tailgate genkey | tee private.key | tailgate pubkey\n"
	"tailgate import \\-\\-output /etc/tailgate/tailgate.conf /etc/wireguard/wg0.conf\n"
	".fi\n"
	".SH FILES\n"
	".TP\n" CLI_SOCKET_DEFAULT "\n"
	"The daemon's socket: HTTP with JSON. GET /tailgate/v0/ lists its paths.\n"
	".SH SEE ALSO\n"
	"\\fBtailgated\\fR(8), \\fBtailgate.conf\\fR(5), \\fBwg\\fR(8)\n";

void cli_print_man(FILE *out)
{
	fputs(man_head, out);
	for (unsigned i = 0; i < n_global_options; i++)
		man_option(out, &global_options[i]);
	fputs(".SH COMMANDS\n", out);
	for (unsigned i = 0; i < n_commands; i++)
		if (commands[i].help != NULL)
			man_command(out, &commands[i]);
	fputs(man_tail, out);
}
