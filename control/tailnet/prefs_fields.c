#include "control/tailnet/prefs_fields.h"

#include <errno.h>
#include <stdio.h>

#include "control/coord/hostinfo.h"

// In the order in which the real daemon writes them: commands print them so.
const struct prefs_field prefs_fields[] = {
	{"ControlURL", PREFS_TEXT, false, NULL},
	{"RouteAll", PREFS_FLAG, false, NULL},
	{"ExitNodeID", PREFS_TEXT, false, NULL},
	{"ExitNodeIP", PREFS_ADDRESS, false, NULL},
	{"AutoExitNode", PREFS_TEXT, true, NULL},
	{"InternalExitNodePrior", PREFS_TEXT, false, NULL},
	{"ExitNodeAllowLANAccess", PREFS_FLAG, false, NULL},
	{"CorpDNS", PREFS_FLAG, false, "true"},
	{"RunSSH", PREFS_FLAG, false, NULL},
	{"RunWebClient", PREFS_FLAG, false, NULL},
	{"WantRunning", PREFS_FLAG, false, NULL},
	// Before the first login, as the real daemon gives it.
	{"LoggedOut", PREFS_FLAG, false, "true"},
	{"ShieldsUp", PREFS_FLAG, false, NULL},
	{"AdvertiseTags", PREFS_TAGS, false, NULL},
	{"Hostname", PREFS_TEXT, false, NULL},
	{"NotepadURLs", PREFS_FLAG, false, NULL},
	{"ForceDaemon", PREFS_FLAG, true, NULL},
	{"Egg", PREFS_FLAG, true, NULL},
	{"AdvertiseRoutes", PREFS_ROUTES, false, NULL},
	{"AdvertiseServices", PREFS_SERVICES, false, NULL},
	{"Sync", PREFS_OPTIONAL, false, NULL},
	{"NoSNAT", PREFS_FLAG, false, NULL},
	{"NoStatefulFiltering", PREFS_OPTIONAL, true, "true"},
	{"NetfilterMode", PREFS_NETFILTER, false, "2"},
	{"OperatorUser", PREFS_TEXT, true, NULL},
	{"ProfileName", PREFS_TEXT, true, NULL},
	{"AutoUpdate", PREFS_UPDATE, false, "{\"Check\": true}"},
	{"AppConnector", PREFS_CONNECTOR, false, NULL},
	{"PostureChecking", PREFS_FLAG, false, NULL},
	{"NetfilterKind", PREFS_TEXT, false, NULL},
	{"RemoteConfig", PREFS_FLAG, false, NULL},
	{"DriveShares", PREFS_SHARES, false, NULL},
	{"RelayServerPort", PREFS_PORT, true, NULL},
	{"RelayServerStaticEndpoints", PREFS_ENDPOINTS, true, NULL},
	{"Config", PREFS_NOTHING, false, NULL},
};
const unsigned prefs_n_fields = sizeof(prefs_fields) / sizeof(*prefs_fields);

const struct prefs_field *prefs_field_of(const char *name)
{
	for (unsigned i = 0; i < prefs_n_fields; i++)
		if (!strcmp(prefs_fields[i].name, name))
			return &prefs_fields[i];
	return NULL;
}

bool prefs_name_valid(const char *name)
{
	const size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz"
					"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");

	return len > 0 && len < PREFS_NAME_LEN && name[len] == '\0';
}

__attribute__((format(printf, 2, 3))) static int refuse(char *err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(err, PREFS_ERROR_LEN, format, args);
	va_end(args);
	return -EINVAL;
}

static bool text_right(const char *text)
{
	size_t len = 0;

	for (; text[len]; len++)
		if ((uint8_t)text[len] < ' ' || text[len] == 0x7f || len >= PREFS_TEXT_LEN - 1)
			return false;
	return true;
}

// The bits of a prefix that lie behind its length.
static bool has_host_bits(const struct ip_ifaddr *a)
{
	for (unsigned bit = a->len; bit < ip_addr_bits(&a->addr); bit++)
		if (a->addr.bytes[bit / 8] & (0x80 >> bit % 8))
			return true;
	return false;
}

static int check_route(const char *text, char err[static PREFS_ERROR_LEN])
{
	char expected[PREFIX_TEXT_LEN];
	struct ip_ifaddr with_bits;
	struct ip_prefix prefix;

	if (!strchr(text, '/') || ip_ifaddr_parse(text, &with_bits) ||
		ip_prefix_parse(text, &prefix))
		return refuse(err, "'%.60s' is not a prefix such as 10.0.0.0/8", text);
	if (has_host_bits(&with_bits))
		return refuse(err, "route %s has non-address bits set; expected %s", text,
			ip_prefix_format(&prefix, expected));
	return 0;
}

static int check_tag(const char *text, char err[static PREFS_ERROR_LEN])
{
	if (hostinfo_tag_valid(text) && text_right(text))
		return 0;
	return refuse(
		err, "tag '%.60s' is not 'tag:', a letter, then letters, digits, dashes", text);
}

static int check_service(const char *text, char err[static PREFS_ERROR_LEN])
{
	if (!strncmp(text, "svc:", 4) && text[4] && text_right(text))
		return 0;
	return refuse(err, "service '%.60s' is not 'svc:' and a name", text);
}

static int check_endpoint(const char *text, char err[static PREFS_ERROR_LEN])
{
	struct endpoint endpoint;

	if (!endpoint_parse(text, &endpoint) && endpoint.port)
		return 0;
	return refuse(err, "'%.60s' is not an address and port", text);
}

static int put_texts(json_t *all, const struct prefs_field *f, const json_t *value, size_t max,
	int (*check)(const char *, char[static PREFS_ERROR_LEN]), char err[static PREFS_ERROR_LEN])
{
	json_t *element;
	size_t i;

	if (!json_is_array(value))
		return refuse(err, "%s is not a list", f->name);
	if (json_array_size(value) > max)
		return refuse(err, "%s has more than %zu entries", f->name, max);
	json_array_foreach((json_t *)value, i, element)
	{
		if (!json_is_string(element))
			return refuse(err, "%s has something else than text", f->name);
		if (check(json_string_value(element), err))
			return -EINVAL;
	}
	return json_object_set_new(all, f->name, json_deep_copy(value)) ? -ENOMEM : 0;
}

static int put_text(json_t *all, const struct prefs_field *f, const json_t *value,
	char err[static PREFS_ERROR_LEN])
{
	const char *const text = json_string_value(value);
	struct ip_addr addr;

	if (!text)
		return refuse(err, "%s is not a text", f->name);
	if (!text_right(text))
		return refuse(err, "%s is longer than %d bytes or has control characters", f->name,
			PREFS_TEXT_LEN - 1);
	if (f->type == PREFS_ADDRESS && *text && ip_addr_parse(text, &addr))
		return refuse(err, "%s: '%.60s' is not an address", f->name, text);
	return json_object_set_new(all, f->name, json_string(text)) ? -ENOMEM : 0;
}

static int put_number(json_t *all, const struct prefs_field *f, const json_t *value, json_int_t max,
	char err[static PREFS_ERROR_LEN])
{
	const json_int_t number = json_integer_value(value);

	if (!json_is_integer(value) || number < 0 || number > max)
		return refuse(err, "%s is not a number from 0 to %lld", f->name, (long long)max);
	return json_object_set_new(all, f->name, json_integer(number)) ? -ENOMEM : 0;
}

static int put_flag(json_t *all, const struct prefs_field *f, const json_t *value,
	char err[static PREFS_ERROR_LEN])
{
	if (!json_is_boolean(value))
		return refuse(err, "%s is neither true nor false", f->name);
	return json_object_set_new(all, f->name, json_boolean(json_is_true(value))) ? -ENOMEM : 0;
}

// An object's members; those that are not in the list are left out.
static int put_members(json_t *all, const struct prefs_field *f, const json_t *value,
	const struct prefs_field *members, unsigned n, char err[static PREFS_ERROR_LEN])
{
	json_t *const object = json_object();
	int error = 0;

	if (value && !json_is_object(value))
		error = refuse(err, "%s is not an object", f->name);
	for (unsigned i = 0; !error && i < n; i++)
		error = prefs_field_put(
			object, &members[i], json_object_get(value, members[i].name), err);
	if (error) {
		json_decref(object);
		return error;
	}
	return json_object_set_new(all, f->name, object) ? -ENOMEM : 0;
}

static int put_shares(json_t *all, const struct prefs_field *f, const json_t *value,
	char err[static PREFS_ERROR_LEN])
{
	if (!json_is_array(value) || json_array_size(value) > PREFS_SHARES_MAX)
		return refuse(err, "%s is not a list of at most %d", f->name, PREFS_SHARES_MAX);
	return json_object_set_new(all, f->name, json_deep_copy(value)) ? -ENOMEM : 0;
}

static json_t *empty_value(enum prefs_type type)
{
	switch (type) {
	case PREFS_FLAG:
		return json_false();
	case PREFS_TEXT:
	case PREFS_ADDRESS:
		return json_string("");
	case PREFS_NETFILTER:
		return json_integer(0);
	default:
		return json_null();
	}
}

static bool is_empty(const struct prefs_field *f, const json_t *value)
{
	if (json_is_false(value)) // of an optional one it says something
		return f->type == PREFS_FLAG;
	return json_is_null(value) || (json_is_string(value) && json_string_length(value) == 0) ||
	       (json_is_array(value) && json_array_size(value) == 0);
}

// Not empty, and of no type that is always an object.
static int put_value(json_t *all, const struct prefs_field *f, const json_t *value,
	char err[static PREFS_ERROR_LEN])
{
	switch (f->type) {
	case PREFS_TEXT:
	case PREFS_ADDRESS:
		return put_text(all, f, value, err);
	case PREFS_NETFILTER: // off, nodivert, on
		return put_number(all, f, value, 2, err);
	case PREFS_PORT:
		return put_number(all, f, value, UINT16_MAX, err);
	case PREFS_ROUTES:
		return put_texts(all, f, value, PREFS_ROUTES_MAX, check_route, err);
	case PREFS_TAGS:
		return put_texts(all, f, value, PREFS_TAGS_MAX, check_tag, err);
	case PREFS_SERVICES:
		return put_texts(all, f, value, PREFS_SERVICES_MAX, check_service, err);
	case PREFS_ENDPOINTS:
		return put_texts(all, f, value, PREFS_ENDPOINTS_MAX, check_endpoint, err);
	case PREFS_SHARES:
		return put_shares(all, f, value, err);
	default:
		return put_flag(all, f, value, err);
	}
}

int prefs_field_put(json_t *all, const struct prefs_field *f, const json_t *value,
	char err[static PREFS_ERROR_LEN])
{
	static const struct prefs_field update[] = {
		{"Check", PREFS_FLAG, false, NULL},
		{"Apply", PREFS_OPTIONAL, false, NULL},
	};
	static const struct prefs_field connector[] = {
		{"Advertise", PREFS_FLAG, false, NULL},
	};
	int error = 0;

	if (json_is_null(value))
		value = NULL;
	if (f->type == PREFS_UPDATE)
		return put_members(all, f, value, update, 2, err);
	if (f->type == PREFS_CONNECTOR)
		return put_members(all, f, value, connector, 1, err);
	if (f->type == PREFS_NOTHING)
		value = NULL;
	if (value)
		error = put_value(all, f, value, err);
	else
		error = json_object_set_new(all, f->name, empty_value(f->type)) ? -ENOMEM : 0;
	if (!error && f->omit && is_empty(f, json_object_get(all, f->name)))
		json_object_del(all, f->name);
	if (error == -ENOMEM)
		snprintf(err, PREFS_ERROR_LEN, "out of memory");
	return error;
}
