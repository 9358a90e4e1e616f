#include "control/coord/http_head.h"

#include <ctype.h>
#include <errno.h>
#include <strings.h>

static const char version[] = "HTTP/1."; // then a digit, a space, three digits
enum {
	VERSION_LEN = sizeof(version) - 1,
	STATUS_AT = VERSION_LEN + 2,
	STATUS_LINE_MIN = STATUS_AT + 3,
};

static void value_keep(char to[static HTTP_VALUE_LEN], const char *value, size_t len)
{
	while (len && isspace((uint8_t)*value)) {
		value++;
		len--;
	}
	while (len && isspace((uint8_t)value[len - 1]))
		len--;
	if (len >= HTTP_VALUE_LEN)
		len = HTTP_VALUE_LEN - 1;
	for (size_t i = 0; i < len; i++)
		to[i] = isprint((uint8_t)value[i]) ? value[i] : '?';
	to[len] = '\0';
}

static void header_take(struct http_head *out, const char *line, size_t len)
{
	const struct {
		const char *name;
		char *value;
	} kept[] = {
		{"Upgrade", out->upgrade}, {"Location", out->location}, {"Server", out->server}};
	const char *const colon = memchr(line, ':', len);
	const size_t name_len = colon ? (size_t)(colon - line) : 0;

	for (size_t i = 0; i < sizeof(kept) / sizeof(*kept); i++)
		if (name_len == strlen(kept[i].name) && !strncasecmp(line, kept[i].name, name_len))
			value_keep(kept[i].value, colon + 1, len - name_len - 1);
}

static bool status_line(const char *line, size_t len, int *status)
{
	const char *const digits = line + STATUS_AT;

	if (len < STATUS_LINE_MIN || !isdigit((uint8_t)line[VERSION_LEN]) ||
		line[VERSION_LEN + 1] != ' ')
		return false;
	for (int i = 0; i < 3; i++)
		if (!isdigit((uint8_t)digits[i]))
			return false;
	*status = (digits[0] - '0') * 100 + (digits[1] - '0') * 10 + (digits[2] - '0');
	return len == STATUS_LINE_MIN || digits[3] == ' ';
}

long http_head_parse(const uint8_t *bytes, size_t len, struct http_head *out)
{
	const size_t room = len < HTTP_HEAD_MAX ? len : HTTP_HEAD_MAX;
	const char *const text = (const char *)bytes, *line = text;

	*out = (struct http_head){0};
	if (memcmp(bytes, version, room < VERSION_LEN ? room : VERSION_LEN) != 0)
		return -EPROTO;
	for (;;) {
		const size_t left = room - (size_t)(line - text);
		const char *const end = memchr(line, '\n', left);
		if (!end)
			return room < HTTP_HEAD_MAX ? 0 : -EMSGSIZE;
		size_t n = (size_t)(end - line);
		if (n && line[n - 1] == '\r')
			n--;
		if (line == text) {
			if (!status_line(line, n, &out->status))
				return -EPROTO;
		} else if (!n) {
			return end + 1 - text;
		} else {
			header_take(out, line, n);
		}
		line = end + 1;
	}
}
