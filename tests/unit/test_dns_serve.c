// The resolver as its clients see it: by UDP and TCP at a listener, and by dns_answer.
#include "control/dns/dns_priv.h"
#include "tests/unit/dns_server.h"
#include "tests/unit/netns.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
// after the above, as cmocka asks
#include <cmocka.h>
#include <jansson.h>

static struct event_base *base;
static struct resolver upstream;
static struct netmap *map;
static struct dns *dns;
static char folder[64], conf[96];
static struct endpoint at;

static const struct netmap *map_of(void *)
{
	return map;
}

static uint16_t free_port(void)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(sa);
	const int fd = socket(AF_INET, SOCK_DGRAM, 0);
	if (bind(fd, (struct sockaddr *)&sa, len) < 0 ||
		getsockname(fd, (struct sockaddr *)&sa, &len) < 0)
		abort();
	close(fd);
	return ntohs(sa.sin_port);
}

static struct netmap *netmap_with(uint16_t port)
{
	char text[200];
	snprintf(text, sizeof(text),
		"\"Proxied\":true,\"Domains\":[\"lab.test\"],\"Resolvers\":[{\"Addr\":\"127.0.0.1:%"
		"u\"}]",
		port);
	return dns_netmap(DNS_TEST_SELF, text);
}

static int set_up(void **)
{
	base = event_base_new();
	resolver_start(&upstream, base, 1);
	snprintf(folder, sizeof(folder), "/tmp/dns.XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	snprintf(conf, sizeof(conf), "%s/resolv.conf", folder);
	map = netmap_with(upstream.port);
	at = (struct endpoint){{.bytes = {127, 0, 0, 1}, .family = IP_V4}, free_port()};
	const struct dns_params params = {.base = base,
		.listen = {at},
		.n_listen = 1,
		.resolv_conf = conf,
		.resolved_conf = "",
		.state_dir = folder,
		.netmap = map_of};
	dns = dns_create(&params);
	return dns && !dns->listeners[0].error ? 0 : -1;
}

static int tear_down(void **)
{
	char command[128];
	dns_destroy(dns);
	netmap_destroy(map);
	resolver_stop(&upstream);
	event_base_free(base);
	snprintf(command, sizeof(command), "rm -rf '%s'", folder);
	return system(command);
}

// For so long, and so many turns: a busy machine may take all of the time for one.
static void run_ms(unsigned ms)
{
	const uint64_t end = dns_now_ms() + ms;
	for (unsigned turn = 0; turn < ms || dns_now_ms() < end; turn++) {
		event_base_loop(base, EVLOOP_NONBLOCK);
		usleep(500);
	}
}

static int connect_to(int type)
{
	struct sockaddr_in sa = {.sin_family = AF_INET,
		.sin_port = htons(at.port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	const int fd = socket(AF_INET, type, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	return fd;
}

static struct message receive(int fd, unsigned ms)
{
	struct message m = {0};
	const uint64_t end = dns_now_ms() + ms;
	for (unsigned turn = 0; turn < ms || dns_now_ms() < end; turn++) {
		event_base_loop(base, EVLOOP_NONBLOCK);
		const ssize_t n = recv(fd, m.bytes, sizeof(m.bytes), 0);
		if (n >= 0) {
			m.len = (size_t)n;
			return m;
		}
		usleep(500);
	}
	return m;
}

static struct message by_udp(const struct message *q)
{
	const int fd = connect_to(SOCK_DGRAM);
	assert_int_equal(send(fd, q->bytes, q->len, 0), (ssize_t)q->len);
	const struct message m = receive(fd, 1000);
	close(fd);
	return m;
}

static void test_udp(void **)
{
	struct message q = ask_for("alice.lab.test", ns_t_a);
	struct message m = by_udp(&q);
	assert_string_equal(records_of(m.bytes, m.len).text, "alice.lab.test A 5 100.64.0.2");
	q = ask_for("www.a.test", ns_t_a);
	m = by_udp(&q);
	assert_string_equal(records_of(m.bytes, m.len).text, "www.a.test A 60 10.9.8.1");
	m = by_udp(&q);
	assert_string_equal(records_of(m.bytes, m.len).text, "www.a.test A 60 10.9.8.1");
	assert_int_equal(upstream.asked_udp, 1); // the second one is from the cache
}

static void test_garbage(void **)
{
	static const uint8_t zeros[DNS_QUERY_MAX + 1];
	const int fd = connect_to(SOCK_DGRAM);
	assert_int_equal(send(fd, "x", 1, 0), 1);
	assert_int_equal(send(fd, "", 0, 0), 0);
	struct message q = ask_for("alice.lab.test", ns_t_a);
	q.bytes[2] |= 0x80; // two servers must not talk to each other for ever
	assert_true(send(fd, q.bytes, q.len, 0) > 0);
	assert_true(send(fd, zeros, sizeof(zeros), 0) > 0);
	assert_int_equal(receive(fd, 100).len, 0);
	close(fd);
	q = ask_for("alice.lab.test", ns_t_a);
	assert_int_equal(rcode_of(by_udp(&q).bytes), 0);
	struct serve_counters c;
	serve_count(dns->listeners[0].serve, &c);
	assert_int_equal(c.oversized, 1);
}

// The same question of many is asked once, and all of them get the answer.
static void test_joined(void **)
{
	const struct message q = ask_for("www.a.test", ns_t_a);
	int fds[20];
	for (unsigned i = 0; i < 20; i++) {
		fds[i] = connect_to(SOCK_DGRAM);
		assert_true(send(fds[i], q.bytes, q.len, 0) > 0);
	}
	for (unsigned i = 0; i < 20; i++) {
		const struct message m = receive(fds[i], 1000);
		assert_string_equal(records_of(m.bytes, m.len).text, "www.a.test A 60 10.9.8.1");
		close(fds[i]);
	}
	assert_int_equal(upstream.asked_udp, 1);
	assert_int_equal(dns->counters.joined, 19);
}

static void send_tcp(int fd, const struct message *q)
{
	uint8_t out[DNS_TEST_MAX + 2] = {(uint8_t)(q->len >> 8), (uint8_t)q->len};
	memcpy(out + 2, q->bytes, q->len);
	assert_int_equal(send(fd, out, q->len + 2, 0), (ssize_t)q->len + 2);
}

static void test_tcp(void **)
{
	const struct message q = ask_for("alice.lab.test", ns_t_a);
	const int fd = connect_to(SOCK_STREAM);
	send_tcp(fd, &q);
	send_tcp(fd, &q);
	run_ms(50);
	struct message m = receive(fd, 1000);
	const size_t one = (size_t)m.bytes[0] << 8 | m.bytes[1];
	assert_int_equal(m.len, 2 * (one + 2));
	assert_string_equal(records_of(m.bytes + 2, one).text, "alice.lab.test A 5 100.64.0.2");
	// A byte at a time.
	uint8_t head[2] = {0, (uint8_t)q.len};
	for (unsigned i = 0; i < q.len + 2; i++) {
		assert_int_equal(send(fd, i < 2 ? head + i : q.bytes + i - 2, 1, 0), 1);
		run_ms(1);
	}
	assert_int_equal(receive(fd, 1000).len, one + 2);
	close(fd);
}

static bool is_closed(int fd)
{
	char c;
	for (unsigned i = 0; i < 200; i++) {
		run_ms(2);
		const ssize_t n = recv(fd, &c, 1, 0);
		if (n == 0 || (n < 0 && errno != EAGAIN))
			return true;
	}
	return false;
}

static void test_tcp_refusals(void **)
{
	int fd = connect_to(SOCK_STREAM);
	assert_int_equal(send(fd, "\xff\xff", 2, 0), 2); // a query of 64 KB
	assert_true(is_closed(fd));
	close(fd);
	int fds[SERVE_CONNECTIONS_MAX];
	for (unsigned i = 0; i < SERVE_CONNECTIONS_MAX; i++)
		fds[i] = connect_to(SOCK_STREAM);
	run_ms(20);
	fd = connect_to(SOCK_STREAM);
	assert_true(is_closed(fd));
	close(fd);
	for (unsigned i = 0; i < SERVE_CONNECTIONS_MAX; i++)
		close(fds[i]);
	run_ms(20);
	const struct message q = ask_for("alice.lab.test", ns_t_a);
	fd = connect_to(SOCK_STREAM);
	send_tcp(fd, &q);
	assert_true(receive(fd, 1000).len > 0);
	close(fd);
}

// Many questions on one connection without an answer: no more are read for the time being.
static void test_pipeline(void **)
{
	char name[32];
	upstream.udp = upstream.tcp = SAYS_NOTHING;
	const int fd = connect_to(SOCK_STREAM);
	for (unsigned i = 0; i < SERVE_PIPELINE_MAX + 5; i++) {
		snprintf(name, sizeof(name), "n%u.a.test", i);
		const struct message q = ask_for(name, ns_t_a);
		send_tcp(fd, &q);
	}
	run_ms(50);
	assert_int_equal(dns->n_pending, SERVE_PIPELINE_MAX);
	const int other = connect_to(SOCK_STREAM);
	const struct message q = ask_for("other.a.test", ns_t_a);
	send_tcp(other, &q);
	run_ms(50);
	assert_int_equal(dns->n_pending, SERVE_PIPELINE_MAX + 1);
	close(other); // nobody waits for that any more
	run_ms(50);
	assert_int_equal(dns->n_pending, SERVE_PIPELINE_MAX);
	close(fd);
}

static unsigned n_done, n_failed;

static void on_done(void *, const uint8_t *answer, size_t len)
{
	n_done++;
	n_failed += len > 3 && rcode_of(answer) == ns_r_servfail;
}

static void ask_as(enum dns_asker who, uint8_t last, const char *name, const void *arg)
{
	const struct dns_client client = {
		.who = who, .addr = {.bytes = {10, 0, 0, last}, .family = IP_V4}};
	const struct message q = ask_for(name, ns_t_a);
	dns_answer(dns, &client, q.bytes, q.len, on_done, (void *)arg);
}

static void test_limits(void **)
{
	char name[32];
	n_done = n_failed = 0;
	upstream.udp = upstream.tcp = SAYS_NOTHING;
	for (unsigned i = 0; i < DNS_CLIENT_MAX + 10; i++) {
		snprintf(name, sizeof(name), "n%u.a.test", i);
		ask_as(DNS_ASKER_LAN, 1, name, NULL);
	}
	assert_int_equal(dns->n_pending, DNS_CLIENT_MAX);
	assert_int_equal(n_failed, 10);
	assert_int_equal(dns->counters.client_busy, 10);
	for (unsigned i = 0; i < DNS_ACTIVE_MAX; i++) {
		snprintf(name, sizeof(name), "m%u.a.test", i);
		ask_as(DNS_ASKER_HOST, 2, name, &n_done);
	}
	assert_int_equal(dns->n_pending, DNS_ACTIVE_MAX);
	assert_true(dns->counters.busy > 0);
	ask_as(DNS_ASKER_HOST, 2, "alice.lab.test", NULL); // costs nothing
	assert_int_equal(n_failed, n_done - 1);
	const unsigned before = n_done;
	dns_cancel(dns, &n_done);
	assert_int_equal(dns->n_pending, DNS_CLIENT_MAX);
	assert_int_equal(n_done, before);
}

// Nobody waits for ever, and whoever does when all ends is told.
static void test_end(void **)
{
	const uint64_t begin = dns_now_ms();
	n_done = n_failed = 0;
	upstream.udp = upstream.tcp = SAYS_NOTHING;
	ask_as(DNS_ASKER_LAN, 1, "a.a.test", NULL);
	while (!n_done && dns_now_ms() < begin + 6 * DNS_TIMEOUT_MS)
		run_ms(20);
	assert_int_equal(n_failed, 1);
	ask_as(DNS_ASKER_LAN, 1, "b.a.test", NULL);
	assert_int_equal(n_done, 1); // tear_down: once more
}

// Other resolvers: what those of before said does not count.
static void test_change(void **)
{
	const struct message q = ask_for("www.a.test", ns_t_a);
	struct resolver other;
	by_udp(&q);
	resolver_start(&other, base, 2);
	struct netmap *before = map;
	map = netmap_with(other.port);
	dns_netmap_changed(dns);
	struct message m = by_udp(&q);
	assert_string_equal(records_of(m.bytes, m.len).text, "www.a.test A 60 10.9.8.2");
	// A netmap that differs in something else keeps the cache.
	dns_netmap_changed(dns);
	by_udp(&q);
	assert_int_equal(other.asked_udp, 1);
	resolver_stop(&other);
	netmap_destroy(before);
}

static unsigned n_probes, n_well;

static void on_probes(void *, const struct dns_probe *p, unsigned n)
{
	n_probes = n;
	for (unsigned i = 0; i < n; i++)
		n_well += p[i].answers;
}

static void await_probes(void)
{
	const uint64_t end = dns_now_ms() + 6 * DNS_TIMEOUT_MS;
	while (n_probes == 0 && dns_now_ms() < end)
		run_ms(20);
	assert_int_equal(n_probes, 1);
}

static void test_probe(void **)
{
	n_probes = n_well = 0;
	dns_probe(dns, on_probes, NULL);
	await_probes();
	assert_int_equal(n_well, 1);
	upstream.udp = upstream.tcp = SAYS_NOTHING;
	n_probes = n_well = 0;
	dns_probe(dns, on_probes, NULL);
	await_probes();
	assert_int_equal(n_well, 0);
	dns_probe(dns, on_probes, NULL); // ends with the rest
}

static void test_info(void **)
{
	const struct message q = ask_for("www.a.test", ns_t_a);
	const char *to[4];
	by_udp(&q);
	by_udp(&q);
	json_t *o = dns_info(dns);
	assert_int_equal(
		json_integer_value(json_object_get(json_object_get(o, "cache"), "hits")), 1);
	assert_int_equal(
		json_integer_value(json_object_get(json_object_get(o, "counters"), "lan")), 2);
	assert_true(json_is_true(json_object_get(o, "magic_dns")));
	assert_int_equal(json_array_size(json_object_get(o, "servers")), 1);
	json_decref(o);
	struct dns_totals sum;
	struct dns_resolver_totals resolver[2];
	dns_totals(dns, &sum);
	assert_int_equal(sum.queries[DNS_ASKER_LAN], 2);
	assert_int_equal(sum.answers[DNS_FROM_CACHE], 1);
	assert_int_equal(sum.answers[DNS_FROM_RESOLVER], 1);
	assert_int_equal(sum.answers[DNS_FROM_NETMAP] + sum.answers[DNS_FROM_NOBODY], 0);
	assert_int_equal(sum.udp, 1);
	assert_int_equal(sum.cache_entries, 1);
	assert_int_equal(sum.waiting, 0);
	assert_int_equal(dns_resolver_totals(dns, resolver, 2), 1);
	assert_int_equal(resolver[0].asked, 1);
	assert_int_equal(resolver[0].answered, 1);
	assert_int_equal(dns_resolver_totals(dns, resolver, 0), 0);
	assert_int_equal(dns_resolvers_of(dns, "www.a.test", to, 4), 1);
	assert_int_equal(dns_resolvers_of(dns, "alice.lab.test", to, 4), 0);
	assert_int_equal(dns_resolvers_of(dns, "..", to, 4), 0);
}

// Somebody else has the address.
static void test_taken(void **)
{
	const struct dns_params params = {.base = base,
		.listen = {at},
		.n_listen = 1,
		.resolv_conf = conf,
		.resolved_conf = "",
		.state_dir = folder,
		.netmap = map_of};
	struct dns *second = dns_create(&params);
	struct dns_health h;
	dns_health(second, &h);
	assert_non_null(strstr(h.listen_error, "Address already in use"));
	dns_destroy(second);
	dns_health(dns, &h);
	assert_string_equal(h.listen_error, "");
}

// An answer to the query from this address?
static bool answered_from(const char *from, const struct endpoint *to)
{
	const struct message q = ask_for("alice.lab.test", ns_t_a);
	struct sockaddr_in sa = {.sin_family = AF_INET}, dst = {.sin_family = AF_INET};
	const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	assert_int_equal(inet_pton(AF_INET, from, &sa.sin_addr), 1);
	memcpy(&dst.sin_addr, to->addr.bytes, 4);
	dst.sin_port = htons(to->port);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(
		sendto(fd, q.bytes, q.len, 0, (struct sockaddr *)&dst, sizeof(dst)), q.len);
	const bool answered = receive(fd, 200).len > 0;
	close(fd);
	return answered;
}

// At the service addresses only the machine itself is answered.
static void test_own_only(void **)
{
	const struct endpoint service = {{.bytes = {10, 99, 0, 1}, .family = IP_V4}, 53};
	struct serve_counters c;
	struct serve *s;
	assert_int_equal(serve_open(&s, dns, base, &service, DNS_ASKER_HOST, true), 0);
	assert_true(answered_from("10.99.0.1", &service));
	assert_true(answered_from("127.0.0.1", &service));
	assert_false(answered_from("10.99.0.2", &service));
	serve_count(s, &c);
	assert_int_equal(c.foreign, 1);
	serve_close(s);
	assert_int_equal(serve_open(&s, dns, base, &service, DNS_ASKER_LAN, false), 0);
	assert_true(answered_from("10.99.0.2", &service));
	serve_close(s);
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CASE(test_udp),
		CASE(test_garbage),
		CASE(test_joined),
		CASE(test_tcp),
		CASE(test_tcp_refusals),
		CASE(test_pipeline),
		CASE(test_limits),
		CASE(test_end),
		CASE(test_change),
		CASE(test_probe),
		CASE(test_info),
		CASE(test_taken),
		CASE(test_own_only),
	};
	netns_enter();
	netns_run("ip link set lo up");
	netns_run("ip addr add 10.99.0.1/32 dev lo");
	netns_run("ip addr add 10.99.0.2/32 dev lo");
	return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
