// 'nat': the address translation and its flows.
#include <errno.h>

#include "control/cli/client.h"
#include "control/cli/format.h"
#include "control/cli/show.h"
#include "control/cli/table.h"
#include "control/cli/values.h"

#define PATH "/tailgate/v0/nat"

enum {
	ASK_S = 30,
	FLOWS_SHOWN = 100, // unless asked for more
};

static json_int_t number(const json_t *o, const char *name)
{
	return json_integer_value(json_object_get(o, name));
}

static const char *protocol_name(json_int_t protocol, char text[static 12])
{
	switch (protocol) {
	case 1:
	case 58:
		return "icmp";
	case 6:
		return "tcp";
	case 17:
		return "udp";
	default:
		snprintf(text, 12, "%u", (unsigned)protocol);
		return text;
	}
}

static void show_head(FILE *out, const json_t *answer)
{
	const json_t *config = json_object_get(answer, "config");
	const json_t *totals = json_object_get(answer, "totals");
	const char *key;
	json_t *w, *value;
	size_t i;
	if (json_is_null(config))
		fputs("nothing is translated: this node advertises no routes\n", out);
	else
		fprintf(out, "%s, %s, ports %lld-%lld, at most %lld flows of a client\n",
			json_is_true(json_object_get(config, "snat"))
				? "what leaves gets an address of ours"
				: "tailnet addresses are kept (--snat-subnet-routes=false)",
			json_is_true(json_object_get(config, "endpoint_independent"))
				? "endpoint-independent"
				: "endpoint-dependent",
			number(config, "port_first"), number(config, "port_last"),
			number(config, "client_flows"));
	json_array_foreach(json_object_get(answer, "workers"), i, w)
	{
		fprintf(out, "worker %lld: %lld of %lld flows", number(w, "worker"),
			number(w, "flows"), number(w, "bound"));
		json_object_foreach(json_object_get(w, "classes"), key, value)
		{
			if (json_integer_value(value) > 0)
				fprintf(out, ", %s %lld", key, json_integer_value(value));
		}
		fputc('\n', out);
	}
	json_object_foreach((json_t *)(uintptr_t)totals, key, value)
	{
		if (json_integer_value(value) > 0)
			fprintf(out, "%s: %lld\n", key, json_integer_value(value));
	}
}

static void put_flow(FILE *f, const json_t *flow)
{
	char protocol[12], in[FORMAT_LEN], out[FORMAT_LEN], idle[VALUE_TEXT_LEN];
	const json_t *inside = json_object_get(flow, "inside");
	const json_t *outside = json_object_get(flow, "outside");
	fprintf(f, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n",
		protocol_name(number(flow, "protocol"), protocol), show_text(inside, "local"),
		show_text(inside, "remote"), show_text(outside, "local"),
		show_text(outside, "remote"), show_text(flow, "class"),
		value_seconds(json_number_value(json_object_get(flow, "idle_s")), idle),
		format_bytes((double)number(flow, "bytes_out"), out),
		format_bytes((double)number(flow, "bytes_in"), in));
}

static int show_flows(const struct cli *cli, const json_t *flows, bool more)
{
	char *text = NULL;
	size_t len, i;
	json_t *flow;
	FILE *f = open_memstream(&text, &len);
	if (f == NULL)
		return cli_fail(cli, "out of memory");
	fputs("Protocol\tClient\tTo\tAs\tFor\tState\tIdle\tOut\tIn\n", f);
	json_array_foreach(flows, i, flow) put_flow(f, flow);
	fclose(f);
	bool ok = json_array_size(flows) == 0 || table_print(cli->out, text, 4, 2);
	free(text);
	if (more)
		fputs("and more: --limit shows them, --client those of one\n", cli->out);
	return ok && fflush(cli->out) == 0 ? CLI_OK : cli_fail(cli, "out of memory");
}

// One page; its flows are added to all, up to limit. False: said why.
static bool page(const struct cli *cli, json_int_t *next, json_t *all, size_t limit, json_t **last)
{
	char path[256] = PATH, from[24], err[CLI_ERROR_LEN];
	size_t i;
	json_t *flow;
	snprintf(from, sizeof(from), "%lld", *next);
	if (!client_param(path, sizeof(path), "client", cli_option(cli, "--client")) ||
		!client_param(path, sizeof(path), "next", *next ? from : NULL)) {
		cli_fail(cli, "nat: an argument is too long");
		return false;
	}
	if (client_json(cli->socket, "GET", path, ASK_S, last, err) < 0) {
		cli_fail(cli, "%s", err);
		return false;
	}
	*next = number(*last, "next");
	json_array_foreach(json_object_get(*last, "flows"), i, flow)
	{
		if (json_array_size(all) == limit)
			*next = -1;
		else
			json_array_append(all, flow);
	}
	return true;
}

int cmd_nat(const struct cli *cli)
{
	unsigned limit = FLOWS_SHOWN;
	const char *text = cli_option(cli, "--limit");
	if (text != NULL && value_number(text, 10000000, &limit) < 0) {
		cli_fail(cli, "nat: --limit takes a number up to 10000000");
		return CLI_USAGE;
	}
	json_t *all = json_array(), *answer = NULL;
	json_int_t next = 0;
	do {
		json_decref(answer);
		if (!page(cli, &next, all, limit, &answer)) {
			json_decref(all);
			return CLI_FAILED;
		}
	} while (next > 0 && json_array_size(all) < limit);
	if (cli->json) {
		json_object_set_new(answer, "flows", all);
		json_object_set_new(answer, "next", json_boolean(next != 0));
		return cli_print_json(cli, answer, JSON_INDENT(2));
	}
	show_head(cli->out, answer);
	int result = show_flows(cli, all, next != 0);
	json_decref(answer);
	json_decref(all);
	return result;
}
