// 'explain': which rule of the tailnet's policy lets something in, or why none does.
#include <netinet/in.h>
#include <stdlib.h>
#include <strings.h>

#include "control/cli/client.h"
#include "control/cli/ipn.h"
#include "control/cli/localapi.h"
#include "control/cli/show.h"
#include "control/cli/target.h"

#define API "/tailgate/v0/explain"

enum {
	ASK_S = 30,
	PATH_ROOM = 512,
	DENIED = 1,
	NOT_ASKED = 2, // the daemon has no answer
	PROTOCOLS = 255,
	PORTS = 65535,
};

static const struct {
	const char *name;
	uint8_t v4, v6;
} protocols[] = {
	{"tcp", IPPROTO_TCP, IPPROTO_TCP},
	{"udp", IPPROTO_UDP, IPPROTO_UDP},
	{"sctp", IPPROTO_SCTP, IPPROTO_SCTP},
	{"icmp", IPPROTO_ICMP, IPPROTO_ICMPV6},
	{"gre", IPPROTO_GRE, IPPROTO_GRE},
	{"esp", IPPROTO_ESP, IPPROTO_ESP},
};

static bool number_of(const char *text, unsigned long max, unsigned long *out)
{
	char *end;
	*out = strtoul(text, &end, 10);
	return *text >= '0' && *text <= '9' && *end == '\0' && *out <= max;
}

static bool protocol_of(const char *text, bool v6, unsigned long *out)
{
	for (unsigned i = 0; i < sizeof(protocols) / sizeof(protocols[0]); i++) {
		if (strcasecmp(text, protocols[i].name) == 0) {
			*out = v6 ? protocols[i].v6 : protocols[i].v4;
			return true;
		}
	}
	return number_of(text, PROTOCOLS, out);
}

static bool needs_port(unsigned long proto)
{
	return proto == IPPROTO_TCP || proto == IPPROTO_UDP || proto == IPPROTO_SCTP;
}

static int usage(const struct cli *cli, const char *what)
{
	cli_fail(cli, "explain: %s", what);
	return CLI_USAGE;
}

// The request's path. CLI_OK, CLI_USAGE or NOT_ASKED, told.
static int path_of(const struct cli *cli, char path[static PATH_ROOM])
{
	char src[TARGET_IP_LEN], dst[TARGET_IP_LEN], err[CLI_ERROR_LEN], text[24];
	unsigned long proto = IPPROTO_TCP, port = 0;
	json_t *status;
	bool self;
	if (localapi_status(cli, true, &status, err) < 0) {
		cli_fail(cli, "%s", err);
		return NOT_ASKED;
	}
	bool found = target_find(status, cli->arg[0], src, &self, err) == 0 &&
		     target_find(status, cli->arg[1], dst, &self, err) == 0;
	json_decref(status);
	if (!found)
		return usage(cli, err);
	if (!protocol_of(cli->arg[2], strchr(dst, ':') != NULL, &proto))
		return usage(cli, "PROTO is tcp, udp, icmp, sctp, gre, esp or a number up to 255");
	if (needs_port(proto) != (cli->n_args == 4))
		return usage(cli, "PORT is needed for tcp, udp and sctp, and for nothing else");
	if (cli->n_args == 4 && !number_of(cli->arg[3], PORTS, &port))
		return usage(cli, "PORT is a number up to 65535");
	snprintf(path, PATH_ROOM, API);
	client_param(path, PATH_ROOM, "src", src);
	client_param(path, PATH_ROOM, "dst", dst);
	snprintf(text, sizeof(text), "%lu", proto);
	client_param(path, PATH_ROOM, "proto", text);
	snprintf(text, sizeof(text), "%lu", port);
	client_param(path, PATH_ROOM, "port", text);
	return CLI_OK;
}

static void show_rule(FILE *out, const json_t *rule, bool allowed)
{
	const char *destination = show_text(rule, "destination");
	if (!json_is_object(rule))
		return;
	fprintf(out, "  %s: number %.0f of filter '%s', from %s%s%s\n",
		allowed ? "rule" : "nearest rule", show_number(rule, "number"),
		show_text(rule, "filter"), show_text(rule, "source"),
		*destination != '\0' ? " to " : "", destination);
}

// The addresses of an array, of which a client gets one.
static void show_one_of(FILE *out, const json_t *addresses)
{
	size_t i;
	json_t *address;
	json_array_foreach(addresses, i, address)
		fprintf(out, "%s%s", i > 0 ? " or " : " ", json_string_value(address));
}

static void show_way(FILE *out, const json_t *way)
{
	const json_t *to = json_object_get(way, "to"), *from = json_object_get(way, "from");
	const char *how = show_text(way, "translation"), *port = show_text(way, "port");
	if (*how != '\0') {
		fputs("  translated: to", out);
		show_one_of(out, to);
		fprintf(out, "%s (%s)\n", json_array_size(to) > 0 ? "" : " nothing", how);
	}
	fprintf(out, "  way: %s%s%s\n", show_text(way, "route"), *port != '\0' ? " " : "", port);
	if (!json_is_array(from))
		return;
	fputs("  leaves as:", out);
	show_one_of(out, from);
	fputs(json_array_size(from) > 0 ? "\n" : " nothing: no address, see nat_addresses\n", out);
}

static void show_routes(FILE *out, const json_t *routes)
{
	size_t i;
	json_t *route;
	fputs("  advertised:", out);
	json_array_foreach(routes, i, route)
		fprintf(out, "%s %s", i > 0 ? "," : "", json_string_value(route));
	fputs(i > 0 ? "\n" : " nothing\n", out);
}

static void show(FILE *out, const json_t *answer)
{
	bool allowed = json_is_true(json_object_get(answer, "allowed"));
	const json_t *peer = json_object_get(answer, "peer");
	fprintf(out, "%s: %s\n", allowed ? "allowed" : "denied", show_text(answer, "why"));
	fprintf(out, "  peer: %s\n", json_is_object(peer) ? show_text(peer, "name") : "none");
	show_rule(out, json_object_get(answer, "rule"), allowed);
	if (strcmp(show_text(answer, "verdict"), "not_local") == 0)
		show_routes(out, json_object_get(answer, "routes"));
	show_way(out, json_object_get(answer, "way"));
}

int cmd_explain(const struct cli *cli)
{
	char path[PATH_ROOM], err[CLI_ERROR_LEN];
	json_t *answer;
	int result = path_of(cli, path);
	if (result != CLI_OK)
		return result;
	if (client_json(cli->socket, "GET", path, ASK_S, &answer, err) < 0) {
		cli_fail(cli, "%s", err);
		return NOT_ASKED;
	}
	result = json_is_true(json_object_get(answer, "allowed")) ? CLI_OK : DENIED;
	if (cli->json)
		return cli_print_json(cli, answer, JSON_INDENT(2)) == CLI_OK ? result : NOT_ASKED;
	ipn_clean(answer);
	show(cli->out, answer);
	json_decref(answer);
	return fflush(cli->out) == 0 ? result : NOT_ASKED;
}
