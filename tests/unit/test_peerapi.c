#include "tests/unit/netmap_text.h"

#include <arpa/inet.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control/dns/dns.h"
#include "control/tailnet/peerapi.h"

#define HOST "Host: peer\r\n"

// -- the resolver's side --------------------------------------------------------------------------

static unsigned asked, cancelled;
static bool resolves, may, later;
static uint8_t last_query[DNS_QUERY_MAX];
static size_t last_len;
static void (*pending)(void *, const uint8_t *, size_t);
static void *pending_arg;

void dns_answer(struct dns *, const struct dns_client *client, const uint8_t *query, size_t len,
	void (*done)(void *arg, const uint8_t *answer, size_t len), void *arg)
{
	asked++;
	last_len = len;
	memcpy(last_query, query, len);
	assert_int_equal(client->who, DNS_ASKER_PEER);
	assert_true(client->stream);
	if (later) {
		pending = done;
		pending_arg = arg;
	} else {
		done(arg, (const uint8_t *)"answer", len ? 6 : 0);
	}
}

void dns_cancel(struct dns *, const void *arg)
{
	cancelled += arg == pending_arg;
}

static struct dns *dns_of(void *)
{
	return resolves ? (struct dns *)&asked : NULL;
}

// -- the server -----------------------------------------------------------------------------------

static struct event_base *base;
static struct peerapi *api;
static struct netmap *nm;
static bool known;

static const struct nm_peer *peer_at(void *, const struct ip_addr *a)
{
	return known && a->bytes[0] == 127 ? nm->peers[0] : NULL;
}

static bool may_resolve(void *, const struct nm_peer *, const struct ip_addr *)
{
	return may;
}

static const struct ip_addr local = {.bytes = {127, 0, 0, 77}, .family = IP_V4}, none;

static int setup(void **)
{
	const struct peerapi_env env = {.peer = peer_at, .may_resolve = may_resolve, .dns = dns_of};
	base = event_base_new();
	nm = with_peers();
	api = peerapi_create(base, &env);
	known = resolves = may = true;
	later = false;
	asked = cancelled = 0;
	assert_true(peerapi_listen(api, &local, &none, ""));
	return 0;
}

static int teardown(void **)
{
	peerapi_destroy(api);
	netmap_destroy(nm);
	event_base_free(base);
	return 0;
}

static int dial(void)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
		.sin_port = htons(peerapi_port_of(api, IP_V4)),
		.sin_addr.s_addr = htonl(0x7f00004d)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	return fd;
}

static void turn(void)
{
	for (int i = 0; i < 20; i++) {
		event_base_loop(base, EVLOOP_NONBLOCK);
		usleep(500);
	}
}

// What comes until the server closes; "": it closed at once.
static const char *listen_to(int fd)
{
	static char text[2048];
	size_t n = 0;
	for (int i = 0; i < 2000; i++) {
		event_base_loop(base, EVLOOP_NONBLOCK);
		ssize_t got = recv(fd, text + n, sizeof(text) - 1 - n, 0);
		if (got == 0 || (got < 0 && errno != EAGAIN))
			break;
		n += got > 0 ? (size_t)got : 0;
		usleep(got > 0 ? 0 : 500);
	}
	text[n] = '\0';
	close(fd);
	return text;
}

static const char *ask(const char *request)
{
	int fd = dial();
	assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
	return listen_to(fd);
}

static void test_answers(void **)
{
	static const struct {
		const char *request, *status, *body;
		unsigned asked;
	} cases[] = {
		{"GET / HTTP/1.1\r\n" HOST "\r\n", "200", "peerAPI", 0},
		{"HEAD / HTTP/1.1\r\n" HOST "\r\n", "200", "close\r\n\r\n", 0},
		{"POST / HTTP/1.1\r\n" HOST "\r\n", "405", "", 0},
		{"GET /v0/put/x HTTP/1.1\r\n" HOST "\r\n", "404", "", 0},
		{"GET / HTTP/1.1\r\n\r\n", "400", "Host", 0},
		{"GET / HTTP/1.0\r\n\r\n", "400", "", 0},
		{"rubbish\r\n\r\n", "400", "", 0},
		{"GET / HTTP/1.1\r\nHost: peer.example.com\r\n\r\n", "403", "", 0},
		{"GET / HTTP/1.1\r\nHost: 127.0.0.77:1\r\n\r\n", "403", "", 0},
		{"GET / HTTP/1.1\r\nHost: 127.0.0.77\r\n\r\n", "403", "", 0},
		{"GET / HTTP/1.1\r\n" HOST "Origin: http://peer\r\n\r\n", "403", "", 0},
		{"GET / HTTP/1.1\r\n" HOST "Referer: http://peer\r\n\r\n", "403", "", 0},
		{"GET /dns-query?dns=Zm9v HTTP/1.1\r\n" HOST "\r\n", "200", "answer", 1},
		{"GET /dns-query HTTP/1.1\r\n" HOST "\r\n", "400", "", 0},
		{"GET /dns-query?dns= HTTP/1.1\r\n" HOST "\r\n", "400", "", 1},
		{"GET /dns-query?dns=Zm9v= HTTP/1.1\r\n" HOST "\r\n", "400", "", 0},
		{"GET /dns-query?q=host.test HTTP/1.1\r\n" HOST "\r\n", "200", "{\"Error\":", 1},
		{"GET /dns-query?q=host.test&t=AAAA HTTP/1.1\r\n" HOST "\r\n", "200", "json", 1},
		{"GET /dns-query?q= HTTP/1.1\r\n" HOST "\r\n", "400", "q=NAME", 0},
		{"GET /dns-query?q=a..b HTTP/1.1\r\n" HOST "\r\n", "400", "", 0},
		{"POST /dns-query HTTP/1.1\r\n" HOST "Content-Type: application/dns-message\r\n"
		 "Content-Length: 3\r\n\r\nfoo",
			"200", "answer", 1},
		{"POST /dns-query HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nfoo", "415", "", 0},
		{"POST /dns-query HTTP/1.1\r\n" HOST "Content-Type: application/dns-message\r\n"
		 "Content-Length: 70000\r\n\r\n",
			"413", "", 0},
		{"PUT /dns-query HTTP/1.1\r\n" HOST "\r\n", "405", "", 0},
	};
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		unsigned before = asked;
		const char *answer = ask(cases[i].request);
		if (strncmp(answer, "HTTP/1.1 ", 9) != 0 ||
			strncmp(answer + 9, cases[i].status, 3) != 0 ||
			!strstr(answer, cases[i].body) || asked - before != cases[i].asked)
			fail_msg("%s: %s", cases[i].request, answer);
		assert_true(strncmp(cases[i].request, "HEAD", 4) != 0 ||
			    strcmp(strstr(answer, "\r\n\r\n"), "\r\n\r\n") == 0);
	}
	char request[128];
	snprintf(request, sizeof(request), "GET / HTTP/1.1\r\nHost: 127.0.0.77:%u\r\n\r\n",
		peerapi_port_of(api, IP_V4));
	assert_non_null(strstr(ask(request), " 200 OK\r\n"));
}

static void test_who_may_resolve(void **)
{
	static const char request[] = "GET /dns-query?dns=Zm9v HTTP/1.1\r\n" HOST "\r\n";
	may = false;
	assert_non_null(strstr(ask(request), " 403 "));
	may = true;
	resolves = false;
	assert_non_null(strstr(ask(request), " 503 "));
	assert_int_equal(asked, 0);
	known = false; // no peer's address
	assert_string_equal(ask(request), "");
}

static void test_slow_resolver(void **)
{
	static const char request[] = "GET /dns-query?dns=Zm9v HTTP/1.1\r\n" HOST "\r\n";
	later = true;
	int fd = dial();
	assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
	turn();
	assert_int_equal(asked, 1);
	assert_memory_equal(last_query, "foo", 3);
	pending(pending_arg, (const uint8_t *)"late", 4);
	assert_non_null(strstr(listen_to(fd), "late"));
	assert_int_equal(cancelled, 0);

	fd = dial(); // and one that goes away meanwhile
	assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
	turn();
	close(fd);
	turn();
	assert_int_equal(cancelled, 1);
}

// In pieces, with a body that comes late.
static void test_pieces(void **)
{
	static const char request[] =
		"POST /dns-query HTTP/1.1\r\n" HOST "Content-Type: application/dns-message\r\n"
		"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n";
	int fd = dial();
	for (size_t i = 0; i < strlen(request); i++) {
		assert_int_equal(send(fd, request + i, 1, MSG_NOSIGNAL), 1);
		event_base_loop(base, EVLOOP_NONBLOCK);
	}
	turn();
	assert_int_equal(asked, 0);
	assert_int_equal(send(fd, "foo", 3, MSG_NOSIGNAL), 3);
	const char *answer = listen_to(fd);
	assert_non_null(strstr(answer, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK"));
	assert_int_equal(asked, 1);
}

static void test_too_many(void **)
{
	int fds[PEERAPI_PER_PEER];
	for (unsigned i = 0; i < PEERAPI_PER_PEER; i++)
		fds[i] = dial();
	turn();
	assert_string_equal(ask("GET / HTTP/1.1\r\n" HOST "\r\n"), "");
	close(fds[0]);
	turn();
	assert_non_null(strstr(ask("GET / HTTP/1.1\r\n" HOST "\r\n"), " 200 OK"));
	for (unsigned i = 1; i < PEERAPI_PER_PEER; i++)
		close(fds[i]);
}

static void test_ports(void **)
{
	static const uint8_t six[16] = {
		0xfd, 0x7a, 0x11, 0x5c, 0xa1, 0xe0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3};
	const struct ip_addr a = {.bytes = {100, 64, 0, 2}, .family = IP_V4};
	struct ip_addr v6 = ip_addr_v6(six);
	// As tailscaled 1.102.5 listens at these addresses.
	assert_int_equal(peerapi_port(&v6, 0), 34984);
	for (unsigned i = 0; i < PEERAPI_TRIES; i++)
		assert_true(peerapi_port(&a, i) >= 0x8000);
	assert_int_not_equal(peerapi_port(&a, 0), peerapi_port(&a, 1));
	// The next port where the first is taken; the same again when nothing changes.
	uint16_t first = peerapi_port_of(api, IP_V4);
	assert_int_equal(first, peerapi_port(&local, 0));
	assert_false(peerapi_listen(api, &local, &none, ""));
	const struct peerapi_env env = {.peer = peer_at, .may_resolve = may_resolve, .dns = dns_of};
	struct peerapi *second = peerapi_create(base, &env);
	assert_true(peerapi_listen(second, &local, &none, ""));
	assert_int_equal(peerapi_port_of(second, IP_V4), peerapi_port(&local, 1));
	assert_int_equal(peerapi_port_of(second, IP_V6), 0);
	assert_true(peerapi_listen(second, &none, &none, ""));
	assert_int_equal(peerapi_port_of(second, IP_V4), 0);
	peerapi_destroy(second);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(test_answers),
		CASE(test_who_may_resolve),
		CASE(test_slow_resolver),
		CASE(test_pieces),
		CASE(test_too_many),
		CASE(test_ports),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
