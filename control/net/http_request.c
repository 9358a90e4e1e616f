#include "control/net/http_request.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

bool http_text_is(const struct http_text *t, const char *text)
{
	return t->len == strlen(text) && (t->len == 0 || memcmp(t->at, text, t->len) == 0);
}

static bool is_name(const struct http_text *t, const char *name)
{
	return t->len == strlen(name) && strncasecmp(t->at, name, t->len) == 0;
}

// Without the white space around it.
static struct http_text trim(const char *at, size_t len)
{
	while (len && (*at == ' ' || *at == '\t')) {
		at++;
		len--;
	}
	while (len && (at[len - 1] == ' ' || at[len - 1] == '\t'))
		len--;
	return (struct http_text){at, len};
}

static int read_length(const struct http_text *t, uint64_t *out)
{
	uint64_t n = 0;
	if (t->len == 0 || t->len > 10)
		return -EPROTO;
	for (size_t i = 0; i < t->len; i++) {
		if (!isdigit((uint8_t)t->at[i]))
			return -EPROTO;
		n = n * 10 + (uint64_t)(t->at[i] - '0');
	}
	*out = n;
	return 0;
}

struct seen {
	bool length, coding;
};

static int take_header(struct http_request *r, struct seen *seen, const char *line, size_t len)
{
	const char *colon = memchr(line, ':', len);
	if (!colon || colon == line)
		return -EPROTO;
	struct http_text name = {line, (size_t)(colon - line)};
	struct http_text value = trim(colon + 1, len - name.len - 1);
	for (size_t i = 0; i < name.len; i++) {
		if (!isalnum((uint8_t)line[i]) && !strchr("!#$%&'*+-.^_`|~", line[i]))
			return -EPROTO;
	}
	if (is_name(&name, "Host")) {
		if (r->has_host)
			return -EPROTO;
		r->has_host = true;
		r->host = value;
	} else if (is_name(&name, "Content-Length")) {
		if (seen->length)
			return -EPROTO;
		seen->length = true;
		return read_length(&value, &r->content_length);
	} else if (is_name(&name, "Transfer-Encoding")) {
		seen->coding = true;
	} else if (is_name(&name, "Content-Type")) {
		r->content_type = value;
	} else if (is_name(&name, "Expect")) {
		r->expects = is_name(&value, "100-continue");
	} else if (is_name(&name, "Origin") || is_name(&name, "Referer")) {
		r->foreign = true;
	}
	return 0;
}

static int take_request_line(struct http_request *r, const char *line, size_t len)
{
	static const char version[] = " HTTP/1.1";
	const size_t version_len = sizeof(version) - 1;
	const char *space = memchr(line, ' ', len);
	if (!space || space == line || len < version_len ||
		memcmp(line + len - version_len, version, version_len) != 0)
		return -EPROTO;
	r->method = (struct http_text){line, (size_t)(space - line)};
	struct http_text target = {space + 1, 0};
	if (line + len - version_len <= target.at)
		return -EPROTO;
	target.len = (size_t)(line + len - version_len - target.at);
	if (*target.at != '/' || memchr(target.at, ' ', target.len))
		return -EPROTO;
	const char *mark = memchr(target.at, '?', target.len);
	r->path = (struct http_text){target.at, mark ? (size_t)(mark - target.at) : target.len};
	if (mark)
		r->query = (struct http_text){mark + 1, target.len - r->path.len - 1};
	for (size_t i = 0; i < r->method.len; i++) {
		if (!isupper((uint8_t)line[i]))
			return -EPROTO;
	}
	return 0;
}

static bool is_printable(const char *line, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (((uint8_t)line[i] < ' ' && line[i] != '\t') || line[i] == 0x7f)
			return false;
	}
	return true;
}

long http_request_parse(const uint8_t *bytes, size_t len, struct http_request *out)
{
	const size_t room = len < HTTP_REQUEST_MAX ? len : HTTP_REQUEST_MAX;
	const char *const text = (const char *)bytes, *line = text;
	struct seen seen = {0};
	*out = (struct http_request){0};
	for (;;) {
		const size_t left = room - (size_t)(line - text);
		const char *const end = left ? memchr(line, '\n', left) : NULL;
		if (!end)
			return room < HTTP_REQUEST_MAX ? 0 : -EMSGSIZE;
		size_t n = (size_t)(end - line);
		if (n == 0 || line[n - 1] != '\r')
			return -EPROTO;
		n--;
		if (n == 0 && line != text)
			break;
		int error = !is_printable(line, n) ? -EPROTO
			    : line == text	   ? take_request_line(out, line, n)
						   : take_header(out, &seen, line, n);
		if (error)
			return error;
		line = end + 1;
	}
	if (seen.coding)
		return seen.length ? -EPROTO : -ENOTSUP;
	return line + 2 - text;
}

bool http_query_get(const struct http_text *query, const char *name, struct http_text *out)
{
	const size_t name_len = strlen(name);
	if (query->len == 0)
		return false;
	const char *at = query->at, *const end = at + query->len;
	while (at < end) {
		const char *and = memchr(at, '&', (size_t)(end - at));
		const char *stop = and? and : end;
		if ((size_t)(stop - at) > name_len && at[name_len] == '=' &&
			memcmp(at, name, name_len) == 0) {
			*out = (struct http_text){
				at + name_len + 1, (size_t)(stop - at) - name_len - 1};
			return true;
		}
		at = stop + 1;
	}
	return false;
}

static int sextet(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '-' ? 62 : c == '_' ? 63 : -1;
}

long base64url_decode(const struct http_text *t, uint8_t *out, size_t max)
{
	uint32_t bits = 0;
	unsigned n_bits = 0;
	size_t n = 0;
	if (t->len % 4 == 1)
		return -EINVAL;
	for (size_t i = 0; i < t->len; i++) {
		int value = sextet(t->at[i]);
		if (value < 0)
			return -EINVAL;
		bits = bits << 6 | (uint32_t)value;
		n_bits += 6;
		if (n_bits < 8)
			continue;
		n_bits -= 8;
		if (n == max)
			return -EINVAL;
		out[n++] = (uint8_t)(bits >> n_bits);
		bits &= (1u << n_bits) - 1;
	}
	return bits ? -EINVAL : (long)n;
}
