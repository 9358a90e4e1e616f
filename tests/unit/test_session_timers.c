// The timers of the paper's section 6, with clocks that the test moves; and clocks that go back.
#include "tests/unit/sessions.h"

static const uint64_t DAY_MS = 24 * 3600 * 1000;

// Time passes until something is under way, at most so long; returns how long it took, ms.
static uint64_t wait_for_datagram(struct net *n, uint64_t most_ms)
{
	uint64_t passed = 0;
	for (; n->n == 0 && passed < most_ms; passed += WG_TICK_MS)
		net_wait(n, WG_TICK_MS);
	return passed;
}

static uint64_t wait_until_told(struct net *n, struct end *e, int want, uint64_t most_ms)
{
	uint64_t passed = 0;
	int told = -1;
	for (; told < 0 && passed < most_ms; passed += WG_TICK_MS) {
		net_wait(n, WG_TICK_MS);
		told = end_told(e);
	}
	assert_int_equal(told, want);
	return passed;
}

static void assert_quiet(struct net *n, uint64_t ms)
{
	net_wait(n, ms);
	assert_int_equal(n->n, 0);
	assert_int_equal(end_told(&n->a), -1);
	assert_int_equal(end_told(&n->b), -1);
}

static void assert_between(uint64_t value, uint64_t least, uint64_t most)
{
	assert_true(value >= least);
	assert_true(value <= most);
}

static void lost_initiations_are_repeated(void **state)
{
	struct net *n = *state;
	end_ask(&n->a);
	for (unsigned i = 0; i < 4; i++) {
		net_lose(n, WG_TYPE_INITIATION);
		end_ask(&n->a); // more packets to send change nothing
		assert_between(wait_for_datagram(n, 10000), 5000, 5500);
	}
	assert_int_equal(end_counted(&n->a, WG_COUNTER_INITIATION_SENT), 5);
	net_pass(n, NULL, WG_TYPE_INITIATION);
	net_pass(n, NULL, WG_TYPE_RESPONSE);
	assert_keys_match(n->a.s->current, n->b.s->next);
	assert_int_equal(end_told(&n->a), SELF_KEYED);
	assert_quiet(n, 20000);
}

static void a_lost_response_is_made_again(void **state)
{
	struct net *n = *state;
	end_ask(&n->a);
	net_pass(n, NULL, WG_TYPE_INITIATION);
	net_lose(n, WG_TYPE_RESPONSE);
	const uint32_t first = n->b.s->next->local_index;
	assert_between(wait_for_datagram(n, 10000), 5000, 5500);
	net_pass(n, NULL, WG_TYPE_INITIATION);
	net_pass(n, NULL, WG_TYPE_RESPONSE);
	assert_keys_match(n->a.s->current, n->b.s->next);
	assert_null(index_lookup(n->b.g.gw.index, first));
	assert_int_equal(index_count(n->b.g.gw.index), 1);
}

static void nobody_answers(void **state)
{
	struct net *n = *state;
	uint64_t passed = 0;
	end_ask(&n->a);
	for (;;) {
		n->n = 0;
		passed += wait_for_datagram(n, 10000);
		if (n->n == 0)
			break;
	}
	assert_int_equal(end_counted(&n->a, WG_COUNTER_GAVE_UP), 1);
	assert_int_equal(end_told(&n->a), SELF_GIVE_UP);
	assert_int_equal(end_counted(&n->a, WG_COUNTER_INITIATION_SENT), 19);
	assert_between(passed - 10000, 90000, 18 * 5500);
	assert_int_equal(index_count(n->a.g.gw.index), 0);
	assert_quiet(n, 60000);
	end_ask(&n->a); // the next packet tries again
	net_pass(n, NULL, WG_TYPE_INITIATION);
	net_pass(n, NULL, WG_TYPE_RESPONSE);
	assert_keys_match(n->a.s->current, n->b.s->next);
}

// Persistent keepalives and unanswered data do not start the count of attempts again.
static void keepalives_do_not_keep_a_dead_handshake(void **state)
{
	struct net *n = *state;
	end_configure(&n->a, wg_public_key(n->b.w), &n->b.at, NULL, 7, true);
	net_wait(n, 110000);
	assert_int_equal(end_counted(&n->a, WG_COUNTER_GAVE_UP), 1);
	n->n = 0;
	net_wait(n, 10000);
	assert_true(n->n > 0); // it goes on afterwards
}

static void initiations_keep_a_pause(void **state)
{
	struct net *n = *state;
	net_shake(n, &n->a, &n->b);
	for (unsigned i = 0; i < 49; i++) {
		end_ask(&n->a);
		assert_quiet(n, 100);
	}
	net_wait(n, 200);
	end_ask(&n->a);
	assert_int_equal(n->n, 1);
}

static void ages_of_keypairs(void **state)
{
	struct net *n = *state;
	net_shake(n, &n->a, &n->b);
	const struct keypair *a = n->a.s->current, *b = n->b.s->current;
	const uint64_t s = wg_tsc(n->a.w, 1000);
	assert_int_equal((a->rekey_send_at - n->a.s->derived + s / 2) / s, 120);
	assert_int_equal((a->rekey_recv_at - n->a.s->derived + s / 2) / s, 165);
	assert_int_equal((a->reject_at - n->a.s->derived + s / 2) / s, 180);
	assert_int_equal((b->reject_at - n->b.s->derived + s / 2) / s, 180);
	assert_true(a->initiator && !b->initiator);
	assert_true(b->rekey_send_at == UINT64_MAX); // the initiator renews
}

// -- data without an answer -----------------------------------------------------------------------

static void unanswered_data_shakes_hands_once(void **state)
{
	struct net *n = *state;
	net_shake(n, &n->a, &n->b);
	net_wait(n, 6000);
	end_sent(&n->a, true);
	assert_between(wait_for_datagram(n, 30000), 15000, 15500);
	net_pass(n, NULL, WG_TYPE_INITIATION);
	net_pass(n, NULL, WG_TYPE_RESPONSE);
	assert_int_equal(end_told(&n->a), SELF_KEYED);
	// The peer lives, though it has nothing to say.
	assert_quiet(n, 60000);
	end_sent(&n->a, true);
	assert_between(wait_for_datagram(n, 30000), 15000, 15500);
}

static void data_that_goes_on_is_asked_for_again(void **state)
{
	struct net *n = *state;
	net_shake(n, &n->a, &n->b);
	net_wait(n, 6000);
	for (unsigned i = 0; i < 300; i++) { // 30 s of data into nothing
		end_sent(&n->a, true);
		net_wait(n, 100);
	}
	// At 15 s, and three retries since.
	assert_between(end_counted(&n->a, WG_COUNTER_INITIATION_SENT), 3, 4);
}

static const struct {
	const char *name;
	bool data; // what comes
} signs[] = {{"data", true}, {"a keepalive", false}};

static void any_packet_is_an_answer(void **state)
{
	struct net *n = *state;
	for (unsigned i = 0; i < RTE_DIM(signs); i++) {
		print_message("%s\n", signs[i].name);
		net_shake(n, &n->a, &n->b);
		net_wait(n, 6000);
		end_sent(&n->a, true);
		net_wait(n, 14000);
		end_heard(&n->a, signs[i].data);
		net_wait(n, 100);
		end_sent(&n->a, false);
		assert_quiet(n, 30000);
		net_wait(n, 6000);
	}
}

static void keepalives_want_no_answer(void **state)
{
	struct net *n = *state;
	net_shake(n, &n->a, &n->b);
	net_wait(n, 6000);
	end_sent(&n->a, false);
	end_heard(&n->b, false);
	assert_quiet(n, 60000);
}

// -- passive keepalive ----------------------------------------------------------------------------

static void data_is_acknowledged_once(void **state)
{
	struct net *n = *state;
	net_shake(n, &n->a, &n->b);
	for (unsigned i = 0; i < 3; i++) {
		end_heard(&n->b, true);
		assert_between(wait_until_told(n, &n->b, SELF_KEEPALIVE, 20000), 10000, 10200);
		assert_quiet(n, 30000); // also when the worker could not send it
	}
}

static void data_goes_out_within_the_time(void **state)
{
	struct net *n = *state;
	net_shake(n, &n->a, &n->b);
	for (unsigned i = 0; i < 10; i++) {
		end_heard(&n->b, true);
		net_wait(n, 9000);
		end_sent(&n->b, false);
		assert_int_equal(end_told(&n->b), -1);
		net_wait(n, 100);
	}
	// The time counts from what came after the last that went.
	end_heard(&n->b, true);
	assert_between(wait_until_told(n, &n->b, SELF_KEEPALIVE, 20000), 10000, 10200);
}

// -- persistent keepalive -------------------------------------------------------------------------

static void persistent_keepalives(void **state)
{
	struct net *n = *state;
	end_configure(&n->a, wg_public_key(n->b.w), &n->b.at, NULL, 25, true);
	net_wait(n, 100); // the first at once: there is no session yet
	net_pass(n, NULL, WG_TYPE_INITIATION);
	net_pass(n, NULL, WG_TYPE_RESPONSE);
	assert_int_equal(end_told(&n->a), SELF_KEYED);
	end_sent(&n->a, false);
	for (unsigned i = 0; i < 4; i++) {
		assert_between(wait_until_told(n, &n->a, SELF_KEEPALIVE, 60000), 24900, 25200);
		end_sent(&n->a, false);
	}
	for (unsigned i = 0; i < 4; i++) { // traffic in either direction does instead
		net_wait(n, 20000);
		if (i & 1)
			end_sent(&n->a, false);
		else
			end_heard(&n->a, false);
		assert_int_equal(end_told(&n->a), -1);
	}
	end_configure(&n->a, wg_public_key(n->b.w), &n->b.at, NULL, 0, true);
	assert_quiet(n, 100000);
}

// A worker writes its times while the tick runs: they may lie behind the tick's own.
static void times_of_the_future_are_not_old(void **state)
{
	struct net *n = *state;
	end_configure(&n->a, wg_public_key(n->b.w), &n->b.at, NULL, 25, true);
	net_shake(n, &n->a, &n->b);
	session_tick(n->a.s, wg_now(n->a.w));
	while (end_told(&n->a) >= 0)
		;
	uint64_t now = wg_now(n->a.w), later = now + wg_tsc(n->a.w, 5);
	atomic_store(&n->a.s->peer->last_tx, later);
	atomic_store(&n->a.s->peer->last_tx_data, later);
	atomic_store(&n->a.s->peer->last_rx, later + 1);
	atomic_store(&n->a.s->peer->last_rx_data, later + 1);
	session_tick(n->a.s, now);
	assert_int_equal(end_told(&n->a), -1);
	assert_int_equal(n->n, 0);
}

static void a_persistent_keepalive_renews_an_expired_session(void **state)
{
	struct net *n = *state;
	net_shake(n, &n->a, &n->b);
	net_wait(n, 181000);
	end_configure(&n->a, wg_public_key(n->b.w), &n->b.at, NULL, 25, true);
	net_wait(n, 100);
	assert_int_equal(end_told(&n->a), SELF_KEEPALIVE); // which the worker has no key for
	net_pass(n, NULL, WG_TYPE_INITIATION);
}

// -- the end of keys ------------------------------------------------------------------------------

static void old_keys_are_wiped(void **state)
{
	struct net *n = *state;
	net_shake(n, &n->a, &n->b);
	net_wait(n, 6000);
	net_shake(n, &n->b, &n->a);
	net_wait(n, 539000);
	assert_int_equal(index_count(n->a.g.gw.index), 2);
	net_wait(n, 2000);
	for (unsigned i = 0; i < 2; i++) {
		struct end *e = i ? &n->b : &n->a;
		assert_int_equal(index_count(e->g.gw.index), 0);
		assert_true(!e->s->current && !e->s->previous && !e->s->next);
		assert_null(atomic_load(&e->s->peer->sending));
		assert_false(e->s->is_timed);
	}
	net_shake(n, &n->a, &n->b);
}

static void a_handshake_outlives_old_keys(void **state)
{
	struct net *n = *state;
	net_shake(n, &n->a, &n->b);
	net_wait(n, 538000);
	end_ask(&n->a);
	net_wait(n, 3000);
	assert_null(n->a.s->current);
	net_pass(n, NULL, WG_TYPE_INITIATION);
	net_pass(n, NULL, WG_TYPE_RESPONSE);
	assert_keys_match(n->a.s->current, n->b.s->next);
}

static void what_was_never_confirmed_is_wiped(void **state)
{
	struct net *n = *state;
	end_ask(&n->a);
	net_pass(n, NULL, WG_TYPE_INITIATION);
	net_lose(n, WG_TYPE_RESPONSE);
	session_reset(n->a.s);
	net_wait(n, 541000);
	assert_null(n->b.s->next);
	assert_int_equal(index_count(n->b.g.gw.index), 0);
}

// -- clocks ---------------------------------------------------------------------------------------

static void the_clock_goes_back(void **state)
{
	struct net *n = *state;
	static const int64_t days[] = {0, -1, -400, -30, 3, -3};
	net_shake(n, &n->a, &n->b);
	for (unsigned i = 0; i < RTE_DIM(days); i++) {
		n->a.w->set_unix_ns += (uint64_t)(days[i] * (int64_t)DAY_MS * 1000000);
		net_wait(n, 6000);
		net_shake(n, &n->a, &n->b); // the peer refuses what is not newer
	}
}

// A restart forgets what was told: a clock that is behind then is refused until it catches up.
static void a_restart_with_a_clock_behind(void **state)
{
	struct net *n = *state;
	net_shake(n, &n->a, &n->b);
	wg_peer_remove(n->a.w, wg_public_key(n->b.w));
	end_configure(&n->a, wg_public_key(n->b.w), &n->b.at, NULL, 0, true);
	n->a.w->set_unix_ns -= 3600 * UINT64_C(1000000000);
	end_advance(&n->b, 1000);
	end_ask(&n->a);
	net_pass(n, NULL, WG_TYPE_INITIATION);
	end_counted_only(&n->b, WG_COUNTER_REPLAYED, 1);
	assert_int_equal(n->n, 0);
	n->a.w->set_unix_ns += 3600 * UINT64_C(1000000000);
	net_wait(n, 6000);
	net_pass(n, NULL, WG_TYPE_INITIATION);
	net_pass(n, NULL, WG_TYPE_RESPONSE);
	assert_keys_match(n->a.s->current, n->b.s->next);
}

// The timestamps of many peers stay with the clock.
static void many_handshakes_do_not_run_ahead(void **state)
{
	struct net *n = *state;
	enum { PEERS = 300 };
	for (unsigned i = 0; i < PEERS; i++) {
		struct key secret = secret_key(0), public;
		uint32_t number = i << 3; // clamping takes the lowest bits
		memcpy(secret.bytes, &number, sizeof(number));
		secret.bytes[31] = 0x40;
		x25519_public(public.bytes, secret.bytes);
		assert_int_equal(end_configure(&n->a, &public, &n->b.at, NULL, 0, true), 0);
		end_ask(&n->a);
		n->n = 0;
		assert_int_equal(n->a.s->told_unix_ns, n->a.w->set_unix_ns);
	}
	assert_int_equal(end_counted(&n->a, WG_COUNTER_INITIATION_SENT), PEERS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		net_test(lost_initiations_are_repeated),
		net_test(a_lost_response_is_made_again),
		net_test(nobody_answers),
		net_test(keepalives_do_not_keep_a_dead_handshake),
		net_test(initiations_keep_a_pause),
		net_test(ages_of_keypairs),
		net_test(unanswered_data_shakes_hands_once),
		net_test(data_that_goes_on_is_asked_for_again),
		net_test(any_packet_is_an_answer),
		net_test(keepalives_want_no_answer),
		net_test(data_is_acknowledged_once),
		net_test(data_goes_out_within_the_time),
		net_test(persistent_keepalives),
		net_test(times_of_the_future_are_not_old),
		net_test(a_persistent_keepalive_renews_an_expired_session),
		net_test(old_keys_are_wiped),
		net_test(a_handshake_outlives_old_keys),
		net_test(what_was_never_confirmed_is_wiped),
		net_test(the_clock_goes_back),
		net_test(a_restart_with_a_clock_behind),
		bare_test(many_handshakes_do_not_run_ahead),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
