#include "config/reader.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>

static void error_fill(struct config_error *err, const char *file, unsigned line, const char *key,
	const char *format, va_list args)
{
	memset(err, 0, sizeof(*err));
	snprintf(err->file, sizeof(err->file), "%s", file);
	snprintf(err->key, sizeof(err->key), "%s", key);
	err->line = line;
	vsnprintf(err->message, sizeof(err->message), format, args);
	// What is quoted from the file goes to a terminal or a log: one line, no escapes.
	for (char *c = err->message; *c; c++) {
		if (iscntrl((unsigned char)*c))
			*c = '?';
	}
}

static void setting_path(const config_setting_t *s, char *text, size_t size)
{
	text[0] = '\0';
	if (!s || !s->parent)
		return;
	setting_path(s->parent, text, size);
	size_t n = strlen(text);
	if (s->name)
		snprintf(text + n, size - n, "%s%s", n > 0 ? "." : "", s->name);
	else
		snprintf(text + n, size - n, "[%d]", config_setting_index(s));
}

int reader_refuse(struct config_reader *r, const config_setting_t *s, const char *format, ...)
{
	char key[CONFIG_ERROR_KEY_LEN];
	va_list args;
	setting_path(s, key, sizeof(key));
	va_start(args, format);
	error_fill(r->err, r->path, s ? s->line : 0, key, format, args);
	va_end(args);
	return -EINVAL;
}

int reader_refuse_member(struct config_reader *r, const config_setting_t *group, const char *name,
	const char *format, ...)
{
	char key[CONFIG_ERROR_KEY_LEN];
	const config_setting_t *s = config_setting_get_member(group, name);
	va_list args;
	setting_path(group, key, sizeof(key));
	size_t n = strlen(key);
	snprintf(key + n, sizeof(key) - n, "%s%s", n > 0 ? "." : "", name);
	va_start(args, format);
	error_fill(r->err, r->path, s ? s->line : group->line, key, format, args);
	va_end(args);
	return -EINVAL;
}

int reader_refuse_line(struct config_reader *r, unsigned line, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	error_fill(r->err, r->path, line, "", format, args);
	va_end(args);
	return -EINVAL;
}

const char *reader_kind(const config_setting_t *s)
{
	switch (s->type) {
	case CONFIG_TYPE_GROUP:
		return "a group { }";
	case CONFIG_TYPE_INT:
	case CONFIG_TYPE_INT64:
		return "a number";
	case CONFIG_TYPE_FLOAT:
		return "a number with a fraction";
	case CONFIG_TYPE_STRING:
		return "a string";
	case CONFIG_TYPE_BOOL:
		return "true or false without quotes";
	case CONFIG_TYPE_ARRAY:
		return "an array [ ]";
	default:
		return "a list ( )";
	}
}
