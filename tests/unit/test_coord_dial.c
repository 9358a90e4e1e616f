// Login servers that are none, and what people are told: everything up to the first request.
#include "tests/unit/coord_fixture.h"

#include "control/coord/http_head.h"
#include "control/coord/login_url.h"
#include "control/coord/trouble.h"

#define NO_BODY "Content-Length: 0\r\n\r\n"

static void test_urls(void **)
{
	static const struct {
		const char *text, *host, *authority, *origin;
		uint16_t http, https;
	} cases[] = {
		{"https://a.example", "a.example", "a.example", "https://a.example", 80, 443},
		{"https://a.example/", "a.example", "a.example", "https://a.example", 80, 443},
		{"https://a.example:8443", "a.example", "a.example:8443", "https://a.example:8443",
			80, 8443},
		{"http://a.example:8080", "a.example", "a.example:8080", "http://a.example:8080",
			8080, 443},
		{"HTTP://a.example", "a.example", "a.example", "http://a.example", 80, 443},
		{"http://10.1.2.3:8080", "10.1.2.3", "10.1.2.3:8080", "http://10.1.2.3:8080", 8080,
			0},
		{"http://172.32.0.1:81", "172.32.0.1", "172.32.0.1:81", "http://172.32.0.1:81", 81,
			443},
		{"http://localhost:8080", "localhost", "localhost:8080", "http://localhost:8080",
			8080, 0},
		{"http://[::1]:8080/", "::1", "[::1]:8080", "http://[::1]:8080", 8080, 0},
		{"http://[fd00::5]:8080", "fd00::5", "[fd00::5]:8080", "http://[fd00::5]:8080",
			8080, 0},
		{"https://[2001:db8::1]", "2001:db8::1", "[2001:db8::1]", "https://[2001:db8::1]",
			80, 443},
		{"https://192.168.1.1:8443", "192.168.1.1", "192.168.1.1:8443",
			"https://192.168.1.1:8443", 80, 8443},
	};
	struct login_url u;

	for (size_t i = 0; i < COUNT(cases); i++) {
		print_message("%s\n", cases[i].text);
		assert_int_equal(login_url_parse(cases[i].text, &u), 0);
		assert_string_equal(u.host, cases[i].host);
		assert_string_equal(u.authority, cases[i].authority);
		assert_string_equal(u.origin, cases[i].origin);
		assert_int_equal(u.http_port, cases[i].http);
		assert_int_equal(u.https_port, cases[i].https);
	}
}

static void test_bad_urls(void **)
{
	static const char *const cases[] = {"", "a.example", "ftp://a", "https://", "http://:80",
		"http:///", "http://a:", "http://a:0", "http://a:65536", "http://a:123456",
		"http://a:8x", "http://a/x", "http://a//", "http://a?x", "http://a#x", "http://u@a",
		"http://u:p@a", "http://a b", "http://a\r\nX: y", "http://[::1", "http://[]",
		"http://[::1]x", "http://::1", "http://[a.example]", "http://\xc3\xa4", "https:/a"};
	char name[400] = "http://";
	struct login_url u;

	for (size_t i = 0; i < COUNT(cases); i++) {
		print_message("%s\n", cases[i]);
		assert_int_equal(login_url_parse(cases[i], &u), -EINVAL);
	}
	memset(name + 7, 'a', LOGIN_HOST_MAX);
	assert_int_equal(login_url_parse(name, &u), 0);
	name[7 + LOGIN_HOST_MAX] = 'a';
	assert_int_equal(login_url_parse(name, &u), -EINVAL);
}

static void test_heads(void **)
{
	static const struct {
		const char *text;
		long result;
		int status;
	} cases[] = {
		{"HTTP/1.1 101 Switching\r\nupgrade: x\r\n\r\nrest", 38, 101},
		{"HTTP/1.0 404\r\n\r\n", 16, 404},
		{"HTTP/1.1 200 OK\n\nrest", 17, 200},
		{"", 0, 0},
		{"HTT", 0, 0},
		{"HTTP/1.1 101 Switching\r\n", 0, 101},
		{"HTTP/1.1 101 Switching\r\nA: b\r\n\r", 0, 101},
		{"HTTP/2 200\r\n\r\n", -EPROTO, 0},
		{"HTTP/1.1 1\r\n\r\n", -EPROTO, 0},
		{"HTTP/1.1 1x1 A\r\n\r\n", -EPROTO, 0},
		{"HTTP/1.1 1011\r\n\r\n", -EPROTO, 101},
		{"HTTP/1.x 101 A\r\n\r\n", -EPROTO, 0},
		{"SSH-2.0-OpenSSH\r\n", -EPROTO, 0},
		{"\x15\x03\x01", -EPROTO, 0},
	};
	static uint8_t endless[HTTP_HEAD_MAX + 10] = "HTTP/1.1 101 A\r\n";
	static const char odd[] = "HTTP/1.1 302 A\r\nLocation:  http://\x1b[2J \r\nServer\r\n\r\n";
	struct http_head h;

	for (size_t i = 0; i < COUNT(cases); i++) {
		print_message("%s\n", cases[i].text);
		assert_int_equal(
			http_head_parse((const uint8_t *)cases[i].text, strlen(cases[i].text), &h),
			cases[i].result);
		assert_int_equal(h.status, cases[i].status);
	}
	assert_true(http_head_parse((const uint8_t *)odd, sizeof(odd) - 1, &h) > 0);
	assert_string_equal(h.location, "http://?[2J");
	memset(endless + 16, 'x', sizeof(endless) - 16);
	assert_int_equal(http_head_parse(endless, HTTP_HEAD_MAX - 1, &h), 0);
	assert_int_equal(http_head_parse(endless, sizeof(endless), &h), -EMSGSIZE);
}

static void no_request(struct server *, struct server_stream *)
{
	fail_msg("a request came through");
}

// A server that is well but for one thing.
static const struct {
	const char *name, *key;
	enum server_upgrade upgrade;
	const char *text;
	enum coord_trouble trouble;
	enum coord_state state;
	const char *why[2];
} servers[] = {
	{"a page instead of a key", "HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n<html></html>",
		UPGRADE_GOOD, NULL, COORD_TROUBLE_WRONG_SERVER, COORD_CONNECTING,
		{"not a coordination server", "check the login server's URL"}},
	{"no /key", "HTTP/1.1 404 Not Found\r\n" NO_BODY, UPGRADE_GOOD, NULL,
		COORD_TROUBLE_WRONG_SERVER, COORD_CONNECTING, {"HTTP 404 for GET /key", "URL"}},
	{"a server before Noise",
		"HTTP/1.1 200 OK\r\nContent-Length: 64\r\n\r\n"
		"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
		UPGRADE_GOOD, NULL, COORD_TROUBLE_WRONG_SERVER, COORD_CONNECTING,
		{"too old", "URL"}},
	{"a zero key",
		"HTTP/1.1 200 OK\r\nContent-Length: 85\r\n\r\n{\"publicKey\":\"mkey:"
		"0000000000000000000000000000000000000000000000000000000000000000\"}",
		UPGRADE_GOOD, NULL, COORD_TROUBLE_WRONG_SERVER, COORD_CONNECTING,
		{"without a key", "URL"}},
	{"a key of low order",
		"HTTP/1.1 200 OK\r\nContent-Length: 85\r\n\r\n{\"publicKey\":\"mkey:"
		"0100000000000000000000000000000000000000000000000000000000000000\"}",
		UPGRADE_GOOD, NULL, COORD_TROUBLE_PROTOCOL, COORD_CONNECTING, {"key is none", ""}},
	{"an old version at /key",
		"HTTP/1.1 400 Bad Request\r\nContent-Length: 21\r\n\r\nunsupported version 1",
		UPGRADE_GOOD, NULL, COORD_TROUBLE_VERSION, COORD_REFUSED,
		{"unsupported version 1", "upgrade Tailgate"}},
	{"a gateway without its server", "HTTP/1.1 502 Bad Gateway\r\n" NO_BODY, UPGRADE_GOOD, NULL,
		COORD_TROUBLE_CONNECT, COORD_CONNECTING, {"HTTP 502", "runs"}},
	{"a redirect elsewhere",
		"HTTP/1.1 308 Permanent Redirect\r\nLocation: https://new.example/key\r\n" NO_BODY,
		UPGRADE_GOOD, NULL, COORD_TROUBLE_REDIRECT, COORD_CONNECTING,
		{"https://new.example/key", "log in with the URL"}},
	{"a redirect to nowhere", "HTTP/1.1 302 Found\r\n" NO_BODY, UPGRADE_GOOD, NULL,
		COORD_TROUBLE_REDIRECT, COORD_CONNECTING, {"nowhere", ""}},
	{"no HTTP", "SSH-2.0-OpenSSH\r\n", UPGRADE_GOOD, NULL, COORD_TROUBLE_WRONG_SERVER,
		COORD_CONNECTING, {"", ""}},
	{"nothing at all", "", UPGRADE_GOOD, NULL, COORD_TROUBLE_CLOSED, COORD_CONNECTING,
		{"broke", ""}},
	{"308 for the upgrade", NULL, UPGRADE_TEXT,
		"HTTP/1.1 308 Permanent Redirect\r\nLocation: https://a.example/ts2021\r\n" NO_BODY,
		COORD_TROUBLE_REDIRECT, COORD_CONNECTING,
		{"HTTP 308 for POST /ts2021", "let the proxy"}},
	{"404 for the upgrade", NULL, UPGRADE_TEXT, "HTTP/1.1 404 Not Found\r\n" NO_BODY,
		COORD_TROUBLE_WRONG_SERVER, COORD_CONNECTING, {"HTTP 404", "Upgrade header"}},
	{"200 and a page", NULL, UPGRADE_TEXT, "HTTP/1.1 200 OK\r\n\r\n<html>",
		COORD_TROUBLE_WRONG_SERVER, COORD_CONNECTING, {"HTTP 200", "Upgrade header"}},
	{"a proxy that takes websockets", NULL, UPGRADE_TEXT,
		"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n", COORD_TROUBLE_WRONG_SERVER,
		COORD_CONNECTING, {"switched to 'websocket'", ""}},
	{"no HTTP at the upgrade", NULL, UPGRADE_TEXT, "SSH-2.0-OpenSSH\r\n",
		COORD_TROUBLE_WRONG_SERVER, COORD_CONNECTING, {"does not speak HTTP/1.1", ""}},
	{"EOF instead of an answer", NULL, UPGRADE_TEXT, "", COORD_TROUBLE_CLOSED, COORD_CONNECTING,
		{"EOF instead", "log of the server"}},
	{"EOF within the head", NULL, UPGRADE_TEXT, "HTTP/1.1 101 Swi", COORD_TROUBLE_CLOSED,
		COORD_CONNECTING, {"EOF within", ""}},
	{"a head without end", NULL, UPGRADE_ENDLESS, NULL, COORD_TROUBLE_WRONG_SERVER,
		COORD_CONNECTING, {"no end", ""}},
	{"closed right after the 101", NULL, UPGRADE_CLOSE, NULL, COORD_TROUBLE_VERSION,
		COORD_CONNECTING, {"version is too old", "upgrade Tailgate"}},
	{"refused by Noise", NULL, UPGRADE_REFUSED, "unsupported client version 142",
		COORD_TROUBLE_VERSION, COORD_CONNECTING, {"unsupported client", "upgrade"}},
	{"refused for another reason", NULL, UPGRADE_REFUSED, "go\x1b away", COORD_TROUBLE_REFUSED,
		COORD_CONNECTING, {"go? away", "log and policy"}},
	{"another server's key", NULL, UPGRADE_DAMAGED, NULL, COORD_TROUBLE_PROTOCOL,
		COORD_CONNECTING, {"does not authenticate", ""}},
};

static void test_servers(void **)
{
	for (size_t i = 0; i < COUNT(servers); i++) {
		struct fixture *f = fixture_create(no_request);

		f->server.key_answer = servers[i].key;
		f->server.upgrade = servers[i].upgrade;
		f->server.upgrade_text = servers[i].text;
		fixture_start(f, "key", false);
		assert_failure(f, servers[i].name, servers[i].trouble, servers[i].why[0]);
		assert_int_equal(f->status->troubles[servers[i].trouble], 1);
		assert_int_equal(f->status->state, servers[i].state);
		assert_non_null(strstr(f->status->why, servers[i].why[1]));
		assert_true(f->status->retry_ns > fixture_now(f) - 1000000000);
		assert_int_equal(f->status->connects, 0);
		assert_int_equal(f->saves, 0); // no key is made for a server that is none
		fixture_destroy(f);
	}
}

static void test_key_without_end(void **)
{
	static char answer[70000] = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{";
	struct fixture *f = fixture_create(no_request);

	memset(answer + strlen(answer), ' ', sizeof(answer) - 1 - strlen(answer));
	f->server.key_answer = answer;
	fixture_start(f, NULL, false);
	wait_until(f, has_failed);
	assert_int_equal(f->status->trouble, COORD_TROUBLE_WRONG_SERVER);
	fixture_destroy(f);
}

static bool failed_thrice(struct fixture *f)
{
	return f->status->failures == 3;
}

// It is tried again, with a new handshake and the key fetched anew.
static void test_again(void **)
{
	struct fixture *f = fixture_create(no_request);

	f->server.upgrade = UPGRADE_CLOSE;
	fixture_start(f, NULL, false);
	wait_until(f, failed_thrice);
	assert_int_equal(f->server.upgrades, 3);
	assert_int_equal(f->server.keys, 3);
	assert_int_equal(f->status->troubles[COORD_TROUBLE_VERSION], 3);
	fixture_destroy(f);
}

// A redirect on the same host is gone after, but not for ever.
static void test_redirect_loop(void **)
{
	static char answer[256];
	struct fixture *f = fixture_create(no_request);

	snprintf(answer, sizeof(answer),
		"HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:%u/key?v=1\r\n"
		"Connection: close\r\n" NO_BODY,
		f->server.port);
	f->server.key_answer = answer;
	fixture_start(f, NULL, false);
	wait_until(f, has_failed);
	assert_int_equal(f->status->trouble, COORD_TROUBLE_REDIRECT);
	assert_int_equal(f->server.keys, 4);
	fixture_destroy(f);
}

static void test_nobody_listens(void **)
{
	static const struct {
		const char *url;
		enum coord_trouble trouble;
		const char *why;
	} cases[] = {
		{"http://127.0.0.1:9", COORD_TROUBLE_CONNECT, "refuses the connection"},
		{"https://127.0.0.1:9", COORD_TROUBLE_CONNECT, "refuses the connection"},
		{"http://no-such-host.invalid", COORD_TROUBLE_DNS, "cannot be resolved"},
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct fixture *f = fixture_create(no_request);
		const struct coord_login login = {.server = cases[i].url};

		assert_int_equal(coord_client_start(f->client, &login), 0);
		wait_until(f, has_failed);
		print_message("%s\n", f->status->why);
		assert_int_equal(f->status->trouble, cases[i].trouble);
		assert_non_null(strstr(f->status->why, cases[i].why));
		fixture_destroy(f);
	}
}

// The texts of both attempts, and the remedy of the one that says more.
static void test_two_attempts(void **)
{
	char line[COORD_TEXT_LEN];
	struct trouble http, https;

	trouble_status(&http, "POST /ts2021", 308, "https://a.example/ts2021");
	trouble_set(&https, COORD_TROUBLE_CLOSED, "EOF instead of an answer");
	trouble_join(&http, "HTTP, port 80", &https, "HTTPS, port 443");
	assert_int_equal(http.kind, COORD_TROUBLE_REDIRECT);
	trouble_line(&http, line);
	assert_non_null(strstr(line, "HTTP, port 80: HTTP 308 for POST /ts2021"));
	assert_non_null(strstr(line, "HTTPS, port 443: EOF instead of an answer; log in with"));

	memset(line, 'x', sizeof(line) - 1);
	line[sizeof(line) - 1] = '\0';
	trouble_set(&http, COORD_TROUBLE_CONNECT, "%s", line);
	trouble_set(&https, COORD_TROUBLE_VERSION, "%s", line);
	trouble_join(&http, "HTTP, port 80", &https, "HTTPS, port 443");
	assert_int_equal(http.kind, COORD_TROUBLE_VERSION);
	assert_non_null(strstr(trouble_line(&http, line), "; upgrade Tailgate"));
}

static void test_silence_after_101(void **)
{
	struct fixture *f = fixture_create(no_request);

	f->server.upgrade = UPGRADE_SILENT;
	fixture_start(f, NULL, false);
	wait_until(f, has_failed);
	assert_int_equal(f->status->trouble, COORD_TROUBLE_CONNECT);
	assert_non_null(strstr(f->status->why, "within 10 s"));
	fixture_destroy(f);
}

static void test_no_url(void **)
{
	struct fixture *f = fixture_create(no_request);
	const struct coord_login login = {.server = "controlplane"};

	assert_int_equal(coord_client_start(f->client, &login), -EINVAL);
	assert_int_equal(f->status->state, COORD_OFF);
	assert_non_null(strstr(f->status->why, "https://NAME"));
	run_ms(f, 100);
	assert_int_equal(f->status->failures, 0);
	fixture_destroy(f);
}

static bool upgrades_once(struct fixture *f)
{
	return f->server.upgrades == 1;
}

static bool upgrades_twice(struct fixture *f)
{
	return f->server.upgrades == 2;
}

// Ended while the key, the upgrade or the wait is under way.
static void test_pause_and_destroy(void **)
{
	struct fixture *f = fixture_create(no_request);

	f->server.upgrade = UPGRADE_SILENT;
	fixture_start(f, NULL, false);
	coord_client_pause(f->client);
	run_ms(f, 50);
	assert_int_equal(f->server.keys, 0);
	fixture_start(f, NULL, false);
	wait_until(f, upgrades_once);
	coord_client_pause(f->client);
	assert_int_equal(f->status->state, COORD_OFF);
	fixture_start(f, NULL, false);
	wait_until(f, upgrades_twice);
	fixture_destroy(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_urls),
		cmocka_unit_test(test_bad_urls),
		cmocka_unit_test(test_heads),
		cmocka_unit_test(test_servers),
		cmocka_unit_test(test_key_without_end),
		cmocka_unit_test(test_again),
		cmocka_unit_test(test_redirect_loop),
		cmocka_unit_test(test_nobody_listens),
		cmocka_unit_test(test_two_attempts),
		cmocka_unit_test(test_silence_after_101),
		cmocka_unit_test(test_no_url),
		cmocka_unit_test(test_pause_and_destroy),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
