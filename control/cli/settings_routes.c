// Networks to advertise.
#include <stdlib.h>

#include "control/cli/settings_parts.h"

enum { ROUTES_MAX = 4096 };

struct routes {
	struct ip_prefix *list;
	size_t n;
};

static bool is_default(const struct ip_prefix *p)
{
	return p->len == 0;
}

static int compare_routes(const void *x, const void *y)
{
	const struct ip_prefix *a = x, *b = y;
	if (a->len != b->len)
		return a->len < b->len ? -1 : 1;
	if (a->addr.family != b->addr.family)
		return a->addr.family < b->addr.family ? -1 : 1;
	return memcmp(a->addr.bytes, b->addr.bytes, sizeof(a->addr.bytes));
}

static bool add_route(struct routes *routes, const struct ip_prefix *p)
{
	for (size_t i = 0; i < routes->n; i++)
		if (compare_routes(&routes->list[i], p) == 0)
			return true;
	if (routes->n == ROUTES_MAX)
		return false;
	routes->list[routes->n++] = *p;
	return true;
}

// Addresses of 4via6 carry a site number of 16 bits and a whole IPv4 address.
static bool is_bad_via(const struct ip_prefix *p)
{
	static const uint8_t via[8] = {0xfd, 0x7a, 0x11, 0x5c, 0xa1, 0xe0, 0x0b, 0x1a};
	const uint8_t *b = p->addr.bytes;
	bool is_via = p->addr.family == IP_V6 && p->len >= 64 && memcmp(b, via, 8) == 0;
	return is_via && (p->len < 96 || b[8] != 0 || b[9] != 0);
}

static int parse_route(const char *text, struct ip_prefix *out, char err[static CLI_ERROR_LEN])
{
	char masked[PREFIX_TEXT_LEN];
	struct ip_ifaddr given;
	if (strchr(text, '/') == NULL || ip_prefix_parse(text, out) < 0 ||
		ip_ifaddr_parse(text, &given) < 0)
		snprintf(err, CLI_ERROR_LEN, "\"%.100s\" is not a valid IP address or CIDR prefix",
			text);
	else if (!ip_addr_equal(&given.addr, &out->addr))
		snprintf(err, CLI_ERROR_LEN, "%.100s has non-address bits set; expected %s", text,
			ip_prefix_format(out, masked));
	else if (is_bad_via(out))
		snprintf(err, CLI_ERROR_LEN,
			"%.100s: a 4via6 route is fd7a:115c:a1e0:b1a:0:SITE:IPV4 with a length of "
			"96 to 128 and a site up to ffff",
			text);
	else
		return 0;
	return -1;
}

static int parse_routes(const char *text, struct routes *out, char err[static CLI_ERROR_LEN])
{
	char item[PREFIX_TEXT_LEN + 64];
	bool defaults[2] = {false, false};
	struct ip_prefix prefix;
	while (*text != '\0') {
		size_t n = strcspn(text, ",");
		snprintf(item, sizeof(item), "%.*s", (int)n, text);
		if (parse_route(item, &prefix, err) < 0)
			return -1;
		if (is_default(&prefix))
			defaults[prefix.addr.family == IP_V6] = true;
		if (!add_route(out, &prefix)) {
			snprintf(err, CLI_ERROR_LEN, "more than %d routes", ROUTES_MAX);
			return -1;
		}
		text += n;
		if (*text == ',' && *++text == '\0') {
			snprintf(err, CLI_ERROR_LEN,
				"\"\" is not a valid IP address or CIDR prefix");
			return -1;
		}
	}
	if (defaults[0] == defaults[1])
		return 0;
	snprintf(err, CLI_ERROR_LEN,
		"%s advertised without its IPv%c counterpart, please also advertise %s",
		defaults[0] ? "0.0.0.0/0" : "::/0", defaults[0] ? '6' : '4',
		defaults[0] ? "::/0" : "0.0.0.0/0");
	return -1;
}

// Those of the preferences: the default routes, or all others.
static void take_routes(const json_t *prefs, bool want_default, struct routes *out)
{
	size_t i;
	json_t *text;
	struct ip_prefix p;
	json_array_foreach(json_object_get(prefs, "AdvertiseRoutes"), i, text)
	{
		if (json_is_string(text) && ip_prefix_parse(json_string_value(text), &p) == 0 &&
			is_default(&p) == want_default)
			(void)add_route(out, &p);
	}
}

bool settings_offers_exit(const json_t *prefs)
{
	struct ip_prefix room[3];
	struct routes routes = {.list = room};
	size_t i;
	json_t *text;
	json_array_foreach(json_object_get(prefs, "AdvertiseRoutes"), i, text)
	{
		if (json_is_string(text) &&
			ip_prefix_parse(json_string_value(text), &room[routes.n]) == 0 &&
			is_default(&room[routes.n]) && routes.n < 2)
			routes.n++;
	}
	return routes.n == 2;
}

static json_t *routes_json(struct routes *routes)
{
	char text[PREFIX_TEXT_LEN];
	json_t *array = json_array();
	qsort(routes->list, routes->n, sizeof(*routes->list), compare_routes);
	for (size_t i = 0; i < routes->n; i++)
		json_array_append_new(array, json_string(ip_prefix_format(&routes->list[i], text)));
	return array;
}

int settings_set_routes(
	const struct cli *cli, json_t *prefs, bool defaults, char err[static CLI_ERROR_LEN])
{
	static const struct ip_prefix all[] = {
		{.addr = {.family = IP_V4}}, {.addr = {.family = IP_V6}}};
	const char *text = cli_option(cli, "--advertise-routes");
	bool offers =
		cli_switch(cli, "--advertise-exit-node", !defaults && settings_offers_exit(prefs));
	struct routes routes = {.list = calloc(ROUTES_MAX, sizeof(*routes.list))};
	int error = 0;
	snprintf(err, CLI_ERROR_LEN, "out of memory");
	if (routes.list == NULL)
		return -1;
	if (text != NULL)
		error = parse_routes(text, &routes, err);
	else if (!defaults)
		take_routes(prefs, false, &routes);
	for (unsigned i = 0; i < 2 && offers; i++)
		if (!add_route(&routes, &all[i]))
			error = -1;
	if (error == 0)
		json_object_set_new(prefs, "AdvertiseRoutes", routes_json(&routes));
	free(routes.list);
	return error;
}
