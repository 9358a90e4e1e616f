#include "control/ctl/query.h"

#include <errno.h>
#include <stdio.h>

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

// len bytes of text into room bytes of out, the final zero included. 0 or -EINVAL.
static int decode(const char *text, size_t len, char *out, size_t room)
{
	size_t n = 0;
	for (size_t i = 0; i < len; i++) {
		int c = (unsigned char)text[i];
		if (c == '%') {
			int high = i + 1 < len ? hex_digit(text[i + 1]) : -1;
			int low = i + 2 < len ? hex_digit(text[i + 2]) : -1;
			if (high < 0 || low < 0)
				return -EINVAL;
			c = high << 4 | low;
			i += 2;
		}
		if (c < 0x20 || c == 0x7f || n + 1 >= room)
			return -EINVAL;
		out[n++] = (char)c;
	}
	out[n] = '\0';
	return 0;
}

static bool is_known(const char *name, const char *const names[])
{
	for (; *names != NULL; names++)
		if (strcmp(name, *names) == 0)
			return true;
	return false;
}

static int parse_param(const char *text, size_t len, const char *const names[], struct query *q,
	char err[static QUERY_ERROR_LEN])
{
	const char *equals = memchr(text, '=', len);
	if (equals == NULL || q->n == QUERY_PARAMS_MAX) {
		snprintf(err, QUERY_ERROR_LEN,
			equals == NULL ? "a parameter without '='" : "too many parameters");
		return -EINVAL;
	}
	size_t name_len = (size_t)(equals - text);
	char *name = q->param[q->n].name, *value = q->param[q->n].value;
	if (decode(text, name_len, name, QUERY_NAME_LEN) < 0 || !is_known(name, names)) {
		snprintf(err, QUERY_ERROR_LEN, "unknown parameter %u", q->n + 1);
		return -EINVAL;
	}
	if (query_text(q, name) != NULL) {
		snprintf(err, QUERY_ERROR_LEN, "parameter '%s' is given twice", name);
		return -EINVAL;
	}
	if (decode(equals + 1, len - name_len - 1, value, QUERY_VALUE_LEN) < 0) {
		snprintf(err, QUERY_ERROR_LEN, "parameter '%s': malformed or too long", name);
		return -EINVAL;
	}
	q->n++;
	return 0;
}

int query_parse(const char *text, const char *const names[], struct query *out,
	char err[static QUERY_ERROR_LEN])
{
	*out = (struct query){};
	while (text != NULL && *text != '\0') {
		size_t len = strcspn(text, "&");
		int error = parse_param(text, len, names, out, err);
		if (error < 0)
			return error;
		text += len + (text[len] == '&');
	}
	return 0;
}

const char *query_text(const struct query *q, const char *name)
{
	for (unsigned i = 0; i < q->n; i++)
		if (strcmp(q->param[i].name, name) == 0)
			return q->param[i].value;
	return NULL;
}

int query_number(const struct query *q, const char *name, uint32_t otherwise, uint32_t min,
	uint32_t max, uint32_t *out, char err[static QUERY_ERROR_LEN])
{
	const char *text = query_text(q, name);
	uint64_t value = 0;
	if (text == NULL) {
		*out = otherwise;
		return 0;
	}
	size_t len = strlen(text);
	if (len == 0 || len > 10 || strspn(text, "0123456789") != len)
		goto bad_number;
	for (; *text != '\0'; text++)
		value = value * 10 + (uint64_t)(*text - '0');
	if (value < min || value > max)
		goto bad_number;
	*out = (uint32_t)value;
	return 0;
bad_number:
	snprintf(err, QUERY_ERROR_LEN, "parameter '%s' must be a number from %u to %u", name, min,
		max);
	return -EINVAL;
}
