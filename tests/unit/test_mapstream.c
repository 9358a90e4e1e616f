// Frames of the map stream at any split, what has to be refused, and the request's text.
#include "tests/unit/vectors.h"

#include <errno.h>
#include <zstd.h>

#include "control/coord/mapstream.h"

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

struct heard {
	char text[64];
	size_t len, messages, bytes;
	int error; // to return
};

static int hear(void *arg, const char *text, size_t len)
{
	struct heard *h = arg;

	h->messages++;
	h->bytes += len;
	h->len = len < sizeof(h->text) ? len : sizeof(h->text);
	memcpy(h->text, text, h->len);
	return h->error;
}

// A frame around text; stated: with the size in zstd's header.
static size_t frame(uint8_t *out, size_t max, const void *text, size_t len, bool stated)
{
	ZSTD_CCtx *c = ZSTD_createCCtx();

	ZSTD_CCtx_setParameter(c, ZSTD_c_contentSizeFlag, stated);
	const size_t n = ZSTD_compress2(c, out + 4, max - 4, text, len);
	assert_false(ZSTD_isError(n));
	for (unsigned i = 0; i < 4; i++)
		out[i] = (uint8_t)(n >> 8 * i);
	ZSTD_freeCCtx(c);
	return n + 4;
}

static void test_any_split(void **)
{
	uint8_t wire[512];
	size_t n = frame(wire, sizeof(wire), "{\"KeepAlive\":true}", 18, true);

	n += frame(wire + n, sizeof(wire) - n, "second", 6, false);
	n += frame(wire + n, sizeof(wire) - n, "", 0, true);
	for (size_t piece = 1; piece <= n; piece++) {
		struct heard h = {0};
		struct mapstream *m = mapstream_create(hear, &h);
		for (size_t at = 0; at < n; at += piece)
			assert_int_equal(
				mapstream_feed(m, wire + at, at + piece < n ? piece : n - at), 0);
		assert_int_equal(h.messages, 3);
		assert_int_equal(h.bytes, 24);
		assert_true(mapstream_complete(m));
		mapstream_destroy(m);
	}
}

static void test_refused(void **)
{
	static uint8_t good[128], cut[128], two[256], damaged[128];
	const size_t n =
		frame(good, sizeof(good), "{\"a\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}", 36, true);
	const struct {
		const char *name;
		const uint8_t *bytes;
		size_t len;
		int error;
	} cases[] = {
		{"an empty frame", (const uint8_t *)"\0\0\0\0", 4, -EBADMSG},
		{"4 GB announced", (const uint8_t *)"\xff\xff\xff\xff", 4, -EMSGSIZE},
		{"a byte over the bound", (const uint8_t *)"\1\0\0\1", 4, -EMSGSIZE},
		{"big-endian", (const uint8_t *)"\0\0\0\x20xxxx", 8, -EMSGSIZE},
		{"not zstd", (const uint8_t *)"\5\0\0\0{\"a\":", 9, -EBADMSG},
		{"JSON as it is", (const uint8_t *)"\2\0\0\0{}", 6, -EBADMSG},
		{"a frame cut short", cut, n - 1, -EBADMSG},
		{"two zstd frames in one", two, 4 + 2 * (n - 4), -EBADMSG},
		{"damaged", damaged, n, -EBADMSG},
		{"a skippable frame alone", (const uint8_t *)"\x8\0\0\0\x50\x2a\x4d\x18\0\0\0\0",
			12, -EBADMSG},
	};

	memcpy(cut, good, n);
	cut[0]--;
	memcpy(two + 4, good + 4, n - 4);
	memcpy(two + n, good + 4, n - 4);
	two[0] = (uint8_t)(2 * (n - 4));
	memcpy(damaged, good, n);
	damaged[8] ^= 0xff;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct heard h = {0};
		struct mapstream *m = mapstream_create(hear, &h);
		print_message("%s\n", cases[i].name);
		const int error = mapstream_feed(m, cases[i].bytes, cases[i].len);
		if (!strcmp(cases[i].name, "a skippable frame alone")) // holds nothing
			assert_int_equal(h.bytes, 0);
		else
			assert_int_equal(error, cases[i].error);
		if (error) {
			assert_int_equal(h.messages, 0);
			assert_int_equal(mapstream_feed(m, good, n), error); // for good
			assert_false(mapstream_complete(m));
		}
		mapstream_destroy(m);
	}
}

// Zeros by the hundred megabytes, in frames of some kilobytes.
static void test_bombs(void **)
{
	const size_t huge = (size_t)MAPSTREAM_TEXT_MAX + 1, room = 1 << 16;
	uint8_t *zeros = calloc(huge, 1), *wire = malloc(room);

	for (int stated = 0; stated < 2; stated++) {
		struct heard h = {0};
		struct mapstream *m = mapstream_create(hear, &h);
		size_t n = frame(wire, room, zeros, huge, stated);
		print_message("%zu bytes for %zu\n", n, huge);
		assert_int_equal(mapstream_feed(m, wire, n), -EMSGSIZE);
		assert_int_equal(h.messages, 0);
		mapstream_destroy(m);
		m = mapstream_create(hear, &h);
		n = frame(wire, room, zeros, huge - 1, stated);
		assert_int_equal(mapstream_feed(m, wire, n), 0);
		assert_int_equal(h.bytes, huge - 1);
		mapstream_destroy(m);
	}
	free(zeros);
	free(wire);
}

static void test_reader_ends_it(void **)
{
	uint8_t wire[64];
	struct heard h = {.error = -EPROTO};
	struct mapstream *m = mapstream_create(hear, &h);
	const size_t n = frame(wire, sizeof(wire), "{}", 2, true);

	assert_int_equal(mapstream_feed(m, wire, 3), 0);
	assert_false(mapstream_complete(m));
	assert_int_equal(mapstream_feed(m, wire + 3, n - 3), -EPROTO);
	assert_int_equal(mapstream_feed(m, wire, n), -EPROTO);
	assert_int_equal(h.messages, 1);
	mapstream_destroy(m);
	mapstream_destroy(NULL);
}

// Byte for byte what a Go client sent.
static void test_requests(void **)
{
	json_t *root = vectors_load("control.json");
	const struct hostinfo hostinfo = {.version = "1.102.5",
		.backend_log_id = "abababababababababababababababab"
				  "abababababababababababababababab",
		.os = "linux",
		.hostname = "observer",
		.no_logs = true,
		.userspace = -1,
		.userspace_router = -1};
	struct map_endpoint endpoint = {.type = ENDPOINT_LOCAL};
	struct map_request r = {.version = 145,
		.hostinfo = &hostinfo,
		.endpoints = &endpoint,
		.n_endpoints = 1,
		.has_endpoints = true};
	size_t len;

	assert_int_equal(endpoint_parse("10.77.0.1:41641", &endpoint.endpoint), 0);
	vectors_exact(root, "node_key", r.node_key.bytes, KEY_LEN);
	vectors_exact(root, "disco_key", r.disco_key.bytes, KEY_LEN);
	char *text = map_request_text(&r, &len);
	assert_string_equal(text, json_string_value(json_object_get(root, "map_lite")));
	assert_int_equal(len, strlen(text));
	free(text);
	r.stream = true;
	text = map_request_text(&r, &len);
	assert_string_equal(text, json_string_value(json_object_get(root, "map_stream")));
	free(text);
	r.n_endpoints = 0; // clear them
	text = map_request_text(&r, &len);
	assert_non_null(strstr(text, "\"Endpoints\":[]"));
	free(text);
	r.has_endpoints = false; // leave them
	text = map_request_text(&r, &len);
	assert_null(strstr(text, "Endpoints"));
	free(text);
	json_decref(root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_any_split),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_bombs),
		cmocka_unit_test(test_reader_ends_it),
		cmocka_unit_test(test_requests),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
