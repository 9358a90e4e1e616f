// The findings of 'doctor', in the order in which they were checked.
#include "control/cli/show.h"

static const char *const severities[] = {"ok", "info", "warn", "error"};

static unsigned severity_of(const json_t *finding)
{
	const char *text = show_text(finding, "severity");
	for (unsigned i = 0; i < sizeof(severities) / sizeof(severities[0]); i++)
		if (strcmp(text, severities[i]) == 0)
			return i;
	return SHOW_ERROR; // of a newer daemon: better too much than too little
}

unsigned show_worst_finding(const json_t *findings)
{
	unsigned worst = SHOW_OK;
	size_t i;
	json_t *finding;
	json_array_foreach(findings, i, finding)
	{
		unsigned severity = severity_of(finding);
		worst = severity > worst ? severity : worst;
	}
	return worst;
}

static void show_line(FILE *out, const json_t *finding, const char *name, const char *label)
{
	if (*show_text(finding, name) != '\0')
		fprintf(out, "       %s: %s\n", label, show_text(finding, name));
}

void show_doctor(FILE *out, const json_t *findings, bool all)
{
	unsigned count[4] = {0};
	size_t i;
	json_t *finding;
	json_array_foreach(findings, i, finding)
	{
		unsigned severity = severity_of(finding);
		count[severity]++;
		fprintf(out, "%-5s  %s", severities[severity], show_text(finding, "check"));
		if (severity == SHOW_OK && !all) {
			fprintf(out, ": %s\n", show_text(finding, "evidence"));
			continue;
		}
		fprintf(out, " [%s]\n", show_text(finding, "id"));
		show_line(out, finding, "evidence", "found");
		show_line(out, finding, "meaning", "means");
		show_line(out, finding, "remedy", "do");
	}
	fprintf(out, "\n%u error%s, %u warning%s, %u note%s, %u well\n", count[SHOW_ERROR],
		count[SHOW_ERROR] == 1 ? "" : "s", count[SHOW_WARN],
		count[SHOW_WARN] == 1 ? "" : "s", count[SHOW_INFO],
		count[SHOW_INFO] == 1 ? "" : "s", count[SHOW_OK]);
}

void show_doctor_commands(FILE *out, const json_t *commands)
{
	size_t i;
	json_t *command;
	if (json_array_size(commands) > 0)
		fputs("\nThis mends it, in this order:\n", out);
	json_array_foreach(commands, i, command)
	{
		const char *text = json_string_value(command);
		fprintf(out, "    %s\n", text != NULL ? text : "");
	}
}
