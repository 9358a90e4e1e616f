// A request to the peerAPI, whole and cut, and the query in its URL.
#include <errno.h>
#include <stdlib.h>

#include "control/net/http_request.h"
#include "control/tailnet/peerapi_debug.h"
#include "tests/fuzz/fuzz.h"

static void inside(const struct http_text *t, const uint8_t *bytes, size_t len)
{
	const uint8_t *at = (const uint8_t *)t->at;
	check(t->len == 0 || (at >= bytes && at + t->len <= bytes + len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *bytes = malloc(size ? size : 1), query[512];
	struct http_request r;
	struct http_text value;
	memcpy(bytes, data, size);
	long n = http_request_parse(bytes, size, &r);
	check(n == -EPROTO || n == -ENOTSUP || n == -EMSGSIZE || (n >= 0 && (size_t)n <= size));
	if (n > 0) {
		const struct http_text *const all[] = {
			&r.method, &r.path, &r.query, &r.host, &r.content_type};
		for (unsigned i = 0; i < 5; i++)
			inside(all[i], bytes, (size_t)n);
		check(r.path.len && r.path.at[0] == '/');
		for (long cut = 0; cut < n; cut++) {
			struct http_request part;
			check(http_request_parse(bytes, (size_t)cut, &part) == 0);
		}
		check(peerapi_debug_query(&r.query, query, sizeof(query)) <= (long)sizeof(query));
		if (http_query_get(&r.query, "dns", &value)) {
			inside(&value, bytes, (size_t)n);
			check(base64url_decode(&value, query, sizeof(query)) <=
				(long)sizeof(query));
		}
	}
	free(bytes);
	return 0;
}
