// 'routes' and 'drain': the networks that this node stands for, and handing them over.
#include <errno.h>
#include <time.h>
#include <unistd.h>

#include "control/cli/client.h"
#include "control/cli/show.h"
#include "control/cli/table.h"
#include "control/cli/values.h"

#define API "/tailgate/v0/"

enum {
	ASK_S = 30,
	DRAIN_MS = 10000,
	KNOWN_MS = 3000,  // for the answer to our own change
	SETTLE_MS = 2000, // until peers have heard of their new router
	POLL_US = 50000,
};

static bool is_exit(const json_t *route)
{
	const char *text = show_text(route, "route");
	return strcmp(text, "0.0.0.0/0") == 0 || strcmp(text, "::/0") == 0;
}

// What a routing daemon adds to the table, and what it finds.
static void show_learned(const struct cli *cli, const json_t *answer)
{
	const json_t *learned = json_object_get(answer, "learned");
	json_int_t held = json_integer_value(json_object_get(learned, "held"));
	json_int_t left_out = json_integer_value(json_object_get(learned, "left_out"));
	if (held > 0)
		fprintf(cli->out,
			"%lld learned ones came and went: each is offered once it has stayed for "
			"30 s.\n",
			(long long)held);
	if (left_out > 0)
		fprintf(cli->out, "%lld learned ones are left out: more than learned_limit.\n",
			(long long)left_out);
	if (json_is_true(json_object_get(answer, "announcing")))
		fputs("The ways into the tailnet are in announce_table.\n", cli->out);
}

static bool show_routes(const struct cli *cli, const json_t *answer)
{
	char *text = NULL;
	size_t len, i;
	json_t *route;
	FILE *f = open_memstream(&text, &len);
	if (f == NULL)
		return false;
	fputs("Route\tFrom\tState\tWhy\n", f);
	json_array_foreach(json_object_get(answer, "routes"), i, route)
	{
		fprintf(f, "%s\t%s\t%s\t%s\n", show_text(route, "route"), show_text(route, "from"),
			show_text(route, "state"), show_text(route, "why"));
	}
	fclose(f);
	unsigned apps = (unsigned)show_number(answer, "apps");
	if (i == 0 && apps == 0)
		fputs("No routes: advertise some with 'tailgate set --advertise-routes=...'.\n",
			cli->out);
	bool ok = i == 0 || table_print(cli->out, text, 10, 2);
	if (apps > 0)
		fprintf(cli->out, "%u of the app connector: see 'tailgate appc-routes'\n", apps);
	free(text);
	show_learned(cli, answer);
	return ok;
}

static void put_vxlan(FILE *f, const json_t *v)
{
	const char *why = show_text(v, "left_because"), *bridge = show_text(v, "bridge");
	const char *underlay = show_text(v, "underlay");
	fprintf(f, "%s\t%.0f\t%.0f\t%s\t%s\t%.0f\t", show_text(v, "name"), show_number(v, "vni"),
		show_number(v, "port"), *underlay ? underlay : "-", *bridge ? bridge : "-",
		show_number(v, "mtu"));
	if (*why)
		fprintf(f, "-\t-\t-\tleft to the kernel: %s\n", why);
	else
		fprintf(f, "%.0f of %.0f\t%.0f\t%.0f\tends here\n", show_number(v, "reached"),
			show_number(v, "remotes"), show_number(v, "neighbours"),
			show_number(v, "routes"));
}

// VXLAN devices of this host: what is routed to their neighbours leaves by them.
static bool show_vxlans(const struct cli *cli, const json_t *vxlans)
{
	char *text = NULL;
	size_t len, i;
	json_t *v;
	if (json_array_size(vxlans) == 0)
		return true;
	FILE *f = open_memstream(&text, &len);
	if (f == NULL)
		return false;
	fputs("VXLAN\tVNI\tPort\tUnderlay\tBridge\tMTU\tRemotes\tNeighbours\tRoutes\tState\n", f);
	json_array_foreach(vxlans, i, v) put_vxlan(f, v);
	fclose(f);
	bool ok = table_print(cli->out, text, 0, 2);
	free(text);
	return ok;
}

static int show(const struct cli *cli, const json_t *answer)
{
	const json_t *routes = json_object_get(answer, "routes"),
		     *vxlans = json_object_get(answer, "vxlans");
	bool ok = !routes || show_routes(cli, answer);
	ok = ok && show_vxlans(cli, vxlans);
	return ok && fflush(cli->out) == 0 ? CLI_OK : cli_fail(cli, "out of memory");
}

static int ask(const struct cli *cli, const char *method, const char *path, json_t **answer)
{
	char err[CLI_ERROR_LEN];
	if (client_json(cli->socket, method, path, ASK_S, answer, err) < 0)
		return cli_fail(cli, "%s", err);
	return CLI_OK;
}

int cmd_routes(const struct cli *cli)
{
	json_t *answer;
	if (ask(cli, "GET", API "routes", &answer) != CLI_OK)
		return CLI_FAILED;
	if (cli->json)
		return cli_print_json(cli, answer, JSON_INDENT(2));
	int result = show(cli, answer);
	json_decref(answer);
	return result;
}

static bool is_true(const json_t *route, const char *name)
{
	return json_is_true(json_object_get(route, name));
}

// A route that nobody else has taken over, or NULL. known: what the server said of us is new enough
// to go by.
static const char *not_taken_over(const json_t *answer, bool known)
{
	size_t i;
	json_t *route;
	json_array_foreach(json_object_get(answer, "routes"), i, route)
	{
		bool ours = !known || is_true(route, "primary") || is_true(route, "approved");
		if (ours && !is_exit(route) && !is_true(route, "taken_over"))
			return show_text(route, "route");
	}
	return NULL;
}

static uint64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

// Until peers are told to send elsewhere.
static int wait_drained(const struct cli *cli, unsigned timeout_ms)
{
	uint64_t begin = now_ms();
	for (;;) {
		json_t *answer;
		if (ask(cli, "GET", API "routes", &answer) != CLI_OK)
			return CLI_FAILED;
		uint64_t ms = now_ms() - begin;
		const char *left = not_taken_over(answer, ms >= KNOWN_MS);
		bool late = left != NULL && ms >= timeout_ms;
		if (late)
			cli_fail(cli,
				"drain: no other node has taken over %s; 'tailgate drain --cancel' "
				"offers it again",
				left);
		json_decref(answer);
		if (left == NULL || late)
			return left == NULL ? CLI_OK : CLI_FAILED;
		usleep(POLL_US);
	}
}

int cmd_drain(const struct cli *cli)
{
	unsigned timeout_ms = DRAIN_MS;
	const char *timeout = cli_option(cli, "--timeout");
	bool cancel = cli_switch(cli, "--cancel", false), stop = cli_switch(cli, "--stop", false);
	json_t *answer;
	if (timeout != NULL && value_duration(timeout, &timeout_ms) < 0) {
		cli_fail(cli, "drain: --timeout takes a time, like 30s");
		return CLI_USAGE;
	}
	if (cancel && stop) {
		cli_fail(cli, "drain: --cancel and --stop exclude each other");
		return CLI_USAGE;
	}
	if (ask(cli, "POST", cancel ? API "drain?on=0" : API "drain?on=1", &answer) != CLI_OK)
		return CLI_FAILED;
	json_decref(answer);
	if (!cancel && wait_drained(cli, timeout_ms) != CLI_OK)
		return CLI_FAILED;
	if (stop) {
		usleep(SETTLE_MS * 1000);
		return cmd_stop(cli);
	}
	if (cli->json)
		fprintf(cli->out, "{\"draining\": %s}\n", cancel ? "false" : "true");
	else
		fputs(cancel ? "routes are offered again\n" : "drained\n", cli->out);
	return fflush(cli->out) == 0 ? CLI_OK : CLI_FAILED;
}
