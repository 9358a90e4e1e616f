// The head of an HTTP/1.1 request, as far as the peerAPI needs it. Pure; what is there points into
// the bytes. [any thread]
#pragma once

#include "dataplane/base/types.h"

enum {
	HTTP_REQUEST_MAX = 16384, // bytes of a head: a DNS query in the URL has 5500
};

struct http_text {
	const char *at; // not terminated
	size_t len;
};

struct http_request {
	struct http_text method, path, query; // query: behind the ?
	struct http_text host, content_type;
	uint64_t content_length;
	bool has_host, foreign; // foreign: a page in a browser is behind it (Origin or Referer)
	bool expects;		// a 100 before the body
};

// Its length with the empty line, 0 when more bytes are needed, -EPROTO when this is no HTTP/1.1
// request or one that could be read in two ways (two hosts or lengths, a length beside a transfer
// coding, folded lines, control characters), -ENOTSUP with a transfer coding, -EMSGSIZE over
// HTTP_REQUEST_MAX.
long http_request_parse(const uint8_t *bytes, size_t len, struct http_request *out) must_check;
bool http_text_is(const struct http_text *, const char *); // exactly
// The value of a member of the query, as it stands there; false: there is none.
bool http_query_get(const struct http_text *query, const char *name, struct http_text *out);
// base64url without padding (RFC 4648, 5). Bytes written, or -EINVAL: another letter, a length that
// cannot be, bits that are left over, more than max.
long base64url_decode(const struct http_text *, uint8_t *out, size_t max) must_check;
