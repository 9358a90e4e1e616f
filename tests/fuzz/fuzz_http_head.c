// The answer to the upgrade, whole and cut, and what a redirect in it or a user's URL leads to.
#include <errno.h>

#include "control/coord/http_head.h"
#include "control/coord/login_url.h"
#include "tests/fuzz/fuzz.h"

static void check_ascii(const char *text, size_t room)
{
	check_text(text, room);
	for (; *text; text++)
		check((uint8_t)*text < 0x7f);
}

static void url_check(const char *text)
{
	char origin[LOGIN_URL_MAX];
	struct login_url u, again;

	if (!login_url_parse(text, &u)) {
		check(u.host[0] && u.authority[0] && u.http_port && (u.https_port || !u.tls));
		check_ascii(u.host, sizeof(u.host));
		check_ascii(u.origin, sizeof(u.origin));
		check(!login_url_parse(u.origin, &again)); // is one itself
	}
	url_origin(text, origin, sizeof(origin));
	check(memchr(origin, '\0', sizeof(origin)));
	const char *const path = url_path(text);
	check(!path || *path == '/');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *const exact = exact_copy(data, size);
	char *const text = exact_text(data, size);
	struct http_head whole, part;

	const long len = http_head_parse(exact, size, &whole);
	check(len <= (long)size && len <= HTTP_HEAD_MAX);
	check_ascii(whole.upgrade, sizeof(whole.upgrade));
	check_ascii(whole.location, sizeof(whole.location));
	if (len > 0) {
		check(whole.status >= 0 && whole.status <= 999);
		check(http_head_parse(exact, (size_t)len, &part) == len);
		check(http_head_parse(exact, (size_t)len - 1, &part) == 0);
	}
	url_check(text);
	url_check(whole.location);
	free(text);
	free(exact);
	return 0;
}
