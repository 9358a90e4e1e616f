// Commands that need no daemon.
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <sodium.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/config.h"
#include "config/import.h"
#include "config/state_dir.h"
#include "control/cli/cli.h"
#include "control/options.h"
#include "dataplane/crypto/x25519.h"

// {"name": "value"} or the value alone.
static int print_value(const struct cli *cli, const char *name, const char *value)
{
	if (cli->json)
		fprintf(cli->out, "{\"%s\": \"%s\"}\n", name, value);
	else
		fprintf(cli->out, "%s\n", value);
	return fflush(cli->out) == 0 ? CLI_OK : CLI_FAILED;
}

int cmd_genkey(const struct cli *cli)
{
	struct key key;
	struct stat st;
	char text[KEY_TEXT_LEN + 1];
	if (sodium_init() < 0)
		return cli_fail(cli, "genkey: no randomness");
	if (fstat(fileno(cli->out), &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 077))
		fputs("tailgate: warning: others can read the file that the key goes to: chmod "
		      "600\n",
			stderr);
	x25519_generate(key.bytes);
	int result = print_value(cli, "private_key", key_format(&key, text));
	sodium_memzero(&key, sizeof(key));
	sodium_memzero(text, sizeof(text));
	return result;
}

int cmd_pubkey(const struct cli *cli)
{
	struct key private_key, public_key;
	char line[KEY_TEXT_LEN + 3] = "", text[KEY_TEXT_LEN + 1];
	if (sodium_init() < 0)
		return cli_fail(cli, "pubkey: libsodium does not start");
	bool got = fgets(line, sizeof(line), stdin) != NULL;
	line[strcspn(line, "\r\n")] = '\0';
	if (!got || key_parse(line, &private_key) < 0)
		return cli_fail(cli, "pubkey: standard input must hold a private key of 44 "
				     "characters, as 'tailgate genkey' prints it");
	x25519_public(public_key.bytes, private_key.bytes);
	sodium_memzero(&private_key, sizeof(private_key));
	sodium_memzero(line, sizeof(line));
	return print_value(cli, "public_key", key_format(&public_key, text));
}

int cmd_version(const struct cli *cli)
{
	if (!cli->json)
		fputs("tailgate ", cli->out);
	return print_value(cli, "version", TAILGATE_VERSION);
}

static int print_commands(const struct cli *cli)
{
	json_t *list = json_array();
	for (unsigned i = 0; i < n_commands; i++)
		if (commands[i].help != NULL)
			json_array_append_new(
				list, json_pack("{s:s, s:s, s:s}", "name", commands[i].name, "args",
					      commands[i].args, "help", commands[i].help));
	json_dumpf(list, cli->out, JSON_INDENT(2));
	fputc('\n', cli->out);
	json_decref(list);
	return CLI_OK;
}

int cmd_help(const struct cli *cli)
{
	if (cli->json)
		return print_commands(cli);
	if (cli->n_args == 0) {
		cli_print_help(cli->out, NULL);
		return CLI_OK;
	}
	for (unsigned i = 0; i < n_commands; i++) {
		if (strcmp(commands[i].name, cli->arg[0]) == 0 && commands[i].help != NULL) {
			cli_print_help(cli->out, &commands[i]);
			return CLI_OK;
		}
	}
	cli_fail(cli, "there is no command '%.60s': see tailgate help", cli->arg[0]);
	return CLI_USAGE;
}

int cmd_man(const struct cli *cli)
{
	if (strcmp(cli->arg[0], "tailgate.1") == 0)
		cli_print_man(cli->out);
	else if (strcmp(cli->arg[0], "tailgated.8") == 0)
		daemon_options_print_man(cli->out);
	else
		return cli_fail(cli, "pages are tailgate.1 and tailgated.8");
	return CLI_OK;
}

static int check_failed(const struct cli *cli, const struct config_error *mistake)
{
	char text[CONFIG_ERROR_TEXT_LEN];
	if (!cli->json)
		return cli_fail(cli, "%s", config_error_format(mistake, text));
	json_t *json = json_pack("{s:b, s:s, s:i, s:s, s:s}", "ok", false, "file", mistake->file,
		"line", (int)mistake->line, "key", mistake->key, "message", mistake->message);
	json_dumpf(json, cli->out, JSON_COMPACT);
	fputc('\n', cli->out);
	json_decref(json);
	return CLI_FAILED;
}

// What a node of a tailnet would stumble over at its start, after it became its user.
static bool check_state_dir(const char *file, const struct config *c, struct config_error *mistake)
{
	char why[STATE_DIR_WHY_LEN];
	if (!c->tailnet || c->user[0] == '\0' || state_dir_check(c->state_dir, c->user, why) == 0)
		return true;
	snprintf(mistake->file, sizeof(mistake->file), "%s", file);
	snprintf(mistake->key, sizeof(mistake->key), "state_dir");
	snprintf(mistake->message, sizeof(mistake->message), "%.*s",
		(int)sizeof(mistake->message) - 1, why);
	return false;
}

int cmd_check(const struct cli *cli)
{
	struct config_error mistake = {};
	struct config *c;
	if (sodium_init() < 0)
		return cli_fail(cli, "check: libsodium does not start");
	if (config_load(cli->arg[0], &c, &mistake) < 0)
		return check_failed(cli, &mistake);
	if (!check_state_dir(cli->arg[0], c, &mistake)) {
		config_free(c);
		return check_failed(cli, &mistake);
	}
	json_t *json = json_pack("{s:b, s:s, s:i, s:i, s:i, s:i}", "ok", true, "file", cli->arg[0],
		"listen_port", (int)c->listen_port, "workers", (int)c->workers, "ports",
		(int)c->n_ports, "peers", (int)c->n_peers);
	if (cli->json) {
		json_dumpf(json, cli->out, JSON_COMPACT);
		fputc('\n', cli->out);
	} else {
		fprintf(cli->out, "%s: no mistakes; port %u, %u worker%s, %u port%s, %u peer%s\n",
			cli->arg[0], c->listen_port, c->workers, c->workers == 1 ? "" : "s",
			c->n_ports, c->n_ports == 1 ? "" : "s", c->n_peers,
			c->n_peers == 1 ? "" : "s");
	}
	json_decref(json);
	config_free(c);
	return CLI_OK;
}

// {"config": text, "warnings": text}, for a program that wants both.
static int import_json(const struct cli *cli, FILE *in, const char *key_file)
{
	char *config = NULL, *warnings = NULL;
	size_t config_len, warnings_len;
	struct config_error mistake = {};
	int result = CLI_FAILED;
	FILE *out = open_memstream(&config, &config_len);
	FILE *warn = open_memstream(&warnings, &warnings_len);
	bool made = out != NULL && warn != NULL;
	int error = made ? import_wg(in, cli->arg[0], key_file, out, warn, &mistake) : -ENOMEM;
	if (out != NULL)
		fclose(out);
	if (warn != NULL)
		fclose(warn);
	if (made && error < 0)
		check_failed(cli, &mistake);
	json_t *json =
		error == 0 ? json_pack("{s:s, s:s}", "config", config, "warnings", warnings) : NULL;
	if (json != NULL) {
		json_dumpf(json, cli->out, JSON_COMPACT);
		fputc('\n', cli->out);
		json_decref(json);
		result = CLI_OK;
	}
	free(config);
	free(warnings);
	return result;
}

static int import_text(const struct cli *cli, FILE *in, const char *output, const char *key_file)
{
	struct config_error mistake = {};
	FILE *out = cli->out;
	if (output != NULL) {
		int fd = open(output, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		out = fd >= 0 ? fdopen(fd, "w") : NULL;
		if (out == NULL)
			return cli_fail(cli, "import: cannot make %s: %s", output, strerror(errno));
	}
	int error = import_wg(in, cli->arg[0], key_file, out, stderr, &mistake);
	int written = output != NULL ? fclose(out) : fflush(out);
	if (error < 0 || written != 0) {
		int reason = errno;
		if (output != NULL)
			unlink(output);
		return error < 0 ? check_failed(cli, &mistake)
				 : cli_fail(cli, "import: cannot write: %s", strerror(reason));
	}
	return CLI_OK;
}

int cmd_import(const struct cli *cli)
{
	const char *output = cli_option(cli, "--output"), *key_file = cli_option(cli, "--key-file");
	if (sodium_init() < 0)
		return cli_fail(cli, "import: libsodium does not start");
	FILE *in = fopen(cli->arg[0], "re");
	if (in == NULL)
		return cli_fail(cli, "import: cannot read %s: %s", cli->arg[0], strerror(errno));
	int result = cli->json && output == NULL ? import_json(cli, in, key_file)
						 : import_text(cli, in, output, key_file);
	fclose(in);
	return result;
}
