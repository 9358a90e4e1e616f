// Which way each peer of the tailnet is reached, and why.
#include <time.h>

#include "control/cli/format.h"
#include "control/cli/show.h"
#include "control/cli/values.h"

// A time as text or as seconds since 1970; 0: none.
static int64_t time_of(const json_t *value)
{
	return json_is_number(value) ? (int64_t)json_number_value(value)
				     : value_time(json_string_value(value));
}

static void show_expiry(FILE *out, const json_t *peer, double now)
{
	char text[FORMAT_LEN], date[32];
	int64_t at = time_of(json_object_get(peer, "key_expiry"));
	struct tm tm;
	time_t seconds = at;
	if (at == 0 || gmtime_r(&seconds, &tm) == NULL) {
		fputs("  key expires: never\n", out);
		return;
	}
	strftime(date, sizeof(date), "%Y-%m-%d %H:%M UTC", &tm);
	if ((double)at <= now)
		fprintf(out, "  key EXPIRED: %s\n", date);
	else
		fprintf(out, "  key expires: %s, in %s\n", date,
			format_duration((uint64_t)((double)at - now) / 60 * 60, text));
}

static void show_path(FILE *out, const json_t *peer)
{
	const char *path = show_text(peer, "path"), *endpoint = show_text(peer, "endpoint");
	const char *region = show_text(peer, "region");
	double ms = show_number(peer, "latency_ms");
	fprintf(out, "  path: %s", *path != '\0' ? path : "none");
	if (strcmp(path, "relay") == 0 && *region != '\0')
		fprintf(out, " \"%s\"", region);
	else if (*endpoint != '\0')
		fprintf(out, " %s", endpoint);
	if (ms > 0)
		fprintf(out, ", %.1f ms", ms);
	fputc('\n', out);
}

static void show_path_peer(FILE *out, const json_t *peer, double now)
{
	char text[FORMAT_LEN];
	const json_t *age = json_object_get(peer, "handshake_age_s");
	const char *why = show_text(peer, "why"), *region = show_text(peer, "region");
	fprintf(out, "\npeer: %s (%s)\n", show_text(peer, "name"), show_text(peer, "ip"));
	show_path(out, peer);
	if (*why != '\0')
		fprintf(out, "  why: %s\n", why);
	fprintf(out, "  home region: %s\n", *region != '\0' ? region : "(unknown)");
	if (!json_is_number(age) || json_number_value(age) < 0)
		fputs("  latest handshake: none yet\n", out);
	else if (json_number_value(age) < 1)
		fputs("  latest handshake: now\n", out);
	else
		fprintf(out, "  latest handshake: %s ago\n",
			format_duration((uint64_t)json_number_value(age), text));
	if (show_number(peer, "mtu") > 0) {
		fprintf(out, "  path mtu: %.0f", show_number(peer, "mtu"));
		show_mtu_learned(out, peer, "mtu_probed", "probed", now);
		fputc('\n', out);
	}
	show_expiry(out, peer, now);
}

// Whatever the daemon tells of it, name by name.
static void show_members(FILE *out, const json_t *object)
{
	const char *name;
	json_t *value;
	json_object_foreach((json_t *)object, name, value)
	{
		if (json_is_string(value) && *json_string_value(value) == '\0')
			continue;
		if (!json_is_string(value) && !json_is_number(value) && !json_is_boolean(value))
			continue;
		fputs("  ", out);
		for (const char *c = name; *c != '\0'; c++)
			fputc(*c == '_' ? ' ' : *c, out);
		if (json_is_string(value))
			fprintf(out, ": %s\n", json_string_value(value));
		else if (json_is_number(value))
			fprintf(out, ": %.10g\n", json_number_value(value));
		else
			fprintf(out, ": %s\n", json_is_true(value) ? "yes" : "no");
	}
}

void show_paths(FILE *out, const json_t *paths, double now)
{
	size_t i;
	json_t *peer;
	const json_t *coord = json_object_get(paths, "coord"),
		     *home = json_object_get(paths, "home");
	json_array_foreach(json_object_get(paths, "peers"), i, peer) show_path_peer(out, peer, now);
	if (json_object_size(coord) > 0)
		fputs("\ncoordination:\n", out);
	show_members(out, coord);
	if (json_is_string(home) && *json_string_value(home) != '\0')
		fprintf(out, "\nhome region: %s\n", json_string_value(home));
	else if (json_is_object(home)) {
		fputs("\nhome region:\n", out);
		show_members(out, home);
	}
}
