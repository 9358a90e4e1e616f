// The forms of the tailscale command, byte by byte.
#include <stdlib.h>
#include <strings.h>

#include "control/cli/ipn.h"
#include "control/cli/table.h"
#include "control/cli/values.h"

enum {
	STATUS_PADDING = 2,
	LIST_WIDTH = 10, // of exit-node list and whois
	LIST_PADDING = 5,
};

#define MULLVAD_SUFFIX "mullvad.ts.net."

static bool is_true(const json_t *object, const char *name)
{
	return json_is_true(json_object_get(object, name));
}

static bool ends_with(const char *text, const char *tail)
{
	size_t n = strlen(text), m = strlen(tail);
	return n >= m && strcmp(text + n - m, tail) == 0;
}

static void print_owner(FILE *out, const json_t *status, const json_t *peer)
{
	char number[32];
	json_int_t id = json_integer_value(json_object_get(peer, "AltSharerUserID"));
	if (id == 0)
		id = json_integer_value(json_object_get(peer, "UserID"));
	snprintf(number, sizeof(number), "%lld", (long long)id);
	const json_t *user = json_object_get(json_object_get(status, "User"), number);
	const char *login = show_text(user, "LoginName"), *at = strchr(login, '@');
	if (id == 0)
		fputc('-', out);
	else if (user == NULL)
		fputs(number, out);
	else
		fprintf(out, "%.*s", (int)(at != NULL ? at - login + 1 : strlen(login)), login);
}

static void print_idle(FILE *out, const json_t *peer, const char *seen, bool any_traffic)
{
	bool online = is_true(peer, "Online");
	const char *what = is_true(peer, "ExitNode")	     ? "idle; exit node"
			   : is_true(peer, "ExitNodeOption") ? "idle; offers exit node"
			   : any_traffic		     ? "idle"
							     : NULL;
	if (what != NULL)
		fprintf(out, "%s%s%s", what, online ? "" : "; offline", seen);
	else
		fprintf(out, "%s%s", online ? "-" : "offline", seen);
}

static void print_active(FILE *out, const json_t *peer, const char *seen)
{
	const char *direct = show_text(peer, "CurAddr"), *relay = show_text(peer, "Relay"),
		   *peer_relay = show_text(peer, "PeerRelay");
	fputs("active; ", out);
	if (is_true(peer, "ExitNode"))
		fputs("exit node; ", out);
	else if (is_true(peer, "ExitNodeOption"))
		fputs("offers exit node; ", out);
	if (*direct != '\0')
		fprintf(out, "direct %s", direct);
	else if (*peer_relay != '\0')
		fprintf(out, "peer-relay %s", peer_relay);
	else if (*relay != '\0')
		fprintf(out, "relay \"%s\"", relay);
	if (!is_true(peer, "Online"))
		fprintf(out, "; offline%s", seen);
}

static void print_peer(FILE *out, const json_t *status, const json_t *peer, int64_t now_s)
{
	char name[IPN_NAME_LEN], seen[VALUE_TEXT_LEN] = "";
	double tx = show_number(peer, "TxBytes"), rx = show_number(peer, "RxBytes");
	if (!is_true(peer, "Online"))
		value_last_seen(value_time(show_text(peer, "LastSeen")), now_s, seen);
	fprintf(out, "%s\t%s\t", ipn_first_ip(peer), ipn_name(status, peer, name));
	print_owner(out, status, peer);
	fprintf(out, "\t%s\t", show_text(peer, "OS"));
	if (is_true(peer, "Active"))
		print_active(out, peer, seen);
	else
		print_idle(out, peer, seen, tx != 0 || rx != 0);
	if (tx != 0 || rx != 0)
		fprintf(out, ", tx %.0f rx %.0f", tx, rx);
	fputs("\t\n", out);
}

// Mullvad's exit nodes are in the list of exit nodes alone.
static bool is_hidden_exit(const json_t *peer)
{
	return is_true(peer, "ExitNodeOption") && !is_true(peer, "ExitNode") &&
	       ends_with(show_text(peer, "DNSName"), MULLVAD_SUFFIX);
}

// False: out of memory.
static bool print_peers(
	FILE *out, const json_t *status, const struct ipn_view *view, bool *hidden_exits)
{
	size_t n;
	const json_t **list = ipn_sorted_peers(status, &n);
	for (size_t i = 0; list != NULL && i < n; i++) {
		bool hidden = is_hidden_exit(list[i]), sharee = is_true(list[i], "ShareeNode");
		*hidden_exits |= hidden && !sharee;
		if (!hidden && !sharee && (!view->active || is_true(list[i], "Active")))
			print_peer(out, status, list[i], view->now_s);
	}
	free(list);
	return list != NULL;
}

void ipn_show_health(FILE *out, const json_t *status)
{
	size_t i;
	json_t *line;
	fputs("# Health check:\n", out);
	json_array_foreach(json_object_get(status, "Health"), i, line)
		fprintf(out, "#     - %s\n", json_is_string(line) ? json_string_value(line) : "");
}

bool ipn_show(FILE *out, const json_t *status, const struct ipn_view *view)
{
	char *text = NULL;
	size_t len;
	bool hidden_exits = false, ok;
	FILE *rows = open_memstream(&text, &len);
	if (rows == NULL)
		return false;
	if (view->header)
		fputs("IP\tHostname\tOwner\tOS\tStatus\t\n--\t--------\t-----\t--\t------\t\n",
			rows);
	if (view->self && json_is_object(json_object_get(status, "Self")))
		print_peer(rows, status, json_object_get(status, "Self"), view->now_s);
	ok = !view->peers || print_peers(rows, status, view, &hidden_exits);
	ok &= fclose(rows) == 0 && table_print(out, text, 0, STATUS_PADDING);
	free(text);
	if (hidden_exits)
		fputs("\n# To see the full list of exit nodes, including location-based exit "
		      "nodes, run `tailgate exit-node list`  \n",
			out);
	if (json_array_size(json_object_get(status, "Health")) > 0) {
		fputc('\n', out);
		ipn_show_health(out, status);
	}
	return ok;
}

// --- ping

void ipn_show_pong(FILE *out, const json_t *pong, const char *type)
{
	char via[CLI_ERROR_LEN], port[32] = "", time[VALUE_TEXT_LEN];
	const char *relay = show_text(pong, "PeerRelay"), *direct = show_text(pong, "Endpoint");
	const char *name = show_text(pong, "NodeName"), *ip = show_text(pong, "NodeIP");
	value_seconds(show_number(pong, "LatencySeconds"), time);
	if (strcmp(type, "peerapi") == 0) {
		fprintf(out, "hit peerapi of %s (%s) at %s in %s\n", ip, name,
			show_text(pong, "PeerAPIURL"), time);
		return;
	}
	if (*relay != '\0')
		snprintf(via, sizeof(via), "peer-relay(%.200s)", relay);
	else if (show_number(pong, "DERPRegionID") != 0)
		snprintf(via, sizeof(via), "DERP(%.100s)", show_text(pong, "DERPRegionCode"));
	else
		snprintf(via, sizeof(via), "%.200s", *direct != '\0' ? direct : type);
	if (show_number(pong, "PeerAPIPort") != 0)
		snprintf(port, sizeof(port), ", %.0f", show_number(pong, "PeerAPIPort"));
	fprintf(out, "pong from %s (%s%s) via %s in %s\n", name, ip, port, via, time);
}

// --- exit-node list

static const char *place(const json_t *peer, const char *what)
{
	return show_text(json_object_get(peer, "Location"), what);
}

static double priority(const json_t *peer)
{
	return show_number(json_object_get(peer, "Location"), "Priority");
}

// By country, city, the best first, name.
static int compare_exits(const void *x, const void *y)
{
	const json_t *a = *(const json_t *const *)x, *b = *(const json_t *const *)y;
	int order = strcmp(place(a, "Country"), place(b, "Country"));
	if (order == 0)
		order = strcmp(place(a, "City"), place(b, "City"));
	if (order == 0 && priority(a) != priority(b))
		order = priority(a) > priority(b) ? -1 : 1;
	return order != 0 ? order : strcmp(show_text(a, "DNSName"), show_text(b, "DNSName"));
}

static void print_exit(FILE *out, const json_t *peer, const char *city, int64_t now_s)
{
	char seen[VALUE_TEXT_LEN];
	const char *state = is_true(peer, "ExitNode") ? "selected" : "-";
	const char *name = show_text(peer, "DNSName"), *country = place(peer, "Country");
	bool away = !is_true(peer, "Active");
	value_last_seen(value_time(show_text(peer, "LastSeen")), now_s, seen);
	if (away && is_true(peer, "ExitNode"))
		state = "selected but offline";
	else if (away && !is_true(peer, "Online"))
		state = "offline";
	else
		*seen = '\0';
	fprintf(out, "\n %s\t%.*s\t%s\t%s\t%s%s\t", ipn_first_ip(peer),
		(int)(ends_with(name, ".") ? strlen(name) - 1 : strlen(name)), name,
		*country != '\0' ? country : "-", *city != '\0' ? city : "-", state, seen);
}

// One country: its best as "Any" if it has several cities, then the best of each city and the
// selected one; all of them if people asked for the country.
static void print_country(FILE *out, const json_t **list, size_t n, bool all, int64_t now_s)
{
	const json_t *best = list[0];
	bool placed = *place(list[0], "Country") != '\0';
	for (size_t i = 1; i < n; i++)
		if (priority(list[i]) > priority(best))
			best = list[i];
	if (placed && strcmp(place(list[0], "City"), place(list[n - 1], "City")) != 0)
		print_exit(out, best, "Any", now_s);
	for (size_t i = 0; i < n; i++) {
		bool first = i == 0 || strcmp(place(list[i], "City"), place(list[i - 1], "City"));
		if (!placed || all || first || is_true(list[i], "ExitNode"))
			print_exit(out, list[i], place(list[i], "City"), now_s);
	}
}

// The exit nodes of the peers come to the front; returns how many.
static size_t pick_exits(const json_t **list, size_t n, const char *filter)
{
	size_t picked = 0;
	for (size_t i = 0; i < n; i++)
		if (is_true(list[i], "ExitNodeOption") &&
			(filter == NULL || strcasecmp(place(list[i], "Country"), filter) == 0))
			list[picked++] = list[i];
	return picked;
}

static bool any_suggested(const json_t **list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (json_object_get(json_object_get(list[i], "CapMap"), "suggest-exit-node") !=
			NULL)
			return true;
	return false;
}

static bool print_exits(FILE *out, const json_t **list, size_t n, const char *filter, int64_t now_s)
{
	char *text = NULL;
	size_t len, end;
	FILE *rows = open_memstream(&text, &len);
	if (rows == NULL)
		return false;
	fputs("\n IP\tHOSTNAME\tCOUNTRY\tCITY\tSTATUS\t", rows);
	qsort(list, n, sizeof(*list), compare_exits);
	for (size_t i = 0; i < n; i = end) {
		for (end = i + 1; end < n; end++)
			if (strcmp(place(list[i], "Country"), place(list[end], "Country")) != 0)
				break;
		print_country(rows, list + i, end - i, filter != NULL, now_s);
	}
	fprintf(rows,
		"\n\n# To view the complete list of exit nodes for a country, use `tailgate "
		"exit-node list --filter=` followed by the country name.\n"
		"# To use an exit node, use `tailgate set --exit-node=` followed by the IP or "
		"hostname.\n%s",
		any_suggested(list, n) ? "# To have Tailscale suggest an exit node, use "
					 "`tailgate exit-node suggest`.\n"
				       : "");
	bool ok = fclose(rows) == 0 && table_print(out, text, LIST_WIDTH, LIST_PADDING);
	free(text);
	return ok;
}

bool ipn_show_exit_nodes(FILE *out, const json_t *status, const char *filter, int64_t now_s,
	char err[static CLI_ERROR_LEN])
{
	size_t n;
	const json_t **list = ipn_sorted_peers(status, &n);
	if (filter != NULL && *filter == '\0')
		filter = NULL;
	snprintf(err, CLI_ERROR_LEN, "out of memory");
	if (list == NULL)
		return false;
	size_t all = pick_exits(list, n, NULL), picked = pick_exits(list, all, filter);
	if (all == 0)
		snprintf(err, CLI_ERROR_LEN, "no exit nodes found");
	else if (picked == 0)
		snprintf(err, CLI_ERROR_LEN, "no exit nodes found for \"%.100s\"", filter);
	bool ok = picked > 0 && print_exits(out, list, picked, filter, now_s);
	free(list);
	return ok;
}

// --- whois

static void print_prefixes(FILE *out, const json_t *array, size_t first)
{
	for (size_t i = first; i < json_array_size(array); i++) {
		const char *text = json_string_value(json_array_get(array, i));
		fprintf(out, "%s%s", i > first ? " " : "", text != NULL ? text : "");
	}
}

static void print_tags(FILE *out, const json_t *tags)
{
	size_t i;
	json_t *tag;
	fputs("  Tags:\t", out);
	json_array_foreach(tags, i, tag) fprintf(
		out, "%s%s", i > 0 ? ", " : "", json_is_string(tag) ? json_string_value(tag) : "");
	fputc('\n', out);
}

static void print_whois(FILE *out, const json_t *who)
{
	const json_t *node = json_object_get(who, "Node"),
		     *user = json_object_get(who, "UserProfile");
	const json_t *tags = json_object_get(node, "Tags"),
		     *allowed = json_object_get(node, "AllowedIPs");
	const char *name = show_text(node, "Name");
	fprintf(out, "Machine:\n  Name:\t%.*s\n",
		(int)(ends_with(name, ".") ? strlen(name) - 1 : strlen(name)), name);
	fprintf(out, "  ID:\t%s\n  Addresses:\t[", show_text(node, "StableID"));
	print_prefixes(out, json_object_get(node, "Addresses"), 0);
	fputs("]\n", out);
	if (json_array_size(allowed) > 2) {
		fputs("  AllowedIPs:\t[", out);
		print_prefixes(out, allowed, 2); // behind its own addresses
		fputs("]\n", out);
	}
	if (json_array_size(tags) > 0) {
		print_tags(out, tags);
		return;
	}
	fprintf(out, "User:\n  Name:\t%s\n  ID:\t%lld\n", show_text(user, "LoginName"),
		(long long)json_integer_value(json_object_get(user, "ID")));
}

// Names of members are not among the texts that ipn_clean cleans.
static void print_name(FILE *out, const char *name)
{
	json_t *copy = json_string(name);
	ipn_clean(copy);
	fprintf(out, "  - %s", json_is_string(copy) ? json_string_value(copy) : "");
	json_decref(copy);
}

// Values in lines of their own, below the capability's name.
static void print_capability(FILE *out, const char *name, const json_t *values)
{
	print_name(out, name);
	if (json_array_size(values) == 0) {
		fputc('\n', out);
		return;
	}
	fputs(":\n      ", out);
	char *text = json_dumps(values, JSON_INDENT(2));
	for (const char *c = text != NULL ? text : ""; *c != '\0'; c++)
		fputs(*c == '\n' ? "\n      " : (const char[]){*c, '\0'}, out);
	fputc('\n', out);
	free(text);
}

bool ipn_show_whois(FILE *out, const json_t *who)
{
	char *text = NULL;
	size_t len;
	FILE *rows = open_memstream(&text, &len);
	if (rows == NULL)
		return false;
	print_whois(rows, who);
	bool ok = fclose(rows) == 0 && table_print(out, text, LIST_WIDTH, LIST_PADDING);
	free(text);
	const char *name;
	json_t *values, *caps = json_object_get(who, "CapMap");
	if (json_object_size(caps) > 0)
		fputs("Capabilities:\n", out);
	json_object_foreach(caps, name, values) print_capability(out, name, values);
	return ok;
}
