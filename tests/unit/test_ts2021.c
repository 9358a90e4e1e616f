// ts2021 against bytes of the real controlbase, and what a client has to refuse.
#include "tests/unit/ts2021_server.h"

enum { VERSION = 145, WIRE_MAX = 1 << 13 };

static json_t *vectors;

static int load(void **)
{
	vectors = vectors_load("ts2021.json");
	return 0;
}

static int unload(void **)
{
	json_decref(vectors);
	return 0;
}

static const json_t *handshake(size_t i)
{
	return json_array_get(json_object_get(vectors, "handshakes"), i);
}

static struct ts2021 *start(const json_t *hs, struct heard *heard)
{
	uint8_t initiation[TS2021_INITIATION_LEN], expected[TS2021_INITIATION_LEN];
	const json_t *version = json_object_get(hs, "version");
	const struct ts2021_events events = heard_events(heard);
	struct ts2021_keys keys;
	struct ts2021 *t = NULL;

	vectors_exact(vectors, "client_machine_private", keys.machine_private.bytes, KEY_LEN);
	vectors_exact(vectors, "server_public", keys.server_public.bytes, KEY_LEN);
	vectors_exact(hs, "client_ephemeral_private", keys.ephemeral_private.bytes, KEY_LEN);
	assert_int_equal(ts2021_create(&t, &keys, (uint16_t)json_integer_value(version), &events,
				 initiation),
		0);
	vectors_exact(hs, "initiation", expected, sizeof(expected));
	assert_memory_equal(initiation, expected, sizeof(expected));
	return t;
}

static struct ts2021 *established(const json_t *hs, struct heard *heard)
{
	uint8_t response[TS2021_RESPONSE_LEN];
	struct ts2021 *t = start(hs, heard);

	vectors_exact(hs, "response", response, sizeof(response));
	assert_int_equal(ts2021_feed(t, response, sizeof(response)), 0);
	assert_true(ts2021_established(t));
	return t;
}

// Every record of every handshake, in both directions, byte for byte.
static void test_transcripts(void **)
{
	static uint8_t wire[WIRE_MAX], plain[WIRE_MAX], made[WIRE_MAX];
	static struct heard heard;

	for (size_t i = 0; i < json_array_size(json_object_get(vectors, "handshakes")); i++) {
		const json_t *hs = handshake(i), *record;
		struct ts2021 *t = established(hs, &heard);
		uint8_t hash[KEY_LEN];
		size_t r;

		vectors_exact(hs, "handshake_hash", hash, sizeof(hash));
		assert_memory_equal(ts2021_handshake_hash(t), hash, sizeof(hash));
		json_array_foreach(json_object_get(hs, "records"), r, record)
		{
			const size_t wire_len = vectors_bytes(record, "wire", wire, sizeof(wire)),
				     len = vectors_bytes(record, "plaintext", plain, sizeof(plain));
			if (!strcmp(json_string_value(json_object_get(record, "dir")), "c2s")) {
				assert_int_equal(
					ts2021_send(t, plain, len, made, sizeof(made)), wire_len);
				assert_memory_equal(made, wire, wire_len);
				continue;
			}
			heard.data_len = heard.early_len = 0;
			assert_int_equal(ts2021_feed(t, wire, wire_len), 0);
			if (len > 9 && plain[0] == 0xff && plain[3] == 'T') {
				assert_int_equal(heard.early_len, len - 9);
				assert_memory_equal(heard.early, plain + 9, len - 9);
			} else {
				assert_int_equal(heard.data_len, len);
				assert_memory_equal(heard.data, plain, len);
			}
		}
		ts2021_destroy(t);
	}
}

// A write over the maximum is split as the real client splits it.
static void test_long_write(void **)
{
	static uint8_t plain[WIRE_MAX], one[WIRE_MAX], two[WIRE_MAX + 64];
	static struct heard heard;
	const size_t len = TS2021_PLAIN_MAX + 5;
	struct ts2021 *a = established(handshake(0), &heard);
	struct ts2021 *b = established(handshake(0), &heard);

	memset(plain, 7, sizeof(plain));
	const long whole = ts2021_send(a, plain, len, two, sizeof(two));
	assert_int_equal(whole, ts2021_sealed_len(len));
	long n = ts2021_send(b, plain, TS2021_PLAIN_MAX, one, sizeof(one));
	assert_int_equal(n, TS2021_RECORD_MAX);
	n += ts2021_send(b, plain, 5, one + n, sizeof(one) - (size_t)n);
	assert_int_equal(n, whole);
	assert_memory_equal(one, two, (size_t)n);
	assert_int_equal(ts2021_send(a, plain, len, two, (size_t)whole - 1), -ENOSPC);
	assert_int_equal(ts2021_sealed_len(0), 0);
	ts2021_destroy(a);
	ts2021_destroy(b);
}

static void test_server_answers(void **)
{
	static const struct {
		const char *name;
		int feed, eof;
	} expected[] = {
		{"good_response", 0, 0},
		{"error_message", -ECONNREFUSED, -ECONNREFUSED},
		{"error_message_empty", -ECONNREFUSED, -ECONNREFUSED},
		{"error_message_cut", 0, -ECONNRESET},
		{"wrong_type_1", -EPROTO, -EPROTO},
		{"record_instead", -EPROTO, -EPROTO},
		{"wrong_length", -EPROTO, -EPROTO},
		{"flipped_ephemeral", -EBADMSG, -EBADMSG},
		{"flipped_tag", -EBADMSG, -EBADMSG},
		{"closed_at_once", 0, -ECONNRESET},
		{"cut", 0, -ECONNRESET},
	};
	static struct heard heard;
	const json_t *answers = json_object_get(vectors, "client_answers");

	assert_int_equal(json_array_size(answers), sizeof(expected) / sizeof(*expected));
	for (size_t i = 0; i < json_array_size(answers); i++) {
		const json_t *answer = json_array_get(answers, i);
		uint8_t reply[WIRE_MAX];
		const size_t len = vectors_bytes(answer, "reply", reply, sizeof(reply));
		struct ts2021 *t = start(handshake(0), &heard);

		assert_string_equal(
			json_string_value(json_object_get(answer, "name")), expected[i].name);
		assert_int_equal(ts2021_feed(t, reply, len), expected[i].feed);
		assert_int_equal(ts2021_eof(t), expected[i].eof);
		assert_int_equal(ts2021_established(t), expected[i].eof == 0);
		assert_int_equal(*ts2021_error(t) == '\0', expected[i].eof == 0);
		if (expected[i].eof) {
			uint8_t out[64];
			assert_int_equal(ts2021_send(t, "x", 1, out, sizeof(out)), -ENOTCONN);
			const int later = ts2021_feed(t, reply, 1); // stays refused
			assert_int_equal(later, expected[i].eof);
		}
		ts2021_destroy(t);
	}
}

static void test_error_text_is_printable(void **)
{
	static const uint8_t message[] = "\x03\x00\x06"
					 "a\x1b[2Jb";
	static struct heard heard;
	struct ts2021 *t = start(handshake(0), &heard);

	assert_int_equal(ts2021_feed(t, message, sizeof(message) - 1), -ECONNREFUSED);
	assert_string_equal(ts2021_error(t), "the server refused the handshake: a?[2Jb");
	ts2021_destroy(t);
}

static void test_records_of_the_server(void **)
{
	static const struct {
		const char *name;
		int feed, eof;
	} expected[] = {
		{"empty_record_then_data", 0, 0},
		{"maximal_record", 0, 0},
		{"record_over_4096_bytes", -EMSGSIZE, -EMSGSIZE},
		{"damaged_second_record", -EBADMSG, -EBADMSG},
		{"second_record_with_little_endian_counter", -EBADMSG, -EBADMSG},
		{"wrong_message_type", -EPROTO, -EPROTO},
		{"replayed_record", -EBADMSG, -EBADMSG},
		{"cut_record", 0, -ECONNRESET},
	};
	static struct heard heard;
	const json_t *reads = json_object_get(vectors, "client_reads");

	assert_int_equal(json_array_size(reads), sizeof(expected) / sizeof(*expected));
	for (size_t i = 0; i < json_array_size(reads); i++) {
		const json_t *read = json_array_get(reads, i);
		static uint8_t wire[WIRE_MAX], plain[WIRE_MAX];
		const size_t len = vectors_bytes(read, "wire", wire, sizeof(wire)),
			     plain_len = vectors_bytes(read, "read", plain, sizeof(plain));
		struct ts2021 *t = established(handshake(0), &heard);

		assert_string_equal(
			json_string_value(json_object_get(read, "name")), expected[i].name);
		assert_int_equal(ts2021_feed(t, wire, len), expected[i].feed);
		assert_int_equal(heard.data_len, plain_len);
		assert_memory_equal(heard.data, plain, plain_len);
		assert_int_equal(ts2021_eof(t), expected[i].eof);
		ts2021_destroy(t);
	}
}

// The same plain bytes, cut into records at each place and fed in pieces of each size.
static void test_early_payload_at_any_split(void **)
{
	static const uint8_t plain[] = "\xff\xff\xffTS\0\0\0\x05"
				       "{\"a\"}"
				       "\0\0\0\x04\0\0\0\0\0rest";
	const size_t len = sizeof(plain) - 1, early = 9 + 5;
	static struct heard heard;
	uint8_t key[KEY_LEN], wire[256];

	vectors_exact(handshake(0), "key_s2c", key, sizeof(key));
	for (size_t cut = 0; cut <= len; cut++) {
		size_t n = server_seal(wire, key, 0, plain, cut);
		n += server_seal(wire + n, key, 1, plain + cut, len - cut);
		for (size_t piece = 1; piece <= n; piece += 5) {
			struct ts2021 *t = established(handshake(0), &heard);
			for (size_t at = 0; at < n; at += piece)
				assert_int_equal(
					ts2021_feed(t, wire + at, at + piece < n ? piece : n - at),
					0);
			assert_int_equal(heard.early_len, 5);
			assert_memory_equal(heard.early, plain + 9, 5);
			assert_int_equal(heard.data_len, len - early);
			assert_memory_equal(heard.data, plain + early, len - early);
			ts2021_destroy(t);
		}
	}
}

static void test_first_bytes(void **)
{
	static const struct {
		const char *name, *plain;
		size_t len, data;
		int error;
	} cases[] = {
		{"no early payload", "\0\0\0\x04\0\0\0\0\0", 9, 9, 0},
		{"one byte of HTTP/2", "\0", 1, 1, 0},
		{"the magic's begin alone", "\xff\xff\xffT", 4, 0, 0},
		{"almost the magic", "\xff\xff\xffTT\0\0\0\1", 9, 9, 0},
		{"an empty early payload", "\xff\xff\xffTS\0\0\0\0data", 13, 4, 0},
		{"an early payload without end", "\xff\xff\xffTS\0\xa0\0\0data", 13, 0, 0},
		{"an early payload over the limit", "\xff\xff\xffTS\0\xa0\0\1", 9, 0, -EMSGSIZE},
		{"an early payload of 4 GB", "\xff\xff\xffTS\xff\xff\xff\xff", 9, 0, -EMSGSIZE},
	};
	static struct heard heard;
	uint8_t key[KEY_LEN], wire[256];

	vectors_exact(handshake(0), "key_s2c", key, sizeof(key));
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct ts2021 *t = established(handshake(0), &heard);
		const size_t n = server_seal(wire, key, 0, cases[i].plain, cases[i].len);

		print_message("%s\n", cases[i].name);
		assert_int_equal(ts2021_feed(t, wire, n), cases[i].error);
		assert_int_equal(heard.data_len, cases[i].data);
		ts2021_destroy(t);
	}
}

static int no_data(void *, const uint8_t *, size_t)
{
	return -ENOBUFS;
}

static void test_refused_by_reader(void **)
{
	const struct ts2021_events events = {.data = no_data};
	uint8_t key[KEY_LEN], wire[64], initiation[TS2021_INITIATION_LEN], response[64];
	const json_t *hs = handshake(0);
	struct ts2021_keys keys;
	struct ts2021 *t = NULL;

	vectors_exact(vectors, "client_machine_private", keys.machine_private.bytes, KEY_LEN);
	vectors_exact(vectors, "server_public", keys.server_public.bytes, KEY_LEN);
	vectors_exact(hs, "client_ephemeral_private", keys.ephemeral_private.bytes, KEY_LEN);
	vectors_exact(hs, "key_s2c", key, sizeof(key));
	assert_int_equal(ts2021_create(&t, &keys, VERSION, &events, initiation), 0);
	const size_t n = vectors_bytes(hs, "response", response, sizeof(response));
	assert_int_equal(ts2021_feed(t, response, n), 0);
	assert_int_equal(ts2021_feed(t, wire, server_seal(wire, key, 0, "\0", 1)), -ENOBUFS);
	assert_int_equal(ts2021_feed(t, wire, server_seal(wire, key, 1, "\0", 1)), -ENOBUFS);
	ts2021_destroy(t);
}

static void test_bad_keys_of_server(void **)
{
	const struct ts2021_events events = {.data = no_data};
	uint8_t initiation[TS2021_INITIATION_LEN];
	struct ts2021_keys keys = {.machine_private = {{1}}, .ephemeral_private = {{2}}};
	struct ts2021 *t = NULL;

	assert_int_equal(ts2021_create(&t, &keys, VERSION, &events, initiation), -EKEYREJECTED);
	keys.server_public.bytes[0] = 1; // low order as well
	assert_int_equal(ts2021_create(&t, &keys, VERSION, &events, initiation), -EKEYREJECTED);
	assert_null(t);
	ts2021_destroy(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_transcripts),
		cmocka_unit_test(test_long_write),
		cmocka_unit_test(test_server_answers),
		cmocka_unit_test(test_error_text_is_printable),
		cmocka_unit_test(test_records_of_the_server),
		cmocka_unit_test(test_early_payload_at_any_split),
		cmocka_unit_test(test_first_bytes),
		cmocka_unit_test(test_refused_by_reader),
		cmocka_unit_test(test_bad_keys_of_server),
	};
	return cmocka_run_group_tests(tests, load, unload);
}
