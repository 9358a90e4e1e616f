// docs/man/tailgate.conf.5 and config/tailgate.conf.example out of the key table.
#include <assert.h>

#include "config/keys.h"
#include "config/value.h"

enum { EXAMPLE_COLUMNS = 80 };

// The default as one writes it in the file; "" for a key without one.
static const char *default_text(const struct config_key *k, char text[static 96])
{
	text[0] = '\0';
	if (k->absent)
		return text;
	if (k->type == &type_bool)
		return k->number ? "true" : "false";
	if (k->type == &type_number)
		snprintf(text, 96, "%u", k->number);
	else if (k->type == &type_port_range)
		snprintf(text, 96, "\"%u-%u\"", k->number >> 16, k->number & 0xffff);
	else if (k->text)
		snprintf(text, 96, "\"%s\"", k->text);
	for (const struct config_choice *c = k->choices; c && c->name; c++) {
		if (c->value == k->number)
			snprintf(text, 96, "\"%s\"", c->name);
	}
	return text;
}

// "number, 576 to 9216 bytes": what may be written.
static const char *range_text(const struct config_key *k, char text[static 128])
{
	size_t n = 0;
	snprintf(text, 128, "%s", k->choices ? "" : k->type->name);
	for (const struct config_choice *c = k->choices; c && c->name; c++, n = strlen(text)) {
		const char *comma = c == k->choices ? "" : (c[1].name ? ", " : " or ");
		snprintf(text + n, 128 - n, "%s\"%s\"", comma, c->name);
	}
	n = strlen(text);
	if (k->max > 0)
		snprintf(text + n, 128 - n, ", %u to %u%s%s", k->min, k->max, k->unit ? " " : "",
			k->unit ? k->unit : "");
	return text;
}

// Text as roff shows it.
static void print_roff(FILE *out, const char *text)
{
	if (*text == '.' || *text == '\'')
		fputs("\\&", out);
	for (; *text; text++) {
		if (*text == '\\')
			fputs("\\e", out);
		else if (*text == '-')
			fputs("\\-", out);
		else
			fputc(*text, out);
	}
}

static void print_man_section(FILE *out, enum config_section section)
{
	char text[96], range[128];
	for (unsigned i = 0; i < config_n_keys; i++) {
		const struct config_key *k = &config_keys[i];
		if (k->section != section)
			continue;
		fprintf(out, ".TP\n\\fB%s\\fR (", k->name);
		print_roff(out, range_text(k, range));
		fputs(k->absent && strncmp(k->absent, "required", 8) == 0 ? "; " : "; default: ",
			out);
		print_roff(out, k->absent ? k->absent : default_text(k, text));
		fputs(")\n", out);
		print_roff(out, k->help);
		fputc('\n', out);
	}
}

static const char man_head[] =
	".\\\" Made by config/genman from the key table in config/keys.c; change it there.\n"
	".TH TAILGATE.CONF 5 \"\" \"tailgate\" \"File formats\"\n"
	".SH NAME\n"
	"tailgate.conf \\- configuration of the Tailgate gateway\n"
	".SH DESCRIPTION\n"
	"\\fBtailgated\\fR(8) reads /etc/tailgate/tailgate.conf at its start and again on SIGHUP "
	"or\n"
	"\\fBtailgate reload\\fR. A file with a mistake changes nothing; the message names file, "
	"line\n"
	"and key. \\fBtailgated \\-\\-check\\fR \\fIFILE\\fR looks for mistakes and does nothing "
	"else.\n"
	"Unknown keys are mistakes.\n"
	".PP\n"
	"A setting is \\fIkey\\fR = \\fIvalue\\fR; on one or more lines. Strings stand in double\n"
	"quotes with \\e as escape, numbers are decimal or 0x, arrays are [ \\fIvalue\\fR,\n"
	"\\fIvalue\\fR ], groups { \\fIkey\\fR = \\fIvalue\\fR; ... }, lists of groups\n"
	"( { ... }, { ... } ). Comments start with # or // and end with the line, or stand "
	"between\n"
	"/* and */. There is no comma behind the last element, and no @include.\n"
	".PP\n"
	"At most 16384 peers with 4096 allowed IPs each, 16 ports and 16 addresses for each "
	"interface\n"
	"are possible.\n";

static_assert(CONFIG_PEERS_MAX == 16384 && CONFIG_ALLOWED_IPS_MAX == 4096 &&
		      CONFIG_PORTS_MAX == 16 && CONFIG_ADDRESSES_MAX == 16,
	"man_head names the limits");

static const char man_tail[] =
	".SH EXAMPLE\n"
	"A gateway between a LAN and one other site:\n"
	".PP\n"
	".nf\n"
	"private_key_file = \"/etc/tailgate/private.key\";\n"
	"addresses = [ \"10.0.0.1/24\" ];\n"
	"ports = ( { name = \"wan\"; interface = \"eth0\"; },\n"
	"          { name = \"lan\"; interface = \"eth1\"; } );\n"
	"peers = ( {\n"
	"    name = \"site\\-b\";\n"
	"    public_key = \"xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=\";\n"
	"    endpoint = \"203.0.113.5:41641\";\n"
	"    allowed_ips = [ \"10.2.0.0/24\" ];\n"
	"} );\n"
	".fi\n"
	".SH FILES\n"
	".TP\n"
	"/etc/tailgate/tailgate.conf\n"
	"The configuration. When it holds a private or preshared key itself, it must not be "
	"readable by\n"
	"group or others.\n"
	".TP\n"
	"/etc/tailgate/private.key\n"
	"Usual place of the private key, mode 0600.\n"
	".SH SEE ALSO\n"
	"\\fBtailgated\\fR(8), \\fBtailgate\\fR(1), \\fBwg\\fR(8)\n";

void config_print_man(FILE *out)
{
	fputs(man_head, out);
	fputs(".SH KEYS\n", out);
	print_man_section(out, SECTION_TOP);
	fputs(".SH PORTS\n"
	      "\\fBports\\fR is a list of groups, one for each interface that Tailgate works on.\n",
		out);
	print_man_section(out, SECTION_PORT);
	fputs(".SH PEERS\n\\fBpeers\\fR is a list of groups, one for each WireGuard peer.\n", out);
	print_man_section(out, SECTION_PEER);
	fputs(man_tail, out);
}

// Words as comment lines that end before EXAMPLE_COLUMNS. *column: 0 at the start of a line.
static void print_words(FILE *out, const char *indent, const char *text, unsigned *column)
{
	while (*text) {
		unsigned n = (unsigned)strcspn(text, " ");
		if (*column > 0 && *column + 1 + n > EXAMPLE_COLUMNS) {
			fputc('\n', out);
			*column = 0;
		}
		if (*column == 0) {
			fprintf(out, "%s#", indent);
			*column = 1 + 8 * (unsigned)strlen(indent);
		}
		fprintf(out, " %.*s", (int)n, text);
		*column += n + 1;
		text += n + (text[n] == ' ');
	}
}

static void print_example_key(FILE *out, const char *indent, const struct config_key *k)
{
	char text[96], range[128], sentence[160];
	unsigned column = 0;
	print_words(out, indent, k->help, &column);
	if (k->choices || k->max > 0) {
		snprintf(sentence, sizeof(sentence), "Values: %s.", range_text(k, range));
		print_words(out, indent, sentence, &column);
	}
	fprintf(out, "\n%s%s%s = %s;\n", indent, k->live ? "" : "#", k->name,
		k->example ? k->example : default_text(k, text));
}

static void print_example_section(FILE *out, enum config_section section)
{
	const char *indent = section == SECTION_TOP ? "" : "\t\t";
	bool first = true;
	for (unsigned i = 0; i < config_n_keys; i++) {
		const struct config_key *k = &config_keys[i];
		if (k->section != section || k->type == &type_section)
			continue;
		if (!first)
			fputc('\n', out);
		print_example_key(out, indent, k);
		first = false;
	}
}

void config_print_example(FILE *out)
{
	fputs("# Configuration of the Tailgate gateway, every key with its default or a sample.\n"
	      "# tailgate.conf(5) says more; check changes with: tailgated --check FILE\n"
	      "# (Made by config/genman from the key table in config/keys.c.)\n\n",
		out);
	print_example_section(out, SECTION_TOP);
	fputs("\n# The interfaces that Tailgate works on: a group for each, with commas between.\n"
	      "ports = (\n\t{\n",
		out);
	print_example_section(out, SECTION_PORT);
	fputs("\t}\n);\n\n# The WireGuard peers: a group for each, with commas between.\npeers = "
	      "(\n\t{\n",
		out);
	print_example_section(out, SECTION_PEER);
	fputs("\t}\n);\n", out);
}
