// Commands about the node that ask once: down, logout, ip, whois, exit-node.
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "control/cli/ipn.h"
#include "control/cli/localapi.h"
#include "control/cli/target.h"

enum { PATH_ROOM = 512 };

// What stays to be told of a call that went well.
static int done(const struct cli *cli)
{
	return cli->json ? cli_print_json(cli, json_pack("{s:b}", "ok", true), JSON_COMPACT)
			 : CLI_OK;
}

int cmd_down(const struct cli *cli)
{
	char err[CLI_ERROR_LEN];
	json_t *status;
	if (localapi_status(cli, false, &status, err) < 0)
		return cli_fail(cli, "%s", err);
	bool stopped = strcmp(show_text(status, "BackendState"), "Stopped") == 0;
	json_decref(status);
	if (stopped)
		fputs("Tailscale was already stopped.\n", stderr);
	else if (localapi_call(cli, "PATCH", LOCALAPI "prefs",
			 json_pack("{s:b, s:b}", "WantRunning", false, "WantRunningSet", true),
			 NULL, err) < 0)
		return cli_fail(cli, "%s", err);
	return done(cli);
}

int cmd_logout(const struct cli *cli)
{
	char err[CLI_ERROR_LEN];
	if (localapi_call(cli, "POST", LOCALAPI "logout", NULL, NULL, err) < 0)
		return cli_fail(cli, "%s", err);
	return done(cli);
}

// --- ip

// The node of the argument, ourselves without one. NULL: told why.
static const json_t *ip_node(const struct cli *cli, const json_t *status)
{
	char err[CLI_ERROR_LEN], ip[TARGET_IP_LEN];
	struct ip_addr address;
	const json_t *node = NULL;
	bool self;
	if (cli->n_args == 0)
		return status;
	if (target_find(status, cli->arg[0], ip, &self, err) < 0) {
		cli_fail_plain(cli, "%s", err);
		return NULL;
	}
	if (ip_addr_parse(ip, &address) == 0)
		node = ipn_find_ip(status, &address);
	if (node == NULL)
		cli_fail_plain(cli, "no peer or service found with IP %s", ip);
	return node;
}

static int ip_assert(const struct cli *cli, const json_t *status, const char *wanted)
{
	size_t i;
	json_t *text;
	char all[256] = "";
	json_array_foreach(json_object_get(status, "TailscaleIPs"), i, text)
	{
		size_t n = strlen(all);
		const char *ip = json_is_string(text) ? json_string_value(text) : "";
		if (strcmp(ip, wanted) == 0)
			return CLI_OK;
		snprintf(all + n, sizeof(all) - n, "%s%s", i > 0 ? " " : "", ip);
	}
	return cli_fail_plain(
		cli, "assertion failed: IP \"%.60s\" not found among [%s]", wanted, all);
}

// The addresses of the wanted family, or the first one.
static json_t *ip_list(const json_t *node, bool first, bool v4, bool v6)
{
	size_t i;
	json_t *text, *list = json_array();
	json_array_foreach(json_object_get(node, "TailscaleIPs"), i, text)
	{
		bool is_v6 = json_is_string(text) && strchr(json_string_value(text), ':') != NULL;
		if (json_is_string(text) && (is_v6 ? v6 : v4))
			json_array_append(list, text);
		if (first)
			break;
	}
	return list;
}

static int ip_print(const struct cli *cli, const json_t *status, const json_t *node)
{
	bool first = cli_switch(cli, "-1", false), v4 = cli_switch(cli, "-4", false),
	     v6 = cli_switch(cli, "-6", false);
	size_t i;
	json_t *text;
	if (json_array_size(json_object_get(node, "TailscaleIPs")) == 0)
		return cli_fail_plain(cli, "no current Tailscale IPs; state: %s",
			show_text(status, "BackendState"));
	json_t *list = ip_list(node, first, v4 || !v6, v6 || !v4);
	bool none = json_array_size(list) == 0;
	if (cli->json && !none)
		return cli_print_json(cli, list, JSON_COMPACT);
	json_array_foreach(list, i, text) fprintf(cli->out, "%s\n", json_string_value(text));
	json_decref(list);
	return none ? cli_fail_plain(cli, "no Tailscale IPv%c address", v6 ? '6' : '4') : CLI_OK;
}

int cmd_ip(const struct cli *cli)
{
	char err[CLI_ERROR_LEN];
	json_t *status;
	const char *wanted = cli_option(cli, "--assert");
	if (cli_switch(cli, "-1", false) + cli_switch(cli, "-4", false) +
			cli_switch(cli, "-6", false) >
		1) {
		cli_fail(cli, "ip: -1, -4 and -6 are mutually exclusive");
		return CLI_USAGE;
	}
	if (localapi_status(cli, true, &status, err) < 0)
		return cli_fail(cli, "%s", err);
	int result = CLI_FAILED;
	const json_t *node = wanted == NULL ? ip_node(cli, status) : NULL;
	if (wanted != NULL)
		result = ip_assert(cli, status, wanted);
	else if (node != NULL)
		result = ip_print(cli, status, node);
	json_decref(status);
	return result;
}

// --- whois

int cmd_whois(const struct cli *cli)
{
	char err[CLI_ERROR_LEN], path[PATH_ROOM] = LOCALAPI "whois";
	const char *proto = cli_option(cli, "--proto");
	json_t *who;
	if (proto != NULL && strcmp(proto, "tcp") != 0 && strcmp(proto, "udp") != 0) {
		cli_fail(cli, "whois: --proto takes tcp or udp");
		return CLI_USAGE;
	}
	if (!client_param(path, sizeof(path), "addr", cli->arg[0]) ||
		!client_param(path, sizeof(path), "proto", proto))
		return cli_fail(cli, "whois: an argument is too long");
	int error = localapi_call(cli, "GET", path, NULL, &who, err);
	if (error == -ENODATA)
		return cli_fail_plain(cli, "peer not found");
	if (error < 0)
		return cli_fail(cli, "%s", err);
	if (cli->json)
		return cli_print_json(cli, who, JSON_INDENT(2));
	ipn_clean(who);
	bool shown = ipn_show_whois(cli->out, who);
	json_decref(who);
	return shown ? CLI_OK : cli_fail(cli, "out of memory");
}

// --- exit-node

static int exit_node_list(const struct cli *cli)
{
	char err[CLI_ERROR_LEN];
	json_t *status;
	if (localapi_status(cli, true, &status, err) < 0)
		return cli_fail(cli, "%s", err);
	bool shown =
		ipn_show_exit_nodes(cli->out, status, cli_option(cli, "--filter"), time(NULL), err);
	json_decref(status);
	return shown ? CLI_OK : cli_fail_plain(cli, "%s", err);
}

static int exit_node_suggest(const struct cli *cli)
{
	char err[CLI_ERROR_LEN];
	json_t *found;
	if (localapi_call(cli, "GET", LOCALAPI "suggest-exit-node", NULL, &found, err) < 0)
		return cli_fail(cli, "suggest exit node: %s", err);
	if (cli->json)
		return cli_print_json(cli, found, JSON_INDENT(2));
	ipn_clean(found);
	const char *name = show_text(found, "Name");
	if (*show_text(found, "ID") == '\0')
		fputs("No exit node suggestion is available.\n", cli->out);
	else
		fprintf(cli->out,
			"Suggested exit node: %s\nTo accept this suggestion, use `tailgate set "
			"--exit-node=%s`.\n",
			name, name);
	json_decref(found);
	return CLI_OK;
}

int cmd_exit_node(const struct cli *cli)
{
	if (strcmp(cli->arg[0], "list") == 0)
		return exit_node_list(cli);
	if (strcmp(cli->arg[0], "suggest") == 0)
		return exit_node_suggest(cli);
	cli_fail(cli, "exit-node: 'list' or 'suggest', not '%.60s'", cli->arg[0]);
	return CLI_USAGE;
}
