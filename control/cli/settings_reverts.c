// What 'up' would take back.
#include <stdlib.h>

#include "control/cli/ipn.h"
#include "control/cli/settings_parts.h"

// The exit node's address, also of one that is known by its ID.
static const char *exit_ip(const json_t *status, const json_t *prefs)
{
	const char *key, *ip = show_text(prefs, "ExitNodeIP"), *id = show_text(prefs, "ExitNodeID");
	json_t *peer;
	json_object_foreach(json_object_get(status, "Peer"), key, peer)
	{
		if (*ip == '\0' && *id != '\0' && strcmp(show_text(peer, "ID"), id) == 0)
			return ipn_first_ip(peer);
	}
	return ip;
}

static void print_list(FILE *out, const json_t *array, bool is_routes)
{
	size_t i;
	json_t *text;
	struct ip_prefix p;
	const char *between = "";
	json_array_foreach(array, i, text)
	{
		bool skip = is_routes && ip_prefix_parse(json_string_value(text), &p) == 0 &&
			    p.len == 0;
		if (!json_is_string(text) || skip)
			continue;
		fprintf(out, "%s%s", between, json_string_value(text));
		between = ",";
	}
}

// As a shell takes it as one word.
static void print_quoted(FILE *out, const char *text)
{
	bool plain = text[strcspn(text, "\\'\"`${[|&;<>()*?! \t\n~")] == '\0';
	fputs(plain ? "" : "'", out);
	for (; *text != '\0'; text++)
		fputs(*text == '\'' ? "'\\''" : (const char[]){*text, '\0'}, out);
	fputs(plain ? "" : "'", out);
}

static void print_switch(FILE *out, const char *flag, bool on)
{
	fprintf(out, "%s%s", flag, on ? "" : "=false");
}

// The setting as the flag that makes it.
static void print_flag(
	FILE *out, const struct setting *s, const json_t *status, const json_t *prefs)
{
	bool on = json_is_true(json_object_get(prefs, s->pref));
	if (s->kind == SETTING_SWITCH || s->kind == SETTING_SWITCH_NOT) {
		print_switch(out, s->flag, on == (s->kind == SETTING_SWITCH));
		return;
	}
	if (s->kind == SETTING_CONNECTOR) {
		const json_t *o = json_object_get(prefs, s->pref);
		print_switch(out, s->flag, json_is_true(json_object_get(o, "Advertise")));
		return;
	}
	if (s->kind == SETTING_EXIT_ROUTES) {
		print_switch(out, s->flag, settings_offers_exit(prefs));
		return;
	}
	fprintf(out, "%s=", s->flag);
	if (s->kind == SETTING_NETFILTER) {
		json_int_t mode = json_integer_value(json_object_get(prefs, s->pref));
		fputs(mode >= 0 && mode <= 2 ? settings_netfilter[mode] : "on", out);
		return;
	}
	if (s->kind == SETTING_ROUTES || s->kind == SETTING_TAGS)
		print_list(out, json_object_get(prefs, s->pref), s->kind == SETTING_ROUTES);
	else
		print_quoted(out, s->kind == SETTING_EXIT_NODE ? exit_ip(status, prefs)
							       : show_text(prefs, s->pref));
}

// Free it; NULL: out of memory.
static char *flag_text(const struct setting *s, const json_t *status, const json_t *prefs)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);
	if (out == NULL)
		return NULL;
	print_flag(out, s, status, prefs);
	if (fclose(out) == 0)
		return text;
	free(text);
	return NULL;
}

// The options that were given, by name, as they were given; no secrets.
static void print_given(FILE *out, const struct cli *cli)
{
	unsigned order[CLI_OPTIONS_MAX], n = 0;
	const struct cli_option *options = cli->command->options;
	for (unsigned i = 0; i < CLI_OPTIONS_MAX; i++) {
		unsigned at = n;
		if (cli->option[i] == NULL)
			continue;
		for (; at > 0 && strcmp(options[order[at - 1]].name, options[i].name) > 0; at--)
			order[at] = order[at - 1];
		order[at] = i;
		n++;
	}
	for (unsigned i = 0; i < n; i++) {
		const struct cli_option *o = &options[order[i]];
		fputc(' ', out);
		if (o->arg == NULL) {
			print_switch(out, o->name, strcmp(cli->option[order[i]], "true") == 0);
			continue;
		}
		fprintf(out, "%s=", o->name);
		print_quoted(
			out, strcmp(o->name, "--auth-key") == 0 ? "KEY" : cli->option[order[i]]);
	}
}

// Whether the setting would change though nobody said so.
static bool is_reverted(const struct setting *s, const char *now, const char *then,
	const json_t *current, const json_t *wanted)
{
	bool is_same =
		s->kind == SETTING_SERVER &&
		settings_same_server(show_text(current, s->pref), show_text(wanted, s->pref));
	// Left out is unset, which is as good as the default.
	bool is_unset = json_object_get(current, s->pref) == NULL;
	return now != NULL && then != NULL && strcmp(now, then) != 0 && !is_same && !is_unset;
}

char *settings_reverted(
	const struct cli *cli, const json_t *status, const json_t *current, const json_t *wanted)
{
	char *text = NULL;
	size_t len;
	bool any = false;
	FILE *out = open_memstream(&text, &len);
	if (out == NULL)
		return NULL;
	EACH_SETTING(s)
	{
		char *now = flag_text(s, status, current), *then = flag_text(s, status, wanted);
		if (cli_option(cli, s->flag) == NULL &&
			is_reverted(s, now, then, current, wanted)) {
			if (!any)
				print_given(out, cli);
			any = true;
			fprintf(out, " %s", now);
		}
		free(now);
		free(then);
	}
	if (fclose(out) == 0)
		return text;
	free(text);
	return NULL;
}
