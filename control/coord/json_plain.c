#include "control/coord/json_scan.h"

// From the opening quote to behind the closing one.
static bool read_text(struct json_scan *s, struct slice *out)
{
	if (!json_take(s, '"'))
		return false;
	out->text = s->at;
	while (s->at < s->end && *s->at >= ' ' && *s->at < 0x7f && *s->at != '"' && *s->at != '\\')
		s->at++;
	out->len = (size_t)(s->at - out->text);
	return s->at < s->end && *s->at++ == '"';
}

static json_t *read_integer(struct json_scan *s)
{
	enum { DIGITS_MAX = 18 };
	const bool negative = *s->at == '-';
	const char *const first = s->at + negative;
	json_int_t n = 0;

	for (s->at = first; s->at < s->end && *s->at >= '0' && *s->at <= '9'; s->at++) {
		if (s->at - first == DIGITS_MAX)
			return NULL;
		n = n * 10 + (*s->at - '0');
	}
	if (s->at == first || (*first == '0' && s->at - first > 1))
		return NULL;
	return json_integer(negative ? -n : n);
}

static json_t *read_word(struct json_scan *s)
{
	static const char *const words[] = {"true", "false", "null"};
	const size_t left = (size_t)(s->end - s->at);

	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
		const size_t len = strlen(words[i]);
		if (left < len || memcmp(s->at, words[i], len) != 0)
			continue;
		s->at += len;
		return i == 0 ? json_true() : i == 1 ? json_false() : json_null();
	}
	return NULL;
}

static json_t *read_value(struct json_scan *s, unsigned depth);

static bool read_member(struct json_scan *s, unsigned depth, json_t *object)
{
	struct slice name;

	if (!read_text(s, &name) || !json_take(s, ':'))
		return false;
	json_t *const value = read_value(s, depth);
	return value && !json_object_setn_new_nocheck(object, name.text, name.len, value);
}

static json_t *read_object(struct json_scan *s, unsigned depth)
{
	json_t *const object = json_object();

	if (json_take(s, '}'))
		return object;
	do {
		if (!read_member(s, depth, object))
			return json_decref(object), NULL;
	} while (json_take(s, ','));
	if (json_take(s, '}'))
		return object;
	return json_decref(object), NULL;
}

static json_t *read_array(struct json_scan *s, unsigned depth)
{
	json_t *const array = json_array();

	if (json_take(s, ']'))
		return array;
	do {
		json_t *const value = read_value(s, depth);
		if (!value || json_array_append_new(array, value))
			return json_decref(array), NULL;
	} while (json_take(s, ','));
	if (json_take(s, ']'))
		return array;
	return json_decref(array), NULL;
}

static json_t *read_value(struct json_scan *s, unsigned depth)
{
	struct slice text;

	json_skip_space(s);
	if (s->at == s->end)
		return NULL;
	switch (*s->at) {
	case '"':
		return read_text(s, &text) ? json_stringn_nocheck(text.text, text.len) : NULL;
	case '{':
	case '[':
		if (depth == JSON_DEPTH_MAX)
			return NULL;
		return *s->at++ == '{' ? read_object(s, depth + 1) : read_array(s, depth + 1);
	case 't':
	case 'f':
	case 'n':
		return read_word(s);
	default:
		return read_integer(s);
	}
}

json_t *json_plain(struct slice s)
{
	struct json_scan scan = {s.text, s.text + s.len};
	json_t *const value = read_value(&scan, 0);

	json_skip_space(&scan);
	if (scan.at == scan.end)
		return value;
	json_decref(value);
	return NULL;
}
