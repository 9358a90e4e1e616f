#include "control/coord/json.h"

struct reader {
	const char *at, *end;
};

static void skip_space(struct reader *r)
{
	while (r->at < r->end &&
		(*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r'))
		r->at++;
}

static bool take(struct reader *r, char c)
{
	skip_space(r);
	if (r->at == r->end || *r->at != c)
		return false;
	r->at++;
	return true;
}

// From the opening quote to behind the closing one.
static bool read_text(struct reader *r, struct slice *out)
{
	if (!take(r, '"'))
		return false;
	out->text = r->at;
	while (r->at < r->end && *r->at >= ' ' && *r->at < 0x7f && *r->at != '"' && *r->at != '\\')
		r->at++;
	out->len = (size_t)(r->at - out->text);
	return r->at < r->end && *r->at++ == '"';
}

static json_t *read_integer(struct reader *r)
{
	enum { DIGITS_MAX = 18 };
	const bool negative = *r->at == '-';
	const char *const first = r->at + negative;
	json_int_t n = 0;

	for (r->at = first; r->at < r->end && *r->at >= '0' && *r->at <= '9'; r->at++) {
		if (r->at - first == DIGITS_MAX)
			return NULL;
		n = n * 10 + (*r->at - '0');
	}
	if (r->at == first || (*first == '0' && r->at - first > 1))
		return NULL;
	return json_integer(negative ? -n : n);
}

static json_t *read_word(struct reader *r)
{
	static const char *const words[] = {"true", "false", "null"};
	const size_t left = (size_t)(r->end - r->at);

	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
		const size_t len = strlen(words[i]);
		if (left < len || memcmp(r->at, words[i], len) != 0)
			continue;
		r->at += len;
		return i == 0 ? json_true() : i == 1 ? json_false() : json_null();
	}
	return NULL;
}

static json_t *read_value(struct reader *r, unsigned depth);

static bool read_member(struct reader *r, unsigned depth, json_t *object)
{
	struct slice name;

	if (!read_text(r, &name) || !take(r, ':'))
		return false;
	json_t *const value = read_value(r, depth);
	return value && !json_object_setn_new_nocheck(object, name.text, name.len, value);
}

static json_t *read_object(struct reader *r, unsigned depth)
{
	json_t *const object = json_object();

	if (take(r, '}'))
		return object;
	do {
		if (!read_member(r, depth, object))
			return json_decref(object), NULL;
	} while (take(r, ','));
	if (take(r, '}'))
		return object;
	return json_decref(object), NULL;
}

static json_t *read_array(struct reader *r, unsigned depth)
{
	json_t *const array = json_array();

	if (take(r, ']'))
		return array;
	do {
		json_t *const value = read_value(r, depth);
		if (!value || json_array_append_new(array, value))
			return json_decref(array), NULL;
	} while (take(r, ','));
	if (take(r, ']'))
		return array;
	return json_decref(array), NULL;
}

static json_t *read_value(struct reader *r, unsigned depth)
{
	struct slice text;

	skip_space(r);
	if (r->at == r->end)
		return NULL;
	switch (*r->at) {
	case '"':
		return read_text(r, &text) ? json_stringn_nocheck(text.text, text.len) : NULL;
	case '{':
	case '[':
		if (depth == JSON_DEPTH_MAX)
			return NULL;
		return *r->at++ == '{' ? read_object(r, depth + 1) : read_array(r, depth + 1);
	case 't':
	case 'f':
	case 'n':
		return read_word(r);
	default:
		return read_integer(r);
	}
}

json_t *json_plain(struct slice s)
{
	struct reader r = {s.text, s.text + s.len};
	json_t *const value = read_value(&r, 0);

	skip_space(&r);
	if (r.at == r.end)
		return value;
	json_decref(value);
	return NULL;
}
