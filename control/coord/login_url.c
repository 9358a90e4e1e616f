#include "control/coord/login_url.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum {
	HTTP_PORT = 80,
	HTTPS_PORT = 443,
};

static const char http[] = "http://", https[] = "https://";

// What stands behind the scheme; NULL for another one.
static const char *behind_scheme(const char *url)
{
	if (!strncasecmp(url, http, sizeof(http) - 1))
		return url + sizeof(http) - 1;
	if (!strncasecmp(url, https, sizeof(https) - 1))
		return url + sizeof(https) - 1;
	return NULL;
}

static bool host_right(const char *host, size_t len, bool brackets)
{
	static const char letters[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";
	static const char address[] = "0123456789abcdefABCDEF:.";

	if (!len || len > LOGIN_HOST_MAX)
		return false;
	return strspn(host, brackets ? address : letters) >= len;
}

// A loopback or private host has no certificate that anybody trusts.
static bool host_private(const char *host)
{
	static const char *const ranges[] = {"127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12",
		"192.168.0.0/16", "::1/128", "fc00::/7"};
	struct ip_prefix range;
	struct ip_addr address;

	if (ip_addr_parse(host, &address))
		return !strcasecmp(host, "localhost");
	for (size_t i = 0; i < sizeof(ranges) / sizeof(*ranges); i++)
		if (!ip_prefix_parse(ranges[i], &range) && ip_prefix_contains(&range, &address))
			return true;
	return false;
}

// An explicit port leaves the other scheme's at its usual value.
static void ports_choose(struct login_url *u, uint16_t port)
{
	u->http_port = HTTP_PORT;
	u->https_port = HTTPS_PORT;
	if (!port)
		return;
	if (u->tls) {
		u->https_port = port;
		return;
	}
	u->http_port = port;
	if (host_private(u->host))
		u->https_port = 0;
}

int login_url_parse(const char *text, struct login_url *out)
{
	const char *const authority = behind_scheme(text);
	unsigned long port = 0;

	*out = (struct login_url){0};
	if (!authority)
		return -EINVAL;
	const bool brackets = *authority == '[';
	const char *const host = authority + brackets;
	const size_t host_len = strcspn(host, brackets ? "]" : ":/");
	if (!host_right(host, host_len, brackets) || (brackets && host[host_len] != ']'))
		return -EINVAL;
	const char *rest = host + host_len + brackets;
	if (*rest == ':') {
		const size_t digits = strspn(++rest, "0123456789");
		port = strtoul(rest, NULL, 10);
		if (!digits || digits > 5 || !port || port > UINT16_MAX)
			return -EINVAL;
		rest += digits;
	}
	if (*rest && strcmp(rest, "/") != 0)
		return -EINVAL;
	out->tls = !strncasecmp(text, https, sizeof(https) - 1);
	memcpy(out->host, host, host_len);
	snprintf(
		out->authority, sizeof(out->authority), "%.*s", (int)(rest - authority), authority);
	snprintf(out->origin, sizeof(out->origin), "%s%s", out->tls ? https : http, out->authority);
	ports_choose(out, (uint16_t)port);
	return 0;
}

const char *url_path(const char *url)
{
	const char *const authority = behind_scheme(url);

	if (!authority)
		return NULL;
	const char *const path = authority + strcspn(authority, "/?#");
	return *path == '/' ? path : "/";
}

const char *url_origin(const char *url, char *out, size_t size)
{
	const char *const authority = behind_scheme(url);
	const size_t len = authority ? (size_t)(authority - url) + strcspn(authority, "/?#") : 0;

	snprintf(out, size, "%.*s", (int)len, url);
	return out;
}
