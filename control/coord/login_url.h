// The login server's URL, and which ports to dial for it. Source: tailscale
// control/ts2021/client.go. [ctl]
#pragma once

#include "dataplane/base/types.h"

enum {
	LOGIN_HOST_MAX = 253, // of DNS
	LOGIN_AUTHORITY_LEN = 264,
	LOGIN_URL_MAX = 280,
};

struct login_url {
	bool tls;			     // https
	char host[LOGIN_HOST_MAX + 1];	     // without brackets
	char authority[LOGIN_AUTHORITY_LEN]; // host as in the URL, with its port if there is one
	char origin[LOGIN_URL_MAX];	     // scheme and authority, no final slash
	uint16_t http_port;
	uint16_t https_port; // 0: not to be tried
};

// "https://host", "http://host:port", "https://[v6]", with one final slash at most. -EINVAL:
// another scheme, a path, a user, a port out of range, odd characters; *out is undefined then.
int login_url_parse(const char *text, struct login_url *out) must_check;
// What a URL asks of its own server: from its path on. NULL: no URL of http or https.
const char *url_path(const char *url);
// Scheme and authority only, cut at size; "" for no URL. Returns out.
const char *url_origin(const char *url, char *out, size_t size);
