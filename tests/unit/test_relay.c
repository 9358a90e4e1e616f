// Peer relay: the recorded exchange with a real server from both clients' side, and what is
// refused.
#include "tests/unit/path_vectors.h"

#include <errno.h>

#include "control/path/relay.h"

enum { MAX = 1024, SENT_MAX = 32 };
static const uint64_t S = UINT64_C(1000000000);

// One client, with the recorded randomness, then numbers.
struct client {
	struct relay_handshake handshake;
	struct relay_identity self;
	struct key peer;
	uint8_t random[MAX];
	size_t random_len, random_at;
	uint8_t counter;
	struct {
		struct endpoint to;
		uint8_t bytes[RELAY_DATAGRAM_MAX];
		size_t len;
	} sent[SENT_MAX];
	unsigned n_sent;
};

static void on_send(void *arg, const struct endpoint *to, const uint8_t *datagram, size_t len)
{
	struct client *c = arg;

	assert_true(c->n_sent < SENT_MAX && len <= RELAY_DATAGRAM_MAX);
	c->sent[c->n_sent].to = *to;
	c->sent[c->n_sent].len = len;
	memcpy(c->sent[c->n_sent++].bytes, datagram, len);
}

static void on_random(void *arg, void *out, size_t len)
{
	struct client *c = arg;

	if (c->random_at + len <= c->random_len) {
		memcpy(out, c->random + c->random_at, len);
		c->random_at += len;
		return;
	}
	memset(out, ++c->counter, len);
}

static void add_random(struct client *c, const json_t *object, const char *member)
{
	c->random_len +=
		vectors_bytes(object, member, c->random + c->random_len, MAX - c->random_len);
}

static struct key key_of(const json_t *root, const char *who, const char *member)
{
	return vectors_key(json_object_get(json_object_get(root, "keys"), who), member);
}

static struct disco_message record_of(const json_t *root)
{
	const json_t *a = json_object_get(root, "allocated");
	struct disco_message m = {.type = DISCO_CALL_ME_MAYBE_VIA, .n_endpoints = 1};
	struct disco_relay *relay = &m.allocate.relay;

	relay->server_key = vectors_key(a, "server_disco");
	for (size_t i = 0; i < 2; i++)
		hex_bytes(json_string_value(json_array_get(json_object_get(a, "client_disco"), i)),
			relay->client_keys[i].bytes, KEY_LEN);
	relay->lamport = vectors_number(a, "lamport");
	relay->vni = (uint32_t)vectors_number(a, "vni");
	relay->bind_lifetime_ns = (int64_t)vectors_number(a, "bind_lifetime_ns");
	relay->steady_lifetime_ns = (int64_t)vectors_number(a, "steady_lifetime_ns");
	m.endpoints[0] = endpoint_of(vectors_text(root, "server_addr"));
	return m;
}

static const json_t *step(const json_t *root, size_t i)
{
	return json_array_get(json_object_get(root, "exchange"), i);
}

static void client_init(struct client *c, const json_t *root, const char *who, const char *peer)
{
	enum { PING = 6 };
	*c = (struct client){
		.self = {.node_public = vectors_key(
				 json_object_get(step(root, PING), "fields"), "node_key"),
			.disco_private = key_of(root, who, "private"),
			.disco_public = key_of(root, who, "public")},
		.peer = key_of(root, peer, "public"),
	};
}

static int client_start(struct client *c, const struct disco_message *via, uint32_t generation)
{
	const struct relay_io io = {on_send, on_random, c};

	return relay_handshake_start(
		&c->handshake, &c->self, &c->peer, via, generation, &io, 1 * S);
}

static int input(struct client *c, const uint8_t *bytes, size_t len, uint64_t now_ns)
{
	const struct endpoint from = endpoint_of("127.0.0.1:47811"); // the recorded server
	uint8_t *copy = exact_copy(bytes, len);
	const int rc = relay_handshake_input(&c->handshake, &from, copy, len, now_ns);

	free(copy);
	return rc;
}

static int input_step(struct client *c, const json_t *root, size_t i, uint64_t now_ns)
{
	uint8_t wire[MAX];

	return input(c, wire, vectors_bytes(step(root, i), "wire", wire, MAX), now_ns);
}

// What was sent as number n is what was recorded as step i.
static void sent_is(const struct client *c, unsigned n, const json_t *root, size_t i)
{
	uint8_t want[MAX];
	const size_t len = vectors_bytes(step(root, i), "wire", want, MAX);

	assert_true(n < c->n_sent);
	assert_int_equal(c->sent[n].len, len);
	assert_memory_equal(c->sent[n].bytes, want, len);
	assert_endpoint(&c->sent[n].to, vectors_text(root, "server_addr"));
}

enum {
	ALICE_BIND = 0,
	ALICE_CHALLENGE,
	ALICE_ANSWER,
	BOB_BIND,
	BOB_CHALLENGE,
	BOB_ANSWER,
	ALICE_PING,
	PING_TO_BOB,
	BOB_PONG,
	PONG_TO_ALICE,
	WIREGUARD_TO_BOB = 11,
};

static void alice_answers(struct client *c, const json_t *root)
{
	const struct disco_message via = record_of(root);
	const json_t *ping = step(root, ALICE_PING);

	client_init(c, root, "alice", "bob");
	add_random(c, step(root, ALICE_BIND), "nonce");
	add_random(c, step(root, ALICE_ANSWER), "nonce");
	add_random(c, json_object_get(ping, "fields"), "txid");
	add_random(c, ping, "nonce");
	assert_int_equal(client_start(c, &via, 0x11223344), 0);
	assert_int_equal(c->handshake.state, RELAY_BIND_SENT);
	assert_int_equal(input_step(c, root, ALICE_CHALLENGE, 1 * S), 0);
	assert_int_equal(c->handshake.state, RELAY_ANSWER_SENT);
}

static void test_recorded_alice(void **)
{
	json_t *root = vectors_load("relay.json");
	static struct client c;

	alice_answers(&c, root);
	assert_int_equal(input_step(&c, root, PONG_TO_ALICE, 1 * S + 5000), 0);
	assert_int_equal(c.handshake.state, RELAY_USABLE);
	assert_int_equal(c.handshake.latency_ns, 5000);
	assert_endpoint(&c.handshake.server, vectors_text(root, "server_addr"));
	assert_int_equal(c.n_sent, 3);
	sent_is(&c, 0, root, ALICE_BIND);
	sent_is(&c, 1, root, ALICE_ANSWER);
	sent_is(&c, 2, root, ALICE_PING);
	assert_int_equal(input_step(&c, root, PONG_TO_ALICE, 2 * S), -ESTALE);
	json_decref(root);
}

static void test_recorded_bob(void **)
{
	json_t *root = vectors_load("relay.json");
	const struct disco_message via = record_of(root);
	static struct client c;

	client_init(&c, root, "bob", "alice");
	add_random(&c, step(root, BOB_BIND), "nonce");
	add_random(&c, step(root, BOB_ANSWER), "nonce");
	memset(c.random + c.random_len, 0x55, DISCO_TXID_LEN + DISCO_NONCE_LEN); // his own ping
	c.random_len += DISCO_TXID_LEN + DISCO_NONCE_LEN;
	add_random(&c, step(root, BOB_PONG), "nonce");
	assert_int_equal(client_start(&c, &via, 2), 0);
	assert_int_equal(input_step(&c, root, PING_TO_BOB, 1 * S), -EPROTO); // not bound yet
	assert_int_equal(input_step(&c, root, BOB_CHALLENGE, 1 * S), 0);
	assert_int_equal(input_step(&c, root, PING_TO_BOB, 1 * S), 0);
	assert_int_equal(c.n_sent, 5);
	sent_is(&c, 0, root, BOB_BIND);
	sent_is(&c, 1, root, BOB_ANSWER);
	sent_is(&c, 3, root, BOB_PONG);
	assert_int_equal(c.sent[4].len, GENEVE_HEADER_LEN + DISCO_PING_LEN); // and pings again
	assert_int_equal(c.handshake.state, RELAY_ANSWER_SENT);		     // pings give no trust
	json_decref(root);
}

// A message of anyone, to alice in ANSWER_SENT or BIND_SENT.
struct refusal {
	const char *name;
	bool answered; // alice has sent her answer
	const char *from;
	bool control;
	uint32_t vni;
	struct disco_message message;
	int want;
};

static int deliver(struct client *c, const json_t *root, const struct refusal *r)
{
	const struct key private_key = key_of(root, r->from, "private");
	const struct key public_key = key_of(root, r->from, "public");
	const uint8_t nonce[DISCO_NONCE_LEN] = {9};
	uint8_t datagram[MAX];
	struct box box;

	assert_int_equal(box_init(&box, private_key.bytes, c->self.disco_public.bytes), 0);
	const int len = relay_seal(&box, &public_key, nonce, &r->message, r->vni, r->control,
		datagram, sizeof(datagram));
	assert_true(len > 0);
	return input(c, datagram, (size_t)len, 1 * S);
}

#define CHALLENGE(...)                                                                             \
	{                                                                                          \
		.type = DISCO_CHALLENGE, .bind = { __VA_ARGS__ }                                   \
	}

static void test_refusals(void **)
{
	json_t *root = vectors_load("relay.json");
	const struct key bob = key_of(root, "bob", "public"),
			 alice = key_of(root, "alice", "public");
	const struct refusal cases[] = {
		{"good challenge", false, "server", true, 1, CHALLENGE(1, 7, bob), 0},
		{"challenge without control bit", false, "server", false, 1, CHALLENGE(1, 7, bob),
			-EPROTO},
		{"challenge of another VNI inside", false, "server", true, 1, CHALLENGE(2, 7, bob),
			-EPROTO},
		{"challenge of another VNI outside", false, "server", true, 2, CHALLENGE(1, 7, bob),
			-EPROTO},
		{"challenge of another generation", false, "server", true, 1, CHALLENGE(1, 8, bob),
			-EPROTO},
		{"challenge for another peer", false, "server", true, 1, CHALLENGE(1, 7, alice),
			-EPROTO},
		{"challenge by the peer", false, "bob", true, 1, CHALLENGE(1, 7, bob), -EPROTO},
		{"bind by the server", false, "server", true, 1,
			{.type = DISCO_BIND, .bind = {1, 7, bob}}, -EPROTO},
		{"ping by the server", false, "server", true, 1, {.type = DISCO_PING}, -EPROTO},
		{"ping before we are bound", false, "bob", false, 1, {.type = DISCO_PING}, -EPROTO},
		{"second challenge", true, "server", true, 1, CHALLENGE(1, 7, bob), -EPROTO},
		{"pong to no ping", true, "bob", false, 1, {.type = DISCO_PONG}, -ENOENT},
		{"call-me-maybe through the relay", true, "bob", false, 1,
			{.type = DISCO_CALL_ME_MAYBE}, -EPROTO},
		{"pong by the server", true, "server", false, 1, {.type = DISCO_PONG}, -EPROTO},
		{"ping by ourselves", true, "alice", false, 1, {.type = DISCO_PING}, -EPROTO},
	};
	const struct disco_message via = record_of(root);

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		static struct client c;

		print_message("%s\n", cases[i].name);
		client_init(&c, root, "alice", "bob");
		assert_int_equal(client_start(&c, &via, 7), 0);
		if (cases[i].answered)
			assert_int_equal(deliver(&c, root, &cases[0]), 0);
		const enum relay_state before = c.handshake.state;
		const unsigned sent = c.n_sent;
		assert_int_equal(deliver(&c, root, &cases[i]), cases[i].want);
		if (cases[i].want) { // not a word, no step
			assert_int_equal(c.handshake.state, before);
			assert_int_equal(c.n_sent, sent);
		}
	}
	json_decref(root);
}

static void test_damaged(void **)
{
	json_t *root = vectors_load("relay.json");
	const struct disco_message via = record_of(root);
	static struct client c;
	uint8_t wire[MAX];
	const size_t len = vectors_bytes(step(root, ALICE_CHALLENGE), "wire", wire, MAX);

	client_init(&c, root, "alice", "bob");
	assert_int_equal(client_start(&c, &via, 0x11223344), 0);
	for (size_t cut = 0; cut < len; cut++)
		assert_true(input(&c, wire, cut, 1 * S) < 0);
	for (size_t bit = 1 * 8 + 7; bit < len * 8; bit++) { // from the control bit on
		if (bit / 8 == 1 || bit / 8 == 7)
			continue; // reserved in Geneve: the classifier's affair
		wire[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_true(input(&c, wire, len, 1 * S) < 0);
		wire[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	assert_int_equal(input_step(&c, root, WIREGUARD_TO_BOB, 1 * S), -EPROTO);
	assert_int_equal(c.n_sent, 1);
	assert_int_equal(input(&c, wire, len, 1 * S), 0);
	json_decref(root);
}

static void test_pings_bounded(void **)
{
	json_t *root = vectors_load("relay.json");
	static struct client c;
	unsigned pongs = 0;
	struct refusal ping = {"ping", true, "bob", false, 1, {.type = DISCO_PING}, 0};

	alice_answers(&c, root);
	for (unsigned i = 0; i < 25; i++) {
		const unsigned before = c.n_sent = 0;
		assert_int_equal(deliver(&c, root, &ping), 0);
		pongs += c.n_sent > before;
		assert_int_equal(c.n_sent, i < RELAY_PINGS_MAX - 1 ? 2 : 1);
	}
	assert_int_equal(pongs, 25);
	json_decref(root);
}

static void test_time(void **)
{
	json_t *root = vectors_load("relay.json");
	static const struct {
		const char *name;
		int64_t bind_lifetime_ns;
		uint64_t end_s;
	} cases[] = {
		{"as recorded", INT64_C(30000000000), 31},
		{"a shorter lifetime counts", INT64_C(5000000000), 6},
		{"a longer one does not", INT64_MAX, 31},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct disco_message via = record_of(root);
		static struct client c;

		print_message("%s\n", cases[i].name);
		via.allocate.relay.bind_lifetime_ns = cases[i].bind_lifetime_ns;
		client_init(&c, root, "alice", "bob");
		assert_int_equal(client_start(&c, &via, 0x11223344), 0);
		relay_handshake_check(&c.handshake, cases[i].end_s * S - 1);
		assert_int_equal(c.handshake.state, RELAY_BIND_SENT);
		assert_int_equal(c.handshake.end_ns, cases[i].end_s * S);
		assert_int_equal(
			input_step(&c, root, ALICE_CHALLENGE, cases[i].end_s * S), -ESTALE);
		assert_int_equal(c.handshake.state, RELAY_OVER);
	}
	json_decref(root);
}

static void test_start_refused(void **)
{
	static const struct {
		const char *name;
		uint32_t vni, generation;
		int64_t lifetime_ns;
		bool zero_server, other_pair;
		uint32_t n_endpoints;
		uint16_t port;
		int want;
	} cases[] = {
		{"good", 1, 1, 1, false, false, 1, 1, 0},
		{"VNI 0", 0, 1, 1, false, false, 1, 1, -EINVAL},
		{"VNI of 25 bits", 1 << 24, 1, 1, false, false, 1, 1, -EINVAL},
		{"generation 0", 1, 0, 1, false, false, 1, 1, -EINVAL},
		{"no lifetime", 1, 1, 0, false, false, 1, 1, -EINVAL},
		{"negative lifetime", 1, 1, -1, false, false, 1, 1, -EINVAL},
		{"no address", 1, 1, 1, false, false, 0, 1, -EINVAL},
		{"port 0", 1, 1, 1, false, false, 1, 0, -EINVAL},
		{"zero server key", 1, 1, 1, true, false, 1, 1, -EKEYREJECTED},
		{"of another pair", 1, 1, 1, false, true, 1, 1, -EINVAL},
	};
	json_t *root = vectors_load("relay.json");

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct disco_message via = record_of(root);
		static struct client c;

		print_message("%s\n", cases[i].name);
		via.allocate.relay.vni = cases[i].vni;
		via.allocate.relay.bind_lifetime_ns = cases[i].lifetime_ns;
		via.n_endpoints = cases[i].n_endpoints;
		via.endpoints[0].port = cases[i].port;
		if (cases[i].zero_server)
			via.allocate.relay.server_key = (struct key){0};
		if (cases[i].other_pair)
			via.allocate.relay.client_keys[1].bytes[5] ^= 1;
		client_init(&c, root, "alice", "bob");
		assert_int_equal(client_start(&c, &via, cases[i].generation), cases[i].want);
		assert_int_equal(c.handshake.state, cases[i].want ? RELAY_OVER : RELAY_BIND_SENT);
		assert_int_equal(c.n_sent, cases[i].want ? 0 : 1);
		relay_handshake_stop(&c.handshake);
		assert_int_equal(input_step(&c, root, ALICE_CHALLENGE, 1 * S), -ESTALE);
	}
	json_decref(root);
}

static void test_request(void **)
{
	json_t *root = vectors_load("relay.json");
	const struct key alice = key_of(root, "alice", "public"),
			 bob = key_of(root, "bob", "public");
	struct disco_message out, response = record_of(root), via;
	struct relay_request r;

	relay_request_start(&r, &bob, &alice, 5, 1 * S, &out);
	assert_int_equal(out.type, DISCO_ALLOCATE_REQUEST);
	assert_int_equal(out.allocate.generation, 5);
	assert_key(&out.allocate.relay.client_keys[0], &alice); // sorted
	assert_key(&out.allocate.relay.client_keys[1], &bob);
	assert_false(relay_request_due(&r, 4 * S - 1, &out));
	assert_true(relay_request_due(&r, 4 * S, &out));
	assert_int_equal(out.allocate.generation, 5);
	assert_false(relay_request_due(&r, 8 * S, &out)); // once

	response.type = DISCO_ALLOCATE_RESPONSE;
	response.allocate.generation = 4;
	assert_int_equal(relay_request_answer(&r, &response, 5 * S, &via), -ESTALE);
	response.allocate.generation = 5;
	response.allocate.relay.client_keys[0].bytes[0] ^= 1;
	assert_int_equal(relay_request_answer(&r, &response, 5 * S, &via), -ESTALE);
	response.allocate.relay.client_keys[0].bytes[0] ^= 1;
	assert_int_equal(relay_request_answer(&r, &response, 11 * S, &via), -ESTALE);
	assert_int_equal(relay_request_answer(&r, &response, 11 * S - 1, &via), 0);
	assert_int_equal(via.type, DISCO_CALL_ME_MAYBE_VIA);
	assert_int_equal(via.n_endpoints, 1);
	assert_int_equal(relay_request_answer(&r, &response, 5 * S, &via), -ESTALE); // had it
	json_decref(root);
}

static void test_supersedes(void **)
{
	const struct disco_relay one = {.server_key = {{1}}, .lamport = 5};
	struct disco_relay other = one;

	assert_false(relay_supersedes(&other, &one));
	other.lamport = 6;
	assert_true(relay_supersedes(&other, &one));
	assert_false(relay_supersedes(&one, &other));
	other.server_key.bytes[0] = 2;
	assert_false(relay_supersedes(&other, &one));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_recorded_alice),
		cmocka_unit_test(test_recorded_bob),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_pings_bounded),
		cmocka_unit_test(test_time),
		cmocka_unit_test(test_start_refused),
		cmocka_unit_test(test_request),
		cmocka_unit_test(test_supersedes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
