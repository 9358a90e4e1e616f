// 'dns query' and 'dns status'.
#include <arpa/nameser.h>
#include <ctype.h>
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>

#include "control/cli/ipn.h"
#include "control/cli/localapi.h"
#include "control/cli/show.h"
#include "control/dns/wire.h"

enum { MESSAGE_MAX = 65535 };

// As a part of a URL: names may have anything in them.
static void put_escaped(FILE *f, const char *text)
{
	for (; *text; text++)
		fprintf(f, isalnum((unsigned char)*text) || strchr("-._", *text) ? "%c" : "%%%02X",
			(unsigned char)*text);
}

static char *url_of(const char *name, const char *type)
{
	char *url = NULL;
	size_t len;
	FILE *f = open_memstream(&url, &len);

	if (!f)
		return NULL;
	fputs(LOCALAPI "dns-query?name=", f);
	put_escaped(f, name);
	fputs("&type=", f);
	put_escaped(f, type);
	fclose(f);
	return url;
}

static unsigned number_at(const uint8_t *at)
{
	return (unsigned)at[0] << 8 | at[1];
}

// A name in the data; returns what follows it, NULL: there is none.
static const uint8_t *print_name(FILE *out, const ns_msg *m, const uint8_t *at, const uint8_t *end)
{
	char name[DNS_NAME_LEN];
	const int n = ns_name_uncompress(ns_msg_base(*m), ns_msg_end(*m), at, name, sizeof(name));

	if (n < 0 || n > end - at)
		return NULL;
	fprintf(out, "%s.", strcmp(name, ".") == 0 ? "" : name);
	return at + n;
}

static bool print_texts(FILE *out, const uint8_t *at, const uint8_t *end)
{
	for (; at < end; at += *at + 1) {
		if (*at >= end - at)
			return false;
		fputc('"', out);
		for (unsigned i = 1; i <= *at; i++)
			fprintf(out, isprint(at[i]) && !strchr("\"\\", at[i]) ? "%c" : "\\%03u",
				at[i]);
		fputs(at + *at + 1 < end ? "\" " : "\"", out);
	}
	return true;
}

static bool print_soa(FILE *out, const ns_msg *m, const uint8_t *at, const uint8_t *end)
{
	at = print_name(out, m, at, end);
	if (!at)
		return false;
	fputc(' ', out);
	at = print_name(out, m, at, end);
	for (unsigned i = 0; at && i < 5 && end - at >= 4; i++, at += 4)
		fprintf(out, " %lu", ns_get32(at));
	return at == end;
}

// false: not of a form that is known here.
static bool print_known(FILE *out, const ns_msg *m, const ns_rr *rr)
{
	const uint8_t *at = ns_rr_rdata(*rr), *end = at + ns_rr_rdlen(*rr);
	char text[ADDR_TEXT_LEN];
	struct ip_addr a;

	switch (ns_rr_type(*rr)) {
	case ns_t_a:
	case ns_t_aaaa:
		if (end - at != (ns_rr_type(*rr) == ns_t_a ? 4 : 16))
			return false;
		a = end - at == 4 ? ip_addr_v4(at) : ip_addr_v6(at);
		fputs(ip_addr_format(&a, text), out);
		return true;
	case ns_t_cname:
	case ns_t_ns:
	case ns_t_ptr:
		return print_name(out, m, at, end) != NULL;
	case ns_t_mx:
		if (end - at < 3)
			return false;
		fprintf(out, "%u ", number_at(at));
		return print_name(out, m, at + 2, end) != NULL;
	case ns_t_srv:
		if (end - at < 7)
			return false;
		fprintf(out, "%u %u %u ", number_at(at), number_at(at + 2), number_at(at + 4));
		return print_name(out, m, at + 6, end) != NULL;
	case ns_t_txt:
		return print_texts(out, at, end);
	case ns_t_soa:
		return print_soa(out, m, at, end);
	default:
		return false;
	}
}

// A record in the form of zone files, data of unknown form as RFC 3597 has it.
static void print_record(const struct cli *cli, const ns_msg *m, const ns_rr *rr)
{
	char *data = NULL, type[16];
	size_t len;
	FILE *f = open_memstream(&data, &len);

	if (!f)
		return;
	const bool known = print_known(f, m, rr);
	fclose(f);
	fprintf(cli->out, "%s. %u IN %s ", strcmp(ns_rr_name(*rr), ".") ? ns_rr_name(*rr) : "",
		ns_rr_ttl(*rr) + 0U, dns_type_text(ns_rr_type(*rr), type));
	if (known) {
		fprintf(cli->out, "%s\n", data);
	} else {
		fprintf(cli->out, "\\# %u ", ns_rr_rdlen(*rr) + 0U);
		for (unsigned i = 0; i < ns_rr_rdlen(*rr); i++)
			fprintf(cli->out, "%02x", ns_rr_rdata(*rr)[i]);
		fputc('\n', cli->out);
	}
	free(data);
}

static int print_message(const struct cli *cli, const uint8_t *message, size_t len)
{
	ns_msg m;
	ns_rr rr;

	if (ns_initparse(message, (int)len, &m) < 0)
		return cli_fail(cli, "dns query: the answer is no DNS message");
	fprintf(cli->out, "Response code: %s%s\n\n",
		dns_rcode_text((unsigned)ns_msg_getflag(m, ns_f_rcode)),
		ns_msg_getflag(m, ns_f_aa) ? ", by the tailnet" : "");
	for (int s = ns_s_an; s <= ns_s_ns; s++)
		for (int i = 0; i < ns_msg_count(m, s); i++) {
			if (ns_parserr(&m, s, i, &rr) < 0)
				return cli_fail(cli, "dns query: the answer is damaged");
			if (ns_rr_type(rr) != ns_t_opt)
				print_record(cli, &m, &rr);
		}
	if (ns_msg_count(m, ns_s_an) == 0)
		fputs("No answer of this type.\n", cli->out);
	return fflush(cli->out) == 0 ? CLI_OK : CLI_FAILED;
}

static int print_answer(const struct cli *cli, const json_t *answer)
{
	const char *text = show_text(answer, "Bytes");
	uint8_t *message = malloc(MESSAGE_MAX);
	size_t len = 0, i;
	json_t *resolver;

	if (!message || sodium_base642bin(message, MESSAGE_MAX, text, strlen(text), NULL, &len,
				NULL, sodium_base64_VARIANT_ORIGINAL) < 0) {
		free(message);
		return cli_fail(cli, "dns query: the daemon's answer is no base64");
	}
	json_array_foreach(json_object_get(answer, "Resolvers"), i, resolver)
	{
		fprintf(cli->out, "%s%s", i ? ", " : "Asked: ", show_text(resolver, "Addr"));
	}
	if (i)
		fputc('\n', cli->out);
	const int result = print_message(cli, message, len);
	free(message);
	return result;
}

static int query(const struct cli *cli)
{
	char err[CLI_ERROR_LEN];
	json_t *answer;
	const char *type = cli->n_args > 2 ? cli->arg[2] : "A";

	if (cli->n_args < 2 || !dns_type_read(type)) {
		cli_fail(cli,
			cli->n_args < 2 ? "dns query: which name?"
					: "dns query: %.40s is no type of records; try A, AAAA, "
					  "CNAME, MX, NS, PTR, SRV or TXT",
			type);
		return CLI_USAGE;
	}
	char *url = url_of(cli->arg[1], type);
	if (!url)
		return cli_fail(cli, "out of memory");
	const int error = localapi_call(cli, "GET", url, NULL, &answer, err);
	free(url);
	if (error < 0)
		return cli_fail(cli, "%s", err);
	if (cli->json)
		return cli_print_json(cli, answer, JSON_INDENT(2));
	ipn_clean(answer);
	const int result = print_answer(cli, answer);
	json_decref(answer);
	return result;
}

static int status(const struct cli *cli)
{
	char err[CLI_ERROR_LEN];
	json_t *answer;

	if (cli->n_args > 1) {
		cli_fail(cli, "dns status takes no name");
		return CLI_USAGE;
	}
	if (localapi_call(cli, "GET", "/tailgate/v0/dns", NULL, &answer, err) < 0)
		return cli_fail(cli, "%s", err);
	if (cli->json)
		return cli_print_json(cli, answer, JSON_INDENT(2));
	ipn_clean(answer);
	show_dns(cli->out, answer);
	json_decref(answer);
	return fflush(cli->out) == 0 ? CLI_OK : CLI_FAILED;
}

int cmd_dns(const struct cli *cli)
{
	if (strcmp(cli->arg[0], "query") == 0)
		return query(cli);
	if (strcmp(cli->arg[0], "status") == 0)
		return status(cli);
	cli_fail(cli, "dns: query or status");
	return CLI_USAGE;
}
