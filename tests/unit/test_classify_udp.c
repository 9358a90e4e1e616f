// STUN, Geneve, disco or WireGuard: recorded datagrams, and each byte of the tests at its edge.
#include "tests/unit/path_vectors.h"

#include "dataplane/wire/classify_udp.h"
#include "dataplane/wire/wireguard.h"

enum { MAX = 4096 };

// On a copy of exactly len bytes.
static enum udp_class classify(const void *bytes, size_t len)
{
	uint8_t *copy = exact_copy(bytes, len);
	const enum udp_class class = udp_classify(copy, len);

	free(copy);
	return class;
}

static enum udp_class classify_member(const json_t *t, const char *name)
{
	uint8_t bytes[MAX];

	return classify(bytes, vectors_bytes(t, name, bytes, MAX));
}

static void test_stun(void **)
{
	json_t *root = vectors_load("stun.json"), *t;
	size_t i;

	json_array_foreach(json_object_get(root, "requests"), i, t)
	{
		const bool is = json_is_true(json_object_get(t, "is_stun"));
		print_message("%s\n", vectors_text(t, "name"));
		assert_int_equal(classify_member(t, "bytes"), is ? UDP_STUN : UDP_WIREGUARD);
	}
	json_array_foreach(json_object_get(root, "captured"), i, t)
		assert_int_equal(classify_member(t, "response"), UDP_STUN);
	json_decref(root);
}

static void test_disco(void **)
{
	json_t *root = vectors_load("disco.json"), *t;
	size_t i;

	json_array_foreach(json_object_get(root, "messages"), i, t)
		assert_int_equal(classify_member(t, "wire"), UDP_DISCO);
	json_decref(root);
}

static void test_relay(void **)
{
	json_t *root = vectors_load("relay.json"), *t;
	size_t i, wireguard = 0;

	json_array_foreach(json_object_get(root, "exchange"), i, t)
	{
		const bool wg = strncmp(vectors_text(t, "what"), "wireguard", 9) == 0;
		wireguard += wg;
		assert_int_equal(
			classify_member(t, "wire"), wg ? UDP_GENEVE_WIREGUARD : UDP_GENEVE_DISCO);
	}
	assert_int_equal(i, 14);
	assert_int_equal(wireguard, 4);
	json_array_foreach(json_object_get(root, "headers"), i, t)
	{
		struct geneve_header wire;
		vectors_exact(t, "header", (uint8_t *)&wire, sizeof(wire));
		const bool control = json_is_true(json_object_get(t, "control"));
		const uint32_t vni = (uint32_t)vectors_number(t, "vni");
		const struct geneve_header made =
			geneve_header_of((uint16_t)vectors_number(t, "protocol"), vni, control);
		assert_memory_equal(&made, &wire, sizeof(wire));
		assert_int_equal(geneve_vni(&wire), vni);
		assert_true(geneve_is_control(&wire) == control);
	}
	assert_int_equal(i, 6);
	json_decref(root);
}

static void test_wireguard(void **)
{
	json_t *root = vectors_load("wireguard.json"), *t, *packet;
	size_t i, j, seen = 0;

	json_array_foreach(json_object_get(root, "transcripts"), i, t)
		json_array_foreach(json_object_get(t, "packets"), j, packet)
	{
		assert_int_equal(classify_member(packet, "wire"), UDP_WIREGUARD);
		seen++;
	}
	assert_true(seen > 10);
	json_decref(root);
}

// No receiver index, counter or key makes a WireGuard message anything else.
static void test_wireguard_any_index(void **)
{
	uint8_t packet[WG_INITIATION_LEN];

	for (uint8_t type = WG_TYPE_INITIATION; type <= WG_TYPE_DATA; type++) {
		for (unsigned fill = 0; fill < 256; fill++) {
			memset(packet, (int)fill, sizeof(packet));
			packet[0] = type;
			memset(packet + 1, 0, 3);
			assert_int_equal(classify(packet, sizeof(packet)), UDP_WIREGUARD);
			memcpy(packet + 4, "\x21\x12\xa4\x42", 4); // STUN's magic as index
			assert_int_equal(classify(packet, sizeof(packet)), UDP_WIREGUARD);
		}
	}
}

#define GENEVE(a, b, c, d, vni2, r)                                                                \
	{                                                                                          \
		a, b, c, d, 0, 0, vni2, r, 'T', 'S', 0xf0, 0x9f, 0x92, 0xac                        \
	}

static void test_edges(void **)
{
	static const struct {
		const char *name;
		uint8_t bytes[64];
		size_t len;
		enum udp_class want;
	} cases[] = {
		{"nothing", {0}, 0, UDP_WIREGUARD},
		{"a GSO sentinel", {7}, 1, UDP_WIREGUARD},
		{"disco, 37 bytes", DISCO_MAGIC, 37, UDP_WIREGUARD},
		{"disco, 38 bytes", DISCO_MAGIC, 38, UDP_DISCO},
		{"disco, last byte of magic", "TS\xf0\x9f\x92\xad", 38, UDP_WIREGUARD},
		{"geneve, 7 bytes", {0, 0, 0x7a, 0x12, 0, 0, 1}, 7, UDP_WIREGUARD},
		{"geneve, 8 bytes", {0, 0, 0x7a, 0x12, 0, 0, 1}, 8, UDP_GENEVE_WIREGUARD},
		{"geneve, options", {0x3f, 0, 0x7a, 0x12, 0, 0, 1}, 8, UDP_GENEVE_WIREGUARD},
		{"geneve, version 1", {0x40, 0, 0x7a, 0x12, 0, 0, 1}, 8, UDP_WIREGUARD},
		{"geneve, reserved bit", {0, 1, 0x7a, 0x12, 0, 0, 1}, 8, UDP_WIREGUARD},
		{"geneve, critical bit", {0, 0x40, 0x7a, 0x12, 0, 0, 1}, 8, UDP_GENEVE_WIREGUARD},
		{"geneve, reserved byte", {0, 0, 0x7a, 0x12, 0, 0, 1, 1}, 8, UDP_WIREGUARD},
		{"geneve, other protocol", {0, 0, 0x65, 0x58, 0, 0, 1}, 8, UDP_WIREGUARD},
		{"geneve, disco of 37 bytes", GENEVE(0, 0, 0x7a, 0x11, 1, 0), 45, UDP_WIREGUARD},
		{"geneve, disco of 38 bytes", GENEVE(0, 0, 0x7a, 0x11, 1, 0), 46, UDP_GENEVE_DISCO},
		{"geneve, control", GENEVE(0, 0x80, 0x7a, 0x11, 1, 0), 46, UDP_GENEVE_DISCO},
		{"geneve, disco without magic", {0, 0, 0x7a, 0x11, 0, 0, 1}, 64, UDP_WIREGUARD},
		{"stun, other method", {0, 2, 0, 0, 0x21, 0x12, 0xa4, 0x42}, 20, UDP_WIREGUARD},
		{"stun, 20 bytes", {0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42}, 20, UDP_STUN},
		{"stun before geneve", {0, 1, 0x7a, 0x12, 0x21, 0x12, 0xa4, 0x42}, 20, UDP_STUN},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		print_message("%s\n", cases[i].name);
		assert_int_equal(classify(cases[i].bytes, cases[i].len), cases[i].want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stun),
		cmocka_unit_test(test_disco),
		cmocka_unit_test(test_relay),
		cmocka_unit_test(test_wireguard),
		cmocka_unit_test(test_wireguard_any_index),
		cmocka_unit_test(test_edges),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
