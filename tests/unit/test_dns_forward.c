// Asking resolvers that answer, are silent, lie, or are played by somebody else.
#include "control/dns/forward_priv.h"
#include "control/net/stream.h"
#include "tests/unit/dns_server.h"

#include <setjmp.h>
#include <stdarg.h>
// after the above, as cmocka asks
#include <cmocka.h>

#define N(array) (sizeof(array) / sizeof(array[0]))

// What does not wait for one of these times has them long, so that a busy machine can be slow.
static const struct dns_timing patient = {
	.next_ms = 20000,
	.doh_plain_ms = 20000,
	.tcp_ms = 20000,
	.tcp_limit_ms = 30000,
	.limit_ms = 60000,
};
static const struct dns_timing quick = {
	.next_ms = 60,
	.doh_plain_ms = 150,
	.tcp_ms = 120,
	.tcp_limit_ms = 400,
	.limit_ms = 900,
};

static struct event_base *base;
static struct net *net;
static struct dns_forward *forward;
static struct resolver servers[2];

static struct {
	bool done;
	int rcode; // -1: nobody answered
	char text[512];
} result;

static int set_up(void **)
{
	base = event_base_new();
	net = net_create(base);
	forward = dns_forward_create(base, net, &quick);
	for (unsigned i = 0; i < N(servers); i++)
		resolver_start(&servers[i], base, (uint8_t)(i + 1));
	return base && net && forward ? 0 : -1;
}

static int tear_down(void **)
{
	dns_forward_destroy(forward);
	net_destroy(net);
	for (unsigned i = 0; i < N(servers); i++)
		resolver_stop(&servers[i]);
	event_base_free(base);
	return 0;
}

static void on_done(void *, const uint8_t *message, const struct dns_reply *reply)
{
	assert_false(result.done);
	result.done = true;
	result.rcode = message ? reply->rcode : -1;
	if (message)
		snprintf(result.text, sizeof(result.text), "%s",
			records_of(message, reply->body_len).text);
}

static struct dns_query query_for(const char *name)
{
	struct dns_query q = {.type = ns_t_a, .rd = true};
	snprintf(q.name, sizeof(q.name), "%s", name);
	return q;
}

static struct dns_target plain_target(const struct resolver *r)
{
	char text[64];
	struct dns_target t;
	snprintf(text, sizeof(text), "127.0.0.1:%u", r->port);
	assert_int_equal(dns_target_read(text, &t), 0);
	return t;
}

// By HTTP, and by UDP and TCP unless alone.
static struct dns_target web_target(const struct resolver *r, bool alone)
{
	char text[64];
	struct dns_target t, p = plain_target(r);
	snprintf(text, sizeof(text), "http://127.0.0.1:%u/dns-query", r->http_port);
	assert_int_equal(dns_target_read(text, &t), 0);
	if (!alone)
		t.plain = p.plain;
	return t;
}

static void ask(const struct dns_target *targets, unsigned n)
{
	const struct dns_route route = {.suffix = "", .targets = targets, .n = n};
	const struct dns_query q = query_for("www.a.test");
	memset(&result, 0, sizeof(result));
	dns_forward_ask(forward, &route, &q, on_done, NULL);
	for (uint64_t end = dns_now_ms() + 90000; !result.done && dns_now_ms() < end;)
		event_base_loop(base, EVLOOP_ONCE);
	assert_true(result.done);
	struct dns_forward_counters c;
	dns_forward_count(forward, &c);
	assert_int_equal(c.flights, 0);
	assert_int_equal(c.attempts, 0);
}

static void assert_answer(const char *text)
{
	assert_int_equal(result.rcode, 0);
	assert_string_equal(result.text, text);
}

static const char from_1[] = "www.a.test A 60 10.9.8.1", from_2[] = "www.a.test A 60 10.9.8.2";

static void test_udp(void **)
{
	const struct dns_target t = plain_target(&servers[0]);
	unsigned n;
	ask(&t, 1);
	assert_answer(from_1);
	const struct dns_server_info *s = dns_forward_servers(forward, &n);
	assert_int_equal(n, 1);
	assert_int_equal(s->answered, 1);
	assert_string_equal(s->how, "udp");
	assert_int_equal(servers[0].asked_tcp, 0);
}

// IDs and ports that nobody can foresee.
static void test_unpredictable(void **)
{
	const struct dns_target t = plain_target(&servers[0]);
	unsigned same_port = 0, same_id = 0;
	forward->timing = patient;
	for (unsigned i = 0; i < 16; i++)
		ask(&t, 1);
	assert_int_equal(servers[0].asked_udp, 16);
	for (unsigned i = 1; i < 16; i++)
		for (unsigned j = 0; j < i; j++) {
			same_port += servers[0].source[i] == servers[0].source[j];
			same_id += servers[0].id[i] == servers[0].id[j];
		}
	assert_true(same_port < 4 && same_id < 4);
}

static void test_behaviours(void **)
{
	static const struct {
		const char *name;
		enum behaviour udp, tcp;
		int rcode;
		unsigned asked_tcp;
	} cases[] = {
		{"well", SAYS_WELL, SAYS_WELL, 0, 0},
		{"cut, then by TCP", SAYS_CUT, SAYS_WELL, 0, 1},
		{"silent by UDP", SAYS_NOTHING, SAYS_WELL, 0, 1},
		{"silent", SAYS_NOTHING, SAYS_NOTHING, -1, 1},
		{"another ID first", SAYS_OTHER_ID, SAYS_NOTHING, 0, 0},
		{"another name first", SAYS_OTHER_NAME, SAYS_NOTHING, 0, 0},
		{"letters not kept", SAYS_OTHER_CASE, SAYS_WELL, 0, 1},
		{"a flood of forgeries", SAYS_STRAYS_ONLY, SAYS_WELL, 0, 1},
		{"a flood, and no TCP", SAYS_STRAYS_ONLY, SAYS_NOTHING, -1, 1},
		{"garbage by UDP", SAYS_GARBAGE, SAYS_WELL, 0, 1},
		{"garbage by both", SAYS_GARBAGE, SAYS_GARBAGE, -1, 1},
		{"half an answer by TCP", SAYS_CUT, SAYS_LESS, -1, 1},
		{"another ID by TCP", SAYS_CUT, SAYS_OTHER_ID, -1, 1},
		{"another name by TCP", SAYS_CUT, SAYS_OTHER_NAME, -1, 1},
		{"cut by TCP, too", SAYS_CUT, SAYS_CUT, -1, 1},
		{"a failure is told, once", SAYS_SERVFAIL, SAYS_WELL, ns_r_servfail, 0},
	};
	const struct dns_target t = plain_target(&servers[0]);
	for (unsigned i = 0; i < N(cases); i++) {
		servers[0].udp = cases[i].udp;
		servers[0].tcp = cases[i].tcp;
		servers[0].asked_tcp = 0;
		forward->timing = patient;
		if (cases[i].asked_tcp)
			forward->timing.tcp_ms = quick.tcp_ms;
		if (cases[i].rcode < 0) {
			forward->timing.tcp_limit_ms = quick.tcp_limit_ms;
			forward->timing.limit_ms = quick.limit_ms;
		}
		ask(&t, 1);
		if (result.rcode != cases[i].rcode || servers[0].asked_tcp != cases[i].asked_tcp)
			fail_msg("%s: rcode %d, %u by TCP", cases[i].name, result.rcode,
				servers[0].asked_tcp);
	}
}

static void test_second(void **)
{
	const struct dns_target list[] = {plain_target(&servers[0]), plain_target(&servers[1])};
	forward->timing = patient;
	ask(list, 2);
	assert_answer(from_1);
	assert_int_equal(servers[1].asked_udp, 0); // nobody else has to know
	servers[0].udp = SAYS_SERVFAIL;
	ask(list, 2);
	assert_answer(from_2);
	servers[0].udp = servers[0].tcp = SAYS_NOTHING;
	forward->timing.next_ms = quick.next_ms;
	const uint64_t begin = dns_now_ms();
	ask(list, 2);
	assert_answer(from_2);
	assert_true(dns_now_ms() - begin >= quick.next_ms - 1);
}

// Nobody listens there: the next one is asked at once.
static void test_refused(void **)
{
	struct dns_target list[] = {plain_target(&servers[0]), plain_target(&servers[1])};
	unsigned n;
	forward->timing = patient;
	list[0].plain.port = 1;
	snprintf(list[0].text, sizeof(list[0].text), "127.0.0.1:1");
	ask(list, 2);
	assert_answer(from_2);
	const struct dns_server_info *s = dns_forward_servers(forward, &n);
	assert_string_equal(s[0].text, "127.0.0.1:1");
	assert_string_equal(s[0].why, "Connection refused");
	ask(list, 1);
	assert_int_equal(result.rcode, -1);
}

// Whoever was silent goes to the end for a while.
static void test_sick(void **)
{
	const struct dns_target list[] = {plain_target(&servers[0]), plain_target(&servers[1])};
	servers[0].udp = servers[0].tcp = SAYS_NOTHING;
	ask(list, 1);
	ask(list, 1);
	assert_int_equal(result.rcode, -1);
	forward->timing = patient;
	const unsigned asked = servers[0].asked_udp;
	ask(list, 2);
	assert_answer(from_2);
	assert_int_equal(servers[0].asked_udp, asked);
}

static void test_nobody(void **)
{
	ask(NULL, 0);
	assert_int_equal(result.rcode, -1);
}

static void test_https(void **)
{
	static const struct {
		const char *name;
		enum behaviour http;
		bool well;
	} cases[] = {
		{"well", SAYS_WELL, true},
		{"again, on the same connection", SAYS_WELL, true},
		{"an error of HTTP", SAYS_404, false},
		{"a web page", SAYS_OTHER_NAME, false},
		{"another question's", SAYS_OTHER_ID, false},
		{"garbage", SAYS_GARBAGE, false},
		{"without end", SAYS_HUGE, false},
		{"well after all that", SAYS_WELL, true},
		{"nothing", SAYS_NOTHING, false},
		{"well after a hang", SAYS_WELL, true},
	};
	const struct dns_target alone = web_target(&servers[0], true);
	for (unsigned i = 0; i < N(cases); i++) {
		servers[0].http = cases[i].http;
		forward->timing = cases[i].http == SAYS_NOTHING ? quick : patient;
		ask(&alone, 1);
		if ((result.rcode == 0) != cases[i].well)
			fail_msg("%s: %d", cases[i].name, result.rcode);
	}
	assert_int_equal(servers[0].asked_udp, 0);
	assert_int_equal(servers[0].asked_tcp, 0);
}

// UDP comes in only when HTTPS is late or fails.
static void test_https_first(void **)
{
	const struct dns_target t = web_target(&servers[0], false);
	forward->timing = patient;
	ask(&t, 1);
	assert_answer(from_1);
	assert_int_equal(servers[0].asked_udp, 0);
	servers[0].http = SAYS_404;
	ask(&t, 1);
	assert_answer(from_1);
	assert_int_equal(servers[0].asked_udp, 1);
	servers[0].http = SAYS_NOTHING;
	forward->timing.doh_plain_ms = quick.doh_plain_ms;
	const uint64_t begin = dns_now_ms();
	ask(&t, 1);
	assert_answer(from_1);
	assert_true(dns_now_ms() - begin >= quick.doh_plain_ms - 1);
}

static unsigned n_done;

static void on_any(void *, const uint8_t *, const struct dns_reply *)
{
	n_done++;
}

// More than there may be sockets: each gets its end all the same.
static void test_flood(void **)
{
	const struct dns_target list[] = {plain_target(&servers[0]), plain_target(&servers[1]),
		web_target(&servers[0], true)};
	const struct dns_route route = {.suffix = "", .targets = list, .n = 3};
	struct dns_forward_counters c;
	n_done = 0;
	for (unsigned i = 0; i < 2; i++)
		servers[i].udp = servers[i].tcp = servers[i].http = SAYS_NOTHING;
	for (unsigned i = 0; i < 600; i++) {
		const struct dns_query q = query_for("www.a.test");
		dns_forward_ask(forward, &route, &q, on_any, NULL);
	}
	for (uint64_t end = dns_now_ms() + 60000; n_done < 600 && dns_now_ms() < end;) {
		event_base_loop(base, EVLOOP_ONCE);
		dns_forward_count(forward, &c);
		assert_true(c.attempts <= DNS_ATTEMPTS_MAX);
	}
	assert_int_equal(n_done, 600);
	dns_forward_count(forward, &c);
	assert_int_equal(c.flights, 0);
	assert_int_equal(c.unanswered, 600);
}

static void test_cancel(void **)
{
	const struct dns_target list[] = {
		web_target(&servers[0], false), plain_target(&servers[1])};
	const struct dns_route route = {.suffix = "", .targets = list, .n = 2};
	const struct dns_query q = query_for("www.a.test");
	n_done = 0;
	servers[0].http = servers[0].udp = servers[1].udp = SAYS_NOTHING;
	for (unsigned i = 0; i < 3; i++) {
		struct dns_flight *f = dns_forward_ask(forward, &route, &q, on_any, NULL);
		for (uint64_t end = dns_now_ms() + 40 * i; dns_now_ms() < end;)
			event_base_loop(base, EVLOOP_NONBLOCK);
		dns_flight_cancel(f);
	}
	assert_int_equal(n_done, 0);
	dns_forward_ask(forward, &route, &q, on_any, NULL); // destroyed with the rest
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CASE(test_udp),
		CASE(test_unpredictable),
		CASE(test_behaviours),
		CASE(test_second),
		CASE(test_refused),
		CASE(test_sick),
		CASE(test_nobody),
		CASE(test_https),
		CASE(test_https_first),
		CASE(test_flood),
		CASE(test_cancel),
	};
	return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
