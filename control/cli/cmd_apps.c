// 'appc-routes' and 'services': what the node stands for as an app connector, and hosts.
#include <stdlib.h>

#include "control/cli/client.h"
#include "control/cli/localapi.h"
#include "control/cli/show.h"
#include "control/cli/table.h"

#define API "/tailgate/v0/"

enum { ASK_S = 30 };

struct domain {
	const char *name;
	size_t addresses;
};

// Most addresses first.
static int order(const void *a, const void *b)
{
	const struct domain *x = a, *y = b;
	if (x->addresses != y->addresses)
		return x->addresses > y->addresses ? -1 : 1;
	return strcmp(x->name, y->name);
}

static int show_counts(const struct cli *cli, const json_t *domains)
{
	struct domain *list = calloc(json_object_size(domains) + 1, sizeof(*list));
	size_t n = 0, width = 0;
	const char *name;
	json_t *addrs;
	if (list == NULL)
		return cli_fail(cli, "out of memory");
	json_object_foreach((json_t *)domains, name, addrs)
	{
		list[n++] = (struct domain){name, json_array_size(addrs)};
		width = strlen(name) > width ? strlen(name) : width;
	}
	qsort(list, n, sizeof(*list), order);
	for (size_t i = 0; i < n; i++)
		fprintf(cli->out, "%-*s %zu\n", (int)width, list[i].name, list[i].addresses);
	free(list);
	return CLI_OK;
}

static int show_json(const struct cli *cli, const char *title, const json_t *value, size_t flags)
{
	char *text = value != NULL ? json_dumps(value, flags | JSON_SORT_KEYS) : NULL;
	fprintf(cli->out, "%s%s\n", title, text != NULL ? text : "null");
	free(text);
	return CLI_OK;
}

static int show_number_of_routes(const struct cli *cli)
{
	char err[CLI_ERROR_LEN];
	json_t *answer;
	if (client_json(cli->socket, "GET", API "routes", ASK_S, &answer, err) < 0)
		return cli_fail(cli, "%s", err);
	fprintf(cli->out, "%.0f\n", show_number(answer, "all"));
	json_decref(answer);
	return CLI_OK;
}

static int show(const struct cli *cli, const json_t *info)
{
	const json_t *domains = json_object_get(info, "Domains");
	if (cli_switch(cli, "--map", false))
		return show_json(cli, "", domains, JSON_COMPACT);
	if (!cli_switch(cli, "--all", false))
		return show_counts(cli, domains);
	show_json(cli, "Learned Routes\n==============\n", domains, JSON_INDENT(2));
	return show_json(cli, "\nRoutes from Policy\n==================\n",
		json_object_get(info, "Control"), JSON_INDENT(2));
}

int cmd_appc_routes(const struct cli *cli)
{
	char err[CLI_ERROR_LEN];
	json_t *prefs = NULL, *info = NULL;
	if (localapi_call(cli, "GET", LOCALAPI "prefs", NULL, &prefs, err) < 0)
		return cli_fail(cli, "%s", err);
	bool on =
		json_is_true(json_object_get(json_object_get(prefs, "AppConnector"), "Advertise"));
	json_decref(prefs);
	if (!on && !cli->json) {
		fputs("not a connector\n", cli->out);
		return fflush(cli->out) == 0 ? CLI_OK : CLI_FAILED;
	}
	if (on && cli_switch(cli, "-n", false))
		return show_number_of_routes(cli);
	if (localapi_call(cli, "GET", LOCALAPI "appc-route-info", NULL, &info, err) < 0)
		return cli_fail(cli, "%s", err);
	if (cli->json)
		return cli_print_json(cli, info, JSON_INDENT(2));
	int result = show(cli, info);
	json_decref(info);
	return fflush(cli->out) == 0 ? result : CLI_FAILED;
}

static void print_list(FILE *f, const json_t *list)
{
	size_t i;
	json_t *text;
	json_array_foreach((json_t *)list, i, text)
		fprintf(f, "%s%s", i > 0 ? ", " : "", json_string_value(text));
}

// A line for each of its ports.
static void print_service(FILE *f, const json_t *service)
{
	const json_t *serves = json_object_get(service, "serves");
	const json_t *addrs = json_object_get(service, "addresses");
	bool active = json_is_true(json_object_get(service, "active"));
	size_t n = json_array_size(serves);
	for (size_t i = 0; i < (n > 0 ? n : 1); i++) {
		const json_t *one = json_array_get(serves, i);
		fprintf(f, "%s\t", show_text(service, "name"));
		print_list(f, addrs);
		fprintf(f, "\t%s\t", show_text(one, "ports"));
		print_list(f, json_object_get(one, "backends"));
		fprintf(f, "\t%s\n",
			json_array_size(addrs) == 0
				? "no address: define it at the coordination server, and approve "
				  "this node as its host"
			: n == 0  ? "leads nowhere: see services in tailgate.conf"
			: !active ? "draining"
				  : "");
	}
}

int cmd_services(const struct cli *cli)
{
	char err[CLI_ERROR_LEN], *text = NULL;
	size_t len, i;
	json_t *answer, *service;
	if (client_json(cli->socket, "GET", API "services", ASK_S, &answer, err) < 0)
		return cli_fail(cli, "%s", err);
	if (cli->json)
		return cli_print_json(cli, answer, JSON_INDENT(2));
	FILE *f = open_memstream(&text, &len);
	if (f == NULL) {
		json_decref(answer);
		return cli_fail(cli, "out of memory");
	}
	fputs("Service\tAddresses\tPorts\tBackends\tWhy\n", f);
	json_array_foreach(json_object_get(answer, "services"), i, service)
		print_service(f, service);
	fclose(f);
	if (i == 0)
		fputs("No services: see services in tailgate.conf.\n", cli->out);
	bool ok = i == 0 || table_print(cli->out, text, 8, 2);
	free(text);
	json_decref(answer);
	return ok && fflush(cli->out) == 0 ? CLI_OK : cli_fail(cli, "out of memory");
}
