// Handshakes between two devices: both roles, keypair rotation, changes of keys, endpoints.
#include "tests/unit/sessions.h"

static void a_handshake_gives_both_the_keys(void **state)
{
	struct net *n = *state;
	struct keypair *sending;
	end_ask(&n->a);
	end_counted_only(&n->a, WG_COUNTER_INITIATION_SENT, 1);
	net_pass(n, NULL, WG_TYPE_INITIATION);
	assert_int_equal(end_counted(&n->b, WG_COUNTER_INITIATION_RECEIVED), 1);
	end_counted_only(&n->b, WG_COUNTER_RESPONSE_SENT, 1);
	// The responder may receive, but not send before the initiator did.
	assert_non_null(n->b.s->next);
	assert_null(n->b.s->current);
	assert_null(atomic_load(&n->b.s->peer->sending));
	assert_ptr_equal(index_lookup(n->b.g.gw.index, n->b.s->next->local_index), n->b.s->next);
	assert_int_equal(n->b.s->handshake_unix_ns, 0);
	net_pass(n, NULL, WG_TYPE_RESPONSE);
	end_counted_only(&n->a, WG_COUNTER_RESPONSE_RECEIVED, 1);
	assert_keys_match(n->a.s->current, n->b.s->next);
	sending = atomic_load(&n->a.s->peer->sending);
	assert_ptr_equal(sending, n->a.s->current);
	assert_ptr_equal(index_lookup(n->a.g.gw.index, sending->local_index), sending);
	assert_int_equal(end_told(&n->a), SELF_KEYED);
	assert_int_equal(end_told(&n->b), -1);
	end_confirm(&n->b);
	assert_int_equal(end_told(&n->b), SELF_FLUSH);
	assert_ptr_equal(atomic_load(&n->b.s->peer->sending), n->b.s->current);
	assert_true(n->a.s->handshake_unix_ns > 0 && n->b.s->handshake_unix_ns > 0);
	end_counted_no_more(&n->b);
	assert_int_equal(n->n, 0);
	assert_int_equal(index_count(n->a.g.gw.index), 1);
	assert_int_equal(index_count(n->b.g.gw.index), 1);
}

static void rotation_keeps_the_one_before(void **state)
{
	struct net *n = *state;
	const struct keypair *old_a, *old_b;
	net_shake(n, &n->a, &n->b);
	for (unsigned i = 0; i < 6; i++) {
		struct end *x = i & 1 ? &n->b : &n->a, *y = i & 1 ? &n->a : &n->b;
		net_wait(n, 6000);
		old_a = x->s->current;
		old_b = y->s->current;
		end_ask(x);
		net_pass(n, NULL, WG_TYPE_INITIATION);
		// Until the first packet the responder sends with the old one, and hears both.
		assert_ptr_equal(atomic_load(&y->s->peer->sending), old_b);
		assert_ptr_equal(index_lookup(y->g.gw.index, old_b->local_index), old_b);
		assert_null(y->s->previous);
		net_pass(n, NULL, WG_TYPE_RESPONSE);
		assert_ptr_equal(x->s->previous, old_a);
		assert_ptr_equal(index_lookup(x->g.gw.index, old_a->local_index), old_a);
		end_confirm(y);
		assert_ptr_equal(y->s->previous, old_b);
		assert_keys_match(x->s->current, y->s->current);
		assert_keys_match(x->s->previous, y->s->previous);
		assert_int_equal(index_count(x->g.gw.index), 2);
		assert_int_equal(index_count(y->g.gw.index), 2);
	}
}

// Each begins before it hears the other: both handshakes succeed, and whichever keypair one sends
// with, the other has it.
static void assert_they_understand(const struct end *x, const struct end *y)
{
	const struct keypair *sending = atomic_load(&x->s->peer->sending);
	const struct keypair *found = index_lookup(y->g.gw.index, sending->remote_index);
	assert_keys_match(sending, found);
}

static void both_may_begin_at_once(void **state)
{
	struct net *n = *state;
	end_ask(&n->a);
	end_ask(&n->b);
	net_pass(n, NULL, WG_TYPE_INITIATION);
	net_pass(n, NULL, WG_TYPE_INITIATION);
	net_pass(n, NULL, WG_TYPE_RESPONSE);
	net_pass(n, NULL, WG_TYPE_RESPONSE);
	assert_they_understand(&n->a, &n->b);
	assert_they_understand(&n->b, &n->a);
	assert_int_equal(end_counted(&n->a, WG_COUNTER_RESPONSE_RECEIVED), 1);
	assert_int_equal(end_counted(&n->b, WG_COUNTER_RESPONSE_RECEIVED), 1);
	net_wait(n, 8000);
	assert_int_equal(n->n, 0); // and nobody goes on asking
}

static void both_at_once_one_lost(void **state)
{
	struct net *n = *state;
	end_ask(&n->a);
	end_ask(&n->b);
	net_lose(n, WG_TYPE_INITIATION);
	net_pass(n, NULL, WG_TYPE_INITIATION);
	net_pass(n, NULL, WG_TYPE_RESPONSE);
	end_confirm(&n->a);
	assert_they_understand(&n->a, &n->b);
	assert_they_understand(&n->b, &n->a);
	// The peer's handshake serves: our own is not repeated.
	net_wait(n, 8000);
	assert_int_equal(n->n, 0);
	assert_int_equal(index_count(n->a.g.gw.index), 1);
}

static void another_confirmation_changes_nothing(void **state)
{
	struct net *n = *state;
	struct worker_event e = {.type = EVENT_CONFIRMED};
	net_shake(n, &n->a, &n->b);
	const struct keypair *current = n->b.s->current;
	const uint32_t indices[] = {
		0, 1, current->local_index, current->local_index + 1, UINT32_MAX};
	for (unsigned i = 0; i < RTE_DIM(indices); i++) {
		e.peer_id = n->b.s->peer->id;
		e.index = indices[i];
		wg_event(n->b.w, &e);
		e.peer_id = 4711; // nobody
		wg_event(n->b.w, &e);
		assert_ptr_equal(n->b.s->current, current);
		assert_int_equal(end_told(&n->b), -1);
	}
}

// -- preshared keys -------------------------------------------------------------------------------

static const struct {
	const char *name;
	uint8_t a, b; // secret_key(); 0: none
	bool ok;
} psks[] = {
	{"none", 0, 0, true},
	{"the same", 7, 7, true},
	{"two different ones", 7, 8, false},
	{"ours only", 7, 0, false},
	{"theirs only", 0, 7, false},
};

static void preshared_keys_must_agree(void **state)
{
	struct net *n = *state;
	for (unsigned i = 0; i < RTE_DIM(psks); i++) {
		print_message("%s\n", psks[i].name);
		struct key a = secret_key(psks[i].a), b = secret_key(psks[i].b);
		wg_peer_remove(n->a.w, wg_public_key(n->b.w));
		wg_peer_remove(n->b.w, wg_public_key(n->a.w));
		end_configure(&n->a, wg_public_key(n->b.w), &n->b.at, &a, 0, true);
		end_configure(&n->b, wg_public_key(n->a.w), &n->a.at, &b, 0, true);
		assert_int_equal(n->a.s->peer->has_psk, psks[i].a != 0);
		end_ask(&n->a);
		net_pass(n, NULL, WG_TYPE_INITIATION);
		net_pass(n, NULL, WG_TYPE_RESPONSE);
		assert_int_equal(n->a.s->current != NULL, psks[i].ok);
		assert_int_equal(end_counted(&n->a, WG_COUNTER_FORGED), !psks[i].ok);
		assert_int_equal(n->a.s->handshake_unix_ns > 0, psks[i].ok);
		assert_int_equal(n->b.s->handshake_unix_ns, 0); // it heard no packet
	}
}

static void a_new_preshared_key_ends_the_session(void **state)
{
	struct net *n = *state;
	struct key psk = secret_key(9);
	net_shake(n, &n->a, &n->b);
	uint32_t index = n->a.s->current->local_index;
	assert_int_equal(end_configure(&n->a, wg_public_key(n->b.w), &n->b.at, NULL, 0, true), 0);
	assert_non_null(n->a.s->current); // nothing changed
	assert_int_equal(end_configure(&n->a, wg_public_key(n->b.w), &n->b.at, &psk, 0, true), 0);
	assert_null(n->a.s->current);
	assert_null(atomic_load(&n->a.s->peer->sending));
	assert_null(index_lookup(n->a.g.gw.index, index));
	assert_int_equal(index_count(n->a.g.gw.index), 0);
	assert_int_equal(end_configure(&n->b, wg_public_key(n->a.w), &n->a.at, &psk, 0, true), 0);
	end_advance(&n->b, 100);
	end_ask(&n->a); // at once: the pause of 5 s is not waited out
	net_pass(n, NULL, WG_TYPE_INITIATION);
	net_pass(n, NULL, WG_TYPE_RESPONSE);
	assert_keys_match(n->a.s->current, n->b.s->next);
}

// A preshared key is no part of an initiation: one that was recorded before the change would open.
static void a_change_of_keys_forgets_no_timestamp(void **state)
{
	struct net *n = *state;
	struct key psk = secret_key(9);
	struct message m;
	end_ask(&n->a);
	net_pass(n, &m, WG_TYPE_INITIATION);
	end_configure(&n->b, wg_public_key(n->a.w), &n->a.at, &psk, 0, true);
	end_advance(&n->b, 1000);
	end_forget_counts(&n->b);
	m.from = end_at(66, 6666);
	net_put(n, &m);
	end_counted_only(&n->b, WG_COUNTER_REPLAYED, 1);
	assert_null(n->b.s->next);
	assert_true(endpoint_equal(&n->b.s->endpoint, &n->a.at));
}

// -- our own key ----------------------------------------------------------------------------------

static void a_new_private_key_needs_a_new_handshake(void **state)
{
	struct net *n = *state;
	struct key key = secret_key(0x77), old = *wg_public_key(n->a.w);
	net_shake(n, &n->a, &n->b);
	assert_int_equal(wg_set_key(n->a.w, &n->a.private_key), 0); // the same
	assert_non_null(n->a.s->current);
	assert_int_equal(wg_set_key(n->a.w, &key), 0);
	assert_null(n->a.s->current);
	assert_int_equal(index_count(n->a.g.gw.index), 0);
	end_ask(&n->a);
	net_pass(n, NULL, WG_TYPE_INITIATION);
	end_counted_only(&n->b, WG_COUNTER_UNKNOWN_PEER, 1);
	assert_int_equal(wg_peer_remove(n->b.w, &old), 0);
	assert_int_equal(end_configure(&n->b, wg_public_key(n->a.w), &n->a.at, NULL, 0, true), 0);
	net_wait(n, 6000);
	net_pass(n, NULL, WG_TYPE_INITIATION);
	net_pass(n, NULL, WG_TYPE_RESPONSE);
	assert_keys_match(n->a.s->current, n->b.s->next);
}

static void messages_to_the_old_key_are_refused(void **state)
{
	struct net *n = *state;
	struct key key = secret_key(0x77);
	end_ask(&n->a);
	assert_int_equal(wg_set_key(n->b.w, &key), 0);
	net_pass(n, NULL, WG_TYPE_INITIATION);
	end_counted_only(&n->b, WG_COUNTER_BAD_MAC1, 1);
}

static void we_are_not_our_own_peer(void **state)
{
	struct net *n = *state;
	assert_int_equal(
		end_configure(&n->a, wg_public_key(n->a.w), &n->b.at, NULL, 0, true), -EINVAL);
	assert_null(n->a.s);
	// Nor do we become one.
	assert_int_equal(wg_set_key(n->a.w, &n->b.private_key), 0);
	assert_int_equal(peer_table_count(n->a.g.gw.peers), 0);
}

static void a_key_of_low_order_is_no_peer(void **state)
{
	struct net *n = *state;
	const struct key zero = {0};
	assert_int_equal(end_configure(&n->a, &zero, &n->b.at, NULL, 5, true), -EKEYREJECTED);
	end_ask(&n->a);
	net_wait(n, 6000);
	assert_int_equal(n->n, 0);
	end_counted_no_more(&n->a);
	assert_int_equal(wg_peer_remove(n->a.w, &zero), 0);
	assert_int_equal(wg_peer_remove(n->a.w, &zero), -ENOENT);
	n->a.s = NULL;
}

// -- peers come and go ----------------------------------------------------------------------------

static void a_peer_is_removed_with_a_handshake_under_way(void **state)
{
	struct net *n = *state;
	struct message response;
	struct worker_event e = {.type = EVENT_CONFIRMED, .peer_id = n->a.s->peer->id};
	struct key b = *wg_public_key(n->b.w);
	end_ask(&n->a);
	net_pass(n, NULL, WG_TYPE_INITIATION);
	assert_true(net_take(n, &response));
	n->a.s = NULL;
	assert_int_equal(wg_peer_remove(n->a.w, &b), 0);
	assert_int_equal(index_count(n->a.g.gw.index), 0);
	end_forget_counts(&n->a);
	net_put(n, &response);
	end_counted_only(&n->a, WG_COUNTER_UNKNOWN_INDEX, 1);
	wg_event(n->a.w, &e); // what a worker said meanwhile
	assert_int_equal(wg_peer_handshake_unix_ns(n->a.w, &b), 0);
	// Back again: it is a new peer.
	assert_int_equal(end_configure(&n->a, &b, &n->b.at, NULL, 0, true), 0);
	net_wait(n, 100);
	net_shake(n, &n->a, &n->b);
}

static void a_peer_is_removed_with_a_session(void **state)
{
	struct net *n = *state;
	struct key a = *wg_public_key(n->a.w);
	net_shake(n, &n->a, &n->b);
	uint32_t index = n->b.s->current->local_index;
	n->b.s = NULL;
	assert_int_equal(wg_peer_remove(n->b.w, &a), 0);
	assert_null(index_lookup(n->b.g.gw.index, index));
	assert_null(allowedips_lookup4(n->b.g.gw.allowed, (uint8_t[]){10, 0, 0, 1}));
	net_wait(n, 6000);
	end_ask(&n->a);
	net_pass(n, NULL, WG_TYPE_INITIATION);
	end_counted_only(&n->b, WG_COUNTER_UNKNOWN_PEER, 1);
}

static void indices_may_run_out(void **state)
{
	struct net *n = *state;
	static uint32_t taken[INDEX_SLOTS];
	for (unsigned i = 0; i < INDEX_SLOTS; i++)
		assert_int_equal(index_alloc(n->b.g.gw.index, i, &taken[i]), 0);
	end_ask(&n->b);
	end_counted_only(&n->b, WG_COUNTER_NO_INDEX, 1);
	end_ask(&n->a);
	net_pass(n, NULL, WG_TYPE_INITIATION);
	assert_int_equal(end_counted(&n->b, WG_COUNTER_INITIATION_RECEIVED), 1);
	end_counted_only(&n->b, WG_COUNTER_NO_INDEX, 1);
	assert_int_equal(n->n, 0);
	// With only index 0 free too: it stands for none.
	index_free(n->b.g.gw.index, taken[0]);
	for (unsigned i = 0; i < 3; i++) {
		end_ask(&n->b);
		if (n->n == 0)
			end_counted_only(&n->b, WG_COUNTER_NO_INDEX, 1);
	}
	session_wipe_handshake(n->b.s);
	n->n = 0;
	for (unsigned i = 1; i < INDEX_SLOTS; i++)
		index_free(n->b.g.gw.index, taken[i]);
	net_wait(n, 6000);
	end_forget_counts(&n->b);
	net_pass(n, NULL, WG_TYPE_INITIATION);
	end_counted(&n->b, WG_COUNTER_INITIATION_RECEIVED);
	end_counted_only(&n->b, WG_COUNTER_RESPONSE_SENT, 1);
}

// -- endpoints ------------------------------------------------------------------------------------

static const struct {
	const char *name;
	bool roaming, configured;
	uint16_t port;
	bool follows;
} moves[] = {
	{"roaming", true, true, 7777, true},
	{"not roaming", false, true, 7777, false},
	{"not roaming, and nowhere yet", false, false, 7777, true},
	{"from port 0", true, true, 0, false},
	{"nowhere yet, from port 0", true, false, 0, false},
};

static void initiations_move_endpoints(void **state)
{
	struct net *n = *state;
	for (unsigned i = 0; i < RTE_DIM(moves); i++) {
		print_message("%s\n", moves[i].name);
		struct endpoint at = end_at(77, moves[i].port);
		struct message m;
		wg_peer_remove(n->b.w, wg_public_key(n->a.w));
		end_configure(&n->b, wg_public_key(n->a.w), moves[i].configured ? &n->a.at : NULL,
			NULL, 0, moves[i].roaming);
		net_wait(n, 6000);
		n->n = 0;
		session_reset(n->a.s);
		end_ask(&n->a);
		assert_true(net_take(n, &m));
		m.from = at;
		net_put(n, &m);
		assert_int_equal(endpoint_equal(&n->b.s->endpoint, &at), moves[i].follows);
		// The answer goes where the peer is known to be.
		assert_int_equal(n->n, moves[i].follows || moves[i].configured);
		if (net_take(n, &m))
			assert_true(endpoint_equal(&m.to, &n->b.s->endpoint));
	}
}

static void packets_move_endpoints(void **state)
{
	struct net *n = *state;
	struct endpoint at = end_at(88, 8888);
	struct worker_event e = {.type = EVENT_ROAM, .source = at, .local = n->b.at.addr};
	net_shake(n, &n->a, &n->b);
	e.peer_id = n->b.s->peer->id;
	const uint32_t strange[] = {
		0, n->b.s->current->local_index + 1, n->b.s->current->local_index ^ 0x80000000};
	for (unsigned i = 0; i < RTE_DIM(strange); i++) {
		e.index = strange[i]; // of a session that is no more
		wg_event(n->b.w, &e);
		assert_true(endpoint_equal(&n->b.s->endpoint, &n->a.at));
	}
	e.index = n->b.s->current->local_index;
	end_configure(&n->b, wg_public_key(n->a.w), &n->a.at, NULL, 0, false);
	wg_event(n->b.w, &e);
	assert_true(endpoint_equal(&n->b.s->endpoint, &n->a.at));
	end_configure(&n->b, wg_public_key(n->a.w), &n->a.at, NULL, 0, true);
	wg_event(n->b.w, &e);
	assert_true(endpoint_equal(&n->b.s->endpoint, &at));
	assert_true(endpoint_equal(&atomic_load(&n->b.s->peer->path)->remote, &at));
	// The same configuration again does not pull it back; another one does.
	end_configure(&n->b, wg_public_key(n->a.w), &n->a.at, NULL, 0, true);
	assert_true(endpoint_equal(&n->b.s->endpoint, &at));
	at = end_at(99, 9999);
	assert_int_equal(wg_peer_endpoint(n->b.w, wg_public_key(n->a.w), &at), 0);
	assert_true(endpoint_equal(&n->b.s->endpoint, &at));
	assert_int_equal(wg_peer_endpoint(n->b.w, wg_public_key(n->b.w), &at), -ENOENT);
	assert_int_equal(n->b.n_heard, 0);
}

// That of a meshed peer stays: it is news for who chooses its ways.
static void packets_of_meshed_peers_are_told(void **state)
{
	struct net *n = *state;
	struct endpoint at = end_at(88, 8888);
	struct config_peer c = {.public_key = *wg_public_key(n->a.w), .name = "other"};
	net_shake(n, &n->a, &n->b);
	assert_int_equal(wg_peer_set(n->b.w, &c, WG_MESHED), 0);
	struct worker_event e = {.type = EVENT_ROAM,
		.peer_id = n->b.s->peer->id,
		.index = n->b.s->current->local_index + 1,
		.source = at,
		.local = n->b.at.addr};
	wg_event(n->b.w, &e); // of a session that is no more
	assert_int_equal(n->b.n_heard, 0);
	e.index = n->b.s->current->local_index;
	wg_event(n->b.w, &e);
	assert_int_equal(n->b.n_heard, 1);
	assert_true(endpoint_equal(&n->b.heard_from, &at));
	assert_false(endpoint_equal(&n->b.s->endpoint, &at));
}

static void a_peer_that_is_nowhere_is_not_called(void **state)
{
	struct net *n = *state;
	end_configure(&n->a, wg_public_key(n->b.w), NULL, NULL, 5, true);
	end_ask(&n->a);
	net_wait(n, 20000);
	assert_int_equal(n->n, 0);
	end_counted_no_more(&n->a);
}

static void no_way_to_the_peer_is_counted(void **state)
{
	struct net *n = *state;
	n->a.no_path = true;
	end_ask(&n->a);
	assert_int_equal(end_counted(&n->a, WG_COUNTER_INITIATION_SENT), 1);
	end_counted_only(&n->a, WG_COUNTER_NO_PATH, 1);
	wg_paths_changed(n->a.w);
	assert_int_equal(atomic_load(&n->a.s->peer->path)->port, PORT_NONE);
	n->a.no_path = false;
	wg_paths_changed(n->a.w);
	assert_int_equal(atomic_load(&n->a.s->peer->path)->port, GW_WAN);
	net_wait(n, 6000);
	net_pass(n, NULL, WG_TYPE_INITIATION); // the retry
	net_pass(n, NULL, WG_TYPE_RESPONSE);
	assert_keys_match(n->a.s->current, n->b.s->next);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		net_test(a_handshake_gives_both_the_keys),
		net_test(rotation_keeps_the_one_before),
		net_test(both_may_begin_at_once),
		net_test(both_at_once_one_lost),
		net_test(another_confirmation_changes_nothing),
		net_test(preshared_keys_must_agree),
		net_test(a_new_preshared_key_ends_the_session),
		net_test(a_change_of_keys_forgets_no_timestamp),
		net_test(a_new_private_key_needs_a_new_handshake),
		net_test(messages_to_the_old_key_are_refused),
		net_test(we_are_not_our_own_peer),
		bare_test(a_key_of_low_order_is_no_peer),
		net_test(a_peer_is_removed_with_a_handshake_under_way),
		net_test(a_peer_is_removed_with_a_session),
		net_test(indices_may_run_out),
		net_test(initiations_move_endpoints),
		net_test(packets_move_endpoints),
		net_test(packets_of_meshed_peers_are_told),
		bare_test(a_peer_that_is_nowhere_is_not_called),
		net_test(no_way_to_the_peer_is_counted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
