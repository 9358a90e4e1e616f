// STUN: the request byte for byte, and what the real client reads from answers.
#include "tests/unit/path_vectors.h"

#include <errno.h>

#include "control/path/stun.h"

enum { MAX = 256 };

static void test_requests(void **)
{
	static const char *const names[] = {"request", "request_other_txid"};
	json_t *root = vectors_load("stun.json");

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const json_t *t = vectors_named(json_object_get(root, "requests"), names[i]);
		uint8_t txid[STUN_TXID_LEN], want[sizeof(struct stun_request)];
		struct stun_request made;

		vectors_exact(t, "txid", txid, sizeof(txid));
		vectors_exact(t, "bytes", want, sizeof(want));
		stun_request(txid, &made);
		assert_memory_equal(&made, want, sizeof(want));
	}
	json_decref(root);
}

// On a copy of exactly len bytes.
static int parse(const uint8_t *bytes, size_t len, uint8_t *txid, struct endpoint *mapped)
{
	uint8_t *copy = exact_copy(bytes, len);
	const int rc = stun_response_parse(copy, len, txid, mapped);

	free(copy);
	return rc;
}

static void check_response(const json_t *t, const char *member)
{
	const json_t *addr = json_object_get(t, "addr");
	const char *error = json_string_value(json_object_get(t, "client_error"));
	const uint8_t untouched[STUN_TXID_LEN] = {0};
	uint8_t bytes[MAX], txid[STUN_TXID_LEN] = {0};
	struct endpoint mapped = {0};
	const size_t len = vectors_bytes(t, member, bytes, MAX);
	const int rc = parse(bytes, len, txid, &mapped);

	print_message("%s: %d\n", vectors_text(t, "name"), rc);
	if (addr) {
		assert_int_equal(rc, 0);
		assert_endpoint(&mapped, json_string_value(addr));
		assert_memory_equal(txid, bytes + 8, sizeof(txid));
		return;
	}
	assert_int_equal(rc, strstr(error, "not a response") ? -EPROTO : -EBADMSG);
	assert_memory_equal(txid, untouched, sizeof(txid));
	assert_int_equal(mapped.port, 0);
}

static void test_responses(void **)
{
	json_t *root = vectors_load("stun.json"), *t;
	size_t i;

	json_array_foreach(json_object_get(root, "responses"), i, t) check_response(t, "bytes");
	assert_int_equal(i, 15);
	json_array_foreach(json_object_get(root, "captured"), i, t) check_response(t, "response");
	assert_int_equal(i, 3);
	json_decref(root);
}

#define HEADER(len) "0101" len "2112a442a3012b1364ea2f5352e2e925"

static void test_refusals(void **)
{
	static const struct {
		const char *name, *hex;
		int want;
	} cases[] = {
		{"nothing", "", -EPROTO},
		{"length 1, half an attribute header", HEADER("0001") "00", -EBADMSG},
		{"attribute length of 65535", HEADER("0004") "0020ffff", -EBADMSG},
		{"unpadded attribute at the end", HEADER("0005") "8022000161", -EBADMSG},
		{"xor address of 3 bytes", HEADER("0008") "0020000300018300", -EBADMSG},
		{"mapped address empty", HEADER("0004") "00010000", -EBADMSG},
		{"port 0",
			HEADER("000c") "000100080001"
				       "0000"
				       "cb007105",
			-EBADMSG},
		{"family 0",
			HEADER("000c") "002000080000"
				       "83bb"
				       "ea12d547",
			-EBADMSG},
		{"indication", "0011000c2112a442a3012b1364ea2f5352e2e92500200008000183bbea12d547",
			-EPROTO},
		{"good address, then a broken one", // as the real client: the whole is refused
			HEADER("0014") "00200008000183bbea12d5470001000400010000", -EBADMSG},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t bytes[MAX], txid[STUN_TXID_LEN];
		struct endpoint mapped;
		const size_t len = hex_bytes(cases[i].hex, bytes, MAX);

		print_message("%s\n", cases[i].name);
		assert_int_equal(parse(bytes, len, txid, &mapped), cases[i].want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_responses),
		cmocka_unit_test(test_refusals),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
