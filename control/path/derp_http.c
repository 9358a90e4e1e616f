// The HTTP/1.1 upgrade before DERP.
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "control/path/derp_wire.h"

static bool header_value_valid(const char *text, size_t max)
{
	if (strlen(text) > max)
		return false;
	for (; *text; text++)
		if (!isgraph((unsigned char)*text))
			return false;
	return true;
}

// Append "name: value\r\n", or nothing without a value.
static void append_header(struct derp *d, const char *name, const char *value)
{
	if (value)
		d->request_len += (size_t)snprintf(d->request + d->request_len,
			sizeof(d->request) - d->request_len, "%s: %s\r\n", name, value);
}

// The order is that of the real client.
int derp_http_request(struct derp *d, const struct derp_options *o)
{
	enum { NAME_MAX_LEN = 128 }; // the three together stay far below DERP_REQUEST_MAX

	if (!o->host[0] || !header_value_valid(o->host, DERP_HOST_MAX) ||
		(o->user_agent && !header_value_valid(o->user_agent, NAME_MAX_LEN)) ||
		(o->ideal_node && !header_value_valid(o->ideal_node, NAME_MAX_LEN)))
		return -EINVAL;
	d->request_len = (size_t)snprintf(d->request, sizeof(d->request), "GET /derp HTTP/1.1\r\n");
	append_header(d, "Host", o->host);
	append_header(d, "User-Agent", o->user_agent);
	append_header(d, "Connection", "Upgrade");
	append_header(d, "Derp-Fast-Start", d->fast_start ? "1" : NULL);
	append_header(d, "Ideal-Node", o->ideal_node);
	append_header(d, "Upgrade", "DERP");
	d->request_len += (size_t)snprintf(
		d->request + d->request_len, sizeof(d->request) - d->request_len, "\r\n");
	return 0;
}

int derp_http_response(struct derp *d, const char *head, size_t len)
{
	static const char version[] = "HTTP/1.1 ";
	enum { STATUS_LEN = 3 };
	const size_t status_at = sizeof(version) - 1;
	const char *end = memchr(head, '\r', len);
	const size_t line_len = end ? (size_t)(end - head) : 0;

	if (line_len < status_at + STATUS_LEN || memcmp(head, version, status_at) != 0)
		return derp_fail(d, -EPROTO, "what answers there does not speak HTTP/1.1");
	if (memcmp(head + status_at, "101", STATUS_LEN) == 0) {
		d->state = DERP_WAIT_KEY;
		return 0;
	}
	return derp_fail(d, -ECONNREFUSED, "no DERP there: HTTP %.*s",
		(int)(line_len - status_at < 80 ? line_len - status_at : 80), head + status_at);
}

int derp_fail(struct derp *d, int error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(d->error_text, sizeof(d->error_text), format, args);
	va_end(args);
	for (char *c = d->error_text; *c; c++)
		if (!isprint((unsigned char)*c))
			*c = '?';
	d->error = error;
	d->state = DERP_FAILED;
	return error;
}
