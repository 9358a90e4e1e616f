// 'ping': the tailscale command's words and exit codes.
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "control/cli/ipn.h"
#include "control/cli/localapi.h"
#include "control/cli/target.h"
#include "control/cli/values.h"

enum {
	PINGS = 10,
	PINGS_MAX = 1000000000,
	TIMEOUT_MS = 5000,
	SIZE_MAX_BYTES = 1000000000, // the daemon knows how much is too much
	PATH_ROOM = 512,
};

struct ping {
	const struct cli *cli;
	char ip[TARGET_IP_LEN];
	const char *type; // "disco"
	unsigned count, timeout_ms, size, sent;
	bool until_direct, once;
	bool any_pong;
};

enum outcome {
	GO_ON,
	ENDED,	// well
	FAILED, // the reason is told
};

// 0, -ETIMEDOUT, or another of client_request with a line in err.
static int ask(const struct ping *p, json_t **out, char err[static CLI_ERROR_LEN])
{
	char path[PATH_ROOM] = LOCALAPI "ping", size[16], *answer;
	snprintf(size, sizeof(size), "%u", p->size);
	if (!client_param(path, sizeof(path), "ip", p->ip) ||
		!client_param(path, sizeof(path), "size", size) ||
		!client_param(path, sizeof(path), "type", p->type)) {
		snprintf(err, CLI_ERROR_LEN, "an argument is too long");
		return -EINVAL;
	}
	struct client_request request = {.socket = p->cli->socket,
		.method = "POST",
		.path = path,
		.timeout_ms = p->timeout_ms};
	int error = client_whole(&request, &answer, err);
	if (error < 0)
		return error;
	*out = json_loads(answer, 0, NULL);
	free(answer);
	if (*out != NULL)
		return 0;
	snprintf(err, CLI_ERROR_LEN, "the daemon's answer is no JSON");
	return -EPROTO;
}

static void print_pong(const struct ping *p, json_t *pong)
{
	if (p->cli->json) {
		(void)cli_print_json(p->cli, json_incref(pong), JSON_COMPACT);
		return;
	}
	ipn_show_pong(p->cli->out, pong, p->type);
	fflush(p->cli->out); // each as it comes, into a pipe as well
}

static enum outcome failed(const struct ping *p, const char *why)
{
	cli_fail_plain(p->cli, "%s", why);
	return FAILED;
}

static enum outcome take_pong(struct ping *p, json_t *pong)
{
	ipn_clean(pong);
	const char *why = show_text(pong, "Err");
	if (*why != '\0') {
		if (!json_is_true(json_object_get(pong, "IsLocalIP")))
			return failed(p, why);
		fprintf(p->cli->out, "%s\n", why);
		return ENDED;
	}
	p->any_pong = true;
	print_pong(p, pong);
	if (p->once || (p->until_direct && *show_text(pong, "Endpoint") != '\0'))
		return ENDED;
	sleep(1);
	if (p->sent < p->count || p->count == 0)
		return GO_ON;
	return p->until_direct ? failed(p, "direct connection not established") : ENDED;
}

static enum outcome ping_once(struct ping *p)
{
	char err[CLI_ERROR_LEN];
	json_t *pong = NULL;
	p->sent++;
	int error = ask(p, &pong, err);
	if (error == -ETIMEDOUT) {
		if (!p->cli->json)
			fprintf(p->cli->out, "ping \"%s\" timed out\n", p->ip);
		fflush(p->cli->out);
		if (p->sent != p->count)
			return GO_ON;
		return p->any_pong ? ENDED : failed(p, "no reply");
	}
	if (error < 0) {
		cli_fail(p->cli, "%s", err);
		return FAILED;
	}
	enum outcome outcome = take_pong(p, pong);
	json_decref(pong);
	return outcome;
}

// False: told why.
static bool read_options(const struct cli *cli, struct ping *p)
{
	const char *count = cli_option(cli, "-c"), *timeout = cli_option(cli, "--timeout");
	const char *size = cli_option(cli, "--size");
	bool tsmp = cli_switch(cli, "--tsmp", false), icmp = cli_switch(cli, "--icmp", false);
	bool peerapi = cli_switch(cli, "--peerapi", false);
	*p = (struct ping){.cli = cli,
		.count = PINGS,
		.timeout_ms = TIMEOUT_MS,
		.type = tsmp	  ? "TSMP"
			: icmp	  ? "ICMP"
			: peerapi ? "peerapi"
				  : "disco",
		.once = tsmp || icmp || peerapi,
		.until_direct = cli_switch(cli, "--until-direct", true)};
	if (count != NULL && value_number(count, PINGS_MAX, &p->count) < 0)
		cli_fail(cli, "ping: -c takes a number, 0 for no end");
	else if (timeout != NULL &&
		 (value_duration(timeout, &p->timeout_ms) < 0 || p->timeout_ms == 0))
		cli_fail(cli, "ping: --timeout takes a time like 5s or 500ms");
	else if (size != NULL && value_number(size, SIZE_MAX_BYTES, &p->size) < 0)
		cli_fail(cli, "ping: --size takes a number of bytes");
	else if (tsmp + icmp + peerapi > 1)
		cli_fail(cli, "ping: --tsmp, --icmp and --peerapi exclude each other");
	else
		return true;
	return false;
}

int cmd_ping(const struct cli *cli)
{
	struct ping ping;
	char err[CLI_ERROR_LEN], description[IPN_DESCRIPTION_LEN];
	json_t *status;
	bool self;
	if (!read_options(cli, &ping))
		return CLI_USAGE;
	if (localapi_status(cli, true, &status, err) < 0)
		return cli_fail(cli, "%s", err);
	int result = CLI_FAILED;
	enum outcome outcome = GO_ON;
	if (!ipn_is_up(status, description))
		fprintf(cli->out, "%s\n", description);
	else if (target_find(status, cli->arg[0], ping.ip, &self, err) < 0)
		cli_fail_plain(cli, "%s", err);
	else if (self) {
		fprintf(cli->out, "%s is local Tailscale IP\n", ping.ip);
		result = CLI_OK;
	} else {
		if (cli_switch(cli, "--verbose", false) && strcmp(ping.ip, cli->arg[0]) != 0)
			fprintf(stderr, "lookup \"%s\" => \"%s\"\n", cli->arg[0], ping.ip);
		while (outcome == GO_ON)
			outcome = ping_once(&ping);
		result = outcome == ENDED ? CLI_OK : CLI_FAILED;
	}
	json_decref(status);
	return result;
}
