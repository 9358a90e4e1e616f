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

// Texts of an array into the arena; false: wrong type, or too many.
static bool texts_of(struct arena *arena, struct json_object *o, const char *name, uint32_t max,
	const char ***out, uint32_t *n)
{
	const json_t *const array = json_array_of(o, name), *v;
	const size_t count = json_array_size(array);
	size_t i;

	if (o->bad || count > max)
		return false;
	*out = arena_alloc(arena, (count + 1) * sizeof(**out));
	json_array_foreach((json_t *)array, i, v)
	{
		if (!json_is_string(v))
			return false;
		(*out)[(*n)++] = arena_text(arena, json_string_value(v));
	}
	return true;
}

static bool prefixes_of(struct arena *arena, struct json_object *o, struct nm_app *app)
{
	const json_t *const array = json_array_of(o, "routes"), *v;
	const size_t count = json_array_size(array);
	size_t i;

	if (o->bad || count > NM_APP_LIST_MAX)
		return false;
	app->routes = arena_alloc(arena, (count + 1) * sizeof(*app->routes));
	json_array_foreach((json_t *)array, i, v)
	{
		const char *const text = json_string_value(v);
		if (!text || ip_prefix_parse(text, &app->routes[app->n_routes]))
			return false;
		app->n_routes++;
	}
	return true;
}

static bool app_read(struct arena *arena, const json_t *value, struct nm_app *app)
{
	struct json_object o = json_open(value);
	const char *const name = json_text(&o, "name");

	*app = (struct nm_app){.name = name ? arena_text(arena, name) : ""};
	return texts_of(arena, &o, "domains", NM_APP_LIST_MAX, &app->domains, &app->n_domains) &&
	       texts_of(arena, &o, "connectors", NM_APP_LIST_MAX, &app->connectors,
		       &app->n_connectors) &&
	       prefixes_of(arena, &o, app) && !o.bad;
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
	struct arena *arena, const char *name, const json_t *addrs, struct nm_service *s)
{
	const size_t count = json_array_size(addrs);
	const json_t *v;
	size_t i;

	if (!nm_service_name_valid(name) || !json_is_array(addrs) || count > NM_SERVICE_ADDRS_MAX)
		return false;
	*s = (struct nm_service){.name = arena_text(arena, name)};
	s->addrs = arena_alloc(arena, (count + 1) * sizeof(*s->addrs));
	json_array_foreach((json_t *)addrs, i, v)
	{
		const char *const text = json_string_value(v);
		if (!text || ip_addr_parse(text, &s->addrs[s->n_addrs]))
			return false;
		s->n_addrs++;
	}
	return true;
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
			place = service_read(arena, name, addrs, &one)
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
