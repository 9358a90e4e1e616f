// Conversations of two wireguard-go devices, made again byte for byte in both roles.
#include "tests/unit/vectors.h"

#include "control/wg/cookie.h"
#include "control/wg/noise.h"
#include "dataplane/crypto/aead.h"

enum { WIRE_MAX = 2048 };

// Both ends of a recorded conversation.
struct replayed {
	struct noise_identity initiator, responder;
	struct noise_remote of_initiator, of_responder; // the other one, as that side sees it
	struct noise_handshake initiator_hs, responder_hs;
	struct cookie_jar jar;	   // initiator's
	struct cookie_maker maker; // responder's
	struct endpoint initiator_endpoint;
	struct key to_responder, to_initiator; // recorded transport keys
	struct aead *aead;
	unsigned exact; // messages made byte for byte
};

static void load_key(const json_t *object, const char *name, struct key *key)
{
	vectors_exact(object, name, key->bytes, KEY_LEN);
}

static void replay_start(struct replayed *r, const json_t *root, const json_t *t)
{
	struct key private_key, public_key, psk = {0};
	uint8_t mac1_key[WG_HASH_LEN];

	*r = (struct replayed){.aead = aead_create(NULL)};
	load_key(root, "initiator_private", &private_key);
	assert_int_equal(noise_identity_init(&r->initiator, &private_key), 0);
	load_key(root, "initiator_public", &public_key);
	assert_memory_equal(&r->initiator.public_key, &public_key, KEY_LEN);
	vectors_exact(root, "mac1_key_towards_initiator", mac1_key, sizeof(mac1_key));
	assert_memory_equal(r->initiator.mac1_key, mac1_key, sizeof(mac1_key));

	load_key(root, "responder_private", &private_key);
	assert_int_equal(noise_identity_init(&r->responder, &private_key), 0);
	load_key(root, "responder_public", &public_key);
	assert_memory_equal(&r->responder.public_key, &public_key, KEY_LEN);
	vectors_exact(root, "mac1_key_towards_responder", mac1_key, sizeof(mac1_key));
	assert_memory_equal(r->responder.mac1_key, mac1_key, sizeof(mac1_key));

	if (json_object_get(t, "preshared_key"))
		load_key(t, "preshared_key", &psk);
	assert_int_equal(
		noise_remote_init(&r->of_initiator, &r->initiator, &r->responder.public_key, &psk),
		0);
	assert_int_equal(
		noise_remote_init(&r->of_responder, &r->responder, &r->initiator.public_key, &psk),
		0);
	load_key(t, "key_initiator_to_responder", &r->to_responder);
	load_key(t, "key_responder_to_initiator", &r->to_initiator);
	assert_int_equal(endpoint_parse(json_string_value(json_object_get(t, "initiator_endpoint")),
				 &r->initiator_endpoint),
		0);
	if (json_object_get(t, "cookie_secret")) {
		vectors_exact(t, "cookie_secret", r->maker.secret, sizeof(r->maker.secret));
		r->maker.has_secret = true;
	}
}

static uint32_t index_of(const json_t *packet, const char *name)
{
	return (uint32_t)json_integer_value(json_object_get(packet, name));
}

static void replay_initiation(
	struct replayed *r, const json_t *packet, const uint8_t *wire, size_t len)
{
	uint8_t ephemeral[KEY_LEN], timestamp[WG_TAI64N_LEN], mac2[WG_MAC_LEN];
	struct wg_initiation made;

	vectors_exact(packet, "ephemeral_private", ephemeral, sizeof(ephemeral));
	vectors_exact(packet, "timestamp", timestamp, sizeof(timestamp));
	assert_int_equal(noise_initiation_create(&r->initiator_hs, &r->initiator, &r->of_initiator,
				 index_of(packet, "sender"), ephemeral, timestamp, &made),
		0);
	cookie_jar_stamp(&r->jar, &made, sizeof(made), 0);
	assert_int_equal(len, sizeof(made));
	assert_memory_equal(&made, wire, len);
	r->exact++;

	assert_true(cookie_mac1_valid(&r->responder, wire, len));
	vectors_exact(packet, "mac2", mac2, sizeof(mac2));
	assert_true(cookie_mac2_valid(&r->maker, wire, len, &r->initiator_endpoint, 0) ==
		    !sodium_is_zero(mac2, sizeof(mac2)));
	assert_int_equal(noise_initiation_open(&r->responder_hs, &r->responder, wire, len), 0);
	assert_memory_equal(&r->responder_hs.remote_static, &r->initiator.public_key, KEY_LEN);
	assert_int_equal(r->responder_hs.remote_index, index_of(packet, "sender"));
	assert_int_equal(noise_initiation_accept(&r->responder_hs, &r->of_responder), 0);
	assert_memory_equal(r->of_responder.timestamp, timestamp, sizeof(timestamp));
}

// A responder's ephemeral key is known where it is recorded: only then can we make its message.
static void replay_response(
	struct replayed *r, const json_t *packet, const uint8_t *wire, size_t len)
{
	struct noise_keys keys;

	assert_int_equal(len, WG_RESPONSE_LEN);
	assert_true(cookie_mac1_valid(&r->initiator, wire, len));
	if (json_object_get(packet, "ephemeral_private")) {
		uint8_t ephemeral[KEY_LEN];
		struct wg_response made;

		vectors_exact(packet, "ephemeral_private", ephemeral, sizeof(ephemeral));
		assert_int_equal(noise_response_create(&r->responder_hs, &r->of_responder,
					 index_of(packet, "sender"), ephemeral, &made),
			0);
		assert_memory_equal(&made, wire, len);
		r->exact++;
		assert_int_equal(noise_keys_derive(&r->responder_hs, &keys), 0);
		assert_false(keys.initiator);
		assert_memory_equal(&keys.send, &r->to_initiator, KEY_LEN);
		assert_memory_equal(&keys.recv, &r->to_responder, KEY_LEN);
	}
	assert_int_equal(
		noise_response_open(&r->initiator_hs, &r->initiator, &r->of_initiator, wire, len),
		0);
	assert_int_equal(noise_keys_derive(&r->initiator_hs, &keys), 0);
	assert_true(keys.initiator);
	assert_int_equal(keys.local_index, index_of(packet, "receiver"));
	assert_int_equal(keys.remote_index, index_of(packet, "sender"));
	assert_memory_equal(&keys.send, &r->to_responder, KEY_LEN);
	assert_memory_equal(&keys.recv, &r->to_initiator, KEY_LEN);
}

static void replay_transport(
	struct replayed *r, const json_t *packet, const uint8_t *wire, size_t len)
{
	const bool outbound =
		!strcmp(json_string_value(json_object_get(packet, "from")), "initiator");
	const uint64_t counter = (uint64_t)json_integer_value(json_object_get(packet, "counter"));
	uint8_t made[WIRE_MAX], text[WIRE_MAX];
	const size_t text_len = vectors_bytes(packet, "plaintext", text, sizeof(text));
	const struct wg_data header = {.type = wg_type_field(WG_TYPE_DATA),
		.receiver = rte_cpu_to_le_32(index_of(packet, "receiver")),
		.counter = rte_cpu_to_le_64(counter)};
	const struct aead_op op = {.data = made + sizeof(header),
		.len = (uint32_t)text_len,
		.counter = counter,
		.key = (outbound ? r->to_responder : r->to_initiator).bytes};

	assert_int_equal(len, sizeof(header) + text_len + WG_TAG_LEN);
	assert_true(text_len % WG_PADDING == 0 || text_len == 1420); // their MTU
	memcpy(made, &header, sizeof(header));
	memcpy(op.data, text, text_len);
	aead_seal(r->aead, &op, 1);
	assert_memory_equal(made, wire, len);
	assert_true(aead_open(r->aead, &op, 1) == 1);
	assert_memory_equal(op.data, text, text_len);
	r->exact++;
}

static void replay_packet(struct replayed *r, const json_t *packet)
{
	const char *type = json_string_value(json_object_get(packet, "type"));
	uint8_t wire[WIRE_MAX];
	const size_t len = vectors_bytes(packet, "wire", wire, sizeof(wire));

	if (!strcmp(type, "initiation"))
		replay_initiation(r, packet, wire, len);
	else if (!strcmp(type, "response"))
		replay_response(r, packet, wire, len);
	else if (!strcmp(type, "cookie"))
		assert_int_equal(cookie_jar_consume(&r->jar, &r->of_initiator, wire, len, 0), 0);
	else
		replay_transport(r, packet, wire, len);
}

static void test_transcripts(void **)
{
	json_t *root = vectors_load("wireguard.json"), *t, *packet;
	unsigned exact = 0;
	struct replayed r;
	size_t i, k;

	json_array_foreach(json_object_get(root, "transcripts"), i, t)
	{
		replay_start(&r, root, t);
		json_array_foreach(json_object_get(t, "packets"), k, packet)
			replay_packet(&r, packet);
		print_message("%s: %zu packets, %u byte for byte\n",
			json_string_value(json_object_get(t, "name")), k, r.exact);
		exact += r.exact;
		aead_destroy(r.aead);
	}
	assert_int_equal(i, 6);
	assert_int_equal(exact, 31); // all but two foreign responses and the cookie replies
	json_decref(root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_transcripts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
