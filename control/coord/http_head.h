// The head of an HTTP/1.1 answer, as far as an upgrade needs it. Pure. [ctl]
#pragma once

#include "dataplane/base/types.h"

enum {
	HTTP_HEAD_MAX = 8192,
	HTTP_VALUE_LEN = 256, // of a header that is kept; a longer one is cut
};

struct http_head {
	int status;
	char upgrade[HTTP_VALUE_LEN], location[HTTP_VALUE_LEN], server[HTTP_VALUE_LEN];
};

// Its length with the empty line, 0 when more bytes are needed, -EPROTO when this is no HTTP/1,
// -EMSGSIZE over HTTP_HEAD_MAX. Values are made printable; what follows is not looked at.
long http_head_parse(const uint8_t *bytes, size_t len, struct http_head *out) must_check;
