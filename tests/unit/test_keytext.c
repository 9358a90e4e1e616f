// Text forms of keys: what Tailscale's own parser takes and refuses.
#include "tests/unit/path_vectors.h"

#include <errno.h>

#include "dataplane/base/keytext.h"

#define HEX "53660e0314ef9085f2db16a962ef5bb0466ab053c45437a9659f3660f5b88807"
#define ZERO "0000000000000000000000000000000000000000000000000000000000000000"

static void test_recorded_parse(void **)
{
	json_t *root = vectors_load("keytext.json"), *t;
	size_t i;

	json_array_foreach(json_object_get(root, "parse_nodekey"), i, t)
	{
		const struct key untouched = {{1, 2, 3}};
		struct key key = untouched;
		const int rc = keytext_parse(KEY_NODE, vectors_text(t, "text"), &key);

		print_message("%s: %d\n", vectors_text(t, "name"), rc);
		if (json_is_null(json_object_get(t, "error"))) {
			const struct key want = vectors_key(t, "bytes");
			assert_int_equal(rc, 0);
			assert_key(&key, &want);
		} else {
			assert_int_equal(rc, -EINVAL);
			assert_key(&key, &untouched);
		}
	}
	assert_int_equal(i, 9);
	json_decref(root);
}

static void test_recorded_forms(void **)
{
	static const struct {
		enum key_kind kind;
		const char *text, *bytes; // members
	} forms[] = {
		{KEY_NODE, "node_public", "public"},
		{KEY_DISCO, "disco_public", "public"},
		{KEY_MACHINE, "machine_public", "public"},
		{KEY_PRIVATE, "node_private", "private"},
		{KEY_PRIVATE, "machine_private", "private"},
	};
	json_t *root = vectors_load("keytext.json"), *t;
	char text[KEYTEXT_MAX];
	size_t i, seen = 0;

	json_array_foreach(json_object_get(root, "keys"), i, t)
	{
		for (size_t j = 0; j < sizeof(forms) / sizeof(forms[0]); j++) {
			const char *want = vectors_text(t, forms[j].text);
			const struct key bytes = vectors_key(t, forms[j].bytes);
			struct key key;

			assert_string_equal(keytext_format(forms[j].kind, &bytes, text), want);
			assert_int_equal(keytext_parse(forms[j].kind, want, &key), 0);
			assert_key(&key, &bytes);
			seen++;
		}
	}
	assert_int_equal(seen, 10);
	json_decref(root);
}

static void test_refusals(void **)
{
	static const struct {
		const char *name;
		enum key_kind kind;
		const char *text;
		int want;
	} cases[] = {
		{"zero is a key", KEY_NODE, "nodekey:" ZERO, 0},
		{"challenge", KEY_CHALLENGE, "chalpub:" HEX, 0},
		{"a node key is no disco key", KEY_DISCO, "nodekey:" HEX, -EINVAL},
		{"a public key is no private one", KEY_PRIVATE, "nodekey:" HEX, -EINVAL},
		{"prefix alone", KEY_MACHINE, "mkey:", -EINVAL},
		{"upper-case prefix", KEY_MACHINE, "MKEY:" HEX, -EINVAL},
		{"0x before the digits", KEY_MACHINE, "mkey:0x" HEX, -EINVAL},
		{"space behind", KEY_MACHINE, "mkey:" HEX " ", -EINVAL},
		{"line end behind", KEY_MACHINE, "mkey:" HEX "\n", -EINVAL},
		{"space instead of a digit", KEY_MACHINE,
			"mkey: 3660e0314ef9085f2db16a962ef5bb0466ab053c45437a9659f3660f5b88807",
			-EINVAL},
		{"base64", KEY_NODE,
			"nodekey:U2YOAxTvkIXy2xapYu9bsEZqsFPEVDepZZ82YPW4iAc=", -EINVAL},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct key key;

		print_message("%s\n", cases[i].name);
		assert_int_equal(keytext_parse(cases[i].kind, cases[i].text, &key), cases[i].want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_recorded_parse),
		cmocka_unit_test(test_recorded_forms),
		cmocka_unit_test(test_refusals),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
