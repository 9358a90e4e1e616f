// The resolver for people: who is asked for what, and how that goes.
#include "control/cli/show.h"

static void show_list(FILE *out, const json_t *list, const char *otherwise)
{
	size_t i;
	json_t *v;

	json_array_foreach(list, i, v)
	{
		fprintf(out, "%s%s", i ? ", " : "",
			json_string_value(v) ? json_string_value(v) : "");
	}
	fputs(i ? "\n" : otherwise, out);
}

static void show_host(FILE *out, const json_t *dns)
{
	const json_t *host = json_object_get(dns, "host");
	const char *by = show_text(host, "asks_us_by");

	if (strcmp(by, "off") == 0)
		fputs("This machine does not ask the tailnet's resolver (--accept-dns=false, or "
		      "the "
		      "tailnet is down).\n",
			out);
	else if (strcmp(by, "failed") == 0)
		fprintf(out, "This machine should ask the tailnet's resolver, but does not: %s\n",
			show_text(host, "why"));
	else
		fprintf(out, "This machine asks the tailnet's resolver, by %s.\n", by);
	fputs("Its own nameservers: ", out);
	show_list(out, json_object_get(host, "nameservers"), "none\n");
}

static void show_listeners(FILE *out, const json_t *dns)
{
	size_t i;
	json_t *l;

	json_array_foreach(json_object_get(dns, "listen"), i, l)
	{
		const char *error = show_text(l, "error");
		fprintf(out, "  %-32s  for %s: ", show_text(l, "address"),
			json_is_true(json_object_get(l, "service")) ? "this machine" : "the LAN");
		if (*error)
			fprintf(out, "not yet (%s)\n", error);
		else
			fprintf(out, "%.0f by UDP, %.0f by TCP\n", show_number(l, "udp"),
				show_number(l, "tcp"));
	}
}

static void show_routes(FILE *out, const json_t *dns)
{
	size_t i;
	json_t *r;

	json_array_foreach(json_object_get(dns, "routes"), i, r)
	{
		fprintf(out, "  %-32s  ", show_text(r, "suffix"));
		show_list(out, json_object_get(r, "resolvers"),
			json_is_true(json_object_get(r, "local")) ? "the tailnet's own names\n"
								  : "nobody\n");
	}
	fprintf(out, "  %-32s  ", "everything else");
	show_list(out, json_object_get(dns, "resolvers"), "nobody\n");
}

static void show_servers(FILE *out, const json_t *dns)
{
	size_t i;
	json_t *s;

	json_array_foreach(json_object_get(dns, "servers"), i, s)
	{
		fprintf(out, "  %-32s  asked %.0f, answered %.0f", show_text(s, "resolver"),
			show_number(s, "asked"), show_number(s, "answered"));
		if (show_number(s, "answered") > 0)
			fprintf(out, ", last by %s in %.0f ms", show_text(s, "by"),
				show_number(s, "latency_ms"));
		if (show_number(s, "silent") > 0)
			fprintf(out, "; last failure: %s", show_text(s, "why"));
		fputc('\n', out);
	}
}

void show_dns(FILE *out, const json_t *dns)
{
	const json_t *cache = json_object_get(dns, "cache");
	const json_t *counters = json_object_get(dns, "counters");

	show_host(out, dns);
	fprintf(out, "MagicDNS: %s, %.0f names. Searched: ",
		json_is_true(json_object_get(dns, "magic_dns")) ? "on" : "off",
		show_number(dns, "names"));
	show_list(out, json_object_get(dns, "search"), "nothing\n");
	fputs("\nAnswers at:\n", out);
	show_listeners(out, dns);
	fputs("\nWho is asked:\n", out);
	show_routes(out, dns);
	if (json_array_size(json_object_get(dns, "servers"))) {
		fputs("\nResolvers:\n", out);
		show_servers(out, dns);
	}
	fprintf(out,
		"\nQueries: %.0f of this machine, %.0f of the LAN, %.0f of peers; %.0f answered by "
		"the "
		"tailnet's names, %.0f from the cache of %.0f, %.0f without answer, %.0f refused "
		"as too "
		"many.\n",
		show_number(counters, "host"), show_number(counters, "lan"),
		show_number(counters, "peers"), show_number(counters, "local"),
		show_number(cache, "hits"), show_number(cache, "entries"),
		show_number(counters, "unanswered"),
		show_number(counters, "busy") + show_number(counters, "client_busy"));
}
