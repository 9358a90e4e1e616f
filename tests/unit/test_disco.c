// Disco: every message of the real code made again, everything its parser said, damaged packets.
#include "tests/unit/path_vectors.h"

#include <errno.h>

#include "control/path/disco.h"

enum { MAX = DISCO_PACKET_MAX };

static struct box box_of(const json_t *keys, const char *own, const char *other)
{
	const struct key private_key = vectors_key(json_object_get(keys, own), "private");
	const struct key public_key = vectors_key(json_object_get(keys, other), "public");
	struct box box;

	assert_int_equal(box_init(&box, private_key.bytes, public_key.bytes), 0);
	return box;
}

static const struct {
	const char *name;
	enum disco_type type;
} types[] = {
	{"Ping", DISCO_PING},
	{"Pong", DISCO_PONG},
	{"CallMeMaybe", DISCO_CALL_ME_MAYBE},
	{"BindUDPRelayEndpoint", DISCO_BIND},
	{"BindUDPRelayEndpointChallenge", DISCO_CHALLENGE},
	{"BindUDPRelayEndpointAnswer", DISCO_ANSWER},
	{"CallMeMaybeVia", DISCO_CALL_ME_MAYBE_VIA},
	{"AllocateUDPRelayEndpointRequest", DISCO_ALLOCATE_REQUEST},
	{"AllocateUDPRelayEndpointResponse", DISCO_ALLOCATE_RESPONSE},
};

static enum disco_type type_of(const json_t *fields)
{
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (strcmp(types[i].name, vectors_text(fields, "type")) == 0)
			return types[i].type;
	fail();
	return 0;
}

static void check_endpoints(const struct disco_message *m, const json_t *fields)
{
	const json_t *list = json_object_get(fields, "endpoints");

	assert_int_equal(m->n_endpoints, json_array_size(list));
	for (size_t i = 0; i < m->n_endpoints; i++)
		assert_endpoint(&m->endpoints[i], json_string_value(json_array_get(list, i)));
}

static void check_clients(const struct disco_relay *relay, const json_t *fields)
{
	for (size_t i = 0; i < 2; i++) {
		uint8_t want[KEY_LEN];
		const json_t *list = json_object_get(fields, "client_disco");

		hex_bytes(json_string_value(json_array_get(list, i)), want, sizeof(want));
		assert_memory_equal(relay->client_keys[i].bytes, want, sizeof(want));
	}
}

static void check_relay(const struct disco_message *m, const json_t *fields)
{
	const struct disco_relay *relay = &m->allocate.relay;
	const struct key server = vectors_key(fields, "server_disco");

	assert_key(&relay->server_key, &server);
	check_clients(relay, fields);
	assert_int_equal(relay->lamport, vectors_number(fields, "lamport"));
	assert_int_equal(relay->vni, vectors_number(fields, "vni"));
	assert_int_equal(relay->bind_lifetime_ns, vectors_number(fields, "bind_lifetime_ns"));
	assert_int_equal(relay->steady_lifetime_ns, vectors_number(fields, "steady_lifetime_ns"));
	check_endpoints(m, fields);
}

static void check_txid(const uint8_t *txid, const json_t *fields)
{
	uint8_t want[DISCO_TXID_LEN];

	vectors_exact(fields, "txid", want, sizeof(want));
	assert_memory_equal(txid, want, sizeof(want));
}

static void check_ping(const struct disco_ping *ping, const json_t *fields)
{
	const struct key node_key = vectors_key(fields, "node_key");

	check_txid(ping->txid, fields);
	assert_key(&ping->node_key, &node_key);
	assert_int_equal(ping->padding, vectors_number(fields, "padding"));
}

static void check_bind(const struct disco_bind *bind, const json_t *fields)
{
	const struct key remote = vectors_key(fields, "remote_key");
	uint8_t challenge[DISCO_CHALLENGE_LEN];

	assert_int_equal(bind->vni, vectors_number(fields, "vni"));
	assert_int_equal(bind->generation, vectors_number(fields, "generation"));
	assert_key(&bind->remote_key, &remote);
	vectors_exact(fields, "challenge", challenge, sizeof(challenge));
	assert_memory_equal(bind->challenge, challenge, sizeof(challenge));
}

static void check_fields(const struct disco_message *m, const json_t *fields)
{
	assert_int_equal(m->type, type_of(fields));
	switch (m->type) {
	case DISCO_PING:
		return check_ping(&m->ping, fields);
	case DISCO_PONG:
		check_txid(m->pong.txid, fields);
		return assert_endpoint(&m->pong.src, vectors_text(fields, "src"));
	case DISCO_CALL_ME_MAYBE:
		return check_endpoints(m, fields);
	case DISCO_BIND:
	case DISCO_CHALLENGE:
	case DISCO_ANSWER:
		return check_bind(&m->bind, fields);
	case DISCO_ALLOCATE_REQUEST:
		assert_int_equal(m->allocate.generation, vectors_number(fields, "generation"));
		return check_clients(&m->allocate.relay, fields);
	case DISCO_ALLOCATE_RESPONSE:
		assert_int_equal(m->allocate.generation, vectors_number(fields, "generation"));
		return check_relay(m, fields);
	case DISCO_CALL_ME_MAYBE_VIA:
		return check_relay(m, fields);
	}
}

// Opened, understood, and sealed again to the same bytes.
static void test_messages(void **)
{
	json_t *root = vectors_load("disco.json"), *t;
	const json_t *keys = json_object_get(root, "keys");
	uint8_t wire[MAX], nonce[DISCO_NONCE_LEN], made[MAX];
	struct disco_message m;
	struct key sender;
	size_t i;

	json_array_foreach(json_object_get(root, "messages"), i, t)
	{
		const char *from = vectors_text(t, "from"), *to = vectors_text(t, "to");
		const struct key want = vectors_key(json_object_get(keys, from), "public");
		const struct box receiver = box_of(keys, to, from), sealer = box_of(keys, from, to);
		const size_t len = vectors_bytes(t, "wire", wire, MAX);

		print_message("%s\n", vectors_text(t, "name"));
		assert_int_equal(disco_sender(wire, len, &sender), 0);
		assert_key(&sender, &want);
		assert_int_equal(disco_open(&receiver, wire, len, &m), 0);
		check_fields(&m, json_object_get(t, "fields"));
		vectors_exact(t, "nonce", nonce, sizeof(nonce));
		assert_int_equal(disco_seal(&sealer, &sender, nonce, &m, made, len), len);
		assert_memory_equal(made, wire, len);
		assert_int_equal(disco_seal(&sealer, &sender, nonce, &m, made, len - 1), -ENOSPC);
	}
	assert_int_equal(i, 16);
	json_decref(root);
}

static bool ends_with(const char *text, const char *end)
{
	const size_t n = strlen(text), m = strlen(end);

	return n >= m && strcmp(text + n - m, end) == 0;
}

static void test_parse(void **)
{
	json_t *root = vectors_load("disco.json"), *t;
	uint8_t plain[MAX];
	size_t i, refused = 0;

	json_array_foreach(json_object_get(root, "parse"), i, t)
	{
		const char *name = vectors_text(t, "name");
		const char *error = json_string_value(json_object_get(t, "error"));
		const size_t len = vectors_bytes(t, "plaintext", plain, MAX);
		uint8_t *copy = exact_copy(plain, len);
		struct disco_message m;
		const int rc = disco_parse(copy, len, &m);

		print_message("%s: %d\n", name, rc);
		free(copy);
		refused += rc != 0;
		if (error && strncmp(error, "unknown message type", 20) == 0)
			assert_int_equal(rc, -ENOTSUP);
		else if (error)
			assert_int_equal(rc, -EBADMSG);
		else if (ends_with(name, "_version_1_all_zero")) // ours: refused
			assert_int_equal(rc, -EPROTONOSUPPORT);
		else {
			assert_int_equal(rc, 0);
			check_fields(&m, json_object_get(t, "fields"));
		}
	}
	assert_int_equal(i, 33);
	assert_int_equal(refused, 18);
	json_decref(root);
}

static void test_packets(void **)
{
	json_t *root = vectors_load("disco.json"), *t;
	const json_t *keys = json_object_get(root, "keys");
	const struct key bob = vectors_key(json_object_get(keys, "bob"), "private");
	uint8_t wire[MAX];
	size_t i;

	json_array_foreach(json_object_get(root, "packets"), i, t)
	{
		const size_t len = vectors_bytes(t, "wire", wire, MAX);
		uint8_t *copy = exact_copy(wire, len);
		struct disco_message m;
		struct key sender;
		struct box box;

		print_message("%s\n", vectors_text(t, "name"));
		const int rc = disco_sender(copy, len, &sender);
		if (!json_is_true(json_object_get(t, "looks_like_disco"))) {
			assert_int_equal(rc, -EBADMSG);
		} else if (key_is_zero(&sender)) {
			assert_int_equal(rc, -EKEYREJECTED);
		} else {
			const bool whole = json_is_true(json_object_get(t, "opens")) &&
					   !json_object_get(t, "parse_error");
			assert_int_equal(rc, 0);
			assert_int_equal(box_init(&box, bob.bytes, sender.bytes), 0);
			assert_int_equal(disco_open(&box, copy, len, &m), whole ? 0 : -EBADMSG);
		}
		free(copy);
	}
	assert_int_equal(i, 14);
	json_decref(root);
}

static void test_refused_to_encode(void **)
{
	static const struct {
		const char *name;
		struct disco_message message;
		int want;
	} cases[] = {
		{"type 0", {.type = 0}, -EINVAL},
		{"type 10", {.type = 10}, -EINVAL},
		{"via without endpoints", {.type = DISCO_CALL_ME_MAYBE_VIA}, -EINVAL},
		{"response without endpoints", {.type = DISCO_ALLOCATE_RESPONSE}, -EINVAL},
		{"too many endpoints", {.type = DISCO_CALL_ME_MAYBE, .n_endpoints = 101}, -EINVAL},
		{"too much padding", {.type = DISCO_PING, .ping.padding = UINT16_MAX}, -ENOSPC},
	};
	uint8_t out[DISCO_PLAIN_MAX];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		print_message("%s\n", cases[i].name);
		assert_int_equal(disco_encode(&cases[i].message, out, sizeof(out)), cases[i].want);
	}
}

// A peer may list thousands; what is kept is bounded, in order.
static void test_endpoints_bounded(void **)
{
	static uint8_t plain[2 + 3000 * 18] = {DISCO_CALL_ME_MAYBE};
	struct disco_message m;

	for (size_t i = 0; i < 3000; i++)
		plain[2 + i * 18 + 17] = (uint8_t)i;
	assert_int_equal(disco_parse(plain, sizeof(plain), &m), 0);
	assert_int_equal(m.n_endpoints, DISCO_ENDPOINTS_MAX);
	assert_int_equal(m.endpoints[DISCO_ENDPOINTS_MAX - 1].port, DISCO_ENDPOINTS_MAX - 1);
}

static void test_oversized(void **)
{
	static uint8_t packet[DISCO_PACKET_MAX + 1];
	const struct box box = {{1}};
	const struct key sender = {{2}};
	const uint8_t nonce[DISCO_NONCE_LEN] = {3};
	struct disco_message m = {.type = DISCO_PING, .ping.padding = DISCO_PLAIN_MAX - 14};

	assert_int_equal(
		disco_seal(&box, &sender, nonce, &m, packet, sizeof(packet)), DISCO_PACKET_MAX);
	assert_int_equal(disco_open(&box, packet, sizeof(packet), &m), -EMSGSIZE);
	assert_int_equal(disco_open(&box, packet, DISCO_PACKET_MAX, &m), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_messages),
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_packets),
		cmocka_unit_test(test_refused_to_encode),
		cmocka_unit_test(test_endpoints_bounded),
		cmocka_unit_test(test_oversized),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
