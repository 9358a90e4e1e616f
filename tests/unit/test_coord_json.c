// The helpers over jansson: keys, times, the scanner, members with their types.
#include "tests/unit/vectors.h"

#include <errno.h>

#include "control/coord/json.h"

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

static void test_node_keys(void **)
{
	json_t *root = vectors_load("keys.json");
	const json_t *c, *cases = json_object_get(root, "parse_nodekey");
	size_t i;

	json_array_foreach(cases, i, c)
	{
		struct key key = {{7}}, expected = {{7}};
		const bool right = json_is_null(json_object_get(c, "error"));
		const int error = typed_key_parse(
			json_string_value(json_object_get(c, "text")), "nodekey:", &key);
		if (right)
			vectors_exact(c, "bytes", expected.bytes, KEY_LEN);
		print_message("%s\n", json_string_value(json_object_get(c, "name")));
		assert_int_equal(error, right ? 0 : -EINVAL);
		assert_memory_equal(&key, &expected, KEY_LEN);
	}
	c = json_array_get(json_object_get(root, "keys"), 0);
	struct key public_key;
	char text[TYPED_KEY_TEXT_LEN];
	vectors_exact(c, "public", public_key.bytes, KEY_LEN);
	assert_string_equal(typed_key_format(&public_key, "nodekey:", text),
		json_string_value(json_object_get(c, "node_public")));
	assert_string_equal(typed_key_format(&public_key, "discokey:", text),
		json_string_value(json_object_get(c, "disco_public")));
	json_decref(root);
}

static void test_times(void **)
{
	static const struct {
		const char *text;
		int error;
		int64_t t;
	} cases[] = {
		{"1970-01-01T00:00:10Z", 0, 10},
		{"2026-11-21T07:38:41.183710462Z", 0, 1795246721},
		{"2026-11-21T08:38:41+01:00", 0, 1795246721},
		{"2026-11-21T07:08:41-00:30", 0, 1795246721},
		{"2024-02-29T00:00:00z", 0, 1709164800},
		{"0001-01-01T00:00:00Z", 0, 0},
		{"1900-01-01T00:00:00Z", 0, 1},
		{"9999-12-31T23:59:59Z", 0, 253402300799},
		{"", -EINVAL},
		{"2026-11-21", -EINVAL},
		{"2026-11-21T07:38:41", -EINVAL},
		{"2026-11-21 07:38:41Z", -EINVAL},
		{"2026-13-21T07:38:41Z", -EINVAL},
		{"2026-00-21T07:38:41Z", -EINVAL},
		{"2026-11-00T07:38:41Z", -EINVAL},
		{"2026-04-32T07:38:41Z", -EINVAL},
		{"2026-11-21T24:38:41Z", -EINVAL},
		{"2026-11-21T07:60:41Z", -EINVAL},
		{"2026-11-21T07:38:61Z", -EINVAL},
		{"2026-11-21T07:38:41.Z", -EINVAL},
		{"2026-11-21T07:38:41.5", -EINVAL},
		{"2026-11-21T07:38:41+24:00", -EINVAL},
		{"2026-11-21T07:38:41+0100", -EINVAL},
		{"2026-11-21T07:38:41+1:000", -EINVAL},
		{"2026-11-21T07:38:41ZZ", -EINVAL},
		{"-026-11-21T07:38:41Z", -EINVAL},
	};
	char text[TIME_TEXT_LEN];

	for (size_t i = 0; i < COUNT(cases); i++) {
		int64_t t = -7;
		print_message("%s\n", cases[i].text);
		assert_int_equal(time_parse(cases[i].text, &t), cases[i].error);
		assert_int_equal(t, cases[i].error ? -7 : cases[i].t);
	}
	assert_string_equal(time_format(0, text), "0001-01-01T00:00:00Z");
	assert_string_equal(time_format(123, text), "1970-01-01T00:02:03Z");
}

static int count_member(void *arg, struct slice name, struct slice value)
{
	unsigned *n = arg;

	assert_true(value.len > 0);
	return slice_is(name, "stop") ? -ECANCELED : (++*n, 0);
}

static void test_scanner(void **)
{
	static const struct {
		const char *text;
		int error;
		unsigned members;
	} cases[] = {
		{"{}", 0, 0},
		{" { } ", 0, 0},
		{"{\"a\":1}", 0, 1},
		{"\n{ \"a\" : [ {\"b\":\"]}\"} ] ,\t\"c\":null}\r\n", 0, 2},
		{"{\"a\\\"}\":\"\\\\\"}", 0, 1},
		{"{\"a\":1,\"stop\":2,\"b\":3}", -ECANCELED, 1},
		{"", -EBADMSG, 0},
		{"{", -EBADMSG, 0},
		{"}", -EBADMSG, 0},
		{"{,}", -EBADMSG, 0},
		{"{\"a\"}", -EBADMSG, 0},
		{"{\"a\":}", -EBADMSG, 0},
		{"{\"a\":1,}", -EBADMSG, 1},
		{"{\"a\":1 \"b\":2}", -EBADMSG, 1},
		{"{\"a\":[}", -EBADMSG, 0},
		{"{\"a\":[1}]", -EBADMSG, 0},
		{"{\"a\":1}x", -EBADMSG, 1},
		{"{a:1}", -EBADMSG, 0},
		{"{\"a", -EBADMSG, 0},
		{"{\"a\\", -EBADMSG, 0},
		{"[1]", -EBADMSG, 0},
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		const size_t len = strlen(cases[i].text);
		char *const exact = malloc(len ? len : 1); // without the final zero
		unsigned n = 0;
		memcpy(exact, cases[i].text, len);
		print_message("%s\n", cases[i].text);
		assert_int_equal(json_scan_members((struct slice){exact, len}, count_member, &n),
			cases[i].error);
		assert_int_equal(n, cases[i].members);
		free(exact);
	}
}

static struct slice nested(char *text, unsigned depth)
{
	memset(text, '[', depth);
	memset(text + depth, ']', depth);
	return (struct slice){text, 2 * (size_t)depth};
}

static void test_bounds(void **)
{
	static char text[JSON_PIECE_MAX + 8];
	json_t *v = json_piece(nested(text, JSON_DEPTH_MAX));

	assert_non_null(v);
	json_decref(v);
	assert_null(json_piece(nested(text, JSON_DEPTH_MAX + 1)));
	assert_null(json_piece(nested(text, 100000)));
	memset(text, ' ', sizeof(text));
	text[0] = '7';
	v = json_piece((struct slice){text, JSON_PIECE_MAX});
	assert_int_equal(json_integer_value(v), 7);
	json_decref(v);
	assert_null(json_piece((struct slice){text, JSON_PIECE_MAX + 1}));
	assert_null(json_piece((struct slice){"1 2", 3}));
	assert_null(json_piece((struct slice){"99999999999999999999", 20}));
}

// Read without jansson, to the same; or left to it, whether it refuses or not.
static void test_plain(void **)
{
	static const struct {
		const char *text;
		bool plain;
	} cases[] = {
		{"{}", true},
		{"[]", true},
		{" { \"a\" : [ 1 , -2 , 0 ] , \"b\" : { } }\t\r\n ", true},
		{"[true,false,null,\"\",\"x y/~\"]", true},
		{"{\"a\":1,\"b\":2,\"a\":[3]}", true},
		{"999999999999999999", true},
		{"-999999999999999999", true},
		{"-0", true},
		{"9223372036854775807", false},
		{"99999999999999999999", false},
		{"1.5", false},
		{"1e5", false},
		{"[0,1.5]", false},
		{"\"\\n\"", false},
		{"\"\\u00e9\"", false},
		{"\"\xc3\xa9\"", false},
		{"\"\xc3\"", false},
		{"\"\x7f\"", false},
		{"\"\n\"", false},
		{"", false},
		{" ", false},
		{"-", false},
		{"+1", false},
		{"01", false},
		{"-01", false},
		{"tru", false},
		{"truex", false},
		{"nul", false},
		{"\"x", false},
		{"\"", false},
		{"[", false},
		{"[1", false},
		{"[1,", false},
		{"[1,]", false},
		{"[,1]", false},
		{"[1 2]", false},
		{"[1}", false},
		{"{", false},
		{"{\"a\"", false},
		{"{\"a\":", false},
		{"{\"a\":}", false},
		{"{\"a\":1", false},
		{"{\"a\":1,", false},
		{"{\"a\":1,}", false},
		{"{\"a\":1]", false},
		{"{\"a\" 1}", false},
		{"{a:1}", false},
		{"{1:1}", false},
		{"1 2", false},
		{"{}{}", false},
		{"\xef\xbb\xbf{}", false},
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		const size_t len = strlen(cases[i].text);
		char *const exact = malloc(len ? len : 1); // a sanitizer sees a byte too much
		memcpy(exact, cases[i].text, len);
		json_t *const plain = json_plain((struct slice){exact, len});
		json_t *const all = json_loadb(exact, len, JSON_DECODE_ANY, NULL);
		print_message("%s\n", cases[i].text);
		assert_int_equal(plain != NULL, cases[i].plain);
		assert_true(!plain || json_equal(plain, all));
		json_decref(plain);
		json_decref(all);
		free(exact);
	}
}

static void test_types(void **)
{
	json_t *v = json_loads(
		"{\"n\":5,\"t\":\"x\",\"e\":\"\",\"f\":true,\"0\":null,\"a\":[],\"o\":{},"
		"\"r\":1.5,\"k\":\"\"}",
		0, NULL);
	struct json_object o = json_open(v);

	assert_int_equal(json_number(&o, "n", 0, 5), 5);
	assert_string_equal(json_text(&o, "t"), "x");
	assert_null(json_text(&o, "e"));
	assert_true(json_flag(&o, "f"));
	assert_int_equal(json_opt_flag(&o, "0"), -1);
	assert_int_equal(json_opt_flag(&o, "none"), -1);
	assert_int_equal(json_number(&o, "0", 1, 2), 0);
	assert_null(json_array_of(&o, "0"));
	assert_non_null(json_array_of(&o, "a"));
	assert_true(json_real_number(&o, "r") == 1.5);
	assert_int_equal(json_time(&o, "none"), 0);
	assert_null(o.bad);

	o = json_open(v);
	assert_int_equal(json_number(&o, "n", 6, 9), 0);
	assert_string_equal(o.bad, "n");
	assert_null(json_text(&o, "t")); // everything is absent after the first bad one
	o = json_open(v);
	assert_int_equal(json_number(&o, "t", 0, 9), 0);
	assert_string_equal(o.bad, "t");
	o = json_open(v);
	assert_int_equal(json_number(&o, "r", 0, 9), 0);
	assert_string_equal(o.bad, "r");
	o = json_open(v);
	assert_null(json_text(&o, "n"));
	assert_string_equal(o.bad, "n");
	o = json_open(v);
	(void)json_flag(&o, "n");
	assert_string_equal(o.bad, "n");
	o = json_open(v);
	assert_null(json_object_of(&o, "a"));
	assert_string_equal(o.bad, "a");
	o = json_open(v);
	(void)json_key(&o, "k", "nodekey:");
	assert_string_equal(o.bad, "k");
	o = json_open(v);
	(void)json_time(&o, "t");
	assert_string_equal(o.bad, "t");
	o = json_open(json_object_get(v, "a"));
	assert_non_null(o.bad);
	o = json_open(NULL);
	assert_non_null(o.bad);
	assert_null(json_text(&o, "t"));
	json_decref(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_node_keys),
		cmocka_unit_test(test_times),
		cmocka_unit_test(test_scanner),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_types),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
