// What a device does not take: replayed, reflected, forged and damaged handshake messages. Each has
// its counter, and none changes a session.
#include "tests/unit/sessions.h"

// Somebody who knows the public keys and a private one of its own.
struct mallory {
	struct noise_identity id;
	struct noise_remote victim;
	struct noise_handshake hs;
};

static void mallory_init(struct mallory *m, struct end *victim)
{
	const struct key key = secret_key(0x66);
	*m = (struct mallory){0};
	assert_int_equal(noise_identity_init(&m->id, &key), 0);
	assert_int_equal(noise_remote_init(&m->victim, &m->id, wg_public_key(victim->w), NULL), 0);
}

static void mallory_initiates(struct mallory *m, uint64_t unix_ns, struct message *out)
{
	const struct key ephemeral = secret_key(0x55);
	uint8_t timestamp[WG_TAI64N_LEN];
	noise_tai64n(timestamp, unix_ns);
	assert_int_equal(noise_initiation_create(&m->hs, &m->id, &m->victim, 4711, ephemeral.bytes,
				 timestamp, (struct wg_initiation *)out->data),
		0);
	out->len = WG_INITIATION_LEN;
}

// What must not change, whatever comes.
struct before {
	const struct keypair *current, *next, *previous;
	struct endpoint endpoint;
	uint32_t indices;
};

static struct before remember(const struct end *e)
{
	return (struct before){e->s->current, e->s->next, e->s->previous, e->s->endpoint,
		index_count(e->g.gw.index)};
}

static void assert_unchanged(const struct end *e, const struct before *b)
{
	assert_ptr_equal(e->s->current, b->current);
	assert_ptr_equal(e->s->next, b->next);
	assert_ptr_equal(e->s->previous, b->previous);
	assert_true(endpoint_equal(&e->s->endpoint, &b->endpoint));
	assert_int_equal(index_count(e->g.gw.index), b->indices);
	assert_int_equal(e->net->n, 0); // nor is it answered
}

// m comes to e from an address that is nobody's: counted as reason, and that is all.
static void refused(struct end *e, struct message m, enum wg_counter reason)
{
	struct before b = remember(e);
	end_advance(e, 100);
	end_forget_counts(e);
	m.from = end_at(66, 6666);
	wg_receive(e->w, m.data, m.len, &m.from, &e->at.addr);
	end_counted_only(e, reason, 1);
	assert_unchanged(e, &b);
}

static void a_replayed_initiation(void **state)
{
	struct net *n = *state;
	struct message m[3];
	for (unsigned i = 0; i < 3; i++) {
		end_ask(&n->a);
		net_pass(n, &m[i], WG_TYPE_INITIATION);
		net_pass(n, NULL, WG_TYPE_RESPONSE);
		end_confirm(&n->b);
		net_wait(n, 6000);
	}
	for (unsigned i = 0; i < 3; i++)
		refused(&n->b, m[i], WG_COUNTER_REPLAYED);
}

static void initiations_out_of_order(void **state)
{
	struct net *n = *state;
	struct message first, second;
	end_ask(&n->a);
	assert_true(net_take(n, &first));
	net_wait(n, 6000);
	assert_true(net_take(n, &second));
	net_put(n, &second);
	net_pass(n, NULL, WG_TYPE_RESPONSE);
	refused(&n->b, first, WG_COUNTER_REPLAYED);
	assert_keys_match(n->a.s->current, n->b.s->next);
}

static void a_repeated_response(void **state)
{
	struct net *n = *state;
	struct message m;
	end_ask(&n->a);
	net_pass(n, NULL, WG_TYPE_INITIATION);
	net_pass(n, &m, WG_TYPE_RESPONSE);
	for (unsigned i = 0; i < 3; i++)
		refused(&n->a, m, WG_COUNTER_UNKNOWN_INDEX);
	net_wait(n, 6000);
	end_ask(&n->a);
	assert_int_equal(n->n, 1);
	n->n = 0;
	refused(&n->a, m, WG_COUNTER_UNKNOWN_INDEX); // of the handshake before
}

// An answer to an initiation that was repeated since.
static void a_late_response(void **state)
{
	struct net *n = *state;
	struct message m;
	end_ask(&n->a);
	net_pass(n, NULL, WG_TYPE_INITIATION);
	assert_true(net_take(n, &m));
	net_wait(n, 6000);
	struct message retry;
	assert_true(net_take(n, &retry));
	refused(&n->a, m, WG_COUNTER_UNKNOWN_INDEX);
	net_put(n, &retry);
	net_pass(n, NULL, WG_TYPE_RESPONSE);
	assert_keys_match(n->a.s->current, n->b.s->next);
}

static void reflected_messages(void **state)
{
	struct net *n = *state;
	struct message initiation, response;
	end_ask(&n->a);
	net_pass(n, &initiation, WG_TYPE_INITIATION);
	assert_true(net_take(n, &response));
	refused(&n->a, initiation, WG_COUNTER_BAD_MAC1);
	refused(&n->b, response, WG_COUNTER_BAD_MAC1);
	net_put(n, &response);
	assert_keys_match(n->a.s->current, n->b.s->next);
}

static const struct field {
	const char *name;
	unsigned first, last; // bytes
	bool mac1_again;      // whoever changes it knows the public key
	enum wg_counter reason;
} initiation_fields[] =
	{
		{"type", 0, 0, true, WG_COUNTER_BAD_MAC1},
		{"reserved", 1, 3, true, WG_COUNTER_BAD_MAC1},
		{"sender", 4, 7, false, WG_COUNTER_BAD_MAC1},
		{"ephemeral", 8, 39, false, WG_COUNTER_BAD_MAC1},
		{"ephemeral, mac1 right", 8, 38, true, WG_COUNTER_FORGED},
		{"static", 40, 87, false, WG_COUNTER_BAD_MAC1},
		{"static, mac1 right", 40, 87, true, WG_COUNTER_FORGED},
		{"timestamp", 88, 115, false, WG_COUNTER_BAD_MAC1},
		{"timestamp, mac1 right", 88, 115, true, WG_COUNTER_FORGED},
		{"mac1", 116, 131, false, WG_COUNTER_BAD_MAC1},
},
  response_fields[] = {
	  {"type", 0, 0, true, WG_COUNTER_BAD_MAC1},
	  {"reserved", 1, 3, true, WG_COUNTER_BAD_MAC1},
	  {"sender", 4, 7, false, WG_COUNTER_BAD_MAC1},
	  {"receiver", 8, 11, false, WG_COUNTER_BAD_MAC1},
	  {"receiver, mac1 right", 8, 11, true, WG_COUNTER_UNKNOWN_INDEX},
	  {"ephemeral", 12, 43, false, WG_COUNTER_BAD_MAC1},
	  {"ephemeral, mac1 right", 12, 42, true, WG_COUNTER_FORGED},
	  {"empty", 44, 59, false, WG_COUNTER_BAD_MAC1},
	  {"empty, mac1 right", 44, 59, true, WG_COUNTER_FORGED},
	  {"mac1", 60, 75, false, WG_COUNTER_BAD_MAC1},
};

// Every byte of every field with another bit turned.
static void damage(struct end *e, const struct message *good, const struct field *f, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		print_message("%s\n", f[i].name);
		for (unsigned at = f[i].first; at <= f[i].last; at++) {
			struct message m = *good;
			m.data[at] ^= (uint8_t)(1 << at % 8);
			if (f[i].mac1_again)
				cookie_mac1_write(e->w->identity.mac1_key, m.data, m.len);
			refused(e, m, f[i].reason);
		}
	}
}

static void damaged_initiations(void **state)
{
	struct net *n = *state;
	struct message m;
	net_shake(n, &n->a, &n->b);
	net_wait(n, 6000);
	end_ask(&n->a);
	assert_true(net_take(n, &m));
	damage(&n->b, &m, initiation_fields, RTE_DIM(initiation_fields));
	net_put(n, &m); // and the true one is still welcome
	net_pass(n, NULL, WG_TYPE_RESPONSE);
	assert_keys_match(n->a.s->current, n->b.s->next);
}

static void damaged_responses(void **state)
{
	struct net *n = *state;
	struct message m;
	net_shake(n, &n->a, &n->b);
	net_wait(n, 6000);
	end_ask(&n->a);
	net_pass(n, NULL, WG_TYPE_INITIATION);
	assert_true(net_take(n, &m));
	damage(&n->a, &m, response_fields, RTE_DIM(response_fields));
	net_put(n, &m);
	assert_keys_match(n->a.s->current, n->b.s->next);
}

static void a_sender_index_is_bound(void **state)
{
	struct net *n = *state;
	struct message m;
	end_ask(&n->a);
	assert_true(net_take(n, &m));
	m.data[4] ^= 1; // not part of the transcript: the answer goes to an index that is not ours
	cookie_mac1_write(n->b.w->identity.mac1_key, m.data, m.len);
	net_put(n, &m);
	net_pass(n, NULL, WG_TYPE_RESPONSE);
	assert_int_equal(end_counted(&n->a, WG_COUNTER_UNKNOWN_INDEX), 1);
	assert_null(n->a.s->current);
}

static void wrong_lengths(void **state)
{
	struct net *n = *state;
	struct message m;
	uint8_t long_[WG_INITIATION_LEN + 64] = {0};
	end_ask(&n->a);
	assert_true(net_take(n, &m));
	memcpy(long_, m.data, m.len);
	for (size_t len = 0; len <= sizeof(long_); len++) {
		if (len == WG_INITIATION_LEN)
			continue;
		wg_receive(n->b.w, long_, len, &m.from, &m.to.addr);
		bool response = len == WG_RESPONSE_LEN, reply = len == WG_COOKIE_REPLY_LEN;
		end_counted_only(&n->b,
			response ? WG_COUNTER_BAD_MAC1
			: reply	 ? WG_COUNTER_UNKNOWN_INDEX
				 : WG_COUNTER_BAD_LENGTH,
			1);
		assert_int_equal(n->n, 0);
	}
}

static void an_unknown_peer(void **state)
{
	struct net *n = *state;
	struct mallory mallory;
	struct message m;
	mallory_init(&mallory, &n->b);
	for (unsigned i = 1; i < 5; i++) {
		mallory_initiates(&mallory, UINT64_C(2000000000000000000) + i * 1000000000, &m);
		refused(&n->b, m, WG_COUNTER_UNKNOWN_PEER);
	}
}

// Static key of a true peer in clear text is not enough: the timestamp needs the private one.
static void an_impostor(void **state)
{
	struct net *n = *state;
	struct mallory mallory;
	struct message m;
	mallory_init(&mallory, &n->b);
	mallory.id.public_key = *wg_public_key(n->a.w);
	mallory_initiates(&mallory, UINT64_C(2000000000000000000), &m);
	uint64_t failed = n->b.s->failed;
	refused(&n->b, m, WG_COUNTER_FORGED);
	assert_int_equal(n->b.s->failed, failed + 1);
	// And did not use up the timestamps of the true one.
	end_ask(&n->a);
	net_pass(n, NULL, WG_TYPE_INITIATION);
	net_pass(n, NULL, WG_TYPE_RESPONSE);
	assert_keys_match(n->a.s->current, n->b.s->next);
}

static void ephemerals_of_low_order(void **state)
{
	struct net *n = *state;
	struct message m;
	static const uint8_t points[][KEY_LEN] = {
		{0}, {1},
		{0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f,
			0xc4, 0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62,
			0x05, 0x16, 0x5f, 0x49, 0xb8,
			0x00}, // of order 8 (RFC 7748's security notes)
	};
	end_ask(&n->a);
	assert_true(net_take(n, &m));
	for (unsigned i = 0; i < RTE_DIM(points); i++) {
		memcpy(m.data + offsetof(struct wg_initiation, ephemeral), points[i], KEY_LEN);
		cookie_mac1_write(n->b.w->identity.mac1_key, m.data, m.len);
		refused(&n->b, m, WG_COUNTER_FORGED);
	}
}

static void initiations_too_close(void **state)
{
	struct net *n = *state;
	static const struct {
		unsigned ms;
		enum wg_counter reason;
	} gaps[] = {{0, WG_COUNTER_FLOOD}, {1, WG_COUNTER_FLOOD}, {10, WG_COUNTER_FLOOD},
		{20, WG_COUNTER_INITIATION_RECEIVED}};
	for (unsigned i = 0; i < RTE_DIM(gaps); i++) {
		end_advance(&n->b, 1000);
		for (unsigned k = 0; k < 2; k++) {
			session_reset(n->a.s);
			end_ask(&n->a);
			if (k > 0)
				end_advance(&n->b, gaps[i].ms);
			end_forget_counts(&n->b);
			net_pass(n, NULL, WG_TYPE_INITIATION);
			n->n = 0;
		}
		assert_int_equal(end_counted(&n->b, gaps[i].reason), 1);
	}
}

static void cookie_replies_to_nothing(void **state)
{
	struct net *n = *state;
	struct message m;
	struct wg_cookie_reply reply;
	struct cookie_maker maker = {0};
	end_ask(&n->a);
	assert_true(net_take(n, &m));
	assert_int_equal(cookie_reply_create(&maker, &n->b.w->identity, m.data, m.len, &m.from,
				 wg_now_ns(n->a.w), &reply),
		0);
	m.len = sizeof(reply);
	for (unsigned bit = 0; bit < 8 * sizeof(reply); bit += 5) {
		memcpy(m.data, &reply, sizeof(reply));
		m.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		bool index = bit / 8 >= 4 && bit / 8 < 8;
		refused(&n->a, m, index ? WG_COUNTER_UNKNOWN_INDEX : WG_COUNTER_FORGED);
		assert_false(n->a.s->jar.has_cookie);
	}
	memcpy(m.data, &reply, sizeof(reply));
	net_put(n, &(struct message){.from = m.to, .to = n->a.at, .len = 0}); // too short
	end_forget_counts(&n->a);
	wg_receive(n->a.w, (uint8_t *)&reply, sizeof(reply), &n->b.at, &n->a.at.addr);
	end_counted_only(&n->a, WG_COUNTER_COOKIE_RECEIVED, 1);
	refused(&n->a, m, WG_COUNTER_FORGED); // one for each message
	cookie_maker_fini(&maker);
}

static void without_a_key_nothing_is_answered(void **state)
{
	struct net *n = *state;
	struct message m;
	const struct wg_env env = {.arg = &n->a, .send = end_send, .resolve_path = end_path};
	end_ask(&n->a);
	assert_true(net_take(n, &m));
	// A second device on the gateway of B, that has no key yet.
	struct wg *bare = wg_create(n->base, &n->b.g.gw, &env);
	assert_non_null(bare);
	wg_receive(bare, m.data, m.len, &m.from, &m.to.addr);
	for (unsigned i = 0; i < WG_COUNTER_COUNT; i++)
		assert_int_equal(wg_counter(bare, (enum wg_counter)i), 0);
	assert_int_equal(n->n, 0);
	wg_peer_remove(n->b.w, wg_public_key(n->a.w));
	n->b.s = NULL;
	wg_destroy(bare);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		net_test(a_replayed_initiation),
		net_test(initiations_out_of_order),
		net_test(a_repeated_response),
		net_test(a_late_response),
		net_test(reflected_messages),
		net_test(damaged_initiations),
		net_test(damaged_responses),
		net_test(a_sender_index_is_bound),
		net_test(wrong_lengths),
		net_test(an_unknown_peer),
		net_test(an_impostor),
		net_test(ephemerals_of_low_order),
		net_test(initiations_too_close),
		net_test(cookie_replies_to_nothing),
		net_test(without_a_key_nothing_is_answered),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
