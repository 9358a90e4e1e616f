#include "control/cli/cli.h"

#include <errno.h>
#include <stdarg.h>

static const struct command *find_command(const char *name)
{
	if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
		name = "help";
	if (strcmp(name, "--version") == 0)
		name = "version";
	for (unsigned i = 0; i < n_commands; i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

// Behind one or two dashes; "" when there is none.
static const char *bare(const char *word)
{
	if (*word != '-')
		return "";
	return word[1] == '-' ? word + 2 : word + 1;
}

// Whether word is the option, alone or as "--name=value".
static bool is_option(const struct cli_option *o, const char *word)
{
	const char *name = bare(o->name), *given = bare(word);
	size_t n = strlen(name);
	if (strncmp(given, "authkey", 7) == 0 && strcmp(name, "auth-key") == 0) // its old name
		return given[7] == '\0' || given[7] == '=';
	return n > 0 && strncmp(given, name, n) == 0 && (given[n] == '\0' || given[n] == '=');
}

// Words still to be read.
struct words {
	int n;
	char *const *at;
	char *err;
	bool only_arguments; // behind "--"
};

// "true" or "false"; NULL: neither.
static const char *switch_value(const char *text)
{
	static const char *const on[] = {"true", "1", "t", "T", "TRUE", "True"},
				 *const off[] = {"false", "0", "f", "F", "FALSE", "False"};
	for (unsigned i = 0; i < sizeof(on) / sizeof(on[0]); i++) {
		if (strcmp(text, on[i]) == 0)
			return "true";
		if (strcmp(text, off[i]) == 0)
			return "false";
	}
	return NULL;
}

// The option's value, from the same word or the next; NULL: there is none, or it is no good.
static const char *take_value(struct words *w, const struct cli_option *o)
{
	const char *equals = strchr(*w->at, '='), *value;
	w->at++;
	w->n--;
	if (o->arg == NULL) {
		value = equals != NULL ? switch_value(equals + 1) : "true";
		if (value == NULL)
			snprintf(w->err, CLI_ERROR_LEN, "%s is true or false, not '%.60s'", o->name,
				equals + 1);
		return value;
	}
	if (equals != NULL)
		return equals + 1;
	if (w->n > 0) {
		w->n--;
		return *w->at++;
	}
	snprintf(w->err, CLI_ERROR_LEN, "%s takes a value: %s", o->name, o->arg);
	return NULL;
}

// An option at the head of the words: 1 taken, 0 none, -EINVAL.
static int take_option(struct words *w, struct cli *cli)
{
	const char *value = NULL;
	for (unsigned i = 0; i < n_global_options; i++) {
		if (!is_option(&global_options[i], *w->at))
			continue;
		if ((value = take_value(w, &global_options[i])) == NULL)
			return -EINVAL;
		if (global_options[i].arg != NULL)
			cli->socket = value;
		else
			cli->json = strcmp(value, "true") == 0;
		return 1;
	}
	const struct command *c = cli->command;
	for (unsigned i = 0; c != NULL && i < CLI_OPTIONS_MAX && c->options[i].name != NULL; i++) {
		if (!is_option(&c->options[i], *w->at))
			continue;
		if ((value = take_value(w, &c->options[i])) == NULL)
			return -EINVAL;
		cli->option[i] = value;
		return 1;
	}
	return 0;
}

// The command, or an argument of it.
static int take_word(struct words *w, struct cli *cli)
{
	const char *word = *w->at++;
	w->n--;
	if (cli->command == NULL) {
		cli->command = find_command(word);
		if (cli->command != NULL)
			return 0;
		snprintf(w->err, CLI_ERROR_LEN, "there is no command '%.60s': see tailgate help",
			word);
		return -EINVAL;
	}
	if (strcmp(word, "--help") == 0) {
		cli->arg[0] = cli->command->name;
		cli->n_args = 1;
		cli->command = find_command("help");
		return 0;
	}
	bool is_dash = word[0] == '-' && word[1] != '\0';
	if ((!is_dash || w->only_arguments) && cli->n_args < cli->command->max_args) {
		cli->arg[cli->n_args++] = word;
		return 0;
	}
	snprintf(w->err, CLI_ERROR_LEN, "%s: unexpected '%.60s': see tailgate help %s",
		cli->command->name, word, cli->command->name);
	return -EINVAL;
}

int cli_parse(int argc, char *const argv[], struct cli *out, char err[static CLI_ERROR_LEN])
{
	struct words w = {.n = argc - 1, .at = argv + 1, .err = err};
	*out = (struct cli){.socket = CLI_SOCKET_DEFAULT, .out = stdout};
	while (w.n > 0) {
		int taken = 0;
		if (!w.only_arguments && out->command != NULL && strcmp(*w.at, "--") == 0) {
			w.only_arguments = true;
			w.at++;
			w.n--;
			continue;
		}
		if (!w.only_arguments)
			taken = take_option(&w, out);
		if (taken == 0)
			taken = take_word(&w, out);
		if (taken < 0)
			return taken;
	}
	if (out->command == NULL) {
		snprintf(err, CLI_ERROR_LEN, "no command is given: see tailgate help");
		return -EINVAL;
	}
	if (out->n_args < out->command->min_args) {
		snprintf(err, CLI_ERROR_LEN, "usage: tailgate %s %s", out->command->name,
			out->command->args);
		return -EINVAL;
	}
	return 0;
}

const char *cli_option(const struct cli *cli, const char *name)
{
	const struct command *c = cli->command;
	for (unsigned i = 0; i < CLI_OPTIONS_MAX && c->options[i].name != NULL; i++)
		if (strcmp(c->options[i].name, name) == 0)
			return cli->option[i];
	return NULL;
}

bool cli_switch(const struct cli *cli, const char *name, bool otherwise)
{
	const char *value = cli_option(cli, name);
	return value != NULL ? strcmp(value, "true") == 0 : otherwise;
}

int cli_print_json(const struct cli *cli, json_t *json, size_t flags)
{
	bool printed = json != NULL && json_dumpf(json, cli->out, flags) == 0 &&
		       fputc('\n', cli->out) != EOF && fflush(cli->out) == 0;
	json_decref(json);
	return printed ? CLI_OK : CLI_FAILED;
}

static int fail(const struct cli *cli, const char *before, const char *format, va_list args)
{
	char text[2 * CLI_ERROR_LEN];
	vsnprintf(text, sizeof(text), format, args);
	fprintf(stderr, "%s%s\n", before, text);
	if (cli->json)
		(void)cli_print_json(cli, json_pack("{s:s}", "error", text), JSON_COMPACT);
	return CLI_FAILED;
}

int cli_fail(const struct cli *cli, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	int result = fail(cli, "tailgate: ", format, args);
	va_end(args);
	return result;
}

int cli_fail_plain(const struct cli *cli, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	int result = fail(cli, "", format, args);
	va_end(args);
	return result;
}
