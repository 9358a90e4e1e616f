// Under load: cookies from end to end, the rate limit, and when load begins and ends.
#include "tests/unit/sessions.h"

enum {
	RATE = 10, // initiations per second that are no load
};

static int load_open(void **state)
{
	net_open_peers(state);
	struct net *n = *state;
	wg_set_handshake_rate(n->a.w, RATE);
	wg_set_handshake_rate(n->b.w, RATE);
	return 0;
}

#define load_test(f) cmocka_unit_test_setup_teardown(f, load_open, net_close)

// Messages that know the public key and nothing else; what e answers is thrown away.
static void flood(struct end *e, unsigned count)
{
	struct message m = {.len = WG_INITIATION_LEN};
	struct endpoint from = end_at(200, 2000);
	unsigned waiting = e->net->n;
	m.data[0] = WG_TYPE_INITIATION;
	m.data[8] = 9; // an ephemeral that is no point of low order
	cookie_mac1_write(e->w->identity.mac1_key, m.data, m.len);
	for (unsigned i = 0; i < count; i++) {
		wg_receive(e->w, m.data, m.len, &from, &e->at.addr);
		e->net->n = waiting;
	}
	end_forget_counts(e);
}

static bool has_mac2(const struct message *m)
{
	static const uint8_t zero[WG_MAC_LEN];
	return memcmp(m->data + m->len - WG_MAC_LEN, zero, WG_MAC_LEN) != 0;
}

// x's initiation to y, which is under load: x holds a cookie afterwards.
static void get_cookie(struct net *n, struct end *x, struct end *y)
{
	struct message m;
	flood(y, RATE + 1);
	end_ask(x);
	net_pass(n, &m, WG_TYPE_INITIATION);
	assert_false(has_mac2(&m));
	assert_int_equal(end_counted(y, WG_COUNTER_BAD_MAC2), 1);
	end_counted_only(y, WG_COUNTER_COOKIE_SENT, 1);
	end_forget_counts(x);
	net_pass(n, &m, WG_TYPE_COOKIE);
	assert_int_equal(m.len, WG_COOKIE_REPLY_LEN);
	end_counted_only(x, WG_COUNTER_COOKIE_RECEIVED, 1);
}

static void the_retry_brings_the_cookie(void **state)
{
	struct net *n = *state;
	struct message m;
	get_cookie(n, &n->a, &n->b);
	assert_true(wg_under_load(n->b.w));
	assert_int_equal(n->n, 0); // no answer to a cookie reply: that would be a loop
	net_wait(n, 4900);
	assert_int_equal(n->n, 0);
	net_wait(n, 600);
	flood(&n->b, RATE + 1);
	net_pass(n, &m, WG_TYPE_INITIATION);
	assert_true(has_mac2(&m));
	assert_int_equal(end_counted(&n->b, WG_COUNTER_INITIATION_RECEIVED), 1);
	end_counted_only(&n->b, WG_COUNTER_RESPONSE_SENT, 1);
	net_pass(n, NULL, WG_TYPE_RESPONSE);
	assert_keys_match(n->a.s->current, n->b.s->next);
}

// An initiator under load asks the responder for one, too.
static void responses_need_cookies_as_well(void **state)
{
	struct net *n = *state;
	struct message m;
	end_ask(&n->a);
	net_pass(n, NULL, WG_TYPE_INITIATION);
	flood(&n->a, RATE + 1);
	net_pass(n, &m, WG_TYPE_RESPONSE);
	assert_false(has_mac2(&m));
	assert_int_equal(end_counted(&n->a, WG_COUNTER_BAD_MAC2), 1);
	end_counted_only(&n->a, WG_COUNTER_COOKIE_SENT, 1);
	assert_null(n->a.s->current);
	end_forget_counts(&n->b);
	net_pass(n, NULL, WG_TYPE_COOKIE);
	end_counted_only(&n->b, WG_COUNTER_COOKIE_RECEIVED, 1);
	net_wait(n, 6000);
	flood(&n->a, RATE + 1);
	net_pass(n, NULL, WG_TYPE_INITIATION);
	net_pass(n, &m, WG_TYPE_RESPONSE);
	assert_true(has_mac2(&m));
	assert_keys_match(n->a.s->current, n->b.s->next);
}

// The next initiation of A, with the cookie that it holds.
static void cookied(struct net *n, struct message *m)
{
	net_wait(n, 6000);
	assert_true(n->n > 0);
	assert_true(net_take(n, m));
	n->n = 0;
	assert_true(has_mac2(m));
	flood(&n->b, RATE + 1);
}

static const struct {
	const char *name;
	struct endpoint from;
	unsigned byte; // damaged; 0: none
	enum wg_counter reason;
} wrong_cookies[] = {
	{"another address", {{{192, 0, 2, 9}, IP_V4}, GW_PORT}, 0, WG_COUNTER_BAD_MAC2},
	{"another port", {{{192, 0, 2, 1}, IP_V4}, GW_PORT + 1}, 0, WG_COUNTER_BAD_MAC2},
	{"another family", {{{0x20, 1}, IP_V6}, GW_PORT}, 0, WG_COUNTER_BAD_MAC2},
	{"damaged", {{{192, 0, 2, 1}, IP_V4}, GW_PORT}, WG_INITIATION_LEN - 1, WG_COUNTER_BAD_MAC2},
	{"over another mac1", {{{192, 0, 2, 1}, IP_V4}, GW_PORT}, 120, WG_COUNTER_BAD_MAC1},
};

static void cookies_are_bound(void **state)
{
	struct net *n = *state;
	struct message m, good;
	get_cookie(n, &n->a, &n->b);
	cookied(n, &good);
	for (unsigned i = 0; i < RTE_DIM(wrong_cookies); i++) {
		print_message("%s\n", wrong_cookies[i].name);
		bool answered = wrong_cookies[i].reason == WG_COUNTER_BAD_MAC2;
		m = good;
		m.from = wrong_cookies[i].from;
		if (wrong_cookies[i].byte)
			m.data[wrong_cookies[i].byte] ^= 1;
		net_put(n, &m);
		assert_int_equal(end_counted(&n->b, wrong_cookies[i].reason), 1);
		end_counted_only(&n->b, WG_COUNTER_COOKIE_SENT, answered);
		assert_int_equal(n->n, answered);
		n->n = 0;
	}
	net_put(n, &good);
	assert_int_equal(end_counted(&n->b, WG_COUNTER_INITIATION_RECEIVED), 1);
}

static void cookies_do_not_last(void **state)
{
	struct net *n = *state;
	struct message m;
	get_cookie(n, &n->a, &n->b);
	cookied(n, &m);
	end_advance(&n->b, 121000); // the giver has another secret now
	flood(&n->b, RATE + 1);
	net_put(n, &m);
	assert_int_equal(end_counted(&n->b, WG_COUNTER_BAD_MAC2), 1);
	n->n = 0;
	end_advance(&n->a, 110000); // and the holder throws it away
	session_reset(n->a.s);
	end_ask(&n->a);
	assert_true(net_take(n, &m));
	assert_false(has_mac2(&m));
}

static void each_address_has_its_rate(void **state)
{
	struct net *n = *state;
	struct message m;
	get_cookie(n, &n->a, &n->b);
	cookied(n, &m);
	for (unsigned i = 0; i < 50; i++)
		net_put(n, &m);
	assert_int_equal(end_counted(&n->b, WG_COUNTER_INITIATION_RECEIVED), 1);
	assert_int_equal(end_counted(&n->b, WG_COUNTER_RESPONSE_SENT), 1);
	assert_int_equal(end_counted(&n->b, WG_COUNTER_FLOOD), 4);
	end_counted_only(&n->b, WG_COUNTER_RATE_LIMITED, 45);
}

static void forged_messages_get_no_cookie(void **state)
{
	struct net *n = *state;
	struct message m;
	flood(&n->b, RATE + 1);
	end_ask(&n->a);
	assert_true(net_take(n, &m));
	m.data[50] ^= 1;
	for (unsigned i = 0; i < 100; i++)
		net_put(n, &m);
	end_counted_only(&n->b, WG_COUNTER_BAD_MAC1, 100);
	assert_int_equal(n->n, 0);
}

// -- when it is load ------------------------------------------------------------------------------

static void load_ends_after_a_second(void **state)
{
	struct net *n = *state;
	assert_false(wg_under_load(n->b.w));
	flood(&n->b, RATE);
	assert_false(wg_under_load(n->b.w));
	flood(&n->b, 1);
	assert_true(wg_under_load(n->b.w));
	end_advance(&n->b, 990);
	assert_true(wg_under_load(n->b.w));
	end_advance(&n->b, 20);
	assert_false(wg_under_load(n->b.w));
	end_ask(&n->a);
	net_pass(n, NULL, WG_TYPE_INITIATION);
	net_pass(n, NULL, WG_TYPE_RESPONSE);
	assert_keys_match(n->a.s->current, n->b.s->next);
}

static void a_steady_rate_is_no_load(void **state)
{
	struct net *n = *state;
	for (unsigned i = 0; i < 20 * RATE; i++) {
		flood(&n->b, 1);
		assert_false(wg_under_load(n->b.w));
		end_advance(&n->b, 1000 / RATE + 5);
	}
	for (unsigned i = 0; i < 20; i++) { // and one that is too high stays load
		flood(&n->b, 2 * RATE);
		assert_true(wg_under_load(n->b.w));
		end_advance(&n->b, 995);
		assert_true(wg_under_load(n->b.w));
	}
}

static void what_is_forged_is_no_load(void **state)
{
	struct net *n = *state;
	struct message m = {.from = n->a.at, .to = n->b.at, .len = WG_INITIATION_LEN};
	m.data[0] = WG_TYPE_INITIATION;
	for (unsigned i = 0; i < 10 * RATE; i++)
		net_put(n, &m);
	assert_false(wg_under_load(n->b.w));
	end_counted_only(&n->b, WG_COUNTER_BAD_MAC1, 10 * RATE);
}

// Handshakes that wait are load; what waits for DERP beside them is none.
static void a_full_mailbox_is_load(void **state)
{
	struct net *n = *state;
	wg_set_handshake_rate(n->b.w, UINT32_MAX);
	atomic_store(&n->b.g.gw.punted_n[PUNT_DERP], PUNTED_SIZE / 2);
	atomic_store(&n->b.g.gw.punted_n[PUNT_DATAGRAM], PUNTED_SIZE / 8 - 1);
	flood(&n->b, 2);
	assert_false(wg_under_load(n->b.w));
	atomic_store(&n->b.g.gw.punted_n[PUNT_DATAGRAM], PUNTED_SIZE / 8);
	flood(&n->b, 1);
	assert_true(wg_under_load(n->b.w));
}

static void sessions_live_through_it(void **state)
{
	struct net *n = *state;
	net_shake(n, &n->a, &n->b);
	const struct keypair *current = n->b.s->current;
	uint32_t indices = index_count(n->b.g.gw.index);
	unsigned deferred = rcu_reclaim(n->b.g.gw.rcu);
	for (unsigned i = 0; i < 20; i++) {
		flood(&n->b, 500);
		net_wait(n, 100);
	}
	assert_ptr_equal(n->b.s->current, current);
	assert_ptr_equal(atomic_load(&n->b.s->peer->sending), current);
	assert_int_equal(index_count(n->b.g.gw.index), indices);
	assert_int_equal(rcu_reclaim(n->b.g.gw.rcu), deferred); // it takes no memory
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		load_test(the_retry_brings_the_cookie),
		load_test(responses_need_cookies_as_well),
		load_test(cookies_are_bound),
		load_test(cookies_do_not_last),
		load_test(each_address_has_its_rate),
		load_test(forged_messages_get_no_cookie),
		load_test(load_ends_after_a_second),
		load_test(a_steady_rate_is_no_load),
		load_test(what_is_forged_is_no_load),
		load_test(a_full_mailbox_is_load),
		load_test(sessions_live_through_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
