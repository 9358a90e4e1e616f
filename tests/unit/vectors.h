// Reading tests/vectors: JSON with bytes in hex. A missing or odd value fails the test.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <jansson.h>
#include <sodium.h>

// A file of tests/vectors; json_decref it.
static inline json_t *vectors_load(const char *name)
{
	char path[512];
	json_error_t error;

	snprintf(path, sizeof(path), "%s/%s", VECTORS, name);
	json_t *root = json_load_file(path, 0, &error);
	if (!root)
		fail_msg("%s:%d: %s", path, error.line, error.text);
	return root;
}

static inline size_t hex_bytes(const char *hex, uint8_t *out, size_t max)
{
	size_t len = 0;

	assert_non_null(hex);
	assert_int_equal(sodium_hex2bin(out, max, hex, strlen(hex), NULL, &len, NULL), 0);
	return len;
}

// The bytes of a member; at most max.
static inline size_t vectors_bytes(const json_t *object, const char *name, uint8_t *out, size_t max)
{
	return hex_bytes(json_string_value(json_object_get(object, name)), out, max);
}

// The bytes of a member that has exactly len.
static inline void vectors_exact(const json_t *object, const char *name, uint8_t *out, size_t len)
{
	assert_int_equal(vectors_bytes(object, name, out, len), len);
}
