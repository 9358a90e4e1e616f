// Which peer and which key; what waits for a handshake, and what is asked of a peer's owner.
#include "tests/unit/packets.h"

static void plain(uint32_t fill, struct flat *p)
{
	inner_build(&(struct spec){.proto = IPPROTO_UDP, .payload = 60, .fill = fill}, 1, 2, p);
}

static void push_plain(struct gw *g, uint32_t fill)
{
	struct flat p;
	plain(fill, &p);
	push_flat(g, GW_LAN, &p);
}

// What the control thread sends to a peer's owner.
static void ask(struct gw *g, enum self_reason reason, uint32_t peer)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(g->gw.pool);
	*pkt_of(m) = (struct pkt){
		.from = FROM_SELF, .node = NODE_WG_ROUTE, .reason = reason, .counter = peer};
	assert_true(mailbox_put(graph_of(g)->inbox, &m));
	run(g);
}

static void expect_handshake_asked(struct gw *g, bool asked)
{
	struct worker_event e;
	assert_int_equal(take_event(g, &e), asked);
	if (!asked)
		return;
	assert_int_equal(e.type, EVENT_NEED_HANDSHAKE);
	assert_int_equal(e.peer_id, g->peer->id);
	expect_no_event(g);
}

// The n packets from fill on arrive at B, in order.
static void expect_arrivals(struct two *t, uint32_t fill, unsigned n)
{
	t->b.port[GW_LAN]->port.tx_offloads = 0; // plain packets
	carry(&t->a, &t->b);
	run(&t->b);
	for (unsigned i = 0; i < n; i++) {
		struct flat want, got;
		plain(fill + i, &want);
		hop(&want);
		hop(&want);
		assert_true(take_flat(&t->b, GW_LAN, &got));
		assert_flat_equal(&got, &want);
	}
	expect_nothing(&t->b);
}

static void packets_wait_for_a_key(void **state)
{
	struct two *t = *state;
	peer_set_sending(t->a.peer, NULL);
	for (unsigned i = 0; i < 10; i++)
		push_plain(&t->a, i);
	run(&t->a);
	expect_nothing(&t->a);
	expect_handshake_asked(&t->a, true);
	assert_int_equal(t->a.peer->staged_n, 10);
	peer_set_sending(t->a.peer, t->a.keypair);
	ask(&t->a, SELF_FLUSH, t->a.peer->id);
	expect_arrivals(t, 0, 10);
	assert_int_equal(drops(&t->a), 0);
}

// With a key but no way to the endpoint: they wait for the way, and a keepalive does not.
static void packets_wait_for_a_path(void **state)
{
	struct two *t = *state;
	struct worker_event e;
	const struct peer_path there = *atomic_load(&t->a.peer->path);
	struct peer_path nowhere = there;
	nowhere.port = PORT_NONE;
	peer_set_path(t->a.gw.rcu, t->a.peer, &nowhere);
	for (unsigned i = 0; i < 10; i++)
		push_plain(&t->a, i);
	run(&t->a);
	ask(&t->a, SELF_KEEPALIVE, t->a.peer->id);
	ask(&t->a, SELF_FLUSH, t->a.peer->id);
	expect_nothing(&t->a);
	assert_true(take_event(&t->a, &e));
	assert_int_equal(e.type, EVENT_NEED_PATH);
	expect_no_event(&t->a);
	assert_int_equal(t->a.peer->staged_n, 10);
	peer_set_path(t->a.gw.rcu, t->a.peer, &there);
	ask(&t->a, SELF_FLUSH, t->a.peer->id);
	expect_arrivals(t, 0, 10);
	assert_int_equal(drops(&t->a), 0);
}

// With a key, those that wait go before the next that comes.
static void the_next_packet_takes_them_along(void **state)
{
	struct two *t = *state;
	peer_set_sending(t->a.peer, NULL);
	for (unsigned i = 0; i < 5; i++)
		push_plain(&t->a, i);
	run(&t->a);
	peer_set_sending(t->a.peer, t->a.keypair);
	push_plain(&t->a, 5);
	run(&t->a);
	expect_arrivals(t, 0, 6);
}

static void the_oldest_gives_way(void **state)
{
	struct two *t = *state;
	peer_set_sending(t->a.peer, NULL);
	t->a.gw.super_pool = t->a.gw.pool; // nothing is scarce
	for (unsigned i = 0; i < PEER_STAGED_MAX + 7; i++)
		push_plain(&t->a, i);
	run(&t->a);
	expect_drops(&t->a, DROP_STAGED_FULL, 7);
	peer_set_sending(t->a.peer, t->a.keypair);
	ask(&t->a, SELF_FLUSH, t->a.peer->id);
	expect_arrivals(t, 7, PEER_STAGED_MAX);
	char name[32];
	snprintf(name, sizeof(name), "large%u", t->a.number);
	t->a.gw.super_pool = rte_mempool_lookup(name);
}

// Those that wait hold receive buffers: below three quarters of them each peer keeps one.
static void receive_buffers_are_kept_free(void **state)
{
	struct two *t = *state;
	struct rte_mbuf *all[127];
	peer_set_sending(t->a.peer, NULL);
	assert_int_equal(rte_pktmbuf_alloc_bulk(t->a.gw.super_pool, all, 64), 0);
	for (unsigned i = 0; i < 5; i++)
		push_plain(&t->a, i);
	run(&t->a);
	expect_drops(&t->a, DROP_STAGED_FULL, 4);
	rte_pktmbuf_free_bulk(all, 64);
	peer_set_sending(t->a.peer, t->a.keypair);
	ask(&t->a, SELF_FLUSH, t->a.peer->id);
	expect_arrivals(t, 4, 1);
}

static void giving_up_tells_the_senders(void **state)
{
	struct two *t = *state;
	struct flat e;
	peer_set_sending(t->a.peer, NULL);
	for (unsigned i = 0; i < 3; i++)
		push_plain(&t->a, i);
	run(&t->a);
	ask(&t->a, SELF_GIVE_UP, t->a.peer->id);
	expect_drops(&t->a, DROP_NO_KEY, 3);
	for (unsigned i = 0; i < 3; i++) {
		assert_true(take_flat(&t->a, GW_LAN, &e));
		assert_int_equal(e.b[20], 3); // host unreachable
		assert_int_equal(e.b[21], 1);
	}
	assert_int_equal(t->a.peer->staged_n, 0);
}

static void handshakes_are_not_asked_for_too_often(void **state)
{
	struct two *t = *state;
	peer_set_sending(t->a.peer, NULL);
	for (unsigned i = 0; i < 50; i++) {
		push_plain(&t->a, i);
		run(&t->a);
	}
	expect_handshake_asked(&t->a, true);
	t->a.peer->asked_handshake = 0; // long ago
	push_plain(&t->a, 50);
	run(&t->a);
	expect_handshake_asked(&t->a, true);
}

static const struct {
	const char *name;
	bool old, worn, expired, used_up;
	bool asked, goes;
} ages[] = {
	{"fresh", .goes = true},
	{"older than 120 s", .old = true, .asked = true, .goes = true},
	{"2^60 messages", .worn = true, .asked = true, .goes = true},
	{"older than 180 s", .expired = true, .asked = true},
	{"all counters used", .used_up = true, .asked = true},
};

static void keys_age(void **state)
{
	struct two *t = *state;
	for (unsigned i = 0; i < RTE_DIM(ages); i++) {
		struct keypair *kp = t->a.keypair;
		kp->rekey_send_at = ages[i].old ? 0 : UINT64_MAX;
		kp->reject_at = ages[i].expired ? 0 : UINT64_MAX;
		kp->send_counter = ages[i].worn	     ? WG_REKEY_AFTER_MESSAGES
				   : ages[i].used_up ? WG_REJECT_AFTER_MESSAGES
						     : 0;
		t->a.peer->asked_handshake = 0;
		push_plain(&t->a, i);
		run(&t->a);
		expect_handshake_asked(&t->a, ages[i].asked);
		assert_int_equal(sent(&t->a, GW_WAN), ages[i].goes);
		assert_int_equal(t->a.peer->staged_n, !ages[i].goes);
		ask(&t->a, SELF_GIVE_UP, t->a.peer->id);
		for (struct flat p; take_flat(&t->a, GW_WAN, &p) || take_flat(&t->a, GW_LAN, &p);)
			;
	}
}

static void a_peer_that_is_nowhere(void **state)
{
	struct two *t = *state;
	struct peer_path path = {.port = PORT_NONE};
	struct flat e;
	peer_set_path(t->a.gw.rcu, t->a.peer, &path);
	push_plain(&t->a, 1); // there is a key, but no way
	run(&t->a);
	expect_drops(&t->a, DROP_NO_ENDPOINT, 1);
	peer_set_sending(t->a.peer, NULL);
	push_plain(&t->a, 1);
	run(&t->a);
	expect_drops(&t->a, DROP_NO_ENDPOINT, 1);
	assert_true(take_flat(&t->a, GW_LAN, &e));
	assert_int_equal(e.b[20], 3);
	expect_no_event(&t->a);
}

static const struct {
	const char *name;
	enum self_reason reason;
	bool key, waits;
	unsigned sent;
} asks[] = {
	{"keepalive", SELF_KEEPALIVE, true, false, 1},
	{"keepalive, and what waits", SELF_KEEPALIVE, true, true, 2},
	{"keepalive without a key", SELF_KEEPALIVE, false, false, 0},
	{"new key", SELF_KEYED, true, false, 1},
	{"new key, and what waits serves", SELF_KEYED, true, true, 1},
	{"flush", SELF_FLUSH, true, true, 1},
	{"flush of nothing", SELF_FLUSH, true, false, 0},
	{"give up", SELF_GIVE_UP, true, true, 0},
	{"give up nothing", SELF_GIVE_UP, false, false, 0},
};

static void the_owner_does_as_asked(void **state)
{
	struct two *t = *state;
	t->a.port[GW_WAN]->port.tx_offloads = 0; // each message on its own
	for (unsigned i = 0; i < RTE_DIM(asks); i++) {
		struct flat p;
		print_message("%s\n", asks[i].name);
		peer_set_sending(t->a.peer, NULL);
		if (asks[i].waits)
			push_plain(&t->a, i);
		run(&t->a);
		peer_set_sending(t->a.peer, asks[i].key ? t->a.keypair : NULL);
		ask(&t->a, asks[i].reason, t->a.peer->id);
		assert_int_equal(sent(&t->a, GW_WAN), asks[i].sent);
		assert_int_equal(t->a.peer->staged_n, 0);
		while (take_flat(&t->a, GW_WAN, &p))
			;
	}
}

static void a_keepalive_is_an_empty_message(void **state)
{
	struct two *t = *state;
	struct flat p;
	t->a.peer->last_tx = t->a.peer->last_tx_data = 0;
	ask(&t->a, SELF_KEEPALIVE, t->a.peer->id);
	assert_int_equal(carry(&t->a, &t->b), 1);
	run(&t->b);
	assert_int_equal(graph_of(&t->b)->counters[COUNTER_KEEPALIVES_RX], 1);
	assert_int_equal(graph_of(&t->a)->counters[COUNTER_KEEPALIVES_TX], 1);
	assert_int_not_equal(t->a.peer->last_tx, 0);
	assert_int_equal(t->a.peer->last_tx_data, 0);
	assert_int_equal(t->a.peer->tx_packets, 0);
	assert_int_equal(t->a.peer->tx_wire_bytes, WG_DATA_MIN_LEN);
	assert_false(take_flat(&t->b, GW_LAN, &p));
}

static void a_peer_that_is_gone(void **state)
{
	struct two *t = *state;
	uint32_t id = t->a.peer->id;
	peer_set_sending(t->a.peer, NULL);
	for (unsigned i = 0; i < 5; i++)
		push_plain(&t->a, i);
	run(&t->a);
	index_free(t->a.gw.index, t->a.keypair->local_index);
	allowedips_clear_peer(t->a.gw.allowed, t->a.peer);
	peer_table_remove(t->a.gw.peers, t->a.peer); // what waits is freed with it
	ask(&t->a, SELF_FLUSH, id);
	expect_drops(&t->a, DROP_PEER_GONE, 1);
	ask(&t->a, SELF_FLUSH, 12345);
	ask(&t->a, SELF_FLUSH, UINT32_MAX);
	expect_drops(&t->a, DROP_PEER_GONE, 2);
	push_plain(&t->a, 1);
	run(&t->a);
	expect_drops(&t->a, DROP_NO_PEER, 1);
}

static void full_events_are_counted_and_repeated(void **state)
{
	struct two *t = *state;
	struct worker_event e = {0};
	peer_set_sending(t->a.peer, NULL);
	while (mailbox_put(t->a.gw.events, &e))
		;
	push_plain(&t->a, 0);
	run(&t->a);
	expect_drops(&t->a, DROP_PUNT_FULL, 1);
	while (take_event(&t->a, &e))
		;
	push_plain(&t->a, 1);
	run(&t->a);
	expect_handshake_asked(&t->a, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		two_test(packets_wait_for_a_key),
		two_test(packets_wait_for_a_path),
		two_test(the_next_packet_takes_them_along),
		two_test(the_oldest_gives_way),
		two_test(receive_buffers_are_kept_free),
		two_test(giving_up_tells_the_senders),
		two_test(handshakes_are_not_asked_for_too_often),
		two_test(keys_age),
		two_test(a_peer_that_is_nowhere),
		two_test(the_owner_does_as_asked),
		two_test(a_keepalive_is_an_empty_message),
		two_test(a_peer_that_is_gone),
		two_test(full_events_are_counted_and_repeated),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
