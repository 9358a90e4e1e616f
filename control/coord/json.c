#include "control/coord/json_scan.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <time.h>

static bool ends_scalar(char c)
{
	return json_is_space(c) || c == ',' || c == ':' || c == '"' || c == '[' || c == ']' ||
	       c == '{' || c == '}';
}

// From the opening quote to behind the closing one.
static int skip_string(struct json_scan *s)
{
	for (s->at++; s->at < s->end; s->at++) {
		const char *const quote = memchr(s->at, '"', (size_t)(s->end - s->at));
		if (!quote)
			break;
		const char *const escape = memchr(s->at, '\\', (size_t)(quote - s->at));
		if (!escape)
			return s->at = quote + 1, 0;
		s->at = escape + 1; // what it escapes is nothing's end
	}
	return -EBADMSG;
}

// An object or array with all that is in it; its brackets have to fit.
static int skip_nested(struct json_scan *s)
{
	char closing[JSON_DEPTH_MAX];
	unsigned depth = 0;

	while (s->at < s->end) {
		const char c = *s->at;
		if (c == '"') {
			if (skip_string(s))
				return -EBADMSG;
			continue;
		}
		s->at++;
		if (c == '{' || c == '[') {
			if (depth == JSON_DEPTH_MAX)
				return -ELOOP;
			closing[depth++] = c == '{' ? '}' : ']';
		} else if (c == '}' || c == ']') {
			if (closing[--depth] != c)
				return -EBADMSG;
			if (!depth)
				return 0;
		}
	}
	return -EBADMSG;
}

static int skip_value(struct json_scan *s, struct slice *out)
{
	int error = 0;

	json_skip_space(s);
	out->text = s->at;
	if (s->at < s->end && *s->at == '"') {
		error = skip_string(s);
	} else if (s->at < s->end && (*s->at == '{' || *s->at == '[')) {
		error = skip_nested(s);
	} else {
		while (s->at < s->end && !ends_scalar(*s->at))
			s->at++;
	}
	out->len = (size_t)(s->at - out->text);
	if (!error && (!out->len || s->at > s->end))
		error = -EBADMSG;
	json_skip_space(s);
	return error;
}

static int scan_member(struct json_scan *s, json_member_fn fn, void *arg)
{
	struct slice name, value;
	int error = skip_value(s, &name);

	if (error || name.text[0] != '"' || !json_take(s, ':'))
		return error ? error : -EBADMSG;
	error = skip_value(s, &value);
	if (error)
		return error;
	return fn(arg, (struct slice){name.text + 1, name.len - 2}, value);
}

int json_scan_members(struct slice object, json_member_fn fn, void *arg)
{
	struct json_scan s = {object.text, object.text + object.len};

	if (!json_take(&s, '{'))
		return -EBADMSG;
	if (!json_take(&s, '}')) {
		do {
			const int error = scan_member(&s, fn, arg);
			if (error)
				return error;
		} while (json_take(&s, ','));
		if (!json_take(&s, '}'))
			return -EBADMSG;
	}
	json_skip_space(&s);
	return s.at == s.end ? 0 : -EBADMSG;
}

int json_scan_elements(struct slice array, json_element_fn fn, void *arg)
{
	struct json_scan s = {array.text, array.text + array.len};

	if (!json_take(&s, '['))
		return -EBADMSG;
	if (!json_take(&s, ']')) {
		do {
			struct slice value;
			int error = skip_value(&s, &value);
			if (!error)
				error = fn(arg, value);
			if (error)
				return error;
		} while (json_take(&s, ','));
		if (!json_take(&s, ']'))
			return -EBADMSG;
	}
	json_skip_space(&s);
	return s.at == s.end ? 0 : -EBADMSG;
}

bool slice_is(struct slice s, const char *text)
{
	return s.len == strlen(text) && !memcmp(s.text, text, s.len);
}

json_t *json_piece(struct slice s)
{
	struct json_scan scan = {s.text, s.text + s.len};
	struct slice value;

	if (s.len > JSON_PIECE_MAX)
		return NULL;
	json_t *const plain = json_plain(s);
	if (plain)
		return plain;
	if (skip_value(&scan, &value) || scan.at != scan.end)
		return NULL;
	return json_loadb(s.text, s.len, JSON_DECODE_ANY, NULL);
}

struct json_object json_open(const json_t *value)
{
	return (struct json_object){
		.object = value, .bad = json_is_object(value) ? NULL : "not an object"};
}

// The member if it has the type; absent and null are NULL.
static const json_t *typed(struct json_object *o, const char *name, json_type type)
{
	const json_t *v = json_any(o, name);

	if (!v || json_is_null(v))
		return NULL;
	if (json_typeof(v) == type)
		return v;
	o->bad = name;
	return NULL;
}

const json_t *json_any(struct json_object *o, const char *name)
{
	return o->bad ? NULL : json_object_get(o->object, name);
}

const char *json_text(struct json_object *o, const char *name)
{
	const json_t *v = typed(o, name, JSON_STRING);

	return v && json_string_length(v) ? json_string_value(v) : NULL;
}

bool json_flag(struct json_object *o, const char *name)
{
	return json_opt_flag(o, name) == 1;
}

int json_opt_flag(struct json_object *o, const char *name)
{
	const json_t *v = json_any(o, name);

	if (!v || json_is_null(v))
		return -1;
	if (!json_is_boolean(v))
		o->bad = name;
	return json_is_true(v);
}

int64_t json_number(struct json_object *o, const char *name, int64_t min, int64_t max)
{
	const json_t *v = typed(o, name, JSON_INTEGER);
	const int64_t n = v ? json_integer_value(v) : 0;

	if (!v || (n >= min && n <= max))
		return n;
	o->bad = name;
	return 0;
}

double json_real_number(struct json_object *o, const char *name)
{
	const json_t *v = json_any(o, name);

	if (!v || json_is_null(v))
		return 0;
	if (!json_is_number(v))
		o->bad = name;
	return json_number_value(v);
}

const json_t *json_array_of(struct json_object *o, const char *name)
{
	return typed(o, name, JSON_ARRAY);
}

const json_t *json_object_of(struct json_object *o, const char *name)
{
	return typed(o, name, JSON_OBJECT);
}

int64_t json_time(struct json_object *o, const char *name)
{
	const json_t *v = typed(o, name, JSON_STRING);
	int64_t t = 0;

	if (v && time_parse(json_string_value(v), &t))
		o->bad = name;
	return t;
}

struct key json_key(struct json_object *o, const char *name, const char *prefix)
{
	const json_t *v = typed(o, name, JSON_STRING);
	struct key key = {0};

	if (v && typed_key_parse(json_string_value(v), prefix, &key))
		o->bad = name;
	return key;
}

// n digits; -1 when they are not.
static int digits(const char *text, unsigned n)
{
	int value = 0;

	for (unsigned i = 0; i < n; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -1;
		value = value * 10 + (text[i] - '0');
	}
	return value;
}

// "Z" or "+hh:mm" at the end, in seconds; false when it is neither.
static bool offset_parse(const char *text, int *seconds)
{
	*seconds = 0;
	if (!strcmp(text, "Z") || !strcmp(text, "z"))
		return true;
	if ((*text != '+' && *text != '-') || strlen(text) != 6 || text[3] != ':')
		return false;
	const int h = digits(text + 1, 2), m = digits(text + 4, 2);
	*seconds = (h * 60 + m) * 60 * (*text == '-' ? -1 : 1);
	return h >= 0 && h < 24 && m >= 0 && m < 60;
}

int time_parse(const char *text, int64_t *out)
{
	static const char form[] = "0000-00-00T00:00:00";
	static const int month_days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	int offset;

	for (size_t i = 0; i < sizeof(form) - 1; i++)
		if (form[i] == '0' ? text[i] < '0' || text[i] > '9' : text[i] != form[i])
			return -EINVAL;
	struct tm tm = {.tm_year = digits(text, 4) - 1900,
		.tm_mon = digits(text + 5, 2) - 1,
		.tm_mday = digits(text + 8, 2),
		.tm_hour = digits(text + 11, 2),
		.tm_min = digits(text + 14, 2),
		.tm_sec = digits(text + 17, 2)};
	if (tm.tm_mon < 0 || tm.tm_mon > 11 || tm.tm_mday < 1 ||
		tm.tm_mday > month_days[tm.tm_mon] || tm.tm_hour > 23 || tm.tm_min > 59 ||
		tm.tm_sec > 60)
		return -EINVAL;
	text += sizeof(form) - 1;
	if (*text == '.') {
		const size_t n = strspn(text + 1, "0123456789");
		if (!n)
			return -EINVAL;
		text += n + 1;
	}
	if (!offset_parse(text, &offset))
		return -EINVAL;
	const bool zero = tm.tm_year == 1 - 1900;
	const int64_t t = (int64_t)timegm(&tm) - offset;
	*out = zero ? 0 : t < 1 ? 1 : t;
	return 0;
}

const char *time_format(int64_t seconds, char text[static TIME_TEXT_LEN])
{
	const time_t t = seconds;
	struct tm tm;

	if (!seconds || !gmtime_r(&t, &tm) || tm.tm_year > 9999 - 1900 || tm.tm_year < 0)
		strcpy(text, "0001-01-01T00:00:00Z");
	else
		strftime(text, TIME_TEXT_LEN, "%Y-%m-%dT%H:%M:%SZ", &tm);
	return text;
}

int typed_key_parse(const char *text, const char *prefix, struct key *out)
{
	const size_t n = strlen(prefix);
	struct key key;
	size_t len;

	if (strncmp(text, prefix, n) || strlen(text + n) != 2 * (size_t)KEY_LEN ||
		sodium_hex2bin(
			key.bytes, KEY_LEN, text + n, (size_t)2 * KEY_LEN, NULL, &len, NULL) ||
		len != KEY_LEN)
		return -EINVAL;
	*out = key;
	sodium_memzero(&key, sizeof(key));
	return 0;
}

const char *typed_key_format(
	const struct key *key, const char *prefix, char text[static TYPED_KEY_TEXT_LEN])
{
	const int n = snprintf(text, TYPED_KEY_TEXT_LEN, "%s", prefix);

	sodium_bin2hex(text + n, (size_t)(TYPED_KEY_TEXT_LEN - n), key->bytes, KEY_LEN);
	return text;
}
