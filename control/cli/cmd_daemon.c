// Commands that ask the daemon and show its answer.
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "control/cli/client.h"
#include "control/cli/show.h"

enum {
	TIMEOUT_S = 30,
	TRACE_TIMEOUT_S = 10, // the daemon's default
	PATH_ROOM = 512,
};

#define API "/tailgate/v0/"

static void print_json(const struct cli *cli, const json_t *json, size_t flags)
{
	json_dumpf(json, cli->out, flags);
	fputc('\n', cli->out);
}

// A decimal number of an option, or otherwise; false: it is none from 1 to max.
static bool read_number(const char *text, unsigned otherwise, unsigned max, unsigned *out)
{
	char *end;
	*out = otherwise;
	if (text == NULL)
		return true;
	unsigned long value = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9' || *end != '\0' || value < 1 || value > max)
		return false;
	*out = (unsigned)value;
	return true;
}

int cmd_stats(const struct cli *cli)
{
	char err[CLI_ERROR_LEN];
	json_t *stats;
	if (client_json(cli->socket, "GET", API "stats", TIMEOUT_S, &stats, err) < 0)
		return cli_fail(cli, "%s", err);
	if (cli->json)
		print_json(cli, stats, JSON_INDENT(2));
	else
		show_stats(cli->out, stats, cli_switch(cli, "--all", false));
	json_decref(stats);
	return CLI_OK;
}

// One report of what happened since the last.
static int top_report(const struct cli *cli, const json_t *before, const json_t *after, bool tty)
{
	json_t *rates = top_rates(before, after);
	if (rates == NULL)
		return cli_fail(cli, "out of memory");
	if (cli->json) {
		print_json(cli, rates, JSON_COMPACT);
	} else {
		if (tty)
			fputs("\033[H\033[2J", cli->out); // to the corner, clear
		show_top(cli->out, rates);
		if (!tty)
			fputc('\n', cli->out);
	}
	json_decref(rates);
	return fflush(cli->out) == 0 ? CLI_OK : CLI_FAILED;
}

int cmd_top(const struct cli *cli)
{
	char err[CLI_ERROR_LEN];
	unsigned count, interval;
	json_t *before = NULL, *after;
	int result = CLI_OK;
	bool tty = isatty(fileno(cli->out));
	if (!read_number(cli_option(cli, "-n"), UINT32_MAX, UINT32_MAX, &count) ||
		!read_number(cli_option(cli, "--interval"), 1, 86400, &interval)) {
		cli_fail(cli, "top: -n and --interval take a number from 1");
		return CLI_USAGE;
	}
	for (unsigned i = 0; i <= count && result == CLI_OK; i++) {
		if (i > 0)
			sleep(interval);
		if (client_json(cli->socket, "GET", API "top", TIMEOUT_S, &after, err) < 0) {
			result = cli_fail(cli, "%s", err);
			break;
		}
		if (before != NULL)
			result = top_report(cli, before, after, tty);
		json_decref(before);
		before = after;
	}
	json_decref(before);
	return result;
}

int cmd_trace(const struct cli *cli)
{
	char err[CLI_ERROR_LEN], path[PATH_ROOM] = API "trace";
	unsigned timeout_s;
	json_t *trace;
	const char *timeout = cli_option(cli, "--timeout");
	if (!read_number(timeout, TRACE_TIMEOUT_S, 300, &timeout_s)) {
		cli_fail(cli, "trace: --timeout takes 1 to 300 seconds");
		return CLI_USAGE;
	}
	if (!client_param(path, sizeof(path), "packets", cli->arg[0]) ||
		!client_param(path, sizeof(path), "worker", cli_option(cli, "--worker")) ||
		!client_param(path, sizeof(path), "timeout", timeout))
		return cli_fail(cli, "trace: an argument is too long");
	if (client_json(cli->socket, "POST", path, timeout_s + TIMEOUT_S, &trace, err) < 0)
		return cli_fail(cli, "%s", err);
	if (cli->json)
		print_json(cli, trace, JSON_INDENT(2));
	else
		show_trace(cli->out, trace);
	json_decref(trace);
	return CLI_OK;
}

// A request that is answered with success or with the reason why not.
static int ask(const struct cli *cli, const char *path, const char *done)
{
	char err[CLI_ERROR_LEN];
	json_t *json;
	if (client_json(cli->socket, "POST", path, TIMEOUT_S, &json, err) < 0)
		return cli_fail(cli, "%s", err);
	if (cli->json)
		print_json(cli, json, JSON_COMPACT);
	else
		fprintf(cli->out, "%s\n", done);
	json_decref(json);
	return CLI_OK;
}

int cmd_reload(const struct cli *cli)
{
	return ask(cli, API "reload", "reloaded");
}

int cmd_stop(const struct cli *cli)
{
	return ask(cli, API "stop", "stopping");
}

int cmd_metrics(const struct cli *cli)
{
	char err[CLI_ERROR_LEN], *text;
	if (client_text(cli->socket, "GET", API "metrics", TIMEOUT_S, &text, err) < 0)
		return cli_fail(cli, "%s", err);
	json_t *json = cli->json ? json_pack("{s:s}", "metrics", text) : NULL;
	if (json != NULL)
		print_json(cli, json, JSON_COMPACT);
	else
		fputs(text, cli->out);
	json_decref(json);
	free(text);
	return CLI_OK;
}
