// What capabilities of our own node say. Values of a capability are JSON that only the feature
// behind it understands, so they are read when that feature asks. Sources: tailscale
// types/appctype/appconnector.go, tailcfg.ServiceIPMappings.
#include "control/coord/netmap_parts.h"

static const char app_cap[] = "tailscale.com/app-connectors", service_cap[] = "service-host";

// The array of a capability's values, a new reference; NULL: the node has not got it.
static json_t *values_of(const struct nm_node *node, const char *name, uint64_t *skipped)
{
	const struct nm_cap *const cap = node ? nm_node_cap(node, name) : NULL;

	if (!cap || !cap->values)
		return NULL;
	json_t *const values = json_piece((struct slice){cap->values, strlen(cap->values)});
	if (json_is_array(values))
		return values;
	++*skipped;
	json_decref(values);
	return NULL;
}

static int to_copy(struct arena *arena, const char *text, void *out)
{
	*(const char **)out = arena_text(arena, text);
	return 0;
}

static int to_addr(struct arena *, const char *text, void *out)
{
	return ip_addr_parse(text, out);
}

static bool app_read(struct arena *arena, const json_t *value, struct nm_app *app)
{
	struct json_object o = json_open(value);
	const char *const name = json_text(&o, "name");

	*app = (struct nm_app){.name = name ? arena_text(arena, name) : ""};
	app->domains = nm_texts_parse(arena, &o, "domains", NM_APP_LIST_MAX, sizeof(*app->domains),
		to_copy, &app->n_domains);
	app->connectors = nm_texts_parse(arena, &o, "connectors", NM_APP_LIST_MAX,
		sizeof(*app->connectors), to_copy, &app->n_connectors);
	app->routes = nm_texts_parse(arena, &o, "routes", NM_APP_LIST_MAX, sizeof(*app->routes),
		nm_text_to_prefix, &app->n_routes);
	return !o.bad;
}

uint32_t nm_apps_read(
	struct arena *arena, const struct nm_node *node, struct nm_app **out, uint64_t *skipped)
{
	json_t *const values = values_of(node, app_cap, skipped), *value;
	const size_t count = json_array_size(values);
	uint32_t n = 0;
	size_t i;

	*out = arena_alloc(arena, (count < NM_APPS_MAX ? count + 1 : NM_APPS_MAX) * sizeof(**out));
	json_array_foreach(values, i, value)
	{
		if (n < NM_APPS_MAX && app_read(arena, value, &(*out)[n]))
			n++;
		else
			++*skipped;
	}
	json_decref(values);
	return n;
}

bool nm_service_name_valid(const char *name)
{
	static const char alnum[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
	char label[64 + 1];

	if (strncmp(name, "svc:", 4) != 0)
		return false;
	const size_t len = strnlen(name + 4, sizeof(label));
	if (len == 0 || len > 63)
		return false;
	memcpy(label, name + 4, len + 1);
	for (size_t i = 0; i < len; i++)
		if (!strchr(alnum, label[i]) && (label[i] != '-' || i == 0 || i == len - 1))
			return false;
	return true;
}

static bool service_read(
	struct arena *arena, const json_t *value, const char *name, struct nm_service *s)
{
	struct json_object o = json_open(value);

	if (!nm_service_name_valid(name) || !json_is_array(json_any(&o, name)))
		return false;
	*s = (struct nm_service){.name = arena_text(arena, name)};
	s->addrs = nm_texts_parse(
		arena, &o, name, NM_SERVICE_ADDRS_MAX, sizeof(*s->addrs), to_addr, &s->n_addrs);
	return !o.bad;
}

// The last value that has a name counts, as with a map that values are read into one after the
// other.
static struct nm_service *service_place(struct nm_service *list, uint32_t *n, const char *name)
{
	for (uint32_t i = 0; i < *n; i++)
		if (!strcmp(list[i].name, name))
			return &list[i];
	return *n < NM_SERVICES_MAX ? &list[(*n)++] : NULL;
}

uint32_t nm_services_read(
	struct arena *arena, const struct nm_node *node, struct nm_service **out, uint64_t *skipped)
{
	json_t *const values = values_of(node, service_cap, skipped), *value, *addrs;
	struct nm_service one, *place;
	const char *name;
	size_t room = 0, i;
	uint32_t n = 0;

	json_array_foreach(values, i, value) room += json_object_size(value);
	room = room < NM_SERVICES_MAX ? room + 1 : NM_SERVICES_MAX;
	*out = arena_alloc(arena, room * sizeof(**out));
	json_array_foreach(values, i, value)
	{
		*skipped += !json_is_object(value);
		json_object_foreach(value, name, addrs)
		{
			place = service_read(arena, value, name, &one)
					? service_place(*out, &n, one.name)
					: NULL;
			if (place)
				*place = one;
			else
				++*skipped;
		}
	}
	json_decref(values);
	return n;
}
