// Connections to the socket: how many of a kind, and who has to go.
#include "tests/unit/local_client.h"

#include <grp.h>

#include "control/ctl/conns.h"

static struct ctl_conns *conns(void)
{
	return t.server->conns;
}

// For so long, and so many turns: a busy machine may take all of the time for one.
static void run_for(double s)
{
	const double end = seconds() + s;
	for (unsigned turn = 0; turn < 1000 * s || seconds() < end; turn++)
		spin(NULL);
}

static void wait_for_count(enum ctl_conn_kind kind, unsigned n)
{
	for (double end = seconds() + DEADLINE_S; ctl_conns_count(conns(), kind) != n;) {
		if (seconds() > end)
			fail_msg("%u connections, not %u", ctl_conns_count(conns(), kind), n);
		spin(NULL);
	}
}

static uint64_t in_seconds(unsigned s)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return ((uint64_t)now.tv_sec + s) * 1000000000;
}

// Whether the server has ended it; what it said before is in the answer.
static bool is_ended(struct client *c)
{
	const double end = seconds() + 0.3;
	for (unsigned turn = 0; !c->closed && (turn < 100 || seconds() < end); turn++)
		spin(c);
	return c->closed;
}

static void open_many(struct client *list, unsigned n, struct client (*open_one)(void))
{
	for (unsigned i = 0; i < n; i++) {
		list[i] = open_one();
		spin(NULL); // the backlog is short
	}
}

static void close_many(struct client *list, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		client_close(&list[i]);
}

// A request that is not answered until a pong comes.
static void keep_busy(struct client *c)
{
	local_send(c, "POST", API "ping?ip=100.64.0.2&type=disco", HOST, "");
}

static void answer_pings(void)
{
	struct tailnet_pong pong = {.error = "no"};
	for (unsigned i = 0; i < tailnet.n_pings; i++)
		tailnet.pings[i].done(tailnet.pings[i].arg, &pong);
	tailnet.n_pings = 0;
}

// The longest idle has to go, never one at work.
static void test_idle_makes_room(void **)
{
	struct client list[CTL_MANAGERS_MAX + 1];
	uint64_t before = ctl_conns_ended(conns(), CTL_CONN_DISPLACED);

	wait_for_count(CTL_CONN_MANAGER, 0);
	list[0] = client_open();
	keep_busy(&list[0]);
	for (double end = seconds() + DEADLINE_S; tailnet.n_pings < 1 && seconds() < end;)
		spin(NULL);
	list[1] = client_open();
	run_for(0.05); // it is older than the rest
	open_many(list + 2, CTL_MANAGERS_MAX - 2, client_open);
	wait_for_count(CTL_CONN_MANAGER, CTL_MANAGERS_MAX);
	assert_int_equal(ctl_conns_ended(conns(), CTL_CONN_DISPLACED), before);
	list[CTL_MANAGERS_MAX] = client_open();
	assert_true(is_ended(&list[1]));
	assert_int_equal(ctl_conns_ended(conns(), CTL_CONN_DISPLACED), before + 1);
	wait_for_count(CTL_CONN_MANAGER, CTL_MANAGERS_MAX);
	client_ask(&list[CTL_MANAGERS_MAX], "GET", "/tailgate/v0/top");
	client_wait(&list[CTL_MANAGERS_MAX]);
	assert_int_equal(status_of(&list[CTL_MANAGERS_MAX]), 200);
	answer_pings();
	client_wait(&list[0]);
	assert_int_equal(status_of(&list[0]), 200);
	close_many(list, CTL_MANAGERS_MAX + 1);
	wait_for_count(CTL_CONN_MANAGER, 0);
}

// One user does not keep the others out; nobody keeps root out.
static void test_readers(void **)
{
	struct client list[CTL_READERS_PER_USER + 1];
	uint64_t before = ctl_conns_ended(conns(), CTL_CONN_REFUSED);

	if (geteuid() != 0)
		skip();
	assert_int_equal(setgroups(0, NULL), 0);
	for (unsigned i = 0; i < CTL_READERS_PER_USER; i++) {
		list[i] = open_as_nobody();
		keep_busy(&list[i]);
		for (double end = seconds() + DEADLINE_S; tailnet.n_pings <= i && seconds() < end;)
			spin(NULL);
	}
	assert_int_equal(ctl_conns_count(conns(), CTL_CONN_READER), CTL_READERS_PER_USER);
	list[CTL_READERS_PER_USER] = open_as_nobody();
	client_wait(&list[CTL_READERS_PER_USER]);
	assert_int_equal(status_of(&list[CTL_READERS_PER_USER]), 503);
	assert_non_null(strstr(list[CTL_READERS_PER_USER].answer, "too many connections"));
	assert_int_equal(ctl_conns_ended(conns(), CTL_CONN_REFUSED), before + 1);
	assert_int_equal(ctl_conns_count(conns(), CTL_CONN_READER), CTL_READERS_PER_USER);
	json_decref(ask("GET", "/tailgate/v0/status", 200));
	answer_pings();
	for (unsigned i = 0; i < CTL_READERS_PER_USER; i++) {
		client_wait(&list[i]);
		assert_int_equal(status_of(&list[i]), 200);
	}
	close_many(list, CTL_READERS_PER_USER + 1);
	wait_for_count(CTL_CONN_READER, 0);
	as_nobody("GET", API "status", "", 200, "Running");
}

// What is not a whole request in time.
static void test_no_request(void **)
{
	static const char *const sent[] = {
		"",
		"GET",
		"GET /tailgate/v0/status HTTP/1.1\r\nHost: x\r\n",
		"POST /tailgate/v0/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabc",
	};
	for (unsigned i = 0; i < RTE_DIM(sent); i++) {
		struct client c = client_open();
		uint64_t before = ctl_conns_ended(conns(), CTL_CONN_IDLE);
		client_send(&c, sent[i], strlen(sent[i]));
		run_for(0.05);
		ctl_conns_check(conns(), in_seconds(CTL_REQUEST_S / 2));
		assert_false(is_ended(&c));
		client_send(&c, " ", 1); // a byte now and then is no excuse
		ctl_conns_check(conns(), in_seconds(CTL_REQUEST_S + 1));
		assert_true(is_ended(&c));
		assert_int_equal(ctl_conns_ended(conns(), CTL_CONN_IDLE), before + 1);
		assert_string_equal(c.answer, "");
		client_close(&c);
	}
	assert_int_equal(fixture.reloads, 0);
	wait_for_count(CTL_CONN_MANAGER, 0);
}

// After an answer the time begins anew; at work there is none.
static void test_request_in_time(void **)
{
	static const char twice[] = "GET /tailgate/v0/status HTTP/1.1\r\nHost: x\r\n\r\n";
	struct client c = client_open(), waits = client_open();

	client_send(&c, twice, sizeof(twice) - 1);
	keep_busy(&waits);
	run_for(0.1);
	ctl_conns_check(conns(), in_seconds(CTL_REQUEST_S / 2));
	assert_false(is_ended(&c));
	assert_int_equal(status_of(&c), 200);
	ctl_conns_check(conns(), in_seconds(10 * CTL_REQUEST_S));
	assert_true(is_ended(&c));
	assert_false(is_ended(&waits));
	answer_pings();
	client_wait(&waits);
	assert_int_equal(status_of(&waits), 200);
	client_close(&c);
	client_close(&waits);
}

// An answer that is not read ends; one that is read in time does not, however long it takes.
static void test_slow_reader(void **)
{
	struct client slow = client_open(), steady = client_open();
	uint64_t before = ctl_conns_ended(conns(), CTL_CONN_SLOW);
	char bytes[CTL_SLOW_BYTES];

	fixture.n_peers = 20000;
	client_ask(&slow, "GET", "/tailgate/v0/status");
	client_ask(&steady, "GET", "/tailgate/v0/status");
	run_for(0.2);
	for (unsigned i = 1; i <= 8; i++) {
		ctl_conns_check(conns(), in_seconds(i * (CTL_SLOW_S / 2)));
		for (size_t got = 0; got < CTL_SLOW_BYTES;) {
			spin(NULL);
			ssize_t len = recv(steady.fd, bytes, sizeof(bytes), MSG_DONTWAIT);
			got += len > 0 ? (size_t)len : 0;
		}
		run_for(0.05);
	}
	assert_int_equal(ctl_conns_ended(conns(), CTL_CONN_SLOW), before + 1);
	wait_for_count(CTL_CONN_MANAGER, 1);
	fixture.n_peers = FIXTURE_PEERS;
	client_close(&slow);
	client_close(&steady); // in the middle of its answer
	wait_for_count(CTL_CONN_MANAGER, 0);
}

// What comes ahead of an answer is not kept without end.
static void test_flood(void **)
{
	static const char head[] = "POST " API "ping?ip=100.64.0.2&type=disco HTTP/1.1\r\n" HOST
				   "Content-Length: 0\r\n\r\n";
	struct client c = client_open();
	char junk[4096] = {};
	size_t n = 0;

	client_send(&c, head, sizeof(head) - 1);
	for (double end = seconds() + 1; seconds() < end; spin(NULL)) {
		ssize_t sent = send(c.fd, junk, sizeof(junk), MSG_DONTWAIT | MSG_NOSIGNAL);
		n += sent > 0 ? (size_t)sent : 0;
	}
	assert_in_range(n, 1, 4 * CTL_UNREAD_MAX);
	answer_pings();
	client_close(&c);
	wait_for_count(CTL_CONN_MANAGER, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_idle_makes_room),
		cmocka_unit_test(test_readers),
		cmocka_unit_test(test_no_request),
		cmocka_unit_test(test_request_in_time),
		cmocka_unit_test(test_slow_reader),
		cmocka_unit_test(test_flood),
	};
	return cmocka_run_group_tests(tests, local_setup, local_teardown);
}
