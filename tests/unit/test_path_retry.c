// A direct path that was lost, and the times between pings of it: how many there are, how long, and
// what ends them. Also a peer without heartbeats.
#include "tests/unit/path_vectors.h"

#include <errno.h>

#include "control/path/endpoint.h"

static const uint64_t MS = UINT64_C(1000000);

static struct {
	struct path_search *path;
	uint64_t now_ns;
	unsigned pings, retries, calls;
	uint8_t last_txid[DISCO_TXID_LEN];
	struct endpoint last_to;
	bool answers;
} s;

static void on_act(void *, const struct path_action *a)
{
	s.calls += a->type == PATH_CALL_ME_MAYBE;
	if (a->type != PATH_PING)
		return;
	s.pings++;
	s.retries += a->is_retry;
	s.last_to = a->addr.to;
	memcpy(s.last_txid, a->txid, sizeof(s.last_txid));
}

static void on_random(void *, void *out, size_t len)
{
	static uint64_t number;

	memset(out, 0, len);
	number++;
	memcpy(out, &number, sizeof(number));
}

// Time goes by in steps of 10 ms; a packet is sent in each tenth one; a ping is answered after 10.
static void run(unsigned ms, bool traffic)
{
	struct path_choice choice;

	for (unsigned at = 0; at < ms; at += 10) {
		s.now_ns += 10 * MS;
		if (s.answers && s.pings)
			(void)!peer_path_pong(s.path, s.last_txid, s.now_ns);
		if (traffic && at % 100 == 0)
			assert_int_equal(peer_path_send(s.path, s.now_ns, &choice), 0);
		if (peer_path_next_ns(s.path) <= s.now_ns)
			peer_path_tick(s.path, s.now_ns);
	}
}

static void count(unsigned ms, bool traffic)
{
	s.pings = s.retries = s.calls = 0;
	run(ms, traffic);
}

// With a trusted path to the only address of the peer.
static int setup(void **)
{
	const struct path_io io = {on_act, on_random, NULL};
	const struct endpoint a = endpoint_of("192.0.2.1:1");

	memset(&s, 0, sizeof(s));
	s.path = peer_path_create(&io);
	s.now_ns = 1000 * MS;
	s.answers = true;
	peer_path_set_map(s.path, &a, 1, 5, false, s.now_ns);
	run(1000, true);
	assert_true(peer_path_trusted(s.path, s.now_ns));
	return 0;
}

static int teardown(void **)
{
	peer_path_destroy(s.path);
	return 0;
}

static void lose(void)
{
	s.answers = false;
	while (peer_path_trusted(s.path, s.now_ns))
		run(10, true);
}

static void test_no_retry_of_what_works(void **)
{
	count(60000, true);
	assert_int_equal(s.retries, 0);
	assert_int_equal(s.pings, 60000 / PATH_HEARTBEAT_MS);
}

static void test_pace_and_end(void **)
{
	lose();
	count(PATH_RETRY_FAST_MS, true);
	assert_in_range(s.retries, 36, 40);
	count(PATH_RETRY_END_MS - PATH_RETRY_FAST_MS, true);
	assert_in_range(s.retries, 45, 51);
	assert_true(s.calls >= 5); // which retries do not hold back
	count(60000, true);
	assert_int_equal(s.retries, 0);
	assert_true(s.pings >= 5); // the usual ones
}

static void test_found_again(void **)
{
	static const struct {
		const char *name;
		unsigned lost_ms, within_ms;
	} cases[] = {
		{"a moment", 300, PATH_RETRY_MS},
		{"5 s", 5000, PATH_RETRY_MS},
		{"15 s", 15000, PATH_RETRY_SLOW_MS},
		{"50 s", 50000, PATH_RETRY_SLOW_MS},
		{"100 s", 100000, PATH_PING_INTERVAL_MS + PATH_HEARTBEAT_MS},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		print_message("%s\n", cases[i].name);
		setup(NULL);
		lose();
		run(cases[i].lost_ms, true);
		assert_false(peer_path_trusted(s.path, s.now_ns));
		s.answers = true;
		s.pings = 0; // an answer to what went into the void is not due
		run(cases[i].within_ms + 50, true);
		assert_true(peer_path_trusted(s.path, s.now_ns));
		count(10000, true);
		assert_int_equal(s.retries, 0);
		lose(); // and the same again
		count(5000, true);
		assert_in_range(s.retries, 17, 20);
		teardown(NULL);
	}
}

static void test_without_traffic(void **)
{
	lose();
	run(1000, true);
	count(PATH_RETRY_TRAFFIC_MS, false);
	assert_true(s.retries > 0);
	count(60000, false);
	assert_int_equal(s.retries, 0);
	run(100, true); // the minute is over
	count(10000, true);
	assert_int_equal(s.retries, 0);
}

static void test_what_ends_it(void **)
{
	const struct endpoint b = endpoint_of("192.0.2.2:2");

	lose();
	run(1000, true);
	peer_path_set_map(
		s.path, &b, 1, 5, false, s.now_ns); // the lost address is the peer's no more
	count(2000, true);
	assert_int_equal(s.retries, 0);
	teardown(NULL);
	setup(NULL);
	lose();
	run(1000, true);
	const struct path_quality relay = {.addr = {b, 7, 0}, .mtu = PATH_MTU};
	peer_path_relay_ready(s.path, &relay, s.now_ns);
	count(2000, true); // a relay does not: direct is better
	assert_true(s.retries >= 7);
}

static void test_ping_back_is_paced(void **)
{
	const struct path_addr from = {.to = endpoint_of("192.0.2.9:9")};
	uint8_t txid[DISCO_TXID_LEN] = {0};

	count(1000, true);
	for (unsigned i = 0; i < 100; i++) { // a trusted path is enough
		txid[0] = (uint8_t)i;
		assert_true(peer_path_ping(s.path, &from, txid, s.now_ns));
	}
	assert_int_equal(s.pings, 0);
	lose();
	s.pings = s.retries = 0;
	for (unsigned i = 0; i < 1000; i++) { // in a second
		s.now_ns += MS;
		txid[1] = (uint8_t)(i / 250 + 1);
		txid[0] = (uint8_t)i;
		assert_true(peer_path_ping(s.path, &from, txid, s.now_ns));
		peer_path_hint(s.path, &from, s.now_ns);
	}
	assert_int_equal(s.pings, 1000 / PATH_PING_BACK_MS);
	assert_true(endpoint_equal(&s.last_to, &from.to));
}

static void test_silent(void **)
{
	peer_path_set_silent(s.path, true);
	s.pings = 0;
	for (unsigned i = 0; i < 60; i++) { // answers come all the time
		peer_path_heard(s.path, s.now_ns);
		run(1000, true);
	}
	assert_int_equal(s.pings, 0);
	assert_true(peer_path_trusted(s.path, s.now_ns));
	s.answers = false; // then none
	count(PATH_TRUST_MS + 500, true);
	assert_false(peer_path_trusted(s.path, s.now_ns));
	assert_true(s.pings > 0);
	run(10000, true);
	peer_path_heard(s.path, s.now_ns); // no trust out of nothing
	assert_false(peer_path_trusted(s.path, s.now_ns));
	s.answers = true;
	run(PATH_RETRY_SLOW_MS + 100, true);
	assert_true(peer_path_trusted(s.path, s.now_ns));
	peer_path_set_silent(s.path, false);
	count(30000, true);
	assert_in_range(s.pings, 9, 10);
}

static void test_heard_gives_no_trust_beside_heartbeats(void **)
{
	s.answers = false;
	for (unsigned i = 0; i < PATH_TRUST_MS / 100 + 1; i++) {
		peer_path_heard(s.path, s.now_ns);
		run(100, true);
	}
	assert_false(peer_path_trusted(s.path, s.now_ns));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_no_retry_of_what_works, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pace_and_end, setup, teardown),
		cmocka_unit_test(test_found_again),
		cmocka_unit_test_setup_teardown(test_without_traffic, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_ends_it, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ping_back_is_paced, setup, teardown),
		cmocka_unit_test_setup_teardown(test_silent, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_heard_gives_no_trust_beside_heartbeats, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
